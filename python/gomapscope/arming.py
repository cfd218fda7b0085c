"""``go-map-trace arm``: the one write to a program, and how it is taken back."""

from __future__ import annotations

import atexit
import json
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import gdb

from . import session
from .errors import Error

if TYPE_CHECKING:
    from . import _native

_VARIABLE = "runtime.debug"
_FIELD = "traceallocfree"
_NAME = f"{_VARIABLE}.{_FIELD}"
_SIZE = 4
_ARM = "go-map-trace arm"


class _Armed(NamedTuple):
    """What stands in a process."""

    pid: int
    address: int
    old: bytes
    new: bytes
    local: bool
    """Whether the process is one of this machine."""
    attached: bool
    """Whether it outlives gdb."""


_armed: dict[int, _Armed] = {}
"""By gdb's number of the inferior."""
_following = False


def run(command: str, request: _native.Request, write: Callable[[str], object]) -> None:
    """Answer ``go-map-trace arm`` and ``go-map-trace disarm``."""
    session.require_stopped()
    if session.kind() == "core":
        raise Error(f"a core does not run: {command} needs a process (run, start or attach PID)")
    answer = _arm(request) if command == _ARM else _disarm()
    if request.json:
        write(json.dumps(answer.facts) + "\n")
    else:
        write(answer.text)


class _Answer(NamedTuple):
    text: str
    facts: dict[str, Any]


def _arm(request: _native.Request) -> _Answer:
    inferior = gdb.selected_inferior()
    byte_order, address = _place()
    old = _read(inferior, address)
    where = f"{address:#x}, {_NAME} of process {inferior.pid}"
    mine = _armed.get(inferior.num)
    if mine is not None and mine.pid == inferior.pid and old == mine.new:
        raise Error("it is armed already: go-map-trace disarm takes it back")
    value = int.from_bytes(old, byte_order, signed=True)
    if value != 0:
        raise Error(f"nothing was written: {_NAME} is {value} already ({where})")
    new = (1).to_bytes(_SIZE, byte_order)
    if not request.allow_write:
        raise Error(
            f"this would write {_SIZE} bytes to {where} ({_hex(old)} to {_hex(new)}): "
            f"{_ARM} -allow-write permits it"
        )
    try:
        inferior.write_memory(address, new)
    except gdb.error as error:
        raise Error(f"nothing was written: {error}") from None
    # Told only if it is so.
    if _read(inferior, address) != new:
        raise Error(f"the write to {where} had no effect")
    session.invalidate()
    local = session.kind() == "native"
    attached = bool(inferior.was_attached) or not local
    _armed[inferior.num] = _Armed(inferior.pid, address, old, new, local, attached)
    _follow()
    text = (
        f"Wrote {_SIZE} bytes at {where}:\n"
        f"  {_hex(old)}  before\n"
        f"  {_hex(new)}  now\n"
        "The next execution trace that the program begins tells allocations and frees;\n"
        "one that is on already does not.  gomapscope trace FILE reads it.\n"
        f"{_hazard()}"
        "\n"
        "Next: continue or detach; go-map-trace disarm puts the old value back.\n"
    )
    return _Answer(text, _facts("armed", inferior.pid, address, old, new))


def _hazard() -> str:
    """What is known to go wrong in the runtime's own tracer then."""
    version = session.find_program().binary.go_version or ""
    if not version.startswith("go1.24"):
        return ""
    return (
        "Go 1.24's own tracer is not safe with it: a program died as such a trace ended,\n"
        "4 times in 1,500, with no debugger there.  go-map-trace disarm takes it back.\n"
    )


def _disarm() -> _Answer:
    inferior = gdb.selected_inferior()
    mine = _armed.get(inferior.num)
    if mine is None or mine.pid != inferior.pid:
        raise Error(f"nothing was armed in this process: {_ARM} -allow-write does that")
    found = _read(inferior, mine.address)
    where = f"{mine.address:#x}, {_NAME} of process {mine.pid}"
    if found != mine.new:
        del _armed[inferior.num]
        raise Error(
            f"nothing was written: {where} holds {_hex(found)} and no longer our {_hex(mine.new)}"
        )
    try:
        inferior.write_memory(mine.address, mine.old)
    except gdb.error as error:
        raise Error(f"nothing was written: {error}") from None
    if _read(inferior, mine.address) != mine.old:
        raise Error(f"the write to {where} had no effect")
    session.invalidate()
    del _armed[inferior.num]
    text = (
        f"Wrote {_SIZE} bytes at {where}:\n"
        f"  {_hex(mine.new)}  before\n"
        f"  {_hex(mine.old)}  now, as it was\n"
    )
    return _Answer(text, _facts("disarmed", mine.pid, mine.address, mine.new, mine.old))


def _facts(state: str, pid: int, address: int, old: bytes, new: bytes) -> dict[str, Any]:
    return {
        "schema": "gomapscope.arm/1",
        "state": state,
        "variable": _NAME,
        "pid": pid,
        "address": f"{address:#x}",
        "old": old.hex(),
        "new": new.hex(),
    }


def _hex(data: bytes) -> str:
    return data.hex(" ")


def _read(inferior: gdb.Inferior, address: int) -> bytes:
    try:
        return bytes(inferior.read_memory(address, _SIZE))
    except gdb.error as error:
        raise Error(f"{_NAME} at {address:#x} cannot be read: {error}") from None


def _place() -> tuple[Any, int]:
    """The byte order, and where the variable's value lies: as the program's DWARF says."""
    session.find_program()
    symbol = gdb.lookup_global_symbol(_VARIABLE) or gdb.lookup_static_symbol(_VARIABLE)
    if symbol is None or symbol.type is None:
        raise Error(
            f"{_NAME} is not found: the program has no debug information (it was linked with -w "
            "or stripped), and without that nothing is written"
        )
    offset, inner = _field(symbol.type, _FIELD) or (0, None)
    if inner is None:
        raise Error(f"this program's Go has no {_FIELD}: it needs Go 1.23 or later")
    base = symbol.value().address
    # An atomic.Int32: a struct whose value field holds it.
    if inner.code == gdb.TYPE_CODE_STRUCT:
        within, inner = _field(inner, "value") or (0, inner)
        offset += within
    if base is None or inner.code != gdb.TYPE_CODE_INT or inner.sizeof != _SIZE or offset % 8:
        raise Error(f"{_NAME} is not what this gomapscope knows: nothing is written")
    little = "little endian" in gdb.execute("show endian", to_string=True)
    return ("little" if little else "big"), int(base) + offset // 8


def _field(of: gdb.Type, name: str) -> Optional[tuple[int, gdb.Type]]:
    """Where a field begins, in bits, and its type."""
    for field in of.strip_typedefs().fields():
        if field.name == name and field.type is not None and isinstance(field.bitpos, int):
            return field.bitpos, field.type.strip_typedefs()
    return None


def _left(number: Optional[int], why: str) -> None:
    """Say of which processes the write stands still."""
    for key in [key for key in _armed if number is None or key == number]:
        armed = _armed.pop(key)
        if armed.local and not _runs(armed.pid):
            # What was written is gone with the process.
            continue
        text = (
            f"{_ARM}: {why}; {_NAME} of process {armed.pid} keeps the value that was written at "
            f"{armed.address:#x} ({_hex(armed.new)}, before: {_hex(armed.old)})"
        )
        gdb.write(textwrap.fill(text, 79, subsequent_indent="  ") + "\n", gdb.STDERR)


def _runs(pid: int) -> bool:
    """Whether a process of this machine is there and has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(") ")[2][:1] not in ("Z", "X", "")
    except OSError:
        return False


def _quits() -> None:
    # gdb kills what it started itself.
    for number in [number for number, armed in _armed.items() if not armed.attached]:
        del _armed[number]
    _left(None, "gdb quits")


def _exited(event: Any) -> None:
    if getattr(event, "exit_code", None) is not None:
        _armed.pop(event.inferior.num, None)
        return
    _left(event.inferior.num, "detached")


def _follow() -> None:
    """Follow gdb's events: who leaves a program armed is told so."""
    global _following
    if _following:
        return
    _following = True
    events: Any = gdb.events
    events.exited.connect(_exited)
    # gdb before 12 has no such event.
    exiting = getattr(events, "gdb_exiting", None)
    if exiting is not None:
        exiting.connect(lambda _event: _quits())
    atexit.register(_quits)
