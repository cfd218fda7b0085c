//! Entries whose strings are read together.
//!
//! The bytes of a map's strings lie all over the heap, and a read for each is what a listing
//! spends its time on. So entries are put aside; then their strings are read in the order
//! of their addresses, near ones at once, and the entries are printed in walk order.

use std::rc::Rc;

use super::EntryAt;
use crate::gotype::{Kind, Printer, Type};
use crate::map::Flow;
use crate::memory::{RangeReader, ReadError, Span};
use crate::target::Side;

/// Entries put aside at first, and at the most: the first ones show soon, and a large map's
/// strings are read in few rounds through the heap.
const FIRST: usize = 1 << 10;
const MOST: usize = 1 << 17;

/// Bytes of strings, and of keys and elems, that are kept at the most, but for those of
/// one entry.
const BYTES: usize = 8 << 20;

/// No string of a Go program is longer: the printer tells what is.
const LEN_MAX: u64 = 1 << 47;

/// Where no string stands.
const UNREAD: u32 = u32::MAX;

/// Strings that are looked at before the first of them is printed.
const AHEAD: usize = 16;

/// Entries that are put aside.
pub(super) struct Batch<'a> {
    printer: &'a Printer<'a>,
    key: Rc<Type>,
    elem: Rc<Type>,
    /// Bytes of a key and of an elem.
    sizes: [usize; 2],
    /// Where the slots of the entries' keys and elems are.
    slots: Vec<[u64; 2]>,
    /// The bytes of keys and elems, in turn.
    bytes: Vec<u8>,
    /// Bytes of their strings.
    strings: usize,
    /// The entries after which they are printed.
    room: usize,
    /// Start, length and place in `texts` of the strings to read.
    wanted: Vec<(u64, u32, u32)>,
    /// What was read.
    text: Vec<u8>,
    /// Where each string stands in it, in walk order; [`UNREAD`] if it was not read.
    texts: Vec<u32>,
    /// Ctrl-C was pressed while strings were read: those entries are not printed.
    pub(super) interrupted: bool,
    stopped: bool,
}

impl<'a> Batch<'a> {
    /// `None` where keys and elems of these types are not worth it: neither is a string.
    pub(super) fn new(printer: &'a Printer<'a>, key: &Rc<Type>, elem: &Rc<Type>) -> Option<Self> {
        let string = |side: &Type| matches!(side.kind, Kind::String);
        let size = |side: &Type| {
            usize::try_from(side.size)
                .ok()
                .filter(|size| *size <= 1 << 10)
        };
        let sizes = [size(key)?, size(elem)?];
        (string(key) || string(elem)).then(|| Self {
            printer,
            key: Rc::clone(key),
            elem: Rc::clone(elem),
            sizes,
            slots: Vec::new(),
            bytes: Vec::new(),
            strings: 0,
            room: FIRST,
            wanted: Vec::new(),
            text: Vec::new(),
            texts: Vec::new(),
            interrupted: false,
            stopped: false,
        })
    }

    /// Puts an entry aside; `false`, and nothing done, where it must be printed by itself.
    pub(super) fn take(&mut self, key: &Side<'_>, elem: &Side<'_>) -> bool {
        let (Ok(key_bytes), Ok(elem_bytes)) = (&key.bytes, &elem.bytes) else {
            return false;
        };
        let inside = key.address == key.slot && elem.address == elem.slot;
        if !inside || [key_bytes.len(), elem_bytes.len()] != self.sizes {
            return false;
        }
        for (side, bytes) in [(&self.key, key_bytes), (&self.elem, elem_bytes)] {
            if let Some((start, len)) = self.string(side, bytes) {
                self.wanted.push((start, len, self.wanted.len() as u32));
                self.strings += len as usize;
            }
        }
        self.slots.push([key.slot, elem.slot]);
        self.bytes.extend_from_slice(key_bytes);
        self.bytes.extend_from_slice(elem_bytes);
        true
    }

    /// Whether it is time to print.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.room || self.strings >= BYTES || self.bytes.len() >= BYTES
    }

    /// Start of a string, and how many bytes of it are read to print it; `None` if none.
    fn string(&self, side: &Type, bytes: &[u8]) -> Option<(u64, u32)> {
        if !matches!(side.kind, Kind::String) {
            return None;
        }
        let (start, len) = self.header(bytes);
        let len = (len <= LEN_MAX).then(|| len.min(self.printer.limits.string))?;
        let len = u32::try_from(len).ok().filter(|len| *len > 0)?;
        Some((start, len))
    }

    fn header(&self, bytes: &[u8]) -> (u64, u64) {
        let abi = self.printer.types.binary().abi();
        let word = |index| abi.pointer_at(bytes, index * usize::from(abi.pointer_size));
        (word(0).unwrap_or(0), word(1).unwrap_or(0))
    }

    /// Prints what was put aside.
    pub(super) fn print(
        &mut self,
        found: &mut EntryAt,
        emit: &mut dyn FnMut(&mut EntryAt) -> Flow,
    ) -> Flow {
        self.texts.clear();
        self.texts.resize(self.wanted.len(), UNREAD);
        self.text.clear();
        if self.stopped || self.interrupted || self.read().is_err() {
            // There is no error but this one.
            self.interrupted |= !self.stopped;
            self.clear();
            return Flow::Continue;
        }
        let [key_size, elem_size] = self.sizes;
        let entries = self.bytes.chunks_exact((key_size + elem_size).max(1));
        let (mut next, mut seen) = (0, 0);
        for (slots, bytes) in self.slots.iter().zip(entries) {
            if next >= seen {
                seen = next + AHEAD;
                self.touch(next, seen);
            }
            let (key, elem) = bytes.split_at(key_size);
            found.entry.key.clear();
            found.entry.elem.clear();
            self.value(&self.key, key, &mut next, &mut found.entry.key);
            self.value(&self.elem, elem, &mut next, &mut found.entry.elem);
            [found.key_address, found.elem_address] = *slots;
            found.entry.address = found.key_address;
            if emit(found) == Flow::Stop {
                self.stopped = true;
                break;
            }
        }
        self.clear();
        self.room = (2 * self.room).min(MOST);
        match self.stopped {
            true => Flow::Stop,
            false => Flow::Continue,
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
        self.wanted.clear();
        self.strings = 0;
    }

    /// Reads the strings. What cannot be read is left to the printer, which tells why.
    fn read(&mut self) -> Result<(), ReadError> {
        self.wanted.sort_unstable_by_key(|(start, ..)| *start);
        let spans: Vec<Span> = self
            .wanted
            .iter()
            .map(|(start, len, _)| Span {
                start: *start,
                len: u64::from(*len),
            })
            .collect();
        let (wanted, texts, text) = (&self.wanted, &mut self.texts, &mut self.text);
        RangeReader::default().read(self.printer.memory, &spans, &mut |chunk| {
            let place = wanted
                .get(chunk.index)
                .and_then(|(.., place)| texts.get_mut(*place as usize));
            if let (Some(place), Some(bytes)) = (place, chunk.bytes) {
                *place = text.len() as u32;
                text.extend_from_slice(bytes);
            }
            Ok(())
        })
    }

    /// Looks at some strings. They stand in no order, and none of them is in the processor's
    /// caches: one after the other, with nothing between, it waits for many at a time.
    fn touch(&self, first: usize, end: usize) {
        let texts = self.texts.get(first..end.min(self.texts.len()));
        let bytes = texts.unwrap_or_default().iter();
        let seen = bytes.map(|start| self.text.get(*start as usize).copied().unwrap_or(0));
        std::hint::black_box(seen.fold(0, |all, byte| all ^ byte));
    }

    /// Appends a key or elem; `next` is the next string.
    fn value(&self, side: &Type, bytes: &[u8], next: &mut usize, out: &mut String) {
        let read = self.string(side, bytes).and_then(|(_, len)| {
            let start = *self.texts.get(*next)?;
            *next += 1;
            let start = usize::try_from(start).ok().filter(|_| start != UNREAD)?;
            self.text.get(start..)?.get(..len as usize)
        });
        match read {
            Some(read) => Printer::string(read, self.header(bytes).1, out),
            None => self.printer.print_described(side, bytes, out),
        }
    }
}
