//! What a fresh map of the same entries would allocate, by the runtime's own
//! sizing rules, and what the next growth costs.

use crate::layout::{Allocator, Header, Hmap, MapLayout};
use crate::map::{array_len, max_load};

/// Bytes, and whether chance has a part in them: how full single buckets and
/// tables get depends on the hash seed, so those are expectations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub bytes: u64,
    pub by_chance: bool,
}

/// What a fresh map of `len` entries would allocate: the figure behind
/// [`super::Bytes::rebuild`].
#[must_use]
pub fn rebuild_bytes(layout: &MapLayout, len: u64) -> u64 {
    match layout.header {
        Header::Classic(hmap) => classic(layout, hmap, len).bytes,
        Header::Swiss(map) => swiss(layout, map, len).bytes,
    }
}

/// runtime.overLoadFactor.
pub(super) fn over_load_factor(hmap: Hmap, count: u64, b: u8) -> bool {
    count > max_len(hmap, b)
}

/// The most entries 2^b buckets hold before they double.
pub(super) fn max_len(hmap: Hmap, b: u8) -> u64 {
    let (num, den) = hmap.load_factor;
    let buckets = 1_u64.checked_shl(u32::from(b)).unwrap_or(u64::MAX);
    num.saturating_mul(buckets / den.max(1)).max(8)
}

/// Bytes of a classic bucket array for `b`.
pub(super) fn array_bytes(layout: &MapLayout, b: u8) -> u64 {
    let requested = array_len(layout, b).saturating_mul(layout.unit_size as u64);
    layout.allocator.slot(requested, !layout.has_pointers)
}

/// Bytes of a table's groups of `capacity` slots.
pub(super) fn groups_bytes(layout: &MapLayout, capacity: u64) -> u64 {
    let requested = (capacity / 8).saturating_mul(layout.unit_size as u64);
    layout.allocator.slot(requested, !layout.has_pointers)
}

/// Bytes of a directory of `len` tables.
pub(super) fn directory_bytes(layout: &MapLayout, len: u64) -> u64 {
    let pointer = u64::from(layout.abi.pointer_size);
    layout.allocator.slot(len.saturating_mul(pointer), false)
}

/// Allocator slots of the indirect keys and elems of `len` entries.
#[must_use]
pub fn indirect_bytes(layout: &MapLayout, len: u64) -> u64 {
    [layout.key, layout.elem]
        .iter()
        .filter(|part| part.indirect)
        .map(|part| {
            layout
                .allocator
                .slot(part.size, !part.pointers)
                .saturating_mul(len)
        })
        .fold(0, u64::saturating_add)
}

/// makemap(len) plus len inserts (runtime/map.go).
pub(super) fn classic(layout: &MapLayout, hmap: Hmap, len: u64) -> Estimate {
    let allocator = layout.allocator;
    let header = allocator.slot(hmap.size as u64, false);
    // The count is the target's word: every sum of what follows from it saturates.
    let fixed = header.saturating_add(indirect_bytes(layout, len));
    if len == 0 {
        return Estimate {
            bytes: fixed,
            by_chance: false,
        };
    }
    let mut b = 0;
    while over_load_factor(hmap, len, b) && b < 60 {
        b += 1;
    }
    let array = array_bytes(layout, b);
    if b == 0 {
        return Estimate {
            bytes: fixed.saturating_add(array),
            by_chance: false,
        };
    }
    let main = 1_u64 << b;
    let spare = array_len(layout, b).saturating_sub(main);
    let overflow = expected_overflow(len, main);
    let outside = (overflow - spare as f64).max(0.0).round() as u64;
    let unit = allocator.slot(layout.unit_size as u64, !layout.has_pointers);
    let pointer = u64::from(layout.abi.pointer_size);
    let mut bytes = fixed
        .saturating_add(array)
        .saturating_add(outside.saturating_mul(unit));
    let some_overflow = overflow >= 0.5;
    if spare > 0 || (some_overflow && !layout.has_pointers) {
        bytes = bytes.saturating_add(allocator.slot(3 * pointer, false));
    }
    if some_overflow && !layout.has_pointers {
        // createOverflow: a slice header, and the slice append has grown.
        let links = overflow.round() as u64;
        let list = grown_capacity(allocator, links).saturating_mul(pointer);
        bytes = bytes.saturating_add(allocator.slot(3 * pointer, false));
        bytes = bytes.saturating_add(allocator.slot(list, false));
    }
    Estimate {
        bytes,
        by_chance: true,
    }
}

/// The capacity append gives a slice of pointers that grew one by one to `len`
/// (runtime.growslice).
fn grown_capacity(allocator: Allocator, len: u64) -> u64 {
    let pointer = u64::from(allocator.pointer_size);
    let mut capacity: u64 = 0;
    while capacity < len {
        let wanted = if capacity < 256 {
            (2 * capacity).max(1)
        } else {
            capacity + ((capacity + 3 * 256) >> 2)
        };
        capacity = allocator.usable(wanted.saturating_mul(pointer), false) / pointer;
    }
    capacity
}

/// How many overflow buckets `len` entries need on `main` buckets: the entries of
/// one bucket are binomially distributed.
fn expected_overflow(len: u64, main: u64) -> f64 {
    let mut expected = 0.0;
    binomial(len, main, |entries, probability| {
        if entries > 8 {
            expected += probability * ((entries - 8).div_ceil(8)) as f64;
        }
    });
    expected * main as f64
}

/// NewMap(len) plus len inserts (internal/runtime/maps/map.go).
pub(super) fn swiss(layout: &MapLayout, map: crate::layout::SwissMap, len: u64) -> Estimate {
    let allocator = layout.allocator;
    let fixed = allocator
        .slot(map.size as u64, false)
        .saturating_add(indirect_bytes(layout, len));
    if len == 0 {
        return Estimate {
            bytes: fixed,
            by_chance: false,
        };
    }
    if len <= 8 {
        return Estimate {
            bytes: fixed.saturating_add(groups_bytes(layout, 8)),
            by_chance: false,
        };
    }
    let max = map.max_table_capacity;
    let target = len.saturating_mul(8) / 7;
    let tables = target.div_ceil(max).next_power_of_two();
    let capacity = (target / tables).max(8).next_power_of_two().min(max);
    let table = allocator.slot(map.table.size as u64, false);
    if tables == 1 && len <= max_load(capacity) {
        let bytes = directory_bytes(layout, 1) + table + groups_bytes(layout, capacity);
        return Estimate {
            bytes: fixed.saturating_add(bytes),
            by_chance: false,
        };
    }
    let mut per_table = 0.0;
    let mut splits = 0.0;
    binomial(len, tables, |entries, probability| {
        let mut capacity = capacity;
        while entries > max_load(capacity) && capacity < max {
            capacity *= 2;
        }
        // A table of the largest size splits in two; each half then holds half
        // of its entries, far from full again.
        let pieces = if entries > max_load(capacity) {
            2.0
        } else {
            1.0
        };
        per_table += probability * pieces * (table + groups_bytes(layout, capacity)) as f64;
        splits += probability * (pieces - 1.0);
    });
    // One split table is enough to double the directory.
    let some_split = 1.0 - (1.0 - splits).max(0.0).powf(tables as f64);
    let single = directory_bytes(layout, tables) as f64;
    let double = directory_bytes(layout, tables.saturating_mul(2)) as f64;
    let directory = single + (double - single) * some_split;
    let expected = per_table * tables as f64 + directory;
    Estimate {
        bytes: fixed.saturating_add(expected.round() as u64),
        by_chance: tables > 1,
    }
}

/// Calls `visit` with each number of entries one of `bins` bins can get when
/// `len` entries fall into them at random, and its probability; numbers less probable
/// than about 1e-18 are left out.
fn binomial(len: u64, bins: u64, mut visit: impl FnMut(u64, f64)) {
    if bins <= 1 {
        visit(len, 1.0);
        return;
    }
    let n = len as f64;
    let p = 1.0 / bins as f64;
    let mean = n * p;
    let reach = 9.0 * (mean * (1.0 - p)).sqrt() + 30.0;
    let low = (mean - reach).max(0.0).floor();
    let high = (mean + reach).min(n).ceil();
    // Probabilities by recurrence from the mode, where they are largest.
    let mode = mean.floor().clamp(low, high);
    let ratio = p / (1.0 - p);
    let mut weights = Vec::new();
    let mut weight = 1.0;
    let mut k = mode;
    while k <= high {
        weights.push((k, weight));
        weight *= (n - k) / (k + 1.0) * ratio;
        k += 1.0;
    }
    weight = 1.0;
    k = mode;
    while k > low {
        weight *= k / (n - k + 1.0) / ratio;
        k -= 1.0;
        weights.push((k, weight));
    }
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    for (k, weight) in weights {
        visit(k as u64, weight / total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binomial_sums_to_one_and_has_its_mean() {
        for (len, bins) in [(10, 2), (1000, 64), (1_000_000, 2048), (896 * 4, 4), (3, 1)] {
            let mut total = 0.0;
            let mut mean = 0.0;
            binomial(len, bins, |k, probability| {
                total += probability;
                mean += k as f64 * probability;
            });
            assert!((total - 1.0).abs() < 1e-9, "{len}/{bins}: {total}");
            let expected = len as f64 / bins as f64;
            assert!(
                (mean - expected).abs() < 1e-6 * expected.max(1.0),
                "{len}/{bins}: {mean}"
            );
        }
    }

    #[test]
    fn overflow_is_about_what_a_full_classic_map_has() {
        // 833 entries on 128 buckets is the fullest B = 7 map; a Poisson
        // distribution of mean 6.5 has 20.8 % of its buckets above 8.
        let overflow = expected_overflow(832, 128);
        assert!((24.0..29.0).contains(&overflow), "{overflow}");
        assert_eq!(expected_overflow(8, 1), 0.0);
    }

    // Printed by a program that appends to a []*int, built with go1.21.13 and go1.23.9.
    #[test]
    fn a_slice_grows_as_append_does() {
        let old = [
            (1, 1),
            (2, 2),
            (3, 4),
            (5, 8),
            (129, 256),
            (257, 512),
            (513, 848),
        ];
        let new = [
            (1, 1),
            (3, 4),
            (33, 64),
            (65, 143),
            (144, 287),
            (288, 607),
            (608, 1023),
        ];
        for (malloc_headers, cases) in [(false, old), (true, new)] {
            let allocator = Allocator {
                malloc_headers,
                pointer_size: 8,
            };
            for (len, capacity) in cases {
                assert_eq!(grown_capacity(allocator, len), capacity, "{len}");
            }
        }
    }
}
