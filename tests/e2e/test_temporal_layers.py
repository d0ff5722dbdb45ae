"""A picture of one size with temporal layers: who has less of a line sees fewer frames a second instead of none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.browsers import stage
from tests.e2e.members import until
from tests.e2e.pictures import frames_per_s, sent_frames_per_s, stood_still_ms, until_height, watch
from tests.e2e.rooms import Page
from tests.peers.impaired_line import Impairment

SENT_BYTES = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.kind === "video").map((item) => item.bytesSent)[0] ?? 0"""
RATE_BPS = 800_000
"""What the publisher may send, and soon does: a rate that still rises would be no measure for the line."""
SHARE = 0.75
"""Of what is sent; two of its three layers cost about 0.6."""
STILL_MS = 3_000.0


async def sends_bps(page: Page, seconds: float) -> float:
    """The rate of a publisher's picture."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), await page.evaluate(SENT_BYTES)
    await asyncio.sleep(seconds)
    rate: float = 8 * (await page.evaluate(SENT_BYTES) - before) / (loop.time() - began)
    return rate


async def sends_what_it_may(page: Page) -> bool:
    return await sends_bps(page, 2) > 0.85 * RATE_BPS


async def until_share(fits: Callable[[float], bool], page: Page, publisher: Page, within_s: float = 60.0) -> None:
    """Wait until the share of the frames sent that a viewer decodes is as it should be, for two seconds on end.

    A share, because a busy machine encodes fewer than thirty a second.
    """

    async def share() -> float:
        seen, sent = await asyncio.gather(frames_per_s(page, seconds=2), sent_frames_per_s(publisher, seconds=2))
        return seen / sent if sent else 0.0

    async def met() -> bool:
        return fits(await share())

    await until(met, share, within_s)


def is_whole(share: float) -> bool:
    return share > 0.85


def is_fewer(share: float) -> bool:
    """One of four frames is of the lowest layer, two are of the lower two."""
    return 0.15 < share < 0.75


@pytest.mark.e2e
@pytest.mark.timeout(600)  # the first use compiles the relay
async def test_a_slow_line_gets_fewer_frames_of_a_picture_with_temporal_layers(tmp_path: Path) -> None:
    async with stage("chromium", tmp_path) as house:
        line = await house.line()
        publisher = await house.publish(scalability="L1T3", size=(640, 360), painted=True, rates=[RATE_BPS])
        free, bound = await house.view(), await house.view(line)
        await asyncio.gather(*(until_height(lambda height: height > 0, page, 40) for page in (free, bound)))
        await asyncio.gather(*(until_share(is_whole, page, publisher) for page in (free, bound)))
        await until(lambda: sends_what_it_may(publisher), lambda: sends_bps(publisher, 1), 60.0)
        await line.set(down=Impairment(rate_bps=int(SHARE * await sends_bps(publisher, 3)), delay_ms=20))
        await until_share(is_fewer, bound, publisher)
        await asyncio.gather(watch(free), watch(bound))
        await asyncio.gather(until_share(is_whole, free, publisher), until_share(is_fewer, bound, publisher))
        stood, busy = await stood_still_ms(bound), await stood_still_ms(free)
        assert stood < STILL_MS + busy
        await line.set(down=Impairment())
        await until_share(is_whole, bound, publisher)
