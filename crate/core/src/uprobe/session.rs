//! A session on Linux: its place in tracefs, and the way from the rings to the caller.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::page::{Field, Format, Missed, PageFormat, number};
use super::{Caller, CpuStatus, Fetch, Hit, Options, Probe, ProbeStatus, Register, Status};
use super::{UprobeError, page};
use crate::binary::prologue::Arch;

/// What our instances and groups of events are called, with `-` and `_` behind it.
const PREFIX: &str = "gomapscope";

/// O_NONBLOCK of asm-generic/fcntl.h, which amd64 and arm64 use.
const NONBLOCK: i32 = 0o4000;

/// CLONE_THREAD of linux/sched.h.
const CLONE_THREAD: u64 = 0x1_0000;

/// The number of the first PID namespace (PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Probes and values, at most; the kernel has 128 values a probe.
const PROBES_MAX: usize = 1024;
const COLUMNS_MAX: usize = 96;

/// The kernel takes the text of a value up to this length (MAX_ARGSTR_LEN).
const FETCH_TEXT_MAX: usize = 62;

/// Pages of one ring that are read before its turn is over: 16 MiB.
const PAGES_A_TURN: usize = 4096;

/// Pointers below it lead nowhere (vm.mmap_min_addr).
const FIRST_PAGE: u64 = 4096;

/// Numbers the sessions of this process.
static SESSIONS: AtomicU32 = AtomicU32::new(0);

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UprobeError {
    let path = path.display().to_string();
    move |error| match error.kind() {
        ErrorKind::PermissionDenied => match lockdown() {
            Some(mode) => UprobeError::LockedDown(mode),
            None => UprobeError::NoRight {
                what: format!("{what} {path}"),
                error,
            },
        },
        _ => UprobeError::Io { what, path, error },
    }
}

/// Reads in large pieces: some files of tracefs give only one (`show_header`).
fn read(path: &Path) -> Result<String, UprobeError> {
    let whole = || {
        let mut file = File::open(path)?;
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                len => bytes.extend_from_slice(piece.get(..len).unwrap_or_default()),
            }
        }
    };
    whole().map_err(failed("read", path))
}

/// Writes in one call, as tracefs wants it, and truncates nothing: that would take away the
/// probes of others.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    match file.write(text.as_bytes())? {
        len if len == text.len() => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

fn put(path: &Path, text: &str) -> Result<(), UprobeError> {
    append(path, text).map_err(failed("write", path))
}

/// `integrity` or `confidentiality`.
fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let mode = modes.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// Where tracefs is mounted.
fn tracefs() -> Result<PathBuf, UprobeError> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounted: Vec<&str> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let place = fields.nth(1)?;
            (fields.next()? == "tracefs" && !place.contains('\\')).then_some(place)
        })
        .collect();
    // The usual place first; the other appears when debugfs is asked for it.
    mounted.sort_by_key(|place| *place != "/sys/kernel/tracing");
    mounted.push("/sys/kernel/debug/tracing");
    let mut denied = None;
    for place in mounted {
        let events = Path::new(place).join("uprobe_events");
        match fs::metadata(&events) {
            Ok(_) => return Ok(place.into()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied.get_or_insert(failed("use", Path::new(place))(error));
            }
            Err(_) if Path::new(place).join("instances").exists() => {
                denied.get_or_insert(UprobeError::NotSupported(
                    "probes of user programs (CONFIG_UPROBE_EVENTS)",
                ));
            }
            Err(_) => {}
        }
    }
    let kinds = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Err(match denied {
        Some(error) => error,
        None if kinds.is_empty() || kinds.contains("tracefs") => UprobeError::NotMounted,
        None => UprobeError::NotSupported("tracing (CONFIG_TRACING)"),
    })
}

/// When a process began, in clock ticks since the system did; `None` if it is not there.
fn start_of(pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        // A process that ends while it is read says ESRCH.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // Behind the name, which may hold anything: the state, and 19 fields on the start.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let zombie = fields.nth(1).is_some_and(|state| state == "Z");
    let start = fields.nth(18).and_then(|field| field.parse().ok());
    Ok(start.filter(|_| !zombie))
}

/// Who a name of ours belongs to: the process and its start.
fn owner(name: &str, separator: char) -> Option<(u32, u64)> {
    let mut fields = name.strip_prefix(PREFIX)?.split(separator);
    if !fields.next()?.is_empty() {
        return None;
    }
    let owner = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let _session: u32 = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some(owner)
}

fn is_dead((pid, start): (u32, u64)) -> bool {
    matches!(start_of(pid), Ok(found) if found != Some(start))
}

/// The events that tracefs lists as ours, as group and event, with the owner.
fn our_events(list: &str) -> impl Iterator<Item = (&str, (u32, u64))> {
    list.lines().filter_map(|line| {
        let event = line.strip_prefix("p:")?.split(' ').next()?;
        let (group, _) = event.split_once('/')?;
        Some((event, owner(group, '_')?))
    })
}

/// Takes away what tracers of ours that were killed left in tracefs: an instance with its
/// buffers, and probes that go on slowing the program. [`Session::start`] does so first.
///
/// # Errors
/// When tracefs is not there or denies it.
pub fn remove_leftovers() -> Result<usize, UprobeError> {
    sweep_out(&tracefs()?)
}

fn sweep_out(root: &Path) -> Result<usize, UprobeError> {
    let mut removed = 0;
    let instances = root.join("instances");
    for entry in fs::read_dir(&instances).map_err(failed("read", &instances))? {
        let entry = entry.map_err(failed("read", &instances))?;
        let name = entry.file_name();
        let dead = name
            .to_str()
            .and_then(|name| owner(name, '-'))
            .is_some_and(is_dead);
        // Another tracer may take it away at the same time.
        if dead && fs::remove_dir(entry.path()).is_ok() {
            removed += 1;
        }
    }
    let events = root.join("uprobe_events");
    for (event, owner) in our_events(&read(&events)?) {
        if is_dead(owner) && append(&events, &format!("-:{event}\n")).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Column {
    register: Register,
    path: Vec<i64>,
    width: u8,
}

impl Column {
    /// `+16(+8(%bx)):x64`
    fn text(&self) -> String {
        let mut text = format!("%{}", self.register.0);
        for offset in &self.path {
            text = format!("{offset:+}({text})");
        }
        let _ = write!(text, ":x{}", u32::from(self.width) * 8);
        text
    }

    fn pointer(&self, steps: usize) -> Self {
        Self {
            register: self.register,
            path: self.path.iter().take(steps).copied().collect(),
            width: 8,
        }
    }
}

impl From<&Fetch> for Column {
    fn from(fetch: &Fetch) -> Self {
        Self {
            register: fetch.register,
            path: fetch.path.clone(),
            width: fetch.width,
        }
    }
}

/// What a probe records: first what was asked for, then the pointers on the way there. The
/// kernel tells nobody that it could not follow a pointer and leaves what stood in the record
/// before (kernel/trace/trace_probe_tmpl.h, `process_fetch_insn_bottom`); the pointer tells.
#[derive(Debug)]
struct Plan {
    columns: Vec<Column>,
    /// By fetch: the columns with the pointers on its way.
    ways: Vec<Vec<usize>>,
    /// The column with the return address.
    caller: Option<usize>,
}

impl Plan {
    fn of(probe: &Probe, arch: Arch, stacks: bool) -> Result<Self, String> {
        let mut columns: Vec<Column> = probe.fetches.iter().map(Column::from).collect();
        let mut place = |column: Column| {
            let known = columns.iter().position(|other| *other == column);
            known.unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            })
        };
        let ways = probe
            .fetches
            .iter()
            .map(|fetch| {
                let column = Column::from(fetch);
                (0..fetch.path.len())
                    .map(|steps| place(column.pointer(steps)))
                    .collect()
            })
            .collect();
        let caller = (stacks && probe.caller == Caller::Bare).then(|| {
            place(Column {
                register: match arch {
                    Arch::Amd64 => Register("sp"),
                    Arch::Arm64 => Register("x30"),
                },
                path: match arch {
                    Arch::Amd64 => vec![0],
                    Arch::Arm64 => Vec::new(),
                },
                width: 8,
            })
        });
        if columns.len() > COLUMNS_MAX {
            return Err(format!("it records more than {COLUMNS_MAX} values"));
        }
        for column in &columns {
            if !matches!(column.width, 1 | 2 | 4 | 8) {
                return Err(format!("a value of {} bytes", column.width));
            }
            if column.text().len() > FETCH_TEXT_MAX {
                return Err(format!("too long a way to a value: {}", column.text()));
            }
        }
        Ok(Self {
            columns,
            ways,
            caller,
        })
    }
}

#[derive(Debug)]
struct Active {
    probe: Probe,
    plan: Plan,
    /// Of the record, by column.
    fields: Vec<(usize, usize)>,
    hits: u64,
}

/// A ring, open.
#[derive(Debug)]
struct Ring {
    cpu: u32,
    path: PathBuf,
    file: File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Probe(u16),
    /// A stack, not yet with its hit.
    Stack,
    /// A thread or process that began.
    Task,
}

/// A record that waits for earlier ones of other CPUs.
#[derive(Debug, Clone, Copy)]
struct Record {
    time: u64,
    tid: u32,
    cpu: u32,
    source: Source,
    /// In the words.
    at: u32,
    len: u16,
    /// The same for its stack; no length: none.
    stack_len: u16,
    stack_at: u32,
}

/// Where the fields of the kernel's own events are.
#[derive(Debug)]
struct Layout {
    page: PageFormat,
    /// Of every event: who ran.
    pid: Field,
    probes: HashMap<u16, u16>,
    task: Option<(u16, Field, Field)>,
    stack: Option<(u16, Field, Field)>,
}

/// Probes in a program that runs.
///
/// Everything it made in tracefs is taken away by [`Session::stop`] and when it is dropped; if the
/// tracer is killed, by the next [`Session::start`].
#[derive(Debug)]
pub struct Session {
    root: PathBuf,
    instance: PathBuf,
    group: String,
    /// How the kernel knows the executable, while the file is open.
    exe: String,
    _exe: File,
    target: Option<(u32, u64)>,
    probes: Vec<Active>,
    layout: Layout,
    rings: Vec<Ring>,
    /// Whether a thread is the target's.
    threads: HashMap<u32, bool>,
    pending: Vec<Record>,
    words: Vec<u64>,
    /// The newest record of the turn before: all older ones have been read.
    seen: u64,
    /// Pages that the last turn read.
    pages: usize,
    status: Status,
    made: bool,
}

impl Session {
    /// Puts `probes` into the executable at `exe`. With [`Options::pid`], `exe` must be the file
    /// that the process runs. The process may run, or be stopped; hits before the return of
    /// this function may be among those that are handed on.
    ///
    /// # Errors
    /// See [`UprobeError`]. Nothing is left behind.
    pub fn start(
        exe: &Path,
        arch: Arch,
        probes: Vec<Probe>,
        options: Options,
    ) -> Result<Self, UprobeError> {
        let root = tracefs()?;
        // The kernel numbers processes as the first namespace does.
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name != *FIRST_PID_NAMESPACE) {
            return Err(UprobeError::NotSupported(
                "process numbers for a container; run gdb outside of it",
            ));
        }
        sweep_out(&root)?;
        let own = std::process::id();
        let own_start = start_of(own)
            .map_err(failed("read", Path::new("/proc/self/stat")))?
            .unwrap_or_default();
        let unreadable = |error| UprobeError::Executable {
            path: exe.display().to_string(),
            error,
        };
        let file = File::open(exe).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let target = match options.pid {
            Some(pid) => {
                let start = start_of(pid).ok().flatten();
                let start = start.ok_or(UprobeError::NoProcess(pid))?;
                let running = fs::metadata(format!("/proc/{pid}/exe"))
                    .map_err(failed("look at", Path::new(&format!("/proc/{pid}/exe"))))?;
                if (running.dev(), running.ino()) != (meta.dev(), meta.ino()) {
                    return Err(UprobeError::OtherExecutable {
                        pid,
                        path: exe.display().to_string(),
                    });
                }
                Some((pid, start))
            }
            None => None,
        };
        if let Some((pid, tracer)) = debugged(&meta, own) {
            return Err(UprobeError::Debugged { pid, tracer });
        }
        if probes.len() > PROBES_MAX {
            return Err(UprobeError::Probe {
                name: format!("{} probes", probes.len()),
                reason: format!("there can be {PROBES_MAX}"),
            });
        }
        let mut active = Vec::with_capacity(probes.len());
        for probe in probes {
            match Plan::of(&probe, arch, options.user_stacks) {
                Ok(plan) => active.push(Active {
                    probe,
                    plan,
                    fields: Vec::new(),
                    hits: 0,
                }),
                Err(reason) => {
                    return Err(UprobeError::Probe {
                        name: probe.name,
                        reason,
                    });
                }
            }
        }
        let header = root.join("events/header_page");
        let page = PageFormat::parse(&header.display().to_string(), &read(&header)?)?;
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let instance = format!("{PREFIX}-{own}-{own_start}-{number}");
        let mut session = Self {
            instance: root.join("instances").join(instance),
            group: format!("{PREFIX}_{own}_{own_start}_{number}"),
            root,
            // By way of the open file: its path may hold blanks, be of another root, or be gone.
            exe: format!("/proc/{own}/fd/{}", file.as_raw_fd()),
            _exe: file,
            target,
            layout: Layout {
                page,
                pid: Field {
                    name: "common_pid".into(),
                    offset: 4,
                    size: 4,
                },
                probes: HashMap::with_capacity(active.len()),
                task: None,
                stack: None,
            },
            status: Status {
                probes: vec![ProbeStatus::default(); active.len()],
                ..Status::default()
            },
            probes: active,
            rings: Vec::new(),
            threads: HashMap::new(),
            pending: Vec::new(),
            words: Vec::new(),
            seen: 0,
            pages: 0,
            made: true,
        };
        // From here on, dropping the session takes everything away.
        session.set_up(&options)?;
        session.define()?;
        session.learn(&options)?;
        session.choose_threads()?;
        session.open_rings()?;
        session.enable()?;
        session.check()?;
        Ok(session)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.instance.join(name)
    }

    fn event_dir(&self, index: usize) -> PathBuf {
        self.instance
            .join(format!("events/{}/p{index}", self.group))
    }

    fn set_up(&self, options: &Options) -> Result<(), UprobeError> {
        fs::create_dir(&self.instance).map_err(failed("create", &self.instance))?;
        put(&self.file("trace_clock"), "mono")?;
        let size = options.buffer_kib_per_cpu.max(64);
        put(&self.file("buffer_size_kb"), &size.to_string())?;
        // A full ring refuses records instead of forgetting the oldest: those are being read.
        put(&self.file("options/overwrite"), "0")?;
        if self.target.is_some() {
            put(&self.file("options/event-fork"), "1")?;
        }
        if options.user_stacks {
            put(&self.file("options/userstacktrace"), "1")?;
        }
        Ok(())
    }

    fn define(&self) -> Result<(), UprobeError> {
        let events = self.root.join("uprobe_events");
        for (index, active) in self.probes.iter().enumerate() {
            let mut line = format!(
                "p:{}/p{index} {}:{:#x}",
                self.group, self.exe, active.probe.file_offset
            );
            for (number, column) in active.plan.columns.iter().enumerate() {
                let _ = write!(line, " a{number}={}", column.text());
            }
            line.push('\n');
            append(&events, &line).map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => failed("write", &events)(error),
                _ => UprobeError::Probe {
                    name: active.probe.name.clone(),
                    reason: self.complaint(index).unwrap_or_else(|| error.to_string()),
                },
            })?;
        }
        Ok(())
    }

    /// What the kernel said of the definition of a probe.
    fn complaint(&self, index: usize) -> Option<String> {
        let log = fs::read_to_string(self.root.join("error_log")).ok()?;
        let command = format!("Command: p:{}/p{index} ", self.group);
        let lines: Vec<&str> = log.lines().collect();
        let at = lines
            .iter()
            .rposition(|line| line.trim_start().starts_with(&command))?;
        let said = lines.get(at.checked_sub(1)?)?;
        Some(said.split_once("error: ")?.1.trim().to_owned())
    }

    fn learn(&mut self, options: &Options) -> Result<(), UprobeError> {
        let format = |path: PathBuf| -> Result<(String, Format), UprobeError> {
            let text = read(&path)?;
            let path = path.display().to_string();
            let format = Format::parse(&path, &text)?;
            Ok((path, format))
        };
        for index in 0..self.probes.len() {
            let (path, format) = format(self.event_dir(index).join("format"))?;
            let Some(active) = self.probes.get_mut(index) else {
                break;
            };
            active.fields = (0..active.plan.columns.len())
                .map(|number| {
                    let field = format.field(&path, &format!("a{number}"))?;
                    Ok((field.offset, field.size))
                })
                .collect::<Result<_, UprobeError>>()?;
            self.layout.probes.insert(format.id, index as u16);
            self.layout.pid = format.field(&path, "common_pid")?.clone();
        }
        if self.target.is_some() {
            let (path, format) = format(self.file("events/task/task_newtask/format"))?;
            let child = format.field(&path, "pid")?.clone();
            let flags = format.field(&path, "clone_flags")?.clone();
            self.layout.task = Some((format.id, child, flags));
        }
        if options.user_stacks {
            let (path, format) = format(self.root.join("events/ftrace/user_stack/format"))?;
            let process = format.field(&path, "tgid")?.clone();
            let frames = format.field(&path, "caller")?.clone();
            self.layout.stack = Some((format.id, process, frames));
        }
        Ok(())
    }

    /// Probes are in the file, not in a process: the kernel drops the hits of threads that are
    /// not on the list. Children of those on it come to the list by themselves, processes as
    /// well as threads; the events of their beginning tell which is which.
    fn choose_threads(&mut self) -> Result<(), UprobeError> {
        let Some((pid, _)) = self.target else {
            return Ok(());
        };
        put(&self.file("events/task/task_newtask/enable"), "1")?;
        let list = self.file("set_event_pid");
        loop {
            let new: Vec<u32> = threads_of(pid)?
                .into_iter()
                .filter(|tid| !self.threads.contains_key(tid))
                .collect();
            if new.is_empty() {
                return Ok(());
            }
            for some in new.chunks(64) {
                let mut line = String::new();
                for tid in some {
                    let _ = write!(line, "{tid} ");
                }
                line.push('\n');
                put(&list, &line)?;
            }
            self.threads.extend(new.into_iter().map(|tid| (tid, true)));
        }
    }

    fn open_rings(&mut self) -> Result<(), UprobeError> {
        let folder = self.file("per_cpu");
        let entries = fs::read_dir(&folder).map_err(failed("read", &folder))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let cpu = name.to_str().and_then(|name| name.strip_prefix("cpu"));
            let Some(cpu) = cpu.and_then(|cpu| cpu.parse().ok()) else {
                continue;
            };
            let path = entry.path().join("trace_pipe_raw");
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(NONBLOCK)
                .open(&path)
                .map_err(failed("read", &path))?;
            self.rings.push(Ring { cpu, path, file });
        }
        self.rings.sort_by_key(|ring| ring.cpu);
        Ok(())
    }

    fn enable(&self) -> Result<(), UprobeError> {
        for (index, active) in self.probes.iter().enumerate() {
            let folder = self.event_dir(index);
            if let Some((fetch, values)) = &active.probe.only {
                let terms: Vec<String> = values
                    .iter()
                    .map(|value| format!("a{fetch} == {value:#x}"))
                    .collect();
                // A filter without terms would let everything pass.
                let filter = if terms.is_empty() {
                    "common_pid < 0".to_owned()
                } else {
                    terms.join(" || ")
                };
                append(&folder.join("filter"), &filter).map_err(|error| UprobeError::Probe {
                    name: active.probe.name.clone(),
                    reason: format!("the kernel does not take the filter \"{filter}\": {error}"),
                })?;
            }
            append(&folder.join("enable"), "1").map_err(|error| {
                // ENOTSUPP, which C libraries have no words for.
                let said = match error.raw_os_error() {
                    Some(524) => "it cannot be emulated or stepped over".to_owned(),
                    _ => error.to_string(),
                };
                UprobeError::Probe {
                    name: active.probe.name.clone(),
                    reason: format!(
                        "the kernel refuses the instruction at offset {:#x} of the file: {said}",
                        active.probe.file_offset
                    ),
                }
            })?;
        }
        Ok(())
    }

    /// The kernel must list every probe, and each must be in the code of the target.
    fn check(&self) -> Result<(), UprobeError> {
        let listed = self.passages()?;
        if let Some((_, active)) = listed
            .iter()
            .zip(&self.probes)
            .find(|(passages, _)| passages.is_none())
        {
            return Err(UprobeError::Probe {
                name: active.probe.name.clone(),
                reason: "the kernel does not list it".into(),
            });
        }
        let Some((pid, _)) = self.target else {
            return Ok(());
        };
        let maps = PathBuf::from(format!("/proc/{pid}/maps"));
        let mapped = executable_maps(&read(&maps)?, &format!("/proc/{pid}/exe"));
        let path = PathBuf::from(format!("/proc/{pid}/mem"));
        let memory = File::open(&path).map_err(failed("read", &path))?;
        for active in &self.probes {
            let offset = active.probe.file_offset;
            let place = mapped
                .iter()
                .find(|map| offset >= map.offset && offset - map.offset < map.len)
                .map(|map| map.start.wrapping_add(offset - map.offset));
            let (mut before, mut now) = ([0; 4], [0; 4]);
            let placed = place.is_some_and(|address| {
                self._exe.read_at(&mut before, offset).is_ok()
                    && memory.read_at(&mut now, address).is_ok()
                    && before != now
            });
            if !placed {
                return Err(UprobeError::NotPlaced {
                    pid,
                    address: place.unwrap_or(offset),
                    name: active.probe.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// How often the kernel saw each probe; `None` for one that it does not list.
    fn passages(&self) -> Result<Vec<Option<u64>>, UprobeError> {
        let mut counts = vec![None; self.probes.len()];
        for line in read(&self.root.join("uprobe_profile"))?.lines() {
            // The file, the event without its group, the count.
            let mut fields = line.split_whitespace();
            if fields.next() != Some(&*self.exe) {
                continue;
            }
            let index = fields.next().and_then(|name| name.strip_prefix('p'));
            let index = index.and_then(|index| index.parse::<usize>().ok());
            let count = fields.next().and_then(|count| count.parse().ok());
            if let Some(place) = index.and_then(|index| counts.get_mut(index)) {
                *place = count;
            }
        }
        Ok(counts)
    }

    /// Hands on, oldest first, the hits that are sure to have no older ones behind them, and
    /// says how many those were. What a turn reads is handed on by the next. Never waits.
    ///
    /// # Errors
    /// When a ring cannot be read. What was read is kept.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Hit<'_>)) -> Result<usize, UprobeError> {
        let before = self.seen;
        let (drained, outcome) = self.turn();
        let handed = self.hand_on(before.min(drained), sink);
        outcome.map(|()| handed)
    }

    /// Reads every ring. Up to which time none has more, and what went wrong.
    fn turn(&mut self) -> (u64, Result<(), UprobeError>) {
        self.pages = 0;
        let mut drained = u64::MAX;
        let mut outcome = Ok(());
        let mut page = vec![0; self.layout.page.size];
        let rings = std::mem::take(&mut self.rings);
        for ring in &rings {
            let mut newest = None;
            for turn in 0..=PAGES_A_TURN {
                if turn == PAGES_A_TURN {
                    drained = drained.min(newest.unwrap_or(0));
                    break;
                }
                match (&ring.file).read(&mut page) {
                    Ok(0) => break,
                    Ok(len) => {
                        let page = page.get(..len).unwrap_or_default();
                        newest = self.take_page(ring.cpu, page).or(newest);
                        self.pages += 1;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        drained = drained.min(newest.unwrap_or(0));
                        outcome = Err(failed("read", &ring.path)(error));
                        break;
                    }
                }
            }
            self.seen = self.seen.max(newest.unwrap_or(0));
        }
        self.rings = rings;
        (drained, outcome)
    }

    /// Takes the records of a page; the time of the last one.
    fn take_page(&mut self, cpu: u32, page: &[u8]) -> Option<u64> {
        let mut newest = None;
        let (layout, probes) = (&self.layout, &self.probes);
        let (pending, words) = (&mut self.pending, &mut self.words);
        let decoded = layout.page.decode(page, &mut |time, data| {
            newest = Some(time);
            let get = |field: &Field| page::number(data, field.offset, field.size);
            let Some(id) = number(data, 0, 2) else { return };
            let tid = get(&layout.pid).unwrap_or(0) as u32;
            let at = words.len() as u32;
            let mut record = Record {
                time,
                tid,
                cpu,
                source: Source::Task,
                at,
                len: 0,
                stack_len: 0,
                stack_at: 0,
            };
            let id = id as u16;
            if let Some(index) = layout.probes.get(&id) {
                let Some(active) = probes.get(usize::from(*index)) else {
                    return;
                };
                record.source = Source::Probe(*index);
                words.extend(
                    active
                        .fields
                        .iter()
                        .map(|(offset, size)| number(data, *offset, *size).unwrap_or(0)),
                );
            } else if let Some((_, process, frames)) =
                layout.stack.as_ref().filter(|(stack, ..)| *stack == id)
            {
                record.source = Source::Stack;
                words.push(get(process).unwrap_or(0));
                let each = (frames.offset..frames.offset + frames.size).step_by(8);
                words.extend(
                    each.map_while(|offset| number(data, offset, 8))
                        .take_while(|frame| !matches!(*frame, 0 | u64::MAX)),
                );
            } else if let Some((_, child, flags)) =
                layout.task.as_ref().filter(|(task, ..)| *task == id)
            {
                words.push(get(child).unwrap_or(0));
                words.push(get(flags).unwrap_or(0));
            } else {
                return;
            }
            record.len = (words.len() - at as usize) as u16;
            // A stack stands behind its hit, unless the thread was interrupted between.
            if record.source == Source::Stack
                && let Some(hit) = pending.last_mut()
                && matches!(hit.source, Source::Probe(_))
                && (hit.cpu, hit.tid, hit.stack_len) == (cpu, tid, 0)
            {
                hit.stack_at = record.at;
                hit.stack_len = record.len;
            } else {
                pending.push(record);
            }
        });
        // What was lost the rings count by themselves.
        if !matches!(
            decoded,
            Ok(Missed::Nothing | Missed::Events(_) | Missed::Unknown)
        ) {
            self.status.broken_pages += 1;
        }
        newest
    }

    /// Stacks whose hit came by another page or CPU.
    fn join_stacks(&mut self) {
        let mut lone = false;
        let mut last: HashMap<u32, usize> = HashMap::new();
        for record in &self.pending {
            lone |= record.source == Source::Stack;
        }
        if !lone {
            return;
        }
        for index in 0..self.pending.len() {
            let Some(record) = self.pending.get(index).copied() else {
                break;
            };
            match record.source {
                Source::Probe(_) if record.stack_len == 0 => {
                    last.insert(record.tid, index);
                }
                Source::Stack => {
                    let hit = last
                        .remove(&record.tid)
                        .and_then(|hit| self.pending.get_mut(hit));
                    if let Some(hit) = hit {
                        hit.stack_at = record.at;
                        hit.stack_len = record.len;
                    }
                }
                _ => {}
            }
        }
    }

    fn hand_on(&mut self, until: u64, sink: &mut dyn FnMut(Hit<'_>)) -> usize {
        // Rings are in order; this is a merge.
        self.pending.sort_by_key(|record| record.time);
        self.join_stacks();
        let ready = self.pending.partition_point(|record| record.time <= until);
        let mut handed = 0;
        let mut stack = Vec::with_capacity(16);
        let pending = std::mem::take(&mut self.pending);
        for record in pending.iter().take(ready) {
            match record.source {
                Source::Probe(index) => {
                    handed += usize::from(self.hand_one(record, index, &mut stack, sink));
                }
                Source::Task => self.note_task(record),
                Source::Stack => {}
            }
        }
        self.keep(pending, ready);
        handed
    }

    /// Keeps the records from `from` on, and their words.
    fn keep(&mut self, mut pending: Vec<Record>, from: usize) {
        pending.drain(..from.min(pending.len()));
        let mut words = Vec::new();
        for record in &mut pending {
            let mut moved = |at: u32, len: u16| {
                let start = at as usize;
                let end = start + usize::from(len);
                let to = words.len() as u32;
                words.extend_from_slice(self.words.get(start..end).unwrap_or_default());
                to
            };
            record.at = moved(record.at, record.len);
            record.stack_at = moved(record.stack_at, record.stack_len);
        }
        self.words.clear();
        self.words.append(&mut words);
        self.pending = pending;
    }

    fn note_task(&mut self, record: &Record) {
        let mut words = self.words.iter().skip(record.at as usize);
        if let (Some(child), Some(flags)) = (words.next(), words.next()) {
            let ours = flags & CLONE_THREAD != 0 && self.threads.get(&record.tid) == Some(&true);
            self.threads.insert(*child as u32, ours);
        }
    }

    /// Whether a thread is the target's; `None` if nobody can tell any more.
    fn is_ours(&mut self, tid: u32) -> Option<bool> {
        let Some((pid, _)) = self.target else {
            return Some(true);
        };
        if let Some(known) = self.threads.get(&tid) {
            return Some(*known);
        }
        // The record of its beginning was lost.
        let there = |path: String| fs::metadata(path).is_ok();
        let ours = if there(format!("/proc/{pid}/task/{tid}")) {
            true
        } else if there(format!("/proc/{tid}")) {
            false
        } else {
            return None;
        };
        self.threads.insert(tid, ours);
        Some(ours)
    }

    fn hand_one(
        &mut self,
        record: &Record,
        index: u16,
        stack: &mut Vec<u64>,
        sink: &mut dyn FnMut(Hit<'_>),
    ) -> bool {
        match self.is_ours(record.tid) {
            Some(true) => {}
            Some(false) => {
                self.status.foreign += 1;
                return false;
            }
            None => {
                self.status.unattributed += 1;
                return false;
            }
        }
        let index = usize::from(index);
        let Some(active) = self.probes.get_mut(index) else {
            return false;
        };
        let slice = |words: &[u64], at: u32, len: u16| {
            let start = at as usize;
            let end = start.saturating_add(usize::from(len)).min(words.len());
            start..end.max(start.min(end))
        };
        let columns = slice(&self.words, record.at, record.len);
        stack.clear();
        let frames = slice(&self.words, record.stack_at, record.stack_len);
        if let [_, frames @ ..] = self.words.get(frames).unwrap_or_default() {
            stack.extend_from_slice(frames);
        }
        let Some(columns) = self.words.get_mut(columns) else {
            return false;
        };
        let caller = active.plan.caller.and_then(|column| columns.get(column));
        if let (Some(caller), false) = (caller, stack.is_empty())
            && stack.get(1) != Some(caller)
        {
            stack.insert(1, *caller);
        }
        let mut faulted = false;
        for (fetch, way) in active.plan.ways.iter().enumerate() {
            let astray = |column: &usize| columns.get(*column).is_none_or(|at| *at < FIRST_PAGE);
            if way.iter().any(astray) {
                faulted = true;
                if let Some(value) = columns.get_mut(fetch) {
                    *value = 0;
                }
            }
        }
        active.hits += 1;
        self.status.events += 1;
        sink(Hit {
            probe: index,
            t_mono_ns: record.time,
            cpu: record.cpu,
            tid: record.tid,
            values: columns.get(..active.plan.ways.len()).unwrap_or(columns),
            stack,
            faulted,
        });
        true
    }

    /// Counts up to now.
    ///
    /// # Errors
    /// When tracefs does not tell.
    pub fn status(&self) -> Result<Status, UprobeError> {
        let mut status = self.status.clone();
        status.cpus = Vec::with_capacity(self.rings.len());
        for ring in &self.rings {
            let path = ring.path.with_file_name("stats");
            let text = read(&path)?;
            let count = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().parse::<u64>().ok())
            };
            let counts = ["overrun:", "commit overrun:", "dropped events:"].map(count);
            if counts.contains(&None) {
                let path = path.display();
                return Err(UprobeError::Unknown(format!("{path} lacks a count")));
            }
            status.cpus.push(CpuStatus {
                cpu: ring.cpu,
                lost: counts.iter().flatten().sum(),
            });
        }
        status.lost = status.cpus.iter().map(|cpu| cpu.lost).sum();
        let passages = self.passages()?;
        status.probes = self
            .probes
            .iter()
            .zip(passages)
            .map(|(active, passages)| ProbeStatus {
                hits: active.hits,
                passages: passages.unwrap_or(0),
            })
            .collect();
        Ok(status)
    }

    /// The target ended. What is in the rings can still be read.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.target
            .is_some_and(|(pid, start)| start_of(pid).is_ok_and(|found| found != Some(start)))
    }

    /// Takes the probes away, hands on what is left, and removes everything.
    ///
    /// # Errors
    /// When something could not be read or removed; the rest is removed all the same.
    pub fn stop(mut self, sink: &mut dyn FnMut(Hit<'_>)) -> Result<Status, UprobeError> {
        let disabled = put(
            &self
                .instance
                .join("events")
                .join(&self.group)
                .join("enable"),
            "0",
        );
        let mut outcome = disabled;
        loop {
            let (drained, turn) = self.turn();
            let failed = turn.is_err();
            outcome = outcome.and(turn);
            if failed || self.pages == 0 {
                break;
            }
            // A ring that was not read to its end may have older records than others.
            if drained != u64::MAX {
                self.hand_on(drained, sink);
            }
        }
        self.hand_on(u64::MAX, sink);
        let status = self.status();
        let removed = self.remove();
        outcome.and(removed)?;
        status
    }

    fn remove(&mut self) -> Result<(), UprobeError> {
        if !std::mem::take(&mut self.made) {
            return Ok(());
        }
        // An instance whose files are open cannot be removed, nor an event that is enabled.
        self.rings.clear();
        let mut outcome = Ok(());
        if self.instance.exists() {
            outcome = fs::remove_dir(&self.instance).map_err(failed("remove", &self.instance));
        }
        let events = self.root.join("uprobe_events");
        let list = read(&events);
        let group = format!("{}/", self.group);
        for (event, _) in our_events(list.as_deref().unwrap_or_default()) {
            if event.starts_with(&group) {
                let removed = append(&events, &format!("-:{event}\n"));
                outcome = outcome.and(removed.map_err(failed("write", &events)));
            }
        }
        outcome.and(list.map(drop))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// A process that runs the file and is debugged by another one than `own`, and by whom.
fn debugged(file: &fs::Metadata, own: u32) -> Option<(u32, u32)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| (exe.dev(), exe.ino()) == (file.dev(), file.ino()))
        })
        .find_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("TracerPid:"))?;
            let tracer = line.split_whitespace().nth(1)?.parse().ok()?;
            (tracer != 0 && tracer != own).then_some((pid, tracer))
        })
}

fn threads_of(pid: u32) -> Result<Vec<u32>, UprobeError> {
    let folder = PathBuf::from(format!("/proc/{pid}/task"));
    let entries = fs::read_dir(&folder).map_err(|error| match error.kind() {
        ErrorKind::NotFound => UprobeError::NoProcess(pid),
        _ => failed("read", &folder)(error),
    })?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Mapped {
    start: u64,
    len: u64,
    offset: u64,
}

/// The mappings with code of the file that a process runs.
fn executable_maps(maps: &str, link: &str) -> Vec<Mapped> {
    let inode = fs::metadata(link).map(|meta| meta.ino()).ok();
    let name = fs::read_link(link).ok();
    maps.lines()
        .filter_map(|line| {
            // start-end perms offset dev inode path
            let mut fields = line.splitn(6, ' ');
            let (start, end) = fields.next()?.split_once('-')?;
            let code = fields.next()?.contains('x');
            let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
            let of: Option<u64> = fields.nth(1)?.parse().ok();
            let path = fields.next().unwrap_or_default().trim_start();
            let same = of == inode || name.as_deref().is_some_and(|name| name == Path::new(path));
            let start = u64::from_str_radix(start, 16).ok()?;
            let end = u64::from_str_radix(end, 16).ok()?;
            (code && same).then_some(Mapped {
                start,
                len: end.checked_sub(start)?,
                offset,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("gomapscope-12-345-0", '-'), Some((12, 345)));
        assert_eq!(owner("gomapscope_12_345_7", '_'), Some((12, 345)));
        for foreign in [
            "gomapscope",
            "gomapscope-12",
            "gomapscope-12-345",
            "gomapscope-12-345-0-1",
            "gomapscope-x-345-0",
            "gomapscopes-12-345-0",
            "gomapscope12-345-0",
            "perf-12-345-0",
            "",
        ] {
            assert_eq!(owner(foreign, '-'), None, "{foreign}");
        }
        let list = "p:probe_libc/malloc /lib/libc.so.6:0x1000\n\
                    p:gomapscope_12_345_0/p3 /proc/12/fd/4:0x2000 a0=%bx:x64\n\
                    r:gomapscope_12_345_0/p4 /a:0x1\n\
                    p:gomapscope_mine/p0 /a:0x1\n";
        let found: Vec<_> = our_events(list).collect();
        assert_eq!(found, [("gomapscope_12_345_0/p3", (12, 345))]);
    }

    #[test]
    fn the_living_and_the_dead() {
        let own = std::process::id();
        let start = start_of(own).unwrap().unwrap();
        assert!(!is_dead((own, start)));
        assert!(is_dead((own, start + 1)), "its number was used again");
        assert!(is_dead((u32::MAX, 1)));
    }

    fn probe(fetches: &[(&'static str, &[i64], u8)]) -> Probe {
        Probe {
            name: "f".into(),
            file_offset: 0,
            fetches: fetches
                .iter()
                .map(|(register, path, width)| Fetch {
                    register: Register(register),
                    path: path.to_vec(),
                    width: *width,
                })
                .collect(),
            only: None,
            caller: Caller::Bare,
        }
    }

    fn texts(plan: &Plan) -> Vec<String> {
        plan.columns.iter().map(Column::text).collect()
    }

    #[test]
    fn pointers_on_the_way_are_recorded_once() {
        let wanted = probe(&[("bx", &[], 8), ("bx", &[8, -16], 4), ("cx", &[0], 1)]);
        let plan = Plan::of(&wanted, Arch::Amd64, true).unwrap();
        let expected = [
            "%bx:x64",
            "-16(+8(%bx)):x32",
            "+0(%cx):x8",
            "+8(%bx):x64",
            "%cx:x64",
            "+0(%sp):x64",
        ];
        assert_eq!(texts(&plan), expected);
        assert_eq!(plan.ways, [vec![], vec![0, 3], vec![4]]);
        assert_eq!(plan.caller, Some(5));
        let plan = Plan::of(&probe(&[]), Arch::Arm64, true).unwrap();
        assert_eq!(texts(&plan), ["%x30:x64"]);
        let plan = Plan::of(&probe(&[]), Arch::Amd64, false).unwrap();
        assert!(plan.columns.is_empty());
    }

    #[test]
    fn what_the_kernel_would_not_take() {
        let long = [i64::MAX; 4];
        for wrong in [
            probe(&[("bx", &[], 3)]),
            probe(&[("bx", &[], 0)]),
            probe(&[("bx", &long, 8)]),
            probe(&vec![("bx", &[][..], 8); COLUMNS_MAX + 1]),
        ] {
            assert!(Plan::of(&wrong, Arch::Amd64, false).is_err());
        }
    }

    #[test]
    fn mappings_with_code() {
        let own = std::env::current_exe().unwrap();
        let inode = fs::metadata(&own).unwrap().ino();
        let maps = format!(
            "00400000-00401000 r--p 00000000 08:01 {inode} /a\n\
             00401000-00500000 r-xp 00001000 08:01 {inode} /a b\n\
             7f00-7f10 r-xp 00000000 08:01 {} /lib\n\
             nonsense\n",
            inode + 1
        );
        let found = executable_maps(&maps, "/proc/self/exe");
        let expected = Mapped {
            start: 0x40_1000,
            len: 0xf_f000,
            offset: 0x1000,
        };
        assert_eq!(found, [expected]);
    }
}
