"""What ``make bench`` writes into the README (``tests/bench/bench.py``)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))

import bench

ROOT = Path(__file__).resolve().parent.parent


def row(name: str, size: int, peer: str, theirs: float | None, **more: Any) -> bench.Row:
    """One row of ours that took a second."""
    ratio = None if theirs is None else 1 / theirs
    found = {"name": name, "size": size, "ours_s": 1.0, "peer": peer, "peer_s": theirs}
    return {**found, "ratio": ratio, "peak_bytes": None, **more}


STATS = "go-map-stats, live, swiss go1.27.3 map[int64]int64"
OLD = "go-map-stats, live, classic go1.23.9 map[string]int64"
READ = "gdb reads it in 1 MiB blocks"
ROWS = [
    row("first command of a session, swiss go1.27.3", 1_000, "", None),
    row(OLD, 1_000, READ, 0.1),
    row(OLD, 100_000, READ, 0.5, peak_bytes=7 << 20),
    row(STATS, 1_000, READ, 0.1),
    row(STATS, 10_000_000, READ, 0.8, peak_bytes=5 << 20),
    row(STATS, 1_000, "gdb.Value a bucket: all 256", 2.0),
    row(STATS, 10_000_000, "gdb.Value a bucket: 20,000 of 2,097,152, scaled", 100.0),
    row("a lookup, flight recorder (ring), 1.27.3", 1, "the same program without it", 0.99),
    row("swiss walk in memory, ordered", 1_000, "memcpy of the same bytes", 0.2),
]


def test_the_table_has_the_largest_size_of_what_tells_most() -> None:
    lines = bench.readme(ROWS).splitlines()
    assert lines[2:] == [
        f"| go-map-stats, live | 10,000,000 | {READ}: the limit of a command in gdb "
        "| classic go1.23.9 map[string]int64 2.00, swiss go1.27.3 map[int64]int64 1.25 | 7.0 MiB |",
        "| go-map-stats, live | 10,000,000 | gdb.Value a bucket "
        "| swiss go1.27.3 map[int64]int64 1/100 |  |",
        "| a lookup, flight recorder (ring) |  | the same program without it: "
        "what recording costs | 1.27.3 1.01 |  |",
    ]


def test_the_readme_has_a_place_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    # What stands there was written by it.
    head = bench.readme(ROWS).splitlines()[:2]
    assert "\n".join(head) in readme.partition(bench.BEGIN)[2].partition(bench.END)[0]
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    bench.write_readme(ROWS)
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert bench.readme(ROWS) in written
    outside = re.compile(f"{bench.BEGIN}.*{bench.END}", re.S)
    assert outside.sub("", written) == outside.sub("", readme)
    # A second time it replaces what the first has written.
    bench.write_readme(ROWS)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == written
