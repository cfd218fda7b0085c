"""Kernel probes on a program that counts its own calls."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cores
import pytest

import gdbtool
import toolchains

ASSIGNS = Path(__file__).parent / "go" / "assigns"
TRACEFS = Path("/sys/kernel/tracing")
KINDS = {
    "fast32": "runtime.mapassign_fast32",
    "fast64": "runtime.mapassign_fast64",
    "fast64ptr": "runtime.mapassign_fast64ptr",
    "faststr": "runtime.mapassign_faststr",
    "generic": "runtime.mapassign",
}
GOROUTINES = 8

pytestmark = pytest.mark.skipif(
    not os.access(TRACEFS / "uprobe_events", os.W_OK),
    reason="this machine gives no right to its kernel's tracefs",
)


class Conversation:
    """A process that answers each line with a line of JSON."""

    def __init__(self, *command: str | Path) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.listen()
        if not line:
            raise RuntimeError(self.complaint())
        self.greeting: dict[str, Any] = json.loads(line)

    def listen(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def complaint(self) -> str:
        _, errors = self.process.communicate(timeout=gdbtool.TIMEOUT)
        return errors

    def send(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> dict[str, Any]:
        self.send(line)
        answer: dict[str, Any] = json.loads(self.listen())
        return answer

    def end(self) -> int:
        """Close its input and wait."""
        self.process.communicate(timeout=gdbtool.TIMEOUT)
        return self.process.returncode


@contextlib.contextmanager
def conversation(*command: str | Path) -> Iterator[Conversation]:
    """One that is gone afterwards."""
    partner = Conversation(*command)
    try:
        yield partner
    finally:
        if partner.process.poll() is None:
            partner.process.kill()
            partner.process.wait()


@pytest.fixture(scope="session")
def uprobes() -> Path:
    """The example that prints what probes recorded."""
    return cores.example("uprobes")


def leftovers(pid: int) -> list[str]:
    """What a tracer has in tracefs."""
    instances = [path.name for path in (TRACEFS / "instances").glob(f"gomapscope-{pid}-*")]
    events = (TRACEFS / "uprobe_events").read_text().splitlines()
    return instances + [line for line in events if f"gomapscope_{pid}_" in line]


def calls(document: dict[str, Any], function: str) -> dict[str, tuple[int, int, int, int]]:
    """What was recorded of a function, by map: calls, the keys' sum, first and last."""
    return {
        row["address"]: (row["calls"], row["sum"], row["first"], row["last"])
        for row in document["maps"]
        if row["function"] == function
    }


def truth(document: dict[str, Any]) -> dict[str, tuple[int, int, int, int]]:
    """The same as the program counted it."""
    return {
        row["address"]: (row["calls"], row["sum"], row["first"], row["last"])
        for row in document["maps"]
    }


def checksum_untraced(program: Path, count: int) -> int:
    with conversation(program) as target:
        for kind in KINDS:
            target.ask(f"assign {kind} {count}")
        result: int = target.ask("sum")["sum"]
        return result


@pytest.mark.parametrize(
    "label", ["1.21.13", "1.23.9", "1.24.11", "1.25.5-noswissmap", "1.26.6", "1.27.3"]
)
def test_counts_keys_and_results(label: str, uprobes: Path) -> None:
    """Every call of 8 goroutines is recorded once, with its map and its key."""
    count = 4000
    program = toolchains.build(ASSIGNS, label)
    untraced = checksum_untraced(program, count)
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), *KINDS.values()) as tracer,
    ):
        for kind, function in KINDS.items():
            expected = target.ask(f"assign {kind} {count}")
            found = tracer.ask("read")
            recorded = calls(found, function)
            wanted = truth(expected)
            # The packages of the standard library have maps of their own.
            assert {address: recorded.get(address) for address in wanted} == wanted
            assert found["status"]["lost"] == found["status"]["broken_pages"] == 0
            assert found["status"]["unattributed"] == found["status"]["foreign"] == 0
            assert found["disorder"] == 0
            threads = {tid for row in found["maps"] for tid in row["threads"]}
            tasks = os.listdir(f"/proc/{target.greeting['pid']}/task")
            assert threads <= {int(tid) for tid in tasks}
        assert target.ask("sum")["sum"] == untraced
        assert leftovers(tracer.greeting["pid"])
        last = tracer.ask("stop")
        assert last["status"]["events"] >= len(KINDS) * GOROUTINES * count
        assert last["status"]["passages"] == last["status"]["hits"]
        assert tracer.end() == 0
        assert not leftovers(tracer.greeting["pid"])
        # Without probes it goes on.
        target.ask("assign fast64 10")
        assert target.end() == 0


def test_position_independent(uprobes: Path) -> None:
    program = toolchains.build(ASSIGNS, "1.27.3", flags=("-buildmode=pie",))
    function = KINDS["faststr"]
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), function) as tracer,
    ):
        expected = truth(target.ask("assign faststr 1000"))
        found = calls(tracer.ask("stop"), function)
        assert {address: found.get(address) for address in expected} == expected


def test_other_processes_are_left_out(uprobes: Path) -> None:
    """Neither another process of the program is recorded, nor one that the target starts."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    with (
        conversation(program) as other,
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), function) as tracer,
    ):
        other.ask("assign fast64 500")
        child = target.ask("child fast64 700")
        assert sum(row["calls"] for row in child["maps"]) == GOROUTINES * 700
        found = tracer.ask("read")
        # What the standard library assigned for the child's sake is the target's own.
        assert not set(calls(found, function)) & set(truth(child))
        assert sum(row["calls"] for row in found["maps"]) < 100
        assert found["status"]["foreign"] >= GOROUTINES * 700
        assert found["status"]["unattributed"] == 0
        expected = truth(target.ask("assign fast64 300"))
        found = tracer.ask("stop")
        recorded = calls(found, function)
        assert {address: recorded.get(address) for address in expected} == expected
        assert found["status"]["passages"][0] >= GOROUTINES * (500 + 700 + 300)


def test_target_ends(uprobes: Path) -> None:
    """What it did before is there, and nothing stays behind."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), function) as tracer,
    ):
        expected = truth(target.ask("assign fast64 500"))
        target.process.kill()
        target.process.wait()
        found = tracer.ask("stop")
        recorded = calls(found, function)
        assert {address: recorded.get(address) for address in expected} == expected
        assert found["status"]["unattributed"] == 0
        assert tracer.end() == 0
        assert not leftovers(tracer.greeting["pid"])


def test_all_processes(uprobes: Path) -> None:
    """Without a process, every one that runs the executable is recorded."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    with (
        conversation(program) as one,
        conversation(program) as two,
        conversation(uprobes, program, "0", function) as tracer,
    ):
        expected = truth(one.ask("assign fast64 400")) | truth(two.ask("assign fast64 300"))
        # The two may have maps at the same addresses, but not in the same threads.
        found = tracer.ask("stop")
        assert found["status"]["foreign"] == 0
        recorded = [row for row in found["maps"] if row["address"] in expected]
        assert sum(row["calls"] for row in recorded) == GOROUTINES * (400 + 300)


def test_losses_are_counted(uprobes: Path) -> None:
    """Where the ring is too small, what is there and what is lost make the whole."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    pid: int
    with (
        conversation(program) as target,
        conversation(
            uprobes, program, str(target.greeting["pid"]), "--kib", "64", function
        ) as tracer,
    ):
        pid = tracer.greeting["pid"]
        os.kill(pid, signal.SIGSTOP)
        expected = target.ask("assign fast64 10000")
        os.kill(pid, signal.SIGCONT)
        found = tracer.ask("stop")
        status = found["status"]
        assert status["lost"] > GOROUTINES * 5000
        assert status["events"] > 1000
        assert status["events"] + status["lost"] == status["passages"][0]
        assert status["passages"][0] >= GOROUTINES * 10000
        assert set(calls(found, function)) - {"0x0"} <= set(truth(expected)) | {
            row["address"] for row in found["maps"] if row["calls"] < 10
        }


def test_killed_tracer_is_cleaned_up_after(uprobes: Path) -> None:
    """By the next one, which touches nothing of the living and of others."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    foreign = f"p:gomapscope_test/keep {program}:0x1000\n"
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), function) as alive,
        conversation(uprobes, program, str(target.greeting["pid"]), function) as killed,
    ):
        before = (TRACEFS / "instances").stat()
        killed.process.kill()
        killed.process.wait()
        dead = killed.greeting["pid"]
        assert len(leftovers(dead)) == 2
        add_event(foreign)
        try:
            with conversation(uprobes, program, str(target.greeting["pid"]), function) as third:
                assert not leftovers(dead)
                assert len(leftovers(alive.greeting["pid"])) == 2
                assert "gomapscope_test/keep" in (TRACEFS / "uprobe_events").read_text()
                expected = truth(target.ask("assign fast64 200"))
                for tracer in (alive, third):
                    recorded = calls(tracer.ask("read"), function)
                    assert {address: recorded.get(address) for address in expected} == expected
                # Without `stop`: what it has is dropped.
                assert third.end() == 0
                assert not leftovers(third.greeting["pid"])
        finally:
            add_event("-:gomapscope_test/keep\n")
        assert alive.end() == 0
        assert not leftovers(alive.greeting["pid"])
        assert (TRACEFS / "instances").stat().st_ino == before.st_ino


def add_event(line: str) -> None:
    """As the shell's >> does."""
    descriptor = os.open(TRACEFS / "uprobe_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def test_stacks(uprobes: Path) -> None:
    """Return addresses lead from the probe to the goroutine's first function."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["generic"]
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), "--stacks", function) as tracer,
    ):
        expected = truth(target.ask("assign generic 2000"))
        found = tracer.ask("stop")
        rows = [row for row in found["maps"] if row["address"] in expected]
        assert len(rows) == GOROUTINES
        for row in rows:
            assert sum(stack["count"] for stack in row["stacks"]) == row["calls"]
            [stack] = row["stacks"]
            names = functions_at(program, stack["frames"])
            assert names[0] == function
            assert names[1] == "main.assign"
            assert [name for name in names[2:] if not name.startswith("main.main.func")] == [
                "runtime.goexit"
            ]


def functions_at(program: Path, addresses: list[str]) -> list[str]:
    """By Go's own addr2line."""
    go = toolchains.ensure("1.27.3")
    done = subprocess.run(
        [go, "tool", "addr2line", program],
        env=toolchains.environment("1.27.3"),
        input="\n".join(addresses),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[::2]


def test_filter_in_the_kernel(uprobes: Path) -> None:
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    with conversation(program) as target:
        wanted = target.ask("assign fast64 1")["maps"][3]["address"]
        pid = str(target.greeting["pid"])
        with conversation(uprobes, program, pid, "--only", wanted, function) as tracer:
            expected = truth(target.ask("assign fast64 1000"))
            found = tracer.ask("stop")
            assert calls(found, function) == {wanted: expected[wanted]}
            assert found["status"]["passages"][0] >= GOROUTINES * 1000


def test_pointers_that_lead_nowhere(uprobes: Path) -> None:
    """Small keys taken for pointers are flagged, and read as 0."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]
    with (
        conversation(program) as target,
        conversation(uprobes, program, str(target.greeting["pid"]), "--astray", function) as tracer,
    ):
        expected = truth(target.ask("assign fast64 100"))
        rows = [row for row in tracer.ask("stop")["maps"] if row["address"] in expected]
        assert [row["faulted"] for row in rows] == [100] * GOROUTINES
        assert {row["extra"] for row in rows} == {0}


def test_what_is_refused(uprobes: Path) -> None:
    """One line says what to do, and nothing stays behind."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    function = KINDS["fast64"]

    def refusal(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=gdbtool.TIMEOUT,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    with conversation(program) as target:
        pid = str(target.greeting["pid"])
        before = (TRACEFS / "uprobe_events").read_text()
        # runtime.abort is a breakpoint instruction.
        assert "refuses the instruction" in refusal(uprobes, program, pid, "runtime.abort.abi0")
        assert "there is no process" in refusal(uprobes, program, "4194304", function)
        assert "does not run" in refusal(uprobes, program, str(os.getpid()), function)
        assert (TRACEFS / "uprobe_events").read_text() == before
        command = ["unshare", "-m", "sh", "-c", 'umount -a -t tracefs; exec "$0" "$@"']
        assert "sudo mount -t tracefs" in refusal(*command, uprobes, program, pid, function)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            copies = [shutil.copy(path, folder) for path in (uprobes, program)]
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            said = refusal(*command, *copies, pid, function)
            assert "run gdb as root" in said or "not mounted" in said


def test_path_with_blanks_and_deleted_file(uprobes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    program = folder / "the program"
    shutil.copy2(toolchains.build(ASSIGNS, "1.27.3"), program)
    function = KINDS["fast64"]
    with conversation(program) as target:
        pid = str(target.greeting["pid"])
        for path in (program, Path(f"/proc/{pid}/exe")):
            with conversation(uprobes, path, pid, function) as tracer:
                expected = truth(target.ask("assign fast64 100"))
                recorded = calls(tracer.ask("stop"), function)
                assert {address: recorded.get(address) for address in expected} == expected
            program.unlink(missing_ok=True)


def test_cost(uprobes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Far below the 140 us of a stop; printed, for it depends on the machine."""
    program = toolchains.build(ASSIGNS, "1.27.3")
    count = 20000
    with conversation(program) as target:
        target.ask(f"assign fast64 {count}")
        untraced = target.ask(f"assign fast64 {count}")["ns"]
        pid = str(target.greeting["pid"])
        command = [uprobes, program, pid, "--kib", "32768", KINDS["fast64"]]
        with conversation(*command) as tracer:
            # The tracer, which was not built for speed, is to take no time from the target.
            os.kill(tracer.greeting["pid"], signal.SIGSTOP)
            traced = target.ask(f"assign fast64 {count}")["ns"]
            os.kill(tracer.greeting["pid"], signal.SIGCONT)
            found = tracer.ask("stop")
    assert found["hits"] >= GOROUTINES * count
    assert found["status"]["lost"] == 0
    cpus = min(os.cpu_count() or 1, GOROUTINES)
    each = (traced - untraced) * cpus / (GOROUTINES * count)
    with capsys.disabled():
        print(f"\na probe costs {each:.0f} ns a hit on {cpus} CPUs")
    assert each < 50_000
