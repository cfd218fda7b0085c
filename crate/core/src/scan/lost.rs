//! What a search could not read, and may therefore have missed.
//!
//! Words that are followed need not be pointers: that one leads nowhere is no loss. Where memory
//! belongs to the program for certain, a read that failed is one, whoever asked for it.

use crate::map::Defects;
use crate::memory::{Faults, PAGE, Span};

/// Sorts ranges and joins those that touch.
pub(crate) fn joined(mut ranges: Vec<Span>) -> Vec<Span> {
    ranges.retain(|range| range.len > 0);
    ranges.sort_unstable();
    let mut all: Vec<Span> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if range.start <= last.end() => {
                last.len = last.len.max(range.end() - last.start);
            }
            _ => all.push(range),
        }
    }
    all
}

/// Whether two ranges have a byte in common.
fn meets(one: Span, other: Span) -> bool {
    one.start < other.end() && other.start < one.end()
}

/// Adds a defect for each run of pages in which a read failed of what lies in `own`, memory of
/// the program by its own books: sorted and apart. Pages that a defect names already are left
/// out.
pub(crate) fn tell(faults: Faults, own: &[Span], defects: &mut Defects) {
    // A read that leaves it was of what only may be there: in a core even the rest of a
    // segment's last page is missing.
    let belongs = |read: &Span| {
        let behind = own.partition_point(|range| range.start <= read.start);
        let last = behind.checked_sub(1).and_then(|last| own.get(last));
        last.is_some_and(|range| read.end() <= range.end())
    };
    let known: Vec<u64> = defects.kept().iter().map(|defect| defect.address).collect();
    let pages = |read: &Span| {
        let start = read.start & !(PAGE - 1);
        let end = read.end().saturating_add(PAGE - 1) & !(PAGE - 1);
        Span {
            start,
            len: end - start,
        }
    };
    let told = |read: &Span| known.iter().any(|address| pages(read).contains(*address));
    let failed: Vec<Span> = faults
        .reads
        .into_iter()
        .filter(belongs)
        .chain(faults.lost)
        .filter(|read| !told(read))
        .collect();
    for run in joined(failed.iter().map(pages).collect()) {
        let inside = failed.iter().filter(|read| meets(run, **read));
        let first = inside.map(|read| read.start).min();
        defects.push(
            "memory-unreadable",
            first.unwrap_or(run.start),
            "readable memory of the program",
            format!("cannot read all of {} bytes", run.len),
            "maps, types and holders that are told from there",
        );
    }
    if faults.more {
        defects.push(
            "memory-unreadable",
            0,
            "readable memory of the program",
            "more reads failed than are kept",
            "maps, types and holders that are told from there",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, len: u64) -> Span {
        Span { start, len }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = vec![
            span(0x30, 0x10),
            span(0x10, 0x10),
            span(0x20, 8),
            span(0x50, 0),
        ];
        assert_eq!(joined(ranges), [span(0x10, 0x18), span(0x30, 0x10)]);
        assert_eq!(joined(vec![span(0, 9), span(2, 3)]), [span(0, 9)]);
    }

    #[test]
    fn reads_of_the_program_s_memory_are_losses() {
        let own = joined(vec![span(0x10000, 0x4000), span(0x20000, 0x1000)]);
        let mut defects = Defects::default();
        defects.push("stack-unreadable", 0x13010, "", "", "");
        let faults = Faults {
            reads: vec![
                // Elsewhere, in front of it, across its ends, its last bytes, twice a page.
                span(0x5000, 8),
                span(0xfff8, 8),
                span(0x1fff8, 16),
                span(0x13ff8, 16),
                span(0x20ff0, 16),
                span(0x11008, 8),
                span(0x11000, 8),
                span(0x12000, 8),
                // Told of already.
                span(0x13000, 0x20),
                span(0x21000, 8),
            ],
            lost: vec![span(0x7000, 8)],
            more: false,
        };
        tell(faults, &own, &mut defects);
        let told: Vec<u64> = defects.kept().iter().map(|one| one.address).collect();
        assert_eq!(told, [0x13010, 0x7000, 0x11000, 0x20ff0]);
        let mut none = Defects::default();
        tell(
            Faults {
                more: true,
                ..Faults::default()
            },
            &own,
            &mut none,
        );
        assert_eq!(none.total(), 1);
        tell(Faults::default(), &own, &mut none);
        assert_eq!(none.total(), 1);
    }
}
