"""Traces by kernel probes: the same record as breakpoints make, of programs at full speed."""

from __future__ import annotations

from pathlib import Path

import pytest

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
