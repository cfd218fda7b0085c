"""A program that does not stand still: it runs, dies, is exchanged or forks while it is looked at.

Go's own ``len`` is the truth: ``tests/go/disturbed`` ends with 3 unless its map is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ringtool
from test_fault_injection import is_flagged

import gdbs
import gdbtool
import toolchains
from gdbtool import Mi, Session

GO = Path(__file__).parent / "go"
ZOO = GO / "zoo"
DISTURBED = GO / "disturbed"
FAULTS = Path(__file__).parent / "gdb_faults.py"
BOTH = ("1.23.9", "1.27.3")
KEYS = 2000


# --- threads that run -----------------------------------------------------------------------------


class Writers:
    """One thread at its stop while two others write to the map."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def written(self) -> int:
        return int(self.session.text("output main.written.v"))


@pytest.fixture(scope="module", params=BOTH)
def writers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Writers]:
    program = toolchains.build(DISTURBED, request.param)
    output = tmp_path_factory.mktemp("writers") / "output"
    before = ["set non-stop on", f"file {program}", "break main.stop", f"run writers > {output}"]
    # gdb, busy with its answers, would leave a thread with a signal where it is.
    with Session(before, environment={"GODEBUG": "asyncpreemptoff=1"}) as session:
        assert session.text("output main.stopped") == "0"
        yield Writers(session)
        session.text("kill")


def test_threads_that_run_are_writing(writers: Writers) -> None:
    before = writers.written()
    while writers.written() == before:
        pass
    states = writers.session.python("[t.is_running() for t in gdb.selected_inferior().threads()]")
    assert True in states
    assert False in states


def test_figures_of_a_map_that_is_written_to_are_flagged(writers: Writers) -> None:
    session = writers.session
    for command in ("stats", "buckets", "entries"):
        some = "" if command == "stats" else "-limit 3"
        document = session.json(f"go-map-{command} -json {some} main.shared")
        assert (document["exact"], document["racing"]) == (False, True), command
        assert any(
            "threads of the program run" in note or "ran while" in note
            for note in document["notes"]
        )
        text = " ".join(session.text(f"go-map-{command} {some} main.shared").split())
        assert "Not exact (" in text
        assert "racing with other threads" in text
    # What needs no figures is told.
    assert session.json("go-map-layout -json main.shared")["type"] == "map[int]int"
    for name in ("holes", "hole_density", "empty_density", "reclaimable"):
        assert "racing" in session.error(f"output $_go_map_{name}(main.shared)")


def test_python_and_mi_tell_of_the_race(writers: Writers, tmp_path: Path) -> None:
    session = writers.session
    session.text("python import gomapscope; held = gomapscope.Map('main.shared')")
    assert session.python("[held.stats().exact, held.stats().racing]") == [False, True]
    assert session.python("[len(list(held.buckets())) > 0, held.flaw is None]") == [True, False]
    assert session.python("[len(list(held.entries())) > 0, held.flaw is None]") == [True, False]
    session.text("set go-map pretty-print on")
    # gdb stops at its 200th element: what is not exact says so before.
    for elements in (0, 200, 1):
        session.text(f"set print elements {elements}")
        printed = session.text("output main.shared")
        assert printed.index("<not exact>") < 100, printed[:200]
    session.text("set print elements 200")
    session.text("set go-map pretty-print off")
    scan = session.json("go-map-scan -json -quick")
    assert scan["racing"] is True
    assert any("Racing" in note for note in scan["notes"])
    for words in ("", "-quick"):
        found = session.json(f"go-map-writers -json {words}")
        assert found["racing"] is True
        assert sum("Racing" in note for note in found["notes"]) == 1
        assert '"exact"' not in json.dumps(found)
    assert "Racing: the program ran" in session.text("go-map-writers -quick")
    assert session.python("[w.racing for w in [gomapscope.writers(quick=True)]]") == [True]
    saved = session.json(f"go-map-snapshot -json main.shared -o {tmp_path / 'racing.json'}")
    assert (saved["racing"], saved["inexact"]) == (True, 1)
    profile = session.json("go-map-pprof -json goroutine")["profiles"][0]
    assert any("Racing" in note for note in profile["notes"])


def test_what_was_saved_of_a_race_is_compared_as_such(writers: Writers, tmp_path: Path) -> None:
    session = writers.session
    saved = tmp_path / "saved.json"
    listed = tmp_path / "listed.json"
    assert session.json(f"go-map-snapshot -json -scan -quick -o {saved}")["racing"] is True
    listed.write_text(json.dumps(session.json("go-map-scan -json -quick -all")))
    for path in (saved, listed):
        diff = session.json(f"go-map-diff -json {path}")
        for side in ("before", "after"):
            assert (diff[side]["racing"], diff[side]["scope"]) == (True, "part"), side
        sides = [row[side] for row in diff["maps"] for side in ("before", "after") if side in row]
        assert sides
        assert not any(side["exact"] for side in sides)
        # A search of what changes may have missed any map.
        assert not {"new", "gone"} & set(diff["classes"])
        assert sum("Racing" in note for note in diff["notes"]) == 2, diff["notes"]
        text = " ".join(session.text(f"go-map-diff -all {path}").split())
        assert text.count("Racing: the program ran while") == 2
        assert re.search(r"B\? ", text)
    timeline = tmp_path / "timeline.json"
    session.text(f"go-map-timeline -snapshot {saved} -o {timeline}")
    found = json.loads(timeline.read_text())
    (source,) = (source for source in found["sources"] if source["path"] == str(saved))
    assert (source["racing"], source["mapping"]) == (True, "as recorded, while the program ran")
    racing = [row for row in found["findings"] if row["text"].startswith("Racing: the program ran")]
    assert racing
    assert found["findings"][: len(racing)] == racing
    assert any(str(saved) in row["text"] for row in racing)
    assert not any(row["proved"] for row in found["findings"][len(racing) :])


def test_a_ring_that_is_written_on_is_not_exact(tmp_path: Path) -> None:
    overlay = ringtool.overlay("1.27.3", "-track-free")
    program = toolchains.build(DISTURBED, "1.27.3", flags=[f"-overlay={overlay}"])
    before = ["set non-stop on", f"file {program}", "break main.stop"]
    start = f"run writers > {tmp_path / 'output'}"
    with Session([*before, start], environment={"GODEBUG": "asyncpreemptoff=1"}) as session:
        events = tmp_path / "events.jsonl"
        ring = session.json(f"go-map-ring -json -o {events}")
        assert (ring["exact"], ring["racing"]) == (False, True)
        assert [note for note in ring["notes"] if note.startswith("Racing: ")]
        head, *_, last = (json.loads(line) for line in events.read_text().splitlines())
        assert [note for note in head["notes"] if note.startswith("Racing: ")]
        assert last["end"] == "all of the ring, read while the program ran"
        assert "Racing: the program ran" in " ".join(session.text("go-map-ring").split())
        session.text("kill")
    # With all threads stopped it is.
    with Session([f"file {program}", "break main.stop", start]) as session:
        ring = session.json("go-map-ring -json")
        assert ring["exact"] is True
        assert not {"racing", "notes"} & set(ring)
        assert "Racing" not in session.text("go-map-ring")
        session.text("kill")


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_the_last_thread_that_stops_ends_the_race(name: str) -> None:
    program = toolchains.build(DISTURBED, "1.27.3")
    with Mi("-x", str(gdbtool.SCRIPT), str(program), gdb=gdbs.for_test(name)) as mi:
        mi.send("-gdb-set mi-async on")
        mi.send("-gdb-set non-stop on")
        mi.send("-break-insert main.stop")
        mi.send("-exec-arguments writers > /dev/null")
        mi.send("-exec-run")
        hit = mi.until(r'\*stopped,reason="breakpoint-hit"')
        mi.send("-thread-select " + re.findall(r'thread-id="(\d+)"', hit)[0])
        # What is kept of a map at this time must not be taken for what is there later.
        held = "-interpreter-exec console \"python held = gomapscope.Map('main.shared')\""
        mi.send('-interpreter-exec console "python import gomapscope"')
        assert mi.send(held).startswith("^done")
        ask = '-interpreter-exec console "python print(held.stats().exact, held.stats().len)"'
        mi.send(ask)
        assert any(record.startswith('~"False ') for record in mi.records)
        found = mi.result("-go-map-stats main.shared")
        assert (found["exact"], found["racing"]) == ("false", "true")
        mi.send("-exec-interrupt --all")
        running = True
        while running:
            info = mi.result("-thread-info")
            running = any(thread["state"] == "running" for thread in info["threads"])
        found = mi.result("-go-map-stats main.shared")
        # Stopped in the middle of a write or not: the header and the slots tell.
        assert "racing" not in found
        mi.send(ask)
        (last,) = [record for record in mi.records if record.startswith('~"')][-1:]
        assert found["len"] in last
        assert ("True" in last) == (found["exact"] == "true")
        mi.send('-interpreter-exec console "kill"')


def test_conditions_are_decided_while_threads_run(tmp_path: Path) -> None:
    # All-stop: gdb evaluates the condition before it stops the others.
    program = toolchains.build(DISTURBED, "1.27.3")
    condition = "break main.stop if $_go_map_len(main.shared) > 0"
    with Session([f"file {program}"], environment={"GODEBUG": "asyncpreemptoff=1"}) as session:
        session.text(condition)
        session.text(f"run writers > {tmp_path / 'output'}")
        assert session.text("output number") == "1"
        # gdb has stopped all of them.
        document = session.json("go-map-stats -json main.shared")
        assert "racing" not in document
        session.text("kill")


# --- a process that ends, or is exchanged, in the middle ------------------------------------------

#: A breakpoint is met again where Go moved the goroutine: it goes first.
DISTURBANCES = ("killed", "told('kill')", "told('detach')", "told('delete', 'continue')")
DISTURBED_COMMANDS = (
    "go-map-stats -json main.crowded",
    "go-map-buckets -json main.crowded",
    "go-map-entries -json main.keyAny",
    "go-map-scan -json -quick",
    "go-map-pprof -json",
    "go-map-writers -json",
)


def at_stop(program: Path, folder: Path) -> list[str]:
    return [f"file {program}", "break main.stop", f"run {folder / 'truth'} > /dev/null"]


def begin_again(session: Session, folder: Path) -> None:
    """Whatever became of the process, there is another one at the stop."""
    session.ask("kill")
    session.text("delete")
    session.text("break main.stop")
    session.text(f"run {folder / 'truth'} > /dev/null")


def rerun(session: Session, folder: Path) -> None:
    """The next process is walked as ever."""
    begin_again(session, folder)
    document = session.json("go-map-stats -json main.crowded")
    assert (document["len"], document["exact"]) == (140, True)
    session.text("kill")


def check(answer: dict[str, Any]) -> None:
    """One line, or an answer that is right or says that it is not."""
    if "error" in answer:
        assert "\n" not in answer["error"]
        assert not gdbtool.UGLY.search(answer["error"]), answer["error"]
    elif not answer["same"]:
        assert is_flagged(answer["output"], answer["reference"]), answer["output"]


@pytest.mark.parametrize("label", BOTH)
@pytest.mark.parametrize("hook", DISTURBANCES)
def test_a_process_that_ends_in_the_middle_of_a_walk(label: str, hook: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    with Session(at_stop(program, tmp_path)) as session:
        session.text(f"source {FAULTS}")
        for command in DISTURBED_COMMANDS:
            for at in (0, 2, 6):
                answer = session.python(f"disturb({command!r}, {at}, {hook!r})")
                check(answer)
                if answer["happened"]:
                    # The process is gone, and each command says so.
                    refused = session.error("go-map-stats main.crowded")
                    assert re.search("is dead|was killed|has exited", refused), refused
                    begin_again(session, tmp_path)
        rerun(session, tmp_path)


@pytest.mark.parametrize("label", BOTH)
def test_a_process_that_begins_anew_in_the_middle_of_a_walk(label: str, tmp_path: Path) -> None:
    program = toolchains.build(ZOO, label)
    with Session(at_stop(program, tmp_path)) as session:
        session.text(f"source {FAULTS}")
        again = f"told('run {tmp_path / 'truth'} > /dev/null')"
        # At read 0 the walk has not begun, but the address is of the old process already.
        for at in (0, 1, 3, 6, 8):
            answer = session.python(f"disturb('go-map-stats -json main.crowded', {at}, {again!r})")
            assert answer["happened"]
            if "error" in answer:
                assert "is gone and another one there" in answer["error"]
            elif not answer["same"]:
                # Of the one process or of the other, never of both.
                document, whole = json.loads(answer["output"]), json.loads(answer["reference"])
                # What else is in the spans is each process's own.
                for one in (document, whole):
                    one["bytes"].pop("spans", None)
                assert document["exact"] is False or document["slots"] == whole["slots"], at
                assert document["exact"] is False or document["bytes"] == whole["bytes"]
            document = session.json("go-map-stats -json main.crowded")
            assert (document["len"], document["exact"]) == (140, True)
        # Other ways to the address, and searches: at their first read as well.
        rows = gdbtool.read_truth(tmp_path / "truth")
        (row,) = (row for row in rows if row["expr"] == "main.crowded")
        for command in (
            "output $_go_map_len(main.crowded)",
            "python: len(gomapscope.Map('main.crowded'))",
            f"go-map-stats -json {row['address']}",
            f"go-map-snapshot -json -force -o {tmp_path / 'saved.json'} main.nine main.crowded",
            *DISTURBED_COMMANDS[1:],
        ):
            answer = session.python(f"disturb({command!r}, 0, {again!r})")
            assert answer["happened"], command
            if "error" in answer:
                assert "is gone" in answer["error"], (command, answer["error"])
            else:
                told = answer["same"] or is_flagged(answer["output"], answer["reference"])
                assert told, (command, answer["output"][:2000])
        session.text("kill")


@pytest.mark.parametrize("label", BOTH)
def test_a_map_that_is_held_is_of_its_own_process(label: str, tmp_path: Path) -> None:
    program = toolchains.build(DISTURBED, label)
    with Session([f"file {program}", "break main.stop", "run fork > /dev/null"]) as session:

        def refused(ask: str) -> str:
            return str(session.python(f"run('python: {ask}')")["error"])

        session.text(f"source {FAULTS}")
        session.text("python import gomapscope; held = gomapscope.Map('main.shared')")
        before = session.python("[held.stats().len, held.stats().exact]")
        assert before == [KEYS, True]
        # In the same process it is what it was.
        session.text("stepi")
        assert session.python("[held.stats().len, held.stats().exact]") == before
        address = session.python("held.address")
        session.text("run fork > /dev/null")
        # There is one of that name, and mostly at that address; but it is another.
        assert session.python("gomapscope.Map('main.shared').stats().len") == KEYS
        for ask in ("len(held)", "held.stats()", "list(held.buckets())", "list(held.entries())"):
            assert "is gone and another one there" in refused(ask)
        assert session.python("held.address") == address
        session.text("kill")
        assert "is gone, and its maps" in refused("held.stats()")


@pytest.mark.parametrize("at", [0, 2, 5])
def test_a_gdbserver_that_dies_in_the_middle_of_a_walk(at: int, tmp_path: Path) -> None:
    with Session() as session:
        version = session.python("int(gdb.VERSION.split('.')[0])")
    if version >= 14:
        # internal-error: inferior_thread, also without the plugin: Inferior.read_memory selects
        # again the thread that went with the connection.
        pytest.skip(f"gdb {version} ends itself where a remote dies under read_memory")
    program = toolchains.build(ZOO, "1.27.3")
    truth = tmp_path / "truth"
    with gdbtool.gdbserver_process(program, truth) as (server, port):
        before = [f"file {program}", f"target remote 127.0.0.1:{port}", "break main.stop"]
        with Session(
            before,
            environment={"GOMAPSCOPE_SERVER": str(server)},
        ) as session:
            session.text("continue")
            session.text(f"source {FAULTS}")
            answer = session.python(
                f"disturb('go-map-stats -json main.crowded', {at}, 'server_killed')"
            )
            assert answer["happened"]
            check(answer)
            # gdb goes on: what it has is the file.
            refused = session.error("go-map-stats main.crowded")
            assert not gdbtool.UGLY.search(refused)
            assert "map[int]int" in session.text("go-map-layout map[int]int")
            rerun(session, tmp_path)


# --- more than one process ------------------------------------------------------------------------


def test_each_inferior_has_its_own_figures(tmp_path: Path) -> None:
    old, new = (toolchains.build(ZOO, label) for label in BOTH)
    truths = tmp_path / "1", tmp_path / "2"
    before = [f"file {old}", "break main.stop", f"run {truths[0]} > /dev/null"]
    with Session(before) as session:
        session.text(f"add-inferior -exec {new}")
        session.text("inferior 2")
        session.text(f"run {truths[1]} > /dev/null")
        programs = {1: (old, "go1.23.9", "classic"), 2: (new, "go1.27.3", "swiss")}
        found = {}
        for number in (1, 2, 1, 2):
            session.text(f"inferior {number}")
            program, version, family = programs[number]
            status = session.json("go-map -json")
            assert (status["program"], status["go_version"]) == (str(program), version)
            rows = gdbtool.read_truth(truths[number - 1])
            for row in rows:
                if row["expr"] in ("main.crowded", "main.twoK", "main.holes", "main.keyString"):
                    document = session.json(f"go-map-stats -json {row['expr']}")
                    assert (document["go_version"], document["family"]) == (version, family)
                    assert document["address"] == row["address"]
                    assert document["len"] == row["len"]
                    assert document["slots"]["capacity"] == row["capacity"]
                    assert document["exact"] is True
            scan = session.json("go-map-scan -json -quick")
            assert scan["go_version"] == version
            same = found.setdefault(number, scan["totals"]["found"])
            assert scan["totals"]["found"] == same
        # Objects of the API stay with their process.
        session.text("python import gomapscope; held = gomapscope.Map('main.crowded')")
        session.text("inferior 1")
        assert session.python("held.stats().json['go_version']") == "go1.27.3"
        assert session.python("gomapscope.Map('main.crowded').family") == "classic"
        session.text("kill inferiors 2")
        session.text("inferior 2")
        assert "killed" in session.error("go-map-stats main.crowded")
        session.text("inferior 1")
        session.text("remove-inferiors 2")
        document = session.json("go-map-stats -json main.crowded")
        assert (document["go_version"], document["exact"]) == ("go1.23.9", True)
        session.text("kill")


@pytest.mark.parametrize("label", BOTH)
def test_a_forked_child_has_maps_of_its_own(label: str) -> None:
    program = toolchains.build(DISTURBED, label)
    before = ["set detach-on-fork off", f"file {program}", "break main.stop"]
    with Session([*before, "run fork > /dev/null"]) as session:

        def figures() -> tuple[int, bool]:
            document = session.json("go-map-stats -json main.shared")
            return document["len"], document["exact"]

        assert figures() == (KEYS, True)
        session.text("inferior 2")
        # The child has not emptied its copy yet.
        assert figures() == (KEYS, True)
        session.text("continue")
        assert session.text("output number") == "2"
        assert figures() == (KEYS // 2, True)
        session.text("inferior 1")
        assert figures() == (KEYS, True)
        session.text("inferior 2")
        assert figures() == (KEYS // 2, True)
        session.text("kill inferiors 1 2")


@pytest.mark.parametrize("label", BOTH)
def test_a_child_that_is_followed_is_looked_at(label: str) -> None:
    program = toolchains.build(DISTURBED, label)
    before = ["set follow-fork-mode child", f"file {program}", "break main.stop"]
    with Session([*before, "run fork > /dev/null"]) as session:
        assert session.text("output number") == "2"
        document = session.json("go-map-stats -json main.shared")
        assert (document["len"], document["exact"]) == (KEYS // 2, True)
        session.text("kill")


@pytest.mark.parametrize(("label", "next_label"), [BOTH, BOTH[::-1]])
def test_a_program_that_execs_another_is_that_one(
    label: str, next_label: str, tmp_path: Path
) -> None:
    program = toolchains.build(DISTURBED, label)
    after = toolchains.build(ZOO, next_label)
    run = f"run exec {after} {tmp_path / 'truth'} > /dev/null"
    with Session([f"file {program}", "break main.stop", run]) as session:
        document = session.json("go-map-stats -json main.shared")
        assert (document["len"], document["go_version"]) == (KEYS, f"go{label}")
        session.text("python import gomapscope; held = gomapscope.Map('main.shared')")
        session.text("continue")
        # Symbols, layouts and what was read are of the other program.
        assert "main.shared" in session.error("go-map-stats main.shared")
        truth = {row["expr"]: row for row in gdbtool.read_truth(tmp_path / "truth")}
        for expression in ("main.crowded", "main.twoK", "main.elemBig"):
            document = session.json(f"go-map-stats -json {expression}")
            assert document["go_version"] == f"go{next_label}"
            assert document["len"] == truth[expression]["len"]
            assert document["exact"] is True
        # What was held of the old one is nothing now.
        gone = session.ask("python print(held.stats().exact)")
        assert gone.error is not None or "False" in str(gone.output)
        session.text("kill")
