//! Walkers of the two map implementations.
//!
//! A walk reads a map's header and all its storage through [`Memory`], hands
//! every bucket or group to a [`Visitor`] and returns the [`Walk`]: counts, blocks and
//! defects. It cannot panic, reads nothing by a count that has not passed its
//! cap, and ends after a number of steps bounded by what the header declares.

mod classic;
mod defect;
mod slots;
mod swiss;

pub use defect::{DEFECTS_KEPT, Defect, Defects};
pub use slots::{SlotState, Slots};

pub(crate) use classic::array_len;
pub use classic::classic_array_bytes;
pub(crate) use swiss::max_load;

use crate::layout::{Header, MapLayout};
use crate::memory::{Memory, ReadError, Span};

/// Which implementation a map has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `runtime.hmap`: Go up to 1.23; 1.24 and 1.25 with `noswissmap`.
    Classic,
    /// `internal/runtime/maps.Map`: Go 1.24 and later.
    Swiss,
}

impl Family {
    /// `classic` or `swiss`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Swiss => "swiss",
        }
    }

    /// Its word for the units of storage: `buckets` or `groups`.
    #[must_use]
    pub fn units(self) -> &'static str {
        match self {
            Self::Classic => "buckets",
            Self::Swiss => "groups",
        }
    }
}

/// What a bucket is in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// A bucket of the current array.
    Main,
    /// An overflow bucket of the current array.
    Overflow,
    /// A bucket of the old array, or one on its chains.
    Old,
    /// A group.
    Group,
}

impl UnitKind {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Overflow => "overflow",
            Self::Old => "old",
            Self::Group => "group",
        }
    }
}

/// One bucket or group, as a visitor sees it.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Position in the walk.
    pub index: u64,
    /// Its address.
    pub address: u64,
    /// What it is.
    pub kind: UnitKind,
    /// Swiss: directory index of its table; 0 for a small map.
    pub table: u64,
    /// Classic: position in the walk of the bucket whose chain it is on.
    pub parent: u64,
    /// Overflow buckets before it on its chain; 0 for the first bucket itself.
    pub depth: u64,
    /// The state of its slots.
    pub slots: Slots,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next bucket.
    Continue,
    /// No more: the walk ends and is marked as cut.
    Stop,
}

/// Takes the buckets of a walk one by one.
pub trait Visitor {
    /// Whether buckets must come in walk order (classic: array order with each
    /// chain behind its bucket; Swiss: directory order). A visitor that only
    /// counts is served faster in address order.
    fn ordered(&self) -> bool {
        true
    }

    /// Whether the counts of the walk are all that is wanted: sound buckets
    /// are then counted without being shown to [`Visitor::unit`].
    fn counts_only(&self) -> bool {
        false
    }

    /// Takes one bucket.
    fn unit(&mut self, unit: &Unit<'_>) -> Flow;
}

/// Counts only.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountOnly;

impl Visitor for CountOnly {
    fn ordered(&self) -> bool {
        false
    }
    fn counts_only(&self) -> bool {
        true
    }
    fn unit(&mut self, _: &Unit<'_>) -> Flow {
        Flow::Continue
    }
}

/// Tells what a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// The map header.
    Header,
    /// The array of main buckets, preallocated overflow buckets included.
    Buckets,
    /// An overflow bucket allocated on its own.
    Overflow,
    /// The old array during growth.
    OldBuckets,
    /// `mapextra`, or one of the overflow slices behind it.
    Extra,
    /// The directory of tables.
    Directory,
    /// A table's header.
    Table,
    /// A table's groups, or the one group of a small map.
    Groups,
}

/// One contiguous allocation that belongs to the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where, and how many bytes were requested.
    pub span: Span,
    /// What for.
    pub kind: BlockKind,
}

/// Counts over the buckets of the current storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slots.
    pub slots: u64,
    /// Live ones.
    pub live: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Never used ones.
    pub empty: u64,
    /// Slots whose state is none of these.
    pub corrupt: u64,
    /// Buckets.
    pub units: u64,
    /// Buckets without a live slot.
    pub units_empty: u64,
    /// Buckets with 8 live slots.
    pub units_full: u64,
}

impl Counts {
    /// Adds a tally; returns how many buckets it had.
    fn add_tally(&mut self, mut tally: slots::Tally) -> u64 {
        tally.settle();
        self.slots += 8 * tally.units;
        self.live += tally.live;
        self.tombstones += tally.tombstones;
        self.empty += 8 * tally.units - tally.live - tally.tombstones;
        self.units += tally.units;
        self.units_empty += tally.units_empty;
        self.units_full += tally.units_full;
        tally.units
    }

    fn add(&mut self, slots: Slots) {
        let live = u64::from(slots.live());
        let tombstones = u64::from(slots.tombstones());
        let empty = u64::from(slots.empty());
        self.slots += 8;
        self.live += live;
        self.tombstones += tombstones;
        self.empty += empty;
        // Evacuated ones among them: storage that is counted here has none.
        self.corrupt += 8 - live - tombstones - empty;
        self.units += 1;
        self.units_empty += u64::from(live == 0);
        self.units_full += u64::from(live == 8);
    }
}

/// A classic map's own facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct ClassicFacts {
    pub b: u8,
    pub noverflow: u64,
    /// `hmap.flags`.
    pub flags: u8,
    /// Main buckets of the old array; 0 outside growth.
    pub old_buckets: u64,
    /// A growth that keeps the number of buckets.
    pub same_size: bool,
    /// Evacuated buckets of the old array.
    pub evacuated: u64,
    /// Overflow buckets on chains of the current array.
    pub overflow: u64,
    /// Those that lie outside the array.
    pub overflow_outside: u64,
    /// Slots of the old buckets that are not evacuated, and their live ones.
    pub old: Counts,
    /// `chain_lengths[n]`: main buckets with n overflow buckets.
    pub chain_lengths: Vec<u64>,
}

/// One table of a Swiss map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct TableFacts {
    pub address: u64,
    /// First directory entry that points here.
    pub index: u64,
    pub used: u16,
    pub capacity: u16,
    pub growth_left: u16,
    pub local_depth: u8,
    pub groups: u64,
}

/// A Swiss map's own facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Go's own")]
pub struct SwissFacts {
    pub dir_len: u64,
    pub global_depth: u8,
    /// Distinct tables in directory order.
    pub tables: Vec<TableFacts>,
}

/// What only one family has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A classic map's.
    Classic(ClassicFacts),
    /// A Swiss map's.
    Swiss(SwissFacts),
}

/// The result of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// The header's address; 0 for a nil map.
    pub address: u64,
    /// The count in the header.
    pub len: u64,
    /// The header's flag "a write is in progress".
    pub writing: bool,
    /// The current storage, slot by slot.
    pub counts: Counts,
    /// What only one family has.
    pub shape: Shape,
    /// All allocations found. Empty for a nil map.
    pub blocks: Vec<Block>,
    /// Contradictions.
    pub defects: Defects,
    /// Ended by the user.
    pub interrupted: bool,
    /// Ended by the visitor.
    pub cut: bool,
    /// The program ran, or may have, while it was read; set by who knows.
    pub racing: Option<Racing>,
}

/// How it is known that a map may have changed under its walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Racing {
    /// Other threads of the process run.
    Threads,
    /// The process ran in the middle, or the map's header is another one than before.
    Changed,
}

impl Racing {
    /// What it means for the figures.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Threads => {
                "other threads of the program run: figures may be of different moments; \
                 interrupt -a stops all threads"
            }
            Self::Changed => {
                "the program ran while the map was read: figures may be of different moments"
            }
        }
    }
}

impl Walk {
    fn new(address: u64, shape: Shape) -> Self {
        Self {
            address,
            len: 0,
            writing: false,
            counts: Counts::default(),
            shape,
            blocks: Vec::new(),
            defects: Defects::default(),
            interrupted: false,
            cut: false,
            racing: None,
        }
    }

    /// Live slots, those still in old buckets included.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.counts.live
            + match &self.shape {
                Shape::Classic(facts) => facts.old.live,
                Shape::Swiss(_) => 0,
            }
    }

    /// Why what it visited is not certain: a line. A visitor that ended it is no reason.
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        let defect = self.defects.kept().first().map(|defect| {
            let (code, address) = (defect.code, defect.address);
            let (expected, found) = (&defect.expected, &defect.found);
            format!("{code} at {address:#x}: {expected} expected, {found} found")
        });
        defect.or_else(|| self.racing.map(|how| how.sentence().to_owned()))
    }

    /// Whether every figure is certain.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.defects.is_empty()
            && !self.interrupted
            && !self.cut
            && self.racing.is_none()
            && self.live() == self.len
    }
}

/// Why a walk ended early.
enum End {
    Interrupted,
    Stopped,
}

impl From<ReadError> for End {
    fn from(_: ReadError) -> Self {
        Self::Interrupted
    }
}

/// The first two blocks that have a byte in common. The allocator gives each block memory of its
/// own: where the count is right all the same, one of them is not the map's.
fn overlap(blocks: &[Block]) -> Option<(Span, Span)> {
    fn first(mut spans: impl Iterator<Item = Span>) -> Option<(Span, Span)> {
        let mut last = spans.next()?;
        for span in spans {
            if span.start < last.end() {
                return Some((last, span));
            }
            last = span;
        }
        None
    }
    let spans = || {
        let all = blocks.iter().map(|block| block.span);
        all.filter(|span| span.len > 0)
    };
    // Most often they stand in order.
    first(spans())?;
    let mut sorted: Vec<Span> = spans().collect();
    sorted.sort_unstable_by_key(|span| span.start);
    first(sorted.into_iter())
}

/// Walks the map whose header is at `address` (0 for a nil map).
///
/// Never fails: what is unreadable or contradictory is in [`Walk::defects`],
/// and the counts then cover the rest.
pub fn walk(
    memory: &dyn Memory,
    layout: &MapLayout,
    address: u64,
    visitor: &mut dyn Visitor,
) -> Walk {
    let shape = match layout.header {
        Header::Classic(_) => Shape::Classic(ClassicFacts::default()),
        Header::Swiss(_) => Shape::Swiss(SwissFacts::default()),
    };
    let mut walk = Walk::new(address, shape);
    if address == 0 {
        return walk;
    }
    if let Err(reason) = layout.validate() {
        walk.defects.push(
            "layout",
            address,
            "a layout the runtime could have",
            reason,
            "all",
        );
        return walk;
    }
    let mut header = vec![0; layout.header_size()];
    match memory.read(address, &mut header) {
        Ok(()) => {}
        Err(ReadError::Interrupted) => {
            walk.interrupted = true;
            return walk;
        }
        Err(error @ ReadError::Fault { .. }) => {
            walk.defects.push(
                "header-unreadable",
                address,
                "a readable map header",
                error.to_string(),
                "the whole map",
            );
            return walk;
        }
    }
    walk.blocks.push(Block {
        span: Span {
            start: address,
            len: header.len() as u64,
        },
        kind: BlockKind::Header,
    });
    let ended = match layout.header {
        Header::Classic(hmap) => classic::walk(memory, layout, hmap, &header, visitor, &mut walk),
        Header::Swiss(map) => swiss::walk(memory, layout, map, &header, visitor, &mut walk),
    };
    match ended {
        Ok(()) => {}
        Err(End::Interrupted) => walk.interrupted = true,
        Err(End::Stopped) => walk.cut = true,
    }
    if let Some((one, other)) = overlap(&walk.blocks) {
        walk.defects.push(
            "blocks-overlap",
            other.start,
            format!("memory of its own for the block at {:#x}", one.start),
            format!(
                "{} bytes of it in two blocks",
                one.end().min(other.end()) - other.start
            ),
            "",
        );
    }
    let live = walk.live();
    if live != walk.len && !walk.interrupted && !walk.cut {
        let racing = if walk.writing {
            " (a write was in progress)"
        } else {
            ""
        };
        walk.defects.push(
            "count-mismatch",
            address,
            format!("{} entries by the map's header", walk.len),
            format!("{live} live slots{racing}"),
            "",
        );
    }
    walk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(spans: &[(u64, u64)]) -> Vec<Block> {
        let block = |(start, len): &(u64, u64)| Block {
            span: Span {
                start: *start,
                len: *len,
            },
            kind: BlockKind::Overflow,
        };
        spans.iter().map(block).collect()
    }

    #[test]
    fn blocks_that_share_bytes_are_found_in_any_order() {
        for apart in [
            &[][..],
            &[(10, 5)],
            &[(10, 5), (15, 5), (30, 1)],
            &[(30, 1), (10, 5), (15, 5)],
            &[(12, 0), (10, 5), (13, 0)],
            &[(u64::MAX - 4, 4), (0, 8)],
        ] {
            assert_eq!(overlap(&blocks(apart)), None, "{apart:?}");
        }
        for (shared, at) in [
            (&[(10, 5), (14, 5)][..], (10, 14)),
            (&[(14, 5), (40, 2), (10, 5)], (10, 14)),
            (&[(10, 50), (20, 5), (70, 5)], (10, 20)),
            (&[(10, 5), (10, 5)], (10, 10)),
        ] {
            let found = overlap(&blocks(shared)).map(|(one, other)| (one.start, other.start));
            assert_eq!(found, Some(at), "{shared:?}");
        }
    }
}
