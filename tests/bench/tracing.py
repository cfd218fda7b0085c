"""What a trace costs the program: the same million inserts with and without it, in one run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import gdbtool  # noqa: E402
import toolchains  # noqa: E402

PROGRAM = HERE.parent / "go" / "traced"
INSERTS = 1_000_000
WORK = ("-mode", "insert", "-kind", "int", "-inserts", str(INSERTS))
ROUNDS = 3
ENGINES = ("break", "uprobe")


def seconds(text: str) -> float:
    """What the program says its inserts took."""
    found = re.search(r"total_ns (\d+)", text)
    assert found, text
    return int(found.group(1)) / 1e9


def traced(program: str, start: str) -> float | None:
    """The inserts' time under a trace; None where this engine cannot be had."""
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
    # Kernel probes want privileges; a program that runs untraced is no measure.
    return seconds(done.stdout) if "Ended" in done.stdout else None


def rows(label: str) -> list[dict[str, Any]]:
    """A row an engine."""
    program = str(toolchains.build(PROGRAM, label))
    plain = float("inf")
    least = dict.fromkeys(ENGINES, float("inf"))
    for _ in range(ROUNDS):
        done = subprocess.run([program, *WORK], capture_output=True, text=True, check=False)
        plain = min(plain, seconds(done.stdout))
        for name in ENGINES:
            took = traced(program, f"-engine {name} -o {os.devnull} -force")
            if took is not None:
                least[name] = min(least[name], took)
    return [
        {
            "name": f"a program's inserts, growth traced (-engine {name}), {label}",
            "size": INSERTS,
            "ours_s": took,
            "peer": "the same program untraced",
            "peer_s": plain,
            "ratio": took / plain,
            "peak_bytes": None,
        }
        for name, took in least.items()
        if took != float("inf")
    ]


def main(labels: list[str]) -> None:
    for label in labels:
        for row in rows(label):
            print(
                f"{row['name']}: {row['ours_s']:.3f} s, {row['ratio']:.2f} of {row['peer_s']:.3f} s"
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["1.23.9", "1.27.3"])
