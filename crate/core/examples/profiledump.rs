//! `profiledump CORE EXE`: the profiles that the runtime keeps in memory, as one JSON document,
//! for `tests/test_memory_profiles.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use gomapscope_core::binary::Binary;
use gomapscope_core::gotype::Types;
use gomapscope_core::heap::ThreadRegisters;
use gomapscope_core::memory::{BlockCache, CoreFile, Memory};
use gomapscope_core::pprof::memory::{profile, standing};
use gomapscope_core::pprof::{Kind, LabelValue, Profile, Sample};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(core), Some(exe)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: profiledump CORE EXE");
        return ExitCode::from(2);
    };
    match dump(&core, &exe) {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("profiledump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stack(profile: &Profile, sample: &Sample) -> Value {
    let places = sample.stack.iter().filter_map(|at| {
        let location = profile.locations.get(*at as usize)?;
        let lines: Vec<Value> = location
            .lines
            .iter()
            .map(|line| json!([line.function, line.file, line.line]))
            .collect();
        Some(json!({"address": location.address, "lines": lines}))
    });
    places.collect()
}

fn labels(sample: &Sample) -> Value {
    let pairs = sample.labels.iter().map(|label| {
        let value = match &label.value {
            LabelValue::Text(text) => json!(text),
            LabelValue::Number(number, _) => json!(number),
        };
        (label.key.to_string(), value)
    });
    Value::Object(pairs.collect())
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
    let mut document = serde_json::Map::new();
    for (name, kind) in [
        ("heap", Kind::Heap),
        ("block", Kind::Block),
        ("mutex", Kind::Mutex),
        ("goroutine", Kind::Goroutine),
    ] {
        let profile = profile(&types, &*memory, (&threads, None), kind)?;
        let samples: Vec<Value> = profile
            .samples
            .iter()
            .map(|sample| {
                json!({
                    "stack": stack(&profile, sample),
                    "values": sample.values,
                    "raw": sample.raw,
                    "labels": labels(sample),
                })
            })
            .collect();
        let value_types: Vec<Value> = profile
            .sample_types
            .iter()
            .map(|value| json!([value.name, value.unit]))
            .collect();
        let of_kind = json!({
            "types": value_types,
            "period": profile.period,
            "last_gc_ns": profile.last_gc_ns,
            "samples": samples,
            "notes": profile.notes,
        });
        document.insert(name.to_owned(), of_kind);
    }
    let (profile, all) = standing(&types, &*memory, &threads)?;
    let all: Vec<Value> = all
        .iter()
        .map(|goroutine| {
            json!({
                "id": goroutine.id,
                "status": goroutine.status,
                "wait_reason": goroutine.wait_reason,
                "waits_since_ns": goroutine.waits_since_ns,
                "labels": labels(&goroutine.sample),
                "stack": stack(&profile, &goroutine.sample),
            })
        })
        .collect();
    document.insert("standing".to_owned(), Value::Array(all));
    Ok(Value::Object(document))
}
