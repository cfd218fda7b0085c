//! The heat strip: how full a map is from its first bucket to its last.

use crate::metrics::{HeatCell, Stats};

use super::number::{count, percent_of, thousands};
use super::stats::unit;
use super::style::{Line, Role, Style, display_width};

/// Levels from hardly to entirely live; nothing live has a mark of its own.
const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const LETTERS: [&str; 9] = [".", ":", "-", "=", "+", "*", "#", "%", "@"];

/// Lines a strip should not exceed on one screen.
const LINES: usize = 8;

/// How many cells a strip should have for a map of this many buckets: one per
/// bucket while that fits one screen.
#[must_use]
pub fn heat_cells(buckets: u64, style: &Style) -> u64 {
    let label = thousands(buckets).len();
    buckets.min((per_line(style, label) * LINES) as u64)
}

/// Cells of one line: a multiple of 8 where there is room for that.
fn per_line(style: &Style, label: usize) -> usize {
    let frame = if style.unicode { 0 } else { 2 };
    let room = style.columns().saturating_sub(2 + label + 2 + frame).max(1);
    if room >= 16 { room - room % 8 } else { room }
}

/// The strip, with the position of each line's first bucket, the scale and
/// the legend.
#[must_use]
pub fn heat_strip(cells: &[HeatCell], style: &Style) -> String {
    strip(cells, "bucket", style)
}

/// The strip of a map, in its family's own word for a bucket.
#[must_use]
pub fn heat(stats: &Stats, cells: &[HeatCell], style: &Style) -> String {
    strip(cells, unit(stats), style)
}

fn strip(cells: &[HeatCell], noun: &str, style: &Style) -> String {
    let mut text = String::new();
    if cells.is_empty() {
        Line::new(style)
            .with(Role::Plain, &format!("  no {noun}s"))
            .render(style, &mut text);
        return text;
    }
    let label = cells
        .iter()
        .map(|cell| display_width(&thousands(cell.first)))
        .max()
        .unwrap_or(1);
    for row in cells.chunks(per_line(style, label)) {
        let first = row.first().map_or(0, |cell| cell.first);
        let first = thousands(first);
        let mut line = Line::new(style);
        line.space(2 + label.saturating_sub(first.len()));
        line.push(Role::Metadata, &first);
        line.space(2);
        if !style.unicode {
            // The mark of nothing live is a space; a frame shows where it is.
            line.push(Role::Metadata, "|");
        }
        for cell in row {
            let (role, mark) = mark(cell, style);
            line.push(role, mark);
        }
        if !style.unicode {
            line.push(Role::Metadata, "|");
        }
        line.render(style, &mut text);
    }
    for line in legend(cells, noun, style) {
        line.fold(style, 2, 2, &mut text);
    }
    text
}

fn mark(cell: &HeatCell, style: &Style) -> (Role, &'static str) {
    let levels: &[&str] = if style.unicode { &BLOCKS } else { &LETTERS };
    if cell.live == 0 {
        return (Role::Metadata, if style.unicode { "·" } else { " " });
    }
    // 1..=slots live map to 0..levels, so that only a full run has the last.
    let slots = u128::from(cell.slots.max(cell.live));
    let steps = levels.len() as u128 - 1;
    let level = if cell.live >= cell.slots {
        steps
    } else {
        (u128::from(cell.live) * steps / slots).min(steps.saturating_sub(1))
    };
    let mark = usize::try_from(level)
        .ok()
        .and_then(|level| levels.get(level));
    (Role::Plain, mark.copied().unwrap_or("?"))
}

fn legend(cells: &[HeatCell], noun: &str, style: &Style) -> Vec<Line> {
    let sum = |part: fn(&HeatCell) -> u64| {
        cells
            .iter()
            .fold(0_u64, |sum, cell| sum.saturating_add(part(cell)))
    };
    let (buckets, live, slots) = (sum(|c| c.buckets), sum(|c| c.live), sum(|c| c.slots));
    let tombstones = sum(|c| c.tombstones);
    let cell = cells.first().map_or(0, |cell| cell.buckets);
    let mut scale = format!("a cell is {}", count(cell, noun));
    if let [.., last] = cells
        && last.buckets != cell
    {
        scale.push_str(&format!(" (the last {})", thousands(last.buckets)));
    }
    scale.push_str(&format!("   {}", count(buckets, noun)));
    scale.push_str(&format!("   live {}", percent_of(live, slots)));
    if tombstones > 0 {
        scale.push_str(&format!("   tombstones {}", percent_of(tombstones, slots)));
    }
    let (none, levels) = if style.unicode {
        ("·", BLOCKS.concat())
    } else {
        ("space", LETTERS.concat())
    };
    vec![
        Line::new(style).with(Role::Plain, &scale),
        Line::new(style).with(
            Role::Metadata,
            &format!("{none} nothing live, {levels} from hardly to all live"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{ASCII, PLAIN, check, golden, severe};
    use proptest::prelude::*;

    fn cells(live: &[u64]) -> Vec<HeatCell> {
        live.iter()
            .enumerate()
            .map(|(i, &live)| HeatCell {
                first: i as u64 * 1024,
                buckets: 1024,
                live,
                tombstones: 0,
                slots: 8192,
            })
            .collect()
    }

    #[test]
    fn levels_go_from_nothing_to_all() {
        let cells = cells(&[0, 1, 1171, 2400, 4096, 6000, 8191, 8192]);
        assert_eq!(
            heat_strip(&cells, &PLAIN),
            "      0  ·▁▂▃▄▆▇█\n\
             \x20 a cell is 1,024 buckets   8,192 buckets   live 45.9 %\n\
             \x20 · nothing live, ▁▂▃▄▅▆▇█ from hardly to all live\n"
        );
        assert!(heat_strip(&cells, &ASCII).starts_with("      0  | .:-+*%@|\n"));
    }

    #[test]
    fn long_strips_take_several_lines() {
        let text = heat_strip(&cells(&[100; 200]), &PLAIN);
        let rows: Vec<_> = text.lines().filter(|line| line.contains("▁▁")).collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[1].starts_with("   65,536  ▁"), "{text}");
        check(|style| heat_strip(&cells(&[100; 200]), style));
        let mut wave = cells(&(0..150).map(|i| (i * i * 7) % 8193).collect::<Vec<_>>());
        wave[149].buckets = 100;
        wave[3].tombstones = 4000;
        golden("heat", &heat(&severe(), &wave, &PLAIN));
        golden("heat-ascii", &heat(&severe(), &wave, &ASCII));
        check(|style| heat_strip(&[], style));
        let text = heat(&severe(), &cells(&[8]), &PLAIN);
        assert!(
            text.contains("a cell is 1,024 groups   1,024 groups   live <0.1 %"),
            "{text}"
        );
    }

    #[test]
    fn cells_are_chosen_to_fit_a_screen() {
        assert_eq!(heat_cells(3, &PLAIN), 3);
        assert_eq!(heat_cells(1 << 20, &PLAIN), 64 * 8);
        assert_eq!(heat_cells(1 << 20, &Style { width: 10, ..PLAIN }), 8);
    }

    proptest! {
        #[test]
        fn any_cells_render(
            numbers in prop::collection::vec(any::<[u64; 5]>(), 0..40),
            width in 1_usize..210,
            unicode in any::<bool>(),
        ) {
            let cells: Vec<HeatCell> = numbers
                .iter()
                .map(|&[first, buckets, live, tombstones, slots]| {
                    HeatCell { first, buckets, live, tombstones, slots }
                })
                .collect();
            let text = heat_strip(&cells, &Style { width, color: false, unicode });
            for line in text.lines() {
                prop_assert!(display_width(line) <= width);
            }
        }
    }
}
