"""The native module: reads executables, walks maps, renders. It never writes to the target."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

__version__: str

class Error(Exception):
    """One user-facing line."""

class Definition(TypedDict):
    """One command, as ``help`` and the README show it."""

    name: str
    summary: str
    help: str
    expression: str
    """``none``, ``one``, ``many``, ``any``, ``file`` or ``files``."""

def definitions() -> list[Definition]:
    """All commands."""

class Request:
    """A parsed command line."""

    @property
    def command(self) -> str: ...
    @property
    def expressions(self) -> list[str]: ...
    @property
    def type_name(self) -> str | None: ...
    @property
    def json(self) -> bool: ...
    @property
    def allow_write(self) -> bool: ...
    @property
    def heat(self) -> bool: ...
    @property
    def output(self) -> str | None: ...
    @property
    def event_files(self) -> list[str]:
        """The files of ``-events``."""
    def check_output(self) -> None:
        """Raise :class:`Error` where that file must not be written."""
    @property
    def scan(self) -> bool: ...
    @property
    def engine(self) -> str: ...
    @property
    def is_busy(self) -> bool: ...

def parse(command: str, argument: str) -> Request:
    """Parse what follows ``command``; raises :class:`Error`."""

def complete(command: str, line: str, word: str) -> list[str] | None:
    """Options or their values at the end of ``line``; ``None``: an expression is next."""

def command_table() -> str:
    """The README's table of commands and options."""

def instrument(
    go: str,
    directory: str,
    *,
    entries: int,
    stacks: bool,
    track_free: bool,
    overlay: str | None,
    force: bool,
) -> str:
    """Write an overlay with the flight recorder; what to tell the user."""

class Style:
    """How text is rendered."""

    def __init__(self, width: int, color: bool, unicode: bool, limit: int) -> None:
        """``limit`` rows unless the command says otherwise; 0 is no limit."""

class Binary:
    """An executable or shared library; headers are read at once, DWARF when needed."""

    def __init__(self, path: str) -> None: ...
    @property
    def path(self) -> str: ...
    @property
    def go_version(self) -> str | None: ...
    @property
    def experiments(self) -> list[str]: ...
    @property
    def arch(self) -> str | None: ...
    @property
    def pointer_size(self) -> int: ...
    @property
    def family(self) -> str | None: ...
    @property
    def is_go(self) -> bool: ...
    @property
    def dwarf(self) -> str | None: ...
    @property
    def entry(self) -> int: ...
    @property
    def pie(self) -> bool: ...
    def symbol(self, name: str) -> int | None:
        """The link-time address of a symbol of ``.symtab``."""
    def variables(self, name: str) -> list[tuple[str, int]]:
        """Variables of ``.symtab`` that ``name`` means, with their link-time addresses."""
    def is_map_type(self, name: str) -> bool:
        """Whether ``name`` is a map type, spelled as in DWARF or as in Go."""
    def map_types(self) -> list[str]: ...

class Target:
    """A program at one stop: its memory behind a cache, and where it was loaded."""

    def __init__(
        self,
        binary: Binary,
        read: Callable[[int, int], Any],
        bias: int,
        kind: str,
        pid: int | None,
        progress: Callable[[str], None] | None,
    ) -> None:
        """``kind``: ``native``, ``core``, ``remote``, or ``file`` when nothing runs."""
    @staticmethod
    def of_core(
        core: str,
        program: str | None,
        again: str,
        progress: Callable[[str], None] | None,
    ) -> tuple[Target, Binary]:
        """A core file read without gdb; its program is looked for where it was.

        ``again`` is how a command names the same core.
        """
    def find(self, expression: str, type_name: str | None) -> Map:
        """The map that an expression leads to, without gdb."""
    def scan_core(
        self,
        request: Request,
        style: Style,
        write: Callable[[str], object],
    ) -> None:
        """Answer ``scan`` for a core."""
    def ring(
        self,
        request: Request,
        found: Map | None,
        style: Style,
        write: Callable[[str], object],
        pid: int | None = None,
    ) -> None:
        """Answer ``ring``; with a map, of that alone.  ``pid``: of a process of this machine."""
    @property
    def has_ring(self) -> bool:
        """Whether the program has a flight recorder, a damaged one included."""
    def invalidate(self, motion: str = "stopped") -> None:
        """Memory may have changed: drop what was read.

        ``motion``: ``stopped``, ``running`` (other threads run on), or ``unknown``.
        """
    @property
    def motion(self) -> str:
        """What :meth:`invalidate` was last told."""
    def map(self, address: int, type_name: str, expression: str) -> Map: ...
    def described_map(
        self, address: int, descriptor: int, inferred: bool, expression: str
    ) -> Map: ...
    def map_type_at(self, address: int) -> tuple[int, str, bool] | None:
        """Descriptor, name, and whether it is an inference: a map's type by its storage.

        None where no map header stands; raises :class:`Error` where there is a map, but
        not one type.
        """
    def map_call(self, pc: int) -> tuple[str, str, str] | None:
        """The runtime's function that begins at ``pc``; the registers of type and map."""
    def function(self, name: str) -> int | None:
        """The address of a function, found without symbols."""
    def scan(
        self,
        request: Request,
        threads: list[tuple[int, dict[str, int]]],
        notes: list[str],
        style: Style,
        write: Callable[[str], object],
    ) -> None:
        """Answer ``go-map-scan``; ``threads`` are registers by gdb's names."""
    def snapshot_scan(
        self,
        request: Request,
        threads: list[tuple[int, dict[str, int]]] | None,
        subject: Subject,
        style: Style,
        write: Callable[[str], object],
    ) -> None:
        """Answer ``go-map-snapshot -scan``; without ``threads`` those of the core."""
    def document_scan(
        self,
        like: Document | None,
        threads: list[tuple[int, dict[str, int]]] | None,
        subject: Subject,
    ) -> Document:
        """All maps as they are now, to compare them with ``like`` if there is one."""
    def trace(
        self,
        request: Request,
        maps: list[tuple[str, Map]],
        engine: str,
        pid: int | None,
        clock: tuple[int, int, int] | None,
    ) -> Trace:
        """Begin a trace of maps, of all if none is named.

        ``clock`` is CLOCK_MONOTONIC, the time of day, and what lay between reading both.
        """
    def is_map_type(self, name: str) -> bool:
        """Whether a map type has this name, by DWARF or the process's type descriptors."""
    def dynamic_type(self, word: int, itab: bool) -> str | None:
        """The DWARF name of the type behind an interface's first word."""

class Map:
    """One map of a target."""

    @property
    def address(self) -> int: ...
    @property
    def type_name(self) -> str: ...
    @property
    def dwarf_key_type(self) -> str: ...
    @property
    def dwarf_elem_type(self) -> str: ...
    @property
    def len(self) -> int: ...
    @property
    def family(self) -> str: ...
    def stats_json(self) -> str: ...
    def buckets_json(self, first: int, limit: int) -> tuple[str, str | None]:
        """Rows, and why they are not certain."""
    def entries(self, first: int, limit: int) -> tuple[list[tuple[str, str, int, int]], str | None]:
        """Rows, and why they are not certain."""

class Subject:
    """What is known of a process besides its memory."""

    def __init__(
        self,
        kind: str,
        *,
        process: tuple[int, int | None] | None = None,
        clocks: tuple[int, int, str | None, int | None] | None = None,
        core: str | None = None,
        missing: list[tuple[str, str]] = ...,
        notes: list[str] = ...,
    ) -> None:
        """``process``: pid, and its start in clock ticks.

        ``clocks``: monotonic and wall in nanoseconds, the boot, and within how many
        nanoseconds both were read.  ``missing``: expressions that could not be
        followed, and why.
        """

class Document:
    """A snapshot, read from a file or made of the present."""

    def __init__(self, path: str) -> None: ...
    @property
    def named(self) -> bool:
        """Whether it has the maps that were asked for, not all."""
    @property
    def wanted(self) -> list[tuple[str, int, str]]:
        """Expressions, the addresses they led to, the types of the maps there."""

def snapshot_maps(
    request: Request,
    target: Target,
    maps: list[Map],
    subject: Subject,
    style: Style,
    write: Callable[[str], object],
) -> None:
    """Answer ``go-map-snapshot`` with these maps."""

def document_maps(
    target: Target, maps: list[Map], like: Document | None, subject: Subject
) -> Document:
    """These maps as they are now, to compare them with ``like``; else bucket by bucket."""

def timeline_ready(request: Request) -> None:
    """Raise where the file of ``-o`` must not or cannot be written."""

def answer_timeline(
    request: Request,
    style: Style,
    progress: Callable[[str], None] | None,
    write: Callable[[str], object],
    *,
    plain: bool = False,
    present: Document | None = None,
    events: list[tuple[str, str]] = ...,
) -> None:
    """Answer ``go-map-timeline``.

    ``plain``: what stands alone names a file.  ``present``: the maps as they are now.
    ``events``: more event files, and what they are called.
    """

def diff(
    request: Request,
    before: Document,
    after: Document,
    live: bool,
    style: Style,
    write: Callable[[str], object],
) -> None:
    """Answer ``go-map-diff``; ``live``: ``after`` is the present."""

class Trace:
    """A running trace: what stops mean, and what the kernel's probes see."""

    def sites(self) -> list[tuple[int, int, bytes, int | None]]:
        """Where to stop: number, address, the code there, rank for a hardware breakpoint."""
    def watches(self) -> list[tuple[int, int, int]]:
        """What to watch: the map's header, address and size of the word."""
    def hit(
        self,
        site: int,
        evaluate: Callable[[str], object],
        thread: int,
        mono: int | None,
        wall: int | None,
        json: bool,
        style: Style | None,
    ) -> tuple[bool, bool, str | None, str | None]:
        """A thread stopped: whether to stop, whether full, the event as JSON and as a line."""
    def changed(
        self,
        header: int,
        evaluate: Callable[[str], object],
        thread: int,
        mono: int | None,
        wall: int | None,
        json: bool,
        style: Style | None,
    ) -> tuple[bool, bool, str | None, str | None]:
        """The watched word of a map was written; the same is returned."""
    def flush(self) -> None:
        """Hand what was recorded to the system."""
    def finish(self, reason: str, cost_ns: int | None, mono: int | None) -> None: ...
    @property
    def ended(self) -> str | None: ...
    def status_json(
        self,
        ended: str | None,
        seconds: float,
        cost_ns: int | None,
        own_ns: int | None,
        problem: str | None,
    ) -> str: ...
    def status_text(
        self,
        ended: str | None,
        seconds: float,
        cost_ns: int | None,
        own_ns: int | None,
        problem: str | None,
        style: Style,
    ) -> str: ...

def run(
    request: Request,
    target: Target | None,
    maps: list[Map],
    style: Style,
    write: Callable[[str], object],
) -> None:
    """Render ``request`` through ``write``; what ``write`` raises passes through."""

def exec_trace(
    path: str,
    style: Style,
    progress: Callable[[str], None] | None,
    write: Callable[[str], object],
    *,
    json: bool = False,
    limit: int | None = None,
    address: int | None = None,
    output: str | None = None,
    force: bool = False,
) -> None:
    """Tell what the execution trace at ``path`` says; ``limit`` 0 lists all."""

def events_report(
    request: Request,
    path: str,
    style: Style,
    progress: Callable[[str], None] | None,
    write: Callable[[str], object],
) -> None:
    """Tell what the event file at ``path`` holds; Ctrl-C ends with what was read."""

def pprof_report(
    sources: list[tuple[str, bytes | None]],
    exe: str | None,
    json: bool,
    raw: bool,
    limit: int | None,
    style: Style,
) -> str:
    """What of profiles is of maps: names with their contents, or files to read.

    ``limit`` below 0 is all rows, ``None`` as many as fit a text.
    """

def pprof_parses(name: str, contents: bytes) -> int:
    """Count the samples of a profile; an :class:`Error` says why it is none."""

def memory_profiles(
    request: Request,
    target: Target,
    threads: list[tuple[int, dict[str, int]]] | None,
    style: Style,
    monotonic: int | None = None,
) -> str:
    """Answer ``go-map-pprof``; ``threads`` as for ``scan``, ``None`` for those of a core.

    ``monotonic`` is CLOCK_MONOTONIC in nanoseconds where the target has the same.
    """

def contention_report(
    sources: Sequence[tuple[str, bytes | None]],
    exe: str | None,
    json: bool,
    limit: int | None,
    style: Style,
) -> str:
    """Which functions wait for locks and work on maps; ``limit`` below 0 is all of them."""

def assumptions_json() -> str:
    """What is assumed of Go's runtime: a JSON list, for the tests and ARCHITECTURE.md."""

def map_writers(
    request: Request,
    target: Target,
    threads: list[tuple[int, dict[str, int]]] | None,
    notes: list[str],
    style: Style,
    write: Callable[[str], object],
) -> None:
    """Answer ``go-map-writers``; ``threads`` as for ``scan``, ``None`` for those of a core."""

def map_crash(
    target: Target, threads: list[tuple[int, dict[str, int]]] | None
) -> tuple[str, str | None] | None:
    """A sentence about the fatal error in a map operation, and what the runtime printed."""
