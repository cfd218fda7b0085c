//! What a scan found, ranked and summed: the model behind text, JSON, MI, Python and the
//! profile of `go-map-scan`.
//!
//! There may be millions of maps: nothing is kept of each but a position and two figures.

use std::collections::HashMap;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use super::{FoundMap, KnownType, Label, Scan, State};
use crate::command::{Pattern, Sort};
use crate::layout::MapLayout;
use crate::map::Family;
use crate::metrics::{hex, indirect_bytes, rebuild_bytes};

/// Candidates of a type that a row names.
const CANDIDATES: usize = 20;

/// Figures of fresh maps that are kept.
const CACHE: usize = 1 << 20;

/// Which maps count, and in which order they are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those whose type fits.
    pub pattern: Option<Pattern>,
    /// Those that take at least so many bytes.
    pub min: u64,
    /// The order.
    pub sort: Sort,
    /// Whether garbage is listed, too; it is counted apart in any case.
    pub garbage: bool,
}

/// What else is known of single maps, by the addresses of their headers.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Who holds them: `main.cache.byID`.
    pub held_by: HashMap<u64, Rc<str>>,
    /// Where they were allocated: innermost call first.
    pub allocated_at: HashMap<u64, Rc<[Rc<str>]>>,
    /// Tombstones, of maps that were walked.
    pub tombstones: HashMap<u64, u64>,
    /// Names with full import paths of the types whose own name several share, by the
    /// addresses of their descriptors.
    pub full_names: HashMap<u64, Rc<str>>,
}

/// Sums over the maps that a filter leaves. Garbage is in no sum but its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Maps in the process, before any filter.
    pub found: u64,
    /// Maps that the filter leaves, garbage included.
    pub maps: u64,
    /// Those that the program can reach.
    pub live: u64,
    /// Those that it cannot.
    pub garbage: u64,
    /// Those of which that is not known.
    pub unknown: u64,
    /// Without storage: never written to, or nothing but a header.
    pub without_storage: u64,
    /// Entries.
    pub len: u64,
    /// Bytes.
    pub allocated: u64,
    /// Bytes that rebuilding each map would give back; what is sure of it.
    pub reclaimable: u64,
    /// The same at the most, where candidates for a type differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable_at_most: Option<u64>,
    /// Maps whose type is not known: nothing of them is in `reclaimable`.
    pub not_estimated: u64,
    /// Maps whose `allocated` lacks parts.
    pub at_least: u64,
    /// Bytes of the garbage among the maps.
    pub garbage_allocated: u64,
    /// Bytes of all spans of the heap that hold objects.
    pub heap: u64,
    /// Maps, garbage included, by how their type is known.
    pub by_label: ByLabel,
}

/// How many maps have each label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ByLabel {
    /// [`Label::Exact`].
    pub exact: u64,
    /// [`Label::Parts`].
    #[serde(rename = "exact_key_elem")]
    pub parts: u64,
    /// [`Label::Inferred`].
    pub inferred: u64,
    /// [`Label::OneOf`].
    #[serde(rename = "one_of_several")]
    pub one_of: u64,
    /// [`Label::Structure`].
    #[serde(rename = "structure_only")]
    pub structure: u64,
}

impl ByLabel {
    fn count(&mut self, label: Label) {
        *match label {
            Label::Exact => &mut self.exact,
            Label::Parts => &mut self.parts,
            Label::Inferred => &mut self.inferred,
            Label::OneOf => &mut self.one_of,
            Label::Structure => &mut self.structure,
        } += 1;
    }
}

/// The sums of one type, or of one set of types that cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeTotals {
    /// The type, where it is one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub name: Option<Rc<str>>,
    /// The candidates, where they are several; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<Rc<str>>,
    /// How many candidates there are, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types_total: Option<u64>,
    /// Maps in use, or perhaps in use.
    pub maps: u64,
    /// Their entries.
    pub len: u64,
    /// Their bytes.
    pub allocated: u64,
    /// What rebuilding them would give back.
    pub reclaimable: u64,
}

/// One map as it is listed; its field names are those of the JSON document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its header.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// Its type, if that is known to be one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub name: Option<Rc<str>>,
    /// The same with full import paths, where the name alone may mean several types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_type: Option<Rc<str>>,
    /// Else the candidates, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<Rc<str>>,
    /// How many candidates there are, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types_total: Option<u64>,
    /// What `len` returns.
    pub len: u64,
    /// Slots.
    pub capacity: u64,
    /// Bytes.
    pub allocated: u64,
    /// Bytes a rebuild would give back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable: Option<u64>,
    /// From and up to, where candidates differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimable_range: Option<(u64, u64)>,
    /// Slots that are not live, of all slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole_density: Option<f64>,
    /// Slots of deleted entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstones: Option<u64>,
    /// `exact`, `strong` or `weak`.
    pub evidence: &'static str,
    /// How the type is known.
    #[serde(serialize_with = "label")]
    pub label: Label,
    /// Whether it is in use.
    #[serde(serialize_with = "state")]
    pub state: State,
    /// `heap` or `stack`.
    pub place: &'static str,
    /// A write is in progress.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writing: bool,
    /// `allocated` lacks parts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// Innermost call first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_at: Option<Rc<[Rc<str>]>>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Rc<str>>,
}

// serde's form: by reference.
fn label<S: Serializer>(label: &Label, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(label.word())
}

fn state<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}

/// A scan under a filter.
#[derive(Debug)]
pub struct ScanReport<'a> {
    scan: &'a Scan,
    family: Option<Family>,
    /// Positions in [`Scan::maps`], in the order they are listed.
    order: Vec<u32>,
    /// What a rebuild would give back at least, by position; `None` is `u64::MAX`.
    least: Vec<u64>,
    fresh: Fresh<'a>,
    /// The sums.
    pub totals: Totals,
    /// The sums by type, most reclaimable first.
    pub types: Vec<TypeTotals>,
}

impl<'a> ScanReport<'a> {
    /// Ranks and sums the maps of `scan`; `family` is that of the program's maps.
    #[must_use]
    pub fn new(scan: &'a Scan, family: Option<Family>, filter: &Filter) -> Self {
        let mut fresh = Fresh::new(scan);
        // Whether each set of types fits the pattern; the last is that of no type.
        let fits: Vec<bool> = scan
            .types
            .iter()
            .map(Vec::as_slice)
            .chain([[].as_slice()])
            .map(|set| match &filter.pattern {
                Some(pattern) => set.iter().any(|known| pattern.fits(&known.name)),
                None => true,
            })
            .collect();
        let nothing = scan.types.len();
        let mut totals = Totals {
            found: scan.maps.len() as u64,
            heap: scan.heap,
            ..Totals::default()
        };
        let mut at_most = 0_u64;
        // Types of one name are one to who reads it.
        let mut named: HashMap<Rc<str>, usize> = HashMap::new();
        let mut groups: HashMap<usize, TypeTotals> = HashMap::new();
        let mut order = Vec::new();
        let mut least = vec![u64::MAX; scan.maps.len()];
        for ((position, map), kept) in (0_u32..).zip(&scan.maps).zip(&mut least) {
            let set = map.type_index().unwrap_or(nothing);
            if map.allocated < filter.min || !fits.get(set).copied().unwrap_or(false) {
                continue;
            }
            let range = fresh.reclaimable(map);
            *kept = range.map_or(u64::MAX, |(least, _)| least);
            totals.maps += 1;
            totals.by_label.count(map.label);
            match map.state {
                State::Live => totals.live += 1,
                State::Unknown => totals.unknown += 1,
                State::Garbage => {
                    totals.garbage += 1;
                    totals.garbage_allocated =
                        totals.garbage_allocated.saturating_add(map.allocated);
                    if filter.garbage {
                        order.push(position);
                    }
                    continue;
                }
            }
            order.push(position);
            totals.without_storage += u64::from(map.capacity == 0);
            totals.not_estimated += u64::from(range.is_none());
            totals.at_least += u64::from(map.at_least);
            let (least, most) = range.unwrap_or_default();
            at_most = at_most.saturating_add(most);
            totals.reclaimable = totals.reclaimable.saturating_add(least);
            totals.allocated = totals.allocated.saturating_add(map.allocated);
            totals.len = totals.len.saturating_add(map.len);
            let known = scan.types_of(map);
            let key = match known {
                [one] if map.label != Label::Structure => {
                    *named.entry(Rc::clone(&one.name)).or_insert(set)
                }
                _ => set,
            };
            let group = groups.entry(key).or_insert_with(|| {
                let (name, types, types_total) = names(map, known);
                TypeTotals {
                    name,
                    types,
                    types_total,
                    maps: 0,
                    len: 0,
                    allocated: 0,
                    reclaimable: 0,
                }
            });
            group.maps += 1;
            group.len = group.len.saturating_add(map.len);
            group.allocated = group.allocated.saturating_add(map.allocated);
            group.reclaimable = group.reclaimable.saturating_add(least);
        }
        totals.reclaimable_at_most = (at_most > totals.reclaimable).then_some(at_most);
        let mut types: Vec<TypeTotals> = groups.into_values().collect();
        types.sort_by(|one, other| {
            (other.reclaimable, other.allocated, other.maps)
                .cmp(&(one.reclaimable, one.allocated, one.maps))
                .then_with(|| (&one.name, &one.types).cmp(&(&other.name, &other.types)))
        });
        let mut report = Self {
            scan,
            family,
            order: Vec::new(),
            least,
            fresh,
            totals,
            types,
        };
        report.rank(&mut order, filter.sort);
        report.order = order;
        report
    }

    fn rank(&self, order: &mut [u32], sort: Sort) {
        let maps = &self.scan.maps;
        // Positions are by address: a stable order among equals.
        match sort {
            Sort::Address => {}
            Sort::Len => order.sort_by_key(|at| descending(maps, *at, |map| map.len)),
            Sort::Allocated => order.sort_by_key(|at| descending(maps, *at, |map| map.allocated)),
            Sort::Reclaimable => order.sort_by_key(|at| {
                let least = self.least.get(*at as usize).copied();
                let least = least.filter(|bytes| *bytes != u64::MAX).unwrap_or(0);
                (
                    std::cmp::Reverse(least),
                    descending(maps, *at, |map| map.allocated),
                )
            }),
            Sort::Holes => order.sort_by(|one, other| {
                let holes = |at: &u32| {
                    let map = maps.get(*at as usize);
                    (
                        map.and_then(|map| hole_density(map, self.family))
                            .unwrap_or(-1.0),
                        map.map_or(0, |map| map.capacity),
                    )
                };
                let ((one, one_of), (other, other_of)) = (holes(one), holes(other));
                other.total_cmp(&one).then(other_of.cmp(&one_of))
            }),
        }
    }

    /// What was scanned.
    #[must_use]
    pub fn scan(&self) -> &'a Scan {
        self.scan
    }

    /// How many maps are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The positions of the maps in [`Scan::maps`], in the order they are listed.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().map(|at| *at as usize)
    }

    /// The maps, in the order they are listed.
    pub fn maps(&self) -> impl Iterator<Item = &'a FoundMap> + '_ {
        self.order
            .iter()
            .filter_map(|at| self.scan.maps.get(*at as usize))
    }

    /// The maps with what a rebuild would give back at least, which is what the sums are
    /// made of.
    pub fn figures(&self) -> impl Iterator<Item = (&'a FoundMap, u64)> + '_ {
        self.order.iter().filter_map(|at| {
            let least = self.least.get(*at as usize)?;
            let least = if *least == u64::MAX { 0 } else { *least };
            Some((self.scan.maps.get(*at as usize)?, least))
        })
    }

    /// The type of a map, for people.
    #[must_use]
    pub fn type_text(&self, map: &FoundMap) -> String {
        let (name, types, total) = names(map, self.scan.types_of(map));
        type_text(name.as_ref(), &types, total)
    }

    /// One map as it is listed.
    #[must_use]
    pub fn row(&mut self, map: &FoundMap, facts: &Facts) -> Row {
        let (name, types, types_total) = names(map, self.scan.types_of(map));
        let range = self.fresh.reclaimable(map);
        let first = self.scan.types_of(map).first();
        Row {
            address: map.address,
            name,
            full_type: first
                .and_then(|known| facts.full_names.get(&known.descriptor))
                .cloned(),
            types,
            types_total,
            len: map.len,
            capacity: map.capacity,
            allocated: map.allocated,
            reclaimable: range.filter(|(from, to)| from == to).map(|(from, _)| from),
            reclaimable_range: range.filter(|(from, to)| from != to),
            hole_density: hole_density(map, self.family),
            tombstones: facts.tombstones.get(&map.address).copied(),
            evidence: map.label.evidence(),
            label: map.label,
            state: map.state,
            place: map.place.word(),
            writing: map.writing,
            at_least: map.at_least,
            allocated_at: facts.allocated_at.get(&map.address).cloned(),
            held_by: facts.held_by.get(&map.address).cloned(),
        }
    }

    /// The rows of the first `top` maps.
    pub fn rows<'r>(&'r mut self, top: Option<u64>, facts: &'r Facts) -> impl Iterator<Item = Row> {
        let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
        let scan = self.scan;
        (0..self.order.len().min(top)).filter_map(move |index| {
            let at = *self.order.get(index)?;
            Some(self.row(scan.maps.get(at as usize)?, facts))
        })
    }
}

fn descending(maps: &[FoundMap], at: u32, of: impl Fn(&FoundMap) -> u64) -> std::cmp::Reverse<u64> {
    std::cmp::Reverse(maps.get(at as usize).map_or(0, of))
}

type Names = (Option<Rc<str>>, Vec<Rc<str>>, Option<u64>);

/// The type, if it is one; else the candidates, and how many they are if that is too many.
fn names(map: &FoundMap, known: &[KnownType]) -> Names {
    match known {
        [one] if map.label != Label::Structure => (Some(Rc::clone(&one.name)), Vec::new(), None),
        _ => (
            None,
            known
                .iter()
                .take(CANDIDATES)
                .map(|known| Rc::clone(&known.name))
                .collect(),
            (known.len() > CANDIDATES).then_some(known.len() as u64),
        ),
    }
}

/// A type for people: `map[string]int`, or what is known instead.
#[must_use]
pub fn type_text(name: Option<&Rc<str>>, types: &[Rc<str>], total: Option<u64>) -> String {
    match (name, types) {
        (Some(name), _) => name.to_string(),
        (None, []) => "type not known".to_owned(),
        (None, [one]) => format!("perhaps {one}"),
        (None, [first, ..]) => {
            let all = total.unwrap_or(types.len() as u64);
            format!("one of {all}: {first}")
        }
    }
}

/// The share of a map's slots that is not live; `None` where its slots are not all known.
fn hole_density(map: &FoundMap, family: Option<Family>) -> Option<f64> {
    // Overflow buckets are counted by the header, approximately.
    let uncertain = map.at_least && family != Some(Family::Swiss);
    // While a map grows, entries may still be in the old buckets.
    if map.capacity == 0 || map.len > map.capacity || uncertain {
        return None;
    }
    Some((map.capacity - map.len) as f64 / map.capacity as f64)
}

/// What fresh maps would allocate, each figure computed once.
#[derive(Debug)]
struct Fresh<'a> {
    scan: &'a Scan,
    /// The layouts of each set that lead to different figures.
    layouts: Vec<Option<Vec<&'a MapLayout>>>,
    known: HashMap<(usize, u64, bool), Option<(u64, u64)>>,
}

impl<'a> Fresh<'a> {
    fn new(scan: &'a Scan) -> Self {
        Self {
            scan,
            layouts: vec![None; scan.types.len()],
            known: HashMap::new(),
        }
    }

    /// The bytes a rebuild of `map` would give back: by the candidate that makes least of
    /// it, and by the one that makes most.
    fn reclaimable(&mut self, map: &FoundMap) -> Option<(u64, u64)> {
        // A header, and nothing that a rebuild could do without.
        if map.capacity == 0 && map.blocks <= 1 {
            return Some((0, 0));
        }
        let (least, most) = self.rebuild(map)?;
        Some((
            map.allocated.saturating_sub(most),
            map.allocated.saturating_sub(least),
        ))
    }

    /// What a fresh map would allocate, at least and at most.
    fn rebuild(&mut self, map: &FoundMap) -> Option<(u64, u64)> {
        // Keys and elems outside the slots are on both sides, or on none.
        let bare = map.at_least || matches!(map.label, Label::OneOf | Label::Structure);
        let set = map.type_index()?;
        let key = (set, map.len, bare);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let range = self
            .layouts(set)
            .iter()
            .map(|layout| {
                let outside = if bare {
                    indirect_bytes(layout, map.len)
                } else {
                    0
                };
                rebuild_bytes(layout, map.len).saturating_sub(outside)
            })
            .fold(None, |range: Option<(u64, u64)>, bytes| {
                let (least, most) = range.unwrap_or((bytes, bytes));
                Some((least.min(bytes), most.max(bytes)))
            });
        if self.known.len() >= CACHE {
            self.known.clear();
        }
        self.known.insert(key, range);
        range
    }

    fn layouts(&mut self, set: usize) -> &[&'a MapLayout] {
        let types: &'a [KnownType] = self.scan.types.get(set).map_or(&[], Vec::as_slice);
        let Some(place) = self.layouts.get_mut(set) else {
            return &[];
        };
        place.get_or_insert_with(|| {
            let same = |layout: &MapLayout| {
                let outside =
                    |part: crate::layout::Part| part.indirect.then_some((part.size, part.pointers));
                (
                    layout.unit_size,
                    layout.has_pointers,
                    outside(layout.key),
                    outside(layout.elem),
                )
            };
            let mut distinct: Vec<&MapLayout> = Vec::new();
            for layout in types.iter().filter_map(|known| known.layout.as_deref()) {
                if distinct.iter().all(|other| same(other) != same(layout)) {
                    distinct.push(layout);
                }
            }
            distinct
        })
    }
}

/// Maps for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::super::Place;
    use super::*;
    use crate::layout::{Allocator, Header, Part, Source, SwissMap};
    use crate::memory::Abi;

    pub(crate) fn known(descriptor: u64, name: &str, unit_size: usize) -> KnownType {
        let part = |offset| Part {
            offset,
            stride: 16,
            size: 8,
            indirect: false,
            pointers: false,
        };
        let layout = MapLayout {
            abi: Abi::LE64,
            source: Source::Given,
            unit_size,
            key: part(8),
            elem: part(16),
            has_pointers: false,
            allocator: Allocator {
                malloc_headers: true,
                pointer_size: 8,
            },
            header: Header::Swiss(SwissMap::go1_24()),
        };
        KnownType {
            descriptor,
            name: name.into(),
            layout: Some(Rc::new(layout)),
        }
    }

    pub(crate) fn map(address: u64, len: u64, allocated: u64, set: u32) -> FoundMap {
        FoundMap {
            address,
            len,
            capacity: 1024,
            allocated,
            blocks: 3,
            set,
            label: Label::Exact,
            state: State::Live,
            place: Place::Heap,
            writing: false,
            at_least: false,
        }
    }

    /// Three maps of one type, one of several, one of none, one of garbage.
    pub(crate) fn found() -> Scan {
        let one = known(1, "map[int]int", 136);
        let large = known(2, "map[int]main.Row", 1032);
        Scan {
            maps: vec![
                map(0x10, 1000, 40_000, 0),
                map(0x20, 0, 20_000, 0),
                FoundMap {
                    label: Label::OneOf,
                    ..map(0x30, 8, 30_000, 1)
                },
                FoundMap {
                    label: Label::Structure,
                    ..map(0x40, 8, 50_000, u32::MAX)
                },
                FoundMap {
                    state: State::Garbage,
                    ..map(0x50, 8, 60_000, 0)
                },
                FoundMap {
                    capacity: 0,
                    blocks: 1,
                    ..map(0x60, 0, 48, 0)
                },
            ],
            types: vec![vec![one.clone()], vec![one, large]],
            heap: 1 << 20,
            ..Scan::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{found, map};
    use super::*;

    fn ranked(filter: &Filter) -> Vec<u64> {
        let scan = found();
        let report = ScanReport::new(&scan, Some(Family::Swiss), filter);
        report.maps().map(|map| map.address).collect()
    }

    #[test]
    fn maps_are_ranked() {
        let by = |sort| {
            ranked(&Filter {
                sort,
                ..Filter::default()
            })
        };
        assert_eq!(by(Sort::Reclaimable)[0], 0x30);
        assert_eq!(by(Sort::Reclaimable)[1], 0x20);
        assert_eq!(by(Sort::Allocated), [0x40, 0x10, 0x30, 0x20, 0x60]);
        assert_eq!(by(Sort::Len), [0x10, 0x30, 0x40, 0x20, 0x60]);
        assert_eq!(by(Sort::Holes), [0x20, 0x30, 0x40, 0x10, 0x60]);
        assert_eq!(by(Sort::Address), [0x10, 0x20, 0x30, 0x40, 0x60]);
    }

    #[test]
    fn a_filter_chooses_by_size_and_by_any_candidate() {
        let with = |pattern: &str, min| {
            let request = crate::command::parse("go-map-scan", &format!("-type '{pattern}'"));
            ranked(&Filter {
                pattern: request.unwrap().options.pattern,
                min,
                sort: Sort::Address,
                garbage: true,
            })
        };
        assert_eq!(with("map[int]int", 0), [0x10, 0x20, 0x30, 0x50, 0x60]);
        assert_eq!(with("Row$", 0), [0x30]);
        assert_eq!(with("int", 25_000), [0x10, 0x30, 0x50]);
        assert_eq!(with("nothing", 0), [0; 0]);
    }

    #[test]
    fn candidates_make_a_range_of_which_the_least_counts() {
        let scan = found();
        let mut report = ScanReport::new(&scan, Some(Family::Swiss), &Filter::default());
        let facts = Facts::default();
        let rows: Vec<Row> = report.rows(None, &facts).collect();
        let row = |address| rows.iter().find(|row| row.address == address).unwrap();
        let one = row(0x30);
        assert_eq!((one.name.as_ref(), one.types.len()), (None, 2));
        let (from, to) = one.reclaimable_range.unwrap();
        // The larger group leaves less to give back: 1152 bytes for 144.
        assert_eq!(to - from, 1152 - 144);
        assert_eq!(one.reclaimable, None);
        assert_eq!(row(0x40).reclaimable, None);
        assert_eq!(row(0x60).reclaimable, Some(0));
        assert_eq!(row(0x60).hole_density, None);
        assert_eq!(row(0x20).hole_density, Some(1.0));

        let totals = &report.totals;
        assert_eq!((totals.found, totals.maps, totals.live), (6, 6, 5));
        assert_eq!((totals.garbage, totals.garbage_allocated), (1, 60_000));
        assert_eq!(totals.allocated, 40_000 + 20_000 + 30_000 + 50_000 + 48);
        assert_eq!(totals.without_storage, 1);
        assert_eq!(totals.not_estimated, 1);
        assert_eq!(totals.by_label.exact, 4);
        assert_eq!(
            totals.reclaimable_at_most.unwrap() - totals.reclaimable,
            to - from
        );
        let sum: u64 = report.figures().map(|(_, least)| least).sum();
        assert_eq!(totals.reclaimable, sum);
        let types: u64 = report.types.iter().map(|of| of.reclaimable).sum();
        assert_eq!(totals.reclaimable, types);
        assert_eq!(report.types[0].maps, 1);
        assert_eq!(report.types.len(), 3);
    }

    #[test]
    fn holes_of_a_classic_map_with_uncertain_overflow_are_not_told() {
        let uncertain = FoundMap {
            at_least: true,
            ..map(1, 512, 1, 0)
        };
        assert_eq!(hole_density(&uncertain, Some(Family::Classic)), None);
        assert_eq!(hole_density(&uncertain, Some(Family::Swiss)), Some(0.5));
        let growing = FoundMap {
            len: 2000,
            ..map(1, 0, 1, 0)
        };
        assert_eq!(hole_density(&growing, Some(Family::Swiss)), None);
    }
}
