"""``make bench``: what the plugin's work costs, as ratios to what it is compared with.

In one run: walks in memory against memcpy (crate/core/benches/walk.rs), and the commands in a gdb
on live Go programs and core files against gdb's own ways to the same bytes, and scans for all maps
of a core against reading the file.  The two sides of a ratio take turns on the same process, and
the best time of each counts; nothing is asserted.  Where there is a valgrind, the instructions that
a walk takes for each slot are counted, too: these are the same on a busy machine.

Prints one table and writes ``target/bench.json``.  Sizes end at ``BENCH_MAX`` entries (default
10,000,000; 100,000,000 takes 10 GB of memory).  ``GDB`` names the gdb, as everywhere.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import recorder  # noqa: E402
import tracing  # noqa: E402

import gdbtool  # noqa: E402
import toolchains  # noqa: E402

Row = dict[str, Any]

#: One toolchain of each family.
LABELS = (("1.23.9", "classic"), ("1.27.3", "swiss"))
SIZES = (1_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
#: Go's printers take quadratic time.
PRINTER_SIZES = (1_000, 10_000)
CORE_SIZE = 1_000_000
COUNTED_SIZE = 100_000
HUGE = 100_000_000
HUGE_NEEDS = 10 << 30
CORE_NEEDS = 6 << 30
#: Maps, and bytes of the heap for each entry of BENCH_MAX up to the most: a heap of 1 GB at 1e7.
SCAN_MAPS = 100_000
SCAN_BYTES = 100
SCAN_BYTES_MAX = 1_000_000_000
SCAN_ROUNDS = 3
BLOCK = 1 << 20


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def available_memory() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def sizes() -> list[int]:
    """What to measure on this machine."""
    most = int(float(os.environ.get("BENCH_MAX", "1e7")))
    found = [size for size in SIZES if size <= most] or [most]
    if HUGE in found and available_memory() < HUGE_NEEDS:
        say(f"{HUGE:,} entries left out: that takes {HUGE_NEEDS >> 30} GiB of memory")
        found.remove(HUGE)
    return found


def target_dir() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")


def rust_bench() -> Path:
    """The Rust benchmark, built."""
    say("build")
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--locked", "--no-run"]
    command = [*cargo, "-p", "gomapscope-core", "--bench", "walk", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    return Path(next(executable for executable in built if executable))


def in_memory(program: Path) -> list[Row]:
    """Rows of the Rust benchmark."""
    say("walks in memory")
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def instructions(program: Path) -> list[Row]:
    """Instructions a slot of each walk, as callgrind counts them."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return []
    say("instructions")
    line = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    line += ["--toggle-collect=gomapscope_core::map::walk*", str(program), "once"]
    found = []
    for family in ("classic", "swiss"):
        for way in ("count", "ordered", "entries"):
            done = subprocess.run(
                [*line, family, way, str(COUNTED_SIZE)],
                capture_output=True,
                text=True,
                check=True,
            )
            counted = re.search(r"Collected : (\d+)", done.stderr)
            if counted:
                per_slot = int(counted[1]) / int(done.stdout)
                found.append(
                    {"name": f"{family} {way}", "size": COUNTED_SIZE, "per_slot": per_slot}
                )
    return found


def in_gdb(folder: Path, before: Sequence[str], **plan: Any) -> list[Row]:
    """Rows of one gdb session."""
    out, end = folder / "rows.jsonl", folder / "done"
    plan.update(out=str(out), done=str(end))
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    line = gdbtool.command_line(before, [f"source {HERE / 'in_gdb.py'}"])
    for again in (True, False):
        out.write_text("", encoding="utf-8")
        end.unlink(missing_ok=True)
        done = subprocess.run(
            line,
            env={**os.environ, "BENCH_PLAN": str(folder / "plan.json")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if end.exists():
            break
        # Something else on the machine may have ended it: once more, not in silence.
        say(done.stdout[-2000:])
        status = f"mode {plan['mode']} of {plan['label']}, exit status {done.returncode}"
        if not again:
            raise SystemExit(f"gdb failed: {status}")
        say(f"gdb failed, once more: {status}")
    return [json.loads(row) for row in out.read_text(encoding="utf-8").splitlines()]


def measure(version: str, family: str, folder: Path) -> list[Row]:
    """All rows of one toolchain."""
    say(f"Go {version}: build")
    program = toolchains.build(HERE.parent / "go" / "bench", version)
    label = f"{family} go{version}"
    load = [f"file {program}"]
    wanted = sizes()
    core_size: Optional[int] = CORE_SIZE if CORE_SIZE in wanted else None
    if core_size is not None and shutil.disk_usage(folder).free < CORE_NEEDS:
        say(f"core files left out: less than {CORE_NEEDS >> 30} GiB free in {folder.parent}")
        core_size = None
    core = folder / "bench.core"
    arguments = [f"i:{size}" if size >= HUGE else str(size) for size in wanted]
    say(f"Go {version}: live, up to {wanted[-1]:,} entries")
    rows = in_gdb(
        folder,
        load,
        mode="live",
        label=label,
        sizes=arguments,
        core=str(core),
        core_size=core_size,
    )
    if core_size is not None:
        say(f"Go {version}: core file of {core.stat().st_size >> 20:,} MiB")
        rows += in_gdb(folder, [*load, f"core-file {core}"], mode="core", label=label)
        core.unlink()
    say(f"Go {version}: Go's own printers")
    printer = toolchains.ensure(version).parent.parent / "src" / "runtime" / "runtime-gdb.py"
    rows += in_gdb(
        folder,
        load,
        mode="printer",
        label=label,
        sizes=[str(size) for size in PRINTER_SIZES],
        printer=str(printer),
    )
    return rows


def heapdump() -> Path:
    """The example that scans a core, built."""
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--release", "--quiet", "--locked"]
    command = [*cargo, "-p", "gomapscope-core", "--example", "heapdump"]
    done = subprocess.run(
        [*command, "--message-format=json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    return Path(next(executable for executable in built if executable))


def reading(path: Path) -> float:
    """Seconds to read a file, 1 MiB at a time."""
    block = bytearray(BLOCK)
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass
    return time.perf_counter() - started


def big_core(program: Path, folder: Path, maps: int, size: int) -> Path:
    """The core of a large heap."""

    def allow_core() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    subprocess.run(
        [program, str(maps), str(size), "crash"],
        cwd=folder,
        env={**os.environ, "GOTRACEBACK": "crash"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=allow_core,
        check=False,
    )
    (core,) = folder.glob("core*")
    return core


def scans(version: str, family: str, folder: Path) -> list[Row]:
    """Rows of scans for all maps of a large heap, by the library alone."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    size = min(SCAN_BYTES_MAX, int(float(os.environ.get("BENCH_MAX", "1e7"))) * SCAN_BYTES)
    if pattern.startswith("|") or "/" in pattern or shutil.disk_usage(folder).free < CORE_NEEDS:
        say("scans left out: no core files here, or no room for them")
        return []
    maps = max(100, SCAN_MAPS * size // SCAN_BYTES_MAX)
    scanner = heapdump()
    program = toolchains.build(HERE.parent / "go" / "bigheap", version)
    say(f"Go {version}: scan of {maps:,} maps in {size >> 20:,} MiB")
    core = big_core(program, folder, maps, size)
    options = (("find and mark", ["--no-types"]), ("with types", []))
    ours = {name: float("inf") for name, _ in options}
    peaks = dict.fromkeys(ours, 0)
    theirs, found = float("inf"), 0
    for _ in range(SCAN_ROUNDS):
        theirs = min(theirs, reading(core))
        for name, more in options:
            done = subprocess.run(
                [scanner, core, program, "--totals", *more],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            answer = json.loads(done.stdout)
            # The first phase is what goes before.
            spent = sum(phase["seconds"] for phase in answer["phases"][1:])
            ours[name] = min(ours[name], spent)
            peaks[name] = max(peaks[name], answer["peak"] - answer["peak_before"])
            found = answer["totals"]["maps"]
    core.unlink()
    return [
        {
            "name": f"scan of a core, {family} go{version}, {name}",
            "size": found,
            "ours_s": ours[name],
            "peer": "the core's bytes, 1 MiB reads",
            "peer_s": theirs,
            "ratio": ours[name] / theirs,
            "peak_bytes": peaks[name],
        }
        for name, _ in options
    ]


def duration(value: Optional[float]) -> str:
    """Three digits and a unit."""
    if value is None:
        return ""
    unit, scaled = next(
        (unit, value * factor)
        for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6))
        if value * factor >= 1 or unit == "us"
    )
    decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:,.{decimals}f} {unit}"


def ratio(value: Optional[float]) -> str:
    """Ours to theirs: how many times as long, or one part in how many."""
    if value is None:
        return ""
    return f"{value:.2f}" if value >= 0.1 else f"1/{1 / value:,.0f}"


def table(rows: Sequence[Row]) -> str:
    """All rows, aligned; Markdown, so that it can be quoted."""
    head = ("what", "entries", "ours", "compared with", "theirs", "ours / theirs", "peak memory")
    cells = [
        (
            row["name"],
            f"{row['size']:,}",
            duration(row["ours_s"]),
            row["peer"],
            duration(row["peer_s"]),
            ratio(row["ratio"]),
            "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / (1 << 20):.1f} MiB",
        )
        for row in rows
    ]
    width = [max(len(line[index]) for line in [head, *cells]) for index in range(len(head))]
    left = {0, 3}

    def line(parts: Sequence[str]) -> str:
        padded = [
            part.ljust(size) if index in left else part.rjust(size)
            for index, (part, size) in enumerate(zip(parts, width))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * size if index in left else "-" * (size - 1) + ":" for index, size in enumerate(width)
    ]
    return "\n".join([line(head), line(rule), *map(line, cells)])


def goals(rows: Sequence[Row]) -> str:
    """What the figures are measured against, at the largest size."""
    most = max(row["size"] for row in rows if row["name"].startswith("go-map-stats, live"))
    text = [f"Goals, at {most:,} entries:"]
    for row in rows:
        if row["size"] != most or not row["name"].startswith("go-map-stats, live"):
            continue
        what = row["name"].removeprefix("go-map-stats, live, ")
        if "1 MiB" in row["peer"]:
            factor = f"{row['ratio']:6.2f}  of gdb's own reading"
            text.append(f"{'  ' + factor:<40}  {what} (at most 2)")
        for loop in ("gdb.Value", "gdb.execute"):
            if loop in row["peer"]:
                factor = f"{1 / row['ratio']:6.0f}  times as fast as {loop}"
                text.append(f"{'  ' + factor:<40}  {what} (at least 200)")
    return "\n".join(text)


def main() -> int:
    started = time.monotonic()
    walk = rust_bench()
    rows = in_memory(walk)
    counted = instructions(walk)
    with tempfile.TemporaryDirectory(prefix="gomapscope-bench-") as scratch:
        for version, family in LABELS:
            rows += measure(version, family, Path(scratch))
            rows += scans(version, family, Path(scratch))
    found = target_dir() / "bench.json"
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text(
        json.dumps({"rows": rows, "instructions": counted}, indent=1) + "\n", encoding="utf-8"
    )
    print(table(rows))
    print(goals(rows))
    if counted:
        each = ", ".join(f"{one['name']} {one['per_slot']:.1f}" for one in counted)
        print(f"Instructions a slot, {COUNTED_SIZE:,} entries in memory: {each}")
    for version, _ in LABELS:
        print(recorder.report(version))
        print(tracing.report(version))
    load = os.getloadavg()[0]
    spent = time.monotonic() - started
    print(f"{spent:.0f} s, {os.cpu_count()} processors, load {load:.1f}; written to {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
