//! Go types, and the printing of values in Go syntax.

mod format;
mod name;
mod print;
mod runtime;

pub use format::{go_float, go_quote};
pub use name::short_name;
pub use print::{Limits, NestedMaps, Printer};

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use once_cell::unsync::OnceCell;

use crate::binary::{Binary, Die, DieOffset, Dwarf, Module, first_module};
use crate::memory::{AddressHash, Memory, ReadError};
use runtime::Descriptors;
pub(crate) use runtime::{Head, MapDescriptor};

/// Types nest at most this deep before a description of one is given up.
const DEPTH_MAX: usize = 64;

/// Where a type's description is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeRef {
    /// In the executable's debug information.
    Dwarf(DieOffset),
    /// In the runtime's type descriptor at this address of the process.
    Runtime(u64),
}

/// Why a type could not be described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type {name}: {reason}")]
pub struct TypeError {
    /// The type, as far as its name is known.
    pub name: String,
    /// What is missing or contradictory.
    pub reason: String,
}

/// One Go type.
#[derive(Debug, Clone)]
pub struct Type {
    /// As Go prints it: `map[string]http.Header`.
    pub name: String,
    /// As the debug information spells it: `map[string]net/http.Header`.
    pub full_name: String,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Where it is described.
    pub at: TypeRef,
}

/// What a type is.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of Go's reflect.Kind")]
pub enum Kind {
    Bool,
    /// int, int8 … int64.
    Int,
    /// uint, uint8 … uint64.
    Uint,
    Uintptr,
    /// float32, float64.
    Float,
    /// complex64, complex128.
    Complex,
    String,
    UnsafePointer,
    /// `None`: the target type is not described.
    Pointer(Option<TypeRef>),
    Array {
        elem: TypeRef,
        len: u64,
    },
    Slice {
        elem: TypeRef,
    },
    Struct {
        fields: Vec<StructField>,
    },
    Map {
        key: TypeRef,
        elem: TypeRef,
    },
    Chan {
        /// `None`: the debug information does not tell.
        elem: Option<TypeRef>,
    },
    Func,
    Interface {
        /// `interface {}`: the first word is a type descriptor, not an itab.
        empty: bool,
    },
    /// Not one of Go's kinds; printed as bytes.
    Unknown,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub struct StructField {
    /// Its name; `_` for a blank one.
    pub name: String,
    /// Bytes from the start of the struct.
    pub offset: u64,
    /// Its type.
    pub field_type: TypeRef,
}

/// The types of one executable, described as they are asked for.
pub struct Types {
    binary: Rc<Binary>,
    process: Option<Process>,
    known: RefCell<HashMap<TypeRef, Rc<Type>, AddressHash>>,
    by_short_name: OnceCell<HashMap<String, Named>>,
}

/// The process whose descriptors are read.
struct Process {
    memory: Rc<dyn Memory>,
    bias: u64,
    /// Where descriptors begin.
    base: OnceCell<u64>,
    /// What the linker left of the executable's parts. Like all here it is kept once it is
    /// found only: a program that has just been started may not be relocated yet.
    module: OnceCell<Module>,
    /// The map types that descriptors describe.
    maps: RefCell<Option<Rc<DescribedMaps>>>,
}

/// Map types by their descriptors.
#[derive(Default)]
struct DescribedMaps {
    /// By address.
    all: Vec<(u64, Rc<str>)>,
    /// By name, in a spelling that can be compared.
    by_name: HashMap<String, Vec<u64>>,
    /// The first place that could not be read: there may be others.
    unread: Option<u64>,
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Types")
            .field("binary", &self.binary.path())
            .finish_non_exhaustive()
    }
}

/// The types that share a name in Go's spelling.
#[derive(Debug, Clone, Copy)]
struct Named {
    /// The first of them in the file.
    first: DieOffset,
    /// There are others: types of packages with the same name.
    ambiguous: bool,
}

impl Types {
    /// The types that the debug information of `binary` describes.
    #[must_use]
    pub fn new(binary: Rc<Binary>) -> Self {
        Self {
            binary,
            process: None,
            known: RefCell::default(),
            by_short_name: OnceCell::new(),
        }
    }

    /// The same, and those that only descriptors in the memory of the process
    /// describe. `bias` is what the loader added to the addresses in the file.
    #[must_use]
    pub fn of_process(binary: Rc<Binary>, memory: Rc<dyn Memory>, bias: u64) -> Self {
        let process = Process {
            memory,
            bias,
            base: OnceCell::new(),
            module: OnceCell::new(),
            maps: RefCell::default(),
        };
        Self {
            process: Some(process),
            ..Self::new(binary)
        }
    }

    /// The executable.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// The executable, to be kept.
    #[must_use]
    pub fn shared_binary(&self) -> Rc<Binary> {
        Rc::clone(&self.binary)
    }

    fn dwarf(&self) -> Option<&Dwarf> {
        self.binary.dwarf()
    }

    /// Finds a type by its name, in DWARF's spelling or in Go's
    /// (`map[string]http.Header`, `map[string]any`).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TypeRef> {
        let name = name.trim();
        let in_dwarf = self.dwarf().and_then(|dwarf| dwarf.type_named(name));
        if let Some(offset) = in_dwarf {
            return Some(TypeRef::Dwarf(offset));
        }
        // Two packages may share a name: the first type in the file is taken,
        // which at least does not change from run to run.
        self.shortly_named(name)
            .map(|named| TypeRef::Dwarf(named.first))
            .or_else(|| self.maps_named(name).first().copied())
    }

    /// The types, in DWARF's spelling, that `name` may mean, when it is Go's spelling of
    /// several: types of packages with the same name. Empty when it means one or none.
    #[must_use]
    pub fn rivals(&self, name: &str) -> Vec<String> {
        let name = name.trim();
        let Some(dwarf) = self.dwarf() else {
            let described = self.maps_named(name);
            return if described.len() > 1 {
                described.iter().map(|_| name.to_owned()).collect()
            } else {
                Vec::new()
            };
        };
        let ambiguous = self
            .shortly_named(name)
            .is_some_and(|named| named.ambiguous);
        if !ambiguous || dwarf.type_named(name).is_some() {
            return Vec::new();
        }
        let wanted = name::comparable(name);
        let mut rivals: Vec<String> = dwarf
            .type_names()
            .filter(|(full, _)| name::comparable(&self.short(full)) == wanted)
            .map(|(full, _)| full.to_owned())
            .collect();
        rivals.sort();
        rivals
    }

    /// Finds the only type with this name in Go's spelling; `None` also when several
    /// types share it.
    #[must_use]
    pub fn named_uniquely(&self, short_name: &str) -> Option<TypeRef> {
        let named = self.shortly_named(short_name)?;
        (!named.ambiguous).then_some(TypeRef::Dwarf(named.first))
    }

    /// All map types of this name, in Go's spelling, that descriptors describe: several
    /// where packages share a name. Only what lies in memory can tell which one is meant.
    #[must_use]
    pub fn maps_named(&self, name: &str) -> Vec<TypeRef> {
        let Some(maps) = self.described_maps() else {
            return Vec::new();
        };
        let named = maps.by_name.get(&name::comparable(name));
        named
            .into_iter()
            .flatten()
            .map(|address| TypeRef::Runtime(*address))
            .collect()
    }

    /// The first place among the descriptors of map types that could not be read when they were
    /// looked for, if there is one: then some may be missing.
    #[must_use]
    pub fn unread(&self) -> Option<u64> {
        self.process.as_ref()?.maps.borrow().as_ref()?.unread
    }

    /// Forgets what was found in part only: memory that could not be read may be readable now.
    pub(crate) fn forget_parts(&self) {
        if let Some(process) = &self.process
            && let Ok(mut maps) = process.maps.try_borrow_mut()
            && maps.as_ref().is_some_and(|maps| maps.unread.is_some())
        {
            *maps = None;
        }
    }

    /// The map types in the executable's descriptors, by address: all of them, named or
    /// not; none without a process.
    pub fn map_descriptors(&self) -> impl Iterator<Item = (u64, Rc<str>)> {
        let maps = self.described_maps();
        let len = maps.as_ref().map_or(0, |maps| maps.all.len());
        (0..len).filter_map(move |index| {
            let (at, name) = maps.as_ref()?.all.get(index)?;
            Some((*at, Rc::clone(name)))
        })
    }

    fn described_maps(&self) -> Option<Rc<DescribedMaps>> {
        let process = self.process.as_ref()?;
        if let Some(known) = &*process.maps.borrow() {
            return Some(Rc::clone(known));
        }
        let (module, descriptors) = (self.module().ok()?, self.descriptors()?);
        let (all, unread) = descriptors.maps_in(module.types);
        let mut by_name: HashMap<String, Vec<u64>> = HashMap::new();
        for (address, name) in &all {
            by_name
                .entry(name::comparable(name))
                .or_default()
                .push(*address);
        }
        let all = all.into_iter().map(|(at, name)| (at, name.into()));
        let found = Rc::new(DescribedMaps {
            all: all.collect(),
            by_name,
            unread,
        });
        *process.maps.borrow_mut() = Some(Rc::clone(&found));
        Some(found)
    }

    /// What the linker left of the executable's parts in the process.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn module(&self) -> Result<&Module, String> {
        let process = self.process.as_ref().ok_or("the process is not known")?;
        process
            .module
            .get_or_try_init(|| first_module(&self.binary, &*process.memory, process.bias))
    }

    /// What the loader added to the addresses in the executable.
    #[must_use]
    pub fn bias(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.bias)
    }

    /// The address of the type's descriptor in the process, if it has one that is known.
    #[must_use]
    pub fn descriptor_of(&self, at: TypeRef) -> Option<u64> {
        match at {
            TypeRef::Runtime(address) => Some(address),
            TypeRef::Dwarf(offset) => {
                let offset = self.dwarf()?.die(offset).ok()?.go_runtime_type?;
                self.base().map(|base| base.wrapping_add(offset))
            }
        }
    }

    /// What the descriptor of a map type says of its storage.
    pub(crate) fn map_descriptor(&self, address: u64) -> Result<MapDescriptor, TypeError> {
        let fail = |reason: String| TypeError {
            name: format!("at {address:#x}"),
            reason,
        };
        let descriptors = self
            .descriptors()
            .ok_or_else(|| fail("the process is not known".into()))?;
        descriptors
            .map(address)
            .map_err(|error| fail(error.to_string()))?
            .ok_or_else(|| fail("no descriptor of a map type".into()))
    }

    fn shortly_named(&self, name: &str) -> Option<Named> {
        let dwarf = self.dwarf()?;
        let by_short_name = self.by_short_name.get_or_init(|| {
            let mut names: HashMap<String, Named> = HashMap::new();
            for (full, offset) in dwarf.type_names() {
                names
                    .entry(name::comparable(&self.short(full)))
                    .and_modify(|known| {
                        known.first = known.first.min(offset);
                        known.ambiguous = true;
                    })
                    .or_insert(Named {
                        first: offset,
                        ambiguous: false,
                    });
            }
            names
        });
        by_short_name.get(&name::comparable(name)).copied()
    }

    /// The names of all map types, in Go's spelling, sorted.
    #[must_use]
    pub fn map_names(&self) -> Vec<String> {
        let Some(dwarf) = self.dwarf() else {
            let mut names: Vec<String> = self
                .map_descriptors()
                .map(|(_, name)| name.to_string())
                .collect();
            names.sort();
            names.dedup();
            return names;
        };
        let mut names: Vec<String> = dwarf
            .type_names()
            .filter(|(_, offset)| {
                dwarf
                    .die(*offset)
                    .is_ok_and(|die| die.go_kind == Some(kind::MAP))
            })
            .map(|(name, _)| self.short(name))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Where the process keeps its descriptors: the symbol `runtime.types`,
    /// else the field of `runtime.firstmoduledata`.
    fn base(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let found = process.base.get_or_try_init(|| {
            if let Some(address) = self.binary.symbol("runtime.types") {
                return Ok(address.wrapping_add(process.bias));
            }
            self.module().map(|module| module.types.start)
        });
        found.ok().copied()
    }

    fn descriptors(&self) -> Option<Descriptors<'_>> {
        Some(Descriptors {
            abi: self.binary.abi(),
            memory: &*self.process.as_ref()?.memory,
            base: self.base()?,
        })
    }

    /// The type with the descriptor at `address`: as the debug information
    /// describes it, if it does. `None` when the process is not known.
    ///
    /// # Errors
    /// When the descriptor is unreadable.
    pub fn of_descriptor(&self, address: u64) -> Result<Option<TypeRef>, ReadError> {
        let Some(descriptors) = self.descriptors() else {
            return Ok(None);
        };
        let by_offset = address
            .checked_sub(descriptors.base)
            .and_then(|offset| self.dwarf()?.type_of_descriptor(offset));
        if let Some(offset) = by_offset {
            return Ok(Some(TypeRef::Dwarf(offset)));
        }
        // Up to go1.24 not every debug entry tells its descriptor; a name that
        // only one type has does as well.
        let head = descriptors.head(address)?;
        let by_name = match descriptors.name(head) {
            Ok(Some(name)) => self.named_uniquely(&name),
            _ => None,
        };
        Ok(Some(by_name.unwrap_or(TypeRef::Runtime(address))))
    }

    /// Whether an interface with the descriptor at `address` holds its value in
    /// the data word itself.
    ///
    /// # Errors
    /// When the descriptor is unreadable or the process not known.
    pub fn is_direct(&self, address: u64) -> Result<bool, ReadError> {
        let descriptors = self.descriptors().ok_or(ReadError::fault(address, 1))?;
        Ok(descriptors.head(address)?.direct)
    }

    /// The struct types in the executable's descriptors, with their names as Go prints them;
    /// none without a process.
    #[must_use]
    pub fn structs(&self) -> Vec<(u64, String)> {
        match (self.module(), self.descriptors()) {
            (Ok(module), Some(descriptors)) => descriptors.structs_in(module.types),
            _ => Vec::new(),
        }
    }

    /// The types in the dictionary of a generic function's instance at `address`, and in those
    /// that it refers to (cmd/compile/internal/noder/reader.go, readerDict: methods, other
    /// dictionaries, types, itabs). Where it ends is not told: there may be types of the
    /// next one among them.
    #[must_use]
    pub fn dictionary(&self, address: u64) -> Vec<u64> {
        let mut found = Vec::new();
        self.dictionary_below(address, 0, &mut found);
        found
    }

    fn dictionary_below(&self, address: u64, depth: usize, found: &mut Vec<u64>) -> bool {
        const WORDS: usize = 16;
        let (Some(process), Ok(module)) = (&self.process, self.module()) else {
            return false;
        };
        let abi = self.binary.abi();
        let mut bytes = [0; 8 * WORDS];
        if !address.is_multiple_of(8) || process.memory.read(address, &mut bytes).is_err() {
            return false;
        }
        let mut any = false;
        for word in bytes.chunks_exact(8).map(|word| abi.uint(word)) {
            let near = word.is_multiple_of(8) && word.abs_diff(address) < 256 << 20;
            if near && module.types.contains(word) && self.is_sound(word) {
                any = true;
                if !found.contains(&word) {
                    found.push(word);
                }
                continue;
            }
            // Types come behind the other dictionaries.
            let other = near && !any && depth < 3 && !module.text.contains(word);
            if !other || !self.dictionary_below(word, depth + 1, found) {
                break;
            }
        }
        any || (depth == 0 && !found.is_empty())
    }

    /// Whether what stands at `address` can be a type descriptor.
    #[must_use]
    pub fn is_sound(&self, address: u64) -> bool {
        self.descriptors().is_some_and(|descriptors| {
            descriptors
                .head(address)
                .is_ok_and(|head| descriptors.is_sound(&head))
        })
    }

    fn described_by_runtime(&self, address: u64) -> Result<Type, TypeError> {
        let descriptors = self.descriptors().ok_or_else(|| TypeError {
            name: format!("at {address:#x}"),
            reason: "the process is not known".into(),
        })?;
        descriptors.describe(address, &|target| {
            self.of_descriptor(target)
                .ok()
                .flatten()
                .unwrap_or(TypeRef::Runtime(target))
        })
    }

    /// Go's spelling of a DWARF type name.
    #[must_use]
    pub fn short(&self, full_name: &str) -> String {
        short_name(full_name, |path| {
            self.dwarf()
                .and_then(|dwarf| dwarf.package_name(path))
                .map(str::to_owned)
        })
    }

    /// Describes a type.
    ///
    /// # Errors
    /// When the description is malformed or incomplete.
    pub fn get(&self, at: TypeRef) -> Result<Rc<Type>, TypeError> {
        if let Some(known) = self.known.borrow().get(&at) {
            return Ok(Rc::clone(known));
        }
        let described = Rc::new(match at {
            TypeRef::Dwarf(offset) => self.described_by_dwarf(offset)?,
            TypeRef::Runtime(address) => self.described_by_runtime(address)?,
        });
        self.known.borrow_mut().insert(at, Rc::clone(&described));
        Ok(described)
    }

    /// Whether values of the type hold pointers the garbage collector follows.
    ///
    /// # Errors
    /// As [`Types::get`].
    pub fn has_pointers(&self, at: TypeRef) -> Result<bool, TypeError> {
        self.has_pointers_below(at, 0)
    }

    fn has_pointers_below(&self, at: TypeRef, depth: usize) -> Result<bool, TypeError> {
        let described = self.get(at)?;
        if depth > DEPTH_MAX {
            return Err(described.error("nested too deeply"));
        }
        Ok(match &described.kind {
            Kind::Bool | Kind::Int | Kind::Uint | Kind::Uintptr | Kind::Float | Kind::Complex => {
                false
            }
            Kind::Array { elem, len } => *len > 0 && self.has_pointers_below(*elem, depth + 1)?,
            Kind::Struct { fields } => {
                for field in fields {
                    if self.has_pointers_below(field.field_type, depth + 1)? {
                        return Ok(true);
                    }
                }
                false
            }
            Kind::Unknown => return Err(described.error("not a kind of Go's")),
            // The collector does not follow pointers to what is never in the heap.
            Kind::Pointer(Some(target)) => !self.not_in_heap(*target, 0),
            _ => true,
        })
    }

    /// Whether the type is marked as never being in the heap: by a field of the runtime's
    /// type for that (cmd/compile/internal/types/size.go, NotInHeap).
    fn not_in_heap(&self, at: TypeRef, depth: usize) -> bool {
        let Ok(described) = self.get(at) else {
            return false;
        };
        if depth > DEPTH_MAX {
            return false;
        }
        match &described.kind {
            Kind::Struct { fields } => {
                matches!(
                    described.full_name.as_str(),
                    "runtime/internal/sys.NotInHeap" | "internal/runtime/sys.NotInHeap"
                ) || fields
                    .iter()
                    .any(|field| self.not_in_heap(field.field_type, depth + 1))
            }
            Kind::Array { elem, .. } => self.not_in_heap(*elem, depth + 1),
            _ => false,
        }
    }

    /// The alignment of the type in bytes, by Go's rules (cmd/compile/internal/types/size.go).
    ///
    /// # Errors
    /// As [`Types::get`].
    pub fn align(&self, at: TypeRef) -> Result<u64, TypeError> {
        self.align_below(at, 0)
    }

    fn align_below(&self, at: TypeRef, depth: usize) -> Result<u64, TypeError> {
        let pointer = u64::from(self.binary.abi().pointer_size);
        let described = self.get(at)?;
        if depth > DEPTH_MAX {
            return Err(described.error("nested too deeply"));
        }
        Ok(match &described.kind {
            Kind::Bool | Kind::Int | Kind::Uint | Kind::Uintptr | Kind::Float => {
                described.size.clamp(1, pointer)
            }
            Kind::Complex => (described.size / 2).clamp(1, pointer),
            Kind::Array { elem, .. } => self.align_below(*elem, depth + 1)?,
            Kind::Struct { fields } => {
                let mut align = 1;
                for field in fields {
                    align = align.max(self.align_below(field.field_type, depth + 1)?);
                }
                align
            }
            Kind::Unknown => 1,
            _ => pointer,
        })
    }

    fn described_by_dwarf(&self, offset: DieOffset) -> Result<Type, TypeError> {
        let unknown = |reason: String| TypeError {
            name: format!("at {:#x}", offset.0),
            reason,
        };
        let dwarf = self
            .dwarf()
            .ok_or_else(|| unknown("no debug information".into()))?;
        let read = |offset| {
            dwarf
                .die(offset)
                .map_err(|error| unknown(error.to_string()))
        };
        let outer = read(offset)?;
        let mut die = outer.clone();
        // A named type is a typedef, at times twice, of the entry that has the kind.
        for _ in 0..4 {
            if die.go_kind.is_some() || die.tag != gimli::DW_TAG_typedef {
                break;
            }
            die = match die.type_ref {
                Some(next) => read(next)?,
                None => break,
            };
        }
        let full_name = outer.name.or_else(|| die.name.clone()).unwrap_or_default();
        let kind = self.kind_of(&die, dwarf).map_err(|reason| TypeError {
            name: self.short(&full_name),
            reason,
        })?;
        let pointer = u64::from(self.binary.abi().pointer_size);
        let size = match &kind {
            Kind::Pointer(_)
            | Kind::UnsafePointer
            | Kind::Map { .. }
            | Kind::Chan { .. }
            | Kind::Func => pointer,
            Kind::Interface { .. } => 2 * pointer,
            _ => die.byte_size.unwrap_or(0),
        };
        Ok(Type {
            name: self.short(&full_name),
            full_name,
            size,
            kind,
            at: TypeRef::Dwarf(offset),
        })
    }

    fn kind_of(&self, die: &Die, dwarf: &Dwarf) -> Result<Kind, String> {
        let target = |reference: Option<DieOffset>, what: &str| {
            reference
                .map(TypeRef::Dwarf)
                .ok_or_else(|| format!("{what} missing"))
        };
        Ok(match die.go_kind {
            Some(kind::BOOL) => Kind::Bool,
            Some(kind::INT..=kind::INT64) => Kind::Int,
            Some(kind::UINT..=kind::UINT64) => Kind::Uint,
            Some(kind::UINTPTR) => Kind::Uintptr,
            Some(kind::FLOAT32 | kind::FLOAT64) => Kind::Float,
            Some(kind::COMPLEX64 | kind::COMPLEX128) => Kind::Complex,
            Some(kind::ARRAY) => Kind::Array {
                elem: target(die.type_ref, "array elem type")?,
                len: die
                    .children
                    .iter()
                    .find_map(|child| child.count)
                    .ok_or("array length missing")?,
            },
            Some(kind::CHAN) => Kind::Chan {
                elem: die.go_elem.map(TypeRef::Dwarf),
            },
            Some(kind::FUNC) => Kind::Func,
            Some(kind::INTERFACE) => {
                let words = die.type_ref.and_then(|at| dwarf.die(at).ok());
                let name = words.and_then(|die| die.name).unwrap_or_default();
                Kind::Interface {
                    empty: name == "runtime.eface",
                }
            }
            Some(kind::MAP) => Kind::Map {
                key: target(die.go_key, "key type")?,
                elem: target(die.go_elem, "elem type")?,
            },
            Some(kind::POINTER) => Kind::Pointer(die.type_ref.map(TypeRef::Dwarf)),
            Some(kind::SLICE) => Kind::Slice {
                elem: target(die.go_elem, "slice elem type")?,
            },
            Some(kind::STRING) => Kind::String,
            Some(kind::STRUCT) => Kind::Struct {
                fields: die
                    .children
                    .iter()
                    .filter(|child| child.tag == gimli::DW_TAG_member)
                    .map(|child| {
                        Ok(StructField {
                            name: child
                                .name
                                .as_deref()
                                .map(|name| name.rsplit('.').next().unwrap_or(name).to_owned())
                                .unwrap_or_default(),
                            offset: child.member_offset.ok_or("field offset missing")?,
                            field_type: target(child.type_ref, "field type")?,
                        })
                    })
                    .collect::<Result<_, String>>()?,
            },
            Some(kind::UNSAFE_POINTER) => Kind::UnsafePointer,
            // Up to go1.21 the entry of unsafe.Pointer has no kind.
            _ if die.tag == gimli::DW_TAG_pointer_type && die.type_ref.is_none() => {
                Kind::UnsafePointer
            }
            _ if die.tag == gimli::DW_TAG_pointer_type => {
                Kind::Pointer(die.type_ref.map(TypeRef::Dwarf))
            }
            _ => Kind::Unknown,
        })
    }
}

impl Type {
    fn error(&self, reason: &str) -> TypeError {
        TypeError {
            name: self.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// internal/abi.Kind.
#[allow(dead_code, reason = "the table is complete on purpose")]
mod kind {
    pub const BOOL: u8 = 1;
    pub const INT: u8 = 2;
    pub const INT64: u8 = 6;
    pub const UINT: u8 = 7;
    pub const UINT64: u8 = 11;
    pub const UINTPTR: u8 = 12;
    pub const FLOAT32: u8 = 13;
    pub const FLOAT64: u8 = 14;
    pub const COMPLEX64: u8 = 15;
    pub const COMPLEX128: u8 = 16;
    pub const ARRAY: u8 = 17;
    pub const CHAN: u8 = 18;
    pub const FUNC: u8 = 19;
    pub const INTERFACE: u8 = 20;
    pub const MAP: u8 = 21;
    pub const POINTER: u8 = 22;
    pub const SLICE: u8 = 23;
    pub const STRING: u8 = 24;
    pub const STRUCT: u8 = 25;
    pub const UNSAFE_POINTER: u8 = 26;
}
