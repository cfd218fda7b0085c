"""Traces: breakpoints and watchpoints that hand what they see to the native recorder.

gdb decides here when to stop and whether to go on; what a stop means is known in Rust alone.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Optional

import gdb

from . import expression, session, snapshots, terminal
from .errors import Error, one_line

if TYPE_CHECKING:
    from . import _native

#: x86 has four debug registers, and so has what gdb takes of arm64's.
_WATCHES = 4

_active: list[Trace] = []
_last: list[Trace] = []
_following = False

# A step between two hits that took gdb longer than this was no step of the trace.
_IDLE_NS = 50_000_000


class _Guard:
    """Takes the traps out of a process that outlives a killed gdb.

    gdb leaves them behind only if it had no chance to clean up (SIGKILL), and then a program
    it was attached to would die of the first.  A shell waits for the end of a pipe that gdb
    holds, and puts back the code that the executable has there.  Debug registers it cannot
    reach: another gdb, which attaches and detaches, clears them.  What the program does in the
    meantime, some tenths of a second, is its own risk.
    """

    _SCRIPT = """
read answer && exit
pid=$1; born=$2; gdb=$3; shift 3
[ "$(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f20)" = "$born" ] || exit
for place; do
  address=${place%%:*}; rest=${place#*:}; trap=${rest%%:*}; code=${rest#*:}
  count=$((${#trap} / 2))
  found=$(dd if=/proc/$pid/mem bs=1 skip=$address count=$count 2>/dev/null |
    od -An -tx1 | tr -d ' \\n')
  [ "$found" = "$trap" ] || continue
  bytes=
  while [ -n "$code" ]; do
    bytes="$bytes\\\\$(printf %03o 0x${code%"${code#??}"})"; code=${code#??}
  done
  printf "$bytes" | dd of=/proc/$pid/mem bs=1 seek=$address conv=notrunc 2>/dev/null
done
# What was set by another gdb is cleared only by one that sets something itself.
[ -z "$gdb" ] || "$gdb" -nx -batch -iex 'set auto-load no' -p $pid \
  -ex 'set confirm off' -ex 'set breakpoint always-inserted on' \
  -ex 'hbreak *1' -ex delete -ex detach </dev/null
"""

    def __init__(self, pid: int, traps: list[tuple[int, bytes]], arch: str, hardware: bool) -> None:
        trap = "cc" if arch == "amd64" else "000020d4"
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
                born = stream.read().rsplit(") ", 1)[1].split()[19]
            own = os.readlink("/proc/self/exe") if hardware else ""
            places = [f"{address}:{trap}:{code[: len(trap) // 2].hex()}" for address, code in traps]
            self._shell: Optional[subprocess.Popen[bytes]] = subprocess.Popen(
                ["/bin/sh", "-c", self._SCRIPT, "sh", str(pid), born, own, *places],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, IndexError):
            self._shell = None

    def dismiss(self) -> None:
        """Nothing is left to clean up."""
        if self._shell is None or self._shell.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._shell.stdin.write(b"done\n")
            self._shell.stdin.close()
        # gdb may have taken the exit status of its child.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._shell.wait(5)
        self._shell = None


class _Site(gdb.Breakpoint):
    """One instruction of the runtime."""

    def __init__(self, trace: Trace, number: int, address: int, hardware: bool) -> None:
        kind = gdb.BP_HARDWARE_BREAKPOINT if hardware else gdb.BP_BREAKPOINT
        super().__init__(f"*{address:#x}", kind, internal=True)
        self.silent = True
        self._trace = trace
        self._number = number

    def stop(self) -> bool:
        """Whether gdb is to stop here."""
        return self._trace._hit(self._trace._native.hit, self._number)


class _Watch(gdb.Breakpoint):
    """The word of a header that changes with the map's storage."""

    def __init__(self, trace: Trace, address: int, size: int, header: int) -> None:
        kind = "unsigned long" if size == 8 else "unsigned int"
        super().__init__(
            f"*({kind} *) {address:#x}",
            gdb.BP_WATCHPOINT,
            wp_class=gdb.WP_WRITE,
            internal=True,
        )
        self._trace = trace
        self._header = header

    def stop(self) -> bool:
        """Whether gdb is to stop here."""
        return self._trace._hit(self._trace._native.changed, self._header)


class Trace:
    """A trace by breakpoints, watchpoints or the kernel's probes.

    Made by :func:`gomapscope.trace` and ``go-map-trace start``.
    """

    def __init__(
        self,
        request: _native.Request,
        maps: list[tuple[str, _native.Map]],
        callback: Optional[Callable[[Any], Any]] = None,
        *,
        show: bool = False,
    ) -> None:
        program = session.find_program()
        inferior = gdb.selected_inferior()
        where = session.kind()
        self._callback = callback
        self._show = show
        self._json = request.json
        self.output = request.output
        """The event file, if there is one."""
        self._notices: list[str] = []
        self._interrupted = False
        self._ended: Optional[str] = None
        self._points: list[gdb.Breakpoint] = []
        self._guard: Optional[_Guard] = None
        self._pid = inferior.pid
        self._inferior = inferior.num
        self._local = where == "native"
        self._hits = 0
        self._own_ns = 0
        self._steps = 0
        self._step_ns = 0
        self._mark: Optional[tuple[int, int]] = None
        self._problem: Optional[str] = None
        self._style = terminal.style(False)
        self._target = session.target(program)
        self.engine, self._native = self._open(request, maps)
        """``break``, ``watch`` or ``uprobe``."""
        self._started = time.monotonic()
        try:
            if self.engine == "break":
                self._break(program.binary.arch or "")
            elif self.engine == "watch":
                self._watch(program.binary.arch or "")
        except BaseException:
            self._remove()
            with contextlib.suppress(Exception):
                self._native.finish("failed", None, None)
            raise
        _active.append(self)

    def _open(
        self, request: _native.Request, maps: list[tuple[str, _native.Map]]
    ) -> tuple[str, _native.Trace]:
        """The engine that is wanted, or fits."""
        from . import _native

        engine = request.engine
        if any(other.engine == "uprobe" for other in _active):
            # Two traps at one instruction would put each other back.
            raise Error("kernel probes are on: stop that trace first")
        if engine == "uprobe" and any(other.engine == "break" for other in _active):
            raise Error("a trace by breakpoints is on: stop it first")
        if engine == "watch":
            if not maps:
                raise Error("watchpoints need maps: name at most 4, or use -engine break")
            if len(maps) > _WATCHES:
                raise Error(
                    f"the hardware watches {_WATCHES} maps, not {len(maps)}: use -engine break"
                )
            if request.is_busy:
                raise Error("watchpoints see growths only: use -engine break, or uprobe as root")
        if engine == "uprobe" and self._callback is not None:
            raise Error("a callback needs gdb's own stops: use the engine break")
        request.check_output()
        pid = self._pid if self._local else None
        clock = snapshots.clocks() if self._local else None
        if engine == "auto" and request.is_busy and self._local and self._callback is None:
            # A hundred times cheaper, where the kernel lets us.
            try:
                with _signals_elsewhere():
                    return "uprobe", self._target.trace(request, maps, "uprobe", pid, clock)
            except _native.Error as refused:
                self._notice(f"No kernel probes: {refused}.")
        engine = "break" if engine == "auto" else engine
        if request.is_busy and engine == "break":
            self._notice(
                "Each write will stop the program for 0.15 to 0.25 ms: at a busy map it runs "
                "some 1,000 times slower."
            )
        with _signals_elsewhere():
            return engine, self._target.trace(request, maps, engine, pid, clock)

    def _notice(self, sentence: str) -> None:
        self._notices.append(sentence)
        # What gdb's pipe hands on holds its stderr as well: nothing may stand beside the JSON.
        if self._callback is None and not self._json:
            gdb.write(sentence + "\n", gdb.STDERR)

    def _break(self, arch: str) -> None:
        sites = self._native.sites()
        # A signal that comes while a thread stands at a breakpoint makes gdb stop there once
        # more, unless it is one of the hardware's.
        free = _WATCHES - 1 - _in_hardware() if self._local else 0
        ranked = sorted((rank, number) for number, _, _, rank in sites if rank is not None)
        hardware = {number for _, number in ranked[: max(free, 0)]}
        self._protect(
            [(address, code) for number, address, code, _ in sites if number not in hardware],
            arch,
            bool(hardware),
        )
        for number, address, _, _ in sites:
            self._points.append(_Site(self, number, address, number in hardware))

    def _protect(self, traps: list[tuple[int, bytes]], arch: str, hardware: bool) -> None:
        """Have traps removed if gdb is killed; what gdb started dies with it anyway."""
        if self._local and gdb.selected_inferior().was_attached:
            self._guard = _Guard(self._pid, traps, arch, hardware)

    def _watch(self, arch: str) -> None:
        self._protect([], arch, True)
        language = gdb.parameter("language")
        # "unsigned long" is no type in gdb's Go, and stripped programs have none at all.
        gdb.execute("set language c", to_string=True)
        try:
            for header, address, size in self._native.watches():
                point = _Watch(self, address, size, header)
                self._points.append(point)
                if point.type != gdb.BP_HARDWARE_WATCHPOINT:
                    raise Error(
                        "there is no hardware watchpoint to be had (all in use, or `set "
                        "can-use-hw-watchpoints' is 0): use -engine break"
                    )
        finally:
            gdb.execute(f"set language {language}", to_string=True)

    def _hit(self, record: Callable[..., Any], which: int) -> bool:
        """Record one hit.  Nothing may leave this: gdb would stop, and show a traceback."""
        begin = time.perf_counter_ns()
        if self._ended is not None:
            return False
        cpu = time.process_time_ns()
        if self._mark is not None and begin - self._mark[0] < _IDLE_NS:
            self._steps += 1
            self._step_ns += cpu - self._mark[1]
        stop = False
        try:
            thread = gdb.selected_thread()
            wall = time.time_ns()
            mono = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if self._local else None
            interrupted, full, event, line = record(
                which,
                gdb.parse_and_eval,
                thread.ptid[1] or thread.ptid[0],
                mono,
                wall,
                self._callback is not None,
                self._style if self._show else None,
            )
            stop = bool(interrupted)
            if line is not None:
                gdb.write(line)
            if event is not None and self._callback is not None:
                from . import api

                stop = bool(self._callback(api.event_of(json.loads(event)))) or stop
            if full:
                # Breakpoints cannot be deleted in the middle of a stop.
                gdb.post_event(self._full)
        except Exception as error:
            self._fail(error)
        self._hits += 1
        end = time.perf_counter_ns()
        self._own_ns += end - begin
        self._mark = (end, time.process_time_ns())
        return stop

    def _full(self) -> None:
        self.stop("-max reached")
        if self._show:
            gdb.write("go-map-trace: -max reached, the trace is ended; the program goes on.\n")

    def _fail(self, error: Exception) -> None:
        """Keep the first problem for the status; a callback's is the user's to see."""
        if self._problem is None:
            self._problem = f"{type(error).__name__}: {one_line(error)}"
            gdb.write(f"go-map-trace: {self._problem}\n", gdb.STDERR)

    @property
    def active(self) -> bool:
        """Whether it records still."""
        return self._ended is None

    def stop(self, reason: str = "stop") -> None:
        """End it: all breakpoints and probes are removed, the file is closed."""
        if self._ended is not None:
            return
        self._ended = reason
        if self in _active:
            _active.remove(self)
        _last[:] = [self]
        self._remove()
        self._seconds = time.monotonic() - self._started
        mono = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if self._local else None
        self._native.finish(reason, self._cost()[0], mono)
        # Probes may have ended before, and then not because of what ends now.
        self._ended = self._native.ended or reason

    def _remove(self) -> None:
        for point in self._points:
            with contextlib.suppress(RuntimeError, gdb.error):
                if point.is_valid():
                    point.delete()
        self._points.clear()
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def _cost(self) -> tuple[Optional[int], Optional[int]]:
        """What a hit costs, and the part of it spent in gomapscope, in nanoseconds."""
        if not self._hits:
            return None, None
        own = self._own_ns // self._hits
        return (self._step_ns // self._steps + own if self._steps else None), own

    def _figures(
        self,
    ) -> tuple[Optional[str], float, Optional[int], Optional[int], Optional[str]]:
        cost, own = self._cost()
        ended = self._native.ended
        if ended is not None:
            self.stop(ended)
        seconds = time.monotonic() - self._started if self.active else self._seconds
        return self._ended, seconds, cost, own, self._problem

    def status(self) -> dict[str, Any]:
        """The document of ``go-map-trace status -json``."""
        document: dict[str, Any] = json.loads(self._native.status_json(*self._figures()))
        document["notes"] = [*self._notices, *document.get("notes", ())]
        return document

    def status_text(self, style: _native.Style) -> str:
        """What ``go-map-trace status`` prints."""
        return self._native.status_text(*self._figures(), style)

    def __repr__(self) -> str:
        return f"<gomapscope.Trace by {self.engine}, {self._ended or 'active'}>"


@contextlib.contextmanager
def _signals_elsewhere() -> Iterator[None]:
    """Have threads that begin in here leave all signals to gdb's own thread.

    There gdb waits for them, for SIGCHLD above all (its manual, "Basic Python").
    """
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_hardware() -> int:
    """Debug registers that the user's own breakpoints and watchpoints need."""
    kinds = (
        gdb.BP_HARDWARE_BREAKPOINT,
        gdb.BP_HARDWARE_WATCHPOINT,
        gdb.BP_READ_WATCHPOINT,
        gdb.BP_ACCESS_WATCHPOINT,
    )
    return sum(1 for point in gdb.breakpoints() if point.enabled and point.type in kinds)


def begin(
    request: _native.Request,
    maps: list[tuple[str, _native.Map]],
    callback: Optional[Callable[[Any], Any]] = None,
    *,
    show: bool = False,
) -> Trace:
    """Begin a trace as ``request``, a ``go-map-trace start``, wants it."""
    session.require_stopped()
    if session.kind() == "core":
        raise Error("a core does not run: go-map-trace needs a process (run, start or attach PID)")
    for text, found in maps:
        if not found.address:
            raise Error(f"{text} is nil: there is no map to trace yet")
    _follow()
    return Trace(request, maps, callback, show=show)


def files() -> list[str]:
    """Event files of the traces that are on, or of the last that was."""
    for trace in _active:
        trace._native.flush()
    return [trace.output for trace in _active or _last if trace.output]


def _named(request: _native.Request) -> list[tuple[str, _native.Map]]:
    """The maps of a command line."""
    session.require_stopped()
    return [
        (text, expression.locate(text, request.type_name).open()[1]) for text in request.expressions
    ]


def run(command: str, request: _native.Request, write: Callable[[str], object]) -> None:
    """Answer ``go-map-trace`` and its ``start``, ``status`` and ``stop``."""
    word = command.partition(" ")[2]
    style = terminal.style(False)
    if word == "start":
        if _active:
            raise Error("a trace is on already: go-map-trace stop ends it")
        show = request.output is None and not request.json
        found = [begin(request, _named(request), show=show)]
    elif word == "stop":
        found = list(_active)
        if not found:
            raise Error("no trace is on: go-map-trace start begins one")
        for trace in found:
            trace.stop()
    else:
        found = _active or _last
        if not found:
            raise Error("no trace is on: go-map-trace start begins one")
    for trace in found:
        if request.json:
            write(json.dumps(trace.status()) + "\n")
        else:
            write(trace.status_text(style))


def _end(number: Optional[int], reason: str) -> None:
    for trace in list(_active):
        if number is None or trace._inferior == number:
            try:
                trace.stop(reason)
            except Exception as error:
                gdb.write(f"go-map-trace: {one_line(error)}\n", gdb.STDERR)


def _exited(event: Any) -> None:
    code = getattr(event, "exit_code", None)
    reason = "the program was killed or detached" if code is None else f"exit status {code}"
    _end(event.inferior.num, reason)


def _program_changed(event: Any) -> None:
    """Another program runs now (exec), where our addresses mean other code."""
    space = getattr(event, "progspace", None)
    inferior = gdb.selected_inferior()
    if space is None or inferior.progspace == space:
        _end(inferior.num, "another program was loaded")


def _follow() -> None:
    """Follow gdb's events: a trace ends with its process, and with gdb."""
    global _following
    if _following:
        return
    _following = True
    events: Any = gdb.events
    events.exited.connect(_exited)
    events.clear_objfiles.connect(_program_changed)
    # gdb before 12 has no such event.
    exiting = getattr(events, "gdb_exiting", None)
    if exiting is not None:
        exiting.connect(lambda _event: _end(None, "gdb quits"))
    atexit.register(lambda: _end(None, "gdb quits"))
