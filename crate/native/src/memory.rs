//! The target's memory, read through gdb.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use gomapscope_core::memory::{CoreFile, Memory, ReadError};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::ffi::with_bytes;

/// Progress is shown after this long, and then this often.
const QUIET: Duration = Duration::from_millis(1000);
const EVERY: Duration = Duration::from_millis(200);

/// Shared with the target, so that a call can begin afresh.
#[derive(Default)]
pub(crate) struct Pace {
    interrupted: Cell<bool>,
    started: Cell<Option<Instant>>,
    shown: Cell<Option<Instant>>,
    progress: RefCell<Option<Py<PyAny>>>,
}

impl Pace {
    pub(crate) fn new(progress: Option<Py<PyAny>>) -> Self {
        Self {
            progress: RefCell::new(progress),
            ..Self::default()
        }
    }

    /// A new call from Python begins.
    pub(crate) fn begin(&self) {
        self.interrupted.set(false);
        self.started.set(Some(Instant::now()));
        self.shown.set(None);
    }

    /// Whether the user ended the call.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.get()
    }

    /// The call ends: the progress line, if one was shown, is cleared.
    pub(crate) fn end(&self, py: Python<'_>) {
        if self.shown.take().is_some() {
            self.show(py, "");
        }
    }

    /// Whether the user pressed Ctrl-C. Once true, it stays so for this call.
    fn poll(&self, py: Python<'_>) -> Result<(), ReadError> {
        if !self.interrupted.get() && py.check_signals().is_err() {
            self.interrupted.set(true);
        }
        if self.interrupted.get() {
            Err(ReadError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Looks for Ctrl-C, and shows progress when it is time to.
    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.look(|since| {
            if total > 0 {
                let percent = (done as f64 / total as f64 * 100.0).min(100.0);
                let size = gomapscope_core::report::size(total);
                format!("walking: {percent:.0} % of {size} (Ctrl-C ends)")
            } else {
                // How much there is to do is not known.
                format!("searching: {} s (Ctrl-C ends)", since.as_secs())
            }
        })
    }

    /// The same while an event file is read; whether to go on.
    pub(crate) fn reading(&self, events: u64) -> bool {
        let events = gomapscope_core::report::thousands(events);
        self.look(|_| format!("reading: {events} events (Ctrl-C ends)"))
            .is_ok()
    }

    /// The same while files of several kinds are read.
    pub(crate) fn reading_files(&self) -> bool {
        self.look(|since| format!("reading: {} s (Ctrl-C ends)", since.as_secs()))
            .is_ok()
    }

    /// The same while a file of known units is read.
    pub(crate) fn reading_bytes(&self, bytes: u64) -> bool {
        let bytes = gomapscope_core::report::size(bytes);
        self.look(|_| format!("reading: {bytes} (Ctrl-C ends)"))
            .is_ok()
    }

    fn look(&self, text: impl Fn(Duration) -> String) -> Result<(), ReadError> {
        Python::attach(|py| {
            self.poll(py)?;
            let now = Instant::now();
            let late = |since: Option<Instant>, after| {
                since.is_some_and(|since| now.duration_since(since) >= after)
            };
            let due = match self.shown.get() {
                None => late(self.started.get(), QUIET),
                shown => late(shown, EVERY),
            };
            if due {
                self.shown.set(Some(now));
                let since = self.started.get().map_or(Duration::ZERO, |at| now - at);
                self.show(py, &text(since));
            }
            Ok(())
        })
    }

    fn show(&self, py: Python<'_>, text: &str) {
        if let Some(progress) = self.progress.borrow().as_ref()
            && progress.call1(py, (text,)).is_err()
        {
            // Progress is a courtesy: a failing one is not asked again.
            self.shown.set(None);
        }
    }
}

/// Calls Python's `read(address, length)`.
pub(crate) struct GdbMemory {
    read: Py<PyAny>,
    pace: std::rc::Rc<Pace>,
}

impl GdbMemory {
    pub(crate) fn new(read: Py<PyAny>, pace: std::rc::Rc<Pace>) -> Self {
        Self { read, pace }
    }
}

impl Memory for GdbMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.lend(address, buffer.len(), &mut Vec::new(), &mut |bytes| {
            buffer.copy_from_slice(bytes);
        })
    }

    fn lend(
        &self,
        address: u64,
        len: usize,
        _: &mut Vec<u8>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        Python::attach(|py| {
            self.pace.poll(py)?;
            match self.read.bind(py).call1((address, len)) {
                Ok(object) => {
                    let lent = with_bytes(&object, |bytes| {
                        let whole = bytes.len() == len;
                        if whole {
                            visit(bytes);
                        }
                        whole
                    });
                    if lent.is_ok_and(|whole| whole) {
                        Ok(())
                    } else {
                        Err(ReadError::fault(address, len))
                    }
                }
                Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
                    self.pace.interrupted.set(true);
                    Err(ReadError::Interrupted)
                }
                Err(_) => Err(ReadError::fault(address, len)),
            }
        })
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.pace.checkpoint(done, total)
    }
}

/// A core file as it lies on disk, without gdb.
pub(crate) struct CoreMemory {
    file: CoreFile,
    pace: std::rc::Rc<Pace>,
}

impl CoreMemory {
    pub(crate) fn new(file: CoreFile, pace: std::rc::Rc<Pace>) -> Self {
        Self { file, pace }
    }
}

impl Memory for CoreMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.file.read(address, buffer)
    }

    fn checkpoint(&self, done: u64, total: u64) -> Result<(), ReadError> {
        self.pace.checkpoint(done, total)
    }
}
