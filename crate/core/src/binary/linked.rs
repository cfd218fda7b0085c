//! The executable as memory, at the addresses it is linked at: what a process would have that
//! has just been loaded.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use object::{Architecture, Object, ObjectSegment, RelocationFlags, elf};

use super::{Binary, BinaryError, with_elf};
use crate::memory::{BlockCache, Memory, ReadError};

/// Pointers that the loader would fill in. cmd/go built as a position-independent
/// executable has some 250,000.
const POINTERS_MAX: usize = 1 << 24;
/// Bytes that are kept.
const CACHE: usize = 32 << 20;

/// A loadable part of the file.
#[derive(Debug, Clone, Copy)]
struct Part {
    address: u64,
    len: u64,
    offset: u64,
    in_file: u64,
}

struct Parts {
    file: RefCell<File>,
    parts: Vec<Part>,
    /// Pointers to itself, by address, and their values (`R_X86_64_RELATIVE` and the like).
    pointers: Vec<(u64, u64)>,
    big_endian: bool,
}

impl Memory for Parts {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let fault = || ReadError::fault(address, buffer.len());
        let len = buffer.len() as u64;
        let end = address.checked_add(len).ok_or_else(fault)?;
        let part = self
            .parts
            .iter()
            .find(|part| address >= part.address && end - part.address <= part.len)
            .ok_or_else(fault)?;
        let inside = address - part.address;
        let held = part.in_file.saturating_sub(inside).min(len) as usize;
        buffer.fill(0);
        if let Some(held) = buffer.get_mut(..held).filter(|held| !held.is_empty()) {
            let mut file = self.file.borrow_mut();
            let offset = part.offset.checked_add(inside);
            let offset = offset.ok_or(ReadError::fault(address, len as usize))?;
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(held))
                .map_err(|_| ReadError::fault(address, len as usize))?;
        }
        let first = self
            .pointers
            .partition_point(|(at, _)| at.saturating_add(8) <= address);
        for (at, value) in self.pointers.get(first..).unwrap_or_default() {
            if *at >= end {
                break;
            }
            let bytes = match self.big_endian {
                true => value.to_be_bytes(),
                false => value.to_le_bytes(),
            };
            for (index, byte) in bytes.iter().enumerate() {
                let place = at.wrapping_add(index as u64).wrapping_sub(address);
                if let Some(place) = buffer.get_mut(place as usize) {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }
}

impl Binary {
    /// The file as memory, nothing added to its addresses. Pointers that the loader fills in
    /// are filled in.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn linked(&self) -> Result<impl Memory + 'static, BinaryError> {
        let file = File::open(&self.path).map_err(|error| BinaryError::Io {
            path: self.path.display().to_string(),
            error,
        })?;
        let (parts, pointers) = with_elf(&self.path, |file| {
            let architecture = file.architecture();
            let parts: Vec<Part> = file
                .segments()
                .map(|segment| {
                    let (offset, in_file) = segment.file_range();
                    Part {
                        address: segment.address(),
                        len: segment.size(),
                        offset,
                        in_file,
                    }
                })
                .collect();
            let mut pointers: Vec<(u64, u64)> = file
                .dynamic_relocations()
                .into_iter()
                .flatten()
                .filter(|(_, relocation)| is_relative(architecture, relocation.flags()))
                .take(POINTERS_MAX)
                .map(|(address, relocation)| (address, relocation.addend() as u64))
                .collect();
            pointers.sort_unstable();
            (parts, pointers)
        })?;
        let parts = Parts {
            file: RefCell::new(file),
            parts,
            pointers: match self.abi.pointer_size {
                8 => pointers,
                // Their addends stand in place.
                _ => Vec::new(),
            },
            big_endian: self.abi.big_endian,
        };
        Ok(BlockCache::new(parts, CACHE))
    }

    /// What a linker noted as `NT_GNU_BUILD_ID`, in hexadecimal digits, as runtime/pprof
    /// writes it (runtime/pprof/elf.go). Go's own linker notes it since go1.24.
    #[must_use]
    pub fn gnu_build_id(&self) -> Option<String> {
        let id = with_elf(&self.path, |file| {
            file.build_id().ok().flatten().map(<[u8]>::to_vec)
        });
        let id = id.ok()??;
        Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The link-time address of the byte at `offset` of the file; `None` if it is not loaded.
    #[must_use]
    pub fn address_of_offset(&self, offset: u64) -> Option<u64> {
        with_elf(&self.path, |file| {
            file.segments().find_map(|segment| {
                let (start, len) = segment.file_range();
                let inside = offset.checked_sub(start).filter(|inside| *inside < len)?;
                segment.address().checked_add(inside)
            })
        })
        .ok()?
    }
}

/// `R_*_RELATIVE` of the machines Go links position-independent executables for.
fn is_relative(architecture: Architecture, flags: RelocationFlags) -> bool {
    let relative = match architecture {
        Architecture::X86_64 => elf::R_X86_64_RELATIVE,
        Architecture::Aarch64 => elf::R_AARCH64_RELATIVE,
        Architecture::Riscv64 => elf::R_RISCV_RELATIVE,
        Architecture::S390x => elf::R_390_RELATIVE,
        Architecture::LoongArch64 => elf::R_LARCH_RELATIVE,
        Architecture::PowerPc64 => elf::R_PPC64_RELATIVE,
        _ => return false,
    };
    matches!(flags, RelocationFlags::Elf { r_type } if r_type == relative)
}
