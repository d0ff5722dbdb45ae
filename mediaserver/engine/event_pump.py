"""Carries event batches from the engine's eventfd into the asyncio loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

import msgspec

from mediaserver.engine.events import AnyEvent


class EventSource(Protocol):
    """The part of the extension that the pump uses."""

    @property
    def event_fd(self) -> int: ...

    def drain(self) -> bytes: ...


class EventPump:
    """Reads all waiting events whenever the engine says that there are some, and hands them on one by one, in order."""

    def __init__(self, source: EventSource, deliver: Callable[[AnyEvent], None]) -> None:
        self._source = source
        self._deliver = deliver
        self._decoder = msgspec.msgpack.Decoder(tuple[AnyEvent, ...])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1

    def start(self) -> None:
        """Begin to watch the eventfd on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._fd = self._source.event_fd
        self._loop.add_reader(self._fd, self._readable)

    def stop(self) -> None:
        """Stop watching; events still waiting are delivered first."""
        if self._loop is None:
            return
        self._loop.remove_reader(self._fd)
        self._loop = None
        self.pump()

    def pump(self) -> None:
        """Deliver what is waiting now."""
        for event in self._decoder.decode(self._source.drain()):
            self._deliver(event)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self.pump()
