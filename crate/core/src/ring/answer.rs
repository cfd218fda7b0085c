//! What `go-map-ring` prints and writes.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::event::common;
use super::{Counts, Events, Record, Ring};
use crate::answer::{Look, Write};
use crate::command::Request;
use crate::events::{Clock, Ending, Event, EventWriter, Header, Op};
use crate::map::Flow;
use crate::memory::ReadError;
use crate::report::{Align, Column, JsonRows, Line, Role, Style, Table, size, thousands};
use crate::target::{Map, Motion, Target, WHILE_RUNNING};

/// Why the ring was not shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum RingFailure<E> {
    /// A line.
    Reason(String),
    /// The user wants the prompt back.
    Interrupted,
    /// What the writer returned.
    Write(E),
}

impl<E> From<ReadError> for RingFailure<E> {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Interrupted => Self::Interrupted,
            other => Self::Reason(other.to_string()),
        }
    }
}

/// The events that are asked for.
struct Wanted<'r> {
    map: Option<u64>,
    ops: &'r [Op],
}

impl Wanted<'_> {
    fn fits(&self, record: &Record) -> bool {
        self.map.is_none_or(|map| map == record.map)
            && (self.ops.is_empty() || self.ops.contains(&common(record.op)))
    }
}

/// Answers `go-map-ring`; with a map, only its own events are listed. `pid`: the process,
/// where it runs on this machine.
///
/// # Errors
/// When there is no ring, the file of `-o` cannot be written, the user interrupts, or
/// what the writer returned.
pub fn answer_ring<E>(
    request: &Request,
    target: &Target,
    map: Option<&Map>,
    pid: Option<u64>,
    look: &Look,
    write: Write<'_, E>,
) -> Result<(), RingFailure<E>> {
    let options = &request.options;
    let runs = target.runs();
    let ring = target
        .ring()
        .map_err(|error| RingFailure::Reason(error.to_string()))?;
    let wanted = Wanted {
        map: map.map(Map::address),
        ops: &options.ops,
    };
    let page = Page {
        target,
        ring: &ring,
        wanted: &wanted,
        map,
        pid,
        runs,
    };
    let written = match &options.output {
        Some(path) => Some((path.as_str(), page.file(path, options.force)?)),
        None => None,
    };
    let limit = options.rows(look.limit);
    if options.json {
        return page.json(limit, written, write);
    }
    let text = page.text(limit, written, &look.style)?;
    write(&text).map_err(RingFailure::Write)
}

struct Page<'p> {
    target: &'p Target,
    ring: &'p Ring,
    wanted: &'p Wanted<'p>,
    map: Option<&'p Map>,
    pid: Option<u64>,
    /// How often the target had run before the ring was found.
    runs: u64,
}

#[derive(Serialize)]
struct Head<'h> {
    schema: &'static str,
    go_version: Option<&'h str>,
    arch: Option<&'h str>,
    family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<String>,
    ring: RingHead,
}

#[derive(Serialize)]
struct RingHead {
    address: String,
    entries: u64,
    entry_size: u64,
    recording: bool,
    stacks: bool,
    frees: bool,
    recorded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
}

#[derive(Serialize)]
struct Tail<'t> {
    matched: u64,
    kept: u64,
    lost: u64,
    torn: u64,
    damaged: u64,
    unreadable: u64,
    exact: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    racing: bool,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    notes: &'t [&'t str],
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'t str>,
}

impl Page<'_> {
    fn family(&self) -> &'static str {
        match self.ring.swiss {
            true => "swiss",
            false => "classic",
        }
    }

    fn clock(&self) -> Option<Clock> {
        self.ring.clock.map(|(mono, wall)| Clock {
            t_mono_ns: mono,
            t_wall_ns: wall,
            error_ns: 0,
        })
    }

    /// Whether the program went on recording while the ring was read: records of one walk may
    /// then be of two times, and the figures of the header older than they are.
    fn racing(&self) -> bool {
        self.target.motion() == Motion::Running || self.target.runs() != self.runs
    }

    /// Visits what is wanted; how many that were, and what could not be read.
    fn each(
        &self,
        visit: &mut dyn FnMut(&Record) -> Flow,
    ) -> Result<(u64, Counts, Option<u64>), ReadError> {
        let mut matched = 0;
        let mut last = None;
        let counts = self.ring.read(self.target.memory(), &mut |record| {
            last = Some(record.time);
            if !self.wanted.fits(record) {
                return Flow::Continue;
            }
            matched += 1;
            visit(record)
        })?;
        Ok((matched, counts, last))
    }

    /// The last `limit` records that are wanted.
    #[allow(clippy::type_complexity, reason = "named where it is taken apart")]
    fn last(
        &self,
        limit: u64,
    ) -> Result<
        (
            VecDeque<Record>,
            BTreeMap<Op, u64>,
            u64,
            Counts,
            Option<u64>,
        ),
        ReadError,
    > {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut rows = VecDeque::new();
        let mut sums = BTreeMap::new();
        let (matched, counts, last) = self.each(&mut |record| {
            *sums.entry(common(record.op)).or_insert(0) += 1;
            if limit == 0 {
                return Flow::Continue;
            }
            // The place of the one that leaves is taken over.
            let mut place = match rows.len() >= limit {
                true => rows.pop_front().unwrap_or_default(),
                false => Record::default(),
            };
            place.clone_from(record);
            rows.push_back(place);
            Flow::Continue
        })?;
        Ok((rows, sums, matched, counts, last))
    }

    /// Writes the events into a file of their own.
    fn file<E>(&self, path: &str, force: bool) -> Result<u64, RingFailure<E>> {
        let binary = self.target.binary();
        let mut notes = vec![
            "A map is seen from its first storage on; table and directory events are of Swiss \
             maps."
                .to_owned(),
        ];
        if self.ring.next > self.ring.entries {
            notes.push("Earlier events were overwritten.".to_owned());
        }
        if self.racing() {
            notes.push(WHILE_RUNNING.to_owned());
        }
        let header = Header {
            schema: crate::events::SCHEMA.to_owned(),
            engine: "ring".to_owned(),
            go_version: binary.version().map(|version| version.text),
            arch: binary.arch().map(str::to_owned),
            family: Some(self.family().to_owned()),
            program: Some(binary.path().display().to_string()),
            pid: self.pid,
            boot_id: self.pid.and_then(|_| crate::events::boot_id()),
            clock: self.clock(),
            on: self
                .wanted
                .ops
                .iter()
                .map(|op| op.word().to_owned())
                .collect(),
            maps: self
                .wanted
                .map
                .iter()
                .map(|map| format!("{map:#x}"))
                .collect(),
            notes,
            ..Header::default()
        };
        let failed = |error: crate::events::EventFileError| RingFailure::Reason(error.to_string());
        let mut writer = EventWriter::create_whole(path, force, &header).map_err(failed)?;
        let mut events = Events::new(self.target, self.ring);
        let mut failure = None;
        let (matched, counts, _) = self.each(&mut |record| match writer
            .events_of([&events.event(record)])
        {
            Ok(()) => Flow::Continue,
            Err(error) => {
                failure = Some(error);
                Flow::Stop
            }
        })?;
        if let Some(error) = failure {
            return Err(failed(error));
        }
        writer
            .finish(&Ending {
                end: match self.racing() {
                    true => "all of the ring, read while the program ran".to_owned(),
                    false => "all of the ring".to_owned(),
                },
                events: matched,
                lost: counts.lost + counts.torn + counts.damaged + counts.unreadable,
                left_out: counts.whole - matched,
                ..Ending::default()
            })
            .map_err(failed)?;
        Ok(matched)
    }

    fn json<E>(
        &self,
        limit: Option<u64>,
        written: Option<(&str, u64)>,
        write: Write<'_, E>,
    ) -> Result<(), RingFailure<E>> {
        let binary = self.target.binary();
        let version = binary.version().map(|version| version.text);
        let head = Head {
            schema: "gomapscope.ring/1",
            go_version: version.as_deref(),
            arch: binary.arch(),
            family: self.family(),
            map: self.wanted.map.map(|map| format!("{map:#x}")),
            ring: RingHead {
                address: format!("{:#x}", self.ring.address),
                entries: self.ring.entries,
                entry_size: self.ring.entry_size,
                recording: self.ring.recording,
                stacks: self.ring.depth != 0,
                frees: self.ring.frees,
                recorded: self.ring.next,
                clock: self.clock(),
            },
        };
        let mut events = Events::new(self.target, self.ring);
        let mut document = JsonRows::begin(&head, "events", write);
        let (matched, counts, shown) = match limit {
            Some(limit) => {
                let (rows, _, matched, counts, _) = self.last(limit)?;
                for record in &rows {
                    let row: Event = events.event(record);
                    document.row(&row).map_err(RingFailure::Write)?;
                }
                (matched, counts, rows.len() as u64)
            }
            None => {
                let mut failure = None;
                let (matched, counts, _) =
                    self.each(&mut |record| match document.row(&events.event(record)) {
                        Ok(()) => Flow::Continue,
                        Err(error) => {
                            failure = Some(error);
                            Flow::Stop
                        }
                    })?;
                if let Some(error) = failure {
                    return Err(RingFailure::Write(error));
                }
                (matched, counts, matched)
            }
        };
        let racing = self.racing();
        let notes: &[&str] = match racing {
            true => &[WHILE_RUNNING],
            false => &[],
        };
        document
            .finish_with(
                &Tail {
                    matched,
                    kept: counts.whole,
                    lost: counts.lost,
                    torn: counts.torn,
                    damaged: counts.damaged,
                    unreadable: counts.unreadable,
                    exact: counts.exact() && !racing,
                    racing,
                    notes,
                    file: written.map(|(path, _)| path),
                },
                shown < matched,
            )
            .map_err(RingFailure::Write)
    }

    fn text<E>(
        &self,
        limit: Option<u64>,
        written: Option<(&str, u64)>,
        style: &Style,
    ) -> Result<String, RingFailure<E>> {
        let (rows, sums, matched, counts, last) = self.last(limit.unwrap_or(u64::MAX))?;
        let mut events = Events::new(self.target, self.ring);
        let mut text = String::new();
        self.head(&counts, style, &mut text);
        if let Some((path, events)) = written {
            let line = format!("{} events written to {path}", thousands(events));
            field("file", &line, style, &mut text);
        }
        if matched == 0 {
            let what = match (self.map.is_some(), self.wanted.ops.is_empty()) {
                (true, _) => "none of this map's events is in the ring",
                (false, false) => "no such event is in the ring",
                (false, true) => "nothing happened yet",
            };
            field("events", what, style, &mut text);
            return Ok(text);
        }
        let listed: Vec<String> = sums
            .iter()
            .map(|(op, count)| format!("{} {}", thousands(*count), op.word()))
            .collect();
        field("events", &listed.join(", "), style, &mut text);
        text.push('\n');
        let last = last.unwrap_or(0);
        let rows: Vec<(Event, [String; 6])> = rows
            .iter()
            .map(|record| {
                let event = events.event(record);
                let cells = cells(&event, last);
                (event, cells)
            })
            .collect();
        self.table(&rows, style, &mut text);
        let mut foot = Line::new(style).with(
            Role::Metadata,
            &format!(
                "  {} of {} shown",
                thousands(rows.len() as u64),
                thousands(matched)
            ),
        );
        if (rows.len() as u64) < matched {
            foot.push(
                Role::Metadata,
                " (-limit N, -all, -op grow, -o FILE, -json)",
            );
        }
        foot.fold(style, 0, 2, &mut text);
        Ok(text)
    }

    fn head(&self, counts: &Counts, style: &Style, text: &mut String) {
        let ring = self.ring;
        let mut line = Line::new(style).with(Role::Title, "Flight recorder");
        let version = self.target.binary().version();
        let version = version.map_or_else(String::new, |version| format!(", {}", version.text));
        line.push(Role::Plain, &format!("  {}{version}", self.family()));
        if let Some(map) = self.map {
            line.push(Role::Plain, "   ");
            line.push(Role::Plain, &map.map_type().name);
            line.push(Role::Plain, " at ");
            line.push(Role::Address, &format!("{:#x}", map.address()));
        }
        if !ring.recording {
            line.push(Role::Highlight, "   switched off");
        }
        line.fold(style, 0, 2, text);
        let mut said = format!(
            "{} recorded, {} kept",
            thousands(ring.next),
            thousands(counts.whole)
        );
        if counts.lost > 0 {
            said.push_str(&format!(
                ", {} overwritten or given up",
                thousands(counts.lost)
            ));
        }
        field("ring", &said, style, text);
        let out: Vec<String> = [
            (counts.torn, "being written"),
            (counts.damaged, "damaged"),
            (counts.unreadable, "in unreadable memory"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", thousands(*count)))
        .collect();
        if !out.is_empty() {
            field("left out", &out.join(", "), style, text);
        }
        if self.racing() {
            Line::new(style)
                .with(Role::Plain, "  ")
                .with(Role::Highlight, WHILE_RUNNING)
                .fold(style, 0, 2, text);
        }
    }

    fn table(&self, rows: &[(Event, [String; 6])], style: &Style, text: &mut String) {
        let mut table = Table::new(vec![
            Column::new("before last", Align::Right, Role::Plain),
            Column::new("event", Align::Left, Role::Plain),
            Column::new("slots", Align::Right, Role::Plain),
            Column::new("size", Align::Right, Role::Plain),
            Column::new("block", Align::Left, Role::Address),
            Column::new("len", Align::Right, Role::Plain),
        ]);
        for (_, cells) in rows {
            table.fit(cells);
        }
        table.head(style).render(style, text);
        for (event, cells) in rows {
            table.row(style, cells).render(style, text);
            let mut below = Line::new(style);
            if self.map.is_none() {
                below.push(Role::Address, &format!("{:#x}", event.map));
                let name = event.type_name.as_deref().unwrap_or("type not known");
                below.push(Role::Plain, &format!("  {name}"));
            }
            if let Some(frame) = event.stack.iter().find(|frame| {
                !frame.function.starts_with("runtime.")
                    && !frame.function.starts_with("internal/runtime/")
            }) {
                if !below.is_empty() {
                    below.push(Role::Plain, "  ");
                }
                let file = frame.file.rsplit('/').next().unwrap_or_default();
                below.push(
                    Role::Metadata,
                    &format!("{} {file}:{}", frame.function, frame.line),
                );
            }
            if !below.is_empty() {
                below.fold(style, 15, 2, text);
            }
        }
    }
}

fn field(name: &str, value: &str, style: &Style, text: &mut String) {
    Line::new(style)
        .with(Role::Metadata, &format!("  {name:<10}"))
        .with(Role::Plain, value)
        .fold(style, 0, 12, text);
}

fn cells(event: &Event, last: u64) -> [String; 6] {
    let before = last.saturating_sub(event.t_mono_ns.unwrap_or(last));
    let slots = match (event.old_capacity, event.capacity) {
        (Some(old), Some(new)) if old > 0 => format!("{} -> {}", thousands(old), thousands(new)),
        (_, Some(slots)) | (Some(slots), None) => thousands(slots),
        (None, None) => match (event.op, event.tables) {
            (Op::Directory, Some(tables)) => format!("{} tables", thousands(tables)),
            _ => String::new(),
        },
    };
    let block = event.block.or(event.old_block);
    let bytes = match event.block {
        Some(_) => event.size,
        None => event.old_size,
    };
    [
        duration(before),
        event.op.word().to_owned(),
        slots,
        bytes.map(size).unwrap_or_default(),
        block.map(|block| format!("{block:#x}")).unwrap_or_default(),
        event.len.map(thousands).unwrap_or_default(),
    ]
}

/// A time with three decimals at most.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{}.{:03} us", ns / 1_000, ns % 1_000),
        1_000_000..1_000_000_000 => {
            format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
        }
        _ => format!(
            "{}.{:03} s",
            thousands(ns / 1_000_000_000),
            ns / 1_000_000 % 1_000
        ),
    }
}
