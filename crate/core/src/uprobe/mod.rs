//! Probes that Linux itself serves: a program runs on, and every passage of an instruction leaves
//! a record with the registers and the memory that was asked for. No debugger stops it.
//!
//! The kernel's interface is tracefs (Documentation/trace/uprobetracer.rst): files that take text
//! and rings that give binary pages. A [`Session`] has an instance of its own, so it shares no
//! buffer, clock or filter with other users of tracing, and takes everything back at its end.
//!
//! A hit costs the program about 1.1 us if the kernel can emulate the instruction under the probe
//! (`push`) and 10 us if it has to step over it (`mov`, `sub`, `ret`), see
//! [`StepCost`](crate::binary::prologue::StepCost); measured on a virtual machine with Linux 6.18
//! and idle CPUs, and twice that on busy ones. A hit that the kernel's filter drops costs as much
//! as one without values. To read a ring takes some 0.1 us a hit.
//!
//! A probe stands in the file: every process that runs it is slowed down, and only hits of the
//! target are recorded. In memory a probed instruction looks like a breakpoint's, so places are
//! found in the executable's file, not in the process. A debugger may be attached, with
//! breakpoints elsewhere. **On a probed instruction there must be none**: it would never be
//! reported, and if the debugger removes it after the session's end it puts the kernel's
//! breakpoint back, which kills the program.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

mod page;
#[cfg(target_os = "linux")]
mod session;

#[cfg(target_os = "linux")]
pub use session::{Session, remove_leftovers};

use crate::binary::prologue::Arch;
use page::{Missed, PageFormat};

/// Why there is no session, or no more of it: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UprobeError {
    /// Not Linux.
    #[error("kernel probes need Linux; use breakpoints")]
    NotLinux,
    /// tracefs is nowhere.
    #[error(
        "the kernel's tracefs is not mounted; mount it \
         (sudo mount -t tracefs nodev /sys/kernel/tracing), or use breakpoints"
    )]
    NotMounted,
    /// The kernel has no tracing, or none of user programs.
    #[error("this kernel has no {0}; use breakpoints")]
    NotSupported(&'static str),
    /// It takes root.
    #[error("no right to {what} ({error}); run gdb as root (sudo), or use breakpoints")]
    NoRight {
        /// What was denied.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The kernel is locked down.
    #[error("the kernel is locked down ({0}) and allows no tracing; use breakpoints")]
    LockedDown(String),
    /// The executable cannot be opened.
    #[error("cannot open {path}: {error}")]
    Executable {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The process is gone.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// The process runs another file.
    #[error("process {pid} does not run {path}; name the file it runs (/proc/{pid}/exe)")]
    OtherExecutable {
        /// The process.
        pid: u32,
        /// The file that was named.
        path: String,
    },
    /// A debugger has a process of the same program: its breakpoints and the kernel's, which
    /// are in all processes of a file, would put each other back.
    #[error(
        "process {tracer} debugs process {pid}, which runs the same file: kernel probes would \
         stand in its code, too; end that, trace a copy of the program, or use breakpoints"
    )]
    Debugged {
        /// The process.
        pid: u32,
        /// Who debugs it.
        tracer: u32,
    },
    /// A probe that cannot be asked for.
    #[error("probe {name} cannot be placed: {reason}")]
    Probe {
        /// The probe.
        name: String,
        /// Why.
        reason: String,
    },
    /// The kernel took a probe, but the process does not have it.
    #[error(
        "the kernel put no probe into process {pid} at {address:#x} ({name}): its executable may \
         lie on a file system without probes; copy it to a local disk, or use breakpoints"
    )]
    NotPlaced {
        /// The process.
        pid: u32,
        /// Where the instruction is in the process.
        address: u64,
        /// The probe.
        name: String,
    },
    /// The kernel describes its records in a way that is not known.
    #[error("the kernel's trace format is not known: {0}; use breakpoints")]
    Unknown(String),
    /// A file of tracefs did not do what it is there for.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// `read`, `write`, `create`.
        what: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A register, by the kernel's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register(&'static str);

const AMD64: [(&str, &str); 17] = [
    ("rax", "ax"),
    ("rbx", "bx"),
    ("rcx", "cx"),
    ("rdx", "dx"),
    ("rsi", "si"),
    ("rdi", "di"),
    ("rbp", "bp"),
    ("rsp", "sp"),
    ("r8", "r8"),
    ("r9", "r9"),
    ("r10", "r10"),
    ("r11", "r11"),
    ("r12", "r12"),
    ("r13", "r13"),
    ("r14", "r14"),
    ("r15", "r15"),
    ("rip", "ip"),
];

const ARM64: [&str; 33] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "sp", "pc",
];

impl Register {
    /// By gdb's name or the kernel's: `rbx` or `bx`, `x0`.
    #[must_use]
    pub fn named(arch: Arch, name: &str) -> Option<Self> {
        match arch {
            Arch::Amd64 => AMD64
                .iter()
                .find(|(gdb, kernel)| *gdb == name || *kernel == name)
                .map(|(_, kernel)| Self(kernel)),
            Arch::Arm64 => ARM64
                .iter()
                .find(|kernel| **kernel == name)
                .map(|kernel| Self(kernel)),
        }
    }

    /// The one that holds the `index`-th word of a Go function's arguments
    /// (cmd/compile/abi-internal.md). A string takes two, a slice three.
    #[must_use]
    pub fn argument(arch: Arch, index: usize) -> Option<Self> {
        const WORDS: [&str; 9] = ["ax", "bx", "cx", "di", "si", "r8", "r9", "r10", "r11"];
        match arch {
            Arch::Amd64 => WORDS.get(index).map(|name| Self(name)),
            Arch::Arm64 => ARM64.get(..16)?.get(index).map(|name| Self(name)),
        }
    }

    /// The stack pointer.
    #[must_use]
    pub fn stack_pointer() -> Self {
        Self("sp")
    }

    /// The running goroutine's `g` (R14, R28).
    #[must_use]
    pub fn goroutine(arch: Arch) -> Self {
        Self(match arch {
            Arch::Amd64 => "r14",
            Arch::Arm64 => "x28",
        })
    }
}

/// A value that a hit records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// Where it begins.
    pub register: Register,
    /// Offsets to follow: none for the register itself, `[16]` for what lies 16 bytes behind
    /// the address in it, `[8, 16]` for what lies 16 bytes behind the pointer that lies 8 bytes
    /// behind it.
    pub path: Vec<i64>,
    /// Bytes: 1, 2, 4 or 8. Values are not signed.
    pub width: u8,
}

/// The way back to the caller at the instruction of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The frame is not made yet, or gone again: the return address is on top of the stack on
    /// amd64 and in X30 on arm64.
    Bare,
    /// The frame pointer is that of this function.
    Framed,
}

/// An instruction to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For messages; `runtime.mapassign_fast64`.
    pub name: String,
    /// Where the instruction stands in the executable's file
    /// ([`Binary::file_offset`](crate::binary::Binary::file_offset)). The kernel does not notice
    /// if it is amid an instruction; the program would then break.
    pub file_offset: u64,
    /// What to record, in the order of [`Hit::values`].
    pub fetches: Vec<Fetch>,
    /// Hits are recorded only if one of these fetches, by its index, has one of these values;
    /// the kernel drops the others at once. `None`: all.
    pub only: Option<(usize, Vec<u64>)>,
    /// For the stack.
    pub caller: Caller,
}

/// How to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The process; without it, every process that runs the executable.
    pub pid: Option<u32>,
    /// The ring of each CPU, in KiB; at least 64, and the kernel rounds to pages. A hit takes 20
    /// bytes, its values and the pointers on the way to them, and a stack 84.
    pub buffer_kib_per_cpu: u32,
    /// Record up to 8 return addresses, found by frame pointers.
    pub user_stacks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pid: None,
            buffer_kib_per_cpu: 4096,
            user_stacks: false,
        }
    }
}

/// One passage of a probed instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Index of the probe.
    pub probe: usize,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub t_mono_ns: u64,
    /// Where it ran.
    pub cpu: u32,
    /// The thread, as the tracer's PID namespace numbers it.
    pub tid: u32,
    /// By the probe's fetches. What could not be read is 0.
    pub values: &'a [u64],
    /// The instruction, then return addresses. Empty if stacks were not asked for or that of
    /// this hit was lost.
    pub stack: &'a [u64],
    /// A pointer on the way to a value was nil or led nowhere. A last step that leads nowhere
    /// reads as 0 and is not told.
    pub faulted: bool,
}

/// What a ring lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStatus {
    /// Which CPU.
    pub cpu: u32,
    /// Records that did not fit, by the kernel's own count. Exact; stacks count as well.
    pub lost: u64,
}

/// What a probe saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Hits handed on.
    pub hits: u64,
    /// Passages that the kernel counted, in every process that runs the executable.
    pub passages: u64,
}

/// How a session does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Hits handed on.
    pub events: u64,
    /// Records lost, of all CPUs.
    pub lost: u64,
    /// By CPU.
    pub cpus: Vec<CpuStatus>,
    /// By probe.
    pub probes: Vec<ProbeStatus>,
    /// Hits of other processes, which were dropped.
    pub foreign: u64,
    /// Hits of threads that ended before anyone could tell whose they were. They were dropped.
    pub unattributed: u64,
    /// Pages of a ring that contradicted themselves.
    pub broken_pages: u64,
}

/// What a page of the kernel's ring holds beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageEnd {
    /// Records were lost before this page.
    pub lost: bool,
    /// How many, where the kernel tells.
    pub lost_count: Option<u64>,
    /// Where in the page it contradicts itself; nothing behind that was handed on.
    pub damaged_at: Option<usize>,
}

/// Hands the records of a page of the kernel's ring, oldest first, to `each`: the time in
/// nanoseconds and the bytes. `header_page` is the text of the kernel's `events/header_page`.
///
/// # Errors
/// When that text does not tell how pages are laid out.
pub fn page_records(
    header_page: &str,
    page: &[u8],
    each: &mut dyn FnMut(u64, &[u8]),
) -> Result<PageEnd, UprobeError> {
    let format = PageFormat::parse("events/header_page", header_page)?;
    let (missed, damaged_at) = match format.decode(page, each) {
        Ok(missed) => (missed, None),
        Err(at) => (Missed::Nothing, Some(at)),
    };
    Ok(PageEnd {
        lost: missed != Missed::Nothing,
        lost_count: match missed {
            Missed::Events(count) => Some(count),
            Missed::Nothing | Missed::Unknown => None,
        },
        damaged_at,
    })
}

/// Takes away what dead tracers of ours left in tracefs.
///
/// # Errors
/// There is nothing of the kind here.
#[cfg(not(target_os = "linux"))]
pub fn remove_leftovers() -> Result<usize, UprobeError> {
    Err(UprobeError::NotLinux)
}

/// Kernel probes; only Linux has them.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Session(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Session {
    /// Always fails here.
    ///
    /// # Errors
    /// Always.
    pub fn start(
        _: &std::path::Path,
        _: Arch,
        _: Vec<Probe>,
        _: Options,
    ) -> Result<Self, UprobeError> {
        Err(UprobeError::NotLinux)
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn poll(&mut self, _: &mut dyn FnMut(Hit<'_>)) -> Result<usize, UprobeError> {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn status(&self) -> Result<Status, UprobeError> {
        match self.0 {}
    }

    /// There is none.
    #[must_use]
    pub fn ended(&self) -> bool {
        match self.0 {}
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn stop(self, _: &mut dyn FnMut(Hit<'_>)) -> Result<Status, UprobeError> {
        match self.0 {}
    }
}
