"""What stands on the screen: in the TUI, in narrow windows, and after a q at the pager."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pexpect
import pyte
import pytest
from test_events_report import lines, two_maps
from test_interactive import PROMPT, SGR, SLOW, Terminal, cells, start

import gdbs
import gdbtool
import toolchains

ZOO = Path(__file__).parent / "go" / "zoo"
COLUMNS, ROWS = 100, 44
NUMBERED = re.compile(r"\(gdb (\d+)\) $")
MORE = "--Type <RET> for more, q to quit, c to continue without paging--"


@pytest.fixture(scope="module")
def program() -> Path:
    return toolchains.build(ZOO, "1.27.3")


class Screen:
    """gdb in a terminal, as the terminal shows it."""

    def __init__(self, folder: Path, gdb: str, program: Path) -> None:
        inputrc = folder / "inputrc"
        inputrc.write_text("set enable-bracketed-paste off\nset bell-style none\n")
        variables = {
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "INPUTRC": str(inputrc),
            # Borders in UTF-8: the emulator knows no other character set then.
            "NCURSES_NO_UTF8_ACS": "1",
        }
        inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        line = ["-nx", "-q"]
        # Whatever is drawn in which order, a number that is new is a prompt that is new.
        count = "python number = iter(range(1, 1000))"
        hook = "python gdb.prompt_hook = lambda _: f'(gdb {next(number)}) '"
        for command in (*gdbtool.QUIET, count, hook):
            line += ["-iex", command]
        self._child = pexpect.spawn(
            gdb,
            [*line, "-x", str(gdbtool.SCRIPT), str(program)],
            env={**inherited, **variables},
            dimensions=(ROWS, COLUMNS),
            timeout=60,
        )
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._unread = b""
        self._number = 0
        self._until_prompt()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *failure: object) -> None:
        self._child.close(force=True)

    def _step(self) -> None:
        """Show one more byte."""
        if not self._unread:
            try:
                self._unread = self._child.read_nonblocking(65536, timeout=60)
            except pexpect.TIMEOUT:
                raise AssertionError("\n".join(self._screen.display)) from None
        self._stream.feed(self._unread[:1])
        self._unread = self._unread[1:]

    def _until_prompt(self) -> None:
        """Wait for a prompt with a higher number than the last, and nothing behind it."""
        while True:
            self._step()
            row, end = self._screen.buffer[self._screen.cursor.y], self._screen.cursor.x
            if end == 0 or row[end - 1].data != " " or row[end - 2].data != ")":
                continue
            found = NUMBERED.search("".join(row[column].data for column in range(end)))
            rest = "".join(row[column].data for column in range(end, COLUMNS))
            if found and int(found[1]) > self._number and not rest.strip():
                self._number = int(found[1])
                #: Where the window begins that the prompt is in.
                self.left = found.start()
                return

    def type(self, command: str) -> list[str]:
        """Run a command; the whole screen when the prompt is back."""
        self._child.send(command + "\n")
        self._until_prompt()
        return self.display()

    def display(self) -> list[str]:
        """The screen as it is."""
        return [line.rstrip() for line in self._screen.display]

    def answer(self, command: str) -> list[str]:
        """The lines between a command and the next prompt."""
        shown = [line[self.left :] for line in self.type(command)]
        last = self._screen.cursor.y
        first = max(row for row in range(last) if shown[row].startswith("(gdb "))
        assert shown[first].endswith(f") {command}")
        return shown[first + 1 : last]

    def leave(self, command: str) -> str:
        """Leave the windows, and run one more command; what it prints."""
        prompt = rb"\(gdb \d+\) $"
        self._child.send("tui disable\n")
        self._child.expect(prompt)
        self._child.send(command + "\n")
        self._child.expect(prompt)
        return SGR.sub("", self._child.before.decode())

    def styled(self, text: str) -> bool:
        """Whether the first cell of a text on the screen is bold, dim or coloured."""
        for row, line in enumerate(self._screen.display):
            column = line.find(text)
            if column >= 0:
                cell = self._screen.buffer[row][column]
                return bool(cell.bold or cell.fg != "default" or cell.bg != "default")
        raise AssertionError(f"no {text} on the screen")


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_tui_shows_in_its_command_window_what_a_terminal_shows(
    name: str, program: Path, tmp_path: Path
) -> None:
    commands = (
        "go-map-stats main.nine",
        "go-map-buckets main.holes -limit 4",
        "go-map-entries main.weird -limit 8",
        "go-map-entries main.unicode",
        "go-map-layout main.nine",
        "go-map-writers",
        "go-map-stats main.noSuch",
    )
    with Screen(tmp_path, gdbs.for_test(name), program) as screen:
        screen.type("break main.stop")
        screen.type(f"run {tmp_path / 'truth'} > /dev/null")
        # A window wraps behind its last column at once, so that one is left free there.
        screen.type(f"set width {COLUMNS - 1}")
        plain = {}
        for command in commands:
            plain[command] = screen.answer(command)
            assert plain[command]
        screen.type("tui enable")
        screen.type("layout src")
        screen.type("winheight src 10")
        for command in commands:
            shown = screen.answer(command)
            assert shown == plain[command]
            # What stands above is the program still.
            whole = screen.display()
            assert "main.go" in whole[0], whole
            assert any("main.stop" in line and "PC: 0x" in line for line in whole)
            for line in whole:
                assert "\x1b" not in line
                assert not re.search(r"(?<!x1b)\[\d*(;\d+)*m", line), line
        screen.type("go-map-stats main.nine")
        assert screen.styled("slots  ") or screen.styled("main.nine  map")
        screen.type("set style enabled off")
        screen.type("go-map-stats main.holes")
        assert not screen.styled("main.holes  map")
        # As wide as its window, also where that is not as wide as the screen.
        screen.type("set style enabled on")
        screen.type("tui new-layout beside {-horizontal src 1 cmd 1} 1")
        screen.type("layout beside")
        half = screen.answer("go-map-stats main.nine")
        assert screen.left == COLUMNS // 2
        assert half[-1].endswith("go-map-entries main.nine")
        # No word is torn in two, and no line is empty that was not meant to be.
        words = " ".join(plain["go-map-stats main.nine"]).split()
        assert sorted(" ".join(half).split()) == sorted(words)
        assert half.count("") == plain["go-map-stats main.nine"].count("")
        # And back.
        assert "main.nine  map[string]int  len 9" in screen.leave("go-map-stats main.nine")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event file to tell of, long enough for several pages."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "events.jsonl").write_text(lines(two_maps()))
    return folder


#: Commands that print more than a page, whatever they are asked.
LONG = (
    "go-map",
    "go-map-stats main.holes",
    "go-map-buckets -all main.twoK",
    "go-map-buckets -json -all main.twoK",
    "go-map-entries -all main.twoK",
    "go-map-entries -json -all main.weird",
    "go-map-layout main.gNested",
    "go-map-scan -all",
    "go-map-scan -json",
    "go-map-diff -all {files}/a.json",
    "go-map-trace report {files}/events.jsonl",
    "go-map-timeline main.holes main.nine",
    "help go-map-scan",
)


@pytest.mark.parametrize("name", gdbs.NAMES)
def test_pager_is_left_by_q_and_silenced_by_c(
    name: str, program: Path, files: Path, tmp_path: Path
) -> None:
    gdb = gdbs.for_test(name)
    with Terminal(tmp_path, [str(program)], gdb=gdb, pagination="on") as terminal:
        start(terminal, tmp_path)
        terminal.type(f"go-map-snapshot -scan -force -o {files / 'a.json'}")
        # All of them in the oldest and the newest.
        for command in LONG if name in (gdbs.NAMES[0], gdbs.NAMES[-1]) else LONG[::4]:
            command = command.format(files=files)
            terminal.type("set height 0")
            whole = terminal.type(command)
            assert MORE not in whole
            # q on the first page: no more than that page was shown.
            terminal.type("set height 6")
            terminal.send(command + "\n")
            page = terminal.until(re.escape(MORE)).partition("\n")[2]
            assert len(page.splitlines()) <= 6
            terminal.send("q\n")
            rest = SGR.sub("", terminal.until_prompt()).split()
            assert rest[-1] == "Quit", rest
            assert rest[0] == "q"
            assert len(rest) <= 3
            # Return shows the next page, c all the rest; nothing is lost between them.
            terminal.send(command + "\n")
            shown = terminal.until(re.escape(MORE)).partition("\n")[2]
            terminal.send("\n")
            after = terminal.until(re.escape(MORE) + "|" + re.escape(PROMPT) + "$")
            shown += after.partition("\n")[2]
            terminal.send("c\n")
            last = terminal.until_prompt()
            shown += last.partition("\n")[2]
            if command.startswith("go-map-timeline"):
                # Each time anew, and so in another order of digits.
                continue
            assert timeless(shown) == timeless(whole), command
        # And gdb is well.
        assert terminal.type("output $_go_map_len(main.nine)").startswith("9")


def timeless(text: str) -> list[str]:
    """The words of an answer, but for how long it took."""
    return re.sub(r'"seconds":[\d.e-]+|[\d.,]+ (s|ms|us|ns|min)\b', "", SGR.sub("", text)).split()


@pytest.mark.parametrize("name", ["system", "18.1"])
def test_files_are_whole_when_their_answer_was_cut_by_q(
    name: str, program: Path, files: Path, tmp_path: Path
) -> None:
    gdb = gdbs.for_test(name)
    with Terminal(tmp_path, [str(program)], gdb=gdb, pagination="on") as terminal:
        start(terminal, tmp_path)
        terminal.type("set height 3")
        for command, file in (
            ("go-map-timeline main.holes -o {}", "t.html"),
            ("go-map-snapshot -scan -o {}", "s.json"),
            ("go-map-scan -pprof {}", "p.pb.gz"),
            ("go-map-pprof heap -o {}", "h.pb.gz"),
            ("go-map-trace start main.nine -o {}", "e.jsonl"),
        ):
            path = tmp_path / file
            terminal.send(command.format(path) + "\n")
            terminal.until(re.escape(MORE))
            terminal.send("q\n")
            assert "Quit" in terminal.until_prompt()
            data = path.read_bytes()
            assert data
            # Nothing half done lies beside it.
            beside = {found.name for found in tmp_path.iterdir()}
            assert not [found for found in beside if file in found and found != file]
            if file.endswith(".gz"):
                gzip.decompress(data)
            elif file.endswith(".html"):
                assert data.rstrip().endswith(b"</html>")
            elif file.endswith(".json"):
                json.loads(data)
        terminal.type("set height 0")
        # What was begun is told, and can be ended.
        assert "main.nine" in terminal.type("go-map-trace status")
        terminal.type("go-map-trace stop")
        last = (tmp_path / "e.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["end"] == "stop"


@pytest.mark.parametrize(("setting", "columns"), [("width 0", 120), ("width 40", 40)])
def test_width_is_the_users(setting: str, columns: int, program: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, [str(program)], columns=120) as terminal:
        start(terminal, tmp_path)
        terminal.type(f"set {setting}")
        for command in (
            "go-map",
            "go-map-stats main.holes",
            "go-map-buckets main.holes -limit 9",
            "go-map-buckets main.twentyK -heat",
            "go-map-entries main.weird",
            "go-map-layout main.gNested",
            "go-map-scan -top 9",
            "go-map-pprof",
            "go-map-writers",
            "go-map-timeline main.holes main.nine",
        ):
            text = SGR.sub("", terminal.type(command))
            assert text.strip()
            assert "\r" not in text
            for line in text.splitlines():
                # A path is not broken, nor is a word wider than the line.
                if "/" not in line:
                    assert cells(line) <= columns, f"{command}\n{line}"


def test_progress_line_leaves_nothing_in_the_tui(program: Path, tmp_path: Path) -> None:
    with Screen(tmp_path, gdbtool.gdb_path(), program) as screen:
        screen.type("set environment ZOO_BIG=1")
        screen.type("break main.stop")
        screen.type(f"run {tmp_path / 'truth'} > /dev/null")
        screen.type("tui enable")
        screen.type("layout src")
        screen.type("winheight src 10")
        screen.type(SLOW)
        whole = screen.type("go-map-stats main.big")
        assert any(line.startswith("main.big  map[int32]int32  len 1,000,000") for line in whole)
        assert not any("walking: " in line for line in whole)
        assert "main.go" in whole[0]
