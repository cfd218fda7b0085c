//! What a map's blocks take of the heap.

use super::{Heap, HeapSpan, State};
use crate::map::{BlockKind, Walk};
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
    /// The header is one of them.
    pub header_on_stack: bool,
    /// Blocks outside the heap, in the executable's data for example: 0 bytes as well.
    pub outside: u64,
    /// Blocks whose slot is not allocated: the map is not in use any more, or memory was
    /// overwritten. Their slots are counted.
    pub free: u64,
    /// Spans that hold the blocks.
    pub spans: u64,
    /// Slots of these spans.
    pub span_slots: u64,
    /// Free ones among them; `None` where allocation bits are unreadable.
    pub span_free: Option<u64>,
}

/// Allocation bitmaps longer than this belong to no span.
const BITS_MAX: u32 = 1 << 20;

/// Sums up the slots of a walk's blocks. Keys and elems that are kept outside the slots
/// are no blocks of the walk and not in it.
///
/// # Errors
/// When the runtime's own structures are unreadable.
pub fn allocated(heap: &Heap, walk: &Walk) -> Result<Allocated, ReadError> {
    let mut starts: Vec<(u64, bool)> = walk
        .blocks
        .iter()
        .map(|block| (block.span.start, block.kind == BlockKind::Header))
        .collect();
    starts.sort_unstable();
    let mut sum = Allocated {
        span_free: Some(0),
        ..Allocated::default()
    };
    let mut span: Option<Held> = None;
    let mut last = None;
    for (number, (start, is_header)) in (0_u32..).zip(starts) {
        if number % 8192 == 8191 {
            heap.memory.checkpoint(0, 0)?;
        }
        if span.as_ref().is_none_or(|held| !held.span.contains(start)) {
            span = match heap.span_of(start)? {
                Some(found) => Some(Held {
                    bits: bits(heap, &found)?,
                    span: found,
                }),
                None => None,
            };
            if let Some(held) = &span
                && held.span.state == State::InUse
            {
                sum.spans += 1;
                sum.span_slots += u64::from(held.span.slots);
                sum.span_free = sum.span_free.zip(held.free()).map(|(sum, free)| sum + free);
            }
        }
        let slot = span.as_ref().and_then(|held| {
            let slot = heap.slot_in(&held.span, start)?;
            Some((slot, held.is_free(slot.index)))
        });
        match slot {
            None => sum.outside += 1,
            Some((slot, _)) if slot.is_stack => {
                sum.on_stack += 1;
                sum.header_on_stack |= is_header;
            }
            Some((slot, _)) if last == Some(slot.base) => {}
            Some((slot, is_free)) => {
                last = Some(slot.base);
                sum.bytes = sum.bytes.saturating_add(slot.size);
                sum.slots += 1;
                sum.free += u64::from(is_free == Some(true));
            }
        }
    }
    Ok(sum)
}

/// A span with its allocation bits, `None` where these are unreadable.
struct Held {
    span: HeapSpan,
    bits: Option<Vec<u8>>,
}

impl Held {
    /// Free slots: those from the free index on whose bit is not set (mspan.isFree).
    fn free(&self) -> Option<u64> {
        let bits = self.bits.as_ref()?;
        let first = self.span.free_index.min(self.span.slots);
        let set = bits
            .iter()
            .enumerate()
            .skip(first as usize / 8)
            .map(|(index, byte)| {
                let below = (first as usize).saturating_sub(8 * index).min(8);
                let above = (8 * (index + 1))
                    .saturating_sub(self.span.slots as usize)
                    .min(8);
                let mask = 0xff_u32 << below & 0xff_u32 >> above;
                (u32::from(*byte) & mask).count_ones()
            })
            .sum::<u32>();
        Some(u64::from((self.span.slots - first).saturating_sub(set)))
    }

    fn is_free(&self, index: u32) -> Option<bool> {
        if index < self.span.free_index {
            return Some(false);
        }
        let byte = self.bits.as_ref()?.get(index as usize / 8)?;
        Some(byte >> (index % 8) & 1 == 0)
    }
}

/// The allocation bits of a span; none where its free index leaves nothing to ask.
fn bits(heap: &Heap, span: &HeapSpan) -> Result<Option<Vec<u8>>, ReadError> {
    if span.state != State::InUse || span.free_index >= span.slots {
        return Ok(Some(Vec::new()));
    }
    if span.slots > BITS_MAX {
        return Ok(None);
    }
    let mut bits = vec![0; span.slots.div_ceil(8) as usize];
    match heap.memory.read(span.alloc_bits, &mut bits) {
        Ok(()) => Ok(Some(bits)),
        Err(ReadError::Fault { .. }) => Ok(None),
        Err(interrupted) => Err(interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_slots_are_counted_from_the_free_index_on() {
        let held = |slots, free_index, bits: &[u8]| Held {
            span: HeapSpan {
                slots,
                free_index,
                ..HeapSpan::default()
            },
            bits: Some(bits.to_vec()),
        };
        for free_index in 0..=20 {
            for bits in [[0, 0, 0], [0xff; 3], [0b1010_0101, 0x0f, 0b1010]] {
                let held = held(20, free_index, &bits);
                let one_by_one = (0..20).filter(|index| held.is_free(*index) == Some(true));
                assert_eq!(held.free(), Some(one_by_one.count() as u64), "{free_index}");
            }
        }
        assert_eq!(held(20, 20, &[]).free(), Some(0));
        assert_eq!(held(20, u32::MAX, &[]).free(), Some(0));
    }
}
