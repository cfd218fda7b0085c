"""What goes wrong says so in one line, or gives a partial, flagged result, and harms nothing.

Wrong memory is made with gdb itself, in a live zoo, and undone before the program goes on.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

import gdbs
import gdbtool
import toolchains
from gdbtool import Mi, Session

ZOO = Path(__file__).parent / "go" / "zoo"

OF_A_MAP = ("go-map-stats", "go-map-buckets", "go-map-entries")
FUNCTIONS = ("len", "holes", "hole_density", "empty_density", "reclaimable")


class Zoo:
    """The zoo at its stop, and access to its memory."""

    def __init__(self, session: Session, truth: list[dict[str, Any]], output: Path) -> None:
        self.session = session
        self.truth = {entry["expr"]: entry for entry in truth}
        self.output = output

    def address(self, expression: str) -> int:
        return int(self.truth[expression]["address"], 16)

    def read(self, address: int, size: int = 8) -> bytes:
        text = self.session.python(
            f"bytes(gdb.selected_inferior().read_memory({address}, {size})).hex()"
        )
        return bytes.fromhex(text)

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address), "little")

    def write(self, address: int, data: bytes) -> None:
        self.session.python(
            f"gdb.selected_inferior().write_memory({address}, bytes.fromhex('{data.hex()}'))"
        )

    @contextlib.contextmanager
    def changed(self, address: int, data: bytes) -> Iterator[None]:
        """Other bytes in the program's memory for a while."""
        before = self.read(address, len(data))
        self.write(address, data)
        try:
            yield
        finally:
            self.write(address, before)

    def finish(self) -> None:
        """Let the program end: with its own checks passed, and the checksum of every run."""
        # Go may move the goroutine to another thread, which would meet the breakpoint again.
        self.session.text("delete")
        self.session.text("continue")
        assert self.session.text("output $_exitcode") == "0"
        assert self.output.read_text().splitlines()[-1] == checksum()


_checksums: dict[str, str] = {}


def checksum() -> str:
    """The last line of a zoo that nobody looked at: the same in every run and build."""
    if "line" not in _checksums:
        program = toolchains.build(ZOO, "1.27.3")
        done = subprocess.run([program, "/dev/null"], capture_output=True, text=True, check=True)
        _checksums["line"] = done.stdout.splitlines()[-1]
        assert _checksums["line"].startswith("CHECKSUM ")
    return _checksums["line"]


@contextlib.contextmanager
def stopped(label: str, folder: Path, gdb: Optional[str] = None) -> Iterator[Zoo]:
    """A zoo at its stop, its output in a file."""
    program = toolchains.build(ZOO, label)
    truth, output = folder / "truth.jsonl", folder / "output"
    before = [f"file {program}", "break main.stop", f"run {truth} > {output}"]
    with Session(before, gdb=gdb) as session:
        yield Zoo(session, gdbtool.read_truth(truth), output)


@pytest.fixture(scope="module", params=["1.23.9", "1.27.3"])
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    with stopped(request.param, tmp_path_factory.mktemp("zoo")) as zoo:
        yield zoo
        zoo.finish()


@pytest.fixture(scope="module", params=["1.21.13", "1.25.5-noswissmap"])
def classic(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zoo]:
    with stopped(request.param, tmp_path_factory.mktemp("zoo")) as zoo:
        yield zoo
        zoo.finish()


@pytest.fixture(scope="module", params=["1.24.11", "1.27.3", "1.27.3-mapsplitgroup"])
def swiss(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zoo]:
    with stopped(request.param, tmp_path_factory.mktemp("zoo")) as zoo:
        yield zoo
        zoo.finish()


# --- wrong questions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "needs an expression"),
        ("nosuch", "nosuch"),
        ("main.nosuch", "main.nosuch"),
        ("nosuch.thing", "nosuch"),
        ("zoo/inner.Nosuch", "Nosuch"),
        ("main.holder.nosuch", "nosuch"),
        ("main.holder", "main.Holder, not a map"),
        ("main.stopped", "int, not a map"),
        ("42", "not a map"),
        ('"text"', "not a map"),
        ("$nosuch", "no value"),
        ("$pc", "not a map"),
        ("1 +", "syntax error"),
        ("main.nine +", "syntax error"),
        ("(main.nine", "syntax error"),
        ("'main.nine", "quote"),
        ("main.nine -bogus", "-bogus"),
        ("main.nine -json=yes", "-json"),
        ("main.nine -type", "-type"),
        ("main.nine -type ''", "-type"),
        ("main.nine -type int", "int is not a map type"),
        ("main.nine -type 'map[nosuch]int'", "map[nosuch]int"),
        ("main.mapSlice", "not a map"),
        ("main.mapSlice[7]", "out of range"),
        ("main.mapArr", "not a map"),
        ("main.twins[1]", "go-map-entries main.twins -key"),
        ('main.twins["ab"].a', "go-map-entries main.twins -key"),
        ("(main.elemMapEmpty)[2]", "go-map-entries"),
        ("'main.stop'()", "never runs code of the program"),
        ("main.itoa(1)", "never runs code of the program"),
        ("str(1)", "never runs code of the program"),
        ("*0x0", "*0x0"),
        ("main.keyAny.nosuch", "nosuch"),
    ],
)
@pytest.mark.parametrize("command", OF_A_MAP)
def test_wrong_expression_is_one_line_that_names_it(
    zoo: Zoo, command: str, argument: str, words: str
) -> None:
    message = zoo.session.error(f"{command} {argument}".strip())
    assert words in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "arguments",
    [
        "-limit x main.nine",
        "-limit -1 main.nine",
        "-limit",
        "-limit 99999999999999999999999 main.nine",
        "-range 5 main.nine",
        "-range 5:3 main.nine",
        "-range a:b main.nine",
        "-only nosuch main.nine",
        "-limit 3 -limit 4 main.nine",
        "-limit 3 -all main.nine",
    ],
)
def test_wrong_option_is_one_line_that_names_it(zoo: Zoo, arguments: str) -> None:
    message = zoo.session.error(f"go-map-buckets {arguments}")
    assert re.search("-(limit|range|only|all)", message)


def test_layout_of_no_map_is_one_line(zoo: Zoo) -> None:
    for argument in ("main.holder", "map[nosuch]int", "map[", "int", "main.Key", ""):
        assert zoo.session.error(f"go-map-layout {argument}".strip())


def test_status_takes_no_expression(zoo: Zoo) -> None:
    assert "takes no expression" in zoo.session.error("go-map main.nine")


def test_nil_map_is_an_answer_not_a_failure(zoo: Zoo) -> None:
    document = zoo.session.json("go-map-stats -json main.nilMap")
    assert (document["len"], document["address"], document["exact"]) == (0, "0x0", True)
    assert "Nil map" in zoo.session.text("go-map-stats main.nilMap")
    assert zoo.session.json("go-map-buckets -json main.nilMap")["bucket_list"] == []
    assert zoo.session.json("go-map-entries -json main.nilMap")["entries"] == []
    for command in (*OF_A_MAP, "go-map-layout"):
        assert zoo.session.text(f"{command} main.nilMap")


def test_escape_sequences_of_the_target_never_reach_the_terminal(zoo: Zoo) -> None:
    for expression in ("main.weird", "main.unicode"):
        for line in (f"go-map-entries {expression}", f"go-map-entries -json {expression}"):
            text = zoo.session.text(line)
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)


def test_selection_and_language_stay_as_they_were(zoo: Zoo) -> None:
    session = zoo.session
    session.text("set language c")
    session.text("frame 1")
    try:
        # Session.ask compares thread, frame and language around each command.
        for command in (*OF_A_MAP, "go-map-layout"):
            session.text(f"{command} main.nine")
            session.error(f"{command} nosuch")
        session.text("go-map")
        assert session.python("gdb.parameter('language')") == "c"
        assert session.python("gdb.selected_frame().level()") == 1
    finally:
        session.text("set language auto")
        session.text("frame 0")


# --- wrong memory -------------------------------------------------------------------------------


def flagged(session: Session, arguments: str) -> list[str]:
    """Ask all commands; each ends with one line, or with a result that is flagged.

    Returns the codes of the defects, ``error`` for a line.
    """
    codes = []
    for command in OF_A_MAP:
        # A header that claims a million buckets makes long lists.
        some = "" if command == "go-map-stats" else "-limit 8"
        answer = session.ask(f"{command} -json {some} {arguments}")
        if answer.error is not None:
            codes.append("error")
            continue
        document = answer.json
        assert document["exact"] is False, document
        assert document["defects"], document
        codes += [defect["code"] for defect in document["defects"]]
        for defect in document["defects"]:
            assert re.fullmatch("0x[0-9a-f]+", defect["address"])
            assert defect["expected"]
            assert defect["found"]
        text = session.text(f"{command} {some} {arguments}")
        assert "Not exact" in text, text
    return codes


def functions_refuse(session: Session, expression: str) -> None:
    """A breakpoint's condition must not be decided by wrong figures."""
    for name in FUNCTIONS[1:]:
        refused = session.error(f"output $_go_map_{name}({expression})")
        assert "not exact" in refused or "cannot read" in refused


GARBAGE = {
    "0x1": "1",
    "unaligned": "{nine} + 1",
    "unmapped": "0x10",
    "kernel": "0xffffffffffffff00",
    "last byte": "0xffffffffffffffff",
    "code": "(unsigned long)$pc",
    "text of a string": "{string}",
    "type descriptor": "{pc}",
    "bucket": "{bucket}",
}


@pytest.mark.parametrize("place", GARBAGE)
def test_garbage_address_is_refused_or_flagged(zoo: Zoo, place: str) -> None:
    session = zoo.session
    rows = session.json("go-map-buckets -json main.nine -limit 1")["bucket_list"]
    entry = session.json("go-map-entries -json main.keyString -limit 3")["entries"][1]
    values = {
        "nine": zoo.address("main.nine"),
        "string": zoo.word(int(entry["address"], 16)) or 0x10,
        "pc": session.python("gdb.selected_frame().older().pc()"),
        "bucket": int(rows[0]["address"], 16) + 8,
    }
    spelled = GARBAGE[place].format(**values)
    if place == "code":
        spelled = hex(session.python("gdb.selected_frame().pc()"))
    elif place == "unaligned":
        spelled = hex(values["nine"] + 1)
    assert flagged(session, f"{spelled} -type 'map[string]int'")


def test_pointer_into_nowhere_is_refused_or_flagged(zoo: Zoo) -> None:
    # The variable itself: &main.nine holds the header's address.
    variable = zoo.session.python("int(gdb.parse_and_eval(\"&'main.nine'\"))")
    for wrong in (0x1, 0x10, 0x7FFFFFFFFFFF0000, 0xFFFFFFFFFFFFFFFF):
        with zoo.changed(variable, struct.pack("<Q", wrong)):
            assert flagged(zoo.session, "main.nine")
            functions_refuse(zoo.session, "main.nine")
    assert zoo.session.json("go-map-stats -json main.nine")["exact"] is True


def test_wrong_type_of_an_address_never_breaks_anything(zoo: Zoo) -> None:
    for name in ("main.nine", "main.twoK", "main.holes", "main.anyMap"):
        for type_name in (
            "map[string]int",
            "map[int]int",
            "map[main.Big160]main.Big160",
            "map[interface {}]interface {}",
            "map[struct {}]struct {}",
            "map[string]map[string]int",
        ):
            arguments = f"{zoo.address(name):#x} -type '{type_name}'"
            for command in OF_A_MAP:
                # What a string's header should be may claim any length: few of them.
                some = "-limit 2" if command == "go-map-entries" else ""
                answer = zoo.session.ask(f"{command} -json {some} {arguments}")
                if answer.error is None:
                    json.loads(answer.text)
                    zoo.session.text(f"{command} {arguments}")


Q = "<Q"


def _classic_cases() -> dict[str, tuple[str, Callable[[Zoo, int], tuple[int, bytes]], set[str]]]:
    """Map, where and what to write into a classic map, and the defects that may be named."""

    def at(offset: int, form: str, value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (header + offset, struct.pack(form, value))

    def overflow(target: str) -> Callable[[Zoo, int], tuple[int, bytes]]:
        def write(zoo: Zoo, header: int) -> tuple[int, bytes]:
            buckets, size = zoo.word(header + 16), zoo.truth["main.crowded"]["bucket_size"]
            first = buckets + 3 * size
            chained = zoo.word(first + size - 8)
            assert chained, "the zoo's crowd has overflow buckets"
            value = {
                "itself": chained,
                "unaligned": chained + 1,
                "unmapped": 0x10,
                "header": header,
            }[target]
            return chained + size - 8, struct.pack(Q, value)

        return write

    def tophash(value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (zoo.word(header + 16), bytes([value]) * 8)

    return {
        "count one more": ("main.nine", at(0, Q, 10), {"count-mismatch"}),
        "count one less": ("main.nine", at(0, Q, 8), {"count-mismatch"}),
        "count huge": ("main.nine", at(0, Q, 2**60), set()),
        "count negative": ("main.nine", at(0, "<q", -1), set()),
        "B 200": ("main.nine", at(9, "B", 200), set()),
        "B 63": ("main.nine", at(9, "B", 63), set()),
        "B 40": ("main.nine", at(9, "B", 40), set()),
        "B 20": ("main.nine", at(9, "B", 20), set()),
        "B 0": ("main.nine", at(9, "B", 0), set()),
        "buckets nil": ("main.nine", at(16, Q, 0), {"buckets-nil"}),
        "buckets unmapped": ("main.nine", at(16, Q, 0x10), {"unreadable"}),
        "buckets at the end": ("main.nine", at(16, Q, 2**64 - 8), set()),
        "old buckets unmapped": ("main.doubling", at(24, Q, 0x10), {"unreadable"}),
        "old buckets at the end": ("main.doubling", at(24, Q, 2**64 - 8), set()),
        "old buckets of one bucket": ("main.one", at(24, Q, 0x10), {"growth"}),
        "chain to itself": ("main.crowded", overflow("itself"), {"chain-cycle"}),
        "chain unaligned": ("main.crowded", overflow("unaligned"), set()),
        "chain unmapped": ("main.crowded", overflow("unmapped"), {"overflow-unreadable"}),
        "chain to the header": ("main.crowded", overflow("header"), set()),
        "tophash evacuated": ("main.nine", tophash(3), set()),
        "tophash out of order": ("main.holes", tophash(4), set()),
    }


CLASSIC_CASES = _classic_cases()


@pytest.mark.parametrize("case", CLASSIC_CASES)
def test_corrupted_classic_map_is_flagged(classic: Zoo, case: str) -> None:
    expression, write, codes = CLASSIC_CASES[case]
    address, data = write(classic, classic.address(expression))
    with classic.changed(address, data):
        found = flagged(classic.session, expression)
        assert codes <= set(found), found
        functions_refuse(classic.session, expression)
    assert classic.session.json(f"go-map-stats -json {expression}")["exact"] is True


def _swiss_cases() -> dict[str, tuple[str, Callable[[Zoo, int], tuple[int, bytes]], set[str]]]:
    """The same for Swiss maps."""

    def at(offset: int, form: str, value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (header + offset, struct.pack(form, value))

    def table(offset: int, form: str, value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (
            zoo.word(zoo.word(header + 16)) + offset,
            struct.pack(form, value),
        )

    def entry(pick: Callable[[Zoo, int], int]) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (zoo.word(header + 16), struct.pack(Q, pick(zoo, header)))

    def foreign(zoo: Zoo, header: int) -> int:
        return zoo.word(zoo.word(zoo.address("main.nine") + 16))

    def second(zoo: Zoo, header: int) -> int:
        directory, length = zoo.word(header + 16), zoo.word(header + 24)
        return zoo.word(directory + 8 * (length - 1))

    def ctrl(value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (
            zoo.word(zoo.word(zoo.word(header + 16)) + 16),
            bytes([value]) * 8,
        )

    def all_live(zoo: Zoo, header: int) -> tuple[int, bytes]:
        # By chance one of the two groups may be full, and nothing wrong with it.
        groups = zoo.session.json("go-map-buckets -json main.nine")["bucket_list"]
        group = next(group for group in groups if group["live"] < 8)
        return int(group["address"], 16), bytes([1]) * 8

    def small(value: int) -> Callable[[Zoo, int], tuple[int, bytes]]:
        return lambda zoo, header: (zoo.word(header + 16), bytes([value]) * 8)

    many = "main.twoK"
    return {
        "count one more": ("main.nine", at(0, Q, 10), {"count-mismatch"}),
        "count one less": (many, at(0, Q, 1999), {"count-mismatch"}),
        "count huge": ("main.nine", at(0, Q, 2**60), set()),
        "directory nil": (many, at(16, Q, 0), {"directory-nil"}),
        "directory unmapped": (many, at(16, Q, 0x10), {"directory-unreadable"}),
        "directory at the end": (many, at(16, Q, 2**64 - 8), set()),
        "directory length 2^60": (many, at(24, Q, 2**60), set()),
        "directory length 2^63": (many, at(24, Q, 2**63), set()),
        "directory length 3": (many, at(24, Q, 3), set()),
        "directory length 2^20": (many, at(24, Q, 2**20), set()),
        "directory length 0": (many, at(24, Q, 0), set()),
        "depth 200": (many, at(32, "B", 200), set()),
        "entry nil": (many, entry(lambda zoo, header: 0), {"directory-entry-nil"}),
        "entry 1": (many, entry(lambda zoo, header: 1), {"table-unreadable"}),
        "entry unmapped": (many, entry(lambda zoo, header: 0x10), {"table-unreadable"}),
        "entry of another map": (many, entry(foreign), set()),
        "entry repeated": (many, entry(second), set()),
        "mask garbage": (many, table(24, Q, 0xDEADBEEF), set()),
        "mask all ones": (many, table(24, Q, 2**64 - 1), set()),
        "mask 5": (many, table(24, Q, 5), set()),
        "mask 0": (many, table(24, Q, 0), set()),
        "groups nil": (many, table(16, Q, 0), set()),
        "groups unmapped": (many, table(16, Q, 0x10), {"unreadable"}),
        "groups at the end": (many, table(16, Q, 2**64 - 8), set()),
        "table's count": (many, table(0, "<H", 3), {"table-used"}),
        "table's capacity": (many, table(2, "<H", 77), set()),
        "table's growth left": (many, table(4, "<H", 60000), {"table-growth-left"}),
        "table's depth": (many, table(6, "B", 99), set()),
        "table's index": (many, table(8, Q, 2**40), set()),
        "ctrl neither": (many, ctrl(0x91), {"ctrl"}),
        "ctrl all live": ("main.nine", all_live, {"count-mismatch"}),
        "ctrl all deleted": ("main.nine", ctrl(0xFE), {"count-mismatch"}),
        "small ctrl neither": ("main.one", small(0xFF), {"ctrl"}),
        "small group unmapped": ("main.one", at(16, Q, 0x10), {"group-unreadable"}),
        "small as directory": ("main.one", at(24, Q, 4), set()),
    }


SWISS_CASES = _swiss_cases()


@pytest.mark.parametrize("case", SWISS_CASES)
def test_corrupted_swiss_map_is_flagged(swiss: Zoo, case: str) -> None:
    expression, write, codes = SWISS_CASES[case]
    address, data = write(swiss, swiss.address(expression))
    with swiss.changed(address, data):
        found = flagged(swiss.session, expression)
        assert codes <= set(found), found
        functions_refuse(swiss.session, expression)
    assert swiss.session.json(f"go-map-stats -json {expression}")["exact"] is True


def test_string_key_that_points_nowhere_is_shown_as_such(zoo: Zoo) -> None:
    listed = zoo.session.json("go-map-entries -json main.keyString")["entries"]
    row = next(row for row in listed if row["key"] == '"a"')
    for pointer, length in ((0x10, 1), (0x10, 2**62), (2**64 - 1, 5)):
        with zoo.changed(int(row["address"], 16), struct.pack("<QQ", pointer, length)):
            found = zoo.session.json("go-map-entries -json main.keyString")["entries"]
            assert len(found) == 3
            (broken,) = (entry for entry in found if entry["address"] == row["address"])
            assert "cannot read" in broken["key"] or "<" in broken["key"]
            assert broken["elem"] == "1"
            zoo.session.text("go-map-entries main.keyString")


def test_cycle_of_pointers_in_values_ends(zoo: Zoo) -> None:
    # main.elemNest[1].Ptr is a Nest: its Any may hold a map that holds it.
    for expression in ("main.elemNest", "main.keyAny", "main.elemAny"):
        assert zoo.session.json(f"go-map-entries -json {expression}")["entries"]


MODULE = "'runtime.firstmoduledata'"


def field(session: Session, name: str) -> int:
    """Where a field of the module's table stands."""
    return int(session.python(f"int(gdb.parse_and_eval({f'&{MODULE}.{name}'!r}))"))


@pytest.mark.parametrize(
    ("label", "name", "data", "code"),
    [
        ("1.23.9", "ebss", struct.pack("<Q", 1 << 40), "module-damaged"),
        ("1.27.3", "edata", struct.pack("<Q", 0x1000), "module-damaged"),
        ("1.27.3", "gcbssmask.n", struct.pack("<i", 64), "module-damaged"),
        ("1.23.9", "gcdatamask.n", struct.pack("<i", 0x7FFF_FFFF), "module-damaged"),
        ("1.27.3", "next", struct.pack("<Q", 0x10), "module-unreadable"),
    ],
)
def test_scan_with_damaged_ends_of_variables_calls_nothing_garbage(
    label: str, name: str, data: bytes, code: str, tmp_path: Path
) -> None:
    with stopped(label, tmp_path) as zoo, zoo.changed(field(zoo.session, name), data):
        damaged = zoo.session.json("go-map-scan -json -top unlimited")
    assert code in {defect["code"] for defect in damaged["defects"]}
    states = {row["address"]: row["state"] for row in damaged["maps"]}
    assert "garbage" not in states.values()
    # What another root leads to is live all the same.
    assert "live" in states.values()


# --- no program, or not one of ours ---------------------------------------------------------------


def every_command_says(session: Session, words: str, expression: str = "main.nine") -> None:
    for command in OF_A_MAP:
        assert re.search(words, session.error(f"{command} {expression}")), command
    for name in FUNCTIONS:
        # Where gdb cannot evaluate the argument, that is its own complaint.
        assert session.error(f"output $_go_map_{name}({expression})")
    assert re.search(words, session.error(f'output $_go_map_len("{expression}")'))


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_without_a_program_every_command_says_so(name: str) -> None:
    with Session(gdb=gdbs.for_test(name)) as session:
        every_command_says(session, "no program is loaded|not running")
        assert "no program is loaded" in session.error("go-map-layout map[string]int")
        assert "No program is loaded" in session.text("go-map")


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
@pytest.mark.parametrize("name", gdbs.NAMES)
def test_before_run_and_after_the_end_every_command_says_so(
    name: str, label: str, tmp_path: Path
) -> None:
    program = toolchains.build(ZOO, label)
    with Session([f"file {program}"], gdb=gdbs.for_test(name)) as session:
        every_command_says(session, "not running: use run or start")
        # A type has a layout all the same.
        assert "map[string]int" in session.text("go-map-layout map[string]int")
        assert "not running" in session.text("go-map")
        session.text("break main.stop")
        session.text(f"run {tmp_path / 'truth'} > /dev/null")
        assert session.json("go-map-stats -json main.nine")["len"] == 9
        session.text("delete")
        session.text("continue")
        every_command_says(session, "exited with status 0")
        session.text("break main.stop")
        session.text(f"run {tmp_path / 'truth'} > /dev/null")
        assert session.json("go-map-stats -json main.nine")["len"] == 9
        session.text("kill")
        every_command_says(session, "killed or detached")


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
@pytest.mark.parametrize("flags", ["-ldflags=-s -w", "-ldflags=-w"])
def test_stripped_program_is_told_from_a_wrong_name(label: str, flags: str) -> None:
    program = toolchains.build(ZOO, label, flags=(flags,))
    with Session([f"file {program}", "starti /dev/null > /dev/null"]) as session:
        for command in (*OF_A_MAP, "go-map-layout"):
            # Where its symbol is left: nil before the program has begun.
            for name in ("main.nine", "main.noSuch", "noSuch.x.y"):
                message = session.error(f"{command} {name}")
                assert "no debug information" in message
                assert "-w" in message
        assert "no debug information" in session.text("go-map")


@pytest.mark.parametrize(
    "label", ["1.21.13", "1.25.5-noswissmap", "1.26.6", "1.27.3-mapsplitgroup"]
)
def test_stripped_program_is_walked_by_address_and_type(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label, flags=("-ldflags=-s -w",))
    path = tmp_path / "truth"
    with gdbtool.waiting(program, path) as pid, Session([f"attach {pid}"]) as session:
        truth = {row["expr"]: row for row in gdbtool.read_truth(path)}
        for expression in ("main.strInt", "main.holes", "main.elemBig"):
            row = truth[expression]
            line = f"go-map-stats -json {row['address']} -type '{row['type']}'"
            found = session.json(line)
            assert (found["len"], found["exact"]) == (row["len"], True)
            assert found["slots"]["capacity"] == row["capacity"]
            assert found["slots"]["tombstones"] == row["tombstones"]
            assert found["layout"]["source"] == "runtime types"


def test_program_that_is_not_go_is_told_so() -> None:
    program = shutil.which("true")
    with Session([f"file {program}", "starti"]) as session:
        every_command_says(session, "is not a Go program")
        assert "not a Go program" in session.text("go-map")
        assert "not a Go program" in session.error("go-map-layout map[string]int")


def test_another_program_in_memory_than_the_file_is_noticed(tmp_path: Path) -> None:
    running = toolchains.build(ZOO, "1.27.3")
    other = toolchains.build(ZOO, "1.26.6")
    with (
        gdbtool.waiting(running, tmp_path / "truth") as pid,
        Session([f"attach {pid}", f"file {other}"]) as session,
    ):
        for command in OF_A_MAP:
            assert "not " in session.error(f"{command} main.nine")


@pytest.mark.parametrize("name", gdbs.NAMES)
@pytest.mark.parametrize("nonstop", ["off", "on"])
def test_running_program_is_to_be_stopped_first(name: str, nonstop: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, "1.27.3")
    with Mi("-x", str(gdbtool.SCRIPT), str(program), gdb=gdbs.for_test(name)) as mi:
        mi.send("-gdb-set mi-async on")
        mi.send(f"-gdb-set non-stop {nonstop}")
        mi.send("-break-insert main.stop")
        mi.send(f"-exec-arguments {tmp_path / 'truth'} wait > /dev/null")
        mi.send("-exec-run")
        hit = mi.until(r'\*stopped,reason="breakpoint-hit"')
        selected = re.findall(r'thread-id="(\d+)"', hit)[0]
        # In non-stop mode gdb may leave another thread selected.
        assert mi.send(f"-thread-select {selected}").startswith("^done")
        assert mi.result("-go-map-stats main.nine")["len"] == "9"
        if nonstop == "on":
            info = mi.result("-thread-info")
            running = [entry for entry in info["threads"] if entry["state"] == "running"]
            if running:
                message = mi.error(f"-go-map-stats --thread {running[0]['id']} main.nine")
                assert "thread is running" in message
        assert mi.send("-break-delete").startswith("^done")
        mi.send("-exec-continue --all" if nonstop == "on" else "-exec-continue")
        for command in OF_A_MAP:
            message = mi.error(f"-{command} main.nine")
            assert "running" in message or "stop" in message, message
            said = mi.send(f'-interpreter-exec console "{command} main.nine"')
            assert said.startswith("^error")
            assert "running" in said or "stop" in said, said
        if nonstop == "on":
            mi.send("-exec-interrupt --all")
            mi.until(rf'\*stopped,.*thread-id="{selected}"')
        else:
            mi.send("-exec-interrupt")
            mi.until(r"\*stopped")
        assert mi.result("-go-map-stats main.nine")["len"] == "9"
        mi.send('-interpreter-exec console "kill"')


@pytest.mark.parametrize("name", gdbs.NAMES)
@pytest.mark.parametrize("label", ["1.21.13", "1.25.5-noswissmap", "1.27.3-mapsplitgroup"])
def test_looking_at_everything_leaves_the_program_as_it_was(
    name: str, label: str, tmp_path: Path
) -> None:
    with stopped(label, tmp_path, gdbs.for_test(name)) as zoo:
        for expression in zoo.truth:
            if zoo.truth[expression].get("frame"):
                continue
            for command in (*OF_A_MAP, "go-map-layout"):
                zoo.session.text(f"{command} {expression}")
            zoo.session.text(f"output $_go_map_reclaimable({expression})")
        zoo.session.text("set go-map pretty-print on")
        zoo.session.text("output main.twoK")
        zoo.finish()


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_type_name_that_two_packages_share_is_refused(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    truth = tmp_path / "truth"
    with Session([f"file {program}", "break main.stop", f"run {truth} > /dev/null"]) as session:
        (entry,) = (row for row in gdbtool.read_truth(truth) if row["expr"] == "main.keyID")
        address = entry["address"]
        refused = session.error(f"go-map-stats {address} -type 'map[inner.ID]int'")
        assert "may mean map[zoo/inner.ID]int or map[zoo/other/inner.ID]int" in refused
        found = session.json(f"go-map-stats -json {address} -type 'map[zoo/inner.ID]int'")
        assert (found["len"], found["exact"]) == (entry["len"], True)


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_type_that_contradicts_the_value_is_refused(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    before = [f"file {program}", "break main.stop", f"run {tmp_path / 'truth'} > /dev/null"]
    with Session(before) as session:
        refused = session.error("go-map-stats main.strInt -type 'map[int]string'")
        assert "main.strInt is a map[string]int" in refused
        assert session.json("go-map-stats -json main.strInt -type 'map[string]int'")["exact"]
