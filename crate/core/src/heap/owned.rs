//! What a map's blocks take of the heap.

use super::{Heap, HeapSpan};
use crate::map::Walk;
use crate::memory::ReadError;

/// The allocator's slots that hold the blocks of a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Bytes of the slots, each counted once.
    pub bytes: u64,
    /// Slots.
    pub slots: u64,
    /// Blocks on goroutine stacks: they count 0 bytes.
    pub on_stack: u64,
    /// Blocks outside the heap, in the executable's data for example: 0 bytes as well.
    pub outside: u64,
    /// Blocks whose slot is not allocated: the map is not in use any more, or memory was
    /// overwritten. Their slots are counted.
    pub free: u64,
    /// Spans that hold the blocks.
    pub spans: u64,
    /// Slots of these spans.
    pub span_slots: u64,
    /// Free ones among them.
    pub span_free: u64,
}

/// Allocation bitmaps longer than this belong to no span.
const BITS_MAX: u32 = 1 << 20;

/// Sums up the slots of a walk's blocks. Keys and elems that are kept outside the slots
/// are no blocks of the walk and not in it.
///
/// # Errors
/// When the runtime's own structures are unreadable.
pub fn allocated(heap: &Heap, walk: &Walk) -> Result<Allocated, ReadError> {
    let mut starts: Vec<u64> = walk.blocks.iter().map(|block| block.span.start).collect();
    starts.sort_unstable();
    let mut sum = Allocated::default();
    let mut span: Option<(HeapSpan, Vec<u8>)> = None;
    let mut last = None;
    for start in starts {
        if span.as_ref().is_none_or(|(span, _)| !span.contains(start)) {
            span = match heap.span_of(start)? {
                Some(found) => {
                    let bits = bits(heap, &found)?;
                    if found.state == super::State::InUse {
                        sum.spans += 1;
                        sum.span_slots += u64::from(found.slots);
                        sum.span_free += (0..found.slots)
                            .filter(|index| !is_allocated(&found, &bits, *index))
                            .count() as u64;
                    }
                    Some((found, bits))
                }
                None => None,
            };
        }
        let slot = span.as_ref().and_then(|(span, bits)| {
            let slot = span.slot(start, heap.malloc_headers())?;
            Some((slot, is_allocated(span, bits, slot.index)))
        });
        match slot {
            None => sum.outside += 1,
            Some((slot, _)) if slot.is_stack => sum.on_stack += 1,
            Some((slot, _)) if last == Some(slot.base) => {}
            Some((slot, in_use)) => {
                last = Some(slot.base);
                sum.bytes = sum.bytes.saturating_add(slot.size);
                sum.slots += 1;
                sum.free += u64::from(!in_use);
            }
        }
    }
    Ok(sum)
}

/// The allocation bits of a span, those below its free index not looked at.
fn bits(heap: &Heap, span: &HeapSpan) -> Result<Vec<u8>, ReadError> {
    if span.slots > BITS_MAX || span.free_index >= span.slots {
        return Ok(Vec::new());
    }
    let mut bits = vec![0; span.slots.div_ceil(8) as usize];
    match heap.memory.read(span.alloc_bits, &mut bits) {
        Ok(()) => Ok(bits),
        Err(ReadError::Fault { .. }) => Ok(Vec::new()),
        Err(interrupted) => Err(interrupted),
    }
}

fn is_allocated(span: &HeapSpan, bits: &[u8], index: u32) -> bool {
    index < span.free_index
        || bits
            .get(index as usize / 8)
            .is_some_and(|byte| byte >> (index % 8) & 1 != 0)
}
