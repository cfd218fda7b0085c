//! Memory made of literals: what tests and fuzzers walk.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::{Memory, ReadError};

/// Segments of bytes; what lies between them is unreadable.
#[derive(Debug, Clone, Default)]
pub struct Image {
    segments: BTreeMap<u64, Vec<u8>>,
    reads: Cell<u64>,
    fail_at: Option<u64>,
    interrupt_at: Option<u64>,
}

impl Image {
    /// No memory at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment. Segments must not overlap.
    pub fn map(&mut self, address: u64, bytes: Vec<u8>) {
        self.segments.insert(address, bytes);
    }

    /// Removes the segment that starts at `address`.
    pub fn unmap(&mut self, address: u64) {
        self.segments.remove(&address);
    }

    /// The segment that starts at `address`.
    pub fn segment_mut(&mut self, address: u64) -> Option<&mut Vec<u8>> {
        self.segments.get_mut(&address)
    }

    /// The segments, ascending.
    pub fn segments_mut(&mut self) -> impl Iterator<Item = (&u64, &mut Vec<u8>)> {
        self.segments.iter_mut()
    }

    /// Overwrites bytes that are mapped already; says whether they were.
    pub fn poke(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some((start, segment)) = self.segments.range_mut(..=address).next_back() else {
            return false;
        };
        let offset = (address - start) as usize;
        match offset
            .checked_add(bytes.len())
            .and_then(|end| segment.get_mut(offset..end))
        {
            Some(target) => {
                target.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Lets the `n`th read from now (0 is the next) fail, once.
    pub fn fail_read(&mut self, n: u64) {
        self.fail_at = Some(self.reads.get() + n);
    }

    /// Lets the `n`th read from now and all later ones say "interrupted".
    pub fn interrupt_read(&mut self, n: u64) {
        self.interrupt_at = Some(self.reads.get() + n);
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }
}

impl Memory for Image {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let number = self.reads.get();
        self.reads.set(number + 1);
        if self.interrupt_at.is_some_and(|at| number >= at) {
            return Err(ReadError::Interrupted);
        }
        let fault = ReadError::fault(address, buffer.len());
        if self.fail_at == Some(number) {
            return Err(fault);
        }
        // Segments may touch: a read can go on in the next one, as it does in
        // a process.
        let mut at = address;
        let mut rest = buffer;
        while !rest.is_empty() {
            let Some((start, segment)) = self.segments.range(..=at).next_back() else {
                return Err(fault);
            };
            let from = match segment.get((at - start) as usize..) {
                Some(from) if !from.is_empty() => from,
                _ => return Err(fault),
            };
            let take = from.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(take);
            head.copy_from_slice(&from[..take]);
            rest = tail;
            at = match at.checked_add(take as u64) {
                Some(next) => next,
                None if rest.is_empty() => break,
                None => return Err(fault),
            };
        }
        Ok(())
    }
}
