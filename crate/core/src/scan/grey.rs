//! Objects that are yet to be looked at, visited span by span in address order: memory is
//! read in large blocks and none of it kept, whatever the order of the pointers.

use std::rc::Rc;

use super::objects::{Bitmap, Bits, Objects};
use crate::heap::{ARENA, HeapSpan};
use crate::memory::{READ_MAX, RangeReader, ReadError, Span};

/// Spans that are read at a time.
const RUN: usize = 128;

/// What waits.
pub(super) struct Grey {
    objects: Bits,
    spans: Bits,
    at: u32,
    count: u32,
    /// Objects were left out.
    pub unreadable: bool,
}

/// The bytes of one object.
pub(super) struct Body<'a> {
    /// Its span.
    pub span: usize,
    pub number: u32,
    /// Its number in the span.
    pub index: u32,
    /// The address of `bytes`.
    pub address: u64,
    /// Where `bytes` begin in its slot; not 0 only in a part of a large object.
    pub offset: u64,
    pub bytes: &'a [u8],
    /// The bitmap of the span's words.
    pub bitmap: Option<Bitmap<'a>>,
}

impl Grey {
    pub(super) fn new(objects: &Objects<'_>) -> Self {
        let count = u32::try_from(objects.spans.len()).unwrap_or(u32::MAX);
        Self {
            objects: Bits::new(objects.count as usize),
            spans: Bits::new(objects.spans.len()),
            at: 0,
            count,
            unreadable: false,
        }
    }

    /// Nothing, and no room for anything.
    pub(super) fn none() -> Self {
        Self {
            objects: Bits::default(),
            spans: Bits::default(),
            at: 0,
            count: 0,
            unreadable: false,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, span: usize, number: u32) {
        if self.objects.add(number) {
            self.spans.add(span as u32);
        }
    }

    /// The next spans with something to look at.
    fn run(&mut self) -> Vec<usize> {
        let mut run = Vec::new();
        for _ in 0..2 {
            while run.len() < RUN {
                let Some(span) = self.spans.next(self.at, self.count) else {
                    break;
                };
                self.spans.remove(span);
                run.push(span as usize);
                self.at = span + 1;
            }
            if !run.is_empty() {
                break;
            }
            // Round again, for what pointers led back to.
            self.at = 0;
        }
        run
    }

    /// Visits what waits, and what is added meanwhile, until nothing does. An object that
    /// is unreadable is left out.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn drain(
        &mut self,
        objects: &Objects<'_>,
        visit: &mut dyn FnMut(&mut Self, &Body<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut reader = RangeReader::default();
        let mut large = Vec::new();
        loop {
            let run = self.run();
            if run.is_empty() {
                return Ok(());
            }
            objects.memory.checkpoint(0, 0)?;
            let small: Vec<usize> = run
                .iter()
                .copied()
                .filter(|at| {
                    let span = objects.spans.get(*at);
                    span.is_some_and(|span| !objects.in_parts(span))
                })
                .collect();
            let ranges: Vec<Span> = small
                .iter()
                .filter_map(|at| objects.spans.get(*at))
                .map(HeapSpan::extent)
                .collect();
            reader.read(objects.memory, &ranges, &mut |chunk| match (
                small.get(chunk.index),
                chunk.bytes,
            ) {
                (Some(at), Some(bytes)) => self.span(objects, *at, bytes, visit),
                (Some(at), None) => {
                    self.forget(objects, *at);
                    Ok(())
                }
                _ => Ok(()),
            })?;
            for at in run {
                let span = objects.spans.get(at);
                if span.is_some_and(|span| objects.in_parts(span)) {
                    self.large(objects, at, &mut large, visit)?;
                }
            }
        }
    }

    fn forget(&mut self, objects: &Objects<'_>, at: usize) {
        self.unreadable = true;
        let (first, end) = objects.numbers(at);
        let mut from = first;
        while let Some(number) = self.objects.next(from, end) {
            self.objects.remove(number);
            from = number + 1;
        }
    }

    /// One span: until no pointer inside leads to another of its objects.
    fn span(
        &mut self,
        objects: &Objects<'_>,
        at: usize,
        bytes: &[u8],
        visit: &mut dyn FnMut(&mut Self, &Body<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Some(span) = objects.spans.get(at) else {
            return Ok(());
        };
        let mut arena: Option<Rc<Vec<u8>>> = None;
        let bitmap = objects.bitmap(span, bytes, &mut arena)?;
        let (first, end) = objects.numbers(at);
        loop {
            let mut from = first;
            let mut any = false;
            while let Some(number) = self.objects.next(from, end) {
                any = true;
                self.objects.remove(number);
                from = number + 1;
                let index = number - first;
                let start = index as usize * span.slot_size as usize;
                let Some(slot) = bytes.get(start..start + span.slot_size as usize) else {
                    continue;
                };
                let body = Body {
                    span: at,
                    number,
                    index,
                    address: span.base + start as u64,
                    offset: 0,
                    bytes: slot,
                    bitmap,
                };
                visit(self, &body)?;
            }
            if !any {
                self.spans.remove(at as u32);
                return Ok(());
            }
        }
    }

    /// One large object, part by part.
    fn large(
        &mut self,
        objects: &Objects<'_>,
        at: usize,
        buffer: &mut Vec<u8>,
        visit: &mut dyn FnMut(&mut Self, &Body<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Some(span) = objects.spans.get(at) else {
            return Ok(());
        };
        let (first, end) = objects.numbers(at);
        while let Some(number) = self.objects.next(first, end) {
            self.objects.remove(number);
            let base = span.base + u64::from(number - first) * span.slot_size;
            let mut offset = 0;
            while offset < span.slot_size {
                objects.memory.checkpoint(0, 0)?;
                let address = base + offset;
                let arena_left = ARENA - address % ARENA;
                let left = (span.slot_size - offset).min(arena_left);
                let len = left.min(READ_MAX as u64) as usize;
                buffer.resize(len, 0);
                match objects.memory.read(address, buffer) {
                    Ok(()) => {
                        let mut arena = None;
                        let bitmap = objects.bitmap_at(span, address, &mut arena)?;
                        let body = Body {
                            span: at,
                            number,
                            index: number - first,
                            address,
                            offset,
                            bytes: buffer,
                            bitmap,
                        };
                        visit(self, &body)?;
                    }
                    Err(ReadError::Fault { .. }) => self.unreadable = true,
                    Err(interrupted) => return Err(interrupted),
                }
                offset += len as u64;
            }
        }
        Ok(())
    }
}
