"""Maps that Go's own gdb script or Delve print wrongly, each by the way it goes wrong there.

The zoo's truth is Go's own ``range`` and ``len``; ours must equal it in go-map-entries, in
``$_go_map_len`` and in the pretty-printer, whether or not Go's script is loaded as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
from gdbtool import Session

ZOO = Path(__file__).parent / "go" / "zoo"

CLASSIC = ("1.21.13", "1.23.9", "1.25.5-noswissmap")
SWISS = ("1.24.11", "1.27.3")
SPLIT = ("1.27.3-mapsplitgroup",)


def fnv(text: str) -> int:
    """The FNV-1a hash of 64 bits, which the zoo sums up for the keys of large maps."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


class Zoo:
    """The zoo at its stop, in a gdb with or without Go's own script."""

    def __init__(self, session: Session, truth: list[dict[str, Any]]) -> None:
        self.session = session
        self._truth = {entry["expr"]: entry for entry in truth}

    def truth(self, expression: str) -> dict[str, Any]:
        return self._truth[expression]

    def check(self, expression: str) -> None:
        """Entries, length and pretty-printer against Go's range and len."""
        truth = self.truth(expression)
        document = self.session.json(f"go-map-entries -json {expression}")
        keys = [entry["key"] for entry in document["entries"]]
        assert sum(map(fnv, keys)) % 2**64 == int(truth["keys_sum"], 16)
        if "entries" in truth:
            found = Counter((entry["key"], entry["elem"]) for entry in document["entries"])
            assert found == Counter((key, elem) for key, elem in truth["entries"])
        assert len(keys) == truth["len"] == document["len"]
        assert self.session.text(f"output $_go_map_len({expression})") == str(truth["len"])
        self.check_printed(expression)

    def check_printed(self, expression: str) -> None:
        """What ``print`` shows: as many pairs as Go counts, each with its own key."""
        truth = self.truth(expression)
        text = self.session.text(f"output {expression}")
        head, _, body = text.partition(" = ")
        assert re.search(rf" len {truth['len']:,}$", head), text[:200]
        keys = re.findall(r"(?:[{,] )?\[(.*?)\] = ", body)
        assert len(keys) == truth["len"], text[:2000]
        assert "error" not in text
        assert "Cannot access" not in text
        entries = truth.get("entries", [])
        plain = [key for key, _ in entries]
        if plain and all(re.fullmatch(r"-?\d+", key) for key in plain):
            assert sorted(keys, key=int) == sorted(plain, key=int)
            pairs = Counter(re.findall(r"\[(-?\d+)\] = (-?\d+)\b", body))
            if all(re.fullmatch(r"-?\d+", elem) for _, elem in entries):
                assert pairs == Counter((key, elem) for key, elem in entries)
        else:
            assert len(set(keys)) == truth["len"]


_opened: dict[str, Zoo] = {}


@pytest.fixture(params=["alone", "beside Go's script"])
def beside(request: pytest.FixtureRequest) -> bool:
    """Whether Go's own gdb script is loaded."""
    return bool(request.param != "alone")


@pytest.fixture
def zoo(
    label: str, beside: bool, tmp_path_factory: pytest.TempPathFactory, sessions: list[Session]
) -> Zoo:
    """One session for all tests of a label."""
    name = f"{label} {beside}"
    if name not in _opened:
        program = toolchains.build(ZOO, label)
        path = tmp_path_factory.mktemp("zoo") / "truth.jsonl"
        before = gdbtool.at_stop(program, path)
        if beside:
            goroot = toolchains.ensure(label.split("-")[0]).parent.parent
            before.append(f"source {goroot / 'src' / 'runtime' / 'runtime-gdb.py'}")
        session = Session(before)
        sessions.append(session)
        for setting in ("go-map pretty-print on", "print elements unlimited", "width 0"):
            session.text(f"set {setting}")
        _opened[name] = Zoo(session, gdbtool.read_truth(path))
    return _opened[name]


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[Session]]:
    """Closes what :func:`zoo` opened."""
    opened: list[Session] = []
    yield opened
    _opened.clear()
    for session in opened:
        session.__exit__(None)


def on(*labels: str) -> pytest.MarkDecorator:
    """Run the test with these toolchains."""
    return pytest.mark.parametrize("label", labels)


@on(*SWISS, *SPLIT)
@pytest.mark.parametrize("expression", ["main.twoK", "main.unevenDir", "main.lopsided"])
def test_swiss_map_of_many_tables_prints_every_pair_once(expression: str, zoo: Zoo) -> None:
    # Go's script steps over whole tables, and does not know that directory entries repeat.
    assert zoo.truth(expression)["tables"] > 1
    zoo.check(expression)


@on(*SWISS, *CLASSIC, *SPLIT)
@pytest.mark.parametrize("expression", ["main.one", "main.nine", "main.strInt", "main.ptrToMap"])
def test_length_function_works_on_every_family(expression: str, zoo: Zoo) -> None:
    # $len(m) of Go's script raises AttributeError for every map of 1.24 and later.
    truth = zoo.truth(expression)
    assert zoo.session.text(f"output $_go_map_len({expression})") == str(truth["len"])


@on(*SWISS, *CLASSIC, *SPLIT)
@pytest.mark.parametrize("expression", ["main.set", "main.elemEmpty", "main.elemEmptyType"])
def test_set_of_keys_without_elems_prints(expression: str, zoo: Zoo) -> None:
    # map[K]struct{}: "no such vector element" (mapsplitgroup), or a failure (classic).
    zoo.check(expression)


@on(*CLASSIC, *SWISS, *SPLIT)
@pytest.mark.parametrize("expression", ["main.smallHoles", "main.holes", "main.survivor"])
def test_deleted_slots_are_not_entries(expression: str, zoo: Zoo) -> None:
    # Go's script prints emptyOne slots of classic maps as live.
    zoo.check(expression)


@on(*CLASSIC, *SWISS)
@pytest.mark.parametrize("expression", ["main.ranged", "main.rangedGrow"])
def test_map_under_range_prints(expression: str, zoo: Zoo) -> None:
    # Go's script takes the iterator's flags for indirect keys.
    zoo.check(expression)


@on(*CLASSIC)
@pytest.mark.parametrize("expression", ["main.doubling", "main.doublingStr", "main.doublingBig"])
def test_doubling_in_progress_prints_every_pair_once(expression: str, zoo: Zoo) -> None:
    truth = zoo.truth(expression)
    assert truth["growth"] == "double"
    assert 0 < truth["evacuated"] < truth["old_buckets"]
    zoo.check(expression)


@on(*CLASSIC)
@pytest.mark.parametrize("expression", ["main.sameSize", "main.sameSizeStr"])
def test_same_size_growth_in_progress_prints_every_pair_once(expression: str, zoo: Zoo) -> None:
    # Delve lists about half of them without a word, Go's script makes entries up.
    truth = zoo.truth(expression)
    assert truth["growth"] == "same-size"
    assert 0 < truth["evacuated"] < truth["old_buckets"]
    zoo.check(expression)


@on(*CLASSIC, *SWISS)
@pytest.mark.parametrize("expression", ["main.elemBig", "main.keyBig", "main.elemBoth"])
def test_keys_and_elems_outside_the_slots_are_followed(expression: str, zoo: Zoo) -> None:
    zoo.check(expression)


@on("1.23.9", "1.27.3")
def test_nil_and_unused_maps_print_as_such(zoo: Zoo) -> None:
    assert zoo.session.text("output main.nilMap") == "map[string]int nil"
    assert zoo.session.text("output main.unused").startswith("map[string]int len 0")


@on("1.23.9", "1.27.3")
def test_keys_and_elems_of_strings_print_as_strings(zoo: Zoo) -> None:
    text = zoo.session.text("output main.keyString")
    # gdb itself puts a string's address before it, Go's script does not.
    assert re.search(r'[\[ ]"hello, world"\] = 2', text), text


@on("1.27.3")
def test_switched_off_the_printer_leaves_the_map_to_others(zoo: Zoo, beside: bool) -> None:
    zoo.session.text("set go-map pretty-print off")
    try:
        text = zoo.session.text("output main.nine")
    finally:
        zoo.session.text("set go-map pretty-print on")
    assert " len 9" not in text
    # Go's own printer, or gdb's pointer.
    assert ("map[string]int = {" in text) == beside or "0x" in text
    zoo.check_printed("main.nine")
