//! Memory images of maps, made of literals, and the truth about each of them:
//! what every test of the walkers starts from.
//!
//! [`classic::ClassicMap`] and [`swiss::SwissMap`] describe a map as the runtime
//! would have it. `build()` lays it out in an image and returns a [`Built`],
//! whose methods damage it, one call a damage, and walk it.

#![allow(
    dead_code,
    reason = "each test binary compiles this and uses a part of it"
)]

pub mod classic;
pub mod random;
pub mod swiss;

use gomapscope_core::layout::{Allocator, Field, MapLayout, Part};
use gomapscope_core::map::{
    Block, BlockKind, CountOnly, Counts, DEFECTS_KEPT, Flow, Shape, Unit, UnitKind, Visitor, Walk,
    walk,
};
use gomapscope_core::memory::{Abi, Image, Memory, PAGE, Span};
use gomapscope_core::metrics::{Context, Stats, stats};
use gomapscope_core::report::stats_json;
use serde_json::Value;

pub const LE64: Abi = Abi::LE64;
pub const BE64: Abi = Abi {
    pointer_size: 8,
    big_endian: true,
};
pub const LE32: Abi = Abi {
    pointer_size: 4,
    big_endian: false,
};
pub const BE32: Abi = Abi {
    pointer_size: 4,
    big_endian: true,
};

/// amd64, s390x, 386, mips.
pub const ABIS: [Abi; 4] = [LE64, BE64, LE32, BE32];

// Where things lie: below 4 GiB, for 32-bit targets, and far apart.
pub const HEADER: u64 = 0x0001_2340;
pub const ARRAY: u64 = 0x1000_0000;
pub const OLD_ARRAY: u64 = 0x2000_0000;
pub const OUTSIDE: u64 = 0x3000_0000;
pub const EXTRA: u64 = 0x4000_0000;
pub const DIRECTORY: u64 = 0x5000_0000;
pub const TABLES: u64 = 0x6000_0000;
pub const GROUPS: u64 = 0x7000_0000;
pub const VALUES: u64 = 0x8000_0000;
/// Nothing is ever mapped here.
pub const NOWHERE: u64 = 0xdead_0000;

/// Sizes of key and elem, and how a group arranges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types {
    pub key: usize,
    pub elem: usize,
    /// Key or elem hold pointers.
    pub pointers: bool,
    /// Swiss: all keys, then all elems (GOEXPERIMENT=mapsplitgroup).
    pub split: bool,
}

const fn types(key: usize, elem: usize, pointers: bool, split: bool) -> Types {
    Types {
        key,
        elem,
        pointers,
        split,
    }
}

/// `map[int64]int64`
pub const INTS: Types = types(8, 8, false, false);
/// `map[string]int64`
pub const STRING_INT: Types = types(16, 8, true, false);
/// `map[int64]struct{}`
pub const SET: Types = types(8, 0, false, false);
/// `map[[200]byte][136]byte`: both too large for a slot
pub const BIG: Types = types(200, 136, true, false);
/// `map[uint8][200]byte`
pub const BIG_ELEM: Types = types(1, 200, true, false);
/// `map[uint8]uint8`
pub const BYTES: Types = types(1, 1, false, false);
/// `map[struct{}]struct{}`
pub const NOTHING: Types = types(0, 0, false, false);
/// `map[int64]int64` with keys and elems apart
pub const SPLIT: Types = types(8, 8, false, true);
/// `map[int64]struct{}` with keys and elems apart
pub const SPLIT_SET: Types = types(8, 0, false, true);
/// `map[[200]byte]uint8` with keys and elems apart
pub const SPLIT_BIG: Types = types(200, 1, true, true);

pub const TYPES: [Types; 10] = [
    INTS, STRING_INT, SET, BIG, BIG_ELEM, BYTES, NOTHING, SPLIT, SPLIT_SET, SPLIT_BIG,
];

/// A value larger than this is kept behind a pointer (`abi.MapMaxKeyBytes`).
const INLINE_MAX: usize = 128;

impl Types {
    fn part(self, size: usize, offset: usize, stride: usize) -> Part {
        Part {
            offset,
            stride,
            size: size as u64,
            indirect: size > INLINE_MAX,
            pointers: self.pointers && size <= INLINE_MAX,
        }
    }

    fn slot(abi: Abi, size: usize) -> usize {
        if size > INLINE_MAX {
            usize::from(abi.pointer_size)
        } else {
            size
        }
    }
}

/// Go 1.22 and later.
pub fn allocator(abi: Abi) -> Allocator {
    Allocator {
        malloc_headers: true,
        pointer_size: abi.pointer_size,
    }
}

/// Writes `value` into `bytes`, truncated to them; values wider than 8 bytes have
/// it in their first 8.
pub fn put(abi: Abi, bytes: &mut [u8], value: u64) {
    let width = bytes.len().min(8);
    let le = value.to_le_bytes();
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = match (index < width, abi.big_endian) {
            (true, true) => le[width - 1 - index],
            (true, false) => le[index],
            (false, _) => 0xaa,
        };
    }
}

/// What [`put`] leaves of `value` in `size` bytes.
pub fn fitted(value: u64, size: usize) -> u64 {
    match size {
        0 => 0,
        1..8 => value & ((1 << (8 * size)) - 1),
        _ => value,
    }
}

pub fn put_field(abi: Abi, bytes: &mut [u8], field: Field, value: u64) {
    put(
        abi,
        &mut bytes[field.offset..field.offset + field.size],
        value,
    );
}

/// The elem that every test map holds for `key`.
pub fn elem_of(key: u64) -> u64 {
    key ^ 0x005a_5a5a_5a5a_5a5a
}

/// Keys and elems that do not fit into slots.
#[derive(Debug, Default)]
pub struct Values(Vec<u8>);

impl Values {
    /// Writes key or elem number `index` into a bucket, or a pointer to it.
    pub fn write(&mut self, abi: Abi, unit: &mut [u8], part: Part, index: usize, value: u64) {
        let at = part.offset + index * part.stride;
        let size = part.size as usize;
        if part.indirect {
            let address = VALUES + self.0.len() as u64;
            let mut bytes = vec![0; size];
            put(abi, &mut bytes, value);
            self.0.extend(bytes);
            let pointer = usize::from(abi.pointer_size);
            put(abi, &mut unit[at..at + pointer], address);
        } else {
            put(abi, &mut unit[at..at + size], value);
        }
    }

    /// What a deleted slot still holds: the runtime does not clear keys without
    /// pointers.
    pub fn stale(abi: Abi, unit: &mut [u8], part: Part, index: usize) {
        if !part.indirect {
            let at = part.offset + index * part.stride;
            put(abi, &mut unit[at..at + part.size as usize], 0xbad);
        }
    }

    pub fn map(self, image: &mut Image) {
        if !self.0.is_empty() {
            image.map(VALUES, self.0);
        }
    }
}

/// One bucket as a visitor must see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    pub address: u64,
    pub kind: UnitKind,
    pub table: u64,
    pub parent: u64,
    pub depth: u64,
    pub marks: String,
}

/// What a walk of an undamaged map must find.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub len: u64,
    pub counts: Counts,
    pub old: Counts,
    pub evacuated: u64,
    pub overflow: u64,
    pub outside: u64,
    pub chain_lengths: Vec<u64>,
    /// In walk order.
    pub visits: Vec<Visit>,
    /// Keys, sorted.
    pub keys: Vec<u64>,
    /// All allocations, in the order of their addresses.
    pub blocks: Vec<Block>,
}

/// Counts the slots of one bucket by its marks: slower than the walker and
/// written without its bit tricks.
pub fn add_marks(counts: &mut Counts, marks: &str) {
    let of = |mark| marks.chars().filter(|m| *m == mark).count() as u64;
    let live = of('L');
    counts.slots += 8;
    counts.live += live;
    counts.tombstones += of('T');
    counts.empty += of('E');
    counts.corrupt += of('?') + of('V');
    counts.units += 1;
    counts.units_empty += u64::from(live == 0);
    counts.units_full += u64::from(live == 8);
}

/// Records all that a walk shows.
#[derive(Debug)]
pub struct Collector<'a> {
    layout: &'a MapLayout,
    memory: &'a dyn_memory::Ref<'a>,
    ordered: bool,
    pub visits: Vec<Visit>,
    pub indexes: Vec<u64>,
    pub current: Counts,
    pub old: Counts,
    /// Key and elem of each live slot; `None` where they are unreadable.
    pub entries: Vec<Option<(u64, u64)>>,
    pub stop_after: Option<usize>,
}

/// `dyn Memory` has no `Debug`; a collector should.
pub mod dyn_memory {
    use gomapscope_core::memory::Memory;

    pub struct Ref<'a>(pub &'a dyn Memory);

    impl std::fmt::Debug for Ref<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Memory")
        }
    }
}

impl<'a> Collector<'a> {
    pub fn new(layout: &'a MapLayout, memory: &'a dyn_memory::Ref<'a>, ordered: bool) -> Self {
        Self {
            layout,
            memory,
            ordered,
            visits: Vec::new(),
            indexes: Vec::new(),
            current: Counts::default(),
            old: Counts::default(),
            entries: Vec::new(),
            stop_after: None,
        }
    }

    fn value(&self, unit: &Unit<'_>, part: Part, index: usize) -> Option<u64> {
        let abi = self.layout.abi;
        let at = part.offset + index * part.stride;
        let width = (part.size as usize).min(8);
        if part.indirect {
            let pointer = abi.pointer_at(unit.bytes, at)?;
            abi.read_uint(self.memory.0, pointer, width).ok()
        } else {
            abi.uint_at(unit.bytes, at, width)
        }
    }
}

impl Visitor for Collector<'_> {
    fn ordered(&self) -> bool {
        self.ordered
    }

    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        assert_eq!(unit.bytes.len(), self.layout.unit_size);
        let marks = unit.slots.marks();
        // A chain behind an old bucket that is not evacuated has no such bucket.
        let evacuated = unit.kind == UnitKind::Old && unit.depth == 0 && unit.slots.is_evacuated();
        if unit.kind != UnitKind::Old {
            add_marks(&mut self.current, &marks);
        } else if !evacuated {
            add_marks(&mut self.old, &marks);
        }
        for (index, _) in marks.chars().enumerate().filter(|(_, mark)| *mark == 'L') {
            let key = self.value(unit, self.layout.key, index);
            let elem = self.value(unit, self.layout.elem, index);
            self.entries.push(key.zip(elem));
        }
        self.indexes.push(unit.index);
        self.visits.push(Visit {
            address: unit.address,
            kind: unit.kind,
            table: unit.table,
            parent: unit.parent,
            depth: unit.depth,
            marks,
        });
        if self.stop_after == Some(self.visits.len()) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

/// An image with a map in it.
#[derive(Debug, Clone)]
pub struct Built {
    pub image: Image,
    pub address: u64,
    pub layout: MapLayout,
    pub truth: Truth,
    /// Classic: main buckets and their chains, by bucket number.
    pub chains: Vec<Vec<u64>>,
    /// Classic: the same of the old array.
    pub old_chains: Vec<Vec<u64>>,
    /// Swiss: addresses of the tables and of their groups, in directory order.
    pub tables: Vec<(u64, u64)>,
}

impl Built {
    /// Overwrites a field of the map's header.
    pub fn set_header(mut self, field: Field, value: u64) -> Self {
        let address = self.address;
        self.set_at(address, field, value);
        self
    }

    /// Overwrites a field of the structure at `address`.
    pub fn set_at(&mut self, address: u64, field: Field, value: u64) {
        let mut bytes = vec![0; field.size];
        put(self.layout.abi, &mut bytes, value);
        self.poke(address + field.offset as u64, &bytes);
    }

    /// Overwrites bytes, which must be mapped.
    pub fn poke(&mut self, address: u64, bytes: &[u8]) {
        assert!(self.image.poke(address, bytes), "{address:#x} is unmapped");
    }

    /// Overwrites a pointer.
    pub fn set_pointer(mut self, address: u64, value: u64) -> Self {
        let size = usize::from(self.layout.abi.pointer_size);
        self.set_at(address, Field { offset: 0, size }, value);
        self
    }

    /// Takes the page that holds `address` away.
    pub fn unmap_page(mut self, address: u64) -> Self {
        unmap(&mut self.image, address & !(PAGE - 1), PAGE);
        self
    }

    /// Takes all memory in a range away.
    pub fn unmap(mut self, start: u64, len: u64) -> Self {
        unmap(&mut self.image, start, len);
        self
    }

    /// Moves the segment at `from` to `to`; pointers to it are not changed.
    pub fn relocate(mut self, from: u64, to: u64) -> Self {
        let bytes = self.image.segment_mut(from).expect("a segment").clone();
        self.image.unmap(from);
        self.image.map(to, bytes);
        self
    }

    /// Mapped bytes in all.
    pub fn size(&self) -> u64 {
        let mut image = self.image.clone();
        image
            .segments_mut()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum()
    }

    /// Counts only.
    pub fn count(&self) -> Walk {
        walk(&self.image, &self.layout, self.address, &mut CountOnly)
    }

    /// Walks with a collector.
    pub fn collect(&self, ordered: bool) -> (Walk, Collected) {
        collect(&self.image, &self.layout, self.address, ordered)
    }

    /// Walks it in every way there is, checks what must hold for any memory,
    /// and returns the walk.
    pub fn check(&self) -> Walk {
        check(&self.image, &self.layout, self.address)
    }

    /// Walks it in every way and compares with the truth: no defect, all figures
    /// and all entries right.
    pub fn check_exact(&self) -> Walk {
        let truth = &self.truth;
        let walked = self.check();
        assert_eq!(walked.defects.kept(), []);
        assert_eq!(walked.len, truth.len);
        assert_eq!(walked.counts, truth.counts);
        assert_eq!(walked.live(), truth.len);
        assert!(walked.exact());
        let mut blocks = walked.blocks.clone();
        blocks.sort_unstable_by_key(|block| block.span);
        assert_eq!(blocks, truth.blocks);
        match &walked.shape {
            Shape::Classic(facts) => {
                assert_eq!(facts.old, truth.old);
                assert_eq!(facts.evacuated, truth.evacuated);
                assert_eq!(facts.overflow, truth.overflow);
                assert_eq!(facts.overflow_outside, truth.outside);
                assert_eq!(facts.chain_lengths, truth.chain_lengths);
            }
            Shape::Swiss(facts) => assert_eq!(facts.tables.len(), self.tables.len()),
        }
        let (_, seen) = self.collect(true);
        let mut expected = truth.visits.clone();
        let mut first = 0;
        for (index, visit) in expected.iter_mut().enumerate() {
            if visit.kind != UnitKind::Group {
                first = if visit.depth == 0 { index } else { first };
                visit.parent = first as u64;
            }
        }
        assert_eq!(seen.visits, expected);
        let mut keys: Vec<u64> = Vec::new();
        for entry in &seen.entries {
            let (key, elem) = entry.expect("a readable entry");
            keys.push(key);
            if self.layout.key.size >= 8 {
                let expected = fitted(elem_of(key), self.layout.elem.size as usize);
                assert_eq!(elem, expected, "the elem of key {key:#x}");
            }
        }
        keys.sort_unstable();
        assert_eq!(keys, truth.keys);
        walked
    }
}

/// What a [`Collector`] leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    pub visits: Vec<Visit>,
    pub current: Counts,
    pub old: Counts,
    pub entries: Vec<Option<(u64, u64)>>,
}

pub fn collect(
    memory: &dyn Memory,
    layout: &MapLayout,
    address: u64,
    ordered: bool,
) -> (Walk, Collected) {
    let reference = dyn_memory::Ref(memory);
    let mut collector = Collector::new(layout, &reference, ordered);
    let walked = walk(memory, layout, address, &mut collector);
    let numbered: Vec<u64> = (0..collector.indexes.len() as u64).collect();
    assert_eq!(collector.indexes, numbered);
    let collected = Collected {
        visits: collector.visits,
        current: collector.current,
        old: collector.old,
        entries: collector.entries,
    };
    (walked, collected)
}

/// The counts of the old array that is not yet evacuated.
pub fn old_counts(walked: &Walk) -> Counts {
    match &walked.shape {
        Shape::Classic(facts) => facts.old,
        Shape::Swiss(_) => Counts::default(),
    }
}

/// What must hold for any memory: all ways to walk agree, the counts are the
/// sum over the buckets shown, and the figures make sense.
pub fn check(memory: &dyn Memory, layout: &MapLayout, address: u64) -> Walk {
    let counted = walk(memory, layout, address, &mut CountOnly);
    for ordered in [true, false] {
        let (walked, seen) = collect(memory, layout, address, ordered);
        assert_eq!(walked.counts, counted.counts, "ordered {ordered}");
        assert_eq!(walked.shape, counted.shape, "ordered {ordered}");
        // A link of a damaged chain may be met sooner by one way than by another.
        let blocks = |walked: &Walk| {
            let mut blocks = walked.blocks.clone();
            blocks.sort_unstable_by_key(|block| block.span);
            blocks
        };
        assert_eq!(blocks(&walked), blocks(&counted), "ordered {ordered}");
        assert_eq!(walked.defects.total(), counted.defects.total());
        if counted.defects.total() <= DEFECTS_KEPT as u64 {
            let codes = |walked: &Walk| {
                let mut codes: Vec<_> = walked
                    .defects
                    .kept()
                    .iter()
                    .map(|defect| (defect.code, defect.address))
                    .collect();
                codes.sort_unstable();
                codes
            };
            assert_eq!(codes(&walked), codes(&counted), "ordered {ordered}");
        }
        assert_eq!(seen.current, counted.counts, "ordered {ordered}");
        assert_eq!(seen.old, old_counts(&counted), "ordered {ordered}");
    }
    check_figures(&counted, layout);
    counted
}

/// More reads than any walk may need of `size` mapped bytes and `units` buckets.
///
/// A run of 1 MiB that is damaged is read page by page, 257 reads; an array or a
/// directory is given up after one run without a readable byte. A link costs at
/// most six reads: of a run, a page and the bytes themselves, on two pages.
pub fn reads_at_most(size: u64, units: u64) -> u64 {
    let runs = size / (1 << 20) + 4;
    let pages = size / 4096 + 64;
    260 * runs + 8 * units + 4 * pages
}

/// More buckets than memory of `size` bytes can hold: a link may lead to each
/// byte, and each word of a directory to a table of 128 groups.
pub fn units_at_most(size: u64) -> u64 {
    size + 128 * size / 4 + 8
}

/// Walks memory nothing is known of, and asserts that the work is bounded by what
/// is mapped.
pub fn bounded(image: &Image, layout: &MapLayout, address: u64) -> Walk {
    let size: u64 = image
        .clone()
        .segments_mut()
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    let before = image.reads();
    let walked = walk(image, layout, address, &mut CountOnly);
    let reads = image.reads() - before;
    let units = walked.counts.units + old_counts(&walked).units;
    assert!(
        units <= units_at_most(size),
        "{units} buckets in {size} bytes"
    );
    // Each table costs a read of its own when its neighbours are unreadable.
    let steps = units + walked.blocks.len() as u64 + walked.defects.total();
    assert!(
        reads <= reads_at_most(size, steps),
        "{reads} reads of {size} bytes, {units} buckets"
    );
    walked
}

/// The same, walked in all ways there are.
pub fn check_bounded(image: &Image, layout: &MapLayout, address: u64) -> Walk {
    let walked = bounded(image, layout, address);
    assert_eq!(check(image, layout, address), walked);
    walked
}

/// What must hold for the figures of any walk.
pub fn check_figures(walked: &Walk, layout: &MapLayout) -> (Stats, Value) {
    let counts = walked.counts;
    assert_eq!(
        counts.live + counts.empty + counts.tombstones + counts.corrupt,
        counts.slots
    );
    assert_eq!(counts.slots, 8 * counts.units);
    assert!(counts.units_empty + counts.units_full <= counts.units);
    if walked.exact() {
        assert_eq!(walked.live(), walked.len);
        assert_eq!(counts.corrupt, 0);
        assert!(!walked.interrupted && !walked.cut);
    }
    assert_eq!(
        walked.defects.kept().len() as u64,
        walked.defects.total().min(DEFECTS_KEPT as u64)
    );

    let figures = stats(walked, layout, &Context::default());
    let slots = &figures.slots;
    assert_eq!(slots.capacity, counts.slots);
    assert_eq!(
        slots.live - slots.old_live.unwrap_or(0) + slots.empty + slots.tombstones + counts.corrupt,
        slots.capacity
    );
    assert_eq!(
        figures.buckets.main + figures.buckets.overflow,
        figures.buckets.count
    );
    for density in [slots.hole_density, figures.buckets.empty_density] {
        assert_eq!(density.is_some(), counts.units > 0);
        assert!(density.is_none_or(|density| (0.0..=1.0).contains(&density)));
    }
    let bytes = &figures.bytes;
    assert_eq!(
        bytes.reclaimable,
        bytes.allocated.saturating_sub(bytes.rebuild)
    );
    assert!(bytes.allocated >= bytes.storage || bytes.allocated == u64::MAX);
    if let Some(growth) = &figures.next_growth {
        assert!(growth.load_factor.is_finite() && growth.load_factor >= 0.0);
        assert!(growth.max_load_factor.is_finite() && growth.max_load_factor > 0.0);
        // growthLeft of a damaged table says what it likes.
        assert!(!walked.exact() || growth.fits <= growth.at_most);
    }
    if let Some(addresses) = &figures.addresses {
        assert_eq!(addresses.span, addresses.high - addresses.low);
        // Damaged pointers can make blocks overlap; sound blocks cannot.
        assert!(!walked.exact() || addresses.pages >= addresses.min_pages);
    }
    assert_eq!(figures.exact, walked.exact());
    assert_eq!(figures.defects_total, walked.defects.total());

    let text = stats_json(&figures);
    let value: Value = serde_json::from_str(&text).expect("a JSON document");
    // NaN and infinities are written as null; and what is not known is absent.
    assert!(!has_null(&value), "{text}");
    (figures, value)
}

pub fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// Asserts that `walked` is flagged by a defect of `code` at `address`.
#[track_caller]
pub fn assert_defect(walked: &Walk, code: &str, address: u64) {
    let kept = walked.defects.kept();
    assert!(
        kept.iter()
            .any(|defect| defect.code == code && defect.address == address),
        "no {code} at {address:#x} in {kept:#?}"
    );
    assert!(!walked.exact());
}

/// The codes of all defects, each once, sorted.
pub fn codes(walked: &Walk) -> Vec<&'static str> {
    let mut codes: Vec<_> = walked.defects.kept().iter().map(|d| d.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Takes `len` bytes from `start` on away, splitting segments.
pub fn unmap(image: &mut Image, start: u64, len: u64) {
    let end = start + len;
    let hit: Vec<(u64, Vec<u8>)> = image
        .segments_mut()
        .filter(|(at, bytes)| **at < end && start < **at + bytes.len() as u64)
        .map(|(at, bytes)| (*at, bytes.clone()))
        .collect();
    for (at, bytes) in hit {
        image.unmap(at);
        if at < start {
            image.map(at, bytes[..(start - at) as usize].to_vec());
        }
        if end < at + bytes.len() as u64 {
            image.map(end, bytes[(end - at) as usize..].to_vec());
        }
    }
}

pub fn block(kind: BlockKind, start: u64, len: usize) -> Block {
    Block {
        span: Span {
            start,
            len: len as u64,
        },
        kind,
    }
}
