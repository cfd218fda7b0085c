"""Programs with the flight recorder in them, and the runtime's own record of what it allocates."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gdbtool
import toolchains

RING = Path(__file__).parent / "go" / "ring"


def instrument(
    go: Path, directory: Path, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``gomapscope instrument``; the go command picks no other toolchain."""
    line = [sys.executable, "-m", "gomapscope", "instrument", "-go", str(go), "-o", str(directory)]
    environment = toolchains.environment(toolchains.BUILDS[0].label)
    environment.pop("GOEXPERIMENT")
    environment["PYTHONPATH"] = str(gdbtool.ROOT / "python")
    done = subprocess.run(
        [*line, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=gdbtool.TIMEOUT,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def _content(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((directory / "_src").iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def overlay(version: str, *options: str) -> Path:
    """The overlay for a toolchain; where it is depends on its content, so builds may be kept."""
    home = toolchains.cache_dir() / "overlay"
    home.mkdir(parents=True, exist_ok=True)
    go = toolchains.ensure(version)
    with tempfile.TemporaryDirectory(prefix="tmp.", dir=home) as scratch:
        trial = Path(scratch) / "overlay"
        instrument(go, trial, *options)
        place = home / f"{version}-{_content(trial)}"
    with toolchains.locked(home / f"{place.name}.lock"):
        if not (place / "overlay.json").exists():
            instrument(go, place, *options)
    return place / "overlay.json"


def build(label: str, *options: str, flags: tuple[str, ...] = (), **env: str) -> Path:
    """The fixture with the flight recorder in it."""
    version = next(build.version for build in toolchains.BUILDS if build.label == label)
    file = overlay(version, *options)
    return toolchains.build(RING, label, flags=[f"-overlay={file}", *flags], env=env)


@dataclass
class Allocations:
    """What the runtime recorded under GODEBUG=traceallocfree=1, oldest first."""

    #: Time (ns, CLOCK_MONOTONIC), address, type.
    allocs: list[tuple[int, int, str]] = field(default_factory=list)
    #: Time, address of the slot.
    frees: list[tuple[int, int]] = field(default_factory=list)


class Torn(Exception):
    """A trace in which batches do not follow one another."""


def _events(goroot: Path) -> dict[int, tuple[str, int]]:
    """Number, name and count of arguments of the events a release writes, by its own sources."""
    for place in ("internal/trace/tracev2/events.go", "internal/trace/event/go122/event.go"):
        path = goroot / "src" / place
        if path.exists():
            break
    text = path.read_text()
    counts = {
        name: len(re.findall(r'"', arguments)) // 2
        for name, arguments in re.findall(
            r"\n\t(Ev\w+): (?:event\.Spec)?\{\n(?:.*\n)??\s*(?:Name:.*\n)?\s*"
            r"Args:\s*\[\]string\{(.*?)\}",
            text,
        )
    }
    numbers: dict[int, tuple[str, int]] = {}
    for first, block in re.findall(
        r"\t\w+ (?:event\.Type|EventType) = (.*?iota)(.*?)\n\)", text, re.S
    ):
        number = 127 if "127" in first else 0
        for name in re.findall(r"^\t(Ev\w+|_)\b", block, re.M):
            number += 1
            numbers[number] = (name, counts.get(name, 0))
    return numbers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    values = []
    for _ in range(count):
        value, at = _varint(data, at)
        values.append(value)
    return values, at


def _batches(data: bytes) -> Iterator[tuple[bool, int, int, bytes]]:
    """Whether it is of an experiment, generation, time and bytes of each batch."""
    at = 16
    while at < len(data):
        kind = data[at]
        at += 1
        if kind == 1:
            (generation, _, time, size), at = _varints(data, at, 4)
        elif kind == 49:
            at += 1
            (generation, _, time, size), at = _varints(data, at, 4)
        else:
            # The end of a generation, since go1.26.
            if kind != 52:
                raise Torn(f"batch of type {kind} at {at}")
            continue
        yield kind == 49, generation, time, data[at : at + size]
        at += size


def allocations(trace: Path, goroot: Path) -> Allocations:
    """Read an execution trace with the AllocFree experiment."""
    data = trace.read_bytes()
    assert re.match(rb"go 1\.\d+ trace\0", data), data[:16]
    known = _events(goroot)
    batches = list(_batches(data))
    types: dict[tuple[int, int], str] = {}
    base = 0
    for experiment, generation, _, body in batches:
        if not experiment:
            continue
        if body[:1] == b"\1":
            (base, page, align, _), _ = _varints(body, 1, 4)
            assert (page, align) == (8192, 8)
            continue
        at = 1
        while at < len(body):
            (number, _, _, _, length), at = _varints(body, at, 5)
            types[generation, number] = body[at : at + length].decode()
            at += length
    assert base
    found = Allocations()
    tables = {"EvStacks", "EvStrings", "EvCPUSamples", "EvFrequency", "EvSync"}
    for experiment, generation, time, body in batches:
        if experiment or (body and known[body[0]][0] in tables):
            continue
        at = 0
        while at < len(body):
            name, count = known[body[at]]
            (step, *rest), at = _varints(body, at + 1, count)
            time += step
            if name == "EvHeapObjectAlloc":
                kind = types.get((generation, rest[1]), "") if rest[1] else ""
                found.allocs.append((time * 64, base + rest[0] * 8, kind))
            elif name == "EvHeapObjectFree":
                found.frees.append((time * 64, base + rest[0] * 8))
    found.allocs.sort(key=lambda row: row[0])
    found.frees.sort(key=lambda row: row[0])
    return found
