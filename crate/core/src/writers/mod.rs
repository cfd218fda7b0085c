//! Who is in a map operation: which goroutine, on which map, called from where; and of a
//! process that the runtime ended for it, which goroutines used one map at the same time.
//!
//! The runtime sees a concurrent use when it finds the header's "a write is in progress" set
//! (or gone) and ends the process with `fatal`. The goroutine that saw it is in the operation
//! still. The other one was stopped wherever it stood by then, which is not always in the map.
//! So what is told of a goroutine is what its stack shows; what is only likely is labelled.
//!
//! The map is an argument of the functions that work on it. The compiler keeps arguments that
//! are needed behind a call in slots of the caller's frame, and says for each instruction whether
//! a slot holds its value: tracebacks print a `?` where it does not. What is read there is
//! therefore exact. Where no slot holds it, the caller's code may tell what it was given.

mod code;
mod operation;
mod suspect;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::binary::{Argument, VariablePlace};
use crate::gotype::Kind;
use crate::heap::{
    Goroutine, GoroutineReader, HeapError, StackFrame, Standing, Symbols, ThreadRegisters, WalkEnd,
    functions, goroutines, stack_walk,
};
use crate::layout::{Header, SIZE_CLASSES};
use crate::map::{Defects, Family};
use crate::memory::Memory;
use crate::scan::Label;
use crate::target::{Motion, Target, TargetError, WHILE_RUNNING};
use code::{Base, Codes};
pub use operation::Operation;
use operation::{Role, Source, is_fatal, of_runtime, role};

/// Frames of one goroutine that are told.
const FRAMES_MAX: usize = 64;

/// Maps that are said to be written by nobody who was found.
const ORPHANS_MAX: usize = 1000;

/// Bytes of the message of a fatal error.
const MESSAGE_MAX: u64 = 256;

/// What the runtime says of a map that is used concurrently, go1.21 to go1.27. None is the
/// beginning of another.
const MESSAGES: &[&str] = &[
    "concurrent map writes",
    "concurrent map read and map write",
    "concurrent map iteration and map write",
    "concurrent map clone and map write",
    "small map with no empty slot (concurrent map writes?)",
];

/// The heap up to which the holders of maps are looked for without being asked: bytes.
const QUICK_HEAP: u64 = 64 << 20;

/// Functions that may hand an argument on as it came.
const HANDED_ON: usize = 8;

/// Where `t` and `h` of `hiter`, `typ` and `m` of `maps.Iter` lie (runtime/map.go,
/// internal/runtime/maps/table.go).
const ITERATOR_TYPE: u64 = 16;
const ITERATOR_MAP: u64 = 24;

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Likely by what else is known.
    Inferred,
    /// What tells it may have changed since.
    Strong,
    /// The process's own memory says so, by the compiler's own tables.
    Exact,
}

impl Evidence {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Inferred => "inferred",
            Self::Strong => "strong",
            Self::Exact => "exact",
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// `main.(*T).Method`. Text of the target, as all of it.
    pub function: String,
    /// As the compiler was given it.
    pub file: String,
    /// From 1 on; 0 if that is not known.
    pub line: u32,
    /// An instruction of the call.
    #[serde(serialize_with = "hex")]
    pub pc: u64,
    /// The call was inlined into the one that follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inlined: bool,
}

fn hex<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

/// The map of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Its header.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// How sure that is.
    pub evidence: Evidence,
    /// What tells it.
    pub by: &'static str,
}

/// A goroutine that is in a map operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InOperation {
    /// As `goroutine 1 [running]` numbers it.
    pub goroutine: u64,
    /// `running`, `runnable`, `waiting` and so on.
    pub status: &'static str,
    /// The kernel's number of the thread that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<u32>,
    /// What it does.
    pub operation: Operation,
    /// The map is being given more room in it.
    pub growing: bool,
    /// The runtime's function that the program called: `runtime.mapassign_faststr`.
    pub function: String,
    /// The runtime found here that the map is used by another goroutine, too.
    pub detected: bool,
    /// The map; `None` where nothing tells which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Used>,
    /// The map's type, as Go prints it, where the operation was given it.
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_name: Option<String>,
    /// How sure the type is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_evidence: Option<Evidence>,
    /// Position in `frames` of the program's own call.
    pub caller: usize,
    /// The calls, innermost first.
    pub frames: Vec<Frame>,
}

/// One map that is used, or said to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedMap {
    /// Its header.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// Its type, as Go prints it.
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_name: Option<String>,
    /// How sure the type is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_evidence: Option<Evidence>,
    /// The count in its header.
    pub len: u64,
    /// The header says that a write is in progress.
    pub writing: bool,
    /// `heap` or `stack`.
    pub place: &'static str,
    /// The way from a variable to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// Goroutines that were found in operations on it.
    pub goroutines: Vec<u64>,
}

/// A goroutine that was in no operation on the map when the process ended, but can use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// As `goroutine 1 [running]` numbers it.
    pub goroutine: u64,
    /// `running`, `runnable`, `waiting` and so on.
    pub status: &'static str,
    /// Why it is named.
    pub because: &'static str,
    /// Always [`Evidence::Inferred`].
    pub evidence: Evidence,
    /// Position in `frames` of what speaks for it.
    pub at: usize,
    /// The calls, innermost first.
    pub frames: Vec<Frame>,
}

/// A fatal error in a map operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fatal {
    /// What the runtime prints behind `fatal error: `; `None` where the code does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Used>,
    /// The goroutines that found it.
    pub detected_by: Vec<u64>,
    /// Other goroutines in an operation on the same map.
    pub others: Vec<u64>,
    /// Goroutines in an operation on a map that is not known, of the same type or of one that is
    /// not known.
    pub perhaps: Vec<u64>,
    /// Goroutines that can use it, where none was found in an operation that writes it.
    pub suspects: Vec<Suspect>,
    /// The message says that the map was used concurrently.
    pub concurrent: bool,
    /// The process is gone, as that of a core; else it is about to end.
    #[serde(skip)]
    pub over: bool,
}

/// What is known of who uses maps.
#[derive(Debug, Clone, Default)]
pub struct Writers {
    /// The fatal error that ended the process.
    pub fatal: Option<Fatal>,
    /// All goroutines in a map operation: those that found the fatal error first, then those on
    /// the same map, then by number.
    pub operations: Vec<InOperation>,
    /// Goroutines whose operation panicked, which is over by that: deferred functions run above
    /// it.
    pub abandoned: Vec<InOperation>,
    /// The maps of the operations, and those whose header says that they are written.
    pub maps: Vec<UsedMap>,
    /// Goroutines of the process.
    pub goroutines: usize,
    /// Of them, those whose stack was walked to its end, or to a map operation.
    pub walked: usize,
    /// Those whose stack could not be walked to its end: they may be in a map operation.
    pub unknown: Vec<u64>,
    /// The heap was searched for maps that are being written.
    pub searched: bool,
    /// The program ran meanwhile: nothing is exact.
    pub racing: bool,
    /// What could not be had: sentences.
    pub notes: Vec<String>,
    /// The user asked to stop: what is here is a part.
    pub interrupted: bool,
}

impl Writers {
    /// The program ran while this was read.
    fn raced(&mut self) {
        self.racing = true;
        self.notes.retain(|note| note != WHILE_RUNNING);
        self.notes.insert(0, WHILE_RUNNING.to_owned());
        let rows = self.operations.iter_mut().chain(&mut self.abandoned);
        let of_rows = rows.flat_map(|row| {
            let map = row.map.as_mut().map(|map| &mut map.evidence);
            map.into_iter().chain(row.type_evidence.as_mut())
        });
        let of_maps = self.maps.iter_mut();
        let of_maps = of_maps.filter_map(|map| map.type_evidence.as_mut());
        let of_fatal = self.fatal.iter_mut().filter_map(|fatal| fatal.map.as_mut());
        let of_fatal = of_fatal.map(|map| &mut map.evidence);
        for evidence in of_rows.chain(of_maps).chain(of_fatal) {
            *evidence = Evidence::Strong.min(*evidence);
        }
    }
}

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Look for maps that are being written by nobody who was found: a search of the heap.
    pub heap: bool,
    /// Look for what holds the maps, however large the heap is.
    pub holders: bool,
}

/// Finds who is in a map operation. `threads` are those that the system knows.
///
/// # Errors
/// When the goroutines cannot be listed, or the user asked to stop before anything was found.
pub fn find(
    target: &Target,
    threads: &[ThreadRegisters],
    wanted: Wanted,
) -> Result<Writers, TargetError> {
    let runs = target.runs();
    let process = Process::open(target)?;
    let mut found = Writers::default();
    process
        .run(threads, false, &mut found)
        .map_err(|reason| TargetError::Heap(reason.to_string()))?;
    if !found.interrupted {
        process.describe(threads, wanted, &mut found);
    }
    if let Some(address) = process.unread.get() {
        found.notes.push(format!(
            "Memory at {address:#x} could not be read: maps may be missing."
        ));
    }
    if found.racing || target.motion() == Motion::Running || target.runs() != runs {
        found.raced();
    }
    Ok(found)
}

/// Whether the process ended, or is about to, by a fatal error in a map operation: only
/// goroutines that run are looked at.
///
/// # Errors
/// As [`find`].
pub fn fatal(target: &Target, threads: &[ThreadRegisters]) -> Result<Option<Fatal>, TargetError> {
    let process = Process::open(target)?;
    let mut found = Writers::default();
    process
        .run(threads, true, &mut found)
        .map_err(|reason| TargetError::Heap(reason.to_string()))?;
    Ok(found.fatal)
}

/// `_Grunnable` and so on (runtime/runtime2.go), as tracebacks name them.
fn status(number: u32) -> &'static str {
    match number {
        0 => "idle",
        1 => "runnable",
        2 => "running",
        3 => "syscall",
        4 => "waiting",
        6 => "dead",
        8 => "copystack",
        9 => "preempted",
        _ => "other",
    }
}

/// What a stack shows.
struct Stack {
    standing: Standing,
    physical: Vec<StackFrame>,
    frames: Vec<Frame>,
    /// Of each of `frames`, the one of `physical` that it is in.
    owners: Vec<usize>,
    /// These are all calls, each by its name.
    whole: bool,
}

/// What is read of one process.
struct Process<'t> {
    target: &'t Target,
    symbols: Symbols,
    reader: GoroutineReader,
    codes: Codes,
    header: Option<Header>,
    swiss: bool,
    /// Memory that has to be there, and could not be read.
    unread: Cell<Option<u64>>,
}

impl<'t> Process<'t> {
    fn open(target: &'t Target) -> Result<Self, TargetError> {
        let told = |reason: &dyn std::fmt::Display| TargetError::Heap(reason.to_string());
        let functions = functions(target.types(), target.memory()).map_err(|why| told(&why))?;
        let reader = GoroutineReader::new(target.types()).map_err(|why| told(&why))?;
        Ok(Self {
            target,
            symbols: Symbols::new(functions),
            reader,
            codes: Codes::default(),
            header: target.any_header().ok(),
            swiss: target.binary().family() == Some(Family::Swiss),
            unread: Cell::new(None),
        })
    }

    fn memory(&self) -> &dyn Memory {
        self.target.memory()
    }

    fn arch(&self) -> &'static str {
        self.target.binary().arch().unwrap_or_default()
    }

    /// Looks at all goroutines, or at those that run. An interruption ends it with what was
    /// found.
    fn run(
        &self,
        threads: &[ThreadRegisters],
        running: bool,
        found: &mut Writers,
    ) -> Result<(), HeapError> {
        let (all, defects) = goroutines(self.target.types(), self.memory(), threads)?;
        found.notes.extend(told(&defects));
        found.goroutines = all.len();
        if let Err(reason) = self.target.heap() {
            found.notes.push(format!(
                "{reason}: no map is named, for no address can be held against the heap."
            ));
        } else if self.header.is_none() {
            found
                .notes
                .push("How a map's header looks is not known: no map is named.".to_owned());
        }
        let mut detected = Vec::new();
        for (number, goroutine) in all.iter().enumerate() {
            if number.is_multiple_of(64)
                && self
                    .memory()
                    .checkpoint(number as u64, all.len() as u64)
                    .is_err()
            {
                found.interrupted = true;
                break;
            }
            if running && !goroutine.is_running() {
                continue;
            }
            let stack = self.stack_of(goroutine, threads);
            let Some(operation) = self.operation(&stack) else {
                match stack.whole {
                    true => found.walked += 1,
                    false => found.unknown.push(goroutine.id),
                }
                continue;
            };
            found.walked += 1;
            if panicked(&stack.frames, operation.inner) {
                found.abandoned.push(operation.told);
                continue;
            }
            if operation.told.detected {
                detected.push((goroutine.id, self.message(&stack)));
            }
            found.operations.push(operation.told);
        }
        judge(found, &detected, self.target.is_file());
        if !running && !found.interrupted && self.suspects(found, &all, threads).is_err() {
            found.interrupted = true;
        }
        Ok(())
    }

    fn stack_of(&self, goroutine: &Goroutine, threads: &[ThreadRegisters]) -> Stack {
        self.stack(Standing::of(
            &self.reader,
            self.memory(),
            (self.target.binary().abi(), self.arch()),
            goroutine,
            threads,
        ))
    }

    fn stack(&self, standing: Standing) -> Stack {
        let functions = self.symbols.functions();
        let (physical, end) = stack_walk(functions, self.memory(), &standing.goroutine);
        let mut whole = end == WalkEnd::Stack;
        let (mut frames, mut owners) = (Vec::new(), Vec::new());
        for (owner, frame) in physical.iter().enumerate() {
            let symbols = self.symbols.at(self.memory(), frame.pc);
            whole &= !symbols.is_empty();
            for symbol in symbols.iter() {
                if symbol.is_wrapper() {
                    continue;
                }
                frames.push(Frame {
                    function: symbol.frame.function.clone(),
                    file: symbol.frame.file.clone(),
                    line: symbol.frame.line,
                    pc: frame.pc,
                    inlined: symbol.inlined,
                });
                owners.push(owner);
            }
        }
        Stack {
            standing,
            physical,
            frames,
            owners,
            whole,
        }
    }

    /// The map operation that a goroutine is in; `None`, too, where the calls end in it that are
    /// known, for who called it tells what it is.
    fn operation(&self, stack: &Stack) -> Option<Inside> {
        let roles: Vec<Option<Role>> = stack
            .frames
            .iter()
            .map(|frame| role(&frame.function, self.swiss))
            .collect();
        let inner = roles.iter().position(Option::is_some)?;
        // Functions of maps that call each other.
        let outer = roles
            .iter()
            .enumerate()
            .skip(inner)
            .take_while(|(_, role)| role.is_some())
            .last()
            .map(|(at, _)| at)?;
        let whole = (*roles.get(outer)?)?;
        if !stack.whole && outer + 1 == roles.len() {
            return None;
        }
        // The map's function itself gave up: what it called may have done so for other reasons,
        // as for want of memory.
        let detected = inner
            .checked_sub(1)
            .and_then(|at| stack.frames.get(at))
            .is_some_and(|frame| is_fatal(&frame.function));
        let mut maps: Vec<Used> = Vec::new();
        let mut type_name = None;
        let chain = (inner..=outer).rev();
        for (at, role) in chain.filter_map(|at| Some((at, (*roles.get(at)?)?))) {
            // What a clone fills is another map.
            if whole.operation == Operation::Clone && role.operation != Operation::Clone {
                continue;
            }
            // Arguments of inlined calls are not kept.
            if stack.frames.get(at).is_none_or(|frame| frame.inlined) {
                continue;
            }
            let Some(owner) = stack.owners.get(at).copied() else {
                continue;
            };
            if let Some((value, evidence, by)) = self.value(stack, owner, role.map, ITERATOR_MAP)
                && self.header_at(value).is_some()
            {
                maps.push(Used {
                    address: value,
                    evidence,
                    by,
                });
            }
            if type_name.is_none() {
                type_name = self
                    .value(stack, owner, role.map_type, ITERATOR_TYPE)
                    .filter(|(_, evidence, _)| *evidence >= Evidence::Strong)
                    .and_then(|(descriptor, evidence, _)| {
                        Some((self.type_name(descriptor)?, evidence))
                    });
            }
        }
        let best = maps.iter().map(|map| map.evidence).max();
        let mut told = maps.iter().filter(|map| Some(map.evidence) == best);
        let first = told.next().copied();
        // Two that disagree tell nothing.
        let map = first.filter(|first| told.all(|other| other.address == first.address));
        let caller = stack
            .frames
            .iter()
            .enumerate()
            .skip(outer + 1)
            .find(|(_, frame)| !of_runtime(&frame.function))
            .map_or(outer + 1, |(at, _)| at);
        let function = stack.frames.get(outer)?.function.clone();
        let growing = roles
            .iter()
            .take(outer + 1)
            .any(|role| role.is_some_and(|role| role.grows));
        let (type_name, type_evidence) = type_name.unzip();
        let told = InOperation {
            goroutine: stack.standing.goroutine.id,
            status: status(stack.standing.goroutine.status),
            thread: stack.standing.thread,
            operation: whole.operation,
            growing,
            function,
            detected,
            map,
            type_name,
            type_evidence,
            caller: caller.min(stack.frames.len().saturating_sub(1)),
            frames: stack.frames.iter().take(FRAMES_MAX).cloned().collect(),
        };
        Some(Inside { told, inner })
    }

    /// What `source` is in a frame.
    fn value(
        &self,
        stack: &Stack,
        owner: usize,
        source: Source,
        field: u64,
    ) -> Option<(u64, Evidence, &'static str)> {
        match source {
            Source::None => None,
            Source::Argument(number) => self.argument(stack, owner, number, HANDED_ON),
            Source::Iterator(number) => {
                let (iterator, evidence, _) = self.argument(stack, owner, number, HANDED_ON)?;
                let at = iterator.checked_add(field)?;
                let abi = self.target.binary().abi();
                let value = abi.read_pointer(self.memory(), at).ok()?;
                Some((value, evidence, "the iterator"))
            }
        }
    }

    /// The argument of this number of one of the runtime's own functions that has a frame;
    /// callers may have handed it on so many times. Those up to it are words, each in the
    /// register of its number.
    fn argument(
        &self,
        stack: &Stack,
        owner: usize,
        number: usize,
        times: usize,
    ) -> Option<(u64, Evidence, &'static str)> {
        let functions = self.symbols.functions();
        let memory = self.memory();
        let frame = stack.physical.get(owner)?;
        let function = functions.function_at(memory, frame.pc)?;
        let arguments = functions.arguments(memory, frame.pc).unwrap_or_default();
        if let Some(argument) = arguments.get(number)
            && let Some(value) = self.slot(stack, owner, *argument)
        {
            return Some((value, Evidence::Exact, "an argument"));
        }
        // Where a thread was stopped in it, it may be in its register.
        if owner == 0
            && let Some(registers) = &stack.standing.registers
        {
            let untouched = self
                .codes
                .untouched(self.target, &function, frame.pc, number)
                .and_then(|name| registers.values.get(name));
            if let Some(value) = untouched {
                return Some((*value, Evidence::Exact, "a register"));
            }
            if let Some(value) = self.described(registers, frame, number) {
                return Some((value, Evidence::Exact, "a register"));
            }
        }
        self.given(stack, owner, number, times)
    }

    /// What is in the slot of an argument, where it is there.
    fn slot(&self, stack: &Stack, owner: usize, argument: Argument) -> Option<u64> {
        let functions = self.symbols.functions();
        let frame = stack.physical.get(owner)?;
        let (skipped, pushed) = match functions.link_register() {
            true => (8, 0),
            false => (0, 8),
        };
        let slot = frame
            .cfa
            .wrapping_add(skipped)
            .wrapping_add(argument.offset);
        // Before its frame is made nothing is stored: neither at its first instructions nor at
        // those behind its last that call morestack, of which the tables say what they say of
        // the last one.
        let frameless = !frame.in_call && frame.cfa == frame.sp.wrapping_add(pushed);
        // A goroutine that was asked to stop as it entered a function stored all arguments
        // before (morestack).
        let entering = owner == 0 && stack.standing.registers.is_none() && frameless;
        let there = match (argument.live, frame.in_call) {
            _ if entering => true,
            _ if frameless => false,
            (Some(live), _) => live,
            (None, true) => true,
            (None, false) => {
                let function = functions.function_at(self.memory(), frame.pc)?;
                let offset = slot.wrapping_sub(frame.sp);
                self.codes
                    .stored(self.target, &function, frame.pc, offset)
                    .unwrap_or(false)
            }
        };
        if !there {
            return None;
        }
        let abi = self.target.binary().abi();
        let value = abi.read_pointer(self.memory(), slot);
        if value.is_err() {
            self.unread.set(self.unread.get().or(Some(slot)));
        }
        value.ok()
    }

    /// What the function that has a frame was given in the register of this number: its slot,
    /// or what gave it.
    fn in_register(
        &self,
        stack: &Stack,
        owner: usize,
        register: usize,
        times: usize,
    ) -> Option<(u64, Evidence, &'static str)> {
        let functions = self.symbols.functions();
        let frame = stack.physical.get(owner)?;
        let function = functions.function_at(self.memory(), frame.pc)?;
        let value = self
            .codes
            .kept(self.target, &function, register)
            .and_then(|offset| {
                functions
                    .arguments(self.memory(), frame.pc)?
                    .into_iter()
                    .find(|argument| argument.offset == offset)
            })
            .and_then(|argument| self.slot(stack, owner, argument));
        match value {
            Some(value) => Some((value, Evidence::Exact, "an argument")),
            None => self.given(stack, owner, register, times),
        }
    }

    /// An argument by what the debug information says of the register it is in.
    fn described(
        &self,
        registers: &ThreadRegisters,
        frame: &StackFrame,
        number: usize,
    ) -> Option<u64> {
        let linked = frame.pc.wrapping_sub(self.target.types().bias());
        let variables = self.target.binary().dwarf()?.variables_at(linked);
        let variable = variables
            .iter()
            .filter(|variable| variable.parameter && !variable.name.starts_with('~'))
            .nth(number)?;
        match variable.pieces.as_slice() {
            [(VariablePlace::Register(register), _)] => registers.dwarf(self.arch(), *register),
            _ => None,
        }
    }

    /// What a function was given in a register, by the code of the call that gave it.
    fn given(
        &self,
        stack: &Stack,
        owner: usize,
        register: usize,
        times: usize,
    ) -> Option<(u64, Evidence, &'static str)> {
        let times = times.checked_sub(1)?;
        let caller = stack.physical.get(owner.checked_add(1)?)?;
        if !caller.in_call {
            return None;
        }
        let functions = self.symbols.functions();
        let function = functions.function_at(self.memory(), caller.pc)?;
        let origin = self
            .codes
            .given(self.target, &function, caller.pc, register)?;
        let abi = self.target.binary().abi();
        let (mut value, mut evidence, by) = match origin.base {
            Base::Constant(value) => (value, Evidence::Exact, "the call"),
            Base::Stack(offset) => (
                caller.sp.wrapping_add_signed(offset),
                Evidence::Exact,
                "the call",
            ),
            // It is handed on as it came.
            Base::Register(own) => self.in_register(stack, owner + 1, own, times)?,
        };
        for offset in &origin.loads {
            let at = value.wrapping_add_signed(*offset);
            value = abi.read_pointer(self.memory(), at).ok()?;
            evidence = evidence.min(Evidence::Strong);
        }
        match origin.loads.is_empty() {
            true => Some((value, evidence, by)),
            // The caller does not go on before the call returns, but others do.
            false => Some((value, evidence, "a variable of the caller")),
        }
    }

    fn type_name(&self, descriptor: u64) -> Option<String> {
        let types = self.target.types();
        let at = types.of_descriptor(descriptor).ok()??;
        let found = types.get(at).ok()?;
        // What generic code of one shape shares is no type of a map.
        let real = matches!(found.kind, Kind::Map { .. }) && !found.name.contains("go.shape.");
        real.then(|| found.name.clone())
    }

    /// What the header says whose address may be `address`: count, writing, place. `None`
    /// where no header can be.
    fn header_at(&self, address: u64) -> Option<(u64, bool, &'static str)> {
        let header = self.header?;
        if address == 0 || !address.is_multiple_of(8) {
            return None;
        }
        let size = match header {
            Header::Classic(hmap) => hmap.size,
            Header::Swiss(map) => map.size,
        };
        let class = SIZE_CLASSES
            .iter()
            .copied()
            .find(|class| *class >= size as u64)?;
        let unread = || self.unread.set(self.unread.get().or(Some(address)));
        let heap = self.target.heap().ok()?;
        let place = match heap.slot_of(address).inspect_err(|_| unread()).ok()? {
            Some(slot) if slot.is_stack => "stack",
            Some(slot) if slot.object() == address && slot.size == class => "heap",
            _ => return None,
        };
        let mut bytes = vec![0; size];
        let read = self.memory().read(address, &mut bytes);
        read.inspect_err(|_| unread()).ok()?;
        let abi = self.target.binary().abi();
        let field = |field: crate::layout::Field| field.of(abi, &bytes);
        let (len, writing, sound) = match header {
            Header::Classic(hmap) => {
                let (flags, b) = (field(hmap.flags)?, field(hmap.b)?);
                (field(hmap.count)?, flags & 4 != 0, flags <= 15 && b <= 40)
            }
            Header::Swiss(map) => {
                let (writing, depth) = (field(map.writing)?, field(map.global_depth)?);
                (field(map.used)?, writing != 0, writing <= 1 && depth <= 40)
            }
        };
        sound.then_some((len, writing, place))
    }

    /// What the runtime printed: by the code of the call that gave it, else one of the known
    /// messages that the argument's slot still leads to.
    fn message(&self, stack: &Stack) -> Option<String> {
        let fatal = stack
            .frames
            .iter()
            .rposition(|frame| is_fatal(&frame.function))?;
        let owner = *stack.owners.get(fatal)?;
        let given = |number| Some(self.given(stack, owner, number, HANDED_ON)?.0);
        let read = |address: u64, len: u64| {
            let mut text = vec![0; len as usize];
            self.memory().read(address, &mut text).ok()?;
            String::from_utf8(text).ok()
        };
        if let (Some(address), Some(len)) = (given(0), given(1))
            && (1..=MESSAGE_MAX).contains(&len)
            && let Some(text) = read(address, len)
        {
            return Some(text);
        }
        let functions = self.symbols.functions();
        let skipped = if functions.link_register() { 8 } else { 0 };
        stack.physical.iter().take(owner + 1).find_map(|frame| {
            let arguments = functions.arguments(self.memory(), frame.pc)?;
            let slot = frame.cfa.checked_add(skipped)?;
            let slot = slot.checked_add(arguments.first()?.offset)?;
            let abi = self.target.binary().abi();
            let address = abi.read_pointer(self.memory(), slot).ok()?;
            MESSAGES
                .iter()
                .find(|known| read(address, known.len() as u64).as_deref() == Some(**known))
                .map(|known| (*known).to_owned())
        })
    }

    /// Describes the maps, and looks for those that are written by nobody who was found.
    fn describe(&self, threads: &[ThreadRegisters], wanted: Wanted, found: &mut Writers) {
        let mut order: Vec<u64> = Vec::new();
        let mut users: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut names: HashMap<u64, (String, Evidence)> = HashMap::new();
        for operation in &found.operations {
            let Some(map) = operation.map else { continue };
            let using = users.entry(map.address).or_default();
            if using.is_empty() {
                order.push(map.address);
            }
            using.push(operation.goroutine);
            if let (Some(name), Some(sure)) = (&operation.type_name, operation.type_evidence) {
                // It is the map's type as far as it is the map that was used.
                let sure = sure.min(map.evidence);
                let known = names
                    .entry(map.address)
                    .or_insert_with(|| (name.clone(), sure));
                if known.1 < sure {
                    *known = (name.clone(), sure);
                }
            }
        }
        for address in &order {
            let Some((len, writing, place)) = self.header_at(*address) else {
                continue;
            };
            let (type_name, type_evidence) = names.remove(address).unzip();
            found.maps.push(UsedMap {
                address: *address,
                type_evidence,
                type_name,
                len,
                writing,
                place,
                held_by: None,
                goroutines: users.remove(address).unwrap_or_default(),
            });
        }
        if wanted.heap || wanted.holders {
            self.search(threads, wanted, found);
        }
    }

    fn search(&self, threads: &[ThreadRegisters], wanted: Wanted, found: &mut Writers) {
        let heap = match self.target.heap().and_then(|heap| {
            let (spans, _) = heap.spans(self.memory())?;
            Ok(spans.iter().map(|span| span.extent().len).sum::<u64>())
        }) {
            Ok(bytes) => bytes,
            Err(reason) => {
                found.notes.push(format!("{reason}."));
                return;
            }
        };
        let holders = wanted.holders || heap <= QUICK_HEAP;
        let known: HashSet<u64> = found.maps.iter().map(|map| map.address).collect();
        let scanned = self.target.scan_for(threads, holders, &|map| {
            known.contains(&map.address) || map.writing
        });
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(reason) => {
                found.notes.push(format!("{reason}."));
                return;
            }
        };
        found.interrupted |= scanned.scan.interrupted;
        found.searched = !scanned.scan.interrupted;
        found.racing |= scanned.racing;
        found.notes.extend(told(&scanned.scan.defects));
        found.notes.extend(scanned.missing.iter().cloned());
        if !holders && !found.maps.is_empty() {
            found.notes.push(
                "What holds the maps was not looked for in a heap of this size: -holders does."
                    .to_owned(),
            );
        }
        let scan = &scanned.scan;
        let mut orphans = 0;
        for map in &scan.maps {
            let position = found
                .maps
                .iter()
                .position(|used| used.address == map.address);
            if position.is_none() {
                if !map.writing {
                    continue;
                }
                orphans += 1;
                if orphans > ORPHANS_MAX {
                    continue;
                }
                found.maps.push(UsedMap {
                    address: map.address,
                    type_name: None,
                    type_evidence: None,
                    len: map.len,
                    writing: true,
                    place: map.place.word(),
                    held_by: None,
                    goroutines: Vec::new(),
                });
            }
            let position = position.unwrap_or(found.maps.len() - 1);
            let Some(used) = found.maps.get_mut(position) else {
                continue;
            };
            used.held_by = scanned
                .facts
                .held_by
                .get(&map.address)
                .map(ToString::to_string);
            if used.type_name.is_none()
                && let [only] = scan.types_of(map)
            {
                used.type_name = Some(only.name.to_string());
                used.type_evidence = Some(match map.label {
                    Label::Exact => Evidence::Exact,
                    Label::Parts => Evidence::Strong,
                    _ => Evidence::Inferred,
                });
            }
        }
        if orphans > ORPHANS_MAX {
            found.notes.push(format!(
                "{orphans} maps say that they are written; {ORPHANS_MAX} are listed."
            ));
        }
    }
}

/// A map operation on a stack.
struct Inside {
    told: InOperation,
    /// The innermost of its calls.
    inner: usize,
}

/// Whether the call at `inner` panicked: what runs above it is deferred.
fn panicked(frames: &[Frame], inner: usize) -> bool {
    frames.iter().take(inner).any(|frame| {
        matches!(
            frame.function.as_str(),
            "runtime.gopanic" | "runtime.sigpanic"
        )
    })
}

/// Which of the operations are those of a fatal error. `messages`: of the goroutines that gave
/// up, what each says. `over`: the process is gone.
fn judge(found: &mut Writers, messages: &[(u64, Option<String>)], over: bool) {
    let detected = found
        .operations
        .iter()
        .filter(|operation| operation.detected);
    let message_of = |operation: &InOperation| {
        let mut all = messages.iter();
        all.find(|(goroutine, _)| *goroutine == operation.goroutine)
            .and_then(|(_, message)| message.clone())
    };
    // Several may have given up, each for a map of its own: the one of which most is known.
    let first = detected.min_by_key(|operation| {
        let known = (message_of(operation).is_none(), operation.map.is_none());
        (known, operation.goroutine)
    });
    let Some(first) = first.cloned() else {
        return;
    };
    let message = message_of(&first);
    let map = first.map;
    let same = |operation: &InOperation| {
        operation
            .map
            .zip(map)
            .map(|(one, other)| one.address == other.address)
    };
    let fits = |operation: &InOperation| {
        operation.type_name.is_none()
            || first.type_name.is_none()
            || operation.type_name == first.type_name
    };
    let numbers = |chosen: &dyn Fn(&InOperation) -> bool| -> Vec<u64> {
        let chosen = found.operations.iter().filter(|one| chosen(one));
        chosen.map(|operation| operation.goroutine).collect()
    };
    let mut detected_by = numbers(&|operation| {
        operation.detected && same(operation).unwrap_or_else(|| fits(operation))
    });
    detected_by.sort_by_key(|goroutine| (*goroutine != first.goroutine, *goroutine));
    let concurrent = message
        .as_deref()
        .is_some_and(|message| MESSAGES.contains(&message));
    let fatal = Fatal {
        concurrent,
        over,
        message,
        map,
        detected_by,
        others: numbers(&|operation| !operation.detected && same(operation) == Some(true)),
        perhaps: numbers(&|operation| {
            !operation.detected && same(operation).is_none() && fits(operation)
        }),
        suspects: Vec::new(),
    };
    let rank = |operation: &InOperation| match () {
        () if fatal.detected_by.contains(&operation.goroutine) => 0,
        () if fatal.others.contains(&operation.goroutine) => 1,
        () if fatal.perhaps.contains(&operation.goroutine) => 2,
        () => 3,
    };
    found.operations.sort_by_key(|operation| {
        let one = operation.goroutine;
        (rank(operation), one != first.goroutine, one)
    });
    found.fatal = Some(fatal);
}

fn told(defects: &Defects) -> Option<String> {
    let first = defects.kept().first()?;
    Some(format!(
        "{} of the runtime's records could not be used, the first at {:#x} ({}).",
        defects.total(),
        first.address,
        first.code
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(goroutine: u64, map: Option<u64>, detected: bool) -> InOperation {
        InOperation {
            goroutine,
            status: "running",
            thread: None,
            operation: Operation::Write,
            growing: false,
            function: "runtime.mapassign".to_owned(),
            detected,
            map: map.map(|address| Used {
                address,
                evidence: Evidence::Exact,
                by: "an argument",
            }),
            type_name: Some("map[int]int".to_owned()),
            type_evidence: Some(Evidence::Exact),
            caller: 0,
            frames: Vec::new(),
        }
    }

    #[test]
    fn errors_of_two_maps_are_told_apart() {
        let mut found = Writers {
            operations: vec![
                operation(5, Some(0xa0), true),
                operation(6, Some(0xb0), true),
                operation(7, Some(0xb0), false),
                operation(8, None, false),
                operation(9, Some(0xa0), false),
            ],
            ..Writers::default()
        };
        let message = Some("concurrent map writes".to_owned());
        judge(&mut found, &[(5, None), (6, message.clone())], true);
        let fatal = found.fatal.unwrap();
        assert_eq!(fatal.message, message);
        assert!(fatal.concurrent);
        assert_eq!(fatal.map.unwrap().address, 0xb0);
        assert_eq!(fatal.detected_by, [6]);
        assert_eq!(fatal.others, [7]);
        assert_eq!(fatal.perhaps, [8]);
        let order: Vec<u64> = found.operations.iter().map(|one| one.goroutine).collect();
        assert_eq!(order, [6, 7, 8, 5, 9]);
    }

    #[test]
    fn another_error_is_nobody_elses() {
        let mut found = Writers {
            operations: vec![operation(5, Some(0xa0), true)],
            ..Writers::default()
        };
        let message = Some("bad map state".to_owned());
        judge(&mut found, &[(5, message)], false);
        let fatal = found.fatal.unwrap();
        assert!(!fatal.concurrent && !fatal.over);
    }

    #[test]
    fn nothing_is_exact_of_what_ran() {
        let mut found = Writers {
            operations: vec![operation(5, Some(0xa0), false)],
            notes: vec!["A note.".to_owned(), WHILE_RUNNING.to_owned()],
            ..Writers::default()
        };
        found.raced();
        let row = &found.operations[0];
        assert_eq!(row.map.unwrap().evidence, Evidence::Strong);
        assert_eq!(row.type_evidence, Some(Evidence::Strong));
        assert_eq!(found.notes, [WHILE_RUNNING, "A note."]);
    }

    #[test]
    fn what_runs_above_a_panic_is_deferred() {
        let frames = ["main.f", "runtime.gopanic", "runtime.mapassign", "main.g"];
        let frames = frames.map(|function| Frame {
            function: function.to_owned(),
            file: String::new(),
            line: 0,
            pc: 0,
            inlined: false,
        });
        assert!(panicked(&frames, 2));
        assert!(!panicked(&frames, 0));
    }
}
