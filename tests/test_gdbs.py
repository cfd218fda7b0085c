"""The same truth in every gdb: what a user's distribution brings must not matter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gdbs
import gdbtool
import toolchains
from test_truth import ZOO, compare, steps

LABELS = ["1.21.13", "1.25.5-noswissmap", "1.27.3", "1.27.3-mapsplitgroup"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("name", gdbs.RELEASES)
def test_live_process_in_another_gdb_gives_every_figure(
    name: str, label: str, tmp_path: Path
) -> None:
    gdb = gdbs.for_test(name)
    program = toolchains.build(ZOO, label)
    path = tmp_path / "truth.jsonl"
    subprocess.run([program, path], check=True, stdout=subprocess.DEVNULL)
    names = gdbtool.read_truth(path)
    answers = gdbtool.ask(steps(names), gdbtool.at_stop(program, path), gdb=gdb)
    compare(gdbtool.read_truth(path), answers)


@pytest.mark.parametrize("name", gdbs.RELEASES)
def test_attached_process_in_another_gdb_gives_every_figure(name: str, tmp_path: Path) -> None:
    gdb = gdbs.for_test(name)
    program = toolchains.build(ZOO, "1.26.6")
    path = tmp_path / "truth.jsonl"
    with gdbtool.waiting(program, path) as pid:
        # A parked goroutine has no thread, so its frame cannot be selected.
        truth = [entry for entry in gdbtool.read_truth(path) if not entry.get("frame")]
        answers = gdbtool.ask(steps(truth), [f"attach {pid}"], gdb=gdb)
    compare(truth, answers)


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_loading_is_silent_and_says_what_it_runs_in(name: str) -> None:
    gdb = gdbs.for_test(name)
    printed = gdbtool.batch([], ["go-map"], gdb=gdb)
    first = printed.stdout.splitlines()[0]
    assert first.startswith("gomapscope ")
    if name in gdbs.RELEASES:
        assert f"gdb {name}" in first
    assert printed.stderr == ""
