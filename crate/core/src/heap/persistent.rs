//! What Go's runtime allocates for itself and never frees (`persistentalloc` of
//! runtime/malloc.go): descriptions of spans, records of objects, itabs made at run time.

use std::collections::HashSet;

use crate::gotype::Types;
use crate::memory::{Memory, Span};

/// runtime.persistentChunkSize.
const CHUNK: u64 = 256 << 10;

/// Chunks that are followed: 4 GiB of them.
const CHUNKS_MAX: usize = 1 << 14;

/// The chunks that it is cut from, by the list that begins at `runtime.persistentChunks`:
/// each begins with the address of the one before it. None where that variable is not known.
pub(crate) fn persistent(types: &Types, memory: &dyn Memory) -> Vec<Span> {
    let binary = types.binary();
    let name = "runtime.persistentChunks";
    let first = binary
        .symbol(name)
        .or_else(|| binary.dwarf()?.variable(name)?.address);
    let abi = binary.abi();
    let mut chunks = Vec::new();
    let mut seen = HashSet::new();
    let mut at = first.map(|first| first.wrapping_add(types.bias()));
    while let Some(place) = at.filter(|_| chunks.len() < CHUNKS_MAX) {
        let Ok(start) = abi.read_pointer(memory, place) else {
            break;
        };
        if start == 0 || !seen.insert(start) {
            break;
        }
        chunks.push(Span { start, len: CHUNK });
        at = Some(start);
    }
    chunks
}
