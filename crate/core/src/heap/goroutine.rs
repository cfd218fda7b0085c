//! Goroutines, their stacks, and the frames on them (runtime/runtime2.go: `g`, `m`;
//! runtime/traceback.go).

use std::collections::{BTreeMap, HashMap};

use super::{HeapError, WalkEnd};
use crate::binary::{Dwarf, FrameInfo, Functions, Module, Place, Record, modules};
use crate::gotype::Types;
use crate::map::Defects;
use crate::memory::{
    Abi, AddressHash, Memory, READ_MAX, RangeReader, ReadError, Span, Thread, nothing_read,
    read_available,
};

/// Goroutines that are looked at. 16 Mi of them would take 32 GiB of stack.
const GOROUTINES_MAX: u64 = 1 << 24;

/// Frames of one stack.
const FRAMES_MAX: usize = 4096;

/// Bytes of a `g` or an `m` that may be read.
const RECORD_MAX: u64 = 4096;

/// The largest stack: runtime.maxstacksize is 1 GB, and a stack doubles before it is
/// refused.
const STACK_MAX: u64 = 2 << 30;

/// Bytes of variables in which `allgs` is searched.
const SEARCH_MAX: u64 = 256 << 20;

/// Goroutines that are looked at to tell `allgs` from other slices.
const PROBES: usize = 8;

/// `_Gscan` of runtime/runtime2.go: the collector holds the stack.
const SCAN: u32 = 0x1000;

const IDLE: u32 = 0;
const RUNNING: u32 = 2;
const SYSCALL: u32 = 3;
const DEAD: u32 = 6;
const COPYSTACK: u32 = 8;
/// `_Gdeadextra`, since go1.26: waits for a thread of C's.
const DEAD_EXTRA: u32 = 11;
/// No release has as many.
pub(super) const STATUS_MAX: u32 = 16;

/// The registers of a thread, by the names that gdb has for them (`rax`, `rip`, `x0`,
/// `sp`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadRegisters {
    /// The kernel's number of the thread.
    pub tid: u32,
    /// Name and value.
    pub values: BTreeMap<String, u64>,
}

impl From<&Thread> for ThreadRegisters {
    fn from(thread: &Thread) -> Self {
        Self {
            tid: thread.tid,
            values: thread
                .registers()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }
}

impl ThreadRegisters {
    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> Option<u64> {
        self.first(["rsp", "sp"])
    }

    /// The program counter.
    #[must_use]
    pub fn pc(&self) -> Option<u64> {
        self.first(["rip", "pc"])
    }

    /// The link register of arm64, riscv64 and s390x.
    pub(super) fn lr(&self) -> Option<u64> {
        self.first(["x30", "ra", "lr"])
    }

    fn first<const N: usize>(&self, names: [&str; N]) -> Option<u64> {
        names
            .iter()
            .find_map(|name| self.values.get(*name))
            .copied()
    }

    /// The value of the register that DWARF numbers `number` on Go's architecture `arch`.
    #[must_use]
    pub fn dwarf(&self, arch: &str, number: u16) -> Option<u64> {
        if arch == "arm64" && number == 30 {
            return self.lr();
        }
        self.values.get(dwarf_register(arch, number)?).copied()
    }
}

/// gdb's name of the register that DWARF numbers `number`: by the System V ABI of
/// amd64 (figure 3.36), by Arm's "DWARF for the Arm 64-bit Architecture", by the "RISC-V DWARF
/// Specification".
#[must_use]
pub fn dwarf_register(arch: &str, number: u16) -> Option<&'static str> {
    const AMD64: &[&str] = &[
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15", "rip",
    ];
    const ARM64: &[&str] = &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "x29", "x30", "sp", "pc",
    ];
    const RISCV64: &[&str] = &[
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
        "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
        "t5", "t6",
    ];
    let names = match arch {
        "amd64" => AMD64,
        "arm64" => ARM64,
        "riscv64" => RISCV64,
        _ => return None,
    };
    names.get(usize::from(number)).copied()
}

/// One goroutine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goroutine {
    /// The `runtime.g`.
    pub address: u64,
    /// As `goroutine 1 [running]` numbers it.
    pub id: u64,
    /// `_Grunnable` and so on of runtime/runtime2.go, without `_Gscan`.
    pub status: u32,
    /// Its stack, whole.
    pub stack: Span,
    /// What lies below is not in use. The stack's lowest address where the stack pointer is not
    /// known.
    pub sp: u64,
    /// Where it goes on; 0 if that is not known.
    pub pc: u64,
    /// What its link register holds; 0 if that is not known, or there is none.
    pub lr: u64,
    /// The thread that runs it, and whose registers are those of its innermost frame:
    /// an index into the list of threads.
    pub registers: Option<usize>,
}

impl Goroutine {
    /// Whether a thread runs it: what it works with is in that thread's registers.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == RUNNING
    }

    /// The part of the stack that is in use.
    #[must_use]
    pub fn used(&self) -> Span {
        Span {
            start: self.sp,
            len: self.stack.end().saturating_sub(self.sp),
        }
    }
}

/// One frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackFrame {
    /// An instruction of the call: where the innermost frame stands, the last byte of the
    /// call instruction in the others.
    pub pc: u64,
    /// Its lowest address.
    pub sp: u64,
    /// The canonical frame address: one past its highest, where the caller's frame
    /// begins.
    pub cfa: u64,
    /// It stands in a call, which returns to the byte behind `pc`; else it stands at `pc`.
    pub in_call: bool,
}

/// Where the fields lie.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) abi: Abi,
    g: Record,
    g_len: u64,
    procid: u64,
    /// In a gobuf.
    sp: u64,
    pc: u64,
    lr: u64,
    pub(super) bp: Option<u64>,
}

const G_FIELDS: &[&str] = &[
    "stack",
    "m",
    "sched",
    "syscallsp",
    "syscallpc",
    "atomicstatus",
    "goid",
];

/// One `g` as it stands in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawG {
    pub(super) id: u64,
    pub(super) status: u32,
    lo: u64,
    hi: u64,
    m: u64,
    /// Stack pointer, program counter, link register.
    pub(super) sched: [u64; 3],
    /// Stack pointer, program counter.
    pub(super) syscall: [u64; 2],
}

impl RawG {
    pub(super) fn stack(&self) -> Option<Span> {
        let len = self.hi.checked_sub(self.lo)?;
        let sound = self.lo != 0 && len > 0 && len <= STACK_MAX && self.lo.is_multiple_of(8);
        sound.then_some(Span {
            start: self.lo,
            len,
        })
    }

    /// Whether it goes on where it left Go. So does a goroutine that was preempted in a
    /// call of C's.
    pub(super) fn in_syscall(&self) -> bool {
        self.status == SYSCALL || self.syscall[0] != 0
    }
}

impl Layout {
    pub(super) fn of(types: &Types) -> Result<Self, HeapError> {
        let binary = types.binary();
        let minor = binary.minor();
        Self::find(binary.dwarf(), (binary.abi(), binary.arch()), minor)
    }

    /// By the debug information, else by the declarations of release `minor`.
    pub(super) fn find(
        dwarf: Option<&Dwarf>,
        target: (Abi, Option<&str>),
        minor: Option<u16>,
    ) -> Result<Self, HeapError> {
        let abi = target.0;
        if abi.pointer_size != 8 {
            let reason = "goroutines are only known of 64-bit programs";
            return Err(HeapError::Unknown(reason.to_owned()));
        }
        if abi != Abi::LE64 && dwarf.is_none() {
            return Err(HeapError::Unknown(Record::UNDECLARED.to_owned()));
        }
        let record = |name: &str, fields: &[&str]| {
            let unknown = || HeapError::Unknown(format!("runtime.{name} is not known"));
            let record = Record::find(name, dwarf, target, minor).ok_or_else(unknown)?;
            let len = record.span_of(fields);
            let whole = fields.iter().all(|field| record.field(field).is_some());
            if whole && len <= RECORD_MAX {
                Ok(record)
            } else {
                Err(unknown())
            }
        };
        let g = record("g", G_FIELDS)?;
        let m = record("m", &["procid"])?;
        let gobuf = record("gobuf", &["sp", "pc", "lr"])?;
        record("stack", &["lo", "hi"])?;
        let at = |record: &Record, name: &str| record.field(name).map_or(0, |field| field.offset);
        Ok(Self {
            abi,
            g_len: g.span_of(G_FIELDS),
            g,
            procid: at(&m, "procid"),
            sp: at(&gobuf, "sp"),
            pc: at(&gobuf, "pc"),
            lr: at(&gobuf, "lr"),
            bp: gobuf.field("bp").map(|field| field.offset),
        })
    }

    /// Where `procid` lies in an `m`.
    pub(super) fn procid(&self) -> u64 {
        self.procid
    }

    /// A field of `g`.
    pub(super) fn field(&self, name: &str) -> Option<Place> {
        self.g.field(name)
    }

    /// Bytes of a `g` that hold what is decoded and the fields named; `None` beyond what
    /// may be read.
    pub(super) fn span_of(&self, names: &[&str]) -> Option<usize> {
        let len = self.g_len.max(self.g.span_of(names));
        (len <= RECORD_MAX).then_some(len as usize)
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Option<RawG> {
        let word = |name: &str, more: u64| {
            let at = self.g.field(name)?.offset.checked_add(more)?;
            self.abi.pointer_at(bytes, usize::try_from(at).ok()?)
        };
        let value = |name: &str| self.g.value(self.abi, bytes, name);
        Some(RawG {
            id: value("goid")?,
            status: value("atomicstatus")? as u32 & !SCAN,
            lo: word("stack", 0)?,
            hi: word("stack", 8)?,
            m: value("m")?,
            sched: [
                word("sched", self.sp)?,
                word("sched", self.pc)?,
                word("sched", self.lr)?,
            ],
            syscall: [value("syscallsp")?, value("syscallpc")?],
        })
    }

    fn read(&self, memory: &dyn Memory, address: u64) -> Option<RawG> {
        let mut bytes = vec![0; self.g_len as usize];
        memory.read(address, &mut bytes).ok()?;
        self.decode(&bytes)
    }

    /// Whether the pointers that begin at `start` are those of goroutines, number 1 first.
    fn are_goroutines(&self, memory: &dyn Memory, start: u64, len: u64) -> bool {
        let count = usize::try_from(len).unwrap_or(PROBES).min(PROBES);
        let mut bytes = vec![0; 8 * count];
        if memory.read(start, &mut bytes).is_err() {
            return false;
        }
        bytes.chunks_exact(8).enumerate().all(|(index, word)| {
            let address = self.abi.uint(word);
            address != 0
                && address.is_multiple_of(8)
                && self.read(memory, address).is_some_and(|g| {
                    let parked = matches!(g.status, IDLE | DEAD | DEAD_EXTRA);
                    g.status < STATUS_MAX
                        && (g.id == 1 || index > 0)
                        && (parked || g.stack().is_some())
                })
        })
    }
}

/// Address and length of `runtime.allgs`.
fn all_goroutines(
    types: &Types,
    layout: &Layout,
    memory: &dyn Memory,
) -> Result<(u64, u64), HeapError> {
    let binary = types.binary();
    let named = binary
        .symbol("runtime.allgs")
        .or_else(|| binary.dwarf()?.variable("runtime.allgs")?.address);
    if let Some(address) = named {
        let mut words = [0; 24];
        memory.read(address.wrapping_add(types.bias()), &mut words)?;
        if let Some(slice) = slice_at(layout.abi, &words) {
            return Ok(slice);
        }
    }
    let module = types
        .module()
        .map_err(|reason| HeapError::Unknown(reason.to_owned()))?;
    let mut best: Option<(u64, u64)> = None;
    // allgs holds pointers into the heap, so it is never among those without any; the
    // rest is for a linker that merges sections.
    for range in [module.bss, module.data, module.noptrbss] {
        search(layout, memory, range, &mut best)?;
        if best.is_some() {
            break;
        }
    }
    best.ok_or_else(|| HeapError::Unknown("runtime.allgs was not found".to_owned()))
}

/// A slice of pointers that can be `allgs`, by its three words.
fn slice_at(abi: Abi, words: &[u8]) -> Option<(u64, u64)> {
    let start = abi.pointer_at(words, 0)?;
    let len = abi.pointer_at(words, 8)?;
    let capacity = abi.pointer_at(words, 16)?;
    let sound = start != 0
        && start.is_multiple_of(8)
        && len > 0
        && len <= capacity
        && capacity <= GOROUTINES_MAX;
    sound.then_some((start, len))
}

/// The longest slice of goroutines in a range of variables.
fn search(
    layout: &Layout,
    memory: &dyn Memory,
    range: Span,
    best: &mut Option<(u64, u64)>,
) -> Result<(), ReadError> {
    let mut at = range.start.wrapping_add(7) & !7;
    let mut left = range.len.min(SEARCH_MAX);
    let mut buffer = Vec::new();
    while left >= 24 {
        let take = left.min(READ_MAX as u64);
        buffer.resize(take as usize, 0);
        let missing = read_available(memory, at, &mut buffer)?;
        let held = match nothing_read(&missing, take) {
            true => &[],
            false => buffer.as_slice(),
        };
        for index in (0..held.len().saturating_sub(23)).step_by(8) {
            let words = held.get(index..index + 24).unwrap_or_default();
            let Some((start, len)) = slice_at(layout.abi, words) else {
                continue;
            };
            let longer = best.is_none_or(|(_, known)| len > known);
            if longer && layout.are_goroutines(memory, start, len) {
                *best = Some((start, len));
            }
        }
        if take == left {
            break;
        }
        // The last two words once more: a slice may begin there.
        at = at.wrapping_add(take - 16);
        left -= take - 16;
    }
    Ok(())
}

/// All goroutines with a stack, by their place in `runtime.allgs`. The stack of a running
/// one is known where `threads` has its thread, and that stands on the goroutine's stack:
/// not on a stack of the runtime's, as in a signal handler.
///
/// # Errors
/// When the runtime's structures are not known, or their list is unreadable.
pub fn goroutines(
    types: &Types,
    memory: &dyn Memory,
    threads: &[ThreadRegisters],
) -> Result<(Vec<Goroutine>, Defects), HeapError> {
    let layout = Layout::of(types)?;
    let (start, len) = all_goroutines(types, &layout, memory)?;
    let addresses = addresses(&layout, memory, start, len)?;
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_unstable_by_key(|index| addresses.get(*index));
    order.dedup_by_key(|index| addresses.get(*index));
    let ranges: Vec<Span> = order
        .iter()
        .filter_map(|index| addresses.get(*index))
        .map(|address| Span {
            start: *address,
            len: layout.g_len,
        })
        .collect();
    let by_tid: HashMap<u32, usize> = threads
        .iter()
        .enumerate()
        .rev()
        .map(|(index, thread)| (thread.tid, index))
        .collect();
    let mut found: Vec<(usize, Goroutine)> = Vec::new();
    let mut defects = Defects::default();
    let mut tids: HashMap<u64, Option<u32>, AddressHash> = HashMap::default();
    RangeReader::default().read(memory, &ranges, &mut |chunk| {
        let place = order.get(chunk.index).copied().unwrap_or(0);
        let address = addresses.get(place).copied().unwrap_or(0);
        let Some(raw) = chunk.bytes.and_then(|bytes| layout.decode(bytes)) else {
            defects.push(
                "goroutine-unreadable",
                address,
                "a readable goroutine",
                "unreadable memory",
                "its stack",
            );
            return Ok(());
        };
        if matches!(raw.status, IDLE | DEAD | DEAD_EXTRA) {
            return Ok(());
        }
        let Some(stack) = raw.stack().filter(|_| raw.status < STATUS_MAX) else {
            defects.push(
                "goroutine-impossible",
                address,
                "a goroutine with a stack",
                format!("status {}, {:#x}..{:#x}", raw.status, raw.lo, raw.hi),
                "its stack",
            );
            return Ok(());
        };
        let mut goroutine = Goroutine {
            address,
            id: raw.id,
            status: raw.status,
            stack,
            sp: stack.start,
            pc: 0,
            lr: 0,
            registers: None,
        };
        // A goroutine may stand at the very top, with nothing on its stack.
        let inside = |sp: u64| sp >= raw.lo && sp <= raw.hi && sp.is_multiple_of(8);
        if raw.status == RUNNING {
            let tid = *tids.entry(raw.m).or_insert_with(|| {
                let at = raw.m.checked_add(layout.procid).filter(|_| raw.m != 0)?;
                match layout.abi.read_uint(memory, at, 8) {
                    Ok(tid) => u32::try_from(tid).ok(),
                    Err(_) => {
                        defects.push(
                            "goroutine-unreadable",
                            address,
                            "the thread that runs it",
                            format!("cannot read {at:#x}"),
                            "what its variables lead to",
                        );
                        None
                    }
                }
            });
            let thread = tid.and_then(|tid| {
                let index = *by_tid.get(&tid)?;
                Some((index, threads.get(index)?))
            });
            if let Some((index, thread)) = thread
                && let Some(sp) = thread.sp().filter(|sp| inside(*sp))
            {
                goroutine.sp = sp;
                goroutine.pc = thread.pc().unwrap_or(0);
                goroutine.lr = thread.lr().unwrap_or(0);
                goroutine.registers = Some(index);
            }
        } else {
            let [sp, pc, lr] = if raw.in_syscall() {
                [raw.syscall[0], raw.syscall[1], 0]
            } else {
                raw.sched
            };
            if inside(sp) {
                goroutine.sp = sp;
                goroutine.pc = pc;
                goroutine.lr = lr;
            } else if raw.status != COPYSTACK {
                defects.push(
                    "goroutine-astray",
                    address,
                    format!("a stack pointer in {stack}"),
                    format!("{sp:#x}"),
                    "",
                );
            }
        }
        found.push((place, goroutine));
        Ok(())
    })?;
    found.sort_unstable_by_key(|(place, _)| *place);
    let all = found.into_iter().map(|(_, goroutine)| goroutine).collect();
    Ok((all, defects))
}

fn addresses(
    layout: &Layout,
    memory: &dyn Memory,
    start: u64,
    len: u64,
) -> Result<Vec<u64>, ReadError> {
    let mut addresses = Vec::new();
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < len.min(GOROUTINES_MAX) {
        let take = (len - done).min(READ_MAX as u64 / 8);
        buffer.resize(take as usize * 8, 0);
        memory.read(start.wrapping_add(8 * done), &mut buffer)?;
        addresses.extend(
            buffer
                .chunks_exact(8)
                .map(|word| layout.abi.uint(word))
                .filter(|address| *address != 0),
        );
        done += take;
        memory.checkpoint(0, 0)?;
    }
    Ok(addresses)
}

/// The functions of the process whose types are `types`, its plugins included.
///
/// # Errors
/// When the runtime's module table was not found.
pub fn functions(types: &Types, memory: &dyn Memory) -> Result<Functions, HeapError> {
    let first = types
        .module()
        .map_err(|reason| HeapError::Unknown(reason.to_owned()))?;
    let binary = types.binary();
    let all: Vec<Module> = modules(binary, memory, *first);
    Ok(Functions::new(binary.abi(), binary.arch(), &all))
}

/// The frames of a goroutine, innermost first, by the tables of stack depths
/// (runtime/traceback.go, unwinder). The walk ends where the stack does, and where these do not
/// lead on; it is empty where the goroutine's pc is not known.
#[must_use]
pub fn stack_frames(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &Goroutine,
) -> Vec<StackFrame> {
    stack_walk(functions, memory, goroutine).0
}

/// The same, and where it ended.
#[must_use]
pub fn stack_walk(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &Goroutine,
) -> (Vec<StackFrame>, WalkEnd) {
    walk(functions, memory, goroutine, FRAMES_MAX)
}

/// The same, so many at most.
pub(super) fn innermost_frames(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &Goroutine,
    most: usize,
) -> Vec<StackFrame> {
    walk(functions, memory, goroutine, most).0
}

fn walk(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &Goroutine,
    most: usize,
) -> (Vec<StackFrame>, WalkEnd) {
    let abi = functions.abi();
    let uses_lr = functions.link_register();
    let word = u64::from(abi.pointer_size);
    let mut frames: Vec<StackFrame> = Vec::new();
    let (mut pc, mut sp) = (goroutine.pc, goroutine.sp);
    let mut lr = if uses_lr { goroutine.lr } else { 0 };
    let mut exact = true;
    let mut reached = WalkEnd::Lost;
    while pc != 0 {
        if frames.len() >= most.min(FRAMES_MAX) {
            reached = WalkEnd::Depth;
            break;
        }
        let innermost = frames.is_empty();
        let at = if exact { pc } else { pc - 1 };
        let Some(function) = functions.frame_info(memory, at) else {
            break;
        };
        let Some(size) = function.size else { break };
        let pushed = if uses_lr { 0 } else { word };
        let end = sp.checked_add(size).and_then(|end| end.checked_add(pushed));
        let Some(cfa) = end.filter(|end| *end <= goroutine.stack.end()) else {
            break;
        };
        frames.push(StackFrame {
            pc: at,
            sp,
            cfa,
            in_call: !exact,
        });
        // Parked goroutines did not get as far as to write SP; where a thread's registers
        // were taken, or in the middle of a stack, that is not known.
        let parked = innermost && goroutine.registers.is_none();
        if function.top {
            reached = WalkEnd::Stack;
            break;
        }
        if function.writes_sp && !parked {
            break;
        }
        let slot = if !uses_lr {
            cfa.checked_sub(word)
        } else if innermost && sp < cfa || lr == 0 {
            Some(sp)
        } else {
            None
        };
        if let Some(slot) = slot {
            match abi.read_pointer(memory, slot) {
                Ok(value) => lr = value,
                Err(_) => break,
            }
        }
        // Frames without a size would go on for ever.
        if cfa == sp && pc == lr {
            break;
        }
        (pc, sp, lr) = (lr, cfa, 0);
        exact = function.injected;
        if uses_lr && function.injected {
            // The signal handler keeps the link register on the stack before it fakes
            // the call: alignUp(MinFrameSize, StackAlign) bytes.
            let Ok(kept) = abi.read_pointer(memory, sp) else {
                break;
            };
            let Some(above) = sp.checked_add(16) else {
                break;
            };
            sp = above;
            match functions.frame_info(memory, pc) {
                None => pc = kept,
                Some(FrameInfo { size: Some(0), .. }) => lr = kept,
                Some(_) => {}
            }
        }
    }
    (frames, reached)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::memory::Image;

    pub(in crate::heap) fn module(base: u64) -> Module {
        let span = |offset: u64, len: u64| Span {
            start: base + offset,
            len,
        };
        Module {
            address: base,
            pc_header: base,
            function_names: span(0x100, 0x100),
            file_index: span(0x200, 0x40),
            file_names: span(0x240, 0x80),
            pc_tables: span(0x300, 0x200),
            functions: span(0x500, 0x300),
            function_index: span(0x800, 8 * 5),
            text: span(0x1000, 0x400),
            function_data: base + 0xa00,
            types: span(0, 0),
            data: span(0, 0),
            bss: span(0, 0),
            noptrdata: span(0, 0),
            noptrbss: span(0, 0),
            data_mask: (0, 0),
            bss_mask: (0, 0),
            next: 0,
        }
    }

    /// Four functions of 0x100 bytes: `f`, of 0x18 bytes of stack from its fourth byte on,
    /// `g`, of none, `top`, where stacks end, and `bad`, whose table ends at once.
    pub(in crate::heap) fn tables() -> Image {
        let mut bytes = vec![0; 0x2000];
        let mut put = |at: usize, data: &[u8]| bytes[at..at + data.len()].copy_from_slice(data);
        put(6, &[1, 8]);
        put(0x101, b"main.f\0main.g\0runtime.goexit\0main.bad\0");
        put(0x240, b"\0a.go\0");
        put(0x200, &1_u32.to_le_bytes());
        // -1 + 1 for 4 bytes, then + 0x18 for the rest; -1 + 1 throughout; file 0, line 7.
        put(0x301, &[2, 4, 0x30, 0xfc, 1, 0]);
        put(0x311, &[2, 0x80, 2, 0]);
        put(0x321, &[16, 0x80, 2, 0]);
        put(0x331, &[2, 1, 0]);
        for (index, (name, stack)) in [(1, 0x01), (8, 0x11), (15, 0x11), (30, 0x31)]
            .into_iter()
            .enumerate()
        {
            let entry = 0x100 * index as u32;
            let at = 0x40 * index as u32;
            put(0x800 + 8 * index, &entry.to_le_bytes());
            put(0x804 + 8 * index, &at.to_le_bytes());
            let record = 0x500 + at as usize;
            for (field, value) in [
                (0, entry),
                (4, name),
                (16, stack),
                (20, 0x11),
                (24, 0x21),
                (28, 0),
                (32, 0),
            ] {
                put(record + field, &u32::to_le_bytes(value));
            }
            put(record + 41, &[u8::from(index == 2)]);
        }
        put(0x820, &0x400_u32.to_le_bytes());
        let mut image = Image::new();
        image.map(0x10000, bytes);
        image
    }

    fn parked(sp: u64, pc: u64) -> Goroutine {
        Goroutine {
            address: 0x100,
            id: 1,
            status: 4,
            stack: Span {
                start: 0x80000,
                len: 0x1000,
            },
            sp,
            pc,
            lr: 0,
            registers: None,
        }
    }

    pub(in crate::heap) fn stack(words: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(0x1000, 0);
        bytes
    }

    #[test]
    fn frames_follow_the_tables() {
        let mut image = tables();
        let functions = Functions::new(Abi::LE64, Some("amd64"), &[module(0x10000)]);
        let (f, g, top) = (0x11000, 0x11100, 0x11201);
        // f with its frame, called by g, called by f's first instruction, called at the top.
        image.map(0x80000, stack(&[1, 2, 3, g + 9, f + 2, top, 99]));
        let frames = stack_frames(&functions, &image, &parked(0x80000, f + 0x10));
        let expected = [
            (f + 0x10, 0x80000, 0x80020),
            (g + 8, 0x80020, 0x80028),
            (f + 1, 0x80028, 0x80030),
            (top - 1, 0x80030, 0x80038),
        ];
        let found: Vec<_> = frames.iter().map(|f| (f.pc, f.sp, f.cfa)).collect();
        assert_eq!(found, expected);
        assert_eq!(functions.frame_size(&image, f + 3), Some(0));
        assert_eq!(functions.frame_size(&image, f + 4), Some(0x18));
        assert_eq!(functions.frame_size(&image, 0x11380), None);
        assert_eq!(
            functions.frames_of_pc(&image, g),
            [crate::binary::SourceFrame {
                function: "main.g".into(),
                file: "a.go".into(),
                line: 7,
            }]
        );
    }

    #[test]
    fn link_registers_are_followed() {
        let mut image = tables();
        let functions = Functions::new(Abi::LE64, Some("arm64"), &[module(0x10000)]);
        let (f, g, top) = (0x11000, 0x11100, 0x11201);
        image.map(0x80000, stack(&[f + 0x20, 2, 3, top, 5, 6]));
        // g has no frame: its caller is in the register; f's is where its frame begins.
        let mut goroutine = parked(0x80000, g + 4);
        goroutine.lr = f + 0x21;
        let frames = stack_frames(&functions, &image, &goroutine);
        let found: Vec<_> = frames.iter().map(|f| (f.pc, f.sp, f.cfa)).collect();
        let below = (f + 0x20, 0x80000, 0x80018);
        assert_eq!(found.first(), Some(&(g + 4, 0x80000, 0x80000)));
        assert_eq!(found.get(1), Some(&below));
    }

    #[test]
    fn garbage_ends_a_walk() {
        for seed in 0..200_u64 {
            let mut image = tables();
            let mut next = seed;
            let mut random = || {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                next >> 33
            };
            for _ in 0..64 {
                let at = 0x10000 + random() % 0xa00;
                image.poke(at, &[random() as u8]);
            }
            let words: Vec<u64> = (0..512).map(|_| 0x11000 + random() % 0x400).collect();
            image.map(0x80000, stack(&words));
            for arch in ["amd64", "arm64"] {
                let functions = Functions::new(Abi::LE64, Some(arch), &[module(0x10000)]);
                for pc in (0x11000..0x11400).step_by(0x31) {
                    let frames = stack_frames(&functions, &image, &parked(0x80000, pc));
                    assert!(frames.len() <= FRAMES_MAX);
                    assert!(functions.frames_of_pc(&image, pc).len() <= 256);
                }
                let astray = Goroutine {
                    stack: Span {
                        start: u64::MAX - 16,
                        len: u64::MAX,
                    },
                    ..parked(u64::MAX - 8, 0x11010)
                };
                assert!(stack_frames(&functions, &image, &astray).len() < 2);
            }
        }
    }

    #[test]
    fn registers_have_dwarf_numbers() {
        let mut thread = ThreadRegisters::default();
        for (name, value) in [("rax", 1), ("rdx", 2), ("rsp", 7), ("r15", 15), ("rip", 16)] {
            thread.values.insert(name.into(), value);
        }
        let number = |number| thread.dwarf("amd64", number);
        assert_eq!(
            [0, 1, 7, 15].map(number),
            [Some(1), Some(2), Some(7), Some(15)]
        );
        assert_eq!((thread.sp(), thread.pc()), (Some(7), Some(16)));
        assert_eq!(number(17), None);
        assert_eq!(dwarf_register("arm64", 31), Some("sp"));
        assert_eq!(thread.dwarf("arm64", 30), None);
    }
}
