"""What a trace costs the program: the same million inserts with and without it, in one run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import gdbtool  # noqa: E402
import toolchains  # noqa: E402

PROGRAM = HERE.parent / "go" / "traced"
WORK = ("-mode", "insert", "-kind", "int", "-inserts", "1000000")
ROUNDS = 3
ENGINES = {"break": "at most 1.6 on classic, 5 on Swiss", "uprobe": "no goal"}


def seconds(text: str) -> float:
    """What the program says its inserts took."""
    found = re.search(r"total_ns (\d+)", text)
    assert found, text
    return int(found.group(1)) / 1e9


def traced(program: str, start: str) -> tuple[float, str]:
    """The inserts' time under a trace, and what its status says first."""
    commands = (
        *gdbtool.QUIET,
        f"source {gdbtool.SCRIPT}",
        "break main.main",
        f"run {' '.join(WORK)}",
        "delete",
        f"go-map-trace start {start}",
        "continue",
        "go-map-trace",
    )
    line = [os.environ.get("GDB", "gdb"), "-nx", "-q", "-batch"]
    for command in commands:
        line += ["-ex", command]
    done = subprocess.run([*line, program], capture_output=True, text=True, check=False)
    status = done.stdout.rpartition("Ended")[2].partition("\n\n")[0]
    return seconds(done.stdout), " ".join(status.split())


def report(label: str) -> str:
    """One line an engine."""
    program = str(toolchains.build(PROGRAM, label))
    plain = []
    found: dict[str, list[tuple[float, str]]] = {name: [] for name in ENGINES}
    for _ in range(ROUNDS):
        done = subprocess.run([program, *WORK], capture_output=True, text=True, check=False)
        plain.append(seconds(done.stdout))
        for name, runs in found.items():
            runs.append(traced(program, f"-engine {name} -o {os.devnull} -force"))
    least = min(plain)
    lines = [f"Traces of growth, {label}, 1e6 inserts in {least:.3f} s untraced:"]
    for name, runs in found.items():
        took, status = min(runs)
        lines.append(f"  {name}: {took / least:.2f} times ({ENGINES[name]}) {status}")
    return "\n".join(lines)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ("1.23.9", "1.27.3"):
        print(report(wanted))
