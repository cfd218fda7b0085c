"""The public Python API, for hook scripts and for the ``python`` command."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar, Union

from .arguments import quoted
from .errors import Error, one_line, translated

if TYPE_CHECKING:
    import gdb

    from ._native import Map as NativeMap
    from ._native import Target as NativeTarget
    from .session import Life
    from .tracing import Trace

_T = TypeVar("_T")

# Each page is a walk from the start: pages grow, so that a large map needs few.
_FIRST_PAGE = 1024
_LAST_PAGE = 262144


class Bucket(NamedTuple):
    """One unit of eight slots: a bucket of a classic map, a group of a Swiss one."""

    index: int  # type: ignore[assignment]  # tuple.index is not missed
    """Position in the walk, from 0."""
    address: int
    kind: str
    """``main``, ``overflow``, ``old`` or ``group``."""
    marks: str
    """Eight letters: ``L`` live, ``E`` empty, ``T`` tombstone, ``V`` evacuated, ``?`` a defect."""
    live: int
    tombstones: int
    table: Optional[int]
    """Directory index of its table (Swiss), else None."""
    parent: Optional[int]
    """The main bucket whose chain it is on (classic overflow bucket), else None."""


class Entry(NamedTuple):
    """One entry, printed as Go would write it."""

    key: str
    elem: str
    address: int
    """Where the key is."""
    elem_address: int


class FoundMap(NamedTuple):
    """One map that :func:`scan` found."""

    address: int
    """The map's header."""
    type: Optional[str]
    """As Go prints it; None where it is not known to be one type."""
    full_type: Optional[str]
    """The same with full import paths, where the short name may mean several types."""
    types: list[str]
    """What the type may be (at most 20), where it is not known to be one."""
    len: int
    capacity: int
    """Slots."""
    allocated: int
    """Bytes; at least so many where :attr:`at_least` says so."""
    reclaimable: Optional[int]
    """Bytes a rebuild would give back, what is sure of it; None where it is not known."""
    hole_density: Optional[float]
    """Slots that are not live, of all slots; None where it is not known."""
    evidence: str
    """``exact``, ``strong`` or ``weak``: how the type is known."""
    state: str
    """``live``, ``garbage`` or ``unknown``."""
    at_least: bool
    held_by: Optional[str]
    """A variable, a field, a goroutine; with ``holders=True``, where it is known."""
    allocated_at: list[str]
    """The stack that allocated it, innermost call first, where it is known."""

    def open(self) -> Map:
        """The map itself, to walk it."""
        name = self.full_type or self.type or (self.types[0] if self.types else None)
        return Map(self.address, name)


class FoundMaps(list[FoundMap]):
    """What :func:`scan` found, and what may be missing of it."""

    defects: int = 0
    """What could not be read or contradicts the runtime's rules: maps may be missing."""
    interrupted: bool = False
    """Ctrl-C ended it: something is missing."""
    racing: bool = False
    """Threads of the program ran meanwhile: nothing in it is exact."""


@translated
def scan(
    *,
    top: Optional[int] = None,
    type: Optional[str] = None,
    min_bytes: int = 0,
    sort: str = "reclaimable",
    garbage: bool = False,
    holders: bool = False,
) -> FoundMaps:
    """Every map of the process, as ``go-map-scan`` lists them: a list that says what it lacks.

    ``type`` is a part of the type's name or a regular expression, ``min_bytes`` what a map
    takes at least, ``sort`` one of ``reclaimable``, ``allocated``, ``len``, ``holes`` and
    ``address``.  Raises :class:`Error`.
    """
    from . import commands

    words = ["-sort", sort, "-min", str(min_bytes)]
    if top is not None:
        words += ["-top", str(top)]
    if type is not None:
        words += ["-type", quoted(type)]
    if holders:
        words.append("-holders")
    if garbage:
        words.append("-garbage")
    document = commands.collect(commands.SCAN, " ".join(words))
    rows = (row for row in document["maps"] if garbage or row["state"] != "garbage")
    found = FoundMaps(map(_found, rows))
    found.defects = document["defects_total"]
    found.interrupted = document["interrupted"]
    found.racing = document.get("racing", False)
    return found


def _found(row: dict[str, Any]) -> FoundMap:
    reclaimable = row.get("reclaimable", row.get("reclaimable_range", [None])[0])
    return FoundMap(
        int(row["address"], 16),
        row.get("type"),
        row.get("full_type"),
        row.get("types", []),
        row["len"],
        row["capacity"],
        row["allocated"],
        reclaimable,
        row.get("hole_density"),
        row["evidence"],
        row["state"],
        row.get("at_least", False),
        row.get("held_by"),
        row.get("allocated_at", []),
    )


class Saved(NamedTuple):
    """What :func:`snapshot` saved."""

    path: str
    file_bytes: int
    maps: int
    """Maps in the file, nil ones and garbage included."""
    len: int
    """Entries of those that are in use."""
    allocated: int
    """Bytes of those."""
    inexact: int
    """Maps of which a figure is not certain."""
    interrupted: bool
    """Ctrl-C ended it: something is missing."""
    defects: int = 0
    """What could not be read or contradicts the runtime's rules: maps may be missing."""
    racing: bool = False
    """Threads of the program ran meanwhile: nothing in it is exact."""


@translated
def snapshot(
    *expressions: str,
    path: str,
    scan: bool = False,
    force: bool = False,
    buckets: bool = False,
    holders: bool = False,
) -> Saved:
    """Save maps as they are now, as ``go-map-snapshot`` does.

    Either ``expressions`` name the maps, or ``scan`` takes all of the process.  A ``path``
    that ends in ``.gz`` is compressed; an existing file is kept unless ``force`` is true.
    ``buckets`` saves the live slots of each bucket, ``holders`` who holds each map that a
    scan finds.  Raises :class:`Error`.
    """
    from . import commands

    flags = {"-scan": scan, "-force": force, "-buckets": buckets, "-holders": holders}
    words = [flag for flag, wanted in flags.items() if wanted]
    line = " ".join([*words, "-o", quoted(path), "--", *expressions])
    document = commands.collect(commands.SNAPSHOT, line)
    return Saved(**{field: document[field] for field in Saved._fields if field in document})


class MapChange(NamedTuple):
    """What became of one map between two snapshots."""

    change: str
    """``grown``, ``filled``, ``emptied``, ``shrunk``, ``rebuilt``, ``moved``, ``changed``,
    ``new``, ``gone``, ``unlisted`` (one side was not asked for it) or ``unchanged``."""
    address: int
    """The header: as it is, or as it was."""
    type: Optional[str]
    name: Optional[str]
    """The expression it was asked for by, or who holds it."""
    moved: bool
    """The header has another address than before: it was recognised by its name."""
    allocated: int
    """Bytes more than before; negative where it has fewer."""
    len: int
    """Entries more than before."""
    before: Optional[dict[str, Any]]
    """``address``, ``len``, ``capacity``, ``allocated`` and what else was known."""
    after: Optional[dict[str, Any]]


class Diff:
    """Two snapshots compared; :attr:`json` holds everything, as ``go-map-diff -json`` prints."""

    __slots__ = ("json",)

    def __init__(self, document: dict[str, Any]) -> None:
        self.json: dict[str, Any] = document
        """The whole ``gomapscope.diff/1`` document."""

    def __repr__(self) -> str:
        classes = ", ".join(f"{many} {name}" for name, many in self.json["classes"].items())
        return f"<Diff of {len(self.json['maps'])} maps: {classes}>"

    @property
    def allocated(self) -> int:
        """Bytes that all maps take more than before."""
        return int(self.json["change"]["allocated"])

    @property
    def same_process(self) -> Optional[bool]:
        """Whether both are of one process; None where that is not known."""
        found = self.json.get("same_process")
        return None if found is None else bool(found)

    @property
    def changes(self) -> list[MapChange]:
        """Every map, the largest change of allocated bytes first."""
        return [
            MapChange(
                row["class"],
                int(row["address"], 16),
                row.get("type"),
                row.get("name"),
                row["moved"],
                row["change"]["allocated"],
                row["change"]["len"],
                row.get("before"),
                row.get("after"),
            )
            for row in self.json["maps"]
        ]


def diff(before: str, after: Optional[str] = None) -> Diff:
    """Compare two files, as ``go-map-diff`` does; without ``after``, one with the present.

    Two files can be compared outside gdb, too.  Raises :class:`Error`.
    """
    if after is None:
        return _diff_with_present(before)
    from . import native

    native.require()
    from . import _native

    chunks: list[str] = []
    try:
        request = _native.parse("go-map-diff", f"-json -- {quoted(before)} {quoted(after)}")
        documents = (_native.Document(before), _native.Document(after))
        style = _native.Style(80, False, False, 0)
        _native.diff(request, *documents, False, style, chunks.append)
    except _native.Error as error:
        raise Error(one_line(error)) from None
    return Diff(json.loads("".join(chunks)))


@translated
def _diff_with_present(before: str) -> Diff:
    from . import commands

    return Diff(commands.collect(commands.DIFF, quoted(before)))


class Frame(NamedTuple):
    """One call on a stack."""

    function: str
    file: str
    """Empty where it is not known."""
    line: int
    """0 where it is not known."""
    inlined: bool
    """The compiler put it into the next frame's function."""


class MapOperation(NamedTuple):
    """A goroutine that is in a map operation."""

    goroutine: int
    operation: str
    """``read``, ``write``, ``delete``, ``clear``, ``iterate`` or ``clone``."""
    function: str
    """The runtime's function that the program called."""
    map: Optional[int]
    """The map's header; None where nothing tells which."""
    evidence: Optional[str]
    """How sure that is: ``exact`` or ``strong``."""
    type: Optional[str]
    growing: bool
    detected: bool
    """The runtime found here that another goroutine uses the map, too."""
    status: str
    thread: Optional[int]
    """The kernel's number of the thread that runs it."""
    caller: int
    """Position in ``frames`` of the program's own call."""
    frames: list[Frame]


class MapCrash(NamedTuple):
    """The fatal error in a map operation that ended a process."""

    message: Optional[str]
    map: Optional[int]
    evidence: Optional[str]
    detected_by: list[int]
    others: list[int]
    """Other goroutines in an operation on the same map."""
    perhaps: list[int]
    """Goroutines in an operation on a map that is not known, which may be the same."""
    suspects: list[int]
    """Goroutines that can have used it: an inference."""


class MapWriters(NamedTuple):
    """What :func:`writers` found."""

    fatal: Optional[MapCrash]
    operations: list[MapOperation]
    written_by_nobody: list[int]
    """Headers that say a write is in progress, though nobody was found in them."""
    unknown: list[int]
    """Goroutines whose stack could not be walked to its end."""
    notes: list[str]
    racing: bool
    """The program ran meanwhile: nothing is exact."""
    interrupted: bool
    """The user asked to stop: this is a part."""
    abandoned: list[MapOperation]
    """Operations that panicked, and are over: deferred functions run."""


@translated
def writers(*, quick: bool = False, holders: bool = False) -> MapWriters:
    """The goroutines in map operations, as ``go-map-writers`` tells them.

    ``quick`` does not search the heap for maps that are being written.  Raises :class:`Error`.
    """
    from . import commands

    flags = {"-quick": quick, "-holders": holders}
    words = [word for word, given in flags.items() if given]
    found = commands.collect(commands.WRITERS, " ".join(words))
    fatal = found.get("fatal")
    return MapWriters(
        None if fatal is None else _crash(fatal),
        [_operation(row) for row in found["operations"]],
        [int(row["address"], 16) for row in found["maps"] if not row["goroutines"]],
        found["unknown"],
        found["notes"],
        found["racing"],
        found["interrupted"],
        [_operation(row) for row in found["abandoned"]],
    )


def _used(row: dict[str, Any]) -> tuple[Optional[int], Optional[str]]:
    used = row.get("map")
    return (int(used["address"], 16), used["evidence"]) if used else (None, None)


def _crash(row: dict[str, Any]) -> MapCrash:
    suspects = [suspect["goroutine"] for suspect in row["suspects"]]
    return MapCrash(
        row.get("message"),
        *_used(row),
        row["detected_by"],
        row["others"],
        row["perhaps"],
        suspects,
    )


def _operation(row: dict[str, Any]) -> MapOperation:
    address, evidence = _used(row)
    return MapOperation(
        row["goroutine"],
        row["operation"],
        row["function"],
        address,
        evidence,
        row.get("type"),
        row["growing"],
        row["detected"],
        row["status"],
        row.get("thread"),
        row["caller"],
        [
            Frame(frame["function"], frame["file"], frame["line"], frame.get("inlined", False))
            for frame in row["frames"]
        ],
    )


@dataclass(frozen=True)
class Event:
    """What happened to a map's storage.  What is not known is None."""

    seq: int
    """From 1, without gaps."""
    op: str
    """``create``, ``grow``, ``grow-same-size``, ``overflow``, ``split``, ``directory``, ``clear``,
    ``assign`` or ``delete``."""
    map: int
    """The map's header."""
    type: Optional[str] = None
    """As Go prints it."""
    t_mono_ns: Optional[int] = None
    """The target's CLOCK_MONOTONIC."""
    t_wall_ns: Optional[int] = None
    """Nanoseconds since 1970."""
    goid: Optional[int] = None
    thread: Optional[int] = None
    len: Optional[int] = None
    """Entries when it happened."""
    B: Optional[int] = None
    """log2 of the main buckets, afterwards (classic)."""
    tables: Optional[int] = None
    """Length of the directory, afterwards (Swiss)."""
    capacity: Optional[int] = None
    """Slots of the new storage: of the main buckets, of the table, of each half of a split."""
    old_capacity: Optional[int] = None
    map_capacity: Optional[int] = None
    """Slots of the whole map afterwards, without overflow buckets."""
    block: Optional[int] = None
    """The new storage's address."""
    size: Optional[int] = None
    """Its bytes."""
    second_block: Optional[int] = None
    """The other half's, after a split; as large."""
    old_block: Optional[int] = None
    old_size: Optional[int] = None
    key: Optional[int] = None
    """Of an assign or delete: the key where it is one word, else its address."""
    hole_density: Optional[float] = None
    stack: tuple[Frame, ...] = ()
    """Who did it, innermost first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The goroutine's pprof labels."""
    notes: tuple[str, ...] = ()

    @property
    def caller(self) -> Optional[Frame]:
        """The first call that is not of the runtime."""
        runtime = ("runtime.", "internal/runtime/", "reflect.")
        return next((f for f in self.stack if not f.function.startswith(runtime)), None)


_ADDRESSES = ("map", "block", "second_block", "old_block", "key")


def event_of(document: dict[str, Any]) -> Event:
    """An event from its JSON."""
    values = dict(document)
    for name in _ADDRESSES:
        if name in values:
            values[name] = int(values[name], 16)
    values["stack"] = tuple(
        Frame(f["function"], f.get("file", ""), f.get("line", 0), f.get("inlined", False))
        for f in document.get("stack", ())
    )
    values["notes"] = tuple(document.get("notes", ()))
    return Event(**values)


@translated
def trace(
    *maps: Union[Map, gdb.Value, str, int],
    on: str = "growth",
    callback: Optional[Callable[[Event], object]] = None,
    engine: str = "auto",
    every: Optional[int] = None,
    rate: Optional[int] = None,
    max_events: Optional[int] = None,
    stack: int = 16,
    density: bool = False,
    file: Optional[str] = None,
    force: bool = False,
) -> Trace:
    """Record what happens to ``maps``, to all maps if none is given, while the program runs.

    ``callback`` is called with each :class:`Event`, while the program stands at it; if it returns
    something true, gdb stops there::

        def huge(event):
            return event.op == "grow" and (event.size or 0) > 1 << 30

        gomapscope.trace("main.cache", callback=huge)

    The other arguments are the options of ``go-map-trace start``.  The trace goes on until
    :meth:`Trace.stop`, or the end of the process.  Raises :class:`Error`.
    """
    from . import _native, native, tracing

    native.require()
    words = ["-on", on, "-engine", engine, "-stack", str(stack)]
    for name, value in (("-every", every), ("-rate", rate), ("-max", max_events)):
        if value is not None:
            words += [name, str(value)]
    words += ["-density"] * density + ["-force"] * force
    if file is not None:
        words += ["-o", quoted(file)]
    request = _native.parse("go-map-trace start", " ".join(words))
    opened = [entry if isinstance(entry, Map) else Map(entry) for entry in maps]
    return tracing.begin(request, [(m.expression, m._native) for m in opened], callback)


class Stats:
    """What ``go-map-stats`` says of a map, at the stop at which it was made.

    Sizes are bytes, densities 0 to 1.  A density of a map without storage (nil, or never
    written to) is 0.  :attr:`json` holds everything, as ``go-map-stats -json`` prints it.
    """

    __slots__ = ("json",)

    def __init__(self, document: dict[str, Any]) -> None:
        self.json: dict[str, Any] = document
        """The whole ``gomapscope.stats/1`` document."""

    def __repr__(self) -> str:
        return (
            f"<Stats of {self.json['type']} len {self.len}: {self.empty} of {self.capacity} slots "
            f"empty, {self.tombstones} tombstones, {self.severity}>"
        )

    @property
    def len(self) -> int:
        """What Go's ``len`` returns."""
        return int(self.json["len"])

    @property
    def capacity(self) -> int:
        """Slots."""
        return int(self.json["slots"]["capacity"])

    @property
    def live(self) -> int:
        """Slots that hold an entry, counted one by one."""
        return int(self.json["slots"]["live"])

    @property
    def empty(self) -> int:
        """Slots that hold nothing and were not deleted from."""
        return int(self.json["slots"]["empty"])

    @property
    def tombstones(self) -> int:
        """Slots of deleted entries."""
        return int(self.json["slots"]["tombstones"])

    @property
    def hole_density(self) -> float:
        """Slots that are not live, of all slots."""
        return float(self.json["slots"].get("hole_density") or 0.0)

    @property
    def holes(self) -> int:
        """Slots that are not live."""
        return self.empty + self.tombstones

    @property
    def buckets(self) -> int:
        """Buckets of a classic map, groups of a Swiss one."""
        return int(self.json["buckets"]["count"])

    @property
    def empty_buckets(self) -> int:
        """Buckets without a live slot."""
        return int(self.json["buckets"]["empty"])

    @property
    def empty_density(self) -> float:
        """Buckets without a live slot, of all buckets."""
        return float(self.json["buckets"].get("empty_density") or 0.0)

    @property
    def severity(self) -> str:
        """``healthy``, ``light`` or ``severe``, by the empty density."""
        return str(self.json["buckets"].get("severity") or "healthy")

    @property
    def allocated(self) -> int:
        """Bytes of all blocks of the map, rounding by the allocator included."""
        return int(self.json["bytes"]["allocated"])

    @property
    def rebuild(self) -> int:
        """Bytes that a fresh map with the same entries would allocate."""
        return int(self.json["bytes"]["rebuild"])

    @property
    def reclaimable(self) -> int:
        """Bytes that copying the entries to a fresh map gives back."""
        return int(self.json["bytes"]["reclaimable"])

    @property
    def exact(self) -> bool:
        """False where something was unreadable, contradictory or interrupted, or racing."""
        return bool(self.json["exact"])

    @property
    def racing(self) -> bool:
        """True where other threads ran while the map was read, or its header changed."""
        return bool(self.json.get("racing", False))

    @property
    def defects(self) -> list[dict[str, Any]]:
        """What contradicts the runtime's rules: ``code``, ``address``, ``expected``, ``found``."""
        return list(self.json["defects"])


class Map:
    """A Go map in the program being debugged.

    ``value`` is a ``gdb.Value`` that is a map, points to one or is an interface that holds one,
    or an expression for one, or the address of a header; ``type`` is needed only for an address
    whose type the heap does not tell::

        gomapscope.Map("main.cache")
        gomapscope.Map(frame.read_var("m"))
        gomapscope.Map(0xC000012120)
        gomapscope.Map(0xC000012120, "map[string]int")

    The header's address is fixed when the object is made; what is read through it is always
    the present state, as long as the process lives.  Raises :class:`Error`.
    """

    __slots__ = ("_life", "_native", "_target", "expression", "flaw")

    _life: Optional[Life]
    _native: NativeMap
    _target: NativeTarget

    @translated
    def __init__(self, value: Union[gdb.Value, str, int], type: Optional[str] = None) -> None:
        import gdb

        from . import expression, native

        native.require()
        if isinstance(value, str):
            text = value
            found = expression.locate(value, type)
        else:
            if isinstance(value, int):
                value = gdb.Value(value)
            text = _shown(value)
            found = expression.locate_value(value, text, type)
        self.expression: str = text
        """What was asked for."""
        self.flaw: Optional[str] = None
        """Why the buckets or entries last listed are not certain: memory that is unreadable or
        contradicts the runtime's rules, or other threads that run meanwhile."""
        self._life = found.life
        self._target, self._native = found.open()

    def __repr__(self) -> str:
        return f"<gomapscope.Map {self.type} at {self.address:#x}>"

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[NativeMap]:
        """The map, to be read once; what fails as the process is gone says so."""
        from . import _native, session

        if self._life is not None:
            session.require(self._life)
        # In a breakpoint's condition gdb reports no stop that would empty the cache; nor does
        # it where the last of several threads stops.
        motion = session.motion()
        if motion != "stopped" or self._target.motion != "stopped":
            self._target.invalidate(motion)
        try:
            yield self._native
        except _native.Error:
            if self._life is not None:
                session.require(self._life)
            raise

    def _note(self, first: int, flaw: Optional[str]) -> None:
        # What one page lacks is not mended by the next.
        self.flaw = flaw if first == 0 else self.flaw or flaw

    @property
    def address(self) -> int:
        """The map header; 0 for a nil map."""
        return self._native.address

    @property
    def type(self) -> str:
        """The type, as Go writes it."""
        return self._native.type_name

    @property
    def family(self) -> str:
        """``swiss`` or ``classic``."""
        return self._native.family

    def native_types(self) -> tuple[str, str]:
        """The DWARF names of the key and the elem type."""
        return self._native.dwarf_key_type, self._native.dwarf_elem_type

    @translated
    def __len__(self) -> int:
        """What Go's ``len`` returns; reads the header only."""
        with self._fresh() as found:
            return int(found.len)

    def __bool__(self) -> bool:
        """Always true: an empty map is a map."""
        return True

    @translated
    def stats(self) -> Stats:
        """Walk the map and count."""
        with self._fresh() as found:
            return Stats(json.loads(found.stats_json()))

    def buckets(self) -> Iterator[Bucket]:
        """All buckets or groups in the order of the walk, old ones during growth included."""
        return _paged(self._bucket_page)

    @translated
    def _bucket_page(self, first: int, limit: int) -> list[Bucket]:
        with self._fresh() as found:
            text, flaw = found.buckets_json(first, limit)
        self._note(first, flaw)
        return [
            Bucket(
                row["index"],
                int(row["address"], 16),
                row["kind"],
                row["marks"],
                row["live"],
                row["tombstones"],
                row.get("table"),
                row.get("parent"),
            )
            for row in json.loads(text)
        ]

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the walk (which is not that of Go's ``range``)."""
        return _paged(self._entry_page)

    @translated
    def _entry_page(self, first: int, limit: int) -> list[Entry]:
        with self._fresh() as found:
            rows, flaw = found.entries(first, limit)
        self._note(first, flaw)
        return [Entry(key, elem, at, elem_at) for key, elem, at, elem_at in rows]


def _paged(page: Callable[[int, int], list[_T]]) -> Iterator[_T]:
    first, limit = 0, _FIRST_PAGE
    while True:
        found = page(first, limit)
        yield from found
        if len(found) < limit:
            return
        first += limit
        limit = min(4 * limit, _LAST_PAGE)


def _shown(value: gdb.Value) -> str:
    """A name for a value that came without its expression."""
    try:
        return f"({value.type.name or value.type}) {int(value):#x}"
    except Exception:  # an interface or a structure has no number
        return f"a {value.type.name or value.type}"
