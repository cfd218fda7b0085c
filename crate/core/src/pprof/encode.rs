//! A profile as pprof's protobuf, with the names of functions in it: nothing needs the
//! program to read it.

use std::collections::HashMap;

use prost::Message as _;

use super::model::{Kind, LabelValue, Profile};
use super::proto;

/// The bytes of a profile, not compressed. Names pass [`crate::report::sanitize`]: pprof prints
/// them to terminals.
#[must_use]
pub fn encode(profile: &Profile) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.string("");
    let types = &profile.sample_types;
    writer.out.sample_type = types
        .iter()
        .map(|value| writer_type(&mut writer.strings, &value.name, &value.unit))
        .collect();
    writer.out.period_type = profile
        .period_type
        .as_ref()
        .map(|value| writer_type(&mut writer.strings, &value.name, &value.unit));
    writer.out.period = profile.period;
    writer.out.time_nanos = profile.time_ns.unwrap_or(0);
    writer.out.duration_nanos = profile.duration_ns;
    // runtime/pprof names none for heap, and pprof takes the last; the same for others.
    if profile.kind == Kind::Heap {
        writer.out.default_sample_type = writer.string("inuse_space");
    }
    let filename = writer.string(profile.program.as_deref().unwrap_or("program"));
    let build_id = writer.string(profile.build_id.as_deref().unwrap_or(""));
    writer.out.mapping.push(proto::Mapping {
        id: 1,
        filename,
        build_id,
        // Without it pprof would look for the program.
        has_functions: true,
        ..proto::Mapping::default()
    });
    for (index, location) in profile.locations.iter().enumerate() {
        let line = location
            .lines
            .iter()
            .map(|line| proto::Line {
                function_id: writer.function(&line.function, &line.file),
                line: line.line,
            })
            .collect();
        writer.out.location.push(proto::Location {
            id: index as u64 + 1,
            mapping_id: 1,
            address: location.address,
            line,
        });
    }
    for sample in &profile.samples {
        let label = sample
            .labels
            .iter()
            .map(|label| {
                let key = writer.string(&label.key);
                match &label.value {
                    LabelValue::Text(text) => proto::Label {
                        key,
                        str: writer.string(text),
                        ..proto::Label::default()
                    },
                    LabelValue::Number(number, unit) => proto::Label {
                        key,
                        num: *number,
                        num_unit: writer.string(unit),
                        ..proto::Label::default()
                    },
                }
            })
            .collect();
        writer.out.sample.push(proto::Sample {
            location_id: sample.stack.iter().map(|at| u64::from(*at) + 1).collect(),
            value: sample.values.clone(),
            label,
        });
    }
    for note in &profile.notes {
        let note = writer.string(note);
        writer.out.comment.push(note);
    }
    writer.finish()
}

fn writer_type(strings: &mut Strings, name: &str, unit: &str) -> proto::ValueType {
    proto::ValueType {
        r#type: strings.at(name),
        unit: strings.at(unit),
    }
}

#[derive(Default)]
struct Strings {
    list: Vec<String>,
    known: HashMap<String, i64>,
}

impl Strings {
    fn at(&mut self, text: &str) -> i64 {
        if let Some(at) = self.known.get(text) {
            return *at;
        }
        let at = self.list.len() as i64;
        self.list
            .push(crate::report::sanitize(text, true).into_owned());
        self.known.insert(text.to_owned(), at);
        at
    }
}

#[derive(Default)]
struct Writer {
    out: proto::Profile,
    strings: Strings,
    functions: HashMap<(i64, i64), u64>,
}

impl Writer {
    fn string(&mut self, text: &str) -> i64 {
        self.strings.at(text)
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (self.string(name), self.string(file));
        if let Some(id) = self.functions.get(&key) {
            return *id;
        }
        let id = self.out.function.len() as u64 + 1;
        self.out.function.push(proto::Function {
            id,
            name: key.0,
            system_name: key.0,
            filename: key.1,
        });
        self.functions.insert(key, id);
        id
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.string_table = self.strings.list;
        self.out.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::pprof::{Label, Line, Location, Origin, Placement, Sample, ValueType, parse};

    #[test]
    fn what_is_written_is_read_again() {
        let value = |name: &str, unit: &str| ValueType {
            name: name.into(),
            unit: unit.into(),
        };
        let line = |function: &str, line| Line {
            function: function.into(),
            file: "/src/main.go".into(),
            line,
        };
        let profile = Profile {
            kind: Kind::Heap,
            origin: Origin::Memory,
            sample_types: [
                "alloc_objects",
                "alloc_space",
                "inuse_objects",
                "inuse_space",
            ]
            .iter()
            .map(|name| {
                value(
                    name,
                    if name.ends_with("space") {
                        "bytes"
                    } else {
                        "count"
                    },
                )
            })
            .collect(),
            period: 512,
            period_type: Some(value("space", "bytes")),
            time_ns: None,
            duration_ns: 0,
            last_gc_ns: None,
            samples: vec![Sample {
                stack: Rc::from([1, 0]),
                values: vec![4, 40, 2, 20],
                raw: Some(vec![2, 20, 1, 10]),
                labels: vec![
                    Label {
                        key: "bytes".into(),
                        value: LabelValue::Number(10, "bytes".into()),
                    },
                    Label {
                        key: "tenant".into(),
                        value: LabelValue::Text("a\u{1b}[31m".into()),
                    },
                ],
            }],
            locations: vec![
                Location {
                    address: 0x40_1000,
                    lines: vec![line("main.main", 7)],
                },
                Location {
                    address: 0x40_2000,
                    lines: vec![line("runtime.mapassign", 3), line("main.main", 8)],
                },
            ],
            program: Some("/bin/program".into()),
            build_id: Some("abcd".into()),
            placement: Placement::default(),
            notes: vec!["a note".to_owned()],
        };
        let read = parse("x", &encode(&profile)).unwrap();
        assert_eq!((read.kind, read.origin), (Kind::Heap, Origin::Proto));
        assert_eq!(read.sample_types, profile.sample_types);
        assert_eq!(read.locations, profile.locations);
        assert_eq!(read.samples[0].stack, profile.samples[0].stack);
        assert_eq!(read.samples[0].values, profile.samples[0].values);
        assert_eq!(read.samples[0].labels[0], profile.samples[0].labels[0]);
        // Control characters do not reach pprof.
        let LabelValue::Text(text) = &read.samples[0].labels[1].value else {
            panic!("a number");
        };
        assert!(!text.contains('\u{1b}'));
        assert_eq!((read.period, read.program), (512, profile.program));
    }
}
