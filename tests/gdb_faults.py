"""Runs inside gdb: lets the reads of a command fail, or something happen, at the Nth of them.

All that the plugin reads goes through ``gdb.Inferior.read_memory``.  ``gdb.selected_inferior`` is
replaced before the plugin asks for the first time, so that what it keeps counts, too.
"""

import contextlib
import glob
import gzip
import json
import os
import re
import signal

import gdb

with contextlib.suppress(ImportError):
    import gomapscope  # for expressions

_selected = gdb.selected_inferior


class Inferior:
    """An inferior whose reads are counted."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __eq__(self, other):
        return self._real == getattr(other, "_real", other)

    def __hash__(self):
        return hash(self._real)

    def read_memory(self, address, length):
        number, plan.reads = plan.reads, plan.reads + 1
        if plan.hook is not None and number == plan.at:
            plan.hook()
        elif plan.fails(number, address, length):
            plan.failed.append((address, length))
            raise gdb.MemoryError(f"Cannot access memory at address {address:#x}")
        return self._real.read_memory(address, length)


class Plan:
    """What is to happen at which read.

    ``once``: that read fails, as over a line with a fault.  ``page``: the page where it begins
    cannot be read from then on, ``range``: nothing of what it asked for.  ``onwards``: nothing
    can be read any more.
    """

    MODES = ("once", "page", "range", "onwards")

    def __init__(self):
        self.begin()

    def begin(self, at=None, mode="once", hook=None):
        self.reads = 0
        self.failed = []
        self.at, self.mode, self.hook = at, mode, hook

    def fails(self, number, address, length):
        if self.at is None or self.hook is not None or number < self.at:
            return False
        if number == self.at:
            first = address & -4096
            self.bad = {
                "once": (0, 0),
                "page": (first, first + 4096),
                "range": (address, address + length),
                "onwards": (0, 1 << 64),
            }[self.mode]
            return True
        return address < self.bad[1] and address + length > self.bad[0]


plan = Plan()


def install():
    gdb.selected_inferior = lambda: Inferior(_selected())


def plain(answer):
    """An answer but for what differs from run to run by its nature: times, and with them sizes."""
    text = answer.get("output")
    if text is None:
        return answer
    text = re.sub(r'"(seconds|file_bytes|[a-z_]*_ns)":[0-9.e+-]+', r'"\1":0', text)
    text = re.sub(r"\b\d+(\.\d+)?\s+(s|ms|us|ns)\b", "0 s", text)
    text = re.sub(r"(\(|written,\s+)\d+(\.\d+)? ([KM]i)?B", "0 B", text)
    return {**answer, "output": " ".join(text.split())}


def listed(rows):
    """What an iterator of a map yields, and what the map says of it then."""
    found = [list(row) for row in rows()]
    return {"rows": found, "flaw": rows.__self__.flaw}


def found(**options):
    """What a scan by the API finds, and what it says of that."""
    maps = gomapscope.scan(**options)
    return {"addresses": [each.address for each in maps], "defects_total": maps.defects}


def selection():
    thread = gdb.selected_thread()
    frame = None
    with contextlib.suppress(gdb.error):
        frame = [gdb.selected_frame().level(), gdb.selected_frame().pc()]
    return [thread.global_num if thread else None, frame, gdb.parameter("language")]


def run(command):
    """What a command answers; with the files of its ``{file}`` as they are then."""
    gone()
    before = selection()
    try:
        if command.startswith("python: "):
            found = {"output": json.dumps(eval(command[8:], vars(__import__("__main__"))))}
        else:
            found = {"output": gdb.execute(command, to_string=True)}
    except (gdb.error, gdb.GdbError) as error:
        found = {"error": str(error)}
    found["moved"] = selection() != before
    found["files"] = files()
    return found


def paths():
    """What stands in the folder for files, if there is one."""
    folder = os.environ.get("GOMAPSCOPE_FAULTS")
    return sorted(glob.glob(os.path.join(folder, "*"))) if folder else []


def files():
    """The files, and whether each is whole."""
    return {os.path.basename(path): whole(path) for path in paths()}


def whole(path):
    """Whether a document or a packed file has its end."""
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        if path.endswith(".gz"):
            data = gzip.decompress(data)
        if ".json" in path:
            for line in data.splitlines():
                json.loads(line)
        return bool(data)
    except (OSError, EOFError, ValueError):
        return False


def gone():
    """Remove the files of the last run."""
    for path in paths():
        os.unlink(path)


def chosen(reads, most):
    """Which reads fail: all, or where they are too many the first, the last and some between."""
    if reads <= most:
        return list(range(reads))
    first, last = most * 3 // 5, most // 5
    numbers = set(range(first)) | set(range(reads - last, reads))
    between = most - first - last
    step = (reads / first) ** (1 / between)
    numbers |= {int(first * step**each) for each in range(between)}
    return sorted(number for number in numbers if number < reads)


def fail_every_read(command, mode, most=64, undo=None, check=1):
    """Let read 0, 1, 2 ... of a command fail; the answers, and whether all is well afterwards.

    At most so many reads are chosen.  ``undo`` is run behind each: for what the command did
    where it succeeded.  Each ``check``th time the command is run again undisturbed, and must
    answer as it did before.
    """

    def ask(*how):
        plan.begin(*how)
        answer = run(command)
        reads, failed = plan.reads, plan.failed
        plan.begin()
        if undo:
            with contextlib.suppress(gdb.error, gdb.GdbError):
                gdb.execute(undo, to_string=True)
        return answer, reads, failed

    # The first time more is read: what a program is is kept.
    ask()
    reference, reads, _ = ask()
    found = {"reads": reads, "reference": reference, "runs": []}
    expected = plain(reference)
    numbers = chosen(reads, most)
    for number in numbers:
        answer, _, failed = ask(number, mode)
        answer["at"], answer["failed"] = number, failed[:1]
        answer["same"] = plain(answer).get("output", "") == expected.get("output")
        if number % check == 0 or number == numbers[-1]:
            again, _, _ = ask()
            if plain(again) != expected:
                answer["afterwards"] = again
        found["runs"].append(answer)
    return found


def killed():
    """The process is killed from outside; gdb is not told before it looks."""
    kill(_selected().pid)


def server_killed():
    """gdbserver dies, and with it the connection."""
    kill(int(os.environ["GOMAPSCOPE_SERVER"]))


def kill(pid):
    """End a process, and wait until the kernel has taken all its threads."""
    os.kill(pid, signal.SIGKILL)
    while not all(state in "ZX" for state in states(pid)):
        pass


def states(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="latin-1") as stream:
            found.append(stream.read().rpartition(") ")[2][:1])
    return found


def told(*lines):
    """A hook that has gdb execute commands, whatever it says."""

    def hook():
        for line in lines:
            with contextlib.suppress(gdb.error):
                gdb.execute(line, to_string=True)

    return hook


def disturb(command, at, hook):
    """What a command says if something happens before its read ``at``."""
    plan.begin()
    run(command)
    reference = run(command)
    plan.begin(at, "once", eval(hook))
    answer = run(command)
    answer["happened"] = plan.reads > at
    answer["reference"] = reference.get("output")
    answer["same"] = plain(answer).get("output", "") == plain(reference).get("output")
    plan.begin()
    return answer


def disturb_once(command, hook):
    """The same of a command that may be run only once, before its first read."""
    plan.begin(0, "once", eval(hook))
    answer = run(command)
    plan.begin()
    return answer


install()
