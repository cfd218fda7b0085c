//! `runtime.firstmoduledata`: where the linker left text, types and function tables
//! (runtime/symtab.go). Found by its symbol, its debug entry, its section (since
//! go1.26), or as the one structure that begins with the address of the function
//! tables.

use object::{Object, ObjectSection, ObjectSegment, SectionFlags};

use super::record::Record;
use super::{Binary, with_elf};
use crate::memory::{Abi, Memory, READ_MAX, ReadError, Span, read_available};

/// Bytes of moduledata in every release are fewer.
const MODULEDATA_MAX: u64 = 4096;

/// Writable sections larger than this are not searched: moduledata stands in
/// `.noptrdata`, or in `.data.rel.ro` or `.data`, of which large programs have some
/// megabytes.
const SEARCH_MAX: u64 = 64 << 20;

/// `pcHeader.magic` since go1.20; go1.18 and go1.19 end in 0.
const MAGIC: [u64; 2] = [0xffff_fff1, 0xffff_fff0];

/// Modules of one process that are looked at (plugins make more than one).
const MODULES_MAX: usize = 64;

const SHF_WRITE: u64 = 1;

/// What is used of one `runtime.moduledata`. All addresses are those of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Where it stands.
    pub address: u64,
    /// The header of the function tables.
    pub pc_header: u64,
    /// Function names, each with its NUL.
    pub function_names: Span,
    /// Offsets of file names, 32 bits each, compile unit by compile unit.
    pub file_index: Span,
    /// File names, each with its NUL.
    pub file_names: Span,
    /// Line and stack tables.
    pub pc_tables: Span,
    /// `runtime._func` and what follows each.
    pub functions: Span,
    /// Pairs of 32-bit offsets: entry from `text`, `_func` from `functions`; the last is
    /// the end of the text.
    pub function_index: Span,
    /// Go's code.
    pub text: Span,
    /// Where the data of functions begins (`go:func.*`).
    pub function_data: u64,
    /// Type descriptors and what they point to.
    pub types: Span,
    /// Variables that were given a value and hold pointers.
    pub data: Span,
    /// Variables that were not, and do.
    pub bss: Span,
    /// Variables without pointers.
    pub noptrdata: Span,
    /// The same that were given no value.
    pub noptrbss: Span,
    /// Bitmap of the pointers in `data`: bits, address.
    pub data_mask: (u64, u64),
    /// Bitmap of the pointers in `bss`.
    pub bss_mask: (u64, u64),
    /// The next module; 0 in the last.
    pub next: u64,
}

impl Module {
    fn read(
        memory: &dyn Memory,
        abi: Abi,
        record: &Record,
        address: u64,
    ) -> Result<Self, ReadError> {
        let len = record.size.min(MODULEDATA_MAX) as usize;
        let mut bytes = vec![0; len];
        memory.read(address, &mut bytes)?;
        let word = |name: &str| record.value(abi, &bytes, name).unwrap_or(0);
        let range = |from: &str, to: &str| Span {
            start: word(from),
            len: word(to).saturating_sub(word(from)),
        };
        let second = |name: &str| {
            record
                .field(name)
                .and_then(|place| {
                    let at = usize::try_from(place.offset).ok()?;
                    abi.pointer_at(&bytes, at + usize::from(abi.pointer_size))
                })
                .unwrap_or(0)
        };
        // bitvector.n is an int32.
        let bits = |name: &str| (word(name) & 0xffff_ffff, second(name));
        let slice = |name: &str, size: u64| Span {
            start: word(name),
            len: second(name).saturating_mul(size),
        };
        Ok(Self {
            address,
            pc_header: word("pcHeader"),
            function_names: slice("funcnametab", 1),
            file_index: slice("cutab", 4),
            file_names: slice("filetab", 1),
            pc_tables: slice("pctab", 1),
            functions: slice("pclntable", 1),
            function_index: slice("ftab", 8),
            text: range("text", "etext"),
            function_data: word("gofunc"),
            types: range("types", "etypes"),
            data: range("data", "edata"),
            bss: range("bss", "ebss"),
            noptrdata: range("noptrdata", "enoptrdata"),
            noptrbss: range("noptrbss", "enoptrbss"),
            data_mask: bits("gcdatamask"),
            bss_mask: bits("gcbssmask"),
            next: word("next"),
        })
    }

    /// The parts of the executable that it names.
    pub(crate) fn parts(&self) -> [Span; 12] {
        [
            self.function_names,
            self.file_index,
            self.file_names,
            self.pc_tables,
            self.functions,
            self.function_index,
            self.text,
            self.types,
            self.data,
            self.bss,
            self.noptrdata,
            self.noptrbss,
        ]
    }

    /// Whether the values belong together: the header of the function tables is
    /// one, and the ranges hold what they must.
    fn plausible(&self, memory: &dyn Memory, abi: Abi) -> bool {
        let word = u64::from(abi.pointer_size);
        let tables = [self.function_names, self.functions, self.function_index];
        let near = |span: &Span| {
            span.len > 0 && span.len < 1 << 32 && span.start.wrapping_sub(self.pc_header) < 1 << 32
        };
        self.text.len > 0
            && self.types.len > 48
            && self.types.len < 1 << 32
            && self.types.start.is_multiple_of(word)
            && tables.iter().all(near)
            && is_pc_header(memory, abi, self.pc_header)
    }
}

/// `runtime.pcHeader` begins with the magic number, two zeros, the instruction
/// size quantum and the pointer size.
fn is_pc_header(memory: &dyn Memory, abi: Abi, address: u64) -> bool {
    let mut bytes = [0; 8];
    memory.read(address, &mut bytes).is_ok() && looks_like_pc_header(abi, &bytes)
}

fn looks_like_pc_header(abi: Abi, bytes: &[u8]) -> bool {
    let magic = abi.uint_at(bytes, 0, 4);
    magic.is_some_and(|magic| MAGIC.contains(&magic))
        && matches!(bytes.get(4..8), Some([0, 0, 1 | 2 | 4, size]) if *size == abi.pointer_size)
}

/// Finds the module of the executable in the process.
///
/// # Errors
/// A sentence that says what is missing.
pub fn first_module(binary: &Binary, memory: &dyn Memory, bias: u64) -> Result<Module, String> {
    let abi = binary.abi();
    let record = binary.record("moduledata").ok_or_else(|| {
        format!(
            "the runtime's module table is not known for {} on {}",
            binary
                .version()
                .map_or("an unknown Go release".into(), |version| version.text),
            binary.arch().unwrap_or("this architecture"),
        )
    })?;
    let found = |address: u64| {
        Module::read(memory, abi, &record, address)
            .ok()
            .filter(|module| module.plausible(memory, abi))
    };
    let by_symbol = || binary.symbol("runtime.firstmoduledata");
    let by_entry = || binary.dwarf()?.variable("runtime.firstmoduledata")?.address;
    let by_section = || binary.section(".go.module").map(|section| section.start);
    let known: [&dyn Fn() -> Option<u64>; 3] = [&by_symbol, &by_entry, &by_section];
    if let Some(module) = known
        .iter()
        .filter_map(|find| find())
        .find_map(|address| found(address.wrapping_add(bias)))
    {
        return Ok(module);
    }
    let headers = binary.pc_headers(memory, bias);
    if headers.is_empty() {
        return Err(format!(
            "no function tables of Go's in {}",
            binary.path().display()
        ));
    }
    let word = u64::from(abi.pointer_size);
    for range in binary.writable_ranges() {
        let mut hit = None;
        scan_words(
            memory,
            abi,
            Span {
                start: aligned(range.start.wrapping_add(bias), word),
                len: range.len,
            },
            &mut |address, value| {
                if hit.is_none() && headers.contains(&value) {
                    hit = found(address);
                }
            },
        );
        if let Some(module) = hit {
            return Ok(module);
        }
    }
    Err("the runtime's module table was not found in the process".into())
}

/// All modules of the process, the executable's first.
#[must_use]
pub fn modules(binary: &Binary, memory: &dyn Memory, first: Module) -> Vec<Module> {
    let abi = binary.abi();
    let mut all = vec![first];
    let Some(record) = binary.record("moduledata") else {
        return all;
    };
    while let Some(last) = all.last().filter(|last| last.next != 0) {
        let next = last.next;
        if all.len() >= MODULES_MAX || all.iter().any(|module| module.address == next) {
            break;
        }
        match Module::read(memory, abi, &record, next) {
            Ok(module) if module.plausible(memory, abi) => all.push(module),
            _ => break,
        }
    }
    all
}

/// The next address that is a multiple of `word`, a power of two.
fn aligned(address: u64, word: u64) -> u64 {
    address.wrapping_add(word - 1) & !(word - 1)
}

/// Hands every aligned word of a range to `visit`; what is unreadable reads as 0.
fn scan_words(memory: &dyn Memory, abi: Abi, range: Span, visit: &mut dyn FnMut(u64, u64)) {
    let word = usize::from(abi.pointer_size);
    let mut at = range.start;
    let mut left = range.len.min(SEARCH_MAX) as usize;
    let mut buffer = Vec::new();
    while left >= word {
        let take = left.min(READ_MAX);
        buffer.resize(take, 0);
        if read_available(memory, at, &mut buffer).is_err() {
            return;
        }
        for (index, bytes) in buffer.chunks_exact(word).enumerate() {
            visit(at.wrapping_add((index * word) as u64), abi.uint(bytes));
        }
        left -= take;
        at = at.wrapping_add(take as u64);
    }
}

impl Binary {
    /// Where the section named `name` is linked to; `None` if it takes no memory.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<Span> {
        with_elf(&self.path, |file| {
            let section = file.section_by_name(name)?;
            Some(Span {
                start: section.address(),
                len: section.size(),
            })
        })
        .ok()?
        .filter(|span| span.start != 0)
    }

    /// Where the function tables may begin in the process: a section of their own,
    /// else (externally linked position-independent executables up to go1.25)
    /// inside a read-only section, where their magic number shows them.
    fn pc_headers(&self, memory: &dyn Memory, bias: u64) -> Vec<u64> {
        let named = [".gopclntab", ".data.rel.ro.gopclntab"]
            .iter()
            .filter_map(|name| self.section(name))
            .map(|section| section.start.wrapping_add(bias))
            .find(|address| is_pc_header(memory, self.abi, *address));
        if let Some(address) = named {
            return vec![address];
        }
        let ranges = with_elf(&self.path, |file| {
            let sections: Vec<Span> = file
                .sections()
                .filter(|section| matches!(section.name(), Ok(".data.rel.ro" | ".rodata")))
                .map(|section| Span {
                    start: section.address(),
                    len: section.size(),
                })
                .collect();
            if !sections.is_empty() {
                return sections;
            }
            // No section headers at all.
            file.segments()
                .map(|segment| Span {
                    start: segment.address(),
                    len: segment.size(),
                })
                .collect()
        })
        .unwrap_or_default();
        let mut headers = Vec::new();
        for range in self.held(ranges) {
            // Tables are large; their section need not be read further than to them.
            let mut at = aligned(range.start.wrapping_add(bias), 8);
            let mut left = range.len.min(1 << 32);
            let mut buffer = Vec::new();
            while left >= 8 {
                let take = left.min(READ_MAX as u64);
                buffer.resize(take as usize, 0);
                if read_available(memory, at, &mut buffer).is_err() {
                    break;
                }
                for (index, bytes) in buffer.chunks_exact(8).enumerate() {
                    if looks_like_pc_header(self.abi, bytes) && headers.len() < 64 {
                        headers.push(at.wrapping_add(index as u64 * 8));
                    }
                }
                left -= take;
                at = at.wrapping_add(take);
            }
        }
        headers
    }

    /// The writable parts of the file, as linked: those that hold moduledata first.
    pub(crate) fn writable_ranges(&self) -> Vec<Span> {
        with_elf(&self.path, |file| {
            let mut ranges: Vec<(bool, Span)> = file
                .sections()
                .filter(|section| {
                    let writable = match section.flags() {
                        SectionFlags::Elf { sh_flags, .. } => sh_flags.0 & SHF_WRITE != 0,
                        _ => false,
                    };
                    writable && section.kind() != object::SectionKind::UninitializedData
                })
                .map(|section| {
                    let first = section.name().is_ok_and(|name| name == ".noptrdata");
                    let span = Span {
                        start: section.address(),
                        len: section.size(),
                    };
                    (!first, span)
                })
                .collect();
            if ranges.is_empty() {
                ranges = file
                    .segments()
                    .map(|segment| {
                        (
                            true,
                            Span {
                                start: segment.address(),
                                len: segment.size(),
                            },
                        )
                    })
                    .collect();
            }
            ranges.sort_by_key(|(last, span)| (*last, span.start));
            ranges.into_iter().map(|(_, span)| span).collect()
        })
        .map(|ranges| self.held(ranges))
        .unwrap_or_default()
    }

    /// Ranges to search for what the linker wrote: in all not much longer than the file, where
    /// segments may share a page. What a damaged file claims beyond that, it cannot hold.
    fn held(&self, ranges: Vec<Span>) -> Vec<Span> {
        let len = std::fs::metadata(&self.path).map_or(0, |data| data.len());
        let mut left = len.saturating_mul(2);
        ranges
            .into_iter()
            .map_while(|range| {
                let len = range.len.min(len).min(left);
                left -= len;
                (left > 0 || len > 0).then_some(Span { len, ..range })
            })
            .collect()
    }
}
