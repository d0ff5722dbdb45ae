"""A line that becomes slow and recovers under a viewer in a real browser, while another one has a good line.

A page publishes three VP8 layers; the viewer's line falls to 600 kbit/s with a queue of 300 ms, and recovers. Daemon,
relay, publisher and both viewers share the machine: the picture beside says how much of a freeze is the machine's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Report, median
from tests.e2e.browsers import MAKES, Make, stage
from tests.e2e.falling_line import Fall, Viewers

FALLS = 9
FALL_S = 3.0
FREEZE_MS = 1_000.0
BACK_S = 10.0
"""The aims. The median is held against them; the range is printed beside it."""
WITHIN_S = 60.0


async def measure(report: Report, falls: int = FALLS) -> None:
    """Add what each browser saw, the median of so many falls; each begins with a browser and a daemon of its own."""
    for make in MAKES:
        seen = [await _fall(make) for _ in range(falls)]
        report.details[f"line_{make}"] = [str(fall) for fall in seen]
        _add(report, make, seen)


async def _fall(make: Make) -> Fall:
    with tempfile.TemporaryDirectory(prefix="line-") as directory:
        async with stage(make, Path(directory)) as house:
            viewers = await Viewers.meet(house)
            return await viewers.fall(within_s=WITHIN_S)


def _add(report: Report, make: Make, falls: Sequence[Fall]) -> None:
    freezes = [fall.freeze_ms for fall in falls]
    missed = sum(freeze > FREEZE_MS for freeze in freezes)
    report.add(
        median(f"line_fall_s_{make}", [fall.fall_s for fall in falls], "s", bound=FALL_S, note="until a lower layer"),
        median(
            f"line_freeze_ms_{make}",
            freezes,
            "ms",
            bound=FREEZE_MS,
            note=f"longest time without a new picture; {missed} of {len(freezes)} above the aim",
        ),
        median(f"line_back_s_{make}", [fall.back_s for fall in falls], "s", bound=BACK_S, note="until the top layer"),
        median(f"line_beside_ms_{make}", [fall.beside_ms for fall in falls], "ms", note="the viewer on the good line"),
    )
