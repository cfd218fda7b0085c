//! The document `gomapscope.snapshot/1`, map by map.

use serde::Serialize;

use super::blocks::{Blocks, Digits, runs};
use super::{Origin, Taken};
use crate::command::Sort;
use crate::map::{CountOnly, Defect, Flow, Unit, UnitKind, Visitor};
use crate::metrics::Stats;
use crate::report::JsonRows;
use crate::scan::{Filter, ScanReport, State};
use crate::target::{Map, Scanned, Target};

/// What is known of a process besides its memory: whoever reads it tells.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// `native`, `core` or `remote`.
    pub kind: String,
    /// The process, where it runs on this machine.
    pub pid: Option<u32>,
    /// When it began, in clock ticks since the boot.
    pub started_ticks: Option<u64>,
    /// The core file.
    pub core: Option<String>,
    /// Its clocks, where they are known.
    pub taken: Option<Taken>,
    /// Expressions that could not be followed, and why.
    pub missing: Vec<(String, String)>,
    /// Why something could not be had: sentences.
    pub notes: Vec<String>,
}

/// What is saved of each map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Live slots of each bucket.
    pub buckets: bool,
    /// Of a scan: no types were followed.
    pub quick: bool,
    /// Of a scan: holders of all maps were looked for.
    pub holders: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Maps, nil ones and garbage included.
    pub maps: u64,
    /// Entries of those that are in use.
    pub len: u64,
    /// Their bytes.
    pub allocated: u64,
    /// Maps of which a figure is not certain.
    pub inexact: u64,
    /// The user ended it: something is missing.
    pub interrupted: bool,
    /// What of the process could not be read or contradicts the runtime's rules: maps may
    /// be missing.
    #[serde(skip_serializing_if = "zero")]
    pub defects: u64,
    /// Threads of the process ran meanwhile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub racing: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Head<'a> {
    schema: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<&'a Taken>,
    target: Origin,
    options: Options,
}

#[derive(Serialize)]
struct Missing<'a> {
    expression: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Tail<'a> {
    interrupted: bool,
    missing: Vec<Missing<'a>>,
    notes: &'a [String],
    #[serde(skip_serializing_if = "<[Defect]>::is_empty")]
    defects: &'a [Defect],
    totals: Saved,
}

#[derive(Serialize)]
struct MapRow<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    blocks: &'a [Blocks],
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_live: Option<String>,
}

fn head<'a>(
    kind: &'static str,
    target: &Target,
    subject: &'a Subject,
    options: Options,
) -> Head<'a> {
    let binary = target.binary();
    Head {
        schema: "gomapscope.snapshot/1",
        kind,
        taken: subject.taken.as_ref(),
        target: Origin {
            kind: Some(subject.kind.clone()),
            program: Some(binary.path().display().to_string()),
            build_id: binary.build_id(),
            go_version: binary.version().map(|version| version.text),
            arch: binary.arch().map(str::to_owned),
            family: binary.family().map(|family| family.word().to_owned()),
            pid: subject.pid,
            started_ticks: subject.started_ticks,
            core: subject.core.clone(),
        },
        options,
    }
}

impl<'a> Tail<'a> {
    fn of(subject: &'a Subject, notes: &'a [String], totals: Saved) -> Self {
        Self {
            interrupted: totals.interrupted,
            missing: subject
                .missing
                .iter()
                .map(|(expression, reason)| Missing { expression, reason })
                .collect(),
            notes,
            defects: &[],
            totals,
        }
    }
}

/// Notes how many slots of each bucket are live, in the order of the walk. Buckets that a
/// growth is about to leave are left out.
#[derive(Default)]
struct Lives(Digits);

impl Visitor for Lives {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        if unit.kind != UnitKind::Old {
            self.0.push(unit.slots.live());
        }
        Flow::Continue
    }
}

/// Writes the document of these maps of `target`. Each is walked when its turn comes, and
/// nothing is kept of it then.
///
/// # Errors
/// What the writer returned.
pub fn maps<'m, E>(
    target: &Target,
    maps: impl IntoIterator<Item = &'m Map>,
    subject: &Subject,
    options: Options,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<Saved, E> {
    let mut document = JsonRows::begin(&head("maps", target, subject, options), "maps", write);
    let mut saved = Saved::default();
    for map in maps {
        let mut lives = Lives::default();
        let walk = if options.buckets {
            map.walk(&mut lives)
        } else {
            map.walk(&mut CountOnly)
        };
        let stats = map.stats_of(&walk);
        saved.maps += 1;
        saved.len = saved.len.saturating_add(stats.len);
        saved.allocated = saved.allocated.saturating_add(stats.bytes.allocated);
        saved.inexact += u64::from(!stats.exact);
        saved.interrupted |= stats.interrupted;
        saved.racing |= stats.racing;
        document.row(&MapRow {
            stats: &stats,
            blocks: &runs(&walk.blocks),
            bucket_live: options.buckets.then(|| lives.0.finish()),
        })?;
    }
    document.finish_with(&Tail::of(subject, &subject.notes, saved), false)?;
    Ok(saved)
}

/// The order and the choice of a snapshot of all maps: the largest first, garbage included.
#[must_use]
pub(crate) fn filter() -> Filter {
    Filter {
        sort: Sort::Allocated,
        garbage: true,
        ..Filter::default()
    }
}

/// Writes the document of all maps that a scan found.
///
/// # Errors
/// What the writer returned.
pub fn scan<E>(
    target: &Target,
    scanned: &Scanned,
    subject: &Subject,
    options: Options,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<Saved, E> {
    let family = target.binary().family();
    let mut report = ScanReport::new(&scanned.scan, family, &filter());
    let totals = report.totals.clone();
    let mut document = JsonRows::begin(&head("scan", target, subject, options), "maps", write);
    for row in report.rows(None, &scanned.facts) {
        document.row(&row)?;
    }
    let mut notes = subject.notes.clone();
    notes.extend(scanned.missing.iter().cloned());
    let unknown = scanned
        .scan
        .maps
        .iter()
        .filter(|map| map.at_least && map.state != State::Garbage);
    let saved = Saved {
        maps: totals.maps,
        len: totals.len,
        allocated: totals.allocated,
        inexact: unknown.count() as u64,
        interrupted: scanned.scan.interrupted,
        defects: scanned.scan.defects.total(),
        racing: scanned.racing,
    };
    let tail = Tail {
        defects: scanned.scan.defects.kept(),
        ..Tail::of(subject, &notes, saved)
    };
    document.finish_with(&tail, false)?;
    Ok(saved)
}
