//! The text of `go-map-layout`.

use crate::metrics::LayoutReport;

use super::number::{count, percent_of, size};
use super::stats::source;
use super::style::{Line, Role, Style};
use super::table::{Align, Column, Table};

/// The text of a layout.
#[must_use]
pub fn layout(report: &LayoutReport, style: &Style) -> String {
    let mut text = String::new();
    let unit = if report.family == "swiss" {
        "group"
    } else {
        "bucket"
    };
    let facts = &report.layout;
    let mut put = |line: Line| line.cut(style.columns()).render(style, &mut text);
    let mut head = Line::new(style).with(Role::Title, &report.type_name);
    let version = report.go_version.as_deref().unwrap_or("Go version unknown");
    head.push(
        Role::Metadata,
        &format!("  {}, {version}, {}", report.family, source(facts)),
    );
    put(head);
    put(Line::new(style).with(
        Role::Plain,
        &format!(
            "A {unit} of 8 slots takes {} bytes, {} a slot; {} of padding ({}).",
            facts.bucket_size,
            trim(report.bytes_per_slot),
            report.padding,
            percent_of(report.padding, facts.bucket_size)
        ),
    ));
    put(Line::new(style));
    for (name, value) in [("key", &report.key), ("elem", &report.elem)] {
        let place = if value.indirect {
            "outside: the slot holds a pointer"
        } else {
            "in the slot"
        };
        let mut line = Line::new(style).with(Role::Metadata, &format!("  {name:<6}"));
        line.push(Role::Plain, &value.type_name);
        line.push(
            Role::Plain,
            &format!(
                "  {}, aligned to {}, {place}",
                count(value.size, "byte"),
                value.align
            ),
        );
        put(line);
    }
    let scan = if report.has_pointers {
        "scanned by the garbage collector"
    } else {
        "not scanned by the garbage collector: no pointers"
    };
    let (full, grown) = report.bytes_per_entry;
    put(Line::new(style).with(Role::Metadata, "  cost  ").with(
        Role::Plain,
        &format!(
            "{} to {} bytes an entry while it grows by inserts",
            trim(full),
            trim(grown)
        ),
    ));
    put(Line::new(style).with(Role::Plain, &format!("        {scan}")));
    put(Line::new(style));

    let mut table = Table::new(vec![
        Column::new("offset", Align::Right, Role::Plain),
        Column::new("bytes", Align::Right, Role::Plain),
        Column::new("part", Align::Left, Role::Plain),
    ]);
    let rows = folded(report);
    for row in &rows {
        table.fit(row);
    }
    put(table.head(style));
    for row in &rows {
        put(table.row(style, row));
    }
    if !report.what_if.is_empty() {
        put(Line::new(style));
        let mut table = Table::new(vec![
            Column::new(unit, Align::Right, Role::Plain),
            Column::new("a slot", Align::Right, Role::Plain),
            Column::new("change", Align::Right, Role::Plain),
            Column::new("this map", Align::Right, Role::Plain),
            Column::new("if it were", Align::Left, Role::Plain),
        ]);
        let rows: Vec<[String; 5]> = report
            .what_if
            .iter()
            .map(|what| {
                [
                    what.bucket_size.to_string(),
                    trim(what.bytes_per_slot),
                    format!("{:+.0} %", 100.0 * what.relative),
                    what.storage.map_or_else(|| "-".to_owned(), size),
                    what.change.clone(),
                ]
            })
            .collect();
        for row in &rows {
            table.fit(row);
        }
        put(table.head(style));
        for row in &rows {
            put(table.row(style, row));
        }
    }
    text
}

/// The parts, runs of slots that repeat folded into `slots 1 to 7: the same`.
fn folded(report: &LayoutReport) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let first_of_second = report
        .parts
        .iter()
        .find(|part| part.name == "key 1")
        .map(|p| p.offset);
    let stride = report.layout.slot_size;
    for part in &report.parts {
        let inside_repeat = first_of_second
            .is_some_and(|second| part.offset >= second && part.offset < second + 7 * stride);
        if inside_repeat {
            if part.name == "key 1" {
                rows.push([
                    part.offset.to_string(),
                    (7 * stride).to_string(),
                    "slots 1 to 7: the same".to_owned(),
                ]);
            }
            continue;
        }
        rows.push([
            part.offset.to_string(),
            part.size.to_string(),
            part.name.clone(),
        ]);
    }
    rows
}

/// A number with at most two decimals, none if they are zero.
fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Allocator, Header, MapLayout, Part, Source, SwissMap};
    use crate::memory::Abi;
    use crate::metrics::{Context, layout_report};
    use crate::report::testing::{ASCII, PLAIN, check};

    /// `map[uint64]bool` as Go 1.27 lays it out.
    fn report() -> LayoutReport {
        let part = |offset, size| Part {
            offset,
            stride: 16,
            size,
            indirect: false,
            pointers: false,
        };
        let layout = MapLayout {
            abi: Abi::LE64,
            source: Source::Dwarf,
            unit_size: 136,
            key: part(8, 8),
            elem: part(16, 1),
            has_pointers: false,
            allocator: Allocator {
                malloc_headers: true,
                pointer_size: 8,
            },
            header: Header::Swiss(SwissMap::go1_24()),
        };
        let context = Context {
            type_name: "map[uint64]bool".into(),
            key_type: "uint64".into(),
            elem_type: "bool".into(),
            go_version: Some("go1.27.3".into()),
            ..Context::default()
        };
        layout_report(&layout, &context, (8, 1), None)
    }

    #[test]
    fn padding_and_what_it_could_be_are_shown() {
        let text = layout(&report(), &PLAIN);
        assert!(
            text.contains("A group of 8 slots takes 136 bytes, 17 a slot; 56 of padding (41.2 %).")
        );
        assert!(text.contains("elem  bool  1 byte, aligned to 1, in the slot"));
        assert!(text.contains("      24    112  slots 1 to 7: the same"));
        assert!(text.contains("     88      11   -35 %         -  classic (up to Go 1.23)\n"));
        assert!(text.contains("     80      10   -41 %         -  mapsplitgroup (Go 1.27)\n"));
        assert!(layout(&report(), &ASCII).is_ascii());
    }

    #[test]
    fn a_layout_fits_every_terminal() {
        check(|style| layout(&report(), style));
    }
}
