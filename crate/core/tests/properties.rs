//! Properties of the walkers over random maps and random damage.
//!
//! The number of cases follows PROPTEST_CASES.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::classic::ClassicMap;
use common::random::{abi, built, cases, classic, damage, swiss};
use common::swiss::{SwissMap, TableOf, small_slots};
use common::{
    ARRAY, BIG, Built, DIRECTORY, EXTRA, GROUPS, HEADER, INTS, LE64, OLD_ARRAY, OUTSIDE,
    STRING_INT, TABLES, Types, check, check_bounded, check_figures,
};
use gomapscope_core::layout::{Header, MapLayout};
use gomapscope_core::map::{Flow, Unit, Visitor, Walk, walk};
use gomapscope_core::memory::{
    Abi, BlockCache, Image, Memory, PAGE, ReadError, Span, read_available,
};
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_sound_classic_map_is_walked_exactly(map in classic()) {
        map.build().check_exact();
    }

    #[test]
    fn any_sound_swiss_map_is_walked_exactly(map in swiss()) {
        map.build().check_exact();
    }
}

/// Headers that begin like one: pointers into the image, small depths.
fn header_bytes(layout: MapLayout) -> impl Strategy<Value = Vec<u8>> {
    let size = layout.header_size();
    let pointers = prop::sample::select(vec![
        0, ARRAY, OLD_ARRAY, OUTSIDE, EXTRA, DIRECTORY, TABLES, GROUPS, HEADER,
    ]);
    let noise = prop::collection::vec(any::<u8>(), size);
    let near = (pointers, 0..64_u64).prop_map(|(base, offset)| base + offset);
    (
        noise,
        prop::collection::vec(near, 3),
        any::<u8>(),
        0..12_u64,
    )
        .prop_map(move |(mut bytes, targets, which, small)| {
            let abi = layout.abi;
            let mut set = |bit: u32, field, value| {
                if which >> bit & 1 == 1 {
                    common::put_field(abi, &mut bytes, field, value);
                }
            };
            match layout.header {
                Header::Classic(hmap) => {
                    set(0, hmap.buckets, targets[0]);
                    set(1, hmap.oldbuckets, targets[1]);
                    set(2, hmap.extra, targets[2]);
                    set(3, hmap.b, small);
                    set(4, hmap.count, small * 7);
                }
                Header::Swiss(map) => {
                    set(0, map.dir_ptr, targets[0]);
                    set(1, map.dir_len, 1 << small);
                    set(2, map.dir_len, 0);
                    set(3, map.global_depth, small);
                    set(4, map.used, small * 7);
                }
            }
            bytes
        })
}

fn layouts() -> impl Strategy<Value = MapLayout> {
    let types = prop::sample::select(common::TYPES.to_vec());
    (abi(), types, any::<bool>()).prop_map(|(abi, types, swiss)| {
        if swiss {
            SwissMap::never_used(abi, types).layout()
        } else {
            ClassicMap::never_used(abi, types).layout()
        }
    })
}

/// Words that are often a pointer into the image and bytes that are often a slot
/// state: purely random bytes hardly ever get past the first check.
fn noise(abi: Abi, len: usize) -> impl Strategy<Value = Vec<u8>> {
    let size = usize::from(abi.pointer_size);
    let pointer = (
        prop::sample::select(vec![
            ARRAY,
            OUTSIDE,
            TABLES,
            GROUPS,
            HEADER,
            u64::MAX - 4096,
        ]),
        0..2048_u64,
    );
    let word = prop_oneof![
        2 => any::<u64>(),
        2 => pointer.prop_map(|(base, offset)| base.wrapping_add(offset)),
        1 => Just(0),
        1 => Just(0x8080_8080_8080_8080),
        1 => Just(0xfefe_8080_0102_0380),
        1 => Just(0x0000_0001_0305_0709),
        // A table's first word: used 2, capacity 16, growthLeft 12.
        1 => Just(0x0000_000c_0010_0002),
        1 => Just(1),
    ];
    prop::collection::vec(word, len / size).prop_map(move |words| {
        let mut bytes = vec![0; words.len() * size];
        for (part, word) in bytes.chunks_exact_mut(size).zip(words) {
            common::put(abi, part, word);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_header_over_any_memory_ends_without_panic(
        (layout, header, segments) in layouts().prop_flat_map(|layout| {
            let abi = layout.abi;
            let segments = prop::collection::vec(noise(abi, 768), 4);
            (Just(layout.clone()), header_bytes(layout), segments)
        })
    ) {
        let mut image = Image::new();
        image.map(HEADER, header);
        for (start, bytes) in [ARRAY, OUTSIDE, TABLES, GROUPS].into_iter().zip(segments) {
            image.map(start, bytes);
        }
        check_bounded(&image, &layout, HEADER);
    }

    #[test]
    fn any_bytes_anywhere_end_without_panic(
        layout in layouts(),
        bytes in prop::collection::vec(any::<u8>(), 0..4096),
        start in prop_oneof![any::<u64>(), (0..8192_u64).prop_map(|back| u64::MAX - back)],
        offset in any::<Index>(),
    ) {
        let start = start.min(0_u64.wrapping_sub(bytes.len() as u64 + 1));
        let mut image = Image::new();
        let address = start + offset.index(bytes.len() + 1) as u64;
        image.map(start, bytes);
        check_bounded(&image, &layout, address);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_damaged_map_is_exact_or_flagged(
        built in built(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut image = built.image.clone();
        for damage in &damages {
            damage.apply(&mut image, built.layout.abi);
        }
        let walked = check_bounded(&image, &built.layout, built.address);
        if walked.exact() {
            prop_assert_eq!(walked.live(), walked.len);
            prop_assert_eq!(walked.counts.corrupt, 0);
        }
    }

    #[test]
    fn what_cannot_be_read_is_flagged_and_the_rest_is_no_more_than_the_truth(
        built in built(),
        pages in prop::collection::vec((any::<Index>(), any::<Index>()), 1..4),
    ) {
        let mut image = built.image.clone();
        for (segment, offset) in pages {
            // Truncated cores and missing pages: nothing is overwritten.
            common::random::Damage::Unmap(segment, offset).apply(&mut image, built.layout.abi);
        }
        let walked = check_bounded(&image, &built.layout, built.address);
        check_partial(&walked, &built);
    }
}

/// The bytes the runtime reads no structure from: keys, elems, seeds, padding.
fn is_payload(built: &Built, address: u64) -> bool {
    let unit = built.layout.unit_size as u64;
    let pointer = u64::from(built.layout.abi.pointer_size);
    let visit = built
        .truth
        .visits
        .iter()
        .find(|visit| (visit.address..visit.address + unit).contains(&address));
    match (visit, built.layout.header) {
        (Some(visit), Header::Classic(_)) => {
            let offset = address - visit.address;
            offset >= 8 && offset < unit - pointer
        }
        (Some(visit), Header::Swiss(_)) => address - visit.address >= 8,
        (None, _) => common::VALUES <= address,
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn keys_and_elems_never_change_what_is_counted(
        built in built(),
        bytes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..64),
    ) {
        let mut image = built.image.clone();
        let spans: Vec<Span> = image
            .segments_mut()
            .map(|(start, bytes)| Span { start: *start, len: bytes.len() as u64 })
            .collect();
        for (segment, offset, byte) in bytes {
            let span = spans[segment.index(spans.len())];
            let address = span.start + offset.index(span.len.max(1) as usize) as u64;
            if is_payload(&built, address) {
                image.poke(address, &[byte]);
            }
        }
        let walked = check(&image, &built.layout, built.address);
        prop_assert_eq!(walked, built.count());
    }

    #[test]
    fn a_visitor_may_stop_anywhere(built in built(), after in any::<Index>()) {
        let units = built.truth.visits.len();
        prop_assume!(units > 0);
        let after = after.index(units);
        for ordered in [true, false] {
            let mut stop = StopAfter { left: after, ordered };
            let walked = walk(&built.image, &built.layout, built.address, &mut stop);
            prop_assert!(walked.cut);
            prop_assert!(!walked.exact());
            prop_assert!(walked.live() <= built.truth.len);
            check_figures(&walked, &built.layout);
        }
    }
}

struct StopAfter {
    left: usize,
    ordered: bool,
}

impl Visitor for StopAfter {
    fn ordered(&self) -> bool {
        self.ordered
    }

    fn unit(&mut self, _: &Unit<'_>) -> Flow {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Flow::Continue
            }
            None => Flow::Stop,
        }
    }
}

/// A walk of `built` with some memory missing: never more than there is, and
/// flagged when anything is missing.
#[track_caller]
fn check_partial(walked: &Walk, built: &Built) {
    let truth = &built.truth;
    assert!(walked.live() <= truth.len);
    assert!(walked.counts.live <= truth.counts.live);
    assert!(walked.counts.slots <= truth.counts.slots);
    assert!(walked.counts.tombstones <= truth.counts.tombstones);
    assert!(walked.counts.empty <= truth.counts.empty);
    assert_eq!(walked.counts.corrupt, 0);
    if walked.exact() {
        assert_eq!(walked.counts, truth.counts);
        assert_eq!(common::old_counts(walked), truth.old);
        assert_eq!(walked.len, truth.len);
    } else {
        assert!(!walked.defects.is_empty() || walked.interrupted);
    }
    check_figures(walked, &built.layout);
}

/// Fails all reads from the `from`th on: a target that dies in the middle.
struct Dying<'a> {
    image: &'a Image,
    from: u64,
    reads: std::cell::Cell<u64>,
}

impl Memory for Dying<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let number = self.reads.get();
        self.reads.set(number + 1);
        if number >= self.from {
            return Err(ReadError::fault(address, buffer.len()));
        }
        self.image.read(address, buffer)
    }
}

/// Lets the `n`th checkpoint say that the user wants the prompt back.
struct Impatient<'a> {
    image: &'a Image,
    n: u64,
    checkpoints: std::cell::Cell<u64>,
}

impl Memory for Impatient<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.image.read(address, buffer)
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        assert!(done <= total, "{done} of {total} bytes done");
        let number = self.checkpoints.get();
        self.checkpoints.set(number + 1);
        if number >= self.n {
            Err(ReadError::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Breaks the walk at read 0, 1, 2 … until a walk has no such read, in four ways.
fn break_every_read(built: &Built) {
    for ordered in [true, false] {
        let plain = walk(
            &built.image,
            &built.layout,
            built.address,
            &mut StopAfter {
                left: usize::MAX,
                ordered,
            },
        );
        let again = |memory: &dyn Memory| {
            let visitor = &mut StopAfter {
                left: usize::MAX,
                ordered,
            };
            walk(memory, &built.layout, built.address, visitor)
        };
        for n in 0.. {
            let mut image = built.image.clone();
            image.fail_read(n);
            let before = image.reads();
            let walked = again(&image);
            check_partial(&walked, built);
            if image.reads() - before <= n {
                assert_eq!(walked, plain);
                break;
            }
        }
        for n in 0.. {
            let mut image = built.image.clone();
            image.interrupt_read(n);
            let before = image.reads();
            let walked = again(&image);
            check_partial(&walked, built);
            if image.reads() - before <= n {
                assert_eq!(walked, plain);
                break;
            }
            assert!(walked.interrupted && !walked.exact(), "read {n}");
            // Not one read more: the prompt comes back at once, and a Ctrl-C that
            // is told only once is not lost.
            assert_eq!(image.reads() - before, n + 1);
        }
        for n in 0.. {
            let memory = Dying {
                image: &built.image,
                from: n,
                reads: std::cell::Cell::new(0),
            };
            let walked = again(&memory);
            check_partial(&walked, built);
            if memory.reads.get() <= n {
                assert_eq!(walked, plain);
                break;
            }
            assert!(!walked.exact(), "all reads from {n} on fail");
        }
        for n in 0.. {
            let memory = Impatient {
                image: &built.image,
                n,
                checkpoints: std::cell::Cell::new(0),
            };
            let walked = again(&memory);
            check_partial(&walked, built);
            if memory.checkpoints.get() <= n {
                assert_eq!(walked, plain);
                break;
            }
            assert!(walked.interrupted && !walked.exact(), "checkpoint {n}");
            assert_eq!(memory.checkpoints.get(), n + 1);
        }
    }
}

#[test]
fn whichever_read_of_a_classic_map_fails_the_rest_is_right() {
    use common::classic::{Place, Slot};
    let types: [Types; 3] = [INTS, STRING_INT, BIG];
    for types in types {
        break_every_read(&ClassicMap::never_used(LE64, types).build());
        break_every_read(
            &ClassicMap::new(LE64, types, 0)
                .entries(3, Place::Tail)
                .build(),
        );
        break_every_read(
            &ClassicMap::new(LE64, types, 5)
                .entries(300, Place::Tail)
                .build(),
        );
        break_every_read(
            &ClassicMap::new(LE64, types, 3)
                .entries(300, Place::Outside)
                .build(),
        );
        let old = (0..8)
            .map(|number| {
                let slots: Vec<_> = (0..12).map(|i| Slot::Live(100 * number + i)).collect();
                common::classic::Chain::of(&slots, Place::Outside)
            })
            .collect();
        break_every_read(&ClassicMap::new(LE64, types, 4).growing(false, old).build());
    }
}

#[test]
fn whichever_read_of_a_swiss_map_fails_the_rest_is_right() {
    let types: [Types; 3] = [INTS, STRING_INT, BIG];
    for types in types {
        break_every_read(&SwissMap::never_used(LE64, types).build());
        break_every_read(&SwissMap::small(LE64, types, small_slots(5)).build());
        let table = TableOf::new(0, 256, 150, 0);
        break_every_read(&SwissMap::tables(LE64, types, vec![table]).build());
        let tables = (0..8_u64)
            .map(|n| TableOf::new(3, 128, 50, 1000 * n))
            .collect();
        break_every_read(
            &SwissMap::tables(LE64, types, tables)
                .global_depth(5)
                .build(),
        );
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn whichever_read_of_any_map_fails_the_rest_is_right(built in built()) {
        break_every_read(&built);
    }
}

/// Pages of random bytes around `base`, of which `mapped` says which exist.
fn pages(base: u64, mapped: &[bool]) -> Image {
    let mut image = Image::new();
    for (number, _) in mapped.iter().enumerate().filter(|(_, mapped)| **mapped) {
        let start = base + number as u64 * PAGE;
        let bytes = (0..PAGE).map(|i| (i * 31 + start / PAGE) as u8).collect();
        image.map(start, bytes);
    }
    image
}

/// Somewhere, or where the address space ends.
fn base() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0x10000), Just(0), Just(0_u64.wrapping_sub(64 * PAGE))]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn the_cache_reads_what_the_memory_reads(
        base in base(),
        mapped in prop::collection::vec(prop::bool::weighted(0.8), 64),
        reads in prop::collection::vec((0..64 * PAGE, 0..20_000_usize), 1..40),
        capacity in prop::sample::select(vec![0, 1 << 16, 1 << 20]),
    ) {
        let image = pages(base, &mapped);
        let cache = BlockCache::new(&image, capacity);
        for (offset, len) in reads {
            let address = base + offset;
            let (mut cached, mut direct) = (vec![0; len], vec![0; len]);
            let answers = (cache.read(address, &mut cached), image.read(address, &mut direct));
            prop_assert_eq!(answers.0.is_ok(), answers.1.is_ok(), "{:#x} {}", address, len);
            if answers.0.is_ok() {
                prop_assert_eq!(cached, direct);
            }
        }
    }

    #[test]
    fn exactly_the_unmapped_pages_are_missing(
        base in base(),
        mapped in prop::collection::vec(any::<bool>(), 64),
        offset in 0..64 * PAGE,
        len in 0..80_000_usize,
    ) {
        let image = pages(base, &mapped);
        let mut buffer = vec![7; len];
        let start = base + offset;
        let missing = read_available(&image, start, &mut buffer).unwrap();
        // A page costs one read, and what lies beyond the last address none.
        prop_assert!(image.reads() <= len as u64 / PAGE + 3);
        for (index, byte) in buffer.iter().enumerate().step_by(97) {
            let Some(at) = start.checked_add(index as u64) else {
                prop_assert_eq!(*byte, 0);
                continue;
            };
            // What lies beyond the last address is named from the last address on.
            if at == u64::MAX {
                continue;
            }
            let page = ((at - base) / PAGE) as usize;
            let there = mapped.get(page) == Some(&true);
            let named = missing.iter().any(|span| span.contains(at));
            prop_assert_eq!(named, !there, "{:#x}", at);
            let expected = if there { (at % PAGE * 31 + at / PAGE) as u8 } else { 0 };
            prop_assert_eq!(*byte, expected, "{:#x}", at);
        }
    }
}
