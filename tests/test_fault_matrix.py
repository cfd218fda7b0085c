"""The table of faults in README.md names tests that exist, and what no other file has."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import gdbtool
import toolchains
from gdbtool import Session

HERE = Path(__file__).parent
ZOO = HERE / "go" / "zoo"


def rows() -> dict[str, list[tuple[str, str]]]:
    """Faults, and their tests as files and names."""
    found = {}
    for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "fault":
            found[cells[0]] = re.findall(r"`([\w.]+)::(\w+)`", cells[1])
    return found


def names_in(name: str) -> set[str]:
    """The tests of a file."""
    if name.endswith(".rs"):
        core = gdbtool.ROOT / "crate" / "core"
        places = [core / "tests" / name, *core.glob(f"src/*/{name}")]
        text = "".join(path.read_text(encoding="utf-8") for path in places if path.exists())
        return set(re.findall(r"#\[test\]\s+fn (\w+)", text))
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_has_tests_that_exist() -> None:
    table = rows()
    assert len(table) >= 35
    for fault, tests in table.items():
        assert tests, fault
        for file, name in tests:
            assert name in names_in(file), (fault, file, name)


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_units_whose_debug_information_is_elsewhere(label: str, tmp_path: Path) -> None:
    """C code in a Go program whose units point to files that are not there any more."""
    program = toolchains.build(
        ZOO,
        label,
        flags=("-tags=zoocgo",),
        env={"CGO_ENABLED": "1", "CGO_CFLAGS": "-g -gsplit-dwarf"},
    )
    units = subprocess.run(
        ["readelf", "--debug-dump=info", program], capture_output=True, text=True, check=True
    ).stdout
    assert "dwo_name" in units
    truth = tmp_path / "truth"
    with Session(gdbtool.at_stop(program, truth)) as session:
        for row in gdbtool.read_truth(truth):
            if row["expr"] in ("main.crowded", "main.keyAny", "main.elemBig"):
                document = session.json(f"go-map-stats -json {row['expr']}")
                assert (document["len"], document["exact"]) == (row["len"], True)
                assert document["layout"]["source"] == "dwarf"
                assert document["slots"]["capacity"] == row["capacity"]
        session.text("kill")
