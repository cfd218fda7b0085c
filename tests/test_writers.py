"""``go-map-writers`` against programs that share a map until Go's runtime ends them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import gdbtool
import toolchains

RACING = Path(__file__).parent / "go" / "racing"
OPERATIONS = Path(__file__).parent / "go" / "operations"
FLAVOURS: dict[str, tuple[str, ...]] = {
    "symbols": (),
    "unoptimized": ("-gcflags=all=-N -l",),
    "stripped": ("-ldflags=-s -w",),
    "nodwarf": ("-ldflags=-w",),
}
KINDS = ("int", "string", "struct", "int32", "pointer")
MODES = ("write", "read", "delete", "iterate", "clear", "clone", "reflect")
#: All releases optimized, with and without symbols; both families of those that have two.
BUILDS = [
    *((version, flavour) for version in toolchains.VERSIONS for flavour in ("symbols", "stripped")),
    *((version, "unoptimized") for version in ("1.21.13", "1.24.11", "1.27.3")),
    ("1.24.11-noswissmap", "symbols"),
    ("1.25.5-noswissmap", "stripped"),
]


class Crash(NamedTuple):
    """What a program left that died of sharing a map."""

    core: Path
    program: Path
    truth: list[dict[str, Any]]
    stderr: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.truth if row["kind"] == kind]

    @property
    def target(self) -> int:
        (row,) = self.of("target")
        return int(row["address"])

    @property
    def racers(self) -> dict[int, dict[str, Any]]:
        return {row["id"]: row for row in self.of("racer")}

    @property
    def message(self) -> str:
        found = re.search(r"^fatal error: (.*)$", self.stderr, re.MULTILINE)
        assert found, self.stderr[-2000:]
        return found[1]


def crash(label: str, flavour: str, kind: str, mode: str, folder: Path) -> Crash:
    """Let the fixture race until it dies of it.

    A race may also corrupt the map so that something else ends the process first.
    """
    cores.need_kernel_cores()
    program = toolchains.build(RACING, label, flags=FLAVOURS[flavour])
    path = folder / "truth.jsonl"
    for _ in range(8):
        for old in folder.glob("core*"):
            old.unlink()
        done = subprocess.run(
            [program, kind, mode, path],
            cwd=folder,
            env=cores.environment(),
            stdin=subprocess.DEVNULL,
            preexec_fn=cores.allow_core,
            capture_output=True,
            timeout=gdbtool.TIMEOUT,
            check=False,
        )
        stderr = done.stderr.decode("utf-8", "replace")
        found = list(folder.glob("core*"))
        if re.search(r"^fatal error: .*concurrent map", stderr, re.MULTILINE) and found:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            return Crash(found[0], program, rows, stderr)
    raise AssertionError(stderr[-2000:])


def console(crashed: Crash, *words: str) -> subprocess.CompletedProcess[str]:
    """The console script's answer."""
    command = [sys.executable, "-m", "gomapscope", "writers", "-core", str(crashed.core)]
    return subprocess.run(
        [*command, "-exe", str(crashed.program), *words],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )


def plain(name: str) -> str:
    """A function as runtime.CallersFrames names it."""
    return re.sub(r"\[.*\]", "[...]", name)


def goroutine_stacks(stderr: str) -> dict[int, list[tuple[str, int]]]:
    """Functions and lines of the goroutines in Go's own traceback."""
    found = {}
    for match in re.finditer(r"^goroutine (\d+) .*\[.*\]:\n((?:.+\n)+)", stderr, re.MULTILINE):
        frames = re.findall(r"^(\S[^\n]*)\((?:[^\n]*)\)\n\t[^\n]*:(\d+)", match[2], re.MULTILINE)
        found[int(match[1])] = [(plain(name), int(line)) for name, line in frames]
    return found


def check(crashed: Crash, found: dict[str, Any]) -> None:
    """What is told of a crash is true; what must be told is."""
    assert found["schema"] == "gomapscope.writers/1"
    fatal, racers = found["fatal"], crashed.racers
    assert fatal["message"] == crashed.message
    # Go prints the goroutine that found it first.
    first = re.search(r"^goroutine (\d+) ", crashed.stderr, re.MULTILINE)
    assert first
    assert int(first[1]) in fatal["detected_by"]
    for group in ("detected_by", "others"):
        assert set(fatal[group]) <= set(racers), group
    assert int(fatal["map"]["address"], 16) == crashed.target
    assert fatal["map"]["evidence"] in ("exact", "strong")
    operations = {row["goroutine"]: row for row in found["operations"]}
    decoys = {row["id"]: set[int]() for row in crashed.of("decoy")}
    for row in crashed.of("decoy"):
        decoys[row["id"]].add(row["address"])
    for goroutine, row in operations.items():
        caller = row["frames"][row["caller"]]
        address = int(row["map"]["address"], 16) if "map" in row else None
        if goroutine in racers:
            assert plain(caller["function"]) == racers[goroutine]["function"]
            assert row["operation"] == racers[goroutine]["does"]
            assert address in (None, crashed.target)
            assert row.get("type") in (None, crashed.of("target")[0]["type"])
        elif address is not None:
            assert address in decoys[goroutine]
    # The finder's frames, as Go has them.
    finder = operations[int(first[1])]
    assert finder["detected"]
    truth = goroutine_stacks(crashed.stderr)[int(first[1])]
    mine = [(plain(frame["function"]), frame["line"]) for frame in finder["frames"]]
    main = [frame for frame in truth if frame[0].startswith("main.")]
    assert main
    assert [frame for frame in mine if frame[0].startswith("main.")] == main
    # Whom Go's own traceback shows in a map's function is named.
    named = {*fatal["detected_by"], *fatal["others"], *fatal["perhaps"]}
    for goroutine, frames in goroutine_stacks(crashed.stderr).items():
        inside = any(re.match(r"runtime\.map|internal/runtime/maps\.", name) for name, _ in frames)
        assert goroutine in named or not (inside and goroutine in racers), fatal
    assert not set(racers) & {row["goroutine"] for row in fatal["suspects"]} & named
    assert all(row["evidence"] == "inferred" for row in fatal["suspects"])
    (described,) = (row for row in found["maps"] if int(row["address"], 16) == crashed.target)
    assert described["type"] == crashed.of("target")[0]["type"]
    assert found["unknown"] == []
    # Nobody writes a map without being seen, unless it is not told which map somebody is in.
    nobody = [row["address"] for row in found["maps"] if not row["goroutines"]]
    # A clone that was made at such a moment says of itself what its original did.
    cloned = any(racer["does"] == "clone" for racer in racers.values())
    assert not nobody or cloned or any("map" not in row for row in found["operations"])


@pytest.mark.parametrize(("label", "flavour"), BUILDS)
def test_a_crash_names_the_map_and_who_shared_it(label: str, flavour: str, tmp_path: Path) -> None:
    number = BUILDS.index((label, flavour))
    for step in range(2):
        kind = KINDS[(number + step) % len(KINDS)]
        mode = MODES[(number + 3 * step) % len(MODES)]
        crashed = crash(label, flavour, kind, mode, tmp_path)
        done = console(crashed, "-json")
        assert done.returncode == 0, done.stderr
        check(crashed, json.loads(done.stdout))


def test_the_text_answers_first(tmp_path: Path) -> None:
    crashed = crash("1.27.3", "symbols", "string", "delete", tmp_path)
    done = console(crashed)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"fatal error: {crashed.message}"
    # Both may have noticed.
    assert re.match(
        r"(Goroutine \d+ found it while it|Goroutines \d+ and \d+ found it, the first while it)"
        r" was (writing|deleting from)",
        " ".join(lines[1:3]),
    )
    assert max(map(len, lines)) <= 80
    assert "held by" in done.stdout
    assert "main.kept.(*main.shop[string]).byID" in re.sub(r"\s+", " ", done.stdout)
    assert f"{crashed.target:#x}" in done.stdout
    assert "gomapscope stats -core" in done.stdout
    quick = console(crashed, "-quick", "-limit", "1")
    assert "1 of " in quick.stdout
    assert "(-quick)" in quick.stdout


@pytest.mark.parametrize("version", ["1.22.10", "1.27.3"])
def test_gdb_tells_the_same_of_the_core_and_of_the_signal(version: str, tmp_path: Path) -> None:
    crashed = crash(version, "symbols", "int", "write", tmp_path)
    with gdbtool.Session([f"file {crashed.program}", f"core-file {crashed.core}"]) as gdb:
        check(crashed, gdb.json("go-map-writers -json"))
        status = re.sub(r"\s+", " ", gdb.text("go-map"))
        assert f"The process died of `{crashed.message}' in goroutine" in status
        assert "go-map-writers tells which map" in status
        assert gdb.json("go-map -json")["fatal"]["message"] == crashed.message
        found = gdb.python("[w.fatal.map for w in [__import__('gomapscope').writers(quick=True)]]")
        assert found == [crashed.target]

    # The same where it dies under gdb.
    truth = tmp_path / "live.jsonl"
    before = [
        f"file {crashed.program}",
        "set environment GOTRACEBACK crash",
        f"run int certain {truth} >/dev/null 2>{tmp_path / 'stderr'}",
    ]
    with gdbtool.Session(before) as gdb:
        rows = [json.loads(line) for line in truth.read_text().splitlines()]
        stderr = (tmp_path / "stderr").read_text()
        live = crashed._replace(truth=rows, stderr=stderr)
        check(live, gdb.json("go-map-writers -json"))
        assert "The process is dying of" in gdb.text("go-map")


@pytest.mark.parametrize("version", ["1.21.13", "1.24.11", "1.27.3"])
def test_a_breakpoint_at_the_fatal_error(version: str, tmp_path: Path) -> None:
    program = toolchains.build(RACING, version)
    truth = tmp_path / "truth.jsonl"
    before = [
        f"file {program}",
        "break runtime.fatal",
        f"run string certain {truth} >/dev/null 2>/dev/null",
    ]
    with gdbtool.Session(before) as gdb:
        found = gdb.json("go-map-writers -json")
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    racers = {row["id"] for row in rows if row["kind"] == "racer"}
    (target,) = (row["address"] for row in rows if row["kind"] == "target")
    fatal = found["fatal"]
    assert fatal["message"].startswith("concurrent map")
    assert set(fatal["detected_by"]) <= racers
    assert int(fatal["map"]["address"], 16) == target
    assert set(fatal["others"]) <= racers


def test_a_process_on_another_machine_is_dying_not_dead(tmp_path: Path) -> None:
    program = toolchains.build(RACING, "1.27.3")
    arguments = ("string", "certain", tmp_path / "truth.jsonl")
    with gdbtool.gdbserver_process(program, *arguments) as (_, port):
        before = [f"file {program}", f"target remote 127.0.0.1:{port}", "break runtime.fatal"]
        with gdbtool.Session(before) as gdb:
            gdb.text("continue")
            status = " ".join(gdb.text("go-map").split())
            assert "The process is dying of `concurrent map" in status
            assert "The process died" not in status
            gdb.text("kill")


@contextlib.contextmanager
def guards(program: Path, kind: str, truth: Path) -> Iterator[subprocess.Popen[str]]:
    """The fixture while nobody does wrong."""
    running = subprocess.Popen(
        [program, kind, "guard", "/dev/stdout"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert running.stdout
        lines: list[str] = []
        while sum('"guard"' in line for line in lines) < 2:
            lines.append(running.stdout.readline())
            assert lines[-1], "it ended"
        truth.write_text("".join(lines))
        yield running
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("flavour", ["symbols", "unoptimized", "stripped"])
@pytest.mark.parametrize("version", ["1.23.9", "1.27.3"])
def test_who_writes_when_a_process_is_stopped(version: str, flavour: str, tmp_path: Path) -> None:
    program = toolchains.build(RACING, version, flags=FLAVOURS[flavour])
    truth = tmp_path / "truth.jsonl"
    with (
        guards(program, "string", truth) as running,
        gdbtool.Session([f"file {program}", f"attach {running.pid}"]) as gdb,
    ):
        own: dict[int, set[int]] = {}
        for row in map(json.loads, truth.read_text().splitlines()):
            if row["kind"] == "decoy":
                own.setdefault(row["id"], set()).add(row["address"])

        def ask() -> dict[int, tuple[int, str]]:
            """Maps and evidence by goroutine: each is one of the goroutine's own."""
            found = gdb.json("go-map-writers -quick -json")
            assert "fatal" not in found
            told = {}
            for row in found["operations"]:
                assert row["goroutine"] in own, row
                if "map" in row:
                    address = int(row["map"]["address"], 16)
                    assert address in own[row["goroutine"]], row
                    assert row["type"] == "map[string]int"
                    told[row["goroutine"]] = (address, row["map"]["evidence"])
            return told

        # Wherever it was stopped.
        ask()
        gdb.text('tbreak *$_go_function("runtime.mapassign_faststr")')
        gdb.go_on()
        # Both arguments are in registers still.
        at_entry = int(gdb.text('printf "%lu", $rbx'))
        assert (at_entry, "exact") in ask().values()
        for _ in range(8):
            gdb.text("stepi 9")
            ask()
        assert re.search(
            r"(is in a map operation|are in map operations)", gdb.text("go-map-writers")
        )
        gdb.text("detach")


#: Functions that look two maps up, one behind the other.
LOOKS = ("behindString", "before", "behindFloat", "behindInterface", "behindArray")


@pytest.mark.parametrize(
    ("version", "flavour"),
    [("1.21.13", "nodwarf"), ("1.23.9", "symbols"), ("1.27.3", "symbols"), ("1.27.3", "nodwarf")],
)
def test_a_map_that_is_handed_on_is_the_right_one(version: str, flavour: str) -> None:
    program = toolchains.build(OPERATIONS, version, flags=FLAVOURS[flavour])
    with gdbtool.Session(
        [f"file {program}", "break main.stop", "run handed >/dev/null 2>&1"],
        environment={"GODEBUG": "asyncpreemptoff=1"},
    ) as gdb:
        gdb.text("delete")
        found = re.search(r"0x[0-9a-f]+", gdb.text("info address main.current"))
        assert found
        read = f"read_memory({found[0]}, 8).tobytes(), 'little')"
        read = f"int.from_bytes(gdb.selected_inferior().{read}"
        for name in LOOKS:
            gdb.text(f'tbreak *$_go_function("main.{name}")')
            gdb.go_on()
            told = 0
            for _ in range(48):
                gdb.text("stepi 3")
                rows = gdb.json("go-map-writers -quick -json")["operations"]
                current = gdb.python(read)
                for row in rows:
                    assert row["operation"] == "read"
                    assert int(row.get("map", {}).get("address", "0"), 16) in (0, current), name
                    told += "map" in row
            assert told, name


def test_an_operation_that_panicked_is_over() -> None:
    for version in ("1.22.10", "1.27.3"):
        program = toolchains.build(OPERATIONS, version)
        with gdbtool.Session(
            [f"file {program}", "break main.stop", "run panicked >/dev/null 2>&1"]
        ) as gdb:
            found = gdb.json("go-map-writers -json")
            assert found["operations"] == []
            assert found["maps"] == []
            (row,) = found["abandoned"]
            assert (row["operation"], row["status"]) == ("write", "waiting")
            assert row["frames"][row["caller"]]["function"] == "main.bad"
            assert found["searched"] is True
            assert found["racing"] is False
            text = " ".join(gdb.text("go-map-writers").split())
            assert text.startswith("No goroutine of ")
            assert "Operations that panicked, and are over" in text
            assert gdb.json("go-map-writers -quick -json")["searched"] is False


def test_nothing_in_a_core_makes_it_crash(tmp_path: Path) -> None:
    crashed = crash("1.27.3", "stripped", "int", "write", tmp_path)
    whole = crashed.core.read_bytes()
    damaged = crashed._replace(core=tmp_path / "damaged")
    chance = random.Random("writers")
    for round_, data in cores.damages(whole, chance, 12):
        damaged.core.write_bytes(data)
        done = console(damaged)
        assert not gdbtool.UGLY.search(done.stdout + done.stderr), f"round {round_}"
        assert done.returncode in (0, 1), f"round {round_}: {done.stderr}"
        assert done.returncode == 0 or done.stderr.count("\n") == 1
