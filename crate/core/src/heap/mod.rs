//! Go's heap: which span holds an address, and how large the allocator's slot there is
//! (runtime/mheap.go, runtime/mbitmap.go).
//!
//! Offsets come from the debug information of the executable, else from the declarations of
//! its release ([`crate::binary::Record`]).

mod callers;
mod current;
mod goroutine;
mod locate;
mod owned;
mod persistent;
mod profile;
mod span;
mod standing;

pub use callers::{
    CALLERS_MAX, Callers, Symbol, Symbols, WalkEnd, Way, callers, callers_by_frame_pointers,
    callers_by_frame_sizes,
};
pub use current::{
    GoroutineOrigin, GoroutineReader, GoroutineState, LABEL_TEXT_MAX, LABELS_MAX, Label, Labels,
    StackRegisters,
};
pub use goroutine::{
    Goroutine, StackFrame, ThreadRegisters, dwarf_register, functions, goroutines, stack_frames,
    stack_walk,
};
pub use locate::{Located, mheap_by_code, mheap_by_name};
pub use owned::{Allocated, allocated};
pub(crate) use persistent::persistent;
pub use profile::{AllocationSites, SpecialRoots, special_roots};
pub use span::{HeapSpan, Pages, Slot, State};
pub use standing::Standing;

use std::rc::Rc;

use crate::binary::Record;
use crate::gotype::Types;
use crate::map::Defects;
use crate::memory::{Abi, Memory, RangeReader, ReadError, Span};

/// A heap page (runtime.pageSize).
pub const HEAP_PAGE: u64 = 8192;

/// runtime.heapArenaBytes of 64-bit Linux. Tables of pages here are of that much, too.
pub(crate) const ARENA: u64 = 64 << 20;

/// runtime.heapArenaBytes of 32-bit Linux.
const ARENA_32: u64 = 4 << 20;

/// Bytes of a span of stacks: a stack may grow to 1 GB (runtime/proc.go, main).
const STACKS_MAX: u64 = 1 << 31;

/// runtime.heapAddrBits of 64-bit Linux; there, as on 32-bit systems, the table of arenas has
/// one level (runtime.arenaL1Bits = 0).
const ADDRESS_BITS: u32 = 48;

/// Spans that are looked at. 64 Mi of them would take 10 GB of descriptions.
const SPANS_MAX: u64 = 1 << 26;

/// runtime.minSizeForMallocHeader: a word for the pointer bits of as many words as it has
/// bits.
pub(crate) fn header_above(abi: Abi) -> u64 {
    let pointer = u64::from(abi.pointer_size);
    pointer * 8 * pointer
}

/// That the target is a 64-bit little-endian machine, for `what` is known of no other.
///
/// # Errors
/// When it is another one.
pub(crate) fn only_le64(abi: Abi, what: &'static str) -> Result<(), HeapError> {
    let of = match (abi.pointer_size, abi.big_endian) {
        (8, false) => return Ok(()),
        (8, true) => "of a big-endian one",
        _ => "of a 32-bit one",
    };
    Err(HeapError::Machine { what, of })
}

/// Why the heap could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapError {
    /// A structure of the runtime is not known or contradicts itself.
    #[error("cannot read Go's heap: {0}")]
    Unknown(String),
    /// Single maps can be read on such a machine, but not what is asked for.
    #[error("{what} is only known on 64-bit little-endian machines, and this program is {of}")]
    Machine {
        /// What is asked for.
        what: &'static str,
        /// `of a 32-bit one`, `of a big-endian one`.
        of: &'static str,
    },
    /// Memory is unreadable, or the user asked to stop.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Go's heap in one process, while it stands still.
pub struct Heap {
    memory: Rc<dyn Memory>,
    abi: Abi,
    address: u64,
    located: Located,
    mheap: Rc<Record>,
    mspan: Rc<Record>,
    arena: Rc<Record>,
    /// Bytes of an mspan that are read.
    mspan_len: usize,
    arena_base: u64,
    /// runtime.heapArenaBytes.
    arena_bytes: u64,
    /// The table of arenas.
    arenas: u64,
    malloc_headers: bool,
}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap")
            .field("address", &self.address)
            .field("located", &self.located)
            .finish_non_exhaustive()
    }
}

const MSPAN_FIELDS: &[&str] = &[
    "startAddr",
    "npages",
    "freeindex",
    "nelems",
    "allocBits",
    "gcmarkBits",
    "sweepgen",
    "spanclass",
    "state",
    "elemsize",
    "specials",
    "largeType",
];

impl Heap {
    /// Finds the heap of the process whose types are `types`. Its structures are read
    /// through `memory`, best one with a cache.
    ///
    /// # Errors
    /// When the runtime's structures are not known, or what stands there is no heap.
    pub fn open(types: &Types, memory: Rc<dyn Memory>) -> Result<Self, HeapError> {
        let binary = types.binary();
        let abi = binary.abi();
        let unknown = |what: &str| HeapError::Unknown(what.to_owned());
        if abi != Abi::LE64 && binary.dwarf().is_none() {
            return Err(unknown(Record::UNDECLARED));
        }
        let record = |name: &str| {
            binary
                .record(name)
                .ok_or_else(|| HeapError::Unknown(format!("runtime.{name} is not known")))
        };
        let (mheap, mspan, arena) = (record("mheap")?, record("mspan")?, record("heapArena")?);
        for field in MSPAN_FIELDS.iter().filter(|name| **name != "largeType") {
            if mspan.field(field).is_none() {
                return Err(HeapError::Unknown(format!("mspan has no field {field}")));
            }
        }
        let constant = |name: &str| {
            let value = binary.dwarf()?.constant(name)?;
            Some(value as u64)
        };
        let arena_base =
            constant("runtime.arenaBaseOffsetUintptr").unwrap_or(match binary.arch() {
                Some("amd64") => 0xffff_8000_0000_0000,
                _ => 0,
            });
        let arena_bytes = match abi.pointer_size {
            8 => ARENA,
            _ => ARENA_32,
        };
        if constant("runtime.heapArenaBytes").is_some_and(|bytes| bytes != arena_bytes) {
            return Err(HeapError::Unknown(format!(
                "its arenas are not of {} MiB",
                arena_bytes >> 20
            )));
        }
        // The code is looked at last: that reads the table of all functions.
        let candidates: [(&dyn Fn() -> Option<u64>, Located); 2] = [
            (&|| mheap_by_name(types), Located::Name),
            (&|| mheap_by_code(types, &*memory), Located::Code),
        ];
        let mut heap = Self {
            abi,
            address: 0,
            located: Located::Name,
            mspan_len: mspan.span_of(MSPAN_FIELDS) as usize,
            // Headers came with a span's field for the type of large objects.
            malloc_headers: mspan.field("largeType").is_some(),
            mheap,
            mspan,
            arena,
            arena_base,
            arena_bytes,
            arenas: 0,
            memory: Rc::clone(&memory),
        };
        if heap.mspan_len > 4096 {
            return Err(unknown("mspan is too large"));
        }
        let mut reason = unknown("runtime.mheap_ was not found");
        for (find, located) in candidates {
            let Some(address) = find() else {
                continue;
            };
            heap.address = address;
            heap.located = located;
            match heap.refresh() {
                Ok(()) => return Ok(heap),
                Err(error @ HeapError::Read(ReadError::Interrupted)) => return Err(error),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Reads again what is kept of the heap: the process ran. Where the heap is does not
    /// change while it lives.
    ///
    /// # Errors
    /// When what stands there is no heap any more.
    pub fn refresh(&mut self) -> Result<(), HeapError> {
        self.all_spans_slice()?;
        let field = self
            .mheap
            .field("arenas")
            .ok_or_else(|| HeapError::Unknown("mheap has no field arenas".to_owned()))?;
        let at = self.address.wrapping_add(field.offset);
        self.arenas = self.abi.read_pointer(&*self.memory, at)?;
        Ok(())
    }

    /// The address of `runtime.mheap_` in the process.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How it was found.
    #[must_use]
    pub fn located(&self) -> Located {
        self.located
    }

    /// Objects with pointers above so many bytes carry a header with their type, since
    /// go1.22 (runtime.minSizeForMallocHeader); no object does where it is `u64::MAX`.
    fn header_above(&self) -> u64 {
        if self.malloc_headers {
            header_above(self.abi)
        } else {
            u64::MAX
        }
    }

    /// Bytes that the allocator puts before each object of a span: 8 or 0.
    #[inline]
    #[must_use]
    pub fn header_of(&self, span: &HeapSpan) -> u64 {
        span.header(self.header_above())
    }

    /// The slot of a span that holds `address`; `None` where none does.
    #[must_use]
    pub fn slot_in(&self, span: &HeapSpan, address: u64) -> Option<Slot> {
        span.slot(address, self.header_above())
    }

    /// Whether large objects with pointers carry their type (since go1.22).
    #[must_use]
    pub fn malloc_headers(&self) -> bool {
        self.malloc_headers
    }

    /// Address and length of `mheap_.allspans`, if they can be what they should.
    fn all_spans_slice(&self) -> Result<(u64, u64), HeapError> {
        let unknown = |what: String| HeapError::Unknown(what);
        let field = self
            .mheap
            .field("allspans")
            .ok_or_else(|| unknown("mheap has no field allspans".into()))?;
        let size = usize::from(self.abi.pointer_size);
        let mut words = [0; 24];
        let words = words.get_mut(..3 * size).unwrap_or_default();
        self.memory
            .read(self.address.wrapping_add(field.offset), words)?;
        let word = |index: usize| self.abi.pointer_at(words, size * index).unwrap_or(0);
        let (start, len, capacity) = (word(0), word(1), word(2));
        if start == 0
            || !start.is_multiple_of(size as u64)
            || len == 0
            || len > capacity
            || len > SPANS_MAX
        {
            return Err(unknown(format!(
                "what stands at {:#x} is no heap (spans: {len} of {capacity} at {start:#x})",
                self.address
            )));
        }
        Ok((start, len))
    }

    /// The span that holds `address`; `None` where there is no span in use.
    ///
    /// # Errors
    /// When the runtime's own structures are unreadable.
    pub fn span_of(&self, address: u64) -> Result<Option<HeapSpan>, ReadError> {
        let Some(arena) = self.arena_of(address)? else {
            return Ok(None);
        };
        let Some(spans) = self.arena.field("spans") else {
            return Ok(None);
        };
        let page = address % self.arena_bytes / HEAP_PAGE;
        let at = arena
            .wrapping_add(spans.offset)
            .wrapping_add(u64::from(self.abi.pointer_size) * page);
        let span = self.abi.read_pointer(&*self.memory, at)?;
        if span == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; self.mspan_len];
        self.memory.read(span, &mut bytes)?;
        Ok(self
            .decode_span(&bytes)
            .filter(|span| span.contains(address) && span.state != State::Dead))
    }

    /// The description of the arena that holds `address`.
    fn arena_of(&self, address: u64) -> Result<Option<u64>, ReadError> {
        let word = u64::from(self.abi.pointer_size);
        let bits = if word == 8 { ADDRESS_BITS } else { 32 };
        let index = address.wrapping_sub(self.arena_base) / self.arena_bytes;
        if index >= (1 << bits) / self.arena_bytes || self.arenas == 0 {
            return Ok(None);
        }
        // The table is reserved, not filled, but what was never touched reads as 0: where
        // it cannot be read, nobody knows whether the address is in the heap.
        let at = self.arenas.wrapping_add(word * index);
        let arena = self.abi.read_pointer(&*self.memory, at)?;
        Ok((arena != 0).then_some(arena))
    }

    fn decode_span(&self, bytes: &[u8]) -> Option<HeapSpan> {
        let value = |name: &str| self.mspan.value(self.abi, bytes, name);
        let state = match value("state")? {
            0 => State::Dead,
            1 => State::InUse,
            2 => State::Manual,
            _ => return None,
        };
        let (base, pages, size) = (value("startAddr")?, value("npages")?, value("elemsize")?);
        let len = pages.checked_mul(HEAP_PAGE)?;
        let fits = base.is_multiple_of(HEAP_PAGE) && len > 0 && base.checked_add(len).is_some();
        if state == State::Dead || !fits || len > 1 << 47 {
            return (state == State::Dead).then(|| HeapSpan {
                state,
                ..HeapSpan::default()
            });
        }
        let class = value("spanclass")? as u8;
        let count = u32::try_from(value("nelems")?).ok()?;
        if state == State::InUse {
            // A slot is of at least 8 bytes, and they all lie inside.
            let total = u64::from(count).checked_mul(size)?;
            if size == 0 || count == 0 || total > len {
                return None;
            }
            // Behind the last one is room for less than another and for bits: a page, or a
            // 64th of an arena of the user's (mheap.go, arena.go).
            if len - total > size.saturating_add(HEAP_PAGE.max(len / 32)) {
                return None;
            }
        } else if len > STACKS_MAX {
            return None;
        }
        Some(HeapSpan {
            base,
            pages: u32::try_from(pages).ok()?,
            slot_size: size,
            slots: count,
            free_index: u32::try_from(value("freeindex")?).unwrap_or(u32::MAX),
            alloc_bits: value("allocBits")?,
            mark_bits: value("gcmarkBits")?,
            large_type: value("largeType").unwrap_or(0),
            specials: value("specials")?,
            sweep_generation: value("sweepgen")? as u32,
            class,
            state,
        })
    }

    /// All spans that are in use or hold stacks, by address; what cannot be one is a
    /// defect.
    ///
    /// # Errors
    /// When the list itself is unreadable.
    pub fn spans(&self, memory: &dyn Memory) -> Result<(Vec<HeapSpan>, Defects), HeapError> {
        let (start, len) = self.all_spans_slice()?;
        let mut addresses = Vec::new();
        let word = usize::from(self.abi.pointer_size);
        let mut buffer = vec![0; (len * word as u64).min(1 << 20) as usize];
        let mut done = 0;
        while done < len {
            let take = (len - done).min(1 << 17);
            let part = buffer.get_mut(..take as usize * word).unwrap_or_default();
            memory.read(start.wrapping_add(word as u64 * done), part)?;
            addresses.extend(
                part.chunks_exact(word)
                    .map(|word| self.abi.uint(word))
                    .filter(|address| *address != 0),
            );
            done += take;
        }
        addresses.sort_unstable();
        addresses.dedup();
        let ranges: Vec<Span> = addresses
            .iter()
            .map(|address| Span {
                start: *address,
                len: self.mspan_len as u64,
            })
            .collect();
        let mut spans = Vec::new();
        let mut defects = Defects::default();
        RangeReader::default().read(memory, &ranges, &mut |chunk| {
            let address = addresses.get(chunk.index).copied().unwrap_or(0);
            match chunk.bytes.map(|bytes| self.decode_span(bytes)) {
                Some(Some(span)) if span.state != State::Dead => spans.push(span),
                Some(Some(_)) => {}
                Some(None) => defects.push(
                    "span-impossible",
                    address,
                    "a span of the heap",
                    "fields that contradict each other",
                    "its objects",
                ),
                None => defects.push(
                    "span-unreadable",
                    address,
                    "a readable span",
                    "unreadable memory",
                    "its objects",
                ),
            }
            Ok(())
        })?;
        spans.sort_unstable_by_key(|span| span.base);
        let bases: Vec<u64> = spans.iter().map(|span| span.base).collect();
        let mut end = 0;
        let mut position = 0;
        spans.retain(|span| {
            position += 1;
            // One that covers two more is too long; of two, the first is believed.
            let covers = bases.get(position + 1).is_some_and(|it| *it < span.end());
            let apart = span.base >= end && !covers;
            if apart {
                end = span.end();
            } else {
                defects.push(
                    "span-overlap",
                    span.base,
                    "spans that do not overlap",
                    "two at one address",
                    "the second one's objects",
                );
            }
            apart
        });
        Ok((spans, defects))
    }

    /// The allocator's slot that holds `address`; `None` outside the heap and behind the
    /// last slot of a span. A goroutine's stack is one slot.
    ///
    /// # Errors
    /// When the runtime's own structures are unreadable.
    pub fn slot_of(&self, address: u64) -> Result<Option<Slot>, ReadError> {
        Ok(self
            .span_of(address)?
            .and_then(|span| self.slot_in(&span, address)))
    }

    /// Whether the slot is allocated: below the span's free index, or marked in its
    /// allocation bits (mspan.isFree).
    ///
    /// # Errors
    /// When the allocation bits are unreadable.
    pub fn is_allocated(&self, span: &HeapSpan, index: u32) -> Result<bool, ReadError> {
        if index < span.free_index {
            return Ok(true);
        }
        let mut byte = [0];
        let at = span.alloc_bits.wrapping_add(u64::from(index / 8));
        self.memory.read(at, &mut byte)?;
        Ok(byte
            .first()
            .is_some_and(|bits| bits >> (index % 8) & 1 != 0))
    }

    /// The type of the object in a slot, as the allocator noted it: in the 8 bytes before
    /// it, or in the span of a large object. For an array it is the type of one elem.
    ///
    /// # Errors
    /// When the slot is unreadable.
    pub fn type_of(&self, span: &HeapSpan, slot: &Slot) -> Result<Option<u64>, ReadError> {
        if !self.malloc_headers || slot.noscan || slot.is_stack {
            return Ok(None);
        }
        let address = if span.is_large() {
            span.large_type
        } else if slot.header > 0 {
            self.abi.read_pointer(&*self.memory, slot.base)?
        } else {
            0
        };
        Ok((address != 0).then_some(address))
    }

    /// That a search of all maps can be made: of 64-bit little-endian programs.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn searchable(&self) -> Result<(), HeapError> {
        only_le64(self.abi, "how to search the heap")
    }

    /// What the heap is read through.
    pub(crate) fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    pub(crate) fn abi(&self) -> Abi {
        self.abi
    }

    /// Where the bitmap of the pointers in the arena that begins at `start` stands, up to
    /// go1.21: a bit for each word since go1.20.
    pub(crate) fn bitmap_address(&self, start: u64) -> Result<Option<u64>, ReadError> {
        let Some(field) = self.arena.field("bitmap") else {
            return Ok(None);
        };
        let arena = self.arena_of(start)?;
        Ok(arena.map(|arena| arena.wrapping_add(field.offset)))
    }

    /// Which pages of the arena that holds `address` have the mark bits of the Green Tea
    /// collector inside, a bit for each (heapArena.pageUseSpanInlineMarkBits, since
    /// go1.25); `None` where there is no such thing.
    pub(crate) fn inline_marks(
        &self,
        memory: &dyn Memory,
        address: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(field) = self.arena.field("pageUseSpanInlineMarkBits") else {
            return Ok(None);
        };
        let Some(arena) = self.arena_of(address)? else {
            return Ok(None);
        };
        let mut bits = vec![0; (ARENA / HEAP_PAGE / 8) as usize];
        let start = arena.wrapping_add(field.offset);
        match memory.read(start, &mut bits) {
            Ok(()) => Ok(Some(bits)),
            Err(ReadError::Fault { .. }) => {
                // Bitmaps are looked for in the wrong place then, and pointers by those.
                memory.lost(Span {
                    start,
                    len: bits.len() as u64,
                });
                Ok(None)
            }
            Err(interrupted) => Err(interrupted),
        }
    }
}
