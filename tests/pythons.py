"""The Pythons of this machine, and environments of theirs with the wheel in them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

#: Those that the wheel promises to run in; the last is the newest there is.
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

_PROBE = "import sys, json; print(json.dumps([sys.version_info[:2], sys.executable]))"


@functools.cache
def found() -> dict[str, str]:
    """The Pythons of this machine by version: on PATH, Debian's, and those of pyenv."""
    candidates = [sys.executable, "/usr/bin/python3"]
    candidates += [path for name in VERSIONS if (path := shutil.which(f"python{name}"))]
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates += [str(path) for path in sorted(home.glob("3.*/bin/python"))]
    result: dict[str, str] = {}
    for candidate in candidates:
        try:
            # A shim of pyenv stands for Pythons that it may not have chosen.
            done = subprocess.run([candidate, "-I", "-c", _PROBE], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        (major, minor), executable = json.loads(done.stdout)
        result.setdefault(f"{major}.{minor}", executable)
    return result


def for_test(version: str) -> str:
    """The Python of that version for a test, which is skipped where there is none."""
    python = found().get(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    return python


class Environment(NamedTuple):
    """A virtual environment with nothing in it but what was installed."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(
        self, *command: str, cwd: Optional[Path] = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment as from a login shell: with no variables of ours."""
        program = self.folder / "bin" / command[0]
        home = self.folder.with_name("home")
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [str(program), *command[1:]],
            cwd=cwd or self.folder,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(home),
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def pip(self, *arguments: str) -> None:
        """Run our pip on this environment: Debian's Python has none to put into it."""
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", self.python, "--quiet", *arguments],
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
            check=True,
        )

    def files(self) -> set[str]:
        """Every file, but for those that Python compiles."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if "__pycache__" not in path.parts
        }


def environment(python: str, folder: Path) -> Environment:
    """A fresh environment of that Python."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    return Environment(folder)
