"""Execution traces: the same as Go's own tool says, and as the program's own record has it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import exectracetool as tool
import toolchains
from exectracetool import Row

ROOT = Path(__file__).resolve().parent.parent
# The first test waits for the build of the example program.
pytestmark = pytest.mark.timeout(900)
ALLOC_FREE = {"GODEBUG": "traceallocfree=1"}
# The format changed in each of these; 1.27 writes what 1.26 does.
FORMATS = ("1.21.13", "1.22.10", "1.23.9", "1.25.5", "1.27.3")
EVERY = toolchains.VERSIONS


def console(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", "trace", *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
    )


def document(*arguments: object) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(console("-json", *arguments).stdout)
    return parsed


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example that prints facts."""
    subprocess.run(
        [
            os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--quiet",
            "-p", "gomapscope-core", "--example", "tracedump",
        ],
        cwd=ROOT,
        check=True,
    )  # fmt: skip
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "tracedump"


def facts(dump: Path, trace: Path) -> list[dict[str, Any]]:
    done = subprocess.run([dump, trace], capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(
    version: str, trace: Path, dump: Path
) -> tuple[dict[str, list[Row]], list[dict[str, Any]]]:
    """Hold the reader's facts against what Go's tool prints of the same file."""
    ours = facts(dump, trace)
    ending = ours.pop()
    assert ending["cut"] is None
    assert not ending["incomplete"], ending
    theirs = tool.go_rows(version, trace)
    mine: dict[str, list[Row]] = defaultdict(list)
    go: dict[str, list[Row]] = defaultdict(list)
    for row in tool.our_rows(ours):
        mine[row.what].append(row)
    for row in theirs:
        go[row.what].append(row)
    kinds = {kind for kind in go if not kind.startswith("HeapObject")}
    assert set(mine) == kinds
    old = tool.release(version) < (1, 22)
    offset = 0
    if old:
        # Go's tool lets such a trace begin at 0.
        offsets = [a.t - b.t for kind in kinds for a, b in zip(mine[kind], go[kind])]
        offset = min(offsets)
    for kind in kinds:
        # In order for each goroutine: two that did something within one tick of the clock
        # have no order.
        of_mine: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        of_go: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for row in mine[kind]:
            of_mine[row.g].append((row.detail, row.t, row.moved))
        for row in go[kind]:
            detail = row.detail
            if detail in (("mark termination",), ("sweep termination",)):
                # As Go 1.20 and before have it.
                detail = (f"GC {detail[0]}",)
            of_go[row.g].append((detail, row.t, row.moved))
        # Readings of the heap are of no goroutine: of two threads' within one tick either may be
        # the first.
        for rows in (of_mine, of_go):
            rows[0].sort()
        assert {g: [detail for detail, _, _ in rows] for g, rows in of_mine.items()} == {
            g: [detail for detail, _, _ in rows] for g, rows in of_go.items()
        }, kind
        for g, rows in of_go.items():
            for (detail, t, moved), (_, our_t, _) in zip(rows, of_mine[g]):
                late = our_t - t - offset
                # A tick of the clock, unless Go's reader gave it a later time than its own.
                assert abs(late) <= 64 or (moved and late < 0), (kind, g, detail, late)
    if "HeapObjectAlloc" in go:
        objects(ours, go)
    return mine, ours


def objects(ours: list[dict[str, Any]], go: dict[str, list[Row]]) -> None:
    """Each object; Go's tool numbers units of 8 bytes from the heap's begin."""
    frees = [fact["address"] for fact in ours if fact["fact"] == "free"]
    allocs = [fact for fact in ours if fact["fact"] == "alloc"]
    ids = [row.detail[0] for row in go["HeapObjectFree"]]
    begin = min(frees) - 8 * min(ids)
    assert Counter(frees) == Counter(begin + 8 * number for number in ids)
    for name, existed in (("HeapObject", True), ("HeapObjectAlloc", False)):
        found = [fact for fact in allocs if fact["existed"] is existed]
        assert len(found) == len(go[name]), name
        assert not existed or len(found) > 100
        # The slot's begin: the object's own address, less a header of 8 bytes, or less what
        # lies before it in a tiny block of 16.
        exact = Counter(fact["address"] for fact in found if fact["slot"] != 16)
        wanted = Counter(begin + 8 * row.detail[0] for row in go[name])
        moved = exact - wanted
        assert not Counter({address + 8: n for address, n in moved.items()}) - wanted
        assert all(fact["slot"] for fact in found), "a slot is not known"
        assert all(fact["size"] <= fact["slot"] for fact in found)
    if "HeapObjectAlloc" in go:
        who = Counter(row.g for row in go["HeapObjectAlloc"])
        assert who == Counter(fact["g"] for fact in allocs if not fact["existed"])


@pytest.mark.parametrize("version", EVERY)
def test_the_same_as_go_tool_trace(version: str, dump: Path, tmp_path: Path) -> None:
    """Every log, region, task, collection, stop and reading of the heap, and every object."""
    trace, truth = tool.record(version, tmp_path, "60", env=ALLOC_FREE)
    mine, ours = same(version, trace, dump)
    logs = [row for row in truth if row["what"] == "log"]
    assert Counter((row.g, *row.detail[1:]) for row in mine["log"]) == Counter(
        (row["goid"], row["category"], row["message"]) for row in logs
    )
    stacks = [fact["stack"] for fact in ours if fact["fact"] == "log"]
    assert all(any(frame["function"] == "main.note" for frame in stack) for stack in stacks)
    if tool.release(version) < (1, 22):
        return
    # The program read the same clock before and after each log.
    told = {row.detail[1:]: row.t for row in mine["log"]}
    for row in logs:
        t = told[(row["category"], row["message"])]
        if sum(other["message"] == row["message"] for other in logs) == 1:
            assert row["before"] - 64 <= t <= row["after"] + 64
    collected = [(row.t, end.t) for row, end in zip(mine["gc begin"], mine["gc end"])]
    for row in truth:
        if row["what"] == "gc":
            assert any(row["before"] <= a <= b <= row["after"] for a, b in collected)


@pytest.mark.parametrize("version", ["1.22.10", "1.26.6"])
def test_more_than_one_generation(version: str, dump: Path, tmp_path: Path) -> None:
    """A second and more, so that tables begin anew; stamps that run ahead are put in order."""
    trace, _ = tool.record(version, tmp_path, "20", "1200")
    _, ours = same(version, trace, dump)
    ending = facts(dump, trace)[-1]
    assert ending["generations"] > 1
    times = [fact["t"] for fact in ours]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("version", "package", "test"),
    [
        ("1.21.13", "encoding/json", "Test(Encoder|Decode)"),
        ("1.23.9", "encoding/gob", "TestEndToEnd|TestNested|Map"),
        ("1.27.3", "encoding/json", "TestEncoder|TestDecoder"),
    ],
)
def test_traces_of_go_s_own_tests(
    version: str, package: str, test: str, dump: Path, tmp_path: Path
) -> None:
    """Programs that others wrote."""
    trace = tmp_path / "std.trace"
    subprocess.run(
        [toolchains.ensure(version), "test", "-run", test, "-count=3", f"-trace={trace}", package],
        env=toolchains.environment(version, {"HOME": str(tmp_path)}),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    mine, _ = same(version, trace, dump)
    assert len(mine["heap"]) > 3


def test_old_traces_that_go_keeps_for_its_own_tests(dump: Path) -> None:
    folder = toolchains.ensure("1.21.13").parent.parent / "src" / "internal" / "trace" / "testdata"
    kept = sorted(path for path in folder.glob("*_good") if re.search("_1_(11|19|21)_", path.name))
    assert len(kept) > 8
    for trace in kept:
        same("1.21.13", trace, dump)


@pytest.mark.parametrize("version", FORMATS)
def test_damaged_files_do_no_harm(version: str, dump: Path, tmp_path: Path) -> None:
    trace, _ = tool.record(version, tmp_path, "20", env=ALLOC_FREE)
    done = subprocess.run(
        [dump, "-damage", "150", trace], capture_output=True, check=True, timeout=120
    )
    said = json.loads(done.stdout)
    assert said["read"] == 300
    assert said["cut"] >= 100
    assert said["slowest"] < 5


def test_the_console_tells_of_a_trace(tmp_path: Path) -> None:
    trace, truth = tool.record("1.27.3", tmp_path, "120", env=ALLOC_FREE)
    shown = console(trace).stdout
    for words in ("go1.26 or later", "collector", "stopped", "heap", "map-lifecycle", "Map storage",
                  "map[int64][", "GC 1 and", "goroutine"):  # fmt: skip
        assert words in shown, shown
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    told = document(trace)
    assert told["schema"] == "gomapscope.trace/1"
    logs = [row for row in truth if row["what"] == "log"]
    assert Counter((row["goid"], row["message"]) for row in told["user_logs"]) == Counter(
        (row["goid"], row["message"]) for row in logs
    )
    assert told["complete"]
    assert told["clock"] == "CLOCK_MONOTONIC"
    assert all(gc["begin_ns"] < gc["end_ns"] for gc in told["gc"])
    assert {"GC mark termination", "GC sweep termination"} <= {
        stop["reason"] for stop in told["stw"]
    }
    assert len(told["heap_alloc"]) > 10
    # What was allocated is freed or there, for each type.
    types = {row["type"]: row for row in told["map_objects"]["types"]}
    for row in types.values():
        for unit in ("objects", "bytes"):
            live = row["existed"][unit] + row["allocated"][unit] - row["freed"][unit]
            assert row["live"][unit] == live, row
    # The four maps that the program keeps, and one header for each map it made.
    kept = [row for row in truth if row["what"] == "map"]
    groups = types["map.group[int64][4]int64"]
    slot = 40
    assert groups["live"]["bytes"] >= sum(row["len"] for row in kept) * slot
    made = 4 + 4 * 120 // 8
    assert types["maps.Map"]["allocated"]["objects"] >= made
    short = types["map.group[string]*[64]uint8"]
    assert short["allocated"]["objects"] >= 6 * 4 * 120 // 8
    lives = {row["address"]: row["steps"] for row in told["map_objects"]["maps"]}
    for row in kept:
        ops = [step["op"] for step in lives[row["address"]]]
        assert ops[:2] == ["allocated", "created"]
        assert "grown" in ops
    # One map alone.
    address = kept[0]["address"]
    one = document(trace, "-map", address)["map_objects"]["maps"]
    assert [row["address"] for row in one] == [address]
    assert [step["op"] for step in one[0]["steps"]] == [step["op"] for step in lives[address]]
    # Intervals end with what is there.
    between = told["map_objects"]["between_gcs"]
    assert between[-1]["live"] == told["map_objects"]["live"]
    assert sum(row["allocated"]["bytes"] for row in between) == sum(
        row["allocated"]["bytes"] for row in types.values()
    )


def test_files_and_limits(tmp_path: Path) -> None:
    trace, _ = tool.record("1.25.5", tmp_path, "40", env=ALLOC_FREE)
    whole = console("-json", trace).stdout
    packed = tmp_path / "packed.trace.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    assert console("-json", packed).stdout == whole.replace(
        json.dumps(str(trace)), json.dumps(str(packed))
    )
    short = document("-limit", "3", trace)
    assert short["truncated"]
    assert len(short["user_logs"]) == len(short["heap_alloc"]) == 3
    out = tmp_path / "out.json.gz"
    assert "Wrote" in console("-o", out, trace).stdout
    assert json.loads(gzip.decompress(out.read_bytes())) == json.loads(whole)
    refused = console("-o", out, trace, check=False)
    assert refused.returncode == 1
    assert "-force" in refused.stderr
    two = console("-json", trace, packed).stdout.splitlines()
    assert [json.loads(line)["schema"] for line in two] == ["gomapscope.trace/1"] * 2


def test_what_is_no_trace_is_one_line(tmp_path: Path) -> None:
    trace, _ = tool.record("1.27.3", tmp_path, "10")
    bytes_ = trace.read_bytes()
    for content, words in (
        (b"", "empty"),
        (b"\x7fELF\x02\x01", "not an execution trace"),
        (b"go 1.99 trace\0\0\0", "1.99"),
    ):
        path = tmp_path / "other"
        path.write_bytes(content)
        said = console(path, check=False)
        assert said.returncode == 1
        assert said.stdout == ""
        assert re.fullmatch(rf"gomapscope: {re.escape(str(path))}: .*{words}.*\n", said.stderr)
    assert console(tmp_path / "missing", check=False).stderr.count("\n") == 1
    cut = tmp_path / "cut.trace"
    cut.write_bytes(bytes_[: len(bytes_) * 2 // 3])
    said = console(cut)
    assert "The file is cut at byte" in said.stdout
    told = document(cut)
    assert not told["complete"]
    assert 16 <= told["cut"]["offset"] <= len(bytes_)
    # A name that would drive the terminal does not reach it.
    hostile = tmp_path / "hostile.trace"
    hostile.write_bytes(bytes_.replace(b"map-lifecycle", b"map-\x1b]0;x\x07cle"))
    assert "\x1b" not in console(hostile).stdout
    assert "\x1b" not in console("-json", hostile).stdout
