//! What is shown: of a snapshot that was saved, and of two that were compared.

use serde::Serialize;

use super::compare::{BucketChange, Change, Class, Delta, Diff, Side, Storage, Sums, TypeChange};
use super::write::{Options, Saved};
use super::{Address, Origin, Record, Scope, Taken};
use crate::report::{
    Align, Column, JsonRows, Line, Role, Style, Table, count, display_width, percent, size,
    thousands,
};
use crate::scan::type_text;
use crate::target::WHILE_RUNNING;

/// Types whose sums are shown.
const TYPES: usize = 5;
/// Types of the JSON document.
const JSON_TYPES: usize = 10_000;
/// Expressions that could not be followed, shown one by one.
const MISSING: usize = 4;
/// Room below which a name goes to a line of its own.
const ROOM: usize = 12;

/// The words for a difference: `+1.0 GiB`, `-3 B`, `0 B`.
fn signed(bytes: i64) -> String {
    let sign = match bytes {
        1.. => "+",
        0 => "",
        ..0 => "-",
    };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}

/// What a map is called: its name, else where it is.
fn called(map: &Record) -> String {
    match &map.name {
        Some(name) => name.to_string(),
        None => format!("the {} at {:#x}", kind(map), map.address),
    }
}

fn kind(map: &Record) -> String {
    type_text(map.type_name.as_ref(), &map.types, None)
}

/// `20 more entries`, `20 fewer entries`, `as many entries`.
fn entries(change: i64) -> String {
    let many = |word: &str| count(change.unsigned_abs(), &format!("{word} entry"));
    match change {
        1.. => many("more"),
        0 => "as many entries".to_owned(),
        ..0 => many("fewer"),
    }
}

/// What became of one map, in a sentence.
fn sentence(change: &Change<'_>) -> (String, String) {
    let Some(map) = change.map() else {
        return (String::new(), String::new());
    };
    let (delta, name) = (change.delta, called(map));
    let bytes = size(delta.allocated.unsigned_abs());
    let more = match delta.allocated {
        1.. => format!("{bytes} more"),
        0 => "no bytes more".to_owned(),
        ..0 => format!("{bytes} less"),
    };
    let told = match change.class {
        Class::Grown => format!(": {more} storage for {}.", entries(delta.len)),
        Class::Filled => format!(": {} in the storage it had.", entries(delta.len)),
        Class::Emptied => format!(
            ": {} of {} are gone, and its {} stayed.",
            thousands(delta.len.unsigned_abs()),
            change
                .before
                .map_or_else(String::new, |map| count(map.len, "entry")),
            size(map.allocated)
        ),
        Class::Shrunk | Class::Rebuilt | Class::Moved => {
            format!(": {more} for {}.", entries(delta.len))
        }
        Class::Changed if delta.allocated != 0 => {
            format!(": {more} for the same slots and entries.")
        }
        Class::Changed => ": entries were replaced in the storage it had.".to_owned(),
        Class::New => format!(": {bytes} for {}.", count(map.len, "entry")),
        Class::Gone if change.garbage => format!(
            ": its {bytes} for {} are garbage, which the next collection frees.",
            count(map.len, "entry")
        ),
        Class::Gone => format!(": {bytes} for {} less.", count(map.len, "entry")),
        Class::Unlisted | Class::Unchanged => ".".to_owned(),
    };
    let verb = match change.class {
        Class::Grown => "grew",
        Class::Filled => "was filled",
        Class::Emptied => "was emptied",
        Class::Shrunk => "shrank",
        Class::Rebuilt => "was rebuilt",
        Class::Moved => "moved",
        Class::Changed => "changed",
        Class::New => "is new",
        Class::Gone => "is gone",
        Class::Unlisted => "is not compared",
        Class::Unchanged => "is unchanged",
    };
    // What is not certain may be all that changed.
    let doubt = if change.exact() { "" } else { "Not certain: " };
    (format!("{doubt}{name} {verb}"), told)
}

struct Page<'a> {
    diff: &'a Diff<'a>,
    style: &'a Style,
    /// A process is there to be asked on.
    live: bool,
}

/// The text of `go-map-diff`: `top` maps of it, those that are unchanged only with `all`.
/// `live`: the later side is the present, of which commands can tell more.
#[must_use]
pub fn diff_text(
    diff: &Diff<'_>,
    top: Option<u64>,
    all: bool,
    live: bool,
    style: &Style,
) -> String {
    let page = Page { diff, style, live };
    let mut text = String::new();
    let listed: Vec<&Change<'_>> = diff
        .changes
        .iter()
        .filter(|change| all || !matches!(change.class, Class::Unchanged | Class::Unlisted))
        .collect();
    let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
    let shown = listed.get(..listed.len().min(top)).unwrap_or_default();
    page.answer(&mut text);
    if !shown.is_empty() {
        text.push('\n');
        page.table(shown, &mut text);
    }
    page.counts(shown.len(), listed.len(), &mut text);
    page.types(&mut text);
    page.doubts(&mut text);
    page.next(&mut text);
    text
}

impl Page<'_> {
    fn line(&self) -> Line {
        Line::new(self.style)
    }

    fn compared(&self) -> impl Iterator<Item = &Change<'_>> {
        self.diff
            .changes
            .iter()
            .filter(|change| change.class != Class::Unlisted)
    }

    fn answer(&self, text: &mut String) {
        let mut line = self.line();
        let (before, after) = (self.diff.before.sums, self.diff.after.sums);
        let mut changed = self
            .compared()
            .filter(|change| change.class != Class::Unchanged);
        let hold = if after.maps == 1 { "holds" } else { "hold" };
        let Some(first) = changed.next() else {
            let (head, rest) = if self.compared().next().is_some() {
                (
                    "Nothing changed",
                    format!(
                        ": {} {hold} {} as before.",
                        count(after.maps, "map"),
                        size(after.allocated)
                    ),
                )
            } else {
                (
                    "Nothing to compare",
                    ": no map is on both sides.".to_owned(),
                )
            };
            line.push(Role::Title, head);
            line.push(Role::Plain, &rest);
            line.fold(self.style, 0, 2, text);
            return;
        };
        let (head, rest) = sentence(first);
        line.push(Role::Title, &head);
        line.push(Role::Plain, &rest);
        if changed.next().is_some() {
            let change = i128::from(after.allocated) - i128::from(before.allocated);
            let change = i64::try_from(change).unwrap_or_default();
            line.push(
                Role::Plain,
                &format!(
                    " In all {} in {} before, {} in {} after ({}).",
                    size(before.allocated),
                    count(before.maps, "map"),
                    size(after.allocated),
                    thousands(after.maps),
                    signed(change)
                ),
            );
        }
        line.fold(self.style, 0, 2, text);
    }

    /// Two lines a map: as it is, as it was.
    fn table(&self, changes: &[&Change<'_>], text: &mut String) {
        let mut table = Table::new(vec![
            Column::new("change", Align::Right, Role::Plain),
            Column::new("allocated", Align::Right, Role::Plain),
            Column::new("len", Align::Right, Role::Plain),
            Column::new("holes", Align::Right, Role::Plain),
            Column::new("", Align::Left, Role::Plain),
        ]);
        let there = |map: Option<&Record>| map.is_some_and(|map| map.address != 0);
        let figures = |map: Option<&Record>| match map.filter(|map| map.address != 0) {
            Some(map) => [
                format!(
                    "{}{}",
                    size(map.allocated),
                    if map.exact { "" } else { "?" }
                ),
                thousands(map.len),
                map.hole_density.map_or_else(|| "-".to_owned(), percent),
            ],
            None => ["-", "-", "-"].map(str::to_owned),
        };
        let rows: Vec<[[String; 5]; 2]> = changes
            .iter()
            .map(|change| {
                let [allocated, len, holes] = figures(change.after);
                let is = [
                    signed(change.delta.allocated),
                    allocated,
                    len,
                    holes,
                    format!(
                        "{}{}",
                        change.class.word(),
                        if change.exact() { "" } else { "?" }
                    ),
                ];
                let [allocated, len, holes] = figures(change.before);
                [is, ["was".to_owned(), allocated, len, holes, String::new()]]
            })
            .collect();
        for row in rows.iter().flatten() {
            table.fit(row);
        }
        let room = self.style.columns().saturating_sub(table.width() + 2);
        table
            .columns
            .push(Column::new("map", Align::Left, Role::Plain));
        table.head(self.style).render(self.style, text);
        for (change, [is, was]) in changes.iter().zip(&rows) {
            let Some(map) = change.map() else {
                continue;
            };
            let mut names = Vec::new();
            let mut below = Vec::new();
            let told = [
                map.name
                    .as_ref()
                    .map_or_else(|| format!("{:#x}", map.address), ToString::to_string),
                kind(map),
            ];
            for (position, name) in told.iter().enumerate() {
                let role = match (position, &map.name) {
                    (0, Some(_)) => Role::Title,
                    (0, None) => Role::Address,
                    _ => Role::Plain,
                };
                let fits = room >= ROOM && display_width(name) <= room;
                let line = self.line().with(role, name);
                names.push(fits.then(|| line.clone()));
                if !fits {
                    below.push(line);
                }
            }
            below.extend(self.oddities(change));
            let mut render = |cells: &[String; 5], dim: bool, beside: Option<Line>| {
                let mut laid: Vec<Line> = cells
                    .iter()
                    .map(|cell| {
                        let role = if dim { Role::Metadata } else { Role::Plain };
                        self.line().with(role, cell)
                    })
                    .collect();
                laid.extend(beside);
                table.lay(self.style, &laid).render(self.style, text);
            };
            let mut names = names.into_iter();
            render(is, false, names.next().flatten());
            let second = names.next().flatten();
            if there(change.before) {
                render(was, true, second);
            } else if second.is_some() {
                render(&Default::default(), true, second);
            }
            if !below.is_empty() {
                let mut line = self.line();
                for (position, part) in below.iter().enumerate() {
                    if position > 0 {
                        line.push(Role::Plain, ", ");
                    }
                    line.append(part);
                }
                line.fold(self.style, 6, 2, text);
            }
        }
    }

    /// What the columns do not say.
    fn oddities(&self, change: &Change<'_>) -> Vec<Line> {
        let mut parts = Vec::new();
        let dim = |text: &str| self.line().with(Role::Metadata, text);
        if let (true, Some(was), Some(is)) = (change.moved, change.before, change.after) {
            parts.push(
                dim("moved: the header is at ")
                    .with(Role::Address, &format!("{:#x}", is.address))
                    .with(Role::Metadata, ", was at ")
                    .with(Role::Address, &format!("{:#x}", was.address)),
            );
        } else if let (Some(was), Some(is)) = (
            change.before.and_then(|map| map.name.as_ref()),
            change.after.and_then(|map| map.name.as_ref()),
        ) && was != is
        {
            parts.push(dim("before as ").with(Role::Plain, was));
        }
        if let (Class::Moved, false, Some(storage)) = (change.class, change.moved, change.storage) {
            parts.push(dim(&format!(
                "{} of its storage moved, {} stayed",
                size(storage.added),
                size(storage.kept)
            )));
        }
        if let Some(buckets) = change.buckets.filter(|found| found.more + found.fewer > 0) {
            parts.push(dim(&format!(
                "{} with more entries, {} with fewer, {} of them emptied",
                count(buckets.more, "bucket"),
                thousands(buckets.fewer),
                thousands(buckets.emptied)
            )));
        }
        if change.garbage {
            parts.push(dim("garbage, which the next collection frees"));
        }
        parts
    }

    /// How many maps became what.
    fn counts(&self, shown: usize, listed: usize, text: &mut String) {
        let words: Vec<String> = self
            .diff
            .classes
            .iter()
            .map(|(class, many)| match class {
                Class::Unlisted => format!("{} not compared", thousands(*many)),
                class => format!("{} {}", thousands(*many), class.word()),
            })
            .collect();
        let mut told = words.join(", ");
        if shown < listed {
            told = format!(
                "{} of {} listed (-top N, -all): {told}",
                thousands(shown as u64),
                thousands(listed as u64)
            );
        }
        if self.diff.changes.len() > 1 || shown == 0 && !told.is_empty() {
            let line = self.line().with(Role::Metadata, &told);
            line.fold(self.style, 2, 2, text);
        }
    }

    fn types(&self, text: &mut String) {
        let changed: Vec<&TypeChange> = self
            .diff
            .types
            .iter()
            .filter(|of| of.before != of.after)
            .collect();
        // Of a few maps the table above says it all.
        if self.diff.types.len() < 2 || self.diff.changes.len() < 10 || changed.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::new("change", Align::Right, Role::Plain),
            Column::new("allocated", Align::Right, Role::Plain),
            Column::new("len", Align::Right, Role::Plain),
            Column::new("maps", Align::Right, Role::Plain),
            Column::new("were", Align::Right, Role::Plain),
            Column::new("by type", Align::Left, Role::Plain),
        ]);
        let rows: Vec<[String; 6]> = changed
            .iter()
            .take(TYPES)
            .map(|of| {
                let change = i128::from(of.after.allocated) - i128::from(of.before.allocated);
                [
                    signed(i64::try_from(change).unwrap_or_default()),
                    size(of.after.allocated),
                    thousands(of.after.len),
                    thousands(of.after.maps),
                    thousands(of.before.maps),
                    type_text(of.name.as_ref(), &[], None),
                ]
            })
            .collect();
        for row in &rows {
            table.fit(row);
        }
        text.push('\n');
        table.head(self.style).render(self.style, text);
        for row in &rows {
            table.row(self.style, row).render(self.style, text);
        }
        if changed.len() > TYPES {
            let more = count((changed.len() - TYPES) as u64, "more type");
            let line = self
                .line()
                .with(Role::Metadata, &format!("and {more} (-json lists them)"));
            line.fold(self.style, 2, 2, text);
        }
    }

    /// What was compared, and what is not certain.
    fn doubts(&self, text: &mut String) {
        text.push('\n');
        for sentence in notes(self.diff, self.live) {
            let line = self.line().with(Role::Plain, &sentence);
            line.fold(self.style, 2, 2, text);
        }
    }

    fn next(&self, text: &mut String) {
        let map = self.diff.changes.iter().find_map(|change| {
            let map = change.after.filter(|map| map.address != 0)?;
            let worth = !matches!(change.class, Class::Unchanged | Class::Unlisted);
            worth.then_some(map)
        });
        let Some(map) = map.filter(|_| self.live) else {
            return;
        };
        let scanned = self.diff.after.snapshot.scope != Scope::Named;
        let told = match (&map.name, &map.type_name) {
            (Some(name), _) if !scanned => name.to_string(),
            (_, Some(kind)) => format!("{:#x} -type '{kind}'", map.address),
            (_, None) => format!("{:#x}", map.address),
        };
        text.push('\n');
        let line = self
            .line()
            .with(Role::Plain, &format!("Next: go-map-stats {told}"));
        line.fold(self.style, 0, 6, text);
    }
}

/// Where a side comes from: a file, or the process.
fn place(side: &Side<'_>) -> String {
    match side.snapshot.path.as_str() {
        "" => "now".to_owned(),
        path => path.to_owned(),
    }
}

/// Nanoseconds as people say them.
fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Sentences that qualify a comparison.
fn notes(diff: &Diff<'_>, live: bool) -> Vec<String> {
    let (one, other) = (&diff.before, &diff.after);
    let (from, to) = (place(one), place(other));
    let mut list = Vec::new();
    list.push(match diff.elapsed {
        Some((0.., clock)) => {
            let later = duration(diff.elapsed.map_or(0, |(ns, _)| ns.unsigned_abs()));
            let by = if clock == "wall" {
                " by the wall clock"
            } else {
                ""
            };
            format!("From {from} to {to}: {later}{by}.")
        }
        Some((ns, _)) => format!(
            "{to} was taken {} before {from}: they may be given in the wrong order.",
            duration(ns.unsigned_abs())
        ),
        None => format!("From {from} to {to}: the clocks of the target are not known."),
    });
    match (diff.same_program, diff.same_process) {
        (Some(false), _) => list.push(
            "The two are of different programs: maps are matched by their names alone.".to_owned(),
        ),
        (_, Some(false)) => list.push(
            "The two are of different processes: maps are matched by their names alone.".to_owned(),
        ),
        (_, None) => list.push(
            "Whether both are of one process is not known: addresses are taken to mean the same."
                .to_owned(),
        ),
        (_, Some(true)) => {}
    }
    for side in [one, other] {
        match (side.snapshot.racing, side.snapshot.path.as_str()) {
            (true, "") => list.push(WHILE_RUNNING.to_owned()),
            (true, path) => list.push(format!(
                "Racing: the program ran while {path} was taken, so nothing of it is exact."
            )),
            (false, _) => {}
        }
        if side.snapshot.scope == Scope::Part {
            list.push(format!(
                "{} has only a part of the maps (it was cut by an option, interrupted, taken while \
                 the program ran, or could not be read everywhere): what it lacks is not called \
                 gone or new.",
                place(side)
            ));
        }
        let missing = &side.snapshot.missing;
        for (expression, reason) in missing.iter().take(MISSING) {
            list.push(format!("{expression} is not compared: {reason}"));
        }
        if missing.len() > MISSING {
            let more = (missing.len() - MISSING) as u64;
            list.push(format!(
                "{} could not be followed.",
                count(more, "more expression")
            ));
        }
    }
    let missing = |side: &Side<'_>| side.snapshot.missing.len() as u64;
    let unlisted = diff
        .classes
        .iter()
        .find_map(|(class, many)| (*class == Class::Unlisted).then_some(*many))
        .unwrap_or(0)
        .saturating_sub(missing(one) + missing(other));
    let parts = [one, other]
        .iter()
        .any(|side| side.snapshot.scope == Scope::Part);
    if unlisted > 0 && !parts {
        list.push(format!(
            "{} on one side only, which the other was not asked for.",
            match unlisted {
                1 => "1 map is".to_owned(),
                many => format!("{} maps are", thousands(many)),
            }
        ));
    }
    let inexact = diff.changes.iter().filter(|change| !change.exact()).count() as u64;
    if inexact > 0 {
        let racing = one.snapshot.racing || other.snapshot.racing;
        let hint = match live && !racing {
            true => ": go-map-stats tells why",
            false => "",
        };
        list.push(format!(
            "A ? means that not every figure of the map is certain{hint} ({}).",
            count(inexact, "map")
        ));
    }
    list
}

#[derive(Serialize)]
struct SideHead<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    schema: &'static str,
    scope: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    racing: bool,
    taken: &'a Taken,
    target: &'a Origin,
    totals: Sums,
    missing: Vec<[&'a str; 2]>,
}

#[derive(Serialize)]
struct DiffHead<'a> {
    schema: &'static str,
    before: SideHead<'a>,
    after: SideHead<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_process: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_program: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_clock: Option<&'static str>,
}

#[derive(Serialize)]
struct Figures {
    address: Address,
    len: u64,
    capacity: u64,
    allocated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reclaimable: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hole_density: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_density: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstones: Option<u64>,
    exact: bool,
}

impl From<&Record> for Figures {
    fn from(map: &Record) -> Self {
        Self {
            address: Address(map.address),
            len: map.len,
            capacity: map.capacity,
            allocated: map.allocated,
            reclaimable: map.reclaimable,
            hole_density: map.hole_density,
            empty_density: map.empty_density,
            tombstones: map.tombstones,
            exact: map.exact,
        }
    }
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    class: Class,
    address: Address,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_before: Option<&'a str>,
    moved: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    garbage: bool,
    change: Delta,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<BucketChange>,
}

#[derive(Serialize)]
struct DiffTail<'a> {
    classes: std::collections::BTreeMap<&'static str, u64>,
    change: Delta,
    types: &'a [TypeChange],
    types_total: usize,
    notes: Vec<String>,
}

/// Writes the document of `go-map-diff -json`, row by row.
///
/// # Errors
/// What the writer returned.
pub fn diff_json<E>(
    diff: &Diff<'_>,
    top: Option<u64>,
    live: bool,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let head = DiffHead {
        schema: "gomapscope.diff/1",
        before: side_head(&diff.before),
        after: side_head(&diff.after),
        same_process: diff.same_process,
        same_program: diff.same_program,
        elapsed_ns: diff.elapsed.map(|(ns, _)| ns),
        elapsed_clock: diff.elapsed.map(|(_, clock)| clock),
    };
    let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
    let mut document = JsonRows::begin(&head, "maps", write);
    for change in diff.changes.iter().take(top) {
        let Some(map) = change.map() else {
            continue;
        };
        let name = |map: Option<&Record>| map.and_then(|map| map.name.as_deref().map(String::from));
        let before = name(change.before).filter(|before| Some(before) != name(Some(map)).as_ref());
        document.row(&ChangeRow {
            class: change.class,
            address: Address(map.address),
            type_name: map.type_name.as_deref(),
            name: map.name.as_deref(),
            name_before: before.as_deref(),
            moved: change.moved,
            garbage: change.garbage,
            change: change.delta,
            before: change.before.map(Figures::from),
            after: change.after.map(Figures::from),
            storage: change.storage,
            buckets: change.buckets,
        })?;
    }
    let (was, is) = (diff.before.sums, diff.after.sums);
    let difference =
        |was: u64, is: u64| i64::try_from(i128::from(is) - i128::from(was)).unwrap_or_default();
    let types = &diff.types;
    document.finish_with(
        &DiffTail {
            classes: diff
                .classes
                .iter()
                .map(|(class, many)| (class.word(), *many))
                .collect(),
            change: Delta {
                allocated: difference(was.allocated, is.allocated),
                len: difference(was.len, is.len),
                capacity: diff
                    .changes
                    .iter()
                    .fold(0, |sum, change| sum.saturating_add(change.delta.capacity)),
                reclaimable: difference(was.reclaimable, is.reclaimable),
            },
            types: types.get(..types.len().min(JSON_TYPES)).unwrap_or_default(),
            types_total: types.len(),
            notes: notes(diff, live),
        },
        diff.changes.len() > top,
    )
}

fn side_head<'a>(side: &Side<'a>) -> SideHead<'a> {
    let snapshot = side.snapshot;
    SideHead {
        path: &snapshot.path,
        schema: snapshot.schema,
        scope: match snapshot.scope {
            Scope::Named => "named",
            Scope::All => "all",
            Scope::Part => "part",
        },
        racing: snapshot.racing,
        taken: &snapshot.taken,
        target: &snapshot.origin,
        totals: side.sums,
        missing: snapshot
            .missing
            .iter()
            .map(|(expression, reason)| [expression.as_str(), reason.as_str()])
            .collect(),
    }
}

#[derive(Serialize)]
struct SavedDocument<'a> {
    schema: &'static str,
    path: &'a str,
    file_bytes: u64,
    options: Options,
    #[serde(flatten)]
    saved: Saved,
}

/// The document of `go-map-snapshot -json`: what was saved, and where.
pub(crate) fn saved_json(path: &str, bytes: u64, options: Options, saved: Saved) -> String {
    crate::report::to_json(&SavedDocument {
        schema: "gomapscope.saved/1",
        path,
        file_bytes: bytes,
        options,
        saved,
    }) + "\n"
}

/// The text of `go-map-snapshot`; `live`: there is a process that goes on.
pub(crate) fn saved_text(
    path: &str,
    bytes: u64,
    saved: Saved,
    live: bool,
    style: &Style,
) -> String {
    let mut text = String::new();
    let mut line = Line::new(style);
    if saved.interrupted {
        line.push(Role::Highlight, "Interrupted, this is only a part");
        line.push(Role::Plain, ": ");
    }
    line.push(
        Role::Title,
        &format!(
            "{}, {} in {}",
            count(saved.maps, "map"),
            count(saved.len, "entry"),
            size(saved.allocated)
        ),
    );
    line.push(
        Role::Plain,
        &format!(", saved to {path} ({}).", size(bytes)),
    );
    line.fold(style, 0, 2, &mut text);
    if saved.inexact > 0 {
        let maps = count(saved.inexact, "map");
        let line = Line::new(style).with(
            Role::Plain,
            &format!("Not every figure of {maps} is certain: the file says of which."),
        );
        line.fold(style, 0, 2, &mut text);
    }
    if saved.defects > 0 {
        let defects = count(saved.defects, "defect");
        let line = Line::new(style).with(
            Role::Highlight,
            &format!("Maps may be missing ({defects}, which the file names)."),
        );
        line.fold(style, 0, 2, &mut text);
    }
    if saved.racing {
        let line = Line::new(style).with(Role::Highlight, WHILE_RUNNING);
        line.fold(style, 0, 2, &mut text);
    }
    text.push('\n');
    let next = if live {
        format!(
            "Next: let the program run on, then: go-map-diff {}",
            quoted(path)
        )
    } else {
        format!("Next: gomapscope diff {} OTHER", quoted(path))
    };
    let line = Line::new(style).with(Role::Plain, &next);
    line.fold(style, 0, 6, &mut text);
    text
}

/// A path as a command line takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./%~+-,@".contains(c);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::snapshot::{Snapshot, compare, read};

    const NAMES: &str = "main.\\u001b[2Jcache";

    fn snapshot(maps: &[(u64, u64, u64, &str)]) -> Snapshot {
        let maps: Vec<String> = maps
            .iter()
            .map(|(address, len, allocated, name)| {
                format!(
                    r#"{{"address":"{address:#x}","type":"map[string]main.A","len":{len},"capacity":{len},"allocated":{allocated},"state":"live","held_by":"{name}"}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"schema":"gomapscope.snapshot/1","kind":"scan","target":{{}},"options":{{}},"maps":[{}],"truncated":false,"interrupted":false}}"#,
            maps.join(",")
        );
        match read("a", text.as_bytes()) {
            Ok(snapshot) => snapshot,
            Err(error) => panic!("{error}"),
        }
    }

    fn two() -> (Snapshot, Snapshot) {
        (
            snapshot(&[
                (16, 10, 4096, NAMES),
                (32, 5, 100, "main.b"),
                (48, 1, 8, "main.c"),
            ]),
            snapshot(&[(16, 30, 1 << 30, NAMES), (32, 5, 100, "main.b")]),
        )
    }

    #[test]
    fn lines_fit_and_hostile_text_is_harmless() {
        let (before, after) = two();
        let diff = compare(&before, &after);
        for (width, unicode) in [(80, true), (40, false), (20, true), (1, false)] {
            let style = Style {
                width,
                color: false,
                unicode,
            };
            for all in [false, true] {
                let text = diff_text(&diff, Some(5), all, true, &style);
                for line in text.lines() {
                    assert!(display_width(line) <= width, "{width}: {line}");
                    assert!(!line.chars().any(char::is_control), "{line:?}");
                }
            }
        }
        let mut document = String::new();
        let done: Result<(), Infallible> = diff_json(&diff, None, false, &mut |part| {
            document.push_str(part);
            Ok(())
        });
        done.unwrap();
        assert!(!document.trim_end().chars().any(char::is_control));
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["schema"], "gomapscope.diff/1");
        assert_eq!(value["maps"].as_array().unwrap().len(), 3);
        assert_eq!(value["classes"]["gone"], 1);
        assert_eq!(value["change"]["allocated"], (1_i64 << 30) - 4096 - 8);
        assert_eq!(value["maps"][0]["before"]["address"], "0x10");
    }

    #[test]
    fn the_answer_comes_first() {
        let (before, after) = two();
        let style = Style {
            width: 80,
            color: false,
            unicode: true,
        };
        let text = diff_text(&compare(&before, &after), Some(5), false, false, &style);
        assert!(
            text.starts_with("main.\\x1b[2Jcache grew: 1.0 GiB more storage for 20 more entries."),
            "{text}"
        );
        assert!(text.contains("gone   main.c\n"), "{text}");
        assert!(text.contains("1 grown, 1 gone, 1 unchanged"), "{text}");
        let text = diff_text(&compare(&before, &before), Some(5), false, false, &style);
        assert!(
            text.starts_with("Nothing changed: 3 maps hold 4.1 KiB as before."),
            "{text}"
        );
    }
}
