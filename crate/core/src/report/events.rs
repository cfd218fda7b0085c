//! The text and the JSON document of `go-map-trace report`, and the lines of a trace
//! while it is on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::json::{JsonRows, to_json};
use super::number::{count, percent, percent_of, size, thousands};
use super::style::{Line, Role, Style, display_width};
use super::table::{Align, Column, Table};
use crate::events::{
    Event, EventTotals, Finish, Frame, GrowthRow, Header, MapRow, Rest, RestOfStacks, StackRow,
    Summary, caller, is_runtime, new_bytes, slots_around, slots_delta,
};

/// Rows where `-limit` does not say how many: maps, growths of each map that is looked
/// at closely, stacks.
const MAPS: u64 = 10;
const GROWTHS: u64 = 6;
/// Of the maps after the first.
const GROWTHS_OF_OTHERS: u64 = 3;
const STACKS: u64 = 4;
/// Maps that are looked at closely.
const CLOSELY: usize = 3;
/// Callers of a stack that are shown.
const FRAMES: usize = 6;
/// Goroutines and label sets of a stack that are shown.
const WHO: usize = 4;
/// Notes shown; `-json` lists more.
const NOTES: usize = 6;
/// Columns of a sparkline.
const CELLS: usize = 40;
/// Room below which a name goes to a line of its own.
const NAME_ROOM: usize = 12;

const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const LETTERS: [&str; 8] = ["_", ".", ":", "-", "=", "+", "*", "#"];

/// Nanoseconds as seconds with three decimals: `1,234.567 s`.
fn seconds(ns: u64) -> String {
    format!(
        "{}.{:03} s",
        thousands(ns / 1_000_000_000),
        ns / 1_000_000 % 1000
    )
}

/// How long something took, in the unit that suits: `12 ms`, `3.2 s`.
fn span(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} us", ns / 1000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!(
            "{}.{} s",
            thousands(ns / 1_000_000_000),
            ns / 100_000_000 % 10
        ),
    }
}

/// `main.fill cache.go:33`
fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit(['/', '\\']).next().unwrap_or_default();
    match (file.is_empty(), frame.line) {
        (true, _) => frame.function.clone(),
        (false, 0) => format!("{} {file}", frame.function),
        (false, line) => format!("{} {file}:{line}", frame.function),
    }
}

fn arrow(style: &Style) -> &'static str {
    if style.unicode { "→" } else { "->" }
}

/// `8,192 → 16,384`; what is not known is left out, and a sum of changes says so.
fn slots(before: Option<u64>, after: Option<u64>, delta: Option<i64>, style: &Style) -> String {
    match (before, after, delta) {
        (Some(before), Some(after), _) => format!(
            "{} {} {}",
            thousands(before),
            arrow(style),
            thousands(after)
        ),
        (None, Some(after), _) => format!("{} {}", arrow(style), thousands(after)),
        (_, None, Some(delta)) if delta != 0 => {
            let sign = if delta < 0 { '-' } else { '+' };
            format!("{sign}{}", thousands(delta.unsigned_abs()))
        }
        _ => "?".to_owned(),
    }
}

/// A size that may be a lower bound.
fn bound(bytes: u64, open: bool) -> String {
    format!("{}{}", size(bytes), if open { "+" } else { "" })
}

fn optional(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), thousands)
}

/// The name of a map's type, or what stands for it.
fn kind(row: &MapRow) -> &str {
    row.type_name.as_deref().unwrap_or("map of unknown type")
}

fn is_open(row: &MapRow) -> bool {
    row.at_least || row.without_size > 0
}

struct Page<'a> {
    summary: &'a Summary,
    file: &'a str,
    limit: Option<Option<u64>>,
    totals: EventTotals,
    style: &'a Style,
}

/// The text of `go-map-trace report`. `limit`: rows of each table, `Some(None)` for all,
/// `None` for as many as suit a screen.
#[must_use]
pub fn events(summary: &Summary, file: &str, limit: Option<Option<u64>>, style: &Style) -> String {
    let page = Page {
        summary,
        file,
        limit,
        totals: summary.totals(),
        style,
    };
    let mut text = String::new();
    page.answer(&mut text);
    page.sums(&mut text);
    page.end(&mut text);
    page.maps(&mut text);
    page.closely(&mut text);
    page.who(&mut text);
    page.doubts(&mut text);
    text
}

impl Page<'_> {
    fn line(&self) -> Line {
        Line::new(self.style)
    }

    fn plain(&self, text: &str) -> Line {
        self.line().with(Role::Plain, text)
    }

    fn rows(&self, default: u64) -> Option<u64> {
        self.limit.unwrap_or(Some(default))
    }

    /// What happened to the map with the most new storage.
    fn answer(&self, text: &mut String) {
        let Some(row) = self.summary.row(0, Some(0)) else {
            self.nothing(text);
            return;
        };
        let mut line = self.line();
        if matches!(self.summary.end(), Finish::Interrupted) {
            line.push(Role::Highlight, "Interrupted, this is only a part");
            line.push(Role::Plain, ": ");
        }
        let name = match &row.expression {
            Some(expression) => format!("{expression} ({})", kind(&row)),
            None => kind(&row).to_owned(),
        };
        line.push(Role::Title, &name);
        line.push(Role::Plain, " at ");
        line.push(Role::Address, &format!("{:#x}", row.address));
        if row.life > 1 {
            line.push(Role::Plain, &format!(" (map {} there)", row.life));
        }
        let others = self.totals.maps > 1;
        let growths = row.growths_total;
        if growths > 0 || row.new_bytes > 0 {
            let most = if others { " most" } else { "" };
            let grown = slots(row.slots.first, row.slots.last, row.slots.delta, self.style);
            let grown = match grown.as_str() {
                "?" => format!(" in {}", count(growths, "step")),
                _ => format!(": {grown} slots"),
            };
            line.push(Role::Plain, &format!(" grew{most}{grown}, "));
            line.push(Role::Title, &bound(row.new_bytes, is_open(&row)));
            line.push(Role::Plain, " of new storage");
        } else {
            let most = if others { "most of all, " } else { "" };
            line.push(
                Role::Plain,
                &format!(": {most}{}", count(row.events, "event")),
            );
        }
        if let Some((frame, bytes, events)) = self.summary.callers(0).first() {
            let share = if row.new_bytes > 0 {
                percent_of(*bytes, row.new_bytes)
            } else {
                percent_of(*events, row.events)
            };
            let it = if row.new_bytes > 0 { "of it " } else { "" };
            line.push(
                Role::Plain,
                &format!(", {share} {it}under {}", place(frame)),
            );
        }
        line.push(Role::Plain, ".");
        line.fold(self.style, 0, 2, text);
    }

    fn nothing(&self, text: &mut String) {
        let mut line = self.line();
        if let Finish::Interrupted = self.summary.end() {
            line.push(Role::Highlight, "Interrupted, this is only a part");
            line.push(Role::Plain, ": ");
        }
        line.push(Role::Plain, &format!("No event is in {}: ", self.file));
        let whose = match self.summary.header().maps.as_slice() {
            [] => "no map".to_owned(),
            [one] => format!("the map {one} not once"),
            maps => format!("none of {}", count(maps.len() as u64, "map")),
        };
        let on = &self.summary.header().on;
        let on = match on.is_empty() {
            true => String::new(),
            false => format!(" ({})", on.join(", ")),
        };
        line.push(Role::Plain, &format!("{whose} did what was traced{on}."));
        line.fold(self.style, 0, 2, text);
    }

    /// All events in one sentence.
    fn sums(&self, text: &mut String) {
        let totals = &self.totals;
        if totals.events == 0 {
            return;
        }
        let mut sentence = format!(
            "{} of {}",
            count(totals.events, "event"),
            count(totals.maps, "map")
        );
        if let Some(duration) = totals.duration_ns {
            sentence += &format!(" in {}", span(duration));
        }
        let mut ops: Vec<(&str, u64)> = totals.ops.iter().map(|(op, n)| (*op, *n)).collect();
        ops.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let ops: Vec<String> = ops
            .iter()
            .map(|(op, n)| format!("{} {op}", thousands(*n)))
            .collect();
        sentence += &format!(
            " ({}): {} of new storage",
            ops.join(", "),
            bound(totals.new_bytes, totals.without_size > 0)
        );
        if totals.released_bytes > 0 {
            sentence += &format!(", {} let go", size(totals.released_bytes));
        }
        if totals.freed_bytes > 0 {
            sentence += &format!(", {} freed", size(totals.freed_bytes));
        }
        sentence += ".";
        self.plain(&sentence).fold(self.style, 0, 2, text);
        let header = self.summary.header();
        let mut facts = vec![engine(&header.engine).to_owned()];
        facts.extend(header.program.clone());
        facts.extend(header.pid.map(|pid| format!("process {pid}")));
        facts.extend(header.go_version.clone());
        self.line()
            .with(Role::Metadata, &format!("By {}.", facts.join(", ")))
            .fold(self.style, 0, 2, text);
    }

    /// How the file ends, and what is missing in it.
    fn end(&self, text: &mut String) {
        let mut line = self.line();
        match self.summary.end() {
            Finish::Closed(ending) => {
                let why = if ending.end.is_empty() {
                    "closed"
                } else {
                    &ending.end
                };
                line.push(Role::Metadata, &format!("End: {why}."));
                if ending.events != self.totals.events {
                    line.push(Role::Highlight, " Not whole");
                    let told = count(ending.events, "event");
                    line.push(Role::Plain, &format!(": the file's end tells of {told}."));
                }
                if ending.lost > 0 {
                    line.push(
                        Role::Highlight,
                        &format!(" {} lost", thousands(ending.lost)),
                    );
                    line.push(Role::Plain, ": figures are lower bounds.");
                }
                if ending.left_out > 0 {
                    let hits = count(ending.left_out, "hit");
                    line.push(Role::Plain, &format!(" {hits} left out on request."));
                }
                if ending.duplicates > 0 {
                    let hits = count(ending.duplicates, "duplicate");
                    line.push(Role::Metadata, &format!(" {hits} dropped."));
                }
                if let Some(cost) = ending.cost_ns {
                    line.push(Role::Metadata, &format!(" {} a hit.", micro(cost)));
                }
            }
            Finish::Open => {
                line.push(Role::Highlight, "The file has no end");
                line.push(
                    Role::Plain,
                    ": the trace is on still, or its writer was killed.",
                );
            }
            Finish::Cut(at) => {
                line.push(
                    Role::Highlight,
                    &format!("The file is cut at byte {}", thousands(*at)),
                );
                line.push(
                    Role::Plain,
                    " (unpacked): its writer was killed, or the copy is not whole.",
                );
            }
            Finish::Damaged(reason) => {
                line.push(Role::Highlight, "The rest is not readable");
                line.push(Role::Plain, &format!(": {reason}"));
            }
            Finish::Interrupted => return,
        }
        line.fold(self.style, 0, 2, text);
    }

    fn maps(&self, text: &mut String) {
        let all = self.summary.maps();
        let rest = self.summary.rest();
        if all < 2 && rest.maps == 0 {
            return;
        }
        let limit = self.rows(MAPS).unwrap_or(u64::MAX);
        let rows: Vec<MapRow> = (0..all)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .filter_map(|position| self.summary.row(position, Some(0)))
            .collect();
        let mut table = Table::new(vec![
            Column::new("new storage", Align::Right, Role::Plain),
            Column::new("slots", Align::Right, Role::Plain),
            Column::new("events", Align::Right, Role::Plain),
            Column::new("when (s)", Align::Right, Role::Metadata),
            Column::new("address", Align::Left, Role::Address),
        ]);
        let cells: Vec<[String; 5]> = rows
            .iter()
            .map(|row| {
                [
                    bound(row.new_bytes, is_open(row)),
                    slots(row.slots.first, row.slots.last, row.slots.delta, self.style),
                    thousands(row.events),
                    when(row),
                    format!("{:#x}", row.address),
                ]
            })
            .collect();
        for cells in &cells {
            table.fit(cells);
        }
        let room = self.style.columns().saturating_sub(table.width() + 2);
        table
            .columns
            .push(Column::new("map", Align::Left, Role::Plain));
        text.push('\n');
        table.head(self.style).render(self.style, text);
        for (row, cells) in rows.iter().zip(&cells) {
            let mut name = match &row.expression {
                Some(expression) => format!("{expression}  {}", kind(row)),
                None => kind(row).to_owned(),
            };
            if row.life > 1 {
                name += &format!(", map {} at this address", row.life);
            }
            let beside = room >= NAME_ROOM && display_width(&name) <= room;
            let mut laid: Vec<Line> = table
                .columns
                .iter()
                .zip(cells)
                .map(|(column, cell)| self.line().with(column.role, cell))
                .collect();
            if beside {
                laid.push(self.plain(&name));
            }
            table.lay(self.style, &laid).render(self.style, text);
            if !beside {
                self.plain(&name).fold(self.style, 6, 2, text);
            }
        }
        let mut foot = Vec::new();
        if rows.len() < all {
            foot.push(format!(
                "{} of {} listed (-limit N)",
                thousands(rows.len() as u64),
                thousands(all as u64)
            ));
        }
        if rest.maps > 0 {
            foot.push(format!(
                "{} with less are only summed up: {}, {}",
                count(rest.maps, "map"),
                count(rest.events, "event"),
                size(rest.new_bytes)
            ));
        }
        if !foot.is_empty() {
            self.line()
                .with(Role::Metadata, &foot.join("; "))
                .fold(self.style, 2, 2, text);
        }
    }

    /// The maps with the most new storage: over time, and growth by growth.
    fn closely(&self, text: &mut String) {
        let most = match self.limit {
            Some(Some(limit)) => usize::try_from(limit).unwrap_or(CLOSELY).min(CLOSELY),
            _ => CLOSELY,
        };
        for position in 0..self.summary.maps().min(most) {
            let growths = if position == 0 {
                GROWTHS
            } else {
                GROWTHS_OF_OTHERS
            };
            let Some(row) = self.summary.row(position, self.rows(growths)) else {
                continue;
            };
            // One growth says no more than the table does.
            if row.history.len() < 2 && self.summary.maps() > 1 {
                continue;
            }
            text.push('\n');
            let mut line = self
                .line()
                .with(Role::Title, row.expression.as_deref().unwrap_or(kind(&row)));
            line.space(2);
            line.push(Role::Address, &format!("{:#x}", row.address));
            if let Some((first, last)) = row.first_ns.zip(row.last_ns) {
                let (first, last) = (seconds(first), seconds(last));
                line.push(Role::Metadata, &format!("   +{first} to +{last}"));
            }
            line.fold(self.style, 0, 2, text);
            self.over_time(&row, text);
            self.growths(&row, text);
        }
    }

    fn over_time(&self, row: &MapRow, text: &mut String) {
        if row.history.len() < 2 {
            return;
        }
        let cells = CELLS.min(self.style.columns().saturating_sub(37)).max(8);
        let len: Vec<_> = row
            .history
            .iter()
            .map(|point| (point.t_ns, point.len))
            .collect();
        let capacity: Vec<_> = row
            .history
            .iter()
            .map(|point| (point.t_ns, point.map_capacity))
            .collect();
        let bytes: Vec<_> = row
            .history
            .iter()
            .map(|point| (point.t_ns, Some(point.new_bytes)))
            .collect();
        let to = |first: Option<u64>, last: Option<u64>| {
            format!(
                "{} {} {}",
                optional(first),
                arrow(self.style),
                optional(last)
            )
        };
        let last = row.len.last;
        let mut lens = to(row.len.first, last);
        if row.len.max > last {
            lens += &format!(" (most {})", optional(row.len.max));
        }
        let rows = [
            ("len", len, lens),
            ("slots", capacity, to(row.slots.first, row.slots.last)),
            ("storage", bytes, bound(row.new_bytes, is_open(row))),
        ];
        for (label, points, words) in rows {
            if !points
                .iter()
                .any(|point| point.1.is_some_and(|value| value > 0))
            {
                continue;
            }
            let mut line = self
                .line()
                .with(Role::Metadata, &format!("  {label:<9}"))
                .with(Role::Plain, &sparkline(&points, cells, self.style));
            line.space(2);
            line.push(Role::Plain, &words);
            line.render(self.style, text);
        }
    }

    fn growths(&self, row: &MapRow, text: &mut String) {
        if row.growths.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::new("time (s)", Align::Right, Role::Plain),
            Column::new("op", Align::Left, Role::Plain),
            Column::new("slots", Align::Right, Role::Plain),
            Column::new("len", Align::Right, Role::Plain),
            Column::new("size", Align::Right, Role::Plain),
            Column::new("caller", Align::Left, Role::Plain),
        ]);
        let cells: Vec<[String; 6]> = row
            .growths
            .iter()
            .map(|growth: &GrowthRow| {
                let (before, after) = (growth.slots_before, growth.slots);
                [
                    growth.t_ns.map_or_else(
                        || "?".to_owned(),
                        |t| format!("+{}", seconds(t).trim_end_matches(" s")),
                    ),
                    growth.op.word().to_owned(),
                    slots(before, after, growth.slots_delta, self.style),
                    optional(growth.len),
                    growth.new_bytes.map_or_else(|| "?".to_owned(), size),
                    growth.caller.as_ref().map_or_else(String::new, place),
                ]
            })
            .collect();
        for cells in &cells {
            table.fit(cells);
        }
        table.head(self.style).render(self.style, text);
        for cells in &cells {
            table.row(self.style, cells).render(self.style, text);
        }
        let shown = row.growths.len() as u64;
        if shown < row.growths_total {
            let line = format!(
                "{} of {} growths, the largest (-limit N)",
                thousands(shown),
                thousands(row.growths_total)
            );
            self.line()
                .with(Role::Metadata, &line)
                .fold(self.style, 2, 2, text);
        }
    }

    /// The stacks under which it happened.
    fn who(&self, text: &mut String) {
        let (stacks, rest) = self.summary.stacks(self.rows(STACKS));
        if stacks.is_empty() {
            return;
        }
        let mut head = String::new();
        self.line()
            .with(Role::Title, "Who")
            .render(self.style, &mut head);
        text.push('\n');
        text.push_str(&head);
        for stack in &stacks {
            self.stack(stack, text);
        }
        if rest.events > 0 {
            let listed = stacks.len() as u64;
            let all = self.summary.stacks_total();
            let other = match all.saturating_sub(listed) {
                0 => "without a stack".to_owned(),
                other => format!("under {} (-limit N)", count(other, "other stack")),
            };
            let line = format!(
                "{}  {} {other}",
                size(rest.new_bytes),
                count(rest.events, "event")
            );
            self.line()
                .with(Role::Metadata, &line)
                .fold(self.style, 2, 2, text);
        }
    }

    fn stack(&self, stack: &StackRow, text: &mut String) {
        let totals = &self.totals;
        let mut facts = Vec::new();
        if totals.new_bytes > 0 {
            facts.push(percent_of(stack.new_bytes, totals.new_bytes));
            facts.push(size(stack.new_bytes));
        } else {
            facts.push(percent_of(stack.events, totals.events));
        }
        if stack.growths > 0 {
            facts.push(count(stack.growths, "growth"));
        }
        if stack.events > stack.growths {
            facts.push(count(stack.events, "event"));
        }
        let listed = |all: usize, more: bool| {
            let hidden = all.saturating_sub(WHO);
            match (hidden, more) {
                (0, false) => String::new(),
                (0, true) => " and more".to_owned(),
                (hidden, more) => format!(" and {hidden}{} more", if more { "+" } else { "" }),
            }
        };
        if !stack.goroutines.is_empty() {
            let of = &stack.goroutines;
            let shown: Vec<String> = of.iter().take(WHO).map(u64::to_string).collect();
            let more = listed(of.len(), stack.goroutines_more);
            let noun = if of.len() > 1 || stack.goroutines_more {
                "goroutines"
            } else {
                "goroutine"
            };
            facts.push(format!("{noun} {}{more}", shown.join(", ")));
        }
        let mut line = self.plain(&facts.join("  "));
        if !stack.labels.is_empty() {
            let shown: Vec<String> = stack.labels.iter().take(WHO).map(labels_text).collect();
            let more = listed(stack.labels.len(), stack.labels_more);
            line.push(Role::Plain, "  ");
            line.push(Role::Metadata, &(shown.join("; ") + &more));
        }
        line.fold(self.style, 2, 4, text);
        // What the runtime does for its caller is the same in every stack.
        let mut own: Vec<&Frame> = stack.frames.iter().collect();
        if stack.caller.is_some() {
            let of_runtime = |frame: &&Frame| is_runtime(&frame.function);
            own.drain(..own.iter().take_while(|frame| of_runtime(frame)).count());
            while own.last().is_some_and(of_runtime) {
                own.pop();
            }
        }
        let mut line = self.line();
        for (position, frame) in own.iter().take(FRAMES).enumerate() {
            if position > 0 {
                line.push(Role::Metadata, " < ");
            }
            line.push(Role::Plain, &place(frame));
        }
        if own.len() > FRAMES {
            line.push(
                Role::Metadata,
                &format!(" < {} more", thousands((own.len() - FRAMES) as u64)),
            );
        }
        line.fold(self.style, 6, 2, text);
    }

    /// What was not certain.
    fn doubts(&self, text: &mut String) {
        let mut lines = Vec::new();
        let totals = &self.totals;
        if totals.without_size > 0 {
            lines.push(format!(
                "The size of new storage is missing in {}: a + means at least.",
                count(totals.without_size, "event")
            ));
        }
        let maps = self.summary.maps();
        let shown = maps.min(usize::try_from(MAPS).unwrap_or(maps));
        let rows: Vec<MapRow> = (0..shown)
            .filter_map(|position| self.summary.row(position, Some(0)))
            .collect();
        if rows
            .iter()
            .any(|row| row.slots.last.is_none() && row.slots.delta.is_some_and(|delta| delta != 0))
        {
            lines.push(
                "Slots after a sign are the sum of what growths added: the slots of the whole map \
                 are not in the file."
                    .to_owned(),
            );
        }
        if rows.iter().any(|row| row.at_least) {
            lines.push(
                "A + means at least: earlier events of the map may be among those summed up."
                    .to_owned(),
            );
        }
        if totals.untimed > 0 {
            lines.push(format!(
                "Without a time: {}.",
                count(totals.untimed, "event")
            ));
        }
        if self.summary.texts_missing() {
            lines.push(
                "Names are missing: the file has more different ones than are kept.".to_owned(),
            );
        }
        let notes = &self.summary.header().notes;
        lines.extend(notes.iter().take(NOTES).cloned());
        let (notes, more) = self.summary.notes();
        for (note, times) in notes.iter().take(NOTES) {
            lines.push(format!("{}: {note}", count(*times, "event")));
        }
        let more = more + notes.iter().skip(NOTES).map(|note| note.1).sum::<u64>();
        if more > 0 {
            lines.push(format!("{more} more notes: -json lists them."));
        }
        if !lines.is_empty() {
            text.push('\n');
        }
        for line in lines {
            self.plain(&line).fold(self.style, 2, 2, text);
        }
    }
}

fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(" ")
}

/// When a map's events were: `0.001 to 3.120`.
fn when(row: &MapRow) -> String {
    let short = |ns: u64| seconds(ns).trim_end_matches(" s").to_owned();
    match (row.first_ns, row.last_ns) {
        (Some(first), Some(last)) if first == last => short(first),
        (Some(first), Some(last)) => format!("{} to {}", short(first), short(last)),
        _ => "?".to_owned(),
    }
}

/// One row of blocks: the figure at the end of each of `cells` equal parts of the time.
/// Without times, each event takes as much room. Nothing stands where the figure is not
/// known yet.
fn sparkline(points: &[(Option<u64>, Option<u64>)], cells: usize, style: &Style) -> String {
    let timed = points.iter().all(|point| point.0.is_some());
    let at = |position: usize| match timed {
        true => points.get(position).and_then(|point| point.0).unwrap_or(0),
        false => position as u64,
    };
    let times = (0..points.len()).map(at);
    let (low, high) = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
    let top = points.iter().filter_map(|point| point.1).max().unwrap_or(0);
    let mut values: Vec<Option<u64>> = vec![None; cells];
    for (position, (_, value)) in points.iter().enumerate() {
        if value.is_none() {
            continue;
        }
        // In 128 bits no product overflows.
        let width = u128::from(high - low).max(1);
        let cell = u128::from(at(position) - low) * (cells as u128 - 1) / width;
        let cell = usize::try_from(cell).unwrap_or(0);
        if let Some(slot) = values.get_mut(cell) {
            *slot = *value;
        }
    }
    let levels = if style.unicode { &BLOCKS } else { &LETTERS };
    let mut last = None;
    let mut text = String::new();
    for value in values {
        last = value.or(last);
        let mark = last.map_or(" ", |value| {
            let level = (u128::from(value) * levels.len() as u128)
                .div_ceil(u128::from(top.max(1)))
                .saturating_sub(1);
            let level = usize::try_from(level).unwrap_or(0);
            levels.get(level).copied().unwrap_or("?")
        });
        text.push_str(mark);
    }
    text
}

/// `168 us`, `2.1 us`.
fn micro(ns: u64) -> String {
    if ns < 10_000 {
        format!("{}.{} us", ns / 1000, ns / 100 % 10)
    } else {
        format!("{} us", thousands(ns / 1000))
    }
}

/// What an engine is called.
fn engine(word: &str) -> &str {
    match word {
        "break" => "breakpoints",
        "watch" => "hardware watchpoints",
        "uprobe" => "uprobes",
        "ring" => "the flight recorder",
        other => other,
    }
}

/// One event as a line of a running trace, its line end included; who did it stands on a
/// second line where one has no room for it. `names` are the
/// expressions by which maps were asked for; `started` is when the trace began, by the
/// clock of the event's `t_mono_ns`.
#[must_use]
pub fn event_line(
    event: &Event,
    names: &BTreeMap<u64, String>,
    started: Option<u64>,
    style: &Style,
) -> String {
    let mut head = Line::new(style);
    if let (Some(now), Some(started)) = (event.t_mono_ns, started) {
        let since = seconds(now.saturating_sub(started));
        head.push(Role::Metadata, &format!("+{since}  "));
    }
    head.push(Role::Plain, event.op.word());
    head.space(2);
    let name = match (names.get(&event.map), &event.type_name) {
        (Some(name), _) => Line::new(style).with(Role::Title, name),
        (None, Some(name)) => Line::new(style)
            .with(Role::Title, name)
            .with(Role::Plain, " ")
            .with(Role::Address, &format!("{:#x}", event.map)),
        (None, None) => Line::new(style).with(Role::Address, &format!("{:#x}", event.map)),
    };
    let mut facts = Line::new(style);
    let mut fact = |text: &str| {
        facts.space(2);
        facts.push(Role::Plain, text);
    };
    let (before, after) = slots_around(event);
    let changed = slots(before, after, slots_delta(event), style);
    let grown = event.op.is_growth() || before != after && before.is_some();
    if grown && changed != "?" {
        fact(&format!("{changed} slots"));
    }
    if let Some(bytes) = new_bytes(event).filter(|bytes| *bytes > 0) {
        fact(&size(bytes));
    }
    if let Some(len) = event.len {
        fact(&format!("len {}", thousands(len)));
    }
    if let Some(density) = event.hole_density {
        fact(&format!("holes {}", percent(density)));
    }
    let mut tail = Line::new(style);
    if let Some(frame) = caller(&event.stack).or_else(|| event.stack.first()) {
        tail.space(2);
        tail.push(Role::Plain, &place(frame));
    }
    let goroutine = event.goid.map(|goid| format!("goroutine {goid}"));
    let labels = event
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    for extra in goroutine.into_iter().chain(labels) {
        tail.space(2);
        tail.push(Role::Metadata, &extra);
    }
    let columns = style.columns();
    let room = columns.saturating_sub(head.width() + facts.width());
    let indent = head.width();
    let mut line = head;
    // A long name gives way to the figures.
    line.append(&name.cut(room.max(columns / 4)));
    line.append(&facts);
    let mut text = String::new();
    // Who did it is on the same line, or whole on the next.
    if line.width() + tail.width() <= columns {
        line.append(&tail);
        line.render(style, &mut text);
        return text;
    }
    line.render(style, &mut text);
    if !tail.is_empty() {
        let mut next = Line::new(style);
        next.space(indent.min(12).saturating_sub(2));
        next.append(&tail);
        next.render(style, &mut text);
    }
    text
}

/// A trace as it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TraceStatus {
    /// `break`, `watch`, `uprobe` or `ring`; empty if there was no trace yet.
    pub engine: String,
    /// Whether it is on.
    pub active: bool,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it began, nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_wall_ns: Option<u64>,
    /// How long it is, or was, on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The kinds of events that are recorded.
    pub on: Vec<String>,
    /// The maps, as they were asked for; empty for all.
    pub maps: Vec<String>,
    /// The functions of the runtime at which events are taken.
    pub functions: Vec<String>,
    /// Stops, or records of the kernel.
    pub hits: u64,
    /// Those that became events.
    pub events: u64,
    /// Those that were the same call once more.
    pub duplicates: u64,
    /// Those left out on request.
    pub left_out: u64,
    /// Those that could not be read.
    pub lost: u64,
    /// What a hit cost the program, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_ns: Option<u64>,
    /// The part of that which is spent in gomapscope itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_ns: Option<u64>,
    /// Where events go; the terminal if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Sentences on what is not seen.
    pub notes: Vec<String>,
    /// Why the file was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The text of `go-map-trace status`.
#[must_use]
pub fn trace_status(status: &TraceStatus, style: &Style) -> String {
    let mut text = String::new();
    let mut line = Line::new(style);
    if status.engine.is_empty() {
        line.push(
            Role::Plain,
            "No trace is on: go-map-trace start begins one.",
        );
        line.fold(style, 0, 2, &mut text);
        return text;
    }
    let state = match (&status.ended, status.active) {
        (_, true) => String::new(),
        (Some(why), false) => format!("Ended ({why}): "),
        (None, false) => "Ended: ".to_owned(),
    };
    if status.active && status.hits == 0 {
        let maps = match status.maps.as_slice() {
            [] => "all maps".to_owned(),
            maps => maps.join(", "),
        };
        line.push(Role::Title, &format!("Tracing {maps}"));
        let how = format!(
            " by {}: let the program run (continue).",
            engine(&status.engine)
        );
        line.push(Role::Plain, &how);
        line.fold(style, 0, 2, &mut text);
    } else {
        line.push(Role::Title, &state);
        line.push(Role::Plain, engine(&status.engine));
        if let Some(cost) = status.cost_ns {
            let own = status
                .own_ns
                .map_or_else(String::new, |own| format!(" ({} of it ours)", micro(own)));
            line.push(Role::Plain, &format!(", {} a hit{own}", micro(cost)));
        }
        line.push(Role::Plain, &format!(", {}", count(status.hits, "hit")));
        if let Some(seconds) = status.seconds.filter(|seconds| seconds.is_finite()) {
            // As much as a u64 holds is 584 years.
            let took = (seconds.max(0.0) * 1e9) as u64;
            line.push(Role::Plain, &format!(" in {}", span(took)));
            if let Some(cost) = status.cost_ns.filter(|_| took > 0 && status.hits > 0) {
                let share = status.hits as f64 * cost as f64 / took as f64;
                line.push(Role::Plain, &format!(" = {} of the time", percent(share)));
            }
        }
        line.push(Role::Plain, ".");
        line.fold(style, 0, 2, &mut text);
    }
    if let Some(failure) = &status.failure {
        Line::new(style)
            .with(Role::Highlight, "Something failed")
            .with(Role::Plain, &format!(": {failure}"))
            .fold(style, 0, 2, &mut text);
    }
    text.push('\n');
    let mut counts = vec![count(status.events, "event")];
    for (value, what) in [
        (status.left_out, "left out on request"),
        (status.duplicates, "duplicates"),
        (status.lost, "lost"),
    ] {
        if value > 0 {
            counts.push(format!("{} {what}", thousands(value)));
        }
    }
    let maps = match status.maps.as_slice() {
        [] => "all".to_owned(),
        maps => maps.join(", "),
    };
    let file = status.file.as_deref().unwrap_or("the terminal");
    for (label, words) in [
        ("events", counts.join(", ")),
        ("on", status.on.join(", ")),
        ("maps", maps),
        ("to", file.to_owned()),
        ("at", status.functions.join(", ")),
    ] {
        if words.is_empty() {
            continue;
        }
        Line::new(style)
            .with(Role::Metadata, &format!("{label:<8}"))
            .with(Role::Plain, &words)
            .fold(style, 2, 8, &mut text);
    }
    if !status.notes.is_empty() {
        text.push('\n');
    }
    for note in &status.notes {
        Line::new(style)
            .with(Role::Plain, note)
            .fold(style, 2, 2, &mut text);
    }
    text
}

/// The document of `go-map-trace status -json`: one line.
#[must_use]
pub fn trace_status_json(status: &TraceStatus) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        #[serde(flatten)]
        status: &'a TraceStatus,
    }
    let mut text = to_json(&Document {
        schema: "gomapscope.trace-status/1",
        status,
    });
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Head<'a> {
    schema: &'static str,
    file: &'a str,
    header: &'a Header,
    totals: &'a EventTotals,
    end: EndFacts<'a>,
}

/// How the file ends.
#[derive(Default, Serialize)]
struct EndFacts<'a> {
    /// `closed`, `open`, `cut`, `damaged` or `interrupted`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Where the cut line begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_ns: Option<u64>,
}

impl<'a> EndFacts<'a> {
    fn new(finish: &'a Finish) -> Self {
        let ending = finish.ending();
        Self {
            state: finish.word(),
            reason: match finish {
                Finish::Closed(ending) => Some(&ending.end),
                Finish::Damaged(reason) => Some(reason),
                _ => None,
            },
            byte: match finish {
                Finish::Cut(at) => Some(*at),
                _ => None,
            },
            events: ending.map(|ending| ending.events),
            lost: ending.map(|ending| ending.lost),
            duplicates: ending.map(|ending| ending.duplicates),
            left_out: ending.map(|ending| ending.left_out),
            cost_ns: ending.and_then(|ending| ending.cost_ns),
        }
    }
}

#[derive(Serialize)]
struct Note<'a> {
    note: &'a str,
    events: u64,
}

#[derive(Serialize)]
struct Tail<'a> {
    maps_total: usize,
    other_maps: Rest,
    stacks: Vec<StackRow>,
    stacks_total: u64,
    other_stacks: RestOfStacks,
    notes: Vec<Note<'a>>,
    more_notes: u64,
}

/// Writes the document of `go-map-trace report -json`, map by map. `limit`: rows of each
/// list, all without.
///
/// # Errors
///
/// What the writer returned.
pub fn events_json<E>(
    summary: &Summary,
    file: &str,
    limit: Option<u64>,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let head = Head {
        schema: "gomapscope.events-report/1",
        file,
        header: summary.header(),
        totals: &summary.totals(),
        end: EndFacts::new(summary.end()),
    };
    let all = summary.maps();
    let shown = limit.map_or(all, |limit| usize::try_from(limit).unwrap_or(all).min(all));
    let mut document = JsonRows::begin(&head, "maps", write);
    for position in 0..shown {
        if let Some(row) = summary.row(position, limit) {
            document.row(&row)?;
        }
    }
    let (stacks, other_stacks) = summary.stacks(limit);
    let (notes, more_notes) = summary.notes();
    let notes = notes.iter().map(|(note, events)| Note {
        note,
        events: *events,
    });
    document.finish_with(
        &Tail {
            maps_total: all,
            other_maps: summary.rest(),
            stacks,
            stacks_total: summary.stacks_total(),
            other_stacks,
            notes: notes.collect(),
            more_notes,
        },
        shown < all,
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::events::{Clock, Ending, Op, SCHEMA};
    use crate::report::testing::{ASCII, PLAIN, check, golden};

    fn frame(function: &str, file: &str, line: u32) -> Frame {
        Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line,
            inlined: false,
        }
    }

    fn header() -> Header {
        Header {
            schema: SCHEMA.to_owned(),
            engine: "break".to_owned(),
            go_version: Some("go1.27.3".to_owned()),
            program: Some("/srv/sessiond".to_owned()),
            pid: Some(4711),
            on: vec!["grow".to_owned()],
            clock: Some(Clock {
                t_mono_ns: 0,
                t_wall_ns: 1,
                error_ns: 1,
            }),
            ..Header::default()
        }
    }

    fn grow(seq: u64, map: u64, old: u64) -> Event {
        let new = if old == 0 { 8 } else { old * 2 };
        Event {
            t_mono_ns: Some(seq * seq * 1_000_000),
            goid: Some(7 + seq % 2),
            type_name: Some("map[string]int".to_owned()),
            len: Some(old / 8 * 7),
            capacity: Some(new),
            old_capacity: Some(old),
            map_capacity: Some(new),
            size: Some(new * 25),
            old_size: Some(old * 25),
            stack: vec![
                frame("runtime.hashGrow", "/go/map.go", 1),
                frame("main.fill", "/src/cache.go", 33),
                frame("main.(*Server).handle", "/src/server.go", 118),
                frame("runtime.goexit", "/go/asm.s", 1),
            ],
            labels: [("request".to_owned(), "/login".to_owned())].into(),
            ..Event::new(seq, Op::Grow, map)
        }
    }

    fn summed(header: &Header, events: &[Event], finish: Finish) -> Summary {
        let mut summary = Summary::new(header);
        for event in events {
            summary.add(event);
        }
        summary.finish(finish);
        summary
    }

    fn doubling() -> Vec<Event> {
        let mut events: Vec<Event> = (0..18_u32)
            .map(|i| grow(u64::from(i) + 1, 0xc000_0120, (8 << i) >> 1))
            .collect();
        // From 0 to 8.
        events[0] = grow(1, 0xc000_0120, 0);
        events
    }

    #[test]
    fn a_screen_of_80_columns() {
        let ending = Ending {
            end: "stop".to_owned(),
            events: 20,
            duplicates: 1,
            cost_ns: Some(168_000),
            t_mono_ns: Some(400_000_000),
            ..Ending::default()
        };
        let mut events = doubling();
        events.push(grow(19, 0xc000_0200, 8));
        events.push(grow(20, 0xc000_0200, 16));
        let summary = summed(&header(), &events, Finish::Closed(ending));
        golden("events", &super::events(&summary, "e.jsonl", None, &PLAIN));
        golden(
            "events_ascii",
            &super::events(&summary, "e.jsonl", Some(Some(1)), &ASCII),
        );
    }

    #[test]
    fn each_end_of_a_file_is_told() {
        let text = |finish| {
            let summary = summed(&header(), &doubling(), finish);
            super::events(&summary, "e.jsonl", None, &PLAIN).replace("\n  ", " ")
        };
        let closed = text(Finish::Closed(Ending {
            end: "stop".to_owned(),
            events: 19,
            lost: 3,
            left_out: 1,
            ..Ending::default()
        }));
        assert!(
            closed.contains("End: stop. Not whole: the file's end tells of 19 events."),
            "{closed}"
        );
        assert!(
            closed.contains("3 lost: figures are lower bounds."),
            "{closed}"
        );
        assert!(text(Finish::Open).contains("\nThe file has no end: "));
        assert!(text(Finish::Cut(1234)).contains("\nThe file is cut at byte 1,234 "));
        assert!(text(Finish::Damaged("line 3".to_owned())).contains("not readable: line 3"));
        assert!(text(Finish::Interrupted).starts_with("Interrupted, this is only a part: map"));
        let none = summed(&header(), &[], Finish::Open);
        let none = super::events(&none, "e.jsonl", None, &PLAIN);
        assert!(none.starts_with("No event is in e.jsonl: no map did what was traced (grow).\n"));
    }

    #[test]
    fn unknown_figures_are_not_shown_as_known() {
        let mut events = doubling();
        for event in &mut events {
            event.map_capacity = None;
        }
        events[3].size = None;
        let summary = summed(&header(), &events, Finish::Open);
        let text = super::events(&summary, "e.jsonl", None, &PLAIN).replace("\n  ", " ");
        assert!(
            text.contains(" grew: +1,048,576 slots, 50.0 MiB+ of new storage"),
            "{text}"
        );
        assert!(text.contains("is missing in 1 event: a + means"), "{text}");
        assert!(text.contains("the sum of what growths added"), "{text}");
    }

    #[test]
    fn sparklines_hold_a_value_until_the_next() {
        let of = |points: &[(Option<u64>, Option<u64>)], style| sparkline(points, 8, style);
        let at = |t, value| (Some(t), Some(value));
        assert_eq!(of(&[at(0, 1), at(4, 4), at(8, 8)], &PLAIN), "▁▁▁▄▄▄▄█");
        assert_eq!(of(&[at(0, 1), at(4, 4), at(8, 8)], &ASCII), "___----#");
        assert_eq!(of(&[(Some(0), None), at(7, 3)], &PLAIN), "       █");
        assert_eq!(of(&[at(5, 0), at(5, 0)], &PLAIN), "▁▁▁▁▁▁▁▁");
        let untimed = [(None, Some(1)), (Some(9), Some(8))];
        assert_eq!(of(&untimed, &PLAIN), "▁▁▁▁▁▁▁█");
        let all = [at(0, u64::MAX), at(u64::MAX, u64::MAX)];
        assert_eq!(of(&all, &PLAIN), "████████");
    }

    #[test]
    fn one_event_is_a_line_or_two() {
        let mut event = grow(11, 0xc000_0120, 8192);
        event.t_mono_ns = Some(2_234_567_890);
        event.len = Some(6657);
        let names = BTreeMap::from([(0xc000_0120, "main.cache".to_owned())]);
        let line = |event: &Event, width| {
            let style = Style { width, ..PLAIN };
            event_line(event, &names, Some(1_000_000_000), &style)
        };
        assert_eq!(
            line(&event, 110),
            "+1.234 s  grow  main.cache  8,192 → 16,384 slots  400.0 KiB  len 6,657\n            \
             main.fill cache.go:33  goroutine 8  request=/login\n"
        );
        assert_eq!(line(&event, 200).lines().count(), 1);
        assert_eq!(line(&event, 200).matches("request=/login").count(), 1);
        let mut other = event.clone();
        other.map = 0x10;
        other.type_name = Some(format!("map[string]{}", "x".repeat(99)));
        let text = line(&other, 80);
        assert!(text.contains("8,192 → 16,384 slots  400.0 KiB"), "{text}");
        let bare = Event::new(1, Op::Delete, 0x10);
        assert_eq!(line(&bare, 80), "delete  0x10\n");
        assert_eq!(
            event_line(&Event::new(2, Op::Grow, 0x10), &names, None, &ASCII),
            "grow  0x10\n"
        );
    }

    fn status() -> TraceStatus {
        TraceStatus {
            engine: "break".to_owned(),
            active: true,
            seconds: Some(3.2),
            on: vec!["grow".to_owned(), "split".to_owned()],
            hits: 2051,
            events: 2000,
            left_out: 51,
            cost_ns: Some(168_000),
            own_ns: Some(41_000),
            functions: vec!["runtime.hashGrow".to_owned()],
            ..TraceStatus::default()
        }
    }

    #[test]
    fn a_status_begins_with_its_cost() {
        let text = trace_status(&status(), &PLAIN);
        assert_eq!(
            text.replace("\n  the", " the").lines().next().unwrap(),
            "breakpoints, 168 us a hit (41 us of it ours), 2,051 hits in 3.2 s = 10.8 % of the time."
        );
        assert!(
            text.contains("2,000 events, 51 left out on request"),
            "{text}"
        );
        let none = trace_status(&TraceStatus::default(), &PLAIN);
        assert_eq!(none, "No trace is on: go-map-trace start begins one.\n");
        let json = trace_status_json(&status());
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["schema"], "gomapscope.trace-status/1");
        assert_eq!(
            (&value["hits"], &value["active"]),
            (&2051.into(), &true.into())
        );
        assert!(value.get("ended").is_none() && json.ends_with("}\n"));
    }

    fn document(summary: &Summary, limit: Option<u64>) -> Value {
        let mut text = String::new();
        let done: Result<(), Infallible> = events_json(summary, "e.jsonl", limit, &mut |part| {
            text.push_str(part);
            Ok(())
        });
        done.unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_document_is_whole() {
        let mut events = doubling();
        events.push(grow(19, 0xc000_0200, 8));
        let summary = summed(&header(), &events, Finish::Cut(7));
        let value = document(&summary, None);
        assert_eq!(value["schema"], "gomapscope.events-report/1");
        assert_eq!(value["end"], serde_json::json!({"state": "cut", "byte": 7}));
        assert_eq!(value["totals"]["events"], 19);
        assert_eq!(value["maps"][0]["address"], "0xc0000120");
        assert_eq!(value["maps"][0]["growths"].as_array().unwrap().len(), 18);
        assert_eq!(
            value["maps"][0]["stacks"][0]["caller"]["function"],
            "main.fill"
        );
        assert_eq!(value["truncated"], false);
        let one = document(&summary, Some(1));
        assert_eq!(one["maps"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&one["truncated"], &one["maps_total"]),
            (&true.into(), &2.into())
        );
    }

    /// Any text; of white space, what is trimmed at the end of lines.
    fn any_text() -> impl Strategy<Value = String> {
        any::<String>()
            .prop_map(|text| text.replace(|c: char| c.is_whitespace() && !c.is_control(), " "))
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let number = || prop::option::of(prop_oneof![0..9_u64, any::<u64>()]);
        (
            (0..Op::ALL.len(), 0..4_u64, any::<u64>()),
            (number(), number(), number(), number(), number()),
            (number(), number(), number(), number(), number()),
            prop::option::of(any::<f64>()),
            prop::option::of(any_text()),
            prop::collection::vec((any_text(), any_text(), any::<u32>()), 0..4),
            prop::collection::btree_map(any_text(), any_text(), 0..3),
        )
            .prop_map(|(kind, a, b, hole_density, text, stack, labels)| Event {
                t_mono_ns: a.0,
                t_wall_ns: a.1,
                goid: a.2,
                len: a.3,
                capacity: a.4,
                old_capacity: b.0,
                map_capacity: b.1,
                size: b.2,
                old_size: b.3,
                old_block: b.4,
                hole_density,
                notes: text.iter().cloned().collect(),
                type_name: text,
                stack: stack
                    .into_iter()
                    .map(|(function, file, line)| frame(&function, &file, line))
                    .collect(),
                labels,
                ..Event::new(kind.2, Op::ALL[kind.0], kind.1)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn any_events_are_harmless_text(
            events in prop::collection::vec(any_event(), 0..12),
            hostile in any_text(),
            number in prop::option::of(any::<u64>()),
        ) {
            let header = Header {
                engine: hostile.clone(),
                program: Some(hostile.clone()),
                maps: vec![hostile.clone()],
                notes: vec![hostile.clone()],
                ..header()
            };
            let ending = Ending {
                end: hostile.clone(),
                events: 3,
                lost: 1,
                cost_ns: number,
                t_mono_ns: number,
                ..Ending::default()
            };
            let summary = summed(&header, &events, Finish::Closed(ending));
            check(|style| super::events(&summary, &hostile, None, style));
            check(|style| super::events(&summary, &hostile, Some(None), style));
            let value = document(&summary, None);
            prop_assert_eq!(&value["totals"]["events"], events.len());
            let names = BTreeMap::from([(1, hostile.clone())]);
            for event in &events {
                check(|style| {
                    let line = event_line(event, &names, number, style);
                    assert!(matches!(line.matches('\n').count(), 1 | 2));
                    line
                });
            }
            let status = TraceStatus {
                engine: hostile.clone(),
                ended: Some(hostile.clone()),
                failure: Some(hostile.clone()),
                maps: vec![hostile.clone()],
                seconds: events.first().and_then(|event| event.hole_density),
                hits: number.unwrap_or(0),
                cost_ns: number,
                own_ns: number,
                ..status()
            };
            check(|style| trace_status(&status, style));
        }
    }
}
