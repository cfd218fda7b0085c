//! Where the runtime's fields lie, found by evidence: the debug information of the
//! program itself says which family a map has and where each field is; without it,
//! the runtime's own type descriptors do.

mod assumption;
mod descriptor;
mod dwarf;
mod sizeclass;

pub use assumption::{ASSUMPTIONS, Assumption, Proof};
pub use descriptor::{compare, descriptor_layout};
pub use dwarf::map_layout;
pub use sizeclass::{Allocator, SIZE_CLASSES};

use crate::map::Family;
use crate::memory::Abi;

/// Slots of a bucket or group. `abi.MapBucketCount`, `abi.MapGroupSlots`: 8 in
/// every release.
pub const SLOTS: usize = 8;

/// A bucket or group larger than this contradicts the runtime: 8 slots of two
/// inline values of at most 128 bytes, and a word on either side.
pub const UNIT_MAX: u64 = 8 * (128 + 128) + 64;

/// A field of a runtime structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

impl Field {
    /// The field's value in the structure's bytes; `None` if they are too few.
    #[must_use]
    #[inline]
    pub fn of(self, abi: Abi, bytes: &[u8]) -> Option<u64> {
        abi.uint_at(bytes, self.offset, self.size)
    }
}

/// Where a layout is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The program's debug information.
    Dwarf,
    /// The runtime's type descriptors in the process, and tables of the releases'
    /// headers.
    RuntimeTypes,
    /// Given by hand: tests, images.
    Given,
}

impl Source {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dwarf => "dwarf",
            Self::RuntimeTypes => "runtime types",
            Self::Given => "given",
        }
    }
}

/// Where key `i` or elem `i` lies in its bucket or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first.
    pub offset: usize,
    /// Bytes from one to the next.
    pub stride: usize,
    /// Bytes of the value itself (of the pointed-to value if indirect).
    pub size: u64,
    /// The slot holds a pointer to the value.
    pub indirect: bool,
    /// The value holds pointers the collector follows.
    pub pointers: bool,
}

impl Part {
    /// The bytes the slot itself takes.
    #[must_use]
    pub fn slot_size(self, abi: Abi) -> usize {
        if self.indirect {
            usize::from(abi.pointer_size)
        } else {
            usize::try_from(self.size).unwrap_or(usize::MAX)
        }
    }
}

/// The layout of one map type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapLayout {
    /// Pointer width and byte order.
    pub abi: Abi,
    /// How it is known.
    pub source: Source,
    /// Bytes of a bucket or group.
    pub unit_size: usize,
    /// The keys.
    pub key: Part,
    /// The elems.
    pub elem: Part,
    /// Whether a bucket or group holds pointers the collector follows (the overflow
    /// pointer of a classic bucket does not count: the runtime keeps such
    /// buckets alive through `mapextra`).
    pub has_pointers: bool,
    /// What the allocator makes of a size: decides how many overflow buckets a
    /// classic array is made with.
    pub allocator: Allocator,
    /// The header and what hangs below it.
    pub header: Header,
}

/// The structures of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `runtime.hmap` and `runtime.bmap`.
    Classic(Hmap),
    /// `internal/runtime/maps.Map` and its table.
    Swiss(SwissMap),
}

/// `runtime.hmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct Hmap {
    pub size: usize,
    pub count: Field,
    pub flags: Field,
    pub b: Field,
    pub noverflow: Field,
    pub buckets: Field,
    pub oldbuckets: Field,
    pub extra: Field,
    /// The overflow pointer inside a bucket.
    pub overflow: Field,
    /// runtime.loadFactorNum, runtime.loadFactorDen: 13/2, but 12/2 in go1.21,
    /// where an integer division cut it short.
    pub load_factor: (u64, u64),
}

/// `internal/runtime/maps.Map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct SwissMap {
    pub size: usize,
    pub used: Field,
    pub dir_ptr: Field,
    pub dir_len: Field,
    pub global_depth: Field,
    pub writing: Field,
    /// The control word inside a group.
    pub ctrl: Field,
    pub table: Table,
    /// maps.maxTableCapacity: slots of the largest table.
    pub max_table_capacity: u64,
}

/// `internal/runtime/maps.table`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct Table {
    pub size: usize,
    pub used: Field,
    pub capacity: Field,
    pub growth_left: Field,
    pub local_depth: Field,
    pub index: Field,
    pub groups_data: Field,
    pub groups_length_mask: Field,
}

impl Hmap {
    /// The header of 64-bit Go up to 1.23 (48 bytes), for images.
    #[must_use]
    pub fn go1_23(bucket_size: usize) -> Self {
        Self {
            size: 48,
            count: Field { offset: 0, size: 8 },
            flags: Field { offset: 8, size: 1 },
            b: Field { offset: 9, size: 1 },
            noverflow: Field {
                offset: 10,
                size: 2,
            },
            buckets: Field {
                offset: 16,
                size: 8,
            },
            oldbuckets: Field {
                offset: 24,
                size: 8,
            },
            extra: Field {
                offset: 40,
                size: 8,
            },
            overflow: Field {
                offset: bucket_size.saturating_sub(8),
                size: 8,
            },
            load_factor: (13, 2),
        }
    }
}

impl Hmap {
    /// The header of 64-bit Go 1.24 and 1.25 with `noswissmap` (56 bytes): clearSeq
    /// stands before extra.
    #[must_use]
    pub fn go1_24(bucket_size: usize) -> Self {
        Self {
            size: 56,
            extra: Field {
                offset: 48,
                size: 8,
            },
            ..Self::go1_23(bucket_size)
        }
    }
}

impl SwissMap {
    /// The header of 64-bit Go 1.24 to 1.27, for images.
    #[must_use]
    pub fn go1_24() -> Self {
        Self {
            size: 48,
            used: Field { offset: 0, size: 8 },
            dir_ptr: Field {
                offset: 16,
                size: 8,
            },
            dir_len: Field {
                offset: 24,
                size: 8,
            },
            global_depth: Field {
                offset: 32,
                size: 1,
            },
            writing: Field {
                offset: 34,
                size: 1,
            },
            ctrl: Field { offset: 0, size: 8 },
            max_table_capacity: 1024,
            table: Table {
                size: 32,
                used: Field { offset: 0, size: 2 },
                capacity: Field { offset: 2, size: 2 },
                growth_left: Field { offset: 4, size: 2 },
                local_depth: Field { offset: 6, size: 1 },
                index: Field { offset: 8, size: 8 },
                groups_data: Field {
                    offset: 16,
                    size: 8,
                },
                groups_length_mask: Field {
                    offset: 24,
                    size: 8,
                },
            },
        }
    }
}

impl MapLayout {
    /// The family the header belongs to.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.header {
            Header::Classic(_) => Family::Classic,
            Header::Swiss(_) => Family::Swiss,
        }
    }

    /// Bytes of the header.
    #[must_use]
    pub fn header_size(&self) -> usize {
        match self.header {
            Header::Classic(hmap) => hmap.size,
            Header::Swiss(map) => map.size,
        }
    }

    /// Bytes a slot takes of its bucket or group, padding between slots included.
    #[must_use]
    pub fn slot_size(&self) -> u64 {
        let interleaved = self.key.stride == self.elem.stride
            && self.elem.offset.saturating_sub(self.key.offset) < self.key.stride;
        let parts = if interleaved {
            self.key.stride
        } else {
            self.key.stride + self.elem.stride
        };
        parts as u64
    }

    /// What the walkers rely on; an error names the field that breaks it.
    ///
    /// # Errors
    /// When a key, elem or link would lie outside its bucket or group.
    pub fn validate(&self) -> Result<(), String> {
        if self.unit_size as u64 > UNIT_MAX || self.unit_size < 8 {
            return Err(format!(
                "a bucket of {} bytes is impossible",
                self.unit_size
            ));
        }
        for (what, part) in [("key", self.key), ("elem", self.elem)] {
            let last = part
                .stride
                .checked_mul(SLOTS - 1)
                .and_then(|offset| offset.checked_add(part.offset))
                .and_then(|offset| offset.checked_add(part.slot_size(self.abi)));
            if last.is_none_or(|end| end > self.unit_size) {
                return Err(format!(
                    "the {what}s do not fit into a bucket of {} bytes",
                    self.unit_size
                ));
            }
        }
        let (link, fields): (Field, Vec<(Field, usize)>) = match self.header {
            Header::Classic(h) => (
                h.overflow,
                [
                    h.count,
                    h.flags,
                    h.b,
                    h.noverflow,
                    h.buckets,
                    h.oldbuckets,
                    h.extra,
                ]
                .map(|field| (field, h.size))
                .to_vec(),
            ),
            Header::Swiss(m) => {
                let t = m.table;
                let map = [m.used, m.dir_ptr, m.dir_len, m.global_depth, m.writing];
                let table = [
                    t.used,
                    t.capacity,
                    t.growth_left,
                    t.local_depth,
                    t.index,
                    t.groups_data,
                    t.groups_length_mask,
                ];
                let fields = map.map(|field| (field, m.size)).into_iter();
                (
                    m.ctrl,
                    fields.chain(table.map(|field| (field, t.size))).collect(),
                )
            }
        };
        let outside = |field: Field, size: usize| {
            field.size > 8 || field.offset.saturating_add(field.size) > size
        };
        if outside(link, self.unit_size) || fields.iter().any(|(f, size)| outside(*f, *size)) {
            return Err("a header field lies outside its structure".into());
        }
        if self.header_size() > 4096 {
            return Err(format!(
                "a map header of {} bytes is impossible",
                self.header_size()
            ));
        }
        Ok(())
    }
}
