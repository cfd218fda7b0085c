"""go-map-snapshot and go-map-diff: what became of a program's maps, by what it says itself."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cores
import pytest

import gdbtool
import toolchains
from gdbtool import Mi, Session

CHANGES = Path(__file__).parent / "go" / "changes"
LABELS = ("1.21.13", "1.23.9", "1.25.5", "1.27.3")
#: What the program does to each map between its first and its second stop.
CLASSES = {
    "main.grown": "grown",
    "main.filled": "filled",
    "main.emptied": "emptied",
    "main.rebuilt": "rebuilt",
    "main.moved": "moved",
    "main.dropped": "gone",
    "main.fresh": "new",
    "main.steady": "unchanged",
    "main.holder.Inner": "rebuilt",
}
NAMES = tuple(CLASSES)
ELSEWHERE = {"main.rebuilt", "main.moved", "main.holder.Inner"}

Stops = dict[int, dict[str, dict[str, Any]]]


def outside(*words: object) -> subprocess.CompletedProcess[str]:
    """Python without gdb."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
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


def console(*words: object) -> subprocess.CompletedProcess[str]:
    return outside("-m", "gomapscope", *words)


class Story(NamedTuple):
    """A program that was looked at in gdb, stop by stop."""

    folder: Path
    truth: Stops
    #: ``go-map-stats -json`` at the first two stops.
    figures: list[dict[str, dict[str, Any]]]
    diffs: dict[str, Any]
    clocks: list[tuple[int, int]]


def of_truth(path: Path) -> Stops:
    stops: Stops = {}
    for row in gdbtool.read_truth(path):
        stops.setdefault(row["stop"], {})[row["name"]] = row
    return stops


def clocks() -> tuple[int, int]:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()


def at_first(program: Path, truth: Path) -> list[str]:
    """Commands that run the program to its first stop."""
    return [f"file {program}", "tbreak main.first", f"run {truth} > /dev/null"]


def advance(session: Session, stop: str) -> None:
    """Let the program run to its next stop."""
    # A temporary breakpoint is not stepped over, which signals may disturb.
    session.text(f"tbreak main.{stop}")
    session.text("continue")
    assert session.python("gdb.newest_frame().name()") == f"main.{stop}"


def all_stats(session: Session) -> dict[str, dict[str, Any]]:
    return {name: session.json(f"go-map-stats -json {name}") for name in NAMES}


@pytest.fixture(scope="module", params=LABELS)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    program = toolchains.build(CHANGES, request.param)
    folder = tmp_path_factory.mktemp("story")
    names, truth = " ".join(NAMES), folder / "truth.jsonl"
    diffs, times = {}, [clocks()]
    with Session(at_first(program, truth)) as session:
        session.text(f"go-map-snapshot {names} -o {folder}/a.json -buckets")
        session.text(f"go-map-snapshot -scan -holders -o {folder}/scan-a.json.gz")
        Path(folder, "scan.json").write_text(session.text("go-map-scan -json"))
        Path(folder, "stats.json").write_text(session.text("go-map-stats -json main.grown"))
        figures = [all_stats(session)]
        times.append(clocks())
        advance(session, "second")
        diffs["live"] = session.json(f"go-map-diff -json {folder}/a.json")
        diffs["scan live"] = session.json(f"go-map-diff -json {folder}/scan-a.json.gz")
        diffs["scan -json live"] = session.json(f"go-map-diff -json {folder}/scan.json")
        diffs["stats -json live"] = session.json(f"go-map-diff -json {folder}/stats.json")
        diffs["text"] = session.text(f"go-map-diff {folder}/a.json")
        session.text(f"go-map-snapshot {names} -o {folder}/b.json.gz -buckets")
        session.text(f"go-map-snapshot -scan -holders -o {folder}/scan-b.json")
        diffs["files"] = session.json(f"go-map-diff -json {folder}/a.json {folder}/b.json.gz")
        figures.append(all_stats(session))
        advance(session, "third")
        diffs["still"] = session.json(f"go-map-diff -json {folder}/b.json.gz")
        diffs["still text"] = session.text(f"go-map-diff {folder}/b.json.gz")
        diffs["still scan"] = session.json(f"go-map-diff -json {folder}/scan-b.json")
        times.append(clocks())
        session.text("continue")
    return Story(folder, of_truth(truth), figures, diffs, times)


def rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in document["maps"] if "name" in row}


@pytest.mark.parametrize("kind", ["live", "files"])
def test_every_map_became_what_the_program_made_of_it(story: Story, kind: str) -> None:
    document = story.diffs[kind]
    assert document["schema"] == "gomapscope.diff/1"
    assert document["same_process"] is True
    assert document["same_program"] is True
    found = rows(document)
    assert {name: row["class"] for name, row in found.items()} == CLASSES
    assert {name for name, row in found.items() if row["moved"]} == ELSEWHERE
    first, second = story.truth[1], story.truth[2]
    for name, row in found.items():
        was, now = row["before"], row["after"]
        assert (was["address"], was["len"]) == (first[name]["address"], first[name]["len"]), name
        assert (now["address"], now["len"]) == (second[name]["address"], second[name]["len"])
        assert row["change"]["len"] == second[name]["len"] - first[name]["len"]
        for side, stats in zip((was, now), (story.figures[0][name], story.figures[1][name])):
            assert side["allocated"] == stats["bytes"]["allocated"], name
            assert side["reclaimable"] == stats["bytes"]["reclaimable"], name
            assert side["capacity"] == stats["slots"]["capacity"], name
            assert side.get("hole_density") == stats["slots"].get("hole_density"), name
            assert side["exact"] is True
        assert row["change"]["allocated"] == now["allocated"] - was["allocated"]
    changes = [abs(row["change"]["allocated"]) for row in document["maps"]]
    assert changes == sorted(changes, reverse=True)
    for key in ("allocated", "len", "reclaimable"):
        assert document["change"][key] == sum(row["change"][key] for row in found.values())
    assert document["before"]["totals"]["maps"] == document["after"]["totals"]["maps"] == 8


def test_storage_and_buckets_are_compared(story: Story) -> None:
    found = rows(story.diffs["files"])
    for name in ("main.emptied", "main.filled", "main.steady"):
        storage = found[name]["storage"]
        assert storage["left"] == storage["added"] == 0, name
        # The array that a growth leaves counts as storage only as long as it is there.
        stats = story.figures[1][name]
        growing = stats.get("classic", {}).get("growth", "none") != "none"
        assert growing or storage["kept"] == stats["bytes"]["storage"], name
    assert found["main.rebuilt"]["storage"]["kept"] == 0
    assert found["main.grown"]["storage"]["added"] > 0
    before, after = story.figures[0]["main.emptied"], story.figures[1]["main.emptied"]
    buckets = found["main.emptied"]["buckets"]
    assert buckets["compared"] == after["buckets"]["count"]
    assert buckets["more"] == 0
    assert buckets["emptied"] == after["buckets"]["empty"] - before["buckets"]["empty"]
    assert "buckets" not in found["main.rebuilt"]


def test_every_map_of_the_process_is_compared(story: Story) -> None:
    files = console("diff", story.folder / "scan-a.json.gz", story.folder / "scan-b.json", "-json")
    assert files.returncode == 0, files.stderr
    for document in (story.diffs["scan live"], json.loads(files.stdout)):
        assert document["before"]["scope"] == document["after"]["scope"] == "all"
        found = rows(document)
        for name, wanted in CLASSES.items():
            assert found[name]["class"] == wanted, name
            side, stop = ("before", 1) if name == "main.dropped" else ("after", 2)
            assert found[name][side]["address"] == story.truth[stop][name]["address"], name
            assert found[name][side]["len"] == story.truth[stop][name]["len"], name
        # The type of a map is one row of the sums by type.
        sums = {of.get("type"): of for of in document["types"]}
        grown = story.figures[1]["main.grown"]["bytes"]["allocated"]
        assert sums["map[string]int64"]["after"]["allocated"] == grown
        for side in ("before", "after"):
            total = document[side]["totals"]["allocated"]
            assert total == sum(of[side]["allocated"] for of in document["types"])


def test_documents_of_other_commands_will_do(story: Story) -> None:
    document = story.diffs["scan -json live"]
    assert document["before"]["schema"] == "gomapscope.scan/1"
    assert rows(document)["main.grown"]["class"] == "grown"
    assert "same_process" not in document
    document = story.diffs["stats -json live"]
    assert [row["class"] for row in document["maps"]] == ["grown"]
    assert document["before"]["scope"] == "named"


def test_the_answer_comes_first_and_fits(story: Story) -> None:
    text = story.diffs["text"]
    first = " ".join(text.split("\n\n")[0].split())
    assert first.startswith("main.grown grew: ")
    assert " more storage for 49,900 more entries. In all " in first
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "main.steady" not in text
    assert "1 unchanged" in text
    assert f"moved: the header is at {story.truth[2]['main.moved']['address']}" in text
    assert text.endswith("\nNext: go-map-stats main.grown\n")


def test_nothing_changes_while_nothing_happens(story: Story) -> None:
    assert set(story.diffs["still"]["classes"]) == {"unchanged"}
    assert story.diffs["still text"].startswith("Nothing changed: 8 maps hold ")
    still = rows(story.diffs["still scan"])
    assert {still[name]["class"] for name in NAMES if name in still} == {"unchanged"}


def test_both_clocks_are_those_of_the_process(story: Story) -> None:
    taken = [
        json.loads((story.folder / "a.json").read_text())["taken"],
        json.loads(gzip.decompress((story.folder / "b.json.gz").read_bytes()))["taken"],
    ]
    for at, found in enumerate(taken):
        for position, name in enumerate(("monotonic_ns", "wall_ns")):
            low, high = story.clocks[at][position], story.clocks[at + 1][position]
            assert low <= found[name] <= high
    files = story.diffs["files"]
    assert files["elapsed_clock"] == "monotonic"
    assert files["elapsed_ns"] == taken[1]["monotonic_ns"] - taken[0]["monotonic_ns"]
    swapped = console("diff", story.folder / "b.json.gz", story.folder / "a.json")
    assert "may be given in the wrong order" in " ".join(swapped.stdout.split())


def test_files_that_are_cut_or_foreign_are_refused(story: Story, tmp_path: Path) -> None:
    good = story.folder / "a.json"
    whole, packed = good.read_bytes(), (story.folder / "b.json.gz").read_bytes()
    wrong = tmp_path / "wrong.json"

    def refused(content: bytes) -> str:
        wrong.write_bytes(content)
        done = console("diff", good, wrong)
        assert done.returncode == 1
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"gomapscope: {wrong} "), line
        return line

    for end in (0, 1, len(whole) // 2, len(whole) - 3):
        assert "is not a whole JSON document: it ends or breaks at byte" in refused(whole[:end])
    for end in (10, len(packed) // 2, len(packed) - 1):
        assert "damaged or cut: its compressed data ends at byte" in refused(packed[:end])
    assert "names no schema" in refused(b'{"a":1}')
    assert "gomapscope.layout/1" in refused(b'{"schema":"gomapscope.layout/1"}')
    assert "at byte 0" in refused(b"\x7fELF\x02\x01\x01")
    assert "missing field" in refused(whole.replace(b'"capacity"', b'"capacitx"', 1))
    assert "\x1b" not in refused(b'{"schema":"\\u001b[2J"}')


def test_hostile_names_do_no_harm(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = (story.folder / "a.json").read_bytes()
    path.write_bytes(whole.replace(b'"main.grown"', b'"main.\\u001b[2Jgrown"', 1))
    for options in ([], ["-json"]):
        shown = console("diff", path, story.folder / "b.json.gz", *options)
        assert shown.returncode == 0
        assert "\x1b" not in shown.stdout
        assert "[2J" in shown.stdout


def test_python_outside_gdb_compares_files(story: Story) -> None:
    program = (
        "import gomapscope, sys\n"
        "found = gomapscope.diff(*sys.argv[1:])\n"
        "print(found.allocated, found.same_process, found.changes[0].name)\n"
        "try:\n"
        "    gomapscope.diff(sys.argv[1] + 'x', sys.argv[2])\n"
        "except gomapscope.Error as error:\n"
        "    print(error)\n"
    )
    done = outside("-c", program, story.folder / "a.json", story.folder / "b.json.gz")
    first, second = done.stdout.splitlines()
    change = story.diffs["files"]["change"]["allocated"]
    assert first == f"{change} True main.grown"
    assert "a.jsonx cannot be read: No such file" in second


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    program = toolchains.build(CHANGES, "1.27.3")
    truth = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    with Session(at_first(program, truth)) as opened:
        yield opened


def test_a_file_is_overwritten_only_by_force(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a b.json"
    text = session.text(f"go-map-snapshot main.grown -o '{path}'")
    assert text.startswith("1 map, 100 entries in ")
    # A path that is wider than the line is folded.
    assert f"go-map-diff '{path}'".replace(" ", "") in "".join(text.split())
    before = path.read_bytes()
    refusal = "exists: -force overwrites it"
    assert refusal in session.error(f"go-map-snapshot main.filled -o '{path}'")
    assert refusal in session.error(f"go-map-snapshot -scan -o '{path}'")
    # The file of a trace is written by the same rule, whichever engine is tried first.
    assert refusal in session.error(f"go-map-trace start main.grown -o '{path}'")
    assert refusal in session.error(f"go-map-trace start main.grown -on assign -o '{path}'")
    assert path.read_bytes() == before
    document = session.json(f"go-map-snapshot main.filled -o '{path}' -force -json")
    assert document["schema"] == "gomapscope.saved/1"
    assert document["file_bytes"] == path.stat().st_size
    assert (document["maps"], document["len"]) == (1, 5)
    assert json.loads(path.read_text())["maps"][0]["expression"] == "main.filled"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a b.json"]
    assert "no such directory" in session.error(f"go-map-snapshot main.grown -o {tmp_path}/x/y")
    assert "is a directory" in session.error(f"go-map-snapshot main.grown -o {tmp_path} -force")
    # Nothing is written where an expression is wrong.
    session.error(f"go-map-snapshot main.grown main.nothing -o {tmp_path}/n.json")
    assert not (tmp_path / "n.json").exists()


def test_what_cannot_be_followed_any_more_is_said(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    address = session.json("go-map-stats -json main.steady")["address"]
    session.text(f"go-map-snapshot main.grown {address} -o {path}")
    assert session.json(f"go-map-diff {path} -json")["classes"] == {"unchanged": 2}
    path.write_text(path.read_text().replace('"main.grown"', '"main.nothing"'))
    document = session.json(f"go-map-diff {path} -json")
    assert document["classes"] == {"unchanged": 1, "unlisted": 1}
    ((name, reason),) = document["after"]["missing"]
    assert name == "main.nothing"
    assert "main.nothing" in reason
    assert "main.nothing is not compared: " in session.text(f"go-map-diff {path}")


def test_python_and_completion(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "it's.json.gz"
    api = "__import__('gomapscope')"
    saved = session.python(
        f"list({api}.snapshot('main.grown', 'main.steady', path={str(path)!r}, buckets=True))"
    )
    assert saved[:4] == [str(path), path.stat().st_size, 2, 200]
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    found = session.python(f"[change.change for change in {api}.diff({str(path)!r}).changes]")
    assert found == ["unchanged", "unchanged"]
    (tmp_path / "other.json").touch()
    for start in (
        "go-map-diff ",
        f"go-map-diff {tmp_path}/a ",
        "go-map-diff -json ",
        "go-map-trace report ",
        "go-map-trace report -json -limit 3 ",
    ):
        wanted = f"{start}{tmp_path}/other.json"
        assert wanted in session.text(f"complete {start}{tmp_path}/o"), start
        assert wanted in session.text(f"complete {start}{tmp_path}/").splitlines(), start


def test_machine_interface(tmp_path: Path) -> None:
    program = toolchains.build(CHANGES, "1.27.3")
    truth, path = tmp_path / "truth.jsonl", tmp_path / "a b.json"
    with Mi(str(program), "-x", str(gdbtool.SCRIPT)) as mi:
        mi.result("-break-insert -t main.first")
        mi.result(f"-exec-arguments {truth}")
        mi.send("-exec-run")
        mi.until(r"\*stopped")
        saved = mi.result(f'-go-map-snapshot main.grown -o "{path}"')
        assert saved["maps"] == "1"
        found = mi.result(f'-go-map-diff "{path}"')
        assert found["schema"] == "gomapscope.diff/1"
        assert found["maps"][0]["class"] == "unchanged"


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_cores_with_and_without_gdb(label: str, tmp_path: Path) -> None:
    program = toolchains.build(CHANGES, label)
    found_cores, truths = [], []
    for stop in (1, 2):
        folder = tmp_path / str(stop)
        folder.mkdir()
        truth = folder / "truth.jsonl"
        found_cores.append(cores.core_of([program, truth, f"crash{stop}"], folder))
        truths.append(of_truth(truth)[stop])
    early, late = found_cores
    files = [tmp_path / "gdb.json", tmp_path / "console.json"]
    with Session([f"file {program}", f"core-file {early}"]) as session:
        session.text(f"go-map-snapshot {' '.join(NAMES)} -o {files[0]} -buckets")
        session.text(f"go-map-snapshot -scan -holders -o {tmp_path}/scan.json")
    done = console("snapshot", "-core", early, *NAMES, "-o", files[1], "-buckets")
    assert done.returncode == 0, done.stderr
    assert "Next: gomapscope diff" in done.stdout
    documents = [json.loads(path.read_text()) for path in files]
    for document in documents:
        # A core does not tell when it was made.
        assert "taken" not in document
        assert document["target"]["core"] == str(early)
        assert "pid" not in document["target"]
    assert documents[0]["maps"] == documents[1]["maps"]
    for row in documents[0]["maps"]:
        truth = truths[0][row["expression"]]
        assert (row["address"], row["len"]) == (truth["address"], truth["len"])
    for path in (files[0], tmp_path / "scan.json"):
        compared = console("diff", path, "-core", late, "-json")
        assert compared.returncode == 0, compared.stderr
        document = json.loads(compared.stdout)
        assert document["same_program"] is True
        assert "same_process" not in document
        found = rows(document)
        for name in ("main.grown", "main.filled", "main.emptied", "main.steady"):
            change = truths[1][name]["len"] - truths[0][name]["len"]
            assert found[name]["change"]["len"] == change, name
        # Hashes differ from run to run, and with them how many overflow buckets there are.
        assert found["main.grown"]["class"] == "grown"
    text = console("diff", files[0], "-core", late).stdout
    assert "are of one process is not known" in " ".join(text.split())
    both = console("snapshot", "-core", late, "-scan", "-o", tmp_path / "late.json.gz")
    assert both.returncode == 0, both.stderr
    assert console("diff", tmp_path / "scan.json", tmp_path / "late.json.gz").returncode == 0
    alone = console("diff", files[0])
    assert alone.returncode == 1
    assert "two files are needed" in alone.stderr


def test_remote_targets_have_no_clocks(tmp_path: Path) -> None:
    program = toolchains.build(CHANGES, "1.27.3")
    truth, path = tmp_path / "truth.jsonl", tmp_path / "a.json"
    with gdbtool.gdbserver(program, truth) as port:
        before = [f"file {program}", f"target remote 127.0.0.1:{port}", "tbreak main.first"]
        with Session([*before, "continue"]) as session:
            session.text(f"go-map-snapshot main.grown main.emptied -o {path}")
            advance(session, "second")
            found = session.json(f"go-map-diff {path} -json")
            session.text("kill")
    document = json.loads(path.read_text())
    assert document["target"]["kind"] == "remote"
    assert "taken" not in document
    assert {row["class"] for row in found["maps"]} == {"grown", "emptied"}
    assert "elapsed_ns" not in found
