"""The driver of sans-IO objects: drained after every input, one timer, in order."""

from __future__ import annotations

import asyncio
from collections import deque

from mediaserver.runtime.clock import SystemClock
from mediaserver.runtime.driver import Driver


class Echo:
    """Answers every input with a datagram and an event; wants a timeout when told to."""

    def __init__(self) -> None:
        self.transmits: deque[str] = deque()
        self.events: deque[str] = deque()
        self.timeout: float | None = None
        self.timed_out = 0

    def handle_message(self, now: float, text: str, *, timeout_s: float | None = None) -> int:
        self.transmits.append(f"re: {text}")
        self.events.append(f"got {text}")
        self.timeout = None if timeout_s is None else now + timeout_s
        return len(text)

    def handle_timeout(self, now: float) -> None:
        self.timed_out += 1
        self.timeout = None
        self.events.append("timeout")

    def poll_transmit(self) -> str | None:
        return self.transmits.popleft() if self.transmits else None

    def poll_event(self) -> str | None:
        return self.events.popleft() if self.events else None

    def poll_timeout(self) -> float | None:
        return self.timeout


async def test_an_input_is_drained_transmits_first() -> None:
    echo, seen = Echo(), []
    driver = Driver(echo, clock=SystemClock(), send=seen.append, deliver=seen.append)
    assert driver.feed(echo.handle_message, "hello") == 5
    assert seen == ["re: hello", "got hello"]


async def test_a_callback_may_feed_again() -> None:
    echo, seen = Echo(), []

    def deliver(event: str) -> None:
        seen.append(event)
        if event == "got one":
            driver.feed(echo.handle_message, "two")

    driver = Driver(echo, clock=SystemClock(), send=seen.append, deliver=deliver)
    driver.feed(echo.handle_message, "one")
    assert seen == ["re: one", "got one", "re: two", "got two"]


async def test_the_timer_fires_once_and_drains() -> None:
    echo, seen = Echo(), []
    driver = Driver(echo, clock=SystemClock(), send=seen.append, deliver=seen.append)
    driver.feed(echo.handle_message, "x", timeout_s=0.01)
    async with asyncio.timeout(30):
        while not echo.timed_out:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert echo.timed_out == 1
    assert seen[-1] == "timeout"


async def test_a_later_input_moves_the_timer() -> None:
    echo = Echo()
    driver = Driver(echo, clock=SystemClock(), send=lambda _: None, deliver=lambda _: None)
    driver.feed(echo.handle_message, "x", timeout_s=0.03)
    driver.feed(echo.handle_message, "y")
    await asyncio.sleep(0.05)
    assert echo.timed_out == 0


async def test_nothing_happens_after_close() -> None:
    echo, seen = Echo(), []
    driver = Driver(echo, clock=SystemClock(), send=seen.append, deliver=seen.append)
    driver.feed(echo.handle_message, "x", timeout_s=0.01)
    driver.close()
    driver.feed(echo.handle_message, "y")
    await asyncio.sleep(0.05)
    assert seen == ["re: x", "got x"]
    assert echo.timed_out == 0
