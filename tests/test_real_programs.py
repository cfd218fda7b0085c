"""go-map-scan on cores of programs that do not know of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import real_programs
import scantool

#: What each makes at the very least for what it was given to do.
LEAST = {"compile": 1000, "go": 100, "nats-server": 1000, "shfmt": 5}


@pytest.mark.parametrize("name", real_programs.PROGRAMS)
def test_scan(name: str, tmp_path: Path) -> None:
    found = real_programs.PROGRAMS[name](tmp_path)
    document = scantool.scan_core(found.core, found.program)
    assert document["schema"] == scantool.SCHEMA
    assert document["defects"] == []
    wrong = scantool.wrong_totals(document)
    assert not wrong, "\n".join(wrong)
    totals = document["totals"]
    assert totals["maps"] >= LEAST[name.split()[0]]
    assert totals["live"] > 0
    assert 0 < totals["allocated"] <= real_programs.writable_bytes(found.core)
