"""Cores of which a part is missing: cut files, pages that were not dumped, no core at all.

Each command of the console either answers, flagged where a part is missing, or ends with one
line that names the file or the address.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest
import ringtool
from test_fault_injection import is_flagged

import gdbtool
import toolchains
from gdbtool import Session

ZOO = Path(__file__).parent / "go" / "zoo"
PAGE = 4096

#: What is asked of a core, each with ``-json``.
COMMANDS = {
    "stats": ("main.twentyK",),
    "buckets": ("main.twentyK", "-limit", "4000"),
    "entries": ("main.elemBig",),
    "layout": ("main.crowded",),
    "scan": ("-quick",),
    "writers": (),
}


class Specimen(NamedTuple):
    core: Path
    program: Path
    truth: dict[str, dict[str, Any]]
    answers: dict[str, str]


def console(command: str, core: Path, program: Path) -> subprocess.CompletedProcess[str]:
    words = [command, "-core", str(core), "-exe", str(program), "-json", *COMMANDS[command]]
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", *words],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=["1.23.9", "1.27.3"])
def specimen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    folder = tmp_path_factory.mktemp("core")
    program = toolchains.build(ZOO, request.param)
    core = cores.core_of([program, folder / "truth", "crash"], folder)
    truth = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}
    answers = {command: console(command, core, program).stdout for command in COMMANDS}
    whole = json.loads(answers["stats"])
    assert (whole["len"], whole["exact"]) == (truth["main.twentyK"]["len"], True)
    return Specimen(core, program, truth, answers)


def loads(core: Path) -> list[tuple[int, int, int, int, int]]:
    """Where each PT_LOAD's header stands, and its offset, address, file and memory size."""
    with core.open("rb") as stream:
        head = stream.read(64)
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        found = []
        for index in range(count):
            stream.seek(table + index * size)
            kind, _, offset, start, _, filed, memory = struct.unpack("<IIQQQQQ", stream.read(48))
            if kind == 1:
                found.append((table + index * size, offset, start, filed, memory))
        return found


def copied(core: Path, place: Path) -> Path:
    """A copy that takes no room for what is not there."""
    subprocess.run(["cp", "--sparse=always", core, place], check=True)
    return place


def shortened(core: Path, address: int) -> None:
    """What is dumped of the segment of ``address`` ends there: filesz < memsz."""
    for at, _, start, filed, memory in loads(core):
        if start <= address < start + filed:
            with core.open("r+b") as stream:
                stream.seek(at + 32)
                stream.write(struct.pack("<QQ", address - start, memory))
            return
    raise AssertionError(f"{address:#x} is in no segment")


def offset_of(core: Path, address: int) -> int:
    """Where a byte of memory stands in the core."""
    for _, offset, start, filed, _ in loads(core):
        if start <= address < start + filed:
            return offset + address - start
    raise AssertionError(f"{address:#x} is in no segment")


def check(command: str, damaged: Path, specimen: Specimen) -> bool:
    """Whether a command has another answer than of the whole core; it is flagged then."""
    done = console(command, damaged, specimen.program)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert not done.stdout
        (line,) = done.stderr.splitlines()
        assert "0x" in line or damaged.name in line, line
        return True
    whole = specimen.answers[command]
    fresh, known = (without_time(json.loads(text)) for text in (done.stdout, whole))
    if fresh == known:
        return False
    assert is_flagged(done.stdout, whole), (command, done.stdout[:2000])
    return True


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "seconds"}


def storage(specimen: Specimen) -> tuple[int, int]:
    """Where the storage of the large map begins and ends."""
    addresses = json.loads(specimen.answers["stats"])["addresses"]
    return int(addresses["low"], 16), int(addresses["high"], 16)


def test_a_core_with_less_in_the_file_than_in_memory(specimen: Specimen, tmp_path: Path) -> None:
    damaged = copied(specimen.core, tmp_path / "damaged")
    low, high = storage(specimen)
    shortened(damaged, (low + high) // 2 & -PAGE)
    assert check("stats", damaged, specimen)
    assert check("buckets", damaged, specimen)
    # gdb, which reads the same file, says the same.
    with Session([f"file {specimen.program}", f"core-file {damaged}"]) as session:
        document = session.json("go-map-stats -json main.twentyK")
        assert document["exact"] is False
        assert document["defects"]
        assert "Not exact" in session.text("go-map-stats main.twentyK")
        assert session.text("output $_go_map_len(main.twentyK)") == str(
            specimen.truth["main.twentyK"]["len"]
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_core_that_is_cut(specimen: Specimen, command: str, tmp_path: Path) -> None:
    damaged = copied(specimen.core, tmp_path / "damaged")
    low, high = storage(specimen)
    size = specimen.core.stat().st_size
    places = [size - 1, offset_of(damaged, (low + high) // 2), size // 20, 64, 0]
    different = 0
    for place in sorted(places, reverse=True):
        os.truncate(damaged, place)
        different += check(command, damaged, specimen)
    # What a layout is told from comes early.
    assert different >= (2 if command == "layout" else 4)


def test_a_core_without_its_dynamic_memory(specimen: Specimen, tmp_path: Path) -> None:
    # No page of the heap was dumped: its segments are there, and empty.
    damaged = copied(specimen.core, tmp_path / "damaged")
    header = int(specimen.truth["main.twentyK"]["address"], 16)
    for at, _, start, filed, _ in loads(damaged):
        if start <= header < start + filed:
            with damaged.open("r+b") as stream:
                stream.seek(at + 32)
                stream.write(struct.pack("<Q", 0))
    for command in COMMANDS:
        assert check(command, damaged, specimen)


def test_what_is_no_core(specimen: Specimen, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.touch()
    text.write_text("no core\n" * 1000)
    for path in (empty, text, tmp_path, tmp_path / "absent", specimen.program):
        for command in COMMANDS:
            done = console(command, path, specimen.program)
            assert done.returncode != 0
            assert not done.stdout
            (line,) = done.stderr.splitlines()
            assert path.name in line, line


def test_a_core_of_file_backed_pages_left_out(specimen: Specimen) -> None:
    """The kernel leaves them out by default: types are read from the executable then."""
    filter_ = Path("/proc/self/coredump_filter").read_text().strip()
    if int(filter_, 16) & 4:
        pytest.skip("this machine's kernel writes file-backed pages to cores")
    assert json.loads(specimen.answers["stats"])["exact"] is True
    symbols = subprocess.run(
        ["nm", specimen.program], capture_output=True, text=True, check=True
    ).stdout
    (line,) = (line for line in symbols.splitlines() if line.endswith(" runtime.rodata"))
    start = int(line.split()[0], 16)
    held = [
        filed
        for _, _, first, filed, memory in loads(specimen.core)
        if first <= start < first + memory
    ]
    assert sum(held) == 0 or all(size <= PAGE for size in held)
    # An interface's dynamic type is told from there.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gomapscope", "entries", "-core", str(specimen.core)),
            *("-exe", str(specimen.program), "-json", "main.keyAny"),
        ],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    keys = {row["key"] for row in json.loads(done.stdout)["entries"]}
    assert keys == {key for key, _ in specimen.truth["main.keyAny"]["entries"]}


def saved(core: Path, program: Path, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What ``gomapscope snapshot`` writes of a core, whatever is there."""
    options = ["-core", str(core), "-exe", str(program), "-force", "-json", "-o", str(path)]
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", "snapshot", *options, *words],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", [("main.twentyK", "main.crowded"), ("-scan",)])
def test_snapshots_of_damaged_cores_say_what_they_lack(
    specimen: Specimen, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "saved.json"
    done = saved(specimen.core, specimen.program, path, *words)
    assert done.returncode == 0, done.stderr
    whole, known = json.loads(done.stdout), json.loads(path.read_text())["maps"]
    assert whole.get("inexact", 0) == 0 or words == ("-scan",)
    low, high = storage(specimen)
    shorter = copied(specimen.core, tmp_path / "shorter")
    shortened(shorter, (low + high) // 2 & -PAGE)
    cut = copied(specimen.core, tmp_path / "cut")
    os.truncate(cut, offset_of(cut, low))
    short = copied(specimen.core, tmp_path / "short")
    os.truncate(short, specimen.core.stat().st_size // 20)
    flagged = 0
    for damaged in (shorter, cut, short):
        path.unlink(missing_ok=True)
        done = saved(damaged, specimen.program, path, *words)
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert not path.exists()
            (line,) = done.stderr.splitlines()
            assert "0x" in line or damaged.name in line, line
            flagged += 1
            continue
        told, maps = json.loads(done.stdout), json.loads(path.read_text())["maps"]
        if without_time(told) == without_time(whole) and maps == known:
            continue
        doubts = [(key, told.get(key, 0), whole.get(key, 0)) for key in ("inexact", "defects")]
        assert any(now > before for _, now, before in doubts), (damaged.name, told)
        flagged += 1
        rows = {row["address"]: row for row in known}
        for row in maps if "-scan" not in words else ():
            assert row == rows[row["address"]] or not row["exact"], row
    assert flagged >= 2


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_rings_of_damaged_cores_say_what_they_lack(label: str, tmp_path: Path) -> None:
    folder = tmp_path / "core"
    folder.mkdir()
    program = ringtool.build(label)
    core = cores.core_of([program, tmp_path / "truth", "crash"], folder)

    def ring(of: Path, *words: str) -> subprocess.CompletedProcess[str]:
        options = ["-core", str(of), "-exe", str(program), *words]
        return subprocess.run(
            [sys.executable, "-m", "gomapscope", "ring", *options],
            env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
            capture_output=True,
            text=True,
            check=False,
        )

    done = ring(core, "-json")
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    events = {json.dumps(event) for event in whole["events"]}
    assert len(events) > 100
    place = int(whole["ring"]["address"], 16) if "address" in whole["ring"] else None
    size = core.stat().st_size
    different = 0
    places = [size - 1, size // 2, size // 20, 64, 0]
    if place is not None:
        places.append(offset_of(core, place) + whole["ring"].get("bytes", 1 << 16) // 2)
    damaged = copied(core, tmp_path / "damaged")
    for end in sorted(places, reverse=True):
        os.truncate(damaged, end)
        done = ring(damaged, "-json")
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert not done.stdout
            (line,) = done.stderr.splitlines()
            assert "0x" in line or damaged.name in line, line
            different += 1
            continue
        told = json.loads(done.stdout)
        if without_time(told) == without_time(whole):
            continue
        different += 1
        # No event that was not one; and it says that it lacks some.
        assert {json.dumps(event) for event in told["events"]} <= events
        assert told["exact"] is False, told["ring"]
    assert different >= 3
