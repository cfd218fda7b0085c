"""Delve lists the entries of a map in a core file, where there is a ``dlv``.

Of its ways the fastest is taken: a headless session, asked by JSON-RPC for a variable with as
many values as wanted.  What is measured is that one call and its answer, not the session's start
nor any text for a terminal.

    python tests/bench/delve.py PROGRAM CORE EXPRESSION ENTRIES
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

ROUNDS = 3


class Found(NamedTuple):
    """What Delve took, or why it did not."""

    version: str
    seconds: float
    peak_bytes: int
    why: str


class Session:
    """A headless Delve on a core file."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said = line.strip()
            found = re.search(r"listening at: 127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            raise OSError(said or "no answer")
        self.socket = socket.create_connection(("127.0.0.1", int(found[1])))
        self.file = self.socket.makefile("rb")

    def call(self, method: str, argument: dict[str, Any]) -> dict[str, Any]:
        request = {"method": f"RPCServer.{method}", "params": [argument], "id": 1}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self.file.readline())
        if answer["error"]:
            raise OSError(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def timed(self, method: str, argument: dict[str, Any]) -> tuple[float, bytes]:
        """Seconds until the answer is there, not taken apart."""
        request = {"method": f"RPCServer.{method}", "params": [argument], "id": 1}
        started = time.perf_counter()
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = self.file.readline()
        return time.perf_counter() - started, answer


@contextlib.contextmanager
def session(dlv: str, program: Path, core: Path) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="dlv-") as scratch:
        line = [dlv, "core", str(program), str(core), "--headless", "--accept-multiclient"]
        line += ["--api-version=2", "--check-go-version=false", "--listen=127.0.0.1:0"]
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": scratch, "XDG_CONFIG_HOME": scratch},
            text=True,
        )
        try:
            yield Session(process)
        finally:
            process.kill()
            process.wait()


def peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def version(dlv: str) -> str:
    said = subprocess.run([dlv, "version"], capture_output=True, text=True, check=False).stdout
    return next((line.split()[1] for line in said.splitlines() if "Version:" in line), "?")


def entries(program: Path, core: Path, expression: str, count: int) -> Optional[Found]:
    """What listing ``count`` entries takes; None without a Delve."""
    dlv = shutil.which("dlv")
    if dlv is None:
        return None
    which = version(dlv)
    wanted = {
        "Scope": {"GoroutineID": -1, "Frame": 0},
        "Expr": expression,
        "Cfg": {
            "FollowPointers": True,
            "MaxVariableRecurse": 1,
            "MaxStringLen": 64,
            "MaxArrayValues": count,
            "MaxStructFields": -1,
        },
    }
    try:
        with session(dlv, program, core) as delve:
            before = peak(delve.process.pid)
            best = float("inf")
            for _ in range(ROUNDS):
                taken, answer = delve.timed("Eval", wanted)
                best = min(best, taken)
            document = json.loads(answer)
            if document["error"]:
                return Found(which, 0, 0, str(document["error"]))
            # Keys and elems take turns.
            listed = len(document["result"]["Variable"]["children"]) // 2
            if listed != count:
                return Found(which, 0, 0, f"it lists {listed:,} of {count:,} entries")
            return Found(which, best, peak(delve.process.pid) - before, "")
    except (OSError, ValueError, KeyError) as error:
        return Found(which, 0, 0, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    PROGRAM, CORE, EXPRESSION, COUNT = sys.argv[1:]
    print(entries(Path(PROGRAM), Path(CORE), EXPRESSION, int(COUNT)))
