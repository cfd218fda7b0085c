//! Functions by name and by address, the sizes of their frames, files and lines, from
//! the tables that stay in every Go binary (runtime/symtab.go: `findfunc`, `funcname`,
//! `funcspdelta`, `funcline1`; runtime/symtabinl.go; the format is that of go1.20 and
//! later).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use once_cell::unsync::OnceCell;

use super::moduledata::Module;
use crate::memory::{Abi, AddressHash, Memory, READ_MAX, ReadError, Span, read_available};

/// Functions of one program. cmd/go has 25,000.
const FUNCTIONS_MAX: u64 = 1 << 23;
/// Bytes of all their names.
const NAMES_MAX: u64 = 1 << 29;
/// `_func` records, with what follows each.
const RECORDS_MAX: u64 = 1 << 31;

/// Bytes of one table of values by address. The longest are those of functions that fill
/// large tables of literals.
const PC_TABLE_MAX: u64 = 1 << 22;
/// Calls that were inlined into each other.
const INLINED_MAX: usize = 256;
/// Bytes of one name of a file.
const FILE_NAME_MAX: u64 = 4096;
/// Frame sizes that are kept.
const KEPT_MAX: usize = 1 << 16;

/// internal/abi/symtab.go.
const PCDATA_INLINE_INDEX: u32 = 2;
const FUNCDATA_INLINE_TREE: u8 = 3;
const PCDATA_STACK_MAP: u32 = 1;
const FUNCDATA_ARGS: u8 = 0;
const FUNCDATA_LOCALS: u8 = 1;
const FUNCDATA_STACK_OBJECTS: u8 = 2;
const PCDATA_ARGUMENTS_LIVE: u32 = 3;
const FUNCDATA_ARGUMENTS: u8 = 5;
const FUNCDATA_ARGUMENTS_LIVE: u8 = 6;

/// Bytes of what the compiler tells of a function's arguments (`traceArgsMaxLen`), and of
/// which of them have their value in memory that are looked at.
const ARGUMENTS_LEN: usize = 171;
const ARGUMENTS_LIVE_LEN: u64 = 1 << 16;

/// Words of one frame that are told one by one: 8 MiB of frame.
const SLOTS_MAX: u32 = 1 << 20;

/// Variables of one frame whose address is taken.
const STACK_OBJECTS_MAX: u64 = 1 << 14;
const FLAG_TOP: u8 = 1;
const FLAG_WRITES_SP: u8 = 2;
/// `_func` up to its tables (runtime/runtime2.go).
const FUNC_LEN: usize = 44;
/// `inlinedCall` (runtime/symtabinl.go).
const INLINED_LEN: u64 = 16;

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `runtime.mallocinit`, `main.(*T).Method`.
    pub name: String,
    /// Its first instruction, in the process.
    pub entry: u64,
    /// The end of its code, padding included.
    pub end: u64,
}

/// One call as the source shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFrame {
    /// `main.(*T).Method`.
    pub function: String,
    /// As the compiler was given it; `?` if the tables do not tell.
    pub file: String,
    /// From 1 on; 0 if the tables do not tell.
    pub line: u32,
}

/// One call with the address that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFrame {
    /// The instruction that was asked for; of a call into which that was inlined, an instruction
    /// whose place in the source is the call's.
    pub pc: u64,
    /// The compiler made the function: stacks leave it out, unless it panicked
    /// (runtime/traceback.go, elideWrapperCalling).
    pub wrapper: bool,
    /// What the source shows.
    pub frame: SourceFrame,
}

/// The functions of a module. What is read of the process is kept.
#[derive(Debug)]
pub struct FunctionTable {
    abi: Abi,
    module: Module,
    tables: OnceCell<Option<Tables>>,
    /// By address: what stack walks ask for again and again.
    frames: RefCell<HashMap<u64, Option<FrameInfo>, AddressHash>>,
    /// `abi.FuncIDWrapper`.
    wrapper: OnceCell<Option<u8>>,
}

#[derive(Debug)]
struct Tables {
    functions: Vec<Row>,
    /// One past the last function, from the start of the text.
    end: u32,
    names: Vec<u8>,
    /// Bytes that instructions are multiples of.
    quantum: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// From the start of the text.
    entry: u32,
    /// From the start of the names.
    name: u32,
    /// The `_func`, from the start of the records.
    at: u32,
}

/// What a `_func` says.
#[derive(Debug, Clone, Copy)]
struct Details {
    address: u64,
    entry: u64,
    end: u64,
    name: u32,
    stack: u32,
    file: u32,
    line: u32,
    values: u32,
    unit: u32,
    kind: u8,
    flags: u8,
    data: u8,
}

/// What a stack walk needs to know of the function at an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameInfo {
    /// Bytes between the stack pointer and the frame's end, without the return address
    /// that a call pushes. `None`: the tables do not tell.
    pub(crate) size: Option<u64>,
    /// Stacks end here (`FuncFlagTopFrame`).
    pub(crate) top: bool,
    /// It writes to the stack pointer what no table tells (`FuncFlagSPWrite`).
    pub(crate) writes_sp: bool,
    /// The frame above was not called from there, but interrupted (`isInjectedCall`).
    pub(crate) injected: bool,
}

impl FunctionTable {
    /// The functions of `module`; nothing is read yet.
    #[must_use]
    pub fn new(abi: Abi, module: Module) -> Self {
        Self {
            abi,
            module,
            tables: OnceCell::new(),
            frames: RefCell::default(),
            wrapper: OnceCell::new(),
        }
    }

    /// The number of functions that the compiler makes. It differs from release to release, but
    /// follows that of `systemstack_switch` (internal/abi/symtab.go).
    fn wrapper(&self, memory: &dyn Memory) -> Option<u8> {
        *self.wrapper.get_or_init(|| {
            let tables = self.tables(memory)?;
            let index = tables
                .functions
                .iter()
                .position(|row| tables.name_is(row.name, "runtime.systemstack_switch"))?;
            self.details(memory, tables, index)?.kind.checked_add(1)
        })
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    fn tables(&self, memory: &dyn Memory) -> Option<&Tables> {
        self.tables.get_or_init(|| self.load(memory).ok()).as_ref()
    }

    fn load(&self, memory: &dyn Memory) -> Result<Tables, ReadError> {
        let index = self.module.function_index;
        let fault = ReadError::fault(index.start, 8);
        let count = (index.len / 8).min(FUNCTIONS_MAX);
        let pairs = read_all(memory, index.start, count * 8, FUNCTIONS_MAX * 8)?;
        let mut places: Vec<(u32, u32)> = pairs
            .chunks_exact(8)
            .map(|pair| {
                let half = |at| self.abi.uint_at(pair, at, 4).unwrap_or(0) as u32;
                (half(0), half(4))
            })
            .collect();
        let (end, _) = places.pop().ok_or(fault)?;
        let names = self.module.function_names;
        let names = read_all(memory, names.start, names.len, NAMES_MAX)?;
        // Records stand in the order of the index, 50 bytes and more apart: read
        // through, not one by one.
        let records = self.module.functions;
        let limit = records.len.min(RECORDS_MAX);
        let mut functions = Vec::with_capacity(places.len());
        let mut window = Span { start: 0, len: 0 };
        let mut bytes = Vec::new();
        for (entry, at) in places {
            let at = u64::from(at);
            if at.saturating_add(8) > limit {
                continue;
            }
            if at < window.start || at + 8 > window.end() {
                let len = (limit - at).min(READ_MAX as u64);
                bytes.resize(len as usize, 0);
                memory.read(records.start.wrapping_add(at), &mut bytes)?;
                window = Span { start: at, len };
            }
            let inside = (at - window.start) as usize;
            // _func: entryOff uint32, nameOff int32.
            if let Some(name) = self.abi.uint_at(&bytes, inside + 4, 4) {
                functions.push(Row {
                    entry,
                    name: name as u32,
                    at: at as u32,
                });
            }
        }
        functions.sort_unstable();
        // pcHeader: magic uint32, two zeros, minLC uint8.
        let header = self.module.pc_header.wrapping_add(6);
        let quantum = self.abi.read_uint(memory, header, 1)? as u32;
        Ok(Tables {
            functions,
            end,
            names,
            quantum: quantum.clamp(1, 16),
        })
    }

    /// How many functions there are; 0 if the tables are unreadable.
    #[must_use]
    pub fn len(&self, memory: &dyn Memory) -> usize {
        self.tables(memory).map_or(0, |t| t.functions.len())
    }

    /// The function whose code holds `address`.
    #[must_use]
    pub fn function_at(&self, memory: &dyn Memory, address: u64) -> Option<Function> {
        let tables = self.tables(memory)?;
        self.function(tables, self.index_at(tables, address)?)
    }

    fn index_at(&self, tables: &Tables, address: u64) -> Option<usize> {
        let offset = u32::try_from(address.checked_sub(self.module.text.start)?).ok()?;
        let after = tables.functions.partition_point(|row| row.entry <= offset);
        let index = after.checked_sub(1)?;
        (offset < tables.end_of(index)).then_some(index)
    }

    /// The function named `name`.
    #[must_use]
    pub fn function_named(&self, memory: &dyn Memory, name: &str) -> Option<Function> {
        let tables = self.tables(memory)?;
        let index = tables
            .functions
            .iter()
            .position(|row| tables.name_is(row.name, name))?;
        self.function(tables, index)
    }

    /// All functions, by address.
    pub fn functions<'a>(
        &'a self,
        memory: &dyn Memory,
    ) -> impl Iterator<Item = Function> + use<'a> {
        let tables = self.tables(memory);
        (0..tables.map_or(0, |t| t.functions.len()))
            .filter_map(move |index| self.function(tables?, index))
    }

    fn function(&self, tables: &Tables, index: usize) -> Option<Function> {
        let row = tables.functions.get(index)?;
        let text = self.module.text.start;
        Some(Function {
            name: tables.text(row.name)?,
            entry: text.wrapping_add(u64::from(row.entry)),
            end: text.wrapping_add(u64::from(tables.end_of(index))),
        })
    }

    fn details(&self, memory: &dyn Memory, tables: &Tables, index: usize) -> Option<Details> {
        let row = tables.functions.get(index)?;
        let address = self.module.functions.start.wrapping_add(u64::from(row.at));
        let mut bytes = [0; FUNC_LEN];
        memory.read(address, &mut bytes).ok()?;
        let half = |at| Some(self.abi.uint_at(&bytes, at, 4)? as u32);
        let text = self.module.text.start;
        Some(Details {
            address,
            entry: text.wrapping_add(u64::from(row.entry)),
            end: text.wrapping_add(u64::from(tables.end_of(index))),
            name: row.name,
            stack: half(16)?,
            file: half(20)?,
            line: half(24)?,
            values: half(28)?,
            unit: half(32)?,
            kind: *bytes.get(40)?,
            flags: *bytes.get(41)?,
            data: *bytes.get(43)?,
        })
    }

    /// The value at `pc` in the table that begins `offset` bytes behind the start of the
    /// tables (`pcvalue`); `None` if there is none, or the table is malformed.
    fn value(
        &self,
        memory: &dyn Memory,
        tables: &Tables,
        function: &Details,
        offset: u32,
        pc: u64,
    ) -> Option<i32> {
        let (value, _) = self.value_and_place(memory, tables, function, offset, pc)?;
        Some(value)
    }

    /// The same, and whether it holds since the function's first instruction.
    fn value_and_place(
        &self,
        memory: &dyn Memory,
        tables: &Tables,
        function: &Details,
        offset: u32,
        pc: u64,
    ) -> Option<(i32, bool)> {
        let len = self.module.pc_tables.len.checked_sub(u64::from(offset))?;
        if offset == 0 || pc < function.entry || pc >= function.end {
            return None;
        }
        let start = self.module.pc_tables.start.wrapping_add(u64::from(offset));
        let mut cursor = Cursor::new(memory, start, len.min(PC_TABLE_MAX));
        let mut at = function.entry;
        let mut value = -1_i32;
        let mut first = true;
        // Every round consumes two bytes and more, and takes the address further.
        loop {
            value = cursor.value(value, first)?;
            let step = u64::from(cursor.varint()?) * u64::from(tables.quantum);
            at = at.checked_add(step).filter(|_| step > 0)?;
            if pc < at {
                return Some((value, first));
            }
            first = false;
            if at >= function.end {
                return None;
            }
        }
    }

    /// `pcdatavalue1`: a value that the compiler noted for the instruction at `pc`.
    fn noted(
        &self,
        memory: &dyn Memory,
        tables: &Tables,
        function: &Details,
        table: u32,
        pc: u64,
    ) -> Option<i32> {
        let (value, _) = self.noted_and_place(memory, tables, function, table, pc)?;
        Some(value)
    }

    /// The same, and whether it holds since the function's first instruction.
    fn noted_and_place(
        &self,
        memory: &dyn Memory,
        tables: &Tables,
        function: &Details,
        table: u32,
        pc: u64,
    ) -> Option<(i32, bool)> {
        if table >= function.values {
            return None;
        }
        let at = function
            .address
            .checked_add(FUNC_LEN as u64 + 4 * u64::from(table))?;
        let offset = self.abi.read_uint(memory, at, 4).ok()? as u32;
        self.value_and_place(memory, tables, function, offset, pc)
    }

    /// `funcdata`: the address of what the compiler left for a function.
    fn data(&self, memory: &dyn Memory, function: &Details, index: u8) -> Option<u64> {
        if index >= function.data {
            return None;
        }
        let skip = 4 * (u64::from(function.values) + u64::from(index));
        let at = function.address.checked_add(FUNC_LEN as u64 + skip)?;
        let offset = self.abi.read_uint(memory, at, 4).ok()?;
        (offset != u64::from(u32::MAX)).then(|| self.module.function_data.wrapping_add(offset))
    }

    /// Bytes between the stack pointer and the end of the frame of the function at `pc`,
    /// the return address that a call pushes on amd64 not included (`funcspdelta`).
    /// `None`: the tables do not tell.
    #[must_use]
    pub fn frame_size(&self, memory: &dyn Memory, pc: u64) -> Option<u64> {
        self.frame_info(memory, pc)?.size
    }

    /// What a stack walk needs; `None` where there is no function of Go's.
    pub(crate) fn frame_info(&self, memory: &dyn Memory, pc: u64) -> Option<FrameInfo> {
        if let Some(known) = self.frames.borrow().get(&pc) {
            return *known;
        }
        let info = self.read_frame_info(memory, pc);
        let mut frames = self.frames.borrow_mut();
        if frames.len() >= KEPT_MAX {
            frames.clear();
        }
        frames.insert(pc, info);
        info
    }

    fn read_frame_info(&self, memory: &dyn Memory, pc: u64) -> Option<FrameInfo> {
        let tables = self.tables(memory)?;
        let index = self.index_at(tables, pc)?;
        let function = self.details(memory, tables, index)?;
        let is = |name: &str| tables.name_is(function.name, name);
        let size = self.value(memory, tables, &function, function.stack, pc);
        Some(FrameInfo {
            size: size.and_then(|size| u64::try_from(size).ok()),
            top: function.flags & FLAG_TOP != 0,
            // It writes SP, but both stacks can be walked through it.
            writes_sp: function.flags & FLAG_WRITES_SP != 0 && !is("runtime.cgocallback"),
            injected: [
                "runtime.sigpanic",
                "runtime.asyncPreempt",
                "runtime.debugCallV2",
            ]
            .iter()
            .any(|name| is(name)),
        })
    }

    /// The calls that the instruction at `pc` belongs to, innermost first: those that
    /// were inlined, and the function itself last. `pc` is that of an instruction, not a
    /// return address. Empty where there is no function of Go's.
    #[must_use]
    pub fn frames_of_pc(&self, memory: &dyn Memory, pc: u64) -> Vec<SourceFrame> {
        let places = self.places_of_pc(memory, pc).into_iter();
        places.map(|place| place.frame).collect()
    }

    /// The same, each with the address that stands for it (runtime/symtabinl.go,
    /// inlineUnwinder); lists of return addresses have one byte more.
    #[must_use]
    pub fn places_of_pc(&self, memory: &dyn Memory, pc: u64) -> Vec<PlacedFrame> {
        let mut frames = Vec::new();
        let found = self.tables(memory).and_then(|tables| {
            let index = self.index_at(tables, pc)?;
            Some((tables, self.details(memory, tables, index)?))
        });
        let Some((tables, function)) = found else {
            return frames;
        };
        let tree = self.data(memory, &function, FUNCDATA_INLINE_TREE);
        let mut pc = pc;
        while frames.len() < INLINED_MAX {
            let call = tree.and_then(|tree| {
                let index = self.noted(memory, tables, &function, PCDATA_INLINE_INDEX, pc)?;
                let at = tree.checked_add(u64::try_from(index).ok()? * INLINED_LEN)?;
                // inlinedCall: funcID uint8 (padded), nameOff, parentPc, startLine int32.
                let mut bytes = [0; INLINED_LEN as usize];
                memory.read(at, &mut bytes).ok()?;
                let half = |at| Some(self.abi.uint_at(&bytes, at, 4)? as u32);
                Some((half(4)?, half(8)?, *bytes.first()?))
            });
            let (file, line) = self.file_line(memory, tables, &function, pc);
            let (name, kind) = call.map_or((function.name, function.kind), |(name, _, kind)| {
                (name, kind)
            });
            let frame = SourceFrame {
                function: tables.text(name).unwrap_or_else(|| "?".to_owned()),
                file,
                line,
            };
            let wrapper = match self.wrapper(memory) {
                Some(wrapper) => kind == wrapper,
                None => frame.file == "<autogenerated>",
            };
            frames.push(PlacedFrame { pc, wrapper, frame });
            let Some((_, parent, _)) = call else {
                break;
            };
            pc = function.entry.wrapping_add(u64::from(parent));
        }
        frames
    }

    /// The function that was inlined where the instruction at `pc` stands: of a call that was
    /// inlined, stacks have the address of its mark (`inlinedCall.parentPc`), which is no call.
    #[must_use]
    pub fn inlined_at(&self, memory: &dyn Memory, pc: u64) -> Option<String> {
        let tables = self.tables(memory)?;
        let index = self.index_at(tables, pc)?;
        let function = self.details(memory, tables, index)?;
        let tree = self.data(memory, &function, FUNCDATA_INLINE_TREE)?;
        if PCDATA_INLINE_INDEX >= function.values {
            return None;
        }
        let at = function
            .address
            .checked_add(FUNC_LEN as u64 + 4 * u64::from(PCDATA_INLINE_INDEX))?;
        let offset = self.abi.read_uint(memory, at, 4).ok()?;
        let len = self.module.pc_tables.len.checked_sub(offset)?;
        if offset == 0 {
            return None;
        }
        let start = self.module.pc_tables.start.wrapping_add(offset);
        let mut cursor = Cursor::new(memory, start, len.min(PC_TABLE_MAX));
        let wanted = u32::try_from(pc.checked_sub(function.entry)?).ok()?;
        let mut known = HashSet::new();
        let mut value = -1_i32;
        let mut first = true;
        // Each round consumes two bytes and more.
        loop {
            value = cursor.value(value, first)?;
            first = false;
            cursor.varint()?;
            let mut inlined = u64::try_from(value)
                .ok()
                .filter(|index| known.insert(*index));
            // Those that it is inlined into, which may have no instruction of their own.
            while let Some(index) = inlined {
                let entry = tree.checked_add(index.checked_mul(INLINED_LEN)?)?;
                let mut bytes = [0; INLINED_LEN as usize];
                memory.read(entry, &mut bytes).ok()?;
                let half = |at| Some(self.abi.uint_at(&bytes, at, 4)? as u32);
                let (name, parent) = (half(4)?, half(8)?);
                if parent == wanted {
                    return tables.text(name);
                }
                let parent = function.entry.wrapping_add(u64::from(parent));
                inlined = self
                    .noted(memory, tables, &function, PCDATA_INLINE_INDEX, parent)
                    .and_then(|index| u64::try_from(index).ok())
                    .filter(|index| known.insert(*index));
            }
        }
    }

    /// `funcline1`.
    fn file_line(
        &self,
        memory: &dyn Memory,
        tables: &Tables,
        function: &Details,
        pc: u64,
    ) -> (String, u32) {
        let value = |table| {
            let value = self.value(memory, tables, function, table, pc)?;
            u32::try_from(value).ok()
        };
        let found = value(function.file).and_then(|file| {
            let line = value(function.line)?;
            let index = u64::from(function.unit) + u64::from(file);
            let names = self.module.file_index;
            let at = index
                .checked_mul(4)
                .filter(|at| at.saturating_add(4) <= names.len)?;
            let offset = self
                .abi
                .read_uint(memory, names.start.wrapping_add(at), 4)
                .ok()?;
            let names = self.module.file_names;
            let len = names.len.checked_sub(offset)?;
            let start = names.start.wrapping_add(offset);
            let mut cursor = Cursor::new(memory, start, len.min(FILE_NAME_MAX));
            let mut name = Vec::new();
            loop {
                match cursor.byte()? {
                    0 => break,
                    byte => name.push(byte),
                }
            }
            Some((String::from_utf8_lossy(&name).into_owned(), line))
        });
        found.unwrap_or_else(|| ("?".to_owned(), 0))
    }
}

/// Which words of a frame the collector follows (runtime/stkframe.go, getStackMap): what
/// is not among them is a variable that is not used any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSlots {
    /// A bit for each word, the last of which ends where the variables do.
    locals: (Vec<u8>, u32),
    /// A bit for each word from the first argument on.
    arguments: (Vec<u8>, u32),
    /// Variables whose address is taken, by offset and bytes: below 0 from the end of the
    /// variables, else from the first argument. They live while something points to them.
    objects: Vec<(i32, i32)>,
}

impl LiveSlots {
    /// Whether any word of a variable may be in use. `variables_end` is where the frame's
    /// variables end, `arguments` where its arguments begin.
    #[must_use]
    pub fn any(&self, variables_end: u64, arguments: u64, place: Span) -> bool {
        let bit = |(bytes, count): &(Vec<u8>, u32), index: u64| {
            index < u64::from(*count)
                && bytes
                    .get((index / 8) as usize)
                    .is_some_and(|byte| byte >> (index % 8) & 1 != 0)
        };
        let first_local = variables_end.wrapping_sub(8 * u64::from(self.locals.1));
        let words = (place.start..place.end().max(place.start.saturating_add(1))).step_by(8);
        let live = words.take(SLOTS_MAX as usize).any(|word| {
            if word >= arguments {
                bit(&self.arguments, (word - arguments) / 8)
            } else {
                word >= first_local && bit(&self.locals, (word - first_local) / 8)
            }
        });
        live || self.objects.iter().any(|(offset, size)| {
            let base = match *offset < 0 {
                true => variables_end,
                false => arguments,
            };
            let start = base.wrapping_add_signed(i64::from(*offset));
            place.start < start.saturating_add(u64::from(size.unsigned_abs()))
                && start < place.end()
        })
    }
}

impl FunctionTable {
    /// The words of a frame that are in use at `pc`, the last byte of a call. `None` where
    /// the tables do not tell.
    #[must_use]
    pub fn live_slots(&self, memory: &dyn Memory, pc: u64) -> Option<LiveSlots> {
        let tables = self.tables(memory)?;
        let index = self.index_at(tables, pc)?;
        let function = self.details(memory, tables, index)?;
        let number = self.noted(memory, tables, &function, PCDATA_STACK_MAP, pc);
        // -1: as at the function's entry.
        let number = u32::try_from(number.unwrap_or(-1)).unwrap_or(0);
        let bitmap = |table: u8| {
            let Some(at) = self.data(memory, &function, table) else {
                return Some((Vec::new(), 0));
            };
            // stackmap: n, nbit int32, bytedata.
            let half = |offset| Some(self.abi.read_uint(memory, at + offset, 4).ok()? as u32);
            let (maps, bits) = (half(0)?, half(4)?);
            if bits == 0 {
                return Some((Vec::new(), 0));
            }
            if number >= maps || bits > SLOTS_MAX {
                return None;
            }
            let len = u64::from(bits.div_ceil(8));
            let mut bytes = vec![0; len as usize];
            let start = at.checked_add(8)?.checked_add(u64::from(number) * len)?;
            memory.read(start, &mut bytes).ok()?;
            Some((bytes, bits))
        };
        let mut objects = Vec::new();
        if let Some(at) = self.data(memory, &function, FUNCDATA_STACK_OBJECTS) {
            let count = self.abi.read_pointer(memory, at).ok()?;
            if count > STACK_OBJECTS_MAX {
                return None;
            }
            // stackObjectRecord: off, size, ptrBytes int32, gcdataoff uint32.
            let mut bytes = vec![0; count as usize * 16];
            if !bytes.is_empty() {
                let start = at.checked_add(u64::from(self.abi.pointer_size))?;
                memory.read(start, &mut bytes).ok()?;
            }
            for record in bytes.chunks_exact(16) {
                let half = |offset| Some(self.abi.uint_at(record, offset, 4)? as u32 as i32);
                objects.push((half(0)?, half(4)?));
            }
        }
        Some(LiveSlots {
            locals: bitmap(FUNCDATA_LOCALS)?,
            arguments: bitmap(FUNCDATA_ARGS)?,
            objects,
        })
    }
}

/// Where a traceback reads an argument (runtime/traceback.go, printArgs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Bytes from the first argument on.
    pub offset: u64,
    /// Its value is there. `None`: the compiler does not say, and it is as soon as the
    /// function has begun.
    pub live: Option<bool>,
}

impl FunctionTable {
    /// The arguments of the function at `pc`, the receiver first, each field of a struct and
    /// each word of a string on its own, as far as a traceback shows them: those of which only
    /// a part is shown end the list. `pc` is the last byte of a
    /// call, or where the function was interrupted.
    #[must_use]
    pub fn arguments(&self, memory: &dyn Memory, pc: u64) -> Option<Vec<Argument>> {
        let tables = self.tables(memory)?;
        let index = self.index_at(tables, pc)?;
        let function = self.details(memory, tables, index)?;
        let at = self.data(memory, &function, FUNCDATA_ARGUMENTS)?;
        let mut code = [0; ARGUMENTS_LEN];
        // What follows the tables may be missing.
        read_available(memory, at, &mut code).ok()?;
        let live = self.data(memory, &function, FUNCDATA_ARGUMENTS_LIVE);
        // The lowest offset that is not always in memory.
        let first = match live {
            Some(live) => self.abi.read_uint(memory, live, 1).ok()?,
            None => u64::MAX,
        };
        let noted = self.noted_and_place(memory, tables, &function, PCDATA_ARGUMENTS_LIVE, pc);
        let (set, initial) = noted.unwrap_or((-1, true));
        // Not above 0: all are in memory (cmd/compile/internal/liveness/arg.go, allLiveIdx);
        // before the function's own first instruction, too, where they are not yet.
        let set = u64::try_from(set).unwrap_or(0);
        if set >= ARGUMENTS_LIVE_LEN {
            return None;
        }
        let mut found = Vec::new();
        let mut slot = 0_u64;
        let mut depth = 0_u32;
        let mut rest = code.iter().copied();
        while let Some(operator) = rest.next() {
            let offset = match operator {
                // internal/abi/type.go: TraceArgsStartAgg, TraceArgsEndAgg, and what ends it.
                0xfe => {
                    depth += 1;
                    continue;
                }
                0xfd => {
                    depth = depth.checked_sub(1)?;
                    continue;
                }
                0xf0.. => break,
                offset => u64::from(offset),
            };
            let _size = rest.next()?;
            let mut known = match (live, set) {
                (Some(_), 0) if !initial => Some(true),
                _ => None,
            };
            if let Some(live) = live {
                if offset < first {
                    known = Some(true);
                } else {
                    if set > 0 {
                        let at = live.checked_add(set)?.checked_add(slot / 8)?;
                        let byte = self.abi.read_uint(memory, at, 1).ok()?;
                        known = Some(byte >> (slot % 8) & 1 != 0);
                    }
                    slot += 1;
                }
            }
            found.push(Argument {
                offset,
                live: known,
            });
        }
        Some(found)
    }
}

/// The functions of all modules of a process: of the executable and its plugins.
#[derive(Debug)]
pub struct Functions {
    tables: Vec<FunctionTable>,
    abi: Abi,
    link_register: bool,
    frame_pointers: bool,
}

impl Functions {
    /// The functions of `modules` ([`super::modules`]), for Go's architecture `arch`;
    /// nothing is read yet.
    #[must_use]
    pub fn new(abi: Abi, arch: Option<&str>, modules: &[Module]) -> Self {
        Self {
            tables: modules
                .iter()
                .map(|module| FunctionTable::new(abi, *module))
                .collect(),
            abi,
            // runtime/stubs.go, usesLR: where a call leaves the return address in a
            // register.
            link_register: !matches!(arch, Some("amd64" | "386")),
            // runtime/runtime2.go, framepointer_enabled.
            frame_pointers: matches!(arch, Some("amd64" | "arm64")),
        }
    }

    /// Whether a call leaves the return address in a register, not on the stack.
    #[must_use]
    pub fn link_register(&self) -> bool {
        self.link_register
    }

    /// Whether a function saves its caller's frame pointer.
    #[must_use]
    pub fn frame_pointers(&self) -> bool {
        self.frame_pointers
    }

    /// Pointer width and byte order.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The table of the module whose code holds `pc`.
    #[must_use]
    pub fn table_of(&self, pc: u64) -> Option<&FunctionTable> {
        self.tables
            .iter()
            .find(|table| table.module.text.contains(pc))
    }

    /// The function whose code holds `pc`.
    #[must_use]
    pub fn function_at(&self, memory: &dyn Memory, pc: u64) -> Option<Function> {
        self.table_of(pc)?.function_at(memory, pc)
    }

    /// The function named `name`, in the first module that has it.
    #[must_use]
    pub fn function_named(&self, memory: &dyn Memory, name: &str) -> Option<Function> {
        self.tables
            .iter()
            .find_map(|table| table.function_named(memory, name))
    }

    /// [`FunctionTable::frame_size`].
    #[must_use]
    pub fn frame_size(&self, memory: &dyn Memory, pc: u64) -> Option<u64> {
        self.table_of(pc)?.frame_size(memory, pc)
    }

    pub(crate) fn frame_info(&self, memory: &dyn Memory, pc: u64) -> Option<FrameInfo> {
        self.table_of(pc)?.frame_info(memory, pc)
    }

    /// [`FunctionTable::live_slots`].
    #[must_use]
    pub fn live_slots(&self, memory: &dyn Memory, pc: u64) -> Option<LiveSlots> {
        self.table_of(pc)?.live_slots(memory, pc)
    }

    /// [`FunctionTable::arguments`].
    #[must_use]
    pub fn arguments(&self, memory: &dyn Memory, pc: u64) -> Option<Vec<Argument>> {
        self.table_of(pc)?.arguments(memory, pc)
    }

    /// [`FunctionTable::frames_of_pc`].
    #[must_use]
    pub fn frames_of_pc(&self, memory: &dyn Memory, pc: u64) -> Vec<SourceFrame> {
        self.table_of(pc)
            .map(|table| table.frames_of_pc(memory, pc))
            .unwrap_or_default()
    }

    /// [`FunctionTable::places_of_pc`].
    #[must_use]
    pub fn places_of_pc(&self, memory: &dyn Memory, pc: u64) -> Vec<PlacedFrame> {
        self.table_of(pc)
            .map(|table| table.places_of_pc(memory, pc))
            .unwrap_or_default()
    }

    /// The call of the source that returns to `pc`, as lists of return addresses have one
    /// for each call, inlined or not (runtime.Callers, the stacks of profiles).
    #[must_use]
    pub fn frame_of_return(&self, memory: &dyn Memory, pc: u64) -> Option<SourceFrame> {
        self.frames_of_pc(memory, pc.checked_sub(1)?)
            .into_iter()
            .next()
    }
}

/// Bytes of a table, read as far as they are needed.
struct Cursor<'a> {
    memory: &'a dyn Memory,
    /// What follows the buffer.
    next: u64,
    left: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(memory: &'a dyn Memory, start: u64, len: u64) -> Self {
        Self {
            memory,
            next: start,
            left: len,
            buffer: Vec::new(),
            at: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        if self.at == self.buffer.len() {
            // Most tables are short.
            let want = if self.buffer.is_empty() { 128 } else { 4096 };
            let take = self.left.min(want) as usize;
            self.buffer.resize(take, 0);
            self.at = 0;
            self.memory.read(self.next, &mut self.buffer).ok()?;
            self.left -= take as u64;
            self.next = self.next.wrapping_add(take as u64);
        }
        let byte = *self.buffer.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// `readvarint`: 7 bits a byte, the lowest first.
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The next value of a table of values by pc (runtime/symtab.go, step): the difference to
    /// the one before. Only the first may be 0; later that is the end.
    fn value(&mut self, before: i32, first: bool) -> Option<i32> {
        let delta = self.varint()?;
        if delta == 0 && !first {
            return None;
        }
        let signed = if delta & 1 != 0 {
            !(delta >> 1)
        } else {
            delta >> 1
        };
        Some(before.wrapping_add(signed as i32))
    }
}

impl Tables {
    /// The end of the function with this index, from the start of the text.
    fn end_of(&self, index: usize) -> u32 {
        self.functions
            .get(index + 1)
            .map_or(self.end, |next| next.entry)
    }

    fn text(&self, at: u32) -> Option<String> {
        Some(String::from_utf8_lossy(self.name(at)?).into_owned())
    }

    /// No function of Go's has an empty name: there the table is damaged.
    fn name(&self, at: u32) -> Option<&[u8]> {
        let rest = self.names.get(at as usize..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        (!name.is_empty()).then_some(name)
    }

    fn name_is(&self, at: u32, name: &str) -> bool {
        let found = self
            .names
            .get(at as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()));
        matches!(found, Some([0, ..]))
    }
}

/// Reads a range in parts; refuses more than `max` bytes.
fn read_all(memory: &dyn Memory, address: u64, len: u64, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    if len > max {
        return Err(ReadError::fault(address, 0));
    }
    while (bytes.len() as u64) < len {
        let held = bytes.len();
        let take = (len - held as u64).min(READ_MAX as u64) as usize;
        bytes.resize(held + take, 0);
        let part = bytes.get_mut(held..).unwrap_or_default();
        memory.read(address.wrapping_add(held as u64), part)?;
    }
    Ok(bytes)
}
