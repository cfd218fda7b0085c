//! Chrome's trace events ("Trace Event Format"): one object a line, for Perfetto's and
//! speedscope's readers and for human ones.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::super::model::Timeline;
use super::{Step, clean, figures, map_names, place, rows, spans, stack, title};
use crate::report::{to_json, write_json};

#[derive(Serialize)]
struct Event<'e> {
    name: &'e str,
    cat: &'static str,
    ph: &'static str,
    /// Microseconds, with the nanoseconds as decimals.
    ts: Number,
    pid: u64,
    tid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

struct Writer<'w> {
    output: &'w mut dyn Write,
    first: bool,
    pid: u64,
}

/// Nanoseconds as microseconds: right to the nanosecond for 50 days after the boot, to 4 for
/// 200.
fn micros(t_ns: u64) -> Number {
    Number::from_f64(t_ns as f64 / 1000.0).unwrap_or_else(|| Number::from(t_ns / 1000))
}

impl Writer<'_> {
    fn put(&mut self, event: &Event<'_>) -> io::Result<()> {
        let between: &[u8] = if std::mem::take(&mut self.first) {
            b"\n"
        } else {
            b",\n"
        };
        self.output.write_all(between)?;
        write_json(self.output, event)
    }

    fn name(&mut self, what: &'static str, tid: u64, name: &str) -> io::Result<()> {
        let pid = self.pid;
        self.put(&Event {
            name: what,
            cat: "__metadata",
            ph: "M",
            ts: Number::from(0),
            pid,
            tid,
            s: None,
            args: args([("name", Value::from(name))]),
        })
    }
}

fn args(of: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    of.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Writes all of it, event by event.
pub(super) fn write(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    output.write_all(b"{\"displayTimeUnit\":\"ns\",\"otherData\":")?;
    let mut other = args([("clock", Value::from("CLOCK_MONOTONIC"))]);
    if let Some(wall) = timeline.wall {
        other.insert(
            "wall_offset_ns".to_owned(),
            Value::from(wall.offset_ns.to_string()),
        );
    }
    output.write_all(to_json(&other).as_bytes())?;
    output.write_all(b",\"traceEvents\":[")?;
    let mut writer = Writer {
        output,
        first: true,
        pid: timeline.subject.pid.unwrap_or(1),
    };
    let pid = writer.pid;
    let program = timeline.subject.program.as_deref().map(clean);
    writer.name(
        "process_name",
        0,
        program.as_deref().unwrap_or("Go program"),
    )?;
    let source = |at: usize| {
        let of = timeline.sources.get(at);
        let path = of.map(|of| super::super::build::named(&of.path, of.kind.word()));
        clean(&path.unwrap_or_default())
    };
    let names = map_names(timeline);
    let maps = names.len() as u64;
    // Threads: maps, then sources, then rows of spans.
    for (tid, name) in (1..).zip(&names) {
        writer.name("thread_name", tid, name)?;
    }
    for at in 0..timeline.sources.len() {
        writer.name("thread_name", 1 + maps + at as u64, &source(at))?;
    }
    let spans = spans(timeline);
    let rows_from = 1 + maps + timeline.sources.len() as u64;
    for (tid, row) in (rows_from..).zip(rows(&spans)) {
        writer.name("thread_name", tid, &row.name())?;
        let mut open = Vec::new();
        for step in &row.steps {
            let (ph, at, t_ns) = match step {
                Step::Begin(at) => {
                    open.push(*at);
                    ("B", *at, spans.get(*at).map_or(0, |span| span.begin_ns))
                }
                Step::End(t_ns) => ("E", open.pop().unwrap_or_default(), *t_ns),
            };
            let Some(span) = spans.get(at) else {
                continue;
            };
            let mut of = Map::new();
            if ph == "B" {
                of = args([("source", Value::from(source(span.source)))]);
                if let Some(goid) = span.goid {
                    of.insert("goroutine".to_owned(), Value::from(goid));
                }
                if !span.whole {
                    of.insert("whole".to_owned(), Value::from(false));
                }
            }
            writer.put(&Event {
                name: &clean(&span.name),
                cat: "span",
                ph,
                ts: micros(t_ns),
                pid,
                tid,
                s: None,
                args: of,
            })?;
        }
    }
    for instant in timeline
        .instants
        .iter()
        .filter(|one| one.until_ns <= one.t_ns)
    {
        let tid = match place(timeline, instant) {
            (true, map) => 1 + map as u64,
            (false, at) => 1 + maps + at as u64,
        };
        let mut of: Map<String, Value> =
            args(figures(instant).map(|(key, value)| (key, Value::from(value))));
        of.insert("source".to_owned(), Value::from(source(instant.source)));
        if let (Some(_), Some(said)) = (instant.op, &instant.text) {
            of.insert("note".to_owned(), Value::from(clean(said)));
        }
        if let Some(stack) = stack(timeline, instant) {
            of.insert("stack".to_owned(), Value::from(stack));
        }
        writer.put(&Event {
            name: &title(instant),
            cat: if instant.op.is_some() { "map" } else { "mark" },
            ph: "i",
            ts: micros(instant.t_ns),
            pid,
            tid,
            s: Some("t"),
            args: of,
        })?;
    }
    for series in &timeline.series {
        let (what, unit) = series.kind.words();
        let of = series.map.and_then(|map| names.get(map));
        let name = match of {
            Some(name) => format!("{what} of {name} ({})", source(series.source)),
            None => format!("{what} ({})", source(series.source)),
        };
        let key = if unit.is_empty() { "share" } else { unit };
        for point in &series.points {
            // Whole figures as such: readers take 1.0 for another kind of number.
            let whole = point.value.fract() == 0.0 && point.value.abs() < 9e15;
            let value = match whole {
                true => Value::from(point.value as i64),
                false => Value::from(point.value),
            };
            writer.put(&Event {
                name: &name,
                cat: "figure",
                ph: "C",
                ts: micros(point.t_ns),
                pid,
                tid: 0,
                s: None,
                args: args([(key, value)]),
            })?;
        }
    }
    writer.output.write_all(b"\n]}\n")
}
