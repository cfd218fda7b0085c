//! Where a goroutine that a thread runs stands, when the thread is not on its stack: in the
//! scheduler or another function of the runtime's (`systemstack`), or in a signal handler, as all
//! threads of a program are that left a core by `GOTRACEBACK=crash`.

use super::current::GoroutineReader;
use super::goroutine::{Goroutine, ThreadRegisters};
use crate::memory::{Abi, Memory, Span, read_available};

/// Bytes of a signal stack that are looked at; the runtime's has 32 KiB (runtime/os_linux.go,
/// malg).
const SIGNAL_STACK_MAX: u64 = 256 << 10;

/// A goroutine, and what its innermost frame works with.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The goroutine; stack pointer and program counter are 0 where they are not known.
    pub goroutine: Goroutine,
    /// The registers of its innermost frame, where a thread was stopped in it.
    pub registers: Option<ThreadRegisters>,
    /// The kernel's number of the thread that runs it.
    pub thread: Option<u32>,
}

impl Standing {
    /// Where `goroutine` stands; one of [`super::goroutines`] for the same `threads`.
    #[must_use]
    pub fn of(
        reader: &GoroutineReader,
        memory: &dyn Memory,
        (abi, arch): (Abi, &str),
        goroutine: &Goroutine,
        threads: &[ThreadRegisters],
    ) -> Self {
        let mut found = Self {
            goroutine: goroutine.clone(),
            registers: None,
            thread: None,
        };
        if !goroutine.is_running() {
            return found;
        }
        let machine = reader.machine(memory, goroutine.address).ok();
        found.thread = machine.and_then(|machine| reader.thread(memory, machine));
        if let Some(index) = goroutine.registers {
            found.registers = threads.get(index).cloned();
            return found;
        }
        let inside = |sp: u64| {
            sp >= goroutine.stack.start && sp <= goroutine.stack.end() && sp.is_multiple_of(8)
        };
        let thread = threads
            .iter()
            .find(|thread| Some(thread.tid) == found.thread);
        if let Some((thread, machine)) = thread.zip(machine)
            && let Ok(stack) = reader.signal_stack(memory, machine)
            && let Some(context) = interrupted(memory, (abi, arch), stack, thread)
            && let Some(sp) = context.sp().filter(|sp| inside(*sp))
        {
            found.goroutine.sp = sp;
            found.goroutine.pc = context.pc().unwrap_or(0);
            found.goroutine.lr = context.lr().unwrap_or(0);
            // Its frame is the thread's, whatever list that is in.
            found.goroutine.registers = Some(0);
            found.registers = Some(context);
            return found;
        }
        // What systemstack and mcall leave behind is taken away when they return: sp is 0 then
        // (runtime/asm_amd64.s, asm_arm64.s).
        if let Ok(state) = reader.read(memory, goroutine.address)
            && state.resume.pc != 0
            && inside(state.resume.sp)
            && state.resume.sp != goroutine.stack.start
        {
            found.goroutine.sp = state.resume.sp;
            found.goroutine.pc = state.resume.pc;
            found.goroutine.lr = state.resume.lr;
        }
        found
    }
}

/// The registers that the first signal on the stack interrupted: what the kernel left of them
/// there (struct rt_sigframe of arch/x86/include/asm/sigframe.h and
/// arch/arm64/kernel/signal.c: a ucontext that names the signal stack itself).
fn interrupted(
    memory: &dyn Memory,
    (abi, arch): (Abi, &str),
    stack: Span,
    thread: &ThreadRegisters,
) -> Option<ThreadRegisters> {
    const AMD64: &[&str] = &[
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx",
        "rax", "rcx", "rsp", "rip",
    ];
    // Where the registers begin in a ucontext: behind flags, link, stack; on arm64 also the
    // mask, 8 bytes to align, and the address of a fault.
    let (start, count) = match arch {
        "amd64" => (40, AMD64.len()),
        "arm64" => (184, 33),
        _ => return None,
    };
    let sp = thread.sp()?;
    if !stack.contains(sp) || stack.len > SIGNAL_STACK_MAX {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(stack.end() - sp).ok()?];
    read_available(memory, sp, &mut bytes).ok()?;
    let word = |at: usize| abi.pointer_at(&bytes, at);
    let whole = start + 8 * count;
    // The last one is the first that came: the handlers of later ones stand below.
    (0..bytes.len().saturating_sub(whole))
        .rev()
        .filter(|at| (sp + *at as u64).is_multiple_of(8))
        .find_map(|at| {
            // uc_link, ss_sp, ss_size.
            let own =
                word(at + 8)? == 0 && word(at + 16)? == stack.start && word(at + 32)? == stack.len;
            if !own {
                return None;
            }
            let value = |index: usize| word(at + start + 8 * index);
            let values: Option<_> = match arch {
                "amd64" => AMD64
                    .iter()
                    .enumerate()
                    .map(|(index, name)| Some(((*name).to_owned(), value(index)?)))
                    .collect(),
                _ => (0..33)
                    .map(|index| {
                        let name = match index {
                            31 => "sp".to_owned(),
                            32 => "pc".to_owned(),
                            number => format!("x{number}"),
                        };
                        Some((name, value(index)?))
                    })
                    .collect(),
            };
            Some(ThreadRegisters {
                tid: thread.tid,
                values: values?,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    const STACK: Span = Span {
        start: 0x7000,
        len: 0x1000,
    };

    fn thread(sp: u64) -> ThreadRegisters {
        ThreadRegisters {
            tid: 7,
            values: [("rsp", sp), ("sp", sp)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    /// A stack with signal frames at these offsets, whose registers count from `100 * offset`.
    fn image(frames: &[usize], start: usize) -> Image {
        let mut bytes = vec![0; 0x1000];
        for frame in frames {
            let mut put = |at: usize, value: u64| {
                bytes[frame + at..frame + at + 8].copy_from_slice(&value.to_le_bytes());
            };
            put(16, STACK.start);
            put(32, STACK.len);
            for index in 0..33 {
                put(start + 8 * index, 100 * *frame as u64 + index as u64);
            }
        }
        let mut image = Image::new();
        image.map(STACK.start, bytes);
        image
    }

    #[test]
    fn the_first_signal_tells_what_was_interrupted() {
        let image = image(&[0x400, 0x900], 40);
        let of = |sp| interrupted(&image, (Abi::LE64, "amd64"), STACK, &thread(sp));
        let found = of(0x7100).unwrap();
        assert_eq!(found.values["r8"], 100 * 0x900);
        assert_eq!((found.sp(), found.pc()), (Some(230_415), Some(230_416)));
        assert_eq!(found.tid, 7);
        // Not in a handler, or behind its frame.
        assert!(of(0x6000).is_none() && of(0x7a00).is_none());
        assert!(interrupted(&image, (Abi::LE64, "386"), STACK, &thread(0x7100)).is_none());
    }

    #[test]
    fn arm64_has_its_own_frame() {
        let image = image(&[0x500], 184);
        let found = interrupted(&image, (Abi::LE64, "arm64"), STACK, &thread(0x7000)).unwrap();
        assert_eq!(found.values["x30"], 100 * 0x500 + 30);
        assert_eq!((found.sp(), found.pc()), (Some(128_031), Some(128_032)));
    }
}
