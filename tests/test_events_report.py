"""What is told of event files, in gdb and without it; sums are computed from what is written."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

import gdbtool
from gdbtool import Mi, Session

START = 5_000_000_000
HEADER: dict[str, Any] = {
    "schema": "gomapscope.events/1",
    "engine": "break",
    "go_version": "go1.27.3",
    "program": "/srv/service",
    "pid": 4711,
    "clock": {"t_mono_ns": START, "t_wall_ns": 1_700_000_000_000_000_000, "error_ns": 90},
    "on": ["grow", "split"],
}
CACHE, INDEX = 0xC000012120, 0xC000012150


def frame(function: str, file: str = "", line: int = 0) -> dict[str, Any]:
    return {"function": function, "file": file, "line": line}


FILL = [
    frame("runtime.hashGrow", "/go/src/runtime/map.go", 1096),
    frame("runtime.mapassign_faststr", "/go/src/runtime/map_faststr.go", 259),
    frame("main.fill", "/src/cache.go", 33),
    frame("main.main", "/src/main.go", 12),
]
LOAD = [FILL[0], frame("main.load", "/src/load.go", 7)]


def growths(
    address: int, name: str, count: int, stack: list[dict[str, Any]], first: int = 1
) -> list[dict[str, Any]]:
    """A map that doubles from nothing."""
    events = []
    slots = 0
    for number in range(count):
        new = slots * 2 or 8
        events.append(
            {
                "seq": first + number,
                "t_mono_ns": START + (first + number) * 10_000_000,
                "goid": 1 + number % 3,
                "op": "grow",
                "map": hex(address),
                "type": name,
                "len": slots * 13 // 16,
                "capacity": new,
                "old_capacity": slots,
                "map_capacity": new,
                "size": new * 17,
                "old_size": slots * 17,
                "stack": stack,
                "labels": {"request": "/login"} if number % 2 else {},
            }
        )
        slots = new
    return events


def lines(events: list[dict[str, Any]], end: Optional[str] = "stop", **header: Any) -> str:
    rows = [{**HEADER, **header}, *events]
    if end:
        rows.append({"end": end, "events": len(events), "lost": 0, "duplicates": 2, "left_out": 5})
    return "".join(json.dumps(row) + "\n" for row in rows)


def two_maps() -> list[dict[str, Any]]:
    return growths(CACHE, "map[string]int", 17, FILL) + growths(
        INDEX, "map[int]bool", 5, LOAD, first=40
    )


def console(*words: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """``gomapscope events`` without gdb and without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", "events", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(gdbtool.ROOT / "python"),
            "PYTHONIOENCODING": encoding,
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def document(*words: str) -> dict[str, Any]:
    done = console("-json", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def told(*words: str) -> str:
    done = console(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "events.jsonl"
    written.write_text(lines(two_maps()))
    return written


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session([]) as opened:
        yield opened


def test_sums_are_those_of_the_events(path: Path) -> None:
    events = two_maps()
    found = document(str(path))
    assert found["schema"] == "gomapscope.events-report/1"
    totals = found["totals"]
    assert totals["events"] == len(events)
    assert totals["ops"] == dict(Counter(event["op"] for event in events))
    assert totals["new_bytes"] == sum(event["size"] for event in events)
    assert totals["released_bytes"] == sum(event["old_size"] for event in events)
    assert totals["first_ns"] == min(event["t_mono_ns"] for event in events) - START
    assert totals["last_ns"] == max(event["t_mono_ns"] for event in events) - START
    assert totals["start_wall_ns"] == HEADER["clock"]["t_wall_ns"]
    assert found["end"] == {
        "state": "closed",
        "reason": "stop",
        "events": len(events),
        "lost": 0,
        "duplicates": 2,
        "left_out": 5,
    }
    for row, address in zip(found["maps"], (CACHE, INDEX)):
        mine = [event for event in events if event["map"] == hex(address)]
        assert row["address"] == hex(address)
        assert row["type"] == mine[0]["type"]
        assert row["events"] == row["growths_total"] == row["history_total"] == len(mine)
        assert row["new_bytes"] == sum(event["size"] for event in mine)
        assert row["slots"]["first"] == 0
        assert row["slots"]["last"] == mine[-1]["map_capacity"]
        assert row["len"] == {
            "first": mine[0]["len"],
            "last": mine[-1]["len"],
            "max": max(event["len"] for event in mine),
        }
        bytes_so_far = 0
        for point, growth, event in zip(row["history"], row["growths"], mine):
            bytes_so_far += event["size"]
            assert point["new_bytes"] == bytes_so_far
            assert point["t_ns"] == growth["t_ns"] == event["t_mono_ns"] - START
            assert point["map_capacity"] == growth["slots"] == event["map_capacity"]
            assert growth["slots_before"] == event["old_capacity"]
        (stack,) = row["stacks"]
        assert [(of["function"], of["line"]) for of in stack["frames"]] == [
            (of["function"], of["line"]) for of in mine[0]["stack"]
        ]
        assert stack["new_bytes"] == row["new_bytes"]
        assert stack["goroutines"] == [1, 2, 3]
        assert stack["labels"] == [{"request": "/login"}]
        assert stack["caller"]["function"] == {CACHE: "main.fill", INDEX: "main.load"}[address]


def test_the_text_answers_first(path: Path) -> None:
    text = told(str(path))
    first = " ".join(text.split("events of")[0].split())
    assert first.startswith("map[string]int at 0xc000012120 grew most: 0 → 524,288 slots, ")
    assert "100 % of it under main.fill cache.go:33." in first
    assert "main.fill cache.go:33 < main.main main.go:12" in text
    assert "+0.170  grow" in text
    assert "2 duplicates dropped" in text
    assert "5 hits left out on request" in " ".join(text.split())
    ascii_only = console(str(path), encoding="ascii").stdout
    assert ascii_only.isascii()
    assert "0 -> 524,288" in ascii_only


def test_limit_rules_rows(path: Path) -> None:
    found = document("-limit", "1", str(path))
    assert [row["address"] for row in found["maps"]] == [hex(CACHE)]
    assert found["truncated"] is True
    assert len(found["maps"][0]["growths"]) == 1
    assert len(found["stacks"]) == 1
    assert found["other_stacks"]["events"] == 5
    text = told(str(path), "-limit", "1")
    assert "1 of 2 listed" in text
    assert "1 of 17 growths" in text
    everything = told("-limit=unlimited", str(path))
    assert "growths, the largest" not in everything
    assert everything.count("  grow  ") == len(two_maps())


def test_an_address_that_is_another_maps_later(tmp_path: Path) -> None:
    first, second = (
        growths(CACHE, "map[string]int", 6, FILL),
        growths(CACHE, "map[string]int", 4, LOAD, first=20),
    )
    made = {"seq": 19, "t_mono_ns": START + 190_000_000, "op": "create", "map": hex(CACHE)}
    path = tmp_path / "reused.jsonl"
    path.write_text(lines([*first, {**made, "capacity": 0}, *second], maps=["main.cache"]))
    rows = document(str(path))["maps"]
    assert [(row["life"], row["events"], row.get("expression")) for row in rows] == [
        (1, 6, "main.cache"),
        (2, 5, None),
    ]
    assert rows[0]["new_bytes"] == sum(event["size"] for event in first)
    assert rows[1]["new_bytes"] == sum(event["size"] for event in second)
    assert "main.cache" in told(str(path)).splitlines()[0]


def test_packed_and_named_awkwardly(tmp_path: Path) -> None:
    wanted = None
    for name in ("a.jsonl.gz", 'it\'s "a"  file [.gz', "--odd.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(lines(two_maps()).encode()))
        words = [str(path)] if not name.startswith("-") else ["--", os.path.relpath(path)]
        found = document(*words)
        assert found.pop("file") == words[-1]
        wanted = wanted or found
        assert found == wanted


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_lost_its_end(tmp_path: Path, packed: bool) -> None:
    events = two_maps()
    text = lines(events).encode()
    path = tmp_path / "cut.jsonl"
    if packed:
        # What a killed writer leaves: whole blocks, then nothing.
        whole = gzip.compress(text)
        path.write_bytes(whole[: len(whole) - 12])
        found = document(str(path))
        assert found["end"]["state"] in ("open", "cut")
        assert found["totals"]["events"] <= len(events)
        return
    ends = [at + 1 for at, byte in enumerate(text) if byte == ord("\n")]
    path.write_bytes(text[: ends[4]])
    found = document(str(path))
    assert found["end"] == {"state": "open"}
    assert found["totals"]["events"] == 4
    assert "The file has no end" in told(str(path))
    path.write_bytes(text[: ends[4] + 30])
    found = document(str(path))
    assert found["end"] == {"state": "cut", "byte": ends[4]}
    assert found["totals"]["new_bytes"] == sum(event["size"] for event in events[:4])
    assert f"The file is cut at byte {ends[4]:,}" in told(str(path))
    path.write_bytes(text[: ends[4]] + b"{]\n" + text[ends[4] :])
    found = document(str(path))
    assert found["end"]["state"] == "damaged"
    assert f"line 6 (byte {ends[4]})" in found["end"]["reason"]
    assert found["totals"]["events"] == 4


def test_no_events_and_hostile_ones(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text(lines([]))
    assert "no map did what was traced (grow, split)" in " ".join(told(str(path)).split())
    evil = "map[\x1b[2J\u202e]\n"
    event = {**two_maps()[5], "type": evil, "stack": [frame(evil, evil, 1)], "labels": {evil: evil}}
    path.write_text(lines([event, {**event, "seq": 2}], program=evil, maps=[evil], notes=[evil]))
    for text in (told(str(path)), console("-json", str(path)).stdout):
        assert not any((ord(char) < 32 and char != "\n") or char == "\u202e" for char in text)
    assert document(str(path))["maps"][0]["type"] == evil


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "holds no events of gomapscope: it is empty"),
        (b"hello\n", "its first line is no header"),
        (b'{"schema":"other/1","engine":"x"}\n', "its schema is"),
        (b"\x1f\x8bnot gzip at all", "gzip"),
        (os.urandom(4096), ""),
    ],
)
def test_what_is_no_event_file(
    tmp_path: Path, session: Session, content: Optional[bytes], reason: str
) -> None:
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    done = console(str(path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gomapscope: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert str(path) in done.stderr
    assert str(path) in session.error(f"go-map-trace report {path}")


def test_usage() -> None:
    done = console("-help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: gomapscope events [OPTION]... [--] FILE\n")
    assert "needs the name of a file: gomapscope events" in console().stderr
    assert "no option -bogus" in console("-bogus", "x").stderr
    listed = subprocess.run(
        [sys.executable, "-m", "gomapscope", "-h"],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "    events " in listed
    # Traces are begun in gdb; `trace` here reads execution traces.
    assert not re.search(r"^ +trace-|trace (start|stop|status)", listed, re.M)


def test_gdb_tells_the_same(session: Session, path: Path, tmp_path: Path) -> None:
    assert session.json(f"go-map-trace report -json {path}") == document(str(path))
    assert session.text(f"go-map-trace report {path}").strip() == told(str(path)).strip()
    odd = tmp_path / "a file.jsonl"
    odd.write_text(path.read_text())
    for spelled in (f"'{odd}'", str(odd)):
        found = session.json(f"go-map-trace report -json -limit 1 {spelled}")
        assert found["file"] == str(odd)
    assert "needs the name of a file" in session.error("go-map-trace report")
    assert "followed by start, status, stop or report" in session.error("go-map-trace bogus")


def test_gdb_completes_options_and_files(session: Session, path: Path) -> None:
    def completed(typed: str) -> list[str]:
        return [line for line in session.text(f"complete {typed}").splitlines() if line]

    assert completed("go-map-trace re") == ["go-map-trace report"]
    assert completed("go-map-trace report -") == [
        "go-map-trace report -json",
        "go-map-trace report -limit",
    ]
    start = str(path)[:-4]
    for typed in (f"go-map-trace report {start}", f"go-map-trace report -json {start}"):
        (line,) = completed(typed)
        assert line.rstrip() == typed[: -len(start)] + str(path)
    folder = path.parent / "folder"
    folder.mkdir()
    (line,) = completed(f"go-map-trace report -limit 3 {str(folder)[:-2]}")
    assert line.endswith(f"{folder}/")
    assert completed("go-map-trace report -json /nonexistent/x") == []


def test_front_ends_ask_for_it(path: Path) -> None:
    with Mi("-x", str(gdbtool.SCRIPT)) as mi:
        found = mi.result(f"-go-map-trace-report {path}")
        assert found["schema"] == "gomapscope.events-report/1"
        assert found["maps"][0]["address"] == hex(CACHE)
        assert "No such file" in mi.error("-go-map-trace-report /nonexistent/file")


def test_a_million_events_take_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    count, maps, callers = 1_000_000, 50_000, 300
    size = 0
    stacks = [json.dumps([FILL[0], frame(f"main.f{n}", "/src/f.go", n)]) for n in range(callers)]
    with path.open("w") as stream:
        stream.write(json.dumps(HEADER) + "\n")
        for number in range(count):
            # One map that grows all the time among many others.
            which = 0 if number % 2 else number % maps
            size += 100 + which % 7
            stream.write(
                f'{{"seq":{number + 1},"t_mono_ns":{START + number},"goid":{number % 5000},'
                f'"op":"grow","map":"{CACHE + which * 48:#x}","type":"map[int]int",'
                f'"size":{100 + which % 7},"stack":{stacks[number % callers]}}}\n'
            )
        stream.write(json.dumps({"end": "stop", "events": count, "lost": 0, "duplicates": 0}))
        stream.write("\n")
    script = (
        "import re, sys\n"
        "from gomapscope.__main__ import main\n"
        "status = main(['events', '-json', sys.argv[1]])\n"
        # Not ru_maxrss, which counts what the process was forked from.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())\n"
        "print(peak.group(1), file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    # It is large, and pytest keeps what tests leave.
    path.unlink()
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begun
    peak = int(done.stderr.split()[-1]) / 1024
    print(
        f"{count} events: {used:.1f} s of CPU, {time.monotonic() - started:.1f} s, {peak:.0f} MiB"
    )
    found = json.loads(done.stdout)
    assert found["totals"]["events"] == count
    assert found["totals"]["new_bytes"] == size
    rows, rest = found["maps"], found["other_maps"]
    assert sum(row["events"] for row in rows) + rest["events"] == count
    assert sum(row["new_bytes"] for row in rows) + rest["new_bytes"] == size
    assert rows[0]["address"] == hex(CACHE)
    assert rows[0]["events"] >= count // 2
    assert rows[0]["at_least"] is False
    assert rows[0]["history_total"] == rows[0]["events"]
    assert 8 <= len(rows[0]["history"]) <= 2049
    assert rows[0]["history"][-1]["new_bytes"] == rows[0]["new_bytes"]
    assert sum(stack["events"] for stack in found["stacks"]) == count
    assert len(found["stacks"]) == callers
    assert peak < 200
    assert used < 60
