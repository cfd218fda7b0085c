"""Cores of Go programs, and the examples that read them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import gdbtool


def need_kernel_cores() -> None:
    """Skip the test where the kernel does not leave cores in the working directory."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"this machine's kernel hands cores to {pattern}")


def allow_core() -> None:
    """For a process about to run a program: let it leave a core."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Let programs that are started leave cores."""
    need_kernel_cores()
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def environment(**extra: str) -> dict[str, str]:
    """An environment in which a Go program that crashes leaves a core."""
    return {**os.environ, **extra, "GOTRACEBACK": "crash"}


def core_of(command: Sequence[str | Path], folder: Path, **extra: str) -> Path:
    """The core that a Go program leaves which ends by a signal."""
    need_kernel_cores()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        preexec_fn=allow_core,
        capture_output=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )
    found = list(folder.glob("core*"))
    assert len(found) == 1, done.stderr.decode("utf-8", "replace")[-2000:]
    return found[0]


def example(name: str) -> Path:
    """An example of the library, built: it prints what the library finds in a core."""
    command = ["cargo", "build", "-p", "gomapscope-core", "--example", name]
    done = subprocess.run(
        [*command, "--message-format=json", "--quiet"],
        cwd=gdbtool.ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    raise AssertionError(f"cargo built no {name}")


def damages(whole: bytes, chance: random.Random, rounds: int) -> Iterator[tuple[int, bytes]]:
    """A file's bytes with words changed by chance, more of them each round; each fourth cut off."""
    for round_ in range(rounds):
        data = bytearray(whole)
        if round_ % 4 == 0:
            del data[chance.randrange(64, len(data)) :]
        for _ in range(4 ** (round_ % 8)):
            at = chance.randrange(0, len(data) - 8) & ~7
            value = chance.choice([0, 1, 2**63, 2**64 - 1, 2**64 - 8, chance.getrandbits(64)])
            data[at : at + 8] = value.to_bytes(8, "little")
        yield round_, bytes(data)
