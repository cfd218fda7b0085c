//! Snapshots, events, execution traces and profiles on one clock: the target's
//! `CLOCK_MONOTONIC`.
//!
//! [`read`] tells files apart and hands them to a [`Builder`], which brings each onto the clock
//! or refuses it with a reason, joins what they say of the same maps, and keeps memory bounded.
//! [`write`] exports the [`Timeline`].

mod answer;
mod build;
mod clock;
mod export;
mod facts;
mod findings;
pub mod html;
mod input;
mod lives;
mod model;
#[cfg(test)]
mod tests;
mod text;

pub use answer::{answer, inputs, ready};
pub use build::{Builder, Interrupted, Progress};
pub use export::{Format, json, write};
pub use input::{Input, InputFailure, kind_of, read};
pub use model::{
    Cell, Evidence, Finding, Heat, Instant, Interval, MapTrack, Point, Series, SeriesKind, Source,
    SourceKind, Subject, Timeline, Wall, Waste,
};
pub use text::text;
