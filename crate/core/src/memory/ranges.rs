//! Many ranges in few reads: near ones are merged, faults are narrowed down.

use super::{Memory, PAGE, READ_MAX, ReadError, Span};

/// Reading the gap is cheaper than another call below this many bytes: a call
/// costs about 2 us, gdb copies about 5 GB/s.
pub(crate) const GAP_MAX: u64 = 8 << 10;

/// Reads larger than this begin with a page, though nobody asked for all of it: Linux copies
/// another process's memory in steps of a page from the first byte on, and looks up two
/// pages for each step that is in both. Such reads take a third less time.
const PAGED: u64 = 64 << 10;

/// One range of a [`RangeReader`] with its bytes.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// Index of the range in the list that was given.
    pub index: usize,
    /// Its bytes; `None` when any of them is unreadable.
    pub bytes: Option<&'a [u8]>,
}

/// Reads a list of ranges in address order.
#[derive(Debug, Default)]
pub struct RangeReader {
    buffer: Vec<u8>,
}

impl RangeReader {
    /// Reads `ranges`, which must be sorted by address, and hands each to
    /// `visit`. Ranges must not be larger than `READ_MAX`; a larger one, or one
    /// that is unreadable, is handed over without bytes.
    ///
    /// # Errors
    /// [`ReadError::Interrupted`]; faults are reported range by range.
    pub fn read(
        &mut self,
        memory: &dyn Memory,
        ranges: &[Span],
        visit: &mut dyn FnMut(Chunk<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut first = 0;
        while let Some(head) = ranges.get(first) {
            let mut end = head.end();
            let mut last = first + 1;
            let page = head.start - head.start % PAGE;
            while let Some(next) = ranges.get(last) {
                let apart = next.start.saturating_sub(end) > GAP_MAX || next.start < head.start;
                if apart || next.end().max(end) - page > READ_MAX as u64 {
                    break;
                }
                end = end.max(next.end());
                last += 1;
            }
            let start = match end - page {
                PAGED.. if end - page <= READ_MAX as u64 => page,
                _ => head.start,
            };
            let len = (end - start).min(READ_MAX as u64) as usize;
            let mut visited = Ok(());
            let failed = memory.faults();
            let whole = if head.len > READ_MAX as u64 {
                Err(ReadError::fault(head.start, len))
            } else {
                memory.lend(start, len, &mut self.buffer, &mut |bytes| {
                    for (index, range) in ranges.iter().enumerate().take(last).skip(first) {
                        let offset = (range.start - start) as usize;
                        let bytes = bytes.get(offset..offset + range.len as usize);
                        visited = visit(Chunk { index, bytes });
                        if visited.is_err() {
                            break;
                        }
                    }
                })
            };
            visited?;
            match whole {
                Ok(()) => {}
                Err(ReadError::Fault { .. }) => {
                    // Something in the merged run is unreadable: one by one.
                    memory.forgive(failed);
                    for (index, range) in ranges.iter().enumerate().take(last).skip(first) {
                        let one = usize::try_from(range.len)
                            .ok()
                            .filter(|len| *len <= READ_MAX);
                        if let Some(len) = one.filter(|len| *len > self.buffer.len()) {
                            self.buffer.resize(len, 0);
                        }
                        let bytes = match one.and_then(|len| self.buffer.get_mut(..len)) {
                            Some(buffer) => match memory.read(range.start, buffer) {
                                Ok(()) => Some(&*buffer),
                                Err(ReadError::Fault { .. }) => None,
                                Err(other) => return Err(other),
                            },
                            None => None,
                        };
                        visit(Chunk { index, bytes })?;
                    }
                }
                Err(other) => return Err(other),
            }
            first = last;
        }
        Ok(())
    }
}

/// Whether what [`read_available`] names is all of `len` bytes.
pub(crate) fn nothing_read(missing: &[Span], len: u64) -> bool {
    missing.iter().map(|span| span.len).sum::<u64>() >= len
}

/// Reads what can be read of `buffer.len()` bytes at `address`, page by page
/// where the whole cannot be had; unreadable bytes are zeroed and their ranges
/// returned, merged. What lies beyond the end of the address space is named from its
/// last address on.
///
/// # Errors
/// [`ReadError::Interrupted`].
pub fn read_available(
    memory: &dyn Memory,
    address: u64,
    buffer: &mut [u8],
) -> Result<Vec<Span>, ReadError> {
    let failed = memory.faults();
    match memory.read(address, buffer) {
        Ok(()) => return Ok(Vec::new()),
        Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
        Err(ReadError::Fault { .. }) => memory.forgive(failed),
    }
    let mut missing: Vec<Span> = Vec::new();
    let mut at = address;
    let mut rest = buffer;
    while !rest.is_empty() {
        let take = rest.len().min((PAGE - at % PAGE) as usize);
        let (part, tail) = rest.split_at_mut(take);
        match memory.read(at, part) {
            Ok(()) => {}
            Err(ReadError::Interrupted) => return Err(ReadError::Interrupted),
            Err(ReadError::Fault { .. }) => {
                part.fill(0);
                match missing.last_mut() {
                    Some(last) if last.end() == at => last.len += take as u64,
                    _ => missing.push(Span {
                        start: at,
                        len: take as u64,
                    }),
                }
            }
        }
        match at.checked_add(take as u64) {
            Some(next) => at = next,
            None if tail.is_empty() => {}
            // The end of the address space: nothing lies beyond it.
            None => {
                missing.push(Span {
                    start: u64::MAX,
                    len: tail.len() as u64,
                });
                tail.fill(0);
                break;
            }
        }
        rest = tail;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{BlockCache, Image};

    fn image() -> Image {
        let mut image = Image::new();
        image.map(0x10000, (0..0x4000_u32).map(|i| i as u8).collect());
        image
    }

    #[test]
    fn near_ranges_are_read_at_once() {
        let image = image();
        let ranges = [
            Span {
                start: 0x10000,
                len: 16,
            },
            Span {
                start: 0x10100,
                len: 16,
            },
            Span {
                start: 0x13ff0,
                len: 16,
            },
        ];
        let mut seen = Vec::new();
        RangeReader::default()
            .read(&image, &ranges, &mut |chunk| {
                seen.push((chunk.index, chunk.bytes.map(|b| b[0])));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [(0, Some(0)), (1, Some(0)), (2, Some(0xf0))]);
        // The third lies more than 8 KiB behind the second.
        assert_eq!(image.reads(), 2);
    }

    #[test]
    fn a_fault_spoils_only_its_own_range() {
        let image = image();
        let ranges = [
            Span {
                start: 0x13fe0,
                len: 32,
            },
            Span {
                start: 0x14000,
                len: 32,
            },
        ];
        let mut seen = Vec::new();
        RangeReader::default()
            .read(&image, &ranges, &mut |chunk| {
                seen.push(chunk.bytes.is_some());
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [true, false]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let image = image();
        let mut buffer = vec![7; 0x3000];
        let missing = read_available(&image, 0x12000, &mut buffer).unwrap();
        assert_eq!(
            missing,
            [Span {
                start: 0x14000,
                len: 0x1000
            }]
        );
        assert_eq!(buffer[0x2000], 0);
        assert_eq!(buffer[1], 1);
    }

    #[test]
    fn the_cache_returns_what_memory_holds() {
        let image = image();
        let cache = BlockCache::new(&image, 1 << 20);
        for address in (0x10000..0x13f00).step_by(37) {
            let mut buffer = [0; 100];
            cache.read(address, &mut buffer).unwrap();
            let expected: Vec<u8> = (0..100).map(|i| (address + i) as u8).collect();
            assert_eq!(buffer.to_vec(), expected, "at {address:#x}");
        }
        assert!(image.reads() < 10, "{} reads", image.reads());
        let mut buffer = [0; 32];
        assert_eq!(
            cache.read(0x13ff0, &mut buffer),
            Err(ReadError::fault(0x14000, 16))
        );
        assert_eq!(
            cache.read(u64::MAX - 3, &mut buffer),
            Err(ReadError::fault(u64::MAX - 3, 32))
        );
    }

    #[test]
    fn a_page_readable_in_part_is_still_read() {
        let mut image = Image::new();
        image.map(0x10000, vec![9; 100]);
        let cache = BlockCache::new(&image, 1 << 20);
        let mut buffer = [0; 100];
        assert_eq!(cache.read(0x10000, &mut buffer), Ok(()));
        assert_eq!(buffer, [9; 100]);
    }
}
