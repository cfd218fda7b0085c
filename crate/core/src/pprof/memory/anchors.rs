//! Where the runtime's variables of profiles are: by name, else by the code that uses
//! them (only on amd64).

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

use crate::binary::{FunctionTable, Module};
use crate::gotype::Types;
use crate::memory::{Memory, READ_MAX, ReadError, Span, read_available};

/// Code of one function that is looked at.
const CODE_MAX: u64 = 1 << 14;

/// Variables in which the table of wait reasons is searched.
const SEARCH_MAX: u64 = 16 << 20;

/// Finds variables of the runtime.
pub(super) struct Anchors<'a> {
    types: &'a Types,
    memory: &'a dyn Memory,
    module: Option<Module>,
    table: Option<FunctionTable>,
}

impl<'a> Anchors<'a> {
    pub(super) fn new(types: &'a Types, memory: &'a dyn Memory) -> Self {
        let module = types.module().ok().copied();
        Self {
            types,
            memory,
            module,
            table: module.map(|module| FunctionTable::new(types.binary().abi(), module)),
        }
    }

    /// The address in the process of the variable of this name.
    pub(super) fn named(&self, name: &str) -> Option<u64> {
        let binary = self.types.binary();
        let linked = binary
            .symbol(name)
            .or_else(|| binary.dwarf()?.variable(name)?.address)?;
        Some(linked.wrapping_add(self.types.bias()))
    }

    /// The instructions of the function of this name.
    fn code(&self, name: &str) -> Vec<Instruction> {
        if self.types.binary().arch() != Some("amd64") {
            return Vec::new();
        }
        let Some((entry, bytes)) = self.table.as_ref().and_then(|table| {
            let function = table.function_named(self.memory, name)?;
            let len = function.end.checked_sub(function.entry)?.min(CODE_MAX);
            let mut bytes = vec![0; len as usize];
            self.memory.read(function.entry, &mut bytes).ok()?;
            Some((function.entry, bytes))
        }) else {
            return Vec::new();
        };
        let decoder = Decoder::with_ip(64, &bytes, entry, DecoderOptions::NONE);
        decoder.into_iter().collect()
    }

    /// `mProfCycle`: what `mProf_Flush` loads first (mProfCycleHolder.setFlushed).
    pub(super) fn cycle(&self) -> Option<u64> {
        self.named("runtime.mProfCycle").or_else(|| {
            let range = self.module?.noptrbss;
            loads(&self.code("runtime.mProf_Flush"), 4, range).next()
        })
    }

    /// `MemProfileRate`, which sets when a thread samples next (mcache.go, nextSample).
    pub(super) fn rate(&self) -> Option<u64> {
        self.named("runtime.MemProfileRate").or_else(|| {
            let range = self.module?.noptrdata;
            ["runtime.profilealloc", "runtime.allocmcache"]
                .iter()
                .find_map(|name| loads(&self.code(name), 8, range).next())
        })
    }

    /// `ticks.val`, which `ticksPerSecond` loads first. The last field, in every release.
    pub(super) fn ticks(&self, offset: Option<u64>) -> Option<u64> {
        let named = self.named("runtime.ticks").zip(offset);
        let named = named.map(|(at, offset)| at.wrapping_add(offset));
        named.or_else(|| {
            let range = self.module?.noptrbss;
            ["runtime.ticksPerSecond", "runtime.tickspersecond"]
                .iter()
                .find_map(|name| loads(&self.code(name), 8, range).next())
        })
    }

    /// The variables whose addresses `stkbucket` takes: among them those of the three lists
    /// of records, which it adds to.
    pub(super) fn lists(&self) -> Vec<u64> {
        let Some(module) = self.module else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for instruction in self.code("runtime.stkbucket") {
            let address = instruction.ip_rel_memory_address();
            if instruction.mnemonic() == Mnemonic::Lea
                && instruction.is_ip_rel_memory_operand()
                && [module.bss, module.noptrbss]
                    .iter()
                    .any(|r| r.contains(address))
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
        found
    }

    /// `waitReasonStrings`: by name, else by its first texts.
    pub(super) fn wait_reasons(&self) -> Result<Option<u64>, ReadError> {
        if let Some(at) = self.named("runtime.waitReasonStrings") {
            return Ok(Some(at));
        }
        let Some(module) = self.module else {
            return Ok(None);
        };
        let abi = self.types.binary().abi();
        let text_is = |at: u64, text: &str| {
            let mut bytes = vec![0; text.len()];
            self.memory.read(at, &mut bytes).is_ok() && bytes == text.as_bytes()
        };
        for range in [module.data, module.noptrdata] {
            let mut at = range.start.next_multiple_of(8);
            let mut left = range.end().saturating_sub(at).min(SEARCH_MAX);
            let mut buffer = Vec::new();
            while left >= 48 {
                let take = left.min(READ_MAX as u64);
                buffer.resize(take as usize, 0);
                read_available(self.memory, at, &mut buffer)?;
                self.memory.checkpoint(0, 0)?;
                for (index, words) in buffer.windows(48).step_by(8).enumerate() {
                    let word = |index: usize| abi.pointer_at(words, 8 * index).unwrap_or(0);
                    // waitReasonZero, waitReasonGCAssistMarking, waitReasonIOWait.
                    if [word(1), word(3), word(5)] == [0, 17, 7]
                        && text_is(word(2), "GC assist marking")
                        && text_is(word(4), "IO wait")
                    {
                        return Ok(Some(at.wrapping_add(8 * index as u64)));
                    }
                }
                // What a window of the last words would hold is read again.
                let step = if take == left { left } else { take - 48 };
                at = at.wrapping_add(step);
                left -= step;
            }
        }
        Ok(None)
    }
}

/// The variables in `range` that are loaded whole, `size` bytes of them, in the code's order.
fn loads(code: &[Instruction], size: usize, range: Span) -> impl Iterator<Item = u64> + use<'_> {
    code.iter().filter_map(move |instruction| {
        let address = instruction.ip_rel_memory_address();
        let loads = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_kind() == OpKind::Register
            && instruction.is_ip_rel_memory_operand()
            && instruction.op0_register().size() == size;
        (loads && range.contains(address)).then_some(address)
    })
}
