"""Timelines: files alone, or in gdb with the present of the process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from . import _native

COMMAND = "go-map-timeline"


def of_files(
    request: _native.Request,
    style: _native.Style,
    progress: Callable[[str], None],
    write: Callable[[str], object],
) -> None:
    """Answer ``gomapscope timeline``: what stands alone names a file."""
    from . import _native

    _native.timeline_ready(request)
    _native.answer_timeline(request, style, progress, write, plain=True)


def in_gdb(
    request: _native.Request,
    style: _native.Style,
    progress: Callable[[str], None],
    write: Callable[[str], object],
) -> None:
    """Answer ``go-map-timeline``: the maps as they are, what was recorded, and files."""
    from . import _native, snapshots, tracing

    _native.timeline_ready(request)
    target, present = snapshots.now(request)
    named = [os.path.realpath(path) for path in request.event_files]
    events = [(path, path) for path in tracing.files() if os.path.realpath(path) not in named]
    descriptor, ring = tempfile.mkstemp(suffix=".jsonl")
    os.close(descriptor)
    try:
        if _ring(target, ring, style, snapshots.local_pid()):
            events.append((ring, "the flight recorder"))
        _native.answer_timeline(request, style, progress, write, present=present, events=events)
    finally:
        os.unlink(ring)


def _ring(target: _native.Target, path: str, style: _native.Style, pid: Optional[int]) -> bool:
    """Write what a flight recorder kept, if there is one."""
    from . import _native

    if not target.has_ring:
        return False
    request = _native.parse("go-map-ring", f"-force -limit 1 -o {path}")
    target.ring(request, None, style, lambda _text: None, pid)
    return True
