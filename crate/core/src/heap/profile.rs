//! What hangs on objects of the heap: the stacks that allocated sampled ones, and the
//! records that are roots of the collector (runtime/mheap.go: `special`;
//! runtime/mprof.go: `bucket`; runtime/mgcmark.go: `markrootSpans`).

use std::collections::HashMap;
use std::rc::Rc;

use super::{HeapError, HeapSpan, State};
use crate::binary::Record;
use crate::gotype::Types;
use crate::map::{DEFECTS_KEPT, Defects};
use crate::memory::{Abi, AddressHash, Memory, ReadError, read_available};

/// Records that are looked at, in all spans together.
const RECORDS_MAX: u64 = 1 << 24;

/// Records of one kind at one offset: cleanups of one object.
const EQUAL_MAX: u32 = 1 << 16;

/// Objects with a stack that are kept: 256 MiB.
const OBJECTS_MAX: usize = 1 << 24;

/// Calls in all stacks that are kept: 128 MiB.
const CALLS_MAX: usize = 1 << 24;

/// runtime.maxProfStackDepth since go1.23; runtime.maxStack was 32 before.
const DEPTH_MAX: u64 = 1024;

/// runtime.memProfile.
const MEM_PROFILE: u64 = 1;

/// Records are looked at between two checks whether the user wants to stop.
const CHECKPOINT: u64 = 4096;

/// Blocks of finalizers or cleanups that wait. A million of them is some 40 million objects.
const BLOCKS_MAX: u32 = 1 << 20;

/// Bytes of one (`_FinBlockSize` of runtime/mfinal.go, `cleanupBlockSize` of
/// Bytes of variables without pointers that are searched.
const NOPTRBSS_MAX: u64 = 4 << 20;

/// runtime/mcleanup.go).
const FINALIZERS: u64 = 4096;
const CLEANUPS: u64 = 512;

/// Where the fields lie, and which number is which kind.
struct Layout {
    abi: Abi,
    special: Rc<Record>,
    /// Where what follows a `special` begins.
    data: u64,
    /// Words of a cleanup that can be pointers.
    cleanup_words: u64,
    kinds: Kinds,
    bucket: Option<Rc<Record>>,
}

/// The numbers of the kinds that are used; `None` if the release lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    finalizer: Option<u64>,
    weak_handle: Option<u64>,
    profile: Option<u64>,
    cleanup: Option<u64>,
}

impl Kinds {
    fn of_release(minor: u16) -> Self {
        let (finalizer, weak_handle, profile, cleanup) = match minor {
            0..=22 => (1, None, 2, None),
            23 => (1, Some(2), 3, None),
            24 => (1, Some(2), 3, Some(6)),
            _ => (2, Some(3), 4, Some(7)),
        };
        Self {
            finalizer: Some(finalizer),
            weak_handle,
            profile: Some(profile),
            cleanup,
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
struct Special<'a> {
    span: &'a HeapSpan,
    /// Of the object, from the start of the span.
    offset: u64,
    kind: u64,
    /// The address of what follows.
    data: u64,
}

impl Special<'_> {
    /// Where the object's slot begins.
    fn slot(&self) -> u64 {
        // The offset lies inside the span, so nothing can overflow.
        let rest = self.offset.checked_rem(self.span.slot_size).unwrap_or(0);
        self.span.base + self.offset - rest
    }
}

impl Layout {
    fn of(types: &Types) -> Result<Self, HeapError> {
        let binary = types.binary();
        let abi = binary.abi();
        let unknown = || HeapError::Unknown("runtime.special is not known".to_owned());
        let find = |name: &str| binary.record(name);
        let special = find("special").ok_or_else(unknown)?;
        let fields = ["next", "offset", "kind"];
        let len = special.span_of(&fields);
        if abi != Abi::LE64 || len > 64 || fields.iter().any(|f| special.field(f).is_none()) {
            return Err(unknown());
        }
        let constant = |name: &str| {
            let value = binary
                .dwarf()?
                .constant(&format!("runtime._KindSpecial{name}"))?;
            u64::try_from(value).ok()
        };
        let kinds = if constant("Profile").is_some() {
            Kinds {
                finalizer: constant("Finalizer"),
                weak_handle: constant("WeakHandle"),
                profile: constant("Profile"),
                cleanup: constant("Cleanup"),
            }
        } else {
            Kinds::of_release(binary.minor().ok_or_else(unknown)?)
        };
        // One function up to go1.25, then what calls it, the function and its argument.
        let cleanup_words = find("specialCleanup")
            .and_then(|record| record.field("cleanup"))
            .map_or(1, |place| (place.size / 8).clamp(1, 8));
        let bucket = find("bucket").filter(|bucket| {
            let known = ["typ", "size", "nstk"]
                .iter()
                .all(|f| bucket.field(f).is_some());
            known && bucket.size <= 4096
        });
        Ok(Self {
            abi,
            data: len.next_multiple_of(8),
            special,
            cleanup_words,
            kinds,
            bucket,
        })
    }

    /// Hands every record of every span to `visit`.
    fn walk(
        &self,
        memory: &dyn Memory,
        spans: &[HeapSpan],
        defects: &mut Defects,
        visit: &mut dyn FnMut(Special<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut bytes = vec![0; self.data as usize];
        let mut left = RECORDS_MAX;
        for span in spans.iter().filter(|span| span.state == State::InUse) {
            let len = span.end().saturating_sub(span.base);
            let mut at = span.specials;
            let mut last = (0, 0);
            let mut equal = 0;
            while at != 0 {
                if left == 0 {
                    defects.push(
                        "special-count",
                        at,
                        format!("no more than {RECORDS_MAX} records"),
                        "more",
                        "the rest of them",
                    );
                    return Ok(());
                }
                left -= 1;
                if left.is_multiple_of(CHECKPOINT) {
                    memory.checkpoint(0, 0)?;
                }
                match memory.read(at, &mut bytes) {
                    Ok(()) => {}
                    Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
                    Err(ReadError::Fault { .. }) => {
                        defects.push(
                            "special-unreadable",
                            at,
                            "a readable record",
                            "unreadable memory",
                            "the records behind it",
                        );
                        break;
                    }
                }
                let value = |name: &str| self.special.value(self.abi, &bytes, name).unwrap_or(0);
                let (offset, kind) = (value("offset"), value("kind") & 0xff);
                // The list is sorted, so a circle is a contradiction.
                equal = if (offset, kind) == last { equal + 1 } else { 0 };
                if offset >= len || (offset, kind) < last || equal > EQUAL_MAX {
                    defects.push(
                        "special-order",
                        at,
                        "records in the order of their objects",
                        format!("offset {offset} of {len} behind {}", last.0),
                        "the records behind it",
                    );
                    break;
                }
                last = (offset, kind);
                visit(Special {
                    span,
                    offset,
                    kind,
                    data: at.wrapping_add(self.data),
                })?;
                at = value("next");
            }
        }
        Ok(())
    }

    fn words(&self, memory: &dyn Memory, at: u64, count: u64) -> Result<Vec<u64>, ReadError> {
        let mut words = Vec::new();
        for index in 0..count {
            match self.abi.read_pointer(memory, at.wrapping_add(8 * index)) {
                Ok(word) => words.push(word),
                Err(ReadError::Fault { .. }) => break,
                Err(interrupted) => return Err(interrupted),
            }
        }
        Ok(words)
    }

    /// The calls of a `runtime.bucket`; `None` if it is none of the memory profile's.
    fn calls(
        &self,
        memory: &dyn Memory,
        at: u64,
        most: u64,
    ) -> Result<Option<Vec<u64>>, ReadError> {
        let Some(record) = &self.bucket else {
            return Ok(None);
        };
        let mut bytes = vec![0; record.size as usize];
        let read = |at: u64, bytes: &mut [u8]| match memory.read(at, bytes) {
            Ok(()) => Ok(true),
            Err(ReadError::Fault { .. }) => Ok(false),
            Err(interrupted) => Err(interrupted),
        };
        if !at.is_multiple_of(8) || !read(at, &mut bytes)? {
            return Ok(None);
        }
        let value = |name: &str| record.value(self.abi, &bytes, name).unwrap_or(0);
        let (kind, size, count) = (value("typ"), value("size"), value("nstk"));
        if kind != MEM_PROFILE || count == 0 || count > DEPTH_MAX || size == 0 || size > most {
            return Ok(None);
        }
        let mut words = vec![0; 8 * count as usize];
        let behind = at.wrapping_add(record.size.next_multiple_of(8));
        Ok(read(behind, &mut words)?
            .then(|| words.chunks_exact(8).map(|w| self.abi.uint(w)).collect()))
    }
}

/// Which calls allocated an object, for those that the memory profile sampled: one in
/// 512 KiB, unless the program set `runtime.MemProfileRate`. Empty if the program never uses
/// the profile.
#[derive(Debug, Clone, Default)]
pub struct AllocationSites {
    /// Slot and number of the stack, by slot.
    objects: Vec<(u64, u32)>,
    /// Where each stack begins in `calls`; one more than there are stacks.
    starts: Vec<usize>,
    calls: Vec<u64>,
    defects: Defects,
}

impl AllocationSites {
    /// Reads the stacks of all sampled objects in `spans`, each stack once.
    ///
    /// # Errors
    /// When the runtime's structures are not known, or the user wants to stop. What is
    /// unreadable or contradictory is a defect.
    pub fn read(types: &Types, memory: &dyn Memory, spans: &[HeapSpan]) -> Result<Self, HeapError> {
        let layout = Layout::of(types)?;
        Ok(Self::collect(&layout, memory, spans)?)
    }

    fn collect(
        layout: &Layout,
        memory: &dyn Memory,
        spans: &[HeapSpan],
    ) -> Result<Self, ReadError> {
        let mut sites = Self {
            starts: vec![0],
            ..Self::default()
        };
        let mut defects = Defects::default();
        // By bucket: the number of its stack, or that it is none.
        let mut seen: HashMap<u64, Option<u32>, AddressHash> = HashMap::default();
        layout.walk(memory, spans, &mut defects, &mut |special| {
            let (span, data) = (special.span, special.data);
            if Some(special.kind) != layout.kinds.profile || sites.objects.len() >= OBJECTS_MAX {
                return Ok(());
            }
            let Some(bucket) = layout.words(memory, data, 1)?.first().copied() else {
                return Ok(());
            };
            let slot = special.slot();
            let most = span.end().saturating_sub(span.base);
            let stack = match seen.get(&bucket) {
                Some(known) => *known,
                None => {
                    let calls = layout.calls(memory, bucket, most)?;
                    let number = calls.and_then(|calls| sites.keep(&calls));
                    seen.insert(bucket, number);
                    number
                }
            };
            match stack {
                Some(stack) => sites.objects.push((slot, stack)),
                None => sites.defects.push(
                    "profile-record",
                    bucket,
                    "the stack of an allocation",
                    "something else",
                    "where the object was allocated",
                ),
            }
            Ok(())
        })?;
        for defect in defects.kept() {
            let (code, address) = (defect.code, defect.address);
            let (expected, found, skipped) = (&defect.expected, &defect.found, &defect.skipped);
            sites.defects.push(code, address, expected, found, skipped);
        }
        sites.objects.sort_unstable();
        sites.objects.dedup_by_key(|(slot, _)| *slot);
        Ok(sites)
    }

    fn keep(&mut self, calls: &[u64]) -> Option<u32> {
        if self.calls.len() + calls.len() > CALLS_MAX {
            return None;
        }
        let number = u32::try_from(self.starts.len().checked_sub(1)?).ok()?;
        self.calls.extend_from_slice(calls);
        self.starts.push(self.calls.len());
        Some(number)
    }

    /// The calls that led to the object in the slot that begins at `slot`
    /// ([`super::Slot::base`]): return addresses, innermost first, one for each call of the
    /// source, inlined or not. [`crate::binary::Functions::frame_of_return`] names one.
    #[must_use]
    pub fn stack_of(&self, slot: u64) -> Option<&[u64]> {
        let index = self
            .objects
            .binary_search_by_key(&slot, |(slot, _)| *slot)
            .ok()?;
        self.stack(self.objects.get(index)?.1)
    }

    fn stack(&self, number: u32) -> Option<&[u64]> {
        let number = number as usize;
        let (start, end) = (*self.starts.get(number)?, *self.starts.get(number + 1)?);
        self.calls.get(start..end)
    }

    /// Objects whose stack is known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All objects whose stack is known, by address, with the number of the stack: equal
    /// numbers are equal stacks.
    pub fn objects(&self) -> impl Iterator<Item = (u64, u32)> {
        self.objects.iter().copied()
    }

    /// What was unreadable or contradictory.
    #[must_use]
    pub fn defects(&self) -> &Defects {
        &self.defects
    }
}

/// What the collector's roots in records of objects are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialRoots {
    /// Pointers in the records: the functions of finalizers and cleanups, the arguments
    /// of cleanups (since go1.26), the handles of weak pointers (since go1.23). Not all
    /// point into the heap.
    pub words: Vec<u64>,
    /// The slots of objects that have a finalizer. The object itself need not be in use, but what
    /// it points to is kept.
    pub finalized: Vec<u64>,
    /// What was unreadable or contradictory.
    pub defects: Defects,
}

/// A list of blocks outside the heap that keep objects.
struct Queue {
    first: u64,
    /// Offsets in a block: of the next one, of the number of entries, of these.
    next: u64,
    count: u64,
    entries: u64,
    /// Bytes of an entry, and of a block.
    entry: u64,
    block: u64,
}

impl Queue {
    /// Adds what the entries of all blocks hold.
    fn collect(
        &self,
        abi: Abi,
        memory: &dyn Memory,
        words: &mut Vec<u64>,
        defects: &mut Defects,
    ) -> Result<(), ReadError> {
        let mut bytes = vec![0; self.block as usize];
        let mut at = self.first;
        for number in 0..BLOCKS_MAX {
            if at == 0 {
                return Ok(());
            }
            if number % 1024 == 1023 {
                memory.checkpoint(0, 0)?;
            }
            match memory.read(at, &mut bytes) {
                Ok(()) => {}
                Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
                Err(ReadError::Fault { .. }) => break,
            }
            let value = |offset: u64, size| abi.uint_at(&bytes, offset as usize, size);
            let count = value(self.count, 4).unwrap_or(0);
            let end = self
                .entries
                .saturating_add(count.saturating_mul(self.entry))
                .min(self.block);
            let held = bytes.get(self.entries as usize..end as usize);
            let held = held.unwrap_or_default().chunks_exact(8);
            words.extend(held.map(|word| abi.uint(word)).filter(|word| *word != 0));
            at = value(self.next, 8).unwrap_or(0);
        }
        defects.push(
            "queue-unreadable",
            at,
            "a readable list of finalizers and cleanups that wait",
            "something else",
            "what they keep",
        );
        Ok(())
    }
}

/// What waits for its finalizer or cleanup to be run (runtime/mgcmark.go, markroot:
/// `fixedRootFinalizers`, and `fixedRootCleanups` since go1.25). The lists are found by
/// their names: without any they are left out.
fn queued(
    types: &Types,
    layout: &Layout,
    memory: &dyn Memory,
    words: &mut Vec<u64>,
    defects: &mut Defects,
) -> Result<(), ReadError> {
    let binary = types.binary();
    let find = |name: &str| binary.record(name);
    let address = |name: &str| {
        let linked = binary
            .symbol(name)
            .or_else(|| binary.dwarf()?.variable(name)?.address)?;
        Some(linked.wrapping_add(types.bias()))
    };
    let word = |at: u64, defects: &mut Defects| match layout.abi.read_pointer(memory, at) {
        Ok(word) => Ok(Some(word)),
        Err(ReadError::Fault { .. }) => {
            defects.push(
                "queue-unreadable",
                at,
                "a readable list of finalizers and cleanups that wait",
                "unreadable memory",
                "what they keep",
            );
            Ok(None)
        }
        Err(interrupted) => Err(interrupted),
    };
    let offset = |record: &Record, name: &str, most: u64| {
        let offset = record.field(name)?.offset;
        (offset <= most).then_some(offset)
    };
    if let Some(block) = find("finBlock").or_else(|| find("finblock"))
        && let Some(next) = offset(&block, "alllink", FINALIZERS)
        && let Some(count) = offset(&block, "cnt", FINALIZERS)
    {
        let queue = |first| Queue {
            first,
            next,
            count,
            // The entries begin behind the number, which is padded.
            entries: count + 8,
            // runtime.finalizer: fn, arg, nret, fint, ot.
            entry: 40,
            block: FINALIZERS,
        };
        let mut firsts = Vec::new();
        match address("runtime.allfin") {
            Some(at) => firsts.extend(word(at, defects)?),
            None => firsts = queued_finalizers(types, layout.abi, memory, &queue(0))?,
        }
        for first in firsts {
            queue(first).collect(layout.abi, memory, words, defects)?;
        }
    }
    if let Some(at) = address("runtime.gcCleanups")
        && let Some(queue) = find("cleanupQueue")
        && let Some(header) = find("cleanupBlockHeader")
        && let Some(all) = queue.field("all").map(|place| place.offset)
        && let Some(next) = offset(&header, "alllink", CLEANUPS)
        && let Some(count) = offset(&header, "n", CLEANUPS)
        && let Some(first) = word(at.wrapping_add(all), defects)?
    {
        Queue {
            first,
            next,
            count,
            entries: count + 8,
            entry: 8 * layout.cleanup_words,
            block: CLEANUPS,
        }
        .collect(layout.abi, memory, words, defects)?;
    }
    Ok(())
}

/// The blocks of waiting finalizers, where there is no name to find them by: what a variable
/// without pointers of the collector's leads to, and begins with entries that name two types.
fn queued_finalizers(
    types: &Types,
    abi: Abi,
    memory: &dyn Memory,
    queue: &Queue,
) -> Result<Vec<u64>, ReadError> {
    let Ok(module) = types.module() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let range = module.noptrbss;
    let mut bytes = vec![0; range.len.min(NOPTRBSS_MAX) as usize];
    read_available(memory, range.start, &mut bytes)?;
    let mut block = vec![0; (queue.entries + queue.entry) as usize];
    for word in bytes.chunks_exact(8).map(|word| abi.uint(word)) {
        if word < 4096 || !word.is_multiple_of(8) || found.contains(&word) {
            continue;
        }
        match memory.read(word, &mut block) {
            Ok(()) => {}
            Err(ReadError::Fault { .. }) => continue,
            Err(interrupted) => return Err(interrupted),
        }
        let at = |offset: u64, size| abi.uint_at(&block, offset as usize, size).unwrap_or(0);
        let count = at(queue.count, 4);
        let is_type = |address: u64| module.types.contains(address) && types.is_sound(address);
        let named = is_type(at(queue.entries + 24, 8)) && is_type(at(queue.entries + 32, 8));
        if (1..=FINALIZERS / queue.entry).contains(&count) && named {
            found.push(word);
        }
    }
    Ok(found)
}

/// Collects them from all spans, and from what waits for its finalizer or cleanup.
///
/// # Errors
/// When the runtime's structures are not known, or the user wants to stop. What is
/// unreadable or contradictory is a defect.
pub fn special_roots(
    types: &Types,
    memory: &dyn Memory,
    spans: &[HeapSpan],
) -> Result<SpecialRoots, HeapError> {
    let layout = Layout::of(types)?;
    let mut roots = SpecialRoots::default();
    let mut defects = Defects::default();
    let mut unread = Vec::new();
    layout.walk(memory, spans, &mut defects, &mut |special| {
        let kind = Some(special.kind);
        let count = if kind == layout.kinds.finalizer {
            if roots.finalized.len() < OBJECTS_MAX {
                roots.finalized.push(special.slot());
            }
            1
        } else if kind == layout.kinds.weak_handle {
            1
        } else if kind == layout.kinds.cleanup {
            layout.cleanup_words
        } else {
            0
        };
        if count > 0 && roots.words.len() < OBJECTS_MAX {
            let words = layout.words(memory, special.data, count)?;
            if (words.len() as u64) < count && unread.len() < DEFECTS_KEPT {
                unread.push(special.data);
            }
            roots
                .words
                .extend(words.into_iter().filter(|word| *word != 0));
        }
        Ok(())
    })?;
    for address in unread {
        defects.push(
            "special-unreadable",
            address,
            "a readable record",
            "unreadable memory",
            "what it keeps",
        );
    }
    queued(types, &layout, memory, &mut roots.words, &mut defects)?;
    roots.defects = defects;
    roots.finalized.dedup();
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    fn layout(minor: u16) -> Layout {
        let record =
            |name| Record::of_declaration(name, (Abi::LE64, Some("amd64")), minor).unwrap();
        let special = record("special");
        Layout {
            abi: Abi::LE64,
            data: special.size.next_multiple_of(8),
            special: Rc::new(special),
            cleanup_words: 1,
            kinds: Kinds::of_release(minor),
            bucket: Some(Rc::new(record("bucket"))),
        }
    }

    #[test]
    fn what_waits_for_its_finalizer_is_kept() {
        let mut image = Image::new();
        let word = |image: &mut Image, at: u64, word: u64| image.poke(at, &word.to_le_bytes());
        image.map(0x2000, vec![0; 0x2000]);
        // Two blocks: of two entries of 40 bytes, and of more than there is room for.
        word(&mut image, 0x2000, 0x3000);
        word(&mut image, 0x2010, 2);
        word(&mut image, 0x2018, 0xaa);
        word(&mut image, 0x2040, 0xbb);
        word(&mut image, 0x2068, 0xcc);
        word(&mut image, 0x3010, u64::from(u32::MAX));
        word(&mut image, 0x3ff8, 0xdd);
        let queue = Queue {
            first: 0x2000,
            next: 0,
            count: 16,
            entries: 24,
            entry: 40,
            block: FINALIZERS,
        };
        let collect = |image: &Image| {
            let (mut words, mut defects) = (Vec::new(), Defects::default());
            let ended = queue.collect(Abi::LE64, image, &mut words, &mut defects);
            ended.unwrap();
            (words, defects.is_empty())
        };
        assert_eq!(collect(&image), (vec![0xaa, 0xbb, 0xdd], true));
        word(&mut image, 0x2000, 0x9000);
        assert_eq!(collect(&image), (vec![0xaa, 0xbb], false));
        // A circle ends.
        word(&mut image, 0x2000, 0x2000);
        word(&mut image, 0x2010, 0);
        assert_eq!(collect(&image), (vec![], false));
    }

    fn span() -> HeapSpan {
        HeapSpan {
            base: 0x100_0000,
            pages: 1,
            slots: 128,
            slot_size: 64,
            specials: 0x1000,
            state: State::InUse,
            ..HeapSpan::default()
        }
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Two records of go1.27, at offsets 0x48 and 0x80, of one bucket with two calls.
    fn image() -> Image {
        let mut image = Image::new();
        image.map(
            0x1000,
            words(&[0x1020, 0x48, 4, 0x2000, 0, 0x80, 4, 0x2000, 0, 0]),
        );
        image.map(0x2000, words(&[0, 0, 1, 0, 64, 2, 0x111, 0x222]));
        image
    }

    #[test]
    fn sampled_objects_have_stacks() {
        let image = image();
        let sites = AllocationSites::collect(&layout(27), &image, &[span()]).unwrap();
        assert!(sites.defects().is_empty());
        let expected = Some(&[0x111, 0x222][..]);
        assert_eq!(sites.stack_of(0x100_0040), expected);
        assert_eq!(sites.stack_of(0x100_0080), expected);
        assert_eq!(sites.stack_of(0x100_0000), None);
        assert_eq!(sites.objects().map(|(_, stack)| stack).max(), Some(0));
    }

    #[test]
    fn kinds_have_the_numbers_of_their_release() {
        for (minor, profile) in [(21, 2), (22, 2), (23, 3), (24, 3), (25, 4), (28, 4)] {
            assert_eq!(Kinds::of_release(minor).profile, Some(profile));
        }
        assert_eq!((layout(23).data, layout(24).data), (16, 24));
    }

    #[test]
    fn circles_and_garbage_end() {
        let mut circle = image();
        // The second record leads back to the first.
        circle.poke(0x1020, &0x1000_u64.to_le_bytes());
        let sites = AllocationSites::collect(&layout(27), &circle, &[span()]).unwrap();
        assert_eq!((sites.len(), sites.defects().total()), (2, 1));
        // And to itself.
        circle.poke(0x1020, &0x1020_u64.to_le_bytes());
        let sites = AllocationSites::collect(&layout(27), &circle, &[span()]).unwrap();
        assert_eq!(sites.len(), 2);
        for offset in (0..0x50).step_by(8) {
            for value in [0, 1, u64::MAX, 1 << 63, 0x1008, 0x2000] {
                let mut image = image();
                image.poke(0x1000 + offset, &u64::to_le_bytes(value));
                image.poke(0x2000 + offset, &u64::to_le_bytes(value));
                let sites = AllocationSites::collect(&layout(27), &image, &[span()]).unwrap();
                assert!(sites.len() <= 2);
            }
        }
    }
}
