//! What the page gets: the timeline, thinned, its texts made harmless, its times counted from
//! the beginning.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::flame;
use super::thin::{Bins, Busy, scatter, share, spans};
use crate::events::Op;
use crate::report::sanitize;
use crate::timeline::{
    Finding, Heat, Instant, Interval, MapTrack, Series, SeriesKind, Source, SourceKind, Timeline,
};

/// The page's form; `app.js` reads this one.
const SCHEMA: &str = "gomapscope.page/1";

// What one page holds, so that it stays below some megabytes.
const MAPS: usize = 500;
const POINTS: usize = 128_000;
/// Of those, what the process's own figures and the largest maps get first.
const POINTS_OF_FIRST: usize = 96_000;
const FIRST_MAPS: usize = 8;
const POINTS_OF_ONE: usize = 5_000;
const SERIES: usize = 1_000;
const HEAT_CELLS: usize = 60_000;
const HEAT_CELLS_OF_ONE: usize = 4_096;
const CHAINS: usize = 16;
const BLOCKS: usize = 30_000;
const BLOCKS_OF_ONE: usize = 1_024;
const INSTANTS: usize = 4_000;
const INTERVALS: usize = 6_000;
/// More in one lane may be too narrow to draw: bins tell how much they take.
const MANY: usize = 300;
const LANES: usize = 60;
const BINS: usize = 1_000;
const FRAMES: usize = 64;
const FINDINGS: usize = 200;
const EVIDENCE: usize = 50;
const SOURCES: usize = 500;
const NOTES: usize = 200;
const CHARACTERS: usize = 1_000;
const PAGE_BYTES: u64 = 4_096;

#[derive(Debug, Serialize)]
pub(super) struct Page {
    schema: &'static str,
    title: String,
    subject: SubjectData,
    /// Nanoseconds of the clock where the page's time begins; text, as it may exceed what a
    /// number of JavaScript holds.
    begin: Option<String>,
    /// How long, in nanoseconds.
    length: u64,
    wall: Option<WallData>,
    sources: Vec<SourceData>,
    sources_total: usize,
    maps: Vec<MapData>,
    maps_left_out: Option<MapsLeftOut>,
    series: Vec<SeriesData>,
    series_total: usize,
    lanes: Vec<LaneData>,
    lanes_left_out: Option<LanesLeftOut>,
    instants: InstantsData,
    stacks: Vec<Vec<u32>>,
    flame: Vec<(usize, flame::Kind, u32, u64, u64)>,
    findings: Vec<FindingData>,
    findings_total: usize,
    notes: Vec<String>,
    /// Texts that are named by their index.
    strings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SubjectData {
    program: Option<String>,
    go_version: Option<String>,
    arch: Option<String>,
    pid: Option<u64>,
    boot_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct WallData {
    /// Nanoseconds since 1970 at the page's begin.
    begin: String,
    error_ns: u64,
    source: usize,
}

#[derive(Debug, Serialize)]
struct SourceData {
    kind: &'static str,
    path: String,
    mapping: String,
    offset_ns: Option<String>,
    error_ns: Option<u64>,
    extent: Option<(u64, u64)>,
    records: u64,
    refused: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MapData {
    address: String,
    type_name: Option<u32>,
    name: Option<u32>,
    allocated_at: Option<u32>,
    extent: Option<(u64, u64)>,
    len: Option<u64>,
    capacity: Option<u64>,
    allocated: Option<u64>,
    reclaimable: Option<u64>,
    growths: u64,
    exact: bool,
    heat: Option<HeatData>,
    /// Main buckets with 0, 1, 2, ... overflow buckets; the last counts longer chains too if
    /// there are more than `CHAINS`.
    chains: Vec<u64>,
    blocks: Option<BlocksData>,
}

#[derive(Debug, Serialize)]
struct MapsLeftOut {
    maps: usize,
    allocated: u64,
    reclaimable: u64,
}

#[derive(Debug, Serialize)]
struct HeatData {
    t: u64,
    slots: u8,
    /// Cells before they were joined.
    cells_before: usize,
    buckets: u64,
    live: u64,
    /// Buckets and live slots of each cell.
    cells: Vec<(u64, u64)>,
    /// How many buckets have 0, 1, ... live slots, where that is known.
    distribution: Option<Vec<u64>>,
}

#[derive(Debug, Serialize)]
struct BlocksData {
    base: String,
    span: u64,
    /// Distinct bytes, and those that are in more than one block besides.
    bytes: u64,
    overlap: u64,
    pages: u64,
    blocks: usize,
    /// Offset from the base, extent, bytes in blocks, kind, how many blocks.
    runs: Vec<(u64, u64, u64, u32, u64)>,
}

#[derive(Debug, Serialize)]
struct SeriesData {
    kind: &'static str,
    map: Option<usize>,
    source: usize,
    /// Points before thinning.
    points: u64,
    /// Times, each less the one before.
    t: Vec<u64>,
    v: Vec<f64>,
    /// Where a point and the next stand for more: index, how many, least, greatest.
    spans: Vec<(usize, u64, f64, f64)>,
}

#[derive(Debug, Serialize)]
struct LaneData {
    name: u32,
    total: u64,
    total_ns: u64,
    longest_ns: u64,
    /// Begin, length, name, whole, goroutine, source.
    kept: Vec<(u64, u64, u32, bool, Option<u64>, usize)>,
    /// Where there are many: bin, how many began, nanoseconds taken.
    bins: Vec<(usize, u64, u64)>,
    bin_ns: u64,
}

#[derive(Debug, Serialize)]
struct LanesLeftOut {
    lanes: usize,
    intervals: u64,
}

#[derive(Debug, Serialize)]
struct InstantsData {
    total: u64,
    bin_ns: u64,
    ops: Vec<OpData>,
    kept: Vec<InstantRow>,
}

#[derive(Debug, Serialize)]
struct OpData {
    op: &'static str,
    total: u64,
    kept: u64,
    /// How many of them have no certain instant.
    uncertain: u64,
    /// Where not all are kept: bin, how many.
    bins: Vec<(usize, u64)>,
}

/// When, how long that is uncertain, the op's index, map, text, goroutine, stack, len, slots
/// before, slots after, bytes, source.
type InstantRow = (
    u64,
    u64,
    usize,
    Option<usize>,
    Option<u32>,
    Option<u64>,
    Option<u32>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    usize,
);

#[derive(Debug, Serialize)]
struct FindingData {
    text: String,
    proved: bool,
    evidence: Vec<EvidenceData>,
    evidence_total: usize,
}

#[derive(Debug, Serialize)]
struct EvidenceData {
    source: usize,
    text: String,
    t: Option<u64>,
}

/// Texts and stacks by their index.
#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    string_of: HashMap<String, u32>,
    stacks: Vec<Vec<u32>>,
    stack_of: HashMap<usize, u32>,
}

impl Tables {
    fn string(&mut self, value: &str) -> u32 {
        let value = text(value);
        if let Some(&index) = self.string_of.get(&value) {
            return index;
        }
        let index = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.push(value.clone());
        self.string_of.insert(value, index);
        index
    }

    fn stack(&mut self, timeline: &Timeline, index: usize) -> Option<u32> {
        if let Some(&known) = self.stack_of.get(&index) {
            return Some(known);
        }
        let frames = timeline.stacks.get(index)?;
        let mut rows: Vec<u32> = Vec::with_capacity(frames.len().min(FRAMES + 1));
        for frame in frames.iter().take(FRAMES) {
            let frame = flame::frame_text(frame);
            rows.push(self.string(&frame));
        }
        if frames.len() > FRAMES {
            let more = format!("({} more frames)", frames.len() - FRAMES);
            rows.push(self.string(&more));
        }
        let known = u32::try_from(self.stacks.len()).unwrap_or(u32::MAX);
        self.stacks.push(rows);
        self.stack_of.insert(index, known);
        Some(known)
    }
}

impl Page {
    pub(super) fn new(timeline: &Timeline) -> Self {
        let mut tables = Tables::default();
        let known = extent(timeline);
        let (begin, end) = known.unwrap_or((0, 0));
        let clock = Clock { begin, end };
        let maps = map_rows(timeline, &clock, &mut tables);
        let (series, series_total) = series_rows(timeline, &clock);
        let (lanes, lanes_left_out) = lane_rows(timeline, &clock, &mut tables);
        let instants = instant_rows(timeline, &clock, &mut tables);
        let flame = flame::tree(&timeline.waste, &timeline.stacks)
            .into_iter()
            .map(|node| {
                let name = tables.string(&node.name);
                (node.parent, node.kind, name, node.bytes, node.maps)
            })
            .collect();
        let subject = &timeline.subject;
        let optional = |value: &Option<String>| value.as_deref().map(text);
        let program = optional(&subject.program);
        let title = match (program.as_deref(), subject.pid) {
            (Some(program), _) => {
                let name = program.rsplit('/').next().unwrap_or(program);
                format!("{name}: Go maps over time")
            }
            (None, Some(pid)) => format!("process {pid}: Go maps over time"),
            (None, None) => "Go maps over time".to_owned(),
        };
        Self {
            schema: SCHEMA,
            title,
            subject: SubjectData {
                program,
                go_version: optional(&subject.go_version),
                arch: optional(&subject.arch),
                pid: subject.pid,
                boot_id: optional(&subject.boot_id),
            },
            begin: known.map(|_| begin.to_string()),
            length: end - begin,
            wall: timeline.wall.map(|wall| WallData {
                begin: (i128::from(begin) + i128::from(wall.offset_ns)).to_string(),
                error_ns: wall.error_ns,
                source: wall.source,
            }),
            sources: timeline
                .sources
                .iter()
                .take(SOURCES)
                .map(|source| source_row(source, &clock))
                .collect(),
            sources_total: timeline.sources.len(),
            maps,
            maps_left_out: maps_left_out(&timeline.maps),
            series,
            series_total,
            lanes,
            lanes_left_out,
            instants,
            flame,
            findings: timeline
                .findings
                .iter()
                .take(FINDINGS)
                .map(|finding| finding_row(finding, &clock))
                .collect(),
            findings_total: timeline.findings.len(),
            notes: sentences(&timeline.notes),
            stacks: tables.stacks,
            strings: tables.strings,
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }
}

/// Times of the page.
struct Clock {
    begin: u64,
    end: u64,
}

impl Clock {
    fn since_begin(&self, t_ns: u64) -> u64 {
        t_ns.saturating_sub(self.begin)
    }

    fn both(&self, (begin, end): (u64, u64)) -> (u64, u64) {
        (self.since_begin(begin), self.since_begin(end))
    }

    fn bins(&self) -> Bins {
        Bins::new(self.begin, self.end, BINS)
    }
}

/// The extent that was declared, and whatever lies outside of it.
fn extent(timeline: &Timeline) -> Option<(u64, u64)> {
    let mut extent = timeline.extent;
    let mut see = |begin: u64, end: u64| {
        let (low, high) = extent.unwrap_or((begin, end));
        extent = Some((low.min(begin), high.max(begin).max(end)));
    };
    for source in &timeline.sources {
        if let (Some((begin, end)), None) = (source.extent, &source.refused) {
            see(begin, end);
        }
    }
    for series in &timeline.series {
        for point in &series.points {
            see(point.t_ns, point.t_ns);
        }
    }
    for interval in &timeline.intervals {
        see(interval.begin_ns, interval.end_ns);
    }
    for instant in &timeline.instants {
        see(instant.t_ns, instant.until_ns);
    }
    for map in &timeline.maps {
        if let Some((begin, end)) = map.extent {
            see(begin, end);
        }
        if let Some(heat) = &map.heat {
            see(heat.t_ns, heat.t_ns);
        }
    }
    extent
}

/// A text without anything that drives a terminal or turns the direction of writing, cut to a
/// length a page can show.
fn text(value: &str) -> String {
    let cut = match value.char_indices().nth(CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
    };
    sanitize(&cut, true).into_owned()
}

fn sentences(notes: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = notes.iter().take(NOTES).map(|note| text(note)).collect();
    if notes.len() > NOTES {
        texts.push(format!("{} more notes are not shown.", notes.len() - NOTES));
    }
    texts
}

fn source_row(source: &Source, clock: &Clock) -> SourceData {
    SourceData {
        kind: match source.kind {
            SourceKind::Snapshot => "snapshot",
            SourceKind::Events => "events",
            SourceKind::Ring => "flight recorder",
            SourceKind::Trace => "execution trace",
            SourceKind::Heap => "heap profile",
            SourceKind::Cpu => "CPU profile",
            SourceKind::Waiting => "waiting profile",
        },
        path: text(&source.path),
        mapping: text(&source.mapping),
        offset_ns: source.offset_ns.map(|offset| offset.to_string()),
        error_ns: source.error_ns,
        // A source that is not on the clock has no place on it.
        extent: match source.refused {
            Some(_) => None,
            None => source.extent.map(|extent| clock.both(extent)),
        },
        records: source.records,
        refused: source.refused.as_deref().map(text),
        notes: sentences(&source.notes),
    }
}

fn finding_row(finding: &Finding, clock: &Clock) -> FindingData {
    FindingData {
        text: text(&finding.text),
        proved: finding.proved,
        evidence: finding
            .evidence
            .iter()
            .take(EVIDENCE)
            .map(|evidence| EvidenceData {
                source: evidence.source,
                text: text(&evidence.text),
                t: evidence.t_ns.map(|t_ns| clock.since_begin(t_ns)),
            })
            .collect(),
        evidence_total: finding.evidence.len(),
    }
}

fn maps_left_out(maps: &[MapTrack]) -> Option<MapsLeftOut> {
    let rest = maps.get(MAPS..).filter(|rest| !rest.is_empty())?;
    let sum = |of: fn(&MapTrack) -> Option<u64>| {
        rest.iter().filter_map(of).fold(0u64, u64::saturating_add)
    };
    Some(MapsLeftOut {
        maps: rest.len(),
        allocated: sum(|map| map.allocated),
        reclaimable: sum(|map| map.reclaimable),
    })
}

fn map_rows(timeline: &Timeline, clock: &Clock, tables: &mut Tables) -> Vec<MapData> {
    let maps = &timeline.maps[..timeline.maps.len().min(MAPS)];
    let cells: Vec<usize> = maps
        .iter()
        .map(|map| map.heat.as_ref().map_or(0, |heat| heat.cells.len()))
        .collect();
    let cells = share(&cells, HEAT_CELLS, HEAT_CELLS_OF_ONE);
    let blocks: Vec<usize> = maps.iter().map(|map| map.blocks.len()).collect();
    let blocks = share(&blocks, BLOCKS, BLOCKS_OF_ONE);
    maps.iter()
        .zip(cells.into_iter().zip(blocks))
        .map(|(map, (cells, blocks))| MapData {
            address: format!("0x{:x}", map.address),
            type_name: map.type_name.as_deref().map(|name| tables.string(name)),
            name: map.name.as_deref().map(|name| tables.string(name)),
            allocated_at: map
                .allocated_at
                .and_then(|stack| tables.stack(timeline, stack)),
            extent: map.extent.map(|extent| clock.both(extent)),
            len: map.len,
            capacity: map.capacity,
            allocated: map.allocated,
            reclaimable: map.reclaimable,
            growths: map.growths,
            exact: map.exact,
            heat: map
                .heat
                .as_ref()
                .filter(|heat| !heat.cells.is_empty())
                .map(|heat| heat_row(heat, clock, cells)),
            chains: chain_rows(&map.chains),
            blocks: block_rows(map, tables, blocks),
        })
        .collect()
}

fn chain_rows(chains: &[u64]) -> Vec<u64> {
    let mut rows: Vec<u64> = chains.iter().copied().take(CHAINS).collect();
    if let Some(last) = rows.last_mut() {
        *last = chains
            .iter()
            .skip(CHAINS)
            .fold(*last, |sum, &count| sum.saturating_add(count));
    }
    rows
}

/// The cells of a map as at most `budget`, equally many joined to one.
fn heat_row(heat: &Heat, clock: &Clock, budget: usize) -> HeatData {
    let join = heat.cells.len().div_ceil(budget.max(1));
    let cells: Vec<(u64, u64)> = heat
        .cells
        .chunks(join.max(1))
        .map(|chunk| {
            chunk.iter().fold((0, 0), |(buckets, live), cell| {
                (
                    buckets + u64::from(cell.buckets),
                    live + u64::from(cell.live),
                )
            })
        })
        .collect();
    let (buckets, live) = cells.iter().fold((0u64, 0u64), |sum, cell| {
        (sum.0.saturating_add(cell.0), sum.1.saturating_add(cell.1))
    });
    let given = (!heat.by_live.is_empty()).then(|| heat.by_live.clone());
    let single = heat
        .cells
        .iter()
        .all(|cell| cell.buckets == 1 && cell.live <= u32::from(heat.slots));
    let distribution = given.or_else(|| {
        if !single {
            return None;
        }
        let mut counts = vec![0u64; usize::from(heat.slots) + 1];
        for cell in &heat.cells {
            if let Some(count) = counts.get_mut(cell.live as usize) {
                *count += 1;
            }
        }
        Some(counts)
    });
    HeatData {
        t: clock.since_begin(heat.t_ns),
        slots: heat.slots,
        cells_before: heat.cells.len(),
        buckets,
        live,
        cells,
        distribution,
    }
}

/// The blocks of a map by address: touching ones of a kind as one run, and, if these are too
/// many, the nearest joined.
fn block_rows(map: &MapTrack, tables: &mut Tables, budget: usize) -> Option<BlocksData> {
    let mut blocks: Vec<(u64, u64, &str)> = map
        .blocks
        .iter()
        .filter(|(_, length, _)| *length > 0)
        .map(|(begin, length, kind)| (*begin, *length, &**kind))
        .collect();
    blocks.sort_by_key(|&(begin, length, _)| (begin, length));
    let &(base, ..) = blocks.first()?;
    let mut end = base;
    let (mut bytes, mut overlap, mut pages) = (0u64, 0u64, 0u64);
    // The first page not counted yet.
    let mut page = 0u64;
    for &(begin, length, _) in &blocks {
        let block_end = begin.saturating_add(length);
        let fresh = block_end.saturating_sub(begin.max(end));
        bytes += fresh;
        overlap = overlap.saturating_add(block_end - begin - fresh);
        end = end.max(block_end);
        let first = (begin / PAGE_BYTES).max(page);
        let past = (block_end - 1) / PAGE_BYTES + 1;
        pages += past.saturating_sub(first);
        page = page.max(past);
    }
    let mut runs = runs_of(&blocks, 0, false);
    if runs.len() > budget {
        let mut gaps: Vec<u64> = runs
            .windows(2)
            .map(|pair| pair[1].begin.saturating_sub(pair[0].end))
            .collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        // The widest gaps stay, one fewer than runs are wanted.
        let gap = gaps.get(budget.saturating_sub(1)).copied().unwrap_or(0);
        runs = runs_of(&blocks, gap, true);
    }
    Some(BlocksData {
        base: format!("0x{base:x}"),
        span: end - base,
        bytes,
        overlap,
        pages,
        blocks: blocks.len(),
        runs: runs
            .iter()
            .map(|run| {
                (
                    run.begin - base,
                    run.end - run.begin,
                    run.bytes,
                    tables.string(run.kind),
                    run.blocks,
                )
            })
            .collect(),
    })
}

/// Neighbouring blocks.
struct Run<'a> {
    begin: u64,
    end: u64,
    bytes: u64,
    kind: &'a str,
    blocks: u64,
}

/// Blocks no farther apart than `gap`, as runs; `mix` joins different kinds.
fn runs_of<'a>(blocks: &[(u64, u64, &'a str)], gap: u64, mix: bool) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for &(begin, length, kind) in blocks {
        let end = begin.saturating_add(length);
        match runs.last_mut() {
            Some(run) if begin.saturating_sub(run.end) <= gap && (mix || run.kind == kind) => {
                run.end = run.end.max(end);
                run.bytes = run.bytes.saturating_add(length);
                run.blocks += 1;
                if run.kind != kind {
                    run.kind = "several kinds";
                }
            }
            _ => runs.push(Run {
                begin,
                end,
                bytes: length,
                kind,
                blocks: 1,
            }),
        }
    }
    runs
}

fn series_word(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Len => "len",
        SeriesKind::Capacity => "capacity",
        SeriesKind::Storage => "storage",
        SeriesKind::HoleDensity => "hole density",
        SeriesKind::HeapLive => "heap live",
        SeriesKind::HeapGoal => "heap goal",
        SeriesKind::MapStorage => "map storage",
        SeriesKind::HeapInUse => "heap in use (sampled)",
    }
}

fn series_rows(timeline: &Timeline, clock: &Clock) -> (Vec<SeriesData>, usize) {
    let shown: Vec<&Series> = timeline
        .series
        .iter()
        .filter(|series| series.map.is_none_or(|map| map < MAPS))
        .take(SERIES)
        .collect();
    let first = |series: &Series| series.map.is_none_or(|map| map < FIRST_MAPS);
    let wants = |early: bool| -> Vec<usize> {
        shown
            .iter()
            .map(|series| {
                if first(series) == early {
                    series.points.len()
                } else {
                    0
                }
            })
            .collect()
    };
    let early = share(&wants(true), POINTS_OF_FIRST, POINTS_OF_ONE);
    let late = share(&wants(false), POINTS - POINTS_OF_FIRST, POINTS_OF_ONE);
    let shares = early
        .into_iter()
        .zip(late)
        .map(|(early, late)| early + late);
    let rows = shown
        .iter()
        .zip(shares)
        .map(|(series, budget)| {
            let budget = if budget < series.points.len() {
                // A span of several points is drawn by two.
                budget / 2
            } else {
                budget
            };
            let mut row = SeriesData {
                kind: series_word(series.kind),
                map: series.map,
                source: series.source,
                points: series.points.len() as u64,
                t: Vec::new(),
                v: Vec::new(),
                spans: Vec::new(),
            };
            let mut before = clock.begin;
            for span in spans(&series.points, budget) {
                if span.points > 1 {
                    row.spans
                        .push((row.t.len(), span.points, span.min, span.max));
                    row.t.push(span.first.t_ns.saturating_sub(before));
                    row.v.push(span.first.value);
                    before = span.first.t_ns;
                }
                row.t.push(span.last.t_ns.saturating_sub(before));
                row.v.push(span.last.value);
                before = span.last.t_ns;
            }
            row
        })
        .collect();
    (rows, timeline.series.len())
}

fn lane_rows(
    timeline: &Timeline,
    clock: &Clock,
    tables: &mut Tables,
) -> (Vec<LaneData>, Option<LanesLeftOut>) {
    let mut names: Vec<&str> = Vec::new();
    let mut lane_of: HashMap<&str, usize> = HashMap::new();
    let mut lanes: Vec<Vec<&Interval>> = Vec::new();
    let mut left_out: HashSet<&str> = HashSet::new();
    let mut left_out_intervals = 0u64;
    for interval in &timeline.intervals {
        let lane: &str = &interval.lane;
        let index = match lane_of.get(lane) {
            Some(&index) => index,
            None if names.len() < LANES => {
                lane_of.insert(lane, names.len());
                names.push(lane);
                lanes.push(Vec::new());
                names.len() - 1
            }
            None => {
                left_out.insert(lane);
                left_out_intervals += 1;
                continue;
            }
        };
        lanes[index].push(interval);
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    // The collector comes first, profiles last.
    order.sort_by_key(|&index| match names[index] {
        "GC" => 0,
        "STW" => 1,
        name if name.starts_with("profile ") || name.contains(" profile ") => 3,
        _ => 2,
    });
    let names: Vec<&str> = order.iter().map(|&index| names[index]).collect();
    let lanes: Vec<Vec<&Interval>> = order
        .iter()
        .map(|&index| std::mem::take(&mut lanes[index]))
        .collect();
    let wants: Vec<usize> = lanes.iter().map(Vec::len).collect();
    let shares = share(&wants, INTERVALS, INTERVALS);
    let bins = clock.bins();
    let rows = names
        .into_iter()
        .zip(lanes)
        .zip(shares)
        .map(|((name, mut intervals), budget)| {
            let length = |interval: &Interval| interval.end_ns.saturating_sub(interval.begin_ns);
            let mut lane = LaneData {
                name: tables.string(name),
                total: intervals.len() as u64,
                total_ns: 0,
                longest_ns: 0,
                kept: Vec::new(),
                bins: Vec::new(),
                bin_ns: bins.width,
            };
            for interval in &intervals {
                lane.total_ns = lane.total_ns.saturating_add(length(interval));
                lane.longest_ns = lane.longest_ns.max(length(interval));
            }
            if intervals.len() > budget.min(MANY) {
                let mut busy = Busy::new(bins);
                for interval in &intervals {
                    busy.add(interval.begin_ns, interval.end_ns.max(interval.begin_ns));
                }
                lane.bins = busy.rows();
            }
            if intervals.len() > budget {
                intervals.sort_by_key(|interval| std::cmp::Reverse(length(interval)));
                intervals.truncate(budget);
                intervals.sort_by_key(|interval| interval.begin_ns);
            }
            lane.kept = intervals
                .iter()
                .map(|interval| {
                    (
                        clock.since_begin(interval.begin_ns),
                        length(interval),
                        tables.string(&interval.name),
                        interval.whole,
                        interval.goid,
                        interval.source,
                    )
                })
                .collect();
            lane
        })
        .collect();
    let left_out = (!left_out.is_empty()).then_some(LanesLeftOut {
        lanes: left_out.len(),
        intervals: left_out_intervals,
    });
    (rows, left_out)
}

/// How much the reader would miss it, least first.
fn weight(op: Option<Op>) -> u8 {
    match op {
        Some(Op::Grow | Op::GrowSameSize | Op::Split | Op::Clear | Op::Clone) | None => 1,
        Some(Op::Assign | Op::Delete) => 3,
        Some(_) => 2,
    }
}

fn instant_rows(timeline: &Timeline, clock: &Clock, tables: &mut Tables) -> InstantsData {
    // The ops as they are drawn; what the user logged comes last.
    let mut kinds: Vec<Option<Op>> = Op::ALL.iter().copied().map(Some).collect();
    kinds.push(None);
    let kind_of: HashMap<Option<Op>, usize> = kinds
        .iter()
        .enumerate()
        .map(|(index, &kind)| (kind, index))
        .collect();
    let kind = |instant: &Instant| kind_of.get(&instant.op).copied().unwrap_or(kinds.len() - 1);
    let bins = clock.bins();
    let mut counts: Vec<Vec<u64>> = vec![Vec::new(); kinds.len()];
    let mut ops: Vec<OpData> = kinds
        .iter()
        .map(|kind| OpData {
            op: kind.map_or("log", Op::word),
            total: 0,
            kept: 0,
            uncertain: 0,
            bins: Vec::new(),
        })
        .collect();
    for instant in &timeline.instants {
        let kind = kind(instant);
        ops[kind].total += 1;
        ops[kind].uncertain += u64::from(instant.until_ns > instant.t_ns);
        if counts[kind].is_empty() {
            counts[kind] = vec![0; bins.count];
        }
        counts[kind][bins.of(instant.t_ns)] += 1;
    }
    let mut order: Vec<usize> = (0..timeline.instants.len()).collect();
    if order.len() > INSTANTS {
        let evidence: HashSet<u64> = timeline
            .findings
            .iter()
            .flat_map(|finding| finding.evidence.iter().filter_map(|evidence| evidence.t_ns))
            .collect();
        let rank = |index: usize| {
            let instant = &timeline.instants[index];
            let weight = if evidence.contains(&instant.t_ns) {
                0
            } else {
                weight(instant.op)
            };
            (
                weight,
                std::cmp::Reverse(instant.size.unwrap_or(0)),
                scatter(index),
            )
        };
        order.select_nth_unstable_by_key(INSTANTS, |&index| rank(index));
        order.truncate(INSTANTS);
        order.sort_unstable_by_key(|&index| (timeline.instants[index].t_ns, index));
    }
    let kept = order
        .into_iter()
        .filter_map(|index| timeline.instants.get(index))
        .map(|instant| {
            let kind = kind(instant);
            ops[kind].kept += 1;
            (
                clock.since_begin(instant.t_ns),
                instant.until_ns.saturating_sub(instant.t_ns),
                kind,
                instant.map,
                instant.text.as_deref().map(|value| tables.string(value)),
                instant.goid,
                instant
                    .stack
                    .and_then(|stack| tables.stack(timeline, stack as usize)),
                instant.len,
                instant.old_capacity,
                instant.capacity,
                instant.size,
                instant.source,
            )
        })
        .collect();
    for (op, counts) in ops.iter_mut().zip(counts) {
        if op.kept < op.total {
            op.bins = counts
                .into_iter()
                .enumerate()
                .filter(|&(_, count)| count > 0)
                .collect();
        }
    }
    InstantsData {
        total: timeline.instants.len() as u64,
        bin_ns: bins.width,
        ops,
        kept,
    }
}
