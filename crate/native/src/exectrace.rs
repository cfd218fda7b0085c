//! Execution traces as Python asks for them.

use gomapscope_core::answer::{self, TraceFailure, TraceWanted};
use pyo3::prelude::*;

use crate::memory::Pace;
use crate::{Style, error, guard};

/// Answers `gomapscope trace` for the file at `path`; `limit` 0 lists all.
#[pyfunction]
#[pyo3(signature = (path, style, progress, write, *, json=false, limit=None, address=None, output=None, force=false))]
#[allow(clippy::too_many_arguments, reason = "Python names them")]
pub(crate) fn exec_trace(
    py: Python<'_>,
    path: &str,
    style: &Style,
    progress: Option<Py<PyAny>>,
    write: Py<PyAny>,
    json: bool,
    limit: Option<u64>,
    address: Option<u64>,
    output: Option<String>,
    force: bool,
) -> PyResult<()> {
    let wanted = TraceWanted {
        json,
        limit: limit.map(|rows| (rows > 0).then_some(rows)),
        map: address,
        output,
        force,
    };
    let pace = Pace::new(progress);
    pace.begin();
    guard(|| {
        let mut tick = |bytes| pace.reading_bytes(bytes);
        let mut emit = |text: &str| -> PyResult<()> {
            pace.end(py);
            write.call1(py, (text,)).map(|_| ())
        };
        answer::answer_trace(path, &wanted, &style.0.style, &mut tick, &mut emit).map_err(
            |failure| match failure {
                TraceFailure::Said(why) => error(why),
                TraceFailure::Write(raised) => raised,
            },
        )
    })
}
