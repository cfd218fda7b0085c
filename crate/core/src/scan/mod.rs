//! Every map of a process: found by the allocator's own books, told live from garbage by
//! marking, typed by what leads to it, ranked by what it wastes.

mod catalogue;
mod code;
mod find;
mod follow;
mod grey;
mod holder;
mod infer;
mod lore;
mod lost;
mod mark;
mod objects;
mod reach;
mod report;
mod roots;
mod settle;
mod shape;
mod single;
mod variables;

use std::collections::HashMap;
use std::rc::Rc;

use crate::gotype::Types;
use crate::heap::{AllocationSites, Heap, HeapError, HeapSpan, special_roots};
use crate::layout::MapLayout;
use crate::map::Defects;
use crate::memory::{Memory, ReadError, Span};
use catalogue::Catalogue;
use find::Finder;
use lore::Lore;
pub(crate) use lost::{joined, tell as tell_losses};
use mark::Marks;
pub use mark::{Frame, Roots, Variable};
use objects::{Bits, Objects};
use reach::Reach;
#[cfg(test)]
pub(crate) use report::testing;
pub use report::{Facts, Filter, Row, ScanReport, Totals, TypeTotals, type_text};
pub use shape::Closures;
use shape::Shapes;
pub use single::{MapTypes, map_types_at};
use variables::modules_of;

/// How a map's type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Typed memory leads to it, or the allocator noted the type of its storage and one map
    /// type has such storage.
    Exact,
    /// The allocator noted the type of its storage, which several map types share (one of
    /// them with a name of its own): key and elem are certain.
    Parts,
    /// One type of the program has such storage: an inference.
    Inferred,
    /// Several have.
    OneOf,
    /// It has no storage, or none of the known types fits it.
    Structure,
}

impl Label {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Parts => "exact key/elem",
            Self::Inferred => "inferred",
            Self::OneOf => "one of several",
            Self::Structure => "structure only",
        }
    }

    /// The same in three steps.
    #[must_use]
    pub fn evidence(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Parts | Self::Inferred => "strong",
            Self::OneOf | Self::Structure => "weak",
        }
    }
}

/// Whether the program can still reach a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Live,
    /// It cannot: the next collection frees it.
    Garbage,
    /// Not all roots could be read, or the marking was interrupted.
    Unknown,
}

impl State {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Garbage => "garbage",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a map's header lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the heap.
    Heap,
    /// On a goroutine's stack.
    Stack,
}

impl Place {
    /// As JSON names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Stack => "stack",
        }
    }
}

/// One map. 48 bytes: a heap may hold millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundMap {
    /// Its header.
    pub address: u64,
    /// The count in the header.
    pub len: u64,
    /// Slots, as far as the header tells: a classic map's overflow buckets are counted by
    /// its header too.
    pub capacity: u64,
    /// Bytes of the allocator's slots that hold it. Without what [`FoundMap::at_least`]
    /// says is missing.
    pub allocated: u64,
    /// Allocations; saturates.
    pub blocks: u32,
    /// Position in [`Scan::types`].
    set: u32,
    /// How the type is known.
    pub label: Label,
    /// Whether it is in use.
    pub state: State,
    /// Where the header lies.
    pub place: Place,
    /// The header's "a write is in progress".
    pub writing: bool,
    /// Overflow buckets outside the array, their lists, and keys and elems outside
    /// the slots are not in `allocated`.
    pub at_least: bool,
}

impl FoundMap {
    /// Position in [`Scan::types`] of the types it can have; `None` if nothing is known.
    #[must_use]
    pub fn type_index(&self) -> Option<usize> {
        (self.set != u32::MAX).then_some(self.set as usize)
    }
}

/// One map type a map can have.
#[derive(Debug, Clone)]
pub struct KnownType {
    /// Its descriptor in the process.
    pub descriptor: u64,
    /// As Go prints it.
    pub name: Rc<str>,
    /// Its layout, if its descriptor is sound.
    pub layout: Option<Rc<MapLayout>>,
}

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Follow types from variables through the heap.
    pub types: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The maps, by address.
    pub maps: Vec<FoundMap>,
    /// Types that cannot be told apart, each set once; [`FoundMap::type_index`] points
    /// here.
    pub types: Vec<Vec<KnownType>>,
    /// Slots of the header's size class that were looked at.
    pub candidates: u64,
    /// Bytes of all spans that hold objects.
    pub heap: u64,
    /// Live objects, all kinds; `None` if the marking did not end.
    pub live_objects: Option<u64>,
    /// The ways to the maps that were chosen, by the address of their header.
    pub holders: HashMap<u64, String>,
    /// Which calls allocated objects, for those that the memory profile sampled.
    pub sites: AllocationSites,
    /// Pointers to maps, by their type, that lead to no map.
    pub refused: u64,
    /// Contradictions in the heap's own books.
    pub defects: Defects,
    /// The user asked to stop: what is here is a part.
    pub interrupted: bool,
    /// Where the heap lies: its spans in use and those of stacks.
    pub(crate) extents: Vec<Span>,
}

impl Scan {
    fn name_types(&mut self, catalogue: &Catalogue) {
        let known: Vec<KnownType> = catalogue
            .maps
            .iter()
            .map(|map| KnownType {
                descriptor: map.descriptor,
                name: map.name.as_str().into(),
                layout: map.layout.clone(),
            })
            .collect();
        self.types = catalogue
            .sets
            .iter()
            .map(|set| {
                set.iter()
                    .filter_map(|number| known.get(*number as usize).cloned())
                    .collect()
            })
            .collect();
    }

    /// The types a map can have.
    #[must_use]
    pub fn types_of(&self, map: &FoundMap) -> &[KnownType] {
        map.type_index()
            .and_then(|index| self.types.get(index))
            .map_or(&[], Vec::as_slice)
    }
}

/// Finds the maps of a process.
///
/// `choose` is shown what was found and returns the positions of those maps whose holders
/// are wanted; that needs [`Options::types`].
///
/// `memory` should not cache: blocks are read in address order and few of them twice.
///
/// # Errors
/// When the heap's own list of spans cannot be read. An interruption later on is no
/// error: the result has what was found until then.
pub fn scan(
    heap: &Heap,
    memory: &dyn Memory,
    types: &Types,
    roots: &Roots<'_>,
    options: &Options,
    choose: &mut dyn FnMut(&Scan) -> Vec<usize>,
) -> Result<Scan, HeapError> {
    memory.phase("load");
    let (objects, defects) = Objects::load(heap, memory, minor(types))?;
    let extents = objects.spans.iter().map(HeapSpan::extent);
    let mut scan = Scan {
        heap: objects.bytes,
        defects,
        extents: joined(extents.collect()),
        ..Scan::default()
    };
    let mut catalogue = Catalogue::new(&objects, types);
    let ended = run(
        &objects,
        &mut catalogue,
        types,
        roots,
        options,
        choose,
        &mut scan,
    );
    match ended {
        Ok(()) => {}
        Err(ReadError::Interrupted) => scan.interrupted = true,
        Err(fault) => return Err(fault.into()),
    }
    scan.name_types(&catalogue);
    Ok(scan)
}

/// The minor number of the release; the newest stands for one that is not known.
fn minor(types: &Types) -> u16 {
    types.binary().minor().unwrap_or(u16::MAX)
}

fn run(
    objects: &Objects<'_>,
    catalogue: &mut Catalogue,
    types: &Types,
    roots: &Roots<'_>,
    options: &Options,
    choose: &mut dyn FnMut(&Scan) -> Vec<usize>,
    scan: &mut Scan,
) -> Result<(), ReadError> {
    // The types made at run time first: their maps can then be typed like all others.
    catalogue.dynamic(objects, types)?;
    let Some(mut finder) = Finder::new(objects, catalogue, &mut scan.defects) else {
        return Ok(());
    };
    objects.memory.phase("find");
    let ended = finder.run().and_then(|()| {
        let mut stacks = roots.stacks.iter();
        stacks.try_for_each(|stack| finder.on_stack(*stack))
    });
    scan.maps = std::mem::take(&mut finder.found.maps);
    scan.candidates = finder.found.candidates;
    ended?;
    objects.memory.phase("mark");
    let mut contradicted = Defects::default();
    let modules = modules_of(types, objects.heap.memory(), &mut contradicted);
    let specials = special_roots(types, objects.heap.memory(), &objects.spans);
    // Without data and bss next to nothing would be reached.
    let mut incomplete = roots.incomplete || modules.is_empty() || !contradicted.is_empty();
    for defect in contradicted.kept() {
        scan.defects.add(defect.clone());
    }
    let (words, finalized) = match specials {
        Ok(found) => {
            incomplete |= !found.defects.is_empty();
            (found.words, found.finalized)
        }
        Err(HeapError::Read(ReadError::Interrupted)) => return Err(ReadError::Interrupted),
        Err(_) => {
            incomplete = true;
            (Vec::new(), Vec::new())
        }
    };
    let sites = AllocationSites::read(types, objects.heap.memory(), &objects.spans);
    scan.sites = match sites {
        Ok(sites) => sites,
        Err(HeapError::Read(ReadError::Interrupted)) => return Err(ReadError::Interrupted),
        // It only says less.
        Err(_) => AllocationSites::default(),
    };
    let live = {
        let mut marks = Marks::new(objects);
        marks.run(objects, &modules, roots, (&words, &finalized))?;
        incomplete |= marks.incomplete;
        marks.live
    };
    scan.live_objects = Some(live.count());
    for map in scan.maps.iter_mut().filter(|map| map.place == Place::Heap) {
        let reached = objects
            .find(map.address)
            .is_some_and(|(_, _, number)| live.has(number));
        map.state = match (reached, incomplete) {
            (true, _) => State::Live,
            (false, false) => State::Garbage,
            (false, true) => State::Unknown,
        };
    }
    settle::noted(catalogue, &mut scan.maps);
    if options.types {
        objects.memory.phase("types");
        let mut headers = Bits::new(objects.count as usize);
        for map in &scan.maps {
            if let Some((_, _, number)) = objects.find(map.address) {
                headers.add(number);
            }
        }
        let lore = Lore::read(types, objects.heap.memory(), &modules)?;
        let shapes = Shapes::new(types, &lore);
        let compared = catalogue.maps.len();
        let mut reach = Reach::new(
            objects,
            catalogue,
            shapes,
            roots.closures(),
            &modules,
            (&live, &headers),
        );
        let ended = follow::follow(&mut reach, roots, &lore, &scan.maps);
        settle::typed(&mut reach, &mut scan.maps, compared);
        scan.refused = reach.refused;
        ended?;
        settle::by_walking(objects, reach.catalogue, &mut scan.maps)?;
        infer::infer(&mut reach, roots, &mut scan.maps)?;
        settle::by_walking(objects, reach.catalogue, &mut scan.maps)?;
        scan.name_types(reach.catalogue);
        for index in choose(scan) {
            let Some(address) = scan.maps.get(index).map(|map| map.address) else {
                continue;
            };
            if let Some(path) = reach.holder(address)? {
                scan.holders.insert(address, path);
            }
        }
        return Ok(());
    }
    objects.memory.phase("settle");
    settle::by_walking(objects, catalogue, &mut scan.maps)
}
