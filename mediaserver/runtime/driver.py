"""Runs one sans-IO object on the event loop: drain it after every input, keep exactly one timer armed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mediaserver.errors import LocalProtocolError

_Transmit = TypeVar("_Transmit")
_Event = TypeVar("_Event")
_Transmit_co = TypeVar("_Transmit_co", covariant=True)
_Event_co = TypeVar("_Event_co", covariant=True)


class Machine(Protocol[_Transmit_co, _Event_co]):
    """The verbs that a sans-IO object has beside its own `handle_*(input, now)`."""

    def handle_timeout(self, now: float) -> None:
        """The time that `poll_timeout` named has come."""

    def poll_transmit(self) -> _Transmit_co | None:
        """The next thing to send, or None."""

    def poll_event(self) -> _Event_co | None:
        """The next event for the layer above, or None."""

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` is wanted (seconds of the event loop's clock), or None."""


class Driver(Generic[_Transmit, _Event]):
    """Hands what comes out of `machine` to `send` and `deliver`, from `start` to `close`.

    Everything to send goes before each event, so that an answer is on the wire before the layer above reacts. What a
    callback does to the machine is drained by the loop that is already running. Deadlines within one of `wakes_per_s`
    parts of a second share a wake-up.
    """

    def __init__(
        self,
        machine: Machine[_Transmit, _Event],
        *,
        send: Callable[[_Transmit], None],
        deliver: Callable[[_Event], None],
        wakes_per_s: float | None = None,
    ) -> None:
        self._machine = machine
        self._send = send
        self._deliver = deliver
        self._wakes_per_s = wakes_per_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._draining = False
        self._closed = False

    def start(self) -> None:
        """From now on on the running loop; what the machine has to say already is drained."""
        self._loop = asyncio.get_running_loop()
        self.drain()

    def close(self) -> None:
        """Disarm the timer; nothing is sent or delivered any more."""
        self._closed = True
        self._disarm()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not closed."""
        return self._loop is not None and not self._closed

    def now(self) -> float:
        """Seconds of the loop's clock. Raises LocalProtocolError before `start`."""
        if self._loop is None:
            raise LocalProtocolError("the driver is not started")
        return self._loop.time()

    def drain(self) -> None:
        """Empty the machine and arm its timer: after everything that was done to it. Where it does not run, nothing."""
        if self._draining or not self.is_running:
            return
        self._draining = True
        try:
            self._empty()
        finally:
            self._draining = False
        self.arm()

    def arm(self) -> None:
        """Arm the timer alone, after what wants a time and has nothing to say."""
        due = self._machine.poll_timeout()
        if due is not None and self._wakes_per_s is not None:
            due = math.ceil(due * self._wakes_per_s) / self._wakes_per_s
        if due == self._due and self._timer is not None:
            return
        self._disarm()
        if due is not None and self._loop is not None and not self._closed:
            self._due = due
            self._timer = self._loop.call_at(due, self._on_timer)

    def _empty(self) -> None:
        machine = self._machine
        while not self._closed:
            transmit = machine.poll_transmit()
            if transmit is None:
                event = machine.poll_event()
                if event is not None:
                    self._deliver(event)
                    continue
                # Whoever looks for events may find what is to be sent.
                transmit = machine.poll_transmit()
                if transmit is None:
                    return
            self._send(transmit)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due = None

    def _on_timer(self) -> None:
        self._timer = None
        self._due = None
        self._machine.handle_timeout(self.now())
        self.drain()
