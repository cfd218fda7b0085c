"""The package itself: what is built, what is generated, what the README promises."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gdbtool
import pythons

ROOT = gdbtool.ROOT
PACKAGE = ROOT / "python" / "gomapscope"
NATIVE = PACKAGE / "_native.abi3.so"


@pytest.fixture(scope="module")
def native() -> ModuleType:
    """The native module, without the package around it."""
    assert NATIVE.exists(), "run `make build' first"
    spec = importlib.util.spec_from_file_location("_native", NATIVE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def needed(path: Path) -> list[str]:
    """The libraries an ELF file of 64 bits asks for (DT_NEEDED)."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    offset, size, count = struct.unpack_from("<32xQ14xHH", data)
    segments = [
        struct.unpack_from("<I4xQQ8xQ", data, offset + number * size) for number in range(count)
    ]
    loads = [segment for segment in segments if segment[0] == 1]
    ((_, start, _, length),) = (segment for segment in segments if segment[0] == 2)
    entries = list(struct.iter_unpack("<QQ", data[start : start + length]))
    strings = next(value for tag, value in entries if tag == 5)
    place = next(
        strings - address + at for _, at, address, filed in loads if 0 <= strings - address < filed
    )
    names = [place + value for tag, value in entries if tag == 1]
    return [data[at : data.index(b"\0", at)].decode() for at in names]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m gomapscope`` as from a checkout."""
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_native_module_leaves_libpython_to_gdb() -> None:
    libraries = needed(NATIVE)
    assert "libc.so.6" in libraries
    assert not [name for name in libraries if "python" in name]


def test_version_is_the_same_everywhere(native: ModuleType) -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"gomapscope {native.__version__}\n"
    cargo = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    assert f'version = "{native.__version__}"' in cargo


def test_gdbinit_prints_a_line_that_works_in_gdb() -> None:
    done = run("gdbinit")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("source ")
    assert Path(line.partition(" ")[2]).is_file()
    shown = subprocess.run(
        [gdbtool.gdb_path(), "-nx", "-batch", "-ex", line, "-ex", "help go-map"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stderr == ""
    assert shown.stdout.startswith("Show what gomapscope knows")


def test_console_script_without_a_command_shows_how_to_use_it() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage: gomapscope" in done.stderr
    assert "Traceback" not in done.stderr
    wrong = run("nosuch")
    assert wrong.returncode == 2
    assert "nosuch" in wrong.stderr


def test_package_imports_without_gdb_and_says_what_needs_it() -> None:
    program = (
        "import gomapscope\n"
        "print(gomapscope.__version__, *gomapscope.__all__)\n"
        "try:\n"
        "    gomapscope.Map('m')\n"
        "except gomapscope.Error as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Map" in done.stdout
    assert "inside gdb" in done.stdout


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_stub_names_everything_the_module_has(native: ModuleType) -> None:
    tree = ast.parse((PACKAGE / "_native.pyi").read_text(encoding="utf-8"))
    stub: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            stub[node.name] = {
                part.name for part in node.body if isinstance(part, ast.FunctionDef)
            } - {"__init__"}
        elif isinstance(node, ast.FunctionDef):
            stub[node.name] = set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stub[node.target.id] = set()
    # A shape for type checkers alone.
    del stub["Definition"]
    implicit = {"__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
    public = {name for name in dir(native) if name not in {*implicit, "__all__"}}
    assert public == set(stub)
    for name, members in stub.items():
        found = getattr(native, name)
        if isinstance(found, type) and not issubclass(found, Exception):
            assert {part for part in vars(found) if not part.startswith("__")} == members, name


def test_readme_has_the_table_of_commands(native: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- commands -->\n(.*?)<!-- /commands -->", readme, re.DOTALL)
    assert found, "no <!-- commands --> … <!-- /commands --> in README.md"
    assert found[1].strip() == native.command_table().strip()


def test_every_script_for_gdb_is_in_the_wheel_too() -> None:
    scripts = {path.name for path in (ROOT / "gdb-scripts").iterdir() if path.is_file()}
    packaged = {path.name for path in (PACKAGE / "gdb_scripts").iterdir() if path.is_file()}
    assert scripts == packaged
    for name in scripts:
        assert (PACKAGE / "gdb_scripts" / name).samefile(ROOT / "gdb-scripts" / name)


@pytest.mark.parametrize(
    "name", ["stop-when-sparse.py", "stop-when-sparse.gdb", "watch-density.py"]
)
def test_hook_script_says_how_to_use_it(name: str) -> None:
    text = (ROOT / "gdb-scripts" / name).read_text(encoding="utf-8")
    assert "Usage, after gomapscope.py" in text


def test_native_module_missing_is_explained_in_gdb(tmp_path: Path) -> None:
    for folder in ("gdb-scripts", "python/gomapscope"):
        (tmp_path / folder).mkdir(parents=True)
        for path in (ROOT / folder).iterdir():
            if path.is_file() and path.suffix != ".so":
                (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    script = tmp_path / "gdb-scripts" / "gomapscope.py"
    shown = subprocess.run(
        [gdbtool.gdb_path(), "-nx", "-batch", "-ex", f"source {script}", "-ex", "go-map-stats x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "native module is not built" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    assert not gdbtool.UGLY.search(shown.stderr)


#: Imports every module with a stand-in for gdb's own, whose names are classes that one may
#: derive from, and so runs what Python runs at the definition of classes and functions.
STAND_IN = """
import importlib, pkgutil, sys, types

class Names(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Exception,), {}) if name in ("error", "GdbError", "MemoryError") else (
            type(name, (), {}) if name[0].isupper() and not name.isupper() else 0
        )
        setattr(self, name, made)
        return made

sys.modules["gdb"] = Names("gdb")
import gomapscope
names = [found.name for found in pkgutil.iter_modules(gomapscope.__path__)]
for name in names:
    importlib.import_module("gomapscope." + name)
print(len(names))
"""


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_every_module_imports_under_every_python(version: str) -> None:
    done = subprocess.run(
        [
            pythons.for_test(version),
            "-I",
            "-B",
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT / 'python')!r})\n{STAND_IN}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = [path for path in PACKAGE.iterdir() if path.suffix in (".py", ".so")]
    # Itself is not among its modules.
    assert int(done.stdout) == len(modules) - 1
