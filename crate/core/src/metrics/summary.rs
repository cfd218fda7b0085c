//! From a walk to the figures people read.

use super::rebuild::{
    array_bytes, classic, directory_bytes, groups_bytes, indirect_bytes, max_len, swiss,
};
use super::{
    Addresses, Buckets, Bytes, ClassicShape, LayoutFacts, NextGrowth, Severity, Slots, Stats,
    SwissShape,
};
use crate::layout::{Header, MapLayout};
use crate::map::{Block, BlockKind, ClassicFacts, Shape, SwissFacts, Walk, array_len, max_load};
use crate::memory::PAGE;

/// What the figures are labelled with.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The expression that was asked for.
    pub expression: String,
    /// The map's type.
    pub type_name: String,
    /// Its key type.
    pub key_type: String,
    /// Its elem type.
    pub elem_type: String,
    /// The toolchain.
    pub go_version: Option<String>,
    /// The architecture.
    pub arch: Option<String>,
    /// What commands of the console script name the process by; `None` in gdb.
    pub console: Option<String>,
    /// A process on this machine whose page table may be asked.
    pub pid: Option<u32>,
}

/// The figures of one walk.
#[must_use]
pub fn stats(walk: &Walk, layout: &MapLayout, context: &Context) -> Stats {
    let counts = walk.counts;
    let live = walk.live();
    let holes = counts.slots - counts.live;
    let has_storage = counts.units > 0;
    let overflow = match &walk.shape {
        Shape::Classic(facts) => facts.overflow,
        Shape::Swiss(_) => 0,
    };
    let empty_density = has_storage.then(|| counts.units_empty as f64 / counts.units as f64);
    let (storage, addresses) = addresses(walk, context.pid);
    let allocated = allocated(walk, layout, live);
    let nil = walk.address == 0;
    let rebuild = match layout.header {
        _ if nil => super::rebuild::Estimate {
            bytes: 0,
            by_chance: false,
        },
        Header::Classic(hmap) => classic(layout, hmap, walk.len),
        Header::Swiss(map) => swiss(layout, map, walk.len),
    };
    let slot_size = layout.slot_size();
    let indirect_value = |part: crate::layout::Part| if part.indirect { part.size } else { 0 };
    let mut notes = Vec::new();
    if rebuild.by_chance {
        notes.push(
            "rebuild is an expectation: how evenly keys spread depends on the hash seed".into(),
        );
    }
    notes.extend(walk.racing.map(|how| how.sentence().to_owned()));
    Stats {
        schema: "gomapscope.stats/1",
        go_version: context.go_version.clone(),
        arch: context.arch.clone(),
        family: layout.family().word(),
        expression: context.expression.clone(),
        address: walk.address,
        type_name: context.type_name.clone(),
        key_type: context.key_type.clone(),
        elem_type: context.elem_type.clone(),
        len: walk.len,
        slots: Slots {
            capacity: counts.slots,
            live,
            empty: counts.empty,
            tombstones: counts.tombstones,
            hole_density: has_storage.then(|| holes as f64 / counts.slots as f64),
            old: growing(walk).map(|facts| facts.old.slots),
            old_live: growing(walk).map(|facts| facts.old.live),
        },
        buckets: Buckets {
            count: counts.units,
            main: counts.units - overflow,
            overflow,
            empty: counts.units_empty,
            full: counts.units_full,
            empty_density,
            severity: empty_density.map(Severity::of),
            chain_lengths: match &walk.shape {
                Shape::Classic(facts) => Some(facts.chain_lengths.clone()),
                Shape::Swiss(_) => None,
            },
        },
        classic: match &walk.shape {
            Shape::Classic(facts) => Some(classic_shape(facts, layout, has_storage)),
            Shape::Swiss(_) => None,
        },
        swiss: match &walk.shape {
            Shape::Swiss(facts) => Some(swiss_shape(facts, has_storage)),
            Shape::Classic(_) => None,
        },
        next_growth: if nil { None } else { next_growth(walk, layout) },
        bytes: Bytes {
            allocated,
            allocated_from: "size classes",
            spans: None,
            storage,
            live: live.saturating_mul(
                slot_size
                    .saturating_add(indirect_value(layout.key))
                    .saturating_add(indirect_value(layout.elem)),
            ),
            holes: holes.saturating_mul(slot_size),
            rebuild: rebuild.bytes,
            reclaimable: allocated.saturating_sub(rebuild.bytes),
        },
        addresses,
        layout: LayoutFacts {
            source: layout.source.word(),
            slot_size,
            bucket_size: layout.unit_size as u64,
            indirect_key: layout.key.indirect,
            indirect_elem: layout.elem.indirect,
        },
        exact: walk.exact(),
        interrupted: walk.interrupted,
        writing: walk.writing,
        racing: walk.racing.is_some(),
        defects: walk.defects.kept().to_vec(),
        defects_total: walk.defects.total(),
        notes,
        console: context.console.clone(),
    }
}

fn growing(walk: &Walk) -> Option<&ClassicFacts> {
    match &walk.shape {
        Shape::Classic(facts) if facts.old_buckets > 0 => Some(facts),
        _ => None,
    }
}

fn classic_shape(facts: &ClassicFacts, layout: &MapLayout, has_storage: bool) -> ClassicShape {
    let main = 1_u64.checked_shl(u32::from(facts.b)).unwrap_or(0);
    ClassicShape {
        b: facts.b,
        noverflow: facts.noverflow,
        growth: match (facts.old_buckets, facts.same_size) {
            (0, _) => "none",
            (_, true) => "same-size",
            (_, false) => "double",
        },
        old_buckets: facts.old_buckets,
        evacuated: facts.evacuated,
        prealloc: if has_storage {
            array_len(layout, facts.b).saturating_sub(main)
        } else {
            0
        },
        overflow_outside: facts.overflow_outside,
    }
}

fn swiss_shape(facts: &SwissFacts, has_storage: bool) -> SwissShape {
    let mut capacities: Vec<(u64, u64)> = Vec::new();
    for table in &facts.tables {
        let capacity = u64::from(table.capacity);
        match capacities.iter_mut().find(|(slots, _)| *slots == capacity) {
            Some((_, count)) => *count += 1,
            None => capacities.push((capacity, 1)),
        }
    }
    capacities.sort_unstable();
    SwissShape {
        tables: facts.tables.len() as u64,
        dir_len: facts.dir_len,
        global_depth: facts.global_depth,
        growth_left: facts
            .tables
            .iter()
            .map(|table| u64::from(table.growth_left))
            .sum(),
        small: facts.dir_len == 0 && has_storage,
        table_capacities: capacities,
    }
}

fn is_storage(block: &Block) -> bool {
    matches!(
        block.kind,
        BlockKind::Buckets | BlockKind::OldBuckets | BlockKind::Overflow | BlockKind::Groups
    )
}

/// Allocator slots of all blocks and of the indirect keys and elems.
fn allocated(walk: &Walk, layout: &MapLayout, live: u64) -> u64 {
    let blocks: u64 = walk
        .blocks
        .iter()
        .map(|block| {
            let noscan = is_storage(block) && !layout.has_pointers;
            layout.allocator.slot(block.span.len, noscan)
        })
        .fold(0, u64::saturating_add);
    blocks.saturating_add(indirect_bytes(layout, live))
}

/// Runs of the distinct pages that sorted `spans` touch: `(first address, pages)`.
#[must_use]
pub fn page_runs(spans: &[crate::memory::Span]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for span in spans.iter().filter(|span| span.len > 0) {
        let first = span.start / PAGE;
        let last = (span.end() - 1) / PAGE;
        match runs.last_mut() {
            Some((start, pages)) if first <= *start / PAGE + *pages => {
                *pages = (*pages).max(last + 1 - *start / PAGE);
            }
            _ => runs.push((first * PAGE, last + 1 - first)),
        }
    }
    runs
}

/// Requested bytes of the storage blocks, and where they lie.
fn addresses(walk: &Walk, pid: Option<u32>) -> (u64, Option<Addresses>) {
    let mut spans: Vec<_> = walk
        .blocks
        .iter()
        .filter(|block| is_storage(block))
        .map(|block| block.span)
        .collect();
    spans.sort_unstable();
    let storage = spans
        .iter()
        .fold(0_u64, |sum, span| sum.saturating_add(span.len));
    let Some(first) = spans.first() else {
        return (storage, None);
    };
    let low = first.start;
    let high = spans.iter().map(|span| span.end()).max().unwrap_or(low);
    let runs = page_runs(&spans);
    let addresses = Addresses {
        blocks: spans.len() as u64,
        low,
        high,
        span: high - low,
        pages: runs.iter().map(|(_, pages)| pages).sum(),
        min_pages: storage.div_ceil(PAGE),
        resident_pages: pid.and_then(|pid| crate::memory::resident_pages(pid, &runs)),
    };
    (storage, Some(addresses))
}

/// New keys that fit at least and at most before the insert that ends a growth,
/// which is the first that may begin another: mapassign calls growWork, then
/// looks whether to grow.
///
/// growWork evacuates the old bucket of the key, unless that is done, and the one
/// at nevacuate: one or two in each insert. nevacuate then skips what is
/// evacuated, but no more than 1024 buckets (advanceEvacuationMark), so one insert
/// in 1024 such buckets may find nothing to move. runtime/map*.go, go1.21 to go1.25.
fn evacuation(facts: &ClassicFacts) -> (u64, u64) {
    let left = facts.old_buckets.saturating_sub(facts.evacuated);
    let longest = left.saturating_add(facts.evacuated / 1024);
    (
        left.div_ceil(2).saturating_sub(1),
        longest.saturating_sub(1),
    )
}

fn next_growth(walk: &Walk, layout: &MapLayout) -> Option<NextGrowth> {
    match (&walk.shape, layout.header) {
        (Shape::Classic(facts), Header::Classic(hmap)) => {
            let b = facts.b;
            if b >= 60 {
                return None;
            }
            let buckets = 1_u64 << b;
            let max = max_len(hmap, b);
            let room = max.saturating_sub(walk.len);
            let load_factor = walk.len as f64 / buckets as f64;
            let max_load_factor = max as f64 / buckets as f64;
            let growth = |kind, fits, at_most, cost| NextGrowth {
                kind,
                fits,
                at_most,
                table: None,
                cost,
                load_factor,
                max_load_factor,
            };
            // incrnoverflow: above B = 15 the count is kept by chance, and the
            // threshold is 2^15.
            let threshold = 1_u64 << b.min(15);
            // A single bucket gets no overflow bucket before it is full.
            let overflow_room = if b == 0 {
                room.max(1)
            } else {
                threshold.saturating_sub(facts.noverflow)
            };
            // hashGrow's new(mapextra), for the first spare bucket.
            let extra = |b: u8| {
                let spare = array_len(layout, b) > 1_u64 << b;
                let has_extra = walk
                    .blocks
                    .iter()
                    .any(|block| block.kind == BlockKind::Extra);
                let pointer = u64::from(layout.abi.pointer_size);
                if spare && !has_extra {
                    layout.allocator.slot(3 * pointer, false)
                } else {
                    0
                }
            };
            let array = |b: u8| array_bytes(layout, b).saturating_add(extra(b));
            Some(if walk.counts.units == 0 {
                growth("allocate", 0, 0, array(b))
            } else if facts.old_buckets > 0 {
                let (first, last) = evacuation(facts);
                // What evacuating may add to noverflow: a chain of n entries
                // becomes one or two with at most (n - 1) / 8 overflow buckets,
                // and no more than it had.
                let left = facts.old_buckets.saturating_sub(facts.evacuated);
                let moved = (facts.old.live / 8).min(facts.old.units.saturating_sub(left));
                let fits = room.min(overflow_room.saturating_sub(moved)).max(first);
                growth("in-progress", fits, room.max(last), array(b + 1))
            } else if overflow_room == 0 && room > 0 {
                growth("same-size", 0, 0, array(b))
            } else {
                growth("double", room.min(overflow_room), room, array(b + 1))
            })
        }
        (Shape::Swiss(facts), Header::Swiss(map)) => {
            let table_bytes = layout.allocator.slot(map.table.size as u64, false);
            let max_load_factor = 7.0 / 8.0;
            let capacity = walk.counts.slots;
            let load_factor = if capacity == 0 {
                0.0
            } else {
                walk.len as f64 / capacity as f64
            };
            let growth = |kind, fits, at_most, table, cost, max_load_factor| NextGrowth {
                kind,
                fits,
                at_most,
                table,
                cost,
                load_factor,
                max_load_factor,
            };
            if walk.counts.units == 0 && facts.dir_len == 0 {
                let cost = groups_bytes(layout, 8);
                return Some(growth("allocate", 0, 0, None, cost, 1.0));
            }
            if facts.dir_len == 0 {
                let room = 8_u64.saturating_sub(walk.len);
                let cost = directory_bytes(layout, 1) + table_bytes + groups_bytes(layout, 16);
                return Some(growth("to-table", room, room, None, cost, 1.0));
            }
            let nearest = facts.tables.iter().min_by_key(|table| table.growth_left)?;
            let at_most = facts
                .tables
                .iter()
                .map(|table| {
                    max_load(u64::from(table.capacity)).saturating_sub(u64::from(table.used))
                })
                .sum();
            let fits = u64::from(nearest.growth_left);
            let doubled = 2 * u64::from(nearest.capacity);
            let index = Some(nearest.index);
            Some(if doubled <= map.max_table_capacity {
                let cost = table_bytes + groups_bytes(layout, doubled);
                growth("table-double", fits, at_most, index, cost, max_load_factor)
            } else {
                let directory = if nearest.local_depth == facts.global_depth {
                    directory_bytes(layout, facts.dir_len.saturating_mul(2))
                } else {
                    0
                };
                let half = table_bytes + groups_bytes(layout, map.max_table_capacity);
                growth(
                    "table-split",
                    fits,
                    at_most,
                    index,
                    directory.saturating_add(2 * half),
                    max_load_factor,
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Span;

    #[test]
    fn pages_are_counted_once() {
        let span = |start, len| Span { start, len };
        assert_eq!(page_runs(&[span(0x1000, 0x1000)]), [(0x1000, 1)]);
        assert_eq!(page_runs(&[span(0x1ff0, 0x20)]), [(0x1000, 2)]);
        assert_eq!(
            page_runs(&[
                span(0x1000, 8),
                span(0x1100, 8),
                span(0x2000, 8),
                span(0x9000, 1)
            ]),
            [(0x1000, 2), (0x9000, 1)]
        );
        assert_eq!(page_runs(&[span(0x1000, 0)]), []);
        assert_eq!(
            page_runs(&[span(0x1000, 0x3000), span(0x1800, 8)]),
            [(0x1000, 3)]
        );
    }
}
