//! The engine of the kernel's probes: what [`super::Recorder`] does with stops, from
//! records that the kernel made without stopping anything.
//!
//! Everything an event says was fetched by the kernel at the instruction itself. What is
//! made of it later (names, functions of a stack) comes from parts of the process that do
//! not change.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::TraceError;
use super::plan::Plan;
use super::sink::{Counts, Sink, TraceOptions, Types};
use crate::binary::Binary;
use crate::binary::prologue::{Arch, Places, StepCost};
use crate::events::{Clock, Event, EventWriter, Frame, Op};
use crate::heap::{GoroutineReader, Symbol, Symbols, functions};
use crate::layout::{Field, Header, Hmap, SwissMap};
use crate::map::classic_array_bytes;
use crate::memory::{AddressHash, Memory, ReadError};
use crate::target::Target;
use crate::uprobe::{Caller, Fetch, Hit, Options, Probe, Register, Session};

/// Rings are emptied so often.
const TURN: Duration = Duration::from_millis(20);

/// Each CPU's ring: enough for the most hits of one turn, and for a busy reader.
const RING_KIB: u32 = 64 << 10;

/// Events of one write to the file.
const PORTION: usize = 1024;

/// Calls that began and were not seen to end; then they are given up.
const OPEN_MAX: usize = 1 << 16;

/// The kernel keeps so many return addresses.
const STACK_MAX: usize = 8;

/// A process's memory as Linux shows it, for root: without a debugger. What the process had
/// from its executable can be read when it is gone, too: records of the kernel outlive it.
#[derive(Debug)]
struct ProcessMemory {
    live: File,
    binary: Rc<Binary>,
    bias: u64,
}

impl Memory for ProcessMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let linked = address.wrapping_sub(self.bias);
        if self.live.read_exact_at(buffer, address).is_ok()
            || self.binary.file_bytes(linked, buffer)
        {
            Ok(())
        } else {
            Err(ReadError::fault(address, buffer.len()))
        }
    }
}

/// What to trace.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// The executable's file.
    pub program: PathBuf,
    /// The process.
    pub pid: u32,
    /// What the loader added to the addresses in the executable.
    pub bias: u64,
    /// What is recorded.
    pub options: TraceOptions,
    /// The file to write, and whether an existing one is overwritten.
    pub output: Option<(PathBuf, bool)>,
    /// When the trace begins.
    pub clock: Option<Clock>,
}

/// How a trace by the kernel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// What was counted.
    pub counts: Counts,
    /// The functions that have probes.
    pub functions: Vec<String>,
    /// Sentences on what is not seen.
    pub notes: Vec<String>,
    /// Why the file was given up, or probes could not be read.
    pub failure: Option<String>,
    /// Why it ended by itself.
    pub ended: Option<String>,
    /// Some probes are not on an instruction that the kernel can do by itself.
    pub stepped: bool,
}

/// A running trace. Dropping it ends it.
#[derive(Debug)]
pub struct KernelTrace {
    state: Arc<Mutex<KernelState>>,
    stop: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl KernelTrace {
    /// Puts the probes into the process and begins to record, in a thread of its own.
    ///
    /// # Errors
    /// When the program has not the functions, or the kernel refuses: one sentence that says
    /// what to do. Nothing is left behind.
    pub fn start(config: KernelConfig) -> Result<Self, String> {
        let state = Arc::new(Mutex::new(KernelState::default()));
        let (stop, stopped) = channel();
        let (ready, begun) = channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("gomapscope-uprobe".to_owned())
            .spawn(move || match Worker::new(&config, &shared) {
                Ok(worker) => {
                    ready.send(Ok(())).ok();
                    worker.run(&stopped);
                }
                Err(reason) => {
                    ready.send(Err(reason)).ok();
                }
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        match begun.recv() {
            Ok(Ok(())) => Ok(Self {
                state,
                stop: Some(stop),
                thread: Some(thread),
            }),
            Ok(Err(reason)) => {
                thread.join().ok();
                Err(reason)
            }
            Err(_) => {
                thread.join().ok();
                Err("the thread for the kernel's records ended".to_owned())
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> KernelState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Removes the probes, records what waits in the rings and closes the file.
    pub fn finish(&mut self, reason: &str) -> KernelState {
        if let Some(stop) = self.stop.take() {
            stop.send(reason.to_owned()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        self.state()
    }
}

impl Drop for KernelTrace {
    fn drop(&mut self) {
        self.finish("the tracer ended");
    }
}

/// What a probe's hit means, and what its values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// type, map, key, count
    Write(Op),
    /// type, map, count
    Clear,
    /// type, map, count, B, buckets
    ClassicGrow,
    /// b
    ArrayBegins,
    /// array
    ArrayMade,
    /// map, B, count
    OverflowBegins,
    /// bucket
    Overflowed,
    /// map, type, used, dir
    Table,
    /// table, type, map, capacity, groups, used, dirLen
    SwissGrow,
    /// table, type, map, capacity, groups, used, dirLen, localDepth, globalDepth
    Split,
    /// capacity, groups, lengthMask
    TableMade,
    /// type
    Make,
    /// map
    Made,
}

/// One probe's meaning; g, goid are its first two values.
struct Known {
    meaning: Meaning,
    address: u64,
}

/// A call that began.
struct Begun {
    meaning: Meaning,
    event: Event,
    descriptor: Option<u64>,
    /// The B of the array that is being made (classic), or the first half of a split:
    /// capacity, groups, mask.
    part: Option<[u64; 3]>,
}

struct Worker {
    session: Session,
    decoder: Decoder,
    shared: Arc<Mutex<KernelState>>,
    state: KernelState,
}

/// Makes events of hits.
struct Decoder {
    target: Target,
    known: Vec<Known>,
    sink: Sink,
    types: Types,
    symbols: Option<Symbols>,
    open: HashMap<u64, Begun, AddressHash>,
    clock: Option<Clock>,
    ready: Vec<Event>,
}

/// Collects probes.
struct Probes<'a> {
    arch: Arch,
    plan: &'a mut Plan,
    target: &'a Target,
    binary: &'a Binary,
    goid: i64,
    maps: Vec<u64>,
    probes: Vec<Probe>,
    known: Vec<Known>,
    stepped: bool,
    program: String,
}

impl Probes<'_> {
    fn register(&self, index: usize) -> Result<Fetch, String> {
        let register = Register::argument(self.arch, index)
            .ok_or_else(|| "there is no such argument".to_owned())?;
        Ok(Fetch {
            register,
            path: Vec::new(),
            width: 8,
        })
    }

    fn field(&self, index: usize, field: Field) -> Result<Fetch, String> {
        let mut fetch = self.register(index)?;
        fetch.path = vec![i64::try_from(field.offset).unwrap_or(i64::MAX)];
        fetch.width = u8::try_from(field.size).unwrap_or(8);
        Ok(fetch)
    }

    fn places(&self, function: &str) -> Result<Option<(u64, Places)>, String> {
        self.plan
            .places(self.target, function)
            .map_err(|error| error.to_string())
            .map(|found| found.map(|(entry, _, places)| (entry, places)))
    }

    /// Adds a probe behind the stack check of a function (`returns`: on its returns), if
    /// the program has it. `map`: which value is the map's header.
    fn add(
        &mut self,
        function: &str,
        needed: bool,
        returns: bool,
        meaning: Meaning,
        values: Vec<Fetch>,
        map: Option<usize>,
    ) -> Result<(), String> {
        let Some((_, places)) = self.places(function)? else {
            if needed {
                return Err(format!("{} has no {function}", self.program));
            }
            return Ok(());
        };
        let chosen = if returns {
            if !places.complete || !places.tail_jumps.is_empty() {
                return Err(format!("not all returns of {function} are known"));
            }
            places.returns
        } else {
            vec![places.first]
        };
        let goroutine = Register::goroutine(self.arch);
        let mut fetches = vec![
            Fetch {
                register: goroutine,
                path: Vec::new(),
                width: 8,
            },
            Fetch {
                register: goroutine,
                path: vec![self.goid],
                width: 8,
            },
        ];
        fetches.extend(values);
        let only = map
            .filter(|_| !self.maps.is_empty())
            .map(|index| (index + 2, self.maps.clone()));
        for place in chosen {
            let linked = place.address.wrapping_sub(self.target.types().bias());
            let file_offset = self
                .binary
                .file_offset(linked)
                .ok_or_else(|| format!("{function} is not in the executable's file"))?;
            self.stepped |= place.cost == StepCost::Stepped;
            self.probes.push(Probe {
                name: function.to_owned(),
                file_offset,
                fetches: fetches.clone(),
                only: only.clone(),
                caller: Caller::Bare,
            });
            self.known.push(Known {
                meaning,
                address: place.address,
            });
        }
        self.plan.note_function(function);
        Ok(())
    }

    fn writes(&mut self, options: &TraceOptions, count: Field) -> Result<(), String> {
        let both = [
            (Op::Assign, &super::plan::ASSIGNS[..]),
            (Op::Delete, &super::plan::DELETES[..]),
        ];
        for (op, functions) in both {
            if !options.on.has(op) {
                continue;
            }
            for function in functions {
                let values = vec![
                    self.register(0)?,
                    self.register(1)?,
                    self.register(2)?,
                    self.field(1, count)?,
                ];
                self.add(function, false, false, Meaning::Write(op), values, Some(1))?;
            }
        }
        Ok(())
    }

    fn classic(&mut self, options: &TraceOptions, hmap: &Hmap) -> Result<(), String> {
        self.writes(options, hmap.count)?;
        if options.on.grows() {
            let values = vec![
                self.register(0)?,
                self.register(1)?,
                self.field(1, hmap.count)?,
                self.field(1, hmap.b)?,
                self.field(1, hmap.buckets)?,
            ];
            let grow = "runtime.hashGrow";
            self.add(grow, true, false, Meaning::ClassicGrow, values, Some(1))?;
            let array = "runtime.makeBucketArray";
            let values = vec![self.register(1)?];
            self.add(array, true, false, Meaning::ArrayBegins, values, None)?;
            let values = vec![self.register(0)?];
            self.add(array, true, true, Meaning::ArrayMade, values, None)?;
        }
        if options.on.has(Op::Overflow) {
            let function = "runtime.(*hmap).newoverflow";
            let values = vec![
                self.register(0)?,
                self.register(1)?,
                self.field(0, hmap.b)?,
                self.field(0, hmap.count)?,
            ];
            self.add(
                function,
                true,
                false,
                Meaning::OverflowBegins,
                values,
                Some(0),
            )?;
            let values = vec![self.register(0)?];
            self.add(function, true, true, Meaning::Overflowed, values, None)?;
        }
        if options.on.has(Op::Clear) {
            let values = vec![
                self.register(0)?,
                self.register(1)?,
                self.field(1, hmap.count)?,
            ];
            self.add(
                "runtime.mapclear",
                false,
                false,
                Meaning::Clear,
                values,
                Some(1),
            )?;
        }
        if options.on.has(Op::Create) {
            let values = vec![self.register(0)?];
            self.add("runtime.makemap", false, false, Meaning::Make, values, None)?;
            for function in ["runtime.makemap", "runtime.makemap_small"] {
                let values = vec![self.register(0)?];
                self.add(function, false, true, Meaning::Made, values, None)?;
            }
        }
        Ok(())
    }

    fn swiss(&mut self, options: &TraceOptions, map: &SwissMap) -> Result<(), String> {
        self.writes(options, map.used)?;
        let table = &map.table;
        if options.on.grows() {
            let values = vec![
                self.register(0)?,
                self.register(1)?,
                self.field(0, map.used)?,
                self.field(0, map.dir_ptr)?,
            ];
            let name = "internal/runtime/maps.(*Map).growToTable";
            self.add(name, true, false, Meaning::Table, values, Some(0))?;
            let old = |probes: &Self| -> Result<Vec<Fetch>, String> {
                Ok(vec![
                    probes.register(0)?,
                    probes.register(1)?,
                    probes.register(2)?,
                    probes.field(0, table.capacity)?,
                    probes.field(0, table.groups_data)?,
                    probes.field(2, map.used)?,
                    probes.field(2, map.dir_len)?,
                    probes.field(0, table.local_depth)?,
                    probes.field(2, map.global_depth)?,
                ])
            };
            let values = old(self)?;
            let name = "internal/runtime/maps.(*table).grow";
            self.add(name, true, false, Meaning::SwissGrow, values, Some(2))?;
            let values = old(self)?;
            let name = "internal/runtime/maps.(*table).split";
            self.add(name, true, false, Meaning::Split, values, Some(2))?;
            let values = vec![
                self.field(0, table.capacity)?,
                self.field(0, table.groups_data)?,
                self.field(0, table.groups_length_mask)?,
            ];
            let name = "internal/runtime/maps.newTable";
            self.add(name, true, true, Meaning::TableMade, values, None)?;
        }
        if options.on.has(Op::Clear) {
            let values = vec![
                self.register(1)?,
                self.register(0)?,
                self.field(0, map.used)?,
            ];
            let name = "internal/runtime/maps.(*Map).Clear";
            self.add(name, false, false, Meaning::Clear, values, Some(1))?;
        }
        if options.on.has(Op::Create) {
            let name = "internal/runtime/maps.NewMap";
            let values = vec![self.register(0)?];
            self.add(name, false, false, Meaning::Make, values, None)?;
            let values = vec![self.register(0)?];
            self.add(name, false, true, Meaning::Made, values, None)?;
            let values = vec![self.register(0)?];
            self.add(
                "runtime.makemap_small",
                false,
                true,
                Meaning::Made,
                values,
                None,
            )?;
        }
        Ok(())
    }
}

impl Worker {
    fn new(config: &KernelConfig, shared: &Arc<Mutex<KernelState>>) -> Result<Self, String> {
        let path = format!("/proc/{}/mem", config.pid);
        let memory = File::open(&path)
            .map_err(|error| format!("{path}: {error}; kernel probes need root"))?;
        let binary = Rc::new(Binary::open(&config.program).map_err(|error| error.to_string())?);
        let memory = Box::new(ProcessMemory {
            live: memory,
            binary: Rc::clone(&binary),
            bias: config.bias,
        });
        let target = Target::new(Rc::clone(&binary), memory, config.bias, Some(config.pid));
        let mut plan = Plan::empty(&target).map_err(|error: TraceError| error.to_string())?;
        let goid = GoroutineReader::new(target.types())
            .map_err(|error| error.to_string())?
            .goid_offset();
        let arch = plan.arch;
        let header = plan.header;
        let options = &config.options;
        let mut probes = Probes {
            arch,
            plan: &mut plan,
            target: &target,
            binary: &binary,
            goid,
            maps: options.maps.iter().map(|map| map.address).collect(),
            probes: Vec::new(),
            known: Vec::new(),
            stepped: false,
            program: config.program.display().to_string(),
        };
        match header {
            Header::Classic(hmap) => probes.classic(options, &hmap)?,
            Header::Swiss(map) => probes.swiss(options, &map)?,
        }
        let Probes {
            probes,
            known,
            stepped,
            ..
        } = probes;
        if probes.is_empty() {
            return Err(format!(
                "{} has none of the functions to probe",
                config.program.display()
            ));
        }
        plan.notes
            .push("pprof labels are not recorded by kernel probes".to_owned());
        if options.depth > STACK_MAX {
            plan.notes.push(format!(
                "kernel probes record {STACK_MAX} return addresses of a stack"
            ));
        }
        if options.density {
            plan.notes
                .push("hole density is not recorded by kernel probes".to_owned());
        }
        let session = Session::start(
            Path::new(&format!("/proc/{}/exe", config.pid)),
            arch,
            probes,
            Options {
                pid: Some(config.pid),
                buffer_kib_per_cpu: RING_KIB,
                user_stacks: options.depth > 0,
            },
        )
        .map_err(|error| error.to_string())?;
        let writer = match &config.output {
            Some((path, force)) => {
                let first = options.header(
                    &target,
                    &plan,
                    "uprobe",
                    Some(config.pid.into()),
                    config.clock,
                );
                let made = EventWriter::create(path, *force, &first);
                Some(made.map_err(|error| error.to_string())?)
            }
            None => None,
        };
        let symbols = functions(target.types(), target.memory())
            .ok()
            .map(Symbols::new);
        let state = KernelState {
            functions: plan.functions(),
            notes: plan.notes.clone(),
            stepped,
            ..KernelState::default()
        };
        let worker = Self {
            session,
            decoder: Decoder {
                known,
                sink: Sink::new(options.clone(), writer),
                types: Types::default(),
                symbols,
                open: HashMap::default(),
                clock: config.clock,
                ready: Vec::new(),
                target,
            },
            shared: Arc::clone(shared),
            state,
        };
        worker.publish();
        Ok(worker)
    }

    fn publish(&self) {
        let mut state = self.state.clone();
        let sink = &self.decoder.sink;
        state.counts = sink.counts;
        if let Ok(status) = self.session.status() {
            state.counts.lost += status.lost + status.unattributed;
        }
        if state.failure.is_none() {
            state.failure = sink.failure().map(str::to_owned);
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Empties the rings until someone ends it, the process is gone or `max` is reached.
    fn run(mut self, stopped: &Receiver<String>) {
        loop {
            let asked = match stopped.recv_timeout(TURN) {
                Ok(reason) => Some(reason),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some("the tracer ended".to_owned()),
            };
            if let Some(reason) = asked {
                return self.close(&reason);
            }
            let decoder = &mut self.decoder;
            let polled = self.session.poll(&mut |hit| decoder.take(&hit));
            decoder.write();
            let ended = match polled {
                Err(error) => {
                    self.state.failure = Some(error.to_string());
                    Some("the kernel's records could not be read")
                }
                Ok(_) if decoder.sink.is_full() => Some("-max reached"),
                Ok(_) if self.session.ended() => Some("the program ended"),
                Ok(_) => None,
            };
            if let Some(reason) = ended {
                self.state.ended = Some(reason.to_owned());
                return self.close(reason);
            }
            self.publish();
        }
    }

    fn close(self, reason: &str) {
        let Self {
            session,
            mut decoder,
            shared,
            mut state,
        } = self;
        match session.stop(&mut |hit| decoder.take(&hit)) {
            Ok(status) => {
                decoder.sink.counts.lost += status.lost + status.unattributed;
                let seen = status.events + status.foreign + status.unattributed;
                let passed: u64 = status.probes.iter().map(|probe| probe.passages).sum();
                // Lost stacks count as lost records, too.
                if passed > seen + status.lost {
                    state.notes.push(format!(
                        "the kernel counted {passed} hits, of this program's other processes as \
                         well; {seen} of them were recorded"
                    ));
                }
                if status.broken_pages > 0 {
                    let pages = status.broken_pages;
                    state.failure = Some(format!("{pages} pages of kernel records are damaged"));
                }
            }
            Err(error) => state.failure = Some(error.to_string()),
        }
        decoder.write();
        if let Err(error) = decoder.sink.finish(reason, None, None) {
            state.failure = Some(error.to_string());
        }
        state.counts = decoder.sink.counts;
        if state.failure.is_none() {
            state.failure = decoder.sink.failure().map(str::to_owned);
        }
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Decoder {
    /// Hands the events that are ready to the file.
    fn write(&mut self) {
        self.sink.emit_all(&mut self.ready);
        self.ready.clear();
    }

    fn take(&mut self, hit: &Hit<'_>) {
        if self
            .sink
            .options
            .max
            .is_some_and(|max| self.sink.counts.events + self.ready.len() as u64 >= max)
        {
            return;
        }
        self.sink.counts.hits += 1;
        match self.event(hit) {
            Ok(Some(event)) => {
                self.ready.push(event);
                if self.ready.len() >= PORTION {
                    self.write();
                }
            }
            Ok(None) => {}
            Err(Lost) => self.sink.counts.lost += 1,
        }
    }

    fn event(&mut self, hit: &Hit<'_>) -> Result<Option<Event>, Lost> {
        let known = self.known.get(hit.probe).ok_or(Lost)?;
        let (meaning, address) = (known.meaning, known.address);
        let [g, goid, values @ ..] = hit.values else {
            return Err(Lost);
        };
        let value = |index: usize| values.get(index).copied().ok_or(Lost);
        let what = Passing {
            g: *g,
            goid: *goid,
            address,
            hit,
        };
        match meaning {
            Meaning::Write(op) => {
                let (descriptor, map) = (value(0)?, value(1)?);
                if map == 0 || !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = self.begin(op, map, Some(descriptor), &what)?;
                event.key = Some(value(2)?);
                event.len = Some(value(3)?);
                Ok(Some(event))
            }
            Meaning::Clear => {
                let (descriptor, map) = (value(0)?, value(1)?);
                if map == 0 || !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = self.begin(Op::Clear, map, Some(descriptor), &what)?;
                event.len = Some(value(2)?);
                Ok(Some(event))
            }
            Meaning::ClassicGrow => {
                let (descriptor, map) = (value(0)?, value(1)?);
                if !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = self.begin(Op::Grow, map, Some(descriptor), &what)?;
                event.len = Some(value(2)?);
                let old = u8::try_from(value(3)?).map_err(|_| Lost)?;
                event.old_capacity = 8_u64.checked_shl(old.into());
                event.old_block = Some(value(4)?);
                let layout = self.types.layout(&self.target, Some(descriptor));
                event.old_size = layout.map(|layout| classic_array_bytes(&layout, old));
                event.b = Some(old);
                self.keep(meaning, event, Some(descriptor), *g);
                Ok(None)
            }
            Meaning::ArrayBegins => {
                if let Some(begun) = self.open.get_mut(g)
                    && begun.meaning == Meaning::ClassicGrow
                {
                    begun.part = Some([value(0)? & 0xff, 0, 0]);
                }
                Ok(None)
            }
            Meaning::ArrayMade => {
                let Some(begun) = self.ended(*g, &[Meaning::ClassicGrow]) else {
                    return Ok(None);
                };
                let [b, ..] = begun.part.ok_or(Lost)?;
                let b = u8::try_from(b).map_err(|_| Lost)?;
                let mut event = self.finished(begun.event, hit);
                if event.b == Some(b) {
                    event.op = Op::GrowSameSize;
                }
                event.b = Some(b);
                event.capacity = 8_u64.checked_shl(b.into());
                event.map_capacity = event.capacity;
                event.block = Some(value(0)?);
                let layout = self.types.layout(&self.target, begun.descriptor);
                event.size = layout.map(|layout| classic_array_bytes(&layout, b));
                Ok(Some(event))
            }
            Meaning::OverflowBegins => {
                let (map, descriptor) = (value(0)?, value(1)?);
                if !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = self.begin(Op::Overflow, map, Some(descriptor), &what)?;
                event.b = u8::try_from(value(2)?).ok();
                event.map_capacity = event.b.and_then(|b| 8_u64.checked_shl(b.into()));
                event.len = Some(value(3)?);
                event.capacity = Some(8);
                event.size = self.types.group(&self.target, Some(descriptor));
                self.keep(meaning, event, Some(descriptor), *g);
                Ok(None)
            }
            Meaning::Overflowed => {
                let Some(begun) = self.ended(*g, &[Meaning::OverflowBegins]) else {
                    return Ok(None);
                };
                let mut event = self.finished(begun.event, hit);
                event.block = Some(value(0)?);
                Ok(Some(event))
            }
            Meaning::Table => {
                let (map, descriptor) = (value(0)?, value(1)?);
                if !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = self.begin(Op::Grow, map, Some(descriptor), &what)?;
                event.len = Some(value(2)?);
                event.old_block = Some(value(3)?);
                event.old_capacity = Some(8);
                event.old_size = self.types.group(&self.target, Some(descriptor));
                event.tables = Some(1);
                self.keep(meaning, event, Some(descriptor), *g);
                Ok(None)
            }
            Meaning::SwissGrow | Meaning::Split => {
                let (descriptor, map) = (value(1)?, value(2)?);
                if !self.chosen(map, hit) {
                    return Ok(None);
                }
                let split = meaning == Meaning::Split;
                let op = if split { Op::Split } else { Op::Grow };
                let mut event = self.begin(op, map, Some(descriptor), &what)?;
                let old = value(3)?;
                event.old_capacity = Some(old);
                event.old_block = Some(value(4)?);
                event.len = Some(value(5)?);
                let group = self.types.group(&self.target, Some(descriptor));
                event.old_size = group.and_then(|group| (old / 8).checked_mul(group));
                let doubles = split && value(7)? == value(8)?;
                event.tables = value(6)?.checked_mul(if doubles { 2 } else { 1 });
                self.keep(meaning, event, Some(descriptor), *g);
                Ok(None)
            }
            Meaning::TableMade => {
                let made = [value(0)?, value(1)?, value(2)?];
                let of = [Meaning::Table, Meaning::SwissGrow, Meaning::Split];
                let Some(mut begun) = self.ended(*g, &of) else {
                    return Ok(None);
                };
                if begun.meaning == Meaning::Split && begun.part.is_none() {
                    begun.part = Some(made);
                    self.open.insert(*g, begun);
                    return Ok(None);
                }
                let [capacity, groups, mask] = begun.part.unwrap_or(made);
                if mask.checked_add(1).and_then(|groups| groups.checked_mul(8)) != Some(capacity) {
                    return Err(Lost);
                }
                let group = self.types.group(&self.target, begun.descriptor);
                let mut event = self.finished(begun.event, hit);
                event.capacity = Some(capacity);
                event.block = Some(groups);
                event.size = group.and_then(|group| (capacity / 8).checked_mul(group));
                match begun.meaning {
                    Meaning::Split => event.second_block = Some(made[1]),
                    Meaning::Table => event.map_capacity = Some(capacity),
                    _ => {}
                }
                Ok(Some(event))
            }
            Meaning::Make => {
                let descriptor = value(0)?;
                let event = self.begin(Op::Create, 0, Some(descriptor), &what)?;
                self.keep(meaning, event, Some(descriptor), *g);
                Ok(None)
            }
            Meaning::Made => {
                let map = value(0)?;
                let begun = self.ended(*g, &[Meaning::Make]);
                if map == 0 || !self.chosen(map, hit) {
                    return Ok(None);
                }
                let mut event = match begun {
                    Some(begun) => self.finished(begun.event, hit),
                    None => self.begin(Op::Create, map, None, &what)?,
                };
                event.map = map;
                Ok(Some(event))
            }
        }
    }

    fn chosen(&mut self, map: u64, hit: &Hit<'_>) -> bool {
        self.sink.wants(map) && self.sink.takes(hit.t_mono_ns)
    }

    fn begin(
        &mut self,
        op: Op,
        map: u64,
        descriptor: Option<u64>,
        what: &Passing<'_>,
    ) -> Result<Event, Lost> {
        let mut event = Event::new(0, op, map);
        event.goid = Some(what.goid).filter(|_| what.g != 0);
        event.thread = Some(what.hit.tid.into());
        event.type_name = match (self.sink.options.asked(map), descriptor) {
            (Some(asked), _) => Some(asked.type_name.clone()),
            (None, Some(descriptor)) => self
                .types
                .at(&self.target, descriptor)
                .map_err(|_| Lost)?
                .and_then(|named| named.name.as_deref())
                .map(str::to_owned),
            (None, None) => None,
        };
        event.stack = self.frames(what);
        Ok(self.finished(event, what.hit))
    }

    /// The event with the time of this hit.
    fn finished(&self, mut event: Event, hit: &Hit<'_>) -> Event {
        event.t_mono_ns = Some(hit.t_mono_ns);
        event.t_wall_ns = self.clock.map(|clock| clock.wall(hit.t_mono_ns));
        event
    }

    fn frames(&self, what: &Passing<'_>) -> Vec<Frame> {
        let depth = self.sink.options.depth;
        let Some(symbols) = self.symbols.as_ref().filter(|_| depth > 0) else {
            return Vec::new();
        };
        let memory = self.target.memory();
        let mut frames = Vec::new();
        let mut add = |symbol: &Symbol| {
            if frames.len() < depth && !symbol.is_wrapper() {
                frames.push(Frame::from(symbol));
            }
        };
        symbols.at(memory, what.address).iter().for_each(&mut add);
        for pc in what.hit.stack.iter().skip(1) {
            symbols.of_return(memory, *pc).iter().for_each(&mut add);
        }
        frames
    }

    fn keep(&mut self, meaning: Meaning, event: Event, descriptor: Option<u64>, g: u64) {
        if self.open.len() >= OPEN_MAX {
            self.sink.counts.lost += self.open.len() as u64;
            self.open.clear();
        }
        let begun = Begun {
            meaning,
            event,
            descriptor,
            part: None,
        };
        self.open.insert(g, begun);
    }

    /// The call that `g` began, if it is one of these.
    fn ended(&mut self, g: u64, meanings: &[Meaning]) -> Option<Begun> {
        let fits = self
            .open
            .get(&g)
            .is_some_and(|begun| meanings.contains(&begun.meaning));
        fits.then(|| self.open.remove(&g)).flatten()
    }
}

/// A hit and where it was.
struct Passing<'a> {
    g: u64,
    goid: u64,
    address: u64,
    hit: &'a Hit<'a>,
}

/// A hit that contradicts the runtime, or whose values are missing.
struct Lost;
