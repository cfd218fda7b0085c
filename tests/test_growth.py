"""When go-map-stats says a map grows next, against when the Go program saw it grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains
from gdbtool import Session

LABELS = [build.label for build in toolchains.BUILDS]
GROWTH = Path(__file__).parent / "go" / "growth"


def kinds(found: dict[str, Any], inserts: int) -> set[str]:
    """The growths that may follow what was said."""
    kind = found["kind"]
    if kind == "in-progress":
        return {"double", "same-size"}
    if kind == "double" and inserts < found["at_most"]:
        # Before the buckets are full, only too long chains make a map grow.
        return {"same-size"}
    if kind.startswith("table-") and found["fits"] < found["at_most"]:
        # Another table than the nearest may come first, and be smaller or larger.
        return {"table-double", "table-split"}
    return {kind}


@pytest.mark.parametrize("label", LABELS)
def test_growth(label: str, tmp_path: Path) -> None:
    program = toolchains.build(GROWTH, label)
    path = tmp_path / "truth.jsonl"
    before = [f"file {program}", "break main.waiting", f"run {path} > /dev/null"]
    with Session(before) as session:
        listed = gdbtool.read_truth(path)
        said = [
            session.json(f"go-map-stats -json {row['address']} -type '{row['type']}'")
            for row in listed
        ]
        # A signal that arrives while gdb steps over the breakpoint brings the program back to it.
        session.text("delete")
        session.text("continue")
    grown = gdbtool.read_truth(Path(f"{path}.after"))
    assert len(listed) == len(grown) == len(said) > 30
    seen = {truth["kind"] for truth in grown}
    if said[0]["family"] == "classic":
        assert seen == {"allocate", "double", "same-size"}
        assert seen | {"in-progress"} == {document["next_growth"]["kind"] for document in said}
    else:
        assert seen == {"allocate", "to-table", "table-double", "table-split"}
    wrong = []
    for row, document, truth in zip(listed, said, grown):
        assert row["address"] == truth["address"] == document["address"]
        found, inserts, kind = document["next_growth"], truth["inserts"], truth["kind"]
        name = f"{row['type']} ({row['note']}): {kind} after {inserts}"
        if row["growing"] != (found["kind"] == "in-progress"):
            wrong.append(f"{name}: growing is {row['growing']}, not {found}")
        if not found["fits"] <= inserts <= found["at_most"]:
            wrong.append(f"{name}: outside of {found}")
        if kind not in kinds(found, inserts):
            wrong.append(f"{name}: not a {found['kind']}: {found}")
    assert not wrong, f"{len(wrong)} of {len(said)} differ:\n" + "\n".join(wrong)
