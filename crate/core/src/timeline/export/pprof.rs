//! Waste as a profile for `go tool pprof`: the kind of bytes at the leaf, then the map's type,
//! who holds it, and the calls that allocated it.

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message as _;

use super::super::model::Timeline;
use super::clean;
use crate::pprof::proto::{Function, Line, Location, Mapping, Profile, Sample, ValueType};

/// What stands for a holder that is not known.
const UNKNOWN: &str = "(not known)";

#[derive(Default)]
struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    locations: HashMap<(i64, i64, i64), u64>,
}

impl Builder {
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
            address: 0,
            line: vec![Line {
                function_id: id,
                line,
            }],
        });
        self.locations.insert((name, file, line), id);
        id
    }
}

/// Writes the profile, not compressed.
pub(super) fn write(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    let mut builder = Builder::default();
    builder.string("");
    for (name, unit) in [("maps", "count"), ("waste", "bytes")] {
        let value = ValueType {
            r#type: builder.string(name),
            unit: builder.string(unit),
        };
        builder.profile.sample_type.push(value);
    }
    builder.profile.default_sample_type = builder.string("waste");
    // Without a mapping that has its functions pprof would look for the program.
    let program = timeline.subject.program.as_deref().unwrap_or("Go program");
    let filename = builder.string(&clean(program));
    builder.profile.mapping.push(Mapping {
        id: 1,
        filename,
        has_functions: true,
        ..Mapping::default()
    });
    let note = builder.string("Bytes of maps that hold no entry; written by gomapscope timeline.");
    builder.profile.comment.push(note);
    let last = timeline.extent.map(|(_, last)| last);
    let wall = last
        .zip(timeline.wall)
        .map(|(last, wall)| last.saturating_add_signed(wall.offset_ns));
    builder.profile.time_nanos = wall.and_then(|wall| i64::try_from(wall).ok()).unwrap_or(0);
    for row in &timeline.waste {
        let mut stack = vec![
            builder.location(row.component, "", 0),
            builder.location(&row.type_name, "", 0),
            builder.location(row.holder.as_deref().unwrap_or(UNKNOWN), "", 0),
        ];
        let frames = row.stack.and_then(|stack| timeline.stacks.get(stack));
        for frame in frames.into_iter().flat_map(|frames| frames.iter()) {
            stack.push(builder.location(&frame.function, &frame.file, i64::from(frame.line)));
        }
        let figure = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        builder.profile.sample.push(Sample {
            location_id: stack,
            value: vec![figure(row.maps), figure(row.bytes)],
            label: Vec::new(),
        });
    }
    output.write_all(&builder.profile.encode_to_vec())
}
