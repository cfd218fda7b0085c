"""``go-map-writers``: who is in a map operation, in gdb and of a core without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from .errors import Error

if TYPE_CHECKING:
    from . import _native

COMMAND = "go-map-writers"


def in_gdb(request: _native.Request, style: _native.Style, write: Callable[[str], object]) -> None:
    """Answer for the program being debugged."""
    from . import _native, registers, session

    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    threads, missing = registers.collect(program.binary.arch)
    _native.map_writers(request, target, threads, missing, style, write)


def crash() -> Optional[tuple[str, Optional[str]]]:
    """What ended the program being debugged, if that was a fatal error in a map operation."""
    from . import _native, native, registers, session

    native.require()
    try:
        program = session.find_program()
        session.require_stopped()
        target = session.target(program)
        threads, _ = registers.collect(program.binary.arch)
        return _native.map_crash(target, threads)
    except (Error, _native.Error):
        # A status that cannot be told is no reason to tell nothing.
        return None
