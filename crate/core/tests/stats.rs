//! The figures computed from walks, and the names they have in JSON.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::classic::{Chain, ClassicMap, EVACUATED, Place, Slot};
use common::random::{built, cases};
use common::swiss::{SwissMap, TableOf, small_slots};
use common::{BIG, Built, INTS, LE64, NOTHING, SET, STRING_INT, TYPES, check_figures};
use gomapscope_core::layout::{Field, Header, MapLayout};
use gomapscope_core::map::{
    Block, BlockKind, ClassicFacts, Counts, Defects, Shape, SwissFacts, TableFacts, Walk,
};
use gomapscope_core::memory::Span;
use gomapscope_core::metrics::{Context, Severity, Stats, stats};
use proptest::prelude::*;
use serde_json::Value;

fn figures(built: &Built) -> Stats {
    let walked = built.check_exact();
    check_figures(&walked, &built.layout).0
}

fn close(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-12)
}

fn old_chains() -> Vec<Chain> {
    (0..4)
        .map(|number| match number % 2 {
            0 => Chain {
                first: EVACUATED,
                overflow: Vec::new(),
            },
            _ => Chain::of(&[Slot::Live(number); 5], Place::Tail),
        })
        .collect()
}

/// One map for every optional part of the document.
fn examples() -> Vec<Built> {
    vec![
        ClassicMap::never_used(LE64, INTS).build(),
        ClassicMap::new(LE64, STRING_INT, 0)
            .entries(8, Place::Tail)
            .build(),
        ClassicMap::new(LE64, BIG, 5)
            .entries(150, Place::Tail)
            .build(),
        ClassicMap::new(LE64, INTS, 3)
            .growing(false, old_chains())
            .build(),
        ClassicMap::new(LE64, INTS, 2)
            .growing(true, old_chains())
            .flags(4)
            .build(),
        ClassicMap::new(LE64, INTS, 2).build().corrupt_b(200),
        ClassicMap::new(LE64, INTS, 2).build().corrupt_count(5),
        SwissMap::never_used(LE64, INTS).build(),
        SwissMap::small(LE64, NOTHING, small_slots(1)).build(),
        SwissMap::tables(LE64, SET, vec![TableOf::new(0, 128, 60, 0)]).build(),
        SwissMap::tables(
            LE64,
            BIG,
            vec![
                TableOf::new(1, 1024, 896, 0),
                TableOf::new(1, 1024, 3, 1000),
            ],
        )
        .build(),
        SwissMap::tables(LE64, INTS, vec![TableOf::new(0, 128, 60, 0)])
            .build()
            .nil_entry(0),
    ]
}

/// The names of design section 5.
const DOCUMENTED: &[(&str, &str)] = &[
    (
        "",
        "schema go_version arch family expression address type key_type elem_type len slots \
         buckets classic swiss bytes addresses layout exact defects",
    ),
    ("slots", "capacity live empty tombstones hole_density"),
    (
        "buckets",
        "count main overflow empty full empty_density severity chain_lengths",
    ),
    ("classic", "B noverflow growth old_buckets evacuated"),
    ("swiss", "tables dir_len global_depth growth_left small"),
    ("bytes", "allocated storage live holes rebuild reclaimable"),
    (
        "addresses",
        "blocks low high span pages min_pages resident_pages",
    ),
    (
        "layout",
        "source slot_size bucket_size indirect_key indirect_elem",
    ),
    ("defects", "code address expected found skipped"),
];

/// What the documents hold beyond those.
const ADDED: &[(&str, &str)] = &[
    ("", "next_growth interrupted writing defects_total notes"),
    ("slots", "old old_live"),
    ("classic", "prealloc overflow_outside"),
    ("swiss", "table_capacities"),
    ("bytes", "allocated_from"),
    (
        "next_growth",
        "kind fits at_most table cost load_factor max_load_factor",
    ),
];

fn names(lists: &[(&str, &'static str)], part: &str) -> BTreeSet<&'static str> {
    lists
        .iter()
        .filter(|(name, _)| *name == part)
        .flat_map(|(_, names)| names.split_whitespace())
        .collect()
}

#[test]
fn the_json_of_stats_has_the_documented_names_and_no_others() {
    let mut seen: std::collections::BTreeMap<&str, BTreeSet<String>> = Default::default();
    let context = Context {
        expression: "main.m".into(),
        go_version: Some("go1.27.3".into()),
        arch: Some("amd64".into()),
        // This process: the images' pages are not in it, or are; either is told.
        pid: Some(std::process::id()),
        ..Context::default()
    };
    let mut look = |walked: &Walk, layout: &MapLayout| {
        let text = gomapscope_core::report::stats_json(&stats(walked, layout, &context));
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut note = |part: &'static str, value: &Value| {
            let fields = value.as_object().expect(part);
            let known: BTreeSet<_> = &names(DOCUMENTED, part) | &names(ADDED, part);
            for name in fields.keys() {
                assert!(known.contains(name.as_str()), "{part}.{name} in {text}");
                seen.entry(part).or_default().insert(name.clone());
            }
        };
        note("", &value);
        let parts = DOCUMENTED.iter().chain(ADDED).map(|(part, _)| *part);
        for part in parts.filter(|part| !part.is_empty()) {
            match value.get(part) {
                Some(Value::Array(items)) => items.iter().for_each(|item| note(part, item)),
                Some(object) => note(part, object),
                None => {}
            }
        }
        for part in [
            "address",
            "type",
            "key_type",
            "elem_type",
            "exact",
            "defects",
        ] {
            assert!(value.get(part).is_some(), "{part} in {text}");
        }
        assert_eq!(value["schema"], "gomapscope.stats/1");
        assert!(value["address"].as_str().unwrap().starts_with("0x"));
        assert_eq!(value.get("classic").is_some(), value["family"] == "classic");
        assert_eq!(value.get("swiss").is_some(), value["family"] == "swiss");
    };
    for built in examples() {
        look(&built.check(), &built.layout);
        let mut interrupted = built.image.clone();
        interrupted.interrupt_read(0);
        look(
            &common::collect(&interrupted, &built.layout, built.address, true).0,
            &built.layout,
        );
    }
    for (part, _) in DOCUMENTED.iter().chain(ADDED) {
        let known = &names(DOCUMENTED, part) | &names(ADDED, part);
        let never: Vec<_> = known
            .iter()
            .filter(|name| !seen[part].contains(**name))
            // Only Linux tells which pages are resident, and not to everyone.
            .filter(|name| **name != "resident_pages")
            .collect();
        assert!(never.is_empty(), "never seen in {part:?}: {never:?}");
    }
}

#[test]
fn a_nil_map_has_neither_storage_nor_densities() {
    for layout in [
        ClassicMap::new(LE64, INTS, 0).layout(),
        SwissMap::never_used(LE64, INTS).layout(),
    ] {
        let image = gomapscope_core::memory::Image::new();
        let walked = common::check(&image, &layout, 0);
        let (stats, json) = check_figures(&walked, &layout);
        assert!(stats.exact);
        assert_eq!(
            (stats.len, stats.slots.capacity, stats.buckets.count),
            (0, 0, 0)
        );
        assert_eq!(stats.slots.hole_density, None);
        assert_eq!(stats.buckets.severity, None);
        assert_eq!((stats.bytes.allocated, stats.bytes.reclaimable), (0, 0));
        assert!(stats.next_growth.is_none() && stats.addresses.is_none());
        assert_eq!(json["address"], "0x0");
    }
}

#[test]
fn densities_count_holes_and_empty_buckets() {
    let built = ClassicMap::new(LE64, INTS, 3)
        .chain(0, Chain::of(&[Slot::Live(1); 8], Place::Tail))
        .chain(1, Chain::of(&[Slot::One, Slot::Live(2)], Place::Tail))
        .chain(2, Chain::of(&[Slot::Live(3); 10], Place::Outside))
        .build();
    let stats = figures(&built);
    assert_eq!((stats.slots.capacity, stats.slots.live), (72, 19));
    assert_eq!((stats.slots.tombstones, stats.slots.empty), (1, 52));
    assert!(close(stats.slots.hole_density, 53.0 / 72.0));
    assert_eq!((stats.buckets.count, stats.buckets.main), (9, 8));
    assert_eq!((stats.buckets.empty, stats.buckets.full), (5, 2));
    assert!(close(stats.buckets.empty_density, 5.0 / 9.0));
    assert_eq!(stats.buckets.severity, Some(Severity::Severe));
    assert_eq!(stats.buckets.chain_lengths, Some(vec![7, 1]));
    assert_eq!(stats.bytes.storage, 9 * 144);
    assert_eq!(stats.bytes.live, 19 * 16);
    assert_eq!(stats.bytes.holes, 53 * 16);
    // Header 48; array 8 * 144 = 1152; one bucket 144; mapextra, slice header and
    // a list of one pointer.
    assert_eq!(stats.bytes.allocated, 48 + 1152 + 144 + 24 + 24 + 8);
}

#[test]
fn severity_changes_at_5_and_above_20_percent() {
    for (empty, severity) in [
        (0, Severity::Healthy),
        (6, Severity::Healthy),
        (7, Severity::Light),
        (25, Severity::Light),
        (26, Severity::Severe),
        (128, Severity::Severe),
    ] {
        // 6 of 128 are 4.7 %, 7 are 5.5 %, 25 are 19.5 %, 26 are 20.3 %.
        let mut map = ClassicMap::new(LE64, INTS, 7);
        for bucket in empty..128 {
            map = map.slot(bucket, 0, Slot::Live(bucket as u64));
        }
        assert_eq!(
            figures(&map.build()).buckets.severity,
            Some(severity),
            "{empty}"
        );
    }
    assert_eq!(Severity::of(0.05), Severity::Light);
    assert_eq!(Severity::of(0.20), Severity::Light);
}

#[test]
fn old_slots_are_apart_from_the_capacity() {
    let built = ClassicMap::new(LE64, INTS, 3)
        .slot(0, 0, Slot::Live(9))
        .growing(false, old_chains())
        .build();
    let stats = figures(&built);
    assert_eq!((stats.slots.capacity, stats.slots.live), (64, 11));
    assert_eq!(
        (stats.slots.old, stats.slots.old_live),
        (Some(16), Some(10))
    );
    assert!(close(stats.slots.hole_density, 63.0 / 64.0));
    let classic = stats.classic.unwrap();
    assert_eq!(classic.growth, "double");
    assert_eq!((classic.old_buckets, classic.evacuated), (4, 2));
    let next = stats.next_growth.unwrap();
    // 8 overflow buckets or 6.5 * 8 = 52 entries.
    assert_eq!(
        (next.kind, next.fits, next.at_most),
        ("in-progress", 8, 52 - 11)
    );
    assert_eq!(stats.bytes.storage, (8 + 4) * 144);
}

#[test]
fn a_growth_waits_until_the_one_before_is_over() {
    for left in 1..=5 {
        let chains = (0..8).map(|number| {
            if number < left {
                Chain::of(&[Slot::Live(number); 8], Place::Tail)
            } else {
                Chain {
                    first: EVACUATED,
                    overflow: Vec::new(),
                }
            }
        });
        let live = vec![Slot::Live(9); 52 - 8 * left as usize];
        let built = ClassicMap::new(LE64, INTS, 3)
            .chain(7, Chain::of(&live, Place::Outside))
            .growing(true, chains.collect())
            .build();
        let stats = figures(&built);
        let next = stats.next_growth.unwrap();
        // Full: the insert that evacuates the last bucket begins the next growth.
        assert_eq!(stats.len, 52);
        let last = left - 1;
        let first = last / 2;
        assert_eq!(
            (next.kind, next.fits, next.at_most),
            ("in-progress", first, last)
        );
    }
}

#[test]
fn indirect_keys_and_elems_are_part_of_the_bytes() {
    let built = SwissMap::small(LE64, BIG, small_slots(2)).build();
    let stats = figures(&built);
    assert_eq!(stats.layout.slot_size, 16);
    assert_eq!(stats.bytes.live, 2 * (16 + 200 + 136));
    // Header 48, group 136 (in 144), two keys of 200 (208) and elems of 136 (144).
    assert_eq!(stats.bytes.allocated, 48 + 144 + 2 * (208 + 144));
    assert_eq!(stats.bytes.rebuild, stats.bytes.allocated);
    assert_eq!(stats.bytes.reclaimable, 0);
    assert!(stats.layout.indirect_key && stats.layout.indirect_elem);
}

#[test]
fn an_emptied_map_gives_back_nearly_all() {
    let tables = vec![TableOf::new(1, 1024, 0, 0), TableOf::new(1, 1024, 1, 0)];
    let stats = figures(&SwissMap::tables(LE64, INTS, tables).build());
    // A rebuild for one entry: the header and one group.
    assert_eq!(stats.bytes.rebuild, 48 + 144);
    let storage = 2 * 128 * 136;
    assert_eq!(stats.bytes.storage, storage);
    assert!(stats.bytes.reclaimable >= storage - 192);
    assert_eq!(stats.swiss.unwrap().table_capacities, [(1024, 2)]);
}

#[test]
fn the_span_runs_from_the_lowest_to_the_highest_storage_block() {
    let bucket = [Slot::Live(1); 8];
    let built = ClassicMap::new(LE64, INTS, 0)
        .overflow(0, Place::Outside, bucket)
        .overflow(0, Place::Outside, bucket)
        .build();
    let addresses = figures(&built).addresses.unwrap();
    assert_eq!(addresses.blocks, 3);
    assert_eq!(
        (addresses.low, addresses.high),
        (common::ARRAY, common::OUTSIDE + 336)
    );
    assert_eq!(addresses.span, common::OUTSIDE + 336 - common::ARRAY);
    assert_eq!((addresses.pages, addresses.min_pages), (2, 1));
}

#[test]
fn a_full_table_is_next_to_grow() {
    let tables = vec![
        TableOf::new(1, 1024, 896, 0),
        TableOf::new(1, 1024, 100, 1000),
    ];
    let growth = figures(&SwissMap::tables(LE64, INTS, tables).build()).next_growth;
    let growth = growth.unwrap();
    assert_eq!(
        (growth.kind, growth.fits, growth.at_most),
        ("table-split", 0, 796)
    );
    assert_eq!(growth.table, Some(0));
    let table = vec![TableOf::new(0, 128, 100, 0)];
    let growth = figures(&SwissMap::tables(LE64, INTS, table).build()).next_growth;
    assert_eq!(
        growth.map(|growth| (growth.kind, growth.fits)),
        Some(("table-double", 12))
    );
    let growth = figures(&SwissMap::small(LE64, INTS, small_slots(5)).build()).next_growth;
    assert_eq!(
        growth.map(|growth| (growth.kind, growth.fits)),
        Some(("to-table", 3))
    );
    let built = ClassicMap::new(LE64, INTS, 4)
        .entries(100, Place::Tail)
        .build();
    let growth = figures(&built).next_growth.unwrap();
    // 6.5 * 16 = 104 entries fit.
    assert_eq!((growth.kind, growth.fits), ("double", 4));
}

fn counts() -> impl Strategy<Value = Counts> {
    prop::collection::vec((0..9_u64, 0..9_u64, 0..9_u64), 0..40).prop_map(|units| {
        let mut counts = Counts::default();
        for (live, tombstones, empty) in units {
            let live = live.min(8);
            let tombstones = tombstones.min(8 - live);
            let empty = empty.min(8 - live - tombstones);
            counts.slots += 8;
            counts.live += live;
            counts.tombstones += tombstones;
            counts.empty += empty;
            counts.corrupt += 8 - live - tombstones - empty;
            counts.units += 1;
            counts.units_empty += u64::from(live == 0);
            counts.units_full += u64::from(live == 8);
        }
        counts
    })
}

/// Any u64, and often one at a limit.
fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..100_u64,
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|bit| u64::MAX >> bit),
    ]
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let kinds = prop::sample::select(vec![
        BlockKind::Header,
        BlockKind::Buckets,
        BlockKind::Overflow,
        BlockKind::OldBuckets,
        BlockKind::Extra,
        BlockKind::Directory,
        BlockKind::Table,
        BlockKind::Groups,
    ]);
    let block = (kinds, extreme(), extreme()).prop_map(|(kind, start, len)| Block {
        span: Span { start, len },
        kind,
    });
    prop::collection::vec(block, 0..8)
}

fn shape(swiss: bool, overflow_max: u64) -> BoxedStrategy<Shape> {
    if swiss {
        let table = (extreme(), any::<(u16, u16, u16, u8)>());
        (extreme(), any::<u8>(), prop::collection::vec(table, 0..5))
            .prop_map(|(dir_len, global_depth, tables)| {
                let table = |(address, (used, capacity, growth_left, local_depth))| TableFacts {
                    address,
                    index: address,
                    used,
                    capacity,
                    growth_left,
                    local_depth,
                    groups: u64::from(capacity) / 8,
                };
                Shape::Swiss(SwissFacts {
                    dir_len,
                    global_depth,
                    tables: tables.into_iter().map(table).collect(),
                })
            })
            .boxed()
    } else {
        (
            any::<(u8, u8, bool)>(),
            (extreme(), extreme(), extreme()),
            0..=overflow_max,
            counts(),
            prop::collection::vec(extreme(), 0..4),
        )
            .prop_map(
                |((b, flags, same_size), words, overflow, old, chain_lengths)| {
                    let (noverflow, old_buckets, evacuated) = words;
                    let old = if old_buckets == 0 {
                        Counts::default()
                    } else {
                        old
                    };
                    Shape::Classic(ClassicFacts {
                        b,
                        noverflow,
                        flags,
                        old_buckets,
                        same_size,
                        evacuated,
                        overflow,
                        overflow_outside: overflow,
                        old,
                        chain_lengths,
                    })
                },
            )
            .boxed()
    }
}

/// Walks that no memory gives, but whose types allow them.
fn walks() -> impl Strategy<Value = (Walk, MapLayout)> {
    let types = prop::sample::select(TYPES.to_vec());
    (counts(), any::<bool>(), types, common::random::abi()).prop_flat_map(
        |(counts, swiss, types, abi)| {
            let layout = if swiss {
                SwissMap::never_used(abi, types).layout()
            } else {
                ClassicMap::never_used(abi, types).layout()
            };
            let sizes = (extreme(), extreme(), any::<bool>());
            (
                shape(swiss, counts.units),
                blocks(),
                (extreme(), extreme()),
                any::<(bool, bool, bool)>(),
                sizes,
            )
                .prop_map(move |(shape, blocks, (address, len), flags, sizes)| {
                    let (writing, interrupted, cut) = flags;
                    let mut layout = layout.clone();
                    // Debug information may claim any size of a value behind a pointer.
                    let (key, elem, odd) = sizes;
                    if odd && layout.key.indirect {
                        layout.key.size = key;
                    }
                    if odd && layout.elem.indirect {
                        layout.elem.size = elem;
                    }
                    let mut defects = Defects::default();
                    // Without a defect such a walk might claim to be exact.
                    defects.push("test", address, "", "", "");
                    let walk = Walk {
                        address,
                        len,
                        writing,
                        counts,
                        shape,
                        blocks,
                        defects,
                        interrupted,
                        cut,
                        racing: None,
                    };
                    (walk, layout)
                })
        },
    )
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn figures_of_any_walk_are_finite_and_add_up((walk, layout) in walks()) {
        check_figures(&walk, &layout);
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn figures_of_any_map_add_up(built in built()) {
        let walked = built.count();
        let (stats, json) = check_figures(&walked, &built.layout);
        prop_assert!(stats.exact);
        prop_assert_eq!(stats.slots.live, built.truth.len);
        prop_assert_eq!(json["len"].as_u64(), Some(built.truth.len));
        prop_assert_eq!(json["slots"]["capacity"].as_u64(), Some(built.truth.counts.slots));
        let holes = built.truth.counts.slots - built.truth.counts.live;
        prop_assert_eq!(stats.bytes.holes, holes * stats.layout.slot_size);
        prop_assert!(stats.bytes.allocated >= stats.bytes.storage);
        prop_assert!(stats.bytes.rebuild > 0);
    }

    #[test]
    fn the_figures_do_not_depend_on_impossible_load_factors(
        len in extreme(),
        factor in (0..100_u64, 0..10_u64),
    ) {
        let mut built = ClassicMap::new(LE64, INTS, 1).entries(5, Place::Tail).build();
        if let Header::Classic(hmap) = &mut built.layout.header {
            hmap.load_factor = (factor.0.max(1), factor.1);
        }
        built = built.corrupt_count(len);
        built.check();
    }
}

#[test]
fn a_header_of_odd_fields_is_not_out_of_bounds() {
    let mut built = ClassicMap::new(LE64, INTS, 1).build();
    let Header::Classic(hmap) = &mut built.layout.header else {
        panic!("a classic map");
    };
    hmap.count = Field {
        offset: usize::MAX,
        size: 8,
    };
    assert!(!built.check().exact());
}
