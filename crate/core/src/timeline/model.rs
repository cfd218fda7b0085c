//! What the page, Perfetto, pprof and JSON show alike.

use std::rc::Rc;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use crate::events::{Frame, Op};
use crate::metrics::hex;

/// Everything on one clock. Times are nanoseconds of the target's `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Whose.
    pub subject: Subject,
    /// The first and the last instant anything is known of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extent: Option<(u64, u64)>,
    /// What wall clock times mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Wall>,
    /// Where it all comes from, those that were refused included.
    pub sources: Vec<Source>,
    /// The maps that are shown, the largest first.
    pub maps: Vec<MapTrack>,
    /// Figures over time.
    pub series: Vec<Series>,
    /// What lasted, in the order of beginning.
    pub intervals: Vec<Interval>,
    /// What happened, in the order of time.
    pub instants: Vec<Instant>,
    /// Call stacks, leaf first, named by their index.
    pub stacks: Vec<Rc<[Frame]>>,
    /// Bytes that hold no entry, by whom.
    pub waste: Vec<Waste>,
    /// What follows from it, the gravest first.
    pub findings: Vec<Finding>,
    /// Maps, events or rows that were left out for the sake of size: sentences.
    pub notes: Vec<String>,
}

/// The process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// `go1.27.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// `amd64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// The kernel's name for the boot whose monotonic clock this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// What to add to a monotonic time for nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wall {
    /// Wall minus monotonic.
    pub offset_ns: i64,
    /// Within how many nanoseconds that is known.
    pub error_ns: u64,
    /// The source it comes from: an index.
    pub source: usize,
}

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A snapshot or a scan.
    Snapshot,
    /// An event file of `go-map-trace`.
    Events,
    /// The flight recorder's ring.
    Ring,
    /// An execution trace.
    Trace,
    /// A heap or allocs profile.
    Heap,
    /// A CPU profile.
    Cpu,
    /// A goroutine, block or mutex profile.
    Waiting,
}

/// A source, and how it came onto the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// The file, as typed; empty for the live target.
    pub path: String,
    /// How its times became `CLOCK_MONOTONIC`: a phrase ("as recorded", "ticks of 64 ns",
    /// "wall clock less the offset of events.jsonl").
    pub mapping: String,
    /// What was added to its own times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_ns: Option<i64>,
    /// Within how many nanoseconds its times are right; `None` where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ns: Option<u64>,
    /// When its first and last record were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extent: Option<(u64, u64)>,
    /// How many records it gave.
    pub records: u64,
    /// Threads of the program ran while it was taken: nothing of it is exact.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub racing: bool,
    /// Why it is not on the clock, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What else the reader should know: sentences (lost records, a cut tail, duplicates).
    pub notes: Vec<String>,
}

/// A map.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MapTrack {
    /// Its header.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// Its type as Go prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_name: Option<Rc<str>>,
    /// An expression or a holder that leads to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Rc<str>>,
    /// Where its storage was allocated: a stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_at: Option<usize>,
    /// When it was first and last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extent: Option<(u64, u64)>,
    /// What was last known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Bytes of its blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
    /// Bytes a rebuild would give back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable: Option<u64>,
    /// How often it grew.
    pub growths: u64,
    /// Its buckets or groups at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heat: Option<Heat>,
    /// Main buckets with 0, 1, 2 … overflow buckets, of a classic map.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<u64>,
    /// Its blocks by address: begin, length in bytes, what it is ("buckets", "overflow",
    /// "groups", "old buckets", "directory").
    #[serde(serialize_with = "blocks")]
    pub blocks: Vec<(u64, u64, Rc<str>)>,
    /// Every figure of it is certain.
    pub exact: bool,
}

/// Live slots of each bucket (or group) of a map in storage order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Heat {
    /// When.
    pub t_ns: u64,
    /// Slots of one bucket.
    pub slots: u8,
    /// Runs of neighbours that are drawn as one.
    pub cells: Vec<Cell>,
    /// Buckets with 0, 1, 2 … live slots; empty where only the cells are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_live: Vec<u64>,
}

/// Some neighbouring buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// How many.
    pub buckets: u32,
    /// Their live slots.
    pub live: u32,
}

/// What a series measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeriesKind {
    /// `len` of a map.
    Len,
    /// Slots of a map.
    Capacity,
    /// Bytes of a map's blocks.
    Storage,
    /// Slots that are not live, of all slots: 0 to 1.
    HoleDensity,
    /// Bytes of live and unswept objects (the execution trace's HeapAlloc).
    HeapLive,
    /// Where the next collection begins.
    HeapGoal,
    /// Bytes of maps' storage in the process, as AllocFree events tell.
    MapStorage,
    /// Sampled bytes in use, of a heap profile.
    HeapInUse,
}

/// A figure over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// What.
    pub kind: SeriesKind,
    /// The map's index in [`Timeline::maps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<usize>,
    /// The source's index in [`Timeline::sources`].
    pub source: usize,
    /// In the order of time.
    pub points: Vec<Point>,
}

/// A figure at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// When.
    pub t_ns: u64,
    /// How much.
    pub value: f64,
}

/// Something that lasted: a collection, a stopped world, a region, a profile's window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interval {
    /// The lane it is drawn on ("GC", "STW", "task checkout", "profile heap.pb.gz").
    pub lane: Rc<str>,
    /// What it was.
    pub name: Rc<str>,
    /// Its begin.
    pub begin_ns: u64,
    /// Its end; of what did not end, the source's last time.
    pub end_ns: u64,
    /// Whether both are the true ones, and not the edges of the record.
    pub whole: bool,
    /// The goroutine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goid: Option<u64>,
    /// The source's index.
    pub source: usize,
}

/// Something that happened. `t_ns` to `until_ns` if it is only known to have happened between.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instant {
    /// When, or not before.
    pub t_ns: u64,
    /// Not after; equal to `t_ns` where that is known.
    pub until_ns: u64,
    /// Of a map: what happened to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<Op>,
    /// The map's index in [`Timeline::maps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<usize>,
    /// The text of a user's log, and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Rc<str>>,
    /// The goroutine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goid: Option<u64>,
    /// The stack's index in [`Timeline::stacks`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<u32>,
    /// Entries of the map then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Slots before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_capacity: Option<u64>,
    /// Slots after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Bytes that were allocated or let go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The source's index.
    pub source: usize,
}

/// Bytes of maps that hold no entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waste {
    /// The map's type.
    pub type_name: Rc<str>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Rc<str>>,
    /// Where its storage was allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<usize>,
    /// Which kind of bytes: "empty slots", "tombstones", "overflow buckets", "old buckets".
    pub component: &'static str,
    /// How many.
    pub bytes: u64,
    /// How many maps.
    pub maps: u64,
}

/// A sentence, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// "map main.cache grew 14 times in 2.1 s; 11 of them at checkout.go:31".
    pub text: String,
    /// Whether it is proved, or only goes together.
    pub proved: bool,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// A fact under a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The source's index.
    pub source: usize,
    /// The fact: a phrase with its figures.
    pub text: String,
    /// When, where it has a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<u64>,
}

/// `["0x…", bytes, "groups"]` each.
fn blocks<S: Serializer>(blocks: &[(u64, u64, Rc<str>)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(blocks.len()))?;
    for (address, bytes, kind) in blocks {
        list.serialize_element(&(format_args!("{address:#x}"), bytes, kind))?;
    }
    list.end()
}

impl SourceKind {
    /// As JSON and the text spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Events => "events",
            Self::Ring => "ring",
            Self::Trace => "trace",
            Self::Heap => "heap",
            Self::Cpu => "cpu",
            Self::Waiting => "waiting",
        }
    }
}

impl SeriesKind {
    /// What it measures, and its unit.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Len => ("len", "entries"),
            Self::Capacity => ("capacity", "slots"),
            Self::Storage => ("storage", "bytes"),
            Self::HoleDensity => ("hole density", ""),
            Self::HeapLive => ("heap live", "bytes"),
            Self::HeapGoal => ("heap goal", "bytes"),
            Self::MapStorage => ("map storage", "bytes"),
            Self::HeapInUse => ("heap in use (sampled)", "bytes"),
        }
    }
}
