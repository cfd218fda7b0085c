//! `record CORE EXE OUT`: records the process of a core file, for `src/recorded.rs`: of the
//! executable its headers and what names it, of memory the pages that all commands read.

#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;
use gomapscope_core::binary::Binary;
use gomapscope_core::gotype::Types;
use gomapscope_core::heap::{self, GoroutineReader, Heap, Symbols, ThreadRegisters};
use gomapscope_core::layout::descriptor_layout;
use gomapscope_core::map::Flow;
use gomapscope_core::memory::{CoreFile, Memory, PAGE, ReadError};
use gomapscope_core::pprof::{Kind, memory::profile};
use gomapscope_core::scan::Filter;
use gomapscope_core::target::{Map, ScanWanted, Target};
use serde_json::json;

/// Of one read, so much is what it was for.
const HOT: u64 = 256;
/// Of larger reads nothing: they are of blocks.
const BLOCK: usize = 16 << 10;

/// Notes what is read.
struct Watch {
    core: CoreFile,
    pages: RefCell<BTreeSet<u64>>,
    /// In words of 8 bytes.
    hot: RefCell<Option<BTreeSet<u64>>>,
}

impl Memory for Watch {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.core.read(address, buffer)?;
        let len = buffer.len() as u64;
        if len == 0 {
            return Ok(());
        }
        let pages = address / PAGE..=(address + len - 1) / PAGE;
        self.pages.borrow_mut().extend(pages);
        if let (Some(hot), true) = (&mut *self.hot.borrow_mut(), buffer.len() < BLOCK) {
            hot.extend(address / 8..=(address + len.min(HOT) - 1) / 8);
        }
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, executable, out] = arguments.as_slice() else {
        eprintln!("usage: record CORE EXE OUT");
        return;
    };
    let executable = Path::new(executable);
    let mut core = CoreFile::open(Path::new(core)).unwrap();
    let binary = Rc::new(Binary::open(executable).unwrap());
    let bias = core.bias(binary.entry()).unwrap();
    assert_eq!(bias, 0, "the recording is of a program that is not moved");
    core.set_executable(executable, bias).unwrap();
    let threads: Vec<ThreadRegisters> = core.threads().iter().map(Into::into).collect();
    let watch = Rc::new(Watch {
        core,
        pages: RefCell::default(),
        hot: RefCell::new(Some(BTreeSet::new())),
    });
    let memory: Rc<dyn Memory> = Rc::<Watch>::clone(&watch);

    // Each read by itself.
    let types = Types::of_process(Rc::clone(&binary), Rc::clone(&memory), bias);
    for (address, _) in types.map_descriptors() {
        let _ = descriptor_layout(&types, address);
    }
    let heap = Heap::open(&types, Rc::clone(&memory)).unwrap();
    let (spans, _) = heap.spans(&*memory).unwrap();
    let _ = heap::special_roots(&types, &*memory, &spans);
    let symbols = Symbols::new(heap::functions(&types, &*memory).unwrap());
    let reader = GoroutineReader::new(&types).unwrap();
    let (goroutines, _) = heap::goroutines(&types, &*memory, &threads).unwrap();
    for goroutine in &goroutines {
        let state = reader.read(&*memory, goroutine.address).unwrap();
        let at = state.resume;
        let callers = heap::callers(symbols.functions(), &*memory, &state, at, false, 64);
        for pc in &callers.returns {
            let _ = symbols.of_return(&*memory, *pc);
        }
        let _ = heap::stack_frames(symbols.functions(), &*memory, goroutine);
        let _ = reader.labels(&*memory, &state);
    }
    for kind in [Kind::Heap, Kind::Goroutine, Kind::Block, Kind::Mutex] {
        let _ = profile(&types, &*memory, (&threads, None), kind);
    }

    // As commands read.
    let target = Rc::new(Target::new(
        Rc::clone(&binary),
        Box::new(Rc::clone(&memory)),
        bias,
        None,
    ));
    let hot = watch.hot.take();
    let filter = Filter::default();
    let wanted = |types| ScanWanted {
        filter: &filter,
        rows: None,
        types,
        holders: types,
        tombstones: true,
    };
    let scanned = target.scan(&threads, &wanted(false)).unwrap();
    let quick = watch.pages.borrow().len();
    let all = target.scan(&threads, &wanted(true)).unwrap();
    eprintln!(
        "{} maps, {quick} pages, with types {}",
        scanned.scan.maps.len(),
        watch.pages.borrow().len()
    );
    watch.hot.replace(hot);
    let mut maps = Vec::new();
    for found in &all.scan.maps {
        let Some(known) = all.scan.types_of(found).first() else {
            continue;
        };
        let Ok(map) = Map::new(Rc::clone(&target), found.address, &known.name, "m") else {
            continue;
        };
        // Each read by itself, once more.
        let layout = map.layout().clone();
        struct All;
        impl gomapscope_core::map::Visitor for All {
            fn unit(&mut self, _: &gomapscope_core::map::Unit<'_>) -> Flow {
                Flow::Continue
            }
        }
        let walked = gomapscope_core::map::walk(&memory, &layout, found.address, &mut All);
        // What these read is recorded.
        let _ = map.stats();
        let _ = target.map_type_at(found.address);
        let (rows, _) = gomapscope_core::answer::entry_rows(
            &map,
            0,
            u64::MAX,
            gomapscope_core::gotype::Limits::TEXT,
        );
        if rows.len() > 1 && maps.len() < 24 {
            eprintln!(
                "{:#x} {} {} {}",
                found.address,
                known.name,
                rows.len(),
                walked.exact()
            );
            maps.push((found.address, known.name.to_string()));
        }
    }

    // The executable: its headers, and what is asked of it by name.
    let file = std::fs::read(executable).unwrap();
    let mut kept = vec![0; file.len()];
    let mut keep = |from: u64, len: u64| {
        let range = from as usize..(from + len) as usize;
        kept[range.clone()].copy_from_slice(&file[range]);
    };
    let word = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&file[at..at + size]);
        u64::from_le_bytes(bytes)
    };
    keep(0, 4096);
    let (sections, size, count, names) = (word(40, 8), 64, word(60, 2), word(62, 2));
    keep(sections, size * count);
    let section = |index: u64| {
        let at = (sections + size * index) as usize;
        (word(at, 4), word(at + 24, 8), word(at + 32, 8))
    };
    let (_, table, len) = section(names);
    keep(table, len);
    for index in 0..count {
        let (name, from, len) = section(index);
        let name = &file[(table + name) as usize..];
        let name = name.split(|byte| *byte == 0).next().unwrap();
        if [&b".go.buildinfo"[..], b".note.go.buildid"].contains(&name) {
            keep(from, len);
        }
    }

    let ranges = |words: &BTreeSet<u64>, unit: u64| {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for word in words {
            match found.last_mut() {
                Some((start, len)) if *start + *len == word * unit => *len += unit,
                _ => found.push((word * unit, unit)),
            }
        }
        found
    };
    let mut body = kept.clone();
    let mut segments = Vec::new();
    for (start, len) in ranges(&watch.pages.borrow(), PAGE) {
        let mut bytes = vec![0; len as usize];
        let mut held = 0;
        // The last page may be cut.
        for (at, page) in (start..)
            .step_by(PAGE as usize)
            .zip(bytes.chunks_mut(PAGE as usize))
        {
            held += usize::from(watch.core.read(at, page).is_ok()) * page.len();
        }
        bytes.truncate(held);
        body.extend(&bytes);
        segments.push((start, bytes.len() as u64));
    }
    let hot = watch.hot.take().unwrap();
    let hot = ranges(&hot, 8);
    let head = json!({
        "executable": kept.len(),
        "segments": segments,
        "hot": hot,
        "maps": maps,
        "threads": threads.iter().map(|thread| &thread.values).collect::<Vec<_>>(),
    })
    .to_string();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed
        .write_all(&(head.len() as u64).to_le_bytes())
        .unwrap();
    packed.write_all(head.as_bytes()).unwrap();
    packed.write_all(&body).unwrap();
    let packed = packed.finish().unwrap();
    eprintln!(
        "{} bytes of memory, {} hot, {} packed",
        body.len() - kept.len(),
        hot.iter().map(|(_, len)| len).sum::<u64>(),
        packed.len()
    );
    std::fs::write(out, packed).unwrap();
}
