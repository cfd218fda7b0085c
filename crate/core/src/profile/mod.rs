//! What a scan found as a profile for `go tool pprof`: who holds how much, and what
//! rebuilding would give back.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;

use crate::pprof::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
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
    let mut builder = Builder::new(program);
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
            let at = builder.sample(report, map, (holder, frames), true);
            builder.add(at, values);
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
                let at = builder.sample(report, map, (holder, frames), false);
                groups.insert(group, at);
                at
            }
        };
        builder.add(at, values);
    }
    let samples = builder.profile.sample.len();
    (builder.finish(), samples)
}

type Frames = Rc<[Rc<str>]>;
type Group = (Option<usize>, &'static str, Option<Rc<str>>, Option<Frames>);

struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    /// Locations by function, file and line.
    locations: HashMap<(i64, i64, i64), u64>,
}

impl Builder {
    fn new(program: &str) -> Self {
        let mut builder = Self {
            profile: Profile::default(),
            strings: HashMap::new(),
            locations: HashMap::new(),
        };
        builder.string("");
        for (name, unit) in VALUES {
            let value = ValueType {
                r#type: builder.string(name),
                unit: builder.string(unit),
            };
            builder.profile.sample_type.push(value);
        }
        builder.profile.default_sample_type = builder.string("reclaimable");
        // Without a mapping that has its functions pprof would look for the program.
        let filename = builder.string(program);
        builder.profile.mapping.push(Mapping {
            id: 1,
            filename,
            has_functions: true,
            ..Mapping::default()
        });
        let note = builder.string("Maps that the program can reach; written by go-map-scan.");
        builder.profile.comment.push(note);
        builder.profile.time_nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_nanos()).ok())
            .unwrap_or(0);
        builder
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let at = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), at);
        at
    }

    fn location(&mut self, name: &str, file: &str, line: i64) -> u64 {
        let (name, file) = (self.string(&clean(name)), self.string(&clean(file)));
        if let Some(id) = self.locations.get(&(name, file, line)) {
            return *id;
        }
        let id = self.profile.location.len() as u64 + 1;
        self.profile.function.push(Function {
            id,
            name,
            system_name: name,
            filename: file,
        });
        self.profile.location.push(Location {
            id,
            mapping_id: 1,
            line: vec![Line {
                function_id: id,
                line,
            }],
            ..Location::default()
        });
        self.locations.insert((name, file, line), id);
        id
    }

    /// A new sample without values; with a label for its address if it is of one map.
    fn sample(
        &mut self,
        report: &ScanReport<'_>,
        map: &FoundMap,
        (holder, frames): (Option<&Rc<str>>, Option<&Frames>),
        single: bool,
    ) -> usize {
        let name = report.type_text(map);
        let mut location_id = vec![
            self.location(&name, "", 0),
            self.location(holder.map_or(UNKNOWN, |holder| &**holder), "", 0),
        ];
        for frame in frames.into_iter().flat_map(|frames| frames.iter()) {
            let (function, file, line) = split(frame);
            location_id.push(self.location(function, file, line));
        }
        let mut labels = vec![("type", clean(&name))];
        if single {
            labels.push(("map", format!("{:#x}", map.address)));
            labels.push(("evidence", map.label.evidence().to_owned()));
        }
        let label = labels
            .into_iter()
            .map(|(key, value)| Label {
                key: self.string(key),
                str: self.string(&value),
                ..Label::default()
            })
            .collect();
        self.profile.sample.push(Sample {
            location_id,
            value: vec![0; VALUES.len()],
            label,
        });
        self.profile.sample.len() - 1
    }

    fn add(&mut self, sample: usize, values: [u64; VALUES.len()]) {
        if let Some(sample) = self.profile.sample.get_mut(sample) {
            for (sum, value) in sample.value.iter_mut().zip(values) {
                *sum = sum.saturating_add(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        self.profile.encode_to_vec()
    }
}

/// Text from the target as a name: pprof prints names to terminals.
fn clean(text: &str) -> String {
    crate::report::sanitize(text, true).into_owned()
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
