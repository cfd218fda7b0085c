//! Every state a sound map can be in: counts, blocks, order and entries are exact.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::classic::{Chain, ClassicMap, EVACUATED, Place, Slot};
use common::swiss::{Ctrl, SwissMap, TableOf, small_slots};
use common::{
    ABIS, ARRAY, BIG, BIG_ELEM, BYTES, Built, DIRECTORY, EXTRA, GROUPS, HEADER, INTS, LE64,
    NOTHING, NOWHERE, OLD_ARRAY, OUTSIDE, SET, SPLIT, SPLIT_BIG, SPLIT_SET, STRING_INT, TABLES,
    TYPES, Types, block, dyn_memory,
};
use gomapscope_core::layout::Allocator;
use gomapscope_core::map::{BlockKind, ClassicFacts, Counts, Shape, SwissFacts, Walk, walk};
use gomapscope_core::memory::{Image, Span};

fn classic(walked: &Walk) -> &ClassicFacts {
    match &walked.shape {
        Shape::Classic(facts) => facts,
        Shape::Swiss(_) => panic!("a classic map"),
    }
}

fn swiss(walked: &Walk) -> &SwissFacts {
    match &walked.shape {
        Shape::Swiss(facts) => facts,
        Shape::Classic(_) => panic!("a Swiss map"),
    }
}

/// Live, tombstones, empty, units, units empty, units full.
fn counted(walked: &Walk) -> (u64, u64, u64, u64, u64, u64) {
    let Counts {
        live,
        tombstones,
        empty,
        units,
        units_empty,
        units_full,
        ..
    } = walked.counts;
    (live, tombstones, empty, units, units_empty, units_full)
}

fn in_every_abi_and_type(make: impl Fn(gomapscope_core::memory::Abi, Types) -> Built) {
    for abi in ABIS {
        for types in TYPES {
            make(abi, types).check_exact();
        }
    }
}

#[test]
fn a_nil_map_has_no_storage_and_is_exact() {
    let classic = ClassicMap::never_used(LE64, INTS).layout();
    let swiss = SwissMap::never_used(LE64, INTS).layout();
    for layout in [classic, swiss] {
        let image = Image::new();
        let walked = common::check(&image, &layout, 0);
        assert!(walked.exact());
        assert_eq!((walked.len, walked.live()), (0, 0));
        assert_eq!(walked.blocks, []);
        assert_eq!(walked.counts, Counts::default());
        assert_eq!(image.reads(), 0);
    }
}

#[test]
fn a_map_never_used_is_its_header_only() {
    let built = ClassicMap::never_used(LE64, INTS).build();
    let walked = built.check_exact();
    assert_eq!(walked.blocks, [block(BlockKind::Header, HEADER, 48)]);
    let built = SwissMap::never_used(LE64, INTS).build();
    let walked = built.check_exact();
    assert_eq!(walked.blocks, [block(BlockKind::Header, HEADER, 48)]);
    in_every_abi_and_type(|abi, types| ClassicMap::never_used(abi, types).build());
    in_every_abi_and_type(|abi, types| SwissMap::never_used(abi, types).build());
}

// Bucket and group sizes that were measured in real processes.
#[test]
fn the_layouts_of_the_images_have_the_sizes_of_the_runtime() {
    let unit = |types| ClassicMap::new(LE64, types, 0).layout().unit_size;
    assert_eq!(unit(STRING_INT), 208);
    assert_eq!(unit(INTS), 144);
    assert_eq!(unit(BYTES), 32);
    assert_eq!(unit(SET), 80);
    assert_eq!(unit(BIG), 144);
    assert_eq!(unit(NOTHING), 16);
    let unit = |types| SwissMap::never_used(LE64, types).layout().unit_size;
    assert_eq!(unit(STRING_INT), 200);
    assert_eq!(unit(INTS), 136);
    assert_eq!(unit(BYTES), 24);
    assert_eq!(unit(SET), 136);
    assert_eq!(unit(BIG), 136);
    assert_eq!(unit(NOTHING), 16);
    assert_eq!(unit(SPLIT), 136);
    assert_eq!(unit(SPLIT_SET), 80);
    assert_eq!(unit(SPLIT_BIG), 80);
    for abi in ABIS {
        for types in TYPES {
            let classic = ClassicMap::new(abi, types, 0).layout();
            let swiss = SwissMap::never_used(abi, types).layout();
            assert_eq!(classic.validate(), Ok(()), "{abi:?} {types:?}");
            assert_eq!(swiss.validate(), Ok(()), "{abi:?} {types:?}");
        }
    }
}

#[test]
fn a_classic_map_of_one_bucket_is_counted() {
    let built = ClassicMap::new(LE64, INTS, 0)
        .slot(0, 0, Slot::Live(5))
        .slot(0, 1, Slot::One)
        .slot(0, 2, Slot::Live(6))
        .build();
    let walked = built.check_exact();
    assert_eq!(counted(&walked), (2, 1, 5, 1, 0, 0));
    assert_eq!(built.truth.visits[0].marks, "LTLEEEEE");
    assert_eq!(classic(&walked).chain_lengths, [1]);
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 0)
            .entries(3, Place::Tail)
            .build()
    });
}

#[test]
fn a_classic_map_of_eight_entries_fills_its_bucket() {
    let walked = ClassicMap::new(LE64, STRING_INT, 0)
        .entries(8, Place::Tail)
        .build()
        .check_exact();
    assert_eq!(counted(&walked), (8, 0, 0, 1, 0, 1));
}

#[test]
fn a_classic_map_with_the_longer_header_of_go1_24_is_counted() {
    let built = ClassicMap::new(LE64, INTS, 5)
        .noswissmap()
        .entries(200, Place::Outside)
        .build();
    let walked = built.check_exact();
    assert_eq!(walked.blocks[0], block(BlockKind::Header, HEADER, 56));
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 4)
            .noswissmap()
            .entries(90, Place::Tail)
            .build()
    });
}

#[test]
fn preallocated_overflow_buckets_belong_to_the_array_but_are_not_slots() {
    // map[string]int64 with B = 8: 275 buckets, 19 of them preallocated, as
    // measured in a real process. The last one links back to the array: not a cycle.
    let built = ClassicMap::new(LE64, STRING_INT, 8)
        .entries(1000, Place::Tail)
        .overflow(3, Place::Tail, [Slot::Live(7777); 8])
        .overflow(9, Place::Tail, [Slot::Rest; 8])
        .build();
    let walked = built.check_exact();
    let array = block(BlockKind::Buckets, ARRAY, 275 * 208);
    assert_eq!(walked.blocks[1], array);
    let extra = block(BlockKind::Extra, EXTRA, 24);
    assert_eq!(walked.blocks[2..], [extra]);
    assert_eq!(walked.counts.slots, 8 * 258);
    assert_eq!(counted(&walked).0, 1008);
    let facts = classic(&walked);
    assert_eq!((facts.overflow, facts.overflow_outside), (2, 0));
    assert_eq!(facts.chain_lengths, [254, 2]);
    assert_eq!(facts.noverflow, 2);
}

#[test]
fn chains_outside_the_array_are_blocks_of_their_own() {
    let bucket = |first| std::array::from_fn(|index| Slot::Live(first + index as u64));
    let built = ClassicMap::new(LE64, INTS, 1)
        .slot(1, 0, Slot::One)
        .overflow(0, Place::Outside, bucket(10))
        .overflow(0, Place::Outside, bucket(20))
        .overflow(0, Place::Outside, [Slot::One; 8])
        .overflow(1, Place::Tail, bucket(30))
        .build();
    let walked = built.check_exact();
    // B = 1 has no preallocated buckets: the tail is outside too.
    let facts = classic(&walked);
    assert_eq!((facts.overflow, facts.overflow_outside), (4, 4));
    assert_eq!(facts.chain_lengths, [0, 1, 0, 1]);
    assert_eq!(counted(&walked), (24, 9, 15, 6, 3, 3));
    let overflow: Vec<_> = walked
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Overflow)
        .map(|block| block.span)
        .collect();
    let span = |start| Span { start, len: 144 };
    assert_eq!(
        overflow,
        [0, 1, 2, 3].map(|index| span(OUTSIDE + index * (144 + 48)))
    );
    // Keys and elems without pointers: mapextra keeps the overflow buckets alive.
    let extra = walked
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Extra);
    assert_eq!(extra.map(|block| block.span.len).sum::<u64>(), 24 + 24 + 32);
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 2)
            .entries(100, Place::Outside)
            .build()
    });
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 4)
            .entries(400, Place::Tail)
            .build()
    });
}

#[test]
fn chains_that_change_between_tail_and_outside_are_followed() {
    let one = |key| [Slot::Live(key); 8];
    let built = ClassicMap::new(LE64, STRING_INT, 5)
        .overflow(7, Place::Tail, one(1))
        .overflow(7, Place::Outside, one(2))
        .overflow(7, Place::Tail, one(3))
        .overflow(31, Place::Outside, one(4))
        .build();
    let walked = built.check_exact();
    assert_eq!(classic(&walked).overflow_outside, 2);
    assert_eq!(classic(&walked).chain_lengths, [30, 1, 0, 1]);
    let depths: Vec<_> = built.truth.visits[7..11].iter().map(|v| v.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3]);
}

#[test]
fn a_classic_map_that_was_cleared_keeps_its_array_empty() {
    let walked = ClassicMap::new(LE64, INTS, 7).build().check_exact();
    assert_eq!(counted(&walked), (0, 0, 1024, 128, 128, 0));
    let walked = ClassicMap::new(LE64, INTS, 2)
        .chain(1, Chain::of(&[Slot::One; 20], Place::Outside))
        .build()
        .check_exact();
    assert_eq!(counted(&walked), (0, 20, 28, 6, 6, 0));
}

/// Of the old buckets the even ones have moved.
fn half_moved(buckets: usize, per_bucket: usize) -> Vec<Chain> {
    (0..buckets)
        .map(|number| {
            if number % 2 == 0 {
                return Chain {
                    first: EVACUATED,
                    overflow: Vec::new(),
                };
            }
            let slots: Vec<_> = (0..per_bucket)
                .map(|index| Slot::Live((1000 * number + index) as u64))
                .collect();
            Chain::of(&slots, Place::Outside)
        })
        .collect()
}

#[test]
fn a_doubling_half_done_counts_each_entry_once() {
    let built = ClassicMap::new(LE64, INTS, 3)
        .slot(0, 0, Slot::Live(1))
        .slot(4, 0, Slot::Live(2))
        .slot(4, 1, Slot::Live(3))
        .growing(false, half_moved(4, 10))
        .build();
    let walked = built.check_exact();
    assert_eq!(walked.len, 23);
    assert_eq!(counted(&walked), (3, 0, 61, 8, 6, 0));
    let facts = classic(&walked);
    assert_eq!(facts.old_buckets, 4);
    assert_eq!(facts.evacuated, 2);
    assert!(!facts.same_size);
    assert_eq!(
        (facts.old.live, facts.old.units, facts.old.slots),
        (20, 4, 32)
    );
    // Those of the old array are not the current array's.
    assert_eq!((facts.overflow, facts.noverflow), (0, 0));
    assert_eq!(facts.chain_lengths, [8]);
    let old = block(BlockKind::OldBuckets, OLD_ARRAY, 4 * 144);
    assert!(walked.blocks.contains(&old));
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 5)
            .slot(0, 0, Slot::Live(1))
            .growing(false, half_moved(16, 20))
            .build()
    });
}

#[test]
fn a_same_size_growth_half_done_has_as_many_old_buckets_as_new_ones() {
    let built = ClassicMap::new(LE64, STRING_INT, 2)
        .slot(2, 0, Slot::Live(1))
        .growing(true, half_moved(4, 9))
        .build();
    let walked = built.check_exact();
    assert_eq!(walked.len, 19);
    let facts = classic(&walked);
    assert_eq!((facts.old_buckets, facts.evacuated), (4, 2));
    assert!(facts.same_size);
    in_every_abi_and_type(|abi, types| {
        ClassicMap::new(abi, types, 4)
            .growing(true, half_moved(16, 20))
            .build()
    });
}

#[test]
fn a_same_size_growth_of_a_single_bucket_is_no_defect() {
    let walked = ClassicMap::new(LE64, INTS, 0)
        .growing(true, half_moved(1, 0))
        .build()
        .check_exact();
    assert_eq!(classic(&walked).evacuated, 1);
}

#[test]
fn chains_of_evacuated_buckets_are_not_followed() {
    let mut chains = half_moved(4, 12);
    // The runtime leaves the link of an evacuated bucket when an iterator may
    // still need it.
    chains[0].overflow.push((Place::Outside, EVACUATED));
    let built = ClassicMap::new(LE64, INTS, 3)
        .growing(false, chains)
        .build();
    let walked = built.check();
    assert_eq!(walked.defects.kept(), []);
    assert_eq!(walked.len, 24);
    assert!(walked.exact());
}

#[test]
fn the_flag_of_same_size_growth_means_nothing_after_growth() {
    let walked = ClassicMap::new(LE64, INTS, 3)
        .entries(20, Place::Tail)
        .flags(8)
        .build()
        .check_exact();
    assert!(!classic(&walked).same_size);
}

#[test]
fn a_write_in_progress_is_told_and_harmless_while_the_counts_agree() {
    let built = ClassicMap::new(LE64, INTS, 3)
        .entries(20, Place::Tail)
        .flags(4)
        .build();
    assert!(built.check_exact().writing);
    let walked = built.corrupt_count(21).check();
    assert!(walked.writing && !walked.exact());
    let defect = &walked.defects.kept()[0];
    assert_eq!(defect.code, "count-mismatch");
    assert!(defect.found.contains("write was in progress"), "{defect:?}");

    let built = SwissMap::small(LE64, INTS, small_slots(3))
        .writing()
        .build();
    assert!(built.check_exact().writing);
    let walked = built.used(4).check();
    assert!(walked.writing && !walked.exact());
    assert!(
        walked.defects.kept()[0]
            .found
            .contains("write was in progress")
    );
}

#[test]
fn noverflow_is_approximate_from_b_16_on() {
    let mut map = ClassicMap::new(LE64, BYTES, 16);
    for bucket in 0..300 {
        map = map.overflow(bucket, Place::Tail, [Slot::Live(1); 8]);
    }
    let built = map.build();
    let walked = built.check_exact();
    let facts = classic(&walked);
    assert_eq!((facts.overflow, facts.noverflow), (300, 150));
    assert_eq!(facts.chain_lengths, [(1 << 16) - 300, 300]);
    // The runtime counts by chance there: no other value is a defect either.
    let walked = built.noverflow(140).check();
    assert!(walked.exact());
}

#[test]
fn an_older_allocator_gives_the_array_another_tail() {
    let mut built = ClassicMap::new(LE64, STRING_INT, 4).build();
    built.layout.allocator = Allocator {
        malloc_headers: false,
        pointer_size: 8,
    };
    // 17 * 208 = 3536 bytes: a slot of 4096 without, of 4096 - 8 with a header.
    assert_eq!(built.check().blocks[1].span.len, 19 * 208);
    assert_eq!(built.truth.blocks[1].span.len, 19 * 208);
    let mut built = ClassicMap::new(LE64, INTS, 6).build();
    let with = built.check().blocks[1].span.len;
    built.layout.has_pointers = true;
    built.layout.allocator.malloc_headers = false;
    assert_eq!(built.check().blocks[1].span.len, with);
}

#[test]
fn a_small_swiss_map_is_one_group() {
    let mut slots = small_slots(3);
    slots.swap(0, 6);
    let walked = SwissMap::small(LE64, INTS, slots).build().check_exact();
    assert_eq!(counted(&walked), (3, 0, 5, 1, 0, 0));
    assert_eq!(swiss(&walked).dir_len, 0);
    assert_eq!(
        walked.blocks,
        [
            block(BlockKind::Header, HEADER, 48),
            block(BlockKind::Groups, GROUPS, 136)
        ]
    );
    for live in 0..=8 {
        in_every_abi_and_type(|abi, types| SwissMap::small(abi, types, small_slots(live)).build());
    }
}

#[test]
fn a_swiss_map_of_one_table_is_counted() {
    let built = SwissMap::tables(LE64, INTS, vec![TableOf::new(0, 64, 50, 0)]).build();
    let walked = built.check_exact();
    assert_eq!(counted(&walked), (50, 0, 14, 8, 1, 6));
    let facts = swiss(&walked);
    assert_eq!((facts.dir_len, facts.global_depth), (1, 0));
    let table = facts.tables[0];
    assert_eq!(table.address, built.tables[0].0);
    assert_eq!((table.used, table.capacity, table.growth_left), (50, 64, 6));
    assert_eq!((table.groups, table.index, table.local_depth), (8, 0, 0));
    assert_eq!(
        walked.blocks,
        [
            block(BlockKind::Header, HEADER, 48),
            block(BlockKind::Directory, DIRECTORY, 8),
            block(BlockKind::Table, TABLES + 3 * 32, 32),
            block(BlockKind::Groups, GROUPS, 8 * 136),
        ]
    );
    for capacity in [8, 16, 1024] {
        in_every_abi_and_type(|abi, types| {
            let table = TableOf::new(0, capacity, capacity / 2, 0);
            SwissMap::tables(abi, types, vec![table]).build()
        });
    }
}

fn uneven(abi: gomapscope_core::memory::Abi, types: Types) -> SwissMap {
    SwissMap::tables(
        abi,
        types,
        vec![
            TableOf::new(1, 1024, 500, 0),
            TableOf::new(3, 1024, 896, 1000),
            TableOf::new(3, 1024, 0, 0),
            TableOf::new(2, 1024, 100, 3000),
        ],
    )
}

#[test]
fn tables_of_uneven_depth_are_counted_once_for_all_their_directory_entries() {
    let walked = uneven(LE64, INTS).build().check_exact();
    assert_eq!(walked.len, 1496);
    assert_eq!(walked.counts.slots, 4096);
    let facts = swiss(&walked);
    assert_eq!((facts.dir_len, facts.global_depth), (8, 3));
    let indexes: Vec<_> = facts.tables.iter().map(|table| table.index).collect();
    assert_eq!(indexes, [0, 4, 5, 6]);
    in_every_abi_and_type(|abi, types| uneven(abi, types).build());
}

#[test]
fn a_directory_deeper_than_all_tables_is_no_defect() {
    let walked = uneven(LE64, INTS).global_depth(5).build().check_exact();
    assert_eq!(swiss(&walked).dir_len, 32);
}

#[test]
fn tombstones_use_up_a_table_without_being_entries() {
    let table = TableOf::new(0, 128, 100, 0).delete(8..30);
    let walked = SwissMap::tables(LE64, INTS, vec![table])
        .build()
        .check_exact();
    assert_eq!(counted(&walked), (78, 22, 28, 16, 5, 9));
    assert_eq!(swiss(&walked).tables[0].growth_left, 112 - 78 - 22);
    in_every_abi_and_type(|abi, types| {
        let table = TableOf::new(0, 64, 56, 0).delete(0..56);
        SwissMap::tables(abi, types, vec![table]).build()
    });
}

#[test]
fn a_swiss_map_that_was_cleared_keeps_its_tables_empty() {
    let tables = vec![TableOf::new(1, 1024, 0, 0), TableOf::new(1, 1024, 0, 0)];
    let walked = SwissMap::tables(LE64, INTS, tables).build().check_exact();
    assert_eq!(counted(&walked), (0, 0, 2048, 256, 256, 0));
    let walked = SwissMap::small(LE64, BIG_ELEM, small_slots(0))
        .build()
        .check_exact();
    assert_eq!(counted(&walked), (0, 0, 8, 1, 1, 0));
}

#[test]
fn a_directory_larger_than_one_read_is_walked_whole() {
    // 2^18 entries: 2 MiB. Two tables, so that runs cross the border of reads.
    let tables = vec![TableOf::new(1, 16, 3, 0), TableOf::new(1, 16, 4, 100)];
    let walked = SwissMap::tables(LE64, INTS, tables)
        .global_depth(18)
        .build()
        .check_exact();
    assert_eq!(swiss(&walked).tables.len(), 2);
    assert_eq!(swiss(&walked).tables[1].index, 1 << 17);
}

#[test]
fn a_visitor_that_stops_cuts_the_walk_and_keeps_the_counts_so_far() {
    let classic = ClassicMap::new(LE64, INTS, 4)
        .entries(60, Place::Tail)
        .build();
    let swiss = uneven(LE64, INTS).build();
    for built in [classic, swiss] {
        for ordered in [true, false] {
            let memory = dyn_memory::Ref(&built.image);
            let mut collector = common::Collector::new(&built.layout, &memory, ordered);
            collector.stop_after = Some(5);
            let walked = walk(&built.image, &built.layout, built.address, &mut collector);
            assert!(walked.cut && !walked.exact() && !walked.interrupted);
            assert_eq!(walked.defects.kept(), []);
            assert_eq!(walked.counts.units, 5);
            assert_eq!(collector.visits.len(), 5);
        }
    }
}

#[test]
fn a_header_at_the_very_end_of_the_address_space_is_read() {
    let built = ClassicMap::new(LE64, INTS, 1)
        .entries(5, Place::Tail)
        .build();
    let mut moved = built.relocate(HEADER, 0_u64.wrapping_sub(48));
    moved.address = 0_u64.wrapping_sub(48);
    assert!(moved.check().exact());
    let built = SwissMap::small(LE64, INTS, small_slots(5)).build();
    let mut moved = built.relocate(HEADER, 0_u64.wrapping_sub(48));
    moved.address = 0_u64.wrapping_sub(48);
    assert!(moved.check().exact());
    assert!(!moved.image.clone().poke(NOWHERE, &[0]));
}

#[test]
fn storage_just_below_the_end_of_the_address_space_is_walked() {
    let below = |size: u64| 0_u64.wrapping_sub(size + 16);
    let top = below(2 * 144);
    let built = ClassicMap::new(LE64, INTS, 1)
        .entries(5, Place::Tail)
        .build();
    assert!(built.relocate(ARRAY, top).buckets_at(top).check().exact());
    let top = below(136);
    let built = SwissMap::small(LE64, INTS, small_slots(5)).build();
    assert!(built.relocate(GROUPS, top).dir_ptr(top).check().exact());
    let table = || SwissMap::tables(LE64, INTS, vec![TableOf::new(0, 64, 9, 0)]).build();
    let top = below(8 * 136);
    let moved = table()
        .relocate(GROUPS, top)
        .table(0, |table| table.groups_data, top);
    assert!(moved.check().exact());
    let top = below(8);
    let moved = table().relocate(DIRECTORY, top).dir_ptr(top);
    assert!(moved.check().exact());
}

#[test]
fn a_deleted_slot_shows_as_a_tombstone_wherever_it_is() {
    for slot in 0..8 {
        let mut slots = small_slots(8);
        slots[slot] = Ctrl::Deleted;
        let mut all = vec![Ctrl::Empty; 16];
        all[..8].copy_from_slice(&slots);
        let table = TableOf {
            local_depth: 0,
            slots: all,
        };
        for abi in ABIS {
            let built = SwissMap::tables(abi, INTS, vec![table.clone()]).build();
            built.check_exact();
            assert_eq!(built.truth.visits[0].marks.find('T'), Some(slot));
        }
    }
}
