//! `whoami CORE EXE [PC,SP,FP,LR,G]...`: the goroutines of a core file with their labels and callers, each
//! way of finding those by itself, and the same for threads that stood so; as one JSON document, for
//! `tests/test_callers.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use gomapscope_core::binary::Binary;
use gomapscope_core::gotype::Types;
use gomapscope_core::heap::{
    self, Callers, GoroutineReader, GoroutineState, StackRegisters, Symbols, ThreadRegisters,
};
use gomapscope_core::memory::{BlockCache, CoreFile, Memory};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(([core, exe], stops)) = arguments.split_first_chunk::<2>() else {
        eprintln!("usage: whoami CORE EXE [PC,SP,FP,LR,G]...");
        return ExitCode::from(2);
    };
    match dump(Path::new(core), Path::new(exe), stops) {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("whoami: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is said of one stack.
struct Speaker<'a> {
    reader: GoroutineReader,
    symbols: Symbols,
    memory: &'a dyn Memory,
}

impl Speaker<'_> {
    fn callers(&self, found: &Callers) -> Value {
        let frames: Vec<Value> = found
            .returns
            .iter()
            .flat_map(|pc| self.symbols.of_return(self.memory, *pc).to_vec())
            .filter(|symbol| !symbol.is_wrapper())
            .map(|symbol| {
                json!({
                    "function": symbol.frame.function,
                    "file": symbol.frame.file,
                    "line": symbol.frame.line,
                    "inlined": symbol.inlined,
                })
            })
            .collect();
        json!({
            "way": format!("{:?}", found.way),
            "end": format!("{:?}", found.end),
            "returns": found.returns,
            "frames": frames,
        })
    }

    fn stack(&self, goroutine: &GoroutineState, at: StackRegisters, running: bool) -> Value {
        let (functions, memory) = (self.symbols.functions(), self.memory);
        let depth = heap::CALLERS_MAX;
        let labels = self.reader.labels(memory, goroutine);
        let standing: Vec<String> = self
            .symbols
            .at(memory, at.pc)
            .iter()
            .map(|symbol| symbol.frame.function.clone())
            .collect();
        let (quick, quick_ns) =
            timed(|| heap::callers_by_frame_pointers(functions, memory, goroutine, at, depth));
        let (exact, exact_ns) = timed(|| {
            heap::callers_by_frame_sizes(functions, memory, goroutine, at, running, depth)
        });
        let best = heap::callers(functions, memory, goroutine, at, running, depth);
        let short = heap::callers(functions, memory, goroutine, at, running, 3);
        json!({
            "id": goroutine.id,
            "status": goroutine.status,
            "standing": standing,
            "labels": labels.as_ref().ok().map(|labels| {
                labels
                    .all
                    .iter()
                    .map(|label| [label.key.clone(), label.value.clone()])
                    .collect::<Vec<_>>()
            }),
            "cut": labels.as_ref().ok().map(|labels| labels.cut),
            "defects": labels.as_ref().ok().map(|labels| labels.defects.kept().to_vec()),
            "error": labels.err().map(|error| error.to_string()),
            "by_frame_pointers": self.callers(&quick),
            "by_frame_sizes": self.callers(&exact),
            "callers": self.callers(&best),
            "three": self.callers(&short),
            "ns": [quick_ns, exact_ns],
        })
    }
}

/// What is found, and the shortest time it took once everything was looked up before.
fn timed(mut find: impl FnMut() -> Callers) -> (Callers, u64) {
    let found = find();
    let best = (0..20)
        .map(|_| {
            let began = Instant::now();
            find();
            began.elapsed()
        })
        .min();
    (found, best.unwrap_or_default().as_nanos() as u64)
}

fn dump(core: &Path, exe: &Path, stops: &[String]) -> Result<Value, Failure> {
    let binary = Rc::new(Binary::open(exe)?);
    let mut file = CoreFile::open(core)?;
    let bias = file
        .bias(binary.entry())
        .ok_or("the core does not tell the entry point")?;
    file.set_executable(exe, bias)?;
    let threads: Vec<ThreadRegisters> = file.threads().iter().map(Into::into).collect();
    let memory: Rc<dyn Memory> = Rc::new(BlockCache::new(file, 24 << 20));
    let types = Types::of_process(Rc::clone(&binary), Rc::clone(&memory), bias);
    let speaker = Speaker {
        reader: GoroutineReader::new(&types)?,
        symbols: Symbols::new(heap::functions(&types, &*memory)?),
        memory: &*memory,
    };
    let (goroutines, _) = heap::goroutines(&types, &*memory, &threads)?;
    let mut rows = Vec::new();
    for goroutine in &goroutines {
        let state = speaker.reader.read(&*memory, goroutine.address)?;
        let thread = goroutine.registers.and_then(|index| threads.get(index));
        let at = match thread {
            Some(thread) => thread.stack_registers().ok_or("no registers")?,
            None => state.resume,
        };
        rows.push(speaker.stack(&state, at, thread.is_some()));
    }
    let mut stopped = Vec::new();
    for stop in stops {
        let words: Result<Vec<u64>, _> = stop
            .split(',')
            .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16))
            .collect();
        let [pc, sp, fp, lr, g] = words?[..] else {
            return Err("a stop is PC,SP,FP,LR,G".into());
        };
        let state = speaker.reader.read(&*memory, g)?;
        stopped.push(speaker.stack(&state, StackRegisters { pc, sp, fp, lr }, true));
    }
    let entry = |name: &str| {
        let functions = speaker.symbols.functions();
        Some(functions.function_named(&*memory, name)?.entry)
    };
    Ok(json!({
        "goroutines": rows,
        "stops": stopped,
        "entry": entry("runtime.mapassign_fast64"),
    }))
}
