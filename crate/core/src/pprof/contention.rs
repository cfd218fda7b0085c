//! Locks around maps: which functions wait for a lock, or hold one that others wait for, and
//! also work on a map.
//!
//! Maps have no lock of their own, and nothing in a profile says which map a lock guards. What
//! is told here as measured is what the profiles say; that both are of one function, and that
//! its code has the map's call between Lock and Unlock, is told as what it is: they go
//! together.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;

use super::explain::{Explained, Programs, explain, with_executables};
use super::frames::{Operation, is_runtime, operation, serves_runtime};
use super::maps::Site;
use super::model::{Kind, Origin, Profile, Sample, different};
use super::program::{Call, CodeCall, Program};

/// Functions of lock helpers that are looked through: `c.lock()` for `c.mu.Lock()`.
const HELPERS_MAX: usize = 3;

/// Functions called under a lock whose code is looked at.
const CALLEES_MAX: usize = 64;

/// Functions whose code is looked at in all.
const FUNCTIONS_MAX: u32 = 10_000;

/// Calls of one function.
const CALLS_MAX: usize = 4096;

/// A profile with what is known besides.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file as typed, or what the profile was read from.
    pub name: String,
    /// The profile, with names.
    pub profile: Profile,
    /// The executable, and what to subtract from the profile's addresses for its own.
    pub program: Option<(Rc<Program>, u64)>,
    /// Allocations of maps, of a heap profile.
    pub sites: Vec<Site>,
}

impl Input {
    /// A profile that was explained. `exe` is the executable; without it, the one that the
    /// profile names is used if it fits.
    ///
    /// # Errors
    /// When `exe` is not the program of the profile: a sentence.
    pub fn of(
        explained: Explained,
        exe: Option<&Path>,
        programs: &mut Programs,
    ) -> Result<Self, String> {
        let Explained {
            name,
            profile,
            attribution,
            ..
        } = explained;
        let named = profile.program.as_deref().map(PathBuf::from);
        let program = match exe.map(Path::to_owned).or(named) {
            Some(path) => programs.of_profile(&path, &profile),
            None => Err(String::new()),
        };
        let program = match program {
            Ok(program) => Some(program),
            Err(reason) if exe.is_some() => return Err(format!("{name}: {reason}")),
            Err(_) => None,
        };
        Ok(Self {
            name,
            profile,
            program,
            sites: attribution.sites,
        })
    }
}

/// Profiles of one program, with their names. Those that do not name an executable, as texts,
/// get that which another one names, if it fits.
///
/// # Errors
/// When `exe` is not the program of one of them, or they are of different programs: a sentence.
pub fn inputs(profiles: Vec<(String, Profile)>, exe: Option<&Path>) -> Result<Vec<Input>, String> {
    let mut programs = Programs::default();
    if let Some(reason) = different(profiles.iter().map(|(name, profile)| (&**name, profile))) {
        return Err(format!(
            "{reason}: contention is told of one program at a time"
        ));
    }
    with_executables(
        profiles,
        exe,
        &mut programs,
        &mut |name, profile, own, all| Input::of(explain(name, profile, own, all)?, own, all),
    )
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct At {
    /// The file.
    pub file: Rc<str>,
    /// The line.
    pub line: i64,
}

/// How often, and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delay {
    /// Waits.
    pub count: i64,
    /// Their sum, in [`Contention::unit`].
    pub delay: i64,
}

impl Delay {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.delay = self.delay.saturating_add(other.delay);
    }
}

/// Waits at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceDelay {
    /// Where.
    #[serde(flatten)]
    pub at: At,
    /// How often, and how long.
    #[serde(flatten)]
    pub delay: Delay,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Time {
    /// With the function on the stack.
    pub all_ns: i64,
    /// In functions of maps that it led to.
    pub maps_ns: i64,
    /// In those that grow maps.
    pub growth_ns: i64,
    /// Of that, under calls that stand between Lock and Unlock by their lines: an inference.
    /// Absent if the code does not tell of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_between_ns: Option<i64>,
    /// Samples that all of this rests on.
    pub samples: i64,
}

/// What tells that a function works on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Its machine code.
    Code,
    /// A CPU profile.
    Cpu,
    /// A heap profile.
    Heap,
    /// A goroutine that stands there.
    Goroutine,
}

/// Work on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapUse {
    /// What is done.
    pub operation: Operation,
    /// The runtime's function that is called: `runtime.mapassign_faststr`.
    pub call: Rc<str>,
    /// The map's type as Go prints it, where the code names it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub map_type: Option<Rc<str>>,
    /// The line of the function that waits.
    #[serde(flatten)]
    pub at: At,
    /// The function that it calls there, and that works on the map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Rc<str>>,
    /// Whether the line stands between those of Lock and Unlock; absent if the code does not
    /// tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<bool>,
    /// What tells of it.
    pub evidence: BTreeSet<Source>,
    /// CPU time there, of a CPU profile.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_ns: i64,
    /// Bytes of map storage in use that were allocated there, of a heap profile.
    #[serde(skip_serializing_if = "is_zero")]
    pub inuse_bytes: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A function that waits for a lock, or holds one that others wait for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// The function as Go names it.
    pub function: Rc<str>,
    /// Waiting for a lock, of a block profile.
    pub waits: Delay,
    /// Where.
    pub waits_at: Vec<PlaceDelay>,
    /// Others waiting for a lock that it held, of a mutex profile.
    pub holds: Delay,
    /// Where it gave the lock back.
    pub holds_at: Vec<PlaceDelay>,
    /// Goroutines that wait for a lock in it now.
    pub waiting_now: i64,
    /// Goroutines that are in a function of maps in it now.
    pub in_map_now: i64,
    /// Of a CPU profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Time>,
    /// Bytes of map storage in use that it led to, of a heap profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_bytes: Option<i64>,
    /// Work on maps: that between Lock and Unlock first.
    pub maps: Vec<MapUse>,
    /// Lines that take a lock, by the code.
    pub lock_lines: Vec<i64>,
    /// Lines that give it back.
    pub unlock_lines: Vec<i64>,
    /// It gives the lock back when it returns.
    pub deferred: bool,
}

impl Section {
    /// Whether it works on a map while it may hold a lock: no line that does is known to stand
    /// outside.
    #[must_use]
    pub fn works_on_a_map(&self) -> bool {
        self.maps.iter().any(|used| used.between != Some(false))
    }

    fn weight(&self) -> (i64, i64, i64) {
        (
            self.waits.delay.max(self.holds.delay),
            self.waits.delay.saturating_add(self.holds.delay),
            self.waiting_now,
        )
    }
}

/// A profile that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The file, or what it was read from.
    pub name: String,
    /// `block`, `mutex` and so on.
    pub kind: &'static str,
    /// Samples.
    pub samples: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contention {
    /// What delays are in: `nanoseconds`, or `ticks` where the process did not know how many
    /// a second has.
    pub unit: Rc<str>,
    /// The profiles.
    pub profiles: Vec<Used>,
    /// Functions that wait for a lock and work on a map: the longest delay first.
    pub guarded: Vec<Section>,
    /// Functions that wait for a lock without work on a map that is known.
    pub others: Vec<Section>,
    /// All waiting for locks.
    pub waits: Delay,
    /// All waiting for something else: channels, groups.
    pub other_waits: Delay,
    /// All holding of locks.
    pub holds: Delay,
    /// Sentences for the reader.
    pub notes: Vec<String>,
}

/// The word of a kind.
#[must_use]
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Heap => "heap",
        Kind::Goroutine => "goroutine",
        Kind::Block => "block",
        Kind::Mutex => "mutex",
        Kind::Cpu => "cpu",
        Kind::ThreadCreate => "threadcreate",
        Kind::Other => "other",
    }
}

fn is_sync(function: &str) -> bool {
    function.starts_with("sync.") || function.starts_with("internal/sync.")
}

fn method(function: &str) -> Option<&str> {
    let name = function
        .strip_prefix("internal/")
        .unwrap_or(function)
        .strip_prefix("sync.(*")?;
    ["Mutex).", "RWMutex).", "rlocker)."]
        .iter()
        .find_map(|kind| name.strip_prefix(kind))
}

/// `sync.(*Mutex).Lock` and its like.
fn takes(function: &str) -> bool {
    matches!(
        method(function),
        Some("Lock" | "RLock" | "lockSlow" | "TryLock" | "TryRLock")
    ) && !function.contains("Try")
}

/// `sync.(*Mutex).Unlock` and its like.
fn gives_back(function: &str) -> bool {
    matches!(
        method(function),
        Some("Unlock" | "RUnlock" | "unlockSlow" | "rUnlockSlow")
    )
}

/// A call of a stack.
#[derive(Debug, Clone)]
struct Frame {
    function: Rc<str>,
    at: At,
    /// In the executable; 0 if that is not known.
    address: u64,
}

fn frames(input: &Input, sample: &Sample) -> Vec<Frame> {
    let mut found = Vec::new();
    for index in sample.stack.iter() {
        let Some(location) = input.profile.locations.get(*index as usize) else {
            continue;
        };
        let address = input.program.as_ref().and_then(|(_, bias)| {
            let address = location.address.checked_sub(*bias)?;
            (location.address != 0).then_some(address)
        });
        for line in &location.lines {
            found.push(Frame {
                function: Rc::clone(&line.function),
                at: At {
                    file: Rc::clone(&line.file),
                    line: line.line,
                },
                address: address.unwrap_or(0),
            });
        }
    }
    found
}

/// What the code of a function does with locks and maps.
#[derive(Debug, Clone, Default)]
struct Code {
    locks: BTreeSet<i64>,
    unlocks: BTreeSet<i64>,
    deferred: bool,
    maps: Vec<CodeUse>,
}

#[derive(Debug, Clone)]
struct CodeUse {
    call: Rc<str>,
    map_type: Option<Rc<str>>,
    at: At,
    via: Option<Rc<str>>,
}

impl Code {
    /// It takes a lock for who called it, or gives it back, and nothing else.
    fn is_helper(&self) -> bool {
        self.maps.is_empty() && !self.deferred && (self.locks.is_empty() != self.unlocks.is_empty())
    }

    /// Whether the line stands between a Lock and the Unlock that follows it; `None` where the
    /// lines do not tell: no lock is known, the line itself locks or unlocks, or there are
    /// several that it may belong to, as of an early return that unlocks.
    fn between(&self, line: i64) -> Option<bool> {
        if self.locks.is_empty() || self.locks.contains(&line) || self.unlocks.contains(&line) {
            return None;
        }
        let lock = self.locks.range(..line).next_back();
        let unlock = self.unlocks.range(..line).next_back();
        let next_lock = self.locks.range(line..).next();
        let next_unlock = self.unlocks.range(line..).next();
        match (lock, unlock) {
            // Ahead of all: it may be called with the lock held if it unlocks first.
            (None, None) => (next_unlock.is_none() || next_lock < next_unlock).then_some(false),
            (None, Some(_)) => None,
            (Some(lock), unlock) if unlock.is_none_or(|unlock| unlock < lock) => {
                match (next_lock, next_unlock) {
                    (_, None) if self.deferred => next_lock.is_none().then_some(true),
                    (_, None) => None,
                    (Some(next), Some(end)) if next < end => None,
                    (_, Some(end)) => self.locks.range(end..=end).next().is_none().then_some(true),
                }
            }
            (Some(_), Some(unlock)) => {
                // Behind Unlock: another one says that this was of a branch.
                let again = match (next_lock, next_unlock) {
                    (Some(next), Some(end)) => end <= next,
                    (None, Some(_)) => true,
                    _ => false,
                };
                let last_lock = self.locks.range(..=unlock).next_back()?;
                let locked = match self.unlocks.range(..last_lock).next_back() {
                    Some(before) => self.locks.range(before..=last_lock).count(),
                    None => self.locks.range(..=last_lock).count(),
                };
                let unlocked = self.unlocks.range(last_lock..=unlock).count();
                // A deferred Unlock may be of the lock that is behind this line, or of one ahead.
                let kept = self.deferred && next_lock.is_none();
                (!again && !kept && locked <= unlocked).then_some(false)
            }
            (Some(_), None) => None,
        }
    }
}

/// A function, the first address of the code that it is part of, and how far is followed.
type CodeKey = (Rc<str>, u64, usize);

/// The code of functions, each read once.
struct Reader<'p> {
    program: Option<&'p Program>,
    known: RefCell<HashMap<CodeKey, Rc<Code>>>,
    left: Cell<u32>,
}

impl Reader<'_> {
    /// What the function does in the code around `address`: its own, or that which it was
    /// inlined into. `depth`: how far functions that it calls are looked into.
    fn code(&self, function: &Rc<str>, address: u64, depth: usize) -> Option<Rc<Code>> {
        let program = self.program.filter(|_| address != 0)?;
        let entry = program.function_at(address)?.entry;
        let key = (Rc::clone(function), entry, depth);
        if let Some(known) = self.known.borrow().get(&key) {
            return Some(Rc::clone(known));
        }
        let left = self.left.get();
        if left == 0 {
            return None;
        }
        self.left.set(left - 1);
        let mut code = Code::default();
        // A function that calls itself finds this.
        self.known
            .borrow_mut()
            .insert(key.clone(), Rc::new(Code::default()));
        let mut callees = Vec::new();
        for call in program.calls_in(entry).iter().take(CALLS_MAX) {
            self.take(program, function, call, &mut code, &mut callees);
        }
        if depth > 0 {
            self.follow(function, &mut code, &callees, depth - 1);
        }
        let code = Rc::new(code);
        self.known.borrow_mut().insert(key, Rc::clone(&code));
        Some(code)
    }

    /// What one call says, if it belongs to the function, or to what was inlined into it.
    fn take(
        &self,
        program: &Program,
        function: &Rc<str>,
        call: &CodeCall,
        code: &mut Code,
        callees: &mut Vec<(Rc<str>, u64, At)>,
    ) {
        let Call::Direct {
            function: callee,
            map_type,
            ..
        } = &call.call
        else {
            return;
        };
        let lines = program.lines(call.address);
        let Some(own) = lines.iter().position(|line| line.function == *function) else {
            return;
        };
        let Some(here) = lines.get(own) else { return };
        let inlined = lines.get(..own).unwrap_or_default();
        let under = || {
            inlined
                .iter()
                .map(|line| &*line.function)
                .chain([&**callee])
        };
        let at = At {
            file: Rc::clone(&here.file),
            line: here.line,
        };
        // A lock of the library's own, as in sync.Once and sync.Pool, is none of the program's.
        let plain =
            under().all(|name| !is_sync(name) || method(name).is_some() || runtime_of(name));
        if under().any(takes) {
            if plain {
                code.locks.insert(at.line);
            }
        } else if under().any(gives_back) {
            if plain {
                code.unlocks.insert(at.line);
            }
        } else if callee.starts_with("runtime.deferreturn")
            || callee.starts_with("runtime.deferproc")
        {
            code.deferred = true;
        } else if operation(callee).is_some_and(matters) {
            let via = inlined.iter().rfind(|line| !is_runtime(&line.function));
            code.maps.push(CodeUse {
                call: Rc::clone(callee),
                map_type: map_type.clone(),
                at,
                via: via.map(|line| Rc::clone(&line.function)),
            });
        } else if !is_runtime(callee) && !is_sync(callee) && callees.len() < CALLEES_MAX {
            callees.push((Rc::clone(callee), call.target, at));
        }
    }

    /// What functions do that are called: helpers take the lock or give it back, others may
    /// work on a map under it.
    fn follow(
        &self,
        function: &Rc<str>,
        code: &mut Code,
        callees: &[(Rc<str>, u64, At)],
        depth: usize,
    ) {
        let mut found = Vec::new();
        for (callee, target, at) in callees {
            let Some(called) = self.code(callee, *target, depth) else {
                continue;
            };
            // `defer mu.Unlock()` is a function of its own.
            let own = callee
                .strip_prefix(&**function)
                .is_some_and(|rest| rest.starts_with(".deferwrap") || rest.starts_with(".func"));
            if called.is_helper() && !(own && code.deferred) {
                if called.locks.is_empty() {
                    code.unlocks.insert(at.line);
                } else {
                    code.locks.insert(at.line);
                }
            } else if called.locks.is_empty() {
                // What takes a lock itself works under that.
                found.extend(called.maps.iter().map(|used| CodeUse {
                    at: at.clone(),
                    via: Some(Rc::clone(callee)),
                    ..used.clone()
                }));
            }
        }
        code.maps.extend(found);
        // A defer of something else: the lock is given back before.
        if code.deferred && !code.unlocks.is_empty() {
            let wraps = callees.iter().any(|(callee, target, _)| {
                callee
                    .strip_prefix(&**function)
                    .is_some_and(|rest| rest.starts_with('.'))
                    && self
                        .code(callee, *target, 0)
                        .is_some_and(|called| !called.unlocks.is_empty())
            });
            code.deferred = wraps;
        }
    }
}

fn runtime_of(name: &str) -> bool {
    // sync.runtime_SemacquireMutex and its like are the runtime's.
    name.contains("sync.runtime_")
}

/// Making a map, and its helpers, is no reason to wait.
fn matters(operation: Operation) -> bool {
    !matches!(operation, Operation::Make | Operation::Other)
}

/// What is called, where, and by which function in between.
type UseKey = (Rc<str>, At, Option<Rc<str>>);

/// What is gathered of one function.
#[derive(Default)]
struct Gathered {
    waits: BTreeMap<At, Delay>,
    holds: BTreeMap<At, Delay>,
    waiting_now: i64,
    in_map_now: i64,
    time: Time,
    map_bytes: i64,
    uses: BTreeMap<UseKey, UseFigures>,
    /// Where its code was seen.
    addresses: BTreeSet<u64>,
    growth: Vec<(At, i64)>,
}

#[derive(Default)]
struct UseFigures {
    evidence: BTreeSet<Source>,
    map_type: Option<Rc<str>>,
    cpu_ns: i64,
    inuse_bytes: i64,
}

/// Finds the functions that wait for locks, and what they do with maps.
#[must_use]
pub fn contention(inputs: &[Input]) -> Contention {
    let mut result = Contention {
        unit: "nanoseconds".into(),
        profiles: inputs
            .iter()
            .map(|input| Used {
                name: input.name.clone(),
                kind: kind_word(input.profile.kind),
                samples: input.profile.samples.len(),
            })
            .collect(),
        guarded: Vec::new(),
        others: Vec::new(),
        waits: Delay::default(),
        other_waits: Delay::default(),
        holds: Delay::default(),
        notes: Vec::new(),
    };
    units(inputs, &mut result);
    let reader = Reader {
        program: inputs
            .iter()
            .find_map(|input| input.program.as_ref())
            .map(|(program, _)| &**program),
        known: RefCell::default(),
        left: Cell::new(FUNCTIONS_MAX),
    };
    let mut gathered: HashMap<Rc<str>, Gathered> = HashMap::new();
    for input in inputs {
        match input.profile.kind {
            Kind::Block | Kind::Mutex | Kind::Goroutine => {
                lock_samples(input, &reader, &mut gathered, &mut result);
            }
            _ => {}
        }
    }
    for input in inputs {
        match input.profile.kind {
            Kind::Cpu | Kind::Goroutine => map_samples(input, &mut gathered),
            Kind::Heap => map_storage(input, &mut gathered),
            _ => {}
        }
    }
    let has_cpu = inputs.iter().any(|input| input.profile.kind == Kind::Cpu);
    let has_heap = inputs.iter().any(|input| input.profile.kind == Kind::Heap);
    for (function, found) in gathered {
        let section = section(&function, found, &reader, has_cpu, has_heap);
        if section.works_on_a_map() {
            result.guarded.push(section);
        } else {
            result.others.push(section);
        }
    }
    for list in [&mut result.guarded, &mut result.others] {
        list.sort_by(|one, other| {
            (other.weight(), &one.function).cmp(&(one.weight(), &other.function))
        });
    }
    notes(inputs, &reader, &mut result);
    result
}

/// Delays of several profiles are only added in one unit.
fn units(inputs: &[Input], result: &mut Contention) {
    let mut found: Vec<Rc<str>> = inputs
        .iter()
        .filter(|input| matches!(input.profile.kind, Kind::Block | Kind::Mutex))
        .filter_map(|input| Some(Rc::clone(&input.profile.sample_types.last()?.unit)))
        .collect();
    found.dedup();
    if let [unit] = found.as_slice() {
        result.unit = Rc::clone(unit);
    } else if found.len() > 1 {
        result.notes.push(format!(
            "The delays of these profiles are in different units ({}): do not compare them.",
            found.join(", ")
        ));
    }
}

fn notes(inputs: &[Input], reader: &Reader<'_>, result: &mut Contention) {
    let has = |kind: Kind| inputs.iter().any(|input| input.profile.kind == kind);
    for (kind, what) in [
        (Kind::Block, "how long functions wait for locks"),
        (Kind::Mutex, "who holds locks that others wait for"),
        (Kind::Cpu, "how long maps grow while a lock may be held"),
    ] {
        if !has(kind) {
            let word = match kind {
                Kind::Cpu => "CPU",
                _ => kind_word(kind),
            };
            result
                .notes
                .push(format!("There is no {word} profile: {what} is not known."));
        }
    }
    for kind in [
        Kind::Block,
        Kind::Mutex,
        Kind::Cpu,
        Kind::Goroutine,
        Kind::Heap,
    ] {
        let several = inputs
            .iter()
            .filter(|input| input.profile.kind == kind)
            .count();
        if several > 1 {
            result.notes.push(format!(
                "{several} {} profiles are added up: what two of them have both is counted twice.",
                kind_word(kind)
            ));
        }
    }
    let of_file = |input: &Input| {
        matches!(input.profile.kind, Kind::Block | Kind::Mutex)
            && input.profile.origin != Origin::Memory
    };
    if inputs.iter().any(of_file) {
        result.notes.push(
            "Counts and delays are estimates unless the program's rate was 1 \
             (runtime.SetBlockProfileRate, SetMutexProfileFraction): files do not tell it."
                .to_owned(),
        );
    }
    if has(Kind::Heap) {
        result.notes.push(super::maps::LATE.to_owned());
    }
    if reader.left.get() == 0 {
        result.notes.push(format!(
            "The code of {FUNCTIONS_MAX} functions was looked at: what others do is not known."
        ));
    }
    if reader.program.is_none() {
        result.notes.push(
            "The executable is not used: whether maps are worked on between Lock and Unlock is \
             not known. -exe EXE names it."
                .to_owned(),
        );
    }
    for input in inputs {
        for note in &input.profile.notes {
            result.notes.push(format!("{}: {note}", input.name));
        }
    }
}

/// Whose wait, or whose hold, a stack is.
fn lock_samples(
    input: &Input,
    reader: &Reader<'_>,
    gathered: &mut HashMap<Rc<str>, Gathered>,
    result: &mut Contention,
) {
    let kind = input.profile.kind;
    for sample in &input.profile.samples {
        let value = |index: usize| sample.values.get(index).copied().unwrap_or(0);
        let delay = Delay {
            count: value(0),
            delay: value(1),
        };
        let stack = frames(input, sample);
        let inner = stack
            .iter()
            .take_while(|frame| is_runtime(&frame.function) || is_sync(&frame.function))
            .count();
        let below = stack.get(..inner).unwrap_or_default();
        let is_lock = below.iter().any(|frame| match kind {
            Kind::Mutex => gives_back(&frame.function),
            _ => takes(&frame.function),
        });
        // sync.Once, sync.Pool and sync.Map have locks of their own.
        let plain = below.iter().all(|frame| {
            !is_sync(&frame.function)
                || method(&frame.function).is_some()
                || runtime_of(&frame.function)
        });
        match kind {
            Kind::Block if is_lock && plain => result.waits.add(delay),
            Kind::Block => result.other_waits.add(delay),
            Kind::Mutex if is_lock && plain => result.holds.add(delay),
            _ => {}
        }
        if !is_lock || !plain {
            continue;
        }
        let callers = stack.get(inner..).unwrap_or_default();
        // A helper's caller holds the lock when the helper has returned.
        let helpers = callers
            .iter()
            .take(HELPERS_MAX.min(callers.len().saturating_sub(1)))
            .take_while(|frame| {
                reader
                    .code(&frame.function, frame.address, 1)
                    .is_some_and(|code| code.is_helper())
            })
            .count();
        let Some(frame) = callers.get(helpers) else {
            continue;
        };
        let found = gathered.entry(Rc::clone(&frame.function)).or_default();
        if frame.address != 0 {
            found.addresses.insert(frame.address);
        }
        let place = frame.at.clone();
        match kind {
            Kind::Block => found.waits.entry(place).or_default().add(delay),
            Kind::Mutex => found.holds.entry(place).or_default().add(delay),
            _ => found.waiting_now = found.waiting_now.saturating_add(value(0)),
        }
    }
}

/// CPU time, and goroutines, in functions of maps: the nearest function that waits for locks
/// has led to it.
fn map_samples(input: &Input, gathered: &mut HashMap<Rc<str>, Gathered>) {
    let cpu = input.profile.kind == Kind::Cpu;
    for sample in &input.profile.samples {
        let stack = frames(input, sample);
        let value = match cpu {
            true => sample.values.last(),
            false => sample.values.first(),
        };
        let value = value.copied().unwrap_or(0);
        let count = sample.values.first().copied().unwrap_or(0);
        let mut on_stack: BTreeSet<&Rc<str>> = BTreeSet::new();
        if cpu {
            for frame in &stack {
                if on_stack.insert(&frame.function)
                    && let Some(found) = gathered.get_mut(&frame.function)
                {
                    found.time.all_ns = found.time.all_ns.saturating_add(value);
                    found.time.samples = found.time.samples.saturating_add(count);
                }
            }
        }
        // The outermost functions of the runtime that are in one piece with the leaf: what
        // runs under them runs for the map.
        let inner = stack
            .iter()
            .take_while(|frame| serves_runtime(&frame.function))
            .count();
        let below = stack.get(..inner).unwrap_or_default();
        let Some(call) = below
            .iter()
            .rfind(|frame| operation(&frame.function).is_some_and(matters))
        else {
            continue;
        };
        let grows = below
            .iter()
            .any(|frame| operation(&frame.function) == Some(Operation::Growth));
        let callers = stack.get(inner..).unwrap_or_default();
        let Some((depth, frame)) = callers
            .iter()
            .enumerate()
            .find(|(_, frame)| gathered.contains_key(&frame.function))
        else {
            continue;
        };
        let via = (depth > 0).then(|| callers.get(depth - 1)).flatten();
        let Some(found) = gathered.get_mut(&frame.function) else {
            continue;
        };
        if frame.address != 0 {
            found.addresses.insert(frame.address);
        }
        let key = (
            Rc::clone(&call.function),
            frame.at.clone(),
            via.map(|frame| Rc::clone(&frame.function)),
        );
        let used = found.uses.entry(key).or_default();
        if cpu {
            used.evidence.insert(Source::Cpu);
            used.cpu_ns = used.cpu_ns.saturating_add(value);
            found.time.maps_ns = found.time.maps_ns.saturating_add(value);
            if grows {
                found.time.growth_ns = found.time.growth_ns.saturating_add(value);
                found.growth.push((frame.at.clone(), value));
            }
        } else {
            used.evidence.insert(Source::Goroutine);
            found.in_map_now = found.in_map_now.saturating_add(value);
        }
    }
}

/// Storage of maps by the nearest function that waits for locks.
fn map_storage(input: &Input, gathered: &mut HashMap<Rc<str>, Gathered>) {
    for site in &input.sites {
        let own = (
            Rc::clone(&site.place.function),
            At {
                file: Rc::clone(&site.place.file),
                line: site.place.line,
            },
        );
        let callers = site.callers.iter().map(|line| {
            let at = At {
                file: Rc::clone(&line.file),
                line: line.line,
            };
            (Rc::clone(&line.function), at)
        });
        let stack: Vec<(Rc<str>, At)> = std::iter::once(own).chain(callers).collect();
        let Some((depth, (function, at))) = stack
            .iter()
            .enumerate()
            .find(|(_, (function, _))| gathered.contains_key(function))
        else {
            continue;
        };
        let Some(found) = gathered.get_mut(function) else {
            continue;
        };
        let bytes = site.figures.inuse_bytes;
        found.map_bytes = found.map_bytes.saturating_add(bytes);
        let via = (depth > 0).then(|| stack.get(depth - 1)).flatten();
        let call = site
            .calls
            .iter()
            .find(|call| operation(call).is_some_and(matters));
        let Some(call) = call else { continue };
        let key = (
            Rc::clone(call),
            at.clone(),
            via.map(|(function, _)| Rc::clone(function)),
        );
        let used = found.uses.entry(key).or_default();
        used.evidence.insert(Source::Heap);
        used.inuse_bytes = used.inuse_bytes.saturating_add(bytes);
        if used.map_type.is_none() {
            used.map_type.clone_from(&site.place.map_type);
        }
    }
}

/// Puts together what is known of one function.
fn section(
    function: &Rc<str>,
    mut found: Gathered,
    reader: &Reader<'_>,
    has_cpu: bool,
    has_heap: bool,
) -> Section {
    let mut code = Code::default();
    let mut read = BTreeSet::new();
    for address in &found.addresses {
        let Some(entry) = reader
            .program
            .and_then(|program| Some(program.function_at(*address)?.entry))
        else {
            continue;
        };
        if !read.insert(entry) {
            continue;
        }
        if let Some(part) = reader.code(function, *address, 2) {
            code.locks.extend(&part.locks);
            code.unlocks.extend(&part.unlocks);
            code.deferred |= part.deferred;
            code.maps.extend(part.maps.iter().cloned());
        }
    }
    for used in &code.maps {
        let key = (Rc::clone(&used.call), used.at.clone(), used.via.clone());
        let figures = found.uses.entry(key).or_default();
        figures.evidence.insert(Source::Code);
        if used.map_type.is_some() {
            figures.map_type.clone_from(&used.map_type);
        }
    }
    let mut maps: Vec<MapUse> = found
        .uses
        .into_iter()
        .filter_map(|((call, at, via), figures)| {
            Some(MapUse {
                operation: operation(&call)?,
                between: code.between(at.line),
                call,
                map_type: figures.map_type,
                at,
                via,
                evidence: figures.evidence,
                cpu_ns: figures.cpu_ns,
                inuse_bytes: figures.inuse_bytes,
            })
        })
        .collect();
    maps.sort_by_key(|used| {
        (
            used.between != Some(true),
            used.via.is_some(),
            std::cmp::Reverse(used.cpu_ns),
            std::cmp::Reverse(used.inuse_bytes),
            used.at.clone(),
        )
    });
    // One line that the code does not tell of leaves the sum open.
    let between = found.growth.iter().try_fold(0_i64, |sum, (at, value)| {
        let part = if code.between(at.line)? { *value } else { 0 };
        Some(sum.saturating_add(part))
    });
    let between = between.filter(|_| !code.locks.is_empty());
    found.time.growth_between_ns = between;
    let places = |all: BTreeMap<At, Delay>| {
        let mut listed: Vec<PlaceDelay> = all
            .into_iter()
            .map(|(at, delay)| PlaceDelay { at, delay })
            .collect();
        listed.sort_by_key(|place| std::cmp::Reverse(place.delay.delay));
        let mut sum = Delay::default();
        for place in &listed {
            sum.add(place.delay);
        }
        (sum, listed)
    };
    let (waits, waits_at) = places(found.waits);
    let (holds, holds_at) = places(found.holds);
    Section {
        function: Rc::clone(function),
        waits,
        waits_at,
        holds,
        holds_at,
        waiting_now: found.waiting_now,
        in_map_now: found.in_map_now,
        cpu: has_cpu.then_some(found.time),
        map_bytes: has_heap.then_some(found.map_bytes),
        maps,
        lock_lines: code.locks.into_iter().collect(),
        unlock_lines: code.unlocks.into_iter().collect(),
        deferred: code.deferred,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pprof::{Line, Location, Origin, Placement, ValueType};

    /// A profile of stacks, innermost first: `function:line`.
    fn input(kind: Kind, samples: &[(&[&str], &[i64])]) -> Input {
        let mut locations: Vec<Location> = Vec::new();
        let samples = samples
            .iter()
            .map(|(stack, values)| {
                let stack: Vec<u32> = stack
                    .iter()
                    .map(|frame| {
                        let (function, line) = frame.rsplit_once(':').unwrap();
                        locations.push(Location {
                            address: 0,
                            lines: vec![Line {
                                function: function.into(),
                                file: "/src/main.go".into(),
                                line: line.parse().unwrap(),
                            }],
                        });
                        locations.len() as u32 - 1
                    })
                    .collect();
                Sample {
                    stack: stack.into(),
                    values: values.to_vec(),
                    raw: None,
                    labels: Vec::new(),
                }
            })
            .collect();
        let value = |name: &str, unit: &str| ValueType {
            name: name.into(),
            unit: unit.into(),
        };
        let sample_types = match kind {
            Kind::Cpu => vec![value("samples", "count"), value("cpu", "nanoseconds")],
            Kind::Goroutine => vec![value("goroutine", "count")],
            _ => vec![value("contentions", "count"), value("delay", "nanoseconds")],
        };
        Input {
            name: kind_word(kind).to_owned(),
            profile: Profile {
                kind,
                origin: Origin::Proto,
                sample_types,
                period: 1,
                period_type: None,
                time_ns: None,
                duration_ns: 0,
                last_gc_ns: None,
                samples,
                locations,
                program: None,
                build_id: None,
                placement: Placement::default(),
                notes: Vec::new(),
            },
            program: None,
            sites: Vec::new(),
        }
    }

    const LOCK: &str = "sync.(*Mutex).Lock:46";

    #[test]
    fn a_lock_is_told_from_other_waits() {
        let block = input(
            Kind::Block,
            &[
                (&[LOCK, "main.put:5", "main.work:9"], &[3, 300]),
                (
                    &[
                        LOCK,
                        "sync.(*RWMutex).Lock:150",
                        "main.put:7",
                        "main.work:9",
                    ],
                    &[1, 100],
                ),
                (&["sync.(*WaitGroup).Wait:1", "main.main:2"], &[1, 50]),
                // Their own locks guard none of the program's maps.
                (
                    &[
                        LOCK,
                        "sync.(*Once).doSlow:1",
                        "sync.(*Once).Do:1",
                        "main.put:8",
                    ],
                    &[1, 70],
                ),
                (&["runtime.chanrecv1:1", "main.put:6"], &[1, 20]),
                (&[LOCK, "main.count:20", "main.work:10"], &[9, 900]),
            ],
        );
        let cpu = input(
            Kind::Cpu,
            &[
                (
                    &[
                        "runtime.evacuate:1",
                        "runtime.growWork:1",
                        "runtime.mapassign:1",
                        "main.put:6",
                        "main.work:9",
                    ],
                    &[2, 20],
                ),
                (
                    &[
                        "runtime.mapdelete:1",
                        "main.drop:30",
                        "main.put:7",
                        "main.work:9",
                    ],
                    &[1, 10],
                ),
                // A map without a lock, whose caller waits nowhere.
                (
                    &["runtime.mapassign:1", "main.scribble:40", "main.work:11"],
                    &[5, 50],
                ),
                (&["main.count:21", "main.work:10"], &[4, 40]),
                // Memory of something else, allocated while a map grew.
                (&["runtime.mallocgc:1", "main.count:22"], &[1, 10]),
            ],
        );
        let found = contention(&[block, cpu]);
        let [put] = found.guarded.as_slice() else {
            panic!("{:?}", found.guarded);
        };
        assert_eq!(&*put.function, "main.put");
        assert_eq!(
            put.waits,
            Delay {
                count: 4,
                delay: 400
            }
        );
        assert_eq!(put.waits_at[0].at.line, 5);
        let time = put.cpu.unwrap();
        assert_eq!((time.all_ns, time.maps_ns, time.growth_ns), (30, 30, 20));
        assert_eq!(time.growth_between_ns, None);
        let uses: Vec<_> = put
            .maps
            .iter()
            .map(|used| {
                (
                    used.operation,
                    used.at.line,
                    used.via.as_deref(),
                    used.cpu_ns,
                )
            })
            .collect();
        assert_eq!(
            uses,
            [
                (Operation::Assign, 6, None, 20),
                (Operation::Delete, 7, Some("main.drop"), 10)
            ]
        );
        // The longest wait of all is for a lock without a map.
        let [count] = found.others.as_slice() else {
            panic!("{:?}", found.others);
        };
        assert_eq!(&*count.function, "main.count");
        assert_eq!(
            found.waits,
            Delay {
                count: 13,
                delay: 1300
            }
        );
        assert_eq!(
            found.other_waits,
            Delay {
                count: 3,
                delay: 140
            }
        );
        assert!(found.notes.iter().any(|note| note.contains("-exe EXE")));
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.contains("no mutex profile"))
        );
    }

    #[test]
    fn holders_and_goroutines_count_too() {
        let mutex = input(
            Kind::Mutex,
            &[
                (&["sync.(*Mutex).Unlock:65", "main.evict:5"], &[2, 50]),
                (&["runtime.unlock:1", "main.evict:6"], &[2, 7]),
            ],
        );
        let goroutines = input(
            Kind::Goroutine,
            &[
                (
                    &[
                        "runtime.gopark:1",
                        "sync.runtime_SemacquireMutex:1",
                        "sync.(*Mutex).lockSlow:1",
                        LOCK,
                        "main.get:9",
                    ],
                    &[4],
                ),
                (&["runtime.mapiternext:1", "main.evict:4"], &[1]),
            ],
        );
        let found = contention(&[mutex, goroutines]);
        assert_eq!(found.guarded.len(), 1);
        let evict = &found.guarded[0];
        assert_eq!((&*evict.function, evict.in_map_now), ("main.evict", 1));
        assert_eq!(
            evict.holds,
            Delay {
                count: 2,
                delay: 50
            }
        );
        assert_eq!(found.others[0].waiting_now, 4);
    }

    #[test]
    fn what_cannot_be_is_survived() {
        let mut block = input(
            Kind::Block,
            &[
                (&[LOCK, "main.put:5"], &[i64::MAX, i64::MAX]),
                (&[LOCK, "main.put:5"], &[i64::MAX, i64::MAX]),
                (&[LOCK], &[1, 1]),
                (&[], &[]),
            ],
        );
        block.profile.samples[2].stack = vec![7, u32::MAX, 0].into();
        block.profile.sample_types.clear();
        let ticks = input(Kind::Mutex, &[]);
        let mut other = ticks.clone();
        other.profile.sample_types[1].unit = "ticks".into();
        let found = contention(&[block, ticks, other]);
        assert_eq!(found.waits.delay, i64::MAX);
        assert!(found.notes[0].contains("nanoseconds, ticks"));
        assert_eq!(contention(&[]).guarded, []);
    }

    #[test]
    fn between_is_by_the_pair_around_a_line() {
        let code = |locks: &[i64], unlocks: &[i64], deferred| Code {
            locks: locks.iter().copied().collect(),
            unlocks: unlocks.iter().copied().collect(),
            deferred,
            maps: Vec::new(),
        };
        let all = |code: &Code, lines: &[i64]| -> Vec<Option<bool>> {
            lines.iter().map(|line| code.between(*line)).collect()
        };
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(code(&[], &[], false).between(5), None);
        assert_eq!(code(&[10], &[], false).between(12), None);
        let plain = code(&[10], &[20], false);
        assert_eq!(all(&plain, &[9, 10, 15, 20, 21]), [no, None, yes, None, no]);
        // RLock, RUnlock, work without a lock, Lock, Unlock.
        let twice = code(&[21, 31], &[23, 33], false);
        assert_eq!(all(&twice, &[22, 29, 32, 40]), [yes, no, yes, no]);
        // The second is given back when the function returns.
        let second = code(&[21, 31], &[23], true);
        assert_eq!(all(&second, &[22, 29, 32, 40]), [yes, no, yes, yes]);
        // A branch unlocks and returns.
        let early = code(&[10], &[13, 20], false);
        assert_eq!(all(&early, &[11, 15, 21]), [yes, None, no]);
        // Locks in two branches, or one inside the other.
        let nested = code(&[10, 12], &[20, 22], false);
        assert_eq!(all(&nested, &[11, 15, 21, 23]), [None, yes, None, no]);
        let deferred = code(&[10], &[], true);
        assert_eq!(all(&deferred, &[9, 99]), [no, yes]);
        assert_eq!(code(&[10], &[12], true).between(15), None);
        // On one line.
        assert_eq!(code(&[10], &[10], false).between(10), None);
        assert!(!deferred.is_helper());
    }

    #[test]
    fn hashing_and_comparing_keys_is_work_on_the_map() {
        let block = input(Kind::Block, &[(&[LOCK, "main.put:5"], &[3, 300])]);
        let cpu = input(
            Kind::Cpu,
            &[
                (
                    &["type:.eq.main.Key:1", "runtime.mapaccess2:1", "main.put:6"],
                    &[1, 10],
                ),
                (
                    &[
                        "aeshashbody:1",
                        "runtime.strhash:1",
                        "type..hash.main.Key:1",
                        "runtime.mapassign:1",
                        "main.put:7",
                    ],
                    &[1, 10],
                ),
                // The program's own comparison.
                (&["type:.eq.main.Key:1", "main.put:8"], &[1, 10]),
            ],
        );
        let found = contention(&[block, cpu]);
        assert_eq!(found.guarded[0].cpu.unwrap().maps_ns, 20);
    }

    #[test]
    fn files_do_not_tell_their_rate() {
        let rate = |input: Input| {
            let found = contention(&[input]);
            found.notes.iter().any(|note| note.contains("estimates"))
        };
        let block = input(Kind::Block, &[]);
        assert!(rate(block.clone()));
        let mut memory = block;
        memory.profile.origin = Origin::Memory;
        assert!(!rate(memory));
    }
}
