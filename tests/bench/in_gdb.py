"""Runs inside gdb: measures the commands against gdb's own ways to the same bytes.

``BENCH_PLAN`` names a JSON file.  Rows are appended to its ``out``, one JSON object a line;
``done`` is a file to make at the end, ``label`` goes into the rows' names, ``sizes`` are the
arguments of the Go program.  Its ``mode`` is one of

* ``live``: run the program and measure at each stop; at that of ``core_size`` entries leave a
  core file at ``core``;
* ``core``: measure in the core file that is loaded;
* ``printer``: run the program and measure Go's own printers, ``printer``;
* ``ring``: run the program, which has a flight recorder in it, and read its ring.

In ``core``, ``delve`` is what Delve took to list ``delve_entries``, if it did.

The two sides of each ratio take turns and the best time of each counts: processor time of this
process, which is all there is to it, and which other work on the machine changes least.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import gdb

from gomapscope import session

BLOCK = 1 << 20
"""One read: what gdb copies fastest."""

GAP = 8 << 10
"""Reading so much between two blocks is cheaper than another call."""

SAMPLE = 20_000
"""Buckets that a loop of one read each looks at; its time is scaled to all."""

ENTRIES = 1_000_000
"""Listed at most: enough that the walk of the whole map before it is little."""

PLAN = json.loads(Path(os.environ["BENCH_PLAN"]).read_text(encoding="utf-8"))
INFERIOR = gdb.selected_inferior()


def row(
    name: str,
    size: int,
    ours: float,
    peer: str = "",
    theirs: Optional[float] = None,
    peak: Optional[int] = None,
) -> None:
    """Append one row; ``theirs`` None: there is no such peer."""
    found = {
        "name": name,
        "size": size,
        "ours_s": ours,
        "peer": peer,
        "peer_s": theirs,
        "ratio": ours / theirs if theirs else None,
        "peak_bytes": peak,
    }
    with open(PLAN["out"], "a", encoding="utf-8") as out:
        out.write(json.dumps(found) + "\n")


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def best(rounds: int, *sides: Callable[[], object]) -> list[float]:
    """The best time of each side; they take turns."""
    found = [float("inf")] * len(sides)
    for _ in range(rounds):
        for index, side in enumerate(sides):
            found[index] = min(found[index], seconds(side))
    return found


def run(command: str) -> str:
    """A command as after a stop: nothing is cached of the target's memory."""
    session.invalidate()
    return gdb.execute(command, to_string=True)


def _status(field: str) -> int:
    """A figure of this gdb's own memory, in bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def peak(work: Callable[[], object]) -> int:
    """How far gdb's resident memory rises above where it was while ``work`` runs."""
    gc.collect()
    # Else memory that was freed, but kept, would hide what is asked for anew.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    # Linux: Documentation/filesystems/proc.rst; 5 resets the high-water mark.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmHWM")
    work()
    return max(0, _status("VmHWM") - before)


class Run(NamedTuple):
    """Buckets or groups side by side."""

    address: int
    units: int
    first: gdb.Value
    """A pointer to the first, typed."""


class Storage:
    """Where a map's buckets are, found with gdb's own means."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        header = gdb.parse_and_eval(expression).dereference()
        names = {field.name for field in header.type.strip_typedefs().fields()}
        self.swiss = "dirPtr" in names
        self.runs = list(self._tables(header) if self.swiss else self._array(header))
        self.unit = self.runs[0].first.dereference().type.sizeof
        self.count = sum(run.units for run in self.runs)
        first = self.runs[0].first.dereference()
        key = first["slots"][0]["key"] if self.swiss else first["keys"][0]
        self.key_size = key.type.sizeof

    def _array(self, header: gdb.Value) -> Iterator[Run]:
        """The main buckets and behind them the overflow buckets, as far as they are in use."""
        first = header["buckets"]
        count = 1 << int(header["B"])
        overflow = json.loads(run(f"go-map-stats -json {self.expression}"))["buckets"]
        made = count + count // 16 if count > 8 else count
        yield Run(int(first), min(made, count + overflow["overflow"]), first)

    def _tables(self, header: gdb.Value) -> Iterator[Run]:
        directory, length = header["dirPtr"], int(header["dirLen"])
        if length == 0:
            raise ValueError("a map of one group is no subject")
        size = directory.dereference().type.sizeof
        raw = bytes(INFERIOR.read_memory(int(directory), length * size))
        previous = 0
        for index, (address,) in enumerate(struct.iter_unpack("<Q", raw)):
            if address != previous:
                groups = directory[index].dereference()["groups"]
                data = groups["data"]
                yield Run(int(data), int(groups["lengthMask"]) + 1, data)
            previous = address

    def pieces(self) -> list[tuple[int, int]]:
        """The runs, each in reads of 1 MiB."""
        found = []
        for address, count, _ in self.runs:
            end = address + count * self.unit
            found += [(at, min(BLOCK, end - at)) for at in range(address, end, BLOCK)]
        return found

    def merged(self) -> list[tuple[int, int]]:
        """Reads of up to 1 MiB, near runs taken together: the fewest calls."""
        found: list[tuple[int, int]] = []
        for address, size in sorted(self.pieces()):
            if found:
                start, length = found[-1]
                end = address + size
                if address - start - length <= GAP and end - start <= BLOCK:
                    found[-1] = (start, end - start)
                    continue
            found.append((address, size))
        return found

    def sample(self) -> list[tuple[gdb.Value, int, int]]:
        """Evenly spread buckets: pointer to the first of the run, position, address."""
        step = max(1, self.count // SAMPLE)
        found = []
        at = 0
        for address, count, first in self.runs:
            found += [
                (first, index, address + index * self.unit)
                for index in range(-at % step, count, step)
            ]
            at += count
        return found


def read_all(pieces: list[tuple[int, int]]) -> None:
    read = INFERIOR.read_memory
    for address, size in pieces:
        read(address, size)


def value_loop(storage: Storage, sample: list[tuple[gdb.Value, int, int]]) -> list[int]:
    """What one writes first: each bucket as a typed value, its eight states looked at."""
    live = empty = 0
    for first, index, _ in sample:
        bucket = first[index]
        if storage.swiss:
            ctrl = int(bucket["ctrl"])
            states = [ctrl >> (8 * slot) & 0x80 == 0 for slot in range(8)]
        else:
            bucket.fetch_lazy()
            tophash = bucket["tophash"]
            states = [int(tophash[slot]) >= 5 for slot in range(8)]
            int(bucket["overflow"])
        live += sum(states)
        empty += not any(states)
    return [live, empty]


def execute_loop(sample: list[tuple[gdb.Value, int, int]]) -> list[int]:
    """One examine command a bucket."""
    live = empty = 0
    for _, _, address in sample:
        word = int(gdb.execute(f"x/1gx {address:#x}", to_string=True).split()[-1], 16)
        live += word != 0
        empty += word == 0
    return [live, empty]


def read_loop(sample: list[tuple[gdb.Value, int, int]]) -> list[int]:
    """One small read a bucket."""
    read = INFERIOR.read_memory
    live = empty = 0
    for _, _, address in sample:
        word = bytes(read(address, 8))
        live += word.count(0) < 8
        empty += word.count(0) == 8
    return [live, empty]


def entries_loop(storage: Storage, limit: int) -> str:
    """Good Python: large reads, ``struct``, one formatted line an entry; a read a string."""
    read = INFERIOR.read_memory
    lines = []
    size, unit = storage.key_size, storage.unit
    stride = size + 8 if storage.swiss else size
    for address, count, _ in storage.runs:
        per_read = BLOCK // unit
        for first in range(0, count, per_read):
            taken = min(per_read, count - first)
            block = bytes(read(address + first * unit, taken * unit))
            for at in range(0, taken * unit, unit):
                for slot in range(8):
                    state = block[at + slot]
                    if state >= 0x80 if storage.swiss else state < 5:
                        continue
                    where = at + 8 + slot * stride
                    if storage.swiss:
                        elem = struct.unpack_from("<q", block, where + size)[0]
                    else:
                        elem = struct.unpack_from("<q", block, at + 8 + 8 * size + slot * 8)[0]
                    if size == 8:
                        key = str(struct.unpack_from("<q", block, where)[0])
                    else:
                        data, length = struct.unpack_from("<QQ", block, where)
                        key = json.dumps(bytes(read(data, length)).decode())
                    lines.append(f"{key}: {elem}")
                    if len(lines) >= limit:
                        return "\n".join(lines)
    return "\n".join(lines)


def measure(name: str, where: str) -> None:
    """All rows of one map at this stop."""
    expression = f"main.{name}"
    value = gdb.parse_and_eval(expression)
    command = f"go-map-stats -json {expression}"
    rise = peak(lambda: run(command))
    stats = json.loads(run(command))
    size = stats["len"]
    if not stats["exact"]:
        raise gdb.GdbError(f"{expression} at {size}: not exact: {stats['defects']}")
    if size == 0:
        return
    storage = Storage(expression)
    label = f"{where}, {PLAN['label']} {value.type}"
    merged = storage.merged()
    pieces = storage.pieces()
    sides: list[Callable[[], object]] = [lambda: run(command), lambda: read_all(merged)]
    if storage.swiss:
        sides.append(lambda: read_all(pieces))
    times = best(5, *sides)
    ours = times[0]
    row(f"go-map-stats, {label}", size, ours, "gdb reads it in 1 MiB blocks", times[1], rise)
    if storage.swiss:
        peer = "gdb reads it table by table"
        row(f"go-map-stats, {label}", size, ours, peer, times[2])
    if where != "live":
        return

    sample = storage.sample()
    scale = storage.count / len(sample)
    loops: list[tuple[str, Callable[[], object]]] = [
        ("gdb.Value a bucket", lambda: value_loop(storage, sample)),
        ("gdb.execute x/1gx a bucket", lambda: execute_loop(sample)),
        ("read_memory of 8 a bucket", lambda: read_loop(sample)),
    ]
    measured = f"all {storage.count:,}"
    if scale != 1:
        measured = f"{len(sample):,} of {storage.count:,}, scaled"
    for (peer, _), taken in zip(loops, best(3, *(loop for _, loop in loops))):
        peer = f"{peer}: {measured}"
        row(f"go-map-stats, {label}", size, ours, peer, taken * scale)

    listed = min(ENTRIES, size)
    text = f"go-map-entries -limit {ENTRIES} {expression}"
    ours, theirs = best(2, lambda: run(text), lambda: entries_loop(storage, listed))
    peer = "Python: large reads, struct, f-strings"
    row(f"go-map-entries, {listed:,} listed, {label}", size, ours, peer, theirs)

    heat = f"go-map-buckets -heat {expression}"
    ours, theirs = best(3, lambda: run(heat), lambda: read_all(merged))
    row(f"go-map-buckets -heat, {label}", size, ours, "gdb reads it in 1 MiB blocks", theirs)


def stops() -> Iterator[int]:
    """Run the program; the sizes it stops at."""
    # Leaving a breakpoint by a copy of its instruction can corrupt a Go program.
    gdb.execute("set displaced-stepping off")
    gdb.execute("break main.stop", to_string=True)
    command = f"run {' '.join(PLAN['sizes'])} > /dev/null"
    wanted = int(PLAN["sizes"][-1].split(":")[-1])
    last = 0
    while True:
        said = gdb.execute(command, to_string=True)
        command = "continue"
        if not INFERIOR.threads():
            if last != wanted:
                raise gdb.GdbError(f"the program ended after {last} of {wanted}: {said}")
            return
        if "main.stop" not in str(gdb.selected_frame().name()):
            raise gdb.GdbError(f"the program stopped after {last} of {wanted}: {said}")
        size = int(gdb.selected_frame().read_var("size"))
        # A signal on the way makes gdb report the same stop again.
        if size != last:
            yield size
        last = size


def live() -> None:
    """Stop by stop."""
    times: list[float] = []

    def first() -> None:
        times.append(seconds(lambda: run("go-map-stats main.Ints")))

    for size in stops():
        if not times:
            rise = peak(first)
            row(f"first command of a session, {PLAN['label']}", size, times[0], peak=rise)
        for name in ("Ints", "Strings"):
            measure(name, "live")
        if size == PLAN.get("core_size"):
            gdb.execute(f"gcore {PLAN['core']}", to_string=True)


def core() -> None:
    """A core file."""
    for name in ("Ints", "Strings"):
        measure(name, "core file")
    theirs = PLAN.get("delve")
    if theirs:
        count = PLAN["delve_entries"]
        command = f"go-map-entries -json -limit {count} main.Ints"
        rise = peak(lambda: run(command))
        (ours,) = best(3, lambda: run(command))
        mebibytes = theirs["peak_bytes"] / (1 << 20)
        peer = f"Delve {theirs['version']}, whose memory grows by {mebibytes:,.0f} MiB"
        name = f"go-map-entries -json, core file, {PLAN['label']} map[int64]int64"
        row(name, count, ours, peer, theirs["seconds"], rise)


def printer() -> None:
    """Go's own pretty-printers."""
    gdb.execute("set print elements unlimited")
    gdb.execute("set max-value-size unlimited")
    gdb.execute(f"source {PLAN['printer']}", to_string=True)
    printed: list[str] = []

    def peer() -> None:
        try:
            printed.append(gdb.execute("print main.Ints", to_string=True))
        except gdb.error as error:
            printed.append(str(error))

    for size in stops():
        ours, theirs = best(2, lambda: run("go-map-entries -all main.Ints"), peer)
        shown = printed[-1].count("] = ")
        name = f"go-map-entries, all listed, live, {PLAN['label']} map[int64]int64"
        row(name, size, ours, f"Go's runtime-gdb.py, prints {shown:,}", theirs)


def ring() -> None:
    """The flight recorder's ring."""
    for _ in stops():
        document = json.loads(run("go-map-ring -json -limit 1"))
        found = document["ring"]
        start, length = int(found["address"], 16), found["entries"] * found["entry_size"]
        pieces = [(start + at, min(BLOCK, length - at)) for at in range(0, length, BLOCK)]
        rise = peak(lambda: run("go-map-ring"))
        ours, theirs = best(5, lambda: run("go-map-ring"), partial(read_all, pieces))
        name = f"go-map-ring, live, {PLAN['label']}"
        row(name, document["kept"], ours, "gdb reads the ring in 1 MiB blocks", theirs, rise)


{"live": live, "core": core, "printer": printer, "ring": ring}[PLAN["mode"]]()
Path(PLAN["done"]).touch()
