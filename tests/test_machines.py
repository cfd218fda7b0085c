"""Programs of other machines: arm64, riscv64, big-endian s390x and 32-bit 386."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import machines
import pytest
import test_rebuild
from machines import ARM64, I386, RISCV64, S390X, Machine

import gdbtool
import scantool
from gdbtool import Step
from test_truth import ZOO, compare, steps

GO = ZOO.parent

#: Classic and Swiss maps; more releases where no emulator is needed.
LABELS = ("1.23.9", "1.27.3")
LIVE = [(machine, label) for machine in machines.ALL for label in LABELS]
LIVE += [(I386, "1.21.13"), (I386, "1.25.5")]


def named(value: object) -> str:
    return value.goarch if isinstance(value, Machine) else str(value)


@pytest.mark.parametrize(("machine", "label"), LIVE, ids=named)
def test_all_figures_and_entries(machine: Machine, label: str, tmp_path: Path) -> None:
    program = machines.build(ZOO, label, machine)
    path = tmp_path / "truth.jsonl"
    # The names of the maps do not change from run to run; all else does.
    subprocess.run([*machines.command(machine), program, path], check=True, capture_output=True)
    names = gdbtool.read_truth(path)
    with machines.at_stop(machine, program, path) as before:
        answers = gdbtool.ask(steps(names), before, gdb=machines.gdb(machine))
    compare(gdbtool.read_truth(path), answers)
    assert {answer.json["arch"] for answer in answers} == {machine.goarch}
    # Pages are those of this machine's kernel; of a stub nobody knows which are resident.
    known = ["resident_pages" in a.json.get("addresses", {}) for a in answers[::3]]
    assert any(known) == (not machine.qemu)


def console(command: str, core: Path, program: Path, *words: str) -> Any:
    """What the console script says of a core, as JSON."""
    line = [sys.executable, "-m", "gomapscope", command, "-json", "-core", str(core)]
    done = subprocess.run(
        [*line, "-exe", str(program), *words],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# qemu-riscv64 leaves no core of its guest.
@pytest.mark.parametrize(
    ("machine", "label"),
    [(ARM64, "1.23.9"), (S390X, "1.23.9"), (S390X, "1.27.3"), (I386, "1.27.3")],
    ids=named,
)
def test_cores(machine: Machine, label: str, tmp_path: Path) -> None:
    program = machines.build(ZOO, label, machine)
    path = tmp_path / "truth.jsonl"
    core = machines.core(machine, program, path, tmp_path)
    truth = gdbtool.read_truth(path)
    before = [f"file {program}", f"core-file {core}"]
    # Some stacks of a qemu guest end at the signal: no frame can be selected by its name.
    truth = [entry for entry in truth if not entry.get("frame")]
    answers = gdbtool.ask(steps(truth), before, gdb=machines.gdb(machine))
    compare(truth, answers)
    # The console needs no gdb, and says the same.
    chosen = ("main.lopsided", "main.keyTime", "main.doublingBig", "main.elemNest", "main.crowded")
    for entry, at in ((entry, 3 * index) for index, entry in enumerate(truth)):
        if entry["expr"] in chosen:
            said = console("stats", core, program, entry["expr"])
            assert said["slots"] == answers[at].json["slots"]
            assert said["bytes"] == answers[at].json["bytes"]
            said = console("entries", core, program, entry["expr"])
            assert said["entries"] == answers[at + 2].json["entries"]


@pytest.mark.parametrize("label", LABELS)
def test_rebuild_of_32_bits(label: str) -> None:
    test_rebuild.check(machines.build(test_rebuild.REBUILD, label, I386))


@pytest.mark.parametrize(("machine", "label"), [(I386, "1.27.3"), (S390X, "1.27.3")], ids=named)
def test_allocated_is_what_the_heap_grew_by(machine: Machine, label: str, tmp_path: Path) -> None:
    program = machines.build(GO / "heapalloc", label, machine)
    path = tmp_path / "truth.jsonl"
    subprocess.run([*machines.command(machine), program, path], check=True, capture_output=True)
    count = len(gdbtool.read_truth(path))
    # The maps are in interfaces, the first in the first.
    questions = [Step(f"go-map-stats -json main.kept[{index}]") for index in range(count)]
    with machines.at_stop(machine, program, path, "main.waiting") as before:
        answers = gdbtool.ask(questions, before, gdb=machines.gdb(machine))
    truth = {fact["address"]: fact for fact in gdbtool.read_truth(path)}
    rows = [answer.json for answer in answers]
    assert truth.keys() == {row["address"] for row in rows}
    wrong = []
    for row in rows:
        fact, found = truth[row["address"]], row["bytes"]["allocated"]
        assert (row["type"], row["len"]) == (fact["type"], fact["len"])
        if abs(found - fact["heap_alloc_delta"]) > scantool.BYTES * fact["heap_alloc_delta"]:
            wrong.append(f"{row['type']} {fact['note']}: {found}, {fact['heap_alloc_delta']}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("machine", "label"),
    [(ARM64, "1.21.13"), (ARM64, "1.27.3"), (RISCV64, "1.23.9"), (RISCV64, "1.27.3")],
    ids=named,
)
def test_every_map_is_found(machine: Machine, label: str, tmp_path: Path) -> None:
    program = machines.build(GO / "population", label, machine)
    path = tmp_path / "truth.jsonl"
    with machines.at_stop(machine, program, path, "main.waiting") as before:
        (answer,) = gdbtool.ask(
            [Step("go-map-scan -json -holders")], before, gdb=machines.gdb(machine)
        )
    truth = gdbtool.read_truth(path)
    wrong = scantool.judge_population(
        answer.json, truth, label, stripped=False, arch=machine.goarch
    )
    assert not wrong, "\n".join(wrong)
    assert sum("Code is only understood on amd64" in note for note in answer.json["notes"]) == 1


ONLY = "is only known on 64-bit little-endian machines, and this program is of a"


@pytest.mark.parametrize(
    ("machine", "kind"), [(S390X, "big-endian one"), (I386, "32-bit one")], ids=named
)
def test_what_does_not_work_is_said_in_a_sentence(
    machine: Machine, kind: str, tmp_path: Path
) -> None:
    program = machines.build(ZOO, "1.27.3", machine)
    path = tmp_path / "truth.jsonl"
    questions = [
        Step("go-map-scan"),
        Step("go-map-pprof"),
        Step("go-map-trace start -engine break"),
        Step(f"go-map-snapshot -scan -o {tmp_path}/snapshot"),
    ]
    with machines.at_stop(machine, program, path) as before:
        scan, pprof, trace, snapshot = gdbtool.ask(questions, before, gdb=machines.gdb(machine))
    works = "; what asks for one map works here: go-map-stats EXPR and the like"
    assert scan.error == snapshot.error == f"how to search the heap {ONLY} {kind}{works}"
    assert pprof.error == f"where the runtime keeps its profiles {ONLY} {kind}"
    assert trace.error is not None
    assert f"tracing knows amd64 and arm64, not {machine.goarch}" in trace.error


def test_growths_are_traced_on_arm64(tmp_path: Path) -> None:
    """A map without deletions grows when 7 of 8 slots are used, a small one at 8."""
    program = machines.build(GO / "grows", "1.27.3", ARM64)
    path = tmp_path / "events.jsonl"
    questions = [
        Step("break main.stop"),
        Step(f"go-map-trace start -engine break -all -o {path}"),
        Step("continue"),
        Step("go-map-trace stop"),
        Step("go-map-stats -json main.ints"),
        Step("go-map-stats -json main.strings"),
    ]
    with machines.at_stop(ARM64, program, place="main.main") as before:
        answers = gdbtool.ask(questions, before, gdb=machines.gdb(ARM64))
    ints, strings = (answer.json for answer in answers[-2:])
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    of = {
        row["expression"]: [e for e in events if e.get("map") == row["address"]]
        for row in (ints, strings)
    }
    grown = [(e["op"], e["len"], e["capacity"]) for e in of["main.strings"]]
    at = [(8, 16), (14, 32), (28, 64), (56, 128), (112, 256)]
    assert grown == [("grow", used, capacity) for used, capacity in at]
    at += [(224, 512), (448, 1024)]
    grown = [(e["op"], e["len"], e["capacity"]) for e in of["main.ints"] if e["op"] == "grow"]
    assert grown == [("grow", used, capacity) for used, capacity in at]
    # Each split makes one table more.
    splits = sum(e["op"] == "split" for e in of["main.ints"])
    assert splits == ints["swiss"]["tables"] - 1
    for event in of["main.strings"]:
        assert "main.main" in [frame["function"] for frame in event["stack"]]


STRIPPED = ("-ldflags=-s -w",)


def test_without_debug_information(tmp_path: Path) -> None:
    """A map's address and type are enough on arm64, by the runtime's own type descriptors."""
    program = machines.build(ZOO, "1.27.3", ARM64, flags=STRIPPED)
    path = tmp_path / "truth.jsonl"
    core = machines.core(ARM64, program, path, tmp_path)
    wanted = ("main.lopsided", "main.keyStruct", "main.elemBig")
    truth = [entry for entry in gdbtool.read_truth(path) if entry["expr"] in wanted]
    assert len(truth) == len(wanted)
    for entry in truth:
        typed = (entry["address"], "-type", entry["type"])
        said = console("stats", core, program, *typed)
        for name in ("capacity", "live", "empty", "tombstones"):
            assert said["slots"].get(name, 0) == entry[name]
        assert said["bytes"]["allocated_from"] == "spans"
        entries = console("entries", core, program, "-all", *typed)["entries"]
        assert sorted([e["key"], e["elem"]] for e in entries) == sorted(entry["entries"])


def test_without_debug_information_of_32_bits(tmp_path: Path) -> None:
    program = machines.build(ZOO, "1.27.3", I386, flags=STRIPPED)
    path = tmp_path / "truth.jsonl"
    core = machines.core(I386, program, path, tmp_path)
    entry = next(e for e in gdbtool.read_truth(path) if e["expr"] == "main.twoK")
    question = f"go-map-stats {entry['address']} -type '{entry['type']}'"
    (answer,) = gdbtool.ask([Step(question)], [f"file {program}", f"core-file {core}"])
    assert answer.error is not None
    assert "has no debug information" in answer.error
    assert "the runtime's module table is not known for go1.27.3 on 386" in answer.error
