"""How fast execution traces are read, beside `go tool trace -d=parsed` on the same file.

    python tests/bench/exectrace.py [TRACE]

Without TRACE the fixture traces itself for some seconds, with AllocFree events, under the newest
toolchain.  Go's tool prints every event, which is most of its work; the reader hands on facts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import exectracetool
import toolchains

ROOT = Path(__file__).resolve().parent.parent.parent
VERSION = toolchains.VERSIONS[-1]


def reader() -> Path:
    """The reader's example program."""
    subprocess.run(
        [
            os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--quiet",
            "-p", "gomapscope-core", "--example", "tracedump",
        ],
        cwd=ROOT,
        check=True,
    )  # fmt: skip
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "tracedump"


def peak(command: list[str]) -> tuple[bytes, int]:
    """What a command prints, and the most memory it had, in KiB."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]}: exit status {process.returncode}")
    return out, usage.ru_maxrss


def main(arguments: list[str]) -> int:
    program = str(reader())
    with tempfile.TemporaryDirectory() as scratch:
        if arguments:
            trace = Path(arguments[0])
        else:
            env = {"GODEBUG": "traceallocfree=1"}
            trace, _ = exectracetool.record(VERSION, Path(scratch), "2000", "4000", env=env)
        runs = [json.loads(peak([program, "-time", str(trace)])[0]) for _ in range(3)]
        _, memory = peak([program, "-time", str(trace)])
        best = min(runs, key=lambda run: run["seconds"])
        megabytes = best["bytes"] / 1e6
        print(
            f"{megabytes:.1f} MB, {best['events']:,} events, {best['facts']:,} facts: "
            f"{best['seconds']:.3f} s, {megabytes / best['seconds']:.0f} MB/s, "
            f"{memory / 1024:.0f} MiB at most"
        )
        started = time.monotonic()
        lines = sum(1 for _ in exectracetool.go_lines(VERSION, trace))
        seconds = time.monotonic() - started
        print(
            f"go tool trace -d=parsed ({VERSION}): {lines:,} lines, {seconds:.1f} s, "
            f"{megabytes / seconds:.1f} MB/s: {seconds / best['seconds']:.0f} times as long"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
