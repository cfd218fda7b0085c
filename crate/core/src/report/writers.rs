//! The text and the JSON document of `go-map-writers`.

use serde::Serialize;

use super::json::to_json;
use super::number::{count, thousands};
use super::style::{Line, Role, Style};
use crate::writers::{Evidence, Fatal, Frame, InOperation, Operation, Suspect, UsedMap, Writers};

/// Calls that are shown of one goroutine.
const FRAMES: usize = 4;

/// Operations that are shown which panicked.
const ABANDONED: usize = 8;

/// Maps that are shown which nobody was found in.
const ORPHANS: usize = 8;

/// What is known besides who uses maps.
#[derive(Debug, Clone, Default)]
pub struct WritersContext {
    /// The release.
    pub go_version: Option<String>,
    /// Go's name of the architecture.
    pub arch: Option<String>,
    /// `classic` or `swiss`.
    pub family: Option<&'static str>,
    /// How commands of the console script name the target; `None` in gdb.
    pub console: Option<String>,
    /// The heap was not to be searched.
    pub quick: bool,
}

#[derive(Serialize)]
struct Document<'w> {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_version: Option<&'w str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<&'w str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'w str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fatal: Option<&'w Fatal>,
    operations: &'w [InOperation],
    abandoned: &'w [InOperation],
    maps: &'w [UsedMap],
    goroutines: usize,
    walked: usize,
    unknown: &'w [u64],
    searched: bool,
    notes: &'w [String],
    interrupted: bool,
    racing: bool,
    truncated: bool,
}

/// The document `gomapscope.writers/1`: one line.
#[must_use]
pub fn writers_json(found: &Writers, context: &WritersContext, limit: Option<u64>) -> String {
    let shown = most(limit).min(found.operations.len());
    let mut text = to_json(&Document {
        schema: "gomapscope.writers/1",
        go_version: context.go_version.as_deref(),
        arch: context.arch.as_deref(),
        family: context.family,
        fatal: found.fatal.as_ref(),
        operations: found.operations.get(..shown).unwrap_or_default(),
        abandoned: &found.abandoned,
        maps: &found.maps,
        goroutines: found.goroutines,
        walked: found.walked,
        unknown: &found.unknown,
        searched: found.searched,
        notes: &found.notes,
        interrupted: found.interrupted,
        racing: found.racing,
        truncated: shown < found.operations.len(),
    });
    text.push('\n');
    text
}

fn most(limit: Option<u64>) -> usize {
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX)
}

/// The text; `limit`: as many goroutines.
#[must_use]
pub fn writers(
    found: &Writers,
    context: &WritersContext,
    limit: Option<u64>,
    style: &Style,
) -> String {
    let mut text = String::new();
    let page = Page { found, style };
    match &found.fatal {
        Some(fatal) => page.died(fatal, &mut text),
        None => page.lives(&mut text),
    }
    let limit = most(limit);
    let shown = found.operations.len().min(limit);
    let first = found.fatal.as_ref().map_or(0, |fatal| {
        fatal.detected_by.len() + fatal.others.len() + fatal.perhaps.len()
    });
    for (number, operation) in found.operations.iter().take(shown).enumerate() {
        if number == first && first > 0 {
            text.push('\n');
            page.sentence("In operations on other maps:", &mut text);
        }
        text.push('\n');
        page.operation(operation, &mut text);
    }
    if shown < found.operations.len() {
        text.push('\n');
        let all = count(found.operations.len() as u64, "goroutine");
        page.note(&format!("{shown} of {all} shown (-limit N)"), &mut text);
    }
    if let Some(fatal) = &found.fatal {
        page.suspects(fatal, &mut text);
    }
    page.abandoned(&mut text);
    page.orphans(&mut text);
    page.foot(context, &mut text);
    text
}

/// The fatal error in one sentence, for `go-map`.
#[must_use]
pub fn writers_line(fatal: &Fatal) -> String {
    let message = match &fatal.message {
        Some(message) => format!("`{message}'"),
        None => "a fatal error in a map operation".to_owned(),
    };
    let verb = if fatal.over { "died" } else { "is dying" };
    let who = match fatal.detected_by.as_slice() {
        [one] => format!("goroutine {one}"),
        several => format!("goroutines {}", listed(several)),
    };
    format!(
        "The process {verb} of {message} in {who}: go-map-writers tells which map and who used it."
    )
}

/// `1`, `1 and 2`, `1, 2 and 3`.
fn listed(numbers: &[u64]) -> String {
    let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

fn doing(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "reading",
        Operation::Write => "writing",
        Operation::Delete => "deleting from",
        Operation::Clear => "clearing",
        Operation::Iterate => "iterating over",
        Operation::Clone => "cloning",
    }
}

/// `main.go:42`.
fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
    format!("{file}:{}", frame.line)
}

struct Page<'a> {
    found: &'a Writers,
    style: &'a Style,
}

impl Page<'_> {
    fn sentence(&self, sentence: &str, text: &mut String) {
        Line::new(self.style)
            .with(Role::Plain, sentence)
            .fold(self.style, 0, 2, text);
    }

    fn note(&self, sentence: &str, text: &mut String) {
        Line::new(self.style)
            .with(Role::Metadata, sentence)
            .fold(self.style, 0, 2, text);
    }

    fn of(&self, goroutine: u64) -> Option<&InOperation> {
        let mut all = self.found.operations.iter();
        all.find(|operation| operation.goroutine == goroutine)
    }

    fn died(&self, fatal: &Fatal, text: &mut String) {
        let message = match &fatal.message {
            Some(message) => format!("fatal error: {message}"),
            None => "A fatal error in a map operation.".to_owned(),
        };
        Line::new(self.style)
            .with(Role::Severe, &message)
            .fold(self.style, 0, 2, text);
        let mut sentence = match fatal.detected_by.as_slice() {
            [one] => format!("Goroutine {one} found it while it was "),
            several => format!("Goroutines {} found it, the first while ", listed(several)),
        };
        let detected = fatal.detected_by.first().and_then(|one| self.of(*one));
        if let Some(operation) = detected {
            if fatal.detected_by.len() > 1 {
                sentence.push_str("it was ");
            }
            sentence.push_str(doing(operation.operation));
        }
        sentence.push_str(match fatal.map {
            Some(_) => " the map below",
            None => " a map; nothing tells which",
        });
        let others: Vec<String> = fatal
            .others
            .iter()
            .filter_map(|one| self.of(*one))
            .map(|one| {
                format!(
                    "goroutine {} was {} it",
                    one.goroutine,
                    doing(one.operation)
                )
            })
            .collect();
        if others.is_empty() {
            sentence.push('.');
        } else {
            sentence.push_str(&format!("; {}.", others.join(", ")));
        }
        self.sentence(&sentence, text);
        let writing = |one: &u64| {
            self.of(*one)
                .is_some_and(|operation| operation.operation.writes())
        };
        if fatal.concurrent && fatal.map.is_some() && !fatal.others.iter().any(writing) {
            let several = fatal.detected_by.len() > 1;
            if !several {
                self.sentence(
                    "Whoever else wrote it was in no operation on it any more when the process \
                     stopped.",
                    text,
                );
            }
        }
        if let Some(map) = fatal.map {
            text.push('\n');
            let known = self
                .found
                .maps
                .iter()
                .find(|used| used.address == map.address);
            match known {
                Some(used) => self.map(used, Some(map.evidence), text),
                None => self.note(&format!("  map at {:#x}", map.address), text),
            }
        }
    }

    fn lives(&self, text: &mut String) {
        let found = self.found;
        let (of, none) = if found.walked < found.goroutines {
            let walked = thousands(found.walked as u64);
            let of = format!("the {walked} goroutines whose stacks were walked");
            (of.clone(), of)
        } else {
            let all = found.goroutines as u64;
            (count(all, "goroutine"), thousands(all))
        };
        let sentence = match found.operations.len() {
            0 if found.walked == 0 && found.goroutines > 0 => {
                "No goroutine's stack could be walked.".to_owned()
            }
            0 => format!("No goroutine of {none} is in a map operation."),
            1 => format!("1 of {of} is in a map operation."),
            several => format!("{several} of {of} are in map operations."),
        };
        self.sentence(&sentence, text);
        let mut shared = found
            .maps
            .iter()
            .filter(|map| map.goroutines.len() > 1)
            .filter(|map| {
                map.goroutines
                    .iter()
                    .filter_map(|one| self.of(*one))
                    .any(|operation| operation.operation.writes())
            });
        if let Some(map) = shared.next() {
            Line::new(self.style)
                .with(
                    Role::Severe,
                    &format!(
                        "Goroutines {} use the map at {:#x} at the same time, and one of them \
                         writes it.",
                        listed(&map.goroutines),
                        map.address
                    ),
                )
                .fold(self.style, 0, 2, text);
        }
    }

    fn map(&self, used: &UsedMap, evidence: Option<Evidence>, text: &mut String) {
        let mut line = Line::new(self.style);
        let name = used.type_name.as_deref().unwrap_or("map of unknown type");
        line.push(Role::Title, name);
        if let Some(sure) = used.type_evidence.filter(|sure| *sure != Evidence::Exact) {
            line.push(Role::Metadata, &format!(" ({})", sure.word()));
        }
        line.push(Role::Plain, " at ");
        line.push(Role::Address, &format!("{:#x}", used.address));
        line.push(Role::Plain, &format!("   len {}", thousands(used.len)));
        if let Some(path) = &used.held_by {
            line.push(Role::Plain, &format!("   held by {path}"));
        }
        if used.writing {
            line.push(Role::Plain, "   a write is in progress");
        }
        if let Some(evidence) = evidence {
            line.push(Role::Metadata, &format!("   {}", evidence.word()));
        }
        line.fold(self.style, 2, 2, text);
    }

    fn operation(&self, operation: &InOperation, text: &mut String) {
        let mut line = Line::new(self.style);
        line.push(Role::Title, &format!("goroutine {}", operation.goroutine));
        line.push(Role::Plain, &format!("  {}", operation.status));
        if let Some(thread) = operation.thread {
            line.push(Role::Plain, &format!("  thread {thread}"));
        }
        line.push(Role::Plain, "  ");
        if operation.detected {
            line.push(Role::Severe, "found it ");
        }
        line.push(Role::Plain, doing(operation.operation));
        match operation.map {
            Some(map) => {
                line.push(Role::Plain, " ");
                line.push(Role::Address, &format!("{:#x}", map.address));
                line.push(Role::Metadata, &format!(" ({})", map.evidence.word()));
            }
            None => line.push(Role::Plain, " a map that nothing tells"),
        }
        if let Some(name) = &operation.type_name {
            line.push(Role::Plain, &format!("  {name}"));
            if let Some(sure) = operation
                .type_evidence
                .filter(|sure| *sure != Evidence::Exact)
            {
                line.push(Role::Metadata, &format!(" ({})", sure.word()));
            }
        }
        if operation.growing {
            line.push(Role::Plain, "  growing");
        }
        line.fold(self.style, 2, 4, text);
        self.frames(&operation.frames, operation.caller, text);
        Line::new(self.style)
            .with(Role::Metadata, &format!("in {}", operation.function))
            .fold(self.style, 6, 2, text);
    }

    fn frames(&self, frames: &[Frame], first: usize, text: &mut String) {
        let rest = frames.get(first..).unwrap_or_default();
        let rest: Vec<&Frame> = rest
            .iter()
            .filter(|frame| frame.function != "runtime.goexit")
            .collect();
        for frame in rest.iter().take(FRAMES) {
            let mut line = Line::new(self.style);
            line.space(6);
            line.push(Role::Plain, &frame.function);
            line.push(Role::Metadata, &format!("  {}", place(frame)));
            line.render(self.style, text);
        }
        if rest.len() > FRAMES {
            let more = format!("{} more", rest.len() - FRAMES);
            Line::new(self.style)
                .with(Role::Metadata, &more)
                .fold(self.style, 6, 2, text);
        }
    }

    fn suspects(&self, fatal: &Fatal, text: &mut String) {
        if fatal.suspects.is_empty() {
            return;
        }
        text.push('\n');
        self.sentence("Can have used it, as an inference:", text);
        for suspect in &fatal.suspects {
            text.push('\n');
            self.suspect(suspect, text);
        }
    }

    fn suspect(&self, suspect: &Suspect, text: &mut String) {
        let mut line = Line::new(self.style);
        line.push(Role::Title, &format!("goroutine {}", suspect.goroutine));
        line.push(
            Role::Plain,
            &format!("  {}  {}", suspect.status, suspect.because),
        );
        line.push(Role::Metadata, &format!(" ({})", suspect.evidence.word()));
        line.fold(self.style, 2, 4, text);
        self.frames(&suspect.frames, suspect.at, text);
    }

    fn abandoned(&self, text: &mut String) {
        if self.found.abandoned.is_empty() {
            return;
        }
        text.push('\n');
        self.sentence(
            "Operations that panicked, and are over; deferred functions run:",
            text,
        );
        for operation in self.found.abandoned.iter().take(ABANDONED) {
            text.push('\n');
            self.operation(operation, text);
        }
        let all = self.found.abandoned.len();
        if all > ABANDONED {
            self.note(
                &format!("{ABANDONED} of {all} shown (-json lists all)"),
                text,
            );
        }
    }

    fn orphans(&self, text: &mut String) {
        let orphans: Vec<&UsedMap> = self
            .found
            .maps
            .iter()
            .filter(|map| map.goroutines.is_empty() && map.writing)
            .collect();
        if orphans.is_empty() {
            return;
        }
        text.push('\n');
        self.sentence(
            "Headers that say a write is in progress, though nobody was found in them:",
            text,
        );
        for map in orphans.iter().take(ORPHANS) {
            self.map(map, None, text);
        }
        if orphans.len() > ORPHANS {
            self.note(
                &format!("{ORPHANS} of {} shown (-json lists all)", orphans.len()),
                text,
            );
        }
    }

    fn foot(&self, context: &WritersContext, text: &mut String) {
        let found = self.found;
        let mut notes = Vec::new();
        if !found.unknown.is_empty() {
            notes.push(format!(
                "The stacks of {} could not be walked to the end: {} may be in a map operation.",
                count(found.unknown.len() as u64, "goroutine"),
                if found.unknown.len() == 1 {
                    "it"
                } else {
                    "they"
                }
            ));
        }
        notes.extend(found.notes.iter().cloned());
        if found.interrupted {
            notes.push("Interrupted: what is here is a part.".to_owned());
        }
        if context.quick {
            notes.push(
                "The heap was not searched for maps that are being written (-quick).".to_owned(),
            );
        }
        if !notes.is_empty() {
            text.push('\n');
        }
        for note in &notes {
            self.note(note, text);
        }
        if let Some(fatal) = &found.fatal
            && let Some(map) = fatal.map
        {
            text.push('\n');
            let next = match &context.console {
                Some(again) => format!("gomapscope stats {again}{:#x}", map.address),
                None => format!("go-map-stats {:#x}", map.address),
            };
            let look = format!("look at what is left of it: {next}");
            let sentence = match fatal.concurrent {
                true => format!(
                    "Next: guard the map with one lock in all of these functions (go build -race \
                     finds every such pair), or {look}"
                ),
                false => format!("Next: {look}"),
            };
            self.note(&sentence, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writers::Used;

    fn operation(goroutine: u64, detected: bool) -> InOperation {
        InOperation {
            goroutine,
            status: "running",
            thread: Some(7),
            operation: Operation::Write,
            growing: !detected,
            function: "runtime.mapassign_faststr".to_owned(),
            detected,
            map: Some(Used {
                address: 0xc000,
                evidence: Evidence::Exact,
                by: "an argument",
            }),
            type_name: Some("map[string]main.T".to_owned()),
            type_evidence: Some(Evidence::Exact),
            caller: 1,
            frames: [
                "runtime.mapassign_faststr",
                "main.\x1b[31mevil\n",
                "main.main",
            ]
            .map(|function| Frame {
                function: function.to_owned(),
                file: "/a/b/\u{202e}main.go".to_owned(),
                line: 7,
                pc: 0x40_1000,
                inlined: false,
            })
            .to_vec(),
        }
    }

    fn found() -> Writers {
        let operations = vec![operation(8, true), operation(9, false)];
        let suspect = Suspect {
            goroutine: 3,
            status: "waiting",
            because: "it stands in a function that used the map",
            evidence: Evidence::Inferred,
            at: 2,
            frames: operation(3, false).frames,
        };
        Writers {
            fatal: Some(Fatal {
                message: Some("concurrent map writes".to_owned()),
                map: operations[0].map,
                detected_by: vec![8],
                others: vec![9],
                perhaps: Vec::new(),
                suspects: vec![suspect],
                concurrent: true,
                over: true,
            }),
            abandoned: Vec::new(),
            operations,
            maps: vec![UsedMap {
                address: 0xc000,
                type_name: Some("map[string]main.T".to_owned()),
                type_evidence: Some(Evidence::Exact),
                len: 12_345,
                writing: true,
                place: "heap",
                held_by: Some("main.cache.\x07byName".repeat(6)),
                goroutines: vec![8, 9],
            }],
            goroutines: 12,
            walked: 11,
            unknown: vec![4],
            searched: true,
            racing: false,
            notes: vec!["A note.".to_owned()],
            interrupted: true,
        }
    }

    #[test]
    fn a_crash_is_told_in_80_columns_without_control_characters() {
        let style = Style {
            width: 80,
            color: false,
            unicode: true,
        };
        let text = writers(&found(), &WritersContext::default(), None, &style);
        assert!(text.starts_with("fatal error: concurrent map writes\n"));
        assert!(text.contains("goroutine 9 was writing"));
        assert!(text.contains("Can have used it, as an inference:"));
        assert!(text.contains("1 goroutine could not be walked to the end: it"));
        for line in text.lines() {
            assert!(super::super::display_width(line) <= 80, "{line}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'));
        }
        let cut = writers(&found(), &WritersContext::default(), Some(1), &style);
        assert!(cut.contains("1 of 2 goroutines shown"));
    }

    #[test]
    fn the_document_is_whole_unless_it_is_limited() {
        let of = |limit| -> serde_json::Value {
            let text = writers_json(&found(), &WritersContext::default(), limit);
            serde_json::from_str(&text).unwrap()
        };
        let whole = of(None);
        assert_eq!(whole["schema"], "gomapscope.writers/1");
        assert_eq!(whole["fatal"]["map"]["address"], "0xc000");
        assert_eq!(whole["operations"][1]["growing"], true);
        assert_eq!(whole["truncated"], false);
        let cut = of(Some(1));
        assert_eq!(cut["operations"].as_array().unwrap().len(), 1);
        assert_eq!(cut["truncated"], true);
    }

    #[test]
    fn a_status_names_the_command() {
        let fatal = found().fatal.unwrap();
        assert_eq!(
            writers_line(&fatal),
            "The process died of `concurrent map writes' in goroutine 8: go-map-writers tells \
             which map and who used it."
        );
        let mut silent = Fatal {
            message: None,
            over: false,
            ..fatal
        };
        silent.detected_by = vec![8, 9];
        assert!(writers_line(&silent).starts_with(
            "The process is dying of a fatal error in a map operation in goroutines 8 and 9:"
        ));
    }
}
