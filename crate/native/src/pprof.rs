//! Profiles: `gomapscope pprof`.

use std::path::Path;

use gomapscope_core::pprof::{self, Programs};
use gomapscope_core::report;
use pyo3::prelude::*;

use crate::{Style, error, guard};

/// An error that may quote what a file says.
fn line(reason: impl std::fmt::Display) -> PyErr {
    error(report::sanitize(&reason.to_string(), true))
}

/// The answer of `gomapscope pprof`: `sources` are names with their contents, or files to
/// read. `limit` is a number of rows, below 0 for all, `None` for as many as fit a text.
#[pyfunction]
#[pyo3(signature = (sources, exe, json, raw, limit, style))]
pub(crate) fn pprof_report(
    sources: Vec<(String, Option<Vec<u8>>)>,
    exe: Option<&str>,
    json: bool,
    raw: bool,
    limit: Option<i64>,
    style: &Style,
) -> PyResult<String> {
    guard(|| {
        let mut programs = Programs::default();
        let mut profiles = Vec::new();
        for (name, contents) in sources {
            let profile = match contents {
                Some(bytes) => pprof::parse(&name, &bytes),
                None => pprof::read(Path::new(&name)),
            };
            profiles.push((name, profile.map_err(line)?));
        }
        let profiles = pprof::explain_all(profiles, exe.map(Path::new), &mut programs);
        let profiles = profiles.map_err(line)?;
        let limit = limit.map(|limit| u64::try_from(limit).ok());
        Ok(match json {
            true => report::pprof_json(&profiles, limit, raw),
            false => report::pprof(&profiles, limit, &style.0.style),
        })
    })
}

/// Whether `contents` are a profile; raises why not. With how many samples.
#[pyfunction]
pub(crate) fn pprof_parses(name: &str, contents: &[u8]) -> PyResult<usize> {
    guard(|| {
        let profile = pprof::parse(name, contents).map_err(line)?;
        Ok(profile.samples.len())
    })
}
