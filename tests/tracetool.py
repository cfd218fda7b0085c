"""Runs the program for tracing under gdb and holds events against what it says of itself."""

from __future__ import annotations

import collections
import gzip
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains

TRACED = Path(__file__).parent / "go" / "traced"
TRACEFS = Path("/sys/kernel/tracing")
LABELS = [build.label for build in toolchains.BUILDS]
BOTH = ["1.23.9", "1.27.3"]
SUCCEEDED = 7
WORK = ("-goroutines", "8", "-inserts", "160000", "-deletes", "80000", "-seed", "3")
SMALL = ("-goroutines", "4", "-inserts", "1500", "-deletes", "900", "-seed", "5")

needs_probes = pytest.mark.skipif(
    not os.access(TRACEFS / "uprobe_events", os.W_OK),
    reason="this machine gives no right to its kernel's tracefs",
)


def untraced(program: Path, *arguments: str) -> list[str]:
    """The lines of a run that nobody looks at."""
    done = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=gdbtool.TIMEOUT,
        text=True,
        check=False,
    )
    assert done.returncode == SUCCEEDED, done.stderr[-2000:]
    return done.stdout.splitlines()


def begin(session: gdbtool.Session, program: Path, folder: Path, *arguments: str) -> None:
    """Start the program and stop in its ``main``, where no map is traced yet."""
    session.text(f"file {program}")
    session.text(
        f"set args {' '.join(arguments)} > {folder / 'printed'} 2> {folder / 'complained'}"
    )
    session.text("starti")
    pc = "gdb.selected_frame().pc()"
    entry = re.search(r"AT_ENTRY .*(0x[0-9a-f]+)", session.text("info auxv"))
    assert entry
    if session.python(pc) != int(entry[1], 16):
        # The loader has not put addresses into the program's data yet.
        session.text(f"tbreak *{entry[1]}")
        session.text("continue")
    # Found without symbols, too.
    session.text('tbreak *$_go_function("main.main")')
    session.text("continue")
    main = "int(gdb.parse_and_eval('$_go_function(\"main.main\")'))"
    assert session.python(f"{pc} == {main}")


def run_to_end(session: gdbtool.Session, folder: Path) -> None:
    """Let the program go on; it must succeed."""
    session.go_on()
    threads = session.text("info threads")
    assert threads == "No threads.\n", f"it stands still\n{session.log}{threads}"
    code = session.python("str(gdb.parse_and_eval('$_exitcode'))")
    complaint = (folder / "complained").read_text(encoding="utf-8", errors="replace")
    assert code == str(SUCCEEDED), session.log + complaint[:4000]


def printed(folder: Path) -> list[str]:
    """What the program printed."""
    return (folder / "printed").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class File:
    """An event file: its first line, its events, and its last line if it was closed."""

    header: dict[str, Any]
    events: list[dict[str, Any]]
    ending: dict[str, Any] | None


def read(path: Path) -> File:
    """A whole event file, read by none of the project's code."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    lines = [json.loads(line) for line in text.splitlines()]
    header, rest = lines[0], lines[1:]
    assert header["schema"] == "gomapscope.events/1"
    ending = rest.pop() if rest and "end" in rest[-1] else None
    assert [event["seq"] for event in rest] == [*range(1, len(rest) + 1)]
    if ending is not None:
        assert ending["events"] == len(rest)
    return File(header, rest, ending)


def by_map(events: list[dict[str, Any]], *ops: str) -> dict[str, list[dict[str, Any]]]:
    """The events of some kinds, in the order of the file."""
    found = collections.defaultdict(list)
    for event in events:
        if event["op"] in ops:
            found[event["map"]].append(event)
    return found


GROWTHS = ("grow", "grow-same-size", "split")


def expected(facts: dict[str, Any], about: dict[str, Any]) -> list[dict[str, Any]]:
    """The growths of one map in the words of events, from the program's own record."""
    found = []
    classic = facts["family"] == "classic"
    capacity = None if classic else about["start"]["capacity"]
    for growth in facts["growths"]:
        if growth["map"] != about["id"] or growth["kind"] in ("allocate", "directory-double"):
            if growth["map"] == about["id"] and growth["kind"] == "allocate" and not classic:
                capacity = 8
            continue
        event = {"goid": growth["goid"], "len": growth["len"]}
        if classic:
            event.update(
                op="grow" if growth["kind"] == "double" else "grow-same-size",
                B=growth["new_B"],
                old_capacity=8 << growth["old_B"],
                capacity=8 << growth["new_B"],
                map_capacity=8 << growth["new_B"],
                old_block=growth["old_buckets"],
                block=growth["new_buckets"],
            )
        else:
            old, new = growth["old_groups"], growth["new_groups"]
            capacity += growth["new_capacity"] * len(new) - growth["old_capacity"]
            event.update(
                op="split" if growth["kind"] == "table-split" else "grow",
                tables=growth["new_dir_len"],
                old_capacity=growth["old_capacity"],
                capacity=growth["new_capacity"],
                map_capacity=capacity,
                old_block=old[0],
                block=new[0],
            )
            if len(new) == 2:
                event["second_block"] = new[1]
        found.append(event)
    return found


def check_growths(
    facts: dict[str, Any], file: File, *, labels: bool = True, whole: bool = True
) -> int:
    """Every growth of every map is there, once, in order, with all that is known of it.

    Without ``whole`` the slots of the whole map may be missing; they are never wrong.
    """
    found = by_map(file.events, *GROWTHS)
    clears = by_map(file.events, "clear")
    total = 0
    for about in facts["maps"]:
        header = about["header"]
        wanted = expected(facts, about)
        events = found.get(header, [])
        names = {name for event in wanted for name in event}
        seen = [{name: event[name] for name in names if name in event} for event in events]
        if not whole:
            for event, told in zip(wanted, seen):
                if "map_capacity" not in told:
                    del event["map_capacity"]
        assert seen == wanted, about
        total += len(wanted)
        if events and whole:
            end = about["end"]
            capacity = end["capacity"] if "capacity" in end else 8 << end["B"]
            assert events[-1]["map_capacity"] == capacity
        assert len(clears.get(header, [])) == about["clears"]
        for event in [*events, *clears.get(header, [])]:
            if event["op"] == "clear":
                # Generic code clears by a type that many share.
                assert event.get("type") in (about["type"], None)
            else:
                assert event["type"] == about["type"]
            if labels:
                goroutine = next(g for g in facts["goroutines"] if g["goid"] == event["goid"])
                assert event["labels"] == {
                    "worker": str(goroutine["index"]),
                    "map": about["kind"],
                }
        check_times(facts, about, events)
        check_stacks(facts, about, events, 5 if whole else 2)
    assert total > 100
    kinds = {event["op"] for event in file.events}
    assert kinds == {"grow", "clear", "grow-same-size" if is_classic(facts) else "split"}
    return total


def is_classic(facts: dict[str, Any]) -> bool:
    """Whether the program has classic maps."""
    return bool(facts["family"] == "classic")


def check_writes(facts: dict[str, Any], file: File) -> None:
    """Every write to every map is there once, in an order in which the maps can have had it."""
    counted = collections.Counter((event["map"], event["op"]) for event in file.events)
    calls = collections.Counter[str]()
    for about in facts["maps"]:
        header = about["header"]
        assert counted[header, "assign"] == about["assigns"], about
        assert counted[header, "delete"] == about["deletes"], about
        assert counted[header, "clear"] == about["clears"], about
        goids = {g["goid"] for g in facts["goroutines"] if g["index"] == about["goroutine"]}
        events = [event for event in file.events if event["map"] == header]
        assert {event["goid"] for event in events} <= goids
        assert {event.get("type") for event in events} <= {about["type"], None}
        # Each begins with as many entries as those before it can have left.
        expected = 0
        for event in events:
            found = event["len"]
            assert found - expected in (0, 1), (expected, event)
            expected = {"assign": found, "delete": found - 1, "clear": 0}[event["op"]]
        times = [event["t_mono_ns"] for event in events]
        assert times == sorted(times)
    for event in file.events:
        calls[event["op"]] += 1
    assert calls["assign"] >= sum(about["assigns"] for about in facts["maps"])


def growths_of(facts: dict[str, Any], about: dict[str, Any]) -> list[dict[str, Any]]:
    """The growths of one map that events tell of."""
    return [
        growth
        for growth in facts["growths"]
        if growth["map"] == about["id"] and growth["kind"] not in ("allocate", "directory-double")
    ]


def check_times(facts: dict[str, Any], about: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Each event is between the growth before and the program's own note of it."""
    earlier = 0
    for growth, event in zip(growths_of(facts, about), events):
        assert earlier < event["t_mono_ns"] <= growth["t_mono_ns"]
        earlier = growth["t_mono_ns"]


#: Functions that the compiler makes and Go's own tracebacks leave out: `go f(x)` of a function
#: with arguments, and a generic method in front of the one that types of one shape share.
_WRAPPER = re.compile(r"\.(gowrap|deferwrap)\d+$|^[^\[]*\[(?!go\.shape\.)")


def _frames(frames: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Functions and lines, named as Go's tracebacks name them."""
    return [
        (re.sub(r"\[.*\]", "[...]", frame["function"]), frame["line"])
        for frame in frames
        if not _WRAPPER.search(frame["function"])
    ]


def _line(text: str) -> int:
    """The line of the program for tracing that begins so."""
    lines = (TRACED / "owner.go").read_text(encoding="utf-8").splitlines()
    (found,) = (n for n, line in enumerate(lines, 1) if line.strip().startswith(text))
    return found


def check_stacks(
    facts: dict[str, Any], about: dict[str, Any], events: list[dict[str, Any]], least: int
) -> None:
    """The frames above the runtime are those that the program saw."""
    call = _line("if assign(o.m, key, elem)")
    for growth, event in zip(growths_of(facts, about), events):
        frames = _frames(event["stack"])
        first = next(i for i, f in enumerate(frames) if f[0].startswith("main."))
        assert frames[first] == ("main.assign[...]", _line("func assign["))
        # The program looks for growths one line below.
        seen = [
            (f["function"], call if f["function"].endswith(").write") else f["line"])
            for f in facts["stacks"][growth["stack"]]
        ]
        told = frames[first + 1 :]
        assert len(told) >= least
        if facts["go_version"].startswith("go1.21."):
            # There, what `go f(x)` makes is named as any closure.
            told = [f for f in told if f in seen or not re.match(r"main\.workAll\.func\d+$", f[0])]
        assert told == seen[: len(told)]


def until(what: Callable[[], Any], why: str, seconds: float = 60) -> Any:
    """The first true answer, asked for again and again, up to a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def leftovers() -> list[str]:
    """What tracers of this project left in tracefs; those of living ones are their own."""
    instances = [path.name for path in (TRACEFS / "instances").glob("gomapscope-*")]
    events = (TRACEFS / "uprobe_events").read_text(encoding="utf-8").splitlines()
    made = instances + [line for line in events if "gomapscope_" in line]
    owners = ((re.search(r"gomapscope[-_](\d+)", name), name) for name in made)
    return [name for owner, name in owners if owner and not alive(int(owner.group(1)))]


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(") ")[2][0] not in "ZX"


def copied(program: Path, folder: Path) -> Path:
    """A program of our own: kernel probes are in all processes of a file, in other tests' too."""
    return Path(shutil.copy(program, folder))


def facts_of(path: Path) -> dict[str, Any]:
    """The program's own record."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def trace(
    label: str,
    folder: Path,
    start: str,
    arguments: Sequence[str] = WORK,
    *,
    gdb: str | None = None,
    flags: Sequence[str] = (),
    plain: Sequence[str] | None = None,
) -> tuple[dict[str, Any], File, dict[str, Any]]:
    """Trace a whole run: facts, events and status. The program must not have noticed."""
    program = toolchains.build(TRACED, label, flags=flags)
    if "uprobe" in start:
        program = copied(program, folder)
    # The checksum follows from the arguments, not from the build.
    lines = untraced(program, *arguments) if plain is None else plain
    with gdbtool.Session(gdb=gdb) as session:
        facts = folder / "facts.json"
        begin(session, program, folder, *arguments, "-facts", str(facts))
        events = folder / "events.jsonl"
        assert session.json(f"go-map-trace start -json -force -o {events} {start}")["active"]
        run_to_end(session, folder)
        status = session.json("go-map-trace status -json")
    assert printed(folder) == list(lines)
    assert not status["active"]
    return facts_of(facts), read(events), status
