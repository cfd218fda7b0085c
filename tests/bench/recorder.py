"""What the flight recorder costs the program it is in: the same program with and without it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import ringtool  # noqa: E402

import toolchains  # noqa: E402

PROGRAM = HERE.parent / "go" / "recorder"
ROUNDS = 4
VARIANTS = {"ring": (), "stacks": ("-stacks",), "frees": ("-track-free",)}


def measure(label: str) -> dict[str, dict[str, float]]:
    """Nanoseconds per operation, by what is done and by what records it; they take turns."""
    version = next(build.version for build in toolchains.BUILDS if build.label == label)
    programs = {"plain": toolchains.build(PROGRAM, label)}
    for name, options in VARIANTS.items():
        flag = f"-overlay={ringtool.overlay(version, *options)}"
        programs[name] = toolchains.build(PROGRAM, label, flags=[flag])
    least: dict[str, dict[str, float]] = defaultdict(dict)
    for _ in range(ROUNDS):
        for name, program in programs.items():
            done = subprocess.run([program], capture_output=True, text=True, check=True)
            for line in done.stdout.splitlines():
                what, value = line.split()
                least[what][name] = min(float(value), least[what].get(name, float("inf")))
    return dict(least)


def report(label: str) -> str:
    """One line for each goal."""
    found = measure(label)
    births = found["births"]
    each = ", ".join(f"{name} {births[name] - births['plain']:.0f} ns" for name in VARIANTS)
    lines = [f"Flight recorder, {label}: an event costs {each} (ring: at most 40)"]
    for what in ("lookups", "service"):
        share = found[what]["ring"] / found[what]["plain"]
        lines.append(f"  {what}: {share:.3f} of the time without it (at most 1.05)")
    return "\n".join(lines)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ("1.23.9", "1.27.3"):
        print(report(wanted))
