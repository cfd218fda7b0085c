//! Profiles: protobuf and text, what of them is of maps, and the profile written again.

use gomapscope_core::pprof::contention::{contention, inputs};
use gomapscope_core::pprof::{Profile, Programs, encode, explain, parse, scale};
use gomapscope_core::report;

use crate::check;

/// A protobuf, packed or not.
pub(crate) fn proto(data: &[u8]) {
    run("profile.pb", data);
}

/// What `debug=1` prints.
pub(crate) fn text(data: &[u8]) {
    run("profile.txt", data);
}

fn run(name: &str, data: &[u8]) {
    let mut profile = match parse(name, data) {
        Ok(profile) => profile,
        Err(error) => return check::error(error),
    };
    // The executable that it names is a file of this machine, not of the input.
    profile.program = None;

    let again = parse("again", &encode(&profile));
    let again = again.unwrap_or_else(|error| panic!("{error}: it was written by us"));
    assert_eq!(again.samples.len(), profile.samples.len());

    let explained = explain(name, profile.clone(), None, &mut Programs::default()).unwrap();
    let one = std::slice::from_ref(&explained);
    for way in check::ways(data, 4) {
        match way {
            0 => check::text(&report::pprof(one, None, &check::WIDE), check::WIDE),
            1 => {
                check::text(&report::pprof(one, None, &check::NARROW), check::NARROW);
                check::json(&report::pprof_json(one, None, true));
            }
            2 => series(name, &profile, again.clone()),
            _ => around_locks(name, profile.clone()),
        }
    }
    let word = |at: usize| {
        let bytes = data.get(at..at + 8).map(|bytes| bytes.try_into().unwrap());
        bytes.map_or(0, i64::from_le_bytes)
    };
    let (objects, bytes) = scale(word(0), word(8), word(16));
    assert!(word(0) > 0 || word(8) > 0 || objects <= 0 || bytes <= 0 || word(16) <= 1);
}

/// Two profiles, the second as it was written by us.
fn series(name: &str, profile: &Profile, again: Profile) {
    let two = [("other", profile.clone()), (name, again)]
        .map(|(name, profile)| explain(name, profile, None, &mut Programs::default()).unwrap());
    check::text(&report::pprof(&two, Some(None), &check::WIDE), check::WIDE);
    check::json(&report::pprof_json(&two, Some(Some(1)), false));
}

fn around_locks(name: &str, profile: Profile) {
    match inputs(vec![(name.to_owned(), profile)], None) {
        Ok(found) => {
            let found = contention(&found);
            check::text(&report::contention(&found, None, &check::WIDE), check::WIDE);
            check::json(&report::contention_json(&found, None));
        }
        Err(reason) => check::error(reason),
    }
}
