"""The same truth in every gdb: what a user's distribution brings must not matter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest
import ringtool
from test_ring import check_document, stop, window
from test_scan_command import console

import gdbs
import gdbtool
import toolchains
from gdbtool import Session
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


class Truth(NamedTuple):
    """What the zoo said of itself."""

    rows: dict[str, dict[str, Any]]

    def check(self, session: Session, folder: Path, memory: str) -> None:
        """Ask every command that looks at memory."""
        row = self.rows["main.holes"]
        assert session.json("go-map -json")["memory"] == memory
        stats = session.json("go-map-stats -json main.holes")
        assert (stats["address"], stats["exact"]) == (row["address"], True)
        assert stats["slots"]["capacity"] == row["capacity"]
        assert stats["slots"]["live"] == row["live"]
        assert stats["slots"]["tombstones"] == row["tombstones"]
        buckets = session.json("go-map-buckets -json -all main.holes")["bucket_list"]
        assert len(buckets) == row["buckets"]
        assert sum(bucket["live"] for bucket in buckets) == row["live"]
        entries = session.json("go-map-entries -json -all main.weird")["entries"]
        assert sorted([entry["key"], entry["elem"]] for entry in entries) == sorted(
            self.rows["main.weird"]["entries"]
        )
        layout = session.json("go-map-layout -json main.holes")
        assert layout["layout"]["slot_size"] == row["slot_size"]
        found = {each["address"]: each for each in session.json("go-map-scan -json")["maps"]}
        assert (found[row["address"]]["len"], found[row["address"]]["type"]) == (
            row["len"],
            row["type"],
        )
        profile = session.json("go-map-pprof -json goroutine")
        assert profile["profiles"][0]["kind"] == "goroutine"
        writers = session.json("go-map-writers -json")
        assert (writers["schema"], writers["operations"]) == ("gomapscope.writers/1", [])
        assert writers["goroutines"] >= 1
        assert "fatal" not in writers
        saved = session.json(f"go-map-snapshot -json main.holes main.nine -o {folder / 'a.json'}")
        assert saved["len"] == row["len"] + self.rows["main.nine"]["len"]
        diff = session.json(f"go-map-diff -json -all {folder / 'a.json'}")
        assert diff["classes"] == {"unchanged": 2}
        timeline = session.json("go-map-timeline -json main.nine")
        assert [row["address"] for row in timeline["maps"]] == [self.rows["main.nine"]["address"]]
        assert "no flight recorder" in session.error("go-map-ring")
        assert session.python("gomapscope.Map('main.nine').stats().live") == 9
        # As a string: gdb itself looks names up in the language of the frame, which may be asm.
        assert session.text('output $_go_map_len("main.holes")') == str(row["len"])


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Truth]]:
    """A core of the zoo, its program, and the truth."""
    folder = tmp_path_factory.mktemp("core")
    program = toolchains.build(ZOO, "1.23.9")
    made = cores.core_of([program, folder / "truth", "crash"], folder)
    rows = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}
    yield program, made, Truth(rows)
    made.unlink()


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_every_command_on_a_core(name: str, core: tuple[Path, Path, Truth], tmp_path: Path) -> None:
    program, made, truth = core
    before = ["python import gomapscope"]
    start = [f"file {program}", f"core-file {made}"]
    with Session(start, gdb=gdbs.for_test(name)) as session:
        session.text(before[0])
        truth.check(session, tmp_path, "core")
        # Byte for byte what the console script reads without gdb.
        for command in ("stats main.holes", "entries main.unicode -all", "layout main.holes"):
            words = command.split()
            alone = console(words[0], "-core", str(made), "-exe", str(program), "-json", *words[1:])
            assert session.json(f"go-map-{command} -json") == json.loads(alone.stdout)
        assert "core" in session.error("go-map-trace start main.nine")


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_every_command_through_gdbserver(name: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, "1.25.5")
    path = tmp_path / "truth"
    with gdbtool.gdbserver(program, path) as port:
        start = [f"file {program}", f"target remote 127.0.0.1:{port}", "break main.stop"]
        with Session([*start, "continue"], gdb=gdbs.for_test(name)) as session:
            session.text("python import gomapscope")
            rows = {row["expr"]: row for row in gdbtool.read_truth(path)}
            Truth(rows).check(session, tmp_path, "remote")
            started = session.json(f"go-map-trace start -json main.nine -o {tmp_path / 'e'}")
            assert started["active"] is True
            for command in ("go-map-trace status", "go-map-trace"):
                assert session.json(f"{command} -json")["active"] is True
            assert session.json("go-map-trace stop -json")["active"] is False


@pytest.mark.parametrize("name", gdbs.RELEASES)
def test_flight_recorder_is_read_in_another_gdb(name: str, tmp_path: Path) -> None:
    program = ringtool.build("1.27.3", "-track-free")
    truth = tmp_path / "truth.jsonl"
    with Session(stop(program, truth), gdb=gdbs.for_test(name)) as session:
        events = window(check_document(session.json("go-map-ring -json")))
        listed = gdbtool.read_truth(truth)[1]
        one = session.json(f"go-map-ring -json {listed['address']} -type '{listed['type']}'")
        assert one["events"]
        assert {event["map"] for event in one["events"]} == {listed["address"]}
        assert len(events) > len(one["events"])
