"""Convenience functions ``$_go_map_…(m)``, for ``print`` and breakpoint conditions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Union

import gdb

from . import native, session
from .api import Map, Stats
from .errors import Error, guarded

_Number = Union[int, float]


def _text(value: gdb.Value) -> str | None:
    """The expression in a string literal; None for anything else."""
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRING) and kind.target().sizeof == 1:
        return value.string().rstrip("\0")
    # A string variable of the program.
    if kind.code == gdb.TYPE_CODE_STRUCT and kind.name == "string":
        return value["str"].string(length=min(int(value["len"]), 4096))
    return None


class _Function(gdb.Function):
    def __init__(self, name: str, doc: str, compute: Callable[[Map], _Number]) -> None:
        self.__doc__ = doc
        self._name = name
        self._compute = compute
        super().__init__(name)

    @guarded
    def invoke(self, *arguments: gdb.Value) -> _Number:
        if len(arguments) != 1:
            raise gdb.GdbError(f"${self._name} takes one argument, a Go map")
        value = arguments[0]
        native.require()
        session.require_stopped()
        found = Map(_text(value) or value)
        return self._compute(found) if found.address else 0


class _Call(gdb.Function):
    """Return the address of the map that the program has just called the runtime with.

    Usage: $_go_map ()

    Works at the first instruction of a runtime function that takes a map (runtime.mapassign,
    mapaccess1, mapaccess2, mapdelete, their _fast32, _fast64 and _faststr forms, mapclear,
    mapiterinit, mapIterStart), also without debug information:

      break *$_go_function("runtime.mapassign_faststr")
      go-map-stats $_go_map()

    The commands take the map's type from that call, too.
    """

    def __init__(self) -> None:
        self.__doc__ = inspect.cleandoc(type(self).__doc__ or "")
        super().__init__("_go_map")

    @guarded
    def invoke(self, *arguments: gdb.Value) -> int:
        if arguments:
            raise Error("$_go_map takes no argument")
        native.require()
        session.require_stopped()
        call = session.map_call(session.find_program())
        if call is None:
            raise Error(
                "the selected frame is not at the first instruction of a map function of the "
                'runtime: stop there with break *$_go_function("runtime.mapassign")'
            )
        return call.address


class _Address(gdb.Function):
    """Return the address of a Go function, found without symbols.

    Usage: $_go_function (NAME)

    NAME is a string with the function's whole name, "runtime.mapassign_faststr" or
    "main.(*T).Method".  Every Go program has the table that tells, stripped or not.
    """

    def __init__(self) -> None:
        self.__doc__ = inspect.cleandoc(type(self).__doc__ or "")
        super().__init__("_go_function")

    @guarded
    def invoke(self, *arguments: gdb.Value) -> int:
        name = _text(arguments[0]) if len(arguments) == 1 else None
        if name is None:
            raise Error("$_go_function takes one argument, a string with a function's name")
        native.require()
        program = session.find_program()
        if session.kind() == "file" and program.binary.pie:
            raise Error(f"{program.path} is loaded elsewhere in each run: start it first (starti)")
        address = session.target(program).function(name)
        if address is None:
            raise Error(f"there is no function {name} in {program.path}")
        return address


def _exact(found: Map) -> Stats:
    """The figures; a condition must not be decided by wrong ones."""
    stats = found.stats()
    if stats.racing:
        raise Error(
            f"{found.expression}: the figures are not exact (racing: other threads of the program "
            "run while it is read): stop them first (interrupt -a)"
        )
    if not stats.exact:
        raise Error(
            f"{found.expression}: the figures are not exact (memory is unreadable or contradicts "
            "the runtime's rules, or the walk was interrupted): see go-map-stats"
        )
    return stats


def _reclaimable(found: Map) -> int:
    """Bytes, where the heap's own books say what the map takes."""
    stats = _exact(found)
    if found.address and stats.json["bytes"]["allocated_from"] != "spans":
        raise Error(
            f"{found.expression}: what it takes of the heap cannot be read: see go-map-stats"
        )
    return stats.reclaimable


def register() -> None:
    """Create the functions."""
    _Call()
    _Address()
    accepts = (
        "The argument is a Go map, a pointer to one or an interface that holds one, or a string\n"
        "with an expression for it (needed for a local that escaped to the heap).\n"
        "A nil map gives 0.  Works in a breakpoint's condition."
    )
    functions: list[tuple[str, str, Callable[[Map], _Number]]] = [
        ("len", "Return the number of entries of a Go map.", len),
        ("holes", "Return how many slots of a Go map hold no entry.", lambda m: _exact(m).holes),
        (
            "hole_density",
            "Return the part of a Go map's slots that hold no entry, 0 to 1.",
            lambda m: _exact(m).hole_density,
        ),
        (
            "empty_density",
            "Return the part of a Go map's buckets that hold no entry, 0 to 1.",
            lambda m: _exact(m).empty_density,
        ),
        (
            "reclaimable",
            "Return the bytes that copying a Go map into a fresh one would give back.",
            _reclaimable,
        ),
    ]
    for name, sentence, compute in functions:
        usage = f"Usage: $_go_map_{name} (MAP)"
        _Function(f"_go_map_{name}", f"{sentence}\n\n{usage}\n\n{accepts}", compute)
