"""Traces by breakpoints, on every release: what the program says of its own growths."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracetool
from tracetool import BOTH, LABELS, SMALL


@pytest.mark.parametrize("label", LABELS)
def test_every_growth_is_seen_as_the_program_saw_it(label: str, tmp_path: Path) -> None:
    facts, file, status = tracetool.trace(label, tmp_path, "-engine break")
    tracetool.check_growths(facts, file)
    assert status["lost"] == 0
    assert status["engine"] == file.header["engine"] == "break"
    assert status["events"] == len(file.events)
    assert status["ended"] == "exit status 7"
    assert status["cost_ns"] > status["own_ns"] > 0
    assert file.ending is not None
    assert file.ending["end"] == "exit status 7"
    assert file.ending["lost"] == 0
    assert file.header["go_version"] == facts["go_version"]
    assert file.header["family"] == facts["family"]
    assert file.header["pid"] == facts["pid"]


@pytest.mark.parametrize("label", LABELS)
def test_every_write_is_seen_once(label: str, tmp_path: Path) -> None:
    facts, file, status = tracetool.trace(label, tmp_path, "-engine break -on assign,delete", SMALL)
    tracetool.check_writes(facts, file)
    assert status["lost"] == 0
    # A signal at a breakpoint makes the thread hit it again.
    assert status["duplicates"] > 0
    assert status["hits"] == status["events"] + status["duplicates"]


@pytest.mark.parametrize("label", BOTH)
def test_max_ends_the_trace_and_the_program_goes_on(label: str, tmp_path: Path) -> None:
    _, file, status = tracetool.trace(
        label, tmp_path, "-engine break -on assign,delete -max 500", SMALL
    )
    assert len(file.events) == status["events"] == 500
    assert status["ended"] == "-max reached"
    assert file.ending is not None
    assert file.ending["end"] == "-max reached"
