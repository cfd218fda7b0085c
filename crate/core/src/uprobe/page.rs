//! What the kernel's ring buffers hold, by the kernel's own descriptions of it
//! (`events/header_page`, `events/*/*/format`; kernel/trace/ring_buffer.c).

use super::UprobeError;

/// A page claims to be at most this large.
const PAGE_MAX: usize = 1 << 24;

/// A field of a page or of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) offset: usize,
    /// Bytes, all elems of an array together.
    pub(super) size: usize,
}

/// Where an event's fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) id: u16,
    fields: Vec<Field>,
}

impl Format {
    /// From the text of a `format` file named `path`.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, UprobeError> {
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("ID: ")?.trim().parse().ok());
        Ok(Self {
            id: id.ok_or_else(|| unknown(path, "no ID"))?,
            fields: fields(text),
        })
    }

    pub(super) fn field(&self, path: &str, name: &str) -> Result<&Field, UprobeError> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| unknown(path, &format!("no field {name}")))
    }
}

fn unknown(path: &str, what: &str) -> UprobeError {
    UprobeError::Unknown(format!("{path} has {what}"))
}

/// `field:unsigned long caller[8]; offset:16; size:64; signed:0;`
fn fields(text: &str) -> Vec<Field> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.trim().strip_prefix("field:")?.split(';');
            let declaration = parts.next()?;
            let declaration = declaration.split('[').next()?;
            let name = declaration.split_whitespace().next_back()?.to_owned();
            let mut number = |key: &str| {
                let part = parts.next()?.trim();
                part.strip_prefix(key)?.parse::<usize>().ok()
            };
            let offset = number("offset:")?;
            let size = number("size:")?;
            (offset.checked_add(size)? <= PAGE_MAX).then_some(Field { name, offset, size })
        })
        .collect()
}

/// A number of 1, 2, 4 or 8 bytes in the byte order of this machine, on which the kernel runs.
pub(super) fn number(data: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = data.get(offset..offset.checked_add(size)?)?;
    Some(match size {
        1 => u64::from(*bytes.first()?),
        2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
        4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
        8 => u64::from_ne_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

/// How pages are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageFormat {
    commit: Field,
    data: usize,
    /// Bytes of a page.
    pub(super) size: usize,
}

/// In a page's commit: events before it were lost, and their number follows the data.
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

/// Bits of the header of an event (`struct ring_buffer_event`).
const DELTA_SHIFT: u32 = 27;
const DELTA_MASK: u32 = (1 << DELTA_SHIFT) - 1;
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;
/// An absolute time lacks these bits.
const TIME_MSB: u64 = 0xf8 << 56;

/// What is told of events lost before a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    Nothing,
    /// So many.
    Events(u64),
    /// Some.
    Unknown,
}

impl PageFormat {
    /// From the text of `events/header_page`.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, UprobeError> {
        let fields = fields(text);
        let field = |name: &str| {
            fields
                .iter()
                .find(|field| field.name == name)
                .cloned()
                .ok_or_else(|| unknown(path, &format!("no field {name}")))
        };
        let timestamp = field("timestamp")?;
        let commit = field("commit")?;
        let data = field("data")?;
        if (timestamp.offset, timestamp.size) != (0, 8) || !matches!(commit.size, 4 | 8) {
            return Err(unknown(path, "an unknown page header"));
        }
        Ok(Self {
            size: data.offset + data.size,
            commit,
            data: data.offset,
        })
    }

    /// Hands the events of a page, oldest first, to `each`: the time in nanoseconds and the
    /// record. `Err` tells where the page contradicts itself; what stood before was handed on.
    pub(super) fn decode(
        &self,
        page: &[u8],
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Missed, usize> {
        let mut time = number(page, 0, 8).ok_or(0_usize)?;
        let commit = number(page, self.commit.offset, self.commit.size).ok_or(0_usize)?;
        let len = (commit & !(MISSED | MISSED_STORED) & u64::from(u32::MAX)) as usize;
        let end = self.data.checked_add(len).ok_or(0_usize)?;
        let records = page.get(..end).ok_or(self.commit.offset)?;
        let missed = match (commit & MISSED != 0, commit & MISSED_STORED != 0) {
            (false, _) => Missed::Nothing,
            (true, true) => number(page, end, 8).map_or(Missed::Unknown, Missed::Events),
            (true, false) => Missed::Unknown,
        };
        let mut at = self.data;
        while at < end {
            let word = |offset: usize| number(records, offset, 4).map(|word| word as u32);
            let header = word(at).ok_or(at)?;
            let (kind, delta) = (header & 31, u64::from(header >> 5));
            match kind {
                PADDING => {
                    if delta == 0 {
                        break;
                    }
                    // A record that was discarded.
                    time = time.wrapping_add(delta);
                    at = at + 4 + word(at + 4).ok_or(at)? as usize;
                }
                TIME_EXTEND | TIME_STAMP => {
                    let high = u64::from(word(at + 4).ok_or(at)?);
                    let value = (high << DELTA_SHIFT) + (delta & u64::from(DELTA_MASK));
                    if kind == TIME_EXTEND {
                        time = time.wrapping_add(value);
                    } else {
                        let whole = value | (time & TIME_MSB);
                        // The bits that lack went on since.
                        time = if whole < time {
                            whole.wrapping_add(1 << 59)
                        } else {
                            whole
                        };
                    }
                    at += 8;
                }
                _ => {
                    time = time.wrapping_add(delta);
                    let (start, next) = if kind == 0 {
                        let len = word(at + 4).ok_or(at)? as usize;
                        (at + 8, at + 4 + len.max(4))
                    } else {
                        (at + 4, at + 4 + kind as usize * 4)
                    };
                    each(time, records.get(start..next).ok_or(at)?);
                    at = next;
                }
            }
        }
        Ok(missed)
    }
}
