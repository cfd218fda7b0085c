//! Types described by the runtime's own descriptors, for those that the debug
//! information leaves out: up to go1.24 the linker writes no entry for a type
//! that only ever stands in interfaces, and reflect makes types at run time. In a
//! stripped binary they are all there is.

use super::{Kind, StructField, Type, TypeError, TypeRef, kind};
use crate::memory::{Abi, Memory, READ_MAX, ReadError, Span, read_available};

const NAME_MAX: usize = 4096;
const FIELDS_MAX: u64 = 4096;

/// How deep the name of a type that was made at run time is spelled out.
const SPELL_MAX: usize = 8;

/// `abi.MapType` (internal/abi/map_swiss.go of go1.27) is the longest of its forms.
const MAP_TYPE_SIZE: usize = 136;

/// Map types of one program that are looked at; cmd/go has 500.
const MAPS_MAX: usize = 1 << 20;

/// What a release writes behind `abi.Type` in a map's descriptor begins the same
/// everywhere: Key, Elem, Bucket or Group, Hasher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MapDescriptor {
    pub key: Head,
    pub elem: Head,
    /// The bucket or group type.
    pub unit: Head,
    pub unit_address: u64,
    pub key_address: u64,
    pub elem_address: u64,
    pub bytes: [u8; MAP_TYPE_SIZE],
}

/// abi.TFlagExtraStar: the name has a `*` too many.
const TFLAG_EXTRA_STAR: u8 = 1 << 1;
/// The data word of an interface is the value itself: in Kind up to go1.25
/// (abi.KindDirectIface), in TFlag since go1.26 (abi.TFlagDirectIface).
const DIRECT_IFACE: u8 = 1 << 5;

/// `abi.Type` (internal/abi/type.go), the same from go1.19 to go1.27.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub size: u64,
    /// Bytes up to the end of the last pointer; 0 without pointers.
    pub pointer_bytes: u64,
    pub align: u8,
    pub kind: u8,
    pub direct: bool,
    tflag: u8,
    name_offset: i32,
}

#[cfg(test)]
impl Head {
    /// A type of which nothing but the size matters.
    pub(crate) fn of_size(size: u64) -> Self {
        Self {
            size,
            pointer_bytes: 0,
            align: 8,
            kind: kind::STRUCT,
            direct: false,
            tflag: 0,
            name_offset: 0,
        }
    }
}

/// Reads descriptors of one process.
pub(super) struct Descriptors<'a> {
    pub abi: Abi,
    pub memory: &'a dyn Memory,
    /// `runtime.types`: what name offsets count from.
    pub base: u64,
}

impl Descriptors<'_> {
    fn pointer(&self) -> u64 {
        u64::from(self.abi.pointer_size)
    }

    /// Bytes of `abi.Type`; what follows depends on the kind.
    fn head_size(&self) -> u64 {
        4 * self.pointer() + 16
    }

    pub(super) fn head(&self, address: u64) -> Result<Head, ReadError> {
        let pointer = usize::from(self.abi.pointer_size);
        let mut bytes = [0; 48];
        let fault = ReadError::fault(address, bytes.len());
        let head = bytes.get_mut(..4 * pointer + 16).ok_or(fault.clone())?;
        self.memory.read(address, head)?;
        // Size, PtrBytes, Hash u32, TFlag, Align, FieldAlign, Kind, Equal, GCData, Str, PtrToThis.
        let field = |offset, size| self.abi.uint_at(head, offset, size).unwrap_or(0);
        let tflag = field(2 * pointer + 4, 1) as u8;
        let raw_kind = field(2 * pointer + 7, 1) as u8;
        Ok(Head {
            size: field(0, pointer),
            pointer_bytes: field(pointer, pointer),
            align: field(2 * pointer + 5, 1) as u8,
            kind: raw_kind & 0x1f,
            direct: (tflag | raw_kind) & DIRECT_IFACE != 0,
            tflag,
            name_offset: field(4 * pointer + 8, 4) as u32 as i32,
        })
    }

    /// An `abi.Name`: flags, a varint length, the bytes (since go1.17).
    fn name_at(&self, address: u64) -> Result<Option<String>, ReadError> {
        let mut prefix = [0; 3];
        self.memory.read(address, &mut prefix)?;
        let [_, low, high] = prefix;
        let (len, start) = match (low & 0x80, high & 0x80) {
            (0, _) => (usize::from(low), 2),
            (_, 0) => (usize::from(low & 0x7f) | usize::from(high) << 7, 3),
            _ => return Ok(None),
        };
        if len > NAME_MAX {
            return Ok(None);
        }
        let mut name = vec![0; len];
        self.memory.read(address.wrapping_add(start), &mut name)?;
        Ok(String::from_utf8(name).ok())
    }

    /// The type's name; `None` for a type made at run time, whose name is kept
    /// elsewhere.
    pub(super) fn name(&self, head: Head) -> Result<Option<String>, ReadError> {
        let Ok(offset) = u64::try_from(head.name_offset) else {
            return Ok(None);
        };
        let name = self.name_at(self.base.wrapping_add(offset))?;
        let name = name.map(|name| match name.strip_prefix('*') {
            Some(plain) if head.tflag & TFLAG_EXTRA_STAR != 0 => plain.to_owned(),
            _ => name,
        });
        // No type has an empty one: what is read there is none.
        Ok(name.filter(|name| !name.is_empty()))
    }

    /// The name, spelled out from its parts where the type was made at run time
    /// (reflect.MapOf and its like).
    pub(super) fn spelled(&self, address: u64, depth: usize) -> Option<String> {
        let head = self.head(address).ok()?;
        if let Some(name) = self.name(head).ok()? {
            return Some(name);
        }
        if depth >= SPELL_MAX {
            return None;
        }
        let extra = address.wrapping_add(self.head_size());
        let word = |index: u64| {
            let at = extra.wrapping_add(index * self.pointer());
            self.abi.read_pointer(self.memory, at).ok()
        };
        let part = |index: u64| self.spelled(word(index)?, depth + 1);
        Some(match head.kind {
            kind::MAP => format!("map[{}]{}", part(0)?, part(1)?),
            kind::POINTER => format!("*{}", part(0)?),
            kind::SLICE => format!("[]{}", part(0)?),
            kind::ARRAY => format!("[{}]{}", word(2)?, part(0)?),
            _ => return None,
        })
    }

    /// The descriptor of a map type with those it refers to, if that is what
    /// stands at `address`.
    pub(super) fn map(&self, address: u64) -> Result<Option<MapDescriptor>, ReadError> {
        let pointer = usize::from(self.abi.pointer_size);
        let head_size = self.head_size() as usize;
        let mut bytes = [0; MAP_TYPE_SIZE];
        // Shorter ones may end where memory ends.
        let failed = self.memory.faults();
        if self.memory.read(address, &mut bytes).is_err() {
            self.memory.forgive(failed);
            let short = bytes.get_mut(..head_size + 5 * pointer);
            self.memory.read(address, short.unwrap_or_default())?;
        }
        if !self.is_map_head(&bytes) {
            return Ok(None);
        }
        let word = |index: usize| {
            self.abi
                .pointer_at(&bytes, head_size + index * pointer)
                .unwrap_or(0)
        };
        let (key_address, elem_address, unit_address) = (word(0), word(1), word(2));
        let described = |address: u64| {
            if address == 0 || !address.is_multiple_of(self.pointer()) {
                return Ok(None);
            }
            Ok(Some(self.head(address)?).filter(|head| self.is_sound(head)))
        };
        let (Some(key), Some(elem), Some(unit)) = (
            described(key_address)?,
            described(elem_address)?,
            described(unit_address)?,
        ) else {
            return Ok(None);
        };
        if unit.kind != kind::STRUCT {
            return Ok(None);
        }
        Ok(Some(MapDescriptor {
            key,
            elem,
            unit,
            unit_address,
            key_address,
            elem_address,
            bytes,
        }))
    }

    /// Whether the numbers are those of a type.
    pub(super) fn is_sound(&self, head: &Head) -> bool {
        (kind::BOOL..=kind::UNSAFE_POINTER).contains(&head.kind)
            && head.pointer_bytes <= head.size
            && head.pointer_bytes.is_multiple_of(self.pointer())
            && head.align.is_power_of_two()
            && head.size <= 1 << 40
            && head.size.is_multiple_of(u64::from(head.align))
    }

    /// A map's value is a pointer: size, bytes of pointers and alignment say so.
    fn is_map_head(&self, bytes: &[u8]) -> bool {
        let pointer = usize::from(self.abi.pointer_size);
        let field = |offset, size| self.abi.uint_at(bytes, offset, size);
        let word = Some(self.pointer());
        field(2 * pointer + 7, 1).is_some_and(|kind| kind & 0x1f == u64::from(kind::MAP))
            && field(0, pointer) == word
            && field(pointer, pointer) == word
            && field(2 * pointer + 5, 1) == word
            && field(2 * pointer + 6, 1) == word
    }

    /// The descriptors of map types in `range`, with their names. The linker's list of
    /// types leaves out the named ones and is gone since go1.27: every aligned address
    /// is tried.
    ///
    /// With them the first place of `range` that could not be read, or that was not looked at
    /// any more as the user asked to stop: from there on some may be missing.
    pub(super) fn maps_in(&self, range: Span) -> (Vec<(u64, String)>, Option<u64>) {
        let mut found = Vec::new();
        let mut unread: Option<u64> = None;
        let mut miss = |at: u64| unread = Some(unread.map_or(at, |first| first.min(at)));
        // What is no type may lead out of the range.
        let fault = |error: &ReadError, here: u64| match error {
            ReadError::Interrupted => Some(here),
            ReadError::Fault { address, .. } => Some(*address).filter(|at| range.contains(*at)),
        };
        let head_size = self.head_size();
        let mut at = range.start.next_multiple_of(8);
        let mut buffer = Vec::new();
        while at.saturating_add(head_size) <= range.end() && found.len() < MAPS_MAX {
            let len = (range.end() - at).min(READ_MAX as u64);
            buffer.resize(len as usize, 0);
            // What is missing reads as 0, which is no kind.
            match read_available(self.memory, at, &mut buffer) {
                Ok(missing) => missing.iter().for_each(|hole| miss(hole.start)),
                Err(_) => {
                    miss(at);
                    break;
                }
            }
            let last = len - head_size;
            for offset in (0..=last).step_by(8) {
                let head = buffer.get(offset as usize..).unwrap_or_default();
                if !self.is_map_head(head) {
                    continue;
                }
                let address = at.wrapping_add(offset);
                let map = match self.map(address) {
                    Ok(Some(map)) => map,
                    Ok(None) => continue,
                    Err(error) => {
                        fault(&error, address).into_iter().for_each(&mut miss);
                        continue;
                    }
                };
                let inside = [map.key_address, map.elem_address, map.unit_address]
                    .iter()
                    .all(|address| range.contains(*address));
                if !inside {
                    continue;
                }
                match self.head(address).and_then(|head| self.name(head)) {
                    Ok(Some(name)) if !name.is_empty() => found.push((address, name)),
                    Ok(_) => {}
                    Err(error) => fault(&error, address).into_iter().for_each(&mut miss),
                }
            }
            if at.saturating_add(len) >= range.end() {
                break;
            }
            at = at.wrapping_add(last / 8 * 8 + 8);
        }
        (found, unread)
    }

    /// The descriptors of struct types in `range`, with their names, told as
    /// [`Descriptors::maps_in`] tells those of maps.
    pub(super) fn structs_in(&self, range: Span) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let pointer = self.pointer();
        let len = self.head_size() + 4 * pointer;
        let mut at = range.start.next_multiple_of(8);
        let mut buffer = Vec::new();
        while at.saturating_add(len) <= range.end() && found.len() < MAPS_MAX {
            let take = (range.end() - at).min(READ_MAX as u64);
            buffer.resize(take as usize, 0);
            if read_available(self.memory, at, &mut buffer).is_err() {
                break;
            }
            let last = take - len;
            for offset in (0..=last).step_by(8) {
                let bytes = buffer.get(offset as usize..).unwrap_or_default();
                let kind = bytes.get(2 * pointer as usize + 7);
                if kind.is_none_or(|kind| kind & 0x1f != kind::STRUCT) {
                    continue;
                }
                let address = at.wrapping_add(offset);
                // StructType: PkgPath, Fields (pointer, length, capacity).
                let word = |index: u64| {
                    let at = (self.head_size() + index * pointer) as usize;
                    self.abi.pointer_at(bytes, at).unwrap_or(u64::MAX)
                };
                let (fields, count, capacity) = (word(1), word(2), word(3));
                let fields_fit = count <= FIELDS_MAX
                    && count <= capacity
                    && (count == 0 || range.contains(fields));
                let head = match self.head(address) {
                    Ok(head) if fields_fit && self.is_sound(&head) => head,
                    _ => continue,
                };
                if let Ok(Some(name)) = self.name(head)
                    && !name.is_empty()
                    && (name.contains('.') || name.starts_with("struct {"))
                {
                    found.push((address, name));
                }
            }
            if at.saturating_add(take) >= range.end() {
                break;
            }
            at = at.wrapping_add(last / 8 * 8 + 8);
        }
        found
    }

    /// Describes the type at `address`. `resolve` finds the best description of
    /// a type this one refers to.
    pub(super) fn describe(
        &self,
        address: u64,
        resolve: &dyn Fn(u64) -> TypeRef,
    ) -> Result<Type, TypeError> {
        let fail = |reason: String| TypeError {
            name: format!("at {address:#x}"),
            reason,
        };
        let unreadable = |error: ReadError| fail(error.to_string());
        let head = self.head(address).map_err(unreadable)?;
        let name = self.name(head).map_err(unreadable)?;
        let extra = address.wrapping_add(self.head_size());
        let word = |index: u64| {
            let at = extra.wrapping_add(index * self.pointer());
            self.abi.read_pointer(self.memory, at).map_err(unreadable)
        };
        let kind = match head.kind {
            kind::BOOL => Kind::Bool,
            kind::INT..=kind::INT64 => Kind::Int,
            kind::UINT..=kind::UINT64 => Kind::Uint,
            kind::UINTPTR => Kind::Uintptr,
            kind::FLOAT32 | kind::FLOAT64 => Kind::Float,
            kind::COMPLEX64 | kind::COMPLEX128 => Kind::Complex,
            kind::STRING => Kind::String,
            kind::UNSAFE_POINTER => Kind::UnsafePointer,
            // ChanType: Elem, Dir.
            kind::CHAN => Kind::Chan {
                elem: Some(resolve(word(0)?)),
            },
            kind::FUNC => Kind::Func,
            kind::POINTER => Kind::Pointer(Some(resolve(word(0)?))),
            kind::SLICE => Kind::Slice {
                elem: resolve(word(0)?),
            },
            // ArrayType: Elem, Slice, Len.
            kind::ARRAY => Kind::Array {
                elem: resolve(word(0)?),
                len: word(2)?,
            },
            // InterfaceType: PkgPath, Methods.
            kind::INTERFACE => Kind::Interface {
                empty: word(2)? == 0,
            },
            kind::MAP => Kind::Map {
                key: resolve(word(0)?),
                elem: resolve(word(1)?),
            },
            kind::STRUCT => Kind::Struct {
                fields: self.fields(word(1)?, word(2)?, resolve, &fail)?,
            },
            other => return Err(fail(format!("kind {other} is none of Go's"))),
        };
        if head.size > 1 << 40 {
            return Err(fail(format!("a size of {} bytes is impossible", head.size)));
        }
        let name = name
            .or_else(|| self.spelled(address, 0))
            .unwrap_or_else(|| format!("<type {address:#x}>"));
        Ok(Type {
            full_name: name.clone(),
            name,
            size: head.size,
            kind,
            at: TypeRef::Runtime(address),
        })
    }

    /// StructType.Fields: Name, Typ, Offset each.
    fn fields(
        &self,
        address: u64,
        count: u64,
        resolve: &dyn Fn(u64) -> TypeRef,
        fail: &dyn Fn(String) -> TypeError,
    ) -> Result<Vec<StructField>, TypeError> {
        let pointer = usize::from(self.abi.pointer_size);
        if count > FIELDS_MAX {
            return Err(fail(format!("{count} fields")));
        }
        let mut bytes = vec![0; count as usize * 3 * pointer];
        let unreadable = |error: ReadError| fail(error.to_string());
        if !bytes.is_empty() {
            self.memory.read(address, &mut bytes).map_err(unreadable)?;
        }
        bytes
            .chunks_exact(3 * pointer)
            .map(|field| {
                let word = |index| self.abi.pointer_at(field, index * pointer).unwrap_or(0);
                let name = self.name_at(word(0)).map_err(unreadable)?;
                Ok(StructField {
                    name: name.unwrap_or_default(),
                    offset: word(2),
                    field_type: resolve(word(1)),
                })
            })
            .collect()
    }
}
