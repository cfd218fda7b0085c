//! Memory use of a walk. The only test of its process: it looks at the peak of
//! the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::cell::Cell;

use common::classic::ClassicMap;
use common::swiss::{self, SwissMap};
use common::{ARRAY, BYTES, DIRECTORY, GROUPS, HEADER, INTS, LE64, TABLES, put_field};
use gomapscope_core::layout::{Header, MapLayout};
use gomapscope_core::map::{CountOnly, walk};
use gomapscope_core::memory::{Memory, READ_MAX, ReadError};

/// A map of 2^b empty buckets that exist nowhere: zeros are made when asked for.
struct Endless {
    header: Vec<u8>,
    reads: Cell<u64>,
    largest: Cell<usize>,
}

impl Endless {
    fn new(layout: &MapLayout, b: u64) -> Self {
        let Header::Classic(hmap) = layout.header else {
            panic!("a classic map");
        };
        let mut header = vec![0; hmap.size];
        put_field(layout.abi, &mut header, hmap.b, b);
        put_field(layout.abi, &mut header, hmap.buckets, ARRAY);
        Self {
            header,
            reads: Cell::new(0),
            largest: Cell::new(0),
        }
    }
}

impl Memory for Endless {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.reads.set(self.reads.get() + 1);
        self.largest.set(self.largest.get().max(buffer.len()));
        if address == HEADER {
            buffer.copy_from_slice(&self.header);
        } else {
            buffer.fill(0);
        }
        Ok(())
    }
}

/// An empty Swiss map of 2^depth tables, likewise. Each has two groups, in an
/// allocator's slot that is a little larger, and all of these lie side by side.
struct EndlessSwiss {
    layout: MapLayout,
    depth: u32,
    place: Vec<u8>,
    /// Reads of groups.
    reads: Cell<u64>,
    largest: Cell<usize>,
}

impl EndlessSwiss {
    const CAPACITY: usize = 16;
    const PLACE: u64 = 288;

    fn new(depth: u32) -> Self {
        let layout = SwissMap::never_used(LE64, INTS).layout();
        let mut place = vec![0; Self::PLACE as usize];
        for group in 0..2 {
            place[group * layout.unit_size..][..8].fill(0x80);
        }
        Self {
            layout,
            depth,
            place,
            reads: Cell::new(0),
            largest: Cell::new(0),
        }
    }

    fn tables(&self) -> u64 {
        1 << self.depth
    }

    /// The bytes that are read of a list of records.
    fn records(buffer: &mut [u8], offset: u64, record: u64, write: impl Fn(u64, &mut [u8])) {
        let (mut number, mut skip) = (offset / record, (offset % record) as usize);
        let mut rest = buffer;
        let mut whole = vec![0; record as usize];
        while !rest.is_empty() {
            whole.fill(0);
            write(number, &mut whole);
            let (part, behind) = rest.split_at_mut(rest.len().min(whole.len() - skip));
            part.copy_from_slice(&whole[skip..skip + part.len()]);
            (number, skip, rest) = (number + 1, 0, behind);
        }
    }
}

impl Memory for EndlessSwiss {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.largest.set(self.largest.get().max(buffer.len()));
        let Header::Swiss(map) = self.layout.header else {
            panic!("a Swiss map");
        };
        let put = |bytes: &mut [u8], field, value| put_field(LE64, bytes, field, value);
        buffer.fill(0);
        if address == HEADER {
            put(buffer, map.dir_ptr, DIRECTORY);
            put(buffer, map.dir_len, self.tables());
            put(buffer, map.global_depth, u64::from(self.depth));
        } else if address >= GROUPS {
            self.reads.set(self.reads.get() + 1);
            Self::records(buffer, address - GROUPS, Self::PLACE, |_, bytes| {
                bytes.copy_from_slice(&self.place[..bytes.len()]);
            });
        } else if address >= TABLES {
            let size = map.table.size as u64;
            Self::records(buffer, address - TABLES, size, |number, bytes| {
                let table = map.table;
                let load = swiss::max_load(Self::CAPACITY) as u64;
                put(bytes, table.capacity, Self::CAPACITY as u64);
                put(bytes, table.growth_left, load);
                put(bytes, table.local_depth, u64::from(self.depth));
                put(bytes, table.index, number);
                put(bytes, table.groups_data, GROUPS + number * Self::PLACE);
                put(bytes, table.groups_length_mask, 1);
            });
        } else {
            let size = map.table.size as u64;
            Self::records(buffer, address - DIRECTORY, 8, |number, bytes| {
                bytes.copy_from_slice(&(TABLES + number * size).to_le_bytes());
            });
        }
        Ok(())
    }
}

/// The largest resident size of this process so far, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn memory_does_not_grow_with_the_map() {
    let layout = ClassicMap::new(LE64, BYTES, 0).layout();
    let walked = |b: u64| {
        let memory = Endless::new(&layout, b);
        let walked = walk(&memory, &layout, HEADER, &mut CountOnly);
        assert!(walked.exact());
        assert_eq!(walked.counts.units, 1 << b);
        assert!(memory.largest.get() <= READ_MAX);
        let mebibytes = (32 << b) >> 20;
        assert!(memory.reads.get() <= mebibytes + 8);
    };
    // A first walk touches what any walk needs; 256 MiB then need no more.
    walked(15);
    let before = peak();
    walked(23);
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 4 << 20, "{} bytes", after - before);
    }

    // What is known of a table has to be kept until all are known, and the figures
    // name some; of 130,000, which is what 100 million entries take, it must fit.
    let walked = |depth| {
        let memory = EndlessSwiss::new(depth);
        let walked = walk(&memory, &memory.layout, HEADER, &mut CountOnly);
        assert!(walked.exact(), "{:?}", walked.defects.kept());
        assert_eq!(walked.counts.units, 2 * memory.tables());
        assert!(memory.largest.get() <= READ_MAX);
        // The gaps between the arrays are read with them.
        let mebibytes = (memory.tables() * EndlessSwiss::PLACE) >> 20;
        let reads = memory.reads.get();
        assert!(reads <= mebibytes + 2, "{reads} for {mebibytes} MiB");
    };
    walked(10);
    let before = peak();
    walked(17);
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 64 << 20, "{} bytes", after - before);
    }
}
