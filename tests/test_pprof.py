"""Profiles of a Go program, read by ``gomapscope pprof``.

The truth is Go's own: ``go tool pprof -raw`` for what a profile holds, and the records of
runtime.MemProfile, taken at MemProfileRate=1, for whose bytes they are.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest

import gdbtool
import toolchains

SOURCE = gdbtool.ROOT / "tests" / "go" / "profiled"

#: Classic maps, Swiss maps without and with allocator frames, the latest.
LABELS = ("1.21.13", "1.23.9", "1.24.11", "1.27.3")

#: What the calls of each function are given, where the compiler knows it.
TYPES = {
    "main.doGrow": "map[int64]int64",
    "main.doHint": "map[string]int",
    "main.doLiteral": "map[string]bool",
    "main.doStructs": "map[string]main.point",
    "main.doIndirect": "map[string]main.wide",
    "main.put": "map[int32]int32",
    "main.doMixed": "map[string]int",
    "main.doBoxes": "map[interface {}]int",
    "main.doChurn": "map[int64]int64",
}

#: What the runtime's functions of maps are called where the compiler calls them.
ENTRY = re.compile(r"runtime\.(mapassign|makemap|mapclone|mapclear|mapdelete|mapiter|mapIter)")


class Made(NamedTuple):
    """The files of one run."""

    folder: Path
    program: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)


@functools.cache
def made(label: str, rate: int, *flags: str) -> Made:
    """Run the fixture once; its files stay until the tests end."""
    program = toolchains.build(SOURCE, label, flags=flags)
    folder = tempfile.TemporaryDirectory(prefix="gomapscope-profiled-")
    _KEPT.append(folder)
    command = [str(program), "-dir", folder.name, "-series", "3", "-rate", str(rate)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return Made(Path(folder.name), program)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def console(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", "pprof", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(gdbtool.ROOT / "python"),
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def document(*words: str) -> Any:
    done = console("-json", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert result["schema"] == "gomapscope.pprof/1"
    return result


def refused(*words: str) -> str:
    done = console(*words)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert not gdbtool.UGLY.search(done.stderr), done.stderr
    return done.stderr


# What go tool pprof reads of a file.

_SAMPLE = re.compile(r"^\s*((?:-?\d+\s*)+):((?: \d+)*) ?$")
_LOCATION = re.compile(r"^\s*(\d+): (0x[0-9a-f]+) (?:M=\d+ )?(.*)$")
_FRAME = re.compile(r"^(.*) (\S+?):(\d+)(?::\d+)? s=\d+")


def pprof_raw(label: str, path: str) -> Counter[tuple[Any, ...]]:
    """Samples as go tool pprof prints them: values, labels, and the stack with all names."""
    go = toolchains.ensure(label)
    text = subprocess.run(
        [str(go), "tool", "pprof", "-symbolize=none", "-raw", path],
        env=toolchains.environment(label),
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=240,
    ).stdout
    head, rest = text.split("\nLocations\n", 1)
    locations: dict[str, list[Any]] = {}
    current: list[Any] = []
    for line in rest.split("\nMappings\n", 1)[0].split("\n"):
        found = _LOCATION.match(line)
        frame = line.strip()
        if found:
            current = locations[found[1]] = [int(found[2], 16)]
            frame = found[3]
        named = _FRAME.match(frame)
        if named:
            current.append((named[1], named[2], int(named[3])))
    samples: Counter[tuple[Any, ...]] = Counter()
    lines = head.split("Samples:\n", 1)[1].split("\n")[1:]
    for at, line in enumerate(lines):
        found = _SAMPLE.match(line)
        if not found:
            continue
        values = tuple(int(word) for word in found[1].split())
        stack = tuple(tuple(locations[number]) for number in found[2].split())
        after = lines[at + 1] if at + 1 < len(lines) else ""
        size = re.match(r"^ +bytes:\[(\d+)\]", after)
        samples[values, size and int(size[1]), stack] += 1
    return samples


def ours(profile: Any, named: bool = True) -> Counter[tuple[Any, ...]]:
    places = []
    for location in profile["raw"]["locations"]:
        place: list[Any] = [int(location["address"], 16)]
        for line in location["lines"] if named else ():
            place.append((line["function"], line["file"], line["line"]))
        places.append(tuple(place))
    samples: Counter[tuple[Any, ...]] = Counter()
    for sample in profile["raw"]["samples"]:
        labels = {label["key"]: label.get("number") for label in sample.get("labels", [])}
        stack = tuple(places[index] for index in sample["stack"])
        samples[tuple(sample["values"]), labels.get("bytes"), stack] += 1
    return samples


PROTO = ("heap", "allocs", "goroutine", "block", "mutex", "cpu")


@pytest.mark.parametrize(("label", "rate"), [*((label, 0) for label in LABELS), ("1.23.9", 1)])
def test_a_protobuf_profile_is_what_go_tool_pprof_reads(label: str, rate: int) -> None:
    run = made(label, rate)
    names = PROTO if rate == 0 else ("heap",)
    files = [run.file(f"{name}.pb.gz") for name in names]
    for path, profile in zip(files, document("-raw", *files)["profiles"]):
        expected = pprof_raw(label, path)
        assert expected
        assert ours(profile) == expected, path


@pytest.mark.parametrize("label", LABELS)
def test_a_text_has_the_values_and_addresses_that_go_tool_pprof_reads(label: str) -> None:
    run = made(label, 0)
    for name in ("heap", "goroutine", "block", "mutex"):
        path = run.file(f"{name}.txt")
        (profile,) = document("-raw", path)["profiles"]
        read = ours(profile, named=False)
        expected: Counter[tuple[Any, ...]] = Counter()
        for (values, size, stack), count in pprof_raw(label, path).items():
            expected[values, size, tuple((place[0],) for place in stack)] += count
        # go tool pprof leaves the runtime's frames out of heap texts, too; addresses tell.
        assert sum(read.values()) == sum(expected.values())
        ends: Counter[tuple[Any, ...]] = Counter()
        for (values, _size, stack), count in expected.items():
            matching = [
                known
                for known in read
                if known[0] == values and known[2][len(known[2]) - len(stack) :] == stack
            ]
            assert matching, (name, values, stack)
            ends[values] += count
        assert ends == Counter(
            {values: sum(n for (v, _s, _p), n in read.items() if v == values) for values in ends}
        )


@pytest.mark.parametrize("label", LABELS)
def test_text_and_protobuf_of_one_profile_have_the_same_figures(label: str) -> None:
    run = made(label, 0)
    for name in ("heap", "goroutine", "block", "mutex", "threadcreate"):
        proto, text = document(run.file(f"{name}.pb.gz"), run.file(f"{name}.txt"))["profiles"]
        assert proto["kind"] == text["kind"] == name
        assert proto["sample_types"] == text["sample_types"]
        assert (proto["origin"], text["origin"]) == ("protobuf", "text")
        assert len(proto["totals"]) == len(text["totals"])
        if name == "heap":
            # What is written in between allocates.
            assert text["totals"][2:] == pytest.approx(proto["totals"][2:], rel=0.2)
        else:
            assert text["totals"] == pytest.approx(proto["totals"], rel=0.5)
        if name == "heap":
            assert text["last_gc_ns"] > 1_600_000_000 * 10**9


def test_labels_of_goroutines_are_those_of_the_protobuf() -> None:
    for label in ("1.23.9", "1.27.3"):
        run = made(label, 0)
        found = []
        for name in ("goroutine.pb.gz", "goroutine.txt"):
            (profile,) = document("-raw", run.file(name))["profiles"]
            labels = [
                (sample["values"], {row["key"]: row["text"] for row in sample["labels"]})
                for sample in profile["raw"]["samples"]
                if "labels" in sample
            ]
            found.append(labels)
        assert found[0] == found[1]
        assert ([3], {"map": 'user "cache", {x}', "tab": "a\tb\\"}) in found[0]


# Whose bytes they are.


class Sum(NamedTuple):
    alloc_objects: int
    alloc_bytes: int
    inuse_objects: int
    inuse_bytes: int


def truth(run: Made) -> tuple[dict[tuple[str, int], Sum], dict[str, Sum]]:
    """Bytes by the user's line where the program called into a map, and all by function."""
    maps: dict[tuple[str, int], Sum] = {}
    everything: dict[str, Sum] = {}
    fields = ("alloc_objects", "alloc_bytes", "inuse_objects", "inuse_bytes")
    for record in json.loads((run.folder / "truth.json").read_text()):
        inner, at = "", None
        for frame in record["frames"]:
            name = frame["function"]
            if not name.startswith(("runtime.", "internal/runtime/")):
                at = frame
                break
            inner = name
        if at is None:
            continue
        values = [record[field] for field in fields]
        old = everything.get(at["function"], Sum(0, 0, 0, 0))
        everything[at["function"]] = Sum(*(a + b for a, b in zip(old, values)))
        if ENTRY.match(inner):
            key = (at["function"], at["line"])
            old = maps.get(key, Sum(0, 0, 0, 0))
            maps[key] = Sum(*(a + b for a, b in zip(old, values)))
    return maps, everything


def by_line(profile: Any) -> dict[tuple[str, int], Sum]:
    result: dict[tuple[str, int], Sum] = {}
    for site in profile["heap"]["sites"]:
        key = (site["function"], site["line"])
        old = result.get(key, Sum(0, 0, 0, 0))
        result[key] = Sum(*(old[at] + site[name] for at, name in enumerate(Sum._fields)))
    return result


def close(got: Optional[Sum], wanted: Sum, share: float) -> bool:
    # A collection that begins in the call leaves an object or two of its own.
    return got is not None and all(
        abs(a - b) <= max(share * b, slack) for a, b, slack in zip(got, wanted, (2, 512, 2, 512))
    )


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("name", ["heap.txt", "heap.pb.gz"])
def test_bytes_of_maps_are_those_the_runtime_counted(label: str, name: str) -> None:
    run = made(label, 1)
    (profile,) = document(run.file(name), "-exe", str(run.program))["profiles"]
    maps, everything = truth(run)
    found = by_line(profile)
    wanted = {key: figures for key, figures in maps.items() if key[0].startswith("main.do")}
    wanted.update({key: figures for key, figures in maps.items() if key[0] == "main.put"})
    assert len(wanted) >= 12, wanted
    for key, figures in wanted.items():
        assert close(found.get(key), figures, 0.03), (key, found.get(key), figures)
    # Functions that allocate nothing but maps.
    for function in ("main.doGrow", "main.doHint", "main.doStructs", "main.doIndirect"):
        lines = [figures for (name_, _), figures in found.items() if name_ == function]
        together = Sum(*(sum(column) for column in zip(*lines)))
        assert close(together, everything[function], 0.03), function
    # And none.
    assert not any(function == "main.doSlices" for function, _ in found)
    known = profile["heap"]
    total = profile["totals"]
    for at, field in enumerate(Sum._fields):
        sites = sum(site[field] for site in known["sites"])
        assert sites == known["maps"][field]
        parts = known["maps"][field] + known["other"][field] + known["unknown"][field]
        assert parts == total[at]
    assert known["unknown"]["alloc_bytes"] < 0.001 * total[1]
    if name == "heap.txt":
        assert known["unknown"]["alloc_bytes"] == 0


@pytest.mark.parametrize("label", LABELS)
def test_every_site_has_its_evidence_and_its_type(label: str) -> None:
    run = made(label, 1)
    text, proto = document(run.file("heap.txt"), run.file("heap.pb.gz"), "-exe", str(run.program))[
        "profiles"
    ]
    for profile, plain, typed in ((text, "raw-pc", "raw-pc+type"), (proto, "call", "call+type")):
        types = {}
        for site in profile["heap"]["sites"]:
            assert site["evidence"] == (typed if "type" in site else plain)
            assert all(
                ENTRY.match(call) or "maps." in call or "map" in call.lower()
                for call in site["calls"]
            ), site
            if "type" in site:
                types.setdefault(site["function"], set()).add(site["type"])
        for function, expected in TYPES.items():
            assert types.get(function) == {expected}, function
        # The type comes from a dictionary, or from reflect: not known, and not guessed.
        generic = [row for row in profile["heap"]["sites"] if row["function"] == "main.fill[...]"]
        assert [row.get("type") for row in generic] == [None]
        assert any(row["function"].startswith("reflect.") for row in profile["heap"]["sites"])


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_of_one_line_only_the_map_counts(label: str) -> None:
    run = made(label, 1)
    maps, everything = truth(run)
    ((line, wanted),) = [
        (line, figures)
        for (function, line), figures in maps.items()
        if function == "main.doMixed" and figures.alloc_bytes > 100_000
    ]
    assert everything["main.doMixed"].alloc_bytes > 2 * wanted.alloc_bytes
    (profile,) = document(run.file("heap.pb.gz"))["profiles"]
    assert close(by_line(profile)[("main.doMixed", line)], wanted, 0.03)


def test_samples_are_estimates_of_the_same() -> None:
    """At the usual rate both formats say the same, and what they say is near the truth."""
    run = made("1.23.9", 0)
    text, proto = document(
        run.file("allocs.txt"), run.file("allocs.pb.gz"), "-exe", str(run.program)
    )["profiles"]
    assert any("estimates" in note for note in text["notes"])
    ours, theirs = by_line(text), by_line(proto)
    for key in ours:
        if key[0].startswith("main.do"):
            assert close(ours[key], theirs[key], 0.001), key
    exact, _ = truth(made("1.23.9", 1))
    # Classic arrays of megabytes are all sampled.
    line = next(key for key in exact if key[0] == "main.doGrow" and exact[key].alloc_bytes > 1e6)
    assert ours[line].alloc_bytes == pytest.approx(exact[line].alloc_bytes, rel=0.35)


@pytest.mark.parametrize(
    ("label", "flags"),
    [
        ("1.23.9", ("-buildmode=pie",)),
        ("1.27.3", ("-buildmode=pie",)),
        ("1.24.11", ("-ldflags=-s -w",)),
    ],
)
def test_other_builds_are_understood(label: str, flags: tuple[str, ...]) -> None:
    run = made(label, 1, *flags)
    maps, _ = truth(run)
    for name in ("heap.txt", "heap.pb.gz"):
        (profile,) = document(run.file(name), "-exe", str(run.program))["profiles"]
        found = by_line(profile)
        for key, figures in maps.items():
            if key[0].startswith("main.do"):
                assert close(found.get(key), figures, 0.03), (name, key)
        types = {(site["function"], site.get("type")) for site in profile["heap"]["sites"]}
        assert ("main.doStructs", "map[string]main.point") in types


def test_what_grows_is_told() -> None:
    run = made("1.27.3", 1)
    files = [run.file(f"heap-{number}.pb.gz") for number in (1, 2, 3)]
    # The order is that of time, not of the command line.
    result = document(files[2], files[0], files[1])
    trends = {(row["function"], row.get("type")): row for row in result["trends"]}
    grown = trends["main.main", "map[int64]int64"]
    assert grown["steady"]
    objects = [figures["inuse_objects"] for figures in grown["figures"]]
    assert objects == sorted(objects)
    assert objects[0] < objects[2]
    assert grown["growth"]["inuse_objects"] == objects[2] - objects[0]
    churned = trends["main.doChurn", "map[int64]int64"]
    assert not churned["steady"]
    assert churned["growth"]["alloc_bytes"] > 1 << 20
    assert not trends["main.doHint", "map[string]int"]["steady"]
    for profile in result["profiles"]:
        churning = {site["function"] for site in profile["heap"]["sites"] if site["churns"]}
        assert "main.doChurn" in churning
        assert not {"main.doHint", "main.doSmall"} & churning
    done = console(*files)
    assert done.returncode == 0
    assert "objects rose in each profile" in done.stdout
    assert "not a proof of a leak" in done.stdout


@pytest.mark.parametrize("label", LABELS)
def test_time_in_maps_is_told_by_operation_and_label(label: str) -> None:
    run = made(label, 0)
    path = run.file("cpu.pb.gz")
    (profile,) = document(path)["profiles"]
    rows = profile["work"]["rows"]
    spent: Counter[str] = Counter()
    for row in rows:
        if row["function"] == "main.spinMaps":
            spent[row["operation"]] += row["values"][1]
    assert set(spent) & {"growth", "assign", "access", "delete", "iterate"}
    assert sum(spent.values()) > 0
    # Each sample of go tool pprof with a function of maps under the user's is among them.
    wanted = 0
    for (values, _size, stack), count in pprof_raw(label, path).items():
        names = [frame[0] for place in stack for frame in place[1:]]
        inner = []
        for name in names:
            if not name.startswith(RUNTIME):
                break
            inner.append(name)
        if inner and ENTRY_OR_ACCESS.match(inner[-1]):
            wanted += values[1] * count
    assert sum(row["values"][1] for row in rows) == wanted
    labelled = [row for row in rows if row["function"] == "main.spinMaps"]
    for row in labelled:
        assert ["work", "maps", row["values"][1]] in row["labels"]
        assert ["quoted", 'a "b"\n\x01ü', row["values"][1]] in row["labels"]


#: The runtime, and what it calls to hash and compare keys.
RUNTIME = (
    "runtime.",
    "internal/runtime/",
    "runtime/internal/",
    "internal/abi.",
    "internal/bytealg.",
    "type:.hash.",
    "type:.eq.",
    "aeshashbody",
    "memeqbody",
)

ENTRY_OR_ACCESS = re.compile(
    r"runtime\.(mapassign|mapaccess|makemap|mapclone|mapclear|mapdelete|mapiter|mapIter)"
)


def test_texts_are_for_a_terminal() -> None:
    run = made("1.27.3", 1)
    for name in ("heap.txt", "heap.pb.gz", "cpu.pb.gz", "mutex.pb.gz", "goroutine.txt"):
        done = console(run.file(name), "-exe", str(run.program))
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            assert len(line) <= 80, line
            assert line.isprintable(), line
    text = console(run.file("heap.pb.gz"), "-limit", "3").stdout
    assert "call+type  map[int64]int64" in text
    assert "3 of " in text


def test_another_program_is_refused() -> None:
    run, other = made("1.27.3", 1), made("1.23.9", 1)
    for name in ("heap.txt", "heap.pb.gz"):
        line = refused(run.file(name), "-exe", str(other.program))
        assert "is not the program of the profile" in line
    assert "not a Go program" in refused(run.file("heap.txt"), "-exe", sys.executable)
    assert "there is no file" in refused(run.file("heap.txt"), "-exe", "/nowhere/x")


def test_without_the_program_nothing_is_guessed(tmp_path: Path) -> None:
    run = made("1.27.3", 1)
    (profile,) = document(run.file("heap.txt"))["profiles"]
    assert profile["heap"]["sites"] == []
    assert profile["heap"]["unknown_because"][0]["reason"] == "the executable is not given (-exe)"
    assert "not known" in console(run.file("heap.txt")).stdout
    # One whose program is gone.
    packed = gzip.decompress((run.folder / "heap.pb.gz").read_bytes())
    name = str(run.program).encode()
    assert name in packed
    path = tmp_path / "moved.pb"
    path.write_bytes(packed.replace(name, b"/" + b"x" * (len(name) - 1)))
    (profile,) = document(str(path))["profiles"]
    assert profile["heap"]["sites"] == []
    assert any("-exe EXE" in note for note in profile["notes"])
    assert profile["heap"]["maps"]["alloc_bytes"] == 0


def test_damaged_files_are_refused_or_told() -> None:
    """Each prefix of real files, and bytes of them changed at random."""
    sys.path.insert(0, str(gdbtool.ROOT / "python"))
    from gomapscope import _native

    run = made("1.27.3", 0)
    chance = random.Random(24)
    parsed = refused_ = 0

    def attempt(name: str, data: bytes) -> None:
        nonlocal parsed, refused_
        try:
            _native.pprof_parses(name, data)
            parsed += 1
        except _native.Error as error:
            line = str(error)
            assert line.startswith(name), line
            assert "internal error" not in line
            assert line.isprintable(), line
            refused_ += 1

    for name in ("heap.pb.gz", "cpu.pb.gz", "goroutine.pb.gz", "mutex.txt", "goroutine.txt"):
        data = (run.folder / name).read_bytes()
        inside = gzip.decompress(data) if name.endswith(".gz") else data
        for whole in {data, inside}:
            step = max(1, len(whole) // 3000)
            for end in range(0, len(whole), step):
                attempt(name, whole[:end])
            for _ in range(1500):
                changed = bytearray(whole)
                for _ in range(chance.randint(1, 6)):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                attempt(name, bytes(changed))
    assert parsed > 1000
    assert refused_ > 1000


def test_damaged_names_and_places_are_explained_without_a_crash(tmp_path: Path) -> None:
    run = made("1.27.3", 1)
    chance = random.Random(7)
    whole = gzip.decompress((run.folder / "heap.pb.gz").read_bytes())
    for round_ in range(12):
        changed = bytearray(whole)
        for _ in range(20):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path = tmp_path / f"{round_}.pb"
        path.write_bytes(changed)
        done = console(str(path), "-json")
        assert done.returncode in (0, 1), done.stderr
        assert not gdbtool.UGLY.search(done.stderr + done.stdout), done.stderr
        assert done.stderr.count("\n") <= 1


# From a server.


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_program_is_asked_over_http(tmp_path: Path) -> None:
    program = toolchains.build(SOURCE, "1.27.3", flags=("-tags=serve",))
    command = [str(program), "-dir", str(tmp_path), "-rate", "1", "-serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready, _, address = process.stdout.readline().partition(" ")
            assert ready == "READY"
            base = f"http://{address.strip()}/debug/pprof"
            text, proto = document(f"{base}/heap?debug=1", f"{base}/heap", "-exe", str(program))[
                "profiles"
            ]
            assert text["origin"] == "text"
            assert proto["origin"] == "protobuf"
            for profile in (text, proto):
                found = by_line(profile)
                assert sum(v.inuse_bytes for k, v in found.items() if k[0] == "main.doGrow") > 1e6
            (delta,) = document(f"{base}/heap?seconds=1")["profiles"]
            assert delta["duration_ns"] >= 10**9
            assert "404" in refused(f"{base}/nothing")
            assert "browser" in refused(f"{base}/")
            assert "debug=2" in refused(f"{base}/goroutine?debug=2")
            assert "400" in refused(f"{base}/heap?seconds=1&debug=1")
        finally:
            process.kill()


def test_servers_lead_nowhere_else() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/elsewhere")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with serving(Handler) as base:
        assert "which was not named" in refused(f"{base}/heap")
    assert "refused" in refused("http://127.0.0.1:1/heap").lower()


@pytest.mark.parametrize(
    ("text", "value"), [("0", -1), ("all", -1), ("unlimited", -1), ("7", 7), ("1_000", 1000)]
)
def test_limits_are_one_language(text: str, value: int) -> None:
    sys.path.insert(0, str(gdbtool.ROOT / "python"))
    from gomapscope import profiles, traces

    assert profiles.rows(text) == value
    assert traces._rows(text) == max(value, 0)
    with pytest.raises(argparse.ArgumentTypeError, match="no number of rows"):
        profiles.rows("x" + text)
