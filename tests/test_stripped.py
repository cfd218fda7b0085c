"""Programs without debug information: by address, at a call of the runtime, by symbol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
from gdbtool import Session
from test_truth import FIGURES, figure

HERE = Path(__file__).parent
ZOO = HERE / "go" / "zoo"
STEPS = HERE / "go" / "steps"
LABELS = ("1.21.13", "1.23.9", "1.24.11", "1.24.11-noswissmap", "1.27.3")
FLAGS = {"s-w": "-ldflags=-s -w", "w": "-ldflags=-w"}
OF_A_MAP = ("go-map-stats", "go-map-buckets", "go-map-entries", "go-map-layout")


class Bare:
    """A stripped zoo at its stop."""

    def __init__(
        self, session: Session, truth: list[dict[str, Any]], label: str, flags: str
    ) -> None:
        self.session = session
        self.truth = [entry for entry in truth if entry["address"] != "0x0"]
        self.label = label
        self.flags = flags


@pytest.fixture(
    scope="module",
    params=[(label, flags) for label in LABELS for flags in FLAGS],
    ids=lambda param: " ".join(param),
)
def bare(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bare]:
    label, flags = request.param
    path = tmp_path_factory.mktemp("zoo") / "truth.jsonl"
    program = toolchains.build(ZOO, label, flags=(FLAGS[flags],))
    with Session([f"file {program}"]) as session:
        session.text('break *$_go_function("main.stop")')
        session.text(f"run {path} > /dev/null")
        yield Bare(session, gdbtool.read_truth(path), label, flags)


def differences(entry: dict[str, Any], document: dict[str, Any]) -> list[str]:
    wrong = []
    for key, path in FIGURES.items():
        expected, found = entry.get(key), figure(document, path)
        if expected and found != expected:
            wrong.append(f"{entry['expr']}: {key} is {found}, not {expected}")
    if not document["exact"] or document["layout"]["source"] != "runtime types":
        wrong.append(f"{entry['expr']}: {document['defects']} {document['layout']['source']}")
    return wrong


def test_address_alone_finds_the_type_or_says_what_it_may_be(bare: Bare) -> None:
    """An answer is right, or there are several: never a wrong one."""
    wrong, told, inferred = [], 0, 0
    # Each searches the whole process where the storage alone does not tell: a third of them.
    entries = bare.truth[::3]
    for entry in entries:
        answer = bare.session.ask(f"go-map-stats -json {entry['address']}")
        if answer.error is None:
            wrong += differences(entry, answer.json)
            inferred += "type inferred from" in " ".join(answer.json.get("notes", []))
            told += 1
        elif " may be " in answer.error:
            listed = answer.error.partition(" may be ")[2]
            if entry["type"] not in listed and " more: " not in listed:
                wrong.append(f"{entry['expr']} {entry['type']}: {answer.error}")
            if "-type" not in answer.error:
                wrong.append(answer.error)
        else:
            # Nothing tells the type of a map that never had storage.
            no_storage = entry["capacity"] == 0 or entry.get("on_stack")
            if not no_storage or "cannot tell the type" not in answer.error:
                wrong.append(f"{entry['expr']}: {answer.error}")
    assert not wrong, "\n".join(wrong[:40])
    assert told >= 0.9 * len(entries), f"{told} of {len(entries)}"
    assert inferred <= 0.2 * told, f"{inferred} of {told}"


def told(bare: Bare) -> dict[str, Any]:
    """A map whose type its address tells, of many entries."""
    for entry in sorted(bare.truth, key=lambda entry: entry["len"]):
        if entry["len"] > 8 and "entries" in entry:
            answer = bare.session.ask(f"go-map-stats -json {entry['address']}")
            if answer.error is None:
                return entry
    raise AssertionError("the zoo has none")


@pytest.mark.parametrize("command", OF_A_MAP)
def test_every_command_takes_an_address(bare: Bare, command: str) -> None:
    entry = told(bare)
    document = bare.session.json(f"{command} -json {entry['address']}")
    assert document["type"] == entry["type"]
    if command == "go-map-entries":
        assert len(document["entries"]) == entry["len"]
    if command == "go-map-buckets":
        assert len(document["bucket_list"]) >= entry["buckets"]
    assert bare.session.text(f"{command} {entry['address']}")


def test_what_is_no_header_is_not_taken_for_one(bare: Bare) -> None:
    entry = told(bare)
    inside = int(entry["address"], 16) + 8
    for address in (f"{inside:#x}", "0x1", "0", "$sp", "0xffffffffffff0000", "1.5"):
        message = bare.session.error(f"go-map-stats {address}")
        assert "not a map" in message or "cannot tell" in message, message


def test_variables_whose_symbols_are_left(bare: Bare) -> None:
    session, entry = bare.session, told(bare)
    package_level = [each for each in bare.truth if "frame" not in each and "." in each["expr"]]
    plain = [each for each in package_level if each["expr"].count(".") == 1]
    seen = 0
    for each in plain:
        answer = session.ask(f"go-map-stats -json {each['expr']} -type '{each['type']}'")
        if bare.flags != "w":
            assert answer.error is not None
            assert "no debug information" in answer.error
            break
        if answer.error is None and answer.json["address"] == each["address"]:
            assert answer.json["len"] == each["len"]
            seen += 1
    if bare.flags == "w":
        assert seen > 60
        if entry in plain:
            found = session.json(f"go-map-stats -json {entry['expr']}")
            assert (found["type"], found["len"]) == (entry["type"], entry["len"])
    for unknown in ("main.noSuch", "noSuch", "main.stop()", "main.srv.sessions", "'main.x'"):
        message = session.error(f"go-map-stats {unknown}")
        assert "no debug information" in message, message


def test_status_says_where_layouts_come_from(bare: Bare) -> None:
    document = bare.session.json("go-map -json")
    assert document["layout_source"] == "runtime types"
    assert "$_go_function" in " ".join(document["missing"])
    text = bare.session.text("go-map")
    assert "from the runtime's type descriptors (no debug information)" in text
    # A path may be of any length.
    lines = [line for line in text.splitlines() if "/zoo" not in line]
    assert max(map(len, lines)) <= 90


BUILDS: dict[str, tuple[str, ...]] = {
    "symbols": (),
    "w": ("-ldflags=-w",),
    "s-w": ("-ldflags=-s -w",),
    "pie s-w": ("-buildmode=pie", "-ldflags=-s -w"),
}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("build", BUILDS)
def test_map_assigned_to_is_found_with_its_type(label: str, build: str) -> None:
    program = toolchains.build(STEPS, label, flags=BUILDS[build])
    before = [f"file {program}", "set environment GODEBUG asyncpreemptoff=1"]
    with Session([*before, "starti > /dev/null"]) as session:
        if "pie" in build:
            # The loader must have been at work: before it, nothing is where it says.
            assert "not found" in session.error('break *$_go_function("main.count")')
            entry = re.search(r"AT_ENTRY.*(0x[0-9a-f]+)", session.text("info auxv"))
            assert entry
            session.text(f"tbreak *{entry[1]}")
            session.text("continue")
        session.text('break *$_go_function("main.count")')
        session.text("continue")
        assert "not at the first instruction" in session.error("output $_go_map()")
        session.text('break *$_go_function("runtime.mapassign_faststr")')
        lengths = set()
        for _ in range(16):
            session.text("continue")
            # Growing its stack may bring a function to its entry again.
            answer = session.ask("go-map-stats -json $_go_map()")
            if answer.error is not None:
                assert "not at the first instruction" in answer.error
                continue
            document = answer.json
            assert document["type"] == "map[string]int"
            assert "inferred" not in " ".join(document.get("notes", []))
            for spelled in ("$rbx", "$rbx+0", "(long)$rbx" if "s-w" in build else "$rbx"):
                again = session.json(f"go-map-stats -json {spelled}")
                assert (again["address"], again["type"]) == (document["address"], document["type"])
            assert int(session.text("output $_go_map_len($_go_map())")) == document["len"]
            lengths.add(document["len"])
            if lengths >= {0, 1, 2}:
                break
        assert lengths == {0, 1, 2}


def test_function_that_does_not_exist(bare: Bare) -> None:
    assert "no function" in bare.session.error('output $_go_function("main.noSuch")')
    assert "one argument" in bare.session.error("output $_go_function()")
    assert "no argument" in bare.session.error("output $_go_map(1)")
