"""Go's heap in kernel cores of the zoo: every map found, with and without symbols."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import gdbtool
import toolchains
from test_truth import FIGURES, figure

ZOO = Path(__file__).parent / "go" / "zoo"
POPULATION = ZOO.with_name("population")
LABELS = [build.label for build in toolchains.BUILDS]
FLAVOURS: dict[str, tuple[str, ...]] = {
    "symbols": (),
    "stripped": ("-ldflags=-s -w",),
    "pie": ("-buildmode=pie",),
    "pie-stripped": ("-buildmode=pie", "-ldflags=-s -w"),
}
#: The same by the system's linker, which leaves other sections.
EXTERNAL: dict[str, tuple[str, ...]] = {
    "external-stripped": ("-ldflags=-linkmode=external -s -w",),
    "external-pie-stripped": ("-buildmode=pie", "-ldflags=-linkmode=external -s -w"),
}


class Specimen(NamedTuple):
    """A core of the zoo, the zoo, and what it says of itself."""

    core: Path
    program: Path
    truth: list[dict[str, Any]]


@pytest.fixture(scope="session")
def heapdump() -> Path:
    """The example that prints what the library finds in a core."""
    return cores.example("heapdump")


def crash(label: str, flavour: str, folder: Path, fixture: Path = ZOO) -> Specimen:
    """Let a fixture crash, and keep its core."""
    flags = {**FLAVOURS, **EXTERNAL}[flavour]
    env = {"CGO_ENABLED": "1", "CC": "cc"} if flavour in EXTERNAL else None
    program = toolchains.build(fixture, label, flags=flags, env=env)
    path = folder / "truth.jsonl"
    core = cores.core_of([program, path, "crash"], folder)
    return Specimen(core, program, gdbtool.read_truth(path))


def dump(heapdump: Path, specimen: Specimen, *names: str) -> dict[str, Any]:
    """What the library finds."""
    command = [str(heapdump), str(specimen.core), str(specimen.program), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def differences(document: dict[str, Any], truth: list[dict[str, Any]]) -> list[str]:
    """What contradicts the truth about the maps on the heap."""
    found = {row["address"]: row for row in document["maps"]}
    wrong = []
    for entry in truth:
        if entry["address"] == "0x0" or entry.get("on_stack"):
            continue
        name = f"{entry['expr']} ({entry.get('note', '')}): "
        row = found.get(entry["address"])
        if row is None:
            wrong.append(f"{name}not found")
            continue
        for key in ("len", "capacity"):
            if row[key] != entry[key]:
                wrong.append(f"{name}{key} is {row[key]}, not {entry[key]}")
        if row["evidence"] != "structure only" and entry["type"] not in row["types"]:
            wrong.append(f"{name}{row['evidence']} {row['types'][:3]}, not {entry['type']}")
        if row["evidence"] in ("exact", "inferred") and len(row["types"]) != 1:
            wrong.append(f"{name}{row['evidence']}, but {len(row['types'])} types")
    for row in found.values():
        if not row["evidence"].startswith("exact"):
            continue
        if not row["exact"]:
            wrong.append(f"{row['address']}: {row['types'][0]} does not walk")
        if row["outside"] or row["free"]:
            wrong.append(f"{row['address']}: blocks that are not in the heap")
        if row["allocated"] != row["owned"] and not row["at_least"]:
            wrong.append(f"{row['address']}: {row['allocated']} bytes, {row['owned']} walked")
    return wrong


def question(entry: dict[str, Any]) -> str:
    """A map by its address and the type Go prints."""
    return f"{entry['address']}={entry['type']}"


def wrong_figures(
    answers: list[dict[str, Any]], truth: list[dict[str, Any]], source: str
) -> list[str]:
    """What the figures of maps, asked for by address and type, have wrong."""
    wrong = []
    for answer, entry in zip(answers, truth, strict=True):
        if entry["type"] == "map[inner.ID]int":
            # Two packages of one name: which one is meant, the name does not say.
            continue
        name = f"{entry['expr']} {entry['type']}"
        if "error" in answer:
            wrong.append(f"{name}: {answer['error']}")
            continue
        stats = answer["stats"]
        if not stats["exact"]:
            wrong.append(f"{name}: not exact: {stats['defects']}")
        if stats["layout"]["source"] != source:
            wrong.append(f"{name}: layout from {stats['layout']['source']}")
        for key, path in FIGURES.items():
            expected, found = entry.get(key), figure(stats, path)
            if key in entry and expected and found != expected:
                wrong.append(f"{name}: {key} is {found}, not {expected}")
    return wrong


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("label", LABELS)
def test_every_map_is_found(label: str, flavour: str, heapdump: Path, tmp_path: Path) -> None:
    specimen = crash(label, flavour, tmp_path)
    document = dump(heapdump, specimen, *map(question, specimen.truth), "0x0=main.NoSuch")
    assert not differences(document, specimen.truth)
    *answers, unknown = document["asked"]
    assert "no type main.NoSuch" in unknown["error"]
    source = "runtime types" if "stripped" in flavour else "dwarf"
    assert not wrong_figures(answers, specimen.truth, source)
    assert document["defects"] == []
    assert document["totals"]["maps"] == len(document["maps"])

    # A span is the same by the table of arenas and by the list of spans.
    assert document["spans"] > 100
    assert document["spans_astray"] == 0
    # The code shows the heap where the symbol does.
    assert document["mheap_by_code"] == document["mheap"]
    assert document["located"] == ("Code" if "stripped" in flavour else "Name")

    assert document["functions"] > 1000
    assert document["functions_sound"]
    assert document["mallocinit"] is not None
    assert document["mallocinit_symbol"] in (document["mallocinit"], None)
    assert document["threads"] >= 1
    assert document["pc_function"] == "runtime.raise"
    assert (document["bias"] == "0x0") == ("pie" not in flavour)


@pytest.mark.parametrize("flavour", EXTERNAL)
@pytest.mark.parametrize("label", ["1.21.13", "1.25.5", "1.26.6", "1.27.3"])
def test_external_linking(label: str, flavour: str, heapdump: Path, tmp_path: Path) -> None:
    specimen = crash(label, flavour, tmp_path)
    document = dump(heapdump, specimen, *map(question, specimen.truth))
    assert not differences(document, specimen.truth)
    assert not wrong_figures(document["asked"], specimen.truth, "runtime types")
    assert document["located"] == "Code"
    assert document["defects"] == []


@pytest.mark.parametrize("label", LABELS)
def test_both_sources_of_layouts_agree(label: str, heapdump: Path, tmp_path: Path) -> None:
    document = dump(heapdump, crash(label, "symbols", tmp_path))
    assert document["layout_mismatches"] == []
    assert document["layouts_compared"] >= 100


class Cost(NamedTuple):
    """How a run of heapdump ended, and what it took."""

    status: int
    seconds: float
    memory: int
    said: str


def cost(heapdump: Path, specimen: Specimen, *names: str) -> Cost:
    """Run heapdump for what it costs."""
    command = [str(heapdump), str(specimen.core), str(specimen.program), *names]
    started = time.monotonic()
    # Spawned, not forked: what a child had before it executes anything counts as its own.
    with tempfile.TemporaryFile() as errors, open(os.devnull, "wb") as nothing:
        outputs = [
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        child = os.posix_spawn(command[0], command, os.environ, file_actions=outputs)
        timer = threading.Timer(gdbtool.TIMEOUT, os.kill, (child, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(child, 0)
        timer.cancel()
        seconds = time.monotonic() - started
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    return Cost(os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss, said)


def damage(whole: bytes, round_: int, chance: random.Random) -> bytearray:
    """A core with parts of it lost, swapped or replaced."""
    data = bytearray(whole)
    if round_ % 4 == 0:
        del data[chance.randrange(64, len(data)) :]
    if round_ % 4 == 1:
        for _ in range(2 ** (round_ % 9)):
            one, other = (chance.randrange(0, len(data) // 4096) * 4096 for _ in range(2))
            pages = data[one : one + 4096], data[other : other + 4096]
            data[other : other + 4096], data[one : one + 4096] = pages
    # Words of the live heap replaced by numbers that are hard on arithmetic, and by others of
    # its words.
    for _ in range(2 ** (round_ % 14)):
        at, other = (chance.randrange(0, len(data) - 8) & ~7 for _ in range(2))
        numbers = [0, 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 8]
        hard = chance.choice([*numbers, chance.getrandbits(64)]).to_bytes(8, "little")
        data[at : at + 8] = chance.choice([hard, data[other : other + 8]])
    return data


@pytest.mark.parametrize("flavour", ["symbols", "stripped"])
@pytest.mark.parametrize("label", ["1.21.13", "1.23.9", "1.27.3"])
def test_nothing_in_a_core_makes_it_crash(
    label: str, flavour: str, heapdump: Path, tmp_path: Path
) -> None:
    specimen = crash(label, flavour, tmp_path, POPULATION)
    healthy = cost(heapdump, specimen)
    assert healthy.status == 0, healthy.said
    whole = specimen.core.read_bytes()
    damaged = specimen._replace(core=tmp_path / "damaged")
    chance = random.Random(label + flavour)
    for round_ in range(20):
        damaged.core.write_bytes(damage(whole, round_, chance))
        found = cost(heapdump, damaged)
        # 101: a panic; below 0: a signal.
        assert found.status in (0, 1), f"round {round_}: {found.said}"
        assert found.seconds < 3 * healthy.seconds + 10, f"round {round_}"
        assert found.memory < 4 * healthy.memory, f"round {round_}"


@pytest.mark.parametrize("label", ["1.21.13", "1.23.9", "1.27.3"])
def test_questions_to_a_damaged_core(label: str, heapdump: Path, tmp_path: Path) -> None:
    specimen = crash(label, "stripped", tmp_path)
    whole = specimen.core.read_bytes()
    damaged = specimen._replace(core=tmp_path / "damaged")
    chance = random.Random(label)
    for round_ in range(20):
        damaged.core.write_bytes(damage(whole, round_, chance))
        found = cost(heapdump, damaged, *map(question, specimen.truth))
        assert found.status in (0, 1), f"round {round_}: {found.said}"


@pytest.mark.parametrize("label", ["1.21.13", "1.23.9", "1.27.3"])
def test_maps_in_interfaces_need_no_debug_information_of_their_types(
    label: str, tmp_path: Path
) -> None:
    """A named map type that stands in an interface alone is not in DWARF."""
    program = toolchains.build(POPULATION.with_name("heapalloc"), label)
    path = tmp_path / "truth.jsonl"
    before = [f"file {program}", "break main.waiting", f"run {path} > {tmp_path / 'out'}"]
    with gdbtool.Session(before) as session:
        truth = {fact["address"]: (fact["type"], fact["len"]) for fact in gdbtool.read_truth(path)}
        found = {}
        for index in range(len(truth)):
            stats = session.json(f"go-map-stats -json main.kept[{index}]")
            found[stats["address"]] = (stats["type"], stats["len"])
    assert "main.Set" in {kind for kind, _ in truth.values()}
    assert found == truth
