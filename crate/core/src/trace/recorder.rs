//! From hits to events.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::rc::Rc;

use super::facts::{Classic, Swiss, TableFacts};
use super::plan::{Argument, Plan, Role};
use super::sink::{Counts, Sink, TraceOptions, Types};
use crate::binary::prologue::Arch;
use crate::events::{Event, EventFileError, EventWriter, Frame, Op};
use crate::heap::{
    GoroutineReader, GoroutineState, HeapError, StackRegisters, Symbol, Symbols, callers, functions,
};
use crate::layout::{Header, Hmap, MapLayout, SwissMap};
use crate::map::classic_array_bytes;
use crate::memory::{Abi, AddressHash, AddressHasher, Memory, ReadError, Span};
use crate::target::{Map, Target};

/// Signal stacks have 32 KiB (runtime/os_linux.go, mpreinit).
const SIGNAL_STACK_MAX: u64 = 64 << 10;

/// Bytes of the stack that a repeated stop has unchanged: those of the last calls, and the
/// callers' frames.
const AROUND_BELOW: u64 = 256;
const AROUND_ABOVE: u64 = 1024;

/// Maps and calls that are remembered; then they are looked up anew.
const KNOWN_MAX: usize = 1 << 16;

/// The registers of the thread that stopped, by gdb's names.
pub trait Registers {
    /// The value, if the thread has such a register.
    fn register(&self, name: &str) -> Option<u64>;
}

/// Where and when a thread stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stop {
    /// The kernel's number of the thread.
    pub thread: u64,
    /// The target's `CLOCK_MONOTONIC`, where it is this machine's.
    pub t_mono_ns: Option<u64>,
    /// Nanoseconds since 1970.
    pub t_wall_ns: Option<u64>,
}

/// What a hit led to.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// An event.
    Event(Box<Event>),
    /// The user pressed Ctrl-C meanwhile.
    Interrupted,
}

/// What tells one passing of an instruction from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passing {
    site: usize,
    g: u64,
    sp: u64,
    fp: u64,
    arguments: [u64; 4],
    /// How often the thread was asked to let go of a goroutine.
    signals: Option<u64>,
    /// The map's header and the stack around `sp`, in one number.
    around: u64,
}

/// A call that began and has not returned.
#[derive(Debug)]
struct Open {
    role: Role,
    event: Event,
    descriptor: Option<u64>,
    classic: Option<Classic>,
    /// The table that grows, and its index in the directory.
    table: Option<TableFacts>,
}

/// What is known of a Swiss map between two of its events.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    dir: u64,
    dir_len: u64,
    slots: u64,
}

/// Takes hits and makes events of them.
pub struct Recorder {
    target: Rc<Target>,
    plan: Plan,
    sink: Sink,
    passings: HashMap<u64, Passing>,
    /// The m of each thread.
    machines: HashMap<u64, u64>,
    open: HashMap<u64, Open, AddressHash>,
    types: Types,
    capacities: HashMap<u64, Capacity, AddressHash>,
    goroutines: Result<GoroutineReader, String>,
    symbols: Result<Symbols, String>,
    /// The goroutine of this stop, once it was read.
    standing: Option<GoroutineState>,
    /// The map at a watchpoint, as it was.
    watched: HashMap<u64, Watched, AddressHash>,
}

/// A watched map's header as it was at the last stop.
#[derive(Debug, Clone, Copy)]
enum Watched {
    Classic(Classic),
    Swiss(Swiss),
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("counts", &self.sink.counts)
            .finish_non_exhaustive()
    }
}

/// Why a hit led to no event.
enum Miss {
    /// Memory could not be read, or contradicts the runtime.
    Lost,
    Interrupted,
    /// It is none of ours, and was counted.
    Counted,
}

impl From<ReadError> for Miss {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Interrupted => Self::Interrupted,
            ReadError::Fault { .. } => Self::Lost,
        }
    }
}

impl Recorder {
    /// Hands to the system what was recorded: a reader of the file sees it from now on.
    pub fn flush(&mut self) {
        self.sink.flush();
    }

    /// A recorder of `plan`'s hits in `target`; events go to `writer`, too.
    #[must_use]
    pub fn new(
        target: Rc<Target>,
        plan: Plan,
        options: TraceOptions,
        writer: Option<EventWriter>,
    ) -> Self {
        let goroutines = GoroutineReader::new(target.types()).map_err(|error| error.to_string());
        let symbols = functions(target.types(), target.memory())
            .map(Symbols::new)
            .map_err(|error| error.to_string());
        Self {
            goroutines,
            symbols,
            target,
            plan,
            sink: Sink::new(options, writer),
            passings: HashMap::new(),
            machines: HashMap::new(),
            open: HashMap::default(),
            types: Types::default(),
            capacities: HashMap::default(),
            standing: None,
            watched: HashMap::default(),
        }
    }

    /// Where to stop.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is recorded.
    #[must_use]
    pub fn options(&self) -> &TraceOptions {
        &self.sink.options
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.sink.counts
    }

    /// Why the file was given up, if it was: a line.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.sink.failure()
    }

    /// Whether as many events are there as were wanted; later hits are not recorded.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sink.is_full()
    }

    /// Ends the file. Later hits are not recorded.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(
        &mut self,
        reason: &str,
        cost_ns: Option<u64>,
        t_mono_ns: Option<u64>,
    ) -> Result<(), EventFileError> {
        self.sink.finish(reason, cost_ns, t_mono_ns)
    }

    /// A thread stopped at the site with this number.
    pub fn hit(&mut self, site: usize, registers: &dyn Registers, stop: &Stop) -> Outcome {
        if self.is_full() {
            return Outcome::Nothing;
        }
        self.sink.counts.hits += 1;
        self.standing = None;
        let made = self.at_site(site, registers, stop);
        self.settle(made)
    }

    fn settle(&mut self, made: Result<Option<Event>, Miss>) -> Outcome {
        match made {
            Ok(Some(event)) => self.emit(event),
            Ok(None) | Err(Miss::Counted) => Outcome::Nothing,
            Err(Miss::Lost) => {
                self.sink.counts.lost += 1;
                Outcome::Nothing
            }
            Err(Miss::Interrupted) => Outcome::Interrupted,
        }
    }

    fn emit(&mut self, event: Event) -> Outcome {
        Outcome::Event(Box::new(self.sink.emit(event)))
    }

    fn abi(&self) -> Abi {
        self.target.binary().abi()
    }

    fn at_site(
        &mut self,
        number: usize,
        registers: &dyn Registers,
        stop: &Stop,
    ) -> Result<Option<Event>, Miss> {
        let site = self.plan.sites.get(number).ok_or(Miss::Lost)?;
        let (role, address) = (site.role, site.address);
        let arch = self.plan.arch;
        let get = |name: &str| registers.register(name).ok_or(Miss::Lost);
        let mut arguments = [0; 4];
        for (index, word) in arguments.iter_mut().enumerate() {
            *word = get(Argument(index).register(arch))?;
        }
        let [g, sp, fp] = match arch {
            Arch::Amd64 => ["r14", "rsp", "rbp"],
            Arch::Arm64 => ["x28", "sp", "x29"],
        }
        .map(get);
        let (g, sp, fp) = (g?, sp?, fp?);
        let at = StackRegisters {
            pc: address,
            sp,
            fp,
            lr: match arch {
                Arch::Amd64 => 0,
                Arch::Arm64 => get("x30")?,
            },
        };
        let argument = |argument: Option<Argument>| {
            argument.and_then(|Argument(index)| arguments.get(index).copied())
        };
        let map = argument(role.map());
        let passing = Passing {
            site: number,
            g,
            sp,
            fp,
            arguments,
            signals: self.signals(stop.thread, g),
            around: self.around(g, sp, map),
        };
        if self.is_repeated(&passing, address, stop.thread)? {
            self.passings.insert(stop.thread, passing);
            self.sink.counts.duplicates += 1;
            return Err(Miss::Counted);
        }
        let result = arguments.first().copied().unwrap_or(0);
        let descriptor = argument(role.descriptor());
        self.passings.insert(stop.thread, passing);
        if role.returns() {
            return self.returned(role, g, result, at, stop);
        }
        if role == Role::Make {
            // The map is not there yet.
            let event = self.begun(0, g, Op::Create, at, stop)?;
            self.open(g, role, event, descriptor, None, None);
            return Ok(None);
        }
        let map = map.filter(|map| *map != 0).ok_or(Miss::Counted)?;
        if !self.sink.wants(map) {
            return Err(Miss::Counted);
        }
        let op = match role {
            Role::Assign => Op::Assign,
            Role::Delete => Op::Delete,
            Role::ClassicClear | Role::SwissClear => Op::Clear,
            Role::Overflow => Op::Overflow,
            Role::Split => Op::Split,
            _ => Op::Grow,
        };
        self.sample(stop)?;
        let mut event = self.begun(map, g, op, at, stop)?;
        let abi = self.abi();
        let header = self.plan.header;
        match (role, header) {
            (Role::Assign | Role::Delete | Role::ClassicClear | Role::SwissClear, _) => {
                if op != Op::Clear {
                    event.key = arguments.get(2).copied();
                }
                self.describe(&mut event, descriptor)?;
                self.density(&mut event, descriptor);
                Ok(Some(event))
            }
            (Role::ClassicGrow | Role::Overflow, Header::Classic(hmap)) => {
                let facts = Classic::read(self.target.uncached(), abi, &hmap, map)?;
                event.len = Some(facts.len);
                self.open(g, role, event, descriptor, Some(facts), None);
                Ok(None)
            }
            (Role::First | Role::Table, Header::Swiss(swiss)) => {
                let facts = Swiss::read(self.target.uncached(), abi, &swiss, map)?;
                event.len = Some(facts.len);
                event.old_block = Some(facts.dir).filter(|dir| *dir != 0);
                event.old_capacity = Some(if facts.dir == 0 { 0 } else { 8 });
                self.open(g, role, event, descriptor, None, None);
                Ok(None)
            }
            (Role::SwissGrow, Header::Swiss(swiss)) => {
                let table = TableFacts::read(
                    self.target.uncached(),
                    abi,
                    &swiss.table,
                    arguments.first().copied().unwrap_or(0),
                )?;
                let facts = Swiss::read(self.target.uncached(), abi, &swiss, map)?;
                event.len = Some(facts.len);
                self.open(g, role, event, descriptor, None, Some(table));
                Ok(None)
            }
            (Role::Split, Header::Swiss(swiss)) => {
                let [_, old, left, right] = arguments;
                self.split(event, &swiss, [old, left, right], fp)
            }
            _ => Err(Miss::Lost),
        }
    }

    /// How often the thread, which runs `g`, was asked to let go of a goroutine.
    fn signals(&mut self, thread: u64, g: u64) -> Option<u64> {
        let offset = self.plan.preempt_gen?;
        let live = self.target.uncached();
        let machine = match self.machines.get(&thread) {
            // A thread runs one m as long as it lives.
            Some(machine) => *machine,
            None => {
                let machine = self.goroutines.as_ref().ok()?.machine(live, g).ok()?;
                if self.machines.len() >= KNOWN_MAX {
                    self.machines.clear();
                }
                self.machines.insert(thread, machine);
                machine
            }
        };
        let at = machine.checked_add(offset)?;
        self.abi().read_uint(live, at, 4).ok()
    }

    /// The header of `map` and the stack around `sp` in one number. A goroutine that went on
    /// left its traces there: Go's functions keep nothing in registers over a call, so a
    /// caller's loop counts on the stack. What is unreadable has no say.
    fn around(&mut self, g: u64, sp: u64, map: Option<u64>) -> u64 {
        let live = self.target.uncached();
        let mut hasher = AddressHasher::default();
        let mut add = |address: u64, len: u64| {
            let mut bytes = vec![0; len as usize];
            if live.read(address, &mut bytes).is_ok() {
                for word in bytes.chunks(8) {
                    hasher.write_u64(Abi::LE64.uint(word));
                }
            }
        };
        if let Some(map) = map {
            let size = match self.plan.header {
                Header::Classic(hmap) => hmap.size,
                Header::Swiss(swiss) => swiss.size,
            };
            add(map, (size as u64).min(AROUND_ABOVE));
        }
        let reader = self.goroutines.as_ref().ok();
        self.standing = reader.and_then(|reader| reader.read(live, g).ok());
        let stack = self.standing.map(|goroutine| goroutine.stack);
        if let Some(stack) = stack.filter(|stack| stack.contains(sp)) {
            let begin = sp.saturating_sub(AROUND_BELOW).max(stack.start);
            let end = sp.saturating_add(AROUND_ABOVE).min(stack.end());
            add(begin, end - begin);
        }
        hasher.finish()
    }

    /// Whether the thread stands where it stood before, for a signal came between: all
    /// registers, the map's header and the stack are the same, the thread was signalled since,
    /// and that interrupted it at this very instruction. (That alone is no proof: the signal may
    /// have come before the first report of a later call, while another thread was stopped.) The kernel keeps the interrupted registers on the thread's
    /// signal stack, where sp and pc stand side by side (arch/x86/include/uapi/asm/sigcontext.h;
    /// arm64's). Code of the runtime is never preempted (runtime/preempt.go,
    /// isAsyncSafePoint), so the handler returned to this very place.
    fn is_repeated(&mut self, passing: &Passing, pc: u64, thread: u64) -> Result<bool, Miss> {
        let (Some(before), Some(now)) = (self.passings.get(&thread), passing.signals) else {
            return Ok(false);
        };
        let same = Passing {
            signals: before.signals,
            ..*passing
        };
        if same != *before || before.signals == Some(now) {
            return Ok(false);
        }
        let (Some(machine), Ok(goroutines)) = (self.machines.get(&thread), &self.goroutines) else {
            return Ok(false);
        };
        let live = self.target.uncached();
        if goroutines.machine(live, passing.g) != Ok(*machine) {
            // Another thread has the number of one that ended.
            self.machines.clear();
            return Ok(false);
        }
        let stack = goroutines
            .signal_stack(live, *machine)
            .map_err(|_| Miss::Lost)?;
        let len = stack.len.min(SIGNAL_STACK_MAX);
        let mut bytes = vec![0; len as usize];
        live.read(stack.end().saturating_sub(len), &mut bytes)?;
        let abi = self.abi();
        let word = usize::from(abi.pointer_size);
        let words: Vec<u64> = bytes
            .chunks_exact(word)
            .map(|word| abi.uint(word))
            .collect();
        Ok(words.windows(2).any(|pair| pair == [passing.sp, pc]))
    }

    /// Whether this one of several hits is recorded.
    fn sample(&mut self, stop: &Stop) -> Result<(), Miss> {
        let now = stop.t_mono_ns.or(stop.t_wall_ns).unwrap_or(0);
        self.sink.takes(now).then_some(()).ok_or(Miss::Counted)
    }

    /// An event of the goroutine `g`, with its stack.
    fn begun(
        &self,
        map: u64,
        g: u64,
        op: Op,
        at: StackRegisters,
        stop: &Stop,
    ) -> Result<Event, Miss> {
        let mut event = Event::new(0, op, map);
        event.thread = Some(stop.thread);
        event.t_mono_ns = stop.t_mono_ns;
        event.t_wall_ns = stop.t_wall_ns;
        self.who(&mut event, g, at)?;
        Ok(event)
    }

    /// Adds goroutine, labels and stack.
    fn who(&self, event: &mut Event, g: u64, at: StackRegisters) -> Result<(), Miss> {
        let live = self.target.uncached();
        let reader = match &self.goroutines {
            Ok(reader) => reader,
            Err(reason) => {
                event.notes.push(reason.clone());
                return Ok(());
            }
        };
        let found = match self.standing {
            Some(standing) if standing.address == g => Ok(standing),
            _ => reader.read(live, g),
        };
        let goroutine = match found {
            Ok(goroutine) => goroutine,
            Err(HeapError::Read(ReadError::Interrupted)) => return Err(Miss::Interrupted),
            Err(error) => {
                event.notes.push(error.to_string());
                return Ok(());
            }
        };
        event.goid = Some(goroutine.id);
        if goroutine.labels != 0 {
            match reader.labels(live, &goroutine) {
                Ok(labels) => {
                    if labels.cut {
                        event
                            .notes
                            .push("not all of its labels are here".to_owned());
                    }
                    event.labels = labels
                        .all
                        .into_iter()
                        .map(|label| (label.key, label.value))
                        .collect();
                }
                Err(error) => event.notes.push(format!("labels: {error}")),
            }
        }
        let depth = self.sink.options.depth;
        let Some(symbols) = self.symbols.as_ref().ok().filter(|_| depth > 0) else {
            return Ok(());
        };
        let memory = Fresh {
            live,
            kept: self.target.memory(),
            stack: goroutine.stack,
        };
        let found = callers(symbols.functions(), &memory, &goroutine, at, true, depth);
        let mut frames = Vec::with_capacity(depth);
        let mut add = |symbol: &Symbol| {
            if frames.len() < depth && !symbol.is_wrapper() {
                frames.push(Frame::from(symbol));
            }
        };
        symbols.at(&memory, at.pc).iter().for_each(&mut add);
        for pc in &found.returns {
            symbols.of_return(&memory, *pc).iter().for_each(&mut add);
        }
        event.stack = frames;
        Ok(())
    }

    fn open(
        &mut self,
        g: u64,
        role: Role,
        event: Event,
        descriptor: Option<u64>,
        classic: Option<Classic>,
        table: Option<TableFacts>,
    ) {
        if self.open.len() >= KNOWN_MAX {
            self.sink.counts.lost += self.open.len() as u64;
            self.open.clear();
        }
        let open = Open {
            role,
            event,
            descriptor,
            classic,
            table,
        };
        self.open.insert(g, open);
    }

    fn returned(
        &mut self,
        role: Role,
        g: u64,
        result: u64,
        at: StackRegisters,
        stop: &Stop,
    ) -> Result<Option<Event>, Miss> {
        let begun = self.open.remove(&g);
        let Some(open) = begun else {
            // A filter left its beginning out, or it began before the trace.
            if role == Role::Made && result != 0 {
                return self.made_alone(result, g, at, stop);
            }
            return Err(Miss::Counted);
        };
        let abi = self.abi();
        let header = self.plan.header;
        let mut event = open.event;
        event.t_mono_ns = stop.t_mono_ns;
        event.t_wall_ns = stop.t_wall_ns;
        event.thread = Some(stop.thread);
        match (role, open.role, header) {
            (Role::Made, Role::Make, _) => {
                if result == 0 || !self.sink.wants(result) {
                    return Err(Miss::Counted);
                }
                event.map = result;
                self.sample(stop)?;
                self.capacities.remove(&result);
                self.describe(&mut event, open.descriptor)?;
            }
            (Role::ClassicGrown, Role::ClassicGrow, Header::Classic(hmap)) => {
                let after = Classic::read(self.target.uncached(), abi, &hmap, event.map)?;
                let before = open.classic.ok_or(Miss::Lost)?;
                self.classic_growth(&mut event, &before, &after, open.descriptor)?;
            }
            (Role::Overflowed, Role::Overflow, Header::Classic(_)) => {
                self.named(&mut event, open.descriptor)?;
                event.block = Some(result);
                let before = open.classic.ok_or(Miss::Lost)?;
                event.b = Some(before.b);
                event.map_capacity = before.capacity();
                event.size = self
                    .layout(open.descriptor)
                    .map(|layout| layout.unit_size as u64);
                event.capacity = Some(8);
            }
            (Role::FirstDone, Role::First, Header::Swiss(swiss))
            | (Role::TableDone, Role::Table, Header::Swiss(swiss)) => {
                self.named(&mut event, open.descriptor)?;
                let group = self.group(open.descriptor);
                let memory = self.target.uncached();
                let after = Swiss::read(memory, abi, &swiss, event.map)?;
                event.tables = Some(after.dir_len);
                if role == Role::FirstDone {
                    event.block = Some(after.dir);
                    event.size = group;
                    event.capacity = Some(8);
                } else {
                    let table = after.table_at(memory, abi, 0)?;
                    let table = TableFacts::read(memory, abi, &swiss.table, table)?;
                    event.block = Some(table.groups);
                    event.size = table.size(group);
                    event.capacity = Some(table.capacity);
                    event.old_size = group;
                }
                event.map_capacity = event.capacity;
                self.remember(event.map, &after, event.capacity);
            }
            (Role::SwissGrown, Role::SwissGrow, Header::Swiss(swiss)) => {
                self.named(&mut event, open.descriptor)?;
                let group = self.group(open.descriptor);
                let memory = self.target.uncached();
                let after = Swiss::read(memory, abi, &swiss, event.map)?;
                let old = open.table.ok_or(Miss::Lost)?;
                let table = after.table_at(memory, abi, old.index)?;
                let table = TableFacts::read(memory, abi, &swiss.table, table)?;
                event.tables = Some(after.dir_len);
                event.block = Some(table.groups);
                event.capacity = Some(table.capacity);
                event.size = table.size(group);
                event.old_block = Some(old.groups);
                event.old_capacity = Some(old.capacity);
                event.old_size = old.size(group);
                let known = self.known(event.map, &after);
                event.map_capacity = match known {
                    Some(slots) => (slots + table.capacity).checked_sub(old.capacity),
                    None => after.capacity(memory, abi, &swiss.table)?,
                };
                self.remember(event.map, &after, event.map_capacity);
            }
            _ => return Err(Miss::Lost),
        }
        self.density(&mut event, open.descriptor);
        Ok(Some(event))
    }

    /// A map made by a function without arguments.
    fn made_alone(
        &mut self,
        map: u64,
        g: u64,
        at: StackRegisters,
        stop: &Stop,
    ) -> Result<Option<Event>, Miss> {
        if !self.sink.options.on.has(Op::Create) || !self.sink.wants(map) {
            return Err(Miss::Counted);
        }
        self.sample(stop)?;
        let mut event = self.begun(map, g, Op::Create, at, stop)?;
        self.capacities.remove(&map);
        self.describe(&mut event, None)?;
        Ok(Some(event))
    }

    fn classic_growth(
        &mut self,
        event: &mut Event,
        before: &Classic,
        after: &Classic,
        descriptor: Option<u64>,
    ) -> Result<(), Miss> {
        self.named(event, descriptor)?;
        if after.b == before.b {
            event.op = Op::GrowSameSize;
        }
        event.len = Some(before.len);
        event.b = Some(after.b);
        event.block = Some(after.buckets);
        event.old_block = Some(before.buckets).filter(|old| *old != 0);
        event.capacity = after.capacity();
        event.map_capacity = event.capacity;
        event.old_capacity = before.capacity();
        if let Some(layout) = self.layout(descriptor) {
            let size = |b| classic_array_bytes(&layout, b);
            event.size = Some(size(after.b));
            event.old_size = event.old_block.map(|_| size(before.b));
        }
        Ok(())
    }

    fn split(
        &mut self,
        mut event: Event,
        swiss: &SwissMap,
        [old, left, right]: [u64; 3],
        fp: u64,
    ) -> Result<Option<Event>, Miss> {
        let abi = self.abi();
        let target = Rc::clone(&self.target);
        let memory = target.uncached();
        let before = Swiss::read(memory, abi, swiss, event.map)?;
        let read = |table| TableFacts::read(memory, abi, &swiss.table, table);
        let (old_table, left, right) = (read(old)?, read(left)?, read(right)?);
        // The frame of (*table).split: its caller left room for the arguments in registers,
        // in their order (cmd/compile/abi-internal.md, spill area), above the return address.
        let word = usize::from(abi.pointer_size);
        let mut slots = vec![0; 3 * word];
        let mut spilled = [0; 3];
        match memory.read(fp.wrapping_add(2 * word as u64), &mut slots) {
            Ok(()) => {
                for (value, slot) in spilled.iter_mut().zip(slots.chunks_exact(word)) {
                    *value = abi.uint(slot);
                }
            }
            Err(ReadError::Interrupted) => return Err(Miss::Interrupted),
            Err(ReadError::Fault { .. }) => {}
        }
        let of_caller = [spilled[0], spilled[2]] == [old, event.map];
        let asked = self
            .sink
            .options
            .asked(event.map)
            .and_then(|known| known.descriptor);
        let descriptor = asked.or(of_caller.then_some(spilled[1]));
        self.named(&mut event, descriptor)?;
        let group = self.group(descriptor);
        event.len = Some(before.len);
        event.block = Some(left.groups);
        event.second_block = Some(right.groups);
        event.capacity = Some(left.capacity);
        event.size = left.size(group);
        event.old_block = Some(old_table.groups);
        event.old_capacity = Some(old_table.capacity);
        event.old_size = old_table.size(group);
        let doubles = old_table.depth == before.depth;
        event.tables = Some(if doubles {
            before.dir_len.saturating_mul(2)
        } else {
            before.dir_len
        });
        let known = match self.known(event.map, &before) {
            Some(slots) => Some(slots),
            None => before.capacity(memory, abi, &swiss.table)?,
        };
        event.map_capacity = known.and_then(|slots| {
            (slots + left.capacity + right.capacity).checked_sub(old_table.capacity)
        });
        // A doubled directory is somewhere else: what is known of this one ends here.
        if doubles {
            self.capacities.remove(&event.map);
        } else {
            self.remember(event.map, &before, event.map_capacity);
        }
        self.density(&mut event, descriptor);
        Ok(Some(event))
    }

    fn known(&self, map: u64, now: &Swiss) -> Option<u64> {
        self.capacities
            .get(&map)
            .filter(|known| (known.dir, known.dir_len) == (now.dir, now.dir_len))
            .map(|known| known.slots)
    }

    fn remember(&mut self, map: u64, now: &Swiss, slots: Option<u64>) {
        if self.capacities.len() >= KNOWN_MAX {
            self.capacities.clear();
        }
        match slots {
            Some(slots) => {
                let known = Capacity {
                    dir: now.dir,
                    dir_len: now.dir_len,
                    slots,
                };
                self.capacities.insert(map, known);
            }
            None => {
                self.capacities.remove(&map);
            }
        }
    }

    /// Type, length and shape of a map as it is now.
    fn describe(&mut self, event: &mut Event, descriptor: Option<u64>) -> Result<(), Miss> {
        self.named(event, descriptor)?;
        let abi = self.abi();
        let memory = self.target.uncached();
        match self.plan.header {
            Header::Classic(hmap) => {
                let facts = Classic::read(memory, abi, &hmap, event.map)?;
                event.len = Some(facts.len);
                event.b = Some(facts.b);
                event.map_capacity = facts.capacity();
                if event.op == Op::Create {
                    event.capacity = facts.capacity();
                    event.block = Some(facts.buckets).filter(|block| *block != 0);
                }
            }
            Header::Swiss(swiss) => {
                let facts = Swiss::read(memory, abi, &swiss, event.map)?;
                event.len = Some(facts.len);
                event.tables = Some(facts.dir_len);
                event.map_capacity = self.known(event.map, &facts);
                if event.op == Op::Create {
                    event.capacity = facts.capacity(memory, abi, &swiss.table)?;
                    event.map_capacity = event.capacity;
                    if facts.dir_len == 0 {
                        event.block = Some(facts.dir).filter(|block| *block != 0);
                    }
                }
            }
        }
        Ok(())
    }

    fn named(&mut self, event: &mut Event, descriptor: Option<u64>) -> Result<(), Miss> {
        event.type_name = match (self.sink.options.asked(event.map), descriptor) {
            (Some(asked), _) => Some(asked.type_name.clone()),
            (None, Some(descriptor)) => self
                .types
                .at(&self.target, descriptor)?
                .and_then(|named| named.name.as_deref())
                .map(str::to_owned),
            (None, None) => None,
        };
        Ok(())
    }

    fn layout(&mut self, descriptor: Option<u64>) -> Option<Rc<MapLayout>> {
        self.types.layout(&self.target, descriptor)
    }

    /// Bytes of a group of a map of this type.
    fn group(&mut self, descriptor: Option<u64>) -> Option<u64> {
        self.types.group(&self.target, descriptor)
    }

    /// Walks the map, if that was asked for.
    fn density(&mut self, event: &mut Event, descriptor: Option<u64>) {
        if !self.sink.options.density {
            return;
        }
        self.target.invalidate();
        let target = Rc::clone(&self.target);
        let asked = self.sink.options.asked(event.map);
        let map = match (asked, descriptor) {
            (Some(asked), _) => Map::new(target, asked.address, &asked.type_name, ""),
            (None, Some(descriptor)) => Map::described(target, event.map, descriptor, false, ""),
            (None, None) => return,
        };
        let Ok(map) = map else { return };
        let stats = map.stats();
        if stats.exact || event.op.is_growth() {
            // In the middle of a growth the count in the header is right, slots are moving.
            event.hole_density = stats.slots.hole_density;
        }
    }
}

/// The hardware's watch over headers.
impl Recorder {
    /// Where the word is that changes when `map` has other storage: `buckets` of an
    /// `hmap`, `dirPtr` of a `maps.Map`; and its size.
    #[must_use]
    pub fn watch_address(&self, map: u64) -> (u64, usize) {
        let field = match self.plan.header {
            Header::Classic(Hmap { buckets, .. }) => buckets,
            Header::Swiss(SwissMap { dir_ptr, .. }) => dir_ptr,
        };
        (map.wrapping_add(field.offset as u64), field.size)
    }

    /// Keeps what the header of `map` says now, to compare with later.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn watch(&mut self, map: u64) -> Result<(), ReadError> {
        let (memory, abi) = (self.target.uncached(), self.abi());
        let now = match self.plan.header {
            Header::Classic(hmap) => Watched::Classic(Classic::read(memory, abi, &hmap, map)?),
            Header::Swiss(swiss) => {
                let facts = Swiss::read(memory, abi, &swiss, map)?;
                let slots = facts.capacity(memory, abi, &swiss.table)?;
                self.remember(map, &facts, slots);
                Watched::Swiss(facts)
            }
        };
        self.watched.insert(map, now);
        Ok(())
    }

    /// The watched word of `map` was written.
    pub fn changed(&mut self, map: u64, registers: &dyn Registers, stop: &Stop) -> Outcome {
        if self.is_full() {
            return Outcome::Nothing;
        }
        self.sink.counts.hits += 1;
        self.standing = None;
        let made = self.at_change(map, registers, stop);
        self.settle(made)
    }

    fn at_change(
        &mut self,
        map: u64,
        registers: &dyn Registers,
        stop: &Stop,
    ) -> Result<Option<Event>, Miss> {
        let abi = self.abi();
        let before = *self.watched.get(&map).ok_or(Miss::Lost)?;
        let target = Rc::clone(&self.target);
        let memory = target.uncached();
        let mut event = Event::new(0, Op::Grow, map);
        event.thread = Some(stop.thread);
        event.t_mono_ns = stop.t_mono_ns;
        event.t_wall_ns = stop.t_wall_ns;
        let asked = self
            .sink
            .options
            .asked(map)
            .and_then(|known| known.descriptor);
        match (self.plan.header, before) {
            (Header::Classic(hmap), Watched::Classic(before)) => {
                let after = Classic::read(memory, abi, &hmap, map)?;
                self.watched.insert(map, Watched::Classic(after));
                if after.buckets == before.buckets {
                    return Err(Miss::Counted);
                }
                if before.buckets == 0 {
                    event.op = Op::Create;
                }
                self.classic_growth(&mut event, &before, &after, asked)?;
                event.len = Some(after.len);
            }
            (Header::Swiss(swiss), Watched::Swiss(before)) => {
                let after = Swiss::read(memory, abi, &swiss, map)?;
                self.watched.insert(map, Watched::Swiss(after));
                if after.dir == before.dir {
                    return Err(Miss::Counted);
                }
                self.named(&mut event, asked)?;
                event.len = Some(after.len);
                event.block = Some(after.dir);
                event.old_block = Some(before.dir).filter(|old| *old != 0);
                // dirLen is written behind dirPtr.
                event.old_capacity = self.known(map, &before);
                match (before.dir, before.dir_len) {
                    (0, _) => {
                        event.op = Op::Create;
                        event.capacity = Some(8);
                    }
                    (_, 0) => event.capacity = Some(16),
                    (_, tables) => {
                        event.op = Op::Directory;
                        event.tables = tables.checked_mul(2);
                        // The new directory holds the old tables, each of them twice, and one
                        // of them is about to split.
                        let doubled = Swiss {
                            dir_len: tables.saturating_mul(2),
                            ..after
                        };
                        event.capacity = doubled.capacity(memory, abi, &swiss.table)?;
                        self.remember(map, &doubled, event.capacity);
                    }
                }
                event.map_capacity = event.capacity;
            }
            _ => return Err(Miss::Lost),
        }
        self.sample(stop)?;
        let arch = self.plan.arch;
        let names = match arch {
            Arch::Amd64 => ["r14", "rsp", "rbp", "rip"],
            Arch::Arm64 => ["x28", "sp", "x29", "pc"],
        };
        let [g, sp, fp, pc] = names.map(|name| registers.register(name));
        if let (Some(g), Some(sp), Some(fp), Some(pc)) = (g, sp, fp, pc) {
            let lr = match arch {
                Arch::Amd64 => 0,
                Arch::Arm64 => registers.register("x30").unwrap_or(0),
            };
            self.who(&mut event, g, StackRegisters { pc, sp, fp, lr })?;
        }
        self.density(&mut event, asked);
        Ok(Some(event))
    }
}

/// Memory where a goroutine's stack is read as it is now; code and tables do not change.
struct Fresh<'a> {
    live: &'a dyn Memory,
    kept: &'a dyn Memory,
    stack: Span,
}

impl Memory for Fresh<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if self.stack.contains(address) {
            self.live.read(address, buffer)
        } else {
            self.kept.read(address, buffer)
        }
    }
}
