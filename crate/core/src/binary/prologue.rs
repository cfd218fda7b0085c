//! Where in a function's code a stop or a probe belongs: behind the check of the stack, and on
//! its returns.
//!
//! A function whose goroutine lacks stack calls `runtime.morestack`, which starts it over from
//! its first instruction; what stands behind the check is reached once in every call
//! (cmd/internal/obj/x86/obj6.go and arm64/obj7.go, `stacksplit`). There the registers hold the
//! arguments as the caller left them, and since Go 1.21 the frame is not yet made: on amd64 the
//! instruction is `push %rbp`, unless the function has no frame.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpKind, Register,
};

/// The architectures whose instructions are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64, little-endian.
    Arm64,
}

impl Arch {
    /// By Go's name, as [`super::Binary::arch`] gives it.
    #[must_use]
    pub fn of_go(name: &str) -> Option<Self> {
        match name {
            "amd64" => Some(Self::Amd64),
            "arm64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

/// How Linux lets a thread go on behind a uprobe on an instruction. On a virtual machine with
/// Linux 6.18 the first costs about 1 us a hit and the second 10 us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepCost {
    /// The kernel does by itself what the instruction would (arch/x86/kernel/uprobes.c,
    /// `branch_setup_xol_ops` and `push_setup_xol_ops`; arch/arm64/kernel/probes/decode-insn.c):
    /// one trap.
    Emulated,
    /// A copy of the instruction is executed elsewhere, with a second trap behind it.
    Stepped,
    /// The kernel refuses a uprobe here.
    Refused,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it stands.
    pub address: u64,
    /// Its bytes.
    pub len: u8,
    /// `push`, `sub`, `ret`; for one that is not known by name, its bits in hexadecimal.
    pub mnemonic: String,
    /// Whether a copy of it, executed elsewhere, does the same: it reads nothing relative to
    /// its own address, goes nowhere but to the next one, and asks the system for nothing.
    pub displaceable: bool,
    /// What a uprobe on it costs.
    pub cost: StepCost,
}

/// How a function makes sure of its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StackCheck {
    /// It does not: `//go:nosplit`, or a leaf with a small frame.
    None,
    /// The stack pointer is compared (frames up to `abi.StackSmall`, 128 bytes).
    Small,
    /// The stack pointer less the frame is compared (up to `abi.StackBig`, 4096 bytes).
    Large,
    /// The same, with a check that the subtraction did not wrap.
    Huge,
}

/// A function's places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The first instruction behind the check of the stack; without a check, of the function.
    pub first: Place,
    /// The check before it.
    pub check: StackCheck,
    /// The function jumps back to `first` by itself, so that one call may pass it more than
    /// once.
    pub repeats: bool,
    /// The return instructions, by address.
    pub returns: Vec<Place>,
    /// Direct jumps out of the function, by address: calls of another function in its place,
    /// which leave without a return instruction.
    pub tail_jumps: Vec<u64>,
    /// The code was decoded to its end. If not, returns and jumps may be missing.
    pub complete: bool,
}

/// The places of the function at `entry`, whose code, padding included, is `code`. `None` if
/// not even the first instruction can be decoded.
#[must_use]
pub fn places(arch: Arch, entry: u64, code: &[u8]) -> Option<Places> {
    match arch {
        Arch::Amd64 => amd64::places(entry, code),
        Arch::Arm64 => arm64::places(entry, code),
    }
}

/// The instruction at `address` whose bytes, and perhaps more, are `code`.
#[must_use]
pub fn place(arch: Arch, address: u64, code: &[u8]) -> Option<Place> {
    match arch {
        Arch::Amd64 => {
            let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
            let instruction = decoder.decode();
            (!instruction.is_invalid())
                .then(|| amd64::place(&mut InstructionInfoFactory::new(), &instruction, code))
        }
        Arch::Arm64 => Some(arm64::place(address, arm64::word(code, 0)?)),
    }
}

mod amd64 {
    use super::*;

    /// Instructions that a check of the stack has at most: two that find g, five that compare.
    const CHECK_MAX: usize = 7;

    pub(super) fn places(entry: u64, code: &[u8]) -> Option<Places> {
        let mut factory = InstructionInfoFactory::new();
        let mut decoder = Decoder::with_ip(64, code, entry, DecoderOptions::NONE);
        let mut head = Vec::with_capacity(CHECK_MAX + 1);
        while head.len() <= CHECK_MAX && decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                break;
            }
            head.push(instruction);
        }
        let (check, skipped) = check(&head);
        let first = head.get(skipped)?;
        let first = place(&mut factory, first, rest(code, entry, first.ip()));
        let end = entry.wrapping_add(code.len() as u64);
        let mut found = Places {
            first,
            check,
            repeats: false,
            returns: Vec::new(),
            tail_jumps: Vec::new(),
            complete: true,
        };
        let mut decoder = Decoder::with_ip(64, code, entry, DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                // What stands behind the last instruction need not be code.
                found.complete = false;
                break;
            }
            match instruction.flow_control() {
                FlowControl::Return => {
                    let bytes = rest(code, entry, instruction.ip());
                    found.returns.push(place(&mut factory, &instruction, bytes));
                }
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    let target = instruction.near_branch_target();
                    if target == found.first.address
                        && (found.check != StackCheck::None
                            || !follows_morestack(code, entry, &instruction))
                    {
                        found.repeats = true;
                    }
                    if target < entry || target >= end {
                        found.tail_jumps.push(instruction.ip());
                    }
                }
                _ => {}
            }
        }
        Some(found)
    }

    /// Whether a jump is the way back to the entry from a call of `runtime.morestack` that no
    /// known check leads to: it stands right behind a call and at the end of the code.
    fn follows_morestack(code: &[u8], entry: u64, jump: &Instruction) -> bool {
        let after = rest(code, entry, jump.next_ip());
        let call = jump.ip().wrapping_sub(5);
        jump.mnemonic() == Mnemonic::Jmp
            && rest(code, entry, call).first() == Some(&0xe8)
            && after.iter().all(|byte| *byte == 0xcc)
    }

    fn rest(code: &[u8], entry: u64, address: u64) -> &[u8] {
        usize::try_from(address.wrapping_sub(entry))
            .ok()
            .and_then(|offset| code.get(offset..))
            .unwrap_or_default()
    }

    /// The kind of check that `head` begins with, and its length in instructions.
    fn check(head: &[Instruction]) -> (StackCheck, usize) {
        // Assembly functions find g in thread-local storage first (`loadG`).
        for loads in 0..=2 {
            if loads > 0 && !head.get(loads - 1).is_some_and(finds_g) {
                break;
            }
            let Some(rest) = head.get(loads..) else { break };
            let found = match rest {
                [a, b, ..] if guards(a, Register::RSP) && jumps_below_or_equal(b) => {
                    (StackCheck::Small, 2)
                }
                [a, b, c, ..]
                    if a.code() == Code::Lea_r64_m
                        && a.memory_base() == Register::RSP
                        && a.memory_index() == Register::None
                        && guards(b, a.op0_register())
                        && jumps_below_or_equal(c) =>
                {
                    (StackCheck::Large, 3)
                }
                [a, b, c, d, e, ..]
                    if a.mnemonic() == Mnemonic::Mov
                        && a.op1_kind() == OpKind::Register
                        && a.op1_register() == Register::RSP
                        && b.mnemonic() == Mnemonic::Sub
                        && b.op0_register() == a.op0_register()
                        && b.op1_kind() != OpKind::Register
                        && c.mnemonic() == Mnemonic::Jb
                        && guards(d, a.op0_register())
                        && jumps_below_or_equal(e) =>
                {
                    (StackCheck::Huge, 5)
                }
                _ => continue,
            };
            return (found.0, found.1 + loads);
        }
        (StackCheck::None, 0)
    }

    /// `MOVQ (TLS), CX` and the ways the linker writes it.
    fn finds_g(instruction: &Instruction) -> bool {
        instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().is_gpr64()
            && match instruction.op1_kind() {
                OpKind::Memory => {
                    instruction.segment_prefix() == Register::FS
                        || instruction.is_ip_rel_memory_operand()
                }
                OpKind::Immediate32to64 => true,
                _ => false,
            }
    }

    /// `cmp 0x10(%g),%register`: stackguard0, or stackguard1 for what runs on a thread's stack.
    fn guards(instruction: &Instruction, register: Register) -> bool {
        instruction.mnemonic() == Mnemonic::Cmp
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == register
            && instruction.op1_kind() == OpKind::Memory
            && instruction.memory_index() == Register::None
            && matches!(instruction.memory_displacement64(), 0x10 | 0x18)
            && instruction.memory_base().is_gpr64()
    }

    fn jumps_below_or_equal(instruction: &Instruction) -> bool {
        instruction.mnemonic() == Mnemonic::Jbe
    }

    pub(super) fn place(
        factory: &mut InstructionInfoFactory,
        instruction: &Instruction,
        code: &[u8],
    ) -> Place {
        let flow = instruction.flow_control();
        let writes_ip = factory
            .info(instruction)
            .used_registers()
            .iter()
            .any(|used| matches!(used.register(), Register::RIP | Register::EIP));
        Place {
            address: instruction.ip(),
            len: instruction.len() as u8,
            mnemonic: format!("{:?}", instruction.mnemonic()).to_lowercase(),
            displaceable: flow == FlowControl::Next
                && !writes_ip
                && !instruction.is_ip_rel_memory_operand()
                && !instruction.is_privileged()
                && instruction.mnemonic() != Mnemonic::Syscall,
            cost: cost(instruction, code),
        }
    }

    /// By what arch/x86/kernel/uprobes.c of Linux 6.18 says of the bytes.
    fn cost(instruction: &Instruction, code: &[u8]) -> StepCost {
        let flow = instruction.flow_control();
        // is_prefix_bad, and what good_insns_64 leaves out.
        if instruction.has_lock_prefix()
            || matches!(
                instruction.segment_prefix(),
                Register::ES | Register::CS | Register::SS | Register::DS
            )
            || matches!(flow, FlowControl::Interrupt | FlowControl::Exception)
            || instruction.is_privileged()
        {
            return StepCost::Refused;
        }
        let code = code.get(..instruction.len()).unwrap_or_default();
        match code {
            // push, of an old or a new register.
            [0x50..=0x57] | [0x40..=0x4f, 0x50..=0x57] => StepCost::Emulated,
            // nop, jumps and calls to a fixed distance.
            [0x90] | [0xeb | 0x70..=0x7f, _] | [0xe9 | 0xe8, _, _, _, _] => StepCost::Emulated,
            [0x0f, 0x80..=0x8f, _, _, _, _] => StepCost::Emulated,
            _ => StepCost::Stepped,
        }
    }
}

mod arm64 {
    use super::*;

    const G: u32 = 28;
    const SP: u32 = 31;

    pub(super) fn word(code: &[u8], index: usize) -> Option<u32> {
        let at = index.checked_mul(4)?;
        let bytes = code.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    pub(super) fn places(entry: u64, code: &[u8]) -> Option<Places> {
        let (check, skipped) = check(code);
        let address_of = |index: usize| entry.wrapping_add(index as u64 * 4);
        let first = place(address_of(skipped), word(code, skipped)?);
        let count = code.len() / 4;
        let mut found = Places {
            first,
            check,
            repeats: false,
            returns: Vec::new(),
            tail_jumps: Vec::new(),
            complete: code.len().is_multiple_of(4),
        };
        for index in 0..count {
            let Some(bits) = word(code, index) else { break };
            let address = address_of(index);
            if bits & 0xffff_fc1f == 0xd65f_0000 {
                found.returns.push(place(address, bits));
            }
            let Some(distance) = jump(bits) else { continue };
            let target = address.wrapping_add_signed(distance);
            // The way back from a call of morestack, if no known check stands before it.
            let again = check == StackCheck::None
                && index
                    .checked_sub(1)
                    .and_then(|before| word(code, before))
                    .is_some_and(|before| before >> 26 == 0b100_101);
            if target == found.first.address && !again {
                found.repeats = true;
            }
            if target < entry || target >= address_of(count) {
                found.tail_jumps.push(address);
            }
        }
        Some(found)
    }

    /// The kind of check that `code` begins with, and its length in instructions.
    fn check(code: &[u8]) -> (StackCheck, usize) {
        let none = (StackCheck::None, 0);
        // ldr x16, [x28, #16]: stackguard0; #24 is stackguard1.
        if !matches!(word(code, 0), Some(bits) if loads_guard(bits)) {
            return none;
        }
        // cmp sp, x16; b.ls
        if let (Some(0xeb30_63ff), Some(branch)) = (word(code, 1), word(code, 2))
            && is_branch_if(branch, LOWER_OR_SAME)
        {
            return (StackCheck::Small, 3);
        }
        // x17 becomes the stack pointer less the frame, by way of x27 if the frame is large;
        // b.lo if that wrapped; cmp x17, x16; b.ls
        let mut wraps = StackCheck::Large;
        for index in 1..8 {
            let Some(bits) = word(code, index) else { break };
            if bits == 0xeb10_023f {
                return match word(code, index + 1) {
                    Some(branch) if is_branch_if(branch, LOWER_OR_SAME) => (wraps, index + 2),
                    _ => none,
                };
            }
            if is_branch_if(bits, LOWER) {
                wraps = StackCheck::Huge;
            } else if !computes(bits) {
                break;
            }
        }
        none
    }

    const LOWER: u32 = 3;
    const LOWER_OR_SAME: u32 = 9;

    fn is_branch_if(bits: u32, condition: u32) -> bool {
        bits & 0xff00_001f == 0x5400_0000 | condition
    }

    fn loads_guard(bits: u32) -> bool {
        [2, 3]
            .map(|slot: u32| 0xf940_0000 | slot << 10 | G << 5 | 16)
            .contains(&bits)
    }

    /// Whether it writes x17 or x27 from x17, the stack pointer, x27 or a constant.
    fn computes(bits: u32) -> bool {
        let to = bits & 31;
        let from = bits >> 5 & 31;
        let constant = bits & 0x1f80_0000 == 0x1280_0000 && bits >> 31 == 1 // movz, movn, movk
            || bits & 0x1f80_0000 == 0x1200_0000; // orr of a bit pattern
        let subtracts = bits & 0xdf80_0000 == 0xd100_0000 // sub, subs of a constant
            || bits & 0xdf20_0000 == 0xcb20_0000 // of an extended register
            || bits & 0xdf20_0000 == 0xcb00_0000; // of a register
        (constant && to == 27) || (subtracts && to == 17 && (from == SP || from == 17))
    }

    /// The distance of a jump, conditional or not, that is no call.
    fn jump(bits: u32) -> Option<i64> {
        let field = |low: u32, width: u32| {
            // Signed, in instructions.
            let value = i64::from(bits >> low) << (64 - width) >> (64 - width);
            value * 4
        };
        if bits >> 26 == 0b000_101 {
            Some(field(0, 26))
        } else if bits & 0xff00_0000 == 0x5400_0000 || bits & 0x7e00_0000 == 0x3400_0000 {
            Some(field(5, 19))
        } else if bits & 0x7e00_0000 == 0x3600_0000 {
            Some(field(5, 14))
        } else {
            None
        }
    }

    /// Instructions by the bits that tell them: mask, value, name.
    const NAMES: [(u32, u32, &str); 27] = [
        (0xffff_ffff, 0xd503_201f, "nop"),
        (0xffff_fc1f, 0xd65f_0000, "ret"),
        (0xffff_fc1f, 0xd61f_0000, "br"),
        (0xffff_fc1f, 0xd63f_0000, "blr"),
        (0xfc00_0000, 0x1400_0000, "b"),
        (0xfc00_0000, 0x9400_0000, "bl"),
        (0xff00_0010, 0x5400_0000, "b.cond"),
        (0x7f00_0000, 0x3400_0000, "cbz"),
        (0x7f00_0000, 0x3500_0000, "cbnz"),
        (0x7f00_0000, 0x3600_0000, "tbz"),
        (0x7f00_0000, 0x3700_0000, "tbnz"),
        (0x9f00_0000, 0x1000_0000, "adr"),
        (0x9f00_0000, 0x9000_0000, "adrp"),
        (0x7f80_0000, 0x5280_0000, "movz"),
        (0x7f80_0000, 0x1280_0000, "movn"),
        (0x7f80_0000, 0x7280_0000, "movk"),
        (0x7f80_0000, 0x1100_0000, "add"),
        (0x7f80_0000, 0x3100_0000, "adds"),
        (0x7f80_0000, 0x5100_0000, "sub"),
        (0x7f80_0000, 0x7100_0000, "subs"),
        (0x7fe0_ffe0, 0x2a00_03e0, "mov"),
        (0x7e40_0000, 0x2800_0000, "stp"),
        (0x7e40_0000, 0x2840_0000, "ldp"),
        (0xbfe0_0000, 0xb800_0000, "str"),
        (0xbfe0_0000, 0xb840_0000, "ldr"),
        (0xbfc0_0000, 0xb900_0000, "str"),
        (0xbfc0_0000, 0xb940_0000, "ldr"),
    ];

    pub(super) fn place(address: u64, bits: u32) -> Place {
        let masked = |mask: u32, value: u32| bits & mask == value;
        let adr = masked(0x1f00_0000, 0x1000_0000);
        let literal = masked(0x3b00_0000, 0x1800_0000);
        // Branches, exceptions and what the system is told by.
        let control = masked(0x1c00_0000, 0x1400_0000) && bits != 0xd503_201f;
        // Load-exclusive and store-exclusive: a trap between the two makes the store fail.
        let exclusive = masked(0x3f00_0000, 0x0800_0000) && bits & 0x0080_0000 == 0;
        let branch = jump(bits).is_some()
            || masked(0xfc00_0000, 0x9400_0000)
            || masked(0xff9f_fc1f, 0xd61f_0000)
            || masked(0xffff_fc1f, 0xd65f_0000);
        let cost = if bits == 0xd503_201f || branch || adr || literal {
            StepCost::Emulated
        } else if control || exclusive {
            StepCost::Refused
        } else {
            StepCost::Stepped
        };
        Place {
            address,
            len: 4,
            mnemonic: NAMES
                .iter()
                .find(|(mask, value, _)| masked(*mask, *value))
                .map_or_else(
                    || format!("{bits:#010x}"),
                    |(_, _, name)| (*name).to_owned(),
                ),
            displaceable: !(adr || literal || control || exclusive),
            cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 0x40_8000;

    fn amd64(code: &[u8]) -> Places {
        places(Arch::Amd64, ENTRY, code).unwrap()
    }

    fn arm64(words: &[u32]) -> Places {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        places(Arch::Arm64, ENTRY, &code).unwrap()
    }

    /// `push %rbp; mov %rsp,%rbp; pop %rbp; ret; call morestack; jmp entry` behind a check.
    fn with_body(check: &[u8]) -> Vec<u8> {
        let mut code = check.to_vec();
        code.extend([0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]);
        code.extend([0xe8, 0, 0, 0x20, 0]);
        let back = -(code.len() as i8 + 2);
        code.extend([0xeb, back as u8, 0xcc, 0xcc]);
        code
    }

    #[test]
    fn a_small_frame() {
        // runtime.mapassign_fast64 of Go 1.23.9.
        let found = amd64(&with_body(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x06]));
        assert_eq!(found.check, StackCheck::Small);
        assert_eq!(found.first.address, ENTRY + 6);
        assert_eq!(found.first.mnemonic, "push");
        assert_eq!(found.first.len, 1);
        assert!(found.first.displaceable && found.complete && !found.repeats);
        assert_eq!(found.first.cost, StepCost::Emulated);
        let returns: Vec<u64> = found.returns.iter().map(|place| place.address).collect();
        assert_eq!(returns, [ENTRY + 11]);
        assert!(!found.returns[0].displaceable);
        assert!(found.tail_jumps.is_empty());
    }

    #[test]
    fn a_large_frame() {
        // lea -0x30(%rsp),%r12; cmp 0x10(%r14),%r12; jbe: runtime.mapassign of Go 1.27.3.
        let check = [
            0x4c, 0x8d, 0x64, 0x24, 0xd0, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 6, 0, 0, 0,
        ];
        let found = amd64(&with_body(&check));
        assert_eq!(found.check, StackCheck::Large);
        assert_eq!(found.first.address, ENTRY + 15);
    }

    #[test]
    fn a_huge_frame() {
        // runtime.getCPUCount of Go 1.27.3.
        let check = [
            0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0xa8, 0x1f, 0, 0, 0x0f, 0x82, 16, 0, 0, 0, 0x4d,
            0x3b, 0x66, 0x10, 0x0f, 0x86, 6, 0, 0, 0,
        ];
        let found = amd64(&with_body(&check));
        assert_eq!(found.check, StackCheck::Huge);
        assert_eq!(found.first.address, ENTRY + 26);
    }

    #[test]
    fn assembly_finds_g_first() {
        // mov %fs:-8,%rcx; cmp 0x10(%rcx),%rsp; jbe
        let check = [
            0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x61, 0x10, 0x76,
            0x06,
        ];
        let found = amd64(&with_body(&check));
        assert_eq!(found.check, StackCheck::Small);
        assert_eq!(found.first.address, ENTRY + 15);
    }

    #[test]
    fn without_a_check_it_is_the_entry() {
        let found = amd64(&[0x48, 0x89, 0xd8, 0xc3, 0xcc, 0xcc]);
        assert_eq!(found.check, StackCheck::None);
        assert_eq!(found.first.address, ENTRY);
        assert_eq!(found.first.cost, StepCost::Stepped);
        assert_eq!(found.returns.len(), 1);
        // A comparison with something else is no check.
        let found = amd64(&with_body(&[0x49, 0x3b, 0x66, 0x20, 0x76, 0x06]));
        assert_eq!(found.check, StackCheck::None);
        assert!(!found.repeats, "that jump is morestack's");
        // A loop whose head is the entry: dec %rax; jne entry; ret
        let found = amd64(&[0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3]);
        assert!(found.repeats);
    }

    #[test]
    fn a_jump_out_of_the_function() {
        let found = amd64(&[0x48, 0x83, 0xc0, 0x08, 0xe9, 0x00, 0x01, 0, 0]);
        assert_eq!(found.tail_jumps, [ENTRY + 4]);
        assert!(found.returns.is_empty());
    }

    #[test]
    fn what_may_be_displaced() {
        let of = |code: &[u8]| {
            let found = place(Arch::Amd64, ENTRY, code).unwrap();
            (found.displaceable, found.cost)
        };
        // sub $0x30,%rsp
        assert_eq!(of(&[0x48, 0x83, 0xec, 0x30]), (true, StepCost::Stepped));
        // push %r15
        assert_eq!(of(&[0x41, 0x57]), (true, StepCost::Emulated));
        // lea 0x100(%rip),%rax
        let lea = [0x48, 0x8d, 0x05, 0, 1, 0, 0];
        assert_eq!(of(&lea), (false, StepCost::Stepped));
        // call, jmp, jne, ret
        assert_eq!(of(&[0xe8, 0, 1, 0, 0]), (false, StepCost::Emulated));
        assert_eq!(of(&[0xeb, 5]), (false, StepCost::Emulated));
        let jne = [0x0f, 0x85, 0, 1, 0, 0];
        assert_eq!(of(&jne), (false, StepCost::Emulated));
        assert_eq!(of(&[0xc3]), (false, StepCost::Stepped));
        // ud2, int3, lock inc (%rax), hlt
        for refused in [&[0x0f, 0x0b][..], &[0xcc], &[0xf0, 0xff, 0x00], &[0xf4]] {
            let found = place(Arch::Amd64, ENTRY, refused).unwrap();
            assert_eq!(found.cost, StepCost::Refused, "{refused:x?}");
        }
        assert!(place(Arch::Amd64, ENTRY, &[]).is_none());
        assert!(place(Arch::Amd64, ENTRY, &[0x48]).is_none());
        assert!(place(Arch::Arm64, ENTRY, &[0, 1]).is_none());
    }

    #[test]
    fn truncated_and_foreign_bytes() {
        assert!(places(Arch::Amd64, ENTRY, &[]).is_none());
        assert!(places(Arch::Amd64, ENTRY, &[0x06]).is_none());
        assert!(places(Arch::Arm64, ENTRY, &[1, 2]).is_none());
        // The check is all there is.
        let check = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x06];
        assert!(places(Arch::Amd64, ENTRY, &check).is_none());
        let found = amd64(&[0xc3, 0x06, 0xc3]);
        assert!(!found.complete);
        assert_eq!(found.returns.len(), 1);
    }

    #[test]
    fn arm64_frames() {
        // ldr x16,[x28,#16]; cmp sp,x16; b.ls; str x30,[sp,#-48]!; ret; ..; bl; b entry
        let found = arm64(&[
            0xf940_0b90,
            0xeb30_63ff,
            0x5400_0069,
            0xf81d_0ffe,
            0xd65f_03c0,
            0xaa1e_03e3,
            0x9400_1000,
            0x17ff_fff9,
        ]);
        assert_eq!(found.check, StackCheck::Small);
        assert_eq!(found.first.address, ENTRY + 12);
        assert_eq!(found.first.mnemonic, "str");
        assert_eq!(found.first.cost, StepCost::Stepped);
        assert!(found.first.displaceable && found.complete && !found.repeats);
        assert_eq!(found.returns[0].address, ENTRY + 16);
        assert!(found.tail_jumps.is_empty());
        // ldr; sub x17,sp,#16; cmp x17,x16; b.ls; str: runtime.mapassign of Go 1.21.13.
        let found = arm64(&[
            0xf940_0b90,
            0xd100_43f1,
            0xeb10_023f,
            0x5400_2429,
            0xf817_0ffe,
        ]);
        assert_eq!(found.check, StackCheck::Large);
        assert_eq!(found.first.address, ENTRY + 16);
        // ldr; mov x27,#0x1fa8; subs x17,sp,x27; b.lo; cmp x17,x16; b.ls; sub x20,sp,#..
        let found = arm64(&[
            0xf940_0b90,
            0xd283_f51b,
            0xeb3b_63f1,
            0x5400_0263,
            0xeb10_023f,
            0x5400_0229,
            0xd108_43f4,
        ]);
        assert_eq!(found.check, StackCheck::Huge);
        assert_eq!(found.first.address, ENTRY + 24);
        assert_eq!(found.first.mnemonic, "sub");
    }

    #[test]
    fn arm64_instructions() {
        let of = |bits: u32| {
            let found = place(Arch::Arm64, ENTRY, &bits.to_le_bytes()).unwrap();
            (found.displaceable, found.cost)
        };
        let safe = (true, StepCost::Stepped);
        let emulated = (false, StepCost::Emulated);
        let refused = (false, StepCost::Refused);
        assert_eq!(of(0xd100_23fd), safe, "sub x29,sp,#8");
        assert_eq!(of(0xf940_0003), safe, "ldr x3,[x0]");
        assert_eq!(of(0xd503_201f), (true, StepCost::Emulated), "nop");
        assert_eq!(of(0xb400_22e1), emulated, "cbz");
        assert_eq!(of(0x9400_1000), emulated, "bl");
        assert_eq!(of(0xd63f_0000), emulated, "blr x0");
        assert_eq!(of(0x9000_0000), emulated, "adrp");
        assert_eq!(of(0x5800_0000), emulated, "ldr literal");
        assert_eq!(of(0xd400_0001), refused, "svc");
        assert_eq!(of(0xc85f_fc00), refused, "ldaxr");
        assert_eq!(of(0xc8df_fc00), safe, "ldar");
    }
}
