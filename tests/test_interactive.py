"""A person at a terminal: width, colour, character set, pager, TAB and Ctrl-C."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import pexpect
import pytest

import gdbs
import gdbtool
import toolchains

ZOO = Path(__file__).parent / "go" / "zoo"
PROMPT = "(gdb) "
SGR = re.compile(r"\x1b\[[0-9;]*m")

#: What each command shows, also of maps with awkward contents.
COMMANDS = (
    "go-map",
    "go-map-stats main.holes",
    "go-map-stats main.twentyKStr",
    "go-map-stats main.doublingBig",
    "go-map-stats main.nilMap",
    "go-map-stats main.gNested",
    "go-map-buckets main.holes",
    "go-map-buckets main.twentyK -heat",
    "go-map-buckets main.crowded -limit 40",
    "go-map-entries main.weird",
    "go-map-entries main.unicode",
    "go-map-entries main.keyAny",
    "go-map-entries main.elemNest",
    "go-map-layout main.keyPadded",
    "go-map-layout main.gNested",
)


class Terminal:
    """gdb in a terminal of its own."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = (),
        *,
        gdb: Optional[str] = None,
        columns: int = 80,
        lines: int = 24,
        pagination: str = "off",
        environment: Optional[dict[str, str]] = None,
        script: Optional[Path] = gdbtool.SCRIPT,
    ) -> None:
        # Bracketed paste would mix escape sequences into every prompt.
        inputrc = folder / "inputrc"
        inputrc.write_text("set enable-bracketed-paste off\nset bell-style none\n")
        variables = {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "INPUTRC": str(inputrc)}
        variables.update(environment or {})
        inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        line = ["-nx", "-q"]
        for command in gdbtool.QUIET:
            if "pagination" not in command:
                line += ["-iex", command]
        line += ["-iex", f"set pagination {pagination}"]
        if script:
            line += ["-x", str(script)]
        self._child = pexpect.spawn(
            gdb or gdbtool.gdb_path(),
            [*line, *arguments],
            env={**inherited, **variables},
            dimensions=(lines, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=60,
        )
        self.first = self.until_prompt()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *failure: object) -> None:
        self._child.close(force=True)

    def until_prompt(self) -> str:
        """What is printed up to the next prompt."""
        return self.until(re.escape(PROMPT) + "$")

    def until(self, pattern: str) -> str:
        self._child.expect(pattern)
        text: str = self._child.before.replace("\r\n", "\n")
        assert not gdbtool.UGLY.search(text), text
        return text

    def send(self, text: str) -> None:
        self._child.send(text)

    def type(self, command: str) -> str:
        """What a command prints; readline shows the command itself first."""
        self.send(command + "\n")
        text = self.until_prompt()
        return text.partition("\n")[2] if command in SGR.sub("", text).partition("\n")[0] else text

    def resize(self, lines: int, columns: int) -> None:
        self._child.setwinsize(lines, columns)


@pytest.fixture(scope="module")
def program() -> Path:
    return toolchains.build(ZOO, "1.27.3")


def start(terminal: Terminal, folder: Path) -> None:
    """Run the zoo up to its stop."""
    terminal.type("break main.stop")
    text = terminal.type(f"run {folder / 'truth'} > /dev/null")
    assert "main.stop" in SGR.sub("", text)


def cells(line: str) -> int:
    """How many columns a line takes."""
    wide = 0
    for char in line:
        if unicodedata.combining(char):
            continue
        wide += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return wide


@pytest.fixture(
    scope="module",
    params=[("1.27.3", 80), ("1.27.3", 200), ("1.23.9", 80), ("1.23.9", 200)],
    ids=lambda param: f"{param[0]} {param[1]} columns",
)
def sized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Terminal, int]]:
    label, columns = request.param
    folder = tmp_path_factory.mktemp("terminal")
    program = toolchains.build(ZOO, label)
    with Terminal(folder, [str(program)], columns=columns) as terminal:
        start(terminal, folder)
        yield terminal, columns


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal(sized: tuple[Terminal, int], command: str) -> None:
    terminal, columns = sized
    text = SGR.sub("", terminal.type(command))
    assert text.strip()
    for line in text.splitlines():
        # A path is not broken.
        if "/" not in line:
            assert cells(line) <= columns, line


@pytest.mark.parametrize(
    ("variables", "command", "coloured"),
    [
        ({}, "", True),
        ({"NO_COLOR": "1"}, "", False),
        ({"TERM": "dumb"}, "", False),
        ({}, "set style enabled off", False),
    ],
    ids=["colours", "NO_COLOR", "TERM=dumb", "set style enabled off"],
)
def test_colour_is_for_those_who_want_it(
    program: Path,
    tmp_path: Path,
    variables: dict[str, str],
    command: str,
    coloured: bool,
) -> None:
    with Terminal(tmp_path, [str(program)], environment=variables) as terminal:
        start(terminal, tmp_path)
        if command:
            terminal.type(command)
        for line in ("go-map-stats main.survivor", "go-map-buckets main.holes"):
            text = terminal.type(line)
            assert bool(SGR.search(text)) == coloured, text
            # Colour only repeats what words and marks say.
            plain = SGR.sub("", text)
            assert "\x1b" not in plain
            assert "severe" in plain or "x" in plain
        # A pipe is no terminal.
        assert not SGR.search(terminal.type("| go-map-stats main.survivor | cat"))


def test_ascii_locale_gets_ascii(program: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, [str(program)], environment={"LC_ALL": "C"}) as terminal:
        start(terminal, tmp_path)
        for command in COMMANDS:
            text = SGR.sub("", terminal.type(command))
            assert text.isascii(), text
        assert "#" in terminal.type("go-map-buckets main.holes")
        terminal.type("set go-map style unicode")
        assert not terminal.type("go-map-buckets main.holes").isascii()


def test_utf8_locale_gets_block_characters(program: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, [str(program)]) as terminal:
        start(terminal, tmp_path)
        assert "█" in terminal.type("go-map-buckets main.holes")
        terminal.type("set go-map style ascii")
        assert SGR.sub("", terminal.type("go-map-buckets main.holes")).isascii()


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_q_at_the_pager_returns_to_the_prompt(name: str, program: Path, tmp_path: Path) -> None:
    gdb = gdbs.for_test(name)
    with Terminal(tmp_path, [str(program)], gdb=gdb, lines=12, pagination="on") as terminal:
        start(terminal, tmp_path)
        for command in ("go-map-buckets -all main.twentyK", "go-map-entries -all main.twentyK"):
            terminal.send(command + "\n")
            shown = terminal.until("--Type <RET> for more")
            assert len(shown.splitlines()) <= 13
            terminal.until("without paging--")
            terminal.send("\n")
            terminal.until("without paging--")
            terminal.send("q\n")
            rest = terminal.until_prompt()
            assert len(rest.splitlines()) <= 3, rest
            assert "Error" not in rest
        # And gdb is well.
        assert terminal.type("output $_go_map_len(main.nine)").startswith("9")


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_tab_completes_commands_options_and_variables(
    name: str, program: Path, tmp_path: Path
) -> None:
    with Terminal(tmp_path, [str(program)], gdb=gdbs.for_test(name), columns=200) as terminal:
        start(terminal, tmp_path)
        for typed, shown in (
            ("go-map-st\t", "go-map-stats "),
            ("go-map-buckets -he\t", "go-map-buckets -heat "),
            ("go-map-buckets -only tom\t", "go-map-buckets -only tombstone "),
            ("go-map-stats main.unevenD\t", "go-map-stats main.unevenDir "),
            ("go-map-stats main.ptrHold.by\t", "go-map-stats main.ptrHold.byID "),
            ("set go-map sty\t", "set go-map style "),
        ):
            terminal.send(typed)
            terminal.until(re.escape(shown))
            # Throw the line away.
            terminal.send("\x15\n")
            terminal.until_prompt()
        terminal.send("go-map-buckets -only \t\t")
        listed = terminal.until(re.escape(PROMPT) + "go-map-buckets -only ")
        for word in ("empty", "full", "overflow", "tombstone", "old"):
            assert word in listed
        terminal.send("\x15\n")
        terminal.until_prompt()


SLOW = (
    "python import time; real = gdb.selected_inferior; "
    "slow = type('Slow', (), {'__getattr__': lambda self, name: getattr(real(), name), "
    "'read_memory': lambda self, at, size: "
    "(size > 65536 and time.sleep(0.2), real().read_memory(at, size))[1]}); "
    "gdb.selected_inferior = slow"
)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("system", "go-map-stats"),
        ("system", "go-map-stats -json"),
        ("system", "go-map-buckets -heat"),
        ("16.3", "go-map-stats"),
        ("18.1", "go-map-stats -json"),
    ],
)
def test_ctrl_c_in_a_long_walk_returns_with_what_there_is(
    name: str, command: str, program: Path, tmp_path: Path
) -> None:
    gdb = gdbs.for_test(name)
    with Terminal(tmp_path, [str(program)], gdb=gdb, environment={"ZOO_BIG": "1"}) as terminal:
        start(terminal, tmp_path)
        # Every large read takes as long as over a slow line.
        terminal.type(SLOW)
        terminal.send(f"{command} main.big\n")
        # Only after a second, and so in the middle.
        terminal.until("walking: ")
        terminal.send("\x03")
        text = SGR.sub("", terminal.until_prompt())
        if "-json" in command:
            assert '"exact":false' in text
        else:
            assert "nterrupted" in text, text
        # The progress line is gone, and nothing else is lost.
        terminal.type("python gdb.selected_inferior = real")
        again = terminal.type("go-map-stats -json main.big")
        assert '"exact":true' in again
        assert '"len":1000000' in again


def test_progress_line_is_removed_before_the_answer(program: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, [str(program)], environment={"ZOO_BIG": "1"}) as terminal:
        start(terminal, tmp_path)
        terminal.type(SLOW)
        text = terminal.type("go-map-stats main.big")
        assert "walking: " in text
        answer = SGR.sub("", text).rsplit("\r", 1)[1]
        assert answer.lstrip().startswith("main.big  map[int32]int32  len 1,000,000")


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_loading_prints_nothing(name: str, tmp_path: Path) -> None:
    gdb = gdbs.for_test(name)
    with Terminal(tmp_path, gdb=gdb, script=None) as terminal:
        without = terminal.first
        assert terminal.type(f"source {gdbtool.SCRIPT}") == ""
        # Twice does no harm.
        assert terminal.type(f"source {gdbtool.SCRIPT}") == ""
        assert "gomapscope" in terminal.type("go-map")
    with Terminal(tmp_path, gdb=gdb) as terminal:
        assert terminal.first == without


def test_return_does_not_repeat_a_command(program: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, [str(program)]) as terminal:
        start(terminal, tmp_path)
        assert "len 9" in terminal.type("go-map-stats main.nine")
        assert "len 9" not in terminal.type("")
