"""Files that cannot be written, or not to their end: each command says so and leaves nothing.

A full disk is made with the limit of a process on the size of its files, and with a small file
system of its own where one may be mounted.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cores
import pytest
import ringtool

import exectracetool
import gdbtool
import toolchains
from gdbtool import Session

GO = Path(__file__).parent / "go"
ZOO = GO / "zoo"
FAULTS = Path(__file__).parent / "gdb_faults.py"

#: Commands that write a file; more than the few bytes that a limit allows.
WRITERS = {
    "snapshot": "go-map-snapshot -o {} main.crowded main.holes main.nine",
    "packed snapshot": "go-map-snapshot -buckets -o {}.gz main.crowded main.holes main.twoK",
    "snapshot of all": "go-map-snapshot -scan -o {}",
    "scan": "go-map-scan -pprof {}",
    "profile": "go-map-pprof goroutine -o {}",
    "timeline": "go-map-timeline main.crowded -o {}.json",
    "page": "go-map-timeline main.crowded -o {}.html",
}

SMALL = 100
LIMITED = (
    "__import__('signal').signal(__import__('signal').SIGXFSZ, __import__('signal').SIG_IGN) "
    "and __import__('resource').setrlimit(__import__('resource').RLIMIT_FSIZE, ({}, -1))"
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    program = toolchains.build(ZOO, "1.27.3")
    truth = tmp_path_factory.mktemp("zoo") / "truth"
    with Session(gdbtool.at_stop(program, truth)) as opened:
        opened.text(f"source {FAULTS}")
        yield opened
        opened.text("kill")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_limit_on_file_sizes_is_an_error_and_leaves_nothing(
    session: Session, kind: str, tmp_path: Path
) -> None:
    command = WRITERS[kind].format(tmp_path / "file")
    session.python(LIMITED.format(SMALL))
    try:
        refused = session.error(command)
    finally:
        session.python(LIMITED.format(-1))
    assert "cannot be written" in refused
    assert str(tmp_path / "file") in refused
    assert not list(tmp_path.iterdir())
    # With room it is written.
    session.text(command)
    (made,) = tmp_path.iterdir()
    assert made.stat().st_size > SMALL


@pytest.mark.parametrize("kind", WRITERS)
def test_a_directory_that_goes_away_is_an_error(
    session: Session, kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    command = WRITERS[kind].format(folder / "file")
    gone = f"lambda: __import__('shutil').rmtree({str(folder)!r})"
    session.python("plan.begin(0, 'once', None)")
    answer = session.python(f"disturb_once({command!r}, {gone!r})")
    assert "cannot be written" in answer["error"]
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["snapshot", "snapshot of all", "scan", "profile"])
@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_not_replaced(session: Session, kind: str, device: str) -> None:
    before = os.stat(device)
    refused = session.error(WRITERS[kind].format(device).replace(" -", " -force -", 1))
    assert f"{device} is not a regular file" in refused
    after = os.stat(device)
    assert stat.S_ISCHR(after.st_mode)
    assert after.st_ino == before.st_ino


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A program with the flight recorder, stopped."""
    program = ringtool.build("1.27.3")
    truth = tmp_path_factory.mktemp("ring") / "truth"
    with Session([f"file {program}", "break main.waiting", f"run {truth} > /dev/null"]) as opened:
        yield opened
        opened.text("kill")


@pytest.mark.parametrize("name", ["ring.jsonl", "ring.jsonl.gz"])
def test_a_ring_that_cannot_be_written_leaves_nothing(
    recorded: Session, name: str, tmp_path: Path
) -> None:
    command = f"go-map-ring -o {tmp_path / name}"
    # In the first block that is written, and where there were many.
    for limit in (SMALL, 20_000):
        recorded.python(LIMITED.format(limit))
        try:
            refused = recorded.error(command)
        finally:
            recorded.python(LIMITED.format(-1))
        assert "cannot be written" in refused
        assert str(tmp_path / name) in refused
        assert not list(tmp_path.iterdir())
    recorded.text(command)
    assert (tmp_path / name).stat().st_size > 20_000
    # A file that is there stays as it was.
    whole = (tmp_path / name).read_bytes()
    recorded.python(LIMITED.format(SMALL))
    try:
        refused = recorded.error(f"{command} -force")
    finally:
        recorded.python(LIMITED.format(-1))
    assert "cannot be written" in refused
    assert (tmp_path / name).read_bytes() == whole
    assert len(list(tmp_path.iterdir())) == 1


class Sources(NamedTuple):
    """What the console reads."""

    core: list[str]
    snapshot: Path
    trace: Path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    program = ringtool.build("1.27.3")
    core = cores.core_of([program, folder / "truth", "crash"], folder)
    words = ["-core", str(core), "-exe", str(program)]
    snapshot = folder / "saved.json"
    done = gomapscope("snapshot", *words, "-scan", "-o", str(snapshot))
    assert done.returncode == 0, done.stderr
    trace, _ = exectracetool.record("1.27.3", folder)
    return Sources(words, snapshot, trace)


def gomapscope(*words: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """The console script; ``limit``: no file of its may be larger."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "gomapscope", *words],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
        timeout=gdbtool.TIMEOUT,
    )


#: Subcommands that write a file; {core}, {snapshot} and {trace} are what they read.
CONSOLE = {
    "snapshot": "snapshot {core} -scan -o {out}",
    "packed snapshot": "snapshot {core} -scan -holders -o {out}.gz",
    "ring": "ring {core} -o {out}.jsonl",
    "scan": "scan {core} -pprof {out}",
    "profile": "pprof {core} -o {out} goroutine",
    "timeline": "timeline {snapshot} -o {out}.json",
    "page": "timeline {snapshot} -o {out}.html",
    "trace": "trace {trace} -o {out}.json",
}


@pytest.mark.parametrize("kind", CONSOLE)
def test_what_the_console_cannot_write_is_an_error_and_leaves_nothing(
    sources: Sources, kind: str, tmp_path: Path
) -> None:
    words: list[str] = []
    for word in CONSOLE[kind].split():
        if word == "{core}":
            words += sources.core
            continue
        places = {"snapshot": sources.snapshot, "trace": sources.trace}
        words.append(word.format(out=tmp_path / "file", **places))
    refused = gomapscope(*words, limit=SMALL)
    assert refused.returncode == 1
    assert not gdbtool.UGLY.search(refused.stderr), refused.stderr
    (line,) = refused.stderr.splitlines()
    assert "cannot be written" in line
    assert str(tmp_path / "file") in line
    assert not list(tmp_path.iterdir())
    done = gomapscope(*words)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    assert made.stat().st_size > SMALL


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB, nearly full."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        (place / "ballast").write_bytes(bytes(12 << 10))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_an_error_and_leaves_nothing(session: Session, tiny: Path) -> None:
    assert "No space left" in session.error(f"go-map-snapshot -scan -o {tiny / 'file'}")
    assert [path.name for path in tiny.iterdir()] == ["ballast"]


def test_a_trace_on_a_full_disk_says_that_its_file_ends(tmp_path: Path) -> None:
    program = toolchains.build(ZOO, "1.27.3")
    path = tmp_path / "events.jsonl"
    with Session([f"file {program}", "break main.main", "run /dev/null > /dev/null"]) as session:
        session.text(f"source {FAULTS}")
        session.text(f"go-map-trace start -engine break -on growth -max 60 -o {path}")
        session.python(LIMITED.format(2000))
        session.text("delete")
        session.text("break main.stop")
        session.text("continue")
        status = session.text("go-map-trace status")
        session.python(LIMITED.format(-1))
        assert "failed" in status
        assert "File too large" in status
        session.text("kill")
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(path.read_bytes()) <= 2000
    assert all(json.loads(line) for line in lines[:-1])
    # The reader says that it is not the whole.
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", "events", str(path), "-json"],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["end"]["state"] in ("cut", "open")
