"""How fast execution traces are read, beside `go tool trace -d=parsed` on the same file.

    python tests/bench/exectrace.py [TRACE]

Without TRACE the fixture traces itself for some seconds, with AllocFree events, under the newest
toolchain.  Go's tool prints every event, which is most of its work; the reader hands on facts.
"""

from __future__ import annotations

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


def measured(command: list[str]) -> tuple[int, float, float, int]:
    """Lines printed, seconds, seconds of processor time, and the most memory in KiB."""
    started = time.monotonic()
    environment = toolchains.environment(VERSION)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        lines = sum(1 for _ in process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]}: exit status {process.returncode}")
    seconds = time.monotonic() - started
    return lines, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main(arguments: list[str]) -> int:
    program = str(reader())
    go = str(toolchains.ensure(VERSION))
    with tempfile.TemporaryDirectory() as scratch:
        if arguments:
            trace = Path(arguments[0])
        else:
            env = {"GODEBUG": "traceallocfree=1"}
            trace, _ = exectracetool.record(VERSION, Path(scratch), "2000", "4000", env=env)
        megabytes = trace.stat().st_size / 1e6
        print(f"{megabytes:.1f} MB")
        found = {}
        for name, command in (
            ("reader", [program, "-time", str(trace)]),
            (f"go tool trace -d=parsed, {VERSION}", [go, "tool", "trace", "-d=parsed", str(trace)]),
        ):
            # The first run of Go's tool compiles it.
            runs = [measured(command) for _ in range(2)]
            lines, seconds, cpu, memory = min(runs, key=lambda run: run[2])
            found[name] = cpu
            print(
                f"  {name}: {seconds:.2f} s, {cpu:.2f} s of processor time, "
                f"{megabytes / cpu:.0f} MB/s of it, {memory / 1024:.0f} MiB, {lines:,} lines"
            )
        mine, theirs = found.values()
        print(f"  Go's tool, which prints each event, takes {theirs / mine:.0f} times as long")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
