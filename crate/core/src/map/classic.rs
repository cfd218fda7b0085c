//! `runtime.hmap`: an array of 2^B buckets with overflow chains, and while it
//! grows the old array beside it (runtime/map.go up to go1.23,
//! runtime/map_noswiss.go in go1.24 and go1.25).

use std::collections::{HashMap, HashSet};

use super::slots::Tally;
use super::{
    Block, BlockKind, ClassicFacts, Counts, End, Flow, Shape, Slots, Unit, UnitKind, Visitor, Walk,
};
use crate::layout::{Hmap, MapLayout};
use crate::memory::{
    AddressHash, BlockCache, GAP_MAX, Memory, PAGE, READ_MAX, RangeReader, ReadError, Span,
    read_available,
};

const WRITING: u64 = 4;
const SAME_SIZE_GROW: u64 = 8;
const FLAGS: u64 = 15;

/// The array of a larger B would not fit into a 48-bit address space.
const B_MAX: u64 = 40;

/// Overflow buckets outside the array are chased through a cache of this many
/// bytes.
const CACHE: usize = 16 << 20;

/// The preallocated ones are kept in runs of this many bytes, and in at most so
/// many runs: those of a map of 15 million entries fit.
const TAIL_RUN: u64 = 1 << 20;
const TAIL_RUNS: usize = 32;

/// Preallocated overflow buckets that are noted in a bitmap (16 MiB of it).
const TAIL_BITS: u64 = 1 << 27;

/// How many buckets makeBucketArray makes for `b`, preallocated overflow
/// buckets included (runtime/map.go).
#[must_use]
pub(crate) fn array_len(layout: &MapLayout, b: u8) -> u64 {
    let base = 1_u64.checked_shl(u32::from(b)).unwrap_or(0);
    if b < 4 {
        return base;
    }
    let unit = layout.unit_size as u64;
    let wanted = (base + (base >> 4)).saturating_mul(unit);
    let usable = layout.allocator.usable(wanted, !layout.has_pointers);
    usable.checked_div(unit).unwrap_or(base)
}

/// Bytes of the array that makeBucketArray makes for `b`: main buckets and preallocated
/// overflow buckets.
#[must_use]
pub fn classic_array_bytes(layout: &MapLayout, b: u8) -> u64 {
    array_len(layout, b).saturating_mul(layout.unit_size as u64)
}

/// Of so many preallocated overflow buckets a counting walk keeps the states and
/// the link (16 bytes each): those of a map of 300 million entries.
const BRIEFS: u64 = 1 << 21;

/// They are read in runs; more of these there are not in so many buckets of 2 KiB, the
/// largest that the compiler makes.
const BRIEF_RUNS: u64 = 1 << 14;

/// Links of main buckets are kept until there are so many (3 MiB of them), or no more:
/// overflow buckets that were allocated one by one lie in the order in which chains grew,
/// and are read in that of their addresses.
const LINKS: usize = 1 << 16;

/// States and link of a bucket.
type Brief = (u64, u64);

/// A link of a main bucket.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The main bucket's number.
    bucket: u64,
    /// The overflow bucket's address.
    next: u64,
    /// Where that is, and what is known of it.
    brief: Option<(Place, Brief)>,
}

/// Where an overflow pointer leads.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Out of the array.
    Outside,
    /// To a preallocated overflow bucket, by its number.
    Tail(u64),
    /// To a main bucket, or between two buckets: no link the runtime wrote.
    Wrong,
}

pub(super) fn walk(
    memory: &dyn Memory,
    layout: &MapLayout,
    hmap: Hmap,
    header: &[u8],
    visitor: &mut dyn Visitor,
    walk: &mut Walk,
) -> Result<(), End> {
    let abi = layout.abi;
    let field = |field: crate::layout::Field| field.of(abi, header).unwrap_or(0);
    let b = field(hmap.b);
    let flags = field(hmap.flags);
    let buckets = field(hmap.buckets);
    let old = field(hmap.oldbuckets);
    walk.len = field(hmap.count);
    walk.writing = flags & WRITING != 0;
    let same_size = flags & SAME_SIZE_GROW != 0;
    let facts = ClassicFacts {
        b: u8::try_from(b).unwrap_or(u8::MAX),
        noverflow: field(hmap.noverflow),
        flags: flags as u8,
        same_size: old != 0 && same_size,
        ..ClassicFacts::default()
    };
    if flags & !FLAGS != 0 {
        walk.defects.push(
            "flags",
            walk.address.wrapping_add(hmap.flags.offset as u64),
            "flags of at most 0xf",
            format!("{flags:#x}"),
            "",
        );
    }
    let array_bytes = (layout.unit_size as u64).checked_shl(b as u32);
    let absurd = b > B_MAX || array_bytes.is_none_or(|bytes| bytes > 1 << 47);
    if absurd {
        walk.shape = Shape::Classic(facts);
        walk.defects.push(
            "absurd-B",
            walk.address.wrapping_add(hmap.b.offset as u64),
            format!("B of at most {B_MAX}"),
            format!("B = {b}: no map header, or overwritten"),
            "all buckets",
        );
        return Ok(());
    }
    if walk.len > 8_u64.checked_shl(b as u32 + 8).unwrap_or(u64::MAX) {
        // Growth keeps count below 6.5 * 2^B + 8; this is out by a factor of 300.
        walk.defects.push(
            "absurd-count",
            walk.address,
            format!("a count that fits 2^{b} buckets"),
            format!("{}", walk.len),
            "",
        );
    }
    let main = 1_u64 << b;
    let cache = BlockCache::new(memory, CACHE);
    let mut walker = Walker {
        memory,
        cache: &cache,
        layout,
        hmap,
        visitor,
        facts,
        index: 0,
        seen_in_tail: Vec::new(),
        seen: HashSet::default(),
        // What the runtime can reach: same-size growth starts at about one
        // overflow bucket per main bucket, entries fill the others. Anything
        // far beyond is garbage that looks like a chain.
        overflow_max: 4_u64
            .saturating_mul(main)
            .saturating_add((walk.len / 4).min(1 << 40))
            .saturating_add(1024),
        overflow_seen: 0,
        done: 0,
        total: 0,
        array: Span { start: 0, len: 0 },
        main,
        tail: HashMap::default(),
        briefs: Vec::new(),
        unit: vec![0; layout.unit_size],
        chain_start: 0,
        links: Vec::new(),
    };
    let result = walker.run(buckets, old, b as u8, same_size, walk);
    let facts = std::mem::take(&mut walker.facts);
    let result = match result {
        Ok(()) => walker.extra(header, walk, facts.overflow, old != 0),
        other => other,
    };
    if result.is_ok()
        && b < 16
        && facts.noverflow != facts.overflow
        && walk.defects.is_empty()
        && !walk.writing
    {
        walk.defects.push(
            "noverflow-mismatch",
            walk.address.wrapping_add(hmap.noverflow.offset as u64),
            format!("{} overflow buckets by the map's header", facts.noverflow),
            format!("{} on the chains", facts.overflow),
            "",
        );
    }
    walk.shape = Shape::Classic(facts);
    result
}

struct Walker<'a> {
    memory: &'a dyn Memory,
    cache: &'a BlockCache<&'a dyn Memory>,
    layout: &'a MapLayout,
    hmap: Hmap,
    visitor: &'a mut dyn Visitor,
    facts: ClassicFacts,
    index: u64,
    /// Overflow buckets met so far: those of the preallocated tail by number,
    /// the others by address.
    seen_in_tail: Vec<u64>,
    seen: HashSet<u64, AddressHash>,
    overflow_max: u64,
    overflow_seen: u64,
    done: u64,
    total: u64,
    /// The array whose chains are walked now, preallocated tail included.
    array: Span,
    /// Main buckets of that array.
    main: u64,
    tail: HashMap<u64, Vec<u8>, AddressHash>,
    /// The same for a counting walk: states and link of each bucket of a run. All of
    /// them fit the processor's caches, and chains lead all over them.
    briefs: Vec<Option<Vec<Brief>>>,
    unit: Vec<u8>,
    /// Walk index of the bucket whose chain is walked.
    chain_start: u64,
    /// Main buckets with an overflow bucket whose chains come later.
    links: Vec<Link>,
}

impl Walker<'_> {
    fn run(
        &mut self,
        buckets: u64,
        old: u64,
        b: u8,
        same_size: bool,
        walk: &mut Walk,
    ) -> Result<(), End> {
        if buckets == 0 {
            if walk.len != 0 || old != 0 {
                walk.defects.push(
                    "buckets-nil",
                    walk.address.wrapping_add(self.hmap.buckets.offset as u64),
                    "a bucket array",
                    format!("nil in a map of {} entries", walk.len),
                    "all buckets",
                );
            }
            return Ok(());
        }
        let unit = self.layout.unit_size as u64;
        let main = 1_u64 << b;
        let old_b = if same_size { Some(b) } else { b.checked_sub(1) };
        let old_len = match (old, old_b) {
            (0, _) => 0,
            (_, Some(old_b)) => 1_u64 << old_b,
            (_, None) => {
                walk.defects.push(
                    "growth",
                    walk.address
                        .wrapping_add(self.hmap.oldbuckets.offset as u64),
                    "no old array beside a single bucket",
                    format!("oldbuckets = {old:#x} with B = 0"),
                    "the old buckets",
                );
                0
            }
        };
        self.facts.old_buckets = old_len;
        self.total = (main + old_len).saturating_mul(unit);

        let made = array_len(self.layout, b).max(main);
        self.array = Span {
            start: buckets,
            len: made.saturating_mul(unit),
        };
        walk.blocks.push(Block {
            span: self.array,
            kind: BlockKind::Buckets,
        });
        let mut counts = Counts::default();
        let current = self.array(buckets, main, false, &mut counts, walk);
        walk.counts = counts;
        current?;

        if let (true, Some(old_b)) = (old_len > 0, old_b) {
            let made = array_len(self.layout, old_b).max(old_len);
            self.array = Span {
                start: old,
                len: made.saturating_mul(unit),
            };
            self.main = old_len;
            self.seen_in_tail.clear();
            self.tail.clear();
            self.briefs.clear();
            walk.blocks.push(Block {
                span: self.array,
                kind: BlockKind::OldBuckets,
            });
            let mut counts = Counts::default();
            let ended = self.array(old, old_len, true, &mut counts, walk);
            self.facts.old = counts;
            ended?;
        }
        Ok(())
    }

    /// Walks `len` buckets from `start` on, with their chains.
    fn array(
        &mut self,
        start: u64,
        len: u64,
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<(), End> {
        let unit = self.layout.unit_size;
        if start.checked_add(len.saturating_mul(unit as u64)).is_none() {
            walk.defects.push(
                "absurd-array",
                start,
                "a bucket array inside the address space",
                format!("{len} buckets of {unit} bytes at {start:#x}"),
                "all of it",
            );
            return Ok(());
        }
        self.portions(start, len, old, counts, walk)?;
        self.chains(counts, walk)
    }

    /// The same, less the chains that are kept for later.
    fn portions(
        &mut self,
        start: u64,
        len: u64,
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<(), End> {
        let unit = self.layout.unit_size;
        let per_read = per_read(unit);
        let mut scratch = Vec::new();
        let memory = self.memory;
        let mut first = 0;
        while first < len {
            let take = per_read.min(len - first);
            let address = start + first * unit as u64;
            let size = take as usize * unit;
            memory.checkpoint(self.done, self.total)?;
            let mut ended = Ok(());
            let lent = memory.lend(address, size, &mut scratch, &mut |bytes| {
                ended = self.buckets(address, first, bytes, old, counts, walk);
            });
            match lent {
                Ok(()) => ended?,
                Err(ReadError::Interrupted) => return Err(End::Interrupted),
                Err(ReadError::Fault { .. }) => {
                    let more = len - first > take;
                    if !self.damaged((address, first, size), more, old, counts, walk)? {
                        return Ok(());
                    }
                }
            }
            if self.links.len() >= LINKS {
                self.chains(counts, walk)?;
            }
            self.done += size as u64;
            first += take;
        }
        Ok(())
    }

    /// A run of buckets of which some bytes are unreadable; says whether it is
    /// worth going on behind it.
    fn damaged(
        &mut self,
        run: (u64, u64, usize),
        more: bool,
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<bool, End> {
        let (address, first, size) = run;
        let unit = self.layout.unit_size;
        let mut bytes = vec![0; size];
        let missing = read_available(self.memory, address, &mut bytes)?;
        for span in &missing {
            walk.defects.push(
                "unreadable",
                span.start,
                "readable buckets",
                format!("cannot read {} bytes at {:#x}", span.len, span.start),
                format!("{} buckets", span.len.div_ceil(unit as u64)),
            );
        }
        // Nothing at all of a large array: do not ask a million times more.
        let nothing = missing.iter().map(|span| span.len).sum::<u64>() >= size as u64;
        if nothing && more {
            walk.defects.push(
                "unreadable",
                address,
                "readable buckets",
                format!("nothing readable from {address:#x} on"),
                "all buckets from there on",
            );
            return Ok(false);
        }
        for (offset, bucket) in bytes.chunks_exact(unit).enumerate() {
            let at = address + (offset * unit) as u64;
            let end = at + unit as u64;
            if !missing
                .iter()
                .any(|span| span.start < end && at < span.end())
            {
                self.bucket(at, first + offset as u64, bucket, old, counts, walk)?;
            }
        }
        Ok(true)
    }

    /// A run of readable buckets, the first of them number `first`.
    fn buckets(
        &mut self,
        address: u64,
        first: u64,
        bytes: &[u8],
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<(), End> {
        let unit = self.layout.unit_size;
        let abi = self.layout.abi;
        let overflow = self.hmap.overflow;
        let fast = self.visitor.counts_only() && !old;
        let mut tally = Tally::default();
        // Their chains come after all buckets: a loop without detours lets the
        // processor read ahead.
        let mut links = std::mem::take(&mut self.links);
        let before = links.len();
        let mut ended = Ok(());
        let mut position = 0;
        loop {
            let rest = bytes.get(position * unit..).unwrap_or_default();
            // A link is looked at as a word of 8 bytes, which needs no byte order.
            if fast && overflow.size == 8 {
                position += tally.tophashes(rest, unit, overflow.offset, |at, word| {
                    links.push(Link {
                        bucket: first + (position + at) as u64,
                        next: abi.uint(&word),
                        brief: None,
                    });
                });
            }
            // One that is not as usual, or each of them.
            let Some(bucket) = bytes
                .get(position * unit..)
                .and_then(|rest| rest.get(..unit))
            else {
                break;
            };
            let at = address + (position * unit) as u64;
            ended = self.bucket(at, first + position as u64, bucket, old, counts, walk);
            if ended.is_err() {
                break;
            }
            position += 1;
        }
        let tallied = counts.add_tally(tally);
        let without_chain = tallied.saturating_sub((links.len() - before) as u64);
        if without_chain > 0 {
            self.chain_of(0, without_chain);
        }
        self.links = links;
        ended
    }

    /// The chains of the links that are kept, for a counting walk.
    fn chains(&mut self, counts: &mut Counts, walk: &mut Walk) -> Result<(), End> {
        let mut links = std::mem::take(&mut self.links);
        let ended = self.chains_of(&mut links, counts, walk);
        links.clear();
        self.links = links;
        ended
    }

    fn chains_of(
        &mut self,
        links: &mut [Link],
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<(), End> {
        // Chains lead all over the tail: looked up one after the other, with nothing
        // between, the processor waits for many of them at a time.
        let mut outside = Vec::new();
        for (index, link) in links.iter_mut().enumerate() {
            match self.place(link.next) {
                Place::Tail(number) => {
                    link.brief = self
                        .brief(number)?
                        .map(|brief| (Place::Tail(number), brief));
                }
                Place::Outside => outside.push((link.next, index as u32)),
                Place::Wrong => {}
            }
        }
        self.briefs_outside(links, outside)?;
        let mut tally = Tally::default();
        let mut single = 0;
        let mut ended = Ok(());
        for link in links.iter() {
            let mut at = (0, 0);
            let mut next = link.next;
            // What is not as usual takes the long way from the start.
            if let Some((place, (states, after))) = link.brief
                && self.overflow_seen < self.overflow_max
                && !(self.overflow_seen + 1).is_multiple_of(4096)
                && Tally::sound(states)
                && self.first_visit(next, place)
            {
                tally.tophash(states);
                self.overflow_seen += 1;
                self.facts.overflow += 1;
                if matches!(place, Place::Outside) {
                    self.facts.overflow_outside += 1;
                    self.block_outside(next, walk);
                }
                if after == 0 {
                    single += 1;
                    continue;
                }
                at = (1, next);
                next = after;
            }
            ended = self
                .chain(next, link.bucket, at, false, counts, walk)
                .map(|length| self.chain_of(length, 1));
            if ended.is_err() {
                break;
            }
        }
        counts.add_tally(tally);
        if single > 0 {
            self.chain_of(1, single);
        }
        ended
    }

    /// Notes that `count` main buckets have a chain of `length` overflow buckets.
    fn chain_of(&mut self, length: u64, count: u64) {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(1 << 16);
        if length >= self.facts.chain_lengths.len() {
            self.facts.chain_lengths.resize(length + 1, 0);
        }
        if let Some(buckets) = self.facts.chain_lengths.get_mut(length) {
            *buckets += count;
        }
    }

    /// One bucket of an array and its chain.
    fn bucket(
        &mut self,
        address: u64,
        number: u64,
        bytes: &[u8],
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<(), End> {
        let abi = self.layout.abi;
        let slots = Slots::from_tophash(tophash(bytes));
        let kind = if old { UnitKind::Old } else { UnitKind::Main };
        self.chain_start = self.index;
        if old && slots.is_evacuated() {
            self.facts.evacuated += 1;
            let unit = self.unit(address, kind, 0, slots, bytes);
            self.visit(unit)?;
            let next = self.hmap.overflow.of(abi, bytes).unwrap_or(0);
            return self.evacuated_chain(next, number, walk);
        }
        self.count(address, slots, counts, walk);
        let unit = self.unit(address, kind, 0, slots, bytes);
        self.visit(unit)?;
        let next = self.hmap.overflow.of(abi, bytes).unwrap_or(0);
        let length = if next == 0 {
            0
        } else {
            self.chain(next, number, (0, 0), old, counts, walk)?
        };
        if !old {
            self.chain_of(length, 1);
        }
        Ok(())
    }

    /// The overflow buckets from `next` on; returns how many there are in all. `length`
    /// of them are counted already, `link` is where the last of these lies.
    fn chain(
        &mut self,
        mut next: u64,
        number: u64,
        (mut length, mut link): (u64, u64),
        old: bool,
        counts: &mut Counts,
        walk: &mut Walk,
    ) -> Result<u64, End> {
        let abi = self.layout.abi;
        let kind = if old {
            UnitKind::Old
        } else {
            UnitKind::Overflow
        };
        while next != 0 {
            let place = self.place(next);
            if matches!(place, Place::Wrong) {
                walk.defects.push(
                    "chain-link",
                    next,
                    "an overflow bucket behind the main buckets, or outside the array",
                    format!("the chain of bucket {number} links into the array"),
                    "the rest of the chain",
                );
                break;
            }
            if !self.first_visit(next, place) {
                walk.defects.push(
                    "chain-cycle",
                    next,
                    "an overflow bucket that is linked once",
                    format!("linked again from {link:#x}"),
                    "the rest of the chain",
                );
                break;
            }
            self.overflow_seen += 1;
            if self.overflow_seen > self.overflow_max {
                walk.defects.push(
                    "chain-length",
                    next,
                    format!("at most {} overflow buckets", self.overflow_max),
                    "more",
                    "the rest of all chains",
                );
                return Err(End::Stopped);
            }
            if self.overflow_seen.is_multiple_of(4096) {
                self.memory.checkpoint(self.done, self.total)?;
            }
            if let (false, Place::Tail(in_tail)) = (old, place)
                && self.visitor.counts_only()
                && let Some((states, after)) = self.brief(in_tail)?
            {
                let slots = Slots::from_tophash(states);
                if slots.corrupt() == 0 && !slots.is_evacuated() {
                    counts.add(slots);
                    self.facts.overflow += 1;
                    length += 1;
                    link = next;
                    next = after;
                    continue;
                }
            }
            let mut bytes = std::mem::take(&mut self.unit);
            let read = self.overflow_bucket(next, &mut bytes);
            let step = match read {
                Ok(()) => {
                    length += 1;
                    let slots = Slots::from_tophash(tophash(&bytes));
                    let inside = self.array.contains(next);
                    if !old {
                        self.facts.overflow += 1;
                        self.facts.overflow_outside += u64::from(!inside);
                    }
                    if !inside {
                        self.block_outside(next, walk);
                    }
                    self.count(next, slots, counts, walk);
                    let after = self.hmap.overflow.of(abi, &bytes).unwrap_or(0);
                    let unit = self.unit(next, kind, length, slots, &bytes);
                    self.visit(unit).map(|()| after)
                }
                Err(ReadError::Interrupted) => Err(End::Interrupted),
                Err(error @ ReadError::Fault { .. }) => {
                    walk.defects.push(
                        "overflow-unreadable",
                        next,
                        "a readable overflow bucket",
                        format!("{error}, linked from bucket {number}"),
                        "the rest of the chain",
                    );
                    Ok(0)
                }
            };
            self.unit = bytes;
            link = next;
            next = step?;
        }
        Ok(length)
    }

    /// The overflow buckets of an evacuated bucket: they hold nothing, but those without
    /// pointers, and all while an iterator is at them, stay allocated until the growth ends
    /// (runtime.evacuate).
    fn evacuated_chain(&mut self, mut next: u64, number: u64, walk: &mut Walk) -> Result<(), End> {
        while next != 0 {
            let place = self.place(next);
            if matches!(place, Place::Wrong) || !self.first_visit(next, place) {
                return Ok(());
            }
            self.overflow_seen += 1;
            if self.overflow_seen > self.overflow_max {
                // The chains that hold entries say so with a defect.
                return Ok(());
            }
            if self.overflow_seen.is_multiple_of(4096) {
                self.memory.checkpoint(self.done, self.total)?;
            }
            let mut bytes = std::mem::take(&mut self.unit);
            let read = self.overflow_bucket(next, &mut bytes);
            let after = self.hmap.overflow.of(self.layout.abi, &bytes).unwrap_or(0);
            self.unit = bytes;
            match read {
                Ok(()) => {}
                Err(ReadError::Interrupted) => return Err(End::Interrupted),
                Err(error @ ReadError::Fault { .. }) => {
                    walk.defects.push(
                        "overflow-unreadable",
                        next,
                        "a readable overflow bucket",
                        format!("{error}, linked from evacuated bucket {number}"),
                        "its size",
                    );
                    return Ok(());
                }
            }
            if !self.array.contains(next) {
                self.block_outside(next, walk);
            }
            next = after;
        }
        Ok(())
    }

    /// Notes the block of an overflow bucket that was allocated on its own.
    fn block_outside(&self, address: u64, walk: &mut Walk) {
        let span = Span {
            start: address,
            len: self.layout.unit_size as u64,
        };
        walk.blocks.push(Block {
            span,
            kind: BlockKind::Overflow,
        });
    }

    /// States and link of the overflow buckets outside the array, given by their address
    /// and the index of their link.
    fn briefs_outside(
        &mut self,
        links: &mut [Link],
        mut outside: Vec<(u64, u32)>,
    ) -> Result<(), ReadError> {
        self.seen.reserve(outside.len());
        if self.briefs_near(links, &outside)? {
            return Ok(());
        }
        outside.sort_unstable_by_key(|(address, _)| *address);
        let len = self.layout.unit_size as u64;
        let spans: Vec<Span> = outside
            .iter()
            .map(|(start, _)| Span { start: *start, len })
            .collect();
        let (abi, overflow) = (self.layout.abi, self.hmap.overflow);
        RangeReader::default().read(self.memory, &spans, &mut |chunk| {
            let link = outside
                .get(chunk.index)
                .and_then(|(_, index)| links.get_mut(*index as usize));
            // What cannot be read here is read once more, by itself, and told.
            if let (Some(link), Some(bytes)) = (link, chunk.bytes) {
                let after = overflow.of(abi, bytes).unwrap_or(0);
                link.brief = Some((Place::Outside, (tophash(bytes), after)));
            }
            Ok(())
        })
    }

    /// The same where one read has them all, which needs no order; `false`, and nothing
    /// known, where it cannot, or has too much between them.
    fn briefs_near(&self, links: &mut [Link], outside: &[(u64, u32)]) -> Result<bool, ReadError> {
        let addresses = || outside.iter().map(|(address, _)| *address);
        let (Some(first), Some(last)) = (addresses().min(), addresses().max()) else {
            return Ok(true);
        };
        let unit = self.layout.unit_size;
        let len = (last - first).saturating_add(unit as u64);
        let most = (READ_MAX as u64).min(GAP_MAX.saturating_mul(outside.len() as u64));
        if len > most {
            return Ok(false);
        }
        let (abi, overflow) = (self.layout.abi, self.hmap.overflow);
        let read = self
            .memory
            .lend(first, len as usize, &mut Vec::new(), &mut |bytes| {
                for (address, index) in outside {
                    let bucket = bytes.get((address - first) as usize..);
                    let link = links.get_mut(*index as usize);
                    if let (Some(link), Some(bucket)) =
                        (link, bucket.and_then(|rest| rest.get(..unit)))
                    {
                        let after = overflow.of(abi, bucket).unwrap_or(0);
                        link.brief = Some((Place::Outside, (tophash(bucket), after)));
                    }
                }
            });
        match read {
            Ok(()) => Ok(true),
            Err(ReadError::Fault { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// States and link of a preallocated overflow bucket, read together with the
    /// [`TAIL_RUN`] bytes it lies in; `None` where that cannot be done.
    fn brief(&mut self, number: u64) -> Result<Option<Brief>, ReadError> {
        let unit = self.layout.unit_size as u64;
        // A power of two, so that no lookup divides.
        let shift = (TAIL_RUN / unit).max(1).ilog2();
        if number >= BRIEFS || number >> shift >= BRIEF_RUNS {
            return Ok(None);
        }
        let (run, at) = ((number >> shift) as usize, number & ((1 << shift) - 1));
        if run >= self.briefs.len() {
            self.briefs.resize(run + 1, None);
        }
        let Some(held) = self.briefs.get_mut(run) else {
            return Ok(None);
        };
        let briefs = match held {
            Some(briefs) => briefs,
            None => {
                let first = (run as u64) << shift;
                let made = (self.array.len / unit).saturating_sub(self.main);
                let units = made.saturating_sub(first).min(1 << shift);
                let (abi, overflow) = (self.layout.abi, self.hmap.overflow);
                let mut briefs = Vec::new();
                let read = self.memory.lend(
                    self.array.start + (self.main + first) * unit,
                    (units * unit) as usize,
                    &mut Vec::new(),
                    &mut |bytes| {
                        let buckets = bytes.chunks_exact(unit as usize);
                        briefs = buckets
                            .map(|bucket| (tophash(bucket), overflow.of(abi, bucket).unwrap_or(0)))
                            .collect();
                    },
                );
                match read {
                    // What cannot be read at once is read bucket by bucket.
                    Ok(()) | Err(ReadError::Fault { .. }) => {}
                    Err(other) => return Err(other),
                }
                held.insert(briefs)
            }
        };
        Ok(briefs.get(at as usize).copied())
    }

    /// Reads one overflow bucket. The preallocated ones lie together and are used
    /// in the order in which chains grew, all over the map: they are kept in
    /// runs of [`TAIL_RUN`] bytes, each read at once when it is first needed.
    fn overflow_bucket(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        let tail = self.array.start + self.main * self.layout.unit_size as u64;
        let Some(offset) = address
            .checked_sub(tail)
            .filter(|_| self.array.contains(address))
        else {
            return self.cache.read(address, bytes);
        };
        let run = offset / TAIL_RUN;
        if !self.tail.contains_key(&run) && self.tail.len() < TAIL_RUNS {
            let start = tail + run * TAIL_RUN;
            let len = (self.array.end() - start).min(TAIL_RUN);
            let mut held = vec![0; len as usize];
            // What cannot be read at once is read bucket by bucket.
            let held = match self.memory.read(start, &mut held) {
                Ok(()) => held,
                Err(ReadError::Fault { .. }) => Vec::new(),
                Err(other) => return Err(other),
            };
            self.tail.insert(run, held);
        }
        let at = (offset % TAIL_RUN) as usize;
        match self
            .tail
            .get(&run)
            .and_then(|held| held.get(at..at + bytes.len()))
        {
            Some(held) => {
                bytes.copy_from_slice(held);
                Ok(())
            }
            None => self.cache.read(address, bytes),
        }
    }

    /// Where an overflow pointer leads.
    fn place(&self, address: u64) -> Place {
        if !self.array.contains(address) {
            return Place::Outside;
        }
        let unit = self.layout.unit_size as u64;
        let offset = address - self.array.start;
        let number = offset / unit;
        match number.checked_sub(self.main) {
            Some(in_tail) if number * unit == offset => Place::Tail(in_tail),
            _ => Place::Wrong,
        }
    }

    /// Notes that an overflow bucket was met; `false` if it had been before.
    fn first_visit(&mut self, address: u64, place: Place) -> bool {
        match place {
            // A tail that large is claimed, not seen: no bitmap by the claim.
            Place::Tail(number) if number < TAIL_BITS => self.first_in_tail(number),
            _ => self.seen.insert(address),
        }
    }

    /// The same for a preallocated one.
    fn first_in_tail(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen_in_tail.len() {
            self.seen_in_tail.resize(word + 1, 0);
        }
        match self.seen_in_tail.get_mut(word) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn count(&self, address: u64, slots: Slots, counts: &mut Counts, walk: &mut Walk) {
        counts.add(slots);
        if slots.corrupt() > 0 || slots.is_evacuated() {
            let found = if slots.is_evacuated() {
                "an evacuated bucket outside the old array"
            } else {
                "an evacuated slot in a bucket that is not"
            };
            walk.defects.push(
                "slot-state",
                address,
                "tophash bytes of 0, 1, or 5 and above",
                format!("{found}: {}", slots.marks()),
                "those slots",
            );
        }
    }

    fn unit<'u>(
        &mut self,
        address: u64,
        kind: UnitKind,
        depth: u64,
        slots: Slots,
        bytes: &'u [u8],
    ) -> Unit<'u> {
        let index = self.index;
        self.index += 1;
        Unit {
            index,
            address,
            kind,
            table: 0,
            parent: self.chain_start,
            depth,
            slots,
            bytes,
        }
    }

    fn visit(&mut self, unit: Unit<'_>) -> Result<(), End> {
        match self.visitor.unit(&unit) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(End::Stopped),
        }
    }

    /// `mapextra{overflow, oldoverflow *[]*bmap; nextOverflow *bmap}`: blocks, and
    /// a second opinion on the number of overflow buckets.
    fn extra(
        &mut self,
        header: &[u8],
        walk: &mut Walk,
        overflow: u64,
        growing: bool,
    ) -> Result<(), End> {
        let abi = self.layout.abi;
        let pointer = usize::from(abi.pointer_size);
        let extra = self.hmap.extra.of(abi, header).unwrap_or(0);
        if extra == 0 {
            return Ok(());
        }
        let mut words = vec![0; 3 * pointer];
        if !self.read_small(extra, &mut words, walk)? {
            return Ok(());
        }
        let span = Span {
            start: extra,
            len: words.len() as u64,
        };
        walk.blocks.push(Block {
            span,
            kind: BlockKind::Extra,
        });
        for (index, current) in [(0, true), (1, false)] {
            let slice = abi.pointer_at(&words, index * pointer).unwrap_or(0);
            if slice == 0 {
                continue;
            }
            let mut triple = vec![0; 3 * pointer];
            if !self.read_small(slice, &mut triple, walk)? {
                continue;
            }
            let part = |index| abi.pointer_at(&triple, index * pointer).unwrap_or(0);
            let (data, len, capacity) = (part(0), part(1), part(2));
            if len > capacity || capacity > 1 << 40 {
                walk.defects.push(
                    "extra",
                    slice,
                    "a slice of overflow buckets",
                    format!("len {len}, cap {capacity}"),
                    "its size",
                );
                continue;
            }
            let span = Span {
                start: slice,
                len: triple.len() as u64,
            };
            walk.blocks.push(Block {
                span,
                kind: BlockKind::Extra,
            });
            if capacity > 0 {
                let span = Span {
                    start: data,
                    len: capacity * pointer as u64,
                };
                walk.blocks.push(Block {
                    span,
                    kind: BlockKind::Extra,
                });
            }
            if current && len != overflow && !growing && !walk.writing {
                walk.defects.push(
                    "overflow-mismatch",
                    slice,
                    format!("{len} overflow buckets by mapextra"),
                    format!("{overflow} on the chains"),
                    "",
                );
            }
        }
        Ok(())
    }

    /// Reads a small structure; `false` when it is unreadable.
    fn read_small(&mut self, address: u64, bytes: &mut [u8], walk: &mut Walk) -> Result<bool, End> {
        match self.cache.read(address, bytes) {
            Ok(()) => Ok(true),
            Err(ReadError::Interrupted) => Err(End::Interrupted),
            Err(error @ ReadError::Fault { .. }) => {
                walk.defects.push(
                    "extra",
                    address,
                    "a readable mapextra",
                    error.to_string(),
                    "its size",
                );
                Ok(false)
            }
        }
    }
}

/// How many buckets of `unit` bytes are read at once: whole pages of them where that can be,
/// so that each read of an array begins with a page. Linux copies another process's memory
/// in steps of a page from the first byte on, and looks up two pages for each step that is
/// in both.
fn per_read(unit: usize) -> u64 {
    let most = (READ_MAX / unit).max(1) as u64;
    let whole = PAGE >> unit.trailing_zeros().min(PAGE.trailing_zeros());
    if most < whole {
        most
    } else {
        most - most % whole
    }
}

/// The first eight bytes, slot 0 lowest; byte order does not matter to an array.
#[inline]
fn tophash(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk::<8>()
        .map_or(0, |states| u64::from_le_bytes(*states))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_an_array_begin_with_a_page() {
        for unit in [16, 24, 80, 144, 208, 272, 1040, 2000] {
            let bytes = per_read(unit) * unit as u64;
            assert!(bytes <= READ_MAX as u64, "{unit}");
            assert!(bytes.is_multiple_of(PAGE), "{unit}");
            assert!(bytes > READ_MAX as u64 / 2, "{unit}");
        }
        // Of these no number fills whole pages and one read.
        assert_eq!(per_read(2049), READ_MAX as u64 / 2049);
        assert_eq!(per_read(READ_MAX + 8), 1);
    }
}
