"""Every command, option, parameter and function as a user types them, on a live process.

The figures themselves are the business of test_truth; here it is what can be asked, and how.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gdbs
import gdbtool
import toolchains
from gdbtool import Mi, Session

HERE = Path(__file__).parent
ZOO = HERE / "go" / "zoo"
STEPS = HERE / "go" / "steps"
SCRIPTS = gdbtool.ROOT / "gdb-scripts"

COMMANDS = ("go-map", "go-map-buckets", "go-map-entries", "go-map-layout", "go-map-stats")
OF_A_MAP = ("go-map-buckets", "go-map-entries", "go-map-layout", "go-map-stats")

HEAD = {
    "schema": str,
    "go_version": str,
    "arch": str,
    "family": str,
    "expression": str,
    "address": str,
    "type": str,
    "key_type": str,
    "elem_type": str,
    "len": int,
    "slots": {"capacity": int, "live": int, "empty": int, "tombstones": int, "hole_density": float},
    "buckets": {
        "count": int,
        "main": int,
        "overflow": int,
        "empty": int,
        "full": int,
        "empty_density": float,
        "severity": str,
    },
    "bytes": {
        "allocated": int,
        "allocated_from": str,
        "spans": {"spans": int, "slots": int, "free": int},
        "storage": int,
        "live": int,
        "holes": int,
        "rebuild": int,
        "reclaimable": int,
    },
    "addresses": {
        "blocks": int,
        "low": str,
        "high": str,
        "span": int,
        "pages": int,
        "min_pages": int,
        "resident_pages": int,
    },
    "layout": {
        "source": str,
        "slot_size": int,
        "bucket_size": int,
        "indirect_key": bool,
        "indirect_elem": bool,
    },
    "exact": bool,
    "defects": list,
}
OF_FAMILY = {
    "classic": {
        "B": int,
        "noverflow": int,
        "growth": str,
        "old_buckets": int,
        "evacuated": int,
    },
    "swiss": {
        "tables": int,
        "dir_len": int,
        "global_depth": int,
        "growth_left": int,
        "small": bool,
    },
}
BUCKET = {
    "index": int,
    "address": str,
    "kind": str,
    "marks": str,
    "live": int,
    "tombstones": int,
}


def check_schema(document: dict[str, Any], schema: dict[str, Any], where: str = "") -> None:
    """The names of the schema are there, with values of its types."""
    for name, kind in schema.items():
        assert name in document, f"{where}{name} is missing"
        value = document[name]
        if isinstance(kind, dict):
            check_schema(value, kind, f"{where}{name}.")
        elif kind is float:
            assert isinstance(value, (int, float)), f"{where}{name} is {value!r}"
            assert 0 <= value <= 1
        else:
            assert type(value) is kind, f"{where}{name} is {value!r}"
        if name in ("address", "low", "high"):
            assert re.fullmatch(r"0x[0-9a-f]+", value)


class Zoo:
    """The zoo at its stop."""

    def __init__(self, session: Session, truth: list[dict[str, Any]], label: str) -> None:
        self.session = session
        self.truth = {entry["expr"]: entry for entry in truth}
        self.label = label
        self.family = truth[0]["family"]
        self.unit = "group" if self.family == "swiss" else "bucket"


@pytest.fixture(
    scope="module",
    params=[
        ("system", "1.27.3"),
        ("system", "1.23.9"),
        ("16.3", "1.25.5-noswissmap"),
        ("18.1", "1.27.3"),
    ],
    ids=lambda param: "gdb " + " ".join(param),
)
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    name, label = request.param
    gdb = gdbs.for_test(name)
    path = tmp_path_factory.mktemp("zoo") / "truth.jsonl"
    program = toolchains.build(ZOO, label)
    with Session(gdbtool.at_stop(program, path), gdb=gdb) as session:
        yield Zoo(session, gdbtool.read_truth(path), label)


@pytest.fixture(params=["1.23.9", "1.27.3"])
def label(request: pytest.FixtureRequest) -> str:
    """One toolchain of each family."""
    return str(request.param)


@pytest.fixture
def steps(label: str) -> list[str]:
    """Commands that load the steps.

    Go's preemption signal may move a goroutine from its breakpoint to another thread, which then
    meets the breakpoint again.
    """
    program = toolchains.build(STEPS, label)
    return [f"file {program}", "set environment GODEBUG asyncpreemptoff=1"]


# --- JSON -----------------------------------------------------------------------------------


def test_stats_json_has_the_names_of_the_schema(zoo: Zoo) -> None:
    for expression in ("main.holes", "main.twoK", "main.doubling"):
        document = zoo.session.json(f"go-map-stats -json {expression}")
        assert document["schema"] == "gomapscope.stats/1"
        check_schema(document, HEAD)
        check_schema(document[zoo.family], OF_FAMILY[zoo.family])
        assert ("classic" in document, "swiss" in document) in ((True, False), (False, True))
        assert document["expression"] == expression
        assert document["arch"] == "amd64"
        assert document["go_version"].startswith("go" + zoo.label.split("-")[0])


def test_json_sums_hold(zoo: Zoo) -> None:
    for expression in ("main.holes", "main.sameSize", "main.survivor", "main.elemBoth"):
        document = zoo.session.json(f"go-map-stats -json {expression}")
        slots, sizes = document["slots"], document["bytes"]
        old = slots.get("old_live", 0)
        assert slots["live"] - old + slots["empty"] + slots["tombstones"] == slots["capacity"]
        holes = slots["empty"] + slots["tombstones"]
        assert slots["hole_density"] == pytest.approx(holes / slots["capacity"])
        assert sizes["holes"] == holes * document["layout"]["slot_size"]
        assert sizes["reclaimable"] == max(0, sizes["allocated"] - sizes["rebuild"])
        where = document["addresses"]
        assert where["span"] == int(where["high"], 16) - int(where["low"], 16)
        assert where["min_pages"] == -(-sizes["storage"] // 4096)


def test_buckets_json_has_the_names_of_the_schema(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-buckets -json main.doubling")
    assert document["schema"] == "gomapscope.buckets/1"
    check_schema(document, HEAD)
    assert document["truncated"] is False
    for row in document["bucket_list"]:
        check_schema(row, BUCKET)
        assert re.fullmatch("[LETV]{8}", row["marks"])
        kinds = ("group",) if zoo.family == "swiss" else ("main", "overflow", "old")
        assert row["kind"] in kinds
        assert row["marks"].count("L") == row["live"]
        assert ("table" in row) == (zoo.family == "swiss")
    assert [row["index"] for row in document["bucket_list"]] == list(
        range(len(document["bucket_list"]))
    )


def test_entries_json_has_the_names_of_the_schema(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-entries -json main.nine")
    assert document["schema"] == "gomapscope.entries/1"
    check_schema(document, HEAD)
    assert document["truncated"] is False
    assert len(document["entries"]) == 9
    for row in document["entries"]:
        check_schema(row, {"key": str, "elem": str, "address": str})


def test_layout_json_describes_one_bucket(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-layout -json main.keyStruct")
    assert document["schema"] == "gomapscope.layout/1"
    assert document["family"] == zoo.family
    assert document["type"] == "map[main.Key]int"
    truth = zoo.truth["main.keyStruct"]
    assert document["layout"]["bucket_size"] == truth["bucket_size"]
    assert sum(part["size"] for part in document["parts"]) == truth["bucket_size"]


def test_status_json_names_the_program_and_its_makers(zoo: Zoo) -> None:
    document = zoo.session.json("go-map -json")
    assert document["schema"] == "gomapscope.status/1"
    assert document["family"] == zoo.family
    assert document["memory"] == "native"
    assert "missing" not in document


def test_json_is_one_line_and_nothing_else(zoo: Zoo) -> None:
    for command in COMMANDS:
        text = zoo.session.text(f"{command} -json" + (" main.nine" if command != "go-map" else ""))
        assert text.count("\n") == 1
        json.loads(text)


# --- options --------------------------------------------------------------------------------


def rows(text: str) -> list[list[str]]:
    """The rows of a table that begin with a number."""
    return [line.split() for line in text.splitlines() if re.match(r"\s*\d+\s", line)]


def test_buckets_limit_shows_the_first_and_says_how_to_see_more(zoo: Zoo) -> None:
    text = zoo.session.text("go-map-buckets main.holes -limit 3")
    total = zoo.truth["main.holes"]["buckets"]
    listed = [row for row in rows(text) if row[1] != "of"]
    assert [row[0] for row in listed] == ["0", "1", "2"]
    assert f"3 of {total} {zoo.unit}s shown" in text
    assert "-all" in text


def test_buckets_without_options_obeys_the_parameter(zoo: Zoo) -> None:
    assert "  32 of " in zoo.session.text("go-map-buckets main.holes")
    text = zoo.session.text("with go-map limit 5 -- go-map-buckets main.holes")
    assert "  5 of " in text
    assert "  32 of " in zoo.session.text("go-map-buckets main.holes")


@pytest.mark.parametrize("option", ["-all", "-limit 0", "-limit unlimited", "--all", "-a"])
def test_buckets_all_lists_every_one(zoo: Zoo, option: str) -> None:
    text = zoo.session.text(f"go-map-buckets {option} main.holes")
    total = zoo.truth["main.holes"]["buckets"]
    assert len([row for row in rows(text) if row[1] != "of"]) == total


def test_unlimited_parameter_lists_every_one(zoo: Zoo) -> None:
    total = zoo.truth["main.holes"]["buckets"]
    for value in ("unlimited", "0"):
        text = zoo.session.text(f"with go-map limit {value} -- go-map-buckets main.holes")
        assert len([row for row in rows(text) if row[1] != "of"]) == total


def test_buckets_range_is_that_of_a_go_slice(zoo: Zoo) -> None:
    everything = zoo.session.json("go-map-buckets -json main.holes")["bucket_list"]
    for spelled, wanted in (("4:9", slice(4, 9)), ("20:", slice(20, None)), (":3", slice(3))):
        found = zoo.session.json(f"go-map-buckets -json main.holes -range {spelled}")
        assert found["bucket_list"] == everything[wanted], spelled
    text = zoo.session.text("go-map-buckets main.holes -range 4:9")
    assert [row[0] for row in rows(text) if row[1] != "of"] == ["4", "5", "6", "7", "8"]


def test_buckets_only_chooses_by_state(zoo: Zoo) -> None:
    expression = "main.crowded" if zoo.family == "swiss" else "main.doubling"
    everything = zoo.session.json(f"go-map-buckets -json {expression}")["bucket_list"]
    chosen = {
        "empty": lambda row: row["live"] == 0 and row["kind"] != "old",
        "full": lambda row: row["live"] == 8,
        "overflow": lambda row: row["kind"] == "overflow",
        "tombstone": lambda row: row["tombstones"] > 0,
        "old": lambda row: row["kind"] == "old",
    }
    for only, test in chosen.items():
        found = zoo.session.json(f"go-map-buckets -json {expression} -only {only}")["bucket_list"]
        wanted = [row for row in everything if test(row)]
        if only == "empty":
            # Evacuated old buckets hold nothing, either.
            found = [row for row in found if row["kind"] != "old"]
        assert found == wanted, only


def test_buckets_heat_covers_the_whole_map(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-buckets -json -heat main.twentyK")
    heat = document["heat"]
    assert sum(cell["live"] for cell in heat) == zoo.truth["main.twentyK"]["len"]
    assert sum(cell["buckets"] for cell in heat) == zoo.truth["main.twentyK"]["buckets"]
    text = zoo.session.text("go-map-buckets main.twentyK -heat")
    assert "a cell is" in text
    assert max(map(len, text.splitlines())) <= 80


def test_heat_with_limit_adds_the_list(zoo: Zoo) -> None:
    text = zoo.session.text("go-map-buckets main.twentyK -heat -limit 2")
    assert "a cell is" in text
    assert "  2 of " in text


def test_entries_limit_and_all(zoo: Zoo) -> None:
    truth = zoo.truth["main.holes"]
    text = zoo.session.text("go-map-entries main.holes -limit 7")
    assert f"7 of {truth['len']} shown" in text
    assert len([line for line in text.splitlines() if ": " in line]) == 7
    everything = zoo.session.text("go-map-entries main.holes -all")
    for key, elem in truth["entries"]:
        assert f"  {key}: {elem}\n" in everything


def test_options_may_stand_anywhere_and_be_abbreviated(zoo: Zoo) -> None:
    wanted = zoo.session.text("go-map-buckets -limit 3 main.holes")
    for line in (
        "main.holes -limit 3",
        "-lim 3 main.holes",
        "--limit=3 main.holes",
        "-l 3 -- main.holes",
    ):
        assert zoo.session.text(f"go-map-buckets {line}") == wanted


def test_double_dash_ends_the_options(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-stats -json -- main.nine")
    assert document["len"] == 9


# --- keys -----------------------------------------------------------------------------------

BY_KIND = [
    "main.keyString",
    "main.keyInt",
    "main.keyInt8",
    "main.keyUint64",
    "main.keyUintptr",
    "main.keyFloat32",
    "main.keyComplex64",
    "main.keyBool",
    "main.keyRune",
    "main.keyArray",
    "main.keyStrArray",
    "main.keyStruct",
    "main.keyPadded",
    "main.keyAnon",
    "main.keyPointer",
    "main.keyAny",
    "main.keyStringer",
    "main.keyChan",
    "main.keyUnsafe",
    "main.keyEmpty",
    "main.keyNamed",
    "main.keyArr128",
    "main.keyBig",
    "main.gKeys",
    "main.unicode",
    "main.weird",
    "main.sameSizeStr",
    "main.unevenDir",
]


@pytest.mark.parametrize("expression", BY_KIND)
def test_every_key_as_listed_finds_its_entry(zoo: Zoo, expression: str) -> None:
    listed = zoo.session.json(f"go-map-entries -json {expression} -limit 32")["entries"]
    for row in listed:
        # As in a shell, a value with spaces needs quotes.
        key = row["key"]
        key = f"'{key}'" if " " in key and not key.startswith('"') else key
        found = zoo.session.json(f"go-map-entries -json {expression} -key {key}")
        assert row in found["entries"], row
        assert len(found["entries"]) == 1, row


@pytest.mark.parametrize(
    ("expression", "key", "elem"),
    [
        ("main.keyString", "a", "1"),
        ("main.keyString", '"a"', "1"),
        ("main.keyString", "'hello, world'", "2"),
        ("main.keyString", '"hello, world"', "2"),
        ("main.keyString", '""', "0"),
        ("main.keyInt", "17", "85"),
        ("main.keyInt", "0x11", "85"),
        ("main.keyInt", "'-9223372036854775808'", "-9223372036854775808"),
        ("main.keyUint64", "0xffffffffffffffff", "18446744073709551615"),
        ("main.keyFloat64", "7", "NaN"),
        ("main.keyFloat64", "1", "0.1"),
        ("main.keyFloat64", "+Inf", "-Inf"),
        ("main.keyBool", "true", "false"),
        ("main.keyStruct", 'main.Key{A:3, B:"key-d3"}', "3"),
        ("main.keyArray", "[3]int{1, 2, 3}", '"some"'),
        ("main.keyPointer", "nil", "-1"),
        ("main.keyStringer", "nil", "4"),
        ("main.keyNamed", "b", "-2"),
        ("main.keyAny", "nil", "nil"),
        ("main.doubling", "150", "150"),
        ("main.keyRune", "19990", "1"),
    ],
)
def test_key_is_found_however_it_is_spelled(zoo: Zoo, expression: str, key: str, elem: str) -> None:
    document = zoo.session.json(f"go-map-entries -json {expression} -key {key}")
    assert [row["elem"] for row in document["entries"]] == [elem]
    assert document["truncated"] is False
    text = zoo.session.text(f"go-map-entries {expression} -key {key}")
    assert f": {elem}\n" in text
    assert "1 of " in text


def test_key_of_an_interface_may_be_the_bare_value(zoo: Zoo) -> None:
    for key in ("x", '"x"', 'string("x")'):
        document = zoo.session.json(f"go-map-entries -json main.keyAny -key {key}")
        assert 'main.MyString("y")' in [row["elem"] for row in document["entries"]], key


def test_pointer_key_may_be_the_bare_address(zoo: Zoo) -> None:
    listed = zoo.session.json("go-map-entries -json main.keyPointer")["entries"]
    row = next(row for row in listed if "0x" in row["key"])
    address = re.search(r"0x[0-9a-f]+", row["key"])
    assert address
    found = zoo.session.json(f"go-map-entries -json main.keyPointer -key {address[0]}")
    assert found["entries"] == [row]


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("main.keyString", "nope"),
        ("main.keyInt", "4711"),
        ("main.keyStruct", 'main.Key{A:3, B:"x"}'),
        ("main.holes", "0"),
        ("main.unused", "a"),
    ],
)
def test_missing_key_is_said_to_be_missing(zoo: Zoo, expression: str, key: str) -> None:
    document = zoo.session.json(f"go-map-entries -json {expression} -key {key}")
    assert document["entries"] == []
    assert "not found" in zoo.session.text(f"go-map-entries {expression} -key {key}")


# --- what an expression may be ----------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "main.holder.byID",
        "main.holder.sub.tags",
        "main.ptrHold.byID",
        "(*main.ptrHold).byID",
        "main.ptrToMap",
        "*main.ptrToMap",
        "main.mapArr[1]",
        "main.mapSlice[1]",
        "main.mapSlice.array[1]",
        "main.mapSlice[2-1]",
        "main.anyMap",
        "main.anyPtr",
        "&main.nine",
        "'main.nine'",
        "'zoo/inner.Registry'",
        "inner.Registry",
        "main.gInts",
        "main.gNested",
        "main.set",
        "main.counter",
        "main.values",
    ],
)
def test_expression_leads_to_the_map(zoo: Zoo, expression: str) -> None:
    spellings = {
        "(*main.ptrHold).byID": "main.ptrHold.byID",
        "main.mapSlice[1]": "main.mapSlice.array[1]",
        "main.mapSlice[2-1]": "main.mapSlice.array[1]",
        "&main.nine": "main.nine",
        "'main.nine'": "main.nine",
        "inner.Registry": "'zoo/inner.Registry'",
    }
    truth = zoo.truth[spellings.get(expression, expression)]
    for command in OF_A_MAP:
        zoo.session.text(f"{command} {expression}")
    document = zoo.session.json(f"go-map-stats -json {expression}")
    assert document["address"] == truth["address"]
    assert document["type"] == truth["type"]
    assert document["expression"] == expression


@pytest.mark.parametrize("name", ["localSmall", "localInts", "localGrown", "localUnused"])
def test_local_of_a_frame_is_found_there(zoo: Zoo, name: str) -> None:
    session = zoo.session
    session.text("echo", frame="main.run")
    try:
        document = session.json(f"go-map-stats -json {name}")
        assert document["address"] == zoo.truth[name]["address"]
        # In the package's own frame its variables need no prefix.
        assert session.json("go-map-stats -json nine")["len"] == 9
    finally:
        session.text("frame 0")


def test_convenience_variable_is_a_map(zoo: Zoo) -> None:
    zoo.session.text("set $map = main.nine")
    for command in OF_A_MAP:
        zoo.session.text(f"{command} $map")
    assert zoo.session.json("go-map-stats -json $map")["len"] == 9
    assert zoo.session.text("output $_go_map_len($map)") == "9"


@pytest.mark.parametrize("command", OF_A_MAP)
def test_address_with_its_type_is_a_map(zoo: Zoo, command: str) -> None:
    address = zoo.truth["main.nine"]["address"]
    document = zoo.session.json(f"{command} -json {address} -type 'map[string]int'")
    assert document["type"] == "map[string]int"
    if command != "go-map-layout":
        assert document["len"] == 9
        assert document["address"] == address


@pytest.mark.parametrize(
    ("expression", "type_name"),
    [
        ("main.set", "main.StringSet"),
        ("main.elemEmpty", "map[int]struct {}"),
        ("main.keyAny", "map[interface {}]interface {}"),
        ("main.keyAny", "map[any]any"),
        ("main.gInts", "main.GMap[int,string]"),
        ("main.keyStruct", "map[main.Key]int"),
        ("main.elemPointer", "map[string]*main.T"),
    ],
)
def test_type_may_be_named_generic_or_literal(zoo: Zoo, expression: str, type_name: str) -> None:
    truth = zoo.truth[expression]
    document = zoo.session.json(f"go-map-entries -json {truth['address']} -type '{type_name}'")
    found = Counter((row["key"], row["elem"]) for row in document["entries"])
    assert found == Counter((key, elem) for key, elem in truth["entries"])


def test_layout_takes_a_type_without_a_map(zoo: Zoo) -> None:
    for spelled in ("map[string]int", "main.Counter", "map[main.Big160]main.Big160"):
        document = zoo.session.json(f"go-map-layout -json {spelled}")
        assert document["layout"]["bucket_size"] > 0
    assert document["layout"]["indirect_key"] is True


# --- parameters, functions, help --------------------------------------------------------------


def test_parameters_show_and_set(zoo: Zoo) -> None:
    session = zoo.session
    shown = session.text("show go-map")
    for name in ("limit", "style", "format", "pretty-print", "debug"):
        assert f"{name}:" in shown
    for name, value, words in (
        ("limit", "7", "is 7."),
        ("limit", "unlimited", "is unlimited."),
        ("limit", "32", "is 32."),
        ("style", "ascii", "is ascii."),
        ("style", "auto", "is auto."),
        ("format", "json", "is json."),
        ("format", "text", "is text."),
        ("debug", "on", "is on."),
        ("debug", "off", "is off."),
    ):
        assert session.text(f"set go-map {name} {value}") == ""
        assert words in session.text(f"show go-map {name}")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("limit", "-5"), ("limit", "many"), ("style", "blue"), ("format", "xml"), ("debug", "maybe")],
)
def test_bad_value_of_a_parameter_is_refused_and_changes_nothing(
    zoo: Zoo, setting: str, value: str
) -> None:
    before = zoo.session.text(f"show go-map {setting}")
    assert zoo.session.error(f"set go-map {setting} {value}")
    assert zoo.session.text(f"show go-map {setting}") == before


def test_unknown_parameter_is_refused(zoo: Zoo) -> None:
    assert "nosuch" in zoo.session.error("set go-map nosuch 1")
    assert "nosuch" in zoo.session.error("show go-map nosuch")


def test_format_json_makes_every_command_print_json(zoo: Zoo) -> None:
    for command in OF_A_MAP:
        document = zoo.session.json(f"with go-map format json -- {command} main.nine")
        assert document["schema"].startswith("gomapscope.")


def test_style_ascii_draws_without_block_characters(zoo: Zoo) -> None:
    for command in (*OF_A_MAP, "go-map-buckets -heat"):
        text = zoo.session.text(f"with go-map style ascii -- {command} main.holes")
        assert text.isascii(), command
    text = zoo.session.text("with go-map style unicode -- go-map-buckets main.holes")
    assert not text.isascii()


@pytest.mark.parametrize(
    "expression", ["main.nilMap", "main.holes", "main.survivor", "main.doubling", "main.emptied"]
)
def test_functions_agree_with_the_command(zoo: Zoo, expression: str) -> None:
    session = zoo.session
    document = session.json(f"go-map-stats -json {expression}")
    holes = document["slots"]["empty"] + document["slots"]["tombstones"]
    wanted = {
        "len": document["len"],
        "holes": holes,
        "hole_density": document["slots"].get("hole_density") or 0,
        "empty_density": document["buckets"].get("empty_density") or 0,
        "reclaimable": document["bytes"]["reclaimable"],
    }
    for name, value in wanted.items():
        for argument in (expression, f'"{expression}"'):
            text = session.text(f"output $_go_map_{name}({argument})")
            assert float(text) == pytest.approx(value), f"{name} of {argument}"


def test_function_says_what_it_wants(zoo: Zoo) -> None:
    for call in ("$_go_map_len()", "$_go_map_len(main.nine, main.one)"):
        assert "takes one argument, a Go map" in zoo.session.error(f"output {call}")
    assert "not a map" in zoo.session.error("output $_go_map_len(main.stopped)")
    listed = zoo.session.text("help function")
    for name in ("len", "holes", "hole_density", "empty_density", "reclaimable"):
        assert f"$_go_map_{name}" in listed or f"_go_map_{name}" in listed
        assert "Usage: $_go_map_" in zoo.session.text(f"help function _go_map_{name}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_a_sentence_and_names_every_option(zoo: Zoo, command: str) -> None:
    text = zoo.session.text(f"help {command}")
    first, second, third = text.splitlines()[:3]
    assert first.endswith(".")
    assert second == ""
    assert third.startswith(f"Usage: {command}")
    assert max(map(len, text.splitlines())) <= 80
    completed = zoo.session.text(f"complete {command} -").split("\n")
    options = [line.split()[-1] for line in completed if line]
    assert "-json" in options
    for option in options:
        assert re.search(rf"^  {option}\b", text, re.MULTILINE), option


def test_apropos_finds_commands_and_settings(zoo: Zoo) -> None:
    text = zoo.session.text("apropos go-map")
    for name in COMMANDS:
        assert f"{name} -- " in text
    for setting in ("limit", "style", "format", "pretty-print", "debug"):
        assert f"set go-map {setting} -- " in text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("go-map-b", ["go-map-buckets"]),
        ("go-map-buckets -", ["-all", "-heat", "-json", "-limit", "-only", "-range", "-type"]),
        ("go-map-buckets --li", ["--limit"]),
        ("go-map-buckets main.hol", ["main.holder", "main.holes", "main.holesStr"]),
        ("go-map-buckets -limit 3 main.twen", ["main.twentyK", "main.twentyKStr"]),
        ("go-map-buckets main.holes -o", ["-only"]),
        ("go-map-buckets -only t", ["tombstone"]),
        ("go-map-stats main.holder.s", ["main.holder.sub"]),
        ("go-map-stats main.ptrHold.by", ["main.ptrHold.byID"]),
        ("go-map-stats zoo/inner.Reg", ["zoo/inner.Registry"]),
        ("go-map-entries -k", ["-key"]),
        ("set go-map st", ["style"]),
        ("set go-map style un", ["unicode"]),
    ],
)
def test_completion_offers(zoo: Zoo, typed: str, found: list[str]) -> None:
    lines = [line for line in zoo.session.text(f"complete {typed}").splitlines() if line]
    assert [line.rsplit(" ", 1)[-1] for line in lines] == found


def test_completion_never_breaks_the_line(zoo: Zoo) -> None:
    for typed in ("nosuch.", "main.nosuch", "$", "'", '"', "((", "main.holes[", "-type map[", "-x"):
        for command in OF_A_MAP:
            zoo.session.text(f"complete {command} {typed}")


# --- what runs the program --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "done"),
    [
        ("$_go_map_empty_density(main.cache) > 0.2", 2),
        ("$_go_map_len(main.cache) < 3500", 1),
        ('$_go_map_len("main.cache") == 0', 3),
        ("$_go_map_hole_density(main.cache) > 0.99", 3),
        ("$_go_map_reclaimable(main.cache) > 40000", 1),
    ],
)
def test_condition_stops_at_the_right_call(
    steps: list[str], condition: str, done: int, tmp_path: Path
) -> None:
    before = [*steps, f"break main.stop if {condition}", f"run > {tmp_path / 'out'}"]
    # The function is there before the breakpoint: load first.
    printed = gdbtool.batch([], [*before, "echo done=", "output main.calls", "continue 99"])
    # calls counts finished calls of stop: that is the argument of this one.
    assert f"done={done}" in printed.stdout, printed.stdout + printed.stderr
    assert not gdbtool.UGLY.search(printed.stdout + printed.stderr)
    assert "exited normally" in printed.stdout
    assert (tmp_path / "out").read_text() == "DONE 5\n"


def test_condition_sees_an_escaped_local_by_its_name(steps: list[str]) -> None:
    after = [
        *steps,
        "break main.stop if done == -1",
        "run > /dev/null",
        "up",
        'output $_go_map_len("local")',
        "echo \\n",
        "go-map-entries local",
    ]
    printed = gdbtool.batch([], after)
    assert "\n2\n" in printed.stdout, printed.stdout + printed.stderr
    assert '"one": 1' in printed.stdout


def test_map_assigned_to_is_found_in_its_register(steps: list[str]) -> None:
    place = "*'runtime.mapassign_faststr'"
    with Session([*steps, "break main.count", "run > /dev/null", f"break {place}"]) as session:
        session.text("continue")
        address = session.json("go-map-stats -json main.counts")["address"]
        lengths = []
        # Growing its stack may bring a function to its entry again.
        while "mapassign" in (session.ask("frame").output or ""):
            document = session.json("go-map-stats -json $rbx -type 'map[string]int'")
            assert document["address"] == address
            assert document["len"] == session.json("go-map-stats -json main.counts")["len"]
            lengths.append(document["len"])
            if lengths[-1] == 2:
                break
            session.text("continue")
        assert lengths[0] == 0
        assert lengths == sorted(lengths)
        assert lengths[-1] == 2


def test_figures_follow_the_program_from_stop_to_stop(steps: list[str]) -> None:
    with Session([*steps, "break main.stop", "run > /dev/null"]) as session:
        seen = []
        for _ in range(4):
            seen.append(session.json("go-map-stats -json main.cache")["len"])
            session.text("continue")
        assert seen == [6000, 3000, 600, 0]


def test_piped_json_is_all_the_shell_gets(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    path = tmp_path / "truth.jsonl"
    caught = tmp_path / "caught"
    command = f"| go-map-stats -json main.nine | cat > {caught}"
    printed = gdbtool.batch(gdbtool.at_stop(program, path), [command, "kill"])
    assert json.loads(caught.read_text())["len"] == 9
    assert "gomapscope" not in printed.stdout


def test_python_api_serves_a_hook_script(zoo: Zoo) -> None:
    python = zoo.session.python
    made = "__import__('gomapscope').Map"
    truth = zoo.truth["main.holes"]
    stats = f"{made}('main.holes').stats()"
    holes = truth["empty"] + truth["tombstones"]
    assert python(f"{stats}.hole_density") == pytest.approx(holes / truth["capacity"])
    assert python(f"{stats}.exact") is True
    for name in ("len", "capacity", "live", "empty", "tombstones"):
        assert python(f"{stats}.{name}") == truth[name]
    assert python(f"{stats}.buckets") == truth["buckets"]
    assert python(f"{stats}.empty_buckets") == truth["empty_buckets"]
    assert python(f"{stats}.holes") == holes
    assert python(f"{stats}.defects") == []
    assert python(f"{stats}.reclaimable") == python(f"{stats}.json['bytes']['reclaimable']")
    assert python(f"{stats}.severity") in ("healthy", "light", "severe")
    assert python(f"len({made}('main.holes'))") == truth["len"]
    assert python(f"hex({made}('main.holes').address)") == truth["address"]
    assert python(f"{made}('main.holes').type") == "map[int]string"
    assert python(f"{made}('main.holes').family") == zoo.family
    listed = python(f"[list(b) for b in {made}('main.holes').buckets()]")
    assert len(listed) == truth["buckets"]
    assert sum(row[4] for row in listed) == truth["live"]
    entries = python(f"[[e.key, e.elem] for e in {made}('main.holes').entries()]")
    assert sorted(entries) == sorted(map(list, truth["entries"]))
    # More than one page of the iterators.
    assert python(f"sum(1 for e in {made}('main.twentyK').entries())") == 20000
    pairs = zoo.truth["main.twentyK"]["buckets"]
    assert python(f"sum(1 for b in {made}('main.twentyK').buckets())") == pairs


def test_python_api_takes_values_addresses_and_expressions(zoo: Zoo) -> None:
    python = zoo.session.python
    made = "__import__('gomapscope').Map"
    address = zoo.truth["main.nine"]["address"]
    for argument in (
        "'main.nine'",
        "gdb.parse_and_eval('main.nine')",
        "gdb.parse_and_eval('&main.nine')",
        f"{address}, 'map[string]int'",
        f"{address}, type='map[string]int'",
        f"'{address}', 'map[string]int'",
    ):
        assert python(f"len({made}({argument}))") == 9, argument
        assert python(f"hex({made}({argument}).address)") == address
    assert python(f"len({made}(gdb.parse_and_eval('main.anyMap')))") == 10
    assert python(f"bool({made}('main.nilMap'))") is True
    assert python(f"{made}('main.nilMap').stats().hole_density") == 0
    assert "gomapscope.Map map[string]int" in python(f"repr({made}('main.nine'))")


def test_stop_when_sparse_script_stops_once_the_map_is_sparse(steps: list[str]) -> None:
    after = [
        *steps,
        f"source {SCRIPTS / 'stop-when-sparse.py'}",
        "stop-when-sparse main.stop main.cache 0.2",
        "run > /dev/null",
        "echo done=",
        "output main.calls",
    ]
    printed = gdbtool.batch([], after)
    assert "done=2" in printed.stdout, printed.stdout + printed.stderr
    assert re.search(r"main\.cache: \d\d\.\d% of its buckets are empty \(len 600, ", printed.stdout)


def test_stop_when_sparse_commands_stop_and_show_the_map(steps: list[str]) -> None:
    after = [
        *steps,
        f"source {SCRIPTS / 'stop-when-sparse.gdb'}",
        "run > /dev/null",
        "echo done=",
        "output main.calls",
    ]
    printed = gdbtool.batch([], after)
    assert "done=2" in printed.stdout, printed.stdout + printed.stderr
    assert "main.cache  map[int]int  len 600" in printed.stdout


def test_watch_density_script_prints_a_line_at_each_stop(steps: list[str]) -> None:
    after = [
        *steps,
        f"source {SCRIPTS / 'watch-density.py'}",
        "break main.stop",
        "watch-density main.cache",
        "run > /dev/null",
        "continue",
        "continue",
        "watch-density",
        "continue",
    ]
    printed = gdbtool.batch([], after)
    lines = [line for line in printed.stdout.splitlines() if line.startswith("main.cache  len")]
    lengths = [re.search(r"len ([\d,]+)", line)[1] for line in lines]  # type: ignore[index]
    assert lengths == ["6,000", "3,000", "600"], printed.stdout + printed.stderr
    assert lines[0].endswith("healthy")
    assert lines[2].endswith("severe")


# --- MI ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["system", "18.1"], ids=lambda name: f"gdb {name}")
def mi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mi]:
    gdb = gdbs.for_test(request.param)
    program = toolchains.build(ZOO, "1.27.3")
    path = tmp_path_factory.mktemp("zoo") / "truth.jsonl"
    with Mi("-x", str(gdbtool.SCRIPT), str(program), gdb=gdb) as mi:
        mi.send("-break-insert main.stop")
        mi.send(f"-exec-arguments {path} > /dev/null")
        mi.send("-exec-run")
        mi.until(r"\*stopped,reason=\"breakpoint-hit\"")
        yield mi


@pytest.mark.parametrize("command", OF_A_MAP)
def test_mi_command_returns_the_json_model(mi: Mi, command: str) -> None:
    found = mi.result(f"-{command} main.nine")
    assert found["schema"].startswith("gomapscope.")
    assert found["type"] == "map[string]int"
    if command == "go-map-stats":
        assert found["len"] == "9"
        assert found["exact"] == "true"
        assert found["slots"]["live"] == "9"
        assert found["defects"] == []
    if command == "go-map-entries":
        assert len(found["entries"]) == 9
        assert '"key-a0"' in [entry["key"] for entry in found["entries"]]
    if command == "go-map-buckets":
        assert sum(int(row["live"]) for row in found["bucket_list"]) == 9


def test_mi_command_takes_options(mi: Mi) -> None:
    found = mi.result("-go-map-buckets -limit 2 main.holes")
    assert len(found["bucket_list"]) == 2
    assert found["truncated"] == "true"
    found = mi.result('-go-map-entries main.keyString -key "hello, world"')
    assert [entry["elem"] for entry in found["entries"]] == ["2"]
    found = mi.result('-go-map-layout "map[int]struct {}"')
    assert found["type"] == "map[int]struct {}"


def test_mi_status_and_errors(mi: Mi) -> None:
    assert mi.result("-go-map")["memory"] == "native"
    assert "not a map" in mi.error("-go-map-stats main.stopped")
    assert "no option" in mi.error("-go-map-stats -bogus main.nine")


def test_mi_console_prints_plain_text(mi: Mi) -> None:
    start = len(mi.records)
    assert mi.send('-interpreter-exec console "go-map-stats main.nine"') == "^done"
    said = "".join(record for record in mi.records[start:] if record.startswith("~"))
    assert "main.nine  map[string]int  len 9" in said
    assert "\\033" not in said


def test_untraced_run_of_steps_ends_well(label: str) -> None:
    program = toolchains.build(STEPS, label)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "DONE 5\n")
