"""Goroutines, frames, variables and allocation sites in cores of the frames fixture."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import toolchains

FRAMES = Path(__file__).parent / "go" / "frames"
FLAVOURS: dict[str, tuple[str, ...]] = {
    "symbols": (),
    "unoptimized": ("-gcflags=all=-N -l",),
    "stripped": ("-ldflags=-s -w",),
    "pie-stripped": ("-buildmode=pie", "-ldflags=-s -w"),
    "pie": ("-buildmode=pie",),
}


class Specimen(NamedTuple):
    """A core of the fixture, the fixture, and what it says of itself."""

    core: Path
    program: Path
    truth: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.truth if row["kind"] == kind]


@pytest.fixture(scope="session")
def stackdump() -> Path:
    """The example that prints what the library finds in a core."""
    return cores.example("stackdump")


def crash(version: str, flavour: str, folder: Path) -> Specimen:
    """Let the fixture crash, and keep its core."""
    program = toolchains.build(FRAMES, version, flags=FLAVOURS[flavour])
    path = folder / "truth.jsonl"
    core = cores.core_of([program, path], folder)
    truth = [json.loads(line) for line in path.read_text().splitlines()]
    return Specimen(core, program, truth)


def dump(stackdump: Path, specimen: Specimen) -> dict[str, Any]:
    """What the library finds."""
    command = [str(stackdump), str(specimen.core), str(specimen.program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


#: Callers leaves out wrappers (cmd/internal/objabi/funcid.go).
WRAPPERS = ("runtime.deferreturn", "runtime.deferCallSave", "runtime.runOpenDeferFrame")


def plain(frame: dict[str, Any]) -> tuple[str, str, int]:
    """A frame as runtime.CallersFrames names it: type arguments are left out."""
    name = re.sub(r"\[.*\]", "[...]", frame["function"])
    return name, frame["file"], frame["line"]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("version", toolchains.VERSIONS)
def test_what_a_core_shows(version: str, flavour: str, stackdump: Path, tmp_path: Path) -> None:
    specimen = crash(version, flavour, tmp_path)
    document = dump(stackdump, specimen)
    assert document["defects"] == []
    found = {row["id"]: row for row in document["goroutines"]}
    assert len(found) == len(document["goroutines"])
    assert min(found) == 1

    stacks = specimen.of("stack")
    assert len(stacks) == 7
    for row in stacks:
        frames = [plain(frame) for frame in found[row["id"]]["frames"]]
        names = [name for name, _, _ in frames]
        above = frames[names.index("main.stop") + 1 :]
        above = [frame for frame in above if frame[0] not in WRAPPERS]
        assert above == [plain(frame) for frame in row["frames"]]
    # All that are parked lead to their ends.
    for row in found.values():
        if row["known"]:
            assert row["frames"][-1]["function"] in ("runtime.goexit", "runtime.goexit.abi0")

    # The stacks of the memory profile, behind the allocator's own frames.
    allocations = {row["object"]: row["frames"] for row in document["allocations"]}
    sites = specimen.of("alloc")
    assert len(sites) == 18
    for row in sites:
        expected = [plain(frame) for frame in row["frames"]]
        frames = [plain(frame) for frame in allocations[row["address"]]]
        assert frames[-len(expected) :] == expected
        assert all(name.startswith("runtime.") for name, _, _ in frames[: -len(expected)])

    objects = specimen.of("finalized")
    assert {row["value"] for row in objects} == {"yes", "no"}
    for row in objects:
        assert (row["address"] in document["finalized"]) == (row["value"] == "yes")
        assert row["value"] == "no" or row["captured"]["function"] in document["roots"]

    if "stripped" in flavour:
        assert document["values"] == document["globals"] == []
        return
    values: dict[tuple[int, str], set[str]] = {}
    for row in document["values"]:
        values.setdefault((row["id"], row["name"]), set()).add(row["value"])
    for row in specimen.of("value"):
        known = values.get((row["id"], row["name"]), set())
        assert row["value"] in known, f"{row['function']}.{row['name']} is not in {known}"

    (truth,) = specimen.of("global")
    assert truth["value"] in [
        row["value"] for row in document["globals"] if row["name"] == truth["name"]
    ]

    code = {row["entry"]: row for row in document["closures"]}
    (closure,) = specimen.of("closure")
    captured = code[closure["address"]]["captured"]
    if int(version.split(".")[1]) < 23:
        assert captured == []
    else:
        assert {row["name"] for row in captured} == set(closure["captured"])
        assert [row["offset"] for row in captured] == [8, 16, 24]
        assert [row["name"] for row in captured if row["escaped"]] == ["changed"]
    (method,) = specimen.of("method")
    assert code[method["address"]]["receiver"] == "*main.counter"


@pytest.mark.parametrize("version", ["1.21.13", "1.24.11", "1.27.3"])
def test_nothing_in_a_core_makes_it_crash(version: str, stackdump: Path, tmp_path: Path) -> None:
    specimen = crash(version, "symbols", tmp_path)
    whole = specimen.core.read_bytes()
    damaged = specimen._replace(core=tmp_path / "damaged")
    chance = random.Random(version)
    for round_, data in cores.damages(whole, chance, 24):
        damaged.core.write_bytes(data)
        command = [str(stackdump), str(damaged.core), str(damaged.program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        # 101: a panic; below 0: a signal.
        assert done.returncode in (0, 1), f"round {round_}: {done.stderr}"
