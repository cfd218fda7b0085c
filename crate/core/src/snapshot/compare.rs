//! Which map of one snapshot is which of another, and what became of it.
//!
//! A map is the same where its header lies at the same address and its type agrees; else
//! where it has the same name. Addresses of two processes say nothing of each other: there,
//! names alone do.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde::Serialize;

use super::blocks::{digits, storage};
use super::{Record, Scope, Snapshot};

/// What became of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It has more slots.
    Grown,
    /// It has more entries in the storage it had.
    Filled,
    /// It has fewer entries in the storage it had.
    Emptied,
    /// It has fewer slots, at the same header.
    Shrunk,
    /// It has fewer slots, and is another header under its name.
    Rebuilt,
    /// It has as many slots, elsewhere.
    Moved,
    /// Entries and slots are as many, but bytes or tombstones are not.
    Changed,
    /// It was not there, or nil.
    New,
    /// It is no more there, or nil.
    Gone,
    /// The other snapshot does not say whether it is there.
    Unlisted,
    /// Every figure is the same.
    Unchanged,
}

impl Class {
    /// As text and JSON name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grown => "grown",
            Self::Filled => "filled",
            Self::Emptied => "emptied",
            Self::Shrunk => "shrunk",
            Self::Rebuilt => "rebuilt",
            Self::Moved => "moved",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Unlisted => "unlisted",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A signed difference; `i64` holds every size that memory can have.
fn difference(before: u64, after: u64) -> i64 {
    let exact = i128::from(after) - i128::from(before);
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// After less before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// Bytes.
    pub allocated: i64,
    /// Entries.
    pub len: i64,
    /// Slots.
    pub capacity: i64,
    /// Bytes a rebuild would give back; 0 where one side does not say.
    pub reclaimable: i64,
}

/// Bytes of a map's storage that stayed where they were, and that did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// In both.
    pub kept: u64,
    /// Only in the earlier one.
    pub left: u64,
    /// Only in the later one.
    pub added: u64,
}

/// Bucket by bucket, where the storage is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BucketChange {
    /// Buckets that were compared.
    pub compared: u64,
    /// With more live slots than before.
    pub more: u64,
    /// With fewer.
    pub fewer: u64,
    /// Without any, where there were some.
    pub emptied: u64,
}

/// One map, or what is left of it.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// What became of it.
    pub class: Class,
    /// Its header lies elsewhere: it was recognised by its name.
    pub moved: bool,
    /// As it was.
    pub before: Option<&'a Record>,
    /// As it is.
    pub after: Option<&'a Record>,
    /// The differences.
    pub delta: Delta,
    /// Where both sides list blocks.
    pub storage: Option<Storage>,
    /// Where both sides list buckets, and storage is the same.
    pub buckets: Option<BucketChange>,
    /// It is gone, but the collector has not freed it yet.
    pub garbage: bool,
}

impl<'a> Change<'a> {
    /// As it is, or as it was.
    pub fn map(&self) -> Option<&'a Record> {
        let there = |map: &&Record| map.address != 0;
        self.after
            .filter(there)
            .or(self.before.filter(there))
            .or(self.after)
            .or(self.before)
    }

    /// Whether every figure is certain.
    #[must_use]
    pub fn exact(&self) -> bool {
        [self.before, self.after]
            .iter()
            .flatten()
            .all(|map| map.exact)
    }
}

/// Sums over the maps of one side; nil maps and garbage are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Maps.
    pub maps: u64,
    /// Entries.
    pub len: u64,
    /// Bytes.
    pub allocated: u64,
    /// Bytes that rebuilding them would give back.
    pub reclaimable: u64,
}

impl Sums {
    fn add(&mut self, map: &Record) {
        if map.address != 0 {
            self.maps += 1;
            self.len = self.len.saturating_add(map.len);
            self.allocated = self.allocated.saturating_add(map.allocated);
            self.reclaimable = self
                .reclaimable
                .saturating_add(map.reclaimable.unwrap_or(0));
        }
    }
}

/// A snapshot as one side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// It.
    pub snapshot: &'a Snapshot,
    /// The sums of what was compared.
    pub sums: Sums,
}

/// The maps of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeChange {
    /// The type; absent for maps whose type is not known.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub name: Option<Rc<str>>,
    /// As they were.
    pub before: Sums,
    /// As they are.
    pub after: Sums,
}

/// Two snapshots, compared.
#[derive(Debug, Clone)]
pub struct Diff<'a> {
    /// The earlier one.
    pub before: Side<'a>,
    /// The later one.
    pub after: Side<'a>,
    /// Whether both are of one process; `None` where that is not known.
    pub same_process: Option<bool>,
    /// Whether both are of one executable.
    pub same_program: Option<bool>,
    /// From the earlier to the later one, and by which clock.
    pub elapsed: Option<(i64, &'static str)>,
    /// Every map, the largest change of allocated bytes first.
    pub changes: Vec<Change<'a>>,
    /// How many maps became what.
    pub classes: Vec<(Class, u64)>,
    /// By type, the largest change of allocated bytes first.
    pub types: Vec<TypeChange>,
}

/// Compares two snapshots.
#[must_use]
pub fn compare<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Diff<'a> {
    let (same_process, same_program) = identity(before, after);
    let pairs = pairs(before, after, same_process == Some(false));
    let garbage: HashSet<u64> = after
        .maps
        .iter()
        .filter(|map| map.garbage)
        .map(|map| map.address)
        .collect();
    let mut changes: Vec<Change<'a>> = pairs
        .into_iter()
        .map(|(one, other)| change((before.scope, one), (after.scope, other), &garbage))
        .collect();
    changes.sort_by_cached_key(|change| {
        let delta = change.delta;
        let map = change.map();
        (
            std::cmp::Reverse((
                delta.allocated.unsigned_abs(),
                delta.reclaimable.unsigned_abs(),
                delta.len.unsigned_abs(),
                change.class != Class::Unchanged,
            )),
            std::cmp::Reverse(map.map_or(0, |map| map.allocated)),
            map.map_or(0, |map| map.address),
        )
    });
    let mut sums = (Sums::default(), Sums::default());
    let mut classes: HashMap<Class, u64> = HashMap::new();
    let mut types: HashMap<Option<Rc<str>>, TypeChange> = HashMap::new();
    for change in &changes {
        *classes.entry(change.class).or_default() += 1;
        if change.class == Class::Unlisted {
            continue;
        }
        let kind = |map: &'a Record| map.type_name.as_ref();
        // After a clear() a scan may not know the type any more.
        let kind = change
            .after
            .and_then(kind)
            .or(change.before.and_then(kind))
            .cloned();
        let of = types.entry(kind.clone()).or_insert_with(|| TypeChange {
            name: kind,
            before: Sums::default(),
            after: Sums::default(),
        });
        if let Some(map) = change.before {
            sums.0.add(map);
            of.before.add(map);
        }
        if let Some(map) = change.after {
            sums.1.add(map);
            of.after.add(map);
        }
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_unstable();
    let mut types: Vec<_> = types.into_values().collect();
    types.sort_by_cached_key(|of| {
        let change = of.after.allocated.abs_diff(of.before.allocated);
        (
            std::cmp::Reverse((change, of.after.allocated)),
            of.name.clone(),
        )
    });
    Diff {
        before: Side {
            snapshot: before,
            sums: sums.0,
        },
        after: Side {
            snapshot: after,
            sums: sums.1,
        },
        same_process,
        same_program,
        elapsed: elapsed(before, after),
        changes,
        classes,
        types,
    }
}

/// Whether two snapshots are of one process, and of one program.
fn identity(before: &Snapshot, after: &Snapshot) -> (Option<bool>, Option<bool>) {
    let (one, other) = (&before.origin, &after.origin);
    let both = |one: &Option<String>, other: &Option<String>| {
        one.as_ref()
            .zip(other.as_ref())
            .map(|(one, other)| one == other)
    };
    let differs = |found: Option<bool>| found.filter(|same| !same);
    let program = both(&one.build_id, &other.build_id)
        .or_else(|| differs(both(&one.go_version, &other.go_version)))
        .or_else(|| differs(both(&one.arch, &other.arch)));
    let begun = |snapshot: &Snapshot| {
        Some((
            snapshot.taken.boot_id.clone()?,
            snapshot.origin.pid?,
            snapshot.origin.started_ticks?,
        ))
    };
    let process = match program {
        Some(false) => Some(false),
        _ => begun(before)
            .zip(begun(after))
            .map(|(one, other)| one == other),
    };
    (process, program)
}

fn elapsed(before: &Snapshot, after: &Snapshot) -> Option<(i64, &'static str)> {
    let (one, other) = (&before.taken, &after.taken);
    if one.boot_id.is_some()
        && one.boot_id == other.boot_id
        && let (Some(from), Some(to)) = (one.monotonic_ns, other.monotonic_ns)
    {
        return Some((difference(from, to), "monotonic"));
    }
    Some((difference(one.wall_ns?, other.wall_ns?), "wall"))
}

/// Whether two maps may have one type.
fn fit(one: &Record, other: &Record) -> bool {
    match (&one.type_name, &other.type_name) {
        (Some(one), Some(other)) => one == other,
        (Some(name), None) => other.types.is_empty() || other.types.contains(name),
        (None, Some(name)) => one.types.is_empty() || one.types.contains(name),
        (None, None) => {
            one.types.is_empty()
                || other.types.is_empty()
                || one.types.iter().any(|name| other.types.contains(name))
        }
    }
}

type Pair<'a> = (Option<&'a Record>, Option<&'a Record>);

/// Every map of both sides, with its counterpart where it has one.
fn pairs<'a>(before: &'a Snapshot, after: &'a Snapshot, strangers: bool) -> Vec<Pair<'a>> {
    let used = |snapshot: &'a Snapshot| -> Vec<&'a Record> {
        snapshot.maps.iter().filter(|map| !map.garbage).collect()
    };
    let (ours, theirs) = (used(before), used(after));
    let mut partner: Vec<Option<usize>> = vec![None; ours.len()];
    let mut taken = vec![false; theirs.len()];
    let mut at: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut called: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, map) in theirs.iter().enumerate() {
        if map.address != 0 {
            at.entry(map.address).or_default().push(index);
        }
        if let Some(name) = &map.name {
            called.entry(name).or_default().push(index);
        }
    }
    // How many of ours a name may mean: a holder can have several.
    let mut ambiguous: HashMap<&str, u64> = HashMap::new();
    for name in ours.iter().filter_map(|map| map.name.as_deref()) {
        *ambiguous.entry(name).or_default() += 1;
    }
    let none: &[usize] = &[];
    // One header may have been asked for by several names.
    for same_name in [true, false] {
        for (map, partner) in ours.iter().zip(&mut partner) {
            let candidates = at.get(&map.address).map_or(none, Vec::as_slice);
            if partner.is_some() || strangers {
                continue;
            }
            *partner = candidates.iter().copied().find(|index| {
                theirs
                    .get(*index)
                    .is_some_and(|other| fit(map, other) && (!same_name || map.name == other.name))
                    && taken.get(*index) == Some(&false)
            });
            if let Some(taken) = partner.and_then(|index| taken.get_mut(index)) {
                *taken = true;
            }
        }
    }
    for (map, partner) in ours.iter().zip(&mut partner) {
        let Some(name) = map.name.as_deref().filter(|_| partner.is_none()) else {
            continue;
        };
        let candidates = called.get(name).map_or(none, Vec::as_slice);
        if candidates.len() != 1 || ambiguous.get(name) != Some(&1) {
            continue;
        }
        *partner = candidates.iter().copied().find(|index| {
            theirs.get(*index).is_some_and(|other| fit(map, other))
                && taken.get(*index) == Some(&false)
        });
        if let Some(taken) = partner.and_then(|index| taken.get_mut(index)) {
            *taken = true;
        }
    }
    let known = ours
        .iter()
        .zip(&partner)
        .map(|(map, partner)| (Some(*map), partner.and_then(|at| theirs.get(at).copied())));
    let fresh = theirs
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| !**taken)
        .map(|(map, _)| (None, Some(*map)));
    known.chain(fresh).collect()
}

fn change<'a>(
    (before, one): (Scope, Option<&'a Record>),
    (after, other): (Scope, Option<&'a Record>),
    garbage: &HashSet<u64>,
) -> Change<'a> {
    let was = one.filter(|map| map.address != 0);
    let is = other.filter(|map| map.address != 0);
    let mut change = Change {
        class: Class::Unchanged,
        moved: false,
        before: one,
        after: other,
        delta: Delta::default(),
        storage: None,
        buckets: None,
        garbage: false,
    };
    let sum = |of: fn(&Record) -> u64| difference(was.map_or(0, of), is.map_or(0, of));
    let delta = Delta {
        allocated: sum(|map| map.allocated),
        len: sum(|map| map.len),
        capacity: sum(|map| map.capacity),
        reclaimable: match (was, is) {
            (Some(was), Some(is)) => was
                .reclaimable
                .zip(is.reclaimable)
                .map_or(0, |(was, is)| difference(was, is)),
            _ => sum(|map| map.reclaimable.unwrap_or(0)),
        },
    };
    // A side that lists what it was asked for says nothing of other maps.
    match (was, is) {
        (None, None) => {}
        (Some(was), None) => {
            change.garbage = other.is_none() && garbage.contains(&was.address);
            let known = other.is_some() || after == Scope::All || change.garbage;
            change.class = if known { Class::Gone } else { Class::Unlisted };
        }
        (None, Some(_)) => {
            let known = one.is_some() || before == Scope::All;
            change.class = if known { Class::New } else { Class::Unlisted };
        }
        (Some(was), Some(is)) => {
            change.moved = was.address != is.address;
            if let (Some(left), Some(right)) = (&was.blocks, &is.blocks) {
                let kept = kept(&storage(left), &storage(right));
                change.storage = Some(kept);
                if kept.left == 0 && kept.added == 0 {
                    change.buckets = buckets(was, is);
                }
            }
            let elsewhere = change
                .storage
                .is_some_and(|storage| storage.left > 0 || storage.added > 0);
            let same_figures = delta == Delta::default()
                && was
                    .tombstones
                    .zip(is.tombstones)
                    .is_none_or(|(a, b)| a == b)
                && change
                    .buckets
                    .is_none_or(|buckets| buckets.more + buckets.fewer == 0);
            change.class = match delta.capacity {
                1.. => Class::Grown,
                ..0 if change.moved => Class::Rebuilt,
                ..0 => Class::Shrunk,
                0 if change.moved || elsewhere => Class::Moved,
                0 => match delta.len {
                    1.. => Class::Filled,
                    ..0 => Class::Emptied,
                    0 if same_figures => Class::Unchanged,
                    0 => Class::Changed,
                },
            };
        }
    }
    if change.class != Class::Unlisted {
        change.delta = delta;
    }
    change
}

/// What two lists of blocks, both ascending, have in common.
fn kept(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Storage {
    let mut sums = Storage::default();
    let (mut left, mut right) = (ours.iter().peekable(), theirs.iter().peekable());
    let add = |sum: &mut u64, size: u64| *sum = sum.saturating_add(size);
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return sums,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => one.cmp(other),
        };
        match order {
            std::cmp::Ordering::Less => {
                add(&mut sums.left, left.next().map_or(0, |block| block.1));
            }
            std::cmp::Ordering::Greater => {
                add(&mut sums.added, right.next().map_or(0, |block| block.1));
            }
            std::cmp::Ordering::Equal => {
                add(&mut sums.kept, left.next().map_or(0, |block| block.1));
                right.next();
            }
        }
    }
}

/// Bucket by bucket; `None` where one side does not list them, or they are not as many.
fn buckets(was: &Record, is: &Record) -> Option<BucketChange> {
    let (mut ours, mut theirs) = (
        digits(was.bucket_live.as_deref()?),
        digits(is.bucket_live.as_deref()?),
    );
    let mut sums = BucketChange::default();
    let (mut one, mut other) = ((0, 0), (0, 0));
    loop {
        if one.1 == 0 {
            one = ours.next().unwrap_or(Some((0, 0)))?;
        }
        if other.1 == 0 {
            other = theirs.next().unwrap_or(Some((0, 0)))?;
        }
        let both = u64::min(one.1, other.1);
        if both == 0 {
            return (one.1 == other.1).then_some(sums);
        }
        sums.compared += both;
        match other.0.cmp(&one.0) {
            std::cmp::Ordering::Greater => sums.more += both,
            std::cmp::Ordering::Less => {
                sums.fewer += both;
                sums.emptied += if other.0 == 0 { both } else { 0 };
            }
            std::cmp::Ordering::Equal => {}
        }
        one.1 -= both;
        other.1 -= both;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Blocks, Origin, Run, Taken};

    fn map(name: &str, address: u64, len: u64, capacity: u64, allocated: u64) -> Record {
        Record {
            address,
            type_name: Some("map[string]int".into()),
            name: (!name.is_empty()).then(|| name.into()),
            len,
            capacity,
            allocated,
            reclaimable: Some(0),
            tombstones: Some(0),
            exact: true,
            ..Record::default()
        }
    }

    fn of(scope: Scope, maps: Vec<Record>) -> Snapshot {
        Snapshot {
            path: String::new(),
            schema: "gomapscope.snapshot/1",
            taken: Taken::default(),
            origin: Origin::default(),
            scope,
            quick: false,
            holders: false,
            buckets: false,
            racing: false,
            maps,
            missing: Vec::new(),
        }
    }

    /// Names and classes, by name.
    fn classes(before: &Snapshot, after: &Snapshot) -> Vec<(String, &'static str, bool)> {
        let diff = compare(before, after);
        let mut list: Vec<_> = diff
            .changes
            .iter()
            .map(|change| {
                let name = change.map().and_then(|map| map.name.as_deref());
                (
                    name.unwrap_or("?").to_owned(),
                    change.class.word(),
                    change.moved,
                )
            })
            .collect();
        list.sort();
        list
    }

    fn one(before: Record, after: Record) -> (&'static str, bool) {
        let (before, after) = (
            of(Scope::Named, vec![before]),
            of(Scope::Named, vec![after]),
        );
        let found = classes(&before, &after);
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].1, found[0].2)
    }

    fn at(starts: &[u64]) -> Option<Vec<Blocks>> {
        let run = |start: &u64| Run {
            start: *start,
            size: 64,
            count: 1,
            stride: 0,
        };
        Some(vec![Blocks {
            kind: "groups".to_owned(),
            runs: starts.iter().map(run).collect(),
        }])
    }

    #[test]
    fn classes_follow_from_slots_entries_and_places() {
        let was = || map("m", 16, 100, 128, 4096);
        assert_eq!(one(was(), was()), ("unchanged", false));
        assert_eq!(one(was(), map("m", 16, 200, 256, 8192)), ("grown", false));
        assert_eq!(one(was(), map("m", 16, 101, 128, 4096)), ("filled", false));
        assert_eq!(one(was(), map("m", 16, 3, 128, 4096)), ("emptied", false));
        assert_eq!(one(was(), map("m", 16, 100, 64, 2048)), ("shrunk", false));
        assert_eq!(one(was(), map("m", 32, 100, 64, 2048)), ("rebuilt", true));
        assert_eq!(one(was(), map("m", 32, 100, 128, 4096)), ("moved", true));
        assert_eq!(one(was(), map("m", 32, 1, 256, 8192)), ("grown", true));
        assert_eq!(one(was(), map("m", 16, 100, 128, 8192)), ("changed", false));
        assert_eq!(one(was(), map("m", 0, 0, 0, 0)), ("gone", false));
        assert_eq!(one(map("m", 0, 0, 0, 0), was()), ("new", false));
        assert_eq!(
            one(map("m", 0, 0, 0, 0), map("m", 0, 0, 0, 0)),
            ("unchanged", false)
        );
        let tombs = Record {
            tombstones: Some(4),
            ..was()
        };
        assert_eq!(one(was(), tombs), ("changed", false));
    }

    #[test]
    fn storage_that_moved_is_seen() {
        let with = |len, starts: &[u64]| Record {
            blocks: at(starts),
            ..map("m", 16, len, 128, 4096)
        };
        assert_eq!(
            one(with(9, &[100, 200]), with(9, &[100, 200])).0,
            "unchanged"
        );
        assert_eq!(one(with(9, &[100, 200]), with(3, &[100, 300])).0, "moved");
        let (before, after) = (
            of(Scope::Named, vec![with(9, &[100, 200])]),
            of(Scope::Named, vec![with(3, &[100, 300, 400])]),
        );
        let diff = compare(&before, &after);
        assert_eq!(
            diff.changes[0].storage,
            Some(Storage {
                kept: 64,
                left: 64,
                added: 128
            })
        );
    }

    #[test]
    fn what_was_not_looked_for_is_not_called_gone() {
        let one = || vec![map("a", 16, 1, 8, 100)];
        let none = Vec::new;
        let class = |scope, before: Vec<Record>, after: Vec<Record>| {
            classes(&of(scope, before), &of(scope, after))[0].1
        };
        assert_eq!(class(Scope::All, one(), none()), "gone");
        assert_eq!(class(Scope::All, none(), one()), "new");
        for scope in [Scope::Named, Scope::Part] {
            assert_eq!(class(scope, one(), none()), "unlisted");
            assert_eq!(class(scope, none(), one()), "unlisted");
        }
        let garbage = Record {
            garbage: true,
            ..map("a", 16, 1, 8, 100)
        };
        let (before, after) = (of(Scope::All, one()), of(Scope::Part, vec![garbage]));
        let diff = compare(&before, &after);
        assert_eq!(diff.changes.len(), 1);
        assert_eq!(diff.changes[0].class, Class::Gone);
        assert!(diff.changes[0].garbage);
        assert_eq!(diff.after.sums, Sums::default());
    }

    #[test]
    fn addresses_come_before_names_and_types_must_agree() {
        let before = of(
            Scope::All,
            vec![map("a", 16, 1, 8, 100), map("b", 32, 2, 8, 100)],
        );
        // The two were swapped: each is still where it was.
        let swapped = of(
            Scope::All,
            vec![map("b", 16, 1, 8, 100), map("a", 32, 2, 8, 100)],
        );
        let found = classes(&before, &swapped);
        assert!(
            found.iter().all(|row| row.1 == "unchanged" && !row.2),
            "{found:?}"
        );
        // Another type at the old address is another map.
        let other = Record {
            type_name: Some("map[int]int".into()),
            ..map("c", 16, 1, 8, 100)
        };
        let after = of(
            Scope::All,
            vec![other, map("a", 64, 1, 8, 100), map("b", 32, 2, 8, 100)],
        );
        assert_eq!(
            classes(&before, &after),
            [
                ("a".to_owned(), "moved", true),
                ("b".to_owned(), "unchanged", false),
                ("c".to_owned(), "new", false),
            ]
        );
        // A name that means several maps tells none of them.
        let many = |addresses: [u64; 2]| {
            of(
                Scope::All,
                addresses.map(|at| map("list[...]", at, 1, 8, 9)).to_vec(),
            )
        };
        let found = classes(&many([16, 32]), &many([48, 64]));
        let words: Vec<_> = found.iter().map(|row| row.1).collect();
        assert_eq!(words, ["gone", "gone", "new", "new"]);
        // One header under two names.
        let twice = || {
            of(
                Scope::Named,
                vec![map("x", 16, 1, 8, 9), map("y", 16, 1, 8, 9)],
            )
        };
        let found = classes(&twice(), &twice());
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|row| row.1 == "unchanged"));
    }

    #[test]
    fn of_two_processes_names_alone_agree() {
        let process = |pid| {
            let mut snapshot = of(
                Scope::All,
                vec![map("m", 16, 1, 8, 100), map("", 32, 1, 8, 100)],
            );
            snapshot.origin.pid = Some(pid);
            snapshot.origin.started_ticks = Some(5);
            snapshot.taken.boot_id = Some("boot".to_owned());
            snapshot
        };
        let (one, other) = (process(1), process(2));
        assert_eq!(compare(&one, &process(1)).same_process, Some(true));
        let diff = compare(&one, &other);
        assert_eq!(diff.same_process, Some(false));
        let mut words: Vec<_> = diff
            .changes
            .iter()
            .map(|change| change.class.word())
            .collect();
        words.sort_unstable();
        assert_eq!(words, ["gone", "new", "unchanged"]);
        let mut built = process(1);
        built.origin.build_id = Some("a".to_owned());
        let mut again = process(1);
        again.origin.build_id = Some("b".to_owned());
        let diff = compare(&built, &again);
        assert_eq!(
            (diff.same_process, diff.same_program),
            (Some(false), Some(false))
        );
    }

    #[test]
    fn sums_are_those_of_the_rows_and_the_largest_change_is_first() {
        let before = of(
            Scope::All,
            vec![
                map("a", 16, 1, 8, 100),
                map("b", 32, 2, 8, 5000),
                map("c", 48, 9, 16, 300),
            ],
        );
        let after = of(
            Scope::All,
            vec![map("a", 16, 20, 64, 900), map("c", 48, 9, 16, 300)],
        );
        let diff = compare(&before, &after);
        assert_eq!(diff.before.sums.allocated, 5400);
        assert_eq!(diff.after.sums.allocated, 1200);
        assert_eq!((diff.before.sums.maps, diff.after.sums.maps), (3, 2));
        let deltas: Vec<i64> = diff
            .changes
            .iter()
            .map(|change| change.delta.allocated)
            .collect();
        assert_eq!(deltas, [-5000, 800, 0]);
        assert_eq!(diff.types.len(), 1);
        assert_eq!(diff.types[0].before, diff.before.sums);
        assert_eq!(
            diff.classes,
            [(Class::Grown, 1), (Class::Gone, 1), (Class::Unchanged, 1)]
        );
    }

    #[test]
    fn buckets_are_compared_one_by_one() {
        let with = |text: &str| Record {
            blocks: at(&[100]),
            bucket_live: Some(text.to_owned()),
            ..map("m", 16, 9, 128, 4096)
        };
        let of_two = |one: &str, other: &str| buckets(&with(one), &with(other));
        assert_eq!(
            of_two("80x4;3", "7x2;0032"),
            Some(BucketChange {
                compared: 6,
                more: 2,
                fewer: 2,
                emptied: 0
            })
        );
        assert_eq!(of_two("1x5;", "0x5;").map(|found| found.emptied), Some(5));
        assert_eq!(of_two("11", "111"), None);
        assert_eq!(of_two("", ""), Some(BucketChange::default()));
    }

    #[test]
    fn differences_stay_in_their_range() {
        assert_eq!(difference(u64::MAX, 0), i64::MIN);
        assert_eq!(difference(0, u64::MAX), i64::MAX);
        assert_eq!(difference(7, 3), -4);
    }
}
