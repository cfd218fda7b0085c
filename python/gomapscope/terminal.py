"""What the user's terminal can show, and the progress line."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import gdb

from . import parameters

if TYPE_CHECKING:
    from . import _native

DEFAULT_WIDTH = 80
# Below this the answer itself is the progress report.
_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.1


def _stdout_is_terminal() -> bool:
    # sys.stdout is gdb's own object here and always answers no.
    try:
        return os.isatty(1)
    except OSError:
        return False


def _interpreter() -> str:
    """What gdb was started to speak, ``console`` unless its command line says otherwise."""
    try:
        with open("/proc/self/cmdline", "rb") as stream:
            arguments = stream.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return "console"
    for index, argument in enumerate(arguments):
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in ("i", "interp", "interpreter"):
            return value or (arguments[index + 1] if index + 1 < len(arguments) else "console")
    return "console"


_INTERPRETER = _interpreter()
# Whether gdb was started for a front end: its console is not a terminal.
_MACHINE_INTERFACE = not _INTERPRETER.startswith(("console", "tui"))
#: Whether an editor speaks to gdb by the Debug Adapter Protocol.
DAP = _INTERPRETER == "dap"


def _piped() -> bool:
    """Whether the command typed last sends its output to a shell command.

    gdb drops its own colours there, but tells Python nothing about it.
    """
    try:
        lines = gdb.execute("show commands", to_string=True).splitlines()
    except gdb.error:
        return False
    typed = lines[-1].split(None, 1)[1:] if lines else []
    return bool(typed) and typed[0].startswith(("|", "pipe "))


def color(from_tty: bool) -> bool:
    """Whether to colour text: gdb's settings, NO_COLOR, and only for a person at a terminal."""
    return (
        from_tty
        and bool(gdb.parameter("style enabled"))
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
        and not _MACHINE_INTERFACE
        and _stdout_is_terminal()
        and not _piped()
    )


def _window() -> int:
    """Columns of the command window in gdb's text interface; 0 where that is not shown.

    gdb's own width is that of the screen, also where windows stand side by side.
    """
    if _MACHINE_INTERFACE or not _stdout_is_terminal():
        return 0
    try:
        shown = gdb.execute("info win", to_string=True)
    except gdb.error:  # built without it
        return 0
    found = re.search(r"^cmd +\d+ +(\d+)\b", shown, re.MULTILINE)
    return int(found[1]) if found else 0


def width() -> int:
    """Columns to fill."""
    columns = gdb.parameter("width")
    window = _window()
    if window:
        # It wraps behind its last column at once, which would leave an empty line.
        window = max(window - 1, 1)
        return min(columns, window) if isinstance(columns, int) and columns > 0 else window
    if isinstance(columns, int) and columns > 0:
        return columns
    if _stdout_is_terminal() and not _MACHINE_INTERFACE:
        try:
            return os.get_terminal_size(1).columns or DEFAULT_WIDTH
        except OSError:
            pass
    return DEFAULT_WIDTH


def unicode() -> bool:
    """Whether block characters can be shown."""
    wanted = parameters.style()
    if wanted == "auto":
        return gdb.host_charset().upper().replace("-", "") == "UTF8"
    return wanted == "unicode"


def style(from_tty: bool) -> _native.Style:
    """The style for one command."""
    from . import _native

    return _native.Style(width(), color(from_tty), unicode(), parameters.limit())


class Progress:
    """One line that is rewritten while a command takes long, and then removed."""

    def __init__(self) -> None:
        self._started = 0.0
        self._drawn = 0.0
        self._length = 0
        self._wanted = False

    def begin(self, from_tty: bool) -> None:
        """A command starts."""
        self._started = time.monotonic()
        self._drawn = 0.0
        self._length = 0
        self._wanted = from_tty and _stdout_is_terminal() and not _MACHINE_INTERFACE

    def __call__(self, text: str) -> None:
        """Show ``text`` if it is time to; no text removes the line."""
        if not text:
            self._erase()
            return
        now = time.monotonic()
        if not self._wanted or now - self._started < _QUIET_SECONDS:
            return
        if now - self._drawn < _REFRESH_SECONDS:
            return
        self._drawn = now
        text = text[: max(width() - 1, 0)]
        gdb.write("\r" + text.ljust(self._length))
        gdb.flush()
        self._length = len(text)

    def end(self) -> None:
        """Remove the line: output follows, or the prompt."""
        self._wanted = False
        self._erase()

    def _erase(self) -> None:
        if self._length:
            gdb.write("\r" + " " * self._length + "\r")
            gdb.flush()
            self._length = 0


progress = Progress()
