//! The text and the JSON document of `gomapscope trace`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::json::to_json;
use super::number::{count, percent, percent_of, size, thousands};
use super::style::{Line, Role, Style};
use super::table::{Align, Column, Table};
use crate::events::Frame;
use crate::exectrace::{
    Amount, Clock, Cluster, Count, Life, LogRow, Outcome, Points, Range, Step, Summary,
};

/// Rows where `-limit` does not say how many.
const ROWS: u64 = 8;
const STEPS: u64 = 12;
/// What is written at once: bytes.
const CHUNK: usize = 64 * 1024;

/// How long something took, in the unit that suits: `12.3 ms`.
fn span(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{}.{} us", ns / 1_000, ns / 100 % 10),
        1_000_000..1_000_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        _ => format!(
            "{}.{:03} s",
            thousands(ns / 1_000_000_000),
            ns / 1_000_000 % 1000
        ),
    }
}

/// `main.fill cache.go:33`, the first frame that is not the tracer's.
fn place(stack: &[Frame]) -> Option<String> {
    let frame = stack
        .iter()
        .find(|frame| !frame.function.starts_with("runtime"))?;
    let file = frame.file.rsplit(['/', '\\']).next().unwrap_or_default();
    Some(match (file.is_empty(), frame.line) {
        (true, _) => frame.function.clone(),
        (false, line) => format!("{} {file}:{line}", frame.function),
    })
}

/// `map.group[K]V` as the map's own type: what kind of object it is stands beside it.
fn shown(type_name: &str) -> String {
    ["map.group[", "map.bucket["]
        .iter()
        .find_map(|prefix| type_name.strip_prefix(prefix))
        .map_or_else(|| type_name.to_owned(), |rest| format!("map[{rest}"))
}

/// What the reading of one file gave.
#[derive(Clone, Copy)]
pub struct ExecTrace<'a> {
    /// The file, as typed.
    pub file: &'a str,
    /// What was summed up.
    pub summary: &'a Summary<'a>,
    /// How the reading went.
    pub outcome: &'a Outcome,
    /// Rows of each list: `Some(None)` for all, `None` for as many as suit.
    pub limit: Option<Option<u64>>,
}

/// The sum of some ranges, and the longest.
#[derive(Default)]
struct Lengths {
    whole: u64,
    sum: u64,
    longest: u64,
}

impl Lengths {
    fn of<'a>(ranges: impl Iterator<Item = &'a Range>) -> Self {
        let mut lengths = Self::default();
        for length in ranges.filter_map(Range::length) {
            lengths.whole += 1;
            lengths.sum = lengths.sum.saturating_add(length);
            lengths.longest = lengths.longest.max(length);
        }
        lengths
    }
}

impl ExecTrace<'_> {
    fn rows(&self, default: u64) -> usize {
        self.limit
            .unwrap_or(Some(default))
            .and_then(|rows| usize::try_from(rows).ok())
            .unwrap_or(usize::MAX)
    }

    /// A time after the trace's first.
    fn after(&self, t_ns: u64) -> String {
        let first = self.summary.extent.map_or(0, |extent| extent.0);
        format!("+{}", span(t_ns.saturating_sub(first)))
    }

    /// The text.
    #[must_use]
    pub fn text(&self, style: &Style) -> String {
        let mut text = String::new();
        self.head(style, &mut text);
        self.collector(style, &mut text);
        self.heap(style, &mut text);
        self.logs(style, &mut text);
        self.storage(style, &mut text);
        self.lives(style, &mut text);
        self.clusters(style, &mut text);
        self.doubts(style, &mut text);
        text
    }

    fn head(&self, style: &Style, text: &mut String) {
        let (summary, outcome) = (self.summary, self.outcome);
        let mut line = Line::new(style);
        if outcome.interrupted {
            line.push(Role::Highlight, "Interrupted, this is only a part");
            line.push(Role::Plain, ": ");
        }
        line.push(Role::Title, self.file);
        let time = summary
            .extent
            .map_or_else(|| "no time".into(), |(first, last)| span(last - first));
        line.push(
            Role::Plain,
            &format!(
                "  {}, {time}, {} in {}, {}",
                outcome.releases(),
                count(outcome.events, "event"),
                count(outcome.generations, "generation"),
                size(outcome.bytes)
            ),
        );
        line.fold(style, 0, 2, text);
        if let Some(cut) = &outcome.cut {
            Line::new(style)
                .with(
                    Role::Highlight,
                    &format!("The file is cut at byte {}", thousands(cut.offset)),
                )
                .with(
                    Role::Plain,
                    &format!(
                        " (unpacked): {}. What follows is of the part before.",
                        cut.why
                    ),
                )
                .fold(style, 0, 2, text);
        } else if outcome.incomplete {
            Line::new(style)
                .with(Role::Highlight, "Not whole")
                .with(Role::Plain, ": figures are lower bounds; see the notes.")
                .fold(style, 0, 2, text);
        }
        text.push('\n');
    }

    fn fact(&self, style: &Style, name: &str, value: &str, text: &mut String) {
        Line::new(style)
            .with(Role::Metadata, &format!("{name:<11}"))
            .with(Role::Plain, value)
            .fold(style, 2, 11, text);
    }

    fn collector(&self, style: &Style, text: &mut String) {
        let summary = self.summary;
        let duration = summary.extent.map_or(0, |(first, last)| last - first);
        let marks = Lengths::of(summary.gc.iter());
        let mut value = count(summary.gc.len() as u64, "collection");
        if marks.whole > 0 {
            value += &format!(
                ", marking {} in all ({} of the time), longest {}",
                span(marks.sum),
                percent_of(marks.sum.min(duration), duration),
                span(marks.longest)
            );
        }
        self.fact(style, "collector", &value, text);
        let stops = Lengths::of(summary.stw.iter().map(|(range, _)| range));
        let mut value = match summary.stw.len() as u64 {
            1 => "1 stop of the world".to_owned(),
            stops => format!("{} stops of the world", thousands(stops)),
        };
        if stops.whole > 0 {
            let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
            for (_, reason) in &summary.stw {
                *reasons.entry(summary.reason(*reason)).or_default() += 1;
            }
            let mut reasons: Vec<_> = reasons.into_iter().collect();
            reasons.sort_by_key(|(_, times)| Reverse(*times));
            let reasons: Vec<String> = reasons
                .iter()
                .map(|(reason, times)| format!("{} {reason}", thousands(*times)))
                .collect();
            value += &format!(
                ", {} in all, longest {}: {}",
                span(stops.sum),
                span(stops.longest),
                reasons.join(", ")
            );
        }
        self.fact(style, "stopped", &value, text);
    }

    fn heap(&self, style: &Style, text: &mut String) {
        let range = |points: &Points| {
            points
                .least
                .zip(points.most)
                .map(|(least, most)| format!("{} to {}", size(least), size(most)))
        };
        let summary = self.summary;
        if let Some(heap) = range(&summary.heap_alloc) {
            let goal = match (range(&summary.heap_goal), summary.heap_goal.count) {
                (Some(goal), _) => format!("; goal {goal}"),
                (None, 0) => String::new(),
                (None, _) => "; no goal (GOGC=off)".to_owned(),
            };
            let readings = count(summary.heap_alloc.count, "reading");
            self.fact(style, "heap", &format!("{heap} ({readings}){goal}"), text);
        }
    }

    fn logs(&self, style: &Style, text: &mut String) {
        let summary = self.summary;
        if summary.tasks > 0 || summary.regions > 0 {
            let value = format!(
                "{}, {}",
                count(summary.tasks, "task"),
                count(summary.regions, "region")
            );
            self.fact(style, "user", &value, text);
        }
        if summary.logs == 0 {
            return;
        }
        let mut categories: Vec<(&String, &Count)> = summary.categories.iter().collect();
        categories.sort_by_key(|(name, count)| (Reverse(count.logs), (*name).clone()));
        let rows = self.rows(ROWS);
        let mut named: Vec<String> = categories
            .iter()
            .take(rows)
            .map(|(name, count)| format!("{} {name}", thousands(count.logs)))
            .collect();
        let more = categories.len().saturating_sub(rows);
        if more > 0 {
            named.push(format!("{} more categories", thousands(more as u64)));
        }
        let value = format!("{}: {}", count(summary.logs, "log"), named.join(", "));
        self.fact(style, "logs", &value, text);
        if !summary.operations.is_empty() {
            let mut operations: Vec<(&String, &u64)> = summary.operations.iter().collect();
            operations.sort_by_key(|(name, times)| (Reverse(**times), (*name).clone()));
            let value: Vec<String> = operations
                .iter()
                .take(rows)
                .map(|(name, times)| format!("{} {name}", thousands(**times)))
                .collect();
            self.fact(style, "of maps", &value.join(", "), text);
        }
    }

    fn storage(&self, style: &Style, text: &mut String) {
        let summary = self.summary;
        if !summary.has_objects() {
            text.push('\n');
            Line::new(style)
                .with(
                    Role::Metadata,
                    "No allocations are in this trace: run the program with \
                     GODEBUG=traceallocfree=1 (Go 1.23 and later) to see the storage of maps.",
                )
                .fold(style, 0, 2, text);
            return;
        }
        let sum = |of: fn(&crate::exectrace::TypeRow) -> Amount| {
            summary
                .types
                .iter()
                .map(of)
                .fold(Amount::default(), |sum, of| Amount {
                    objects: sum.objects + of.objects,
                    bytes: sum.bytes.saturating_add(of.bytes),
                })
        };
        let (allocated, freed) = (sum(|of| of.allocated), sum(|of| of.freed));
        text.push('\n');
        let mut line = Line::new(style).with(Role::Title, "Map storage");
        line.push(
            Role::Plain,
            &format!(
                "  {} allocated in {}, {} freed, {} not freed by the end (what no \
                 collection has found dead included)",
                size(allocated.bytes),
                count(allocated.objects, "object"),
                size(freed.bytes),
                size(summary.storage.bytes)
            ),
        );
        if summary.peak.0 > 0 {
            line.push(
                Role::Plain,
                &format!(
                    "; most {} at {}",
                    size(summary.peak.0),
                    self.after(summary.peak.1)
                ),
            );
        }
        line.fold(style, 0, 2, text);
        self.types(style, text);
        self.intervals(style, text);
    }

    fn types(&self, style: &Style, text: &mut String) {
        let mut types: Vec<_> = self.summary.types.iter().collect();
        types.sort_by_key(|of| {
            (
                Reverse(of.allocated.bytes.max(of.peak_bytes)),
                of.type_name.clone(),
            )
        });
        let rows = self.rows(ROWS);
        let right = |title| Column::new(title, Align::Right, Role::Plain);
        let mut table = Table::new(vec![
            Column::new("kind", Align::Left, Role::Metadata),
            right("allocated"),
            right("objects"),
            right("freed"),
            right("at end"),
            right("most"),
            Column::new("type", Align::Left, Role::Plain),
        ]);
        let cells: Vec<[String; 7]> = types
            .iter()
            .take(rows)
            .map(|of| {
                let bound = if of.without_size > 0 { "+" } else { "" };
                [
                    of.kind.word().to_owned(),
                    size(of.allocated.bytes) + bound,
                    thousands(of.allocated.objects),
                    size(of.freed.bytes) + bound,
                    size(of.live.bytes) + bound,
                    size(of.peak_bytes) + bound,
                    shown(&of.type_name),
                ]
            })
            .collect();
        if cells.is_empty() {
            return;
        }
        for row in &cells {
            table.fit(row.get(..6).unwrap_or_default());
        }
        table.head(style).render(style, text);
        for row in &cells {
            table.row(style, row).render(style, text);
        }
        self.more(style, types.len(), rows, "types", text);
    }

    fn more(&self, style: &Style, all: usize, rows: usize, what: &str, text: &mut String) {
        if all > rows {
            Line::new(style)
                .with(
                    Role::Metadata,
                    &format!(
                        "  {} of {} {what} shown (-limit N, -limit 0 for all)",
                        thousands(rows as u64),
                        thousands(all as u64)
                    ),
                )
                .render(style, text);
        }
    }

    fn intervals(&self, style: &Style, text: &mut String) {
        let intervals = &self.summary.intervals;
        if intervals.len() < 2 {
            return;
        }
        text.push('\n');
        let rows = self.rows(ROWS);
        let right = |title| Column::new(title, Align::Right, Role::Plain);
        let mut table = Table::new(vec![
            Column::new("between", Align::Left, Role::Metadata),
            right("allocated"),
            right("objects"),
            right("freed"),
            right("at end"),
        ]);
        // The ones with the most, in the order of time.
        let mut shown: Vec<_> = intervals.iter().collect();
        shown.sort_by_key(|row| Reverse(row.allocated.bytes.max(row.freed.bytes)));
        shown.truncate(rows);
        shown.sort_by_key(|row| row.gcs);
        let last = self.summary.gc.len() as u64;
        let cells: Vec<[String; 5]> = shown
            .iter()
            .map(|row| {
                let between = match row.gcs {
                    0 => "start and GC 1".to_owned(),
                    gcs if gcs == last => format!("GC {} and end", thousands(gcs)),
                    gcs => format!("GC {} and {}", thousands(gcs), thousands(gcs + 1)),
                };
                [
                    between,
                    size(row.allocated.bytes),
                    thousands(row.allocated.objects),
                    size(row.freed.bytes),
                    size(row.live.bytes),
                ]
            })
            .collect();
        for row in &cells {
            table.fit(row);
        }
        table.head(style).render(style, text);
        for row in &cells {
            table.row(style, row).render(style, text);
        }
        self.more(style, intervals.len(), rows, "intervals", text);
    }

    /// Lives by the number of steps.
    fn sorted(&self) -> Vec<(u64, &Life)> {
        let mut lives: Vec<(u64, &Life)> = self
            .summary
            .lives
            .iter()
            .map(|(address, life)| (*address, life))
            .collect();
        lives.sort_by_key(|(address, life)| {
            (Reverse(life.steps.len() as u64 + life.dropped), *address)
        });
        lives
    }

    fn lives(&self, style: &Style, text: &mut String) {
        let lives = self.sorted();
        if lives.is_empty() {
            return;
        }
        text.push('\n');
        Line::new(style)
            .with(Role::Title, "Maps")
            .with(
                Role::Plain,
                &format!("  {} that logs name", thousands(lives.len() as u64)),
            )
            .render(style, text);
        // One map whole, or the first steps of some.
        let (maps, steps) = match lives.len() {
            1 => (1, self.rows(u64::MAX)),
            _ => (self.rows(3), self.rows(STEPS)),
        };
        for (address, life) in lives.iter().take(maps) {
            Line::new(style)
                .with(Role::Plain, "  ")
                .with(Role::Address, &format!("{address:#x}"))
                .with(
                    Role::Plain,
                    &format!(
                        "  {}",
                        count(life.steps.len() as u64 + life.dropped, "step")
                    ),
                )
                .render(style, text);
            for step in life.steps.iter().take(steps) {
                self.step(style, step, text);
            }
            let all = life.steps.len() as u64 + life.dropped;
            if all > steps as u64 {
                Line::new(style)
                    .with(
                        Role::Metadata,
                        &format!("    {} more", thousands(all - steps as u64)),
                    )
                    .render(style, text);
            }
        }
        self.more(style, lives.len(), maps, "maps", text);
    }

    fn step(&self, style: &Style, step: &Step, text: &mut String) {
        let mut line = Line::new(style).with(
            Role::Metadata,
            &format!("    {:>12}  ", self.after(step.t_ns)),
        );
        line.push(Role::Plain, step.message.as_deref().unwrap_or(&step.op));
        if let Some(goid) = step.goid {
            line.push(Role::Metadata, &format!("  goroutine {goid}"));
        }
        if let Some(place) = place(&step.stack) {
            line.push(Role::Metadata, &format!("  {place}"));
        }
        line.render(style, text);
    }

    fn clusters(&self, style: &Style, text: &mut String) {
        let clusters = self.summary.clusters();
        if clusters.is_empty() {
            return;
        }
        text.push('\n');
        Line::new(style)
            .with(Role::Title, "Before collections?")
            .render(style, text);
        for cluster in &clusters {
            self.cluster(style, cluster, text);
        }
        if clusters.iter().any(|cluster| cluster.chance.p.is_some()) {
            Line::new(style)
                .with(
                    Role::Metadata,
                    "What this says: whether they come in the last tenth before collections \
                     more often than if they were shifted by a random time. What it does not: \
                     that maps cause collections. A collection begins when enough was allocated, \
                     by whomever, so growth of maps brings the next one nearer like any other \
                     allocation; and a program with a rhythm of its own looks the same.",
                )
                .fold(style, 2, 2, text);
        }
    }

    fn cluster(&self, style: &Style, cluster: &Cluster, text: &mut String) {
        let chance = &cluster.chance;
        let mut line = Line::new(style).with(
            Role::Plain,
            &format!(
                "{}: {} and {}",
                cluster.what,
                count(chance.events, "event"),
                count(chance.collections, "collection")
            ),
        );
        match chance.p {
            None => line.push(Role::Metadata, ": too few to tell."),
            Some(p) => {
                let words = match p {
                    ..=0.01 => "more often than by chance",
                    0.99.. => "less often than by chance",
                    _ => "not shown to differ from chance",
                };
                line.push(
                    Role::Plain,
                    &format!(
                        "; {} of the events in the {} before a collection ({} of the time), {} \
                         expected by chance, p = {p:.3} from {} rotations: ",
                        percent(chance.observed),
                        span(chance.window_ns),
                        percent(chance.covered.min(1.0)),
                        percent(chance.expected),
                        thousands(u64::from(chance.shifts))
                    ),
                );
                line.push(Role::Title, words);
                line.push(Role::Plain, ".");
            }
        }
        line.fold(style, 2, 2, text);
    }

    fn doubts(&self, style: &Style, text: &mut String) {
        let mut notes: Vec<&str> = self.outcome.notes.iter().map(String::as_str).collect();
        notes.extend(self.summary.limits());
        if self.outcome.clock == Clock::Own && self.outcome.generations > 0 {
            notes.push("times are on the trace's own clock, which no other source shares");
        }
        if notes.is_empty() {
            return;
        }
        text.push('\n');
        for note in notes {
            Line::new(style)
                .with(Role::Highlight, "Note")
                .with(Role::Plain, &format!(": {note}."))
                .fold(style, 0, 2, text);
        }
    }
}

/// The JSON document, written as the file goes by.
pub struct ExecTraceJson<'w, E> {
    write: &'w mut dyn FnMut(&str) -> Result<(), E>,
    buffer: String,
    begun: bool,
    logs: u64,
    limit: Option<u64>,
    file: String,
    failed: Option<E>,
}

/// What stands behind the lists.
#[derive(Serialize)]
struct Tail<'a> {
    clock: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_offset_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extent: Option<(u64, u64)>,
    events: u64,
    generations: u64,
    bytes: u64,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<Cut<'a>>,
    interrupted: bool,
    truncated: bool,
    notes: Vec<&'a str>,
}

#[derive(Serialize)]
struct Cut<'a> {
    offset: u64,
    why: &'a str,
}

#[derive(Serialize)]
struct Stop<'a> {
    #[serde(flatten)]
    range: Range,
    reason: &'a str,
}

#[derive(Serialize)]
struct LifeRow<'a> {
    address: String,
    steps: &'a [Step],
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl<'w, E> ExecTraceJson<'w, E> {
    /// `limit`: rows of each list; `None` for all.
    pub fn new(
        file: &str,
        limit: Option<u64>,
        write: &'w mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Self {
        Self {
            write,
            buffer: String::new(),
            begun: false,
            logs: 0,
            limit,
            file: file.to_owned(),
            failed: None,
        }
    }

    fn put(&mut self, text: &str) {
        self.buffer.push_str(text);
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() && !self.buffer.is_empty() {
            self.failed = (self.write)(&self.buffer).err();
        }
        self.buffer.clear();
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            let file = to_json(&self.file);
            self.put("{\"schema\":\"gomapscope.trace/1\",\"file\":");
            self.put(&file);
            self.put(",\"user_logs\":[");
        }
    }

    /// A log; false when it cannot be written.
    pub fn log(&mut self, row: &LogRow<'_>) -> bool {
        self.begin();
        self.logs += 1;
        if self.limit.is_none_or(|limit| self.logs <= limit) {
            if self.logs > 1 {
                self.put(",");
            }
            let row = to_json(row);
            self.put(&row);
        }
        self.failed.is_none()
    }

    /// A list; whether it was cut.
    fn list<T: Serialize>(&mut self, name: &str, rows: impl Iterator<Item = T>) -> bool {
        self.put(&format!(",\"{name}\":["));
        for (written, row) in rows.enumerate() {
            if self.limit.is_some_and(|limit| written as u64 >= limit) {
                self.put("]");
                return true;
            }
            if self.failed.is_some() {
                return true;
            }
            if written > 0 {
                self.put(",");
            }
            let row = to_json(&row);
            self.put(&row);
        }
        self.put("]");
        false
    }

    /// What was summed up, and the document's end.
    ///
    /// # Errors
    /// What the writer returned.
    pub fn finish(mut self, report: &ExecTrace<'_>) -> Result<(), E> {
        let (summary, outcome) = (report.summary, report.outcome);
        self.begin();
        let mut truncated = self.limit.is_some_and(|limit| self.logs > limit);
        self.put("],\"go_version\":");
        self.put(&to_json(outcome.releases()));
        truncated |= self.list("gc", summary.gc.iter());
        truncated |= self.list(
            "stw",
            summary.stw.iter().map(|(range, reason)| Stop {
                range: *range,
                reason: summary.reason(*reason),
            }),
        );
        for (name, points) in [
            ("heap_alloc", &summary.heap_alloc),
            ("heap_goal", &summary.heap_goal),
        ] {
            truncated |= self.list(name, points.iter()) || points.kept < points.count;
        }
        let categories: BTreeMap<&String, &Count> = summary.categories.iter().collect();
        let operations: BTreeMap<&String, &u64> = summary.operations.iter().collect();
        self.put(",\"log_categories\":");
        self.put(&to_json(&categories));
        self.put(",\"map_logs\":");
        self.put(&to_json(&operations));
        self.put(",\"map_objects\":{\"traced\":");
        self.put(if summary.has_objects() {
            "true"
        } else {
            "false"
        });
        truncated |= self.list("types", summary.types.iter());
        truncated |= self.list("between_gcs", summary.intervals.iter());
        truncated |= self.list(
            "maps",
            report.sorted().into_iter().map(|(address, life)| LifeRow {
                address: format!("{address:#x}"),
                steps: &life.steps,
                dropped: life.dropped,
            }),
        );
        self.put(&format!(
            ",\"live\":{},\"peak_bytes\":{},\"peak_ns\":{}}}",
            to_json(&summary.storage),
            summary.peak.0,
            summary.peak.1
        ));
        self.list("before_gcs", summary.clusters().iter());
        let mut notes: Vec<&str> = outcome.notes.iter().map(String::as_str).collect();
        notes.extend(summary.limits());
        let tail = to_json(&Tail {
            clock: match outcome.clock {
                Clock::Monotonic => "CLOCK_MONOTONIC",
                Clock::Own => "own",
            },
            wall_offset_ns: summary
                .wall_offset_ns
                .and_then(|offset| i64::try_from(offset).ok()),
            extent: summary.extent,
            events: outcome.events,
            generations: outcome.generations,
            bytes: outcome.bytes,
            complete: !outcome.incomplete && !outcome.interrupted && summary.limits().is_empty(),
            cut: outcome.cut.as_ref().map(|cut| Cut {
                offset: cut.offset,
                why: &cut.why,
            }),
            interrupted: outcome.interrupted,
            truncated,
            notes,
        });
        self.put(",");
        self.put(tail.strip_prefix('{').unwrap_or(&tail));
        self.put("\n");
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}
