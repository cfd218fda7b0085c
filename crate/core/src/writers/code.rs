//! What the code on the way to a place says of registers there (amd64).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use crate::binary::Function;
use crate::memory::AddressHash;
use crate::target::Target;

/// Code of one function that is decoded.
const FUNCTION_MAX: u64 = 1 << 20;

/// Instructions that are followed back.
const BACK: usize = 64;

/// The registers of a function's first arguments (cmd/compile/abi-internal.md).
const ARGUMENTS: [Register; 9] = [
    Register::RAX,
    Register::RBX,
    Register::RCX,
    Register::RDI,
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// gdb's names of them.
const NAMES: [&str; 9] = ["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"];

/// What a value was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// This number, or the address of this variable.
    Constant(u64),
    /// The address so many bytes from the stack pointer.
    Stack(i64),
    /// What the function itself was given in the register of this number.
    Register(usize),
}

/// Where a register's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub base: Base,
    /// The words that were loaded on the way, so many bytes from what was known by then; the
    /// last one is the value.
    pub loads: Vec<i64>,
}

/// The code of one function.
struct Code {
    all: Vec<Instruction>,
    /// Where branches lead.
    targets: Vec<u64>,
}

/// Functions that were decoded.
#[derive(Default)]
pub(super) struct Codes {
    known: RefCell<HashMap<u64, Option<Rc<Code>>, AddressHash>>,
}

impl Codes {
    fn of(&self, target: &Target, function: &Function) -> Option<Rc<Code>> {
        if let Some(known) = self.known.borrow().get(&function.entry) {
            return known.clone();
        }
        let code = decode(target, function).map(Rc::new);
        self.known.borrow_mut().insert(function.entry, code.clone());
        code
    }

    /// Where the value came from that the call gives in the register of this number whose last
    /// byte is at `last`, in `function`.
    pub(super) fn given(
        &self,
        target: &Target,
        function: &Function,
        last: u64,
        argument: usize,
    ) -> Option<Origin> {
        let code = self.of(target, function)?;
        let call = code
            .all
            .iter()
            .position(|instruction| instruction.next_ip() == last.wrapping_add(1))?;
        if code.all.get(call)?.flow_control() != FlowControl::Call {
            return None;
        }
        let mut wanted = *ARGUMENTS.get(argument)?;
        let mut loads = Vec::new();
        let of = |base, loads: Vec<i64>| {
            Some(Origin {
                base,
                loads: loads.into_iter().rev().collect(),
            })
        };
        let mut infos = InstructionInfoFactory::new();
        let mut after = code.all.get(call)?.ip();
        for instruction in code.all.get(..call)?.iter().rev().take(BACK) {
            // Who jumps in between may have set it elsewhere. A branch that was not taken
            // changes nothing.
            if code.targets.binary_search(&after).is_ok()
                || !matches!(
                    instruction.flow_control(),
                    FlowControl::Next | FlowControl::ConditionalBranch
                )
            {
                return None;
            }
            after = instruction.ip();
            let writes =
                infos.info(instruction).used_registers().iter().any(|used| {
                    used.register().full_register() == wanted && is_write(used.access())
                });
            if writes {
                let whole = instruction.op0_kind() == OpKind::Register
                    && instruction.op0_register().full_register() == wanted
                    && instruction.op0_register().size() >= 4;
                if !whole || instruction.op_count() != 2 {
                    return None;
                }
                let eight = instruction.op0_register().size() == 8;
                match (instruction.mnemonic(), instruction.op1_kind()) {
                    (Mnemonic::Lea | Mnemonic::Mov, OpKind::Memory) if eight => {
                        if instruction.memory_index() != Register::None
                            || instruction.segment_prefix() != Register::None
                        {
                            return None;
                        }
                        let displacement = instruction.memory_displacement64() as i64;
                        let load = instruction.mnemonic() == Mnemonic::Mov;
                        match instruction.memory_base() {
                            Register::RIP => {
                                loads.extend(load.then_some(0));
                                let at = instruction.ip_rel_memory_address();
                                return of(Base::Constant(at), loads);
                            }
                            Register::RSP => {
                                loads.extend(load.then_some(0));
                                return of(Base::Stack(displacement), loads);
                            }
                            base if load && base.is_gpr64() => {
                                loads.push(displacement);
                                wanted = base;
                            }
                            _ => return None,
                        }
                    }
                    (Mnemonic::Mov, OpKind::Register) if eight => {
                        wanted = instruction.op1_register().full_register();
                    }
                    (
                        Mnemonic::Mov,
                        OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64,
                    ) => return of(Base::Constant(instruction.immediate(1)), loads),
                    _ => return None,
                }
            }
            // Only the check of the stack returns to the entry, with all arguments restored.
            if instruction.ip() == function.entry {
                let own = ARGUMENTS.iter().position(|register| *register == wanted)?;
                return of(Base::Register(own), loads);
            }
        }
        None
    }

    /// The register that still holds the argument of this number at `pc`: nothing was
    /// executed of `function` yet that changes it.
    pub(super) fn untouched(
        &self,
        target: &Target,
        function: &Function,
        pc: u64,
        argument: usize,
    ) -> Option<&'static str> {
        let code = self.of(target, function)?;
        let wanted = *ARGUMENTS.get(argument)?;
        let mut infos = InstructionInfoFactory::new();
        for instruction in &code.all {
            if instruction.ip() > pc {
                break;
            }
            // What jumps back to here may come from anywhere; only the check of the stack
            // returns to the entry, with all arguments restored.
            let joined = instruction.ip() != function.entry
                && code.targets.binary_search(&instruction.ip()).is_ok();
            if instruction.ip() == pc && !joined {
                return NAMES.get(argument).copied();
            }
            let leaves = !matches!(
                instruction.flow_control(),
                FlowControl::Next | FlowControl::ConditionalBranch
            );
            let writes =
                infos.info(instruction).used_registers().iter().any(|used| {
                    used.register().full_register() == wanted && is_write(used.access())
                });
            if joined || leaves || writes {
                break;
            }
        }
        None
    }

    /// Where `function` keeps what it is given in the register of this number: so many bytes
    /// from its first argument on. A register is not a parameter: a string takes two, a
    /// number with a point none of these. What the check of the stack stores before it makes
    /// room, and loads again behind it, tells all of them (cmd/internal/obj/x86/obj6.go,
    /// stacksplit); a function without that check tells none.
    pub(super) fn kept(
        &self,
        target: &Target,
        function: &Function,
        register: usize,
    ) -> Option<u64> {
        let code = self.of(target, function)?;
        let wanted = *ARGUMENTS.get(register)?;
        let again = code.all.iter().rposition(|instruction| {
            instruction.flow_control() == FlowControl::UnconditionalBranch
                && instruction.near_branch_target() == function.entry
        })?;
        let before = code.all.get(..again)?;
        let call = before
            .iter()
            .rposition(|instruction| instruction.flow_control() != FlowControl::Next)?;
        if code.all.get(call)?.flow_control() != FlowControl::Call {
            return None;
        }
        let on_stack = |instruction: &Instruction| {
            instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None
                && instruction.segment_prefix() == Register::None
        };
        let loaded = before.get(call + 1..)?.iter().find(|instruction| {
            instruction.mnemonic() == Mnemonic::Mov
                && instruction.op0_kind() == OpKind::Register
                && instruction.op0_register() == wanted
                && instruction.op1_kind() == OpKind::Memory
                && on_stack(instruction)
        })?;
        let stored = before
            .get(..call)?
            .iter()
            .rev()
            .take_while(|instruction| instruction.flow_control() == FlowControl::Next)
            .any(|instruction| {
                instruction.mnemonic() == Mnemonic::Mov
                    && instruction.op0_kind() == OpKind::Memory
                    && instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register() == wanted
                    && on_stack(instruction)
                    && instruction.memory_displacement64() == loaded.memory_displacement64()
            });
        // The return address lies below the first argument.
        let offset = loaded.memory_displacement64().checked_sub(8)?;
        stored.then_some(offset)
    }

    /// Whether all ways to `pc` store a register so many bytes above the stack pointer
    /// before: in the instructions that every call begins with.
    pub(super) fn stored(
        &self,
        target: &Target,
        function: &Function,
        pc: u64,
        offset: u64,
    ) -> Option<bool> {
        let code = self.of(target, function)?;
        for instruction in &code.all {
            if instruction.ip() >= pc {
                break;
            }
            if instruction.mnemonic() == Mnemonic::Mov
                && instruction.op0_kind() == OpKind::Memory
                && instruction.op1_kind() == OpKind::Register
                && instruction.op1_register().size() == 8
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None
                && instruction.memory_displacement64() == offset
            {
                return Some(true);
            }
            // The stack check is the one branch before.
            let early = instruction.ip() < function.entry.wrapping_add(32);
            if instruction.flow_control() != FlowControl::Next
                && !(early && instruction.flow_control() == FlowControl::ConditionalBranch)
            {
                break;
            }
        }
        Some(false)
    }
}

fn is_write(access: OpAccess) -> bool {
    !matches!(
        access,
        OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
    )
}

fn decode(target: &Target, function: &Function) -> Option<Code> {
    if target.binary().arch() != Some("amd64") {
        return None;
    }
    let len = function.end.checked_sub(function.entry)?;
    if len > FUNCTION_MAX {
        return None;
    }
    let mut bytes = vec![0; len as usize];
    target.code(function.entry, &mut bytes).ok()?;
    let all: Vec<Instruction> = Decoder::with_ip(64, &bytes, function.entry, DecoderOptions::NONE)
        .into_iter()
        .collect();
    let mut targets: Vec<u64> = all
        .iter()
        .filter(|instruction| {
            matches!(
                instruction.flow_control(),
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            )
        })
        .map(Instruction::near_branch_target)
        .collect();
    // A table of jumps tells none of its targets.
    if all
        .iter()
        .any(|instruction| instruction.flow_control() == FlowControl::IndirectBranch)
    {
        return None;
    }
    targets.sort_unstable();
    Some(Code { all, targets })
}
