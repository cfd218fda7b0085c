"""Snapshots in gdb: what is known of the target besides its memory, and the present."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gdb

from . import expression, registers, session
from .errors import Error

if TYPE_CHECKING:
    from . import _native

_BOOT = "/proc/sys/kernel/random/boot_id"


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.readline().strip() or None
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """When a process began: field 22 of its stat (proc(5)), in clock ticks."""
    line = _first_line(f"/proc/{pid}/stat")
    # The name stands in parentheses and may hold anything.
    fields = line.rpartition(")")[2].split() if line else []
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None


def _our_time(pid: int) -> bool:
    """Whether a process has our clocks: a time namespace may shift the monotonic one."""
    try:
        return os.readlink(f"/proc/{pid}/ns/time") == os.readlink("/proc/self/ns/time")
    except OSError:
        # Before Linux 5.6 there is one time for all.
        return not os.path.exists("/proc/self/ns/time")


def local_pid() -> int | None:
    """The process, where it runs on this machine and has its clocks."""
    pid = gdb.selected_inferior().pid
    return pid if session.kind() == "native" and pid and _our_time(pid) else None


def clocks() -> tuple[int, int, int]:
    """CLOCK_MONOTONIC, the time of day, and within how many nanoseconds they were read."""
    best: tuple[int, int, int] | None = None
    for _ in range(5):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if best is None or after - before < best[2]:
            best = ((before + after) // 2, wall, after - before)
    assert best is not None
    return best


def monotonic() -> int | None:
    """CLOCK_MONOTONIC in nanoseconds, of a process on this machine that has our clocks."""
    return None if local_pid() is None else time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def subject(
    missing: list[tuple[str, str]] | None = None, notes: list[str] | None = None
) -> _native.Subject:
    """Who is looked at, and when by its own clocks."""
    from . import _native

    kind = session.kind()
    pid = gdb.selected_inferior().pid
    process, taken, core = None, None, None
    if kind == "native" and pid:
        process = (pid, _started(pid))
        if _our_time(pid):
            monotonic, wall, error = clocks()
            taken = (monotonic, wall, _first_line(_BOOT), error)
    elif kind == "core":
        core = _core_file()
    return _native.Subject(
        kind, process=process, clocks=taken, core=core, missing=missing or [], notes=notes or []
    )


def _core_file() -> str | None:
    """The core that gdb looks at; gdb 13 tells its name in a listing only."""
    try:
        listing = session.console("info files")
    except gdb.error:
        return None
    _, found, rest = listing.partition("core dump file:")
    quoted = rest.split("', file type")[0].strip() if found else ""
    return quoted[1:] if quoted[:1] in ("`", "'") else None


def save(request: _native.Request, style: _native.Style, write: Callable[[str], object]) -> None:
    """Answer ``go-map-snapshot``."""
    from . import _native

    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    if request.scan:
        threads, notes = registers.collect(program.binary.arch)
        target.snapshot_scan(request, threads, subject(notes=notes), style, write)
        return
    maps = []
    for text in request.expressions:
        target, found = expression.locate(text, request.type_name).open()
        maps.append(found)
    _native.snapshot_maps(request, target, maps, subject(), style, write)


def compare(request: _native.Request, style: _native.Style, write: Callable[[str], object]) -> None:
    """Answer ``go-map-diff``."""
    from . import _native

    before, *rest = (_native.Document(path) for path in request.expressions)
    after = rest[0] if rest else present(before)
    _native.diff(request, before, after, not rest, style, write)


def present(like: _native.Document) -> _native.Document:
    """The maps of ``like`` as they are now."""
    from . import _native

    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    if not like.named:
        threads, notes = registers.collect(program.binary.arch)
        return target.document_scan(like, threads, subject(notes=notes))
    maps, missing = [], []
    for text, _address, type_name in like.wanted:
        try:
            target, found = _locate(text, type_name).open()
        except (Error, _native.Error) as error:
            missing.append((text, str(error)))
            continue
        maps.append(found)
    return _native.document_maps(target, maps, like, subject(missing))


def now(request: _native.Request) -> tuple[_native.Target, _native.Document]:
    """A document of the maps that are named, or of all, as they are now."""
    from . import _native

    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    if not request.expressions:
        threads, notes = registers.collect(program.binary.arch)
        return target, target.document_scan(None, threads, subject(notes=notes))
    maps = []
    for text in request.expressions:
        target, found = expression.locate(text, request.type_name).open()
        maps.append(found)
    return target, _native.document_maps(target, maps, None, subject())


def _locate(text: str, type_name: str) -> expression.Located:
    try:
        return expression.locate(text)
    except Error:
        if not type_name:
            raise
        # An address whose type was given.
        return expression.locate(text, type_name)
