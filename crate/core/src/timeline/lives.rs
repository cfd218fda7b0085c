//! What events tell of maps, in bounded memory however many there are.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::events::{Event, Frame, Op, Thinned, new_bytes, slots_around};
use crate::memory::AddressHash;

/// Maps that are told apart; of more, the half with less new storage is summed up.
const LIVES: usize = 8192;
/// Events of all maps that are kept one by one.
const DOTS: usize = 1 << 18;
/// Those of one map, writes and deletes apart.
const DOTS_OF_ONE: usize = 4096;
/// Those that each map keeps however many maps there are.
const DOTS_MIN: usize = 8;
/// Blocks whose allocation is remembered, to be found again in an execution trace.
const SEEN: usize = 1 << 20;
/// Blocks whose end is waited for.
const OPEN: usize = 1 << 18;
/// Distinct stacks, their frames, and distinct names of types.
const STACKS: usize = 8192;
const FRAMES: usize = 1 << 18;
const NAMES: usize = 1 << 16;
/// Stacks of one map that are told apart.
const STACKS_OF_ONE: usize = 64;
/// A longer name is cut: no Go type or function needs it.
const NAME_MAX: usize = 4096;
/// Storage let go within this time of its allocation was made for little.
pub(super) const QUICK_NS: u64 = 1_000_000_000;

/// A text without what exceeds a name's length.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Names, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Rc<str>>);

impl Names {
    pub(super) fn of(&mut self, text: &str) -> Rc<str> {
        let text = shortened(text);
        if let Some(known) = self.0.get(text) {
            return Rc::clone(known);
        }
        let name: Rc<str> = text.into();
        if self.0.len() < NAMES {
            self.0.insert(Rc::clone(&name));
        }
        name
    }
}

/// Stacks, each kept once.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    ids: HashMap<Rc<[FrameKey]>, u32>,
    pub(super) stacks: Vec<Rc<[Frame]>>,
    frames: usize,
    /// There were more than can be kept.
    pub(super) more: bool,
    names: Names,
}

type FrameKey = (Rc<str>, Rc<str>, u32, bool);

impl Stacks {
    /// The number of a stack; `None` of an empty one, and where there is no more room.
    pub(super) fn id(&mut self, stack: &[Frame]) -> Option<u32> {
        if stack.is_empty() {
            return None;
        }
        let key: Rc<[FrameKey]> = stack
            .iter()
            .map(|frame| {
                let function = self.names.of(&frame.function);
                (
                    function,
                    self.names.of(&frame.file),
                    frame.line,
                    frame.inlined,
                )
            })
            .collect();
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        let frames = self.frames + stack.len();
        if self.stacks.len() >= STACKS || frames > FRAMES {
            self.more = true;
            return None;
        }
        let id = u32::try_from(self.stacks.len()).ok()?;
        self.frames = frames;
        self.stacks.push(
            key.iter()
                .map(|(function, file, line, inlined)| Frame {
                    function: function.to_string(),
                    file: file.to_string(),
                    line: *line,
                    inlined: *inlined,
                })
                .collect(),
        );
        self.ids.insert(key, id);
        Some(id)
    }
}

/// An event, without its names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dot {
    pub(super) t_ns: u64,
    pub(super) op: Op,
    pub(super) goid: Option<u64>,
    pub(super) stack: Option<u32>,
    pub(super) len: Option<u64>,
    pub(super) old_capacity: Option<u64>,
    pub(super) capacity: Option<u64>,
    /// Slots of the whole map afterwards.
    pub(super) slots: Option<u64>,
    /// Bytes of the whole map's storage afterwards.
    pub(super) storage: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) holes: Option<f64>,
}

/// Bytes of storage as the events add up; `None` where a part is not known.
#[derive(Debug, Clone, Copy)]
struct Storage {
    current: Option<u64>,
    overflow: Option<u64>,
    /// What a classic growth still empties.
    old: Option<u64>,
    /// Slots of the whole map.
    slots: Option<u64>,
}

const UNKNOWN: Storage = Storage {
    current: None,
    overflow: None,
    old: None,
    slots: None,
};

impl Storage {
    fn bytes(&self) -> Option<u64> {
        let sum = self.current?.checked_add(self.overflow?)?;
        sum.checked_add(self.old?)
    }

    /// Follows an event. `whole`: the source records everything that happens to storage.
    fn follow(&mut self, event: &Event, whole: bool) {
        let swiss = event.b.is_none();
        let (old, size) = (event.old_size.unwrap_or(0), event.size);
        match event.op {
            Op::Create if event.capacity == Some(0) => {
                *self = Self {
                    current: Some(0),
                    overflow: Some(0),
                    old: Some(0),
                    slots: Some(0),
                };
            }
            Op::Create => {
                // make's tables may be several, each with an event of its own.
                *self = UNKNOWN;
                if !swiss {
                    self.current = size;
                    self.overflow = Some(0);
                    self.old = Some(0);
                    self.slots = event.capacity;
                }
            }
            Op::Grow | Op::GrowSameSize if swiss => {
                let one = event.tables.is_some_and(|tables| tables <= 1);
                if one {
                    *self = Self {
                        current: size,
                        overflow: Some(0),
                        old: Some(0),
                        slots: event.capacity,
                    };
                } else {
                    self.replace(size, old, event.capacity, event.old_capacity);
                }
            }
            Op::Grow | Op::GrowSameSize => {
                // What is not recorded, overflow buckets above all, would be missing.
                self.old = match (whole, event.old_capacity) {
                    (_, Some(0)) => Some(0),
                    (true, _) => self
                        .current
                        .zip(self.overflow)
                        .map(|(a, b)| a.saturating_add(b)),
                    (false, _) => None,
                };
                self.current = size;
                self.overflow = whole.then_some(0);
                self.slots = event.capacity;
            }
            Op::Split => {
                let twice = event.second_block.is_some();
                let new = |value: Option<u64>| match twice {
                    true => value.and_then(|value| value.checked_mul(2)),
                    false => value,
                };
                self.replace(new(size), old, new(event.capacity), event.old_capacity);
            }
            Op::Overflow => {
                self.overflow = self
                    .overflow
                    .zip(size)
                    .and_then(|(sum, size)| sum.checked_add(size));
            }
            Op::Evacuated => self.old = Some(0),
            // What a clear lets go, and a copy takes over, no event tells in full.
            Op::Clear if !swiss => self.overflow = None,
            Op::Clone => *self = UNKNOWN,
            _ => {}
        }
        if event.map_capacity.is_some() {
            self.slots = event.map_capacity;
        }
    }

    fn replace(&mut self, new: Option<u64>, old: u64, slots: Option<u64>, before: Option<u64>) {
        self.current = self
            .current
            .zip(new)
            .and_then(|(sum, new)| sum.checked_add(new)?.checked_sub(old));
        self.slots = self
            .slots
            .zip(slots)
            .zip(before)
            .and_then(|((sum, new), before)| sum.checked_add(new)?.checked_sub(before));
    }
}

/// Growths under one stack.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growths {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// A map as one source saw it, from its first event to its last: an address may be another
/// map's afterwards.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) number: u32,
    pub(super) source: usize,
    pub(super) address: u64,
    pub(super) type_name: Option<Rc<str>>,
    pub(super) name: Option<Rc<str>>,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: Option<u64>,
    /// The most entries it was seen with.
    pub(super) most: Option<u64>,
    pub(super) events: u64,
    pub(super) growths: u64,
    /// Bytes of new storage, in sum.
    pub(super) new_bytes: u64,
    /// Growths and their bytes while the collector marked.
    pub(super) stacks: HashMap<Option<u32>, Growths>,
    pub(super) notable: Thinned<Dot>,
    pub(super) writes: Thinned<Dot>,
    had_storage: bool,
    storage: Storage,
}

impl Life {
    fn new(number: u32, source: usize, address: u64, t_ns: u64) -> Self {
        Self {
            number,
            source,
            address,
            type_name: None,
            name: None,
            first: t_ns,
            last: t_ns,
            len: None,
            most: None,
            events: 0,
            growths: 0,
            new_bytes: 0,
            stacks: HashMap::new(),
            notable: Thinned::new(),
            writes: Thinned::new(),
            had_storage: false,
            storage: UNKNOWN,
        }
    }

    fn dots(&self) -> usize {
        self.notable.len() + self.writes.len()
    }

    /// Whether an event can only be of another map, which lies here now.
    fn is_over(&self, event: &Event, type_name: Option<&Rc<str>>, t_ns: u64) -> bool {
        if event.op == Op::Create {
            return true;
        }
        if let (Some(was), Some(is)) = (&self.type_name, type_name)
            && was != is
        {
            return true;
        }
        if t_ns < self.last {
            return false;
        }
        // A map never has fewer slots than before, and gets its first storage once.
        let (_, after) = slots_around(event);
        let fewer = after
            .zip(self.storage.slots)
            .is_some_and(|(now, was)| now < was);
        let first = event.op == Op::Grow && event.old_capacity == Some(0) && self.had_storage;
        fewer || first
    }

    /// Slots, as last known.
    pub(super) fn slots(&self) -> Option<u64> {
        self.storage.slots
    }
}

/// Maps that are not told apart any more, in sum.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rest {
    pub(super) maps: u64,
    pub(super) events: u64,
    pub(super) growths: u64,
    pub(super) new_bytes: u64,
}

/// A block that an event told of: where, when, and of which map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) address: u64,
    pub(super) t_ns: u64,
    pub(super) life: u32,
    pub(super) source: u32,
}

/// A block whose end is waited for: when it was allocated, its bytes, by which stack.
type Open = (u64, u64, Option<u32>);

/// What became of the blocks that one stack allocated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Churn {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// Let go within [`QUICK_NS`].
    pub(super) quick: u64,
    pub(super) quick_bytes: u64,
    /// When the first and the last of those was.
    pub(super) first: u64,
    pub(super) last: u64,
}

/// The maps of all event files, one file after the other.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) lives: Vec<Life>,
    current: HashMap<u64, usize, AddressHash>,
    source: usize,
    whole: bool,
    begun: u32,
    most: usize,
    dots: usize,
    pub(super) rest: Rest,
    pub(super) seen: Vec<Seen>,
    pub(super) seen_more: bool,
    open: HashMap<u64, Open, AddressHash>,
    /// Arrays that classic maps still empty, by map.
    emptied: HashMap<u64, (u64, Open), AddressHash>,
    /// By source and stack.
    pub(super) churn: HashMap<(usize, Option<u32>), Churn>,
    names: Names,
}

impl Lives {
    /// The events of another source follow. `whole`: all that happens to storage is recorded.
    pub(super) fn begin(&mut self, source: usize, whole: bool) {
        self.current.clear();
        self.open.clear();
        self.emptied.clear();
        self.source = source;
        self.whole = whole;
        if self.most == 0 {
            self.most = DOTS_OF_ONE;
        }
    }

    /// Adds an event of the source that was begun.
    pub(super) fn add(&mut self, event: &Event, t_ns: u64, stacks: &mut Stacks) {
        let type_name = event.type_name.as_deref().map(|name| self.names.of(name));
        let stack = stacks.id(&event.stack);
        self.blocks(event, t_ns, stack);
        let at = self.life(event, type_name.as_ref(), t_ns);
        let (source, whole, most) = (self.source, self.whole, self.most);
        let Some(life) = self.lives.get_mut(at) else {
            return;
        };
        let before = life.dots();
        if life.type_name.is_none() {
            life.type_name = type_name;
        }
        life.first = life.first.min(t_ns);
        life.last = life.last.max(t_ns);
        life.events += 1;
        life.len = event.len.or(life.len);
        life.most = life.most.max(event.len);
        let bytes = new_bytes(event).unwrap_or(0);
        life.new_bytes = life.new_bytes.saturating_add(bytes);
        life.had_storage |= bytes > 0;
        if event.op.is_growth() {
            life.growths += 1;
            let known = life.stacks.len() < STACKS_OF_ONE || life.stacks.contains_key(&stack);
            let of = life
                .stacks
                .entry(if known { stack } else { None })
                .or_default();
            of.count += 1;
            of.bytes = of.bytes.saturating_add(bytes);
        }
        life.storage.follow(event, whole);
        let dot = Dot {
            t_ns,
            op: event.op,
            goid: event.goid,
            stack,
            len: event.len,
            old_capacity: event.old_capacity,
            capacity: event.capacity,
            slots: life.storage.slots,
            storage: life.storage.bytes(),
            size: match event.op {
                Op::Evacuated | Op::Release | Op::Free => event.old_size.or(event.size),
                _ => event.size,
            },
            holes: event
                .hole_density
                .filter(|share| (0.0..=1.0).contains(share)),
        };
        match event.op {
            Op::Assign | Op::Delete => life.writes.push(dot, most),
            _ => life.notable.push(dot, most),
        }
        let number = life.number;
        self.dots = (self.dots + life.dots()).saturating_sub(before);
        self.shrink();
        // Directories and descriptors of tables are of types of their own.
        let storage = !matches!(event.op, Op::Directory | Op::Table);
        let blocks = [event.block, event.second_block].into_iter().flatten();
        for block in blocks.filter(|_| storage) {
            if self.seen.len() < SEEN {
                self.seen.push(Seen {
                    address: block,
                    t_ns,
                    life: number,
                    source: source as u32,
                });
            } else {
                self.seen_more = true;
            }
        }
    }

    /// The place of the map that an event is of.
    fn life(&mut self, event: &Event, type_name: Option<&Rc<str>>, t_ns: u64) -> usize {
        if let Some(at) = self.current.get(&event.map)
            && let Some(life) = self.lives.get(*at)
            && !(life.events > 0 && life.is_over(event, type_name, t_ns))
        {
            return *at;
        }
        if self.lives.len() >= LIVES {
            self.prune();
        }
        self.begun = self.begun.wrapping_add(1);
        let at = self.lives.len();
        self.lives
            .push(Life::new(self.begun, self.source, event.map, t_ns));
        self.current.insert(event.map, at);
        at
    }

    fn prune(&mut self) {
        let mut lives = std::mem::take(&mut self.lives);
        lives.sort_by_key(|life| (Reverse(life.new_bytes), Reverse(life.events), life.number));
        for life in lives.drain(LIVES / 2..) {
            self.rest.maps += 1;
            self.rest.events += life.events;
            self.rest.growths += life.growths;
            self.rest.new_bytes = self.rest.new_bytes.saturating_add(life.new_bytes);
        }
        lives.sort_by_key(|life| life.number);
        self.dots = lives.iter().map(Life::dots).sum();
        self.current.clear();
        for (at, life) in lives.iter().enumerate() {
            if life.source == self.source {
                // A later life at the same address is the current one.
                self.current.insert(life.address, at);
            }
        }
        self.lives = lives;
    }

    fn shrink(&mut self) {
        while self.dots > DOTS && self.most > DOTS_MIN {
            self.most = (self.most / 2).max(DOTS_MIN);
            for life in &mut self.lives {
                life.notable.thin(self.most);
                life.writes.thin(self.most);
            }
            self.dots = self.lives.iter().map(Life::dots).sum();
        }
    }

    /// Follows blocks from their allocation to their end.
    fn blocks(&mut self, event: &Event, t_ns: u64, stack: Option<u32>) {
        self.ended(event, t_ns);
        let (Some(block), Some(size)) = (event.block, event.size) else {
            return;
        };
        for block in [Some(block), event.second_block].into_iter().flatten() {
            if size > 0 && (self.open.len() < OPEN || self.open.contains_key(&block)) {
                self.open.insert(block, (t_ns, size, stack));
            }
        }
    }

    /// Counts the blocks whose end an event tells. A classic map holds the array that it grew
    /// out of until it is empty (runtime/map.go, `evacuate`), and grows again only after that
    /// (`hashGrow` is not called while it grows): its next growth is the latest time.
    fn ended(&mut self, event: &Event, t_ns: u64) {
        let block = |lives: &mut Self| {
            let old = event.old_block?;
            Some((old, lives.open.remove(&old)?))
        };
        let over = match event.op {
            Op::Grow | Op::GrowSameSize if event.b.is_some() => {
                let before = self.emptied.remove(&event.map);
                if let Some(old) = block(self)
                    && self.emptied.len() < OPEN
                {
                    self.emptied.insert(event.map, old);
                }
                before
            }
            Op::Evacuated => {
                let emptied = self.emptied.remove(&event.map);
                // Of an event that was lost in between nothing is known.
                emptied.filter(|(old, _)| event.old_block.is_none_or(|told| told == *old))
            }
            Op::Create => {
                // When the map that lay here let go of its storage, nothing tells.
                self.emptied.remove(&event.map);
                block(self)
            }
            _ => block(self),
        };
        if let Some((_, (since, bytes, stack))) = over {
            self.churned(t_ns, since, bytes, stack);
        }
    }

    fn churned(&mut self, t_ns: u64, since: u64, bytes: u64, stack: Option<u32>) {
        let churn = self.churn.entry((self.source, stack)).or_default();
        churn.blocks += 1;
        churn.bytes = churn.bytes.saturating_add(bytes);
        if t_ns.saturating_sub(since) <= QUICK_NS {
            churn.first = if churn.quick == 0 {
                t_ns
            } else {
                churn.first.min(t_ns)
            };
            churn.last = churn.last.max(t_ns);
            churn.quick += 1;
            churn.quick_bytes = churn.quick_bytes.saturating_add(bytes);
        }
    }

    /// Gives a name to the one map of a source.
    pub(super) fn name(&mut self, source: usize, name: &str) {
        let name = self.names.of(name);
        let mut of = self.lives.iter_mut().filter(|life| life.source == source);
        if let (Some(life), None) = (of.next(), of.next()) {
            life.name = Some(name);
        }
    }
}
