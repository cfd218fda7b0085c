//! Waste as a profile for `go tool pprof`: the kind of bytes at the leaf, then the map's type,
//! who holds it, and the calls that allocated it.

use std::io::{self, Write};

use super::super::model::Timeline;
use crate::pprof::builder::Builder;
use crate::pprof::proto::Sample;

/// What stands for a holder that is not known.
const UNKNOWN: &str = "(not known)";

/// Writes the profile, not compressed.
pub(super) fn write(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    let program = timeline.subject.program.as_deref();
    let mut builder = Builder::new(program.unwrap_or("Go program"), "");
    for (name, unit) in [("maps", "count"), ("waste", "bytes")] {
        let value = builder.value_type(name, unit);
        builder.profile.sample_type.push(value);
    }
    builder.profile.default_sample_type = builder.string("waste");
    let note = builder.string("Bytes of maps that hold no entry; written by gomapscope timeline.");
    builder.profile.comment.push(note);
    let last = timeline.extent.map(|(_, last)| last);
    let wall = last
        .zip(timeline.wall)
        .map(|(last, wall)| last.saturating_add_signed(wall.offset_ns));
    builder.profile.time_nanos = wall.and_then(|wall| i64::try_from(wall).ok()).unwrap_or(0);
    for row in &timeline.waste {
        let mut stack = vec![
            builder.place(row.component, "", 0),
            builder.place(&row.type_name, "", 0),
            builder.place(row.holder.as_deref().unwrap_or(UNKNOWN), "", 0),
        ];
        let frames = row.stack.and_then(|stack| timeline.stacks.get(stack));
        for frame in frames.into_iter().flat_map(|frames| frames.iter()) {
            stack.push(builder.place(&frame.function, &frame.file, i64::from(frame.line)));
        }
        let figure = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        builder.profile.sample.push(Sample {
            location_id: stack,
            value: vec![figure(row.maps), figure(row.bytes)],
            label: Vec::new(),
        });
    }
    output.write_all(&builder.finish())
}
