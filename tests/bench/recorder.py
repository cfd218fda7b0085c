"""What the flight recorder costs the program it is in: the same program with and without it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

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


def rows(label: str) -> list[dict[str, Any]]:
    """Rows of one operation each, with the recorder and without."""
    found = measure(label)
    what = {
        "births": "a map made and filled with one entry",
        "lookups": "a lookup",
        "service": "a request of a service",
    }
    return [
        {
            "name": f"{text}, flight recorder ({variant}), {label}",
            "size": 1,
            "ours_s": found[kind][variant] / 1e9,
            "peer": "the same program without it",
            "peer_s": found[kind]["plain"] / 1e9,
            "ratio": found[kind][variant] / found[kind]["plain"],
            "peak_bytes": None,
        }
        for kind, text in what.items()
        for variant in (VARIANTS if kind == "births" else ("ring",))
    ]


def main(labels: list[str]) -> None:
    for label in labels:
        for row in rows(label):
            ours, theirs = row["ours_s"] * 1e9, row["peer_s"] * 1e9
            print(f"{row['name']}: {ours:.1f} ns, {theirs:.1f} ns without, {row['ratio']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["1.23.9", "1.27.3"])
