"""A front end that speaks the Debug Adapter Protocol to gdb (``gdb -i dap``)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from typing import Any, Callable

import gdbtool

Message = dict[str, Any]


class Dap:
    """A gdb as an editor starts it; close it with ``with``."""

    def __init__(self, gdb: str) -> None:
        line = [gdb, "-nx", "-q", "-i", "dap"]
        for command in gdbtool.QUIET:
            line += ["-iex", command]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*line, "-x", str(gdbtool.SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._number = 0
        self.messages: list[Message] = []
        """Everything gdb said."""

    def __enter__(self) -> Dap:
        return self

    def __exit__(self, *failure: object) -> None:
        ended = self._process.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")
        self._log.close()
        if failure[0] is None:
            assert ended in (0, None), log
            assert not gdbtool.UGLY.search(log + json.dumps(self.messages)), log

    def _next(self) -> Message:
        assert self._process.stdout is not None
        length = 0
        while True:
            line = self._process.stdout.readline()
            assert line, "gdb is gone"
            name, _, value = line.strip().partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if not name:
                break
        message: Message = json.loads(self._process.stdout.read(length))
        self.messages.append(message)
        return message

    def start(self, command: str, **arguments: Any) -> int:
        """Send a request; its number."""
        self._number += 1
        request = {
            "seq": self._number,
            "type": "request",
            "command": command,
            "arguments": arguments,
        }
        body = json.dumps(request).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()
        return self._number

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message not seen yet that is wanted."""
        while True:
            message = self._next()
            if wanted(message):
                return message

    def event(self, name: str) -> Message:
        """The body of the next event of that name."""
        return dict(self.until(lambda found: found.get("event") == name).get("body", {}))

    def answer(self, number: int) -> Message:
        """The response to a request."""
        return self.until(lambda found: found.get("request_seq") == number)

    def ask(self, command: str, **arguments: Any) -> Message:
        """Send a request; its response."""
        return self.answer(self.start(command, **arguments))

    def body(self, command: str, **arguments: Any) -> Message:
        """The body of the response to a request that works."""
        response = self.ask(command, **arguments)
        assert response["success"], response
        return dict(response.get("body", {}))

    def repl(self, command: str) -> str:
        """What a command that works prints in the debug console."""
        return str(self.body("evaluate", expression=command, context="repl")["result"])

    def error(self, command: str) -> str:
        """The message of a command in the debug console that must fail."""
        response = self.ask("evaluate", expression=command, context="repl")
        assert not response["success"], response
        return str(response["message"])

    def end(self) -> None:
        """Disconnect, kill the program, and see gdb end by itself."""
        assert self.ask("disconnect", terminateDebuggee=True)["success"]
        assert self._process.wait(gdbtool.TIMEOUT) == 0
