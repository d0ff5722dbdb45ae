"""The driver of sans-IO objects: drained after every input, one timer, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from mediaserver.errors import LocalProtocolError
from mediaserver.runtime.driver import Driver


class Echo:
    """Answers every input with a datagram and an event; wants a timeout when told to."""

    def __init__(self) -> None:
        self.transmits: deque[str] = deque()
        self.events: deque[str] = deque()
        self.timeout: float | None = None
        self.timed_out = 0

    def handle_message(self, text: str, *, timeout_at: float | None = None) -> None:
        self.transmits.append(f"re: {text}")
        self.events.append(f"got {text}")
        self.timeout = timeout_at

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


def driven(echo: Echo, *, wakes_per_s: float | None = None) -> tuple[Driver[str, str], list[str]]:
    seen: list[str] = []
    driver = Driver(echo, send=seen.append, deliver=seen.append, wakes_per_s=wakes_per_s)
    driver.start()
    return driver, seen


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_was_there_before_the_start_is_drained_with_it() -> None:
    echo, seen = Echo(), list[str]()
    driver = Driver(echo, send=seen.append, deliver=seen.append)
    echo.handle_message("hello")
    driver.drain()
    assert (seen, driver.is_running) == ([], False)
    with pytest.raises(LocalProtocolError, match="not started"):
        driver.now()
    driver.start()
    assert (seen, driver.is_running) == (["re: hello", "got hello"], True)


async def test_what_a_callback_does_is_sent_before_the_next_event() -> None:
    echo, seen = Echo(), list[str]()

    def deliver(event: str) -> None:
        seen.append(event)
        if event == "got one":
            echo.handle_message("two")
            driver.drain()

    driver = Driver(echo, send=seen.append, deliver=deliver)
    driver.start()
    echo.handle_message("one")
    echo.events.append("got more")
    driver.drain()
    assert seen == ["re: one", "got one", "re: two", "got more", "got two"]


async def test_what_is_found_while_looking_for_events_is_sent() -> None:
    class Late(Echo):
        found = False

        def poll_event(self) -> str | None:
            if not self.found:
                self.found = True
                self.transmits.append("late")
            return super().poll_event()

    _, seen = driven(Late())
    assert seen == ["late"]


async def test_the_timer_fires_once_and_drains() -> None:
    echo = Echo()
    driver, seen = driven(echo)
    echo.handle_message("x", timeout_at=driver.now() + 0.01)
    driver.drain()
    await until(lambda: echo.timed_out)
    await asyncio.sleep(0.05)
    assert echo.timed_out == 1
    assert seen[-1] == "timeout"


async def test_a_later_input_moves_the_timer() -> None:
    echo = Echo()
    driver, _ = driven(echo)
    echo.handle_message("x", timeout_at=driver.now() + 0.03)
    driver.drain()
    echo.handle_message("y")
    driver.drain()
    await asyncio.sleep(0.05)
    assert echo.timed_out == 0


async def test_a_time_alone_needs_no_draining() -> None:
    echo = Echo()
    driver, seen = driven(echo)
    echo.timeout = driver.now() + 0.01
    driver.arm()
    await until(lambda: echo.timed_out)
    assert seen == ["timeout"]


async def test_deadlines_share_wake_ups() -> None:
    echo = Echo()
    driver, _ = driven(echo, wakes_per_s=4.0)
    echo.timeout = at = driver.now() + 0.01
    driver.arm()
    await until(lambda: echo.timed_out)
    assert driver.now() >= -(-at // 0.25) * 0.25


async def test_nothing_happens_after_close_but_there_is_still_a_time() -> None:
    echo = Echo()
    driver, seen = driven(echo)
    echo.handle_message("x", timeout_at=driver.now() + 0.01)
    driver.drain()
    driver.close()
    echo.handle_message("y", timeout_at=driver.now())
    driver.drain()
    await asyncio.sleep(0.05)
    assert (seen, echo.timed_out, driver.is_running) == (["re: x", "got x"], 0, False)
