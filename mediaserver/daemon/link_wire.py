"""A link of the engine as its ends in `mediaserver.link` know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mediaserver.engine import commands, events
from mediaserver.engine.engine import Engine


class End(Protocol):
    """One end of a link."""

    def handle_up(self) -> None:
        """The link is up."""
        ...

    def handle_down(self, reason: str) -> None:
        """The link is down."""
        ...

    def handle_message(self, payload: bytes) -> None:
        """The other end says something."""
        ...


class EngineWire:
    """What an end sends by."""

    def __init__(self, engine: Engine, link: int) -> None:
        self._engine = engine
        self._link = link

    def send(self, payload: bytes) -> None:
        """Queue a control message."""
        self._engine.submit(commands.SendLinkMessage(id=self._link, payload=payload))

    def set_busy(self, busy: bool) -> None:
        """Whether paths exist."""
        self._engine.submit(commands.SetLinkBusy(id=self._link, busy=busy))


def connect(
    engine: Engine, link: int, end: End, *, on_stream: Callable[[events.StreamOpened], None] | None = None
) -> None:
    """Give `end` what happens on the link, and `on_stream` the visitors that come over it."""

    def deliver(event: events.AnyEvent) -> None:
        match event:
            case events.LinkUp():
                end.handle_up()
            case events.LinkDown():
                end.handle_down(event.reason)
            case events.LinkMessage():
                end.handle_message(event.payload)
            case events.StreamOpened() if on_stream is not None:
                on_stream(event)

    engine.subscribe_events(link, deliver)
