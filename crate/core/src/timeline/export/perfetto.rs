//! Perfetto's trace: packets of tracks, spans, instants and counters
//! (protos/perfetto/trace/trace_packet.proto, track_event.proto, clock_snapshot.proto).

use std::collections::BTreeSet;
use std::io::{self, Write};

use prost::Message;

use super::super::model::{SeriesKind, Timeline};
use super::{Step, clean, figures, map_names, place, rows, spans, stack, title};

/// `BUILTIN_CLOCK_REALTIME` and `BUILTIN_CLOCK_MONOTONIC`.
const REALTIME: u32 = 1;
const MONOTONIC: u32 = 3;
/// `SEQ_INCREMENTAL_STATE_CLEARED`: the first packet of the one sequence there is.
const CLEARED: u32 = 1;
const SEQUENCE: u32 = 1;
/// `TrackEvent.Type`.
const SLICE_BEGIN: i32 = 1;
const SLICE_END: i32 = 2;
const INSTANT: i32 = 3;
const COUNTER: i32 = 4;
/// `CounterDescriptor.Unit`.
const COUNT: i32 = 2;
const SIZE_BYTES: i32 = 3;
/// Tracks are numbered in portions: rows, sources, maps, series.
const PORTION: u64 = 1 << 32;

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
    #[prost(int32, optional, tag = "2")]
    primary_trace_clock: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct CounterDescriptor {
    #[prost(int32, optional, tag = "3")]
    unit: Option<i32>,
    #[prost(string, optional, tag = "6")]
    unit_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    counter_value: Option<i64>,
    #[prost(double, optional, tag = "44")]
    double_counter_value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(uint64, optional, tag = "3")]
    uint_value: Option<u64>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

struct Writer<'w> {
    output: &'w mut dyn Write,
    bytes: Vec<u8>,
    first: bool,
}

impl Writer<'_> {
    /// `Trace` is nothing but packets: field 1.
    fn packet(&mut self, mut packet: Packet) -> io::Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        if std::mem::take(&mut self.first) {
            packet.sequence_flags = Some(CLEARED);
        }
        self.bytes.clear();
        // The tag of field 1 with a length.
        self.bytes.push(0x0a);
        packet
            .encode_length_delimited(&mut self.bytes)
            .map_err(io::Error::other)?;
        self.output.write_all(&self.bytes)
    }

    fn track(&mut self, descriptor: TrackDescriptor) -> io::Result<()> {
        self.packet(Packet {
            track_descriptor: Some(descriptor),
            ..Packet::default()
        })
    }

    fn event(&mut self, t_ns: u64, event: TrackEvent) -> io::Result<()> {
        self.packet(Packet {
            timestamp: Some(t_ns),
            timestamp_clock_id: Some(MONOTONIC),
            track_event: Some(event),
            ..Packet::default()
        })
    }
}

fn track(uuid: u64, parent: u64, name: String) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(uuid),
        parent_uuid: Some(parent),
        name: Some(name),
        ..TrackDescriptor::default()
    }
}

fn number(name: &str, value: u64) -> DebugAnnotation {
    DebugAnnotation {
        name: Some(name.to_owned()),
        uint_value: Some(value),
        string_value: None,
    }
}

fn text(name: &str, value: String) -> DebugAnnotation {
    DebugAnnotation {
        name: Some(name.to_owned()),
        uint_value: None,
        string_value: Some(value),
    }
}

/// Writes all of it, packet by packet.
pub(super) fn write(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    const PROCESS: u64 = 1;
    let mut writer = Writer {
        output,
        bytes: Vec::new(),
        first: true,
    };
    let at = timeline.extent.map_or(0, |(first, _)| first);
    let mut clocks = vec![Clock {
        clock_id: Some(MONOTONIC),
        timestamp: Some(at),
    }];
    let wall = timeline
        .wall
        .map(|wall| at.saturating_add_signed(wall.offset_ns));
    clocks.extend(wall.map(|wall| Clock {
        clock_id: Some(REALTIME),
        timestamp: Some(wall),
    }));
    writer.packet(Packet {
        timestamp: Some(at),
        timestamp_clock_id: Some(MONOTONIC),
        clock_snapshot: Some(ClockSnapshot {
            clocks,
            primary_trace_clock: Some(MONOTONIC as i32),
        }),
        ..Packet::default()
    })?;
    let program = timeline.subject.program.as_deref().map(clean);
    writer.track(TrackDescriptor {
        uuid: Some(PROCESS),
        process: Some(ProcessDescriptor {
            pid: Some(
                timeline
                    .subject
                    .pid
                    .and_then(|pid| i32::try_from(pid).ok())
                    .unwrap_or(1),
            ),
            process_name: Some(program.unwrap_or_else(|| "Go program".to_owned())),
        }),
        ..TrackDescriptor::default()
    })?;
    let source = |at: usize| {
        let of = timeline.sources.get(at);
        let path = of.map(|of| super::super::build::named(&of.path, of.kind.word()));
        clean(&path.unwrap_or_default())
    };

    let spans = spans(timeline);
    for (uuid, row) in (PORTION..).zip(rows(&spans)) {
        writer.track(track(uuid, PROCESS, row.name()))?;
        for step in &row.steps {
            let (t_ns, mut event) = match step {
                Step::End(t_ns) => (
                    *t_ns,
                    TrackEvent {
                        r#type: Some(SLICE_END),
                        ..TrackEvent::default()
                    },
                ),
                Step::Begin(at) => {
                    let Some(span) = spans.get(*at) else {
                        continue;
                    };
                    let mut notes = vec![text("source", source(span.source))];
                    notes.extend(span.goid.map(|goid| number("goroutine", goid)));
                    if !span.whole {
                        notes.push(text("whole", "no: cut by the record's edge".to_owned()));
                    }
                    let event = TrackEvent {
                        r#type: Some(SLICE_BEGIN),
                        categories: vec!["span".to_owned()],
                        name: Some(clean(&span.name)),
                        debug_annotations: notes,
                        ..TrackEvent::default()
                    };
                    (span.begin_ns, event)
                }
            };
            event.track_uuid = Some(uuid);
            writer.event(t_ns, event)?;
        }
    }

    let names = map_names(timeline);
    let of_map = |map: usize| 3 * PORTION + map as u64;
    for (map, name) in names.iter().enumerate() {
        writer.track(track(of_map(map), PROCESS, name.clone()))?;
    }
    let mut known = BTreeSet::new();
    for instant in timeline
        .instants
        .iter()
        .filter(|one| one.until_ns <= one.t_ns)
    {
        let uuid = match place(timeline, instant) {
            (true, map) => of_map(map),
            (false, at) => {
                let uuid = 2 * PORTION + at as u64;
                if known.insert(uuid) {
                    writer.track(track(uuid, PROCESS, source(at)))?;
                }
                uuid
            }
        };
        let mut notes: Vec<DebugAnnotation> = figures(instant)
            .map(|(name, value)| number(name, value))
            .collect();
        notes.push(text("source", source(instant.source)));
        if let (Some(_), Some(said)) = (instant.op, &instant.text) {
            notes.push(text("note", clean(said)));
        }
        notes.extend(stack(timeline, instant).map(|stack| text("stack", stack)));
        let event = TrackEvent {
            r#type: Some(INSTANT),
            track_uuid: Some(uuid),
            categories: vec![match instant.op {
                Some(_) => "map".to_owned(),
                None => "mark".to_owned(),
            }],
            name: Some(title(instant)),
            debug_annotations: notes,
            ..TrackEvent::default()
        };
        writer.event(instant.t_ns, event)?;
    }

    for (uuid, series) in (4 * PORTION..).zip(&timeline.series) {
        let (what, unit) = series.kind.words();
        let map = series.map.filter(|map| *map < names.len());
        let of = map.and_then(|map| names.get(map));
        let name = match of {
            Some(name) => format!("{what} of {name} ({})", source(series.source)),
            None => format!("{what} ({})", source(series.source)),
        };
        let mut descriptor = track(uuid, map.map_or(PROCESS, of_map), name);
        descriptor.counter = Some(CounterDescriptor {
            unit: match unit {
                "bytes" => Some(SIZE_BYTES),
                "" => None,
                _ => Some(COUNT),
            },
            unit_name: (!unit.is_empty()).then(|| unit.to_owned()),
        });
        writer.track(descriptor)?;
        let share = series.kind == SeriesKind::HoleDensity;
        for point in &series.points {
            let event = TrackEvent {
                r#type: Some(COUNTER),
                track_uuid: Some(uuid),
                counter_value: (!share).then_some(point.value as i64),
                double_counter_value: share.then_some(point.value),
                ..TrackEvent::default()
            };
            writer.event(point.t_ns, event)?;
        }
    }
    Ok(())
}
