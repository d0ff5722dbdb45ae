"""The Core's connections over Edges: those of phones and trunks that come in, and those that it has an Edge open."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol

from mediaserver.engine.events import StreamOpened
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.questions import Questions
from mediaserver.sip.transport.edge_way import Address, Ends

_MOST_DIALLING: Final = 64
"""Connections that are being opened at a time; as many as an Edge opens."""
_PATIENCE_S: Final = 6.0
"""An Edge gives up before."""


class EdgeDialler:
    """Opens connections beyond the Edges (`sip.transport.edge_way.EdgeWay`); `take` is given those that have come."""

    def __init__(self, registry: EdgeRegistry) -> None:
        self._registry = registry
        self._number = 0
        self._questions: Questions[StreamOpened] = Questions(most=_MOST_DIALLING, patience_s=_PATIENCE_S)

    def announced(self) -> Address | None:
        """Where phones and trunks reach us, by the first Edge that takes SIP."""
        return next(iter(self._addresses()), None)

    def is_ours(self, host: str, port: int | None) -> bool:
        """Whether an Edge takes SIP at this address."""
        return any(host == ip and port in (None, number) for ip, number in self._addresses())

    async def dial(self, remote: Address) -> tuple[socket.socket, Ends]:
        """Have one Edge after the other open a connection, until one could. Raises OSError."""
        reasons = []
        for end in self._registry.edges():
            if not end.is_ready or end.is_draining:
                continue
            try:
                event = await self._dial(end, remote)
            except OSError as error:
                reasons.append(f"{end.name}: {error}")
                continue
            local = self.announced() or event.local
            return socket.socket(fileno=event.fd), Ends(local, remote, end.name)
        raise OSError("; ".join(reasons) or "no Edge is there")

    async def _dial(self, end: CoreEnd, remote: Address) -> StreamOpened:
        if self._questions.is_full:
            raise OSError("too many connections are being opened")
        self._number += 1
        number = self._number
        try:
            return await self._questions.ask(end, number, lambda: end.dial(number, *remote))
        except TimeoutError:
            raise OSError("it did not answer") from None

    def take(self, event: StreamOpened) -> None:
        """A connection that an Edge has opened."""
        if not self._questions.answer(event.number, event):
            # Nobody waits for it any more.
            socket.socket(fileno=event.fd).close()

    def handle_failure(self, end: CoreEnd, number: int, reason: str) -> None:
        """An Edge could not open a connection."""
        self._questions.fail(number, OSError(reason), by=end)

    def _addresses(self) -> list[Address]:
        found = self._registry.addresses("sip")
        return [(each.ip, each.port) for each in found if each.protocol == "tls"]


class TakesPages(Protocol):
    """Serves those who came for a page."""

    def __call__(self, event: StreamOpened, *, in_clear: bool) -> None:
        """`in_clear`: an Edge has ended the visitor's TLS."""
        ...


class Visitors:
    """Gives every connection that comes as it is to whom it is for: pages, or phones and trunks."""

    def __init__(
        self,
        *,
        pages: TakesPages,
        sip: Callable[[socket.socket, Ends], None],
        sip_names: frozenset[str],
    ) -> None:
        self._pages = pages
        self._sip = sip
        self._sip_names = sip_names

    def take(self, event: StreamOpened, edge: str = "", *, in_clear: bool = False) -> None:
        """It came by the shared TLS port, or over the Edge of this name; `in_clear` where that has ended its TLS."""
        if not in_clear and (event.service == "sip" or event.server_name in self._sip_names):
            self._sip(socket.socket(fileno=event.fd), Ends(event.local, event.source, edge))
        else:
            self._pages(event, in_clear=in_clear)
