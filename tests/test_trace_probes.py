"""Traces by kernel probes: the same record as breakpoints make, of programs at full speed."""

from __future__ import annotations

from pathlib import Path

import pytest

import gdbtool
import toolchains
import tracetool
from tracetool import BOTH, LABELS

pytestmark = tracetool.needs_probes

WORK = ("-goroutines", "8", "-inserts", "200000", "-deletes", "100000", "-seed", "3")


@pytest.mark.parametrize("label", LABELS)
def test_every_growth_is_recorded(label: str, tmp_path: Path) -> None:
    facts, file, status = tracetool.trace(label, tmp_path, "-engine uprobe", WORK)
    tracetool.check_growths(facts, file, labels=False, whole=False)
    assert status["engine"] == file.header["engine"] == "uprobe"
    assert status["lost"] == 0
    assert status["events"] == len(file.events)
    assert not tracetool.leftovers()


@pytest.mark.parametrize("label", LABELS)
def test_every_write_is_recorded_once(label: str, tmp_path: Path) -> None:
    facts, file, status = tracetool.trace(
        label, tmp_path, "-engine uprobe -on assign,delete -stack 2", WORK
    )
    tracetool.check_writes(facts, file)
    assert status["lost"] == status["duplicates"] == 0
    assert not tracetool.leftovers()


@pytest.mark.parametrize("label", BOTH)
def test_max_ends_the_trace_and_the_program_goes_on(label: str, tmp_path: Path) -> None:
    _, file, status = tracetool.trace(
        label, tmp_path, "-engine uprobe -on assign,delete -max 500", WORK
    )
    assert len(file.events) == status["events"] == 500
    assert status["ended"] == "-max reached"
    assert not tracetool.leftovers()


def test_kernel_and_debugger_do_not_meet_in_one_file(tmp_path: Path) -> None:
    """Each refuses where the other is: they would put each other's traps back."""
    built = toolchains.build(tracetool.TRACED, "1.27.3")
    program = tracetool.copied(built, tmp_path)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with gdbtool.Session() as one, gdbtool.Session() as two:
        tracetool.begin(one, program, folders[0], *tracetool.SMALL)
        tracetool.begin(two, program, folders[1], *tracetool.SMALL)
        pids = [session.python("gdb.selected_inferior().pid") for session in (one, two)]
        told = one.error("go-map-trace start -engine uprobe")
        assert f"debugs process {pids[1]}, which runs the same file" in told
        two.text("kill")
        one.text("go-map-trace start -engine uprobe")
        tracetool.begin(two, program, folders[1], *tracetool.SMALL)
        told = two.error("go-map-trace start -engine break")
        assert "a kernel probe or another tracer's breakpoint stands there" in told
        one.text("go-map-trace stop")
        two.text("go-map-trace start -engine break")
        tracetool.run_to_end(two, folders[1])
        tracetool.run_to_end(one, folders[0])
    assert not tracetool.leftovers()
