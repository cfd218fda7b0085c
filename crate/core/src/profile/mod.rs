//! What a scan found as a profile for `go tool pprof`: who holds how much, and what
//! rebuilding would give back.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::pprof::builder::Builder;
use crate::pprof::proto::{Label, Sample};
use crate::save::NewFile;
use crate::scan::{Facts, FoundMap, ScanReport, State};

/// Above this many maps, those of one type, holder and origin are one sample.
const SINGLE: usize = 10_000;

/// What stands for a holder that is not known.
const UNKNOWN: &str = "(not known)";

/// Names and units of the values of a sample.
const VALUES: [(&str, &str); 4] = [
    ("maps", "count"),
    ("allocated", "bytes"),
    ("reclaimable", "bytes"),
    ("tombstones", "count"),
];

/// A profile, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: String,
    /// How many samples it has.
    pub samples: usize,
}

/// The profile of the maps of `report` that are in use, or perhaps in use: its sums are
/// those of the report. Not compressed.
#[must_use]
pub fn scan_profile(report: &ScanReport<'_>, facts: &Facts, program: &str) -> (Vec<u8>, usize) {
    let mut builder = begun(program);
    let used = || {
        report
            .figures()
            .filter(|(map, _)| map.state != State::Garbage)
    };
    let single = used().take(SINGLE + 1).count() <= SINGLE;
    let mut groups: HashMap<Group, usize> = HashMap::new();
    for (map, reclaimable) in used() {
        let holder = facts.held_by.get(&map.address);
        let frames = facts.allocated_at.get(&map.address);
        let values = [
            1,
            map.allocated,
            reclaimable,
            facts.tombstones.get(&map.address).copied().unwrap_or(0),
        ];
        if single {
            let at = sample(&mut builder, report, map, (holder, frames), true);
            add(&mut builder, at, values);
            continue;
        }
        let group = (
            map.type_index(),
            map.label.word(),
            holder.cloned(),
            frames.cloned(),
        );
        let at = match groups.get(&group) {
            Some(at) => *at,
            None => {
                let at = sample(&mut builder, report, map, (holder, frames), false);
                groups.insert(group, at);
                at
            }
        };
        add(&mut builder, at, values);
    }
    let samples = builder.profile.sample.len();
    (builder.finish(), samples)
}

type Frames = Rc<[Rc<str>]>;
type Group = (Option<usize>, &'static str, Option<Rc<str>>, Option<Frames>);

/// The profile's head: what its values are, and whose they are.
fn begun(program: &str) -> Builder {
    let mut builder = Builder::new(program, "");
    for (name, unit) in VALUES {
        let value = builder.value_type(name, unit);
        builder.profile.sample_type.push(value);
    }
    builder.profile.default_sample_type = builder.string("reclaimable");
    let note = builder.string("Maps that the program can reach; written by go-map-scan.");
    builder.profile.comment.push(note);
    builder.profile.time_nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0);
    builder
}

/// A new sample without values; with a label for its address if it is of one map.
fn sample(
    builder: &mut Builder,
    report: &ScanReport<'_>,
    map: &FoundMap,
    (holder, frames): (Option<&Rc<str>>, Option<&Frames>),
    single: bool,
) -> usize {
    let name = report.type_text(map);
    let mut location_id = vec![
        builder.place(&name, "", 0),
        builder.place(holder.map_or(UNKNOWN, |holder| &**holder), "", 0),
    ];
    for frame in frames.into_iter().flat_map(|frames| frames.iter()) {
        let (function, file, line) = split(frame);
        location_id.push(builder.place(function, file, line));
    }
    let mut labels = vec![("type", name)];
    if single {
        labels.push(("map", format!("{:#x}", map.address)));
        labels.push(("evidence", map.label.evidence().to_owned()));
    }
    let label = labels
        .into_iter()
        .map(|(key, value)| Label {
            key: builder.string(key),
            str: builder.string(&value),
            ..Label::default()
        })
        .collect();
    builder.profile.sample.push(Sample {
        location_id,
        value: vec![0; VALUES.len()],
        label,
    });
    builder.profile.sample.len() - 1
}

fn add(builder: &mut Builder, sample: usize, values: [u64; VALUES.len()]) {
    if let Some(sample) = builder.profile.sample.get_mut(sample) {
        for (sum, value) in sample.value.iter_mut().zip(values) {
            *sum = sum.saturating_add(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

/// Function, file and line of `main.load cache.go:42`.
fn split(frame: &str) -> (&str, &str, i64) {
    let parts = frame.rsplit_once(' ').and_then(|(function, place)| {
        let (file, line) = place.rsplit_once(':')?;
        Some((function, file, line.parse().ok()?))
    });
    parts.unwrap_or((frame, "", 0))
}

/// Writes `profile` compressed to `path`, whole or not at all.
///
/// # Errors
/// Why not, in one line.
pub fn write(path: &str, force: bool, profile: &[u8]) -> Result<(), String> {
    let mut file = NewFile::create(path, force, true)?;
    file.write(profile)?;
    file.keep().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart() {
        assert_eq!(
            split("main.load cache.go:42"),
            ("main.load", "cache.go", 42)
        );
        assert_eq!(
            split("main.(*T).f /a b/c.go:7"),
            ("main.(*T).f /a", "b/c.go", 7)
        );
        assert_eq!(split("main.load"), ("main.load", "", 0));
        assert_eq!(split("a b:c"), ("a b:c", "", 0));
    }
}
