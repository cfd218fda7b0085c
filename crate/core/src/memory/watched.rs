//! A memory that keeps in mind which reads failed.
//!
//! A search follows millions of words, many of which are no pointers at all, so it goes on where
//! one cannot be read. Whether something was lost thereby is decided at its end, in one place: by
//! where the reads failed, not by who asked.

use std::cell::{Cell, RefCell};

use super::{Memory, ReadError, Span};

/// Failed reads that are kept; of more it is only known that there were more.
const KEPT_MAX: usize = 1 << 16;

/// The reads that failed while somebody watched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    /// What was asked for, in the order of the reads. Repetitions in a row are left out.
    pub reads: Vec<Span>,
    /// What is a loss wherever it lies: [`Memory::lost`].
    pub lost: Vec<Span>,
    /// There were more than are kept.
    pub more: bool,
}

/// `inner`, and what of it could not be read.
pub struct Watched<M> {
    inner: M,
    watching: Cell<bool>,
    faults: RefCell<Faults>,
}

impl<M> Watched<M> {
    /// Nobody watches yet.
    pub fn new(inner: M) -> Self {
        Self {
            inner,
            watching: Cell::default(),
            faults: RefCell::default(),
        }
    }

    /// Begins to keep failed reads in mind, until what is returned is dropped. Of two who
    /// watch at a time the first sees nothing more.
    pub fn watch(&self) -> Watch<'_, M> {
        self.watching.set(true);
        self.faults.take();
        Watch { memory: self }
    }

    fn note(&self, address: u64, len: usize) {
        if !self.watching.get() {
            return;
        }
        // Nothing is lent while a read of the same memory is under way.
        let Ok(mut faults) = self.faults.try_borrow_mut() else {
            return;
        };
        let read = Span {
            start: address,
            len: len as u64,
        };
        if faults.reads.last() == Some(&read) {
            return;
        }
        if faults.reads.len() < KEPT_MAX {
            faults.reads.push(read);
        } else {
            faults.more = true;
        }
    }
}

/// Somebody watches a memory.
pub struct Watch<'a, M> {
    memory: &'a Watched<M>,
}

impl<M> Watch<'_, M> {
    /// What failed so far; from now on is seen what fails then.
    #[must_use]
    pub fn take(&self) -> Faults {
        self.memory.faults.take()
    }
}

impl<M> Drop for Watch<'_, M> {
    fn drop(&mut self) {
        self.memory.watching.set(false);
        self.memory.faults.take();
    }
}

impl<M: Memory> Memory for Watched<M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let read = self.inner.read(address, buffer);
        if let Err(ReadError::Fault { .. }) = read {
            self.note(address, buffer.len());
        }
        read
    }

    fn lend(
        &self,
        address: u64,
        len: usize,
        scratch: &mut Vec<u8>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let read = self.inner.lend(address, len, scratch, visit);
        if let Err(ReadError::Fault { .. }) = read {
            self.note(address, len);
        }
        read
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.inner.checkpoint(done, total)
    }

    fn phase(&self, what: &'static str) {
        self.inner.phase(what);
    }

    fn faults(&self) -> usize {
        self.faults.borrow().reads.len()
    }

    fn forgive(&self, since: usize) {
        self.faults.borrow_mut().reads.truncate(since);
    }

    fn lost(&self, place: Span) {
        if self.watching.get() {
            let mut faults = self.faults.borrow_mut();
            if faults.lost.len() < KEPT_MAX {
                faults.lost.push(place);
            } else {
                faults.more = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{BlockCache, Image, RangeReader, read_available};

    /// A page that can be read, and none behind it.
    fn memory() -> Watched<Image> {
        let mut image = Image::new();
        image.map(0x10000, vec![1; 0x1000]);
        Watched::new(image)
    }

    fn span(start: u64, len: u64) -> Span {
        Span { start, len }
    }

    #[test]
    fn failed_reads_are_kept_while_somebody_watches() {
        let memory = memory();
        let mut bytes = [0; 8];
        assert!(memory.read(0x11000, &mut bytes).is_err());
        let watch = memory.watch();
        assert!(memory.read(0x10000, &mut bytes).is_ok());
        for _ in 0..3 {
            assert!(memory.read(0x11008, &mut bytes).is_err());
        }
        assert!(
            memory
                .lend(0x10ffc, 8, &mut Vec::new(), &mut |_| {})
                .is_err()
        );
        memory.lost(span(7, 1));
        let found = watch.take();
        assert_eq!(found.reads, [span(0x11008, 8), span(0x10ffc, 8)]);
        assert_eq!((found.lost, found.more), (vec![span(7, 1)], false));
        assert_eq!(watch.take(), Faults::default());
        drop(watch);
        assert!(memory.read(0x11000, &mut bytes).is_err());
        assert_eq!(memory.watch().take(), Faults::default());
    }

    #[test]
    fn what_is_asked_for_again_in_parts_is_told_by_the_parts() {
        let memory = memory();
        let watch = memory.watch();
        let mut bytes = vec![0; 0x1800];
        assert_eq!(
            read_available(&memory, 0x10000, &mut bytes).unwrap(),
            [span(0x11000, 0x800)]
        );
        assert_eq!(watch.take().reads, [span(0x11000, 0x800)]);
        let ranges = [span(0x10ff0, 8), span(0x11010, 8)];
        RangeReader::default()
            .read(&memory, &ranges, &mut |_| Ok(()))
            .unwrap();
        assert_eq!(watch.take().reads, [span(0x11010, 8)]);
    }

    #[test]
    fn a_cache_tells_of_no_more_than_was_wanted() {
        let mut image = Image::new();
        // A page that ends in the middle.
        image.map(0x10000, vec![1; 0x1800]);
        let cache = BlockCache::new(Watched::new(image), 1 << 20);
        let watch = cache.inner().watch();
        let mut bytes = [0; 16];
        for address in [0x10000, 0x11000, 0x117f0] {
            cache.read(address, &mut bytes).unwrap();
        }
        assert_eq!(watch.take(), Faults::default());
        assert!(cache.read(0x117f8, &mut bytes).is_err());
        assert_eq!(watch.take().reads, [span(0x117f8, 16)]);
        // As many as are kept; the rest is counted as one fact.
        for number in 0..KEPT_MAX as u64 + 1 {
            assert!(cache.read(0x2_0000 + 8 * number, &mut bytes).is_err());
        }
        let found = watch.take();
        assert_eq!((found.reads.len(), found.more), (KEPT_MAX, true));
    }
}
