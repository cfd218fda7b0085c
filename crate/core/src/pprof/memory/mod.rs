//! The runtime's own records of profiles, read from a process or a core (runtime/mprof.go):
//! what `runtime.MemProfile`, `BlockProfile` and `MutexProfile` would return at this stop, and
//! the goroutines (`GoroutineProfile`).
//!
//! Nothing of it needs the program's help: the records are lists that lead from three
//! variables. Their stacks have the runtime's own frames, which files lack.

mod anchors;
mod goroutines;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::model::{
    Kind, Label, LabelValue, Line, Location, Origin, Placement, Profile, Sample, ValueType,
};
use super::read::scale;
use crate::binary::{Functions, Record};
use crate::gotype::Types;
use crate::heap::{HeapError, ThreadRegisters, functions, only_le64};
use crate::map::Defects;
use crate::memory::{Abi, AddressHash, Memory, ReadError};
use anchors::Anchors;

pub use goroutines::{Standing, standing};

/// Records of one list that are read. `buckhash` of runtime/mprof.go has 179,999 chains.
const RECORDS_MAX: usize = 1 << 21;

/// Calls in the stacks of one profile.
const CALLS_MAX: usize = 1 << 24;

/// runtime.maxProfStackDepth since go1.23; runtime.maxStack was 32 before.
const DEPTH_MAX: u64 = 1024;

/// Records that are read between two checks whether the user wants to stop.
const CHECKPOINT: usize = 1024;

/// `logicalStackSentinel` of go1.23 to go1.26: the stack that follows has a word for each
/// inlined call.
const SENTINEL: u64 = u64::MAX;

/// runtime.MemProfileRate, unless the program sets it.
const RATE_MAX: u64 = 1 << 40;

/// What stands in `bucket.typ`.
fn number(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Heap => Some(1),
        Kind::Block => Some(2),
        Kind::Mutex => Some(3),
        _ => None,
    }
}

fn list(kind: Kind) -> &'static str {
    match kind {
        Kind::Heap => "runtime.mbuckets",
        Kind::Block => "runtime.bbuckets",
        _ => "runtime.xbuckets",
    }
}

/// The target's clocks, both read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The processor's: `runtime.cputicks`.
    pub ticks: i64,
    /// CLOCK_MONOTONIC in nanoseconds: `runtime.nanotime`.
    pub monotonic_ns: i64,
}

/// Nanoseconds that must have passed for the clocks to be compared (runtime/runtime.go,
/// minTimeForTicksPerSecond).
const COMPARABLE: i64 = 5_000_000;

/// Reads a profile from memory: of [`Kind::Heap`], [`Kind::Block`], [`Kind::Mutex`] or
/// [`Kind::Goroutine`]. `threads` are those that the system knows; only goroutines need them. With
/// `clock`, of a process on this machine, ticks can be told without the process's help.
///
/// Heap: allocations up to the last collection that was completed, as
/// `runtime.MemProfile(p, true)` would return them now, scaled as `runtime/pprof` scales them
/// ([`Sample::raw`]: as sampled). Block and mutex: counts, and nanoseconds; where the process
/// does not know yet how many ticks its clock has a second, ticks, and the unit says so.
///
/// # Errors
/// When the runtime's structures are not known, the kind is not kept in memory, or the user
/// wants to stop. What is unreadable or contradictory is a note of the profile.
pub fn profile(
    types: &Types,
    memory: &dyn Memory,
    (threads, clock): (&[ThreadRegisters], Option<Clock>),
    kind: Kind,
) -> Result<Profile, HeapError> {
    let reader = Reader::new(types, memory)?;
    match kind {
        Kind::Heap => reader.heap(),
        Kind::Block | Kind::Mutex => reader.waits(kind, clock),
        Kind::Goroutine => reader.goroutines(threads),
        _ => Err(HeapError::Unknown(
            "only heap, goroutine, block and mutex profiles are kept in memory".to_owned(),
        )),
    }
}

/// One record of a list.
struct Raw {
    address: u64,
    /// Of the objects that are counted; 0 of waits.
    size: u64,
    stack: Vec<u64>,
    /// Where what is counted stands.
    data: u64,
}

/// Where the fields lie, and the names of functions.
struct Reader<'a> {
    types: &'a Types,
    memory: &'a dyn Memory,
    functions: Functions,
    abi: Abi,
    anchors: Anchors<'a>,
}

impl<'a> Reader<'a> {
    fn new(types: &'a Types, memory: &'a dyn Memory) -> Result<Self, HeapError> {
        let abi = types.binary().abi();
        only_le64(abi, "where the runtime keeps its profiles")?;
        Ok(Self {
            types,
            memory,
            functions: functions(types, memory)?,
            abi,
            anchors: Anchors::new(types, memory),
        })
    }

    fn record(&self, name: &str, fields: &[&str]) -> Result<Rc<Record>, HeapError> {
        let record = self.types.binary().record(name);
        record
            .filter(|record| fields.iter().all(|field| record.field(field).is_some()))
            .filter(|record| record.size <= 4096)
            .ok_or_else(|| HeapError::Unknown(format!("runtime.{name} is not known")))
    }

    /// The bytes at `at`; `None` where they are unreadable.
    fn bytes(&self, at: u64, len: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let mut bytes = vec![0; len as usize];
        match self.memory.read(at, &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(ReadError::Fault { .. }) => Ok(None),
            Err(interrupted) => Err(interrupted),
        }
    }

    fn word(&self, at: Option<u64>, size: u64) -> Result<Option<u64>, ReadError> {
        let Some(at) = at else { return Ok(None) };
        Ok(self.bytes(at, size)?.map(|bytes| self.abi.uint(&bytes)))
    }

    /// The first record of a list; `Some(0)` if there is none.
    fn head(&self, kind: Kind, bucket: &Record) -> Result<Option<u64>, ReadError> {
        if let Some(at) = self.anchors.named(list(kind)) {
            return self.word(Some(at), 8);
        }
        let mut empty = 0;
        for at in self.anchors.lists() {
            let Some(first) = self.word(Some(at), 8)? else {
                continue;
            };
            if first == 0 {
                empty += 1;
                continue;
            }
            let head = self.bytes(first, bucket.size)?;
            let found = head.and_then(|bytes| bucket.value(self.abi, &bytes, "typ"));
            if found.is_some() && found == number(kind) {
                return Ok(Some(first));
            }
        }
        // One of those that lead nowhere is this kind's.
        Ok((empty > 0).then_some(0))
    }

    /// All records of a list, the newest first, as the runtime goes through them.
    fn records(&self, kind: Kind, data_len: u64, notes: &mut Notes) -> Result<Vec<Raw>, HeapError> {
        let bucket = self.record("bucket", &["allnext", "typ", "size", "nstk"])?;
        let Some(mut at) = self.head(kind, &bucket)? else {
            return Err(HeapError::Unknown(format!("{} was not found", list(kind))));
        };
        let mut found: Vec<Raw> = Vec::new();
        let mut seen: HashSet<u64, AddressHash> = HashSet::default();
        let mut calls = 0;
        while at != 0 {
            if found.len().is_multiple_of(CHECKPOINT) {
                self.memory.checkpoint(0, 0)?;
            }
            if found.len() >= RECORDS_MAX || calls >= CALLS_MAX {
                notes.cut(format!("only the newest {} records were read", found.len()));
                break;
            }
            if !seen.insert(at) {
                notes.damage(at, "a list of records goes in a circle");
                break;
            }
            let Some(bytes) = self.bytes(at, bucket.size)? else {
                notes.damage(at, "a record is unreadable, and so are those behind it");
                break;
            };
            let value = |name: &str| bucket.value(self.abi, &bytes, name).unwrap_or(0);
            let depth = value("nstk");
            if Some(value("typ")) != number(kind) || depth > DEPTH_MAX {
                notes.damage(
                    at,
                    "what should be a record is none: those behind it are missing",
                );
                break;
            }
            let stack_at = at.wrapping_add(bucket.size.next_multiple_of(8));
            let len = 8 * depth;
            match self.bytes(stack_at, len + data_len)? {
                Some(words) => {
                    let stack: Vec<u64> = words
                        .get(..len as usize)
                        .unwrap_or_default()
                        .chunks_exact(8)
                        .map(|word| self.abi.uint(word))
                        .collect();
                    calls += stack.len();
                    found.push(Raw {
                        address: at,
                        size: value("size"),
                        stack,
                        data: stack_at.wrapping_add(len),
                    });
                }
                None => notes.damage(at, "a record is unreadable"),
            }
            at = value("allnext");
        }
        Ok(found)
    }

    /// The profile without samples.
    fn empty(&self, kind: Kind, types: &[(&str, &str)]) -> Profile {
        let binary = self.types.binary();
        Profile {
            kind,
            origin: Origin::Memory,
            sample_types: types
                .iter()
                .map(|(name, unit)| value_type(name, unit))
                .collect(),
            period: 1,
            period_type: types.first().map(|(name, unit)| value_type(name, unit)),
            time_ns: None,
            duration_ns: 0,
            last_gc_ns: None,
            samples: Vec::new(),
            locations: Vec::new(),
            program: Some(binary.path().display().to_string().into()),
            build_id: binary.gnu_build_id().map(Rc::from),
            placement: Placement::default(),
            notes: Vec::new(),
        }
    }

    /// A time of `memstats`, where the debug information tells its place.
    fn memstats(&self, field: &str) -> Result<Option<i64>, ReadError> {
        let Ok(record) = self.large("mstats") else {
            return Ok(None);
        };
        let at = self
            .anchors
            .named("runtime.memstats")
            .zip(record.field(field))
            .map(|(at, place)| at.wrapping_add(place.offset));
        let value = self.word(at, 8)?;
        Ok(value
            .and_then(|value| i64::try_from(value).ok())
            .filter(|value| *value > 0))
    }

    /// A record of any size.
    fn large(&self, name: &str) -> Result<Record, HeapError> {
        let binary = self.types.binary();
        Record::find(name, binary.dwarf(), (self.abi, binary.arch()), None)
            .ok_or_else(|| HeapError::Unknown(format!("runtime.{name} is not known")))
    }

    /// `runtime.memProfileInternal`, but for what it writes.
    fn heap(&self) -> Result<Profile, HeapError> {
        let mut profile = self.empty(
            Kind::Heap,
            &[
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes"),
            ],
        );
        profile.last_gc_ns = self.memstats("last_gc_unix")?;
        let mut notes = Notes::default();
        let rate = self.word(self.anchors.rate(), 8)?;
        let rate = rate.filter(|rate| *rate <= RATE_MAX || (*rate as i64) < 0);
        profile.period_type = Some(value_type("space", "bytes"));
        profile.period = rate.map_or(0, |rate| rate as i64);
        let cycle = self.record("memRecordCycle", &["allocs", "frees"])?;
        // Four of them: the one that is shown, and three to come.
        let len = cycle.size.next_multiple_of(8);
        let records = self.records(Kind::Heap, 4 * len, &mut notes)?;
        let mut cycles = Vec::with_capacity(records.len());
        for raw in &records {
            let bytes = self.bytes(raw.data, 4 * len)?.unwrap_or_default();
            let counts: Vec<Count> = bytes
                .chunks_exact(len as usize)
                .map(|bytes| {
                    let value = |name: &str| cycle.value(self.abi, bytes, name);
                    let allocs = value("allocs").unwrap_or(0);
                    let frees = value("frees").unwrap_or(0);
                    // Since go1.27 all objects of a record have its size.
                    let bytes = |count: u64| count.wrapping_mul(raw.size);
                    Count {
                        allocs,
                        frees,
                        alloc_bytes: value("alloc_bytes").unwrap_or_else(|| bytes(allocs)),
                        free_bytes: value("free_bytes").unwrap_or_else(|| bytes(frees)),
                    }
                })
                .collect();
            cycles.push(counts);
        }
        // The number is shifted: bit 0 says whether its cycle was added already, and then the
        // cycle is zero.
        let now = self.word(self.anchors.cycle(), 4)?.map(|value| value >> 1);
        if now.is_none() && !records.is_empty() {
            notes.cut(
                "which cycle ends next is not known: what the last collection found is left out"
                    .to_owned(),
            );
        }
        let shown = now.map_or(usize::MAX, |now| 1 + (now % 3) as usize);
        let sum = |counts: &[Count], which: &dyn Fn(usize) -> bool| {
            let mut sum = Count::default();
            for (index, count) in counts.iter().enumerate() {
                if which(index) {
                    sum.add(count);
                }
            }
            sum
        };
        let ended = |index: usize| index == 0 || index == shown;
        let nothing = cycles
            .iter()
            .all(|counts| sum(counts, &ended) == Count::default());
        if nothing && !records.is_empty() {
            notes.cut(
                "no collection was completed yet: all allocations are shown, as the runtime does"
                    .to_owned(),
            );
        }
        let mut places = Places::new(self);
        for (raw, counts) in records.iter().zip(&cycles) {
            let total = sum(counts, &|index| nothing || ended(index));
            let Some(values) = total.values() else {
                notes.damage(raw.address, "a record counts more frees than allocations");
                continue;
            };
            let mut sample = Sample {
                stack: places.stack(&raw.stack),
                values: values.to_vec(),
                raw: None,
                labels: vec![Label {
                    key: "bytes".into(),
                    value: LabelValue::Number(raw.size as i64, "bytes".into()),
                }],
            };
            if let Some(rate) = rate {
                let rate = rate as i64;
                let (objects, bytes) = scale(values[0], values[1], rate);
                let (used_objects, used_bytes) = scale(values[2], values[3], rate);
                let scaled = vec![objects, bytes, used_objects, used_bytes];
                sample.raw = Some(std::mem::replace(&mut sample.values, scaled));
            }
            profile.samples.push(sample);
        }
        match rate {
            None => notes.cut(
                "runtime.MemProfileRate was not found: the values are those that were sampled"
                    .to_owned(),
            ),
            Some(0) => notes.cut(
                "runtime.MemProfileRate is 0: the program never asks for its heap profile (the \
                 linker turned it off), or has turned it off"
                    .to_owned(),
            ),
            Some(_) => {}
        }
        profile.locations = places.locations;
        profile.notes = notes.finish();
        Ok(profile)
    }

    /// Ticks of a second, as the process measured them, else by `clock`; `None` if neither
    /// tells.
    fn ticks(&self, clock: Option<Clock>) -> Result<Option<f64>, ReadError> {
        // On arm64 a tick is a nanosecond (runtime/os_linux_arm64.go, cputicks).
        if self.types.binary().arch() == Some("arm64") {
            return Ok(Some(1e9));
        }
        let record = self.large("ticksType").ok();
        let offset = record
            .as_ref()
            .and_then(|record| record.field("val"))
            .map(|place| place.offset);
        let at = self.anchors.ticks(offset);
        // A clock of more than 100 GHz is none.
        let sound = |value: i64| (1_000_000..100_000_000_000).contains(&value);
        let known = self.word(at, 8)?.map(|value| value as i64);
        if let Some(known) = known.filter(|known| sound(*known)) {
            return Ok(Some(known as f64));
        }
        // Since go1.22 the process notes both clocks when it begins, in front of the value
        // (runtime/runtime.go, ticksType).
        let minor = self.types.binary().minor();
        let (Some(clock), Some(at), Some(0), Some(22..)) = (clock, at, known, minor) else {
            return Ok(None);
        };
        let word = |before: u64| self.word(at.checked_sub(before), 8);
        let (Some(ticks), Some(time)) = (word(16)?, word(8)?) else {
            return Ok(None);
        };
        let passed = clock.monotonic_ns.checked_sub(time as i64);
        let counted = clock.ticks.checked_sub(ticks as i64);
        let per_second = passed
            .zip(counted)
            .filter(|(passed, counted)| *passed >= COMPARABLE && *counted > 0)
            .map(|(passed, counted)| counted as f64 * 1e9 / passed as f64);
        Ok(per_second.filter(|found| sound(*found as i64)))
    }

    /// What was sampled, where the variable has a name and is not 1: then counts and delays are
    /// estimates.
    fn rate_of(&self, kind: Kind) -> Result<Option<String>, ReadError> {
        let name = match kind {
            Kind::Block => "runtime.blockprofilerate",
            _ => "runtime.mutexprofilerate",
        };
        let rate = self.word(self.anchors.named(name), 8)?;
        Ok(rate.map(|rate| rate as i64).and_then(|rate| match (kind, rate) {
            (_, 1) => None,
            (Kind::Block, 2..) => Some(format!(
                "waits of less than {rate} ticks are noted by chance, and stand for more of them"
            )),
            (Kind::Mutex, 2..) => Some(format!(
                "one wait for a lock in {rate} is noted, and stands for all of them"
            )),
            _ => Some("nothing is noted now: what is here is from before".to_owned()),
        }))
    }

    /// `runtime.blockProfileInternal` and `mutexProfileInternal`.
    fn waits(&self, kind: Kind, clock: Option<Clock>) -> Result<Profile, HeapError> {
        let ticks = self.ticks(clock)?;
        let unit = if ticks.is_some() {
            "nanoseconds"
        } else {
            "ticks"
        };
        let mut profile = self.empty(kind, &[("contentions", "count"), ("delay", unit)]);
        let mut notes = Notes::default();
        let record = self.record("blockRecord", &["count", "cycles"])?;
        let len = record.size.next_multiple_of(8);
        let records = self.records(kind, len, &mut notes)?;
        let mut places = Places::new(self);
        for raw in &records {
            let bytes = self.bytes(raw.data, len)?.unwrap_or_default();
            let value = |name: &str| record.value(self.abi, &bytes, name).unwrap_or(0);
            let count = f64::from_bits(value("count"));
            let cycles = value("cycles") as i64;
            if !(0.0..9e18).contains(&count) || cycles < 0 {
                notes.damage(raw.address, "a record counts what cannot be");
                continue;
            }
            // Go's int64(count), and of waits for anything but locks' holders at least 1.
            let mut count = count as i64;
            if kind == Kind::Block && count == 0 {
                count = 1;
            }
            let delay = ticks.map_or(cycles, |ticks| (cycles as f64 / (ticks / 1e9)) as i64);
            profile.samples.push(Sample {
                stack: places.stack(&raw.stack),
                values: vec![count, delay],
                raw: Some(vec![count, cycles]),
                labels: Vec::new(),
            });
        }
        if ticks.is_none() && !records.is_empty() {
            notes.cut(
                "the process has not measured yet how many ticks a second has \
                 (runtime.ticksPerSecond): delays are in ticks of the processor's clock"
                    .to_owned(),
            );
        }
        if records.is_empty() {
            let set = if kind == Kind::Block {
                "runtime.SetBlockProfileRate"
            } else {
                "runtime.SetMutexProfileFraction"
            };
            notes.cut(format!(
                "there are no records: nothing was noted, which {set} begins"
            ));
        } else {
            notes.cut.extend(self.rate_of(kind)?);
        }
        profile.locations = places.locations;
        profile.notes = notes.finish();
        Ok(profile)
    }
}

/// What happened in a cycle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    allocs: u64,
    frees: u64,
    alloc_bytes: u64,
    free_bytes: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.allocs = self.allocs.wrapping_add(other.allocs);
        self.frees = self.frees.wrapping_add(other.frees);
        self.alloc_bytes = self.alloc_bytes.wrapping_add(other.alloc_bytes);
        self.free_bytes = self.free_bytes.wrapping_add(other.free_bytes);
    }

    /// Objects and bytes allocated, objects and bytes in use; `None` for what cannot be.
    fn values(&self) -> Option<[i64; 4]> {
        let objects = self.allocs.checked_sub(self.frees)?;
        let bytes = self.alloc_bytes.checked_sub(self.free_bytes)?;
        let all = [self.allocs, self.alloc_bytes, objects, bytes];
        let mut values = [0; 4];
        for (to, from) in values.iter_mut().zip(all) {
            *to = i64::try_from(from).ok()?;
        }
        Some(values)
    }
}

fn value_type(name: &str, unit: &str) -> ValueType {
    ValueType {
        name: name.into(),
        unit: unit.into(),
    }
}

/// What the reader of a profile must know.
#[derive(Default)]
struct Notes {
    cut: Vec<String>,
    damage: Defects,
}

impl Notes {
    fn cut(&mut self, sentence: String) {
        self.cut.push(sentence);
    }

    fn damage(&mut self, at: u64, what: &str) {
        self.damage.push("profile-record", at, "", what, "");
    }

    /// Sentences: the first few of what is damaged, and how many there are.
    fn finish(mut self) -> Vec<String> {
        const SHOWN: usize = 3;
        for defect in self.damage.kept().iter().take(SHOWN) {
            self.cut
                .push(format!("{} ({:#x})", defect.found, defect.address));
        }
        let more = self.damage.total().saturating_sub(SHOWN as u64);
        if more > 0 {
            self.cut.push(format!("{more} more records are damaged"));
        }
        self.cut
    }
}

/// Places in code, each once.
struct Places<'a> {
    reader: &'a Reader<'a>,
    locations: Vec<Location>,
    /// By address in the process.
    known: HashMap<u64, u32, AddressHash>,
    /// By return address: the calls that end there, with their addresses, innermost first.
    expanded: HashMap<u64, Rc<[u64]>, AddressHash>,
    stacks: HashMap<Vec<u32>, Rc<[u32]>>,
}

impl<'a> Places<'a> {
    fn new(reader: &'a Reader<'a>) -> Self {
        Self {
            reader,
            locations: Vec::new(),
            known: HashMap::default(),
            expanded: HashMap::default(),
            stacks: HashMap::new(),
        }
    }

    /// The stack of return addresses, innermost first, a location for each call of the source.
    /// Inlined calls are part of the list or not, as with `runtime.CallersFrames`
    /// (runtime/symtab.go, Frames.Next).
    fn stack(&mut self, returns: &[u64]) -> Rc<[u32]> {
        let mut stack = Vec::with_capacity(returns.len());
        let returns = match returns {
            [SENTINEL, rest @ ..] => rest,
            all => all,
        };
        for (index, address) in returns.iter().enumerate() {
            let expanded = self.expand(*address);
            let next = returns.get(index + 1);
            for (depth, pc) in expanded.iter().enumerate() {
                // The list goes on with the inlined call's caller by itself, or ends.
                if depth > 0 && next.is_none_or(|next| *next == pc.wrapping_add(1)) {
                    break;
                }
                stack.push(self.at(*pc));
            }
        }
        self.keep(stack)
    }

    /// The stack that begins at instructions, not behind calls.
    fn stack_of_instructions(&mut self, pcs: &[u64]) -> Rc<[u32]> {
        let mut stack = Vec::with_capacity(pcs.len());
        for pc in pcs {
            for place in self.resolve(*pc).iter() {
                stack.push(self.at(*place));
            }
        }
        self.keep(stack)
    }

    fn keep(&mut self, stack: Vec<u32>) -> Rc<[u32]> {
        if let Some(known) = self.stacks.get(&stack) {
            return Rc::clone(known);
        }
        let kept: Rc<[u32]> = stack.as_slice().into();
        self.stacks.insert(stack, Rc::clone(&kept));
        kept
    }

    fn expand(&mut self, address: u64) -> Rc<[u64]> {
        let reader = self.reader;
        let function = reader.functions.function_at(reader.memory, address);
        // A function's first address is no return address.
        let pc = match function {
            Some(function) if function.entry == address => address,
            _ => address.saturating_sub(1),
        };
        self.resolve(pc)
    }

    /// The calls that the instruction at `pc` belongs to, by their addresses.
    fn resolve(&mut self, pc: u64) -> Rc<[u64]> {
        if let Some(known) = self.expanded.get(&pc) {
            return Rc::clone(known);
        }
        let reader = self.reader;
        let found = reader.functions.places_of_pc(reader.memory, pc);
        let mut addresses: Vec<u64> = Vec::new();
        // What the compiler made is left out of stacks, but as what was asked for.
        for place in found {
            if place.wrapper && place.pc != pc {
                continue;
            }
            addresses.push(place.pc);
            self.add(place.pc, Some(place.frame));
        }
        if addresses.is_empty() {
            addresses.push(pc);
            self.add(pc, None);
        }
        let kept: Rc<[u64]> = addresses.into();
        self.expanded.insert(pc, Rc::clone(&kept));
        kept
    }

    fn add(&mut self, pc: u64, frame: Option<crate::binary::SourceFrame>) {
        if self.known.contains_key(&pc) {
            return;
        }
        let number = u32::try_from(self.locations.len()).unwrap_or(u32::MAX);
        self.known.insert(pc, number);
        self.locations.push(Location {
            address: pc.wrapping_sub(self.reader.types.bias()),
            lines: frame
                .map(|frame| Line {
                    function: frame.function.into(),
                    file: frame.file.into(),
                    line: i64::from(frame.line),
                })
                .into_iter()
                .collect(),
        });
    }

    fn at(&mut self, pc: u64) -> u32 {
        if let Some(known) = self.known.get(&pc) {
            return *known;
        }
        self.add(pc, None);
        self.known.get(&pc).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_are_none() {
        let count = |allocs, frees| Count {
            allocs,
            frees,
            alloc_bytes: allocs.wrapping_mul(8),
            free_bytes: frees.wrapping_mul(8),
        };
        assert_eq!(count(5, 2).values(), Some([5, 40, 3, 24]));
        assert_eq!(count(2, 5).values(), None);
        let mut sum = count(1, 0);
        sum.alloc_bytes = u64::MAX;
        assert_eq!(sum.values(), None);
        sum.add(&count(u64::MAX, 3));
        assert_eq!(sum.values(), None);
    }

    #[test]
    fn notes_are_few() {
        let mut notes = Notes::default();
        for at in 0..100 {
            notes.damage(at, "a record is unreadable");
        }
        let notes = notes.finish();
        assert_eq!(notes.len(), 4);
        assert_eq!(notes[3], "97 more records are damaged");
    }
}
