"""The opt-in pretty-printer: ``set go-map pretty-print on``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Optional, Union

import gdb

from . import expression, parameters, terminal
from .api import Entry, Map
from .errors import Error, one_line

_NAME = "gomapscope"
_NOT_EXACT = "<not exact>"
#: Entries that are read before the first is shown, to know whether to trust them.
_AHEAD = 1024

_Child = tuple[str, Union[gdb.Value, str]]


class MapPrinter:
    """Prints one map; entries are read as gdb asks for them."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value
        self._map: Optional[Map] = None
        self._failure = ""
        try:
            self._map = Map(value)
            self._length = len(self._map)
        except (Error, gdb.error) as error:
            self._failure = one_line(error)

    def to_string(self) -> str:
        """The type and the length, as Go's own printer does not say it."""
        name = expression.map_type_name(self._value.type) or str(self._value.type)
        if self._map is None or self._failure:
            return f"{name} <{self._failure}>"
        if self._map.address == 0:
            return f"{name} nil"
        return f"{name} len {self._length:,}"

    def display_hint(self) -> Optional[str]:
        """Children alternate between keys and elems, but for editors, which do not pair them."""
        return None if terminal.DAP else "map"

    def children(self) -> Iterator[_Child]:
        """Keys and elems as gdb values where gdb knows their types, else as Go syntax."""
        if self._map is None or self._map.address == 0 or self._failure:
            return
        key_type, elem_type = _entry_types(self._value.type, self._map)
        if terminal.DAP:
            yield from self._named(self._map, elem_type)
            return
        number = 0
        entries, told = _looked_ahead(self._map)
        if told:
            yield f"[{number}]", _NOT_EXACT
            yield f"[{number + 1}]", f"<{told}>"
            number += 2
        for entry in entries:
            yield f"[{number}]", _child(entry.address, key_type, entry.key)
            yield f"[{number + 1}]", _child(entry.elem_address, elem_type, entry.elem)
            number += 2
        if self._map.flaw is not None and not told:
            yield f"[{number}]", _NOT_EXACT
            yield f"[{number + 1}]", f"<{self._map.flaw}>"

    def _named(self, found: Map, elem_type: Optional[gdb.Type]) -> Iterator[_Child]:
        """One child for each entry, named by its key.

        gdb reads all children of what an editor merely lists, so they must be few.
        """
        most = gdb.parameter("print elements")
        entries, told = _looked_ahead(found)
        if told:
            yield _NOT_EXACT, f"<{told}>"
        for number, entry in enumerate(entries):
            if isinstance(most, int) and 0 < most <= number:
                yield "...", f"{number:,} of {self._length:,} shown (set print elements N)"
                break
            yield entry.key, _child(entry.elem_address, elem_type, entry.elem)
        if found.flaw is not None and not told:
            yield _NOT_EXACT, f"<{found.flaw}>"


def _looked_ahead(found: Map) -> tuple[Iterator[Entry], Optional[str]]:
    """The entries, and what is wrong with those that gdb will ask for.

    gdb stops at ``print elements``: a flag that came last would never be shown.
    """
    most = gdb.parameter("print elements")
    few = most if isinstance(most, int) and 0 < most < _AHEAD else _AHEAD
    entries = found.entries()
    ahead = list(islice(entries, few + 1))
    return chain(ahead, entries), found.flaw


def _child(address: int, kind: Optional[gdb.Type], text: str) -> Union[gdb.Value, str]:
    if kind is None or address == 0:
        return text
    try:
        return gdb.Value(address).cast(kind.pointer()).dereference()
    except gdb.error:
        return text


def _entry_types(kind: gdb.Type, found: Map) -> tuple[Optional[gdb.Type], Optional[gdb.Type]]:
    """The key and elem types, taken from the slots that DWARF describes.

    gdb finds few Go types by name: none of ``[]T``, ``*T``, ``struct {…}``.
    """
    names = found.native_types()
    try:
        fields = _fields(kind.strip_typedefs().target())
        if "buckets" in fields:
            slot = _fields(fields["buckets"].target())
            key, elem = slot["keys"].target(), slot["values"].target()
        else:
            key, elem = _swiss_types(fields["dirPtr"])
    except (gdb.error, KeyError, RuntimeError, TypeError):
        return None, None
    return _direct(key, names[0]), _direct(elem, names[1])


def _swiss_types(table: gdb.Type) -> tuple[gdb.Type, gdb.Type]:
    while table.code == gdb.TYPE_CODE_PTR:
        table = table.target().strip_typedefs()
    group = _fields(_fields(_fields(table)["groups"])["data"].target())
    if "slots" in group:
        slot = _fields(group["slots"].target())
        return slot["key"], slot["elem"]
    # GOEXPERIMENT=mapsplitgroup: keys and elems apart.
    return group["keys"].target(), group["elems"].target()


def _fields(kind: gdb.Type) -> dict[str, gdb.Type]:
    """The fields of a structure; typedefs of structures, pointers and arrays are followed.

    The fields' own types keep their names where they are basic or a user's.
    """
    found = {}
    for field in kind.strip_typedefs().fields():
        if field.name and field.type is not None:
            stripped = field.type.strip_typedefs()
            followed = stripped.code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRUCT)
            inner = followed and field.name in ("keys", "values", "elems", "slots", "groups")
            found[field.name] = stripped if inner else field.type
    return found


def _direct(kind: gdb.Type, name: str) -> gdb.Type:
    """The type itself where slots hold pointers to it (over 128 bytes)."""
    if kind.code == gdb.TYPE_CODE_PTR and not kind.name and not name.startswith("*"):
        return kind.target()
    return kind


def _lookup(value: gdb.Value) -> Optional[MapPrinter]:
    if parameters.pretty_print() and expression.is_map(value.type):
        return MapPrinter(value)
    return None


class _Collection:
    """The entry in gdb's lists of printers; `info pretty-printer' shows its name."""

    name = _NAME
    enabled = True
    subprinters = None

    def __call__(self, value: gdb.Value) -> Optional[MapPrinter]:
        return _lookup(value) if self.enabled else None


_COLLECTION = _Collection()


def enable(on: bool) -> None:
    """Put our printer in front, or take it out."""
    places: list[Any] = [gdb, *gdb.objfiles()]
    for place in places:
        while _COLLECTION in place.pretty_printers:
            place.pretty_printers.remove(_COLLECTION)
    if on:
        gdb.pretty_printers.insert(0, _COLLECTION)
        for objfile in gdb.objfiles():
            _front(objfile)


def _front(objfile: gdb.Objfile) -> None:
    # Go's own script registers with the program's objfile, and gdb asks those first.
    if objfile.pretty_printers:
        objfile.pretty_printers.insert(0, _COLLECTION)


def _new_objfile(event: Any) -> None:
    if parameters.pretty_print() and _COLLECTION not in event.new_objfile.pretty_printers:
        event.new_objfile.pretty_printers.insert(0, _COLLECTION)


def register() -> None:
    """Follow programs that are loaded while the printer is on."""
    events: Any = gdb.events
    events.new_objfile.connect(_new_objfile)
