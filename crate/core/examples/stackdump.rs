//! `stackdump CORE EXE`: the goroutines of a core file and their frames, as one JSON document, for
//! `tests/test_stacks.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use gomapscope_core::binary::{
    Binary, DieOffset, Dwarf, FunctionTable, SourceFrame, VariablePlace,
};
use gomapscope_core::gotype::{TypeRef, Types};
use gomapscope_core::heap::{self, AllocationSites, Heap, ThreadRegisters};
use gomapscope_core::memory::{BlockCache, CoreFile, Memory};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(core), Some(exe)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: stackdump CORE EXE");
        return ExitCode::from(2);
    };
    match dump(&core, &exe) {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stackdump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

fn type_name(types: &Types, at: DieOffset) -> Option<String> {
    Some(types.get(TypeRef::Dwarf(at)).ok()?.name.clone())
}

fn shown(frame: &SourceFrame) -> Value {
    json!({"function": frame.function, "file": frame.file, "line": frame.line})
}

fn dump(core: &Path, exe: &Path) -> Result<Value, Failure> {
    let binary = Rc::new(Binary::open(exe)?);
    let mut file = CoreFile::open(core)?;
    let bias = file
        .bias(binary.entry())
        .ok_or("the core does not tell the entry point")?;
    file.set_executable(exe, bias)?;
    let threads: Vec<ThreadRegisters> = file.threads().iter().map(Into::into).collect();
    let memory: Rc<dyn Memory> = Rc::new(BlockCache::new(file, 24 << 20));
    let types = Types::of_process(Rc::clone(&binary), Rc::clone(&memory), bias);
    let functions = heap::functions(&types, &*memory)?;
    let (goroutines, defects) = heap::goroutines(&types, &*memory, &threads)?;
    let dwarf = binary.dwarf();
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for goroutine in &goroutines {
        let frames = heap::stack_frames(&functions, &*memory, goroutine);
        for frame in &frames {
            let Some(function) = functions.function_at(&*memory, frame.pc) else {
                continue;
            };
            let pc = frame.pc.wrapping_sub(bias);
            let variables = match dwarf {
                Some(dwarf) if frame.in_call => dwarf.variables_in_call(pc.wrapping_add(1)),
                Some(dwarf) => dwarf.variables_at(pc),
                None => Vec::new(),
            };
            for variable in variables {
                let word = |address| binary.abi().read_pointer(&*memory, address).ok();
                let value = match variable.pieces.first() {
                    Some((VariablePlace::Frame(offset), _)) => {
                        word(frame.cfa.wrapping_add_signed(*offset))
                    }
                    Some((VariablePlace::Address(address), _)) => word(address.wrapping_add(bias)),
                    Some((VariablePlace::Register(number), _)) if !frame.in_call => goroutine
                        .registers
                        .and_then(|index| threads.get(index))
                        .and_then(|thread| thread.dwarf(binary.arch()?, *number)),
                    _ => None,
                };
                let value = if variable.escaped {
                    value.and_then(word)
                } else {
                    value
                };
                values.push(json!({
                    "id": goroutine.id,
                    "function": function.name,
                    "name": variable.name,
                    "value": value.map(hex),
                    "type": type_name(&types, variable.type_ref),
                }));
            }
        }
        let frames: Vec<Value> = frames
            .iter()
            .flat_map(|frame| functions.frames_of_pc(&*memory, frame.pc))
            .map(|frame| shown(&frame))
            .collect();
        rows.push(json!({
            "id": goroutine.id,
            "status": goroutine.status,
            "known": goroutine.pc != 0,
            "running": goroutine.registers.is_some(),
            "frames": frames,
        }));
    }
    let heap = Heap::open(&types, Rc::clone(&memory))?;
    let (spans, _) = heap.spans(&*memory)?;
    let sites = AllocationSites::read(&types, &*memory, &spans)?;
    let roots = heap::special_roots(&types, &*memory, &spans)?;
    let mut allocations = Vec::new();
    for (slot, _) in sites.objects() {
        let frames: Vec<Value> = sites
            .stack_of(slot)
            .unwrap_or_default()
            .iter()
            .filter_map(|pc| functions.frame_of_return(&*memory, *pc))
            .map(|frame| shown(&frame))
            .collect();
        let header = heap.slot_of(slot)?.map_or(0, |slot| slot.header);
        allocations.push(json!({"object": hex(slot + header), "frames": frames}));
    }
    let all_defects = [defects.kept(), sites.defects().kept(), roots.defects.kept()].concat();
    let globals: Vec<Value> = dwarf
        .map(Dwarf::globals)
        .unwrap_or_default()
        .iter()
        .filter(|global| global.name.starts_with("main."))
        .map(|global| {
            let address = global.address.wrapping_add(bias);
            let value = binary.abi().read_pointer(&*memory, address).ok();
            json!({
                "name": global.name,
                "value": value.map(hex),
                "type": type_name(&types, global.type_ref),
            })
        })
        .collect();
    let mut closures = Vec::new();
    for function in FunctionTable::new(binary.abi(), *types.module()?).functions(&*memory) {
        if !function.name.starts_with("main.") {
            continue;
        }
        let captured: Vec<Value> = dwarf
            .map(|dwarf| dwarf.closure_variables(function.entry.wrapping_sub(bias)))
            .unwrap_or_default()
            .into_iter()
            .map(|variable| {
                json!({
                    "offset": variable.offset,
                    "name": variable.name,
                    "escaped": variable.escaped,
                    "type": type_name(&types, variable.type_ref),
                })
            })
            .collect();
        let receiver = dwarf.and_then(|dwarf| dwarf.method_receiver(&function.name));
        closures.push(json!({
            "entry": hex(function.entry),
            "function": function.name,
            "captured": captured,
            "receiver": receiver.and_then(|at| type_name(&types, at)),
        }));
    }
    Ok(json!({
        "globals": globals,
        "closures": closures,
        "values": values,
        "goroutines": rows,
        "defects": all_defects,
        "allocations": allocations,
        "finalized": roots.finalized.iter().copied().map(hex).collect::<Vec<_>>(),
        "roots": roots.words.iter().copied().map(hex).collect::<Vec<_>>(),
    }))
}
