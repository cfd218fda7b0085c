//! What of a profile is of maps, by call site, and on what evidence.
//!
//! In texts and in memory a stack begins with the runtime's own functions, and the innermost
//! that does not just hand out memory tells what the memory is for. Of protobuf heap profiles
//! runtime/pprof drops those (protomem.go, `hideRuntime`); there the user's call itself, at the
//! leaf's address, tells which function of the runtime was called.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use serde::Serialize;

use super::frames::{
    Operation, is_allocator, is_runtime, linked_from_runtime, operation, serves_runtime,
};
use super::model::{Kind, LabelValue, Line, Origin, Profile, Sample};
use super::program::{Call, Program};

/// Callers of a site that are kept.
const CALLERS_MAX: usize = 8;
/// Labels of one site that are kept.
const LABELS_MAX: usize = 16;

/// On what it rests that a row is of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Evidence {
    /// The runtime's functions are in the stack.
    #[serde(rename = "raw-pc")]
    RawPc,
    /// And the map's type is in the code that called them.
    #[serde(rename = "raw-pc+type")]
    RawPcAndType,
    /// The code at the leaf calls a function of maps.
    #[serde(rename = "call")]
    Call,
    /// And gives it the map's type.
    #[serde(rename = "call+type")]
    CallAndType,
}

impl Evidence {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RawPc => "raw-pc",
            Self::RawPcAndType => "raw-pc+type",
            Self::Call => "call",
            Self::CallAndType => "call+type",
        }
    }

    fn new(raw: bool, typed: bool) -> Self {
        match (raw, typed) {
            (true, false) => Self::RawPc,
            (true, true) => Self::RawPcAndType,
            (false, false) => Self::Call,
            (false, true) => Self::CallAndType,
        }
    }
}

/// Objects and bytes, scaled to what the samples stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Objects that were ever allocated.
    pub alloc_objects: i64,
    /// Their bytes.
    pub alloc_bytes: i64,
    /// Objects that are not freed.
    pub inuse_objects: i64,
    /// Their bytes.
    pub inuse_bytes: i64,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.alloc_objects = self.alloc_objects.saturating_add(other.alloc_objects);
        self.alloc_bytes = self.alloc_bytes.saturating_add(other.alloc_bytes);
        self.inuse_objects = self.inuse_objects.saturating_add(other.inuse_objects);
        self.inuse_bytes = self.inuse_bytes.saturating_add(other.inuse_bytes);
    }

    /// These less `other`.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            alloc_objects: self.alloc_objects.saturating_sub(other.alloc_objects),
            alloc_bytes: self.alloc_bytes.saturating_sub(other.alloc_bytes),
            inuse_objects: self.inuse_objects.saturating_sub(other.inuse_objects),
            inuse_bytes: self.inuse_bytes.saturating_sub(other.inuse_bytes),
        }
    }
}

/// What tells one call site from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The function that called into the runtime.
    pub function: Rc<str>,
    /// Its file.
    pub file: Rc<str>,
    /// The line.
    pub line: i64,
    /// The map's type, as Go prints it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub map_type: Option<Rc<str>>,
}

/// A call site whose calls allocated storage of maps: headers, buckets, groups, tables,
/// directories, and keys and elems outside the slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// On what it rests that it is of maps.
    pub evidence: Evidence,
    /// The functions of the runtime that were called there.
    pub calls: Vec<Rc<str>>,
    /// How much.
    #[serde(flatten)]
    pub figures: Figures,
    /// How many allocations were sampled, where the profile tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled_objects: Option<i64>,
    /// The callers of the function in the stack with the most bytes in use, innermost first.
    pub callers: Vec<Line>,
    #[serde(skip)]
    most: i64,
}

/// Time, goroutines or contentions in functions of maps, by call site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Work {
    /// The function that called into the runtime.
    pub function: Rc<str>,
    /// Its file.
    pub file: Rc<str>,
    /// The line in it.
    pub line: i64,
    /// What was done to the map.
    pub operation: Operation,
    /// The runtime's function that was called.
    pub call: Rc<str>,
    /// One for each sample type.
    pub values: Vec<i64>,
    /// The last of them by the goroutine's labels, the largest first.
    pub labels: Vec<(Rc<str>, Rc<str>, i64)>,
}

/// What of a profile is of maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// What the profile counts.
    pub kind: Kind,
    /// Where it comes from.
    pub origin: Origin,
    /// Allocations of maps, those with the most bytes in use first; of heap profiles.
    pub sites: Vec<Site>,
    /// The sum of them.
    pub maps: Figures,
    /// What is known to be something else.
    pub other: Figures,
    /// What nothing is known of.
    pub unknown: Figures,
    /// Why not, the largest first: a phrase, and how much.
    pub reasons: Vec<(&'static str, Figures)>,
    /// Work on maps; of all other profiles.
    pub work: Vec<Work>,
    /// The sum of the profile, for each sample type.
    pub totals: Vec<i64>,
    /// Sentences for the reader.
    pub notes: Vec<String>,
}

/// What a sample turned out to be.
enum Verdict {
    Map(Evidence, Place, Rc<str>),
    Other,
    Unknown(&'static str),
}

/// What any heap profile leaves open (runtime/mprof.go, "Memory profile").
pub(super) const LATE: &str = "A heap profile tells of the last collection or of the one before \
    it: the runtime publishes allocations up to two collections late. runtime.GC() before it is \
    taken makes it current.";

const NO_PROGRAM: &str = "the executable is not given (-exe)";
const NO_NAMES: &str = "their places have no names";
const INDIRECT: &str = "the call goes through a register";
const NO_CALL: &str = "no call is found at the address";
const NOT_RUNTIME: &str = "the call at the address is not into the runtime";
const NO_STACK: &str = "they have no stack";
const NO_CODE: &str = "code is only understood on amd64";

/// What of `profile` is of maps. `program` and the bias of [`Program::bias`] are needed for
/// heap profiles; names must be there ([`super::symbolize`]).
#[must_use]
pub fn attribute(profile: &Profile, program: Option<(&Program, u64)>) -> Attribution {
    let mut result = Attribution::plain(profile.kind, profile.origin, Vec::new());
    result.totals = vec![0; profile.sample_types.len()];
    result.notes.clone_from(&profile.notes);
    for sample in &profile.samples {
        for (sum, value) in result.totals.iter_mut().zip(&sample.values) {
            *sum = sum.saturating_add(*value);
        }
    }
    match profile.kind {
        Kind::Heap => allocations(profile, program, &mut result),
        _ => work(profile, &mut result),
    }
    result.tell(profile);
    result
}

/// Where a heap profile has its figures.
fn columns(profile: &Profile) -> [Option<usize>; 4] {
    [
        "alloc_objects",
        "alloc_space",
        "inuse_objects",
        "inuse_space",
    ]
    .map(|name| {
        profile
            .sample_types
            .iter()
            .position(|kind| &*kind.name == name)
    })
}

fn allocations(profile: &Profile, program: Option<(&Program, u64)>, result: &mut Attribution) {
    let columns = columns(profile);
    let mut sites: HashMap<(Place, Evidence), Site> = HashMap::new();
    let mut reasons: HashMap<&'static str, Figures> = HashMap::new();
    for sample in &profile.samples {
        let figures = figures(&columns, &sample.values);
        match verdict(profile, sample, program) {
            Verdict::Other => result.other.add(figures),
            Verdict::Unknown(reason) => {
                result.unknown.add(figures);
                reasons.entry(reason).or_default().add(figures);
            }
            Verdict::Map(evidence, place, call) => {
                result.maps.add(figures);
                let raw = sample.raw.as_ref().and_then(|raw| raw.first().copied());
                let site = match sites.entry((place.clone(), evidence)) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        entry.insert(Site::plain(place, evidence, Figures::default()))
                    }
                };
                site.figures.add(figures);
                if let Some(raw) = raw {
                    let sum = site.sampled_objects.get_or_insert(0);
                    *sum = sum.saturating_add(raw);
                }
                if !site.calls.contains(&call) {
                    site.calls.push(call);
                    site.calls.sort();
                }
                if figures.inuse_bytes > site.most {
                    site.most = figures.inuse_bytes;
                    site.callers = callers(profile, sample);
                }
            }
        }
    }
    result.sites = sites.into_values().collect();
    result.sites.sort_by(|a, b| {
        let key = |site: &Site| (site.figures.inuse_bytes, site.figures.alloc_bytes);
        key(b).cmp(&key(a)).then_with(|| a.place.cmp(&b.place))
    });
    result.reasons = reasons.into_iter().collect();
    result
        .reasons
        .sort_by_key(|(reason, figures)| (std::cmp::Reverse(figures.alloc_bytes), *reason));
}

fn figures(columns: &[Option<usize>; 4], values: &[i64]) -> Figures {
    let value = |column: Option<usize>| column.and_then(|at| values.get(at).copied()).unwrap_or(0);
    let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = columns.map(value);
    Figures {
        alloc_objects,
        alloc_bytes,
        inuse_objects,
        inuse_bytes,
    }
}

/// The functions of a stack, inlined ones too, leaf first; each with its location's index.
fn frames<'a>(
    profile: &'a Profile,
    sample: &'a Sample,
) -> impl Iterator<Item = (usize, Option<&'a Line>)> {
    sample.stack.iter().enumerate().flat_map(|(index, place)| {
        let lines = profile
            .locations
            .get(*place as usize)
            .map_or(&[][..], |location| &location.lines);
        let nameless = lines.is_empty().then_some((index, None));
        lines
            .iter()
            .map(move |line| (index, Some(line)))
            .chain(nameless)
    })
}

/// The callers of the first function that is not the runtime's.
fn callers(profile: &Profile, sample: &Sample) -> Vec<Line> {
    frames(profile, sample)
        .filter_map(|(_, line)| line)
        .skip_while(|line| is_runtime(&line.function))
        .skip(1)
        .filter(|line| !is_runtime(&line.function))
        .take(CALLERS_MAX)
        .cloned()
        .collect()
}

fn verdict(profile: &Profile, sample: &Sample, program: Option<(&Program, u64)>) -> Verdict {
    let address = |index: usize| {
        let place = *sample.stack.get(index)?;
        Some(profile.locations.get(place as usize)?.address)
    };
    let call_at = |index: usize| {
        let (program, bias) = program?;
        Some(program.call_at(address(index)?.checked_sub(bias)?))
    };
    let Some((_, first)) = frames(profile, sample).next() else {
        return Verdict::Unknown(NO_STACK);
    };
    let nameless = || {
        Verdict::Unknown(match program {
            Some(_) => NO_NAMES,
            None => NO_PROGRAM,
        })
    };
    let Some(first) = first else {
        return nameless();
    };
    if !is_runtime(&first.function) {
        if profile.origin != Origin::Proto {
            return match of_maps(&first.function, &first.file) {
                Some(true) => {
                    Verdict::Map(Evidence::RawPc, place(first, None), first.function.clone())
                }
                // What the program's own functions allocate without the runtime in between.
                _ => Verdict::Other,
            };
        }
        return match call_at(0) {
            None => Verdict::Unknown(NO_PROGRAM),
            Some(Call::Direct {
                function,
                file,
                map_type,
            }) => match of_maps(&function, &file) {
                Some(true) => Verdict::Map(
                    Evidence::new(false, map_type.is_some()),
                    place(first, map_type),
                    function,
                ),
                Some(false) => Verdict::Other,
                None => Verdict::Unknown(NOT_RUNTIME),
            },
            Some(Call::Inlined { function }) => match operation(&function) {
                Some(_) => Verdict::Map(Evidence::Call, place(first, None), function),
                None if is_runtime(&function) => Verdict::Other,
                None => Verdict::Unknown(NOT_RUNTIME),
            },
            Some(Call::Indirect) => Verdict::Unknown(INDIRECT),
            Some(Call::Unknown) => Verdict::Unknown(match program {
                Some((program, _)) if program.binary().arch() != Some("amd64") => NO_CODE,
                _ => NO_CALL,
            }),
        };
    }
    let mut inner = frames(profile, sample)
        .skip_while(|(_, line)| line.is_some_and(|line| is_allocator(&line.function)))
        .peekable();
    let purpose = match inner.peek() {
        Some((_, Some(line))) => of_maps(&line.function, &line.file),
        Some((_, None)) => return nameless(),
        None => None,
    };
    if purpose != Some(true) {
        return Verdict::Other;
    }
    // The user's call is the first outside the runtime; the function it calls comes before it.
    let mut called: Option<&Line> = None;
    for (index, line) in inner {
        let Some(line) = line else {
            return nameless();
        };
        if is_runtime(&line.function) {
            called = Some(line);
            continue;
        }
        let map_type = match call_at(index) {
            Some(Call::Direct {
                function,
                file,
                map_type,
            }) if of_maps(&function, &file) == Some(true) => map_type,
            _ => None,
        };
        let call = called.map_or_else(|| line.function.clone(), |called| called.function.clone());
        return Verdict::Map(
            Evidence::new(true, map_type.is_some()),
            place(line, map_type),
            call,
        );
    }
    // The runtime's own map.
    match called {
        Some(line) => Verdict::Map(Evidence::RawPc, place(line, None), line.function.clone()),
        None => Verdict::Other,
    }
}

/// Whether a function is the runtime's, and one of maps; `None` if it is the program's.
fn of_maps(function: &str, file: &str) -> Option<bool> {
    if operation(function).is_some() {
        return Some(true);
    }
    match is_runtime(function) {
        true => Some(false),
        false => linked_from_runtime(file),
    }
}

/// A function as the runtime's texts name it: `fill[...]` for all it was instantiated for
/// (runtime/symtab.go, `funcNameForPrint`). Protobuf profiles name each, as the compiler does.
fn shown(function: &Rc<str>) -> Rc<str> {
    match (function.find('['), function.rfind(']')) {
        (Some(begin), Some(end)) if begin < end => {
            let before = function.get(..begin).unwrap_or_default();
            let behind = function.get(end + 1..).unwrap_or_default();
            Rc::from(format!("{before}[...]{behind}"))
        }
        _ => function.clone(),
    }
}

fn place(line: &Line, map_type: Option<Rc<str>>) -> Place {
    Place {
        function: shown(&line.function),
        file: line.file.clone(),
        line: line.line,
        map_type,
    }
}

/// What tells one row of work from another: the place, what was done, and by which call.
type WorkKey = (Rc<str>, Rc<str>, i64, Operation, Rc<str>);

/// Samples inside functions of maps, whatever those called.
fn work(profile: &Profile, result: &mut Attribution) {
    let mut rows: HashMap<WorkKey, Work> = HashMap::new();
    for sample in &profile.samples {
        let mut grows = false;
        // The innermost function of the user's called the outermost of the runtime's.
        let mut outermost = None;
        let mut caller = None;
        for (_, line) in frames(profile, sample) {
            let Some(line) = line else {
                outermost = None;
                continue;
            };
            if !serves_runtime(&line.function) {
                caller = Some(line);
                break;
            }
            let operation = operation(&line.function);
            grows |= operation == Some(Operation::Growth);
            outermost = operation.map(|operation| (line, operation));
        }
        let Some((call, operation)) = outermost else {
            continue;
        };
        let operation = match grows {
            true => Operation::Growth,
            false => operation,
        };
        let at = caller.unwrap_or(call);
        let key = (
            shown(&at.function),
            at.file.clone(),
            at.line,
            operation,
            call.function.clone(),
        );
        let row = rows.entry(key).or_insert_with(|| Work {
            function: shown(&at.function),
            file: at.file.clone(),
            line: at.line,
            operation,
            call: call.function.clone(),
            values: vec![0; profile.sample_types.len()],
            labels: Vec::new(),
        });
        for (sum, value) in row.values.iter_mut().zip(&sample.values) {
            *sum = sum.saturating_add(*value);
        }
        let last = sample.values.last().copied().unwrap_or(0);
        for label in &sample.labels {
            let LabelValue::Text(value) = &label.value else {
                continue;
            };
            let known = row
                .labels
                .iter()
                .position(|(key, text, _)| *key == label.key && text == value);
            let room = row.labels.len() < LABELS_MAX;
            match known.and_then(|at| row.labels.get_mut(at)) {
                Some((_, _, sum)) => *sum = sum.saturating_add(last),
                None if room => {
                    row.labels.push((label.key.clone(), value.clone(), last));
                }
                None => {}
            }
        }
    }
    result.work = rows.into_values().collect();
    for row in &mut result.work {
        row.labels
            .sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
    }
    result.work.sort_by(|a, b| {
        let key = |row: &Work| row.values.last().copied().unwrap_or(0);
        key(b).cmp(&key(a)).then_with(|| {
            (&a.function, a.line, a.operation, &a.call).cmp(&(
                &b.function,
                b.line,
                b.operation,
                &b.call,
            ))
        })
    });
}

impl Site {
    /// A site nothing else is known of.
    pub(super) fn plain(place: Place, evidence: Evidence, figures: Figures) -> Self {
        Self {
            place,
            evidence,
            calls: Vec::new(),
            figures,
            sampled_objects: None,
            callers: Vec::new(),
            most: i64::MIN,
        }
    }
}

impl Attribution {
    /// One of these sites alone.
    pub(super) fn plain(kind: Kind, origin: Origin, sites: Vec<Site>) -> Self {
        Self {
            kind,
            origin,
            sites,
            maps: Figures::default(),
            other: Figures::default(),
            unknown: Figures::default(),
            reasons: Vec::new(),
            work: Vec::new(),
            totals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// All that was allocated or is in use.
    #[must_use]
    pub fn total(&self) -> Figures {
        let mut total = self.maps;
        total.add(self.other);
        total.add(self.unknown);
        total
    }

    /// What this profile can and cannot say.
    fn tell(&mut self, profile: &Profile) {
        let (sites, work) = (self.sites.is_empty(), self.work.is_empty());
        let mut tell = |text: &str| self.notes.push(text.to_owned());
        match (profile.kind, profile.origin) {
            (Kind::Heap, origin) => {
                if origin == Origin::Proto && !sites {
                    tell(
                        "Of this format the runtime's functions are left out: a call into a map \
                         counts with all it allocates, which includes the few objects a \
                         collection that begins there needs. debug=1 tells those apart.",
                    );
                }
                if profile.duration_ns > 0 {
                    tell(
                        "It is the difference between two times (?seconds=): what was freed in \
                         between makes figures in use smaller, even below zero.",
                    );
                }
                if profile.period > 1 {
                    tell(&format!(
                        "Figures are estimates from samples: one for each {} bytes allocated.",
                        profile.period
                    ));
                }
                tell(LATE);
                tell("Heap profiles have no labels of goroutines.");
            }
            (Kind::Cpu, _) => tell(
                "Time in a function of maps includes what it calls: hashing, comparing, \
                 allocating, helping the collector.",
            ),
            (Kind::Block | Kind::Mutex, _) => {
                if !work {
                    tell(
                        "What stands here are locks of the runtime's own, such as its allocator's.",
                    );
                }
                tell(
                    "Maps have no lock that is waited for; look for the one around the map in \
                     the program's own functions.",
                );
            }
            _ => {}
        }
    }
}
