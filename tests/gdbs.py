"""The gdbs the tests run: the installed one, and three from PyPI.

``path(name)`` returns the gdb command; PyPI's ``gdb-for-pwndbg`` is installed on first use into
the cache of ``toolchains``, several test processes may call in at the same time.  It runs the
Python of a virtual environment through a shared libpython, so that environment is made with a
Python that has one.

GOMAPSCOPE_GDBS (names with commas between them, for example ``system``) restricts the tests to
some of them.  Without it every gdb is tested, and one that cannot be installed fails its tests.

From a shell: ``python tests/gdbs.py`` installs all and prints where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

import gdbtool
import toolchains

SYSTEM = "system"

#: The name of a gdb and its release on PyPI.
RELEASES = {"16.3": "16.3.0.post6", "17.2": "17.2.0.post5", "18.1": "18.1.0.post1"}

NAMES = (SYSTEM, *RELEASES)

_PROBE = """
import json, os, sys, sysconfig
folders = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_exec_prefix, "lib")]
name = sysconfig.get_config_var("INSTSONAME") or ""
found = ".so" in name and any(os.path.exists(os.path.join(f, name)) for f in folders if f)
print(json.dumps({"version": list(sys.version_info[:2]), "shared": found}))
"""


class Unusable(Exception):
    """Why a gdb cannot be had on this machine."""


def wanted(name: str) -> bool:
    """Whether GOMAPSCOPE_GDBS lets this gdb take part."""
    chosen = os.environ.get("GOMAPSCOPE_GDBS", "")
    return not chosen or name in chosen.split(",")


def for_test(name: str, python: Optional[str] = None) -> str:
    """The gdb command for a test, which is skipped if the gdb was not asked for."""
    if not wanted(name):
        pytest.skip(f"GOMAPSCOPE_GDBS leaves gdb {name} out")
    if python is not None and (reason := _unfit(python)):
        pytest.skip(f"gdb cannot run {python}: {reason}")
    return path(name, python)


def path(name: str, python: Optional[str] = None) -> str:
    """The gdb command of that name; one of PyPI runs ``python`` if that is given."""
    if name == SYSTEM:
        return gdbtool.gdb_path()
    home = toolchains.cache_dir() / "gdb"
    folder = home / RELEASES[name]
    if python is not None:
        place = hashlib.sha256(python.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        folder = home / f"{RELEASES[name]}-{place}"
    executable = folder / "bin" / "gdb"
    # A virtual environment cannot be moved: this file, written last, says that it is whole.
    whole = folder / "whole"
    if not whole.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                _install(RELEASES[name], folder, python or _python())
                whole.touch()
    return str(executable)


def _unfit(python: str) -> Optional[str]:
    """Why gdb cannot run this Python, or None."""
    done = subprocess.run([python, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["it does not run"])[-1]
    found = json.loads(done.stdout)
    if found["version"] < [3, 10]:
        return "it is older than 3.10"
    return None if found["shared"] else "it has no shared libpython"


def _python() -> str:
    """A Python that gdb-for-pwndbg can load."""
    reasons = []
    for candidate in ("/usr/bin/python3", sys.executable):
        if not shutil.which(candidate):
            continue
        reason = _unfit(candidate)
        if reason is None:
            return candidate
        reasons.append(f"{candidate}: {reason}")
    raise Unusable(
        "no Python for gdb-for-pwndbg ("
        + "; ".join(reasons)
        + "): install libpython3, or set GOMAPSCOPE_GDBS=system to leave these gdbs out"
    )


def _run(command: list[str]) -> None:
    """Run a command; a failure carries its own words."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unusable(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _install(release: str, folder: Path, python: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    # Debian's Python has no ensurepip; ours installs into the other environment.
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    pip += ["--disable-pip-version-check", "install", "--quiet", "--no-input"]
    pip += ["--only-binary", ":all:", f"gdb-for-pwndbg=={release}"]
    _run(pip)
    probe = [str(folder / "bin" / "gdb"), "-nx", "-batch", "-ex", "python print('works')"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if "works" not in done.stdout:
        raise Unusable(f"gdb-for-pwndbg {release} does not run here: {done.stderr.strip()}")


if __name__ == "__main__":
    for each in NAMES:
        print(f"{each}\t{path(each)}", flush=True)
