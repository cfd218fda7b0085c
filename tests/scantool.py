"""Judges what go-map-scan says of a process by what the process said of itself.

The functions take the document of ``go-map-scan -json`` and the lines of truth of
``tests/go/population`` or ``tests/go/heapalloc``, and return what is wrong, one line each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores

import gdbtool
import toolchains

SCHEMA = "gomapscope.scan/1"
LABELS = ("exact", "exact key/elem", "inferred", "one of several", "structure only")
EVIDENCE = ("exact", "strong", "weak")
STATES = ("live", "garbage", "unknown")
PLACES = ("heap", "stack")
STRIPPED = ("-ldflags=-s -w",)

#: How many garbage maps may be called live: a stale word on a stack may point to one.
GARBAGE_CALLED_LIVE = 0.02
#: How many of the paths that the truth names must be found.
HOLDERS = 0.95
#: The share of maps whose type only the code tells.
CODE = 0.005
#: By how much the bytes of a map may differ from what the heap grew by.
BYTES = 0.005

Row = dict[str, Any]
Document = dict[str, Any]


class Share(NamedTuple):
    """How many of how many are right, and the kinds of those that are not."""

    right: int
    total: int
    wrong: list[str]

    @property
    def value(self) -> float:
        return self.right / self.total if self.total else 1.0

    def below(self, least: float, what: str) -> list[str]:
        """What to report if too few are right."""
        if self.value >= least:
            return []
        head = f"{what}: {self.right} of {self.total} ({self.value:.2%}), not {least:.1%}"
        return [head, *self.wrong]


def release(label: str) -> tuple[int, int]:
    """The Go release of a build label."""
    major, minor = label.split("-")[0].split(".")[:2]
    return int(major), int(minor)


def least_typed(label: str, stripped: bool) -> float:
    """The share of live maps that must have exactly their type.

    Without debug information, Go 1.21 leaves no type beside arrays in the heap; before Go 1.23 the
    compiler did not say where closures keep what they capture.
    """
    if stripped:
        return 0.95 if release(label) >= (1, 22) else 0.60
    return 0.995 if release(label) >= (1, 23) else 0.985


def rows_by_address(document: Document) -> dict[str, Row]:
    """The maps that were found."""
    return {row["address"]: row for row in document["maps"]}


def candidates(row: Row) -> list[str]:
    """All types a row names."""
    return [row["type"]] if "type" in row else list(row.get("types", []))


def name(fact: Row, row: Row | None = None) -> str:
    """A map in a message: where it is, what it is, and what was said of it."""
    said = "not found"
    if row is not None:
        said = f"{row['label']} {candidates(row)[:3]}"
    return f"[{fact.get('place', fact.get('note'))}] {fact['type']}: {said}"


def grouped(lines: Iterable[str], most: int = 60) -> list[str]:
    """Equal lines as one, the commonest first."""
    counted = Counter(lines).most_common()
    shown = [f"{number:5} x {line}" for line, number in counted[:most]]
    if len(counted) > most:
        shown.append(f"and {len(counted) - most} more kinds")
    return shown


def live(truth: list[Row]) -> list[Row]:
    """The maps that are in use."""
    return [fact for fact in truth if fact.get("state", "live") == "live"]


def not_found(document: Document, truth: list[Row]) -> list[str]:
    """Live maps that the document lacks."""
    rows = rows_by_address(document)
    return grouped(
        f"{name(fact)}{' on a stack' if fact.get('on_stack') else ''}"
        for fact in live(truth)
        if fact["address"] not in rows
    )


def found_facts(document: Document, truth: list[Row]) -> Iterator[tuple[Row, Row]]:
    """What is so of each map that the document has, and what the document says."""
    rows = rows_by_address(document)
    for fact in truth:
        if fact["address"] in rows:
            yield fact, rows[fact["address"]]


def wrong_facts(document: Document, truth: list[Row]) -> list[str]:
    """Lengths, places and flags that are not so; garbage is held against them, too."""
    wrong = []
    for fact, row in found_facts(document, truth):
        if row["len"] != fact["len"]:
            wrong.append(f"{name(fact, row)}: len is {row['len']}, not {fact['len']}")
        place = "stack" if fact.get("on_stack") else "heap"
        if row["place"] != place:
            wrong.append(f"{name(fact, row)}: in the {row['place']}, not in the {place}")
        if row.get("writing"):
            wrong.append(f"{name(fact, row)}: nobody is writing to it")
    return grouped(wrong)


def wrongly_exact(document: Document, truth: list[Row]) -> list[str]:
    """What is called exact and is not."""
    wrong = []
    for fact, row in found_facts(document, truth):
        if row["label"] == "exact" and row.get("type") != fact["type"]:
            wrong.append(name(fact, row))
        if row["label"] == "exact key/elem" and fact["type"] not in candidates(row):
            wrong.append(name(fact, row))
    return grouped(wrong)


#: Places of which the program itself forgets the type: an unsafe.Pointer leads there, and nothing
#: else.  They must be found, and nothing wrong be said of them.
FORGOTTEN = frozenset({"unsafe.Pointer"})


def typed(document: Document, truth: list[Row]) -> Share:
    """Live maps that have exactly their type and no other."""
    rows = rows_by_address(document)
    wrong, right = [], 0
    facts = [fact for fact in live(truth) if fact["place"] not in FORGOTTEN]
    for fact in facts:
        row = rows.get(fact["address"])
        if row is not None and candidates(row) == [fact["type"]]:
            right += 1
        else:
            wrong.append(name(fact, row))
    return Share(right, len(facts), grouped(wrong))


def wrong_states(document: Document, truth: list[Row]) -> list[str]:
    """Live maps called garbage, and too much garbage called live."""
    wrong, alive = [], []
    garbage = [fact for fact in truth if fact["state"] == "garbage"]
    for fact, row in found_facts(document, truth):
        if fact["state"] == "live" and row["state"] == "garbage":
            wrong.append(f"{name(fact, row)}: called garbage")
        if fact["state"] == "garbage" and row["state"] == "live":
            alive.append(f"{name(fact, row)}: called live")
    if len(alive) > GARBAGE_CALLED_LIVE * len(garbage):
        wrong += alive
    return grouped(wrong)


def steps(path: str) -> tuple[str, ...]:
    """A path in parts, without what Go's syntax leaves to taste: stars, parentheses, spaces."""
    plain = path.replace("(", "").replace(")", "").replace("*", "").replace(" ", "")
    return tuple(re.findall(r'\[(?:"(?:\\.|[^"\\])*"|[^]"]*)\]|[^.\[]+', plain))


#: What may stand for a subscript that was not looked for.
ANY = ("[]", "[…]", "[...]")


def same_path(found: str, expected: str) -> bool:
    """Whether two paths lead to the same place."""
    left, right = steps(found), steps(expected)
    return len(left) == len(right) and all(
        a == b or (a in ANY and b.startswith("[")) for a, b in zip(left, right)
    )


def held(document: Document, truth: list[Row]) -> Share:
    """Maps that are found where the truth says, of those of which it says so."""
    rows = rows_by_address(document)
    named = [fact for fact in truth if fact.get("holder")]
    wrong, right = [], 0
    for fact in named:
        row = rows.get(fact["address"], {})
        path = row.get("held_by")
        if path and same_path(path, fact["holder"]):
            right += 1
        else:
            wrong.append(f"[{fact['place']}] {fact['holder']}: held by {path}")
    # Each is another path; one of a place is enough to see the kind.
    places: dict[str, list[str]] = defaultdict(list)
    for line in wrong:
        places[line.partition("]")[0]].append(line)
    shown = [f"{len(lines):5} x like {lines[0]}" for lines in places.values()]
    return Share(right, len(named), shown)


def wrong_bytes(document: Document, truth: list[Row]) -> list[str]:
    """Maps whose bytes are not what the heap grew by."""
    rows = rows_by_address(document)
    wrong = []
    for fact in truth:
        row, delta = rows.get(fact["address"]), fact["heap_alloc_delta"]
        if row is None:
            wrong.append(name(fact))
        elif abs(row["allocated"] - delta) > BYTES * delta:
            more = row["allocated"] - delta
            wrong.append(f"{name(fact, row)}: {row['allocated']} bytes, {more:+} to {delta}")
    return wrong


def reclaimable(row: Row) -> tuple[int, int]:
    """The least and the most bytes that a row calls reclaimable."""
    if "reclaimable_range" in row:
        low, high = row["reclaimable_range"]
        return low, high
    known = row.get("reclaimable")
    return (0, row["allocated"]) if known is None else (known, known)


def wrong_row(row: Row) -> list[str]:
    """What a row says against itself or the schema."""
    wrong = []
    for key, known in (
        ("label", LABELS),
        ("evidence", EVIDENCE),
        ("state", STATES),
        ("place", PLACES),
    ):
        if row[key] not in known:
            wrong.append(f"{key} is {row[key]!r}")
    if "type" in row and len(row.get("types", [])) > 1:
        wrong.append("one type and several")
    if row["label"] in ("exact", "inferred") and len(candidates(row)) != 1:
        wrong.append(f"{row['label']}, but {len(candidates(row))} types")
    if row["label"] == "one of several" and len(candidates(row)) < 2:
        wrong.append(f"one of several, but {len(candidates(row))} types")
    if row["label"] == "structure only" and candidates(row):
        wrong.append("structure only, but with types")
    if (row["label"] == "exact") != (row["evidence"] == "exact") and row["label"] != LABELS[1]:
        wrong.append(f"label {row['label']}, evidence {row['evidence']}")
    if "reclaimable" in row and "reclaimable_range" in row:
        wrong.append("reclaimable twice")
    low, high = reclaimable(row)
    if not 0 <= low <= high <= row["allocated"]:
        wrong.append(f"{low} to {high} bytes reclaimable of {row['allocated']}")
    if row["len"] > row["capacity"]:
        wrong.append(f"{row['len']} entries, room for {row['capacity']}")
    density = row.get("hole_density")
    if density is not None and not 0 <= density <= 1:
        wrong.append(f"hole density {density}")
    if row.get("writing") is False:
        wrong.append("writing is there to be true")
    return [f"{row['label']} {candidates(row)[:3]}: {line}" for line in wrong]


def wrong_totals(document: Document) -> list[str]:
    """Totals and groups that are not the sums of their rows."""
    rows, totals = document["maps"], document["totals"]
    wrong = [line for row in rows for line in wrong_row(row)]
    if len(rows_by_address(document)) != len(rows):
        wrong.append("a map is listed twice")
    if document["truncated"] or document["interrupted"]:
        wrong.append("the list is not whole")
    # Garbage is in no sum but its own.
    used = [row for row in rows if row["state"] != "garbage"]
    wrong += _wrong_sums("totals", {**totals, "maps": totals["maps"] - totals["garbage"]}, used)
    for state in ("live", "garbage"):
        count = sum(row["state"] == state for row in rows)
        if totals[state] != count:
            wrong.append(f"totals: {state} is {totals[state]}, the rows say {count}")
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in used:
        if "type" in row:
            groups[row["type"]].append(row)
    named = {group["type"]: group for group in document["types"] if "type" in group}
    for type_ in groups.keys() - named.keys():
        wrong.append(f"types: no {type_}")
    for type_, group in named.items():
        wrong += _wrong_sums(f"types: {type_}", group, groups[type_])
    return grouped(wrong)


def _wrong_sums(where: str, sums: Row, rows: list[Row]) -> list[str]:
    expected = {
        "maps": len(rows),
        "len": sum(row["len"] for row in rows),
        "allocated": sum(row["allocated"] for row in rows),
    }
    wrong = [
        f"{where}: {key} is {sums[key]}, the rows say {value}"
        for key, value in expected.items()
        if sums[key] != value
    ]
    ranges = [reclaimable(row) for row in rows]
    low, high = sum(low for low, _ in ranges), sum(high for _, high in ranges)
    if not low <= sums["reclaimable"] <= high:
        wrong.append(f"{where}: reclaimable is {sums['reclaimable']}, the rows say {low} to {high}")
    return wrong


def judge_population(
    document: Document, truth: list[Row], label: str, *, stripped: bool, arch: str = "amd64"
) -> list[str]:
    """All that is wrong with a scan of the population."""
    wrong = judge_frame(document, label, arch)
    wrong += not_found(document, truth)
    wrong += wrong_facts(document, truth)
    wrong += wrongly_exact(document, truth)
    wrong += wrong_states(document, truth)
    # Of code, only that of amd64 is understood.
    least = least_typed(label, stripped) - (0 if arch == "amd64" else CODE)
    wrong += typed(document, truth).below(least, "exactly the right type")
    wrong += wrong_totals(document)
    if not stripped:
        # Names of variables and fields are debug information.
        wrong += held(document, truth).below(HOLDERS, "held where the truth says")
    return wrong


def judge_heapalloc(document: Document, truth: list[Row], label: str) -> list[str]:
    """All that is wrong with a scan of maps of known size."""
    return [
        *judge_frame(document, label),
        *wrong_facts(document, truth),
        *wrong_bytes(document, truth),
        *wrong_totals(document),
    ]


def judge_frame(document: Document, label: str, arch: str = "amd64") -> list[str]:
    """What the document says of itself."""
    expected: Document = {
        "schema": SCHEMA,
        "arch": arch,
        "family": "classic" if release(label) < (1, 24) or "noswiss" in label else "swiss",
        "defects": [],
    }
    wrong = [f"{key} is {document[key]!r}" for key in expected if document[key] != expected[key]]
    version = label.split("-")[0]
    if version not in document["go_version"]:
        wrong.append(f"go_version is {document['go_version']!r}")
    return wrong


class Core(NamedTuple):
    """A core, the program that left it, and what it said of itself before."""

    core: Path
    program: Path
    truth: list[Row]


def crash(source: Path, label: str, flags: tuple[str, ...], folder: Path) -> Core:
    """Let a fixture crash, and keep its core."""
    program = toolchains.build(source, label, flags=flags)
    path = folder / "truth.jsonl"
    core = cores.core_of([program, path, "crash"], folder)
    return Core(core, program, gdbtool.read_truth(path))


def scan_core(core: Path, program: Path) -> Document:
    """What the console script finds in a core."""
    command = [sys.executable, "-m", "gomapscope", "scan", "-core", str(core)]
    done = subprocess.run(
        [*command, "-exe", str(program), "-json", "-holders"],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=gdbtool.TIMEOUT,
        check=False,
    )
    assert not gdbtool.UGLY.search(done.stderr), done.stderr
    assert done.returncode == 0, done.stderr
    document: Document = json.loads(done.stdout)
    return document
