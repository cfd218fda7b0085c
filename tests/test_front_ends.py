"""What stands between gdb and an editor: its machine interface, and the Debug Adapter Protocol."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from test_events_report import lines, two_maps

import gdbs
import gdbtool
import toolchains
import tracetool
from daptool import Dap
from gdbtool import Mi

ZOO = Path(__file__).parent / "go" / "zoo"
#: 13.1 and older do not know the protocol.
WITH_DAP = tuple(gdbs.RELEASES)

#: Names and values that end strings, lines and colours in every notation.
EVIL = 'a "b"},c={x\n\x1b[31m é'

#: One line of MI that is no result: its class, or what the console, target or log says.
ASYNC = re.compile(r'[*+=][a-z-]+(,(?P<results>.*))?|[~@&](?P<text>"(?:\\.|[^"\\])*")|\(gdb\) ')
RESULT = re.compile(r"\d+\^(done|running|error|connected|exit)(,(?P<results>.*))?")


def check_records(records: list[str]) -> None:
    """Every line is a whole record by the grammar in gdb's manual, "GDB/MI Output Syntax"."""
    for record in records:
        found = ASYNC.fullmatch(record) or RESULT.fullmatch(record)
        assert found, record
        gdbtool.mi_values(found.groupdict().get("results") or "")


@pytest.fixture(scope="module", params=gdbs.NAMES, ids=lambda name: f"gdb {name}")
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mi, Path]]:
    """An MI session at the zoo's stop."""
    gdb = gdbs.for_test(request.param)
    program = toolchains.build(ZOO, "1.27.3")
    folder = tmp_path_factory.mktemp("mi")
    with Mi("-x", str(gdbtool.SCRIPT), str(program), gdb=gdb) as mi:
        mi.send("-break-insert main.stop")
        mi.send(f"-exec-arguments {folder / 'truth'} wait > /dev/null")
        assert mi.send("-exec-run") == "^running"
        mi.until(r"\*stopped,reason=\"breakpoint-hit\"")
        yield mi, folder
        check_records(mi.records)


def test_every_mi_command_answers_with_its_document(front: tuple[Mi, Path]) -> None:
    mi, folder = front
    truth = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}

    def document(command: str, schema: str) -> Any:
        found = mi.result(command)
        assert found["schema"] == f"gomapscope.{schema}/1", command
        return found

    assert document("-go-map", "status")["memory"] == "native"
    row = truth["main.holes"]
    stats = document("-go-map-stats main.holes", "stats")
    assert int(stats["slots"]["live"]) == row["live"]
    assert int(stats["slots"]["tombstones"]) == row["tombstones"]
    assert int(stats["slots"]["capacity"]) == row["capacity"]
    assert stats["exact"] == "true"
    buckets = document("-go-map-buckets main.holes -all", "buckets")["bucket_list"]
    assert sum(int(bucket["live"]) for bucket in buckets) == row["live"]
    for name in ("main.weird", "main.unicode", "main.nine"):
        entries = document(f"-go-map-entries {name} -all", "entries")["entries"]
        assert sorted((entry["key"], entry["elem"]) for entry in entries) == sorted(
            tuple(entry) for entry in truth[name]["entries"]
        )
    assert document("-go-map-layout main.holes", "layout")["type"] == row["type"]
    scan = document("-go-map-scan", "scan")
    assert row["address"] in [found["address"] for found in scan["maps"]]
    assert document("-go-map-pprof heap -limit 1", "pprof")["profiles"]
    writers = document("-go-map-writers", "writers")
    assert (writers["operations"], int(writers["goroutines"]) >= 1) == ([], True)
    saved = document(f"-go-map-snapshot main.holes main.nine -o {folder / 'a.json'}", "saved")
    assert int(saved["len"]) == row["len"] + truth["main.nine"]["len"]
    assert document(f"-go-map-diff {folder / 'a.json'}", "diff")
    timeline = document(f"-go-map-timeline main.nine -o {folder / 't.html'}", "timeline")
    assert timeline["sources"]
    assert (folder / "t.html").is_file()
    events = folder / "e.jsonl"
    started = document(f"-go-map-trace-start main.nine -o {events}", "trace-status")
    assert started["active"] == "true"
    for command in ("-go-map-trace", "-go-map-trace-status"):
        assert document(command, "trace-status")["maps"] == ["main.nine"]
    assert document("-go-map-trace-stop", "trace-status")["active"] == "false"
    assert document(f"-go-map-trace-report {events}", "events-report")["end"]["state"] == "closed"
    armed = document("-go-map-trace-arm -allow-write", "arm")
    disarmed = document("-go-map-trace-disarm", "arm")
    assert (armed["old"], armed["new"]) == (disarmed["new"], disarmed["old"])


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("-go-map-stats", "needs an expression"),
        ("-go-map-stats main.noSuch", "there is no variable main.noSuch"),
        ("-go-map-stats main.stopped", "not a map"),
        ("-go-map-stats -bogus main.nine", "no option"),
        ("-go-map-stats main.nine main.holes", "syntax error"),
        ("-go-map-entries main.nine -key", "needs a value"),
        ("-go-map-diff /nonexistent", "/nonexistent"),
        ("-go-map-snapshot main.nine", "-o FILE"),
        ("-go-map-ring", "no flight recorder"),
        ("-go-map-pprof nosuch", "nosuch"),
        ("-go-map-trace-start main.noSuch", "main.noSuch"),
        ("-go-map-trace-report /nonexistent", "/nonexistent"),
        ("-go-map-trace-arm", "-allow-write"),
        ("-go-map-timeline /nonexistent", "nonexistent"),
    ],
)
def test_mi_error_is_one_line_and_gdb_lives_on(
    front: tuple[Mi, Path], command: str, says: str
) -> None:
    mi, _ = front
    message = mi.error(command)
    assert says in message
    assert "\n" not in message
    # The same from the console of an editor: on the log stream, and as the command's failure.
    start = len(mi.records)
    words = command[1:].replace("-trace-", "-trace ", 1)
    said = mi.send(f"-interpreter-exec console {json.dumps(words)}")
    assert said.startswith("^error,")
    assert not [record for record in mi.records[start:] if record.startswith("~")]
    assert mi.result("-go-map-stats main.nine")["len"] == "9"


def test_mi_takes_names_of_the_program_as_values(front: tuple[Mi, Path]) -> None:
    mi, folder = front
    rows = [{**row, "type": EVIL, "labels": {EVIL: EVIL, "id": "1"}} for row in two_maps()]
    events = folder / "evil.jsonl"
    events.write_text(lines(rows))
    found = mi.result(f"-go-map-trace-report {events}")
    pairs = [{"name": EVIL, "value": EVIL}, {"name": "id", "value": "1"}]
    assert found["stacks"][0]["labels"] == [pairs]
    assert {row["type"] for row in found["maps"]} == {EVIL}


def test_console_of_an_editor_gets_plain_text(front: tuple[Mi, Path]) -> None:
    mi, _ = front
    for command in ("go-map-entries main.weird", "go-map-stats main.nine", "go-map-scan -top 3"):
        start = len(mi.records)
        assert mi.send(f'-interpreter-exec console "{command}"') == "^done"
        said = [gdbtool.mi_string(line[1:]) for line in mi.records[start:] if line[0] == "~"]
        assert said
        assert "\x1b" not in "".join(said)
        assert "\r" not in "".join(said)


# --- the Debug Adapter Protocol ------------------------------------------------------------------


@pytest.fixture(scope="module", params=WITH_DAP, ids=lambda name: f"gdb {name}")
def editor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Dap, Path]]:
    """A debug adapter at the zoo's stop; at the end it disconnects and gdb ends."""
    gdb = gdbs.for_test(request.param)
    folder = tmp_path_factory.mktemp("dap")
    with Dap(gdb) as dap:
        stopped_in_zoo(dap, folder / "truth")
        yield dap, folder
        dap.end()


def stopped_in_zoo(
    dap: Dap, *arguments: object, environment: Optional[dict[str, str]] = None
) -> int:
    """Launch the zoo and run it to its stop; the thread that stopped."""
    program = toolchains.build(ZOO, "1.27.3")
    dap.body("initialize", adapterID="gomapscope", clientID="tests")
    words = [str(word) for word in arguments]
    # Instead of gdb's own, not besides.
    variables = {} if environment is None else {"env": environment}
    launch = dap.start("launch", program=str(program), args=words, **variables)
    # gdb may answer at once, or only when it is configured.
    dap.event("initialized")
    dap.body("setFunctionBreakpoints", breakpoints=[{"name": "main.stop"}])
    dap.start("configurationDone")
    thread = dap.event("stopped")["threadId"]
    responses = [found for found in dap.messages if found.get("request_seq") == launch]
    assert [found["success"] for found in responses] == [True]
    return int(thread)


def frame(dap: Dap) -> int:
    """The innermost frame of the thread at the stop."""
    stopped = [found for found in dap.messages if found.get("event") == "stopped"]
    thread = stopped[-1]["body"]["threadId"]
    return int(dap.body("stackTrace", threadId=thread)["stackFrames"][0]["id"])


def test_debug_console_runs_every_command(editor: tuple[Dap, Path]) -> None:
    dap, folder = editor
    truth = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}
    found = json.loads(dap.repl("go-map-stats -json main.holes"))
    assert found["slots"]["live"] == truth["main.holes"]["live"]
    assert found["slots"]["tombstones"] == truth["main.holes"]["tombstones"]
    entries = json.loads(dap.repl("go-map-entries -json -all main.weird"))["entries"]
    assert sorted([entry["key"], entry["elem"]] for entry in entries) == sorted(
        truth["main.weird"]["entries"]
    )
    events = folder / "e.jsonl"
    for command, words in (
        ("go-map", "gomapscope "),
        ("go-map-stats main.nine", "len 9"),
        ("go-map-buckets main.holes -limit 4", "4 of 128"),
        ("go-map-entries main.nine", '"key-a0"'),
        ("go-map-layout main.nine", "map[string]int"),
        ("go-map-scan -top 2", "2 of "),
        ("go-map-pprof", "heap"),
        ("go-map-writers", "map operation"),
        (f"go-map-snapshot main.nine -o {folder / 'a.json'}", "1 map"),
        (f"go-map-diff {folder / 'a.json'}", "unchanged"),
        ("go-map-timeline main.nine", "main.nine"),
        (f"go-map-trace start main.nine -o {events}", "main.nine"),
        ("go-map-trace status", "main.nine"),
        ("go-map-trace stop", "stop"),
        (f"go-map-trace report {events}", "No event"),
        ("go-map-trace arm -allow-write", "traceallocfree"),
        ("go-map-trace disarm", "traceallocfree"),
    ):
        text = dap.repl(command)
        assert words in text, f"{command}\n{text}"
        assert "\x1b" not in text
        assert "\r" not in text
        assert all(len(line) <= 80 or "/" in line for line in text.splitlines()), text


def test_debug_console_shows_errors_as_one_line(editor: tuple[Dap, Path]) -> None:
    dap, _ = editor
    for command, words in (
        ("go-map-stats main.noSuch", "there is no variable main.noSuch"),
        ("go-map-stats", "needs an expression"),
        ("go-map-ring", "no flight recorder"),
        ("go-map-trace start main.noSuch", "main.noSuch"),
        ("output $_go_map_len(main.stopped)", "not a map"),
    ):
        message = dap.error(command)
        assert words in message
        assert "\n" not in message.strip()
    assert "len 9" in dap.repl("go-map-stats main.nine")


def test_variables_are_listed_by_key(editor: tuple[Dap, Path]) -> None:
    dap, folder = editor
    truth = {row["expr"]: row for row in gdbtool.read_truth(folder / "truth")}
    dap.repl("set go-map pretty-print on")
    at = frame(dap)

    def watched(name: str) -> tuple[str, list[dict[str, Any]]]:
        body = dap.body("evaluate", expression=name, context="watch", frameId=at)
        inside = dap.body("variables", variablesReference=body["variablesReference"])
        return body["result"], inside["variables"]

    result, variables = watched("main.nine")
    assert result == "map[string]int len 9"
    assert sorted([found["name"], found["value"]] for found in variables) == sorted(
        truth["main.nine"]["entries"]
    )
    # What an editor merely lists is not read whole.
    result, variables = watched("main.twentyK")
    assert result.endswith("len 20,000")
    assert len(variables) == 201
    assert variables[-1]["name"] == "..."
    assert "200 of 20,000 shown" in variables[-1]["value"]
    dap.repl("set print elements 3")
    _, variables = watched("main.twentyK")
    assert len(variables) == 4
    dap.repl("set print elements 200")
    assert watched("main.nilMap")[1] == []
    # What is wrong with a map stands before its entries, however many are shown.
    row = truth["main.nine"]
    write = "python gdb.selected_inferior().write_memory({}, ({}).to_bytes(8, 'little'))"
    dap.repl(write.format(row["address"], row["len"] + 1))
    _, variables = watched("main.nine")
    dap.repl(write.format(row["address"], row["len"]))
    assert [found["name"] for found in variables].index("<not exact>") == 0
    assert len(variables) == 1 + row["len"]
    _, variables = watched("main.nine")
    assert len(variables) == row["len"]


#: Tells when the program runs.  gdb answers "continue" before it does so, and what it is asked in
#: between waits for the next stop if both reach its main thread at once.
RUNNING = """
def told(event):
    gdb.events.cont.disconnect(told)
    open({told!r}, "w").close()


gdb.events.cont.connect(told)
"""


@pytest.mark.parametrize("name", WITH_DAP)
def test_editor_with_a_running_program_is_told_to_stop_it(name: str, tmp_path: Path) -> None:
    told, script = tmp_path / "running", tmp_path / "running.py"
    script.write_text(RUNNING.format(told=str(told)))
    with Dap(gdbs.for_test(name)) as dap:
        thread = stopped_in_zoo(dap, tmp_path / "truth", "wait")
        dap.body("setFunctionBreakpoints", breakpoints=[])
        dap.repl(f"source {script}")
        dap.body("continue", threadId=thread)
        tracetool.until(told.exists, "the program does not run")
        # gdb's own word; the protocol has it.
        assert dap.error("go-map-stats main.nine") == "notStopped"
        dap.start("pause", threadId=thread)
        dap.event("stopped")
        assert "len 9" in dap.repl("go-map-stats main.nine")
        dap.end()


#: The first large read tells that it has begun, and ends when it is cancelled: gdb lets its
#: Python know by a KeyboardInterrupt.
WAITING = """
import time

real = gdb.selected_inferior
told = []


class Waiting:
    def __getattr__(self, name):
        return getattr(real(), name)

    def read_memory(self, at, size):
        if size > 65536 and not told:
            told.append(at)
            open({fifo!r}, "w").close()
            while True:
                time.sleep(0.001)
        return real().read_memory(at, size)


gdb.selected_inferior = Waiting
"""


@pytest.mark.parametrize("name", [WITH_DAP[0], WITH_DAP[-1]])
def test_walk_that_an_editor_cancels_ends_with_what_there_is(name: str, tmp_path: Path) -> None:
    fifo, script = tmp_path / "begun", tmp_path / "waiting.py"
    os.mkfifo(fifo)
    script.write_text(WAITING.format(fifo=str(fifo)))
    with Dap(gdbs.for_test(name)) as dap:
        stopped_in_zoo(dap, tmp_path / "truth", environment={"ZOO_BIG": "1"})
        dap.repl(f"source {script}")
        asked = dap.start("evaluate", expression="go-map-stats main.big", context="repl")
        # Opened at both ends only when the walk reads.
        fifo.read_bytes()
        dap.start("cancel", requestId=asked)
        answer = dap.answer(asked)
        assert answer["success"]
        assert "Interrupted, figures cover only what was read" in answer["body"]["result"]
        dap.repl("python gdb.selected_inferior = real")
        again = json.loads(dap.repl("go-map-stats -json main.big"))
        assert (again["exact"], again["len"]) == (True, 1_000_000)
        dap.end()
