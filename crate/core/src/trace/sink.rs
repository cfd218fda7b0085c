//! Where events go, and which of them: what all engines share.

use std::collections::HashMap;
use std::rc::Rc;

use super::plan::{Plan, Wanted};
use crate::events::{
    Clock, Ending, Event, EventFileError, EventWriter, Frame, Header as FileHeader, SCHEMA,
};
use crate::gotype::Kind;
use crate::heap::Symbol;
use crate::layout::MapLayout;
use crate::memory::{AddressHash, ReadError};
use crate::target::Target;

/// Types that are remembered; then they are looked up anew.
const TYPES_MAX: usize = 1 << 16;

/// A packed file is flushed when so much time passed: what a killed debugger loses.
const FLUSH_NS: u64 = 250_000_000;

/// A map that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its header.
    pub address: u64,
    /// As it was asked for.
    pub expression: String,
    /// As Go prints it.
    pub type_name: String,
    /// The type's descriptor in the process, where it is known.
    pub descriptor: Option<u64>,
}

/// What is recorded of a hit, and which hits are.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The kinds of events.
    pub on: Wanted,
    /// Only these maps; empty for all.
    pub maps: Vec<Traced>,
    /// Of so many hits, one.
    pub every: u64,
    /// At most so many events a second.
    pub rate: Option<u64>,
    /// The trace ends after so many events.
    pub max: Option<u64>,
    /// Frames of a stack.
    pub depth: usize,
    /// Walk the map at each event, to tell its hole density.
    pub density: bool,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            on: Wanted::default(),
            maps: Vec::new(),
            every: 1,
            rate: None,
            max: None,
            depth: 16,
            density: false,
        }
    }
}

impl TraceOptions {
    /// The map with this header, if it was asked for.
    #[must_use]
    pub fn asked(&self, map: u64) -> Option<&Traced> {
        self.maps.iter().find(|known| known.address == map)
    }

    /// The first line of an event file of `target`.
    #[must_use]
    pub fn header(
        &self,
        target: &Target,
        plan: &Plan,
        engine: &str,
        pid: Option<u64>,
        clock: Option<Clock>,
    ) -> FileHeader {
        let binary = target.binary();
        FileHeader {
            schema: SCHEMA.to_owned(),
            engine: engine.to_owned(),
            go_version: binary.version().map(|version| version.text),
            arch: binary.arch().map(str::to_owned),
            family: Some(plan.family.word().to_owned()),
            program: Some(binary.path().display().to_string()),
            pid,
            // A process of this machine has this machine's clocks.
            boot_id: pid.and_then(|_| crate::events::boot_id()),
            clock,
            on: self.on.ops().map(|op| op.word().to_owned()).collect(),
            maps: self.maps.iter().map(|map| map.expression.clone()).collect(),
            functions: plan.functions(),
            notes: plan.notes.clone(),
        }
    }
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stops, or passages of probes.
    pub hits: u64,
    /// Events.
    pub events: u64,
    /// Stops that were the same call once more: a signal came between.
    pub duplicates: u64,
    /// Hits at maps that were not asked for.
    pub other_maps: u64,
    /// Left out by `every` and `rate`.
    pub sampled_out: u64,
    /// Hits whose registers or memory could not be read, and records that the kernel
    /// dropped.
    pub lost: u64,
}

/// Chooses, numbers and writes events.
#[derive(Debug)]
pub(super) struct Sink {
    pub options: TraceOptions,
    pub counts: Counts,
    writer: Option<EventWriter>,
    failure: Option<String>,
    ended: bool,
    /// Hits that `every` counts.
    candidates: u64,
    /// The second of `rate`, and events in it.
    window: (u64, u64),
    flushed: u64,
}

impl Sink {
    pub(super) fn new(options: TraceOptions, writer: Option<EventWriter>) -> Self {
        Self {
            options,
            counts: Counts::default(),
            writer,
            failure: None,
            ended: false,
            candidates: 0,
            window: (0, 0),
            flushed: 0,
        }
    }

    /// Why the file was given up, if it was: a line.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether `max` events are there, or the file is closed.
    pub(super) fn is_full(&self) -> bool {
        self.ended
            || self
                .options
                .max
                .is_some_and(|max| self.counts.events >= max)
    }

    /// Whether `map` is traced; if not, that is counted.
    pub(super) fn wants(&mut self, map: u64) -> bool {
        let wanted = self.options.maps.is_empty() || self.options.asked(map).is_some();
        self.counts.other_maps += u64::from(!wanted);
        wanted
    }

    /// Whether this one of several hits is recorded.
    pub(super) fn takes(&mut self, now_ns: u64) -> bool {
        let number = self.candidates;
        self.candidates += 1;
        let mut taken = number.is_multiple_of(self.options.every.max(1));
        if let Some(rate) = self.options.rate.filter(|_| taken) {
            let second = now_ns / 1_000_000_000;
            if self.window.0 != second {
                self.window = (second, 0);
            }
            taken = self.window.1 < rate;
            self.window.1 += u64::from(taken);
        }
        self.counts.sampled_out += u64::from(!taken);
        taken
    }

    /// Numbers an event and writes it.
    pub(super) fn emit(&mut self, mut event: Event) -> Event {
        self.counts.events += 1;
        event.seq = self.counts.events;
        if let Some(writer) = &mut self.writer {
            let now = event.t_mono_ns.or(event.t_wall_ns).unwrap_or(0);
            let mut written = writer.event(&event);
            if written.is_ok() && now.saturating_sub(self.flushed) >= FLUSH_NS {
                self.flushed = now;
                written = writer.flush();
            }
            self.check(written);
        }
        event
    }

    /// Numbers and writes many events at once.
    pub(super) fn emit_all(&mut self, events: &mut [Event]) {
        for event in &mut *events {
            self.counts.events += 1;
            event.seq = self.counts.events;
        }
        if let Some(writer) = &mut self.writer {
            let written = writer
                .events_of(events.iter())
                .and_then(|()| writer.flush());
            self.check(written);
        }
    }

    fn check(&mut self, written: Result<(), EventFileError>) {
        if let Err(error) = written {
            // The program goes on; what was written is kept.
            self.failure = Some(error.to_string());
            self.writer = None;
        }
    }

    /// Hands to the system what was recorded: a reader of the file sees it from now on.
    pub(super) fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            let written = writer.flush();
            self.check(written);
        }
    }

    /// Ends the file. Later hits are not recorded.
    pub(super) fn finish(
        &mut self,
        reason: &str,
        cost_ns: Option<u64>,
        t_mono_ns: Option<u64>,
    ) -> Result<(), EventFileError> {
        self.ended = true;
        let counts = self.counts;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.finish(&Ending {
            end: reason.to_owned(),
            events: writer.events(),
            lost: counts.lost,
            duplicates: counts.duplicates,
            left_out: counts.sampled_out + counts.other_maps,
            cost_ns,
            t_mono_ns,
        })
    }
}

impl From<&Symbol> for Frame {
    fn from(symbol: &Symbol) -> Self {
        Self {
            function: symbol.frame.function.clone(),
            file: symbol.frame.file.clone(),
            line: symbol.frame.line,
            inlined: symbol.inlined,
        }
    }
}

/// A map type by its descriptor.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// As Go prints it; `None` where the descriptor is that of a shape, which generic code
    /// is handed: the layout is right, the name is not the map's.
    pub name: Option<Rc<str>>,
    /// For sizes.
    pub layout: Option<Rc<MapLayout>>,
}

/// Map types that were met.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<u64, Option<Named>, AddressHash>);

impl Types {
    /// The map type whose descriptor is at an address; `None` if there is none.
    pub(super) fn at(
        &mut self,
        target: &Target,
        descriptor: u64,
    ) -> Result<Option<&Named>, ReadError> {
        if !self.0.contains_key(&descriptor) {
            if self.0.len() >= TYPES_MAX {
                self.0.clear();
            }
            let types = target.types();
            let found = types
                .of_descriptor(descriptor)?
                .and_then(|at| types.get(at).ok())
                .filter(|found| matches!(found.kind, Kind::Map { .. }));
            let named = found.map(|found| Named {
                name: (!found.name.contains("go.shape.")).then(|| found.name.as_str().into()),
                layout: target.layout(&found).ok(),
            });
            self.0.insert(descriptor, named);
        }
        Ok(self.0.get(&descriptor).and_then(Option::as_ref))
    }

    pub(super) fn layout(
        &mut self,
        target: &Target,
        descriptor: Option<u64>,
    ) -> Option<Rc<MapLayout>> {
        self.at(target, descriptor?).ok()??.layout.clone()
    }

    /// Bytes of a group of a map of this type.
    pub(super) fn group(&mut self, target: &Target, descriptor: Option<u64>) -> Option<u64> {
        self.layout(target, descriptor)
            .map(|layout| layout.unit_size as u64)
    }
}
