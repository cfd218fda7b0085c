//! Who is in a map operation: `go-map-writers`.

use std::collections::BTreeMap;

use gomapscope_core::answer;
use gomapscope_core::heap::ThreadRegisters;
use gomapscope_core::report;
use gomapscope_core::writers;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::{Request, Style, Target, error, guard};

type Threads = Option<Vec<(u32, BTreeMap<String, u64>)>>;

fn known(target: &Target, threads: Threads) -> Vec<ThreadRegisters> {
    threads
        .unwrap_or_else(|| target.threads.clone())
        .into_iter()
        .map(|(tid, values)| ThreadRegisters { tid, values })
        .collect()
}

/// Answers `go-map-writers`. `threads` are the registers of each thread by gdb's names, `None`
/// for those of a core; `notes` say what could not be had.
#[pyfunction]
#[pyo3(signature = (request, target, threads, notes, style, write))]
pub(crate) fn map_writers(
    py: Python<'_>,
    request: &Request,
    target: &Target,
    threads: Threads,
    notes: Vec<String>,
    style: &Style,
    write: Py<PyAny>,
) -> PyResult<()> {
    let threads = known(target, threads);
    target.pace.begin();
    let found =
        guard(|| answer::search_writers(&request.0, &target.inner, &threads).map_err(error));
    target.pace.end(py);
    if found.is_err() && target.pace.interrupted() {
        return Err(PyKeyboardInterrupt::new_err(()));
    }
    let mut found = found?;
    guard(|| {
        let mut emit = |text: &str| -> PyResult<()> { write.call1(py, (text,)).map(|_| ()) };
        let (target, look) = (&target.inner, &style.0);
        answer::answer_writers(&request.0, target, &mut found, notes, look, &mut emit)
    })
}

/// One sentence about the fatal error in a map operation that ended the process, and what the
/// runtime printed of it; `None` where there is none, or nothing tells.
#[pyfunction]
pub(crate) fn map_crash(
    py: Python<'_>,
    target: &Target,
    threads: Threads,
) -> PyResult<Option<(String, Option<String>)>> {
    let threads = known(target, threads);
    target.pace.begin();
    let found = guard(|| Ok(writers::fatal(&target.inner, &threads).ok().flatten()));
    target.pace.end(py);
    if target.pace.interrupted() {
        return Err(PyKeyboardInterrupt::new_err(()));
    }
    Ok(found?.map(|fatal| {
        let line = report::sanitize(&report::writers_line(&fatal), false).into_owned();
        (line, fatal.message)
    }))
}
