"""Pictures of a room as pages send and see them: how large, and how long they stood still. For Chromium and Firefox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tests.e2e.members import until
from tests.e2e.rooms import Page

SENT = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.kind === "video" && item.framesPerSecond > 0)
    .map((item) => item.frameHeight).sort((a, b) => a - b)"""
SEEN = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "inbound-rtp" && item.kind === "video").map((item) => item.frameHeight || 0)[0] ?? 0"""
FRAMES = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "inbound-rtp" && item.kind === "video")
    .map((item) => [item.framesDecoded, item.timestamp])[0]"""
ENCODED = """async () => [...(await pc.getStats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.kind === "video")
    .map((item) => [item.framesEncoded, item.timestamp])[0]"""
WATCH = """() => {
    const video = document.querySelector("video");
    let last = performance.now();
    globalThis.longest = 0;
    const frame = () => {
        const now = performance.now();
        globalThis.longest = Math.max(globalThis.longest, now - last);
        last = now;
        video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
}"""
"""Measures from now on how long a picture stood still at most, in milliseconds."""
LONGEST = "() => globalThis.longest"


async def sent_heights(page: Page) -> list[int]:
    """Lines of every layer that a publisher sends, the smallest first."""
    heights: list[int] = await page.evaluate(SENT)
    return heights


async def seen_height(page: Page) -> int:
    """Lines of what a viewer has decoded last; 0 before the first picture."""
    height: int = await page.evaluate(SEEN)
    return height


async def frames_per_s(page: Page, *, seconds: float) -> float:
    """Pictures that a viewer decodes in each of the next ``seconds``."""
    return await _rate(page, FRAMES, seconds)


async def sent_frames_per_s(page: Page, *, seconds: float) -> float:
    """Pictures that a publisher of one layer encodes in each of the next ``seconds``."""
    return await _rate(page, ENCODED, seconds)


async def _rate(page: Page, script: str, seconds: float) -> float:
    frames, at_ms = await page.evaluate(script)
    await asyncio.sleep(seconds)
    later, later_ms = await page.evaluate(script)
    rate: float = 1000 * (later - frames) / (later_ms - at_ms)
    return rate


async def watch(page: Page) -> None:
    """Begin to measure how long a viewer's picture stands still."""
    await page.evaluate(WATCH)


async def stood_still_ms(page: Page) -> float:
    """The longest time since :func:`watch` without a new picture."""
    longest: float = await page.evaluate(LONGEST)
    return longest


async def until_height(condition: Callable[[int], bool], page: Page, within_s: float) -> float:
    """Seconds until the height of a viewer's picture meets the condition."""

    async def met() -> bool:
        return condition(await seen_height(page))

    return await until(met, lambda: seen_height(page), within_s)


async def hold_heights(pages: Sequence[Page], heights: Sequence[int], *, within_s: float, for_s: float = 3.0) -> None:
    """Wait until each viewer sees a picture of its height, all at the same time, and goes on doing so for a while."""
    loop = asyncio.get_running_loop()
    deadline, since = loop.time() + within_s, None
    while True:
        seen = await asyncio.gather(*(seen_height(page) for page in pages))
        now = loop.time()
        since = (now if since is None else since) if seen == list(heights) else None
        if since is not None and now - since >= for_s:
            return
        assert now < deadline, (seen, heights)
        await asyncio.sleep(0.1)


async def until_sent(page: Page, layers: int, within_s: float = 40.0) -> list[int]:
    """Lines of all layers of a publisher, once it sends so many; browsers begin with the small ones."""

    async def all_there() -> bool:
        return len(await sent_heights(page)) >= layers

    await until(all_there, lambda: sent_heights(page), within_s)
    return await sent_heights(page)
