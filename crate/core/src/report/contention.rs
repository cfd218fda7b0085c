//! The text and the JSON document of `gomapscope contention`.

use serde::Serialize;

use super::json::to_json;
use super::number::{count, size, thousands};
use super::style::{Line, Role, Style};
use crate::pprof::Operation;
use crate::pprof::contention::{Contention, Delay, MapUse, PlaceDelay, Section, Source};

/// Functions that are shown where no limit is given.
const ROWS: u64 = 10;

/// Lines of one function that work on a map.
const USES: usize = 4;

#[derive(Serialize)]
struct Document<'c> {
    schema: &'static str,
    #[serde(flatten)]
    found: &'c Contention,
    truncated: bool,
}

/// The document `gomapscope.contention/1`: one line.
#[must_use]
pub fn contention_json(found: &Contention, limit: Option<Option<u64>>) -> String {
    let most = limit
        .flatten()
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let truncated = found.guarded.len() > most || found.others.len() > most;
    let mut cut;
    let found = if truncated {
        cut = found.clone();
        cut.guarded.truncate(most);
        cut.others.truncate(most);
        &cut
    } else {
        found
    };
    let mut text = to_json(&Document {
        schema: "gomapscope.contention/1",
        found,
        truncated,
    });
    text.push('\n');
    text
}

/// The text. `limit`: as many functions, `None` inside for all.
#[must_use]
pub fn contention(found: &Contention, limit: Option<Option<u64>>, style: &Style) -> String {
    let rows = limit.unwrap_or(Some(ROWS)).unwrap_or(u64::MAX);
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut text = String::new();
    let page = Page { found, style };
    page.answer(&mut text);
    for (number, section) in found.guarded.iter().take(rows).enumerate() {
        text.push('\n');
        page.section(number + 1, section, &mut text);
    }
    if found.guarded.len() > rows {
        let all = count(found.guarded.len() as u64, "function");
        page.fold(
            Role::Metadata,
            &format!("{rows} of {all} shown (-limit N)"),
            2,
            &mut text,
        );
    }
    page.others(rows, &mut text);
    if !found.notes.is_empty() {
        text.push('\n');
    }
    for note in &found.notes {
        page.fold(Role::Metadata, note, 0, &mut text);
    }
    text
}

struct Page<'a> {
    found: &'a Contention,
    style: &'a Style,
}

/// `main.go:42`.
fn place(file: &str, line: i64) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{file}:{line}")
}

fn time(ns: i64) -> String {
    let seconds = ns as f64 / 1e9;
    match ns.unsigned_abs() {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

fn number(value: i64) -> String {
    match u64::try_from(value) {
        Ok(value) => thousands(value),
        Err(_) => format!("-{}", thousands(value.unsigned_abs())),
    }
}

/// `1 wait`, `2 waits`.
fn several(value: i64, noun: &str) -> String {
    match value {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", number(value)),
    }
}

fn doing(operation: Operation) -> &'static str {
    match operation {
        Operation::Assign => "assigns to",
        Operation::Access => "looks up in",
        Operation::Delete => "deletes from",
        Operation::Iterate => "iterates over",
        Operation::Clear => "clears",
        Operation::Clone => "clones",
        Operation::Growth => "grows",
        Operation::Make | Operation::Other => "works on",
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Code => "code",
        Source::Cpu => "CPU profile",
        Source::Heap => "heap profile",
        Source::Goroutine => "goroutine profile",
    }
}

impl Page<'_> {
    fn fold(&self, role: Role, sentence: &str, indent: usize, text: &mut String) {
        Line::new(self.style)
            .with(role, sentence)
            .fold(self.style, indent, 2, text);
    }

    /// A delay in the unit of the profiles.
    fn delay(&self, value: i64) -> String {
        match &*self.found.unit {
            "nanoseconds" => time(value),
            unit => format!("{} {unit}", number(value)),
        }
    }

    fn answer(&self, text: &mut String) {
        let found = self.found;
        let mut line = Line::new(self.style);
        match found.guarded.first() {
            Some(first) => {
                line.push(Role::Title, &first.function);
                let much = if first.waits.delay > 0 {
                    format!(
                        " waited {} for a lock, and works on a map between Lock and Unlock",
                        self.delay(first.waits.delay)
                    )
                } else if first.holds.delay > 0 {
                    format!(
                        " held a lock that others waited {} for, and works on a map",
                        self.delay(first.holds.delay)
                    )
                } else {
                    " has goroutines that wait for a lock, and works on a map".to_owned()
                };
                let much = match first.maps.iter().any(|used| used.between == Some(true)) {
                    true => much,
                    false => much.replace(" between Lock and Unlock", ""),
                };
                line.push(Role::Plain, &much);
                line.push(Role::Plain, ".");
            }
            None if found.waits.count + found.holds.count == 0 && found.others.is_empty() => {
                line.push(Role::Plain, "No waiting for a lock is in these profiles.");
            }
            None => {
                line.push(
                    Role::Plain,
                    "No function that waits for a lock is known to work on a map.",
                );
            }
        }
        line.fold(self.style, 0, 2, text);
        if found.waits.count > 0 {
            let other = match found.other_waits.count {
                0 => String::new(),
                _ => format!(
                    "; for channels, groups and the like {}",
                    self.delay(found.other_waits.delay)
                ),
            };
            let sentence = format!(
                "In all: {} waiting for locks in {}{other}.",
                self.delay(found.waits.delay),
                several(found.waits.count, "wait"),
            );
            self.fold(Role::Plain, &sentence, 0, text);
        }
    }

    fn places(places: &[PlaceDelay]) -> String {
        let mut named: Vec<String> = places
            .iter()
            .take(3)
            .map(|at| place(&at.at.file, at.at.line))
            .collect();
        if places.len() > 3 {
            named.push(format!("{} more", places.len() - 3));
        }
        named.join(", ")
    }

    fn section(&self, rank: usize, section: &Section, text: &mut String) {
        let mut head = Line::new(self.style);
        head.push(Role::Plain, &format!("{rank:>2}  "));
        head.push(Role::Title, &section.function);
        head.fold(self.style, 0, 4, text);
        for proved in self.proved(section) {
            let line = Line::new(self.style).with(Role::Highlight, "measured  ");
            line.with(Role::Plain, &proved)
                .fold(self.style, 4, 10, text);
        }
        if let Some(cpu) = section.cpu.filter(|cpu| cpu.growth_ns > 0)
            && !section.lock_lines.is_empty()
        {
            let between = match cpu.growth_between_ns {
                Some(between) => format!(
                    "{} of growing them under lines between Lock and Unlock (code, CPU profile)",
                    time(between)
                ),
                None => "how much of growing them is between Lock and Unlock the lines do not tell"
                    .to_owned(),
            };
            let line = Line::new(self.style).with(Role::Light, "together  ");
            line.with(Role::Plain, &between)
                .fold(self.style, 4, 10, text);
        }
        for (index, used) in section.maps.iter().enumerate() {
            if index == USES {
                let more = count((section.maps.len() - USES) as u64, "more line");
                self.fold(
                    Role::Metadata,
                    &format!("{more} (-json lists all)"),
                    14,
                    text,
                );
                break;
            }
            let line = Line::new(self.style).with(Role::Light, "together  ");
            line.with(Role::Plain, &Self::together(section, used))
                .fold(self.style, 4, 10, text);
        }
    }

    /// What the profiles say.
    fn proved(&self, section: &Section) -> Vec<String> {
        let mut said = Vec::new();
        let delays = |delay: &Delay| delay.count > 0 || delay.delay > 0;
        if delays(&section.waits) {
            said.push(format!(
                "waited {} for a lock in {}, at {} (block profile)",
                self.delay(section.waits.delay),
                several(section.waits.count, "wait"),
                Self::places(&section.waits_at),
            ));
        }
        if delays(&section.holds) {
            said.push(format!(
                "held a lock that others waited {} for, given back at {} (mutex profile)",
                self.delay(section.holds.delay),
                Self::places(&section.holds_at),
            ));
        }
        if section.waiting_now > 0 {
            let wait = if section.waiting_now == 1 {
                "waits"
            } else {
                "wait"
            };
            said.push(format!(
                "{} {wait} for a lock in it now (goroutine profile)",
                several(section.waiting_now, "goroutine"),
            ));
        }
        if let Some(cpu) = section.cpu.filter(|cpu| cpu.samples > 0) {
            let growth = match cpu.growth_ns {
                0 => String::new(),
                _ => format!(", {} of it growing them", time(cpu.growth_ns)),
            };
            said.push(format!(
                "{} of its {} of CPU time in functions of maps{growth} (CPU profile, {})",
                time(cpu.maps_ns),
                time(cpu.all_ns),
                several(cpu.samples, "sample"),
            ));
        }
        if let Some(bytes) = section
            .map_bytes
            .and_then(|bytes| u64::try_from(bytes).ok())
            && bytes > 0
        {
            said.push(format!(
                "allocated {} of map storage that is in use (heap profile)",
                size(bytes)
            ));
        }
        if section.in_map_now > 0 {
            said.push(format!(
                "{} in a function of maps in it now (goroutine profile)",
                several(section.in_map_now, "goroutine"),
            ));
        }
        said
    }

    /// What goes together.
    fn together(section: &Section, used: &MapUse) -> String {
        let what = used.map_type.as_deref().unwrap_or("a map");
        let at = place(&used.at.file, used.at.line);
        let by = match &used.via {
            Some(via) => format!("{via}, which it calls at {at}, calls {}", used.call),
            None => format!("calls {} at {at}", used.call),
        };
        let lines = |lines: &[i64]| {
            let shown: Vec<String> = lines
                .iter()
                .take(3)
                .map(|line| format!(":{line}"))
                .collect();
            shown.join(", ")
        };
        // The pair around the line.
        let line = used.at.line;
        let begin = section.lock_lines.iter().filter(|at| **at < line).max();
        let begin: Vec<i64> = begin.into_iter().copied().collect();
        let end = section
            .unlock_lines
            .iter()
            .filter(|at| **at > line)
            .min()
            .copied();
        let where_ = match used.between {
            None if section.lock_lines.is_empty() => String::new(),
            None => format!(
                ", with Lock at {} and Unlock at {}; whether it is between them its lines do \
                 not tell",
                lines(&section.lock_lines),
                match section.unlock_lines.is_empty() {
                    true => "no line that is known".to_owned(),
                    false => lines(&section.unlock_lines),
                }
            ),
            Some(true) if end.is_none() => format!(
                ", behind Lock at {} and before it returns, which unlocks",
                lines(&begin)
            ),
            Some(true) => format!(
                ", between Lock at {} and Unlock at {}",
                lines(&begin),
                lines(&end.into_iter().collect::<Vec<_>>())
            ),
            Some(false) => ", outside of Lock and Unlock".to_owned(),
        };
        let by_what: Vec<&str> = used.evidence.iter().map(|known| source(*known)).collect();
        format!(
            "{} {what}: {by}{where_} ({}); that the lock guards this map is not proved",
            doing(used.operation),
            by_what.join(", ")
        )
    }

    /// Locks without a map.
    fn others(&self, rows: usize, text: &mut String) {
        let others: Vec<&Section> = self
            .found
            .others
            .iter()
            .filter(|section| section.waits.delay > 0 || section.holds.delay > 0)
            .collect();
        if others.is_empty() {
            return;
        }
        text.push('\n');
        self.fold(
            Role::Plain,
            "Waits for locks without work on a map that is known:",
            0,
            text,
        );
        for section in others.iter().take(rows) {
            // The greater of the two, and which it is: what others waited is not its own wait.
            let held = section.holds.delay > section.waits.delay;
            let (delay, word, at) = match held {
                true => (section.holds.delay, "held", &section.holds_at),
                false => (section.waits.delay, "waited", &section.waits_at),
            };
            let waits = format!("{:>12} {word:<6}", self.delay(delay));
            let mut line = Line::new(self.style).with(Role::Plain, &waits);
            line.push(Role::Plain, &format!("  {}", section.function));
            if let Some(at) = at.first() {
                line.push(
                    Role::Metadata,
                    &format!(" {}", place(&at.at.file, at.at.line)),
                );
            }
            if section.maps.iter().any(|used| used.between == Some(false)) {
                line.push(Role::Metadata, " (its maps are outside of Lock and Unlock)");
            }
            line.render(self.style, text);
        }
        if others.len() > rows {
            let all = count(others.len() as u64, "function");
            self.fold(Role::Metadata, &format!("{rows} of {all}"), 2, text);
        }
    }
}
