//! The flight recorder's ring in a process ([`crate::instrument`] puts it there): found
//! by its symbol or by its first bytes, read in large blocks, record by record.
//!
//! Whoever writes a record takes its place first, marks it as being written and gives it
//! its number last (`go/recorder.go.txt`), so a record with its number is whole. All
//! others are counted and left out.

mod answer;
mod event;

pub use answer::{RingFailure, answer_ring};
pub use event::Events;

use crate::binary::Binary;
use crate::instrument::{ENTRIES_MAX, RECORD, op};
use crate::map::Flow;
use crate::memory::{Abi, Memory, ReadError, Span, read_available};

/// The name of the ring's header.
pub const SYMBOL: &str = "runtime.gomapscopeRing";
/// Its first bytes.
const MAGIC: [u8; 16] = *b"gomapscope ring1";
/// Bytes of the header before the ring's address.
const HEADER: usize = 80;
/// What is read at once.
const BLOCK: u64 = 1 << 20;
/// Larger parts of the data are not searched whole.
const SEARCH_MAX: u64 = 64 << 20;
/// A stack is never deeper.
const DEPTH_MAX: u64 = 64;
/// The number of a record that is being written.
const BUSY: u64 = u64::MAX;

/// Why there is nothing to read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The program was built without it.
    #[error(
        "{0} has no flight recorder: build it with the overlay that `gomapscope instrument` writes"
    )]
    Absent(String),
    /// It was written by another gomapscope.
    #[error("the flight recorder at {0:#x} is of version {1}, this gomapscope reads version 1")]
    Version(u64, u32),
    /// Its header contradicts itself.
    #[error("the flight recorder's header at {0:#x} is damaged: {1}")]
    Damaged(u64, String),
    /// Its memory is unreadable.
    #[error("the flight recorder's header cannot be read: {0}")]
    Read(#[from] ReadError),
}

/// The ring's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Where the header stands.
    pub address: u64,
    /// Where the records are.
    pub records: u64,
    /// Bytes of a record.
    pub entry_size: u64,
    /// Records it has room for; a power of two.
    pub entries: u64,
    /// Records begun since the program's start.
    pub next: u64,
    /// Records given up because a slower goroutine held their place.
    pub dropped: u64,
    /// One instant on two clocks: `CLOCK_MONOTONIC` and nanoseconds since 1970.
    pub clock: Option<(u64, u64)>,
    /// Whether it records.
    pub recording: bool,
    /// Whether the maps are Swiss ones.
    pub swiss: bool,
    /// Whether the collector's frees are recorded.
    pub frees: bool,
    /// Program counters in a record.
    pub depth: u64,
    abi: Abi,
}

/// One whole record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// From 1.
    pub seq: u64,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The map's header.
    pub map: u64,
    /// Its type's descriptor.
    pub type_address: u64,
    /// What was allocated, or freed.
    pub block: u64,
    /// Bytes asked for it.
    pub size: u64,
    /// What it replaces or what was let go; of a clone, the map it is of.
    pub old: u64,
    /// Bytes of that.
    pub old_size: u64,
    /// The goroutine.
    pub goid: u64,
    /// Entries of the map.
    pub len: u64,
    /// One of [`op`].
    pub op: u8,
    /// Slots of the new storage, where it has slots.
    pub capacity: Option<u64>,
    /// Slots of the old.
    pub old_capacity: Option<u64>,
    /// The header is on its goroutine's stack.
    pub on_stack: bool,
    /// The kernel's number of the thread.
    pub thread: u32,
    /// `noverflow` (classic) or the length of the directory (Swiss).
    pub shape: u64,
    /// Return addresses, innermost first.
    pub stack: Vec<u64>,
}

/// What was and what could not be read. In all, `next` records were begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole records.
    pub whole: u64,
    /// Records being written.
    pub torn: u64,
    /// Places that hold what no recorder writes.
    pub damaged: u64,
    /// Records in unreadable memory.
    pub unreadable: u64,
    /// Records that are gone: overwritten by later ones, or given up.
    pub lost: u64,
}

impl Counts {
    /// Whether all that the ring should hold was read.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.torn == 0 && self.damaged == 0 && self.unreadable == 0
    }
}

impl Ring {
    /// Looks for the ring of a process.
    ///
    /// # Errors
    /// When the program has none, or its header cannot be used.
    pub fn find(binary: &Binary, memory: &dyn Memory, bias: u64) -> Result<Self, RingError> {
        if let Some(linked) = binary.symbol(SYMBOL) {
            return Self::at(binary.abi(), memory, linked.wrapping_add(bias));
        }
        // Stripped: the header has values from the start, so it is in the data.
        let mut doubt = None;
        for span in binary.writable_ranges() {
            let start = span.start.wrapping_add(bias);
            for address in search(memory, start, span.len.min(SEARCH_MAX))? {
                match Self::at(binary.abi(), memory, address) {
                    Ok(ring) => return Ok(ring),
                    Err(reason) => doubt = doubt.or(Some(reason)),
                }
            }
        }
        Err(doubt.unwrap_or_else(|| RingError::Absent(binary.path().display().to_string())))
    }

    /// The ring whose header is at an address.
    ///
    /// # Errors
    /// When its header cannot be used.
    pub fn at(abi: Abi, memory: &dyn Memory, address: u64) -> Result<Self, RingError> {
        let mut bytes = [0; HEADER + 8];
        let used = HEADER + usize::from(abi.pointer_size).min(8);
        let bytes = bytes.get_mut(..used).unwrap_or_default();
        memory.read(address, bytes)?;
        let damaged = |reason: String| RingError::Damaged(address, reason);
        if !bytes.starts_with(&MAGIC) {
            return Err(damaged("its first bytes are others".to_owned()));
        }
        let word = |at: usize| abi.uint_at(bytes, at, 8).unwrap_or(0);
        let half = |at: usize| abi.uint_at(bytes, at, 4).unwrap_or(0);
        let version = half(16);
        if version != 1 {
            return Err(RingError::Version(address, version as u32));
        }
        let (entry_size, entries) = (half(20), word(24));
        let (family, flags, depth) = (half(68), half(72), half(76));
        let mono = word(48);
        let stack = depth.saturating_mul(u64::from(abi.pointer_size));
        // A record is a multiple of its alignment.
        let expected = (RECORD + stack).next_multiple_of(8);
        if depth > DEPTH_MAX || entry_size != expected {
            return Err(damaged(format!(
                "records of {entry_size} bytes with stacks of {depth} words"
            )));
        }
        if !entries.is_power_of_two() || entries > ENTRIES_MAX {
            return Err(damaged(format!("a ring of {entries} records")));
        }
        let records = abi.pointer_at(bytes, 80).unwrap_or(0);
        let fits = entries
            .checked_mul(entry_size)
            .and_then(|len| records.checked_add(len));
        if records == 0 || fits.is_none() {
            return Err(damaged(format!("its records are at {records:#x}")));
        }
        if !matches!(family, 1 | 2) {
            return Err(damaged(format!("family {family}")));
        }
        Ok(Self {
            address,
            records,
            entry_size,
            entries,
            next: word(32),
            dropped: word(40),
            clock: (mono != 0).then(|| (mono, word(56))),
            recording: half(64) == 0,
            swiss: family == 2,
            frees: flags & 2 != 0,
            depth,
            abi,
        })
    }

    /// Visits the whole records, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Interrupted`].
    pub fn read(
        &self,
        memory: &dyn Memory,
        visit: &mut dyn FnMut(&Record) -> Flow,
    ) -> Result<Counts, ReadError> {
        let used = self.next.min(self.entries);
        // The oldest record stands where the next one goes.
        let first = match self.next > self.entries {
            true => self.next % self.entries,
            false => 0,
        };
        let mut counts = Counts {
            lost: self.next - used,
            ..Counts::default()
        };
        let total = used * self.entry_size;
        let mut done = 0;
        let mut nothing_before = false;
        for run in [first..used, 0..first] {
            let per_block = (BLOCK / self.entry_size).max(1);
            let mut at = run.start;
            while at < run.end {
                let take = per_block.min(run.end - at);
                memory.checkpoint(done, total)?;
                // A damaged header may claim gigabytes where nothing is: behind a block without a
                // readable byte, the next one is looked at before its pages are tried one by one.
                if nothing_before && self.is_nowhere(memory, at, take)? {
                    counts.unreadable += take;
                } else {
                    let before = counts.unreadable;
                    if self.block(memory, at, take, &mut counts, visit)? == Flow::Stop {
                        return Ok(counts);
                    }
                    nothing_before = counts.unreadable - before == take;
                }
                done += take * self.entry_size;
                at += take;
            }
        }
        Ok(counts)
    }

    /// Whether neither the first nor the last word of `take` places from `first` on is readable.
    fn is_nowhere(&self, memory: &dyn Memory, first: u64, take: u64) -> Result<bool, ReadError> {
        let start = self.records + first * self.entry_size;
        for at in [start, start + take * self.entry_size - 8] {
            match memory.read(at, &mut [0; 8]) {
                Ok(()) => return Ok(false),
                Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    /// Visits the records of `take` places from `first` on.
    fn block(
        &self,
        memory: &dyn Memory,
        first: u64,
        take: u64,
        counts: &mut Counts,
        visit: &mut dyn FnMut(&Record) -> Flow,
    ) -> Result<Flow, ReadError> {
        let size = self.entry_size as usize;
        let mut bytes = vec![0; take as usize * size];
        let start = self.records + first * self.entry_size;
        let missing = read_available(memory, start, &mut bytes)?;
        let mut record = Record::default();
        for (position, bytes) in bytes.chunks_exact(size).enumerate() {
            let index = first + position as u64;
            let place = Span {
                start: self.records + index * self.entry_size,
                len: self.entry_size,
            };
            let gone = |gap: &Span| gap.start < place.end() && place.start < gap.end();
            if missing.iter().any(gone) {
                counts.unreadable += 1;
                continue;
            }
            match self.number(bytes, index) {
                Number::Whole(seq) => {
                    if !self.decode(bytes, seq, &mut record) {
                        counts.damaged += 1;
                        continue;
                    }
                    counts.whole += 1;
                    if visit(&record) == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Number::Torn => counts.torn += 1,
                Number::Older => counts.lost += 1,
                Number::Damaged => counts.damaged += 1,
            }
        }
        Ok(Flow::Continue)
    }

    /// Judges the record at a place by its number.
    fn number(&self, bytes: &[u8], index: u64) -> Number {
        let seq = self.abi.uint_at(bytes, 0, 8).unwrap_or(0);
        // Its writer has the number already, but not yet the place.
        if seq == 0 || seq == BUSY {
            return Number::Torn;
        }
        if (seq - 1) % self.entries != index || seq > self.next {
            return Number::Damaged;
        }
        match self.next - seq < self.entries {
            true => Number::Whole(seq),
            // The later record was given up, or its writer has not come so far.
            false => Number::Older,
        }
    }

    /// Whether the record can be one of ours.
    fn decode(&self, bytes: &[u8], seq: u64, record: &mut Record) -> bool {
        let word = |index: usize| self.abi.uint_at(bytes, index * 8, 8).unwrap_or(0);
        let meta = word(10);
        let slots = |log: u64| match log & 0xff {
            0 => None,
            log => 1_u64.checked_shl(log as u32 - 1),
        };
        let pointer = usize::from(self.abi.pointer_size);
        record.stack.clear();
        record.stack.extend(
            (0..self.depth as usize)
                .filter_map(|index| {
                    self.abi
                        .pointer_at(bytes, RECORD as usize + index * pointer)
                })
                .take_while(|pc| *pc != 0),
        );
        record.seq = seq;
        record.time = word(1);
        record.map = word(2);
        record.type_address = word(3);
        record.block = word(4);
        record.size = word(5);
        record.old = word(6);
        record.old_size = word(7);
        record.goid = word(8);
        record.len = word(9);
        record.op = meta as u8;
        record.capacity = slots(meta >> 8);
        record.old_capacity = slots(meta >> 16);
        record.on_stack = meta >> 24 & 1 != 0;
        record.thread = (meta >> 32) as u32;
        record.shape = word(11);
        (op::CREATE..=op::TABLE).contains(&record.op)
    }
}

enum Number {
    Whole(u64),
    Torn,
    Older,
    Damaged,
}

/// Where headers may begin in a part of the data.
fn search(memory: &dyn Memory, start: u64, len: u64) -> Result<Vec<u64>, ReadError> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < len {
        // Blocks overlap: a header may begin at the end of one.
        let take = (BLOCK + MAGIC.len() as u64).min(len - at);
        let mut bytes = vec![0; take as usize];
        memory.checkpoint(at, len)?;
        let Some(address) = start.checked_add(at) else {
            break;
        };
        read_available(memory, address, &mut bytes)?;
        let aligned = |position: usize| (address + position as u64).is_multiple_of(8);
        found.extend(
            bytes
                .windows(MAGIC.len())
                .take(BLOCK as usize)
                .enumerate()
                .filter(|(position, window)| *window == MAGIC && aligned(*position))
                .map(|(position, _)| address + position as u64),
        );
        at += BLOCK;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
