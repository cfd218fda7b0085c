//! One model for files and memory.

use std::rc::Rc;

use serde::Serialize;

/// What a profile counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Allocations, in use and in all: `heap` and `allocs`.
    Heap,
    /// Goroutines by stack.
    Goroutine,
    /// Waiting for channels, locks and groups.
    Block,
    /// Holding locks that others waited for.
    Mutex,
    /// CPU time.
    Cpu,
    /// Threads by the stack that made them.
    ThreadCreate,
    /// Something else, by its sample types.
    Other,
}

/// Where a profile comes from, and so which frames it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A protobuf file: the runtime's own frames at the leaf of an allocation are left out
    /// (runtime/pprof/protomem.go).
    Proto,
    /// The text of `debug=1`: raw program counters, values as sampled.
    Text,
    /// The runtime's own records, read from the memory of a process or a core.
    Memory,
}

/// A profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What it counts.
    pub kind: Kind,
    /// Where it comes from.
    pub origin: Origin,
    /// Names and units of a sample's values.
    pub sample_types: Vec<ValueType>,
    /// Bytes, nanoseconds or events between two samples (of `heap`, `MemProfileRate`).
    pub period: i64,
    /// The period's name and unit.
    pub period_type: Option<ValueType>,
    /// Nanoseconds since 1970, as the profile has it. Of CPU profiles the begin, of windows
    /// (`?seconds=`) of other kinds the end, else when it was written.
    pub time_ns: Option<i64>,
    /// The window in nanoseconds; 0 for a state.
    pub duration_ns: i64,
    /// The last collection's end in nanoseconds since 1970: what a heap profile describes.
    pub last_gc_ns: Option<i64>,
    /// Stacks with values.
    pub samples: Vec<Sample>,
    /// Places in code, named by index.
    pub locations: Vec<Location>,
    /// The executable, where the profile names it.
    pub program: Option<Rc<str>>,
    /// Its build ID, where the profile has it.
    pub build_id: Option<Rc<str>>,
    /// How addresses relate to those the executable is linked at.
    pub placement: Placement,
    /// Sentences for the reader: what was cut, or contradicts itself.
    pub notes: Vec<String>,
}

/// Why profiles are not of one program, as far as they tell: by build ID, else by the name of
/// the program's file. Texts tell neither.
pub(crate) fn different<'p>(
    profiles: impl Iterator<Item = (&'p str, &'p Profile)>,
) -> Option<String> {
    let known: Vec<_> = profiles.collect();
    for (index, (name, profile)) in known.iter().enumerate() {
        for (other, second) in known.get(index + 1..).unwrap_or_default() {
            let differ = match (&profile.build_id, &second.build_id) {
                (Some(one), Some(two)) if !one.is_empty() && !two.is_empty() => one != two,
                _ => match (&profile.program, &second.program) {
                    (Some(one), Some(two)) => one.rsplit('/').next() != two.rsplit('/').next(),
                    _ => false,
                },
            };
            if differ {
                let program = |of: &Profile| of.program.as_deref().unwrap_or("?").to_owned();
                return Some(format!(
                    "{name} is of {} and {other} of {}, another program or another build of it",
                    program(profile),
                    program(second)
                ));
            }
        }
    }
    None
}

/// What is known of where the executable was loaded. If nothing is, addresses are those it is
/// linked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Files in memory, of a protobuf profile.
    pub mappings: Vec<Mapping>,
    /// Functions at addresses, of a text.
    pub anchors: Vec<Anchor>,
}

/// A file in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The one past its last.
    pub limit: u64,
    /// Where in the file the first stands.
    pub offset: u64,
    /// The file.
    pub file: Rc<str>,
    /// Its build ID, if the profile has it.
    pub build_id: Option<Rc<str>>,
}

/// A function that was seen at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The address.
    pub address: u64,
    /// How far behind the first instruction of the function that is.
    pub inside: u64,
    /// The function as Go names it; of inlined ones it is not the one that has the code.
    pub function: Rc<str>,
}

/// A value's name and unit: `inuse_space`, `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueType {
    /// The name.
    pub name: Rc<str>,
    /// The unit.
    pub unit: Rc<str>,
}

/// A stack with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Indices into [`Profile::locations`], leaf first.
    pub stack: Rc<[u32]>,
    /// As many as there are sample types. Sampled ones are scaled to what they stand for.
    pub values: Vec<i64>,
    /// The values as sampled, where they were scaled by us.
    pub raw: Option<Vec<i64>>,
    /// Labels of the goroutine, and `bytes` of heap profiles.
    pub labels: Vec<Label>,
}

/// A label of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its key.
    pub key: Rc<str>,
    /// Its value.
    pub value: LabelValue,
}

/// A label's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelValue {
    /// A text.
    Text(Rc<str>),
    /// A number and its unit.
    Number(i64, Rc<str>),
}

/// A place in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The address, inside the call instruction (of return addresses, one less); 0 if the
    /// profile has none. As it was loaded; [`Profile::placement`] leads to the executable.
    pub address: u64,
    /// Functions, inlined ones first. Empty if nobody named them yet. In text and memory each
    /// inlined call has an address, so a location, of its own.
    pub lines: Vec<Line>,
}

/// A line of code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The function as Go names it.
    pub function: Rc<str>,
    /// Its file.
    pub file: Rc<str>,
    /// The line; 0 if unknown.
    pub line: i64,
}
