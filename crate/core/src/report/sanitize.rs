//! Text from the target, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// How many marks of no width may follow one character: more only smears a
/// screen and escapes every count of columns.
const COMBINING: usize = 2;

/// Escapes, as Go would write them, the characters that could drive a
/// terminal or make text look like other text: control characters, bidi
/// overrides, invisible ones and long runs of combining marks. Without
/// `unicode` everything outside ASCII is escaped. What is left is unchanged,
/// and the result passes unchanged a second time.
#[must_use]
pub fn sanitize(text: &str, unicode: bool) -> Cow<'_, str> {
    let harmless =
        |c: char| matches!(c, ' '..='~') || unicode && !hazardous(c) && c.width().unwrap_or(0) > 0;
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    let mut marks = COMBINING;
    for c in text.chars() {
        if harmless(c) {
            marks = 0;
            clean.push(c);
        } else if unicode && !hazardous(c) && marks < COMBINING {
            marks += 1;
            clean.push(c);
        } else {
            escape(&mut clean, c);
            // A mark after this one would land on the escape's last digit.
            marks = COMBINING;
        }
    }
    Cow::Owned(clean)
}

/// Whether a character must never reach a terminal as it is.
pub(super) fn hazardous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                        // soft hyphen
            | '\u{34f}'                     // combining grapheme joiner
            | '\u{61c}'                     // Arabic letter mark
            | '\u{115f}'..='\u{1160}'       // Hangul fillers
            | '\u{17b4}'..='\u{17b5}'       // invisible Khmer vowels
            | '\u{180b}'..='\u{180f}'       // Mongolian selectors
            | '\u{200b}'..='\u{200f}'       // zero width, direction marks
            | '\u{2028}'..='\u{202e}'       // line ends, bidi embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // invisible operators, bidi isolates
            | '\u{3164}' | '\u{ffa0}'       // Hangul fillers
            | '\u{fe00}'..='\u{fe0f}'       // variation selectors change a width
            | '\u{feff}'                    // byte order mark
            | '\u{fff0}'..='\u{fffb}'       // interlinear annotation
            | '\u{e000}'..='\u{f8ff}'       // private use
            | '\u{fdd0}'..='\u{fdef}'       // not characters
            | '\u{1bca0}'..='\u{1bca3}'     // shorthand controls
            | '\u{1d173}'..='\u{1d17a}'     // musical controls
            | '\u{e0000}'..='\u{10ffff}'    // tags, selectors, private use
        )
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Writes the escape that Go's `strconv.Quote` would.
fn escape(text: &mut String, c: char) {
    let code = u32::from(c);
    let _ = match c {
        '\t' => text.write_str("\\t"),
        '\n' => text.write_str("\\n"),
        '\r' => text.write_str("\\r"),
        _ if code < 0x80 => write!(text, "\\x{code:02x}"),
        _ if code <= 0xffff => write!(text, "\\u{code:04x}"),
        _ => write!(text, "\\U{code:08x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(
            sanitize("map[string]*main.T", false),
            Cow::Borrowed(_)
        ));
        assert!(matches!(sanitize("世界 é", true), Cow::Borrowed(_)));
    }

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        for (raw, clean) in [
            ("a\x1b[31mb", "a\\x1b[31mb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\x7f\u{9b}2J", "\\x7f\\u009b2J"),
            ("user\u{202e}gnp.exe", "user\\u202egnp.exe"),
            ("zero\u{200b}width", "zero\\u200bwidth"),
            ("\u{e0041}", "\\U000e0041"),
            ("\0", "\\x00"),
        ] {
            assert_eq!(sanitize(raw, true), clean);
            assert_eq!(sanitize(raw, false), clean);
        }
        assert_eq!(sanitize("é世🙂", false), "\\u00e9\\u4e16\\U0001f642");
    }

    #[test]
    fn combining_marks_are_kept_up_to_two() {
        assert_eq!(sanitize("e\u{301}", true), "e\u{301}");
        assert_eq!(
            sanitize("e\u{301}\u{301}\u{301}x", true),
            "e\u{301}\u{301}\\u0301x"
        );
        assert_eq!(sanitize("\u{301}", true), "\\u0301");
    }

    proptest! {
        #[test]
        fn clean_text_stays_clean(text in any::<String>(), unicode in any::<bool>()) {
            let once = sanitize(&text, unicode).into_owned();
            prop_assert!(!once.chars().any(hazardous));
            prop_assert!(unicode || once.is_ascii());
            prop_assert_eq!(sanitize(&once, unicode), once.as_str());
        }
    }
}
