"""The commands without gdb: ``gomapscope stats -core CORE main.cache``, ``events FILE``."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import native
from ._definitions import DEFINITIONS
from .arguments import argument_line
from .errors import Error, one_line

if TYPE_CHECKING:
    from . import _native

_PREFIX = "go-map-"
_LAYOUT = "go-map-layout"
_PPROF = "go-map-pprof"
_RING = "go-map-ring"
_SCAN = "go-map-scan"
_SNAPSHOT = "go-map-snapshot"
_DIFF = "go-map-diff"
_TIMELINE = "go-map-timeline"
_TRACE = "go-map-trace"
_REPORT = "go-map-trace report"
_WRITERS = "go-map-writers"
_ROWS = 32
_EVENTS_USAGE = """\
Usage: gomapscope events [OPTION]... [--] FILE

{summary}

FILE was written by go-map-trace start -o in gdb; it may be packed, in the writing still, or
have lost its end.  The options are those of {command} in gdb, whose help follows.

"""
_TIMELINE_USAGE = """\
Usage: gomapscope timeline [OPTION]... [--] FILE...

{summary}

Each FILE is a snapshot, an event file, an execution trace or a profile; its first bytes tell
which.  The options are those of {command} in gdb, whose help follows.

"""
_USAGE = """\
Usage: gomapscope {name} -core CORE [-exe EXE] [OPTION]...{operand}

{summary}

  -core CORE
    A core file, by the kernel or by gdb's generate-core-file.

  -exe EXE
    The program it is of; by default the file that the core names.

{operand_help}The other options are those of {command} in gdb, whose help follows.

"""
_DIFF_USAGE = """\
Usage: gomapscope diff [OPTION]... A B
       gomapscope diff -core CORE [-exe EXE] [OPTION]... A

{summary}

  -core CORE
    Compare A with what it has in a core file, instead of B.

  -exe EXE
    The program the core is of; by default the file that the core names.

The other options are those of {command} in gdb, whose help follows.

"""
_EXPRESSION = """\
EXPR is made of package variables (main.cache, path/pkg.Name), fields, *, &, () and [N];
or it is an address, with -type 'map[K]V'.  Locals need gdb.

"""


class Place(NamedTuple):
    """Where to look, and what is left of the command line."""

    core: str
    """Empty where none is named, and none is needed."""
    program: str | None
    rest: list[str]


def names() -> dict[str, str]:
    """Subcommands on a core file and what they answer.

    A core cannot be traced, and ``gomapscope pprof`` reads files, too.
    """
    return {
        str(definition["name"])[len(_PREFIX) :]: str(definition["summary"])
        for definition in DEFINITIONS
        if str(definition["name"]).startswith(_PREFIX)
        and str(definition["name"]).split()[0] not in (_PPROF, _TIMELINE, _TRACE)
    }


def _definition(command: str) -> dict[str, str]:
    return next(definition for definition in DEFINITIONS if definition["name"] == command)


def events_summary() -> str:
    """What ``gomapscope events`` answers."""
    return _definition(_REPORT)["summary"]


def events(arguments: Sequence[str]) -> int:
    """Tell what an event file holds; the exit status."""

    def answer(request: _native.Request, progress: _Progress) -> None:
        from . import _native

        _native.events_report(request, request.expressions[0], _style(), progress, _writer())

    return _of_files(_REPORT, "gomapscope events", _EVENTS_USAGE, arguments, answer)


def timeline_summary() -> str:
    """What ``gomapscope timeline`` answers."""
    return _definition(_TIMELINE)["summary"]


def timeline(arguments: Sequence[str]) -> int:
    """Put files on one clock; the exit status."""

    def answer(request: _native.Request, progress: _Progress) -> None:
        from . import timelines

        timelines.of_files(request, _style(), progress, _writer())

    return _of_files(_TIMELINE, "gomapscope timeline", _TIMELINE_USAGE, arguments, answer)


def _of_files(
    command: str,
    name: str,
    usage: str,
    arguments: Sequence[str],
    answer: Callable[[_native.Request, _Progress], None],
) -> int:
    """Answer a command of gdb that needs no target, by the ``name`` it has here."""
    if _wants_help(arguments):
        definition = _definition(command)
        head = usage.format(summary=definition["summary"], command=command)
        print(head + definition["help"])
        return 0

    def run() -> None:
        native.require()
        from . import _native

        progress = _Progress()
        try:
            answer(_native.parse(command, argument_line(arguments, True)), progress)
        except _native.Error as error:
            raise Error(one_line(error).replace(command, name)) from None
        finally:
            progress("")

    return _guarded(run)


def _wants_help(arguments: Sequence[str]) -> bool:
    return any(word in ("-h", "-help", "--help") for word in arguments)


def usage(name: str) -> str:
    """The help of one subcommand."""
    command = _PREFIX + name
    for definition in DEFINITIONS:
        if definition["name"] == command:
            if command == _DIFF:
                head = _DIFF_USAGE.format(command=command, summary=definition["summary"])
                return head + str(definition["help"]) + "\n"
            expression = definition["expression"] != "none"
            operands = {"many": " EXPR...", "optional": " [EXPR]"}
            operand = operands.get(str(definition["expression"]), " EXPR")
            head = _USAGE.format(
                name=name,
                command=command,
                summary=definition["summary"],
                operand=operand if expression else "",
                operand_help=_EXPRESSION if expression else "",
            )
            return head + str(definition["help"]) + "\n"
    return ""


def split(name: str, arguments: Sequence[str]) -> Place:
    """Take ``-core`` and ``-exe`` out of the arguments."""
    found: dict[str, str] = {}
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        option, equals, value = word.partition("=")
        option = option.lstrip("-") if word.startswith("-") else ""
        if option not in ("core", "exe"):
            rest.append(word)
            continue
        if not equals:
            if not words:
                raise Error(f"-{option} needs a value: -{option} FILE.")
            value = words.pop(0)
        if option in found:
            raise Error(f"-{option} is given twice.")
        found[option] = value
    if "core" not in found and name == "diff" and "exe" not in found:
        return Place("", None, rest)
    if "core" not in found:
        raise Error(f"-core is missing: gomapscope {name} -core CORE [-exe EXE] ...")
    return Place(found["core"], found.get("exe"), rest)


def run(name: str, arguments: Sequence[str]) -> int:
    """Answer one subcommand; the exit status."""
    if _wants_help(arguments):
        print(usage(name), end="")
        return 0
    return _guarded(lambda: _answer(name, arguments))


def _guarded(answer: Callable[[], None]) -> int:
    """The exit status of ``answer``, whose failures become one line."""
    try:
        answer()
        sys.stdout.flush()
    except Error as error:
        print(f"gomapscope: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has enough; nothing is left to say, not at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _answer(name: str, arguments: Sequence[str]) -> None:
    place = split(name, arguments)
    native.require()
    from . import _native

    progress = _Progress()
    try:
        request = _native.parse(_PREFIX + name, argument_line(place.rest, name == "diff"))
        if request.command == _DIFF:
            _compare(request, place, progress)
            return
        again = f"-core {shlex.quote(place.core)} "
        if place.program is not None:
            again += f"-exe {shlex.quote(place.program)} "
        target, binary = _native.Target.of_core(place.core, place.program, again, progress)
        write = _writer()
        if request.command == _SCAN:
            target.scan_core(request, _style(), write)
            return
        if request.command == _WRITERS:
            _native.map_writers(request, target, None, [], _style(), write)
            return
        if request.command == _RING:
            maps = [_map(request, target, binary, text) for text in request.expressions]
            target.ring(request, maps[0] if maps else None, _style(), write)
            return
        if request.command == _SNAPSHOT:
            subject = _native.Subject("core", core=os.path.abspath(place.core))
            if request.scan:
                target.snapshot_scan(request, None, subject, _style(), write)
                return
            maps = [target.find(text, request.type_name) for text in request.expressions]
            _native.snapshot_maps(request, target, maps, subject, _style(), write)
            return
        for text in request.expressions:
            _native.run(request, target, [_map(request, target, binary, text)], _style(), write)
    except _native.Error as error:
        raise Error(one_line(error)) from None
    finally:
        progress("")


def _compare(request: _native.Request, place: Place, progress: Callable[[str], None]) -> None:
    """Two files, or one with what it has in a core."""
    from . import _native

    if len(request.expressions) != (1 if place.core else 2):
        raise Error("two files are needed: gomapscope diff A B, or A with -core CORE.")
    before, *rest = (_native.Document(path) for path in request.expressions)
    after = rest[0] if rest else _in_core(before, place, progress)
    _native.diff(request, before, after, False, _style(), _writer())


def _in_core(
    like: _native.Document, place: Place, progress: Callable[[str], None]
) -> _native.Document:
    """The maps of ``like`` in a core."""
    from . import _native

    target, _ = _native.Target.of_core(place.core, place.program, "", progress)
    core = os.path.abspath(place.core)
    if not like.named:
        return target.document_scan(like, None, _native.Subject("core", core=core))
    maps, missing = [], []
    for text, _address, type_name in like.wanted:
        try:
            maps.append(_found(target, text, type_name))
        except _native.Error as error:
            missing.append((text, str(error)))
    subject = _native.Subject("core", core=core, missing=missing)
    return _native.document_maps(target, maps, like, subject)


def _found(target: _native.Target, text: str, type_name: str) -> _native.Map:
    from . import _native

    try:
        return target.find(text, None)
    except _native.Error:
        if not type_name:
            raise
        # An address whose type was given.
        return target.find(text, type_name)


def _map(
    request: _native.Request, target: _native.Target, binary: _native.Binary, text: str
) -> _native.Map:
    if request.command == _LAYOUT:
        plain = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
        if plain.startswith("map[") or binary.is_map_type(plain):
            return target.map(0, plain, plain)
    return target.find(text, request.type_name)


def _writer() -> Callable[[str], object]:
    encoding = sys.stdout.encoding or "ascii"

    def write(text: str) -> None:
        # Keys may hold what the terminal's character set lacks.
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))

    return write


def _style() -> _native.Style:
    from . import _native

    terminal = sys.stdout.isatty()
    width = 80
    if terminal:
        with contextlib.suppress(OSError, ValueError):
            width = os.get_terminal_size(sys.stdout.fileno()).columns or width
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return _native.Style(width, color, unicode, _ROWS)


class _Progress:
    """One line on the terminal while a search takes long."""

    def __init__(self) -> None:
        self._length = 0
        self._wanted = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if not self._wanted or not (text or self._length):
            return
        sys.stderr.write("\r" + text.ljust(self._length) + ("" if text else "\r"))
        sys.stderr.flush()
        self._length = len(text)
