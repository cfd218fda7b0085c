"""Timelines, against what programs noted by the same clock and what other readers make of them."""

from __future__ import annotations

import collections
import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ringtool

import gdbtool
import toolchains
from gdbtool import Session

ALIGNED = Path(__file__).parent / "go" / "aligned"
#: CPU ticks; a clock that must be found by others; events of every allocation; both clocks.
LABELS = ["1.21.13", "1.23.9", "1.27.3"]
PERFETTO = ("perfetto==0.59.1", "protobuf==7.36.2")
WALL = 1_700_000_000_000_000_000


def version_of(label: str) -> str:
    return next(build.version for build in toolchains.BUILDS if build.label == label)


def console(*arguments: str | Path, status: int = 0) -> str:
    """What ``gomapscope timeline`` prints; of a failure its error line."""
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", "timeline", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=gdbtool.TIMEOUT,
    )
    assert done.returncode == status, done.stderr
    assert not gdbtool.UGLY.search(done.stderr), done.stderr
    return done.stderr if status else done.stdout


class Run:
    """The fixture, stopped at its end, with what gdb made of it."""

    def __init__(self, label: str, folder: Path) -> None:
        self.folder = folder
        flags = []
        self.traced = not label.startswith(("1.21", "1.22"))
        if self.traced:
            flags = [f"-overlay={ringtool.overlay(version_of(label))}"]
        program = toolchains.build(ALIGNED, label, flags=flags)
        commands = [
            "set environment GODEBUG traceallocfree=1",
            f"file {program}",
            "break main.waiting",
            *(() if self.traced else ("tbreak main.work",)),
            f"run {folder} > {folder / 'printed'}",
        ]
        self.files = [folder / name for name in ("trace", "cpu.pb.gz", "heap.txt", "heap.pb.gz")]
        trace, cpu, text, proto = self.files
        options = f"-trace {trace} -cpu {cpu} -heap {text} -heap {proto}"
        with Session(commands) as session:
            if not self.traced:
                session.text(f"go-map-trace start -o {folder / 'events.jsonl.gz'}")
                session.text("continue")
            self.before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self.document = session.json(f"go-map-timeline main.kept {options} -json")
            self.after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self.text = session.text(f"go-map-timeline main.kept {options} -o {folder / 'a.html'}")
            session.text(f"go-map-snapshot main.kept -buckets -o {folder / 'snap.json'}")
            session.text(f"go-map-snapshot -scan -o {folder / 'scan.json.gz'}")
            if self.traced:
                session.text(f"go-map-ring -o {folder / 'ring.jsonl'}")
                self.files.append(folder / "ring.jsonl")
            assert "exists: -force" in session.error(f"go-map-timeline -o {folder / 'a.html'}")
        self.files.append(folder / "snap.json")
        self.truth = json.loads((folder / "truth.json").read_text())


@pytest.fixture(scope="module", params=LABELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(request.param, tmp_path_factory.mktemp(f"aligned-{request.param}"))


def source(document: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(of for of in document["sources"] if of["kind"] == kind)
    assert "refused" not in found, found
    return found


def test_every_source_is_where_the_program_was(run: Run) -> None:
    document, truth = run.document, run.truth
    assert document["schema"] == "gomapscope.timeline/1"
    assert not any("refused" in of for of in document["sources"]), document["sources"]
    trace = document["sources"].index(source(document, "trace"))
    error = document["sources"][trace]["error_ns"]
    # Ticks are matched by collections; stamps of dense events run ahead of the clock.
    assert error >= (1_000 if run.traced else 0)
    assert run.traced or error <= 60_000
    slack = error + 100
    logs = [one for one in document["instants"] if one["source"] == trace and "text" in one]
    logs = [one for one in logs if one["text"].startswith("map-lifecycle: ")]
    assert len(logs) == len(truth["logs"]) == 9
    kept = next(n for n, m in enumerate(document["maps"]) if m["address"] == truth["kept"])
    for told, noted in zip(logs, truth["logs"]):
        assert told["text"] == f"map-lifecycle: {noted['text']}"
        assert noted["before"] - slack <= told["t_ns"] <= noted["after"] + slack
        assert told["map"] == kept
    # Collections that runtime.GC waited for.
    spans = [one for one in document["intervals"] if one["lane"] == "GC"]
    for noted in truth["gc"]:
        inside = [
            one
            for one in spans
            if noted["before"] - slack <= one["begin_ns"] <= one["end_ns"] <= noted["after"] + slack
        ]
        assert inside, noted
    regions = [one for one in document["intervals"] if one["name"] == "fill"]
    assert len(regions) == 9
    assert all(one["whole"] for one in regions)


def test_profiles_lie_in_their_windows(run: Run) -> None:
    document, truth = run.document, run.truth
    cpu = source(document, "cpu")
    slack = cpu["error_ns"] + 1_000
    begin, end = cpu["extent"]
    # The profiler's own goroutine notes the begin when it first runs, and the end when it sees
    # that it is to stop (runtime/pprof.profileWriter); it sleeps for 100 ms in between.
    late = 250_000_000
    assert truth["cpu_start"]["before"] - slack <= begin <= truth["cpu_start"]["after"] + late
    assert truth["cpu_stop"]["before"] - late <= end <= truth["cpu_stop"]["after"] + late
    heaps = [of for of in document["sources"] if of["kind"] == "heap"]
    last = truth["gc"][-1]
    text = next(of for of in heaps if of["path"].endswith(".txt"))
    low, high = text["extent"]
    # The text lists the collection before the last one, too: which of them it is of, it
    # does not say.
    assert last["before"] - slack <= high <= last["after"] + slack
    assert low < high
    assert text["error_ns"] >= high - low
    assert "the last collection or the one before it" in text["mapping"]
    # The other one does not say of which collection it is, and the trace ended before it.
    proto = next(of for of in heaps if of["path"].endswith(".pb.gz"))
    assert "error_ns" not in proto
    assert "nothing tells" in proto["mapping"]
    assert ": left out, " not in run.text


def test_the_snapshot_is_of_that_moment(run: Run) -> None:
    snapshot = source(run.document, "snapshot")
    assert snapshot["error_ns"] <= 10_000
    low, high = snapshot["extent"]
    assert run.before < low == high < run.after
    kept = next(m for m in run.document["maps"] if m["address"] == run.truth["kept"])
    assert kept["len"] == run.truth["len"]
    assert kept["name"] == "main.kept"
    cells = kept["heat"]["cells"]
    live = sum(cell["live"] for cell in cells)
    # Of a classic map that grows, the old buckets are not drawn.
    growing = any(block[2] == "old buckets" for block in kept["blocks"])
    assert live < run.truth["len"] if growing else live == run.truth["len"]
    assert sum(cell["buckets"] for cell in cells) * 8 == kept["capacity"]
    assert (run.folder / "a.html").read_text().startswith("<!")


def test_what_was_recorded_is_there(run: Run) -> None:
    """Growths of one map, in gdb's last trace or the ring, and the sentence on them."""
    if run.traced:
        lines = (run.folder / "ring.jsonl").read_bytes()
    else:
        lines = gzip.decompress((run.folder / "events.jsonl.gz").read_bytes())
    events = [json.loads(line) for line in lines.splitlines()[1:]]
    growths = [
        event
        for event in events
        if event.get("map") == run.truth["kept"]
        and event["op"] in ("grow", "grow-same-size", "split")
    ]
    kind = "ring" if run.traced else "events"
    at = run.document["sources"].index(source(run.document, kind))
    kept = next(n for n, m in enumerate(run.document["maps"]) if m.get("name") == "main.kept")
    assert run.document["maps"][kept]["growths"] == len(growths) > 8
    drawn = [
        one["t_ns"]
        for one in run.document["instants"]
        if one["source"] == at and one.get("map") == kept and "grow" in one.get("op", "")
    ]
    assert drawn == [event["t_mono_ns"] for event in growths if "grow" in event["op"]]
    said = next(
        one["text"] for one in run.document["findings"] if one["text"].startswith("main.kept grew")
    )
    assert f"main.kept grew {len(growths)} times in " in said
    if not run.traced:
        assert re.search(r"all of them at main\.fill main\.go:\d+\. .* make\(map, 6,\d+\)", said), (
            said
        )


def test_the_ring_and_the_trace_have_the_same_clock(run: Run) -> None:
    """By address and type, one to one; what lies between is the laying out of the storage."""
    if not run.traced:
        pytest.skip("this release has no such events")
    record = ringtool.allocations(
        run.folder / "trace", toolchains.ensure(version_of_run(run)).parent.parent
    )
    theirs = collections.defaultdict(list)
    for when, address, kind in record.allocs:
        for prefix in ("map.bucket[", "map.group["):
            if kind.startswith(prefix):
                theirs[address, "map[" + kind[len(prefix) :]].append(when)
    first, last = run.truth["logs"][0]["before"], run.truth["logs"][-1]["after"]
    apart, large = [], []
    for line in (run.folder / "ring.jsonl").read_text().splitlines()[1:-1]:
        event = json.loads(line)
        when = event["t_mono_ns"]
        storage = event["op"] not in ("directory", "table") and not event.get("notes")
        if "block" not in event or not storage or not first <= when <= last:
            continue
        times = theirs.get((int(event["block"], 16), event["type"]))
        assert times, event
        nearest = min(times, key=lambda time: abs(time - when))
        (apart if event["size"] <= 2048 else large).append(nearest - when)
    assert len(apart) > 50
    beyond = [value for value in apart if abs(value) > 1_000]
    share = len(beyond) / len(apart)
    apart.sort()
    print(
        f"{len(apart)} blocks: median {apart[len(apart) // 2]} ns, worst {apart[0]} and "
        f"{apart[-1]} ns, {share:.1%} beyond 1 us; {len(large)} larger ones: {sorted(large)[:1]}"
    )
    # A block is allocated before it is laid out, and that may be interrupted.
    assert abs(apart[len(apart) // 2]) <= 500
    assert share <= 0.15
    assert max(apart + large) <= 5_000
    said = next(of for of in run.document["sources"] if of["kind"] == "trace")["notes"]
    assert any("allocations of maps are in the flight recorder" in note for note in said)


def version_of_run(run: Run) -> str:
    return str(run.document["subject"]["go_version"])[2:].split()[0]


def decoded(path: Path) -> Any:
    """Perfetto's own classes read the file."""
    script = (
        "import sys, json\n"
        f"sys.path[:0] = {[str(toolchains.wheel(name)) for name in PERFETTO]!r}\n"
        "from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb\n"
        "trace = pb.Trace()\n"
        "trace.ParseFromString(open(sys.argv[1], 'rb').read())\n"
        "out = []\n"
        "for p in trace.packet:\n"
        "    e, d = p.track_event, p.track_descriptor\n"
        "    row = {'t': p.timestamp, 'clock': p.timestamp_clock_id}\n"
        "    if p.HasField('clock_snapshot'):\n"
        "        row['clocks'] = {c.clock_id: c.timestamp for c in p.clock_snapshot.clocks}\n"
        "    if p.HasField('track_descriptor'):\n"
        "        row.update(track=d.uuid, name=d.name, parent=d.parent_uuid,"
        " counter=d.HasField('counter'), unit=d.counter.unit_name)\n"
        "    if p.HasField('track_event'):\n"
        "        row.update(type=e.type, on=e.track_uuid, name=e.name,"
        " value=e.counter_value if e.HasField('counter_value') else e.double_counter_value,"
        " notes={a.name: a.uint_value or a.string_value for a in e.debug_annotations})\n"
        "    out.append(row)\n"
        "json.dump({'packets': out, 'rest': len(trace.SerializeToString())}, sys.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    # Nothing in the file that its classes do not know, nothing lost.
    assert found["rest"] == path.stat().st_size
    return found["packets"]


def test_perfetto_reads_every_value(run: Run, tmp_path: Path) -> None:
    document = json.loads(console("-json", *run.files, "-o", tmp_path / "a.pftrace"))
    packets = decoded(tmp_path / "a.pftrace")
    tracks = {p["track"]: p for p in packets if "track" in p}
    events = [p for p in packets if "on" in p]
    assert {p["clock"] for p in events} == {3}
    assert all(p["on"] in tracks for p in events)
    clocks = packets[0]["clocks"]
    assert clocks["1"] - clocks["3"] == document["wall"]["offset_ns"]
    counted = collections.Counter((p["on"], p["t"], p["value"]) for p in events if p["type"] == 4)
    wanted = [
        (point["t_ns"], point["value"]) for of in document["series"] for point in of["points"]
    ]
    assert sorted((t, v) for (_, t, v), n in counted.items() for _ in range(n)) == sorted(wanted)
    assert sum(t["counter"] for t in tracks.values()) == len(document["series"])
    marks = [p for p in events if p["type"] == 3]
    instants = [one for one in document["instants"] if one["until_ns"] == one["t_ns"]]
    key = [(one["t_ns"], one.get("op") or one["text"], one.get("size", 0)) for one in instants]
    assert sorted((p["t"], p["name"], p["notes"].get("size") or 0) for p in marks) == sorted(key)
    begins = [p for p in events if p["type"] == 1]
    uncertain = [one for one in document["instants"] if one["until_ns"] > one["t_ns"]]
    assert sorted(p["t"] for p in begins) == sorted(
        [one["begin_ns"] for one in document["intervals"]] + [one["t_ns"] for one in uncertain]
    )
    open_slices: dict[int, list[int]] = collections.defaultdict(list)
    ends = []
    for p in events:
        if p["type"] == 1:
            open_slices[p["on"]].append(p["t"])
        elif p["type"] == 2:
            assert open_slices[p["on"]].pop() <= p["t"]
            ends.append(p["t"])
    assert not any(open_slices.values())
    assert sorted(ends) == sorted(
        [one["end_ns"] for one in document["intervals"]] + [one["until_ns"] for one in uncertain]
    )


def test_chrome_events_pair(run: Run, tmp_path: Path) -> None:
    document = json.loads(console("-json", *run.files, "-o", tmp_path / "a.trace.json.gz"))
    chrome = json.loads(gzip.decompress((tmp_path / "a.trace.json.gz").read_bytes()))
    events = chrome["traceEvents"]
    kinds = collections.Counter(event["ph"] for event in events)
    assert kinds["B"] == kinds["E"] >= len(document["intervals"])
    assert kinds["C"] == sum(len(of["points"]) for of in document["series"])
    open_slices: dict[int, list[str]] = collections.defaultdict(list)
    for event in events:
        if event["ph"] == "B":
            open_slices[event["tid"]].append(event["name"])
        elif event["ph"] == "E":
            assert open_slices[event["tid"]].pop() == event["name"]
    first = min(round(event["ts"] * 1000) for event in events if event["ph"] in "BiC")
    wanted = [one["begin_ns"] for one in document["intervals"]]
    wanted += [one["t_ns"] for one in document["instants"]]
    wanted += [point["t_ns"] for of in document["series"] for point in of["points"]]
    assert abs(first - min(wanted)) <= 2


def test_go_tool_pprof_opens_the_waste(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "waste.pb.gz"
    document = json.loads(console("-json", run.folder / "snap.json", "-o", output))
    version = version_of_run(run)
    done = subprocess.run(
        [toolchains.ensure(version), "tool", "pprof", "-top", "-unit=B", output],
        env=toolchains.environment(version),
        capture_output=True,
        text=True,
        check=True,
    )
    waste = sum(row["bytes"] for row in document["waste"])
    assert waste > 0
    assert "Type: waste" in done.stdout
    total = re.search(r"of (\d+)B total", done.stdout)
    assert total, done.stdout
    assert int(total[1]) == waste


def test_ticks_without_collections_are_refused(tmp_path: Path) -> None:
    run = Run("1.21.13", tmp_path)
    trace, snap = tmp_path / "trace", tmp_path / "snap.json"
    document = json.loads(console("-json", trace, snap))
    refused = next(of for of in document["sources"] if of["kind"] == "trace")
    assert "counts CPU ticks" in refused["refused"]
    assert "debug=1" in refused["refused"]
    assert not any(one["lane"] == "GC" for one in document["intervals"])
    assert "counts CPU ticks" in console(trace, status=1)
    # Of another program's run the collections do not fit.
    text = (tmp_path / "heap.txt").read_text()
    other = tmp_path / "other.txt"
    other.write_text(re.sub(r"PauseEnd = \[.*\]", "PauseEnd = [1 20 300 4000]", text))
    document = json.loads(console("-json", trace, snap, other))
    refused = next(of for of in document["sources"] if of["kind"] == "trace")
    assert "other.txt" in refused["refused"]
    assert run.truth["len"] == 6300


HEAD = {
    "schema": "gomapscope.events/1",
    "engine": "uprobe",
    "go_version": "go1.27.3",
    "pid": 7,
    "clock": {"t_mono_ns": 1000, "t_wall_ns": WALL + 1000, "error_ns": 300},
}


def test_a_million_events_take_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    frame = [{"function": "main.fill", "file": "/src/a.go", "line": 3}]
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(HEAD) + "\n")
        row = json.dumps({"seq": 0, "t_mono_ns": 1, "op": "OP", "map": "0x1", "stack": frame})
        row = row.replace('"seq": 0', '"seq": %d').replace('"t_mono_ns": 1', '"t_mono_ns": %d')
        row = row.replace('"OP"', '"%s", "type": "map[int]int", "len": %d, "size": 64')
        row = row.replace('"0x1"', '"%#x", "block": "%#x"') + "\n"
        for n in range(1_000_000):
            op = "assign" if n % 4 else "grow"
            map_address = 0x1000 + (n * 7919 % 50_000) * 64
            file.write(row % (n + 1, 10_000 + n * 50, op, n % 977, map_address, 0x900000 + n * 64))
        file.write(json.dumps({"end": "stop", "events": 1_000_000, "lost": 0, "duplicates": 0}))
        file.write("\n")
    # ru_maxrss would not do: it counts what the process was before exec, this one's copy.
    script = (
        "import re, sys\n"
        "from gomapscope.__main__ import main\n"
        "status = main(sys.argv[1:])\n"
        "told = open('/proc/self/status').read()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', told)[1], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, "timeline", path, "-o", tmp_path / "a.pftrace"],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    kib = int(done.stderr)
    print(f"{time.monotonic() - began:.1f} s, {kib / 1024:.0f} MiB")
    assert kib < 300 * 1024
    assert "1,000,000" in done.stdout
    assert "64 maps are shown" in done.stdout


@pytest.mark.parametrize("name", ["trace", "cpu.pb.gz", "heap.txt", "heap.pb.gz", "ring.jsonl"])
def test_cut_and_flipped_files_never_break_it(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    folder = next((path for path in base.glob("aligned-1.27.3*") if (path / name).exists()), None)
    if folder is None:
        pytest.skip("needs the files of the tests before")
    data = (folder / name).read_bytes()
    scratch = tmp_path_factory.mktemp("damaged")
    script = (
        "import sys, contextlib, io\n"
        "from gomapscope.__main__ import main\n"
        "for path in sys.argv[2:]:\n"
        "    said = io.StringIO()\n"
        "    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):\n"
        "        status = main(['timeline', path, sys.argv[1], '-json'])\n"
        "    error = said.getvalue()\n"
        "    assert 'internal error' not in error and 'Traceback' not in error, error\n"
        "    assert status == 0 or error.count('\\n') == 1, error\n"
    )
    paths = []
    for number in range(12):
        at = len(data) * (number * 2 + 1) // 24
        changed = bytearray(data)
        if number % 2:
            changed[at] ^= 0xFF
        else:
            del changed[at:]
        path = scratch / f"{number}-{name}"
        path.write_bytes(changed)
        paths.append(str(path))
    subprocess.run(
        [sys.executable, "-c", script, folder / "snap.json", *paths],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        check=True,
        timeout=gdbtool.TIMEOUT,
    )


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    events = tmp_path / "e.jsonl"
    events.write_text(json.dumps(HEAD) + "\n")
    assert "cannot be read" in console(tmp_path / "none", status=1)
    assert "is a directory" in console(tmp_path, status=1)
    assert "may end in .html" in console(events, "-o", tmp_path / "a.txt", status=1)
    assert "name files" in console(status=1)
    (tmp_path / "x").write_bytes(b"\x7fELF")
    assert "executable or a core" in console(tmp_path / "x", status=1)
    assert "Usage: gomapscope timeline" in console("-help")
