//! Files in, a timeline and its exports out.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::events::{Clock, Ending, Event, EventReader, EventWriter, Frame, Header, Op};

const WALL: u64 = 1_700_000_000_000_000_000;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("timeline-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn header(engine: &str) -> Header {
    Header {
        schema: crate::events::SCHEMA.to_owned(),
        engine: engine.to_owned(),
        go_version: Some("go1.27.3".to_owned()),
        pid: Some(7),
        boot_id: Some("boot".to_owned()),
        clock: Some(Clock {
            t_mono_ns: 1_000,
            t_wall_ns: WALL + 1_000,
            error_ns: 200,
        }),
        ..Header::default()
    }
}

fn growth(seq: u64, map: u64, t_ns: u64, capacity: u64) -> Event {
    let mut event = Event::new(seq, Op::Grow, map);
    event.t_mono_ns = Some(t_ns);
    event.type_name = Some("map[string]int".to_owned());
    event.tables = Some(1);
    event.len = Some(capacity / 4);
    event.capacity = Some(capacity);
    event.old_capacity = Some(capacity / 2);
    event.block = Some(0x10_0000 + capacity * 0x100);
    event.size = Some(capacity * 24);
    event.old_block = Some(0x10_0000 + capacity * 0x80);
    event.old_size = Some(capacity * 12);
    event.stack = vec![
        Frame {
            function: "runtime.mapassign".to_owned(),
            ..Frame::default()
        },
        Frame {
            function: "main.fill".to_owned(),
            file: "/src/fill.go".to_owned(),
            line: 31,
            inlined: false,
        },
    ];
    event
}

fn write_events(path: &Path, header: &Header, events: impl IntoIterator<Item = Event>) {
    let mut writer = EventWriter::create(path, true, header).unwrap();
    let mut count = 0;
    for event in events {
        writer.events_of([&event]).unwrap();
        count += 1;
    }
    writer
        .finish(&Ending {
            end: "stop".to_owned(),
            events: count,
            ..Ending::default()
        })
        .unwrap();
}

fn growths() -> impl Iterator<Item = Event> {
    (0..6).map(|n| growth(n + 1, 0x20, 5_000 + n * 1_000_000, 16 << n))
}

fn snapshot(t_ns: u64) -> String {
    let wall = WALL + t_ns + 50;
    format!(
        concat!(
            r#"{{"schema":"gomapscope.snapshot/1","kind":"maps","taken":{{"monotonic_ns":{},"#,
            r#""wall_ns":{},"error_ns":300,"boot_id":"boot"}},"target":{{"kind":"native","#,
            r#""go_version":"go1.27.3","pid":7}},"options":{{"buckets":true}},"maps":[{{"#,
            r#""schema":"gomapscope.stats/1","family":"swiss","expression":"main.cache","#,
            r#""address":"0x20","type":"map[string]int","len":10,"slots":{{"capacity":512,"#,
            r#""live":10,"empty":500,"tombstones":2,"hole_density":0.98}},"buckets":{{"#,
            r#""count":64,"overflow":0,"empty_density":0.9}},"bytes":{{"allocated":200000,"#,
            r#""reclaimable":190000}},"layout":{{"slot_size":24,"bucket_size":200}},"exact":true,"#,
            r#""blocks":[{{"kind":"groups","runs":[["0x40",12800]]}}],"#,
            r#""bucket_live":"820x62;"}}],"truncated":false,"interrupted":false}}"#
        ),
        t_ns, wall
    )
}

fn build(paths: &[&str]) -> Result<Timeline, InputFailure> {
    let inputs: Vec<Input> = paths
        .iter()
        .map(|path| Input {
            kind: None,
            path: (*path).to_owned(),
        })
        .collect();
    let mut builder = Builder::new();
    read(&mut builder, &inputs, &mut |_| true)?;
    Ok(builder.finish())
}

fn exported(timeline: &Timeline, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(timeline, format, &mut bytes).unwrap();
    bytes
}

#[test]
fn events_and_a_snapshot_are_joined() {
    let folder = Folder::new("joined");
    let events = folder.0.join("e.jsonl.gz");
    write_events(&events, &header("uprobe"), growths());
    let shot = folder.file("s.json", snapshot(9_000_000).as_bytes());
    let timeline = build(&[events.to_str().unwrap(), &shot]).unwrap();
    assert!(timeline.sources.iter().all(|of| of.refused.is_none()));
    // The snapshot is read first: it tells more of its process.
    assert_eq!(timeline.sources[0].kind, SourceKind::Snapshot);
    assert_eq!(timeline.sources[0].error_ns, Some(300));
    assert_eq!(timeline.extent, Some((5_000, 9_000_000)));
    let wall = timeline.wall.unwrap();
    assert_eq!((wall.source, wall.error_ns), (1, 200));
    assert_eq!(wall.offset_ns, WALL as i64);
    let [map] = timeline.maps.as_slice() else {
        panic!("{:?}", timeline.maps)
    };
    assert_eq!((map.address, map.growths), (0x20, 6));
    assert_eq!(map.name.as_deref(), Some("main.cache"));
    assert_eq!(
        (map.len, map.capacity, map.allocated),
        (Some(10), Some(512), Some(200_000))
    );
    assert!(map.exact);
    let heat = map.heat.as_ref().unwrap();
    assert_eq!(heat.cells.len(), 64);
    assert_eq!(
        (heat.cells[0].live, heat.cells[1].live, heat.cells[2].live),
        (8, 2, 0)
    );
    assert_eq!(map.blocks, [(0x40, 12800, "groups".into())]);
    // Figures as the events have them: capacity and bytes of the one table.
    let of = |kind, source| {
        timeline
            .series
            .iter()
            .find(|series| series.kind == kind && series.source == source)
            .map(|series| {
                series
                    .points
                    .iter()
                    .map(|p| p.value as u64)
                    .collect::<Vec<_>>()
            })
    };
    assert_eq!(
        of(SeriesKind::Capacity, 1).unwrap(),
        [16, 32, 64, 128, 256, 512]
    );
    assert_eq!(of(SeriesKind::Storage, 1).unwrap()[5], 512 * 24);
    assert_eq!(of(SeriesKind::Storage, 0).unwrap(), [200_000]);
    let text = timeline
        .findings
        .iter()
        .map(|f| f.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    assert!(text.contains("main.cache grew 6 times in 5 ms"), "{text}");
    assert!(
        text.contains("all of them at main.fill fill.go:31"),
        "{text}"
    );
    assert!(
        text.contains("a rebuild would give back 185.5 KiB (95"),
        "{text}"
    );
    let waste: Vec<_> = timeline
        .waste
        .iter()
        .map(|row| (row.component, row.bytes))
        .collect();
    assert_eq!(waste, [("empty slots", 12_000), ("tombstones", 48)]);
    for format in [
        Format::Html,
        Format::Perfetto,
        Format::Chrome,
        Format::Json,
        Format::Pprof,
    ] {
        assert!(exported(&timeline, format).len() > 100);
    }
    let json: serde_json::Value =
        serde_json::from_slice(&exported(&timeline, Format::Json)).unwrap();
    assert_eq!(json["schema"], "gomapscope.timeline/1");
    assert_eq!(json["maps"][0]["address"], "0x20");
    assert_eq!(json["maps"][0]["blocks"][0][0], "0x40");
    assert_eq!(
        json["instants"].as_array().unwrap().len(),
        timeline.instants.len()
    );
}

/// What is said of storage let go soon, of classic growths and evacuations at these times.
fn said_of_classic(
    folder: &Folder,
    events: &[(Op, u64, u64)],
    lost: u64,
) -> Option<(String, bool)> {
    let path = folder.0.join("classic.jsonl");
    let events = events.iter().zip(1..).map(|((op, t_ns, b), seq)| {
        let block = |b: u64| 0x100_0000 + (b << 32);
        let mut event = Event::new(seq, *op, 0x20);
        event.t_mono_ns = Some(*t_ns);
        event.b = u8::try_from(*b).ok();
        event.old_block = Some(block(b - 1));
        if *op == Op::Grow {
            event.capacity = Some(8 << b);
            event.old_capacity = Some(8 << (b - 1));
            event.block = Some(block(*b));
            event.size = Some(1 << 20);
        }
        event
    });
    let mut writer = EventWriter::create(&path, true, &header("ring")).unwrap();
    for event in events {
        writer.events_of([&event]).unwrap();
    }
    writer
        .finish(&Ending {
            end: "stop".to_owned(),
            lost,
            ..Ending::default()
        })
        .unwrap();
    let timeline = build(&[path.to_str().unwrap()]).unwrap();
    timeline
        .findings
        .iter()
        .find(|found| found.text.contains("were let go within"))
        .map(|found| (found.text.clone(), found.proved))
}

#[test]
fn a_classic_map_holds_its_old_array_until_it_is_empty() {
    const MS: u64 = 1_000_000;
    let folder = Folder::new("classic");
    let grown = [(Op::Grow, 10 * MS, 5), (Op::Grow, 500 * MS, 6)];
    // Nothing tells when the first array was empty: it is in use still.
    assert_eq!(said_of_classic(&folder, &grown, 0), None);
    let with = |event| [&grown[..], &[event]].concat();
    // It was after more than a second.
    let late = with((Op::Evacuated, 2_000 * MS, 6));
    assert_eq!(said_of_classic(&folder, &late, 0), None);
    // It was within one; after another growth at the latest.
    for event in [(Op::Evacuated, 900 * MS, 6), (Op::Grow, 900 * MS, 7)] {
        let (text, proved) = said_of_classic(&folder, &with(event), 0).unwrap();
        assert!(text.starts_with("1.0 MiB of map storage"), "{text}");
        assert!(text.contains("in 1 block:"), "{text}");
        assert!(proved);
        let (_, proved) = said_of_classic(&folder, &with(event), 3).unwrap();
        assert!(!proved);
    }
    // A growth after a second says nothing of when.
    let late = with((Op::Grow, 2_000 * MS, 7));
    assert_eq!(said_of_classic(&folder, &late, 0), None);
}

#[test]
fn what_is_of_another_process_or_boot_is_left_out() {
    let folder = Folder::new("other");
    let events = folder.0.join("e.jsonl");
    let shot = folder.file("s.json", snapshot(9_000_000).as_bytes());
    for (change, word) in [
        (
            Box::new(|header: &mut Header| header.pid = Some(8)) as Box<dyn Fn(&mut Header)>,
            "process 8",
        ),
        (
            Box::new(|header| header.boot_id = Some("other".to_owned())),
            "another boot",
        ),
        (
            Box::new(|header| {
                header.boot_id = None;
                header.clock = Some(Clock {
                    t_mono_ns: 0,
                    t_wall_ns: WALL + 3_000_000_000,
                    error_ns: 1,
                });
            }),
            "2999 ms off",
        ),
        (
            Box::new(|header| header.go_version = Some("go1.21.1".to_owned())),
            "go1.21.1",
        ),
    ] {
        let mut header = header("break");
        change(&mut header);
        write_events(&events, &header, growths());
        let timeline = build(&[events.to_str().unwrap(), &shot]).unwrap();
        let reason = timeline.sources[1].refused.as_deref().unwrap();
        assert!(reason.contains(word), "{reason}");
        assert_eq!(timeline.maps[0].growths, 0);
        assert!(timeline.instants.iter().all(|one| one.op.is_none()));
    }
    // Of a core: nothing says when, but how its maps are can be shown alone.
    let core = snapshot(9_000_000);
    let (head, rest) = core.split_once(r#""taken":{"#).unwrap();
    let (_, rest) = rest.split_once("},").unwrap();
    let core = format!("{head}{rest}").replace(r#""kind":"native""#, r#""kind":"core""#);
    let core = folder.file("c.json", core.as_bytes());
    let alone = build(&[&core]).unwrap();
    assert!(
        alone.sources[0]
            .refused
            .as_deref()
            .unwrap()
            .contains("a core has no clock")
    );
    assert_eq!((alone.maps.len(), alone.waste.len()), (1, 2));
    assert_eq!((alone.maps[0].heat.as_ref(), alone.extent), (None, None));
    for format in [
        Format::Html,
        Format::Perfetto,
        Format::Chrome,
        Format::Json,
        Format::Pprof,
    ] {
        exported(&alone, format);
    }
    let both = build(&[&core, &shot]).unwrap();
    assert_eq!(both.waste.len(), 2);
}

#[test]
fn a_name_that_is_no_file_is_an_error_and_a_damaged_file_a_note() {
    let folder = Folder::new("damaged");
    assert!(build(&[&folder.0.join("none").display().to_string()]).is_err());
    assert!(build(&[folder.0.to_str().unwrap()]).is_err());
    let foreign = folder.file("x", b"\x7fELF");
    let said = build(&[&foreign]).unwrap_err().to_string();
    assert!(said.contains("executable or a core"), "{said}");
    let events = folder.0.join("e.jsonl");
    write_events(&events, &header("uprobe"), growths());
    let bytes = std::fs::read(&events).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let third: usize = text.lines().take(3).map(|line| line.len() + 1).sum();
    let mut broken = bytes.clone();
    broken[third] = b'x';
    let path = folder.file("b.jsonl", &broken);
    let timeline = build(&[&path]).unwrap();
    assert_eq!(timeline.sources[0].records, 2);
    let note = timeline.sources[0].notes.join("\n");
    assert!(note.contains(&format!("line 4 (byte {third})")), "{note}");
    assert!(!timeline.maps[0].exact);
}

#[test]
fn an_address_may_be_another_maps_afterwards() {
    let folder = Folder::new("lives");
    let events = folder.0.join("e.jsonl");
    let mut list: Vec<Event> = growths().collect();
    let mut other = growth(7, 0x20, 50_000_000, 16);
    other.type_name = Some("map[int]int".to_owned());
    list.push(other);
    write_events(&events, &header("ring"), list);
    let timeline = build(&[events.to_str().unwrap()]).unwrap();
    let found: Vec<_> = timeline
        .maps
        .iter()
        .map(|map| (map.type_name.as_deref().unwrap_or_default(), map.growths))
        .collect();
    assert_eq!(found, [("map[string]int", 6), ("map[int]int", 1)]);
}

#[test]
fn memory_is_bounded_by_what_is_shown() {
    let folder = Folder::new("many");
    let events = folder.0.join("e.jsonl.gz");
    let of = |n: u64| {
        let mut event = growth(n + 1, 0x1000 + (n % 20_000) * 64, 5_000 + n * 100, 16);
        event.stack.clear();
        event.op = if n.is_multiple_of(3) {
            Op::Assign
        } else {
            Op::Grow
        };
        event
    };
    write_events(&events, &header("uprobe"), (0..60_000).map(of));
    let mut reader = EventReader::open(&events).unwrap();
    let mut builder = Builder::new();
    let mut seen = 0;
    builder
        .events("e", &mut reader, &mut |events| {
            seen = events;
            true
        })
        .unwrap();
    let timeline = builder.finish();
    assert!(seen > 50_000);
    assert_eq!(timeline.sources[0].records, 60_000);
    assert_eq!(timeline.maps.len(), 64);
    let notes = timeline.notes.join("\n");
    assert!(notes.contains("64 maps are shown"), "{notes}");
    assert!(timeline.instants.len() <= 1 << 16);
    // The user may end it.
    let mut reader = EventReader::open(&events).unwrap();
    assert_eq!(
        Builder::new().events("e", &mut reader, &mut |_| false),
        Err(Interrupted)
    );
}

#[test]
fn a_heap_profile_lies_where_its_collection_was() {
    let folder = Folder::new("heap");
    let shot = folder.file("s.json", snapshot(9_000_000).as_bytes());
    let text = format!(
        "heap profile: 1: 1048576 [1: 1048576] @ heap/2\n\
         1: 1048576 [1: 1048576] @ 0x401000\n#\t0x400fff\tmain.fill+0x1\t/src/fill.go:31\n\n\
         # runtime.MemStats\n# LastGC = {}\n\
         # PauseEnd = [{} {} 0]\n# NumGC = 2\n",
        WALL + 4_000_050,
        WALL + 1_500_050,
        WALL + 4_000_050
    );
    let heap = folder.file("heap.txt", text.as_bytes());
    let timeline = build(&[&heap, &shot]).unwrap();
    let of = &timeline.sources[1];
    assert_eq!((of.kind, of.refused.as_deref()), (SourceKind::Heap, None));
    assert_eq!(of.extent, Some((1_500_000, 4_000_000)));
    assert_eq!(of.error_ns, Some(2_500_300));
    let series = timeline
        .series
        .iter()
        .find(|series| series.kind == SeriesKind::HeapInUse)
        .unwrap();
    assert_eq!(
        series.points,
        [Point {
            t_ns: 4_000_000,
            value: 1_048_576.0
        }]
    );
    // Without a source that has both clocks there is no place for it.
    let alone = build(&[&heap]).unwrap();
    assert!(
        alone.sources[0]
            .refused
            .as_deref()
            .unwrap()
            .contains("no source has both clocks")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_damage_is_read_or_told(
        which in 0..3usize,
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let folder = Folder::new("any");
        let events = folder.0.join("e.jsonl");
        write_events(&events, &header("ring"), growths());
        let mut bytes = match which {
            0 => std::fs::read(&events).unwrap(),
            1 => snapshot(9_000_000).into_bytes(),
            _ => b"heap profile: 1: 16 [1: 16] @ heap/2\n1: 16 [1: 16] @ 0x1\n\n# LastGC = 5\n\
                   # PauseEnd = [1 2 3]\n".to_vec(),
        };
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = with;
        }
        let path = folder.file("damaged", &bytes);
        let good = folder.file("good.json", snapshot(1_000).as_bytes());
        let said = match build(&[&path, &good]) {
            Ok(timeline) => {
                for format in
                    [Format::Html, Format::Perfetto, Format::Chrome, Format::Json, Format::Pprof]
                {
                    exported(&timeline, format);
                }
                text(&timeline, None, &crate::report::Style { width: 80, color: false, unicode: true })
            }
            Err(error) => error.to_string(),
        };
        prop_assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said}");
    }
}
