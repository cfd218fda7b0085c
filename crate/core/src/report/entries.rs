//! The text of `go-map-entries`: `key: elem`, one entry a line.

use crate::metrics::{Entry, Stats};

use super::number::{count, thousands};
use super::stats::reservation;
use super::style::{Line, Role, Style, display_width};

/// From this width on, the address of the key stands before it.
const WIDE: usize = 120;

/// What `go-map-entries` shows.
#[derive(Debug, Clone)]
pub struct EntriesReport {
    /// The map.
    pub stats: Stats,
    /// The entries to show.
    pub rows: Vec<Entry>,
    /// Entries in the map, or entries with the key when `key` is set.
    pub matched: u64,
    /// What `-key` asked for.
    pub key: Option<String>,
}

/// The text of a whole report.
#[must_use]
pub fn entries(report: &EntriesReport, style: &Style) -> String {
    let lines = EntriesText::new(&report.stats, &report.rows, style);
    let mut text = lines.rows(&report.rows);
    let shown = report.rows.len() as u64;
    text.push_str(&lines.foot(shown, report.matched, report.key.as_deref()));
    text
}

/// The lines of a report whose rows come in portions: any number of
/// [`EntriesText::rows`], then [`EntriesText::foot`].
#[derive(Debug)]
pub struct EntriesText<'a> {
    stats: &'a Stats,
    style: &'a Style,
    /// Columns of the widest address; 0 when addresses are left out.
    address: usize,
    /// Columns of a key and its colon.
    key: usize,
}

impl<'a> EntriesText<'a> {
    /// Lays out the columns; `sample` holds the first entries, or all. A key
    /// takes two fifths of the line at most.
    #[must_use]
    pub fn new(stats: &'a Stats, sample: &[Entry], style: &'a Style) -> Self {
        let columns = style.columns();
        let widest = |width: &dyn Fn(&Entry) -> usize| sample.iter().map(width).max().unwrap_or(0);
        let address = match columns {
            WIDE.. => widest(&|entry| format!("{:#x}", entry.address).len()),
            _ => 0,
        };
        let most = (columns * 2 / 5).max(4);
        // The text of a key of a million characters is not measured whole.
        let key = widest(&|entry| {
            let mut line = Line::new(style);
            line.push(Role::Plain, head(&entry.key, most));
            line.width() + 1
        });
        Self {
            stats,
            style,
            address,
            key: key.min(most),
        }
    }

    /// A portion of the entries.
    #[must_use]
    pub fn rows(&self, rows: &[Entry]) -> String {
        let mut text = String::with_capacity(rows.len() * 48);
        for entry in rows {
            self.row(entry, &mut text);
        }
        text
    }

    fn row(&self, entry: &Entry, text: &mut String) {
        if !self.plain_row(entry, text) {
            self.any_row(entry, text);
        }
    }

    /// [`EntriesText::any_row`] of an entry that takes a column a byte and fits: most do,
    /// and there may be millions. `false`, and nothing written, where it does not.
    fn plain_row(&self, entry: &Entry, text: &mut String) -> bool {
        let plain = |text: &str| {
            text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
                && !text.is_empty()
                && !text.ends_with(' ')
        };
        let Entry { key, elem, address } = entry;
        let address = match self.address {
            0 => None,
            _ => Some(format!("{address:#x}")),
        };
        let before = address
            .as_ref()
            .map_or(0, |text| text.len().max(self.address) + 2);
        let wide = before.saturating_add(self.key).saturating_add(3);
        let fits = key.len() < self.key
            && self.style.columns().checked_sub(wide) >= Some(elem.len())
            && plain(key)
            && plain(elem);
        if !fits {
            return false;
        }
        text.push_str("  ");
        if let Some(address) = address {
            Role::Address.write(self.style, &address, text);
            spaces(text, before - address.len());
        }
        Role::Title.write(self.style, key, text);
        text.push(':');
        spaces(text, self.key - key.len());
        text.push_str(elem);
        text.push('\n');
        true
    }

    fn any_row(&self, entry: &Entry, text: &mut String) {
        let columns = self.style.columns();
        let mut line = Line::new(self.style);
        line.space(2);
        if self.address > 0 {
            let address = format!("{:#x}", entry.address);
            line.push(Role::Address, &address);
            line.space(self.address.saturating_sub(display_width(&address)) + 2);
        }
        let key = Line::new(self.style)
            .with(Role::Title, head(&entry.key, columns))
            .cut(self.key.saturating_sub(1));
        line.append(&key);
        line.push(Role::Plain, ":");
        line.space(self.key.saturating_sub(key.width() + 1) + 1);
        line.push(Role::Plain, head(&entry.elem, columns));
        line.render(self.style, text);
    }

    /// How many were shown of how many, and what keeps that from being exact.
    #[must_use]
    pub fn foot(&self, shown: u64, matched: u64, key: Option<&str>) -> String {
        let mut text = String::new();
        let mut line = Line::new(self.style);
        let looked = count(self.stats.slots.live, "entry");
        match (key, matched) {
            (Some(key), 0) if self.stats.address == 0 => {
                line.push(Role::Plain, &format!("{key}: not found, the map is nil"));
            }
            (Some(key), 0) => {
                line.push(Role::Plain, &format!("{key}: not found among {looked}"));
            }
            (Some(_), matched) => {
                line.push(Role::Plain, &format!("{} of {looked}", thousands(matched)));
            }
            (None, 0) if self.stats.address == 0 => {
                line.push(Role::Plain, "no entries: the map is nil");
            }
            (None, 0) => line.push(Role::Plain, "no entries"),
            (None, matched) => {
                let said = format!("{} of {} shown", thousands(shown), thousands(matched));
                line.push(Role::Plain, &said);
                if shown < matched {
                    line.push(Role::Metadata, " (-limit N, -all, -key K)");
                }
            }
        }
        line.fold(self.style, 2, 2, &mut text);
        text.push_str(&reservation(self.stats, self.style));
        text
    }
}

fn spaces(text: &mut String, count: usize) {
    const MANY: &str = "                                ";
    let mut left = count;
    while left > 0 {
        let some = left.min(MANY.len());
        text.push_str(MANY.get(..some).unwrap_or_default());
        left -= some;
    }
}

/// The beginning of a text: more than can be shown in so many columns.
fn head(text: &str, columns: usize) -> &str {
    // Marks without width take room in the text but not on the line; two may
    // follow a character.
    let most = (columns + 1).saturating_mul(3);
    match text.char_indices().nth(most) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::testing::{self, PLAIN, WIDE, check, golden, strip_sgr};

    fn entry(key: &str, elem: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            elem: elem.to_owned(),
            address: 0xc0_0001_4008,
        }
    }

    fn report() -> EntriesReport {
        EntriesReport {
            stats: testing::severe(),
            rows: vec![
                entry("\"a\"", "(*main.Session)(0xc000102000)"),
                entry("\"世界 with a key that is much too long\"", "nil"),
                entry("\"b\x1b[2J\"", &"0123456789".repeat(12)),
            ],
            matched: 1204,
            key: None,
        }
    }

    #[test]
    fn the_text_of_a_report() {
        golden("entries", &entries(&report(), &PLAIN));
        golden("entries-wide", &entries(&report(), &WIDE));
    }

    #[test]
    fn every_style_holds() {
        check(|style| entries(&report(), style));
    }

    #[test]
    fn the_foot_tells_what_was_found() {
        let stats = testing::severe();
        let foot =
            |shown, matched, key| EntriesText::new(&stats, &[], &PLAIN).foot(shown, matched, key);
        assert_eq!(
            foot(0, 0, Some("x\n")),
            "  x\\n: not found among 1,204 entries\n"
        );
        assert_eq!(foot(1, 1, Some("x")), "  1 of 1,204 entries\n");
        assert_eq!(foot(2, 2, None), "  2 of 2 shown\n");
        let nil = testing::nil();
        let text = EntriesText::new(&nil, &[], &PLAIN);
        assert_eq!(text.foot(0, 0, None), "  no entries: the map is nil\n");
        assert_eq!(
            text.foot(0, 0, Some("7")),
            "  7: not found, the map is nil\n"
        );
    }

    proptest! {
        #[test]
        fn the_quick_way_writes_the_same(
            texts in prop::collection::vec(("[ -~]{0,12}", "[ -~é]{0,40}", any::<u32>()), 1..4),
            width in 1_usize..210,
            color in any::<bool>(),
        ) {
            let style = Style { width, color, unicode: true };
            let rows: Vec<Entry> = texts
                .into_iter()
                .map(|(key, elem, address)| Entry { key, elem, address: address.into() })
                .collect();
            let stats = testing::severe();
            let report = EntriesText::new(&stats, &rows[..1], &style);
            for row in &rows {
                let mut expected = String::new();
                report.any_row(row, &mut expected);
                let mut text = String::new();
                if report.plain_row(row, &mut text) {
                    prop_assert_eq!(text, expected);
                } else {
                    prop_assert_eq!(text, "");
                }
            }
        }

        #[test]
        fn any_entries_render(
            texts in prop::collection::vec(any::<(String, String, u64)>(), 0..4),
            width in 1_usize..210,
            unicode in any::<bool>(),
        ) {
            let mut report = report();
            report.rows = texts
                .into_iter()
                .map(|(key, elem, address)| Entry { key, elem, address })
                .collect();
            let style = Style { width, color: false, unicode };
            let text = entries(&report, &style);
            for line in text.lines() {
                prop_assert!(display_width(line) <= width, "{}", line);
                prop_assert!(!line.chars().any(char::is_control));
                prop_assert!(unicode || line.is_ascii());
            }
            let colored = entries(&report, &Style { color: true, ..style });
            prop_assert_eq!(strip_sgr(&colored), text);
        }
    }
}
