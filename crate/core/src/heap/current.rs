//! A goroutine by the address of its `g`: who it is, where it goes on, and its pprof labels
//! (runtime/proflabel.go, runtime/pprof/label.go).

use super::HeapError;
use super::goroutine::{Goroutine, Layout, STATUS_MAX, ThreadRegisters};
use crate::gotype::{Kind, TypeRef, Types};
use crate::layout::{Allocator, Header, Hmap, MapLayout, Part, Source, map_layout};
use crate::map::{Defects, Flow, Unit, Visitor, walk};
use crate::memory::{Abi, Memory, ReadError, Span};

/// Labels of one goroutine that are read.
pub const LABELS_MAX: usize = 256;

/// Bytes of a label's name or value that are read.
pub const LABEL_TEXT_MAX: u64 = 4096;

/// No sound set of labels has as many.
const LABELS_SOUND: u64 = 1 << 24;

/// Buckets of a map of labels that are looked at.
const BUCKETS_MAX: u64 = 4096;

/// The last release whose labels are a map, without debug information. Later ones keep a
/// sorted slice.
const MAP_LAST: u16 = 23;

/// The registers that a stack is walked from. All but the frame pointer and the link
/// register must be known; those are 0 where they are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StackRegisters {
    /// The program counter.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer: `rbp`, `x29`.
    pub fp: u64,
    /// The link register of arm64.
    pub lr: u64,
}

impl ThreadRegisters {
    /// What a walk of the thread's stack begins with; `None` without a program counter and
    /// a stack pointer.
    #[must_use]
    pub fn stack_registers(&self) -> Option<StackRegisters> {
        let fp = ["rbp", "x29", "fp"]
            .iter()
            .find_map(|name| self.values.get(*name));
        Some(StackRegisters {
            pc: self.pc()?,
            sp: self.sp()?,
            fp: fp.copied().unwrap_or(0),
            lr: self.lr().unwrap_or(0),
        })
    }

    /// The `g` of the goroutine that the thread runs, while it is in Go code: the register
    /// that ABIInternal keeps for it (cmd/compile/abi-internal.md). Anything elsewhere.
    #[must_use]
    pub fn g(&self, arch: &str) -> Option<u64> {
        let name = match arch {
            "amd64" => "r14",
            "arm64" => "x28",
            _ => return None,
        };
        self.values.get(name).copied()
    }
}

/// What a `g` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoroutineState {
    /// The `runtime.g`.
    pub address: u64,
    /// As `goroutine 1 [running]` numbers it; 0 for the goroutine on which a thread runs
    /// the scheduler.
    pub id: u64,
    /// `_Grunnable` and so on of runtime/runtime2.go, without `_Gscan`.
    pub status: u32,
    /// Its stack, whole.
    pub stack: Span,
    /// Where it goes on, if no thread runs it.
    pub resume: StackRegisters,
    /// `g.labels`; 0 if it has none.
    pub labels: u64,
}

impl GoroutineState {
    /// The goroutine as [`super::stack_frames`] takes it, standing at `at`. `running`: a thread
    /// stands there, which may be in the middle of an instruction's work on the stack.
    #[must_use]
    pub fn at(&self, at: StackRegisters, running: bool) -> Goroutine {
        Goroutine {
            address: self.address,
            id: self.id,
            status: self.status,
            stack: self.stack,
            sp: at.sp,
            pc: at.pc,
            lr: at.lr,
            registers: running.then_some(0),
        }
    }
}

/// Why a goroutine waits, and who began it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GoroutineOrigin {
    /// A `waitReason` of runtime/runtime2.go; says something of goroutines that wait.
    pub wait_reason: u8,
    /// CLOCK_MONOTONIC in nanoseconds when the collector first found it waiting, which is
    /// later than it began to (runtime/mgcmark.go, markroot); 0 if it has not yet.
    pub wait_since: i64,
    /// Where the `go` statement returns to; 0 of the first.
    pub created_at: u64,
    /// The first instruction of the function that it runs.
    pub start: u64,
}

/// A label that `pprof.Do` or `pprof.SetGoroutineLabels` gave a goroutine.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Its name. Text of the target: not safe to print.
    pub key: String,
    /// Its value. The same holds.
    pub value: String,
}

/// The labels of a goroutine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// By name.
    pub all: Vec<Label>,
    /// There are more than [`LABELS_MAX`], or a text is longer than [`LABEL_TEXT_MAX`]
    /// bytes: what is here is not all.
    pub cut: bool,
    /// What could not be read, and was left out.
    pub defects: Defects,
}

/// How labels are kept.
#[derive(Debug)]
enum Kept {
    /// `g.labels` points to a variable that holds a `map[string]string`: up to go1.23.
    Map(Box<MapLayout>),
    /// It points to a slice of pairs of strings: since go1.24.
    List,
    /// The debug information describes neither.
    Unknown,
}

/// Reads goroutines by address. Made once for a process; it keeps nothing of its memory.
#[derive(Debug)]
pub struct GoroutineReader {
    layout: Layout,
    /// Bytes of a `g` that are read.
    len: usize,
    kept: Kept,
}

impl GoroutineReader {
    /// For the process whose types are `types`. What is known of `g` comes from the debug
    /// information, else from the declarations of its release.
    ///
    /// # Errors
    /// When the release is not known, or the target is not 64-bit little-endian.
    pub fn new(types: &Types) -> Result<Self, HeapError> {
        let layout = Layout::of(types)?;
        let minor = types.binary().minor();
        let kept = kept(types, layout.abi, minor);
        Self::with(layout, kept)
    }

    fn with(layout: Layout, kept: Kept) -> Result<Self, HeapError> {
        let len = layout
            .span_of(&[
                "labels",
                "syscallbp",
                "waitsince",
                "waitreason",
                "gopc",
                "startpc",
            ])
            .ok_or_else(|| HeapError::Unknown("runtime.g is too large".to_owned()))?;
        Ok(Self { layout, len, kept })
    }

    /// The goroutine whose `g` is at `address`. An impossible stack or status is refused; other
    /// memory than a `g` may still pass for one.
    ///
    /// # Errors
    /// When the memory is unreadable, or holds no goroutine; the error names the address.
    pub fn read(&self, memory: &dyn Memory, address: u64) -> Result<GoroutineState, HeapError> {
        let mut bytes = vec![0; self.len];
        memory.read(address, &mut bytes)?;
        let none = || HeapError::Unknown(format!("there is no goroutine at {address:#x}"));
        let raw = self.layout.decode(&bytes).ok_or_else(none)?;
        let stack = raw.stack().filter(|_| raw.status < STATUS_MAX);
        let stack = stack.ok_or_else(none)?;
        let word = |at: Option<u64>| {
            let at = usize::try_from(at?).ok()?;
            self.layout.abi.pointer_at(&bytes, at)
        };
        let at = |name: &str| self.layout.field(name).map(|place| place.offset);
        let resume = if raw.in_syscall() {
            StackRegisters {
                pc: raw.syscall[1],
                sp: raw.syscall[0],
                fp: word(at("syscallbp")).unwrap_or(0),
                lr: 0,
            }
        } else {
            StackRegisters {
                pc: raw.sched[1],
                sp: raw.sched[0],
                fp: word(
                    at("sched")
                        .zip(self.layout.bp)
                        .map(|(sched, bp)| sched + bp),
                )
                .unwrap_or(0),
                lr: raw.sched[2],
            }
        };
        Ok(GoroutineState {
            address,
            id: raw.id,
            status: raw.status,
            stack,
            resume,
            labels: word(at("labels")).unwrap_or(0),
        })
    }

    /// Why the goroutine at `address` waits, and who began it. What this release does not
    /// have is 0.
    ///
    /// # Errors
    /// When the memory is unreadable.
    pub fn origin(&self, memory: &dyn Memory, address: u64) -> Result<GoroutineOrigin, ReadError> {
        let mut bytes = vec![0; self.len];
        memory.read(address, &mut bytes)?;
        let value = |name: &str| {
            let place = self.layout.field(name)?;
            let at = usize::try_from(place.offset).ok()?;
            self.layout
                .abi
                .uint_at(&bytes, at, place.size.min(8) as usize)
        };
        Ok(GoroutineOrigin {
            wait_reason: value("waitreason").unwrap_or(0) as u8,
            wait_since: value("waitsince").unwrap_or(0) as i64,
            created_at: value("gopc").unwrap_or(0),
            start: value("startpc").unwrap_or(0),
        })
    }

    /// The labels of a goroutine, by name.
    ///
    /// # Errors
    /// When what `g.labels` points to is unreadable or no set of labels, or how this
    /// release keeps labels is not known. A text that is unreadable is a defect.
    pub fn labels(
        &self,
        memory: &dyn Memory,
        goroutine: &GoroutineState,
    ) -> Result<Labels, HeapError> {
        let at = goroutine.labels;
        if self.layout.field("labels").is_none() {
            return Err(HeapError::Unknown(
                "runtime.g has no field labels".to_owned(),
            ));
        }
        let mut found = Labels::default();
        if at == 0 {
            return Ok(found);
        }
        let abi = self.layout.abi;
        let words = match &self.kept {
            Kept::Map(layout) => {
                let map = abi.read_pointer(memory, at)?;
                pairs_of_map(memory, layout, map, &mut found)?
            }
            Kept::List => pairs_of_list(memory, abi, at, &mut found)?,
            Kept::Unknown => {
                let reason = format!("how labels are kept is not known ({at:#x})");
                return Err(HeapError::Unknown(reason));
            }
        };
        for pair in words {
            let mut text = |address: u64, len: u64| -> Result<Option<String>, ReadError> {
                let taken = len.min(LABEL_TEXT_MAX);
                found.cut |= taken < len;
                let mut bytes = vec![0; taken as usize];
                match memory.read(address, &mut bytes) {
                    Ok(()) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                    Err(ReadError::Interrupted) => Err(ReadError::Interrupted),
                    Err(error) => {
                        found.defects.push(
                            "label-unreadable",
                            address,
                            "a readable label",
                            error.to_string(),
                            "the label",
                        );
                        Ok(None)
                    }
                }
            };
            let [key, key_len, value, value_len] = pair;
            if let Some(key) = text(key, key_len)?
                && let Some(value) = text(value, value_len)?
            {
                found.all.push(Label { key, value });
            }
        }
        found.all.sort();
        Ok(found)
    }
}

/// How the process keeps labels. The slice's element is the same pair of strings in all
/// releases that have it, and the slice is all there is in its structs.
fn kept(types: &Types, abi: Abi, minor: Option<u16>) -> Kept {
    let described = types
        .binary()
        .dwarf()
        .and_then(|dwarf| dwarf.type_named("runtime/pprof.labelMap"))
        .and_then(|at| types.get(TypeRef::Dwarf(at)).ok());
    match described {
        Some(described) => match &described.kind {
            Kind::Map { .. } => match map_layout(types, &described) {
                Ok(layout) if holds_strings(&layout) => Kept::Map(Box::new(layout)),
                _ => Kept::Unknown,
            },
            Kind::Struct { .. } if described.size == 24 => Kept::List,
            _ => Kept::Unknown,
        },
        // Nothing else tells: both begin with a pointer.
        None => kept_in(abi, minor),
    }
}

fn kept_in(abi: Abi, minor: Option<u16>) -> Kept {
    match minor {
        Some(minor) if minor <= MAP_LAST => Kept::Map(Box::new(map_of_strings(abi))),
        Some(_) => Kept::List,
        None => Kept::Unknown,
    }
}

fn holds_strings(layout: &MapLayout) -> bool {
    [layout.key, layout.elem]
        .iter()
        .all(|part| part.size == 16 && !part.indirect)
}

/// `map[string]string` of 64-bit Go up to 1.23.
fn map_of_strings(abi: Abi) -> MapLayout {
    let part = |offset| Part {
        offset,
        stride: 16,
        size: 16,
        indirect: false,
        pointers: true,
    };
    let unit_size = 8 + 8 * 16 + 8 * 16 + 8;
    MapLayout {
        abi,
        source: Source::Given,
        unit_size,
        key: part(8),
        elem: part(8 + 8 * 16),
        has_pointers: true,
        allocator: Allocator {
            malloc_headers: false,
            pointer_size: abi.pointer_size,
        },
        header: Header::Classic(Hmap::go1_23(unit_size)),
    }
}

/// Address and length of a name, and of its value.
type Pair = [u64; 4];

fn pairs_of_list(
    memory: &dyn Memory,
    abi: Abi,
    at: u64,
    found: &mut Labels,
) -> Result<Vec<Pair>, HeapError> {
    let mut slice = [0; 24];
    memory.read(at, &mut slice)?;
    let word = |index: usize| abi.pointer_at(&slice, 8 * index).unwrap_or(0);
    let [start, len, capacity] = [0, 1, 2].map(word);
    if len > capacity || capacity > LABELS_SOUND || start == 0 && len > 0 {
        let reason = format!("what stands at {at:#x} is no set of labels");
        return Err(HeapError::Unknown(reason));
    }
    let taken = (len as usize).min(LABELS_MAX);
    found.cut |= (taken as u64) < len;
    let mut bytes = vec![0; 32 * taken];
    memory.read(start, &mut bytes)?;
    let pairs = bytes.chunks_exact(32).map(|pair| {
        let word = |index: usize| abi.pointer_at(pair, 8 * index).unwrap_or(0);
        [0, 1, 2, 3].map(word)
    });
    Ok(pairs.collect())
}

/// Takes the pairs of a map of strings.
struct Pairs<'a> {
    layout: &'a MapLayout,
    found: Vec<Pair>,
    units: u64,
    full: bool,
}

impl Visitor for Pairs<'_> {
    fn unit(&mut self, unit: &Unit<'_>) -> Flow {
        self.units += 1;
        if self.units > BUCKETS_MAX {
            self.full = true;
            return Flow::Stop;
        }
        for slot in (0..8).filter(|slot| unit.slots.live_mask() >> slot & 1 != 0) {
            if self.found.len() >= LABELS_MAX {
                self.full = true;
                return Flow::Stop;
            }
            let word = |part: Part, more: usize| {
                let at = part.offset + part.stride * slot + more;
                self.layout.abi.pointer_at(unit.bytes, at)
            };
            let (key, elem) = (self.layout.key, self.layout.elem);
            if let (Some(key_at), Some(key_len), Some(value_at), Some(value_len)) =
                (word(key, 0), word(key, 8), word(elem, 0), word(elem, 8))
            {
                self.found.push([key_at, key_len, value_at, value_len]);
            }
        }
        Flow::Continue
    }
}

fn pairs_of_map(
    memory: &dyn Memory,
    layout: &MapLayout,
    map: u64,
    found: &mut Labels,
) -> Result<Vec<Pair>, ReadError> {
    let mut pairs = Pairs {
        layout,
        found: Vec::new(),
        units: 0,
        full: false,
    };
    let walked = walk(memory, layout, map, &mut pairs);
    if walked.interrupted {
        return Err(ReadError::Interrupted);
    }
    found.cut |= pairs.full;
    found.defects = walked.defects;
    Ok(pairs.found)
}

impl GoroutineReader {
    /// Where `goid` lies in a `g`, in bytes from its start.
    #[must_use]
    pub fn goid_offset(&self) -> i64 {
        let place = self.layout.field("goid");
        place.map_or(0, |place| i64::try_from(place.offset).unwrap_or(0))
    }

    /// The `m` that runs the goroutine at `address`.
    ///
    /// # Errors
    /// When memory is unreadable, or nothing runs it.
    pub fn machine(&self, memory: &dyn Memory, address: u64) -> Result<u64, HeapError> {
        let unknown = || HeapError::Unknown(format!("no thread runs {address:#x}"));
        let field = self.layout.field("m").ok_or_else(unknown)?;
        let at = address.wrapping_add(field.offset);
        let m = self.layout.abi.read_pointer(memory, at)?;
        (m != 0).then_some(m).ok_or_else(unknown)
    }

    /// The kernel's number of the thread of the `m` at `machine`.
    #[must_use]
    pub fn thread(&self, memory: &dyn Memory, machine: u64) -> Option<u32> {
        let at = machine.checked_add(self.layout.procid())?;
        let number = self.layout.abi.read_uint(memory, at, 8).ok()?;
        u32::try_from(number).ok().filter(|number| *number != 0)
    }

    /// The stack on which the thread of the `m` at `machine` handles signals:
    /// `m.gsignal.stack`. `gsignal` stands behind `procid` in `m` (runtime/runtime2.go,
    /// go1.21 to go1.27).
    ///
    /// # Errors
    /// When memory is unreadable, or holds no such stack.
    pub fn signal_stack(&self, memory: &dyn Memory, machine: u64) -> Result<Span, HeapError> {
        let at = machine.wrapping_add(self.layout.procid()).wrapping_add(8);
        let gsignal = self.layout.abi.read_pointer(memory, at)?;
        Ok(self.read(memory, gsignal)?.stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    fn reader(minor: u16) -> GoroutineReader {
        let target = (Abi::LE64, Some("amd64"));
        let layout = Layout::find(None, target, Some(minor)).unwrap();
        GoroutineReader::with(layout, kept_in(Abi::LE64, Some(minor))).unwrap()
    }

    fn put(bytes: &mut [u8], at: u64, value: u64) {
        bytes[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
    }

    const G: u64 = 0x1000;
    const LABELS: u64 = 0x4000;
    const TEXTS: u64 = 0x8000;

    /// A goroutine with labels at `LABELS`.
    fn image(reader: &GoroutineReader) -> Image {
        let mut bytes = vec![0; 0x400];
        let at = |name: &str| reader.layout.field(name).unwrap().offset;
        put(&mut bytes, 0, 0x90000);
        put(&mut bytes, 8, 0x92000);
        put(&mut bytes, at("goid"), 77);
        put(&mut bytes, at("labels"), LABELS);
        put(&mut bytes, at("sched"), 0x91000);
        put(&mut bytes, at("sched") + 8, 0x50_0000);
        put(&mut bytes, at("sched") + reader.layout.bp.unwrap(), 0x91010);
        let mut image = Image::new();
        image.map(G, bytes);
        let mut texts = vec![b'x'; 0x3000];
        texts[..8].copy_from_slice(b"k0k1v0v1");
        image.map(TEXTS, texts);
        image
    }

    fn words(values: &[u64]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn labels(reader: &GoroutineReader, image: &Image) -> Result<Labels, HeapError> {
        let state = reader.read(image, G)?;
        assert_eq!((state.id, state.labels), (77, LABELS));
        assert_eq!(state.resume.fp, 0x91010);
        reader.labels(image, &state)
    }

    fn label(key: &str, value: &str) -> Label {
        Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    /// Two pairs of strings, the second name first.
    const PAIRS: [u64; 8] = [TEXTS + 2, 2, TEXTS + 6, 2, TEXTS, 2, TEXTS + 4, 2];

    #[test]
    fn labels_are_a_slice() {
        for minor in 24..=27 {
            let reader = reader(minor);
            let mut image = image(&reader);
            image.map(LABELS, words(&[LABELS + 0x100, 2, 4]));
            image.map(LABELS + 0x100, words(&PAIRS));
            let found = labels(&reader, &image).unwrap();
            assert_eq!(found.all, [label("k0", "v0"), label("k1", "v1")]);
            assert!(!found.cut && found.defects.is_empty());
        }
    }

    #[test]
    fn labels_are_a_map() {
        for minor in 21..=23 {
            let reader = reader(minor);
            let mut image = image(&reader);
            // A variable, the map, a bucket of two.
            image.map(LABELS, words(&[LABELS + 0x100]));
            image.map(LABELS + 0x100, words(&[2, 0, LABELS + 0x200, 0, 0, 0]));
            let mut bucket = vec![0; 272];
            bucket[..2].copy_from_slice(&[9, 200]);
            for (slot, pair) in PAIRS.chunks(4).enumerate() {
                for (at, value) in [8, 16, 136, 144].into_iter().zip(pair) {
                    put(&mut bucket, at + 16 * slot as u64, *value);
                }
            }
            image.map(LABELS + 0x200, bucket);
            let found = labels(&reader, &image).unwrap();
            assert_eq!(found.all, [label("k0", "v0"), label("k1", "v1")]);
            assert!(!found.cut && found.defects.is_empty());
        }
    }

    #[test]
    fn long_and_many_labels_are_cut() {
        let reader = reader(27);
        let mut image = image(&reader);
        image.map(LABELS, words(&[LABELS + 0x100, 1, 1]));
        image.map(LABELS + 0x100, words(&[TEXTS, 2, TEXTS + 8, 5000]));
        let found = labels(&reader, &image).unwrap();
        assert!(found.cut);
        assert_eq!(found.all, [label("k0", &"x".repeat(4096))]);

        image.poke(LABELS, &words(&[LABELS + 0x100, 300, 300]));
        image.map(LABELS + 0x100, words(&PAIRS.repeat(150)));
        let found = labels(&reader, &image).unwrap();
        assert!(found.cut);
        assert_eq!(found.all.len(), LABELS_MAX);
    }

    #[test]
    fn what_is_damaged_is_told() {
        let reader = reader(27);
        let mut image = image(&reader);
        let unreadable = labels(&reader, &image).unwrap_err().to_string();
        assert_eq!(unreadable, "cannot read 24 bytes at 0x4000");
        image.map(LABELS, words(&[LABELS + 0x100, 5, 4]));
        let impossible = labels(&reader, &image).unwrap_err().to_string();
        assert!(impossible.contains("what stands at 0x4000 is no set of labels"));
        // One of two is unreadable: the other is there.
        image.poke(LABELS, &words(&[LABELS + 0x100, 2, 2]));
        let mut pairs = PAIRS;
        pairs[2] = 0xdead_0000;
        image.map(LABELS + 0x100, words(&pairs));
        let found = labels(&reader, &image).unwrap();
        assert_eq!(found.all, [label("k0", "v0")]);
        assert_eq!(found.defects.kept()[0].address, 0xdead_0000);
        // No stack, no goroutine.
        image.poke(G, &words(&[0x92000, 0x90000]));
        let none = reader.read(&image, G).unwrap_err().to_string();
        assert!(none.contains("there is no goroutine at 0x1000"));
        assert!(reader.read(&image, 0xdead_0000).is_err());
    }

    #[test]
    fn maps_of_garbage_end() {
        let reader = reader(23);
        for seed in 0..50_u64 {
            let mut image = image(&reader);
            let mut next = seed;
            let garbage: Vec<u64> = (0..0x400)
                .map(|_| {
                    next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    LABELS + (next >> 33) % 0x2000
                })
                .collect();
            image.map(LABELS, words(&garbage));
            if let Ok(found) = labels(&reader, &image) {
                assert!(found.all.len() <= LABELS_MAX);
            }
        }
    }
}
