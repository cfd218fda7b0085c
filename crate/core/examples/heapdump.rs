//! `heapdump CORE EXE [--totals] [--no-types] [ADDRESS=TYPE...]`: what the library finds in a core
//! file, as one JSON document, for `tests/test_heap.py`; what it costs, for `tests/bench`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use gomapscope_core::binary::{Binary, FunctionTable};
use gomapscope_core::gotype::{TypeRef, Types};
use gomapscope_core::heap::{self, Heap};
use gomapscope_core::layout::{compare, descriptor_layout, map_layout};
use gomapscope_core::map::{CountOnly, walk};
use gomapscope_core::memory::{BlockCache, CoreFile, Memory, ReadError};
use gomapscope_core::metrics::indirect_bytes;
use gomapscope_core::scan::{Options, Roots, State, scan};
use gomapscope_core::target::{Map, Target};
use serde_json::{Value, json};

/// Counts what is read, phase by phase.
struct Counted {
    inner: Rc<CoreFile>,
    calls: Cell<u64>,
    bytes: Cell<u64>,
    since: Cell<Instant>,
    phase: Cell<&'static str>,
    done: RefCell<Vec<Value>>,
}

impl Counted {
    fn new(inner: Rc<CoreFile>) -> Self {
        Self {
            inner,
            calls: Cell::new(0),
            bytes: Cell::new(0),
            since: Cell::new(Instant::now()),
            phase: Cell::new("open"),
            done: RefCell::default(),
        }
    }
}

impl Memory for Counted {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.calls.set(self.calls.get() + 1);
        self.bytes.set(self.bytes.get() + buffer.len() as u64);
        self.inner.read(address, buffer)
    }

    fn phase(&self, what: &'static str) {
        self.done.borrow_mut().push(json!({
            "phase": self.phase.replace(what),
            "seconds": self.since.replace(Instant::now()).elapsed().as_secs_f64(),
            "calls": self.calls.take(),
            "bytes": self.bytes.take(),
        }));
    }
}

/// The most memory that this process had at a time, in bytes; 0 where that is not told.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(core), Some(exe)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: heapdump CORE EXE [--totals] [--no-types] [ADDRESS=TYPE...]");
        return ExitCode::from(2);
    };
    let names: Vec<String> = arguments.map(|name| name.display().to_string()).collect();
    match dump(&core, &exe, &names) {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("heapdump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dump(core: &Path, exe: &Path, names: &[String]) -> Result<Value, Failure> {
    let binary = Rc::new(Binary::open(exe)?);
    let mut file = CoreFile::open(core)?;
    let bias = file
        .bias(binary.entry())
        .ok_or("the core does not tell the entry point")?;
    file.set_executable(exe, bias)?;
    let pc = file
        .threads()
        .first()
        .and_then(|thread| thread.register("pc"));
    let threads = file.threads().len();
    let file: Rc<CoreFile> = Rc::new(file);
    let counted = Rc::new(Counted::new(Rc::clone(&file)));
    let direct: Rc<dyn Memory> = Rc::<Counted>::clone(&counted);
    let memory: Rc<dyn Memory> = Rc::new(BlockCache::new(direct, 24 << 20));
    let types = Types::of_process(Rc::clone(&binary), Rc::clone(&memory), bias);
    let module = *types.module()?;

    let functions = FunctionTable::new(binary.abi(), module);
    let entry = functions
        .function_named(&*memory, "runtime.mallocinit")
        .map(|function| function.entry);
    let function_count = functions.len(&*memory);
    let sound = functions
        .functions(&*memory)
        .filter(|function| function.entry < function.end)
        .all(|function| {
            functions
                .function_at(&*memory, function.end - 1)
                .is_some_and(|found| found == function)
        });

    // Layouts: the debug information's against the descriptors'.
    let mut mismatches = Vec::new();
    let mut compared = 0;
    let mut described = 0;
    for (address, name) in types.map_descriptors() {
        described += 1;
        let by_descriptor = match descriptor_layout(&types, address) {
            Ok(layout) => layout,
            Err(error) => {
                mismatches.push(format!("{name}: {error}"));
                continue;
            }
        };
        let Ok(Some(TypeRef::Dwarf(offset))) = types.of_descriptor(address) else {
            continue;
        };
        let map_type = types.get(TypeRef::Dwarf(offset))?;
        let by_dwarf = map_layout(&types, &map_type)?;
        compared += 1;
        for difference in compare(&by_dwarf, &by_descriptor) {
            mismatches.push(format!("{name}: {difference}"));
        }
    }

    let started = Instant::now();
    let heap = Heap::open(&types, Rc::clone(&memory))?;
    let by_code = heap::mheap_by_code(&types, &*memory);
    let (spans, _) = heap.spans(&*file)?;
    // The two ways from an address to its span must agree.
    let astray = spans
        .iter()
        .filter(|span| {
            [span.base, span.end() - 1]
                .iter()
                .any(|address| heap.span_of(*address) != Ok(Some(**span)))
        })
        .count();
    let registers: Vec<heap::ThreadRegisters> = file
        .threads()
        .iter()
        .map(heap::ThreadRegisters::from)
        .collect();
    let roots = Roots::of(&types, &*memory, &registers)?;
    let options = Options {
        types: !names.iter().any(|name| name == "--no-types"),
    };
    let totals_only = names.iter().any(|name| name == "--totals");
    let before = peak();
    counted.phase("scan");
    let result = scan(
        &heap,
        &*counted,
        &types,
        &roots,
        &options,
        &mut |scan| match totals_only {
            true => Vec::new(),
            false => (0..scan.maps.len()).collect(),
        },
    )?;
    counted.phase("end");
    let after = peak();
    let seconds = started.elapsed().as_secs_f64();
    let mut maps = Vec::new();
    // Only the sums, to measure time and memory with a heap of millions.
    let listed: &[_] = if names.iter().any(|name| name == "--totals") {
        &[]
    } else {
        &result.maps
    };
    for map in listed {
        let known = result.types_of(map);
        let mut row = json!({
            "address": format!("{:#x}", map.address),
            "len": map.len,
            "capacity": map.capacity,
            "allocated": map.allocated,
            "at_least": map.at_least,
            "evidence": map.label.word(),
            "state": map.state.word(),
            "held_by": result.holders.get(&map.address),
            "types": known.iter().take(50).map(|known| &*known.name).collect::<Vec<_>>(),
        });
        // What a walk makes of it with the first type it can have.
        if let (Some(layout), Some(fields)) = (
            known.first().and_then(|known| known.layout.as_ref()),
            row.as_object_mut(),
        ) {
            let walked = walk(&*memory, layout, map.address, &mut CountOnly);
            let owned = heap::allocated(&heap, &walked)?;
            fields.insert("exact".into(), json!(walked.exact()));
            fields.insert("walked".into(), json!(walked.counts.slots));
            fields.insert(
                "owned".into(),
                json!(owned.bytes + indirect_bytes(layout, walked.live())),
            );
            fields.insert("free".into(), json!(owned.free));
            fields.insert("outside".into(), json!(owned.outside));
        }
        maps.push(row);
    }
    // The maps that were asked for, as the commands see them.
    let target = Rc::new(Target::new(
        Rc::clone(&binary),
        Box::new(Rc::clone(&file)),
        bias,
        None,
    ));
    let asked: Vec<Value> = names
        .iter()
        .filter(|name| !name.starts_with("--"))
        .map(|name| {
            let (address, type_name) = name.split_once('=').unwrap_or(("0x0", name));
            let digits = address.strip_prefix("0x").unwrap_or(address);
            let address = u64::from_str_radix(digits, 16).unwrap_or(0);
            match Map::new(Rc::clone(&target), address, type_name, name) {
                Ok(map) => json!({
                    "stats": map.stats(),
                }),
                Err(error) => json!({"error": error.to_string()}),
            }
        })
        .collect();
    Ok(json!({
        "version": binary.version().map(|version| version.text),
        "bias": format!("{bias:#x}"),
        "threads": threads,
        "pc_function": pc.and_then(|pc| functions.function_at(&*memory, pc)).map(|f| f.name),
        "functions": function_count,
        "functions_sound": sound,
        "mallocinit": entry.map(|entry| format!("{entry:#x}")),
        "mallocinit_symbol": binary
            .symbol("runtime.mallocinit")
            .map(|address| format!("{:#x}", address.wrapping_add(bias))),
        "dwarf": binary.dwarf().is_some(),
        "map_types": described,
        "layouts_compared": compared,
        "layout_mismatches": mismatches,
        "located": format!("{:?}", heap.located()),
        "mheap": format!("{:#x}", heap.address()),
        "mheap_by_code": by_code.map(|address| format!("{address:#x}")),
        "spans": spans.len(),
        "spans_astray": astray,
        "seconds": seconds,
        "phases": counted.done.take(),
        "peak_before": before,
        "peak": after,
        "totals": {
            "maps": result.maps.len(),
            "live": result.maps.iter().filter(|map| map.state == State::Live).count(),
            "live_objects": result.live_objects,
            "candidates": result.candidates,
            "allocated": result.maps.iter().map(|map| map.allocated).sum::<u64>(),
            "heap": result.heap,
        },
        "defects": result.defects.kept(),
        "asked": asked,
        "maps": maps,
    }))
}
