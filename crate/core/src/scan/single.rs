//! The type of one map, asked for by nothing but its address.

use super::catalogue::Catalogue;
use super::find::Finder;
use super::objects::Objects;
use super::{KnownType, Label, Scan, settle};
use crate::gotype::Types;
use crate::heap::{Heap, HeapError};
use crate::memory::{Memory, ReadError};

/// What the heap tells of the type of one map.
#[derive(Debug, Clone)]
pub struct MapTypes {
    /// The types it can have; none if it never had storage, or storage that is not on the
    /// heap.
    pub maps: Vec<KnownType>,
    /// How they are known.
    pub label: Label,
}

/// The map types that the map with its header at `address` can have, by its storage.
/// `None` where no map header stands.
///
/// # Errors
/// When the heap's own books cannot be read.
pub fn map_types_at(
    heap: &Heap,
    memory: &dyn Memory,
    types: &Types,
    address: u64,
) -> Result<Option<MapTypes>, HeapError> {
    let (objects, _) = Objects::load(heap, memory, super::minor(types))?;
    let mut catalogue = Catalogue::new(&objects, types);
    catalogue.dynamic(&objects, types)?;
    let mut scan = Scan::default();
    let Some(mut finder) = Finder::new(&objects, &mut catalogue, &mut scan.defects) else {
        let what = "the program has no descriptors of map types";
        return Err(HeapError::Unknown(what.to_owned()));
    };
    let unknown = MapTypes {
        maps: Vec::new(),
        label: Label::Structure,
    };
    let on_stack = match heap.slot_of(address)? {
        Some(slot) if slot.is_stack => true,
        // Inside of another object.
        Some(slot) if slot.object() != address => return Ok(None),
        _ => false,
    };
    match finder.at(address) {
        Ok(true) => {}
        // The first bucket may be on the stack as well.
        Ok(false) => return Ok(on_stack.then_some(unknown)),
        Err(ReadError::Fault { .. }) => return Ok(None),
        Err(interrupted) => return Err(interrupted.into()),
    }
    scan.maps = std::mem::take(&mut finder.found.maps);
    settle::noted(&catalogue, &mut scan.maps);
    settle::by_walking(&objects, &mut catalogue, &mut scan.maps)?;
    let label = scan.maps.first().map(|map| map.label);
    scan.name_types(&catalogue);
    let maps = scan.maps.first().map(|map| scan.types_of(map).to_vec());
    Ok(label.zip(maps).map(|(label, maps)| MapTypes {
        label: if maps.is_empty() {
            Label::Structure
        } else {
            label
        },
        maps,
    }))
}
