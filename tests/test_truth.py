"""Every figure of every map of the zoo, against what the Go program itself said of it."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import cores
import pytest

import gdbtool
import toolchains
from gdbtool import Answer, Step

LABELS = [build.label for build in toolchains.BUILDS]
ZOO = Path(__file__).parent / "go" / "zoo"

#: Truth's name of a figure, and where it stands in the JSON of go-map-stats.
FIGURES = {
    "address": ("address",),
    "type": ("type",),
    "key_type": ("key_type",),
    "elem_type": ("elem_type",),
    "len": ("len",),
    "family": ("family",),
    "capacity": ("slots", "capacity"),
    "live": ("slots", "live"),
    "empty": ("slots", "empty"),
    "tombstones": ("slots", "tombstones"),
    "buckets": ("buckets", "count"),
    "main": ("buckets", "main"),
    "overflow": ("buckets", "overflow"),
    "empty_buckets": ("buckets", "empty"),
    "full_buckets": ("buckets", "full"),
    "slot_size": ("layout", "slot_size"),
    "bucket_size": ("layout", "bucket_size"),
    "indirect_key": ("layout", "indirect_key"),
    "indirect_elem": ("layout", "indirect_elem"),
    "chain_lengths": ("buckets", "chain_lengths"),
    "B": ("classic", "B"),
    "noverflow": ("classic", "noverflow"),
    "growth": ("classic", "growth"),
    "old_buckets": ("classic", "old_buckets"),
    "evacuated": ("classic", "evacuated"),
    "old_slots": ("slots", "old"),
    "old_live": ("slots", "old_live"),
    "tables": ("swiss", "tables"),
    "dir_len": ("swiss", "dir_len"),
    "global_depth": ("swiss", "global_depth"),
    "growth_left": ("swiss", "growth_left"),
    "small": ("swiss", "small"),
}


def figure(document: dict[str, Any], path: tuple[str, ...]) -> Any:
    """A value inside a document; absent figures are None."""
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def steps(truth: list[dict[str, Any]]) -> list[Step]:
    """The questions: stats, buckets and entries of every map."""
    return [
        Step(f"{command} -json {entry['expr']}", entry.get("frame"))
        for entry in truth
        for command in ("go-map-stats", "go-map-buckets", "go-map-entries")
    ]


def compare(truth: list[dict[str, Any]], answers: list[Answer]) -> None:
    """Hold all answers against the truth and report every difference at once."""
    wrong: list[str] = []
    for index, entry in enumerate(truth):
        stats, buckets, entries = answers[3 * index : 3 * index + 3]
        name = f"{entry['expr']} ({entry['note']})" if entry.get("note") else entry["expr"]
        failed = [answer.error for answer in (stats, buckets, entries) if answer.error]
        if failed:
            wrong.append(f"{name}: {failed[0]}")
            continue
        document = stats.json
        for key, path in FIGURES.items():
            expected = entry.get(key)
            if key not in entry or (expected == 0 and figure(document, path) is None):
                continue
            if key in ("chain_lengths",) and not expected:
                expected = []
            found = figure(document, path)
            if found != expected:
                wrong.append(f"{name}: {key} is {found}, not {expected}")
        if not document["exact"]:
            wrong.append(f"{name}: not exact: {document['defects']}")
        wrong += rows_disagree(name, document, buckets.json)
        wrong += allocation(name, stats.json, entry)
        if "entries" in entry:
            found_entries = Counter((e["key"], e["elem"]) for e in entries.json["entries"])
            expected_entries = Counter((key, elem) for key, elem in entry["entries"])
            if found_entries != expected_entries:
                extra = list((found_entries - expected_entries).items())[:3]
                missing = list((expected_entries - found_entries).items())[:3]
                wrong.append(f"{name}: entries {extra} instead of {missing}")
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:60])


def allocation(name: str, stats: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    """What is said of the heap, against where the map is."""
    if entry["address"] == "0x0":
        return []
    sizes, notes = stats["bytes"], " ".join(stats.get("notes", []))
    wrong = []
    if sizes["allocated_from"] != "spans":
        wrong.append(f"{name}: allocated from {sizes['allocated_from']}: {notes}")
    if ("goroutine's stack" in notes) != bool(entry.get("on_stack")):
        wrong.append(f"{name}: on the stack, or not: {notes}")
    if "outside" in notes or "lie elsewhere" in notes or "allocator's books" in notes:
        wrong.append(f"{name}: {notes}")
    if not entry.get("on_stack") and sizes["allocated"] < sizes["live"] + sizes["holes"]:
        wrong.append(f"{name}: allocates {sizes['allocated']}")
    return wrong


def rows_disagree(name: str, stats: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What the list of buckets says must add up to the figures."""
    rows = document["bucket_list"]
    current = [row for row in rows if row["kind"] != "old"]
    marks = Counter("".join(row["marks"] for row in current))
    sums = {
        "count": (len(current), stats["buckets"]["count"]),
        "empty slots": (marks["E"], stats["slots"]["empty"]),
        "tombstones": (marks["T"], stats["slots"]["tombstones"]),
        "live": (sum(row["live"] for row in rows), stats["slots"]["live"]),
        "full": (sum(row["live"] == 8 for row in current), stats["buckets"]["full"]),
    }
    wrong = [f"{name}: rows say {a} {what}, not {b}" for what, (a, b) in sums.items() if a != b]
    if document["truncated"]:
        wrong.append(f"{name}: truncated")
    if len({row["address"] for row in rows}) != len(rows):
        wrong.append(f"{name}: a bucket is listed twice")
    return wrong


@pytest.fixture(scope="module", params=LABELS)
def zoo(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The zoo, built by each toolchain."""
    return request.param, toolchains.build(ZOO, request.param)


def check_live(program: Path, folder: Path, at_least: int = 0, **environment: str) -> None:
    """Run the zoo under gdb up to its stop and compare all maps of at least some entries."""
    path = folder / "truth.jsonl"
    subprocess.run(
        [program, path],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    # The names of the maps do not change from run to run; all else does.
    names = [entry for entry in gdbtool.read_truth(path) if entry["len"] >= at_least]
    assert names
    before = [f"set environment {name} {value}" for name, value in environment.items()]
    answers = gdbtool.ask(steps(names), before + gdbtool.at_stop(program, path))
    truth = [entry for entry in gdbtool.read_truth(path) if entry["len"] >= at_least]
    compare(truth, answers)


def test_live(zoo: tuple[str, Path], tmp_path: Path) -> None:
    check_live(zoo[1], tmp_path)


def test_attached(zoo: tuple[str, Path], tmp_path: Path) -> None:
    _, program = zoo
    path = tmp_path / "truth.jsonl"
    with gdbtool.waiting(program, path) as pid:
        # A parked goroutine has no thread, so its frame cannot be selected.
        truth = [entry for entry in gdbtool.read_truth(path) if not entry.get("frame")]
        answers = gdbtool.ask(steps(truth), [f"attach {pid}"])
    compare(truth, answers)


@pytest.mark.parametrize("label", ["1.21.13", "1.25.5-noswissmap", "1.25.5", "1.27.3"])
def test_kernel_core(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    path = tmp_path / "truth.jsonl"
    core = cores.core_of([program, path, "crash"], tmp_path)
    truth = gdbtool.read_truth(path)
    answers = gdbtool.ask(steps(truth), [f"file {program}", f"core-file {core}"])
    compare(truth, answers)


@pytest.mark.parametrize("label", ["1.23.9", "1.26.6"])
def test_gdbs_own_core(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    path, core = tmp_path / "truth.jsonl", tmp_path / "zoo.core"
    before = gdbtool.at_stop(program, path)
    gdbtool.ask([Step("echo")], before, after=[f"gcore {core}", "kill"])
    truth = gdbtool.read_truth(path)
    answers = gdbtool.ask(steps(truth), [f"file {program}", f"core-file {core}"])
    compare(truth, answers)


@pytest.mark.parametrize("label", ["1.22.10", "1.24.11", "1.27.3-mapsplitgroup"])
def test_gdbserver(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    path = tmp_path / "truth.jsonl"
    subprocess.run([program, path], check=True, stdout=subprocess.DEVNULL)
    names = gdbtool.read_truth(path)
    with gdbtool.gdbserver(program, path) as port:
        before = [
            f"file {program}",
            f"target remote 127.0.0.1:{port}",
            "break main.stop",
            "continue",
        ]
        answers = gdbtool.ask(steps(names), before, after=["kill"])
    compare(gdbtool.read_truth(path), answers)


@pytest.mark.parametrize(
    ("label", "flags"),
    [
        ("1.27.3", ("-buildmode=pie",)),
        ("1.23.9", ("-buildmode=pie",)),
        ("1.27.3", ("-trimpath",)),
        ("1.24.11", ("-ldflags=-compressdwarf=false",)),
        ("1.21.13", ("-gcflags=all=-N -l",)),
        ("1.26.6", ("-gcflags=all=-N -l",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "".join(value).replace("/", ""),
)
def test_build_flags(label: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    check_live(toolchains.build(ZOO, label, flags=flags), tmp_path)


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_cgo(label: str, tmp_path: Path) -> None:
    program = toolchains.build(
        ZOO, label, flags=("-tags=zoocgo",), env={"CGO_ENABLED": "1", "CC": "cc"}
    )
    check_live(program, tmp_path)


@pytest.mark.parametrize("label", ["1.21.13", "1.24.11-noswissmap", "1.27.3"])
def test_a_million_entries(label: str, tmp_path: Path) -> None:
    check_live(toolchains.build(ZOO, label), tmp_path, at_least=1_000_000, ZOO_BIG="1")
