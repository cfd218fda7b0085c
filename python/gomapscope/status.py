"""``go-map``: the commands, and what the plugin knows of gdb and the program."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import gdb

from . import session, terminal, writing
from ._definitions import DEFINITIONS, VERSION
from .errors import Error, one_line


def collect() -> dict[str, Any]:
    """The status document."""
    document: dict[str, Any] = {
        "schema": "gomapscope.status/1",
        "version": VERSION,
        "gdb": gdb.VERSION,
        "python": platform.python_version(),
    }
    try:
        program = session.find_program()
    except Error as error:
        document["missing"] = [one_line(error)]
        return document
    binary = program.binary
    known = {
        "program": program.path,
        "go_version": binary.go_version,
        "experiments": binary.experiments,
        "arch": binary.arch,
        "pie": binary.pie,
        "family": binary.family,
        "debug_information": binary.dwarf,
        "memory": session.kind(),
    }
    document.update({key: value for key, value in known.items() if value is not None})
    missing: list[str] = []
    stripped = session.without_symbols(program)
    document["layout_source"] = "dwarf" if stripped is None else "runtime types"
    if stripped is not None:
        missing.append(f"{stripped}: {_WITHOUT}")
    try:
        session.require_stopped()
        document["load_bias"] = f"{session.load_bias(program):#x}"
        crash = writing.crash()
        if crash is not None:
            document["fatal"] = {"sentence": crash[0]}
            if crash[1] is not None:
                document["fatal"]["message"] = crash[1]
    except Error as error:
        missing.append(one_line(error))
    if missing:
        document["missing"] = missing
    return document


_WITHOUT = (
    "ask for maps by their address, by the name of a variable whose symbol is left (-w keeps "
    "them), or where the program uses one: "
    'break *$_go_function("runtime.mapassign_faststr"), then go-map-stats $_go_map()'
)

_MEMORY = {
    "native": "live process",
    "core": "core file",
    "remote": "remote target",
    "file": "the file only",
}


def show(json_wanted: bool, write: Callable[[str], object]) -> None:
    """Write the status."""
    document = collect()
    if json_wanted:
        import json

        write(json.dumps(document) + "\n")
        return
    versions = (f"gomapscope {document['version']}", f"gdb {document['gdb']}")
    lines = _row("", *versions, f"Python {document['python']}")
    if "program" in document:
        details = [str(document.get("go_version") or "Go of unknown version")]
        details += document["experiments"]
        details += [str(document[key]) for key in ("arch", "family") if key in document]
        details.append("PIE" if document["pie"] else "fixed address")
        rows: list[tuple[str, ...]] = [
            ("program", document["program"]),
            ("built by", *details),
            (
                "layouts",
                f"from {document['debug_information']}"
                if document["layout_source"] == "dwarf"
                else "from the runtime's type descriptors (no debug information)",
            ),
            ("memory", _MEMORY[document["memory"]]),
        ]
        if document.get("load_bias", "0x0") != "0x0":
            rows.append(("loaded at", f"+{document['load_bias']}"))
        lines.append("")
        for name, *values in rows:
            lines += _row(f"  {name:<10} ", *values)
    if "fatal" in document:
        lines += ["", *_row("", document["fatal"]["sentence"])]
    for sentence in document.get("missing", []):
        lines += ["", *_row("", sentence[0].upper() + sentence[1:] + ".")]
    lines += ["", "Commands (help NAME):"]
    width = max(len(str(definition["name"])) for definition in DEFINITIONS)
    for definition in DEFINITIONS:
        lines += _row(f"  {definition['name']:<{width}}  ", str(definition["summary"]))
    lines.append("")
    lines += _row("", "Settings: show go-map.", "Functions: help function ($_go_map_len ...).")
    write(_clean("\n".join(lines)) + "\n")


def _row(label: str, *parts: str) -> list[str]:
    """Lines within the terminal's width; what follows a label is indented."""
    import textwrap

    width, text = terminal.width(), "   ".join(parts)
    if len(label) + len(text) <= width:
        return [label + text]
    first, indent = label, " " * len(label)
    above = []
    if width < len(label) + 20:
        # No room beside it.
        above, first, indent = [label.rstrip()], "      ", "      "
    wrapped = textwrap.wrap(
        " ".join(text.split()) if len(parts) > 1 else text,
        max(width, len(indent) + 20),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return above + wrapped


def _clean(text: str) -> str:
    """Control characters of a file's name must not reach the terminal."""
    return "".join(char if char == "\n" or char.isprintable() else "?" for char in text)
