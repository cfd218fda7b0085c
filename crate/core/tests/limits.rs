//! What a walk may cost: reads in proportion to the bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::classic::{ClassicMap, Place, Slot};
use common::swiss::{SwissMap, TableOf};
use common::{BYTES, Built, LE64};
use gomapscope_core::map::{CountOnly, Flow, Unit, Visitor, walk};

/// Reads of a walk in order and of one that only counts.
fn reads(built: &Built) -> [u64; 2] {
    struct InOrder;
    impl Visitor for InOrder {
        fn unit(&mut self, _: &Unit<'_>) -> Flow {
            Flow::Continue
        }
    }
    let of = |visitor: &mut dyn Visitor| {
        let before = built.image.reads();
        let walked = walk(&built.image, &built.layout, built.address, visitor);
        assert!(walked.exact());
        assert_eq!(walked.counts, built.truth.counts);
        built.image.reads() - before
    };
    [of(&mut InOrder), of(&mut CountOnly)]
}

#[test]
fn a_million_buckets_are_read_a_mebibyte_at_a_time() {
    let mut map = ClassicMap::new(LE64, BYTES, 20);
    for bucket in (0..1 << 20).step_by(997) {
        map = map.slot(bucket, 3, Slot::Live(bucket as u64));
    }
    let built = map.build();
    // 32 MiB, the header and mapextra.
    for reads in reads(&built) {
        assert!((32..=32 + 8).contains(&reads), "{reads} reads");
    }
}

#[test]
fn overflow_buckets_of_the_tail_are_read_together() {
    // 4096 of 4096 preallocated buckets are on chains, all over a map of 2^16.
    let mut map = ClassicMap::new(LE64, BYTES, 16);
    for link in 0..4096 {
        map = map.overflow((link * 7919) % (1 << 16), Place::Tail, [Slot::Live(1); 8]);
    }
    let built = map.build();
    for reads in reads(&built) {
        // 2 MiB of array, 128 KiB of tail, the header, mapextra and its list.
        assert!(reads <= 16, "{reads} reads");
    }
}

#[test]
fn overflow_buckets_outside_the_array_are_read_by_runs_of_pages() {
    let mut map = ClassicMap::new(LE64, BYTES, 12);
    for link in 0..20_000 {
        map = map.overflow(link % 4096, Place::Outside, [Slot::Live(1); 8]);
    }
    let built = map.build();
    // 20,000 times 80 bytes: 391 pages.
    for reads in reads(&built) {
        assert!(reads <= 391 + 20, "{reads} reads");
    }
}

#[test]
fn overflow_buckets_far_apart_are_read_in_the_order_of_their_addresses() {
    // More than are kept at once, and more than one read holds.
    let mut map = ClassicMap::new(LE64, BYTES, 17);
    for link in 0..100_000 {
        map = map.overflow(
            (link * 7919) % (1 << 17),
            Place::Outside,
            [Slot::Live(1); 8],
        );
    }
    let built = map.build();
    let [_, counting] = reads(&built);
    // 4 MiB of array, and 100,000 times 80 bytes, or 8 MiB; and each 4096th by itself.
    assert!(counting <= 4 + 8 + 24 + 8, "{counting} reads");
}

#[test]
fn small_tables_are_read_many_at_a_time() {
    let tables = (0..1024)
        .map(|number| TableOf::new(10, 64, 40, number * 100))
        .collect();
    let built = SwissMap::tables(LE64, BYTES, tables).build();
    let [in_order, counting] = reads(&built);
    // In order each table is read by itself; for counting 1024 tables of 192 bytes are
    // one read, their headers and the directory one each.
    assert!(in_order <= 1024 + 8, "{in_order} reads");
    assert!(counting <= 8, "{counting} reads");
}

#[test]
fn an_old_array_costs_as_many_reads_as_its_bytes() {
    let old = vec![common::classic::Chain::default(); 1 << 17];
    let built = ClassicMap::new(LE64, BYTES, 17).growing(true, old).build();
    for reads in reads(&built) {
        assert!((8..=8 + 8).contains(&reads), "{reads} reads");
    }
}
