//! ELF core files: what the kernel (fs/binfmt_elf.c), gcore and Go's own
//! `GOTRACEBACK=crash` leave behind. Read at positions, never mapped: a core that
//! shrinks under the reader is an error, not a signal.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Abi, Memory, ReadError, Span};

/// Program headers that are looked at. The kernel's limit of mappings
/// (vm.max_map_count) is 65530 unless it was raised.
const HEADERS_MAX: u64 = 1 << 20;

/// Notes larger than this are cut: a thread takes about 5 KiB on amd64.
const NOTES_MAX: u64 = 256 << 20;

const THREADS_MAX: usize = 1 << 17;
const FILES_MAX: u64 = 1 << 20;

const PT_LOAD: u64 = 1;
const PT_NOTE: u64 = 4;
const PF_W: u64 = 2;
const ET_CORE: u64 = 4;
const PN_XNUM: u64 = 0xffff;

const NT_PRSTATUS: u64 = 1;
const NT_AUXV: u64 = 6;
const NT_FILE: u64 = 0x4649_4c45;

const AT_ENTRY: u64 = 9;

const EM_S390: u64 = 22;
const EM_X86_64: u64 = 62;
const EM_AARCH64: u64 = 183;
const EM_RISCV: u64 = 243;

/// Why a core file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// It could not be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no ELF core file.
    #[error("{path} is not an ELF core file: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// The registers of a thread at the time of the dump, by the names gdb has for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The kernel's number of the thread.
    pub tid: u32,
    names: &'static [&'static str],
    values: Vec<u64>,
}

/// `struct user_regs_struct` (arch/x86/include/asm/user_64.h).
const AMD64: &[&str] = &[
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs",
    "gs",
];

/// `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h).
const ARM64: &[&str] = &[
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "sp", "pc", "cpsr",
];

/// `struct user_regs_struct` (arch/riscv/include/uapi/asm/ptrace.h).
const RISCV64: &[&str] = &[
    "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
    "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5",
    "t6",
];

/// The first of `s390_regs` (arch/s390/include/uapi/asm/ptrace.h): the program status word and
/// the general registers. R14 holds return addresses, R15 is the stack pointer (the ELF ABI).
const S390X: &[&str] = &[
    "pswm", "pc", "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12",
    "r13", "lr", "sp",
];

impl Thread {
    /// The register named `name` (`rax`, `x0`); `pc` and `sp` are known everywhere.
    #[must_use]
    pub fn register(&self, name: &str) -> Option<u64> {
        let name = match name {
            "pc" if !self.names.contains(&"pc") => "rip",
            "sp" if !self.names.contains(&"sp") => "rsp",
            other => other,
        };
        let index = self.names.iter().position(|known| *known == name)?;
        self.values.get(index).copied()
    }

    /// All registers, by gdb's names.
    pub fn registers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().copied().zip(self.values.iter().copied())
    }
}

/// A file that was mapped into the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// Where.
    pub span: Span,
    /// From which position of the file on.
    pub offset: u64,
    /// Its path in the process's file system.
    pub path: PathBuf,
}

/// Bytes of the address space that a file holds.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: u64,
    /// Bytes of memory.
    len: u64,
    /// Bytes of them that are in the file, from the first on.
    held: u64,
    offset: u64,
    writable: bool,
}

/// A core file as an address space.
///
/// What the file does not hold faults: a core cannot say "zero", a page that was
/// never touched is dumped as zeros or not at all. The exception are read-only
/// pages of the executable, which the kernel leaves out because the executable
/// has them: [`CoreFile::set_executable`].
#[derive(Debug)]
pub struct CoreFile {
    file: File,
    path: PathBuf,
    abi: Abi,
    segments: Vec<Segment>,
    threads: Vec<Thread>,
    files: Vec<MappedFile>,
    auxv: Vec<(u64, u64)>,
    executable: Option<Executable>,
}

#[derive(Debug)]
struct Executable {
    file: File,
    segments: Vec<Segment>,
}

impl CoreFile {
    /// Reads the headers and the notes of the core file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or is no ELF core.
    pub fn open(path: &Path) -> Result<Self, CoreError> {
        let elf = ElfHeaders::open(path)?;
        let malformed = |reason: &str| CoreError::Malformed {
            path: path.display().to_string(),
            reason: reason.to_owned(),
        };
        if elf.kind != ET_CORE {
            return Err(malformed("it is an ELF file of another kind"));
        }
        let mut core = Self {
            path: path.to_owned(),
            abi: elf.abi,
            segments: elf.loads(),
            threads: Vec::new(),
            files: Vec::new(),
            auxv: Vec::new(),
            executable: None,
            file: elf.file,
        };
        if core.segments.is_empty() {
            return Err(malformed("it holds no memory"));
        }
        for header in elf.headers.iter().filter(|h| h.kind == PT_NOTE) {
            let len = header
                .file_size
                .min(NOTES_MAX)
                .min(elf.file_len.saturating_sub(header.offset));
            let mut notes = vec![0; usize::try_from(len).unwrap_or(0)];
            // A truncated note segment: what there is of it.
            let mut held = 0;
            while let Some(rest) = notes.get_mut(held..).filter(|rest| !rest.is_empty()) {
                match core
                    .file
                    .read_at(rest, header.offset.saturating_add(held as u64))
                {
                    Ok(0) | Err(_) => break,
                    Ok(count) => held += count,
                }
            }
            notes.truncate(held);
            core.notes(&notes, elf.machine);
        }
        Ok(core)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Pointer width and byte order.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The threads, in the file's order: the one that died comes first.
    #[must_use]
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// The files that were mapped; empty when the core does not say.
    #[must_use]
    pub fn mapped_files(&self) -> &[MappedFile] {
        &self.files
    }

    /// The ranges of memory the core holds, ascending.
    pub fn held(&self) -> impl Iterator<Item = Span> {
        self.segments
            .iter()
            .filter(|segment| segment.held > 0)
            .map(|segment| Span {
                start: segment.start,
                len: segment.held,
            })
    }

    /// The entry point of the executable in the process (`AT_ENTRY`).
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        self.auxv
            .iter()
            .find(|(key, _)| *key == AT_ENTRY)
            .map(|(_, value)| *value)
            .filter(|entry| *entry != 0)
    }

    /// The file of the executable, as far as the core tells: what was mapped at the entry
    /// point.
    #[must_use]
    pub fn program(&self) -> Option<&MappedFile> {
        let entry = self.entry()?;
        self.files.iter().find(|file| file.span.contains(entry))
    }

    /// Whether the process ran the executable at `path`, by the first page of it that the
    /// core holds; `None` if it holds none, or the file is unreadable.
    #[must_use]
    pub fn ran(&self, path: &Path) -> Option<bool> {
        let program = self.program()?;
        let head = self
            .files
            .iter()
            .find(|file| file.path == program.path && file.offset == 0)?;
        let mut file = vec![0; super::PAGE as usize];
        let mut held = file.clone();
        File::open(path).ok()?.read_exact_at(&mut file, 0).ok()?;
        let (offset, len) = find(&self.segments, head.span.start)?;
        if len < super::PAGE {
            return None;
        }
        self.file.read_exact_at(&mut held, offset).ok()?;
        Some(file == held)
    }

    /// What the loader added to the addresses of the executable that was linked with
    /// the entry point `linked_entry`.
    #[must_use]
    pub fn bias(&self, linked_entry: u64) -> Option<u64> {
        Some(self.entry()?.wrapping_sub(linked_entry))
    }

    /// Takes from the executable at `path` the read-only pages that the core
    /// lacks. A page is only taken where the core's list of mapped files (if it has
    /// one) says that this part of a file was mapped there.
    ///
    /// # Errors
    /// When it cannot be read or is no ELF file of the same pointer width and byte order.
    pub fn set_executable(&mut self, path: &Path, bias: u64) -> Result<(), CoreError> {
        let elf = ElfHeaders::open(path)?;
        if elf.abi != self.abi {
            return Err(CoreError::Malformed {
                path: path.display().to_string(),
                reason: "the executable is for another architecture".into(),
            });
        }
        let mut segments: Vec<Segment> = elf
            .loads()
            .into_iter()
            .filter(|segment| !segment.writable)
            .map(|segment| Segment {
                start: segment.start.wrapping_add(bias),
                ..segment
            })
            .filter(|segment| segment.start.checked_add(segment.len).is_some())
            .collect();
        segments.sort_unstable_by_key(|segment| segment.start);
        self.executable = Some(Executable {
            file: elf.file,
            segments,
        });
        Ok(())
    }

    /// Whether the core says that `offset` of some file was mapped at `address`.
    fn was_mapped(&self, address: u64, offset: u64) -> bool {
        if self.files.is_empty() {
            return true;
        }
        let after = self
            .files
            .partition_point(|file| file.span.start <= address);
        after
            .checked_sub(1)
            .and_then(|index| self.files.get(index))
            .is_some_and(|file| {
                file.span.contains(address)
                    && file.offset.checked_add(address - file.span.start) == Some(offset)
            })
    }

    /// Reads the first part of `buffer`; how many bytes, and at least 1.
    fn read_some(&self, address: u64, buffer: &mut [u8]) -> Option<usize> {
        if let Some((offset, len)) = find(&self.segments, address) {
            let take = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.len());
            self.file
                .read_exact_at(buffer.get_mut(..take)?, offset)
                .ok()?;
            return Some(take);
        }
        let executable = self.executable.as_ref()?;
        let (offset, len) = find(&executable.segments, address)?;
        if !self.was_mapped(address, offset) {
            return None;
        }
        // Not beyond the next byte that the core itself holds.
        let next = self
            .segments
            .partition_point(|segment| segment.start <= address);
        let until_core = self
            .segments
            .get(next)
            .map_or(u64::MAX, |segment| segment.start - address);
        let take = usize::try_from(len.min(until_core))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        executable
            .file
            .read_exact_at(buffer.get_mut(..take)?, offset)
            .ok()?;
        Some(take)
    }

    fn notes(&mut self, notes: &[u8], machine: u64) {
        let mut rest = notes;
        while let Some((kind, description, tail)) = self.note(rest) {
            match kind {
                NT_PRSTATUS if self.threads.len() < THREADS_MAX => {
                    self.threads.extend(self.thread(description, machine));
                }
                NT_AUXV => self.auxiliary(description),
                NT_FILE => self.mapped(description),
                _ => {}
            }
            rest = tail;
        }
    }

    /// One note: kind, contents, what follows. The alignment is 4 in cores of every
    /// width.
    fn note<'n>(&self, notes: &'n [u8]) -> Option<(u64, &'n [u8], &'n [u8])> {
        let name_len = self.abi.uint_at(notes, 0, 4)?;
        let len = usize::try_from(self.abi.uint_at(notes, 4, 4)?).ok()?;
        let kind = self.abi.uint_at(notes, 8, 4)?;
        let start = 12_usize.checked_add(usize::try_from(name_len).ok()?.next_multiple_of(4))?;
        let end = start.checked_add(len)?;
        let description = notes.get(start..end)?;
        let next = end.checked_next_multiple_of(4)?.min(notes.len());
        Some((kind, description, notes.get(next..)?))
    }

    /// `struct elf_prstatus` (include/linux/elfcore.h).
    fn thread(&self, description: &[u8], machine: u64) -> Option<Thread> {
        let names = match (machine, self.abi.pointer_size) {
            (EM_X86_64, 8) => AMD64,
            (EM_AARCH64, 8) => ARM64,
            (EM_RISCV, 8) => RISCV64,
            (EM_S390, 8) => S390X,
            _ => &[],
        };
        let values = (0..names.len())
            .map(|index| self.abi.uint_at(description, 112 + 8 * index, 8))
            .collect::<Option<Vec<_>>>()?;
        let pid_at = if self.abi.pointer_size == 8 { 32 } else { 24 };
        Some(Thread {
            tid: u32::try_from(self.abi.uint_at(description, pid_at, 4)?).ok()?,
            names,
            values,
        })
    }

    fn auxiliary(&mut self, description: &[u8]) {
        let word = usize::from(self.abi.pointer_size);
        for pair in description.chunks_exact(2 * word).take(256) {
            if let (Some(key), Some(value)) = (
                self.abi.pointer_at(pair, 0),
                self.abi.pointer_at(pair, word),
            ) {
                self.auxv.push((key, value));
            }
        }
    }

    /// count, page size, count × (start, end, offset in pages), count × path.
    fn mapped(&mut self, description: &[u8]) {
        let abi = self.abi;
        let word = usize::from(abi.pointer_size);
        let (Some(count), Some(page)) = (
            abi.pointer_at(description, 0),
            abi.pointer_at(description, word),
        ) else {
            return;
        };
        let table = (description.len() / (3 * word)) as u64;
        let count = count.min(table).min(FILES_MAX) as usize;
        let Some(mut paths) = description.get(2 * word + count * 3 * word..) else {
            return;
        };
        for index in 0..count {
            let at = 2 * word + index * 3 * word;
            let field = |n: usize| abi.pointer_at(description, at + n * word);
            let (Some(start), Some(end), Some(offset)) = (field(0), field(1), field(2)) else {
                return;
            };
            let Some(nul) = paths.iter().position(|byte| *byte == 0) else {
                return;
            };
            let (path, tail) = paths.split_at(nul);
            paths = tail.get(1..).unwrap_or_default();
            let (Some(len), Some(offset)) = (end.checked_sub(start), offset.checked_mul(page))
            else {
                continue;
            };
            self.files.push(MappedFile {
                span: Span { start, len },
                offset,
                path: PathBuf::from(String::from_utf8_lossy(path).into_owned()),
            });
        }
        self.files.sort_by_key(|file| file.span.start);
    }
}

/// Where `address` stands in the file, and how many bytes follow it there.
fn find(segments: &[Segment], address: u64) -> Option<(u64, u64)> {
    let after = segments.partition_point(|segment| segment.start <= address);
    let segment = segments.get(after.checked_sub(1)?)?;
    let inside = address - segment.start;
    let left = segment.held.checked_sub(inside).filter(|left| *left > 0)?;
    Some((segment.offset.checked_add(inside)?, left))
}

impl Memory for CoreFile {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let fault = ReadError::fault(address, buffer.len());
        let mut at = address;
        let mut rest = buffer;
        while !rest.is_empty() {
            let Some(count) = self.read_some(at, rest).filter(|count| *count > 0) else {
                return Err(fault);
            };
            rest = rest.get_mut(count..).unwrap_or_default();
            at = match at.checked_add(count as u64) {
                Some(next) => next,
                None if rest.is_empty() => break,
                None => return Err(fault),
            };
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct ProgramHeader {
    kind: u64,
    flags: u64,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

struct ElfHeaders {
    file: File,
    file_len: u64,
    abi: Abi,
    kind: u64,
    machine: u64,
    headers: Vec<ProgramHeader>,
}

impl ElfHeaders {
    fn open(path: &Path) -> Result<Self, CoreError> {
        let io = |error| CoreError::Io {
            path: path.display().to_string(),
            error,
        };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(CoreError::Malformed {
                path: path.display().to_string(),
                reason: "not a regular file".into(),
            });
        }
        Self::parse(file, metadata.len()).ok_or_else(|| CoreError::Malformed {
            path: path.display().to_string(),
            reason: "its ELF headers are damaged or missing".into(),
        })
    }

    fn parse(file: File, file_len: u64) -> Option<Self> {
        let mut head = [0; 64];
        let held = file_len.min(64) as usize;
        file.read_exact_at(head.get_mut(..held)?, 0).ok()?;
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let abi = Abi {
            pointer_size: if wide { 8 } else { 4 },
            big_endian: match head.get(5)? {
                1 => false,
                2 => true,
                _ => return None,
            },
        };
        // Elf64_Ehdr, Elf32_Ehdr (elf.h).
        let at = |narrow: usize, wide_at: usize| if wide { wide_at } else { narrow };
        let table = abi.pointer_at(&head, at(28, 32))?;
        let entry_size = abi.uint_at(&head, at(42, 54), 2)?;
        let mut count = abi.uint_at(&head, at(44, 56), 2)?;
        if count == PN_XNUM {
            // The real number is in sh_info of the first section header.
            let sections = abi.pointer_at(&head, at(32, 40))?;
            let mut info = [0; 4];
            file.read_exact_at(&mut info, sections.checked_add(at(28, 44) as u64)?)
                .ok()?;
            count = abi.uint(&info);
        }
        let size = at(32, 56) as u64;
        if entry_size != size {
            return None;
        }
        let room = file_len.saturating_sub(table) / entry_size;
        let count = count.min(room).min(HEADERS_MAX);
        let mut bytes = vec![0; usize::try_from(count * entry_size).ok()?];
        file.read_exact_at(&mut bytes, table).ok()?;
        let headers = bytes
            .chunks_exact(usize::try_from(entry_size).ok()?)
            .filter_map(|entry| {
                let word = |narrow, wide_at| abi.pointer_at(entry, at(narrow, wide_at));
                Some(ProgramHeader {
                    kind: abi.uint_at(entry, 0, 4)?,
                    flags: abi.uint_at(entry, at(24, 4), 4)?,
                    offset: word(4, 8)?,
                    address: word(8, 16)?,
                    file_size: word(16, 32)?,
                    memory_size: word(20, 40)?,
                })
            })
            .collect();
        Some(Self {
            file_len,
            abi,
            kind: abi.uint_at(&head, 16, 2)?,
            machine: abi.uint_at(&head, 18, 2)?,
            headers,
            file,
        })
    }

    /// The loadable segments, ascending and apart; cut where the file ends.
    fn loads(&self) -> Vec<Segment> {
        let mut loads: Vec<Segment> = self
            .headers
            .iter()
            .filter(|header| header.kind == PT_LOAD)
            .map(|header| {
                let held = header
                    .file_size
                    .min(header.memory_size)
                    .min(self.file_len.saturating_sub(header.offset))
                    .min((u64::MAX - header.address).saturating_add(1));
                Segment {
                    start: header.address,
                    len: header.memory_size,
                    held,
                    offset: header.offset,
                    writable: header.flags & PF_W != 0,
                }
            })
            .filter(|segment| segment.held > 0)
            .collect();
        loads.sort_by_key(|segment| segment.start);
        // Those of a damaged file may overlap; each byte shall have one value all the same.
        let next: Vec<u64> = loads.iter().skip(1).map(|segment| segment.start).collect();
        for (segment, next) in loads.iter_mut().zip(next) {
            let room = next - segment.start;
            segment.len = segment.len.min(room);
            segment.held = segment.held.min(room);
        }
        loads.retain(|segment| segment.held > 0);
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core of two segments: 16 bytes at 0x1000 (of 32), 8 bytes at 0x1010.
    fn core(patch: impl FnOnce(&mut Vec<u8>)) -> Result<CoreFile, CoreError> {
        let mut file = vec![0_u8; 64];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        file[16] = 4;
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = 3;
        let header = |kind: u32, offset: u64, address: u64, held: u64, len: u64| {
            let mut bytes = kind.to_le_bytes().to_vec();
            bytes.extend(6_u32.to_le_bytes());
            for word in [offset, address, 0, held, len, 0] {
                bytes.extend(word.to_le_bytes());
            }
            bytes
        };
        let mut note = Vec::new();
        for word in [5_u32, 32, 6] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"CORE\0\0\0\0");
        for word in [AT_ENTRY, 0x5000, 0, 0] {
            note.extend(word.to_le_bytes());
        }
        file.extend(header(1, 400, 0x1000, 16, 16));
        file.extend(header(1, 416, 0x1010, 8, 32));
        file.extend(header(4, 300, 0, note.len() as u64, 0));
        file.resize(300, 0);
        file.extend(note);
        file.resize(400, 0);
        file.extend(1..=24);
        patch(&mut file);
        let path = std::env::temp_dir().join(format!(
            "gomapscope-core-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, &file).unwrap();
        let core = CoreFile::open(&path);
        std::fs::remove_file(&path).unwrap();
        core
    }

    #[test]
    fn reads_cross_segments_and_fault_behind_what_is_held() {
        let core = core(|_| ()).unwrap();
        let mut bytes = [0; 12];
        core.read(0x100c, &mut bytes).unwrap();
        assert_eq!(bytes, [13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
        for (address, len) in [(0x1017, 2), (0x1018, 1), (0xfff, 1), (u64::MAX, 2)] {
            let mut bytes = vec![0; len];
            assert_eq!(
                core.read(address, &mut bytes),
                Err(ReadError::fault(address, len)),
                "{address:#x}"
            );
        }
        assert_eq!(core.bias(0x1000), Some(0x4000));
    }

    #[test]
    fn a_truncated_core_faults_where_it_ends() {
        let core = core(|file| file.truncate(420)).unwrap();
        let mut byte = [0];
        assert_eq!(core.read(0x1013, &mut byte), Ok(()));
        assert!(core.read(0x1014, &mut byte).is_err());
    }

    #[test]
    fn no_byte_of_a_header_makes_it_panic() {
        for at in 0..300 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                if let Ok(core) = core(|file| file[at] = value) {
                    let mut bytes = [0; 64];
                    for address in [0, 0x1000, 0x1010, u64::MAX - 8] {
                        let _ = core.read(address, &mut bytes);
                    }
                }
            }
        }
    }
}
