//! Traces of Go 1.22 and later: generations of batches, one writer for each thread.
//!
//! Sources: internal/trace/tracev2 (spec.go, events.go), internal/trace/{reader,generation,
//! batch,order}.go, runtime/trace*.go of Go 1.22 to 1.27. Event numbers and argument counts
//! only ever grew, so one table serves all.
//!
//! The order of events is that of their time stamps, each thread's own order kept. Go's
//! reader puts them in the order of what goroutines did, which differs only where stamps
//! are equal or clocks disagree; nothing here depends on that.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::collections::binary_heap::PeekMut;
use std::io::Read;

use super::spans::{Info, Spans};
use super::tables::{Arena, Names, Piece, Table};
use super::wire::{Cursor, Source, Stop, Ticks};
use super::{BEFORE, Clock, Fact, Lane, Outcome, Sink};

/// tracev2.MaxBatchSize.
const BATCH_MAX: u64 = 64 << 10;
/// tracev2.MaxFramesPerStack.
const FRAMES_MAX: u64 = 1024;
/// Bytes of one generation that are kept, and those that its tables get besides.
const HELD_MAX: usize = 224 << 20;
const TABLES_MAX: usize = 64 << 20;
/// Entries of a table: strings, stacks, types.
const ENTRIES_MAX: usize = 4 << 20;
const TYPES_MAX: usize = 1 << 20;
const THREADS_MAX: usize = 1 << 16;
/// Events between two looks at whether the user wants to go on.
const TICK: u64 = 1 << 18;
/// What the runtime's clock on Linux and other systems with a fine clock counts:
/// nanotime()/64 (runtime.traceClockUnitsPerSecond).
const MONOTONIC: u64 = 1_000_000_000 / 64;
/// A thread or task that is none.
const NONE: u64 = u64::MAX;

// Event numbers (tracev2.Ev…).
const EVENT_BATCH: u8 = 1;
const STACKS: u8 = 2;
const STACK: u8 = 3;
const STRINGS: u8 = 4;
const STRING: u8 = 5;
const CPU_SAMPLES: u8 = 6;
const FREQUENCY: u8 = 8;
const GO_CREATE_SYSCALL: u8 = 15;
const GO_START: u8 = 16;
const GO_DESTROY: u8 = 17;
const GO_DESTROY_SYSCALL: u8 = 18;
const GO_STOP: u8 = 19;
const GO_BLOCK: u8 = 20;
const GO_SYSCALL_END_BLOCKED: u8 = 24;
const GO_STATUS: u8 = 25;
const STW_BEGIN: u8 = 26;
const STW_END: u8 = 27;
const GC_ACTIVE: u8 = 28;
const GC_BEGIN: u8 = 29;
const GC_END: u8 = 30;
const HEAP_ALLOC: u8 = 37;
const HEAP_GOAL: u8 = 38;
const TASK_BEGIN: u8 = 40;
const TASK_END: u8 = 41;
const REGION_BEGIN: u8 = 42;
const REGION_END: u8 = 43;
const LOG: u8 = 44;
const GO_SWITCH: u8 = 45;
const GO_SWITCH_DESTROY: u8 = 46;
const GO_STATUS_STACK: u8 = 48;
const EXPERIMENTAL_BATCH: u8 = 49;
const SYNC: u8 = 50;
const CLOCK_SNAPSHOT: u8 = 51;
const END_OF_GENERATION: u8 = 52;
const SPAN: u8 = 128;
const SPAN_ALLOC: u8 = 129;
const SPAN_FREE: u8 = 130;
const OBJECT: u8 = 131;
const OBJECT_ALLOC: u8 = 132;
const OBJECT_FREE: u8 = 133;

/// tracev2.GoRunning and GoSyscall.
const RUNNING: u64 = 2;
const SYSCALL: u64 = 3;
/// tracev2.AllocFree.
const ALLOC_FREE: u8 = 1;

/// What is done with an event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// There is no such event in a batch.
    None,
    /// Nothing.
    Skip,
    /// The thread runs the goroutine in the first argument.
    Runs,
    /// The thread runs none.
    Idle,
    /// A goroutine's state.
    Status,
    /// It is handed on, in order.
    Keep,
}

/// How many numbers follow the event's own, and what for.
const EVENTS: [(u8, Use); 256] = events();

const fn events() -> [(u8, Use); 256] {
    let mut table = [(0, Use::None); 256];
    // Arguments of the events 9 to 48, the time included.
    let counts: [u8; 40] = [
        3, 3, 1, 4, 3, 4, 2, 3, 1, 1, 3, 3, 4, 3, 1, 1, 4, 3, 1, 2, 3, 2, 2, 2, 3, 2, 2, 1, 2, 2,
        2, 5, 3, 4, 4, 5, 3, 3, 4, 5,
    ];
    let mut index = 0;
    while index < counts.len() {
        table[index + 9] = (counts[index], Use::Skip);
        index += 1;
    }
    // The AllocFree experiment: spans, objects, goroutine stacks.
    let counts: [u8; 9] = [4, 4, 2, 3, 3, 2, 3, 3, 2];
    index = 0;
    while index < counts.len() {
        table[index + SPAN as usize] = (counts[index], Use::Skip);
        index += 1;
    }
    let uses: [(Use, &[u8]); 4] = [
        (
            Use::Runs,
            &[GO_CREATE_SYSCALL, GO_START, GO_SWITCH, GO_SWITCH_DESTROY],
        ),
        (
            Use::Idle,
            &[
                GO_DESTROY,
                GO_DESTROY_SYSCALL,
                GO_STOP,
                GO_BLOCK,
                GO_SYSCALL_END_BLOCKED,
            ],
        ),
        (Use::Status, &[GO_STATUS, GO_STATUS_STACK]),
        (
            Use::Keep,
            &[
                STW_BEGIN,
                STW_END,
                GC_ACTIVE,
                GC_BEGIN,
                GC_END,
                HEAP_ALLOC,
                HEAP_GOAL,
                TASK_BEGIN,
                TASK_END,
                REGION_BEGIN,
                REGION_END,
                LOG,
                SPAN,
                SPAN_ALLOC,
                SPAN_FREE,
                OBJECT,
                OBJECT_ALLOC,
                OBJECT_FREE,
            ],
        ),
    ];
    index = 0;
    while index < uses.len() {
        let mut of = 0;
        while of < uses[index].1.len() {
            table[uses[index].1[of] as usize].1 = uses[index].0;
            of += 1;
        }
        index += 1;
    }
    table
}

/// A type of the AllocFree experiment.
#[derive(Debug)]
struct Type {
    size: u64,
    name: Box<str>,
}

/// A batch of one thread.
#[derive(Debug, Clone, Copy)]
struct Batch {
    /// The clock when it was begun, in ticks.
    time: u64,
    /// Where its events are in the file.
    offset: u64,
    bytes: Piece,
}

/// Clocks read at once.
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    ticks: u64,
    mono_ns: u64,
    wall_ns: u64,
}

/// What was read of one generation.
#[derive(Debug, Default)]
struct Generation {
    /// Its number; 0 before its first batch.
    id: u64,
    names: Names,
    /// Batches of each thread, in the order of the file.
    threads: Vec<(u64, Vec<Batch>)>,
    by_thread: HashMap<u64, usize>,
    batches: usize,
    types: Table<Type>,
    type_bytes: usize,
    ticks: Option<Ticks>,
    snapshot: Option<Snapshot>,
    /// Bytes of events there was no room for.
    left_out: u64,
    /// Entries of tables there was no room for.
    tables_full: bool,
}

impl Generation {
    fn clear(&mut self) {
        self.id = 0;
        self.names.clear();
        self.threads.clear();
        self.by_thread.clear();
        self.batches = 0;
        self.types.clear();
        self.type_bytes = 0;
        self.ticks = None;
        self.snapshot = None;
        self.left_out = 0;
        self.tables_full = false;
    }
}

/// Where a thread's events are read.
#[derive(Debug)]
struct Position<'a> {
    batches: std::slice::Iter<'a, Batch>,
    batch: Option<Batch>,
    rest: Cursor<'a>,
    ticks: u64,
    /// Who runs on the thread, and since when.
    goroutine: u64,
    since: u64,
    /// The event that comes next.
    kind: u8,
    arguments: [u64; 4],
    /// How many were read.
    events: u64,
}

/// What became of the way to a thread's next event.
enum Step {
    /// It is there.
    Next,
    /// There is none.
    End,
    /// It cannot be read: where in the file, and why.
    Damaged(u64, &'static str),
}

impl<'a> Position<'a> {
    fn new(batches: &'a [Batch]) -> Self {
        Self {
            batches: batches.iter(),
            batch: None,
            rest: Cursor::new(&[]),
            ticks: 0,
            goroutine: 0,
            since: 0,
            kind: 0,
            arguments: [0; 4],
            events: 0,
        }
    }

    /// Goes to the next event that somebody has to know of.
    fn advance(&mut self, thread: u64, arena: &'a Arena) -> Step {
        loop {
            if self.rest.left() == 0 {
                let Some(batch) = self.batches.next() else {
                    return Step::End;
                };
                self.batch = Some(*batch);
                self.ticks = batch.time;
                self.rest = Cursor::new(arena.bytes(batch.bytes));
                continue;
            }
            let before = self.rest.left();
            match self.event(thread) {
                Some(true) => return Step::Next,
                Some(false) => {}
                None => {
                    let (offset, length) = self
                        .batch
                        .map_or((0, 0), |batch| (batch.offset, batch.bytes.length));
                    let offset = offset + u64::from(length) - before as u64;
                    return Step::Damaged(offset, "no event can be read there");
                }
            }
        }
    }

    /// Reads an event; whether it is to be handed on.
    #[inline]
    fn event(&mut self, thread: u64) -> Option<bool> {
        let kind = self.rest.byte()?;
        let (count, what) = EVENTS[usize::from(kind)];
        if what == Use::None {
            return None;
        }
        self.ticks = self.ticks.saturating_add(self.rest.uvarint()?);
        self.events += 1;
        let count = count - 1;
        match what {
            Use::Keep => {
                self.kind = kind;
                for place in self.arguments.iter_mut().take(usize::from(count)) {
                    *place = self.rest.uvarint()?;
                }
                return Some(true);
            }
            Use::Runs => {
                let goroutine = self.rest.uvarint()?;
                self.rest.skip(count - 1)?;
                self.run(goroutine, self.ticks);
            }
            Use::Idle => {
                self.rest.skip(count)?;
                self.run(0, self.ticks);
            }
            Use::Status => {
                let goroutine = self.rest.uvarint()?;
                let on = self.rest.uvarint()?;
                let status = self.rest.uvarint()?;
                self.rest.skip(count - 3)?;
                if status == RUNNING || status == SYSCALL && on == thread {
                    self.run(goroutine, self.ticks);
                } else if status == SYSCALL {
                    // Another thread is meant: that has to wait for its turn.
                    self.kind = kind;
                    self.arguments = [goroutine, on, 0, 0];
                    return Some(true);
                }
            }
            Use::Skip | Use::None => self.rest.skip(count)?,
        }
        Some(false)
    }

    fn run(&mut self, goroutine: u64, since: u64) {
        if since >= self.since {
            self.goroutine = goroutine;
            self.since = since;
        }
    }
}

/// Reads a trace behind its header.
pub(super) struct Reader<'s> {
    sink: &'s mut dyn Sink,
    progress: &'s mut dyn FnMut(u64) -> bool,
    version: u32,
    spans: Spans,
    /// From the begin of the trace on.
    info: Option<Info>,
    /// Of the last generation that told it.
    ticks: Option<Ticks>,
    /// A collection, and a stop of the world, that have not ended.
    collecting: bool,
    stopped: bool,
    /// When the last fact was.
    last_ns: u64,
    /// Facts that were earlier than one before them, and by how much at most.
    late: u64,
    late_ns: u64,
    /// Names whose strings are missing.
    nameless: u64,
    /// AllocFree events before anything said where the heap begins.
    homeless: u64,
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
            version,
            spans: Spans::default(),
            info: None,
            ticks: None,
            collecting: false,
            stopped: false,
            last_ns: 0,
            late: 0,
            late_ns: 0,
            nameless: 0,
            homeless: 0,
            outcome: Outcome::new(version),
        }
    }

    pub(super) fn read<R: Read>(mut self, source: &mut Source<R>) -> Outcome {
        let mut generation = Generation::default();
        self.batches(source, &mut generation);
        self.outcome.bytes = source.offset();
        self.last_notes();
        self.outcome
    }

    fn batches<R: Read>(&mut self, source: &mut Source<R>, generation: &mut Generation) {
        let mut told = source.offset();
        loop {
            if source.offset() - told >= 1 << 20 {
                told = source.offset();
                if !(self.progress)(told) {
                    self.outcome.interrupted = true;
                    return;
                }
            }
            let start = source.offset();
            let ended = match self.batch(source, generation) {
                Ok(false) => continue,
                Ok(true) => None,
                Err(Stop::End) => {
                    if generation.id == 0 {
                        return;
                    }
                    // Since Go 1.26 a whole generation says so; before, its frequency is
                    // among the last things that are written of it.
                    let whole = self.version < 26 && generation.ticks.is_some();
                    Some((!whole).then(|| {
                        let id = generation.id;
                        format!("the file ends inside of generation {id}")
                    }))
                }
                Err(Stop::Broken(why)) => Some(Some(why)),
            };
            let whole = !matches!(ended, Some(Some(_)));
            if let Some(Some(why)) = &ended {
                self.outcome.cut_at(start, why);
            }
            let go_on = self.finish(source.offset(), generation, whole);
            let next = ended.is_none() && go_on;
            generation.clear();
            if !next {
                return;
            }
        }
    }

    /// Reads a batch; whether it was the mark at a generation's end.
    fn batch<R: Read>(
        &mut self,
        source: &mut Source<R>,
        generation: &mut Generation,
    ) -> Result<bool, Stop> {
        let kind = source.first()?;
        let experiment = match kind {
            EVENT_BATCH => 0,
            EXPERIMENTAL_BATCH => source.byte()?,
            END_OF_GENERATION => return Ok(true),
            _ => {
                return Err(Stop::Broken(format!(
                    "event {kind} stands where a batch must begin"
                )));
            }
        };
        let id = source.uvarint()?;
        let thread = source.uvarint()?;
        let time = source.uvarint()?;
        let size = source.uvarint()?;
        if size > BATCH_MAX {
            return Err(Stop::Broken(format!(
                "a batch claims {size} bytes; the most is {BATCH_MAX}"
            )));
        }
        if id == 0 {
            return Err(Stop::Broken("a batch is of generation 0".into()));
        }
        if generation.id == 0 {
            generation.id = id;
        } else if generation.id.checked_add(1) == Some(id) && self.version < 26 {
            // The next generation begins: that is the end of the one before.
            let go_on = self.finish(source.offset(), generation, true);
            generation.clear();
            generation.id = id;
            if !go_on {
                return Err(Stop::End);
            }
        } else if generation.id != id {
            return Err(Stop::Broken(format!(
                "a batch of generation {id} stands in generation {}",
                generation.id
            )));
        }
        let offset = source.offset();
        let bytes = generation.names.arena.take(source, size as usize)?;
        self.keep(
            generation,
            experiment,
            thread,
            Batch {
                time,
                offset,
                bytes,
            },
        );
        Ok(false)
    }

    /// Sorts a batch in.
    fn keep(&mut self, generation: &mut Generation, experiment: u8, thread: u64, batch: Batch) {
        // Tables are taken out of the generation while they are filled: they point into
        // its bytes.
        let mut tables = Tables {
            strings: std::mem::take(&mut generation.names.strings),
            stacks: std::mem::take(&mut generation.names.stacks),
        };
        let bytes = generation.names.arena.bytes(batch.bytes);
        let mut cursor = Cursor::new(bytes);
        let held = generation.names.arena.held + generation.batches * std::mem::size_of::<Batch>();
        let mut keep = false;
        let mut room = true;
        let read = match (experiment, bytes.first()) {
            (_, None) => Some(()),
            (ALLOC_FREE, Some(0)) => {
                let result = types(
                    &mut cursor,
                    &mut generation.types,
                    &mut generation.type_bytes,
                );
                room = result != Some(false);
                result.map(|_| ())
            }
            (ALLOC_FREE, Some(1)) => info(&mut cursor).map(|info| self.info = Some(info)),
            // An experiment that nobody here knows.
            (1.., _) => Some(()),
            (0, Some(&STRINGS)) => {
                keep = held <= HELD_MAX + TABLES_MAX;
                room = keep;
                match keep {
                    true => tables.strings(&mut cursor, batch.bytes, &mut room),
                    false => Some(()),
                }
            }
            (0, Some(&STACKS)) => {
                keep = held <= HELD_MAX + TABLES_MAX;
                room = keep;
                match keep {
                    true => tables.stacks(&mut cursor, batch.bytes, &mut room),
                    false => Some(()),
                }
            }
            (0, Some(&CPU_SAMPLES)) => Some(()),
            (0, Some(&(FREQUENCY | SYNC))) => {
                sync(&mut cursor, batch.time).map(|(ticks, snapshot)| {
                    generation.ticks = generation.ticks.or(ticks);
                    generation.snapshot = generation.snapshot.or(snapshot);
                })
            }
            (0, Some(_)) => {
                let number = generation.threads.len();
                let index = *generation.by_thread.entry(thread).or_insert(number);
                if index >= generation.threads.len() && index < THREADS_MAX {
                    generation.threads.push((thread, Vec::new()));
                }
                match generation.threads.get_mut(index) {
                    Some((_, batches)) if held <= HELD_MAX => {
                        batches.push(batch);
                        keep = true;
                    }
                    _ => {
                        generation.left_out += u64::from(batch.bytes.length);
                        if index >= THREADS_MAX {
                            generation.by_thread.remove(&thread);
                        }
                    }
                }
                Some(())
            }
        };
        let left = cursor.left() as u64;
        generation.names.strings = tables.strings;
        generation.names.stacks = tables.stacks;
        generation.tables_full |= !room;
        if keep {
            generation.batches += 1;
        } else {
            generation.names.arena.give_back(batch.bytes);
        }
        if read.is_none() {
            let at = batch.offset + u64::from(batch.bytes.length) - left;
            self.outcome.damage(at, "a table cannot be read on");
        }
    }

    /// Hands on what a generation tells; whether to go on.
    fn finish(&mut self, offset: u64, generation: &Generation, whole: bool) -> bool {
        if generation.id == 0 {
            return true;
        }
        let id = generation.id;
        let Some(ticks) = generation.ticks.or(self.ticks) else {
            self.outcome.note(format!(
                "generation {id} is left out: it does not say what its clock counts"
            ));
            return true;
        };
        self.ticks = Some(ticks);
        let monotonic = ticks.per_second() == MONOTONIC
            && generation.snapshot.is_none_or(|snapshot| {
                snapshot.mono_ns.abs_diff(ticks.ns(snapshot.ticks)) < 1_000_000
            });
        if !monotonic && self.outcome.clock == Clock::Monotonic {
            self.outcome.clock = Clock::Own;
            self.outcome.note(format!(
                "the clock counts {} ticks a second and is not CLOCK_MONOTONIC",
                ticks.per_second()
            ));
        }
        if generation.left_out != 0 {
            self.outcome.incomplete = true;
            self.outcome.note(format!(
                "generation {id} is too large: {} bytes of its events are left out",
                generation.left_out
            ));
        }
        if generation.tables_full {
            self.outcome.incomplete = true;
            self.outcome
                .note(format!("generation {id} has more names than are kept"));
        }
        if !whole {
            self.outcome.incomplete = true;
            self.outcome.note(format!(
                "generation {id} is not whole: what some threads did is missing"
            ));
        }
        self.outcome.generations += 1;
        self.merge(offset, generation, ticks)
    }

    /// Puts the events of all threads in the order of time.
    fn merge(&mut self, offset: u64, generation: &Generation, ticks: Ticks) -> bool {
        const CLOCKS: usize = usize::MAX;
        let mut positions = Vec::with_capacity(generation.threads.len());
        let mut heap = BinaryHeap::with_capacity(generation.threads.len() + 1);
        for (index, (thread, batches)) in generation.threads.iter().enumerate() {
            let mut position = Position::new(batches);
            if self.step(&mut position, *thread, generation) {
                heap.push(Reverse((position.ticks, index)));
            }
            positions.push(position);
        }
        if let Some(snapshot) = generation.snapshot {
            heap.push(Reverse((snapshot.ticks, CLOCKS)));
        }
        let mut seen = 0_u64;
        while let Some(mut top) = heap.peek_mut() {
            let Reverse((time, index)) = *top;
            seen += 1;
            if seen.is_multiple_of(TICK) && !(self.progress)(offset) {
                self.outcome.interrupted = true;
                break;
            }
            let Some(position) = positions.get_mut(index) else {
                PeekMut::pop(top);
                if let Some(snapshot) = generation.snapshot {
                    let t_ns = self.time(ticks, snapshot.ticks);
                    let fact = Fact::Clock {
                        t_ns,
                        mono_ns: snapshot.mono_ns,
                        wall_ns: snapshot.wall_ns,
                    };
                    if !self.tell(&fact, generation) {
                        break;
                    }
                }
                continue;
            };
            let (kind, arguments, goid) = (position.kind, position.arguments, position.goroutine);
            let thread = generation
                .threads
                .get(index)
                .map_or(NONE, |thread| thread.0);
            if self.step(position, thread, generation) {
                *top = Reverse((position.ticks, index));
                drop(top);
            } else {
                PeekMut::pop(top);
            }
            if matches!(kind, GO_STATUS | GO_STATUS_STACK) {
                let other = generation.by_thread.get(&arguments[1]);
                if let Some(other) = other.and_then(|other| positions.get_mut(*other)) {
                    other.run(arguments[0], time);
                }
            } else if !self.hand_on(time, kind, arguments, goid, generation, ticks) {
                break;
            }
        }
        self.outcome.events += positions
            .iter()
            .map(|position| position.events)
            .sum::<u64>();
        !self.outcome.interrupted
    }

    fn step<'a>(
        &mut self,
        position: &mut Position<'a>,
        thread: u64,
        generation: &'a Generation,
    ) -> bool {
        match position.advance(thread, &generation.names.arena) {
            Step::Next => true,
            Step::End => false,
            Step::Damaged(offset, why) => {
                self.outcome.damage(
                    offset,
                    &format!(
                        "{why}; the rest of thread {thread} in generation {} is left out",
                        generation.id
                    ),
                );
                false
            }
        }
    }

    /// Nanoseconds, never less than the last ones.
    #[inline]
    fn time(&mut self, ticks: Ticks, time: u64) -> u64 {
        let t_ns = ticks.ns(time);
        if t_ns < self.last_ns {
            self.late += 1;
            self.late_ns = self.late_ns.max(self.last_ns - t_ns);
        }
        self.last_ns = self.last_ns.max(t_ns);
        self.last_ns
    }

    #[inline]
    fn tell(&mut self, fact: &Fact<'_>, generation: &Generation) -> bool {
        let go_on = self
            .sink
            .fact(fact, &|stack| generation.names.frames(stack));
        self.outcome.interrupted |= !go_on;
        go_on
    }

    fn name<'g>(&mut self, generation: &'g Generation, id: u64) -> Cow<'g, str> {
        generation.names.string(id).unwrap_or_else(|| {
            self.nameless += 1;
            Cow::Borrowed("")
        })
    }

    /// Hands an event on; whether to go on.
    fn hand_on(
        &mut self,
        time: u64,
        kind: u8,
        arguments: [u64; 4],
        goid: u64,
        generation: &Generation,
        ticks: Ticks,
    ) -> bool {
        let [first, second, third, fourth] = arguments;
        if kind >= SPAN {
            return self.heap_event(time, kind, arguments, goid, generation, ticks);
        }
        let t_ns = self.time(ticks, time);
        let task = |id: u64| if id == NONE { 0 } else { id };
        let (name, value);
        let fact = match kind {
            STW_BEGIN => {
                self.stopped = true;
                name = self.name(generation, first);
                Fact::Begin {
                    t_ns,
                    lane: Lane::StopTheWorld,
                    reason: &name,
                    goid,
                }
            }
            STW_END => {
                if !std::mem::take(&mut self.stopped) {
                    return true;
                }
                Fact::End {
                    t_ns,
                    lane: Lane::StopTheWorld,
                }
            }
            GC_ACTIVE | GC_BEGIN => {
                // Every generation says again that a collection goes on.
                if kind == GC_ACTIVE && self.collecting {
                    return true;
                }
                self.collecting = true;
                Fact::Begin {
                    t_ns,
                    lane: Lane::Gc,
                    reason: if kind == GC_ACTIVE { BEFORE } else { "" },
                    goid,
                }
            }
            GC_END => {
                if !std::mem::take(&mut self.collecting) {
                    return true;
                }
                Fact::End {
                    t_ns,
                    lane: Lane::Gc,
                }
            }
            HEAP_ALLOC => Fact::HeapAlloc { t_ns, bytes: first },
            HEAP_GOAL => Fact::HeapGoal { t_ns, bytes: first },
            TASK_BEGIN => {
                name = self.name(generation, third);
                Fact::TaskBegin {
                    t_ns,
                    goid,
                    task: first,
                    parent: task(second),
                    name: &name,
                }
            }
            TASK_END => Fact::TaskEnd {
                t_ns,
                goid,
                task: first,
            },
            REGION_BEGIN => {
                name = self.name(generation, second);
                Fact::RegionBegin {
                    t_ns,
                    goid,
                    task: task(first),
                    name: &name,
                }
            }
            REGION_END => {
                name = self.name(generation, second);
                Fact::RegionEnd {
                    t_ns,
                    goid,
                    task: task(first),
                    name: &name,
                }
            }
            LOG => {
                name = self.name(generation, second);
                value = self.name(generation, third);
                Fact::Log {
                    t_ns,
                    goid,
                    task: task(first),
                    category: &name,
                    message: &value,
                    stack: u32::try_from(fourth).unwrap_or(0),
                }
            }
            _ => return true,
        };
        self.tell(&fact, generation)
    }

    /// Events of the AllocFree experiment.
    fn heap_event(
        &mut self,
        time: u64,
        kind: u8,
        arguments: [u64; 4],
        goid: u64,
        generation: &Generation,
        ticks: Ticks,
    ) -> bool {
        let [id, second, third, _] = arguments;
        let Some(info) = self.info else {
            self.homeless += 1;
            return true;
        };
        match kind {
            SPAN | SPAN_ALLOC => {
                // Bit 0: no span of the heap (runtime.traceSpanTypeAndClass).
                if third & 1 == 0 {
                    self.spans.add(info, id, second, third >> 1);
                }
                return true;
            }
            SPAN_FREE => {
                self.spans.remove(id);
                return true;
            }
            _ => {}
        }
        let Some(address) = id
            .checked_mul(info.align)
            .and_then(|offset| info.heap.checked_add(offset))
        else {
            self.homeless += 1;
            return true;
        };
        let slot = self.spans.slot(info, id);
        let t_ns = self.time(ticks, time);
        let fact = if kind == OBJECT_FREE {
            Fact::Free {
                t_ns,
                // The sweeper names the slot.
                address,
            }
        } else {
            let of = generation.types.get(second);
            if of.is_none() && second != 0 {
                self.nameless += 1;
            }
            let type_size = of.map_or(0, |of| of.size);
            // A span that cannot hold the type is not the object's.
            let slot = slot.filter(|(_, size)| type_size <= *size);
            Fact::Alloc {
                t_ns,
                goid: if kind == OBJECT { 0 } else { goid },
                address: slot.map_or(address, |slot| slot.0),
                slot: slot.map(|slot| slot.1),
                type_name: of.map_or("", |of| &of.name),
                type_size,
                existed: kind == OBJECT,
            }
        };
        self.tell(&fact, generation)
    }

    fn last_notes(&mut self) {
        if self.late_ns > 0 {
            let (late, ns) = (self.late, self.late_ns);
            self.outcome.late_ns = ns;
            let facts = if late == 1 { "fact is" } else { "facts are" };
            self.outcome.note(format!(
                "{late} {facts} stamped up to {ns} ns before one that was handed on earlier (stamps \
                 of dense events run ahead) and have its time"
            ));
        }
        if self.nameless != 0 {
            self.outcome.incomplete = true;
            let count = self.nameless;
            self.outcome
                .note(format!("{count} names are missing from the file"));
        }
        if self.homeless != 0 {
            self.outcome.incomplete = true;
            let count = self.homeless;
            self.outcome.note(format!(
                "{count} allocations and frees are left out: the file does not say where the \
                 heap begins (a flight recorder's file has lost that)"
            ));
        }
        if self.spans.full {
            self.outcome
                .note("the slots of some objects are not known: too much heap".into());
        }
    }
}

/// Names of one generation while they are read.
struct Tables {
    strings: Table<Piece>,
    stacks: Table<(Piece, u16)>,
}

/// The place of bytes that are left of a batch.
fn place(batch: Piece, left: usize, length: u64) -> Option<Piece> {
    let length = u32::try_from(length).ok()?;
    let start = (batch.start + batch.length).checked_sub(u32::try_from(left).ok()?)?;
    Some(Piece {
        piece: batch.piece,
        start,
        length,
    })
}

impl Tables {
    fn strings(&mut self, cursor: &mut Cursor<'_>, batch: Piece, room: &mut bool) -> Option<()> {
        cursor.byte()?;
        while cursor.left() != 0 {
            (cursor.byte()? == STRING).then_some(())?;
            let id = cursor.uvarint()?;
            let length = cursor.uvarint()?;
            let piece = place(batch, cursor.left(), length);
            cursor.take(length)?;
            *room &= self.strings.insert(id, piece?, ENTRIES_MAX);
        }
        Some(())
    }

    fn stacks(&mut self, cursor: &mut Cursor<'_>, batch: Piece, room: &mut bool) -> Option<()> {
        cursor.byte()?;
        while cursor.left() != 0 {
            (cursor.byte()? == STACK).then_some(())?;
            let id = cursor.uvarint()?;
            let frames = cursor.uvarint().filter(|count| *count <= FRAMES_MAX)?;
            let before = cursor.left();
            for _ in 0..frames {
                cursor.skip(4)?;
            }
            let piece = place(batch, before, (before - cursor.left()) as u64);
            let frames = frames as u16;
            *room &= self.stacks.insert(id, (piece?, frames), ENTRIES_MAX / 2);
        }
        Some(())
    }
}

/// Types of the AllocFree experiment (runtime.traceTypeTable.dump); false if there was no
/// room for all.
fn types(cursor: &mut Cursor<'_>, types: &mut Table<Type>, bytes: &mut usize) -> Option<bool> {
    let mut room = true;
    cursor.byte()?;
    while cursor.left() != 0 {
        let id = cursor.uvarint()?;
        let _address = cursor.uvarint()?;
        let size = cursor.uvarint()?;
        let _pointers = cursor.uvarint()?;
        let length = cursor.uvarint()?;
        let name = String::from_utf8_lossy(cursor.take(length)?);
        if *bytes + name.len() > TABLES_MAX {
            room = false;
            continue;
        }
        *bytes += name.len();
        let of = Type {
            size,
            name: name.into(),
        };
        room &= types.insert(id, of, TYPES_MAX);
    }
    Some(room)
}

fn info(cursor: &mut Cursor<'_>) -> Option<Info> {
    cursor.byte()?;
    let info = Info {
        heap: cursor.uvarint()?,
        page: cursor.uvarint()?,
        align: cursor.uvarint()?,
    };
    (info.page != 0 && info.align != 0).then_some(info)
}

/// What a clock counts, and what it and others showed at once.
fn sync(cursor: &mut Cursor<'_>, time: u64) -> Option<(Option<Ticks>, Option<Snapshot>)> {
    let (mut ticks, mut snapshot) = (None, None);
    let mut now = time;
    while cursor.left() != 0 {
        match cursor.byte()? {
            SYNC => {}
            FREQUENCY => ticks = Some(Ticks::new(cursor.uvarint()?)?),
            CLOCK_SNAPSHOT => {
                now = now.saturating_add(cursor.uvarint()?);
                let mono_ns = cursor.uvarint()?;
                let seconds = cursor.uvarint()?;
                let nanoseconds = cursor.uvarint()?;
                let wall_ns = seconds
                    .checked_mul(1_000_000_000)
                    .and_then(|wall| wall.checked_add(nanoseconds))?;
                snapshot = Some(Snapshot {
                    ticks: now,
                    mono_ns,
                    wall_ns,
                });
            }
            _ => return None,
        }
    }
    Some((ticks, snapshot))
}
