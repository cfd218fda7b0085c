//! Which pages of a process on this machine are in memory, from
//! `/proc/PID/pagemap` (Linux: Documentation/admin-guide/mm/pagemap.rst).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::PAGE;

/// Counts the resident ones of `pages`: runs of pages given as
/// `(first address, number of pages)`.
///
/// `None` when the kernel does not tell (no such process, no right to ask, not Linux).
/// The page size of the machine must be 4096.
#[must_use]
pub fn resident_pages(pid: u32, pages: &[(u64, u64)]) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    const ENTRIES: u64 = 8192;
    let mut pagemap = File::open(format!("/proc/{pid}/pagemap")).ok()?;
    let mut buffer = vec![0; (ENTRIES * 8) as usize];
    let mut resident = 0;
    for &(start, count) in pages {
        let mut next = start / PAGE;
        let end = next.checked_add(count)?;
        pagemap.seek(SeekFrom::Start(next.checked_mul(8)?)).ok()?;
        while next < end {
            let take = (end - next).min(ENTRIES);
            let part = buffer.get_mut(..(take * 8) as usize)?;
            pagemap.read_exact(part).ok()?;
            resident += part
                .chunks_exact(8)
                .filter(|entry| {
                    let entry: [u8; 8] = (*entry).try_into().unwrap_or_default();
                    u64::from_ne_bytes(entry) & PRESENT != 0
                })
                .count() as u64;
            next += take;
        }
    }
    Some(resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_pages_that_were_touched_are_resident() {
        let bytes = vec![1_u8; 10 * PAGE as usize];
        let start = (bytes.as_ptr() as u64).next_multiple_of(PAGE);
        let count = resident_pages(std::process::id(), &[(start, 8)]);
        assert_eq!(count, Some(8));
        drop(bytes);
    }

    #[test]
    fn a_process_that_is_not_there_tells_nothing() {
        assert_eq!(resident_pages(u32::MAX, &[(0, 1)]), None);
    }
}
