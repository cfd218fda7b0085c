//! What each command does with its maps: the walk, then text or JSON, in
//! portions through the caller's writer.

mod batch;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use batch::Batch;
use serde::Serialize;

use crate::command::{Command, Limit, Only, Request};
use crate::events::{EventFileError, EventReader, Summary};
use crate::exectrace::{self, LogRow};
use crate::gotype::{Kind, Limits, Printer, Type, TypeRef, go_float, go_quote};
use crate::heap::ThreadRegisters;
use crate::map::{Flow, Unit, UnitKind, Visitor, Walk};
use crate::metrics::{BucketRow, Entry, HeatCell, LayoutReport, Stats, layout_report};
use crate::profile;
use crate::report::{
    BucketsText, EntriesText, ExecTrace, ExecTraceJson, JsonRows, ScanContext, Style,
    WritersContext, events_json, heat_cells, scan_json, size, stats_json,
};
use crate::save::{self, NewFile};
use crate::scan::{Filter, ScanReport};
use crate::snapshot;
use crate::target::{Map, ScanWanted, Scanned, Side, Target, TargetError};
use crate::writers::{self, Writers};

/// Rows that are rendered at once.
const PORTION: usize = 1024;

/// Cells of a heat strip in JSON.
const JSON_CELLS: u64 = 256;

/// How the answer is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Width, colour, character set.
    pub style: Style,
    /// Rows listed where no option says how many; `None` for all.
    pub limit: Option<u64>,
    /// What is cut in printed values of a text answer.
    pub values: Limits,
}

/// Where an answer goes. An error ends the work at once and is passed on.
pub type Write<'w, E> = &'w mut dyn FnMut(&str) -> Result<(), E>;

/// Answers `request` for one map.
///
/// # Errors
/// What the writer returned.
pub fn answer<E>(request: &Request, map: &Map, look: &Look, write: Write<'_, E>) -> Result<(), E> {
    match request.command {
        Command::Buckets => buckets(request, map, look, write),
        Command::Entries => entries(request, map, look, write),
        Command::Layout => layout(request, map, look, write),
        // Answered for a process or for files, not for a map.
        Command::Diff
        | Command::Pprof
        | Command::Ring
        | Command::Scan
        | Command::Snapshot
        | Command::Timeline
        | Command::Trace
        | Command::TraceArm
        | Command::TraceDisarm
        | Command::TraceReport
        | Command::TraceStart
        | Command::TraceStatus
        | Command::TraceStop
        | Command::Writers => Ok(()),
        Command::Stats | Command::Status => {
            let stats = map.stats();
            if request.options.json {
                write(&stats_json(&stats))
            } else {
                write(&crate::report::stats(&stats, &look.style))
            }
        }
    }
}

/// Answers `go-map-trace report` for the file that `request` names, read from `path`.
/// `tick` is told the number of events from time to time; `false` ends the reading, and
/// what was read is told.
///
/// # Errors
/// When the file cannot be opened or is none of ours, or what the writer returned.
pub fn answer_events<E>(
    request: &Request,
    path: &Path,
    look: &Look,
    tick: &mut dyn FnMut(u64) -> bool,
    write: Write<'_, E>,
) -> Result<(), EventsFailure<E>> {
    let mut reader = EventReader::open(path).map_err(EventsFailure::File)?;
    let summary = Summary::read(&mut reader, tick);
    // It may hold the window of an unpacker.
    drop(reader);
    let file = path.display().to_string();
    let options = &request.options;
    let answered = if options.json {
        events_json(&summary, &file, options.rows(None), write)
    } else {
        let limit = match options.limit {
            Limit::Default => None,
            Limit::Count(rows) => Some(Some(rows)),
            Limit::All => Some(None),
        };
        write(&crate::report::events(&summary, &file, limit, &look.style))
    };
    answered.map_err(EventsFailure::Write)
}

/// Why an event file was not told of.
#[derive(Debug)]
pub enum EventsFailure<E> {
    /// It cannot be read.
    File(EventFileError),
    /// What the writer returned.
    Write(E),
}

/// Maps that the text of a scan lists where no option says how many.
const SCAN_ROWS: u64 = 20;

/// Changes that the text of a diff lists where no option says how many.
const DIFF_ROWS: u64 = 10;

/// Why a scan was not answered.
#[derive(Debug)]
pub enum ScanFailure<E> {
    /// A file could not be written: a line.
    File(String),
    /// What the writer returned.
    Write(E),
}

/// Whether the files that `request` names may be written: to be asked before a search.
///
/// # Errors
/// Why not, in one line.
pub fn files_ready(request: &Request) -> Result<(), String> {
    let options = &request.options;
    match options.pprof.as_ref().or(options.output.as_ref()) {
        Some(path) => save::may_write(path, options.force).map(|_| ()),
        None => Ok(()),
    }
}

/// What `go-map-snapshot` saves of each map.
#[must_use]
pub fn snapshot_options(request: &Request) -> snapshot::Options {
    snapshot::Options {
        buckets: request.options.buckets,
        quick: request.options.quick,
        holders: request.options.holders,
    }
}

/// The search of a snapshot of all maps. `threads` are those that the system knows.
///
/// # Errors
/// When the heap's structures are not known, or cannot be read at all.
pub fn search_all(
    options: snapshot::Options,
    target: &Target,
    threads: &[ThreadRegisters],
) -> Result<Scanned, TargetError> {
    target.scan(
        threads,
        &ScanWanted {
            filter: &snapshot::filter(),
            rows: None,
            types: !options.quick,
            holders: options.holders,
            tombstones: false,
        },
    )
}

/// Answers `go-map-snapshot`: `fill` writes the document.
///
/// # Errors
/// When the file cannot be written, or what the writer of the answer returned.
pub fn save_snapshot<E>(
    request: &Request,
    live: bool,
    fill: impl FnOnce(Write<'_, String>) -> Result<snapshot::Saved, String>,
    look: &Look,
    write: Write<'_, E>,
) -> Result<(), ScanFailure<E>> {
    let options = &request.options;
    let path = options.output.as_deref().unwrap_or_default();
    let packed = path.to_ascii_lowercase().ends_with(".gz");
    let mut file = save::NewFile::create(path, options.force, packed).map_err(ScanFailure::File)?;
    let saved = fill(&mut |text| file.write(text.as_bytes())).map_err(ScanFailure::File)?;
    let bytes = file.keep().map_err(ScanFailure::File)?;
    let told = if options.json {
        snapshot::saved_json(path, bytes, snapshot_options(request), saved)
    } else {
        snapshot::saved_text(path, bytes, saved, live, &look.style)
    };
    write(&told).map_err(ScanFailure::Write)
}

/// Answers `go-map-diff`. `live`: the later side is the present.
///
/// # Errors
/// What the writer returned.
pub fn answer_diff<E>(
    request: &Request,
    before: &snapshot::Snapshot,
    after: &snapshot::Snapshot,
    live: bool,
    look: &Look,
    write: Write<'_, E>,
) -> Result<(), E> {
    let options = &request.options;
    let diff = snapshot::compare(before, after);
    let top = options.rows(Some(DIFF_ROWS));
    if options.json {
        return snapshot::diff_json(&diff, top, live, write);
    }
    let all = options.limit == Limit::All;
    write(&snapshot::diff_text(&diff, top, all, live, &look.style))
}

/// Which maps `request` lists, and in which order.
#[must_use]
pub fn scan_filter(request: &Request) -> Filter {
    let options = &request.options;
    Filter {
        pattern: options.pattern.clone(),
        min: options.min,
        sort: options.sort,
        // A document is whole.
        garbage: options.garbage || options.json,
    }
}

/// Searches `target` as `request` wants it. `threads` are those that the system knows.
///
/// # Errors
/// When the heap's structures are not known, or cannot be read at all.
pub fn search(
    request: &Request,
    target: &Target,
    threads: &[ThreadRegisters],
) -> Result<Scanned, TargetError> {
    let options = &request.options;
    target.scan(
        threads,
        &ScanWanted {
            filter: &scan_filter(request),
            rows: options.rows(Some(SCAN_ROWS)),
            types: !options.quick,
            holders: options.holders || options.pprof.is_some(),
            tombstones: options.pprof.is_some(),
        },
    )
}

/// Answers `go-map-scan` with what was found.
///
/// # Errors
/// When the file of `-pprof` cannot be written, or what the writer returned.
pub fn answer_scan<E>(
    request: &Request,
    target: &Target,
    scanned: &Scanned,
    context: ScanContext,
    look: &Look,
    write: Write<'_, E>,
) -> Result<(), ScanFailure<E>> {
    let options = &request.options;
    let filter = scan_filter(request);
    let binary = target.binary();
    let family = binary.family();
    let mut chosen = Vec::new();
    if let Some(pattern) = &options.pattern {
        chosen.push(format!("-type {}", pattern.text()));
    }
    if options.min > 0 {
        chosen.push(format!("-min {}", crate::report::size(options.min)));
    }
    let mut notes = context.notes;
    notes.extend(scanned.missing.iter().cloned());
    if options.quick {
        notes.push("Types were not followed (-quick): without it, more are known.".to_owned());
    }
    let mut context = ScanContext {
        go_version: binary.version().map(|version| version.text),
        arch: binary.arch().map(str::to_owned),
        family: family.map(crate::map::Family::word),
        seconds: scanned.seconds,
        racing: scanned.racing,
        console: target.console().map(str::to_owned),
        notes,
        filter: chosen.join(" "),
        ..context
    };
    let mut report = ScanReport::new(&scanned.scan, family, &filter);
    if let Some(path) = &options.pprof {
        let program = binary.path().display().to_string();
        let (bytes, samples) = profile::scan_profile(&report, &scanned.facts, &program);
        profile::write(path, options.force, &bytes).map_err(ScanFailure::File)?;
        context.profile = Some(profile::Written {
            path: path.clone(),
            samples,
        });
    }
    let top = options.rows(Some(SCAN_ROWS));
    let answered = if options.json {
        scan_json(&mut report, &scanned.facts, &context, top, write)
    } else {
        write(&crate::report::scan(
            &mut report,
            &scanned.facts,
            &context,
            top,
            &look.style,
        ))
    };
    answered.map_err(ScanFailure::Write)
}

/// Finds who is in a map operation, as `request` wants it. `threads` are those that the
/// system knows.
///
/// # Errors
/// When the goroutines cannot be listed.
pub fn search_writers(
    request: &Request,
    target: &Target,
    threads: &[ThreadRegisters],
) -> Result<Writers, TargetError> {
    let options = &request.options;
    writers::find(
        target,
        threads,
        writers::Wanted {
            heap: !options.quick,
            holders: options.holders,
        },
    )
}

/// Answers `go-map-writers` with what was found. `notes` say what could not be had.
///
/// # Errors
/// What the writer returned.
pub fn answer_writers<E>(
    request: &Request,
    target: &Target,
    found: &mut Writers,
    notes: Vec<String>,
    look: &Look,
    write: Write<'_, E>,
) -> Result<(), E> {
    let options = &request.options;
    let binary = target.binary();
    found.notes.splice(..0, notes);
    let context = WritersContext {
        go_version: binary.version().map(|version| version.text),
        arch: binary.arch().map(str::to_owned),
        family: binary.family().map(crate::map::Family::word),
        console: target.console().map(str::to_owned),
        quick: options.quick,
    };
    if options.json {
        let rows = options.rows(None);
        write(&crate::report::writers_json(found, &context, rows))
    } else {
        let rows = options.rows(look.limit);
        write(&crate::report::writers(found, &context, rows, &look.style))
    }
}

fn layout<E>(request: &Request, map: &Map, look: &Look, write: Write<'_, E>) -> Result<(), E> {
    let stats = (map.address() != 0).then(|| map.stats());
    // What another layout would take is reckoned from the map's own figures.
    let report = layout_of(map, stats.as_ref().filter(|stats| stats.exact));
    if request.options.json {
        write(&(crate::report::to_json(&report) + "\n"))
    } else {
        write(&crate::report::layout(&report, &look.style))
    }
}

/// The layout of a map's type; with the figures of the map, if there is one and they are exact.
#[must_use]
pub fn layout_of(map: &Map, stats: Option<&Stats>) -> LayoutReport {
    let types = map.target().types();
    // An alignment that is not described is taken as 1: it only decides padding
    // in what-if figures.
    let align = |at| types.align(at).unwrap_or(1);
    let aligns = match map.map_type().kind {
        Kind::Map { key, elem } => (align(key), align(elem)),
        _ => (1, 1),
    };
    layout_report(map.layout(), &map.context(), aligns, stats)
}

/// The row of one bucket.
fn row(unit: &Unit<'_>) -> BucketRow {
    BucketRow {
        index: unit.index,
        address: unit.address,
        kind: unit.kind.word(),
        table: (unit.kind == UnitKind::Group).then_some(unit.table),
        parent: (unit.depth > 0).then_some(unit.parent),
        marks: unit.slots.marks(),
        live: unit.slots.live() as u8,
        tombstones: unit.slots.tombstones() as u8,
        chain: None,
    }
}

/// Chooses rows, hands them on in portions and counts those that matched.
struct Rows<'a, F> {
    request: &'a Request,
    /// The position at which the walk may end: nobody asked how many match.
    until: Option<u64>,
    /// The walk may end when the limit is reached: all match, and how many that
    /// is has been counted before.
    all_match: bool,
    limit: Option<u64>,
    matched: u64,
    shown: u64,
    /// Rows not handed on yet. The first of a chain waits for the chain's end,
    /// which tells its length.
    waiting: Vec<BucketRow>,
    /// Position in `waiting` of the bucket whose chain is being walked.
    open: Option<usize>,
    emit: F,
}

impl<F: FnMut(&[BucketRow]) -> Flow> Rows<'_, F> {
    fn chosen(&self, unit: &Unit<'_>) -> bool {
        let options = &self.request.options;
        options.range.is_none_or(|range| range.contains(unit.index))
            && match options.only {
                None => true,
                Some(Only::Empty) => unit.slots.live() == 0,
                Some(Only::Full) => unit.slots.live() == 8,
                Some(Only::Overflow) => unit.kind == UnitKind::Overflow,
                Some(Only::Tombstone) => unit.slots.tombstones() > 0,
                Some(Only::Old) => unit.kind == UnitKind::Old,
            }
    }

    fn flush(&mut self) -> Flow {
        self.open = None;
        let flow = (self.emit)(&self.waiting);
        self.waiting.clear();
        flow
    }
}

impl<F: FnMut(&[BucketRow]) -> Flow> Visitor for Rows<'_, F> {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        // A chain is walked to its end: its length stands beside its first bucket.
        let enough = self.until.is_some_and(|until| unit.index >= until)
            || self.all_match && self.limit.is_some_and(|limit| self.shown >= limit);
        if enough && unit.depth == 0 {
            return Flow::Stop;
        }
        if unit.depth > 0 {
            let opened = self.open.and_then(|at| self.waiting.get_mut(at));
            if let Some(first) = opened {
                first.chain = Some(unit.depth);
            }
        } else {
            self.open = None;
            if self.waiting.len() >= PORTION && self.flush() == Flow::Stop {
                return Flow::Stop;
            }
        }
        if self.chosen(unit) {
            self.matched += 1;
            if self.limit.is_none_or(|limit| self.shown < limit) {
                self.shown += 1;
                if unit.depth == 0 && unit.kind != UnitKind::Group {
                    self.open = Some(self.waiting.len());
                }
                self.waiting.push(row(unit));
                if let Some(row) = self.waiting.last_mut() {
                    let evacuated = unit.slots.is_evacuated();
                    let has_chain = unit.depth == 0 && unit.kind != UnitKind::Group && !evacuated;
                    row.chain = has_chain.then_some(0);
                }
            }
        }
        Flow::Continue
    }
}

/// Adds buckets up into cells of equal width.
struct Heat {
    cells: Vec<HeatCell>,
    width: u64,
}

impl Visitor for Heat {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        let at = usize::try_from(unit.index / self.width).unwrap_or(usize::MAX);
        if at == self.cells.len() {
            self.cells.push(HeatCell {
                first: unit.index,
                ..HeatCell::default()
            });
        }
        if let Some(cell) = self.cells.get_mut(at) {
            cell.buckets += 1;
            cell.slots += 8;
            cell.live += u64::from(unit.slots.live());
            cell.tombstones += u64::from(unit.slots.tombstones());
        }
        Flow::Continue
    }
}

/// Buckets a whole walk visits.
fn total_units(walk: &Walk) -> u64 {
    walk.counts.units
        + match &walk.shape {
            crate::map::Shape::Classic(facts) => facts.old.units + facts.evacuated,
            crate::map::Shape::Swiss(_) => 0,
        }
}

/// Walks and hands the chosen rows on; returns how many of the `total` buckets
/// matched and were shown.
fn list(
    request: &Request,
    map: &Map,
    total: u64,
    limit: Option<u64>,
    emit: impl FnMut(&[BucketRow]) -> Flow,
) -> (u64, u64, Walk) {
    let mut rows = Rows {
        request,
        until: None,
        all_match: request.options.only.is_none() && request.options.range.is_none(),
        limit,
        matched: 0,
        shown: 0,
        waiting: Vec::new(),
        open: None,
        emit,
    };
    let walk = map.walk(&mut rows);
    rows.flush();
    let matched = if rows.all_match {
        total.max(rows.shown)
    } else {
        rows.matched
    };
    (matched, rows.shown, walk)
}

/// The first `limit` buckets from position `first` on, and the walk, which ends behind them.
#[must_use]
pub fn bucket_rows(map: &Map, first: u64, limit: u64) -> (Vec<BucketRow>, Walk) {
    let end = first.saturating_add(limit);
    let range = crate::command::BucketRange {
        first,
        end: Some(end),
    };
    let options = crate::command::Options {
        range: Some(range),
        ..Default::default()
    };
    let request = Request {
        command: Command::Buckets,
        expressions: Vec::new(),
        options,
    };
    let mut found = Vec::new();
    let mut rows = Rows {
        request: &request,
        until: Some(end),
        all_match: false,
        limit: None,
        matched: 0,
        shown: 0,
        waiting: Vec::new(),
        open: None,
        emit: |rows: &[BucketRow]| {
            found.extend_from_slice(rows);
            Flow::Continue
        },
    };
    let walk = map.walk(&mut rows);
    rows.flush();
    (found, walk)
}

fn buckets<E>(request: &Request, map: &Map, look: &Look, write: Write<'_, E>) -> Result<(), E> {
    let limit = request.options.rows(look.limit);
    let whole = map.walk(&mut crate::map::CountOnly);
    let stats = map.stats_of(&whole);
    let total = total_units(&whole);
    let heat = request.options.heat.then(|| {
        let cells = match request.options.json {
            true => total.min(JSON_CELLS),
            false => heat_cells(total, &look.style),
        };
        let mut heat = Heat {
            cells: Vec::new(),
            width: total.div_ceil(cells.max(1)).max(1),
        };
        let walk = map.walk(&mut heat);
        (heat.cells, walk)
    });
    let (heat, cut) = match heat {
        Some((cells, walk)) => (Some(cells), worse(&walk, &stats).then_some(walk)),
        None => (None, None),
    };
    let mut failed = None;
    if request.options.json {
        let mut document = JsonRows::buckets(&stats, heat.as_deref(), write);
        let (matched, shown, walk) = list(request, map, total, limit, |rows| {
            for row in rows {
                if let Err(error) = document.row(row) {
                    failed = Some(error);
                    return Flow::Stop;
                }
            }
            Flow::Continue
        });
        if let Some(error) = failed {
            return Err(error);
        }
        return finish(document, shown < matched, &cut.unwrap_or(walk), &stats);
    }
    if let Some(cells) = &heat {
        write(&crate::report::heat(&stats, cells, &look.style))?;
        if cut.is_some() {
            write(LESS)?;
        }
        if limit == Some(0) {
            return write(&crate::report::reservation(&stats, &look.style));
        }
        write("\n")?;
    }
    let mut text: Option<BucketsText<'_>> = None;
    let (matched, shown, walk) = list(request, map, total, limit, |rows| {
        if rows.is_empty() {
            return Flow::Continue;
        }
        let first = text.is_none();
        let table = text.get_or_insert_with(|| BucketsText::new(&stats, total, rows, &look.style));
        let lines = if first {
            table.head() + &table.rows(rows)
        } else {
            table.rows(rows)
        };
        match write(&lines) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                failed = Some(error);
                Flow::Stop
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let filter = filter_words(request);
    let table = text.unwrap_or_else(|| BucketsText::new(&stats, total, &[], &look.style));
    write(&table.foot(shown, matched, filter.as_deref()))?;
    if worse(&walk, &stats) {
        write(LESS)?;
    }
    Ok(())
}

/// What a list says of which a part was there when it was counted and then was not.
const LESS: &str = "Not exact: a part of the list could not be read, or changed meanwhile.\n";

/// Ends a list; `truncated`: there were more rows.
fn finish<E>(
    document: JsonRows<'_, E>,
    truncated: bool,
    walk: &Walk,
    stats: &Stats,
) -> Result<(), E> {
    #[derive(Serialize)]
    struct Tail {
        flaw: Option<String>,
    }
    if worse(walk, stats) {
        return document.finish_with(&Tail { flaw: walk.flaw() }, true);
    }
    document.finish(truncated || walk.interrupted)
}

/// Whether the walk of a list met what the walk of its figures had not.
fn worse(walk: &Walk, stats: &Stats) -> bool {
    walk.defects.total() > stats.defects_total || walk.racing.is_some() && !stats.racing
}

fn filter_words(request: &Request) -> Option<String> {
    let options = &request.options;
    let mut words = Vec::new();
    if let Some(only) = options.only {
        words.push(format!("-only {}", only.word()));
    }
    if let Some(range) = options.range {
        let end = range.end.map(|end| end.to_string()).unwrap_or_default();
        words.push(format!("-range {}:{end}", range.first));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// Tells the keys that `-key K` means.
struct KeyMatch {
    accepted: Vec<String>,
    interface: bool,
    /// The bytes of a string key: others of another length need no printing.
    string_len: Option<u64>,
}

impl KeyMatch {
    fn new(key: &str, key_type: &Type) -> Self {
        let key = key.trim();
        let mut accepted = vec![key.to_owned()];
        match key_type.kind {
            Kind::String => accepted = strings(key),
            Kind::Interface { .. } => accepted.extend(strings(key)),
            Kind::Int | Kind::Uint => {
                accepted.extend(integer(key).map(|value| value.to_string()));
            }
            Kind::Uintptr => accepted.extend(integer(key).map(|value| format!("{value:#x}"))),
            Kind::Float => {
                let spelled = |value: f64| match key_type.size {
                    4 => go_float(u64::from((value as f32).to_bits()), 4),
                    _ => go_float(value.to_bits(), 8),
                };
                if let Ok(value) = key.parse::<f64>() {
                    accepted.push(spelled(value));
                    // Go finds either zero by either.
                    if value == 0.0 {
                        accepted.push(spelled(-value));
                    }
                }
            }
            Kind::Pointer(_) | Kind::Chan { .. } | Kind::Func | Kind::UnsafePointer => {
                let name = match key_type.kind {
                    Kind::UnsafePointer => key_type.name.clone(),
                    _ => format!("({})", key_type.name),
                };
                match (key, integer(key)) {
                    ("nil", _) | (_, Some(0)) => accepted.push(format!("{name}(nil)")),
                    (_, Some(value)) => accepted.push(format!("{name}({value:#x})")),
                    _ => {}
                }
            }
            _ => {}
        }
        // Only a spelling without escapes tells how many bytes the key has.
        let string_len = match (&key_type.kind, accepted.as_slice()) {
            (Kind::String, [only]) if !only.contains('\\') => Some(only.len() as u64 - 2),
            _ => None,
        };
        Self {
            accepted,
            interface: matches!(key_type.kind, Kind::Interface { .. }),
            string_len,
        }
    }

    fn matches(&self, printed: &str) -> bool {
        if self.accepted.iter().any(|accepted| accepted == printed) {
            return true;
        }
        // A key of interface type prints as TYPE(VALUE), a pointer as (TYPE)(VALUE):
        // the value is enough.
        let value = match printed.starts_with('(') {
            true => printed.rsplit_once(")(").map(|(_, rest)| rest),
            false => printed.split_once('(').map(|(_, rest)| rest),
        };
        self.interface
            && value
                .and_then(|rest| rest.strip_suffix(')'))
                .is_some_and(|inner| self.accepted.iter().any(|accepted| accepted == inner))
    }
}

/// The literals that a string key may be meant by: the text itself, quoted, or
/// the text as the inside of a literal whose quotes the command line took away.
fn strings(key: &str) -> Vec<String> {
    let inside = |quote| key.strip_prefix(quote)?.strip_suffix(quote);
    let quoted = |bytes: &[u8]| {
        let mut out = String::new();
        go_quote(bytes, &mut out);
        out
    };
    if let Some(literal) = inside('"').and_then(unescape) {
        return vec![quoted(&literal)];
    }
    let mut meant = vec![quoted(inside('`').unwrap_or(key).as_bytes())];
    if key.contains('\\') {
        meant.extend(unescape(key).map(|bytes| quoted(&bytes)));
    }
    meant
}

/// The bytes that the inside of a Go string literal stands for.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        let (digits, base) = match escape.as_bytes().get(1)? {
            b'x' => (escape.get(2..4)?, 16),
            b'u' => (escape.get(2..6)?, 16),
            b'U' => (escape.get(2..10)?, 16),
            b'0'..=b'7' => (escape.get(1..4)?, 8),
            other => {
                bytes.push(match other {
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'\\' | b'"' | b'\'' => *other,
                    _ => return None,
                });
                rest = escape.get(2..)?;
                continue;
            }
        };
        let value = u32::from_str_radix(digits, base).ok()?;
        match escape.as_bytes().get(1)? {
            b'u' | b'U' => {
                let c = char::from_u32(value)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => bytes.push(u8::try_from(value).ok()?),
        }
        let used = if base == 8 { 4 } else { 2 + digits.len() };
        rest = escape.get(used..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = digits.replace('_', "");
    let value = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// One entry with the addresses of its key and elem.
#[derive(Debug, Clone)]
pub struct EntryAt {
    /// Its text.
    pub entry: Entry,
    /// Where the key itself lies.
    pub key_address: u64,
    /// Where the elem itself lies.
    pub elem_address: u64,
}

/// Prints entries `first` to `first + limit` (of those with the key, if one is
/// given) and counts all that match.
fn list_entries(
    map: &Map,
    key: Option<&KeyMatch>,
    (first, limit): (u64, Option<u64>),
    values: Limits,
    mut emit: impl FnMut(&mut EntryAt) -> Flow,
) -> (u64, u64, Walk) {
    let printer = map.target().printer(values);
    // A key is compared whole, whatever a listing would cut of it.
    let comparing = map.target().printer(Limits::WHOLE);
    let (key_type, elem_type) = match map.map_type().kind {
        Kind::Map { key, elem } => (key, elem),
        // Map::new has checked it.
        _ => return (0, 0, map.walk(&mut crate::map::CountOnly)),
    };
    let abi = map.target().binary().abi();
    let described = |at| map.target().types().get(at).ok();
    let types = described(key_type).zip(described(elem_type));
    let mut batch = match (key, &types) {
        (None, Some((key, elem))) => Batch::new(&printer, key, elem),
        _ => None,
    };
    let mut matched = 0;
    let mut shown = 0;
    let mut emit = |entry: &mut EntryAt| {
        shown += 1;
        emit(entry)
    };
    let mut text = String::new();
    // One for all: its texts keep their room.
    let mut found = EntryAt {
        entry: Entry {
            key: String::new(),
            elem: String::new(),
            address: 0,
        },
        key_address: 0,
        elem_address: 0,
    };
    let mut walk = map.entries(|key_side, elem_side| {
        let wanted =
            |matched: u64| matched >= first && limit.is_none_or(|limit| matched - first < limit);
        let print = |printer: &Printer<'_>,
                     side: &Side<'_>,
                     (at, described): (TypeRef, Option<&Rc<Type>>),
                     out: &mut String| match (&side.bytes, described) {
            (Ok(bytes), Some(described)) => printer.print_described(described, bytes, out),
            (Ok(bytes), None) => printer.print(at, bytes, out),
            (Err(error), _) => {
                out.push('<');
                out.push_str(&error.to_string());
                out.push('>');
            }
        };
        let (key_described, elem_described) = types.as_ref().map(|(key, elem)| (key, elem)).unzip();
        let key_type = (key_type, key_described);
        let elem_type = (elem_type, elem_described);
        if let Some(wanted_key) = key {
            if let (Some(wanted_len), Ok(bytes)) = (wanted_key.string_len, &key_side.bytes) {
                let len = abi.pointer_at(bytes, usize::from(abi.pointer_size));
                if len != Some(wanted_len) {
                    return Flow::Continue;
                }
            }
            text.clear();
            print(&comparing, &key_side, key_type, &mut text);
            if !wanted_key.matches(&text) {
                return Flow::Continue;
            }
        }
        let take = wanted(matched);
        matched += 1;
        if !take {
            return match (key, limit) {
                // Without a key the header tells how many there are.
                (None, Some(limit)) if matched > first.saturating_add(limit) => Flow::Stop,
                _ => Flow::Continue,
            };
        }
        if let Some(batch) = &mut batch {
            if batch.take(&key_side, &elem_side) {
                return match batch.is_full() {
                    true => batch.print(&mut found, &mut emit),
                    false => Flow::Continue,
                };
            }
            // Those before it come first.
            if batch.print(&mut found, &mut emit) == Flow::Stop {
                return Flow::Stop;
            }
        }
        let entry = &mut found.entry;
        entry.key.clear();
        entry.elem.clear();
        print(&printer, &key_side, key_type, &mut entry.key);
        print(&printer, &elem_side, elem_type, &mut entry.elem);
        entry.address = key_side.slot;
        found.key_address = key_side.address;
        found.elem_address = elem_side.address;
        emit(&mut found)
    });
    if let Some(mut batch) = batch {
        batch.print(&mut found, &mut emit);
        walk.interrupted |= batch.interrupted;
    }
    (matched, shown, walk)
}

/// Entries `first` to `first + limit` in walk order, and the walk.
#[must_use]
pub fn entry_rows(map: &Map, first: u64, limit: u64, values: Limits) -> (Vec<EntryAt>, Walk) {
    let mut found = Vec::new();
    let (_, _, walk) = list_entries(map, None, (first, Some(limit)), values, |entry| {
        found.push(entry.clone());
        Flow::Continue
    });
    (found, walk)
}

fn entries<E>(request: &Request, map: &Map, look: &Look, write: Write<'_, E>) -> Result<(), E> {
    let options = &request.options;
    let limit = options.rows(look.limit);
    let stats = map.stats();
    let key = match (&options.key, map.key_and_elem()) {
        (Some(key), Ok((key_type, _))) => Some(KeyMatch::new(key, &key_type)),
        _ => None,
    };
    let mut failed = None;
    if options.json {
        let mut document = JsonRows::entries(&stats, write);
        let found = list_entries(
            map,
            key.as_ref(),
            (0, limit),
            Limits::JSON,
            |entry| match document.row(&entry.entry) {
                Ok(()) => Flow::Continue,
                Err(error) => {
                    failed = Some(error);
                    Flow::Stop
                }
            },
        );
        if let Some(error) = failed {
            return Err(error);
        }
        let (matched, shown, walk) = found;
        return finish(document, shown < matched, &walk, &stats);
    }
    // Those of the last portion keep their room for the next.
    let mut waiting: Vec<Entry> = Vec::new();
    let mut filled = 0;
    let mut text: Option<EntriesText<'_>> = None;
    let mut portion = |waiting: &[Entry], write: Write<'_, E>| {
        let lines = text
            .get_or_insert_with(|| EntriesText::new(&stats, waiting, &look.style))
            .rows(waiting);
        write(&lines)
    };
    let (matched, shown, walk) =
        list_entries(map, key.as_ref(), (0, limit), look.values, |entry| {
            match waiting.get_mut(filled) {
                Some(place) => std::mem::swap(place, &mut entry.entry),
                None => waiting.push(entry.entry.clone()),
            }
            filled += 1;
            if filled < PORTION {
                return Flow::Continue;
            }
            filled = 0;
            match portion(&waiting, write) {
                Ok(()) => Flow::Continue,
                Err(error) => {
                    failed = Some(error);
                    Flow::Stop
                }
            }
        });
    if let Some(error) = failed {
        return Err(error);
    }
    portion(waiting.get(..filled).unwrap_or_default(), write)?;
    let total = if key.is_some() {
        matched
    } else {
        stats.slots.live.max(shown)
    };
    let foot = EntriesText::new(&stats, &[], &look.style);
    write(&foot.foot(shown, total, options.key.as_deref()))?;
    if worse(&walk, &stats) {
        write(LESS)?;
    }
    Ok(())
}

/// What `gomapscope trace` is asked.
#[derive(Debug, Clone, Default)]
pub struct TraceWanted {
    /// One JSON document instead of text.
    pub json: bool,
    /// Rows of each list: `Some(None)` for all.
    pub limit: Option<Option<u64>>,
    /// The map whose steps are wanted.
    pub map: Option<u64>,
    /// Where the JSON document goes, packed if it ends in `.gz`.
    pub output: Option<String>,
    /// It may replace a file.
    pub force: bool,
}

/// Answers `gomapscope trace` for one execution trace. `tick` is told the bytes read from
/// time to time; `false` ends the reading, and what was read is told.
///
/// # Errors
/// Why there is nothing to tell: a line that names the file; or what the writer returned.
pub fn answer_trace<E>(
    file: &str,
    wanted: &TraceWanted,
    style: &Style,
    tick: &mut dyn FnMut(u64) -> bool,
    write: Write<'_, E>,
) -> Result<(), TraceFailure<E>> {
    let told = |why: String| TraceFailure::Said(why);
    let mut output = match &wanted.output {
        None => None,
        Some(path) => Some((
            NewFile::create(path, wanted.force, path.ends_with(".gz")).map_err(told)?,
            path,
        )),
    };
    let input = std::fs::File::open(save::expanded(file))
        .map_err(|error| told(format!("{file}: {error}")))?;
    // A document is whole unless it was asked otherwise.
    let limit = wanted.limit.unwrap_or_default();
    let mut to_file = |text: &str| match &mut output {
        Some((file, _)) => file.write(text.as_bytes()).map_err(TraceFailure::Said),
        None => Ok(()),
    };
    let mut to_caller = |text: &str| write(text).map_err(TraceFailure::Write);
    // The summary holds on to who is told of logs.
    let document = RefCell::new(match (&wanted.output, wanted.json) {
        (Some(_), _) => Some(ExecTraceJson::new(file, limit, &mut to_file)),
        (None, true) => Some(ExecTraceJson::new(file, limit, &mut to_caller)),
        (None, false) => None,
    });
    let mut log = |row: &LogRow<'_>| {
        let mut document = document.borrow_mut();
        document.as_mut().is_none_or(|document| document.log(row))
    };
    let mut summary = exectrace::Summary::new(wanted.map, Some(&mut log));
    let outcome = exectrace::read(input, tick, &mut summary)
        .map_err(|error| told(format!("{file}: {error}")))?;
    summary.finish();
    let report = ExecTrace {
        file,
        summary: &summary,
        outcome: &outcome,
        limit: wanted.limit,
    };
    let document = document.borrow_mut().take();
    if let Some(document) = document {
        document.finish(&report)?;
    }
    if wanted.json && wanted.output.is_none() {
        return Ok(());
    }
    let mut text = report.text(style);
    if let Some((file, path)) = output {
        let bytes = file.keep().map_err(told)?;
        text += &format!("\nWrote {path} ({}).\n", size(bytes));
    }
    write(&text).map_err(TraceFailure::Write)
}

/// Why a trace was not told.
#[derive(Debug)]
pub enum TraceFailure<E> {
    /// A line.
    Said(String),
    /// What the writer returned.
    Write(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_keys_are_meant_as_typed_or_as_a_literal() {
        assert_eq!(strings("plain"), [r#""plain""#]);
        assert_eq!(strings(r#""quoted""#), [r#""quoted""#]);
        assert_eq!(strings(r#""tab\tq\"\u00e9\x41\101""#), [r#""tab\tq\"éAA""#]);
        assert_eq!(strings("`raw`"), [r#""raw""#]);
        // Once as typed, once as the inside of a literal.
        assert_eq!(strings(r"\x1b"), [r#""\\x1b""#, r#""\x1b""#]);
        assert_eq!(strings(r"a\qb"), [r#""a\\qb""#]);
        assert_eq!(strings("\""), [r#""\"""#]);
    }
}
