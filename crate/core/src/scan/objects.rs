//! The objects of the heap, numbered, with the words in them that are pointers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::heap::{Heap, HeapError, HeapSpan, Pages, Slot, State};
use crate::map::Defects;
use crate::memory::{AddressHash, Memory, RangeReader, ReadError, Span};

/// Objects that are numbered: 128 MiB of bits for each set of them.
const OBJECTS_MAX: u64 = 1 << 30;

/// Bytes of a type's pointer mask: one bit for each word of a value of 512 MiB.
const MASK_MAX: u64 = 8 << 20;

/// Objects up to this size have a bitmap of their own since go1.22 (runtime/mbitmap.go,
/// heapBitsInSpan).
const BITMAP_BELOW: u64 = 512;

/// What was read of arenas, by their number; `None` where there is none.
type ByArena<T> = HashMap<u64, Option<T>, AddressHash>;

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    #[inline]
    pub(super) fn has(&self, at: u32) -> bool {
        self.0
            .get(at as usize / 64)
            .is_some_and(|word| word >> (at % 64) & 1 != 0)
    }

    /// Adds a number; whether it is new.
    #[inline]
    pub(super) fn add(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else {
            return false;
        };
        let bit = 1_u64 << (at % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    #[inline]
    pub(super) fn remove(&mut self, at: u32) {
        if let Some(word) = self.0.get_mut(at as usize / 64) {
            *word &= !(1_u64 << (at % 64));
        }
    }

    /// The first member from `from` on and below `end`.
    #[inline]
    pub(super) fn next(&self, from: u32, end: u32) -> Option<u32> {
        if from >= end {
            return None;
        }
        let mut index = from as usize / 64;
        let mut word = self.0.get(index)? & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                let found = (index as u32) * 64 + word.trailing_zeros();
                return (found < end).then_some(found);
            }
            index += 1;
            if index as u32 * 64 >= end {
                return None;
            }
            word = *self.0.get(index)?;
        }
    }

    /// Members.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Which words of a value of some type are pointers.
#[derive(Debug)]
pub(super) struct Mask {
    /// Bytes of a value.
    pub size: u64,
    /// Bytes up to the end of the last pointer.
    pub pointer_bytes: u64,
    /// A bit for each word; `None` where it is not to be had: then every word may be one.
    bits: Option<Vec<u8>>,
}

impl Mask {
    /// Whether the word at `offset` of an array of such values is a pointer.
    #[inline]
    pub(super) fn is_pointer(&self, offset: u64) -> bool {
        let Some(inside) = offset.checked_rem(self.size) else {
            return false;
        };
        if inside >= self.pointer_bytes {
            return false;
        }
        let word = inside / 8;
        self.bits.as_ref().is_none_or(|bits| {
            bits.get((word / 8) as usize)
                .is_none_or(|byte| byte >> (word % 8) & 1 != 0)
        })
    }
}

/// Bits of the words of one span: the first of them, in bytes that hold them.
#[derive(Clone, Copy)]
pub(super) struct Bitmap<'a> {
    bytes: &'a [u8],
    first: usize,
}

impl Bitmap<'_> {
    /// The bits of 64 words from this one on, the lowest for the first.
    #[inline]
    pub(super) fn of_64(&self, word: usize) -> u64 {
        let bit = self.first.wrapping_add(word);
        let (start, skip) = (bit / 8, bit % 8);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let Some((low, high)) = rest.split_first_chunk::<8>() else {
            let bits = rest.iter().rev();
            return bits.fold(0, |bits, byte| bits << 8 | u64::from(*byte)) >> skip;
        };
        let high = u64::from(high.first().copied().unwrap_or(0));
        // Shifted twice, as 64 bits cannot be shifted by 64.
        u64::from_le_bytes(*low) >> skip | high << 1 << (63 - skip)
    }

    #[inline]
    pub(super) fn is_pointer(&self, word: usize) -> bool {
        let bit = self.first.wrapping_add(word);
        self.bytes
            .get(bit / 8)
            .is_some_and(|byte| byte >> (bit % 8) & 1 != 0)
    }
}

/// What it takes to find an object in a span. 24 bytes: marking looks at one for each
/// pointer of the heap.
#[derive(Debug, Clone, Copy, Default)]
struct Finding {
    base: u64,
    /// 2^32 divided by the slot size, rounded up, by which to multiply; 0 where that would
    /// not be exact.
    reciprocal: u32,
    /// The number of the first object.
    first: u32,
    /// None in spans that hold no objects.
    slots: u32,
}

impl Finding {
    fn new(span: &HeapSpan, first: u32) -> Self {
        let len = span.extent().len;
        // The error is less than 1 of 2^32 for each byte of the offset and of the size.
        let exact = span.slot_size > 1
            && len
                .checked_mul(span.slot_size)
                .is_some_and(|product| product < 1 << 32);
        Self {
            base: span.base,
            reciprocal: match exact {
                true => (u64::from(u32::MAX) / span.slot_size + 1) as u32,
                false => 0,
            },
            first,
            slots: match span.state {
                State::InUse => span.slots,
                _ => 0,
            },
        }
    }
}

/// The heap's objects while the process stands still.
pub(super) struct Objects<'a> {
    pub heap: &'a Heap,
    /// Uncached: objects are read in address order.
    pub memory: &'a dyn Memory,
    /// By address; those in use and stacks.
    pub spans: Vec<HeapSpan>,
    pages: Pages,
    /// The number of each span's first object.
    first: Vec<u32>,
    finding: Vec<Finding>,
    /// The spans in use by the numbers of their objects.
    order: Vec<u32>,
    pub count: u32,
    /// Objects in spans with pointers: they have the lower numbers.
    pub with_pointers: u32,
    /// Bytes of the spans in use.
    pub bytes: u64,
    allocated: Bits,
    /// Bitmaps of whole arenas, up to go1.21.
    arena_bitmaps: RefCell<ByArena<Rc<Vec<u8>>>>,
    /// Which pages of arenas have mark bits inside, since go1.25.
    inline_marks: RefCell<ByArena<Vec<u8>>>,
    masks: RefCell<HashMap<u64, Rc<Mask>, AddressHash>>,
    minor: u16,
}

impl<'a> Objects<'a> {
    /// Reads the heap's list of spans and their allocation bits.
    pub(super) fn load(
        heap: &'a Heap,
        memory: &'a dyn Memory,
        minor: u16,
    ) -> Result<(Self, Defects), HeapError> {
        heap.searchable()?;
        let (spans, mut defects) = heap.spans(memory)?;
        let mut first = vec![u32::MAX; spans.len()];
        let mut order = Vec::with_capacity(spans.len());
        let mut count = 0_u64;
        let mut with_pointers = 0;
        let mut bytes = 0;
        // Those with pointers have the lower numbers: what is kept of each of them needs no
        // room for the others.
        for noscan in [false, true] {
            for (at, (span, first)) in (0_u32..).zip(spans.iter().zip(&mut first)) {
                if span.state == State::InUse && span.noscan() == noscan {
                    *first = u32::try_from(count).unwrap_or(u32::MAX);
                    order.push(at);
                    count += u64::from(span.slots);
                    bytes += span.extent().len;
                }
            }
            if !noscan {
                with_pointers = u32::try_from(count).unwrap_or(u32::MAX);
            }
        }
        let numbered = u32::try_from(count).ok().filter(|_| count <= OBJECTS_MAX);
        let count = numbered.ok_or_else(|| {
            HeapError::Unknown(format!("{count} objects are more than a heap can hold"))
        })?;
        let finding = spans
            .iter()
            .zip(&first)
            .map(|(span, first)| Finding::new(span, *first))
            .collect();
        let mut objects = Self {
            finding,
            heap,
            memory,
            pages: Pages::new(&spans),
            spans,
            first,
            order,
            count,
            with_pointers,
            bytes,
            allocated: Bits::new(count as usize),
            arena_bitmaps: RefCell::default(),
            inline_marks: RefCell::default(),
            masks: RefCell::default(),
            minor,
        };
        objects.allocation_bits(&mut defects)?;
        Ok((objects, defects))
    }

    fn allocation_bits(&mut self, defects: &mut Defects) -> Result<(), ReadError> {
        let mut order: Vec<usize> = (0..self.spans.len())
            .filter(|at| {
                self.spans
                    .get(*at)
                    .is_some_and(|span| span.state == State::InUse)
            })
            .collect();
        order.sort_unstable_by_key(|at| self.spans.get(*at).map(|span| span.alloc_bits));
        let ranges: Vec<Span> = order
            .iter()
            .filter_map(|at| self.spans.get(*at))
            .map(|span| Span {
                start: span.alloc_bits,
                len: u64::from(span.slots.div_ceil(8)),
            })
            .collect();
        let (spans, first, allocated) = (&self.spans, &self.first, &mut self.allocated);
        RangeReader::default().read(self.memory, &ranges, &mut |chunk| {
            let Some(at) = order.get(chunk.index) else {
                return Ok(());
            };
            let (Some(span), Some(first)) = (spans.get(*at), first.get(*at)) else {
                return Ok(());
            };
            if chunk.bytes.is_none() && span.free_index < span.slots {
                defects.push(
                    "allocation-bits-unreadable",
                    span.base,
                    "readable allocation bits",
                    format!("nothing at {:#x}", span.alloc_bits),
                    "",
                );
            }
            for index in 0..span.slots {
                // Rather too many objects than too few where the bits cannot be read.
                let in_use = index < span.free_index
                    || chunk.bytes.is_none_or(|bits| {
                        bits.get(index as usize / 8)
                            .is_some_and(|byte| byte >> (index % 8) & 1 != 0)
                    });
                if in_use {
                    allocated.add(first + index);
                }
            }
            Ok(())
        })
    }

    /// The span that holds `address`.
    #[inline]
    pub(super) fn span_at(&self, address: u64) -> Option<(usize, &HeapSpan)> {
        let at = self.pages.find(address)?;
        self.spans.get(at).map(|span| (at, span))
    }

    /// The object in use that holds `address`: its span, its place there, its number.
    #[inline]
    fn index_of(&self, address: u64) -> Option<(usize, u32, u32)> {
        let at = self.pages.find(address)?;
        let span = self.finding.get(at)?;
        let offset = address.checked_sub(span.base)?;
        let index = match span.reciprocal {
            0 => offset.checked_div(self.spans.get(at)?.slot_size)?,
            // The span's pages are all that leads here: the offset is less than its length.
            reciprocal => offset.wrapping_mul(u64::from(reciprocal)) >> 32,
        };
        if index >= u64::from(span.slots) {
            return None;
        }
        let number = span.first.checked_add(index as u32)?;
        let in_use = self.allocated.has(number);
        in_use.then_some((at, index as u32, number))
    }

    /// The object in use that holds `address`: its span and its number.
    #[inline]
    pub(super) fn number_of(&self, address: u64) -> Option<(usize, u32)> {
        self.index_of(address)
            .map(|(span, _, number)| (span, number))
    }

    /// The object in use that holds `address`: its span, its slot, its number.
    #[inline]
    pub(super) fn find(&self, address: u64) -> Option<(usize, Slot, u32)> {
        let (at, index, number) = self.index_of(address)?;
        let span = self.spans.get(at)?;
        let slot = Slot {
            base: span.base + u64::from(index) * span.slot_size,
            size: span.slot_size,
            index,
            header: self.heap.header_of(span),
            noscan: span.noscan(),
            is_stack: false,
        };
        Some((at, slot, number))
    }

    /// The object in use that begins (behind the allocator's word) at `address`.
    #[inline]
    pub(super) fn begins(&self, address: u64) -> Option<(usize, Slot, u32)> {
        self.find(address)
            .filter(|(_, slot, _)| slot.object() == address)
    }

    /// The numbers of a span's objects.
    pub(super) fn numbers(&self, span: usize) -> (u32, u32) {
        let first = self.first.get(span).copied().unwrap_or(0);
        let slots = self
            .spans
            .get(span)
            .filter(|span| span.state == State::InUse)
            .map_or(0, |span| span.slots);
        (first, first.saturating_add(slots))
    }

    /// Whether the object is in use.
    #[inline]
    pub(super) fn in_use(&self, number: u32) -> bool {
        self.allocated.has(number)
    }

    /// The span and the slot of an object.
    pub(super) fn slot(&self, number: u32) -> Option<(usize, Slot)> {
        let after = self.order.partition_point(|at| {
            let first = self.first.get(*at as usize);
            first.is_some_and(|first| *first <= number)
        });
        let at = *self.order.get(after.checked_sub(1)?)? as usize;
        let span = self.spans.get(at)?;
        let index = number - self.first.get(at)?;
        if index >= span.slots {
            return None;
        }
        let address = span.base + u64::from(index) * span.slot_size;
        Some((at, self.heap.slot_in(span, address)?))
    }

    /// The type that the allocator noted in an object's first word (`bytes` are those of
    /// its slot) or in the span; 0 if it did not.
    pub(super) fn noted(&self, span: &HeapSpan, bytes: &[u8]) -> u64 {
        if !self.heap.malloc_headers() || span.noscan() {
            return 0;
        }
        if span.is_large() {
            return span.large_type;
        }
        match self.heap.header_of(span) {
            8 => self.heap.abi().pointer_at(bytes, 0).unwrap_or(0),
            _ => 0,
        }
    }

    /// The bitmap of a span's words; `bytes` are those of the whole span. `None` where its
    /// objects carry their types.
    pub(super) fn bitmap<'b>(
        &self,
        span: &HeapSpan,
        bytes: &'b [u8],
        arena: &'b mut Option<Rc<Vec<u8>>>,
    ) -> Result<Option<Bitmap<'b>>, ReadError> {
        if self.heap.malloc_headers() {
            if span.slot_size > BITMAP_BELOW {
                return Ok(None);
            }
            let len = span.extent().len;
            let at = self.span_bitmap(span)?;
            let inside = at.and_then(|at| {
                let start = usize::try_from(at.checked_sub(span.base)?).ok()?;
                bytes.get(start..start.checked_add((len / 64) as usize)?)
            });
            return Ok(inside.map(|bytes| Bitmap { bytes, first: 0 }));
        }
        self.bitmap_at(span, span.base, arena)
    }

    /// The part of that bitmap that holds the words from `address` on, up to the end of its
    /// arena; up to go1.21, where a large span may cross several.
    pub(super) fn bitmap_at<'b>(
        &self,
        span: &HeapSpan,
        address: u64,
        arena: &'b mut Option<Rc<Vec<u8>>>,
    ) -> Result<Option<Bitmap<'b>>, ReadError> {
        if self.heap.malloc_headers() {
            return Ok(None);
        }
        *arena = self.arena_bitmap(address)?;
        let first = (address % crate::heap::ARENA / 8).wrapping_sub((address - span.base) / 8);
        Ok(arena.as_ref().map(|bytes| Bitmap {
            bytes,
            first: first as usize,
        }))
    }

    /// Whether a span is read part by part: it is large, or of two arenas with a bitmap
    /// each.
    pub(super) fn in_parts(&self, span: &HeapSpan) -> bool {
        let arena = |address| address / crate::heap::ARENA;
        span.extent().len > crate::memory::READ_MAX as u64
            || !self.heap.malloc_headers() && arena(span.base) != arena(span.end() - 1)
    }

    /// Where the bitmap of a span of small objects begins.
    pub(super) fn span_bitmap(&self, span: &HeapSpan) -> Result<Option<u64>, ReadError> {
        if !self.heap.malloc_headers() {
            let arena = span.base - span.base % crate::heap::ARENA;
            let bitmap = self.heap.bitmap_address(arena)?;
            return Ok(bitmap.map(|at| at + span.base % crate::heap::ARENA / 64));
        }
        // Behind the objects, before the marks of the Green Tea collector.
        let key = span.base / crate::heap::ARENA;
        let mut seen = self.inline_marks.borrow_mut();
        if let std::collections::hash_map::Entry::Vacant(entry) = seen.entry(key) {
            entry.insert(self.heap.inline_marks(self.memory, span.base)?);
        }
        let page = span.base % crate::heap::ARENA / crate::heap::HEAP_PAGE;
        let inline = seen
            .get(&key)
            .and_then(Option::as_ref)
            .and_then(|bits| bits.get((page / 8) as usize))
            .is_some_and(|byte| byte >> (page % 8) & 1 != 0);
        let len = span.extent().len;
        let behind = len / 64 + if inline { 128 } else { 0 };
        Ok(len.checked_sub(behind).map(|offset| span.base + offset))
    }

    /// The bitmap of the arena that holds `address`, up to go1.21.
    fn arena_bitmap(&self, address: u64) -> Result<Option<Rc<Vec<u8>>>, ReadError> {
        let key = address / crate::heap::ARENA;
        if let Some(known) = self.arena_bitmaps.borrow().get(&key) {
            return Ok(known.clone());
        }
        let start = address - address % crate::heap::ARENA;
        let read = match self.heap.bitmap_address(start)? {
            Some(at) => {
                let mut bytes = vec![0; (crate::heap::ARENA / 64) as usize];
                match self.memory.read(at, &mut bytes) {
                    Ok(()) => Some(Rc::new(bytes)),
                    Err(ReadError::Fault { .. }) => {
                        // Every word passes for a pointer then, and garbage for live.
                        self.memory.lost(Span {
                            start: at,
                            len: bytes.len() as u64,
                        });
                        None
                    }
                    Err(interrupted) => return Err(interrupted),
                }
            }
            None => None,
        };
        self.arena_bitmaps.borrow_mut().insert(key, read.clone());
        Ok(read)
    }

    /// Which words of a value of the type with this descriptor are pointers
    /// (abi.Type.GCData).
    pub(super) fn mask(&self, descriptor: u64) -> Result<Rc<Mask>, ReadError> {
        if let Some(known) = self.masks.borrow().get(&descriptor) {
            return Ok(Rc::clone(known));
        }
        let mask = Rc::new(self.read_mask(descriptor)?);
        let mut masks = self.masks.borrow_mut();
        if masks.len() < 1 << 16 {
            masks.insert(descriptor, Rc::clone(&mask));
        }
        Ok(mask)
    }

    fn read_mask(&self, descriptor: u64) -> Result<Mask, ReadError> {
        let unknown = Mask {
            size: 8,
            pointer_bytes: 8,
            bits: None,
        };
        let memory = self.heap.memory();
        let mut head = [0; 48];
        match memory.read(descriptor, &mut head) {
            Ok(()) => {}
            Err(ReadError::Fault { .. }) => return Ok(unknown),
            Err(interrupted) => return Err(interrupted),
        }
        let abi = self.heap.abi();
        let word = |at| abi.uint_at(&head, at, 8).unwrap_or(0);
        let byte = |at: usize| head.get(at).copied().unwrap_or(0);
        let (size, pointer_bytes, mut data) = (word(0), word(8), word(32));
        if size == 0 || pointer_bytes > size || !pointer_bytes.is_multiple_of(8) || size > 1 << 40 {
            return Ok(unknown);
        }
        let all = Mask {
            size,
            pointer_bytes,
            bits: None,
        };
        if self.minor >= 24 {
            // abi.TFlagGCMaskOnDemand: where the mask is to be put once it is built.
            if byte(20) & 1 << 4 != 0 {
                data = match abi.read_pointer(memory, data) {
                    Ok(data) => data,
                    Err(ReadError::Fault { .. }) => 0,
                    Err(interrupted) => return Err(interrupted),
                };
            }
        } else if byte(23) & 1 << 6 != 0 {
            // abi.KindGCProg: a program, not a mask.
            data = 0;
        }
        let len = pointer_bytes.div_ceil(64);
        if data == 0 || len > MASK_MAX {
            return Ok(all);
        }
        let mut bits = vec![0; len as usize];
        match memory.read(data, &mut bits) {
            Ok(()) => Ok(Mask {
                bits: Some(bits),
                ..all
            }),
            Err(ReadError::Fault { .. }) => Ok(all),
            Err(interrupted) => Err(interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::HEAP_PAGE;
    use crate::layout::SIZE_CLASSES;

    #[test]
    fn reciprocals_divide() {
        for size in SIZE_CLASSES.iter().copied().chain([40, 1 << 20]) {
            for pages in [1, 3, 10, 16] {
                let span = HeapSpan {
                    base: 0x10000,
                    pages,
                    slots: 1,
                    slot_size: size,
                    state: State::InUse,
                    ..HeapSpan::default()
                };
                let len = u64::from(pages) * HEAP_PAGE;
                let reciprocal = u64::from(Finding::new(&span, 0).reciprocal);
                assert_eq!(reciprocal == 0, len * size >= 1 << 32, "{size} {pages}");
                for offset in (0..len).filter(|_| reciprocal != 0) {
                    assert_eq!(
                        (offset * reciprocal) >> 32,
                        offset / size,
                        "{offset} {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn bits_of_64_words_are_those_of_each() {
        let bytes: Vec<u8> = (0..40_u32).map(|byte| (byte * 149 % 251) as u8).collect();
        for first in 0..9 {
            let bitmap = Bitmap {
                bytes: &bytes,
                first,
            };
            for word in 0..330 {
                let found = bitmap.of_64(word);
                for bit in 0..64 {
                    let expected = bitmap.is_pointer(word + bit);
                    assert_eq!(found >> bit & 1 != 0, expected, "{first} {word} {bit}");
                }
            }
        }
    }
}
