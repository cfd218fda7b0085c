//! How fast what is in memory is decoded: maps, event files, execution traces, profiles,
//! and the lines of a listing.
//!
//! `speed MOST` measures the walks of maps of up to so many entries against a copy of the
//! same bytes and prints one JSON object a line, as `tests/bench/bench.py` merges them. The maps are filled at random,
//! with the tables of a Swiss map in no order, and lent to the walkers as gdb's buffers
//! are: the time is that of decoding alone.
//!
//! `speed make events DIRECTORY UNITS` writes `events.jsonl` of so many events,
//! `speed make pprof DIRECTORY UNITS` a `heap.pb` of so many samples.
//!
//! `speed once WHAT UNITS` decodes once, in `counted`, and prints how many units it saw:
//! for `tests/test_instructions.py`, whose counts are the same each time. `speed once`
//! lists what there is.
#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gomapscope_core::events::{self, Ending, Event, EventReader, EventWriter, Frame, Op};
use gomapscope_core::exectrace::{self, Fact, Sink};
use gomapscope_core::layout::{
    Allocator, Header, Hmap, MapLayout, Part, SLOTS, Source, SwissMap, Table,
};
use gomapscope_core::map::{CountOnly, Flow, Unit, Visitor, Walk, walk};
use gomapscope_core::memory::{Abi, Memory, READ_MAX, ReadError};
use gomapscope_core::pprof;

/// `map[int64]int64`: tophashes, keys, elems, overflow pointer.
const BUCKET: usize = 8 + 8 * 8 + 8 * 8 + 8;
/// Control word, then slots of key and elem.
const GROUP: usize = 8 + 8 * 16;
/// Groups of a table of 1024 slots, and the allocator's slot that holds them.
const TABLE_GROUPS: usize = 128;
const TABLE_PLACE: usize = 18432;

const HEADER: u64 = 0x1000;
const STORAGE: u64 = 0xc0_0000_0000;
const OUTSIDE: u64 = 0xc8_0000_0000;
const TABLES: u64 = 0xd0_0000_0000;
const DIRECTORY: u64 = 0xe0_0000_0000;

/// Alternations of the two sides; the best of each counts.
const ROUNDS: u32 = 7;
/// The least that one measurement takes.
const MEASURE: Duration = Duration::from_millis(20);

/// What can be done once, and a number of units to do it with.
const DECODERS: [(&str, u64); 11] = [
    ("classic count", 50_000),
    ("classic ordered", 50_000),
    ("classic entries", 50_000),
    ("swiss count", 50_000),
    ("swiss ordered", 50_000),
    ("swiss entries", 50_000),
    ("events read", 5_000),
    ("events summary", 5_000),
    ("trace", 50_000),
    ("trace summary", 50_000),
    ("pprof", 5_000),
];

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["once"] => {
            for (what, units) in DECODERS {
                println!("{what}\t{units}");
            }
            Ok(())
        }
        [most] => {
            let most: u64 = most.parse()?;
            for entries in [1_000, 100_000, 10_000_000, 100_000_000] {
                if entries > most {
                    break;
                }
                for family in [Family::Classic, Family::Swiss] {
                    compare(&Subject::new(family, entries))?;
                }
            }
            Ok(())
        }
        ["make", kind, directory, units] => make(kind, Path::new(directory), units.parse()?),
        ["once", what, units] => {
            println!("{}", once(what, units.parse()?)?);
            Ok(())
        }
        _ => Err(
            "usage: speed MOST | speed make KIND DIRECTORY UNITS | speed once [WHAT UNITS]".into(),
        ),
    }
}

/// Calls `work`: the one function whose instructions are counted, callees included.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    black_box(work())
}

/// Does one thing once; returns its units: slots, events, samples.
fn once(what: &str, units: u64) -> Result<u64, Failure> {
    let directory = std::env::temp_dir().join(format!("gomapscope-speed-{}", std::process::id()));
    match what.split_once(' ').unwrap_or((what, "")) {
        (family, way) if Family::named(family).is_some() => {
            let family = Family::named(family).ok_or("FAMILY is classic or swiss")?;
            let way = Way::named(way).ok_or("WALK is count, ordered or entries")?;
            let subject = Subject::new(family, units);
            counted(&mut || subject.walk(way))
        }
        ("events", way) => {
            std::fs::create_dir_all(&directory)?;
            let path = directory.join("events.jsonl");
            let written = write_events(&path, units);
            let found = written.and_then(|()| match way {
                "read" => counted(&mut || read_events(&path)),
                _ => counted(&mut || sum_events(&path)),
            });
            std::fs::remove_dir_all(&directory)?;
            found
        }
        ("trace", way) => {
            let bytes = trace(units);
            match way {
                "" => counted(&mut || read_trace(&bytes)),
                _ => counted(&mut || sum_trace(&bytes)),
            }
        }
        ("pprof", _) => {
            let bytes = profile(units);
            counted(&mut || read_profile(&bytes))
        }
        _ => Err(format!("{what}: not one of those that `speed once` lists").into()),
    }
}

/// Writes a file of one kind.
fn make(kind: &str, directory: &Path, units: u64) -> Result<(), Failure> {
    match kind {
        "events" => write_events(&directory.join("events.jsonl"), units),
        "pprof" => Ok(std::fs::write(directory.join("heap.pb"), profile(units))?),
        _ => Err("KIND is events or pprof".into()),
    }
}

/// So many events of maps that grow, with stacks.
fn write_events(path: &Path, units: u64) -> Result<(), Failure> {
    let header = events::Header {
        schema: events::SCHEMA.to_owned(),
        engine: "break".to_owned(),
        ..events::Header::default()
    };
    let mut writer = EventWriter::create(path, true, &header)?;
    let frame = |function: &str, line| Frame {
        function: function.to_owned(),
        file: "/src/service/main.go".to_owned(),
        line,
        inlined: false,
    };
    for seq in 1..=units {
        let map = 0xc0_0000_0000 + seq % 100 * 48;
        let level = (seq / 100 % 10) as u32;
        let mut event = Event::new(seq, Op::Grow, map);
        event.t_mono_ns = Some(1_000_000_000 + seq * 1_500);
        event.goid = Some(seq % 7);
        event.type_name = Some("map[string]*main.Session".to_owned());
        event.len = Some(7 << level);
        event.capacity = Some(16 << level);
        event.old_capacity = Some(8 << level);
        event.map_capacity = event.capacity;
        event.block = Some(0xc1_0000_0000 + seq * 4096);
        event.size = Some(208 << level);
        event.stack = vec![
            frame("main.(*Server).insert", 100 + (seq % 5) as u32),
            frame("main.(*Server).handle", 77),
            frame("main.main", 12),
        ];
        writer.event(&event)?;
    }
    writer.finish(&Ending {
        end: "stopped".to_owned(),
        events: units,
        ..Ending::default()
    })?;
    Ok(())
}

fn read_events(path: &Path) -> Result<u64, Failure> {
    let mut reader = EventReader::open(path)?;
    let mut events = 0;
    while let Some(event) = reader.next_event()? {
        black_box(&event);
        events += 1;
    }
    Ok(events)
}

fn sum_events(path: &Path) -> Result<u64, Failure> {
    let mut reader = EventReader::open(path)?;
    let summary = events::Summary::read(&mut reader, &mut |_| true);
    match summary.end().ending() {
        Some(ending) => Ok(ending.events),
        None => Err("the event file has no end".into()),
    }
}

/// Counts facts.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn fact(&mut self, _: &Fact<'_>, _: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        self.0 += 1;
        true
    }
}

fn whole(outcome: &exectrace::Outcome) -> Result<u64, Failure> {
    match (&outcome.cut, outcome.incomplete) {
        (None, false) => Ok(outcome.events),
        _ => Err(format!("the trace is not whole: {outcome:?}").into()),
    }
}

fn read_trace(bytes: &[u8]) -> Result<u64, Failure> {
    let mut count = Count::default();
    let outcome = exectrace::read(bytes, &mut |_| true, &mut count)?;
    black_box(count.0);
    whole(&outcome)
}

fn sum_trace(bytes: &[u8]) -> Result<u64, Failure> {
    let mut summary = exectrace::Summary::new(None, None);
    let outcome = exectrace::read(bytes, &mut |_| true, &mut summary)?;
    summary.finish();
    black_box(summary.clusters());
    whole(&outcome)
}

/// Numbers as Go's traces have them.
fn numbers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let mut value = *value;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out
}

/// An event of a trace (internal/trace/tracev2, Go 1.26) and its arguments.
fn event(kind: u8, arguments: &[u64]) -> Vec<u8> {
    [vec![kind], numbers(arguments)].concat()
}

fn text(kind: u8, id: u64, text: &str) -> Vec<u8> {
    [
        event(kind, &[id, text.len() as u64]),
        text.as_bytes().to_vec(),
    ]
    .concat()
}

fn batch(out: &mut Vec<u8>, experiment: bool, head: [u64; 3], data: &[u8]) {
    match experiment {
        false => out.push(1),
        true => out.extend([49, 1]),
    }
    let [generation, thread, time] = head;
    out.extend(numbers(&[generation, thread, time, data.len() as u64]));
    out.extend_from_slice(data);
}

/// A trace of so many events on two threads, as Go 1.26 writes it with AllocFree events:
/// goroutines that come and go, objects of maps, the heap's size, now and then a log.
fn trace(units: u64) -> Vec<u8> {
    const NOBODY: u64 = u64::MAX;
    const BATCHES: u64 = 4;
    const EVENTS: u64 = 1024;
    let mut out = b"go 1.26 trace".to_vec();
    out.resize(16, 0);
    for generation in 1..=units.div_ceil(2 * BATCHES * EVENTS) {
        let at = generation * 1_000_000;
        let sync = [
            vec![50],
            event(8, &[15_625_000]),
            event(51, &[5, (at + 5) * 64, 1_700_000_000, 9]),
        ];
        batch(&mut out, false, [generation, NOBODY, at], &sync.concat());
        let first = [vec![1], numbers(&[0xc0_0000_0000, 8192, 8, 2048])];
        batch(&mut out, true, [generation, NOBODY, at], &first.concat());
        for thread in [11, 12] {
            for part in 0..BATCHES {
                let mut events = Vec::new();
                if part == 0 {
                    events.extend(event(25, &[0, thread, thread, 2]));
                    // A span of slots of 576 bytes.
                    events.extend(event(129, &[1, thread, 1, 27 << 1 << 1]));
                }
                for number in 0..EVENTS {
                    let object = (thread * 8192 + 576 * (number % 14)) / 8;
                    events.extend(match number % 8 {
                        0 => event(20, &[1, 1, 1]),
                        1 => event(16, &[2, thread + number % 5, number]),
                        2 | 5 => event(132, &[1, object, 1]),
                        3 | 6 => event(133, &[3, object]),
                        4 => event(37, &[1, 4_000_000 + 576 * number]),
                        _ if number % 64 == 7 => event(44, &[1, 0, 2, 3, 1]),
                        _ => event(21, &[1, 9, number, 1]),
                    });
                }
                let time = at + 10 + part * 4 * EVENTS + thread;
                batch(&mut out, false, [generation, thread, time], &events);
            }
        }
        let strings = [
            vec![4],
            text(5, 1, "sync"),
            text(5, 2, "map-lifecycle"),
            text(5, 3, "order 4711 took 3 ms"),
            text(5, 4, "main.grow"),
            text(5, 5, "/src/main.go"),
        ];
        batch(&mut out, false, [generation, NOBODY, at], &strings.concat());
        let stacks = [vec![2], event(3, &[1, 1, 0x46_6943, 4, 5, 12])];
        batch(&mut out, false, [generation, NOBODY, at], &stacks.concat());
        let types = [
            vec![0],
            numbers(&[1, 0x4a_0000, 544, 8, 18]),
            b"map.group[int]bool".to_vec(),
        ];
        batch(&mut out, true, [generation, NOBODY, at], &types.concat());
        out.push(52);
    }
    out
}

/// A heap profile of so many stacks.
fn profile(units: u64) -> Vec<u8> {
    let value = |name: &str, unit: &str| pprof::ValueType {
        name: name.into(),
        unit: unit.into(),
    };
    let file: Rc<str> = "/src/service/main.go".into();
    let locations = (0..1000_u64)
        .map(|index| pprof::Location {
            address: 0x40_0000 + index * 64,
            lines: vec![pprof::Line {
                function: format!("main.(*Server).step{}", index % 300).into(),
                file: Rc::clone(&file),
                line: index as i64,
            }],
        })
        .collect();
    let samples = (0..units)
        .map(|index| pprof::Sample {
            stack: (0..12)
                .map(|depth| ((index * 7 + depth * 83) % 1000) as u32)
                .collect(),
            values: vec![3, 4096, 1, 1024 + index as i64],
            raw: None,
            labels: Vec::new(),
        })
        .collect();
    pprof::encode(&pprof::Profile {
        kind: pprof::Kind::Heap,
        origin: pprof::Origin::Proto,
        sample_types: vec![
            value("alloc_objects", "count"),
            value("alloc_space", "bytes"),
            value("inuse_objects", "count"),
            value("inuse_space", "bytes"),
        ],
        period: 524_288,
        period_type: Some(value("space", "bytes")),
        time_ns: Some(1_700_000_000_000_000_000),
        duration_ns: 0,
        last_gc_ns: None,
        samples,
        locations,
        program: Some("service".into()),
        build_id: None,
        placement: pprof::Placement::default(),
        notes: Vec::new(),
    })
}

fn read_profile(bytes: &[u8]) -> Result<u64, Failure> {
    Ok(pprof::parse("heap.pb", bytes)?.samples.len() as u64)
}

/// Measures all walks of one map and prints a line for each.
fn compare(subject: &Subject) -> Result<(), Failure> {
    let mut buffer = vec![0; READ_MAX + 4096];
    for way in Way::ALL {
        let mut ours = f64::INFINITY;
        let mut copy = f64::INFINITY;
        for _ in 0..ROUNDS {
            ours = ours.min(seconds(|| subject.walk(way).map(drop))?);
            // Where source and target lie alike in their pages some processors copy
            // five times slower: the better of two places.
            for place in [0, 1056] {
                copy = copy.min(seconds(|| {
                    subject.copy(buffer.get_mut(place..).unwrap_or_default());
                    Ok(())
                })?);
            }
        }
        let name = format!("{} walk in memory, {}", subject.family.word(), way.word());
        let row = serde_json::json!({
            "name": name,
            "size": subject.entries,
            "ours_s": ours,
            "peer": "memcpy of the same bytes",
            "peer_s": copy,
            "ratio": ours / copy,
            "peak_bytes": null,
        });
        println!("{row}");
    }
    Ok(())
}

/// Seconds of one `work`, the mean of as many as [`MEASURE`] holds.
fn seconds(mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut times = 0_u32;
    loop {
        work()?;
        times += 1;
        let taken = started.elapsed();
        if taken >= MEASURE {
            return Ok(taken.as_secs_f64() / f64::from(times));
        }
    }
}

#[derive(Clone, Copy)]
enum Family {
    Classic,
    Swiss,
}

impl Family {
    fn named(word: &str) -> Option<Self> {
        [Self::Classic, Self::Swiss]
            .into_iter()
            .find(|family| family.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Swiss => "swiss",
        }
    }
}

/// What is asked of a walk.
#[derive(Clone, Copy)]
enum Way {
    /// As `go-map-stats`: counts only.
    Count,
    /// As `go-map-buckets`: every bucket in walk order.
    Ordered,
    /// As `go-map-entries`: every key and elem in walk order.
    Entries,
}

impl Way {
    const ALL: [Self; 3] = [Self::Count, Self::Ordered, Self::Entries];

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ordered => "ordered",
            Self::Entries => "entries",
        }
    }
}

/// Takes every bucket, in order.
#[derive(Default)]
struct Ordered {
    live: u64,
}

impl Visitor for Ordered {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        self.live += u64::from(unit.slots.live());
        Flow::Continue
    }
}

/// Takes every key and elem, in order.
struct Entries<'a> {
    layout: &'a MapLayout,
    entries: u64,
    sum: u64,
}

impl Visitor for Entries<'_> {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        let mask = unit.slots.live_mask();
        for index in (0..SLOTS).filter(|index| mask >> index & 1 != 0) {
            for part in [self.layout.key, self.layout.elem] {
                let offset = part.offset + index * part.stride;
                let value = self.layout.abi.uint_at(unit.bytes, offset, 8);
                self.sum = self.sum.wrapping_add(value.unwrap_or(0));
            }
            self.entries += 1;
        }
        Flow::Continue
    }
}

/// A map in memory.
struct Subject {
    family: Family,
    entries: u64,
    layout: MapLayout,
    memory: Segments,
    /// Where its buckets or groups are.
    storage: Vec<(u64, usize)>,
}

impl Subject {
    fn new(family: Family, entries: u64) -> Self {
        match family {
            Family::Classic => classic(entries),
            Family::Swiss => swiss(entries),
        }
    }

    /// Walks it and returns the number of its slots.
    fn walk(&self, way: Way) -> Result<u64, Failure> {
        let go = |visitor: &mut dyn Visitor| -> Walk {
            walk(&self.memory, &self.layout, HEADER, visitor)
        };
        let (walked, seen) = match way {
            Way::Count => (go(&mut CountOnly), self.entries),
            Way::Ordered => {
                let mut visitor = Ordered::default();
                (go(&mut visitor), visitor.live)
            }
            Way::Entries => {
                let mut visitor = Entries {
                    layout: &self.layout,
                    entries: 0,
                    sum: 0,
                };
                let walked = go(&mut visitor);
                black_box(visitor.sum);
                (walked, visitor.entries)
            }
        };
        if !walked.exact() || seen != self.entries {
            let defect = walked.defects.kept().first();
            return Err(format!("wrong walk: {seen} entries, {defect:?}").into());
        }
        Ok(walked.counts.slots)
    }

    /// Copies its storage in pieces into one buffer that stays in the cache: what
    /// any reader has to do at least.
    fn copy(&self, buffer: &mut [u8]) {
        for &(address, len) in &self.storage {
            let bytes = self.memory.get(address, len).unwrap_or_default();
            for piece in bytes.chunks(READ_MAX) {
                if let Some(buffer) = buffer.get_mut(..piece.len()) {
                    buffer.copy_from_slice(piece);
                }
                black_box(&mut *buffer);
            }
        }
    }
}

/// Memory that lends its bytes.
#[derive(Default)]
struct Segments(BTreeMap<u64, Vec<u8>>);

impl Segments {
    fn get(&self, address: u64, len: usize) -> Option<&[u8]> {
        let (start, bytes) = self.0.range(..=address).next_back()?;
        let offset = usize::try_from(address - start).ok()?;
        bytes.get(offset..offset.checked_add(len)?)
    }
}

impl Memory for Segments {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let bytes = self
            .get(address, buffer.len())
            .ok_or(ReadError::fault(address, buffer.len()))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn lend(
        &self,
        address: u64,
        len: usize,
        _: &mut Vec<u8>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        visit(
            self.get(address, len)
                .ok_or(ReadError::fault(address, len))?,
        );
        Ok(())
    }
}

/// xorshift64*: the same maps each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((drawn * bound as u64) >> 32) as usize
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(offset..offset + value.len()) {
        field.copy_from_slice(value);
    }
}

fn byte(bytes: &[u8], offset: usize) -> u8 {
    bytes.get(offset).copied().unwrap_or(0)
}

fn layout(unit_size: usize, key: Part, elem: Part, header: Header) -> MapLayout {
    MapLayout {
        abi: Abi::LE64,
        source: Source::Given,
        unit_size,
        key,
        elem,
        has_pointers: false,
        allocator: Allocator {
            malloc_headers: true,
            pointer_size: 8,
        },
        header,
    }
}

fn part(offset: usize, stride: usize) -> Part {
    Part {
        offset,
        stride,
        size: 8,
        indirect: false,
        pointers: false,
    }
}

/// 2^B buckets at a load of at most 6.5; chains in the preallocated tail and, when
/// that is used up, side by side elsewhere.
fn classic(entries: u64) -> Subject {
    let mut b = 0;
    while entries > (13 << b) / 2 {
        b += 1;
    }
    let main = 1_usize << b;
    let array = main + main / 16;
    let address = |bucket: usize| match bucket.checked_sub(array) {
        None => STORAGE + (bucket * BUCKET) as u64,
        Some(outside) => OUTSIDE + (outside * BUCKET) as u64,
    };
    let mut bytes = vec![0; array * BUCKET];
    let mut random = Random(1);
    let mut made = main;
    for entry in 0..entries {
        let mut bucket = random.below(main);
        let slot = loop {
            let free = (0..SLOTS).find(|slot| byte(&bytes, bucket * BUCKET + slot) == 0);
            if let Some(free) = free {
                break free;
            }
            let link = bucket * BUCKET + BUCKET - 8;
            let next = Abi::LE64.uint_at(&bytes, link, 8).unwrap_or(0);
            if next == 0 {
                put(&mut bytes, link, &address(made).to_le_bytes());
                bucket = made;
                made += 1;
                bytes.resize(bytes.len().max(made * BUCKET), 0);
            } else if next >= OUTSIDE {
                bucket = array + (next - OUTSIDE) as usize / BUCKET;
            } else {
                bucket = (next - STORAGE) as usize / BUCKET;
            }
        };
        let at = bucket * BUCKET;
        put(&mut bytes, at + slot, &[5 + random.below(251) as u8]);
        put(&mut bytes, at + 8 + slot * 8, &entry.to_le_bytes());
        put(&mut bytes, at + 72 + slot * 8, &entry.to_le_bytes());
    }
    let mut outside = bytes.split_off(array * BUCKET);
    let mut storage = vec![(STORAGE, made.min(array) * BUCKET)];
    if !outside.is_empty() {
        storage.push((OUTSIDE, outside.len()));
    }
    // Spans are whole pages.
    outside.resize(outside.len().next_multiple_of(8192), 0);
    // Beyond B = 15 the count is an estimate that nobody relies on.
    let overflow = if b < 16 { made - main } else { 0 };
    let mut header = vec![0; 48];
    put(&mut header, 0, &entries.to_le_bytes());
    put(&mut header, 9, &[b]);
    put(&mut header, 10, &(overflow as u16).to_le_bytes());
    put(&mut header, 16, &STORAGE.to_le_bytes());
    Subject {
        family: Family::Classic,
        entries,
        layout: layout(
            BUCKET,
            part(8, 8),
            part(72, 8),
            Header::Classic(Hmap::go1_23(BUCKET)),
        ),
        memory: Segments([(HEADER, header), (STORAGE, bytes), (OUTSIDE, outside)].into()),
        storage,
    }
}

/// A directory of 2^n tables of 1024 slots, about 60 % full.
fn swiss(entries: u64) -> Subject {
    let tables = (entries / 717).next_power_of_two().max(2) as usize;
    let mut random = Random(2);
    // Where the groups of each table lie: side by side, in no order.
    let mut places: Vec<usize> = (0..tables).collect();
    for index in (1..tables).rev() {
        places.swap(index, random.below(index + 1));
    }
    let mut bytes = vec![0; tables * TABLE_PLACE];
    for place in &places {
        for group in 0..TABLE_GROUPS {
            put(&mut bytes, place * TABLE_PLACE + group * GROUP, &[0x80; 8]);
        }
    }
    let mut used = vec![0_u16; tables];
    for entry in 0..entries {
        let (at, slot) = loop {
            let table = random.below(tables);
            let at = places.get(table).copied().unwrap_or(0) * TABLE_PLACE
                + random.below(TABLE_GROUPS) * GROUP;
            let free = (0..SLOTS).find(|slot| byte(&bytes, at + slot) == 0x80);
            match (free, used.get_mut(table)) {
                (Some(slot), Some(used)) if *used < 896 => {
                    *used += 1;
                    break (at, slot);
                }
                _ => {}
            }
        };
        put(&mut bytes, at + slot, &[random.below(0x80) as u8]);
        put(&mut bytes, at + 8 + slot * 16, &entry.to_le_bytes());
        put(&mut bytes, at + 16 + slot * 16, &entry.to_le_bytes());
    }
    let map = SwissMap::go1_24();
    let Table { size, .. } = map.table;
    let mut headers = vec![0; tables * size];
    let mut directory = vec![0; tables * 8];
    let depth = tables.trailing_zeros() as u8;
    let mut storage = Vec::new();
    for (index, (place, used)) in places.iter().zip(&used).enumerate() {
        let groups = STORAGE + (place * TABLE_PLACE) as u64;
        let at = index * size;
        put(&mut headers, at, &used.to_le_bytes());
        put(&mut headers, at + 2, &1024_u16.to_le_bytes());
        put(&mut headers, at + 4, &(896 - used).to_le_bytes());
        put(&mut headers, at + 6, &[depth]);
        put(&mut headers, at + 8, &(index as u64).to_le_bytes());
        put(&mut headers, at + 16, &groups.to_le_bytes());
        put(
            &mut headers,
            at + 24,
            &(TABLE_GROUPS as u64 - 1).to_le_bytes(),
        );
        let table = TABLES + at as u64;
        put(&mut directory, index * 8, &table.to_le_bytes());
        storage.push((groups, TABLE_GROUPS * GROUP));
    }
    storage.sort_unstable();
    let mut header = vec![0; 48];
    put(&mut header, 0, &entries.to_le_bytes());
    put(&mut header, 16, &DIRECTORY.to_le_bytes());
    put(&mut header, 24, &(tables as u64).to_le_bytes());
    put(&mut header, 32, &[depth]);
    let segments = [
        (HEADER, header),
        (STORAGE, bytes),
        (TABLES, headers),
        (DIRECTORY, directory),
    ];
    Subject {
        family: Family::Swiss,
        entries,
        layout: layout(GROUP, part(8, 16), part(16, 16), Header::Swiss(map)),
        memory: Segments(segments.into()),
        storage,
    }
}
