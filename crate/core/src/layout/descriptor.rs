//! Map layouts from the runtime's type descriptors (`abi.MapType`), which every
//! binary has. Three forms follow the fields that all have in common; which one a
//! descriptor has is told by its own numbers, held against the sizes of its key,
//! elem and bucket.

use super::{Allocator, Header, Hmap, MapLayout, Part, SLOTS, Source, SwissMap};
use crate::binary::Record;
use crate::gotype::{MapDescriptor, TypeError, Types};
use crate::memory::Abi;

/// Values larger than this are kept outside the slot (abi.MapMaxKeyBytes,
/// abi.MapMaxElemBytes).
const INLINE_MAX: u64 = 128;

/// What one form of `abi.MapType` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    swiss: bool,
    unit_size: u64,
    key: (u64, u64),
    elem: (u64, u64),
    indirect: (bool, bool),
}

/// The layout of the map type whose descriptor is at `address` in the process.
///
/// # Errors
/// When there is no descriptor of a map type, or its numbers fit none of the known
/// forms.
pub fn descriptor_layout(types: &Types, address: u64) -> Result<MapLayout, TypeError> {
    let fail = |reason: String| TypeError {
        name: format!("at {address:#x}"),
        reason,
    };
    let abi = types.binary().abi();
    if abi != Abi::LE64 {
        return Err(fail(Record::UNDECLARED.into()));
    }
    let map = types.map_descriptor(address)?;
    let minor = types.binary().minor();
    let form = form(abi, &map, minor)
        .ok_or_else(|| fail("its descriptor has none of the forms of go1.21 to go1.27".into()))?;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let part = |place: (u64, u64), head: crate::gotype::Head, indirect: bool| Part {
        offset: size(place.0),
        stride: size(place.1),
        size: head.size,
        indirect,
        pointers: head.pointer_bytes > 0,
    };
    let key = part(form.key, map.key, form.indirect.0);
    let elem = part(form.elem, map.elem, form.indirect.1);
    let unit_size = size(form.unit_size);
    // What leaves no trace in descriptors is taken by release; the newest stands for
    // one that is not known.
    let minor = minor.unwrap_or(u16::MAX);
    let header = if form.swiss {
        Header::Swiss(SwissMap::go1_24())
    } else {
        let hmap = if minor >= 24 {
            Hmap::go1_24(unit_size)
        } else {
            Hmap::go1_23(unit_size)
        };
        Header::Classic(Hmap {
            // runtime.loadFactorNum: an integer division cut it short in go1.21.
            load_factor: if minor == 21 { (12, 2) } else { (13, 2) },
            ..hmap
        })
    };
    let layout = MapLayout {
        abi,
        source: Source::RuntimeTypes,
        unit_size,
        key,
        elem,
        has_pointers: [key, elem]
            .iter()
            .any(|part| part.indirect || part.pointers),
        allocator: Allocator {
            malloc_headers: minor >= 22,
            pointer_size: abi.pointer_size,
        },
        header,
    };
    layout.validate().map_err(fail)?;
    Ok(layout)
}

/// The form whose numbers fit; where several do, the one of release `minor`.
fn form(abi: Abi, map: &MapDescriptor, minor: Option<u16>) -> Option<Form> {
    let forms = [classic(abi, map), swiss(abi, map), strided(abi, map)];
    let mut fitting = forms.iter().flatten();
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(*only),
        (Some(_), Some(_)) => {
            let by_release = match minor? {
                ..=23 => 0,
                24..=26 => 1,
                _ => 2,
            };
            forms.get(by_release).copied().flatten()
        }
        _ => None,
    }
}

/// Bytes a value takes of its slot.
fn slot(size: u64, indirect: bool) -> u64 {
    if indirect { 8 } else { size }
}

/// Up to go1.23, and go1.24 and go1.25 with `noswissmap`: KeySize uint8, ValueSize
/// uint8, BucketSize uint16, Flags uint32 at 80. Keys follow the tophashes, elems the
/// keys, the overflow pointer comes last.
fn classic(abi: Abi, map: &MapDescriptor) -> Option<Form> {
    let field = |offset, size| abi.uint_at(&map.bytes, offset, size);
    let (key, elem, unit_size, flags) =
        (field(80, 1)?, field(81, 1)?, field(82, 2)?, field(84, 4)?);
    let indirect = (flags & 1 != 0, flags & 2 != 0);
    let slots = SLOTS as u64;
    let fits = flags <= 0x1f
        && unit_size == map.unit.size
        && indirect == (map.key.size > INLINE_MAX, map.elem.size > INLINE_MAX)
        && key == slot(map.key.size, indirect.0)
        && elem == slot(map.elem.size, indirect.1)
        && unit_size == (8 + slots * (key + elem) + 8).next_multiple_of(8);
    fits.then(|| Form {
        swiss: false,
        unit_size,
        key: (8, key),
        elem: (8 + slots * key, elem),
        indirect,
    })
}

/// go1.24 to go1.26: GroupSize, SlotSize, ElemOff at 80, Flags uint32 at 104. Slots
/// hold a key and an elem each.
fn swiss(abi: Abi, map: &MapDescriptor) -> Option<Form> {
    let word = |offset| abi.uint_at(&map.bytes, offset, 8);
    let (unit_size, stride, elem_at) = (word(80)?, word(88)?, word(96)?);
    let flags = abi.uint_at(&map.bytes, 104, 4)?;
    let indirect = (flags & 4 != 0, flags & 8 != 0);
    let fits = flags <= 0xf
        && unit_size == map.unit.size
        && unit_size <= super::UNIT_MAX
        && indirect == (map.key.size > INLINE_MAX, map.elem.size > INLINE_MAX)
        && slot(map.key.size, indirect.0) <= elem_at
        && elem_at.checked_add(slot(map.elem.size, indirect.1))? <= stride
        && is_group(unit_size, stride.checked_mul(SLOTS as u64)?);
    fits.then(|| Form {
        swiss: true,
        unit_size,
        key: (8, stride),
        elem: (8 + elem_at, stride),
        indirect,
    })
}

/// go1.27: GroupSize, KeysOff, KeyStride, ElemsOff, ElemStride, ElemOff at 80, Flags
/// uint32 at 128. With `mapsplitgroup` all keys stand before all elems.
fn strided(abi: Abi, map: &MapDescriptor) -> Option<Form> {
    let word = |offset| abi.uint_at(&map.bytes, offset, 8);
    let (unit_size, keys, key_stride) = (word(80)?, word(88)?, word(96)?);
    let (elems, elem_stride) = (word(104)?, word(112)?);
    let flags = abi.uint_at(&map.bytes, 128, 4)?;
    let indirect = (flags & 4 != 0, flags & 8 != 0);
    let slots = SLOTS as u64;
    let key_size = slot(map.key.size, indirect.0);
    let elem_size = slot(map.elem.size, indirect.1);
    let bounded = [unit_size, keys, key_stride, elems, elem_stride]
        .iter()
        .all(|value| *value <= super::UNIT_MAX);
    if !bounded
        || flags > 0xf
        || keys != 8
        || unit_size != map.unit.size
        || indirect != (map.key.size > INLINE_MAX, map.elem.size > INLINE_MAX)
    {
        return None;
    }
    let together = key_stride == elem_stride
        && key_size <= elems.checked_sub(keys)?
        && elems - keys + elem_size <= key_stride
        && is_group(unit_size, slots * key_stride);
    let split = key_size <= key_stride
        && elem_size <= elem_stride
        && elems >= keys + slots * key_stride
        && elems + slots * elem_stride <= unit_size
        && unit_size <= elems + slots * elem_stride + 8;
    (together || split).then_some(Form {
        swiss: true,
        unit_size,
        key: (keys, key_stride),
        elem: (elems, elem_stride),
        indirect,
    })
}

/// A group is its control word and its slots; behind slots that end in nothing there is
/// a pad, lest a pointer to the end points elsewhere.
fn is_group(unit_size: u64, slots: u64) -> bool {
    let exact = slots.saturating_add(8).next_multiple_of(8);
    unit_size == exact || unit_size == exact + 8
}

/// What two layouts of one map type disagree about, a sentence each. Where both can be
/// had this must be empty.
#[must_use]
pub fn compare(one: &MapLayout, other: &MapLayout) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            differences.push(format!(
                "{what}: {a} by {}, {b} by {}",
                one.source.word(),
                other.source.word()
            ));
        }
    };
    differ(
        "bucket size",
        one.unit_size.to_string(),
        other.unit_size.to_string(),
    );
    differ("key", format!("{:?}", one.key), format!("{:?}", other.key));
    differ(
        "elem",
        format!("{:?}", one.elem),
        format!("{:?}", other.elem),
    );
    differ(
        "pointers",
        one.has_pointers.to_string(),
        other.has_pointers.to_string(),
    );
    differ(
        "allocator",
        format!("{:?}", one.allocator),
        format!("{:?}", other.allocator),
    );
    differ(
        "header",
        format!("{:?}", one.header),
        format!("{:?}", other.header),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gotype::Head;

    fn map(key: u64, elem: u64, unit: u64, fields: &[(usize, u64, usize)]) -> MapDescriptor {
        let head = |size| Head::of_size(size);
        let mut bytes = [0; 136];
        for (offset, value, size) in fields {
            bytes[*offset..offset + size].copy_from_slice(&value.to_le_bytes()[..*size]);
        }
        MapDescriptor {
            key: head(key),
            elem: head(elem),
            unit: head(unit),
            unit_address: 0,
            key_address: 0,
            elem_address: 0,
            bytes,
        }
    }

    #[test]
    fn each_form_is_told_by_its_own_numbers() {
        // map[string]int of go1.23, go1.26, go1.27 and go1.27 with mapsplitgroup.
        let classic = map(
            16,
            8,
            208,
            &[(80, 16, 1), (81, 8, 1), (82, 208, 2), (84, 12, 4)],
        );
        let swiss = map(
            16,
            8,
            200,
            &[(80, 200, 8), (88, 24, 8), (96, 16, 8), (104, 1, 4)],
        );
        let strided = map(
            16,
            8,
            200,
            &[
                (80, 200, 8),
                (88, 8, 8),
                (96, 24, 8),
                (104, 24, 8),
                (112, 24, 8),
                (120, 16, 8),
            ],
        );
        let split = map(
            16,
            8,
            200,
            &[
                (80, 200, 8),
                (88, 8, 8),
                (96, 16, 8),
                (104, 136, 8),
                (112, 8, 8),
            ],
        );
        let found = |map| form(Abi::LE64, map, None).unwrap();
        assert!(!found(&classic).swiss);
        assert_eq!(
            (found(&classic).key, found(&classic).elem),
            ((8, 16), (136, 8))
        );
        assert_eq!((found(&swiss).key, found(&swiss).elem), ((8, 24), (24, 24)));
        assert_eq!(
            (found(&strided).key, found(&strided).elem),
            ((8, 24), (24, 24))
        );
        assert_eq!((found(&split).key, found(&split).elem), ((8, 16), (136, 8)));
    }

    #[test]
    fn numbers_that_contradict_the_key_are_refused() {
        let wrong = map(
            200,
            8,
            208,
            &[(80, 16, 1), (81, 8, 1), (82, 208, 2), (84, 12, 4)],
        );
        assert_eq!(form(Abi::LE64, &wrong, Some(23)), None);
        let wild = map(
            8,
            8,
            136,
            &[(80, u64::MAX, 8), (88, u64::MAX, 8), (96, u64::MAX, 8)],
        );
        assert_eq!(form(Abi::LE64, &wild, Some(25)), None);
    }
}
