//! What the executable says: ELF, build info, DWARF.

mod buildinfo;
mod dwarf;
mod linked;
mod moduledata;
mod pclntab;
pub mod prologue;
pub(crate) mod record;
mod variables;

pub use buildinfo::{GoVersion, Release};
pub use dwarf::{Die, DieOffset, Dwarf};
pub use moduledata::{Module, first_module, modules};
pub(crate) use pclntab::FrameInfo;
pub use pclntab::{
    Argument, Function, FunctionTable, Functions, LiveSlots, PlacedFrame, SourceFrame,
};
pub use record::{Place, Record};
pub use variables::{ClosureVariable, GlobalVariable, Variable, VariablePlace};

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};
use once_cell::unsync::OnceCell;

use crate::map::Family;
use crate::memory::{Abi, Span};

/// Why an executable could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// The file could not be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not an ELF file, or a malformed one.
    #[error("{path} is not an ELF executable this tool can read: {reason}")]
    Elf {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Debug information is malformed.
    #[error("malformed debug information: {0}")]
    Dwarf(String),
}

impl From<gimli::Error> for BinaryError {
    fn from(error: gimli::Error) -> Self {
        Self::Dwarf(error.to_string())
    }
}

/// A section decompresses to at most this many bytes; a larger claim is an
/// error, not an allocation.
const SECTION_MAX: u64 = 4 << 30;

/// An executable on disk.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    abi: Abi,
    arch: Option<&'static str>,
    entry: u64,
    position_independent: bool,
    version: Option<GoVersion>,
    sections: Vec<String>,
    symbols: OnceCell<HashMap<String, u64>>,
    dwarf: OnceCell<Option<Dwarf>>,
    compressed: OnceCell<bool>,
    records: RefCell<HashMap<String, Option<Rc<Record>>>>,
}

impl Binary {
    /// Reads the headers and the build info of the ELF file at `path`. Symbols
    /// and DWARF are read when they are first asked for.
    ///
    /// # Errors
    /// When the file cannot be read or is not ELF.
    pub fn open(path: &Path) -> Result<Self, BinaryError> {
        with_elf(path, |file| {
            let version = buildinfo::read(file);
            Self {
                path: path.to_owned(),
                abi: Abi {
                    pointer_size: if file.is_64() { 8 } else { 4 },
                    big_endian: !file.is_little_endian(),
                },
                arch: go_arch(file.architecture(), file.is_little_endian()),
                entry: file.entry(),
                position_independent: file.kind() == object::ObjectKind::Dynamic,
                version,
                sections: file
                    .sections()
                    .filter_map(|section| section.name().ok().map(str::to_owned))
                    .collect(),
                symbols: OnceCell::new(),
                dwarf: OnceCell::new(),
                compressed: OnceCell::new(),
                records: RefCell::default(),
            }
        })
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

    /// Go's name of the architecture.
    #[must_use]
    pub fn arch(&self) -> Option<&'static str> {
        self.arch
    }

    /// The entry point, as linked.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Where its segments lie in memory, as linked: what a loader maps, with what it fills in
    /// behind the file's bytes. Empty where the file cannot be read any more.
    #[must_use]
    pub fn segments(&self) -> Vec<Span> {
        let found = with_elf(&self.path, |file| {
            let segments = file.segments().map(|segment| Span {
                start: segment.address(),
                len: segment.size(),
            });
            segments.collect()
        });
        found.unwrap_or_default()
    }

    /// Where in the file the byte at the link-time address `address` stands; `None` if it comes
    /// from no segment of the file.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        with_elf(&self.path, |file| {
            file.segments().find_map(|segment| {
                let inside = address.checked_sub(segment.address())?;
                let (offset, len) = segment.file_range();
                (inside < len).then(|| offset.checked_add(inside))?
            })
        })
        .ok()?
    }

    /// Fills `buffer` with what the file has at the link-time address `address`; whether it has
    /// all of it.
    #[must_use]
    pub fn file_bytes(&self, address: u64, buffer: &mut [u8]) -> bool {
        let Some(offset) = self.file_offset(address) else {
            return false;
        };
        let mut read = || -> std::io::Result<()> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(buffer)
        };
        read().is_ok()
    }

    /// Whether the file is loaded at an address of the kernel's choice.
    #[must_use]
    pub fn position_independent(&self) -> bool {
        self.position_independent
    }

    /// The Go release that built it; from the build info, else from DWARF's producer.
    #[must_use]
    pub fn version(&self) -> Option<GoVersion> {
        self.version.clone().or_else(|| {
            let producer = self.dwarf()?.producer()?;
            let at = producer.find("go1.").or_else(|| producer.find("devel"))?;
            GoVersion::parse(producer.get(at..)?.split(';').next()?.trim())
        })
    }

    /// The minor number of the Go release that built it, 26 for go1.26.6, if it is known.
    #[must_use]
    pub fn minor(&self) -> Option<u16> {
        self.version()?.release.map(|release| release.minor)
    }

    /// The struct `runtime.name` of the runtime in this executable ([`Record::find`]), looked for
    /// once.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Rc<Record>> {
        if let Some(known) = self.records.borrow().get(name) {
            return known.clone();
        }
        let found =
            Record::find(name, self.dwarf(), (self.abi, self.arch), self.minor()).map(Rc::new);
        self.records
            .borrow_mut()
            .insert(name.to_owned(), found.clone());
        found
    }

    /// The identity that Go's linker notes: the desc of `.note.go.buildid`
    /// (cmd/internal/buildid/note.go), for the same bytes the same.
    #[must_use]
    pub fn build_id(&self) -> Option<String> {
        let note =
            with_elf(&self.path, |file| section_data(file, ".note.go.buildid")).unwrap_or_default();
        let word = |at: usize| {
            let bytes = note.get(at..at.checked_add(4)?)?;
            usize::try_from(self.abi.uint(bytes)).ok()
        };
        // A note is three words, a name padded to words, and the desc.
        let (name, desc) = (word(0)?, word(4)?);
        let start = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let id = note.get(start..start.checked_add(desc)?)?;
        let id = String::from_utf8(id.to_vec()).ok()?;
        (!id.is_empty()).then_some(id)
    }

    /// Whether Go built it, by build info, Go sections or Go debug information.
    #[must_use]
    pub fn is_go(&self) -> bool {
        self.version.is_some()
            || self.sections.iter().any(|name| {
                matches!(
                    name.as_str(),
                    ".go.buildinfo" | ".gopclntab" | ".data.rel.ro.gopclntab" | ".go.module"
                )
            })
            || self.dwarf().is_some_and(|dwarf| dwarf.producer().is_some())
    }

    /// Whether the file has debug information sections.
    #[must_use]
    pub fn has_debug_sections(&self) -> bool {
        self.sections
            .iter()
            .any(|name| name == ".debug_info" || name == ".zdebug_info")
    }

    /// Whether any debug section is stored compressed.
    #[must_use]
    pub fn debug_is_compressed(&self) -> bool {
        *self.compressed.get_or_init(|| {
            with_elf(&self.path, |file| {
                file.section_by_name(".debug_info").is_some_and(|section| {
                    section
                        .compressed_file_range()
                        .is_ok_and(|range| range.format != object::CompressionFormat::None)
                })
            })
            .unwrap_or(false)
        })
    }

    /// The debug information; `None` when there is none or it is unreadable.
    pub fn dwarf(&self) -> Option<&Dwarf> {
        self.dwarf
            .get_or_init(|| {
                if !self.has_debug_sections() {
                    return None;
                }
                let loaded = with_elf(&self.path, |file| {
                    Dwarf::load(|name| section_data(file, name), self.abi.big_endian)
                });
                loaded.ok()?.ok().filter(Dwarf::has_types)
            })
            .as_ref()
    }

    /// The link-time address of the symbol `name` in `.symtab`.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u64> {
        self.symbols
            .get_or_init(|| {
                with_elf(&self.path, |file| {
                    file.symbols()
                        .filter_map(|symbol| {
                            let name = symbol.name().ok()?;
                            // Only the runtime's own anchors are ever asked for.
                            let ours = name.starts_with("runtime.")
                                || name.starts_with("internal/runtime/maps.");
                            ours.then(|| (name.to_owned(), symbol.address()))
                        })
                        .collect()
                })
                .unwrap_or_default()
            })
            .get(name)
            .copied()
    }

    /// The variables in `.symtab` that `name` means, with their link-time addresses: the one
    /// of that name, else all that have a path before it (`path/to/pkg.Name`).
    #[must_use]
    pub fn variables(&self, name: &str) -> Vec<(String, u64)> {
        let found = with_elf(&self.path, |file| {
            file.symbols()
                .filter(|symbol| symbol.kind() == object::SymbolKind::Data)
                .filter_map(|symbol| {
                    let spelled = symbol.name().ok()?;
                    let before = spelled.strip_suffix(name)?;
                    let means = before.is_empty() || before.ends_with('/');
                    means.then(|| (spelled.to_owned(), symbol.address()))
                })
                .collect::<Vec<_>>()
        });
        let mut found = found.unwrap_or_default();
        if let Some(exact) = found.iter().position(|(spelled, _)| spelled == name) {
            found = vec![found.swap_remove(exact)];
        }
        found.sort();
        found.dedup();
        found
    }

    /// The map implementation in this executable, by what is in it: debug
    /// types first, then symbols, then the release and its experiments.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        if let Some(dwarf) = self.dwarf() {
            if dwarf.type_named("internal/runtime/maps.Map").is_some() {
                return Some(Family::Swiss);
            }
            if dwarf.type_named("runtime.hmap").is_some() {
                return Some(Family::Classic);
            }
        }
        if self.symbol("internal/runtime/maps.newTable").is_some() {
            return Some(Family::Swiss);
        }
        if self.symbol("runtime.hashGrow").is_some() {
            return Some(Family::Classic);
        }
        let version = self.version()?;
        let release = version.release?;
        if release.minor < 24 || version.experiments.iter().any(|name| name == "noswissmap") {
            Some(Family::Classic)
        } else {
            Some(Family::Swiss)
        }
    }

    /// `DWARF 5, compressed`; `None` without debug information.
    #[must_use]
    pub fn debug_summary(&self) -> Option<String> {
        let dwarf = self.dwarf()?;
        let compressed = if self.debug_is_compressed() {
            ", compressed"
        } else {
            ""
        };
        Some(format!("DWARF {}{compressed}", dwarf.version()))
    }
}

type Cache = object::ReadCache<BufReader<std::fs::File>>;
type Elf<'a> = object::File<'a, &'a Cache>;

/// Parses the file and lends it to `f`. The file is read through a cache of
/// the ranges that are asked for, so a large executable is not loaded whole.
fn with_elf<T>(path: &Path, f: impl FnOnce(&Elf<'_>) -> T) -> Result<T, BinaryError> {
    let name = || path.display().to_string();
    let io = |error| BinaryError::Io {
        path: name(),
        error,
    };
    let malformed = |reason: String| BinaryError::Elf {
        path: name(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(malformed("not a regular file".into()));
    }
    let cache = Cache::new(BufReader::new(file));
    let file = Elf::parse(&cache).map_err(|error| malformed(error.to_string()))?;
    Ok(f(&file))
}

/// The contents of a section, decompressed; empty when it is not there or not
/// readable.
fn section_data(file: &Elf<'_>, name: &str) -> Vec<u8> {
    // `object` also finds `.zdebug_info` under the name `.debug_info`.
    let Some(section) = file.section_by_name(name) else {
        return Vec::new();
    };
    let Ok(data) = section.compressed_data() else {
        return Vec::new();
    };
    if data.uncompressed_size > SECTION_MAX {
        return Vec::new();
    }
    data.decompress()
        .map(std::borrow::Cow::into_owned)
        .unwrap_or_default()
}

fn go_arch(architecture: object::Architecture, little_endian: bool) -> Option<&'static str> {
    use object::Architecture as A;
    Some(match (architecture, little_endian) {
        (A::X86_64, _) => "amd64",
        (A::I386, _) => "386",
        (A::Aarch64, _) => "arm64",
        (A::Arm, _) => "arm",
        (A::Riscv64, _) => "riscv64",
        (A::S390x, _) => "s390x",
        (A::PowerPc64, true) => "ppc64le",
        (A::PowerPc64, false) => "ppc64",
        (A::Mips64, true) => "mips64le",
        (A::Mips64, false) => "mips64",
        (A::LoongArch64, _) => "loong64",
        _ => return None,
    })
}
