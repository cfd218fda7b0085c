//! Sentences that follow from a timeline, and what they rest on.

use std::cmp::Reverse;

use super::build::named;
use super::lives::{Growths, Life, Lives, QUICK_NS};
use super::model::{Evidence, Finding, Instant, MapTrack, SourceKind, Timeline};
use crate::events::{Frame, caller};
use crate::report::{count, percent_of, sanitize, size, thousands};

/// A map that grew as often as this, and asked for so much, is spoken of.
const GROWTHS: u64 = 4;
const GROWN: u64 = 8 << 10;
/// What a rebuild gives back must be so much, and so large a share of the map.
const RECLAIMABLE: u64 = 64 << 10;
const SHARE: u64 = 4;
/// Storage that was let go soon must be so much.
const QUICK_BYTES: u64 = 256 << 10;
/// Findings of one kind.
const EACH: usize = 8;

/// A finding, and how many bytes it is about.
struct Graded(u64, Finding);

/// `main.fill cache.go:33`
pub(super) fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit(['/', '\\']).next().unwrap_or_default();
    let text = match (file.is_empty(), frame.line) {
        (true, _) => frame.function.clone(),
        (false, 0) => format!("{} {file}", frame.function),
        (false, line) => format!("{} {file}:{line}", frame.function),
    };
    sanitize(&text, true).into_owned()
}

/// How a map is called in a sentence.
pub(super) fn called(map: &MapTrack) -> String {
    let text = match (&map.name, &map.type_name) {
        (Some(name), _) => name.to_string(),
        (None, Some(kind)) => format!("{kind} at {:#x}", map.address),
        (None, None) => format!("the map at {:#x}", map.address),
    };
    sanitize(&text, true).into_owned()
}

/// How long something took, in the unit that suits.
pub(super) fn span(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", ns / 1000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!(
            "{}.{} s",
            thousands(ns / 1_000_000_000),
            ns / 100_000_000 % 10
        ),
    }
}

/// Adds what follows, the gravest first.
///
/// `lossless`: of each source, whether it has all events that it was asked for.
pub(super) fn find(
    timeline: &mut Timeline,
    lives: &Lives,
    lossless: &[bool],
    cpu: &[(usize, i64, i64)],
) {
    let mut found = Vec::new();
    grown(timeline, lives, &mut found);
    empty(timeline, &mut found);
    churned(timeline, lives, lossless, &mut found);
    collected(timeline, &mut found);
    busy(timeline, cpu, &mut found);
    found.sort_by_key(|Graded(bytes, _)| Reverse(*bytes));
    timeline.findings = found
        .into_iter()
        .map(|Graded(_, finding)| finding)
        .collect();
    if timeline.findings.is_empty() {
        timeline.findings.push(nothing(timeline));
    }
    // Whoever reads on must know it of all that follows.
    timeline.findings.splice(0..0, racing(timeline));
}

/// Snapshots of a program that ran meanwhile.
fn racing(timeline: &Timeline) -> Vec<Finding> {
    let taken = timeline.sources.iter().enumerate();
    taken
        .filter(|(_, of)| of.racing)
        .take(EACH)
        .map(|(source, of)| Finding {
            text: format!(
                "Racing: the program ran while {}, so nothing of it is exact.",
                match of.path.as_str() {
                    "" => "its maps were read".to_owned(),
                    path => format!("{} was taken", sanitize(path, true)),
                }
            ),
            proved: true,
            evidence: vec![Evidence {
                source,
                text: "it says so itself".to_owned(),
                t_ns: of.extent.map(|(t_ns, _)| t_ns),
            }],
        })
        .collect()
}

fn nothing(timeline: &Timeline) -> Finding {
    let used = timeline
        .sources
        .iter()
        .filter(|of| of.refused.is_none())
        .count();
    Finding {
        text: format!(
            "Nothing stands out: no map grew {GROWTHS} times or more and asked for {}, none would give back {} \
             and a quarter of itself, no storage worth {} was let go within {}.",
            size(GROWN),
            size(RECLAIMABLE),
            size(QUICK_BYTES),
            span(QUICK_NS)
        ),
        proved: timeline
            .sources
            .iter()
            .all(|of| of.refused.is_none() && !of.racing),
        evidence: timeline
            .sources
            .first()
            .map(|_| Evidence {
                source: 0,
                text: format!(
                    "{}, {} looked at",
                    count(used as u64, "source"),
                    count(timeline.maps.len() as u64, "map")
                ),
                t_ns: None,
            })
            .into_iter()
            .collect(),
    }
}

fn growths(timeline: &Timeline, map: usize) -> impl Iterator<Item = &Instant> {
    timeline
        .instants
        .iter()
        .filter(move |one| one.map == Some(map) && one.op.is_some_and(|op| op.is_growth()))
}

/// Maps that grew step by step.
fn grown(timeline: &Timeline, lives: &Lives, found: &mut Vec<Graded>) {
    let mut said = 0;
    for (at, map) in timeline.maps.iter().enumerate() {
        if map.growths < GROWTHS || said == EACH {
            continue;
        }
        let of_map = |life: &&Life| {
            life.address == map.address
                && life.growths == map.growths
                && map
                    .extent
                    .is_some_and(|(first, last)| first <= life.first && life.last <= last)
        };
        let Some(life) = lives.lives.iter().find(of_map) else {
            continue;
        };
        let times: Vec<u64> = growths(timeline, at)
            .filter(|one| one.source == life.source)
            .map(|one| one.t_ns)
            .collect();
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            continue;
        };
        let bytes = life
            .stacks
            .values()
            .fold(0_u64, |sum, of| sum.saturating_add(of.bytes));
        if bytes < GROWN {
            continue;
        }
        said += 1;
        let mut stacks: Vec<(&Option<u32>, &Growths)> = life.stacks.iter().collect();
        stacks.sort_by_key(|(stack, of)| (Reverse(of.count), **stack));
        let mut text = format!(
            "{} grew {} times in {}, asking for {} in all",
            called(map),
            thousands(map.growths),
            span(last.saturating_sub(*first)),
            size(bytes)
        );
        let top = stacks.first().and_then(|(stack, of)| {
            let frames = timeline.stacks.get((**stack)? as usize)?;
            Some((caller(frames)?, of.count))
        });
        if let Some((frame, count)) = top {
            let who = match count == map.growths {
                true => "all".to_owned(),
                false => thousands(count),
            };
            text.push_str(&format!("; {who} of them at {}", place(frame)));
        }
        // Entries may have been deleted since.
        if let Some(len) = map.len.max(life.most).filter(|len| *len > 8) {
            text.push_str(&format!(
                ". It held at least {0} entries once: make(map, {0}) sizes it for these at once",
                thousands(len)
            ));
        }
        text.push('.');
        let mut evidence = vec![Evidence {
            source: life.source,
            text: format!("{}, first of them", count(map.growths, "growth")),
            t_ns: Some(*first),
        }];
        evidence.push(Evidence {
            source: life.source,
            text: "the last of them".to_owned(),
            t_ns: Some(*last),
        });
        found.push(Graded(
            bytes,
            Finding {
                text,
                proved: map.exact,
                evidence,
            },
        ));
    }
}

/// Maps with much that a rebuild would give back.
fn empty(timeline: &Timeline, found: &mut Vec<Graded>) {
    let mut said = 0;
    for map in &timeline.maps {
        let (Some(allocated), Some(reclaimable)) = (map.allocated, map.reclaimable) else {
            continue;
        };
        let much = reclaimable >= RECLAIMABLE && reclaimable >= allocated / SHARE;
        if !much || said == EACH {
            continue;
        }
        let source = timeline
            .sources
            .iter()
            .rposition(|of| of.kind == SourceKind::Snapshot && of.records > 0);
        let Some(source) = source else {
            continue;
        };
        said += 1;
        let mut text = format!(
            "{} takes {}, of which a rebuild would give back {} ({})",
            called(map),
            size(allocated),
            size(reclaimable),
            percent_of(reclaimable, allocated)
        );
        if let (Some(len), Some(capacity)) = (map.len, map.capacity) {
            text.push_str(&format!(
                ": {} in {}",
                match len {
                    1 => "1 entry".to_owned(),
                    len => format!("{} entries", thousands(len)),
                },
                count(capacity, "slot")
            ));
        }
        text.push('.');
        let evidence = vec![Evidence {
            source,
            text: format!("allocated {allocated}, reclaimable {reclaimable} bytes"),
            t_ns: timeline
                .sources
                .get(source)
                .and_then(|of| of.extent)
                .map(|(t_ns, _)| t_ns),
        }];
        found.push(Graded(
            reclaimable,
            Finding {
                text,
                proved: map.exact,
                evidence,
            },
        ));
    }
}

/// Storage that was replaced soon after it was made.
fn churned(timeline: &Timeline, lives: &Lives, lossless: &[bool], found: &mut Vec<Graded>) {
    let mut rows: Vec<_> = lives
        .churn
        .iter()
        .filter(|(_, churn)| churn.quick_bytes >= QUICK_BYTES)
        .collect();
    rows.sort_by_key(|((source, stack), churn)| (Reverse(churn.quick_bytes), *source, *stack));
    for ((source, stack), churn) in rows.into_iter().take(EACH) {
        let frame = stack
            .and_then(|stack| timeline.stacks.get(stack as usize))
            .and_then(|frames| caller(frames));
        let of = match frame {
            Some(frame) => format!("allocated at {} ", place(frame)),
            None => String::new(),
        };
        let text = format!(
            "{} of map storage {of}were let go within {} of their allocation, in {}: maps sized \
             at make, or kept and cleared, would not ask for them.",
            size(churn.quick_bytes),
            span(QUICK_NS),
            count(churn.quick, "block"),
        );
        found.push(Graded(
            churn.quick_bytes,
            Finding {
                text,
                // A block that was freed and taken again unseen would be another.
                proved: lossless.get(*source).copied().unwrap_or(false),
                evidence: vec![
                    Evidence {
                        source: *source,
                        text: format!(
                            "{} of {} blocks whose end was seen",
                            thousands(churn.quick),
                            thousands(churn.blocks)
                        ),
                        t_ns: Some(churn.first),
                    },
                    Evidence {
                        source: *source,
                        text: "the last of them".to_owned(),
                        t_ns: Some(churn.last),
                    },
                ],
            },
        ));
    }
}

/// Growths while the collector marked: more than its share of the time.
fn collected(timeline: &Timeline, found: &mut Vec<Graded>) {
    let marks: Vec<(u64, u64, usize)> = timeline
        .intervals
        .iter()
        .filter(|span| &*span.lane == "GC")
        .map(|span| (span.begin_ns, span.end_ns, span.source))
        .collect();
    let Some((first, _, source)) = marks.first().copied() else {
        return;
    };
    let Some((from, until)) = timeline.sources.get(source).and_then(|of| of.extent) else {
        return;
    };
    let inside = |t_ns: u64| {
        marks
            .iter()
            .any(|(begin, end, _)| *begin <= t_ns && t_ns <= *end)
    };
    let (mut all, mut during, mut bytes) = (0_u64, 0_u64, 0_u64);
    let mut last = first;
    for one in &timeline.instants {
        let growth = one.op.is_some_and(|op| op.is_growth());
        if !growth || one.t_ns < from || one.t_ns > until {
            continue;
        }
        all += 1;
        if inside(one.t_ns) {
            during += 1;
            last = one.t_ns;
            bytes = bytes.saturating_add(one.size.unwrap_or(0));
        }
    }
    let marked = marks.iter().fold(0_u64, |sum, (begin, end, _)| {
        sum.saturating_add(end.saturating_sub(*begin))
    });
    let time = until.saturating_sub(from).max(1);
    // Twice as many as chance would put there.
    let chance = (all as u128 * u128::from(marked) / u128::from(time)) as u64;
    if bytes < RECLAIMABLE || during < 4 || during < chance.saturating_mul(2) {
        return;
    }
    found.push(Graded(
        bytes,
        Finding {
            text: format!(
                "{} of the {} growths drawn, {} of new storage, fell into the collector's mark \
                 phases, which took {} of the time: large growths and collections go together.",
                thousands(during),
                thousands(all),
                size(bytes),
                percent_of(marked.min(time), time)
            ),
            proved: false,
            evidence: vec![
                Evidence {
                    source,
                    text: count(marks.len() as u64, "mark phase"),
                    t_ns: Some(first),
                },
                Evidence {
                    source,
                    text: "the last growth in one".to_owned(),
                    t_ns: Some(last),
                },
            ],
        },
    ));
}

/// CPU time that went into growing maps.
fn busy(timeline: &Timeline, cpu: &[(usize, i64, i64)], found: &mut Vec<Graded>) {
    for (source, growing, all) in cpu.iter().take(EACH) {
        let (Ok(growing), Ok(all)) = (u64::try_from(*growing), u64::try_from(*all)) else {
            continue;
        };
        // Less than one sample of a hundred says little.
        if all == 0 || growing.saturating_mul(100) < all.saturating_mul(2) {
            continue;
        }
        let path = timeline
            .sources
            .get(*source)
            .map(|of| named(&of.path, "the profile"));
        found.push(Graded(
            0,
            Finding {
                text: format!(
                    "{} of the CPU time in {} ({} of {}) went into growing maps.",
                    percent_of(growing, all),
                    sanitize(&path.unwrap_or_default(), true),
                    span(growing),
                    span(all)
                ),
                proved: false,
                evidence: vec![Evidence {
                    source: *source,
                    text: "samples under evacuate, growWork, rehash, split or growTo...".to_owned(),
                    t_ns: timeline
                        .sources
                        .get(*source)
                        .and_then(|of| of.extent)
                        .map(|of| of.0),
                }],
            },
        ));
    }
}
