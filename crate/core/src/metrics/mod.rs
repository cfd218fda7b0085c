//! Pure arithmetic on a walk: density, bytes, rebuild, spans, severity.
//!
//! [`Stats`] is the model that text, JSON, MI and Python all show; its field
//! names are the JSON names of `go-map-stats -json`.

mod rebuild;
mod summary;
mod whatif;

pub use rebuild::{indirect_bytes, rebuild_bytes};
pub use summary::{Context, page_runs, stats};
pub use whatif::{LayoutReport, Piece, Value, WhatIf, layout_report};

use serde::{Serialize, Serializer};

use crate::map::Defect;

/// Writes an address as `"0x…"`: JSON numbers lose bits above 2^53.
pub(crate) fn hex<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// How empty a map's buckets are, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Below 5 % of the buckets have no live slot.
    Healthy,
    /// From 5 % to 20 %.
    Light,
    /// Above 20 %.
    Severe,
}

impl Severity {
    /// The severity of an empty density (0 to 1).
    #[must_use]
    pub fn of(empty_density: f64) -> Self {
        if empty_density < 0.05 {
            Self::Healthy
        } else if empty_density <= 0.20 {
            Self::Light
        } else {
            Self::Severe
        }
    }

    /// The word shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Light => "light",
            Self::Severe => "severe",
        }
    }
}

/// Everything `go-map-stats` says of one map. Absent fields are not known or
/// do not apply to the family; nothing here is a guess unless its name or
/// [`Stats::notes`] says so. Sizes are bytes, densities 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// `gomapscope.stats/1`.
    pub schema: &'static str,
    /// `go1.27.3`; the experiments follow as the toolchain writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// `amd64`, `arm64`, …: Go's word for the architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// `swiss` or `classic`.
    pub family: &'static str,
    /// The expression that was asked for.
    pub expression: String,
    /// The map header; 0 for a nil map.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// The map's type as Go prints it: `map[string]main.T`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The key type.
    pub key_type: String,
    /// The elem type.
    pub elem_type: String,
    /// The count in the map's own header: what `len` returns.
    pub len: u64,
    /// Slots, counted one by one.
    pub slots: Slots,
    /// Buckets (classic) or groups (Swiss).
    pub buckets: Buckets,
    /// Only for a classic map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classic: Option<ClassicShape>,
    /// Only for a Swiss map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swiss: Option<SwissShape>,
    /// When the map grows next, and what that costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_growth: Option<NextGrowth>,
    /// Sizes in bytes.
    pub bytes: Bytes,
    /// Where the storage lies; absent while the map has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Addresses>,
    /// How a slot is laid out and how we know.
    pub layout: LayoutFacts,
    /// Slots counted equal the header's count and nothing was unreadable,
    /// interrupted or contradictory.
    pub exact: bool,
    /// The walk was interrupted: every figure covers only what was read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// The header's "a write is in progress" flag was set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writing: bool,
    /// Other threads of the program ran while the map was read, or its header changed
    /// meanwhile: figures may be of different moments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub racing: bool,
    /// The first 64 defects.
    pub defects: Vec<Defect>,
    /// How many defects there were in all.
    pub defects_total: u64,
    /// Sentences that qualify a figure (`allocated` from the size-class table …).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What commands of the console script name the process by; `None` in gdb.
    #[serde(skip)]
    pub console: Option<String>,
}

/// Slot counts. `live + empty + tombstones == capacity` outside growth; while
/// a classic map grows, `live` also holds the slots still in `old`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Slots {
    /// Classic: 8 × (2^B + overflow buckets); Swiss: capacities of the tables.
    pub capacity: u64,
    /// Live slots, the not yet evacuated old ones included.
    pub live: u64,
    /// Never used since the last growth or clear (emptyRest; ctrl 0x80).
    pub empty: u64,
    /// Deleted (emptyOne; ctrl 0xFE).
    pub tombstones: u64,
    /// (capacity - live slots of the current storage) / capacity; absent
    /// while the map has no storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole_density: Option<f64>,
    /// Slots of old buckets not yet evacuated (classic, during growth).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<u64>,
    /// The live ones of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_live: Option<u64>,
}

/// Bucket (classic) or group (Swiss) counts of the current storage.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Buckets {
    /// main + overflow.
    pub count: u64,
    /// 2^B buckets, or all groups.
    pub main: u64,
    /// Overflow buckets on the chains.
    pub overflow: u64,
    /// Without a live slot.
    pub empty: u64,
    /// With 8 live slots.
    pub full: u64,
    /// empty / count; absent while the map has no storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_density: Option<f64>,
    /// In one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Main buckets with 0, 1, 2 … overflow buckets (classic).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_lengths: Option<Vec<u64>>,
}

/// The fields of `runtime.hmap`, and what a growth in progress has done.
#[derive(Debug, Clone, Serialize)]
pub struct ClassicShape {
    /// log2 of the number of main buckets.
    #[serde(rename = "B")]
    pub b: u8,
    /// The header's own count: exact while B < 16, approximate above.
    pub noverflow: u64,
    /// `none`, `double` or `same-size`.
    pub growth: &'static str,
    /// Main buckets of the old array; 0 outside growth.
    pub old_buckets: u64,
    /// How many of those have been evacuated.
    pub evacuated: u64,
    /// Overflow buckets preallocated behind the main array.
    pub prealloc: u64,
    /// Overflow buckets allocated one by one, outside the array.
    pub overflow_outside: u64,
}

/// The fields of `internal/runtime/maps.Map`, and of its tables.
#[derive(Debug, Clone, Serialize)]
pub struct SwissShape {
    /// Distinct tables; 0 for a small map.
    pub tables: u64,
    /// Directory entries; 0 for a small map.
    pub dir_len: u64,
    /// log2 of `dir_len`.
    pub global_depth: u8,
    /// Free slots before the tables grow, summed.
    pub growth_left: u64,
    /// One group, no table.
    pub small: bool,
    /// Tables by capacity: `[slots, tables]` pairs, ascending.
    pub table_capacities: Vec<(u64, u64)>,
}

/// When a map grows next.
#[derive(Debug, Clone, Serialize)]
pub struct NextGrowth {
    /// `allocate`, `double`, `same-size`, `to-table`, `table-double`,
    /// `table-split`; `in-progress` while a classic map evacuates.
    pub kind: &'static str,
    /// New keys that certainly fit before it. For a map of several tables the
    /// growth comes when the fullest table overflows, somewhere between this
    /// and `at_most`. While a classic map evacuates, the next growth waits
    /// until that is over.
    pub fits: u64,
    /// New keys that fit at the very most.
    pub at_most: u64,
    /// The table that is nearest to its growth (directory index).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u64>,
    /// Bytes that growth allocates (allocator slots).
    pub cost: u64,
    /// Live slots per main bucket (classic) or live / capacity (Swiss).
    pub load_factor: f64,
    /// The load factor at which it grows: 6.5 or 6 per bucket, 0.875 of slots.
    pub max_load_factor: f64,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Bytes {
    /// The allocator slots of all blocks: header, storage, directory, …
    pub allocated: u64,
    /// `spans` (read from the heap) or `size classes` (computed).
    pub allocated_from: &'static str,
    /// The spans that hold the blocks; only with `allocated_from` `spans`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<BlockSpans>,
    /// Requested bytes of bucket arrays, overflow buckets, groups.
    pub storage: u64,
    /// Live slots × slot size, indirect keys and elems included.
    pub live: u64,
    /// Holes × slot size.
    pub holes: u64,
    /// What a fresh `make(map[K]V, len)` plus `len` inserts allocates.
    pub rebuild: u64,
    /// max(0, allocated - rebuild).
    pub reclaimable: u64,
}

/// The heap's spans that hold a map's blocks, and how full they are: a span goes back to
/// the heap only when all its slots are free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BlockSpans {
    /// Spans.
    pub spans: u64,
    /// Their slots, those of other objects included.
    pub slots: u64,
    /// Free ones among them.
    pub free: u64,
}

impl Stats {
    /// Takes what the map allocates from the heap's own books instead of from size
    /// classes; what follows from it changes, too.
    pub fn set_allocated(&mut self, bytes: u64, spans: Option<BlockSpans>) {
        self.bytes.allocated = bytes;
        self.bytes.allocated_from = "spans";
        self.bytes.spans = spans;
        self.bytes.reclaimable = bytes.saturating_sub(self.bytes.rebuild);
    }
}

/// Where the storage blocks lie.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    /// Storage blocks: bucket arrays, overflow buckets outside them, groups.
    pub blocks: u64,
    /// Lowest start.
    #[serde(serialize_with = "hex")]
    pub low: u64,
    /// Highest end.
    #[serde(serialize_with = "hex")]
    pub high: u64,
    /// high - low.
    pub span: u64,
    /// Distinct 4 KiB pages touched.
    pub pages: u64,
    /// ceil(storage / 4096).
    pub min_pages: u64,
    /// Pages of those that are in memory now; only for a native process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_pages: Option<u64>,
}

/// How a slot is laid out, and how we know.
#[derive(Debug, Clone, Serialize)]
pub struct LayoutFacts {
    /// `dwarf`, `runtime types` or `given`.
    pub source: &'static str,
    /// Bytes a slot takes of its bucket or group.
    pub slot_size: u64,
    /// Bytes of a bucket or group.
    pub bucket_size: u64,
    /// Slots hold pointers to the keys (over 128 bytes).
    pub indirect_key: bool,
    /// Slots hold pointers to the elems (over 128 bytes).
    pub indirect_elem: bool,
}

/// One bucket or group of `go-map-buckets`.
#[derive(Debug, Clone, Serialize)]
pub struct BucketRow {
    /// Position in the walk.
    pub index: u64,
    /// Its address.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// `main`, `overflow`, `old` or `group`.
    pub kind: &'static str,
    /// Directory index of its table (Swiss).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u64>,
    /// `index` of the bucket whose chain it is on (overflow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// Eight marks: `L` live, `E` empty, `T` tombstone, `V` evacuated, `?`
    /// neither (a defect).
    pub marks: String,
    /// Live slots.
    pub live: u8,
    /// Tombstones.
    pub tombstones: u8,
    /// Overflow buckets behind this main bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<u64>,
}

/// One cell of the heat strip: a run of consecutive buckets.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HeatCell {
    /// First bucket of the run (walk index).
    pub first: u64,
    /// Buckets in the run.
    pub buckets: u64,
    /// Their live slots.
    pub live: u64,
    /// Their tombstones.
    pub tombstones: u64,
    /// Their slots.
    pub slots: u64,
}

/// One entry of `go-map-entries`.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The key in Go syntax.
    pub key: String,
    /// The elem in Go syntax.
    pub elem: String,
    /// Where the key's slot lies.
    #[serde(serialize_with = "hex")]
    pub address: u64,
}
