"""Files that cannot be written, or not to their end: each command says so and leaves nothing.

A full disk is made with the limit of a process on the size of its files, and with a small file
system of its own where one may be mounted.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
