//! What the tests of this module share.

use std::path::Path;

use proptest::prelude::*;

use crate::map::Defect;
use crate::metrics::{
    Addresses, BlockSpans, Buckets, Bytes, ClassicShape, LayoutFacts, NextGrowth, Severity, Slots,
    Stats, SwissShape,
};

use super::style::{Style, display_width};

pub(super) const PLAIN: Style = Style {
    width: 80,
    color: false,
    unicode: true,
};
pub(super) const WIDE: Style = Style {
    width: 200,
    color: false,
    unicode: true,
};
pub(super) const COLOR: Style = Style {
    width: 80,
    color: true,
    unicode: true,
};
pub(super) const ASCII: Style = Style {
    width: 80,
    color: false,
    unicode: false,
};

/// The text without its SGR sequences.
pub(super) fn strip_sgr(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}

/// Renders in every style and checks what must hold of any text.
pub(super) fn check(render: impl Fn(&Style) -> String) {
    for width in [20, 40, 80, 100, 120, 200, 0] {
        for unicode in [true, false] {
            let style = Style {
                width,
                color: false,
                unicode,
            };
            let plain = render(&style);
            let colored = render(&Style {
                color: true,
                ..style
            });
            assert_eq!(strip_sgr(&colored), plain, "width {width}");
            assert!(
                !plain.chars().any(|c| c.is_control() && c != '\n'),
                "{plain:?}"
            );
            assert!(unicode || plain.is_ascii(), "{plain}");
            assert!(plain.is_empty() || plain.ends_with('\n'));
            for line in plain.lines() {
                assert!(display_width(line) <= style.columns(), "{width}: {line}");
                assert_eq!(line, line.trim_end(), "width {width}");
            }
        }
    }
}

/// Compares a text with `golden/NAME.txt`. With `UPDATE_GOLDEN` set in the
/// environment the file is written instead; read the difference then.
pub(super) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/report/golden")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs:\n{text}");
}

/// Models that no map would give: every number and text is possible.
pub(super) fn any_stats() -> impl Strategy<Value = Stats> {
    let numbers = prop::collection::vec(
        prop_oneof![Just(0), 0..3_u64, 0..5000_u64, any::<u64>()],
        48,
    );
    let shares = prop::collection::vec(
        prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64, any::<f64>()],
        4,
    );
    let texts = prop::collection::vec(any::<String>(), 8);
    let switches = prop::collection::vec(any::<bool>(), 16);
    (numbers, shares, texts, switches, 0_usize..8, 0_usize..12).prop_map(
        |(numbers, shares, texts, switches, kind, defects)| {
            let mut number = numbers.into_iter();
            let mut n = || number.next().unwrap_or(7);
            let mut switch = switches.into_iter();
            let mut b = || switch.next().unwrap_or(true);
            let mut share = shares.into_iter();
            let mut f = || share.next().unwrap_or(0.5);
            let mut text = texts.into_iter();
            let mut t = || text.next().unwrap_or_default();
            let kinds = [
                "allocate",
                "double",
                "same-size",
                "to-table",
                "table-double",
                "table-split",
                "in-progress",
                "else",
            ];
            Stats {
                go_version: b().then(&mut t),
                arch: b().then(&mut t),
                family: if b() { "swiss" } else { "classic" },
                expression: t(),
                address: n(),
                type_name: t(),
                len: n(),
                slots: Slots {
                    capacity: n(),
                    live: n(),
                    empty: n(),
                    tombstones: n(),
                    hole_density: b().then(&mut f),
                    old: b().then(&mut n),
                    old_live: b().then(&mut n),
                },
                buckets: Buckets {
                    count: n(),
                    main: n(),
                    overflow: n(),
                    empty: n(),
                    full: n(),
                    empty_density: b().then(&mut f),
                    severity: b().then_some(Severity::Severe),
                    chain_lengths: b().then(|| vec![n(), n(), n(), n(), n(), n(), n(), n()]),
                },
                classic: b().then(|| ClassicShape {
                    b: 200,
                    noverflow: n(),
                    growth: ["none", "double", "same-size"][kind % 3],
                    old_buckets: n(),
                    evacuated: n(),
                    prealloc: n(),
                    overflow_outside: n(),
                }),
                swiss: b().then(|| SwissShape {
                    tables: n(),
                    dir_len: n(),
                    global_depth: 255,
                    growth_left: n(),
                    small: false,
                    table_capacities: vec![(n(), n()); kind],
                }),
                next_growth: b().then(|| NextGrowth {
                    kind: kinds[kind],
                    fits: n(),
                    at_most: n(),
                    table: Some(n()),
                    cost: n(),
                    load_factor: f(),
                    max_load_factor: f(),
                }),
                bytes: Bytes {
                    allocated: n(),
                    allocated_from: "size classes",
                    spans: None,
                    storage: n(),
                    live: n(),
                    holes: n(),
                    rebuild: n(),
                    reclaimable: n(),
                },
                addresses: b().then(|| Addresses {
                    blocks: n(),
                    low: n(),
                    high: n(),
                    span: n(),
                    pages: n(),
                    min_pages: n(),
                    resident_pages: Some(n()),
                }),
                exact: b(),
                interrupted: b(),
                writing: b(),
                racing: b(),
                defects: (0..defects)
                    .map(|_| Defect {
                        code: "code",
                        address: n(),
                        expected: t(),
                        found: t(),
                        skipped: t(),
                    })
                    .collect(),
                defects_total: n(),
                notes: vec![t()],
                ..base()
            }
        },
    )
}

fn base() -> Stats {
    Stats {
        schema: "gomapscope.stats/1",
        go_version: Some("go1.27.3".to_owned()),
        arch: Some("amd64".to_owned()),
        family: "swiss",
        expression: "main.m".to_owned(),
        address: 0xc0_0001_2120,
        type_name: "map[string]int".to_owned(),
        key_type: "string".to_owned(),
        elem_type: "int".to_owned(),
        len: 0,
        slots: Slots::default(),
        buckets: Buckets::default(),
        classic: None,
        swiss: Some(SwissShape {
            tables: 0,
            dir_len: 0,
            global_depth: 0,
            growth_left: 0,
            small: false,
            table_capacities: Vec::new(),
        }),
        next_growth: None,
        bytes: Bytes {
            allocated_from: "spans",
            spans: None,
            ..Bytes::default()
        },
        addresses: None,
        layout: LayoutFacts {
            source: "dwarf",
            slot_size: 24,
            bucket_size: 200,
            indirect_key: false,
            indirect_elem: false,
        },
        exact: true,
        interrupted: false,
        writing: false,
        racing: false,
        defects: Vec::new(),
        defects_total: 0,
        notes: Vec::new(),
        console: None,
    }
}

pub(super) fn nil() -> Stats {
    Stats {
        address: 0,
        swiss: None,
        ..base()
    }
}

pub(super) fn never_used() -> Stats {
    Stats {
        bytes: Bytes {
            allocated: 48,
            rebuild: 48,
            allocated_from: "size classes",
            spans: None,
            ..Bytes::default()
        },
        next_growth: Some(NextGrowth {
            kind: "allocate",
            fits: 0,
            at_most: 0,
            table: None,
            cost: 208,
            load_factor: 0.0,
            max_load_factor: 1.0,
        }),
        ..base()
    }
}

pub(super) fn small() -> Stats {
    Stats {
        len: 3,
        slots: Slots {
            capacity: 8,
            live: 3,
            empty: 5,
            hole_density: Some(0.625),
            ..Slots::default()
        },
        buckets: Buckets {
            count: 1,
            main: 1,
            empty_density: Some(0.0),
            severity: Some(Severity::Healthy),
            ..Buckets::default()
        },
        swiss: Some(SwissShape {
            tables: 0,
            dir_len: 0,
            global_depth: 0,
            growth_left: 5,
            small: true,
            table_capacities: Vec::new(),
        }),
        next_growth: Some(NextGrowth {
            kind: "to-table",
            fits: 5,
            at_most: 5,
            table: None,
            cost: 464,
            load_factor: 0.375,
            max_load_factor: 1.0,
        }),
        bytes: Bytes {
            allocated: 256,
            allocated_from: "spans",
            spans: None,
            storage: 200,
            live: 72,
            holes: 120,
            rebuild: 256,
            reclaimable: 0,
        },
        addresses: Some(Addresses {
            blocks: 1,
            low: 0xc0_0001_4000,
            high: 0xc0_0001_40c8,
            span: 200,
            pages: 1,
            min_pages: 1,
            resident_pages: Some(1),
        }),
        ..base()
    }
}

/// The map of the design's mock-up.
pub(super) fn severe() -> Stats {
    Stats {
        expression: "main.sessions".to_owned(),
        type_name: "map[string]*main.Session".to_owned(),
        elem_type: "*main.Session".to_owned(),
        len: 1204,
        slots: Slots {
            capacity: 1_048_576,
            live: 1204,
            empty: 635_254,
            tombstones: 412_118,
            hole_density: Some(1_047_372.0 / 1_048_576.0),
            old: None,
            old_live: None,
        },
        buckets: Buckets {
            count: 131_072,
            main: 131_072,
            overflow: 0,
            empty: 129_901,
            full: 3,
            empty_density: Some(129_901.0 / 131_072.0),
            severity: Some(Severity::Severe),
            chain_lengths: None,
        },
        swiss: Some(SwissShape {
            tables: 1024,
            dir_len: 1024,
            global_depth: 10,
            growth_left: 504_086,
            small: false,
            table_capacities: vec![(1024, 1024)],
        }),
        next_growth: Some(NextGrowth {
            kind: "table-split",
            fits: 96,
            at_most: 504_086,
            table: Some(17),
            cost: 49_216,
            load_factor: 1204.0 / 1_048_576.0,
            max_load_factor: 0.875,
        }),
        bytes: Bytes {
            allocated: 26_279_984,
            allocated_from: "spans",
            spans: Some(BlockSpans {
                spans: 1100,
                slots: 2380,
                free: 1204,
            }),
            storage: 26_214_400,
            live: 28_896,
            holes: 25_136_928,
            rebuild: 57_392,
            reclaimable: 26_222_592,
        },
        addresses: Some(Addresses {
            blocks: 1024,
            low: 0x3c_5100_0000,
            high: 0x3c_5641_9000,
            span: 88_182_784,
            pages: 6600,
            min_pages: 6400,
            resident_pages: Some(6591),
        }),
        ..base()
    }
}

/// A classic map with overflow chains in the middle of a doubling.
pub(super) fn growing() -> Stats {
    Stats {
        go_version: Some("go1.22.10".to_owned()),
        family: "classic",
        len: 833,
        slots: Slots {
            capacity: 2072,
            live: 833,
            empty: 1730,
            tombstones: 12,
            hole_density: Some(1742.0 / 2072.0),
            old: Some(728),
            old_live: Some(503),
        },
        buckets: Buckets {
            count: 259,
            main: 256,
            overflow: 3,
            empty: 180,
            full: 4,
            empty_density: Some(180.0 / 259.0),
            severity: Some(Severity::Severe),
            chain_lengths: Some(vec![254, 1, 1]),
        },
        swiss: None,
        classic: Some(ClassicShape {
            b: 8,
            noverflow: 3,
            growth: "double",
            old_buckets: 128,
            evacuated: 37,
            prealloc: 19,
            overflow_outside: 0,
        }),
        next_growth: Some(NextGrowth {
            kind: "in-progress",
            fits: 831,
            at_most: 831,
            table: None,
            cost: 0,
            load_factor: 833.0 / 256.0,
            max_load_factor: 6.5,
        }),
        bytes: Bytes {
            allocated: 86_064,
            allocated_from: "size classes",
            spans: None,
            storage: 85_904,
            live: 19_992,
            holes: 41_808,
            rebuild: 57_392,
            reclaimable: 28_672,
        },
        addresses: Some(Addresses {
            blocks: 2,
            low: 0xc0_0010_0000,
            high: 0xc0_0012_0000,
            span: 131_072,
            pages: 22,
            min_pages: 21,
            resident_pages: None,
        }),
        layout: LayoutFacts {
            source: "runtime types",
            slot_size: 24,
            bucket_size: 208,
            indirect_key: false,
            indirect_elem: false,
        },
        notes: vec!["allocated is computed from the size-class table of go1.22.".to_owned()],
        ..base()
    }
}

pub(super) fn damaged() -> Stats {
    let mut stats = severe();
    stats.exact = false;
    stats.writing = true;
    stats.defects = vec![
        Defect {
            code: "count-mismatch",
            address: 0xc0_0001_2120,
            expected: "1,204 live slots".to_owned(),
            found: "1,201 live slots".to_owned(),
            skipped: String::new(),
        },
        Defect {
            code: "unreadable",
            address: 0x3c_5300_0000,
            expected: "a group array of 25,600 bytes".to_owned(),
            found: "no memory\x1b[2J".to_owned(),
            skipped: "table 96".to_owned(),
        },
    ];
    stats.defects_total = 70;
    stats
}

pub(super) fn interrupted() -> Stats {
    let mut stats = severe();
    stats.exact = false;
    stats.interrupted = true;
    stats.buckets.count = 4096;
    stats.buckets.main = 4096;
    stats.buckets.empty = 4050;
    stats.buckets.empty_density = Some(4050.0 / 4096.0);
    stats.slots.live = 40;
    stats.slots.capacity = 32_768;
    stats.slots.empty = 20_000;
    stats.slots.tombstones = 12_728;
    stats.slots.hole_density = Some(32_728.0 / 32_768.0);
    stats
}

pub(super) fn healthy() -> Stats {
    let mut stats = small();
    stats.len = 700;
    stats.slots = Slots {
        capacity: 1024,
        live: 700,
        empty: 324,
        tombstones: 0,
        hole_density: Some(324.0 / 1024.0),
        old: None,
        old_live: None,
    };
    stats.buckets = Buckets {
        count: 128,
        main: 128,
        overflow: 0,
        empty: 0,
        full: 20,
        empty_density: Some(0.0),
        severity: Some(Severity::Healthy),
        chain_lengths: None,
    };
    stats.swiss = Some(SwissShape {
        tables: 1,
        dir_len: 1,
        global_depth: 0,
        growth_left: 196,
        small: false,
        table_capacities: vec![(1024, 1)],
    });
    stats.next_growth = Some(NextGrowth {
        kind: "table-split",
        fits: 196,
        at_most: 196,
        table: Some(0),
        cost: 49_216,
        load_factor: 700.0 / 1024.0,
        max_load_factor: 0.875,
    });
    stats.bytes = Bytes {
        allocated: 27_352,
        allocated_from: "spans",
        spans: None,
        storage: 25_600,
        live: 16_800,
        holes: 7776,
        rebuild: 27_352,
        reclaimable: 0,
    };
    stats
}

pub(super) fn all() -> Vec<Stats> {
    vec![
        nil(),
        never_used(),
        small(),
        severe(),
        growing(),
        damaged(),
        interrupted(),
        healthy(),
    ]
}
