//! Profiles written here, by literal texts and by prost, whole and damaged.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

const HEAP: &str = "heap profile: 3: 96 [5: 1160] @ heap/1048576
2: 64 [4: 128] @ 0x48810d 0x6de25d
#\t0x6de25c\tmain.fill+0x5c\t\t/src/main.go:177

1: 32 [1: 1032] @ 0x48810d 0x6de300
#\t0x6de2ff\tmain.other+0x1f\t/src/main.go:190

# runtime.MemStats
# Alloc = 1
# LastGC = 1700000000000000123
";

const GOROUTINES: &str = "goroutine profile: total 3
2 @ 0x48a6ea 0x462f86
# labels: {\"map\":\"user \\\"cache\\\", {x}\", \"tab\":\"a\\tb\\\\ \\u00fc\\x01\"}
#\t0x462f85\tmain.parked+0x24\t/src/a b.go:274

1 @ 0x48a6ea
";

const MUTEX: &str = "--- mutex:
cycles/second=2000000000
sampling period=5
3000 10 @ 0x6dfeac 0x6dfeab
#\t0x6dfeab\tsync.(*Mutex).Unlock+0xcb\t/go/sync/mutex.go:65
";

fn text(text: &str) -> Profile {
    parse("p", text.as_bytes()).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    let line = parse("p", bytes).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A heap profile of two stacks with a common place, and a goroutine's labels.
fn message() -> proto::Profile {
    let names = [
        "",
        "alloc_objects",
        "count",
        "inuse_space",
        "bytes",
        "main.fill",
        "/src/main.go",
        "main.main",
        "key",
        "value",
        "/bin/program",
        "id",
    ];
    let function = |id, name| proto::Function {
        id,
        name,
        system_name: name,
        filename: 6,
    };
    let location = |id, address, functions: &[(u64, i64)]| proto::Location {
        id,
        mapping_id: 1,
        address,
        line: functions
            .iter()
            .map(|(function_id, line)| proto::Line {
                function_id: *function_id,
                line: *line,
            })
            .collect(),
    };
    proto::Profile {
        sample_type: vec![
            proto::ValueType { r#type: 1, unit: 2 },
            proto::ValueType { r#type: 3, unit: 4 },
        ],
        sample: vec![
            proto::Sample {
                location_id: vec![10, 20],
                value: vec![3, -96],
                label: vec![proto::Label {
                    key: 4,
                    num: 32,
                    ..proto::Label::default()
                }],
            },
            proto::Sample {
                location_id: vec![20],
                value: vec![1, 7],
                label: vec![proto::Label {
                    key: 8,
                    str: 9,
                    ..proto::Label::default()
                }],
            },
        ],
        mapping: vec![proto::Mapping {
            id: 1,
            memory_start: 0x40_0000,
            memory_limit: 0x50_0000,
            file_offset: 0,
            filename: 10,
            build_id: 11,
            has_functions: true,
        }],
        location: vec![
            location(20, 0x40_2000, &[(2, 20)]),
            location(10, 0x40_1000, &[(1, 11), (2, 12)]),
        ],
        function: vec![function(1, 5), function(2, 7)],
        string_table: names.map(str::to_owned).to_vec(),
        time_nanos: 1_700_000_000_000_000_001,
        duration_nanos: 5,
        period_type: Some(proto::ValueType { r#type: 3, unit: 4 }),
        period: 524_288,
        ..proto::Profile::default()
    }
}

#[test]
fn a_heap_text_is_scaled_and_named() {
    let profile = text(HEAP);
    assert_eq!((profile.kind, profile.origin), (Kind::Heap, Origin::Text));
    assert_eq!(profile.period, 524_288);
    assert_eq!(profile.last_gc_ns, Some(1_700_000_000_000_000_123));
    assert_eq!(profile.notes, [""; 0]);
    let [first, second] = &profile.samples[..] else {
        panic!("{:?}", profile.samples);
    };
    assert_eq!(first.raw.as_deref(), Some(&[4, 128, 2, 64][..]));
    // 32 bytes of 512 KiB: one in 16384.5.
    assert_eq!(first.values, [65_538, 2_097_216, 32_769, 1_048_608]);
    assert_eq!(first.labels[0].value, LabelValue::Number(32, "".into()));
    // The second has the first place of the first.
    assert_eq!(first.stack[0], second.stack[0]);
    let place = &profile.locations[first.stack[1] as usize];
    assert_eq!(place.address, 0x6d_e25c);
    assert_eq!(
        (&*place.lines[0].function, &*place.lines[0].file),
        ("main.fill", "/src/main.go")
    );
    assert!(profile.locations[first.stack[0] as usize].lines.is_empty());
    assert_eq!(profile.placement.anchors[1].inside, 0x1f);
}

#[test]
fn labels_of_goroutines_are_unquoted() {
    let profile = text(GOROUTINES);
    assert_eq!(profile.kind, Kind::Goroutine);
    assert_eq!(profile.samples[0].values, [2]);
    let labels: Vec<_> = profile.samples[0]
        .labels
        .iter()
        .map(|label| (&*label.key, label.value.clone()))
        .collect();
    assert_eq!(
        labels,
        [
            ("map", LabelValue::Text("user \"cache\", {x}".into())),
            ("tab", LabelValue::Text("a\tb\\ \u{fc}\u{1}".into())),
        ]
    );
    assert_eq!(profile.samples[1].labels, []);
    assert_eq!(&*profile.locations[1].lines[0].file, "/src/a b.go");
}

#[test]
fn contentions_are_nanoseconds_and_not_scaled_twice() {
    let profile = text(MUTEX);
    assert_eq!(profile.kind, Kind::Mutex);
    assert_eq!(profile.period, 5);
    assert_eq!(profile.samples[0].values, [10, 1500]);
}

#[test]
fn a_protobuf_is_read_packed_or_not() {
    let bytes = message().encode_to_vec();
    let profile = parse("p", &bytes).unwrap();
    assert_eq!(profile, parse("p", &gzip(&bytes)).unwrap());
    assert_eq!((profile.kind, profile.origin), (Kind::Heap, Origin::Proto));
    assert_eq!(profile.program.as_deref(), Some("/bin/program"));
    assert_eq!(profile.build_id.as_deref(), Some("id"));
    assert_eq!(profile.duration_ns, 5);
    let [first, second] = &profile.samples[..] else {
        panic!("{:?}", profile.samples);
    };
    assert_eq!(first.values, [3, -96]);
    assert_eq!(first.labels[0].value, LabelValue::Number(32, "".into()));
    assert_eq!(second.labels[0].value, LabelValue::Text("value".into()));
    assert_eq!(first.stack[1], second.stack[0]);
    let leaf = &profile.locations[first.stack[0] as usize];
    assert_eq!(leaf.address, 0x40_1000);
    let names: Vec<_> = leaf
        .lines
        .iter()
        .map(|line| (&*line.function, line.line))
        .collect();
    assert_eq!(names, [("main.fill", 11), ("main.main", 12)]);
    assert_eq!(profile.notes, [""; 0]);
}

#[test]
fn what_contradicts_itself_is_told() {
    let mut wrong = message();
    wrong.sample[0].location_id.push(99);
    wrong.sample[1].value.pop();
    wrong.function.pop();
    let profile = parse("p", &wrong.encode_to_vec()).unwrap();
    assert_eq!(profile.samples, []);
    assert_eq!(profile.notes.len(), 3, "{:?}", profile.notes);
    let mut wrong = message();
    wrong.function[0].name = 77;
    let profile = parse("p", &wrong.encode_to_vec()).unwrap();
    let leaf = profile.samples[0].stack[0] as usize;
    assert_eq!(&*profile.locations[leaf].lines[0].function, "?");
    assert_eq!(profile.notes.len(), 1);
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"\x7fELF\x02\x01", "executable"),
        (b"go 1.23 trace\0\0\0", "execution trace"),
        (b"goroutine 1 [running]:\n", "debug=2"),
        (b" <html>", "browser"),
        (b"\x1f\x8b\x08garbage", "decompressed"),
        (b"\x0f\x00", "wire type 7"),
        (b"\x0a", "no profile"),
        (b"\x4a\x01x", "byte 0: field 9 has the wrong wire type"),
        (b"heap profile: x", "first line"),
        (b"--- mutex:\n1 2 @ 0x1\n", "cycles/second"),
        (b"heap profile: 0: 0 [0: 0] @ heap/2\nhello\n", "byte 35"),
        (b"goroutine profile: total 1\n1 @ zero\n", "byte 27"),
    ] {
        let line = refusal(bytes);
        assert!(line.contains(says), "{line}");
        assert!(line.starts_with("p"), "{line}");
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = gzip(&vec![0; 1 << 20]);
    assert!(zeros.len() < 1 << 12);
    let line = read::parse_within(1 << 19, "p", &zeros).unwrap_err();
    assert!(line.to_string().contains("when decompressed"), "{line}");
    // Two bytes each, a hundred when kept.
    let samples: Vec<u8> = [0x12, 0x00].repeat(3 << 20);
    assert!(refusal(&samples).contains("samples, which no Go program has"));
    let strings: Vec<u8> = [0x32, 0x00].repeat(5 << 20);
    assert!(refusal(&strings).contains("strings, which no Go program has"));
    let mut long = vec![0x22, 0x80, 0x80, 0x80, 0x01];
    long.extend(vec![0; 2 << 20]);
    assert!(refusal(&long).contains("bytes in a message"));
}

#[test]
fn a_cut_text_keeps_its_whole_lines() {
    let cut = &HEAP[..HEAP.find("0x6de300").unwrap()];
    let profile = text(cut);
    assert_eq!(profile.samples.len(), 1);
    assert!(profile.notes[0].contains("was cut"), "{:?}", profile.notes);
    let between = &HEAP[..HEAP.find("1: 32").unwrap()];
    let profile = text(between);
    assert_eq!(profile.samples.len(), 1);
    assert!(profile.notes[0].contains("do not sum up"));
}

#[test]
fn a_cut_protobuf_is_told() {
    let bytes = message().encode_to_vec();
    let packed = gzip(&bytes);
    for at in 1..packed.len() {
        match parse("p", &packed[..at]) {
            Ok(profile) => assert!(!profile.notes.is_empty(), "{at}"),
            Err(error) => assert!(error.to_string().starts_with("p")),
        }
    }
    for at in 1..bytes.len() {
        let _ = parse("p", &bytes[..at]);
    }
}

#[test]
fn scaling_is_that_of_the_runtime() {
    assert_eq!(scale(0, 10, 524_288), (0, 0));
    assert_eq!(scale(3, 96, 1), (3, 96));
    assert_eq!(scale(1, 18_432, 524_288), (28, 533_557));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_break_it(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for whole in [message().encode_to_vec(), HEAP.into(), GOROUTINES.into(), MUTEX.into()] {
            let mut bytes = whole;
            for (at, value) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let _ = parse("p", &bytes);
        }
    }

    #[test]
    fn noise_does_not_break_it(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse("p", &noise);
        let _ = parse("p", &gzip(&noise));
    }
}

/// A stack of named functions, each at an address of its own.
fn stack(profile: &mut Profile, functions: &[&str], values: &[i64]) {
    let first = profile.locations.len() as u32;
    for function in functions {
        let address = 0x1000 + profile.locations.len() as u64;
        let lines = match function.is_empty() {
            true => Vec::new(),
            false => vec![Line {
                function: (*function).into(),
                file: "/src/main.go".into(),
                line: 7,
            }],
        };
        profile.locations.push(Location { address, lines });
    }
    profile.samples.push(Sample {
        stack: (first..first + functions.len() as u32).collect(),
        values: values.to_vec(),
        raw: None,
        labels: Vec::new(),
    });
}

fn empty(kind: Kind, origin: Origin, types: &[&str]) -> Profile {
    Profile {
        kind,
        origin,
        sample_types: types
            .iter()
            .map(|name| ValueType {
                name: (*name).into(),
                unit: "count".into(),
            })
            .collect(),
        period: 1,
        period_type: None,
        time_ns: None,
        duration_ns: 0,
        last_gc_ns: None,
        samples: Vec::new(),
        locations: Vec::new(),
        program: None,
        build_id: None,
        placement: Placement::default(),
        notes: Vec::new(),
    }
}

const HEAP_TYPES: [&str; 4] = [
    "alloc_objects",
    "alloc_space",
    "inuse_objects",
    "inuse_space",
];

#[test]
fn the_innermost_function_that_does_not_just_allocate_decides() {
    let mut heap = empty(Kind::Heap, Origin::Memory, &HEAP_TYPES);
    let classic = [
        "runtime.makeBucketArray",
        "runtime.hashGrow",
        "runtime.mapassign",
        "main.f",
    ];
    stack(&mut heap, &classic, &[1, 10, 1, 10]);
    let swiss = [
        "runtime.mallocgcSmallScanNoHeaderSC4",
        "runtime.newarray",
        "internal/runtime/maps.newarray",
        "internal/runtime/maps.newGroups",
        "runtime.mapassign_fast64",
        "main.f",
        "main.g",
    ];
    stack(&mut heap, &swiss, &[2, 20, 2, 20]);
    // A collection that begins there.
    let collection = [
        "runtime.acquireSudog",
        "runtime.gcStart",
        "runtime.mallocgc",
        "runtime.newarray",
        "runtime.makeBucketArray",
        "runtime.makemap",
        "main.f",
    ];
    stack(&mut heap, &collection, &[4, 40, 4, 40]);
    stack(
        &mut heap,
        &["runtime.mallocgc", "runtime.growslice", "main.f"],
        &[8, 80, 8, 80],
    );
    stack(
        &mut heap,
        &["", "runtime.mapassign", "main.f"],
        &[16, 160, 0, 0],
    );
    stack(&mut heap, &[], &[32, 320, 0, 0]);
    let found = attribute(&heap, None);
    assert_eq!(found.maps.alloc_bytes, 30);
    assert_eq!(found.other.alloc_bytes, 120);
    assert_eq!(found.unknown.alloc_bytes, 480);
    assert_eq!(found.total().alloc_objects, 63);
    let [site] = &found.sites[..] else {
        panic!("{:?}", found.sites);
    };
    assert_eq!(
        (&*site.place.function, site.evidence),
        ("main.f", Evidence::RawPc)
    );
    assert_eq!(site.callers.len(), 1);
    let calls: Vec<&str> = site.calls.iter().map(|call| &**call).collect();
    assert_eq!(calls, ["runtime.mapassign", "runtime.mapassign_fast64"]);
}

#[test]
fn without_the_executable_a_trimmed_stack_is_not_known() {
    let mut heap = empty(Kind::Heap, Origin::Proto, &HEAP_TYPES);
    stack(&mut heap, &["main.f", "main.main"], &[1, 10, 1, 10]);
    let found = attribute(&heap, None);
    assert_eq!(found.unknown.alloc_bytes, 10);
    assert_eq!(found.sites, []);
}

#[test]
fn time_is_told_by_what_the_program_called() {
    let mut cpu = empty(Kind::Cpu, Origin::Proto, &["samples", "cpu"]);
    let grows = [
        "runtime.memmove",
        "internal/runtime/maps.(*table).rehash",
        "runtime.mapassign_fast64",
        "main.f",
    ];
    stack(&mut cpu, &grows, &[1, 10]);
    stack(
        &mut cpu,
        &["runtime.memhash64", "runtime.mapaccess1_fast64", "main.f"],
        &[2, 20],
    );
    // A map of the runtime's own, under something else.
    stack(
        &mut cpu,
        &["runtime.mapaccess1", "runtime.typelinksinit", "main.f"],
        &[4, 40],
    );
    stack(&mut cpu, &["main.f"], &[8, 80]);
    let found = attribute(&cpu, None);
    let rows: Vec<_> = found
        .work
        .iter()
        .map(|row| (row.operation, row.values.clone()))
        .collect();
    assert_eq!(
        rows,
        [
            (Operation::Access, vec![2, 20]),
            (Operation::Growth, vec![1, 10])
        ]
    );
    assert_eq!(found.totals, [15, 150]);
}
