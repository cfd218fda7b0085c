//! Who else can have used a map, when nobody was found in it: an inference, always.

use std::collections::HashSet;

use super::{
    Evidence, FRAMES_MAX, InOperation, Process, Stack, Suspect, Writers, of_runtime, status,
};
use crate::heap::{Goroutine, ThreadRegisters};
use crate::memory::{ReadError, Span};

/// Suspects that are told.
const SUSPECTS_MAX: usize = 16;

/// Goroutines that are looked at.
const GOROUTINES_MAX: usize = 10_000;

/// Frames of one goroutine whose variables are looked at.
const DEPTH: usize = 32;

/// Bytes of one frame that are looked at.
const FRAME_MAX: u64 = 4096;

/// Bytes of an object that may have the map as a field.
const OBJECT_MAX: u64 = 1024;

impl Process<'_> {
    /// Adds to the fatal error, where nobody was found who wrote the map, those goroutines of
    /// `all` that stand in a function which used it, or have a variable that leads to it;
    /// the former first.
    pub(super) fn suspects(
        &self,
        found: &mut Writers,
        all: &[Goroutine],
        threads: &[ThreadRegisters],
    ) -> Result<(), ReadError> {
        // Of another error nobody else is the cause.
        let Some(fatal) = found.fatal.as_ref().filter(|fatal| fatal.concurrent) else {
            return Ok(());
        };
        let known: HashSet<u64> = [&fatal.detected_by, &fatal.others, &fatal.perhaps]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let wrote = |operation: &&InOperation| {
            operation.operation.writes() && fatal.others.contains(&operation.goroutine)
        };
        if found.operations.iter().any(|operation| wrote(&operation)) {
            return Ok(());
        }
        let users: HashSet<&str> = found
            .operations
            .iter()
            .filter(|operation| {
                fatal.detected_by.contains(&operation.goroutine)
                    || fatal.others.contains(&operation.goroutine)
            })
            .filter_map(|operation| operation.frames.get(operation.caller))
            .map(|frame| frame.function.as_str())
            .collect();
        let (mut same, mut holding) = (Vec::new(), Vec::new());
        for (number, goroutine) in all.iter().take(GOROUTINES_MAX).enumerate() {
            if number.is_multiple_of(64) {
                self.memory().checkpoint(number as u64, all.len() as u64)?;
            }
            if known.contains(&goroutine.id) || same.len() >= SUSPECTS_MAX {
                continue;
            }
            let stack = self.stack_of(goroutine, threads);
            let suspect = |at: usize, because: &'static str| Suspect {
                goroutine: goroutine.id,
                status: status(goroutine.status),
                because,
                evidence: Evidence::Inferred,
                at,
                frames: stack.frames.iter().take(FRAMES_MAX).cloned().collect(),
            };
            let at = stack
                .frames
                .iter()
                .take(FRAMES_MAX)
                .position(|frame| users.contains(frame.function.as_str()));
            if let Some(at) = at {
                same.push(suspect(at, "it stands in a function that used the map"));
                continue;
            }
            let Some(map) = fatal.map else { continue };
            if holding.len() < SUSPECTS_MAX
                && let Some((at, because)) = self.holds(&stack, map.address)
            {
                holding.push(suspect(at, because));
            }
        }
        same.append(&mut holding);
        same.truncate(SUSPECTS_MAX);
        if all.len() > GOROUTINES_MAX {
            found.notes.push(format!(
                "Who else can have used the map was looked for among {GOROUTINES_MAX} of {} \
                 goroutines.",
                all.len()
            ));
        }
        if let Some(fatal) = &mut found.fatal {
            fatal.suspects = same;
        }
        Ok(())
    }

    /// Whether a variable in use leads to the map: of which frame, and how.
    fn holds(&self, stack: &Stack, map: u64) -> Option<(usize, &'static str)> {
        let functions = self.symbols.functions();
        let (memory, abi) = (self.memory(), self.target.binary().abi());
        let link_register = functions.link_register();
        let mut through = None;
        for (owner, frame) in stack.physical.iter().enumerate().take(DEPTH) {
            let Some(at) = stack.owners.iter().rposition(|number| *number == owner) else {
                continue;
            };
            if at >= FRAMES_MAX {
                break;
            }
            if stack
                .frames
                .get(at)
                .is_none_or(|frame| of_runtime(&frame.function))
            {
                continue;
            }
            // Only of calls the compiler says which variables are in use: of a function that was
            // interrupted, all words are taken.
            let live = match frame.in_call {
                true => functions.live_slots(memory, frame.pc),
                false => None,
            };
            if frame.in_call && live.is_none() {
                continue;
            }
            let mut end = frame.cfa.wrapping_sub(if link_register { 0 } else { 8 });
            if end > frame.sp {
                end -= 8;
            }
            let arguments = frame.cfa.wrapping_add(if link_register { 8 } else { 0 });
            let words = (frame.sp
                ..frame
                    .cfa
                    .saturating_add(64)
                    .min(frame.sp.saturating_add(FRAME_MAX)))
                .step_by(8)
                .filter(|word| {
                    let place = Span {
                        start: *word,
                        len: 8,
                    };
                    live.as_ref()
                        .is_none_or(|live| live.any(end, arguments, place))
                });
            for word in words {
                let Ok(value) = abi.read_pointer(memory, word) else {
                    continue;
                };
                if value == map {
                    return Some((at, "a word of its frame is the map"));
                }
                if through.is_none() && self.object_holds(value, map) {
                    through = Some((at, "a word of its frame leads to what holds the map"));
                }
            }
        }
        through
    }

    /// Whether the object that `address` points into has a word that is the map.
    fn object_holds(&self, address: u64, map: u64) -> bool {
        let Some(slot) = self
            .target
            .heap()
            .ok()
            .and_then(|heap| heap.slot_of(address).ok()?)
        else {
            return false;
        };
        if slot.is_stack || slot.noscan || slot.usable() > OBJECT_MAX {
            return false;
        }
        let mut bytes = vec![0; slot.usable() as usize];
        if self.memory().read(slot.object(), &mut bytes).is_err() {
            return false;
        }
        let abi = self.target.binary().abi();
        bytes.chunks_exact(8).any(|word| abi.uint(word) == map)
    }
}
