"""Stop the program when a map's storage grows beyond a size.

Usage, after gomapscope.py, in a program that runs:

    (gdb) source PATH/gdb-scripts/stop-when-grown.py
    (gdb) stop-when-grown main.cache 1000000
    (gdb) continue

stops in the call that makes main.cache larger than a million slots, with the goroutine that does
it selected: bt, info locals and go-map-stats work there.
"""

from __future__ import annotations

import gdb

import gomapscope


class StopWhenGrown(gdb.Command):
    """Stop where a Go map grows beyond a number of slots.

    Usage: stop-when-grown MAP SLOTS
    """

    def __init__(self) -> None:
        super().__init__("stop-when-grown", gdb.COMMAND_BREAKPOINTS, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument: str, from_tty: bool) -> None:
        words = gdb.string_to_argv(argument)
        if len(words) != 2 or not words[1].isdigit():
            raise gdb.GdbError("Usage: stop-when-grown MAP SLOTS")
        name, limit = words[0], int(words[1])

        def grown(event: gomapscope.Event) -> bool:
            if (event.map_capacity or 0) <= limit:
                return False
            caller = event.caller
            where = f" in {caller.function} {caller.file}:{caller.line}" if caller else ""
            gdb.write(f"{name} has {event.map_capacity:,} slots{where}, len {event.len:,}\n")
            return True

        try:
            gomapscope.trace(name, callback=grown)
        except gomapscope.Error as error:
            raise gdb.GdbError(f"stop-when-grown: {error}") from None


StopWhenGrown()
