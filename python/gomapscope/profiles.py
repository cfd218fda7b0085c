"""``gomapscope pprof``: what of profiles is of maps."""

from __future__ import annotations

import argparse
import shlex
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Optional

from . import console, native
from .arguments import argument_line
from .errors import Error, one_line

SUMMARY = "tell what maps hold, allocate and cost, from profiles"
DETAIL = (
    "Reads profiles as runtime/pprof writes them, protobuf or debug=1, and tells the bytes of "
    "maps by call site and on what evidence; of CPU profiles, the time in maps. Several heap "
    "profiles of one program are compared. With debug=1 and -exe nothing is left open."
)

#: Seconds to wait for a server without hearing from it; it may profile for ?seconds=N before.
_PATIENCE = 30.0
#: Bytes that are taken from a server, as from a file (pprof::FILE_MAX).
_MOST = 256 << 20
_PIECE = 1 << 20


def options(parser: argparse.ArgumentParser) -> None:
    """Add what the subcommand takes."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="a profile, or the http:// or https:// address of one, such as "
        "'http://localhost:6060/debug/pprof/heap?debug=1'; with -core, one of heap, "
        "goroutine, block, mutex",
    )
    parser.add_argument(
        "-core", metavar="CORE", help="read the profile out of a core file instead of FILEs"
    )
    parser.add_argument(
        "-exe", metavar="EXE", help="the program (default: the file that the profile names)"
    )
    parser.add_argument("-json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "-raw", action="store_true", help="with -json: the samples and places of each profile, too"
    )
    parser.add_argument(
        "-limit",
        metavar="N",
        type=rows,
        help="how many rows; 0, all or unlimited shows every one (default: 20)",
    )
    parser.add_argument(
        "-o", metavar="OUT", help="with -core: write the profile to OUT, for go tool pprof"
    )
    parser.add_argument("-force", action="store_true", help="with -o: replace OUT")


def rows(text: str) -> int:
    """The value of ``-limit``; all is below 0."""
    if text in ("all", "unlimited"):
        return -1
    try:
        value = int(text.replace("_", ""))
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of rows; 0, all or unlimited shows every one"
        )
    return value or -1


def run(chosen: argparse.Namespace) -> int:
    """Answer the subcommand; the exit status."""
    if chosen.raw and not chosen.json:
        raise Error("-raw is for -json.")
    files: Sequence[str] = chosen.files
    if chosen.core is not None:
        return _core(chosen)
    if chosen.o is not None or chosen.force:
        raise Error("-o and -force are for -core: a FILE is a profile already.")
    if not files:
        raise Error("a profile is needed: gomapscope pprof FILE..., or -core CORE.")

    def answer() -> None:
        native.require()
        from . import _native

        try:
            text = _native.pprof_report(
                sources(files), chosen.exe, chosen.json, chosen.raw, chosen.limit, console._style()
            )
        except _native.Error as error:
            raise Error(one_line(error)) from None
        console._writer()(text)

    return console._guarded(answer)


def sources(files: Sequence[str]) -> list[tuple[str, Optional[bytes]]]:
    """Names of profiles, with the contents of those that a server has."""
    return [(name, fetched(name) if is_address(name) else None) for name in files]


def common(chosen: argparse.Namespace) -> list[str]:
    """The options that the command in gdb has, too."""
    words = ["-json"] if chosen.json else []
    if chosen.limit is not None:
        words += ["-limit", "unlimited" if chosen.limit < 0 else str(chosen.limit)]
    return words


def of_core(core: str, program: Optional[str], words: Sequence[str]) -> str:
    """The answer of ``go-map-pprof`` for a core."""
    from . import _native

    progress = console._Progress()
    again = f"-core {shlex.quote(core)} "
    try:
        request = _native.parse("go-map-pprof", argument_line(words, False))
        request.check_output()
        target, _ = _native.Target.of_core(core, program, again, progress)
        return _native.memory_profiles(request, target, None, console._style())
    except _native.Error as error:
        raise Error(one_line(error).replace("go-map-pprof", "gomapscope pprof")) from None
    finally:
        progress("")


def _core(chosen: argparse.Namespace) -> int:
    """Answer the subcommand for a core; the exit status."""
    if chosen.raw:
        raise Error("-raw is for FILEs.")

    def answer() -> None:
        native.require()
        words = common(chosen)
        if chosen.o is not None:
            words += ["-o", chosen.o]
        if chosen.force:
            words.append("-force")
        console._writer()(of_core(chosen.core, chosen.exe, [*words, *chosen.files]))

    return console._guarded(answer)


def is_address(name: str) -> bool:
    """Whether a profile is to be asked of a server."""
    return name.startswith(("http://", "https://"))


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the server that was named, and no other."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise Error(f"{req.full_url}: it leads to {newurl}, which was not named")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetched(address: str) -> bytes:
    """What a server has at ``address``."""
    patience = _PATIENCE + _seconds(address)
    opener = urllib.request.build_opener(_SameHost)
    pieces: list[bytes] = []
    size = 0
    try:
        with opener.open(address, timeout=patience) as answer:
            while piece := answer.read(_PIECE):
                size += len(piece)
                if size > _MOST:
                    raise Error(f"{address}: more than {_MOST} bytes: that is no profile")
                pieces.append(piece)
    except urllib.error.HTTPError as error:
        # net/http/pprof says in the body what it misses.
        body = one_line(Exception(error.read(200).decode("utf-8", "replace")))
        raise Error(f"{address}: {error.code} {error.reason}: {body}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Error(f"{address}: {one_line(Exception(reason))}") from None
    return b"".join(pieces)


def _seconds(address: str) -> float:
    """How long the server was asked to watch; a CPU profile takes 30 s if it was not told."""
    parts = urllib.parse.urlsplit(address)
    query = urllib.parse.parse_qs(parts.query)
    try:
        return min(float(query["seconds"][0]), 3600.0)
    except (KeyError, ValueError):
        return 30.0 if parts.path.endswith("/profile") else 0.0
