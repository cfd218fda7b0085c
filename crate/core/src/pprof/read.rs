//! From bytes to a profile: compressed or not, protobuf or the text of `debug=1`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::model::{Kind, Profile};
use super::{text, wire};

/// Bytes of a file that are read, and of what it decompresses to. Profiles of the largest
/// programs have some ten megabytes.
pub const FILE_MAX: usize = 256 << 20;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PprofError {
    /// The file could not be read.
    #[error("cannot read {name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is more of it than any profile has.
    #[error("{name} is larger than {limit} bytes{what}: no profile of a Go program is")]
    Large {
        /// The file.
        name: String,
        /// The limit.
        limit: usize,
        /// " when decompressed", or nothing.
        what: &'static str,
    },
    /// It is something else.
    #[error("{name} is not a profile: {what}")]
    Other {
        /// The file.
        name: String,
        /// What it is, and what to do.
        what: String,
    },
    /// It contradicts the format.
    #[error("{name}: byte {offset}{unpacked}: {reason}; write or fetch the profile again")]
    Malformed {
        /// The file.
        name: String,
        /// Where, in the uncompressed data.
        offset: usize,
        /// " of the decompressed data", or nothing.
        unpacked: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What a parser met: the offset, and the reason.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset,
            reason: reason.into(),
        }
    }
}

/// Reads the profile at `path`.
///
/// # Errors
/// When the file cannot be read or holds no profile. Of a file that was cut, what is whole is
/// returned and [`Profile::notes`] says so.
pub fn read(path: &Path) -> Result<Profile, PprofError> {
    let name = path.display().to_string();
    let io = |error| PprofError::Io {
        name: name.clone(),
        error,
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(PprofError::Other {
            name,
            what: "it is a directory".to_owned(),
        });
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    parse(&name, &bytes)
}

/// Reads the profile in `bytes`; `name` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Profile, PprofError> {
    parse_within(FILE_MAX, name, bytes)
}

/// [`parse`] with at most `most` bytes.
pub(super) fn parse_within(most: usize, name: &str, bytes: &[u8]) -> Result<Profile, PprofError> {
    let other = |what: String| PprofError::Other {
        name: name.to_owned(),
        what,
    };
    let large = |what| PprofError::Large {
        name: name.to_owned(),
        limit: most,
        what,
    };
    if bytes.len() > most {
        return Err(large(""));
    }
    if bytes.is_empty() {
        return Err(other(
            "it is empty; a CPU profile is written when it is stopped".to_owned(),
        ));
    }
    let mut notes = Vec::new();
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    let mut unpacked = Vec::new();
    let bytes = if packed {
        let mut decoder = MultiGzDecoder::new(bytes).take(most as u64 + 1);
        if let Err(error) = decoder.read_to_end(&mut unpacked) {
            if unpacked.is_empty() {
                return Err(other(format!("it cannot be decompressed ({error})")));
            }
            notes.push(format!(
                "{name} cannot be decompressed after byte {} of its contents: it was cut or damaged.",
                unpacked.len()
            ));
        }
        if unpacked.len() > most {
            return Err(large(" when decompressed"));
        }
        unpacked.as_slice()
    } else {
        bytes
    };
    if let Some(what) = something_else(bytes) {
        return Err(other(what.to_owned()));
    }
    let parsed = match text::kind(bytes) {
        Some(kind) => text::parse(kind, bytes),
        None => wire::parse(bytes),
    };
    let mut profile = parsed.map_err(|fault| PprofError::Malformed {
        name: name.to_owned(),
        offset: fault.offset,
        unpacked: match packed {
            true => " of the decompressed data",
            false => "",
        },
        reason: match notes.is_empty() {
            true => fault.reason,
            false => format!("{} (the file was cut or damaged)", fault.reason),
        },
    })?;
    notes.append(&mut profile.notes);
    profile.notes = notes;
    Ok(profile)
}

/// What files that are taken for profiles are.
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    let has = |prefix: &[u8]| bytes.starts_with(prefix);
    let trimmed = bytes.trim_ascii_start();
    if has(b"go 1.") && bytes.get(..16).is_some_and(|head| head.ends_with(b"\0")) {
        return Some("it is an execution trace; gomapscope trace reads it");
    }
    if has(b"\x7fELF") {
        return Some("it is an executable or a core; -exe names the executable");
    }
    if has(b"goroutine ") && !has(b"goroutine profile: ") {
        return Some("it is the text of debug=2; fetch it with debug=1 or without debug");
    }
    if trimmed.get(..1) == Some(b"<") {
        return Some("it is a page for a browser; a profile's address ends with /heap or the like");
    }
    if trimmed.get(..1) == Some(b"{") {
        return Some("it is JSON");
    }
    None
}

/// What samples of one stack stand for (runtime/pprof/protomem.go, scaleHeapSample): objects
/// and bytes, divided by the probability that an object of that size is sampled.
#[must_use]
pub fn scale(objects: i64, bytes: i64, rate: i64) -> (i64, i64) {
    if objects == 0 || bytes == 0 {
        return (0, 0);
    }
    if rate <= 1 {
        return (objects, bytes);
    }
    let size = bytes as f64 / objects as f64;
    let factor = 1.0 / (1.0 - (-size / rate as f64).exp());
    (
        (objects as f64 * factor) as i64,
        (bytes as f64 * factor) as i64,
    )
}

/// What a profile of these sample types counts.
pub(super) fn kind_of<'a>(names: impl Iterator<Item = &'a str>) -> Kind {
    let names: Vec<&str> = names.collect();
    let has = |name: &str| names.contains(&name);
    if has("inuse_space") || has("alloc_space") {
        Kind::Heap
    } else if has("goroutine") || has("goroutineleak") {
        Kind::Goroutine
    } else if has("cpu") {
        Kind::Cpu
    } else if has("threadcreate") {
        Kind::ThreadCreate
    } else {
        Kind::Other
    }
}
