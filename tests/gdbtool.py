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


#: What no user must ever see.
UGLY = re.compile(
    r"Traceback \(most recent|Python Exception|Error occurred in Python"
    r"|internal error(:| in )|internal-error|PanicException|panicked at"
    r"|A problem internal to GDB|Fatal signal"
)


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


class Session:
    """A gdb that answers commands one by one; close it with ``with``.

    Every answer is checked on the way: no traceback, one line of error, and what is selected
    (inferior, thread, frame, language) stays as it was.
    """

    def __init__(
        self,
        before: Sequence[str] = (),
        *,
        gdb: Optional[str] = None,
        environment: Optional[dict[str, str]] = None,
        plugin: bool = True,
    ) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        #: All that gdb printed outside of answers, once it has ended.
        self.ended = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        line = command_line(before, (f"source {DRIVER}",), gdb=gdb, plugin=plugin)
        try:
            self._process = subprocess.Popen(
                line,
                env={
                    **os.environ,
                    **(environment or {}),
                    "GOMAPSCOPE_PIPES": f"{requests} {answers}",
                },
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=(requests, answers),
                start_new_session=True,
            )
        finally:
            os.close(requests)
            os.close(answers)
        self._input = os.fdopen(self._requests, "w", encoding="utf-8")
        self._output = os.fdopen(self._answers, encoding="utf-8")
        # Only now everything in ``before`` is done.
        try:
            self._exchange({"python": "None"})
        except BaseException:
            self.__exit__(True)
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *failure: object) -> None:
        self._input.close()
        try:
            self._process.wait(TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._output.close()
            log = self.ended = self.log
            self._log.close()
        if failure[0] is None:
            assert not UGLY.search(log), log
            assert self._process.returncode >= 0, f"gdb died: {self._process.returncode}\n{log}"
        else:
            # Beside what failed stands what gdb had to say.
            print(f"gdb, exit status {self._process.returncode}:\n{log}")

    @property
    def log(self) -> str:
        """What gdb printed outside of answers."""
        self._log.seek(0)
        text = self._log.read().decode("utf-8", "replace")
        self._log.seek(0, os.SEEK_END)
        return text

    def _exchange(self, step: dict[str, Any]) -> dict[str, Any]:
        try:
            self._input.write(json.dumps(step) + "\n")
            self._input.flush()
            line = self._output.readline()
        except BrokenPipeError:
            line = ""
        assert line, f"gdb is gone\n{self.log}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str, frame: Optional[str] = None) -> Answer:
        """Execute one command, in the frame of a function if that is given."""
        found = self._exchange({"command": command, "frame": frame})
        answer = Answer(found.get("output"), found.get("error"))
        shown = (answer.output or "") + (answer.error or "")
        assert not UGLY.search(shown), f"{command}\n{shown}"
        if command.startswith("go-map"):
            assert found.get("before") == found.get("after"), f"{command} moved the selection"
            assert "\n" not in (answer.error or ""), f"{command}\n{answer.error}"
        return answer

    def text(self, command: str, frame: Optional[str] = None) -> str:
        """What a command that works prints."""
        return self.ask(command, frame).text

    def go_on(self) -> None:
        """``continue``; what is printed meanwhile stands in the log, gdb's own faults included."""
        found = self._exchange({"command": "continue", "shown": True})
        assert "error" not in found, found["error"]

    def json(self, command: str, frame: Optional[str] = None) -> Any:
        """The document a command that works prints."""
        return self.ask(command, frame).json

    def error(self, command: str, frame: Optional[str] = None) -> str:
        """The line that a command ends with that must fail."""
        answer = self.ask(command, frame)
        assert answer.error is not None, f"{command} printed {answer.output}"
        return answer.error

    def python(self, expression: str) -> Any:
        """The value of a Python expression inside gdb."""
        found = self._exchange({"python": expression})
        assert "value" in found, f"{expression}: {found.get('error')}"
        return found["value"]


class Mi:
    """A gdb as a front end starts it, with its machine interface; close it with ``with``."""

    def __init__(self, *options: str, gdb: Optional[str] = None) -> None:
        line = [gdb or gdb_path(), "-nx", "-q", "-i", "mi", *options]
        for command in QUIET:
            line += ["-iex", command]
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._token = 0
        self.records: list[str] = []
        """Everything gdb said."""

    def __enter__(self) -> Mi:
        return self

    def __exit__(self, *failure: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        if failure[0] is None:
            log = "\n".join(self.records)
            assert not UGLY.search(log), log

    def _next(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "gdb is gone\n" + "\n".join(self.records)
        self.records.append(line.rstrip("\n"))
        return self.records[-1]

    def send(self, command: str) -> str:
        """The result record of a command, without its token."""
        self._token += 1
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._token}{command}\n")
        self._process.stdin.flush()
        return self.until(rf"{self._token}\^")[len(str(self._token)) :]

    def until(self, pattern: str) -> str:
        """The next record that begins so."""
        while True:
            record = self._next()
            if re.match(pattern, record):
                return record

    def result(self, command: str) -> Any:
        """What ``^done`` brings, as Python values."""
        record = self.send(command)
        assert record.startswith("^done"), record
        return mi_values(record.partition(",")[2])

    def error(self, command: str) -> str:
        """The message of a command that must fail."""
        record = self.send(command)
        assert record.startswith("^error,"), record
        return str(mi_values(record.partition(",")[2])["msg"])


_MI_TOKEN = re.compile(r'(?P<name>[A-Za-z][\w-]*)=|(?P<text>"(?:\\.|[^"\\])*")|(?P<sign>[][{},])')
_MI_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_MI_LETTERS = {
    b"a": b"\a",
    b"b": b"\b",
    b"e": b"\x1b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


def mi_values(text: str) -> dict[str, Any]:
    """MI results ``name=value,…`` as dictionaries, lists and strings; nothing else may be there."""
    tokens: list[tuple[Optional[str], str]] = [("sign", "{")]
    at = 0
    while at < len(text):
        match = _MI_TOKEN.match(text, at)
        assert match, f"no MI from here on: {text[at : at + 200]}"
        tokens.append((match.lastgroup, match.group(match.lastgroup or 0)))
        at = match.end()
    tokens.append(("sign", "}"))
    found, end = _mi_value(tokens, 0)
    assert end == len(tokens), text
    return dict(found)


def _mi_value(tokens: list[tuple[Optional[str], str]], at: int) -> tuple[Any, int]:
    kind, text = tokens[at]
    at += 1
    if kind == "text":
        return mi_string(text), at
    close = {"{": "}", "[": "]"}[text]
    fields: dict[str, Any] = {}
    items: list[Any] = []
    while tokens[at] != ("sign", close):
        name = None
        if tokens[at][0] == "name":
            name = tokens[at][1]
            at += 1
        value, at = _mi_value(tokens, at)
        if name is None:
            items.append(value)
        else:
            fields[name] = value
        if tokens[at] == ("sign", ","):
            at += 1
    return (items if text == "[" else fields), at + 1


def mi_string(text: str) -> str:
    """What an MI string in its quotes stands for."""

    def byte(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        return bytes([int(escape, 8)]) if len(escape) == 3 else _MI_LETTERS.get(escape, escape)

    plain = text[1:-1].encode("utf-8", "surrogateescape")
    return _MI_ESCAPE.sub(byte, plain).decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Printed:
    """What a gdb in batch mode left behind."""

    stdout: str
    stderr: str
    status: int


def batch(
    before: Sequence[str],
    after: Sequence[str],
    *,
    gdb: Optional[str] = None,
    environment: Optional[dict[str, str]] = None,
) -> Printed:
    """Run gdb in batch mode as :func:`command_line` says, and collect what it prints."""
    done = subprocess.run(
        command_line(before, after, gdb=gdb),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Printed(
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
        done.returncode,
    )


def gdb_path() -> str:
    """The gdb under test: $GDB, else the one on the path."""
    found = shutil.which(os.environ.get("GDB", "gdb"))
    assert found, "no gdb"
    return found


def command_line(
    before: Sequence[str],
    after: Sequence[str] = (),
    *,
    gdb: Optional[str] = None,
    plugin: bool = True,
) -> list[str]:
    """gdb in batch mode: quiet, ``before``, the plugin, ``after``."""
    line = [gdb or gdb_path(), "-nx", "-batch"]
    load = (f"source {SCRIPT}",) if plugin else ()
    for command in (*QUIET, *before, *load, *after):
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
    with gdbserver_process(program, truth) as (_, port):
        yield port


@contextlib.contextmanager
def gdbserver_process(program: Path, *arguments: Path | str) -> Iterator[tuple[int, int]]:
    """The same with its process id."""
    server = shutil.which("gdbserver")
    assert server, "no gdbserver"
    process = subprocess.Popen(
        [server, "--once", "127.0.0.1:0", program, *arguments],
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
                yield process.pid, int(found[1])
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
