//! Snapshots, events, execution traces and profiles on one clock: the target's
//! `CLOCK_MONOTONIC`.

pub mod html;
mod model;

pub use model::{
    Cell, Evidence, Finding, Heat, Instant, Interval, MapTrack, Point, Series, SeriesKind, Source,
    SourceKind, Subject, Timeline, Wall, Waste,
};
