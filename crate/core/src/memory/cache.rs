//! A block cache for pointer chasing. Lives for one stop of the target.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::{AddressHash, Memory, PAGE, READ_MAX, ReadError, Span, lend_by_reading};

const BLOCK: usize = PAGE as usize;

/// Reads larger than this go to the target directly: whole arrays are read
/// once, caching them would only evict what is chased.
const BYPASS: usize = 4 * BLOCK;

/// No block begins there, nor before one.
const NO_BLOCK: u64 = 1;

/// Keeps blocks of one page; small reads are served from them.
///
/// A miss next to the block that was fetched last fetches a run of blocks: 16 times
/// fewer calls for objects of one size class, which the allocator packs.
pub struct BlockCache<M> {
    inner: M,
    blocks: RefCell<Blocks>,
    /// What is kept was forgotten while it was read.
    stale: Cell<bool>,
    capacity: usize,
}

#[derive(Default)]
struct Blocks {
    young: HashMap<u64, Box<[u8]>, AddressHash>,
    // The generation before: a block used again moves back to `young`, the rest
    // goes when `young` is full. Two maps are a cheap approximation of LRU.
    old: HashMap<u64, Box<[u8]>, AddressHash>,
    last_miss: u64,
}

impl<M: Memory> BlockCache<M> {
    /// A cache of at most `capacity` bytes in front of `inner`.
    pub fn new(inner: M, capacity: usize) -> Self {
        Self {
            inner,
            blocks: RefCell::default(),
            stale: Cell::default(),
            capacity: (capacity / BLOCK / 2).max(16),
        }
    }

    /// Forgets everything: the target ran. In the middle of a read, where a debugger tells
    /// of it, before the next.
    pub fn clear(&self) {
        match self.blocks.try_borrow_mut() {
            Ok(mut blocks) => *blocks = Blocks::default(),
            Err(_) => self.stale.set(true),
        }
    }

    /// The memory behind the cache.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    /// Copies the part of block `block` that starts at `offset` to `out`.
    fn copy(&self, block: u64, offset: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let mut blocks = self.blocks.borrow_mut();
        if self.stale.take() {
            *blocks = Blocks::default();
        }
        let held = blocks
            .young
            .get(&block)
            .and_then(|b| b.get(offset..offset + out.len()));
        if let Some(held) = held {
            out.copy_from_slice(held);
            return Ok(());
        }
        if !blocks.young.contains_key(&block) {
            let bytes = match blocks.old.remove(&block) {
                Some(bytes) => bytes,
                None => {
                    let sequential = block == blocks.last_miss.wrapping_add(PAGE);
                    blocks.last_miss = block;
                    if sequential {
                        self.fetch_run(block, &mut blocks)?;
                    }
                    match blocks.young.remove(&block) {
                        Some(bytes) => bytes,
                        None => {
                            let mut bytes = vec![0; BLOCK].into_boxed_slice();
                            let read = self.inner.read(block, &mut bytes);
                            if read.is_err() {
                                // Behind an unreadable block a run is no good guess.
                                blocks.last_miss = NO_BLOCK;
                            }
                            read?;
                            bytes
                        }
                    }
                }
            };
            if blocks.young.len() >= self.capacity {
                blocks.old = std::mem::take(&mut blocks.young);
            }
            blocks.young.insert(block, bytes);
        }
        let from = blocks
            .young
            .get(&block)
            .and_then(|b| b.get(offset..offset + out.len()));
        match from {
            Some(from) => {
                out.copy_from_slice(from);
                Ok(())
            }
            None => Err(ReadError::fault(block, out.len())),
        }
    }

    /// Fetches up to 16 blocks from `block` on; a fault fetches nothing.
    fn fetch_run(&self, block: u64, blocks: &mut Blocks) -> Result<(), ReadError> {
        const RUN: usize = 16;
        let mut bytes = vec![0; RUN * BLOCK];
        if blocks.young.len() + RUN > self.capacity {
            return Ok(());
        }
        let failed = self.inner.faults();
        match self.inner.read(block, &mut bytes) {
            Ok(()) => {}
            Err(ReadError::Fault { .. }) => {
                self.inner.forgive(failed);
                return Ok(());
            }
            // A Ctrl-C is told once: swallowed here, it would be lost.
            Err(interrupted) => return Err(interrupted),
        }
        for (index, part) in bytes.chunks_exact(BLOCK).enumerate() {
            let address = block.wrapping_add(index as u64 * PAGE);
            blocks.young.entry(address).or_insert_with(|| part.into());
        }
        blocks.last_miss = block.wrapping_add((RUN as u64 - 1) * PAGE);
        Ok(())
    }
}

impl<M: Memory> Memory for BlockCache<M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if buffer.is_empty() {
            return Ok(());
        }
        if address.checked_add(buffer.len() as u64 - 1).is_none() {
            return Err(ReadError::fault(address, buffer.len()));
        }
        if buffer.len() > BYPASS {
            let mut at = address;
            for part in buffer.chunks_mut(READ_MAX) {
                self.inner.read(at, part)?;
                at = at.wrapping_add(part.len() as u64);
            }
            return Ok(());
        }
        let mut at = address;
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            let offset = (at % PAGE) as usize;
            let take = rest.len().min(BLOCK - offset);
            let (part, tail) = rest.split_at_mut(take);
            let failed = self.inner.faults();
            match self.copy(at - offset as u64, offset, part) {
                Ok(()) => {}
                // The page may be readable in part (a truncated core): ask for
                // exactly what is wanted before giving up.
                Err(ReadError::Fault { .. }) => {
                    self.inner.forgive(failed);
                    self.inner.read(at, part).map_err(|error| match error {
                        ReadError::Fault { .. } => ReadError::fault(at, take),
                        other => other,
                    })?;
                }
                Err(other) => return Err(other),
            }
            at = at.wrapping_add(take as u64);
            rest = tail;
        }
        Ok(())
    }

    fn lend(
        &self,
        address: u64,
        len: usize,
        scratch: &mut Vec<u8>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        if len > BYPASS && len <= READ_MAX {
            return self.inner.lend(address, len, scratch, visit);
        }
        lend_by_reading(self, address, len, scratch, visit)
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.inner.checkpoint(done, total)
    }

    fn phase(&self, what: &'static str) {
        self.inner.phase(what);
    }

    fn faults(&self) -> usize {
        self.inner.faults()
    }

    fn forgive(&self, since: usize) {
        self.inner.forgive(since);
    }

    fn lost(&self, place: Span) {
        self.inner.lost(place);
    }
}
