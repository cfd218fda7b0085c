"""The decoders' instruction counts do not grow unnoticed (``tests/bench/instructions.py``)."""

from __future__ import annotations

import platform
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))

import instructions


# The library may have to be compiled first.
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="instructions are counted of x86_64 code"
)
def test_decoders_take_no_more_instructions_than_noted() -> None:
    found = instructions.verdicts()
    for verdict in found:
        print(verdict.text)
        if not verdict.wrong and "A gain" in verdict.text:
            warnings.warn(verdict.text, stacklevel=1)
    wrong = [verdict.text for verdict in found if verdict.wrong]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("now", "then", "noted_of", "wrong", "says"),
    [
        (104, 100, "1.95", False, "(+4.0%)"),
        (106, 100, "1.95", True, "say why in the commit"),
        (94, 100, "1.95", False, "A gain"),
        (124, 100, "1.90", False, "noted of rustc 1.90 and this is 1.95"),
        (126, 100, "1.90", True, "say why in the commit"),
        (1, None, "1.95", True, "none noted"),
    ],
)
def test_growth_beyond_the_slack_is_refused(
    now: float, then: float | None, noted_of: str, wrong: bool, says: str
) -> None:
    verdict = instructions.compare("swiss count", now, then, "1.95", noted_of)
    assert verdict.wrong == wrong, verdict
    assert says in verdict.text
