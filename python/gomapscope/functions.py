"""Convenience functions ``$_go_map_…(m)``, for ``print`` and breakpoint conditions."""

from __future__ import annotations

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


def _exact(found: Map) -> Stats:
    """The figures; a condition must not be decided by wrong ones."""
    stats = found.stats()
    if not stats.exact:
        raise Error(
            f"{found.expression}: the figures are not exact (memory is unreadable or contradicts "
            "the runtime's rules, or the walk was interrupted): see go-map-stats"
        )
    return stats


def register() -> None:
    """Create the functions."""
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
            lambda m: _exact(m).reclaimable,
        ),
    ]
    for name, sentence, compute in functions:
        usage = f"Usage: $_go_map_{name} (MAP)"
        _Function(f"_go_map_{name}", f"{sentence}\n\n{usage}\n\n{accepts}", compute)
