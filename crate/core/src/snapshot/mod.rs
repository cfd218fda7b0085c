//! Maps at one time, saved; and two times compared.
//!
//! A snapshot is one JSON document, `gomapscope.snapshot/1`: who was looked at and when, and
//! of each map what `go-map-stats -json` says of it, with its blocks; or, of every map of the
//! process, the rows of `go-map-scan -json`. What is compared is always read from such a
//! document, the present state of a process included: there is one way to understand it.

mod blocks;
mod compare;
mod read;
mod text;
mod write;

use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use blocks::digits;
pub use blocks::{Blocks, Digits, Run, runs};
pub use compare::{
    BucketChange, Change, Class, Delta, Diff, Side, Storage, Sums, TypeChange, compare,
};
pub use read::{ReadFailure, load, read};
pub use text::{diff_json, diff_text};
pub(crate) use text::{saved_json, saved_text};
pub(crate) use write::filter;
pub use write::{Options, Saved, Subject, maps, scan};

/// An address, `"0x…"` in documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::metrics::hex(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl serde::de::Visitor<'_> for Hex {
            type Value = Address;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address (\"0x...\")")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
                text.strip_prefix("0x")
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Address)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// The clocks of the target's machine while it was looked at, and which boot they count from.
/// Of a core or of a remote target they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// `CLOCK_MONOTONIC` in nanoseconds: what Go's `nanotime` and execution traces count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic_ns: Option<u64>,
    /// Nanoseconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ns: Option<u64>,
    /// Within how many nanoseconds both were read; absent where nobody measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ns: Option<u64>,
    /// The kernel's name for this boot: monotonic clocks compare within one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// Who was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `native`, `core` or `remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The identity that Go's linker gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// `go1.27.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// Go's name of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// `swiss` or `classic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The process; only where it runs on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it began, in clock ticks since the boot (proc(5), `starttime`): a pid is used
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ticks: Option<u64>,
    /// The core file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<String>,
}

/// What maps a snapshot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that were asked for: of others it says nothing.
    Named,
    /// Every map of the process.
    All,
    /// As many as a scan listed, had found when it was interrupted, or could find while the
    /// process ran.
    Part,
}

/// A map in a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Its header; 0 for a nil map.
    pub address: u64,
    /// Its type as Go prints it, where it is known to be one.
    pub type_name: Option<Rc<str>>,
    /// Else what it may be.
    pub types: Vec<Rc<str>>,
    /// The expression it was asked for by, or who holds it.
    pub name: Option<Rc<str>>,
    /// What `len` returns.
    pub len: u64,
    /// Slots.
    pub capacity: u64,
    /// Bytes of its blocks.
    pub allocated: u64,
    /// Bytes a rebuild would give back; at least, where its type is not known to be one.
    pub reclaimable: Option<u64>,
    /// Slots that are not live, of all slots.
    pub hole_density: Option<f64>,
    /// Buckets without a live slot, of all buckets.
    pub empty_density: Option<f64>,
    /// Slots of deleted entries.
    pub tombstones: Option<u64>,
    /// The program cannot reach it.
    pub garbage: bool,
    /// Every figure is certain.
    pub exact: bool,
    /// Where it lies.
    pub blocks: Option<Vec<Blocks>>,
    /// Live slots of each bucket, as [`Digits`] writes them.
    pub bucket_live: Option<String>,
    /// Main buckets with 0, 1, 2 … overflow buckets (classic).
    pub chain_lengths: Vec<u64>,
    /// Bytes that hold no entry, by kind; none is in two of them. What a scan found is not
    /// told apart.
    pub unused: Vec<(&'static str, u64)>,
    /// Where its largest block was allocated, innermost call first.
    pub allocated_at: Vec<Rc<str>>,
}

/// A document, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The file, as typed; empty for the present.
    pub path: String,
    /// `gomapscope.snapshot/1`, `gomapscope.scan/1` or `gomapscope.stats/1`.
    pub schema: &'static str,
    /// When.
    pub taken: Taken,
    /// Of whom.
    pub origin: Origin,
    /// Which maps.
    pub scope: Scope,
    /// Whether a scan followed no types.
    pub quick: bool,
    /// Whether a scan looked for the holders of all maps.
    pub holders: bool,
    /// Whether live slots of each bucket were wanted.
    pub buckets: bool,
    /// Whether threads of the process ran while it was taken.
    pub racing: bool,
    /// The maps.
    pub maps: Vec<Record>,
    /// Expressions that could not be followed, and why.
    pub missing: Vec<(String, String)>,
}

impl Snapshot {
    /// What to ask a process for, to compare it: expressions with the addresses they led to
    /// and the types of the maps there.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.maps.iter().filter_map(|map| {
            let type_name = map.type_name.as_deref().unwrap_or_default();
            Some((map.name.as_deref()?, map.address, type_name))
        })
    }
}
