"""Runs one sans-IO object on the event loop: feed it, drain it, keep exactly one timer armed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

from mediaserver.runtime.clock import Clock

_P = ParamSpec("_P")
_R = TypeVar("_R")
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
        """When `handle_timeout` is wanted (seconds on the same clock), or None."""


class Driver(Generic[_Transmit, _Event]):
    """Feeds `machine` and hands what comes out to `send` and `deliver`.

    After every input and timeout the machine is drained: everything to send first, then the events, so that an answer
    is on the wire before the layer above reacts. A callback may feed the machine again; that input is handled at once
    and what it produces is drained by the loop that is already running.
    """

    def __init__(
        self,
        machine: Machine[_Transmit, _Event],
        *,
        clock: Clock,
        send: Callable[[_Transmit], None],
        deliver: Callable[[_Event], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._send = send
        self._deliver = deliver
        self._loop = loop if loop is not None else asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: float | None = None
        self._draining = False
        self._closed = False

    def feed(
        self,
        handle: Callable[Concatenate[float, _P], _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """Call `handle(now, *args)`, then drain; for methods that take the time first."""
        result = handle(self._clock.now(), *args, **kwargs)
        self.drain()
        return result

    def drain(self) -> None:
        """Empty the machine and arm its timer; call it after any mutation made without `feed`."""
        if self._draining or self._closed:
            return
        self._draining = True
        try:
            while self._drain_once():
                pass
        finally:
            self._draining = False
        self._arm()

    def close(self) -> None:
        """Disarm the timer; nothing is sent or delivered any more."""
        self._closed = True
        self._disarm()

    def _drain_once(self) -> bool:
        sent = False
        while not self._closed and (transmit := self._machine.poll_transmit()) is not None:
            sent = True
            self._send(transmit)
        if self._closed:
            return False
        event = self._machine.poll_event()
        if event is None:
            return sent
        self._deliver(event)
        return True

    def _arm(self) -> None:
        if self._closed:
            return
        due = self._machine.poll_timeout()
        if due == self._timer_due and self._timer is not None:
            return
        self._disarm()
        if due is not None:
            self._timer_due = due
            self._timer = self._loop.call_later(max(0.0, due - self._clock.now()), self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_due = None

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_due = None
        if not self._closed:
            self._machine.handle_timeout(self._clock.now())
            self.drain()
