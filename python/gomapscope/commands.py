"""The gdb commands: thin shells around the native module's definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Union

import gdb

from . import completion, expression, native, parameters, registers, session, terminal
from ._definitions import DEFINITIONS
from .arguments import FILES
from .errors import guarded

if TYPE_CHECKING:
    from . import _native

STATUS = "go-map"
LAYOUT = "go-map-layout"
PPROF = "go-map-pprof"
RING = "go-map-ring"
SCAN = "go-map-scan"
SNAPSHOT = "go-map-snapshot"
DIFF = "go-map-diff"
TIMELINE = "go-map-timeline"
TRACE = "go-map-trace"
REPORT = "go-map-trace report"
ARM = "go-map-trace arm"
DISARM = "go-map-trace disarm"
WRITERS = "go-map-writers"


def run(
    command: str,
    argument: str,
    from_tty: bool,
    write: Callable[[str], object],
    force_json: bool = False,
) -> None:
    """Parse and run one command; the result goes through ``write``."""
    native.require()
    from . import _native

    request = _native.parse(command, argument)
    if (force_json or parameters.json_output()) and not request.json:
        request = _native.parse(command, f"-json {argument}")
    if command == STATUS:
        from . import status

        status.show(request.json, write)
        return
    terminal.progress.begin(from_tty)
    born = session.life()
    try:
        _answer(command, request, from_tty, write)
    except (gdb.error, gdb.GdbError, _native.Error):
        # Whatever could not be done: this is why.
        session.require(born)
        raise
    finally:
        terminal.progress.end()


def _answer(
    command: str, request: _native.Request, from_tty: bool, write: Callable[[str], object]
) -> None:
    """What :func:`run` does once it is clear what is wanted."""
    from . import _native

    if command == SCAN:
        _scan(request, from_tty, write)
        return
    if command == PPROF:
        _profiles(request, from_tty, write)
        return
    if command in (SNAPSHOT, DIFF):
        from . import snapshots

        answer = snapshots.save if command == SNAPSHOT else snapshots.compare
        answer(request, terminal.style(from_tty), write)
        return
    if command == REPORT:
        style = terminal.style(from_tty)
        path = request.expressions[0]
        _native.events_report(request, path, style, terminal.progress, write)
        return
    if command == TIMELINE:
        from . import timelines

        timelines.in_gdb(request, terminal.style(from_tty), terminal.progress, write)
        return
    if command in (ARM, DISARM):
        from . import arming

        arming.run(command, request, write)
        return
    if command == WRITERS:
        from . import writing

        writing.in_gdb(request, terminal.style(from_tty), write)
        return
    if command.split()[0] == TRACE:
        from . import tracing

        tracing.run(command, request, write)
        return
    target, maps = _maps(command, request)
    if command == RING:
        session.require_stopped()
        from . import snapshots

        style, pid = terminal.style(from_tty), snapshots.local_pid()
        target.ring(request, maps[0] if maps else None, style, write, pid)
        return
    _native.run(request, target, maps, terminal.style(from_tty), write)


def _scan(request: _native.Request, from_tty: bool, write: Callable[[str], object]) -> None:
    """Every map of the process."""
    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    threads, missing = registers.collect(program.binary.arch)
    target.scan(request, threads, missing, terminal.style(from_tty), write)


def _profiles(request: _native.Request, from_tty: bool, write: Callable[[str], object]) -> None:
    """The profiles that the runtime keeps."""
    from . import _native, snapshots

    request.check_output()
    program = session.find_program()
    session.require_stopped()
    target = session.target(program)
    threads, _ = registers.collect(program.binary.arch)
    style = terminal.style(from_tty)
    now = snapshots.monotonic()
    write(_native.memory_profiles(request, target, threads, style, now))


def _maps(command: str, request: _native.Request) -> tuple[_native.Target, list[_native.Map]]:
    """The target and the maps that the expressions of ``request`` name."""
    name = _type_name(request) if command == LAYOUT else None
    if name is not None:
        # A type has a layout before the program runs, too: that of its nil map.
        target = session.target(session.find_program())
        return target, [target.map(0, name, name)]
    program = session.find_program()
    if request.expressions:
        session.require_stopped()
    target = session.target(program)
    maps = []
    for text in request.expressions:
        target, found = expression.locate(text, request.type_name).open()
        maps.append(found)
    return target, maps


def _type_name(request: _native.Request) -> Optional[str]:
    """The type that ``go-map-layout`` was given, quoted or not; None for an expression."""
    if not request.expressions:
        return request.type_name
    text = request.expressions[0]
    # As after -type, where a type that holds spaces must be quoted.
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.startswith("map[") or session.find_program().binary.is_map_type(text):
        return text
    return None


class _Writer:
    """``gdb.write`` behind the progress line."""

    def __call__(self, text: str) -> None:
        terminal.progress.end()
        gdb.write(text)


class MapCommand(gdb.Command):
    """One command of the plugin."""

    def __init__(self, name: str, doc: str, operand: str, prefix: bool) -> None:
        self.__doc__ = doc
        self._name = name
        self._operand = operand
        if prefix:
            super().__init__(name, gdb.COMMAND_DATA, prefix=True)
        else:
            super().__init__(name, gdb.COMMAND_DATA)

    @guarded
    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run the command."""
        self.dont_repeat()
        run(self._name, argument or "", from_tty, _Writer())

    def complete(self, text: str, word: Optional[str]) -> Union[int, list[str]]:
        """Options from the definitions, everything else as a file or an expression."""
        try:
            native.require()
            from . import _native

            # The last word as a shell sees it: gdb breaks words at dashes, too.
            token = "" if not text or text[-1].isspace() else text.split()[-1]
            found = _native.complete(self._name, text, token)
            if found is None and self._operand in FILES:
                if text.strip() == token:
                    return gdb.COMPLETE_FILENAME
                # gdb would take what stands before it for a part of the name.
                found = completion.files(token)
            if found is None:
                token, found = completion.words(text)
        except Exception:  # an exception here would be printed into the command line
            return gdb.COMPLETE_NONE
        # gdb asks twice, first (without a word) only for where words break.
        skip = len(token) - len(word) if word is not None else 0
        return [entry[skip:] for entry in found if entry.startswith(token)]


def register() -> None:
    """Create the commands."""
    names = [str(definition["name"]) for definition in DEFINITIONS]
    for definition, name in zip(DEFINITIONS, names):
        # "go-map-trace" comes before "go-map-trace report", as gdb wants it.
        prefix = any(other.startswith(f"{name} ") for other in names)
        MapCommand(name, str(definition["help"]), str(definition["expression"]), prefix)


def collect(command: str, argument: str) -> Any:
    """The JSON document of one command."""
    import json

    chunks: list[str] = []
    run(command, argument, False, chunks.append, force_json=True)
    return json.loads("".join(chunks))
