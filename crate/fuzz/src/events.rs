//! Event files, read to their end and told of.

use gomapscope_core::answer::{EventsFailure, Look, answer_events};
use gomapscope_core::command::parse;
use gomapscope_core::events::EventReader;
use gomapscope_core::gotype::Limits;
use gomapscope_core::report::Style;

use crate::{check, scratch};

pub(crate) fn look(style: Style) -> Look {
    Look {
        style,
        limit: Some(20),
        values: Limits::TEXT,
    }
}

/// A whole file.
pub(crate) fn run(data: &[u8]) {
    scratch::file(data, |path| {
        let mut lines = 0_usize;
        match EventReader::open(path) {
            Ok(mut reader) => loop {
                match reader.next_event() {
                    Ok(Some(_)) => lines += 1,
                    Ok(None) => {
                        assert!(reader.end().is_some());
                        break;
                    }
                    Err(error) => {
                        check::error(error);
                        break;
                    }
                }
            },
            Err(error) => check::error(error),
        }
        let packed = data.starts_with(&[0x1f, 0x8b]);
        assert!(packed || lines <= data.iter().filter(|byte| **byte == b'\n').count());
        let ways = [
            ("f", check::WIDE),
            ("-limit unlimited f", check::NARROW),
            ("-json f", check::WIDE),
        ];
        for (line, style) in &ways[check::ways(data, 3)] {
            let style = *style;
            let request = parse("go-map-trace report", line).unwrap();
            let mut text = String::new();
            let mut write = |portion: &str| {
                text.push_str(portion);
                Ok::<(), ()>(())
            };
            match answer_events(&request, path, &look(style), &mut |_| true, &mut write) {
                Ok(()) if request.options.json => {
                    let document = check::json(&text);
                    assert_eq!(document["schema"], "gomapscope.events-report/1");
                }
                Ok(()) => check::text(&text, style),
                Err(EventsFailure::File(error)) => check::error(error),
                Err(EventsFailure::Write(())) => unreachable!("nothing fails to be written"),
            }
        }
    });
}
