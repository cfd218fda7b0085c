//! What the user sees: text for a terminal of a given width, and JSON.
//!
//! Rendering only: every figure comes from [`crate::metrics`]. Whatever the
//! target wrote (names, keys, found values) passes [`sanitize`] on its way
//! into a line, and a line is cut to the width when it is rendered, so no
//! caller can forget either.

mod buckets;
mod contention;
mod entries;
mod events;
mod exectrace;
mod heat;
mod json;
mod layout;
mod number;
mod pprof;
mod sanitize;
mod scan;
mod stats;
mod style;
mod table;
#[cfg(test)]
mod testing;
mod writers;

pub use buckets::{BucketsReport, BucketsText, buckets};
pub use contention::{contention, contention_json};
pub use entries::{EntriesReport, EntriesText, entries};
pub use events::{TraceStatus, event_line, events, events_json, trace_status, trace_status_json};
pub use exectrace::{ExecTrace, ExecTraceJson};
pub use heat::{heat, heat_cells, heat_strip};
pub(crate) use json::write_json;
pub use json::{JsonRows, buckets_json, entries_json, stats_json, to_json};
pub use layout::layout;
pub(crate) use number::count;
pub use number::{percent, percent_of, size, thousands};
pub use pprof::{pprof, pprof_json, profile as pprof_profile};
pub use sanitize::sanitize;
pub use scan::{ScanContext, scan, scan_json};
pub use stats::{reservation, stats};
pub use style::{Line, Role, Style, display_width};
pub use table::{Align, Column, Table};
pub use writers::{WritersContext, writers, writers_json, writers_line};
