"""Instructions that the decoders take for each slot, event or sample, as callgrind counts them.

Unlike times they are the same on a busy machine, so tests can hold them: ``instructions.json``
says what they were when last noted, and under which compiler.

    python tests/bench/instructions.py           # counts and compares
    python tests/bench/instructions.py --write   # notes what is counted
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
NOTED = Path(__file__).with_suffix(".json")
HOW = "run `.venv/bin/python tests/bench/instructions.py --write`"

#: More than this share above what is noted is a regression, below it a gain to note.
SLACK = 0.05
#: Compilers differ.
SLACK_OF_OTHERS = 0.25


class Verdict(NamedTuple):
    """What a comparison says of one decoder."""

    wrong: bool
    text: str


def build() -> Path:
    """The example program that decodes, with the names of its functions."""
    cargo = [os.environ.get("CARGO", "cargo"), "rustc", "--release", "--quiet", "--locked"]
    command = [*cargo, "-p", "gomapscope-core", "--example", "speed", "--message-format=json"]
    done = subprocess.run(
        [*command, "--", "-C", "strip=none"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    return Path(next(executable for executable in built if executable))


def rustc() -> str:
    """The compiler's release: 1.95."""
    line = subprocess.run(
        [os.environ.get("RUSTC", "rustc"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.match(r"rustc (\d+\.\d+)", line)
    assert found, line
    return found[1]


def count(program: Path, what: str, units: str) -> float:
    """Instructions that one decoder takes for a unit."""
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind is missing: tools/prepare test"
    line = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    line += ["--toggle-collect=*speed*counted*", str(program), "once", what, units]
    # What the C library copies with is the processor's choice otherwise.
    plain = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS"}
    done = subprocess.run(line, env=plain, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{what}: {done.stderr}"
    counted = re.search(r"Collected : (\d+)", done.stderr)
    assert counted, f"{what}: {done.stderr}"
    assert int(counted[1]), f"{what}: nothing counted: {done.stderr}"
    return int(counted[1]) / int(done.stdout)


def measure(program: Path) -> dict[str, float]:
    """The same of all decoders."""
    listed = subprocess.run([program, "once"], capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
        what, units = line.split("\t")
        found[what] = round(count(program, what, units), 2)
    return found


def noted() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NOTED.read_text(encoding="utf-8"))
    return found


def compare(what: str, now: float, then: float | None, compiler: str, noted_of: str) -> Verdict:
    """Whether a decoder takes more than it may."""
    if then is None:
        return Verdict(True, f"{what}: {now:.2f} instructions a unit, none noted: {HOW}.")
    change = now / then - 1
    said = f"{what}: {now:.2f} instructions a unit, {then:.2f} noted ({change:+.1%})"
    slack = SLACK
    if compiler != noted_of:
        slack = SLACK_OF_OTHERS
        said += f", but noted of rustc {noted_of} and this is {compiler}: {slack:.0%} allowed"
    if change > slack:
        return Verdict(True, f"{said}. If that is worth it, {HOW} and say why in the commit.")
    if change < -slack:
        return Verdict(False, f"{said}. A gain: {HOW}, so that it is kept.")
    return Verdict(False, said)


def verdicts() -> list[Verdict]:
    """All decoders against what is noted."""
    then, compiler = noted(), rustc()
    now = measure(build())
    found = [
        compare(what, value, then["per_unit"].get(what), compiler, then["rustc"])
        for what, value in now.items()
    ]
    gone = sorted(set(then["per_unit"]) - set(now))
    found += [Verdict(True, f"{what}: noted, but no longer counted: {HOW}.") for what in gone]
    return found


def write() -> None:
    found = {"rustc": rustc(), "machine": platform.machine(), "per_unit": measure(build())}
    NOTED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        write()
        print(NOTED.read_text(encoding="utf-8"), end="")
        return 0
    found = verdicts()
    for verdict in found:
        print(verdict.text)
    return int(any(verdict.wrong for verdict in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
