"""From gdb's state to a native ``Target``: which program, where it was loaded, how to read it.

One target is kept per program, process and load address, and told to forget memory whenever
it may have changed.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from .errors import Error, one_line
from .terminal import progress

if TYPE_CHECKING:
    from . import _native

# Present in every Go binary that has a symbol table, at a fixed place of its text.
_TEXT_SYMBOL = "runtime.text"
# How much of the entry point's code tells one program from another.
_ENTRY_BYTES = 32

_binaries: dict[tuple[str, int, int], _native.Binary] = {}
_targets: dict[tuple[int, str, int, int, int, int, str], _native.Target] = {}
_biases: dict[tuple[int, str, int, str], int] = {}
_endings: dict[int, str] = {}
# How many processes each inferior has had so far that are gone.
_lives: dict[int, int] = {}


class Life(NamedTuple):
    """One process of an inferior, told from those that it has before and later."""

    inferior: int
    number: int


def life() -> Life:
    """The selected inferior's, or the one that it will have next."""
    number = gdb.selected_inferior().num
    return Life(number, _lives.get(number, 0))


def is_over(known: Life) -> bool:
    """Whether that process is gone: what was found of it is not of the one that is there now."""
    return _lives.get(known.inferior, 0) != known.number


def require(known: Life) -> None:
    """Raise :class:`Error` where that process is gone."""
    if not is_over(known):
        return
    if gdb.selected_inferior().threads():
        raise Error("the process that was looked at is gone and another one there: repeat it")
    raise Error("the process that was looked at is gone, and its maps with it")


class Program(NamedTuple):
    """A Go executable or shared library that gdb has loaded."""

    binary: _native.Binary
    path: str
    objfile: gdb.Objfile | None


def _local_path(name: str) -> str | None:
    """A file of that name that can be opened here."""
    if name.startswith("target:"):
        name = name[len("target:") :]
        inferior = gdb.selected_inferior()
        # The remote's file of the same name may be another one.
        if inferior.pid and kind() not in ("native", "file"):
            return None
    if os.path.isfile(name):
        return name
    pid = gdb.selected_inferior().pid
    if pid and kind() == "native":
        running = f"/proc/{pid}/exe"
        try:
            if os.readlink(running).startswith(name.removesuffix(" (deleted)")):
                return running
        except OSError:
            pass
    return None


def _binary(path: str) -> _native.Binary | None:
    """The parsed file, or None where it is no executable that we can read."""
    from . import _native

    status = os.stat(path)
    key = (path, status.st_mtime_ns, status.st_ino)
    known = _binaries.get(key)
    if known is None:
        try:
            known = _native.Binary(path)
        except _native.Error:
            return None
        if len(_binaries) > 64:
            _binaries.clear()
        _binaries[key] = known
    return known


def _main_file() -> str | None:
    """The file of `file' and `exec-file'."""
    space = gdb.current_progspace()
    return space.filename if space is not None else None


def _candidates(preferred: gdb.Objfile | None) -> list[tuple[str, gdb.Objfile | None]]:
    main = _main_file()
    objfiles = [
        entry
        for entry in gdb.objfiles()
        # The kernel's vDSO is an objfile without a file.
        if entry.filename and not entry.owner and not entry.filename.startswith("system-supplied")
    ]
    ranked: list[tuple[str, gdb.Objfile | None]] = []
    if preferred is not None:
        # A separate debug file belongs to the executable that was loaded.
        preferred = preferred.owner or preferred
        if preferred.filename:
            ranked.append((preferred.filename, preferred))
    if main:
        same = [entry for entry in objfiles if entry.filename == main]
        ranked.append((main, same[0] if same else None))
    ranked += [(str(entry.filename), entry) for entry in objfiles if entry.filename != main]
    return ranked


def find_program(preferred: gdb.Objfile | None = None) -> Program:
    """The Go program that ``preferred`` is, or else the one being debugged."""
    seen: set[str] = set()
    first: str | None = None
    for name, objfile in _candidates(preferred):
        if name in seen:
            continue
        seen.add(name)
        if first is None:
            first = name
        path = _local_path(name)
        if path is None:
            continue
        binary = _binary(path)
        if binary is not None and binary.is_go:
            return Program(binary, path, objfile)
    raise Error(_no_program(first))


def _no_program(name: str | None) -> str:
    if name is None:
        if gdb.selected_inferior().threads():
            return "gdb does not know the program's file: name it with `file PATH'"
        return "no program is loaded: start gdb with a Go program, or use file, attach or core-file"
    if _local_path(name) is None:
        return f"{name} cannot be read here: name a local copy of the program with `file PATH'"
    return f"{name} is not a Go program (it holds no Go build information)"


def kind() -> str:
    """Where memory comes from: ``native``, ``core``, ``remote`` or, nothing running, ``file``."""
    inferior = gdb.selected_inferior()
    if not inferior.threads():
        return "file"
    connection = inferior.connection
    name = connection.type if connection is not None else "native"
    return name if name in ("native", "core") else "remote"


def motion() -> str:
    """Whether memory may change, or has, without gdb's telling us.

    ``running`` in non-stop mode, while some thread runs and the selected one does not;
    ``unknown`` in a breakpoint's condition, where gdb keeps all threads marked as running and
    announces no stop; else ``stopped``.
    """
    if not any(thread.is_running() for thread in gdb.selected_inferior().threads()):
        return "stopped"
    selected = gdb.selected_thread()
    return "unknown" if selected is None or selected.is_running() else "running"


def _has_frame() -> bool:
    """Tell a breakpoint's condition from a program that really runs: only the former has one."""
    try:
        gdb.selected_frame()
    except gdb.error:
        return False
    return True


def require_stopped() -> None:
    """Raise :class:`Error` unless there is a stopped program, or a core, to look at."""
    inferior = gdb.selected_inferior()
    if not inferior.threads():
        ending = _endings.get(inferior.num)
        if ending is not None:
            raise Error(f"{ending}: its maps are gone, use run again")
        raise Error("the program is not running: use run or start, attach PID, or core-file FILE")
    thread = gdb.selected_thread()
    if thread is None:
        raise Error("no thread is selected: choose a stopped one with `thread N'")
    if thread.is_running() and not _has_frame():
        if all(other.is_running() for other in inferior.threads()):
            raise Error("the program is running: stop it first (Ctrl-C, or interrupt)")
        raise Error(
            "the selected thread is running: choose a stopped one with `thread N' (info threads)"
        )
    if thread.is_exited():
        raise Error("the selected thread has exited: choose another one with `thread N'")
    if inferior.pid and kind() == "native" and _is_dead(inferior.pid):
        raise Error(
            f"process {inferior.pid} is dead, killed by somebody else: use continue, for gdb to "
            "notice, and run again"
        )


def _is_dead(pid: int) -> bool:
    """Whether a process of this machine is a zombie, which gdb sees only when it waits for it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The name stands in parentheses and may hold anything.
            return stream.read(512).rpartition(b") ")[2][:1] in (b"Z", b"X")
    except OSError:
        return False


def without_symbols(program: Program) -> str | None:
    """Why names cannot be looked up in ``program``; None where there is debug information."""
    if program.binary.dwarf is not None:
        return None
    return f"{program.path} has no debug information (built with -ldflags=-s or -w?)"


class MapCall(NamedTuple):
    """A stop at the first instruction of a runtime function that takes a map."""

    function: str
    descriptor: int
    """The map's type."""
    address: int
    """The map's header."""


def map_call(program: Program) -> MapCall | None:
    """What the registers hold if the selected frame has just called such a function."""
    try:
        frame = gdb.selected_frame()
        # Further up, registers are those that the callee saved: Go's saves none.
        if frame.newer() is not None:
            return None
        call = target(program).map_call(frame.pc())
        if call is None:
            return None
        name, kind_register, map_register = call
        words = [int(frame.read_register(each)) for each in (kind_register, map_register)]
    except (gdb.error, ValueError):
        return None
    return MapCall(name, *(word & (1 << 64) - 1 for word in words))


def target(program: Program) -> _native.Target:
    """The native target for ``program`` in the selected inferior."""
    from . import _native

    inferior = gdb.selected_inferior()
    born = life()
    where = kind()
    status = os.stat(program.path)
    bias = load_bias(program)
    # That may have read memory.
    require(born)
    key = (
        inferior.num,
        program.path,
        status.st_mtime_ns,
        status.st_ino,
        inferior.pid,
        bias,
        where,
    )
    known = _targets.get(key)
    if known is None:

        def read(address: int, length: int) -> Any:
            found = inferior.read_memory(address, length) if not is_over(born) else None
            # A process may go while it is read; its addresses mean nothing to the next one.
            if found is None or is_over(born):
                raise gdb.MemoryError(f"the process is gone that had memory at {address:#x}")
            return found

        pid = inferior.pid if where == "native" else None
        known = _native.Target(program.binary, read, bias, where, pid, progress)
        _targets[key] = known
    # Each command reads afresh: gdb announces not every change of memory (restore).
    known.invalidate(motion())
    return known


def load_bias(program: Program) -> int:
    """How far from its link-time addresses the program lies in memory."""
    inferior = gdb.selected_inferior()
    where = kind()
    place = (inferior.num, program.path, inferior.pid, where)
    bias = _biases.get(place)
    if bias is None:
        bias = _biases[place] = _find_bias(program, where)
    return bias


def _find_bias(program: Program, where: str) -> int:
    """The load bias from two witnesses.

    They are the kernel's AT_ENTRY and gdb's address of a symbol.  Where they differ
    (a program started through ld.so has the loader's AT_ENTRY) or one is alone, the code at
    the entry point decides.
    """
    if where == "file":
        return 0
    found: list[int] = []
    symbol = _bias_from_symbol(program)
    if symbol is not None:
        found.append(symbol)
    if program.objfile is None or program.objfile.filename == _main_file():
        entry = _entry_from_auxv()
        if entry is not None:
            bias = entry - program.binary.entry
            if bias in found:
                return bias
            # Segments are loaded at whole pages.
            if bias % 4096 == 0:
                found.append(bias)
    if not program.binary.pie and 0 not in found:
        found.append(0)
    verdicts = [_same_entry_code(program, bias) for bias in found]
    for wanted in (True, None):
        if wanted in verdicts:
            return found[verdicts.index(wanted)]
    if found:
        raise Error(
            f"the program in memory is not {program.path}: it was built again or is another one; "
            "name the right file with `file PATH'"
        )
    raise Error(
        f"cannot tell where {program.path} was loaded (no auxiliary vector, no symbols): "
        "name the program with `file PATH' before attaching"
    )


def _bias_from_symbol(program: Program) -> int | None:
    linked = program.binary.symbol(_TEXT_SYMBOL)
    if linked is None:
        return None
    try:
        # No cast: "long" is no type in gdb's Go.
        return int(gdb.parse_and_eval(f"&'{_TEXT_SYMBOL}'")) - linked
    except (gdb.error, ValueError):
        return None


def _entry_from_auxv() -> int | None:
    try:
        text = console("info auxv")
    except gdb.error:
        return None
    for line in text.splitlines():
        if "AT_ENTRY" in line.split():
            return int(line.split()[-1], 0)
    return None


def _same_entry_code(program: Program, bias: int) -> bool | None:
    """Whether memory holds the file's code at the entry point; None when it cannot be seen."""
    expected = _file_bytes(program.path, program.binary.entry, _ENTRY_BYTES)
    if not expected:
        return None
    try:
        address = program.binary.entry + bias
        found = bytes(gdb.selected_inferior().read_memory(address, len(expected)))
    except (gdb.error, OverflowError, ValueError):
        # A core may leave file-backed pages out.
        return None
    return found == expected


def _file_bytes(path: str, address: int, length: int) -> bytes:
    """What an ELF file says of memory at a link-time address; empty if it says nothing."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
            if len(head) < 64 or head[:4] != b"\x7fELF":
                return b""
            wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
            if wide:
                table, size, count = struct.unpack_from(order + "32xQ14xHH", head)
            else:
                table, size, count = struct.unpack_from(order + "28xI10xHH", head)
            for index in range(count):
                stream.seek(table + index * size)
                row = stream.read(size)
                if wide:
                    segment, offset, start, filed = struct.unpack_from(order + "I4xQQ8xQ", row)
                else:
                    segment, offset, start, filed = struct.unpack_from(order + "III4xI", row)
                if segment == 1 and start <= address and address + length <= start + filed:
                    stream.seek(offset + address - start)
                    return stream.read(length)
    except (OSError, struct.error):
        pass
    return b""


def read_pointer(address: int, size: int) -> int:
    """A pointer in the target's memory."""
    try:
        raw = bytes(gdb.selected_inferior().read_memory(address, size))
    except gdb.error as error:
        raise Error(one_line(error)) from None
    little = "little endian" in console("show endian")
    return int.from_bytes(raw, "little" if little else "big")


def console(command: str) -> str:
    """What a gdb command prints.

    Under an MI command gdb may capture it as MI streams: quoted, a tilde before each line.
    """
    text: str = gdb.execute(command, to_string=True)
    if not text.startswith('~"'):
        return text
    parts = (line[2:-1] for line in text.splitlines() if line.startswith('~"'))
    return "".join(re.sub(r"\\([0-7]{3}|.)", _unescaped, part) for part in parts)


def _unescaped(match: re.Match[str]) -> str:
    escape = match.group(1)
    if len(escape) == 3:
        return chr(int(escape, 8))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(escape, escape)


def invalidate(_event: object = None) -> None:
    """Memory may have changed."""
    for known in _targets.values():
        known.invalidate()


def _resumed(_event: object) -> None:
    _endings.clear()
    invalidate()


def forget(_event: object = None) -> None:
    """Programs may have changed."""
    # A walk may be on its way.
    invalidate()
    _targets.clear()
    _biases.clear()


def _exited(event: Any) -> None:
    code = getattr(event, "exit_code", None)
    number = event.inferior.num
    _lives[number] = _lives.get(number, 0) + 1
    # gdb says the same of a killed and of a detached program.
    _endings[number] = (
        "the program was killed or detached"
        if code is None
        else f"the program has exited with status {code}"
    )
    forget()


def register() -> None:
    """Follow gdb's events."""
    events: Any = gdb.events
    events.cont.connect(_resumed)
    events.inferior_call.connect(invalidate)
    events.memory_changed.connect(invalidate)
    events.register_changed.connect(invalidate)
    events.exited.connect(_exited)
    events.new_objfile.connect(forget)
    events.clear_objfiles.connect(forget)
