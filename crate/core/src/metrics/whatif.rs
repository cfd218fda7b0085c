//! One bucket or group as the runtime lays it out, and what it would be under
//! other conditions: the other family, another elem, a pointer instead of a value.

use serde::Serialize;

use super::{Context, LayoutFacts, Stats};
use crate::layout::{Header, MapLayout, Part, SLOTS};

/// Values above this many bytes are kept outside the slot
/// (abi.MapMaxKeyBytes, abi.MapMaxElemBytes).
const INLINE_MAX: u64 = 128;

/// What `go-map-layout` says.
#[derive(Debug, Clone, Serialize)]
pub struct LayoutReport {
    /// `gomapscope.layout/1`.
    pub schema: &'static str,
    /// The toolchain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// `swiss` or `classic`.
    pub family: &'static str,
    /// The map's type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The key.
    pub key: Value,
    /// The elem.
    pub elem: Value,
    /// How a slot is laid out and how we know.
    pub layout: LayoutFacts,
    /// The bucket or group, part by part, without gaps.
    pub parts: Vec<Piece>,
    /// Bytes of the bucket or group that hold neither key, elem nor bookkeeping.
    pub padding: u64,
    /// Bucket size / 8.
    pub bytes_per_slot: f64,
    /// Whether the collector scans the storage.
    pub has_pointers: bool,
    /// Live slots / slots where the map grows: 6.5 (or 6) of 8, or 7 of 8.
    pub max_load: f64,
    /// Bytes of storage per entry just before growth and just after.
    pub bytes_per_entry: (f64, f64),
    /// What other conditions would cost.
    pub what_if: Vec<WhatIf>,
}

/// A key or an elem.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its alignment in bytes.
    pub align: u64,
    /// Whether the slot holds a pointer to it.
    pub indirect: bool,
}

/// One part of a bucket or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// `ctrl`, `tophash`, `keys`, `elems`, `slots`, `key 0`, `elem 0`, `padding`, `overflow`.
    pub name: String,
}

/// The same map under another condition.
#[derive(Debug, Clone, Serialize)]
pub struct WhatIf {
    /// The condition.
    pub change: String,
    /// Bytes of a bucket or group then.
    pub bucket_size: u64,
    /// Bytes per slot then, and the difference to now in percent of now.
    pub bytes_per_slot: f64,
    /// (then - now) / now.
    pub relative: f64,
    /// Storage of this map then, in bytes, at its present number of buckets
    /// and entries; absent for a type without a map, and for the other family,
    /// which would have another number of buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Classic,
    Slots,
    Split,
}

/// A slot's key or elem for the sizing rules: size and alignment in the slot.
#[derive(Debug, Clone, Copy)]
struct Cell {
    size: u64,
    align: u64,
}

impl Cell {
    fn of(size: u64, align: u64, pointer: u64) -> Self {
        if size > INLINE_MAX {
            Self {
                size: pointer,
                align: pointer,
            }
        } else {
            Self { size, align }
        }
    }
}

/// Bytes of a bucket or group (cmd/compile/internal/reflectdata/map.go, map_noswiss.go).
fn unit_size(shape: Shape, key: Cell, elem: Cell, pointer: u64) -> u64 {
    let slots = SLOTS as u64;
    let up = |value: u64, align: u64| value.next_multiple_of(align.max(1));
    match shape {
        Shape::Classic => {
            let keys = 8 + slots * key.size;
            let elems = up(keys, elem.align) + slots * elem.size;
            up(
                up(elems, pointer) + pointer,
                key.align.max(elem.align).max(pointer),
            )
        }
        Shape::Slots => {
            let align = key.align.max(elem.align);
            let at = up(key.size, elem.align);
            // A struct never ends in a field of no size: its address would lie
            // in the next object (cmd/compile/internal/types/size.go).
            let tail = u64::from(elem.size == 0 && key.size > 0);
            let slot = up(at + elem.size + tail, align);
            let group_tail = u64::from(slot == 0);
            up(up(8, align) + slots * slot + group_tail, align.max(8))
        }
        Shape::Split => {
            let elems = up(up(8, key.align) + slots * key.size, elem.align);
            let tail = u64::from(elem.size == 0);
            up(
                elems + slots * elem.size + tail,
                key.align.max(elem.align).max(8),
            )
        }
    }
}

fn shape_of(layout: &MapLayout) -> Shape {
    match layout.header {
        Header::Classic(_) => Shape::Classic,
        Header::Swiss(_) if interleaved(layout) => Shape::Slots,
        Header::Swiss(_) => Shape::Split,
    }
}

fn interleaved(layout: &MapLayout) -> bool {
    layout.key.stride == layout.elem.stride
        && layout.elem.offset.saturating_sub(layout.key.offset) < layout.key.stride
}

/// The parts of a bucket or group in address order, gaps as `padding`.
fn pieces(layout: &MapLayout) -> Vec<Piece> {
    let mut parts: Vec<Piece> = Vec::new();
    let mut add = |offset: usize, size: usize, name: String| {
        parts.push(Piece {
            offset: offset as u64,
            size: size as u64,
            name,
        });
    };
    let (key, elem) = (layout.key, layout.elem);
    let abi = layout.abi;
    match layout.header {
        Header::Classic(hmap) => {
            add(0, SLOTS, "tophash".into());
            add(hmap.overflow.offset, hmap.overflow.size, "overflow".into());
        }
        Header::Swiss(map) => add(map.ctrl.offset, map.ctrl.size, "ctrl".into()),
    }
    if interleaved(layout) {
        for index in 0..SLOTS {
            let at = |part: Part| part.offset + index * part.stride;
            add(at(key), key.slot_size(abi), format!("key {index}"));
            add(at(elem), elem.slot_size(abi), format!("elem {index}"));
        }
    } else {
        add(key.offset, SLOTS * key.slot_size(abi), "keys".into());
        add(elem.offset, SLOTS * elem.slot_size(abi), "elems".into());
    }
    parts.sort_by_key(|piece| (piece.offset, piece.size));
    let mut whole = Vec::new();
    let mut at = 0;
    for piece in parts {
        if piece.offset > at {
            whole.push(Piece {
                offset: at,
                size: piece.offset - at,
                name: "padding".into(),
            });
        }
        at = at.max(piece.offset + piece.size);
        whole.push(piece);
    }
    let end = layout.unit_size as u64;
    if end > at {
        whole.push(Piece {
            offset: at,
            size: end - at,
            name: "padding".into(),
        });
    }
    whole
}

/// Describes a layout. `aligns` are the alignments of key and elem; `stats` the
/// figures of a map of this type, if one was named.
#[must_use]
pub fn layout_report(
    layout: &MapLayout,
    context: &Context,
    aligns: (u64, u64),
    stats: Option<&Stats>,
) -> LayoutReport {
    let pointer = u64::from(layout.abi.pointer_size);
    let parts = pieces(layout);
    let unit = layout.unit_size as u64;
    let max_load = match layout.header {
        Header::Classic(hmap) => {
            hmap.load_factor.0 as f64 / hmap.load_factor.1 as f64 / SLOTS as f64
        }
        Header::Swiss(_) => 7.0 / 8.0,
    };
    let per_slot = unit as f64 / SLOTS as f64;
    let key = Cell::of(layout.key.size, aligns.0, pointer);
    let elem = Cell::of(layout.elem.size, aligns.1, pointer);
    let shape = shape_of(layout);
    let mut what_if = Vec::new();
    let mut suppose = |change: &str, shape_then: Shape, key: Cell, elem: Cell, outside: u64| {
        let then = unit_size(shape_then, key, elem, pointer);
        if then == unit {
            return;
        }
        let same_shape =
            shape_then == shape || shape_then != Shape::Classic && shape != Shape::Classic;
        let storage = stats.filter(|_| same_shape).map(|stats| {
            let units = stats.buckets.count;
            units
                .saturating_mul(then)
                .saturating_add(stats.len.saturating_mul(outside))
        });
        what_if.push(WhatIf {
            change: change.to_owned(),
            bucket_size: then,
            bytes_per_slot: then as f64 / SLOTS as f64,
            relative: then as f64 / unit as f64 - 1.0,
            storage,
        });
    };
    if shape != Shape::Classic {
        suppose("classic (up to Go 1.23)", Shape::Classic, key, elem, 0);
    }
    if shape != Shape::Slots {
        suppose("Swiss (Go 1.24 and later)", Shape::Slots, key, elem, 0);
    }
    if shape != Shape::Split {
        suppose("mapsplitgroup (Go 1.27)", Shape::Split, key, elem, 0);
    }
    let nothing = Cell { size: 0, align: 1 };
    let reference = Cell {
        size: pointer,
        align: pointer,
    };
    let slot_of = |size: u64| layout.allocator.slot(size, false);
    if elem.size > 0 {
        suppose("a set: elem struct{}", shape, key, nothing, 0);
    }
    if !layout.elem.indirect && layout.elem.size > pointer {
        let change = format!("elem *{}", context.elem_type);
        suppose(&change, shape, key, reference, slot_of(layout.elem.size));
    }
    if !layout.key.indirect && layout.key.size > 2 * pointer {
        let change = format!("key *{}", context.key_type);
        suppose(&change, shape, reference, elem, slot_of(layout.key.size));
    }
    if layout.elem.indirect {
        let inline = Cell {
            size: INLINE_MAX,
            align: aligns.1,
        };
        suppose("elem of 128 bytes, inline", shape, key, inline, 0);
    }
    LayoutReport {
        schema: "gomapscope.layout/1",
        go_version: context.go_version.clone(),
        family: layout.family().word(),
        type_name: context.type_name.clone(),
        key: Value {
            type_name: context.key_type.clone(),
            size: layout.key.size,
            align: aligns.0,
            indirect: layout.key.indirect,
        },
        elem: Value {
            type_name: context.elem_type.clone(),
            size: layout.elem.size,
            align: aligns.1,
            indirect: layout.elem.indirect,
        },
        layout: LayoutFacts {
            source: layout.source.word(),
            slot_size: layout.slot_size(),
            bucket_size: unit,
            indirect_key: layout.key.indirect,
            indirect_elem: layout.elem.indirect,
        },
        padding: parts
            .iter()
            .filter(|p| p.name == "padding")
            .map(|p| p.size)
            .sum(),
        parts,
        bytes_per_slot: per_slot,
        has_pointers: layout.has_pointers,
        max_load,
        bytes_per_entry: (per_slot / max_load, 2.0 * per_slot / max_load),
        what_if,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cell(size: u64, align: u64) -> Cell {
        Cell { size, align }
    }

    // Expected sizes are what the Go toolchains put into the map types'
    // descriptors: BucketSize of go1.23.9, GroupSize of go1.27.3, and of the
    // same with GOEXPERIMENT=mapsplitgroup.
    #[test]
    fn sizes_are_those_of_the_toolchains() {
        let word = cell(8, 8);
        let string = cell(16, 8);
        let empty = cell(0, 1);
        for (key, elem, classic, slots, split) in [
            (string, word, 208, 200, 200),
            (word, word, 144, 136, 136),
            (cell(4, 4), cell(4, 4), 80, 72, 72),
            (cell(1, 1), cell(1, 1), 32, 24, 24),
            (cell(1, 1), word, 88, 136, 80),
            (word, cell(1, 1), 88, 136, 80),
            (word, empty, 80, 136, 80),
            (string, cell(2, 2), 160, 200, 152),
            (cell(8, 1), cell(6, 2), 128, 120, 120),
            (empty, empty, 16, 16, 16),
        ] {
            assert_eq!(
                unit_size(Shape::Classic, key, elem, 8),
                classic,
                "{key:?} {elem:?}"
            );
            assert_eq!(
                unit_size(Shape::Slots, key, elem, 8),
                slots,
                "{key:?} {elem:?}"
            );
            assert_eq!(
                unit_size(Shape::Split, key, elem, 8),
                split,
                "{key:?} {elem:?}"
            );
        }
    }
}
