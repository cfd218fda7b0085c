//! From a file to a [`Snapshot`]. Nothing is passed over: a file that is cut, or none of
//! ours, is an error that tells where.

use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::blocks::{self, BLOCKS_MAX, Blocks};
use super::{Address, Origin, Record, Scope, Snapshot, Taken};
use crate::save::expanded;

/// Documents larger than this, decompressed, are refused: one of a million maps has a third
/// of it.
const SIZE_MAX: u64 = 1 << 30;

const SNAPSHOT: &str = "gomapscope.snapshot/1";
const SCAN: &str = "gomapscope.scan/1";
const STATS: &str = "gomapscope.stats/1";

/// Why a file cannot be compared; one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFailure {
    /// The system says why.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// As typed.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is too large to be one of ours.
    #[error("{0} has more than 1 GiB of text: it is no snapshot of gomapscope")]
    Large(String),
    /// The compressed data ends early or is damaged.
    #[error("{path} is damaged or cut: its compressed data ends at byte {offset} ({reason})")]
    Gzip {
        /// As typed.
        path: String,
        /// How much of the file could be used.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// It is no JSON, or lacks what a document of this schema has.
    #[error("{path} is {what} at byte {offset}: {reason}")]
    Json {
        /// As typed.
        path: String,
        /// What it is instead.
        what: &'static str,
        /// Where, of the decompressed text.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// It is of another schema.
    #[error(
        "{path} is of schema {schema}: what is compared is gomapscope.snapshot/1, .scan/1 and \
         .stats/1"
    )]
    Schema {
        /// As typed.
        path: String,
        /// The schema it names.
        schema: String,
    },
    /// It names no schema.
    #[error("{0} is JSON, but no document of gomapscope: it names no schema")]
    Foreign(String),
    /// Its parts contradict each other.
    #[error("{path} contradicts itself: the map at {address:#x} {reason}")]
    Contradiction {
        /// As typed.
        path: String,
        /// Which map.
        address: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Reads a file that go-map-snapshot wrote, compressed or not; or the document of
/// `go-map-scan -json` or `go-map-stats -json`.
///
/// # Errors
/// When it is none of these, whole.
pub fn load(path: &str) -> Result<Snapshot, ReadFailure> {
    let failed = |error| ReadFailure::Io {
        path: path.to_owned(),
        error,
    };
    let place = expanded(path);
    if std::fs::metadata(&place).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    File::open(&place)
        .and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = decompressed(path, &bytes)?;
    }
    if bytes.len() as u64 > SIZE_MAX {
        return Err(ReadFailure::Large(path.to_owned()));
    }
    read(path, &bytes)
}

fn decompressed(path: &str, packed: &[u8]) -> Result<Vec<u8>, ReadFailure> {
    let mut decoder = GzDecoder::new(packed);
    let mut bytes = Vec::new();
    let read = (&mut decoder).take(SIZE_MAX + 1).read_to_end(&mut bytes);
    let used = (packed.len() - decoder.get_ref().len()) as u64;
    let damaged = |reason: String| ReadFailure::Gzip {
        path: path.to_owned(),
        offset: used,
        reason,
    };
    read.map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 <= SIZE_MAX && used < packed.len() as u64 {
        return Err(damaged("something follows it".to_owned()));
    }
    Ok(bytes)
}

#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    buckets: bool,
    #[serde(default)]
    quick: bool,
    #[serde(default)]
    holders: bool,
}

#[derive(Deserialize)]
struct Missing {
    expression: String,
    reason: String,
}

#[derive(Deserialize)]
struct Document<M> {
    #[serde(default)]
    taken: Taken,
    target: Origin,
    options: Wanted,
    maps: Vec<M>,
    truncated: bool,
    interrupted: bool,
    #[serde(default)]
    missing: Vec<Missing>,
    #[serde(default)]
    totals: SavedTotals,
}

#[derive(Default, Deserialize)]
struct SavedTotals {
    #[serde(default)]
    defects: u64,
    #[serde(default)]
    racing: bool,
}

#[derive(Deserialize)]
struct ScanDocument {
    go_version: Option<String>,
    arch: Option<String>,
    family: Option<String>,
    maps: Vec<ScanMap>,
    truncated: bool,
    interrupted: bool,
    #[serde(default)]
    defects_total: u64,
    #[serde(default)]
    racing: bool,
    totals: ScanTotals,
}

#[derive(Deserialize)]
struct ScanTotals {
    found: u64,
    maps: u64,
}

#[derive(Deserialize)]
struct ScanMap {
    address: Address,
    #[serde(rename = "type")]
    type_name: Option<Rc<str>>,
    #[serde(default)]
    types: Vec<Rc<str>>,
    len: u64,
    capacity: u64,
    allocated: u64,
    reclaimable: Option<u64>,
    reclaimable_range: Option<(u64, u64)>,
    hole_density: Option<f64>,
    tombstones: Option<u64>,
    state: String,
    #[serde(default)]
    at_least: bool,
    held_by: Option<Rc<str>>,
    #[serde(default)]
    allocated_at: Vec<Rc<str>>,
}

#[derive(Deserialize)]
struct StatsMap {
    go_version: Option<String>,
    arch: Option<String>,
    family: String,
    expression: Rc<str>,
    address: Address,
    #[serde(rename = "type")]
    type_name: Rc<str>,
    len: u64,
    slots: Slots,
    buckets: Buckets,
    bytes: Bytes,
    layout: Option<Layout>,
    exact: bool,
    #[serde(default)]
    racing: bool,
    blocks: Option<Vec<Blocks>>,
    bucket_live: Option<String>,
}

#[derive(Deserialize)]
struct Slots {
    capacity: u64,
    #[serde(default)]
    empty: u64,
    tombstones: u64,
    hole_density: Option<f64>,
    #[serde(default)]
    old_live: u64,
}

#[derive(Deserialize)]
struct Layout {
    slot_size: u64,
    bucket_size: u64,
}

#[derive(Deserialize)]
struct Buckets {
    count: u64,
    #[serde(default)]
    overflow: u64,
    empty_density: Option<f64>,
    #[serde(default)]
    chain_lengths: Vec<u64>,
}

#[derive(Deserialize)]
struct Bytes {
    allocated: u64,
    reclaimable: u64,
}

/// Reads a document that is in memory; `path` is what messages call it.
///
/// # Errors
/// When it is none that can be compared, whole.
pub fn read(path: &str, bytes: &[u8]) -> Result<Snapshot, ReadFailure> {
    let head: Head = parse(path, bytes, "not a whole JSON document: it ends or breaks")?;
    let Some(schema) = head.schema else {
        return Err(ReadFailure::Foreign(path.to_owned()));
    };
    let mut snapshot = match (schema.as_str(), head.kind.as_deref()) {
        (SNAPSHOT, Some("scan")) => {
            let document: Document<ScanMap> = parse(path, bytes, LACKS)?;
            taken(document, Scope::All, SNAPSHOT)
        }
        (SNAPSHOT, Some("maps")) => {
            let document: Document<StatsMap> = parse(path, bytes, LACKS)?;
            taken(document, Scope::Named, SNAPSHOT)
        }
        (SCAN, _) => {
            let document: ScanDocument = parse(path, bytes, LACKS)?;
            let totals = &document.totals;
            let part = totals.maps < totals.found;
            taken(
                Document {
                    taken: Taken::default(),
                    target: Origin {
                        go_version: document.go_version,
                        arch: document.arch,
                        family: document.family,
                        ..Origin::default()
                    },
                    options: Wanted {
                        buckets: false,
                        quick: false,
                        holders: false,
                    },
                    maps: document.maps,
                    truncated: document.truncated || part,
                    interrupted: document.interrupted,
                    missing: Vec::new(),
                    totals: SavedTotals {
                        defects: document.defects_total,
                        racing: document.racing,
                    },
                },
                Scope::All,
                SCAN,
            )
        }
        (STATS, _) => {
            let map: StatsMap = parse(path, bytes, LACKS)?;
            let totals = SavedTotals {
                racing: map.racing,
                ..SavedTotals::default()
            };
            taken(
                Document {
                    taken: Taken::default(),
                    target: Origin {
                        go_version: map.go_version.clone(),
                        arch: map.arch.clone(),
                        family: Some(map.family.clone()),
                        ..Origin::default()
                    },
                    options: Wanted {
                        buckets: false,
                        quick: false,
                        holders: false,
                    },
                    maps: vec![map],
                    truncated: false,
                    interrupted: false,
                    missing: Vec::new(),
                    totals,
                },
                Scope::Named,
                STATS,
            )
        }
        _ => {
            let kind = head.kind.map(|kind| format!(", kind {kind}"));
            return Err(ReadFailure::Schema {
                path: path.to_owned(),
                schema: shown(&(schema + &kind.unwrap_or_default())),
            });
        }
    };
    path.clone_into(&mut snapshot.path);
    check(path, &snapshot)?;
    Ok(snapshot)
}

const LACKS: &str = "no such document as its schema says,";

fn taken<M: Into<Record>>(document: Document<M>, scope: Scope, schema: &'static str) -> Snapshot {
    let racing = document.totals.racing;
    let part = document.truncated || document.interrupted || document.totals.defects > 0 || racing;
    let mut maps: Vec<Record> = document.maps.into_iter().map(Into::into).collect();
    // A map that was asked for tells itself whether it changed under the walk. The rows of a
    // search do not.
    if racing && scope == Scope::All {
        for map in &mut maps {
            map.exact = false;
        }
    }
    Snapshot {
        path: String::new(),
        schema,
        taken: document.taken,
        origin: document.target,
        scope: match scope {
            Scope::All if part => Scope::Part,
            scope => scope,
        },
        quick: document.options.quick,
        holders: document.options.holders,
        buckets: document.options.buckets,
        racing,
        maps,
        missing: document
            .missing
            .into_iter()
            .map(|missing| (missing.expression, missing.reason))
            .collect(),
    }
}

impl From<ScanMap> for Record {
    fn from(map: ScanMap) -> Self {
        Self {
            address: map.address.0,
            type_name: map.type_name,
            types: map.types,
            name: map.held_by,
            len: map.len,
            capacity: map.capacity,
            allocated: map.allocated,
            reclaimable: map
                .reclaimable
                .or(map.reclaimable_range.map(|(least, _)| least)),
            hole_density: map.hole_density,
            empty_density: None,
            tombstones: map.tombstones,
            garbage: map.state == "garbage",
            exact: !map.at_least,
            blocks: None,
            bucket_live: None,
            chain_lengths: Vec::new(),
            unused: map
                .reclaimable
                .or(map.reclaimable_range.map(|(least, _)| least))
                .map(|bytes| ("reclaimable", bytes))
                .into_iter()
                .collect(),
            allocated_at: map.allocated_at,
        }
    }
}

impl StatsMap {
    /// Bytes without an entry: slots by their state, what overflow buckets have besides
    /// slots, and old buckets less their live slots.
    fn unused(&self) -> Vec<(&'static str, u64)> {
        let Some(layout) = &self.layout else {
            return Vec::new();
        };
        let slot = layout.slot_size;
        // A bucket has 8 slots.
        let rest = layout.bucket_size.saturating_sub(slot.saturating_mul(8));
        let old: u64 = self
            .blocks
            .iter()
            .flatten()
            .filter(|blocks| blocks.kind == "old")
            .flat_map(|blocks| &blocks.runs)
            .fold(0, |sum, run| {
                sum.saturating_add(run.size.saturating_mul(run.count))
            });
        [
            ("empty slots", self.slots.empty.saturating_mul(slot)),
            ("tombstones", self.slots.tombstones.saturating_mul(slot)),
            (
                "overflow buckets",
                self.buckets.overflow.saturating_mul(rest),
            ),
            (
                "old buckets",
                old.saturating_sub(self.slots.old_live.saturating_mul(slot)),
            ),
        ]
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
    }
}

impl From<StatsMap> for Record {
    fn from(map: StatsMap) -> Self {
        // A walk of buckets that are not all of it says nothing of the others.
        let whole = |text: &String| blocks::buckets(text) == Some(map.buckets.count);
        let unused = map.unused();
        Self {
            address: map.address.0,
            type_name: Some(map.type_name),
            types: Vec::new(),
            name: (!map.expression.is_empty()).then_some(map.expression),
            len: map.len,
            capacity: map.slots.capacity,
            allocated: map.bytes.allocated,
            reclaimable: Some(map.bytes.reclaimable),
            hole_density: map.slots.hole_density,
            empty_density: map.buckets.empty_density,
            tombstones: Some(map.slots.tombstones),
            garbage: false,
            exact: map.exact && map.bucket_live.as_ref().is_none_or(whole),
            blocks: map.blocks,
            bucket_live: map.bucket_live,
            chain_lengths: map.buckets.chain_lengths,
            unused,
            allocated_at: Vec::new(),
        }
    }
}

/// What a document of the right form may still say wrongly.
fn check(path: &str, snapshot: &Snapshot) -> Result<(), ReadFailure> {
    for map in &snapshot.maps {
        let wrong = |reason| ReadFailure::Contradiction {
            path: path.to_owned(),
            address: map.address,
            reason,
        };
        let densities = [map.hole_density, map.empty_density];
        if densities
            .iter()
            .flatten()
            .any(|share| !(0.0..=1.0).contains(share))
        {
            return Err(wrong("has a density that is not between 0 and 1"));
        }
        if map
            .blocks
            .as_ref()
            .is_some_and(|blocks| blocks::count(blocks) > BLOCKS_MAX)
        {
            return Err(wrong("has more blocks than fit into memory"));
        }
        if map
            .bucket_live
            .as_ref()
            .is_some_and(|text| blocks::buckets(text).is_none())
        {
            return Err(wrong("has a bucket_live that is none"));
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(
    path: &str,
    bytes: &[u8],
    what: &'static str,
) -> Result<T, ReadFailure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // serde_json adds the line and the column, which our offset stands for.
        let reason = text.split(" at line ").next().unwrap_or(&text);
        ReadFailure::Json {
            path: path.to_owned(),
            what,
            offset: if error.is_eof() {
                bytes.len() as u64
            } else {
                offset(bytes, error.line(), error.column())
            },
            reason: shown(reason),
        }
    })
}

/// The position that a line and a column, both from 1, stand for.
fn offset(bytes: &[u8], line: usize, column: usize) -> u64 {
    let start = match line.saturating_sub(1) {
        0 => 0,
        before => bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(before - 1)
            .map_or(0, |(at, _)| at + 1),
    };
    (start + column.saturating_sub(1)).min(bytes.len()) as u64
}

/// Text of a foreign file in a message.
fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let mut text = crate::report::sanitize(text, true).into_owned();
    if let Some((cut, _)) = text.char_indices().nth(MOST) {
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = concat!(
        r#"{"schema":"gomapscope.snapshot/1","kind":"maps","taken":{"wall_ns":5},"target":{"pid":7},"#,
        r#""options":{"buckets":true,"quick":false,"holders":false},"maps":[{"family":"swiss","#,
        r#""expression":"m","address":"0x10","type":"map[int]int","len":3,"#,
        r#""slots":{"capacity":8,"tombstones":1,"hole_density":0.625},"buckets":{"count":1,"empty_density":0},"#,
        r#""bytes":{"allocated":96,"reclaimable":0},"exact":true,"#,
        r#""blocks":[{"kind":"groups","runs":[["0x40",72]]}],"bucket_live":"3"}],"#,
        r#""truncated":false,"interrupted":false}"#,
    );

    fn error(text: &str) -> String {
        match read("a.json", text.as_bytes()) {
            Ok(found) => panic!("{text}: {found:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_whole_document_is_read() {
        let found = read("a.json", WHOLE.as_bytes()).unwrap();
        assert_eq!((found.scope, found.buckets), (Scope::Named, true));
        assert_eq!((found.taken.wall_ns, found.origin.pid), (Some(5), Some(7)));
        let map = &found.maps[0];
        assert_eq!(
            (map.address, map.len, map.capacity, map.allocated),
            (16, 3, 8, 96)
        );
        assert!(map.exact);
        assert_eq!(map.bucket_live.as_deref(), Some("3"));
        assert_eq!(
            found.wanted().collect::<Vec<_>>(),
            [("m", 16, "map[int]int")]
        );
        assert!(!found.racing);
        // Digits of fewer buckets than there are.
        let few = WHOLE.replace(r#""count":1"#, r#""count":2"#);
        assert!(!read("a", few.as_bytes()).unwrap().maps[0].exact);
    }

    #[test]
    fn what_was_read_while_threads_ran_is_not_exact() {
        const ROW: &str = concat!(
            r#"{"address":"0x10","type":"map[int]int","len":1,"capacity":8,"allocated":96,"#,
            r#""state":"live"}"#
        );
        let found = |text: &str| read("a", text.as_bytes()).unwrap();
        let saved = |totals: &str| {
            format!(
                r#"{{"schema":"gomapscope.snapshot/1","kind":"scan","target":{{}},"options":{{}},"maps":[{ROW}],"truncated":false,"interrupted":false,"totals":{{{totals}}}}}"#
            )
        };
        let scanned = |racing: &str| {
            format!(
                r#"{{"schema":"gomapscope.scan/1","maps":[{ROW}],"truncated":false,"interrupted":false,{racing}"totals":{{"found":1,"maps":1}}}}"#
            )
        };
        for (still, racing) in [
            (saved(r#""defects":0"#), saved(r#""racing":true"#)),
            (scanned(""), scanned(r#""racing":true,"#)),
        ] {
            let (still, racing) = (found(&still), found(&racing));
            assert_eq!((still.racing, still.scope), (false, Scope::All));
            assert!(still.maps[0].exact);
            // A search of a heap that changes may miss what is there.
            assert_eq!((racing.racing, racing.scope), (true, Scope::Part));
            assert!(!racing.maps[0].exact);
        }
        // Each map that was asked for says for itself whether it was written to.
        let named = WHOLE.replace(
            r#""interrupted":false}"#,
            r#""interrupted":false,"totals":{"racing":true}}"#,
        );
        let named = found(&named);
        assert_eq!((named.racing, named.scope), (true, Scope::Named));
        assert!(named.maps[0].exact);
    }

    #[test]
    fn what_is_cut_or_foreign_is_told_with_its_place() {
        for end in 0..WHOLE.len() {
            let said = error(&WHOLE[..end]);
            assert!(
                said.starts_with("a.json is not a whole JSON document"),
                "{said}"
            );
            // A number or a word that is cut is told by its last byte.
            let near = [end, end.saturating_sub(1)];
            let told = near
                .iter()
                .any(|at| said.contains(&format!("at byte {at}: ")));
            assert!(told, "{end}: {said}");
        }
        let after = format!("{WHOLE}\n{{}}");
        let place = format!("at byte {}: trailing characters", WHOLE.len() + 1);
        assert!(error(&after).contains(&place), "{}", error(&after));
        assert!(error("\u{7f}ELF").contains("at byte 0: expected value"));
        assert!(error("[1]").contains("at byte"));
        assert_eq!(
            error("{}"),
            "a.json is JSON, but no document of gomapscope: it names no schema"
        );
        for (from, to) in [
            ("snapshot/1", "snapshot/2"),
            ("snapshot/1", "buckets/1"),
            (r#""kind":"maps""#, r#""kind":"\u001b[2J""#),
        ] {
            let said = error(&WHOLE.replace(from, to));
            assert!(said.contains("is of schema gomapscope."), "{said}");
            assert!(!said.chars().any(char::is_control));
        }
        for (from, to, place) in [
            (r#""len":3"#, r#""len":-3"#, "expected u64"),
            (r#""len":3,"#, "", "missing field `len`"),
            (r#""0x10""#, r#""16""#, "expected an address"),
            (
                r#""0x10""#,
                r#""0x1ffffffffffffffff""#,
                "expected an address",
            ),
            (r#"["0x40",72]"#, r#"["0x40"]"#, "address, size"),
            (r#""exact":true"#, r#""exact":1"#, "expected a boolean"),
        ] {
            let said = error(&WHOLE.replace(from, to));
            assert!(
                said.contains("no such document as its schema says, at byte"),
                "{said}"
            );
            assert!(said.contains(place), "{said}");
        }
        for (from, to) in [
            ("0.625", "1.5"),
            ("0.625", "-1"),
            (r#""bucket_live":"3""#, r#""bucket_live":"9""#),
            (r#""bucket_live":"3""#, r#""bucket_live":"0x0;""#),
            ("72]", "72,67108864,0],[\"0x0\",1]"),
        ] {
            let said = error(&WHOLE.replace(from, to));
            assert!(
                said.contains("contradicts itself: the map at 0x10"),
                "{said}"
            );
        }
    }

    #[test]
    fn compressed_files_must_be_whole_too() {
        let folder = std::env::temp_dir().join(format!("read-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.json.gz");
        let name = path.to_str().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(WHOLE.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(load(name).unwrap().maps.len(), 1);
        for end in [2, 10, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
            std::fs::write(&path, &packed[..end]).unwrap();
            let said = load(name).unwrap_err().to_string();
            assert!(
                said.contains("is damaged or cut: its compressed data ends at byte"),
                "{said}"
            );
        }
        std::fs::write(&path, [&packed[..], b"x"].concat()).unwrap();
        assert!(
            load(name)
                .unwrap_err()
                .to_string()
                .contains("something follows")
        );
        assert!(load(folder.to_str().unwrap()).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
        let said = load(name).unwrap_err().to_string();
        assert!(said.contains("cannot be read: No such file"), "{said}");
    }

    proptest! {
        #[test]
        fn any_change_of_a_document_is_read_or_refused(
            at in 0..WHOLE.len(),
            with in any::<u8>(),
        ) {
            let mut bytes = WHOLE.as_bytes().to_vec();
            bytes[at] = with;
            if let Err(error) = read("a", &bytes) {
                prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
            }
        }
    }
}
