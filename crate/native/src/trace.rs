//! Traces as Python sees them: by stops that gdb tells of, or by the kernel's probes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use gomapscope_core::events::{Clock, EventWriter};
use gomapscope_core::report::{self, TraceStatus};
use gomapscope_core::save;
use gomapscope_core::trace::{
    Counts, Outcome, Plan, Recorder, Registers, Stop, TraceOptions, Traced, Wanted,
};
#[cfg(target_os = "linux")]
use gomapscope_core::trace::{KernelConfig, KernelTrace};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::memory::Pace;
use crate::{Map, Request, Style, Target, error, guard};

/// What gdb's `parse_and_eval` says of registers.
struct GdbRegisters<'py> {
    evaluate: Bound<'py, PyAny>,
    interrupted: Cell<bool>,
}

impl Registers for GdbRegisters<'_> {
    fn register(&self, name: &str) -> Option<u64> {
        let text = format!("${name}");
        let found = self
            .evaluate
            .call1((text,))
            .and_then(|value| value.call_method0("__int__"))
            .and_then(|value| value.extract::<i128>());
        match found {
            // gdb has signed types for some registers.
            Ok(value) => Some(value as u64),
            Err(raised) => {
                let py = self.evaluate.py();
                if raised.is_instance_of::<PyKeyboardInterrupt>(py) {
                    self.interrupted.set(true);
                }
                None
            }
        }
    }
}

/// Who sees the events.
enum Engine {
    /// gdb, by breakpoints or watchpoints.
    Stops(Box<Recorder>),
    /// The kernel.
    #[cfg(target_os = "linux")]
    Kernel(KernelTrace),
}

/// A running trace.
#[pyclass(unsendable, module = "gomapscope._native")]
pub(crate) struct Trace {
    engine: Engine,
    name: String,
    pace: Rc<Pace>,
    options: TraceOptions,
    names: BTreeMap<u64, String>,
    output: Option<String>,
    clock: Option<Clock>,
    begun_ns: Option<u64>,
}

/// Interrupted; full; the event as JSON; the line to show.
type Hit = (bool, bool, Option<String>, Option<String>);

fn trace_options(request: &Request, maps: &[(String, PyRef<'_, Map>)]) -> PyResult<TraceOptions> {
    let options = &request.0.options;
    let on = if options.on.is_empty() {
        Wanted::growth()
    } else {
        Wanted::parse(&options.on.join(","))
            .map_err(|word| error(format_args!("-on {word} is not known")))?
    };
    let maps = maps
        .iter()
        .map(|(expression, map)| Traced {
            address: map.inner.address(),
            type_name: map.inner.map_type().name.clone(),
            descriptor: map.inner.descriptor(),
            expression: expression.clone(),
        })
        .collect();
    let defaults = TraceOptions::default();
    Ok(TraceOptions {
        on,
        maps,
        every: options.every.unwrap_or(defaults.every),
        rate: options.rate,
        max: options.max,
        depth: options.stack.map_or(defaults.depth, |depth| {
            usize::try_from(depth).unwrap_or(defaults.depth)
        }),
        density: options.density,
    })
}

impl Trace {
    pub(crate) fn open(
        target: &Target,
        request: &Request,
        maps: &[(String, PyRef<'_, Map>)],
        name: &str,
        pid: Option<u32>,
        clock: Option<(u64, u64, u64)>,
    ) -> PyResult<Self> {
        let options = trace_options(request, maps)?;
        let clock = clock.map(|(t_mono_ns, t_wall_ns, error_ns)| Clock {
            t_mono_ns,
            t_wall_ns,
            error_ns,
        });
        let output = request.0.options.output.clone();
        let force = request.0.options.force;
        let engine = if name == "uprobe" {
            kernel(target, &options, pid, clock, output.as_deref(), force)?
        } else {
            let plan = Plan::new(&target.inner, &options.on).map_err(error)?;
            let writer = match &output {
                None => None,
                Some(path) => {
                    let pid = pid.map(u64::from);
                    let header = options.header(&target.inner, &plan, name, pid, clock);
                    let made = EventWriter::create(&save::expanded(path), force, &header);
                    Some(made.map_err(error)?)
                }
            };
            let inner = Rc::clone(&target.inner);
            Engine::Stops(Box::new(Recorder::new(
                inner,
                plan,
                options.clone(),
                writer,
            )))
        };
        Ok(Self {
            engine,
            name: name.to_owned(),
            pace: Rc::clone(&target.pace),
            names: options
                .maps
                .iter()
                .map(|map| (map.address, map.expression.clone()))
                .collect(),
            options,
            output,
            clock,
            begun_ns: clock.map(|clock| clock.t_mono_ns),
        })
    }

    fn record(
        &mut self,
        evaluate: Bound<'_, PyAny>,
        stop: &Stop,
        json: bool,
        style: Option<PyRef<'_, Style>>,
        take: impl FnOnce(&mut Recorder, &dyn Registers, &Stop) -> Outcome,
    ) -> PyResult<Hit> {
        guard(|| {
            let Engine::Stops(recorder) = &mut self.engine else {
                return Ok((false, false, None, None));
            };
            self.pace.begin();
            let registers = GdbRegisters {
                evaluate,
                interrupted: Cell::new(false),
            };
            let outcome = take(recorder, &registers, stop);
            let interrupted = registers.interrupted.get() || self.pace.interrupted();
            Ok(match outcome {
                Outcome::Event(event) => {
                    let line = style.map(|style| {
                        report::event_line(&event, &self.names, self.begun_ns, &style.0.style)
                    });
                    let text = json.then(|| report::to_json(&event));
                    (interrupted, recorder.is_full(), text, line)
                }
                Outcome::Interrupted => (true, false, None, None),
                Outcome::Nothing => (interrupted, false, None, None),
            })
        })
    }

    fn status(
        &self,
        ended: Option<String>,
        seconds: f64,
        cost_ns: Option<u64>,
        own_ns: Option<u64>,
        problem: Option<String>,
    ) -> TraceStatus {
        let (counts, functions, notes, failure, ended): (Counts, _, _, _, _) = match &self.engine {
            Engine::Stops(recorder) => (
                recorder.counts(),
                recorder.plan().functions(),
                recorder.plan().notes.clone(),
                recorder.failure().map(str::to_owned),
                ended,
            ),
            #[cfg(target_os = "linux")]
            Engine::Kernel(kernel) => {
                let state = kernel.state();
                (
                    state.counts,
                    state.functions,
                    state.notes,
                    state.failure,
                    ended.or(state.ended),
                )
            }
        };
        TraceStatus {
            engine: self.name.clone(),
            active: ended.is_none(),
            ended,
            started_wall_ns: self.clock.map(|clock| clock.t_wall_ns),
            seconds: Some(seconds),
            on: self
                .options
                .on
                .ops()
                .map(|op| op.word().to_owned())
                .collect(),
            maps: self.names.values().cloned().collect(),
            functions,
            hits: counts.hits,
            events: counts.events,
            duplicates: counts.duplicates,
            left_out: counts.sampled_out + counts.other_maps,
            lost: counts.lost,
            cost_ns,
            own_ns,
            file: self.output.clone(),
            notes,
            failure: failure.or(problem),
        }
    }
}

#[cfg(target_os = "linux")]
fn kernel(
    target: &Target,
    options: &TraceOptions,
    pid: Option<u32>,
    clock: Option<Clock>,
    output: Option<&str>,
    force: bool,
) -> PyResult<Engine> {
    let pid = pid
        .ok_or_else(|| error("kernel probes need a process on this machine; use -engine break"))?;
    let config = KernelConfig {
        program: target.inner.binary().path().to_owned(),
        pid,
        bias: target.inner.types().bias(),
        options: options.clone(),
        output: output.map(|path| (save::expanded(path), force)),
        clock,
    };
    KernelTrace::start(config)
        .map(Engine::Kernel)
        .map_err(error)
}

#[cfg(not(target_os = "linux"))]
fn kernel(
    _: &Target,
    _: &TraceOptions,
    _: Option<u32>,
    _: Option<Clock>,
    _: Option<&str>,
    _: bool,
) -> PyResult<Engine> {
    Err(error("kernel probes need Linux; use -engine break"))
}

#[pymethods]
impl Trace {
    /// Where to stop: number, address, the bytes of code there, and its rank among those that
    /// are worth a hardware breakpoint.
    fn sites(&self) -> Vec<(usize, u64, Vec<u8>, Option<u8>)> {
        let Engine::Stops(recorder) = &self.engine else {
            return Vec::new();
        };
        let sites = recorder.plan().sites.iter().enumerate();
        sites
            .map(|(number, site)| {
                let code = site.code.clone();
                (number, site.address, code, site.role.rank())
            })
            .collect()
    }

    /// What to watch of the maps that were named: header, address and size of the word.
    fn watches(&mut self) -> PyResult<Vec<(u64, u64, usize)>> {
        guard(|| {
            let Engine::Stops(recorder) = &mut self.engine else {
                return Ok(Vec::new());
            };
            self.pace.begin();
            let watched = self.names.keys().map(|map| {
                recorder.watch(*map).map_err(error)?;
                let (address, size) = recorder.watch_address(*map);
                Ok((*map, address, size))
            });
            watched.collect()
        })
    }

    /// A thread stopped at a site. Returns whether gdb is to stop, whether the trace is
    /// full, the event as JSON and as a line, where that is wanted.
    #[allow(clippy::too_many_arguments, reason = "what Python hands over")]
    fn hit(
        &mut self,
        site: usize,
        evaluate: Bound<'_, PyAny>,
        thread: u64,
        mono: Option<u64>,
        wall: Option<u64>,
        json: bool,
        style: Option<PyRef<'_, Style>>,
    ) -> PyResult<Hit> {
        let stop = Stop {
            thread,
            t_mono_ns: mono,
            t_wall_ns: wall,
        };
        self.record(evaluate, &stop, json, style, |recorder, registers, stop| {
            recorder.hit(site, registers, stop)
        })
    }

    /// The watched word of a map was written. The same is returned.
    #[allow(clippy::too_many_arguments, reason = "what Python hands over")]
    fn changed(
        &mut self,
        header: u64,
        evaluate: Bound<'_, PyAny>,
        thread: u64,
        mono: Option<u64>,
        wall: Option<u64>,
        json: bool,
        style: Option<PyRef<'_, Style>>,
    ) -> PyResult<Hit> {
        let stop = Stop {
            thread,
            t_mono_ns: mono,
            t_wall_ns: wall,
        };
        self.record(evaluate, &stop, json, style, |recorder, registers, stop| {
            recorder.changed(header, registers, stop)
        })
    }

    /// Hands what was recorded to the system; of the kernel's probes that is always done.
    fn flush(&mut self) {
        if let Engine::Stops(recorder) = &mut self.engine {
            recorder.flush();
        }
    }

    /// Ends the trace and its file; the kernel's probes are removed.
    fn finish(
        &mut self,
        py: Python<'_>,
        reason: &str,
        cost_ns: Option<u64>,
        mono: Option<u64>,
    ) -> PyResult<()> {
        guard(|| match &mut self.engine {
            Engine::Stops(recorder) => recorder.finish(reason, cost_ns, mono).map_err(error),
            #[cfg(target_os = "linux")]
            Engine::Kernel(kernel) => {
                py.detach(|| kernel.finish(reason));
                Ok(())
            }
        })
    }

    /// Why the kernel's probes ended by themselves, if they did.
    #[getter]
    fn ended(&self) -> Option<String> {
        match &self.engine {
            Engine::Stops(_) => None,
            #[cfg(target_os = "linux")]
            Engine::Kernel(kernel) => kernel.state().ended,
        }
    }

    /// The document of `go-map-trace status -json`.
    fn status_json(
        &self,
        ended: Option<String>,
        seconds: f64,
        cost_ns: Option<u64>,
        own_ns: Option<u64>,
        problem: Option<String>,
    ) -> String {
        report::trace_status_json(&self.status(ended, seconds, cost_ns, own_ns, problem))
    }

    /// The text of `go-map-trace status`.
    #[allow(clippy::too_many_arguments, reason = "what Python hands over")]
    fn status_text(
        &self,
        ended: Option<String>,
        seconds: f64,
        cost_ns: Option<u64>,
        own_ns: Option<u64>,
        problem: Option<String>,
        style: &Style,
    ) -> String {
        let status = self.status(ended, seconds, cost_ns, own_ns, problem);
        report::trace_status(&status, &style.0.style)
    }
}
