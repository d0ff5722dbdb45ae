"""A connection whose socket does not know who is at its other end: it came over an Edge."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast


class VisitorTransport:
    """A transport of asyncio that says the visitor's address where it is asked for its peer; all else is the inner one's."""

    def __init__(
        self, inner: asyncio.BaseTransport, source: tuple[str, int], *, link: int, tls: ssl.SSLContext | None
    ) -> None:
        """With `tls` the visitor speaks TLS, which has ended before it came here."""
        self._inner = inner
        self._told: dict[str, Any] = {"peername": source, "link": link}
        if tls is not None:
            self._told["sslcontext"] = tls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As `asyncio.BaseTransport.get_extra_info`; `link` is the id of the Edge's link that it came by, 0 for none."""
        return self._told[name] if name in self._told else self._inner.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class VisitorProtocol(asyncio.Protocol):
    """Hands everything on to the protocol that serves the visitor."""

    def __init__(
        self, inner: asyncio.Protocol, source: tuple[str, int], *, link: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._inner = inner
        self._source = source
        self._link = link
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        visitor = VisitorTransport(transport, self._source, link=self._link, tls=self._tls)
        self._inner.connection_made(cast("asyncio.BaseTransport", visitor))

    def data_received(self, data: bytes) -> None:
        """Bytes of the visitor."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The visitor says no more."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The visitor reads slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has read."""
        self._inner.resume_writing()
