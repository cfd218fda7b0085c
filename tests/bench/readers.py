"""What reading files costs: event files, execution traces, profiles.

The console's commands beside what else reads the same file: a loop in Python, Go's own tools, and
as the limit the file's bytes alone.  Compared is the processor time of whole processes, all their
threads; they take turns, and the least of each counts.

    python tests/bench/readers.py [TRACE]

With TRACE only that execution trace is read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import exectracetool  # noqa: E402
import toolchains  # noqa: E402

ROOT = HERE.parent.parent
VERSION = toolchains.VERSIONS[-1]
ROUNDS = 3

READ = """
import sys
block = bytearray(1 << 20)
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.readinto(block):
        pass
"""
#: The least that a script needs to say how often each map grew and what that allocated.
JSON_LOOP = """
import collections, json, sys
found = collections.defaultdict(lambda: [0, 0])
with open(sys.argv[1], "rb") as file:
    next(file)
    for line in file:
        event = json.loads(line)
        if "op" in event:
            row = found[event["map"]]
            row[0] += 1
            row[1] += event.get("size", 0)
"""


class Taken(NamedTuple):
    """What a process took."""

    seconds: float
    peak_bytes: int


def run(command: Sequence[str | Path], environment: dict[str, str]) -> Taken:
    """Processor seconds and the most memory of a process that succeeds."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit status {process.returncode}")
    return Taken(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def compare(
    name: str,
    size: int,
    ours: Sequence[str | Path],
    peers: dict[str, Sequence[str | Path]],
) -> list[dict[str, Any]]:
    """A row for each peer."""
    environment = {**toolchains.environment(VERSION), "PYTHONPATH": str(ROOT / "python")}
    commands = {"": ours, **peers}
    least = dict.fromkeys(commands, float("inf"))
    peak = 0
    for _ in range(ROUNDS):
        for peer, command in commands.items():
            # What takes a minute does not vary that much.
            if least[peer] != float("inf") and least[peer] > 10:
                continue
            taken = run(command, environment)
            least[peer] = min(least[peer], taken.seconds)
            if not peer:
                peak = max(peak, taken.peak_bytes)
    return [
        {
            "name": name,
            "size": size,
            "ours_s": least[""],
            "peer": peer,
            "peer_s": least[peer],
            "ratio": least[""] / least[peer],
            "peak_bytes": peak,
        }
        for peer in peers
    ]


def console(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "gomapscope", *words]


def copying(path: Path) -> dict[str, Sequence[str | Path]]:
    return {"the file's bytes, 1 MiB reads": [sys.executable, "-c", READ, path]}


def trace_rows(trace: Path) -> list[dict[str, Any]]:
    """One execution trace; its size is in bytes."""
    go = toolchains.ensure(VERSION)
    peer = f"go tool trace -d=parsed, which prints each event (go{VERSION})"
    return compare(
        "gomapscope trace -json",
        trace.stat().st_size,
        console("trace", trace, "-json"),
        {peer: [go, "tool", "trace", "-d=parsed", trace], **copying(trace)},
    )


def rows(speed: Path, most: int) -> list[dict[str, Any]]:
    """All files, of up to ``most`` events; sizes are events, bytes of the trace, samples."""
    go = toolchains.ensure(VERSION)
    events, samples = min(most, 1_000_000), min(most, 200_000)
    few = [] if most >= 1_000_000 else ["300", "400"]
    with tempfile.TemporaryDirectory(prefix="gomapscope-bench-") as scratch:
        folder = Path(scratch)
        for kind, units in (("events", events), ("pprof", samples)):
            subprocess.run([speed, "make", kind, folder, str(units)], check=True)
        file = folder / "events.jsonl"
        found = compare(
            "gomapscope events -json",
            events,
            console("events", file, "-json"),
            {"a loop of json.loads": [sys.executable, "-c", JSON_LOOP, file], **copying(file)},
        )
        file.unlink()
        file = folder / "heap.pb"
        found += compare(
            "gomapscope pprof -json",
            samples,
            console("pprof", file, "-json"),
            {
                f"go tool pprof -top (go{VERSION})": [go, "tool", "pprof", "-top", file],
                **copying(file),
            },
        )
        env = {"GODEBUG": "traceallocfree=1"}
        trace, _ = exectracetool.record(VERSION, folder, *(few or ["2000", "4000"]), env=env)
        # Go's tools are compiled on first use.
        return found + trace_rows(trace)


def main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python tests/bench/readers.py TRACE; make bench runs all", file=sys.stderr)
        return 2
    for row in trace_rows(Path(arguments[0])):
        megabytes = row["size"] / 1e6
        print(
            f"{row['name']}: {megabytes:.1f} MB, {row['ours_s']:.2f} s of processor time, "
            f"{megabytes / row['ours_s']:.0f} MB/s, {row['peak_bytes'] / (1 << 20):.0f} MiB; "
            f"{row['ratio']:.4g} of {row['peer']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
