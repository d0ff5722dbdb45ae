"""Time that passes in a test whose parts all live in its own event loop."""

from __future__ import annotations

import asyncio

_TURNS = 50


async def passed(seconds: float) -> None:
    """So much time passes, and whatever it set off has happened.

    Sleeping alone is not enough: a machine that stands still for longer than that wakes the test in the same turn of the
    event loop as what it waits for, before the turns that this one needs.
    """
    await asyncio.sleep(seconds)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
