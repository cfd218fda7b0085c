//! Expressions without a debugger: from `main.srv.sessions` to a map.
//!
//! Package variables by the debug information, fields with Go's automatic dereference, `*`,
//! `&`, parentheses, indices of arrays and slices, and addresses. No function is called and
//! no key looked up.

use std::rc::Rc;

use crate::gotype::{Kind, Limits, Type, TypeRef};
use crate::target::{Map, Target};

/// Pointers and interfaces that are followed on the way to a map.
const FOLLOW_MAX: u32 = 4;
/// Brackets and operators nest at most this deep.
const DEPTH_MAX: u32 = 64;
/// No value of a Go program is larger than what its compiler allows; nor is it needed.
const VALUE_MAX: u64 = 1 << 20;

/// Why an expression leads to no map: one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(String);

impl From<String> for ExpressionError {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

type Result<T> = std::result::Result<T, ExpressionError>;

/// The map that `text` leads to. With `type_name` it may be an address alone.
///
/// # Errors
/// What cannot be found, read or followed.
pub fn find(target: &Rc<Target>, text: &str, type_name: Option<&str>) -> Result<Map> {
    let text = text.trim();
    let place = |address: u64, name: &str| {
        let map = Map::new(Rc::clone(target), address, name, text);
        let map = map.map_err(|error| ExpressionError(error.to_string()))?;
        map.probe()
            .map_err(|error| ExpressionError(error.to_string()))?;
        Ok(map)
    };
    if let Some(address) = number(text) {
        return match type_name {
            Some(name) => place(address, name),
            None => by_storage(target, address, text),
        };
    }
    if target.binary().dwarf().is_none() {
        return Err(ExpressionError(format!(
            "{} has no debug information (built with -ldflags=-s or -w?): give an address \
             with -type 'map[K]V'",
            target.binary().path().display()
        )));
    }
    let mut parser = Parser {
        target,
        text,
        at: 0,
    };
    let value = parser.unary(0)?;
    parser.spaces();
    if parser.at < text.len() {
        return Err(parser.unexpected());
    }
    let (address, name) = follow(target, value, text, type_name)?;
    if let Some(given) = type_name
        && !name.is_empty()
        // In generic code the debug information knows only a shape: there -type says more.
        && !name.contains("go.shape")
        && target
            .type_named(given)
            .ok()
            .zip(target.type_named(&name).ok())
            .is_some_and(|(given, own)| given.at != own.at)
    {
        return Err(ExpressionError(format!(
            "{text} is a {name}, not a {given}: leave -type out"
        )));
    }
    let name = match type_name {
        Some(given) if name.is_empty() || name.contains("go.shape") => given,
        _ => &name,
    };
    place(address, name)
}

/// `0xc000012120`, or a decimal number of some length.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A value: its type and where it is, or its bytes.
#[derive(Debug, Clone)]
struct Value {
    of: Rc<Type>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    At(u64),
    Bytes(Vec<u8>),
    /// A pointer to a value of the type: `&x`.
    PointerTo(u64),
}

/// From a value to the header of a map, and the name of its type.
fn follow(
    target: &Target,
    mut value: Value,
    text: &str,
    type_name: Option<&str>,
) -> Result<(u64, String)> {
    for _ in 0..=FOLLOW_MAX {
        if let Place::PointerTo(address) = value.place {
            value.place = Place::At(address);
        }
        match &value.of.kind {
            Kind::Map { .. } => {
                return Ok((word(target, &value, 0)?, value.of.full_name.clone()));
            }
            Kind::Pointer(Some(_)) => value = dereference(target, &value, text)?,
            Kind::Interface { .. } => value = held(target, &value, text)?,
            // -type vouches for it.
            Kind::Uintptr | Kind::UnsafePointer if type_name.is_some() => {
                return Ok((word(target, &value, 0)?, String::new()));
            }
            _ => break,
        }
    }
    Err(ExpressionError(format!(
        "{text} is {}, not a map",
        value.of.name
    )))
}

/// The type at `at`.
fn described(target: &Target, at: TypeRef) -> Result<Rc<Type>> {
    let found = target.types().get(at);
    found.map_err(|error| ExpressionError(error.to_string()))
}

/// The bytes `from..from+len` of a value.
fn bytes(target: &Target, value: &Value, from: u64, len: u64) -> Result<Vec<u8>> {
    let short = || ExpressionError(format!("{} is cut short", value.of.name));
    let end = from.checked_add(len).filter(|end| *end <= value.of.size);
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len as u64 <= VALUE_MAX);
    let (Some(end), Some(len)) = (end, len) else {
        return Err(short());
    };
    match &value.place {
        Place::At(address) => {
            let mut buffer = vec![0; len];
            target
                .memory()
                .read(address.wrapping_add(from), &mut buffer)
                .map_err(|error| ExpressionError(error.to_string()))?;
            Ok(buffer)
        }
        Place::Bytes(bytes) => bytes
            .get(from as usize..end as usize)
            .map(<[u8]>::to_vec)
            .ok_or_else(short),
        Place::PointerTo(address) => Ok(address.to_le_bytes().to_vec()),
    }
}

/// The pointer-sized word number `index` of a value.
fn word(target: &Target, value: &Value, index: u64) -> Result<u64> {
    let abi = target.binary().abi();
    let size = u64::from(abi.pointer_size);
    Ok(abi.uint(&bytes(target, value, index.saturating_mul(size), size)?))
}

/// What a pointer points to.
fn dereference(target: &Target, value: &Value, text: &str) -> Result<Value> {
    if let Place::PointerTo(address) = value.place {
        return Ok(Value {
            of: Rc::clone(&value.of),
            place: Place::At(address),
        });
    }
    match value.of.kind {
        Kind::Pointer(Some(to)) => {
            let address = word(target, value, 0)?;
            if address == 0 {
                return Err(ExpressionError(format!(
                    "{text}: a nil pointer ({}) is on the way",
                    value.of.name
                )));
            }
            Ok(Value {
                of: described(target, to)?,
                place: Place::At(address),
            })
        }
        Kind::Interface { .. } => held(target, value, text),
        _ => Err(ExpressionError(format!(
            "{text}: {} is no pointer",
            value.of.name
        ))),
    }
}

/// What an interface holds.
fn held(target: &Target, value: &Value, text: &str) -> Result<Value> {
    let empty = matches!(value.of.kind, Kind::Interface { empty: true });
    let (kind, data) = (word(target, value, 0)?, word(target, value, 1)?);
    if kind == 0 {
        return Err(ExpressionError(format!(
            "{text}: a nil interface ({}) is on the way",
            value.of.name
        )));
    }
    let printer = target.printer(Limits::TEXT);
    let found = printer
        .dynamic_type(kind, empty)
        .map_err(|error| ExpressionError(error.to_string()))?;
    let Some(found) = found else {
        return Err(ExpressionError(format!(
            "{text}: cannot tell what an interface holds (type word {kind:#x})"
        )));
    };
    let of = described(target, found)?;
    let place = if is_direct(target, &of, 0) {
        Place::Bytes(data.to_le_bytes().to_vec())
    } else {
        Place::At(data)
    };
    Ok(Value { of, place })
}

/// Whether an interface holds a value of this type itself, not a pointer to it: it is a
/// pointer, or nothing but one.
fn is_direct(target: &Target, of: &Type, depth: u32) -> bool {
    let inside = |at: TypeRef| {
        depth < DEPTH_MAX
            && target
                .types()
                .get(at)
                .is_ok_and(|inner| is_direct(target, &inner, depth + 1))
    };
    match &of.kind {
        Kind::Pointer(_)
        | Kind::UnsafePointer
        | Kind::Map { .. }
        | Kind::Chan { .. }
        | Kind::Func => true,
        Kind::Array { elem, len: 1 } => inside(*elem),
        Kind::Struct { fields } => match fields.as_slice() {
            [only] => inside(only.field_type),
            _ => false,
        },
        _ => false,
    }
}

struct Parser<'a> {
    target: &'a Target,
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        self.spaces();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn fail<T>(&self, reason: &str) -> Result<T> {
        Err(ExpressionError(format!("{}: {reason}", self.text)))
    }

    fn unexpected(&self) -> ExpressionError {
        let found: String = self.rest().chars().take(20).collect();
        ExpressionError(if found.is_empty() {
            format!("{}: something is missing at the end", self.text)
        } else {
            format!(
                "{}: {found} is not understood; without gdb an expression is made of names, \
                 fields, *, &, () and [N]",
                self.text
            )
        })
    }

    fn unary(&mut self, depth: u32) -> Result<Value> {
        if depth > DEPTH_MAX {
            return self.fail("it nests too deep");
        }
        if self.take('*') {
            let value = self.unary(depth + 1)?;
            return dereference(self.target, &value, self.text);
        }
        if self.take('&') {
            let value = self.unary(depth + 1)?;
            return match value.place {
                Place::At(address) => Ok(Value {
                    place: Place::PointerTo(address),
                    ..value
                }),
                _ => self.fail("it has no address"),
            };
        }
        let mut value = self.primary(depth)?;
        loop {
            if self.take('.') {
                value = self.field(value)?;
            } else if self.take('[') {
                value = self.index(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self, depth: u32) -> Result<Value> {
        if self.take('(') {
            let value = self.unary(depth + 1)?;
            return if self.take(')') {
                Ok(value)
            } else {
                self.fail("a closing bracket is missing")
            };
        }
        self.spaces();
        if self.take('\'') {
            // As gdb takes names with odd characters.
            let Some((name, _)) = self.rest().split_once('\'') else {
                return self.fail("a closing quote is missing");
            };
            let name = name.to_owned();
            self.at += name.len() + 1;
            return match self.variable(&name)? {
                Some(value) => Ok(value),
                None => self.fail(&format!("there is no variable {name}")),
            };
        }
        let rest = self.rest();
        let len = rest
            .find(|c: char| !(c.is_alphanumeric() || "_./-~%".contains(c)))
            .unwrap_or(rest.len());
        let token = rest.get(..len).unwrap_or_default().to_owned();
        if token.is_empty() || token.starts_with(|c: char| !(c.is_alphabetic() || c == '_')) {
            return Err(self.unexpected());
        }
        // The longest name of a variable; what follows are fields.
        let mut end = token.len();
        loop {
            let name = token.get(..end).unwrap_or_default();
            if let Some(value) = self.variable(name)? {
                self.at += end;
                return Ok(value);
            }
            match name.rfind('.') {
                Some(dot) => end = dot,
                None => {
                    return self.fail(&format!(
                        "there is no variable {token}; locals need gdb, package variables are \
                         written main.name or path/pkg.name"
                    ));
                }
            }
        }
    }

    /// The package variable of this name: `main.cache`, `path/pkg.Name`, `pkg.Name` if
    /// only one package is called so, `cache` of main.
    fn variable(&self, name: &str) -> Result<Option<Value>> {
        let Some(dwarf) = self.target.binary().dwarf() else {
            return Ok(None);
        };
        let mut found = dwarf.variable(name);
        if found.is_none() && !name.contains(['.', '/']) {
            found = dwarf.variable(&format!("main.{name}"));
        } else if found.is_none() && name.contains('.') {
            // The linker writes a dot in the last element of a path as %2e.
            let plain = |known: &str| known.replace("%2e", ".");
            let short = format!("/{name}");
            let mut fitting: Vec<&str> = dwarf
                .globals()
                .into_iter()
                .map(|global| global.name)
                .filter(|known| known.ends_with(last(name)))
                .filter(|known| plain(known) == name || plain(known).ends_with(&short))
                .collect();
            fitting.sort_unstable();
            match fitting.as_slice() {
                [] => {}
                [only] => found = dwarf.variable(only),
                several => {
                    return self.fail(&format!(
                        "{name} may mean {}",
                        several
                            .iter()
                            .take(4)
                            .copied()
                            .collect::<Vec<_>>()
                            .join(" or ")
                    ));
                }
            }
        }
        let Some((address, of)) = found.and_then(|die| Some((die.address?, die.type_ref?))) else {
            return Ok(None);
        };
        Ok(Some(Value {
            of: described(self.target, TypeRef::Dwarf(of))?,
            place: Place::At(address.wrapping_add(self.target.types().bias())),
        }))
    }

    fn field(&mut self, mut value: Value) -> Result<Value> {
        self.spaces();
        let rest = self.rest();
        let len = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let name = rest.get(..len).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(self.unexpected());
        }
        self.at += len;
        for _ in 0..=FOLLOW_MAX {
            if matches!(value.place, Place::PointerTo(_))
                || matches!(
                    value.of.kind,
                    Kind::Pointer(Some(_)) | Kind::Interface { .. }
                )
            {
                value = dereference(self.target, &value, self.text)?;
            } else {
                break;
            }
        }
        let Kind::Struct { fields } = &value.of.kind else {
            return self.fail(&format!("{} has no fields", value.of.name));
        };
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let names: Vec<&str> = fields
                .iter()
                .map(|field| field.name.as_str())
                .take(12)
                .collect();
            return self.fail(&format!(
                "{} has no field {name}; it has {}",
                value.of.name,
                names.join(", ")
            ));
        };
        let of = described(self.target, field.field_type)?;
        let place = match &value.place {
            Place::Bytes(_) => Place::Bytes(bytes(self.target, &value, field.offset, of.size)?),
            Place::At(address) | Place::PointerTo(address) => {
                Place::At(address.wrapping_add(field.offset))
            }
        };
        Ok(Value { of, place })
    }

    fn index(&mut self, mut value: Value) -> Result<Value> {
        let rest = self.rest();
        let Some((inside, _)) = rest.split_once(']') else {
            return self.fail("a closing bracket is missing");
        };
        let (index, len) = (number(inside.trim()), inside.len());
        if matches!(value.of.kind, Kind::Map { .. }) {
            return self.fail("a key needs `entries EXPR -key K`");
        }
        let Some(index) = index else {
            return self.fail("an index is a number");
        };
        self.at += len + 1;
        // As Go does for pointers to arrays.
        if matches!(value.of.kind, Kind::Pointer(Some(_))) {
            value = dereference(self.target, &value, self.text)?;
        }
        let (elem, len, base) = match value.of.kind {
            Kind::Array { elem, len } => (elem, len, None),
            Kind::Slice { elem } => (
                elem,
                word(self.target, &value, 1)?,
                Some(word(self.target, &value, 0)?),
            ),
            _ => return self.fail(&format!("{} has no elements", value.of.name)),
        };
        if index >= len {
            return self.fail(&format!("index {index} is out of range, there are {len}"));
        }
        let of = described(self.target, elem)?;
        let offset = index.wrapping_mul(of.size);
        let place = match (base, &value.place) {
            (Some(base), _) => Place::At(base.wrapping_add(offset)),
            (None, Place::At(address) | Place::PointerTo(address)) => {
                Place::At(address.wrapping_add(offset))
            }
            (None, Place::Bytes(_)) => Place::Bytes(bytes(self.target, &value, offset, of.size)?),
        };
        Ok(Value { of, place })
    }
}

/// The name behind the last dot, dot included.
fn last(name: &str) -> &str {
    name.rfind('.')
        .and_then(|dot| name.get(dot..))
        .unwrap_or(name)
}

/// The map at an address of which the type is not given: its storage may tell it.
fn by_storage(target: &Rc<Target>, address: u64, text: &str) -> Result<Map> {
    let failed = |error: crate::target::TargetError| ExpressionError(error.to_string());
    match target.map_type_at(address).map_err(failed)? {
        Some(at) => {
            let target = Rc::clone(target);
            Map::described(target, address, at.descriptor, at.inferred, text).map_err(failed)
        }
        None => Err(ExpressionError(format!(
            "no map header stands at {address:#x}; if there is one, add the map's type, \
             -type 'map[K]V'"
        ))),
    }
}
