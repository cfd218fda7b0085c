//! Profiles of Go programs, as `runtime/pprof` writes them and as the runtime keeps them.

mod model;

pub use model::{Kind, Label, LabelValue, Line, Location, Origin, Profile, Sample, ValueType};
