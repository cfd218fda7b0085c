"""Whichever read fails, a command ends with a flagged answer or with one line, and harms nothing.

``gdb_faults.py`` counts the reads of a command and lets one of them fail: once, as over a bad
line; for good, the page where it begins or all of it; or all reads from then on, as where the
process dies.  Behind each the same command is asked again undisturbed, and must answer as before.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
from gdbtool import Mi, Session

ZOO = Path(__file__).parent / "go" / "zoo"
FAULTS = Path(__file__).parent / "gdb_faults.py"
LABELS = ("1.23.9", "1.27.3")

#: What says of an answer in text that it is not the whole truth.
FLAG = re.compile(
    r"[Nn]ot exact|cannot (read|be read)|could not be (read|walked)|unreadable|not known|not found"
    r"|may be missing|is missing|defect|[Nn]ot every figure|[Nn]ot certain|Interrupted"
    r"|only a part|Racing"
)


class Zoo:
    """The zoo at its stop, in a gdb whose reads are counted."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.session = session
        self.folder = folder

    def fail_every_read(self, command: str, mode: str, **options: Any) -> dict[str, Any]:
        """The answers of :func:`gdb_faults.fail_every_read`; a file is named by ``{}``."""
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        line = command.format(self.folder)
        found = self.session.python(f"fail_every_read({line!r}, {mode!r}, {words})")
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module", params=LABELS)
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    program = toolchains.build(ZOO, request.param)
    folder = tmp_path_factory.mktemp("zoo")
    files = folder / "files"
    files.mkdir()
    output = folder / "output"
    before = [f"file {program}", "break main.stop", f"run {folder / 'truth'} > {output}"]
    with Session(before, environment={"GOMAPSCOPE_FAULTS": str(files)}) as session:
        session.text(f"source {FAULTS}")
        yield Zoo(session, files)
        # The process goes on unharmed.
        session.text("delete")
        session.text("continue")
        assert session.text("output $_exitcode") == "0"
    assert output.read_text().splitlines()[-1].startswith("CHECKSUM ")


#: Figures that are not those of the walk: what the heap's books say, or the page table.
BESIDE = ("bytes", "notes", "addresses")


def judge(found: dict[str, Any]) -> None:
    """Each answer is right, flagged or a line, and nothing of the fault is left."""
    reference = found["reference"]
    assert found["reads"] > 0
    assert found["runs"]
    for answer in found["runs"]:
        shown = json.dumps(answer)[:3000]
        assert not answer["moved"], shown
        assert "afterwards" not in answer, shown
        assert set(answer["files"]) <= set(reference["files"]), shown
        assert all(answer["files"].values()), shown
        if "error" in answer:
            assert "\n" not in answer["error"], shown
            assert not gdbtool.UGLY.search(answer["error"]), shown
            told = "0x" in answer["error"] or FLAG.search(answer["error"])
            assert told or answer["error"] == reference.get("error"), shown
            assert not answer["files"], shown
        elif not answer["same"]:
            assert is_flagged(answer["output"], reference["output"]), shown


def flags(text: str) -> Counter[str]:
    """What a text says of not being the whole truth, and how often."""
    return Counter(found[0].lower() for found in FLAG.finditer(" ".join(text.split())))


def parsed(text: str) -> Any:
    """A document, printed as JSON or as the record of MI, where all values are strings."""
    if not text.startswith("^done,"):
        return json.loads(text)
    words = {"true": True, "false": False}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return words.get(value, value)

    return plain(gdbtool.mi_values(text.strip().partition(",")[2]))


def is_flagged(text: str, reference: str) -> bool:
    """Whether an answer that differs says so itself, in words that the whole one has not."""
    more = bool(flags(text) - flags(reference))
    try:
        document, whole = parsed(text), parsed(reference)
    except ValueError:
        if more:
            return True
        # A dash is what is not known.
        pairs = zip(text.split(" "), reference.split(" "))
        return "from DWARF" in text and all(a in (b, "-", "") for a, b in pairs)
    if not isinstance(document, dict):
        return more
    if document.get("exact") is False and whole.get("exact") is not False:
        return bool(document["defects"] or document.get("racing"))
    if document.get("flaw") and not whole.get("flaw"):
        return bool(document.get("truncated", True))
    for key in ("defects_total", "defects"):
        if document.get(key) and document[key] != whole.get(key):
            return True
    if is_part(document, whole):
        return True
    if document.get("schema") == "gomapscope.writers/1":
        # Goroutines whose stack could not be walked are numbered.
        return more or len(document["unknown"]) > len(whole["unknown"])
    if document.get("schema") == "gomapscope.scan/1":
        return more or is_weaker(document, whole)
    if document.get("schema") == "gomapscope.diff/1":
        return more or is_compared(document, whole)
    if document.get("schema") == "gomapscope.layout/1":
        # What is not known is absent: what the map would take in other layouts.
        changes = [row["change"] for row in whole["what_if"]]
        assert [row["change"] for row in document["what_if"]] == changes
        return not any("storage" in row for row in document["what_if"])
    if "exact" in document:
        # Right in all that was counted.
        for key in whole:
            if key == "entries":
                assert len(document[key]) == len(whole[key])
                for row, expected in zip(document[key], whole[key]):
                    told = flags(json.dumps(row)) - flags(json.dumps(expected))
                    assert row == expected or told, row
            elif key not in BESIDE:
                assert document[key] == whole[key], key
    return more


#: From what is certain to what is not.
LABELS_OF_TYPES = ("exact", "exact key/elem", "inferred", "one of several", "structure only")


def is_weaker(document: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether each map that a scan found bears what is not known of it."""
    rows = {row["address"]: row for row in document["maps"]}
    expected = {row["address"]: row for row in whole["maps"]}
    assert set(rows) == set(expected)
    for address, row in rows.items():
        known = expected[address]
        assert row["len"] == known["len"], row
        # A holder is one by an address, or another: each leads there.
        doubts = {"held_by", "allocated_at"}
        # They are counted by a second walk, which may fail by itself.
        if "tombstones" not in row:
            doubts |= {"tombstones"}
        if row.get("state") == "unknown":
            doubts |= {"state"}
        if row.get("at_least"):
            doubts |= {"at_least", "allocated", "capacity", "hole_density"}
        steps = LABELS_OF_TYPES.index(row["label"]) - LABELS_OF_TYPES.index(known["label"])
        assert steps >= 0 or row.get("at_least"), row
        if steps > 0 or row.get("at_least"):
            doubts |= {"label", "evidence", "type", "full_type", "types", "types_total"}
            doubts |= {"reclaimable", "reclaimable_range", "allocated", "capacity"}
            doubts |= {"hole_density", "state"}
        for key in (set(row) | set(known)) - doubts:
            assert row.get(key) == known.get(key), (key, row, known)
    return True


def is_compared(document: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether each map of a comparison that is not as it should be says that it is not exact."""
    expected = {row["address"]: row for row in whole["maps"]}
    for row in document["maps"]:
        doubted = not all(row[side]["exact"] for side in ("before", "after") if side in row)
        assert doubted or row == expected[row["address"]], row
    assert {row["address"] for row in document["maps"]} == set(expected)
    return document["classes"] != whole["classes"] or document["maps"] != whole["maps"]


def is_part(found: Any, whole: Any) -> bool:
    """Whether a document is another without some of its keys: what is not known is absent."""
    if isinstance(found, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(found[key], whole[key]) for key in found)
    if isinstance(found, list) and isinstance(whole, list):
        return len(found) == len(whole) and all(map(is_part, found, whole))
    return bool(found == whole)


#: Commands that walk one map, or none.
WALKS = (
    "go-map-stats -json main.crowded",
    "go-map-stats main.nine",
    "go-map-stats -json main.doubling",
    "go-map-buckets -json main.twoK",
    "go-map-buckets -heat main.crowded",
    "go-map-entries -json main.elemBig",
    "go-map-entries main.keyAny -all",
    "go-map-layout -json main.nine",
    "go-map-layout main.crowded",
    "go-map-writers -json -quick",
    *(
        f"output $_go_map_{name}(main.crowded)"
        for name in ("len", "holes", "hole_density", "empty_density", "reclaimable")
    ),
    "output main.elemNest",
    "python: gomapscope.Map('main.twoK').stats().json",
    "python: listed(gomapscope.Map('main.crowded').buckets)",
    "python: listed(gomapscope.Map('main.elemNest').entries)",
)


@pytest.mark.parametrize("mode", ["once", "page", "range", "onwards"])
def test_whichever_read_of_a_walk_fails_its_answer_is_right_or_flagged(zoo: Zoo, mode: str) -> None:
    zoo.session.text("set go-map pretty-print on")
    for command in WALKS:
        judge(zoo.fail_every_read(command, mode))


#: What there is over MI.
OVER_MI = (
    "-go-map-stats main.crowded",
    "-go-map-buckets -limit 4 main.crowded",
    "-go-map-entries -limit 4 main.elemBig",
    "-go-map-scan -quick -top 3",
)


@pytest.fixture(scope="module", params=LABELS)
def over_mi(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mi]:
    """The zoo at its stop, in a front end's gdb whose reads are counted."""
    program = toolchains.build(ZOO, request.param)
    truth = tmp_path_factory.mktemp("mi") / "truth"
    with Mi("-x", str(gdbtool.SCRIPT), str(program)) as mi:
        mi.send(f'-interpreter-exec console "source {FAULTS}"')
        mi.send("-break-insert main.stop")
        mi.send(f"-exec-arguments {truth} > /dev/null")
        mi.send("-exec-run")
        mi.until(r'\*stopped,reason="breakpoint-hit"')
        yield mi
        mi.send('-interpreter-exec console "kill"')


@pytest.mark.parametrize("mode", ["once", "page", "onwards"])
@pytest.mark.parametrize("command", OVER_MI)
def test_whichever_read_of_a_command_over_mi_fails_its_answer_is_right_or_flagged(
    over_mi: Mi, command: str, mode: str
) -> None:
    def python(line: str) -> None:
        assert over_mi.send(f'-interpreter-exec console "python {line}"').startswith("^done")

    def ask(*how: object) -> tuple[str, int]:
        python(f"plan.begin({', '.join(map(repr, how))})")
        record = re.sub(r'\bseconds="[^"]*"', 'seconds="0"', over_mi.send(command))
        python("print(plan.reads); plan.begin()")
        (reads,) = re.findall(r'~"(\d+)\\n"', "\n".join(over_mi.records[-3:]))
        return record, int(reads)

    ask()
    reference, reads = ask()
    assert reference.startswith("^done,schema=")
    different = 0
    for at in {*range(min(reads, 8)), reads // 2, reads - 1}:
        record, _ = ask(at, mode)
        if record.startswith("^error,"):
            message = gdbtool.mi_values(record.partition(",")[2])["msg"]
            assert "0x" in message or FLAG.search(message), message
        elif record != reference:
            assert is_flagged(record, reference), (at, record[:3000])
        different += record != reference
        assert ask()[0] == reference, at
    assert different or mode == "once"


@pytest.mark.parametrize("mode", ["once", "page", "onwards"])
def test_whichever_read_of_the_start_of_a_trace_fails_it_traces_or_ends_in_a_line(
    zoo: Zoo, mode: str
) -> None:
    session = zoo.session
    points = "[str(point.location) for point in gdb.breakpoints()]"
    before = session.python(points)
    for options in ("main.crowded -o {}/events.jsonl", "-on all", "-engine watch main.crowded"):
        engine = "" if "-engine" in options else "-engine break "
        command = f"go-map-trace start {engine}{options}"
        found = zoo.fail_every_read(command, mode, most=16, undo="go-map-trace stop")
        judge(found)
        # What did not start left nothing behind, what did is stopped.
        assert session.python(points) == before
        assert session.text("go-map-trace status").startswith("Ended (")


@pytest.mark.parametrize("saved", ["main.nine main.crowded main.twoK", "-scan -quick"])
def test_whichever_read_of_a_comparison_fails_what_it_says_of_a_map_is_right_or_doubted(
    zoo: Zoo, saved: str, tmp_path: Path
) -> None:
    zoo.session.text(f"go-map-snapshot {saved} -o {tmp_path / 'before.json'}")
    for options in ("-json", "-all"):
        found = zoo.fail_every_read(
            f"go-map-diff {options} {tmp_path / 'before.json'}", "page", most=20, check=8
        )
        judge(found)


#: Commands that look at the whole process, and how many of their reads fail.
SEARCHES = {
    "go-map-scan -json": 64,
    "go-map-scan -quick": 12,
    "go-map-scan -quick -json": 32,
    "go-map-scan -pprof {}/scan.pb.gz": 12,
    "go-map-snapshot -scan -o {}/scan.json.gz": 12,
    "go-map-pprof -json": 50,
    "go-map-pprof -o {}/heap.pb.gz": 12,
    "go-map-pprof goroutine": 12,
    "go-map-snapshot -o {}/maps.json main.nine main.crowded": 12,
    "go-map-timeline main.nine -o {}/line.json": 12,
    "go-map-writers -json": 24,
    "go-map-writers -quick": 24,
    "python: found(top=3)": 5,
}


@pytest.mark.parametrize("command", SEARCHES)
def test_whichever_read_of_a_search_fails_its_answer_is_right_or_flagged(
    zoo: Zoo, command: str
) -> None:
    found = zoo.fail_every_read(command, "page", most=SEARCHES[command], check=8)
    judge(found)


def test_a_search_that_read_all_has_no_defect_and_one_that_did_not_has(zoo: Zoo) -> None:
    for command in ("go-map-scan -json", "go-map-scan -quick -json"):
        found = zoo.fail_every_read(command, "once", most=16, check=4)
        judge(found)
        assert json.loads(found["reference"]["output"])["defects_total"] == 0
        # What is asked for again, in smaller parts, is no loss; what is not is named.
        told = [json.loads(run["output"]) for run in found["runs"] if "output" in run]
        assert any(document["defects_total"] == 0 for document in told)
        codes = {defect["code"] for document in told for defect in document["defects"]}
        assert "memory-unreadable" in codes, codes
