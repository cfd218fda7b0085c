//! A process that was recorded: of its executable what names it, of its memory what was read to
//! answer all commands (`examples/record.rs`).

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use flate2::read::GzDecoder;
use gomapscope_core::binary::Binary;
use gomapscope_core::heap::ThreadRegisters;
use gomapscope_core::memory::{Memory, ReadError};
use serde_json::Value;

use crate::check;
use crate::scratch::Scratch;

/// Reads that one way to look at a case may cost.
const READS_MAX: u64 = 400_000;

/// Bytes that it may read.
const BYTES_MAX: u64 = 1 << 30;

/// Memory whose bytes can be changed and put back.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    /// Where, in [`Bytes::held`] from where, how many; ascending.
    segments: Vec<(u64, usize, usize)>,
    held: RefCell<Vec<u8>>,
    /// What was changed: where in `held`, the byte before.
    changed: RefCell<Vec<(usize, u8)>>,
    /// What is read, while that is asked for: where, how many.
    log: RefCell<Option<Vec<(u64, u64)>>>,
    /// Reads, and bytes read.
    work: Cell<(u64, u64)>,
}

impl Bytes {
    fn place(&self, address: u64) -> Option<(usize, usize)> {
        let after = self
            .segments
            .partition_point(|(start, ..)| *start <= address);
        let (start, from, len) = *self.segments.get(after.checked_sub(1)?)?;
        let inside = usize::try_from(address - start)
            .ok()
            .filter(|inside| *inside < len)?;
        Some((from + inside, len - inside))
    }

    /// Changes bytes that are held.
    pub(crate) fn change(&self, address: u64, bytes: &[u8]) {
        let mut held = self.held.borrow_mut();
        for (address, byte) in (address..).zip(bytes) {
            if let Some((at, _)) = self.place(address) {
                self.changed.borrow_mut().push((at, held[at]));
                held[at] = *byte;
            }
        }
    }

    /// What `act` reads, in parts.
    pub(crate) fn read_by(&self, act: impl FnOnce()) -> Vec<(u64, u64)> {
        self.log.replace(Some(Vec::new()));
        act();
        let mut log = self.log.take().unwrap_or_default();
        log.sort_unstable();
        log.dedup();
        log
    }

    /// Puts all bytes back, and forgets what was read.
    pub(crate) fn restore(&self) {
        let mut held = self.held.borrow_mut();
        for (at, byte) in self.changed.borrow_mut().drain(..).rev() {
            held[at] = byte;
        }
        self.work.set((0, 0));
    }
}

impl Memory for Bytes {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (reads, bytes) = self.work.get();
        let len = buffer.len();
        // What is read is in proportion to what there is, whatever it claims; here the one who
        // reads more is caught.
        let ways = check::most_ways();
        assert!(reads < READS_MAX * ways, "{reads} reads");
        assert!(bytes < BYTES_MAX * ways, "{bytes} bytes read");
        self.work.set((reads + 1, bytes + len as u64));
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.push((address, len as u64));
        }
        let fault = || ReadError::fault(address, len);
        let held = self.held.borrow();
        let mut done = 0;
        while done < buffer.len() {
            let next = address.checked_add(done as u64).ok_or_else(fault)?;
            let (at, held_here) = self.place(next).ok_or_else(fault)?;
            let take = held_here.min(buffer.len() - done);
            buffer[done..done + take].copy_from_slice(&held[at..at + take]);
            done += take;
        }
        Ok(())
    }
}

/// A recording, unpacked.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Its executable's headers.
    pub(crate) binary: Rc<Binary>,
    /// Its memory.
    pub(crate) memory: Rc<Bytes>,
    /// Its threads.
    pub(crate) threads: Vec<ThreadRegisters>,
    /// Maps: where the header stands, and the type.
    pub(crate) maps: Vec<(u64, String)>,
    /// What is read byte by byte, not as a part of a block: where, how many.
    hot: Vec<(u64, u64)>,
    /// Bytes of all these.
    hot_len: u64,
    /// The executable, as long as it is to be opened.
    _file: Scratch,
}

impl Recorded {
    pub(crate) fn open(packed: &[u8]) -> Self {
        let mut bytes = Vec::new();
        GzDecoder::new(packed)
            .read_to_end(&mut bytes)
            .expect("a recording");
        let (len, rest) = bytes.split_first_chunk::<8>().expect("a recording");
        let (head, body) = rest.split_at(u64::from_le_bytes(*len) as usize);
        let head: Value = serde_json::from_slice(head).expect("a recording");
        let pairs = |name: &str| -> Vec<(u64, u64)> {
            let rows = head[name].as_array().expect("rows");
            let word = |value: &Value| value.as_u64().expect("a number");
            rows.iter()
                .map(|row| (word(&row[0]), word(&row[1])))
                .collect()
        };
        let (executable, held) =
            body.split_at(head["executable"].as_u64().expect("bytes") as usize);
        let mut from = 0;
        let segments = pairs("segments")
            .into_iter()
            .map(|(start, len)| {
                let segment = (start, from, len as usize);
                from += len as usize;
                segment
            })
            .collect();
        let mut file = Scratch::new();
        let path: &Path = file.hold(executable);
        let binary = Rc::new(Binary::open(path).expect("headers of an executable"));
        let threads = head["threads"].as_array().expect("threads").iter();
        let threads = threads
            .map(|values| ThreadRegisters {
                tid: 1,
                values: serde_json::from_value(values.clone()).expect("registers"),
            })
            .collect();
        let hot = pairs("hot");
        Self {
            binary,
            memory: Rc::new(Bytes {
                segments,
                held: RefCell::new(held.to_vec()),
                ..Bytes::default()
            }),
            threads,
            maps: serde_json::from_value(head["maps"].clone()).expect("maps"),
            hot_len: hot.iter().map(|(_, len)| len).sum(),
            hot,
            _file: file,
        }
    }

    /// The address of byte `index` of what is read by itself.
    fn hot(&self, index: u64) -> u64 {
        byte_of(&self.hot, index % self.hot_len)
    }

    /// Changes memory as `edits` say, 8 bytes each: how, where (3 bytes), with what (4 bytes);
    /// anywhere in what is read by itself.
    pub(crate) fn edit(&self, edits: &[u8]) {
        self.edit_in(edits, |index| self.hot(index));
    }

    /// The same in what `place` makes of the three bytes.
    pub(crate) fn edit_in(&self, edits: &[u8], place: impl Fn(u64) -> u64) {
        for edit in edits.chunks_exact(8).take(24) {
            let &[how, a, b, c, ref value @ ..] = edit else {
                continue;
            };
            let index = u64::from(u32::from_le_bytes([a, b, c, 0]));
            let value = u32::from_le_bytes(value.try_into().expect("four bytes"));
            let address = place(index);
            let word = address & !7;
            let bit = 1_u64 << (value & 63);
            match how % 8 {
                0 | 1 => self.memory.change(address, &[value as u8]),
                2 => self.memory.change(address, &value.to_le_bytes()[..2]),
                3 => self.memory.change(address & !3, &value.to_le_bytes()),
                4 => self.memory.change(word, &u64::from(value).to_le_bytes()),
                // A pointer to something.
                5 => self
                    .memory
                    .change(word, &self.hot(u64::from(value)).to_le_bytes()),
                6 => self
                    .memory
                    .change(word, &(self.hot(u64::from(value)) & !7).to_le_bytes()),
                // A word that is extreme.
                _ => {
                    let words = [
                        bit,
                        bit.wrapping_sub(1),
                        !bit,
                        u64::MAX - u64::from(value >> 8),
                    ];
                    let extreme = words[(value >> 6 & 3) as usize];
                    self.memory.change(word, &extreme.to_le_bytes());
                }
            }
        }
    }
}

/// The address of byte `index` of these parts: where, how many.
pub(crate) fn byte_of(parts: &[(u64, u64)], mut index: u64) -> u64 {
    for (start, len) in parts {
        match index.checked_sub(*len) {
            Some(rest) => index = rest,
            None => return start + index,
        }
    }
    0
}
