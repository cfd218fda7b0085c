"""What the core assumes of Go's runtime, against the sources of each toolchain."""

from __future__ import annotations

import json
import re

# Imported from the checkout, as gdb does it.
import sys
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains

sys.path.insert(0, str(gdbtool.ROOT / "python"))

from gomapscope import _native

ROWS: list[dict[str, Any]] = json.loads(_native.assumptions_json())


def words(text: str) -> str:
    """Text without comments, its white space folded."""
    text = re.sub(r"//[^\n]*", " ", text)
    return re.sub(r"\s+", " ", text)


def fields(source: str, name: str) -> list[str]:
    """The field names of a struct, in order."""
    found = re.search(rf"^type {name} struct \{{$(.*?)^\}}$", source, re.DOTALL | re.MULTILINE)
    assert found, f"no struct {name}"
    body = re.sub(r"//[^\n]*", "", found[1])
    return [match[1] for match in re.finditer(r"^\t(\w+)\s", body, re.MULTILINE)]


def source(version: str, files: list[str]) -> str:
    """The first of the files that a toolchain has."""
    root = toolchains.ensure(version).parent.parent / "src"
    for name in files:
        path = root / Path(name)
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise AssertionError(f"go{version} has none of {files}")


def holds(row: dict[str, Any], version: str) -> bool:
    return int(row["since"]) <= int(version.split(".")[1]) <= int(row["until"])


@pytest.mark.parametrize("version", toolchains.VERSIONS)
def test_every_row_stands_in_the_sources(version: str) -> None:
    missing = []
    checked = 0
    for row in ROWS:
        if not holds(row, version):
            continue
        checked += 1
        text = source(version, row["files"])
        proof = row["proof"]
        if "text" in proof:
            if words(proof["text"]).strip() not in words(text):
                missing.append(f"{row['statement']}: no {proof['text']!r} in {row['files']}")
        else:
            name, expected = proof["fields"]
            if fields(text, name) != expected:
                missing.append(f"{row['statement']}: {name} has {fields(text, name)}")
    assert checked > 10
    assert not missing, f"go{version}:\n" + "\n".join(missing)


def test_every_release_is_covered() -> None:
    minors = {int(version.split(".")[1]) for version in toolchains.VERSIONS}
    assert min(int(row["since"]) for row in ROWS) == min(minors)
    assert max(int(row["until"]) for row in ROWS) == max(minors)
