//! Every map in the heap, found by the allocator's own books: a map's header is always an
//! object of its own, so all allocated slots of its size class are looked at. What its
//! fields say must hold together, down to the slots that its pointers lead to; how full a
//! map is by its header is told here, slots are not counted.

use std::collections::HashMap;

use super::{Heap, HeapError, HeapSpan, Pages, Slot, State};
use crate::gotype::{TypeRef, Types};
use crate::layout::{
    Allocator, Header, Hmap, MapLayout, SIZE_CLASSES, SLOTS, SwissMap, descriptor_layout,
};
use crate::map::{Defects, Family, Flow, array_len};
use crate::memory::{AddressHash, Memory, READ_MAX, RangeReader, ReadError, Span};

/// Headers whose pointers are followed at a time, in address order.
const BATCH: usize = 1 << 16;

/// Directory entries that are looked at at a time.
const DIRECTORY_PART: u64 = 1 << 15;

/// The array of a larger B would not fit into a 48-bit address space.
const B_MAX: u64 = 40;

/// Objects whose pointers are told by one bit for each word, in a number of 64 bits.
const SIGNED_MAX: u64 = 512;

/// Kinds of storage whose fits are remembered; there are some hundred, if memory is sound.
const FITS_MAX: usize = 1 << 16;

/// Maps that are kept. 100 million of them have 4.8 GB of headers.
const MAPS_MAX: usize = 100_000_000;

/// How a map's type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The allocator noted the type of its storage, and one map type has such storage.
    Exact,
    /// The same, but several map types (one of them with a name of its own) share it:
    /// key and elem are certain.
    ExactParts,
    /// One type of the program has storage of that size: an inference.
    Inferred,
    /// Several have.
    OneOf,
    /// It has no storage, or none of the known types fits it.
    Structure,
}

impl Evidence {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::ExactParts => "exact key/elem",
            Self::Inferred => "inferred",
            Self::OneOf => "one of several",
            Self::Structure => "structure only",
        }
    }
}

/// One map. 48 bytes: a heap may hold millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundMap {
    /// Its header.
    pub address: u64,
    /// The count in the header.
    pub len: u64,
    /// Slots, as far as the header tells: a classic map's overflow buckets are counted by
    /// its header too.
    pub capacity: u64,
    /// Bytes of the allocator's slots that hold it. Without what [`FoundMap::at_least`]
    /// says is missing.
    pub allocated: u64,
    /// Allocations; saturates.
    pub blocks: u32,
    /// Position in [`ScanResult::types`].
    type_index: u32,
    /// How the type is known.
    pub evidence: Evidence,
    /// The header's "a write is in progress".
    pub writing: bool,
    /// Overflow buckets outside the array, their lists, and keys and elems outside
    /// the slots are not in `allocated`.
    pub at_least: bool,
}

impl FoundMap {
    /// Position in [`ScanResult::types`] of the types it can have; `None` if nothing is
    /// known.
    #[must_use]
    pub fn type_index(&self) -> Option<usize> {
        (self.type_index != u32::MAX).then_some(self.type_index as usize)
    }
}

/// Map types that cannot be told apart by what is known of a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownType {
    /// Their descriptors and names.
    pub maps: Vec<(u64, String)>,
}

/// What to look for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Maps with fewer allocated bytes are counted, but not listed.
    pub min_bytes: u64,
    /// Leave maps that never had storage out of the list.
    pub skip_empty: bool,
}

/// Where a scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of headers that were looked at.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Maps found so far.
    pub maps: u64,
}

/// Sums over all maps that were found, listed or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Maps.
    pub maps: u64,
    /// Those that never had storage.
    pub without_storage: u64,
    /// Their entries.
    pub entries: u64,
    /// Their bytes, by the allocator's slots.
    pub allocated: u64,
    /// Slots of the header's size class that were looked at.
    pub candidates: u64,
    /// Bytes of all spans that hold objects.
    pub heap: u64,
}

/// What a scan found.
#[derive(Debug, Clone, Default)]
pub struct ScanResult {
    /// The maps, by address.
    pub maps: Vec<FoundMap>,
    /// The types that [`FoundMap::type_index`] points to.
    pub types: Vec<KnownType>,
    /// Sums.
    pub totals: Totals,
    /// Contradictions in the heap's own books.
    pub defects: Defects,
    /// The user asked to stop: the rest of the heap was not looked at.
    pub interrupted: bool,
}

impl ScanResult {
    /// The types a map can have.
    #[must_use]
    pub fn types_of(&self, map: &FoundMap) -> &[(u64, String)] {
        map.type_index()
            .and_then(|index| self.types.get(index))
            .map_or(&[], |known| known.maps.as_slice())
    }
}

/// Finds the maps of the heap.
///
/// `memory` should not cache: blocks are read in address order and once. `progress`
/// is told from time to time how far the scan is, and stops it.
///
/// # Errors
/// When the heap's own list of spans cannot be read. An interruption later on is no
/// error: the result has what was found until then.
pub fn scan(
    heap: &Heap,
    memory: &dyn Memory,
    types: &Types,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> Flow,
) -> Result<ScanResult, HeapError> {
    let mut result = ScanResult::default();
    let catalogue = Catalogue::new(heap, types);
    let (spans, defects) = heap.spans(memory)?;
    result.defects = defects;
    result.totals.heap = spans
        .iter()
        .filter(|span| span.state == State::InUse)
        .map(|span| span.end() - span.base)
        .sum();
    let Some(header) = catalogue.header else {
        return Ok(result);
    };
    let mut scanner = Scanner {
        heap,
        memory,
        pages: Pages::new(&spans),
        spans: &spans,
        header,
        catalogue,
        options,
        result,
        inline_marks: HashMap::new(),
    };
    let ended = scanner.run(progress);
    let mut result = scanner.finish(types);
    match ended {
        Ok(()) => {}
        Err(ReadError::Interrupted) => result.interrupted = true,
        Err(fault) => return Err(fault.into()),
    }
    Ok(result)
}

/// What the heap tells of the type of one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTypes {
    /// Descriptors and names of the types it can have; none if it never had storage, or
    /// storage that is not on the heap.
    pub maps: Vec<(u64, String)>,
    /// How they are known.
    pub evidence: Evidence,
}

/// The map types that the map with its header at `address` can have, by its storage, as
/// [`scan`] finds them. `None` where no map header stands.
///
/// # Errors
/// When the heap's own books cannot be read.
pub fn map_types_at(
    heap: &Heap,
    memory: &dyn Memory,
    types: &Types,
    address: u64,
) -> Result<Option<MapTypes>, HeapError> {
    let catalogue = Catalogue::new(heap, types);
    let Some(header) = catalogue.header else {
        let what = "the program has no descriptors of map types";
        return Err(HeapError::Unknown(what.to_owned()));
    };
    let (spans, _) = heap.spans(memory)?;
    let options = Options::default();
    let mut scanner = Scanner {
        heap,
        memory,
        pages: Pages::new(&spans),
        spans: &spans,
        header,
        catalogue,
        options: &options,
        result: ScanResult::default(),
        inline_marks: HashMap::new(),
    };
    let mut bytes = vec![0; scanner.signature().0 as usize];
    match memory.read(address, &mut bytes) {
        Ok(()) => {}
        Err(ReadError::Fault { .. }) => return Ok(None),
        Err(interrupted) => return Err(interrupted.into()),
    }
    let unknown = MapTypes {
        maps: Vec::new(),
        evidence: Evidence::Structure,
    };
    let on_stack = match heap.slot_of(address)? {
        Some(slot) if slot.is_stack => true,
        // Inside of another object.
        Some(slot) if slot.object() != address => return Ok(None),
        _ => false,
    };
    let candidate = match header {
        Header::Swiss(map) => scanner.swiss(map, address, &bytes),
        Header::Classic(hmap) => scanner.classic(hmap, address, &bytes),
    };
    let Some(candidate) = candidate else {
        // The first bucket may be on the stack as well.
        return Ok(on_stack.then_some(unknown));
    };
    scanner.follow(&mut vec![candidate])?;
    let result = scanner.finish(types);
    let Some(map) = result.maps.first() else {
        return Ok(None);
    };
    Ok(Some(match result.types_of(map) {
        [] => unknown,
        maps => MapTypes {
            maps: maps.to_vec(),
            evidence: map.evidence,
        },
    }))
}

/// The map types of the program, by the type of their storage.
struct Catalogue {
    header: Option<Header>,
    /// Type of a bucket or group: position in `units`.
    by_unit: HashMap<u64, usize, AddressHash>,
    units: Vec<Unit>,
    allocator: Allocator,
    /// Fits that were looked for.
    fits: HashMap<Fit, (u32, Evidence)>,
    /// Positions of the types that share what is known of a map.
    sets: HashMap<Vec<usize>, u32>,
}

/// What is known of storage without its type: slot size, units, noscan, and which of its
/// words are pointers.
type Fit = (u64, u64, bool, Option<u64>);

struct Unit {
    layout: Option<MapLayout>,
    /// Which words are pointers, if there are at most 64.
    mask: Option<u64>,
    maps: Vec<(u64, String)>,
}

impl Catalogue {
    fn new(heap: &Heap, types: &Types) -> Self {
        let mut catalogue = Self {
            header: None,
            by_unit: HashMap::default(),
            units: Vec::new(),
            allocator: Allocator {
                malloc_headers: true,
                pointer_size: 8,
            },
            fits: HashMap::new(),
            sets: HashMap::new(),
        };
        for (address, name) in types.map_descriptors() {
            let Ok(map) = types.map_descriptor(address) else {
                continue;
            };
            let layout = descriptor_layout(types, address).ok();
            if let (None, Some(layout)) = (catalogue.header, &layout) {
                catalogue.header = Some(layout.header);
                catalogue.allocator = layout.allocator;
            }
            let position = catalogue.unit(map.unit_address);
            if let Some(unit) = catalogue.units.get_mut(position) {
                unit.layout = unit.layout.take().or(layout);
                unit.mask = unit.mask.or_else(|| {
                    let bytes = map.unit.pointer_bytes;
                    pointer_mask(heap, map.unit_address, bytes, map.unit.size)
                });
                unit.maps.push((address, name.to_owned()));
            }
        }
        catalogue
    }

    fn unit(&mut self, address: u64) -> usize {
        let next = self.units.len();
        let position = *self.by_unit.entry(address).or_insert(next);
        if position == next {
            self.units.push(Unit {
                layout: None,
                mask: None,
                maps: Vec::new(),
            });
        }
        position
    }

    /// Bytes that the allocator takes for `count` units of a type.
    fn slot_size(&self, layout: &MapLayout, count: u64, noscan: bool) -> u64 {
        let bytes = count.saturating_mul(layout.unit_size as u64);
        self.allocator.slot(bytes, noscan)
    }
}

/// Which words of a type are pointers, from abi.Type.GCData: a bit for each, in every
/// release, for types as small as these.
fn pointer_mask(heap: &Heap, address: u64, bytes: u64, size: u64) -> Option<u64> {
    if size > SIGNED_MAX || bytes > size {
        return None;
    }
    let mut mask = [0; 8];
    let len = bytes.div_ceil(64) as usize;
    if len > 0 {
        let data = heap
            .abi
            .read_pointer(&*heap.memory, address.wrapping_add(32))
            .ok()?;
        heap.memory.read(data, mask.get_mut(..len)?).ok()?;
    }
    let mask = u64::from_le_bytes(mask);
    let words = bytes / 8;
    Some(if words < 64 {
        mask & ((1 << words) - 1)
    } else {
        mask
    })
}

impl Unit {
    /// Whether `count` units, one behind the other, have pointers where `signature`
    /// says; taken for granted where it is not known.
    fn has_pointers_at(&self, signature: Option<u64>, count: u64) -> bool {
        let (Some(signature), Some(mask), Some(layout)) = (signature, self.mask, &self.layout)
        else {
            return true;
        };
        let words = layout.unit_size as u64 / 8;
        let expected = (0..count.min(64))
            .map(|unit| unit * words)
            .take_while(|shift| *shift < 64)
            .fold(0, |bits, shift| bits | mask << shift);
        expected == signature
    }
}

/// A header that may be a map's.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    map: FoundMap,
    /// The storage whose type is looked for.
    storage: u64,
    units: u64,
    slot_size: u64,
    noscan: bool,
    /// Type that the allocator noted, or 0.
    noted: u64,
    /// Which words of the storage are pointers.
    signature: Option<u64>,
    /// Entries that its tables have.
    used: u64,
    refused: bool,
}

/// A few bytes that decide about a candidate.
#[derive(Debug, Clone, Copy)]
struct Probe {
    address: u64,
    len: u32,
    candidate: u32,
    kind: ProbeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeKind {
    /// The control word of a small map.
    Control,
    /// The first tophashes.
    TopHash,
    /// The word before an object.
    Noted,
    /// The pointer bits of an object: the first of them, and how many.
    Signature(u32, u32),
    /// A part of a directory: first entry.
    Directory(u64),
    /// A table: its first entry in the directory.
    Table(u64),
}

struct Scanner<'a> {
    heap: &'a Heap,
    memory: &'a dyn Memory,
    spans: &'a [HeapSpan],
    pages: Pages,
    header: Header,
    catalogue: Catalogue,
    options: &'a Options,
    result: ScanResult,
    inline_marks: HashMap<u64, Option<Vec<u8>>>,
}

impl Scanner<'_> {
    /// Bytes of a map header, and which of its words are pointers.
    fn signature(&self) -> (u64, u64) {
        match self.header {
            Header::Swiss(map) => (map.size as u64, 1 << (map.dir_ptr.offset / 8)),
            Header::Classic(hmap) => {
                let bits = [hmap.buckets, hmap.oldbuckets, hmap.extra]
                    .iter()
                    .fold(0, |bits, field| bits | 1 << (field.offset / 8));
                (hmap.size as u64, bits)
            }
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(Progress) -> Flow) -> Result<(), ReadError> {
        let (header_size, pointers) = self.signature();
        let class = SIZE_CLASSES
            .iter()
            .copied()
            .find(|class| *class >= header_size)
            .unwrap_or(header_size);
        let spans = self.spans;
        let holding: Vec<&HeapSpan> = spans
            .iter()
            .filter(|span| span.state == State::InUse && span.slot_size == class && !span.noscan())
            .collect();
        let ranges: Vec<Span> = holding
            .iter()
            .map(|span| Span {
                start: span.base,
                len: span.end() - span.base,
            })
            .collect();
        let total = ranges.iter().map(|range| range.len).sum();
        let mut batch = Vec::new();
        let mut reader = RangeReader::default();
        let mut done = 0;
        // A part of the spans at a time, so that what was read can be followed before more
        // is kept.
        for (part, part_spans) in ranges.chunks(512).zip(holding.chunks(512)) {
            let at = Progress {
                done,
                total,
                maps: self.result.totals.maps,
            };
            if progress(at) == Flow::Stop {
                return Err(ReadError::Interrupted);
            }
            self.memory.checkpoint(done, total)?;
            let memory = self.memory;
            reader.read(memory, part, &mut |chunk| {
                let Some(span) = part_spans.get(chunk.index) else {
                    return Ok(());
                };
                match chunk.bytes {
                    Some(bytes) => self.headers(span, bytes, (class, pointers), &mut batch),
                    None => {
                        self.result.defects.push(
                            "heap-unreadable",
                            span.base,
                            "a readable span",
                            format!("cannot read {} bytes", span.end() - span.base),
                            format!("{} objects", span.slots),
                        );
                        Ok(())
                    }
                }
            })?;
            done += part.iter().map(|range| range.len).sum::<u64>();
            if batch.len() >= BATCH {
                self.follow(&mut batch)?;
            }
        }
        self.follow(&mut batch)
    }

    /// Takes the slots of one span that may be headers.
    fn headers(
        &mut self,
        span: &HeapSpan,
        bytes: &[u8],
        class: (u64, u64),
        batch: &mut Vec<Candidate>,
    ) -> Result<(), ReadError> {
        let (slot_size, pointers) = class;
        let bitmap = self.bitmap(span, bytes)?;
        let words = (slot_size / 8) as usize;
        let mut allocated = Vec::new();
        if span.free_index < span.slots {
            allocated.resize(span.slots.div_ceil(8) as usize, 0);
            match self.memory.read(span.alloc_bits, &mut allocated) {
                Ok(()) => {}
                Err(ReadError::Fault { .. }) => {
                    // Rather too many candidates than too few.
                    allocated.fill(0xff);
                    self.result.defects.push(
                        "allocation-bits-unreadable",
                        span.base,
                        "readable allocation bits",
                        format!("nothing at {:#x}", span.alloc_bits),
                        "",
                    );
                }
                Err(interrupted) => return Err(interrupted),
            }
        }
        for (index, slot) in (0..span.slots).zip(bytes.chunks_exact(slot_size as usize)) {
            let in_use = index < span.free_index
                || allocated
                    .get(index as usize / 8)
                    .is_some_and(|byte| byte >> (index % 8) & 1 != 0);
            if !in_use {
                continue;
            }
            self.result.totals.candidates += 1;
            if let Some(bitmap) = &bitmap {
                let first = index as usize * words;
                let found = (0..words).fold(0_u64, |found, word| {
                    let bit = first + word;
                    let byte = bitmap.get(bit / 8).copied().unwrap_or(0);
                    found | u64::from(byte >> (bit % 8) & 1) << word
                });
                if found != pointers {
                    continue;
                }
            }
            let address = span.base + u64::from(index) * slot_size;
            let candidate = match self.header {
                Header::Swiss(map) => self.swiss(map, address, slot),
                Header::Classic(hmap) => self.classic(hmap, address, slot),
            };
            batch.extend(candidate.map(|mut candidate| {
                candidate.map.allocated = candidate.map.allocated.saturating_add(slot_size);
                candidate
            }));
        }
        Ok(())
    }

    /// The bitmap of the pointers in a span of small objects, a bit for each word; `None`
    /// where it is not to be had.
    fn bitmap(&mut self, span: &HeapSpan, bytes: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(at) = self.bitmap_of(span)? else {
            return Ok(None);
        };
        let len = bytes.len() / 64;
        let inside = at
            .checked_sub(span.base)
            .and_then(|start| bytes.get(start as usize..(start as usize).checked_add(len)?));
        if let Some(bitmap) = inside {
            return Ok(Some(bitmap.to_vec()));
        }
        let mut bitmap = vec![0; len];
        match self.memory.read(at, &mut bitmap) {
            Ok(()) => Ok(Some(bitmap)),
            Err(ReadError::Fault { .. }) => Ok(None),
            Err(interrupted) => Err(interrupted),
        }
    }

    /// Where that bitmap begins.
    fn bitmap_of(&mut self, span: &HeapSpan) -> Result<Option<u64>, ReadError> {
        let len = span.end() - span.base;
        if self.heap.malloc_headers {
            // Behind the objects, before the marks of the Green Tea collector.
            let inline = self
                .heap
                .inline_marks(self.memory, &mut self.inline_marks, span.base)?;
            let behind = len / 64 + if inline { 128 } else { 0 };
            return Ok(len.checked_sub(behind).map(|offset| span.base + offset));
        }
        // Up to go1.21 in the arena, a bit for each word since go1.20.
        let (Some(arena), Some(field)) = (
            self.heap.arena_of(span.base)?,
            self.heap.arena.field("bitmap"),
        ) else {
            return Ok(None);
        };
        Ok(Some(
            arena
                .wrapping_add(field.offset)
                .wrapping_add(span.base % super::ARENA / 64),
        ))
    }

    /// The slot in use that begins (behind the allocator's word) at `address`.
    fn object(&self, address: u64) -> Option<(&HeapSpan, Slot)> {
        let span = self.spans.get(self.pages.find(address)?)?;
        let slot = span.slot(address, self.heap.malloc_headers)?;
        (!slot.is_stack && slot.object() == address).then_some((span, slot))
    }

    fn candidate(address: u64, len: u64) -> Candidate {
        Candidate {
            map: FoundMap {
                address,
                len,
                capacity: 0,
                allocated: 0,
                blocks: 1,
                type_index: u32::MAX,
                evidence: Evidence::Structure,
                writing: false,
                at_least: false,
            },
            storage: 0,
            units: 0,
            slot_size: 0,
            noscan: false,
            noted: 0,
            signature: None,
            used: 0,
            refused: false,
        }
    }

    /// Makes a slot the storage by which the type is told.
    fn store(&self, candidate: &mut Candidate, address: u64, units: u64) -> Option<()> {
        let (span, slot) = self.object(address)?;
        candidate.storage = address;
        candidate.units = units;
        candidate.slot_size = slot.size;
        candidate.noscan = slot.noscan;
        // A span without pointers keeps the type of what was there before it
        // (mallocgc of go1.22 and go1.23 sets it for scanned objects only).
        candidate.noted = if self.heap.malloc_headers && span.is_large() && !span.noscan() {
            span.large_type
        } else {
            0
        };
        Some(())
    }

    fn add(candidate: &mut Candidate, slot: Slot) {
        candidate.map.allocated = candidate.map.allocated.saturating_add(slot.size);
        candidate.map.blocks = candidate.map.blocks.saturating_add(1);
    }

    /// The fields of a Swiss map that need nothing but the header.
    fn swiss(&self, map: SwissMap, address: u64, bytes: &[u8]) -> Option<Candidate> {
        let abi = self.heap.abi;
        let field = |field: crate::layout::Field| field.of(abi, bytes);
        let (used, directory) = (field(map.used)?, field(map.dir_ptr)?);
        let (len, depth, writing) = (
            field(map.dir_len)?,
            field(map.global_depth)?,
            field(map.writing)?,
        );
        // globalShift follows globalDepth: 64 less it, and 64 stands for 0.
        let shift = u64::from(*bytes.get(map.global_depth.offset + 1)?);
        if writing > 1 || depth > 40 || used > 1 << 48 {
            return None;
        }
        let mut candidate = Self::candidate(address, used);
        candidate.map.writing = writing != 0;
        if directory == 0 {
            let unused = used == 0 && len == 0 && depth == 0 && (shift == 0 || shift == 64);
            return unused.then_some(candidate);
        }
        let (_, slot) = self.object(directory)?;
        if len == 0 {
            if used > SLOTS as u64 || depth != 0 || slot.usable() < 16 {
                return None;
            }
            candidate.map.capacity = SLOTS as u64;
            self.store(&mut candidate, directory, 1)?;
            Self::add(&mut candidate, slot);
            return Some(candidate);
        }
        let sound =
            len == 1 << depth && shift == 64 - depth && slot.usable() / 8 >= len && !slot.noscan;
        if !sound {
            return None;
        }
        // What the tables have is added when they are read.
        candidate.storage = directory;
        candidate.units = len;
        Self::add(&mut candidate, slot);
        Some(candidate)
    }

    /// The fields of a classic map that need nothing but the header.
    fn classic(&self, hmap: Hmap, address: u64, bytes: &[u8]) -> Option<Candidate> {
        let abi = self.heap.abi;
        let field = |field: crate::layout::Field| field.of(abi, bytes);
        let (count, flags, b) = (field(hmap.count)?, field(hmap.flags)?, field(hmap.b)?);
        let (buckets, old, extra) = (
            field(hmap.buckets)?,
            field(hmap.oldbuckets)?,
            field(hmap.extra)?,
        );
        let noverflow = field(hmap.noverflow)?;
        if flags > 15 || b > B_MAX {
            return None;
        }
        let mut candidate = Self::candidate(address, count);
        candidate.map.writing = flags & 4 != 0;
        if buckets == 0 {
            let unused = count == 0 && old == 0 && extra == 0 && noverflow == 0 && flags & 8 == 0;
            return unused.then_some(candidate);
        }
        let main = 1_u64 << b;
        // Growth keeps the count below 6.5 entries a bucket, or 8.
        if count > main.saturating_mul(8) {
            return None;
        }
        let (_, slot) = self.object(buckets)?;
        // Buckets of empty keys and elems have 16 bytes.
        if slot.usable() / 16 < main {
            return None;
        }
        self.store(&mut candidate, buckets, main)?;
        Self::add(&mut candidate, slot);
        candidate.map.capacity = main.saturating_add(noverflow).saturating_mul(8);
        if old != 0 {
            let len = if flags & 8 != 0 { main } else { main / 2 };
            let (_, slot) = self.object(old)?;
            if len == 0 || slot.usable() / 16 < len {
                return None;
            }
            Self::add(&mut candidate, slot);
        }
        if extra != 0 {
            let (_, slot) = self.object(extra)?;
            if slot.usable() < 24 {
                return None;
            }
            Self::add(&mut candidate, slot);
        }
        candidate.map.at_least = noverflow > 0 || extra != 0;
        Some(candidate)
    }

    /// Follows the pointers of a batch of candidates, and keeps those that hold.
    fn follow(&mut self, batch: &mut Vec<Candidate>) -> Result<(), ReadError> {
        let mut probes = Vec::new();
        for (number, candidate) in (0_u32..).zip(batch.iter_mut()) {
            if candidate.storage == 0 {
                continue;
            }
            let probe = |address, len, kind| Probe {
                address,
                len,
                candidate: number,
                kind,
            };
            match self.header {
                Header::Swiss(_) if candidate.slot_size == 0 => {
                    let mut first = 0;
                    while first < candidate.units {
                        let take = (candidate.units - first).min(DIRECTORY_PART);
                        probes.push(probe(
                            candidate.storage.wrapping_add(8 * first),
                            8 * take as u32,
                            ProbeKind::Directory(first),
                        ));
                        first += take;
                    }
                    // The sum of the tables' will be its.
                    candidate.units = 0;
                }
                Header::Swiss(_) => {
                    probes.push(probe(candidate.storage, 8, ProbeKind::Control));
                }
                Header::Classic(_) => {
                    probes.push(probe(candidate.storage, 8, ProbeKind::TopHash));
                }
            }
        }
        let mut tables = self.probe(batch, probes)?;
        if let Header::Swiss(map) = self.header {
            // Runs that cross two parts of a directory are of one table.
            tables.sort_unstable_by_key(|probe| (probe.candidate, index_of(probe)));
            tables.dedup_by_key(|probe| (probe.candidate, probe.address));
            for table in &mut tables {
                table.len = map.table.size as u32;
            }
            let more = self.probe(batch, tables)?;
            debug_assert!(more.is_empty(), "tables lead to no directories");
        }
        // The types that the allocator noted, where storage has its word before it; else
        // which words of it are pointers.
        let mut noted = Vec::new();
        for (number, candidate) in (0_u32..).zip(batch.iter()) {
            if candidate.refused || candidate.storage == 0 || candidate.noted != 0 {
                continue;
            }
            let Some((span, slot)) = self.object(candidate.storage) else {
                continue;
            };
            let span = *span;
            if slot.header == 8 {
                noted.push(Probe {
                    address: candidate.storage.wrapping_sub(8),
                    len: 8,
                    candidate: number,
                    kind: ProbeKind::Noted,
                });
            } else if !slot.noscan
                && slot.size <= SIGNED_MAX
                && let Some(bits) = self.bitmap_of(&span)?
            {
                let first = (slot.base - span.base) / 8;
                let count = (slot.size / 8) as u32;
                let skip = (first % 8) as u32;
                noted.push(Probe {
                    address: bits.wrapping_add(first / 8),
                    len: (skip + count).div_ceil(8),
                    candidate: number,
                    kind: ProbeKind::Signature(skip, count),
                });
            }
        }
        self.probe(batch, noted)?;
        for candidate in batch.drain(..) {
            self.keep(candidate);
        }
        Ok(())
    }

    /// Reads what the probes ask for; returns the tables that directories lead to.
    fn probe(
        &mut self,
        batch: &mut [Candidate],
        mut probes: Vec<Probe>,
    ) -> Result<Vec<Probe>, ReadError> {
        probes.sort_unstable_by_key(|probe| probe.address);
        let ranges: Vec<Span> = probes
            .iter()
            .map(|probe| Span {
                start: probe.address,
                len: u64::from(probe.len).min(READ_MAX as u64),
            })
            .collect();
        let mut tables = Vec::new();
        let mut count = 0_u32;
        let memory = self.memory;
        RangeReader::default().read(memory, &ranges, &mut |chunk| {
            count += 1;
            if count.is_multiple_of(8192) {
                memory.checkpoint(0, 0)?;
            }
            let Some(probe) = probes.get(chunk.index) else {
                return Ok(());
            };
            let Some(candidate) = batch.get_mut(probe.candidate as usize) else {
                return Ok(());
            };
            let Some(bytes) = chunk.bytes else {
                if !matches!(probe.kind, ProbeKind::Noted | ProbeKind::Signature(..)) {
                    self.result.defects.push(
                        "map-unreadable",
                        candidate.map.address,
                        "readable storage",
                        format!("cannot read {:#x}", probe.address),
                        "this map",
                    );
                    candidate.refused = true;
                }
                return Ok(());
            };
            match probe.kind {
                ProbeKind::Control => {
                    let mut full = 0;
                    for control in bytes {
                        full += u64::from(*control < 0x80);
                        // maps.ctrlEmpty; a small map has no tombstones.
                        candidate.refused |= *control > 0x80;
                    }
                    candidate.refused |= full != candidate.map.len && !candidate.map.writing;
                }
                ProbeKind::TopHash => {
                    // emptyRest: nothing follows.
                    let used = bytes.iter().rposition(|top| *top != 0);
                    let gap = bytes.iter().position(|top| *top == 0);
                    if let (Some(used), Some(gap)) = (used, gap) {
                        candidate.refused |= gap < used;
                    }
                    // Evacuated ones stand in an old array only.
                    candidate.refused |= bytes.iter().any(|top| matches!(top, 2..=4));
                }
                ProbeKind::Noted => {
                    candidate.noted = self.heap.abi.uint(bytes);
                }
                ProbeKind::Signature(skip, count) => {
                    // At most 64 bits and 7 before them: 9 bytes.
                    let bits = bytes
                        .iter()
                        .rev()
                        .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
                    let bits = (bits >> skip) as u64;
                    candidate.signature = Some(if count < 64 {
                        bits & ((1 << count) - 1)
                    } else {
                        bits
                    });
                }
                ProbeKind::Directory(first) => {
                    let mut previous = 0;
                    for (index, entry) in (first..).zip(bytes.chunks_exact(8)) {
                        let table = self.heap.abi.uint(entry);
                        if table != previous {
                            tables.push(Probe {
                                address: table,
                                len: 0,
                                candidate: probe.candidate,
                                kind: ProbeKind::Table(index),
                            });
                        }
                        previous = table;
                        candidate.refused |= table == 0;
                    }
                }
                ProbeKind::Table(index) => {
                    let held = self.table(candidate, probe.address, index, bytes);
                    candidate.refused |= held.is_none();
                }
            }
            Ok(())
        })?;
        Ok(tables)
    }

    /// One table of a candidate; `None` if it cannot be one.
    fn table(
        &self,
        candidate: &mut Candidate,
        address: u64,
        index: u64,
        bytes: &[u8],
    ) -> Option<()> {
        let Header::Swiss(map) = self.header else {
            return None;
        };
        let abi = self.heap.abi;
        let field = |field: crate::layout::Field| field.of(abi, bytes);
        let capacity = field(map.table.capacity)?;
        let (used, left) = (field(map.table.used)?, field(map.table.growth_left)?);
        let mask = field(map.table.groups_length_mask)?;
        let groups = field(map.table.groups_data)?;
        let sound = capacity.is_power_of_two()
            && capacity >= SLOTS as u64
            && capacity <= map.max_table_capacity
            && mask.checked_add(1)? == capacity / SLOTS as u64
            && used <= capacity
            && left <= capacity
            && field(map.table.index)? == index;
        if !sound {
            return None;
        }
        let (_, own) = self.object(address)?;
        let (_, storage) = self.object(groups)?;
        if own.usable() < map.table.size as u64 || storage.usable() / 16 < mask + 1 {
            return None;
        }
        Self::add(candidate, own);
        Self::add(candidate, storage);
        candidate.used = candidate.used.saturating_add(used);
        candidate.map.capacity = candidate.map.capacity.saturating_add(capacity);
        // The largest table tells the type best: its word, and no other fits.
        if candidate.units < mask + 1 {
            self.store(candidate, groups, mask + 1)?;
        }
        Some(())
    }

    /// Counts a candidate that held, tells its type, and lists it.
    fn keep(&mut self, mut candidate: Candidate) {
        if candidate.refused {
            return;
        }
        let many = matches!(self.header, Header::Swiss(_)) && candidate.map.blocks > 2;
        if many && candidate.used != candidate.map.len && !candidate.map.writing {
            return;
        }
        let empty = candidate.storage == 0;
        if !empty {
            let (type_index, evidence) = self.type_of(&candidate);
            candidate.map.type_index = type_index;
            candidate.map.evidence = evidence;
            let unit = self.unit_of(type_index);
            if unit.is_some_and(|layout| layout.key.indirect || layout.elem.indirect) {
                candidate.map.at_least = true;
            }
        }
        let totals = &mut self.result.totals;
        totals.maps += 1;
        totals.without_storage += u64::from(empty);
        totals.entries = totals.entries.saturating_add(candidate.map.len);
        totals.allocated = totals.allocated.saturating_add(candidate.map.allocated);
        let listed = candidate.map.allocated >= self.options.min_bytes
            && !(empty && self.options.skip_empty)
            && self.result.maps.len() < MAPS_MAX;
        if listed {
            self.result.maps.push(candidate.map);
        }
    }

    /// The layout of the types at a position, while they are those of one unit.
    fn unit_of(&self, type_index: u32) -> Option<&MapLayout> {
        self.catalogue
            .units
            .get(type_index as usize)?
            .layout
            .as_ref()
    }

    /// Position of the types a candidate can have.
    fn type_of(&mut self, candidate: &Candidate) -> (u32, Evidence) {
        if candidate.noted != 0 {
            let position = self.catalogue.unit(candidate.noted);
            return (u32::try_from(position).unwrap_or(u32::MAX), Evidence::Exact);
        }
        let key = (
            candidate.slot_size,
            candidate.units,
            candidate.noscan,
            candidate.signature,
        );
        if let Some(known) = self.catalogue.fits.get(&key) {
            return *known;
        }
        let catalogue = &self.catalogue;
        let fitting: Vec<usize> = catalogue
            .units
            .iter()
            .enumerate()
            .filter(|(_, unit)| {
                unit.layout.as_ref().is_some_and(|layout| {
                    let count = match layout.family() {
                        Family::Classic => {
                            array_len(layout, candidate.units.trailing_zeros() as u8)
                        }
                        Family::Swiss => candidate.units,
                    };
                    layout.has_pointers != candidate.noscan
                        && unit.has_pointers_at(candidate.signature, count)
                        && catalogue.slot_size(layout, count, candidate.noscan)
                            == candidate.slot_size
                })
            })
            .map(|(position, _)| position)
            .collect();
        let maps: Vec<(u64, String)> = fitting
            .iter()
            .filter_map(|position| catalogue.units.get(*position))
            .flat_map(|unit| unit.maps.iter().cloned())
            .collect();
        let found = match (fitting.as_slice(), maps.len()) {
            ([], _) => (u32::MAX, Evidence::Structure),
            ([only], 1) => (u32::try_from(*only).unwrap_or(u32::MAX), Evidence::Inferred),
            _ => {
                let next = u32::try_from(self.catalogue.units.len()).unwrap_or(u32::MAX);
                let position = *self.catalogue.sets.entry(fitting).or_insert(next);
                if position == next {
                    self.catalogue.units.push(Unit {
                        layout: None,
                        mask: None,
                        maps,
                    });
                }
                (position, Evidence::OneOf)
            }
        };
        if self.catalogue.fits.len() < FITS_MAX {
            self.catalogue.fits.insert(key, found);
        }
        found
    }

    /// Names the types that were made at run time, and hands the result over.
    fn finish(mut self, types: &Types) -> ScanResult {
        let unknown = self
            .catalogue
            .by_unit
            .values()
            .any(|position| self.maps_at(*position) == 0);
        if unknown && self.dynamic(types).is_err() {
            self.result.interrupted = true;
        }
        let counts: Vec<usize> = self
            .catalogue
            .units
            .iter()
            .map(|unit| unit.maps.len())
            .collect();
        for map in &mut self.result.maps {
            if map.evidence != Evidence::Exact {
                continue;
            }
            map.evidence = match counts.get(map.type_index as usize) {
                Some(1) => Evidence::Exact,
                Some(0) | None => Evidence::Structure,
                Some(_) => Evidence::ExactParts,
            };
            if map.evidence == Evidence::Structure {
                map.type_index = u32::MAX;
            }
        }
        self.result.types = self
            .catalogue
            .units
            .into_iter()
            .map(|unit| KnownType { maps: unit.maps })
            .collect();
        self.result
    }

    fn maps_at(&self, position: usize) -> usize {
        self.catalogue
            .units
            .get(position)
            .map_or(0, |unit| unit.maps.len())
    }

    /// Looks for descriptors of map types in the heap (reflect.MapOf) whose storage was met.
    fn dynamic(&mut self, types: &Types) -> Result<(), ReadError> {
        let holding: Vec<&HeapSpan> = self
            .spans
            .iter()
            .filter(|span| {
                span.state == State::InUse
                    && !span.noscan()
                    // abi.MapType of go1.21 to go1.27, and some room.
                    && (88..=160).contains(&span.slot_size)
            })
            .collect();
        let ranges: Vec<Span> = holding
            .iter()
            .map(|span| Span {
                start: span.base,
                len: span.end() - span.base,
            })
            .collect();
        let mut heads = Vec::new();
        let memory = self.memory;
        RangeReader::default().read(memory, &ranges, &mut |chunk| {
            memory.checkpoint(0, 0)?;
            let (Some(span), Some(bytes)) = (holding.get(chunk.index), chunk.bytes) else {
                return Ok(());
            };
            let slots = bytes.chunks_exact(span.slot_size as usize);
            for (index, slot) in (0..span.slots).zip(slots) {
                // Size and bytes of pointers of a map's value.
                let abi = self.heap.abi;
                let one = |at| abi.uint_at(slot, at, 8) == Some(8);
                let kind = slot.get(23).is_some_and(|kind| kind & 0x1f == 21);
                if one(0) && one(8) && kind && heads.len() < 1 << 16 {
                    heads.push(span.base + u64::from(index) * span.slot_size);
                }
            }
            Ok(())
        })?;
        for address in heads {
            let Ok(map) = types.map_descriptor(address) else {
                continue;
            };
            let Some(position) = self.catalogue.by_unit.get(&map.unit_address).copied() else {
                continue;
            };
            let name = types
                .get(TypeRef::Runtime(address))
                .map(|described| described.name.clone());
            if let (Some(unit), Ok(name)) = (self.catalogue.units.get_mut(position), name) {
                unit.layout = unit
                    .layout
                    .take()
                    .or_else(|| descriptor_layout(types, address).ok());
                unit.maps.push((address, name));
            }
        }
        Ok(())
    }
}

fn index_of(probe: &Probe) -> u64 {
    match probe.kind {
        ProbeKind::Table(index) => index,
        _ => 0,
    }
}
