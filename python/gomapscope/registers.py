"""The registers of every thread: where a search for what is in use begins."""

from __future__ import annotations

import gdb

# More threads are not asked: each costs gdb a switch and a register cache.
_MOST = 512

_AMD64 = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"),
    *(f"r{number}" for number in range(8, 16)),
    "rip",
)
_ARM64 = (*(f"x{number}" for number in range(31)), "sp", "pc")
_RISCV64 = (
    *("ra", "sp", "gp", "tp"),
    *(f"t{number}" for number in range(7)),
    *(f"s{number}" for number in range(12)),
    *(f"a{number}" for number in range(8)),
    "pc",
)
_NAMES = {"amd64": _AMD64, "arm64": _ARM64, "riscv64": _RISCV64}

Registers = list[tuple[int, dict[str, int]]]


def collect(arch: str | None) -> tuple[Registers, list[str]]:
    """Thread numbers of the kernel with their registers by name, and what could not be had.

    The selected thread and frame are the same afterwards.
    """
    names = _NAMES.get(arch or "")
    if names is None:
        return [], [f"The registers of {arch or 'this architecture'} are not known."]
    threads = gdb.selected_inferior().threads()
    if len(threads) > _MOST:
        return [], [f"The registers of {len(threads)} threads were left out: more than {_MOST}."]
    selected = gdb.selected_thread()
    try:
        frame: gdb.Frame | None = gdb.selected_frame()
    except gdb.error:
        frame = None
    found: Registers = []
    lost = 0
    try:
        for thread in threads:
            values = _of(thread, names)
            lost += not values
            if values:
                found.append((thread.ptid[1] or thread.ptid[2], values))
    finally:
        if selected is not None and selected.is_valid():
            selected.switch()
        if frame is not None and frame.is_valid():
            frame.select()
    missing = []
    if lost:
        missing.append(f"The registers of {lost} of {len(threads)} threads could not be read.")
    return found, missing


def _of(thread: gdb.InferiorThread, names: tuple[str, ...]) -> dict[str, int]:
    """The registers of one thread; empty where it runs, or gdb cannot tell."""
    values = {}
    try:
        thread.switch()
        frame = gdb.newest_frame()
        for name in names:
            values[name] = int(frame.read_register(name)) & 0xFFFF_FFFF_FFFF_FFFF
    except (gdb.error, ValueError, OverflowError):
        return {}
    return values
