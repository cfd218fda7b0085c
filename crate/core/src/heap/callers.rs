//! Who called: the return addresses on a stack, for those who look at many stacks, and
//! what they mean in the source.
//!
//! Frame pointers are followed first (runtime/tracestack.go, `fpTracebackPCs`). They are right where
//! every function on the stack called the next one, and saved its caller's frame pointer:
//! the compiler sees to that, the runtime's assembly not always. They pass over callers
//! where a frame was interrupted instead: a fault (`runtime.sigpanic`) or a preemption may hit
//! a function before it saved the frame pointer. Such stacks, and those whose pointers lead
//! astray, are walked by the tables of frame sizes ([`super::stack_frames`]), which are exact at
//! each instruction. Either way the stack is read in one or two pieces, and what the tables
//! say of an address is kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::current::{GoroutineState, StackRegisters};
use super::goroutine::innermost_frames;
use crate::binary::{Functions, SourceFrame};
use crate::memory::{AddressHash, Memory, ReadError, Span};

/// Callers of one stack that are returned.
pub const CALLERS_MAX: usize = 4000;

/// Bytes of a stack that are read first. Most goroutines use less.
const FIRST_READ: u64 = 8 << 10;

/// Bytes that are read in one piece when those do not do.
const SECOND_READ: u64 = 256 << 10;

/// Addresses whose meaning is kept.
const KEPT_MAX: usize = 1 << 16;

/// How callers were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By frame pointers.
    FramePointers,
    /// By the tables of frame sizes.
    FrameSizes,
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkEnd {
    /// Where the stack does.
    Stack,
    /// After as many callers as were wanted.
    Depth,
    /// Where nothing told the next caller: the last ones are missing.
    Lost,
}

/// Who called, innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callers {
    /// Return addresses. Where a function was interrupted instead of calling, the address
    /// is one more than that of the instruction, as `runtime.Callers` has it: all of
    /// them are looked up one less ([`Symbols::of_return`]).
    pub returns: Vec<u64>,
    /// How they were found.
    pub way: Way,
    /// What is behind the last of them.
    pub end: WalkEnd,
}

/// The callers of the function that stands at `at` on the goroutine's stack, `depth` of them
/// at most. `running`: a thread stands there; else the goroutine is parked.
///
/// Never fails: what is unreadable ends the walk, and [`Callers::end`] says so.
#[must_use]
pub fn callers(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &GoroutineState,
    at: StackRegisters,
    running: bool,
    depth: usize,
) -> Callers {
    let depth = depth.min(CALLERS_MAX);
    let window = StackWindow::new(memory, goroutine.stack, at.sp);
    if !functions.frame_pointers() {
        return by_frame_sizes(functions, &window, goroutine, at, running, depth);
    }
    let quick = by_frame_pointers(functions, &window, goroutine.stack, at, depth);
    if quick.end != WalkEnd::Lost {
        return quick;
    }
    let exact = by_frame_sizes(functions, &window, goroutine, at, running, depth);
    // Where both are lost, the one that came further is of more use.
    if exact.end == WalkEnd::Lost && exact.returns.len() < quick.returns.len() {
        return quick;
    }
    exact
}

/// The same by frame pointers alone. It gives up, with [`WalkEnd::Lost`], where they lead
/// outside of the stack or its order, where an address is not one of Go code, and
/// where a function was interrupted.
#[must_use]
pub fn callers_by_frame_pointers(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &GoroutineState,
    at: StackRegisters,
    depth: usize,
) -> Callers {
    let window = StackWindow::new(memory, goroutine.stack, at.sp);
    let depth = depth.min(CALLERS_MAX);
    by_frame_pointers(functions, &window, goroutine.stack, at, depth)
}

/// The same by the tables of frame sizes alone.
#[must_use]
pub fn callers_by_frame_sizes(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &GoroutineState,
    at: StackRegisters,
    running: bool,
    depth: usize,
) -> Callers {
    let window = StackWindow::new(memory, goroutine.stack, at.sp);
    let depth = depth.min(CALLERS_MAX);
    by_frame_sizes(functions, &window, goroutine, at, running, depth)
}

fn by_frame_sizes(
    functions: &Functions,
    memory: &dyn Memory,
    goroutine: &GoroutineState,
    at: StackRegisters,
    running: bool,
    depth: usize,
) -> Callers {
    let standing = goroutine.at(at, running);
    let frames = innermost_frames(functions, memory, &standing, depth + 1);
    let top = frames
        .last()
        .and_then(|frame| functions.frame_info(memory, frame.pc));
    Callers {
        end: match top {
            _ if frames.len() > depth => WalkEnd::Depth,
            Some(info) if info.top => WalkEnd::Stack,
            _ => WalkEnd::Lost,
        },
        returns: frames
            .iter()
            .skip(1)
            .map(|frame| frame.pc.wrapping_add(1))
            .collect(),
        way: Way::FrameSizes,
    }
}

fn by_frame_pointers(
    functions: &Functions,
    memory: &dyn Memory,
    stack: Span,
    at: StackRegisters,
    depth: usize,
) -> Callers {
    let mut found = Callers {
        returns: Vec::new(),
        way: Way::FramePointers,
        end: WalkEnd::Lost,
    };
    let Some((first, mut fp, mut low)) = innermost(functions, memory, at) else {
        return found;
    };
    let mut next = Some(first);
    while let Some(pc) = next {
        let Some(info) = functions.frame_info(memory, pc.wrapping_sub(1)) else {
            return found;
        };
        if info.injected {
            return found;
        }
        if found.returns.len() >= depth {
            found.end = WalkEnd::Depth;
            return found;
        }
        found.returns.push(pc);
        if info.top {
            found.end = WalkEnd::Stack;
            return found;
        }
        let inside = fp >= low
            && fp >= stack.start
            && fp.is_multiple_of(8)
            && fp.checked_add(16).is_some_and(|end| end <= stack.end());
        if !inside {
            return found;
        }
        let abi = functions.abi();
        let word = |at: u64| abi.read_pointer(memory, at).ok();
        // Frames lie one above the other: each takes two words at least.
        low = fp + 16;
        next = word(fp + 8);
        match word(fp) {
            Some(saved) => fp = saved,
            None => return found,
        }
    }
    found
}

/// The address that the innermost function returns to, the frame pointer that its caller
/// had, and the lowest value which that may have.
///
/// The table of frame sizes says how far the stack pointer has moved at this very
/// instruction. Nothing was pushed before a function's prologue and behind its epilogue: the
/// return address is where the stack pointer points on amd64, in the link register on
/// arm64, and the frame pointer is the caller's. In between it was saved below the return
/// address (on arm64, below the frame), and the register may be its own or still the caller's.
fn innermost(
    functions: &Functions,
    memory: &dyn Memory,
    at: StackRegisters,
) -> Option<(u64, u64, u64)> {
    let info = functions.frame_info(memory, at.pc)?;
    if info.injected || info.writes_sp {
        return None;
    }
    let size = info.size?;
    let abi = functions.abi();
    let word = |at: u64| abi.read_pointer(memory, at).ok();
    if functions.link_register() {
        // A frame record begins a word below the frame, so the caller's begins there too.
        let low = at.sp.checked_add(size)?.saturating_sub(8);
        if size == 0 {
            return Some((at.lr, at.fp, low));
        }
        let own = at.sp.checked_sub(8)?;
        let fp = if at.fp == own { word(own)? } else { at.fp };
        return Some((word(at.sp)?, fp, low));
    }
    let slot = at.sp.checked_add(size)?;
    let low = slot.checked_add(8)?;
    let own = slot.checked_sub(8)?;
    let fp = if size > 0 && at.fp == own {
        word(own)?
    } else {
        at.fp
    };
    Some((word(slot)?, fp, low))
}

/// A stack's memory, read in one or two pieces.
struct StackWindow<'a> {
    memory: &'a dyn Memory,
    /// What is used of the stack.
    used: Span,
    held: RefCell<Held>,
}

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes that the next attempt reads; 0: none is made any more.
    next: u64,
}

impl<'a> StackWindow<'a> {
    fn new(memory: &'a dyn Memory, stack: Span, sp: u64) -> Self {
        // The word below the stack pointer holds the frame pointer on arm64.
        let start = sp.saturating_sub(16).max(stack.start);
        Self {
            memory,
            used: Span {
                start,
                len: stack.end().saturating_sub(start),
            },
            held: RefCell::new(Held {
                bytes: Vec::new(),
                next: FIRST_READ,
            }),
        }
    }
}

impl Memory for StackWindow<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let len = buffer.len() as u64;
        let inside = address
            .checked_sub(self.used.start)
            .filter(|from| from.saturating_add(len) <= self.used.len);
        let Some(from) = inside else {
            return self.memory.read(address, buffer);
        };
        let mut held = self.held.borrow_mut();
        loop {
            let kept = usize::try_from(from).ok();
            if let Some(bytes) = kept.and_then(|from| held.bytes.get(from..from + buffer.len())) {
                buffer.copy_from_slice(bytes);
                return Ok(());
            }
            let want = held.next.min(self.used.len);
            held.next = match held.next {
                FIRST_READ => SECOND_READ,
                _ => 0,
            };
            if want <= held.bytes.len() as u64 {
                break;
            }
            let mut bytes = vec![0; want as usize];
            match self.memory.read(self.used.start, &mut bytes) {
                Ok(()) => held.bytes = bytes,
                Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
                // A core may lack part of it.
                Err(ReadError::Fault { .. }) => break,
            }
        }
        drop(held);
        self.memory.read(address, buffer)
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.memory.checkpoint(done, total)
    }
}

/// What an address means in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Function, file and line. The names are text of the target: not safe to print.
    pub frame: SourceFrame,
    /// The call was inlined into the one that follows.
    pub inlined: bool,
}

impl Symbol {
    /// Whether the compiler made the function, to convert a receiver or a calling
    /// convention. Go's own tracebacks leave such frames out.
    #[must_use]
    pub fn is_wrapper(&self) -> bool {
        self.frame.file == "<autogenerated>"
    }
}

/// The functions of a process, with what was looked up before. It outlives a stop: code
/// does not change while the process runs. After a plugin was loaded, or another program
/// was executed, it is made anew.
#[derive(Debug)]
pub struct Symbols {
    functions: Functions,
    kept: RefCell<HashMap<u64, Rc<[Symbol]>, AddressHash>>,
}

impl Symbols {
    /// For these functions ([`super::functions`]).
    #[must_use]
    pub fn new(functions: Functions) -> Self {
        Self {
            functions,
            kept: RefCell::default(),
        }
    }

    /// The functions.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The calls that the instruction at `pc` belongs to, innermost first; all but the last
    /// are inlined. Empty where there is no function of Go's, or its tables are
    /// unreadable.
    #[must_use]
    pub fn at(&self, memory: &dyn Memory, pc: u64) -> Rc<[Symbol]> {
        if let Some(known) = self.kept.borrow().get(&pc) {
            return Rc::clone(known);
        }
        let frames = self.functions.frames_of_pc(memory, pc);
        let last = frames.len().saturating_sub(1);
        let found: Rc<[Symbol]> = frames
            .into_iter()
            .enumerate()
            .map(|(index, frame)| Symbol {
                frame,
                inlined: index < last,
            })
            .collect();
        // What is unreadable now may be readable at the next stop.
        if !found.is_empty() {
            let mut kept = self.kept.borrow_mut();
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            kept.insert(pc, Rc::clone(&found));
        }
        found
    }

    /// The calls that return to `pc`: those of the instruction before it.
    #[must_use]
    pub fn of_return(&self, memory: &dyn Memory, pc: u64) -> Rc<[Symbol]> {
        self.at(memory, pc.wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::goroutine::tests::{module, stack, tables};
    use super::*;
    use crate::memory::{Abi, Image};

    const F: u64 = 0x11000;
    const G: u64 = 0x11100;
    const TOP: u64 = 0x11201;

    fn goroutine() -> GoroutineState {
        GoroutineState {
            address: 0x100,
            id: 1,
            status: 2,
            stack: Span {
                start: 0x80000,
                len: 0x1000,
            },
            resume: StackRegisters::default(),
            labels: 0,
        }
    }

    fn functions(arch: &str) -> Functions {
        Functions::new(Abi::LE64, Some(arch), &[module(0x10000)])
    }

    fn at(pc: u64, sp: u64, fp: u64, lr: u64) -> StackRegisters {
        StackRegisters { pc, sp, fp, lr }
    }

    #[test]
    fn frame_pointers_lead_from_each_instruction() {
        let mut image = tables();
        let functions = functions("amd64");
        image.map(0x80000, stack(&[1, 2, 0x80030, F + 0x21, 5, 6, 0, TOP]));
        for stop in [
            // Before anything is pushed, with the caller's frame pointer still, with its own.
            at(F, 0x80018, 0x80030, 0),
            at(F + 0x10, 0x80000, 0x80030, 0),
            at(F + 0x10, 0x80000, 0x80010, 0),
        ] {
            let by =
                |depth| callers_by_frame_pointers(&functions, &image, &goroutine(), stop, depth);
            assert_eq!(by(9).returns, [F + 0x21, TOP], "{stop:x?}");
            assert_eq!(by(9).end, WalkEnd::Stack);
            assert_eq!((by(1).returns.len(), by(1).end), (1, WalkEnd::Depth));
            let exact = callers_by_frame_sizes(&functions, &image, &goroutine(), stop, true, 9);
            assert_eq!(exact.returns, [F + 0x21, TOP]);
            assert_eq!(exact.end, WalkEnd::Stack);
            let best = callers(&functions, &image, &goroutine(), stop, true, 9);
            assert_eq!(best.way, Way::FramePointers);
        }
    }

    #[test]
    fn frame_pointers_lead_on_where_calls_use_the_link_register() {
        let mut image = tables();
        let functions = functions("arm64");
        // A saved frame pointer, the return address; both again a frame above.
        image.map(0x80000, stack(&[0, 0x80020, F + 0x21, 3, 0, TOP, 0]));
        for stop in [
            at(F, 0x80028, 0x80020, F + 0x21),
            at(F + 0x10, 0x80010, 0x80020, 0),
            at(F + 0x10, 0x80010, 0x80008, 0),
        ] {
            let found = callers_by_frame_pointers(&functions, &image, &goroutine(), stop, 9);
            assert_eq!(found.returns, [F + 0x21, TOP], "{stop:x?}");
            assert_eq!(found.end, WalkEnd::Stack);
        }
    }

    #[test]
    fn frame_sizes_lead_on_where_frame_pointers_do_not() {
        let functions = functions("amd64");
        let good = [1, 2, 0x80030, F + 0x21, 5, 6, 0, TOP];
        for astray in [0, 8, 0x80031, 0x80008, 0x80ff8, u64::MAX, u64::MAX - 7] {
            let mut image = tables();
            let mut words = good;
            words[2] = astray;
            image.map(0x80000, stack(&words));
            let stop = at(F + 0x10, 0x80000, 0x80010, 0);
            let quick = callers_by_frame_pointers(&functions, &image, &goroutine(), stop, 9);
            assert_eq!((quick.returns.len(), quick.end), (1, WalkEnd::Lost));
            let found = callers(&functions, &image, &goroutine(), stop, true, 9);
            assert_eq!(found.returns, [F + 0x21, TOP], "{astray:#x}");
            assert_eq!((found.way, found.end), (Way::FrameSizes, WalkEnd::Stack));
        }
        // Outside of Go code there is nothing to follow.
        let mut image = tables();
        image.map(0x80000, stack(&good));
        let outside = at(0x500, 0x80000, 0x80010, 0);
        let found = callers(&functions, &image, &goroutine(), outside, true, 9);
        assert_eq!((found.returns.len(), found.end), (0, WalkEnd::Lost));
    }

    #[test]
    fn loops_and_garbage_end() {
        for seed in 0..300_u64 {
            let mut image = tables();
            let mut next = seed;
            let mut random = || {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                next >> 33
            };
            let words: Vec<u64> = (0..512)
                .map(|_| match random() % 2 {
                    0 => 0x11000 + random() % 0x400,
                    _ => 0x80000 + random() % 0x1010,
                })
                .collect();
            image.map(0x80000, stack(&words));
            for arch in ["amd64", "arm64"] {
                let functions = functions(arch);
                for sp in [0, 0x7fff8, 0x80000, 0x80801, 0x80ff8, 0x81000, u64::MAX] {
                    let stop = at(
                        0x11000 + random() % 0x400,
                        sp,
                        0x80000 + random() % 0x1010,
                        G,
                    );
                    let found = callers(&functions, &image, &goroutine(), stop, true, 99_999);
                    assert!(found.returns.len() <= CALLERS_MAX);
                }
            }
        }
    }

    /// Counts reads.
    struct Counting<'a>(&'a Image, std::cell::Cell<usize>);

    impl Memory for Counting<'_> {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
            if (0x80000..0x100_0000).contains(&address) {
                self.1.set(self.1.get() + 1);
            }
            self.0.read(address, buffer)
        }
    }

    #[test]
    fn a_stack_is_read_in_two_pieces() {
        let mut image = tables();
        let functions = functions("amd64");
        // 2000 frames of 32 bytes: each saves the next one's frame pointer.
        let mut words = Vec::new();
        for index in 1..2000_u64 {
            words.extend([0, 0, 0x80010 + 0x20 * index, F + 0x21]);
        }
        words.extend([0, 0, 0, TOP]);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut deep = goroutine();
        deep.stack.len = bytes.len() as u64;
        image.map(0x80000, bytes);
        let memory = Counting(&image, std::cell::Cell::new(0));
        let stop = at(F + 0x10, 0x80000, 0x80010, 0);
        let found = callers(&functions, &memory, &deep, stop, true, CALLERS_MAX);
        assert_eq!((found.returns.len(), found.end), (2000, WalkEnd::Stack));
        assert_eq!(memory.1.get(), 2);
    }

    #[test]
    fn symbols_are_kept() {
        let image = tables();
        let symbols = Symbols::new(functions("amd64"));
        let found = symbols.of_return(&image, G + 1);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].frame.function, "main.g");
        assert!(!found[0].inlined && !found[0].is_wrapper());
        assert!(Rc::ptr_eq(&found, &symbols.at(&image, G)));
        assert!(symbols.at(&image, 0x500).is_empty());
        assert!(symbols.of_return(&image, 0).is_empty());
    }
}
