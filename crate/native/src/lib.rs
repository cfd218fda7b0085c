//! `gomapscope._native`: the core as Python sees it. Thin: every function
//! converts its arguments, calls [`gomapscope_core`] and converts the result.

mod exectrace;
mod ffi;
mod memory;
mod pprof;
mod profiles;
mod timeline;
mod trace;
mod writers;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gomapscope_core::answer::{self, EventsFailure, Look, ScanFailure};
use gomapscope_core::binary;
use gomapscope_core::command;
use gomapscope_core::expression;
use gomapscope_core::gotype::{Kind, Limits, Types};
use gomapscope_core::heap::ThreadRegisters;
use gomapscope_core::instrument::{self as flight, Options};
use gomapscope_core::memory::CoreFile;
use gomapscope_core::report::{self, ScanContext};
use gomapscope_core::ring::{self, RingFailure};
use gomapscope_core::save;
use gomapscope_core::snapshot;
use gomapscope_core::target;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use memory::{CoreMemory, GdbMemory, Pace};

create_exception!(
    gomapscope._native,
    Error,
    PyException,
    "A message of one line for the user."
);

fn error(reason: impl std::fmt::Display) -> PyErr {
    // One line, whatever the parts were.
    Error::new_err(reason.to_string().replace(['\n', '\r'], " "))
}

/// Runs `f`; a panic becomes an [`Error`]: it must never leave as
/// `PanicException`, which is no `Exception` and would stop an inferior inside
/// `Breakpoint.stop`.
fn guard<T>(f: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(error(format_args!(
            "internal error in gomapscope, please report it: {text}"
        )))
    })
}

/// A parsed command line.
#[pyclass(frozen, module = "gomapscope._native")]
struct Request(command::Request);

#[pymethods]
impl Request {
    #[getter]
    fn command(&self) -> &'static str {
        command::definitions()
            .iter()
            .find(|definition| definition.command == self.0.command)
            .map_or("", |definition| definition.name)
    }

    #[getter]
    fn expressions(&self) -> Vec<String> {
        self.0.expressions.clone()
    }

    #[getter]
    fn type_name(&self) -> Option<&str> {
        self.0.options.type_name.as_deref()
    }

    #[getter]
    fn json(&self) -> bool {
        self.0.options.json
    }

    #[getter]
    fn allow_write(&self) -> bool {
        self.0.options.allow_write
    }

    #[getter]
    fn heat(&self) -> bool {
        self.0.options.heat
    }

    /// The file that the answer is to be written to.
    #[getter]
    fn output(&self) -> Option<&str> {
        self.0.options.output.as_deref()
    }

    /// The files of `-events`.
    #[getter]
    fn event_files(&self) -> Vec<String> {
        self.0.options.events.clone()
    }

    /// Raises where that file must not be written: before anything else is begun.
    fn check_output(&self) -> PyResult<()> {
        match &self.0.options.output {
            Some(path) => save::may_write(path, self.0.options.force)
                .map(|_| ())
                .map_err(error),
            None => Ok(()),
        }
    }

    /// Whether every map of the process is meant.
    #[getter]
    fn scan(&self) -> bool {
        self.0.options.scan
    }

    #[getter]
    fn engine(&self) -> &'static str {
        self.0.options.engine.word()
    }

    /// Whether every write is to be traced.
    #[getter]
    fn is_busy(&self) -> bool {
        let on = &self.0.options.on;
        ["assign", "delete", "all"]
            .iter()
            .any(|word| on.contains(word))
    }
}

/// How text is to look.
#[pyclass(frozen, module = "gomapscope._native")]
struct Style(Look);

#[pymethods]
impl Style {
    /// `limit` rows unless an option says otherwise; 0 is no limit.
    #[new]
    fn new(width: usize, color: bool, unicode: bool, limit: u64) -> Self {
        let limit = (limit > 0).then_some(limit);
        Self(Look {
            style: report::Style {
                width,
                color,
                unicode,
            },
            limit,
            values: Limits::TEXT,
        })
    }
}

/// An executable on disk.
#[pyclass(unsendable, module = "gomapscope._native")]
struct Binary(Rc<Types>);

impl Binary {
    fn inner(&self) -> &binary::Binary {
        self.0.binary()
    }
}

#[pymethods]
impl Binary {
    #[new]
    fn new(path: &str) -> PyResult<Self> {
        guard(|| {
            let binary = binary::Binary::open(Path::new(path)).map_err(error)?;
            Ok(Self(Rc::new(Types::new(Rc::new(binary)))))
        })
    }

    #[getter]
    fn path(&self) -> String {
        self.inner().path().display().to_string()
    }

    #[getter]
    fn go_version(&self) -> PyResult<Option<String>> {
        guard(|| Ok(self.inner().version().map(|version| version.text)))
    }

    #[getter]
    fn experiments(&self) -> PyResult<Vec<String>> {
        guard(|| {
            Ok(self
                .inner()
                .version()
                .map(|v| v.experiments)
                .unwrap_or_default())
        })
    }

    #[getter]
    fn arch(&self) -> Option<&'static str> {
        self.inner().arch()
    }

    #[getter]
    fn pointer_size(&self) -> u8 {
        self.inner().abi().pointer_size
    }

    #[getter]
    fn family(&self) -> PyResult<Option<&'static str>> {
        guard(|| {
            Ok(self
                .inner()
                .family()
                .map(gomapscope_core::map::Family::word))
        })
    }

    #[getter]
    fn is_go(&self) -> PyResult<bool> {
        guard(|| Ok(self.inner().is_go()))
    }

    #[getter]
    fn dwarf(&self) -> PyResult<Option<String>> {
        guard(|| Ok(self.inner().debug_summary()))
    }

    #[getter]
    fn entry(&self) -> u64 {
        self.inner().entry()
    }

    #[getter]
    fn pie(&self) -> bool {
        self.inner().position_independent()
    }

    /// The link-time address of a symbol of the runtime.
    fn symbol(&self, name: &str) -> PyResult<Option<u64>> {
        guard(|| Ok(self.inner().symbol(name)))
    }

    /// Names and link-time addresses of the variables in `.symtab` that a name means.
    fn variables(&self, name: &str) -> PyResult<Vec<(String, u64)>> {
        guard(|| Ok(self.inner().variables(name)))
    }

    /// Whether a map type has this name, in either spelling.
    fn is_map_type(&self, name: &str) -> PyResult<bool> {
        guard(|| {
            let found = self.0.named(name).and_then(|at| self.0.get(at).ok());
            Ok(found.is_some_and(|found| matches!(found.kind, Kind::Map { .. })))
        })
    }

    /// The names of all map types.
    fn map_types(&self) -> PyResult<Vec<String>> {
        guard(|| Ok(self.0.map_names()))
    }
}

/// A process, core or remote that runs an executable.
#[pyclass(unsendable, module = "gomapscope._native")]
struct Target {
    inner: Rc<target::Target>,
    pace: Rc<Pace>,
    /// The threads of a core; gdb is asked for those of others.
    threads: Vec<(u32, BTreeMap<String, u64>)>,
}

#[pymethods]
impl Target {
    #[new]
    #[pyo3(signature = (binary, read, bias=0, kind="native", pid=None, progress=None))]
    fn new(
        binary: &Binary,
        read: Py<PyAny>,
        bias: u64,
        kind: &str,
        pid: Option<u32>,
        progress: Option<Py<PyAny>>,
    ) -> Self {
        let pace = Rc::new(Pace::new(progress));
        let memory = GdbMemory::new(read, Rc::clone(&pace));
        // Only a native process has a page table here.
        let pid = pid.filter(|_| kind == "native");
        let inner = target::Target::new(binary.0.shared_binary(), Box::new(memory), bias, pid);
        let inner = match kind {
            "core" | "file" => inner.of_file(),
            _ => inner,
        };
        Self {
            inner: Rc::new(inner),
            pace,
            threads: Vec::new(),
        }
    }

    /// The process that a core file was made of; without `program` its executable is
    /// looked for where it was. What is read needs no gdb. `again` is how a command names
    /// the same core.
    #[staticmethod]
    fn of_core(
        core: &str,
        program: Option<&str>,
        again: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Self, Binary)> {
        guard(|| {
            let mut file = CoreFile::open(Path::new(core)).map_err(error)?;
            let path = match (program, file.program()) {
                (Some(path), _) => path.into(),
                (None, Some(mapped)) => mapped.path.clone(),
                (None, None) => {
                    return Err(error(format_args!(
                        "{core} does not tell its program: name it with -exe FILE"
                    )));
                }
            };
            let shown = path.display();
            let binary = binary::Binary::open(&path).map_err(|reason| match program {
                Some(_) => error(reason),
                None => error(format_args!("{reason}; name the program with -exe FILE")),
            })?;
            if !binary.is_go() {
                return Err(error(format_args!(
                    "{shown} is not a Go program (it holds no Go build information)"
                )));
            }
            let another = || {
                error(format_args!(
                    "{core} is not of {shown}: it was built again or is another program; \
                     name the right one with -exe FILE"
                ))
            };
            if file.ran(&path) == Some(false) || file.abi() != binary.abi() {
                return Err(another());
            }
            let Some(bias) = file.bias(binary.entry()) else {
                return Err(error(format_args!("{core} does not tell the entry point")));
            };
            // Segments are loaded at whole pages.
            if bias % 4096 != 0 || (bias != 0 && !binary.position_independent()) {
                return Err(another());
            }
            file.set_executable(&path, bias).map_err(error)?;
            let threads = file
                .threads()
                .iter()
                .map(ThreadRegisters::from)
                .map(|thread| (thread.tid, thread.values))
                .collect();
            let binary = Binary(Rc::new(Types::new(Rc::new(binary))));
            let pace = Rc::new(Pace::new(progress));
            let memory = CoreMemory::new(file, Rc::clone(&pace));
            let shared = binary.0.shared_binary();
            let inner = target::Target::new(shared, Box::new(memory), bias, None)
                .of_file()
                .outside_gdb(again);
            let target = Self {
                inner: Rc::new(inner),
                pace,
                threads,
            };
            Ok((target, binary))
        })
    }

    /// The map that an expression leads to, without gdb.
    fn find(&self, expression: &str, type_name: Option<&str>) -> PyResult<Map> {
        guard(|| {
            self.pace.begin();
            Ok(Map {
                inner: expression::find(&self.inner, expression, type_name).map_err(error)?,
                pace: Rc::clone(&self.pace),
            })
        })
    }

    /// Answers `go-map-scan` for a core.
    fn scan_core(
        &self,
        py: Python<'_>,
        request: &Request,
        style: &Style,
        write: Py<PyAny>,
    ) -> PyResult<()> {
        let context = ScanContext::default();
        let target = (&*self.inner, &*self.pace);
        let threads = self.threads.clone();
        scan(py, target, request, threads, context, style, &write)
    }

    /// Answers `go-map-ring`; with a map, of that alone.
    #[pyo3(signature = (request, found, style, write, pid=None))]
    fn ring(
        &self,
        py: Python<'_>,
        request: &Request,
        found: Option<&Map>,
        style: &Style,
        write: Py<PyAny>,
        pid: Option<u64>,
    ) -> PyResult<()> {
        self.pace.begin();
        let mut emit = |text: &str| -> PyResult<()> {
            self.pace.end(py);
            write.call1(py, (text,)).map(|_| ())
        };
        let map = found.map(|map| &map.inner);
        guard(|| {
            ring::answer_ring(&request.0, &self.inner, map, pid, &style.0, &mut emit).map_err(
                |failure| match failure {
                    RingFailure::Reason(reason) => error(reason),
                    RingFailure::Write(raised) => raised,
                    _ => PyKeyboardInterrupt::new_err(()),
                },
            )
        })
    }

    /// Whether the program has a flight recorder, a damaged one included.
    #[getter]
    fn has_ring(&self) -> bool {
        !matches!(self.inner.ring(), Err(ring::RingError::Absent(_)))
    }

    /// Begins a trace of maps, of all if none is named; `clock` is CLOCK_MONOTONIC, the
    /// time of day and what lay between reading both, in nanoseconds.
    #[pyo3(signature = (request, maps, engine, pid, clock))]
    fn trace(
        &self,
        request: &Request,
        maps: Vec<(String, PyRef<'_, Map>)>,
        engine: &str,
        pid: Option<u32>,
        clock: Option<(u64, u64, u64)>,
    ) -> PyResult<trace::Trace> {
        guard(|| {
            self.pace.begin();
            trace::Trace::open(self, request, &maps, engine, pid, clock)
        })
    }

    /// Forgets the bytes read so far; whether threads run from now on.
    #[pyo3(signature = (motion="stopped"))]
    fn invalidate(&self, motion: &str) {
        self.inner.set_motion(match motion {
            "running" => target::Motion::Running,
            "unknown" => target::Motion::Unknown,
            _ => target::Motion::Still,
        });
        self.inner.invalidate();
    }

    /// What was last said of its threads.
    #[getter]
    fn motion(&self) -> &'static str {
        match self.inner.motion() {
            target::Motion::Still => "stopped",
            target::Motion::Unknown => "unknown",
            target::Motion::Running => "running",
        }
    }

    /// The map at an address.
    fn map(&self, address: u64, type_name: &str, expression: &str) -> PyResult<Map> {
        guard(|| {
            self.pace.begin();
            let inner = target::Map::new(Rc::clone(&self.inner), address, type_name, expression);
            self.probed(inner)
        })
    }

    /// The map at an address, of the type with a descriptor.
    fn described_map(
        &self,
        address: u64,
        descriptor: u64,
        inferred: bool,
        expression: &str,
    ) -> PyResult<Map> {
        guard(|| {
            self.pace.begin();
            let target = Rc::clone(&self.inner);
            let inner = target::Map::described(target, address, descriptor, inferred, expression);
            self.probed(inner)
        })
    }

    /// Descriptor, name and whether it is an inference: the type of the map at an address,
    /// by its storage. `None` where no map header stands.
    fn map_type_at(&self, py: Python<'_>, address: u64) -> PyResult<Option<(u64, String, bool)>> {
        self.pace.begin();
        let found = guard(|| self.inner.map_type_at(address).map_err(error));
        self.pace.end(py);
        if self.pace.interrupted() {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        Ok(found?.map(|found| (found.descriptor, found.name, found.inferred)))
    }

    /// The runtime's function at whose first instruction `pc` is, and the registers that
    /// hold a map's type and the map.
    fn map_call(&self, pc: u64) -> PyResult<Option<(String, &'static str, &'static str)>> {
        guard(|| {
            self.pace.begin();
            let call = self.inner.map_call(pc);
            Ok(call.map(|call| (call.function, call.type_register, call.map_register)))
        })
    }

    /// The address of a function, by the tables that every program has.
    fn function(&self, name: &str) -> PyResult<Option<u64>> {
        guard(|| {
            self.pace.begin();
            let found = self.inner.function_named(name).map_err(error)?;
            Ok(found.map(|function| function.entry))
        })
    }

    /// Answers `go-map-scan`. `threads` are the registers of each thread by gdb's names,
    /// `notes` say what could not be had.
    fn scan(
        &self,
        py: Python<'_>,
        request: &Request,
        threads: Vec<(u32, BTreeMap<String, u64>)>,
        notes: Vec<String>,
        style: &Style,
        write: Py<PyAny>,
    ) -> PyResult<()> {
        let context = ScanContext {
            notes,
            ..ScanContext::default()
        };
        scan(
            py,
            (&self.inner, &self.pace),
            request,
            threads,
            context,
            style,
            &write,
        )
    }

    /// Answers `go-map-snapshot` with every map of the process; `threads` as for `scan`,
    /// `None` for those of a core.
    fn snapshot_scan(
        &self,
        py: Python<'_>,
        request: &Request,
        threads: Option<Vec<(u32, BTreeMap<String, u64>)>>,
        subject: &Subject,
        style: &Style,
        write: Py<PyAny>,
    ) -> PyResult<()> {
        guard(|| answer::files_ready(&request.0).map_err(error))?;
        let options = answer::snapshot_options(&request.0);
        let found = self.search_all(py, options, threads)?;
        let (target, subject) = (&*self.inner, &subject.0);
        save(
            py,
            &request.0,
            target.console().is_none(),
            style,
            &write,
            |file| snapshot::scan(target, &found, subject, options, file),
        )
    }

    /// Every map of the process as it is now, to compare it with `like` if there is one.
    #[pyo3(signature = (like, threads, subject))]
    fn document_scan(
        &self,
        py: Python<'_>,
        like: Option<&Document>,
        threads: Option<Vec<(u32, BTreeMap<String, u64>)>>,
        subject: &Subject,
    ) -> PyResult<Document> {
        let options = like.map_or_else(Default::default, Document::options);
        let found = self.search_all(py, options, threads)?;
        Document::of(|text| snapshot::scan(&self.inner, &found, &subject.0, options, text))
    }

    /// Whether a map type has this name, in either spelling; those count, too, that only
    /// the process's own type descriptors know: the linker leaves types out of DWARF that
    /// stand in interfaces alone.
    fn is_map_type(&self, name: &str) -> PyResult<bool> {
        guard(|| {
            self.pace.begin();
            let types = self.inner.types();
            let found = types.named(name).and_then(|at| types.get(at).ok());
            Ok(found.is_some_and(|found| matches!(found.kind, Kind::Map { .. })))
        })
    }

    /// The type, in DWARF's spelling, of the value in an interface whose first
    /// word is `word`: an itab, or the type itself in an `interface {}`.
    fn dynamic_type(&self, word: u64, itab: bool) -> PyResult<Option<String>> {
        guard(|| {
            self.pace.begin();
            let printer = self.inner.printer(Limits::TEXT);
            let found = printer.dynamic_type(word, !itab).map_err(error)?;
            let named = found.and_then(|at| self.inner.types().get(at).ok());
            Ok(named.map(|named| named.full_name.clone()))
        })
    }
}

impl Target {
    fn search_all(
        &self,
        py: Python<'_>,
        options: snapshot::Options,
        threads: Option<Vec<(u32, BTreeMap<String, u64>)>>,
    ) -> PyResult<target::Scanned> {
        let threads: Vec<ThreadRegisters> = threads
            .unwrap_or_else(|| self.threads.clone())
            .into_iter()
            .map(|(tid, values)| ThreadRegisters { tid, values })
            .collect();
        self.pace.begin();
        let found = guard(|| answer::search_all(options, &self.inner, &threads).map_err(error));
        self.pace.end(py);
        if found.is_err() && self.pace.interrupted() {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        found
    }

    fn probed(&self, inner: Result<target::Map, target::TargetError>) -> PyResult<Map> {
        let inner = inner.map_err(error)?;
        inner.probe().map_err(error)?;
        Ok(Map {
            inner,
            pace: Rc::clone(&self.pace),
        })
    }
}

/// What is known of a process besides its memory.
#[pyclass(frozen, module = "gomapscope._native")]
struct Subject(snapshot::Subject);

#[pymethods]
impl Subject {
    /// `process`: pid and start in clock ticks; `clocks`: monotonic and wall in nanoseconds,
    /// the boot, and within how many nanoseconds both were read. `missing`: expressions that could not be followed, and why.
    #[new]
    #[pyo3(signature = (kind, *, process=None, clocks=None, core=None, missing=Vec::new(), notes=Vec::new()))]
    fn new(
        kind: String,
        process: Option<(u32, Option<u64>)>,
        clocks: Option<(u64, u64, Option<String>, Option<u64>)>,
        core: Option<String>,
        missing: Vec<(String, String)>,
        notes: Vec<String>,
    ) -> Self {
        Self(snapshot::Subject {
            kind,
            pid: process.map(|(pid, _)| pid),
            started_ticks: process.and_then(|(_, started)| started),
            core,
            taken: clocks.map(|(monotonic, wall, boot_id, error_ns)| snapshot::Taken {
                monotonic_ns: Some(monotonic),
                wall_ns: Some(wall),
                error_ns,
                boot_id,
            }),
            missing,
            notes,
        })
    }
}

/// A snapshot, read.
#[pyclass(frozen, unsendable, module = "gomapscope._native")]
struct Document(snapshot::Snapshot);

#[pymethods]
impl Document {
    /// Reads a file.
    #[new]
    fn new(path: &str) -> PyResult<Self> {
        guard(|| Ok(Self(snapshot::load(path).map_err(error)?)))
    }

    /// Whether it has those maps that were asked for, not all.
    #[getter]
    fn named(&self) -> bool {
        self.0.scope == snapshot::Scope::Named
    }

    /// Expressions, the addresses they led to, and the types of the maps there.
    #[getter]
    fn wanted(&self) -> Vec<(String, u64, String)> {
        self.0
            .wanted()
            .map(|(name, address, kind)| (name.to_owned(), address, kind.to_owned()))
            .collect()
    }
}

impl Document {
    fn options(&self) -> snapshot::Options {
        snapshot::Options {
            buckets: self.0.buckets,
            quick: self.0.quick,
            holders: self.0.holders,
        }
    }

    /// What `fill` writes, read back: the present is understood as a file is.
    fn of(
        fill: impl FnOnce(answer::Write<'_, PyErr>) -> PyResult<snapshot::Saved>,
    ) -> PyResult<Self> {
        guard(|| {
            let mut text = String::new();
            fill(&mut |part| {
                text.push_str(part);
                Ok(())
            })?;
            let mut read = snapshot::read("the present", text.as_bytes()).map_err(error)?;
            read.path.clear();
            Ok(Self(read))
        })
    }
}

/// Saves what `fill` writes, and says so.
fn save(
    py: Python<'_>,
    request: &command::Request,
    live: bool,
    style: &Style,
    write: &Py<PyAny>,
    fill: impl FnOnce(answer::Write<'_, String>) -> Result<snapshot::Saved, String>,
) -> PyResult<()> {
    guard(|| {
        let mut emit = |text: &str| -> PyResult<()> { write.call1(py, (text,)).map(|_| ()) };
        answer::save_snapshot(request, live, fill, &style.0, &mut emit).map_err(|failure| {
            match failure {
                ScanFailure::File(reason) => error(reason),
                ScanFailure::Write(raised) => raised,
            }
        })
    })
}

/// Answers `go-map-snapshot` with these maps.
#[pyfunction]
fn snapshot_maps(
    py: Python<'_>,
    request: &Request,
    target: PyRef<'_, Target>,
    maps: Vec<PyRef<'_, Map>>,
    subject: &Subject,
    style: &Style,
    write: Py<PyAny>,
) -> PyResult<()> {
    let options = answer::snapshot_options(&request.0);
    target.pace.begin();
    let live = target.inner.console().is_none();
    let done = save(py, &request.0, live, style, &write, |file| {
        let inner = maps.iter().map(|map| &map.inner);
        let saved = snapshot::maps(&target.inner, inner, &subject.0, options, file);
        target.pace.end(py);
        saved
    });
    target.pace.end(py);
    done
}

/// These maps as they are now, to compare them with `like`; else bucket by bucket.
#[pyfunction]
#[pyo3(signature = (target, maps, like, subject))]
fn document_maps(
    py: Python<'_>,
    target: PyRef<'_, Target>,
    maps: Vec<PyRef<'_, Map>>,
    like: Option<&Document>,
    subject: &Subject,
) -> PyResult<Document> {
    let every = snapshot::Options {
        buckets: true,
        ..snapshot::Options::default()
    };
    let options = like.map_or(every, Document::options);
    target.pace.begin();
    let inner = maps.iter().map(|map| &map.inner);
    let found =
        Document::of(|text| snapshot::maps(&target.inner, inner, &subject.0, options, text));
    target.pace.end(py);
    found
}

/// Answers `go-map-diff`; `live` says that `after` is the present.
#[pyfunction]
fn diff(
    py: Python<'_>,
    request: &Request,
    before: &Document,
    after: &Document,
    live: bool,
    style: &Style,
    write: Py<PyAny>,
) -> PyResult<()> {
    guard(|| {
        let mut emit = |text: &str| -> PyResult<()> { write.call1(py, (text,)).map(|_| ()) };
        answer::answer_diff(&request.0, &before.0, &after.0, live, &style.0, &mut emit)
    })
}

/// Searches a target for maps and writes what was found.
fn scan(
    py: Python<'_>,
    (target, pace): (&target::Target, &Pace),
    request: &Request,
    threads: Vec<(u32, BTreeMap<String, u64>)>,
    context: ScanContext,
    style: &Style,
    write: &Py<PyAny>,
) -> PyResult<()> {
    let threads: Vec<ThreadRegisters> = threads
        .into_iter()
        .map(|(tid, values)| ThreadRegisters { tid, values })
        .collect();
    guard(|| answer::files_ready(&request.0).map_err(error))?;
    pace.begin();
    let found = guard(|| answer::search(&request.0, target, &threads).map_err(error));
    pace.end(py);
    if found.is_err() && pace.interrupted() {
        return Err(PyKeyboardInterrupt::new_err(()));
    }
    let found = found?;
    guard(|| {
        let mut emit = |text: &str| -> PyResult<()> { write.call1(py, (text,)).map(|_| ()) };
        answer::answer_scan(&request.0, target, &found, context, &style.0, &mut emit).map_err(
            |failure| match failure {
                ScanFailure::File(reason) => error(reason),
                ScanFailure::Write(raised) => raised,
            },
        )
    })
}

/// One map.
#[pyclass(unsendable, module = "gomapscope._native")]
struct Map {
    inner: target::Map,
    pace: Rc<Pace>,
}

impl Map {
    /// Runs one call: Ctrl-C and progress begin afresh.
    fn call<T>(&self, py: Python<'_>, f: impl FnOnce(&target::Map) -> PyResult<T>) -> PyResult<T> {
        self.pace.begin();
        let result = guard(|| f(&self.inner));
        self.pace.end(py);
        result
    }
}

impl Map {
    /// As [`Map::call`]; Ctrl-C raises, because a part of the result would look
    /// like the whole.
    fn whole<T>(&self, py: Python<'_>, f: impl FnOnce(&target::Map) -> PyResult<T>) -> PyResult<T> {
        let result = self.call(py, f)?;
        if self.pace.interrupted() {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        Ok(result)
    }
}

#[pymethods]
impl Map {
    #[getter]
    fn address(&self) -> u64 {
        self.inner.address()
    }

    #[getter]
    fn type_name(&self) -> String {
        self.inner.map_type().name.clone()
    }

    #[getter]
    fn family(&self) -> &'static str {
        self.inner.layout().family().word()
    }

    #[getter]
    fn dwarf_key_type(&self) -> PyResult<String> {
        Ok(self
            .inner
            .key_and_elem()
            .map_err(error)?
            .0
            .full_name
            .clone())
    }

    #[getter]
    fn dwarf_elem_type(&self) -> PyResult<String> {
        Ok(self
            .inner
            .key_and_elem()
            .map_err(error)?
            .1
            .full_name
            .clone())
    }

    /// The count in the header.
    #[getter]
    fn len(&self, py: Python<'_>) -> PyResult<u64> {
        self.call(py, |map| map.header_len().map_err(error))
    }

    /// The document of `go-map-stats -json`.
    fn stats_json(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, |map| Ok(report::to_json(&map.stats())))
    }

    /// A JSON list of bucket rows, and why they are not certain.
    fn buckets_json(
        &self,
        py: Python<'_>,
        first: u64,
        limit: u64,
    ) -> PyResult<(String, Option<String>)> {
        self.whole(py, |map| {
            let (rows, walk) = answer::bucket_rows(map, first, limit);
            Ok((report::to_json(&rows), walk.flaw()))
        })
    }

    /// Entries as `(key, elem, key address, elem address)`, and why they are not certain.
    fn entries(&self, py: Python<'_>, first: u64, limit: u64) -> PyResult<EntryPage> {
        self.whole(py, |map| {
            let (rows, walk) = answer::entry_rows(map, first, limit, Limits::TEXT);
            let rows = rows
                .into_iter()
                .map(|row| {
                    (
                        row.entry.key,
                        row.entry.elem,
                        row.key_address,
                        row.elem_address,
                    )
                })
                .collect();
            Ok((rows, walk.flaw()))
        })
    }
}

/// Rows, and why they are not certain.
type EntryPage = (Vec<(String, String, u64, u64)>, Option<String>);

/// The commands: name, summary, help text, and how many expressions they take.
#[pyfunction]
fn definitions(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    command::definitions()
        .iter()
        .map(|definition| {
            let dict = PyDict::new(py);
            dict.set_item("name", definition.name)?;
            dict.set_item("summary", definition.summary)?;
            dict.set_item("help", command::help_text(definition))?;
            dict.set_item("expression", definition.operand.word())?;
            Ok(dict)
        })
        .collect()
}

/// Parses the argument of a command.
#[pyfunction]
fn parse(command: &str, argument: &str) -> PyResult<Request> {
    guard(|| Ok(Request(command::parse(command, argument).map_err(error)?)))
}

/// Options that complete `word`; `None` where an expression is to be completed.
#[pyfunction]
fn complete(command: &str, line: &str, word: &str) -> PyResult<Option<Vec<String>>> {
    guard(|| Ok(command::complete(command, line, word)))
}

/// The README's table of commands and options.
#[pyfunction]
fn command_table() -> String {
    command::markdown_table()
}

/// What is assumed of Go's runtime, as a JSON list.
#[pyfunction]
fn assumptions_json() -> String {
    report::to_json(gomapscope_core::layout::ASSUMPTIONS)
}

/// Writes an overlay with the flight recorder for `go build`; what to tell the user.
#[pyfunction]
#[pyo3(signature = (go, directory, *, entries, stacks, track_free, overlay, force))]
fn instrument(
    go: String,
    directory: PathBuf,
    entries: u64,
    stacks: bool,
    track_free: bool,
    overlay: Option<PathBuf>,
    force: bool,
) -> PyResult<String> {
    let options = Options {
        go,
        directory,
        entries,
        stacks,
        track_free,
        overlay,
        force,
    };
    guard(|| Ok(flight::instrument(&options).map_err(error)?.text()))
}

/// Answers a request, portion by portion, through `write`.
#[pyfunction]
#[pyo3(signature = (request, _target, maps, style, write))]
fn run(
    py: Python<'_>,
    request: &Request,
    _target: Option<PyRef<'_, Target>>,
    maps: Vec<PyRef<'_, Map>>,
    style: &Style,
    write: Py<PyAny>,
) -> PyResult<()> {
    for map in &maps {
        map.call(py, |inner| {
            let mut emit = |text: &str| -> PyResult<()> {
                map.pace.end(py);
                write.call1(py, (text,)).map(|_| ())
            };
            answer::answer(&request.0, inner, &style.0, &mut emit)
        })?;
    }
    Ok(())
}

/// Answers `go-map-trace report` for the event file at `path`.
#[pyfunction]
#[pyo3(signature = (request, path, style, progress, write))]
fn events_report(
    py: Python<'_>,
    request: &Request,
    path: &str,
    style: &Style,
    progress: Option<Py<PyAny>>,
    write: Py<PyAny>,
) -> PyResult<()> {
    let path = save::expanded(path);
    let pace = Pace::new(progress);
    pace.begin();
    guard(|| {
        let mut tick = |events| pace.reading(events);
        let mut emit = |text: &str| -> PyResult<()> {
            pace.end(py);
            write.call1(py, (text,)).map(|_| ())
        };
        answer::answer_events(&request.0, &path, &style.0, &mut tick, &mut emit).map_err(
            |failure| match failure {
                EventsFailure::File(reason) => error(reason),
                EventsFailure::Write(raised) => raised,
            },
        )
    })
}

/// See inside Go maps: the native part.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The default hook prints behind gdb's pager and TUI; `guard` carries the text.
    std::panic::set_hook(Box::new(|_| {}));
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Error", module.py().get_type::<Error>())?;
    module.add_class::<Request>()?;
    module.add_class::<Style>()?;
    module.add_class::<Binary>()?;
    module.add_class::<Target>()?;
    module.add_class::<Map>()?;
    module.add_class::<Subject>()?;
    module.add_class::<Document>()?;
    module.add_class::<trace::Trace>()?;
    module.add_function(wrap_pyfunction!(definitions, module)?)?;
    module.add_function(wrap_pyfunction!(parse, module)?)?;
    module.add_function(wrap_pyfunction!(complete, module)?)?;
    module.add_function(wrap_pyfunction!(command_table, module)?)?;
    module.add_function(wrap_pyfunction!(assumptions_json, module)?)?;
    module.add_function(wrap_pyfunction!(instrument, module)?)?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(snapshot_maps, module)?)?;
    module.add_function(wrap_pyfunction!(document_maps, module)?)?;
    module.add_function(wrap_pyfunction!(diff, module)?)?;
    module.add_function(wrap_pyfunction!(events_report, module)?)?;
    module.add_function(wrap_pyfunction!(pprof::pprof_report, module)?)?;
    module.add_function(wrap_pyfunction!(pprof::pprof_parses, module)?)?;
    module.add_function(wrap_pyfunction!(timeline::answer_timeline, module)?)?;
    module.add_function(wrap_pyfunction!(timeline::timeline_ready, module)?)?;
    module.add_function(wrap_pyfunction!(exectrace::exec_trace, module)?)?;
    module.add_function(wrap_pyfunction!(profiles::memory_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(profiles::contention_report, module)?)?;
    module.add_function(wrap_pyfunction!(writers::map_writers, module)?)?;
    module.add_function(wrap_pyfunction!(writers::map_crash, module)?)?;
    Ok(())
}
