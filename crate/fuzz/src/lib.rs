//! Every parser of foreign bytes as a plain function of bytes, with what must hold whatever the
//! bytes are. libFuzzer calls them (`fuzz_targets`), and so does the replay of the corpora and
//! of what was found (`tests/replay.rs`). README.md tells how.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "an assertion that fails is what a fuzzer looks for"
)]

mod check;
mod command;
mod core_file;
mod elf;
mod events;
mod exectrace;
mod instructions;
mod process;
mod profile;
mod recorded;
mod ring;
mod scratch;
mod snapshot;
mod tables;
mod text;
mod timeline;
mod walk;

pub use check::look_at_all;

/// What the tests of the walkers build their maps with.
#[path = "../../core/tests/common/mod.rs"]
#[allow(missing_docs, reason = "tests are documented by their names")]
pub mod common;

/// A parser, or several that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its corpus, of what was found, and in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// Gives it bytes, and asserts what must hold.
    pub run: fn(&[u8]),
    /// Bytes of an input; more only makes it slow.
    pub max_len: usize,
}

macro_rules! targets {
    ($($name:ident = $run:path, $max_len:expr;)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: $run,
            max_len: $max_len,
        }),*];
    };
}

targets! {
    command = command::run, 256;
    core_file = core_file::run, 8192;
    dwarf = elf::dwarf, 256;
    elf = elf::run, 16384;
    events = events::run, 8192;
    exectrace_v1 = exectrace::run, 8192;
    exectrace_v2 = exectrace::run, 8192;
    expression = elf::expression, 256;
    instructions = instructions::run, 512;
    pprof_proto = profile::proto, 8192;
    pprof_text = profile::text, 8192;
    process_functions = tables::functions_at, 256;
    process_maps = process::maps, 256;
    process_runtime = process::runtime, 256;
    process_scan = process::scan, 256;
    process_types = tables::types, 256;
    ring = ring::run, 4096;
    ring_page = instructions::page, 4096;
    snapshot = snapshot::run, 8192;
    text = text::run, 512;
    timeline = timeline::run, 16384;
    walk_random = walk::random, 4096;
    walk_splice_classic = walk::classic, 512;
    walk_splice_swiss = walk::swiss, 512;
}

/// The target named `name`.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs one input through the target named `name`.
pub fn run(name: &str, data: &[u8]) {
    let target = target(name).expect("a target of this name");
    (target.run)(data);
}
