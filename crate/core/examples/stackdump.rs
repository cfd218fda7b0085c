//! `stackdump CORE EXE`: the goroutines of a core file and their frames, as one JSON document, for
//! `tests/test_stacks.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use gomapscope_core::binary::{Binary, SourceFrame};
use gomapscope_core::gotype::Types;
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
    let mut rows = Vec::new();
    for goroutine in &goroutines {
        let frames: Vec<Value> = heap::stack_frames(&functions, &*memory, goroutine)
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
    let sites = AllocationSites::read(&heap, &types, &*memory, &spans)?;
    let roots = heap::special_roots(&heap, &types, &*memory, &spans)?;
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
    Ok(json!({
        "goroutines": rows,
        "defects": all_defects,
        "allocations": allocations,
        "finalized": roots.finalized.iter().copied().map(hex).collect::<Vec<_>>(),
        "roots": roots.words.iter().copied().map(hex).collect::<Vec<_>>(),
    }))
}
