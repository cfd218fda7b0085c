//! `tracedump FILE`: the facts of an execution trace, each one a JSON document on a line, and at last what was
//! read, for `tests/test_exectrace.py`. `tracedump -time FILE`: how fast it is read, for `tests/bench/exectrace.py`.
//! `tracedump -damage N FILE`: the file cut at N places and changed N times, each read to its end.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::Instant;

use gomapscope_core::events::Frame;
use gomapscope_core::exectrace::{self, Fact, Lane, Outcome, Sink};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [path] if path != "-time" => dump(path),
        [flag, path] if flag == "-time" => time(path),
        [flag, times, path] if flag == "-damage" => damage(times, path),
        _ => {
            eprintln!("usage: tracedump [-time | -damage N] FILE");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracedump: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts facts.
#[derive(Default)]
struct Count {
    facts: u64,
}

impl Sink for Count {
    fn fact(&mut self, _: &Fact<'_>, _: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        self.facts += 1;
        true
    }
}

fn time(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut count = Count::default();
    let started = Instant::now();
    let outcome = exectrace::read(File::open(path)?, &mut |_| true, &mut count)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "bytes": outcome.bytes, "events": outcome.events, "facts": count.facts, "seconds": seconds,
            "complete": outcome.cut.is_none() && !outcome.incomplete,
        })
    );
    Ok(())
}

fn damage(times: &str, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let times: usize = times.parse()?;
    let whole = std::fs::read(path)?;
    let (mut cut, mut incomplete, mut refused, mut slowest) = (0, 0, 0, 0.0_f64);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit.max(1) as u64) as usize
    };
    for number in 0..2 * times {
        let mut bytes = whole.clone();
        if number < times {
            bytes.truncate(whole.len() * number / times);
        } else {
            for _ in 0..1 + below(8) {
                let at = below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = below(256) as u8;
                }
            }
        }
        let mut summary = exectrace::Summary::new(None, None);
        let started = Instant::now();
        match exectrace::read(&bytes[..], &mut |_| true, &mut summary) {
            Ok(outcome) => {
                cut += usize::from(outcome.cut.is_some());
                incomplete += usize::from(outcome.incomplete);
            }
            Err(_) => refused += 1,
        }
        summary.finish();
        let _ = summary.clusters();
        slowest = slowest.max(started.elapsed().as_secs_f64());
    }
    println!(
        "{}",
        json!({"read": 2 * times, "cut": cut, "incomplete": incomplete, "refused": refused, "slowest": slowest})
    );
    Ok(())
}

/// Writes facts.
struct Lines<W> {
    out: W,
}

impl<W: Write> Sink for Lines<W> {
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        writeln!(self.out, "{}", row(fact, stack)).is_ok()
    }
}

fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Gc => "gc",
        Lane::StopTheWorld => "stw",
    }
}

fn row(fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> Value {
    match *fact {
        Fact::Clock {
            t_ns,
            mono_ns,
            wall_ns,
        } => {
            json!({"fact": "clock", "t": t_ns, "mono": mono_ns, "wall": wall_ns})
        }
        Fact::Begin {
            t_ns,
            lane: which,
            reason,
            goid,
        } => {
            json!({"fact": "begin", "t": t_ns, "lane": lane(which), "reason": reason, "g": goid})
        }
        Fact::End { t_ns, lane: which } => json!({"fact": "end", "t": t_ns, "lane": lane(which)}),
        Fact::HeapAlloc { t_ns, bytes } => json!({"fact": "heap", "t": t_ns, "bytes": bytes}),
        Fact::HeapGoal { t_ns, bytes } => json!({"fact": "goal", "t": t_ns, "bytes": bytes}),
        Fact::Log {
            t_ns,
            goid,
            task,
            category,
            message,
            stack: number,
        } => json!({
            "fact": "log", "t": t_ns, "g": goid, "task": task, "category": category, "message": message,
            "stack": stack(number),
        }),
        Fact::TaskBegin {
            t_ns,
            goid,
            task,
            parent,
            name,
        } => {
            json!({"fact": "task", "t": t_ns, "g": goid, "task": task, "parent": parent, "name": name})
        }
        Fact::TaskEnd { t_ns, goid, task } => {
            json!({"fact": "task end", "t": t_ns, "g": goid, "task": task})
        }
        Fact::RegionBegin {
            t_ns,
            goid,
            task,
            name,
        } => {
            json!({"fact": "region", "t": t_ns, "g": goid, "task": task, "name": name})
        }
        Fact::RegionEnd {
            t_ns,
            goid,
            task,
            name,
        } => {
            json!({"fact": "region end", "t": t_ns, "g": goid, "task": task, "name": name})
        }
        Fact::Alloc {
            t_ns,
            goid,
            address,
            slot,
            type_name,
            type_size,
            existed,
        } => json!({
            "fact": "alloc", "t": t_ns, "g": goid, "address": address, "slot": slot, "type": type_name,
            "size": type_size, "existed": existed,
        }),
        Fact::Free { t_ns, address } => json!({"fact": "free", "t": t_ns, "address": address}),
    }
}

fn dump(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = Lines {
        out: BufWriter::new(std::io::stdout().lock()),
    };
    let outcome = exectrace::read(File::open(path)?, &mut |_| true, &mut lines)?;
    writeln!(lines.out, "{}", ending(&outcome))?;
    lines.out.flush()?;
    Ok(())
}

fn ending(outcome: &Outcome) -> Value {
    json!({
        "fact": "outcome", "version": outcome.version, "generations": outcome.generations,
        "events": outcome.events, "bytes": outcome.bytes, "monotonic": outcome.clock == exectrace::Clock::Monotonic,
        "cut": outcome.cut.as_ref().map(|cut| json!({"offset": cut.offset, "why": cut.why})),
        "damaged": outcome.damaged, "incomplete": outcome.incomplete, "notes": outcome.notes,
    })
}
