"""go-map-scan against programs that say where all their maps are, and what each costs."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import scantool
import toolchains
from gdbtool import Step

GO = Path(__file__).parent / "go"
POPULATION = GO / "population"
STALE = GO / "stale"
HEAPALLOC = GO / "heapalloc"
LABELS = [build.label for build in toolchains.BUILDS]
FLAVOURS: dict[str, tuple[str, ...]] = {"symbols": (), "stripped": scantool.STRIPPED}


def report(wrong: list[str]) -> str:
    return f"{len(wrong)} lines:\n" + "\n".join(wrong[:120])


def scan_live(
    source: Path, label: str, flavour: str, folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What gdb finds in a fixture that has written its truth."""
    program = toolchains.build(source, label, flags=FLAVOURS[flavour])
    path = folder / "truth.jsonl"
    step = [Step("go-map-scan -json -holders")]
    if flavour == "symbols":
        before = [f"file {program}", "break main.waiting", f"run {path} > /dev/null"]
        (answer,) = gdbtool.ask(step, before)
    else:
        # gdb finds no function to break at.
        with gdbtool.waiting(program, path) as pid:
            (answer,) = gdbtool.ask(step, [f"attach {pid}"])
    return answer.json, gdbtool.read_truth(path)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("label", LABELS)
def test_every_map_in_gdb(label: str, flavour: str, tmp_path: Path) -> None:
    document, truth = scan_live(POPULATION, label, flavour, tmp_path)
    wrong = scantool.judge_population(document, truth, label, stripped=flavour == "stripped")
    assert not wrong, report(wrong)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("label", LABELS)
def test_every_map_in_a_core(label: str, flavour: str, tmp_path: Path) -> None:
    found = scantool.crash(POPULATION, label, FLAVOURS[flavour], tmp_path)
    document = scantool.scan_core(found.core, found.program)
    stripped = flavour == "stripped"
    wrong = scantool.judge_population(document, found.truth, label, stripped=stripped)
    assert not wrong, report(wrong)


@pytest.mark.parametrize("label", LABELS)
def test_bytes_in_gdb(label: str, tmp_path: Path) -> None:
    document, truth = scan_live(HEAPALLOC, label, "symbols", tmp_path)
    wrong = scantool.judge_heapalloc(document, truth, label)
    assert not wrong, report(wrong)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("label", LABELS)
def test_bytes_in_a_core(label: str, flavour: str, tmp_path: Path) -> None:
    found = scantool.crash(HEAPALLOC, label, FLAVOURS[flavour], tmp_path)
    document = scantool.scan_core(found.core, found.program)
    wrong = scantool.judge_heapalloc(document, found.truth, label)
    assert not wrong, report(wrong)


@pytest.mark.parametrize("label", LABELS)
def test_the_truth_is_true(label: str, tmp_path: Path) -> None:
    """The runtime overwrites what it frees: live maps survive a collection, the others do not."""
    program = toolchains.build(POPULATION, label)
    path = tmp_path / "truth.jsonl"
    done = subprocess.run(
        [program, path],
        env={**os.environ, "GODEBUG": "clobberfree=1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    truth = gdbtool.read_truth(path)
    assert len(truth) > 2200
    assert len({fact["address"] for fact in truth}) == len(truth)


@pytest.mark.parametrize("flags", [(), ("-gcflags=all=-N -l",), ("-ldflags=-s -w",)])
@pytest.mark.parametrize("label", ["1.21.13", "1.23.9", "1.24.11", "1.27.3"])
def test_what_is_not_used_any_more_tells_nothing(
    label: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Variables lead to memory that is another map's now, and finalizers' maps are in use."""
    found = scantool.crash(STALE, label, flags, tmp_path)
    document = scantool.scan_core(found.core, found.program)
    assert scantool.not_found(document, found.truth) == []
    assert scantool.wrongly_exact(document, found.truth) == []
    assert scantool.wrong_states(document, found.truth) == []
    assert document["defects"] == []


# The judges, judged by a document made from the truth itself.

TRUTH: list[dict[str, Any]] = [
    {
        "address": hex(0xC000000000 + 64 * number),
        "type": "map[string]int" if number % 2 else "main.Scores",
        "len": number,
        "place": "slice",
        "state": "garbage" if number >= 100 else "live",
        "on_stack": number == 7,
        "heap_alloc_delta": 48 + 1000 * number,
        **({"holder": f"main.slice[{number}].byID"} if number < 40 else {}),
    }
    for number in range(150)
]


def perfect() -> dict[str, Any]:
    """A document that finds everything."""
    rows = [
        {
            "address": fact["address"],
            "type": fact["type"],
            "len": fact["len"],
            "capacity": 8 + 2 * fact["len"],
            "allocated": fact["heap_alloc_delta"],
            "reclaimable": 10 * fact["len"],
            "hole_density": 0.25,
            "evidence": "exact",
            "label": "exact",
            "state": fact["state"],
            "place": "stack" if fact["on_stack"] else "heap",
            **({"held_by": fact["holder"]} if "holder" in fact else {}),
        }
        for fact in TRUTH
    ]
    document = {
        "schema": scantool.SCHEMA,
        "go_version": "go1.27.3",
        "arch": "amd64",
        "family": "swiss",
        "maps": rows,
        "defects": [],
        "interrupted": False,
        "truncated": False,
    }
    add_up(document)
    return copy.deepcopy(document)


def add_up(document: dict[str, Any]) -> None:
    """Make totals and types the sums of the rows; garbage is in no sum but its own."""
    rows = document["maps"]
    used = [row for row in rows if row["state"] != "garbage"]
    counts = {"maps": len(rows), "live": len(used), "garbage": len(rows) - len(used)}
    document["totals"] = {**sums(used), **counts}
    document["types"] = [
        {"type": name, **sums([row for row in used if row["type"] == name])}
        for name in ("map[string]int", "main.Scores")
    ]


def sums(rows: list[dict[str, Any]]) -> dict[str, int]:
    keys = ("len", "allocated", "reclaimable")
    return {"maps": len(rows), **{key: sum(row[key] for row in rows) for key in keys}}


def judged(document: dict[str, Any]) -> str:
    wrong = scantool.judge_population(document, TRUTH, "1.27.3", stripped=False)
    return "\n".join(wrong + scantool.wrong_bytes(document, TRUTH))


def test_a_perfect_document_passes() -> None:
    assert judged(perfect()) == ""
    assert scantool.judge_heapalloc(perfect(), TRUTH, "1.27.3") == []


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another map": ({"address": "0x1"}, "[slice] map[string]int: not found"),
    "len": ({"len": 2}, "len is 2, not 1"),
    "type": ({"type": "map[string]uint"}, "exact ['map[string]uint']"),
    "no type": (
        {"type": None, "evidence": "strong", "label": "structure only"},
        "exactly the right type: 99 of 100 (99.00%), not 99.5%",
    ),
    "several types": (
        {
            "type": None,
            "types": ["map[string]int", "main.Scores"],
            "evidence": "strong",
            "label": "one of several",
        },
        "one of several ['map[string]int', 'main.Scores']",
    ),
    "key and elem": (
        {"type": None, "types": ["map[int]int"], "label": "exact key/elem"},
        "exact key/elem ['map[int]int']",
    ),
    "garbage": ({"state": "garbage"}, "called garbage"),
    "place": ({"place": "stack"}, "in the stack, not in the heap"),
    "writing": ({"writing": True}, "nobody is writing to it"),
    "bytes": ({"allocated": 1056}, "1056 bytes, +8 to 1048"),
    "more reclaimable than there is": ({"reclaimable": 2000}, "2000 bytes reclaimable of 1048"),
    "more entries than room": ({"capacity": 0}, "1 entries, room for 0"),
    "label": ({"label": "certain"}, "label is 'certain'"),
    "weak evidence": ({"evidence": "weak"}, "label exact, evidence weak"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_judges_see(change: str) -> None:
    document = perfect()
    row = document["maps"][1]
    values, message = CHANGES[change]
    row.update(values)
    for key in [key for key in row if row[key] is None]:
        del row[key]
    assert message in judged(document)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("maps", "totals: maps is 101, the rows say 100"),
        ("live", "totals: live is 101, the rows say 100"),
        ("garbage", "totals: garbage is 51, the rows say 50"),
        ("len", "totals: len is"),
        ("allocated", "totals: allocated is"),
        ("reclaimable", "totals: reclaimable is"),
    ],
)
def test_the_judges_add_up(key: str, message: str) -> None:
    document = perfect()
    document["totals"][key] += 1
    assert message in judged(document)
    document = perfect()
    if key in document["types"][0]:
        document["types"][0][key] += 1
        assert f"types: map[string]int: {key} is" in judged(document)


def test_the_judges_look_at_the_whole() -> None:
    for key, value in (("truncated", True), ("interrupted", True), ("defects", ["a hole"])):
        assert judged({**perfect(), key: value})
    document = perfect()
    document["maps"].append(document["maps"][3])
    assert "listed twice" in judged(document)


def test_some_garbage_may_be_called_live() -> None:
    document = perfect()
    document["maps"][-1]["state"] = "live"
    add_up(document)
    assert judged(document) == ""
    document["maps"][-2]["state"] = "live"
    add_up(document)
    assert "called live" in judged(document)


def test_most_holders_must_be_found() -> None:
    document = perfect()
    document["maps"][0]["held_by"] = "main.other"
    del document["maps"][1]["held_by"]
    assert judged(document) == ""
    document["maps"][2]["held_by"] = "main.slice[3].byID"
    assert "37 of 40" in judged(document)
    assert "main.slice[0].byID: held by main.other" in judged(document)


def test_paths() -> None:
    same = scantool.same_path
    assert same("main.a.b[3].c", "main.a.b[3].c")
    assert same("main.a.b[].c", "main.a.b[3].c")
    assert same("(*main.a).b", "main.a.b")
    assert same('main.a["x.y]"].b', 'main.a["x.y]"].b')
    assert not same('main.a["x"].b', 'main.a["y"].b')
    assert not same("main.a.b[4].c", "main.a.b[3].c")
    assert not same("main.a.b", "main.a.b[3]")
    assert not same("main.a", "main.b")


def test_shares() -> None:
    least = scantool.least_typed
    assert least("1.21.13", False) == least("1.22.10", False) == 0.985
    assert least("1.23.9", False) == least("1.25.5-noswissmap", False) == 0.995
    assert least("1.21.13", True) == 0.60
    assert least("1.22.10", True) == least("1.27.3-mapsplitgroup", True) == 0.95
