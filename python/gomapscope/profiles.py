"""``gomapscope pprof``: what of profiles is of maps."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence

from . import console, native
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
        nargs="+",
        help="a profile, or the http:// or https:// address of one, such as "
        "'http://localhost:6060/debug/pprof/heap?debug=1'",
    )
    parser.add_argument(
        "-exe", metavar="EXE", help="the program (default: the file that the profile names)"
    )
    parser.add_argument("-json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "-raw", action="store_true", help="with -json: the samples and places of each profile, too"
    )
    parser.add_argument(
        "-limit", metavar="N", type=_rows, help="how many rows; all shows every one (default: 20)"
    )


def _rows(text: str) -> int:
    if text == "all":
        return -1
    value = int(text.replace("_", ""))
    if value < 1:
        raise ValueError(text)
    return value


def run(chosen: argparse.Namespace) -> int:
    """Answer the subcommand; the exit status."""
    if chosen.raw and not chosen.json:
        raise Error("-raw is for -json.")
    files: Sequence[str] = chosen.files

    def answer() -> None:
        native.require()
        from . import _native

        sources = [(name, fetched(name) if is_address(name) else None) for name in files]
        try:
            text = _native.pprof_report(
                sources, chosen.exe, chosen.json, chosen.raw, chosen.limit, console._style()
            )
        except _native.Error as error:
            raise Error(one_line(error)) from None
        console._writer()(text)

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
