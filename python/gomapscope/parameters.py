"""``set go-map …`` and ``show go-map …``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gdb

from .errors import guarded

_STATE: dict[str, gdb.Parameter] = {}


def _value(name: str, default: Any) -> Any:
    parameter = _STATE.get(name)
    return default if parameter is None else parameter.value


def limit() -> int:
    """How many rows a command shows unless told otherwise; 0 is no limit."""
    # gdb stores "unlimited" as None (13.1) or as its largest unsigned int.
    value = _value("limit", 32)
    return value if isinstance(value, int) and 0 < value < 0xFFFFFFFF else 0


def style() -> str:
    """``auto``, ``ascii`` or ``unicode``."""
    return str(_value("style", "auto"))


def json_output() -> bool:
    """Whether commands print JSON without being asked."""
    return bool(_value("format", "text") == "json")


def debug() -> bool:
    """Whether an internal error shows its traceback."""
    return bool(_value("debug", False))


def pretty_print() -> bool:
    """Whether gdb prints Go maps with our pretty-printer."""
    return bool(_value("pretty-print", False))


class _Prefix(gdb.Command):
    """A prefix made by hand: gdb.ParameterPrefix needs gdb 17."""

    def __init__(self, verb: str, doc: str) -> None:
        self.__doc__ = doc
        self._verb = verb
        super().__init__(f"{verb} go-map", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    @guarded
    def invoke(self, argument: str, _from_tty: bool) -> None:
        if argument:
            raise gdb.GdbError(f'Undefined {self._verb} go-map command: "{argument}".')
        if self._verb == "set":
            gdb.execute("help set go-map")
            return
        for name in _STATE:
            gdb.write(f"{name}:  ")
            gdb.execute(f"show go-map {name}")


class _Parameter(gdb.Parameter):
    def __init__(
        self,
        name: str,
        kind: int,
        choices: Sequence[str] | None,
        default: Any,
        what: str,
        detail: str,
    ) -> None:
        self.set_doc = f"Set {what}."
        self.show_doc = f"Show {what}."
        self.__doc__ = detail
        self._name = name
        self._what = what
        arguments = (f"go-map {name}", gdb.COMMAND_DATA, kind)
        if choices is None:
            super().__init__(*arguments)
        else:
            super().__init__(*arguments, choices)
        self.value = default
        _STATE[name] = self

    def get_set_string(self) -> str:
        """gdb prints a non-empty result after each ``set``: stay silent."""
        if self._name == "pretty-print":
            from . import printer

            printer.enable(bool(self.value))
        return ""

    def get_show_string(self, value: str) -> str:
        return f"{self._what[0].upper()}{self._what[1:]} is {value}."


def register() -> None:
    """Create the parameters."""
    _Prefix("set", "Set how the go-map commands work.")
    _Prefix("show", "Show how the go-map commands work.")
    _Parameter(
        "limit",
        gdb.PARAM_UINTEGER,
        None,
        32,
        "the number of rows the go-map commands print",
        "Used by a command without -limit and -all. 0 or unlimited: all rows.",
    )
    _Parameter(
        "style",
        gdb.PARAM_ENUM,
        ["auto", "ascii", "unicode"],
        "auto",
        "the character set the go-map commands draw with",
        "auto: block characters where gdb's host charset is UTF-8, ASCII elsewhere.\n"
        "Colours follow gdb's own `set style enabled', and NO_COLOR.",
    )
    _Parameter(
        "format",
        gdb.PARAM_ENUM,
        ["text", "json"],
        "text",
        "the output format of the go-map commands",
        "json: as if every command had -json.",
    )
    _Parameter(
        "pretty-print",
        gdb.PARAM_BOOLEAN,
        None,
        False,
        "pretty-printing of Go maps by gomapscope (see go-map)",
        "When on, print and MI variables show a Go map's entries as gomapscope reads them,\n"
        "also where Go's own gdb script is loaded.  `set print elements' limits them.",
    )
    _Parameter(
        "debug",
        gdb.PARAM_BOOLEAN,
        None,
        False,
        "printing of tracebacks for internal errors of the go-map commands",
        "When on, an internal error prints the Python traceback that a bug report needs.",
    )
