"""See inside Go maps, from gdb.

Inside gdb, after ``source gdb-scripts/gomapscope.py``::

    import gdb
    import gomapscope

    cache = gomapscope.Map(gdb.parse_and_eval("main.cache"))
    if cache.stats().empty_density > 0.2:
        for bucket in cache.buckets():
            print(hex(bucket.address), bucket.marks)

Outside gdb the package imports too; only what needs a program being debugged raises
:class:`Error`.
"""

from __future__ import annotations

from ._definitions import VERSION as __version__
from .api import (
    Bucket,
    Diff,
    Entry,
    Event,
    FoundMap,
    FoundMaps,
    Frame,
    Map,
    MapChange,
    MapCrash,
    MapOperation,
    MapWriters,
    Saved,
    Stats,
    diff,
    scan,
    snapshot,
    trace,
    writers,
)
from .errors import Error

__all__ = [
    "Bucket",
    "Diff",
    "Entry",
    "Error",
    "Event",
    "FoundMap",
    "FoundMaps",
    "Frame",
    "Map",
    "MapChange",
    "MapCrash",
    "MapOperation",
    "MapWriters",
    "Saved",
    "Stats",
    "__version__",
    "diff",
    "scan",
    "snapshot",
    "trace",
    "writers",
]
