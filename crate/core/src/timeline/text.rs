//! What a timeline tells on a terminal: findings, sources, maps.

use super::findings::called;
use super::model::{Source, Timeline};
use crate::report::{Align, Column, Line, Role, Style, Table, count, size, thousands};

/// Maps that the text lists.
const MAPS: usize = 10;
/// Findings that the text lists.
const FINDINGS: usize = 8;
/// Notes of one source.
const NOTES: usize = 6;

/// A time before or after the start.
fn seconds(ns: u64) -> String {
    format!(
        "{}.{:06} s",
        thousands(ns / 1_000_000_000),
        ns / 1_000 % 1_000_000
    )
}

/// Within how much a time is right.
fn error(ns: Option<u64>) -> String {
    match ns {
        None => "?".to_owned(),
        Some(ns) => super::findings::span(ns),
    }
}

fn folded(role: Role, indent: usize, hang: usize, said: &str, style: &Style, text: &mut String) {
    Line::new(style)
        .with(role, said)
        .fold(style, indent, hang, text);
}

/// The text; `output`: the file that was written, and its bytes.
#[must_use]
pub fn text(timeline: &Timeline, output: Option<(&str, u64)>, style: &Style) -> String {
    let mut text = String::new();
    head(timeline, style, &mut text);
    for finding in timeline.findings.iter().take(FINDINGS) {
        let mark = if finding.proved { "  " } else { "  perhaps: " };
        let said = format!("{mark}{}", finding.text);
        folded(Role::Plain, 0, 4, &said, style, &mut text);
    }
    if timeline.findings.len() > FINDINGS {
        let more = format!(
            "  {} more",
            thousands((timeline.findings.len() - FINDINGS) as u64)
        );
        folded(Role::Metadata, 0, 4, &more, style, &mut text);
    }
    text.push('\n');
    sources(timeline, style, &mut text);
    maps(timeline, style, &mut text);
    for note in &timeline.notes {
        folded(Role::Metadata, 0, 4, &format!("  {note}"), style, &mut text);
    }
    if let Some((path, bytes)) = output {
        let said = format!("  {path} written, {}", size(bytes));
        folded(Role::Plain, 0, 4, &said, style, &mut text);
    }
    text
}

fn head(timeline: &Timeline, style: &Style, text: &mut String) {
    let subject = &timeline.subject;
    let mut line = Line::new(style).with(Role::Title, "Timeline");
    if let Some(program) = &subject.program {
        line.push(Role::Plain, &format!("  {program}"));
    }
    if let Some(pid) = subject.pid {
        line.push(Role::Plain, &format!("  process {pid}"));
    }
    if let Some(version) = &subject.go_version {
        line.push(Role::Plain, &format!("  {version}"));
    }
    line.fold(style, 0, 2, text);
    let Some((first, last)) = timeline.extent else {
        return;
    };
    let mut said = format!(
        "  {} from {first} ns of CLOCK_MONOTONIC on",
        seconds(last - first)
    );
    if let Some(wall) = timeline.wall {
        said.push_str(&format!(
            "; wall clock known to {}",
            super::findings::span(wall.error_ns)
        ));
    }
    folded(Role::Metadata, 0, 2, &said, style, text);
}

fn sources(timeline: &Timeline, style: &Style, text: &mut String) {
    let mut table = Table::new(vec![
        Column::new("source", Align::Left, Role::Plain),
        Column::new("records", Align::Right, Role::Plain),
        Column::new("from", Align::Right, Role::Plain),
        Column::new("lasts", Align::Right, Role::Plain),
        Column::new("error", Align::Right, Role::Plain),
    ]);
    let first = timeline.extent.map_or(0, |(first, _)| first);
    let cells = |of: &Source| {
        let placed = of.extent.filter(|_| of.refused.is_none());
        let lasts = |(begin, end): (u64, u64)| seconds(end.saturating_sub(begin));
        [
            of.kind.word().to_owned(),
            thousands(of.records),
            placed.map_or_else(String::new, |(begin, _)| {
                seconds(begin.saturating_sub(first))
            }),
            placed.map_or_else(String::new, lasts),
            match placed {
                Some(_) => error(of.error_ns),
                None => "not shown".to_owned(),
            },
        ]
    };
    let rows: Vec<_> = timeline.sources.iter().map(cells).collect();
    for row in &rows {
        table.fit(row);
    }
    table.head(style).render(style, text);
    for (of, row) in timeline.sources.iter().zip(&rows) {
        table.row(style, row).render(style, text);
        let mut said = super::build::named(&of.path, "the live target");
        match &of.refused {
            Some(reason) => said.push_str(&format!(": left out, {reason}")),
            None => said.push_str(&format!(": {}", of.mapping)),
        }
        let role = if of.refused.is_some() {
            Role::Highlight
        } else {
            Role::Metadata
        };
        folded(role, 4, 2, &said, style, text);
        for note in of.notes.iter().take(NOTES) {
            folded(Role::Metadata, 4, 2, note, style, text);
        }
        if of.notes.len() > NOTES {
            let more = count((of.notes.len() - NOTES) as u64, "more note");
            folded(Role::Metadata, 4, 2, &more, style, text);
        }
    }
    text.push('\n');
}

fn maps(timeline: &Timeline, style: &Style, text: &mut String) {
    if timeline.maps.is_empty() {
        return;
    }
    let mut table = Table::new(vec![
        Column::new("growths", Align::Right, Role::Plain),
        Column::new("len", Align::Right, Role::Plain),
        Column::new("slots", Align::Right, Role::Plain),
        Column::new("allocated", Align::Right, Role::Plain),
        Column::new("reclaim", Align::Right, Role::Plain),
        Column::new("map", Align::Left, Role::Plain),
    ]);
    let figure = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), thousands);
    let bytes = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), size);
    let rows: Vec<_> = timeline
        .maps
        .iter()
        .take(MAPS)
        .map(|map| {
            [
                thousands(map.growths),
                figure(map.len),
                figure(map.capacity),
                bytes(map.allocated),
                bytes(map.reclaimable),
                called(map),
            ]
        })
        .collect();
    for row in &rows {
        table.fit(row);
    }
    table.head(style).render(style, text);
    for row in &rows {
        table.row(style, row).render(style, text);
    }
    if timeline.maps.len() > MAPS {
        let said = format!(
            "  {} of {} shown (-json, -o FILE)",
            MAPS,
            timeline.maps.len()
        );
        folded(Role::Metadata, 0, 2, &said, style, text);
    }
}
