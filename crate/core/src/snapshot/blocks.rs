//! Where a map's memory lies, and how many live slots each bucket has, in few characters.

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Address;
use crate::map::{Block, BlockKind};

/// Blocks of one map that a document may have: a file is no reason to run out of memory.
pub(super) const BLOCKS_MAX: u64 = 1 << 26;
/// Buckets of one map.
const BUCKETS_MAX: u64 = 1 << 34;
/// Buckets with equally many live slots that are written as a run.
const RUN: u64 = 4;

/// Blocks of one size at equal distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub start: u64,
    /// Bytes of each.
    pub size: u64,
    /// How many.
    pub count: u64,
    /// Bytes from one to the next; 0 for one alone.
    pub stride: u64,
}

/// `["0xc000", 48]`, or with count and stride: `["0xc000", 48, 3, 64]`.
impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&Address(self.start))?;
        list.serialize_element(&self.size)?;
        if self.count != 1 {
            list.serialize_element(&self.count)?;
            list.serialize_element(&self.stride)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Runs;
        impl<'de> Visitor<'de> for Runs {
            type Value = Run;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[address, size] or [address, size, count, stride]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Run, A::Error> {
                let missing = |at| de::Error::invalid_length(at, &Self);
                let Address(start) = list.next_element()?.ok_or_else(|| missing(0))?;
                let size: u64 = list.next_element()?.ok_or_else(|| missing(1))?;
                let (count, stride): (u64, u64) = match list.next_element()? {
                    None => (1, 0),
                    Some(count) => (count, list.next_element()?.ok_or_else(|| missing(3))?),
                };
                let last = count
                    .checked_sub(1)
                    .and_then(|steps| steps.checked_mul(stride)?.checked_add(start))
                    .and_then(|last| last.checked_add(size));
                if last.is_none() || count > BLOCKS_MAX {
                    return Err(de::Error::custom(
                        "a run of blocks leaves the address space",
                    ));
                }
                Ok(Run {
                    start,
                    size,
                    count,
                    stride,
                })
            }
        }
        deserializer.deserialize_seq(Runs)
    }
}

/// The blocks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// `header`, `buckets`, `overflow`, `old`, `extra`, `directory`, `table` or `groups`.
    pub kind: String,
    /// In the order of their addresses.
    pub runs: Vec<Run>,
}

impl Blocks {
    /// Whether they hold the slots of the present: not headers, and not what a growth is
    /// about to leave.
    #[must_use]
    pub fn storage(&self) -> bool {
        matches!(self.kind.as_str(), "buckets" | "overflow" | "groups")
    }
}

fn word(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Header => "header",
        BlockKind::Buckets => "buckets",
        BlockKind::Overflow => "overflow",
        BlockKind::OldBuckets => "old",
        BlockKind::Extra => "extra",
        BlockKind::Directory => "directory",
        BlockKind::Table => "table",
        BlockKind::Groups => "groups",
    }
}

/// The blocks of a walk, in runs.
#[must_use]
pub fn runs(blocks: &[Block]) -> Vec<Blocks> {
    let mut sorted: Vec<(&'static str, u64, u64)> = blocks
        .iter()
        .map(|block| (word(block.kind), block.span.start, block.span.len))
        .collect();
    sorted.sort_unstable();
    let mut kinds: Vec<Blocks> = Vec::new();
    for (kind, start, size) in sorted {
        if kinds.last().is_none_or(|last| last.kind != kind) {
            kinds.push(Blocks {
                kind: kind.to_owned(),
                runs: Vec::new(),
            });
        }
        let Some(list) = kinds.last_mut().map(|last| &mut last.runs) else {
            continue;
        };
        match list.last_mut() {
            Some(run) if run.size == size && run.count == 1 && start > run.start => {
                run.stride = start - run.start;
                run.count = 2;
            }
            Some(run)
                if run.size == size
                    && run.count > 1
                    && run.start.checked_add(run.count * run.stride) == Some(start) =>
            {
                run.count += 1;
            }
            _ => list.push(Run {
                start,
                size,
                count: 1,
                stride: 0,
            }),
        }
    }
    kinds
}

/// The storage blocks one by one: address and size, ascending.
pub(super) fn storage(blocks: &[Blocks]) -> Vec<(u64, u64)> {
    let mut list: Vec<(u64, u64)> = blocks
        .iter()
        .filter(|blocks| blocks.storage())
        .flat_map(|blocks| &blocks.runs)
        .flat_map(|run| {
            // What is read is bounded, and no run leaves the address space.
            (0..run.count).map(|at| {
                let offset = at.wrapping_mul(run.stride);
                (run.start.wrapping_add(offset), run.size)
            })
        })
        .collect();
    list.sort_unstable();
    list
}

/// How many blocks a document says a map has.
pub(super) fn count(blocks: &[Blocks]) -> u64 {
    blocks
        .iter()
        .flat_map(|blocks| &blocks.runs)
        .fold(0, |sum, run| sum.saturating_add(run.count))
}

/// Live slots of bucket after bucket: a digit each, and `0x1200;` for 1,200 buckets of 0.
#[derive(Debug, Clone, Default)]
pub struct Digits {
    text: String,
    live: u8,
    run: u64,
}

impl Digits {
    /// Adds the next bucket; it has 8 slots.
    pub fn push(&mut self, live: u32) {
        let live = live.min(8) as u8;
        if live != self.live {
            self.flush();
            self.live = live;
        }
        self.run += 1;
    }

    fn flush(&mut self) {
        use std::fmt::Write as _;
        if self.run >= RUN {
            let _ = write!(self.text, "{}x{};", self.live, self.run);
        } else {
            for _ in 0..self.run {
                self.text.push(char::from(b'0' + self.live));
            }
        }
        self.run = 0;
    }

    /// All that was added.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

/// The runs of a text of [`Digits`]: live slots, and of how many buckets.
pub(crate) fn digits(text: &str) -> impl Iterator<Item = Option<(u8, u64)>> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = rest.bytes().next()?;
        let mut next = || {
            if !(b'0'..=b'8').contains(&digit) {
                return None;
            }
            rest = rest.get(1..)?;
            let Some(run) = rest.strip_prefix('x') else {
                return Some((digit - b'0', 1));
            };
            let (count, after) = run.split_once(';')?;
            rest = after;
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some((digit - b'0', count))
        };
        let found = next();
        if found.is_none() {
            rest = "";
        }
        Some(found)
    })
}

/// How many buckets a text of [`Digits`] tells of; `None` where it is none.
pub(super) fn buckets(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    for run in digits(text) {
        sum = sum.checked_add(run?.1)?;
    }
    (sum <= BUCKETS_MAX).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Span;

    fn block(kind: BlockKind, start: u64, len: u64) -> Block {
        Block {
            span: Span { start, len },
            kind,
        }
    }

    #[test]
    fn equal_steps_are_one_run() {
        let blocks = [
            block(BlockKind::Groups, 300, 8),
            block(BlockKind::Groups, 100, 8),
            block(BlockKind::Groups, 200, 8),
            block(BlockKind::Groups, 450, 8),
            block(BlockKind::Header, 1, 48),
        ];
        let found = runs(&blocks);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(
            text,
            r#"[{"kind":"groups","runs":[["0x64",8,3,100],["0x1c2",8]]},{"kind":"header","runs":[["0x1",48]]}]"#
        );
        let read: Vec<Blocks> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, found);
        assert_eq!(storage(&read), [(100, 8), (200, 8), (300, 8), (450, 8)]);
        assert_eq!(count(&read), 5);
    }

    #[test]
    fn runs_that_cannot_be_are_refused() {
        for wrong in [
            "[]",
            r#"["0x1"]"#,
            r#"["0x1",8,2]"#,
            r#"["0x1",8,0,1]"#,
            r#"["0x1",8,2,1,5]"#,
            r#"["1",8]"#,
            r#"["0xffffffffffffffff",8]"#,
            r#"["0x1",8,1000000000000,0]"#,
            r#"["0x1",8,3,9223372036854775807]"#,
        ] {
            assert!(serde_json::from_str::<Run>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn blocks_come_back(
            list in prop::collection::btree_map(0_u64..1 << 40, 1_u64..5000, 0..40),
            step in 0_u64..3,
        ) {
            let mut blocks: Vec<Block> = list
                .iter()
                .map(|(start, size)| block(BlockKind::Overflow, *start, *size / 1000 + 1))
                .collect();
            let first = 1 << 41;
            blocks.extend((0..20).map(|at| block(BlockKind::Groups, first + at * (64 + step), 64)));
            let mut wanted: Vec<_> =
                blocks.iter().map(|block| (block.span.start, block.span.len)).collect();
            wanted.sort_unstable();
            let runs = runs(&blocks);
            prop_assert_eq!(count(&runs), blocks.len() as u64);
            let text = serde_json::to_string(&runs).unwrap();
            let read: Vec<Blocks> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(storage(&read), wanted);
        }

        #[test]
        fn digits_come_back(lives in prop::collection::vec(0_u32..=8, 0..200)) {
            let mut text = Digits::default();
            for live in &lives {
                text.push(*live);
            }
            let text = text.finish();
            let read: Option<Vec<_>> = digits(&text).collect();
            let read: Vec<u32> = read
                .unwrap()
                .into_iter()
                .flat_map(|(live, count)| vec![u32::from(live); count as usize])
                .collect();
            prop_assert_eq!(buckets(&text), Some(lives.len() as u64));
            prop_assert_eq!(read, lives);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9x;]{0,30}") {
            let _ = buckets(&text);
        }
    }
}
