"""Starts gdb on Go programs for the tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "gdb-scripts" / "gomapscope.py"
DRIVER = ROOT / "tests" / "gdb_driver.py"
TIMEOUT = 240

#: gdb commands every session begins with: quiet, and no stop at Go's preemption signal.
QUIET = (
    "set confirm off",
    "set pagination off",
    "set print thread-events off",
    "set auto-load no",
    "handle SIGURG nostop noprint pass",
)


@dataclass(frozen=True)
class Step:
    """One command for a plan, in the frame of a function if that is given."""

    command: str
    frame: Optional[str] = None


@dataclass(frozen=True)
class Answer:
    """What a command printed, or the error it ended with."""

    output: Optional[str]
    error: Optional[str]

    @property
    def text(self) -> str:
        """The output of a command that must not fail."""
        assert self.error is None, self.error
        assert self.output is not None
        return self.output

    @property
    def json(self) -> Any:
        """The one JSON document a command printed."""
        return json.loads(self.text)


def gdb_path() -> str:
    """The gdb under test: $GDB, else the one on the path."""
    found = shutil.which(os.environ.get("GDB", "gdb"))
    assert found, "no gdb"
    return found


def command_line(
    before: Sequence[str], after: Sequence[str] = (), *, gdb: Optional[str] = None
) -> list[str]:
    """gdb in batch mode: quiet, ``before``, the plugin, ``after``."""
    line = [gdb or gdb_path(), "-nx", "-batch"]
    for command in (*QUIET, *before, f"source {SCRIPT}", *after):
        line += ["-ex", command]
    return line


def ask(
    steps: Sequence[Step],
    before: Sequence[str],
    *,
    gdb: Optional[str] = None,
    after: Sequence[str] = (),
) -> list[Answer]:
    """Run ``steps`` in a gdb that has executed ``before``; the answers in the same order."""
    with tempfile.TemporaryDirectory(prefix="gomapscope-") as folder:
        plan = Path(folder, "plan.json")
        answers = Path(folder, "answers.jsonl")
        plan.write_text(json.dumps([vars(step) for step in steps]), encoding="utf-8")
        environment = dict(os.environ)
        environment.update(GOMAPSCOPE_PLAN=str(plan), GOMAPSCOPE_ANSWERS=str(answers))
        done = subprocess.run(
            command_line(before, (f"source {DRIVER}", *after), gdb=gdb),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        log = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert answers.exists(), log
        lines = answers.read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(steps), f"{len(lines)} answers of {len(steps)}\n{log}"
    found = [json.loads(line) for line in lines]
    return [Answer(answer.get("output"), answer.get("error")) for answer in found]


def at_stop(program: Path, truth: Path) -> list[str]:
    """Commands that run a fixture up to its ``main.stop``."""
    return [f"file {program}", "break main.stop", f"run {truth} > /dev/null"]


@contextlib.contextmanager
def waiting(program: Path, truth: Path, **environment: str) -> Iterator[int]:
    """A fixture that has written its truth and sleeps; yields its process id."""
    process = subprocess.Popen(
        [str(program), str(truth), "wait"],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def gdbserver(program: Path, truth: Path) -> Iterator[int]:
    """gdbserver with a fixture at its start; yields the port on the loopback address."""
    server = shutil.which("gdbserver")
    assert server, "no gdbserver"
    process = subprocess.Popen(
        [server, "--once", "127.0.0.1:0", str(program), str(truth)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(r"Listening on port (\d+)", line)
            if found:
                yield int(found[1])
                break
        else:
            raise AssertionError("gdbserver did not start")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr:
            process.stderr.close()


def read_truth(path: Path) -> list[dict[str, Any]]:
    """What a fixture said of its maps."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
