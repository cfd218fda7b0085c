"""From what the user typed, or a ``gdb.Value``, to the address and type of a map.

What gdb makes of Go's types, the same from Go 1.21 to 1.27 and from gdb 13.1 to 18.1: a map is
a typedef ``map[K]V`` of a pointer to a structure ``hash<K,V>`` (classic) or ``map<K,V>``
(Swiss); a named map type is a typedef of that pointer at once; inside generic code the typedef
is ``.param0``, of ``map[go.shape.K]go.shape.V``; interfaces are typedefs of ``runtime.eface``
or ``runtime.iface``.  A local that escaped to the heap is a symbol called ``&name``, which no
expression can spell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import gdb

from . import session
from .errors import Error, one_line

if TYPE_CHECKING:
    from . import _native

MAX_DEPTH = 4
"""Pointers and interfaces that are followed on the way to a map."""

_ADDRESS_MASK = (1 << 64) - 1
_INTEGERS = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_ENUM)
_HEADERS = ("hash<", "map<")
_LOWEST = 4096
_RUNTIME_HEADERS = ("runtime.hmap", "internal/runtime/maps.Map")


class Located(NamedTuple):
    """A map header in the program."""

    address: int
    type_name: str
    expression: str
    program: session.Program
    descriptor: int | None = None
    """The type's descriptor, where that and not the name says which type it is."""
    inferred: bool = False
    """The type is the only one whose storage looks so."""
    life: session.Life | None = None
    """The process that the address is of."""

    def open(self) -> tuple[_native.Target, _native.Map]:
        """The map in its target."""
        from . import _native

        if self.life is not None:
            session.require(self.life)
        try:
            return self._open()
        except _native.Error:
            if self.life is not None:
                session.require(self.life)
            raise

    def _open(self) -> tuple[_native.Target, _native.Map]:
        target = session.target(self.program)
        if self.descriptor is None:
            return target, target.map(self.address, self.type_name, self.expression)
        return target, target.described_map(
            self.address, self.descriptor, self.inferred, self.expression
        )


def locate(text: str, type_name: str | None = None) -> Located:
    """Evaluate ``text`` in the selected frame and find the map it leads to."""
    born = session.life()
    program = session.find_program()
    # Says so if memory holds another program than the file, before gdb reads nonsense.
    session.load_bias(program)
    try:
        if session.without_symbols(program) is None:
            value = evaluate(text)
        else:
            value = _evaluate_without_symbols(text, program)
    except gdb.MemoryError as error:
        raise Error(f"{text}: {one_line(error)}") from None
    except gdb.error as error:
        raise Error(_explain(text, one_line(error))) from None
    return locate_value(value, text, type_name)._replace(life=born)


def locate_value(value: gdb.Value, text: str, type_name: str | None = None) -> Located:
    """Find the map that ``value`` is, points to or holds."""
    born = session.life()
    return _locate_value(value, text, type_name)._replace(life=born)


def _locate_value(value: gdb.Value, text: str, type_name: str | None) -> Located:
    objfile = getattr(value.type.strip_typedefs(), "objfile", None) or value.type.objfile
    program = session.find_program(objfile)
    try:
        if type_name is None:
            try:
                return _follow(value, text, program)
            except _NotAMap:
                found = _by_storage(value, text, program)
                if found is None:
                    raise
                return found
        try:
            found = _follow(value, text, program)
            if program.binary.is_map_type(type_name):
                _agree(found.type_name, type_name, text)
            return found._replace(type_name=type_name)
        except _NotAMap:
            return Located(_address(value, text), type_name, text, program)
    except gdb.error as error:
        raise Error(f"{text}: {one_line(error)}") from None


def _by_storage(value: gdb.Value, text: str, program: session.Program) -> Located | None:
    """The map whose bare address ``value`` is.

    Its type comes from the call that the program has just made with it, else from the heap.
    """
    kind = value.type.strip_typedefs()
    header = kind.name in _RUNTIME_HEADERS and value.address is not None
    if kind.code == gdb.TYPE_CODE_PTR:
        pointed = kind.target().strip_typedefs()
        if _points_to_data(kind) and pointed.name not in _RUNTIME_HEADERS:
            return None
    elif kind.code != gdb.TYPE_CODE_INT and not header:
        return None
    address = _address(value, text)
    # Nothing is mapped there.
    if address < _LOWEST:
        return None
    call = session.map_call(program)
    if call is not None and call.address == address:
        return Located(address, "", text, program, call.descriptor)
    found = session.target(program).map_type_at(address)
    if found is None:
        return None
    descriptor, name, inferred = found
    return Located(address, name, text, program, descriptor, inferred)


def _agree(own: str, given: str, text: str) -> None:
    """Raise :class:`Error` where ``-type`` contradicts the type that ``text`` has."""
    # In generic code the debug information knows only a shape: there -type says more.
    if "go.shape" in own:
        return

    def plain(name: str) -> str:
        name = re.sub(r"[\w.~%-]+/", "", re.sub(r"\s", "", name))
        return name.replace("interface{}", "any")

    if plain(own) != plain(given):
        raise Error(f"{text} is a {own}, not a {given}: leave -type out")


class _NotAMap(Error):
    """The value leads to no map; with a type given its address may still be one."""


def is_map(kind: gdb.Type) -> bool:
    """Whether ``kind`` is a Go map type (not a pointer to one)."""
    return map_type_name(kind) is not None


def map_type_name(kind: gdb.Type) -> str | None:
    """The DWARF name of a map type."""
    name: str | None = None
    while kind.code == gdb.TYPE_CODE_TYPEDEF:
        # In generic code the first name is ".param0", of no use to anybody.
        if name is None and kind.name and not kind.name.startswith(".param"):
            name = kind.name
        kind = kind.target()
    if name is None or kind.code != gdb.TYPE_CODE_PTR:
        return None
    header = kind.target().strip_typedefs()
    return name if _is_header(header) else None


def _is_header(kind: gdb.Type) -> bool:
    return kind.code == gdb.TYPE_CODE_STRUCT and (kind.name or "").startswith(_HEADERS)


def _follow(value: gdb.Value, text: str, program: session.Program) -> Located:
    for _ in range(MAX_DEPTH + 1):
        if value.is_optimized_out:
            raise Error(
                f"{text} is optimized out here: look in another frame (up, finish), "
                "or build with -gcflags='all=-N -l'"
            )
        name = map_type_name(value.type)
        if name is not None:
            return Located(_integer(value), name, text, program)
        kind = value.type.strip_typedefs()
        if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            value = value.referenced_value()
        elif kind.code == gdb.TYPE_CODE_PTR and _points_to_data(kind):
            if _integer(value) == 0:
                raise Error(f"{text} is a nil pointer ({_spelled(value.type)})")
            value = value.dereference()
        elif kind.code == gdb.TYPE_CODE_STRUCT and kind.name in ("runtime.eface", "runtime.iface"):
            return _interface(value, kind.name == "runtime.iface", text, program)
        elif _is_header(kind) and value.address is not None:
            named = _type_of_header(str(kind.name), program.binary)
            return Located(_integer(value.address), named, text, program)
        else:
            break
    raise _NotAMap(_not_a_map(value, text))


def _points_to_data(kind: gdb.Type) -> bool:
    return kind.target().strip_typedefs().code not in (gdb.TYPE_CODE_VOID, gdb.TYPE_CODE_FUNC)


def _not_a_map(value: gdb.Value, text: str) -> str:
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_VOID:
        return f"{text} has no value (void)"
    if kind.code in _INTEGERS or kind.code == gdb.TYPE_CODE_PTR:
        return (
            f"{text} is {_spelled(value.type)}, not a map, and no map's address: "
            "if it is one all the same, add its type, -type 'map[K]V'"
        )
    if kind.name in _RUNTIME_HEADERS:
        return f"{text} is a bare {kind.name}: add the map's type, -type 'map[K]V'"
    return f"{text} is {_spelled(value.type)}, not a map"


def _spelled(kind: gdb.Type) -> str:
    """The type as Go writes it: gdb puts the stars of pointers behind."""
    stars = ""
    while kind.code == gdb.TYPE_CODE_PTR and not kind.name:
        kind = kind.target()
        stars += "*"
    return stars + (kind.name or str(kind))


def _integer(value: gdb.Value) -> int:
    return int(value) & _ADDRESS_MASK


def _address(value: gdb.Value, text: str) -> int:
    """The number that ``value`` is: an address the user vouches for with -type."""
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR or kind.code in _INTEGERS:
        return _integer(value)
    if kind.name in _RUNTIME_HEADERS and value.address is not None:
        return _integer(value.address)
    raise Error(f"{text} is {_spelled(value.type)}, not an address")


def _interface(value: gdb.Value, itab: bool, text: str, program: session.Program) -> Located:
    """The map in an interface, or behind a pointer in it."""
    word = _integer(value["tab" if itab else "_type"])
    data = _integer(value["data"])
    if word == 0:
        raise Error(f"{text} is a nil interface ({_spelled(value.type)})")
    target = session.target(program)
    name = target.dynamic_type(word, itab)
    if name is None:
        raise _NotAMap(f"{text}: cannot tell what the interface holds (type word {word:#x})")
    held = name
    for _ in range(MAX_DEPTH):
        if target.is_map_type(name):
            return Located(data, name, text, program)
        if not name.startswith("*"):
            break
        name = name[1:]
        if data == 0:
            raise Error(f"{text} holds a nil pointer ({held})")
        data = session.read_pointer(data, program.binary.pointer_size)
    raise _NotAMap(f"{text} holds {held}, not a map")


def _type_of_header(name: str, binary: _native.Binary) -> str:
    """``map[K]V`` for ``hash<K,V>``; K and V may themselves contain commas."""
    inner = name[name.index("<") + 1 : -1]
    for match in re.finditer(",", inner):
        spelled = f"map[{inner[: match.start()]}]{inner[match.end() :]}"
        if binary.is_map_type(spelled):
            return spelled
    raise _NotAMap(f"no map type fits {name}: add the map's type, -type 'map[K]V'")


# --- evaluation -----------------------------------------------------------------------------

# Quoted text, numbers, fields and $names are stepped over; paths and names are looked up.
_TOKEN = re.compile(
    r"""
    '[^']*' | "(?:\\.|[^"\\])*" | `[^`]*`
    | \$\w*
    | \d[\w.]*
    | (?:\.|->)\s*[^\W\d]\w*
    | (?P<path>(?:[^\W\d][\w.~%-]*/)(?:[\w.~%-]+/)*[\w~%-]+(?:\.[\w~%-]+)*\.[^\W\d]\w*)
    | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    """,
    re.VERBOSE,
)


def evaluate(text: str) -> gdb.Value:
    """Evaluate a gdb expression, helped where gdb's own Go falls short.

    Escaped locals, package variables in any language, ``pkg.Name`` of a package with a longer
    path, and indexed slices work.  Language, frame and thread stay as they are.

    Package variables are looked up here and handed to gdb in quotes: for ``main.name`` without
    such a variable gdb 13.1 to 18.1 give the value of whatever variable they met before, or
    crash.
    """
    bound: list[str] = []
    try:
        prepared = _prepare(text, bound)
        _refuse_keys(prepared)
        try:
            return gdb.parse_and_eval(prepared)
        except gdb.MemoryError:
            raise
        except gdb.error:
            indexed = _index_slices(prepared)
            if indexed == prepared:
                raise
            return gdb.parse_and_eval(indexed)
    finally:
        for name in bound:
            gdb.set_convenience_variable(name, None)


# Of gdb's C, its language where nothing tells another.
_C_WORDS = frozenset(["char", "int", "long", "short", "signed", "unsigned", "void"])


def _evaluate_without_symbols(text: str, program: session.Program) -> gdb.Value:
    """Evaluate an expression where there is no debug information.

    A variable whose symbol is left (``-ldflags=-w``) is taken for what its first word holds:
    the header's address, if it is a map.
    """
    in_go = re.search(r"\bgo\b", session.console("show language")) is not None

    def replace(match: re.Match[str]) -> str:
        token = match.group(0)
        name = match.group("path") or match.group("name")
        if token.startswith("'"):
            name = token[1:-1]
        if name is None or (name in _C_WORDS and not in_go):
            return token
        return f"{_variable_word(name, program):#x}"

    return gdb.parse_and_eval(_TOKEN.sub(replace, text))


def _variable_word(name: str, program: session.Program) -> int:
    found = program.binary.variables(name)
    if len(found) > 1:
        listed = ", ".join(f"'{spelled}'" for spelled, _ in found[:4])
        raise Error(f"{name} is ambiguous: {listed}")
    if not found:
        raise Error(
            f"{name}: {session.without_symbols(program)}, and no variable of that name is left: "
            "give a map's address, or stop in a map function of the runtime (help function _go_map)"
        )
    address = found[0][1] + session.load_bias(program)
    word = session.read_pointer(address, program.binary.pointer_size)
    if word == 0:
        raise Error(f"{name} is nil, as far as can be told: {session.without_symbols(program)}")
    return word


def _prepare(text: str, bound: list[str]) -> str:
    """Write every name of ``text`` so that gdb finds what a Go programmer means by it."""

    def replace(match: re.Match[str]) -> str:
        path, name = match.group("path"), match.group("name")
        if match.string[match.end() :].lstrip().startswith("("):
            _refuse_call(match.group(0).strip("'"))
        if path:
            quoted = _quoted_path(path)
            if quoted is not None:
                return quoted
            # A division looks the same; then its operands are names of their own.
            try:
                return "/".join(_TOKEN.sub(replace, part) for part in path.split("/"))
            except Error:
                raise Error(
                    f"there is no variable {path}: check the name (info variables)"
                ) from None
        return _resolved(name, bound) if name else match.group(0)

    return _TOKEN.sub(replace, text)


def _resolved(chain: str, bound: list[str]) -> str:
    """``a.b.c``, where ``a`` is a variable or a package."""
    first, dot, rest = chain.partition(".")
    escaped = _escaped(first)
    if escaped is not None:
        variable = f"_go_map_escaped_{first}"
        gdb.set_convenience_variable(variable, escaped)
        bound.append(variable)
        return f"(*${variable}){dot}{rest}"
    if _is_local(first):
        return chain
    package = current_package()
    if package and _is_variable(f"{package}.{first}"):
        return f"'{package}.{first}'{dot}{rest}"
    if not dot:
        # A function, a type, an operator, or nothing: gdb says which.
        return chain
    name, dot, rest = rest.partition(".")
    short = f"{first}.{name}"
    symbol = short if _is_variable(short) else _unique_variable(short)
    if symbol is not None:
        return f"'{symbol}'{dot}{rest}"
    if _is_type(short):
        return chain
    raise Error(
        f"there is no variable {short}, and none called {first} in this frame: "
        "select the frame that has it (up, frame N), or check the name (info variables)"
    )


def _refuse_call(name: str) -> None:
    """Raise :class:`Error` where gdb would run a function of the program."""
    package = current_package()
    for spelled in (name, f"{package}.{name}"):
        try:
            symbol = gdb.lookup_global_symbol(spelled) or gdb.lookup_static_symbol(spelled)
        except gdb.error:
            continue
        if symbol is not None and symbol.is_function:
            raise Error(f"{spelled} is a function: gomapscope never runs code of the program")


def _refuse_keys(text: str) -> None:
    """Raise :class:`Error` for ``m[k]``: gdb would step over whole map headers instead."""
    position = _bracket(text, 0)
    while position >= 0:
        for operand in (text[:position], text[:position].lstrip("*&( ")):
            try:
                found = is_map(gdb.parse_and_eval(operand).type)
            except gdb.error:
                continue
            if found:
                shown = operand.replace("'", "")
                raise Error(
                    f"{shown} is a map, and gdb cannot look up its keys: use "
                    f"go-map-entries {shown} -key K"
                )
        position = _bracket(text, position + 1)


def _quoted_path(path: str) -> str | None:
    """``path/to/pkg.Name.field`` with its variable in quotes."""
    head, slash, tail = path.rpartition("/")
    for dot in (index for index, char in enumerate(tail) if char == "."):
        end = tail.find(".", dot + 1)
        end = len(tail) if end < 0 else end
        package = tail[:dot]
        # The linker writes a dot in the last element of a path as %2e.
        for spelled in (package, package.replace(".", "%2e")):
            symbol = f"{head}{slash}{spelled}{tail[dot:end]}"
            if _is_variable(symbol):
                return f"'{symbol}'{tail[end:]}"
    return None


def _escaped(name: str) -> gdb.Value | None:
    """The pointer called ``&name``, if that is what ``name`` means in the selected frame."""
    try:
        frame = gdb.selected_frame()
        block: gdb.Block | None = frame.block()
    except (gdb.error, RuntimeError):
        return None
    while block is not None:
        for symbol in block:
            if symbol.name == name:
                return None
            if symbol.name == "&" + name:
                return symbol.value(frame)
        if block.function is not None:
            return None
        block = block.superblock
    return None


def _is_local(name: str) -> bool:
    """Whether gdb finds a variable by this bare name."""
    try:
        symbol = gdb.lookup_symbol(name)[0]
    except gdb.error:
        # No frame: only global symbols.
        symbol = gdb.lookup_global_symbol(name)
    return symbol is not None and (symbol.is_variable or symbol.is_argument)


def current_package() -> str | None:
    """The package of the selected frame's function."""
    try:
        name = gdb.selected_frame().name()
    except gdb.error:
        return None
    # Type arguments and receivers may themselves hold paths.
    head, slash, tail = re.split(r"[\[(]", name or "", maxsplit=1)[0].rpartition("/")
    package, dot, _ = tail.partition(".")
    return f"{head}{slash}{package}" if dot else None


def _is_variable(symbol: str) -> bool:
    try:
        found = gdb.lookup_global_symbol(symbol) or gdb.lookup_static_symbol(symbol)
    except gdb.error:
        return False
    return found is not None and found.is_variable


def _is_type(name: str) -> bool:
    try:
        gdb.lookup_type(name)
    except gdb.error:
        return False
    return True


def _unique_variable(short: str) -> str | None:
    """The variable ``path/to/pkg.Name`` that ``pkg.Name`` abbreviates."""
    pattern = "/" + re.escape(short) + "$"
    try:
        listing = session.console(f"info variables -q -n {pattern}")
    except gdb.error:
        return None
    suffix = "/" + short
    names = {
        line[:-1].rsplit(None, 1)[-1]
        for line in listing.splitlines()
        if line.endswith(suffix + ";")
    }
    if len(names) > 1:
        listed = ", ".join(f"'{name}'" for name in sorted(names)[:4])
        raise Error(f"{short} is ambiguous: {listed}")
    return names.pop() if names else None


def _index_slices(text: str) -> str:
    """``s[i]`` becomes ``s.array[i]`` where ``s`` is a slice, which gdb cannot index."""
    position = 0
    while True:
        position = _bracket(text, position)
        if position < 0:
            return text
        operand = text[:position].lstrip("*&( ")
        close = text.find("]", position)
        try:
            kind = gdb.parse_and_eval(operand)
            if _is_slice(kind.type):
                length = int(kind["len"])
                index = int(gdb.parse_and_eval(text[position + 1 : close]))
                if not 0 <= index < length:
                    raise Error(
                        f"{operand}[{index}]: index {index} is out of range, the slice has {length}"
                    )
                text = f"{text[:position]}.array{text[position:]}"
                position += len(".array")
        except gdb.error:
            pass
        position += 1


def _bracket(text: str, start: int) -> int:
    """The next ``[`` outside quotes."""
    for match in re.finditer(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|(?P<open>\[)", text):
        if match.group("open") and match.start() >= start:
            return match.start()
    return -1


def _is_slice(kind: gdb.Type) -> bool:
    kind = kind.strip_typedefs()
    return kind.code == gdb.TYPE_CODE_STRUCT and [field.name for field in kind.fields()] == [
        "array",
        "len",
        "cap",
    ]


def _explain(text: str, message: str) -> str:
    """gdb's complaint, with the advice it lacks."""
    if message.startswith("No symbol table is loaded"):
        return f"{text}: no symbols are loaded: name the program with `file PATH'"
    if message.startswith("No frame selected"):
        return f"{text}: no frame is selected"
    found = re.match(r'No symbol "(.*)" in current context', message)
    if found and found.group(1) == "map":
        return f"{text}: gdb's Go has no casts to a map type: give the address, -type 'map[K]V'"
    if found:
        return (
            f'{text}: no symbol "{found.group(1)}" in this frame: select the frame that has it '
            "(up, frame N), or write a package variable as main.name or 'path/pkg.name'"
        )
    return f"{text}: {message}"
