//! What `go-map-timeline` and `gomapscope timeline` do.

use std::io::{self, Write};

use super::build::Builder;
use super::export::{self, Format};
use super::input::{Input, InputFailure, read};
use super::model::{SourceKind, Timeline};
use super::text::text;
use crate::command::{Request, unquote};
use crate::report::Style;
use crate::save::{NewFile, may_write};

/// The files that a command line names. `plain`: what stands alone is a file, too; in gdb it
/// is an expression.
#[must_use]
pub fn inputs(request: &Request, plain: bool) -> Vec<Input> {
    let options = &request.options;
    let alone: Vec<String> = match plain {
        true => request
            .expressions
            .iter()
            .map(|path| unquote(path))
            .collect(),
        false => Vec::new(),
    };
    let of = |kind: Option<SourceKind>, paths: &[String]| {
        paths
            .iter()
            .map(move |path| Input {
                kind,
                path: path.clone(),
            })
            .collect::<Vec<_>>()
    };
    [
        of(Some(SourceKind::Snapshot), &options.snapshots),
        of(Some(SourceKind::Events), &options.events),
        of(Some(SourceKind::Ring), &options.rings),
        of(Some(SourceKind::Trace), &options.traces),
        of(Some(SourceKind::Heap), &options.heaps),
        of(Some(SourceKind::Cpu), &options.cpus),
        of(None, &alone),
    ]
    .concat()
}

/// Whether the file of `-o` can be written, and what it is to be.
///
/// # Errors
/// Why not: a line.
pub fn ready(request: &Request) -> Result<Option<(String, Format, bool)>, String> {
    let Some(path) = &request.options.output else {
        return Ok(None);
    };
    let (format, packed) = Format::of(path)?;
    may_write(path, request.options.force)?;
    Ok(Some((path.clone(), format, packed)))
}

/// Reads what `request` names into `builder`, which may have the present already, writes the
/// file that is asked for, and returns the summary.
///
/// # Errors
/// When a file is not there or none can be shown, the output cannot be written, or the user
/// ends it.
pub fn answer(
    request: &Request,
    plain: bool,
    mut builder: Builder,
    style: &Style,
    progress: &mut dyn FnMut(u64) -> bool,
    write: &mut dyn FnMut(&str) -> Result<(), InputFailure>,
) -> Result<(), InputFailure> {
    let output = ready(request).map_err(InputFailure::Reason)?;
    read(&mut builder, &inputs(request, plain), progress)?;
    let timeline = builder.finish();
    let shown = !timeline.maps.is_empty() || timeline.sources.iter().any(|of| of.refused.is_none());
    if !shown {
        let first = timeline.sources.iter().find_map(|of| {
            let reason = of.refused.as_ref()?;
            let path = super::build::named(&of.path, "the live target");
            Some(match reason.starts_with(&path) {
                true => reason.clone(),
                false => format!("{path}: {reason}"),
            })
        });
        return Err(InputFailure::Reason(first.unwrap_or_else(|| {
            "nothing to show: name files (snapshots, events, traces, profiles)".to_owned()
        })));
    }
    let written = match &output {
        Some((path, format, packed)) => {
            let bytes = save(&timeline, path, *format, *packed, request.options.force);
            Some((path.as_str(), bytes.map_err(InputFailure::Reason)?))
        }
        None => None,
    };
    if request.options.json {
        let mut sink = Portions {
            write,
            held: Vec::new(),
            failure: None,
        };
        let done = export::json(&timeline, &mut sink).and_then(|()| sink.write_all(b"\n"));
        let flushed = done.and_then(|()| sink.flush());
        return match (sink.failure.take(), flushed) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(InputFailure::Reason(error.to_string())),
            (None, Ok(())) => Ok(()),
        };
    }
    write(&text(&timeline, written, style))
}

/// Text in portions for a writer of text.
struct Portions<'w> {
    write: &'w mut dyn FnMut(&str) -> Result<(), InputFailure>,
    held: Vec<u8>,
    failure: Option<InputFailure>,
}

const PORTION: usize = 64 << 10;

impl Write for Portions<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PORTION {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A character may be cut at the end of a portion.
        let whole = match std::str::from_utf8(&self.held) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.held.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.held, rest));
        match (self.write)(&text.unwrap_or_default()) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

/// A file that is written whole or not at all.
struct Saving {
    file: NewFile,
    failure: Option<String>,
}

impl Write for Saving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(reason) => {
                self.failure = Some(reason);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the file; its bytes.
///
/// # Errors
/// Why not: a line.
fn save(
    timeline: &Timeline,
    path: &str,
    format: Format,
    packed: bool,
    force: bool,
) -> Result<u64, String> {
    let mut saving = Saving {
        file: NewFile::create(path, force, packed)?,
        failure: None,
    };
    if let Err(error) = export::write(timeline, format, &mut saving) {
        return Err(saving
            .failure
            .unwrap_or_else(|| format!("{path} cannot be written: {error}")));
    }
    saving.file.keep()
}
