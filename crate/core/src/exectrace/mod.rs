//! Go's execution traces (`runtime/trace`), read in one pass.

mod fact;

pub use fact::{Fact, Lane, Sink};
