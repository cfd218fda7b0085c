//! What an event file tells, built event by event in bounded memory: what each map
//! went through, and which calls made it grow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde::Serialize;

use super::{End, Ending, Event, EventReader, Frame, Header, Op, hex};
use crate::memory::AddressHash;

/// How much is kept of a file of any size.
#[derive(Debug, Clone, Copy)]
struct Caps {
    /// Maps; of more, the half with less new storage is summed up.
    lives: usize,
    /// Points of one map's history, and growths listed of it.
    points: usize,
    /// Points and growths of all maps together.
    all_points: usize,
    /// Distinct stacks, and distinct sets of labels.
    stacks: usize,
    /// Stacks of each map, of all maps together.
    of_lives: usize,
    /// Frames in all stacks together.
    frames: usize,
    /// Bytes of names, files and labels.
    text: usize,
    /// Goroutines, and label sets, of one stack.
    who: usize,
    /// Distinct notes of events.
    notes: usize,
}

const CAPS: Caps = Caps {
    lives: 8192,
    points: 2048,
    all_points: 1 << 19,
    stacks: 8192,
    of_lives: 1 << 16,
    frames: 1 << 19,
    text: 16 << 20,
    who: 32,
    notes: 32,
};

/// Points that each map keeps however many maps there are.
const POINTS_MIN: usize = 8;

/// A longer name is cut: no Go type or function needs it.
const NAME_MAX: usize = 4096;

/// Blocks of one map that growths replaced and that are remembered.
const REPLACED: usize = 64;

/// Events between two looks at whether the user wants to go on.
const TICK: u64 = 4096;

/// How the reading of a file ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Finish {
    /// The file was closed.
    Closed(Ending),
    /// It stops after a whole line, without the last one.
    Open,
    /// It stops in the middle of a line, which begins at this byte of the unpacked text.
    Cut(u64),
    /// What follows cannot be read, and why: a line.
    Damaged(String),
    /// The user ended the reading.
    Interrupted,
}

impl Finish {
    /// `closed`, `open`, `cut`, `damaged` or `interrupted`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::Open => "open",
            Self::Cut(_) => "cut",
            Self::Damaged(_) => "damaged",
            Self::Interrupted => "interrupted",
        }
    }

    /// The last line of a file that was closed.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Closed(ending) => Some(ending),
            _ => None,
        }
    }
}

/// The clock by which events are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Mono,
    Wall,
}

/// Texts, each kept once.
#[derive(Debug, Default)]
struct Texts {
    ids: HashMap<Rc<str>, u32>,
    texts: Vec<Rc<str>>,
    bytes: usize,
}

impl Texts {
    /// The number of a text; `None` when there is no room for another one.
    fn id(&mut self, text: &str, room: usize) -> Option<u32> {
        let text = shortened(text);
        if let Some(id) = self.ids.get(text) {
            return Some(*id);
        }
        // A text of no length takes room, too.
        let bytes = self.bytes + text.len() + 64;
        let id = u32::try_from(self.texts.len()).ok()?;
        if bytes > room {
            return None;
        }
        self.bytes = bytes;
        let text: Rc<str> = text.into();
        self.texts.push(Rc::clone(&text));
        self.ids.insert(text, id);
        Some(id)
    }

    fn get(&self, id: u32) -> &str {
        self.texts.get(id as usize).map_or("", |text| text)
    }
}

/// A text without what exceeds [`NAME_MAX`].
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A frame by the numbers of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FrameIds {
    function: u32,
    file: u32,
    line: u32,
    inlined: bool,
}

/// Stacks, each kept once.
#[derive(Debug, Default)]
struct Stacks {
    ids: HashMap<Rc<[FrameIds]>, u32>,
    stacks: Vec<Rc<[FrameIds]>>,
    frames: usize,
    scratch: Vec<FrameIds>,
}

impl Stacks {
    /// The number of a stack; `None` when there is no room for another one.
    fn id(&mut self, stack: &[Frame], texts: &mut Texts, caps: &Caps) -> Option<u32> {
        self.scratch.clear();
        for frame in stack {
            self.scratch.push(FrameIds {
                function: texts.id(&frame.function, caps.text)?,
                file: texts.id(&frame.file, caps.text)?,
                line: frame.line,
                inlined: frame.inlined,
            });
        }
        if let Some(id) = self.ids.get(self.scratch.as_slice()) {
            return Some(*id);
        }
        let frames = self.frames + stack.len();
        if self.stacks.len() >= caps.stacks || frames > caps.frames {
            return None;
        }
        let id = u32::try_from(self.stacks.len()).ok()?;
        self.frames = frames;
        let stack: Rc<[FrameIds]> = self.scratch.as_slice().into();
        self.stacks.push(Rc::clone(&stack));
        self.ids.insert(stack, id);
        Some(id)
    }
}

/// A set that keeps its first members and says when there were more.
#[derive(Debug, Clone, Default)]
struct Few<T> {
    members: Vec<T>,
    more: bool,
}

impl<T: PartialEq> Few<T> {
    fn add(&mut self, member: T, most: usize) {
        if self.members.contains(&member) {
            return;
        }
        if self.members.len() < most {
            self.members.push(member);
        } else {
            self.more = true;
        }
    }
}

/// What happened under one stack.
#[derive(Debug, Clone, Default)]
struct Tally {
    events: u64,
    growths: u64,
    new_bytes: u64,
    goroutines: Few<u64>,
    labels: Few<u32>,
}

/// A list that stays short: of a long one every second element is dropped, again and
/// again, so that what is left is spread evenly. The first and the last are kept.
#[derive(Debug, Clone)]
pub(crate) struct Thinned<T> {
    kept: Vec<T>,
    /// The last element, where it is not the last of `kept`.
    last: Option<T>,
    /// One of so many is kept.
    stride: u64,
    seen: u64,
}

impl<T: Copy> Thinned<T> {
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::new(),
            last: None,
            stride: 1,
            seen: 0,
        }
    }

    pub(crate) fn push(&mut self, element: T, most: usize) {
        if self.seen.is_multiple_of(self.stride) {
            self.kept.push(element);
            self.last = None;
            self.thin(most);
        } else {
            self.last = Some(element);
        }
        self.seen += 1;
    }

    pub(crate) fn thin(&mut self, most: usize) {
        while self.kept.len() > most.max(2) {
            if self.last.is_none() && self.kept.len().is_multiple_of(2) {
                self.last = self.kept.last().copied();
            }
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.kept.shrink_to(most);
            self.stride = self.stride.saturating_mul(2);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len() + usize::from(self.last.is_some())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().chain(&self.last)
    }
}

/// A map at one of its events.
#[derive(Debug, Clone, Copy)]
struct Point {
    time: Option<u64>,
    op: Op,
    len: Option<u64>,
    slots: Option<u64>,
    new_bytes: u64,
}

/// One growth.
#[derive(Debug, Clone, Copy)]
struct Growth {
    time: Option<u64>,
    op: Op,
    before: Option<u64>,
    slots: Option<u64>,
    delta: Option<i64>,
    len: Option<u64>,
    size: Option<u64>,
    caller: Option<FrameIds>,
}

/// What is summed up of events, of one map or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    events: u64,
    growths: u64,
    new_bytes: u64,
    released_bytes: u64,
    freed_bytes: u64,
    without_size: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.growths = self.growths.saturating_add(other.growths);
        self.new_bytes = self.new_bytes.saturating_add(other.new_bytes);
        self.released_bytes = self.released_bytes.saturating_add(other.released_bytes);
        self.freed_bytes = self.freed_bytes.saturating_add(other.freed_bytes);
        self.without_size = self.without_size.saturating_add(other.without_size);
    }
}

/// One map, from its first event to its last: an address may be that of another map
/// afterwards.
#[derive(Debug, Clone)]
struct Life {
    address: u64,
    /// From 1: the maps at this address.
    number: u32,
    /// In the order in which they began.
    order: u64,
    type_name: Option<u32>,
    /// It may be the map that the header names.
    named: bool,
    /// Earlier events of it may be among those of the maps left out.
    at_least: bool,
    sums: Sums,
    ops: [u64; Op::ALL.len()],
    first: Option<u64>,
    last: Option<u64>,
    len: Change,
    slots: Change,
    hole_density: Option<f64>,
    /// Blocks that growths replaced and that are counted as released.
    replaced: Vec<u64>,
    history: Thinned<Point>,
    growths: Thinned<Growth>,
    stacks: HashMap<u32, Tally, AddressHash>,
    others: Tally,
}

fn op_index(op: Op) -> usize {
    Op::ALL.iter().position(|known| *known == op).unwrap_or(0)
}

/// Whether a function is of the runtime or of reflect, which act for their caller.
#[must_use]
pub fn is_runtime(function: &str) -> bool {
    ["runtime.", "internal/runtime/", "reflect."]
        .iter()
        .any(|of| function.starts_with(of))
}

/// The first frame of a stack that is the program's own; a stack of the runtime alone
/// has none.
#[must_use]
pub fn caller(stack: &[Frame]) -> Option<&Frame> {
    stack.iter().find(|frame| !is_runtime(&frame.function))
}

/// Bytes of the storage that an event made; `None` where it does not tell.
#[must_use]
pub fn new_bytes(event: &Event) -> Option<u64> {
    match event.op {
        Op::Assign | Op::Delete | Op::Evacuated | Op::Release | Op::Free => Some(0),
        // The ring has an event for each half.
        Op::Split if event.second_block.is_none() => event.size,
        Op::Split => event.size.map(|size| size.saturating_mul(2)),
        // Neither has storage of its own unless it says so.
        Op::Create if event.capacity == Some(0) => Some(event.size.unwrap_or(0)),
        Op::Clear => Some(event.size.unwrap_or(0)),
        _ => event.size,
    }
}

/// By how many slots an event changed its map, overflow buckets apart; `None` where it
/// does not tell.
#[must_use]
pub fn slots_delta(event: &Event) -> Option<i64> {
    let (new, old) = match event.op {
        Op::Create => (event.capacity?, 0),
        Op::Grow | Op::GrowSameSize => (event.capacity?, event.old_capacity?),
        Op::Split if event.second_block.is_none() => (event.capacity?, event.old_capacity?),
        Op::Split => (event.capacity?.checked_mul(2)?, event.old_capacity?),
        Op::Clone => return None,
        _ => return Some(0),
    };
    i64::try_from(new)
        .ok()?
        .checked_sub(i64::try_from(old).ok()?)
}

/// The slots of the whole map before and after an event, as far as it tells.
#[must_use]
pub fn slots_around(event: &Event) -> (Option<u64>, Option<u64>) {
    let after = event.map_capacity;
    let before = match event.op {
        // There was no map.
        Op::Create => Some(0),
        _ => after
            .zip(slots_delta(event))
            .and_then(|(after, delta)| i64::try_from(after).ok()?.checked_sub(delta))
            .and_then(|before| u64::try_from(before).ok()),
    };
    (before, after)
}

impl Life {
    fn new(address: u64, number: u32, order: u64) -> Self {
        Self {
            address,
            number,
            order,
            type_name: None,
            named: false,
            at_least: false,
            sums: Sums::default(),
            ops: [0; Op::ALL.len()],
            first: None,
            last: None,
            len: Change::default(),
            slots: Change {
                delta: Some(0),
                ..Change::default()
            },
            hole_density: None,
            replaced: Vec::new(),
            history: Thinned::new(),
            growths: Thinned::new(),
            stacks: HashMap::default(),
            others: Tally::default(),
        }
    }

    /// Whether an event can only be of another map, which lies here now.
    fn is_over(&self, event: &Event, type_name: Option<u32>, time: Option<u64>) -> bool {
        let in_order = match (self.last, time) {
            (Some(last), Some(time)) => time >= last,
            _ => true,
        };
        // A map never has fewer slots than before, and gets its first storage once.
        let had = self.slots.last.unwrap_or(0);
        let (before, after) = slots_around(event);
        let fewer = after.is_some_and(|slots| slots < had);
        let first = event.op == Op::Grow && had > 0 && before == Some(0);
        event.op == Op::Create
            || matches!((self.type_name, type_name), (Some(was), Some(is)) if was != is)
            || in_order && (fewer || first)
    }

    /// Bytes of storage let go, each counted once: a growth tells of the array that it
    /// replaces, and the end of its evacuation tells of it again.
    fn released(&mut self, event: &Event) -> u64 {
        let Some(bytes) = event.old_size else {
            return 0;
        };
        match event.op {
            Op::Free => 0,
            Op::Evacuated | Op::Release => {
                let counted = match event.old_block.or(event.block) {
                    Some(block) => self.replaced.contains(&block),
                    None => !self.replaced.is_empty(),
                };
                if counted { 0 } else { bytes }
            }
            _ => {
                if let Some(block) = event.old_block {
                    // The latest are kept.
                    if self.replaced.len() >= REPLACED {
                        self.replaced.remove(0);
                    }
                    self.replaced.push(block);
                }
                bytes
            }
        }
    }

    /// Adds an event, without its stack; returns what it adds to the sums.
    fn add(&mut self, event: &Event, time: Option<u64>, most: usize) -> Sums {
        let bytes = new_bytes(event);
        let added = Sums {
            events: 1,
            growths: u64::from(event.op.is_growth()),
            new_bytes: bytes.unwrap_or(0),
            released_bytes: self.released(event),
            freed_bytes: match event.op {
                Op::Free => event.old_size.or(event.size).unwrap_or(0),
                _ => 0,
            },
            without_size: u64::from(bytes.is_none()),
        };
        self.sums.add(&added);
        if let Some(count) = self.ops.get_mut(op_index(event.op)) {
            *count += 1;
        }
        if let Some(time) = time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        if let Some(len) = event.len {
            self.len.first.get_or_insert(len);
            self.len.last = Some(len);
            self.len.max = self.len.max.max(Some(len));
        }
        let (before, after) = slots_around(event);
        self.slots.delta = self
            .slots
            .delta
            .zip(slots_delta(event))
            .and_then(|(sum, delta)| sum.checked_add(delta));
        if let Some(slots) = before.or(after) {
            self.slots.first.get_or_insert(slots);
        }
        self.slots.last = after.or(self.slots.last);
        self.hole_density = event.hole_density.or(self.hole_density);
        let point = Point {
            time,
            op: event.op,
            len: event.len,
            slots: after,
            new_bytes: self.sums.new_bytes,
        };
        self.history.push(point, most);
        added
    }
}

/// What an event file tells.
#[derive(Debug)]
pub struct Summary {
    header: Header,
    caps: Caps,
    /// Points that a map may have now.
    points: usize,
    all_points: usize,
    base: Option<Base>,
    first: Option<u64>,
    last: Option<u64>,
    sums: Sums,
    ops: [u64; Op::ALL.len()],
    untimed: u64,
    lives: Vec<Life>,
    /// The map that lies at an address now, by its place in `lives`.
    current: HashMap<u64, usize, AddressHash>,
    begun: u64,
    addresses: u64,
    rest: Rest,
    texts: Texts,
    stacks: Stacks,
    tallies: HashMap<u32, Tally, AddressHash>,
    others: Tally,
    of_lives: usize,
    labels: Vec<Rc<[(u32, u32)]>>,
    label_ids: HashMap<Rc<[(u32, u32)]>, u32>,
    notes: Vec<(String, u64)>,
    more_notes: u64,
    texts_missing: bool,
    finish: Finish,
}

/// The maps that are not told apart any more, in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// How many; a map that came back was counted again.
    pub maps: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of their new storage.
    pub new_bytes: u64,
    /// Bytes of storage that they let go.
    pub released_bytes: u64,
}

/// Events under stacks that are not listed, or without a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RestOfStacks {
    /// Events.
    pub events: u64,
    /// Those of them that were growths.
    pub growths: u64,
    /// Bytes of new storage.
    pub new_bytes: u64,
}

/// The first and the last known value of a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// At the first event that tells it; of slots, before that event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// At the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// The largest; of `len` alone, slots never become fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The sum of all changes, where each event tells its own; of slots alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<i64>,
}

/// A map at one of its events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HistoryRow {
    /// Nanoseconds since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<u64>,
    /// What happened.
    pub op: Op,
    /// Entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Slots of the whole map, overflow buckets apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_capacity: Option<u64>,
    /// Bytes of new storage so far, in sum.
    pub new_bytes: u64,
}

/// One growth of a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrowthRow {
    /// Nanoseconds since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<u64>,
    /// `grow`, `grow-same-size` or `split`.
    pub op: Op,
    /// Slots of the whole map before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_before: Option<u64>,
    /// Slots of the whole map afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// Slots that it added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_delta: Option<i64>,
    /// Entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Bytes of new storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_bytes: Option<u64>,
    /// The first frame that is none of the runtime's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Frame>,
}

/// What happened under one stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StackRow {
    /// The first frame that is none of the runtime's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Frame>,
    /// Events.
    pub events: u64,
    /// Those of them that were growths.
    pub growths: u64,
    /// Bytes of new storage.
    pub new_bytes: u64,
    /// Goroutines, in the order in which they were first seen.
    pub goroutines: Vec<u64>,
    /// There were more goroutines.
    pub goroutines_more: bool,
    /// The sets of pprof labels.
    pub labels: Vec<BTreeMap<String, String>>,
    /// There were more sets.
    pub labels_more: bool,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// One map of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MapRow {
    /// Its header.
    #[serde(with = "hex")]
    pub address: u64,
    /// As Go prints it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// What it was asked for by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// From 1: the maps that lay at this address one after the other.
    pub life: u32,
    /// Earlier events of it may be among those of the maps that are summed up.
    pub at_least: bool,
    /// Events.
    pub events: u64,
    /// Events by what happened.
    pub ops: BTreeMap<&'static str, u64>,
    /// Nanoseconds from the start to its first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
    /// To its last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ns: Option<u64>,
    /// Entries.
    pub len: Change,
    /// Slots of the whole map, overflow buckets apart.
    pub slots: Change,
    /// Slots that are not live, of all, at the last event that tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole_density: Option<f64>,
    /// Bytes asked for, in sum.
    pub new_bytes: u64,
    /// Bytes of storage that other storage replaced, or that was let go.
    pub released_bytes: u64,
    /// Bytes that the collector freed.
    pub freed_bytes: u64,
    /// Events that made storage and do not tell its size.
    pub without_size: u64,
    /// Who, most new storage first.
    pub stacks: Vec<StackRow>,
    /// Events under other stacks, or without one.
    pub other_stacks: RestOfStacks,
    /// The map at its events; thinned evenly if there are many.
    pub history: Vec<HistoryRow>,
    /// How many there would be.
    pub history_total: u64,
    /// Its growths; thinned evenly if there are many.
    pub growths: Vec<GrowthRow>,
    /// How many there would be.
    pub growths_total: u64,
}

/// What is told of the whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EventTotals {
    /// Events that were read.
    pub events: u64,
    /// Events by what happened.
    pub ops: BTreeMap<&'static str, u64>,
    /// When it started: `CLOCK_MONOTONIC`, or nanoseconds since 1970 where `clock` is
    /// `wall`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
    /// `monotonic` or `wall`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<&'static str>,
    /// When it started, nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_wall_ns: Option<u64>,
    /// From the start to the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
    /// From the start to the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ns: Option<u64>,
    /// How long recording went on: to its end, if the file tells it, else to the last
    /// event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// Events without a time.
    pub untimed: u64,
    /// Growths.
    pub growths: u64,
    /// Bytes asked for, in sum.
    pub new_bytes: u64,
    /// Bytes of storage that other storage replaced, or that was let go.
    pub released_bytes: u64,
    /// Bytes that the collector freed.
    pub freed_bytes: u64,
    /// Events that made storage and do not tell its size.
    pub without_size: u64,
    /// Maps, those summed up included.
    pub maps: u64,
}

fn ops_of(ops: &[u64; Op::ALL.len()]) -> BTreeMap<&'static str, u64> {
    Op::ALL
        .iter()
        .zip(ops)
        .filter(|(_, count)| **count > 0)
        .map(|(op, count)| (op.word(), *count))
        .collect()
}

/// A set of labels by its number, `None` for no labels; the error says that there is no
/// room for another set.
type LabelsId = Result<Option<u32>, ()>;

impl Summary {
    /// Of no event yet.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self::with(header, CAPS)
    }

    fn with(header: &Header, caps: Caps) -> Self {
        Self {
            header: header.clone(),
            caps,
            points: caps.points,
            all_points: 0,
            base: None,
            first: None,
            last: None,
            sums: Sums::default(),
            ops: [0; Op::ALL.len()],
            untimed: 0,
            lives: Vec::new(),
            current: HashMap::default(),
            begun: 0,
            addresses: 0,
            rest: Rest::default(),
            texts: Texts::default(),
            stacks: Stacks::default(),
            tallies: HashMap::default(),
            others: Tally::default(),
            of_lives: 0,
            labels: Vec::new(),
            label_ids: HashMap::new(),
            notes: Vec::new(),
            more_notes: 0,
            texts_missing: false,
            finish: Finish::Open,
        }
    }

    /// Reads a file to its end. `tick` is told the number of events from time to time;
    /// `false` ends the reading. What was read before damage or an interruption stays.
    #[must_use]
    pub fn read(reader: &mut EventReader, tick: &mut dyn FnMut(u64) -> bool) -> Self {
        let mut summary = Self::new(reader.header());
        let finish = loop {
            match reader.next_event() {
                Ok(Some(event)) => summary.add(&event),
                Ok(None) => {
                    break match reader.end() {
                        Some(End::Closed(ending)) => Finish::Closed(ending.clone()),
                        Some(End::Cut(at)) => Finish::Cut(*at),
                        Some(End::Open) | None => Finish::Open,
                    };
                }
                Err(error) => break Finish::Damaged(error.to_string()),
            }
            if summary.sums.events.is_multiple_of(TICK) && !tick(summary.sums.events) {
                break Finish::Interrupted;
            }
        };
        summary.finish(finish);
        summary
    }

    /// Says how the file ended, and ranks the maps: most new storage first. Rows can be
    /// asked for from then on.
    pub fn finish(&mut self, finish: Finish) {
        self.finish = finish;
        self.lives.sort_by(Self::rank);
        self.place();
    }

    /// When an event happened, by the clock of this file.
    fn time(&mut self, event: &Event) -> Option<u64> {
        let mono = event.t_mono_ns.or_else(|| {
            let (clock, wall) = (self.header.clock?, event.t_wall_ns?);
            let mono = clock.t_mono_ns.saturating_add(wall);
            Some(mono.saturating_sub(clock.t_wall_ns))
        });
        let base = match mono {
            Some(_) => Base::Mono,
            None => Base::Wall,
        };
        if mono.or(event.t_wall_ns).is_some() {
            self.base.get_or_insert(base);
        }
        match self.base? {
            Base::Mono => mono,
            Base::Wall => event.t_wall_ns,
        }
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Event) {
        let time = self.time(event);
        match time {
            Some(time) => {
                self.first = Some(self.first.map_or(time, |first| first.min(time)));
                self.last = Some(self.last.map_or(time, |last| last.max(time)));
            }
            None => self.untimed += 1,
        }
        if let Some(count) = self.ops.get_mut(op_index(event.op)) {
            *count += 1;
        }
        for note in &event.notes {
            self.note(note);
        }
        let type_name = match &event.type_name {
            Some(name) => {
                let id = self.texts.id(name, self.caps.text);
                self.texts_missing |= id.is_none();
                id
            }
            None => None,
        };
        let position = self.life(event, type_name, time);
        let stack = match event.stack.is_empty() {
            true => None,
            false => self.stacks.id(&event.stack, &mut self.texts, &self.caps),
        };
        let called = stack.and_then(|id| self.caller_ids(id));
        let labels = self.labels_id(&event.labels);
        let most = self.points;
        let Some(life) = self.lives.get_mut(position) else {
            return;
        };
        life.type_name = life.type_name.or(type_name);
        let before = life.history.len() + life.growths.len();
        let added = life.add(event, time, most);
        if event.op.is_growth() {
            let (slots_before, slots) = slots_around(event);
            let growth = Growth {
                time,
                op: event.op,
                before: slots_before,
                slots,
                delta: slots_delta(event),
                len: event.len,
                size: new_bytes(event),
                caller: called,
            };
            life.growths.push(growth, most);
        }
        let after = life.history.len() + life.growths.len();
        self.all_points = (self.all_points + after).saturating_sub(before);
        self.sums.add(&added);
        self.tally(position, stack, &added, event.goid, labels);
        if self.all_points > self.caps.all_points {
            self.thin();
        }
        if self.lives.len() > self.caps.lives {
            self.sum_up();
        }
    }

    /// The number of a stack's first frame that is none of the runtime's.
    fn caller_ids(&self, stack: u32) -> Option<FrameIds> {
        self.stacks
            .stacks
            .get(stack as usize)?
            .iter()
            .find(|frame| !is_runtime(self.texts.get(frame.function)))
            .copied()
    }

    fn labels_id(&mut self, labels: &BTreeMap<String, String>) -> LabelsId {
        if labels.is_empty() {
            return Ok(None);
        }
        let mut set = Vec::with_capacity(labels.len());
        for (key, value) in labels {
            let key = self.texts.id(key, self.caps.text).ok_or(())?;
            let value = self.texts.id(value, self.caps.text).ok_or(())?;
            set.push((key, value));
        }
        if let Some(id) = self.label_ids.get(set.as_slice()) {
            return Ok(Some(*id));
        }
        if self.labels.len() >= self.caps.stacks || set.len() > self.caps.who {
            return Err(());
        }
        let id = u32::try_from(self.labels.len()).map_err(|_| ())?;
        let set: Rc<[(u32, u32)]> = set.into();
        self.labels.push(Rc::clone(&set));
        self.label_ids.insert(set, id);
        Ok(Some(id))
    }

    /// Adds an event to the sums of its stack, among all and of its map.
    fn tally(
        &mut self,
        position: usize,
        stack: Option<u32>,
        added: &Sums,
        goid: Option<u64>,
        labels: LabelsId,
    ) {
        let who = self.caps.who;
        let count = |tally: &mut Tally| {
            tally.events += 1;
            tally.growths += added.growths;
            tally.new_bytes = tally.new_bytes.saturating_add(added.new_bytes);
            if let Some(goid) = goid {
                tally.goroutines.add(goid, who);
            }
            match labels {
                Ok(Some(id)) => tally.labels.add(id, who),
                Ok(None) => {}
                Err(()) => tally.labels.more = true,
            }
        };
        let life = self.lives.get_mut(position);
        let Some(stack) = stack else {
            count(&mut self.others);
            if let Some(life) = life {
                count(&mut life.others);
            }
            return;
        };
        count(self.tallies.entry(stack).or_default());
        let Some(life) = life else {
            return;
        };
        if let Some(tally) = life.stacks.get_mut(&stack) {
            count(tally);
        } else if self.of_lives < self.caps.of_lives {
            self.of_lives += 1;
            count(life.stacks.entry(stack).or_default());
        } else {
            count(&mut life.others);
        }
    }

    fn note(&mut self, note: &str) {
        let note = shortened(note);
        if let Some((_, count)) = self.notes.iter_mut().find(|(known, _)| known == note) {
            *count += 1;
        } else if self.notes.len() < self.caps.notes {
            self.notes.push((note.to_owned(), 1));
        } else {
            self.more_notes += 1;
        }
    }

    /// Where the map is that an event belongs to, begun if it is its first one.
    fn life(&mut self, event: &Event, type_name: Option<u32>, time: Option<u64>) -> usize {
        let here = self.current.get(&event.map).copied();
        let number = match here.and_then(|at| Some((at, self.lives.get(at)?))) {
            Some((at, life)) if !life.is_over(event, type_name, time) => return at,
            Some((_, life)) => life.number.saturating_add(1),
            None => 1,
        };
        self.begun += 1;
        self.addresses += u64::from(number == 1);
        let mut life = Life::new(event.map, number, self.begun);
        // A watchpoint tells so of the first storage of a map that was there; other engines
        // of maps that were made then, which nobody can have asked for.
        let was_there = event.op != Op::Create || self.header.engine == "watch";
        life.named = number == 1 && was_there && self.rest.maps == 0;
        life.at_least = number == 1 && event.op != Op::Create && self.rest.maps > 0;
        let at = self.lives.len();
        self.lives.push(life);
        self.current.insert(event.map, at);
        at
    }

    /// Makes room: every map keeps half as many points as before.
    fn thin(&mut self) {
        while self.all_points > self.caps.all_points && self.points > POINTS_MIN {
            self.points = (self.points / 2).max(POINTS_MIN);
            for life in &mut self.lives {
                life.history.thin(self.points);
                life.growths.thin(self.points);
            }
            self.count_points();
        }
    }

    fn count_points(&mut self) {
        self.all_points = self
            .lives
            .iter()
            .map(|life| life.history.len() + life.growths.len())
            .sum();
    }

    /// Makes room: the half of the maps with the least new storage is summed up.
    fn sum_up(&mut self) {
        self.lives.sort_by(Self::rank);
        let kept = self.caps.lives / 2;
        for life in self.lives.drain(kept..) {
            let (rest, sums) = (&mut self.rest, &life.sums);
            rest.maps += 1;
            rest.events = rest.events.saturating_add(sums.events);
            rest.new_bytes = rest.new_bytes.saturating_add(sums.new_bytes);
            rest.released_bytes = rest.released_bytes.saturating_add(sums.released_bytes);
        }
        self.place();
        self.count_points();
        self.of_lives = self.lives.iter().map(|life| life.stacks.len()).sum();
    }

    /// Notes anew where the maps are. The latest of an address is the one that lies there.
    fn place(&mut self) {
        self.current.clear();
        let order = |at: usize| self.lives.get(at).map_or(0, |life| life.order);
        for (at, life) in self.lives.iter().enumerate() {
            let current = self.current.entry(life.address).or_insert(at);
            if order(*current) < life.order {
                *current = at;
            }
        }
    }

    /// Most new storage first.
    fn rank(a: &Life, b: &Life) -> std::cmp::Ordering {
        let key = |life: &Life| (life.sums.new_bytes, life.sums.growths, life.sums.events);
        key(b).cmp(&key(a)).then(a.order.cmp(&b.order))
    }

    /// The first line of the file.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file ends.
    #[must_use]
    pub fn end(&self) -> &Finish {
        &self.finish
    }

    /// Maps that are told apart.
    #[must_use]
    pub fn maps(&self) -> usize {
        self.lives.len()
    }

    /// The maps that are not told apart any more.
    #[must_use]
    pub fn rest(&self) -> Rest {
        self.rest
    }

    /// What events say could not be had, and how often; how many more said something
    /// else.
    #[must_use]
    pub fn notes(&self) -> (&[(String, u64)], u64) {
        (&self.notes, self.more_notes)
    }

    /// Whether names of types are missing because the file has too much text.
    #[must_use]
    pub fn texts_missing(&self) -> bool {
        self.texts_missing
    }

    /// When recording began.
    fn start(&self) -> Option<u64> {
        let clock = self.header.clock.map(|clock| match self.base {
            Some(Base::Wall) => clock.t_wall_ns,
            _ => clock.t_mono_ns,
        });
        match (clock, self.first) {
            (Some(clock), Some(first)) => Some(clock.min(first)),
            (clock, first) => clock.or(first),
        }
    }

    fn since(&self, time: Option<u64>) -> Option<u64> {
        Some(time?.saturating_sub(self.start()?))
    }

    /// What is told of the whole file.
    #[must_use]
    pub fn totals(&self) -> EventTotals {
        let base = self.base.or(self.header.clock.map(|_| Base::Mono));
        let start = self.start();
        let start_wall = match (base, self.header.clock) {
            (Some(Base::Wall), _) => start,
            (_, Some(clock)) => start.map(|start| clock.wall(start)),
            _ => None,
        };
        let ended = self
            .finish
            .ending()
            .and_then(|ending| ending.t_mono_ns)
            .filter(|_| base == Some(Base::Mono));
        EventTotals {
            events: self.sums.events,
            ops: ops_of(&self.ops),
            start_ns: start,
            clock: base.map(|base| match base {
                Base::Mono => "monotonic",
                Base::Wall => "wall",
            }),
            start_wall_ns: start_wall,
            first_ns: self.since(self.first),
            last_ns: self.since(self.last),
            duration_ns: self.since(ended.max(self.last)),
            untimed: self.untimed,
            growths: self.sums.growths,
            new_bytes: self.sums.new_bytes,
            released_bytes: self.sums.released_bytes,
            freed_bytes: self.sums.freed_bytes,
            without_size: self.sums.without_size,
            maps: self.rest.maps + self.lives.len() as u64,
        }
    }

    fn frame(&self, ids: FrameIds) -> Frame {
        Frame {
            function: self.texts.get(ids.function).to_owned(),
            file: self.texts.get(ids.file).to_owned(),
            line: ids.line,
            inlined: ids.inlined,
        }
    }

    fn label_set(&self, id: u32) -> BTreeMap<String, String> {
        let text = |id: u32| self.texts.get(id).to_owned();
        let set = self.labels.get(id as usize);
        set.into_iter()
            .flat_map(|set| set.iter())
            .map(|(key, value)| (text(*key), text(*value)))
            .collect()
    }

    fn stack_row(&self, id: u32, tally: &Tally) -> StackRow {
        let frames: Vec<Frame> = self
            .stacks
            .stacks
            .get(id as usize)
            .map(|stack| stack.iter().map(|ids| self.frame(*ids)).collect())
            .unwrap_or_default();
        let labels = &tally.labels;
        StackRow {
            caller: caller(&frames).cloned(),
            events: tally.events,
            growths: tally.growths,
            new_bytes: tally.new_bytes,
            goroutines: tally.goroutines.members.clone(),
            goroutines_more: tally.goroutines.more,
            labels: labels
                .members
                .iter()
                .map(|id| self.label_set(*id))
                .collect(),
            labels_more: labels.more,
            frames,
        }
    }

    /// The first `limit` stacks of a table, and the others in sum.
    fn stack_rows(
        &self,
        tallies: &HashMap<u32, Tally, AddressHash>,
        others: &Tally,
        limit: usize,
    ) -> (Vec<StackRow>, RestOfStacks) {
        let mut ranked: Vec<(u32, &Tally)> =
            tallies.iter().map(|(id, tally)| (*id, tally)).collect();
        ranked.sort_by(|(a_id, a), (b_id, b)| {
            let key = |tally: &Tally| (tally.new_bytes, tally.growths, tally.events);
            key(b).cmp(&key(a)).then(a_id.cmp(b_id))
        });
        let unlisted = ranked.iter().skip(limit).map(|(_, tally)| *tally);
        let mut rest = RestOfStacks::default();
        for tally in unlisted.chain([others]) {
            rest.events += tally.events;
            rest.growths += tally.growths;
            rest.new_bytes = rest.new_bytes.saturating_add(tally.new_bytes);
        }
        let rows = ranked
            .iter()
            .take(limit)
            .map(|(id, tally)| self.stack_row(*id, tally))
            .collect();
        (rows, rest)
    }

    /// Who, in the whole file: the first `limit` stacks, most new storage first, and the
    /// others in sum.
    #[must_use]
    pub fn stacks(&self, limit: Option<u64>) -> (Vec<StackRow>, RestOfStacks) {
        self.stack_rows(&self.tallies, &self.others, rows(limit))
    }

    /// The stacks that are told apart.
    #[must_use]
    pub fn stacks_total(&self) -> u64 {
        self.tallies.len() as u64
    }

    /// Bytes of new storage, and events, of a map by caller: the first frame that is none
    /// of the runtime's. Most new storage first.
    #[must_use]
    pub fn callers(&self, position: usize) -> Vec<(Frame, u64, u64)> {
        let Some(life) = self.lives.get(position) else {
            return Vec::new();
        };
        let mut sums: HashMap<FrameIds, (u64, u64)> = HashMap::new();
        for (stack, tally) in &life.stacks {
            if let Some(ids) = self.caller_ids(*stack) {
                let (bytes, events) = sums.entry(ids).or_default();
                *bytes = bytes.saturating_add(tally.new_bytes);
                *events += tally.events;
            }
        }
        let mut rows: Vec<(Frame, u64, u64)> = sums
            .into_iter()
            .map(|(ids, (bytes, events))| (self.frame(ids), bytes, events))
            .collect();
        rows.sort_by(|a, b| {
            let place = |frame: &Frame| (frame.function.clone(), frame.line);
            (b.1, b.2)
                .cmp(&(a.1, a.2))
                .then_with(|| place(&a.0).cmp(&place(&b.0)))
        });
        rows
    }

    /// What the header calls a map.
    fn expression(&self, life: &Life) -> Option<String> {
        if !life.named {
            return None;
        }
        let address = |text: &str| hex::parse(text.split_whitespace().next()?);
        let maps = &self.header.maps;
        let by_address = maps.iter().find(|text| address(text) == Some(life.address));
        let only = match maps.as_slice() {
            // One map was asked for, and one was seen.
            [one] if self.addresses == 1 && address(one).is_none() => Some(one),
            _ => None,
        };
        by_address.or(only).cloned()
    }

    /// The map at this place of the ranking, its stacks and growths up to `limit`.
    #[must_use]
    pub fn row(&self, position: usize, limit: Option<u64>) -> Option<MapRow> {
        let life = self.lives.get(position)?;
        let (stacks, other_stacks) = self.stack_rows(&life.stacks, &life.others, rows(limit));
        let growths = life.growths.iter().map(|growth| GrowthRow {
            t_ns: self.since(growth.time),
            op: growth.op,
            slots_before: growth.before,
            slots: growth.slots,
            slots_delta: growth.delta,
            len: growth.len,
            new_bytes: growth.size,
            caller: growth.caller.map(|ids| self.frame(ids)),
        });
        let history = life.history.iter().map(|point| HistoryRow {
            t_ns: self.since(point.time),
            op: point.op,
            len: point.len,
            map_capacity: point.slots,
            new_bytes: point.new_bytes,
        });
        Some(MapRow {
            address: life.address,
            type_name: life.type_name.map(|id| self.texts.get(id).to_owned()),
            expression: self.expression(life),
            life: life.number,
            at_least: life.at_least,
            events: life.sums.events,
            ops: ops_of(&life.ops),
            first_ns: self.since(life.first),
            last_ns: self.since(life.last),
            len: life.len,
            slots: life.slots,
            hole_density: life.hole_density,
            new_bytes: life.sums.new_bytes,
            released_bytes: life.sums.released_bytes,
            freed_bytes: life.sums.freed_bytes,
            without_size: life.sums.without_size,
            stacks,
            other_stacks,
            history: history.collect(),
            history_total: life.history.seen,
            growths: largest(growths.collect(), rows(limit)),
            growths_total: life.growths.seen,
        })
    }
}

/// The `limit` growths with the most new storage, the later of equal ones, in the order
/// of time.
fn largest(growths: Vec<GrowthRow>, limit: usize) -> Vec<GrowthRow> {
    if growths.len() <= limit {
        return growths;
    }
    let mut ranked: Vec<(usize, GrowthRow)> = growths.into_iter().enumerate().collect();
    ranked.sort_by_key(|(position, growth)| Reverse((growth.new_bytes, *position)));
    ranked.truncate(limit);
    ranked.sort_by_key(|(position, _)| *position);
    ranked.into_iter().map(|(_, growth)| growth).collect()
}

fn rows(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Clock, EventWriter, SCHEMA};
    use super::*;

    const MAP: u64 = 0xc000_0120;

    fn header(maps: &[&str]) -> Header {
        Header {
            schema: SCHEMA.to_owned(),
            engine: "break".to_owned(),
            maps: maps.iter().map(|map| (*map).to_owned()).collect(),
            clock: Some(Clock {
                t_mono_ns: 1000,
                t_wall_ns: 5_000_000,
                error_ns: 1,
            }),
            ..Header::default()
        }
    }

    fn frame(function: &str, line: u32) -> Frame {
        Frame {
            function: function.to_owned(),
            file: "/src/a.go".to_owned(),
            line,
            inlined: false,
        }
    }

    /// A growth from `old` to `new` slots of 10 bytes.
    fn grow(seq: u64, map: u64, old: u64, new: u64) -> Event {
        Event {
            t_mono_ns: Some(1000 + seq * 100),
            type_name: Some("map[string]int".to_owned()),
            len: Some(old),
            capacity: Some(new),
            old_capacity: Some(old),
            map_capacity: Some(new),
            size: Some(new * 10),
            old_size: Some(old * 10),
            stack: vec![
                frame("runtime.mapassign", 1),
                frame("reflect.mapassign", 2),
                frame("main.fill", 3),
                frame("main.main", 4),
            ],
            ..Event::new(seq, Op::Grow, map)
        }
    }

    fn summed(maps: &[&str], events: &[Event]) -> Summary {
        let mut summary = Summary::new(&header(maps));
        for event in events {
            summary.add(event);
        }
        summary.finish(Finish::Open);
        summary
    }

    fn all(summary: &Summary) -> Vec<MapRow> {
        (0..summary.maps())
            .map(|position| summary.row(position, None).unwrap())
            .collect()
    }

    #[test]
    fn a_map_that_doubles() {
        let events: Vec<Event> = (0..5)
            .map(|i| grow(i + 1, MAP, if i == 0 { 0 } else { 8 << (i - 1) }, 8 << i))
            .collect();
        let summary = summed(&["main.cache"], &events);
        let rows = all(&summary);
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!(row.expression.as_deref(), Some("main.cache"));
        assert_eq!((row.slots.first, row.slots.last), (Some(0), Some(128)));
        assert_eq!(row.slots.delta, Some(128));
        assert_eq!(row.new_bytes, (8 + 16 + 32 + 64 + 128) * 10);
        assert_eq!(row.released_bytes, (8 + 16 + 32 + 64) * 10);
        assert_eq!((row.first_ns, row.last_ns), (Some(100), Some(500)));
        assert_eq!(row.growths.len(), 5);
        assert_eq!(row.growths[4].slots_before, Some(64));
        assert_eq!(
            row.growths[4].caller.as_ref().unwrap().function,
            "main.fill"
        );
        assert_eq!(row.history[1].new_bytes, 240);
        assert_eq!(summary.callers(0), [(frame("main.fill", 3), 2480, 5)]);
        let totals = summary.totals();
        assert_eq!((totals.events, totals.maps), (5, 1));
        assert_eq!(totals.start_ns, Some(1000));
        assert_eq!(totals.start_wall_ns, Some(5_000_000));
        assert_eq!(totals.duration_ns, Some(500));
        assert_eq!(totals.ops, BTreeMap::from([("grow", 5)]));
    }

    #[test]
    fn an_address_may_become_another_maps() {
        let other = Event {
            type_name: Some("map[int]bool".to_owned()),
            ..grow(3, MAP, 64, 128)
        };
        let untyped = Event {
            type_name: None,
            ..grow(4, MAP, 128, 256)
        };
        let created = Event {
            type_name: Some("map[int]bool".to_owned()),
            capacity: Some(0),
            ..Event::new(5, Op::Create, MAP)
        };
        let fewer = Event {
            type_name: Some("map[int]bool".to_owned()),
            ..grow(7, MAP, 8, 16)
        };
        let events = [
            grow(1, MAP, 8, 16),
            grow(2, MAP, 16, 32),
            other.clone(),
            untyped,
            created,
            Event {
                type_name: Some("map[int]bool".to_owned()),
                ..grow(6, MAP, 0, 512)
            },
            fewer.clone(),
            // The first storage of a map that had storage: it is another one.
            Event {
                type_name: fewer.type_name.clone(),
                ..grow(8, MAP, 0, 1024)
            },
        ];
        let mut rows = all(&summed(&["main.cache"], &events));
        rows.sort_by_key(|row| row.life);
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.life,
                    row.events,
                    row.slots.last,
                    row.expression.is_some(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, 2, Some(32), true),
                (2, 2, Some(256), false),
                (3, 2, Some(512), false),
                (4, 1, Some(16), false),
                (5, 1, Some(1024), false),
            ]
        );
    }

    #[test]
    fn expressions_are_not_guessed() {
        let named = |maps: &[&str], events: &[Event]| -> Vec<Option<String>> {
            let rows = all(&summed(maps, events));
            rows.into_iter().map(|row| row.expression).collect()
        };
        let two = [grow(1, MAP, 0, 16), grow(2, 0x40, 0, 8)];
        assert_eq!(named(&["main.m"], &two), [None, None]);
        assert_eq!(named(&["main.m", "main.n"], &two), [None, None]);
        let by_address = format!("{MAP:#x}");
        assert_eq!(
            named(&["main.m", &by_address], &two),
            [Some(by_address.clone()), None]
        );
        // Nobody can have asked for a map that was made later.
        let made = [Event::new(1, Op::Create, MAP), grow(2, MAP, 0, 8)];
        assert_eq!(named(&["main.m"], &made), [None]);
    }

    #[test]
    fn what_is_absent_stays_unknown() {
        let bare = |seq, op| Event::new(seq, op, MAP);
        let mut growth = grow(1, MAP, 8, 16);
        growth.map_capacity = None;
        let row = &all(&summed(&[], &[growth.clone()]))[0];
        assert_eq!((row.slots.first, row.slots.last), (None, None));
        assert_eq!(row.slots.delta, Some(8));
        growth.old_capacity = None;
        let row = &all(&summed(&[], &[growth, bare(2, Op::Grow)]))[0];
        assert_eq!(row.slots.delta, None);
        assert_eq!(row.without_size, 1);
        assert_eq!(row.growths[1].new_bytes, None);
        let summary = summed(&[], &[bare(1, Op::Assign)]);
        assert_eq!(summary.totals().untimed, 1);
        assert_eq!(summary.totals().last_ns, None);
        assert_eq!(all(&summary)[0].len.last, None);
    }

    #[test]
    fn storage_is_counted_once() {
        let split = Event {
            op: Op::Split,
            capacity: Some(1024),
            old_capacity: Some(1024),
            map_capacity: Some(2048),
            size: Some(10),
            second_block: Some(0x88),
            old_size: Some(10),
            ..grow(1, MAP, 0, 0)
        };
        let row = &all(&summed(&[], &[split]))[0];
        assert_eq!((row.new_bytes, row.released_bytes), (20, 10));
        assert_eq!((row.slots.first, row.slots.last), (Some(1024), Some(2048)));

        let block = Some(0x77);
        let growth = Event {
            old_block: block,
            ..grow(1, MAP, 8, 16)
        };
        let end = Event {
            old_block: block,
            old_size: Some(80),
            ..Event::new(2, Op::Evacuated, MAP)
        };
        let free = Event {
            op: Op::Free,
            ..end.clone()
        };
        let row = &all(&summed(&[], &[growth, end.clone(), free]))[0];
        assert_eq!((row.released_bytes, row.freed_bytes), (80, 80));
        // The growth was before the trace.
        let row = &all(&summed(&[], &[end]))[0];
        assert_eq!(row.released_bytes, 80);
    }

    #[test]
    fn many_maps_and_stacks_stay_within_bounds_and_sums_are_whole() {
        let caps = Caps {
            lives: 16,
            points: 32,
            all_points: 300,
            stacks: 8,
            of_lives: 20,
            who: 2,
            ..CAPS
        };
        let mut summary = Summary::with(&header(&[]), caps);
        let (mut bytes, mut events) = (0, 0);
        for seq in 0..2000_u64 {
            let map = MAP + if seq % 2 == 0 { 0 } else { seq % 100 * 48 };
            let mut event = grow(seq, map, 8, 16);
            event.stack.push(frame("main.f", (seq % 30) as u32));
            event.goid = Some(seq);
            event.labels = [("n".to_owned(), seq.to_string())].into();
            bytes += event.size.unwrap();
            events += 1;
            summary.add(&event);
            assert!(summary.lives.len() <= caps.lives);
            assert!(summary.all_points <= caps.all_points);
            assert!(summary.of_lives <= caps.of_lives);
            assert!(summary.tallies.len() <= caps.stacks);
        }
        summary.finish(Finish::Open);
        let totals = summary.totals();
        assert_eq!((totals.events, totals.new_bytes), (events, bytes));
        let rows = all(&summary);
        let listed = |of: fn(&MapRow) -> u64| rows.iter().map(of).sum::<u64>();
        let rest = summary.rest();
        assert_eq!(listed(|row| row.new_bytes) + rest.new_bytes, bytes);
        assert_eq!(listed(|row| row.events) + rest.events, events);
        assert_eq!(rows.len() as u64 + rest.maps, totals.maps);
        assert_eq!(rows[0].events, 1000);
        assert!(rows[0].history.len() <= 33 && rows[0].history_total == 1000);
        // What is not told as a lower bound is whole.
        let whole = |row: &MapRow| row.at_least || row.events == 20;
        assert!(rows[1..].iter().all(whole) && rows.iter().any(|row| row.at_least));
        let (stacks, others) = summary.stacks(Some(3));
        let known: u64 = stacks.iter().map(|stack| stack.events).sum();
        assert_eq!((stacks.len(), known + others.events), (3, events));
        assert!(stacks[0].goroutines_more && stacks[0].labels_more);
        for row in rows {
            let known: u64 = row.stacks.iter().map(|stack| stack.events).sum();
            assert_eq!(known + row.other_stacks.events, row.events);
        }
    }

    #[test]
    fn what_was_read_before_damage_stays() {
        let folder = std::env::temp_dir().join(format!("summary-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.jsonl");
        let mut writer = EventWriter::create(&path, false, &header(&[])).unwrap();
        for seq in 1..=3 {
            writer.event(&grow(seq, MAP, 8 << seq, 16 << seq)).unwrap();
        }
        let ending = Ending {
            end: "stop".to_owned(),
            events: 3,
            t_mono_ns: Some(9000),
            ..Ending::default()
        };
        writer.finish(&ending).unwrap();
        let read = |go_on: bool| {
            let mut reader = EventReader::open(&path).unwrap();
            Summary::read(&mut reader, &mut |_| go_on)
        };
        let whole = read(true);
        assert_eq!(whole.end(), &Finish::Closed(ending));
        assert_eq!(whole.totals().duration_ns, Some(8000));
        let bytes = std::fs::read(&path).unwrap();
        let lines: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for (end, finish, events) in [
            (lines[2] + 1, Finish::Open, 2),
            (lines[2] + 7, Finish::Cut(lines[2] as u64 + 1), 2),
        ] {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let cut = read(true);
            assert_eq!(cut.end(), &finish);
            assert_eq!(cut.totals().events, events);
            assert_eq!(cut.totals().duration_ns, Some(200));
        }
        let mut broken = bytes[..=lines[1]].to_vec();
        broken.extend(b"{]\n");
        broken.extend(&bytes[lines[1] + 1..]);
        std::fs::write(&path, &broken).unwrap();
        let damaged = read(true);
        assert!(
            matches!(damaged.end(), Finish::Damaged(reason) if reason.contains("line 3")),
            "{:?}",
            damaged.end()
        );
        assert_eq!(damaged.totals().events, 1);
        std::fs::remove_dir_all(folder).ok();
    }

    proptest! {
        #[test]
        fn thinning_keeps_the_ends_and_an_even_spread(
            total in 1_u64..5000,
            most in 2_usize..40,
            later in 2_usize..40,
        ) {
            let mut list = Thinned::new();
            for element in 0..total {
                list.push(element, most);
                prop_assert!(list.len() <= most + 1);
            }
            list.thin(later);
            let kept: Vec<u64> = list.iter().copied().collect();
            prop_assert!(kept.len() <= later.max(2) + 1);
            prop_assert_eq!(kept.first(), Some(&0));
            prop_assert_eq!(kept.last(), Some(&(total - 1)));
            prop_assert_eq!(list.seen, total);
            let steps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            if let Some((last, even)) = steps.split_last() {
                prop_assert!(even.iter().all(|step| *step == list.stride));
                prop_assert!(*last <= list.stride);
            }
        }
    }
}
