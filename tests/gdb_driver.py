"""Runs inside gdb: executes the commands of a plan and writes what they print.

A step is a JSON object with ``command`` and perhaps ``frame``, the function whose frame is
selected first, or ``shown``, for a command whose output is not collected but printed; or with
``python``, an expression whose value is wanted.  An answer is a JSON object, too: ``output``,
``error`` or ``value``, and with ``before`` and ``after`` what was selected (thread, frame,
language) around the command.

A plan is a file with a JSON list of steps (GOMAPSCOPE_PLAN); the answers go to the file named by
GOMAPSCOPE_ANSWERS, one a line.  Or both are pipes (GOMAPSCOPE_PIPES, two descriptors) and steps
come one a line.
"""

import json
import os

import gdb


def select(function):
    """Select the frame of a function on the stack of the thread that has it."""
    threads = [gdb.selected_thread(), *gdb.selected_inferior().threads()]
    for thread in threads:
        if thread is None or not thread.is_valid():
            continue
        thread.switch()
        frame = gdb.newest_frame()
        while frame is not None:
            if frame.name() == function:
                frame.select()
                return
            frame = frame.older()
    raise gdb.GdbError("no frame of " + function)


def selection():
    """What a command must leave alone."""
    thread = gdb.selected_thread()
    try:
        frame = gdb.selected_frame()
        place = [frame.level(), frame.pc()]
    except gdb.error:
        place = None
    return {
        "inferior": gdb.selected_inferior().num,
        "thread": thread.global_num if thread is not None and thread.is_valid() else None,
        "frame": place,
        "language": gdb.parameter("language"),
    }


def answer(step):
    try:
        if step.get("frame"):
            select(step["frame"])
        if "python" in step:
            return {"value": eval(step["python"], vars(__import__("__main__")))}
        before = selection()
        # What gdb says of its own faults is lost with what it collects.
        output = gdb.execute(step["command"], to_string=not step.get("shown"))
        return {"output": output, "before": before, "after": selection()}
    except gdb.error as error:
        found = {"error": str(error)}
        if "command" in step and not step.get("frame"):
            found.update(before=before, after=selection())
        return found


def run():
    # A target may hold any byte; the answers are text.
    pipes = os.environ.get("GOMAPSCOPE_PIPES")
    if pipes:
        incoming, outgoing = (int(number) for number in pipes.split())
        steps = map(json.loads, os.fdopen(incoming, encoding="utf-8"))
        answers = os.fdopen(outgoing, "w", encoding="utf-8")
    else:
        with open(os.environ["GOMAPSCOPE_PLAN"], encoding="utf-8") as file:
            steps = json.load(file)
        answers = open(os.environ["GOMAPSCOPE_ANSWERS"], "w", encoding="utf-8")  # noqa: SIM115
    with answers:
        for step in steps:
            answers.write(json.dumps(answer(step)) + "\n")
            answers.flush()


run()
