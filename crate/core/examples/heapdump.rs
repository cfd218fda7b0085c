//! `heapdump CORE EXE [--totals] [ADDRESS=TYPE...]`: what the library finds in a core file, as one JSON document, for
//! `tests/test_heap.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use gomapscope_core::binary::{Binary, FunctionTable};
use gomapscope_core::gotype::{TypeRef, Types};
use gomapscope_core::heap::{self, Heap, Options};
use gomapscope_core::layout::{compare, descriptor_layout, map_layout};
use gomapscope_core::map::{CountOnly, Flow, walk};
use gomapscope_core::memory::{BlockCache, CoreFile, Memory};
use gomapscope_core::target::{Map, Target};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(core), Some(exe)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: heapdump CORE EXE [--totals] [ADDRESS=TYPE...]");
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
    let direct: Rc<dyn Memory> = Rc::<CoreFile>::clone(&file);
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
    let result = heap::scan(&heap, &*file, &types, &Options::default(), &mut |_| {
        Flow::Continue
    })?;
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
            "evidence": map.evidence.word(),
            "types": known.iter().take(50).map(|(_, name)| name).collect::<Vec<_>>(),
        });
        // What a walk makes of it with the first type it can have.
        if let (Some((descriptor, _)), Some(fields)) = (known.first(), row.as_object_mut()) {
            let layout = descriptor_layout(&types, *descriptor)?;
            let walked = walk(&*memory, &layout, map.address, &mut CountOnly);
            let owned = heap::allocated(&heap, &walked)?;
            fields.insert("exact".into(), json!(walked.exact()));
            fields.insert("walked".into(), json!(walked.counts.slots));
            fields.insert("owned".into(), json!(owned.bytes));
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
        "totals": {
            "maps": result.totals.maps,
            "candidates": result.totals.candidates,
            "allocated": result.totals.allocated,
            "heap": result.totals.heap,
        },
        "defects": result.defects.kept(),
        "asked": asked,
        "maps": maps,
    }))
}
