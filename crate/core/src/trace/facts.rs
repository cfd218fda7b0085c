//! What a map's header and tables say at one moment.

use std::collections::HashSet;

use crate::layout::{Hmap, SwissMap, Table};
use crate::memory::{Abi, AddressHash, Memory, RangeReader, ReadError, Span};

/// Entries of a directory that are counted, in one read; tables of 1,024 slots for 117 million
/// entries have as many.
const TABLES_MAX: u64 = 1 << 17;

fn structure(memory: &dyn Memory, address: u64, size: usize) -> Result<Vec<u8>, ReadError> {
    // A header of more bytes was refused with its layout.
    let mut bytes = vec![0; size.min(4096)];
    memory.read(address, &mut bytes)?;
    Ok(bytes)
}

/// An `hmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classic {
    pub len: u64,
    pub b: u8,
    pub buckets: u64,
    pub old_buckets: u64,
}

impl Classic {
    pub(super) fn read(
        memory: &dyn Memory,
        abi: Abi,
        hmap: &Hmap,
        address: u64,
    ) -> Result<Self, ReadError> {
        let bytes = structure(memory, address, hmap.size)?;
        let field = |field: crate::layout::Field| {
            field
                .of(abi, &bytes)
                .ok_or_else(|| ReadError::fault(address, hmap.size))
        };
        Ok(Self {
            len: field(hmap.count)?,
            b: u8::try_from(field(hmap.b)?).unwrap_or(u8::MAX),
            buckets: field(hmap.buckets)?,
            old_buckets: field(hmap.oldbuckets)?,
        })
    }

    /// Slots of the main buckets; `None` for a header that cannot be one.
    pub(super) fn capacity(&self) -> Option<u64> {
        if self.buckets == 0 {
            return Some(0);
        }
        1_u64.checked_shl(self.b.into())?.checked_mul(8)
    }
}

/// A `maps.Map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swiss {
    pub len: u64,
    pub dir: u64,
    /// 0 for a small map, whose `dir` is its only group.
    pub dir_len: u64,
    pub depth: u8,
}

impl Swiss {
    pub(super) fn read(
        memory: &dyn Memory,
        abi: Abi,
        map: &SwissMap,
        address: u64,
    ) -> Result<Self, ReadError> {
        let bytes = structure(memory, address, map.size)?;
        let field = |field: crate::layout::Field| {
            field
                .of(abi, &bytes)
                .ok_or_else(|| ReadError::fault(address, map.size))
        };
        Ok(Self {
            len: field(map.used)?,
            dir: field(map.dir_ptr)?,
            dir_len: field(map.dir_len)?,
            depth: u8::try_from(field(map.global_depth)?).unwrap_or(u8::MAX),
        })
    }

    /// Slots of all its tables.
    pub(super) fn capacity(
        &self,
        memory: &dyn Memory,
        abi: Abi,
        table: &Table,
    ) -> Result<Option<u64>, ReadError> {
        if self.dir_len == 0 {
            return Ok(Some(if self.dir == 0 { 0 } else { 8 }));
        }
        if self.dir_len > TABLES_MAX || table.size == 0 {
            return Ok(None);
        }
        let word = u64::from(abi.pointer_size);
        let directory = Span {
            start: self.dir,
            len: self.dir_len * word,
        };
        let mut tables = Vec::new();
        let mut seen: HashSet<u64, AddressHash> = HashSet::default();
        let mut whole = true;
        RangeReader::default().read(memory, &[directory], &mut |chunk| {
            match chunk.bytes {
                Some(bytes) => {
                    for entry in bytes.chunks_exact(usize::from(abi.pointer_size)) {
                        let address = abi.uint(entry);
                        if seen.insert(address) {
                            tables.push(Span {
                                start: address,
                                len: table.size as u64,
                            });
                        }
                    }
                }
                None => whole = false,
            }
            Ok(())
        })?;
        tables.sort_unstable_by_key(|span| span.start);
        let mut slots = 0;
        RangeReader::default().read(memory, &tables, &mut |chunk| {
            match chunk.bytes.and_then(|bytes| table.capacity.of(abi, bytes)) {
                Some(capacity) => slots += capacity,
                None => whole = false,
            }
            Ok(())
        })?;
        Ok(whole.then_some(slots))
    }

    /// The table at an index of the directory.
    pub(super) fn table_at(
        &self,
        memory: &dyn Memory,
        abi: Abi,
        index: u64,
    ) -> Result<u64, ReadError> {
        let word = u64::from(abi.pointer_size);
        let at = index
            .checked_mul(word)
            .filter(|_| index < self.dir_len)
            .and_then(|offset| self.dir.checked_add(offset))
            .ok_or_else(|| ReadError::fault(self.dir, 8))?;
        abi.read_pointer(memory, at)
    }
}

/// A `maps.table`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableFacts {
    pub capacity: u64,
    pub index: u64,
    pub depth: u8,
    pub groups: u64,
    pub mask: u64,
}

impl TableFacts {
    pub(super) fn read(
        memory: &dyn Memory,
        abi: Abi,
        table: &Table,
        address: u64,
    ) -> Result<Self, ReadError> {
        let bytes = structure(memory, address, table.size)?;
        let field = |field: crate::layout::Field| {
            field
                .of(abi, &bytes)
                .ok_or_else(|| ReadError::fault(address, table.size))
        };
        Ok(Self {
            capacity: field(table.capacity)?,
            index: field(table.index)?,
            depth: u8::try_from(field(table.local_depth)?).unwrap_or(u8::MAX),
            groups: field(table.groups_data)?,
            mask: field(table.groups_length_mask)?,
        })
    }

    /// Bytes of its group array; `None` where the fields contradict each other.
    pub(super) fn size(&self, group: Option<u64>) -> Option<u64> {
        let groups = self.mask.checked_add(1)?;
        (groups.checked_mul(8)? == self.capacity).then_some(())?;
        groups.checked_mul(group?)
    }
}
