"""The wheel, installed by pip as a user would: under each Python, and in each gdb."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cores
import pytest
from test_events_report import lines, two_maps
from test_pprof import made

import exectracetool
import gdbs
import gdbtool
import pythons
import toolchains
from pythons import Environment

ROOT = gdbtool.ROOT
ZOO = ROOT / "tests" / "go" / "zoo"
LABEL = "1.27.3"

# The first test waits for the build.
pytestmark = pytest.mark.timeout(900)

#: Of the gdbs that run the Python of an environment, the newest is tried with each.
GDB_OF_ANY_PYTHON = "18.1"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make wheel', but that what `make build' compiled is not compiled again."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        ["make", "wheel", "WHEEL_PROFILE=release", f"WHEEL_DIR={folder}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (path,) = folder.glob("*.whl")
    return path


class Subject:
    """A core of the zoo, and files of every kind that the console script reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = toolchains.build(ZOO, LABEL)
        truth = folder / "truth"
        self.core = cores.core_of([self.program, truth, "crash"], folder)
        self.truth = {row["expr"]: row for row in gdbtool.read_truth(truth)}
        self.events = folder / "events.jsonl"
        self.events.write_text(lines(two_maps()))
        self.trace, self.traced = exectracetool.record(LABEL, folder)
        self.heap = made(LABEL, 1).file("heap.pb.gz")

    def commands(self) -> dict[str, tuple[str, ...]]:
        """What is asked of the console script, each with -json."""
        core = ("-core", str(self.core), "-exe", str(self.program), "-json")
        return {
            "stats": ("stats", *core, "main.holes"),
            "buckets": ("buckets", *core, "main.holes", "-all"),
            "entries": ("entries", *core, "main.weird", "-all"),
            "unicode": ("entries", *core, "main.unicode", "-all"),
            "layout": ("layout", *core, "main.holes"),
            "scan": ("scan", *core),
            "goroutines": ("pprof", *core, "goroutine"),
            "contention": ("contention", *core),
            "pprof": ("pprof", "-json", self.heap),
            "trace": ("trace", "-json", str(self.trace)),
            "events": ("events", "-json", str(self.events)),
            "timeline": ("timeline", "-json", str(self.trace)),
        }


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(tmp_path_factory.mktemp("subject"))


def installed(python: str, wheel: Path, folder: Path) -> Environment:
    """A fresh environment with the wheel, which asks for nothing else."""
    made = pythons.environment(python, folder)
    made.pip("install", "--no-index", "--no-deps", str(wheel))
    return made


@pytest.fixture(scope="module")
def own(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an environment of the Python that runs the tests."""
    return installed(
        next(iter(pythons.found().values())), wheel, tmp_path_factory.mktemp("own") / "venv"
    )


@pytest.fixture(scope="module")
def expected(subject: Subject, own: Environment) -> dict[str, Any]:
    """What every Python must answer; against the program's own record first of all."""
    answers = {
        name: json.loads(own.run("gomapscope", *words).stdout)
        for name, words in subject.commands().items()
    }
    row = subject.truth["main.holes"]
    slots = answers["stats"]["slots"]
    assert (slots["capacity"], slots["live"], slots["tombstones"]) == (
        row["capacity"],
        row["live"],
        row["tombstones"],
    )
    assert answers["stats"]["exact"] is True
    assert sum(bucket["live"] for bucket in answers["buckets"]["bucket_list"]) == row["live"]
    for name, expression in (("entries", "main.weird"), ("unicode", "main.unicode")):
        assert sorted([entry["key"], entry["elem"]] for entry in answers[name]["entries"]) == (
            sorted(subject.truth[expression]["entries"])
        )
    rows = {found["address"]: found for found in answers["scan"]["maps"]}
    assert rows[row["address"]]["len"] == row["len"]
    return answers


def timeless(answer: Any) -> Any:
    """A document without how long it took."""
    return {key: value for key, value in answer.items() if key != "seconds"}


def test_wheel_is_for_every_linux_since_glibc_2_17(wheel: Path, tmp_path: Path) -> None:
    machine = os.uname().machine
    tags = f"cp39-abi3-manylinux2014_{machine}.manylinux_2_17_{machine}"
    assert wheel.name.endswith(f"-{tags}.whl")
    with zipfile.ZipFile(wheel) as archive:
        module = archive.extract("gomapscope/_native.abi3.so", tmp_path)
    symbols = subprocess.run(["objdump", "-T", module], capture_output=True, text=True, check=True)
    versions = re.findall(r"\(?GLIBC_([\d.]+)\)?", symbols.stdout)
    assert versions
    assert max(tuple(map(int, version.split("."))) for version in versions) <= (2, 17)
    libraries = subprocess.run(["objdump", "-p", module], capture_output=True, text=True).stdout
    needed = set(re.findall(r"NEEDED\s+(\S+)", libraries))
    # Of what manylinux2014 allows (PEP 599), only glibc's own.
    glibc = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
    assert {name for name in needed if not name.startswith("ld-linux")} <= glibc
    # A debugger shows nothing of ours: no symbols of the build machine's paths.
    assert str(ROOT).encode() not in Path(module).read_bytes()


def sources(folder: str) -> set[str]:
    """The files below a folder that were written by hand, by names relative to it."""
    return {
        os.path.relpath(os.path.join(place, name), ROOT / folder)
        for place, _, names in os.walk(ROOT / folder, followlinks=True)
        for name in names
        if not place.endswith("__pycache__") and not name.startswith(".") and ".so" not in name
    }


def test_wheel_has_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        scripts = {
            name: archive.read(name) for name in names if name.startswith("gomapscope/gdb_scripts/")
        }
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    package = {name for name in names if name.startswith("gomapscope/")}
    wanted = sources("python/gomapscope") | {"_native.abi3.so"}
    assert package == {f"gomapscope/{name}" for name in wanted}
    for name, data in scripts.items():
        assert data == (ROOT / "gdb-scripts" / Path(name).name).read_bytes()
    licences = {Path(name).name for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "d3-hierarchy.LICENSE", "uPlot.LICENSE"}
    assert "Requires-Python: >=3.9" in text
    assert "License-Expression: MIT" in text


def test_source_distribution_has_what_it_takes_to_build(tmp_path: Path) -> None:
    subprocess.run(
        [ROOT / ".venv" / "bin" / "maturin", "sdist", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Cargo.lock", "Cargo.toml", "LICENSE", "PKG-INFO", "README.md"} <= names
    for folder in ("crate/core/src", "crate/native/src"):
        assert {f"{folder}/{name}" for name in sources(folder)} <= names
    assert "python/gomapscope/gdb_scripts/gomapscope.py" in names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_console_answers_the_same_under_every_python(
    version: str, wheel: Path, subject: Subject, expected: dict[str, Any], tmp_path: Path
) -> None:
    python = pythons.for_test(version)
    bare = pythons.environment(python, tmp_path / "venv").files()
    environment = installed(python, wheel, tmp_path / "again")
    for name, words in subject.commands().items():
        done = environment.run("gomapscope", *words)
        assert done.stderr == ""
        assert timeless(json.loads(done.stdout)) == timeless(expected[name]), name
    # What prints, and what writes.
    version_line = environment.run("gomapscope", "--version").stdout
    assert re.fullmatch(r"gomapscope \d+\.\d+\.\d+\n", version_line)
    core = ("-core", str(subject.core), "-exe", str(subject.program))
    shown = environment.run("python", "-m", "gomapscope", "stats", *core, "main.holes")
    assert "main.holes  map[int]string  len 200" in shown.stdout
    saved = tmp_path / "a.json"
    environment.run("gomapscope", "snapshot", *core, "main.holes", "-o", str(saved))
    diff = environment.run("gomapscope", "diff", str(saved), *core, "-json")
    assert json.loads(diff.stdout)["schema"] == "gomapscope.diff/1"
    page = tmp_path / "t.html"
    environment.run("gomapscope", "timeline", str(saved), str(subject.events), "-o", str(page))
    assert page.read_bytes().startswith(b"<!doctype html>")
    go = str(toolchains.ensure(LABEL))
    environment.run("gomapscope", "instrument", "-go", go, "-o", str(tmp_path / "overlay"))
    assert (tmp_path / "overlay" / "overlay.json").is_file()
    # Errors are one line, wherever they come from.
    for words in (
        ("ring", *core),
        ("stats", *core, "main.noSuch"),
        ("stats", "-core", "/nonexistent", "main.holes"),
        ("pprof", "/nonexistent"),
        ("trace", "/nonexistent"),
        ("events", "/nonexistent"),
        ("timeline", "/nonexistent"),
        ("diff", "/nonexistent", "/nonexistent"),
    ):
        done = environment.run("gomapscope", *words, check=False)
        assert done.returncode == 1, words
        assert done.stdout == ""
        assert done.stderr.startswith("gomapscope: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    imported = environment.run(
        "python", "-W", "error", "-c", "import gomapscope; print(gomapscope.__version__)"
    )
    assert imported.stderr == ""
    environment.pip("uninstall", "--yes", "gomapscope")
    assert environment.files() == bare


def walk(gdb: str, line: str, program: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A map's figures in a gdb that was given nothing but the line; and the program's own."""
    done = subprocess.run(
        [
            *(gdb, "-nx", "-batch", "-iex", "set auto-load no", "-ex", line),
            *("-ex", "handle SIGURG nostop noprint pass", "-ex", "break main.stop"),
            *("-ex", f"run {folder / 'truth'} > /dev/null"),
            *("-ex", "go-map-stats -json main.holes", "-ex", "go-map", str(program)),
        ],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert not gdbtool.UGLY.search(done.stdout + done.stderr), done.stdout + done.stderr
    documents = [text for text in done.stdout.splitlines() if text.startswith('{"schema"')]
    assert len(documents) == 1, done.stdout + done.stderr
    rows = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}
    return json.loads(documents[0]), rows["main.holes"]


def check(found: dict[str, Any], row: dict[str, Any]) -> None:
    assert (found["address"], found["len"], found["exact"]) == (row["address"], row["len"], True)
    assert found["slots"]["capacity"] == row["capacity"]
    assert found["slots"]["tombstones"] == row["tombstones"]


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_line_of_the_wheel_loads_into_every_gdb(
    name: str, own: Environment, tmp_path: Path
) -> None:
    gdb = gdbs.for_test(name)
    (line,) = own.run("gomapscope", "gdbinit").stdout.splitlines()
    assert line.startswith(f"source {own.folder}")
    check(*walk(gdb, line, toolchains.build(ZOO, "1.23.9"), tmp_path))


@pytest.fixture(scope="module")
def console_line(own: Environment) -> str:
    return own.run("gomapscope", "gdbinit").stdout.strip()


@pytest.mark.parametrize("version", pythons.VERSIONS[1:])
def test_gdb_with_every_python_it_can_run(version: str, console_line: str, tmp_path: Path) -> None:
    python = pythons.for_test(version)
    gdb = gdbs.for_test(GDB_OF_ANY_PYTHON, python)
    probe = [
        gdb,
        "-nx",
        "-batch",
        "-ex",
        "python import sys; print(*sys.version_info[:2], sep='.')",
    ]
    done = subprocess.run(probe, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version
    check(*walk(gdb, console_line, toolchains.build(ZOO, LABEL), tmp_path))
