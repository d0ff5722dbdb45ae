"""SIP over UDP: one socket, whole messages in datagrams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from mediaserver.sip.capture import Capture
from mediaserver.sip.config import Counters, MessageLimits
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import PartialRequest, parse_datagram
from mediaserver.sip.stun_keepalive import answer

OnMessage = Callable[[Request | Response, Flow], None]
OnMalformed = Callable[[SipParseError, Request | None, Flow], None]
OnKeepAlive = Callable[[bytes, Flow], None]
_SHORTEST = 20
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024


class UdpSocket(asyncio.DatagramProtocol):
    """One bound socket. STUN keep-alives are answered (RFC 5626 §4.4.2); CRLF and NUL, which most phones send, are not."""

    def __init__(
        self,
        *,
        limits: MessageLimits,
        counters: Counters,
        on_message: OnMessage,
        on_malformed: OnMalformed,
        on_keep_alive: OnKeepAlive,
        capture: Capture | None = None,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_keep_alive = on_keep_alive
        self._capture = capture
        self._transport: asyncio.DatagramTransport | None = None
        self.ip = ""
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is bound."""
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # A burst of calls must wait here while the loop is busy; the kernel cuts the wish to net.core.rmem_max.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        name = transport.get_extra_info("sockname")
        self.ip, self.port = str(name[0]), int(name[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One datagram."""
        if len(data) < _SHORTEST:
            self._counters.inc("sip.keepalives", transport="udp")
            return
        if data[0] < 2:  # RFC 5626 §8: STUN beside SIP, told apart by the first bits
            self._counters.inc("sip.keepalives", transport="udp")
            reply = answer(data, addr[0].partition("%")[0], addr[1])
            if reply is not None:
                self._put(reply, addr[0], addr[1])
            elif data[0] == 1:  # a response, to one of ours perhaps
                self._on_keep_alive(data, Flow("udp", self.ip, self.port, addr[0].partition("%")[0], addr[1]))
            return
        flow = Flow("udp", self.ip, self.port, addr[0].partition("%")[0], addr[1])
        if self._capture is not None:
            self._capture.received(data, flow)
        try:
            message = parse_datagram(data, self._limits)
        except PartialRequest as error:
            self._on_malformed(error, error.request, flow)
        except SipParseError as error:
            self._on_malformed(error, None, flow)
        else:
            self._on_message(message, flow)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error; it names no transaction, so the timers find out."""
        self._counters.inc("sip.udp_errors")

    def send(self, data: bytes, ip: str, port: int) -> bool:
        """Send one message; False when the socket is closed or the datagram can never go out."""
        if not self._put(data, ip, port):
            return False
        if self._capture is not None and data[0] > 1:
            self._capture.sent(data, Flow("udp", self.ip, self.port, ip.partition("%")[0], port))
        return True

    def _put(self, data: bytes, ip: str, port: int) -> bool:
        if self._transport is None or len(data) > 65_507:
            return False
        try:
            self._transport.sendto(data, (ip, port))
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        """Close the socket; what is queued is sent first."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
