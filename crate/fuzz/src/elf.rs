//! Executables: headers, build info, symbols, and debug information.

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use gomapscope_core::binary::{Binary, Dwarf, first_module, modules};
use gomapscope_core::expression::find;
use gomapscope_core::gotype::{Kind, Types};
use gomapscope_core::layout::map_layout;
use gomapscope_core::memory::{Memory, ReadError};
use gomapscope_core::pprof::Program;
use gomapscope_core::target::Target;

use crate::scratch::Scratch;
use crate::{check, scratch};

/// Entries that are looked at; other inputs look at other ones.
const LOOKED_AT: usize = 16;

/// A whole file.
pub(crate) fn run(data: &[u8]) {
    scratch::file(data, |path| opened(path, data));
}

/// Debug information of a small program, of Go 1.23 and of Go 1.27: the package main and the
/// runtime's types of maps.
const SEEDS: [&[u8]; 2] = [
    include_bytes!("../seeds/dwarf4.elf"),
    include_bytes!("../seeds/dwarf5.elf"),
];

/// Of the file, the ELF header and the program header; they are the `elf` target's.
const HEADERS: usize = 120;

/// A byte for the executable, then what is done to it, 8 bytes each: how, nothing, where (2
/// bytes), with what (4 bytes).
pub(crate) fn dwarf(data: &[u8]) {
    let [which, edits @ ..] = data else {
        return;
    };
    let mut file = SEEDS[usize::from(*which) % SEEDS.len()].to_vec();
    for edit in edits.chunks_exact(8).take(24) {
        let &[how, _, low, high, ref value @ ..] = edit else {
            continue;
        };
        let at = HEADERS + usize::from(u16::from_le_bytes([low, high])) % (file.len() - HEADERS);
        let with = u32::from_le_bytes(value.try_into().unwrap());
        match how % 6 {
            0 | 1 => file[at] = with as u8,
            2 => splice(&mut file, at, &value[..2]),
            3 => splice(&mut file, at, value),
            // A word that stands elsewhere in it.
            4 => {
                let from = HEADERS + with as usize % (file.len() - HEADERS - 8);
                let bytes = file[from..from + 1 + (with >> 29) as usize].to_vec();
                splice(&mut file, at, &bytes);
            }
            // A length or an offset that is a little wrong.
            _ => {
                let word = file.get(at..at + 4).map(|word| word.try_into().unwrap());
                let word = word.map_or(0, u32::from_le_bytes);
                let wrong = word.wrapping_add(with & 0xff).wrapping_sub(128);
                splice(&mut file, at, &wrong.to_le_bytes());
            }
        }
    }
    scratch::file(&file, |path| opened(path, data));
}

/// Memory of words that lead to each other: what an expression follows always goes on.
#[derive(Debug)]
struct Endless;

impl Memory for Endless {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if !(0x1000..=1 << 47).contains(&address) {
            return Err(ReadError::fault(address, buffer.len()));
        }
        for (at, byte) in (address..).zip(buffer) {
            let word = 0x40_0000 + (at & 0x7f8);
            *byte = (word >> (8 * (at & 7))) as u8;
        }
        Ok(())
    }
}

thread_local! {
    static TARGETS: [OnceCell<(Scratch, Rc<Target>)>; 2] =
        const { [OnceCell::new(), OnceCell::new()] };
}

/// A byte for the executable, an expression, and behind a line's end the name of a type.
pub(crate) fn expression(data: &[u8]) {
    let [which, text @ ..] = data else {
        return;
    };
    let which = usize::from(*which) % SEEDS.len();
    let text = String::from_utf8_lossy(text);
    let (text, name) = match text.split_once('\n') {
        Some((text, name)) => (text, Some(name)),
        None => (&*text, None),
    };
    TARGETS.with(|targets| {
        let (_, target) = targets[which].get_or_init(|| {
            let mut file = Scratch::new();
            let binary = Rc::new(Binary::open(file.hold(SEEDS[which])).unwrap());
            assert!(
                binary
                    .dwarf()
                    .is_some_and(|dwarf| dwarf.variable("main.cache").is_some())
            );
            (
                file,
                Rc::new(Target::new(binary, Box::new(Endless), 0, None)),
            )
        });
        let ways = check::ways(data, 3);
        if ways.contains(&0) {
            let _ = target.types().named(text);
        }
        if ways.contains(&1) {
            let _ = target.types().named_uniquely(text);
        }
        if !ways.contains(&2) {
            return;
        }
        match find(target, text, name) {
            // A walk of memory without an end is for the walkers' targets.
            Ok(map) => assert!(map.probe().is_ok()),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.lines().count() == 1 || data.contains(&b'\n') || data.contains(&b'\r'),
                    "{error}"
                );
                check::error(error);
            }
        }
    });
}

fn splice(file: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in file[at..].iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn opened(path: &Path, data: &[u8]) {
    let binary = match Binary::open(path) {
        Ok(binary) => Rc::new(binary),
        Err(error) => return check::error(error),
    };
    for way in check::ways(data, 4) {
        match (way, binary.dwarf()) {
            (0, _) => headers(&binary),
            (1, Some(dwarf)) => entries(dwarf, data),
            (2, Some(_)) => types(&binary, data),
            _ => tables(&binary),
        }
    }
}

fn headers(binary: &Binary) {
    let _ = (binary.abi(), binary.arch(), binary.is_go(), binary.family());
    let _ = (
        binary.build_id(),
        binary.gnu_build_id(),
        binary.debug_summary(),
    );
    if let Some(version) = binary.version() {
        assert!(!version.short().is_empty());
    }
    let _ = binary.symbol("runtime.firstmoduledata");
    for (name, _) in binary.variables("main.cache") {
        assert!(name.ends_with("main.cache"));
    }
    let mut word = [0; 8];
    let read = binary.file_bytes(binary.entry(), &mut word);
    assert!(!read || binary.file_offset(binary.entry()).is_some());
    let _ = binary.address_of_offset(binary.entry());
}

/// The runtime's own, as far as the file has them.
fn tables(binary: &Rc<Binary>) {
    if let Ok(memory) = binary.linked()
        && let Ok(first) = first_module(binary, &memory, 0)
    {
        assert!(modules(binary, &memory, first).len() <= 1 << 16);
    }
    if let Err(reason) = Program::open(Rc::clone(binary)) {
        check::error(reason);
    }
}

fn entries(dwarf: &Dwarf, data: &[u8]) {
    let mut found: Vec<_> = dwarf.type_names().map(|(_, at)| at).collect();
    found.sort_unstable();
    for at in check::part(data, found, LOOKED_AT) {
        match dwarf.die(at) {
            Ok(die) => assert_eq!(die.offset, at),
            Err(error) => check::error(error),
        }
    }
    for variable in check::part(data, dwarf.globals(), LOOKED_AT) {
        let _ = dwarf.variable(variable.name);
        let _ = dwarf.constant(variable.name);
    }
    for pc in [0, 0x1000, 0x40_1000, 0x40_1010, u64::MAX] {
        assert!(dwarf.variables_at(pc).len() <= 1 << 16);
        assert!(dwarf.variables_in_call(pc).len() <= 1 << 16);
        let _ = dwarf.closure_variables(pc);
    }
    let _ = dwarf.method_receiver("main.(*T).f");
    let _ = (
        dwarf.producer(),
        dwarf.version(),
        dwarf.package_name("main"),
    );
}

fn types(binary: &Rc<Binary>, data: &[u8]) {
    let types = Types::new(Rc::clone(binary));
    let mut names = types.map_names();
    names.extend(["main.T", "*main.T", "map[string]int"].map(str::to_owned));
    for name in &check::part(data, names, LOOKED_AT).collect::<Vec<_>>() {
        let Some(at) = types.named(name) else {
            continue;
        };
        let Ok(found) = types.get(at) else {
            continue;
        };
        let _ = (types.has_pointers(at), types.align(at), types.rivals(name));
        let _ = types.short(&found.full_name);
        if matches!(found.kind, Kind::Map { .. }) {
            match map_layout(&types, &found) {
                Ok(layout) => assert_eq!(layout.validate(), Ok(())),
                Err(error) => check::error(error),
            }
        }
    }
}
