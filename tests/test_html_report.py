"""The HTML report of a real process: whole, alone, and with what the program says itself."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional

import pytest

import gdbtool
import toolchains
from gdbtool import Session

CHANGES = Path(__file__).parent / "go" / "changes"
#: One of each family of maps.
LABELS = ("1.23.9", "1.27.3")
NAMES = ("main.grown", "main.filled", "main.emptied", "main.steady")
VOID = {"meta", "input", "br", "link", "img", "base", "hr"}


class Page(HTMLParser):
    """What a browser would see: elements, and the texts of those that hold one."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> in {self.open}"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data

    @property
    def data(self) -> Any:
        """What the page's script reads."""
        (text,) = (
            text
            for (tag, attrs), text in zip(
                [one for one in self.tags if one[0] == "script"], self.texts["script"]
            )
            if attrs.get("id") == "data"
        )
        return json.loads(text)


@pytest.fixture(scope="module", params=LABELS)
def report(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, dict[str, Any]]]:
    program = toolchains.build(CHANGES, request.param)
    folder = tmp_path_factory.mktemp("report")
    truth = folder / "truth.jsonl"
    start = [f"file {program}", "tbreak main.first", f"run {truth} > /dev/null"]
    with Session(start) as session:
        session.text(f"go-map-trace start main.grown -o {folder}/events.jsonl")
        session.text("tbreak main.second")
        session.text("continue")
        assert session.python("gdb.newest_frame().name()") == "main.second"
        session.text("go-map-trace stop")
        session.text(f"go-map-snapshot {' '.join(NAMES)} -o {folder}/after.json -buckets")
        session.text("kill")
    command = [
        "timeline",
        "-o",
        folder / "report.html",
        folder / "events.jsonl",
        folder / "after.json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "gomapscope", *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(gdbtool.ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = gdbtool.read_truth(truth)
    page = (folder / "report.html").read_text(encoding="utf-8")
    return page, {row["name"]: row for row in rows if row["stop"] == 2}


def test_the_page_stands_alone(report: tuple[str, dict[str, dict[str, Any]]]) -> None:
    text, _ = report
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        loads = attributes.keys() & {"src", "srcset", "action", "formaction", "style", "background"}
        handlers = {name for name in attributes if name.startswith("on")}
        assert not loads | handlers, (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "http:" not in text.replace("http://www.w3.org/", "").split("<script>")[0]
    assert "@import" not in text
    assert "url(" not in text
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag, text in (("script", page.texts["script"][-1]), ("style", page.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_page_tells_what_the_program_did(
    report: tuple[str, dict[str, dict[str, Any]]],
) -> None:
    text, truth = report
    data = Page(text).data
    assert data["schema"] == "gomapscope.page/1"
    maps = {data["strings"][row["name"]]: row for row in data["maps"] if row["name"] is not None}
    assert set(NAMES) <= set(maps)
    for name in NAMES:
        row, said = maps[name], truth[name]
        assert (row["address"], row["len"]) == (said["address"], said["len"]), name
        heat = row["heat"]
        # Live slots are entries, however buckets are joined to cells.
        assert heat["live"] == sum(live for _, live in heat["cells"]) == said["len"], name
        assert heat["buckets"] == sum(count for count, _ in heat["cells"])
        by_live = heat["distribution"]
        assert sum(by_live) == heat["buckets"]
        assert sum(live * count for live, count in enumerate(by_live)) == said["len"], name
        assert row["blocks"]["bytes"] <= row["allocated"]
        assert row["blocks"]["overlap"] == 0
    growths = [
        row
        for row in data["instants"]["kept"]
        if row[3] is not None and data["maps"][row[3]] == maps["main.grown"]
    ]
    assert growths
    assert all(0 <= row[0] <= data["length"] for row in growths)
    assert maps["main.grown"]["growths"] > 0
    assert sorted(source["kind"] for source in data["sources"]) == ["events", "snapshot"]
    assert not any(source["refused"] for source in data["sources"])
