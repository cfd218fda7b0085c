"""Go programs of other machines: compiled for them, run under qemu-user, looked at with gdb.

qemu-user's gdb stub mixes up its answers when a signal reaches a second thread while it talks, and
nothing of these programs needs one: Go's preemption by signal is switched off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cores

import gdbtool
import toolchains


class Machine(NamedTuple):
    """GOARCH, and the word qemu has for it; none where Linux on amd64 runs it."""

    goarch: str
    qemu: str = ""


ARM64 = Machine("arm64", "aarch64")
RISCV64 = Machine("riscv64", "riscv64")
S390X = Machine("s390x", "s390x")
I386 = Machine("386")

ALL = (ARM64, RISCV64, S390X, I386)

#: For Go programs under qemu: one thread that runs Go, and no signals among threads.
ENVIRONMENT = {"GODEBUG": "asyncpreemptoff=1", "GOMAXPROCS": "1"}


def build(source: Path, label: str, machine: Machine, flags: tuple[str, ...] = ()) -> Path:
    """A fixture, compiled for a machine."""
    return toolchains.build(source, label, flags=flags, env={"GOARCH": machine.goarch})


def command(machine: Machine) -> list[str]:
    """What runs a program of that machine here, without the program."""
    if not machine.qemu:
        return []
    found = shutil.which(f"qemu-{machine.qemu}")
    assert found, f"no qemu-{machine.qemu}: install qemu-user"
    return [found]


def gdb(machine: Machine) -> str:
    """A gdb that knows the machine."""
    if not machine.qemu:
        return gdbtool.gdb_path()
    found = shutil.which("gdb-multiarch")
    assert found, "no gdb-multiarch"
    return found


def _listens(path: Path) -> bool:
    """Whether somebody listens on a socket: only then it has Linux's flag 0x10000."""
    rows = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(row.endswith(f" {path}") and row.split()[3] == "00010000" for row in rows)


@contextlib.contextmanager
def stub(machine: Machine, program: Path, *arguments: str | Path) -> Iterator[Path]:
    """qemu with a program at its start; yields the socket where it waits for gdb."""
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="qemu-") as folder:
        path = Path(folder, "gdb")
        process = subprocess.Popen(
            [*command(machine), "-g", str(path), str(program), *map(str, arguments)],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + gdbtool.TIMEOUT
            while not _listens(path):
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < deadline, "qemu does not listen"
                os.sched_yield()
            yield path
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextlib.contextmanager
def at_stop(
    machine: Machine, program: Path, truth: Path | str = "", place: str = "main.stop"
) -> Iterator[list[str]]:
    """gdb's commands that bring a fixture to the place where it holds still."""
    if not machine.qemu:
        yield [f"file {program}", f"break {place}", f"run {truth} > /dev/null"]
        return
    with stub(machine, program, truth) as socket:
        yield [f"file {program}", f"target remote {socket}", f"break {place}", "continue"]


def core(machine: Machine, program: Path, truth: Path, folder: Path) -> Path:
    """The core of a fixture that crashes: the kernel's, or the one that qemu writes."""
    line = [*command(machine), program, truth, "crash"]
    if not machine.qemu:
        return cores.core_of(line, folder)
    done = subprocess.run(
        line,
        cwd=folder,
        env=cores.environment(**ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        preexec_fn=cores.allow_core,
        capture_output=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )
    found = list(folder.glob("qemu_*.core"))
    assert len(found) == 1, done.stderr.decode("utf-8", "replace")[-2000:]
    return found[0]
