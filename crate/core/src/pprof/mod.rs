//! Profiles of Go programs, as `runtime/pprof` writes them and as the runtime keeps them.

mod answer;
pub(crate) mod builder;
pub mod contention;
mod encode;
mod explain;
mod frames;
mod maps;
pub mod memory;
mod model;
mod program;
pub(crate) mod proto;
mod read;
mod text;
mod trend;
mod wire;

#[cfg(test)]
mod tests;

pub use answer::{ProfileFailure, answer_pprof};
pub use encode::encode;
pub use explain::{Explained, Programs, explain, explain_all};
pub use frames::{
    Operation, is_allocator, is_runtime, linked_from_runtime, operation, serves_runtime,
};
pub use maps::{Attribution, Evidence, Figures, Place, Site, Work, attribute};
pub use memory::Clock;
pub use model::{
    Anchor, Kind, Label, LabelValue, Line, Location, Mapping, Origin, Placement, Profile, Sample,
    ValueType,
};
pub use program::{Call, CodeCall, Program, symbolize};
pub use read::{FILE_MAX, PprofError, parse, read, scale};
pub use trend::{Trend, churns, incomparable, trends};
