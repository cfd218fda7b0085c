//! What the linker left in a process, by itself: type descriptors and function tables.

use std::cell::OnceCell;
use std::rc::Rc;

use gomapscope_core::binary::{Functions, Module};
use gomapscope_core::gotype::{Kind, Types};
use gomapscope_core::heap::{Symbols, functions, goroutines, stack_frames};
use gomapscope_core::layout::descriptor_layout;
use gomapscope_core::memory::{Memory, Span};

use crate::check;
use crate::process::recorded;
use crate::recorded::{Bytes, Recorded};

/// Bytes of a map type's descriptor with what stands behind it.
const DESCRIPTOR: u64 = 128;
/// Functions in the table of one input, the one that is looked at among them.
const ROWS: u64 = 8;

thread_local! {
    static KNOWN: [OnceCell<Known>; 2] = const { [OnceCell::new(), OnceCell::new()] };
}

/// What is in the process before it is changed.
struct Known {
    /// Descriptors of maps and structs.
    descriptors: Vec<u64>,
    module: Module,
    /// Instructions in functions that stand on stacks.
    places: Vec<u64>,
}

impl Known {
    fn of(recorded: &Recorded) -> Self {
        let memory: Rc<dyn Memory> = Rc::<Bytes>::clone(&recorded.memory);
        let types = Types::of_process(Rc::clone(&recorded.binary), Rc::clone(&memory), 0);
        let maps = types.map_descriptors().map(|(at, _)| at);
        let structs = types.structs().into_iter().map(|(at, _)| at);
        let all = functions(&types, &*memory).expect("functions");
        let (found, _) = goroutines(&types, &*memory, &recorded.threads).expect("goroutines");
        let frames = found
            .iter()
            .flat_map(|one| stack_frames(&all, &*memory, one));
        let mut places: Vec<u64> = frames.map(|frame| frame.pc).collect();
        places.sort_unstable();
        places.dedup();
        Self {
            descriptors: maps.chain(structs).collect(),
            module: *types.module().expect("a module"),
            places,
        }
    }
}

fn known(data: &[u8], look: impl FnOnce(&Recorded, &[u8], &Known)) {
    recorded(data, |recorded, edits| {
        let which = usize::from(data[0]) % 2;
        KNOWN.with(|all| {
            let known = all[which].get_or_init(|| Known::of(recorded));
            recorded.memory.restore();
            look(recorded, edits, known);
        });
    });
}

/// Type descriptors: a byte for the process, then what is done to them.
pub(crate) fn types(data: &[u8]) {
    known(data, |recorded, edits, known| {
        let count = known.descriptors.len() as u64;
        let at = |index: u64| known.descriptors[(index / DESCRIPTOR % count) as usize];
        recorded.edit_in(edits, |index| at(index) + index % DESCRIPTOR);
        let memory: Rc<dyn Memory> = Rc::<Bytes>::clone(&recorded.memory);
        let types = Types::of_process(Rc::clone(&recorded.binary), memory, 0);
        let changed = edits.chunks_exact(8).take(4);
        let changed = changed.map(|edit| {
            at(u64::from(u32::from_le_bytes([
                edit[1], edit[2], edit[3], 0,
            ])))
        });
        for address in changed {
            if let Ok(layout) = descriptor_layout(&types, address) {
                assert_eq!(layout.validate(), Ok(()));
            }
            let Ok(Some(at)) = types.of_descriptor(address) else {
                continue;
            };
            let _ = (types.has_pointers(at), types.align(at));
            match types.get(at) {
                Ok(found) => {
                    assert!(!matches!(found.kind, Kind::Map { .. }) || !found.name.is_empty());
                    assert!(found.name.len() < 1 << 20);
                }
                Err(error) => check::error(error),
            }
        }
    });
}

/// The tables of a function and its neighbours: a byte for the process and the function, then
/// what is done to them.
pub(crate) fn functions_at(data: &[u8]) {
    known(data, |recorded, edits, known| {
        let memory: &dyn Memory = &*recorded.memory;
        let abi = recorded.binary.abi();
        let module = &known.module;
        let place = known.places[usize::from(data[0]) / 2 % known.places.len()];
        let half = |at: u64| abi.read_uint(memory, at, 4).unwrap_or(0);
        let row = |index: u64| module.function_index.start + 8 * index;
        let (mut low, mut high) = (0, module.function_index.len / 8);
        while high - low > 1 {
            let middle = low.midpoint(high);
            match module.text.start + half(row(middle)) <= place {
                true => low = middle,
                false => high = middle,
            }
        }
        let first = low.saturating_sub(ROWS / 2);
        let function = module.functions.start + half(row(low) + 4);
        // runtime._func: pcsp, pcfile and pcln, offsets of tables.
        let tables = [16, 20, 24].map(|at| module.pc_tables.start + half(function + at));
        recorded.edit_in(edits, |index| match index % 8 {
            0 => row(first) + (index >> 3) % (8 * ROWS + 8),
            1..4 => function + (index >> 3) % 128,
            4 => module.pc_header + (index >> 3) % 72,
            way => tables[(way - 5) as usize] + (index >> 3) % 32,
        });
        let module = Module {
            function_index: Span {
                start: row(first),
                len: 8 * ROWS + 8,
            },
            ..*module
        };
        let all = Functions::new(abi, recorded.binary.arch(), &[module]);
        for pc in [place, place + 1, place.wrapping_sub(64)] {
            looked_at(&all, memory, pc);
        }
        let symbols = Symbols::new(all);
        for symbol in symbols.of_return(memory, place).iter() {
            assert!(!symbol.frame.function.is_empty());
        }
    });
}

fn looked_at(all: &Functions, memory: &dyn Memory, pc: u64) {
    if let Some(function) = all.function_at(memory, pc) {
        assert!((function.entry..function.end).contains(&pc), "{function:?}");
    }
    let frames = all.frames_of_pc(memory, pc);
    assert_eq!(frames.len(), all.places_of_pc(memory, pc).len());
    assert!(frames.len() <= 1 << 10);
    let _ = all.frame_size(memory, pc);
    if let Some(slots) = all.live_slots(memory, pc) {
        let place = Span { start: 0, len: 8 };
        let _ = slots.any(pc, pc, place);
    }
    if let Some(arguments) = all.arguments(memory, pc) {
        assert!(arguments.len() <= 1 << 10);
    }
}
