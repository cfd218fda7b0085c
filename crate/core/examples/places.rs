//! `places EXE [NAME...]`: where `binary::prologue` would put a probe in each function whose name
//! begins so, as JSON Lines, for `tests/test_places.py`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gomapscope_core::binary::prologue::{Arch, Place, places};
use gomapscope_core::binary::{Binary, FunctionTable, first_module};
use gomapscope_core::memory::{Image, Memory};
use object::{Object, ObjectSegment};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(exe) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: places EXE [NAME...]");
        return ExitCode::from(2);
    };
    let names: Vec<String> = arguments
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    match list(&exe, &names) {
        Ok(rows) => {
            for row in rows {
                println!("{row}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("places: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list(exe: &Path, names: &[String]) -> Result<Vec<Value>, Failure> {
    let binary = Binary::open(exe)?;
    let arch = binary
        .arch()
        .and_then(Arch::of_go)
        .ok_or("not for this architecture")?;
    let bytes = std::fs::read(exe)?;
    let file = object::File::parse(&*bytes)?;
    let mut image = Image::new();
    for segment in file.segments() {
        image.map(segment.address(), segment.data()?.to_vec());
    }
    let module = first_module(&binary, &image, 0)?;
    let table = FunctionTable::new(binary.abi(), module);
    let mut rows = Vec::new();
    for function in table.functions(&image) {
        if !names.is_empty() && !names.iter().any(|name| function.name.starts_with(name)) {
            continue;
        }
        let mut code = vec![0; function.end.saturating_sub(function.entry) as usize];
        image.read(function.entry, &mut code)?;
        let shown = |place: &Place| {
            json!({
                "address": format!("{:#x}", place.address),
                "file_offset": binary.file_offset(place.address),
                "mnemonic": place.mnemonic,
                "displaceable": place.displaceable,
                "cost": format!("{:?}", place.cost).to_lowercase(),
            })
        };
        let found = places(arch, function.entry, &code);
        rows.push(json!({
            "function": function.name,
            "entry": format!("{:#x}", function.entry),
            "first": found.as_ref().map(|found| shown(&found.first)),
            "check": found.as_ref().map(|found| format!("{:?}", found.check).to_lowercase()),
            "repeats": found.as_ref().map(|found| found.repeats),
            "complete": found.as_ref().map(|found| found.complete),
            "returns": found.iter().flat_map(|found| &found.returns).map(shown).collect::<Vec<_>>(),
            "tail_jumps": found
                .iter()
                .flat_map(|found| &found.tail_jumps)
                .map(|address| format!("{address:#x}"))
                .collect::<Vec<_>>(),
        }));
    }
    Ok(rows)
}
