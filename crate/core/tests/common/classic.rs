//! Images of `runtime.hmap`.

use gomapscope_core::layout::{Field, Header, Hmap, MapLayout, Source};
use gomapscope_core::map::{BlockKind, UnitKind};
use gomapscope_core::memory::{Abi, Image};

use super::{
    ARRAY, Built, EXTRA, HEADER, OLD_ARRAY, OUTSIDE, Truth, Types, Values, Visit, add_marks,
    allocator, block, elem_of, fitted, put, put_field,
};

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slot {
    /// emptyRest
    #[default]
    Rest,
    /// emptyOne
    One,
    Live(u64),
    /// A tophash byte as it is.
    Raw(u8),
}

impl Slot {
    fn tophash(self) -> u8 {
        match self {
            Self::Rest => 0,
            Self::One => 1,
            // Any of 5 to 255.
            Self::Live(key) => 5 + (key % 251) as u8,
            Self::Raw(byte) => byte,
        }
    }

    fn mark(self, evacuated: bool) -> char {
        match (self.tophash(), evacuated) {
            (2..=4, true) => 'V',
            (_, true) | (2..=4, false) => '?',
            (0, _) => 'E',
            (1, _) => 'T',
            _ => 'L',
        }
    }
}

pub type Bucket = [Slot; 8];

pub fn marks(bucket: &Bucket) -> String {
    let evacuated = (2..=4).contains(&bucket[0].tophash());
    bucket.iter().map(|slot| slot.mark(evacuated)).collect()
}

/// Where an overflow bucket lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the preallocated tail of the array, or outside when that is full.
    Tail,
    Outside,
}

#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub first: Bucket,
    pub overflow: Vec<(Place, Bucket)>,
}

impl Chain {
    /// A chain whose first `used.len()` slots are taken, in order.
    pub fn of(used: &[Slot], place: Place) -> Self {
        let mut chain = Self::default();
        for (index, slot) in used.iter().enumerate() {
            if index / 8 > chain.overflow.len() {
                chain.overflow.push((place, Bucket::default()));
            }
            chain.bucket_mut(index / 8)[index % 8] = *slot;
        }
        chain
    }

    fn bucket_mut(&mut self, depth: usize) -> &mut Bucket {
        match depth.checked_sub(1) {
            None => &mut self.first,
            Some(link) => &mut self.overflow[link].1,
        }
    }
}

/// The old array during growth.
#[derive(Debug, Clone)]
pub struct Old {
    pub same_size: bool,
    pub chains: Vec<Chain>,
}

/// A classic map.
#[derive(Debug, Clone)]
pub struct ClassicMap {
    abi: Abi,
    types: Types,
    noswissmap: bool,
    b: u8,
    chains: Vec<Chain>,
    old: Option<Old>,
    flags: u64,
    nil_array: bool,
}

/// Buckets makeBucketArray makes for `b`.
pub fn made(layout: &MapLayout, b: u8) -> usize {
    let base = 1_usize << b;
    if b < 4 {
        return base;
    }
    let wanted = (base + base / 16) * layout.unit_size;
    let usable = layout.allocator.usable(wanted as u64, !layout.has_pointers);
    usable as usize / layout.unit_size
}

impl ClassicMap {
    /// An empty map of 2^b buckets.
    pub fn new(abi: Abi, types: Types, b: u8) -> Self {
        Self {
            abi,
            types,
            noswissmap: false,
            b,
            chains: vec![Chain::default(); 1 << b],
            old: None,
            flags: 0,
            nil_array: false,
        }
    }

    /// A map nothing was ever put into: no bucket array yet.
    pub fn never_used(abi: Abi, types: Types) -> Self {
        Self {
            nil_array: true,
            ..Self::new(abi, types, 0)
        }
    }

    /// With the header of go1.24 and go1.25, which is a word longer.
    pub fn noswissmap(mut self) -> Self {
        self.noswissmap = true;
        self
    }

    /// Puts `len` entries in, round robin, as a perfect hash would; where a bucket
    /// is full, into overflow buckets at `place`.
    pub fn entries(mut self, len: u64, place: Place) -> Self {
        let mut used: Vec<Vec<Slot>> = vec![Vec::new(); self.chains.len()];
        for key in 0..len {
            let bucket = (key % self.chains.len() as u64) as usize;
            used[bucket].push(Slot::Live(key));
        }
        self.chains = used.iter().map(|used| Chain::of(used, place)).collect();
        self
    }

    pub fn slot(mut self, bucket: usize, slot: usize, state: Slot) -> Self {
        self.chains[bucket].first[slot] = state;
        self
    }

    /// Appends an overflow bucket to the chain of `bucket`.
    pub fn overflow(mut self, bucket: usize, place: Place, slots: Bucket) -> Self {
        self.chains[bucket].overflow.push((place, slots));
        self
    }

    pub fn chain(mut self, bucket: usize, chain: Chain) -> Self {
        self.chains[bucket] = chain;
        self
    }

    pub fn flags(mut self, flags: u64) -> Self {
        self.flags |= flags;
        self
    }

    /// Starts a growth whose old array is `chains`.
    pub fn growing(mut self, same_size: bool, chains: Vec<Chain>) -> Self {
        let len = if same_size {
            1 << self.b
        } else {
            1_usize << (self.b - 1)
        };
        assert_eq!(chains.len(), len);
        if same_size {
            self.flags |= 8;
        }
        self.old = Some(Old { same_size, chains });
        self
    }

    pub fn layout(&self) -> MapLayout {
        let abi = self.abi;
        let pointer = usize::from(abi.pointer_size);
        let key = Types::slot(abi, self.types.key);
        let elem = Types::slot(abi, self.types.elem);
        let unit_size = 8 + 8 * key + 8 * elem + pointer;
        let hmap = match (pointer, self.noswissmap) {
            (8, false) => Hmap::go1_23(unit_size),
            (8, true) => Hmap {
                size: 56,
                extra: Field {
                    offset: 48,
                    size: 8,
                },
                ..Hmap::go1_23(unit_size)
            },
            (_, longer) => {
                let at = |offset, size| Field { offset, size };
                // clearSeq is a uint64 and has the alignment of a word here.
                let extra = if longer { 32 } else { 24 };
                Hmap {
                    size: extra + 4,
                    count: at(0, 4),
                    flags: at(4, 1),
                    b: at(5, 1),
                    noverflow: at(6, 2),
                    buckets: at(12, 4),
                    oldbuckets: at(16, 4),
                    extra: at(extra, 4),
                    overflow: at(unit_size - 4, 4),
                    load_factor: (13, 2),
                }
            }
        };
        let key = self.types.part(self.types.key, 8, key);
        let elem = self.types.part(self.types.elem, 8 + 8 * key.stride, elem);
        MapLayout {
            abi,
            source: Source::Given,
            unit_size,
            key,
            elem,
            has_pointers: self.types.pointers || key.indirect || elem.indirect,
            allocator: allocator(abi),
            header: Header::Classic(hmap),
        }
    }

    /// Lays it out.
    pub fn build(&self) -> Built {
        let layout = self.layout();
        let Header::Classic(hmap) = layout.header else {
            panic!("a classic map");
        };
        let abi = self.abi;
        let mut image = Image::new();
        let mut truth = Truth::default();
        let mut values = Values::default();
        let mut outside = Vec::new();
        let mut chains = Vec::new();
        let mut old_chains = Vec::new();
        let mut links = Vec::new();
        let mut old_links = Vec::new();

        if !self.nil_array {
            let mut array = Array {
                map: self,
                layout: &layout,
                image: &mut image,
                truth: &mut truth,
                values: &mut values,
                outside: &mut outside,
            };
            (chains, links) = array.write(ARRAY, self.b, &self.chains, None);
            if let Some(old) = &self.old {
                let b = self.b - u8::from(!old.same_size);
                (old_chains, old_links) = array.write(OLD_ARRAY, b, &old.chains, Some(old));
            }
        }
        if !outside.is_empty() {
            image.map(OUTSIDE, outside);
        }
        values.map(&mut image);
        truth.len = truth.counts.live + truth.old.live;
        truth.keys.sort_unstable();

        let extra = self.extra(&layout, &mut image, &mut truth, (&links, &old_links));
        let mut header = vec![0; hmap.size];
        let mut set = |field, value| put_field(abi, &mut header, field, value);
        let noverflow = match self.b {
            0..16 => truth.overflow,
            b => truth.overflow >> (b - 15),
        };
        set(hmap.count, truth.len);
        set(hmap.flags, self.flags);
        set(hmap.b, u64::from(self.b));
        set(hmap.noverflow, noverflow);
        if !self.nil_array {
            set(hmap.buckets, ARRAY);
        }
        if self.old.is_some() {
            set(hmap.oldbuckets, OLD_ARRAY);
        }
        set(hmap.extra, extra);
        image.map(HEADER, header);
        truth
            .blocks
            .push(block(BlockKind::Header, HEADER, hmap.size));
        truth.blocks.sort_unstable_by_key(|block| block.span);
        Built {
            image,
            address: HEADER,
            layout,
            truth,
            chains,
            old_chains,
            tables: Vec::new(),
        }
    }

    /// `mapextra`, as the runtime makes it: for preallocated overflow buckets, and
    /// to keep overflow buckets alive that no pointer leads to.
    fn extra(
        &self,
        layout: &MapLayout,
        image: &mut Image,
        truth: &mut Truth,
        (links, old_links): (&[u64], &[u64]),
    ) -> u64 {
        let abi = self.abi;
        let word = usize::from(abi.pointer_size);
        let listed = !layout.has_pointers && links.len() + old_links.len() > 0;
        let spare = !self.nil_array && made(layout, self.b) > 1 << self.b;
        if !listed && !spare {
            return 0;
        }
        let mut bytes = vec![0; 3 * word];
        let step = 0x0010_0000;
        for (index, list) in [links, old_links].iter().enumerate() {
            if layout.has_pointers || list.is_empty() {
                continue;
            }
            let slice = EXTRA + (2 * index as u64 + 1) * step;
            let data = slice + step;
            put(abi, &mut bytes[index * word..(index + 1) * word], slice);
            let capacity = list.len().next_power_of_two();
            let mut triple = vec![0; 3 * word];
            for (part, value) in [data, list.len() as u64, capacity as u64]
                .into_iter()
                .enumerate()
            {
                put(abi, &mut triple[part * word..(part + 1) * word], value);
            }
            let mut items = vec![0; capacity * word];
            for (item, address) in items.chunks_exact_mut(word).zip(*list) {
                put(abi, item, *address);
            }
            truth
                .blocks
                .push(block(BlockKind::Extra, slice, triple.len()));
            truth
                .blocks
                .push(block(BlockKind::Extra, data, items.len()));
            image.map(slice, triple);
            image.map(data, items);
        }
        truth
            .blocks
            .push(block(BlockKind::Extra, EXTRA, bytes.len()));
        image.map(EXTRA, bytes);
        EXTRA
    }
}

/// One array being laid out.
struct Array<'a> {
    map: &'a ClassicMap,
    layout: &'a MapLayout,
    image: &'a mut Image,
    truth: &'a mut Truth,
    values: &'a mut Values,
    /// One segment: what lies between two allocations is readable.
    outside: &'a mut Vec<u8>,
}

impl Array<'_> {
    /// Returns the addresses of each chain, and those of all overflow buckets.
    fn write(
        &mut self,
        start: u64,
        b: u8,
        chains: &[Chain],
        old: Option<&Old>,
    ) -> (Vec<Vec<u64>>, Vec<u64>) {
        let unit = self.layout.unit_size;
        let made = made(self.layout, b);
        let main = 1 << b;
        let Header::Classic(hmap) = self.layout.header else {
            panic!("a classic map");
        };
        let mut bytes = vec![0; made * unit];
        let mut tail = main;
        let mut links = Vec::new();
        let mut addresses = Vec::new();
        let kind = if old.is_some() {
            BlockKind::OldBuckets
        } else {
            BlockKind::Buckets
        };
        self.truth.blocks.push(block(kind, start, made * unit));
        for (number, chain) in chains.iter().enumerate() {
            let mut chain_at = vec![start + (number * unit) as u64];
            for (place, _) in &chain.overflow {
                let address = if *place == Place::Tail && tail < made {
                    tail += 1;
                    start + ((tail - 1) * unit) as u64
                } else {
                    // Not side by side, as after other allocations.
                    let offset = match self.outside.len() {
                        0 => 0,
                        len => len + 48,
                    };
                    self.outside.resize(offset + unit, 0);
                    let address = OUTSIDE + offset as u64;
                    self.truth
                        .blocks
                        .push(block(BlockKind::Overflow, address, unit));
                    if old.is_none() {
                        self.truth.outside += 1;
                    }
                    address
                };
                chain_at.push(address);
                links.push(address);
            }
            let first = marks(&chain.first);
            let evacuated = old.is_some() && first.starts_with('V');
            if evacuated {
                self.truth.evacuated += 1;
            }
            let buckets =
                std::iter::once(&chain.first).chain(chain.overflow.iter().map(|link| &link.1));
            for (depth, slots) in buckets.enumerate() {
                let mut unit_bytes = self.bucket(slots);
                let next = chain_at.get(depth + 1).copied().unwrap_or(0);
                put_field(self.map.abi, &mut unit_bytes, hmap.overflow, next);
                let address = chain_at[depth];
                let (into, offset) = match address.checked_sub(OUTSIDE) {
                    Some(offset) if offset < self.outside.len() as u64 => {
                        (&mut *self.outside, offset)
                    }
                    _ => (&mut bytes, address - start),
                };
                let offset = offset as usize;
                into[offset..offset + unit].copy_from_slice(&unit_bytes);
                if evacuated && depth > 0 {
                    continue;
                }
                self.expect(slots, address, number as u64, depth as u64, old.is_some());
            }
            if old.is_none() {
                let length = chain.overflow.len();
                self.truth.overflow += length as u64;
                let lengths = &mut self.truth.chain_lengths;
                lengths.resize(lengths.len().max(length + 1), 0);
                lengths[length] += 1;
            }
            addresses.push(chain_at);
        }
        if tail < made {
            // The last unused one marks the end of the preallocated ones.
            let last = (made - 1) * unit;
            put_field(self.map.abi, &mut bytes[last..], hmap.overflow, start);
        }
        self.image.map(start, bytes);
        (addresses, links)
    }

    fn bucket(&mut self, slots: &Bucket) -> Vec<u8> {
        let abi = self.map.abi;
        let mut bytes = vec![0; self.layout.unit_size];
        let mut values = |bytes: &mut [u8], index, key| {
            self.values.write(abi, bytes, self.layout.key, index, key);
            self.values
                .write(abi, bytes, self.layout.elem, index, elem_of(key));
        };
        for (index, slot) in slots.iter().enumerate() {
            bytes[index] = slot.tophash();
            match slot {
                Slot::Live(key) => values(&mut bytes, index, *key),
                Slot::One => Values::stale(abi, &mut bytes, self.layout.key, index),
                Slot::Rest | Slot::Raw(_) => {}
            }
        }
        bytes
    }

    fn expect(&mut self, slots: &Bucket, address: u64, parent: u64, depth: u64, old: bool) {
        let marks = marks(slots);
        let evacuated = old && marks.starts_with('V');
        if old && !evacuated {
            add_marks(&mut self.truth.old, &marks);
        } else if !old {
            add_marks(&mut self.truth.counts, &marks);
        }
        for slot in slots {
            if let Slot::Live(key) = slot {
                self.truth.keys.push(fitted(*key, self.map.types.key));
            }
        }
        self.truth.visits.push(Visit {
            address,
            kind: match (old, depth) {
                (true, _) => UnitKind::Old,
                (_, 0) => UnitKind::Main,
                _ => UnitKind::Overflow,
            },
            table: 0,
            parent,
            depth,
            marks,
        });
    }
}

/// An evacuated bucket: slots moved to the lower, the upper half, or empty.
pub const EVACUATED: Bucket = [
    Slot::Raw(2),
    Slot::Raw(3),
    Slot::Raw(2),
    Slot::Raw(4),
    Slot::Raw(4),
    Slot::Raw(4),
    Slot::Raw(4),
    Slot::Raw(4),
];

/// Damage to the header.
impl Built {
    fn hmap(&self) -> Hmap {
        match self.layout.header {
            Header::Classic(hmap) => hmap,
            Header::Swiss(_) => panic!("a classic map"),
        }
    }

    pub fn corrupt_b(self, b: u64) -> Self {
        let field = self.hmap().b;
        self.set_header(field, b)
    }

    pub fn corrupt_count(self, count: u64) -> Self {
        let field = self.hmap().count;
        self.set_header(field, count)
    }

    pub fn corrupt_flags(self, flags: u64) -> Self {
        let field = self.hmap().flags;
        self.set_header(field, flags)
    }

    pub fn noverflow(self, noverflow: u64) -> Self {
        let field = self.hmap().noverflow;
        self.set_header(field, noverflow)
    }

    pub fn buckets_at(self, address: u64) -> Self {
        let field = self.hmap().buckets;
        self.set_header(field, address)
    }

    pub fn oldbuckets_at(self, address: u64) -> Self {
        let field = self.hmap().oldbuckets;
        self.set_header(field, address)
    }

    pub fn extra_at(self, address: u64) -> Self {
        let field = self.hmap().extra;
        self.set_header(field, address)
    }

    /// Lets the bucket at `from` link to `to`.
    pub fn link(mut self, from: u64, to: u64) -> Self {
        let field = self.hmap().overflow;
        self.set_at(from, field, to);
        self
    }

    /// Overwrites the tophash array of the bucket at `address`.
    pub fn tophash(mut self, address: u64, tophash: [u8; 8]) -> Self {
        self.poke(address, &tophash);
        self
    }

    pub fn field_address(&self, pick: impl Fn(Hmap) -> Field) -> u64 {
        self.address + pick(self.hmap()).offset as u64
    }
}
