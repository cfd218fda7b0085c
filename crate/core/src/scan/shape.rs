//! Types as the pointers in their values: what each leads to, and how a path through it is
//! spelled.

use std::collections::HashMap;
use std::rc::Rc;

use super::catalogue::Catalogue;
use super::code::Fact;
use super::lore::Lore;
use super::objects::Objects;
use crate::binary::DieOffset;
use crate::gotype::{Kind, TypeRef, Types};
use crate::layout::{Header, MapLayout};
use crate::memory::AddressHash;

/// Shapes of one program.
const SHAPES_MAX: usize = 1 << 22;

/// Pointers of one value that are told one by one; longer arrays are told by their elem.
const EDGES_MAX: usize = 1 << 14;

/// Elems of an array that are spelled out.
const SPELLED_MAX: u64 = 16;

/// Types nest at most this deep.
const DEPTH_MAX: usize = 64;

/// Fields and elems that are looked at for one shape. Types of a damaged process may hold
/// themselves, twice at each depth.
const PARTS_MAX: usize = 1 << 16;

/// A number of a [`Shape`].
pub(super) type ShapeId = u32;

/// Nothing known.
pub(super) const NONE: ShapeId = 0;

/// Where the pointers of a value lead.
#[derive(Debug)]
pub(super) struct Shape {
    /// Bytes.
    pub size: u64,
    /// By offset.
    pub edges: Vec<Edge>,
    /// What else is to be done.
    pub kind: ShapeKind,
}

/// What a shape stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeKind {
    /// A value of a Go type.
    Value(TypeRef),
    /// Several values, one behind the other.
    Array { elem: ShapeId, len: u64 },
    /// A map's header; the number is the map type's.
    Header(u32),
    /// The directory of a Swiss map.
    Directory(u32),
    /// One of its tables.
    Table(u32),
    /// Its buckets or groups.
    Units { map: u32, len: u64 },
    /// `runtime.hchan`.
    Chan(ShapeId),
    /// The function and variables of a closure, before it is known which.
    Func,
    /// A closure of the function that begins at this address.
    Closure(u64),
    /// A pointer to a value.
    Pointer(ShapeId),
    /// A slice of values.
    Slice(ShapeId),
}

/// One pointer, or what holds some.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub offset: u64,
    pub to: To,
}

/// What it leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    /// One value.
    Pointer(ShapeId),
    /// As many values as the third word says.
    Slice(ShapeId),
    /// More values in place.
    Array {
        elem: ShapeId,
        len: u64,
        stride: u64,
    },
    /// A type descriptor, and a value or a pointer to it.
    Empty,
    /// The same with an itab.
    Interface,
    /// A map.
    Map(u32),
    /// A channel's `hchan`.
    Chan(ShapeId),
    /// A closure.
    Func,
    /// `reflect.Value`.
    Reflect,
    /// `internal/sync.node`: an entry or an indirect node, which a byte at its start tells.
    Trie { entry: ShapeId, indirect: ShapeId },
}

/// A variable that a closure holds.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub offset: u64,
    pub name: Rc<str>,
    pub shape: ShapeId,
    /// The closure holds a pointer to it.
    pub by_reference: bool,
}

/// What is known of a function's closures.
pub trait Closures {
    /// The words of the closures of the function at `entry`: offset in the closure, name
    /// and type of what stands there, which may be a pointer to the variable.
    fn captured(&self, entry: u64) -> Vec<(u64, String, TypeRef)>;

    /// The types of the variables in scope at `pc` that have no place there, or of all if
    /// each has. `in_call`: it is the last byte of a call.
    fn scope(&self, pc: u64, in_call: bool) -> Vec<TypeRef>;
}

enum Slot {
    Named(ShapeKind),
    Built(Rc<Shape>),
}

/// All shapes.
pub(super) struct Shapes<'a> {
    types: &'a Types,
    slots: Vec<Slot>,
    of_type: HashMap<TypeRef, ShapeId>,
    of_kind: HashMap<(u8, u64, u64), ShapeId, AddressHash>,
    /// Descriptors of map types that debug entries describe.
    described: HashMap<DieOffset, u64>,
    dynamic: HashMap<u64, Option<(ShapeId, bool)>, AddressHash>,
    captured: HashMap<u64, Rc<[Captured]>, AddressHash>,
    lore: &'a Lore,
    /// Shapes that are being built.
    building: Vec<ShapeId>,
    /// Fields and elems that may still be looked at for the outermost of them.
    parts_left: usize,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(types: &'a Types, lore: &'a Lore) -> Self {
        let mut described = HashMap::new();
        for (address, _) in types.map_descriptors() {
            if let Ok(Some(TypeRef::Dwarf(offset))) = types.of_descriptor(address) {
                described.insert(offset, address);
            }
        }
        let nothing = Shape {
            size: 0,
            edges: Vec::new(),
            kind: ShapeKind::Func,
        };
        Self {
            types,
            slots: vec![Slot::Built(Rc::new(nothing))],
            of_type: HashMap::new(),
            of_kind: HashMap::default(),
            described,
            dynamic: HashMap::default(),
            captured: HashMap::default(),
            lore,
            building: Vec::new(),
            parts_left: 0,
        }
    }

    pub(super) fn types(&self) -> &'a Types {
        self.types
    }

    pub(super) fn lore(&self) -> &'a Lore {
        self.lore
    }

    fn push(&mut self, kind: ShapeKind) -> ShapeId {
        if self.slots.len() >= SHAPES_MAX {
            return NONE;
        }
        let id = self.slots.len() as u32;
        self.slots.push(Slot::Named(kind));
        id
    }

    /// The shape of a type.
    pub(super) fn of(&mut self, at: TypeRef) -> ShapeId {
        if let Some(id) = self.of_type.get(&at) {
            return *id;
        }
        let id = self.push(ShapeKind::Value(at));
        self.of_type.insert(at, id);
        id
    }

    /// The shape of anything but a type.
    pub(super) fn with(&mut self, kind: ShapeKind) -> ShapeId {
        let key = match kind {
            ShapeKind::Value(at) => return self.of(at),
            ShapeKind::Array { elem, len } => (1, u64::from(elem), len),
            ShapeKind::Header(map) => (2, u64::from(map), 0),
            ShapeKind::Directory(map) => (3, u64::from(map), 0),
            ShapeKind::Table(map) => (4, u64::from(map), 0),
            ShapeKind::Units { map, len } => (5, u64::from(map), len),
            ShapeKind::Chan(elem) => (6, u64::from(elem), 0),
            ShapeKind::Func => (7, 0, 0),
            ShapeKind::Closure(entry) => (8, entry, 0),
            ShapeKind::Pointer(target) => (9, u64::from(target), 0),
            ShapeKind::Slice(elem) => (10, u64::from(elem), 0),
        };
        if let Some(id) = self.of_kind.get(&key) {
            return *id;
        }
        let id = self.push(kind);
        self.of_kind.insert(key, id);
        id
    }

    /// What a shape stands for.
    pub(super) fn kind(&self, id: ShapeId) -> ShapeKind {
        match self.slots.get(id as usize) {
            Some(Slot::Named(kind)) => *kind,
            Some(Slot::Built(shape)) => shape.kind,
            None => ShapeKind::Func,
        }
    }

    /// The shape with its edges.
    pub(super) fn get(
        &mut self,
        objects: &Objects<'_>,
        catalogue: &mut Catalogue,
        id: ShapeId,
    ) -> Rc<Shape> {
        if let Some(Slot::Built(shape)) = self.slots.get(id as usize) {
            return Rc::clone(shape);
        }
        let kind = self.kind(id);
        // No Go type holds itself, nor so many in one another.
        if self.building.contains(&id) || self.building.len() >= DEPTH_MAX {
            let edges = Vec::new();
            return Rc::new(Shape {
                size: 0,
                edges,
                kind,
            });
        }
        if self.building.is_empty() {
            self.parts_left = PARTS_MAX;
        }
        self.building.push(id);
        let shape = Rc::new(self.build(objects, catalogue, kind));
        self.building.pop();
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Slot::Built(Rc::clone(&shape));
        }
        shape
    }

    fn build(
        &mut self,
        objects: &Objects<'_>,
        catalogue: &mut Catalogue,
        kind: ShapeKind,
    ) -> Shape {
        let (size, edges) = match kind {
            ShapeKind::Value(at) => {
                let size = self.types.get(at).map_or(0, |described| described.size);
                let mut edges = Vec::new();
                self.flatten(objects, catalogue, at, 0, 0, &mut edges);
                edges.retain(|edge| {
                    let len = match edge.to {
                        To::Array { len, stride, .. } => len.saturating_mul(stride),
                        _ => 8,
                    };
                    edge.offset.saturating_add(len) <= size
                });
                (size, edges)
            }
            ShapeKind::Array { elem, len } => {
                let inner = self.get(objects, catalogue, elem);
                let edges = if inner.edges.is_empty() || inner.size == 0 {
                    Vec::new()
                } else {
                    vec![Edge {
                        offset: 0,
                        to: To::Array {
                            elem,
                            len,
                            stride: inner.size,
                        },
                    }]
                };
                (inner.size.saturating_mul(len), edges)
            }
            ShapeKind::Header(map) | ShapeKind::Directory(map) | ShapeKind::Table(map) => {
                let layout = catalogue.map(map).and_then(|map| map.layout.clone());
                let size = layout.map_or(0, |layout| match (kind, layout.header) {
                    (ShapeKind::Table(_), Header::Swiss(swiss)) => swiss.table.size as u64,
                    (ShapeKind::Directory(_), _) => 8,
                    _ => layout.header_size() as u64,
                });
                // Any edge: what they lead to is found by their fields.
                let follow = Edge {
                    offset: 0,
                    to: To::Func,
                };
                (size, vec![follow])
            }
            ShapeKind::Units { map, len } => self.units(objects, catalogue, map, len),
            ShapeKind::Pointer(target) => (
                8,
                vec![Edge {
                    offset: 0,
                    to: To::Pointer(target),
                }],
            ),
            ShapeKind::Slice(elem) => (
                24,
                vec![Edge {
                    offset: 0,
                    to: To::Slice(elem),
                }],
            ),
            ShapeKind::Chan(_) | ShapeKind::Func | ShapeKind::Closure(_) => (
                8,
                vec![Edge {
                    offset: 0,
                    to: To::Func,
                }],
            ),
        };
        Shape { size, edges, kind }
    }

    fn units(
        &mut self,
        objects: &Objects<'_>,
        catalogue: &mut Catalogue,
        map: u32,
        len: u64,
    ) -> (u64, Vec<Edge>) {
        let Some((layout, key, elem)) = self.sides(catalogue, map) else {
            return (0, Vec::new());
        };
        let size = (layout.unit_size as u64).saturating_mul(len);
        let mut follow = Vec::new();
        for side in [key, elem] {
            if !self.get(objects, catalogue, side).edges.is_empty() {
                follow.push(Edge {
                    offset: 0,
                    to: To::Pointer(side),
                });
            }
        }
        (size, follow)
    }

    /// A map type's layout, and the shapes of its keys and elems.
    pub(super) fn sides(
        &mut self,
        catalogue: &Catalogue,
        map: u32,
    ) -> Option<(Rc<MapLayout>, ShapeId, ShapeId)> {
        let known = catalogue.map(map)?;
        let layout = Rc::clone(known.layout.as_ref()?);
        let described = self.types.get(TypeRef::Runtime(known.descriptor)).ok()?;
        match described.kind {
            Kind::Map { key, elem } => Some((layout, self.of(key), self.of(elem))),
            _ => None,
        }
    }

    /// The number of the map type that a type is.
    fn map_number(
        &mut self,
        objects: &Objects<'_>,
        catalogue: &mut Catalogue,
        at: TypeRef,
    ) -> Option<u32> {
        let descriptor = match at {
            TypeRef::Runtime(address) => address,
            TypeRef::Dwarf(offset) => match self.described.get(&offset) {
                Some(address) => *address,
                None => {
                    // Without a mark in the debug entry, the only one of this name.
                    let known = match self.types.descriptor_of(at) {
                        Some(address) => address,
                        None => {
                            let name = &self.types.get(at).ok()?.name;
                            match self.types.maps_named(name).as_slice() {
                                [TypeRef::Runtime(only)] => *only,
                                _ => return None,
                            }
                        }
                    };
                    self.described.insert(offset, known);
                    known
                }
            },
        };
        catalogue.of_descriptor(objects, self.types, descriptor)
    }

    /// Adds what a value of the type at `base` leads to.
    fn flatten(
        &mut self,
        objects: &Objects<'_>,
        catalogue: &mut Catalogue,
        at: TypeRef,
        base: u64,
        depth: usize,
        edges: &mut Vec<Edge>,
    ) {
        let Ok(described) = self.types.get(at) else {
            return;
        };
        if depth > DEPTH_MAX || edges.len() >= EDGES_MAX || self.parts_left == 0 {
            return;
        }
        self.parts_left -= 1;
        let mut edge = |to| edges.push(Edge { offset: base, to });
        match &described.kind {
            Kind::Pointer(Some(target)) => edge(To::Pointer(self.of(*target))),
            Kind::Slice { elem } => edge(To::Slice(self.of(*elem))),
            Kind::Interface { empty: true } => edge(To::Empty),
            Kind::Interface { empty: false } => edge(To::Interface),
            Kind::Func => edge(To::Func),
            Kind::Chan { elem: Some(elem) } => edge(To::Chan(self.of(*elem))),
            Kind::Map { .. } => {
                if let Some(map) = self.map_number(objects, catalogue, at) {
                    edge(To::Map(map));
                }
            }
            Kind::Array { elem, len } if *len <= SPELLED_MAX => {
                let stride = self.types.get(*elem).map_or(0, |elem| elem.size);
                for index in 0..*len {
                    let place = base.saturating_add(index.saturating_mul(stride));
                    self.flatten(objects, catalogue, *elem, place, depth + 1, edges);
                }
            }
            Kind::Array { elem, len } => {
                let elem = self.of(*elem);
                let inner = self.get(objects, catalogue, elem);
                if !inner.edges.is_empty() && inner.size > 0 {
                    edge(To::Array {
                        elem,
                        len: *len,
                        stride: inner.size,
                    });
                }
            }
            Kind::Struct { fields } => {
                if described.full_name == "reflect.Value" && described.size == 24 {
                    edge(To::Reflect);
                    return;
                }
                if let Some(to) = self.atomic(&described) {
                    let pointer = fields.iter().rev().find(|field| {
                        self.types
                            .get(field.field_type)
                            .is_ok_and(|found| matches!(found.kind, Kind::UnsafePointer))
                    });
                    if let Some(field) = pointer {
                        edges.push(Edge {
                            offset: base.saturating_add(field.offset),
                            to,
                        });
                        return;
                    }
                }
                for field in fields {
                    let place = base.saturating_add(field.offset);
                    self.flatten(
                        objects,
                        catalogue,
                        field.field_type,
                        place,
                        depth + 1,
                        edges,
                    );
                }
            }
            _ => {}
        }
    }

    /// What `sync/atomic.Pointer[T]` leads to: its field of type `[0]*T` tells T
    /// (sync/atomic/type.go).
    fn atomic(&mut self, described: &crate::gotype::Type) -> Option<To> {
        let name = &described.full_name;
        let is_pointer =
            name.starts_with("sync/atomic.Pointer[") || name.starts_with("atomic.Pointer[");
        let Kind::Struct { fields } = &described.kind else {
            return None;
        };
        if !is_pointer {
            return None;
        }
        fields.iter().find_map(|field| {
            let Kind::Array { elem, len: 0 } = self.types.get(field.field_type).ok()?.kind else {
                return None;
            };
            let Kind::Pointer(Some(target)) = self.types.get(elem).ok()?.kind else {
                return None;
            };
            self.trie(target)
                .or_else(|| Some(To::Pointer(self.of(target))))
        })
    }

    /// The nodes of `internal/sync.HashTrieMap` (the sync.Map of go1.24 and later), which
    /// point to one another by their common beginning.
    fn trie(&mut self, target: TypeRef) -> Option<To> {
        let name = self.types.get(target).ok()?.full_name.clone();
        let parameters = name.strip_prefix("internal/sync.node")?;
        // Some are only described by the shape of their code.
        let shaped = parameters
            .replace('[', "[go.shape.")
            .replace(',', ",go.shape.");
        let find = |kind: &str| {
            [parameters, shaped.as_str()]
                .iter()
                .find_map(|suffix| self.types.named(&format!("internal/sync.{kind}{suffix}")))
        };
        let (entry, indirect) = (find("entry")?, find("indirect")?);
        Some(To::Trie {
            entry: self.of(entry),
            indirect: self.of(indirect),
        })
    }

    /// The shape of the type with this descriptor, and whether an interface holds its values
    /// in place; `None` if there is no type.
    pub(super) fn dynamic(&mut self, descriptor: u64) -> Option<(ShapeId, bool)> {
        if let Some(known) = self.dynamic.get(&descriptor) {
            return *known;
        }
        let found = self.types.of_descriptor(descriptor).ok().flatten();
        let direct = self.types.is_direct(descriptor).ok();
        let known = found
            .filter(|at| self.types.get(*at).is_ok())
            .zip(direct)
            .map(|(at, direct)| (self.of(at), direct));
        if self.dynamic.len() < SHAPES_MAX {
            self.dynamic.insert(descriptor, known);
        }
        known
    }

    /// The shape of what code says a word is.
    pub(super) fn told(&mut self, fact: Fact) -> ShapeId {
        let mut of = |descriptor| self.of(TypeRef::Runtime(descriptor));
        match fact {
            Fact::Map(descriptor) | Fact::Chan(descriptor) => of(descriptor),
            Fact::Pointer(descriptor) => {
                let target = of(descriptor);
                self.with(ShapeKind::Pointer(target))
            }
            Fact::Slice(descriptor) => {
                let elem = of(descriptor);
                self.with(ShapeKind::Slice(elem))
            }
            Fact::Ambiguous => NONE,
        }
    }

    /// What a closure of the function at `entry` holds: by the debug information, else by
    /// its name (a method value), else by its code.
    pub(super) fn captured(&mut self, closures: &dyn Closures, entry: u64) -> Rc<[Captured]> {
        if let Some(known) = self.captured.get(&entry) {
            return Rc::clone(known);
        }
        let mut found: Vec<Captured> = closures
            .captured(entry)
            .into_iter()
            .map(|(offset, name, at)| Captured {
                offset,
                name: name.as_str().into(),
                shape: self.of(at),
                by_reference: false,
            })
            .collect();
        if found.is_empty()
            && let Some((descriptor, pointer)) = self.lore.method_value(entry)
        {
            let shape = match pointer {
                true => self.told(Fact::Pointer(descriptor)),
                false => self.of(TypeRef::Runtime(descriptor)),
            };
            found.push(Captured {
                offset: 8,
                name: "receiver".into(),
                shape,
                by_reference: false,
            });
        }
        if found.is_empty() {
            for (offset, by_reference, fact) in self.lore.captured(entry) {
                let shape = self.told(*fact);
                if shape != NONE {
                    found.push(Captured {
                        offset: *offset,
                        name: format!("+{offset}").into(),
                        shape,
                        by_reference: *by_reference,
                    });
                }
            }
        }
        let found: Rc<[Captured]> = found.into();
        if self.captured.len() < SHAPES_MAX {
            self.captured.insert(entry, Rc::clone(&found));
        }
        found
    }
}
