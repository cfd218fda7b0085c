//! Go's execution traces (`runtime/trace`), read in one pass and bounded memory.
//!
//! [`read`] hands [`Fact`]s to a [`Sink`] in the order of time. It needs no more of the
//! file than one generation (about a second of the program) at once. A file that is cut
//! or damaged gives what is whole in it; [`Outcome`] says what is missing.

mod chance;
mod fact;
mod spans;
mod summary;
mod tables;
mod v1;
mod v2;
mod wire;

pub use chance::Chance;
pub use fact::{Fact, Lane, Sink};
pub use summary::{
    Amount, Cluster, Count, Interval, Kind, LIFECYCLE, Life, LogRow, Points, Range, Step, Summary,
    TypeRow,
};

use std::io::Read;

use thiserror::Error;

use wire::{Source, Stop};

/// The reason of a [`Fact::Begin`] whose true begin is not in the trace.
pub const BEFORE: &str = "began before the trace";

/// Notes of one kind that are kept.
const NOTES: usize = 16;

/// What the times of a trace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// `CLOCK_MONOTONIC` of the machine the program ran on, to 64 ns (Go 1.22 and later
    /// where the system's clock is fine enough).
    Monotonic,
    /// Another one, whose zero and drift nobody knows (Go 1.21 and before).
    Own,
}

/// Where a file stopped being readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The byte of the unpacked file.
    pub offset: u64,
    /// What is wrong there: a phrase without control characters.
    pub why: String,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What the header says: 22 for `go 1.22 trace`.
    pub version: u32,
    /// Generations that were handed on; a trace of Go 1.21 and before is one.
    pub generations: u64,
    /// Events that were decoded, those included that nobody is told of.
    pub events: u64,
    /// Unpacked bytes that were read.
    pub bytes: u64,
    /// What [`Fact`]'s times are.
    pub clock: Clock,
    /// The file could not be read further.
    pub cut: Option<Cut>,
    /// Places that could not be read and were passed over.
    pub damaged: u64,
    /// Something is missing: counts and sums of facts are too small.
    pub incomplete: bool,
    /// The sink or the progress function ended the reading.
    pub interrupted: bool,
    /// How far the stamps of facts were seen to run ahead of the clock, in nanoseconds: the
    /// most that one was before another that was handed on earlier. 0 where all were in order.
    pub late_ns: u64,
    /// What else the reader should know: sentences without a full stop.
    pub notes: Vec<String>,
}

impl Outcome {
    fn new(version: u32) -> Self {
        Self {
            version,
            generations: 0,
            events: 0,
            bytes: 0,
            clock: if version >= 22 {
                Clock::Monotonic
            } else {
                Clock::Own
            },
            cut: None,
            damaged: 0,
            incomplete: false,
            interrupted: false,
            late_ns: 0,
            notes: Vec::new(),
        }
    }

    /// The Go releases that write such a header.
    #[must_use]
    pub fn releases(&self) -> &'static str {
        match self.version {
            11 => "go1.11 to go1.18",
            19 => "go1.19 or go1.20",
            21 => "go1.21",
            22 => "go1.22",
            23 => "go1.23 or go1.24",
            25 => "go1.25",
            _ => "go1.26 or later",
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    fn cut_at(&mut self, offset: u64, why: &str) {
        self.incomplete = true;
        self.cut = Some(Cut {
            offset,
            why: why.to_owned(),
        });
    }

    fn damage(&mut self, offset: u64, why: &str) {
        self.incomplete = true;
        self.damaged += 1;
        if self.damaged <= 4 {
            self.note(format!("damaged at byte {offset}: {why}"));
        }
    }
}

/// Why nothing of a file could be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It is something else.
    #[error("not an execution trace of Go (go test -trace, runtime/trace, /debug/pprof/trace)")]
    NotATrace,
    /// A trace of a release that is too old or too new.
    #[error(
        "an execution trace of Go 1.{0}, which this gomapscope cannot read (it reads 1.11 to 1.27)"
    )]
    Version(u32),
    /// It ends within the first 16 bytes, or cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// Reads a trace, packed with gzip or not. `progress` is told the bytes read so far, about
/// once a MiB, and says whether to go on.
///
/// # Errors
///
/// Only if the header is not that of a trace. All that is wrong behind it is in the
/// [`Outcome`].
pub fn read(
    mut reader: impl Read,
    progress: &mut dyn FnMut(u64) -> bool,
    sink: &mut dyn Sink,
) -> Result<Outcome, TraceError> {
    let mut magic = Vec::with_capacity(2);
    (&mut reader)
        .take(2)
        .read_to_end(&mut magic)
        .map_err(|error| TraceError::Unreadable(error.to_string()))?;
    let packed = magic == [0x1f, 0x8b];
    let reader = std::io::Cursor::new(magic).chain(reader);
    if packed {
        unpacked(
            Source::new(flate2::read::MultiGzDecoder::new(reader)),
            progress,
            sink,
        )
    } else {
        unpacked(Source::new(reader), progress, sink)
    }
}

fn unpacked<R: Read>(
    mut source: Source<R>,
    progress: &mut dyn FnMut(u64) -> bool,
    sink: &mut dyn Sink,
) -> Result<Outcome, TraceError> {
    let mut header = Vec::with_capacity(16);
    match source.append(16, &mut header) {
        Ok(()) => {}
        // A file that is too short may still be a trace's begin.
        Err(Stop::Broken(why)) if b"go 1.".starts_with(header.get(..5).unwrap_or(&header)) => {
            return Err(TraceError::Unreadable(if header.is_empty() {
                "it is empty".into()
            } else {
                why
            }));
        }
        Err(_) => return Err(TraceError::NotATrace),
    }
    match version(&header).ok_or(TraceError::NotATrace)? {
        version @ (11 | 19 | 21) => Ok(v1::Reader::new(version, progress, sink).read(&mut source)),
        version @ (22 | 23 | 25 | 26) => {
            Ok(v2::Reader::new(version, progress, sink).read(&mut source))
        }
        other => Err(TraceError::Version(other)),
    }
}

/// The minor release in `go 1.22 trace\0\0\0`.
fn version(header: &[u8]) -> Option<u32> {
    let rest = header.strip_prefix(b"go 1.")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    let rest = rest.strip_prefix(b" trace")?;
    if digits.is_empty() || digits.len() > 3 || rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
