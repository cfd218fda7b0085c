//! Every map header in the heap, found by the allocator's own books: a header is always an
//! object of its own, so all allocated slots of its size class are looked at. What its
//! fields say must hold together, down to the slots that its pointers lead to.

use super::catalogue::{Catalogue, SIGNED_MAX, Storage};
use super::objects::Objects;
use super::{FoundMap, Label, Place, State as MapState};
use crate::heap::{HeapSpan, Slot};
use crate::layout::{Header, Hmap, SIZE_CLASSES, SLOTS, SwissMap};
use crate::map::Defects;
use crate::memory::{READ_MAX, RangeReader, ReadError, Span};

/// Headers whose pointers are followed at a time, in address order.
const BATCH: usize = 1 << 16;

/// Directory entries that are looked at at a time.
const DIRECTORY_PART: u64 = 1 << 15;

/// Stacks larger than this are searched in part.
const STACK_MAX: u64 = 64 << 20;

/// The array of a larger B would not fit into a 48-bit address space.
const B_MAX: u64 = 40;

/// Maps that are kept. 100 million of them have 4.8 GB of headers.
const MAPS_MAX: usize = 100_000_000;

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

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By address.
    pub maps: Vec<FoundMap>,
    /// Slots of the header's size class that were looked at.
    pub candidates: u64,
}

/// Looks for headers.
pub(super) struct Finder<'o, 'a> {
    objects: &'o Objects<'a>,
    catalogue: &'o mut Catalogue,
    defects: &'o mut Defects,
    header: Header,
    pub found: Found,
}

impl<'o, 'a> Finder<'o, 'a> {
    /// `None` if there is no map type in the program: then there is no map.
    pub(super) fn new(
        objects: &'o Objects<'a>,
        catalogue: &'o mut Catalogue,
        defects: &'o mut Defects,
    ) -> Option<Self> {
        Some(Self {
            header: catalogue.header?,
            objects,
            catalogue,
            defects,
            found: Found::default(),
        })
    }

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

    /// Looks at all slots of the header's size class.
    ///
    /// # Errors
    /// When the user asked to stop; what was found until then is there.
    pub(super) fn run(&mut self) -> Result<(), ReadError> {
        let (header_size, pointers) = self.signature();
        let class = SIZE_CLASSES
            .iter()
            .copied()
            .find(|class| *class >= header_size)
            .unwrap_or(header_size);
        let objects = self.objects;
        let holding: Vec<(usize, &HeapSpan)> = objects
            .spans
            .iter()
            .enumerate()
            .filter(|(_, span)| span.has_pointers() && span.slot_size == class)
            .collect();
        let ranges: Vec<Span> = holding.iter().map(|(_, span)| span.extent()).collect();
        let total = ranges.iter().map(|range| range.len).sum();
        let mut batch = Vec::new();
        let mut reader = RangeReader::default();
        let mut done = 0;
        // A part of the spans at a time, so that what was read can be followed before more
        // is kept.
        for (part, part_spans) in ranges.chunks(512).zip(holding.chunks(512)) {
            objects.memory.checkpoint(done, total)?;
            reader.read(objects.memory, part, &mut |chunk| {
                let Some((at, span)) = part_spans.get(chunk.index) else {
                    return Ok(());
                };
                match chunk.bytes {
                    Some(bytes) => self.headers(*at, span, bytes, (class, pointers), &mut batch),
                    None => {
                        self.defects.push(
                            "heap-unreadable",
                            span.base,
                            "a readable span",
                            format!("cannot read {} bytes", span.extent().len),
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

    /// Looks for headers on a stack: those of maps that never left their function. Their first
    /// bucket or group is often there as well.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn on_stack(&mut self, stack: Span) -> Result<(), ReadError> {
        self.objects.memory.checkpoint(0, 0)?;
        let (size, _) = self.signature();
        let mut bytes = vec![0; stack.len.min(STACK_MAX) as usize];
        if stack.len > STACK_MAX {
            self.defects.push(
                "stack-large",
                stack.start,
                format!("a stack of at most {STACK_MAX} bytes"),
                format!("{} bytes", stack.len),
                "maps on the rest of it",
            );
        }
        let missing = crate::memory::read_available(self.objects.memory, stack.start, &mut bytes)?;
        for hole in missing {
            self.defects.push(
                "stack-unreadable",
                hole.start,
                "a readable stack of a goroutine",
                format!("cannot read {} bytes", hole.len),
                "maps on it, and what it alone leads to",
            );
        }
        let mut batch = Vec::new();
        for start in (0..bytes.len().saturating_sub(size as usize)).step_by(8) {
            let Some(header) = bytes.get(start..start + size as usize) else {
                break;
            };
            let address = stack.start + start as u64;
            if let Some(mut candidate) = self.stack_candidate(address, header, stack, &bytes) {
                candidate.map.place = Place::Stack;
                candidate.map.state = MapState::Live;
                batch.push(candidate);
            }
        }
        self.follow(&mut batch)
    }

    fn stack_candidate(
        &self,
        address: u64,
        header: &[u8],
        stack: Span,
        bytes: &[u8],
    ) -> Option<Candidate> {
        let abi = self.objects.heap.abi();
        let field = |field: crate::layout::Field| field.of(abi, header);
        let near = |at: u64, len: usize| {
            let start = usize::try_from(at.checked_sub(stack.start)?).ok()?;
            bytes.get(start..start.checked_add(len)?)
        };
        match self.header {
            Header::Swiss(map) => {
                let (used, group, len) =
                    (field(map.used)?, field(map.dir_ptr)?, field(map.dir_len)?);
                // The seed is a random number; flags and what pads them are small.
                let seed = abi.uint_at(header, map.used.offset + map.used.size, 8)?;
                let rest = header.get(map.global_depth.offset + 3..map.global_depth.offset + 8)?;
                let calm = rest.first().is_some_and(|flag| *flag <= 1)
                    && rest.iter().skip(1).all(|byte| *byte == 0);
                if seed >> 32 == 0 || group == 0 || !calm {
                    return None;
                }
                let Some(control) = near(group, 8).filter(|_| len == 0) else {
                    return self.swiss(map, address, header);
                };
                let shift = *header.get(map.global_depth.offset + 1)?;
                let full = control.iter().filter(|byte| **byte < 0x80).count() as u64;
                let fits = control.iter().all(|byte| *byte <= 0x80)
                    && full == used
                    && field(map.global_depth)? == 0
                    && field(map.writing)? <= 1
                    && matches!(shift, 0 | 64);
                fits.then(|| {
                    let mut candidate = Self::candidate(address, used);
                    candidate.map.capacity = SLOTS as u64;
                    candidate
                })
            }
            Header::Classic(hmap) => {
                let (count, b, flags) = (field(hmap.count)?, field(hmap.b)?, field(hmap.flags)?);
                let hash = abi.uint_at(header, hmap.noverflow.offset + hmap.noverflow.size, 4)?;
                if hash == 0 {
                    return None;
                }
                let buckets = field(hmap.buckets)?;
                let Some(top) = near(buckets, SLOTS) else {
                    // Without an entry too little speaks for it.
                    return self
                        .classic(hmap, address, header)
                        .filter(|candidate| candidate.storage != 0 && count > 0);
                };
                let live = top.iter().filter(|top| **top >= 5).count() as u64;
                let calm = !top.iter().any(|top| matches!(top, 2..=4));
                let fits = b == 0
                    && flags <= 15
                    && calm
                    && live == count
                    && (count > 0 || top.iter().all(|top| *top <= 1))
                    && field(hmap.oldbuckets)? == 0
                    && field(hmap.extra)? == 0
                    && field(hmap.noverflow)? == 0;
                fits.then(|| {
                    let mut candidate = Self::candidate(address, count);
                    candidate.map.capacity = SLOTS as u64;
                    candidate
                })
            }
        }
    }

    /// Looks at one header; whether there can be one.
    ///
    /// # Errors
    /// When it is unreadable.
    pub(super) fn at(&mut self, address: u64) -> Result<bool, ReadError> {
        let mut bytes = vec![0; self.signature().0 as usize];
        self.objects.heap.memory().read(address, &mut bytes)?;
        let Some(mut candidate) = self.candidate_at(address, &bytes) else {
            return Ok(false);
        };
        if let Some((_, slot)) = self.object(address) {
            candidate.map.allocated = candidate.map.allocated.saturating_add(slot.size);
        }
        self.follow(&mut vec![candidate])?;
        Ok(true)
    }

    /// Takes the slots of one span that may be headers.
    fn headers(
        &mut self,
        at: usize,
        span: &HeapSpan,
        bytes: &[u8],
        class: (u64, u64),
        batch: &mut Vec<Candidate>,
    ) -> Result<(), ReadError> {
        let (slot_size, pointers) = class;
        let mut arena = None;
        let bitmap = self.objects.bitmap(span, bytes, &mut arena)?;
        let words = (slot_size / 8) as usize;
        let (first, end) = self.objects.numbers(at);
        for (number, slot) in (first..end).zip(bytes.chunks_exact(slot_size as usize)) {
            if !self.objects.in_use(number) {
                continue;
            }
            self.found.candidates += 1;
            let index = (number - first) as usize;
            if let Some(bitmap) = bitmap {
                let found = (0..words).fold(0_u64, |found, word| {
                    found | u64::from(bitmap.is_pointer(index * words + word)) << word
                });
                if found != pointers {
                    continue;
                }
            }
            let address = span.base + index as u64 * slot_size;
            let candidate = self.candidate_at(address, slot);
            batch.extend(candidate.map(|mut candidate| {
                candidate.map.allocated = candidate.map.allocated.saturating_add(slot_size);
                candidate
            }));
        }
        Ok(())
    }

    fn candidate_at(&self, address: u64, bytes: &[u8]) -> Option<Candidate> {
        match self.header {
            Header::Swiss(map) => self.swiss(map, address, bytes),
            Header::Classic(hmap) => self.classic(hmap, address, bytes),
        }
    }

    /// The slot in use that begins (behind the allocator's word) at `address`.
    fn object(&self, address: u64) -> Option<(&HeapSpan, Slot)> {
        let (span, slot, _) = self.objects.begins(address)?;
        Some((self.objects.spans.get(span)?, slot))
    }

    fn candidate(address: u64, len: u64) -> Candidate {
        Candidate {
            map: FoundMap {
                address,
                len,
                capacity: 0,
                allocated: 0,
                blocks: 1,
                set: u32::MAX,
                label: Label::Structure,
                state: MapState::Unknown,
                place: Place::Heap,
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
        candidate.noted = if self.objects.heap.malloc_headers() && span.is_large() && !span.noscan()
        {
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
        let abi = self.objects.heap.abi();
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
            // The seed is a random number: without one it is an object that is all zeros.
            let seed = abi.uint_at(bytes, map.used.offset + map.used.size, 8)?;
            let unused =
                seed != 0 && used == 0 && len == 0 && depth == 0 && (shift == 0 || shift == 64);
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
        let abi = self.objects.heap.abi();
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
            let seed = abi.uint_at(bytes, hmap.noverflow.offset + hmap.noverflow.size, 4)?;
            let unused = seed != 0
                && count == 0
                && old == 0
                && extra == 0
                && noverflow == 0
                && flags & 8 == 0;
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
                && let Some(bits) = self.objects.span_bitmap(&span)?
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
        let memory = self.objects.memory;
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
                    self.defects.push(
                        "map-unreadable",
                        candidate.map.address,
                        "readable storage",
                        format!("cannot read {:#x}", probe.address),
                        "this map",
                    );
                    candidate.refused = true;
                } else if let Some(range) = ranges.get(chunk.index) {
                    // Fewer types would fit.
                    memory.lost(*range);
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
                    candidate.noted = self.objects.heap.abi().uint(bytes);
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
                        let table = self.objects.heap.abi().uint(entry);
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
        let abi = self.objects.heap.abi();
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

    /// Tells the type of a candidate that held, and keeps it.
    fn keep(&mut self, mut candidate: Candidate) {
        if candidate.refused {
            return;
        }
        let many = matches!(self.header, Header::Swiss(_)) && candidate.map.blocks > 2;
        if many && candidate.used != candidate.map.len && !candidate.map.writing {
            return;
        }
        if candidate.storage != 0 {
            (candidate.map.set, candidate.map.label) = if candidate.noted != 0 {
                (self.catalogue.set_of_unit(candidate.noted), Label::Parts)
            } else {
                self.catalogue.fitting(Storage {
                    slot_size: candidate.slot_size,
                    units: candidate.units,
                    noscan: candidate.noscan,
                    signature: candidate.signature,
                })
            };
        }
        if self.found.maps.len() < MAPS_MAX {
            self.found.maps.push(candidate.map);
        }
    }
}

fn index_of(probe: &Probe) -> u64 {
    match probe.kind {
        ProbeKind::Table(index) => index,
        _ => 0,
    }
}
