//! What `go-map-pprof` prints and writes: profiles out of memory.

use super::contention::{Input, contention};
use super::encode::encode;
use super::explain::{Explained, Programs, explain};
use super::memory::{Clock, profile};
use super::model::Kind;
use crate::answer::Look;
use crate::command::{Limit, Request};
use crate::heap::{HeapError, ThreadRegisters};
use crate::memory::ReadError;
use crate::report;
use crate::save::{NewFile, may_write};
use crate::target::{Motion, Target, WHILE_RUNNING};

/// Why nothing is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileFailure {
    /// A line.
    Reason(String),
    /// The user wants the prompt back.
    Interrupted,
}

impl From<HeapError> for ProfileFailure {
    fn from(error: HeapError) -> Self {
        match error {
            HeapError::Read(ReadError::Interrupted) => Self::Interrupted,
            other => Self::Reason(other.to_string()),
        }
    }
}

impl From<String> for ProfileFailure {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// The kinds that memory has, by the command's words.
const KINDS: [(&str, Kind); 4] = [
    ("heap", Kind::Heap),
    ("goroutine", Kind::Goroutine),
    ("block", Kind::Block),
    ("mutex", Kind::Mutex),
];

/// Reads one kind, and says what of it is of maps.
fn read(
    target: &Target,
    (threads, clock): (&[ThreadRegisters], Option<Clock>),
    (word, kind): (&str, Kind),
    programs: &mut Programs,
) -> Result<Explained, ProfileFailure> {
    let runs = target.runs();
    let mut found = profile(target.types(), target.memory(), (threads, clock), kind)?;
    if target.motion() == Motion::Running || target.runs() != runs {
        found.notes.push(WHILE_RUNNING.to_owned());
    }
    let path = target.binary().path().to_owned();
    Ok(explain(word, found, Some(&path), programs)?)
}

/// Answers `go-map-pprof`: the text or the document.
///
/// # Errors
/// When the runtime's records cannot be read, a file cannot be written, or the user wants to
/// stop.
pub fn answer_pprof(
    request: &Request,
    target: &Target,
    (threads, clock): (&[ThreadRegisters], Option<Clock>),
    look: &Look,
) -> Result<String, ProfileFailure> {
    let options = &request.options;
    // Before anything else is begun.
    if let Some(path) = &options.output {
        may_write(path, options.force)?;
    }
    let limit = match options.limit {
        Limit::Default if options.json => Some(None),
        Limit::Default => None,
        Limit::Count(count) => Some(Some(count)),
        Limit::All => Some(None),
    };
    let mut programs = Programs::default();
    if options.contention {
        let mut inputs = Vec::new();
        for (word, kind) in KINDS {
            let explained = read(target, (threads, clock), (word, kind), &mut programs)?;
            inputs.push(Input::of(
                explained,
                Some(target.binary().path()),
                &mut programs,
            )?);
        }
        let found = contention(&inputs);
        return Ok(match options.json {
            true => report::contention_json(&found, limit),
            false => report::contention(&found, limit, &look.style),
        });
    }
    let word = request.expressions.first().map_or("heap", String::as_str);
    let Some(chosen) = KINDS.iter().find(|(known, _)| *known == word) else {
        return Err(ProfileFailure::Reason(format!(
            "{word} is no kind of profile that memory has"
        )));
    };
    let explained = read(target, (threads, clock), *chosen, &mut programs)?;
    let written = match &options.output {
        Some(path) => {
            let mut file = NewFile::create(path, options.force, true)?;
            file.write(&encode(&explained.profile))?;
            file.keep()?;
            let samples = explained.profile.samples.len();
            Some((path, samples))
        }
        None => None,
    };
    if options.json {
        return Ok(report::pprof_json(&[explained], limit, false));
    }
    let mut text = report::pprof(&[explained], limit, &look.style);
    if let Some((path, samples)) = written {
        let line = format!(
            "Wrote {samples} samples to {path}: go tool pprof -top {path}, with the runtime's own \
             functions."
        );
        report::Line::new(&look.style)
            .with(report::Role::Plain, &line)
            .fold(&look.style, 0, 2, &mut text);
    }
    Ok(text)
}
