"""Lists of commands that tests go through have every command: a new one is not forgotten."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import gdbtool

HERE = Path(__file__).parent

TRACE = {f"go-map-trace {word}" for word in ("start", "status", "stop", "report", "arm", "disarm")}
#: What is not asked there, and tested elsewhere: traces run the program and write files, a diff
#: reads one, the flight recorder is in another program. The console's commands on damaged cores
#: are a list of their own.
ELSEWHERE = {
    # arm and disarm write, report reads a file: none of them depends on the gdb.
    "test_gdbs.py": {f"go-map-trace {word}" for word in ("arm", "disarm", "report")},
    "test_front_ends.py": set(),
    "test_screen.py": {"go-map-ring", "go-map-trace arm", "go-map-trace disarm"},
    "test_fault_injection.py": {"go-map-diff", "go-map-ring", "go-map-trace", *TRACE},
    "test_disturbed.py": {"go-map-trace", *TRACE},
}


def definitions() -> list[str]:
    """The names of all commands, without gdb."""
    path = gdbtool.ROOT / "python" / "gomapscope" / "_definitions.py"
    spec = importlib.util.spec_from_file_location("definitions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [definition["name"] for definition in module.DEFINITIONS]


def strings(file: str) -> list[str]:
    """The text of a test: what it types, and no comment."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    found = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [text for text in found if isinstance(text, str)]


@pytest.mark.parametrize("file", ELSEWHERE)
def test_every_command_is_asked(file: str) -> None:
    typed = "\n".join(strings(file))
    missing = set()
    for name in definitions():
        # MI has no spaces in names.
        forms = {name, name.replace(" ", "-")}
        if not any(re.search(rf"{form}(?![\w-])", typed) for form in forms):
            missing.add(name)
    assert missing <= ELSEWHERE[file], missing - ELSEWHERE[file]
