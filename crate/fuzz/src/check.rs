//! What must hold of every answer, whatever the question.

use std::cell::Cell;
use std::ops::Range;

use gomapscope_core::report::{Style, display_width};
use serde_json::Value;

/// As wide as a terminal; no colours, so that no byte below a space is ours.
pub(crate) const WIDE: Style = Style {
    width: 80,
    color: false,
    unicode: true,
};

/// The narrowest, without any character but ASCII.
pub(crate) const NARROW: Style = Style {
    width: 40,
    color: false,
    unicode: false,
};

thread_local! {
    static THOROUGH: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread looks at each input in all ways, not only in the one that its length
/// chooses.
pub fn look_at_all() {
    THOROUGH.set(true);
}

/// In how many ways an input is looked at, at the most.
pub(crate) fn most_ways() -> u64 {
    if THOROUGH.get() { 8 } else { 1 }
}

/// Which of `all` ways to look at an input are taken.
pub(crate) fn ways(data: &[u8], all: usize) -> Range<usize> {
    if THOROUGH.get() {
        return 0..all;
    }
    let one = data.len() % all;
    one..one + 1
}

/// One input of `n`, as its bytes have it: for what takes much longer than all else.
pub(crate) fn one_of(data: &[u8], n: u32) -> bool {
    let sum = data.iter().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    THOROUGH.get() || sum.is_multiple_of(n)
}

/// A part of `all`, which bytes of the input choose: other inputs look at the rest.
pub(crate) fn part<T>(data: &[u8], all: Vec<T>, most: usize) -> impl Iterator<Item = T> {
    let from = data.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let skipped = match all.len() > most {
        true => from % (all.len() - most + 1),
        false => 0,
    };
    all.into_iter().skip(skipped).take(most)
}

/// Whether a terminal would obey a character, or show it where it is not.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text for a terminal: nothing in it drives one, and lines fit.
#[track_caller]
pub(crate) fn text(text: &str, style: Style) {
    for line in text.lines() {
        assert!(!line.chars().any(obeyed), "{line:?}");
        assert!(style.unicode || line.is_ascii(), "{line:?}");
        assert!(display_width(line) <= style.columns(), "too wide: {line:?}");
    }
}

/// An error: one line, and not an endless one.
#[track_caller]
pub(crate) fn error(reason: impl std::fmt::Display) {
    let reason = reason.to_string();
    assert!(!reason.is_empty());
    assert!(reason.len() < 1 << 16, "{} bytes of error", reason.len());
}

/// A JSON document, perhaps on several lines.
#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
    let value = serde_json::from_str(text);
    value.unwrap_or_else(|error| panic!("{error} in {text}"))
}
