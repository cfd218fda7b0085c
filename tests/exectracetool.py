"""Execution traces as Go's own tool reads them, and as gomapscope does, in the same words."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import toolchains

ROOT = Path(__file__).resolve().parent.parent
MONO = ("1.22", "1.23", "1.24", "1.25", "1.26", "1.27")


class Row(NamedTuple):
    """One thing that happened: when, what, who, and the rest."""

    t: int
    what: str
    g: int
    detail: tuple[Any, ...]
    # Whether Go's reader gave it a time just behind the event before it: what must follow that
    # one, though its own stamp says otherwise (internal/trace/reader.go, ReadEvent).
    moved: bool = False


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def record(
    label: str, directory: Path, *arguments: str, env: dict[str, str] | None = None
) -> tuple[Path, list[dict[str, Any]]]:
    """Have the fixture trace itself; the trace and the program's own record of it."""
    program = toolchains.build(ROOT / "tests" / "go" / "traced_exec", label)
    trace, truth = directory / f"{label}.trace", directory / f"{label}.truth"
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory), **(env or {})}
    subprocess.run([program, trace, truth, *arguments], env=environment, check=True, timeout=120)
    return trace, [json.loads(line) for line in truth.read_text("utf-8").splitlines()]


def go_lines(version: str, trace: Path) -> Iterator[str]:
    """What `go tool trace` of this release prints of a trace, event by event."""
    if release(version) >= (1, 25):
        # Its tool is compiled on first use, and the newest one reads all of these.
        version = toolchains.VERSIONS[-1]
    of = release(version)
    flag = "-d=parsed" if of >= (1, 23, 99) else "-d=1" if of >= (1, 22) else "-d"
    environment = toolchains.environment(version)
    with subprocess.Popen(
        [toolchains.ensure(version), "tool", "trace", flag, trace],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
    ) as process:
        assert process.stdout is not None
        yield from (line.rstrip("\n") for line in process.stdout)
        process.communicate()
        assert process.returncode == 0, process.args


GO = re.compile(r"M=(-?\d+) P=(-?\d+) G=(-?\d+) (\w+) Time=(\d+)(?: (.*))?$")
QUOTED = r'"(?:[^"\\]|\\.)*"'
METRICS = {"/memory/classes/heap/objects:bytes": "heap", "/gc/heap/goal:bytes": "goal"}


def unquote(text: str) -> str:
    """A string in Go's quotes."""
    out = bytearray()
    for part in re.findall(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\.|[^\\]+", text[1:-1]):
        if part.startswith("\\x"):
            out.append(int(part[2:], 16))
        elif part.startswith("\\u"):
            out += chr(int(part[2:], 16)).encode()
        elif part.startswith("\\"):
            out += {"n": b"\n", "t": b"\t", "r": b"\r"}.get(part[1], part[1].encode())
        else:
            out += part.encode("utf-8", "surrogateescape")
    return out.decode("utf-8", "replace")


def go_rows(version: str, trace: Path) -> list[Row]:
    """What Go's tool says of logs, tasks, regions, collections, stops and the heap."""
    if release(version) < (1, 22):
        return v1_rows(version, trace)
    rows: list[Row] = []
    collecting = False
    before = -1
    for line in go_lines(version, trace):
        match = GO.match(line)
        if not match:
            continue
        _, _, g_text, kind, t_text, rest = match.groups()
        t, g, rest = int(t_text), max(int(g_text), 0), rest or ""
        moved, before = t == before + 1, t
        words = dict(re.findall(rf"(\w+)=({QUOTED}|\S+)", rest))
        task = int(words.get("Task", words.get("ID", "0")))
        task = 0 if task == 2**64 - 1 else task
        if kind == "Log":
            detail: tuple[Any, ...] = (task, unquote(words["Category"]), unquote(words["Message"]))
            rows.append(Row(t, "log", g, detail, moved))
        elif kind in ("RegionBegin", "RegionEnd"):
            what = {"RegionBegin": "region", "RegionEnd": "region end"}[kind]
            rows.append(Row(t, what, g, (task, unquote(words["Type"])), moved))
        elif kind == "TaskBegin":
            rows.append(Row(t, "task", g, (task, unquote(words["Type"])), moved))
        elif kind == "TaskEnd":
            rows.append(Row(t, "task end", g, (task,), moved))
        elif kind in ("RangeBegin", "RangeActive", "RangeEnd"):
            name = unquote(words["Name"])
            stopped = re.match(r"stop-the-world \((.*)\)$", name)
            if name == "GC concurrent mark phase":
                # Each generation says again that a collection goes on.
                if kind != "RangeActive" or not collecting:
                    rows.append(
                        Row(t, "gc end" if kind == "RangeEnd" else "gc begin", 0, (), moved)
                    )
                collecting = kind != "RangeEnd"
            elif stopped and kind == "RangeBegin":
                rows.append(Row(t, "stw begin", g, (stopped[1],), moved))
            elif stopped and kind == "RangeEnd":
                rows.append(Row(t, "stw end", 0, (), moved))
        elif kind == "Metric":
            value = re.search(r"Value=(?:Value\{)?Uint64\((\d+)\)", rest)
            what = METRICS.get(unquote(words["Name"]), "")
            if what and value:
                rows.append(Row(t, what, 0, (int(value[1]),), moved))
        elif kind == "Experimental":
            name = words["Name"]
            if name in ("HeapObject", "HeapObjectAlloc", "HeapObjectFree"):
                numbers = [int(n) for n in re.findall(r"\d+", re.sub(r"Uint64", "", rest))]
                first = (
                    numbers[0]
                    if "Value{" in rest
                    else int(
                        re.search(r"Args=\[(\d+)", rest)[1]  # type: ignore[index]
                    )
                )
                rows.append(Row(t, name, g, (first,), moved))
    return rows


def v1_rows(version: str, trace: Path) -> list[Row]:
    """The same of a trace before Go 1.22; times begin with the trace."""
    rows: list[Row] = []
    pattern = re.compile(r"(\d+) (\w+) p=\d+ g=(\d+) off=\d+ ?(.*)$")
    for line in go_lines(version, trace):
        match = pattern.match(line)
        if not match:
            continue
        t, kind, g, rest = int(match[1]), match[2], int(match[3]), match[4]
        words = dict(re.findall(r"(\w+)=(\S*)", rest))
        if kind == "UserLog":
            log = re.match(r"id=(\d+) keyid=\d+ category=(.*?) message=(.*)$", rest)
            assert log, line
            rows.append(Row(t, "log", g, (int(log[1]), log[2], log[3])))
        elif kind == "UserRegion":
            what = "region" if words["mode"] == "0" else "region end"
            rows.append(Row(t, what, g, (int(words["taskid"]), rest.partition("name=")[2])))
        elif kind == "UserTaskCreate":
            task = (int(words["taskid"]), rest.partition("name=")[2])
            rows.append(Row(t, "task", g, task))
        elif kind == "UserTaskEnd":
            rows.append(Row(t, "task end", g, (int(words["taskid"]),)))
        elif kind in ("GCStart", "GCDone"):
            rows.append(Row(t, "gc begin" if kind == "GCStart" else "gc end", 0, ()))
        elif kind == "STWStart":
            rows.append(Row(t, "stw begin", 0, (rest.partition("kind=")[2],)))
        elif kind == "STWDone":
            rows.append(Row(t, "stw end", 0, ()))
        elif kind in ("HeapAlloc", "HeapGoal"):
            what = "heap" if kind == "HeapAlloc" else "goal"
            rows.append(Row(t, what, 0, (int(words["mem"]),)))
    return rows


def our_rows(facts: list[dict[str, Any]]) -> list[Row]:
    """Facts of the reader in the words of ``go_rows``."""
    rows: list[Row] = []
    for fact in facts:
        what, t, g = fact["fact"], fact.get("t", 0), fact.get("g", 0)
        if what == "log":
            rows.append(Row(t, what, g, (fact["task"], fact["category"], fact["message"])))
        elif what in ("region", "region end", "task"):
            rows.append(Row(t, what, g, (fact["task"], fact["name"])))
        elif what == "task end":
            rows.append(Row(t, what, g, (fact["task"],)))
        elif what == "begin":
            stw = fact["lane"] == "stw"
            detail = (fact["reason"],) if stw else ()
            rows.append(Row(t, f"{fact['lane']} begin", g if stw else 0, detail))
        elif what == "end":
            rows.append(Row(t, f"{fact['lane']} end", 0, ()))
        elif what in ("heap", "goal"):
            rows.append(Row(t, what, 0, (fact["bytes"],)))
    return rows
