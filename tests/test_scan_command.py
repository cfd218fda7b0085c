"""go-map-scan: what is found, as text, JSON, MI, Python and pprof, in gdb and without it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_heap import Specimen, crash

import gdbtool
import toolchains
from gdbtool import Session

LABELS = ("1.23.9", "1.27.3")
#: Values of a sample that a scan sums up.
INDICES = {"maps": "used", "allocated": "allocated", "reclaimable": "reclaimable"}


@pytest.fixture(scope="module", params=LABELS)
def specimen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return crash(request.param, "symbols", tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def session(specimen: Specimen) -> Iterator[Session]:
    with Session([f"file {specimen.program}", f"core-file {specimen.core}"]) as opened:
        yield opened


def console(*words: str) -> subprocess.CompletedProcess[str]:
    """The console script in a terminal-less process without gdb."""
    return subprocess.run(
        [sys.executable, "-m", "gomapscope", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(gdbtool.ROOT / "python"),
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "seconds"}


def test_every_map_is_found_with_the_figures_of_stats(session: Session, specimen: Specimen) -> None:
    document = session.json("go-map-scan -json")
    assert document["schema"] == "gomapscope.scan/1"
    assert document["interrupted"] is False
    assert document["truncated"] is False
    assert document["defects_total"] == 0
    rows = {row["address"]: row for row in document["maps"]}
    for entry in specimen.truth:
        if entry["address"] == "0x0" or entry.get("on_stack"):
            continue
        row = rows[entry["address"]]
        assert row["len"] == entry["len"], entry
        assert row["capacity"] == entry["capacity"], entry
        if row["evidence"] == "exact" and "type" in row:
            assert row["type"] == entry["type"]
    typed = [row for row in document["maps"] if "type" in row][::7]
    assert typed
    for row in typed:
        name = row.get("full_type", row["type"])
        stats = session.json(f"go-map-stats -json {row['address']} -type '{name}'")
        if stats["exact"] and not row.get("at_least"):
            assert row["reclaimable"] == stats["bytes"]["reclaimable"], row
            assert row["allocated"] == stats["bytes"]["allocated"], row
            # While a map grows, len counts entries of the old buckets, too.
            if stats.get("classic", {}).get("growth", "none") == "none":
                assert row.get("hole_density") == stats["slots"].get("hole_density"), row


def test_totals_are_sums_of_the_rows(session: Session) -> None:
    document = session.json("go-map-scan -json")
    totals, rows = document["totals"], document["maps"]
    used = [row for row in rows if row["state"] != "garbage"]
    assert totals["maps"] == totals["found"] == len(rows)
    assert totals["live"] + totals["unknown"] == len(used)
    assert totals["garbage"] == len(rows) - len(used)
    assert totals["garbage_allocated"] == sum(r["allocated"] for r in rows if r not in used)
    assert totals["allocated"] == sum(row["allocated"] for row in used)
    assert totals["len"] == sum(row["len"] for row in used)
    least = [row.get("reclaimable", row.get("reclaimable_range", [0])[0]) for row in used]
    assert totals["reclaimable"] == sum(least)
    assert sum(totals["by_label"].values()) == len(rows)
    types = document["types"]
    assert document["types_total"] == len(types)
    for key in ("allocated", "reclaimable", "len"):
        assert sum(of[key] for of in types) == totals[key]
    assert [of["reclaimable"] for of in types] == sorted(
        (of["reclaimable"] for of in types), reverse=True
    )
    names = [of["type"] for of in types if "type" in of]
    assert len(names) == len(set(names))


def test_options_choose_and_rank(session: Session) -> None:
    def rows(options: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = session.json(f"go-map-scan -json {options}")["maps"]
        return found

    assert [row["address"] for row in rows("-sort address")] == sorted(
        (row["address"] for row in rows("")), key=lambda text: int(text, 16)
    )
    for key in ("allocated", "len"):
        values = [row[key] for row in rows(f"-sort {key}")]
        assert values == sorted(values, reverse=True)
    holes = [row.get("hole_density", -1.0) for row in rows("-sort holes")]
    assert holes == sorted(holes, reverse=True)
    assert len(rows("-top 3")) == 3
    assert session.json("go-map-scan -json -top 3")["truncated"] is True
    large = rows("-min 10K")
    assert large
    assert all(row["allocated"] >= 10240 for row in large)
    keyed = rows("-type ^map.uint32")
    assert keyed
    for row in keyed:
        assert any(
            name.startswith("map[uint32") for name in [row.get("type", ""), *row.get("types", [])]
        )
    assert rows("-type map[uint32]uint32")
    assert rows("-type nothing.like.it") == []


def test_text_fits_its_screen_and_says_what_comes_next(session: Session) -> None:
    text = session.text("go-map-scan")
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.match(
        r"\d+ maps hold [\d.]+ MiB\+? of a heap of [\d.]+ MiB; rebuilding them", lines[0]
    )
    assert "20 of" in text
    assert "by type" in text
    head = lines.index(next(line for line in lines if line.lstrip().startswith("reclaim")))
    address = re.search(r"0x[0-9a-f]+", lines[head + 1])
    assert address
    following = re.search(r"^Next: (go-map-stats (0x\S+) -type '.*')$", text, re.MULTILINE)
    assert following
    assert following[2] == address[0]
    assert session.text(following[1]).startswith(address[0])
    assert session.text("go-map-scan -type nothing.like.it").startswith("None of ")


def test_a_quick_scan_finds_the_same_maps(session: Session) -> None:
    whole = session.json("go-map-scan -json")
    quick = session.json("go-map-scan -json -quick")
    assert any("-quick" in note for note in quick["notes"])
    types = {row["address"]: row.get("type") for row in whole["maps"]}
    lens = {row["address"]: row["len"] for row in whole["maps"]}
    assert {row["address"]: row["len"] for row in quick["maps"]} == lens
    assert quick["totals"]["garbage"] == whole["totals"]["garbage"]
    exact = [row for row in quick["maps"] if "type" in row and row["evidence"] == "exact"]
    assert all(types[row["address"]] == row["type"] for row in exact)


def test_errors_are_one_line(session: Session, specimen: Specimen) -> None:
    for options, reason in [
        ("-sort size", "it is one of"),
        ("-min lots", "a size is needed"),
        ("-type [a", "regular expression"),
        ("-force", "needs -pprof"),
        ("-all -top 3", "contradict"),
        ("-quick -holders", "contradict"),
        ("-quick -pprof x", "contradict"),
        ("-quick -type x", "contradict"),
        ("main.m", "takes no expression"),
        ("-pprof /nowhere/at/all", "no such directory"),
    ]:
        error = session.ask(f"go-map-scan {options}").error
        assert error is not None
        assert reason in error
        assert "\n" not in error
    with Session([f"file {specimen.program}"]) as still:
        assert "not running" in (still.ask("go-map-scan").error or "")


def test_a_profile_has_the_totals(session: Session, specimen: Specimen, tmp_path: Path) -> None:
    path = tmp_path / "maps.pb.gz"
    document = session.json(f"go-map-scan -json -pprof {path}")
    assert document["profile"] == str(path)
    totals = dict(document["totals"])
    totals["used"] = totals["live"] + totals["unknown"]
    assert "exists" in (session.ask(f"go-map-scan -pprof {path}").error or "")
    text = session.text(f"go-map-scan -force -pprof {path}")
    # A long path is folded.
    assert f"Written:{path}(" in "".join(text.split())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    go = toolchains.ensure("1.23.9")

    def pprof(*options: str) -> str:
        done = subprocess.run(
            [str(go), "tool", "pprof", *options, str(path)],
            env=toolchains.environment("1.23.9"),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    raw = pprof("-raw")
    _, _, rest = raw.partition("Samples:\n")
    rest, _, _ = rest.partition("Locations\n")
    names = re.findall(r"(\w+)/\w+", rest.splitlines()[0])
    values = [
        [int(word) for word in found[1].split()]
        for found in re.finditer(r"^ *((?:\d+ +)*\d+): \d", rest, re.MULTILINE)
    ]
    for index, key in INDICES.items():
        at = names.index(index)
        assert sum(row[at] for row in values) == totals[key]
    assert "map[string]int" in pprof("-top", "-sample_index=reclaimable")
    assert "Type: reclaimable" in pprof("-top")
    assert "0 of" in pprof("-top", "-sample_index=maps", f"-diff_base={path}").replace(
        "0, 0% of", "0 of"
    )


def test_mi_tells_the_model(specimen: Specimen) -> None:
    with gdbtool.Mi("-x", str(gdbtool.SCRIPT), str(specimen.program), str(specimen.core)) as mi:
        result = mi.result("-go-map-scan -top 1")
    assert result["schema"] == "gomapscope.scan/1"
    assert len(result["maps"]) == 1
    assert int(result["totals"]["maps"]) > 100


def test_python_lists_objects(session: Session) -> None:
    document = session.json("go-map-scan -json")
    rows = session.python(
        "[[m.address, m.type, m.reclaimable, len(m.open())] "
        "for m in __import__('gomapscope').scan(top=5)]"
    )
    assert [[hex(row[0]), *row[1:]] for row in rows] == [
        [row["address"], row["type"], row["reclaimable"], row["len"]]
        for row in document["maps"][:5]
    ]


def test_a_live_process_is_scanned(specimen: Specimen, tmp_path: Path) -> None:
    with Session(gdbtool.at_stop(specimen.program, tmp_path / "truth.jsonl")) as live:
        document = live.json("go-map-scan -json")
    truth = gdbtool.read_truth(tmp_path / "truth.jsonl")
    found = {row["address"]: row["len"] for row in document["maps"]}
    for entry in truth:
        if entry["address"] != "0x0" and not entry.get("on_stack"):
            assert found[entry["address"]] == entry["len"], entry
    assert document["notes"] == []


@pytest.mark.parametrize("label", LABELS)
def test_without_symbols(label: str, tmp_path: Path) -> None:
    stripped = crash(label, "stripped", tmp_path)
    with Session([f"file {stripped.program}", f"core-file {stripped.core}"]) as opened:
        document = opened.json("go-map-scan -json")
    found = {row["address"] for row in document["maps"]}
    for entry in stripped.truth:
        if entry["address"] != "0x0" and not entry.get("on_stack"):
            assert entry["address"] in found, entry


# --- without gdb ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["stats", "buckets", "entries", "layout"])
@pytest.mark.parametrize("options", ["", "-json"])
def test_the_console_says_what_gdb_says(
    session: Session, specimen: Specimen, command: str, options: str
) -> None:
    for expression in ("main.keyString", "main.elemMap", "&main.keyStruct"):
        inside = session.text(f"go-map-{command} {options} {expression}")
        outside = console(
            command,
            "-core",
            str(specimen.core),
            *options.split(),
            "-exe",
            str(specimen.program),
            expression,
        )
        assert outside.returncode == 0, outside.stderr
        # Only the next command is spelled as a shell takes it.
        assert outside.stdout.split("\nNext: ")[0] == inside.split("\nNext: ")[0]


def test_the_console_scans_as_gdb_does(session: Session, specimen: Specimen) -> None:
    inside = session.json("go-map-scan -json -sort address")
    outside = console("scan", "-core", str(specimen.core), "-json", "-sort", "address")
    assert without_time(json.loads(outside.stdout)) == without_time(inside)
    text = console("scan", "-core", str(specimen.core), "-top", "1").stdout
    following = re.search(r"Next: gomapscope (.*)", " ".join(text.split()))
    assert following
    words = re.findall(r"'[^']*'|\S+", following[1])
    again = console(*(word.strip("'") for word in words))
    assert again.returncode == 0, again.stderr


def test_console_errors_are_one_line(specimen: Specimen, tmp_path: Path) -> None:
    core = ["-core", str(specimen.core)]
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for words, reason in [
        (["stats", "x"], "-core is missing"),
        (["stats", "-core"], "needs a value"),
        (["stats", *core, *core, "x"], "given twice"),
        (["stats", *core], "needs an expression"),
        (["stats", *core, "main.nothing"], "no variable"),
        (["stats", *core, "main.keyString.x"], "no fields"),
        (["stats", *core, "(main.keyString"], "bracket is missing"),
        (["stats", *core, "main.keyString +"], "not understood"),
        (["stats", *core, "main.keyString", "-type", "map[int]int"], "leave -type out"),
        (["stats", *core, "0x10", "-type", "map[int]int"], "cannot read"),
        (["stats", *core, "0xc000000000"], "add the map's type"),
        (["entries", *core, "main.elemMap['a']"], "-key K"),
        (["scan", *core, "-exe", sys.executable], "is not a Go program"),
        (["scan", "-core", str(empty)], str(empty)),
        (["scan", "-core", str(specimen.program)], "not an ELF core"),
    ]:
        done = console(*words)
        assert done.returncode == 1, (words, done.stdout)
        assert done.stderr.count("\n") == 1, done.stderr
        assert reason in done.stderr


def test_the_console_refuses_another_program(specimen: Specimen) -> None:
    zoo = Path(__file__).parent / "go" / "zoo"
    other = toolchains.build(zoo, "1.22.10")
    done = console("scan", "-core", str(specimen.core), "-exe", str(other))
    assert done.returncode == 1
    assert "was built again or is another program" in done.stderr


def test_console_help_names_the_options() -> None:
    text = console("scan", "-h").stdout
    assert "-core CORE" in text
    assert "-pprof FILE" in text
    assert "go-map-scan" in text
    assert all(name in console("--help").stdout for name in ("scan", "stats", "entries"))


_HOLDERS = """
import json, sys
from gomapscope import _native
target, _ = _native.Target.of_core(sys.argv[1], None, "", None)
for line in sys.stdin:
    try:
        found = target.find(json.loads(line), None).address
    except _native.Error as error:
        found = str(error)
    print(json.dumps(found))
"""


@pytest.mark.parametrize("label", LABELS)
def test_expressions_lead_to_the_maps(label: str, tmp_path: Path) -> None:
    population = Path(__file__).parent / "go" / "population"
    specimen = crash(label, "symbols", tmp_path, population)
    held = [row for row in specimen.truth if row.get("holder") and row["state"] == "live"]
    # Keys of maps are beyond a small evaluator.
    plain = [row for row in held if '["' not in row["holder"]]
    assert len(plain) > 500
    done = subprocess.run(
        [sys.executable, "-c", _HOLDERS, str(specimen.core)],
        input="".join(json.dumps(row["holder"]) + "\n" for row in plain),
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = []
    for row, found in zip(plain, answers):
        if found != int(row["address"], 16) and "a key needs" not in str(found):
            wrong.append((row["holder"], found))
    assert len(answers) == len(plain)
    assert wrong == []
    assert sum(isinstance(found, int) for found in answers) > 500
