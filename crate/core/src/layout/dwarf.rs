//! Map layouts from the structures that Go's linker makes for each map type
//! (cmd/link/internal/ld/dwarf.go, synthesizemaptypes): `hash<K,V>` and
//! `bucket<K,V>` for a classic map, `map<K,V>`, `table<K,V>` and the group for
//! a Swiss one.

use super::{Allocator, Field, Header, Hmap, MapLayout, Part, Source, SwissMap, Table};
use crate::binary::{Die, DieOffset, Dwarf};
use crate::gotype::{Kind, Type, TypeError, TypeRef, Types};
use crate::memory::Abi;

/// The layout of the map type `map_type`.
///
/// # Errors
/// When the type is no map or its description misses a field.
pub fn map_layout(types: &Types, map_type: &Type) -> Result<MapLayout, TypeError> {
    let fail = |reason: String| TypeError {
        name: map_type.name.clone(),
        reason,
    };
    let Kind::Map { key, elem } = map_type.kind else {
        return Err(fail("not a map".into()));
    };
    let offset = match map_type.at {
        TypeRef::Dwarf(offset) => offset,
        TypeRef::Runtime(address) => return super::descriptor_layout(types, address),
    };
    let dwarf = types
        .binary()
        .dwarf()
        .ok_or_else(|| fail("no debug information".into()))?;
    let minor = types.binary().minor();
    let reader = Structs {
        dwarf,
        abi: types.binary().abi(),
        minor,
    };
    let parts = Parts {
        key_size: types.get(key)?.size,
        elem_size: types.get(elem)?.size,
        key_full_name: types.get(key)?.full_name.clone(),
        elem_full_name: types.get(elem)?.full_name.clone(),
    };
    let mut layout = reader.map(offset, &parts).map_err(&fail)?;
    layout.key.pointers = types.has_pointers(key)?;
    layout.elem.pointers = types.has_pointers(elem)?;
    let inline_pointers = |part: Part| part.indirect || part.pointers;
    layout.has_pointers = inline_pointers(layout.key) || inline_pointers(layout.elem);
    layout.validate().map_err(fail)?;
    Ok(layout)
}

struct Parts {
    key_size: u64,
    elem_size: u64,
    key_full_name: String,
    elem_full_name: String,
}

struct Structs<'a> {
    dwarf: &'a Dwarf,
    abi: Abi,
    minor: Option<u16>,
}

impl Structs<'_> {
    fn load_factor(&self) -> (u64, u64) {
        let constant = |name| {
            self.dwarf
                .constant(name)
                .and_then(|value| u64::try_from(value).ok())
        };
        match (
            constant("runtime.loadFactorNum"),
            constant("runtime.loadFactorDen"),
        ) {
            (Some(num), Some(den)) if (1..=64).contains(&num) && (1..=8).contains(&den) => {
                (num, den)
            }
            // go1.21 computed it as (8 * 13 / 16) * 2, in integers.
            _ if self.minor == Some(21) => (12, 2),
            _ => (13, 2),
        }
    }

    /// Since go1.22 ("runtime: use per-object malloc headers"), told by the
    /// constant that came with them or by the span's field for large objects.
    fn allocator(&self) -> Allocator {
        let constants = [
            "runtime.minSizeForMallocHeader",
            "internal/runtime/gc.MinSizeForMallocHeader",
            "internal/runtime/gc.MallocHeaderSize",
            "runtime.mallocHeaderSize",
        ];
        let by_constant = constants
            .iter()
            .any(|name| self.dwarf.constant(name).is_some());
        let by_field = || {
            let span = self.dwarf.type_named("runtime.mspan")?;
            let span = self.plain(self.dwarf.die(span).ok()?).ok()?;
            Self::member(&span, "largeType").map(|_| ())
        };
        Allocator {
            malloc_headers: by_constant || by_field().is_some(),
            pointer_size: self.abi.pointer_size,
        }
    }

    fn die(&self, offset: Option<DieOffset>, what: &str) -> Result<Die, String> {
        let offset = offset.ok_or_else(|| format!("{what}: type missing"))?;
        self.dwarf
            .die(offset)
            .map_err(|error| format!("{what}: {error}"))
    }

    /// Follows typedefs to the entry behind them.
    fn plain(&self, mut die: Die) -> Result<Die, String> {
        for _ in 0..8 {
            if die.tag != gimli::DW_TAG_typedef {
                break;
            }
            die = self.die(die.type_ref, "typedef")?;
        }
        Ok(die)
    }

    /// The structure a pointer type points to.
    fn target(&self, pointer: &Die, what: &str) -> Result<Die, String> {
        let pointer = self.plain(pointer.clone())?;
        if pointer.tag != gimli::DW_TAG_pointer_type {
            return Err(format!("{what} is not a pointer"));
        }
        self.plain(self.die(pointer.type_ref, what)?)
    }

    fn member<'d>(die: &'d Die, name: &str) -> Option<&'d Die> {
        die.children
            .iter()
            .find(|child| child.name.as_deref() == Some(name))
    }

    fn required<'d>(die: &'d Die, name: &str) -> Result<&'d Die, String> {
        Self::member(die, name).ok_or_else(|| {
            format!(
                "{} has no field {name}",
                die.name.as_deref().unwrap_or("structure")
            )
        })
    }

    fn size_of(&self, die: &Die) -> Result<usize, String> {
        let plain = self.plain(die.clone())?;
        match plain.byte_size {
            Some(size) => usize::try_from(size).map_err(|_| format!("size {size}")),
            None => Ok(usize::from(self.abi.pointer_size)),
        }
    }

    fn field(&self, die: &Die, name: &str) -> Result<Field, String> {
        let member = Self::required(die, name)?;
        let offset = member
            .member_offset
            .ok_or_else(|| format!("{name}: offset missing"))?;
        let size = self.size_of(&self.die(member.type_ref, name)?)?;
        let offset = usize::try_from(offset).map_err(|_| format!("{name}: offset {offset}"))?;
        if size > 8 || offset > 1 << 16 {
            return Err(format!("{name}: {size} bytes at offset {offset}"));
        }
        Ok(Field { offset, size })
    }

    fn member_type(&self, die: &Die, name: &str) -> Result<Die, String> {
        self.die(Self::required(die, name)?.type_ref, name)
    }

    fn offset(die: &Die, name: &str) -> Result<usize, String> {
        Self::required(die, name)?
            .member_offset
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| *offset <= 1 << 16)
            .ok_or_else(|| format!("{name}: offset missing"))
    }

    fn map(&self, map_type: DieOffset, parts: &Parts) -> Result<MapLayout, String> {
        let mut die = self.die(Some(map_type), "map")?;
        // A named map type may stand as a typedef of the map entry.
        for _ in 0..4 {
            if die.go_key.is_some() {
                break;
            }
            die = self.die(die.type_ref, "map")?;
        }
        let header = self.target(&self.die(die.type_ref, "map header")?, "map header")?;
        if Self::member(&header, "oldbuckets").is_some() {
            self.classic(&header, parts)
        } else if Self::member(&header, "dirPtr").is_some() {
            self.swiss(&header, parts)
        } else {
            Err("neither a classic nor a Swiss map header: no oldbuckets, no dirPtr".into())
        }
    }

    /// The stride and indirection of an array of slots' keys or elems.
    fn slot(
        &self,
        slot_type: &Die,
        offset: usize,
        stride: usize,
        value: (&str, u64),
    ) -> Result<Part, String> {
        let (full_name, size) = value;
        let plain = self.plain(slot_type.clone())?;
        // The slot's type is the value's own, unless the value is too large for
        // a slot: then it is a pointer to it.
        let indirect = plain.tag == gimli::DW_TAG_pointer_type
            && slot_type.name.as_deref() != Some(full_name)
            && plain.type_ref.is_some_and(|target| {
                self.dwarf
                    .die(target)
                    .is_ok_and(|die| die.name.as_deref() == Some(full_name))
            });
        Ok(Part {
            offset,
            stride,
            size,
            indirect,
            pointers: true,
        })
    }

    fn array_elem(&self, array: &Die, what: &str) -> Result<(Die, usize), String> {
        let array = self.plain(array.clone())?;
        if array.tag != gimli::DW_TAG_array_type {
            return Err(format!("{what} is not an array"));
        }
        let count = array.children.iter().find_map(|child| child.count);
        if count != Some(super::SLOTS as u64) {
            return Err(format!("{what} has {count:?} elements, not 8"));
        }
        let elem = self.die(array.type_ref, what)?;
        let total = array
            .byte_size
            .ok_or_else(|| format!("{what}: size missing"))?;
        let stride =
            usize::try_from(total).map_err(|_| format!("{what}: {total} bytes"))? / super::SLOTS;
        Ok((elem, stride))
    }

    fn classic(&self, header: &Die, parts: &Parts) -> Result<MapLayout, String> {
        let bucket = self.target(&self.member_type(header, "buckets")?, "buckets")?;
        let unit_size = self.size_of(&bucket)?;
        let (key_type, key_stride) =
            self.array_elem(&self.member_type(&bucket, "keys")?, "keys")?;
        let (elem_type, elem_stride) =
            self.array_elem(&self.member_type(&bucket, "values")?, "values")?;
        let keys = Self::offset(&bucket, "keys")?;
        let values = Self::offset(&bucket, "values")?;
        Ok(MapLayout {
            abi: self.abi,
            source: Source::Dwarf,
            unit_size,
            key: self.slot(
                &key_type,
                keys,
                key_stride,
                (&parts.key_full_name, parts.key_size),
            )?,
            elem: self.slot(
                &elem_type,
                values,
                elem_stride,
                (&parts.elem_full_name, parts.elem_size),
            )?,
            has_pointers: true,
            allocator: self.allocator(),
            header: Header::Classic(Hmap {
                size: self.size_of(header)?,
                count: self.field(header, "count")?,
                flags: self.field(header, "flags")?,
                b: self.field(header, "B")?,
                noverflow: self.field(header, "noverflow")?,
                buckets: self.field(header, "buckets")?,
                oldbuckets: self.field(header, "oldbuckets")?,
                extra: self.field(header, "extra")?,
                overflow: self.field(&bucket, "overflow")?,
                load_factor: self.load_factor(),
            }),
        })
    }

    fn swiss(&self, header: &Die, parts: &Parts) -> Result<MapLayout, String> {
        let directory = self.target(&self.member_type(header, "dirPtr")?, "dirPtr")?;
        let table = self.target(&directory, "directory entry")?;
        let groups = self.plain(self.member_type(&table, "groups")?)?;
        let groups_at = Self::offset(&table, "groups")?;
        let group = self.target(&self.member_type(&groups, "data")?, "groups.data")?;
        let unit_size = self.size_of(&group)?;
        let key_value = (parts.key_full_name.as_str(), parts.key_size);
        let elem_value = (parts.elem_full_name.as_str(), parts.elem_size);
        let (key, elem) = if Self::member(&group, "slots").is_some() {
            let slots = Self::offset(&group, "slots")?;
            let (slot, stride) = self.array_elem(&self.member_type(&group, "slots")?, "slots")?;
            let slot = self.plain(slot)?;
            let key_at = Self::offset(&slot, "key")?;
            let elem_at = Self::offset(&slot, "elem")?;
            (
                self.slot(
                    &self.member_type(&slot, "key")?,
                    slots + key_at,
                    stride,
                    key_value,
                )?,
                self.slot(
                    &self.member_type(&slot, "elem")?,
                    slots + elem_at,
                    stride,
                    elem_value,
                )?,
            )
        } else {
            // Since go1.27, GOEXPERIMENT=mapsplitgroup: all keys, then all elems.
            let (key_type, key_stride) =
                self.array_elem(&self.member_type(&group, "keys")?, "keys")?;
            let (elem_type, elem_stride) =
                self.array_elem(&self.member_type(&group, "elems")?, "elems")?;
            let keys = Self::offset(&group, "keys")?;
            let elems = Self::offset(&group, "elems")?;
            (
                self.slot(&key_type, keys, key_stride, key_value)?,
                self.slot(&elem_type, elems, elem_stride, elem_value)?,
            )
        };
        let inside = |name| {
            let field = self.field(&groups, name)?;
            Ok::<_, String>(Field {
                offset: groups_at + field.offset,
                size: field.size,
            })
        };
        Ok(MapLayout {
            abi: self.abi,
            source: Source::Dwarf,
            unit_size,
            key,
            elem,
            has_pointers: true,
            allocator: self.allocator(),
            header: Header::Swiss(SwissMap {
                size: self.size_of(header)?,
                used: self.field(header, "used")?,
                dir_ptr: self.field(header, "dirPtr")?,
                dir_len: self.field(header, "dirLen")?,
                global_depth: self.field(header, "globalDepth")?,
                writing: self.field(header, "writing")?,
                ctrl: Field {
                    offset: self.field(&group, "ctrl")?.offset,
                    size: 8,
                },
                max_table_capacity: self
                    .dwarf
                    .constant("internal/runtime/maps.maxTableCapacity")
                    .and_then(|slots| u64::try_from(slots).ok())
                    .filter(|slots| slots.is_power_of_two() && *slots <= 1 << 15)
                    .unwrap_or(1024),
                table: Table {
                    size: self.size_of(&table)?,
                    used: self.field(&table, "used")?,
                    capacity: self.field(&table, "capacity")?,
                    growth_left: self.field(&table, "growthLeft")?,
                    local_depth: self.field(&table, "localDepth")?,
                    index: self.field(&table, "index")?,
                    groups_data: inside("data")?,
                    groups_length_mask: inside("lengthMask")?,
                },
            }),
        })
    }
}
