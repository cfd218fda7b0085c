"""TAB completion of Go expressions.

gdb's own does not know package variables (``main.ca`` TAB gives nothing), and on a name that
its Go parser cannot find it may crash; so nothing incomplete is ever given to that parser.
"""

from __future__ import annotations

import os
import re

import gdb

from . import expression, session
from .errors import Error

_MOST = 200
_TAIL = re.compile(r"(?:'[^']*'?|[\w./%~$\[\]-])*$")


def words(text: str) -> tuple[str, list[str]]:
    """The unfinished word at the end of ``text``, and what it may become."""
    match = _TAIL.search(text)
    token = match.group(0) if match else ""
    # "*p" and "-x" are operators before a name.
    token = token.lstrip("-")
    if token.startswith(("$", "'")):
        return token, []
    found = set(_fields(token))
    if not found:
        found = set(_locals(token)) | set(_package_variables(token))
    return token, sorted(found)[:_MOST]


def files(token: str) -> list[str]:
    """The files and folders whose names begin with ``token``."""
    folder, slash, start = token.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(folder + slash) or ".") as entries:
            names = [
                f"{folder}{slash}{entry.name}" + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(start)
            ]
    except OSError:
        return []
    return sorted(names)[:_MOST]


def _fields(token: str) -> list[str]:
    """``x.fi`` where ``x`` is a structure or a pointer to one."""
    head, dot, start = token.rpartition(".")
    if not dot:
        return []
    try:
        kind = expression.evaluate(head).type.strip_typedefs()
    except (Error, gdb.error):
        return []
    if kind.code == gdb.TYPE_CODE_PTR:
        kind = kind.target().strip_typedefs()
    if kind.code != gdb.TYPE_CODE_STRUCT:
        return []
    names = (field.name for field in kind.fields() if field.name)
    return [f"{head}.{name}" for name in names if name.startswith(start)]


def _locals(token: str) -> list[str]:
    """Variables of the selected frame, escaped ones by the name the source gives them."""
    if "." in token:
        return []
    found = []
    try:
        block: gdb.Block | None = gdb.selected_frame().block()
    except (gdb.error, RuntimeError):
        return []
    while block is not None:
        for symbol in block:
            name = symbol.name.lstrip("&")
            if (symbol.is_variable or symbol.is_argument) and name.startswith(token):
                found.append(name)
        if block.function is not None:
            break
        block = block.superblock
    return [name for name in found if name.isidentifier()]


def _package_variables(token: str) -> list[str]:
    """``pkg.Name`` and ``path/to/pkg.Name``; in the current package also ``Name``."""
    if "." in token:
        full = _variables("^" + re.escape(token))
        if full or "/" in token:
            return full
        # The package's last element may do for its path.
        return [name.rpartition("/")[2] for name in _variables("/" + re.escape(token))]
    if "/" in token:
        return _variables("^" + re.escape(token))
    found = [f"{name}." for name in ("main",) if token and name.startswith(token)]
    package = expression.current_package()
    if package and token:
        start = len(package) + 1
        found += [name[start:] for name in _variables("^" + re.escape(f"{package}.{token}"))]
    return found


def _variables(pattern: str) -> list[str]:
    try:
        listing = session.console(f"info variables -q -n {pattern}")
    except gdb.error:
        return []
    names = (line[:-1].rsplit(None, 1)[-1] for line in listing.splitlines() if line.endswith(";"))
    # Compiler-made ones ("main..dict") are of no use.
    return [name for name in names if ".." not in name]
