//! Which slot of the heap an address lies in, as the spans of an AllocFree trace tell.

use std::collections::HashMap;

use crate::layout::SIZE_CLASSES;

/// Pages that are noted together.
const CHUNK: u64 = 1024;
/// Chunks that are kept: the first 512 GiB of the heap.
const CHUNKS: u64 = 1 << 16;
/// No span of small objects is longer (runtime.class_to_allocnpages).
const SMALL_PAGES: u64 = 16;
/// Large spans that are kept.
const LARGE: usize = 1 << 20;

/// A page of the heap.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    /// runtime.spanClass plus 1; 0 for none.
    class: u8,
    /// How far it is from the span's begin, in pages.
    index: u8,
}

/// What the runtime says in front of its events (runtime.traceSnapshotMemory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Info {
    /// trace.minPageHeapAddr.
    pub heap: u64,
    /// runtime.pageSize.
    pub page: u64,
    /// runtime.minHeapAlign: what objects are counted in.
    pub align: u64,
}

/// The spans that there are at one time.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// By number; those without a span are empty.
    chunks: Vec<Box<[Page]>>,
    /// Bytes of spans that hold one object.
    large: HashMap<u64, u64>,
    /// There were more than are kept, or farther off.
    pub(super) full: bool,
}

impl Spans {
    /// A span begins at a page, counted from the heap's begin. `class`: its
    /// runtime.spanClass, twice its size class and 1 for no pointers.
    pub(super) fn add(&mut self, info: Info, page: u64, pages: u64, class: u64) {
        let Ok(class) = u8::try_from(class) else {
            return;
        };
        let small = class >= 2;
        if small && pages > SMALL_PAGES {
            return;
        }
        if !small {
            if self.large.len() >= LARGE && !self.large.contains_key(&page) {
                self.full = true;
                return;
            }
            self.large.insert(page, pages.saturating_mul(info.page));
        }
        for index in 0..if small { pages } else { 1 } {
            let page_class = class.saturating_add(1);
            let offset = u8::try_from(index).unwrap_or(0);
            self.set(page.wrapping_add(index), page_class, offset);
        }
    }

    /// A span that begins at a page is no more.
    pub(super) fn remove(&mut self, page: u64) {
        let Some(class) = self.page(page).map(|page| page.class) else {
            return;
        };
        self.large.remove(&page);
        for index in 0..SMALL_PAGES {
            let at = page.wrapping_add(index);
            let Some(found) = self.page(at) else {
                return;
            };
            if found.class != class || u64::from(found.index) != index {
                return;
            }
            self.set(at, 0, 0);
        }
    }

    fn page(&self, page: u64) -> Option<Page> {
        let chunk = self.chunks.get(usize::try_from(page / CHUNK).ok()?)?;
        chunk.get((page % CHUNK) as usize).copied()
    }

    fn set(&mut self, page: u64, class: u8, index: u8) {
        let number = page / CHUNK;
        if number >= CHUNKS {
            self.full = true;
            return;
        }
        let number = number as usize;
        if self.chunks.len() <= number {
            self.chunks.resize_with(number + 1, Box::default);
        }
        if let Some(chunk) = self.chunks.get_mut(number) {
            if chunk.is_empty() {
                *chunk = vec![Page::default(); CHUNK as usize].into();
            }
            if let Some(place) = chunk.get_mut((page % CHUNK) as usize) {
                *place = Page { class, index };
            }
        }
    }

    /// The begin and the size of the slot that an object (its address in units of
    /// [`Info::align`]) lies in; `None` where no span is known.
    #[inline]
    pub(super) fn slot(&self, info: Info, object: u64) -> Option<(u64, u64)> {
        let offset = object.checked_mul(info.align)?;
        let number = offset.checked_div(info.page)?;
        let page = self.page(number)?;
        let class = page.class.checked_sub(1)?;
        let span = number.checked_sub(u64::from(page.index))?;
        let begin = span.checked_mul(info.page)?;
        let size = match class >> 1 {
            0 => *self.large.get(&span)?,
            // The table of the runtime begins with a class of size 0.
            class => *SIZE_CLASSES.get(usize::from(class) - 1)?,
        };
        let index = offset.checked_sub(begin)?.checked_div(size)?;
        Some((
            info.heap.checked_add(begin + index.checked_mul(size)?)?,
            size,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: Info = Info {
        heap: 0xc0_0000_0000,
        page: 8192,
        align: 8,
    };

    #[test]
    fn objects_are_found_in_their_slots() {
        let mut spans = Spans::default();
        // Size class 5 is 48 bytes.
        spans.add(INFO, 3, 1, 5 << 1);
        let base = 3 * 8192;
        let slot = |spans: &Spans, offset: u64| spans.slot(INFO, offset / 8);
        assert_eq!(slot(&spans, base + 48), Some((INFO.heap + base + 48, 48)));
        assert_eq!(slot(&spans, base + 56), Some((INFO.heap + base + 48, 48)));
        assert_eq!(slot(&spans, base - 8), None);
        spans.remove(3);
        assert_eq!(slot(&spans, base + 48), None);
        // A large one is known by its first page.
        spans.add(INFO, 9, 100, 0);
        assert_eq!(
            slot(&spans, 9 * 8192),
            Some((INFO.heap + 9 * 8192, 819_200))
        );
        spans.remove(9);
        assert_eq!(slot(&spans, 9 * 8192), None);
    }

    #[test]
    fn spans_that_cannot_be_take_nothing() {
        let mut spans = Spans::default();
        spans.add(INFO, u64::MAX, u64::MAX, 0);
        spans.add(INFO, u64::MAX, 16, 10);
        spans.add(INFO, 5, u64::MAX, 10);
        spans.add(INFO, 7, 1, 255);
        assert_eq!(spans.slot(INFO, u64::MAX), None);
        assert_eq!(spans.slot(INFO, 7 * 1024), None);
        spans.remove(u64::MAX);
    }
}
