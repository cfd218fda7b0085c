//! The text and the JSON document of `go-map-scan`.

use serde::Serialize;

use super::json::JsonRows;
use super::number::{count, percent, percent_of, size, thousands};
use super::stats::command_name;
use super::style::{Line, Role, Style, display_width};
use super::table::{Align, Column, Table};
use crate::map::Defect;
use crate::profile::Written;
use crate::scan::{Facts, Row, ScanReport, State, Totals, TypeTotals, type_text};

/// Types whose sums are shown.
const TYPES: usize = 5;
/// Defects shown; `-json` lists more.
const DEFECTS: usize = 4;
/// Types of JSON's `types`.
const JSON_TYPES: usize = 10_000;
/// Room below which a type goes to a line of its own.
const TYPE_ROOM: usize = 12;

/// What a scan is labelled with.
#[derive(Debug, Clone, Default)]
pub struct ScanContext {
    /// The toolchain.
    pub go_version: Option<String>,
    /// The architecture.
    pub arch: Option<String>,
    /// `swiss` or `classic`.
    pub family: Option<&'static str>,
    /// How long it took.
    pub seconds: f64,
    /// Threads of the process ran meanwhile.
    pub racing: bool,
    /// Why something could not be had: sentences.
    pub notes: Vec<String>,
    /// The profile that was written.
    pub profile: Option<Written>,
    /// The options that chose maps, as typed; empty if none did.
    pub filter: String,
    /// What commands of the console script name the process by; `None` in gdb.
    pub console: Option<String>,
}

/// The text of `go-map-scan`, `top` maps of it.
#[must_use]
pub fn scan(
    report: &mut ScanReport<'_>,
    facts: &Facts,
    context: &ScanContext,
    top: Option<u64>,
    style: &Style,
) -> String {
    let rows: Vec<Row> = report.rows(top, facts).collect();
    let page = Page {
        report,
        context,
        style,
    };
    let mut text = String::new();
    page.answer(&mut text);
    if !rows.is_empty() {
        text.push('\n');
        page.table(&rows, &mut text);
        page.foot(rows.len(), &mut text);
    }
    page.types(&mut text);
    page.doubts(&rows, &mut text);
    page.next(&rows, &mut text);
    text
}

struct Page<'a> {
    report: &'a ScanReport<'a>,
    context: &'a ScanContext,
    style: &'a Style,
}

/// Whether a figure of this row is a lower bound.
fn open(row: &Row) -> bool {
    row.at_least || row.reclaimable_range.is_some()
}

/// A size; a plus behind what is a lower bound.
fn bound(bytes: u64, open: bool) -> String {
    format!("{}{}", size(bytes), if open { "+" } else { "" })
}

impl Page<'_> {
    fn line(&self) -> Line {
        Line::new(self.style)
    }

    fn totals(&self) -> &Totals {
        &self.report.totals
    }

    fn answer(&self, text: &mut String) {
        let totals = self.totals();
        let mut line = self.line();
        if self.report.scan().interrupted {
            line.push(Role::Highlight, "Interrupted, this is only a part");
            line.push(Role::Plain, ": ");
        }
        let used = totals.live + totals.unknown;
        if totals.found == 0 {
            line.push(Role::Plain, "No map was found on the heap.");
            line.fold(self.style, 0, 2, text);
            return;
        }
        if totals.maps == 0 {
            let found = count(totals.found, "map");
            line.push(
                Role::Plain,
                &format!("None of {found} fits {}.", self.context.filter),
            );
            line.fold(self.style, 0, 2, text);
            return;
        }
        let whose = if self.context.filter.is_empty() {
            count(used, "map")
        } else {
            format!(
                "{} of {} in the process",
                thousands(used),
                count(totals.found, "map")
            )
        };
        let hold = if used == 1 { "holds" } else { "hold" };
        let them = if used == 1 { "it" } else { "them" };
        line.push(
            Role::Title,
            &format!(
                "{whose} {hold} {} of a heap of {}",
                bound(totals.allocated, totals.at_least > 0),
                size(totals.heap)
            ),
        );
        let sentence = if totals.reclaimable == 0 && totals.reclaimable_at_most.is_none() {
            format!("; rebuilding {them} would give back nothing.")
        } else {
            format!(
                "; rebuilding {them} would give back {} ({}).",
                bound(totals.reclaimable, totals.reclaimable_at_most.is_some()),
                percent_of(totals.reclaimable, totals.allocated)
            )
        };
        line.push(Role::Plain, &sentence);
        line.fold(self.style, 0, 2, text);
    }

    /// The cells of one row, the type apart.
    fn cells(row: &Row) -> [String; 5] {
        let reclaim = match (row.reclaimable, row.reclaimable_range) {
            (Some(bytes), _) => bound(bytes, row.at_least),
            (None, Some((from, _))) => bound(from, true),
            (None, None) => "?".to_owned(),
        };
        [
            reclaim,
            bound(row.allocated, row.at_least),
            thousands(row.len),
            row.hole_density.map_or_else(|| "-".to_owned(), percent),
            format!("{:#x}", row.address),
        ]
    }

    fn table(&self, rows: &[Row], text: &mut String) {
        let mut table = Table::new(vec![
            Column::new("reclaim", Align::Right, Role::Plain),
            Column::new("allocated", Align::Right, Role::Plain),
            Column::new("len", Align::Right, Role::Plain),
            Column::new("holes", Align::Right, Role::Plain),
            Column::new("address", Align::Left, Role::Address),
        ]);
        let cells: Vec<[String; 5]> = rows.iter().map(Self::cells).collect();
        for cells in &cells {
            table.fit(cells);
        }
        let room = self.style.columns().saturating_sub(table.width() + 2);
        table
            .columns
            .push(Column::new("type", Align::Left, Role::Plain));
        table.head(self.style).render(self.style, text);
        for (row, cells) in rows.iter().zip(&cells) {
            let name = type_text(row.name.as_ref(), &row.types, row.types_total);
            let beside = room >= TYPE_ROOM && display_width(&name) <= room;
            let mut laid: Vec<Line> = table
                .columns
                .iter()
                .zip(cells)
                .map(|(column, cell)| self.line().with(column.role, cell))
                .collect();
            let mut below = Vec::new();
            if beside {
                laid.push(self.line().with(Role::Plain, &name));
            } else {
                below.push(self.line().with(Role::Plain, &name));
            }
            table.lay(self.style, &laid).render(self.style, text);
            below.extend(self.place(row));
            if !below.is_empty() {
                let mut line = self.line();
                for (position, part) in below.iter().enumerate() {
                    if position > 0 {
                        line.push(Role::Plain, ", ");
                    }
                    line.append(part);
                }
                line.fold(self.style, 6, 2, text);
            }
        }
    }

    /// Who holds a map, where it came from, what is odd about it.
    fn place(&self, row: &Row) -> Vec<Line> {
        let mut parts = Vec::new();
        let dim = |text: &str| self.line().with(Role::Metadata, text);
        if row.state == State::Garbage {
            parts.push(dim("garbage"));
        }
        if let Some(holder) = &row.held_by {
            parts.push(dim("held by ").with(Role::Plain, holder));
        }
        if let Some(frame) = row.allocated_at.as_ref().and_then(|frames| frames.first()) {
            parts.push(dim("allocated at ").with(Role::Plain, frame));
        }
        if row.place == "stack" {
            parts.push(dim("on a stack"));
        }
        if row.writing {
            parts.push(self.line().with(Role::Highlight, "being written to"));
        }
        parts
    }

    fn foot(&self, shown: usize, text: &mut String) {
        let all = self.report.len();
        let mut line = self.line();
        if shown < all {
            line.push(
                Role::Metadata,
                &format!(
                    "{} of {} listed (-top N, -all, -type REGEX, -min SIZE, -sort allocated)",
                    thousands(shown as u64),
                    thousands(all as u64),
                ),
            );
            line.fold(self.style, 2, 2, text);
        }
    }

    fn types(&self, text: &mut String) {
        let types = &self.report.types;
        if types.len() < 2 {
            return;
        }
        let mut table = Table::new(vec![
            Column::new("reclaim", Align::Right, Role::Plain),
            Column::new("allocated", Align::Right, Role::Plain),
            Column::new("len", Align::Right, Role::Plain),
            Column::new("maps", Align::Right, Role::Plain),
            Column::new("by type", Align::Left, Role::Plain),
        ]);
        let rows: Vec<[String; 5]> = types
            .iter()
            .take(TYPES)
            .map(|of: &TypeTotals| {
                [
                    size(of.reclaimable),
                    size(of.allocated),
                    thousands(of.len),
                    thousands(of.maps),
                    type_text(of.name.as_ref(), &of.types, of.types_total),
                ]
            })
            .collect();
        for row in &rows {
            table.fit(row);
        }
        text.push('\n');
        table.head(self.style).render(self.style, text);
        for row in &rows {
            table.row(self.style, row).render(self.style, text);
        }
        if types.len() > TYPES {
            let more = count((types.len() - TYPES) as u64, "more type");
            let line = self
                .line()
                .with(Role::Metadata, &format!("and {more} (-json lists them)"));
            line.fold(self.style, 2, 2, text);
        }
    }

    /// What was not certain.
    fn doubts(&self, rows: &[Row], text: &mut String) {
        let totals = self.totals();
        let mut lines: Vec<Line> = Vec::new();
        let mut say = |sentence: String| lines.push(self.line().with(Role::Plain, &sentence));
        if totals.garbage > 0 {
            let listed = rows.iter().any(|row| row.state == State::Garbage);
            let hint = if listed { "" } else { "; -garbage lists them" };
            let more = count(totals.garbage, "more map");
            let are = if totals.garbage == 1 { "is" } else { "are" };
            say(format!(
                "{more} ({}) {are} garbage, which the next collection frees{hint}.",
                size(totals.garbage_allocated)
            ));
        }
        let structure = totals.not_estimated;
        if structure > 0 {
            say(format!(
                "Of {} the type is not known, so what a rebuild would give back is not counted.",
                count(structure, "map")
            ));
        }
        if totals.unknown > 0 {
            let why = match self.report.scan().interrupted {
                true => "the search was interrupted",
                false => "not every place that could refer to them could be read",
            };
            say(format!(
                "Whether {} are in use is not known: {why}.",
                count(totals.unknown, "map")
            ));
        }
        if rows.iter().any(open) || totals.at_least > 0 || totals.reclaimable_at_most.is_some() {
            say("A + means at least: parts of a map, or its exact type, are not known.".to_owned());
        }
        for note in &self.context.notes {
            say(note.clone());
        }
        let defects = &self.report.scan().defects;
        for defect in defects.kept().iter().take(DEFECTS) {
            lines.push(
                self.line()
                    .with(Role::Highlight, "defect ")
                    .with(Role::Plain, &format!("{} at ", defect.code))
                    .with(Role::Address, &format!("{:#x}", defect.address))
                    .with(
                        Role::Plain,
                        &format!(": {} expected, {} found", defect.expected, defect.found),
                    ),
            );
        }
        let more = defects.total().saturating_sub(DEFECTS as u64);
        if more > 0 {
            lines.push(self.line().with(
                Role::Plain,
                &format!("{}: -json lists them.", count(more, "more defect")),
            ));
        }
        if !lines.is_empty() {
            text.push('\n');
        }
        for line in lines {
            line.fold(self.style, 2, 2, text);
        }
    }

    fn next(&self, rows: &[Row], text: &mut String) {
        if let Some(written) = &self.context.profile {
            text.push('\n');
            let samples = count(written.samples as u64, "sample");
            let told = format!("Written: {} ({samples}); look at it:", written.path);
            let line = self.line().with(Role::Plain, &told);
            line.fold(self.style, 0, 6, text);
            let show = format!("go tool pprof -http=: {}", written.path);
            let line = self.line().with(Role::Plain, &show);
            line.fold(self.style, 6, 0, text);
        }
        // A type that is one of several is offered only where none is known.
        let known = rows
            .iter()
            .find_map(|row| Some((row, row.full_type.as_ref().or(row.name.as_ref())?)));
        let typed = known.or_else(|| {
            let offered = |row: &'_ &Row| !row.types.is_empty();
            rows.iter().find(offered).map(|row| (row, &row.types[0]))
        });
        let Some((row, name)) = typed else {
            return;
        };
        text.push('\n');
        let mut line = self.line();
        line.push(
            Role::Plain,
            &format!(
                "Next: {} {:#x} -type {}",
                command_name(self.context.console.as_deref(), "go-map-stats"),
                row.address,
                quoted(name)
            ),
        );
        line.fold(self.style, 0, 6, text);
    }
}

/// A type as `-type` takes it.
fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[derive(Serialize)]
struct Head<'a> {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
}

#[derive(Serialize)]
struct Tail<'a> {
    totals: &'a Totals,
    types: &'a [TypeTotals],
    types_total: usize,
    defects: &'a [Defect],
    defects_total: u64,
    interrupted: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    racing: bool,
    seconds: f64,
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
}

/// Writes the document of `go-map-scan -json`, row by row.
///
/// # Errors
///
/// What the writer returned.
pub fn scan_json<E>(
    report: &mut ScanReport<'_>,
    facts: &Facts,
    context: &ScanContext,
    top: Option<u64>,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let head = Head {
        schema: "gomapscope.scan/1",
        go_version: context.go_version.as_deref(),
        arch: context.arch.as_deref(),
        family: context.family,
    };
    let all = report.len() as u64;
    let mut document = JsonRows::begin(&head, "maps", write);
    for row in report.rows(top, facts) {
        document.row(&row)?;
    }
    let defects = &report.scan().defects;
    let types = &report.types;
    document.finish_with(
        &Tail {
            totals: &report.totals,
            types: types.get(..types.len().min(JSON_TYPES)).unwrap_or_default(),
            types_total: types.len(),
            defects: defects.kept(),
            defects_total: defects.total(),
            interrupted: report.scan().interrupted,
            racing: context.racing,
            seconds: (context.seconds * 1000.0).round() / 1000.0,
            notes: &context.notes,
            profile: context
                .profile
                .as_ref()
                .map(|written| written.path.as_str()),
        },
        top.is_some_and(|top| top < all),
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::command::Sort;
    use crate::scan::{Filter, Scan};

    fn text(scan: &Scan, style: &Style) -> String {
        let filter = Filter {
            sort: Sort::Address,
            garbage: true,
            ..Filter::default()
        };
        let mut report = ScanReport::new(scan, None, &filter);
        let mut facts = Facts::default();
        facts.held_by.insert(0x20, "main.\x1b[2Jcache".into());
        let context = ScanContext {
            notes: vec!["Some roots\nare missing.".to_owned()],
            ..ScanContext::default()
        };
        super::scan(&mut report, &facts, &context, Some(4), style)
    }

    #[test]
    fn lines_fit_and_hostile_text_is_harmless() {
        let scan = crate::scan::testing::found();
        for (width, unicode) in [(80, true), (40, false), (20, true), (1, false)] {
            let style = Style {
                width,
                color: false,
                unicode,
            };
            let text = text(&scan, &style);
            for line in text.lines() {
                assert!(display_width(line) <= width, "{width}: {line}");
                assert!(!line.chars().any(char::is_control));
            }
            assert!(unicode || text.is_ascii());
        }
    }

    #[test]
    fn a_screen_of_80_columns() {
        let style = Style {
            width: 80,
            color: false,
            unicode: true,
        };
        let text = text(&crate::scan::testing::found(), &style);
        let wanted = "5 maps hold 136.8 KiB of a heap of 1.0 MiB; rebuilding them would give back ";
        assert!(text.starts_with(wanted.trim_end()), "{text}");
        assert!(
            text.contains("\n      held by main.\\x1b[2Jcache\n"),
            "{text}"
        );
        assert!(text.contains("4 of 6 listed"), "{text}");
        assert!(text.contains("one of 2: map[int]int"), "{text}");
        assert!(text.contains("1 more map (58.6 KiB) is garbage"), "{text}");
        assert!(
            text.ends_with("\nNext: go-map-stats 0x10 -type 'map[int]int'\n"),
            "{text}"
        );
        let none = super::tests::text(&Scan::default(), &style);
        assert!(none.starts_with("No map was found"), "{none}");
    }

    #[test]
    fn the_document_is_one_line_of_json() {
        let scan = crate::scan::testing::found();
        let mut report = ScanReport::new(&scan, None, &Filter::default());
        let mut written = String::new();
        let done: Result<(), Infallible> = scan_json(
            &mut report,
            &Facts::default(),
            &ScanContext::default(),
            Some(2),
            &mut |part| {
                written.push_str(part);
                Ok(())
            },
        );
        done.unwrap();
        assert_eq!(written.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value["schema"], "gomapscope.scan/1");
        assert_eq!(value["maps"].as_array().unwrap().len(), 2);
        assert_eq!(
            value["maps"][0]["reclaimable_range"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(value["truncated"], true);
        assert_eq!(value["totals"]["garbage"], 1);
    }
}
