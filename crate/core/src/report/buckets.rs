//! The text of `go-map-buckets`: one row per bucket or group.

use crate::metrics::{BucketRow, HeatCell, Stats};

use super::heat::heat;
use super::number::thousands;
use super::stats::{reservation, unit};
use super::style::{Line, Role, Style};
use super::table::{Align, Column, Table};

/// From this width on, rows also tell tombstones and empty slots apart.
const WIDE: usize = 100;
/// From this width on, rows also show the fill as a bar.
const VERY_WIDE: usize = 160;
/// Rows measured at either end of a list.
const SAMPLE: usize = 512;
/// Slots of a bucket.
const SLOTS: u8 = 8;

/// What `go-map-buckets` shows.
#[derive(Debug, Clone)]
pub struct BucketsReport {
    /// The map.
    pub stats: Stats,
    /// The rows to show.
    pub rows: Vec<BucketRow>,
    /// Buckets in the walk.
    pub total: u64,
    /// Rows that passed `-only` and `-range`; `rows` may be fewer.
    pub matched: u64,
    /// The heat strip, when it was asked for.
    pub heat: Option<Vec<HeatCell>>,
    /// What `-only` and `-range` chose, as typed: `-only full -range 0:64`.
    pub filter: Option<String>,
}

/// The text of a whole report.
#[must_use]
pub fn buckets(report: &BucketsReport, style: &Style) -> String {
    let mut text = String::new();
    let stats = &report.stats;
    if let Some(cells) = &report.heat {
        text.push_str(&heat(stats, cells, style));
        if report.rows.is_empty() {
            text.push_str(&reservation(stats, style));
            return text;
        }
        text.push('\n');
    }
    let table = BucketsText::new(stats, report.total, &report.rows, style);
    if !report.rows.is_empty() {
        text.push_str(&table.head());
        text.push_str(&table.rows(&report.rows));
    }
    let shown = report.rows.len() as u64;
    text.push_str(&table.foot(shown, report.matched, report.filter.as_deref()));
    text
}

/// The table of a report whose rows come in portions: [`BucketsText::head`],
/// any number of [`BucketsText::rows`], [`BucketsText::foot`].
#[derive(Debug)]
pub struct BucketsText<'a> {
    stats: &'a Stats,
    total: u64,
    style: &'a Style,
    kinds: Vec<Kind>,
    table: Table,
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Place,
    Address,
    Marks,
    Live,
    Tombstones,
    Empty,
    Bar,
    Table,
    Chain,
}

impl<'a> BucketsText<'a> {
    /// Lays out the columns for a map of `total` buckets; `sample` holds the
    /// first rows, or all.
    #[must_use]
    pub fn new(stats: &'a Stats, total: u64, sample: &[BucketRow], style: &'a Style) -> Self {
        let columns = style.columns();
        let swiss = stats.family == "swiss";
        let mut kinds = vec![Kind::Index];
        if !swiss {
            kinds.push(Kind::Place);
        }
        kinds.extend([Kind::Address, Kind::Marks, Kind::Live]);
        if columns >= WIDE {
            kinds.extend([Kind::Tombstones, Kind::Empty]);
        }
        kinds.push(if swiss { Kind::Table } else { Kind::Chain });
        if columns >= VERY_WIDE {
            kinds.push(Kind::Bar);
        }
        let high = stats.addresses.as_ref().map_or(0, |place| place.high);
        let address = format!("{high:#x}").len();
        let index = thousands(total.saturating_sub(1)).len();
        let tables = stats.swiss.as_ref().map_or(0, |swiss| swiss.dir_len);
        let directory = thousands(tables.saturating_sub(1)).len();
        let table = Table::new(
            kinds
                .iter()
                .map(|kind| match kind {
                    Kind::Index => {
                        Column::new(unit(stats), Align::Right, Role::Plain).at_least(index)
                    }
                    Kind::Place => {
                        Column::new("kind", Align::Left, Role::Plain).at_least(6 + index)
                    }
                    Kind::Address => {
                        Column::new("address", Align::Left, Role::Address).at_least(address)
                    }
                    Kind::Marks => {
                        Column::new("slots", Align::Left, Role::Plain).at_least(usize::from(SLOTS))
                    }
                    Kind::Live => Column::new("live", Align::Right, Role::Plain),
                    Kind::Tombstones => Column::new("tombstones", Align::Right, Role::Plain),
                    Kind::Empty => Column::new("empty", Align::Right, Role::Plain),
                    Kind::Bar => Column::new("fill", Align::Left, Role::Plain).at_least(16),
                    Kind::Table => {
                        Column::new("table", Align::Right, Role::Plain).at_least(directory)
                    }
                    Kind::Chain => Column::new("chain", Align::Left, Role::Metadata).at_least(12),
                })
                .collect(),
        );
        let mut text = Self {
            stats,
            total,
            style,
            kinds,
            table,
        };
        // Positions, addresses and tables are widest at the ends.
        let (first, last) = match sample.split_at_checked(SAMPLE) {
            Some((first, rest)) => (first, rest.get(rest.len().saturating_sub(SAMPLE)..)),
            None => (sample, None),
        };
        for row in first.iter().chain(last.unwrap_or_default()) {
            let cells: Vec<String> = text
                .kinds
                .iter()
                .map(|kind| text.cell(*kind, row))
                .collect();
            text.table.fit(&cells);
        }
        text
    }

    /// The line of headings.
    #[must_use]
    pub fn head(&self) -> String {
        let mut text = String::new();
        self.table.head(self.style).render(self.style, &mut text);
        text
    }

    /// A portion of the rows.
    #[must_use]
    pub fn rows(&self, rows: &[BucketRow]) -> String {
        let mut text = String::with_capacity(rows.len() * 64);
        for row in rows {
            let cells: Vec<Line> = self
                .kinds
                .iter()
                .zip(&self.table.columns)
                .map(|(kind, column)| match kind {
                    Kind::Marks => self.marks(row),
                    kind => Line::new(self.style).with(column.role, &self.cell(*kind, row)),
                })
                .collect();
            self.table
                .lay(self.style, &cells)
                .render(self.style, &mut text);
        }
        text
    }

    /// How many were shown of how many, what the marks mean, and what keeps
    /// the figures from being exact.
    #[must_use]
    pub fn foot(&self, shown: u64, matched: u64, filter: Option<&str>) -> String {
        let mut text = String::new();
        let units = format!("{}s", unit(self.stats));
        let mut line = Line::new(self.style);
        if self.total == 0 {
            let why = match (self.stats.address, self.stats.interrupted) {
                (0, _) => "a nil map has none",
                (_, true) => "none was read",
                _ => "the storage comes with the first insert",
            };
            line.push(Role::Plain, &format!("no {units}: {why}"));
        } else {
            let filter = filter.map(str::trim).filter(|filter| !filter.is_empty());
            let mut said = format!("{} of {}", thousands(shown), thousands(matched));
            if let Some(filter) = filter {
                said.push_str(&format!(
                    " {units} shown, chosen by {filter} from {}",
                    thousands(self.total)
                ));
            } else if matched == self.total {
                said.push_str(&format!(" {units} shown"));
            } else {
                said.push_str(&format!(" {units} shown, {} in all", thousands(self.total)));
            }
            line.push(Role::Plain, &said);
            if shown < matched {
                line.push(
                    Role::Metadata,
                    " (-limit N, -all, -range A:B, -only full, -heat)",
                );
            }
        }
        line.fold(self.style, 2, 2, &mut text);
        if shown > 0 {
            self.legend().fold(self.style, 2, 0, &mut text);
        }
        text.push_str(&reservation(self.stats, self.style));
        text
    }

    fn cell(&self, kind: Kind, row: &BucketRow) -> String {
        match kind {
            Kind::Index => thousands(row.index),
            Kind::Place => match (row.kind, row.parent) {
                ("overflow", Some(parent)) => format!("  + of {}", thousands(parent)),
                ("overflow", None) => "  +".to_owned(),
                (kind, _) => kind.to_owned(),
            },
            Kind::Address => format!("{:#x}", row.address),
            Kind::Marks => row.marks.clone(),
            Kind::Live => row.live.to_string(),
            Kind::Tombstones => row.tombstones.to_string(),
            Kind::Empty => row
                .marks
                .chars()
                .filter(|mark| *mark == 'E')
                .count()
                .to_string(),
            Kind::Bar => {
                let full = if self.style.unicode { "██" } else { "##" };
                full.repeat(usize::from(row.live.min(SLOTS)))
            }
            Kind::Table => row.table.map_or_else(String::new, thousands),
            Kind::Chain => match row.chain {
                None | Some(0) => String::new(),
                Some(chain) => format!("{} overflow", thousands(chain)),
            },
        }
    }

    fn marks(&self, row: &BucketRow) -> Line {
        let mut line = Line::new(self.style);
        // A full word of 8 slots is all there is; more would be a defect of ours.
        for mark in row.marks.chars().take(usize::from(SLOTS)) {
            let (role, shown) = glyph(mark, self.style);
            line.push(role, shown);
        }
        line
    }

    fn legend(&self) -> Line {
        let mut line = Line::new(self.style);
        let mut marks = vec![('L', "live"), ('E', "empty"), ('T', "tombstone")];
        let growing = self
            .stats
            .classic
            .as_ref()
            .is_some_and(|classic| classic.growth != "none");
        if growing {
            marks.push(('V', "evacuated"));
        }
        if !self.stats.exact || self.stats.defects_total > 0 {
            marks.push(('?', "neither"));
        }
        for (position, (mark, word)) in marks.into_iter().enumerate() {
            if position > 0 {
                line.space(3);
            }
            let (role, shown) = glyph(mark, self.style);
            line.push(role, shown);
            line.push(Role::Metadata, &format!(" {word}"));
        }
        line
    }
}

/// How a slot's mark is shown.
fn glyph(mark: char, style: &Style) -> (Role, &'static str) {
    match (mark, style.unicode) {
        ('L', true) => (Role::Plain, "█"),
        ('L', false) => (Role::Plain, "#"),
        ('E', true) => (Role::Metadata, "·"),
        ('E', false) => (Role::Metadata, "."),
        ('T', _) => (Role::Light, "x"),
        ('V', true) => (Role::Metadata, "▒"),
        ('V', false) => (Role::Metadata, "v"),
        _ => (Role::Highlight, "?"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::display_width;
    use crate::report::testing::{self, ASCII, PLAIN, WIDE, check, golden, strip_sgr};

    fn row(index: u64, kind: &'static str, marks: &str) -> BucketRow {
        let of = |wanted| marks.chars().filter(|mark| *mark == wanted).count() as u8;
        BucketRow {
            index,
            address: 0x3c_5100_0000 + index * 136,
            kind,
            table: (kind == "group").then_some(index / 128),
            parent: None,
            marks: marks.to_owned(),
            live: of('L'),
            tombstones: of('T'),
            chain: None,
        }
    }

    fn swiss() -> BucketsReport {
        BucketsReport {
            stats: testing::severe(),
            rows: vec![
                row(0, "group", "EETEEELE"),
                row(1, "group", "EEEEEEEE"),
                row(2, "group", "TETEEEEE"),
                row(131_071, "group", "LLLLLLLL"),
            ],
            total: 131_072,
            matched: 131_072,
            heat: None,
            filter: None,
        }
    }

    fn classic() -> BucketsReport {
        let mut rows = vec![
            row(0, "main", "LLLLLLLL"),
            row(1, "overflow", "LLTEEEEE"),
            row(2, "main", "EEEEEEEE"),
            row(258, "old", "VVVVVVVV"),
            row(259, "old", "LLLTEEEE"),
        ];
        rows[0].chain = Some(1);
        rows[1].parent = Some(0);
        rows[2].chain = Some(0);
        BucketsReport {
            stats: testing::growing(),
            rows,
            total: 387,
            matched: 5,
            heat: None,
            filter: Some("-range 0:3".to_owned()),
        }
    }

    #[test]
    fn the_text_of_a_report() {
        golden("buckets-swiss", &buckets(&swiss(), &PLAIN));
        golden("buckets-swiss-wide", &buckets(&swiss(), &WIDE));
        golden("buckets-classic", &buckets(&classic(), &PLAIN));
        golden("buckets-classic-ascii", &buckets(&classic(), &ASCII));
        let mut report = swiss();
        report.stats = testing::damaged();
        report.rows[1].marks = "????????".to_owned();
        golden("buckets-damaged", &buckets(&report, &PLAIN));
    }

    #[test]
    fn every_style_holds() {
        check(|style| buckets(&swiss(), style));
        check(|style| buckets(&classic(), style));
        let mut report = swiss();
        report.heat = Some(vec![HeatCell {
            slots: 8,
            live: 3,
            buckets: 1,
            ..Default::default()
        }]);
        check(|style| buckets(&report, style));
        report.rows.clear();
        check(|style| buckets(&report, style));
        report.heat = None;
        check(|style| buckets(&report, style));
    }

    #[test]
    fn a_map_without_buckets_says_why() {
        let report = |stats| BucketsReport {
            stats,
            rows: Vec::new(),
            total: 0,
            matched: 0,
            heat: None,
            filter: None,
        };
        assert_eq!(
            buckets(&report(testing::nil()), &PLAIN),
            "  no groups: a nil map has none\n"
        );
        assert_eq!(
            buckets(&report(testing::never_used()), &PLAIN),
            "  no groups: the storage comes with the first insert\n"
        );
    }

    #[test]
    fn portions_give_the_same_text() {
        let report = swiss();
        let table = BucketsText::new(&report.stats, report.total, &report.rows[..1], &PLAIN);
        let mut text = table.head();
        for rows in report.rows.chunks(1) {
            text.push_str(&table.rows(rows));
        }
        text.push_str(&table.foot(4, report.matched, None));
        assert_eq!(text, buckets(&report, &PLAIN));
    }

    proptest! {
        #[test]
        fn any_rows_render(
            stats in testing::any_stats(),
            numbers in prop::collection::vec(any::<[u64; 4]>(), 0..5),
            marks in any::<String>(),
            filter in any::<Option<String>>(),
            width in 1_usize..210,
            unicode in any::<bool>(),
        ) {
            let rows: Vec<BucketRow> = numbers
                .iter()
                .map(|&[index, address, table, parent]| BucketRow {
                    index,
                    address,
                    kind: "overflow",
                    table: Some(table),
                    parent: Some(parent),
                    marks: marks.clone(),
                    live: index as u8,
                    tombstones: address as u8,
                    chain: Some(table),
                })
                .collect();
            let report =
                BucketsReport { stats, rows, total: 9, matched: 5, heat: None, filter };
            let style = Style { width, color: false, unicode };
            let text = buckets(&report, &style);
            for line in text.lines() {
                prop_assert!(display_width(line) <= width, "{}", line);
                prop_assert!(!line.chars().any(char::is_control));
                prop_assert!(unicode || line.is_ascii());
            }
            let colored = buckets(&report, &Style { color: true, ..style });
            prop_assert_eq!(strip_sgr(&colored), text);
        }
    }
}
