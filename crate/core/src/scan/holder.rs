//! Who holds a map: the way by which types led to it, spelled as a Go programmer would.

use super::reach::{ORIGINS, Origin, Reach, SEED};
use super::shape::{NONE, ShapeId, ShapeKind};
use crate::gotype::{Kind, Limits, Printer, TypeRef};
use crate::layout::{Header, SLOTS};
use crate::memory::{READ_MAX, ReadError};

/// Steps of one path.
const STEPS_MAX: usize = 48;

/// Bytes of one object that are searched for the pointer that led on.
const SEARCH_MAX: u64 = 64 << 20;

/// Characters of a key in a path.
const KEY_MAX: usize = 24;

/// What a pointer must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Object(u32),
    Address(u64),
}

/// A step on the way.
enum Step {
    Text(String),
    /// The way begins here.
    Start(String),
}

impl Reach<'_, '_> {
    /// The way to the map with its header at `address`: `main.server.sessions.byID`.
    /// `None` if no one was found to lead there.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn holder(&mut self, address: u64) -> Result<Option<String>, ReadError> {
        let (mut parent, mut child) = match self.objects.begins(address) {
            Some((_, _, number)) => {
                let shape = self.typed.get(number as usize).copied().unwrap_or(NONE);
                let parent = self.parent.get(number as usize).copied();
                match parent.filter(|_| shape != NONE) {
                    Some(parent) => (parent, Child::Object(number)),
                    None => return Ok(None),
                }
            }
            None => match self.on_stack.get(&address) {
                Some((_, parent)) => (*parent, Child::Address(address)),
                None => return Ok(None),
            },
        };
        if parent == SEED {
            // The allocator noted what it is, and no one holds it.
            return Ok(None);
        }
        let mut steps = Vec::new();
        let mut context = None;
        // Objects on the way, and how many steps there were before each.
        let mut passed: Vec<(u32, usize)> = Vec::new();
        loop {
            if parent == SEED {
                // The allocator noted what the object is, and no one holds that.
                if let Child::Object(number) = child {
                    steps.push(self.object_text(number));
                }
                break;
            }
            let again = passed.iter().find(|(number, _)| *number == parent);
            if let Some((number, before)) = again.copied() {
                // What was noted leads to itself: everything behind it goes in circles.
                steps.truncate(before + 1);
                steps.push(self.object_text(number));
                break;
            }
            if steps.len() >= STEPS_MAX {
                steps.push(match child {
                    Child::Object(number) => self.object_text(number),
                    Child::Address(_) => "…".to_owned(),
                });
                break;
            }
            if parent < ORIGINS {
                passed.push((parent, steps.len()));
            }
            if parent >= ORIGINS {
                let origin = self.origins.get((parent & (ORIGINS - 1)) as usize).cloned();
                let Some(origin) = origin else {
                    return Ok(None);
                };
                let (at, shape) = match &origin {
                    Origin::Global { address, shape, .. }
                    | Origin::Variable { address, shape, .. }
                    | Origin::Aside { address, shape, .. } => (*address, *shape),
                };
                let copy = match &origin {
                    Origin::Variable { copy, .. } => copy.clone(),
                    _ => None,
                };
                let text = self.step(at, shape, copy.as_deref(), child)?;
                steps.push(text.unwrap_or_default());
                match origin {
                    Origin::Global { name, .. } => {
                        steps.push(name.to_string());
                        break;
                    }
                    Origin::Variable {
                        name,
                        context: place,
                        ..
                    } => {
                        steps.push(name.to_string());
                        context = place;
                        break;
                    }
                    Origin::Aside {
                        address,
                        parent: above,
                        ..
                    } => {
                        child = match self.objects.find(address) {
                            Some((_, _, number)) => Child::Object(number),
                            None => Child::Address(address),
                        };
                        parent = above;
                    }
                }
                continue;
            }
            match self.object_step(parent, child)? {
                Step::Text(text) => steps.push(text),
                Step::Start(text) => {
                    steps.push(text);
                    break;
                }
            }
            child = Child::Object(parent);
            parent = match self.parent.get(parent as usize) {
                Some(parent) => *parent,
                None => return Ok(None),
            };
        }
        steps.reverse();
        let mut path = steps.concat();
        if let Some(context) = context {
            path.push_str(&format!(" ({context})"));
        }
        Ok(Some(path))
    }

    /// An object that no one is known to hold.
    fn object_text(&self, number: u32) -> String {
        let Some((_, slot)) = self.objects.slot(number) else {
            return "?".to_owned();
        };
        let address = slot.object();
        let shape = self.typed.get(number as usize).copied().unwrap_or(NONE);
        if shape != NONE
            && let ShapeKind::Value(at) = self.shapes.kind(shape)
            && let Ok(described) = self.shapes.types().get(at)
        {
            return format!("(*{})({address:#x})", described.name);
        }
        format!("object {address:#x}")
    }

    fn object_step(&mut self, number: u32, child: Child) -> Result<Step, ReadError> {
        let shape = self.typed.get(number as usize).copied().unwrap_or(NONE);
        let slot = match self.objects.slot(number) {
            Some((_, slot)) if shape != NONE => slot,
            _ => return Ok(Step::Start(self.object_text(number))),
        };
        let text = self.step(slot.object(), shape, None, child)?;
        Ok(Step::Text(text.unwrap_or_default()))
    }

    /// The text of the step from a value to what one of its pointers leads to.
    fn step(
        &mut self,
        address: u64,
        shape: ShapeId,
        copy: Option<&[u8]>,
        child: Child,
    ) -> Result<Option<String>, ReadError> {
        let kind = self.shapes.kind(shape);
        if matches!(
            kind,
            ShapeKind::Header(_)
                | ShapeKind::Directory(_)
                | ShapeKind::Table(_)
                | ShapeKind::Chan(_)
        ) {
            return Ok(None);
        }
        let size = match kind {
            // As far as the object goes: the closure's own size is not known.
            ShapeKind::Func | ShapeKind::Closure(_) => self
                .objects
                .find(address)
                .map_or(0, |(_, slot, _)| slot.usable().min(512)),
            _ => self.shape(shape).size,
        };
        let abi = self.objects.heap.abi();
        let mut done = 0;
        let mut buffer = Vec::new();
        let len = size.min(SEARCH_MAX);
        while done < len {
            let take = (len - done).min(READ_MAX as u64);
            let bytes = match copy {
                Some(copy) => copy.get(done as usize..).unwrap_or_default(),
                None => {
                    buffer.resize(take as usize, 0);
                    let memory = self.objects.heap.memory();
                    match memory.read(address.wrapping_add(done), &mut buffer) {
                        Ok(()) => &buffer,
                        Err(ReadError::Fault { .. }) => return Ok(None),
                        Err(interrupted) => return Err(interrupted),
                    }
                }
            };
            let mut found = Vec::new();
            for (index, word) in bytes.chunks_exact(8).enumerate() {
                let word = abi.uint(word);
                if word >= 4096 && self.leads(word, child) {
                    found.push(done + 8 * index as u64);
                }
            }
            for offset in found {
                if let Some(text) = self.spell(shape, address, offset, copy)? {
                    return Ok(Some(text));
                }
            }
            done += take;
        }
        Ok(None)
    }

    fn leads(&self, word: u64, child: Child) -> bool {
        match child {
            Child::Address(address) => word == address,
            Child::Object(number) => self
                .objects
                .find(word)
                .is_some_and(|(_, _, found)| found == number),
        }
    }

    /// The path inside a value to the pointer at `offset`; `None` if there is none.
    fn spell(
        &mut self,
        shape: ShapeId,
        address: u64,
        offset: u64,
        copy: Option<&[u8]>,
    ) -> Result<Option<String>, ReadError> {
        Ok(match self.shapes.kind(shape) {
            ShapeKind::Value(at) => self.spell_type(at, address, offset, copy, 0)?,
            ShapeKind::Pointer(_) | ShapeKind::Slice(_) => Some(String::new()),
            ShapeKind::Array { elem, .. } => {
                let size = self.shape(elem).size.max(1);
                let index = offset / size;
                let place = address.wrapping_add(index * size);
                let rest = self.spell(elem, place, offset % size, None)?;
                rest.map(|rest| format!("[{index}]{rest}"))
            }
            ShapeKind::Units { map, .. } => self.spell_entry(map, address, offset)?,
            ShapeKind::Closure(entry) => {
                let captured = self.captured_at(entry, offset);
                let function = self.function_name(entry);
                captured.map(|name| format!(".({function}).{name}"))
            }
            _ => None,
        })
    }

    fn spell_entry(
        &mut self,
        map: u32,
        address: u64,
        offset: u64,
    ) -> Result<Option<String>, ReadError> {
        let Some((layout, key, elem)) = self.shapes.sides(self.catalogue, map) else {
            return Ok(None);
        };
        let size = layout.unit_size as u64;
        let unit = address.wrapping_add(offset / size * size);
        let inside = (offset % size) as usize;
        if let Header::Classic(hmap) = layout.header
            && inside == hmap.overflow.offset
        {
            return Ok(Some(String::new()));
        }
        let abi = layout.abi;
        for (part, shape, is_key) in [(layout.key, key, true), (layout.elem, elem, false)] {
            let width = part.slot_size(abi);
            for slot in 0..SLOTS {
                let start = part.offset + slot * part.stride;
                if inside < start || inside >= start + width {
                    continue;
                }
                let key_at =
                    unit.wrapping_add((layout.key.offset + slot * layout.key.stride) as u64);
                let key_at = match layout.key.indirect {
                    true => match abi.read_pointer(self.objects.heap.memory(), key_at) {
                        Ok(key_at) => key_at,
                        Err(ReadError::Fault { .. }) => 0,
                        Err(interrupted) => return Err(interrupted),
                    },
                    false => key_at,
                };
                let text = match self.shapes.kind(key) {
                    ShapeKind::Value(at) => self.printed(at, key_at)?,
                    _ => "?".to_owned(),
                };
                let rest = match part.indirect {
                    true => Some(String::new()),
                    false => {
                        let place = unit.wrapping_add(start as u64);
                        self.spell(shape, place, (inside - start) as u64, None)?
                    }
                };
                return Ok(rest.map(|rest| match is_key {
                    true => format!("[key {text}]{rest}"),
                    false => format!("[{text}]{rest}"),
                }));
            }
        }
        Ok(None)
    }

    /// A key as Go writes it, short.
    fn printed(&self, at: TypeRef, address: u64) -> Result<String, ReadError> {
        let types = self.shapes.types();
        let size = types.get(at).map_or(0, |described| described.size);
        let mut bytes = vec![0; size.min(4096) as usize];
        match self.objects.heap.memory().read(address, &mut bytes) {
            Ok(()) => {}
            Err(ReadError::Fault { .. }) => return Ok("?".to_owned()),
            Err(interrupted) => return Err(interrupted),
        }
        let printer = Printer {
            types,
            memory: self.objects.heap.memory(),
            maps: None,
            limits: Limits::TEXT,
        };
        let mut text = String::new();
        printer.print(at, &bytes, &mut text);
        // Of a pointer the address tells more than its type, which the map's type tells.
        if text.starts_with("(*")
            && let Some((_, address)) = text.rsplit_once(")(0x")
            && let Some(digits) = address.strip_suffix(')')
        {
            text = format!("0x{digits}");
        }
        if text.chars().count() > KEY_MAX {
            text = text.chars().take(KEY_MAX - 1).collect();
            text.push('…');
        }
        Ok(text)
    }

    fn spell_type(
        &mut self,
        at: TypeRef,
        address: u64,
        offset: u64,
        copy: Option<&[u8]>,
        depth: usize,
    ) -> Result<Option<String>, ReadError> {
        let Ok(described) = self.shapes.types().get(at) else {
            return Ok(None);
        };
        if depth > STEPS_MAX {
            return Ok(None);
        }
        Ok(match &described.kind {
            Kind::Struct { fields } => {
                let inside = fields.iter().find(|field| {
                    let size = self
                        .shapes
                        .types()
                        .get(field.field_type)
                        .map_or(0, |found| found.size);
                    field.offset <= offset && offset - field.offset < size
                });
                let Some(field) = inside else {
                    return Ok(None);
                };
                let name = described.full_name.as_str();
                if name.starts_with("internal/sync.entry[") && field.name != "overflow" {
                    let key = fields.iter().find(|field| field.name == "key");
                    let key = match key {
                        Some(key) => {
                            let place = address.wrapping_add(key.offset);
                            self.printed(key.field_type, place)?
                        }
                        None => "?".to_owned(),
                    };
                    return Ok(Some(match field.name.as_str() {
                        "key" => format!("[key {key}]"),
                        _ => format!("[{key}]"),
                    }));
                }
                let rest = self.spell_type(
                    field.field_type,
                    address.wrapping_add(field.offset),
                    offset - field.offset,
                    copy.and_then(|copy| copy.get(field.offset as usize..)),
                    depth + 1,
                )?;
                // What is inside of these is no one's business.
                let hidden = [
                    "sync/atomic.Pointer[",
                    "atomic.Pointer[",
                    "internal/sync.",
                    "sync.Map",
                    "sync.readOnly",
                    "sync.entry",
                ]
                .iter()
                .any(|prefix| name.starts_with(prefix));
                rest.map(|rest| match hidden {
                    true => rest,
                    false => format!(".{}{rest}", field.name),
                })
            }
            Kind::Array { elem, .. } => {
                let size = self.shapes.types().get(*elem).map_or(0, |elem| elem.size);
                let Some(index) = offset.checked_div(size) else {
                    return Ok(None);
                };
                let start = index * size;
                let rest = self.spell_type(
                    *elem,
                    address.wrapping_add(start),
                    offset - start,
                    copy.and_then(|copy| copy.get(start as usize..)),
                    depth + 1,
                )?;
                rest.map(|rest| format!("[{index}]{rest}"))
            }
            Kind::Interface { empty } if offset == 8 => {
                let abi = self.objects.heap.abi();
                let memory = self.objects.heap.memory();
                let word = match copy {
                    Some(copy) => abi.pointer_at(copy, 0).unwrap_or(0),
                    None => abi.read_pointer(memory, address).unwrap_or(0),
                };
                let descriptor = match *empty {
                    true => word,
                    false => abi
                        .read_pointer(memory, word.wrapping_add(8))
                        .unwrap_or_default(),
                };
                let name = self
                    .shapes
                    .types()
                    .get(TypeRef::Runtime(descriptor))
                    .map_or_else(|_| "?".to_owned(), |found| found.name.clone());
                Some(format!(".({name})"))
            }
            Kind::Pointer(_)
            | Kind::UnsafePointer
            | Kind::Slice { .. }
            | Kind::Map { .. }
            | Kind::Chan { .. }
            | Kind::Func
                if offset == 0 =>
            {
                Some(String::new())
            }
            _ => None,
        })
    }

    /// The name of the variable at an offset of a closure.
    fn captured_at(&mut self, entry: u64, offset: u64) -> Option<String> {
        let captured = self.captured(entry);
        let mut last = None;
        for variable in captured.iter() {
            if variable.offset <= offset {
                last = Some(variable.name.to_string());
            }
        }
        last
    }
}
