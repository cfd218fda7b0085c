"""``make bench``: what the plugin's work costs, as ratios to what it is compared with.

In one run: walks in memory against memcpy (crate/core/examples/speed.rs), the commands in a gdb
on live Go programs and core files against gdb's own ways to the same bytes, Go's printers and
Delve, scans for all maps of a core against reading the file, readers of files against Go's tools,
and what the flight recorder and traces cost a program.  The two sides of a ratio take turns on the
same process, and the best of each counts; nothing is asserted.  In gdb and of readers it is
processor time, which a busy machine changes least.  Where there is a valgrind, the instructions
that decoders take are counted, too: these are the same on a busy machine.

Prints one table and writes ``target/bench.json``.  Sizes end at ``BENCH_MAX`` entries (default
10,000,000; 100,000,000 takes 10 GB of memory; 1e5 is done in minutes).  ``BENCH_README=1`` puts
the rows that tell most between the marks in README.md.  ``GDB`` names the gdb, as everywhere.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import delve  # noqa: E402
import instructions  # noqa: E402
import readers  # noqa: E402
import recorder  # noqa: E402
import ringtool  # noqa: E402
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
#: Delve takes about 50 us and several kB for each.
DELVE_ENTRIES = 100_000
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
    found = [size for size in SIZES if size <= most()] or [most()]
    if HUGE in found and available_memory() < HUGE_NEEDS:
        say(f"{HUGE:,} entries left out: that takes {HUGE_NEEDS >> 30} GiB of memory")
        found.remove(HUGE)
    return found


def target_dir() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")


def most() -> int:
    return int(float(os.environ.get("BENCH_MAX", "1e7")))


def in_memory(program: Path) -> list[Row]:
    """Rows of the Rust benchmark."""
    say("walks in memory")
    done = subprocess.run(
        [program, str(min(most(), 10_000_000))], stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


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
    core_size: Optional[int] = min(CORE_SIZE, wanted[-1])
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
        theirs = delve.entries(program, core, "main.Ints", min(DELVE_ENTRIES, core_size))
        if theirs is None:
            say("Delve left out: there is no dlv")
        elif theirs.why:
            say(f"Delve {theirs.version} left out of Go {version}: {theirs.why}")
        rows += in_gdb(
            folder,
            [*load, f"core-file {core}"],
            mode="core",
            label=label,
            delve=theirs and not theirs.why and theirs._asdict(),
            delve_entries=min(DELVE_ENTRIES, core_size),
        )
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


def ring(version: str, family: str, folder: Path) -> list[Row]:
    """Rows of the flight recorder's ring, read from a live process."""
    say(f"Go {version}: the flight recorder's ring")
    flag = f"-overlay={ringtool.overlay(version)}"
    program = toolchains.build(HERE.parent / "go" / "bench", version, flags=[flag])
    sizes = [str(size) for size in SIZES if size <= min(most(), CORE_SIZE)] or [str(most())]
    label = f"{family} go{version}"
    return in_gdb(folder, [f"file {program}"], mode="ring", label=label, sizes=sizes[-1:])


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
    size = min(SCAN_BYTES_MAX, most() * SCAN_BYTES)
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


class Shown(NamedTuple):
    """Rows of the README: those of the largest size whose name and peer match."""

    name: str
    peer: str
    tells: str


SHOWN = (
    Shown("walk in memory, count", "memcpy", "the limit of decoding"),
    Shown("go-map-stats, live", "gdb reads it in 1 MiB", "the limit of a command in gdb"),
    Shown("go-map-stats, core", "gdb reads it in 1 MiB", ""),
    Shown("go-map-stats, live", "x/1gx", ""),
    Shown("go-map-stats, live", "gdb.Value", ""),
    Shown("go-map-entries, .* listed, live", "Python", ""),
    Shown("go-map-entries, all", "runtime-gdb.py", "Go's own pretty-printer"),
    Shown("go-map-entries", "Delve", "asked by JSON-RPC"),
    Shown("scan of a core", "", "the limit of looking at all of them"),
    Shown("go-map-ring", "", ""),
    Shown("gomapscope (events|trace|pprof)", "json.loads|go tool", ""),
    Shown("flight recorder \\(ring\\)", "", "what recording costs"),
    Shown("growth traced", "", "what tracing costs"),
)
#: What else is in a peer's name: how much of a map it looked at, and what came of it.
SAMPLED = re.compile(r": (all|[\d,]+ of) .*|, prints [\d,]+$")
#: What a row's name says of the program.
VARIANT = re.compile(r"\b(classic|swiss)( go[\d.]+)?( map\[\w+\]\w+)?|\b\d+\.\d+(\.\d+)?$")
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"


def readme(rows: Sequence[Row]) -> str:
    """The README's table: a line for each comparison, with the ratios of all programs."""
    lines = ["| what | size | compared with | ours / theirs | memory |", "|---|--:|---|---|--:|"]
    for shown in SHOWN:
        # By what is done and with what it is compared; of each program the largest size.
        found: dict[tuple[str, str], dict[str, Row]] = {}
        for row in rows:
            if row["peer_s"] is None or not re.search(shown.name, row["name"]):
                continue
            if not re.search(shown.peer, row["peer"]):
                continue
            variant = VARIANT.search(row["name"])
            # Another size lists another number of entries.
            what = re.sub(r" ?[\d,]+ listed,?", "", VARIANT.sub("", row["name"]))
            what = re.sub(r"(, )+", ", ", what).strip(" ,")
            of_program = found.setdefault((what, SAMPLED.sub("", row["peer"])), {})
            program = variant[0] if variant else ""
            if program not in of_program or of_program[program]["size"] <= row["size"]:
                of_program[program] = row
        for (what, peer), programs in found.items():
            size = max(row["size"] for row in programs.values())
            ratios = ", ".join(
                f"{program} {ratio(row['ratio'])}".strip() for program, row in programs.items()
            )
            peaks = [row["peak_bytes"] for row in programs.values() if row["peak_bytes"]]
            cells = (
                what,
                f"{size:,}" if size > 1 else "",
                f"{peer}: {shown.tells}" if shown.tells else peer,
                ratios,
                f"{max(peaks) / (1 << 20):.1f} MiB" if peaks else "",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_readme(rows: Sequence[Row]) -> None:
    """Puts the table between the marks."""
    path = ROOT / "README.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md has no {BEGIN} and {END}")
    where = f"gdb {gdb_version()}, {os.cpu_count()} processors, {platform.machine()}"
    told = "Memory is how far gdb's grows; of commands on files, all that the process has."
    text = f"{begin}\n{where}. {told}\n\n{readme(rows)}\n{end}"
    path.write_text(before + text + after, encoding="utf-8")


def gdb_version() -> str:
    line = subprocess.run(
        [os.environ.get("GDB", "gdb"), "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    return line.split()[-1]


def goals(rows: Sequence[Row]) -> str:
    """What the figures are measured against, at the largest size."""
    largest = max(row["size"] for row in rows if row["name"].startswith("go-map-stats, live"))
    text = [f"Goals, at {largest:,} entries:"]
    for row in rows:
        if row["size"] != largest or not row["name"].startswith("go-map-stats, live"):
            continue
        what = row["name"].removeprefix("go-map-stats, live, ")
        if "1 MiB" in row["peer"]:
            factor = f"{row['ratio']:6.2f}  of gdb's own reading"
            text.append(f"{'  ' + factor:<40}  {what} (at most 1.5)")
        for loop in ("gdb.Value", "gdb.execute"):
            if loop in row["peer"]:
                factor = f"{1 / row['ratio']:6.0f}  times as fast as {loop}"
                text.append(f"{'  ' + factor:<40}  {what} (at least 200)")
    for row in rows:
        found = re.fullmatch(r"go-map-entries, ([\d,]+) listed, live, (.*)", row["name"])
        if found and row["size"] == largest:
            rate = int(found[1].replace(",", "")) / row["ours_s"] / 1e6
            factor = f"{rate:6.2f}  million entries listed a second"
            text.append(f"{'  ' + factor:<40}  {found[2]} (at least 5)")
    return "\n".join(text)


def main() -> int:
    started = time.monotonic()
    say("build")
    speed = instructions.build()
    rows = in_memory(speed)
    counted = {}
    if shutil.which("valgrind"):
        say("instructions")
        counted = instructions.measure(speed)
    say("files")
    rows += readers.rows(speed, most())
    with tempfile.TemporaryDirectory(prefix="gomapscope-bench-") as scratch:
        for version, family in LABELS:
            rows += measure(version, family, Path(scratch))
            rows += scans(version, family, Path(scratch))
            rows += ring(version, family, Path(scratch))
    say("programs with a flight recorder, and traced ones")
    for version, _ in LABELS:
        rows += recorder.rows(version)
        rows += tracing.rows(version)
    found = target_dir() / "bench.json"
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text(
        json.dumps({"rows": rows, "instructions": counted}, indent=1) + "\n", encoding="utf-8"
    )
    print(table(rows))
    print(goals(rows))
    if counted:
        each = ", ".join(f"{what} {value:.1f}" for what, value in counted.items())
        print(f"Instructions a slot, event or sample: {each}")
    if os.environ.get("BENCH_README"):
        write_readme(rows)
    load = os.getloadavg()[0]
    spent = time.monotonic() - started
    print(f"{spent:.0f} s, {os.cpu_count()} processors, load {load:.1f}; written to {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
