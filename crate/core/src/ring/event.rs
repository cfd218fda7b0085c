//! Records as events: with the names of types and functions.

use std::collections::{HashMap, HashSet};

use super::{Record, Ring};
use crate::events::{Clock, Event, Frame, Op};
use crate::instrument::op;
use crate::target::Target;

/// Names kept; more types than that have a record in hardly any program.
const NAMES_MAX: usize = 1 << 16;

/// Turns records of one process into events.
#[derive(Debug)]
pub struct Events<'t> {
    target: &'t Target,
    clock: Option<Clock>,
    swiss: bool,
    names: HashMap<u64, Option<String>>,
    frames: HashMap<u64, Vec<Frame>>,
    /// Maps and groups of which one half of a split was told.
    halves: HashSet<(u64, u64)>,
}

/// What an operation is in the common format.
#[must_use]
pub fn common(number: u8) -> Op {
    match number {
        op::CREATE => Op::Create,
        op::GROW => Op::Grow,
        op::GROW_SAME => Op::GrowSameSize,
        op::EVACUATED => Op::Evacuated,
        op::OVERFLOW | op::SPARE => Op::Overflow,
        op::SPLIT => Op::Split,
        op::DIRECTORY => Op::Directory,
        op::CLEAR => Op::Clear,
        op::CLONE => Op::Clone,
        op::FREE => Op::Free,
        op::TABLE => Op::Table,
        _ => Op::Release,
    }
}

fn some(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

impl<'t> Events<'t> {
    /// For the ring of a process.
    #[must_use]
    pub fn new(target: &'t Target, ring: &Ring) -> Self {
        Self {
            target,
            clock: ring.clock.map(|(mono, wall)| Clock {
                t_mono_ns: mono,
                t_wall_ns: wall,
                error_ns: 0,
            }),
            swiss: ring.swiss,
            names: HashMap::new(),
            frames: HashMap::new(),
            halves: HashSet::new(),
        }
    }

    /// One record as an event.
    pub fn event(&mut self, record: &Record) -> Event {
        let kind = common(record.op);
        let mut event = Event::new(record.seq, kind, record.map);
        event.t_mono_ns = Some(record.time);
        event.t_wall_ns = self.clock.map(|clock| clock.wall(record.time));
        event.goid = some(record.goid);
        event.thread = some(u64::from(record.thread));
        event.type_name = self.type_name(record.type_address);
        event.len = (kind != Op::Free).then_some(record.len);
        if self.swiss {
            event.tables = (kind != Op::Free).then_some(record.shape);
        } else {
            // A bucket has 8 slots.
            event.b = record
                .capacity
                .map(|slots| slots.trailing_zeros().saturating_sub(3) as u8);
        }
        let allocates = op::ALLOCATES >> u32::from(record.op).min(31) & 1 != 0;
        if allocates || kind == Op::Overflow {
            event.block = some(record.block);
            event.size = Some(record.size);
        }
        match kind {
            Op::Create | Op::Grow | Op::GrowSameSize | Op::Split => {
                event.capacity = record.capacity;
                event.old_capacity = Some(record.old_capacity.unwrap_or(0));
            }
            Op::Evacuated | Op::Release => event.old_capacity = record.old_capacity,
            Op::Table => event.capacity = record.capacity,
            _ => {}
        }
        match kind {
            Op::Clone => {
                let note = format!("a copy of the map at {:#x}", record.old);
                event.notes.push(note);
            }
            Op::Free => {
                event.old_block = some(record.block);
                event.old_size = Some(record.size);
            }
            _ => {
                event.old_block = some(record.old);
                event.old_size = event.old_block.map(|_| record.old_size);
            }
        }
        // Each half of a split is an event; the first tells what both replace.
        if kind == Op::Split && !self.first_half(record) {
            event.old_capacity = Some(0);
            event.old_size = None;
        }
        if record.op == op::SPARE {
            event.size = Some(0);
            let note = "a spare bucket of the array: nothing was allocated";
            event.notes.push(note.to_owned());
        }
        if record.on_stack {
            let note = "the map's header was on the goroutine's stack, which moves when it grows";
            event.notes.push(note.to_owned());
        }
        event.stack = self.stack(&record.stack);
        event
    }

    fn first_half(&mut self, record: &Record) -> bool {
        let table = (record.map, record.old);
        if self.halves.remove(&table) {
            return false;
        }
        if self.halves.len() < NAMES_MAX {
            self.halves.insert(table);
        }
        true
    }

    /// The name of a map type; `None` where no type stands.
    pub fn type_name(&mut self, address: u64) -> Option<String> {
        if let Some(known) = self.names.get(&address) {
            return known.clone();
        }
        let types = self.target.types();
        let found = match address {
            0 => None,
            _ => types.of_descriptor(address).ok().flatten(),
        };
        let name = found
            .and_then(|at| types.get(at).ok())
            .map(|named| named.name.clone());
        if self.names.len() < NAMES_MAX {
            self.names.insert(address, name.clone());
        }
        name
    }

    fn stack(&mut self, addresses: &[u64]) -> Vec<Frame> {
        let mut stack = Vec::new();
        for address in addresses {
            if let Some(known) = self.frames.get(address) {
                stack.extend_from_slice(known);
                continue;
            }
            // A return address follows the call.
            let frames = self.target.frames_of_pc(address.wrapping_sub(1));
            let last = frames.len().saturating_sub(1);
            let mut named: Vec<Frame> = frames
                .into_iter()
                .enumerate()
                .map(|(position, frame)| Frame {
                    function: frame.function,
                    file: frame.file,
                    line: frame.line,
                    inlined: position < last,
                })
                .collect();
            if named.is_empty() {
                named.push(Frame {
                    function: format!("{address:#x}"),
                    ..Frame::default()
                });
            }
            // The recorder itself says nothing.
            named.retain(|frame| !frame.function.contains(".gomapscope"));
            if self.frames.len() < NAMES_MAX {
                self.frames.insert(*address, named.clone());
            }
            stack.extend(named);
        }
        stack
    }
}
