"""Stop the program where a map has become mostly empty.

Usage, after gomapscope.py:

    (gdb) source PATH/gdb-scripts/stop-when-sparse.py
    (gdb) stop-when-sparse main.purge main.cache 0.2
    (gdb) run

stops in main.purge once more than 20 % of the buckets of main.cache are empty.  The location is
anything `break' takes, the map any expression that is a map there, also an escaped local.  The
map is walked whenever the location is reached: choose one that is reached seldom.
"""

from __future__ import annotations

import gdb

import gomapscope


class SparseBreakpoint(gdb.Breakpoint):
    """A breakpoint that lets the program go on while the map is dense."""

    def __init__(self, location: str, expression: str, threshold: float) -> None:
        super().__init__(location)
        self.map_expression = expression
        self.threshold = threshold

    def stop(self) -> bool:
        """Whether to stop; an error must not leave the program stopped without a word."""
        try:
            stats = gomapscope.Map(self.map_expression).stats()
        except gomapscope.Error as error:
            gdb.write(f"stop-when-sparse: {error}\n")
            return False
        if not stats.exact:
            gdb.write(f"{self.map_expression}: not exact, see go-map-stats\n")
            return True
        if stats.empty_density <= self.threshold:
            return False
        gdb.write(
            f"{self.map_expression}: {stats.empty_density:.1%} of its buckets are empty "
            f"(len {stats.len:,}, {stats.reclaimable:,} bytes to give back)\n"
        )
        return True


class StopWhenSparse(gdb.Command):
    """Stop at a location once a Go map is mostly empty.

    Usage: stop-when-sparse LOCATION MAP [THRESHOLD]
    THRESHOLD is the part of the map's buckets that are empty, 0.2 unless given.
    """

    def __init__(self) -> None:
        super().__init__("stop-when-sparse", gdb.COMMAND_BREAKPOINTS, gdb.COMPLETE_LOCATION)

    def invoke(self, argument: str, from_tty: bool) -> None:
        words = gdb.string_to_argv(argument)
        if len(words) not in (2, 3):
            raise gdb.GdbError("Usage: stop-when-sparse LOCATION MAP [THRESHOLD]")
        try:
            threshold = float(words[2]) if len(words) == 3 else 0.2
        except ValueError:
            raise gdb.GdbError(f"stop-when-sparse: {words[2]} is not a number") from None
        SparseBreakpoint(words[0], words[1], threshold)


StopWhenSparse()
