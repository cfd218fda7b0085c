//! A timeline for other tools: Perfetto's protobuf, Chrome's JSON, pprof's profile, our own
//! JSON. All are written as they are made; nothing is built whole.

mod chrome;
mod perfetto;
mod pprof;

use std::io::{self, Write};
use std::rc::Rc;

use serde::Serialize;

use super::findings::called;
use super::model::{Instant, Interval, Timeline};
use crate::report::{sanitize, write_json};

/// What a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page of its own.
    Html,
    /// Perfetto's trace (ui.perfetto.dev, protos/perfetto/trace).
    Perfetto,
    /// Chrome's trace events, which Perfetto and speedscope open, too.
    Chrome,
    /// `gomapscope.timeline/1`: all of [`Timeline`].
    Json,
    /// A profile of waste for `go tool pprof`.
    Pprof,
}

impl Format {
    /// What a file of this name is to be, and whether it is to be packed by us.
    ///
    /// # Errors
    /// A line that says which names there are.
    pub fn of(path: &str) -> Result<(Self, bool), String> {
        let bare = path.strip_suffix(".gz");
        let name = bare.unwrap_or(path);
        let ends = |end: &str| name.ends_with(end);
        let format = if ends(".html") {
            Self::Html
        } else if ends(".pftrace") || ends(".perfetto-trace") {
            Self::Perfetto
        } else if ends(".trace.json") {
            Self::Chrome
        } else if ends(".json") {
            Self::Json
        } else if ends(".pb") || ends(".pprof") {
            Self::Pprof
        } else {
            return Err(format!(
                "what {path} is to be cannot be told from its name: it may end in .html, .pftrace \
                 (Perfetto), .trace.json (Chrome), .json (all figures) or .pb.gz (waste, for go \
                 tool pprof)"
            ));
        };
        Ok((format, bare.is_some()))
    }
}

#[derive(Serialize)]
struct Document<'t> {
    schema: &'static str,
    #[serde(flatten)]
    timeline: &'t Timeline,
}

/// Writes `timeline`.
///
/// # Errors
/// What `output` says.
pub fn write(timeline: &Timeline, format: Format, output: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Html => super::html::page(timeline, output),
        Format::Perfetto => perfetto::write(timeline, output),
        Format::Chrome => chrome::write(timeline, output),
        Format::Pprof => pprof::write(timeline, output),
        Format::Json => {
            json(timeline, output)?;
            output.write_all(b"\n")
        }
    }
}

/// `gomapscope.timeline/1`, on one line without its end.
///
/// # Errors
/// What `output` says.
pub fn json(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "gomapscope.timeline/1",
        timeline,
    };
    write_json(output, &document)
}

/// A text that may come from the target, as a name.
fn clean(text: &str) -> String {
    sanitize(text, true).into_owned()
}

/// A step of a row: the span at this index begins, or the last one that is open ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin(usize),
    End(u64),
}

/// Spans that lie in each other or apart, so that they can be drawn in one row.
#[derive(Debug)]
struct Row {
    lane: Rc<str>,
    /// From 1 in each lane.
    number: usize,
    steps: Vec<Step>,
    /// Ends of the spans that are open.
    open: Vec<u64>,
}

/// What lasted: intervals, and instants that are only known to lie between two times.
fn spans(timeline: &Timeline) -> Vec<Interval> {
    let uncertain = timeline
        .instants
        .iter()
        .filter(|one| one.until_ns > one.t_ns)
        .map(|one| Interval {
            lane: "some time between".into(),
            name: title(one).into(),
            begin_ns: one.t_ns,
            end_ns: one.until_ns,
            whole: false,
            goid: one.goid,
            source: one.source,
        });
    let mut spans: Vec<Interval> = timeline
        .intervals
        .iter()
        .cloned()
        .chain(uncertain)
        .collect();
    // The one that holds others comes first.
    spans.sort_by_key(|span| (span.begin_ns, std::cmp::Reverse(span.end_ns)));
    spans
}

/// Lays spans into rows, in which begins and ends pair.
fn rows(spans: &[Interval]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        let mut number = 0;
        let mut found = None;
        for (place, row) in rows.iter_mut().enumerate() {
            if row.lane != span.lane {
                continue;
            }
            number = row.number;
            while let Some(end) = row.open.last().copied().filter(|end| *end <= span.begin_ns) {
                row.open.pop();
                row.steps.push(Step::End(end));
            }
            if row.open.last().is_none_or(|end| *end >= span.end_ns) {
                found = Some(place);
                break;
            }
        }
        let place = found.unwrap_or_else(|| {
            rows.push(Row {
                lane: Rc::clone(&span.lane),
                number: number + 1,
                steps: Vec::new(),
                open: Vec::new(),
            });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(place) {
            row.steps.push(Step::Begin(at));
            row.open.push(span.end_ns.max(span.begin_ns));
        }
    }
    for row in &mut rows {
        while let Some(end) = row.open.pop() {
            row.steps.push(Step::End(end));
        }
    }
    rows
}

impl Row {
    fn name(&self) -> String {
        match self.number {
            1 => clean(&self.lane),
            number => format!("{} {number}", clean(&self.lane)),
        }
    }
}

/// What an instant is called.
fn title(instant: &Instant) -> String {
    match (&instant.op, &instant.text) {
        (Some(op), _) => op.word().to_owned(),
        (None, Some(text)) => clean(text),
        (None, None) => "event".to_owned(),
    }
}

/// Where an instant is drawn: of a map, or of a source.
fn place(timeline: &Timeline, instant: &Instant) -> (bool, usize) {
    match instant.map.filter(|map| *map < timeline.maps.len()) {
        Some(map) => (true, map),
        None => (false, instant.source),
    }
}

/// The names of maps, told apart where two are called the same.
fn map_names(timeline: &Timeline) -> Vec<String> {
    let names: Vec<String> = timeline.maps.iter().map(called).collect();
    let twice = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    names
        .iter()
        .zip(&timeline.maps)
        .enumerate()
        .map(|(at, (name, map))| match twice(name) {
            true => format!("{name} ({}, {:#x})", at + 1, map.address),
            false => name.clone(),
        })
        .collect()
}

/// What is known of an instant besides its name: keys and figures.
fn figures(instant: &Instant) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("goroutine", instant.goid),
        ("len", instant.len),
        ("old_capacity", instant.old_capacity),
        ("capacity", instant.capacity),
        ("size", instant.size),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
}

/// The stack of an instant, a line each.
fn stack(timeline: &Timeline, instant: &Instant) -> Option<String> {
    let frames = timeline.stacks.get(instant.stack? as usize)?;
    let lines: Vec<String> = frames.iter().map(super::findings::place).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(lane: &str, begin: u64, end: u64) -> Interval {
        Interval {
            lane: lane.into(),
            name: "x".into(),
            begin_ns: begin,
            end_ns: end,
            whole: true,
            goid: None,
            source: 0,
        }
    }

    #[test]
    fn spans_that_cross_are_put_into_rows_of_their_own() {
        let timeline = Timeline {
            intervals: vec![
                span("a", 0, 10),
                span("a", 2, 4),
                span("a", 4, 12),
                span("a", 10, 11),
                span("b", 3, 3),
                span("a", 20, 30),
            ],
            ..Timeline::default()
        };
        let spans = spans(&timeline);
        let rows = rows(&spans);
        let names: Vec<String> = rows.iter().map(Row::name).collect();
        assert_eq!(names, ["a", "b", "a 2"]);
        for row in &rows {
            let mut open = Vec::new();
            let mut last = 0;
            for step in &row.steps {
                match step {
                    Step::Begin(at) => {
                        assert!(last <= spans[*at].begin_ns);
                        last = spans[*at].begin_ns;
                        open.push(spans[*at].end_ns);
                    }
                    Step::End(end) => {
                        assert_eq!(open.pop(), Some(*end));
                        assert!(last <= *end);
                        last = *end;
                    }
                }
            }
            assert!(open.is_empty());
        }
    }

    #[test]
    fn a_name_tells_the_format() {
        for (name, format, packed) in [
            ("a.html", Format::Html, false),
            ("a.pftrace.gz", Format::Perfetto, true),
            ("a.trace.json", Format::Chrome, false),
            ("a.json", Format::Json, false),
            ("a.pb.gz", Format::Pprof, true),
        ] {
            assert_eq!(Format::of(name), Ok((format, packed)));
        }
        assert!(Format::of("a.txt").unwrap_err().contains(".pftrace"));
    }
}
