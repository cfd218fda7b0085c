//! Types followed from variables through the heap: which type an object has is told by what
//! leads to it. Maps that are reached so are of a proved type, and have a path by which a
//! person can name them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::catalogue::Catalogue;
use super::grey::{Body, Grey};
use super::mark::{Variable, each_word};
use super::objects::{Bits, Objects};
use super::shape::{Captured, Closures, Edge, NONE, Shape, ShapeId, ShapeKind, Shapes, To};
use crate::binary::Module;
use crate::gotype::{Kind, TypeRef};
use crate::heap::State;
use crate::layout::{Header, MapLayout, SLOTS};
use crate::map::{Slots, array_len};
use crate::memory::{AddressHash, READ_MAX, ReadError, Span};

/// No one led to it: the allocator's own note tells its type.
pub(super) const SEED: u32 = u32::MAX;

/// From here on a parent is an origin, not an object.
pub(super) const ORIGINS: u32 = 1 << 31;

/// Values outside the heap or inside objects that are looked at.
const ASIDE_MAX: usize = 1 << 24;

/// Bytes of one value outside the heap.
const OUTSIDE_MAX: u64 = 64 << 20;

/// Words that were looked at as an itab's address.
const ITABS_MAX: usize = 1 << 20;

/// Words that may be interfaces are looked at so many at a time.
const PAIRS: usize = 1 << 14;

/// Two words that may be an interface.
struct Pair {
    word: u64,
    data: u64,
    /// Where `data` stands.
    place: u64,
    /// `word` is no type, but may be an itab.
    itab: bool,
    parent: u32,
}

/// Where a path begins, or goes on outside of whole objects.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A variable of a package.
    Global {
        name: Rc<str>,
        address: u64,
        shape: ShapeId,
    },
    /// A variable of a function, or a copy of it where it was in registers.
    Variable {
        name: Rc<str>,
        context: Option<Rc<str>>,
        address: u64,
        shape: ShapeId,
        copy: Option<Rc<[u8]>>,
    },
    /// A value outside the heap, or inside an object of unknown type.
    Aside {
        address: u64,
        shape: ShapeId,
        parent: u32,
    },
}

/// Bytes at hand.
pub(super) struct Window<'b> {
    pub base: u64,
    pub bytes: &'b [u8],
}

impl Window<'_> {
    #[inline]
    fn get(&self, address: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }
}

pub(super) struct Reach<'r, 'a> {
    pub objects: &'r Objects<'a>,
    pub catalogue: &'r mut Catalogue,
    pub shapes: Shapes<'r>,
    closures: &'r dyn Closures,
    modules: &'r [Module],
    /// Only these are followed.
    live: &'r Bits,
    /// The headers that were found.
    headers: &'r Bits,
    /// Shape of each object with pointers, by its number.
    pub typed: Vec<ShapeId>,
    /// Who led to it first.
    pub parent: Vec<u32>,
    grey: Grey,
    aside: Vec<u32>,
    seen_aside: HashSet<(u64, ShapeId), AddressHash>,
    inside: Vec<(u64, ShapeId, u32)>,
    pub origins: Vec<Origin>,
    /// Maps on stacks: their type, and what leads to them.
    pub on_stack: HashMap<u64, (u32, u32), AddressHash>,
    /// Headers that were reached as maps of different types, or whose storage is another
    /// type's.
    pub conflicts: HashSet<u32>,
    itabs: HashMap<u64, Option<u64>, AddressHash>,
    /// Pointers to maps where there is no map.
    pub refused: u64,
}

impl<'r, 'a> Reach<'r, 'a> {
    pub(super) fn new(
        objects: &'r Objects<'a>,
        catalogue: &'r mut Catalogue,
        shapes: Shapes<'r>,
        closures: &'r dyn Closures,
        modules: &'r [Module],
        (live, headers): (&'r Bits, &'r Bits),
    ) -> Self {
        let count = objects.with_pointers as usize;
        Self {
            objects,
            catalogue,
            shapes,
            closures,
            modules,
            live,
            headers,
            typed: vec![NONE; count],
            parent: vec![0; count],
            grey: Grey::new(objects),
            aside: Vec::new(),
            seen_aside: HashSet::default(),
            inside: Vec::new(),
            origins: Vec::new(),
            on_stack: HashMap::default(),
            conflicts: HashSet::new(),
            itabs: HashMap::default(),
            refused: 0,
        }
    }

    pub(super) fn shape(&mut self, id: ShapeId) -> Rc<Shape> {
        self.shapes.get(self.objects, self.catalogue, id)
    }

    fn origin(&mut self, origin: Origin) -> u32 {
        let number = ORIGINS | (self.origins.len() as u32 & (ORIGINS - 1));
        self.origins.push(origin);
        number
    }

    /// Follows a package's variable.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn global(
        &mut self,
        name: &str,
        address: u64,
        shape: ShapeId,
    ) -> Result<(), ReadError> {
        let built = self.shape(shape);
        if built.edges.is_empty() || built.size == 0 || built.size > OUTSIDE_MAX {
            return Ok(());
        }
        let origin = self.origin(Origin::Global {
            name: name.into(),
            address,
            shape,
        });
        self.value_at(address, shape, built.size, origin)
    }

    /// Follows a function's variable.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn variable(
        &mut self,
        variable: &Variable,
        shape: ShapeId,
    ) -> Result<(), ReadError> {
        let built = self.shape(shape);
        if built.edges.is_empty() || built.size == 0 || built.size > OUTSIDE_MAX {
            return Ok(());
        }
        let address = variable.address;
        let origin = self.origin(Origin::Variable {
            name: variable.name.as_str().into(),
            context: variable.context.clone(),
            address,
            shape,
            copy: variable.copy.as_deref().map(Into::into),
        });
        match &variable.copy {
            Some(bytes) if bytes.len() as u64 >= built.size => {
                let window = Window {
                    base: address,
                    bytes,
                };
                self.follow(&window, address, shape, origin, None)
            }
            Some(_) => Ok(()),
            None => self.value_at(address, shape, built.size, origin),
        }
    }

    fn value_at(
        &mut self,
        address: u64,
        shape: ShapeId,
        size: u64,
        origin: u32,
    ) -> Result<(), ReadError> {
        let mut bytes = vec![0; size.min(READ_MAX as u64) as usize];
        match self.objects.heap.memory().read(address, &mut bytes) {
            Ok(()) => {}
            Err(ReadError::Fault { .. }) => return Ok(()),
            Err(interrupted) => return Err(interrupted),
        }
        let window = Window {
            base: address,
            bytes: &bytes,
        };
        self.follow(&window, address, shape, origin, None)
    }

    /// Follows all that was reached, until nothing is left.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn run(&mut self) -> Result<(), ReadError> {
        loop {
            let objects = self.objects;
            let mut grey = std::mem::replace(&mut self.grey, Grey::none());
            let ended = grey.drain(objects, &mut |grey, body| {
                // What is reached meanwhile is added to the list that is being drained.
                std::mem::swap(grey, &mut self.grey);
                let visited = self.object(body);
                std::mem::swap(grey, &mut self.grey);
                visited
            });
            self.grey = grey;
            ended?;
            if let Some(number) = self.aside.pop() {
                if number.is_multiple_of(256) {
                    objects.memory.checkpoint(0, 0)?;
                }
                if let Some(Origin::Aside { address, shape, .. }) =
                    self.origins.get((number & (ORIGINS - 1)) as usize).cloned()
                {
                    let size = self.shape(shape).size;
                    if size <= OUTSIDE_MAX {
                        self.value_at(address, shape, size, number)?;
                    }
                }
                continue;
            }
            // Pointers into objects, once it is clear that no one knows the whole object.
            let inside = std::mem::take(&mut self.inside);
            if inside.is_empty() {
                return Ok(());
            }
            for (address, shape, parent) in inside {
                let covered = self.objects.find(address).is_none_or(|(_, slot, number)| {
                    let size = self.shape(shape).size;
                    self.covers(number, address - slot.object(), size)
                });
                if !covered {
                    self.add_aside(address, shape, parent);
                }
            }
        }
    }

    /// Whether what is known of an object tells the type of these bytes of it.
    fn covers(&mut self, number: u32, offset: u64, size: u64) -> bool {
        let known = self.typed.get(number as usize).copied().unwrap_or(NONE);
        known != NONE && offset.saturating_add(size) <= self.shape(known).size
    }

    fn add_aside(&mut self, address: u64, shape: ShapeId, parent: u32) {
        if self.origins.len() < ASIDE_MAX && self.seen_aside.insert((address, shape)) {
            let number = self.origin(Origin::Aside {
                address,
                shape,
                parent,
            });
            self.aside.push(number);
        }
    }

    /// Types an object by what the allocator noted.
    pub(super) fn seed(&mut self, number: u32, span: usize, shape: ShapeId) {
        if let Some(known) = self.typed.get_mut(number as usize)
            && *known == NONE
        {
            *known = shape;
            if let Some(parent) = self.parent.get_mut(number as usize) {
                *parent = SEED;
            }
            self.grey.add(span, number);
        }
    }

    fn object(&mut self, body: &Body<'_>) -> Result<(), ReadError> {
        let shape = self.typed.get(body.number as usize).copied();
        let Some((shape, span)) = shape.zip(self.objects.spans.get(body.span)) else {
            return Ok(());
        };
        let header = self.objects.heap.header_of(span);
        let start = body.address.wrapping_sub(body.offset).wrapping_add(header);
        let window = Window {
            base: body.address,
            bytes: body.bytes,
        };
        let within = Span {
            start: body.address,
            len: body.bytes.len() as u64,
        };
        let limit = start.saturating_add(span.slot_size - header);
        self.follow(&window, start, shape, body.number, Some((within, limit)))
    }

    /// A word, from the bytes at hand or from memory.
    fn word(&self, window: &Window<'_>, address: u64) -> Result<u64, ReadError> {
        let abi = self.objects.heap.abi();
        if let Some(bytes) = window.get(address, 8) {
            return Ok(abi.uint(bytes));
        }
        match abi.read_pointer(self.objects.heap.memory(), address) {
            Ok(word) => Ok(word),
            Err(ReadError::Fault { .. }) => Ok(0),
            Err(interrupted) => Err(interrupted),
        }
    }

    /// Follows the pointers of a value. Of a part of a large object only what begins in
    /// that part is followed.
    fn follow(
        &mut self,
        window: &Window<'_>,
        address: u64,
        id: ShapeId,
        parent: u32,
        part: Option<(Span, u64)>,
    ) -> Result<(), ReadError> {
        let shape = self.shape(id);
        let here = |at: u64| part.is_none_or(|(within, _)| within.contains(at));
        match shape.kind {
            ShapeKind::Header(map) if here(address) => {
                return self.header(window, address, map, parent);
            }
            ShapeKind::Directory(map) => {
                let end = part.map_or(address.saturating_add(shape.size), |(_, limit)| limit);
                let table = self.shapes.with(ShapeKind::Table(map));
                let from = part.map_or(address, |(within, _)| within.start.max(address));
                let until = part.map_or(end, |(within, _)| within.end().min(end));
                let mut last = 0;
                for at in (from..until).step_by(8) {
                    let word = self.word(window, at)?;
                    if word != last {
                        self.push(word, table, 1, parent);
                    }
                    last = word;
                }
                return Ok(());
            }
            ShapeKind::Table(map) if here(address) => {
                if let Some(Header::Swiss(swiss)) = self.layout(map).map(|layout| layout.header) {
                    let field =
                        |field: crate::layout::Field| address.wrapping_add(field.offset as u64);
                    let data = self.word(window, field(swiss.table.groups_data))?;
                    let mask = self.word(window, field(swiss.table.groups_length_mask))?;
                    if let Some(len) = mask.checked_add(1).filter(|len| *len <= 1 << 20) {
                        self.storage(data, map, len, parent);
                    }
                }
                return Ok(());
            }
            ShapeKind::Units { map, len } => {
                return self.units(window, address, (map, len), parent, part);
            }
            ShapeKind::Chan(elem) if here(address) => {
                // runtime.hchan: qcount, dataqsiz uint, buf unsafe.Pointer.
                let len = self.word(window, address.wrapping_add(8))?;
                let buffer = self.word(window, address.wrapping_add(16))?;
                if len > 0 {
                    self.push(buffer, elem, len, parent);
                }
                return Ok(());
            }
            ShapeKind::Func | ShapeKind::Closure(_) if here(address) => {
                return self.closure(window, address, parent);
            }
            ShapeKind::Value(_)
            | ShapeKind::Array { .. }
            | ShapeKind::Pointer(_)
            | ShapeKind::Slice(_) => {}
            _ => return Ok(()),
        }
        for edge in &shape.edges {
            let at = address.wrapping_add(edge.offset);
            if let To::Array { elem, len, stride } = edge.to {
                let (mut first, mut end) = (0, len);
                if let Some((within, limit)) = part {
                    first = within.start.saturating_sub(at).div_ceil(stride).min(len);
                    let until = within.end().min(limit);
                    end = until.saturating_sub(at).div_ceil(stride).min(len);
                }
                for index in first..end {
                    let place = at.wrapping_add(index.wrapping_mul(stride));
                    self.follow(window, place, elem, parent, None)?;
                }
                continue;
            }
            if !here(at) {
                continue;
            }
            let word = self.word(window, at)?;
            if word == 0 {
                continue;
            }
            match edge.to {
                To::Pointer(target) => self.push(word, target, 1, parent),
                To::Slice(elem) => {
                    let capacity = self.word(window, at.wrapping_add(16))?;
                    let len = self.word(window, at.wrapping_add(8))?;
                    if capacity > 0 && len <= capacity {
                        self.push(word, elem, capacity, parent);
                    }
                }
                To::Empty => {
                    let data = self.word(window, at.wrapping_add(8))?;
                    self.interface(word, data, at.wrapping_add(8), parent)?;
                }
                To::Interface => {
                    let data = self.word(window, at.wrapping_add(8))?;
                    if let Some(descriptor) = self.itab(word)? {
                        self.interface(descriptor, data, at.wrapping_add(8), parent)?;
                    }
                }
                To::Map(map) => self.map(word, map, parent)?,
                To::Chan(elem) => {
                    let shape = self.shapes.with(ShapeKind::Chan(elem));
                    self.push(word, shape, 1, parent);
                }
                To::Func => {
                    let shape = self.shapes.with(ShapeKind::Func);
                    self.push(word, shape, 1, parent);
                }
                To::Reflect => {
                    let data = self.word(window, at.wrapping_add(8))?;
                    let flag = self.word(window, at.wrapping_add(16))?;
                    // reflect.flagIndir: the pointer leads to the value.
                    if let Some((shape, direct)) = self.type_at(word) {
                        match direct && flag & 1 << 7 == 0 {
                            true => self.in_place(data, at.wrapping_add(8), shape, parent)?,
                            false => self.push(data, shape, 1, parent),
                        }
                    }
                }
                To::Trie { entry, indirect } => {
                    let size = self
                        .objects
                        .begins(word)
                        .map_or(0, |(_, slot, _)| slot.size);
                    let fits = |reach: &mut Self, id| {
                        let bytes = reach.shape(id).size;
                        reach.catalogue.allocator.slot(bytes, false) == size
                    };
                    // Told apart by their size class, unless a key or value is as large.
                    match (fits(self, entry), fits(self, indirect)) {
                        (true, false) => self.push(word, entry, 1, parent),
                        (false, true) => self.push(word, indirect, 1, parent),
                        _ => {
                            let first = self.word(window, word)? & 0xff;
                            let node = if first == 1 { entry } else { indirect };
                            self.push(word, node, 1, parent);
                        }
                    }
                }
                To::Array { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn layout(&self, map: u32) -> Option<Rc<MapLayout>> {
        self.catalogue.map(map)?.layout.clone()
    }

    /// Something of a known type lies at `target`, `count` of it.
    fn push(&mut self, target: u64, id: ShapeId, count: u64, parent: u32) {
        if target < 4096 || id == NONE || count == 0 {
            return;
        }
        let shape = self.shape(id);
        if shape.edges.is_empty() || shape.size == 0 {
            return;
        }
        let Some((span, slot, number)) = self.objects.find(target) else {
            self.push_outside(target, id, shape.size, count, parent);
            return;
        };
        if !self.live.has(number) || slot.noscan {
            return;
        }
        let Some(offset) = target.checked_sub(slot.object()) else {
            return;
        };
        // As many as there is room for: a count is the target's word.
        let count = match shape.kind {
            ShapeKind::Directory(_) => 1,
            _ => count.min((slot.usable().saturating_sub(offset)) / shape.size),
        };
        if count == 0 {
            return;
        }
        let node = match count {
            1 => id,
            len => self.shapes.with(ShapeKind::Array { elem: id, len }),
        };
        if offset > 0 {
            let size = shape.size.saturating_mul(count);
            if !self.covers(number, offset, size) && self.inside.len() < ASIDE_MAX {
                self.inside.push((target, node, parent));
            }
            return;
        }
        let known = self.typed.get(number as usize).copied().unwrap_or(NONE);
        let seeded = self.parent.get(number as usize) == Some(&SEED);
        if known != NONE {
            if known == node {
                if seeded && let Some(slot) = self.parent.get_mut(number as usize) {
                    *slot = parent;
                }
                return;
            }
            let old = self.shapes.kind(known);
            let new = self.shapes.kind(node);
            let of_map = |kind| !matches!(kind, ShapeKind::Value(_) | ShapeKind::Array { .. });
            match (old, new) {
                (ShapeKind::Header(_), ShapeKind::Header(_)) => {
                    if !seeded {
                        self.conflicts.insert(number);
                        return;
                    }
                }
                // What is a map's stays a map's.
                _ if of_map(old) && !(seeded && of_map(new)) => return,
                _ if of_map(new) => {}
                _ => {
                    let (old, new) = (self.shape(known).size, self.shape(node).size);
                    if old > new || (old == new && !seeded) {
                        return;
                    }
                }
            }
        }
        if let (Some(typed), Some(by)) = (
            self.typed.get_mut(number as usize),
            self.parent.get_mut(number as usize),
        ) {
            *typed = node;
            *by = parent;
            self.grey.add(span, number);
        }
    }

    /// The same in a package's variables or on a stack.
    fn push_outside(&mut self, target: u64, id: ShapeId, size: u64, count: u64, parent: u32) {
        let mut end = None;
        for module in self.modules {
            for range in [module.data, module.bss, module.noptrdata, module.noptrbss] {
                if range.contains(target) {
                    end = Some(range.end());
                }
            }
        }
        if let Some((_, span)) = self.objects.span_at(target)
            && span.state == State::Manual
        {
            end = Some(span.end());
        }
        let Some(end) = end else {
            return;
        };
        let count = count.min((end - target) / size);
        let node = match count {
            0 => return,
            1 => id,
            len => self.shapes.with(ShapeKind::Array { elem: id, len }),
        };
        self.add_aside(target, node, parent);
    }

    /// A map of a known type is said to be at `address`.
    fn map(&mut self, address: u64, map: u32, parent: u32) -> Result<(), ReadError> {
        let shape = self.shapes.with(ShapeKind::Header(map));
        match self.objects.begins(address) {
            Some((_, _, number)) if self.headers.has(number) => {
                self.push(address, shape, 1, parent);
            }
            Some(_) => self.refused += 1,
            None => {
                let on_stack = self
                    .objects
                    .span_at(address)
                    .is_some_and(|(_, span)| span.state == State::Manual);
                if on_stack && !self.on_stack.contains_key(&address) {
                    self.on_stack.insert(address, (map, parent));
                    let window = Window {
                        base: 0,
                        bytes: &[],
                    };
                    let origin = self.origin(Origin::Aside {
                        address,
                        shape,
                        parent,
                    });
                    self.header(&window, address, map, origin)?;
                }
            }
        }
        Ok(())
    }

    fn header(
        &mut self,
        window: &Window<'_>,
        address: u64,
        map: u32,
        parent: u32,
    ) -> Result<(), ReadError> {
        let Some(layout) = self.layout(map) else {
            return Ok(());
        };
        let field = |field: crate::layout::Field| address.wrapping_add(field.offset as u64);
        match layout.header {
            Header::Swiss(swiss) => {
                let storage = self.word(window, field(swiss.dir_ptr))?;
                let len = self.word(window, field(swiss.dir_len))?;
                if len == 0 {
                    self.storage(storage, map, 1, parent);
                } else {
                    let directory = self.shapes.with(ShapeKind::Directory(map));
                    self.push(storage, directory, 1, parent);
                }
            }
            Header::Classic(hmap) => {
                let flags_and_b = self.word(window, field(hmap.flags))?;
                let shift = 8 * (hmap.b.offset - hmap.flags.offset.min(hmap.b.offset)) as u32;
                let b = (flags_and_b >> shift.min(63)) as u8;
                if b > 40 {
                    return Ok(());
                }
                let buckets = self.word(window, field(hmap.buckets))?;
                let old = self.word(window, field(hmap.oldbuckets))?;
                self.storage(buckets, map, array_len(&layout, b), parent);
                let same_size = flags_and_b & 8 != 0;
                let old_b = if same_size { b } else { b.saturating_sub(1) };
                self.storage(old, map, array_len(&layout, old_b), parent);
            }
        }
        Ok(())
    }

    /// Buckets or groups of a map of a known type: the allocator must agree.
    fn storage(&mut self, address: u64, map: u32, len: u64, parent: u32) {
        if address == 0 {
            return;
        }
        let Some((layout, unit)) = self
            .catalogue
            .map(map)
            .and_then(|known| Some((known.layout.clone()?, known.unit)))
        else {
            return;
        };
        if let Some((at, slot, number)) = self.objects.begins(address) {
            let bytes = len.saturating_mul(layout.unit_size as u64);
            let noscan = !layout.has_pointers;
            let noted = match self.objects.spans.get(at) {
                Some(span) if span.is_large() && !span.noscan() => span.large_type,
                _ => 0,
            };
            let agrees = slot.noscan == noscan
                && self.catalogue.allocator.slot(bytes, noscan) == slot.size
                && (noted == 0 || !self.objects.heap.malloc_headers() || noted == unit);
            if !agrees {
                self.blame(parent);
                return;
            }
            // It may be typed already, as the storage of another map type.
            let known = self.typed.get(number as usize).copied().unwrap_or(NONE);
            if let ShapeKind::Units { map: other, .. } = self.shapes.kind(known)
                && known != NONE
                && other != map
                && self.catalogue.map(other).map(|known| known.unit) != Some(unit)
            {
                self.blame(parent);
            }
        }
        let shape = self.shapes.with(ShapeKind::Units { map, len });
        self.push(address, shape, 1, parent);
    }

    /// The map that led here is not what it was said to be.
    fn blame(&mut self, parent: u32) {
        let mut number = parent;
        for _ in 0..4 {
            let shape = self.typed.get(number as usize).copied().unwrap_or(NONE);
            match self.shapes.kind(shape) {
                ShapeKind::Header(_) if shape != NONE => {
                    self.conflicts.insert(number);
                    return;
                }
                ShapeKind::Table(_) | ShapeKind::Directory(_) => {
                    number = self.parent.get(number as usize).copied().unwrap_or(SEED);
                }
                _ => return,
            }
        }
    }

    fn units(
        &mut self,
        window: &Window<'_>,
        address: u64,
        (map, len): (u32, u64),
        parent: u32,
        part: Option<(Span, u64)>,
    ) -> Result<(), ReadError> {
        let Some((layout, key, elem)) = self.shapes.sides(self.catalogue, map) else {
            return Ok(());
        };
        let size = layout.unit_size as u64;
        let (mut first, mut end) = (0, len);
        if let Some((within, limit)) = part {
            first = within.start.saturating_sub(address).div_ceil(size).min(len);
            let until = within.end().min(limit);
            end = until.saturating_sub(address).div_ceil(size).min(len);
        }
        let sides = [(layout.key, key), (layout.elem, elem)];
        let wanted: Vec<_> = sides
            .into_iter()
            .filter(|(_, shape)| !self.shape(*shape).edges.is_empty())
            .collect();
        let unit_shape = self.shapes.with(ShapeKind::Units { map, len: 1 });
        for index in first..end {
            let base = address.wrapping_add(index.wrapping_mul(size));
            let slots = match layout.header {
                Header::Swiss(swiss) => {
                    let at = base.wrapping_add(swiss.ctrl.offset as u64);
                    Slots::from_ctrl(self.word(window, at)?)
                }
                Header::Classic(hmap) => {
                    let next = self.word(window, base.wrapping_add(hmap.overflow.offset as u64))?;
                    let inside = next.wrapping_sub(address) < size.saturating_mul(len);
                    if next != 0 && !inside {
                        self.push(next, unit_shape, 1, parent);
                    }
                    Slots::from_tophash(self.word(window, base)?)
                }
            };
            let live = slots.live_mask();
            if live == 0 {
                continue;
            }
            for slot in (0..SLOTS).filter(|slot| live >> slot & 1 != 0) {
                for (part, shape) in &wanted {
                    let at = base.wrapping_add((part.offset + slot * part.stride) as u64);
                    if part.indirect {
                        let target = self.word(window, at)?;
                        self.push(target, *shape, 1, parent);
                    } else {
                        self.follow(window, at, *shape, parent, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn closure(&mut self, window: &Window<'_>, address: u64, parent: u32) -> Result<(), ReadError> {
        let entry = self.word(window, address)?;
        let in_text = self
            .modules
            .iter()
            .any(|module| module.text.contains(entry));
        if !in_text {
            return Ok(());
        }
        let captured = self.shapes.captured(self.closures, entry);
        let known = self.shapes.with(ShapeKind::Closure(entry));
        if let Some(typed) = self.typed.get_mut(parent as usize) {
            *typed = known;
        }
        for variable in captured.iter() {
            let at = address.wrapping_add(variable.offset);
            if variable.by_reference {
                let target = self.word(window, at)?;
                self.push(target, variable.shape, 1, parent);
            } else {
                self.follow(window, at, variable.shape, parent, None)?;
            }
        }
        Ok(())
    }

    /// Whether an object is in use.
    pub(super) fn is_live(&self, number: u32) -> bool {
        self.live.has(number)
    }

    /// What a closure of the function at `entry` holds.
    pub(super) fn captured(&mut self, entry: u64) -> Rc<[Captured]> {
        self.shapes.captured(self.closures, entry)
    }

    /// The name of the function at `entry`, without its package's path.
    pub(super) fn function_name(&self, entry: u64) -> String {
        let memory = self.objects.heap.memory();
        let name = self.shapes.lore().function_name(memory, entry);
        name.map_or_else(
            || format!("{entry:#x}"),
            |name| name.rsplit('/').next().unwrap_or_default().to_owned(),
        )
    }

    /// The pointer at a place; 0 if it is unreadable.
    pub(super) fn pointer_at(&self, address: u64) -> Result<u64, ReadError> {
        let window = Window {
            base: 0,
            bytes: &[],
        };
        self.word(&window, address)
    }

    /// The map type that a type of generic code stands for, if only one has its name when the
    /// shapes are taken for the types they are named after.
    /// `Err`: it is one of generic code, and stands for none or several.
    pub(super) fn unshaped(&mut self, at: TypeRef) -> Result<Option<u32>, ()> {
        let types = self.shapes.types();
        let Ok(described) = types.get(at) else {
            return Ok(None);
        };
        let Kind::Map { key, elem } = described.kind else {
            return Ok(None);
        };
        let (Ok(key), Ok(elem)) = (types.get(key), types.get(elem)) else {
            return Err(());
        };
        let parts = format!("map[{}]{}", key.name, elem.name);
        if !parts.contains("go.shape.") {
            return Ok(None);
        }
        for name in [described.name.as_str(), parts.as_str()] {
            let plain = name.replace("go.shape.", "");
            if let [TypeRef::Runtime(only)] = types.maps_named(&plain).as_slice() {
                return Ok(self.catalogue.of_descriptor(self.objects, types, *only));
            }
        }
        Err(())
    }

    /// The types of what a closure of the function at `entry` holds.
    pub(super) fn captured_types(&self, entry: u64) -> Vec<TypeRef> {
        let captured = self.closures.captured(entry);
        captured.into_iter().map(|(_, _, at)| at).collect()
    }

    /// Whether a map's header was found there.
    pub(super) fn is_header(&self, address: u64) -> bool {
        self.objects
            .begins(address)
            .is_some_and(|(_, _, number)| self.headers.has(number))
    }

    /// Whether a function begins at this address.
    pub(super) fn is_function(&self, address: u64) -> bool {
        self.modules
            .iter()
            .any(|module| module.text.contains(address))
            && self
                .shapes
                .lore()
                .is_entry(self.objects.heap.memory(), address)
    }

    /// The types of the variables in scope at `pc`, by the debug information.
    pub(super) fn scope(&self, pc: u64, in_call: bool) -> Vec<TypeRef> {
        self.closures.scope(pc, in_call)
    }

    /// The map types that the code of the function at `entry` names.
    pub(super) fn mentioned(&mut self, entry: u64) -> Vec<u32> {
        let lore = self.shapes.lore();
        self.numbers(lore.mentioned(entry))
    }

    /// The same of the function in which a closure's function stands.
    pub(super) fn mentioned_around(&mut self, entry: u64) -> Vec<u32> {
        let lore = self.shapes.lore();
        let around = lore.around(self.objects.heap.memory(), entry);
        around.map_or_else(Vec::new, |around| self.numbers(lore.mentioned(around)))
    }

    /// The map types in the dictionary of a generic function at `address`.
    pub(super) fn listed(&mut self, address: u64) -> Vec<u32> {
        let found = self.shapes.types().dictionary(address);
        self.numbers(&found)
    }

    /// The number of the map type with this descriptor.
    pub(super) fn number(&mut self, descriptor: u64) -> Option<u32> {
        let types = self.shapes.types();
        self.catalogue
            .of_descriptor(self.objects, types, descriptor)
    }

    fn in_variables(&self, address: u64) -> bool {
        self.modules
            .iter()
            .any(|module| module.data.contains(address) || module.bss.contains(address))
    }

    /// Where variables of packages lie that hold pointers.
    pub(super) fn variables(&self) -> Vec<Span> {
        self.modules
            .iter()
            .flat_map(|module| [module.data, module.bss])
            .collect()
    }

    fn numbers(&mut self, descriptors: &[u64]) -> Vec<u32> {
        let types = self.shapes.types();
        descriptors
            .iter()
            .filter_map(|at| self.catalogue.of_descriptor(self.objects, types, *at))
            .collect()
    }

    /// Whether nothing is known of what an object holds.
    pub(super) fn is_unknown(&mut self, number: u32) -> bool {
        let known = self.typed.get(number as usize).copied().unwrap_or(NONE);
        if known == NONE {
            return true;
        }
        match self.shapes.kind(known) {
            ShapeKind::Closure(entry) => {
                // Of what generic code captured no type is known either.
                let captured = self.captured(entry);
                captured.is_empty()
                    || captured
                        .iter()
                        .any(|variable| self.shape(variable.shape).edges.is_empty())
            }
            ShapeKind::Func => true,
            _ => false,
        }
    }

    /// The shape of the type with this descriptor, if there is a type.
    pub(super) fn type_at(&mut self, descriptor: u64) -> Option<(ShapeId, bool)> {
        let in_module = self
            .modules
            .iter()
            .any(|module| module.types.contains(descriptor));
        if !in_module && self.objects.begins(descriptor).is_none() {
            return None;
        }
        if !descriptor.is_multiple_of(8) || !self.shapes.types().is_sound(descriptor) {
            return None;
        }
        self.shapes.dynamic(descriptor)
    }

    fn interface(
        &mut self,
        descriptor: u64,
        data: u64,
        place: u64,
        parent: u32,
    ) -> Result<(), ReadError> {
        if data == 0 {
            return Ok(());
        }
        match self.type_at(descriptor) {
            Some((shape, true)) => self.in_place(data, place, shape, parent),
            Some((shape, false)) => {
                self.push(data, shape, 1, parent);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A value of one word.
    fn in_place(
        &mut self,
        word: u64,
        place: u64,
        shape: ShapeId,
        parent: u32,
    ) -> Result<(), ReadError> {
        let bytes = word.to_le_bytes();
        let window = Window {
            base: place,
            bytes: &bytes,
        };
        // Longer values would lead from one to the next without end.
        let built = self.shape(shape);
        let one_word = |edge: &Edge| {
            matches!(
                edge.to,
                To::Pointer(_) | To::Map(_) | To::Chan(_) | To::Func | To::Trie { .. }
            )
        };
        if built.size != 8 || !built.edges.iter().all(one_word) {
            return Ok(());
        }
        self.follow(&window, place, shape, parent, None)
    }

    /// The type in an itab (abi.ITab: Inter, Type, Hash).
    fn itab(&mut self, address: u64) -> Result<Option<u64>, ReadError> {
        if let Some(known) = self.itabs.get(&address) {
            return Ok(*known);
        }
        let memory = self.objects.heap.memory();
        let abi = self.objects.heap.abi();
        let mut bytes = [0; 24];
        let read = |at: u64, bytes: &mut [u8]| match memory.read(at, bytes) {
            Ok(()) => Ok(true),
            Err(ReadError::Fault { .. }) => Ok(false),
            Err(interrupted) => Err(interrupted),
        };
        let mut found = None;
        if address.is_multiple_of(8) && read(address, &mut bytes)? {
            let word = |at| abi.uint_at(&bytes, at, 8).unwrap_or(0);
            let (inter, descriptor) = (word(0), word(8));
            let hash = abi.uint_at(&bytes, 16, 4);
            let in_types = |at: u64| self.modules.iter().any(|module| module.types.contains(at));
            let mut own = [0; 4];
            if in_types(inter)
                && descriptor.is_multiple_of(8)
                && (in_types(descriptor) || self.objects.begins(descriptor).is_some())
                && read(descriptor.wrapping_add(16), &mut own)?
                && abi.uint_at(&own, 0, 4) == hash
            {
                found = Some(descriptor);
            }
        }
        if self.itabs.len() < ITABS_MAX {
            self.itabs.insert(address, found);
        }
        Ok(found)
    }

    /// Whether a word can be the first of an interface: then a type behind it is its value,
    /// as in a `reflect.Type`, and what follows that is something else.
    fn is_interface(&mut self, word: u64) -> Result<bool, ReadError> {
        let in_types = self
            .modules
            .iter()
            .any(|module| module.types.contains(word));
        let possible = word >= 4096 && word >> 48 == 0 && self.objects.span_at(word).is_none();
        Ok(in_types || possible && self.itab(word)?.is_some())
    }

    /// The same in variables of packages, of which stripped programs tell no types.
    fn pairs_of_variables(&mut self, pairs: &mut Vec<Pair>) -> Result<(), ReadError> {
        if self.shapes.types().binary().dwarf().is_some() {
            return Ok(());
        }
        let abi = self.objects.heap.abi();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for module in self.modules {
            for range in [module.data, module.bss, module.noptrdata] {
                let (mut first, mut before) = (0, 0);
                each_word(self.objects, range, &mut buffer, &mut |index, bytes| {
                    let word = abi.uint(bytes);
                    let in_types =
                        |at: u64| self.modules.iter().any(|module| module.types.contains(at));
                    if in_types(before) && word >= 4096 && found.len() < ASIDE_MAX {
                        found.push((first, before, word, range.start.wrapping_add(8 * index)));
                    }
                    (first, before) = (before, word);
                })?;
            }
        }
        for (first, word, data, place) in found {
            if self.is_interface(first)? {
                continue;
            }
            let start = place.wrapping_sub(8);
            let name = format!("variable at {start:#x}");
            let origin = self.origin(Origin::Global {
                name: name.into(),
                address: start,
                shape: NONE,
            });
            pairs.push(Pair {
                word,
                data,
                place,
                itab: false,
                parent: origin,
            });
        }
        Ok(())
    }

    /// Live objects of which nothing is known, and that hold pointers.
    pub(super) fn unknown(&mut self) -> Grey {
        let objects = self.objects;
        let mut grey = Grey::new(objects);
        for (at, span) in objects.spans.iter().enumerate() {
            if !span.has_pointers() {
                continue;
            }
            let (first, end) = objects.numbers(at);
            let mut from = first;
            while let Some(number) = self.live.next(from, end) {
                from = number + 1;
                if self.is_unknown(number) {
                    grey.add(at, number);
                }
            }
        }
        grey
    }

    /// Looks for interfaces, which tell their own type, in live objects of which nothing is
    /// known.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn interfaces(&mut self) -> Result<(), ReadError> {
        let objects = self.objects;
        let mut grey = self.unknown();
        let mut pairs: Vec<Pair> = Vec::new();
        grey.drain(objects, &mut |_, body| {
            let Some(span) = objects.spans.get(body.span) else {
                return Ok(());
            };
            let abi = objects.heap.abi();
            let first = (u64::from(body.index) * span.slot_size + body.offset) as usize / 8;
            let words = body.bytes.len() / 8;
            for index in 0..words.saturating_sub(1) {
                // Types never move and are never freed: the collector looks at the second
                // word alone (cmd/compile/internal/reflectdata, types.TINTER).
                let marked = body
                    .bitmap
                    .is_none_or(|bitmap| bitmap.is_pointer(first + index + 1));
                if !marked {
                    continue;
                }
                let word = abi.uint_at(body.bytes, 8 * index, 8).unwrap_or(0);
                let data = abi.uint_at(body.bytes, 8 * index + 8, 8).unwrap_or(0);
                // No process has memory at more than 48 bits of address.
                let possible = word >= 4096 && data >= 4096 && word >> 48 == 0;
                if !possible || objects.number_of(data).is_none() {
                    continue;
                }
                let place = body.address + 8 * index as u64 + 8;
                let in_types = self
                    .modules
                    .iter()
                    .any(|module| module.types.contains(word));
                let before = match index.checked_sub(1) {
                    Some(at) => abi.uint_at(body.bytes, 8 * at, 8).unwrap_or(0),
                    None => 0,
                };
                if in_types && self.is_interface(before)? {
                    continue;
                }
                if in_types || objects.span_at(word).is_none() && word.is_multiple_of(8) {
                    pairs.push(Pair {
                        word,
                        data,
                        place,
                        itab: !in_types,
                        parent: body.number,
                    });
                }
            }
            match pairs.len() {
                ..PAIRS => Ok(()),
                _ => self.pairs(&mut pairs),
            }
        })?;
        self.pairs_of_variables(&mut pairs)?;
        self.pairs(&mut pairs)?;
        self.run()
    }

    fn pairs(&mut self, pairs: &mut Vec<Pair>) -> Result<(), ReadError> {
        for pair in pairs.drain(..) {
            let descriptor = match pair.itab {
                true => self.itab(pair.word)?,
                false => Some(pair.word),
            };
            // Tables that the linker made lead to other variables.
            let of_variable = pair.parent >= ORIGINS && self.in_variables(pair.data);
            if let Some(descriptor) = descriptor
                && (of_variable || self.objects.find(pair.data).is_some())
            {
                self.interface(descriptor, pair.data, pair.place, pair.parent)?;
            }
        }
        Ok(())
    }
}
