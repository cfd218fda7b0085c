//! Processes of Go 1.22 and Go 1.26 without debug information, with some bytes changed: all that
//! is read from a process.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use gomapscope_core::answer::{answer, answer_scan, search};
use gomapscope_core::command::parse;
use gomapscope_core::expression;
use gomapscope_core::gotype::Types;
use gomapscope_core::heap::{
    self, AllocationSites, GoroutineReader, Heap, StackRegisters, Symbols,
};
use gomapscope_core::layout::descriptor_layout;
use gomapscope_core::map::CountOnly;
use gomapscope_core::memory::Memory;
use gomapscope_core::pprof::memory::profile;
use gomapscope_core::pprof::{Kind, encode, parse as parse_profile};
use gomapscope_core::report::ScanContext;
use gomapscope_core::target::{Map, Target};

use crate::check;
use crate::events::look;
use crate::recorded::{Bytes, Recorded, byte_of};

const RECORDINGS: [&[u8]; 2] = [
    include_bytes!("../seeds/go1.22.process.gz"),
    include_bytes!("../seeds/go1.26.process.gz"),
];

thread_local! {
    static RECORDED: [OnceCell<Recorded>; 2] = const { [OnceCell::new(), OnceCell::new()] };
    static WARM: [OnceCell<Warm>; 2] = const { [OnceCell::new(), OnceCell::new()] };
}

/// A process that a session has looked at before: types and layouts are known.
struct Warm {
    target: Rc<Target>,
    maps: Vec<(Map, Vec<(u64, u64)>)>,
}

impl Warm {
    fn up(recorded: &Recorded) -> Self {
        let target = target(recorded);
        let look = |map: &Map| {
            for way in 0..LINES.len() {
                told(&[], map, way..way + 1);
            }
        };
        let maps = recorded.maps.iter().map(|(address, name)| {
            let map = Map::new(Rc::clone(&target), *address, name, "m").expect("a sound map");
            look(&map);
            // Once more, for what is read of the map alone.
            target.invalidate();
            let parts = recorded.memory.read_by(|| look(&map));
            (map, parts)
        });
        Self {
            maps: maps.collect(),
            target,
        }
    }
}

/// A byte for the process, then what is done to it, 8 bytes each.
fn changed(data: &[u8], look: impl FnOnce(&Recorded)) {
    recorded(data, |recorded, edits| {
        recorded.edit(edits);
        look(recorded);
    });
}

/// Lends the process that the first byte is for, and the other bytes.
pub(crate) fn recorded(data: &[u8], look: impl FnOnce(&Recorded, &[u8])) {
    let [which, edits @ ..] = data else {
        return;
    };
    let which = usize::from(*which) % RECORDINGS.len();
    RECORDED.with(|all| {
        let recorded = all[which].get_or_init(|| Recorded::open(RECORDINGS[which]));
        look(recorded, edits);
        recorded.memory.restore();
    });
}

fn target(recorded: &Recorded) -> Rc<Target> {
    let memory: Rc<Bytes> = Rc::clone(&recorded.memory);
    let binary = Rc::clone(&recorded.binary);
    Rc::new(Target::new(binary, Box::new(memory), 0, None))
}

/// What commands say of maps.
const LINES: [(&str, &str); 7] = [
    ("go-map-stats", "m"),
    ("go-map-stats", "-json m"),
    ("go-map-buckets", "-all m"),
    ("go-map-buckets", "-json m"),
    ("go-map-entries", "m"),
    ("go-map-entries", "-json m"),
    ("go-map-layout", "m"),
];

/// One map at a stop of a session: figures, buckets, entries, layout, one key. The first byte's
/// upper bits are for the map, and what is changed is what is read of it.
pub(crate) fn maps(data: &[u8]) {
    if check::one_of(data, 256) {
        unknown_maps(data);
    }
    recorded(data, |recorded, edits| {
        let which = usize::from(data[0]);
        WARM.with(|all| {
            let warm = all[which % RECORDINGS.len()].get_or_init(|| Warm::up(recorded));
            let (map, parts) = &warm.maps[which / RECORDINGS.len() % warm.maps.len()];
            let whole: u64 = parts.iter().map(|(_, len)| len).sum();
            recorded.edit_in(edits, |index| match index & 1 {
                // As often the header as all else.
                0 => map.address() + (index >> 1) % 64,
                _ => byte_of(parts, (index >> 1) % whole.max(1)),
            });
            warm.target.invalidate();
            told(data, map, check::ways(data, LINES.len()));
        });
    });
}

/// Map by map of a process that is seen for the first time.
fn unknown_maps(data: &[u8]) {
    changed(data, |recorded| {
        let target = target(recorded);
        let ways = check::ways(data, recorded.maps.len());
        for (address, name) in &recorded.maps[ways] {
            match Map::new(Rc::clone(&target), *address, name, "m") {
                Ok(map) => told(data, &map, check::ways(data, LINES.len())),
                Err(error) => check::error(error),
            }
            match expression::find(&target, &format!("{address:#x}"), None) {
                Ok(map) => assert_eq!(map.address(), *address),
                Err(error) => check::error(error),
            }
        }
    });
}

fn told(data: &[u8], map: &Map, ways: Range<usize>) {
    let walked = map.walk(&mut CountOnly);
    let live = walked.live();
    if walked.exact() {
        assert_eq!(live, walked.len);
    }
    let mut lines: Vec<(&str, String)> = LINES[ways]
        .iter()
        .map(|(command, line)| (*command, (*line).to_owned()))
        .collect();
    if data.len().is_multiple_of(3) {
        lines.push(("go-map-entries", "-key 7 m".to_owned()));
    }
    for (command, line) in lines {
        let request = parse(command, &line).expect("a sound command line");
        let mut text = String::new();
        let mut write = |portion: &str| {
            text.push_str(portion);
            Ok::<(), ()>(())
        };
        answer(&request, map, &look(check::WIDE), &mut write).expect("nothing fails to be written");
        if !request.options.json {
            check::text(&text, check::WIDE);
            continue;
        }
        let document = check::json(&text);
        assert_eq!(document["exact"], walked.exact(), "{command} {text}");
        if walked.exact() {
            assert_eq!(document["len"], live);
        }
        if let (Some(entries), true) = (document["entries"].as_array(), walked.exact()) {
            let whole = document["truncated"] == false;
            assert!(!whole || entries.len() as u64 == live, "{text}");
        }
    }
}

/// The whole process: its heap, every map in it, who holds them.
pub(crate) fn scan(data: &[u8]) {
    changed(data, |recorded| {
        let target = target(recorded);
        let lines = ["", "-json -quick", "-holders", "-quick -top unlimited"];
        for line in &lines[check::ways(data, lines.len())] {
            let request = parse("go-map-scan", line).expect("a sound command line");
            let scanned = match search(&request, &target, &recorded.threads) {
                Ok(scanned) => scanned,
                Err(error) => {
                    check::error(error);
                    continue;
                }
            };
            let mut places: Vec<u64> = scanned.scan.maps.iter().map(|map| map.address).collect();
            places.sort_unstable();
            let found = places.len();
            places.dedup();
            assert_eq!(places.len(), found, "each map once");
            let mut text = String::new();
            let mut write = |portion: &str| {
                text.push_str(portion);
                Ok::<(), ()>(())
            };
            let context = ScanContext::default();
            let look = look(check::WIDE);
            let done = answer_scan(&request, &target, &scanned, context, &look, &mut write);
            assert!(done.is_ok());
            match request.options.json {
                true => {
                    check::json(&text);
                }
                false => check::text(&text, check::WIDE),
            }
        }
    });
}

/// The runtime's own tables: modules, types, functions, goroutines, stacks, profiles.
pub(crate) fn runtime(data: &[u8]) {
    changed(data, |recorded| {
        let memory: Rc<dyn Memory> = Rc::<Bytes>::clone(&recorded.memory);
        let types = Types::of_process(Rc::clone(&recorded.binary), Rc::clone(&memory), 0);
        for way in check::ways(data, 5) {
            match way {
                0 => described(&types),
                1 => spans(&types, &memory),
                2 => goroutines(recorded, &types, &*memory),
                3 => profiles(recorded, &types, &*memory, Kind::Goroutine),
                _ => {
                    for kind in [Kind::Heap, Kind::Block, Kind::Mutex] {
                        profiles(recorded, &types, &*memory, kind);
                    }
                }
            }
        }
    });
}

fn described(types: &Types) {
    for (address, name) in types.map_descriptors() {
        assert!(!name.is_empty());
        if let Ok(layout) = descriptor_layout(types, address) {
            assert_eq!(layout.validate(), Ok(()));
        }
        if let Ok(Some(at)) = types.of_descriptor(address) {
            let _ = (
                types.get(at).is_ok(),
                types.has_pointers(at),
                types.align(at),
            );
        }
    }
    assert!(types.structs().len() < 1 << 20);
}

fn spans(types: &Types, memory: &Rc<dyn Memory>) {
    let Ok(heap) = Heap::open(types, Rc::clone(memory)) else {
        return;
    };
    let Ok((spans, _)) = heap.spans(&**memory) else {
        return;
    };
    for span in spans.iter().take(64) {
        let _ = (heap.span_of(span.base), heap.is_allocated(span, 0));
        if let Ok(Some(slot)) = heap.slot_of(span.base.wrapping_add(64)) {
            let _ = heap.type_of(span, &slot);
        }
    }
    if let Ok(sites) = AllocationSites::read(types, &**memory, &spans) {
        let _ = format!("{sites:?}");
    }
    let _ = heap::special_roots(types, &**memory, &spans);
}

fn goroutines(recorded: &Recorded, types: &Types, memory: &dyn Memory) {
    let Ok(functions) = heap::functions(types, memory) else {
        return;
    };
    let symbols = Symbols::new(functions);
    let Ok((found, _)) = heap::goroutines(types, memory, &recorded.threads) else {
        return;
    };
    let Ok(reader) = GoroutineReader::new(types) else {
        return;
    };
    for goroutine in found.iter().take(16) {
        let frames = heap::stack_frames(symbols.functions(), memory, goroutine);
        assert!(frames.len() <= 1 << 17);
        let Ok(state) = reader.read(memory, goroutine.address) else {
            continue;
        };
        let _ = (
            reader.labels(memory, &state),
            reader.origin(memory, goroutine.address),
        );
        let at = StackRegisters {
            pc: state.resume.pc,
            ..state.resume
        };
        let callers = heap::callers(symbols.functions(), memory, &state, at, false, 64);
        assert!(callers.returns.len() <= 64);
        for pc in &callers.returns {
            for symbol in symbols.of_return(memory, *pc).iter() {
                assert!(!symbol.frame.function.is_empty());
            }
        }
    }
}

fn profiles(recorded: &Recorded, types: &Types, memory: &dyn Memory, kind: Kind) {
    match profile(types, memory, (&recorded.threads, None), kind) {
        Ok(found) => {
            let again = parse_profile("again", &encode(&found));
            let again = again.unwrap_or_else(|error| panic!("{error}: it was written by us"));
            assert_eq!(again.samples.len(), found.samples.len());
        }
        Err(error) => check::error(error),
    }
}
