//! Files of all kinds: which is which, and in which order they are read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::build::{Builder, Interrupted, Progress};
use super::model::SourceKind;
use crate::events::EventReader;
use crate::pprof;
use crate::save::expanded;
use crate::snapshot;

/// Of a file, so much tells what it is.
const HEAD: u64 = 8192;
/// A line longer than this lists no collections.
const LINE_MAX: u64 = 1 << 20;
/// Collections that the runtime remembers (runtime.MemStats.PauseEnd).
const PAUSES: usize = 256;

/// A file, and what the user says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The option it was given by; `None` where its first bytes are to tell.
    pub kind: Option<SourceKind>,
    /// As typed.
    pub path: String,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputFailure {
    /// A line.
    #[error("{0}")]
    Reason(String),
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
}

impl From<Interrupted> for InputFailure {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// What a file is by its first bytes.
///
/// # Errors
/// Why it is none that can be shown: a line.
pub fn kind_of(path: &str) -> Result<SourceKind, String> {
    let place = expanded(path);
    let failed = |error: std::io::Error| format!("{path} cannot be read: {error}");
    if std::fs::metadata(&place).map_err(failed)?.is_dir() {
        return Err(format!("{path} is a directory"));
    }
    let mut file = BufReader::new(File::open(&place).map_err(failed)?);
    let packed = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut head = Vec::new();
    // The end of a cut file is for its reader to tell.
    let read = match packed {
        true => MultiGzDecoder::new(file).take(HEAD).read_to_end(&mut head),
        false => file.take(HEAD).read_to_end(&mut head),
    };
    match (read, head.is_empty()) {
        (Err(error), true) => return Err(format!("{path} is damaged: {error}")),
        (_, true) => return Err(format!("{path} is empty")),
        _ => {}
    }
    if let Some(kind) = named(&head) {
        return Ok(kind);
    }
    // A protobuf has no mark of its own: whether it is a profile shows when it is read.
    if let Ok(profile) = pprof::read(&place)
        && !profile.sample_types.is_empty()
    {
        return Ok(match profile.kind {
            pprof::Kind::Heap => SourceKind::Heap,
            pprof::Kind::Cpu => SourceKind::Cpu,
            _ => SourceKind::Waiting,
        });
    }
    let what = match head.get(..4) {
        Some(b"\x7fELF") => "it is an executable or a core",
        _ => "its first bytes are of none of them",
    };
    Err(format!(
        "{path} is no snapshot, event file, execution trace or profile: {what}; if it is one, \
         say so with -snapshot, -events, -trace, -heap or -cpu"
    ))
}

fn named(head: &[u8]) -> Option<SourceKind> {
    let text = String::from_utf8_lossy(head);
    if text.starts_with("go 1.") && text.get(..16).is_some_and(|head| head.contains(" trace")) {
        return Some(SourceKind::Trace);
    }
    if text.starts_with("heap profile:") {
        return Some(SourceKind::Heap);
    }
    if [
        "goroutine profile:",
        "--- contention:",
        "--- mutex:",
        "threadcreate profile:",
    ]
    .iter()
    .any(|begin| text.starts_with(begin))
    {
        return Some(SourceKind::Waiting);
    }
    if text.starts_with('{') {
        let (_, rest) = text.split_once("\"schema\"")?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        let (schema, _) = rest.strip_prefix("\"gomapscope.")?.split_once('/')?;
        return match schema {
            "events" => Some(SourceKind::Events),
            "snapshot" | "scan" | "stats" => Some(SourceKind::Snapshot),
            _ => None,
        };
    }
    None
}

/// Reads files into `builder`: those first that tell of their process.
///
/// # Errors
/// When a file is not there or is none of those that can be shown, or the user ends it. What
/// is damaged, or of another process, is noted in the timeline.
pub fn read(
    builder: &mut Builder,
    inputs: &[Input],
    progress: Progress<'_>,
) -> Result<(), InputFailure> {
    let mut known = Vec::new();
    for input in inputs {
        let kind = match input.kind {
            Some(kind) => {
                // A file that is not there is a mistake in the command, not a bad source.
                let place = expanded(&input.path);
                File::open(&place).map_err(|error| {
                    InputFailure::Reason(format!("{} cannot be read: {error}", input.path))
                })?;
                kind
            }
            None => kind_of(&input.path).map_err(InputFailure::Reason)?,
        };
        known.push((kind, input.path.as_str()));
    }
    let of = |kinds: &'static [SourceKind]| {
        known
            .iter()
            .copied()
            .filter(move |(kind, _)| kinds.contains(kind))
    };
    for (kind, path) in of(&[SourceKind::Snapshot]) {
        match snapshot::load(path) {
            Ok(snapshot) => builder.snapshot(snapshot),
            Err(error) => builder.refuse(kind, path, error.to_string()),
        }
    }
    for (kind, path) in of(&[SourceKind::Events, SourceKind::Ring]) {
        match EventReader::open(&expanded(path)) {
            Ok(mut reader) => builder.events(path, &mut reader, progress)?,
            Err(error) => builder.refuse(kind, path, error.to_string()),
        }
    }
    for (kind, path) in of(&[SourceKind::Heap, SourceKind::Cpu, SourceKind::Waiting]) {
        let place = expanded(path);
        match pprof::read(&place) {
            Ok(profile) => builder.profile(path, profile, pauses(&place)),
            Err(error) => builder.refuse(kind, path, error.to_string()),
        }
    }
    for (_, path) in of(&[SourceKind::Trace]) {
        let place = expanded(path);
        let mut open = || File::open(&place).map(BufReader::new);
        builder.trace(path, &mut open, progress)?;
    }
    Ok(())
}

/// The ends of collections in a text of `debug=1` (runtime/pprof.writeHeapInternal), ascending;
/// nothing for any other file.
fn pauses(path: &Path) -> Vec<i64> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let mut file = BufReader::new(file);
    let packed = file
        .fill_buf()
        .is_ok_and(|bytes| bytes.starts_with(&[0x1f, 0x8b]));
    match packed {
        true => listed(BufReader::new(MultiGzDecoder::new(file))),
        false => listed(file),
    }
}

fn listed(mut text: impl BufRead) -> Vec<i64> {
    let mut line = Vec::new();
    let mut first = true;
    loop {
        line.clear();
        let read = (&mut text).take(LINE_MAX).read_until(b'\n', &mut line);
        if !read.is_ok_and(|read| read > 0) {
            return Vec::new();
        }
        if std::mem::take(&mut first) && !line.starts_with(b"heap profile:") {
            return Vec::new();
        }
        let Some(rest) = line.strip_prefix(b"# PauseEnd = [") else {
            continue;
        };
        let rest = String::from_utf8_lossy(rest);
        let numbers = rest.split(']').next().unwrap_or_default();
        let mut ends: Vec<i64> = numbers
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .filter(|end| *end > 0)
            .take(PAUSES)
            .collect();
        ends.sort_unstable();
        return ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_kind() {
        for (head, kind) in [
            (&b"go 1.23 trace\0\0\0"[..], SourceKind::Trace),
            (
                b"heap profile: 1: 2 [3: 4] @ heap/1048576",
                SourceKind::Heap,
            ),
            (b"--- mutex:", SourceKind::Waiting),
            (b"{\"schema\":\"gomapscope.events/1\",", SourceKind::Events),
            (
                b"{\"a\":1, \"schema\" : \"gomapscope.scan/1\",",
                SourceKind::Snapshot,
            ),
        ] {
            assert_eq!(named(head), Some(kind), "{head:?}");
        }
        for head in [
            &b"{"[..],
            b"go 1.",
            b"\x7fELF\x02",
            b"",
            b"{\"schema\":\"gomapscope.",
            b"\xff",
        ] {
            assert_eq!(named(head), None, "{head:?}");
        }
    }

    #[test]
    fn collections_are_read_from_a_text() {
        let text = b"heap profile: 0: 0 [0: 0] @ heap/1\n# PauseNs = [5 6]\n\
                     # PauseEnd = [30 10 20 0 0]\n# NumGC = 3\n";
        assert_eq!(listed(&text[..]), [10, 20, 30]);
        assert!(listed(&b"other\n# PauseEnd = [1]\n"[..]).is_empty());
        assert!(listed(&b"heap profile: \n# PauseEnd = [x"[..]).is_empty());
    }
}
