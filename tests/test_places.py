"""Where probes belong in functions, against what Go's own disassembler shows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import toolchains

ASSIGNS = Path(__file__).parent / "go" / "assigns"

# Functions of the runtime that take part in the life of a map.  Any of them may be missing where
# the program does not need it or the compiler put it into its callers.
MAP_FUNCTION = re.compile(
    r"runtime\.(mapassign|mapdelete|mapclear|makemap|hashGrow|evacuate|growWork|makeBucketArray"
    r"|newarray|\(\*hmap\)\.newoverflow).*"
    r"|internal/runtime/maps\.(\(\*Map\)\.(growTo|installTableSplit|Clear|Delete).*"
    r"|\(\*table\)\.(grow|rehash|split|reset)|newTable|NewMap|NewEmptyMap|newarray)"
)

# What every build of the fixture has out of line.
ALWAYS = {
    "classic": {
        "runtime.mapassign",
        "runtime.mapassign_fast32",
        "runtime.mapassign_fast64",
        "runtime.mapassign_fast64ptr",
        "runtime.mapassign_faststr",
        "runtime.mapdelete",
        "runtime.mapdelete_fast32",
        "runtime.mapdelete_fast64",
        "runtime.mapdelete_faststr",
        "runtime.mapclear",
        "runtime.makemap",
        "runtime.makemap_small",
        "runtime.makeBucketArray",
        "runtime.hashGrow",
        "runtime.(*hmap).newoverflow",
        "runtime.evacuate",
        "runtime.evacuate_fast32",
        "runtime.evacuate_fast64",
        "runtime.evacuate_faststr",
        "runtime.growWork",
        "runtime.growWork_fast32",
        "runtime.growWork_fast64",
        "runtime.growWork_faststr",
        "runtime.newarray",
    },
    "swiss": {
        "runtime.mapassign",
        "runtime.mapassign_fast32",
        "runtime.mapassign_fast64",
        "runtime.mapassign_fast64ptr",
        "runtime.mapassign_faststr",
        "runtime.mapdelete",
        "runtime.mapdelete_fast32",
        "runtime.mapdelete_fast64",
        "runtime.mapdelete_faststr",
        "runtime.mapclear",
        "runtime.makemap",
        "runtime.makemap_small",
        "runtime.newarray",
        "internal/runtime/maps.(*Map).Clear",
        "internal/runtime/maps.(*Map).Delete",
        "internal/runtime/maps.(*Map).growToSmall",
        "internal/runtime/maps.(*Map).growToTable",
        "internal/runtime/maps.(*Map).installTableSplit",
        "internal/runtime/maps.(*table).grow",
        "internal/runtime/maps.(*table).rehash",
        "internal/runtime/maps.(*table).reset",
        "internal/runtime/maps.(*table).split",
        "internal/runtime/maps.NewMap",
        "internal/runtime/maps.newTable",
    },
}


class Instruction(NamedTuple):
    """A line of a disassembly."""

    address: int
    text: str


@pytest.fixture(scope="session")
def places() -> Path:
    """The example that prints the places of functions."""
    return cores.example("places")


def found(places: Path, program: Path) -> dict[str, dict[str, Any]]:
    """What the library finds, by the function's name."""
    done = subprocess.run([places, program], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["function"]: row for row in rows}


def disassembly(label: str, program: Path) -> dict[int, list[Instruction]]:
    """All functions by Go's own disassembler, by their entry."""
    go = toolchains.ensure(label.split("-")[0])
    done = subprocess.run(
        [go, "tool", "objdump", program],
        env=toolchains.environment(label),
        capture_output=True,
        text=True,
        check=True,
    )
    functions: dict[int, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in done.stdout.splitlines():
        if line.startswith("TEXT "):
            current = []
            continue
        fields = line.split("\t")
        if len(fields) < 4:
            continue
        address = next(field for field in fields if field.startswith("0x"))
        instruction = Instruction(int(address, 16), [field for field in fields if field][3].strip())
        if not current:
            functions[instruction.address] = current
        current.append(instruction)
    return functions


GUARD = {
    "amd64": re.compile(r"CMPQ (?:SP|R12), 0x1[08]\((?:R14|CX|R12)\)"),
    "arm64": re.compile(r"CMP R16, (?:RSP|R17)"),
}
BRANCH = {"amd64": "JBE ", "arm64": "BLS "}


def first_behind_check(arch: str, code: list[Instruction]) -> int:
    """The instruction behind the first branch that a comparison with the stack guard leads to."""
    for index, instruction in enumerate(code[:8]):
        if GUARD[arch].fullmatch(instruction.text):
            assert code[index + 1].text.startswith(BRANCH[arch]), instruction
            return code[index + 2].address
    return code[0].address


CASES = [(build.label, "amd64") for build in toolchains.BUILDS]
CASES += [("1.21.13", "arm64"), ("1.27.3", "arm64")]


@pytest.mark.parametrize(("label", "arch"), [*CASES[0:6:3], CASES[6], *CASES[-2:]])
def test_places_of_all_functions(label: str, arch: str, places: Path) -> None:
    """Behind the stack check, and on the returns, of every function of a program."""
    program = toolchains.build(ASSIGNS, label, env={"GOARCH": arch})
    rows = found(places, program)
    truth = disassembly(label, program)
    wrong, compared, checked, returning = [], 0, 0, 0
    for name, row in rows.items():
        code = truth.get(int(row["entry"], 16))
        if code is None or not row["first"]:
            continue
        compared += 1
        first = first_behind_check(arch, code)
        checked += row["check"] != "none"
        if int(row["first"]["address"], 16) != first:
            wrong.append(f"{name}: {row['first']['address']}, not {first:#x}")
        returns = [place.address for place in code if re.fullmatch(r"RET(Q| .*)?", place.text)]
        # Go's disassembler does not know vector instructions, and loses its place in assembly.
        known = row["complete"] and row["check"] != "none"
        returning += known and bool(returns)
        if known and [int(place["address"], 16) for place in row["returns"]] != returns:
            wrong.append(f"{name}: returns {row['returns']}, not {returns}")
    assert not wrong, wrong[:10]
    assert compared > 1500
    assert checked > 1000
    assert returning > 1000


@pytest.mark.parametrize(("label", "arch"), CASES)
def test_places_of_map_functions(label: str, arch: str, places: Path) -> None:
    """Those of the runtime's map functions are cheap, safe and passed once a call."""
    program = toolchains.build(ASSIGNS, label, env={"GOARCH": arch})
    rows = {k: v for k, v in found(places, program).items() if MAP_FUNCTION.fullmatch(k)}
    swiss = "internal/runtime/maps.newTable" in rows
    assert swiss == (label.split("-")[0] >= "1.24" and "noswissmap" not in label)
    assert ALWAYS["swiss" if swiss else "classic"] <= set(rows)
    raw = program.read_bytes()
    for name, row in rows.items():
        first = row["first"]
        # Nothing is stored yet and nothing moved: the registers hold the arguments.
        assert first["displaceable"], name
        assert row["check"] in ("small", "large"), name
        assert row["complete"], name
        assert not row["repeats"], name
        assert not row["tail_jumps"], name
        assert row["returns"], name
        if arch == "amd64":
            assert (first["mnemonic"], first["cost"]) == ("push", "emulated"), name
            assert raw[first["file_offset"]] == 0x55
            assert all(raw[place["file_offset"]] == 0xC3 for place in row["returns"])
        else:
            assert first["mnemonic"] in ("str", "sub"), name
