"""One browser session, apart from its sockets: messages in order, both ways, over as many sockets as it takes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol

import structlog
from aiohttp import web

from mediaserver.api.outbox import Inbox, Outbox
from mediaserver.errors import LimitExceeded, MediaServerError, RemoteProtocolError
from mediaserver.webrtc.messages import (
    ClientMessage,
    Ended,
    Error,
    IceServer,
    MediaKinds,
    ServerMessage,
    Welcome,
    dump,
    parse_client,
)
from mediaserver.webrtc.room_messages import RoomInfo

log = structlog.get_logger()

UNHANDLED_WAIT_S = 3.0
"""How long messages that came before the end may take to be handled, and a socket to close."""

MAX_UNHANDLED = 64
"""Messages taken from the browser and not handled yet; then its socket is read no further."""

CLOSE_OK = 1000
CLOSE_POLICY = 1008
CLOSE_TOO_BIG = 1009
CLOSE_INTERNAL = 1011
CLOSE_TRY_AGAIN = 1013
CLOSE_REPLACED = 4001
"""The session went on over a newer socket."""
CLOSE_MOVED = 4002
"""The session goes on over another server: this socket is about to be lost."""


class Participant(Protocol):
    """What a caller's and an agent's session have in common."""

    async def handle(self, message: ClientMessage) -> None:
        """Take one message."""

    async def gone(self, reason: str) -> None:
        """The browser will not come back; `reason` is one word."""


class Envelope:
    """`seq` numbers a message, `ack` acknowledges the other side's: members beside those of the message itself.

    A client that sends neither is served, but cannot resume without loss.
    """

    __slots__ = ("ack", "message", "seq")

    def __init__(self, message: ClientMessage, seq: int | None, ack: int | None) -> None:
        self.message = message
        self.seq = seq
        self.ack = ack

    @classmethod
    def parse(cls, text: str) -> Envelope:
        """Raises `RemoteProtocolError` with a text that says what is wrong."""
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise RemoteProtocolError("A message is one JSON object.", status=400) from None
        if not isinstance(body, dict):
            raise RemoteProtocolError("A message is one JSON object.", status=400)
        seq, ack = (_number(body.pop(name, None), name) for name in ("seq", "ack"))
        return cls(parse_client(json.dumps(body)), seq, ack)


def _number(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise RemoteProtocolError(f"`{name}` must be a whole number from 0.", status=400)
    return value


def envelope(message: ServerMessage, *, seq: int | None = None, ack: int | None = None) -> str:
    """JSON text of a message with its numbers."""
    return _numbered(dump(message), seq=seq, ack=ack)


def _numbered(text: str, *, seq: int | None, ack: int | None) -> str:
    head = "".join(f'"{name}":{value},' for name, value in (("seq", seq), ("ack", ack)) if value is not None)
    return "{" + head + text[1:]


def token_digest(token: str) -> bytes:
    """Resume tokens are kept and compared as digests, so that a look-up tells nothing by its time."""
    return hashlib.sha256(token.encode()).digest()


class SessionChannel:
    """Implements `Signaling` for one browser, and feeds its participant one message at a time, in order.

    `on_closed` is called once, when nothing more will happen here. The session outlives its socket by `window_s`.
    """

    def __init__(
        self,
        *,
        role: Literal["caller", "agent", "member"],
        source: str,
        voices: int,
        new_token: Callable[[], str],
        window_s: float,
        max_messages: int,
        max_bytes: int,
        on_closed: Callable[[SessionChannel], None],
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self.role = role
        self.source = source
        self.voices = voices
        self.tokens: list[bytes] = []
        """Digests of the resume tokens that are good now: the newest, and the one before until it proved to arrive."""
        self._new_token = new_token
        self.closed = False
        self.link = 0
        """The Edge's link that its socket came by, 0 for none."""
        self._moved: web.WebSocketResponse | None = None
        self._moving: asyncio.Task[bool] | None = None
        self._window_s = window_s
        self._outbox = Outbox(max_messages=max_messages, max_bytes=max_bytes)
        self._inbox = Inbox()
        self._incoming: asyncio.Queue[ClientMessage] = asyncio.Queue(MAX_UNHANDLED)
        self._on_closed = on_closed
        self._participant: Participant | None = None
        self._socket: web.WebSocketResponse | None = None
        self._writable = asyncio.Event()
        self._over = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._last_words = False

    # Towards the browser

    async def send(self, message: ServerMessage) -> None:
        """See `Signaling.send`."""
        self.tell(message)

    def tell(self, message: ServerMessage) -> None:
        """The same; it never waits."""
        if self.closed or self._last_words:
            return
        self._outbox.push(dump(message))
        if self._outbox.overflowed:
            log.warning("session_overflowed", session=self.id, away=self._socket is None)
            self.leave("browser_too_slow")
            return
        if self.role != "agent" and isinstance(message, Ended):
            # The session of a caller or member ends with the call; the browser is given time to take these last words.
            self._last_words = True
        self._writable.set()

    def new_resume_token(self) -> str:
        """A fresh token; the one before stays good until the browser speaks over the socket that got this one."""
        token = self._new_token()
        self.tokens = [*self.tokens[-1:], token_digest(token)]
        return token

    def welcome(
        self,
        title: str,
        ice_servers: tuple[IceServer, ...],
        *,
        audio: bool = True,
        video: bool = True,
        contact_id: str | None = None,
        room: RoomInfo | None = None,
    ) -> Welcome:
        """What the page is told when its session begins."""
        return Welcome(
            session=self.id,
            resume=self.new_resume_token(),
            contact_id=contact_id,
            ice_servers=ice_servers,
            title=title,
            media=MediaKinds(audio=audio, video=video),
            room=room,
        )

    # The participant

    def start(self, participant: Participant) -> None:
        """Begin to hand messages on."""
        self._participant = participant
        self._worker = asyncio.create_task(self._work(participant), name=f"session-{self.id}")

    async def _work(self, participant: Participant) -> None:
        while True:
            message = await self._incoming.get()
            try:
                await participant.handle(message)
            except MediaServerError as error:
                code = "limit" if isinstance(error, LimitExceeded) else f"bad_{message.type}"
                await self.send(Error(code=code, message=str(error), ref=reference(message)))
            except Exception:
                log.exception("session_message_failed", session=self.id, type=message.type)
                await self.send(Error(code="internal", message="The server made a mistake.", ref=reference(message)))
            finally:
                self._incoming.task_done()
            # What the message set off in the participant's own tasks begins before the next message is handled.
            await asyncio.sleep(0)

    # Sockets

    async def attach(self, socket: web.WebSocketResponse, welcome: Welcome, *, after: int | None) -> bool:
        """Go on over this socket: `welcome` first, then what the browser has not got yet.

        `after` is the number of the last message it has, None for a new session. False when messages it needs are no
        longer there: the session is then over.
        """
        if after is not None and not self._outbox.resume(after):
            self.leave("messages_lost")
            return False
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        previous, self._socket = self._socket, socket
        if previous is not None:
            await previous.close(code=CLOSE_REPLACED, message=b"resumed elsewhere")
        with suppress(ConnectionError, RuntimeError):
            # A socket lost this early is noticed by its reader, which then detaches it.
            await socket.send_str(envelope(welcome, ack=self._inbox.received))
        return True

    async def write(self, socket: web.WebSocketResponse) -> None:
        """Write messages to `socket` until it is replaced, lost, or the session is over."""
        while self._socket is socket and not socket.closed:
            entry = self._outbox.next_unsent()
            if entry is None:
                if self._last_words:
                    self._finish()
                if self._over.is_set():
                    await socket.close(code=CLOSE_OK, message=b"the session is over")
                    return
                self._writable.clear()
                await self._writable.wait()
                continue
            number, text = entry
            try:
                await socket.send_str(_numbered(text, seq=number, ack=self._inbox.received))
            except (ConnectionError, RuntimeError):
                return

    def move(self) -> None:
        """Have the browser take the session up again by another server."""
        if self._socket is not None:
            self._moved = self._socket
            closing = self._socket.close(code=CLOSE_MOVED, message=b"go on over another server")
            self._moving = asyncio.create_task(closing, name=f"session-{self.id}-move")

    def heard(self, ack: int | None) -> None:
        """The browser spoke over its newest socket and has everything up to `ack`."""
        self.tokens = self.tokens[-1:]
        if ack is not None:
            self._outbox.acknowledge(ack)

    async def take(self, envelope_: Envelope) -> bool:
        """A message from the browser; waits while too many are unhandled. False when its number shows a loss."""
        self.heard(envelope_.ack)
        verdict = self._inbox.take(envelope_.seq)
        if verdict == "new" and not self.closed:
            await self._incoming.put(envelope_.message)
        return verdict != "gap"

    @property
    def received(self) -> int:
        """Number of the last message that was taken."""
        return self._inbox.received

    def detach(self, socket: web.WebSocketResponse, *, for_good: bool) -> None:
        """The socket is gone. `for_good`: the browser closed it on purpose; else it has the window to come back."""
        if self._socket is not socket or self.closed:
            return
        self._socket = None
        self._writable.set()
        # Some answer a close with a code of their own.
        if (for_good and socket is not self._moved) or self._last_words:
            self.leave("page_closed")
            return
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._window_s, self.leave, "browser_lost")

    def leave(self, reason: str) -> None:
        """End the session; the participant hears that its browser is gone, unless it had sent `ended` before.

        `reason` is one stable word: it ends up in the contact's record and in the metrics.
        """
        if self.closed:
            return
        self.closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        self._over.set()
        self._writable.set()
        self._closing = asyncio.create_task(self._close(reason), name=f"session-{self.id}-close")

    def _finish(self) -> None:
        self.leave("call_ended")

    async def _close(self, reason: str) -> None:
        try:
            if self._participant is not None and not self._last_words:
                # What came before the browser left (a hang-up, most of all) is still handled.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._incoming.join(), UNHANDLED_WAIT_S)
                await self._participant.gone(reason)
        except Exception:
            log.exception("session_close_failed", session=self.id)
        finally:
            if self._worker is not None:
                self._worker.cancel()
            self._on_closed(self)
        if self._socket is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._socket.close(code=CLOSE_OK, message=reason.encode()), UNHANDLED_WAIT_S)

    async def stop(self, reason: str) -> None:
        """End it now and wait until that is done."""
        self.leave(reason)
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=2 * UNHANDLED_WAIT_S)


def reference(message: ClientMessage) -> str | None:
    """What an error about this message refers to: an offer's id, a call's id."""
    value = getattr(message, "id", None)
    if value is None:
        value = getattr(message, "call_id", None)
    return None if value is None else str(value)
