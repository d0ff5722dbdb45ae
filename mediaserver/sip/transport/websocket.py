"""SIP over a WebSocket (RFC 7118): one connection, a message in each of its messages, apart from the socket itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mediaserver.sip.capture import Capture
from mediaserver.sip.config import Counters, SipLimits
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow, Target, Transport
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import PING, PONG, PartialRequest, parse_datagram

OnMessage = Callable[[Request | Response, Flow], None]
OnMalformed = Callable[[SipParseError, Request | None, Flow], None]


class WebSocketConnection:
    """Whoever has the socket gives in what comes by `receive`, sends what `outgoing` gives out, and says `lost`."""

    target: Target | None = None
    """None: nobody is called by WebSocket."""
    message_began_at: float | None = None
    """None: messages come whole."""
    certificate_names: tuple[str, ...] = ()

    def __init__(
        self,
        flow: Flow,
        *,
        limits: SipLimits,
        counters: Counters,
        on_message: OnMessage,
        on_malformed: OnMalformed,
        on_lost: Callable[[WebSocketConnection], None],
        now: Callable[[], float],
        capture: Capture | None = None,
    ) -> None:
        self.flow = flow
        self.number = flow.id
        self.opened_at = self.active_at = now()
        self.messages = 0
        self._limits = limits
        self._counters = counters
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_lost = on_lost
        self._now = now
        self._capture = capture
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._closing = False
        self._cut = False

    @property
    def kind(self) -> Transport:
        """`ws` or `wss`."""
        return self.flow.transport

    @property
    def peer_ip(self) -> str:
        """The remote address."""
        return self.flow.remote_ip

    # -- towards the stack -------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """One message of the socket, text or binary alike (RFC 7118 §5.2)."""
        if self._closing:
            return
        self.active_at = self._now()
        if not data.strip(b"\r\n"):
            # RFC 5626 §3.5.1 and RFC 7118 §6: a ping wants its pong, a pong nothing.
            self._counters.inc("sip.keepalives", transport="ws")
            if data == PING:
                self.send(PONG)
            return
        self.messages += 1
        if self._capture is not None:
            self._capture.received(data, self.flow)
        try:
            message = parse_datagram(data, self._limits.message)
        except PartialRequest as error:
            self._on_malformed(error, error.request, self.flow)
        except SipParseError as error:
            self._on_malformed(error, None, self.flow)
        else:
            self._on_message(message, self.flow)

    def lost(self) -> None:
        """The socket is gone, whoever closed it."""
        self.abort()
        self._on_lost(self)

    # -- towards the socket ------------------------------------------------------------------------------------------

    async def outgoing(self) -> bytes | None:
        """The next message to send, waited for; None when the socket is to be closed. Call it when the last was sent."""
        while not self._cut:
            if self._waiting:
                data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
                return data
            if self._closing:
                break
            self._changed.clear()
            await self._changed.wait()
        return None

    def send(self, data: bytes) -> bool:
        """Queue one message; False when the connection is closing or the peer does not read (it is cut off then)."""
        if self._closing:
            return False
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._limits.send_buffer_bytes:
            self.abort()
            return False
        self._changed.set()
        if self._capture is not None and data != PONG:
            self._capture.sent(data, self.flow)
        return True

    def close(self) -> None:
        """Close after what is queued has been sent."""
        self._closing = True
        self._changed.set()

    def abort(self) -> None:
        """Close at once."""
        self._cut = True
        self.close()
