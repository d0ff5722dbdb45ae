"""The line of one of two viewers becomes slow and recovers: what both see of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.e2e.browsers import LAYERS, Stage
from tests.e2e.pictures import seen_height, stood_still_ms, until_height, until_sent, watch
from tests.e2e.rooms import Page
from tests.peers.impaired_line import CLEAR, ImpairedLine, Impairment

SLOW = Impairment(rate_bps=600_000, delay_ms=20)
"""A mobile line: less than the top layer needs, and enough for the middle one."""
SLOW_FOR_S = 8.0
"""How long it is watched after the viewer fell."""


@dataclass(frozen=True, slots=True)
class Fall:
    """Until a lower layer was seen, the longest time without a new picture until then and for 8 s after it, and until
    the top layer was back."""

    fall_s: float
    freeze_ms: float
    back_s: float
    low: int
    """Lines of the picture on the slow line."""
    beside_ms: float
    """The longest time without a new picture of the viewer whose line was good: more is not the line's fault."""

    def __str__(self) -> str:
        return (
            f"fell after {self.fall_s:.1f} s to {self.low} lines, stood still {self.freeze_ms:.0f} ms at most "
            f"(the other one {self.beside_ms:.0f} ms), back after {self.back_s:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Viewers:
    """A publisher of three layers, and two viewers who see the largest."""

    free: Page
    bound: Page
    line: ImpairedLine
    """Of the bound one."""
    top: int

    @classmethod
    async def meet(cls, house: Stage) -> Viewers:
        line = await house.line()
        publisher = await house.publish(**LAYERS[house.make])
        viewers = cls(await house.view(), await house.view(line), line, (await until_sent(publisher, 3))[-1])
        await viewers.see_all(30)
        return viewers

    async def see_all(self, within_s: float) -> None:
        """Wait until both see the largest layer."""
        pages = (self.free, self.bound)
        await asyncio.gather(*(until_height(lambda height: height == self.top, page, within_s) for page in pages))

    async def fall(self, *, within_s: float) -> Fall:
        """Make the line slow and good again. Fails when a step takes longer than ``within_s``."""
        await asyncio.gather(watch(self.free), watch(self.bound))
        await self.line.set(down=SLOW)
        fall_s = await until_height(lambda height: height < self.top, self.bound, within_s)
        await asyncio.sleep(SLOW_FOR_S)
        freeze_ms, low = await stood_still_ms(self.bound), await seen_height(self.bound)
        await until_height(lambda height: height == self.top, self.free, within_s)  # That line is as good as it was.
        await self.line.set(down=CLEAR)
        back_s = await until_height(lambda height: height == self.top, self.bound, within_s)
        return Fall(fall_s, freeze_ms, back_s, low, await stood_still_ms(self.free))
