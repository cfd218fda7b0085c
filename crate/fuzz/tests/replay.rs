//! Every input that is kept, through its target: what the fuzzers reached (`corpus`), what they
//! found (`kept`), and some damage of each, so that the targets themselves are known to run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use gomapscope_fuzz::{TARGETS, Target};

/// Time of a processor for one input, in ticks of 10 ms. The promise is a second; without
/// optimization it may be more.
const TICKS_MAX: u64 = 1000;
/// Memory that a process may have needed for all its inputs, in KiB. The largest cap that an
/// input of a few KiB can reach is far below.
const MEMORY_MAX: u64 = 1 << 20;

fn inputs(folder: &str, name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The most memory that this process had at a time, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The processor's time that this thread had so far, in ticks (proc(5), utime and stime).
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn timed(target: &Target, bytes: &[u8], what: &Path) {
    let begun = ticks();
    (target.run)(bytes);
    let took = ticks() - begun;
    let (name, what) = (target.name, what.display());
    assert!(took < TICKS_MAX, "{name}: {took} ticks for {what}");
}

fn replay(name: &str) {
    let target = gomapscope_fuzz::target(name).unwrap();
    // A process is large, and each of its inputs is another way to look at it.
    if !name.starts_with("process_") {
        gomapscope_fuzz::look_at_all();
    }
    let corpus = inputs("corpus", name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for path in corpus.iter().chain(&inputs("kept", name)) {
        let bytes = std::fs::read(path).unwrap();
        timed(target, &bytes, path);
    }
    // Cut in half, and with one bit in it changed: neither is in the corpus as it stands.
    for path in &corpus {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        timed(target, &bytes[..middle], path);
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        timed(target, &bytes, path);
    }
    timed(target, &[], Path::new("nothing"));
    assert!(peak() < MEMORY_MAX, "{name} needed {} KiB", peak());
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(targets, replayed);
        }
    };
}

replays! {
    command
    core_file
    dwarf
    elf
    events
    exectrace_v1
    exectrace_v2
    expression
    instructions
    pprof_proto
    pprof_text
    process_functions
    process_maps
    process_runtime
    process_scan
    process_types
    ring
    ring_page
    snapshot
    text
    timeline
    walk_random
    walk_splice_classic
    walk_splice_swiss
}

#[test]
fn every_target_is_a_program_of_cargo_fuzz() {
    let manifest = include_str!("../Cargo.toml");
    for target in TARGETS {
        let name = target.name;
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}

#[test]
fn what_is_kept_is_small_and_of_a_target() {
    let mut size = 0;
    for folder in ["corpus", "kept"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap()
        {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(gomapscope_fuzz::target(&name).is_some(), "{folder}/{name}");
            let files = inputs(folder, &name);
            size += files
                .iter()
                .map(|path| path.metadata().unwrap().len())
                .sum::<u64>();
        }
    }
    assert!(size < 3 << 20, "{size} bytes of inputs");
}
