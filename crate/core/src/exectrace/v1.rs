//! Traces of Go 1.11 to 1.21: batches of processors, tables at the end.
//!
//! Source: internal/trace/parser.go and runtime/trace.go of Go 1.21. Strings stand
//! anywhere, the clock's frequency and the stacks at the very end: no event has a time or
//! a name before all was read. What the facts need is kept as it goes by, about as many
//! bytes as it has in the file.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::collections::binary_heap::PeekMut;
use std::io::Read;

use super::tables::Names;
use super::wire::{Cursor, Source, Stop, Ticks};
use super::{Fact, Lane, Outcome, Sink};

/// Bytes of events that are kept, and those that names get besides.
const HELD_MAX: usize = 256 << 20;
const NAMES_MAX: usize = 96 << 20;
/// Entries of a table.
const ENTRIES_MAX: usize = 4 << 20;
/// The parser of Go takes strings of 1e6 bytes and stacks of 1000 frames.
const STRING_MAX: u64 = 1_000_000;
const FRAMES_MAX: u64 = 1000;
const EVENT_MAX: u64 = 64 << 10;
const PROCESSORS_MAX: usize = 1 << 16;
/// Kept events lie in pieces of this size.
const PIECE: usize = 1 << 20;
/// Events between two looks at whether the user wants to go on.
const TICK: u64 = 1 << 18;

// Event numbers (runtime.traceEv…).
const BATCH: u8 = 1;
const FREQUENCY: u8 = 2;
const STACK: u8 = 3;
const GC_START: u8 = 7;
const GC_DONE: u8 = 8;
const STW_START: u8 = 9;
const STW_DONE: u8 = 10;
const HEAP_ALLOC: u8 = 33;
const HEAP_GOAL: u8 = 34;
const TIMER_GOROUTINE: u8 = 35;
const STRING: u8 = 37;
const TASK_CREATE: u8 = 45;
const TASK_END: u8 = 46;
const REGION: u8 = 47;
const LOG: u8 = 48;
const EVENTS: u8 = 50;

/// Arguments of each event, the time included; a stack has more.
const COUNTS: [usize; EVENTS as usize] = [
    0, 2, 1, 2, 3, 2, 1, 3, 1, 2, 1, 2, 3, 4, 3, 1, 2, 2, 2, 2, 2, 4, 2, 2, 2, 2, 2, 2, 2, 4, 1, 2,
    2, 2, 2, 1, 1, 0, 2, 3, 3, 4, 2, 2, 1, 5, 3, 5, 4, 5,
];

/// runtime.stwReasonStrings of Go 1.21.
const REASONS: [&str; 17] = [
    "unknown",
    "GC mark termination",
    "GC sweep termination",
    "write heap dump",
    "goroutine profile",
    "goroutine profile cleanup",
    "all goroutines stack trace",
    "read mem stats",
    "AllThreadsSyscall",
    "GOMAXPROCS",
    "start trace",
    "stop trace",
    "CountPagesInUse (test)",
    "ReadMetricsSlow (test)",
    "ReadMemStatsSlow (test)",
    "PageCachePagesLeaked (test)",
    "ResetDebugLog (test)",
];

/// What one processor did.
#[derive(Debug, Default)]
struct Processor {
    /// Kept events: number, difference of time, goroutine, arguments, text.
    pieces: Vec<Vec<u8>>,
    /// The time of the last kept one.
    last: u64,
    /// Who runs on it.
    goroutine: u64,
}

/// An event that was kept.
#[derive(Debug, Clone, Copy, Default)]
struct Event<'a> {
    kind: u8,
    ticks: u64,
    goroutine: u64,
    arguments: [u64; 3],
    text: &'a [u8],
}

/// How many arguments of a kept event are kept, behind its time.
fn kept(kind: u8) -> Option<usize> {
    Some(match kind {
        GC_START | GC_DONE | STW_DONE => 0,
        STW_START | HEAP_ALLOC | HEAP_GOAL | TASK_END => 1,
        TASK_CREATE | REGION | LOG => 3,
        _ => return None,
    })
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A small number for a small difference in either direction.
fn folded(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64 >> 63) as u64)
}

fn unfolded(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// Reads a trace behind its header.
pub(super) struct Reader<'s> {
    sink: &'s mut dyn Sink,
    progress: &'s mut dyn FnMut(u64) -> bool,
    names: Names,
    processors: Vec<Processor>,
    by_number: HashMap<u64, usize>,
    /// Whose batch is read, and its clock.
    current: usize,
    ticks: u64,
    frequency: Option<Ticks>,
    held: usize,
    /// Events and names there was no room for.
    left_out: u64,
    outcome: Outcome,
}

impl<'s> Reader<'s> {
    pub(super) fn new(
        version: u32,
        progress: &'s mut dyn FnMut(u64) -> bool,
        sink: &'s mut dyn Sink,
    ) -> Self {
        Self {
            sink,
            progress,
            names: Names::default(),
            processors: Vec::new(),
            by_number: HashMap::new(),
            current: usize::MAX,
            ticks: 0,
            frequency: None,
            held: 0,
            left_out: 0,
            outcome: Outcome::new(version),
        }
    }

    pub(super) fn read<R: Read>(mut self, source: &mut Source<R>) -> Outcome {
        let mut told = source.offset();
        // What one event holds: reused.
        let mut bytes = Vec::new();
        loop {
            if source.offset() - told >= 1 << 20 {
                told = source.offset();
                if !(self.progress)(told) {
                    self.outcome.interrupted = true;
                    break;
                }
            }
            let start = source.offset();
            match self.event(source, &mut bytes) {
                Ok(()) => {}
                Err(Stop::End) => break,
                Err(Stop::Broken(why)) => {
                    self.outcome.cut_at(start, &why);
                    break;
                }
            }
        }
        self.outcome.bytes = source.offset();
        if self.left_out != 0 {
            self.outcome.incomplete = true;
            let count = self.left_out;
            self.outcome
                .note(format!("{count} events or names are left out: too large"));
        }
        if self.outcome.interrupted {
            return self.outcome;
        }
        match self.frequency {
            Some(frequency) => self.merge(frequency, source.offset()),
            None if self.outcome.events == 0 => {}
            None => {
                self.outcome.incomplete = true;
                self.outcome.note(
                    "no time is known: what the clock counts stands at the end of such a file"
                        .into(),
                );
            }
        }
        self.outcome
    }

    /// Reads an event and keeps what is needed of it.
    fn event<R: Read>(&mut self, source: &mut Source<R>, bytes: &mut Vec<u8>) -> Result<(), Stop> {
        let broken = |why: &str| Err(Stop::Broken(why.to_owned()));
        let first = source.first()?;
        let (kind, inline) = (first & 0x3f, usize::from(first >> 6) + 1);
        if kind == 0 || kind >= EVENTS {
            return broken(&format!("there is no event {kind}"));
        }
        if kind == STRING {
            let id = source.uvarint()?;
            let length = source.uvarint()?;
            if length > STRING_MAX {
                return broken(&format!(
                    "a string claims {length} bytes; the most is {STRING_MAX}"
                ));
            }
            bytes.clear();
            source.append(length as usize, bytes)?;
            if self.names.arena.held + bytes.len() > NAMES_MAX {
                self.left_out += 1;
                return Ok(());
            }
            let piece = self.names.arena.put(bytes);
            if !self.names.strings.insert(id, piece, ENTRIES_MAX) {
                self.left_out += 1;
            }
            return Ok(());
        }
        let mut arguments = [0; 5];
        let mut count = 0;
        if inline < 4 {
            for place in arguments.iter_mut().take(inline) {
                *place = source.uvarint()?;
            }
            count = inline;
        } else {
            let length = source.uvarint()?;
            if length > EVENT_MAX {
                return broken(&format!(
                    "an event claims {length} bytes; the most is {EVENT_MAX}"
                ));
            }
            bytes.clear();
            source.append(length as usize, bytes)?;
            let mut cursor = Cursor::new(bytes);
            if kind == STACK {
                return self.stack(&mut cursor);
            }
            while cursor.left() != 0 {
                let Some(value) = cursor.uvarint() else {
                    return broken("an event's arguments have the wrong length");
                };
                if let Some(place) = arguments.get_mut(count) {
                    *place = value;
                }
                count += 1;
            }
        }
        let expected = COUNTS.get(usize::from(kind)).copied().unwrap_or_default();
        if count != expected && kind != STACK {
            return broken(&format!(
                "event {kind} has {count} arguments instead of {expected}"
            ));
        }
        bytes.clear();
        if kind == LOG {
            let length = source.uvarint()?;
            if length > STRING_MAX {
                return broken(&format!(
                    "a log claims {length} bytes; the most is {STRING_MAX}"
                ));
            }
            source.append(length as usize, bytes)?;
        }
        match kind {
            BATCH => return self.batch(arguments[0], arguments[1]),
            FREQUENCY => {
                self.frequency = Ticks::new(arguments[0]);
                return match self.frequency {
                    Some(_) => Ok(()),
                    None => broken("no clock counts so"),
                };
            }
            STACK | TIMER_GOROUTINE => return Ok(()),
            _ => {}
        }
        self.ticks = self.ticks.saturating_add(arguments[0]);
        self.outcome.events += 1;
        self.keep(kind, arguments, bytes);
        Ok(())
    }

    fn batch(&mut self, number: u64, ticks: u64) -> Result<(), Stop> {
        let next = self.processors.len();
        self.current = *self.by_number.entry(number).or_insert(next);
        if self.current == next {
            if next >= PROCESSORS_MAX {
                return Err(Stop::Broken("there are too many processors".into()));
            }
            self.processors.push(Processor::default());
        }
        self.ticks = ticks;
        Ok(())
    }

    fn stack(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let broken = || Stop::Broken("a stack has the wrong length".to_owned());
        let id = cursor.uvarint().ok_or_else(broken)?;
        let frames = cursor
            .uvarint()
            .filter(|count| *count <= FRAMES_MAX)
            .ok_or_else(broken)?;
        let length = cursor.left() as u64;
        let bytes = cursor.take(length).ok_or_else(broken)?;
        if self.names.arena.held + bytes.len() > NAMES_MAX {
            self.left_out += 1;
            return Ok(());
        }
        let piece = self.names.arena.put(bytes);
        let value = (piece, frames as u16);
        if !self.names.stacks.insert(id, value, ENTRIES_MAX) {
            self.left_out += 1;
        }
        Ok(())
    }

    fn keep(&mut self, kind: u8, arguments: [u64; 5], text: &[u8]) {
        let Some(processor) = self.processors.get_mut(self.current) else {
            // An event before the first batch belongs to nobody.
            return;
        };
        match kind {
            // GoStart, GoStartLocal, GoStartLabel.
            14 | 38 | 41 => processor.goroutine = arguments[1],
            // GoEnd to GoBlock, GoBlockSend to GoBlockNet, GoSysBlock, GoBlockGC.
            15..=20 | 22..=27 | 30 | 42 => processor.goroutine = 0,
            _ => {}
        }
        let Some(count) = kept(kind) else {
            return;
        };
        if self.held > HELD_MAX {
            self.left_out += 1;
            return;
        }
        let full = |piece: &Vec<u8>| piece.len() + 64 + text.len() > PIECE && !piece.is_empty();
        if processor.pieces.last().is_none_or(full) {
            processor.pieces.push(Vec::new());
        }
        let Some(piece) = processor.pieces.last_mut() else {
            return;
        };
        let before = piece.len();
        piece.push(kind);
        put(piece, folded(self.ticks.wrapping_sub(processor.last)));
        processor.last = self.ticks;
        // Neither the heap nor the collector is anybody's.
        if matches!(kind, TASK_CREATE..=LOG) {
            put(piece, processor.goroutine);
        }
        for argument in arguments.iter().skip(1).take(count) {
            put(piece, *argument);
        }
        if kind == LOG {
            put(piece, text.len() as u64);
            piece.extend_from_slice(text);
        }
        self.held += piece.len() - before;
    }

    /// Puts the events of all processors in the order of time.
    fn merge(&mut self, frequency: Ticks, offset: u64) {
        self.outcome.generations = 1;
        let processors = std::mem::take(&mut self.processors);
        let mut positions = Vec::with_capacity(processors.len());
        let mut heap = BinaryHeap::with_capacity(processors.len());
        for (index, processor) in processors.iter().enumerate() {
            let mut position = Position::new(&processor.pieces);
            if position.advance() {
                heap.push(Reverse((position.event.ticks, index)));
            }
            positions.push(position);
        }
        let mut state = State::default();
        let mut seen = 0_u64;
        while let Some(mut top) = heap.peek_mut() {
            let Reverse((_, index)) = *top;
            let Some(position) = positions.get_mut(index) else {
                return;
            };
            let event = position.event;
            if position.advance() {
                *top = Reverse((position.event.ticks, index));
                drop(top);
            } else {
                PeekMut::pop(top);
            }
            seen += 1;
            let go_on = !seen.is_multiple_of(TICK) || (self.progress)(offset);
            if !go_on || !self.hand_on(&event, frequency, &mut state) {
                self.outcome.interrupted = true;
                return;
            }
        }
        if state.nameless != 0 {
            self.outcome.incomplete = true;
            let count = state.nameless;
            self.outcome
                .note(format!("{count} names are missing from the file"));
        }
    }

    /// Hands an event on; whether to go on.
    fn hand_on(&mut self, event: &Event<'_>, frequency: Ticks, state: &mut State) -> bool {
        state.last_ns = state.last_ns.max(frequency.ns(event.ticks));
        let t_ns = state.last_ns;
        let [first, second, third] = event.arguments;
        let names = &self.names;
        let mut name = |id: u64| {
            names.string(id).unwrap_or_else(|| {
                state.nameless += 1;
                Cow::Borrowed("")
            })
        };
        let goid = event.goroutine;
        let (text, message);
        let fact = match event.kind {
            GC_START => {
                state.collecting = true;
                Fact::Begin {
                    t_ns,
                    lane: Lane::Gc,
                    reason: "",
                    goid: 0,
                }
            }
            GC_DONE => {
                if !std::mem::take(&mut state.collecting) {
                    return true;
                }
                Fact::End {
                    t_ns,
                    lane: Lane::Gc,
                }
            }
            STW_START => {
                state.stopped = true;
                Fact::Begin {
                    t_ns,
                    lane: Lane::StopTheWorld,
                    reason: reason(self.outcome.version, first),
                    goid: 0,
                }
            }
            STW_DONE => {
                if !std::mem::take(&mut state.stopped) {
                    return true;
                }
                Fact::End {
                    t_ns,
                    lane: Lane::StopTheWorld,
                }
            }
            HEAP_ALLOC => Fact::HeapAlloc { t_ns, bytes: first },
            HEAP_GOAL => Fact::HeapGoal { t_ns, bytes: first },
            TASK_CREATE => {
                text = name(third);
                Fact::TaskBegin {
                    t_ns,
                    goid,
                    task: first,
                    parent: second,
                    name: &text,
                }
            }
            TASK_END => Fact::TaskEnd {
                t_ns,
                goid,
                task: first,
            },
            REGION => {
                text = name(third);
                if second == 0 {
                    Fact::RegionBegin {
                        t_ns,
                        goid,
                        task: first,
                        name: &text,
                    }
                } else {
                    Fact::RegionEnd {
                        t_ns,
                        goid,
                        task: first,
                        name: &text,
                    }
                }
            }
            LOG => {
                text = name(second);
                message = String::from_utf8_lossy(event.text);
                Fact::Log {
                    t_ns,
                    goid,
                    task: first,
                    category: &text,
                    message: &message,
                    stack: u32::try_from(third).unwrap_or(0),
                }
            }
            _ => return true,
        };
        self.sink.fact(&fact, &|stack| names.frames(stack))
    }
}

/// What goes on while facts are handed on.
#[derive(Debug, Default)]
struct State {
    last_ns: u64,
    collecting: bool,
    stopped: bool,
    nameless: u64,
}

/// Why the world was stopped.
fn reason(version: u32, kind: u64) -> &'static str {
    let index = match (version, kind) {
        // Go 1.20 and before: 0 and 1.
        (..=20, 0 | 1) => kind + 1,
        (..=20, _) => 0,
        _ => kind,
    };
    usize::try_from(index)
        .ok()
        .and_then(|index| REASONS.get(index))
        .unwrap_or(&REASONS[0])
}

/// Where the kept events of a processor are read.
#[derive(Debug)]
struct Position<'a> {
    pieces: std::slice::Iter<'a, Vec<u8>>,
    rest: Cursor<'a>,
    event: Event<'a>,
}

impl<'a> Position<'a> {
    fn new(pieces: &'a [Vec<u8>]) -> Self {
        Self {
            pieces: pieces.iter(),
            rest: Cursor::new(&[]),
            event: Event::default(),
        }
    }

    /// Goes to the next event; whether there is one.
    fn advance(&mut self) -> bool {
        while self.rest.left() == 0 {
            let Some(piece) = self.pieces.next() else {
                return false;
            };
            self.rest = Cursor::new(piece);
        }
        self.event().is_some()
    }

    fn event(&mut self) -> Option<()> {
        let kind = self.rest.byte()?;
        let ticks = unfolded(self.rest.uvarint()?).wrapping_add(self.event.ticks);
        let mut event = Event {
            kind,
            ticks,
            ..Event::default()
        };
        if matches!(kind, TASK_CREATE..=LOG) {
            event.goroutine = self.rest.uvarint()?;
        }
        for place in event.arguments.iter_mut().take(kept(kind)?) {
            *place = self.rest.uvarint()?;
        }
        if kind == LOG {
            let length = self.rest.uvarint()?;
            event.text = self.rest.take(length)?;
        }
        self.event = event;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_come_back() {
        for value in [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 0x1234_5678] {
            assert_eq!(unfolded(folded(value)), value);
        }
        assert_eq!(folded(1_u64.wrapping_neg()), 1);
    }
}
