//! The text and the JSON document of `gomapscope pprof`.

use serde::Serialize;

use super::json::to_json;
use super::number::{count, percent_of, size, thousands};
use super::style::{Line, Role, Style};
use super::table::{Align, Column, Table};
use crate::pprof::{
    Attribution, Explained, Figures, Kind, Label, LabelValue, Location, Origin, Profile, Site,
    Trend, Work, churns, incomparable, trends,
};

/// Rows that are shown where no limit is given.
const ROWS: u64 = 20;

/// The text for some profiles: each for itself, or heap profiles over time.
#[must_use]
pub fn pprof(profiles: &[Explained], limit: Option<Option<u64>>, style: &Style) -> String {
    let limit = limit.unwrap_or(Some(ROWS));
    let mut text = String::new();
    let series = series(profiles);
    for explained in profiles {
        if !text.is_empty() {
            text.push('\n');
        }
        let whole = series.len() < 2
            || incomparable(&series).is_some()
            || explained.profile.kind != Kind::Heap;
        profile(
            (&explained.name, &explained.profile, &explained.attribution),
            limit.filter(|_| whole).or(whole.then_some(u64::MAX)),
            style,
            &mut text,
        );
    }
    if series.len() > 1 {
        over_time(&series, limit.unwrap_or(u64::MAX), style, &mut text);
    }
    text
}

/// The text for one profile; `rows` sites of it, or the head alone.
pub fn profile(
    (name, profile, attribution): (&str, &Profile, &Attribution),
    rows: Option<u64>,
    style: &Style,
    text: &mut String,
) {
    let page = Page {
        profile,
        attribution,
        style,
    };
    page.head(name, text);
    match profile.kind {
        Kind::Heap => {
            page.heap_answer(text);
            if let Some(rows) = rows {
                page.sites(rows, text);
            }
        }
        _ => {
            page.work_answer(text);
            if let Some(rows) = rows {
                page.work(rows, text);
            }
        }
    }
    page.notes(text);
}

/// The heap profiles among them, in the order of time where all have one.
fn series(profiles: &[Explained]) -> Vec<&Explained> {
    let mut heaps: Vec<&Explained> = profiles
        .iter()
        .filter(|explained| explained.profile.kind == Kind::Heap)
        .collect();
    let time = |explained: &Explained| explained.profile.last_gc_ns.or(explained.profile.time_ns);
    let first = heaps.first().map(|first| first.profile.origin);
    if heaps
        .iter()
        .all(|heap| time(heap).is_some() && Some(heap.profile.origin) == first)
    {
        heaps.sort_by_key(|heap| time(heap));
    }
    heaps
}

/// Bytes; estimates may be below zero.
fn bytes(value: i64) -> String {
    match u64::try_from(value) {
        Ok(value) => size(value),
        Err(_) => format!("-{}", size(value.unsigned_abs())),
    }
}

fn signed(value: i64) -> String {
    match u64::try_from(value) {
        Ok(value) => thousands(value),
        Err(_) => format!("-{}", thousands(value.unsigned_abs())),
    }
}

fn plus(value: i64, text: String) -> String {
    match value > 0 {
        true => format!("+{text}"),
        false => text,
    }
}

fn share(part: i64, whole: i64) -> String {
    match (u64::try_from(part), u64::try_from(whole)) {
        (Ok(part), Ok(whole)) if whole > 0 => percent_of(part, whole),
        _ => "?".to_owned(),
    }
}

/// A value in its unit.
fn amount(value: i64, unit: &str) -> String {
    match unit {
        "nanoseconds" => {
            let seconds = value as f64 / 1e9;
            match value.unsigned_abs() {
                0..1_000_000 => format!("{:.1} us", seconds * 1e6),
                1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
                _ => format!("{seconds:.2} s"),
            }
        }
        "bytes" => bytes(value),
        _ => signed(value),
    }
}

fn kind_word(profile: &Profile) -> String {
    match profile.kind {
        Kind::Heap => "heap".to_owned(),
        Kind::Goroutine | Kind::Other => profile
            .sample_types
            .first()
            .map_or_else(|| "unknown".to_owned(), |first| first.name.to_string()),
        Kind::Block => "block".to_owned(),
        Kind::Mutex => "mutex".to_owned(),
        Kind::Cpu => "CPU".to_owned(),
        Kind::ThreadCreate => "threadcreate".to_owned(),
    }
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Proto => "protobuf",
        Origin::Text => "text",
        Origin::Memory => "memory",
    }
}

/// `main.fill cache.go:42`.
fn place(function: &str, file: &str, line: i64) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    match (file.is_empty(), line) {
        (true, _) => function.to_owned(),
        (false, 0) => format!("{function} {file}"),
        _ => format!("{function} {file}:{line}"),
    }
}

struct Page<'a> {
    profile: &'a Profile,
    attribution: &'a Attribution,
    style: &'a Style,
}

impl Page<'_> {
    fn line(&self) -> Line {
        Line::new(self.style)
    }

    fn head(&self, name: &str, text: &mut String) {
        let mut line = self.line().with(Role::Title, name);
        let mut what = format!(
            "  {} profile, {}",
            kind_word(self.profile),
            origin_word(self.profile.origin)
        );
        if self.profile.duration_ns > 0 {
            what.push_str(", over ");
            what.push_str(&amount(self.profile.duration_ns, "nanoseconds"));
        }
        line.push(Role::Plain, &what);
        line.fold(self.style, 0, 2, text);
    }

    fn heap_answer(&self, text: &mut String) {
        let (maps, total) = (self.attribution.maps, self.attribution.total());
        let known = self.attribution.unknown.alloc_bytes == 0;
        let mut line = self.line();
        if !known && self.attribution.sites.is_empty() {
            line.push(
                Role::Highlight,
                &format!(
                    "What maps have of {} in use is not known.",
                    bytes(total.inuse_bytes)
                ),
            );
            line.fold(self.style, 0, 2, text);
            self.reasons(text);
            return;
        }
        line.push(Role::Plain, "Maps have ");
        let bound = if known { "" } else { "at least " };
        line.push(
            Role::Highlight,
            &format!("{bound}{}", bytes(maps.inuse_bytes)),
        );
        line.push(
            Role::Plain,
            &format!(
                " of {} in use ({}); they allocated {} of {} ({}).",
                bytes(total.inuse_bytes),
                share(maps.inuse_bytes, total.inuse_bytes),
                bytes(maps.alloc_bytes),
                bytes(total.alloc_bytes),
                share(maps.alloc_bytes, total.alloc_bytes),
            ),
        );
        line.fold(self.style, 0, 2, text);
        self.reasons(text);
    }

    fn reasons(&self, text: &mut String) {
        for (reason, figures) in &self.attribution.reasons {
            self.line()
                .with(
                    Role::Light,
                    &format!(
                        "Not known of {} in use, {} allocated: {reason}.",
                        bytes(figures.inuse_bytes),
                        bytes(figures.alloc_bytes)
                    ),
                )
                .fold(self.style, 0, 2, text);
        }
    }

    fn sites(&self, rows: u64, text: &mut String) {
        let sites = &self.attribution.sites;
        if sites.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::new("in use", Align::Right, Role::Plain),
            Column::new("objects", Align::Right, Role::Plain),
            Column::new("allocated", Align::Right, Role::Plain),
            Column::new("where", Align::Left, Role::Plain),
        ]);
        let shown = sites.len().min(usize::try_from(rows).unwrap_or(usize::MAX));
        let shown = sites.get(..shown).unwrap_or_default();
        let cells = |site: &Site| {
            [
                bytes(site.figures.inuse_bytes),
                signed(site.figures.inuse_objects),
                bytes(site.figures.alloc_bytes),
                place(&site.place.function, &site.place.file, site.place.line),
            ]
        };
        for site in shown {
            let cells = cells(site);
            table.fit(cells.get(..3).unwrap_or_default());
        }
        text.push('\n');
        table.head(self.style).render(self.style, text);
        for site in shown {
            table.row(self.style, &cells(site)).render(self.style, text);
            let mut more = self.line();
            more.space(6);
            more.push(Role::Metadata, site.evidence.word());
            if let Some(map_type) = &site.place.map_type {
                more.space(2);
                more.push(Role::Plain, map_type);
            }
            if churns(&site.figures) {
                let times = match site.figures.inuse_bytes {
                    ..=0 => "keeps nothing".to_owned(),
                    kept => format!(
                        "allocated {} times what it keeps",
                        signed(site.figures.alloc_bytes / kept)
                    ),
                };
                more.space(2);
                more.push(Role::Light, &format!("churns: {times}"));
            }
            more.render(self.style, text);
        }
        self.cut(shown.len(), sites.len(), "call site", text);
    }

    fn cut(&self, shown: usize, all: usize, noun: &str, text: &mut String) {
        if shown < all {
            self.line()
                .with(
                    Role::Metadata,
                    &format!(
                        "  {} of {} shown (-limit N, -limit all)",
                        thousands(shown as u64),
                        count(all as u64, noun)
                    ),
                )
                .render(self.style, text);
        }
    }

    fn unit(&self) -> &str {
        self.profile
            .sample_types
            .last()
            .map_or("", |last| &*last.unit)
    }

    fn work_answer(&self, text: &mut String) {
        let total = self.attribution.totals.last().copied().unwrap_or(0);
        let last = |work: &Work| work.values.last().copied().unwrap_or(0);
        let maps = self
            .attribution
            .work
            .iter()
            .map(last)
            .fold(0_i64, i64::saturating_add);
        let mut line = self.line();
        if self.attribution.work.is_empty() {
            line.push(Role::Plain, "Nothing in it is inside a function of maps");
            line.push(
                Role::Plain,
                &format!(" (of {}).", amount(total, self.unit())),
            );
            line.fold(self.style, 0, 2, text);
            return;
        }
        line.push(Role::Plain, "In functions of maps: ");
        line.push(Role::Highlight, &amount(maps, self.unit()));
        line.push(
            Role::Plain,
            &format!(
                " of {} ({}).",
                amount(total, self.unit()),
                share(maps, total)
            ),
        );
        line.fold(self.style, 0, 2, text);
        let mut groups: Vec<(&'static str, i64)> = Vec::new();
        for work in &self.attribution.work {
            let word = work.operation.word();
            match groups.iter_mut().find(|(known, _)| *known == word) {
                Some((_, sum)) => *sum = sum.saturating_add(last(work)),
                None => groups.push((word, last(work))),
            }
        }
        groups.sort_by_key(|(word, sum)| (std::cmp::Reverse(*sum), *word));
        let parts: Vec<String> = groups
            .iter()
            .map(|(word, sum)| format!("{word} {}", amount(*sum, self.unit())))
            .collect();
        self.line()
            .with(Role::Plain, &format!("  {}", parts.join("   ")))
            .fold(self.style, 2, 2, text);
    }

    fn work(&self, rows: u64, text: &mut String) {
        let work = &self.attribution.work;
        if work.is_empty() {
            return;
        }
        let total = self.attribution.totals.last().copied().unwrap_or(0);
        let shown = work.len().min(usize::try_from(rows).unwrap_or(usize::MAX));
        let shown = work.get(..shown).unwrap_or_default();
        let title = match self.profile.kind {
            Kind::Cpu => "time",
            Kind::Goroutine | Kind::ThreadCreate => "count",
            _ => "value",
        };
        let mut table = Table::new(vec![
            Column::new(title, Align::Right, Role::Plain),
            Column::new("share", Align::Right, Role::Plain),
            Column::new("doing", Align::Left, Role::Plain),
            Column::new("where", Align::Left, Role::Plain),
        ]);
        let cells = |row: &Work| {
            let value = row.values.last().copied().unwrap_or(0);
            let call = row.call.rsplit('.').next().unwrap_or(&row.call);
            let doing = match row.operation.word() {
                "growth" => format!("growth in {call}"),
                _ => call.to_owned(),
            };
            [
                amount(value, self.unit()),
                share(value, total),
                doing,
                place(&row.function, &row.file, row.line),
            ]
        };
        for row in shown {
            table.fit(cells(row).get(..3).unwrap_or_default());
        }
        text.push('\n');
        table.head(self.style).render(self.style, text);
        for row in shown {
            table.row(self.style, &cells(row)).render(self.style, text);
            if !row.labels.is_empty() {
                let labels: Vec<String> = row
                    .labels
                    .iter()
                    .take(3)
                    .map(|(key, value, sum)| format!("{key}={value} {}", amount(*sum, self.unit())))
                    .collect();
                let mut more = self.line();
                more.space(6);
                more.push(Role::Metadata, &labels.join("   "));
                more.render(self.style, text);
            }
        }
        self.cut(shown.len(), work.len(), "row", text);
    }

    fn notes(&self, text: &mut String) {
        for note in &self.attribution.notes {
            self.line()
                .with(Role::Metadata, note)
                .fold(self.style, 0, 2, text);
        }
    }
}

fn over_time(series: &[&Explained], rows: u64, style: &Style, text: &mut String) {
    let attributions: Vec<&Attribution> = series.iter().map(|one| &one.attribution).collect();
    if let Some(reason) = incomparable(series) {
        text.push('\n');
        Line::new(style)
            .with(Role::Light, &reason)
            .fold(style, 0, 2, text);
        return;
    }
    let trends = trends(&attributions);
    let first = series.first().map_or("", |one| &*one.name);
    let last = series.last().map_or("", |one| &*one.name);
    text.push('\n');
    let growth = trends.iter().fold(0_i64, |sum, trend| {
        sum.saturating_add(trend.growth.inuse_bytes)
    });
    let mut line = Line::new(style);
    line.push(Role::Plain, "From ");
    line.push(Role::Title, first);
    line.push(Role::Plain, " to ");
    line.push(Role::Title, last);
    line.push(Role::Plain, " maps in use changed by ");
    line.push(Role::Highlight, &plus(growth, bytes(growth)));
    line.push(Role::Plain, ".");
    line.fold(style, 0, 2, text);
    if series
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.profile.origin != b.profile.origin))
    {
        Line::new(style)
            .with(
                Role::Light,
                "Texts and protobuf profiles are compared: types are known in the one where they \
                 are not in the other.",
            )
            .fold(style, 0, 2, text);
    }
    let changed: Vec<&Trend> = trends
        .iter()
        .filter(|trend| trend.growth != Figures::default())
        .collect();
    if changed.is_empty() {
        return;
    }
    let shown = changed
        .len()
        .min(usize::try_from(rows).unwrap_or(usize::MAX));
    let shown = changed.get(..shown).unwrap_or_default();
    let mut table = Table::new(vec![
        Column::new("in use", Align::Right, Role::Plain),
        Column::new("objects", Align::Right, Role::Plain),
        Column::new("allocated", Align::Right, Role::Plain),
        Column::new("where", Align::Left, Role::Plain),
    ]);
    let cells = |trend: &Trend| {
        let growth = trend.growth;
        [
            plus(growth.inuse_bytes, bytes(growth.inuse_bytes)),
            plus(growth.inuse_objects, signed(growth.inuse_objects)),
            plus(growth.alloc_bytes, bytes(growth.alloc_bytes)),
            place(&trend.place.function, &trend.place.file, trend.place.line),
        ]
    };
    for trend in shown {
        table.fit(cells(trend).get(..3).unwrap_or_default());
    }
    text.push('\n');
    table.head(style).render(style, text);
    for trend in shown {
        table.row(style, &cells(trend)).render(style, text);
        let mut more = Line::new(style);
        more.space(6);
        if let Some(map_type) = &trend.place.map_type {
            more.push(Role::Metadata, map_type);
            more.space(2);
        }
        if trend.steady {
            let objects: Vec<String> = trend
                .figures
                .iter()
                .map(|figures| signed(figures.inuse_objects))
                .collect();
            more.push(
                Role::Light,
                &format!("objects rose in each profile: {}", objects.join(", ")),
            );
        }
        if trend.steady || trend.place.map_type.is_some() {
            more.render(style, text);
        }
    }
    if shown.len() < changed.len() {
        Line::new(style)
            .with(
                Role::Metadata,
                &format!(
                    "  {} of {} shown (-limit N, -limit all)",
                    thousands(shown.len() as u64),
                    count(changed.len() as u64, "call site")
                ),
            )
            .render(style, text);
    }
    if shown.iter().any(|trend| trend.steady) {
        Line::new(style)
            .with(
                Role::Metadata,
                "That objects rise in each profile is a rule, not a proof of a leak: a cache that \
                 still fills does so, too.",
            )
            .fold(style, 0, 2, text);
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    profiles: Vec<OneProfile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trends: Option<Vec<Trend>>,
    /// Why they are not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_trends: Option<String>,
}

#[derive(Serialize)]
struct Type<'a> {
    name: &'a str,
    unit: &'a str,
}

#[derive(Serialize)]
struct OneProfile<'a> {
    file: &'a str,
    kind: String,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<i64>,
    duration_ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_gc_ns: Option<i64>,
    period: i64,
    sample_types: Vec<Type<'a>>,
    totals: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    heap: Option<Heap<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<Rows<'a, Work>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Rows<'a, T> {
    rows: &'a [T],
    total: usize,
}

#[derive(Serialize)]
struct Heap<'a> {
    maps: Figures,
    other: Figures,
    unknown: Figures,
    unknown_because: Vec<Reason>,
    sites: Vec<OneSite<'a>>,
    sites_total: usize,
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct OneSite<'a> {
    #[serde(flatten)]
    site: &'a Site,
    churns: bool,
}

/// The profile as it was read.
#[derive(Serialize)]
struct Raw<'a> {
    locations: Vec<OneLocation<'a>>,
    samples: Vec<OneSample<'a>>,
}

#[derive(Serialize)]
struct OneLocation<'a> {
    address: String,
    lines: &'a [crate::pprof::Line],
}

#[derive(Serialize)]
struct OneSample<'a> {
    stack: &'a [u32],
    values: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<&'a [i64]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    labels: Vec<OneLabel<'a>>,
}

#[derive(Serialize)]
struct OneLabel<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
}

fn raw(profile: &Profile) -> Raw<'_> {
    Raw {
        locations: profile
            .locations
            .iter()
            .map(|Location { address, lines }| OneLocation {
                address: format!("{address:#x}"),
                lines,
            })
            .collect(),
        samples: profile
            .samples
            .iter()
            .map(|sample| OneSample {
                stack: &sample.stack,
                values: &sample.values,
                sampled: sample.raw.as_deref(),
                labels: sample.labels.iter().map(one_label).collect(),
            })
            .collect(),
    }
}

fn one_label(label: &Label) -> OneLabel<'_> {
    let (text, number, unit) = match &label.value {
        LabelValue::Text(text) => (Some(&**text), None, None),
        LabelValue::Number(number, unit) => (None, Some(*number), Some(&**unit)),
    };
    OneLabel {
        key: &label.key,
        text,
        number,
        unit: unit.filter(|unit| !unit.is_empty()),
    }
}

/// The JSON document for some profiles: one line. With `with_raw` each profile has its samples
/// and places, too.
#[must_use]
pub fn pprof_json(profiles: &[Explained], limit: Option<Option<u64>>, with_raw: bool) -> String {
    let most = limit
        .flatten()
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let series = series(profiles);
    let refused = (series.len() > 1).then(|| incomparable(&series)).flatten();
    let trends = (series.len() > 1 && refused.is_none()).then(|| {
        let attributions: Vec<&Attribution> = series.iter().map(|one| &one.attribution).collect();
        trends(&attributions).into_iter().take(most).collect()
    });
    let document = Document {
        schema: "gomapscope.pprof/1",
        profiles: profiles
            .iter()
            .map(|explained| one_profile(explained, most, with_raw))
            .collect(),
        trends,
        no_trends: refused,
    };
    let mut text = to_json(&document);
    text.push('\n');
    text
}

fn one_profile(explained: &Explained, most: usize, with_raw: bool) -> OneProfile<'_> {
    let (profile, attribution) = (&explained.profile, &explained.attribution);
    let binary = explained.program.as_deref().map(|program| program.binary());
    let heap = (profile.kind == Kind::Heap).then(|| Heap {
        maps: attribution.maps,
        other: attribution.other,
        unknown: attribution.unknown,
        unknown_because: attribution
            .reasons
            .iter()
            .map(|(reason, figures)| Reason {
                reason,
                figures: *figures,
            })
            .collect(),
        sites: attribution
            .sites
            .iter()
            .take(most)
            .map(|site| OneSite {
                site,
                churns: churns(&site.figures),
            })
            .collect(),
        sites_total: attribution.sites.len(),
    });
    OneProfile {
        file: &explained.name,
        kind: kind_word(profile).to_lowercase(),
        origin: origin_word(profile.origin),
        program: binary
            .map(|binary| binary.path().display().to_string())
            .or_else(|| profile.program.as_deref().map(str::to_owned)),
        build_id: profile.build_id.as_deref(),
        go_version: binary
            .and_then(|binary| binary.version())
            .map(|version| version.text),
        time_ns: profile.time_ns,
        duration_ns: profile.duration_ns,
        last_gc_ns: profile.last_gc_ns,
        period: profile.period,
        sample_types: profile
            .sample_types
            .iter()
            .map(|kind| Type {
                name: &kind.name,
                unit: &kind.unit,
            })
            .collect(),
        totals: &attribution.totals,
        work: (profile.kind != Kind::Heap).then(|| Rows {
            rows: attribution
                .work
                .get(..attribution.work.len().min(most))
                .unwrap_or_default(),
            total: attribution.work.len(),
        }),
        heap,
        raw: with_raw.then(|| raw(profile)),
        notes: &attribution.notes,
    }
}
