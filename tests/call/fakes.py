"""Doubles for the call layer: an engine that only remembers, a SIP session that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from mediaserver.call.events import EndCause
from mediaserver.call.leg import Codecs, Leg
from mediaserver.engine import commands, events
from mediaserver.engine.engine import LocalIce, LocalRtp
from mediaserver.engine.ids import make_id, shard_of
from mediaserver.errors import LocalProtocolError
from mediaserver.sip.events import FINAL_EVENTS, Ended, SessionEvent
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.session_id import SessionId
from mediaserver.sip.session_states import SessionState
from mediaserver.sip.uri import SipUri
from mediaserver.webrtc.messages import ServerMessage


class FakeEngine:
    """Has the face of `Engine` as far as legs use it; `sent` holds every command in order."""

    def __init__(self) -> None:
        self.running = True
        self.sent: list[commands.Command] = []
        self.closed: list[int] = []
        self._number = 0
        self._port = 20_000
        self._subscribers: dict[int, list[Callable[[Any], None]]] = {}

    def _next(self, shard: int = 0) -> int:
        self._number += 1
        return make_id(shard, self._number)

    def new_track_id(self, transport: int) -> int:
        return self._next(shard_of(transport))

    def new_id(self) -> int:
        return self._next()

    def new_transcoder_id(self) -> int:
        return self._next(7)

    def new_listener_id(self, mix: int) -> int:
        return self._next(shard_of(mix))

    def submit(self, *batch: commands.Command) -> None:
        self.sent.extend(batch)

    async def open_ice_transport(self) -> LocalIce:
        number = self._next()
        return LocalIce(number, f"ufrag{number}", "p" * 24, (("127.0.0.1", 10_000),))

    async def restart_ice(self, id: int) -> LocalIce:
        return LocalIce(id, f"again{self._next()}", "q" * 24, (("127.0.0.1", 10_000),))

    async def open_rtp_transport(self, bind_ip: str, **_: object) -> LocalRtp:
        await asyncio.sleep(0)  # the engine answers from another thread
        self._port += 2
        return LocalRtp(self._next(), bind_ip, self._port, self._port + 1)

    def close_transport(self, id: int, reason: str = "commanded") -> None:
        self.closed.append(id)

    async def stats(self, ids: Iterable[int]) -> list[events.TransportStats]:
        return []

    def subscribe_events(self, id: int, callback: Callable[[Any], None]) -> Callable[[], None]:
        self._subscribers.setdefault(id, []).append(callback)
        return lambda: self._subscribers[id].remove(callback)

    def deliver(self, event: events.AnyEvent) -> None:
        """Hands an event to whoever subscribed to its id."""
        for callback in list(self._subscribers.get(event.id, ())):  # type: ignore[union-attr]
            callback(event)

    def of(self, kind: type[commands.Command]) -> list[Any]:
        """The commands of one type, in order."""
        return [command for command in self.sent if isinstance(command, kind)]


class FakeSession:
    """Has the face of `InviteSession`; `log` holds what was asked of it."""

    def __init__(self, direction: str = "outgoing") -> None:
        self.id = "session"
        self.state = SessionState.CONFIRMED
        self.direction = direction
        self.may_reoffer = True
        self.may_offer_early = False
        self.takes_info = False
        self.session_id = SessionId()
        self.remote_party = NameAddr(SipUri("example.org", "agent"))
        self.told: dict[str, str] = {}
        """Who is at our end, as the phone was told."""
        self.party: NameAddr | None = None
        self.updates = True
        self.answered = False
        self.withdrawn = False
        """The phone took its re-INVITE back."""
        self.log: list[tuple[Any, ...]] = []
        self._queue: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self.focus: str | None = None

    def happen(self, event: SessionEvent) -> None:
        """Makes the peer do something."""
        self._queue.put_nowait(event)

    async def events(self) -> AsyncIterator[SessionEvent]:
        while True:
            event = await self._queue.get()
            yield event
            if isinstance(event, FINAL_EVENTS):
                return

    def ring(self, code: int = 180, body: bytes | None = None, headers: object = ()) -> None:
        self.log.append(("ring", code) if body is None else ("ring", code, body))

    def answer(self, body: bytes | None, headers: object = ()) -> None:
        self.answered = True
        self.log.append(("answer", body))

    def reject(self, code: int, reason: str | None = None, headers: object = ()) -> None:
        self.log.append(("reject", code, dict(headers)))  # type: ignore[call-overload]

    def answer_reoffer(self, body: bytes | None) -> None:
        if self.withdrawn:
            raise LocalProtocolError("ACCEPT is not possible in offer state IDLE")
        self.log.append(("answer_reoffer", body))

    def reoffer(self, body: bytes | None) -> None:
        self.log.append(("reoffer", body))

    def reject_reoffer(self, code: int, headers: object = ()) -> None:
        self.log.append(("reject_reoffer", code))

    def identify(self, headers: object, party: NameAddr | None = None) -> bool:
        self.party = party
        told = dict(headers)  # type: ignore[call-overload]
        if told != self.told:
            self.told = told
            self.log.append(("identify", told))
        return self.updates or (self.direction == "incoming" and not self.answered)

    def send_info(self, content_type: str, body: bytes) -> None:
        self.log.append(("info", content_type, body))

    def accept_referral(self) -> None:
        self.log.append(("accept_referral",))

    def reject_referral(self, code: int) -> None:
        self.log.append(("reject_referral", code))

    def notify_referral(self, code: int) -> None:
        self.log.append(("notify_referral", code))

    def hangup(self, cause: str | None = None) -> None:
        self.log.append(("hangup", cause))
        self.happen(Ended("local"))


class FakeSignaling:
    """Remembers what the page was told."""

    source = "192.0.2.1"
    voices = 0

    def __init__(self) -> None:
        self.sent: list[ServerMessage] = []

    async def send(self, message: ServerMessage) -> None:
        self.sent.append(message)

    def of(self, kind: type) -> list[Any]:
        """The messages of one type, in order."""
        return [message for message in self.sent if isinstance(message, kind)]


class FakeLeg(Leg):
    """A leg without media that remembers what the call asked of it."""

    kind = "room"

    def __init__(self, name: str, *, codecs: Codecs | None = None) -> None:
        super().__init__(leg_id=name, contact_id="contact", name=name, engine=FakeEngine())  # type: ignore[arg-type]
        self.met: list[str] = []
        self.progressed: list[int] = []
        self.refused: list[tuple[EndCause, str | None]] = []
        self.supervised: list[tuple[str, str]] = []
        self.parties: list[str] = []
        self.seen: list[tuple[str, str | None]] = []
        self.pressed: list[str] = []
        self.joined_with: list[str] = []
        self._codecs = codecs or {}

    @property
    def codecs(self) -> Codecs:
        return self._codecs

    @property
    def transports(self) -> tuple[int, ...]:
        return ()

    async def progress(self, code: int) -> None:
        self.progressed.append(code)

    async def meet(self, other: Leg) -> None:
        self.met.append(other.name)

    async def joined(self, other: Leg) -> None:
        self.joined_with.append(other.name)

    async def show_party(self, other: Leg) -> None:
        self.parties.append(other.shown_name)

    async def see(self, other: Leg, companion: Leg | None) -> None:
        self.seen.append((other.id, companion.id if companion is not None else None))

    def press(self, digits: str, *, duration_ms: int) -> None:
        self.pressed.append(digits)
        super().press(digits, duration_ms=duration_ms)

    async def show_supervision(self, by: str, mode: str) -> None:
        self.supervised.append((by, mode))

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        self.refused.append((cause, warning))
        await self.end(cause)

    async def _release(self, cause: EndCause) -> None:
        return None
