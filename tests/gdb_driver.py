"""Runs inside gdb: executes the commands of a plan and writes what they print.

A plan (the file named by GOMAPSCOPE_PLAN) is a JSON list of steps; a step has ``command`` and
perhaps ``frame``, the function whose frame is selected first.  The answers, one JSON object
a line with ``output`` or ``error``, go to the file named by GOMAPSCOPE_ANSWERS.
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


def run():
    with open(os.environ["GOMAPSCOPE_PLAN"], encoding="utf-8") as file:
        plan = json.load(file)
    # A target may hold any byte; the answers are text.
    with open(os.environ["GOMAPSCOPE_ANSWERS"], "w", encoding="utf-8") as file:
        for step in plan:
            try:
                if step.get("frame"):
                    select(step["frame"])
                answer = {"output": gdb.execute(step["command"], to_string=True)}
            except gdb.error as error:
                answer = {"error": str(error)}
            file.write(json.dumps(answer) + "\n")
            file.flush()


run()
