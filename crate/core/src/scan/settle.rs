//! What all the evidence together says of each map.

use std::collections::HashMap;

use super::catalogue::Catalogue;
use super::objects::Objects;
use super::reach::{Reach, SEED};
use super::shape::{NONE, ShapeKind};
use super::{FoundMap, Label, Place, State};
use crate::heap::{self};
use crate::map::{CountOnly, walk};
use crate::memory::{AddressHash, ReadError};
use crate::metrics::indirect_bytes;

/// Types of storage that only one map type has.
pub(super) fn noted(catalogue: &Catalogue, maps: &mut [FoundMap]) {
    for map in maps.iter_mut().filter(|map| map.label == Label::Parts) {
        let known = map
            .type_index()
            .and_then(|set| catalogue.sets.get(set))
            .map_or(0, Vec::len);
        match known {
            0 => {
                map.label = Label::Structure;
                map.set = u32::MAX;
            }
            1 => map.label = Label::Exact,
            _ => {}
        }
    }
}

/// Types that lead to the maps. `compared` types were known when their storage was looked
/// at.
pub(super) fn typed(reach: &mut Reach<'_, '_>, maps: &mut Vec<FoundMap>, compared: usize) {
    for map in maps.iter_mut() {
        let Some((_, _, number)) = reach.objects.begins(map.address) else {
            continue;
        };
        let shape = reach.typed.get(number as usize).copied().unwrap_or(NONE);
        let seeded = reach.parent.get(number as usize) == Some(&SEED);
        let ShapeKind::Header(found) = reach.shapes.kind(shape) else {
            continue;
        };
        if shape == NONE || seeded || reach.conflicts.contains(&number) {
            continue;
        }
        // The allocator's note is proof, and storage of another size or with pointers
        // elsewhere is another type's: what leads here must agree. A variable that is not in
        // use yet, or not any more, may lead anywhere.
        let noted = matches!(map.label, Label::Exact | Label::Parts);
        let agrees = match map.type_index() {
            Some(set) if noted || (found as usize) < compared => reach
                .catalogue
                .sets
                .get(set)
                .is_some_and(|set| set.contains(&found)),
            _ => true,
        };
        if agrees {
            map.set = reach.catalogue.set_of(vec![found]);
            map.label = Label::Exact;
        }
    }
    let on_stack: Vec<(u64, u32)> = reach
        .on_stack
        .iter()
        .map(|(address, (map, _))| (*address, *map))
        .collect();
    let mut known: HashMap<u64, usize, AddressHash> = maps
        .iter()
        .enumerate()
        .filter(|(_, map)| map.place == Place::Stack)
        .map(|(position, map)| (map.address, position))
        .collect();
    for (address, number) in on_stack {
        let position = *known.entry(address).or_insert_with(|| {
            maps.push(FoundMap {
                address,
                len: 0,
                capacity: 0,
                allocated: 0,
                blocks: 1,
                set: u32::MAX,
                label: Label::Structure,
                state: State::Live,
                place: Place::Stack,
                writing: false,
                at_least: true,
            });
            maps.len() - 1
        });
        if let Some(map) = maps.get_mut(position) {
            map.set = reach.catalogue.set_of(vec![number]);
            map.label = Label::Exact;
        }
    }
    maps.sort_unstable_by_key(|map| map.address);
}

/// Walks the maps that are not settled: those of several possible types, of which a wrong
/// one does not add up, and those with parts that the header does not tell of.
pub(super) fn by_walking(
    objects: &Objects<'_>,
    catalogue: &mut Catalogue,
    maps: &mut Vec<FoundMap>,
) -> Result<(), ReadError> {
    let memory = objects.heap.memory();
    let mut refused = Vec::new();
    for (position, map) in maps.iter_mut().enumerate() {
        if position.is_multiple_of(1024) {
            memory.checkpoint(0, 0)?;
        }
        let Some(set) = map.type_index() else {
            continue;
        };
        if matches!(map.label, Label::Inferred | Label::OneOf) && map.blocks > 1 {
            let candidates = catalogue.sets.get(set).map_or(&[][..], Vec::as_slice);
            let mut walked: Vec<(usize, bool)> = Vec::new();
            let fitting: Vec<u32> = candidates
                .iter()
                .copied()
                .filter(|number| {
                    let Some(layout) = catalogue.map(*number).and_then(|map| map.layout.as_ref())
                    else {
                        return false;
                    };
                    // Many types have units of one size: one walk for all of them.
                    let size = layout.unit_size;
                    if let Some((_, fits)) = walked.iter().find(|(known, _)| *known == size) {
                        return *fits;
                    }
                    let walk = walk(memory, layout, map.address, &mut CountOnly);
                    let fits = walk.exact() || map.writing;
                    walked.push((size, fits));
                    fits
                })
                .collect();
            map.label = match fitting.len() {
                0 => Label::Structure,
                1 => Label::Inferred,
                _ => Label::OneOf,
            };
            if fitting.is_empty() {
                map.set = u32::MAX;
            } else if fitting != candidates {
                map.set = catalogue.set_of(fitting);
            }
        }
        detail(objects, catalogue, map)?;
        if map.place == Place::Stack && map.label == Label::Structure && map.capacity == 0 {
            refused.push(position);
        }
    }
    for position in refused.into_iter().rev() {
        maps.remove(position);
    }
    Ok(())
}

/// Counts what the header does not tell of.
fn detail(
    objects: &Objects<'_>,
    catalogue: &Catalogue,
    map: &mut FoundMap,
) -> Result<(), ReadError> {
    let layout = map
        .type_index()
        .and_then(|set| catalogue.sets.get(set)?.first())
        .and_then(|first| catalogue.map(*first)?.layout.clone());
    let Some(layout) =
        layout.filter(|_| matches!(map.label, Label::Exact | Label::Parts | Label::Inferred))
    else {
        return Ok(());
    };
    // On a stack even the count comes from here.
    let told = !map.at_least && !layout.key.indirect && !layout.elem.indirect;
    if told && map.place == Place::Heap {
        return Ok(());
    }
    let walk = walk(objects.heap.memory(), &layout, map.address, &mut CountOnly);
    if map.place == Place::Stack {
        if !walk.exact() {
            map.label = Label::Structure;
            return Ok(());
        }
        map.len = walk.len;
        map.writing = walk.writing;
    }
    map.capacity = walk.counts.slots;
    let owned = heap::allocated(objects.heap, &walk)?;
    map.blocks = u32::try_from(walk.blocks.len()).unwrap_or(u32::MAX);
    map.allocated = owned
        .bytes
        .saturating_add(indirect_bytes(&layout, walk.live()));
    map.at_least = !walk.exact();
    Ok(())
}
