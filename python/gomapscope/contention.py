"""``gomapscope contention``: which functions wait for locks and work on maps."""

from __future__ import annotations

import argparse

from . import console, native, profiles
from .errors import Error, one_line

SUMMARY = "tell which functions wait for locks and also work on maps, from profiles"
DETAIL = (
    "Reads goroutine, block, mutex, CPU and heap profiles of one program together and ranks the "
    "functions that wait for a lock, or hold one that others wait for, and also work on a map.  "
    "What was measured is told apart from what only goes together: no profile says which map a "
    "lock guards.  Block and mutex profiles must be asked for in the program "
    "(runtime.SetBlockProfileRate, runtime.SetMutexProfileFraction)."
)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what the subcommand takes."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="a profile, or the http:// or https:// address of one",
    )
    parser.add_argument(
        "-core", metavar="CORE", help="read them out of a core file instead of FILEs"
    )
    parser.add_argument(
        "-exe", metavar="EXE", help="the program (default: the file that a profile names)"
    )
    parser.add_argument("-json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "-limit", metavar="N", type=profiles.rows, help="how many functions (default: 10)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Answer the subcommand; the exit status."""
    if chosen.core is not None and chosen.files:
        raise Error("a core has its profiles: give it or FILEs, not both.")
    if chosen.core is None and not chosen.files:
        raise Error("profiles are needed: gomapscope contention FILE..., or -core CORE.")

    def answer() -> None:
        native.require()
        from . import _native

        if chosen.core is not None:
            words = ["-contention", *profiles.common(chosen)]
            text = profiles.of_core(chosen.core, chosen.exe, words)
        else:
            sources = profiles.sources(chosen.files)
            try:
                text = _native.contention_report(
                    sources, chosen.exe, chosen.json, chosen.limit, console._style()
                )
            except _native.Error as error:
                raise Error(one_line(error)) from None
        console._writer()(text)

    return console._guarded(answer)
