//! `page rich|big|hostile|empty > page.html`: the HTML report of a made-up process, to look at in a
//! browser. `big` has a million events and 131,072 buckets.

#![allow(clippy::print_stderr)]

use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;

use gomapscope_core::events::{Frame, Op};
use gomapscope_core::timeline::{
    Cell, Evidence, Finding, Heat, Instant, Interval, MapTrack, Point, Series, SeriesKind, Source,
    SourceKind, Subject, Timeline, Wall, Waste, html,
};

/// Where the clock stands when the record begins.
const BEGIN: u64 = 8_412_553_120_447;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn main() -> ExitCode {
    let timeline = match std::env::args().nth(1).as_deref() {
        Some("rich") => process(12 * SECOND, 14, 32_768, 0),
        Some("big") => process(600 * SECOND, 40, 131_072, 1_000_000),
        Some("hostile") => hostile(),
        Some("empty") => Timeline::default(),
        _ => {
            eprintln!("usage: page rich|big|hostile|empty > page.html");
            return ExitCode::from(2);
        }
    };
    let begin = std::time::Instant::now();
    let mut page = Vec::new();
    let written =
        html::page(&timeline, &mut page).and_then(|()| std::io::stdout().lock().write_all(&page));
    if let Err(error) = written {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    eprintln!(
        "{} events, {} points, {} bytes in {:.3} s",
        timeline.instants.len(),
        timeline
            .series
            .iter()
            .map(|one| one.points.len())
            .sum::<usize>(),
        page.len(),
        begin.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

/// Marsaglia's xorshift: the same page every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

fn frame(function: &str, file: &str, line: u32) -> Frame {
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
        inlined: false,
    }
}

fn source(kind: SourceKind, path: &str, mapping: &str, records: u64) -> Source {
    Source {
        kind,
        path: path.to_owned(),
        mapping: mapping.to_owned(),
        offset_ns: Some(0),
        error_ns: Some(0),
        extent: None,
        records,
        racing: false,
        refused: None,
        notes: Vec::new(),
    }
}

const TYPES: [&str; 7] = [
    "map[string]*main.Session",
    "map[uint64]labels.Labels",
    "map[main.Key]main.Row",
    "map[string]struct {}",
    "map[netip.AddrPort]*quic.conn",
    "map[string]map[string][]string",
    "map[int64]time.Time",
];
const NAMES: [&str; 7] = [
    "main.srv.sessions",
    "main.scrape.series",
    "main.table.rows.byKey",
    "main.seen",
    "main.transport.conns",
    "main.cache.headers",
    "main.deadlines",
];

fn process(length: u64, maps: usize, buckets: u64, extra: u64) -> Timeline {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut timeline = Timeline {
        subject: Subject {
            program: Some("/srv/checkout/bin/sessiond".to_owned()),
            go_version: Some("go1.27.3".to_owned()),
            arch: Some("amd64".to_owned()),
            pid: Some(41_203),
            boot_id: Some("5f0c1ab2-6d1e-4f0a-9a63-3c1b7b1b9d10".to_owned()),
        },
        extent: Some((BEGIN, BEGIN + length)),
        wall: Some(Wall {
            offset_ns: 1_795_347_210_553_870_112,
            error_ns: 1_300,
            source: 0,
        }),
        ..Timeline::default()
    };
    timeline.sources = vec![
        Source {
            extent: Some((BEGIN, BEGIN + length)),
            ..source(SourceKind::Events, "events.jsonl", "as recorded", 1_893)
        },
        Source {
            extent: Some((BEGIN + length / 50, BEGIN + length)),
            error_ns: Some(64),
            notes: vec!["The last generation was cut at byte 1,482,112.".to_owned()],
            ..source(
                SourceKind::Trace,
                "trace.out",
                "ticks of 64 ns",
                482_113,
            )
        },
        Source {
            offset_ns: Some(-1_795_347_210_553_870_112),
            error_ns: Some(1_300),
            extent: Some((BEGIN + length / 3, BEGIN + length / 3)),
            notes: vec!["Drawn at its last collection.".to_owned()],
            ..source(
                SourceKind::Heap,
                "heap.pb.gz",
                "wall clock less the offset of events.jsonl",
                214,
            )
        },
        Source {
            offset_ns: Some(-1_795_347_210_553_870_112),
            error_ns: Some(1_300),
            extent: Some((BEGIN + length / 2, BEGIN + length / 2 + length / 10)),
            ..source(
                SourceKind::Cpu,
                "cpu.pb.gz",
                "wall clock less the offset of events.jsonl",
                9_120,
            )
        },
        Source {
            extent: Some((BEGIN + length - MS, BEGIN + length - MS)),
            ..source(SourceKind::Snapshot, "after.json", "as recorded", 1)
        },
        Source {
            offset_ns: None,
            error_ns: None,
            refused: Some(
                "recorded in another boot (boot id 0d0c4c1e): its clock has nothing to do with this one"
                    .to_owned(),
            ),
            ..source(SourceKind::Trace, "old/trace-2.out", "none", 0)
        },
    ];
    let stacks: [&[Frame]; 4] = [
        &[
            frame(
                "runtime.mapassign_faststr",
                "/usr/lib/go/src/internal/runtime/maps/runtime_faststr_swiss.go",
                263,
            ),
            frame("main.(*Server).checkout", "/srv/checkout/checkout.go", 31),
            frame("main.(*Server).handle", "/srv/checkout/server.go", 118),
            frame(
                "net/http.HandlerFunc.ServeHTTP",
                "/usr/lib/go/src/net/http/server.go",
                2294,
            ),
        ],
        &[
            frame(
                "runtime.mapassign_fast64",
                "/usr/lib/go/src/internal/runtime/maps/runtime_fast64_swiss.go",
                259,
            ),
            frame("main.scrape", "/srv/checkout/scrape.go", 912),
            frame("main.main.func2", "/srv/checkout/main.go", 77),
        ],
        &[
            frame(
                "runtime.mapassign",
                "/usr/lib/go/src/internal/runtime/maps/runtime_swiss.go",
                191,
            ),
            frame("main.(*Table).put", "/srv/checkout/table.go", 240),
            frame("main.(*Table).load", "/srv/checkout/table.go", 188),
            frame("main.main", "/srv/checkout/main.go", 41),
        ],
        &[
            frame(
                "maps.Clone[go.shape.map[string]bool,go.shape.string,go.shape.bool]",
                "/usr/lib/go/src/maps/maps.go",
                61,
            ),
            frame("main.audit", "/srv/checkout/audit.go", 15),
        ],
    ];
    timeline.stacks = stacks.iter().map(|&stack| Rc::from(stack)).collect();
    for index in 0..maps {
        add_map(&mut timeline, index, length, buckets, extra, &mut random);
    }
    add_collections(
        &mut timeline,
        length,
        if extra > 0 { 20_000 } else { 60 },
        &mut random,
    );
    for (task, name) in ["checkout", "refund", "report"].iter().enumerate() {
        let mut t = BEGIN + length / 40 * (task as u64 + 1);
        for number in 0..12 {
            let long = length / 60 + random.below(length / 25);
            if t + long > BEGIN + length {
                break;
            }
            timeline.intervals.push(Interval {
                lane: Rc::from(format!("task {name}")),
                name: Rc::from(format!("{name} {}", 4_000 + number * 7)),
                begin_ns: t,
                end_ns: t + long,
                whole: number != 0,
                goid: Some(18 + number),
                source: 1,
            });
            t += long + random.below(length / 12);
        }
    }
    for (lane, begin, end, source) in [
        ("profile heap.pb.gz", length / 3, length / 3, 2),
        ("profile cpu.pb.gz", length / 2, length / 2 + length / 10, 3),
    ] {
        timeline.intervals.push(Interval {
            lane: Rc::from(lane),
            name: Rc::from(lane),
            begin_ns: BEGIN + begin,
            end_ns: BEGIN + end,
            whole: true,
            goid: None,
            source,
        });
    }
    for number in 0..9 {
        timeline.instants.push(Instant {
            t_ns: BEGIN + length / 10 * number + random.below(length / 20),
            until_ns: 0,
            op: None,
            text: Some(Rc::from(format!("map-lifecycle: purge {number} begins"))),
            goid: Some(18),
            source: 1,
            ..instant(None)
        });
        if let Some(last) = timeline.instants.last_mut() {
            last.until_ns = last.t_ns;
        }
    }
    timeline.instants.sort_by_key(|instant| instant.t_ns);
    timeline.intervals.sort_by_key(|interval| interval.begin_ns);
    timeline.findings = findings(length);
    add_waste(&mut timeline, maps, &mut random);
    timeline.notes = vec![
        "34,288 maps below 64 KiB are left out; together they hold 12.4 MiB.".to_owned(),
        "The heap profile samples one object in 512 KiB; its figures are estimates.".to_owned(),
    ];
    timeline
}

fn instant(op: Option<Op>) -> Instant {
    Instant {
        t_ns: 0,
        until_ns: 0,
        op,
        map: None,
        text: None,
        goid: None,
        stack: None,
        len: None,
        old_capacity: None,
        capacity: None,
        size: None,
        source: 0,
    }
}

fn add_map(
    timeline: &mut Timeline,
    index: usize,
    length: u64,
    buckets: u64,
    extra: u64,
    random: &mut Random,
) {
    let kind = index % TYPES.len();
    let buckets = (buckets >> (index / 2).min(12)).max(2);
    let capacity = buckets * 8;
    let steps = if extra > 0 { extra / 40 } else { 400 };
    let slot = 24 + 8 * kind as u64;
    let born = BEGIN + length / 100 * (index as u64 % 17);
    let (mut len, mut slots) = (0u64, 8u64);
    let mut points: [Vec<Point>; 4] = Default::default();
    let purge = 55 + random.below(35);
    for step in 0..steps {
        let t_ns = born + (BEGIN + length - born) / steps * step + random.below(1_000);
        let share = step * 100 / steps;
        if share < purge {
            len = (capacity * 7 / 8 * step * 100 / (steps * purge)).min(capacity * 7 / 8);
        } else if index % 3 != 1 {
            len -= len / 24;
        }
        while slots * 7 / 8 < len && slots < capacity {
            timeline.instants.push(Instant {
                t_ns,
                until_ns: t_ns
                    + if slots % 3 == 1 && index.is_multiple_of(2) {
                        length / 90
                    } else {
                        0
                    },
                map: Some(index),
                goid: Some(18 + kind as u64),
                stack: Some((kind % 4) as u32),
                len: Some(len),
                old_capacity: Some(slots),
                capacity: Some(slots * 2),
                size: Some(slots * 2 * slot),
                ..instant(Some(if slots < 1_024 { Op::Grow } else { Op::Split }))
            });
            slots *= 2;
        }
        let holes = 1.0 - len as f64 / slots as f64;
        for (series, value) in
            points
                .iter_mut()
                .zip([len as f64, slots as f64, (slots * slot) as f64, holes])
        {
            if extra > 0 || step % 4 == 0 || step + 1 == steps {
                series.push(Point { t_ns, value });
            }
        }
        if extra > 0 {
            timeline.instants.push(Instant {
                t_ns,
                until_ns: t_ns,
                map: Some(index),
                goid: Some(18),
                stack: Some(0),
                len: Some(len),
                ..instant(Some(if share < purge {
                    Op::Assign
                } else {
                    Op::Delete
                }))
            });
        }
    }
    let kinds = [
        SeriesKind::Len,
        SeriesKind::Capacity,
        SeriesKind::Storage,
        SeriesKind::HoleDensity,
    ];
    for (kind, points) in kinds.into_iter().zip(points) {
        timeline.series.push(Series {
            kind,
            map: Some(index),
            source: 0,
            points,
        });
    }
    let base = 0x31b4_8000_0000 + ((index as u64) << 32);
    let arrays = (buckets / 128).clamp(1, 1_024);
    let group = slot * 8 + 8;
    let mut blocks = vec![(base - 0x20_0000, arrays * 8, Rc::from("directory"))];
    for array in 0..arrays {
        let hole = if array > arrays / 2 { 0x180_0000 } else { 0 };
        blocks.push((
            base + array * (128 * group).next_multiple_of(8_192) + array / 5 * 16_384 + hole,
            128 * group,
            Rc::from("groups"),
        ));
    }
    let live_share = len * 1_000 / slots.max(1);
    timeline.maps.push(MapTrack {
        address: 0x31b4_0000_a000 + index as u64 * 48,
        type_name: Some(Rc::from(TYPES[kind])),
        name: (index < NAMES.len()).then(|| Rc::from(NAMES[kind])),
        allocated_at: Some(kind % 4),
        extent: Some((born, BEGIN + length)),
        len: Some(len),
        capacity: Some(slots),
        allocated: Some(slots * slot + slots),
        reclaimable: Some((slots * slot + slots).saturating_sub(len * slot * 8 / 7)),
        growths: u64::from(slots.ilog2()) - 3,
        heat: Some(Heat {
            t_ns: BEGIN + length - MS,
            slots: 8,
            cells: (0..buckets)
                .map(|bucket| {
                    let local = live_share + (bucket * 7 / buckets) * 40;
                    Cell {
                        buckets: 1,
                        live: (0..8).filter(|_| random.below(1_000) < local).count() as u32,
                    }
                })
                .collect(),
            by_live: Vec::new(),
        }),
        chains: if index == 1 {
            vec![30_112, 2_204, 391, 58, 3]
        } else {
            Vec::new()
        },
        blocks,
        exact: index % 5 != 3,
    });
}

fn add_collections(timeline: &mut Timeline, length: u64, count: u64, random: &mut Random) {
    let (mut live, mut goal) = (Vec::new(), Vec::new());
    let mut map_storage = Vec::new();
    for number in 0..count {
        let t = BEGIN + length / 50 + (length - length / 50) / count * number;
        let step = (length / count / 3).max(10);
        let long = step / 2 + random.below(step);
        for (lane, name, begin, end) in [
            ("GC", "GC", t, t + long),
            (
                "STW",
                "stop-the-world (GC sweep termination)",
                t,
                t + long / 40,
            ),
            (
                "STW",
                "stop-the-world (GC mark termination)",
                t + long - long / 30,
                t + long,
            ),
        ] {
            timeline.intervals.push(Interval {
                lane: Rc::from(lane),
                name: Rc::from(name),
                begin_ns: begin,
                end_ns: end,
                whole: number > 0,
                goid: None,
                source: 1,
            });
        }
        let size = (24 << 20) + (70 << 20) * number / count;
        for (part, share) in [(0, 96), (1, 52), (2, 60), (3, 74), (4, 88)] {
            live.push(Point {
                t_ns: t + long + (length / count - long) / 5 * part,
                value: (size * share / 100 + random.below(1 << 20)) as f64,
            });
        }
        goal.push(Point {
            t_ns: t + long,
            value: (size * 104 / 100) as f64,
        });
        map_storage.push(Point {
            t_ns: t + long,
            value: (size * 41 / 100) as f64,
        });
    }
    for (kind, points, source) in [
        (SeriesKind::HeapLive, live, 1),
        (SeriesKind::HeapGoal, goal, 1),
        (SeriesKind::MapStorage, map_storage, 1),
        (
            SeriesKind::HeapInUse,
            vec![Point {
                t_ns: BEGIN + length / 3,
                value: 41.5 * 1_048_576.0,
            }],
            2,
        ),
    ] {
        timeline.series.push(Series {
            kind,
            map: None,
            source,
            points,
        });
    }
}

fn findings(length: u64) -> Vec<Finding> {
    let evidence = |source, text: &str, t_ns: Option<u64>| Evidence {
        source,
        text: text.to_owned(),
        t_ns,
    };
    vec![
        Finding {
            text: "map main.srv.sessions grew 14 times in 6.9 s; 11 of them at checkout.go:31"
                .to_owned(),
            proved: true,
            evidence: vec![
                evidence(0, "14 events of op grow or split, the last to 262,144 slots", Some(BEGIN + length * 57 / 100)),
                evidence(0, "11 stacks with main.(*Server).checkout checkout.go:31 above the runtime", Some(BEGIN + length / 5)),
            ],
        },
        Finding {
            text: "map main.srv.sessions lost 99.4 % of its entries and keeps its 6.3 MiB; a rebuild would give back 6.2 MiB"
                .to_owned(),
            proved: true,
            evidence: vec![evidence(4, "1,204 entries in 262,144 slots, counted slot by slot", Some(BEGIN + length - MS))],
        },
        Finding {
            text: "collections begin 40 % more often while task report runs".to_owned(),
            proved: false,
            evidence: vec![
                evidence(1, "19 of 60 collections began within the 12 regions of task report", Some(BEGIN + length * 2 / 3)),
                evidence(1, "heap live rose by 11.2 MiB a second in them, by 8.0 MiB outside", None),
            ],
        },
    ]
}

fn add_waste(timeline: &mut Timeline, maps: usize, random: &mut Random) {
    for index in 0..maps.max(14) {
        for (component, share) in [
            ("empty slots", 60),
            ("tombstones", 25),
            ("overflow buckets", 10),
            ("old buckets", 5),
        ] {
            if random.below(4) == 0 {
                continue;
            }
            timeline.waste.push(Waste {
                type_name: Rc::from(TYPES[index % TYPES.len()]),
                holder: (index % 4 != 3)
                    .then(|| Rc::from(format!("{}.part{}", NAMES[index % NAMES.len()], index / 7))),
                stack: (index % 5 != 4).then_some(index % 4),
                component,
                bytes: ((8 << 20) >> (index / 3).min(16)) * share / 60 + random.below(1 << 14),
                maps: 1 + random.below(40),
            });
        }
    }
}

/// Names that would be scripts if anything took them for such.
fn hostile() -> Timeline {
    const EVIL: [&str; 8] = [
        "</script><script>document.title='PWNED'</script>",
        "<!--<script>",
        "<img src=x onerror=\"document.title='PWNED'\">",
        "javascript:document.title='PWNED'",
        "\"'`]]>{{script}}{{data}}",
        "\u{202e}gpj.exe\u{2066}\u{200f}\u{0}\u{7f}\u{1b}[31m",
        "\u{2028}\u{2029}\u{feff}\\u003cscript\\u003e&lt;b&gt;&amp;",
        "\u{d7ff}\u{fffd}\u{10ffff}x\u{301}\u{301}\u{301}\u{301}",
    ];
    let mut timeline = process(2 * SECOND, 8, 64, 0);
    for (index, map) in timeline.maps.iter_mut().enumerate() {
        map.name = Some(Rc::from(EVIL[index % 8]));
        map.type_name = Some(Rc::from(EVIL[(index + 1) % 8]));
        for block in &mut map.blocks {
            block.2 = Rc::from(EVIL[index % 8]);
        }
    }
    for (index, interval) in timeline.intervals.iter_mut().enumerate() {
        interval.lane = Rc::from(EVIL[index % 8]);
        interval.name = Rc::from(EVIL[(index + 3) % 8]);
    }
    for (index, instant) in timeline.instants.iter_mut().enumerate() {
        instant.text = Some(Rc::from(EVIL[index % 8]));
        instant.until_ns = u64::MAX * (index as u64 % 50 / 49);
        instant.map = Some(index * 1_000);
        instant.stack = Some(u32::MAX);
        instant.source = usize::MAX;
    }
    for (index, source) in timeline.sources.iter_mut().enumerate() {
        source.path = EVIL[index].to_owned();
        source.mapping = EVIL[index + 1].to_owned();
        source.notes = EVIL.iter().map(|&evil| evil.to_owned()).collect();
    }
    for (index, row) in timeline.waste.iter_mut().enumerate() {
        row.type_name = Rc::from(EVIL[index % 8]);
        row.holder = Some(Rc::from(EVIL[(index + 5) % 8]));
        row.bytes = u64::MAX / 3;
    }
    timeline.stacks = vec![Rc::from([frame(EVIL[0], EVIL[2], u32::MAX)]); 4];
    for (index, finding) in timeline.findings.iter_mut().enumerate() {
        finding.text = EVIL[index].to_owned();
        for evidence in &mut finding.evidence {
            evidence.text = EVIL[index + 1].to_owned();
            evidence.t_ns = Some(u64::MAX);
            evidence.source = usize::MAX;
        }
    }
    timeline.subject.program = Some(EVIL[0].to_owned());
    timeline.subject.go_version = Some(EVIL[2].to_owned());
    timeline.notes = EVIL.iter().map(|&evil| evil.to_owned()).collect();
    if let Some(series) = timeline.series.first_mut() {
        series.points.push(Point {
            t_ns: 0,
            value: f64::NAN,
        });
        series.points.push(Point {
            t_ns: u64::MAX,
            value: f64::INFINITY,
        });
        series.points.push(Point {
            t_ns: BEGIN,
            value: -1e308,
        });
        series.points.push(Point {
            t_ns: BEGIN,
            value: 1e308,
        });
    }
    timeline
}
