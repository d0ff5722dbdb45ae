"""A line that becomes slow and recovers: the viewer behind it gets other layers, and nobody else does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.browsers import LAYERS, MAKES, Make, stage
from tests.e2e.pictures import hold_heights, seen_height, stood_still_ms, until_height, until_sent, watch
from tests.peers.impaired_line import Impairment

FIGURES = logging.getLogger(__name__)
"""What was measured; pytest shows it with `--log-cli-level=INFO`."""

SLOW = Impairment(rate_bps=600_000, delay_ms=20)
"""A mobile line: less than the top layer needs, and enough for the middle one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Until a lower layer is seen, without a new picture at most, and until the top layer is back."""

    fall_s: float
    freeze_ms: float
    back_s: float


AIMS = Bounds(3.0, 1_000.0, 10.0)
BUSY = Bounds(10.0, 2_500.0, 25.0)
"""Where the viewer on the good line saw its picture stand still, too: then the machine did, not the line, and what is
left to see is that the viewer on the slow line falls and comes back."""
BUSY_MS = 400.0

LINES: dict[Make, tuple[Impairment, Impairment]] = {
    "chromium": (Impairment(rate_bps=1_000_000, delay_ms=20), Impairment(rate_bps=350_000, delay_ms=20)),
    "firefox": (Impairment(rate_bps=600_000, delay_ms=20), Impairment(rate_bps=220_000, delay_ms=20)),
}
"""For the middle layer, and for the lowest one."""


@pytest.mark.e2e
@pytest.mark.timeout(150)  # the first use compiles the relay
@pytest.mark.parametrize("make", MAKES)
async def test_a_slow_line_gets_a_lower_layer_and_the_top_one_when_it_recovers(tmp_path: Path, make: Make) -> None:
    async with stage(make, tmp_path) as house:
        line = await house.line()
        publisher = await house.publish(**LAYERS[make])
        free, bound = await house.view(), await house.view(line)
        top = (await until_sent(publisher, 3))[-1]
        await asyncio.gather(*(until_height(lambda height: height == top, page, 30) for page in (free, bound)))
        await asyncio.gather(watch(free), watch(bound))
        await line.set(down=SLOW)
        fell = await until_height(lambda height: height < top, bound, 10)
        await asyncio.sleep(8)
        stood = await stood_still_ms(bound)
        low = await seen_height(bound)
        await until_height(lambda height: height == top, free, 5)  # That line is as good as it was.
        await line.set(down=Impairment())
        back = await until_height(lambda height: height == top, bound, BUSY.back_s)
        busy = await stood_still_ms(free)
        FIGURES.info(
            f"fell after {fell:.1f} s to {low} lines, stood still {stood:.0f} ms at most (the other one {busy:.0f} ms), "
            f"back after {back:.1f} s"
        )
        bounds = AIMS if busy < BUSY_MS else BUSY
        assert (fell <= bounds.fall_s, stood <= bounds.freeze_ms, back <= bounds.back_s) == (True, True, True), (
            fell,
            stood,
            back,
            bounds,
        )


@pytest.mark.e2e
@pytest.mark.timeout(150)
@pytest.mark.parametrize("make", MAKES)
async def test_two_viewers_with_two_lines_see_two_layers_at_the_same_time(tmp_path: Path, make: Make) -> None:
    async with stage(make, tmp_path) as house:
        lines = [await house.line(), await house.line()]
        publisher = await house.publish(**LAYERS[make])
        viewers = [await house.view(line) for line in lines]
        low, middle, _ = await until_sent(publisher, 3)
        for line, shape in zip(lines, LINES[make], strict=True):
            await line.set(down=shape)
        await hold_heights(viewers, (middle, low), within_s=45)
