//! Memory use of a walk. The only test of its process: it looks at the peak of
//! the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::cell::Cell;

use common::classic::ClassicMap;
use common::{ARRAY, BYTES, HEADER, LE64, put_field};
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
}
