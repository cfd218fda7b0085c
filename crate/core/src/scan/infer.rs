//! Types of maps to which no typed memory leads: inferred from what points to them. An
//! object of the size and with the pointers of one struct type, a closure, a frame: each leaves
//! few map types, and what all of them leave is what a map can be.

use std::collections::{HashMap, HashSet};

use super::code::Fact;
use super::mark::{Frame, Roots, each_word};
use super::reach::Reach;
use super::shape::{Edge, ShapeId, ShapeKind, To};
use super::{FoundMap, Label, Place, State as MapState};
use crate::gotype::TypeRef;
use crate::memory::{AddressHash, ReadError, Span};

/// Pointers to maps that are looked at.
const REFERENCES_MAX: usize = 1 << 20;

/// Callers that are asked.
const CALLERS_MAX: usize = 4;

/// Largest object that is compared with struct types.
const OBJECT_MAX: u64 = 512;

/// What points to a map or to a variable that holds one.
#[derive(Debug, Clone, Copy)]
enum Referrer {
    /// An object; the offset of the word.
    Object { number: u32, offset: u64 },
    /// A frame, by its place in the list of roots.
    Frame(usize),
    /// A word of a package's variable.
    Variable(u64),
}

/// The struct types of one size and set of pointers, `count` of them in a row.
struct Kinds {
    by_look: HashMap<(u64, u64), Vec<(ShapeId, u64)>>,
}

/// Infers what it can.
///
/// # Errors
/// When the user asked to stop.
pub(super) fn infer(
    reach: &mut Reach<'_, '_>,
    roots: &Roots<'_>,
    maps: &mut [FoundMap],
) -> Result<(), ReadError> {
    let mut open: HashMap<u64, usize, AddressHash> = HashMap::default();
    for (position, map) in maps.iter().enumerate() {
        if map.label != Label::Exact && map.state == MapState::Live {
            open.insert(map.address, position);
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut references = Vec::new();
    let targets: HashSet<u64, AddressHash> = open.keys().copied().collect();
    objects_with(reach, &targets, &mut references)?;
    frames_with(reach, roots, &targets, &mut references)?;
    // A header on a stack belongs to the frame around it.
    for map in maps.iter().filter(|map| map.place == Place::Stack) {
        let own = roots
            .frames
            .iter()
            .position(|frame| frame.sp <= map.address && map.address < frame.cfa);
        references.extend(own.map(|index| (map.address, Referrer::Frame(index))));
    }
    variables_with(reach, &targets, &mut references)?;
    // Variables that were moved to the heap: an object of one word.
    let mut boxes: HashMap<u64, u64, AddressHash> = HashMap::default();
    for (target, referrer) in &references {
        if let Referrer::Object { number, offset: 0 } = referrer
            && let Some((_, slot)) = reach.objects.slot(*number)
            && slot.size == 8
        {
            boxes.insert(slot.object(), *target);
        }
    }
    let holding: HashSet<u64, AddressHash> = boxes.keys().copied().collect();
    let mut behind = Vec::new();
    if !holding.is_empty() {
        objects_with(reach, &holding, &mut behind)?;
        frames_with(reach, roots, &holding, &mut behind)?;
    }
    references.extend(
        behind
            .into_iter()
            .filter_map(|(place, referrer)| Some((*boxes.get(&place)?, referrer))),
    );
    let kinds = Kinds::new(reach);
    let mut allowed: HashMap<usize, Vec<u32>> = HashMap::new();
    let mut by_frames: HashMap<usize, Vec<u32>> = HashMap::new();
    for (target, referrer) in references {
        let Some(position) = open.get(&target) else {
            continue;
        };
        let hint = match referrer {
            Referrer::Object { number, offset } => object_hint(reach, &kinds, number, offset)?,
            Referrer::Variable(address) => array_hint(reach, address),
            Referrer::Frame(index) => frames_hint(reach, roots, index)?,
        };
        if hint.is_empty() {
            continue;
        }
        // A frame may hold what is not one of its variables any more: it counts only where no
        // object tells better.
        let told = match referrer {
            Referrer::Object { .. } | Referrer::Variable(_) => &mut allowed,
            Referrer::Frame(_) => &mut by_frames,
        };
        told.entry(*position)
            .and_modify(|known| known.retain(|map| hint.contains(map)))
            .or_insert(hint);
    }
    for (position, told) in by_frames {
        allowed.entry(position).or_insert(told);
    }
    for (position, mut allowed) in allowed {
        let Some(map) = maps.get_mut(position) else {
            continue;
        };
        if let Some(set) = map
            .type_index()
            .and_then(|set| reach.catalogue.sets.get(set))
        {
            allowed.retain(|found| set.contains(found));
        }
        allowed.sort_unstable();
        allowed.dedup();
        match (allowed.len(), map.label) {
            (0, _) => {}
            // The allocator's note says as much of key and elem, and is proof.
            (1, _) => {
                map.label = Label::Inferred;
                map.set = reach.catalogue.set_of(allowed);
            }
            (_, Label::Parts) => {}
            _ => {
                map.label = Label::OneOf;
                map.set = reach.catalogue.set_of(allowed);
            }
        }
    }
    Ok(())
}

/// Objects of which nothing is known that hold one of these addresses.
fn objects_with(
    reach: &mut Reach<'_, '_>,
    targets: &HashSet<u64, AddressHash>,
    found: &mut Vec<(u64, Referrer)>,
) -> Result<(), ReadError> {
    let objects = reach.objects;
    let mut grey = reach.unknown();
    let abi = objects.heap.abi();
    grey.drain(objects, &mut |_, body| {
        let Some(span) = objects.spans.get(body.span) else {
            return Ok(());
        };
        let header = objects.heap.header_of(span);
        for (index, word) in (0_u64..).zip(body.bytes.chunks_exact(8)) {
            let word = abi.uint(word);
            let offset = body.offset + 8 * index;
            if word >= 4096
                && offset >= header
                && targets.contains(&word)
                && found.len() < REFERENCES_MAX
            {
                found.push((
                    word,
                    Referrer::Object {
                        number: body.number,
                        offset: offset - header,
                    },
                ));
            }
        }
        Ok(())
    })
}

/// Frames that hold one of these addresses.
fn frames_with(
    reach: &Reach<'_, '_>,
    roots: &Roots<'_>,
    targets: &HashSet<u64, AddressHash>,
    found: &mut Vec<(u64, Referrer)>,
) -> Result<(), ReadError> {
    let abi = reach.objects.heap.abi();
    let mut buffer = Vec::new();
    for (index, frame) in roots.frames.iter().enumerate() {
        let range = Span {
            start: frame.sp,
            len: frame.cfa.saturating_sub(frame.sp).min(1 << 20),
        };
        each_word(reach.objects, range, &mut buffer, &mut |place, bytes| {
            let word = abi.uint(bytes);
            let place = Span {
                start: range.start + 8 * place,
                len: 8,
            };
            if word >= 4096
                && targets.contains(&word)
                && frame.in_use(place)
                && found.len() < REFERENCES_MAX
            {
                found.push((word, Referrer::Frame(index)));
            }
        })?;
    }
    Ok(())
}

/// Variables of packages that hold one of these addresses.
fn variables_with(
    reach: &Reach<'_, '_>,
    targets: &HashSet<u64, AddressHash>,
    found: &mut Vec<(u64, Referrer)>,
) -> Result<(), ReadError> {
    if reach.shapes.lore().arrays.is_empty() {
        return Ok(());
    }
    let abi = reach.objects.heap.abi();
    let mut buffer = Vec::new();
    for range in reach.variables() {
        each_word(reach.objects, range, &mut buffer, &mut |index, bytes| {
            let word = abi.uint(bytes);
            if word >= 4096 && targets.contains(&word) && found.len() < REFERENCES_MAX {
                found.push((word, Referrer::Variable(range.start + 8 * index)));
            }
        })?;
    }
    Ok(())
}

/// The map type at a place of an array that code goes through.
fn array_hint(reach: &mut Reach<'_, '_>, address: u64) -> Vec<u32> {
    let arrays = &reach.shapes.lore().arrays;
    let after = arrays.partition_point(|(start, _)| *start <= address);
    let Some((start, fact)) = after.checked_sub(1).and_then(|at| arrays.get(at)).copied() else {
        return Vec::new();
    };
    match fact {
        Fact::Map(descriptor) => reach.number(descriptor).into_iter().collect(),
        Fact::Pointer(descriptor) => {
            let shape = reach.shapes.of(TypeRef::Runtime(descriptor));
            let built = reach.shape(shape);
            let Some(inside) = (address - start).checked_rem(built.size) else {
                return Vec::new();
            };
            built
                .edges
                .iter()
                .filter(|edge| edge.offset == inside)
                .filter_map(|edge| match edge.to {
                    To::Map(map) => Some(map),
                    _ => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

impl Kinds {
    fn new(reach: &mut Reach<'_, '_>) -> Self {
        let mut by_look: HashMap<(u64, u64), Vec<(ShapeId, u64)>> = HashMap::new();
        let lore = reach.shapes.lore();
        for (descriptor, _) in &lore.structs {
            let Ok(mask) = reach.objects.mask(*descriptor) else {
                continue;
            };
            if mask.size == 0 || mask.size > OBJECT_MAX || mask.pointer_bytes == 0 {
                continue;
            }
            let shape = reach.shapes.of(TypeRef::Runtime(*descriptor));
            let holds = |edge: &Edge| !matches!(edge.to, To::Array { .. });
            if !reach.shape(shape).edges.iter().any(holds) {
                continue;
            }
            let words = mask.size / 8;
            let one = (0..words)
                .filter(|word| mask.is_pointer(word * 8))
                .fold(0_u64, |bits, word| bits | 1 << word);
            for count in 1..=OBJECT_MAX / mask.size {
                let slot = reach.catalogue.allocator.slot(mask.size * count, false);
                let bits = (0..count)
                    .map(|index| index * words)
                    .take_while(|shift| *shift < 64)
                    .fold(0, |bits, shift| bits | one << shift);
                by_look
                    .entry((slot, bits))
                    .or_default()
                    .push((shape, count));
            }
        }
        Self { by_look }
    }
}

/// The map types that a word of an object of unknown type can be.
fn object_hint(
    reach: &mut Reach<'_, '_>,
    kinds: &Kinds,
    number: u32,
    offset: u64,
) -> Result<Vec<u32>, ReadError> {
    let Some((at, slot)) = reach.objects.slot(number) else {
        return Ok(Vec::new());
    };
    let memory = reach.objects.heap.memory();
    let mut bytes = vec![0; slot.usable().min(OBJECT_MAX) as usize];
    match memory.read(slot.object(), &mut bytes) {
        Ok(()) => {}
        Err(ReadError::Fault { .. }) => return Ok(Vec::new()),
        Err(interrupted) => return Err(interrupted),
    }
    let abi = reach.objects.heap.abi();
    let word = |offset: u64| abi.uint_at(&bytes, offset as usize, 8).unwrap_or(0);
    // A closure begins with its function.
    let first = word(0);
    if reach.is_function(first) {
        return Ok(closure_hint(reach, first));
    }
    if slot.size > OBJECT_MAX {
        return Ok(Vec::new());
    }
    let Some(look) = look(reach, at, slot.base, slot.size)? else {
        return Ok(Vec::new());
    };
    let Some(candidates) = kinds.by_look.get(&(slot.size, look)) else {
        return Ok(Vec::new());
    };
    let mut hint = Vec::new();
    let mut all_maps = true;
    for place in (0..slot.usable()).step_by(8) {
        let value = word(place);
        all_maps &= value == 0 || reach.is_header(value);
    }
    if all_maps {
        // It may as well be an array of maps of any type.
        return Ok(Vec::new());
    }
    for (shape, count) in candidates {
        let built = reach.shape(*shape);
        let inside = offset % built.size;
        let Some(map) = built.edges.iter().find_map(|edge| match edge.to {
            To::Map(map) if edge.offset == inside => Some(map),
            _ => None,
        }) else {
            continue;
        };
        let fits = (0..*count).all(|index| {
            built.edges.iter().all(|edge| {
                let value = word(index.wrapping_mul(built.size).wrapping_add(edge.offset));
                plausible(reach, edge, value)
            })
        });
        if fits && !hint.contains(&map) {
            hint.push(map);
        }
    }
    Ok(hint)
}

/// Whether a word can be what a type says.
fn plausible(reach: &mut Reach<'_, '_>, edge: &Edge, value: u64) -> bool {
    if value == 0 {
        return true;
    }
    match edge.to {
        To::Map(_) => reach.is_header(value) || reach.objects.find(value).is_none(),
        To::Pointer(target) => match reach.objects.begins(value) {
            Some((_, slot, _)) => {
                let size = reach.shape(target).size;
                let pointers = !reach.shape(target).edges.is_empty();
                // The pointers of some types are not edges: strings.
                size == 0
                    || slot.usable() >= size
                        && (!pointers || !slot.noscan)
                        && (slot.size == reach.catalogue.allocator.slot(size, slot.noscan)
                            || slot.size % size < size)
            }
            None => true,
        },
        To::Chan(_) | To::Func => true,
        To::Empty => reach.type_at(value).is_some(),
        _ => true,
    }
}

/// Which words of an object are pointers, by the heap's own bitmap.
fn look(
    reach: &Reach<'_, '_>,
    span: usize,
    base: u64,
    size: u64,
) -> Result<Option<u64>, ReadError> {
    let Some(span) = reach.objects.spans.get(span) else {
        return Ok(None);
    };
    let Some(bits) = reach.objects.span_bitmap(span)? else {
        return Ok(None);
    };
    let first = (base - span.base) / 8;
    let count = (size / 8) as usize;
    let mut bytes = [0; 9];
    let skip = (first % 8) as usize;
    let len = (skip + count).div_ceil(8).min(9);
    let memory = reach.objects.heap.memory();
    let part = bytes.get_mut(..len).unwrap_or_default();
    match memory.read(bits.wrapping_add(first / 8), part) {
        Ok(()) => {}
        Err(ReadError::Fault { .. }) => return Ok(None),
        Err(interrupted) => return Err(interrupted),
    }
    let all = bytes
        .iter()
        .rev()
        .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let found = (all >> skip) as u64;
    Ok(Some(match count < 64 {
        true => found & ((1 << count) - 1),
        false => found,
    }))
}

/// The map types that a closure of a function can hold.
fn closure_hint(reach: &mut Reach<'_, '_>, entry: u64) -> Vec<u32> {
    let mut described = reach.captured_types(entry);
    if described.is_empty() {
        described = reach.scope(entry, false);
    }
    let found = maps_of(reach, &described);
    if !found.is_empty() {
        return found;
    }
    let own = reach.mentioned(entry);
    if !own.is_empty() {
        return own;
    }
    // What it captured was made in the function around it.
    reach.mentioned_around(entry)
}

/// The map types that a frame's function deals with, or, where it names none, those of the
/// functions that called it: what it holds was handed to it.
fn frames_hint(
    reach: &mut Reach<'_, '_>,
    roots: &Roots<'_>,
    index: usize,
) -> Result<Vec<u32>, ReadError> {
    let mut at = index;
    for _ in 0..CALLERS_MAX {
        let Some(frame) = roots.frames.get(at) else {
            break;
        };
        let mut found = frame_hint(reach, frame)?;
        if found.is_empty() && !reach.scope(frame.pc, frame.in_call).is_empty() {
            // The debug information knows it: there is no such variable.
            return Ok(found);
        }
        if found.is_empty() {
            // `go f(x)` runs in a function of its own, made of the one it stands in.
            found = reach.mentioned_around(frame.entry);
        }
        if !found.is_empty() {
            return Ok(found);
        }
        at += 1;
        if roots
            .frames
            .get(at)
            .is_none_or(|caller| caller.sp != frame.cfa)
        {
            break;
        }
    }
    Ok(Vec::new())
}

/// The map types of the variables of a frame.
fn frame_hint(reach: &mut Reach<'_, '_>, frame: &Frame) -> Result<Vec<u32>, ReadError> {
    let described = reach.scope(frame.pc, frame.in_call);
    let mut found = maps_of(reach, &described);
    if found.is_empty() {
        found = reach.mentioned(frame.entry);
    }
    // A generic function keeps the list of its types at hand.
    let mut lists = Vec::new();
    let abi = reach.objects.heap.abi();
    let range = Span {
        start: frame.sp,
        len: frame.cfa.saturating_sub(frame.sp).min(1 << 16) + 64,
    };
    let mut buffer = Vec::new();
    each_word(reach.objects, range, &mut buffer, &mut |_, bytes| {
        lists.push(abi.uint(bytes));
    })?;
    lists.sort_unstable();
    lists.dedup();
    for list in lists {
        if reach.objects.span_at(list).is_none() && list >= 4096 {
            found.extend(reach.listed(list));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The map types in values of these types, or behind one pointer from them.
fn maps_of(reach: &mut Reach<'_, '_>, types: &[TypeRef]) -> Vec<u32> {
    let mut found = Vec::new();
    for at in types {
        match reach.unshaped(*at) {
            Ok(map) => found.extend(map),
            // What is left would be too little.
            Err(()) => return Vec::new(),
        }
        let shape = reach.shapes.of(*at);
        let edges = reach.shape(shape);
        for edge in &edges.edges {
            match edge.to {
                To::Map(map) => found.push(map),
                To::Pointer(target) => {
                    if let ShapeKind::Value(_) = reach.shapes.kind(target) {
                        let inner = reach.shape(target);
                        found.extend(inner.edges.iter().filter_map(|edge| match edge.to {
                            To::Map(map) => Some(map),
                            _ => None,
                        }));
                    }
                }
                _ => {}
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
