//! From where a process reaches its objects.

use std::collections::HashMap;
use std::rc::Rc;

use super::mark::{Frame, Roots, Variable};
use super::shape::Closures;
use crate::binary::{DieOffset, Functions, LiveSlots, VariablePlace, modules};
use crate::gotype::{TypeRef, Types};
use crate::heap::{
    Goroutine, HeapError, StackFrame, ThreadRegisters, functions, goroutines, stack_frames,
};
use crate::memory::{Memory, ReadError, Span};
use crate::report::count;

/// Variables on all stacks together.
const LOCALS_MAX: usize = 1 << 22;

/// Bytes of one variable that is put together from parts.
const PARTS_MAX: u64 = 1 << 16;

impl<'a> Roots<'a> {
    /// The roots of the process whose types are `types`. `threads` are those that the
    /// system knows; without them the stacks of running goroutines are searched whole, and
    /// what is not reached is not called garbage.
    ///
    /// # Errors
    /// When the user asked to stop. What else goes wrong leaves roots out, and says so.
    pub fn of(
        types: &'a Types,
        memory: &dyn Memory,
        threads: &[ThreadRegisters],
    ) -> Result<Self, ReadError> {
        let mut roots = Self {
            globals: globals(types),
            ..Self::default()
        };
        for thread in threads {
            roots.words.extend(thread.values.values());
            roots.stack_pointers.extend(thread.sp());
        }
        let all = match goroutines(types, memory, threads) {
            Ok((all, defects)) => {
                roots.incomplete |= !defects.is_empty();
                for defect in defects.kept() {
                    // Others are of goroutines that ran just then.
                    if defect.code == "goroutine-unreadable" {
                        roots.defects.add(defect.clone());
                    }
                }
                all
            }
            Err(HeapError::Read(ReadError::Interrupted)) => return Err(ReadError::Interrupted),
            Err(HeapError::Read(fault)) => {
                let place = match fault {
                    ReadError::Fault { address, .. } => address,
                    ReadError::Interrupted => 0,
                };
                roots.incomplete = true;
                roots.defects.push(
                    "goroutines-unreadable",
                    place,
                    "the list of goroutines",
                    fault.to_string(),
                    "maps on stacks, and what they alone lead to",
                );
                return Ok(roots);
            }
            Err(reason) => {
                roots.incomplete = true;
                roots.missing.push(reason.to_string());
                return Ok(roots);
            }
        };
        let running = all.iter().filter(|goroutine| goroutine.is_running());
        if running.count() > threads.len() {
            // A map may be in a register and nowhere else.
            roots.incomplete = true;
            roots
                .missing
                .push("The registers of running goroutines are not known.".to_owned());
        }
        roots.stacks.extend(all.iter().map(Goroutine::used));
        let functions = match functions(types, memory) {
            Ok(functions) => functions,
            Err(reason) => {
                roots.missing.push(format!(
                    "{reason}: maps on stacks may be missing, and the types of those that \
                     variables there lead to."
                ));
                return Ok(roots);
            }
        };
        let mut finder = Locals {
            types,
            memory,
            threads,
            known: HashMap::new(),
            live: HashMap::new(),
            found: Vec::new(),
        };
        let mut lost = 0;
        for (number, goroutine) in all.iter().enumerate() {
            if number.is_multiple_of(256) {
                memory.checkpoint(0, 0)?;
            }
            let frames = stack_frames(&functions, memory, goroutine);
            let whole = match frames.last() {
                Some(last) => functions
                    .frame_info(memory, last.pc)
                    .is_some_and(|info| info.top),
                // Of those that run it was told that their registers are not known.
                None => goroutine.is_running(),
            };
            lost += u64::from(!whole);
            for (depth, frame) in frames.iter().enumerate() {
                let Some(function) = functions.function_at(memory, frame.pc) else {
                    continue;
                };
                let root = finder.root(&functions, frame, function.entry);
                finder.frame((&function.name, &root), goroutine, frame, depth == 0)?;
                roots.frames.push(root);
            }
        }
        if lost > 0 {
            roots.missing.push(format!(
                "{} could not be followed to the end: maps there may be missing, and the types \
                 of those that variables there lead to.",
                count(lost, "stack")
            ));
        }
        roots.locals = finder.found;
        if types.binary().dwarf().is_some() {
            roots.closures = Some(Box::new(DescribedClosures {
                types,
                functions: named(types, memory),
            }));
        }
        Ok(roots)
    }
}

/// A variable of a frame: name, type, places.
type Local = (String, DieOffset, Vec<(VariablePlace, u64)>);

struct Locals<'a> {
    types: &'a Types,
    memory: &'a dyn Memory,
    threads: &'a [ThreadRegisters],
    /// By address of the code, and whether it stands in a call.
    known: HashMap<(u64, bool), Rc<[Local]>>,
    /// Words in use, by address of the code.
    live: HashMap<u64, Option<Rc<LiveSlots>>>,
    found: Vec<Variable>,
}

impl Locals<'_> {
    /// The variables of a function at one place.
    fn of(&mut self, pc: u64, in_call: bool) -> Rc<[Local]> {
        if let Some(known) = self.known.get(&(pc, in_call)) {
            return Rc::clone(known);
        }
        let linked = pc.wrapping_sub(self.types.bias());
        let found: Rc<[Local]> = match self.types.binary().dwarf() {
            // The frame's pc is the last byte of the call.
            Some(dwarf) if in_call => dwarf.variables_in_call(linked.wrapping_add(1)),
            Some(dwarf) => dwarf.variables_at(linked),
            None => Vec::new(),
        }
        .into_iter()
        .filter(|variable| !variable.pieces.is_empty())
        .map(|variable| (variable.name, variable.type_ref, variable.pieces))
        .collect();
        self.known.insert((pc, in_call), Rc::clone(&found));
        found
    }

    fn root(&mut self, functions: &Functions, frame: &StackFrame, entry: u64) -> Frame {
        // Where a goroutine was stopped in a call, the compiler says which of its variables are
        // still in use: the others lead to memory that may be another's now.
        let live = match frame.in_call {
            true => self
                .live
                .entry(frame.pc)
                .or_insert_with(|| functions.live_slots(self.memory, frame.pc).map(Rc::new))
                .clone(),
            false => None,
        };
        // varp and argp of runtime/stkframe.go: a return address and, on some machines, a
        // saved frame pointer stand between them.
        let uses_lr = functions.link_register();
        let mut variables_end = frame.cfa.wrapping_sub(if uses_lr { 0 } else { 8 });
        if variables_end > frame.sp && functions.frame_pointers() {
            variables_end -= 8;
        }
        Frame {
            sp: frame.sp,
            cfa: frame.cfa,
            pc: frame.pc,
            entry,
            in_call: frame.in_call,
            live,
            variables_end,
            arguments: frame.cfa.wrapping_add(if uses_lr { 8 } else { 0 }),
        }
    }

    fn frame(
        &mut self,
        (name, root): (&str, &Frame),
        goroutine: &Goroutine,
        frame: &StackFrame,
        innermost: bool,
    ) -> Result<(), ReadError> {
        let locals = self.of(frame.pc, frame.in_call);
        if locals.is_empty() || self.found.len() >= LOCALS_MAX {
            return Ok(());
        }
        let context: Rc<str> = format!("{name}, goroutine {}", goroutine.id).into();
        let registers = goroutine
            .registers
            .filter(|_| innermost)
            .and_then(|index| self.threads.get(index));
        for (name, type_ref, pieces) in locals.iter() {
            let size = |bytes: u64| match bytes {
                0 => self
                    .types
                    .get(TypeRef::Dwarf(*type_ref))
                    .map_or(8, |found| found.size.max(8)),
                bytes => bytes,
            };
            let in_use = pieces.iter().any(|(place, bytes)| match place {
                VariablePlace::Frame(offset) => root.in_use(Span {
                    start: frame.cfa.wrapping_add_signed(*offset),
                    len: size(*bytes),
                }),
                _ => true,
            });
            if !in_use {
                continue;
            }
            let variable = |address, copy| Variable {
                name: name.clone(),
                context: Some(Rc::clone(&context)),
                address,
                at: TypeRef::Dwarf(*type_ref),
                copy,
            };
            if let [(VariablePlace::Frame(offset), _)] = pieces.as_slice() {
                let address = frame.cfa.wrapping_add_signed(*offset);
                self.found.push(variable(address, None));
                continue;
            }
            let mut bytes = Vec::new();
            for (place, size) in pieces {
                let size = match size {
                    0 => 8,
                    size => *size,
                };
                if bytes.len() as u64 + size > PARTS_MAX {
                    bytes.clear();
                    break;
                }
                let start = bytes.len();
                bytes.resize(start + size as usize, 0);
                let Some(part) = bytes.get_mut(start..) else {
                    break;
                };
                let read = |address: u64, part: &mut [u8]| match self.memory.read(address, part) {
                    Ok(()) => Ok(()),
                    Err(ReadError::Fault { .. }) => {
                        part.fill(0);
                        Ok(())
                    }
                    Err(interrupted) => Err(interrupted),
                };
                match place {
                    VariablePlace::Frame(offset) => {
                        read(frame.cfa.wrapping_add_signed(*offset), part)?;
                    }
                    VariablePlace::Address(address) => {
                        read(address.wrapping_add(self.types.bias()), part)?;
                    }
                    VariablePlace::Register(number) => {
                        let arch = self.types.binary().arch().unwrap_or_default();
                        let value = registers.and_then(|thread| thread.dwarf(arch, *number));
                        let value = value.unwrap_or(0).to_le_bytes();
                        for (to, from) in part.iter_mut().zip(value) {
                            *to = from;
                        }
                    }
                    VariablePlace::Unknown => {}
                }
            }
            if !bytes.is_empty() {
                self.found.push(variable(0, Some(bytes)));
            }
        }
        Ok(())
    }
}

/// Names of the functions whose closures hold a receiver, by entry.
fn named(types: &Types, memory: &dyn Memory) -> HashMap<u64, String> {
    let Ok(first) = types.module() else {
        return HashMap::new();
    };
    let binary = types.binary();
    let all = modules(binary, memory, *first);
    let functions = Functions::new(binary.abi(), binary.arch(), &all);
    all.iter()
        .filter_map(|module| functions.table_of(module.text.start))
        .flat_map(|table| table.functions(memory))
        .filter(|function| function.name.ends_with("-fm"))
        .map(|function| (function.entry, function.name))
        .collect()
}

/// What the debug information says of closures.
struct DescribedClosures<'a> {
    types: &'a Types,
    functions: HashMap<u64, String>,
}

impl Closures for DescribedClosures<'_> {
    fn captured(&self, entry: u64) -> Vec<(u64, String, TypeRef)> {
        let Some(dwarf) = self.types.binary().dwarf() else {
            return Vec::new();
        };
        if let Some(name) = self.functions.get(&entry) {
            return dwarf
                .method_receiver(name)
                .map(|at| (8, "receiver".to_owned(), TypeRef::Dwarf(at)))
                .into_iter()
                .collect();
        }
        dwarf
            .closure_variables(entry.wrapping_sub(self.types.bias()))
            .into_iter()
            .map(|variable| {
                (
                    variable.offset,
                    variable.name,
                    TypeRef::Dwarf(variable.type_ref),
                )
            })
            .collect()
    }

    fn scope(&self, pc: u64, in_call: bool) -> Vec<TypeRef> {
        let Some(dwarf) = self.types.binary().dwarf() else {
            return Vec::new();
        };
        let linked = pc.wrapping_sub(self.types.bias());
        let all = match in_call {
            true => dwarf.variables_in_call(linked.wrapping_add(1)),
            false => dwarf.variables_at(linked),
        };
        let placed = all.iter().all(|variable| !variable.pieces.is_empty());
        all.into_iter()
            .filter(|variable| placed || variable.pieces.is_empty())
            .map(|variable| TypeRef::Dwarf(variable.type_ref))
            .collect()
    }
}

/// The variables of packages that the debug information describes: the program's own
/// first, the shorter names before the longer ones.
fn globals(types: &Types) -> Vec<Variable> {
    let Some(dwarf) = types.binary().dwarf() else {
        return Vec::new();
    };
    let mut globals = dwarf.globals();
    // A package of the standard library has no dot in the first part of its path.
    let rank = |name: &str| {
        let own = name.starts_with("main.")
            || name
                .split('/')
                .next()
                .is_some_and(|first| name.contains('/') && first.contains('.'));
        (!own, name.len())
    };
    globals.sort_unstable_by(|one, other| {
        let (one, other) = (one.name, other.name);
        rank(one).cmp(&rank(other)).then(one.cmp(other))
    });
    globals
        .into_iter()
        .map(|global| Variable {
            name: global.name.to_owned(),
            context: None,
            address: global.address.wrapping_add(types.bias()),
            at: TypeRef::Dwarf(global.type_ref),
            copy: None,
        })
        .collect()
}
