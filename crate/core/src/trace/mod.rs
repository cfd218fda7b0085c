//! Recording what happens to maps while the program runs: at which instructions of
//! the runtime to look ([`Plan`]), what the registers and memory say there, and the
//! event that follows from it ([`Recorder`]).
//!
//! Who stops the program there (a debugger's breakpoints or watchpoints, the kernel's
//! uprobes) is not known here.

mod facts;
#[cfg(target_os = "linux")]
mod kernel;
mod plan;
mod recorder;
mod sink;

#[cfg(target_os = "linux")]
pub use kernel::{KernelConfig, KernelState, KernelTrace};
pub use plan::{Argument, Plan, Role, Site, Wanted};
pub use recorder::{Outcome, Recorder, Registers, Stop};
pub use sink::{Counts, TraceOptions, Traced};

/// Why a trace cannot begin, or a hit cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The architecture's registers are not known.
    #[error("tracing knows amd64 and arm64, not {0}")]
    Architecture(String),
    /// The program has none of the functions: it uses no maps of that kind.
    #[error("{program} has none of the functions to stop at ({functions})")]
    NoFunctions {
        /// The executable.
        program: String,
        /// What was looked for.
        functions: String,
    },
    /// A function's code is not as it is known.
    #[error("the code of {function} at {address:#x} is not as Go compiles it: {reason}")]
    Code {
        /// The function.
        function: String,
        /// Where it begins.
        address: u64,
        /// What is wrong.
        reason: String,
    },
    /// Another tracer is there.
    #[error(
        "the code of {function} at {address:#x} is not the executable's: a kernel probe or \
         another tracer's breakpoint stands there; end that trace first"
    )]
    Trapped {
        /// The function.
        function: String,
        /// The instruction.
        address: u64,
    },
    /// The program has no map type, or its layout is not known.
    #[error("the layout of maps in {0} is not known: {1}")]
    Layout(String, String),
    /// The tables of the executable cannot be read.
    #[error("{0}")]
    Target(String),
}
