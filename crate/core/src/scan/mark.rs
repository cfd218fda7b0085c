//! Which objects are in use: the collector's marking, done over again on the process as it
//! stands (runtime/mgcmark.go). Stacks are scanned word by word, so that what is called
//! garbage is garbage, and a few dead objects may pass for live ones.

use std::rc::Rc;

use super::grey::{Body, Grey};
use super::objects::{Bits, Objects};
use super::shape::Closures;
use crate::binary::{LiveSlots, Module};
use crate::gotype::TypeRef;
use crate::heap::State;
use crate::map::Defects;
use crate::memory::{READ_MAX, ReadError, Span, nothing_read, read_available};

/// Stacks larger than this are cut (runtime.maxstacksize is 1 GB).
const STACK_MAX: u64 = 1 << 30;

/// A range of which so many bytes on end are not there is not what it is said to be: each page
/// of it costs a read.
const NOTHING_MAX: u64 = 64 << 20;

/// From where objects are reached.
#[derive(Default)]
pub struct Roots<'a> {
    /// Stacks, from the innermost frame on.
    pub stacks: Vec<Span>,
    /// Registers, and what else points to objects.
    pub words: Vec<u64>,
    /// The stack pointers of threads: on a stack of the runtime's, as in a signal handler,
    /// registers of the goroutine are kept above.
    pub stack_pointers: Vec<u64>,
    /// Some are not known: what is not reached may be in use all the same.
    pub incomplete: bool,
    /// Why.
    pub missing: Vec<String>,
    /// What of the goroutines could not be read: maps on their stacks are not found.
    pub defects: Defects,
    /// Variables of packages, the program's own first.
    pub globals: Vec<Variable>,
    /// Variables of functions that are running.
    pub locals: Vec<Variable>,
    /// The frames of all goroutines.
    pub frames: Vec<Frame>,
    /// What closures hold.
    pub closures: Option<Box<dyn Closures + 'a>>,
}

impl Roots<'_> {
    pub(super) fn closures(&self) -> &dyn Closures {
        struct Nothing;
        impl Closures for Nothing {
            fn captured(&self, _: u64) -> Vec<(u64, String, TypeRef)> {
                Vec::new()
            }
            fn scope(&self, _: u64, _: bool) -> Vec<TypeRef> {
                Vec::new()
            }
        }
        self.closures.as_deref().unwrap_or(&Nothing)
    }
}

/// A function's frame on a stack.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The stack pointer.
    pub sp: u64,
    /// Where the caller's frame begins.
    pub cfa: u64,
    /// Where it stands.
    pub pc: u64,
    /// Where its function begins.
    pub entry: u64,
    /// It stands in a call: `pc` is the last byte of the call instruction.
    pub in_call: bool,
    /// Which words of it are in use, where that is known.
    pub live: Option<Rc<LiveSlots>>,
    /// Where its variables end.
    pub variables_end: u64,
    /// Where its arguments begin.
    pub arguments: u64,
}

impl Frame {
    /// Whether any word of a part of it may be in use.
    #[must_use]
    pub fn in_use(&self, place: Span) -> bool {
        self.live
            .as_ref()
            .is_none_or(|live| live.any(self.variables_end, self.arguments, place))
    }
}

/// A typed value outside the heap, from which types are followed.
#[derive(Debug, Clone)]
pub struct Variable {
    /// As a person names it: `main.cache`.
    pub name: String,
    /// The function and goroutine it belongs to.
    pub context: Option<Rc<str>>,
    /// Where it is.
    pub address: u64,
    /// Its type.
    pub at: TypeRef,
    /// Its bytes, where they are not all in memory at `address`.
    pub copy: Option<Vec<u8>>,
}

/// The live objects.
pub(super) struct Marks {
    pub live: Bits,
    /// Something was unreadable: what is not marked may be in use all the same.
    pub incomplete: bool,
    grey: Grey,
}

impl Marks {
    pub(super) fn new(objects: &Objects<'_>) -> Self {
        Self {
            live: Bits::new(objects.count as usize),
            incomplete: false,
            grey: Grey::new(objects),
        }
    }

    #[inline]
    fn reach(live: &mut Bits, grey: &mut Grey, objects: &Objects<'_>, word: u64) {
        if word < 4096 {
            return;
        }
        if let Some((span, number)) = objects.number_of(word)
            && live.add(number)
            && number < objects.with_pointers
        {
            grey.add(span, number);
        }
    }

    /// Marks what the roots lead to.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn run(
        &mut self,
        objects: &Objects<'_>,
        modules: &[Module],
        roots: &Roots<'_>,
        (words, finalized): (&[u64], &[u64]),
    ) -> Result<(), ReadError> {
        let abi = objects.heap.abi();
        let mut buffer = Vec::new();
        for module in modules {
            for (range, mask) in [
                (module.data, module.data_mask),
                (module.bss, module.bss_mask),
            ] {
                let words = mask.0.min(range.len / 8);
                let mut bits = vec![0; (words / 8 + 1).min(64 << 20) as usize];
                if mask.1 == 0 || !read_available(objects.memory, mask.1, &mut bits)?.is_empty() {
                    bits.fill(0xff);
                }
                self.incomplete |= !each_word(objects, range, &mut buffer, &mut |index, bytes| {
                    let masked = index >= words
                        || bits
                            .get((index / 8) as usize)
                            .is_none_or(|byte| byte >> (index % 8) & 1 != 0);
                    if masked {
                        Self::reach(&mut self.live, &mut self.grey, objects, abi.uint(bytes));
                    }
                })?;
            }
        }
        let of_runtime = roots.stack_pointers.iter().filter_map(|sp| {
            let (_, span) = objects.span_at(*sp)?;
            let start = sp & !7;
            (span.state == State::Manual).then(|| Span {
                start,
                len: span.end() - start,
            })
        });
        for stack in roots.stacks.iter().copied().chain(of_runtime) {
            let range = Span {
                len: stack.len.min(STACK_MAX),
                ..stack
            };
            self.incomplete |= !each_word(objects, range, &mut buffer, &mut |_, bytes| {
                Self::reach(&mut self.live, &mut self.grey, objects, abi.uint(bytes));
            })?;
        }
        for word in roots.words.iter().chain(words) {
            Self::reach(&mut self.live, &mut self.grey, objects, *word);
        }
        // Finalized objects count themselves only if they are reached; what they point to
        // is kept for the finalizer (markrootSpans).
        for object in finalized {
            if let Some((span, slot, number)) = objects.find(*object)
                && !slot.noscan
            {
                self.grey.add(span, number);
            }
        }
        let live = &mut self.live;
        self.grey.drain(objects, &mut |grey, body| {
            pointers(objects, body, &mut |word| {
                Self::reach(live, grey, objects, word);
            })
        })?;
        self.incomplete |= self.grey.unreadable;
        Ok(())
    }
}

/// Hands every word of a range to `visit`, with its number; what is unreadable reads as 0, and
/// the range is left behind [`NOTHING_MAX`] of it. Whether nothing is.
pub(super) fn each_word(
    objects: &Objects<'_>,
    range: Span,
    buffer: &mut Vec<u8>,
    visit: &mut dyn FnMut(u64, &[u8]),
) -> Result<bool, ReadError> {
    let mut done = 0;
    let mut nothing = 0;
    let mut whole = true;
    let len = range.len.min(1 << 36);
    while len.saturating_sub(done) >= 8 && nothing < NOTHING_MAX {
        objects.memory.checkpoint(0, 0)?;
        let take = (len - done).min(READ_MAX as u64);
        buffer.resize(take as usize, 0);
        let start = range.start.wrapping_add(done);
        let missing = read_available(objects.memory, start, buffer)?;
        whole &= missing.is_empty();
        nothing = match nothing_read(&missing, take) {
            true => nothing + take,
            false => 0,
        };
        for (index, bytes) in (done / 8..).zip(buffer.chunks_exact(8)) {
            visit(index, bytes);
        }
        done += take;
    }
    Ok(whole)
}

/// Hands every pointer in an object, or a part of one, to `visit`.
pub(super) fn pointers(
    objects: &Objects<'_>,
    body: &Body<'_>,
    visit: &mut dyn FnMut(u64),
) -> Result<(), ReadError> {
    let Some(span) = objects.spans.get(body.span) else {
        return Ok(());
    };
    let abi = objects.heap.abi();
    let words = body.bytes.chunks_exact(8).map(|bytes| abi.uint(bytes));
    if let Some(bitmap) = body.bitmap {
        let first = (u64::from(body.index) * span.slot_size + body.offset) as usize / 8;
        for (index, part) in body.bytes.chunks(64 * 8).enumerate() {
            let held = part.len() / 8;
            let mut bits = bitmap.of_64(first + 64 * index);
            if held < 64 {
                bits &= (1 << held) - 1;
            }
            while bits != 0 {
                let at = 8 * bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let word = part.get(at..at + 8).map_or(0, |bytes| abi.uint(bytes));
                if word >= 4096 {
                    visit(word);
                }
            }
        }
        return Ok(());
    }
    let header = objects.heap.header_of(span);
    let noted = objects.noted(span, if body.offset == 0 { body.bytes } else { &[] });
    if noted == 0 {
        // Allocated, and not yet told what it is.
        for word in words {
            visit(word);
        }
        return Ok(());
    }
    let mask = objects.mask(noted)?;
    for (index, word) in (0_u64..).zip(words) {
        let offset = body.offset + 8 * index;
        if word >= 4096 && offset >= header && mask.is_pointer(offset - header) {
            visit(word);
        }
    }
    Ok(())
}
