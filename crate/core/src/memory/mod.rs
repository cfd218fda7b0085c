//! Where bytes come from. Reading only: no trait here can write.

mod cache;
mod core;
mod image;
mod pagemap;
mod ranges;
mod watched;

pub use cache::BlockCache;
pub use core::{CoreError, CoreFile, MappedFile, Thread};
pub use image::Image;
pub use pagemap::resident_pages;
pub(crate) use ranges::GAP_MAX;
pub(crate) use ranges::nothing_read;
pub use ranges::{Chunk, RangeReader, read_available};
pub use watched::{Faults, Watch, Watched};

use std::fmt;

/// The size of a page, and the grain at which unreadable memory is told from
/// readable memory.
pub const PAGE: u64 = 4096;

/// The largest single read. Larger reads cost 4 to 10 times more a byte in gdb:
/// it faults in a fresh buffer of the full length each time.
pub const READ_MAX: usize = 1 << 20;

/// Why bytes could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The target has nothing readable there.
    #[error("cannot read {len} bytes at {address:#x}")]
    Fault {
        /// First address of the read that failed.
        address: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// The user asked to stop (Ctrl-C).
    #[error("interrupted")]
    Interrupted,
}

impl ReadError {
    /// A fault of a read of `len` bytes at `address`.
    #[must_use]
    pub fn fault(address: u64, len: usize) -> Self {
        Self::Fault {
            address,
            len: len as u64,
        }
    }
}

/// An address space that can be read.
///
/// Implementations decide what "interrupted" means; walkers end at once when a
/// read or [`Memory::checkpoint`] says so, and keep what they have.
pub trait Memory {
    /// Fills `buffer` with the bytes at `address`.
    ///
    /// # Errors
    /// [`ReadError::Fault`] when any byte of the range is unreadable; the
    /// contents of `buffer` are then unspecified.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError>;

    /// Lends the `len` bytes at `address` to `visit`, without copying them where
    /// the implementation can. `scratch` is a buffer to reuse from call to call.
    ///
    /// # Errors
    /// As [`Memory::read`]; `visit` was then not called.
    fn lend(
        &self,
        address: u64,
        len: usize,
        scratch: &mut Vec<u8>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        lend_by_reading(self, address, len, scratch, visit)
    }

    /// Called between blocks of work with how much is done of how much in all
    /// (in bytes; 0 of 0 when that is not known).
    ///
    /// # Errors
    /// [`ReadError::Interrupted`] when the user wants the prompt back.
    fn checkpoint(&self, _done: u64, _total: u64) -> Result<(), ReadError> {
        Ok(())
    }

    /// Work of another kind begins: `what` is a short word for those who watch.
    fn phase(&self, _what: &'static str) {}

    /// How many failed reads are kept in mind ([`Watched`]); 0 where none are.
    fn faults(&self) -> usize {
        0
    }

    /// The reads that failed since there were `since` of them are asked for again in smaller
    /// parts: only those tell whether something was lost.
    fn forgive(&self, _since: usize) {}

    /// What could not be read at `place` is missing in what is found, wherever it lies.
    fn lost(&self, _place: Span) {}
}

/// [`Memory::lend`] by way of [`Memory::read`] and the caller's buffer.
fn lend_by_reading<M: Memory + ?Sized>(
    memory: &M,
    address: u64,
    len: usize,
    scratch: &mut Vec<u8>,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<(), ReadError> {
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    let buffer = scratch
        .get_mut(..len)
        .ok_or(ReadError::fault(address, len))?;
    memory.read(address, buffer)?;
    visit(buffer);
    Ok(())
}

/// Pointers to a memory are that memory.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<M: Memory + ?Sized> Memory for $pointer {
            fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
                (**self).read(address, buffer)
            }
            fn lend(
                &self,
                address: u64,
                len: usize,
                scratch: &mut Vec<u8>,
                visit: &mut dyn FnMut(&[u8]),
            ) -> Result<(), ReadError> {
                (**self).lend(address, len, scratch, visit)
            }
            fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
                (**self).checkpoint(done, total)
            }
            fn phase(&self, what: &'static str) {
                (**self).phase(what);
            }
            fn faults(&self) -> usize {
                (**self).faults()
            }
            fn forgive(&self, since: usize) {
                (**self).forgive(since);
            }
            fn lost(&self, place: Span) {
                (**self).lost(place);
            }
        }
    )*};
}
forward!(&M, Box<M>, std::rc::Rc<M>);

/// Hashes addresses: they are all different already, and no one who could
/// choose them gains from collisions that a bounded table survives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AddressHasher(u64);

impl std::hash::Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        // Fibonacci hashing; the table looks at the high and at the low bits.
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// A hash table's way to [`AddressHasher`].
pub(crate) type AddressHash = std::hash::BuildHasherDefault<AddressHasher>;

/// Pointer width and byte order of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// Bytes of a pointer: 4 or 8.
    pub pointer_size: u8,
    /// Most significant byte first.
    pub big_endian: bool,
}

impl Abi {
    /// amd64, arm64, riscv64 and most others.
    pub const LE64: Self = Self {
        pointer_size: 8,
        big_endian: false,
    };

    /// The unsigned integer in `bytes` (at most 8 of them).
    #[must_use]
    #[inline]
    pub fn uint(self, bytes: &[u8]) -> u64 {
        if let (Ok(word), false) = (<[u8; 8]>::try_from(bytes), self.big_endian) {
            return u64::from_le_bytes(word);
        }
        let fold = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    }

    /// The unsigned integer of `size` bytes at `offset` of `bytes`; `None`
    /// beyond the end.
    #[must_use]
    #[inline]
    pub fn uint_at(self, bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
        bytes
            .get(offset..offset.checked_add(size)?)
            .map(|field| self.uint(field))
    }

    /// The pointer at `offset` of `bytes`; `None` beyond the end.
    #[must_use]
    pub fn pointer_at(self, bytes: &[u8], offset: usize) -> Option<u64> {
        self.uint_at(bytes, offset, usize::from(self.pointer_size))
    }

    /// Reads an unsigned integer of `size` (at most 8) bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn read_uint(
        self,
        memory: &dyn Memory,
        address: u64,
        size: usize,
    ) -> Result<u64, ReadError> {
        let mut buffer = [0; 8];
        let bytes = buffer
            .get_mut(..size)
            .ok_or(ReadError::fault(address, size))?;
        memory.read(address, bytes)?;
        Ok(self.uint(bytes))
    }

    /// Reads a pointer.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn read_pointer(self, memory: &dyn Memory, address: u64) -> Result<u64, ReadError> {
        self.read_uint(memory, address, usize::from(self.pointer_size))
    }
}

/// An address range, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Span {
    /// One past the last address; saturates at the top of the address space.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(self, address: u64) -> bool {
        address
            .checked_sub(self.start)
            .is_some_and(|offset| offset < self.len)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end())
    }
}
