"""Which lock is around a map: gomapscope contention against what the fixture measured itself."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import gdbtool
import toolchains

CONTENDED = Path(__file__).parent / "go" / "contended"
LABELS = ("1.21.13", "1.24.11", "1.27.3")
FILES = ("goroutine.pb.gz", "block.pb.gz", "mutex.pb.gz", "cpu.pb.gz", "heap.txt")
PUT = "main.(*Cache).Put"
GET = "main.(*Cache).Get"
SET = "main.(*Table).Set"
ADD = "main.(*Counter).Add"


class Specimen(NamedTuple):
    """The fixture, the directory it wrote to, and its core."""

    program: Path
    folder: Path
    core: Path

    def truth(self) -> dict[str, dict[str, int]]:
        document: dict[str, dict[str, int]] = json.loads((self.folder / "truth.json").read_text())
        return document

    def files(self, *names: str) -> list[str]:
        return [str(self.folder / name) for name in names or FILES]


Made = Callable[[str, bool], Specimen]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The fixture's run, once for each build."""

    @functools.cache
    def make(label: str, stripped: bool) -> Specimen:
        folder = tmp_path_factory.mktemp("contended")
        flags = ("-ldflags=-s -w",) if stripped else ()
        program = toolchains.build(CONTENDED, label, flags=flags)
        return Specimen(program, folder, cores.core_of([program, folder], folder))

    return make


def gomapscope(*words: str | Path, fails: bool = False) -> str:
    command = [sys.executable, "-m", "gomapscope", *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
    )
    assert (done.returncode != 0) == fails, done.stderr
    assert len(done.stderr.splitlines()) == (1 if fails else 0), done.stderr
    return done.stderr if fails else done.stdout


def contention(specimen: Specimen, *words: str) -> dict[str, Any]:
    text = gomapscope("contention", "-json", *(words or specimen.files()))
    document: dict[str, Any] = json.loads(text)
    assert document["schema"] == "gomapscope.contention/1"
    return document


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["function"]: row for row in rows}


def line_of(text: str, occurrence: int = 0) -> int:
    """The line of the fixture that has this text."""
    lines = (CONTENDED / "main.go").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if text in line][occurrence]


def guarded(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Puts the fixture's own functions to the test, and returns them."""
    rows = by_name(found["guarded"])
    # The lock with a map is named, the decoys are not: a lock without a map, a map without one.
    assert found["guarded"][0]["function"] in (PUT, GET)
    assert {PUT, GET} <= set(rows)
    assert ADD not in rows
    assert ADD in by_name(found["others"])
    assert "main.scribble" not in rows
    assert "main.scribble" not in by_name(found["others"])
    assert "main.work" not in rows
    # What locks for others is looked through.
    assert SET in rows
    assert "main.(*Table).lock" not in rows
    return rows


@pytest.mark.parametrize(
    ("label", "stripped"), [*((label, False) for label in LABELS), ("1.27.3", True)]
)
def test_the_lock_with_the_map_is_named(label: str, stripped: bool, made: Made) -> None:
    specimen = made(label, stripped)
    found = contention(specimen)
    rows = guarded(found)
    truth = specimen.truth()
    # At rate 1 every wait is noted, until the lock is given back. The program's clock runs
    # until the goroutine runs again, and also where some turns of the processor did; and it
    # knows of some waits how long they were at least.
    for function, lock in ((PUT, PUT), (GET, GET), (SET, "main.(*Table).lock"), (ADD, ADD)):
        row = rows[function] if function != ADD else by_name(found["others"])[ADD]
        assert row["waits"]["count"] > 0
        assert row["waits"]["delay"] >= truth[lock]["sure"] * 0.999
        assert row["waits"]["delay"] <= truth[lock]["ns"] * 1.001
    # In all: what the rows have, and no more.
    every = [*found["guarded"], *found["others"]]
    assert sum(row["waits"]["delay"] for row in every) == found["waits"]["delay"]
    assert rows[PUT]["waits_at"][0]["line"] == line_of("c.mu.Lock()", 0)
    assert rows[GET]["waits_at"][0]["line"] == line_of("c.mu.Lock()", 1)
    # Two goroutines wait for the cache at the end.
    assert rows[PUT]["waiting_now"] == 2

    put = {(use["operation"], use.get("via")): use for use in rows[PUT]["maps"]}
    use = put["assign", None]
    assert use["type"] == "map[string]int"
    assert use["call"] == "runtime.mapassign_faststr"
    assert use["line"] == line_of("c.entries[key] = value")
    assert use["between"] is True
    assert "code" in use["evidence"]
    # What Put calls under its lock.
    assert any(via == "main.(*Cache).evict" for _, via in put)
    get = next(use for use in rows[GET]["maps"] if use["operation"] == "access")
    assert get["type"] == "map[string]int"
    assert get["between"] is True
    assert rows[GET]["deferred"] is True
    assert rows[PUT]["deferred"] is False
    assign = next(use for use in rows[SET]["maps"] if use["operation"] == "assign")
    assert assign["type"] == "map[int]int"
    assert assign["between"] is True
    assert rows[SET]["lock_lines"] == [line_of("t.lock()")]

    # The cache grows under the lock: a CPU profile of some samples shows it.
    cpu = rows[PUT]["cpu"]
    assert 0 < cpu["maps_ns"] <= cpu["all_ns"]
    assert cpu["growth_between_ns"] == cpu["growth_ns"] <= cpu["maps_ns"]
    assert rows[PUT]["map_bytes"] > 1 << 20


def test_the_text_tells_measured_from_together(made: Made) -> None:
    specimen = made("1.27.3", False)
    text = gomapscope("contention", *specimen.files())
    flat = " ".join(text.split())
    assert "waited" in flat
    assert "(block profile)" in flat
    assert "assigns to map[string]int: calls runtime.mapassign_faststr at main.go:" in flat
    assert "between Lock at :" in flat
    assert "that the lock guards this map is not proved" in flat
    assert "Waits for locks without work on a map that is known:" in text
    assert ADD in text.partition("Waits for locks without")[2]
    assert all(len(line) <= 80 for line in text.splitlines())


def test_without_the_executable_profiles_alone_tell(made: Made, tmp_path: Path) -> None:
    specimen = made("1.27.3", False)
    # The program is gone: what its code says is not known, and that is told.
    moved = []
    for name in ("block", "cpu", "mutex"):
        data = gzip.decompress((specimen.folder / f"{name}.pb.gz").read_bytes())
        gone = str(specimen.program).encode()
        path = tmp_path / f"{name}.pb"
        path.write_bytes(data.replace(gone, b"/" + b"x" * (len(gone) - 1)))
        moved.append(str(path))
    found = contention(specimen, *moved)
    rows = by_name(found["guarded"])
    assert PUT in rows
    assert ADD not in rows
    assert all("between" not in use for use in rows[PUT]["maps"])
    assert any("executable is not used" in note for note in found["notes"])


@pytest.mark.parametrize(("label", "stripped"), [("1.21.13", False), ("1.27.3", True)])
def test_memory_tells_the_same_as_files(label: str, stripped: bool, made: Made) -> None:
    specimen = made(label, stripped)
    files = contention(specimen)
    memory = contention(specimen, "-core", str(specimen.core), "-exe", str(specimen.program))
    rows, expected = guarded(memory), guarded(files)
    for function in (PUT, GET, SET):
        for key in ("holds", "waits", "waiting_now", "lock_lines", "unlock_lines", "deferred"):
            assert rows[function][key] == expected[function][key], (function, key)
    assert [note for note in memory["notes"] if "no CPU profile" in note]


def test_profiles_of_a_core(made: Made, tmp_path: Path) -> None:
    specimen = made("1.27.3", False)
    core = ("-core", specimen.core, "-exe", specimen.program)
    out = tmp_path / "heap.pb.gz"
    document = json.loads(gomapscope("pprof", "-json", "-o", out, *core))
    assert document["schema"] == "gomapscope.pprof/1"
    (profile,) = document["profiles"]
    assert profile["kind"] == "heap"
    sites = [site for site in profile["heap"]["sites"] if site["function"] == PUT]
    assert sites
    assert all(site["type"] == "map[string]int" for site in sites)
    # Go's own tool reads what was written, runtime functions and all.
    go = toolchains.ensure("1.27.3")
    top = subprocess.run(
        [go, "tool", "pprof", "-top", "-cum", "-sample_index=inuse_space", out],
        capture_output=True,
        text=True,
        check=True,
        env=toolchains.environment("1.27.3"),
    ).stdout
    assert PUT in top
    assert "runtime.mapassign_faststr" in top
    assert "Type: inuse_space" in top
    # Nothing is overwritten unasked.
    assert "-force" in gomapscope("pprof", "-o", out, *core, fails=True)
    gomapscope("pprof", "-force", "-o", out, *core)
    text = gomapscope("pprof", *core, "goroutine")
    assert "goroutine profile, memory" in text
    refused = gomapscope("pprof", *core, "cpu", fails=True)
    assert "gomapscope pprof cpu: it takes one of heap, goroutine, block, mutex." in refused


@contextlib.contextmanager
def session(where: str, specimen: Specimen, folder: Path) -> Iterator[gdbtool.Session]:
    """A gdb whose program has done its work; its own profiles go to ``folder``."""
    before = [f"file {specimen.program}"]
    with contextlib.ExitStack() as stack:
        if where == "core":
            before.append(f"core-file {specimen.core}")
        elif where == "remote":
            port = stack.enter_context(gdbtool.gdbserver(specimen.program, folder))
            remote = f"target remote 127.0.0.1:{port}"
            before += [remote, "break runtime.gopanic", "continue"]
        else:
            before += ["break main.stand", f"run {folder} stand"]
        yield stack.enter_context(gdbtool.Session(before))


@pytest.mark.parametrize("where", ["live", "core", "remote"])
def test_gdb_answers(where: str, made: Made, tmp_path: Path) -> None:
    with session(where, made("1.27.3", False), tmp_path) as gdb:
        found = gdb.json("go-map-pprof -contention -json")
        rows = by_name(found["guarded"])
        assert found["guarded"][0]["function"] in (PUT, GET)
        assert ADD not in rows
        assert rows[PUT]["waiting_now"] == 2
        sites = gdb.json("go-map-pprof -json -limit 3")["profiles"][0]["heap"]["sites"]
        assert sites[0]["function"] == PUT
        assert sites[0]["type"] == "map[string]int"
        assert sites[0]["evidence"] == "raw-pc+type"
        text = gdb.text("go-map-pprof goroutine")
        assert "2 sync.Mutex.Lock" in text
        out = tmp_path / f"{where}.pb.gz"
        assert "Wrote" in gdb.text(f"go-map-pprof mutex -o {out}")
        assert out.stat().st_size > 100
        assert "exists" in gdb.error(f"go-map-pprof mutex -o {out}")
        assert "it takes one of heap, goroutine" in gdb.error("go-map-pprof cpu")
        assert "contradict" in gdb.error(f"go-map-pprof -contention -o {out}")
