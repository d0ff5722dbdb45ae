"""A line that becomes slow and recovers: the viewer behind it gets other layers, and nobody else does."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.e2e.browsers import LAYERS, MAKES, Make, stage
from tests.e2e.falling_line import Viewers
from tests.e2e.pictures import hold_heights, until_sent
from tests.peers.impaired_line import Impairment

FIGURES = logging.getLogger(__name__)
"""What was measured; pytest shows it with `--log-cli-level=INFO`."""

WITHIN_S = 25.0
"""For each step. `make bench-line` measures how soon it comes, and for how long the picture stands still."""
STILL_MS = 5_000.0

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
        viewers = await Viewers.meet(house)
        fall = await viewers.fall(within_s=WITHIN_S)
        FIGURES.info(str(fall))
        assert fall.freeze_ms < STILL_MS, fall


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
