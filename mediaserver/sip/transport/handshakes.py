"""TLS of accepted connections: the handshake, and whether the certificate that the peer shows lets it in."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from mediaserver.sip.certificates.standing import CertificateStanding
from mediaserver.sip.config import Counters
from mediaserver.sip.transport.stream import Connection

_FAREWELL_S: Final = 1.0


class Handshakes:
    """`context` is that of handshakes from now on; without it there are none."""

    def __init__(self, context: ssl.SSLContext | None, *, timeout_s: float, counters: Counters) -> None:
        self.context = context
        self.standing: CertificateStanding | None = None
        """Says whether the certificates of peers still hold; without it all do."""
        self._timeout_s = timeout_s
        self._counters = counters

    async def secure(self, connection: Connection) -> bool:
        """Shake hands on a connection that came in the clear. False when it cannot stay; it is closed then."""
        transport, context = connection.transport, self.context
        if transport is None or context is None:
            connection.abort()
            return False
        try:
            secured = await self._shake(connection, transport, context)
        except (OSError, ssl.SSLError):
            self._counters.inc("sip.tls_handshakes", result="failed")
            connection.abort()
            return False
        if secured is None:
            return False
        self._counters.inc("sip.tls_handshakes", result="ok")
        connection.certificate = _certificate_of(secured)
        if await self._holds(connection):
            connection.secure(secured)
            return True
        secured.abort()
        return False

    async def _shake(
        self, connection: Connection, transport: asyncio.Transport, context: ssl.SSLContext
    ) -> asyncio.Transport | None:
        loop = asyncio.get_running_loop()
        handshake = asyncio.ensure_future(
            loop.start_tls(transport, connection, context, server_side=True, ssl_handshake_timeout=self._timeout_s)
        )
        try:
            # uvloop reads before start_tls can stop it, and a ClientHello that came by then is in our hands: one turn
            # lets start_tls take the transport over, the next one connects its protocol, which then gets the bytes.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if early := connection.take_early():
                _feed(transport.get_protocol(), early)
            return await handshake
        finally:
            handshake.cancel()  # when this task was cancelled before it came to wait for it

    async def _holds(self, connection: Connection) -> bool:
        """Whether the certificate of a peer lets it in; until that is known nothing that it says is read."""
        if connection.certificate is None or self.standing is None:
            return True
        if await self.standing.holds(connection.certificate):
            return not connection.is_closing()
        self._counters.inc("sip.connections_closed", reason="certificate")
        return False

    def is_revoked(self, connection: Connection) -> bool:
        """Whether the certificate of a connection is known to hold no more."""
        standing, shown = self.standing, connection.certificate
        return standing is not None and shown is not None and standing.is_revoked(shown)

    def end_revoked(self, connection: Connection) -> None:
        """Close such a connection, after what is queued has been sent."""
        self._counters.inc("sip.connections_closed", reason="certificate")
        connection.close()
        # Whoever does not answer the end of TLS would keep it open.
        asyncio.get_running_loop().call_later(_FAREWELL_S, connection.abort)


def _certificate_of(transport: asyncio.BaseTransport) -> bytes | None:
    tls = transport.get_extra_info("ssl_object")
    shown: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
    return shown


def _feed(protocol: Any, data: bytes) -> None:
    """Hand bytes to a buffered protocol as its transport would (uvloop's is none by inheritance)."""
    while data:
        buffer = protocol.get_buffer(len(data))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]
