//! Lines of styled text: width, colour, character set.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

use super::sanitize::sanitize;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns; 0 when there is no limit known, which means 80.
    pub width: usize,
    /// Whether SGR sequences are wanted.
    pub color: bool,
    /// Whether characters outside ASCII can be shown.
    pub unicode: bool,
}

impl Style {
    /// The columns a line may take.
    #[must_use]
    pub fn columns(&self) -> usize {
        match self.width {
            0 => 80,
            width => width,
        }
    }

    /// What stands for text that was cut.
    #[must_use]
    pub fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

/// What a piece of text is; gdb's own style names and looks where it has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    #[default]
    Plain,
    /// What the report is about: bold.
    Title,
    /// A memory address: blue.
    Address,
    /// Labels and legends: dim.
    Metadata,
    /// What must be seen: red.
    Highlight,
    /// A healthy map: green.
    Healthy,
    /// Lightly wasteful: yellow.
    Light,
    /// Severely wasteful: bold red.
    Severe,
}

impl Role {
    /// The SGR parameters; colour only repeats what the words already say.
    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Title => Some("1"),
            Self::Address => Some("34"),
            Self::Metadata => Some("2"),
            Self::Highlight => Some("31"),
            Self::Healthy => Some("32"),
            Self::Light => Some("33"),
            Self::Severe => Some("1;31"),
        }
    }

    /// Adds `clean`, text that is sanitised already, as this to `text`.
    pub(super) fn write(self, style: &Style, clean: &str, text: &mut String) {
        match self.sgr().filter(|_| style.color) {
            Some(sgr) => {
                let _ = write!(text, "\x1b[{sgr}m{clean}\x1b[m");
            }
            None => text.push_str(clean),
        }
    }
}

/// Columns a text takes, character by character as terminals count.
#[must_use]
pub fn display_width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// One line of output, or a piece of one: text with roles. Text is sanitised
/// when it is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    spans: Vec<(Role, String)>,
    unicode: bool,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub fn new(style: &Style) -> Self {
        Self {
            spans: Vec::new(),
            unicode: style.unicode,
        }
    }

    /// Adds text, from wherever it comes.
    pub fn push(&mut self, role: Role, text: &str) {
        self.push_clean(role, &sanitize(text, self.unicode));
    }

    /// Adds text that is sanitised already. A part of it must not be
    /// sanitised again: a combining mark alone would be escaped.
    fn push_clean(&mut self, role: Role, text: &str) {
        match self.spans.last_mut() {
            _ if text.is_empty() => {}
            Some((last, span)) if *last == role => span.push_str(text),
            _ => self.spans.push((role, text.to_owned())),
        }
    }

    /// [`Line::push`] that returns the line.
    #[must_use]
    pub fn with(mut self, role: Role, text: &str) -> Self {
        self.push(role, text);
        self
    }

    /// Adds `count` spaces.
    pub fn space(&mut self, count: usize) {
        self.push(Role::Plain, &" ".repeat(count));
    }

    /// Adds all of another line.
    pub fn append(&mut self, other: &Self) {
        for (role, text) in &other.spans {
            self.push_clean(*role, text);
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Columns it takes.
    #[must_use]
    pub fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| display_width(text)).sum()
    }

    /// The line cut to `width` columns, an ellipsis at the cut.
    #[must_use]
    pub fn cut(&self, width: usize) -> Self {
        if self.width() <= width {
            return self.clone();
        }
        let mut ellipsis = if self.unicode { "…" } else { "..." };
        if display_width(ellipsis) > width {
            ellipsis = "";
        }
        let room = width - display_width(ellipsis);
        let mut cut = Self {
            spans: Vec::new(),
            unicode: self.unicode,
        };
        let mut used = 0;
        let mut role = Role::Plain;
        'spans: for (span_role, text) in &self.spans {
            role = *span_role;
            let mut kept = 0;
            for c in text.chars() {
                let columns = c.width().unwrap_or(0);
                if used + columns > room {
                    cut.push_clean(role, text.get(..kept).unwrap_or_default());
                    break 'spans;
                }
                used += columns;
                kept += c.len_utf8();
            }
            cut.push_clean(role, text);
        }
        cut.push_clean(role, ellipsis);
        cut
    }

    /// Folds the line between words: the first line takes `width` columns at
    /// most, and so do the others with their `indent`. A word longer than a
    /// line is split.
    #[must_use]
    pub fn wrap(&self, width: usize, indent: usize) -> Vec<Self> {
        let empty = || Self {
            spans: Vec::new(),
            unicode: self.unicode,
        };
        let indent = indent.min(width / 2);
        let mut lines = Vec::new();
        let mut line = empty();
        let mut used = 0;
        let mut gap = 0;
        for word in self.words() {
            let Word::Text(pieces) = word else {
                gap += usize::from(used > 0);
                continue;
            };
            let columns: usize = pieces.iter().map(|(_, text)| display_width(text)).sum();
            let start = if lines.is_empty() { 0 } else { indent };
            let mut fresh = used == 0 || used == start;
            if !fresh && used + gap + columns > width {
                lines.push(std::mem::replace(&mut line, empty()));
                line.space(indent);
                used = indent;
                fresh = true;
            }
            if !fresh {
                line.space(gap);
                used += gap;
            }
            gap = 0;
            for (role, text) in pieces {
                for c in text.chars() {
                    let columns = c.width().unwrap_or(0);
                    let start = if lines.is_empty() { 0 } else { indent };
                    if used + columns > width && used > start {
                        lines.push(std::mem::replace(&mut line, empty()));
                        line.space(indent);
                        used = indent;
                    }
                    line.push_clean(role, c.encode_utf8(&mut [0; 4]));
                    used += columns;
                }
            }
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// Writes the line folded to the style's width: `indent` spaces before
    /// every line, `hang` more before all but the first.
    pub fn fold(&self, style: &Style, indent: usize, hang: usize, text: &mut String) {
        let room = style.columns().saturating_sub(indent).max(1);
        for folded in self.wrap(room, hang) {
            let mut line = Self::new(style);
            line.space(indent);
            line.append(&folded);
            line.render(style, text);
        }
    }

    /// The line's words, each in pieces of one role, and the spaces between.
    fn words(&self) -> Vec<Word<'_>> {
        let mut words = Vec::new();
        for (role, text) in &self.spans {
            for (position, part) in text.split(' ').enumerate() {
                if position > 0 {
                    words.push(Word::Space);
                }
                if part.is_empty() {
                    continue;
                }
                match words.last_mut() {
                    Some(Word::Text(pieces)) => pieces.push((*role, part)),
                    _ => words.push(Word::Text(vec![(*role, part)])),
                }
            }
        }
        words
    }

    /// Writes the line, cut to the style's width, spaces at its end dropped.
    pub fn render(&self, style: &Style, text: &mut String) {
        let cut = self.cut(style.columns());
        // The last span that is more than spaces ends the line.
        let mut spans = cut.spans.as_slice();
        while let Some(((_, last), rest)) = spans.split_last() {
            if !last.trim_end_matches(' ').is_empty() {
                break;
            }
            spans = rest;
        }
        for (position, (role, span)) in spans.iter().enumerate() {
            let span = match position + 1 == spans.len() {
                true => span.trim_end_matches(' '),
                false => span.as_str(),
            };
            role.write(style, span, text);
        }
        text.push('\n');
    }
}

#[derive(Debug)]
enum Word<'a> {
    Text(Vec<(Role, &'a str)>),
    Space,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{ASCII, COLOR, PLAIN, strip_sgr};
    use proptest::prelude::*;

    fn rendered(line: &Line, style: &Style) -> String {
        let mut text = String::new();
        line.render(style, &mut text);
        text
    }

    #[test]
    fn colour_is_only_added() {
        let line = Line::new(&COLOR)
            .with(Role::Title, "m")
            .with(Role::Plain, "  len 3  ");
        assert_eq!(rendered(&line, &PLAIN), "m  len 3\n");
        assert_eq!(rendered(&line, &COLOR), "\x1b[1mm\x1b[m  len 3\n");
    }

    #[test]
    fn a_cut_shows() {
        let line = Line::new(&PLAIN)
            .with(Role::Plain, "abcdef")
            .with(Role::Title, "世界");
        assert_eq!(rendered(&line.cut(8), &PLAIN), "abcdef…\n");
        assert_eq!(rendered(&line.cut(9), &PLAIN), "abcdef世…\n");
        assert_eq!(rendered(&line.cut(10), &PLAIN), "abcdef世界\n");
        let line = Line::new(&ASCII).with(Role::Plain, "abcdef");
        assert_eq!(rendered(&line.cut(5), &ASCII), "ab...\n");
        assert_eq!(rendered(&line.cut(2), &ASCII), "ab\n");
    }

    #[test]
    fn lines_fold_between_words() {
        let line = Line::new(&PLAIN)
            .with(Role::Plain, "one two")
            .with(Role::Title, "! three");
        let texts = |width| -> Vec<String> {
            line.wrap(width, 2)
                .iter()
                .map(|line| rendered(line, &PLAIN))
                .collect()
        };
        assert_eq!(texts(40), ["one two! three\n"]);
        assert_eq!(texts(8), ["one two!\n", "  three\n"]);
        assert_eq!(texts(5), ["one\n", "  two\n", "  !\n", "  thr\n", "  ee\n"]);
    }

    proptest! {
        #[test]
        fn any_text_fits(
            parts in prop::collection::vec(any::<String>(), 0..4),
            width in 1_usize..60,
            indent in 0_usize..20,
            unicode in any::<bool>(),
        ) {
            let style = Style { width, color: false, unicode };
            let roles = [Role::Title, Role::Plain, Role::Address, Role::Light];
            let mut line = Line::new(&style);
            for (part, role) in parts.iter().zip(roles) {
                line.push(role, part);
            }
            let mut text = String::new();
            line.render(&style, &mut text);
            for folded in line.wrap(width, indent) {
                // A character of two columns cannot be split.
                prop_assert!(folded.width() <= width.max(2 + indent.min(width / 2)));
                folded.render(&style, &mut text);
            }
            for row in text.lines() {
                prop_assert!(display_width(row) <= width);
                prop_assert!(!row.chars().any(char::is_control));
            }
            let mut colored = String::new();
            line.render(&Style { color: true, ..style }, &mut colored);
            let mut plain = String::new();
            line.render(&style, &mut plain);
            prop_assert_eq!(strip_sgr(&colored), plain);
        }
    }
}
