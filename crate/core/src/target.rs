//! A Go process or core as seen through its executable: where the types of
//! [`crate::gotype`], the layouts and the walkers meet one memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use once_cell::unsync::OnceCell;

use crate::binary::{Binary, Function, FunctionTable, Functions, SourceFrame, modules};
use crate::gotype::{Kind, Limits, NestedMaps, Printer, Type, TypeError, TypeRef, Types};
use crate::heap::{self, Allocated, Heap, HeapError, ThreadRegisters, allocated, functions};
use crate::layout::{Header, MapLayout, Part, SLOTS, map_layout};
use crate::map::{CountOnly, Flow, Racing, Unit, Visitor, Walk, walk};
use crate::memory::{BlockCache, Faults, Memory, ReadError, Span, Watched};
use crate::metrics::{BlockSpans, Context, Stats, indirect_bytes, stats};
use crate::ring::{Ring, RingError};
use crate::scan::{self, Facts, Filter, FoundMap, Label, Roots, Scan, ScanReport, map_types_at};

/// Blocks kept for pointer chasing while the target stands still.
const CACHE: usize = 24 << 20;

/// Entries whose keys and elems outside the slots are looked up in the heap.
const CHECKED: usize = 64;

/// Types that an error names where a map can have several.
const NAMED: usize = 5;

/// Why a map could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No type of that name.
    #[error("no type {0} in {1}")]
    NoSuchType(String, String),
    /// Several types of that name: the wrong one would give wrong figures.
    #[error("{0} may mean {1}: only a full import path in the name tells which")]
    Ambiguous(String, String),
    /// The type is no map.
    #[error("{0} is not a map type")]
    NotAMap(String),
    /// The executable has no debug information, and the process no types.
    #[error(
        "{0} has no debug information (built with -ldflags=-s or -w?), \
         and its types are not found in memory: {1}"
    )]
    Stripped(String, String),
    /// Nothing can be read at the address.
    #[error("no map at {0:#x}: {1}; is it the address of a map header?")]
    Unreadable(u64, String),
    /// What is at the address is no map header, or a damaged one.
    #[error("no sound map header at {0:#x}: {1}")]
    Damaged(u64, String),
    /// The storage at the address is of one of several types.
    #[error("the map at {0:#x} may be {1}: say which with -type")]
    SeveralTypes(u64, String),
    /// Nothing tells the type of the map at the address.
    #[error("cannot tell the type of the map at {0:#x} ({1}): add it, -type 'map[K]V'")]
    UnknownType(u64, String),
    /// The table of functions cannot be read.
    #[error("cannot find the functions of {0}: {1}")]
    NoFunctions(String, String),
    /// The type's description cannot be used.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The heap's structures are not known, or not readable.
    #[error("{0}")]
    Heap(String),
}

/// The type of a map that was asked for by nothing but its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeAt {
    /// The type's descriptor in the process.
    pub descriptor: u64,
    /// Its name in Go's spelling.
    pub name: String,
    /// It is the only type of the program with such storage; the allocator did not note it.
    pub inferred: bool,
}

/// A function of the runtime that takes a map's type and the map in registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapCall {
    /// `runtime.mapassign_faststr`.
    pub function: String,
    /// Holds the address of the type's descriptor.
    pub type_register: &'static str,
    /// Holds the address of the map's header.
    pub map_register: &'static str,
}

/// Whether the process changes while it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Motion {
    /// All its threads are stopped, or it is a file.
    #[default]
    Still,
    /// The debugger does not say: it evaluates a breakpoint's condition.
    Unknown,
    /// Threads run (gdb's non-stop mode).
    Running,
}

/// What a search says that was made while threads ran.
pub const WHILE_RUNNING: &str = "Racing: the program ran while it was read, so nothing here is \
     exact; interrupt -a stops all threads.";

/// A target and what is known of it while it stands still.
pub struct Target {
    types: Types,
    memory: Rc<BlockCache<Watched<Box<dyn Memory>>>>,
    pid: Option<u32>,
    of_file: bool,
    console: Option<String>,
    motion: Cell<Motion>,
    /// How often it was said that the target ran.
    runs: Cell<u64>,
    layouts: RefCell<HashMap<TypeRef, Rc<MapLayout>>>,
    heap: RefCell<HeapState>,
    functions: OnceCell<FunctionTable>,
}

/// What is known of the heap.
#[derive(Default)]
enum HeapState {
    /// It was not asked for, or was not found before the target ran.
    #[default]
    Unknown,
    /// Found, but the target ran since.
    Stale(Rc<Heap>),
    /// Up to date.
    Open(Rc<Heap>),
    /// Not found at this stop.
    Failed(HeapError),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.types.binary().path())
            .finish_non_exhaustive()
    }
}

impl Target {
    /// The target whose bytes `memory` reads.
    ///
    /// `bias` is what the loader added to the addresses in the executable;
    /// `pid` names a process on this machine, if the target is one.
    #[must_use]
    pub fn new(binary: Rc<Binary>, memory: Box<dyn Memory>, bias: u64, pid: Option<u32>) -> Self {
        let memory = Rc::new(BlockCache::new(Watched::new(memory), CACHE));
        let shared: Rc<dyn Memory> = Rc::<BlockCache<Watched<Box<dyn Memory>>>>::clone(&memory);
        Self {
            types: Types::of_process(binary, shared, bias),
            memory,
            pid,
            of_file: false,
            console: None,
            motion: Cell::default(),
            runs: Cell::default(),
            layouts: RefCell::default(),
            heap: RefCell::default(),
            functions: OnceCell::new(),
        }
    }

    /// The same read from a file, as a core: the process is over.
    #[must_use]
    pub fn of_file(self) -> Self {
        Self {
            of_file: true,
            ..self
        }
    }

    /// The same for the console script, where commands begin with `gomapscope` and name
    /// what they look at by `again`: `-core FILE `.
    #[must_use]
    pub fn outside_gdb(self, again: String) -> Self {
        Self {
            console: Some(again),
            ..self
        }
    }

    /// What commands of the console script name it by; `None` in gdb.
    #[must_use]
    pub fn console(&self) -> Option<&str> {
        self.console.as_deref()
    }

    /// Says whether the process runs while it is read from now on: what walks find is not
    /// exact then.
    pub fn set_motion(&self, motion: Motion) {
        self.motion.set(motion);
    }

    /// How often it was said so far that the target ran: it must be the same before and
    /// behind what is read as one.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs.get()
    }

    /// Whether its memory is that of a file: of a process here or on another machine it is not.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.of_file
    }

    /// Whether the process runs while it is read.
    #[must_use]
    pub fn motion(&self) -> Motion {
        self.motion.get()
    }

    /// Forgets the bytes read so far: the target ran.
    /// Where a debugger tells of it in the middle of a read, what is being read is not
    /// kept, and the walk that reads says that it is not exact.
    pub fn invalidate(&self) {
        self.runs.set(self.runs.get().wrapping_add(1));
        self.memory.clear();
        self.types.forget_parts();
        let Ok(mut heap) = self.heap.try_borrow_mut() else {
            return;
        };
        *heap = match std::mem::take(&mut *heap) {
            HeapState::Open(heap) | HeapState::Stale(heap) => HeapState::Stale(heap),
            HeapState::Unknown | HeapState::Failed(_) => HeapState::Unknown,
        };
    }

    /// Go's heap in this process, opened when it is first asked for.
    ///
    /// # Errors
    /// When it cannot be found or read; the reason is kept for this stop.
    pub fn heap(&self) -> Result<Rc<Heap>, HeapError> {
        let runs = self.runs.get();
        let mut state = self.heap.borrow_mut();
        let opened = match std::mem::take(&mut *state) {
            HeapState::Open(heap) => Ok(heap),
            HeapState::Failed(error) => Err(error),
            HeapState::Stale(mut heap) => match Rc::get_mut(&mut heap).map(Heap::refresh) {
                Some(Ok(())) => Ok(heap),
                // Somebody holds it still, or the process is another one.
                Some(Err(_)) | None => self.open_heap(),
            },
            HeapState::Unknown => self.open_heap(),
        };
        *state = match &opened {
            _ if self.runs.get() != runs => HeapState::Unknown,
            Ok(heap) => HeapState::Open(Rc::clone(heap)),
            // A Ctrl-C says nothing of the heap.
            Err(HeapError::Read(ReadError::Interrupted)) => HeapState::Unknown,
            Err(error) => HeapState::Failed(error.clone()),
        };
        opened
    }

    fn open_heap(&self) -> Result<Rc<Heap>, HeapError> {
        let memory: Rc<dyn Memory> =
            Rc::<BlockCache<Watched<Box<dyn Memory>>>>::clone(&self.memory);
        Heap::open(&self.types, memory).map(Rc::new)
    }

    /// The types of its executable.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// The executable.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        self.types.binary()
    }

    /// Its memory, through the cache.
    #[must_use]
    pub fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    /// Its memory without the cache, for what changes while threads run.
    #[must_use]
    pub fn uncached(&self) -> &dyn Memory {
        self.memory.inner()
    }

    /// The code at `address`, as the executable's file has it: memory may hold traps of
    /// other tracers.
    ///
    /// # Errors
    /// When the file does not have it, and memory neither.
    pub fn code(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let linked = address.wrapping_sub(self.types.bias());
        if self.binary().file_bytes(linked, buffer) {
            return Ok(());
        }
        self.memory.inner().read(address, buffer)
    }

    /// The header of the program's maps, whatever their type: where the fields lie of
    /// `hmap`, or of `maps.Map` and its tables. The overflow pointer of a classic bucket
    /// is that of some type.
    ///
    /// # Errors
    /// When the program has no map type, or the layout of none is known: why.
    pub fn any_header(&self) -> Result<Header, String> {
        let mut reason = "it has no map type".to_owned();
        for (descriptor, _) in self.types.map_descriptors().take(NAMED) {
            let found = match self.types.of_descriptor(descriptor) {
                Ok(Some(at)) => self
                    .types
                    .get(at)
                    .map_err(TargetError::from)
                    .and_then(|map_type| self.layout(&map_type)),
                Ok(None) => continue,
                Err(error) => return Err(error.to_string()),
            };
            match found {
                Ok(layout) => return Ok(layout.header),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    /// A printer of this target's values.
    #[must_use]
    pub fn printer(&self, limits: Limits) -> Printer<'_> {
        Printer {
            types: &self.types,
            memory: &*self.memory,
            maps: Some(self),
            limits,
        }
    }

    /// The layout of a map type.
    ///
    /// # Errors
    /// When the type is no map, or its description cannot be used.
    pub fn layout(&self, map_type: &Type) -> Result<Rc<MapLayout>, TargetError> {
        if let Some(layout) = self.layouts.borrow().get(&map_type.at) {
            return Ok(Rc::clone(layout));
        }
        let layout = Rc::new(map_layout(&self.types, map_type)?);
        self.layouts
            .borrow_mut()
            .insert(map_type.at, Rc::clone(&layout));
        Ok(layout)
    }

    /// The type named `name`, in DWARF's or in Go's spelling.
    ///
    /// # Errors
    /// When there is none.
    pub fn type_named(&self, name: &str) -> Result<Rc<Type>, TargetError> {
        let path = || self.binary().path().display().to_string();
        let rivals = self.types.rivals(name);
        if !rivals.is_empty() {
            return Err(TargetError::Ambiguous(name.to_owned(), rivals.join(" or ")));
        }
        let Some(at) = self.types.named(name) else {
            return Err(match self.types.module() {
                Err(reason) if self.binary().dwarf().is_none() => {
                    TargetError::Stripped(path(), reason)
                }
                _ => TargetError::NoSuchType(name.to_owned(), path()),
            });
        };
        Ok(self.types.get(at)?)
    }
}

/// What the heap and the code tell where there is no debug information.
impl Target {
    /// The type of the map whose header is at `address`: by its storage, else by what leads
    /// to it in the whole process. `None` where no map header stands.
    ///
    /// # Errors
    /// When neither tells a type, or more than one.
    pub fn map_type_at(&self, address: u64) -> Result<Option<TypeAt>, TargetError> {
        let by_storage = self.map_type_by_storage(address);
        if matches!(
            &by_storage,
            Ok(None)
                | Ok(Some(TypeAt {
                    inferred: false,
                    ..
                }))
        ) {
            return by_storage;
        }
        // What leads to it may tell more.
        let nothing = Filter::default();
        let wanted = ScanWanted {
            filter: &nothing,
            rows: Some(0),
            types: true,
            holders: false,
            tombstones: false,
        };
        let Ok(scanned) = self.scan(&[], &wanted) else {
            return by_storage;
        };
        let scan = &scanned.scan;
        let map = scan
            .maps
            .binary_search_by_key(&address, |map| map.address)
            .ok()
            .and_then(|position| scan.maps.get(position));
        match map.map(|map| (map.label, scan.types_of(map))) {
            Some((label, [known])) if label != Label::Structure => Ok(Some(TypeAt {
                descriptor: known.descriptor,
                name: known.name.to_string(),
                inferred: label != Label::Exact,
            })),
            _ => by_storage,
        }
    }

    fn map_type_by_storage(&self, address: u64) -> Result<Option<TypeAt>, TargetError> {
        let unknown = |reason: String| TargetError::UnknownType(address, reason);
        let heap = self.heap().map_err(|error| unknown(error.to_string()))?;
        let found = map_types_at(&heap, &*self.memory, &self.types, address);
        let Some(found) = found.map_err(|error| unknown(error.to_string()))? else {
            return Ok(None);
        };
        let mut names: Vec<&str> = found.maps.iter().map(|known| &*known.name).collect();
        names.sort_unstable();
        names.dedup();
        match (found.maps.first(), names.as_slice()) {
            (Some(known), [name]) => Ok(Some(TypeAt {
                descriptor: known.descriptor,
                name: (*name).to_owned(),
                inferred: found.label != Label::Exact,
            })),
            (None, _) => Err(unknown("it has no storage on the heap".to_owned())),
            (Some(_), names) => {
                let more = names.len().saturating_sub(NAMED);
                let mut listed = names
                    .iter()
                    .take(NAMED)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ");
                if more > 0 {
                    listed.push_str(&format!(" or {more} more"));
                }
                Err(TargetError::SeveralTypes(address, listed))
            }
        }
    }

    fn functions(&self) -> Result<&FunctionTable, TargetError> {
        self.functions.get_or_try_init(|| {
            let module = self.types.module().map_err(|reason| {
                let path = self.binary().path().display().to_string();
                TargetError::NoFunctions(path, reason)
            })?;
            let table = FunctionTable::new(self.binary().abi(), *module);
            // One that could not be read is not kept: the next time it may be.
            match table.len(&*self.memory) {
                0 => Err(TargetError::NoFunctions(
                    self.binary().path().display().to_string(),
                    "their table is unreadable".to_owned(),
                )),
                _ => Ok(table),
            }
        })
    }

    /// The calls that the instruction at `pc` belongs to, innermost first; empty where the
    /// tables do not tell.
    #[must_use]
    pub fn frames_of_pc(&self, pc: u64) -> Vec<SourceFrame> {
        match self.functions() {
            Ok(table) => table.frames_of_pc(&*self.memory, pc),
            Err(_) => Vec::new(),
        }
    }

    /// The flight recorder's ring.
    ///
    /// # Errors
    /// When the program has none, or it cannot be used.
    pub fn ring(&self) -> Result<Ring, RingError> {
        Ring::find(self.binary(), &*self.memory, self.types.bias())
    }

    /// The function of the program named `name`, found without symbols.
    ///
    /// # Errors
    /// When the table of functions cannot be read.
    pub fn function_named(&self, name: &str) -> Result<Option<Function>, TargetError> {
        Ok(self.functions()?.function_named(&*self.memory, name))
    }

    /// The runtime's function that begins at `pc`, if its first two arguments are a map's
    /// type and the map (ABIInternal: they are in registers).
    #[must_use]
    pub fn map_call(&self, pc: u64) -> Option<MapCall> {
        let (type_register, map_register) = match self.binary().arch()? {
            "amd64" => ("rax", "rbx"),
            "arm64" => ("x0", "x1"),
            _ => return None,
        };
        let function = self.functions().ok()?.function_at(&*self.memory, pc)?;
        let name = function.name.strip_prefix("runtime.")?;
        let takes_a_map = ["mapaccess", "mapassign", "mapdelete"]
            .iter()
            .any(|start| name.starts_with(start) && !name.contains('.'))
            || ["mapclear", "mapiterinit", "mapIterStart"].contains(&name);
        (takes_a_map && function.entry == pc).then_some(MapCall {
            function: function.name,
            type_register,
            map_register,
        })
    }
}

/// The maps of a process, and what could not be had.
#[derive(Debug)]
pub struct Scanned {
    /// What was found.
    pub scan: Scan,
    /// What else is known of single maps.
    pub facts: Facts,
    /// Why roots are missing: sentences.
    pub missing: Vec<String>,
    /// Threads of the process ran meanwhile.
    pub racing: bool,
    /// How long it took.
    pub seconds: f64,
}

/// What of a scan is wanted.
#[derive(Debug, Clone, Copy)]
pub struct ScanWanted<'a> {
    /// Which maps are listed, and in which order.
    pub filter: &'a Filter,
    /// How many of them; `None` for all.
    pub rows: Option<u64>,
    /// Follow types from variables through the heap.
    pub types: bool,
    /// Who holds those that are listed; needs types.
    pub holders: bool,
    /// Tombstones of all maps, not only of those that are listed.
    pub tombstones: bool,
}

/// Rows of which more than the figures is looked up, unless that was asked for.
const DETAILED: u64 = 1000;

impl Target {
    /// The heap and what a search of it begins with; and what such a search cannot know
    /// here: sentences.
    fn search(
        &self,
        threads: &[ThreadRegisters],
        types: bool,
    ) -> Result<(Rc<Heap>, Roots<'_>, Vec<String>), TargetError> {
        let heap = self.heap().map_err(|reason| self.no_heap(&reason))?;
        heap.searchable().map_err(|reason| {
            TargetError::Heap(format!(
                "{reason}; what asks for one map works here: go-map-stats EXPR and the like"
            ))
        })?;
        let roots = Roots::of(&self.types, &*self.memory, threads)
            .map_err(|reason| TargetError::Heap(reason.to_string()))?;
        let mut missing = roots.missing.clone();
        if types && self.binary().arch() != Some("amd64") {
            missing.push(
                "Code is only understood on amd64: the types of a few maps, which code alone \
                 tells, are not known."
                    .to_owned(),
            );
        }
        Ok((heap, roots, missing))
    }

    /// Finds every map of the process. `threads` are those that the system knows, with
    /// their registers.
    ///
    /// # Errors
    /// When the heap's structures are not known, or cannot be read at all.
    pub fn scan(
        &self,
        threads: &[ThreadRegisters],
        wanted: &ScanWanted<'_>,
    ) -> Result<Scanned, TargetError> {
        let started = Instant::now();
        let runs = self.runs.get();
        let watch = self.memory.inner().watch();
        let (heap, roots, missing) = self.search(threads, wanted.types)?;
        let options = scan::Options {
            types: wanted.types,
        };
        let direct: &dyn Memory = self.memory.inner();
        let family = self.binary().family();
        let listed = |scan: &Scan, rows: Option<u64>| -> Vec<usize> {
            let report = ScanReport::new(scan, family, wanted.filter);
            let rows = rows.map_or(usize::MAX, |rows| {
                usize::try_from(rows).unwrap_or(usize::MAX)
            });
            report.positions().take(rows).collect()
        };
        // Documents list everything: of a few maps more is told without being asked.
        let few = wanted.rows.unwrap_or(DETAILED).min(DETAILED);
        let mut chosen = Vec::new();
        let scan = scan::scan(&heap, direct, &self.types, &roots, &options, &mut |scan| {
            let rows = if wanted.holders {
                wanted.rows
            } else {
                Some(few)
            };
            chosen = listed(scan, rows);
            chosen.clone()
        })
        .map_err(|reason| self.no_heap(&reason))?;
        if chosen.is_empty() {
            chosen = listed(&scan, Some(few));
        }
        let mut facts = self.facts(&scan);
        let all = wanted.tombstones.then(|| (0..scan.maps.len()).collect());
        let interrupted = self
            .walk_found(&heap, &scan, &all.unwrap_or(chosen), &mut facts)
            .is_err();
        let mut scan = scan;
        scan.interrupted |= interrupted;
        let faults = watch.take();
        Ok(self.scanned((scan, facts), (&roots, missing, faults), runs, started))
    }

    /// Finds every map, and what holds those that `chosen` picks, if types are followed.
    ///
    /// # Errors
    /// As [`Target::scan`].
    pub fn scan_for(
        &self,
        threads: &[ThreadRegisters],
        types: bool,
        chosen: &dyn Fn(&FoundMap) -> bool,
    ) -> Result<Scanned, TargetError> {
        let started = Instant::now();
        let runs = self.runs.get();
        let watch = self.memory.inner().watch();
        let (heap, roots, missing) = self.search(threads, types)?;
        let direct: &dyn Memory = self.memory.inner();
        let options = scan::Options { types };
        let mut pick = |scan: &Scan| {
            let maps = scan.maps.iter().enumerate();
            maps.filter(|(_, map)| chosen(map))
                .map(|(position, _)| position)
                .collect()
        };
        let scan = scan::scan(&heap, direct, &self.types, &roots, &options, &mut pick)
            .map_err(|reason| self.no_heap(&reason))?;
        let facts = self.facts(&scan);
        let faults = watch.take();
        Ok(self.scanned((scan, facts), (&roots, missing, faults), runs, started))
    }

    /// What a search tells of the maps that were chosen.
    fn facts(&self, scan: &Scan) -> Facts {
        Facts {
            full_names: self.full_names(scan),
            held_by: scan
                .holders
                .iter()
                .map(|(address, path)| (*address, path.as_str().into()))
                .collect(),
            ..Facts::default()
        }
    }

    /// What a search found that began at `started`, when the target had run `runs` times.
    fn scanned(
        &self,
        (mut scan, facts): (Scan, Facts),
        (roots, mut missing, faults): (&Roots<'_>, Vec<String>, Faults),
        runs: u64,
        started: Instant,
    ) -> Scanned {
        for defect in roots.defects.kept() {
            scan.defects.add(defect.clone());
        }
        if let Some(address) = self.types.unread() {
            scan.defects.push(
                "types-unreadable",
                address,
                "readable descriptors of types",
                "unreadable memory",
                "map types, and the maps of those",
            );
        }
        if faults != Faults::default() {
            let own = self.own_memory(&mut scan, roots);
            scan::tell_losses(faults, &own, &mut scan.defects);
        }
        let racing = self.motion() == Motion::Running || self.runs.get() != runs;
        if racing {
            missing.insert(0, WHILE_RUNNING.to_owned());
        }
        Scanned {
            scan,
            facts,
            missing,
            racing,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    /// What is the program's own memory and readable as long as it lives: the segments of its
    /// executable and the parts of its plugins, the spans of the heap, stacks, and what the
    /// runtime has for itself.
    fn own_memory(&self, scan: &mut Scan, roots: &Roots<'_>) -> Vec<Span> {
        let mut own = std::mem::take(&mut scan.extents);
        let bias = self.types.bias();
        let binary = self.binary();
        own.extend(binary.segments().into_iter().map(|segment| Span {
            start: segment.start.wrapping_add(bias),
            ..segment
        }));
        if let Ok(first) = self.types.module() {
            for module in modules(binary, &*self.memory, *first) {
                own.extend(module.parts());
            }
        }
        own.extend(roots.stacks.iter().copied());
        own.extend(heap::persistent(&self.types, &*self.memory));
        scan::joined(own)
    }

    /// Walks maps that were found: counts tombstones, and tells where they were allocated
    /// by the block that the memory profile knows, the largest first.
    fn walk_found(
        &self,
        heap: &Heap,
        scan: &Scan,
        positions: &[usize],
        facts: &mut Facts,
    ) -> Result<(), ReadError> {
        let functions = functions(&self.types, &*self.memory).ok();
        for (number, position) in positions.iter().enumerate() {
            if number.is_multiple_of(256) {
                self.memory
                    .checkpoint(number as u64, positions.len() as u64)?;
            }
            let Some(map) = scan.maps.get(*position) else {
                continue;
            };
            let sure = !matches!(map.label, Label::OneOf | Label::Structure);
            let layout = scan
                .types_of(map)
                .first()
                .and_then(|known| known.layout.as_ref());
            let Some(layout) = layout.filter(|_| sure) else {
                continue;
            };
            let mut walk = walk(&*self.memory, layout, map.address, &mut CountOnly);
            if walk.interrupted {
                return Err(ReadError::Interrupted);
            }
            // Of a walk that broke off it would be too few.
            if walk.exact() {
                facts.tombstones.insert(map.address, walk.counts.tombstones);
            }
            let Some(functions) = functions.as_ref().filter(|_| !scan.sites.is_empty()) else {
                continue;
            };
            walk.blocks
                .sort_by_key(|block| std::cmp::Reverse(block.span.len));
            let stack = walk.blocks.iter().take(64).find_map(|block| {
                let slot = heap.slot_of(block.span.start).ok()??;
                scan.sites.stack_of(slot.base)
            });
            if let Some(stack) = stack {
                let frames = self.frames_of(functions, stack);
                if !frames.is_empty() {
                    facts.allocated_at.insert(map.address, frames);
                }
            }
        }
        Ok(())
    }

    /// The calls of an allocation, those of the runtime's own left out, innermost first.
    fn frames_of(&self, functions: &Functions, stack: &[u64]) -> Rc<[Rc<str>]> {
        let frames: Vec<_> = stack
            .iter()
            .filter_map(|pc| functions.frame_of_return(&*self.memory, *pc))
            .collect();
        let of_runtime = |name: &str| {
            ["runtime.", "internal/runtime/"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        frames
            .iter()
            .skip_while(|frame| of_runtime(&frame.function))
            .map(|frame| {
                let file = frame.file.rsplit('/').next().unwrap_or_default();
                format!("{} {file}:{}", frame.function, frame.line).into()
            })
            .collect()
    }

    /// Names that tell types of one name apart, by the addresses of their descriptors.
    fn full_names(&self, scan: &Scan) -> HashMap<u64, Rc<str>> {
        let known: HashMap<u64, &str> = scan
            .types
            .iter()
            .flatten()
            .map(|known| (known.descriptor, &*known.name))
            .collect();
        known
            .into_iter()
            .filter(|(_, name)| !self.types.rivals(name).is_empty())
            .filter_map(|(descriptor, _)| {
                let at = self.types.of_descriptor(descriptor).ok()??;
                let full = &self.types.get(at).ok()?.full_name;
                self.types
                    .rivals(full)
                    .is_empty()
                    .then(|| (descriptor, full.as_str().into()))
            })
            .collect()
    }

    fn no_heap(&self, reason: &HeapError) -> TargetError {
        let version = self.binary().version();
        let release = version.as_ref().and_then(|version| version.release);
        TargetError::Heap(match (version, release) {
            (Some(version), Some(release)) if release.minor < 21 => format!(
                "maps are found by the heap's books, which are known from go1.21 on; \
                 this program is of {}",
                version.text
            ),
            (Some(version), _) => format!("{reason} ({})", version.text),
            (None, _) => reason.to_string(),
        })
    }
}

impl NestedMaps for Target {
    fn entries(
        &self,
        map_type: &Type,
        address: u64,
        limit: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<bool> {
        let layout = self.layout(map_type).ok()?;
        let mut seen = 0;
        let mut more = false;
        let mut entries = Entries::new(&*self.memory, &layout, |key, elem| {
            if seen >= limit {
                more = true;
                return Flow::Stop;
            }
            seen += 1;
            match (key.bytes, elem.bytes) {
                (Ok(key), Ok(elem)) => visit(key, elem),
                _ => more = true,
            }
            Flow::Continue
        });
        let walked = walk(&*self.memory, &layout, address, &mut entries);
        let unreadable = seen == 0 && walked.defects.total() > 0;
        (!unreadable).then_some(more || walked.interrupted)
    }
}

/// One map of a target.
#[derive(Debug, Clone)]
pub struct Map {
    target: Rc<Target>,
    address: u64,
    map_type: Rc<Type>,
    layout: Rc<MapLayout>,
    expression: String,
    inferred: bool,
}

impl Map {
    /// The map whose header is at `address` (0: a nil map).
    ///
    /// # Errors
    /// When `type_name` is no map type of the target, or its layout cannot be told.
    pub fn new(
        target: Rc<Target>,
        address: u64,
        type_name: &str,
        expression: &str,
    ) -> Result<Self, TargetError> {
        let map_type = target.type_named(type_name)?;
        Self::of(target, address, map_type, expression)
    }

    /// The map whose header is at `address`, of the type with the descriptor at
    /// `descriptor`. `inferred`: the type is not certain, and the figures say so.
    ///
    /// # Errors
    /// When that is no map type, or its layout cannot be told.
    pub fn described(
        target: Rc<Target>,
        address: u64,
        descriptor: u64,
        inferred: bool,
        expression: &str,
    ) -> Result<Self, TargetError> {
        let unreadable = |reason: String| TargetError::Unreadable(descriptor, reason);
        let at = target
            .types
            .of_descriptor(descriptor)
            .map_err(|error| unreadable(error.to_string()))?
            .ok_or_else(|| unreadable("no type descriptor".to_owned()))?;
        let map_type = target.types.get(at)?;
        let map = Self::of(target, address, map_type, expression)?;
        Ok(Self { inferred, ..map })
    }

    fn of(
        target: Rc<Target>,
        address: u64,
        map_type: Rc<Type>,
        expression: &str,
    ) -> Result<Self, TargetError> {
        if !matches!(map_type.kind, Kind::Map { .. }) {
            return Err(TargetError::NotAMap(map_type.name.clone()));
        }
        let layout = target.layout(&map_type)?;
        Ok(Self {
            target,
            address,
            map_type,
            layout,
            expression: expression.to_owned(),
            inferred: false,
        })
    }

    /// The target it is in.
    #[must_use]
    pub fn target(&self) -> &Rc<Target> {
        &self.target
    }

    /// The address of its header.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Whether its type is an inference from its storage.
    #[must_use]
    pub fn inferred(&self) -> bool {
        self.inferred
    }

    /// Its type.
    #[must_use]
    pub fn map_type(&self) -> &Type {
        &self.map_type
    }

    /// Its layout.
    #[must_use]
    pub fn layout(&self) -> &MapLayout {
        &self.layout
    }

    /// Its key and elem types.
    ///
    /// # Errors
    /// When they are not described.
    pub fn key_and_elem(&self) -> Result<(Rc<Type>, Rc<Type>), TargetError> {
        match self.map_type.kind {
            Kind::Map { key, elem } => {
                let types = self.target.types();
                Ok((types.get(key)?, types.get(elem)?))
            }
            _ => Err(TargetError::NotAMap(self.map_type.name.clone())),
        }
    }

    /// Walks it. What was walked while the process ran says so; where nobody knows
    /// whether it did, a header that is another one afterwards tells.
    pub fn walk(&self, visitor: &mut dyn Visitor) -> Walk {
        let target = &self.target;
        let walk = |visitor| walk(target.memory(), &self.layout, self.address, visitor);
        let runs = target.runs.get();
        if target.motion() == Motion::Still || self.address == 0 {
            let mut walked = walk(visitor);
            if target.runs.get() != runs && self.address != 0 {
                walked.racing = Some(Racing::Changed);
            }
            return walked;
        }
        // The walk reads it through the cache, too.
        let before = self.header(target.memory());
        let mut walked = walk(visitor);
        walked.racing = if self.header(target.uncached()) != before {
            Some(Racing::Changed)
        } else if target.motion() == Motion::Running {
            Some(Racing::Threads)
        } else {
            None
        };
        walked
    }

    /// The bytes of its header, `None` where they are unreadable.
    fn header(&self, memory: &dyn Memory) -> Option<Vec<u8>> {
        let mut header = vec![0; self.layout.header_size()];
        let read = memory.read(self.address, &mut header);
        read.is_ok().then_some(header)
    }

    /// Visits its entries in walk order; the bytes are those of key and elem
    /// themselves, also where the slots hold pointers.
    pub fn entries(&self, visit: impl FnMut(Side<'_>, Side<'_>) -> Flow) -> Walk {
        self.walk(&mut Entries::new(self.target.memory(), &self.layout, visit))
    }

    /// Reads its header once.
    ///
    /// # Errors
    /// When the header is unreadable: then there is nothing to walk at all.
    pub fn probe(&self) -> Result<(), TargetError> {
        let mut header = vec![0; self.layout.header_size()];
        match self.target.memory().read(self.address, &mut header) {
            Err(error @ ReadError::Fault { .. }) if self.address != 0 => {
                Err(TargetError::Unreadable(self.address, error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// The count in its header, which is what `len` returns.
    ///
    /// # Errors
    /// When the header is unreadable or cannot be one.
    pub fn header_len(&self) -> Result<u64, TargetError> {
        struct Stop;
        impl Visitor for Stop {
            fn unit(&mut self, _: &Unit<'_>) -> Flow {
                Flow::Stop
            }
        }
        let walk = self.walk(&mut Stop);
        match walk.defects.kept().first() {
            None => Ok(walk.len),
            Some(defect) => Err(TargetError::Damaged(
                self.address,
                format!("{} expected, {} found", defect.expected, defect.found),
            )),
        }
    }

    /// What a walk of it is labelled with.
    #[must_use]
    pub fn context(&self) -> Context {
        let binary = self.target.binary();
        let (key_type, elem_type) = match self.key_and_elem() {
            Ok((key, elem)) => (key.name.clone(), elem.name.clone()),
            Err(_) => (String::new(), String::new()),
        };
        Context {
            expression: self.expression.clone(),
            type_name: self.map_type.name.clone(),
            key_type,
            elem_type,
            go_version: binary.version().map(|version| version.text),
            arch: binary.arch().map(str::to_owned),
            pid: self.target.pid,
            console: self.target.console.clone(),
        }
    }

    /// The figures of `walk`, a walk of this map. What it allocates is read from the heap,
    /// where there is one.
    #[must_use]
    pub fn stats_of(&self, walk: &Walk) -> Stats {
        let runs = self.target.runs.get();
        let mut stats = self.figures_of(walk);
        if self.target.runs.get() != runs && !stats.racing {
            stats.racing = true;
            stats.exact = false;
            stats.notes.push(Racing::Changed.sentence().to_owned());
        }
        stats
    }

    fn figures_of(&self, walk: &Walk) -> Stats {
        let mut stats = stats(walk, &self.layout, &self.context());
        if self.inferred {
            stats.notes.push(
                "type inferred from its storage and what leads to it: -type 'map[K]V' overrides it"
                    .to_owned(),
            );
        }
        if walk.blocks.is_empty() {
            return stats;
        }
        let booked = self.target.heap().and_then(|heap| {
            let owned = allocated(&heap, walk)?;
            Ok((owned, self.check_indirect(&heap)?))
        });
        match booked {
            Ok((owned, astray)) => {
                let spans = owned.span_free.map(|free| BlockSpans {
                    spans: owned.spans,
                    slots: owned.span_slots,
                    free,
                });
                let indirect = indirect_bytes(&self.layout, walk.live());
                stats.set_allocated(owned.bytes.saturating_add(indirect), spans);
                stats.notes.extend(notes(&owned, walk, astray));
            }
            Err(error) => stats.notes.push(format!(
                "allocated is computed from Go's size classes, as if all were on the heap: {error}"
            )),
        }
        stats
    }

    /// Of the first keys and elems that are kept outside the slots: how many are not what
    /// the allocator gives for their size, and how many were looked at.
    fn check_indirect(&self, heap: &Heap) -> Result<(u64, u64), ReadError> {
        let (mut astray, mut checked) = (0, 0);
        let layout = &self.layout;
        if !layout.key.indirect && !layout.elem.indirect {
            return Ok((0, 0));
        }
        let mut pointers = Vec::new();
        let walk = self.walk(&mut Indirect {
            layout,
            pointers: &mut pointers,
        });
        if walk.interrupted {
            return Err(ReadError::Interrupted);
        }
        for (part, address) in pointers {
            let expected = layout.allocator.slot(part.size, !part.pointers);
            let own = heap
                .slot_of(address)?
                .is_some_and(|slot| slot.object() == address && slot.size == expected);
            checked += 1;
            astray += u64::from(!own);
        }
        Ok((astray, checked))
    }

    /// Walks it and returns the figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_of(&self.walk(&mut CountOnly))
    }

    /// The descriptor of its type in the process, if the process has it.
    #[must_use]
    pub fn descriptor(&self) -> Option<u64> {
        self.target.types.descriptor_of(self.map_type.at)
    }
}

/// What qualifies the bytes that the heap's books say a map takes.
fn notes(owned: &Allocated, walk: &Walk, (astray, checked): (u64, u64)) -> Vec<String> {
    let mut notes = Vec::new();
    let blocks = |count: u64| match count {
        1 => "1 block is".to_owned(),
        _ => format!("{count} blocks are"),
    };
    if owned.on_stack == walk.blocks.len() as u64 {
        notes.push("the map is on a goroutine's stack: it takes nothing of the heap".to_owned());
    } else if owned.header_on_stack && owned.on_stack == 1 {
        notes.push("the header is on a goroutine's stack: it takes nothing of the heap".to_owned());
    } else if owned.on_stack > 0 {
        notes.push(format!(
            "{} on a goroutine's stack and not in allocated",
            blocks(owned.on_stack)
        ));
    }
    if owned.spans > 0 && owned.span_free.is_none() {
        notes.push(
            "how much of the spans around it is free is not known: allocation bits cannot be read"
                .to_owned(),
        );
    }
    if owned.outside > 0 {
        notes.push(format!(
            "{} outside Go's heap and not in allocated",
            blocks(owned.outside)
        ));
    }
    if owned.free > 0 {
        notes.push(format!(
            "{} free by the allocator's books: the map is not in use any more, or memory was \
             overwritten",
            blocks(owned.free)
        ));
    }
    if astray > 0 {
        notes.push(format!(
            "keys and elems outside the slots are counted by size class, but {astray} of \
             {checked} that were looked up lie elsewhere"
        ));
    }
    notes
}

/// Collects the first pointers to keys and elems that are kept outside the slots.
struct Indirect<'a> {
    layout: &'a MapLayout,
    pointers: &'a mut Vec<(Part, u64)>,
}

impl Visitor for Indirect<'_> {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        let layout = self.layout;
        let mask = unit.slots.live_mask();
        for index in (0..SLOTS).filter(|index| mask >> index & 1 != 0) {
            for part in [layout.key, layout.elem] {
                let at = part.offset + index * part.stride;
                if let (true, Some(address)) =
                    (part.indirect, layout.abi.pointer_at(unit.bytes, at))
                {
                    self.pointers.push((part, address));
                }
            }
            if self.pointers.len() >= CHECKED {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }
}

/// The key or the elem of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side<'a> {
    /// Where its slot is.
    pub slot: u64,
    /// Where the value is: the slot, or what the slot points to.
    pub address: u64,
    /// Its bytes.
    pub bytes: Result<&'a [u8], ReadError>,
}

/// A visitor that takes buckets apart into entries.
struct Entries<'a, F> {
    memory: &'a dyn Memory,
    layout: &'a MapLayout,
    visit: F,
    key: Vec<u8>,
    elem: Vec<u8>,
}

impl<'a, F: FnMut(Side<'_>, Side<'_>) -> Flow> Entries<'a, F> {
    fn new(memory: &'a dyn Memory, layout: &'a MapLayout, visit: F) -> Self {
        Self {
            memory,
            layout,
            visit,
            key: Vec::new(),
            elem: Vec::new(),
        }
    }
}

impl<F: FnMut(Side<'_>, Side<'_>) -> Flow> Visitor for Entries<'_, F> {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        let mask = unit.slots.live_mask();
        if mask == 0 {
            return Flow::Continue;
        }
        for index in (0..SLOTS).filter(|index| mask >> index & 1 != 0) {
            let key = side(
                self.memory,
                self.layout,
                self.layout.key,
                unit,
                index,
                &mut self.key,
            );
            let elem = side(
                self.memory,
                self.layout,
                self.layout.elem,
                unit,
                index,
                &mut self.elem,
            );
            if (self.visit)(key, elem) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }
}

fn side<'b>(
    memory: &dyn Memory,
    layout: &MapLayout,
    part: Part,
    unit: &Unit<'b>,
    index: usize,
    buffer: &'b mut Vec<u8>,
) -> Side<'b> {
    let offset = part.offset + index * part.stride;
    let slot = unit.address.wrapping_add(offset as u64);
    let size = part.slot_size(layout.abi);
    let inline = unit.bytes.get(offset..offset.saturating_add(size));
    let fault = |address| Err(ReadError::fault(address, size));
    if !part.indirect {
        return Side {
            slot,
            address: slot,
            bytes: inline.map_or_else(|| fault(slot), Ok),
        };
    }
    let address = inline.map_or(0, |bytes| layout.abi.uint(bytes));
    // No type of a Go program is larger: the compiler's limit for one value.
    let Some(size) = usize::try_from(part.size)
        .ok()
        .filter(|size| *size <= 1 << 30)
    else {
        return Side {
            slot,
            address,
            bytes: fault(address),
        };
    };
    buffer.resize(size, 0);
    let bytes = memory.read(address, buffer).map(|()| buffer.as_slice());
    Side {
        slot,
        address,
        bytes,
    }
}
