//! What an execution trace tells, kept in bounded memory.

use std::collections::HashMap;
use std::rc::Rc;

use crate::events::{Frame, Thinned};
use crate::exectrace::{BEFORE, Fact, Lane, Sink};
use crate::memory::AddressHash;

use super::lives::{Names, Seen, Stacks, shortened};
use super::model::{Interval, Point};

/// Collections, and stops of the world, that are kept; of tasks and regions the longest.
const SPANS: usize = 1 << 15;
/// Tasks and regions that may be open at once.
const OPEN: usize = 1 << 16;
/// Logs that are kept.
const LOGS: usize = 1 << 14;
/// Points of a series.
const POINTS: usize = 1 << 14;
/// Objects of maps that may live at once.
const OBJECTS: usize = 1 << 20;
/// Blocks of maps that the sweeper freed.
const FREES: usize = 1 << 16;
/// An event and an allocation that are further apart are not the same.
const SAME_NS: u64 = 1_000_000;
/// The ends of collections that are remembered, to be found again elsewhere.
const ENDS: usize = 1 << 16;

/// A list that stays short: every second element is dropped, again and again.
#[derive(Debug)]
pub(super) struct Evenly<T> {
    pub(super) kept: Vec<T>,
    stride: u64,
    pub(super) seen: u64,
    most: usize,
}

impl<T> Evenly<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            stride: 1,
            seen: 0,
            most,
        }
    }

    pub(super) fn push(&mut self, element: T) {
        if self.seen.is_multiple_of(self.stride) {
            self.kept.push(element);
        }
        self.seen += 1;
        if self.kept.len() > self.most {
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.saturating_mul(2);
        }
    }
}

/// `trace.Log`.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) t_ns: u64,
    pub(super) goid: Option<u64>,
    pub(super) text: Rc<str>,
    pub(super) stack: Option<u32>,
    /// The map that it names by its address.
    pub(super) address: Option<u64>,
}

/// A block of a map that the sweeper freed: when, which map's life, how many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freed {
    pub(super) t_ns: u64,
    pub(super) life: u32,
    pub(super) size: Option<u64>,
}

/// How far the times of the same allocations are apart here and in an event file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Apart {
    pub(super) matched: u64,
    /// The trace's time less the event's: the most and the least.
    pub(super) least: i64,
    pub(super) most: i64,
    /// More than 1 us apart.
    pub(super) beyond: u64,
}

/// Takes the facts of one trace.
#[derive(Debug)]
pub(super) struct Facts {
    /// What is added to the trace's times.
    shift: i64,
    pub(super) stacks: Stacks,
    names: Names,
    /// Blocks of event files, by address and time.
    pub(super) seen: Vec<Seen>,
    pub(super) extent: Option<(u64, u64)>,
    pub(super) facts: u64,
    pub(super) clocks: Vec<(u64, u64, u64)>,
    open: [Option<(u64, Rc<str>, u64)>; 2],
    pub(super) collections: Vec<Interval>,
    pub(super) longest: Vec<Interval>,
    pub(super) dropped: u64,
    tasks: HashMap<u64, (u64, Rc<str>, u64)>,
    regions: HashMap<u64, Vec<(u64, Rc<str>)>>,
    open_regions: usize,
    pub(super) logs: Evenly<Log>,
    pub(super) live: Thinned<Point>,
    pub(super) goal: Thinned<Point>,
    pub(super) maps: Thinned<Point>,
    objects: HashMap<u64, u64, AddressHash>,
    in_maps: u64,
    pub(super) objects_seen: u64,
    pub(super) objects_missing: u64,
    pub(super) freed: Evenly<Freed>,
    pub(super) apart: HashMap<u32, Apart>,
    pub(super) ends: Vec<u64>,
    source: usize,
}

fn lane_of(lane: Lane) -> (usize, &'static str) {
    match lane {
        Lane::Gc => (0, "GC"),
        Lane::StopTheWorld => (1, "STW"),
    }
}

/// The type's name of bucket arrays and groups, as reflectdata names them.
fn is_storage(type_name: &str) -> bool {
    type_name.starts_with("map.bucket[") || type_name.starts_with("map.group[")
}

fn some(goid: u64) -> Option<u64> {
    (goid != 0).then_some(goid)
}

/// The first `0x…` of a text.
fn address_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("0x")?;
    let end = rest
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(rest.len());
    u64::from_str_radix(rest.get(..end)?, 16).ok()
}

impl Facts {
    /// `seen` in the order of addresses and times.
    pub(super) fn new(source: usize, shift: i64, stacks: Stacks, seen: Vec<Seen>) -> Self {
        Self {
            shift,
            stacks,
            names: Names::default(),
            seen,
            extent: None,
            facts: 0,
            clocks: Vec::new(),
            open: [None, None],
            collections: Vec::new(),
            longest: Vec::new(),
            dropped: 0,
            tasks: HashMap::new(),
            regions: HashMap::new(),
            open_regions: 0,
            logs: Evenly::new(LOGS),
            live: Thinned::new(),
            goal: Thinned::new(),
            maps: Thinned::new(),
            objects: HashMap::default(),
            in_maps: 0,
            objects_seen: 0,
            objects_missing: 0,
            freed: Evenly::new(FREES),
            apart: HashMap::new(),
            ends: Vec::new(),
            source,
        }
    }

    /// A time of the trace on the clock of all.
    fn at(&mut self, t_ns: u64) -> u64 {
        let t_ns = t_ns.saturating_add_signed(self.shift);
        let (first, last) = self.extent.unwrap_or((t_ns, t_ns));
        self.extent = Some((first.min(t_ns), last.max(t_ns)));
        t_ns
    }

    fn interval(&self, lane: &str, name: Rc<str>, span: (u64, u64), whole: bool) -> Interval {
        Interval {
            lane: lane.into(),
            name,
            begin_ns: span.0,
            end_ns: span.1.max(span.0),
            whole,
            goid: None,
            source: self.source,
        }
    }

    fn collect(&mut self, interval: Interval) {
        if self.collections.len() < SPANS {
            self.collections.push(interval);
        } else {
            self.dropped += 1;
        }
    }

    fn lasted(&mut self, interval: Interval) {
        self.longest.push(interval);
        if self.longest.len() >= 2 * SPANS {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        if self.longest.len() > SPANS {
            self.longest
                .sort_by_key(|span| std::cmp::Reverse(span.end_ns - span.begin_ns));
            self.dropped += (self.longest.len() - SPANS) as u64;
            self.longest.truncate(SPANS);
        }
    }

    /// Ends what did not end.
    pub(super) fn finish(&mut self) {
        let (first, last) = self.extent.unwrap_or((0, 0));
        for (at, lane) in [(0, "GC"), (1, "STW")] {
            if let Some((begin, reason, goid)) = self.open.get_mut(at).and_then(Option::take) {
                let mut span = self.interval(lane, reason, (begin, last), false);
                span.goid = some(goid);
                self.collect(span);
            }
        }
        let mut tasks: Vec<_> = self.tasks.drain().collect();
        tasks.sort_unstable_by_key(|(number, _)| *number);
        for (_, (begin, name, goid)) in tasks {
            let mut span = self.interval(&format!("task {name}"), name, (begin, last), false);
            span.goid = some(goid);
            self.lasted(span);
        }
        let mut regions: Vec<_> = self.regions.drain().collect();
        regions.sort_unstable_by_key(|(goid, _)| *goid);
        for (goid, open) in regions {
            for (begin, name) in open {
                let mut span = self.interval("regions", name, (begin, last), false);
                span.goid = some(goid);
                self.lasted(span);
            }
        }
        self.shorten();
        self.collections.sort_by_key(|span| span.begin_ns);
        self.longest.sort_by_key(|span| span.begin_ns);
        debug_assert!(first <= last, "the extent is in order");
    }

    fn point(series: &mut Thinned<Point>, t_ns: u64, bytes: u64) {
        let value = bytes as f64;
        series.push(Point { t_ns, value }, POINTS);
    }

    /// The blocks that events told of at this address, those behind a malloc header included.
    fn known(&self, address: u64) -> impl Iterator<Item = &Seen> {
        let seen = &self.seen;
        [address, address.saturating_add(8)]
            .into_iter()
            .flat_map(move |address| {
                let from = seen.partition_point(|block| block.address < address);
                seen.get(from..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(move |block| block.address == address)
            })
    }

    fn allocated(&mut self, t_ns: u64, address: u64) {
        let nearest = self
            .known(address)
            .min_by_key(|block| block.t_ns.abs_diff(t_ns))
            .filter(|block| block.t_ns.abs_diff(t_ns) <= SAME_NS)
            .copied();
        let Some(block) = nearest else {
            return;
        };
        let apart = t_ns.wrapping_sub(block.t_ns) as i64;
        let of = self.apart.entry(block.source).or_insert(Apart {
            least: apart,
            most: apart,
            ..Apart::default()
        });
        of.matched += 1;
        of.least = of.least.min(apart);
        of.most = of.most.max(apart);
        of.beyond += u64::from(apart.unsigned_abs() > 1000);
    }

    fn free(&mut self, t_ns: u64, address: u64) {
        let bytes = self.objects.remove(&address);
        if let Some(bytes) = bytes {
            self.in_maps = self.in_maps.saturating_sub(bytes);
            Self::point(&mut self.maps, t_ns, self.in_maps);
        }
        let last = self
            .known(address)
            .filter(|block| block.t_ns <= t_ns)
            .max_by_key(|block| block.t_ns)
            .copied();
        // Another object may have taken the place meanwhile: its type tells, where it is known.
        if let (Some(block), Some(_)) = (last, bytes) {
            self.freed.push(Freed {
                t_ns,
                life: block.life,
                size: bytes,
            });
        }
    }
}

impl Sink for Facts {
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        self.facts += 1;
        match *fact {
            Fact::Clock {
                t_ns,
                mono_ns,
                wall_ns,
            } => {
                self.at(t_ns);
                if self.clocks.len() < ENDS {
                    self.clocks.push((t_ns, mono_ns, wall_ns));
                }
            }
            Fact::Begin {
                t_ns,
                lane,
                reason,
                goid,
            } => {
                let t_ns = self.at(t_ns);
                let reason = self.names.of(reason);
                if let Some(open) = self.open.get_mut(lane_of(lane).0) {
                    *open = Some((t_ns, reason, goid));
                }
            }
            Fact::End { t_ns, lane } => {
                let t_ns = self.at(t_ns);
                let (at, word) = lane_of(lane);
                let first = self.extent.map_or(t_ns, |(first, _)| first);
                let open = self.open.get_mut(at).and_then(Option::take);
                let whole = open
                    .as_ref()
                    .is_some_and(|(_, reason, _)| &**reason != BEFORE);
                let (begin, reason, goid) = open.unwrap_or((first, BEFORE.into(), 0));
                let mut span = self.interval(word, reason, (begin, t_ns), whole);
                span.goid = some(goid);
                self.collect(span);
                if lane == Lane::Gc && self.ends.len() < ENDS {
                    self.ends.push(t_ns);
                }
            }
            Fact::HeapAlloc { t_ns, bytes } => {
                let t_ns = self.at(t_ns);
                Self::point(&mut self.live, t_ns, bytes);
            }
            Fact::HeapGoal { t_ns, bytes } => {
                let t_ns = self.at(t_ns);
                // With GOGC=off and no limit there is no goal (runtime/trace.go).
                if bytes != 0 {
                    Self::point(&mut self.goal, t_ns, bytes);
                }
            }
            Fact::Log {
                t_ns,
                goid,
                category,
                message,
                stack: number,
                ..
            } => {
                let t_ns = self.at(t_ns);
                let stack = match number {
                    0 => None,
                    number => self.stacks.id(&stack(number)),
                };
                let text = match category {
                    "" => shortened(message).into(),
                    category => format!("{}: {}", shortened(category), shortened(message)).into(),
                };
                self.logs.push(Log {
                    t_ns,
                    goid: some(goid),
                    text,
                    stack,
                    address: address_in(message),
                });
            }
            Fact::TaskBegin {
                t_ns,
                goid,
                task,
                name,
                ..
            } => {
                let t_ns = self.at(t_ns);
                let name = self.names.of(name);
                if self.tasks.len() < OPEN {
                    self.tasks.insert(task, (t_ns, name, goid));
                } else {
                    self.dropped += 1;
                }
            }
            Fact::TaskEnd { t_ns, task, .. } => {
                let t_ns = self.at(t_ns);
                if let Some((begin, name, goid)) = self.tasks.remove(&task) {
                    let lane = format!("task {name}");
                    let mut span = self.interval(&lane, name, (begin, t_ns), true);
                    span.goid = some(goid);
                    self.lasted(span);
                }
            }
            Fact::RegionBegin {
                t_ns, goid, name, ..
            } => {
                let t_ns = self.at(t_ns);
                let name = self.names.of(name);
                if self.open_regions < OPEN {
                    self.open_regions += 1;
                    self.regions.entry(goid).or_default().push((t_ns, name));
                } else {
                    self.dropped += 1;
                }
            }
            Fact::RegionEnd {
                t_ns, goid, name, ..
            } => {
                let t_ns = self.at(t_ns);
                // Regions of a goroutine are nested; the begin of one may lie before the trace.
                let open = self.regions.entry(goid).or_default();
                let at = open
                    .iter()
                    .rposition(|(_, known)| &**known == shortened(name));
                if let Some(at) = at {
                    let (begin, name) = open.remove(at);
                    self.open_regions = self.open_regions.saturating_sub(1);
                    let mut span = self.interval("regions", name, (begin, t_ns), true);
                    span.goid = some(goid);
                    self.lasted(span);
                }
            }
            Fact::Alloc {
                t_ns,
                address,
                slot,
                type_name,
                existed,
                ..
            } => {
                let t_ns = self.at(t_ns);
                self.objects_seen += 1;
                if is_storage(type_name) {
                    // What else has lain there is none of the map's.
                    if !existed {
                        self.allocated(t_ns, address);
                    }
                    match slot {
                        Some(bytes) if self.objects.len() < OBJECTS => {
                            let before = self.objects.insert(address, bytes).unwrap_or(0);
                            self.in_maps = self.in_maps.saturating_sub(before);
                            self.in_maps = self.in_maps.saturating_add(bytes);
                            Self::point(&mut self.maps, t_ns, self.in_maps);
                        }
                        _ => self.objects_missing += 1,
                    }
                } else if let Some(bytes) = self.objects.remove(&address) {
                    // Its end was not told, and something else lies there now.
                    self.in_maps = self.in_maps.saturating_sub(bytes);
                }
            }
            Fact::Free { t_ns, address } => {
                let t_ns = self.at(t_ns);
                self.free(t_ns, address);
            }
        }
        true
    }
}

/// Finds nothing but the ends of collections, on the trace's own clock.
#[derive(Debug, Default)]
pub(super) struct Ends(pub(super) Vec<u64>);

impl Sink for Ends {
    fn fact(&mut self, fact: &Fact<'_>, _: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        if let Fact::End {
            t_ns,
            lane: Lane::Gc,
        } = fact
            && self.0.len() < ENDS
        {
            self.0.push(*t_ns);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_names_a_map_by_its_address() {
        assert_eq!(address_in("created@0xc000012120 k=1"), Some(0xc0_0001_2120));
        assert_eq!(address_in("created@0x"), None);
        assert_eq!(address_in("0xfffffffffffffffff"), None);
        assert_eq!(address_in("10x"), None);
        assert_eq!(address_in("é0x1é"), Some(1));
    }

    #[test]
    fn no_goal_is_no_point() {
        let mut facts = Facts::new(0, 0, Stacks::default(), Vec::new());
        for (t_ns, bytes) in [(10, 4 << 20), (20, 0), (30, 8 << 20)] {
            facts.fact(&Fact::HeapGoal { t_ns, bytes }, &|_| Vec::new());
        }
        let points: Vec<_> = facts.goal.iter().map(|p| (p.t_ns, p.value)).collect();
        assert_eq!(points, [(10, 4_194_304.0), (30, 8_388_608.0)]);
        assert_eq!((facts.extent, facts.facts), (Some((10, 30)), 3));
    }

    #[test]
    fn a_long_list_is_thinned_evenly() {
        let mut list = Evenly::new(4);
        (0..100).for_each(|n| list.push(n));
        assert_eq!(
            (list.kept.as_slice(), list.seen),
            (&[0, 32, 64, 96][..], 100)
        );
    }
}
