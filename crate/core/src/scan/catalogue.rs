//! The map types of the program, and which of them fit what is known of a map's storage.

use std::collections::HashMap;
use std::rc::Rc;

use super::Label;
use super::objects::Objects;
use crate::gotype::{TypeRef, Types};
use crate::heap::HeapSpan;
use crate::layout::{Allocator, Header, MapLayout, descriptor_layout};
use crate::map::{Family, array_len};
use crate::memory::{AddressHash, RangeReader, ReadError, Span};

/// Objects whose pointers are told by one bit for each word, in a number of 64 bits.
pub(super) const SIGNED_MAX: u64 = 512;

/// Kinds of storage whose fits are remembered; there are some hundred, if memory is sound.
const FITS_MAX: usize = 1 << 16;

/// Map types of one program, those included that it made at run time.
const TYPES_MAX: usize = 1 << 20;

/// One map type.
#[derive(Debug)]
pub(super) struct MapType {
    /// Its descriptor in the process.
    pub descriptor: u64,
    /// As Go prints it.
    pub name: String,
    /// The descriptor of its bucket or group.
    pub unit: u64,
    /// Which words of a bucket or group are pointers, if there are at most 64.
    mask: Option<u64>,
    pub layout: Option<Rc<MapLayout>>,
}

/// What is known of storage without its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Storage {
    /// Bytes of the allocator's slot.
    pub slot_size: u64,
    /// Buckets (as a classic map's B tells them) or groups.
    pub units: u64,
    pub noscan: bool,
    /// Which of the words are pointers.
    pub signature: Option<u64>,
}

pub(super) struct Catalogue {
    /// What a header looks like in this program.
    pub header: Option<Header>,
    pub allocator: Allocator,
    pub maps: Vec<MapType>,
    by_descriptor: HashMap<u64, u32, AddressHash>,
    by_unit: HashMap<u64, Vec<u32>, AddressHash>,
    /// Sets of types that cannot be told apart.
    pub sets: Vec<Vec<u32>>,
    set_of_unit: HashMap<u64, u32, AddressHash>,
    set_of_types: HashMap<Vec<u32>, u32>,
    fits: HashMap<Storage, (u32, Label), AddressHash>,
}

impl Catalogue {
    pub(super) fn new(objects: &Objects<'_>, types: &Types) -> Self {
        let mut catalogue = Self {
            header: None,
            allocator: Allocator {
                malloc_headers: true,
                pointer_size: 8,
            },
            maps: Vec::new(),
            by_descriptor: HashMap::default(),
            by_unit: HashMap::default(),
            sets: Vec::new(),
            set_of_unit: HashMap::default(),
            set_of_types: HashMap::new(),
            fits: HashMap::default(),
        };
        for (address, name) in types.map_descriptors() {
            // Code of generic functions is shared by types of one shape; no map is made with
            // the shape's type (cmd/compile/internal/noder/reader.go, shapedMethodExpr).
            if name.contains("go.shape.") {
                continue;
            }
            catalogue.add(objects, types, address, name.to_string());
        }
        catalogue
    }

    /// Takes up the map type with this descriptor; its number.
    fn add(
        &mut self,
        objects: &Objects<'_>,
        types: &Types,
        descriptor: u64,
        name: String,
    ) -> Option<u32> {
        if let Some(known) = self.by_descriptor.get(&descriptor) {
            return Some(*known);
        }
        let map = types.map_descriptor(descriptor).ok()?;
        let layout = descriptor_layout(types, descriptor).ok().map(Rc::new);
        if let (None, Some(layout)) = (self.header, &layout) {
            self.header = Some(layout.header);
            self.allocator = layout.allocator;
        }
        let number = u32::try_from(self.maps.len())
            .ok()
            .filter(|_| self.maps.len() < TYPES_MAX)?;
        let bytes = map.unit.pointer_bytes;
        self.maps.push(MapType {
            descriptor,
            name,
            unit: map.unit_address,
            mask: pointer_mask(objects, map.unit_address, bytes, map.unit.size),
            layout,
        });
        self.by_descriptor.insert(descriptor, number);
        self.by_unit
            .entry(map.unit_address)
            .or_default()
            .push(number);
        if let Some(set) = self.set_of_unit.get(&map.unit_address) {
            let members = self.by_unit.get(&map.unit_address).cloned();
            if let (Some(set), Some(members)) = (self.sets.get_mut(*set as usize), members) {
                *set = members;
            }
        }
        Some(number)
    }

    /// The number of the map type with this descriptor, which may be one made at run time.
    pub(super) fn of_descriptor(
        &mut self,
        objects: &Objects<'_>,
        types: &Types,
        descriptor: u64,
    ) -> Option<u32> {
        if let Some(known) = self.by_descriptor.get(&descriptor) {
            return Some(*known);
        }
        types.map_descriptor(descriptor).ok()?;
        let name = types.get(TypeRef::Runtime(descriptor)).ok()?.name.clone();
        if name.contains("go.shape.") {
            return None;
        }
        self.add(objects, types, descriptor, name)
    }

    pub(super) fn map(&self, number: u32) -> Option<&MapType> {
        self.maps.get(number as usize)
    }

    /// The map types whose buckets or groups are of this type.
    pub(super) fn with_unit(&self, unit: u64) -> &[u32] {
        self.by_unit.get(&unit).map_or(&[], Vec::as_slice)
    }

    /// The set of those.
    pub(super) fn set_of_unit(&mut self, unit: u64) -> u32 {
        if let Some(set) = self.set_of_unit.get(&unit) {
            return *set;
        }
        let set = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(self.with_unit(unit).to_vec());
        self.set_of_unit.insert(unit, set);
        set
    }

    /// The set of these types.
    pub(super) fn set_of(&mut self, types: Vec<u32>) -> u32 {
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let set = *self.set_of_types.entry(types.clone()).or_insert(next);
        if set == next {
            self.sets.push(types);
        }
        set
    }

    /// Whether storage of this kind can be that of a map type.
    pub(super) fn fits(&self, number: u32, storage: &Storage) -> bool {
        let Some((map, layout)) = self
            .map(number)
            .and_then(|map| Some((map, map.layout.as_ref()?)))
        else {
            return false;
        };
        let count = match layout.family() {
            Family::Classic => array_len(layout, storage.units.trailing_zeros() as u8),
            Family::Swiss => storage.units,
        };
        let bytes = count.saturating_mul(layout.unit_size as u64);
        layout.has_pointers != storage.noscan
            && map.has_pointers_at(storage.signature, count)
            && self.allocator.slot(bytes, storage.noscan) == storage.slot_size
    }

    /// The set of all types that storage of this kind can belong to.
    pub(super) fn fitting(&mut self, storage: Storage) -> (u32, Label) {
        if let Some(known) = self.fits.get(&storage) {
            return *known;
        }
        let numbers = 0..u32::try_from(self.maps.len()).unwrap_or(u32::MAX);
        let fitting: Vec<u32> = numbers
            .filter(|number| self.fits(*number, &storage))
            .collect();
        let label = match fitting.len() {
            0 => Label::Structure,
            1 => Label::Inferred,
            _ => Label::OneOf,
        };
        let found = (self.set_of(fitting), label);
        if self.fits.len() < FITS_MAX {
            self.fits.insert(storage, found);
        }
        found
    }

    /// Forgets what fits: there are more types now.
    fn unsettle(&mut self) {
        self.fits.clear();
    }

    /// Takes up the types that the program made at run time (reflect.MapOf): their
    /// descriptors lie in the heap.
    pub(super) fn dynamic(
        &mut self,
        objects: &Objects<'_>,
        types: &Types,
    ) -> Result<(), ReadError> {
        let holding: Vec<usize> = (0..objects.spans.len())
            .filter(|at| {
                objects.spans.get(*at).is_some_and(|span| {
                    span.has_pointers()
                        // abi.MapType of go1.21 to go1.27, and some room.
                        && (88..=160).contains(&span.slot_size)
                })
            })
            .collect();
        let ranges: Vec<Span> = holding
            .iter()
            .filter_map(|at| objects.spans.get(*at))
            .map(HeapSpan::extent)
            .collect();
        let mut heads = Vec::new();
        let abi = objects.heap.abi();
        let memory = objects.memory;
        RangeReader::default().read(memory, &ranges, &mut |chunk| {
            memory.checkpoint(0, 0)?;
            let (Some(at), Some(bytes)) = (holding.get(chunk.index), chunk.bytes) else {
                return Ok(());
            };
            let Some(span) = objects.spans.get(*at) else {
                return Ok(());
            };
            let (first, end) = objects.numbers(*at);
            let slots = bytes.chunks_exact(span.slot_size as usize);
            for (number, slot) in (first..end).zip(slots) {
                // Size and bytes of pointers of a map's value.
                let one = |at| abi.uint_at(slot, at, 8) == Some(8);
                let kind = slot.get(23).is_some_and(|kind| kind & 0x1f == 21);
                if one(0) && one(8) && kind && objects.in_use(number) && heads.len() < 1 << 16 {
                    heads.push(span.base + u64::from(number - first) * span.slot_size);
                }
            }
            Ok(())
        })?;
        let before = self.maps.len();
        for address in heads {
            self.of_descriptor(objects, types, address);
        }
        if self.maps.len() > before {
            self.unsettle();
        }
        Ok(())
    }
}

/// Which words of a type are pointers, from abi.Type.GCData: a bit for each, in every
/// release, for types as small as these.
fn pointer_mask(objects: &Objects<'_>, address: u64, bytes: u64, size: u64) -> Option<u64> {
    if size > SIGNED_MAX || bytes > size {
        return None;
    }
    let mask = objects.mask(address).ok()?;
    let bits = (0..bytes / 8)
        .filter(|word| mask.is_pointer(word * 8))
        .fold(0_u64, |bits, word| bits | 1 << word);
    Some(bits)
}

impl MapType {
    /// Whether `count` units, one behind the other, have pointers where `signature`
    /// says; taken for granted where it is not known.
    fn has_pointers_at(&self, signature: Option<u64>, count: u64) -> bool {
        let (Some(signature), Some(mask), Some(layout)) = (signature, self.mask, &self.layout)
        else {
            return true;
        };
        let words = layout.unit_size as u64 / 8;
        let expected = (0..count.min(64))
            .map(|unit| unit * words)
            .take_while(|shift| *shift < 64)
            .fold(0, |bits, shift| bits | mask << shift);
        expected == signature
    }
}
