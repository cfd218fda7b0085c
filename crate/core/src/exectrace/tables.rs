//! Names of an execution trace: strings and stacks by number, and the bytes they lie in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use super::wire::{Cursor, Source, Stop};
use crate::events::Frame;

/// Bytes are kept in pieces of this size, so that no growth copies them.
const PIECE: usize = 4 << 20;
/// Empty pieces that are kept for the next generation.
const SPARE: usize = 16;

/// Bytes in a generation's pieces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Piece {
    pub piece: u32,
    pub start: u32,
    pub length: u32,
}

/// The bytes of one generation.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pieces: Vec<Vec<u8>>,
    /// Empty ones from before.
    spare: Vec<Vec<u8>>,
    /// Bytes that are kept.
    pub held: usize,
}

impl Arena {
    /// Takes `length` bytes, which are at most [`BATCH_MAX`].
    pub(super) fn take<R: Read>(
        &mut self,
        source: &mut Source<R>,
        length: usize,
    ) -> Result<Piece, Stop> {
        let (number, piece) = self.room(length);
        let start = piece.len();
        source.append(length, piece)?;
        self.held += length;
        Ok(Piece {
            piece: number,
            start: start as u32,
            length: length as u32,
        })
    }

    /// Keeps bytes, which are at most [`PIECE`].
    pub(super) fn put(&mut self, bytes: &[u8]) -> Piece {
        let (number, piece) = self.room(bytes.len());
        let start = piece.len();
        piece.extend_from_slice(bytes);
        self.held += bytes.len();
        Piece {
            piece: number,
            start: start as u32,
            length: bytes.len() as u32,
        }
    }

    /// A piece with room, and its number.
    fn room(&mut self, length: usize) -> (u32, &mut Vec<u8>) {
        let last = self.pieces.last();
        if last.is_none_or(|piece| piece.len() + length > PIECE) {
            let fresh = self.spare.pop();
            self.pieces
                .push(fresh.unwrap_or_else(|| Vec::with_capacity(PIECE)));
        }
        let index = self.pieces.len() - 1;
        (index as u32, &mut self.pieces[index])
    }

    /// Gives back what was taken last.
    pub(super) fn give_back(&mut self, taken: Piece) {
        if let Some(piece) = self.pieces.get_mut(taken.piece as usize) {
            piece.truncate(taken.start as usize);
            self.held -= taken.length as usize;
        }
    }

    #[inline]
    pub(super) fn bytes(&self, of: Piece) -> &[u8] {
        let (start, length) = (of.start as usize, of.length as usize);
        self.pieces
            .get(of.piece as usize)
            .and_then(|piece| piece.get(start..start + length))
            .unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        for mut piece in self.pieces.drain(..) {
            // A large generation must not hold its room for ever.
            if self.spare.len() < SPARE {
                piece.clear();
                self.spare.push(piece);
            }
        }
        self.held = 0;
    }
}

/// Things by their numbers, which the runtime counts from 1.
#[derive(Debug)]
pub(super) struct Table<T> {
    dense: Vec<Option<T>>,
    sparse: HashMap<u64, T>,
    count: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            dense: Vec::new(),
            sparse: HashMap::new(),
            count: 0,
        }
    }
}

impl<T> Table<T> {
    /// The first of a number counts. Returns false when there is no room.
    pub(super) fn insert(&mut self, id: u64, value: T, most: usize) -> bool {
        if self.get(id).is_some() {
            return true;
        }
        if self.count >= most {
            return false;
        }
        self.count += 1;
        let near = 2 * self.count as u64 + 4096;
        match usize::try_from(id) {
            Ok(index) if id < near => {
                if self.dense.len() <= index {
                    self.dense.resize_with(index + 1, || None);
                }
                if let Some(place) = self.dense.get_mut(index) {
                    *place = Some(value);
                }
            }
            _ => {
                self.sparse.insert(id, value);
            }
        }
        true
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<&T> {
        let near = usize::try_from(id)
            .ok()
            .and_then(|index| self.dense.get(index))
            .and_then(Option::as_ref);
        match near {
            None if !self.sparse.is_empty() => self.sparse.get(&id),
            near => near,
        }
    }

    pub(super) fn clear(&mut self) {
        self.dense.clear();
        self.sparse = HashMap::new();
        self.count = 0;
    }
}

/// The strings and stacks that events refer to.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub arena: Arena,
    pub strings: Table<Piece>,
    /// The bytes behind the number of frames, and that number.
    pub stacks: Table<(Piece, u16)>,
}

impl Names {
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.strings.clear();
        self.stacks.clear();
    }

    pub(super) fn string(&self, id: u64) -> Option<Cow<'_, str>> {
        if id == 0 {
            return Some(Cow::Borrowed(""));
        }
        let bytes = self.strings.get(id)?;
        Some(String::from_utf8_lossy(self.arena.bytes(*bytes)))
    }

    pub(super) fn frames(&self, stack: u32) -> Vec<Frame> {
        let Some((bytes, count)) = self.stacks.get(u64::from(stack)) else {
            return Vec::new();
        };
        let mut cursor = Cursor::new(self.arena.bytes(*bytes));
        let mut frames = Vec::with_capacity(usize::from(*count));
        for _ in 0..*count {
            let mut number = || cursor.uvarint();
            let (Some(pc), Some(function), Some(file), Some(line)) =
                (number(), number(), number(), number())
            else {
                break;
            };
            let name = self.string(function).filter(|name| !name.is_empty());
            frames.push(Frame {
                function: name.map_or_else(|| format!("{pc:#x}"), Cow::into_owned),
                file: self.string(file).map_or_else(String::new, Cow::into_owned),
                line: u32::try_from(line).unwrap_or(0),
                inlined: false,
            });
        }
        frames
    }
}
