"""SIP over TCP and TLS: one connection, framed, bounded in buffers and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mediaserver.sip.capture import Capture
from mediaserver.sip.config import SipLimits
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow, Target, Transport
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import PING, PONG, PartialRequest, StreamFramer
from mediaserver.sip.transport.edge_way import Ends

OnMessage = Callable[[Request | Response, Flow], None]
OnMalformed = Callable[[SipParseError, Request | None, Flow], None]
OnKeepAlive = Callable[[bytes, Flow], None]
"""Takes the answer to a keep-alive of ours: `PONG`, or a STUN message."""


class Connection(asyncio.Protocol):
    """One connection, theirs or ours (`target` is set then). The owner hears `on_open` (may refuse) and `on_lost`."""

    def __init__(
        self,
        *,
        transport: Transport,
        number: int,
        target: Target | None,
        limits: SipLimits,
        on_open: Callable[[Connection], bool],
        on_lost: Callable[[Connection], None],
        on_message: OnMessage,
        on_malformed: OnMalformed,
        on_keep_alive: OnKeepAlive,
        now: Callable[[], float],
        capture: Capture | None = None,
        ends: Ends | None = None,
    ) -> None:
        self.kind: Transport = transport
        self.ends = ends
        """Where it begins and ends, when it came over an Edge; else the socket knows."""
        self.number = number
        self.target = target
        self.flow: Flow | None = None
        self.alias: tuple[str, int] | None = None
        """Address and port in whose place the peer wants to be reached by this connection (RFC 5923)."""
        self.certificate: bytes | None = None
        """What an accepted peer has shown (DER); verified by its authority."""
        self.opened_at = self.active_at = now()
        self.message_began_at: float | None = None
        self.messages = 0
        self.secured = transport == "tcp"
        """False while the TLS handshake of an accepted connection is under way."""
        self._limits = limits
        self._framer = StreamFramer(limits.message)
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_keep_alive = on_keep_alive
        self._now = now
        self._capture = capture
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._early = bytearray()
        self._names: tuple[str, ...] | None = None

    @property
    def transport(self) -> asyncio.Transport | None:
        """The asyncio transport while it is open."""
        return self._transport

    @property
    def peer_ip(self) -> str:
        """The remote address."""
        return self.flow.remote_ip if self.flow is not None else ""

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Names in the certificate that the peer has proven (RFC 5922 §7.1): of its subjectAltName, else its CN."""
        if self._names is None:
            transport = self._transport
            certificate = transport.get_extra_info("peercert") if transport is not None and self.secured else None
            self._names = names_in(certificate or {})
        return self._names

    def is_closing(self) -> bool:
        """True when nothing more is read or written."""
        return self._closing

    def secure(self, transport: asyncio.Transport) -> None:
        """The TLS handshake of an accepted connection is done; `transport` encrypts."""
        self._transport = transport
        self.secured = True
        self._names = None
        early = bytes(self._early)
        self._early.clear()
        if early:
            self.data_received(early)

    def take_early(self) -> bytes:
        """What came before the handshake had the transport: its first bytes."""
        early = bytes(self._early)
        self._early.clear()
        return early

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport  # type: ignore[assignment]
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if self.ends is not None:
            local, remote = self.ends.local, self.ends.remote
        if not local or not remote:
            transport.close()
            return
        remote_ip = str(remote[0]).partition("%")[0]
        edge = self.ends.edge if self.ends is not None else ""
        self.flow = Flow(self.kind, str(local[0]), int(local[1]), remote_ip, int(remote[1]), self.number, edge)
        if not self._on_open(self):
            self._closing = True
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        flow = self.flow
        if flow is None or self.is_closing():
            return
        if not self.secured:
            # The first bytes can come in the very turn that ends the handshake; nothing may be answered in the clear.
            self._early += data
            if len(self._early) > self._limits.message.message_bytes:
                self.abort()
            return
        self.active_at = self._now()
        try:
            for item in self._framer.feed(data):
                if isinstance(item, bytes):
                    if item == PING:
                        self.send(PONG)
                    else:
                        self._on_keep_alive(item, flow)
                    continue
                self.message_began_at = None
                self.messages += 1
                if self._capture is not None:
                    self._capture.received(self._framer.raw, flow)
                if isinstance(item, PartialRequest):
                    self._on_malformed(item, item.request, flow)
                else:
                    self._on_message(item, flow)
                if self.is_closing():
                    return
        except SipParseError as error:
            # The stream is out of step: what comes next cannot be told from a body.
            self._on_malformed(error, error.request if isinstance(error, PartialRequest) else None, flow)
            self.close()
            return
        if not self._framer.in_message:
            self.message_began_at = None
        elif self.message_began_at is None:
            self.message_began_at = self.active_at

    def eof_received(self) -> bool:
        """The peer will send nothing more: close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, whoever did it."""
        self._closing = True
        self._transport = None
        self._on_lost(self)

    def send(self, data: bytes) -> bool:
        """Queue bytes; False when the connection is closing or the peer does not read (it is cut off then)."""
        transport = self._transport
        if transport is None or self._closing or not self.secured or transport.is_closing():
            return False
        transport.write(data)
        if data == PING:
            self._framer.pong_awaited = True
        if transport.get_write_buffer_size() > self._limits.send_buffer_bytes:
            self.abort()
            return False
        if self._capture is not None and self.flow is not None and data not in (PING, PONG):
            self._capture.sent(data, self.flow)
        return True

    def close(self) -> None:
        """Close after what is queued has been sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()


def names_in(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Identities of a certificate as `ssl` gives it: hosts, and SIP URIs without their scheme; CN where there is none."""
    alternative = [(str(kind), str(value)) for kind, value in certificate.get("subjectAltName", ())]
    # RFC 5922 §7.1: SIP URIs first, then DNS names; the CN counts only without either.
    uris = [
        value.partition(":")[2] for kind, value in alternative if kind == "URI" and value.lower().startswith("sip:")
    ]
    hosts = [value.lower() for kind, value in alternative if kind == "DNS"]
    if uris or hosts:
        # A host has no case; the user before it has.
        parts = [uri.rpartition("@") for uri in uris]
        return (*(f"{user}{at}{host.lower()}" for user, at, host in parts), *hosts)[:32]
    return tuple(
        str(value).lower() for part in certificate.get("subject", ()) for key, value in part if key == "commonName"
    )[:32]
