"""Line tests before a call: a transport that sends a page's messages back to it, bounded in number, rate and time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from mediaserver.engine.commands import AcceptData, CloseChannel, Fingerprint, JoinTopic, SetIceRemote
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, ChannelOpened
from mediaserver.errors import LimitExceeded, LocalProtocolError, NegotiationError
from mediaserver.sdp.data import LOCAL_PORT
from mediaserver.sdp.description import Fingerprint as SdpFingerprint
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation

MESSAGES_PER_SECOND: Final = 320
MESSAGE_BYTES: Final = 1000
"""What is sent back at most: 2.56 Mbit/s each way, which is a good picture; the rest is dropped by the engine."""

DURATION_S: Final = 75.0
"""After that a test is over, whatever it was doing."""

MOST_ATTEMPTS: Final = 8
"""Transports of one test, one after another: one for each way through the network."""

UP: Final = "up"
DOWN: Final = "down"
"""Labels of the page's channels: what it sends on one comes back on the other."""

_NOTHING: Final = MediaPolicy(audio=(), video=(), data=True)


class LineTest:
    """One page's test. It has one transport at a time."""

    def __init__(self, *, engine: Engine, fingerprint: SdpFingerprint, on_closed: Callable[[LineTest], None]) -> None:
        self.id = secrets.token_urlsafe(24)
        self._engine = engine
        self._fingerprint = fingerprint
        self._on_closed = on_closed
        self._attempts = 0
        self._topic = engine.new_id()
        self._transport: int | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False

    async def connect(self, sdp: str) -> str:
        """Answers an offer of data channels, over a transport that takes the place of the one before.

        Raises SdpError, NegotiationError, LimitExceeded.
        """
        self._attempts += 1
        if self._attempts > MOST_ATTEMPTS:
            raise LimitExceeded("This test has tried enough ways; begin another one.", limit="line_test_attempts")
        self._drop()
        local = await self._engine.open_ice_transport()
        if self._closed or self._transport is not None:
            self._engine.close_transport(local.id)
            raise LocalProtocolError("the test ended, or went on, while its transport was opened")
        self._transport = local.id
        self._unsubscribe = self._engine.subscribe_events(local.id, self._on_event)
        params = LocalIceParams(local.ufrag, local.pwd, local.addresses, self._fingerprint, local.tcp_addresses)
        negotiation = Negotiation(local=params, policy=_NOTHING, cname="")
        try:
            negotiation.handle_offer(sdp)
            answer = negotiation.create_answer()
            self._apply(local.id, negotiation)
        except BaseException:
            self._drop()
            raise
        return answer

    def close(self) -> None:
        """Ends the test with its transport. Calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._drop()
            self._on_closed(self)

    def _apply(self, transport: int, negotiation: Negotiation) -> None:
        remote, section = negotiation.transport, negotiation.of_kind("application")
        if remote is None or section is None or section.data is None:
            raise NegotiationError("A line test needs data channels.", warning_code=304)
        self._engine.submit(
            SetIceRemote(
                id=transport,
                ufrag=remote.ufrag,
                pwd=remote.pwd,
                fingerprints=tuple(Fingerprint(algorithm=f.algorithm, value=f.value) for f in remote.fingerprints),
                dtls_role=remote.dtls_role,
            ),
            AcceptData(
                id=transport,
                local_port=LOCAL_PORT,
                remote_port=section.data.port,
                remote_message_bytes=section.data.message_bytes,
                messages_per_second=MESSAGES_PER_SECOND,
                bytes_per_second=MESSAGES_PER_SECOND * MESSAGE_BYTES,
            ),
        )

    def _on_event(self, event: AnyEvent) -> None:
        if not isinstance(event, ChannelOpened) or self._transport is None:
            return
        if event.label in (UP, DOWN):
            up = event.label == UP
            self._engine.submit(
                JoinTopic(id=self._transport, stream=event.stream, topic=self._topic, may_send=up, may_receive=not up)
            )
        else:
            self._engine.submit(CloseChannel(id=self._transport, stream=event.stream))

    def _drop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._transport is not None:
            self._engine.close_transport(self._transport)
            self._transport = None


class LineTests:
    """All tests there are; each ends by itself after `duration_s`."""

    def __init__(
        self, *, engine: Engine, fingerprint: SdpFingerprint, most: int, duration_s: float = DURATION_S
    ) -> None:
        self._engine = engine
        self._fingerprint = fingerprint
        self._most = most
        self._duration_s = duration_s
        self._open: dict[str, tuple[LineTest, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, on_closed: Callable[[], None] = lambda: None) -> LineTest:
        """A new test; `on_closed` is called when it is over. Raises LimitExceeded."""
        if len(self._open) >= self._most:
            raise LimitExceeded("Too many lines are being tested; please try again in a minute.", limit="line_tests")

        def closed(ended: LineTest) -> None:
            _, timer = self._open.pop(ended.id)
            timer.cancel()
            on_closed()

        test = LineTest(engine=self._engine, fingerprint=self._fingerprint, on_closed=closed)
        timer = asyncio.get_running_loop().call_later(self._duration_s, test.close)
        self._open[test.id] = test, timer
        return test

    def find(self, test_id: str) -> LineTest | None:
        """The test of this name, while it is open. Names cannot be guessed: whoever has one began it."""
        found = self._open.get(test_id)
        return found[0] if found is not None else None

    def close_all(self) -> None:
        """Ends every test."""
        for test, _ in list(self._open.values()):
            test.close()
