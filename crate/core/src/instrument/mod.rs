//! `gomapscope instrument`: a flight recorder for maps, built into a program by
//! `go build -overlay`.
//!
//! The sources of the user's own GOROOT are copied with calls added where the runtime
//! allocates, replaces, clears or releases the storage of a map. The calls write records
//! into a ring in the process ([`crate::ring`] reads it). No line of the runtime changes
//! its number, lookups and writes to existing slots are not touched. A source that does
//! not match is refused by the name of the function, and then nothing is written.

mod overlay;
mod patches;
mod source;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::{size, thousands};
use overlay::{Overlay, Place};
use source::{Patch, Source};

/// Records of a ring, unless asked otherwise.
pub const ENTRIES: u64 = 1 << 16;
/// The fewest records of a ring.
pub const ENTRIES_MIN: u64 = 64;
/// The most records of a ring.
pub const ENTRIES_MAX: u64 = 1 << 24;
/// Bytes of a record without its stack.
pub const RECORD: u64 = 96;
/// Program counters of a stack, with `-stacks`.
pub const DEPTH: u64 = 16;

const RECORDER: &str = include_str!("go/recorder.go.txt");
const FREE: &str = include_str!("go/free.go.txt");
const CLASSIC: &str = include_str!("go/classic.go.txt");
const SWISS: &str = include_str!("go/swiss.go.txt");
const SWISS_RUNTIME: &str = include_str!("go/swiss_runtime.go.txt");
const SWISS_CLONED: &str = include_str!("go/swiss_cloned.go.txt");

/// Operations by the number that records bear.
pub mod op {
    /// A map was made with storage.
    pub const CREATE: u8 = 1;
    /// First or larger storage.
    pub const GROW: u8 = 2;
    /// A new array of the same size.
    pub const GROW_SAME: u8 = 3;
    /// The old array of a growth was let go.
    pub const EVACUATED: u8 = 4;
    /// An overflow bucket was allocated.
    pub const OVERFLOW: u8 = 5;
    /// An overflow bucket was taken from the array's spare ones.
    pub const SPARE: u8 = 6;
    /// One of the two tables that take the place of one.
    pub const SPLIT: u8 = 7;
    /// A directory was allocated.
    pub const DIRECTORY: u8 = 8;
    /// The map was cleared.
    pub const CLEAR: u8 = 9;
    /// The map is a copy.
    pub const CLONE: u8 = 10;
    /// Storage was let go.
    pub const RELEASE: u8 = 11;
    /// The collector freed storage.
    pub const FREE: u8 = 12;
    /// The descriptor of a table was allocated.
    pub const TABLE: u8 = 13;

    /// Operations that allocate `block`, as a set of bits.
    pub const ALLOCATES: u32 = 1 << CREATE
        | 1 << GROW
        | 1 << GROW_SAME
        | 1 << OVERFLOW
        | 1 << SPLIT
        | 1 << DIRECTORY
        | 1 << TABLE;
}

const OPS: [(&str, u8); 13] = [
    ("@OP_CREATE@", op::CREATE),
    ("@OP_GROW@", op::GROW),
    ("@OP_GROW_SAME@", op::GROW_SAME),
    ("@OP_EVACUATED@", op::EVACUATED),
    ("@OP_OVERFLOW@", op::OVERFLOW),
    ("@OP_SPARE@", op::SPARE),
    ("@OP_SPLIT@", op::SPLIT),
    ("@OP_DIRECTORY@", op::DIRECTORY),
    ("@OP_CLEAR@", op::CLEAR),
    ("@OP_CLONE@", op::CLONE),
    ("@OP_RELEASE@", op::RELEASE),
    ("@OP_FREE@", op::FREE),
    ("@OP_TABLE@", op::TABLE),
];

/// What is asked of `gomapscope instrument`.
#[derive(Debug, Clone)]
pub struct Options {
    /// The go command.
    pub go: String,
    /// Where the overlay goes.
    pub directory: PathBuf,
    /// Records of the ring; rounded up to a power of two.
    pub entries: u64,
    /// Whether records have stacks.
    pub stacks: bool,
    /// Whether the collector's frees are recorded.
    pub track_free: bool,
    /// An overlay that is in use already.
    pub overlay: Option<PathBuf>,
    /// Whether an overlay that is there may be replaced.
    pub force: bool,
}

/// Why no overlay was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstrumentError {
    /// The go command does not answer.
    #[error("{go}: {reason}; name the go command with -go FILE")]
    Go {
        /// The command.
        go: String,
        /// What it said.
        reason: String,
    },
    /// A release that is not covered.
    #[error("{0} is not covered: the flight recorder is for Go 1.21 and later")]
    Release(String),
    /// A source of the runtime is not as expected.
    #[error(
        "{file}: {function}: {reason}: this Go is not known to gomapscope, nothing was written"
    )]
    Anchor {
        /// Relative to `GOROOT/src`.
        file: String,
        /// The declaration.
        function: String,
        /// What does not match.
        reason: String,
    },
    /// No maps were found in GOROOT.
    #[error("{0} holds no sources of Go's maps: is it a GOROOT with its src?")]
    NoMaps(PathBuf),
    /// A number of records out of bounds.
    #[error("-ring {0}: a ring has {ENTRIES_MIN} to {ENTRIES_MAX} records")]
    Entries(u64),
    /// The recorder is there already.
    #[error("{0} holds the flight recorder already: name the overlay that you had before")]
    Twice(PathBuf),
    /// The other overlay removes a source of the runtime.
    #[error("{0} takes {1} out of the build, which the flight recorder needs")]
    Removed(PathBuf, PathBuf),
    /// The other overlay is none.
    #[error("{0} is no overlay: {1}")]
    Overlay(PathBuf, String),
    /// The directory is in use.
    #[error("{0} exists: name another with -o, or replace it with -force")]
    Exists(PathBuf),
    /// The directory holds other things.
    #[error("{0} was not written by gomapscope instrument: name another with -o")]
    Foreign(PathBuf),
    /// The system refuses.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Instrumented {
    /// The file for `go build -overlay`.
    pub overlay: PathBuf,
    /// The go command.
    pub go: String,
    /// `go1.27.3`.
    pub version: String,
    /// Where the sources are from.
    pub goroot: PathBuf,
    /// `classic`, `swiss`, or both where GOEXPERIMENT decides.
    pub families: Vec<&'static str>,
    /// Records of the ring.
    pub entries: u64,
    /// What was asked for.
    pub entries_asked: u64,
    /// Bytes of one.
    pub entry_size: u64,
    /// Files of the overlay it was added to.
    pub merged: usize,
}

struct Environment {
    goroot: PathBuf,
    version: String,
}

fn environment(go: &str) -> Result<Environment, InstrumentError> {
    let failed = |reason: String| InstrumentError::Go {
        go: go.to_owned(),
        reason,
    };
    let done = Command::new(go)
        .args(["env", "-json", "GOROOT", "GOVERSION", "GOEXPERIMENT"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(failed(
            said.lines().next().unwrap_or("go env fails").to_owned(),
        ));
    }
    let found: BTreeMap<String, String> =
        serde_json::from_slice(&done.stdout).map_err(|error| failed(format!("go env: {error}")))?;
    let take = |name: &str| found.get(name).cloned().unwrap_or_default();
    let (goroot, version) = (take("GOROOT"), take("GOVERSION"));
    if goroot.is_empty() {
        return Err(failed("go env does not tell GOROOT".to_owned()));
    }
    let minor = version
        .strip_prefix("go1.")
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor < 21) {
        return Err(InstrumentError::Release(version));
    }
    Ok(Environment {
        goroot: PathBuf::from(goroot),
        version,
    })
}

/// The sources while they are edited; what was edited goes into the overlay.
struct Sources<'o> {
    root: PathBuf,
    overlay: &'o Overlay,
    edited: BTreeMap<String, String>,
    added: BTreeMap<String, String>,
}

impl Sources<'_> {
    fn exists(&self, name: &str) -> bool {
        let path = self.root.join(name);
        match self.overlay.place(&path) {
            Place::Original => path.is_file(),
            Place::Replaced(_) => true,
            Place::Removed => false,
        }
    }

    fn open(&self, name: &str) -> Result<Source, InstrumentError> {
        let path = self.root.join(name);
        let path = match self.overlay.place(&path) {
            Place::Original => path,
            Place::Replaced(other) => other,
            Place::Removed => {
                return Err(InstrumentError::Removed(
                    self.overlay.file().to_owned(),
                    path,
                ));
            }
        };
        let text = match self.edited.get(name) {
            Some(text) => text.clone(),
            None => std::fs::read_to_string(&path)
                .map_err(|error| InstrumentError::Io(path.clone(), error))?,
        };
        if text.contains("gomapscope") {
            return Err(InstrumentError::Twice(path));
        }
        Ok(Source {
            name: name.to_owned(),
            text,
        })
    }

    fn patch(&mut self, name: &str, patches: &[&[Patch]]) -> Result<(), InstrumentError> {
        let mut source = self.open(name)?;
        let before = source.text.len();
        for patch in patches.iter().copied().flatten() {
            source.apply(patch)?;
        }
        if source.text.len() != before {
            self.edited.insert(name.to_owned(), numbered(&source.text));
        }
        Ok(())
    }

    fn add(&mut self, name: &str, text: &str) {
        self.added.insert(name.to_owned(), numbered(text));
    }

    /// The first of two places where a file is.
    fn first_of(&self, names: [&'static str; 2]) -> Option<&'static str> {
        names.into_iter().find(|name| self.exists(name))
    }
}

/// Numbers in the place of the names of operations.
fn numbered(text: &str) -> String {
    OPS.iter().fold(text.to_owned(), |text, (name, number)| {
        text.replace(name, &number.to_string())
    })
}

fn classic(sources: &mut Sources<'_>, both: bool) -> Result<(), InstrumentError> {
    let suffix = if both { "_noswiss" } else { "" };
    let name = format!("runtime/map{suffix}.go");
    let source = sources.open(&name)?;
    let rule = source.between(
        "func makeBucketArray(",
        "base := bucketShift(b)",
        "if dirtyalloc == nil {",
    )?;
    if !rule.contains("nbuckets := base\n") {
        return Err(InstrumentError::Anchor {
            file: name,
            function: "func makeBucketArray".to_owned(),
            reason: "`nbuckets := base` is not there".to_owned(),
        });
    }
    let rule = format!("\tbase := bucketShift(b)\n{}", rule.trim_end());
    sources.patch(&name, &[patches::CLASSIC])?;
    for (stem, patches) in patches::CLASSIC_FAST {
        sources.patch(&format!("runtime/{stem}{suffix}.go"), &[patches])?;
    }
    let build = if both {
        "//go:build !goexperiment.swissmap\n\n"
    } else {
        ""
    };
    sources.add(
        "runtime/zz_gomapscope_classic.go",
        &CLASSIC
            .replace("@BUILD@", build)
            .replace("@SIZE_RULE@", &rule),
    );
    Ok(())
}

fn swiss(sources: &mut Sources<'_>, both: bool) -> Result<(), InstrumentError> {
    const MAP: &str = "internal/runtime/maps/map.go";
    const TABLE: &str = "internal/runtime/maps/table.go";
    let clone = sources.open(MAP)?.declares(patches::CLONE_HEAD);
    let map_type = sources.open(TABLE)?.parameter("func newTable(typ *")?;
    sources.patch("internal/runtime/maps/group.go", &[patches::SWISS_GROUP])?;
    sources.patch(TABLE, &[patches::SWISS_TABLE])?;
    if clone {
        sources.patch(MAP, &[patches::SWISS_MAP, patches::SWISS_CLONE])?;
    } else {
        sources.patch(MAP, &[patches::SWISS_MAP])?;
        let runtime = ["runtime/map_swiss.go", "runtime/map.go"];
        let name = sources.first_of(runtime).unwrap_or(runtime[0]);
        sources.patch(name, &[patches::SWISS_CLONE2])?;
    }
    sources.add(
        "internal/runtime/maps/zz_gomapscope.go",
        &SWISS.replace("@MAPTYPE@", &map_type),
    );
    let build = if both {
        "//go:build goexperiment.swissmap\n\n"
    } else {
        ""
    };
    let (import, cloned) = match clone {
        true => ("", ""),
        false => (
            "import (\n\t\"internal/runtime/maps\"\n\t\"unsafe\"\n)\n\n",
            SWISS_CLONED,
        ),
    };
    sources.add(
        "runtime/zz_gomapscope_swiss.go",
        &SWISS_RUNTIME
            .replace("@BUILD@", build)
            .replace("@IMPORT@", import)
            .replace("@CLONED@", cloned),
    );
    Ok(())
}

fn recorder(
    sources: &mut Sources<'_>,
    options: &Options,
    entries: u64,
    swiss: bool,
) -> Result<(), InstrumentError> {
    sources.patch("runtime/runtime2.go", &[patches::RUNTIME2])?;
    let atomic = match sources.exists("internal/runtime/atomic/types.go") {
        true => "internal/runtime/atomic",
        false => "runtime/internal/atomic",
    };
    let (field, fill, depth) = match options.stacks {
        true => (
            format!("\tpcs     [{DEPTH}]uintptr\n"),
            "\tfor i := gomapscopeFrames(e); i < len(e.pcs); i++ {\n\t\te.pcs[i] = 0\n\t}\n",
            DEPTH,
        ),
        false => (String::new(), "", 0),
    };
    let mut text = RECORDER
        .replace("@ATOMIC@", atomic)
        .replace("@ENTRIES@", &entries.to_string())
        .replace("@STACK_FIELD@", &field)
        .replace("@STACK_FILL@", fill)
        .replace("@DEPTH@", &depth.to_string())
        .replace(
            "@FLAGS@",
            &(u8::from(options.stacks) | u8::from(options.track_free) << 1).to_string(),
        )
        .replace(
            "@LINKNAME@",
            match swiss {
                true => "//go:linkname gomapscopeAdd internal/runtime/maps.gomapscopeAdd\n",
                false => "",
            },
        );
    let mut track = String::new();
    if options.stacks {
        text.push_str(STACKS);
    }
    if options.track_free {
        let mheap = sources.open("runtime/mheap.go")?;
        let force = match mheap.text.contains("s *special, force bool) bool {") {
            true => ", false",
            false => "",
        };
        sources.patch("runtime/mheap.go", &[patches::MHEAP])?;
        text.push_str(&FREE.replace("@FORCE@", force));
        let set = op::ALLOCATES;
        track = format!(
            "\tif {set:#x}>>(meta&0xff)&1 != 0 && spanOfHeap(block) != nil {{\n\
             \t\tsystemstack(func() {{ gomapscopeTrack(owner, typ, block, size) }})\n\t}}\n"
        );
    }
    text = text.replace("@TRACK_CALL@", &track);
    sources.add("runtime/zz_gomapscope.go", &text);
    for (name, build, store) in PUBLISH {
        let text = PUBLISHED
            .replace("@BUILD@", build)
            .replace("@ATOMIC@", atomic)
            .replace("@STORE@", store);
        sources.add(name, &text);
    }
    Ok(())
}

/// The machines that have a store with release order, which costs less than a full one.
const PUBLISH: [(&str, &str, &str); 2] = [
    (
        "runtime/zz_gomapscope_release.go",
        "amd64 || arm64 || loong64 || mips64 || mips64le || ppc64 || ppc64le || riscv64 || s390x",
        "StoreRel64",
    ),
    (
        "runtime/zz_gomapscope_store.go",
        "!(amd64 || arm64 || loong64 || mips64 || mips64le || ppc64 || ppc64le || riscv64 || s390x)",
        "Store64",
    ),
];

const PUBLISHED: &str = "// Code generated by gomapscope instrument. DO NOT EDIT.

//go:build @BUILD@

package runtime

import \"@ATOMIC@\"

// gomapscopePublish gives a whole record its number.
func gomapscopePublish(e *gomapscopeRecord, n uint64) {
	atomic.@STORE@(&e.seq, n)
}
";

const STACKS: &str = "
// gomapscopeFrames follows frame pointers, those of the caller's caller first.
func gomapscopeFrames(e *gomapscopeRecord) int {
	gp := getg()
	if gp != gp.m.curg {
		return 0
	}
	return fpTracebackPCs(unsafe.Pointer(getfp()), e.pcs[:])
}
";

/// Writes an overlay for `go build`.
///
/// # Errors
/// When the go command, its sources or the other overlay are not as expected, or files
/// cannot be written. Then nothing was written.
pub fn instrument(options: &Options) -> Result<Instrumented, InstrumentError> {
    if !(ENTRIES_MIN..=ENTRIES_MAX).contains(&options.entries) {
        return Err(InstrumentError::Entries(options.entries));
    }
    let entries = options.entries.next_power_of_two();
    let target = overlay::prepare(&options.directory, options.force)?;
    let environment = environment(&options.go)?;
    let other = match &options.overlay {
        Some(file) => Overlay::read(file)?,
        None => Overlay::default(),
    };
    let mut sources = Sources {
        root: environment.goroot.join("src"),
        overlay: &other,
        edited: BTreeMap::new(),
        added: BTreeMap::new(),
    };
    // What the sources declare tells the family; releases are not compared.
    let mut families = Vec::new();
    let both = sources.exists("runtime/map_noswiss.go");
    let plain = sources.exists("runtime/map.go")
        && sources
            .open("runtime/map.go")?
            .declares("type hmap struct {");
    if both || plain {
        classic(&mut sources, both)?;
        families.push("classic");
    }
    let swiss_maps = sources.exists("internal/runtime/maps/table.go");
    if swiss_maps {
        swiss(&mut sources, both)?;
        families.push("swiss");
    }
    if families.is_empty() {
        return Err(InstrumentError::NoMaps(environment.goroot));
    }
    recorder(&mut sources, options, entries, swiss_maps)?;
    let root = sources.root.clone();
    let files: Vec<(PathBuf, String)> = std::mem::take(&mut sources.edited)
        .into_iter()
        .chain(std::mem::take(&mut sources.added))
        .map(|(name, text)| (root.join(name), text))
        .collect();
    let overlay = other.write(&target, &root, &files)?;
    Ok(Instrumented {
        overlay,
        go: options.go.clone(),
        version: environment.version,
        goroot: environment.goroot,
        families,
        entries,
        entries_asked: options.entries,
        entry_size: RECORD + if options.stacks { DEPTH * 8 } else { 0 },
        merged: other.len(),
    })
}

/// A word as a shell reads it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

impl Instrumented {
    /// What the user is told.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rounded = match self.entries == self.entries_asked {
            true => String::new(),
            false => format!(" ({} rounded up)", thousands(self.entries_asked)),
        };
        let merged = match self.merged {
            0 => String::new(),
            files => format!(", with the {files} files of the other overlay"),
        };
        let path = self.overlay.display().to_string();
        let option = format!("-overlay={path}");
        let flags = match path.contains(char::is_whitespace) {
            true => format!("\"'{option}'\""),
            false => quoted(&option),
        };
        let _ = write!(
            text,
            "{} ({} maps) from {}{merged}\n\
             Ring of {} records{rounded}, {} of address space, touched as it fills.\n\n\
             Build with either of\n  {} build {} PACKAGE\n  GOFLAGS={flags} {} build PACKAGE\n\
             then, on the running program or on a core of it\n  (gdb) go-map-ring\n  \
             gomapscope ring -core CORE\n",
            self.version,
            self.families.join(" and "),
            Path::new(&self.goroot).display(),
            thousands(self.entries),
            size(self.entries * self.entry_size),
            quoted(&self.go),
            quoted(&option),
            quoted(&self.go),
        );
        text
    }
}
