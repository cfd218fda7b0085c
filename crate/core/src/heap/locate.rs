//! Where `runtime.mheap_` is.

use crate::binary::FunctionTable;
use crate::gotype::Types;
use crate::memory::Memory;

/// How the heap was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Located {
    /// By its symbol or its debug entry.
    Name,
    /// By the instruction in `runtime.mallocinit` that takes its address.
    Code,
}

/// Code of `runtime.mallocinit` that is looked at; it has about 1 KiB.
const CODE_MAX: u64 = 1 << 14;

/// The address of `runtime.mheap_` in the process, by its symbol or its debug entry.
#[must_use]
pub fn mheap_by_name(types: &Types) -> Option<u64> {
    let binary = types.binary();
    let address = binary
        .symbol("runtime.mheap_")
        .or_else(|| binary.dwarf()?.variable("runtime.mheap_")?.address)?;
    Some(address.wrapping_add(types.bias()))
}

/// The same without symbols: `runtime.mallocinit` calls `(*mheap).init` with it
/// (runtime/malloc.go).
#[must_use]
pub fn mheap_by_code(types: &Types, memory: &dyn Memory) -> Option<u64> {
    let module = types.module().ok()?;
    let functions = FunctionTable::new(types.binary().abi(), *module);
    let caller = functions.function_named(memory, "runtime.mallocinit")?;
    let callee = functions.function_named(memory, "runtime.(*mheap).init")?;
    let len = caller.end.checked_sub(caller.entry)?.min(CODE_MAX) as usize;
    let mut code = vec![0; len];
    memory.read(caller.entry, &mut code).ok()?;
    match types.binary().arch()? {
        "amd64" => amd64(&code, caller.entry, callee.entry),
        "arm64" => arm64(&code, caller.entry, callee.entry),
        _ => None,
    }
}

/// `LEAQ mheap_(RIP), AX; CALL init`.
fn amd64(code: &[u8], start: u64, callee: u64) -> Option<u64> {
    code.windows(12).enumerate().find_map(|(offset, bytes)| {
        let [0x48, 0x8d, 0x05, a, b, c, d, 0xe8, e, f, g, h] = *bytes else {
            return None;
        };
        let at = start.wrapping_add(offset as u64);
        let relative = |bytes: [u8; 4], next: u64| {
            next.wrapping_add_signed(i64::from(i32::from_le_bytes(bytes)))
        };
        let called = relative([e, f, g, h], at.wrapping_add(12));
        (called == callee).then(|| relative([a, b, c, d], at.wrapping_add(7)))
    })
}

/// `ADRP page, R0; ADD $offset, R0, R0; BL init`, at times with another instruction between.
fn arm64(code: &[u8], start: u64, callee: u64) -> Option<u64> {
    let words: Vec<u32> = code
        .chunks_exact(4)
        .filter_map(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)))
        .collect();
    let at = |index: usize| start.wrapping_add(4 * index as u64);
    for (index, word) in words.iter().enumerate() {
        if word >> 26 != 0b10_0101 {
            continue;
        }
        let distance = i64::from(((word & 0x03ff_ffff) << 6) as i32 >> 6) * 4;
        if at(index).wrapping_add_signed(distance) != callee {
            continue;
        }
        let mut low = None;
        for before in (index.saturating_sub(4)..index).rev() {
            let Some(&word) = words.get(before) else {
                continue;
            };
            // ADD (immediate, 64 bits, no shift) to R0 from R0.
            if word & 0xffc0_03ff == 0x9100_0000 {
                low = Some(u64::from(word >> 10 & 0xfff));
            }
            // ADRP to R0.
            if let (Some(low), 0x9000_0000) = (low, word & 0x9f00_001f) {
                let immediate = (word >> 29 & 3) | (word >> 5 & 0x7_ffff) << 2;
                let pages = i64::from((immediate << 11) as i32 >> 11);
                let page = (at(before) & !0xfff).wrapping_add_signed(pages * 4096);
                return Some(page.wrapping_add(low));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_decoded() {
        // go1.27.3, amd64.
        let mut code = vec![0x90];
        code.extend([
            0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0xe8, 0xf0, 0xff, 0xff, 0xff,
        ]);
        assert_eq!(amd64(&code, 0x1000, 0x100d - 0x10), Some(0x1008 + 0x10));
        assert_eq!(amd64(&code, 0x1000, 0x100d), None);
        // ADRP 1(PC page), R0; ADD $0x10, R0; BL -8.
        let code: Vec<u8> = [0xb000_0000_u32, 0x9100_4000, 0x97ff_fffe]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(arm64(&code, 0x1000, 0x1000), Some(0x2010));
        for len in 0..code.len() {
            let _ = arm64(&code[..len], u64::MAX, 0);
            let _ = amd64(&code[..len], u64::MAX, 0);
        }
    }
}
