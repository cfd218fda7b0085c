//! Code: where a function is entered and left; and what the kernel recorded there.

use gomapscope_core::binary::prologue::{Arch, Place, StepCost, locked_add, place, places};
use gomapscope_core::uprobe::page_records;

use crate::check;

/// A byte for the architecture and the address, the code.
pub(crate) fn run(data: &[u8]) {
    let [which, code @ ..] = data else {
        return;
    };
    let arch = match which & 1 {
        0 => Arch::Amd64,
        _ => Arch::Arm64,
    };
    let entry = match which >> 1 & 3 {
        0 => 0,
        1 => 0x40_1000,
        2 => u64::MAX - 64,
        _ => u64::MAX,
    };
    let inside = |place: &Place| {
        assert!(place.len >= 1 && place.len <= 15);
        let offset = place.address.wrapping_sub(entry);
        assert!(
            offset + u64::from(place.len) <= code.len() as u64,
            "{place:?}"
        );
        assert!(!place.mnemonic.is_empty() && place.mnemonic.is_ascii());
    };
    if let Some(found) = places(arch, entry, code) {
        inside(&found.first);
        for pair in found.returns.windows(2) {
            let offsets = [&pair[0], &pair[1]].map(|place| place.address.wrapping_sub(entry));
            assert!(offsets[0] < offsets[1]);
        }
        found.returns.iter().for_each(inside);
        for jump in &found.tail_jumps {
            assert!(jump.wrapping_sub(entry) < code.len() as u64);
        }
    }
    if let Some(found) = place(arch, entry, code) {
        inside(&found);
        assert_eq!(found.address, entry);
        assert!(found.cost <= StepCost::Refused);
    }
    let _ = locked_add(arch, entry, code);
}

/// Of Linux 6.18.
const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
";

/// A page of the kernel's ring; or, behind the first byte 0xff, the description of pages, a byte 0
/// and a page.
pub(crate) fn page(data: &[u8]) {
    let (header, page) = match data {
        [0xff, rest @ ..] => {
            let end = rest
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(rest.len());
            let page = rest.get(end + 1..).unwrap_or_default();
            (String::from_utf8_lossy(&rest[..end]).into_owned(), page)
        }
        _ => (HEADER_PAGE.to_owned(), data),
    };
    let mut bytes = 0;
    match page_records(&header, page, &mut |_, record| bytes += record.len() + 4) {
        Ok(found) => assert!(found.damaged_at.is_none_or(|at| at <= page.len())),
        Err(error) => check::error(error),
    }
    assert!(bytes <= page.len(), "no record lies in another");
}
