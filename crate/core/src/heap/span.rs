//! Spans and the slots in them.

use super::{ARENA, HEAP_PAGE};
use crate::memory::{AddressHash, Span};
use std::collections::HashMap;

/// What a span is used for (runtime.mSpanState).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    #[default]
    Dead,
    /// Objects.
    InUse,
    /// Managed by hand: goroutine stacks.
    Manual,
}

/// One `runtime.mspan`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeapSpan {
    /// First address.
    pub base: u64,
    /// Heap pages of 8 KiB.
    pub pages: u32,
    /// Slots.
    pub slots: u32,
    /// Bytes of a slot.
    pub slot_size: u64,
    /// Slots below it are allocated.
    pub free_index: u32,
    /// The sweeper's count when it was here last.
    pub sweep_generation: u32,
    /// Bitmap of the slots that survived the last collection.
    pub alloc_bits: u64,
    /// Bitmap of those that were reached in the current one.
    pub mark_bits: u64,
    /// Type of the only object; 0 if there are many, or it has no pointers.
    pub large_type: u64,
    /// List of finalizers, profile records and the like.
    pub specials: u64,
    /// Twice the size class, plus 1 without pointers.
    pub class: u8,
    /// What it is used for.
    pub state: State,
}

impl HeapSpan {
    /// One past its last address.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base
            .saturating_add(u64::from(self.pages).saturating_mul(HEAP_PAGE))
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        self.base <= address && address < self.end()
    }

    /// All its bytes.
    #[must_use]
    pub fn extent(&self) -> Span {
        Span {
            start: self.base,
            len: self.end() - self.base,
        }
    }

    /// It is in use for objects that may hold pointers.
    #[must_use]
    pub fn has_pointers(&self) -> bool {
        self.state == State::InUse && !self.noscan()
    }

    /// Its objects hold no pointers.
    #[must_use]
    pub fn noscan(&self) -> bool {
        self.class & 1 != 0
    }

    /// It holds one object of more than 32 KiB.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.class >> 1 == 0
    }

    /// Bytes that the allocator puts before each object, if it does so before those of
    /// more than so many bytes ([`super::Heap::header_above`]).
    #[inline]
    pub(super) fn header(&self, header_above: u64) -> u64 {
        let headed = !self.noscan() && !self.is_large() && self.slot_size > header_above;
        if headed { 8 } else { 0 }
    }

    /// The slot that holds `address`, with headers before objects of more than so many bytes.
    pub(super) fn slot(&self, address: u64, header_above: u64) -> Option<Slot> {
        let offset = address
            .checked_sub(self.base)
            .filter(|_| self.contains(address))?;
        if self.state == State::Manual {
            return Some(Slot {
                base: self.base,
                size: self.end() - self.base,
                index: 0,
                header: 0,
                noscan: false,
                is_stack: true,
            });
        }
        let index = offset.checked_div(self.slot_size)?;
        let index = u32::try_from(index)
            .ok()
            .filter(|index| *index < self.slots)?;
        Some(Slot {
            base: self.base + u64::from(index) * self.slot_size,
            size: self.slot_size,
            index,
            header: self.header(header_above),
            noscan: self.noscan(),
            is_stack: false,
        })
    }
}

/// One slot of the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its first address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// Its number in the span.
    pub index: u32,
    /// Bytes of the allocator's own before the object.
    pub header: u64,
    /// The object holds no pointers.
    pub noscan: bool,
    /// It is a goroutine's stack.
    pub is_stack: bool,
}

impl Slot {
    /// Where the object begins.
    #[must_use]
    pub fn object(&self) -> u64 {
        self.base + self.header
    }

    /// Bytes the object may use.
    #[must_use]
    pub fn usable(&self) -> u64 {
        self.size.saturating_sub(self.header)
    }
}

/// A table from heap pages to spans, for millions of look-ups.
#[derive(Debug, Default)]
pub struct Pages {
    /// The lowest arena.
    first: u64,
    /// From there on, the number of each arena's table; 0 for none.
    near: Vec<u32>,
    /// The same for what lies too far off.
    far: HashMap<u64, u32, AddressHash>,
    /// One table behind the other: the first is of no arena.
    spans: Vec<u32>,
}

const PAGES: usize = (ARENA / HEAP_PAGE) as usize;
/// No more arenas than a terabyte of heap has: 512 MiB of table.
const ARENAS_MAX: usize = 1 << 14;
/// Arenas in a row that are found without hashing: 4 TiB. Go takes one after the other
/// (runtime/malloc.go, mheap.sysAlloc).
const NEAR_MAX: u64 = 1 << 16;

impl Pages {
    /// The table of `spans`; those beyond its bounds are left out.
    #[must_use]
    pub fn new(spans: &[HeapSpan]) -> Self {
        let mut pages = Self {
            first: spans.iter().map(|span| span.base).min().unwrap_or(0) / ARENA,
            spans: vec![u32::MAX; PAGES],
            ..Self::default()
        };
        for (number, span) in (0_u32..).zip(spans) {
            let mut at = span.base;
            let end = span.end();
            while at < end {
                let Some(start) = pages.table_for(at / ARENA) else {
                    return pages;
                };
                let first = (at % ARENA / HEAP_PAGE) as usize;
                let count = ((end - at).min(ARENA - at % ARENA) / HEAP_PAGE) as usize;
                let until = (first + count).min(PAGES);
                if let Some(entries) = pages.spans.get_mut(start + first..start + until) {
                    entries.fill(number);
                }
                let Some(next) = at.checked_add(count.max(1) as u64 * HEAP_PAGE) else {
                    break;
                };
                at = next;
            }
        }
        pages
    }

    fn table(&self, arena: u64) -> u32 {
        match self.near.get(arena.wrapping_sub(self.first) as usize) {
            Some(table) => *table,
            None if self.far.is_empty() => 0,
            None => self.far.get(&arena).copied().unwrap_or(0),
        }
    }

    /// Where the table of an arena begins, which is made if need be.
    fn table_for(&mut self, arena: u64) -> Option<usize> {
        let known = self.table(arena);
        if known != 0 {
            return Some(known as usize * PAGES);
        }
        let start = self.spans.len();
        let new = start / PAGES;
        if new > ARENAS_MAX {
            return None;
        }
        self.spans.resize(start + PAGES, u32::MAX);
        let distance = arena.wrapping_sub(self.first);
        if distance < NEAR_MAX {
            if self.near.len() <= distance as usize {
                self.near.resize(distance as usize + 1, 0);
            }
            if let Some(slot) = self.near.get_mut(distance as usize) {
                *slot = new as u32;
            }
        } else {
            self.far.insert(arena, new as u32);
        }
        Some(start)
    }

    /// The number of the span that holds `address`.
    #[must_use]
    #[inline]
    pub fn find(&self, address: u64) -> Option<usize> {
        let table = self.table(address / ARENA) as usize;
        let page = (address % ARENA / HEAP_PAGE) as usize;
        let number = *self.spans.get(table * PAGES + page)?;
        (number != u32::MAX).then_some(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(base: u64, pages: u32, slot_size: u64, class: u8) -> HeapSpan {
        HeapSpan {
            base,
            pages,
            slots: (u64::from(pages) * HEAP_PAGE / slot_size) as u32,
            slot_size,
            class,
            state: State::InUse,
            ..HeapSpan::default()
        }
    }

    #[test]
    fn an_address_is_in_its_slot() {
        let headed = span(0x10000, 1, 1024, 2 * 32);
        let slot = headed.slot(0x10408, 512).unwrap();
        assert_eq!(
            (slot.base, slot.object(), slot.usable()),
            (0x10400, 0x10408, 1016)
        );
        assert_eq!(headed.slot(0x10408, u64::MAX).unwrap().header, 0);
        assert_eq!(headed.slot(0xffff, 512), None);
        assert_eq!(headed.slot(0x12000, 512), None);
        // 170 slots of 48 bytes leave a rest.
        assert_eq!(span(0x10000, 1, 48, 10).slot(0x11ff0, 512), None);
        let stack = HeapSpan {
            state: State::Manual,
            ..span(0x20000, 4, 8192, 0)
        };
        let slot = stack.slot(0x20008, 512).unwrap();
        assert!(slot.is_stack && slot.size == 4 * HEAP_PAGE);
    }

    #[test]
    fn pages_lead_to_spans() {
        let near_end = ARENA - HEAP_PAGE;
        let spans = [
            span(0x10000, 2, 48, 10),
            span(near_end, 2, 48, 10),
            span(u64::MAX - 2 * HEAP_PAGE + 1, 2, 48, 10),
        ];
        let pages = Pages::new(&spans);
        for (address, expected) in [
            (0x10000, Some(0)),
            (0x13fff, Some(0)),
            (0x14000, None),
            (0, None),
            (near_end, Some(1)),
            (ARENA + HEAP_PAGE - 1, Some(1)),
            (ARENA + HEAP_PAGE, None),
            (u64::MAX - 2 * HEAP_PAGE + 1, Some(2)),
            (u64::MAX - 2 * HEAP_PAGE, None),
        ] {
            assert_eq!(pages.find(address), expected, "{address:#x}");
        }
    }
}
