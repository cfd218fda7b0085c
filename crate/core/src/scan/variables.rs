//! Where variables of packages lie: what modules say of it, held against the bitmaps that the
//! runtime made for it.

use crate::binary::{Module, modules};
use crate::gotype::Types;
use crate::map::Defects;
use crate::memory::{Memory, Span};

const LOST: &str = "variables of packages, and what they alone lead to";

/// All modules of the process, with `data` and `bss` that can be believed: as long as their
/// bitmaps (runtime.modulesinit makes a bit for each word), or inside of what the executable's
/// file lays out. Whatever contradicts that is a defect.
pub(super) fn modules_of(types: &Types, memory: &dyn Memory, defects: &mut Defects) -> Vec<Module> {
    let Ok(first) = types.module() else {
        return Vec::new();
    };
    let mut all = modules(types.binary(), memory, *first);
    if let Some(last) = all.last().filter(|last| last.next != 0) {
        defects.push(
            "module-unreadable",
            last.next,
            "the next of the process's modules",
            "none that makes sense, one met before, or one more than is looked at",
            LOST,
        );
    }
    let segments: Vec<Span> = types
        .binary()
        .segments()
        .into_iter()
        .map(|segment| Span {
            start: segment.start.wrapping_add(types.bias()),
            ..segment
        })
        .collect();
    for module in &mut all {
        let address = module.address;
        for (name, range, mask) in [
            ("data", &mut module.data, module.data_mask),
            ("bss", &mut module.bss, module.bss_mask),
        ] {
            if let Some(len) = contradicted(*range, mask) {
                defects.push(
                    "module-damaged",
                    address,
                    format!("{name} of {len} bytes, as its bitmap has it"),
                    format!("{} bytes at {:#x}", range.len, range.start),
                    LOST,
                );
                let inside =
                    |segment: &Span| range.start >= segment.start && range.end() <= segment.end();
                if !segments.iter().any(inside) {
                    range.len = range.len.min(len);
                }
            }
        }
    }
    all
}

/// The bytes that a bitmap (its bits, its address) is for, if the range has others. Before the
/// runtime has begun there are no bitmaps.
fn contradicted(range: Span, (bits, address): (u64, u64)) -> Option<u64> {
    let len = 8 * bits;
    let begun = bits != 0 || address != 0;
    (begun && range.len / 8 != bits).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_long_as_their_bitmaps() {
        let range = |len| Span { start: 0x1000, len };
        assert_eq!(contradicted(range(0x80), (16, 0x9000)), None);
        assert_eq!(contradicted(range(0x80), (0, 0)), None);
        assert_eq!(contradicted(range(0), (0, 0x9000)), None);
        assert_eq!(contradicted(range(0x88), (16, 0x9000)), Some(0x80));
        assert_eq!(contradicted(range(0x78), (16, 0x9000)), Some(0x80));
        assert_eq!(contradicted(range(0x80), (0, 0x9000)), Some(0));
    }
}
