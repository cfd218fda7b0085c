//! What a trace tells of maps and of the collector, summed up as it goes by.

use std::collections::HashMap;

use serde::Serialize;

use super::chance::{Chance, before};
use super::{BEFORE, Fact, Lane, Sink};
use crate::events::Frame;

/// The category of logs that tell of maps: `created map=0xc000012120 len=0`.
pub const LIFECYCLE: &str = "map-lifecycle";

/// How much is kept of a file of any size.
const RANGES: usize = 1 << 20;
const POINT_BYTES: usize = 96 << 20;
const CATEGORIES: usize = 1024;
const OPERATIONS: usize = 256;
const TYPES: usize = 4096;
const LIVES: usize = 8192;
const STEPS: usize = 256;
const ALL_STEPS: usize = 1 << 17;
const OBJECTS: usize = 4 << 20;
const TIMES: usize = 4 << 20;
const INTERVALS: usize = 1 << 16;
/// A longer text is cut where it is kept.
const TEXT: usize = 4096;
/// Frames of a step that are kept.
const FRAMES: usize = 32;

/// `trace.Log`, as it goes by.
#[derive(Debug, Serialize)]
pub struct LogRow<'a> {
    /// When.
    pub t_ns: u64,
    /// Who; 0 for nobody.
    pub goid: u64,
    /// Its category.
    pub category: &'a str,
    /// Its text.
    pub message: &'a str,
}

/// Something that lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Its begin; the trace's own, where the true one is before that.
    pub begin_ns: u64,
    /// Its end, if the trace has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ns: Option<u64>,
    /// It went on when the trace began.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub began_before: bool,
}

impl Range {
    /// Nanoseconds, where both ends are known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        Some(self.end_ns?.saturating_sub(self.begin_ns))
    }
}

/// Figures over time, packed: differences as numbers of variable length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Points {
    bytes: Vec<u8>,
    last: (u64, u64),
    /// How many there were.
    pub count: u64,
    /// How many of them are kept: the first ones.
    pub kept: u64,
    /// The least one.
    pub least: Option<u64>,
    /// The greatest one.
    pub most: Option<u64>,
}

impl Points {
    fn push(&mut self, t_ns: u64, value: u64) {
        self.count += 1;
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
        if self.bytes.len() > POINT_BYTES {
            return;
        }
        self.kept += 1;
        let (time, number) = self.last;
        put(&mut self.bytes, t_ns.wrapping_sub(time));
        let difference = value.wrapping_sub(number);
        put(
            &mut self.bytes,
            (difference << 1) ^ ((difference as i64 >> 63) as u64),
        );
        self.last = (t_ns, value);
    }

    /// The same of a goal: 0 stands for none (GOGC=off), and is no least one.
    fn push_goal(&mut self, t_ns: u64, value: u64) {
        let range = (self.least, self.most);
        self.push(t_ns, value);
        if value == 0 {
            (self.least, self.most) = range;
        }
    }

    /// Time and figure of each that is kept.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut cursor = super::wire::Cursor::new(&self.bytes);
        let mut last = (0_u64, 0_u64);
        std::iter::from_fn(move || {
            let time = cursor.uvarint()?;
            let folded = cursor.uvarint()?;
            let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
            last = (last.0.wrapping_add(time), last.1.wrapping_add(difference));
            Some(last)
        })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What an object of a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The header: runtime.hmap, maps.Map.
    Header,
    /// Buckets of a classic map, one or an array of them.
    Buckets,
    /// What leads a classic map to its overflow buckets: mapextra and its slices.
    Extra,
    /// Groups of a Swiss map.
    Groups,
    /// The descriptor of a Swiss map's table.
    Table,
    /// The directory of a Swiss map's tables.
    Directory,
}

impl Kind {
    /// The kind of object that the runtime allocates under this type, if it is a map's.
    /// The names are those of the compiler (cmd/compile/internal/reflectdata/map*.go)
    /// and of the runtime; a type of the program's own that is called `maps.Map` and has
    /// the same size cannot be told from the runtime's.
    #[must_use]
    pub fn of(type_name: &str, type_size: u64) -> Option<Self> {
        if type_name.starts_with("map.bucket[") {
            return Some(Self::Buckets);
        }
        if type_name.starts_with("map.group[") {
            return Some(Self::Groups);
        }
        match (type_name, type_size) {
            ("runtime.hmap" | "maps.Map", 48) => Some(Self::Header),
            ("maps.table", 32) => Some(Self::Table),
            ("*maps.table", 8) => Some(Self::Directory),
            ("runtime.mapextra" | "[]*runtime.bmap", 24) | ("*runtime.bmap", 8) => {
                Some(Self::Extra)
            }
            _ => None,
        }
    }

    /// The word in tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Buckets => "buckets",
            Self::Extra => "extra",
            Self::Groups => "groups",
            Self::Table => "table",
            Self::Directory => "directory",
        }
    }
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Bytes of their slots, as far as these are known.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn take(&mut self, bytes: u64) {
        self.objects = self.objects.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Objects of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeRow {
    /// As the runtime names it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What they are.
    pub kind: Kind,
    /// There when the trace began.
    pub existed: Amount,
    /// Allocated while it ran.
    pub allocated: Amount,
    /// Freed, of both.
    pub freed: Amount,
    /// There at its end.
    pub live: Amount,
    /// The most bytes there were at a time.
    pub peak_bytes: u64,
    /// When that was.
    pub peak_ns: u64,
    /// Objects whose slot is not known; they count with 0 bytes.
    pub without_size: u64,
    /// Allocations before the first collection (0), after it (1), and so on: the first
    /// and the last interval that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_gcs: Option<(u64, u64)>,
}

/// What happened to maps' storage between the begins of two collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// How many collections had begun.
    pub gcs: u64,
    /// Allocated.
    pub allocated: Amount,
    /// Freed.
    pub freed: Amount,
    /// There at its end.
    pub live: Amount,
}

/// One thing that is told of a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// When.
    pub t_ns: u64,
    /// Who; absent for nobody and the sweeper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goid: Option<u64>,
    /// `allocated`, `existed` and `freed` of the header; else the first word of a log.
    pub op: String,
    /// The log's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the log was made, leaf first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Frame>,
}

/// What is told of the map at one address. An address may be used again: a step
/// `allocated` after one `freed` begins another map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// Steps that there was no room for.
    pub dropped: u64,
}

/// An object that is there.
#[derive(Debug, Clone, Copy)]
struct Object {
    type_index: u32,
    bytes: u64,
    t_ns: u64,
    goid: u64,
    existed: bool,
}

/// A sum of logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub logs: u64,
    /// When the first was.
    pub first_ns: u64,
    /// When the last was.
    pub last_ns: u64,
}

/// Whether something happens before collections more often than by chance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// What: `allocations of map storage`, `map-lifecycle logs of assigns and deletes`.
    pub what: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub chance: Chance,
}

/// Takes what goes by; false ends the reading.
type Listener<'s> = &'s mut dyn FnMut(&LogRow<'_>) -> bool;

/// The sum.
#[derive(Default)]
pub struct Summary<'s> {
    log: Option<Listener<'s>>,
    /// The map that is asked for; its steps are kept whole.
    only: Option<u64>,
    /// Facts.
    pub facts: u64,
    /// When the first and the last one were.
    pub extent: Option<(u64, u64)>,
    /// The wall clock less the trace's, of the first generation that tells.
    pub wall_offset_ns: Option<i128>,
    /// The mark phases of collections.
    pub gc: Vec<Range>,
    /// Stops of the world, and why.
    pub stw: Vec<(Range, u16)>,
    reasons: Vec<String>,
    /// Live and unswept bytes.
    pub heap_alloc: Points,
    /// Where the next collection begins.
    pub heap_goal: Points,
    /// Logs by category.
    pub categories: HashMap<String, Count>,
    /// Logs of [`LIFECYCLE`] by their first word.
    pub operations: HashMap<String, u64>,
    /// Logs whose category or word is not among those.
    pub other_logs: u64,
    /// Logs, tasks and regions.
    pub logs: u64,
    /// Tasks that were begun.
    pub tasks: u64,
    /// Regions that were begun.
    pub regions: u64,
    /// Allocations and frees of anything: whether the trace tells of them.
    pub objects: u64,
    /// By type.
    pub types: Vec<TypeRow>,
    type_indices: HashMap<String, u32>,
    live: HashMap<u64, Object>,
    /// All storage of maps that is there.
    pub storage: Amount,
    /// The most there was, and when.
    pub peak: (u64, u64),
    /// By collection.
    pub intervals: Vec<Interval>,
    /// What is told of maps, by address.
    pub lives: HashMap<u64, Life>,
    all_steps: usize,
    growths: Vec<u64>,
    writes: Vec<u64>,
    /// Something there was no room for: sentences without a full stop.
    limits: Vec<&'static str>,
}

impl<'s> Summary<'s> {
    /// `only`: the map whose steps are wanted; `log`: who is told of each log.
    #[must_use]
    pub fn new(only: Option<u64>, log: Option<Listener<'s>>) -> Self {
        Self {
            log,
            only,
            ..Self::default()
        }
    }

    /// Why the world was stopped, by the number in [`Summary::stw`].
    #[must_use]
    pub fn reason(&self, number: u16) -> &str {
        self.reasons
            .get(usize::from(number))
            .map_or("other", |reason| reason)
    }

    /// What there was no room for: sentences without a full stop.
    #[must_use]
    pub fn limits(&self) -> &[&'static str] {
        &self.limits
    }

    /// Whether the trace has allocations and frees.
    #[must_use]
    pub fn has_objects(&self) -> bool {
        self.objects != 0
    }

    /// Whether storage and writes of maps come before collections more often than by
    /// chance; of what the trace does not tell, nothing.
    #[must_use]
    pub fn clusters(&self) -> Vec<Cluster> {
        let Some(extent) = self.extent else {
            return Vec::new();
        };
        let begins: Vec<u64> = self
            .gc
            .iter()
            .filter(|gc| !gc.began_before)
            .map(|gc| gc.begin_ns)
            .collect();
        let of = |what, times: &[u64]| {
            (!times.is_empty()).then(|| Cluster {
                what,
                chance: before(times, &begins, extent),
            })
        };
        [
            of(
                "allocations of map storage (buckets, groups, directories)",
                &self.growths,
            ),
            of("map-lifecycle logs of assigns and deletes", &self.writes),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// To be called when all was read.
    pub fn finish(&mut self) {
        self.log = None;
        let storage = self.storage;
        if let Some(last) = self.intervals.last_mut() {
            last.live = storage;
        }
        // Frees come with the sweep, in no order of allocation.
        self.live = HashMap::new();
        self.growths.sort_unstable();
        self.writes.sort_unstable();
    }

    fn limit(&mut self, what: &'static str) {
        if !self.limits.contains(&what) {
            self.limits.push(what);
        }
    }

    fn interval(&mut self) -> &mut Interval {
        let gcs = self.gc.len() as u64;
        let fresh = self.intervals.last().is_none_or(|last| last.gcs != gcs);
        if fresh && self.intervals.len() >= INTERVALS {
            self.limit("more collections than are kept: the last interval has the rest");
        } else if fresh {
            self.intervals.push(Interval {
                gcs,
                ..Interval::default()
            });
        }
        let last = self.intervals.len().saturating_sub(1);
        // There is one: it was just pushed, or there are many.
        &mut self.intervals[last]
    }

    fn begin(&mut self, t_ns: u64, lane: Lane, reason: &str) {
        let range = Range {
            begin_ns: t_ns,
            end_ns: None,
            began_before: reason == BEFORE,
        };
        let full = match lane {
            Lane::Gc => self.gc.len() >= RANGES,
            Lane::StopTheWorld => self.stw.len() >= RANGES,
        };
        if full {
            self.limit("more collections or stops than are kept");
            return;
        }
        if lane == Lane::Gc {
            // What is there now is there at the end of the interval before.
            let storage = self.storage;
            self.interval().live = storage;
            self.gc.push(range);
            return;
        }
        let number = self.reasons.iter().position(|known| known == reason);
        let number = number.unwrap_or_else(|| {
            if self.reasons.len() < OPERATIONS {
                self.reasons.push(cut(reason).to_owned());
                self.reasons.len() - 1
            } else {
                OPERATIONS
            }
        });
        self.stw
            .push((range, u16::try_from(number).unwrap_or(u16::MAX)));
    }

    fn end(&mut self, t_ns: u64, lane: Lane) {
        let last = match lane {
            Lane::Gc => self.gc.last_mut(),
            Lane::StopTheWorld => self.stw.last_mut().map(|(range, _)| range),
        };
        if let Some(range) = last.filter(|range| range.end_ns.is_none()) {
            range.end_ns = Some(t_ns);
        }
    }

    fn log(&mut self, row: &LogRow<'_>, stack: &dyn Fn() -> Vec<Frame>) -> bool {
        self.logs += 1;
        if let Some(count) = self.categories.get_mut(row.category) {
            count.logs += 1;
            count.last_ns = row.t_ns;
        } else if self.categories.len() < CATEGORIES {
            let count = Count {
                logs: 1,
                first_ns: row.t_ns,
                last_ns: row.t_ns,
            };
            self.categories.insert(cut(row.category).to_owned(), count);
        } else {
            self.other_logs += 1;
        }
        if row.category == LIFECYCLE {
            self.lifecycle(row, stack);
        }
        self.log.as_mut().is_none_or(|log| log(row))
    }

    fn lifecycle(&mut self, row: &LogRow<'_>, stack: &dyn Fn() -> Vec<Frame>) {
        let op = operation(row.message);
        if let Some(count) = self.operations.get_mut(&op) {
            *count += 1;
        } else if self.operations.len() < OPERATIONS {
            self.operations.insert(op.clone(), 1);
        }
        if is_write(&op) {
            if self.writes.len() < TIMES {
                self.writes.push(row.t_ns);
            } else {
                self.limit("more logs of assigns and deletes than are tested: the first ones are");
            }
        }
        let Some(address) = address(row.message) else {
            return;
        };
        if self.only.is_some_and(|only| only != address) {
            return;
        }
        let first = !self.lives.contains_key(&address);
        // The log comes after the allocation of what it names.
        let header = self
            .live
            .get(&address)
            .copied()
            .filter(|object| first && self.is_header(object));
        if let Some(object) = header {
            self.step(
                address,
                Step {
                    t_ns: object.t_ns,
                    goid: (object.goid != 0).then_some(object.goid),
                    op: if object.existed {
                        "existed"
                    } else {
                        "allocated"
                    }
                    .into(),
                    message: None,
                    stack: Vec::new(),
                },
            );
        }
        let mut stack = stack();
        stack.truncate(FRAMES);
        self.step(
            address,
            Step {
                t_ns: row.t_ns,
                goid: (row.goid != 0).then_some(row.goid),
                op,
                message: Some(cut(row.message).to_owned()),
                stack,
            },
        );
    }

    fn is_header(&self, object: &Object) -> bool {
        self.types
            .get(object.type_index as usize)
            .is_some_and(|of| of.kind == Kind::Header)
    }

    fn step(&mut self, address: u64, step: Step) {
        if !self.lives.contains_key(&address) && self.lives.len() >= LIVES {
            self.limit("more maps are named than are kept");
            return;
        }
        let whole = self.only == Some(address);
        let life = self.lives.entry(address).or_default();
        let room = if whole { ALL_STEPS } else { STEPS };
        if life.steps.len() >= room || self.all_steps >= ALL_STEPS {
            life.dropped += 1;
            return;
        }
        self.all_steps += 1;
        life.steps.push(step);
    }

    /// The row of a type, if it is one of maps.
    fn type_index(&mut self, name: &str, size: u64) -> Option<u32> {
        let kind = Kind::of(name, size)?;
        if let Some(index) = self.type_indices.get(name) {
            return Some(*index);
        }
        if self.types.len() >= TYPES {
            self.limit("more types of maps than are kept");
            return None;
        }
        let index = self.types.len() as u32;
        self.type_indices.insert(name.to_owned(), index);
        self.types.push(TypeRow {
            type_name: cut(name).to_owned(),
            kind,
            existed: Amount::default(),
            allocated: Amount::default(),
            freed: Amount::default(),
            live: Amount::default(),
            peak_bytes: 0,
            peak_ns: 0,
            without_size: 0,
            between_gcs: None,
        });
        Some(index)
    }

    fn allocated(&mut self, address: u64, object: Object, sized: bool) {
        let gcs = self.gc.len() as u64;
        let Object {
            type_index,
            bytes,
            t_ns,
            existed,
            ..
        } = object;
        // A slot cannot hold two objects: the free of the one before is not in the trace.
        if let Some(before) = self.live.get(&address).copied() {
            self.freed(address, before, t_ns);
        }
        if self.live.len() >= OBJECTS {
            self.limit("more objects of maps at a time than are kept: what is freed is too little");
        } else {
            self.live.insert(address, object);
        }
        self.storage.add(bytes);
        if self.storage.bytes > self.peak.0 {
            self.peak = (self.storage.bytes, t_ns);
        }
        let mut growth = false;
        if let Some(of) = self.types.get_mut(type_index as usize) {
            of.without_size += u64::from(!sized);
            of.live.add(bytes);
            if of.live.bytes > of.peak_bytes {
                of.peak_bytes = of.live.bytes;
                of.peak_ns = t_ns;
            }
            if existed {
                of.existed.add(bytes);
            } else {
                of.allocated.add(bytes);
                let first = of.between_gcs.map_or(gcs, |between| between.0);
                of.between_gcs = Some((first, gcs));
                growth = matches!(of.kind, Kind::Buckets | Kind::Groups | Kind::Directory);
            }
        }
        if !existed {
            self.interval().allocated.add(bytes);
        }
        if growth && self.growths.len() < TIMES {
            self.growths.push(t_ns);
        } else if growth {
            self.limit("more allocations of map storage than are tested: the first ones are");
        }
        if self.is_header(&object)
            && (self.only == Some(address) || self.lives.contains_key(&address))
        {
            self.step(
                address,
                Step {
                    t_ns,
                    goid: (object.goid != 0).then_some(object.goid),
                    op: if existed { "existed" } else { "allocated" }.into(),
                    message: None,
                    stack: Vec::new(),
                },
            );
        }
    }

    fn freed(&mut self, address: u64, object: Object, t_ns: u64) {
        self.live.remove(&address);
        self.storage.take(object.bytes);
        if let Some(of) = self.types.get_mut(object.type_index as usize) {
            of.freed.add(object.bytes);
            of.live.take(object.bytes);
        }
        self.interval().freed.add(object.bytes);
        if self.is_header(&object) && self.lives.contains_key(&address) {
            self.step(
                address,
                Step {
                    t_ns,
                    goid: None,
                    op: "freed".into(),
                    message: None,
                    stack: Vec::new(),
                },
            );
        }
    }
}

impl Sink for Summary<'_> {
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        self.facts += 1;
        let t_ns = fact.t_ns();
        self.extent = Some(match self.extent {
            None => (t_ns, t_ns),
            Some((first, last)) => (first.min(t_ns), last.max(t_ns)),
        });
        match *fact {
            Fact::Clock { t_ns, wall_ns, .. } => {
                let offset = i128::from(wall_ns) - i128::from(t_ns);
                self.wall_offset_ns.get_or_insert(offset);
            }
            Fact::Begin {
                t_ns, lane, reason, ..
            } => self.begin(t_ns, lane, reason),
            Fact::End { t_ns, lane } => self.end(t_ns, lane),
            Fact::HeapAlloc { t_ns, bytes } => self.heap_alloc.push(t_ns, bytes),
            Fact::HeapGoal { t_ns, bytes } => self.heap_goal.push_goal(t_ns, bytes),
            Fact::Log {
                t_ns,
                goid,
                category,
                message,
                stack: number,
                ..
            } => {
                let row = LogRow {
                    t_ns,
                    goid,
                    category,
                    message,
                };
                return self.log(&row, &|| stack(number));
            }
            Fact::TaskBegin { .. } => self.tasks += 1,
            Fact::RegionBegin { .. } => self.regions += 1,
            Fact::TaskEnd { .. } | Fact::RegionEnd { .. } => {}
            Fact::Alloc {
                t_ns,
                goid,
                address,
                slot,
                type_name,
                type_size,
                existed,
            } => {
                self.objects += 1;
                if let Some(type_index) = self.type_index(type_name, type_size) {
                    let object = Object {
                        type_index,
                        bytes: slot.unwrap_or(0),
                        t_ns,
                        goid,
                        existed,
                    };
                    self.allocated(address, object, slot.is_some());
                }
            }
            Fact::Free { t_ns, address } => {
                self.objects += 1;
                if let Some(object) = self.live.get(&address).copied() {
                    self.freed(address, object, t_ns);
                }
            }
        }
        true
    }
}

/// A text without what exceeds [`TEXT`].
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What a log says happened: the value of `op=` or `event=`, else its first word.
fn operation(message: &str) -> String {
    let named = message.split_whitespace().find_map(|word| {
        word.strip_prefix("op=")
            .or_else(|| word.strip_prefix("event="))
    });
    let word = named.unwrap_or_else(|| {
        message
            .split(|c: char| c.is_whitespace() || matches!(c, '@' | ':' | '=' | ','))
            .next()
            .unwrap_or_default()
    });
    let mut word = word.to_lowercase();
    word.truncate(
        word.char_indices()
            .nth(32)
            .map_or(word.len(), |(index, _)| index),
    );
    word
}

/// The first address in a log.
fn address(message: &str) -> Option<u64> {
    message.match_indices("0x").find_map(|(index, _)| {
        let digits = message.get(index + 2..)?;
        let end = digits
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(digits.len());
        let digits = digits.get(..end)?;
        // Not a count or a hash's first byte.
        (digits.len() >= 5).then(|| u64::from_str_radix(digits, 16).ok())?
    })
}

fn is_write(op: &str) -> bool {
    matches!(
        op,
        "assign"
            | "assigned"
            | "set"
            | "put"
            | "insert"
            | "inserted"
            | "add"
            | "added"
            | "delete"
            | "deleted"
            | "remove"
            | "removed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_maps_are_understood() {
        for (message, op, of) in [
            (
                "created map=0xc000012120 len=0",
                "created",
                Some(0xc0_0001_2120),
            ),
            ("created@0xc000012120", "created", Some(0xc0_0001_2120)),
            (
                "map=0xc000012120 op=Grown len=9",
                "grown",
                Some(0xc0_0001_2120),
            ),
            ("deleted key=0x12", "deleted", None),
            ("", "", None),
            ("0x", "0x", None),
            ("größer 0x1ffffffffffffffff", "größer", None),
        ] {
            assert_eq!(operation(message), op, "{message}");
            assert_eq!(address(message), of, "{message}");
        }
    }

    #[test]
    fn points_come_back() {
        let mut points = Points::default();
        let all = [(5, 10), (5, 3), (1 << 60, u64::MAX), (u64::MAX, 0)];
        for (time, value) in all {
            points.push(time, value);
        }
        assert_eq!(points.iter().collect::<Vec<_>>(), all);
        assert_eq!((points.least, points.most), (Some(0), Some(u64::MAX)));
    }

    fn tell(summary: &mut Summary<'_>, facts: &[Fact<'_>]) {
        for fact in facts {
            assert!(summary.fact(fact, &|_| Vec::new()));
        }
        summary.finish();
    }

    fn alloc(t_ns: u64, address: u64, name: &'static str, size: u64, slot: u64) -> Fact<'static> {
        Fact::Alloc {
            t_ns,
            goid: 7,
            address,
            slot: Some(slot),
            type_name: name,
            type_size: size,
            existed: t_ns == 0,
        }
    }

    #[test]
    fn storage_is_summed_by_type_and_collection() {
        let mut summary = Summary::new(None, None);
        let log = |t_ns, message| Fact::Log {
            t_ns,
            goid: 7,
            task: 0,
            category: LIFECYCLE,
            message,
            stack: 0,
        };
        tell(
            &mut summary,
            &[
                alloc(0, 0xc0000, "map.group[int]int", 136, 144),
                alloc(10, 0xc1000, "maps.Map", 48, 48),
                log(12, "created map=0xc1000"),
                alloc(11, 0xc2000, "map.group[int]int", 136, 288),
                alloc(13, 0xc3000, "[]uint8", 1, 1024),
                Fact::Begin {
                    t_ns: 20,
                    lane: Lane::Gc,
                    reason: "",
                    goid: 0,
                },
                Fact::End {
                    t_ns: 30,
                    lane: Lane::Gc,
                },
                Fact::Free {
                    t_ns: 31,
                    address: 0xc2000,
                },
                Fact::Free {
                    t_ns: 32,
                    address: 0xc1000,
                },
                Fact::Free {
                    t_ns: 33,
                    address: 0xc3000,
                },
            ],
        );
        let groups = &summary.types[0];
        assert_eq!(groups.kind, Kind::Groups);
        assert_eq!((groups.existed.bytes, groups.allocated.bytes), (144, 288));
        assert_eq!((groups.freed.bytes, groups.live.bytes), (288, 144));
        assert_eq!((groups.peak_bytes, groups.peak_ns), (432, 11));
        assert_eq!(groups.between_gcs, Some((0, 0)));
        assert_eq!(summary.peak, (480, 11));
        let live: Vec<u64> = summary.intervals.iter().map(|row| row.live.bytes).collect();
        assert_eq!(live, [480, 144]);
        assert_eq!(summary.intervals[1].freed.objects, 2);
        let ops: Vec<&str> = summary.lives[&0xc1000]
            .steps
            .iter()
            .map(|step| step.op.as_str())
            .collect();
        assert_eq!(ops, ["allocated", "created", "freed"]);
    }
}
