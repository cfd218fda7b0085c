"""The flight recorder, against what Go programs and the Go runtime know of themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cores
import pytest
import ringtool

import gdbtool
import toolchains
from gdbtool import Session

LABELS = [build.label for build in toolchains.BUILDS]
#: Those whose runtime keeps a record of its own.
TRACED = [label for label in LABELS if not label.startswith(("1.21", "1.22"))]
#: What gives a map memory of its own.
ALLOCATES = {"create", "grow", "grow-same-size", "overflow", "split", "directory", "table"}


def version_of(label: str) -> str:
    return next(build.version for build in toolchains.BUILDS if build.label == label)


def stop(program: Path, truth: Path, **environment: str) -> list[str]:
    """Run the fixture under gdb up to where its list is written."""
    return [
        *(f"set environment {name} {value}" for name, value in environment.items()),
        f"file {program}",
        "break main.waiting",
        f"run {truth} > {truth}.out",
    ]


def is_spare(event: dict[str, Any]) -> bool:
    """Whether an overflow bucket was there already, at the end of the array."""
    return any("nothing was allocated" in note for note in event.get("notes", ()))


def allocated(event: dict[str, Any]) -> bool:
    return event["op"] in ALLOCATES and not is_spare(event)


def window(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What lies between the first mark and the last."""
    marks = [
        number
        for number, event in enumerate(events)
        if event.get("type") in ("map[main.first]int", "map[main.last]int")
        and event["op"] == "grow"
    ]
    assert len(marks) == 2
    return events[marks[0] : marks[1] + 1]


def check_document(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What holds of every ring of the fixture: nothing is lost, and all is in order."""
    events: list[dict[str, Any]] = document["events"]
    assert document["schema"] == "gomapscope.ring/1"
    assert document["exact"]
    assert not document["truncated"]
    assert (document["lost"], document["torn"], document["damaged"]) == (0, 0, 0)
    assert document["kept"] == document["matched"] == document["ring"]["recorded"] == len(events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["thread"] > 0 for event in events)
    return events


KEYS = ("op", "block", "capacity", "old_block", "old_capacity")
NOTED = ("create", "grow", "grow-same-size", "evacuated", "split", "release", "directory", "table")


def in_words(row: dict[str, Any]) -> str:
    """A change in the words that the fixture and the ring share."""
    kept = {key: row[key] for key in KEYS if row.get(key)}
    if row["op"] in ("evacuated", "directory", "split"):
        kept.pop("old_capacity", None)
    if row["op"] == "overflow":
        kept.pop("capacity", None)
    return json.dumps(kept, sort_keys=True)


@pytest.mark.parametrize("label", LABELS)
def test_the_ring_has_what_the_program_saw(label: str, tmp_path: Path) -> None:
    """Growths, splits, releases: addresses, capacities, owners, types, goroutines, times."""
    truth = tmp_path / "truth.jsonl"
    program = ringtool.build(label, "-track-free")
    with Session(stop(program, truth)) as session:
        document = session.json("go-map-ring -json")
        listed = gdbtool.read_truth(truth)
        of_one = session.json(
            f"go-map-ring {listed[1]['address']} -type '{listed[1]['type']}' -json"
        )
        text = session.text("go-map-ring")
    events = check_document(document)
    assert document["family"] == ("swiss" if "swiss" in text.split(",")[0] else "classic")
    assert document["ring"]["frees"]
    assert document["ring"]["recording"]
    seen = Counter(event["op"] for event in events)
    common = {"create", "grow", "clear", "clone", "free"}
    family = {
        "classic": {"grow-same-size", "evacuated", "overflow"},
        "swiss": {"split", "directory", "table", "release"},
    }
    assert set(seen) >= common | family[document["family"]]
    assert of_one["events"] == [e for e in events if e["map"] == listed[1]["address"]]
    times = [event["t_mono_ns"] for event in events]
    # Who is first to have a time is not always first to have a number.
    assert all(later - earlier > -50_000_000 for earlier, later in zip(times, times[1:]))
    clock = document["ring"]["clock"]
    for event in events:
        wall = clock["t_wall_ns"] + event["t_mono_ns"] - clock["t_mono_ns"]
        assert event["t_wall_ns"] == wall
    modified = truth.stat().st_mtime_ns
    assert abs(modified - events[-1]["t_wall_ns"]) < 60e9
    for row in listed:
        own = [
            event
            for event in events
            if event["map"] == row["address"] and event.get("type") == row["type"]
        ]
        acts = [event for event in own if event["op"] != "free"]
        assert {event["goid"] for event in acts} <= {row["goid"]}
        if "source" in row:
            copies = [event for event in acts if event["op"] == "clone"]
            assert len(copies) == 1
            assert copies[0]["notes"][0] == f"a copy of the map at {row['source']}"
            assert copies[0]["len"] == row["len"]
        else:
            found = Counter(in_words(event) for event in acts if event["op"] in NOTED)
            wanted = Counter(in_words(change) for change in row["changes"] or ())
            # The end of a classic growth by a clear is a release.
            if row.get("cleared") and document["family"] == "classic":
                found = Counter(w.replace("release", "evacuated") for w in found.elements())
            assert found == wanted, row["note"]
        assert [e["len"] for e in acts if e["op"] == "clear"] == row.get("cleared", [])
        have = {event["block"] for event in own if "block" in event}
        missing = set(row["blocks"] or ()) - have
        assert not missing, (row["note"], missing)
        if row.get("dropped"):
            freed = {event["old_block"] for event in own if event["op"] == "free"}
            mine = {event["block"] for event in own if allocated(event)}
            assert mine <= freed, (row["note"], mine - freed)
    wrong = [line for line in text.splitlines() if len(line) > 80]
    assert not wrong


def told(event: dict[str, Any]) -> str:
    """The type that the runtime allocates for an event."""
    if event["op"] == "table":
        return "maps.table"
    if event["op"] == "directory":
        return "*maps.table"
    return str(event["type"])


def recorded(label: str, tmp_path: Path) -> tuple[dict[str, Any], ringtool.Allocations]:
    """The ring, and the runtime's own record, of one run.

    Where a trace with allocations ends, the runtime now and then finds one of its buffers in a
    list twice: the program dies in traceAdvance, or the trace is torn.  Without the recorder it
    does so as well: 4 times in 1,500 with Go 1.24.11.  Such a run has no truth to tell.
    """
    program = ringtool.build(label, "-track-free")
    goroot = toolchains.ensure(version_of(label)).parent.parent
    for number in range(5):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        truth, trace = folder / "truth.jsonl", folder / "trace"
        commands = stop(program, truth, RING_TRACE=str(trace), GODEBUG="traceallocfree=1")
        with Session(commands) as session:
            if not truth.exists():
                assert "runtime.traceAdvance" in session.text("backtrace"), session.log
                continue
            document = session.json("go-map-ring -json")
        try:
            return document, ringtool.allocations(trace, goroot)
        except ringtool.Torn:
            continue
    raise AssertionError("no run with a trace that is whole")


@pytest.mark.parametrize("label", TRACED)
def test_the_ring_has_what_the_runtime_allocated(label: str, tmp_path: Path) -> None:
    """Every bucket array, overflow bucket, group array, table and directory; and frees."""
    document, record = recorded(label, tmp_path)
    events = window(check_document(document))

    ours = [event for event in events if allocated(event)]
    theirs = []
    for time, address, kind in record.allocs:
        for prefix in ("map.bucket[", "map.group["):
            if kind.startswith(prefix):
                theirs.append((time, f"{address:#x}", "map[" + kind[len(prefix) :]))
        if kind in ("maps.table", "*maps.table"):
            theirs.append((time, f"{address:#x}", kind))
    edges = [ours[0]["block"], ours[-1]["block"]]
    names = ["map[main.first]int", "map[main.last]int"]
    ends = [
        next(n for n, (_, a, t) in enumerate(theirs) if (a, t) == edge)
        for edge in zip(edges, names)
    ]
    theirs = theirs[ends[0] : ends[1] + 1]
    # The trace counts in units of 64 ns, and never twice the same.
    found = Counter((event["block"], told(event)) for event in ours)
    wanted = Counter((address, kind) for _, address, kind in theirs)
    assert found == wanted, (list(found - wanted)[:5], list(wanted - found)[:5])
    assert len(ours) > 500
    kinds = {kind for _, _, kind in theirs}
    if document["family"] == "swiss":
        assert {"maps.table", "*maps.table"} <= kinds
    apart = []
    times: dict[tuple[str, str], list[int]] = {}
    for time, address, kind in theirs:
        times.setdefault((address, kind), []).append(time)
    for event in ours:
        apart.append(event["t_mono_ns"] - times[event["block"], told(event)].pop(0))
    apart.sort()
    assert -64 <= apart[len(apart) // 2] < 100_000

    # What was allocated in the window and freed in it, by both books.
    sizes = {int(event["block"], 16): event["size"] for event in ours}
    steps = [(time, 0, address, kind) for time, address, kind in record.allocs]
    steps += [(time, 1, address, "") for time, address in record.frees]
    first, last = theirs[0][0], theirs[-1][0]
    live: dict[int, bool] = {}
    their_frees: Counter[int] = Counter()
    # The two books are not written at once, and the sweeper may lose its thread in between: at
    # the window's end one may have what the other has not.
    at_end: Counter[int] = Counter()
    known = {(time, int(address, 16)) for time, address, _ in theirs}
    for time, is_free, address, _ in sorted(steps):
        if not is_free:
            live[address] = (time, address) in known
            continue
        # Slots of objects with a header of their own are freed 8 bytes lower.
        if address not in live and sizes.get(address + 8, 0) > 504:
            address += 8
        if live.pop(address, False) and first <= time:
            if time <= last:
                their_frees[address] += 1
            if time > last - 10_000_000:
                at_end[address] += 1
    born: Counter[int] = Counter()
    our_frees: Counter[int] = Counter()
    for event in events:
        if allocated(event):
            born[int(event["block"], 16)] += 1
        elif event["op"] == "free" and born[int(event["old_block"], 16)]:
            our_frees[int(event["old_block"], 16)] += 1
            # The trace may have ended before it could tell of it.
            if event["t_mono_ns"] > ours[-1]["t_mono_ns"] - 10_000_000:
                at_end[int(event["old_block"], 16)] += 1
    extra, missing = our_frees - their_frees - at_end, their_frees - our_frees - at_end
    # Few are left: which of the objects that shared a slot was freed cannot always be told.
    assert sum((extra + missing).values()) <= 4, (extra, missing)
    assert sum(our_frees.values()) > 100


def console(*arguments: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.mark.parametrize(
    ("label", "flags"),
    [
        ("1.23.9", ()),
        ("1.23.9", ("-ldflags=-s -w",)),
        ("1.27.3", ("-buildmode=pie", "-ldflags=-s -w")),
        ("1.27.3", ("-trimpath", "-buildmode=pie")),
    ],
    ids=["plain", "stripped", "stripped-pie", "trimpath-pie"],
)
def test_cores_and_files(label: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """A kernel core, without gdb, has the same as the process had in gdb."""
    program = ringtool.build(label, "-stacks", flags=flags)
    folder = tmp_path / "core"
    folder.mkdir()
    truth = tmp_path / "truth.jsonl"
    core = cores.core_of([program, truth, "crash"], folder)
    document = json.loads(console("ring", "-core", core, "-exe", program, "-json"))
    events = check_document(document)
    assert document["ring"]["stacks"]
    rows = {row["address"]: row for row in gdbtool.read_truth(truth)}
    assert all("type" in event for event in events)
    # Where a header was freed, another map's may be.
    grown = [
        event
        for event in events
        if event["op"] == "grow" and event["type"] == rows.get(event["map"], {}).get("type")
    ]
    assert len(grown) > 150
    # Whoever fills a map stands on the stack, and nothing of the recorder.
    frames = [[frame["function"] for frame in event["stack"]] for event in grown]
    filled = [stack for stack in frames if any(name.startswith("main.fill") for name in stack)]
    assert len(filled) > 100
    assert not [name for stack in frames for name in stack if "gomapscope" in name]
    lines = {
        frame["line"]
        for event in grown
        for frame in event["stack"]
        if frame["function"].startswith("main.fill[") and frame["file"].endswith("main.go")
    }
    source = (ringtool.RING / "main.go").read_text().splitlines()
    assert {source[line - 1].strip() for line in lines} >= {"m[key(i)] = value"}

    file = tmp_path / "events.jsonl.gz"
    console("ring", "-core", core, "-exe", program, "-o", file, "-op", "grow,split")
    import gzip

    with gzip.open(file, "rt") as packed:
        head, *kept, end = [json.loads(line) for line in packed]
    assert head["schema"] == "gomapscope.events/1"
    assert head["engine"] == "ring"
    assert kept == [event for event in events if event["op"] in ("grow", "split")]
    assert end["events"] == len(kept)
    said = console("ring", "-core", core, "-exe", program, "-o", file, status=1)
    assert "exists" in said
    assert len(said.splitlines()) == 1

    if label == "1.23.9":
        with Session([f"file {program}", f"core-file {core}"]) as session:
            assert session.json("go-map-ring -json")["events"] == events
            few = session.json("go-map-ring -json -limit 5")
            assert few["events"] == events[-5:]
            assert few["truncated"]


def test_a_small_ring_counts_what_it_lost(tmp_path: Path) -> None:
    """Old records make room for new ones; the numbers say how many are gone."""
    truth = tmp_path / "truth.jsonl"
    program = ringtool.build("1.27.3", "-ring", "100")
    with Session(stop(program, truth)) as session:
        document = session.json("go-map-ring -json")
        text = session.text("go-map-ring -limit 3")
        # The process can be told to stop recording.
        session.text("set var 'runtime.gomapscopeRing'.off = 1")
        assert "switched off" in session.text("go-map-ring")
    ring, events = document["ring"], document["events"]
    assert ring["entries"] == 128
    assert ring["recorded"] > 500
    assert document["kept"] + document["lost"] + document["torn"] == ring["recorded"]
    assert document["kept"] == len(events) > 120
    assert "overwritten" in text
    assert f"3 of {len(events)} shown" in text


def test_results_are_the_same(tmp_path: Path) -> None:
    """The program prints what it prints without the recorder, under the race detector, too."""
    for label in ("1.21.13", "1.25.5-noswissmap", "1.27.3"):
        printed = set()
        for program in (
            toolchains.build(ringtool.RING, label),
            ringtool.build(label, "-track-free"),
        ):
            done = subprocess.run(
                [program, tmp_path / "truth"], capture_output=True, text=True, check=True
            )
            printed.add(done.stdout)
        assert len(printed) == 1
    if shutil.which("gcc"):
        program = ringtool.build("1.27.3", "-track-free", flags=("-race",), CGO_ENABLED="1")
        done = subprocess.run(
            [program, tmp_path / "truth"], capture_output=True, text=True, check=True
        )
        assert done.stdout in printed
        assert "DATA RACE" not in done.stderr


def test_without_a_recorder(tmp_path: Path) -> None:
    program = toolchains.build(ringtool.RING, "1.27.3")
    with Session(stop(program, tmp_path / "truth")) as session:
        assert "gomapscope instrument" in session.error("go-map-ring")
        assert "-force needs -o FILE" in session.error("go-map-ring -force")
        assert "it is one of create, grow" in session.error("go-map-ring -op grown")


def goroot_with(version: str, folder: Path, name: str, old: str, new: str) -> Path:
    """A GOROOT of links to another, in which one source is changed; its go command."""
    whole = toolchains.ensure(version).parent.parent
    root = folder / "goroot"
    shutil.copytree(whole, root, copy_function=os.symlink, symlinks=True)
    # The go command finds GOROOT by its own place.
    for path in (root / "bin" / "go", root / "VERSION"):
        source = os.path.realpath(path)
        path.unlink()
        shutil.copy2(source, path)
    changed = root / "src" / name
    text = changed.read_text()
    assert old in text
    changed.unlink()
    changed.write_text(text.replace(old, new))
    return root / "bin" / "go"


@pytest.mark.parametrize(
    ("version", "name", "old", "new", "said"),
    [
        (
            "1.23.9",
            "runtime/map.go",
            "h.oldbuckets = nil\n\t\t// Can",
            "h.dropOld()\n\t\t// Can",
            "runtime/map.go: func advanceEvacuationMark: `h.oldbuckets = nil` is there 0 times",
        ),
        (
            "1.27.3",
            "internal/runtime/maps/table.go",
            "func (t *table) split(",
            "func (t *table) halve(",
            "internal/runtime/maps/table.go: func (t *table) split: it is not there",
        ),
    ],
)
def test_other_sources_are_refused(
    version: str, name: str, old: str, new: str, said: str, tmp_path: Path
) -> None:
    """The function and file are named, and nothing is written."""
    go = goroot_with(version, tmp_path, name, old, new)
    directory = tmp_path / "overlay"
    done = ringtool.instrument(go, directory, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["goroot"]


def test_directories_and_arguments(tmp_path: Path) -> None:
    go = toolchains.ensure("1.27.3")
    directory = tmp_path / "a b"
    text = ringtool.instrument(go, directory, "-ring", "1000").stdout
    assert "Ring of 1,024 records (1,000 rounded up), 96.0 KiB" in text
    assert f"'-overlay={directory}/overlay.json'" in text
    assert f"GOFLAGS=\"'-overlay={directory}/overlay.json'\"" in text

    def refused(*options: str, to: Path = directory, go: Path = go) -> str:
        done = ringtool.instrument(go, to, *options, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "exists" in refused()
    before = (directory / "overlay.json").stat().st_ino
    ringtool.instrument(go, directory, "-force")
    assert (directory / "overlay.json").stat().st_ino != before
    (directory / "mine").write_text("x")
    assert "was not written by gomapscope" in refused("-force")
    assert "64 to 16777216" in refused("-ring", "5", to=tmp_path / "new")
    assert "no-go" in refused(go=tmp_path / "no-go", to=tmp_path / "new")
    assert "holds the flight recorder already" in refused(
        "-overlay", str(directory / "overlay.json"), to=tmp_path / "new"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b"]


def test_beside_another_overlay(tmp_path: Path) -> None:
    """Files that another overlay replaces are patched as that one has them."""
    go = toolchains.ensure("1.27.3")
    source = go.parent.parent / "src"
    maps = source / "internal" / "runtime" / "maps" / "map.go"
    mine = tmp_path / "map.go"
    mine.write_text(maps.read_text() + "\nvar ringTestMark = 77\n")
    added = tmp_path / "added.go"
    added.write_text('package main\n\nfunc init() { println("added") }\n')
    program = tmp_path / "program"
    shutil.copytree(ringtool.RING, program)
    other = tmp_path / "mine.json"
    replace = {str(maps): str(mine), str(program / "added.go"): str(added)}
    other.write_text(json.dumps({"Replace": replace}))
    directory = tmp_path / "overlay"
    said = ringtool.instrument(go, directory, "-overlay", str(other)).stdout
    assert "2 files of the other overlay" in said
    merged = json.loads((directory / "overlay.json").read_text())["Replace"]
    assert merged[str(program / "added.go")] == str(added)
    patched = Path(merged[str(maps)]).read_text()
    assert "ringTestMark" in patched
    assert "gomapscopeToTable(" in patched
    subprocess.run(
        [go, "build", "-o", tmp_path / "built", "."],
        cwd=program,
        # As a user's build script would be told.
        env=toolchains.environment(
            "1.27.3", {"GOFLAGS": f"-buildvcs=false -overlay={directory}/overlay.json"}
        ),
        check=True,
        timeout=gdbtool.TIMEOUT,
    )
    done = subprocess.run(
        [tmp_path / "built", tmp_path / "truth"], capture_output=True, text=True, check=True
    )
    assert done.stderr == "added\n"
    with Session(stop(tmp_path / "built", tmp_path / "truth")) as session:
        check_document(session.json("go-map-ring -json"))


def test_lines_keep_their_numbers() -> None:
    """Stack traces and breakpoints of the runtime are right."""
    for version in toolchains.VERSIONS:
        file = ringtool.overlay(version, "-track-free")
        for original, replacement in json.loads(file.read_text())["Replace"].items():
            if "zz_gomapscope" in original:
                continue
            before = Path(original).read_text().splitlines()
            after = Path(replacement).read_text().splitlines()
            assert len(before) == len(after)
            changed = [a for b, a in zip(before, after) if b != a]
            assert 0 < len(changed) < 20
            assert all("gomapscope" in line for line in changed)
