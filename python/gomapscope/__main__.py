"""The console script ``gomapscope``: what needs no gdb session around it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import __version__, console, native, profiles, traces
from .errors import Error, one_line

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_PACKAGE = Path(__file__).resolve().parent


class Subcommand(NamedTuple):
    """One subcommand: its own options, and what it does with them."""

    name: str
    summary: str
    detail: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def gdb_script(name: str = "gomapscope.py") -> Path:
    """A script to source in gdb: the checkout's own, or the wheel's copy."""
    checkout = _PACKAGE.parent.parent / "gdb-scripts" / name
    return checkout if checkout.is_file() else _PACKAGE / "gdb_scripts" / name


def _no_options(_parser: argparse.ArgumentParser) -> None:
    pass


def _gdbinit(_options: argparse.Namespace) -> int:
    print(f"source {gdb_script()}")
    return 0


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-go", metavar="FILE", help="the go command (default: the one on PATH)")
    parser.add_argument("-gdb", metavar="FILE", default="gdb", help="the gdb command")
    parser.add_argument("-i", action="store_true", help="stay in gdb afterwards")


def _demo(options: argparse.Namespace) -> int:
    from . import demo

    return demo.run(go=options.go, gdb=options.gdb, interactive=options.i)


def _instrument_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-go", metavar="FILE", default="go", help="the go command")
    parser.add_argument(
        "-o",
        metavar="DIR",
        default="gomapscope-overlay",
        help="where the overlay goes (default: %(default)s)",
    )
    parser.add_argument(
        "-ring",
        metavar="N",
        type=_count,
        default=1 << 16,
        help="records of the ring, rounded up to a power of two (default: %(default)s)",
    )
    parser.add_argument("-stacks", action="store_true", help="record who did it, too")
    parser.add_argument(
        "-track-free", action="store_true", help="record what the collector frees, too"
    )
    parser.add_argument(
        "-overlay", metavar="FILE", help="an overlay that the build uses already; it is kept"
    )
    parser.add_argument("-force", action="store_true", help="replace the overlay in DIR")


def _count(text: str) -> int:
    value = int(text.replace("_", ""))
    if value < 1:
        raise ValueError(text)
    return value


def _instrument(options: argparse.Namespace) -> int:
    native.require()
    from . import _native

    try:
        text = _native.instrument(
            options.go,
            options.o,
            entries=options.ring,
            stacks=options.stacks,
            track_free=options.track_free,
            overlay=options.overlay,
            force=options.force,
        )
    except _native.Error as error:
        raise Error(one_line(error)) from None
    print(text, end="")
    return 0


SUBCOMMANDS = (
    Subcommand(
        "gdbinit",
        "print the line to add to a gdbinit",
        "Prints the line that loads gomapscope into gdb; nothing is edited.  For example: "
        "gomapscope gdbinit >> ~/.config/gdb/gdbinit",
        _no_options,
        _gdbinit,
    ),
    Subcommand(
        "demo",
        "compile a small Go service and look into its maps",
        "Compiles a Go program whose maps have grown and been emptied, runs it under gdb and "
        "shows the main commands.  Needs gdb and Go 1.21 or later.",
        _demo_options,
        _demo,
    ),
    Subcommand(
        "instrument",
        "write an overlay for go build that records what happens to maps",
        "Copies the sources of maps from the go command's own GOROOT, adds a flight recorder to "
        "them and writes an overlay for go build. The program that is built with it keeps the "
        "last N events of its maps' storage in memory; go-map-ring and gomapscope ring read "
        "them. Lookups are as fast as before.",
        _instrument_options,
        _instrument,
    ),
    Subcommand("pprof", profiles.SUMMARY, profiles.DETAIL, profiles.options, profiles.run),
    Subcommand("trace", traces.SUMMARY, traces.DETAIL, traces.options, traces.run),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gomapscope",
        description="See inside Go maps, from gdb.",
        epilog="In gdb: help go-map.",
    )
    parser.add_argument("--version", action="version", version=f"gomapscope {__version__}")
    subparsers: _Subparsers = parser.add_subparsers(
        metavar="COMMAND", dest="command", required=True
    )
    for subcommand in SUBCOMMANDS:
        added = subparsers.add_parser(
            subcommand.name, help=subcommand.summary, description=subcommand.detail
        )
        subcommand.options(added)
        added.set_defaults(run=subcommand.run)
    summary = _lower(console.events_summary())
    subparsers.add_parser("events", help=summary, add_help=False)
    summary = _lower(console.timeline_summary())
    subparsers.add_parser("timeline", help=summary, add_help=False)
    for name, summary in console.names().items():
        where = "" if name == "diff" else "on a core file: "
        subparsers.add_parser(name, help=where + _lower(summary), add_help=False)
    return parser


def _lower(sentence: str) -> str:
    """A sentence as part of another one."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script and return its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] == "events":
        return console.events(words[1:])
    if words and words[0] == "timeline":
        return console.timeline(words[1:])
    if words and words[0] in console.names():
        # Their options are gdb's, not argparse's: one parser reads both.
        return console.run(words[0], words[1:])
    options = _parser().parse_args(words)
    try:
        status: int = options.run(options)
    except Error as error:
        print(f"gomapscope: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
