//! Timelines as Python sees them.

use gomapscope_core::events::EventReader;
use gomapscope_core::save;
use gomapscope_core::timeline::{self, Builder, InputFailure};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::memory::Pace;
use crate::{Document, Request, Style, error, guard};

/// Raises where the file of `-o` must not or cannot be written: before anything else is begun.
#[pyfunction]
pub(crate) fn timeline_ready(request: &Request) -> PyResult<()> {
    timeline::ready(&request.0).map(|_| ()).map_err(error)
}

/// Answers `go-map-timeline`. `plain`: what stands alone names a file. `present`: the maps as
/// they are now; `events`: event files besides those that `request` names, each with what it
/// is called.
#[pyfunction]
#[pyo3(signature = (request, style, progress, write, *, plain=false, present=None, events=Vec::new()))]
#[allow(clippy::too_many_arguments, reason = "Python names them")]
pub(crate) fn answer_timeline(
    py: Python<'_>,
    request: &Request,
    style: &Style,
    progress: Option<Py<PyAny>>,
    write: Py<PyAny>,
    plain: bool,
    present: Option<PyRef<'_, Document>>,
    events: Vec<(String, String)>,
) -> PyResult<()> {
    let pace = Pace::new(progress);
    pace.begin();
    guard(|| {
        let mut raised = None;
        let mut tick = |_| pace.reading_files();
        let mut builder = Builder::new();
        if let Some(present) = present {
            builder.snapshot(present.0.clone());
        }
        let mut done = Ok(());
        for (path, name) in &events {
            match EventReader::open(&save::expanded(path)) {
                Ok(mut reader) => {
                    done = builder.events(name, &mut reader, &mut tick);
                }
                Err(reason) => {
                    builder.refuse(timeline::SourceKind::Events, name, reason.to_string());
                }
            }
            if done.is_err() {
                break;
            }
        }
        let mut emit = |text: &str| -> Result<(), InputFailure> {
            pace.end(py);
            write.call1(py, (text,)).map(|_| ()).map_err(|failure| {
                raised = Some(failure);
                InputFailure::Interrupted
            })
        };
        let answered = done.map_err(InputFailure::from).and_then(|()| {
            let style = &style.0.style;
            timeline::answer(&request.0, plain, builder, style, &mut tick, &mut emit)
        });
        pace.end(py);
        match (answered, raised) {
            (_, Some(failure)) => Err(failure),
            (Err(InputFailure::Interrupted), None) => Err(PyKeyboardInterrupt::new_err(())),
            (Err(reason), None) => Err(error(reason)),
            (Ok(()), None) => Ok(()),
        }
    })
}
