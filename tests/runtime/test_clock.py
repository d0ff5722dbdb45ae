"""Clocks."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.runtime.clock import SystemClock, VirtualClock, utc_now


def test_virtual_time_moves_only_when_told() -> None:
    clock = VirtualClock(start=5.0)
    assert clock.now() == clock.now() == 5.0
    assert clock.advance(2.5) == clock.now() == 7.5


def test_virtual_time_never_runs_backwards() -> None:
    clock = VirtualClock(start=5.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    assert clock.advance_to(1.0) == 5.0


async def test_the_system_clock_counts_like_the_event_loop() -> None:
    assert SystemClock().now() == pytest.approx(asyncio.get_running_loop().time(), abs=0.5)


def test_the_wall_clock_is_aware() -> None:
    assert utc_now().utcoffset() is not None
