//! The flight recorder's ring.

use gomapscope_core::map::Flow;
use gomapscope_core::memory::{Abi, Image};
use gomapscope_core::ring::Ring;

use crate::check;
use crate::common::ABIS;

/// Where the header stands; the records follow it.
const AT: u64 = 0x1_0000;

/// A byte for the architecture, the header, the records.
pub(crate) fn run(data: &[u8]) {
    let [which, bytes @ ..] = data else {
        return;
    };
    let abi: Abi = ABIS[usize::from(*which) % ABIS.len()];
    let mut image = Image::new();
    image.map(AT, bytes.to_vec());
    let ring = match Ring::at(abi, &image, AT) {
        Ok(ring) => ring,
        Err(error) => return check::error(error),
    };
    assert!(ring.entries.is_power_of_two());
    let before = image.reads();
    let mut seen = 0_u64;
    let mut last = 0;
    let counts = ring.read(&image, &mut |record| {
        seen += 1;
        assert!(record.seq > last, "oldest first");
        last = record.seq;
        assert!(record.stack.len() as u64 <= ring.depth);
        Flow::Continue
    });
    let counts = counts.expect("nobody interrupts");
    assert_eq!(counts.whole, seen);
    let told = [
        counts.whole,
        counts.torn,
        counts.damaged,
        counts.unreadable,
        counts.lost,
    ];
    // What was recorded, each once.
    assert_eq!(told.iter().sum::<u64>(), ring.next, "{counts:?}");
    let bytes = ring.entries * ring.entry_size;
    assert!(
        image.reads() - before <= data.len() as u64 / 8 + bytes / (128 << 10) + 1024,
        "{} reads",
        image.reads() - before
    );
}
