//! From sources to a [`Timeline`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::rc::Rc;

use super::clock::{Claim, Identity, JITTER_NS, Walls, fit, mono};
use super::facts::{Evenly, Facts, Freed, Log};
use super::findings;
use super::lives::{Dot, Life, Lives, Stacks, shortened};
use super::model::{
    Cell, Heat, Instant, Interval, MapTrack, Point, Series, SeriesKind, Source, SourceKind,
    Timeline, Wall, Waste,
};
use crate::events::{End, Event, EventReader, Frame, Header, Op, Thinned};
use crate::exectrace;
use crate::memory::AddressHash;
use crate::pprof::{Kind, Operation, Profile, operation, serves_runtime};
use crate::report::{count, size, thousands};
use crate::snapshot::{Record, Scope, Snapshot, digits};

/// Maps that are shown.
const MAPS: usize = 64;
/// Maps of a snapshot, the largest, that are looked at one by one.
const RECORDS: usize = 4096;
/// Instants that are shown.
const INSTANTS: usize = 1 << 16;
/// Cells of a map's heat.
const CELLS: u64 = 4096;
/// Blocks of one map that are shown.
const BLOCKS: usize = 2048;
/// Rows of waste, and what they are chosen from.
const WASTE: usize = 1024;
const WASTE_KEYS: usize = 1 << 16;
/// Addresses that are remembered, to count a map of two snapshots once.
const ADDRESSES: usize = 1 << 21;
/// Sources that are further apart are hardly of one process.
const NEAR_NS: u64 = 3_600_000_000_000;
/// Events between two looks at whether the user wants to go on.
const TICK: u64 = 4096;
/// A clock reading whose error was not measured lies within this.
const UNMEASURED_NS: u64 = 1_000_000;
/// The quantum of an execution trace's times.
const QUANTUM_NS: u64 = 64;
/// How far the stamps of a trace without allocations were seen to run ahead of the clock: of
/// events closer than its quantum each gets the next one (runtime/tracebuf.go).
const AHEAD_NS: u64 = 1_000;

/// The user ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// Told how much was read of what; says whether to go on.
pub type Progress<'p> = &'p mut dyn FnMut(u64) -> bool;

/// Type, holder, stack and component.
type WasteKey = (Rc<str>, Option<Rc<str>>, Option<u32>, &'static str);

/// A figure that a record may have.
type Figure<R> = (SeriesKind, fn(&R) -> Option<f64>);

/// What a snapshot had of a map, and when.
#[derive(Clone, Copy)]
struct Shot<'r> {
    source: usize,
    t_ns: Option<u64>,
    record: &'r Record,
}

/// A map as all sources saw it.
struct Track<'r> {
    address: u64,
    type_name: Option<Rc<str>>,
    first: u64,
    last: u64,
    lives: Vec<usize>,
    shots: Vec<Shot<'r>>,
}

/// A profile that waits for the clock.
struct Waiting {
    source: usize,
    profile: Profile,
    /// When collections paused last, in nanoseconds since 1970.
    pauses: Vec<i64>,
}

/// Collects sources. Those that tell of their process come first: snapshots and events,
/// then profiles, then traces.
#[derive(Default)]
pub struct Builder {
    identity: Identity,
    walls: Walls,
    sources: Vec<Source>,
    lossless: Vec<bool>,
    lives: Lives,
    stacks: Stacks,
    snapshots: Vec<(usize, Snapshot)>,
    profiles: Vec<Waiting>,
    intervals: Vec<Interval>,
    logs: Vec<(usize, Log)>,
    instants: Vec<Instant>,
    series: Vec<Series>,
    freed: Vec<(usize, Freed)>,
    /// The ends of collections on the clock of all, and what the trace covers of it.
    ends: Vec<u64>,
    notes: Vec<String>,
    events: u64,
    /// CPU profiles: the source, nanoseconds in growths of maps, nanoseconds in all.
    cpu: Vec<(usize, i64, i64)>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

fn source(kind: SourceKind, path: &str, mapping: &str) -> Source {
    Source {
        kind,
        path: path.to_owned(),
        mapping: mapping.to_owned(),
        offset_ns: None,
        error_ns: None,
        extent: None,
        records: 0,
        racing: false,
        refused: None,
        notes: Vec::new(),
    }
}

impl Builder {
    /// A builder without sources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.lossless.push(true);
        self.sources.len() - 1
    }

    /// Adds a source that cannot be read, and why.
    pub fn refuse(&mut self, kind: SourceKind, path: &str, reason: String) {
        let mut refused = source(kind, path, "");
        refused.refused = Some(reason);
        self.push(refused);
    }

    /// Adds a snapshot, or a scan.
    pub fn snapshot(&mut self, snapshot: Snapshot) {
        let path = snapshot.path.clone();
        let mut told = source(SourceKind::Snapshot, &path, "");
        let at = self.sources.len();
        let (origin, taken) = (&snapshot.origin, &snapshot.taken);
        let claim = Claim {
            pid: origin.pid.map(u64::from),
            started: origin.started_ticks,
            boot_id: taken.boot_id.as_deref(),
            go_version: origin.go_version.as_deref(),
            program: origin.program.as_deref(),
            build_id: origin.build_id.as_deref(),
            note_id: None,
            arch: origin.arch.as_deref(),
        };
        told.records = snapshot.maps.len() as u64;
        told.racing = snapshot.racing;
        let name = named(&path, "the live target");
        match taken.monotonic_ns {
            Some(t_ns) => {
                let error = taken.error_ns;
                let placed = self.identity.admit(&claim, &name).and_then(|()| {
                    taken.wall_ns.map_or(Ok(()), |wall| {
                        self.walls
                            .add(at, t_ns, wall, error.unwrap_or(UNMEASURED_NS))
                    })
                });
                match placed {
                    Ok(()) => {
                        let how = match snapshot.racing {
                            true => "as recorded, while the program ran",
                            false => "as recorded, while the program stood still",
                        };
                        how.clone_into(&mut told.mapping);
                        told.offset_ns = Some(0);
                        told.error_ns = error;
                        told.extent = Some((t_ns, t_ns));
                    }
                    Err(reason) => told.refused = Some(reason),
                }
            }
            None => {
                let what = match origin.kind.as_deref() {
                    Some("core") => "a core has no clock: nothing tells when it was written",
                    Some("remote") => "the clocks of a remote target are not known",
                    _ => "it says no time: take it with go-map-snapshot in a process",
                };
                told.refused = Some(what.to_owned());
                if is_present(&snapshot) {
                    told.notes
                        .push("Its maps are shown without a time.".to_owned());
                }
            }
        }
        if snapshot.scope == Scope::Part {
            told.notes.push("It does not have all maps.".to_owned());
        }
        let inexact = snapshot.maps.iter().filter(|map| !map.exact).count() as u64;
        if inexact > 0 {
            told.notes.push(format!(
                "Not every figure of {} is certain.",
                count(inexact, "map")
            ));
        }
        for (text, reason) in snapshot.missing.iter().take(8) {
            told.notes.push(format!("{text}: {reason}"));
        }
        self.push(told);
        self.snapshots.push((at, snapshot));
    }

    /// Adds an event file, or what a flight recorder kept.
    ///
    /// # Errors
    /// When the user ends it.
    pub fn events(
        &mut self,
        path: &str,
        reader: &mut EventReader,
        progress: Progress<'_>,
    ) -> Result<(), Interrupted> {
        let header = reader.header().clone();
        let at = self.begin_events(path, &header);
        if self.refused(at) {
            return Ok(());
        }
        loop {
            match reader.next_event() {
                Ok(Some(event)) => {
                    self.event(at, &event);
                    if self.events.is_multiple_of(TICK) && !progress(self.events) {
                        return Err(Interrupted);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.note(at, format!("{error}: what follows is left out."));
                    self.lossy(at);
                    break;
                }
            }
        }
        self.end_events(at, reader.end());
        let names = &header.maps;
        if let [name] = names.as_slice()
            && !name.starts_with("0x")
        {
            self.lives.name(at, name);
        }
        Ok(())
    }

    fn refused(&self, at: usize) -> bool {
        self.sources.get(at).is_none_or(|of| of.refused.is_some())
    }

    fn lossy(&mut self, at: usize) {
        if let Some(lossless) = self.lossless.get_mut(at) {
            *lossless = false;
        }
    }

    fn note(&mut self, at: usize, note: String) {
        if let Some(of) = self.sources.get_mut(at)
            && of.notes.len() < 32
        {
            of.notes.push(note);
        }
    }

    fn begin_events(&mut self, path: &str, header: &Header) -> usize {
        let kind = match header.engine.as_str() {
            "ring" => SourceKind::Ring,
            _ => SourceKind::Events,
        };
        let mut told = source(kind, path, "as recorded");
        told.offset_ns = Some(0);
        // What stops the program reads the clock afterwards; the others at the event.
        told.error_ns = match header.engine.as_str() {
            "break" | "watch" => None,
            _ => Some(0),
        };
        let claim = Claim {
            pid: header.pid,
            started: None,
            boot_id: header.boot_id.as_deref(),
            go_version: header.go_version.as_deref(),
            program: header.program.as_deref(),
            build_id: None,
            note_id: None,
            arch: header.arch.as_deref(),
        };
        let at = self.sources.len();
        let name = named(path, "the ring");
        let placed = self.identity.admit(&claim, &name).and_then(|()| {
            header.clock.map_or(Ok(()), |clock| {
                self.walls
                    .add(at, clock.t_mono_ns, clock.t_wall_ns, clock.error_ns)
            })
        });
        if let Err(reason) = placed {
            told.refused = Some(reason);
        } else if told.error_ns.is_none() {
            told.notes.push(
                "The program stood still at each event; its time is when the debugger looked."
                    .to_owned(),
            );
        }
        told.notes.extend(header.notes.iter().take(8).cloned());
        self.push(told);
        self.lives
            .begin(at, kind == SourceKind::Ring && header.on.is_empty());
        at
    }

    fn event(&mut self, at: usize, event: &Event) {
        self.events += 1;
        let wall = self.walls.best();
        let Some(of) = self.sources.get_mut(at) else {
            return;
        };
        of.records += 1;
        let t_ns = event.t_mono_ns.or_else(|| {
            let wall_ns = i64::try_from(event.t_wall_ns?).ok()?;
            mono(wall_ns, &wall?)
        });
        let Some(t_ns) = t_ns else {
            return;
        };
        let (first, last) = of.extent.unwrap_or((t_ns, t_ns));
        of.extent = Some((first.min(t_ns), last.max(t_ns)));
        self.lives.add(event, t_ns, &mut self.stacks);
    }

    fn end_events(&mut self, at: usize, end: Option<&End>) {
        let (note, lost) = match end {
            Some(End::Closed(ending)) => {
                let mut told = Vec::new();
                if ending.lost > 0 {
                    told.push(format!("{} events were lost", thousands(ending.lost)));
                }
                if ending.left_out > 0 {
                    told.push(format!(
                        "{} were left out on request",
                        thousands(ending.left_out)
                    ));
                }
                (told.join("; "), ending.lost + ending.left_out > 0)
            }
            Some(End::Open) => (
                "It has no last line: its writer was killed, or is at work still".to_owned(),
                true,
            ),
            Some(End::Cut(offset)) => (
                format!("It ends within a line, at byte {offset}: that event is left out"),
                true,
            ),
            None => (String::new(), true),
        };
        if !note.is_empty() {
            self.note(at, note + ".");
        }
        if lost {
            self.lossy(at);
        }
        let untimed = self
            .sources
            .get(at)
            .is_some_and(|of| of.records > 0 && of.extent.is_none());
        if untimed && let Some(of) = self.sources.get_mut(at) {
            of.refused = Some("its events have no times of this machine".to_owned());
        }
    }

    /// Adds a profile; `pauses`: the ends of collections that a text of `debug=1` lists.
    pub fn profile(&mut self, path: &str, profile: Profile, pauses: Vec<i64>) {
        let kind = match profile.kind {
            Kind::Heap => SourceKind::Heap,
            Kind::Cpu => SourceKind::Cpu,
            _ => SourceKind::Waiting,
        };
        let mut told = source(kind, path, "");
        told.records = profile.samples.len() as u64;
        told.notes.extend(profile.notes.iter().take(8).cloned());
        let claim = Claim {
            program: profile.program.as_deref(),
            note_id: profile.build_id.as_deref(),
            ..Claim::default()
        };
        if let Err(reason) = self.identity.admit(&claim, path) {
            told.refused = Some(reason);
            self.push(told);
            return;
        }
        let at = self.push(told);
        self.profiles.push(Waiting {
            source: at,
            profile,
            pauses,
        });
    }

    /// Adds an execution trace. `open` opens its file, twice if its clock must be found first.
    ///
    /// # Errors
    /// When the user ends it.
    pub fn trace<R: std::io::Read>(
        &mut self,
        path: &str,
        open: &mut dyn FnMut() -> std::io::Result<R>,
        progress: Progress<'_>,
    ) -> Result<(), Interrupted> {
        let at = self.push(source(SourceKind::Trace, path, "ticks of 64 ns"));
        let refuse = |this: &mut Self, reason: String| {
            if let Some(of) = this.sources.get_mut(at) {
                of.mapping.clear();
                of.refused = Some(reason);
            }
        };
        let own = match open() {
            Ok(file) => is_v1(&first_bytes(file)),
            Err(error) => {
                refuse(self, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        let mut ends = super::facts::Ends::default();
        let mut shift = 0;
        if own {
            let read = open().map(|file| exectrace::read(file, progress, &mut ends));
            match read {
                Ok(Ok(outcome)) if outcome.interrupted => return Err(Interrupted),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    refuse(self, error.to_string());
                    return Ok(());
                }
                Err(error) => {
                    refuse(self, format!("it cannot be read: {error}"));
                    return Ok(());
                }
            }
            match self.by_collections(&ends.0) {
                Ok((offset, error, mapping)) => {
                    shift = offset;
                    if let Some(of) = self.sources.get_mut(at) {
                        of.mapping = mapping;
                        of.error_ns = Some(error);
                    }
                }
                Err(reason) => {
                    refuse(self, reason);
                    return Ok(());
                }
            }
        }
        self.lives.seen.sort_unstable();
        let stacks = std::mem::take(&mut self.stacks);
        let seen = std::mem::take(&mut self.lives.seen);
        let mut facts = Facts::new(at, shift, stacks, seen);
        let read = open().map(|file| exectrace::read(file, progress, &mut facts));
        self.stacks = std::mem::take(&mut facts.stacks);
        self.lives.seen = std::mem::take(&mut facts.seen);
        let outcome = match read {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                refuse(self, error.to_string());
                return Ok(());
            }
            Err(error) => {
                refuse(self, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        if outcome.interrupted {
            return Err(Interrupted);
        }
        if let Err(reason) = self
            .identity
            .admit_trace(outcome.version, outcome.releases())
        {
            refuse(self, reason);
            return Ok(());
        }
        if !own && outcome.clock != exectrace::Clock::Monotonic {
            refuse(
                self,
                "its clock is not the system's: nothing leads from one to the other".to_owned(),
            );
            return Ok(());
        }
        facts.finish();
        let mut notes: Vec<String> = outcome
            .notes
            .iter()
            .take(8)
            .map(|note| dotted(note))
            .collect();
        if let Some(cut) = &outcome.cut {
            notes.push(format!(
                "It cannot be read from byte {} on: {}.",
                cut.offset, cut.why
            ));
        }
        if outcome.incomplete && outcome.cut.is_none() {
            notes.push("Parts of it could not be read: counts are too small.".to_owned());
        }
        let late = (!own).then_some(outcome.late_ns);
        self.take(at, facts, late, shift, notes);
        Ok(())
    }

    /// How a clock that nobody knows becomes `CLOCK_MONOTONIC`: by the collections that a heap
    /// profile lists.
    fn by_collections(&self, ends: &[u64]) -> Result<(i64, u64, String), String> {
        let why = "Go 1.21's trace counts CPU ticks from a zero of its own: give a heap profile \
                   with debug=1 of the same process, taken soon after it (-heap), and a source \
                   with both clocks (a snapshot or events)";
        let wall = self.walls.best().ok_or(why)?;
        let mut failed = None;
        for waiting in self.profiles.iter().filter(|of| !of.pauses.is_empty()) {
            let path = self
                .sources
                .get(waiting.source)
                .map_or("", |of| of.path.as_str());
            let Some(fit) = fit(ends, &waiting.pauses) else {
                failed = Some(path);
                continue;
            };
            let shift = i128::from(fit.offset_ns) - i128::from(wall.offset_ns);
            let shift = i64::try_from(shift).map_err(|_| why.to_owned())?;
            let error = fit
                .error_ns
                .saturating_add(wall.error_ns)
                .saturating_add(5_000);
            let mapping = format!(
                "CPU ticks, by the ends of {} in {path}",
                count(fit.matched as u64, "collection")
            );
            return Ok((shift, error, mapping));
        }
        Err(match failed {
            Some(path) => format!(
                "Go 1.21's trace counts CPU ticks, and fewer than 3 of its {} collections, or no \
                 certain ones, are among those of {path}: take that profile soon after the trace",
                ends.len()
            ),
            None => why.to_owned(),
        })
    }

    /// `late`: how far stamps were seen to run ahead of `CLOCK_MONOTONIC`, where they are of it.
    fn take(
        &mut self,
        at: usize,
        mut facts: Facts,
        late: Option<u64>,
        shift: i64,
        notes: Vec<String>,
    ) {
        let clocks = std::mem::take(&mut facts.clocks);
        let (extent, records) = (facts.extent, facts.facts);
        let apart: BTreeMap<u32, _> = facts.apart.drain().collect();
        let (objects, missing) = (facts.objects_seen, facts.objects_missing);
        let freed = std::mem::replace(&mut facts.freed, Evenly::new(0));
        let logs = std::mem::replace(&mut facts.logs, Evenly::new(0));
        let (spans, longest) = (
            std::mem::take(&mut facts.collections),
            std::mem::take(&mut facts.longest),
        );
        let dropped = facts.dropped;
        let ends = std::mem::take(&mut facts.ends);
        let take = |series: &mut Thinned<Point>| std::mem::replace(series, Thinned::new());
        let series = [
            (SeriesKind::HeapLive, take(&mut facts.live)),
            (SeriesKind::HeapGoal, take(&mut facts.goal)),
            (SeriesKind::MapStorage, take(&mut facts.maps)),
        ];
        // Its own readings of both clocks, since go1.25.
        let mut worst = 0;
        let mut refused = None;
        for (t_ns, mono_ns, wall_ns) in clocks {
            worst = worst.max(t_ns.abs_diff(mono_ns));
            if let Err(reason) = self.walls.add(at, mono_ns, wall_ns, QUANTUM_NS) {
                refused = Some(reason);
            }
        }
        if worst > AHEAD_NS.max(late.unwrap_or(0)) {
            refused = Some(format!(
                "its clock is {} us off CLOCK_MONOTONIC, by its own reading: it was written on \
                 another system than Linux, or is damaged",
                worst / 1000
            ));
        }
        let Some(of) = self.sources.get_mut(at) else {
            return;
        };
        of.records = records;
        of.notes = notes;
        if refused.is_some() {
            of.refused = refused;
            return;
        }
        of.extent = extent;
        of.offset_ns = Some(shift);
        if let Some(late) = late {
            // Stamps of one thread may have run ahead without being out of order.
            of.error_ns = Some(AHEAD_NS.max(worst).max(late));
            let ahead = "Stamps of events closer than 64 ns run ahead of the clock";
            if objects > 0 {
                of.notes.push(format!(
                    "{ahead}, and allocations come as close: {} seen here; of one thread alone \
                     they may be further ahead, unseen.",
                    match late {
                        0 => "none was".to_owned(),
                        late => format!("by {} ns was", thousands(late)),
                    }
                ));
            } else if late > 0 {
                of.notes
                    .push(format!("{ahead}: by {} ns was seen here.", thousands(late)));
            } else {
                of.notes.push(format!("{ahead} by up to 1 us."));
            }
        }
        let mut told = Vec::new();
        for (source, apart) in apart {
            let path = self
                .sources
                .get(source as usize)
                .map(|of| named(&of.path, "the ring"));
            told.push(format!(
                "{} allocations of maps are in {}, too: times differ by {} to {} ns, {} of them \
                 by more than 1 us: a recorder notes storage when it has been laid out.",
                thousands(apart.matched),
                path.unwrap_or_default(),
                apart.least,
                apart.most,
                thousands(apart.beyond),
            ));
        }
        if objects > 0 {
            told.push(
                "Map storage counts what was allocated while the trace was on, and of what was \
                 there before what the heap knows the type of."
                    .to_owned(),
            );
        }
        if missing > 0 {
            told.push(format!(
                "Map storage lacks {} whose size is not known.",
                count(missing, "object")
            ));
        }
        if dropped > 0 {
            told.push(format!("{} are left out.", count(dropped, "span of time")));
        }
        if logs.seen > logs.kept.len() as u64 {
            told.push(format!(
                "{} of {} logs are shown.",
                thousands(logs.kept.len() as u64),
                thousands(logs.seen)
            ));
        }
        for note in told {
            self.note(at, note);
        }
        self.intervals.extend(spans);
        self.intervals.extend(longest);
        self.ends.extend(ends);
        self.ends.sort_unstable();
        for (kind, points) in series {
            let points: Vec<Point> = points.iter().copied().collect();
            if !points.is_empty() {
                self.series.push(Series {
                    kind,
                    map: None,
                    source: at,
                    points,
                });
            }
        }
        self.logs.extend(logs.kept.into_iter().map(|log| (at, log)));
        self.freed
            .extend(freed.kept.into_iter().map(|freed| (at, freed)));
    }

    /// Brings all onto one clock.
    #[must_use]
    pub fn finish(mut self) -> Timeline {
        self.wall_by_collections();
        self.place_profiles();
        self.doubt_traces();
        let mut timeline = Timeline {
            wall: self.walls.best(),
            ..Timeline::default()
        };
        let snapshots = std::mem::take(&mut self.snapshots);
        self.place_maps(&snapshots, &mut timeline);
        self.waste(&snapshots, &mut timeline);
        for (at, snapshot) in &snapshots {
            let Some((t_ns, _)) = self.sources.get(*at).and_then(|of| of.extent) else {
                continue;
            };
            let name = named(&snapshot.path, "the live target");
            let maps = count(snapshot.maps.len() as u64, "map");
            self.instants
                .push(mark(t_ns, t_ns, *at, &format!("snapshot {name}: {maps}")));
        }
        timeline.instants.append(&mut self.instants);
        timeline.series.append(&mut self.series);
        timeline.intervals.append(&mut self.intervals);
        timeline
            .intervals
            .sort_by_key(|span| (span.begin_ns, span.end_ns));
        timeline
            .instants
            .sort_by_key(|instant| (instant.t_ns, instant.until_ns));
        thin(&mut timeline);
        timeline.stacks = std::mem::take(&mut self.stacks.stacks);
        timeline.sources = std::mem::take(&mut self.sources);
        timeline.subject = std::mem::take(&mut self.identity.subject);
        timeline.extent = timeline
            .sources
            .iter()
            .filter(|of| of.refused.is_none())
            .filter_map(|of| of.extent)
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        timeline.notes.append(&mut self.notes);
        if self.stacks.more {
            timeline
                .notes
                .push("There are more stacks than are kept: some events show none.".to_owned());
        }
        if self.lives.seen_more {
            timeline.notes.push(
                "There are more blocks than are remembered: frees of later ones are not told."
                    .to_owned(),
            );
        }
        findings::find(&mut timeline, &self.lives, &self.lossless, &self.cpu);
        timeline
    }

    /// What wall time means, where no source read both clocks: by collections that a trace and
    /// a heap profile both have.
    fn wall_by_collections(&mut self) {
        if self.walls.best().is_some() || self.ends.is_empty() {
            return;
        }
        for waiting in &self.profiles {
            let Some(fit) = fit(&self.ends, &waiting.pauses) else {
                continue;
            };
            let Some(last) = self.ends.last().copied() else {
                return;
            };
            let wall = last.saturating_add_signed(fit.offset_ns);
            // A collection's end in the trace is up to 5 us before the heap's books have it.
            let error = fit.error_ns.saturating_add(5_000);
            if self.walls.add(waiting.source, last, wall, error).is_ok() {
                return;
            }
        }
    }

    /// A trace does not tell of which process it is: one that lies apart from all else may be
    /// of another.
    fn doubt_traces(&mut self) {
        let placed = |of: &&Source| of.refused.is_none() && of.extent.is_some();
        let apart: Vec<usize> = (0..self.sources.len())
            .filter(|at| {
                let Some(trace) = self.sources.get(*at).filter(placed) else {
                    return false;
                };
                let others = || {
                    self.sources
                        .iter()
                        .filter(placed)
                        .filter(|of| of.kind != SourceKind::Trace && of.records > 0)
                };
                trace.kind == SourceKind::Trace
                    && others().next().is_some()
                    && !others().any(|of| {
                        of.extent.zip(trace.extent).is_some_and(|(one, other)| {
                            one.0 <= other.1.saturating_add(NEAR_NS)
                                && other.0 <= one.1.saturating_add(NEAR_NS)
                        })
                    })
            })
            .collect();
        for at in apart {
            self.note(
                at,
                "It is more than an hour from all other sources: it may be of another process \
                 or boot, which nothing in it tells."
                    .to_owned(),
            );
        }
    }

    fn place_profiles(&mut self) {
        let wall = self.walls.best();
        for waiting in std::mem::take(&mut self.profiles) {
            let (at, profile) = (waiting.source, &waiting.profile);
            let Some(of) = self.sources.get(at) else {
                continue;
            };
            let path = of.path.clone();
            let Some(wall) = wall else {
                self.refuse_at(
                    at,
                    "its times are of the wall clock, and no source has both clocks: give a \
                     snapshot or events of the same process, or a trace of Go 1.25 or later",
                );
                continue;
            };
            let by = self
                .sources
                .get(wall.source)
                .map_or_else(String::new, |of| named(&of.path, "the live target"));
            let Some(t_ns) = profile
                .time_ns
                .and_then(|time| mono(time, &wall))
                .or_else(|| {
                    // A text has no time of its own but that of the collection.
                    profile.last_gc_ns.and_then(|time| mono(time, &wall))
                })
            else {
                self.refuse_at(at, "it does not say when it was taken");
                continue;
            };
            let window = u64::try_from(profile.duration_ns).unwrap_or(0);
            let mut mapping = format!("wall clock less the offset of {by}");
            let mut error = Some(wall.error_ns);
            let extent = if profile.kind == Kind::Cpu {
                let end = t_ns.saturating_add(window);
                self.cpu
                    .extend(growing(profile).map(|(part, all)| (at, part, all)));
                self.window(at, &path, profile, (t_ns, end));
                (t_ns, end)
            } else if window > 0 {
                let begin = t_ns.saturating_sub(window);
                self.window(at, &path, profile, (begin, t_ns));
                (begin, t_ns)
            } else if profile.kind == Kind::Heap {
                let last_gc = profile.last_gc_ns.and_then(|time| mono(time, &wall));
                let (from, until) = match last_gc {
                    // A profile is published by the collection after the one whose state it
                    // is (runtime/mprof.go), unless runtime.GC saw to it.
                    Some(gc) => match self.collection_before(gc, &waiting, &wall) {
                        Some(before) => {
                            mapping.push_str(
                                "; its state is that of the last collection or the one before it",
                            );
                            error = Some(wall.error_ns.saturating_add(gc - before));
                            (before, gc)
                        }
                        None => {
                            mapping.push_str(
                                "; drawn at the last collection, its state is that of it or the \
                                 one before it, which nothing tells",
                            );
                            error = None;
                            (gc, gc)
                        }
                    },
                    None => match self.collections_before(t_ns) {
                        Some((from, until)) => {
                            mapping.push_str(
                                "; its state is that of one of the two collections before it",
                            );
                            error = Some(wall.error_ns.saturating_add(until - from));
                            (from, until)
                        }
                        None => {
                            mapping.push_str(
                                "; drawn when it was written, its state is that of a collection \
                                 before, which nothing tells",
                            );
                            error = None;
                            (t_ns, t_ns)
                        }
                    },
                };
                let bytes = in_use(profile);
                let text = match bytes {
                    Some(bytes) => format!("heap profile {path}: {} in use, sampled", size(bytes)),
                    None => format!("heap profile {path}"),
                };
                self.instants.push(mark(from, until, at, &text));
                // Without an error nobody knows when it was so.
                if let (Some(bytes), Some(gc), Some(_)) = (bytes, last_gc, error) {
                    self.heap_in_use(at, gc, bytes);
                }
                (from, until)
            } else {
                let text = format!("{} profile {path}", word(profile.kind));
                self.instants.push(mark(t_ns, t_ns, at, &text));
                (t_ns, t_ns)
            };
            if let Some(of) = self.sources.get_mut(at) {
                of.mapping = mapping;
                of.offset_ns = wall.offset_ns.checked_neg();
                of.error_ns = error;
                of.extent = Some(extent);
            }
        }
    }

    fn refuse_at(&mut self, at: usize, reason: &str) {
        if let Some(of) = self.sources.get_mut(at) {
            of.refused = Some(reason.to_owned());
        }
    }

    fn window(&mut self, at: usize, path: &str, profile: &Profile, span: (u64, u64)) {
        let name = format!("{} profile {path}", word(profile.kind));
        self.intervals.push(Interval {
            lane: name.as_str().into(),
            name: name.as_str().into(),
            begin_ns: span.0,
            end_ns: span.1,
            whole: true,
            goid: None,
            source: at,
        });
    }

    /// The collection before the last one, as the profile lists it or a trace has it.
    fn collection_before(&self, gc: u64, of: &Waiting, wall: &Wall) -> Option<u64> {
        let last = of.profile.last_gc_ns?;
        let listed = of.pauses.iter().rev().find(|end| **end < last);
        if let Some(end) = listed {
            return mono(*end, wall).map(|before| before.min(gc));
        }
        // The trace has the same collection, some microseconds off.
        let next = self.ends.partition_point(|end| *end <= gc);
        let at = [next.checked_sub(1), Some(next)]
            .into_iter()
            .flatten()
            .filter_map(|at| Some((self.ends.get(at)?.abs_diff(gc), at)))
            .min()
            .filter(|(apart, _)| *apart <= JITTER_NS)?
            .1;
        let before = *self.ends.get(at.checked_sub(1)?)?;
        // Between two traces there may have been others.
        let covered = self
            .sources
            .iter()
            .filter(|of| of.kind == SourceKind::Trace && of.refused.is_none())
            .filter_map(|of| of.extent)
            .any(|(first, last)| first <= before && gc <= last.saturating_add(JITTER_NS));
        covered.then_some(before.min(gc))
    }

    /// The two last collections that ended before a time, if the trace covers it.
    fn collections_before(&self, t_ns: u64) -> Option<(u64, u64)> {
        let covered = self
            .sources
            .iter()
            .filter(|of| of.kind == SourceKind::Trace && of.refused.is_none())
            .filter_map(|of| of.extent)
            .any(|(first, last)| first <= t_ns && t_ns <= last);
        let before = self.ends.partition_point(|end| *end <= t_ns);
        let until = *self.ends.get(before.checked_sub(1)?)?;
        let from = *self.ends.get(before.checked_sub(2)?)?;
        covered.then_some((from, until))
    }

    fn heap_in_use(&mut self, at: usize, t_ns: u64, bytes: u64) {
        let point = Point {
            t_ns,
            value: bytes as f64,
        };
        match self
            .series
            .iter_mut()
            .find(|series| series.kind == SeriesKind::HeapInUse)
        {
            Some(series) => {
                series.points.push(point);
                series.points.sort_by_key(|point| point.t_ns);
            }
            None => self.series.push(Series {
                kind: SeriesKind::HeapInUse,
                map: None,
                source: at,
                points: vec![point],
            }),
        }
    }

    /// Maps of events and of snapshots, joined by address, type and time.
    fn tracks<'r>(&mut self, snapshots: &'r [(usize, Snapshot)]) -> Vec<Track<'r>> {
        let mut tracks: Vec<Track<'r>> = Vec::new();
        let mut places: HashMap<u64, Vec<usize>, AddressHash> = HashMap::default();
        let mut order: Vec<usize> = (0..self.lives.lives.len()).collect();
        let lives = &self.lives.lives;
        let key = |at: &usize| {
            lives
                .get(*at)
                .map_or((0, 0), |life| (life.first, life.number))
        };
        order.sort_by_key(key);
        for at in order {
            let Some(life) = lives.get(at) else {
                continue;
            };
            let here = places.entry(life.address).or_default();
            let same = |track: &Track<'_>| {
                agree(track.type_name.as_ref(), life.type_name.as_ref())
                    && track.first <= life.last
                    && life.first <= track.last
                    && !track
                        .lives
                        .iter()
                        .filter_map(|at| lives.get(*at))
                        .any(|other| other.source == life.source)
            };
            let found = here
                .iter()
                .copied()
                .find(|place| tracks.get(*place).is_some_and(same));
            let place = match found {
                Some(place) => place,
                None => {
                    here.push(tracks.len());
                    tracks.push(Track {
                        address: life.address,
                        type_name: None,
                        first: life.first,
                        last: life.last,
                        lives: Vec::new(),
                        shots: Vec::new(),
                    });
                    tracks.len() - 1
                }
            };
            if let Some(track) = tracks.get_mut(place) {
                track.first = track.first.min(life.first);
                track.last = track.last.max(life.last);
                track.type_name = track.type_name.take().or_else(|| life.type_name.clone());
                track.lives.push(at);
            }
        }
        // A snapshot without a time says how maps are, as long as nothing else is on the clock.
        let timed = self.sources.iter().any(|of| of.extent.is_some());
        let mut left_out = 0;
        for (source, snapshot) in snapshots {
            let of = self.sources.get(*source);
            let t_ns = of.and_then(|of| of.extent).map(|(t_ns, _)| t_ns);
            if t_ns.is_none() && timed && !is_present(snapshot) {
                continue;
            }
            let mut largest: Vec<&Record> = snapshot
                .maps
                .iter()
                .filter(|map| map.address != 0 && !map.garbage)
                .collect();
            largest.sort_by_key(|map| Reverse(map.allocated));
            for (rank, record) in largest.into_iter().enumerate() {
                let here = places.entry(record.address).or_default();
                if rank >= RECORDS && here.is_empty() {
                    left_out += 1;
                    continue;
                }
                let fits = |place: &usize| {
                    tracks.get(*place).is_some_and(|track| {
                        agree(track.type_name.as_ref(), record.type_name.as_ref())
                    })
                };
                let began = |place: &usize| {
                    tracks
                        .get(*place)
                        .is_some_and(|track| t_ns.is_none_or(|t_ns| track.first <= t_ns))
                };
                // The map that lies there then: the last that began before.
                let place = here
                    .iter()
                    .rev()
                    .find(|place| fits(place) && began(place))
                    .or_else(|| here.iter().find(|place| fits(place)))
                    .copied();
                let place = match place {
                    Some(place) => place,
                    None => {
                        here.push(tracks.len());
                        tracks.push(Track {
                            address: record.address,
                            type_name: record.type_name.clone(),
                            first: t_ns.unwrap_or(u64::MAX),
                            last: t_ns.unwrap_or(0),
                            lives: Vec::new(),
                            shots: Vec::new(),
                        });
                        tracks.len() - 1
                    }
                };
                if let Some(track) = tracks.get_mut(place) {
                    if let Some(t_ns) = t_ns {
                        track.first = track.first.min(t_ns);
                        track.last = track.last.max(t_ns);
                    }
                    track.type_name = track.type_name.take().or_else(|| record.type_name.clone());
                    track.shots.push(Shot {
                        source: *source,
                        t_ns,
                        record,
                    });
                }
            }
        }
        if left_out > 0 {
            self.notes.push(format!(
                "{} of snapshots are in the sums of waste only.",
                count(left_out, "smaller map")
            ));
        }
        for track in &mut tracks {
            // One without a time is the present, behind all that was recorded.
            track
                .shots
                .sort_by_key(|shot| shot.t_ns.unwrap_or(u64::MAX));
        }
        tracks
    }

    fn place_maps(&mut self, snapshots: &[(usize, Snapshot)], timeline: &mut Timeline) {
        let mut tracks = self.tracks(snapshots);
        let lives = &self.lives.lives;
        let weight = |track: &Track<'_>| {
            let bytes = track
                .shots
                .iter()
                .map(|shot| shot.record.allocated)
                .max()
                .unwrap_or(0);
            let new = |at: &usize| lives.get(*at).map_or(0, |life| life.new_bytes);
            bytes.max(track.lives.iter().map(new).max().unwrap_or(0))
        };
        tracks.sort_by_key(|track| (Reverse(weight(track)), track.first, track.address));
        let mut of_life: HashMap<u32, usize> = HashMap::new();
        let mut drawn = 0;
        let mut rest = self.lives.rest;
        let mut by_address: HashMap<u64, Vec<(u64, u64, usize)>, AddressHash> = HashMap::default();
        let all = tracks.len();
        for (place, track) in tracks.into_iter().enumerate() {
            let of: Vec<&Life> = track.lives.iter().filter_map(|at| lives.get(*at)).collect();
            if place >= MAPS {
                rest.maps += 1;
                // Several sources tell of the same.
                if let Some(most) = of.iter().max_by_key(|life| life.new_bytes) {
                    rest.events += most.events;
                    rest.growths += most.growths;
                    rest.new_bytes = rest.new_bytes.saturating_add(most.new_bytes);
                }
                continue;
            }
            for life in &of {
                of_life.insert(life.number, place);
                let dots = life.notable.iter().chain(life.writes.iter());
                for dot in dots {
                    timeline.instants.push(instant(dot, place, life.source));
                    drawn += 1;
                }
                of_events(life, place, &mut timeline.series);
            }
            of_shots(&track.shots, place, &mut timeline.series);
            by_address
                .entry(track.address)
                .or_default()
                .push((track.first, track.last, place));
            let map = map_track(&track, &of, &self.lossless, &mut self.stacks);
            timeline.maps.push(map);
        }
        if all > MAPS || rest.maps > 0 {
            self.notes.push(format!(
                "{} are shown; {} more are summed up: {}, {}, {} of new storage.",
                count(timeline.maps.len() as u64, "map"),
                thousands(rest.maps),
                count(rest.events, "event"),
                count(rest.growths, "growth"),
                size(rest.new_bytes),
            ));
        }
        let of_maps = self.events.saturating_sub(rest.events);
        if drawn < of_maps {
            self.notes.push(format!(
                "{} of {} of the maps shown are drawn, evenly chosen; sums count all.",
                thousands(drawn),
                count(of_maps, "event")
            ));
        }
        for (source, freed) in std::mem::take(&mut self.freed) {
            if let Some(map) = of_life.get(&freed.life) {
                let mut told = mark(freed.t_ns, freed.t_ns, source, "freed by the sweeper");
                told.op = Some(Op::Free);
                told.map = Some(*map);
                told.size = freed.size;
                timeline.instants.push(told);
            }
        }
        for (source, log) in std::mem::take(&mut self.logs) {
            let mut told = mark(log.t_ns, log.t_ns, source, &log.text);
            told.goid = log.goid;
            told.stack = log.stack;
            let here = log.address.and_then(|address| by_address.get(&address));
            // The map that lies there then.
            told.map = here.and_then(|here| {
                here.iter()
                    .min_by_key(|(first, last, _)| {
                        first.saturating_sub(log.t_ns) + log.t_ns.saturating_sub(*last)
                    })
                    .map(|(_, _, place)| *place)
            });
            timeline.instants.push(told);
        }
    }

    fn waste(&mut self, snapshots: &[(usize, Snapshot)], timeline: &mut Timeline) {
        let timed = self.sources.iter().any(|of| of.extent.is_some());
        let mut order: Vec<(Option<u64>, usize, &Snapshot)> = Vec::new();
        for (source, snapshot) in snapshots {
            let of = self.sources.get(*source);
            let t_ns = of.and_then(|of| of.extent).map(|(t_ns, _)| t_ns);
            if t_ns.is_some() || !timed || is_present(snapshot) {
                order.push((t_ns, *source, snapshot));
            }
        }
        order.sort_by_key(|(t_ns, source, _)| Reverse((*t_ns, *source)));
        let mut known: HashSet<u64, AddressHash> = HashSet::default();
        let mut rows: HashMap<WasteKey, (u64, u64)> = HashMap::new();
        let (mut more, mut more_bytes, mut inexact) = (0_u64, 0_u64, 0_u64);
        let several = order.len() > 1;
        for (_, _, snapshot) in order {
            for map in snapshot
                .maps
                .iter()
                .filter(|map| map.address != 0 && !map.garbage)
            {
                if several && known.len() < ADDRESSES && !known.insert(map.address) {
                    continue;
                }
                inexact += u64::from(!map.exact && !map.unused.is_empty());
                let stack = self.stacks.id(&frames(&map.allocated_at));
                let type_name = map
                    .type_name
                    .clone()
                    .unwrap_or_else(|| match map.types.first() {
                        Some(one) => format!("{one}?").into(),
                        None => "map of unknown type".into(),
                    });
                for (component, bytes) in map.unused.iter().filter(|(_, bytes)| *bytes > 0) {
                    let key = (type_name.clone(), map.name.clone(), stack, *component);
                    if rows.len() >= WASTE_KEYS && !rows.contains_key(&key) {
                        more += 1;
                        more_bytes = more_bytes.saturating_add(*bytes);
                        continue;
                    }
                    let row = rows.entry(key).or_default();
                    row.0 = row.0.saturating_add(*bytes);
                    row.1 += 1;
                }
            }
        }
        let mut rows: Vec<Waste> = rows
            .into_iter()
            .map(
                |((type_name, holder, stack, component), (bytes, maps))| Waste {
                    type_name,
                    holder,
                    stack: stack.map(|stack| stack as usize),
                    component,
                    bytes,
                    maps,
                },
            )
            .collect();
        rows.sort_by(|one, other| {
            let key = |row: &Waste| (Reverse(row.bytes), Rc::clone(&row.type_name), row.component);
            key(one)
                .cmp(&key(other))
                .then_with(|| one.holder.cmp(&other.holder))
                .then_with(|| one.stack.cmp(&other.stack))
        });
        for row in rows.iter().skip(WASTE) {
            more += 1;
            more_bytes = more_bytes.saturating_add(row.bytes);
        }
        rows.truncate(WASTE);
        timeline.waste = rows;
        if more > 0 {
            self.notes.push(format!(
                "{} of waste, {} in all, are left out.",
                count(more, "smaller row"),
                size(more_bytes)
            ));
        }
        if inexact > 0 {
            self.notes.push(format!(
                "The waste of {} is at least what is shown: parts of them could not be read, or \
                 their type is not known for sure.",
                count(inexact, "map")
            ));
        }
    }
}

fn dotted(note: &str) -> String {
    match note.ends_with('.') {
        true => note.to_owned(),
        false => format!("{note}."),
    }
}

/// The name of a source.
pub(super) fn named(path: &str, live: &str) -> String {
    match path {
        "" => live.to_owned(),
        path => path.to_owned(),
    }
}

/// The target as it is now: the same as that of the ring beside it, a core's included.
fn is_present(snapshot: &Snapshot) -> bool {
    snapshot.path.is_empty()
}

fn agree(one: Option<&Rc<str>>, other: Option<&Rc<str>>) -> bool {
    one.is_none() || other.is_none() || one == other
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Heap => "heap",
        Kind::Goroutine => "goroutine",
        Kind::Block => "block",
        Kind::Mutex => "mutex",
        Kind::Cpu => "CPU",
        Kind::ThreadCreate => "thread",
        _ => "other",
    }
}

/// Sampled bytes in use, scaled; `None` where the profile does not count them.
fn in_use(profile: &Profile) -> Option<u64> {
    let at = profile
        .sample_types
        .iter()
        .position(|kind| &*kind.name == "inuse_space")?;
    let sum = profile
        .samples
        .iter()
        .filter_map(|sample| sample.values.get(at))
        .fold(0_i64, |sum, bytes| sum.saturating_add(*bytes));
    u64::try_from(sum).ok()
}

/// CPU time under functions that grow maps, and in all.
fn growing(profile: &Profile) -> Option<(i64, i64)> {
    let at = profile
        .sample_types
        .iter()
        .position(|kind| &*kind.name == "cpu")?;
    let (mut part, mut all) = (0_i64, 0_i64);
    for sample in &profile.samples {
        let value = sample.values.get(at).copied().unwrap_or(0);
        all = all.saturating_add(value);
        // The runtime's functions that are in one piece with the leaf.
        let inside = sample
            .stack
            .iter()
            .filter_map(|location| profile.locations.get(*location as usize))
            .flat_map(|place| &place.lines)
            .map(|line| &*line.function)
            .take_while(|function| serves_runtime(function))
            .any(|function| operation(function) == Some(Operation::Growth));
        if inside {
            part = part.saturating_add(value);
        }
    }
    Some((part, all))
}

fn mark(t_ns: u64, until_ns: u64, source: usize, text: &str) -> Instant {
    Instant {
        t_ns,
        until_ns: until_ns.max(t_ns),
        op: None,
        map: None,
        text: Some(text.into()),
        goid: None,
        stack: None,
        len: None,
        old_capacity: None,
        capacity: None,
        size: None,
        source,
    }
}

fn instant(dot: &Dot, map: usize, source: usize) -> Instant {
    Instant {
        t_ns: dot.t_ns,
        until_ns: dot.t_ns,
        op: Some(dot.op),
        map: Some(map),
        text: None,
        goid: dot.goid,
        stack: dot.stack,
        len: dot.len,
        old_capacity: dot.old_capacity,
        capacity: dot.capacity,
        size: dot.size,
        source,
    }
}

/// The figures of a map at its events.
fn of_events(life: &Life, map: usize, series: &mut Vec<Series>) {
    let mut dots: Vec<&Dot> = life.notable.iter().chain(life.writes.iter()).collect();
    dots.sort_by_key(|dot| dot.t_ns);
    let kinds: [Figure<Dot>; 4] = [
        (SeriesKind::Len, |dot| dot.len.map(|value| value as f64)),
        (SeriesKind::Capacity, |dot| {
            dot.slots.map(|value| value as f64)
        }),
        (SeriesKind::Storage, |dot| {
            dot.storage.map(|value| value as f64)
        }),
        (SeriesKind::HoleDensity, |dot| dot.holes),
    ];
    for (kind, value) in kinds {
        let points: Vec<Point> = dots
            .iter()
            .filter_map(|dot| {
                Some(Point {
                    t_ns: dot.t_ns,
                    value: value(dot)?,
                })
            })
            .collect();
        if !points.is_empty() {
            series.push(Series {
                kind,
                map: Some(map),
                source: life.source,
                points,
            });
        }
    }
}

/// The figures of a map in snapshots; the series is told to be of the first of them.
fn of_shots(shots: &[Shot<'_>], map: usize, series: &mut Vec<Series>) {
    let kinds: [Figure<Record>; 4] = [
        (SeriesKind::Len, |record| Some(record.len as f64)),
        (SeriesKind::Capacity, |record| Some(record.capacity as f64)),
        (SeriesKind::Storage, |record| Some(record.allocated as f64)),
        (SeriesKind::HoleDensity, |record| record.hole_density),
    ];
    let Some(source) = shots
        .iter()
        .find(|shot| shot.t_ns.is_some())
        .map(|shot| shot.source)
    else {
        return;
    };
    for (kind, value) in kinds {
        let points: Vec<Point> = shots
            .iter()
            .filter_map(|shot| {
                Some(Point {
                    t_ns: shot.t_ns?,
                    value: value(shot.record)?,
                })
            })
            .collect();
        if !points.is_empty() {
            series.push(Series {
                kind,
                map: Some(map),
                source,
                points,
            });
        }
    }
}

fn map_track(
    track: &Track<'_>,
    lives: &[&Life],
    lossless: &[bool],
    stacks: &mut Stacks,
) -> MapTrack {
    let shot = track.shots.last();
    let record = shot.map(|shot| shot.record);
    let life = lives.iter().max_by_key(|life| life.last);
    // Whichever is the later.
    let later = match (shot, life) {
        (Some(shot), Some(life)) => shot.t_ns.is_none_or(|t_ns| t_ns >= life.last),
        (Some(_), None) => true,
        _ => false,
    };
    let of_record = |value: fn(&Record) -> u64| record.map(value);
    let len = life.and_then(|life| life.len);
    let slots = life.and_then(|life| life.slots());
    let name = lives.iter().find_map(|life| life.name.clone());
    let heat = track
        .shots
        .iter()
        .rev()
        .find_map(|shot| heat(shot.record.bucket_live.as_deref()?, shot.t_ns?));
    let chains = track
        .shots
        .iter()
        .rev()
        .map(|shot| &shot.record.chain_lengths)
        .find(|lengths| !lengths.is_empty())
        .cloned()
        .unwrap_or_default();
    let blocks = track
        .shots
        .iter()
        .rev()
        .find_map(|shot| shot.record.blocks.as_ref());
    let mut list: Vec<(u64, u64, Rc<str>)> = Vec::new();
    for kind in blocks.into_iter().flatten() {
        let word: Rc<str> = match kind.kind.as_str() {
            "old" => "old buckets".into(),
            other => shortened(other).into(),
        };
        for run in &kind.runs {
            let room = BLOCKS.saturating_sub(list.len()) as u64;
            for at in 0..run.count.min(room) {
                let start = run.start.wrapping_add(at.wrapping_mul(run.stride));
                list.push((start, run.size, Rc::clone(&word)));
            }
        }
    }
    list.sort();
    let stack = track
        .shots
        .iter()
        .rev()
        .find(|shot| !shot.record.allocated_at.is_empty())
        .and_then(|shot| stacks.id(&frames(&shot.record.allocated_at)));
    MapTrack {
        address: track.address,
        type_name: track.type_name.clone(),
        name: track
            .shots
            .iter()
            .rev()
            .find_map(|shot| shot.record.name.clone())
            .or(name),
        allocated_at: stack.map(|stack| stack as usize),
        extent: (track.first <= track.last).then_some((track.first, track.last)),
        len: if later {
            of_record(|map| map.len)
        } else {
            len.or(of_record(|map| map.len))
        },
        capacity: if later {
            of_record(|map| map.capacity)
        } else {
            slots.or(of_record(|map| map.capacity))
        },
        allocated: of_record(|map| map.allocated),
        reclaimable: record.and_then(|map| map.reclaimable),
        growths: lives.iter().map(|life| life.growths).max().unwrap_or(0),
        heat,
        chains,
        blocks: list,
        exact: record.is_none_or(|map| map.exact)
            && lives
                .iter()
                .all(|life| lossless.get(life.source).copied().unwrap_or(false)),
    }
}

/// Live slots in at most [`CELLS`] cells.
fn heat(text: &str, t_ns: u64) -> Option<Heat> {
    let mut all = 0_u64;
    let mut by_live = vec![0_u64; 9];
    for run in digits(text) {
        let (live, count) = run?;
        all = all.checked_add(count)?;
        *by_live.get_mut(usize::from(live))? += count;
    }
    let most = all.div_ceil(CELLS).max(1);
    let most = u32::try_from(most).ok()?;
    let mut cells = Vec::new();
    let mut cell = Cell::default();
    for run in digits(text) {
        let (live, mut left) = run?;
        while left > 0 {
            let room = u64::from(most - cell.buckets).min(left);
            left -= room;
            let room = room as u32;
            cell.buckets += room;
            cell.live = cell.live.checked_add(u32::from(live).checked_mul(room)?)?;
            if cell.buckets == most {
                cells.push(cell);
                cell = Cell::default();
            }
        }
    }
    if cell.buckets > 0 {
        cells.push(cell);
    }
    Some(Heat {
        t_ns,
        slots: 8,
        cells,
        by_live,
    })
}

/// Frames of texts such as `main.load cache.go:42`.
fn frames(texts: &[Rc<str>]) -> Vec<Frame> {
    texts
        .iter()
        .map(|text| {
            let parts = text.rsplit_once(' ').and_then(|(function, place)| {
                let (file, line) = place.rsplit_once(':')?;
                Some((function, file, line.parse().ok()?))
            });
            let (function, file, line) = parts.unwrap_or((text, "", 0));
            Frame {
                function: shortened(function).to_owned(),
                file: shortened(file).to_owned(),
                line,
                inlined: false,
            }
        })
        .collect()
}

/// Leaves as many instants as can be shown: writes go before the rest.
fn thin(timeline: &mut Timeline) {
    let all = timeline.instants.len();
    if all <= INSTANTS {
        return;
    }
    let is_write = |instant: &Instant| matches!(instant.op, Some(Op::Assign | Op::Delete));
    let notable = timeline
        .instants
        .iter()
        .filter(|instant| !is_write(instant))
        .count();
    let stride = |of: usize, room: usize| of.div_ceil(room.max(1)).max(1);
    let (of_notable, of_writes) = match notable < INSTANTS {
        true => (1, stride(all - notable, INSTANTS - notable)),
        false => (stride(notable, INSTANTS), usize::MAX),
    };
    let (mut notable, mut writes) = (0, 0);
    timeline.instants.retain(|instant| {
        let (seen, stride) = match is_write(instant) {
            true => (&mut writes, of_writes),
            false => (&mut notable, of_notable),
        };
        *seen += 1;
        stride != usize::MAX && (*seen - 1) % stride == 0
    });
    timeline.notes.push(format!(
        "{} of {} marks are shown, evenly chosen, growths before writes; figures and findings \
         count all.",
        thousands(timeline.instants.len() as u64),
        thousands(all as u64)
    ));
}

/// The first 16 bytes of what a file unpacks to; fewer where it has no more.
fn first_bytes(mut file: impl std::io::Read) -> Vec<u8> {
    let mut head = Vec::new();
    if file.by_ref().take(2).read_to_end(&mut head).is_err() {
        return Vec::new();
    }
    let packed = head == [0x1f, 0x8b];
    let file = std::io::Cursor::new(head).chain(file);
    let mut head = Vec::new();
    // What cannot be read is for the reader of the whole to tell.
    let _ = match packed {
        true => flate2::read::MultiGzDecoder::new(file)
            .take(16)
            .read_to_end(&mut head),
        false => file.take(16).read_to_end(&mut head),
    };
    head
}

/// A trace of Go 1.21 or before: `go 1.21 trace`.
fn is_v1(head: &[u8]) -> bool {
    head.strip_prefix(b"go 1.")
        .and_then(|rest| rest.split(|byte| *byte == b' ').next())
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u32>().ok())
        .is_some_and(|release| release < 22)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pprof::{Origin, Placement, ValueType};

    fn heap(time_ns: i64) -> Profile {
        Profile {
            kind: Kind::Heap,
            origin: Origin::Proto,
            sample_types: vec![ValueType {
                name: "inuse_space".into(),
                unit: "bytes".into(),
            }],
            period: 1,
            period_type: None,
            time_ns: Some(time_ns),
            duration_ns: 0,
            last_gc_ns: None,
            samples: Vec::new(),
            locations: Vec::new(),
            program: None,
            build_id: None,
            placement: Placement::default(),
            notes: Vec::new(),
        }
    }

    fn traced() -> Builder {
        let mut builder = Builder::new();
        let mut trace = source(SourceKind::Trace, "trace", "ticks of 64 ns");
        trace.extent = Some((1_000, 90_000));
        let at = builder.push(trace);
        builder.walls.add(at, 1_000, 5_000_001_000, 200).unwrap();
        builder.ends = vec![10_000, 20_000, 50_000, 80_000];
        builder
    }

    #[test]
    fn a_heap_profile_without_its_collection_lies_between_two() {
        let mut builder = traced();
        builder.profile("heap", heap(5_000_060_000), Vec::new());
        let timeline = builder.finish();
        let of = &timeline.sources[1];
        assert_eq!(of.extent, Some((20_000, 50_000)));
        assert_eq!(of.error_ns, Some(30_200));
        let mark = &timeline.instants[0];
        assert_eq!((mark.t_ns, mark.until_ns), (20_000, 50_000));
        // No point in a series: nobody knows when it was so.
        assert!(timeline.series.is_empty());
        // Where the trace does not tell, nothing is claimed.
        for time in [5_000_015_000, 5_000_095_000] {
            let mut builder = traced();
            builder.profile("heap", heap(time), Vec::new());
            let timeline = builder.finish();
            assert_eq!(timeline.sources[1].error_ns, None);
            assert!(timeline.sources[1].mapping.contains("nothing tells"));
        }
    }

    #[test]
    fn a_text_tells_the_last_collection_or_the_one_before() {
        // The one before from the text's own list, else from the trace, else unknown.
        for (pauses, last, from) in [
            (
                vec![5_000_020_000, 5_000_045_000, 5_000_050_000],
                50_000,
                45_000,
            ),
            (vec![], 52_000, 20_000),
            (vec![5_000_050_000], 50_000, 20_000),
        ] {
            let mut builder = traced();
            let mut profile = heap(5_000_060_000);
            profile.last_gc_ns = Some(5_000_000_000 + last);
            builder.profile("heap", profile, pauses);
            let timeline = builder.finish();
            let of = &timeline.sources[1];
            let gc = last as u64;
            assert_eq!(of.extent, Some((from, gc)));
            assert_eq!(of.error_ns, Some(200 + gc - from));
            assert!(
                of.mapping.contains("or the one before it"),
                "{}",
                of.mapping
            );
        }
        let mut builder = traced();
        builder.ends.clear();
        let mut profile = heap(5_000_060_000);
        profile.last_gc_ns = Some(5_000_050_000);
        builder.profile("heap", profile, vec![5_000_050_000]);
        let timeline = builder.finish();
        let of = &timeline.sources[1];
        assert_eq!((of.extent, of.error_ns), (Some((50_000, 50_000)), None));
        assert!(of.mapping.contains("which nothing tells"), "{}", of.mapping);
        assert!(timeline.series.is_empty());
    }

    #[test]
    fn a_profile_of_another_program_is_left_out() {
        let mut builder = traced();
        for (path, program) in [("mine", "/a/one"), ("theirs", "/a/two")] {
            let mut profile = heap(5_000_060_000);
            profile.program = Some(program.into());
            builder.profile(path, profile, vec![5_000_050_000]);
        }
        let timeline = builder.finish();
        assert_eq!(timeline.sources[1].refused, None);
        let said = timeline.sources[2].refused.as_deref().unwrap();
        assert!(said.contains("of another program than mine"), "{said}");
        assert_eq!(timeline.instants.len(), 1);
    }

    #[test]
    fn the_error_of_a_trace_covers_how_far_stamps_ran_ahead() {
        for (late, allocations, error, word) in [
            (0, 0, 1_000, "by up to 1 us"),
            (320, 0, 1_000, "by 320 ns was seen"),
            (181_000, 5, 181_000, "by 181,000 ns was seen"),
            (0, 5, 1_000, "none was seen"),
        ] {
            let mut builder = Builder::new();
            let at = builder.push(source(SourceKind::Trace, "trace", "ticks of 64 ns"));
            let mut facts = Facts::new(at, 0, Stacks::default(), Vec::new());
            facts.objects_seen = allocations;
            builder.take(at, facts, Some(late), 0, Vec::new());
            let of = &builder.sources[at];
            assert_eq!(of.error_ns, Some(error));
            let notes = of.notes.join(" ");
            assert!(notes.contains(word), "{notes}");
            assert_eq!(notes.contains("1 us"), late == 0 && allocations == 0);
        }
    }

    #[test]
    fn a_window_ends_when_the_profile_says_but_a_cpu_profile_begins_then() {
        for (kind, span) in [
            (Kind::Cpu, (30_000, 50_000)),
            (Kind::Heap, (10_000, 30_000)),
        ] {
            let mut builder = traced();
            let mut profile = heap(5_000_030_000);
            profile.kind = kind;
            profile.duration_ns = 20_000;
            builder.profile("p", profile, Vec::new());
            let timeline = builder.finish();
            assert_eq!(timeline.sources[1].extent, Some(span));
            let interval = &timeline.intervals[0];
            assert_eq!((interval.begin_ns, interval.end_ns), span);
        }
    }
}
