//! Profiles out of memory, and contention: `go-map-pprof`, `gomapscope contention`.

use std::collections::BTreeMap;
use std::path::Path;

use gomapscope_core::heap::ThreadRegisters;
use gomapscope_core::pprof::contention::{contention, inputs};
use gomapscope_core::pprof::{self, Clock, ProfileFailure};
use gomapscope_core::report;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::ffi::ticks;
use crate::{Request, Style, Target, error, guard};

/// Answers `go-map-pprof` for a target. `threads` are the registers of each thread by gdb's
/// names, `None` for those of a core. `monotonic` is CLOCK_MONOTONIC now, where that is the
/// target's, too.
#[pyfunction]
#[pyo3(signature = (request, target, threads, style, monotonic=None))]
pub(crate) fn memory_profiles(
    py: Python<'_>,
    request: &Request,
    target: &Target,
    threads: Option<Vec<(u32, BTreeMap<String, u64>)>>,
    style: &Style,
    monotonic: Option<i64>,
) -> PyResult<String> {
    let clock = monotonic.zip(ticks()).map(|(monotonic_ns, ticks)| Clock {
        ticks,
        monotonic_ns,
    });
    let threads: Vec<ThreadRegisters> = threads
        .unwrap_or_else(|| target.threads.clone())
        .into_iter()
        .map(|(tid, values)| ThreadRegisters { tid, values })
        .collect();
    target.pace.begin();
    let found = guard(|| {
        let look = &style.0;
        pprof::answer_pprof(&request.0, &target.inner, (&threads, clock), look).map_err(|failure| {
            match failure {
                ProfileFailure::Reason(reason) => error(reason),
                _ => PyKeyboardInterrupt::new_err(()),
            }
        })
    });
    target.pace.end(py);
    if found.is_err() && target.pace.interrupted() {
        return Err(PyKeyboardInterrupt::new_err(()));
    }
    found
}

/// The answer of `gomapscope contention`: `sources` are names with their contents, or files
/// to read. `limit` is a number of functions, below 0 for all.
#[pyfunction]
#[pyo3(signature = (sources, exe, json, limit, style))]
pub(crate) fn contention_report(
    sources: Vec<(String, Option<Vec<u8>>)>,
    exe: Option<&str>,
    json: bool,
    limit: Option<i64>,
    style: &Style,
) -> PyResult<String> {
    guard(|| {
        let mut profiles = Vec::new();
        for (name, contents) in sources {
            let profile = match contents {
                Some(bytes) => pprof::parse(&name, &bytes),
                None => pprof::read(Path::new(&name)),
            };
            profiles.push((name, profile.map_err(error)?));
        }
        let inputs = inputs(profiles, exe.map(Path::new)).map_err(error)?;
        let found = contention(&inputs);
        let limit = limit.map(|limit| u64::try_from(limit).ok());
        Ok(match json {
            true => report::contention_json(&found, limit),
            false => report::contention(&found, limit, &style.0.style),
        })
    })
}
