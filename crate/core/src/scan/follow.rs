//! The order in which typed memory is followed: what a person would name a map by comes
//! first.

use super::code::Fact;
use super::lore::Lore;
use super::mark::{Roots, Variable};
use super::reach::Reach;
use super::shape::ShapeKind;
use super::{FoundMap, Label};
use crate::gotype::TypeRef;
use crate::heap::HeapSpan;
use crate::memory::{RangeReader, ReadError, Span};

/// Follows types from everything that has one.
///
/// # Errors
/// When the user asked to stop; what was reached until then is there.
pub(super) fn follow(
    reach: &mut Reach<'_, '_>,
    roots: &Roots<'_>,
    lore: &Lore,
    maps: &[FoundMap],
) -> Result<(), ReadError> {
    let of_runtime = |variable: &&Variable| variable.name.starts_with("runtime.");
    let (runtime, own): (Vec<&Variable>, Vec<&Variable>) =
        roots.globals.iter().partition(of_runtime);
    for variable in own {
        let shape = reach.shapes.of(variable.at);
        reach.global(&variable.name, variable.address, shape)?;
    }
    reach.run()?;
    for variable in &roots.locals {
        let shape = reach.shapes.of(variable.at);
        reach.variable(variable, shape)?;
    }
    reach.run()?;
    for variable in runtime {
        let shape = reach.shapes.of(variable.at);
        reach.global(&variable.name, variable.address, shape)?;
    }
    reach.run()?;
    for (address, fact) in &lore.variables {
        let shape = reach.shapes.told(*fact);
        let name = format!("variable at {address:#x}");
        reach.global(&name, *address, shape)?;
    }
    for (address, fact) in &lore.values {
        if let Fact::Pointer(descriptor) = fact {
            let shape = reach.shapes.of(TypeRef::Runtime(*descriptor));
            let name = format!("variable at {address:#x}");
            reach.global(&name, *address, shape)?;
        }
    }
    for (address, offset, fact) in &lore.behind {
        let shape = reach.shapes.told(*fact);
        let pointer = reach.pointer_at(*address)?;
        if pointer != 0 {
            let name = format!("variable at {address:#x} +{offset}");
            reach.global(&name, pointer.wrapping_add(*offset), shape)?;
        }
    }
    reach.run()?;
    noted_objects(reach)?;
    noted_maps(reach, maps)?;
    // Once: what nothing is known of afterwards was looked at already.
    reach.interfaces()
}

/// Objects of more than 512 bytes carry their type (since go1.22).
fn noted_objects(reach: &mut Reach<'_, '_>) -> Result<(), ReadError> {
    if !reach.objects.heap.malloc_headers() {
        return Ok(());
    }
    let objects = reach.objects;
    let mut noted = Vec::new();
    let mut spans = Vec::new();
    for (at, span) in objects.spans.iter().enumerate() {
        if !span.has_pointers() {
            continue;
        }
        if span.is_large() {
            let (first, _) = objects.numbers(at);
            if reach.is_live(first) && reach.is_unknown(first) {
                noted.push((first, at, span.large_type, span.slot_size));
            }
        } else if reach.objects.heap.header_of(span) > 0 {
            spans.push(at);
        }
    }
    let ranges: Vec<Span> = spans
        .iter()
        .filter_map(|at| objects.spans.get(*at))
        .map(HeapSpan::extent)
        .collect();
    let abi = objects.heap.abi();
    let memory = objects.memory;
    RangeReader::default().read(memory, &ranges, &mut |chunk| {
        memory.checkpoint(0, 0)?;
        let (Some(at), Some(bytes)) = (spans.get(chunk.index), chunk.bytes) else {
            return Ok(());
        };
        let Some(span) = objects.spans.get(*at) else {
            return Ok(());
        };
        let (first, end) = objects.numbers(*at);
        for (number, slot) in (first..end).zip(bytes.chunks_exact(span.slot_size as usize)) {
            if reach.is_live(number) && reach.is_unknown(number) {
                let descriptor = abi.pointer_at(slot, 0).unwrap_or(0);
                noted.push((number, *at, descriptor, span.slot_size - 8));
            }
        }
        Ok(())
    })?;
    for (number, span, descriptor, room) in noted {
        let Some((shape, _)) = reach.type_at(descriptor) else {
            continue;
        };
        // A map's storage is told by its map.
        if !reach.catalogue.with_unit(descriptor).is_empty() {
            continue;
        }
        let size = reach.shape(shape).size;
        let Some(len) = room.checked_div(size).filter(|len| *len > 0) else {
            continue;
        };
        let node = match len {
            1 => shape,
            len => reach.shapes.with(ShapeKind::Array { elem: shape, len }),
        };
        reach.seed(number, span, node);
    }
    reach.run()
}

/// Maps whose storage the allocator noted the type of: key and elem are certain.
fn noted_maps(reach: &mut Reach<'_, '_>, maps: &[FoundMap]) -> Result<(), ReadError> {
    for map in maps {
        if !matches!(map.label, Label::Exact | Label::Parts) {
            continue;
        }
        let first = map
            .type_index()
            .and_then(|set| reach.catalogue.sets.get(set)?.first().copied());
        if let (Some(first), Some((span, _, number))) = (first, reach.objects.begins(map.address))
            && reach.is_live(number)
        {
            let shape = reach.shapes.with(ShapeKind::Header(first));
            reach.seed(number, span, shape);
        }
    }
    reach.run()
}
