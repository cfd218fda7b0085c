"""``go-map-trace arm``: the one write there is, told exactly, permitted, and taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
import tracetool

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "tests" / "go" / "traced_exec"
VARIABLE = "runtime.debug.traceallocfree"
VALUE = "'runtime.debug'.traceallocfree.value"


def at_ready(program: Path, directory: Path) -> list[str]:
    """Commands that stop right before the program traces itself."""
    return [
        f"file {program}",
        "tbreak main.ready",
        f"run {directory / 'own.trace'} {directory / 'own.truth'} 40",
    ]


def objects(trace: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", "trace", "-json", trace],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["map_objects"]
    return found


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_an_armed_program_traces_its_allocations(label: str, tmp_path: Path) -> None:
    program = toolchains.build(FIXTURE, label)
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        refused = session.error("go-map-trace arm")
        assert "-allow-write" in refused
        assert VARIABLE in refused
        assert session.python(f"int(gdb.parse_and_eval({VALUE!r}))") == 0
        told = session.json("go-map-trace arm -allow-write -json")
        assert (told["state"], told["variable"]) == ("armed", VARIABLE)
        assert (told["old"], told["new"]) == ("00000000", "01000000")
        where = session.python(f"int(gdb.parse_and_eval({VALUE!r}).address)")
        assert told["address"] == hex(where)
        assert session.python(f"int(gdb.parse_and_eval({VALUE!r}))") == 1
        assert "armed already" in session.error("go-map-trace arm -allow-write")
        session.text("continue")
        # The process is gone, and what was written with it.
        assert "exited normally" in session.log, session.log
        assert "keeps the value" not in session.log
    found = objects(tmp_path / "own.trace")
    assert found["traced"]
    storage = "map.bucket[" if label == "1.23.9" else "map.group["
    assert sum(row["allocated"]["bytes"] for row in found["types"] if storage in row["type"]) > 0


@pytest.mark.parametrize(("label", "warned"), [("1.24.11", True), ("1.27.3", False)])
def test_arming_warns_of_a_tracer_that_is_not_safe(
    label: str, warned: bool, tmp_path: Path
) -> None:
    program = toolchains.build(FIXTURE, label)
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        text = session.text("go-map-trace arm -allow-write")
    assert ("not safe" in text) == warned
    assert all(len(line) <= 80 for line in text.splitlines())


def test_disarming_puts_the_old_value_back(tmp_path: Path) -> None:
    program = toolchains.build(FIXTURE, "1.27.3")
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        assert "nothing was armed" in session.error("go-map-trace disarm")
        text = session.text("go-map-trace arm -allow-write")
        assert "00 00 00 00  before" in text
        assert "01 00 00 00  now" in text
        text = session.text("go-map-trace disarm")
        assert "00 00 00 00  now, as it was" in text
        assert session.python(f"int(gdb.parse_and_eval({VALUE!r}))") == 0
        assert "nothing was armed" in session.error("go-map-trace disarm")
        # Somebody else's value is not ours to replace.
        session.text("go-map-trace arm -allow-write")
        session.text("set language c")
        session.text(f"set var {VALUE} = 7")
        session.text("set language auto")
        assert "no longer our" in session.error("go-map-trace disarm")
        assert session.python(f"int(gdb.parse_and_eval({VALUE!r}))") == 7
        assert "is 7 already" in session.error("go-map-trace arm -allow-write")
        session.text("set language c")
        session.text(f"set var {VALUE} = 0")
        session.text("set language auto")
        session.text("continue")
    assert not objects(tmp_path / "own.trace")["traced"]


def test_what_gdb_kills_keeps_nothing(tmp_path: Path) -> None:
    program = toolchains.build(FIXTURE, "1.25.5")
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        session.text("go-map-trace arm -allow-write")
        assert "keeps" not in session.text("kill") + session.log
    # The second is killed by gdb's end.
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        session.text("go-map-trace arm -allow-write")
    assert "keeps" not in session.ended


def test_who_leaves_it_armed_is_told(tmp_path: Path) -> None:
    program = toolchains.build(FIXTURE, "1.25.5")
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        session.text("go-map-trace arm -allow-write")
        shown = session.text("detach")
        said = " ".join((shown + session.log).split())
        assert "keeps the value that was written" in said
        assert VARIABLE in said
    # The program went on alone, and traced its allocations.
    done = tmp_path / "own.truth"
    tracetool.until(done.exists, "the program did not end")
    assert objects(tmp_path / "own.trace")["traced"]


def test_where_it_cannot_be_nothing_is_written(tmp_path: Path) -> None:
    old = toolchains.build(FIXTURE, "1.22.10")
    with gdbtool.Session(at_ready(old, tmp_path)) as session:
        assert "Go 1.23" in session.error("go-map-trace arm -allow-write")
    stripped = toolchains.build(FIXTURE, "1.27.3", flags=["-ldflags=-w"])
    with gdbtool.Session(at_ready(stripped, tmp_path)) as session:
        assert "no debug information" in session.error("go-map-trace arm -allow-write")
    # Not a process yet.
    program = toolchains.build(FIXTURE, "1.27.3")
    with gdbtool.Session([f"file {program}"]) as session:
        session.error("go-map-trace arm -allow-write")
    with gdbtool.Session(at_ready(program, tmp_path)) as session:
        core = tmp_path / "core"
        session.text(f"generate-core-file {core}")
    with gdbtool.Session([f"file {program}", f"core-file {core}"]) as session:
        assert "a core does not run" in session.error("go-map-trace arm -allow-write")
