//! The walkers: over memory nothing is known of, and over maps with some bytes changed.

use std::cell::OnceCell;

use gomapscope_core::layout::{Header, MapLayout};
use gomapscope_core::map::{CountOnly, Shape, Walk, walk};
use gomapscope_core::memory::{Image, PAGE};
use gomapscope_core::metrics::{Context, stats};
use gomapscope_core::report;

use crate::common::classic::{Chain, ClassicMap, Place, Slot};
use crate::common::swiss::{SwissMap, TableOf, small_slots};
use crate::common::{
    ABIS, ARRAY, BIG, BYTES, Built, GROUPS, HEADER, INTS, LE64, NOTHING, OUTSIDE, SET, SPLIT,
    STRING_INT, TABLES, TYPES, bounded, check_figures, collect, put, unmap,
};
use crate::{check, common};

/// Two bytes for the layout, one for what is mapped where, the memory.
pub(crate) fn random(data: &[u8]) {
    let [types, which, place, bytes @ ..] = data else {
        return;
    };
    let abi = ABIS[usize::from(*which) % ABIS.len()];
    let types = TYPES[usize::from(*types) % TYPES.len()];
    let layout = match which >> 2 & 1 {
        0 => ClassicMap::never_used(abi, types).layout(),
        _ => SwissMap::never_used(abi, types).layout(),
    };
    let mut image = Image::new();
    let mut address = HEADER;
    if place & 1 == 0 {
        // A header, and what its pointers may lead to.
        let (header, rest) = bytes.split_at(bytes.len().min(layout.header_size()));
        image.map(HEADER, header.to_vec());
        let part = rest.len().div_ceil(4).max(1);
        for (start, bytes) in [ARRAY, OUTSIDE, TABLES, GROUPS]
            .into_iter()
            .zip(rest.chunks(part))
        {
            image.map(start, bytes.to_vec());
        }
    } else {
        // One segment, perhaps where the address space ends.
        let start = match place & 2 {
            0 => HEADER,
            _ => 0_u64.wrapping_sub(bytes.len() as u64 + 1 + u64::from(place >> 5)),
        };
        address = start.saturating_add(u64::from(place >> 2 & 7) * 8);
        image.map(start, bytes.to_vec());
    }
    walked(data, &image, &layout, address);
}

/// Walks it, and says of it what there is to say.
fn walked(data: &[u8], image: &Image, layout: &MapLayout, address: u64) -> Walk {
    let walked = bounded(image, layout, address);
    check_figures(&walked, layout);
    // What is done to a map is a multiple of 8 bytes.
    for way in check::ways(data, 5) {
        match way {
            0 => assert_eq!(common::check(image, layout, address), walked),
            1 => told(&walked, layout),
            2 => {
                let (again, seen) = collect(image, layout, address, true);
                assert_eq!(again.counts, walked.counts);
                assert_eq!(seen.current, walked.counts);
            }
            _ => {}
        }
    }
    walked
}

/// What is said of a walk: nothing in it drives a terminal, and the document is one.
fn told(walked: &Walk, layout: &MapLayout) {
    let figures = stats(walked, layout, &Context::default());
    for style in [check::WIDE, check::NARROW] {
        check::text(&report::stats(&figures, &style), style);
    }
    let document = check::json(&report::stats_json(&figures));
    assert_eq!(document["exact"], walked.exact());
    if walked.exact() {
        assert_eq!(document["slots"]["live"], document["len"]);
    }
}

/// A map, and where its segments are.
struct Seed {
    built: Built,
    segments: Vec<(u64, usize)>,
    sound: Walk,
}

impl Seed {
    fn of(built: Built) -> Self {
        let mut image = built.image.clone();
        let segments = image
            .segments_mut()
            .map(|(start, bytes)| (*start, bytes.len()))
            .collect();
        let sound = walk(&built.image, &built.layout, built.address, &mut CountOnly);
        assert!(sound.exact());
        Self {
            built,
            segments,
            sound,
        }
    }
}

thread_local! {
    static CLASSIC: OnceCell<Vec<Seed>> = const { OnceCell::new() };
    static SWISS: OnceCell<Vec<Seed>> = const { OnceCell::new() };
}

fn classic_maps() -> Vec<Seed> {
    let mut maps = Vec::new();
    for abi in ABIS {
        for types in [INTS, STRING_INT, BIG] {
            maps.push(ClassicMap::never_used(abi, types));
            maps.push(ClassicMap::new(abi, types, 0).entries(3, Place::Tail));
            maps.push(ClassicMap::new(abi, types, 4).entries(150, Place::Tail));
            maps.push(ClassicMap::new(abi, types, 3).entries(100, Place::Outside));
        }
    }
    for types in [SET, BYTES, NOTHING] {
        maps.push(ClassicMap::new(LE64, types, 3).entries(40, Place::Outside));
        maps.push(
            ClassicMap::new(LE64, types, 4)
                .noswissmap()
                .entries(60, Place::Tail),
        );
    }
    for (same_size, count) in [(false, 8), (true, 16)] {
        let old = (0..count)
            .map(|number| {
                let slots: Vec<_> = (0..12).map(|i| Slot::Live(100 * number + i)).collect();
                Chain::of(&slots, Place::Outside)
            })
            .collect();
        maps.push(ClassicMap::new(LE64, INTS, 4).growing(same_size, old));
    }
    maps.iter().map(|map| Seed::of(map.build())).collect()
}

fn swiss_maps() -> Vec<Seed> {
    let mut maps = Vec::new();
    for abi in ABIS {
        for types in [INTS, STRING_INT, BIG, SPLIT] {
            maps.push(SwissMap::never_used(abi, types));
            maps.push(SwissMap::small(abi, types, small_slots(5)));
            maps.push(SwissMap::tables(
                abi,
                types,
                vec![TableOf::new(0, 64, 40, 0).delete(3..9)],
            ));
        }
    }
    for types in [SET, BYTES, NOTHING] {
        let tables = (0..4_u64)
            .map(|n| TableOf::new(2, 32, 20, 1000 * n))
            .collect();
        maps.push(SwissMap::tables(LE64, types, tables).global_depth(4));
    }
    let tables = [(1, 0), (2, 1), (3, 2), (3, 3)];
    let tables = tables
        .map(|(depth, n)| TableOf::new(depth, 16 << n, 9, 100 * n))
        .to_vec();
    maps.push(SwissMap::tables(LE64, INTS, tables));
    maps.iter().map(|map| Seed::of(map.build())).collect()
}

/// A byte for the map, then what is done to it, 8 bytes each.
pub(crate) fn classic(data: &[u8]) {
    CLASSIC.with(|maps| splice(maps.get_or_init(classic_maps), data));
}

/// A byte for the map, then what is done to it, 8 bytes each.
pub(crate) fn swiss(data: &[u8]) {
    SWISS.with(|maps| splice(maps.get_or_init(swiss_maps), data));
}

fn splice(seeds: &[Seed], data: &[u8]) {
    let [which, edits @ ..] = data else {
        return;
    };
    let seed = &seeds[usize::from(*which) % seeds.len()];
    let (built, layout) = (&seed.built, &seed.built.layout);
    let mut image = built.image.clone();
    let mut changed = false;
    for edit in edits.chunks_exact(8).take(32) {
        changed |= apply(edit, seed, &mut image);
    }
    let walked = walked(data, &image, layout, built.address);
    if !changed {
        assert_eq!(walked, seed.sound);
    }
    if walked.exact() {
        let family = matches!(
            (&walked.shape, layout.header),
            (Shape::Classic(_), Header::Classic(_)) | (Shape::Swiss(_), Header::Swiss(_))
        );
        assert!(family);
    }
}

/// How, which segment, where in it (2 bytes), with what (4 bytes); whether a byte is another now.
fn apply(edit: &[u8], seed: &Seed, image: &mut Image) -> bool {
    let &[how, segment, low, high, ref value @ ..] = edit else {
        return false;
    };
    let value = u32::from_le_bytes(value.try_into().unwrap());
    let (start, len) = seed.segments[usize::from(segment) % seed.segments.len()];
    if len == 0 {
        return false;
    }
    let offset = usize::from(u16::from_le_bytes([low, high])) % len;
    let abi = seed.built.layout.abi;
    let size = usize::from(abi.pointer_size);
    let mut write = |offset: usize, bytes: &[u8]| {
        let take = bytes.len().min(len - offset);
        image.poke(start + offset as u64, &bytes[..take])
    };
    let word = |value: u64| {
        let mut bytes = vec![0; size];
        put(abi, &mut bytes, value);
        bytes
    };
    let aligned = offset / size * size;
    match how % 8 {
        0 | 1 => write(offset, &[value as u8]),
        2 => write(aligned, &word(u64::from(value))),
        // A pointer into a segment.
        3 => {
            let (to, len) = seed.segments[(value >> 16) as usize % seed.segments.len()];
            write(
                aligned,
                &word(to + (u64::from(value & 0xffff) % (len as u64 + 8))),
            )
        }
        // A word that is extreme.
        4 => {
            let bit = 1_u64 << (value & 63);
            let word_of = [
                bit,
                bit.wrapping_sub(1),
                !bit,
                u64::MAX - u64::from(value >> 8),
            ];
            write(aligned, &word(word_of[(value >> 6 & 3) as usize]))
        }
        5 => write(offset, &value.to_le_bytes()),
        6 => {
            unmap(image, (start + offset as u64) & !(PAGE - 1), PAGE);
            true
        }
        _ => {
            unmap(image, start + offset as u64, (len - offset) as u64);
            true
        }
    }
}
