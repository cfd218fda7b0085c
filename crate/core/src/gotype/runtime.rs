//! Types described by the runtime's own descriptors, for those that the debug
//! information leaves out: up to go1.24 the linker writes no entry for a type
//! that only ever stands in interfaces, and reflect makes types at run time.

use super::{Kind, StructField, Type, TypeError, TypeRef, kind};
use crate::memory::{Abi, Memory, ReadError};

const NAME_MAX: usize = 4096;
const FIELDS_MAX: u64 = 4096;

/// abi.TFlagExtraStar: the name has a `*` too many.
const TFLAG_EXTRA_STAR: u8 = 1 << 1;
/// The data word of an interface is the value itself: in Kind up to go1.25
/// (abi.KindDirectIface), in TFlag since go1.26 (abi.TFlagDirectIface).
const DIRECT_IFACE: u8 = 1 << 5;

/// `abi.Type` (internal/abi/type.go), the same from go1.19 to go1.27.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub size: u64,
    pub kind: u8,
    pub direct: bool,
    tflag: u8,
    name_offset: i32,
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
        Ok(name.map(|name| match name.strip_prefix('*') {
            Some(plain) if head.tflag & TFLAG_EXTRA_STAR != 0 => plain.to_owned(),
            _ => name,
        }))
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
            kind::CHAN => Kind::Chan,
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
        let name = name.unwrap_or_else(|| format!("<type {address:#x}>"));
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
