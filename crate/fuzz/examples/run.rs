//! `run TARGET FILE...`: gives files to a target, without libFuzzer: to see what was found under a
//! debugger. `run -cases N TARGET...`: gives each target N inputs, made of its corpus by chance. No
//! coverage guides that, but it needs no nightly compiler and is several times faster; what fails
//! or takes a second is left in the working directory.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gomapscope_fuzz::Target;

/// What an input may take.
const SLOW: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, cases, names @ ..] if flag == "-cases" && !names.is_empty() => {
            by_chance(cases, names)
        }
        [name, files @ ..] if !files.is_empty() => give(name, files),
        _ => Err("usage: run TARGET FILE... | run -cases N TARGET...".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("run: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn target(name: &str) -> Result<&'static Target, String> {
    gomapscope_fuzz::target(name).ok_or_else(|| format!("no target is called {name}"))
}

fn give(name: &str, files: &[String]) -> Result<(), String> {
    let target = target(name)?;
    gomapscope_fuzz::look_at_all();
    for file in files {
        let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let begun = Instant::now();
        (target.run)(&bytes);
        println!("{file}: {:.3} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn by_chance(cases: &str, names: &[String]) -> Result<(), String> {
    let cases: u64 = cases.parse().map_err(|_| format!("{cases} is no number"))?;
    for name in names {
        let target = target(name)?;
        let corpus = corpus(name)?;
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        let mut slowest = Duration::ZERO;
        let begun = Instant::now();
        for case in 0..cases {
            let bytes = chance.input(&corpus, target.max_len);
            let started = Instant::now();
            let done = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
            let mut took = started.elapsed();
            if done.is_ok() && took > SLOW / 10 {
                // The machine may have had other work.
                let started = Instant::now();
                (target.run)(&bytes);
                took = took.min(started.elapsed());
            }
            slowest = slowest.max(took);
            if done.is_err() || took > SLOW {
                let file = format!("{name}-{case}");
                std::fs::write(&file, &bytes).map_err(|error| format!("{file}: {error}"))?;
                println!(
                    "{name}: case {case} took {:.3} s, see {file}",
                    took.as_secs_f64()
                );
            }
            if done.is_err() {
                return Err(format!("{name} failed"));
            }
        }
        println!(
            "{name}: {cases} cases in {:.0} s, the longest {:.3} s",
            begun.elapsed().as_secs_f64(),
            slowest.as_secs_f64()
        );
    }
    Ok(())
}

fn corpus(name: &str) -> Result<Vec<Vec<u8>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let failed = |error| format!("{}: {error}", folder.display());
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    files.sort();
    let read = |path| std::fs::read(path).map_err(failed);
    files.into_iter().map(read).collect()
}

/// Marsaglia's xorshift: the same cases every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }

    /// One of the corpus, with one to eight changes.
    fn input(&mut self, corpus: &[Vec<u8>], most: usize) -> Vec<u8> {
        let mut bytes = corpus
            .get(self.below(corpus.len()))
            .cloned()
            .unwrap_or_default();
        for _ in 0..=self.below(8) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(most);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let len = self.below(16) + 1;
        let end = (at + len).min(bytes.len());
        match self.below(9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 | 2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.below(256) as u8;
                }
            }
            3 => {
                bytes.drain(at..end);
            }
            4 => {
                let new: Vec<u8> = (0..len).map(|_| self.below(256) as u8).collect();
                bytes.splice(at..at, new);
            }
            // A part of another one, in its place or between.
            5 | 6 => {
                let other = corpus
                    .get(self.below(corpus.len()))
                    .map_or(&[][..], Vec::as_slice);
                let from = self.below(other.len() + 1);
                let part = &other[from..(from + self.below(64)).min(other.len())];
                let over = match self.below(2) {
                    0 => at,
                    _ => (at + part.len()).min(bytes.len()),
                };
                bytes.splice(at..over, part.iter().copied());
            }
            // Numbers at their limits.
            7 => {
                let size = 1 << self.below(4);
                let value = [0, 1, u64::MAX, 1 << 63, 1 << 31, 1 << 40, 0x7f, 0x80][self.below(8)];
                for (to, byte) in bytes
                    .iter_mut()
                    .skip(at)
                    .take(size)
                    .zip(value.to_le_bytes())
                {
                    *to = byte;
                }
            }
            _ => bytes.truncate(at.max(bytes.len() / 4)),
        }
    }
}
