//! Bytes in, numbers out.

use std::io::{BufReader, Read};

/// The longest encoding of 64 bits.
const VARINT_MAX: usize = 10;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The input ended where something new could have begun.
    End,
    /// It ended inside of something, or what is there cannot be: a phrase.
    Broken(String),
}

/// The unpacked bytes of a trace, counted.
pub(super) struct Source<R> {
    reader: BufReader<R>,
    /// Bytes taken.
    offset: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(256 << 10, reader),
            offset: 0,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next byte; `End` if there is none.
    pub(super) fn first(&mut self) -> Result<u8, Stop> {
        let mut byte = [0];
        // BufReader copies from its buffer; there is no call to the system for each byte.
        loop {
            match self.reader.read(&mut byte) {
                Ok(0) => return Err(Stop::End),
                Ok(_) => {
                    self.offset += 1;
                    return Ok(byte[0]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Broken(error.to_string())),
            }
        }
    }

    /// A byte that must be there.
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        self.first().map_err(|stop| match stop {
            Stop::End => Stop::Broken("the file ends".into()),
            broken @ Stop::Broken(_) => broken,
        })
    }

    pub(super) fn uvarint(&mut self) -> Result<u64, Stop> {
        let mut value = 0;
        for index in 0..VARINT_MAX {
            let byte = self.byte()?;
            if index == VARINT_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Broken("a number has more than 64 bits".into()))
    }

    /// Appends `length` bytes, which the caller has capped. What there is of them is
    /// appended even if that is less.
    pub(super) fn append(&mut self, length: usize, to: &mut Vec<u8>) -> Result<(), Stop> {
        let mut rest = (&mut self.reader).take(length as u64);
        let result = rest.read_to_end(to);
        let missing = rest.limit();
        self.offset += length as u64 - missing;
        match result {
            Ok(_) if missing == 0 => Ok(()),
            Ok(_) => Err(Stop::Broken("the file ends".into())),
            Err(error) => Err(Stop::Broken(error.to_string())),
        }
    }
}

/// A place in bytes that are in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    pub(super) fn uvarint(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first()?;
        if *first < 0x80 {
            self.rest = rest;
            return Some(u64::from(*first));
        }
        self.long()
    }

    fn long(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(VARINT_MAX).enumerate() {
            if index == VARINT_MAX - 1 && *byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Some(value);
            }
        }
        None
    }

    /// Passes over `count` numbers.
    #[inline]
    pub(super) fn skip(&mut self, count: u8) -> Option<()> {
        for _ in 0..count {
            let length = self
                .rest
                .iter()
                .take(VARINT_MAX)
                .position(|byte| *byte < 0x80)?;
            self.rest = self.rest.get(length + 1..)?;
        }
        Some(())
    }

    pub(super) fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Ticks of a clock as nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    per_second: u64,
    /// Whole nanoseconds of one tick, if they are whole.
    nanoseconds: u64,
}

impl Ticks {
    /// `None` for a frequency that no clock has.
    pub(super) fn new(per_second: u64) -> Option<Self> {
        // Above that a tick is less than a thousandth of a nanosecond.
        if per_second == 0 || per_second > 1_000_000_000_000 {
            return None;
        }
        let whole = 1_000_000_000 % per_second == 0;
        Some(Self {
            per_second,
            nanoseconds: if whole { 1_000_000_000 / per_second } else { 0 },
        })
    }

    pub(super) fn per_second(self) -> u64 {
        self.per_second
    }

    #[inline]
    pub(super) fn ns(self, ticks: u64) -> u64 {
        if self.nanoseconds != 0 {
            return ticks.saturating_mul(self.nanoseconds);
        }
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.per_second);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        // encoding/binary: AppendUvarint.
        for (bytes, value) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 1], Some(128)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                Some(u64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                None,
            ),
            (&[0x80; 11], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(Cursor::new(bytes).uvarint(), value, "{bytes:x?}");
            assert_eq!(Source::new(bytes).uvarint().ok(), value, "{bytes:x?}");
        }
    }

    #[test]
    fn ticks_become_nanoseconds_without_rounding_up() {
        let linux = Ticks::new(15_625_000).unwrap();
        assert_eq!(linux.ns(3), 192);
        assert_eq!(linux.ns(u64::MAX), u64::MAX);
        let other = Ticks::new(46_875_000).unwrap();
        assert_eq!(other.ns(46_875_000 * 3_600 + 1), 3_600_000_000_021);
        assert_eq!(Ticks::new(0), None);
    }
}
