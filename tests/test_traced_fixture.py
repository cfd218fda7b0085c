"""What the program for tracing says of its own growths must hold together, on every release."""

from __future__ import annotations

import collections
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gdbtool
import toolchains

LABELS = [build.label for build in toolchains.BUILDS]
TRACED = Path(__file__).parent / "go" / "traced"
SUCCEEDED = 7
WORK = ("-goroutines", "3", "-inserts", "60000", "-deletes", "30000", "-seed", "9")


def run(label: str, *arguments: str, status: int = SUCCEEDED) -> list[str]:
    """The lines that a run prints which ends so."""
    done = subprocess.run(
        [toolchains.build(TRACED, label), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=gdbtool.TIMEOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return done.stdout.splitlines()


def facts_of(label: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """The facts of a run."""
    path = folder / "facts.json"
    last = run(label, *arguments, "-facts", str(path))[-1]
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert facts["schema"] == "traced/1"
    assert last == f"checksum {facts['checksum']}"
    return facts


def check_classic(about: dict[str, Any], growths: list[dict[str, Any]]) -> None:
    """Each growth begins with the array that the one before made."""
    bits, buckets = about["start"]["B"], about["start"]["buckets"]
    for growth in growths:
        assert (growth["old_B"], growth["old_buckets"]) == (bits, buckets)
        bits, buckets = growth["new_B"], growth["new_buckets"]
        assert buckets not in ("0x0", growth["old_buckets"])
        more = growth["new_B"] - growth["old_B"]
        if growth["kind"] == "double":
            assert more == 1
            assert growth["len"] + 1 > max(8, 6 * 2 ** growth["old_B"])
        else:
            assert more == 0
        if growth["kind"] == "same-size":
            assert growth["overflow"] >= 2 ** growth["old_B"]
        if growth["kind"] == "allocate":
            assert growth["len"] == growth["overflow"] == 0
            assert growth["old_buckets"] == "0x0"
    assert (bits, buckets) == (about["end"]["B"], about["end"]["buckets"])


def check_swiss(about: dict[str, Any], growths: list[dict[str, Any]]) -> None:
    """Each growth replaces a table that is there, and the tables left are those at the end."""
    tables: dict[str, int] = {}
    hinted, end = about["hint"] > 8, about["end"]
    directory = about["start"]["dir_len"]
    for growth in growths:
        kind, old, new = growth["kind"], growth["old_tables"], growth["new_tables"]
        if kind == "directory-double":
            assert growth["new_dir_len"] == 2 * growth["old_dir_len"] == 2 * directory
            directory = growth["new_dir_len"]
            continue
        for table in old or ():
            assert hinted or tables.pop(table) == growth["old_capacity"]
        for table in new or ():
            tables[table] = growth["new_capacity"]
        sizes = (growth["old_capacity"], growth["new_capacity"])
        addresses = set(growth["old_groups"] or ()) | set(growth["new_groups"])
        assert "0x0" not in addresses
        assert len(addresses) == len(growth["old_groups"] or ()) + len(growth["new_groups"])
        if kind == "allocate":
            assert (sizes, growth["len"], new) == ((0, 8), 0, None)
        elif kind == "to-table":
            assert (sizes, growth["len"], len(new)) == ((8, 16), 8, 1)
            directory = 1
        elif kind == "table-double":
            assert 2 * sizes[0] == sizes[1] <= 1024
            assert (len(old), len(new)) == (1, 1)
        else:
            assert (kind, sizes, len(old), len(new)) == ("table-split", (1024, 1024), 1, 2)
    assert directory == end["dir_len"]
    if not hinted and tables:
        assert (len(tables), sum(tables.values())) == (end["tables"], end["capacity"])


@pytest.mark.parametrize("label", LABELS)
def test_facts(label: str, tmp_path: Path) -> None:
    facts = facts_of(label, tmp_path, *WORK)
    classic = facts["family"] == "classic"
    maps = facts["maps"]
    assert len(maps) == 3 * 7
    assert len({about["header"] for about in maps}) == len(maps)
    assert sum(about["assigns"] for about in maps) == 60000
    assert sum(about["deletes"] for about in maps) == 30000
    assert sum(about["clears"] for about in maps) == facts["calls"]["runtime.mapclear"] > 0
    for variant in ("", "_fast32", "_fast64", "_fast64ptr", "_faststr"):
        assert facts["calls"][f"runtime.mapassign{variant}"] > 1000
    goids = [found["goid"] for found in facts["goroutines"]]
    assert len(set(goids)) == len(goids) == 3

    kinds: collections.Counter[str] = collections.Counter()
    by_map = collections.defaultdict(list)
    for growth in facts["growths"]:
        kinds[growth["kind"]] += 1
        by_map[growth["map"]].append(growth)
        assert growth["goid"] == goids[growth["goroutine"]]
        functions = [frame["function"] for frame in facts["stacks"][growth["stack"]]]
        assert functions[0] == "main.(*owner[...]).write"
        assert "main.(*goroutine).run" in functions
    if classic:
        assert set(kinds) == {"allocate", "double", "same-size"}
        assert kinds["same-size"] >= 3
    else:
        assert set(kinds) == {
            *("allocate", "to-table", "table-double", "table-split", "directory-double")
        }
        assert kinds["allocate"] == kinds["to-table"]
    for about in maps:
        growths = by_map[about["id"]]
        assert [growth["seq"] for growth in growths] == [*range(1, about["growths"] + 1)]
        assert {growth["header"] for growth in growths} <= {about["header"]}
        times = [growth["t_mono_ns"] for growth in growths]
        assert times == sorted(times)
        (check_classic if classic else check_swiss)(about, growths)


def test_checksum_follows_from_the_seed_alone(tmp_path: Path) -> None:
    found = collections.defaultdict(set)
    for label in LABELS:
        found["work"].add(run(label, *WORK)[-1])
        found["recorded"].add("checksum " + facts_of(label, tmp_path, *WORK)["checksum"])
        found["shared"].add(run(label, *WORK, "-shared")[-1])
        found["other seed"].add(run(label, *WORK, "-seed", "10")[-1])
    assert {len(sums) for sums in found.values()} == {1}, found
    assert found["work"] == found["recorded"]
    assert len(set.union(*found.values())) == 3


@pytest.mark.parametrize("label", ["1.23.9", "1.27.3"])
def test_modes(label: str, tmp_path: Path) -> None:
    plain = run(label, *WORK)
    assert re.fullmatch(r"checksum 0x[0-9a-f]+", plain[-1])
    forked = run(label, *WORK, "-mode", "fork")
    assert re.match(r"child \d+: checksum 0x", forked[0])
    assert forked[-1:] == plain == run(label, *WORK, "-mode", "exec")
    run(label, *WORK, "-mode", "crash", status=2)
    run(label, *WORK, "-mode", "unknown", status=2)
    for mode in ("insert", "lookup"):
        shown = run(label, "-mode", mode, "-inserts", "5000", "-kind", "string")
        assert re.match(rf"{mode} kind string n \d+ ns_per_op \d+\.\d\d total_ns \d+$", shown[-2])
    assert run(label, *WORK, "-kind", "set") != plain
    shared = facts_of(label, tmp_path, *WORK, "-shared")
    assert len(shared["maps"]) == 7
    assert {growth["goroutine"] for growth in shared["growths"]} <= {0, 1, 2}


def test_waits() -> None:
    command = [toolchains.build(TRACED, "1.27.3"), *WORK, "-wait", "2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in ("ready", "done"):
            assert process.stdout.readline() == f"{word} pid {process.pid}\n"
            assert process.poll() is None
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline().startswith("checksum 0x")
        assert process.wait(gdbtool.TIMEOUT) == SUCCEEDED
