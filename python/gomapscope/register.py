"""What sourcing ``gomapscope.py`` in gdb does: everything is created, nothing is loaded yet."""

from __future__ import annotations

from . import commands, functions, mi, parameters, printer, session

_done = False


def register() -> None:
    """Create parameters, commands and functions; a second call does nothing."""
    global _done
    if _done:
        return
    _done = True
    parameters.register()
    commands.register()
    functions.register()
    mi.register()
    printer.register()
    session.register()
