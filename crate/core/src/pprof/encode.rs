//! A profile as pprof's protobuf, with the names of functions in it: nothing needs the
//! program to read it.

use super::builder::Builder;
use super::model::{Kind, LabelValue, Profile};
use super::proto;

/// The bytes of a profile, not compressed. Names pass [`crate::report::sanitize`]: pprof prints
/// them to terminals.
#[must_use]
pub fn encode(profile: &Profile) -> Vec<u8> {
    let mut writer = Builder::new(
        profile.program.as_deref().unwrap_or("program"),
        profile.build_id.as_deref().unwrap_or(""),
    );
    for value in &profile.sample_types {
        let value = writer.value_type(&value.name, &value.unit);
        writer.profile.sample_type.push(value);
    }
    writer.profile.period_type = profile
        .period_type
        .as_ref()
        .map(|value| writer.value_type(&value.name, &value.unit));
    writer.profile.period = profile.period;
    writer.profile.time_nanos = profile.time_ns.unwrap_or(0);
    writer.profile.duration_nanos = profile.duration_ns;
    // runtime/pprof names none for heap, and pprof takes the last; the same for others.
    if profile.kind == Kind::Heap {
        writer.profile.default_sample_type = writer.string("inuse_space");
    }
    for (index, location) in profile.locations.iter().enumerate() {
        let line = location
            .lines
            .iter()
            .map(|line| proto::Line {
                function_id: writer.function(&line.function, &line.file),
                line: line.line,
            })
            .collect();
        writer.profile.location.push(proto::Location {
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
        writer.profile.sample.push(proto::Sample {
            location_id: sample.stack.iter().map(|at| u64::from(*at) + 1).collect(),
            value: sample.values.clone(),
            label,
        });
    }
    for note in &profile.notes {
        let note = writer.string(note);
        writer.profile.comment.push(note);
    }
    writer.finish()
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
