//! At which instructions of the runtime to look.

use std::collections::BTreeSet;

use super::TraceError;
use crate::binary::Record;
use crate::binary::prologue::{self, Arch, Places};
use crate::events::Op;
use crate::layout::Header;
use crate::map::Family;
use crate::target::Target;

/// Code of one function that is read.
const CODE_MAX: u64 = 64 << 10;

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(BTreeSet<Op>);

impl Default for Wanted {
    /// What changes a map's storage, as `-on growth` means it.
    fn default() -> Self {
        Self::growth()
    }
}

impl Wanted {
    /// Growths of all kinds, and what empties a map.
    #[must_use]
    pub fn growth() -> Self {
        Self([Op::Grow, Op::GrowSameSize, Op::Split, Op::Clear].into())
    }

    /// The words of `-on`, separated by commas.
    ///
    /// # Errors
    /// The word that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut wanted = BTreeSet::new();
        for word in text.split(',') {
            match word.trim() {
                "growth" => wanted.extend(Self::growth().0),
                "assign" => wanted.extend([Op::Assign]),
                "delete" => wanted.extend([Op::Delete, Op::Clear]),
                "create" => wanted.extend([Op::Create]),
                "overflow" => wanted.extend([Op::Overflow]),
                "all" => {
                    wanted.extend(Self::growth().0);
                    wanted.extend([Op::Assign, Op::Delete, Op::Create, Op::Overflow]);
                }
                other => return Err(other.to_owned()),
            }
        }
        Ok(Self(wanted))
    }

    /// Whether `op` is recorded.
    #[must_use]
    pub fn has(&self, op: Op) -> bool {
        self.0.contains(&op)
    }

    /// The kinds of events, in the order of [`Op`].
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        self.0.iter().copied()
    }

    /// Whether growths are recorded.
    #[must_use]
    pub fn grows(&self) -> bool {
        [Op::Grow, Op::GrowSameSize, Op::Split]
            .iter()
            .any(|op| self.has(*op))
    }

    /// Whether every write is recorded: many events, each of them dear.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.has(Op::Assign) || self.has(Op::Delete)
    }
}

/// What a stop at an instruction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `mapassign*`: a write is about to happen.
    Assign,
    /// `mapdelete*`.
    Delete,
    /// `mapclear` of a classic map.
    ClassicClear,
    /// `(*Map).Clear`.
    SwissClear,
    /// A function that makes a map begins: it has the type.
    Make,
    /// It returns the map.
    Made,
    /// `hashGrow` begins.
    ClassicGrow,
    /// It returns: the new array is in its place.
    ClassicGrown,
    /// `(*hmap).newoverflow` begins.
    Overflow,
    /// It returns the overflow bucket.
    Overflowed,
    /// `(*Map).growToSmall` begins.
    First,
    /// The first group is there.
    FirstDone,
    /// `(*Map).growToTable` begins.
    Table,
    /// The first table is there.
    TableDone,
    /// `(*table).grow` begins.
    SwissGrow,
    /// The larger table is in its place.
    SwissGrown,
    /// `(*Map).installTableSplit` begins: both new tables are filled.
    Split,
}

impl Role {
    /// The site is a return of its function; what it began with is needed to tell more.
    #[must_use]
    pub fn returns(self) -> bool {
        matches!(
            self,
            Self::Made
                | Self::ClassicGrown
                | Self::Overflowed
                | Self::FirstDone
                | Self::TableDone
                | Self::SwissGrown
        )
    }

    /// The role of the same function's returns.
    fn end(self) -> Option<Self> {
        match self {
            Self::Make => Some(Self::Made),
            Self::ClassicGrow => Some(Self::ClassicGrown),
            Self::Overflow => Some(Self::Overflowed),
            Self::First => Some(Self::FirstDone),
            Self::Table => Some(Self::TableDone),
            Self::SwissGrow => Some(Self::SwissGrown),
            _ => None,
        }
    }

    /// Who is first served where few stops can be made cheap; `None` for what is rare, or so
    /// frequent that nothing helps.
    #[must_use]
    pub fn rank(self) -> Option<u8> {
        match self {
            Self::Split | Self::ClassicGrow | Self::ClassicGrown => Some(0),
            Self::SwissGrow | Self::SwissGrown => Some(1),
            Self::ClassicClear | Self::SwissClear => Some(2),
            _ => None,
        }
    }

    /// In which argument, from 0, the function takes the map's header.
    pub(super) fn map(self) -> Option<Argument> {
        Some(Argument(match self {
            Self::Assign | Self::Delete | Self::ClassicClear | Self::ClassicGrow => 1,
            Self::SwissClear | Self::Overflow | Self::First | Self::Table | Self::Split => 0,
            Self::SwissGrow => 2,
            _ => return None,
        }))
    }

    /// In which argument the function takes the map's type.
    pub(super) fn descriptor(self) -> Option<Argument> {
        Some(Argument(match self {
            Self::Assign | Self::Delete | Self::ClassicClear | Self::ClassicGrow | Self::Make => 0,
            Self::SwissClear | Self::Overflow | Self::First | Self::Table | Self::SwissGrow => 1,
            _ => return None,
        }))
    }
}

/// A word passed in a register, by its place in the list of arguments or results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument(pub usize);

impl Argument {
    /// gdb's name of the register that holds it (cmd/compile/abi-internal.md).
    #[must_use]
    pub fn register(self, arch: Arch) -> &'static str {
        const AMD64: [&str; 4] = ["rax", "rbx", "rcx", "rdi"];
        const ARM64: [&str; 4] = ["x0", "x1", "x2", "x3"];
        let names = match arch {
            Arch::Amd64 => AMD64,
            Arch::Arm64 => ARM64,
        };
        names.get(self.0).copied().unwrap_or("")
    }
}

/// One instruction at which to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What a stop there means.
    pub role: Role,
    /// The function whose code it is in.
    pub function: String,
    /// Where it stands in the process.
    pub address: u64,
    /// The byte or bytes that a breakpoint replaces, as the executable has them.
    pub code: Vec<u8>,
}

/// All places at which to look.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The architecture.
    pub arch: Arch,
    /// The family of the program's maps.
    pub family: Family,
    /// Where the fields of headers and tables lie.
    pub header: Header,
    /// The instructions.
    pub sites: Vec<Site>,
    /// Where `preemptGen` lies in an `m`, which counts the signals that asked its thread to
    /// let go of a goroutine (runtime/signal_unix.go, doSigPreempt).
    pub(super) preempt_gen: Option<u64>,
    functions: Vec<String>,
    /// Sentences on what cannot be seen.
    pub notes: Vec<String>,
}

/// One function and what its beginning means.
struct Spot {
    function: &'static str,
    role: Role,
    /// Every program with maps has it.
    needed: bool,
}

const fn spot(function: &'static str, role: Role) -> Spot {
    Spot {
        function,
        role,
        needed: true,
    }
}

/// The variants of writing; a program has those that it uses.
pub(super) const ASSIGNS: [&str; 6] = [
    "runtime.mapassign",
    "runtime.mapassign_fast32",
    "runtime.mapassign_fast32ptr",
    "runtime.mapassign_fast64",
    "runtime.mapassign_fast64ptr",
    "runtime.mapassign_faststr",
];

/// The variants of deleting.
pub(super) const DELETES: [&str; 4] = [
    "runtime.mapdelete",
    "runtime.mapdelete_fast32",
    "runtime.mapdelete_fast64",
    "runtime.mapdelete_faststr",
];

const SWISS: &str = "internal/runtime/maps.";

/// What to stop at in a family. A name is of Go's own sources: runtime/map.go up to
/// go1.23 (map_noswiss.go in 1.24 and 1.25), internal/runtime/maps/{map,table}.go since
/// go1.24.
fn spots(family: Family, wanted: &Wanted) -> Vec<Spot> {
    let mut spots = Vec::new();
    let optional = |function, role| Spot {
        needed: false,
        ..spot(function, role)
    };
    if wanted.has(Op::Assign) {
        spots.extend(ASSIGNS.map(|function| optional(function, Role::Assign)));
    }
    if wanted.has(Op::Delete) {
        spots.extend(DELETES.map(|function| optional(function, Role::Delete)));
    }
    match family {
        Family::Classic => {
            if wanted.grows() {
                spots.push(spot("runtime.hashGrow", Role::ClassicGrow));
            }
            if wanted.has(Op::Overflow) {
                spots.push(spot("runtime.(*hmap).newoverflow", Role::Overflow));
            }
            if wanted.has(Op::Create) {
                spots.push(optional("runtime.makemap", Role::Make));
                spots.push(optional("runtime.makemap_small", Role::Made));
            }
            if wanted.has(Op::Clear) {
                spots.push(optional("runtime.mapclear", Role::ClassicClear));
            }
        }
        Family::Swiss => {
            if wanted.grows() {
                spots.push(spot(
                    "internal/runtime/maps.(*Map).growToTable",
                    Role::Table,
                ));
                spots.push(spot("internal/runtime/maps.(*table).grow", Role::SwissGrow));
                spots.push(spot(
                    "internal/runtime/maps.(*Map).installTableSplit",
                    Role::Split,
                ));
            }
            if wanted.has(Op::Create) {
                spots.push(spot(
                    "internal/runtime/maps.(*Map).growToSmall",
                    Role::First,
                ));
                spots.push(optional("internal/runtime/maps.NewMap", Role::Make));
                spots.push(optional("internal/runtime/maps.NewEmptyMap", Role::Made));
                spots.push(optional("runtime.makemap_small", Role::Made));
            }
            if wanted.has(Op::Clear) {
                spots.push(optional(
                    "internal/runtime/maps.(*Map).Clear",
                    Role::SwissClear,
                ));
            }
        }
    }
    spots
}

impl Plan {
    /// A plan for `target` without any place.
    ///
    /// # Errors
    /// When the program's architecture or the layout of its maps is not known.
    pub(super) fn empty(target: &Target) -> Result<Self, TraceError> {
        let binary = target.binary();
        let name = binary.arch().unwrap_or("another architecture");
        let arch = Arch::of_go(name).ok_or_else(|| TraceError::Architecture(name.to_owned()))?;
        let header = target
            .any_header()
            .map_err(|reason| TraceError::Layout(binary.path().display().to_string(), reason))?;
        Ok(Self {
            arch,
            family: match header {
                Header::Classic(_) => Family::Classic,
                Header::Swiss(_) => Family::Swiss,
            },
            header,
            sites: Vec::new(),
            preempt_gen: None,
            functions: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The places at which `target`'s runtime does what is wanted. Nothing is stopped yet.
    ///
    /// # Errors
    /// When the program's architecture or layout is not known, when a function that
    /// growths go through is missing, or its code is not understood.
    pub fn new(target: &Target, wanted: &Wanted) -> Result<Self, TraceError> {
        let mut plan = Self::empty(target)?;
        let program = target.binary().path().display().to_string();
        let spots = spots(plan.family, wanted);
        for spot in &spots {
            let Some((function, code, places)) = plan.places(target, spot.function)? else {
                if spot.needed {
                    plan.notes.push(format!(
                        "{program} has no {}: what it does is not seen",
                        spot.function
                    ));
                }
                continue;
            };
            plan.add(spot.role, spot.function, &code, function, &places)
                .map_err(|reason| TraceError::Code {
                    function: spot.function.to_owned(),
                    address: function,
                    reason,
                })?;
            plan.note_function(spot.function);
        }
        plan.check_code(target)?;
        if plan.sites.is_empty() {
            let mut functions: Vec<&str> = spots.iter().map(|spot| spot.function).collect();
            functions.dedup();
            return Err(TraceError::NoFunctions {
                program,
                functions: functions.join(", "),
            });
        }
        plan.preempt_gen = plan.preempt_gen(target);
        if plan.preempt_gen.is_none() {
            plan.notes.push(
                "how often threads were signalled is not known: an event may be recorded twice"
                    .to_owned(),
            );
        }
        if plan.family == Family::Classic && wanted.has(Op::Create) {
            plan.notes.push(
                "the first bucket of a map, and maps on the stack, are made without a call: \
                 they are not seen"
                    .to_owned(),
            );
        }
        Ok(plan)
    }

    /// Nobody else's trap may stand where one is to be placed: a kernel probe is in every
    /// process of a program, and is hit instead of an instruction that gdb puts back. gdb itself
    /// hides its own.
    fn check_code(&self, target: &Target) -> Result<(), TraceError> {
        for site in &self.sites {
            let mut found = vec![0; site.code.len()];
            if target.uncached().read(site.address, &mut found).is_ok() && found != site.code {
                return Err(TraceError::Trapped {
                    function: site.function.clone(),
                    address: site.address,
                });
            }
        }
        Ok(())
    }

    /// By the debug information and by the code; what both tell must agree.
    fn preempt_gen(&self, target: &Target) -> Option<u64> {
        let binary = target.binary();
        let of_types = Record::find("m", binary.dwarf(), (binary.abi(), binary.arch()), None)
            .and_then(|m| Some(m.field("preemptGen")?.offset));
        let function = target.function_named("runtime.doSigPreempt").ok()??;
        let len = function.end.saturating_sub(function.entry).min(CODE_MAX) as usize;
        let mut code = vec![0; len];
        let of_code = target
            .code(function.entry, &mut code)
            .ok()
            .and_then(|()| prologue::locked_add(self.arch, function.entry, &code));
        match (of_types, of_code) {
            (Some(of_types), Some(of_code)) if of_types != of_code => None,
            (of_types, of_code) => of_types.or(of_code),
        }
    }

    /// Entry, code and places of a function, if the program has it.
    ///
    /// # Errors
    /// When the tables of functions or the code cannot be read or understood.
    pub(super) fn places(
        &self,
        target: &Target,
        function: &str,
    ) -> Result<Option<(u64, Vec<u8>, Places)>, TraceError> {
        let found = target
            .function_named(function)
            .map_err(|error| TraceError::Target(error.to_string()))?;
        let Some(found) = found else { return Ok(None) };
        let len = found.end.saturating_sub(found.entry).min(CODE_MAX) as usize;
        let mut code = vec![0; len];
        let unclear = |reason: String| TraceError::Code {
            function: found.name.clone(),
            address: found.entry,
            reason,
        };
        target
            .code(found.entry, &mut code)
            .map_err(|error| unclear(error.to_string()))?;
        let places = prologue::places(self.arch, found.entry, &code)
            .ok_or_else(|| unclear("its first instruction cannot be decoded".to_owned()))?;
        Ok(Some((found.entry, code, places)))
    }

    /// Keeps the name of a function that is looked at.
    pub(super) fn note_function(&mut self, function: &str) {
        if !self.functions.iter().any(|known| known == function) {
            self.functions.push(function.to_owned());
        }
    }

    fn add(
        &mut self,
        role: Role,
        function: &str,
        code: &[u8],
        entry: u64,
        places: &Places,
    ) -> Result<(), String> {
        let bytes = |address: u64, len: u8| {
            let from = usize::try_from(address - entry).unwrap_or(usize::MAX);
            code.get(from..from.saturating_add(usize::from(len)))
                .map(<[u8]>::to_vec)
                .unwrap_or_default()
        };
        let mut push = |role: Role, place: &prologue::Place| {
            self.sites.push(Site {
                role,
                function: function.to_owned(),
                address: place.address,
                code: bytes(place.address, place.len),
            });
        };
        if !role.returns() {
            if places.repeats {
                return Err("one call may pass its first instruction twice".to_owned());
            }
            if !places.first.displaceable {
                return Err(format!(
                    "its first instruction ({}) cannot be stepped safely",
                    places.first.mnemonic
                ));
            }
            push(role, &places.first);
        }
        let end = if role.returns() {
            Some(role)
        } else {
            role.end()
        };
        if let Some(end) = end {
            if places.returns.is_empty() || !places.complete || !places.tail_jumps.is_empty() {
                return Err("not all of its returns are known".to_owned());
            }
            for place in &places.returns {
                push(end, place);
            }
        }
        Ok(())
    }

    /// The functions, each once, in the order of the plan.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        self.functions.clone()
    }

    /// The name of a function without its package path, as status lines show it.
    #[must_use]
    pub fn short(function: &str) -> &str {
        function
            .strip_prefix(SWISS)
            .or_else(|| function.strip_prefix("runtime."))
            .unwrap_or(function)
    }
}
