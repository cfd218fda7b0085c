//! The executable of a profile: names for its addresses, and what its calls call.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use super::model::{Line, Location, Origin, Profile};
use crate::binary::{Binary, Function, FunctionTable, modules};
use crate::gotype::Types;
use crate::memory::{AddressHash, Memory};

/// Code of one function that is decoded.
const FUNCTION_MAX: u64 = 4 << 20;
/// Places of a profile that are held against the executable.
const CHECKED: usize = 512;
/// What a load address is a multiple of.
const PAGE: u64 = 4096;

/// A call, as the code says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The function it calls by its address.
    Direct {
        /// Which.
        function: Rc<str>,
        /// The file it is written in.
        file: Rc<str>,
        /// The map type whose descriptor it is given first, as Go prints it.
        map_type: Option<Rc<str>>,
    },
    /// What was called there was inlined.
    Inlined {
        /// The function.
        function: Rc<str>,
    },
    /// It goes through a register or memory.
    Indirect,
    /// There is no call at that address, or nothing can be said for this architecture.
    Unknown,
}

/// A call in a function's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCall {
    /// Its instruction.
    pub address: u64,
    /// What it calls; 0 if it goes through a register.
    pub target: u64,
    /// The same by name.
    pub call: Call,
}

/// The executable of a profile.
pub struct Program {
    binary: Rc<Binary>,
    memory: Rc<dyn Memory>,
    types: Types,
    tables: Vec<FunctionTable>,
    /// Addresses of map types' descriptors.
    maps: OnceCell<HashMap<u64, Rc<str>, AddressHash>>,
    calls: RefCell<HashMap<u64, Call, AddressHash>>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("binary", &self.binary.path())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// The program as it is linked, read from its file.
    ///
    /// # Errors
    /// When the file is unreadable or has no function tables of Go's: a sentence.
    pub fn open(binary: Rc<Binary>) -> Result<Self, String> {
        let memory = binary.linked().map_err(|error| error.to_string())?;
        Self::in_memory(binary, Rc::new(memory), 0)
    }

    /// The program as it stands in the memory of a process. Addresses of profiles must be
    /// those of that process.
    ///
    /// # Errors
    /// As [`Program::open`].
    pub fn in_memory(
        binary: Rc<Binary>,
        memory: Rc<dyn Memory>,
        bias: u64,
    ) -> Result<Self, String> {
        let types = Types::of_process(Rc::clone(&binary), Rc::clone(&memory), bias);
        let first = *types.module()?;
        let tables: Vec<FunctionTable> = modules(&binary, &*memory, first)
            .into_iter()
            .map(|module| FunctionTable::new(binary.abi(), module))
            .collect();
        if tables.first().is_none_or(|table| table.len(&*memory) == 0) {
            return Err(format!(
                "the function tables of {} are unreadable",
                binary.path().display()
            ));
        }
        Ok(Self {
            binary,
            memory,
            types,
            tables,
            maps: OnceCell::new(),
            calls: RefCell::default(),
        })
    }

    /// The executable.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// The function that has the code at `address`.
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<Function> {
        self.tables
            .iter()
            .find_map(|table| table.function_at(&*self.memory, address))
    }

    fn function_named(&self, name: &str) -> Option<Function> {
        self.tables
            .iter()
            .find_map(|table| table.function_named(&*self.memory, name))
    }

    /// The functions that the instruction at `address` belongs to, inlined ones first.
    #[must_use]
    pub fn lines(&self, address: u64) -> Vec<Line> {
        let frames = self
            .tables
            .iter()
            .map(|table| table.frames_of_pc(&*self.memory, address))
            .find(|frames| !frames.is_empty());
        frames
            .into_iter()
            .flatten()
            .map(|frame| Line {
                function: frame.function.into(),
                file: frame.file.into(),
                line: i64::from(frame.line),
            })
            .collect()
    }

    fn map_types(&self) -> &HashMap<u64, Rc<str>, AddressHash> {
        self.maps
            .get_or_init(|| self.types.map_descriptors().collect())
    }

    /// The call that the instruction at `address` is, or that begins before it and holds it.
    #[must_use]
    pub fn call_at(&self, address: u64) -> Call {
        if let Some(known) = self.calls.borrow().get(&address) {
            return known.clone();
        }
        let inlined = self
            .tables
            .iter()
            .find_map(|table| table.inlined_at(&*self.memory, address));
        let call = match inlined {
            Some(function) => Call::Inlined {
                function: function.into(),
            },
            None => self.decode(address).unwrap_or(Call::Unknown),
        };
        self.calls.borrow_mut().insert(address, call.clone());
        call
    }

    fn decode(&self, address: u64) -> Option<Call> {
        if self.binary.arch() != Some("amd64") {
            return None;
        }
        let function = self.function_at(address)?;
        let len = function.end.checked_sub(function.entry)?;
        if len > FUNCTION_MAX {
            return None;
        }
        let mut code = vec![0; len as usize];
        self.memory.read(function.entry, &mut code).ok()?;
        let decoder = || Decoder::with_ip(64, &code, function.entry, DecoderOptions::NONE);
        // Where else the code can be reached from, nothing is known of registers.
        let targets = targets(decoder());
        let mut factory = InstructionInfoFactory::new();
        let mut first = None;
        for instruction in decoder() {
            if targets.contains(&instruction.ip()) {
                first = None;
            }
            if instruction.next_ip() > address {
                return (instruction.ip() <= address).then(|| self.call(&instruction, first));
            }
            first = after(&instruction, first, &mut factory);
        }
        None
    }

    /// All calls of the function that has the code at `address`, in the order of its code. Empty
    /// where nothing can be said for this architecture.
    #[must_use]
    pub fn calls_in(&self, address: u64) -> Vec<CodeCall> {
        self.decode_all(address).unwrap_or_default()
    }

    fn decode_all(&self, address: u64) -> Option<Vec<CodeCall>> {
        if self.binary.arch() != Some("amd64") {
            return None;
        }
        let function = self.function_at(address)?;
        let len = function.end.checked_sub(function.entry)?;
        if len > FUNCTION_MAX {
            return None;
        }
        let mut code = vec![0; len as usize];
        self.memory.read(function.entry, &mut code).ok()?;
        let decoder = || Decoder::with_ip(64, &code, function.entry, DecoderOptions::NONE);
        let targets = targets(decoder());
        let mut factory = InstructionInfoFactory::new();
        let mut first = None;
        let mut found = Vec::new();
        for instruction in decoder() {
            if targets.contains(&instruction.ip()) {
                first = None;
            }
            let flow = instruction.flow_control();
            if matches!(flow, FlowControl::Call | FlowControl::IndirectCall) {
                found.push(CodeCall {
                    address: instruction.ip(),
                    target: match flow {
                        FlowControl::Call => instruction.near_branch_target(),
                        _ => 0,
                    },
                    call: self.call(&instruction, first),
                });
            }
            first = after(&instruction, first, &mut factory);
        }
        Some(found)
    }

    /// `first` is the address in the register of the first argument.
    fn call(&self, instruction: &Instruction, first: Option<u64>) -> Call {
        match instruction.flow_control() {
            FlowControl::Call => {
                let target = instruction.near_branch_target();
                let Some(function) = self.function_at(target).filter(|f| f.entry == target) else {
                    return Call::Unknown;
                };
                let known = first.and_then(|first| self.map_types().get(&first));
                let file = self.lines(target).pop().map(|line| line.file);
                Call::Direct {
                    function: function.name.into(),
                    file: file.unwrap_or_else(|| Rc::from("")),
                    map_type: known.cloned(),
                }
            }
            FlowControl::IndirectCall => Call::Indirect,
            _ => Call::Unknown,
        }
    }

    /// What to subtract from addresses of `profile` for those of the executable, or why
    /// nothing can be: a sentence. The profile's names are held against the executable's.
    ///
    /// # Errors
    /// When it is not the program of the profile.
    pub fn bias(&self, profile: &Profile) -> Result<u64, String> {
        let path = self.binary.path().display().to_string();
        let bias = match profile.origin {
            Origin::Memory => 0,
            Origin::Proto => self.bias_by_mapping(profile),
            Origin::Text => self.bias_by_anchors(profile).ok_or_else(|| {
                format!(
                    "{path} is position-independent and the text does not tell where it was \
                     loaded; use the protobuf profile (without debug=1)"
                )
            })?,
        };
        self.check(profile, bias)?;
        Ok(bias)
    }

    /// A mapping tells the file's place in memory.
    fn bias_by_mapping(&self, profile: &Profile) -> u64 {
        if !self.binary.position_independent() {
            return 0;
        }
        // Any of them will do; they were mapped together.
        let program = profile.program.as_deref();
        profile
            .placement
            .mappings
            .iter()
            .filter(|mapping| program == Some(&*mapping.file))
            .find_map(|mapping| {
                let linked = self.binary.address_of_offset(mapping.offset)?;
                mapping.start.checked_sub(linked)
            })
            .unwrap_or(0)
    }

    /// A text has no mapping; but where it names functions, it tells how far behind their
    /// first instruction they were.
    fn bias_by_anchors(&self, profile: &Profile) -> Option<u64> {
        if !self.binary.position_independent() {
            return Some(0);
        }
        let mut found: HashMap<u64, u32> = HashMap::new();
        let mut entries: HashMap<&str, Option<u64>> = HashMap::new();
        for anchor in profile.placement.anchors.iter().take(CHECKED) {
            let entry = *entries
                .entry(&anchor.function)
                .or_insert_with(|| self.function_named(&anchor.function).map(|f| f.entry));
            let bias = entry.and_then(|entry| {
                anchor
                    .address
                    .checked_sub(entry.checked_add(anchor.inside)?)
            });
            if let Some(bias) = bias.filter(|bias| bias % PAGE == 0) {
                *found.entry(bias).or_default() += 1;
            }
        }
        // Inlined functions have code of their own, too, elsewhere; they are few and do not
        // agree.
        let all: u32 = found.values().sum();
        let (bias, count) = found.into_iter().max_by_key(|(_, count)| *count)?;
        (count > all / 2).then_some(bias)
    }

    fn check(&self, profile: &Profile, bias: u64) -> Result<(), String> {
        let path = self.binary.path().display();
        let ids = (profile.build_id.as_deref(), self.binary.gnu_build_id());
        if let (Some(wanted), Some(has)) = &ids
            && *wanted != has.as_str()
        {
            return Err(format!(
                "{path} is not the program of the profile: its build ID is {has}, the profile's \
                 {wanted}"
            ));
        }
        let named = profile
            .locations
            .iter()
            .filter(|location| !location.lines.is_empty() && location.address > bias);
        for location in named.take(CHECKED) {
            let Some(wrong) = self.contradicts(location, bias) else {
                continue;
            };
            let first = location.lines.first();
            return Err(format!(
                "{path} is not the program of the profile: at {:#x} it has {wrong}, the profile {}",
                location.address - bias,
                first.map_or("nothing", |line| &line.function),
            ));
        }
        Ok(())
    }

    /// What the executable has instead of a named place.
    fn contradicts(&self, location: &Location, bias: u64) -> Option<String> {
        let lines = self.lines(location.address - bias);
        let outside = location.lines.last()?;
        let Some(own) = lines.last() else {
            // The kernel's, or C's; what Go names must be there.
            let go = outside.file.ends_with(".go") && outside.line > 0;
            return go.then(|| "no function of Go's".to_owned());
        };
        // A text names the innermost one alone.
        let same = lines.iter().any(|line| {
            line.function == outside.function
                || generic(&line.function) == generic(&outside.function)
        });
        (!same).then(|| own.function.to_string())
    }
}

/// A function's name without the types it was instantiated for: runtime/pprof writes `F[...]`
/// (runtime/symtab.go, funcNameForPrint), the tables have them all.
fn generic(name: &str) -> (&str, &str) {
    match (name.find('['), name.rfind(']')) {
        (Some(begin), Some(end)) if begin < end => (
            name.get(..begin).unwrap_or_default(),
            name.get(end + 1..).unwrap_or_default(),
        ),
        _ => (name, ""),
    }
}

/// Where code jumps to.
fn targets(code: Decoder<'_>) -> HashSet<u64, AddressHash> {
    code.into_iter()
        .filter(|instruction| {
            matches!(
                instruction.flow_control(),
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            )
        })
        .map(|instruction| instruction.near_branch_target())
        .collect()
}

/// The address in RAX after `instruction`, if it is one that the code itself names.
fn after(
    instruction: &Instruction,
    before: Option<u64>,
    factory: &mut InstructionInfoFactory,
) -> Option<u64> {
    let into = |register: Register| {
        instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().full_register() == register
    };
    match instruction.mnemonic() {
        Mnemonic::Lea if into(Register::RAX) => {
            let named =
                instruction.is_ip_rel_memory_operand() && instruction.code() == Code::Lea_r64_m;
            return named.then(|| instruction.ip_rel_memory_address());
        }
        _ => {}
    }
    match instruction.flow_control() {
        FlowControl::Next => {}
        FlowControl::ConditionalBranch => return before,
        _ => return None,
    }
    let info = factory.info(instruction);
    let written = info.used_registers().iter().any(|used| {
        let writes = matches!(
            used.access(),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        );
        writes && used.register().full_register() == Register::RAX
    });
    before.filter(|_| !written)
}

/// Names the places of `profile` that have none and lie in `program`. Of text and memory, each
/// inlined call has a place of its own, of which only the innermost function is meant.
pub fn symbolize(profile: &mut Profile, program: &Program, bias: u64) {
    let whole = profile.origin == Origin::Proto;
    for location in &mut profile.locations {
        if !location.lines.is_empty() || location.address <= bias {
            continue;
        }
        location.lines = program.lines(location.address - bias);
        if !whole {
            location.lines.truncate(1);
        }
    }
}
