use std::cell::RefCell;

use super::*;
use crate::memory::ReadError;

const AT: u64 = 0x10_0000;
const RECORDS: u64 = 0x20_0000;
const ABI: Abi = Abi {
    pointer_size: 8,
    big_endian: false,
};

struct Bytes(RefCell<Vec<(u64, Vec<u8>)>>);

impl Memory for Bytes {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let parts = self.0.borrow();
        let part = parts
            .iter()
            .find_map(|(start, bytes)| {
                let from = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(from..from + buffer.len())
            })
            .ok_or(ReadError::fault(address, buffer.len()))?;
        buffer.copy_from_slice(part);
        Ok(())
    }
}

fn header(entries: u64, next: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(96_u32.to_le_bytes());
    for word in [entries, next, 0, 1000, 5000] {
        bytes.extend(word.to_le_bytes());
    }
    for half in [0_u32, 2, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(RECORDS.to_le_bytes());
    bytes.resize(HEADER + 8, 0);
    bytes
}

fn record(seq: u64) -> Vec<u8> {
    let meta = u64::from(op::GROW) | 5 << 8 | 4 << 16 | 77 << 32;
    [seq, seq.wrapping_add(1000), 1, 2, 3, 4, 5, 6, 7, 8, meta, 9]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn ring(seqs: &[u64], next: u64) -> (Result<Ring, RingError>, Bytes) {
    let records = seqs.iter().flat_map(|seq| record(*seq)).collect();
    let memory = Bytes(RefCell::new(vec![
        (AT, header(seqs.len() as u64, next)),
        (RECORDS, records),
    ]));
    (Ring::at(ABI, &memory, AT), memory)
}

fn read(seqs: &[u64], next: u64) -> (Vec<u64>, Counts) {
    let (ring, memory) = ring(seqs, next);
    let mut found = Vec::new();
    let counts = ring
        .unwrap()
        .read(&memory, &mut |record| {
            found.push(record.seq);
            assert_eq!(record.time, 1000 + record.seq);
            assert_eq!((record.capacity, record.old_capacity), (Some(16), Some(8)));
            assert_eq!((record.thread, record.shape), (77, 9));
            Flow::Continue
        })
        .unwrap();
    let all = counts.whole + counts.torn + counts.damaged + counts.unreadable + counts.lost;
    assert_eq!(all, next, "every record is accounted for: {counts:?}");
    (found, counts)
}

#[test]
fn records_come_in_order_and_every_other_is_counted() {
    assert_eq!(read(&[1, 2, 3, 0], 3).0, [1, 2, 3]);
    let (found, counts) = read(&[5, 6, 3, 4], 6);
    assert_eq!((found, counts.lost), (vec![3, 4, 5, 6], 2));
    // One is being written, one was given up, one is not begun.
    let (found, counts) = read(&[9, BUSY, 7, 4], 10);
    assert_eq!((found, counts.torn, counts.lost), (vec![7, 9], 1, 7));
    assert!(!counts.exact());
    let (found, counts) = read(&[1, 0, 3, 4], 4);
    assert_eq!((found, counts.torn), (vec![1, 3, 4], 1));
    // Numbers that do not belong where they stand.
    let (found, counts) = read(&[2, 2, 3, 44], 4);
    assert_eq!((found, counts.damaged), (vec![2, 3], 2));
    assert_eq!(read(&[0, 0, 0, 0], 0).0, [] as [u64; 0]);
}

#[test]
fn unreadable_records_are_counted() {
    let (ring, memory) = ring(&[1, 2, 3, 4], 4);
    memory.0.borrow_mut().pop();
    let counts = ring
        .unwrap()
        .read(&memory, &mut |_| Flow::Continue)
        .unwrap();
    assert_eq!(counts.unreadable, 4);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    for (at, bytes) in [
        (0_usize, vec![b'G']),
        (16, 2_u32.to_le_bytes().to_vec()),
        (20, 95_u32.to_le_bytes().to_vec()),
        (24, 3_u64.to_le_bytes().to_vec()),
        (24, (1_u64 << 63).to_le_bytes().to_vec()),
        (68, 3_u32.to_le_bytes().to_vec()),
        (76, u32::MAX.to_le_bytes().to_vec()),
        (80, (u64::MAX - 8).to_le_bytes().to_vec()),
        (80, 0_u64.to_le_bytes().to_vec()),
    ] {
        let (_, memory) = ring(&[1, 2, 3, 4], 4);
        memory.0.borrow_mut()[0].1[at..at + bytes.len()].copy_from_slice(&bytes);
        let error = Ring::at(ABI, &memory, AT).unwrap_err().to_string();
        assert!(error.contains("0x100000"), "{error}");
    }
}

#[test]
fn headers_are_found_across_blocks() {
    let mut bytes = vec![0; 2 * BLOCK as usize + 64];
    for at in [BLOCK as usize - 8, 2 * BLOCK as usize, 4] {
        bytes[at..at + 16].copy_from_slice(&MAGIC);
    }
    let len = bytes.len() as u64;
    let memory = Bytes(RefCell::new(vec![(AT, bytes)]));
    // Not at an odd address: a header is aligned.
    assert_eq!(
        search(&memory, AT, len).unwrap(),
        [AT + BLOCK - 8, AT + 2 * BLOCK]
    );
}
