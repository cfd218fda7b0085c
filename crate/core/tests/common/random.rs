//! Strategies: random maps that the runtime could have made, and random damage.

use gomapscope_core::memory::{Abi, Image, PAGE};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

use super::classic::{Chain, ClassicMap, EVACUATED, Place, Slot};
use super::swiss::{Ctrl, SwissMap, TableOf, max_load};
use super::{ABIS, Built, TYPES, Types, unmap};

/// `cases` cases, or as many as PROPTEST_CASES says.
pub fn cases(cases: u32) -> Config {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    // A failure prints its smallest input: it becomes a named test, not a seed file.
    config.failure_persistence = None;
    config
}

pub fn abi() -> impl Strategy<Value = Abi> {
    prop::sample::select(ABIS.to_vec())
}

fn types() -> impl Strategy<Value = Types> {
    prop::sample::select(TYPES.to_vec())
}

/// What one bucket of a random map is made of.
#[derive(Debug, Clone)]
struct Filling {
    /// Slots used, over the whole chain.
    used: usize,
    /// Bit i: used slot i was deleted.
    deleted: u32,
    place: Place,
    /// A bucket whose entries are all gone still hangs at the end.
    trailing: bool,
    evacuated: bool,
}

fn filling() -> impl Strategy<Value = Filling> {
    (
        prop_oneof![4 => 0..=8_usize, 1 => 9..=24_usize],
        prop_oneof![Just(0), Just(u32::MAX), any::<u32>()],
        prop_oneof![Just(Place::Tail), Just(Place::Outside)],
        prop::bool::weighted(0.1),
        any::<bool>(),
    )
        .prop_map(|(used, deleted, place, trailing, evacuated)| Filling {
            used,
            deleted,
            place,
            trailing,
            evacuated,
        })
}

impl Filling {
    fn chain(&self, number: usize) -> Chain {
        let slots: Vec<Slot> = (0..self.used)
            .map(|index| {
                if self.deleted >> index & 1 == 1 {
                    Slot::One
                } else {
                    Slot::Live((number * 64 + index) as u64)
                }
            })
            .collect();
        let mut chain = Chain::of(&slots, self.place);
        if self.trailing {
            chain.overflow.push((self.place, [Slot::Rest; 8]));
        }
        chain
    }
}

/// A classic map in any state.
pub fn classic() -> impl Strategy<Value = ClassicMap> {
    let growth = prop_oneof![2 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    let shape = (abi(), types(), 0..=6_u8, growth, any::<bool>(), 0..=15_u64);
    (
        shape,
        prop::collection::vec(filling(), 64),
        prop::collection::vec(filling(), 64),
    )
        .prop_map(
            |((abi, types, b, growth, noswissmap, flags), fill, old_fill)| {
                // Without growth, bit 8 is never set; 4 is a write in progress.
                let mut map = ClassicMap::new(abi, types, b).flags(flags & 7);
                if noswissmap {
                    map = map.noswissmap();
                }
                let main = 1_usize << b;
                let same_size = match growth {
                    Some(false) if b == 0 => None,
                    other => other,
                };
                let old_len = match same_size {
                    None => 0,
                    Some(true) => main,
                    Some(false) => main / 2,
                };
                for (number, filling) in fill.iter().take(main).enumerate() {
                    // What an old bucket still holds, its new buckets do not.
                    let waiting = old_len > 0 && !old_fill[number % old_len].evacuated;
                    if !waiting {
                        map = map.chain(number, filling.chain(number));
                    }
                }
                let old = |(number, filling): (usize, &Filling)| {
                    if filling.evacuated {
                        Chain {
                            first: EVACUATED,
                            overflow: Vec::new(),
                        }
                    } else {
                        filling.chain(1000 + number)
                    }
                };
                if let Some(same_size) = same_size {
                    let chains = old_fill.iter().take(old_len).enumerate().map(old).collect();
                    map = map.growing(same_size, chains);
                }
                map
            },
        )
}

/// A Swiss map in any state.
pub fn swiss() -> impl Strategy<Value = SwissMap> {
    let none = (abi(), types()).prop_map(|(abi, types)| SwissMap::never_used(abi, types));
    let small = (abi(), types(), any::<u8>()).prop_map(|(abi, types, live)| {
        let slots = std::array::from_fn(|index| match live >> index & 1 {
            1 => Ctrl::Live(index as u64),
            _ => Ctrl::Empty,
        });
        SwissMap::small(abi, types, slots)
    });
    let table = (0..=4_u32, prop::collection::vec(0..8_u8, 128));
    let tables = (
        abi(),
        types(),
        prop::collection::vec(any::<bool>(), 7),
        prop::collection::vec(table, 8),
        0..=1_u8,
        any::<bool>(),
    )
        .prop_map(|(abi, types, splits, fill, spare, writing)| {
            let mut depths = Vec::new();
            split(&splits, 0, 0, &mut depths);
            let deepest = depths.iter().copied().max().unwrap_or(0);
            let tables = depths
                .iter()
                .zip(fill)
                .enumerate()
                .map(|(number, (depth, (size, marks)))| {
                    let capacity = 8 << size;
                    let mut room = max_load(capacity);
                    let slots = marks
                        .iter()
                        .take(capacity)
                        .enumerate()
                        .map(|(index, mark)| {
                            if *mark < 3 || room == 0 {
                                return Ctrl::Empty;
                            }
                            room -= 1;
                            match mark {
                                3..=5 => Ctrl::Live((number * 1000 + index) as u64),
                                _ => Ctrl::Deleted,
                            }
                        })
                        .collect();
                    TableOf {
                        local_depth: *depth,
                        slots,
                    }
                })
                .collect();
            let map = SwissMap::tables(abi, types, tables).global_depth(deepest + spare);
            if writing { map.writing() } else { map }
        });
    prop_oneof![1 => none, 2 => small, 6 => tables]
}

/// Extendible hashing: which of the tables were split, as a binary tree.
fn split(splits: &[bool], node: usize, depth: u8, depths: &mut Vec<u8>) {
    if splits.get(node) == Some(&true) {
        split(splits, 2 * node + 1, depth + 1, depths);
        split(splits, 2 * node + 2, depth + 1, depths);
    } else {
        depths.push(depth);
    }
}

/// Any map, laid out.
pub fn built() -> impl Strategy<Value = Built> {
    prop_oneof![
        classic().prop_map(|map| map.build()),
        swiss().prop_map(|map| map.build())
    ]
}

/// Damage to memory.
#[derive(Debug, Clone)]
pub enum Damage {
    /// One byte.
    Byte(Index, Index, u8),
    /// Bytes of one place over those of another.
    Splice((Index, Index), (Index, Index), usize),
    /// A word that looks like a pointer: somewhere into a segment.
    Pointer((Index, Index), (Index, Index)),
    /// A word of extreme value.
    Word(Index, Index, u64),
    /// A page that cannot be read.
    Unmap(Index, Index),
    /// A segment that ends early, as in a truncated core.
    Truncate(Index, Index),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let place = || (any::<Index>(), any::<Index>());
    let word = prop_oneof![
        any::<u64>(),
        prop::sample::select(vec![0, 1, u64::MAX, 1 << 60, 1 << 63, u64::MAX - 4095]),
        (0..64_u32).prop_map(|bit| 1 << bit),
    ];
    prop_oneof![
        3 => (place(), any::<u8>()).prop_map(|((s, o), byte)| Damage::Byte(s, o, byte)),
        1 => (place(), place(), 1..64_usize).prop_map(|(a, b, len)| Damage::Splice(a, b, len)),
        2 => (place(), place()).prop_map(|(a, b)| Damage::Pointer(a, b)),
        2 => (place(), word).prop_map(|((s, o), word)| Damage::Word(s, o, word)),
        1 => place().prop_map(|(s, o)| Damage::Unmap(s, o)),
        1 => place().prop_map(|(s, o)| Damage::Truncate(s, o)),
    ]
}

impl Damage {
    /// Does it. A header is a segment as any other, so it is hit often.
    pub fn apply(&self, image: &mut Image, abi: Abi) {
        let size = usize::from(abi.pointer_size);
        let spans: Vec<(u64, usize)> = image
            .segments_mut()
            .map(|(start, bytes)| (*start, bytes.len()))
            .collect();
        if spans.is_empty() {
            return;
        }
        let at = |(segment, offset): (&Index, &Index)| {
            let (start, len) = spans[segment.index(spans.len())];
            (start, offset.index(len.max(1)), len)
        };
        let mut write = |place: (u64, usize, usize), bytes: &[u8]| {
            let (start, offset, len) = place;
            let take = bytes.len().min(len - offset.min(len));
            image.poke(start + offset as u64, &bytes[..take]);
        };
        let mut word = |place: (u64, usize, usize), value: u64| {
            let mut bytes = vec![0; size];
            super::put(abi, &mut bytes, value);
            let (start, offset, len) = place;
            write((start, offset / size * size, len), &bytes);
        };
        match self {
            Self::Byte(segment, offset, byte) => write(at((segment, offset)), &[*byte]),
            Self::Splice(from, to, len) => {
                let (start, offset, size) = at((&from.0, &from.1));
                let from = image
                    .segment_mut(start)
                    .map(|bytes| bytes[offset.min(size)..(offset + len).min(size)].to_vec())
                    .unwrap_or_default();
                let (start, offset, size) = at((&to.0, &to.1));
                let take = from.len().min(size - offset.min(size));
                image.poke(start + offset as u64, &from[..take]);
            }
            Self::Pointer(place, target) => {
                let (start, offset, _) = at((&target.0, &target.1));
                word(at((&place.0, &place.1)), start + offset as u64);
            }
            Self::Word(segment, offset, value) => word(at((segment, offset)), *value),
            Self::Unmap(segment, offset) => {
                let (start, offset, _) = at((segment, offset));
                unmap(image, (start + offset as u64) & !(PAGE - 1), PAGE);
            }
            Self::Truncate(segment, offset) => {
                let (start, offset, len) = at((segment, offset));
                unmap(image, start + offset as u64, (len - offset) as u64);
            }
        }
    }
}
