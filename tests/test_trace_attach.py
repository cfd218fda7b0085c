"""Traces of a process that was there before gdb, and is there after it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
import tracetool
from tracetool import BOTH

#: Also what follows the second line that it reads: nothing is written to maps any more.
WORK = ("-goroutines", "4", "-inserts", "40000", "-deletes", "20000", "-seed", "8", "-wait", "1")


class Program:
    """One that waits for a line before its work, and maybe for another behind it."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [path, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> tuple[list[str], int]:
        """What it prints until its end, and its exit status."""
        output, _ = self.process.communicate(timeout=gdbtool.TIMEOUT)
        return output.splitlines(), self.process.returncode

    def bytes_at(self, addresses: list[int]) -> list[int]:
        """One byte of each address, past all debuggers."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            found = []
            for address in addresses:
                memory.seek(address)
                found.append(memory.read(1)[0])
        return found


@contextlib.contextmanager
def started(label: str, *arguments: str, copy_to: Path | None = None) -> Iterator[Program]:
    """A program that said it is ready, and is gone afterwards."""
    path = toolchains.build(tracetool.TRACED, label)
    program = Program(tracetool.copied(path, copy_to) if copy_to else path, *arguments)
    try:
        assert program.hear() == f"ready pid {program.pid}"
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


def checksum(label: str) -> str:
    """What the work ends with, without a tracer."""
    line = tracetool.untraced(toolchains.build(tracetool.TRACED, label), *WORK)[-1]
    assert line.startswith("checksum 0x")
    return line


def shells_of(pid: int) -> list[int]:
    """Shells that know of a process: what is to clean up behind gdb."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"/bin/sh" and str(pid).encode() in words:
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("label", BOTH)
def test_stop_and_detach_leave_the_program_to_itself(label: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with started(label, *WORK) as program, gdbtool.Session() as session:
        session.text(f"attach {program.pid}")
        session.text(f"go-map-trace start -engine break -on growth,assign -max 400 -o {events}")
        # The kernel tells of its words a moment after the shell was begun.
        tracetool.until(lambda: len(shells_of(program.pid)) == 1, "there is no guard")
        # Stops by itself in the middle of the work.
        session.python(
            "[setattr(__import__('gomapscope.tracing').tracing._active[0], '_callback', "
            "lambda event: event.seq == 300)]"
        )
        program.go()
        session.text("continue")
        status = session.json("go-map-trace status -json")
        assert (status["active"], status["events"]) == (True, 300)
        status = session.json("go-map-trace stop -json")
        assert (status["active"], status["ended"], status["lost"]) == (False, "stop", 0)
        assert not session.python("[p.number for p in gdb.breakpoints()]")
        session.text("detach")
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
        assert not shells_of(program.pid)
    file = tracetool.read(events)
    assert len(file.events) == 300
    assert file.ending is not None
    assert file.ending["end"] == "stop"
    assert file.header["pid"] == program.pid


@pytest.mark.parametrize("label", BOTH)
def test_detach_ends_the_trace(label: str, tmp_path: Path) -> None:
    with started(label, *WORK) as program, gdbtool.Session() as session:
        session.text(f"attach {program.pid}")
        session.text(f"go-map-trace start -engine break -o {tmp_path / 'events.jsonl'}")
        session.text("detach")
        status = session.json("go-map-trace status -json")
        assert not status["active"]
        assert "detached" in status["ended"]
        assert "detached" in session.text("go-map-trace status")
        program.go()
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
        assert not shells_of(program.pid)
    assert tracetool.read(tmp_path / "events.jsonl").ending is not None


def start_gdb(pid: int, start: str, ready: Path) -> subprocess.Popen[bytes]:
    """gdb that traces, lets the program run and never comes back."""
    line = gdbtool.command_line(
        [f"attach {pid}"],
        [
            start,
            "python import json",
            "python from gomapscope import tracing",
            "python trace = tracing._active[0]",
            "python kinds = [point.type == gdb.BP_BREAKPOINT for point in trace._points]",
            "python sites = zip(kinds, trace._native.sites())",
            "python sites = [(site[1], site[2][0]) for trap, site in sites if trap]",
            f"python open({str(ready)!r}, 'w').write(json.dumps(sites) + '\\n')",
            "continue",
        ],
    )
    return subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    """Until the trace is on and the program about to go on."""
    tracetool.until(
        lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"), "gdb"
    )


def report(path: Path) -> Any:
    """What ``gomapscope events`` tells of a file."""
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", "events", str(path), "-json"],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        timeout=gdbtool.TIMEOUT,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("label", BOTH)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_killed_gdb_leaves_no_trap(label: str, suffix: str, tmp_path: Path) -> None:
    """While the program waits gdb is killed; then all of the work goes by untouched."""
    events = tmp_path / f"events.{suffix}"
    with started(label, *WORK) as program:
        gdb = start_gdb(
            program.pid,
            # More than the hardware has room for.
            f"go-map-trace start -engine break -on growth,create -o {events}",
            tmp_path / "ready",
        )
        try:
            wait_for(tmp_path / "ready")
            sites = json.loads((tmp_path / "ready").read_text(encoding="utf-8"))
            addresses = [address for address, _ in sites]
            traps = [0xCC] * len(sites)
            assert traps
            # Only now the process runs, and has them.
            tracetool.until(lambda: program.bytes_at(addresses) == traps, "no breakpoints")
            tracetool.until(lambda: len(shells_of(program.pid)) == 1, "there is no guard")
            (shell,) = shells_of(program.pid)
        finally:
            gdb.send_signal(signal.SIGKILL)
            gdb.wait()
        code = [byte for _, byte in sites]
        tracetool.until(lambda: program.bytes_at(addresses) == code, "the traps are still there")
        tracetool.until(lambda: not tracetool.alive(shell), "the shell is still there")
        program.go()
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
    assert report(events)["end"]["state"] in ("open", "cut")


@pytest.mark.parametrize("label", BOTH)
def test_a_gdb_killed_behind_the_work_leaves_a_file_of_whole_lines(
    label: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    facts = tmp_path / "facts.json"
    with started(label, *WORK[:-1], "2", "-facts", str(facts)) as program:
        gdb = start_gdb(
            program.pid, f"go-map-trace start -engine break -o {events}", tmp_path / "ready"
        )
        try:
            wait_for(tmp_path / "ready")
            program.go()
            assert program.hear() == f"done pid {program.pid}"
        finally:
            gdb.send_signal(signal.SIGKILL)
            gdb.wait()
        tracetool.until(lambda: not shells_of(program.pid), "the shell is still there")
        program.go()
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
    told = report(events)
    assert told["end"]["state"] in ("open", "cut")
    # All but the last quarter of a second is in the file.
    lines = events.read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines[1:-1]]
    assert 0 < len(found) == told["totals"]["events"]
    assert re.match(r"\{.*|$", lines[-1])
    program_facts = tracetool.facts_of(facts)
    whole = {
        (about["header"], event["block"])
        for about in program_facts["maps"]
        for event in tracetool.expected(program_facts, about)
    }
    headers = {about["header"] for about in program_facts["maps"]}
    growths = [e for e in found if e["op"] in tracetool.GROWTHS and e["map"] in headers]
    assert growths
    assert {(event["map"], event["block"]) for event in growths} <= whole


@tracetool.needs_probes
@pytest.mark.parametrize("label", BOTH)
def test_probes_of_a_killed_gdb_are_removed_by_the_next(label: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with started(label, *WORK, copy_to=tmp_path) as program:
        gdb = start_gdb(
            program.pid,
            f"go-map-trace start -engine uprobe -on assign -o {events}",
            tmp_path / "ready",
        )
        try:
            wait_for(tmp_path / "ready")
        finally:
            gdb.send_signal(signal.SIGKILL)
            gdb.wait()
        assert tracetool.leftovers()
        # They hit nobody's result.
        program.go()
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
    assert report(events)["end"]["state"] in ("open", "cut")
    with started(label, *WORK, copy_to=tmp_path) as program, gdbtool.Session() as session:
        session.text(f"attach {program.pid}")
        session.text("go-map-trace start -engine uprobe -on assign")
        session.text("go-map-trace stop")
        assert not tracetool.leftovers()
        session.text("detach")
        program.go()
        assert program.finish() == ([checksum(label)], tracetool.SUCCEEDED)
