//! The commands and their options, as data.

/// A command of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// `go-map`: what is known of the target, and the list of commands.
    Status,
    /// `go-map-buckets`: the walk, bucket by bucket.
    Buckets,
    /// `go-map-diff`: two snapshots compared.
    Diff,
    /// `go-map-entries`: keys and elems.
    Entries,
    /// `go-map-layout`: one bucket or group as the runtime lays it out.
    Layout,
    /// `go-map-pprof`: the runtime's profiles, out of memory.
    Pprof,
    /// `go-map-ring`: the flight recorder.
    Ring,
    /// `go-map-scan`: every map of the process.
    Scan,
    /// `go-map-snapshot`: maps as they are, saved.
    Snapshot,
    /// `go-map-stats`: the summary and the verdict.
    Stats,
    /// `go-map-timeline`: snapshots, events, traces and profiles on one clock.
    Timeline,
    /// `go-map-trace`: the trace as it stands.
    Trace,
    /// `go-map-trace arm`: allocations and frees in the program's own execution traces.
    TraceArm,
    /// `go-map-trace disarm`: as it was.
    TraceDisarm,
    /// `go-map-trace report`: what an event file tells.
    TraceReport,
    /// `go-map-trace start`: events while the program runs.
    TraceStart,
    /// `go-map-trace status`: the same as `go-map-trace`.
    TraceStatus,
    /// `go-map-trace stop`: the end of it.
    TraceStop,
    /// `go-map-writers`: who is in a map operation.
    Writers,
}

/// What a command takes besides options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Nothing.
    None,
    /// Exactly one expression, spaces included.
    One,
    /// One expression or the name of a map type.
    OneOrType,
    /// One expression or none.
    Optional,
    /// One or more expressions, separated by spaces outside quotes and brackets.
    Many,
    /// One or more expressions, or none where an option stands for all.
    ManyOrAll,
    /// Any number of expressions.
    Any,
    /// The name of one file.
    File,
    /// One file or two.
    Files,
    /// One of these words, or none.
    Word(&'static [&'static str]),
}

impl Operand {
    /// `none`, `one`, `optional`, `many`, `any`, `file`, `files` or `word`: what the Python
    /// shells ask.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One | Self::OneOrType => "one",
            Self::Optional => "optional",
            Self::Many | Self::ManyOrAll => "many",
            Self::Any => "any",
            Self::File => "file",
            Self::Files => "files",
            Self::Word(_) => "word",
        }
    }

    /// As the usage line spells it; empty for [`Operand::None`].
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::None => "",
            Self::One => "EXPR",
            Self::Optional => "[EXPR]",
            Self::OneOrType => "EXPR|TYPE",
            Self::Many | Self::ManyOrAll => "EXPR...",
            Self::Any => "[EXPR]...",
            Self::File => "FILE",
            Self::Files => "A [B]",
            Self::Word(_) => "[KIND]",
        }
    }
}

/// What an option sets; the parser's handle on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionId {
    /// `-all`
    All,
    /// `-all` that is no row count
    AllMaps,
    /// `-allow-write`
    AllowWrite,
    /// `-buckets`
    Buckets,
    /// `-cpu`
    Cpu,
    /// `-contention`
    Contention,
    /// `-density`
    Density,
    /// `-engine`
    Engine,
    /// `-events`
    Events,
    /// `-every`
    Every,
    /// `-force`
    Force,
    /// `-garbage`
    Garbage,
    /// `-heap`
    Heap,
    /// `-heat`
    Heat,
    /// `-holders`
    Holders,
    /// `-json`
    Json,
    /// `-key`
    Key,
    /// `-limit` and `-top`
    Limit,
    /// `-max`
    Max,
    /// `-min`
    Min,
    /// `-on`
    On,
    /// `-only`
    Only,
    /// `-op`
    Ops,
    /// `-o`
    Output,
    /// `-type` that is a pattern
    Pattern,
    /// `-pprof`
    Pprof,
    /// `-quick`
    Quick,
    /// `-range`
    Range,
    /// `-rate`
    Rate,
    /// `-ring`
    Ring,
    /// `-scan`
    Scan,
    /// `-snapshot`
    Snapshot,
    /// `-sort`
    Sort,
    /// `-stack`
    Stack,
    /// `-trace`
    Trace,
    /// `-type`
    Type,
}

/// The value an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// None: the option is a switch.
    Flag,
    /// Free text; the placeholder names it.
    Text(&'static str),
    /// The name of a file; the option may be given again.
    Files,
    /// The name of a Go type; TAB completes it as gdb completes expressions.
    Type,
    /// A row count, `unlimited` included.
    Count,
    /// `A:B`, `A:` or `:B`.
    Range,
    /// Bytes, or with K, M, G, T multiples of 1024.
    Size,
    /// One of these words, or a unique abbreviation.
    Choice(&'static [&'static str]),
    /// Some of these words, or unique abbreviations, separated by commas.
    Choices(&'static [&'static str]),
    /// A number, 1 or more unless the option says otherwise; the placeholder names it.
    Number(&'static str),
}

impl Value {
    /// As usage and help spell it; `None` for a switch.
    #[must_use]
    pub fn placeholder(self) -> Option<String> {
        match self {
            Self::Flag => None,
            Self::Text(name) => Some(name.to_owned()),
            Self::Files => Some("FILE".to_owned()),
            Self::Type => Some("TYPE".to_owned()),
            Self::Count => Some("N".to_owned()),
            Self::Range => Some("A:B".to_owned()),
            Self::Size => Some("SIZE".to_owned()),
            Self::Choice(words) => Some(words.join("|")),
            Self::Choices(words) => Some(words.join("|") + "[,...]"),
            Self::Number(name) => Some(name.to_owned()),
        }
    }
}

/// One option of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionDefinition {
    /// What it sets.
    pub id: OptionId,
    /// Its name without the dash.
    pub name: &'static str,
    /// The value it takes.
    pub value: Value,
    /// What it does, in sentences.
    pub help: &'static str,
}

/// A command line worth showing, and what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The line as typed.
    pub line: &'static str,
    /// What it shows, in a sentence.
    pub shows: &'static str,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Which one.
    pub command: Command,
    /// Its name in gdb.
    pub name: &'static str,
    /// The first line of its help: one sentence.
    pub summary: &'static str,
    /// What it takes besides options.
    pub operand: Operand,
    /// Its options, in alphabetical order.
    pub options: &'static [OptionDefinition],
    /// Paragraphs after the usage line.
    pub about: &'static [&'static str],
    /// Command lines to copy.
    pub examples: &'static [Example],
    /// Words explained and limits stated, after the examples.
    pub notes: &'static [&'static str],
}

impl Definition {
    /// `go-map-buckets [OPTION]... [--] EXPR`.
    #[must_use]
    pub fn usage(&self) -> String {
        match self.operand {
            Operand::None => format!("{} [OPTION]...", self.name),
            Operand::Word(words) => format!("{} [OPTION]... [{}]", self.name, words.join("|")),
            Operand::Optional => format!("{} [OPTION]... [[--] EXPR]", self.name),
            operand => format!("{} [OPTION]... [--] {}", self.name, operand.placeholder()),
        }
    }

    /// Its option with this id.
    #[must_use]
    pub fn option(&self, id: OptionId) -> Option<&'static OptionDefinition> {
        self.options.iter().find(|option| option.id == id)
    }
}

const JSON: OptionDefinition = OptionDefinition {
    id: OptionId::Json,
    name: "json",
    value: Value::Flag,
    help: "Print one JSON document and nothing else.",
};

const JSON_LIST: OptionDefinition = OptionDefinition {
    help: "Print one JSON document and nothing else; it lists all unless -limit is given.",
    ..JSON
};

const TYPE: OptionDefinition = OptionDefinition {
    id: OptionId::Type,
    name: "type",
    value: Value::Type,
    help: "The map's Go type, for an EXPR that is only an address. \
           Quote a type that holds spaces.",
};

const LIMIT_BUCKETS: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List at most N buckets; 0 or unlimited lists all. \
           The default is `show go-map limit`.",
};

const LIMIT_ENTRIES: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List at most N entries; 0 or unlimited lists all. \
           The default is `show go-map limit`.",
};

const ALL_BUCKETS: OptionDefinition = OptionDefinition {
    id: OptionId::All,
    name: "all",
    value: Value::Flag,
    help: "List every bucket.",
};

const ALL_ENTRIES: OptionDefinition = OptionDefinition {
    id: OptionId::All,
    name: "all",
    value: Value::Flag,
    help: "List every entry.",
};

const CONTENTION: OptionDefinition = OptionDefinition {
    id: OptionId::Contention,
    name: "contention",
    value: Value::Flag,
    help: "Instead of one profile, tell which functions wait for locks and also work on maps: \
           from all of them.",
};

const LIMIT_SITES: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List at most N rows; 0 or unlimited lists all. The default is 20, with -contention 10.",
};

const OUTPUT_PROFILE: OptionDefinition = OptionDefinition {
    id: OptionId::Output,
    name: "o",
    value: Value::Text("FILE"),
    help: "Write the profile to FILE too, for go tool pprof.",
};

const RANGE: OptionDefinition = OptionDefinition {
    id: OptionId::Range,
    name: "range",
    value: Value::Range,
    help: "List buckets A up to, not including, B, as a Go slice would; \
           A: and :B leave one end open.",
};

const ONLY: OptionDefinition = OptionDefinition {
    id: OptionId::Only,
    name: "only",
    value: Value::Choice(&["empty", "full", "overflow", "tombstone", "old"]),
    help: "List only buckets without a live slot (empty), with 8 live slots (full), \
           on an overflow chain (overflow), with a tombstone (tombstone) or \
           not yet moved by a growth (old).",
};

const HEAT: OptionDefinition = OptionDefinition {
    id: OptionId::Heat,
    name: "heat",
    value: Value::Flag,
    help: "Show how full the whole map is, one cell per run of buckets, instead of a list; \
           -limit or -all adds the list.",
};

const KEY: OptionDefinition = OptionDefinition {
    id: OptionId::Key,
    name: "key",
    value: Value::Text("K"),
    help: "Find the entry of this key. K is written as the list shows keys; \
           a string may stand without its quotes.",
};

const ALL_MAPS: OptionDefinition = OptionDefinition {
    id: OptionId::All,
    name: "all",
    value: Value::Flag,
    help: "List every map.",
};

const FORCE: OptionDefinition = OptionDefinition {
    id: OptionId::Force,
    name: "force",
    value: Value::Flag,
    help: "Overwrite the FILE of -pprof.",
};

const GARBAGE: OptionDefinition = OptionDefinition {
    id: OptionId::Garbage,
    name: "garbage",
    value: Value::Flag,
    help: "List maps, too, that the program cannot reach any more; \
           the next collection frees them.",
};

const HOLDERS: OptionDefinition = OptionDefinition {
    id: OptionId::Holders,
    name: "holders",
    value: Value::Flag,
    help: "Find who holds each listed map: a variable, a field, a goroutine.",
};

const JSON_MAPS: OptionDefinition = OptionDefinition {
    help: "Print one JSON document and nothing else; it lists all maps unless -top is given.",
    ..JSON
};

const MIN: OptionDefinition = OptionDefinition {
    id: OptionId::Min,
    name: "min",
    value: Value::Size,
    help: "Only maps that take at least SIZE bytes; 64K, 1.5M, 2G are KiB, MiB, GiB.",
};

const PPROF: OptionDefinition = OptionDefinition {
    id: OptionId::Pprof,
    name: "pprof",
    value: Value::Text("FILE"),
    help: "Write a profile for go tool pprof, too; an existing FILE is kept unless \
           -force is given.",
};

const QUICK: OptionDefinition = OptionDefinition {
    id: OptionId::Quick,
    name: "quick",
    value: Value::Flag,
    help: "Find the maps and tell live ones from garbage, and follow no types: in a large heap \
           several times faster. Types are then known where the allocator noted them.",
};

const HOLDERS_OF_USED: OptionDefinition = OptionDefinition {
    help: "Find what holds the maps, however large the heap is; up to 64 MiB that is done \
           without being asked.",
    ..HOLDERS
};

const LIMIT_GOROUTINES: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List at most N goroutines; 0 or unlimited lists all. \
           The default is `show go-map limit`.",
};

const QUICK_USED: OptionDefinition = OptionDefinition {
    help: "Look at the goroutines alone: do not search the heap for maps that are being \
           written and for what holds them.",
    ..QUICK
};

const SORT: OptionDefinition = OptionDefinition {
    id: OptionId::Sort,
    name: "sort",
    value: Value::Choice(&["reclaimable", "allocated", "len", "holes", "address"]),
    help: "Rank by this; the default is reclaimable.",
};

const TOP: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "top",
    value: Value::Count,
    help: "List the first N maps; 0 or unlimited lists all. The default is 20.",
};

const ALL_RECORDS: OptionDefinition = OptionDefinition {
    id: OptionId::All,
    name: "all",
    value: Value::Flag,
    help: "List every event.",
};

const LIMIT_RECORDS: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List the last N events; 0 or unlimited lists all. \
           The default is `show go-map limit`.",
};

const OPS: OptionDefinition = OptionDefinition {
    id: OptionId::Ops,
    name: "op",
    value: Value::Text("OP[,OP]"),
    help: "Only events of these kinds: create, grow, grow-same-size, evacuated, overflow, split, \
           directory, table, clear, clone, release, free.",
};

const OUTPUT_RECORDS: OptionDefinition = OptionDefinition {
    id: OptionId::Output,
    name: "o",
    value: Value::Text("FILE"),
    help: "Write the events to FILE, too, one JSON object a line, packed if its name ends in .gz; \
           an existing FILE is kept unless -force is given.",
};

const PATTERN: OptionDefinition = OptionDefinition {
    id: OptionId::Pattern,
    name: "type",
    value: Value::Text("REGEX"),
    help: "Only maps whose type, as Go prints it, has a part that fits; brackets may stand for \
           themselves, as in map[string]int. Quote what holds spaces.",
};

const JSON_CHANGES: OptionDefinition = OptionDefinition {
    help: "Print one JSON document and nothing else; it lists all maps, unchanged ones, too, \
           unless -top is given.",
    ..JSON
};

const ALL_CHANGES: OptionDefinition = OptionDefinition {
    id: OptionId::All,
    name: "all",
    value: Value::Flag,
    help: "List every map, those that are unchanged or on one side only, too.",
};

const TOP_CHANGES: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "top",
    value: Value::Count,
    help: "List the first N changes; 0 or unlimited lists all. The default is 10.",
};

const SAVE_BUCKETS: OptionDefinition = OptionDefinition {
    id: OptionId::Buckets,
    name: "buckets",
    value: Value::Flag,
    help: "Save how many slots of each bucket are live, too: a diff then tells how many buckets \
           were emptied.",
};

const FORCE_SNAPSHOT: OptionDefinition = OptionDefinition {
    help: "Overwrite FILE.",
    ..FORCE
};

const OUTPUT: OptionDefinition = OptionDefinition {
    id: OptionId::Output,
    name: "o",
    value: Value::Text("FILE"),
    help: "The file to save to; compressed if its name ends in .gz. An existing FILE is kept \
           unless -force is given.",
};

const JSON_SAVED: OptionDefinition = OptionDefinition {
    help: "Print what was saved as one JSON document and nothing else.",
    ..JSON
};

const ALL_OF_PROCESS: OptionDefinition = OptionDefinition {
    id: OptionId::Scan,
    name: "scan",
    value: Value::Flag,
    help: "Save every map of the process, as go-map-scan finds them, instead of EXPR; \
           where their blocks lie is not saved then.",
};

const HOLDERS_SAVED: OptionDefinition = OptionDefinition {
    help: "With -scan, find who holds each map, not only the 1,000 largest: maps whose header \
           is replaced are recognised by that.",
    ..HOLDERS
};

const QUICK_SAVED: OptionDefinition = OptionDefinition {
    help: "With -scan, follow no types: in a large heap several times faster. \
           Types are then known where the allocator noted them.",
    ..QUICK
};

const EVERY_MAP: OptionDefinition = OptionDefinition {
    id: OptionId::AllMaps,
    name: "all",
    value: Value::Flag,
    help: "Trace every map of the program; the same as naming none.",
};

const DENSITY: OptionDefinition = OptionDefinition {
    id: OptionId::Density,
    name: "density",
    value: Value::Flag,
    help: "Walk the map at each event, to record its hole density; dear for large maps.",
};

const ENGINE: OptionDefinition = OptionDefinition {
    id: OptionId::Engine,
    name: "engine",
    value: Value::Choice(&["auto", "break", "uprobe", "watch"]),
    help: "How to see events. break: breakpoints in the runtime; has stacks and labels, costs 0.15 \
           to 0.25 ms an event. watch: hardware watchpoints on at most 4 named maps; sees only \
           when a map's storage is replaced as a whole (a Swiss map: its directory). uprobe: the \
           kernel's probes, for root on Linux; about 2 us an event, no labels. The default, auto, \
           takes uprobe where it can for -on assign and delete, else break.",
};

const EVERY: OptionDefinition = OptionDefinition {
    id: OptionId::Every,
    name: "every",
    value: Value::Number("N"),
    help: "Record one event of N.",
};

const ALLOW_WRITE: OptionDefinition = OptionDefinition {
    id: OptionId::AllowWrite,
    name: "allow-write",
    value: Value::Flag,
    help: "Permit the write to the program's memory: 4 bytes, told with their address. Without it \
           nothing is written.",
};

const FORCE_OUTPUT: OptionDefinition = OptionDefinition {
    id: OptionId::Force,
    name: "force",
    value: Value::Flag,
    help: "Overwrite the FILE of -o.",
};

const MAX: OptionDefinition = OptionDefinition {
    id: OptionId::Max,
    name: "max",
    value: Value::Number("N"),
    help: "End the trace after N events; the program goes on.",
};

const OUTPUT_EVENTS: OptionDefinition = OptionDefinition {
    id: OptionId::Output,
    name: "o",
    value: Value::Text("FILE"),
    help: "Write events to FILE as JSON Lines, gzipped if its name ends in .gz, instead of to the \
           terminal. An existing FILE is kept unless -force is given.",
};

const ON: OptionDefinition = OptionDefinition {
    id: OptionId::On,
    name: "on",
    value: Value::Choices(&["growth", "assign", "delete", "create", "overflow", "all"]),
    help: "What to record: growth (the default: larger or new storage, splits of tables, clear), \
           assign (every write), delete (every delete and clear), create (every map that is made, \
           and the first group of a Swiss map), overflow (every overflow bucket of a classic map), \
           or several, separated by commas.",
};

const RATE: OptionDefinition = OptionDefinition {
    id: OptionId::Rate,
    name: "rate",
    value: Value::Number("HZ"),
    help: "Record at most HZ events a second. The others are counted; they cost the program as \
           much.",
};

const STACK: OptionDefinition = OptionDefinition {
    id: OptionId::Stack,
    name: "stack",
    value: Value::Number("DEPTH"),
    help: "Record DEPTH calls of each stack, inlined ones included; 0 for none. The default is 16.",
};

const SNAPSHOTS: OptionDefinition = OptionDefinition {
    id: OptionId::Snapshot,
    name: "snapshot",
    value: Value::Files,
    help: "A file of go-map-snapshot, or the document of go-map-scan -json or go-map-stats -json. \
           May be given several times.",
};

const EVENT_FILES: OptionDefinition = OptionDefinition {
    id: OptionId::Events,
    name: "events",
    value: Value::Files,
    help: "A file of go-map-trace start -o. May be given several times.",
};

const RING_FILES: OptionDefinition = OptionDefinition {
    id: OptionId::Ring,
    name: "ring",
    value: Value::Files,
    help: "A file of go-map-ring -o. May be given several times.",
};

const TRACES: OptionDefinition = OptionDefinition {
    id: OptionId::Trace,
    name: "trace",
    value: Value::Files,
    help: "An execution trace: of runtime/trace, go test -trace or /debug/pprof/trace. With \
           GODEBUG=traceallocfree=1 (Go 1.23 and later) it tells of every block. May be given \
           several times.",
};

const HEAPS: OptionDefinition = OptionDefinition {
    id: OptionId::Heap,
    name: "heap",
    value: Value::Files,
    help: "A heap or allocs profile, protobuf or debug=1; the latter says when the collections \
           were. May be given several times.",
};

const CPUS: OptionDefinition = OptionDefinition {
    id: OptionId::Cpu,
    name: "cpu",
    value: Value::Files,
    help: "A CPU profile. May be given several times.",
};

const OUTPUT_TIMELINE: OptionDefinition = OptionDefinition {
    id: OptionId::Output,
    name: "o",
    value: Value::Text("FILE"),
    help: "Write it to FILE, by the end of its name: .html (a page of its own), .pftrace \
           (Perfetto), .trace.json (Chrome's trace events), .json (all figures), .pb.gz (waste, \
           for go tool pprof); .gz packs any of them. An existing FILE is kept unless -force is \
           given.",
};

const JSON_TIMELINE: OptionDefinition = OptionDefinition {
    help: "Print all figures as one JSON document and nothing else.",
    ..JSON
};

const LIMIT_EVENTS: OptionDefinition = OptionDefinition {
    id: OptionId::Limit,
    name: "limit",
    value: Value::Count,
    help: "List at most N maps, growths of each map and stacks; 0 or unlimited lists all. \
           The default suits a screen.",
};

/// The explanation of EXPR that every map command shares.
const EXPRESSION: &str = "EXPR is any gdb expression whose value is a Go map: a variable, a field, \
     *p, $map, or an address together with -type. A pointer to a map and an interface that holds \
     one are followed. Options may stand before or after it; their names may be abbreviated.";

const HOLES: &str = "A hole is a slot without a live entry; hole density is holes / capacity. \
     A tombstone is a hole left by a delete: lookups must step over it. \
     Empty density is the share of buckets without any live slot: below 5 % is healthy \
     (inserts alone reach about 4 %), up to 20 % light, above that severe.";

const WORDS: &str = "A bucket is a unit of 8 slots: a main or overflow bucket of a classic map \
     (Go 1.23 and older), a group of a Swiss map (Go 1.24 and newer).";

const DEFINITIONS: &[Definition] = &[
    Definition {
        command: Command::Status,
        name: "go-map",
        summary: "Show what gomapscope knows of the target, and its commands.",
        operand: Operand::None,
        options: &[JSON],
        about: &[
            "Tells the Go version, the map family, where type layouts come from, \
             what is missing and how to get it.",
        ],
        examples: &[
            Example {
                line: "go-map",
                shows: "State of the target and list of commands.",
            },
            Example {
                line: "| go-map -json | jq .go_version",
                shows: "The Go version of the program, for a script.",
            },
        ],
        notes: &[],
    },
    Definition {
        command: Command::Buckets,
        name: "go-map-buckets",
        summary: "List the buckets of a Go map: address, slots, fill, chain or table.",
        operand: Operand::One,
        options: &[
            ALL_BUCKETS,
            HEAT,
            JSON_LIST,
            LIMIT_BUCKETS,
            ONLY,
            RANGE,
            TYPE,
        ],
        about: &[EXPRESSION],
        examples: &[
            Example {
                line: "go-map-buckets main.cache -limit 4",
                shows: "The first four buckets.",
            },
            Example {
                line: "go-map-buckets main.cache -only tombstone -all",
                shows: "Every bucket that a delete left a tombstone in.",
            },
            Example {
                line: "go-map-buckets -heat -- m[a - 1]",
                shows: "How full the inner map is, from its first bucket to its last.",
            },
            Example {
                line: "go-map-buckets 0xc000012120 -type 'map[string]struct {}' -range 96:128",
                shows: "32 buckets of the map at an address.",
            },
        ],
        notes: &[WORDS, HOLES],
    },
    Definition {
        command: Command::Diff,
        name: "go-map-diff",
        summary: "Compare two snapshots of maps, or one with the present.",
        operand: Operand::Files,
        options: &[ALL_CHANGES, JSON_CHANGES, TOP_CHANGES],
        about: &[
            "A and B are files of go-map-snapshot; the documents of go-map-scan -json and \
             go-map-stats -json will do, too. Without B, what A has is looked up in the process \
             as it is now: its expressions, or all maps. Outside gdb: gomapscope diff A B.",
            "A map is the same where its header has the same address and its type agrees, else \
             where its expression or holder is the same: it is then called moved. Of two \
             processes, names alone are compared.",
        ],
        examples: &[
            Example {
                line: "go-map-diff before.json",
                shows: "What became of those maps until now.",
            },
            Example {
                line: "go-map-diff monday.json.gz tuesday.json.gz -top 3",
                shows: "The three largest changes between two files.",
            },
            Example {
                line: "| go-map-diff before.json -json | jq '.change.allocated'",
                shows: "How many bytes more all of them take, for a script.",
            },
        ],
        notes: &[
            "grown: more slots. filled: more entries in the same storage. emptied: fewer entries \
             in the same storage, which Go does not give back. shrunk: fewer slots. rebuilt: \
             fewer slots and a new header. moved: as many slots elsewhere. changed: only bytes \
             or tombstones differ. new, gone: on one side only, or nil on the other.",
        ],
    },
    Definition {
        command: Command::Entries,
        name: "go-map-entries",
        summary: "List the keys and elems of a Go map, or find one key.",
        operand: Operand::One,
        options: &[ALL_ENTRIES, JSON_LIST, KEY, LIMIT_ENTRIES, TYPE],
        about: &[
            EXPRESSION,
            "Entries come in the order of the walk, in Go syntax; they are right in every state \
             of a growing map.",
        ],
        examples: &[
            Example {
                line: "go-map-entries main.users",
                shows: "The first entries.",
            },
            Example {
                line: "go-map-entries main.users -key \"J. Doe\"",
                shows: "The entry of one key, without hashing in the target.",
            },
            Example {
                line: "| go-map-entries main.users -json | jq '.entries | length'",
                shows: "Every entry, for a script.",
            },
        ],
        notes: &[],
    },
    Definition {
        command: Command::Layout,
        name: "go-map-layout",
        summary: "Show one bucket of a Go map as the runtime lays it out.",
        operand: Operand::OneOrType,
        options: &[JSON, TYPE],
        about: &[
            "Offsets, sizes, padding, bytes per slot, and which keys or elems are stored \
             indirectly (those over 128 bytes).",
            "EXPR is any gdb expression whose value is a Go map; TYPE is the name of a map type, \
             as Go or gdb spells it.",
        ],
        examples: &[
            Example {
                line: "go-map-layout main.cache",
                shows: "The bucket or group of that map's type.",
            },
            Example {
                line: "go-map-layout map[string]bool",
                shows: "What a set written as map[string]bool costs per slot.",
            },
        ],
        notes: &[WORDS],
    },
    Definition {
        command: Command::Pprof,
        name: "go-map-pprof",
        summary: "Tell what maps take from the profiles that Go's runtime keeps in memory.",
        operand: Operand::Word(&["heap", "goroutine", "block", "mutex"]),
        options: &[
            CONTENTION,
            FORCE_OUTPUT,
            JSON_LIST,
            LIMIT_SITES,
            OUTPUT_PROFILE,
        ],
        about: &[
            "Go's runtime notes one allocation in 512 KiB with its calls (runtime.MemProfileRate), \
             and all goroutines; waits for locks and channels if the program asked for it \
             (runtime.SetBlockProfileRate, SetMutexProfileFraction). This command reads those \
             records out of a process, a core or a remote one: the program need not serve \
             them. KIND is heap unless it is given.",
            "Files from /debug/pprof lack the runtime's own functions; memory has them, so \
             what is of maps is known and not guessed.",
        ],
        examples: &[
            Example {
                line: "go-map-pprof",
                shows: "Bytes of maps by the call that allocated them.",
            },
            Example {
                line: "go-map-pprof goroutine",
                shows: "Goroutines that are in functions of maps.",
            },
            Example {
                line: "go-map-pprof -contention",
                shows: "Which functions wait for a lock and work on a map.",
            },
            Example {
                line: "go-map-pprof heap -o heap.pb.gz",
                shows: "The whole profile for go tool pprof -http=: heap.pb.gz.",
            },
        ],
        notes: &[
            "The heap is as of the last collection that was completed, as runtime.MemProfile has \
             it, and sampled bytes are scaled to what they stand for. A program that never uses \
             its heap profile has none: the linker turns it off.",
        ],
    },
    Definition {
        command: Command::Ring,
        name: "go-map-ring",
        summary: "List what the flight recorder in the program kept: growths, splits, frees.",
        operand: Operand::Optional,
        options: &[
            ALL_RECORDS,
            FORCE_OUTPUT,
            JSON_LIST,
            LIMIT_RECORDS,
            OUTPUT_RECORDS,
            OPS,
            TYPE,
        ],
        about: &[
            "The program must be built with the overlay that `gomapscope instrument` writes. \
             Then it keeps the last 65,536 events (or as many as asked for) of its maps' storage \
             in memory, and this command reads them: in a running program, a core or a remote \
             one, with and without debug information.",
            "With EXPR, any gdb expression whose value is a Go map, only that map's events are \
             listed.",
        ],
        examples: &[
            Example {
                line: "go-map-ring",
                shows: "The last events, and how many of each kind there were.",
            },
            Example {
                line: "go-map-ring main.cache -op grow,split -all",
                shows: "Every growth of one map that is still in the ring.",
            },
            Example {
                line: "go-map-ring -o events.jsonl.gz",
                shows: "All of it in a file, for scripts.",
            },
        ],
        notes: &[
            "Events have the goroutine, the time (CLOCK_MONOTONIC), the address and size of what \
             was allocated or let go, and the entries of the map. A map is seen from its first \
             storage on. A record that was being written when the program stopped is counted and \
             left out.",
        ],
    },
    Definition {
        command: Command::Scan,
        name: "go-map-scan",
        summary: "Find every Go map of the process, ranked by what a rebuild would give back.",
        operand: Operand::None,
        options: &[
            ALL_MAPS, FORCE, GARBAGE, HOLDERS, JSON_MAPS, MIN, PPROF, QUICK, SORT, TOP, PATTERN,
        ],
        about: &[
            "Maps are found by the books of Go's own allocator, with and without debug \
             information, in a process or a core. Which of them are in use is found as Go's \
             collector would. Ctrl-C ends with what was found.",
        ],
        examples: &[
            Example {
                line: "go-map-scan",
                shows: "The 20 maps that waste most, and how much all waste.",
            },
            Example {
                line: "go-map-scan -type Session -min 1M -sort allocated",
                shows: "The largest maps whose type mentions Session.",
            },
            Example {
                line: "go-map-scan -pprof maps.pb.gz",
                shows: "The same for go tool pprof -http=: maps.pb.gz.",
            },
            Example {
                line: "| go-map-scan -json | jq '.totals.reclaimable'",
                shows: "The bytes that rebuilding all maps would give back, for a script.",
            },
        ],
        notes: &[
            "A rebuild is make(map[K]V, len(m)) and a copy of the entries: what that would not \
             allocate is reclaimable. A + behind a figure means at least that much: parts of the \
             map, or its exact type, are not known. go-map-stats walks one map and counts all.",
        ],
    },
    Definition {
        command: Command::Snapshot,
        name: "go-map-snapshot",
        summary: "Save what is known of maps now, to compare it later.",
        operand: Operand::ManyOrAll,
        options: &[
            SAVE_BUCKETS,
            FORCE_SNAPSHOT,
            HOLDERS_SAVED,
            JSON_SAVED,
            OUTPUT,
            QUICK_SAVED,
            ALL_OF_PROCESS,
            TYPE,
        ],
        about: &[
            "Each map is walked in full; its figures and where its blocks lie are saved, with \
             the target's clocks where they are known. Keys and elems are not saved.",
            "EXPR is any gdb expression whose value is a Go map; several are separated by \
             spaces. An expression that holds spaces is put in parentheses.",
        ],
        examples: &[
            Example {
                line: "go-map-snapshot main.cache main.users -o before.json",
                shows: "Two maps, for go-map-diff before.json later on.",
            },
            Example {
                line: "go-map-snapshot -scan -o all.json.gz",
                shows: "Every map of the process, compressed.",
            },
        ],
        notes: &[],
    },
    Definition {
        command: Command::Stats,
        name: "go-map-stats",
        summary: "Show how full a Go map is, what it wastes, and what to do about it.",
        operand: Operand::One,
        options: &[JSON, TYPE],
        about: &[EXPRESSION],
        examples: &[
            Example {
                line: "go-map-stats main.cache",
                shows: "Verdict, slots, buckets, growth, bytes, addresses.",
            },
            Example {
                line: "go-map-stats *srv.sessions.byID",
                shows: "The same for a field behind a pointer.",
            },
            Example {
                line: "| go-map-stats -json main.cache | jq .bytes.reclaimable",
                shows: "The bytes a rebuild would give back, for a script.",
            },
        ],
        notes: &[
            WORDS,
            HOLES,
            "A rebuild is make(map[K]V, len(m)) and a copy of the entries: what that would not \
             allocate is reclaimable. Go never shrinks a map by itself.",
            "A figure that could not be read in full is flagged: the verdict then begins with \
             Interrupted or Not exact.",
        ],
    },
    Definition {
        command: Command::Timeline,
        name: "go-map-timeline",
        summary: "Put maps, events, execution traces and profiles on one clock.",
        operand: Operand::Any,
        options: &[
            CPUS,
            EVENT_FILES,
            FORCE_OUTPUT,
            HEAPS,
            JSON_TIMELINE,
            OUTPUT_TIMELINE,
            RING_FILES,
            SNAPSHOTS,
            TRACES,
            TYPE,
        ],
        about: &[
            "Takes a snapshot of the maps EXPR, or of all maps, as they are now; adds the events \
             of the last go-map-trace start -o, what a flight recorder in the program kept, and \
             the files that options name. Outside gdb, gomapscope timeline FILE... takes files \
             alone and tells what each is.",
            "All times become CLOCK_MONOTONIC of the process. Each source says how, and within \
             how many nanoseconds it is right; a source of another process or boot, or without a \
             clock, is left out and says why.",
        ],
        examples: &[
            Example {
                line: "go-map-timeline main.cache -trace trace.out -o timeline.html",
                shows: "One map, with what the collector did meanwhile, as a page.",
            },
            Example {
                line: "go-map-timeline -o timeline.pftrace",
                shows: "All maps and the events so far, for ui.perfetto.dev.",
            },
            Example {
                line: "| go-map-timeline main.cache -json | jq .findings",
                shows: "What stands out, for a script.",
            },
        ],
        notes: &[
            "Execution traces of Go 1.22 and later count CLOCK_MONOTONIC in steps of 64 ns. Those \
             of Go 1.21 count CPU ticks: give a heap profile with debug=1 of the same process, \
             taken soon after, and their collections are matched. Profiles have wall clock times: \
             a snapshot, events, or a trace of Go 1.25 or later say what those are.",
        ],
    },
    Definition {
        command: Command::Trace,
        name: "go-map-trace",
        summary: "Record what happens to Go maps while the program runs.",
        operand: Operand::None,
        options: &[JSON],
        about: &[
            "go-map-trace start begins a trace, stop ends it, report tells what an event file \
             holds. Without any of these words: the trace as it stands, as go-map-trace status.",
        ],
        examples: &[Example {
            line: "go-map-trace",
            shows: "What is traced, what was recorded, what it cost.",
        }],
        notes: &[],
    },
    Definition {
        command: Command::TraceArm,
        name: "go-map-trace arm",
        summary: "Let the program's next execution trace tell allocations and frees.",
        operand: Operand::None,
        options: &[ALLOW_WRITE, JSON],
        about: &[
            "Sets runtime.debug.traceallocfree, as GODEBUG=traceallocfree=1 would have (Go 1.23 \
             and later). This is the only write that gomapscope ever does, and only with \
             -allow-write.",
            "Only a trace that begins afterwards (runtime/trace, /debug/pprof/trace) has them; \
             each allocation then costs the program some tens of nanoseconds more. gomapscope \
             trace reads the file.",
        ],
        examples: &[Example {
            line: "go-map-trace arm -allow-write",
            shows: "The address, the old bytes and the new ones.",
        }],
        notes: &[],
    },
    Definition {
        command: Command::TraceDisarm,
        name: "go-map-trace disarm",
        summary: "Put back what go-map-trace arm wrote.",
        operand: Operand::None,
        options: &[JSON],
        about: &[
            "The old value is put back only where ours still stands. A trace that is on goes on \
             as it began. A detached or abandoned program keeps what was written.",
        ],
        examples: &[Example {
            line: "go-map-trace disarm",
            shows: "The address and the value that is there again.",
        }],
        notes: &[],
    },
    Definition {
        command: Command::TraceReport,
        name: "go-map-trace report",
        summary: "Tell how maps grew, and who made them grow, from an event file.",
        operand: Operand::File,
        options: &[JSON, LIMIT_EVENTS],
        about: &[
            "FILE was written by go-map-trace start -o, or by go-map-ring -o; it may be in the \
             writing still, or have lost its end. No program is needed.",
        ],
        examples: &[
            Example {
                line: "go-map-trace report events.jsonl",
                shows: "Each map's growth over time, and the calls that caused it.",
            },
            Example {
                line: "| go-map-trace report -json events.jsonl.gz | jq '.maps[0].stacks'",
                shows: "The stacks under which the map with most new storage grew.",
            },
        ],
        notes: &[],
    },
    Definition {
        command: Command::TraceStart,
        name: "go-map-trace start",
        summary: "Begin to record growths, or writes, of Go maps.",
        operand: Operand::Any,
        options: &[
            EVERY_MAP,
            DENSITY,
            ENGINE,
            EVERY,
            FORCE_OUTPUT,
            JSON,
            MAX,
            OUTPUT_EVENTS,
            ON,
            RATE,
            STACK,
            TYPE,
        ],
        about: &[
            "Then let the program run: continue. Each event has time, goroutine, thread, stack and \
             pprof labels of who did it, and addresses, sizes and capacities of what it did. \
             Without EXPR every map is traced.",
            "A map is traced by the address it has now: name it again when the program put \
             another one in its place.",
        ],
        examples: &[
            Example {
                line: "go-map-trace start main.sessions",
                shows: "A line for each growth of that map.",
            },
            Example {
                line: "go-map-trace start -all -o growth.jsonl.gz",
                shows: "Every growth of every map, into a file.",
            },
            Example {
                line: "go-map-trace start m -on assign -max 1000 -o writes.jsonl",
                shows: "The next 1,000 writes to one map, and who does them.",
            },
        ],
        notes: &[
            "The program's results stay the same; it runs slower. go-map-trace status tells what \
             an event costs it. Kill gdb by no signal that it cannot catch while a trace by \
             breakpoints is on: a program attached to keeps them until they are removed.",
        ],
    },
    Definition {
        command: Command::TraceStatus,
        name: "go-map-trace status",
        summary: "Show what is traced, what was recorded and what it costs.",
        operand: Operand::None,
        options: &[JSON],
        about: &[
            "Duplicates are stops at the same call once more, because a signal came between; they \
             are not recorded. Lost are stops whose registers or memory could not be read, and \
             records that the kernel dropped.",
        ],
        examples: &[Example {
            line: "go-map-trace status",
            shows: "Engine, functions, counts, cost of an event.",
        }],
        notes: &[],
    },
    Definition {
        command: Command::TraceStop,
        name: "go-map-trace stop",
        summary: "End the trace: remove all breakpoints and probes, close the file.",
        operand: Operand::None,
        options: &[JSON],
        about: &["A trace ends by itself when the program exits, executes another or is detached."],
        examples: &[Example {
            line: "go-map-trace stop",
            shows: "What was recorded.",
        }],
        notes: &[],
    },
    Definition {
        command: Command::Writers,
        name: "go-map-writers",
        summary: "Tell which goroutines are in map operations, and who died of sharing a map.",
        operand: Operand::None,
        options: &[HOLDERS_OF_USED, JSON_LIST, LIMIT_GOROUTINES, QUICK_USED],
        about: &[
            "Every goroutine that is writing, deleting, clearing, reading or iterating: on which \
             map, called from where. If the process died of `concurrent map writes' or the like, \
             the answer begins with that map, who found it and who else was using it.",
            "With and without debug information, in a process or a core. A core by the kernel has \
             all of it when the program ran with GOTRACEBACK=crash.",
        ],
        examples: &[
            Example {
                line: "go-map-writers",
                shows: "The goroutines in map operations now, or the crash explained.",
            },
            Example {
                line: "| go-map-writers -json | jq '.fatal.map.address'",
                shows: "The map that a crash was about, for a script.",
            },
        ],
        notes: &[
            "exact: an argument of the call, by the compiler's own tables. strong: a variable that \
             may have changed since the call. inferred: likely by what else is known. The process \
             is stopped a while after the runtime found the concurrent use: the other goroutine \
             may have left the map by then, and the answer says so.",
        ],
    },
];

/// Every command, `go-map` first, the others in alphabetical order.
#[must_use]
pub fn definitions() -> &'static [Definition] {
    DEFINITIONS
}

/// The command of this name.
#[must_use]
pub fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sentences_and_sorted() {
        let names: Vec<_> = definitions()
            .iter()
            .map(|definition| definition.name)
            .collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        for definition in definitions() {
            assert!(definition.summary.ends_with('.'), "{}", definition.name);
            assert!(definition.summary.len() <= 78, "{}", definition.name);
            assert!(!definition.examples.is_empty());
            let options: Vec<_> = definition
                .options
                .iter()
                .map(|option| option.name)
                .collect();
            let mut sorted = options.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(options, sorted, "{}", definition.name);
            for option in definition.options {
                assert!(
                    option.help.ends_with('.'),
                    "{} -{}",
                    definition.name,
                    option.name
                );
                assert!(
                    option
                        .name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '-'),
                    "{}",
                    option.name
                );
            }
        }
    }

    #[test]
    fn a_name_finds_its_definition() {
        assert_eq!(
            definition("go-map-stats").map(|d| d.command),
            Some(Command::Stats)
        );
        assert!(definition("go-map-").is_none());
    }
}
