//! Profiles of Go programs, as `runtime/pprof` writes them and as the runtime keeps them.

pub mod memory;
mod model;
pub(crate) mod proto;
mod read;
mod text;
mod wire;

#[cfg(test)]
mod tests;

pub use model::{
    Anchor, Kind, Label, LabelValue, Line, Location, Mapping, Origin, Placement, Profile, Sample,
    ValueType,
};
pub use read::{FILE_MAX, PprofError, parse, read, scale};
