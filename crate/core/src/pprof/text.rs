//! The text of `debug=1` (runtime/pprof/pprof.go: `writeHeapInternal`, `printCountProfile`,
//! `writeProfileInternal`, `printStackRecord`): program counters as the runtime noted them,
//! one for each call, inlined or not.

use std::collections::HashMap;
use std::rc::Rc;

use super::model::{
    Anchor, Kind, Label, LabelValue, Line, Location, Origin, Placement, Profile, Sample, ValueType,
};
use super::read::{Fault, kind_of, scale};
use crate::memory::AddressHash;

/// Bytes of one line.
const LINE_MAX: usize = 1 << 20;
/// Samples.
const SAMPLES_MAX: usize = 1 << 21;
/// Places in all stacks.
const PLACES_MAX: usize = 1 << 25;
/// Labels of all samples.
const LABELS_MAX: usize = 1 << 22;

/// Which text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Heap,
    /// `goroutine`, `threadcreate` and profiles of the program's own: stacks that are counted.
    Count,
    Block,
    Mutex,
}

/// Which text `bytes` are; `None` if they are none.
pub(super) fn kind(bytes: &[u8]) -> Option<Text> {
    if bytes.starts_with(b"heap profile: ") {
        return Some(Text::Heap);
    }
    if bytes.starts_with(b"--- contention:") {
        return Some(Text::Block);
    }
    if bytes.starts_with(b"--- mutex:") {
        return Some(Text::Mutex);
    }
    let head = bytes.get(..bytes.len().min(256))?;
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (_, total) = line.split_once(" profile: total ")?;
    total.trim_end().parse::<u64>().ok().map(|_| Text::Count)
}

/// Lines with their offsets.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    /// The offset, the line, and whether it has an end.
    type Item = (usize, &'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some((at, line, end.is_some()))
    }
}

#[derive(Default)]
struct Builder {
    samples: Vec<Sample>,
    locations: Vec<Location>,
    numbers: HashMap<u64, u32, AddressHash>,
    anchors: Vec<Anchor>,
    names: HashMap<String, Rc<str>>,
    places: usize,
    labels: usize,
}

impl Builder {
    fn name(&mut self, text: &str) -> Rc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Rc<str> = Rc::from(text);
        self.names.insert(text.to_owned(), name.clone());
        name
    }

    /// The stack behind the `@` of a line.
    fn stack(&mut self, text: &str, at: usize) -> Result<Rc<[u32]>, Fault> {
        let mut stack = Vec::new();
        for word in text.split_ascii_whitespace() {
            let pc = word
                .strip_prefix("0x")
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or_else(|| Fault::new(at, "a stack has something else than addresses"))?;
            // They are return addresses.
            let address = pc.saturating_sub(1);
            let next = self.locations.len() as u32;
            let number = *self.numbers.entry(address).or_insert(next);
            if number == next {
                self.locations.push(Location {
                    address,
                    lines: Vec::new(),
                });
            }
            stack.push(number);
        }
        self.places += stack.len();
        if self.places > PLACES_MAX || self.samples.len() >= SAMPLES_MAX {
            return Err(Fault::new(at, "more stacks than any Go program has"));
        }
        Ok(stack.into())
    }

    /// A line of a sample: `#`, the address, `main.fill+0x43`, `/src/main.go:12`, by tabs.
    fn frame(&mut self, line: &str) -> Option<()> {
        let mut cells = line
            .strip_prefix("#\t")?
            .split('\t')
            .filter(|cell| !cell.is_empty());
        let address = u64::from_str_radix(cells.next()?.strip_prefix("0x")?, 16).ok()?;
        let (function, inside) = cells.next()?.rsplit_once("+0x")?;
        let inside = u64::from_str_radix(inside, 16).ok()?;
        let (file, line) = cells.next()?.rsplit_once(':')?;
        let line = line.parse().ok()?;
        let number = *self.numbers.get(&address)?;
        if !self.locations.get(number as usize)?.lines.is_empty() {
            return None;
        }
        let (function, file) = (self.name(function), self.name(file));
        self.anchors.push(Anchor {
            address,
            inside,
            function: function.clone(),
        });
        self.locations.get_mut(number as usize)?.lines.push(Line {
            function,
            file,
            line,
        });
        Some(())
    }

    /// `# labels: {"key":"value", "key":"value"}`
    fn labels(&mut self, text: &str, at: usize) -> Result<(), Fault> {
        let malformed = || Fault::new(at, "labels are not quoted as Go quotes them");
        let mut rest = text
            .trim_ascii()
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .ok_or_else(malformed)?;
        let mut labels = Vec::new();
        while !rest.is_empty() {
            let (key, after) = unquote(rest).ok_or_else(malformed)?;
            let after = after.strip_prefix(':').ok_or_else(malformed)?;
            let (value, after) = unquote(after).ok_or_else(malformed)?;
            rest = after.strip_prefix(", ").unwrap_or(after);
            if rest.len() == after.len() && !rest.is_empty() {
                return Err(malformed());
            }
            labels.push(Label {
                key: self.name(&key),
                value: LabelValue::Text(self.name(&value)),
            });
        }
        self.labels += labels.len();
        if self.labels > LABELS_MAX {
            return Err(Fault::new(at, "more labels than any Go program has"));
        }
        if let Some(sample) = self.samples.last_mut() {
            sample.labels.append(&mut labels);
        }
        Ok(())
    }
}

/// The string that `text` begins with, as `%q` quotes it, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let next = rest.chars().next()?;
        rest = rest.get(next.len_utf8()..)?;
        if next == '"' {
            return Some((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if next != '\\' {
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = rest.get(escape.len_utf8()..)?;
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let value = u32::from_str_radix(rest.get(..digits)?, 16).ok()?;
            rest = rest.get(digits..)?;
            match digits {
                2 => bytes.push(value as u8),
                _ => bytes
                    .extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            continue;
        }
        bytes.push(match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            _ => return None,
        });
    }
}

fn value_type(name: &str, unit: &str) -> ValueType {
    ValueType {
        name: Rc::from(name),
        unit: Rc::from(unit),
    }
}

/// What the head of a text says.
#[derive(Default)]
struct Head {
    /// `MemProfileRate` or the mutex fraction.
    rate: Option<i64>,
    cycles: Option<f64>,
    last_gc: Option<i64>,
    /// Values that the samples must sum up to.
    totals: Vec<i64>,
}

pub(super) fn parse(kind: Text, bytes: &[u8]) -> Result<Profile, Fault> {
    let mut builder = Builder::default();
    let mut lines = Lines { bytes, at: 0 };
    let mut notes = Vec::new();
    let mut head = Head::default();
    let first = lines.next().map_or(&b""[..], |(_, line, _)| line);
    let first = String::from_utf8_lossy(first);
    let sample_types = match kind {
        Text::Heap => {
            let (totals, rate) = first
                .strip_prefix("heap profile: ")
                .and_then(heap_head)
                .ok_or_else(|| Fault::new(0, "the first line is not that of a heap profile"))?;
            head.totals = totals.to_vec();
            head.rate = Some(rate);
            vec![
                value_type("alloc_objects", "count"),
                value_type("alloc_space", "bytes"),
                value_type("inuse_objects", "count"),
                value_type("inuse_space", "bytes"),
            ]
        }
        Text::Block | Text::Mutex => vec![
            value_type("contentions", "count"),
            value_type("delay", "nanoseconds"),
        ],
        Text::Count => {
            let (name, total) = first.split_once(" profile: total ").unwrap_or_default();
            head.totals = vec![total.trim_end().parse().unwrap_or(0)];
            vec![value_type(name, "count")]
        }
    };
    let mut sums = vec![0_i64; head.totals.len()];
    let mut open = None;
    for (at, line, whole) in lines {
        if line.len() > LINE_MAX {
            return Err(Fault::new(at, "a line is longer than any of a profile"));
        }
        let text = String::from_utf8_lossy(line);
        if !whole {
            // Half a line would be a wrong number.
            open = Some(at);
            break;
        }
        if let Some(comment) = text.strip_prefix('#') {
            if let Some(labels) = comment.strip_prefix(" labels: ") {
                builder.labels(labels, at)?;
            } else if let Some(value) = comment.strip_prefix(" LastGC = ") {
                head.last_gc = value.parse().ok();
            } else {
                // What cannot be read names nothing; the addresses are there.
                let _ = builder.frame(&text);
            }
            continue;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let Some((values, stack)) = text.split_once('@') else {
            match text.split_once('=') {
                Some(("cycles/second", value)) if matches!(kind, Text::Block | Text::Mutex) => {
                    head.cycles = value.trim_ascii().parse().ok();
                }
                Some(("sampling period", value)) if kind == Text::Mutex => {
                    head.rate = value.trim_ascii().parse().ok();
                }
                _ => return Err(Fault::new(at, "a line is neither a sample nor a comment")),
            }
            continue;
        };
        let malformed = || Fault::new(at, "the figures of a sample are not those of this profile");
        let stack = builder.stack(stack, at)?;
        let sample = match kind {
            Text::Heap => {
                let raw = heap_values(values).ok_or_else(malformed)?;
                for (sum, value) in sums.iter_mut().zip(raw) {
                    *sum = sum.saturating_add(value);
                }
                heap_sample(stack, raw, head.rate.unwrap_or(0))
            }
            Text::Count => {
                let count: i64 = values.trim_ascii().parse().map_err(|_| malformed())?;
                for sum in &mut sums {
                    *sum = sum.saturating_add(count);
                }
                plain(stack, vec![count])
            }
            Text::Block | Text::Mutex => {
                let mut words = values.split_ascii_whitespace();
                let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
                let (Some(cycles), Some(count)) = (number(), number()) else {
                    return Err(malformed());
                };
                let per_ns = head.cycles.filter(|hz| *hz > 0.0).map(|hz| hz / 1e9);
                let per_ns =
                    per_ns.ok_or_else(|| Fault::new(at, "the line cycles/second= is missing"))?;
                // What was not sampled is in there already (runtime/mprof.go, saveblockevent);
                // go tool pprof multiplies mutexes by the sampling period once more.
                plain(stack, vec![count, (cycles as f64 / per_ns) as i64])
            }
        };
        builder.samples.push(sample);
    }
    if let Some(at) = open {
        notes.push(format!(
            "It ends at byte {} within the line that begins at byte {at}: it was cut, and figures \
             are too low.",
            bytes.len()
        ));
    }
    // alloc_bytes of the head is one too high where it would equal inuse_bytes.
    let differs = sums
        .iter()
        .zip(&head.totals)
        .any(|(sum, total)| total.abs_diff(*sum) > 1);
    if differs && open.is_none() {
        notes.push(
            "The samples do not sum up to the first line: it was cut, or written while the \
             program went on."
                .to_owned(),
        );
    }
    let period_type = match kind {
        Text::Heap => value_type("space", "bytes"),
        Text::Block | Text::Mutex => value_type("contentions", "count"),
        Text::Count => sample_types
            .first()
            .cloned()
            .unwrap_or_else(|| value_type("", "count")),
    };
    Ok(Profile {
        kind: match kind {
            Text::Heap => Kind::Heap,
            Text::Block => Kind::Block,
            Text::Mutex => Kind::Mutex,
            Text::Count => kind_of(sample_types.iter().map(|kind| &*kind.name)),
        },
        origin: Origin::Text,
        sample_types,
        period: head.rate.unwrap_or(1),
        period_type: Some(period_type),
        time_ns: None,
        duration_ns: 0,
        last_gc_ns: head.last_gc.filter(|time| *time > 0),
        samples: builder.samples,
        locations: builder.locations,
        program: None,
        build_id: None,
        placement: Placement {
            mappings: Vec::new(),
            anchors: builder.anchors,
        },
        notes,
    })
}

fn plain(stack: Rc<[u32]>, values: Vec<i64>) -> Sample {
    Sample {
        stack,
        values,
        raw: None,
        labels: Vec::new(),
    }
}

/// `raw`: in use, then all, objects before bytes.
fn heap_sample(stack: Rc<[u32]>, raw: [i64; 4], rate: i64) -> Sample {
    let [in_use_objects, in_use_bytes, objects, bytes] = raw;
    let all = scale(objects, bytes, rate);
    let in_use = scale(in_use_objects, in_use_bytes, rate);
    let size = bytes.checked_div(objects).filter(|size| *size != 0);
    Sample {
        stack,
        values: vec![all.0, all.1, in_use.0, in_use.1],
        raw: Some(vec![objects, bytes, in_use_objects, in_use_bytes]),
        labels: size
            .map(|size| Label {
                key: Rc::from("bytes"),
                value: LabelValue::Number(size, Rc::from("")),
            })
            .into_iter()
            .collect(),
    }
}

/// `3: 96 [5: 160] `
fn heap_values(text: &str) -> Option<[i64; 4]> {
    let (in_use, all) = text.split_once('[')?;
    let all = all.trim_ascii_end().strip_suffix(']')?;
    let pair = |text: &str| {
        let (objects, bytes) = text.split_once(':')?;
        let number = |text: &str| text.trim_ascii().parse::<i64>().ok();
        Some((number(objects)?, number(bytes)?))
    };
    let (in_use, all) = (pair(in_use)?, pair(all)?);
    Some([in_use.0, in_use.1, all.0, all.1])
}

/// `3: 96 [5: 160] @ heap/1048576`: the totals, and `MemProfileRate`.
fn heap_head(text: &str) -> Option<([i64; 4], i64)> {
    let (values, rate) = text.split_once('@')?;
    let rate: i64 = rate.trim_ascii().strip_prefix("heap/")?.parse().ok()?;
    // Twice the rate, as C++ programs wrote it.
    Some((heap_values(values)?, rate / 2))
}
