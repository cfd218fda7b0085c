//! Allocation snapshots: what happened to a map's storage, when, and who did it.
//!
//! All engines (breakpoints, watchpoints, uprobes, the flight recorder) produce
//! [`Event`]s; [`EventWriter`] writes them as JSON Lines, [`EventReader`] reads them
//! back, cut tails included.

mod file;
mod summary;

pub use file::{
    Clock, End, Ending, EventFileError, EventReader, EventWriter, Header, Line, SCHEMA, boot_id,
};
pub(crate) use summary::Thinned;
pub use summary::{
    Change, EventTotals, Finish, GrowthRow, HistoryRow, MapRow, Rest, RestOfStacks, StackRow,
    Summary, caller, is_runtime, new_bytes, slots_around, slots_delta,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// A map's header was made (`make`, a literal).
    Create,
    /// Larger storage: a classic map's doubled bucket array (`hashGrow`), a Swiss
    /// map's first group, its step from a group to a table, or a larger table.
    Grow,
    /// A new bucket array of the same size (classic, to get rid of overflow buckets).
    GrowSameSize,
    /// The old bucket array of a growth is empty and was let go (classic).
    Evacuated,
    /// An overflow bucket was added (classic).
    Overflow,
    /// A table became two (Swiss).
    Split,
    /// The directory of tables was made anew (Swiss).
    Directory,
    /// The descriptor of a table was made (Swiss).
    Table,
    /// `clear`, or the loop over `delete` that the compiler turns into it.
    Clear,
    /// A copy of a whole map (`maps.Clone`).
    Clone,
    /// An entry was written, or was about to be.
    Assign,
    /// An entry was deleted, or was about to be.
    Delete,
    /// Storage was let go; the collector may free it.
    Release,
    /// The collector freed storage.
    Free,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Create,
        Self::Grow,
        Self::GrowSameSize,
        Self::Evacuated,
        Self::Overflow,
        Self::Split,
        Self::Directory,
        Self::Table,
        Self::Clear,
        Self::Clone,
        Self::Assign,
        Self::Delete,
        Self::Release,
        Self::Free,
    ];

    /// As the file and options spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Grow => "grow",
            Self::GrowSameSize => "grow-same-size",
            Self::Evacuated => "evacuated",
            Self::Overflow => "overflow",
            Self::Split => "split",
            Self::Directory => "directory",
            Self::Table => "table",
            Self::Clear => "clear",
            Self::Clone => "clone",
            Self::Assign => "assign",
            Self::Delete => "delete",
            Self::Release => "release",
            Self::Free => "free",
        }
    }

    /// Whether the map has more storage afterwards, or as much anew.
    #[must_use]
    pub fn is_growth(self) -> bool {
        matches!(self, Self::Grow | Self::GrowSameSize | Self::Split)
    }
}

/// Addresses are "0x…" strings: JSON's numbers hold 53 bits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:#x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom("not a 0x address"))
    }

    pub fn parse(text: &str) -> Option<u64> {
        u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    }

    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer, de::Error};

        #[allow(clippy::ref_option, reason = "serde passes it so")]
        pub fn serialize<S: Serializer>(
            value: &Option<u64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u64>, D::Error> {
            let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.map(|text| super::parse(&text).ok_or_else(|| D::Error::custom("not a 0x address")))
                .transpose()
        }
    }
}

/// One frame of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// `main.(*Server).handle`; a pc in hex where no function is known.
    pub function: String,
    /// The source file's path as it was compiled; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line; 0 where it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    /// The compiler put this call into the next frame's function.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inlined: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What happened to one map's storage. What is not known is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps in what one engine recorded; the ring's own number there.
    pub seq: u64,
    /// The target's `CLOCK_MONOTONIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_mono_ns: Option<u64>,
    /// Nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_wall_ns: Option<u64>,
    /// The goroutine, as stack traces number it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goid: Option<u64>,
    /// The kernel's number of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// What happened.
    pub op: Op,
    /// The map's header.
    #[serde(with = "hex")]
    pub map: u64,
    /// As Go prints it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Entries when it happened; of an assign, before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// log2 of the main buckets, afterwards (classic).
    #[serde(rename = "B", default, skip_serializing_if = "Option::is_none")]
    pub b: Option<u8>,
    /// Length of the directory, afterwards (Swiss).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Slots of the new storage: of the main buckets (classic), of the table (Swiss; of
    /// each of the two after a split).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Slots of the storage it replaces; 0 where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_capacity: Option<u64>,
    /// Slots of the whole map afterwards, without overflow buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_capacity: Option<u64>,
    /// The new storage: bucket array, overflow bucket, group array, directory.
    #[serde(with = "hex::option", default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// Bytes asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The other half's group array after a split; as large.
    #[serde(with = "hex::option", default, skip_serializing_if = "Option::is_none")]
    pub second_block: Option<u64>,
    /// The storage it replaces.
    #[serde(with = "hex::option", default, skip_serializing_if = "Option::is_none")]
    pub old_block: Option<u64>,
    /// Bytes of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_size: Option<u64>,
    /// Of an assign or delete: the key, where it is one word, else where it lies.
    #[serde(with = "hex::option", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u64>,
    /// Slots that are not live, of all slots, 0 to 1, where the map was walked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hole_density: Option<f64>,
    /// Who did it, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Frame>,
    /// The goroutine's pprof labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Sentences on what could not be had or may be inexact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Event {
    /// An event of which nothing else is known.
    #[must_use]
    pub fn new(seq: u64, op: Op, map: u64) -> Self {
        Self {
            seq,
            t_mono_ns: None,
            t_wall_ns: None,
            goid: None,
            thread: None,
            op,
            map,
            type_name: None,
            len: None,
            b: None,
            tables: None,
            capacity: None,
            old_capacity: None,
            map_capacity: None,
            block: None,
            size: None,
            second_block: None,
            old_block: None,
            old_size: None,
            key: None,
            hole_density: None,
            stack: Vec::new(),
            labels: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}
