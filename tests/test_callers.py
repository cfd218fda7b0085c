"""Goroutines by address: labels and callers, against what the Go program says of itself."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import cores
import pytest

import gdbtool
import toolchains

CALLERS = Path(__file__).parent / "go" / "callers"
FLAVOURS: dict[str, tuple[str, ...]] = {"symbols": (), "stripped": ("-ldflags=-s -w",)}
MAGIC = 0x1122334455667788
WAYS = ("by_frame_pointers", "by_frame_sizes", "callers")
#: Labels and bytes of a text that are read.
MOST, LONGEST = 256, 4096


@pytest.fixture(scope="session")
def whoami() -> Path:
    """The example that prints what the library finds in a core."""
    return cores.example("whoami")


def found_in(whoami: Path, core: Path, program: Path, *stops: str) -> dict[str, Any]:
    done = subprocess.run(
        [whoami, core, program, *stops], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def plain(frames: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Frames as runtime.CallersFrames names them: type arguments are left out."""
    return [
        (re.sub(r"\[.*\]", "[...]", frame["function"]), frame["file"], frame["line"])
        for frame in frames
    ]


def check_labels(found: dict[str, Any], truth: dict[str, Any]) -> None:
    assert found["error"] is None
    assert found["defects"] == []
    labels = [tuple(label) for label in truth["labels"]]
    cut = len(labels) > MOST or any(len(value) > LONGEST for _, value in labels)
    assert found["cut"] == cut
    shown = [tuple(label) for label in found["labels"]]
    if len(labels) > MOST:
        assert len(shown) == len(set(shown)) == MOST
        assert set(shown) <= set(labels)
    else:
        assert shown == [(name, value[:LONGEST]) for name, value in labels]


def truth_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in gdbtool.read_truth(path)}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("build", toolchains.BUILDS, ids=lambda build: build.label)
def test_parked_goroutines(
    build: toolchains.Build, flavour: str, whoami: Path, tmp_path: Path
) -> None:
    program = toolchains.build(CALLERS, build.label, flags=FLAVOURS[flavour])
    path = tmp_path / "truth.jsonl"
    document = found_in(whoami, cores.core_of([program, path], tmp_path), program)
    goroutines = {row["id"]: row for row in document["goroutines"]}
    truth = truth_of(path)
    assert len(truth) == 11
    for kind, row in truth.items():
        if kind == "stop":
            continue
        found = goroutines[row["id"]]
        check_labels(found, row)
        expected = plain(row["frames"])
        for way in WAYS:
            frames = plain(found[way]["frames"])
            at = [name for name, _, _ in frames].index("main.park")
            assert found[way]["end"] == "Stack"
            # park notes its frames on one line, and is parked on another.
            assert frames[at + 1 :] == expected[1:]
            assert all(name.startswith("runtime.") for name, _, _ in frames[:at])
        assert found["by_frame_pointers"]["returns"] == found["by_frame_sizes"]["returns"]
        assert found["callers"]["way"] == "FramePointers"
        assert found["three"]["returns"] == found["callers"]["returns"][:3]
        assert found["three"]["end"] == "Depth"
    # A call that was inlined is told as such.
    inlined = {
        frame["function"]
        for row in document["goroutines"]
        for frame in row["callers"]["frames"]
        if frame["inlined"]
    }
    assert "main.inlined" in inlined
    assert not {"main.park", "main.deep", "main.store"} & inlined
    # Those of the runtime are walked to their ends too.
    for row in document["goroutines"]:
        if row["status"] == 4:
            assert row["callers"]["end"] == "Stack", row


REGISTERS = "[int(gdb.parse_and_eval('$' + name)) & 2**64-1 for name in ('rip','rsp','rbp','r14')]"


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("build", toolchains.BUILDS, ids=lambda build: build.label)
def test_a_thread_at_a_call(
    build: toolchains.Build, flavour: str, whoami: Path, tmp_path: Path
) -> None:
    """At the first instructions of mapassign, one after another."""
    program = toolchains.build(CALLERS, build.label, flags=FLAVOURS[flavour])
    path = tmp_path / "truth.jsonl"
    first = cores.core_of([program, path], tmp_path)
    entry = found_in(whoami, first, program)["entry"]
    first.unlink()
    before = [
        f"file {program}",
        f"set cwd {tmp_path}",
        "set environment GOTRACEBACK crash",
        f"break *{entry:#x} if $rcx == {MAGIC:#x}",
        f"run {path} > /dev/null 2>&1",
        "set scheduler-locking on",
    ]
    stops = []
    # The kernel's core is sparse; gdb's takes more than a gigabyte.
    with cores.allowed(), gdbtool.Session(before, plugin=False) as session:
        session.text("delete")
        for _ in range(16):
            pc, sp, fp, g = session.python(REGISTERS)
            stops.append(f"{pc:x},{sp:x},{fp:x},0,{g:x}")
            session.text("stepi")
        session.text("set scheduler-locking off")
        session.text("handle SIGABRT SIGQUIT nostop noprint pass")
        session.text("signal SIGABRT")
    (core,) = tmp_path.glob("core*")
    truth = truth_of(path)["stop"]
    document = found_in(whoami, core, program, *stops)
    assert len(document["stops"]) == len(stops)
    expected = [frame for frame in plain(truth["frames"]) if frame[0] != "main.recorded"]
    checked = 0
    for stop in document["stops"]:
        if stop["standing"] != ["runtime.mapassign_fast64"]:
            continue
        checked += 1
        assert stop["id"] == truth["id"]
        check_labels(stop, truth)
        for way in WAYS:
            assert stop[way]["end"] == "Stack"
            assert plain(stop[way]["frames"]) == expected
        assert stop["by_frame_pointers"]["returns"] == stop["by_frame_sizes"]["returns"]
    assert checked >= 8
    assert document["stops"][0]["standing"] == ["runtime.mapassign_fast64"]


@pytest.mark.parametrize("version", ["1.23.9", "1.27.3"])
def test_nothing_in_a_core_makes_it_crash(version: str, whoami: Path, tmp_path: Path) -> None:
    program = toolchains.build(CALLERS, version)
    whole = cores.core_of([program, tmp_path / "truth.jsonl"], tmp_path).read_bytes()
    damaged = tmp_path / "damaged"
    chance = random.Random(version)
    for round_, data in cores.damages(whole, chance, 16):
        damaged.write_bytes(data)
        done = subprocess.run(
            [whoami, damaged, program], capture_output=True, text=True, check=False, timeout=120
        )
        # 101: a panic; below 0: a signal.
        assert done.returncode in (0, 1), f"round {round_}: {done.stderr}"
