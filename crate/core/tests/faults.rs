//! The fault matrix: memory that contradicts the runtime, or cannot be read.
//!
//! Each test damages one thing and asserts the defect's code and address, that
//! the rest was still counted, and that the walk is not `exact`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::classic::{Chain, ClassicMap, EVACUATED, Place, Slot};
use common::swiss::{SwissMap, TableOf, small_slots};
use common::{
    ARRAY, BE32, BE64, BIG, BYTES, Built, DIRECTORY, EXTRA, GROUPS, HEADER, INTS, LE32, LE64,
    NOWHERE, OLD_ARRAY, OUTSIDE, TABLES, VALUES, assert_defect, codes,
};
use gomapscope_core::map::{CountOnly, Shape, Walk, walk};
use gomapscope_core::memory::{Abi, Memory, PAGE};

/// 128 buckets of 144 bytes: 18 KiB, 5 pages; 5 entries in each.
fn classic() -> Built {
    ClassicMap::new(LE64, INTS, 7)
        .entries(640, Place::Tail)
        .build()
}

/// 4 buckets with two overflow buckets each, outside the array, one entry in each.
fn chained() -> Built {
    let mut map = ClassicMap::new(LE64, INTS, 2);
    for bucket in 0..4 {
        map = map.slot(bucket, 0, Slot::Live(bucket as u64));
        for link in 1..3 {
            let mut slots = [Slot::Rest; 8];
            slots[0] = Slot::Live((10 * link + bucket) as u64);
            map = map.overflow(bucket, Place::Outside, slots);
        }
    }
    map.build()
}

/// Four tables of 128 slots with 50, 60, 70 and 80 entries; 8 directory entries.
fn tables() -> Built {
    tables_of(LE64)
}

fn tables_of(abi: Abi) -> Built {
    let tables = (0..4)
        .map(|number| TableOf::new(2, 128, 50 + 10 * number, 1000 * number as u64))
        .collect();
    SwissMap::tables(abi, INTS, tables).global_depth(3).build()
}

const TABLES_LEN: u64 = 260;

#[track_caller]
fn assert_unreadable(walked: &Walk, address: u64, live: u64) {
    assert_defect(walked, "unreadable", address);
    assert_eq!(walked.live(), live);
}

#[test]
fn the_maps_of_these_tests_are_sound() {
    assert_eq!(classic().check_exact().len, 640);
    assert_eq!(chained().check_exact().len, 12);
    assert_eq!(tables().check_exact().len, TABLES_LEN);
    assert_eq!(growing().check_exact().len, 23);
}

// ---- The header ----

#[test]
fn a_header_in_unmapped_memory_is_one_defect() {
    for mut built in [classic(), tables()] {
        built.address = NOWHERE;
        let walked = built.check();
        assert_defect(&walked, "header-unreadable", NOWHERE);
        assert_eq!(codes(&walked), ["header-unreadable"]);
        assert_eq!((walked.len, walked.live()), (0, 0));
        assert_eq!(walked.blocks, []);
    }
}

#[test]
fn a_header_that_is_readable_in_part_is_unreadable() {
    for built in [classic(), tables()] {
        let walked = built.unmap(HEADER + 40, 8).check();
        assert_defect(&walked, "header-unreadable", HEADER);
    }
}

#[test]
fn a_header_at_the_last_addresses_does_not_overflow() {
    for back in [1, 7, 8, 9, 47, 48, 4096] {
        for mut built in [classic(), tables()] {
            built.address = 0_u64.wrapping_sub(back);
            let walked = built.check();
            assert_defect(&walked, "header-unreadable", built.address);
        }
    }
}

#[test]
fn a_header_address_that_is_not_aligned_is_flagged() {
    for mut built in [classic(), tables()] {
        // What a wrong expression gives: some bytes before or behind the header.
        let mut around = vec![0; 64];
        around.extend(built.image.segment_mut(HEADER).unwrap().clone());
        around.extend([0; 64]);
        built.image.unmap(HEADER);
        built.image.map(HEADER - 64, around);
        for shift in [-5_i64, -1, 1, 3, 8, 16] {
            built.address = HEADER.wrapping_add_signed(shift);
            assert!(!built.check().exact(), "shifted by {shift}");
        }
    }
}

#[test]
fn a_header_in_other_data_is_flagged() {
    for mut built in [classic(), tables()] {
        for address in [ARRAY, ARRAY + 8, GROUPS, TABLES + 96, DIRECTORY] {
            built.address = address;
            assert!(!built.check().exact(), "at {address:#x}");
        }
    }
}

#[test]
fn an_invalid_layout_is_a_defect_and_nothing_is_read() {
    for mut built in [classic(), tables()] {
        for unit_size in [0, 7, 40, 1 << 20, usize::MAX] {
            built.layout.unit_size = unit_size;
            assert_defect(&built.check(), "layout", HEADER);
        }
        let mut built = built.clone();
        built.layout.unit_size = 144;
        built.layout.key.offset = usize::MAX;
        assert_defect(&built.check(), "layout", HEADER);
        assert_eq!(built.image.reads(), 0);
    }
}

// ---- Classic: header fields ----

#[test]
fn absurd_b_is_a_defect_and_no_bucket_is_read() {
    for b in [41, 63, 64, 200, 255] {
        let built = classic().corrupt_b(b);
        let walked = built.check();
        assert_defect(&walked, "absurd-B", built.field_address(|hmap| hmap.b));
        assert_eq!(codes(&walked), ["absurd-B", "count-mismatch"]);
        assert_eq!(walked.counts.units, 0);
        let before = built.image.reads();
        let _ = built.count();
        assert_eq!(built.image.reads() - before, 1);
    }
}

#[test]
fn b_of_39_on_a_small_image_ends_fast_and_keeps_what_is_there() {
    // 72 TiB of buckets claimed, of which 18 KiB are mapped.
    for b in [8, 20, 39] {
        let built = classic().corrupt_b(b);
        let before = built.image.reads();
        let walked = built.count();
        let reads = built.image.reads() - before;
        assert!(reads < 600, "{reads} reads for B = {b}");
        assert_defect(&walked, "unreadable", ARRAY + 4 * PAGE);
        // The last page is mapped in part: it is lost with the 15 buckets in it.
        assert_eq!(walked.live(), 5 * 113);
        let _ = built.check();
    }
}

#[test]
fn b_too_large_for_the_address_space_is_absurd() {
    // 2^40 buckets of 144 bytes pass 2^47.
    let built = classic().corrupt_b(40);
    assert_defect(&built.check(), "absurd-B", built.field_address(|h| h.b));
    let small_buckets = ClassicMap::new(LE64, BYTES, 3).build().corrupt_b(40);
    let walked = small_buckets.check();
    assert!(
        !codes(&walked).contains(&"absurd-B"),
        "{:?}",
        codes(&walked)
    );
    assert!(!walked.exact());
}

#[test]
fn b_too_small_is_told_by_the_count() {
    let walked = classic().corrupt_b(3).check();
    assert_defect(&walked, "count-mismatch", HEADER);
    assert_eq!(walked.live(), 40);
}

#[test]
fn a_wrong_count_is_a_defect_and_the_slots_are_still_counted() {
    for count in [0, 639, 641] {
        let walked = classic().corrupt_count(count).check();
        assert_defect(&walked, "count-mismatch", HEADER);
        assert_eq!((walked.len, walked.live()), (count, 640));
    }
}

#[test]
fn an_absurd_count_is_a_defect_of_its_own() {
    for count in [1 << 40, i64::MAX as u64, 1 << 63, u64::MAX] {
        let walked = classic().corrupt_count(count).check();
        assert_defect(&walked, "absurd-count", HEADER);
        assert_defect(&walked, "count-mismatch", HEADER);
        assert_eq!(walked.live(), 640);
        // With indirect keys and elems a rebuild of that many entries overflows.
        let built = ClassicMap::new(LE64, BIG, 2)
            .entries(20, Place::Tail)
            .build();
        assert_defect(&built.corrupt_count(count).check(), "absurd-count", HEADER);
    }
}

#[test]
fn flags_the_runtime_never_sets_are_a_defect() {
    for flags in [0x10, 0xf0, 0x80] {
        let built = classic().corrupt_flags(flags);
        let walked = built.check();
        assert_defect(&walked, "flags", built.field_address(|hmap| hmap.flags));
        assert_eq!(walked.live(), 640);
    }
}

#[test]
fn a_wrong_noverflow_is_a_defect_below_b_16() {
    let built = chained().noverflow(7);
    let walked = built.check();
    assert_defect(
        &walked,
        "noverflow-mismatch",
        built.field_address(|hmap| hmap.noverflow),
    );
    assert_eq!(walked.live(), 12);
}

#[test]
fn entries_without_a_bucket_array_are_a_defect() {
    let built = classic().buckets_at(0);
    let walked = built.check();
    assert_defect(
        &walked,
        "buckets-nil",
        built.field_address(|hmap| hmap.buckets),
    );
    assert_eq!(walked.live(), 0);
}

// ---- Classic: the array ----

#[test]
fn an_unreadable_page_of_the_bucket_array_costs_only_its_buckets() {
    let walked = classic().unmap_page(ARRAY + PAGE).check();
    // Bytes 4096 to 8191 touch buckets 28 to 56: 29 of them.
    assert_unreadable(&walked, ARRAY + PAGE, 5 * (128 - 29));
    assert_eq!(walked.counts.units, 99);
    assert_eq!(codes(&walked), ["count-mismatch", "unreadable"]);
}

#[test]
fn the_first_and_the_last_page_of_the_bucket_array_may_be_missing() {
    let walked = classic().unmap_page(ARRAY).check();
    assert_unreadable(&walked, ARRAY, 5 * (128 - 29));
    // Bucket 113 begins in page 3 and ends in page 4.
    let walked = classic().unmap_page(ARRAY + 4 * PAGE).check();
    assert_unreadable(&walked, ARRAY + 4 * PAGE, 5 * 113);
}

#[test]
fn every_other_page_of_the_bucket_array_may_be_missing() {
    let built = classic().unmap_page(ARRAY).unmap_page(ARRAY + 2 * PAGE);
    let walked = built.check();
    assert_defect(&walked, "unreadable", ARRAY);
    assert_defect(&walked, "unreadable", ARRAY + 2 * PAGE);
    assert!(walked.live() > 300 && walked.live() < 640);
}

#[test]
fn a_truncated_bucket_array_is_counted_up_to_the_cut() {
    // A core file that ends in the middle of a page.
    let walked = classic().unmap(ARRAY + PAGE + 100, 1 << 20).check();
    // Pages are the grain: the rest of the page is lost with it.
    assert_unreadable(&walked, ARRAY + PAGE, 5 * 28);
}

#[test]
fn a_bucket_array_in_unmapped_memory_is_a_defect() {
    let walked = classic().buckets_at(NOWHERE).check();
    assert_unreadable(&walked, NOWHERE, 0);
    assert_eq!(walked.counts.units, 0);
}

#[test]
fn a_bucket_array_beyond_the_address_space_does_not_overflow() {
    for back in [1, 15, 144, 4096, 128 * 144 - 1] {
        let array = 0_u64.wrapping_sub(back);
        let walked = classic().buckets_at(array).check();
        assert_defect(&walked, "absurd-array", array);
        assert_eq!(walked.live(), 0);
    }
    let array = 0_u64.wrapping_sub(128 * 144 + 1);
    assert_unreadable(&classic().buckets_at(array).check(), array, 0);
}

#[test]
fn a_bucket_array_that_wraps_on_a_32_bit_target_is_unreadable() {
    for abi in [LE32, BE32] {
        let built = ClassicMap::new(abi, INTS, 3)
            .entries(20, Place::Tail)
            .build();
        let walked = built.buckets_at(0xffff_fff0).check();
        assert_defect(&walked, "unreadable", 0xffff_fff0);
    }
}

#[test]
fn a_bucket_array_address_that_is_not_aligned_is_flagged() {
    for shift in [1, 4, 7] {
        assert!(!classic().buckets_at(ARRAY + shift).check().exact());
    }
}

#[test]
fn evacuated_states_outside_the_old_array_are_a_defect() {
    // A whole bucket.
    let built = classic();
    let at = built.chains[5][0];
    let walked = built.tophash(at, [2, 3, 4, 4, 4, 4, 4, 4]).check();
    assert_defect(&walked, "slot-state", at);
    assert_eq!(walked.live(), 635);
    assert_eq!(walked.counts.corrupt, 8);
    // One slot of a bucket that is not evacuated.
    let walked = classic().tophash(at, [9, 9, 3, 9, 9, 0, 0, 0]).check();
    assert_defect(&walked, "slot-state", at);
    assert_eq!(walked.live(), 639);
    assert_eq!(walked.counts.corrupt, 1);
}

// ---- Classic: chains ----

#[test]
fn a_bucket_linked_to_itself_is_a_cycle() {
    let built = chained();
    let main = built.chains[1][0];
    let walked = built.link(main, main).check();
    assert_defect(&walked, "chain-link", main);
    // Its own chain is lost, the other three are not.
    assert_eq!(walked.live(), 10);
    let built = chained();
    let link = built.chains[1][1];
    let walked = built.link(link, link).check();
    assert_defect(&walked, "chain-cycle", link);
    assert_eq!(walked.live(), 11);
}

#[test]
fn a_chain_that_comes_back_to_its_start_is_a_cycle() {
    let built = chained();
    let chain = built.chains[2].clone();
    let walked = built.link(chain[2], chain[1]).check();
    assert_defect(&walked, "chain-cycle", chain[1]);
    assert_eq!(walked.live(), 12);
    let walked = chained().link(chain[2], chain[0]).check();
    assert_defect(&walked, "chain-link", chain[0]);
    assert_eq!(walked.live(), 12);
}

#[test]
fn a_chain_into_another_main_bucket_is_a_defect_and_counts_it_once() {
    let built = chained();
    let (from, to) = (built.chains[0][2], built.chains[3][0]);
    let walked = built.link(from, to).check();
    assert_defect(&walked, "chain-link", to);
    assert_eq!(walked.live(), 12);
    // Nor is there a bucket between two buckets.
    let walked = chained().link(from, to + 8).check();
    assert_defect(&walked, "chain-link", to + 8);
    assert_eq!(walked.live(), 12);
}

#[test]
fn a_link_far_into_a_tail_that_is_only_claimed_allocates_nothing() {
    // B = 40 claims 2^36 preallocated overflow buckets.
    let far = ARRAY + ((1_u64 << 40) + (1 << 35)) * 32;
    let built = ClassicMap::new(LE64, BYTES, 9)
        .entries(512, Place::Tail)
        .build();
    let from = built.chains[2][0];
    let walked = built.corrupt_b(40).link(from, far).check();
    assert_defect(&walked, "overflow-unreadable", far);
    assert_eq!(walked.live(), 512);
}

#[test]
fn two_chains_that_share_a_bucket_count_it_once() {
    let built = chained();
    let (from, to) = (built.chains[0][2], built.chains[1][1]);
    let walked = built.link(from, to).check();
    // Chain 0 is walked first and takes the rest of chain 1 with it.
    assert_defect(&walked, "chain-cycle", to);
    assert_eq!(walked.live(), 12);
}

#[test]
fn a_chain_into_unmapped_memory_costs_the_rest_of_that_chain() {
    for target in [NOWHERE, 1, u64::MAX, u64::MAX - 143, 1 << 63] {
        let built = chained();
        let from = built.chains[2][1];
        let walked = built.link(from, target).check();
        assert_defect(&walked, "overflow-unreadable", target);
        assert_eq!(walked.live(), 11);
    }
}

#[test]
fn overflow_buckets_on_an_unreadable_page_cost_their_chains() {
    let walked = chained().unmap_page(OUTSIDE).check();
    assert_defect(&walked, "overflow-unreadable", OUTSIDE);
    assert_eq!(walked.live(), 4);
}

#[test]
fn a_chain_longer_than_any_map_makes_is_cut() {
    // Memory full of links, each to the next bucket: an array taken for a chain.
    let mut built = ClassicMap::new(LE64, BYTES, 0)
        .entries(1, Place::Tail)
        .build();
    let count = 5000_u64;
    let mut bytes = Vec::new();
    for number in 1..=count {
        let mut unit = [0; 32];
        unit[24..].copy_from_slice(&(OUTSIDE + number * 32).to_le_bytes());
        bytes.extend(unit);
    }
    built.image.map(OUTSIDE, bytes);
    let walked = built.link(ARRAY, OUTSIDE).check();
    assert!(codes(&walked).contains(&"chain-length"));
    assert!(walked.cut && !walked.exact());
    assert!(walked.counts.units < 1100, "{}", walked.counts.units);
}

// ---- Classic: growth ----

/// Eight buckets, four old ones: two of 10 entries, two evacuated; 3 entries moved.
fn growing() -> Built {
    let chains = (0..4)
        .map(|number| match number % 2 {
            0 => Chain {
                first: EVACUATED,
                overflow: Vec::new(),
            },
            _ => {
                let slots: Vec<_> = (0..10).map(|i| Slot::Live(100 * number + i)).collect();
                Chain::of(&slots, Place::Outside)
            }
        })
        .collect();
    ClassicMap::new(LE64, INTS, 3)
        .slot(0, 0, Slot::Live(1))
        .slot(2, 0, Slot::Live(2))
        .slot(4, 0, Slot::Live(3))
        .growing(false, chains)
        .build()
}

#[test]
fn an_old_array_beside_a_single_bucket_is_a_defect() {
    let built = ClassicMap::new(LE64, INTS, 0)
        .entries(5, Place::Tail)
        .build();
    for old in [OLD_ARRAY, 1, u64::MAX] {
        let built = built.clone().oldbuckets_at(old);
        let walked = built.check();
        assert_defect(
            &walked,
            "growth",
            built.field_address(|hmap| hmap.oldbuckets),
        );
        assert_eq!(walked.live(), 5);
    }
}

#[test]
fn an_unreadable_old_array_costs_only_the_old_entries() {
    let walked = growing().unmap_page(OLD_ARRAY).check();
    assert_unreadable(&walked, OLD_ARRAY, 3);
    let walked = growing().oldbuckets_at(NOWHERE).check();
    assert_unreadable(&walked, NOWHERE, 3);
}

#[test]
fn an_old_array_beyond_the_address_space_does_not_overflow() {
    for back in [1, 143, 4 * 144 - 1] {
        let old = 0_u64.wrapping_sub(back);
        let walked = growing().oldbuckets_at(old).check();
        assert_defect(&walked, "absurd-array", old);
        assert_eq!(walked.live(), 3);
    }
}

#[test]
fn a_chain_of_the_old_array_in_a_cycle_costs_only_its_rest() {
    let built = growing();
    let chain = built.old_chains[3].clone();
    let walked = built.link(chain[1], chain[1]).check();
    assert_defect(&walked, "chain-cycle", chain[1]);
    assert_eq!(walked.live(), 23);
}

#[test]
fn an_old_array_that_is_the_current_one_is_flagged() {
    assert!(!growing().oldbuckets_at(ARRAY).check().exact());
}

#[test]
fn a_bucket_that_is_evacuated_in_part_is_a_defect() {
    let built = growing();
    let at = built.old_chains[1][0];
    // By its first slot it is not evacuated.
    let walked = built.tophash(at, [9, 2, 9, 9, 9, 9, 9, 9]).check();
    assert_defect(&walked, "slot-state", at);
    assert_eq!(walked.live(), 22);
}

// ---- Classic: mapextra ----

#[test]
fn an_unreadable_mapextra_costs_no_entry() {
    for extra in [NOWHERE, 8, u64::MAX, u64::MAX - 23] {
        let walked = chained().extra_at(extra).check();
        assert_defect(&walked, "extra", extra);
        assert_eq!(walked.live(), 12);
    }
}

#[test]
fn an_unreadable_overflow_slice_costs_no_entry() {
    for slice in [NOWHERE, 8, u64::MAX] {
        let walked = chained().set_pointer(EXTRA, slice).check();
        assert_defect(&walked, "extra", slice);
        assert_eq!(walked.live(), 12);
    }
}

#[test]
fn an_absurd_overflow_slice_costs_no_entry() {
    let slice = EXTRA + 0x0010_0000;
    for (len, capacity) in [
        (9, 8),
        (u64::MAX, u64::MAX),
        (8, 1 << 60),
        (1 << 41, 1 << 41),
    ] {
        let built = chained()
            .set_pointer(slice + 8, len)
            .set_pointer(slice + 16, capacity);
        let walked = built.check();
        assert_defect(&walked, "extra", slice);
        assert_eq!(walked.live(), 12);
    }
}

#[test]
fn overflow_buckets_that_mapextra_does_not_list_are_a_defect() {
    let slice = EXTRA + 0x0010_0000;
    let walked = chained().set_pointer(slice + 8, 7).check();
    assert_defect(&walked, "overflow-mismatch", slice);
    assert_eq!(walked.live(), 12);
}

#[test]
fn overflow_slice_data_beyond_the_address_space_does_not_overflow() {
    let slice = EXTRA + 0x0010_0000;
    let walked = chained().set_pointer(slice, u64::MAX - 3).check();
    // The list itself is not read: its size counts, its contents do not.
    assert_eq!(walked.live(), 12);
}

// ---- Swiss: header and directory ----

#[test]
fn entries_without_a_directory_are_a_defect() {
    for built in [
        tables(),
        SwissMap::small(LE64, INTS, small_slots(4)).build(),
    ] {
        let walked = built.dir_ptr(0).check();
        assert_defect(&walked, "directory-nil", HEADER + 16);
        assert_eq!(walked.live(), 0);
    }
}

#[test]
fn an_absurd_directory_length_costs_no_entry_while_the_depth_is_right() {
    for len in [4, 9, 1 << 27, 1 << 60, 1 << 63, u64::MAX] {
        let built = tables().dir_len(len);
        let before = built.image.reads();
        let walked = built.count();
        assert!(built.image.reads() - before < 50);
        let at = built.swiss_field_address(|map| map.dir_len);
        assert_defect(&walked, "directory-length", at);
        if len >= 8 {
            assert_eq!(walked.live(), TABLES_LEN);
        } else {
            assert_eq!(walked.live(), 50 + 60);
        }
        let _ = built.check();
    }
}

#[test]
fn an_absurd_directory_that_agrees_with_its_depth_is_not_read() {
    for depth in [28, 60, 63] {
        let built = tables().dir_len(1 << depth).corrupt_depth(depth);
        let walked = built.check();
        assert_defect(&walked, "absurd-directory", HEADER + 24);
        assert_eq!(walked.live(), 0);
        let before = built.image.reads();
        let _ = built.count();
        assert_eq!(built.image.reads() - before, 1);
    }
}

#[test]
fn a_directory_of_a_gigabyte_on_a_small_image_ends_fast() {
    let built = tables().dir_len(1 << 27).corrupt_depth(27);
    let before = built.image.reads();
    let walked = built.count();
    let reads = built.image.reads() - before;
    assert!(reads < 1500, "{reads} reads");
    assert_defect(&walked, "directory-unreadable", DIRECTORY);
    let _ = built.check();
}

#[test]
fn a_directory_whose_entries_lead_nowhere_is_left() {
    const ENTRIES: u64 = 1 << 17;
    const STRAY: u64 = 0x7000_0000_0000;
    let mut built = tables().dir_len(ENTRIES).corrupt_depth(17);
    let stray = (0..ENTRIES).flat_map(|index| (STRAY + 65_536 * index).to_le_bytes());
    built.image.map(NOWHERE, stray.collect());
    let built = built.dir_ptr(NOWHERE);
    let before = built.image.reads();
    let walked = built.check();
    let reads = built.image.reads() - before;
    assert!(reads < 10 * 2 * (ENTRIES / 8), "{reads} reads");
    assert_defect(&walked, "table-unreadable", STRAY);
    assert!(!walked.exact() && walked.live() == 0);
    assert!(walked.defects.total() < ENTRIES / 4);

    // Tables that can be read keep the others from being left.
    let mut entries = [0; 4 * 8];
    tables().image.read(DIRECTORY, &mut entries).unwrap();
    let mut built = tables().dir_len(ENTRIES).corrupt_depth(17);
    let stray = (4..ENTRIES).flat_map(|index| (STRAY + 65_536 * index).to_le_bytes());
    built
        .image
        .map(NOWHERE, entries.into_iter().chain(stray).collect());
    let walked = built.dir_ptr(NOWHERE).count();
    assert!(walked.live() > 0 && !walked.exact());
}

#[test]
fn absurd_depths_cost_no_entry_while_the_length_is_right() {
    for depth in [0, 2, 4, 64, 200, 255] {
        let built = tables().corrupt_depth(depth);
        let walked = built.check();
        assert_defect(&walked, "directory-length", HEADER + 24);
        if depth > 2 {
            assert_eq!(walked.live(), TABLES_LEN, "depth {depth}");
        }
    }
}

#[test]
fn a_directory_in_unmapped_memory_is_a_defect() {
    let walked = tables().dir_ptr(NOWHERE).check();
    assert_defect(&walked, "directory-unreadable", NOWHERE);
    assert_eq!(walked.live(), 0);
}

#[test]
fn a_directory_beyond_the_address_space_does_not_overflow() {
    for back in [1, 7, 8, 63] {
        let directory = 0_u64.wrapping_sub(back);
        let built = tables().dir_ptr(directory);
        let before = built.image.reads();
        let walked = built.count();
        assert!(built.image.reads() - before < 20);
        assert!(!walked.exact() && walked.live() == 0);
        let _ = built.check();
    }
    // As large as a directory may be: it wraps in the middle.
    let built = tables().dir_len(1 << 20).corrupt_depth(20);
    let built = built.dir_ptr(0_u64.wrapping_sub(4096));
    let before = built.image.reads();
    assert!(!built.check().exact());
    assert!(built.image.reads() - before < 2000);
}

#[test]
fn an_unreadable_page_of_the_directory_costs_only_its_tables() {
    // 1024 entries: two pages. The first table has the first 512, the others 256.
    let tables = [1, 2, 2].map(|depth| TableOf::new(depth, 64, 20, 1000 * u64::from(depth)));
    let built = SwissMap::tables(LE64, INTS, tables.to_vec())
        .global_depth(10)
        .build();
    let walked = built.clone().unmap_page(DIRECTORY + PAGE).check();
    assert_defect(&walked, "directory-unreadable", DIRECTORY + PAGE);
    assert_eq!(walked.live(), 20);
    let walked = built.unmap_page(DIRECTORY).check();
    assert_defect(&walked, "directory-unreadable", DIRECTORY);
    assert_eq!(walked.live(), 40);
}

#[test]
fn a_nil_directory_entry_costs_no_entry_while_the_table_has_another() {
    let built = tables().nil_entry(3);
    let walked = built.check();
    assert_defect(&walked, "directory-entry-nil", built.entry_address(3));
    assert_eq!(walked.live(), TABLES_LEN);
    let built = tables().nil_entry(2).nil_entry(3);
    let walked = built.check();
    assert_defect(&walked, "directory-entry-nil", built.entry_address(2));
    assert_defect(&walked, "directory-entry-nil", built.entry_address(3));
    assert_eq!(walked.live(), TABLES_LEN - 60);
}

#[test]
fn a_directory_entry_of_another_run_is_an_alias_and_counts_its_table_once() {
    let built = tables().alias(5, 0);
    let walked = built.check();
    assert_defect(&walked, "directory-alias", built.entry_address(5));
    assert_eq!(walked.live(), TABLES_LEN);
    // The whole run of table 2 points to table 0: table 2 is lost, table 0 is
    // counted once, and no other table is blamed.
    let built = tables().alias(4, 0).alias(5, 0);
    let walked = built.check();
    assert_defect(&walked, "directory-alias", built.entry_address(4));
    assert_eq!(walked.live(), TABLES_LEN - 70);
    assert_eq!(codes(&walked), ["count-mismatch", "directory-alias"]);
}

#[test]
fn a_foreign_directory_entry_costs_no_entry_while_the_table_has_another() {
    for foreign in [GROUPS, HEADER, DIRECTORY] {
        let walked = tables().entry(3, foreign).check();
        assert_defect(&walked, "table-capacity", foreign);
        assert_eq!(walked.live(), TABLES_LEN);
    }
}

#[test]
fn a_directory_entry_into_unmapped_memory_costs_no_entry_while_the_table_has_another() {
    for target in [NOWHERE, 1, u64::MAX, u64::MAX - 30, 1 << 63] {
        let walked = tables().entry(3, target).check();
        assert_defect(&walked, "table-unreadable", target);
        assert_eq!(walked.live(), TABLES_LEN);
    }
}

#[test]
fn a_table_at_the_end_of_the_address_space_is_not_made_of_other_bytes() {
    // The table is mapped up to the last address but would go on beyond it: what
    // the read buffer still holds of other tables must not be taken for it.
    let last = 0_u64.wrapping_sub(16);
    let mut built = tables().entry(7, last);
    built.image.map(last, vec![0; 16]);
    let walked = built.check();
    assert_defect(&walked, "table-unreadable", last);
    assert_eq!(walked.live(), TABLES_LEN);
}

// ---- Swiss: tables ----

#[test]
fn an_unreadable_page_of_tables_costs_those_tables() {
    let walked = tables().unmap_page(TABLES).check();
    assert_defect(&walked, "table-unreadable", tables().tables[0].0);
    assert_eq!(walked.live(), 0);
    let built = tables();
    let lost = built.tables[2].0;
    let walked = built.unmap(lost, 32).check();
    assert_defect(&walked, "table-unreadable", lost);
    assert_eq!(walked.live(), TABLES_LEN - 70);
}

#[test]
fn an_absurd_capacity_costs_only_its_table() {
    for capacity in [0, 1, 4, 8, 100, 127, 129, 256, 2048, 0xffff] {
        let built = tables().table(1, |table| table.capacity, capacity);
        let walked = built.check();
        assert_defect(&walked, "table-capacity", built.tables[1].0);
        assert_eq!(walked.live(), TABLES_LEN - 60);
    }
}

#[test]
fn an_absurd_length_mask_costs_only_its_table() {
    for mask in [0, 1, 14, 16, 31, 1 << 60, u64::MAX - 1, u64::MAX] {
        let built = tables().table(1, |table| table.groups_length_mask, mask);
        let walked = built.check();
        assert_defect(&walked, "table-capacity", built.tables[1].0);
        assert_eq!(walked.live(), TABLES_LEN - 60);
    }
}

#[test]
fn a_table_without_groups_costs_only_its_entries() {
    let built = tables().table(1, |table| table.groups_data, 0);
    let walked = built.check();
    assert_defect(&walked, "groups-nil", built.tables[1].0);
    assert_eq!(walked.live(), TABLES_LEN - 60);
}

#[test]
fn groups_beyond_the_address_space_do_not_overflow() {
    for back in [1, 8, 135, 136, 16 * 136 - 1] {
        let data = 0_u64.wrapping_sub(back);
        let built = tables().table(1, |table| table.groups_data, data);
        let before = built.image.reads();
        let walked = built.count();
        assert!(built.image.reads() - before < 30);
        assert!(!walked.exact());
        assert_eq!(walked.live(), TABLES_LEN - 60);
        let _ = built.check();
    }
}

#[test]
fn a_table_that_was_replaced_is_a_defect() {
    let built = tables().table(1, |table| table.index, u64::MAX);
    let walked = built.check();
    assert_defect(&walked, "table-index", built.tables[1].0);
    assert_eq!(walked.defects.kept()[0].found, "index -1");
    assert_eq!(walked.live(), TABLES_LEN);
    for abi in [LE32, BE32, BE64] {
        let built = tables_of(abi).table(1, |table| table.index, u64::MAX);
        assert_eq!(built.check().defects.kept()[0].found, "index -1");
    }
}

#[test]
fn a_local_depth_that_contradicts_the_directory_is_a_defect() {
    for depth in [0, 1, 3, 4, 200, 255] {
        let built = tables().table(1, |table| table.local_depth, depth);
        let walked = built.check();
        assert_defect(&walked, "directory-run", built.tables[1].0);
        assert_eq!(walked.live(), TABLES_LEN);
    }
}

#[test]
fn a_wrong_used_or_growth_left_of_a_table_is_a_defect() {
    for used in [0, 59, 61, 0xffff] {
        let built = tables().table(1, |table| table.used, used);
        let walked = built.check();
        assert_defect(&walked, "table-used", built.tables[1].0);
        assert_eq!(walked.live(), TABLES_LEN);
    }
    for left in [0, 51, 53, 0xffff] {
        let built = tables().table(1, |table| table.growth_left, left);
        let walked = built.check();
        assert_defect(&walked, "table-growth-left", built.tables[1].0);
        assert_eq!(walked.live(), TABLES_LEN);
    }
}

#[test]
fn a_wrong_count_of_a_swiss_map_is_a_defect_and_the_slots_are_still_counted() {
    for used in [0, 259, 261, 1 << 40, 1 << 63, u64::MAX] {
        let walked = tables().used(used).check();
        assert_defect(&walked, "count-mismatch", HEADER);
        assert_eq!((walked.len, walked.live()), (used, TABLES_LEN));
        let built = SwissMap::small(LE64, BIG, small_slots(3)).build();
        assert_defect(&built.used(used).check(), "count-mismatch", HEADER);
    }
}

#[test]
fn an_absurd_directory_length_with_tables_about_to_split_does_not_overflow() {
    // What the next growth would allocate is computed from the header's length.
    let full = vec![TableOf::new(0, 1024, 896, 0)];
    for len in [1 << 60, u64::MAX] {
        let built = SwissMap::tables(LE64, INTS, full.clone()).build();
        let walked = built.dir_len(len).check();
        assert_defect(&walked, "directory-length", HEADER + 24);
        assert_eq!(walked.live(), 896);
    }
}

// ---- Swiss: groups ----

#[test]
fn an_unreadable_page_of_groups_costs_only_its_groups() {
    // 4 tables of 16 groups of 136 bytes, 2240 bytes apart: 3 pages.
    let built = tables().unmap_page(GROUPS + PAGE);
    let walked = built.check();
    assert_defect(&walked, "unreadable", GROUPS + PAGE);
    let page = GROUPS + PAGE..GROUPS + 2 * PAGE;
    let (mut live, mut kept) = (0, 0);
    for group in &built.truth.visits {
        if group.address >= page.end || group.address + 136 <= page.start {
            live += group.marks.matches('L').count() as u64;
            kept += 1;
        }
    }
    assert!(live > 80 && live < TABLES_LEN);
    assert_unreadable(&walked, page.start, live);
    assert_eq!(walked.counts.units, kept);
    let walked = tables().unmap(GROUPS, 1 << 20).check();
    assert_unreadable(&walked, GROUPS, 0);
    assert_eq!(walked.counts.units, 0);
}

#[test]
fn garbage_control_bytes_are_a_defect_and_the_other_slots_count() {
    for abi in [LE64, BE64, LE32, BE32] {
        let built = tables_of(abi);
        let group = built.tables[1].1;
        let walked = built.ctrl(group, [0x81, 1, 0xff, 2, 3, 4, 0xfd, 5]).check();
        assert_defect(&walked, "ctrl", group);
        assert_eq!(walked.counts.corrupt, 3);
        assert_eq!(walked.live(), TABLES_LEN - 3);
        assert!(codes(&walked).contains(&"table-used"));
    }
}

#[test]
fn an_unreadable_group_of_a_small_map_is_a_defect() {
    let built = SwissMap::small(LE64, INTS, small_slots(4)).build();
    for group in [NOWHERE, 8, u64::MAX, u64::MAX - 135] {
        let walked = built.clone().dir_ptr(group).check();
        assert_defect(&walked, "group-unreadable", group);
        assert_eq!(walked.live(), 0);
    }
}

#[test]
fn a_depth_in_a_small_map_is_a_defect() {
    let walked = SwissMap::small(LE64, INTS, small_slots(4))
        .build()
        .corrupt_depth(3)
        .check();
    assert_defect(&walked, "global-depth", HEADER + 32);
    assert_eq!(walked.live(), 4);
}

#[test]
fn garbage_control_bytes_of_a_small_map_are_a_defect() {
    let built = SwissMap::small(LE64, INTS, small_slots(4)).build();
    let walked = built.ctrl(GROUPS, [0x90; 8]).check();
    assert_defect(&walked, "ctrl", GROUPS);
    assert_eq!((walked.live(), walked.counts.corrupt), (0, 8));
}

#[test]
fn a_tombstone_in_a_small_map_is_a_defect() {
    // DeleteSmall always writes empty: a group that never probes needs none.
    let built = SwissMap::small(LE64, INTS, small_slots(4)).build();
    let walked = built
        .ctrl(GROUPS, [0, 1, 2, 3, 0xfe, 0x80, 0x80, 0x80])
        .check();
    assert_defect(&walked, "small-tombstone", GROUPS);
    assert_eq!((walked.live(), walked.counts.tombstones), (4, 1));
}

// ---- Both ----

#[test]
fn unreadable_values_behind_slots_cost_no_slot() {
    let classic = ClassicMap::new(LE64, BIG, 2)
        .entries(20, Place::Tail)
        .build();
    let swiss = SwissMap::tables(LE64, BIG, vec![TableOf::new(0, 64, 20, 0)]).build();
    for built in [classic, swiss] {
        let built = built.unmap(VALUES, 1000);
        assert!(built.check().exact());
        let (_, seen) = built.collect(true);
        assert_eq!(seen.entries.len(), 20);
        assert!(seen.entries.iter().any(Option::is_none));
        assert!(seen.entries.iter().any(Option::is_some));
    }
}

#[test]
fn more_defects_than_are_kept_are_counted() {
    let mut built = classic();
    for chain in built.chains.clone() {
        built = built.tophash(chain[0], [3, 9, 9, 9, 9, 0, 0, 0]);
    }
    let walked = built.check();
    assert_eq!(walked.defects.kept().len(), 64);
    assert_eq!(walked.defects.total(), 128 + 1);
}

#[test]
fn a_map_of_the_other_family_is_flagged_not_misread() {
    // A wrong layout for the memory: what a mixed-up type would do.
    let classic = classic();
    let tables = tables();
    for (image, layout) in [
        (&classic.image, &tables.layout),
        (&tables.image, &classic.layout),
    ] {
        let walked = common::check(image, layout, HEADER);
        assert!(!walked.exact());
        assert_eq!(walk(image, layout, HEADER, &mut CountOnly), walked);
    }
}

#[test]
fn a_walk_with_defects_keeps_the_shape_it_could_read() {
    let walked = tables().nil_entry(0).nil_entry(1).check();
    match walked.shape {
        Shape::Swiss(facts) => {
            assert_eq!((facts.dir_len, facts.global_depth), (8, 3));
            assert_eq!(facts.tables.len(), 3);
        }
        Shape::Classic(_) => panic!("a Swiss map"),
    }
}
