//! Profiles of Go programs, as `runtime/pprof` writes them and as the runtime keeps them.

pub mod memory;
mod model;

pub use model::{Kind, Label, LabelValue, Line, Location, Origin, Profile, Sample, ValueType};
