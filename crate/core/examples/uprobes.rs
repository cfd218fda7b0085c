//! `uprobes EXE PID [--stacks] [--kib N] [--return] [--astray] [--only MAP] [--at OFFSET] FUNCTION...`:
//! probes the functions and, for each line of its input, prints what was hit since as one line of JSON,
//! for `tests/test_uprobe.py`. The line `stop` stops; at the end of the input the session is
//! dropped. PID 0 is every process.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gomapscope_core::binary::Binary;
use gomapscope_core::binary::prologue::{Arch, places};
use gomapscope_core::uprobe::{
    Caller, Fetch, Hit, Options, Probe, ProbeStatus, Register, Session, Status,
};
use object::{Object, ObjectSegment, ObjectSymbol};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

/// What is known of one map in one function.
#[derive(Default)]
struct Seen {
    calls: u64,
    sum: u64,
    first: u64,
    last: u64,
    faulted: u64,
    extra: u64,
    threads: BTreeSet<u32>,
    stacks: BTreeMap<Vec<u64>, u64>,
}

struct Tally {
    names: Vec<String>,
    seen: BTreeMap<(usize, u64), Seen>,
    newest: u64,
    disorder: u64,
    hits: u64,
    busy: Duration,
}

impl Tally {
    fn take(&mut self, hit: &Hit<'_>) {
        self.hits += 1;
        self.disorder += u64::from(hit.t_mono_ns < self.newest);
        self.newest = hit.t_mono_ns;
        let [map, key, extra] = *hit.values else {
            return;
        };
        let seen = self.seen.entry((hit.probe, map)).or_default();
        if seen.calls == 0 {
            seen.first = key;
        }
        seen.calls += 1;
        seen.last = key;
        seen.sum = seen.sum.wrapping_add(key);
        seen.faulted += u64::from(hit.faulted);
        seen.extra |= extra;
        seen.threads.insert(hit.tid);
        if !hit.stack.is_empty() {
            *seen.stacks.entry(hit.stack.to_vec()).or_default() += 1;
        }
    }

    fn report(&mut self) -> Value {
        let maps: Vec<Value> = std::mem::take(&mut self.seen)
            .into_iter()
            .map(|((probe, map), seen)| {
                json!({
                    "function": self.names.get(probe),
                    "address": format!("{map:#x}"),
                    "calls": seen.calls,
                    "sum": seen.sum,
                    "first": seen.first,
                    "last": seen.last,
                    "faulted": seen.faulted,
                    "extra": seen.extra,
                    "threads": seen.threads,
                    "stacks": seen.stacks.iter().map(|(stack, count)| {
                        json!({
                            "count": count,
                            "frames": stack.iter().map(|pc| format!("{pc:#x}")).collect::<Vec<_>>(),
                        })
                    }).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "maps": maps,
            "hits": std::mem::take(&mut self.hits),
            "disorder": self.disorder,
            "busy_ns": std::mem::take(&mut self.busy).as_nanos() as u64,
        })
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uprobes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let exe = PathBuf::from(arguments.next().ok_or("no executable")?);
    let pid: u32 = arguments.next().ok_or("no process")?.parse()?;
    let mut options = Options {
        pid: (pid != 0).then_some(pid),
        ..Options::default()
    };
    let (mut names, mut only, mut at) = (Vec::new(), None, None);
    let (mut at_return, mut astray) = (false, false);
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or("an option lacks its value");
        match argument.as_str() {
            "--stacks" => options.user_stacks = true,
            "--kib" => options.buffer_kib_per_cpu = next()?.parse()?,
            "--return" => at_return = true,
            "--astray" => astray = true,
            "--only" => {
                only = Some(vec![u64::from_str_radix(
                    next()?.trim_start_matches("0x"),
                    16,
                )?])
            }
            "--at" => at = Some(next()?.parse::<u64>()?),
            _ => names.push(argument),
        }
    }
    let binary = Binary::open(&exe)?;
    let arch = binary.arch().and_then(Arch::of_go).ok_or("architecture")?;
    let bytes = std::fs::read(&exe)?;
    let file = object::File::parse(&*bytes)?;
    let argument = |index| Register::argument(arch, index).ok_or("no such register");
    let mut probes = Vec::new();
    for name in &names {
        let entry = binary.symbol(name).ok_or_else(|| format!("no {name}"))?;
        let size = file
            .symbols()
            .find(|symbol| symbol.name() == Ok(name.as_str()))
            .map_or(0, |symbol| symbol.size());
        let code = file
            .segments()
            .find_map(|segment| segment.data_range(entry, size).ok().flatten())
            .ok_or("no code")?;
        let found = places(arch, entry, code).ok_or("no instructions")?;
        let mut chosen: Vec<u64> = match at_return {
            true => found.returns.iter().map(|place| place.address).collect(),
            false => vec![found.first.address],
        };
        if let Some(at) = at {
            chosen = vec![entry + at];
        }
        // A word: the key itself, or what stands first at its place.
        let by_value = name.contains("fast32") || name.contains("fast64");
        for address in chosen {
            probes.push(Probe {
                name: name.clone(),
                file_offset: binary.file_offset(address).ok_or("not in the file")?,
                fetches: vec![
                    Fetch {
                        register: argument(1)?,
                        path: Vec::new(),
                        width: 8,
                    },
                    Fetch {
                        register: argument(2)?,
                        path: if by_value { Vec::new() } else { vec![0] },
                        width: if name.contains("fast32") { 4 } else { 8 },
                    },
                    // The map's type; or the key taken for a pointer, which leads nowhere.
                    Fetch {
                        register: argument(if astray { 2 } else { 0 })?,
                        path: if astray { vec![0, 8] } else { Vec::new() },
                        width: 8,
                    },
                ],
                only: only.clone().map(|values| (0, values)),
                caller: Caller::Bare,
            });
        }
    }
    let names = probes.iter().map(|probe| probe.name.clone()).collect();
    let mut tally = Tally {
        names,
        seen: BTreeMap::new(),
        newest: 0,
        disorder: 0,
        hits: 0,
        busy: Duration::ZERO,
    };
    let (send, lines) = channel();
    let began = Instant::now();
    let mut session = Session::start(&exe, arch, probes, options)?;
    println!(
        "{}",
        json!({"started_ns": began.elapsed().as_nanos() as u64, "pid": std::process::id()})
    );
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        let line = match lines.recv_timeout(Duration::from_millis(2)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let since = Instant::now();
                session.poll(&mut |hit| tally.take(&hit))?;
                tally.busy += since.elapsed();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if line == "stop" {
            break;
        }
        // Twice: what one turn reads the next hands on.
        session.poll(&mut |hit| tally.take(&hit))?;
        session.poll(&mut |hit| tally.take(&hit))?;
        print(&mut tally, &session.status()?);
    }
    let status = session.stop(&mut |hit| tally.take(&hit))?;
    print(&mut tally, &status);
    Ok(())
}

fn print(tally: &mut Tally, status: &Status) {
    let mut report = tally.report();
    let counts =
        |of: fn(&ProbeStatus) -> u64| -> Vec<u64> { status.probes.iter().map(of).collect() };
    report["status"] = json!({
        "events": status.events,
        "lost": status.lost,
        "foreign": status.foreign,
        "unattributed": status.unattributed,
        "broken_pages": status.broken_pages,
        "passages": counts(|probe| probe.passages),
        "hits": counts(|probe| probe.hits),
    });
    println!("{report}");
}
