#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::Value;

use super::thin::{Bins, Busy, share, spans};
use super::{SCRIPT, STYLE, page};
use crate::events::{Frame, Op};
use crate::timeline::{
    Cell, Evidence, Finding, Heat, Instant, Interval, MapTrack, Point, Series, SeriesKind, Source,
    SourceKind, Timeline, Wall, Waste,
};

fn written(timeline: &Timeline) -> String {
    let mut bytes = Vec::new();
    page(timeline, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What a browser finds in the element with the data.
fn data_of(html: &str) -> Value {
    let (_, rest) = html
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

fn instant(t_ns: u64, op: Option<Op>) -> Instant {
    Instant {
        t_ns,
        until_ns: t_ns,
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

fn interval(lane: &str, begin_ns: u64, end_ns: u64) -> Interval {
    Interval {
        lane: Rc::from(lane),
        name: Rc::from(lane),
        begin_ns,
        end_ns,
        whole: true,
        goid: None,
        source: 0,
    }
}

#[test]
fn an_empty_timeline_gives_a_page() {
    let html = written(&Timeline::default());
    assert!(html.starts_with("<!doctype html>"));
    assert!(html.trim_end().ends_with("</html>"));
    let data = data_of(&html);
    assert_eq!(data["schema"], "gomapscope.page/1");
    assert_eq!(data["begin"], Value::Null);
    assert_eq!(data["instants"]["total"], 0);
    assert!(SCRIPT.contains("Nothing that has a time was found"));
}

#[test]
fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let html = written(&Timeline::default());
    let hash = |open: &str, close: &str| {
        let (_, rest) = html.split_once(open).unwrap();
        let (text, _) = rest.split_once(close).unwrap();
        base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text))
    };
    let (_, policy) = html
        .split_once("Content-Security-Policy\" content=\"")
        .unwrap();
    let (policy, _) = policy.split_once('"').unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains(&format!(
        "script-src 'sha256-{}';",
        hash("<script>", "</script>")
    )));
    assert!(policy.contains(&format!(
        "style-src 'sha256-{}';",
        hash("<style>", "</style>")
    )));
    assert!(!policy.contains("unsafe"));
    assert!(!html.contains("{{"));
    // Nothing that a browser would fetch.
    for load in [
        " src=",
        "@import",
        "url(",
        "sourceMappingURL",
        "<link",
        "<img",
        "<iframe",
    ] {
        let found = html
            .find(load)
            .map(|at| &html[at..(at + 60).min(html.len())]);
        assert_eq!(found, None);
    }
}

#[test]
fn what_is_inlined_cannot_end_its_element() {
    let lower = SCRIPT.to_ascii_lowercase();
    assert!(!lower.contains("</script") && !lower.contains("<!--"));
    assert!(!STYLE.to_ascii_lowercase().contains("</style"));
    for way in [
        ".innerHTML",
        ".outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ] {
        assert!(!SCRIPT.contains(way), "{way}");
    }
}

/// Texts that would be markup, scripts or other text if anything took them for such.
const EVIL: [&str; 9] = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "-->",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "\"'`&lt;&amp;{{data}}{{script}}",
    "\u{202e}gnp.exe\u{2066}\0\u{7f}\u{1b}[31m\r\n\t",
    "\u{2028}\u{2029}\u{feff}\\u003c\\",
    "x\u{fffd}\u{10ffff}\u{301}\u{301}\u{301}",
];

#[test]
fn hostile_texts_stay_texts_everywhere() {
    for evil in EVIL {
        let text = || Rc::<str>::from(evil);
        let timeline = Timeline {
            subject: crate::timeline::Subject {
                program: Some(evil.to_owned()),
                go_version: Some(evil.to_owned()),
                arch: Some(evil.to_owned()),
                pid: Some(u64::MAX),
                boot_id: Some(evil.to_owned()),
            },
            extent: Some((0, u64::MAX)),
            wall: Some(Wall {
                offset_ns: i64::MIN,
                error_ns: u64::MAX,
                source: usize::MAX,
            }),
            sources: vec![Source {
                kind: SourceKind::Trace,
                path: evil.to_owned(),
                mapping: evil.to_owned(),
                offset_ns: Some(i64::MIN),
                error_ns: Some(u64::MAX),
                extent: Some((u64::MAX, 0)),
                records: u64::MAX,
                racing: true,
                refused: Some(evil.to_owned()),
                notes: vec![evil.to_owned()],
            }],
            maps: vec![MapTrack {
                address: u64::MAX,
                type_name: Some(text()),
                name: Some(text()),
                allocated_at: Some(usize::MAX),
                extent: Some((u64::MAX, 0)),
                heat: Some(Heat {
                    t_ns: u64::MAX,
                    slots: 0,
                    cells: vec![Cell {
                        buckets: u32::MAX,
                        live: u32::MAX,
                    }],
                    by_live: vec![u64::MAX; 3],
                }),
                blocks: vec![(u64::MAX, u64::MAX, text()), (0, 0, text()), (0, 1, text())],
                ..MapTrack::default()
            }],
            series: vec![Series {
                kind: SeriesKind::Len,
                map: Some(usize::MAX),
                source: usize::MAX,
                points: vec![
                    Point {
                        t_ns: u64::MAX,
                        value: f64::NAN,
                    },
                    Point {
                        t_ns: 0,
                        value: f64::INFINITY,
                    },
                ],
            }],
            intervals: vec![Interval {
                name: text(),
                end_ns: 0,
                ..interval(evil, u64::MAX, 0)
            }],
            instants: vec![Instant {
                until_ns: 0,
                map: Some(usize::MAX),
                text: Some(text()),
                stack: Some(u32::MAX),
                source: usize::MAX,
                ..instant(u64::MAX, None)
            }],
            stacks: vec![Rc::from([Frame {
                function: evil.to_owned(),
                file: evil.to_owned(),
                line: u32::MAX,
                inlined: false,
            }])],
            waste: vec![
                Waste {
                    type_name: text(),
                    holder: Some(text()),
                    stack: Some(0),
                    component: "empty slots",
                    bytes: u64::MAX,
                    maps: u64::MAX,
                };
                2
            ],
            findings: vec![Finding {
                text: evil.to_owned(),
                proved: true,
                evidence: vec![Evidence {
                    source: usize::MAX,
                    text: evil.to_owned(),
                    t_ns: Some(u64::MAX),
                }],
            }],
            notes: vec![evil.to_owned()],
        };
        let html = written(&timeline);
        let plain = written(&Timeline::default());
        let tags = |html: &str| {
            let lower = html.to_ascii_lowercase();
            ["<script", "</script", "<!--", "-->", "<img"].map(|tag| lower.matches(tag).count())
        };
        assert_eq!(tags(&html), tags(&plain), "{evil:?}");
        let data = data_of(&html);
        let note = data["notes"][0].as_str().unwrap();
        assert_eq!(note, crate::report::sanitize(evil, true));
        assert!(!note.contains(['\u{202e}', '\u{2066}', '\0', '\u{1b}', '\u{2028}']));
        assert_eq!(data["findings"][0]["text"], note);
        // Two rows of all bytes there can be do not wrap around.
        assert_eq!(data["flame"][0][3].as_u64(), Some(u64::MAX));
    }
}

#[test]
fn very_long_texts_are_cut() {
    let timeline = Timeline {
        notes: vec!["é".repeat(1 << 20)],
        ..Timeline::default()
    };
    let data = data_of(&written(&timeline));
    let note = data["notes"][0].as_str().unwrap();
    assert_eq!(note.chars().count(), 1_001);
    assert!(note.ends_with('…'));
}

#[test]
fn counts_of_events_are_exact_and_the_weightiest_stay() {
    let count = 30_000u64;
    let mut timeline = Timeline::default();
    for number in 0..count {
        let op = match number % 1_000 {
            0 => Some(Op::Grow),
            1 => None,
            n if n % 2 == 0 => Some(Op::Assign),
            _ => Some(Op::Delete),
        };
        timeline.instants.push(Instant {
            until_ns: 1_000 + number * 7 + number % 3,
            ..instant(1_000 + number * 7, op)
        });
    }
    timeline.findings.push(Finding {
        text: "an assignment matters".to_owned(),
        proved: false,
        evidence: vec![Evidence {
            source: 0,
            text: "this one".to_owned(),
            t_ns: Some(1_000 + 12_345 * 7),
        }],
    });
    let data = data_of(&written(&timeline));
    assert_eq!(data["begin"], "1000");
    assert_eq!(data["instants"]["total"], count);
    let kept = data["instants"]["kept"].as_array().unwrap();
    assert_eq!(kept.len(), 4_000);
    assert!(kept.is_sorted_by_key(|row| row[0].as_u64()));
    let ops = data["instants"]["ops"].as_array().unwrap();
    let mut total = 0;
    for (index, op) in ops.iter().enumerate() {
        let rows = kept.iter().filter(|row| row[2] == index).count() as u64;
        assert_eq!(op["kept"], rows, "{op}");
        let bins: u64 = op["bins"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin[1].as_u64().unwrap())
            .sum();
        let whole = op["total"].as_u64().unwrap();
        if rows < whole {
            assert_eq!(bins, whole, "{}", op["op"]);
        }
        total += whole;
        match op["op"].as_str().unwrap() {
            "grow" | "log" => assert_eq!((whole, rows), (30, 30)),
            "assign" | "delete" => assert!(rows > 1_500, "a sample of both: {rows}"),
            _ => assert_eq!(whole, 0),
        }
    }
    assert_eq!(total, count);
    assert!(kept.iter().any(|row| row[0] == 12_345 * 7 && row[2] != 0));
    // The sample is spread: every tenth of the time has its share.
    let tenth = count * 7 / 10;
    for part in 0..10 {
        let here = kept
            .iter()
            .filter(|row| row[0].as_u64().unwrap() / tenth == part)
            .count();
        assert!((300..500).contains(&here), "{part}: {here}");
    }
}

#[test]
fn lanes_keep_their_sums() {
    let mut timeline = Timeline::default();
    let mut sum = 0;
    for number in 0..20_000u64 {
        let long = number % 97;
        sum += long;
        timeline
            .intervals
            .push(interval("GC", number * 100, number * 100 + long));
    }
    timeline.intervals.push(interval("task", 0, 2_000_000));
    let data = data_of(&written(&timeline));
    let lanes = data["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2);
    let gc = &lanes[0];
    assert_eq!(
        (&gc["total"], &gc["total_ns"], &gc["longest_ns"]),
        (&20_000.into(), &sum.into(), &96.into())
    );
    let kept = gc["kept"].as_array().unwrap();
    assert!(kept.len() > 5_000 && kept.len() < 6_000);
    // The shortest kept is not shorter than the longest that is not.
    assert!(kept.iter().all(|row| row[1].as_u64().unwrap() >= 60));
    let bins = gc["bins"].as_array().unwrap();
    assert_eq!(
        bins.iter().map(|bin| bin[1].as_u64().unwrap()).sum::<u64>(),
        20_000
    );
    assert_eq!(
        bins.iter().map(|bin| bin[2].as_u64().unwrap()).sum::<u64>(),
        sum
    );
    assert_eq!(lanes[1]["kept"][0][1], 2_000_000);
}

#[test]
fn heat_cells_keep_slots_and_buckets() {
    let cells: Vec<Cell> = (0..131_072u32)
        .map(|bucket| Cell {
            buckets: 1,
            live: bucket % 9,
        })
        .collect();
    let live: u64 = cells.iter().map(|cell| u64::from(cell.live)).sum();
    let timeline = Timeline {
        maps: vec![MapTrack {
            heat: Some(Heat {
                t_ns: 5,
                slots: 8,
                cells,
                by_live: Vec::new(),
            }),
            chains: (0..40).collect(),
            ..MapTrack::default()
        }],
        ..Timeline::default()
    };
    let data = data_of(&written(&timeline));
    let chains = data["maps"][0]["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 16);
    let mains: u64 = chains.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(mains, (0..40).sum::<u64>());
    let heat = &data["maps"][0]["heat"];
    let joined = heat["cells"].as_array().unwrap();
    assert_eq!(joined.len(), 4_096);
    let sum = |part: usize| -> u64 { joined.iter().map(|cell| cell[part].as_u64().unwrap()).sum() };
    assert_eq!((sum(0), sum(1)), (131_072, live));
    assert_eq!(
        (&heat["buckets"], &heat["live"]),
        (&131_072.into(), &live.into())
    );
    let distribution = heat["distribution"].as_array().unwrap();
    assert_eq!(distribution.len(), 9);
    assert_eq!(distribution[0], 14_564);
    assert_eq!(
        distribution
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum::<u64>(),
        131_072
    );
}

#[test]
fn blocks_are_told_by_address() {
    let kind = Rc::<str>::from("groups");
    let timeline = Timeline {
        maps: vec![MapTrack {
            blocks: vec![
                (0x3000, 0x800, Rc::clone(&kind)),
                (0x1000, 0x1000, Rc::clone(&kind)),
                (0x2000, 0x1000, Rc::clone(&kind)),
                (0x10_0000, 0x10, Rc::from("directory")),
                (0x3400, 0x800, kind),
            ],
            ..MapTrack::default()
        }],
        ..Timeline::default()
    };
    let data = data_of(&written(&timeline));
    let blocks = &data["maps"][0]["blocks"];
    assert_eq!(blocks["base"], "0x1000");
    assert_eq!(blocks["span"], 0x10_0010 - 0x1000);
    assert_eq!(blocks["bytes"], 0x2c10);
    assert_eq!(blocks["overlap"], 0x400);
    assert_eq!(blocks["pages"], 4);
    let runs = blocks["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[0][1], &runs[0][4]), (&0x2c00.into(), &4.into()));
}

#[test]
fn very_many_blocks_keep_their_widest_gaps() {
    let blocks: Vec<(u64, u64, Rc<str>)> = (0..50_000u64)
        .map(|n| {
            (
                n * 0x3000 + n / 25_000 * 0x1_0000_0000,
                0x1000,
                Rc::from("groups"),
            )
        })
        .collect();
    let timeline = Timeline {
        maps: vec![MapTrack {
            blocks,
            ..MapTrack::default()
        }],
        ..Timeline::default()
    };
    let data = data_of(&written(&timeline));
    let blocks = &data["maps"][0]["blocks"];
    assert_eq!(
        (&blocks["blocks"], &blocks["pages"]),
        (&50_000.into(), &50_000.into())
    );
    let runs = blocks["runs"].as_array().unwrap();
    assert!(runs.len() <= 1_024);
    assert_eq!(
        runs.iter().map(|run| run[2].as_u64().unwrap()).sum::<u64>(),
        50_000 * 0x1000
    );
    assert_eq!(
        runs.iter().map(|run| run[4].as_u64().unwrap()).sum::<u64>(),
        50_000
    );
    assert!(runs.len() >= 2);
}

#[test]
fn the_flame_graph_is_cut_and_still_sums_up() {
    let waste: Vec<Waste> = (0..30_000u64)
        .map(|n| Waste {
            type_name: Rc::from(format!("map[string]T{}", n % 50)),
            holder: Some(Rc::from(format!("main.holder{n}"))),
            stack: None,
            component: ["empty slots", "tombstones"][(n % 2) as usize],
            bytes: n * 3 + 1,
            maps: 1,
        })
        .collect();
    let total: u64 = waste.iter().map(|row| row.bytes).sum();
    let data = data_of(&written(&Timeline {
        waste,
        ..Timeline::default()
    }));
    let nodes = data["flame"].as_array().unwrap();
    assert!(nodes.len() < 5_000, "{}", nodes.len());
    assert_eq!(nodes[0][3], total);
    let mut children: HashMap<u64, u64> = HashMap::new();
    for (index, node) in nodes.iter().enumerate().skip(1) {
        let parent = node[0].as_u64().unwrap();
        assert!((parent as usize) < index);
        *children.entry(parent).or_default() += node[3].as_u64().unwrap();
    }
    for (parent, sum) in children {
        assert_eq!(
            nodes[parent as usize][3].as_u64().unwrap(),
            sum,
            "{}",
            nodes[parent as usize]
        );
    }
}

#[test]
fn pages_of_huge_timelines_stay_small() {
    let mut timeline = Timeline::default();
    for map in 0..3_000usize {
        timeline.maps.push(MapTrack {
            address: map as u64,
            allocated: Some(10),
            reclaimable: Some(4),
            heat: Some(Heat {
                t_ns: 0,
                slots: 8,
                cells: vec![
                    Cell {
                        buckets: 3,
                        live: 11
                    };
                    500
                ],
                by_live: Vec::new(),
            }),
            blocks: (0..40)
                .map(|block| (block << 20, 0x1000, Rc::from("groups")))
                .collect(),
            ..MapTrack::default()
        });
        timeline.series.push(Series {
            kind: SeriesKind::Len,
            map: Some(map),
            source: 0,
            points: (0..400)
                .map(|n| Point {
                    t_ns: n * 1_000_003,
                    value: (n * 7_919 % 1_000_003) as f64,
                })
                .collect(),
        });
    }
    for n in 0..100_000u64 {
        timeline.instants.push(instant(n * 3_001, Some(Op::Grow)));
        timeline.intervals.push(interval(
            &format!("task {}", n % 200),
            n * 3_000,
            n * 3_000 + n % 999,
        ));
    }
    let html = written(&timeline);
    assert!(html.len() < 5_000_000, "{}", html.len());
    let data = data_of(&html);
    assert_eq!(data["maps"].as_array().unwrap().len(), 500);
    assert_eq!(data["maps_left_out"]["maps"], 2_500);
    assert_eq!(data["maps_left_out"]["reclaimable"], 10_000);
    assert_eq!(data["series_total"], 3_000);
    assert_eq!(data["lanes"].as_array().unwrap().len(), 60);
    assert_eq!(data["lanes_left_out"]["lanes"], 140);
    assert_eq!(data["lanes_left_out"]["intervals"], 70_000);
}

#[test]
fn equal_values_cost_nothing_of_the_line() {
    let points: Vec<Point> = (0..100_000)
        .map(|n| Point {
            t_ns: n * 10,
            value: (n / 25_000) as f64,
        })
        .collect();
    let spans = spans(&points, 100);
    assert_eq!(spans.len(), 4);
    assert!(
        spans
            .iter()
            .all(|span| span.points == 25_000 && span.min == span.max)
    );
    assert_eq!(spans[2].first.t_ns, 500_000);
}

#[test]
fn shares_are_fair() {
    assert_eq!(
        share(&[10, 1_000, 3, 1_000], 1_013, 4_000),
        [10, 500, 3, 500]
    );
    assert_eq!(share(&[5_000], 10_000, 4_000), [4_000]);
    assert_eq!(share(&[], 10, 10), Vec::<usize>::new());
}

proptest! {
    #[test]
    fn thinned_series_keep_counts_ends_and_extremes(
        steps in prop::collection::vec((0u64..2_000_000, -50i32..50), 1..3_000),
        budget in 8usize..400,
    ) {
        let mut t_ns = 0;
        let points: Vec<Point> = steps
            .iter()
            .map(|&(step, value)| { t_ns += step; Point { t_ns, value: f64::from(value) } })
            .collect();
        let spans = spans(&points, budget);
        prop_assert!(spans.len() <= budget.max(8) + 4, "{} of {budget}", spans.len());
        let mut at = 0;
        for span in &spans {
            let part = &points[at..at + usize::try_from(span.points).unwrap()];
            at += part.len();
            prop_assert_eq!(part.first().copied(), Some(span.first));
            prop_assert_eq!(part.last().copied(), Some(span.last));
            let low = part.iter().map(|point| point.value).fold(f64::INFINITY, f64::min);
            let high = part.iter().map(|point| point.value).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!((low, high), (span.min, span.max));
        }
        prop_assert_eq!(at, points.len());
    }

    #[test]
    fn busy_bins_add_up(
        intervals in prop::collection::vec((0u64..1_000_000, 0u64..300_000), 0..200),
        count in 1usize..50,
    ) {
        let end = intervals.iter().map(|&(begin, long)| begin + long).max().unwrap_or(0);
        let bins = Bins::new(0, end, count);
        prop_assert!(bins.count <= count);
        let mut busy = Busy::new(bins);
        for &(begin, long) in &intervals {
            busy.add(begin, begin + long);
        }
        let rows = busy.rows();
        let sum: u64 = rows.iter().map(|row| row.2).sum();
        prop_assert_eq!(sum, intervals.iter().map(|one| one.1).sum::<u64>());
        prop_assert_eq!(rows.iter().map(|row| row.1).sum::<u64>(), intervals.len() as u64);
    }
}
