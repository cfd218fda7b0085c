"""``gomapscope trace``: what Go's execution traces tell of maps and of the collector."""

from __future__ import annotations

import argparse

from . import console, native, profiles
from .errors import Error, one_line

SUMMARY = "tell what an execution trace says of maps, collections and the heap"
DETAIL = (
    "Reads execution traces of Go 1.11 to 1.27 (go test -trace, runtime/trace, "
    "/debug/pprof/trace, the flight recorder), packed with gzip or not: collections and stops of "
    "the world, the heap's size and goal, user logs by category, and, if the program ran with "
    "GODEBUG=traceallocfree=1 (Go 1.23 and later), the storage of maps by type and between "
    "collections.  Logs of category map-lifecycle that name a map's address "
    "(trace.Log(ctx, 'map-lifecycle', 'created map=0xc000012120')) tell the life of that map.  "
    "A file that is cut gives what is whole in it."
)


def _address(text: str) -> int:
    return int(text, 16) if text.lower().startswith("0x") else int(text)


def _rows(text: str) -> int:
    return max(profiles.rows(text), 0)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="an execution trace")
    parser.add_argument(
        "-json", action="store_true", help="one JSON document a file, each on a line"
    )
    parser.add_argument(
        "-limit", metavar="N", type=_rows, help="rows of each list; 0, all or unlimited lists all"
    )
    parser.add_argument(
        "-map",
        metavar="0xADDR",
        type=_address,
        help="of the lives of maps, only that at this address",
    )
    parser.add_argument(
        "-o", metavar="FILE", help="write the JSON document there, packed if its name ends in .gz"
    )
    parser.add_argument("-force", action="store_true", help="replace the file of -o")


def run(options: argparse.Namespace) -> int:
    """Tell of each file; the exit status."""
    if options.o is not None and len(options.files) > 1:
        raise Error("-o takes one document: name one FILE.")
    return console._guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    native.require()
    from . import _native

    write = console._writer()
    for number, path in enumerate(options.files):
        progress = console._Progress()
        if number and not options.json:
            write("\n")
        try:
            _native.exec_trace(
                path,
                console._style(),
                progress,
                write,
                json=options.json,
                limit=options.limit,
                address=options.map,
                output=options.o,
                force=options.force,
            )
        except _native.Error as error:
            raise Error(one_line(error)) from None
        finally:
            progress("")
