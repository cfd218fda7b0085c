//! What the program's own code says of types: `LEAQ type:map[K]V, AX; MOVQ variable, BX; CALL
//! runtime.mapassign` names the type of a variable without any debug information. Every
//! function is followed once, from its first instruction to its last, with what is known of
//! registers and stack slots; where two ways meet only what both agree on is kept.
//!
//! Registers are those of Go's internal calling convention on amd64
//! (cmd/compile/abi-internal.md): arguments and results in RAX, RBX, RCX, RDI, RSI, R8, R9, R10,
//! R11; the closure in RDX; nothing is kept over a call.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use crate::binary::{FunctionTable, Module};
use crate::gotype::{Kind, TypeRef, Types};
use crate::memory::{AddressHash, Memory, READ_MAX, ReadError};

/// Code that is looked at; the largest Go programs have some 200 MB.
const TEXT_MAX: u64 = 1 << 30;

/// A function of more code is left out.
const FUNCTION_MAX: u64 = 1 << 20;

/// Stack slots that are followed in one function.
const SLOTS_MAX: usize = 256;

/// What a pointer leads to; the number is a type descriptor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// A map of this type.
    Map(u64),
    /// A value of this type.
    Pointer(u64),
    /// The elems of a slice.
    Slice(u64),
    /// A channel of this type.
    Chan(u64),
    /// Different places of the code say different things.
    Ambiguous,
}

/// All that was learnt.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Variables of packages, and words in them, by address.
    pub variables: HashMap<u64, Fact, AddressHash>,
    /// What closures of a function hold: by the function's entry and the offset; `true` for
    /// a pointer to the variable.
    pub captured: HashMap<(u64, u64, bool), Fact>,
    /// Stack slots of a function, by its entry and the offset from the stack pointer.
    pub slots: HashMap<(u64, i64), Fact>,
    /// Variables that are values of a type, by address.
    pub values: HashMap<u64, Fact, AddressHash>,
    /// Arrays of such values, or of words, by the address of the first.
    pub arrays: HashMap<u64, Fact, AddressHash>,
    /// Words behind variables that are pointers: by the variable's address and the offset
    /// of the word.
    pub behind: HashMap<(u64, u64), Fact>,
    /// The map types in the lists of types that generic functions are given, by the
    /// function's entry.
    pub given: HashMap<u64, Vec<u64>, AddressHash>,
    /// The map types that a function's code names, by its entry.
    pub mentions: HashMap<u64, Vec<u64>, AddressHash>,
}

fn learn<K: Eq + std::hash::Hash, S: std::hash::BuildHasher>(
    facts: &mut HashMap<K, Fact, S>,
    key: K,
    fact: Fact,
) {
    match facts.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(fact);
        }
        Entry::Occupied(mut entry) if *entry.get() != fact => {
            entry.insert(Fact::Ambiguous);
        }
        Entry::Occupied(_) => {}
    }
}

/// A value in a register or slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Unknown,
    /// The address of something in the program.
    Address(u64),
    /// The word that stood there.
    Loaded(u64),
    /// The closure whose function runs.
    Context,
    /// A word of it.
    Field(u64),
    /// The variable that a word of it points to.
    Behind(u64),
    /// A word behind a variable that is a pointer: the variable's address, the offset.
    Through(u64, u64),
    /// The address of an elem of an array that is a variable.
    Element(u64),
    /// The word that stood in such an elem.
    FromElement(u64),
    /// The word that stood in a stack slot.
    Slot(i64),
    /// What is known of it.
    Known(Fact),
    /// A map of a type that shows at its first use; the number is the call's.
    Small(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callee {
    /// RAX: type; RBX: map.
    UsesMap,
    /// RAX: type; returns the map.
    MakesMap,
    /// Returns a map.
    MakesSmallMap,
    /// RAX: type; returns a pointer to a new value.
    NewObject,
    /// RAX: type of the elems; returns a pointer to them.
    MakesSlice,
    /// RSI: type of the elems; returns a pointer to them.
    GrowsSlice,
    /// RAX: type; returns the channel.
    MakesChan,
    /// Keeps all registers.
    Barrier,
}

fn callee(name: &str) -> Option<Callee> {
    let name = name
        .strip_prefix("runtime.")
        .or_else(|| name.strip_prefix("internal/runtime/maps.runtime_"))?;
    Some(match name {
        "makemap" | "makemap64" => Callee::MakesMap,
        "makemap_small" => Callee::MakesSmallMap,
        "newobject" => Callee::NewObject,
        "makeslice" | "makeslice64" => Callee::MakesSlice,
        "growslice" => Callee::GrowsSlice,
        "makechan" | "makechan64" => Callee::MakesChan,
        "mapclear" | "mapiterinit" | "mapIterStart" | "mapclone" => Callee::UsesMap,
        _ if name.starts_with("gcWriteBarrier") => Callee::Barrier,
        _ if ["mapaccess", "mapassign", "mapdelete"]
            .iter()
            .any(|prefix| name.starts_with(prefix)) =>
        {
            Callee::UsesMap
        }
        _ => return None,
    })
}

#[derive(Debug, Clone)]
struct Known {
    registers: [Value; 16],
    slots: Vec<(i64, Value)>,
}

impl Known {
    fn at_entry() -> Self {
        let mut known = Self::nothing();
        known.set(Register::RDX, Value::Context);
        known
    }

    fn nothing() -> Self {
        Self {
            registers: [Value::Unknown; 16],
            slots: Vec::new(),
        }
    }

    fn index(register: Register) -> Option<usize> {
        let full = register.full_register();
        full.is_gpr64().then(|| full.number())
    }

    fn get(&self, register: Register) -> Value {
        Self::index(register)
            .and_then(|index| self.registers.get(index))
            .copied()
            .unwrap_or(Value::Unknown)
    }

    fn set(&mut self, register: Register, value: Value) {
        if let Some(place) = Self::index(register).and_then(|index| self.registers.get_mut(index)) {
            *place = value;
        }
    }

    fn slot(&self, offset: i64) -> Value {
        self.slots
            .iter()
            .find(|(known, _)| *known == offset)
            .map_or(Value::Slot(offset), |(_, value)| *value)
    }

    fn set_slot(&mut self, offset: i64, value: Value) {
        let found = self.slots.iter_mut().find(|(known, _)| *known == offset);
        if let Some((_, place)) = found {
            *place = value;
        } else if self.slots.len() < SLOTS_MAX {
            self.slots.push((offset, value));
        }
    }

    /// Keeps what both agree on.
    fn meet(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(other.registers) {
            if *mine != theirs {
                *mine = Value::Unknown;
            }
        }
        for (offset, value) in &mut self.slots {
            if other.slot(*offset) != *value {
                *value = Value::Unknown;
            }
        }
        for (offset, _) in &other.slots {
            if !self.slots.iter().any(|(known, _)| known == offset) {
                self.set_slot(*offset, Value::Unknown);
            }
        }
    }

    /// The small map made by call `number` has this type.
    fn settle(&mut self, number: u64, fact: Fact) {
        for value in self
            .registers
            .iter_mut()
            .chain(self.slots.iter_mut().map(|(_, value)| value))
        {
            if *value == Value::Small(number) {
                *value = Value::Known(fact);
            }
        }
    }
}

struct Reader<'a> {
    callees: HashMap<u64, Callee, AddressHash>,
    /// Receivers of methods: entry, and the type that RAX points to.
    receivers: HashMap<u64, u64, AddressHash>,
    /// Functions that are given a list of types.
    generic: HashSet<u64, AddressHash>,
    /// Functions that take types for what they are.
    opaque: HashSet<u64, AddressHash>,
    /// Descriptors of map types.
    maps: HashSet<u64, AddressHash>,
    types: &'a Types,
    module: &'a Module,
    facts: Facts,
    factory: InstructionInfoFactory,
}

/// Reads the code of a module. Only amd64 is understood; elsewhere nothing is learnt.
///
/// # Errors
/// When the user asked to stop.
pub(super) fn facts(
    types: &Types,
    memory: &dyn Memory,
    module: &Module,
    named: &HashMap<String, u64>,
) -> Result<Facts, ReadError> {
    if types.binary().arch() != Some("amd64") || module.text.len > TEXT_MAX {
        return Ok(Facts::default());
    }
    let table = FunctionTable::new(types.binary().abi(), *module);
    let mut reader = Reader {
        callees: HashMap::default(),
        receivers: HashMap::default(),
        generic: HashSet::default(),
        opaque: HashSet::default(),
        maps: types
            .map_descriptors()
            .map(|(address, _)| address)
            .collect(),
        types,
        module,
        facts: Facts::default(),
        factory: InstructionInfoFactory::new(),
    };
    let mut functions = Vec::new();
    for function in table.functions(memory) {
        if let Some(callee) = callee(&function.name) {
            reader.callees.insert(function.entry, callee);
        }
        if function.name.contains('[') {
            reader.generic.insert(function.entry);
        }
        let opaque = ["runtime.", "reflect.", "internal/", "sync."];
        if opaque
            .iter()
            .any(|prefix| function.name.starts_with(prefix))
        {
            reader.opaque.insert(function.entry);
        }
        if let Some(receiver) = receiver(&function.name).and_then(|name| named.get(&name)) {
            reader.receivers.insert(function.entry, *receiver);
        }
        // The runtime's own maps are reached by its own variables.
        functions.push((function.entry, function.end));
    }
    let mut bytes = Vec::new();
    let mut window = crate::memory::Span { start: 0, len: 0 };
    for (entry, end) in functions {
        let len = end.saturating_sub(entry);
        if len == 0 || len > FUNCTION_MAX {
            continue;
        }
        if entry < window.start || end > window.end() {
            memory.checkpoint(0, 0)?;
            let left = module.text.end().saturating_sub(entry).max(len);
            let take = left.min((READ_MAX as u64).max(len));
            bytes.resize(take as usize, 0);
            crate::memory::read_available(memory, entry, &mut bytes)?;
            window = crate::memory::Span {
                start: entry,
                len: take,
            };
        }
        let start = (entry - window.start) as usize;
        if let Some(code) = bytes.get(start..start + len as usize) {
            reader.function(entry, code);
        }
    }
    Ok(reader.facts)
}

/// `pkg.T` for `pkg/path.(*T).Method`: as descriptors name the type.
pub(super) fn receiver(function: &str) -> Option<String> {
    let last = function.rsplit('/').next()?;
    let (package, rest) = last.split_once(".(*")?;
    let (name, _) = rest.split_once(')')?;
    (!name.contains('[')).then(|| format!("{package}.{name}"))
}

impl Reader<'_> {
    fn is_type(&self, address: u64) -> bool {
        self.module.types.contains(address)
            && address.is_multiple_of(8)
            && self.types.is_sound(address)
    }

    fn is_variable(&self, address: u64) -> bool {
        [self.module.data, self.module.bss]
            .iter()
            .any(|range| range.contains(address))
    }

    fn function(&mut self, entry: u64, code: &[u8]) {
        let mut decoder = Decoder::with_ip(64, code, entry, DecoderOptions::NONE);
        let mut instructions: Vec<Instruction> = Vec::with_capacity(code.len() / 4);
        let mut interesting = false;
        let mut back = Vec::new();
        while decoder.can_decode() {
            let instruction = decoder.decode();
            match instruction.flow_control() {
                FlowControl::Call => {
                    let target = instruction.near_branch_target();
                    interesting |=
                        self.callees.contains_key(&target) || self.receivers.contains_key(&target);
                }
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                    let target = instruction.near_branch_target();
                    if target <= instruction.ip() {
                        back.push(target);
                    }
                }
                FlowControl::Next if instruction.is_ip_rel_memory_operand() => {
                    let address = instruction.ip_rel_memory_address();
                    // It may be half of an interface that is handed to a function.
                    interesting |= instruction.mnemonic() == Mnemonic::Lea
                        && self.module.types.contains(address);
                    self.mention(entry, address);
                }
                _ => {}
            }
            instructions.push(instruction);
        }
        if !interesting {
            return;
        }
        let mut known = Some(Known::at_entry());
        let mut waiting: HashMap<u64, Known, AddressHash> = HashMap::default();
        for instruction in &instructions {
            let at = instruction.ip();
            if let Some(other) = waiting.remove(&at) {
                known = Some(match known {
                    Some(mut here) => {
                        here.meet(&other);
                        here
                    }
                    None => other,
                });
            }
            if back.contains(&at) {
                // What the end of the loop leaves is not known yet.
                known = Some(Known::nothing());
            }
            let Some(here) = &mut known else {
                continue;
            };
            match instruction.flow_control() {
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                    let target = instruction.near_branch_target();
                    if target > at {
                        match waiting.entry(target) {
                            Entry::Vacant(entry) => {
                                entry.insert(here.clone());
                            }
                            Entry::Occupied(mut entry) => entry.get_mut().meet(here),
                        }
                    }
                    if instruction.flow_control() == FlowControl::UnconditionalBranch {
                        known = None;
                    }
                }
                FlowControl::Return
                | FlowControl::IndirectBranch
                | FlowControl::Exception
                | FlowControl::Interrupt => known = None,
                FlowControl::Call | FlowControl::IndirectCall => {
                    self.call(entry, instruction, here);
                }
                _ => self.step(entry, instruction, here),
            }
        }
    }

    fn call(&mut self, entry: u64, instruction: &Instruction, known: &mut Known) {
        let target = match instruction.flow_control() {
            FlowControl::Call => instruction.near_branch_target(),
            _ => 0,
        };
        let callee = self.callees.get(&target).copied();
        if callee == Some(Callee::Barrier) {
            // It returns where to put what was overwritten.
            known.set(Register::R11, Value::Unknown);
            return;
        }
        if let Some(receiver) = self.receivers.get(&target) {
            let value = known.get(Register::RAX);
            self.told(entry, value, Fact::Pointer(*receiver));
        }
        if callee.is_none() {
            self.arguments(entry, target, known);
        }
        let type_in = |known: &Known, register| match known.get(register) {
            Value::Address(address) => Some(address).filter(|address| self.is_type(*address)),
            _ => None,
        };
        let in_rax = type_in(known, Register::RAX);
        let mut result = Value::Unknown;
        match (callee, in_rax) {
            (Some(Callee::UsesMap), Some(descriptor)) => {
                let fact = Fact::Map(descriptor);
                let value = known.get(Register::RBX);
                self.told(entry, value, fact);
                match value {
                    Value::Small(number) => known.settle(number, fact),
                    Value::Slot(offset) => known.set_slot(offset, Value::Known(fact)),
                    _ => {}
                }
            }
            (Some(Callee::MakesMap), Some(descriptor)) => {
                result = Value::Known(Fact::Map(descriptor));
            }
            (Some(Callee::NewObject), Some(descriptor)) => {
                result = Value::Known(Fact::Pointer(descriptor));
            }
            (Some(Callee::MakesSlice), Some(descriptor)) => {
                result = Value::Known(Fact::Slice(descriptor));
            }
            (Some(Callee::MakesChan), Some(descriptor)) => {
                result = Value::Known(Fact::Chan(descriptor));
            }
            (Some(Callee::MakesSmallMap), _) => result = Value::Small(instruction.ip()),
            (Some(Callee::GrowsSlice), _) => {
                if let Some(descriptor) = type_in(known, Register::RSI) {
                    result = Value::Known(Fact::Slice(descriptor));
                }
            }
            _ => {}
        }
        known.registers = [Value::Unknown; 16];
        known.set(Register::RAX, result);
    }

    /// Arguments that tell their type: an interface is a type and a value in two registers, and
    /// generic functions are given a list of types first.
    fn arguments(&mut self, entry: u64, target: u64, known: &Known) {
        const ORDER: [Register; 6] = [
            Register::RAX,
            Register::RBX,
            Register::RCX,
            Register::RDI,
            Register::RSI,
            Register::R8,
        ];
        if self.opaque.contains(&target) {
            return;
        }
        if self.generic.contains(&target)
            && let Value::Address(dictionary) = known.get(Register::RAX)
        {
            let listed = self.types.dictionary(dictionary);
            let mut maps = listed.iter().filter(|at| self.maps.contains(at));
            if let (Some(only), None) = (maps.next().copied(), maps.next()) {
                // Handed the address of a variable, it is probably for this type.
                for register in ORDER {
                    if let Value::Address(place) = known.get(register)
                        && self.is_variable(place)
                    {
                        learn(&mut self.facts.arrays, place, Fact::Map(only));
                    }
                }
            }
            for descriptor in listed {
                self.mention(entry, descriptor);
                if self.maps.contains(&descriptor) {
                    let given = self.facts.given.entry(target).or_default();
                    if !given.contains(&descriptor) {
                        given.push(descriptor);
                    }
                }
            }
            return;
        }
        for pair in ORDER.windows(2) {
            let [first, second] = pair else {
                continue;
            };
            let Value::Address(descriptor) = known.get(*first) else {
                continue;
            };
            if !self.is_type(descriptor) {
                continue;
            }
            let Ok(described) = self.types.get(TypeRef::Runtime(descriptor)) else {
                continue;
            };
            let fact = match described.kind {
                Kind::Map { .. } => Fact::Map(descriptor),
                Kind::Chan { .. } => Fact::Chan(descriptor),
                Kind::Pointer(Some(TypeRef::Runtime(target))) => Fact::Pointer(target),
                _ => continue,
            };
            self.told(entry, known.get(*second), fact);
        }
    }

    fn mention(&mut self, entry: u64, descriptor: u64) {
        if self.maps.contains(&descriptor) {
            let mentions = self.facts.mentions.entry(entry).or_default();
            if !mentions.contains(&descriptor) {
                mentions.push(descriptor);
            }
        }
    }

    /// A value turned out to be this.
    fn told(&mut self, entry: u64, value: Value, fact: Fact) {
        match value {
            Value::Loaded(address) if self.is_variable(address) => {
                learn(&mut self.facts.variables, address, fact);
            }
            Value::Field(offset) => {
                learn(&mut self.facts.captured, (entry, offset, false), fact);
            }
            Value::Behind(offset) => {
                learn(&mut self.facts.captured, (entry, offset, true), fact);
            }
            Value::Through(variable, offset) if self.is_variable(variable) => {
                learn(&mut self.facts.behind, (variable, offset), fact);
            }
            Value::Slot(offset) => learn(&mut self.facts.slots, (entry, offset), fact),
            // A pointer to the variable itself.
            Value::Address(address) if self.is_variable(address) => {
                if let Fact::Pointer(_) = fact {
                    learn(&mut self.facts.values, address, fact);
                }
            }
            Value::Element(base) if self.is_variable(base) => {
                if let Fact::Pointer(_) = fact {
                    learn(&mut self.facts.arrays, base, fact);
                }
            }
            Value::FromElement(base) if self.is_variable(base) => {
                if let Fact::Map(_) = fact {
                    learn(&mut self.facts.arrays, base, fact);
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, entry: u64, instruction: &Instruction, known: &mut Known) {
        let frame = |instruction: &Instruction| {
            let plain = instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None;
            plain.then(|| instruction.memory_displacement64() as i64)
        };
        match instruction.mnemonic() {
            Mnemonic::Mov => match (instruction.op0_kind(), instruction.op1_kind()) {
                (OpKind::Register, OpKind::Register) if instruction.op0_register().is_gpr64() => {
                    let value = known.get(instruction.op1_register());
                    known.set(instruction.op0_register(), value);
                }
                (OpKind::Register, OpKind::Memory) if instruction.code() == Code::Mov_r64_rm64 => {
                    let value = if instruction.is_ip_rel_memory_operand() {
                        Value::Loaded(instruction.ip_rel_memory_address())
                    } else if let Some(offset) = frame(instruction) {
                        known.slot(offset)
                    } else if instruction.memory_index() == Register::None {
                        let offset = instruction.memory_displacement64();
                        match known.get(instruction.memory_base()) {
                            Value::Context => Value::Field(offset),
                            Value::Field(field) if offset == 0 => Value::Behind(field),
                            Value::Address(base) => Value::Loaded(base.wrapping_add(offset)),
                            Value::Loaded(variable) if offset < 1 << 16 => {
                                Value::Through(variable, offset)
                            }
                            _ => Value::Unknown,
                        }
                    } else {
                        match known.get(instruction.memory_base()) {
                            Value::Address(base) => Value::FromElement(
                                base.wrapping_add(instruction.memory_displacement64()),
                            ),
                            _ => Value::Unknown,
                        }
                    };
                    known.set(instruction.op0_register(), value);
                }
                (OpKind::Memory, OpKind::Register) => {
                    let whole = instruction.op1_register().is_gpr64();
                    let value = match whole {
                        true => known.get(instruction.op1_register()),
                        false => Value::Unknown,
                    };
                    if let Some(offset) = frame(instruction) {
                        known.set_slot(offset, value);
                        if let Value::Known(fact) = value {
                            learn(&mut self.facts.slots, (entry, offset), fact);
                        }
                        return;
                    }
                    let place = if instruction.is_ip_rel_memory_operand() {
                        Some(instruction.ip_rel_memory_address())
                    } else {
                        match known.get(instruction.memory_base()) {
                            Value::Address(base)
                                if instruction.memory_index() == Register::None =>
                            {
                                Some(base.wrapping_add(instruction.memory_displacement64()))
                            }
                            _ => None,
                        }
                    };
                    if let (Some(place), Value::Known(fact)) = (place, value)
                        && self.is_variable(place)
                    {
                        learn(&mut self.facts.variables, place, fact);
                    }
                }
                (OpKind::Register, _) => known.set(instruction.op0_register(), Value::Unknown),
                (OpKind::Memory, _) => {
                    if let Some(offset) = frame(instruction) {
                        known.set_slot(offset, Value::Unknown);
                    }
                }
                _ => {}
            },
            Mnemonic::Lea => {
                let base = known.get(instruction.memory_base());
                let offset = instruction.memory_displacement64();
                let value = match (instruction.is_ip_rel_memory_operand(), base) {
                    (true, _) => Value::Address(instruction.ip_rel_memory_address()),
                    (false, Value::Address(base)) => {
                        match instruction.memory_index() == Register::None {
                            true => Value::Address(base.wrapping_add(offset)),
                            false => Value::Element(base.wrapping_add(offset)),
                        }
                    }
                    _ => Value::Unknown,
                };
                known.set(instruction.op0_register(), value);
            }
            Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Nop => {}
            _ => {
                let info = self.factory.info(instruction);
                for used in info.used_registers() {
                    let writes = matches!(
                        used.access(),
                        OpAccess::Write
                            | OpAccess::CondWrite
                            | OpAccess::ReadWrite
                            | OpAccess::ReadCondWrite
                    );
                    if writes && used.register() != Register::RSP {
                        known.set(used.register(), Value::Unknown);
                    }
                }
                // A vector store clears several slots at once.
                if instruction.op0_kind() == OpKind::Memory
                    && let Some(offset) = frame(instruction)
                {
                    let end = offset.saturating_add(instruction.memory_size().size() as i64);
                    for (slot, value) in &mut known.slots {
                        if *slot >= offset && *slot < end {
                            *value = Value::Unknown;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_named_as_descriptors_name_them() {
        assert_eq!(
            receiver("net/http.(*Server).Serve"),
            Some("http.Server".into())
        );
        assert_eq!(receiver("main.(*T).m-fm"), Some("main.T".into()));
        assert_eq!(receiver("main.T.m"), None);
        assert_eq!(receiver("main.(*T[...]).m"), None);
    }

    #[test]
    fn where_two_ways_meet_only_what_both_say_is_kept() {
        let mut one = Known::at_entry();
        one.set_slot(8, Value::Known(Fact::Map(1)));
        one.set_slot(16, Value::Context);
        let mut other = Known::at_entry();
        other.set(Register::RDX, Value::Address(4));
        other.set_slot(8, Value::Known(Fact::Map(1)));
        one.meet(&other);
        assert_eq!(one.get(Register::RDX), Value::Unknown);
        assert_eq!(one.slot(8), Value::Known(Fact::Map(1)));
        assert_eq!(one.slot(16), Value::Unknown);
    }
}
