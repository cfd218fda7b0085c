//! Everything gomapscope knows of Go maps, without Python and without gdb.
//!
//! The layers stand one on the other, in this order: [`memory`], [`binary`],
//! [`gotype`], [`layout`], [`map`], [`metrics`], [`heap`], [`report`]; [`command`] is
//! the one definition of the commands' options. ARCHITECTURE.md tells the invariants.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod answer;
pub mod binary;
pub mod command;
pub mod events;
pub mod exectrace;
pub mod expression;
pub mod gotype;
pub mod heap;
pub mod instrument;
pub mod layout;
pub mod map;
pub mod memory;
pub mod metrics;
pub mod pprof;
pub mod profile;
pub mod report;
pub mod ring;
pub mod save;
pub mod scan;
pub mod snapshot;
pub mod target;
pub mod timeline;
pub mod trace;
pub mod uprobe;
pub mod writers;
