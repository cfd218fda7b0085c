"""Traces of programs built in other ways, and in other gdbs."""

from __future__ import annotations

from pathlib import Path

import pytest

import gdbs
import tracetool
from tracetool import BOTH

FLAGS = {
    "position independent": ("-buildmode=pie",),
    "stripped": ("-ldflags=-s -w",),
    "both": ("-buildmode=pie", "-ldflags=-s -w"),
}


@pytest.mark.parametrize("label", BOTH)
@pytest.mark.parametrize("built", FLAGS)
def test_growths_in_another_build(built: str, label: str, tmp_path: Path) -> None:
    """Types and functions have names without symbols and debug information, too."""
    facts, file, status = tracetool.trace(label, tmp_path, "-engine break", flags=FLAGS[built])
    tracetool.check_growths(facts, file)
    assert status["lost"] == 0


@pytest.mark.parametrize("label", BOTH)
@pytest.mark.parametrize("name", gdbs.RELEASES)
def test_growths_in_another_gdb(name: str, label: str, tmp_path: Path) -> None:
    gdb = gdbs.for_test(name)
    facts, file, status = tracetool.trace(label, tmp_path, "-engine break", gdb=gdb)
    tracetool.check_growths(facts, file)
    assert status["lost"] == 0
    facts, file, status = tracetool.trace(
        label, tmp_path, "-engine break -on assign,delete", tracetool.SMALL, gdb=gdb
    )
    tracetool.check_writes(facts, file)
    assert status["lost"] == 0
