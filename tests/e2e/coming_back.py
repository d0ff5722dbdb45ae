"""A daemon that is killed and started again: when it answers, and when media are back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

from tests.peers.baresip import Baresip
from tests.peers.chromium import Tab, streams
from tests.peers.daemon import Daemon


async def kill_and_wait(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGKILL)
    await daemon.process.wait(10)


async def answers(daemon: Daemon) -> float:
    """When a daemon that was started answers anything at all; the Edge does so when Cores can come."""
    while True:
        with contextlib.suppress(OSError, IndexError):
            await daemon.get(f"{daemon.admin_url}/healthz")
            return time.monotonic()
        await asyncio.sleep(0.01)


async def page_gets(tab: Tab) -> tuple[int, int]:
    media = await tab.media()
    return streams(media, "inbound", "audio")[0].packets, streams(media, "inbound", "video")[0].frames


async def page_hears(tab: Tab, before: int) -> float:
    """When the page has sound again."""
    while (await page_gets(tab))[0] <= before:
        await asyncio.sleep(0.01)
    return time.monotonic()


async def page_back(tab: Tab, before: tuple[int, int]) -> float:
    """When the page has sound and a decoded picture again."""
    while True:
        sound, picture = await page_gets(tab)
        if sound > before[0] and picture > before[1]:
            return time.monotonic()
        await asyncio.sleep(0.01)


async def phone_back(agent: Baresip, before: int) -> float:
    """When the phone shows pictures of the visitor again."""
    while True:
        if (await agent.video_stats()).frames_shown > before:
            return time.monotonic()
        await asyncio.sleep(0.01)
