//! Saved snapshots, and documents of scans: read, and compared with themselves and another.

use std::cell::OnceCell;
use std::ops::Range;

use gomapscope_core::answer::answer_diff;
use gomapscope_core::command::parse;
use gomapscope_core::snapshot::{self, Snapshot};

use crate::events::look;
use crate::{check, scratch};

thread_local! {
    static OTHER: OnceCell<Snapshot> = const { OnceCell::new() };
}

/// What every input is compared with: maps at addresses that the seeds have, too.
const SEED: &[u8] = include_bytes!("../seeds/snapshot.json");

/// A whole document.
pub(crate) fn run(data: &[u8]) {
    scratch::file(data, |path| {
        // The same document, by way of a file.
        let loaded = snapshot::load(&path.display().to_string());
        let snapshot = match snapshot::read("later", data) {
            Ok(snapshot) => snapshot,
            Err(error) => return check::error(error),
        };
        assert!(loaded.is_ok());
        let ways = check::ways(data, 3);
        diff(&snapshot, &snapshot, ways.clone());
        OTHER.with(|other| {
            let other = other.get_or_init(|| snapshot::read("earlier", SEED).unwrap());
            diff(other, &snapshot, ways.clone());
            diff(&snapshot, other, ways);
        });
    });
}

fn diff(before: &Snapshot, after: &Snapshot, ways: Range<usize>) {
    let same = std::ptr::eq(before, after);
    let all = [
        ("a b", check::WIDE),
        ("-top unlimited a b", check::NARROW),
        ("-json a b", check::WIDE),
    ];
    for (line, style) in &all[ways] {
        let style = *style;
        let request = parse("go-map-diff", line).unwrap();
        let mut text = String::new();
        let mut write = |portion: &str| {
            text.push_str(portion);
            Ok::<(), ()>(())
        };
        answer_diff(&request, before, after, false, &look(style), &mut write).unwrap();
        if request.options.json {
            let document = check::json(&text);
            assert!(
                !same || document["changes"].as_array().is_none_or(Vec::is_empty),
                "{text}"
            );
        } else {
            check::text(&text, style);
        }
    }
}
