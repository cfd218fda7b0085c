"""Print one line about a map at every stop.

Usage, after gomapscope.py:

    (gdb) source PATH/gdb-scripts/watch-density.py
    (gdb) watch-density main.cache
    (gdb) next
    main.cache  len 1,204  holes 99.9%  empty 99.1%  severe

`watch-density' alone ends it.
"""

from __future__ import annotations

from typing import Any

import gdb

import gomapscope

_watched: list[str] = []


def _line(expression: str) -> str:
    try:
        stats = gomapscope.Map(expression).stats()
    except gomapscope.Error as error:
        # Not in scope at this stop, for example.
        return f"{expression}  {error}"
    return (
        f"{expression}  len {stats.len:,}  holes {stats.hole_density:.1%}  "
        f"empty {stats.empty_density:.1%}  {stats.severity}"
        + ("" if stats.exact else "  not exact")
    )


def _on_stop(_event: Any) -> None:
    for expression in _watched:
        gdb.write(_line(expression) + "\n")


class WatchDensity(gdb.Command):
    """Print one line about a Go map at every stop.

    Usage: watch-density [MAP]
    Without a map: end it.
    """

    def __init__(self) -> None:
        super().__init__("watch-density", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument: str, from_tty: bool) -> None:
        if not argument:
            _watched.clear()
        elif argument not in _watched:
            _watched.append(argument)
            if gdb.selected_inferior().threads():
                gdb.write(_line(argument) + "\n")


gdb.events.stop.connect(_on_stop)
WatchDensity()
