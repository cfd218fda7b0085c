"""Profiles read from memory against what the program's own runtime says of them."""

from __future__ import annotations

import functools
import json
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import gdbtool
import toolchains

PROFILES = Path(__file__).parent / "go" / "profiles"
STRIPPED = ("-ldflags=-s -w",)
PIE = ("-buildmode=pie",)
FLAVOURS: dict[str, tuple[str, ...]] = {"symbols": (), "stripped": STRIPPED, "pie": PIE}
CASES = [
    *((version, "symbols") for version in toolchains.VERSIONS),
    ("1.25.5-noswissmap", "symbols"),
    ("1.21.13", "stripped"),
    ("1.23.9", "stripped"),
    ("1.27.3", "stripped"),
    ("1.26.6", "pie"),
]
RATE = 512
"""A heap profile's rate that leaves small objects out, and scales what it has."""


class Specimen(NamedTuple):
    """A core of the fixture, the fixture, and where it wrote what it says of itself."""

    core: Path
    program: Path
    folder: Path

    def truth(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "truth.json").read_text())
        return document

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


Told = Callable[[str, str], tuple[Specimen, dict[str, Any]]]


@pytest.fixture(scope="session")
def profiledump() -> Path:
    """The example that prints what the library finds in a core."""
    return cores.example("profiledump")


def crash(label: str, flavour: str, folder: Path, rate: int, *arguments: str) -> Specimen:
    program = toolchains.build(PROFILES, label, flags=FLAVOURS[flavour])
    command = [program, folder, *arguments]
    core = cores.core_of(command, folder, GODEBUG=f"memprofilerate={rate}")
    return Specimen(core, program, folder)


def dump(profiledump: Path, specimen: Specimen) -> dict[str, Any]:
    command = [str(profiledump), str(specimen.core), str(specimen.program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def returns(sample: dict[str, Any], shift: int) -> list[int]:
    """A sample's stack as the runtime returns it: one behind each call, 32 at most."""
    return [place["address"] + 1 + shift for place in sample["stack"]][:32]


def bias(found: dict[str, Any], truth: dict[str, Any]) -> int:
    """What the loader added: both lists end with the oldest record."""
    ours = found["heap"]["samples"][-1]["stack"][0]["address"] + 1
    theirs: int = truth["heap"][-1]["stack"][0]
    shift = theirs - ours
    assert shift % 4096 == 0
    return shift


def goroutines_of(text: str) -> dict[int, tuple[str, list[str]]]:
    """Wait reasons and functions by the goroutine's number, from runtime.Stack."""
    found = {}
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        matched = re.match(r"goroutine (\d+) [^\[]*\[([^\],]*)", head)
        assert matched is not None, head
        calls = [line.rpartition("(")[0] for line in lines if not line.startswith("\t")]
        calls = [call for call in calls if call and not call.startswith("created by ")]
        found[int(matched[1])] = (matched[2], calls)
    return found


@pytest.fixture(scope="module")
def told(profiledump: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What a program says of itself, and what the library finds in its core; made once."""

    @functools.cache
    def make(label: str, flavour: str) -> tuple[Specimen, dict[str, Any]]:
        specimen = crash(label, flavour, tmp_path_factory.mktemp("profiles"), 1)
        found = dump(profiledump, specimen)
        specimen.core.unlink()
        return specimen, found

    return make


@pytest.mark.parametrize(("label", "flavour"), CASES)
def test_records_are_those_of_the_runtime(label: str, flavour: str, told: Told) -> None:
    specimen, found = told(label, flavour)
    truth = specimen.truth()
    shift = bias(found, truth)
    assert flavour == "pie" or shift == 0
    assert truth["Rate"] == found["heap"]["period"] == 1

    # Allocations: record by record, in the runtime's own order. What MemProfile itself and what
    # followed it allocated made new records, which come first and count nothing.
    ours = found["heap"]["samples"]
    newer = len(ours) - len(truth["heap"])
    assert all(sample["values"] == [0, 0, 0, 0] for sample in ours[:newer])
    assert len(truth["heap"]) > 50
    for record, sample in zip(truth["heap"], ours[newer:], strict=True):
        assert record["values"] == sample["values"] == sample["raw"]
        stack = returns(sample, shift)
        # The runtime hands out 32 calls at most, and what is inlined at the end of a stack
        # that was cut is known to us alone.
        assert record["stack"] == stack[: len(record["stack"])]
        assert len(stack) == len(record["stack"]) or len(stack) == 32
    assert sum(sample["values"][3] for sample in ours) > 1 << 20
    maps = [
        sample
        for sample in ours
        if any(line[0] == "main.fill" for place in sample["stack"] for line in place["lines"])
    ]
    assert any(
        line[0].startswith("runtime.mapassign") for sample in maps for line in frames(sample)
    )

    # Waits.
    for kind in ("block", "mutex"):
        rows = [(tuple(row["stack"]), *row["values"]) for row in truth[kind]]
        mine = [
            (tuple(returns(sample, shift)), *sample["raw"]) for sample in found[kind]["samples"]
        ]
        # The runtime's own locks are waited for at any time; their stacks are none of ours.
        assert sorted(of_program(found[kind], rows, shift)) == sorted(
            of_program(found[kind], mine, shift)
        )
        # runtime/pprof measured the clock, so the delays are times.
        assert found[kind]["types"] == [["contentions", "count"], ["delay", "nanoseconds"]]
        second = re.search(r"cycles/second=(\d+)", specimen.text(f"{kind}.txt"))
        assert second is not None
        for sample in found[kind]["samples"]:
            expected = sample["raw"][1] * 1e9 / int(second[1])
            assert abs(sample["values"][1] - expected) <= 1 + expected * 1e-9
    waited = [
        sample
        for sample in found["block"]["samples"]
        if any(line[0] == "main.locked" for line in frames(sample))
    ]
    assert waited, "inlined calls are frames"


def of_program(
    profile: dict[str, Any], rows: list[tuple[Any, ...]], shift: int
) -> list[tuple[Any, ...]]:
    """The rows whose stacks do not begin in the runtime's own locks."""
    runtime = {
        place["address"] + 1 + shift
        for sample in profile["samples"]
        for place in sample["stack"][:1]
        if place["lines"][0][0] in ("runtime.unlock", "runtime._LostContendedRuntimeLock")
    }
    kept = [row for row in rows if row[0][0] not in runtime]
    assert kept
    return kept


def frames(sample: dict[str, Any]) -> list[list[Any]]:
    return [line for place in sample["stack"] for line in place["lines"]]


@pytest.mark.parametrize(("label", "flavour"), CASES)
def test_goroutines_are_those_of_the_runtime(label: str, flavour: str, told: Told) -> None:
    specimen, found = told(label, flavour)
    truth = specimen.truth()
    standing = found["standing"]
    named = goroutines_of(specimen.text("stacks.txt"))
    assert {goroutine["id"] for goroutine in standing} == set(named)
    shift = bias(found, truth)

    # The first ran when it was asked, and panicked since.
    parked = [goroutine for goroutine in standing if goroutine["id"] != 1]
    assert len(parked) >= 6
    rows = Counter(tuple(stack) for stack in truth["Goroutines"])
    mine = Counter(tuple(returns(goroutine, shift)) for goroutine in parked)
    assert mine <= rows
    assert sum((rows - mine).values()) == 1

    for goroutine in parked:
        reason, calls = named[goroutine["id"]]
        assert goroutine["wait_reason"] == reason
        assert goroutine["status"] == "waiting"
        # Tracebacks leave the runtime's own out.
        ours = [line[0] for line in frames(goroutine) if not line[0].startswith("runtime.")]
        assert ours == [call for call in calls if not call.startswith("runtime.")]

    labelled = [goroutine for goroutine in standing if goroutine["labels"]]
    assert len(labelled) == 2
    for goroutine in labelled:
        assert goroutine["labels"] == {"map": "sessions", "tenant": 'ä "x"'}
    # Taken together, as the runtime's own profile has them.
    together = [
        sample
        for sample in found["goroutine"]["samples"]
        if sample["labels"].get("map") is not None
    ]
    assert [sample["values"] for sample in together] == [[2]]
    assert together[0]["labels"]["wait reason"] == "chan receive"


@pytest.mark.parametrize("label", ["1.21.13", "1.24.11", "1.26.6", "1.27.3"])
def test_sampled_values_are_scaled_as_pprof_does(
    label: str, profiledump: Path, tmp_path: Path
) -> None:
    specimen = crash(label, "symbols", tmp_path, RATE)
    found = dump(profiledump, specimen)
    specimen.core.unlink()
    assert found["heap"]["period"] == RATE
    go = toolchains.ensure(label)
    command = [go, "tool", "pprof", "-raw", specimen.folder / "heap.pb.gz"]
    raw = subprocess.run(
        command, capture_output=True, text=True, check=True, env=toolchains.environment(label)
    ).stdout
    rows: list[tuple[int, ...]] = []
    for line in raw.partition("Samples:\n")[2].partition("Locations\n")[0].splitlines():
        matched = re.match(r"\s*(\d+\s+\d+\s+\d+\s+\d+): ", line)
        if matched:
            rows.append(tuple(int(word) for word in matched[1].split()))
    ours = [tuple(sample["values"]) for sample in found["heap"]["samples"]]
    # Records that were made since count nothing.
    assert Counter(filter(any, rows)) == Counter(filter(any, ours))
    assert len(rows) > 10
    assert any(
        sample["values"] != sample["raw"] and sample["raw"][0]
        for sample in found["heap"]["samples"]
    )


@pytest.mark.parametrize(("label", "flavour"), [("1.22.10", "symbols"), ("1.27.3", "stripped")])
def test_what_nobody_asked_for_is_there_too(
    label: str, flavour: str, profiledump: Path, tmp_path: Path
) -> None:
    specimen = crash(label, flavour, tmp_path, 1, "silent")
    found = dump(profiledump, specimen)
    specimen.core.unlink()
    known = [
        sample
        for sample in found["heap"]["samples"]
        if sample["labels"]["bytes"] == 3072
        and any(line[0] == "main.known" for line in frames(sample))
    ]
    # Before the first collection all is shown that is counted.
    assert sum(sample["values"][0] for sample in known) == 2 * 777
    assert any("no collection was completed" in note for note in found["heap"]["notes"])
    for kind in ("block", "mutex"):
        assert found[kind]["samples"] == []
        assert "there are no records" in found[kind]["notes"][0]


class Core:
    """A core whose words can be changed, by their addresses in the process."""

    def __init__(self, path: Path) -> None:
        self.bytes = bytearray(path.read_bytes())
        offset, size, count = struct.unpack_from("<32xQ14xHH", self.bytes)
        headers = [
            struct.unpack_from("<I4xQQ8xQ", self.bytes, offset + number * size)
            for number in range(count)
        ]
        self.loads = [header[1:] for header in headers if header[0] == 1]

    def at(self, address: int) -> int:
        offset, start, _ = next(
            load for load in self.loads if load[1] <= address < load[1] + load[2]
        )
        return offset + address - start

    def word(self, address: int) -> int:
        (value,) = struct.unpack_from("<Q", self.bytes, self.at(address))
        assert isinstance(value, int)
        return value

    def poke(self, address: int, value: int) -> None:
        struct.pack_into("<Q", self.bytes, self.at(address), value)


def symbol(program: Path, name: str) -> int:
    go = toolchains.ensure("1.27.3")
    listed = subprocess.run(
        [go, "tool", "nm", program], capture_output=True, text=True, check=True
    ).stdout
    return next(int(row.split()[0], 16) for row in listed.splitlines() if row.endswith(f" {name}"))


def test_damaged_records_are_told(profiledump: Path, tmp_path: Path) -> None:
    specimen = crash("1.27.3", "symbols", tmp_path, 1)
    whole = dump(profiledump, specimen)
    count = len(whole["heap"]["samples"])
    heads = symbol(specimen.program, "runtime.mbuckets")
    first = Core(specimen.core).word(heads)
    second = Core(specimen.core).word(first + 8)
    # bucket: next, allnext, typ, hash, size, nstk.
    damages: list[tuple[dict[int, int], int, str]] = [
        ({second + 8: first}, 2, "goes in a circle"),
        ({second + 40: 1 << 40}, 1, "is none"),
        ({second + 16: 2}, 1, "is none"),
        ({second + 8: 0xDEAD0000}, 2, "unreadable"),
        ({heads: 0xDEAD0001}, 0, "unreadable"),
        ({heads: 0}, 0, ""),
    ]
    for pokes, left, note in damages:
        core = Core(specimen.core)
        for address, value in pokes.items():
            core.poke(address, value)
        damaged = specimen._replace(core=tmp_path / "damaged")
        damaged.core.write_bytes(core.bytes)
        found = dump(profiledump, damaged)["heap"]
        assert len(found["samples"]) == left < count
        assert note in " ".join(found["notes"])
    # A count that cannot be is left out, and so are more frees than allocations.
    core = Core(specimen.core)
    depth = core.word(first + 40)
    core.poke(first + 48 + 8 * depth + 8, 1 << 60)
    damaged = specimen._replace(core=tmp_path / "damaged")
    damaged.core.write_bytes(core.bytes)
    found = dump(profiledump, damaged)["heap"]
    assert len(found["samples"]) == count - 1
    assert "more frees than allocations" in " ".join(found["notes"])
    # Half a core still answers or says in a line why not.
    damaged.core.write_bytes(specimen.core.read_bytes()[: specimen.core.stat().st_size // 2])
    command = [str(profiledump), str(damaged.core), str(specimen.program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or len(done.stderr.splitlines()) == 1
    assert "panicked" not in done.stderr
    damaged.core.unlink()
    specimen.core.unlink()


@pytest.mark.parametrize("label", ["1.22.10", "1.27.3"])
def test_ticks_of_a_live_process_are_times(label: str, tmp_path: Path) -> None:
    """At rate 1 a program that writes no profile never measures its clock."""
    program = toolchains.build(PROFILES, label)
    printed = tmp_path / "printed"
    before = [f"file {program}", "break main.stand", f"run {tmp_path} stand > {printed}"]
    with gdbtool.Session(before) as gdb:
        out = tmp_path / "block.pb.gz"
        document = gdb.json(f"go-map-pprof block -json -o {out}")
        (profile,) = document["profiles"]
        assert profile["sample_types"][1] == {"name": "delay", "unit": "nanoseconds"}
    matched = re.search(r"WAITED (\d+) (\d+)", printed.read_text())
    assert matched is not None
    least, most = int(matched[1]), int(matched[2])
    raw = subprocess.run(
        [toolchains.ensure("1.27.3"), "tool", "pprof", "-raw", out],
        capture_output=True,
        text=True,
        check=True,
        env=toolchains.environment("1.27.3"),
    ).stdout
    delays = [int(row[1]) for row in re.findall(r"^\s+(\d+)\s+(\d+): ", raw, re.MULTILINE)]
    assert least <= max(delays) <= most * 1.001


def test_ticks_of_a_core_stay_ticks(profiledump: Path, tmp_path: Path) -> None:
    specimen = crash("1.27.3", "symbols", tmp_path, 0, "ticks")
    block = dump(profiledump, specimen)["block"]
    specimen.core.unlink()
    assert block["types"][1] == ["delay", "ticks"]
    assert any("delays are in ticks" in note for note in block["notes"])
    assert all(sample["values"] == sample["raw"] for sample in block["samples"])
    assert any(line[0] == "main.wait" for sample in block["samples"] for line in frames(sample))
