"""GDB/MI commands ``-go-map-…``: the JSON model as MI tuples and lists."""

from __future__ import annotations

import re
from typing import Any, Union

import gdb

from . import commands
from ._definitions import DEFINITIONS
from .arguments import FILES, argument_line
from .errors import guarded

# What gdb turns into MI: strings, integers, lists and dictionaries.
_Result = Union[str, int, list[Any], dict[str, Any]]


# What gdb takes for the name of a result; any other one fails the whole command.
_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
# The names in these are the program's own.
_PROGRAMS_NAMES = ("labels",)


def convert(value: Any, within: str = "") -> _Result:
    """``value`` without booleans, floats and nulls, which MI does not know.

    Where names are the program's own, and where one cannot be the name of a result, pairs
    become a list of tuples of ``name`` and ``value``.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        fields = {key: entry for key, entry in value.items() if entry is not None}
        if within in _PROGRAMS_NAMES or not all(map(_NAME.fullmatch, fields)):
            return [{"name": key, "value": convert(entry)} for key, entry in fields.items()]
        return {key: convert(entry, key) for key, entry in fields.items()}
    if isinstance(value, list):
        return [convert(entry, within) for entry in value if entry is not None]
    if isinstance(value, int):
        return value
    return str(value)


def register() -> None:
    """Create the MI commands, where gdb has them for Python (12.1 and later)."""
    base: Any = getattr(gdb, "MICommand", None)
    if base is None:
        return

    class Command(base):  # type: ignore[misc]
        def __init__(self, name: str, operand: str) -> None:
            self._command = name
            self._files = operand in FILES
            # "go-map-trace report" is -go-map-trace-report.
            super().__init__("-" + name.replace(" ", "-"))

        @guarded
        def invoke(self, arguments: list[str]) -> _Result:
            line = argument_line(arguments, self._files)
            return convert(commands.collect(self._command, line))

    for definition in DEFINITIONS:
        Command(str(definition["name"]), str(definition["expression"]))
