//! Values in Go syntax.

use std::fmt::Write;

use super::{Kind, Type, TypeRef, Types, go_float, go_quote};
use crate::memory::{Memory, ReadError};

/// What is cut, so that one entry stays readable. A cut is always shown as `...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one string.
    pub string: u64,
    /// Elements of one array, slice or nested map.
    pub elements: u64,
    /// How deep composite values nest.
    pub depth: u32,
    /// Bytes of one printed value.
    pub total: usize,
}

impl Limits {
    /// For a terminal: what gdb's `print elements` allows by default.
    pub const TEXT: Self = Self {
        string: 200,
        elements: 200,
        depth: 4,
        total: 16 << 10,
    };
    /// For comparing: as good as nothing is cut.
    pub const WHOLE: Self = Self {
        string: 1 << 24,
        elements: 1 << 20,
        depth: 64,
        total: 64 << 20,
    };
    /// For programs: only absurd values are cut.
    pub const JSON: Self = Self {
        string: 1 << 16,
        elements: 1 << 14,
        depth: 16,
        total: 1 << 20,
    };
}

/// Lists the entries of a map inside a value; the map walkers, which stand
/// above this module, implement it.
pub trait NestedMaps {
    /// Visits up to `limit` entries of the map of type `map_type` whose header is at
    /// `address` with the bytes of key and elem. Returns
    /// whether there are more, or `None` if the map is unreadable.
    fn entries(
        &self,
        map_type: &Type,
        address: u64,
        limit: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<bool>;
}

/// Prints values of one target.
pub struct Printer<'a> {
    /// The types of the executable.
    pub types: &'a Types,
    /// The target.
    pub memory: &'a dyn Memory,
    /// How nested maps are listed.
    pub maps: Option<&'a dyn NestedMaps>,
    /// What is cut.
    pub limits: Limits,
}

impl std::fmt::Debug for Printer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Printer<'_> {
    /// Appends the value of type `at` in `bytes` to `out`. What is unreadable is
    /// shown in place, as `<cannot read 16 bytes at 0x…>`.
    pub fn print(&self, at: TypeRef, bytes: &[u8], out: &mut String) {
        Writer {
            printer: self,
            start: out.len(),
            out,
        }
        .value(at, bytes, 0);
    }

    /// [`Printer::print`] of a type that is at hand.
    pub fn print_described(&self, described: &Type, bytes: &[u8], out: &mut String) {
        Writer {
            printer: self,
            start: out.len(),
            out,
        }
        .sized(described, bytes, 0);
    }

    /// Appends a string of `len` bytes of which `read` are at hand: the first ones, if not
    /// all.
    pub fn string(read: &[u8], len: u64, out: &mut String) {
        go_quote(read, out);
        if (read.len() as u64) < len {
            out.push_str("...");
        }
    }

    /// The descriptor behind the first word of an interface: that word itself in
    /// an `interface {}`, a field of the itab otherwise.
    fn descriptor(&self, word: u64, empty: bool) -> Result<u64, ReadError> {
        if empty {
            return Ok(word);
        }
        // itab{Inter, Type, Hash, …} in every release (internal/abi/iface.go).
        let abi = self.types.binary().abi();
        abi.read_pointer(self.memory, word.wrapping_add(u64::from(abi.pointer_size)))
    }

    /// The type of a value in an interface whose first word is `word`.
    ///
    /// # Errors
    /// When the itab or the descriptor is unreadable.
    pub fn dynamic_type(&self, word: u64, empty: bool) -> Result<Option<TypeRef>, ReadError> {
        self.types.of_descriptor(self.descriptor(word, empty)?)
    }
}

struct Writer<'a, 'p, 'o> {
    printer: &'p Printer<'a>,
    start: usize,
    out: &'o mut String,
}

impl Writer<'_, '_, '_> {
    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(arguments);
    }

    /// As `put` would: of a listing's time this would be the most.
    fn number(&mut self, value: impl itoa::Integer) {
        self.out.push_str(itoa::Buffer::new().format(value));
    }

    fn full(&self) -> bool {
        self.out.len() - self.start > self.printer.limits.total
    }

    fn unreadable(&mut self, error: &ReadError) {
        self.put(format_args!("<{error}>"));
    }

    fn value(&mut self, at: TypeRef, bytes: &[u8], depth: u32) {
        match self.printer.types.get(at) {
            Ok(described) => self.sized(&described, bytes, depth),
            Err(error) => self.put(format_args!("<{error}>")),
        }
    }

    fn sized(&mut self, described: &Type, bytes: &[u8], depth: u32) {
        let size = usize::try_from(described.size).unwrap_or(usize::MAX);
        match bytes.get(..size) {
            Some(bytes) => self.described(described, bytes, depth),
            None => self.put(format_args!("<value cut short>")),
        }
    }

    fn described(&mut self, described: &Type, bytes: &[u8], depth: u32) {
        let abi = self.printer.types.binary().abi();
        let word = |index: usize| {
            abi.pointer_at(bytes, index * usize::from(abi.pointer_size))
                .unwrap_or(0)
        };
        if self.full() {
            self.out.push_str("...");
            return;
        }
        match &described.kind {
            Kind::Bool => match bytes.first() {
                Some(0) => self.out.push_str("false"),
                Some(1) => self.out.push_str("true"),
                Some(other) => self.put(format_args!("<bool {other}>")),
                None => self.out.push_str("<no value>"),
            },
            Kind::Int => {
                let raw = abi.uint(bytes);
                let unused = 64 - 8 * bytes.len().clamp(1, 8);
                self.number(((raw << unused) as i64) >> unused);
            }
            Kind::Uint => self.number(abi.uint(bytes)),
            Kind::Uintptr => self.put(format_args!("{:#x}", abi.uint(bytes))),
            Kind::Float => self
                .out
                .push_str(&go_float(abi.uint(bytes), described.size)),
            Kind::Complex => {
                let (real, imaginary) = bytes.split_at(bytes.len() / 2);
                let real = go_float(abi.uint(real), described.size / 2);
                let imaginary = go_float(abi.uint(imaginary), described.size / 2);
                let sign = if imaginary.starts_with(['-', '+']) {
                    ""
                } else {
                    "+"
                };
                self.put(format_args!("({real}{sign}{imaginary}i)"));
            }
            Kind::String => self.string(word(0), word(1)),
            Kind::UnsafePointer | Kind::Pointer(_) | Kind::Chan { .. } | Kind::Func => {
                self.pointer(described, word(0));
            }
            Kind::Array { elem, len } => self.array(described, *elem, *len, bytes, depth),
            Kind::Slice { elem } => self.slice(described, *elem, word(0), word(1), depth),
            Kind::Struct { fields } => {
                self.put(format_args!("{}{{", described.name));
                if depth >= self.printer.limits.depth && !fields.is_empty() {
                    self.out.push_str("...}");
                    return;
                }
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    self.put(format_args!("{}:", field.name));
                    let offset = usize::try_from(field.offset).unwrap_or(usize::MAX);
                    let rest = bytes.get(offset..).unwrap_or_default();
                    self.value(field.field_type, rest, depth + 1);
                }
                self.out.push('}');
            }
            Kind::Interface { empty } => self.interface(word(0), word(1), *empty, depth),
            Kind::Map { key, elem } => self.map(described, (*key, *elem), word(0), depth),
            Kind::Unknown => {
                self.put(format_args!("{}(", described.name));
                for byte in bytes.iter().take(16) {
                    self.put(format_args!("{byte:02x}"));
                }
                self.out.push(')');
            }
        }
    }

    fn string(&mut self, address: u64, len: u64) {
        if len == 0 {
            self.out.push_str("\"\"");
            return;
        }
        let cut = len.min(self.printer.limits.string);
        // A length beyond the address space is garbage, not a string.
        if len > 1 << 47 {
            self.put(format_args!("<string of {len} bytes at {address:#x}>"));
            return;
        }
        let mut bytes = vec![0; cut as usize];
        match self.printer.memory.read(address, &mut bytes) {
            Ok(()) => Printer::string(&bytes, len, self.out),
            Err(error) => self.unreadable(&error),
        }
    }

    fn pointer(&mut self, described: &Type, value: u64) {
        let name = &described.name;
        match (&described.kind, value) {
            (Kind::UnsafePointer, 0) => self.put(format_args!("{name}(nil)")),
            (Kind::UnsafePointer, _) => self.put(format_args!("{name}({value:#x})")),
            (_, 0) => self.put(format_args!("({name})(nil)")),
            _ => self.put(format_args!("({name})({value:#x})")),
        }
    }

    fn elements(&mut self, elem: TypeRef, size: usize, len: u64, bytes: &[u8], depth: u32) {
        for index in 0..len.min(self.printer.limits.elements) {
            if index > 0 {
                self.out.push_str(", ");
            }
            if self.full() {
                break;
            }
            let at = (index as usize).saturating_mul(size);
            self.value(elem, bytes.get(at..).unwrap_or_default(), depth + 1);
        }
        if len > self.printer.limits.elements {
            self.out.push_str(", ...");
        } else if self.full() {
            self.out.push_str("...");
        }
    }

    fn elem_size(&mut self, elem: TypeRef) -> Option<usize> {
        match self.printer.types.get(elem) {
            Ok(described) => usize::try_from(described.size).ok(),
            Err(error) => {
                self.put(format_args!("<{error}>"));
                None
            }
        }
    }

    fn array(&mut self, described: &Type, elem: TypeRef, len: u64, bytes: &[u8], depth: u32) {
        let Some(size) = self.elem_size(elem) else {
            return;
        };
        self.put(format_args!("{}{{", described.name));
        if depth >= self.printer.limits.depth && len > 0 {
            self.out.push_str("...");
        } else {
            self.elements(elem, size, len, bytes, depth);
        }
        self.out.push('}');
    }

    fn slice(&mut self, described: &Type, elem: TypeRef, address: u64, len: u64, depth: u32) {
        if address == 0 {
            self.put(format_args!("{}(nil)", described.name));
            return;
        }
        let Some(size) = self.elem_size(elem) else {
            return;
        };
        self.put(format_args!("{}{{", described.name));
        let shown = len.min(self.printer.limits.elements);
        if depth >= self.printer.limits.depth && len > 0 {
            self.out.push_str("...");
        } else if let Some(total) = (shown as usize)
            .checked_mul(size)
            .filter(|total| *total <= self.printer.limits.total.saturating_mul(64))
        {
            let mut bytes = vec![0; total];
            match self.printer.memory.read(address, &mut bytes) {
                Ok(()) => self.elements(elem, size, len, &bytes, depth),
                Err(error) => self.unreadable(&error),
            }
        } else {
            self.out.push_str("...");
        }
        self.out.push('}');
    }

    fn interface(&mut self, word: u64, data: u64, empty: bool, depth: u32) {
        if word == 0 {
            self.out.push_str("nil");
            return;
        }
        let dynamic = match self.printer.dynamic_type(word, empty) {
            Ok(Some(at)) => self.printer.types.get(at).ok(),
            Ok(None) => None,
            Err(error) => return self.unreadable(&error),
        };
        let Some(dynamic) = dynamic else {
            let what = if empty { "type" } else { "itab" };
            self.put(format_args!("<unknown {what} {word:#x}>({data:#x})"));
            return;
        };
        let abi = self.printer.types.binary().abi();
        let descriptor = self.printer.descriptor(word, empty);
        let bytes = match descriptor.and_then(|at| self.printer.types.is_direct(at)) {
            Ok(true) => {
                let mut bytes = data.to_le_bytes().to_vec();
                bytes.truncate(usize::from(abi.pointer_size));
                if abi.big_endian {
                    bytes.reverse();
                }
                bytes
            }
            Ok(false) => {
                let total = self.printer.limits.total as u64;
                let mut bytes = vec![0; dynamic.size.min(total.saturating_mul(64)) as usize];
                match self.printer.memory.read(data, &mut bytes) {
                    Ok(()) => bytes,
                    Err(error) => return self.unreadable(&error),
                }
            }
            Err(error) => return self.unreadable(&error),
        };
        let basic = matches!(
            dynamic.kind,
            Kind::Bool
                | Kind::Int
                | Kind::Uint
                | Kind::Uintptr
                | Kind::Float
                | Kind::Complex
                | Kind::String
        );
        if basic {
            self.put(format_args!("{}(", dynamic.name));
        }
        self.described(&dynamic, &bytes, depth);
        if basic {
            self.out.push(')');
        }
    }

    fn map(&mut self, described: &Type, types: (TypeRef, TypeRef), address: u64, depth: u32) {
        let name = &described.name;
        if address == 0 {
            self.put(format_args!("{name}(nil)"));
            return;
        }
        let Some(maps) = self
            .printer
            .maps
            .filter(|_| depth < self.printer.limits.depth)
        else {
            self.put(format_args!("{name}({address:#x})"));
            return;
        };
        self.put(format_args!("{name}{{"));
        let mut first = true;
        let more = maps.entries(
            described,
            address,
            self.printer.limits.elements,
            &mut |key, elem| {
                if self.full() {
                    return;
                }
                if !first {
                    self.out.push_str(", ");
                }
                first = false;
                self.value(types.0, key, depth + 1);
                self.out.push(':');
                self.value(types.1, elem, depth + 1);
            },
        );
        match more {
            Some(false) if !self.full() => {}
            Some(_) => self.out.push_str(if first { "..." } else { ", ..." }),
            None => self.put(format_args!("<unreadable map at {address:#x}>")),
        }
        self.out.push('}');
    }
}
