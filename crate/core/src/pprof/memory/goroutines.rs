//! Goroutines with their stacks (runtime/mprof.go, goroutineProfileWithLabels).

use std::collections::HashMap;
use std::rc::Rc;

use super::super::model::{Kind, Label, LabelValue, Profile, Sample};
use super::{Notes, Places, Reader};
use crate::gotype::Types;
use crate::heap::{
    Goroutine, GoroutineReader, HeapError, ThreadRegisters, goroutines, stack_frames,
};
use crate::memory::{Memory, ReadError};

/// Wait reasons that a release may have.
const REASONS_MAX: usize = 96;

/// Bytes of one.
const REASON_MAX: u64 = 64;

/// Frames that a stack may have before what is behind them is left out: as many as records
/// of other profiles may have.
const DEPTH_MAX: usize = 1024;

/// One goroutine, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// As `goroutine 1 [running]` numbers it.
    pub id: u64,
    /// `running`, `waiting` and so on, as tracebacks have it (runtime/traceback.go).
    pub status: &'static str,
    /// Why it waits, in the runtime's words; empty if it does not, or that is not known.
    pub wait_reason: Rc<str>,
    /// CLOCK_MONOTONIC in nanoseconds when the collector first found it waiting: it waits
    /// longer than since then. `None` if it was not found yet.
    pub waits_since_ns: Option<i64>,
    /// Its stack and its labels.
    pub sample: Sample,
}

/// All goroutines of the program's own, and the profile that they make.
///
/// # Errors
/// As [`super::profile`].
pub fn standing(
    types: &Types,
    memory: &dyn Memory,
    threads: &[ThreadRegisters],
) -> Result<(Profile, Vec<Standing>), HeapError> {
    Reader::new(types, memory)?.standing(threads)
}

/// `gStatusStrings` of runtime/traceback.go.
fn status(number: u32) -> &'static str {
    match number {
        0 => "idle",
        1 => "runnable",
        2 => "running",
        3 => "syscall",
        4 => "waiting",
        8 => "copystack",
        9 => "preempted",
        10 => "leaked",
        _ => "???",
    }
}

/// Wait reasons that are counted out.
const REASONS_SHOWN: usize = 6;

/// Functions of the runtime that goroutines of the program begin with, or that call into it.
const OURS: &[&str] = &[
    "runtime.main",
    "runtime.corostart",
    "runtime.handleAsyncEvent",
];
const CALL_BACK: &[&str] = &[
    "runtime.runfinq",
    "runtime.runFinalizers",
    "runtime.runCleanups",
];

impl Reader<'_> {
    /// The profile with equal goroutines taken together: of one stack, with the same labels,
    /// waiting for the same.
    pub(super) fn goroutines(&self, threads: &[ThreadRegisters]) -> Result<Profile, HeapError> {
        let (mut profile, all) = self.standing(threads)?;
        profile.notes.extend(self.waiting(&all)?);
        let mut places: HashMap<(Rc<[u32]>, String), usize> = HashMap::new();
        for goroutine in all {
            let mut sample = goroutine.sample;
            for (key, text) in [
                ("status", goroutine.status),
                ("wait reason", &*goroutine.wait_reason),
            ] {
                if !text.is_empty() {
                    sample.labels.push(Label {
                        key: key.into(),
                        value: LabelValue::Text(text.into()),
                    });
                }
            }
            let key = (Rc::clone(&sample.stack), format!("{:?}", sample.labels));
            match places.get(&key).and_then(|at| profile.samples.get_mut(*at)) {
                Some(known) => {
                    for (sum, value) in known.values.iter_mut().zip(sample.values) {
                        *sum = sum.saturating_add(value);
                    }
                }
                None => {
                    places.insert(key, profile.samples.len());
                    profile.samples.push(sample);
                }
            }
        }
        Ok(profile)
    }

    /// What goroutines wait for, the most frequent first, and since when.
    fn waiting(&self, all: &[Standing]) -> Result<Option<String>, ReadError> {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for goroutine in all {
            let word = match &*goroutine.wait_reason {
                "" => goroutine.status,
                reason => reason,
            };
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        if counts.is_empty() {
            return Ok(None);
        }
        let shown: Vec<String> = counts
            .iter()
            .take(REASONS_SHOWN)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let mut sentence = format!("Goroutines: {}", shown.join(", "));
        if counts.len() > REASONS_SHOWN {
            sentence.push_str(" and others");
        }
        sentence.push('.');
        // Both are of the target's clock: nothing need be known of the time now.
        let first = all.iter().filter_map(|one| one.waits_since_ns).min();
        let collected = self.memstats("last_gc_nanotime")?;
        if let (Some(first), Some(collected)) = (first, collected)
            && let Some(waited) = collected.checked_sub(first).filter(|waited| *waited > 0)
        {
            let seconds = waited as f64 / 1e9;
            sentence.push_str(&format!(
                " The longest had waited for more than {seconds:.1} s when the last collection \
                 ended."
            ));
        }
        Ok(Some(sentence))
    }

    fn standing(&self, threads: &[ThreadRegisters]) -> Result<(Profile, Vec<Standing>), HeapError> {
        let mut profile = self.empty(Kind::Goroutine, &[("goroutine", "count")]);
        profile.last_gc_ns = None;
        let mut notes = Notes::default();
        let (all, defects) = goroutines(self.types, self.memory, threads)?;
        for defect in defects.kept() {
            notes.damage(
                defect.address,
                &format!("{}: {}", defect.code, defect.found),
            );
        }
        let reader = GoroutineReader::new(self.types)?;
        let reasons = self.reasons()?;
        let mut places = Places::new(self);
        let mut found = Vec::new();
        let (mut unknown, mut cut, mut labels_cut) = (0_u64, 0_u64, 0_u64);
        for (number, goroutine) in all.iter().enumerate() {
            if number.is_multiple_of(256) {
                self.memory.checkpoint(number as u64, all.len() as u64)?;
            }
            let origin = match reader.origin(self.memory, goroutine.address) {
                Ok(origin) => origin,
                Err(ReadError::Interrupted) => return Err(ReadError::Interrupted.into()),
                Err(_) => continue,
            };
            let (stack, whole) = self.stack(&mut places, goroutine);
            if self.is_system(&places, origin.start, &stack) {
                continue;
            }
            if stack.is_empty() {
                unknown += 1;
            } else if !whole {
                cut += 1;
            }
            let mut labels = Vec::new();
            match reader
                .read(self.memory, goroutine.address)
                .and_then(|state| reader.labels(self.memory, &state))
            {
                Ok(read) => {
                    if read.cut || !read.defects.is_empty() {
                        labels_cut += 1;
                    }
                    labels.extend(read.all.into_iter().map(|label| Label {
                        key: label.key.into(),
                        value: LabelValue::Text(label.value.into()),
                    }));
                }
                Err(HeapError::Read(ReadError::Interrupted)) => {
                    return Err(ReadError::Interrupted.into());
                }
                Err(_) => labels_cut += 1,
            }
            let waits = goroutine.status == 4;
            let reason = waits.then(|| reasons.get(usize::from(origin.wait_reason)));
            let since = (waits || goroutine.status == 3) && origin.wait_since > 0;
            found.push(Standing {
                id: goroutine.id,
                status: status(goroutine.status),
                wait_reason: reason.flatten().map_or_else(|| "".into(), Rc::clone),
                waits_since_ns: since.then_some(origin.wait_since),
                sample: Sample {
                    stack,
                    values: vec![1],
                    raw: None,
                    labels,
                },
            });
        }
        let said = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 goroutine: {one}"),
            _ => format!("{count} goroutines: {more}"),
        };
        if unknown > 0 {
            notes.cut(said(
                unknown,
                "its stack is not known: no thread was found that stands on it",
                "their stacks are not known: no threads were found that stand on them",
            ));
        }
        if cut > 0 {
            let what = "the outer end of the stack is missing";
            notes.cut(said(cut, what, what));
        }
        if labels_cut > 0 {
            let what = "labels are missing or not whole";
            notes.cut(said(labels_cut, what, what));
        }
        profile.locations = places.locations;
        profile.notes = notes.finish();
        Ok((profile, found))
    }

    /// The stack, innermost first, and whether it is whole.
    fn stack(&self, places: &mut Places<'_>, goroutine: &Goroutine) -> (Rc<[u32]>, bool) {
        let frames = stack_frames(&self.functions, self.memory, goroutine);
        let whole = frames
            .last()
            .and_then(|frame| self.functions.frame_info(self.memory, frame.pc))
            .is_some_and(|info| info.top)
            && frames.len() <= DEPTH_MAX;
        let mut pcs: Vec<u64> = frames
            .iter()
            .take(DEPTH_MAX)
            .map(|frame| frame.pc)
            .collect();
        if let (Some(first), None) = (pcs.first_mut(), goroutine.registers) {
            // A parked goroutine goes on behind a call.
            let function = self.functions.function_at(self.memory, *first);
            if function.is_some_and(|function| function.entry < *first) {
                *first -= 1;
            }
        }
        // Wrappers that the compiler made are not shown, unless a panic came from them.
        let mut shown = Vec::with_capacity(pcs.len());
        let mut panicked = true;
        for pc in pcs {
            let found = self.functions.places_of_pc(self.memory, pc);
            let wrapper = matches!(found.as_slice(), [place] if place.wrapper);
            if !wrapper || panicked {
                shown.push(pc);
            }
            panicked = found.last().is_some_and(|place| {
                ["runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap"]
                    .contains(&place.frame.function.as_str())
            });
        }
        (places.stack_of_instructions(&shown), whole)
    }

    /// isSystemGoroutine of runtime/traceback.go. One that runs finalizers or cleanups is the
    /// program's while it is in a function of the program's.
    fn is_system(&self, places: &Places<'_>, start: u64, stack: &[u32]) -> bool {
        let Some(function) = self.functions.function_at(self.memory, start) else {
            return false;
        };
        let name = function.name.as_str();
        if OURS.contains(&name) {
            return false;
        }
        if CALL_BACK.contains(&name) {
            let calls = stack.iter().any(|place| {
                let lines = places.locations.get(*place as usize).map(|at| &at.lines);
                lines.is_some_and(|lines| {
                    lines
                        .iter()
                        .any(|line| !line.function.starts_with("runtime."))
                })
            });
            return !calls;
        }
        name.starts_with("runtime.")
    }

    /// The runtime's words for wait reasons; empty where they are not found.
    fn reasons(&self) -> Result<Vec<Rc<str>>, ReadError> {
        let Some(at) = self.anchors.wait_reasons()? else {
            return Ok(Vec::new());
        };
        let mut found: Vec<Rc<str>> = Vec::new();
        for index in 0..REASONS_MAX as u64 {
            let place = at.wrapping_add(16 * index);
            let Some(words) = self.bytes(place, 16)? else {
                break;
            };
            let word = |index| self.abi.pointer_at(&words, index).unwrap_or(0);
            let (text, len) = (word(0), word(8));
            // The table's length is not told: it ends where no text follows.
            if len > REASON_MAX || (len == 0) != (index == 0) {
                break;
            }
            let bytes = self.bytes(text, len)?.unwrap_or_default();
            let Ok(text) = std::str::from_utf8(&bytes) else {
                break;
            };
            if !text
                .chars()
                .all(|letter| letter == ' ' || letter.is_ascii_graphic())
            {
                break;
            }
            found.push(text.into());
        }
        Ok(found)
    }
}
