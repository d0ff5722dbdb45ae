"""A leg that publishes into a room or views it over one HTTP exchange (WHIP, WHEP), without a session of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from mediaserver.call.booking import BROWSER_PACKETS, Booking, Party
from mediaserver.call.events import EndCause
from mediaserver.call.room_party import KINDS, Parts, RoomParty
from mediaserver.call.signaling import StaleEtag
from mediaserver.core.participant import Participant, new_participant_id
from mediaserver.core.permissions import NOTHING, Permissions, Publishable, publishables
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Direction
from mediaserver.webrtc.sdpfrag import parse_fragment
from mediaserver.webrtc.section import MediaPolicy

_log = structlog.get_logger(__name__)


class RoomLeg:
    """Implements `call.signaling.RoomSession`. `on_closed` is called once, whoever ended it."""

    def __init__(
        self,
        *,
        parts: Parts,
        room: str,
        subject: str,
        policy: MediaPolicy,
        may_publish: frozenset[Publishable],
        on_closed: Callable[[RoomLeg], None],
        book: Callable[[str], Booking],
    ) -> None:
        self.id = secrets.token_urlsafe(24)
        self.answer_sdp = ""
        self.etag = _new_etag()
        self._on_closed = on_closed
        self._log = _log.bind(room=room, room_session=self.id[:8], subject=subject)
        self._party = RoomParty(
            parts=parts,
            room=room,
            # Others in the room see its name; that of the session's resource is nobody's business.
            participant=Participant(new_participant_id(), subject, permissions=Permissions(may_publish)),
            policy=policy,
            booking=book(self.id),
            on_closed=self._ended,
        )

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._party.closed

    async def open(self, offer_sdp: str) -> None:
        """Takes the offer; `answer_sdp` is there afterwards.

        Raises SdpError, NegotiationError, LimitExceeded, InsufficientBandwidth.
        """
        try:
            self.answer_sdp = await self._party.take_offer(offer_sdp)
        except BaseException:
            self._party.abandon()
            raise
        self._log.info("room_joined", publishes=bool(self._party.participant.up), refused=self._party.refused)

    async def trickle(self, fragment: str, etag: str | None) -> str | None:
        """See `call.signaling.RoomSession`."""
        if etag is not None and etag != self.etag:
            raise StaleEtag("this ICE session was replaced by a restart")
        restarted = await self._party.peer.restart_ice(parse_fragment(fragment))
        if restarted is not None:
            self.etag = _new_etag()
        return restarted

    async def close(self, reason: str) -> None:
        """See `call.signaling.RoomSession`."""
        self._party.close(EndCause("caller", reason))

    def _ended(self, cause: EndCause) -> None:
        self._log.info("room_left", by=cause.by, reason=cause.reason)
        self._on_closed(self)


def _new_etag() -> str:
    return secrets.token_urlsafe(12)


class RoomSessions:
    """Implements `call.signaling.Rooms`: publishers and viewers of rooms, made of configuration and engine."""

    def __init__(self, parts: Parts, *, metrics: Metrics) -> None:
        self._parts = parts
        self._open: dict[str, RoomLeg] = {}
        metrics.gauge("rooms_open", "Rooms with somebody in them").set_function(lambda: len(parts.rooms))
        metrics.gauge("room_sessions_open", "WHIP and WHEP sessions that are open").set_function(
            lambda: len(self._open)
        )

    def __len__(self) -> int:
        return len(self._open)

    async def publish(
        self, room: str, offer_sdp: str, *, subject: str, source: str, may_publish: frozenset[Publishable] | None = None
    ) -> RoomLeg:
        """See `call.signaling.Rooms`."""
        self._parts.rooms.check(room, "publisher")
        allowed = publishables(self._parts.defaults.publish) if may_publish is None else may_publish
        # One picture: what a publisher without a session shows is its camera.
        policy = self._parts.policy(Direction.RECVONLY, sections={"audio": 1, "video": 1}, data="data" in allowed)
        return await self._enter(room, offer_sdp, subject, source, policy, allowed)

    async def view(self, room: str, offer_sdp: str, *, subject: str, source: str) -> RoomLeg:
        """See `call.signaling.Rooms`. A viewer may come before the publisher; it then takes every codec allowed."""
        self._parts.rooms.check(room, "viewer")
        present = self._parts.rooms.get(room)
        only = {kind: present.codecs(kind) for kind in KINDS if present.codecs(kind)} if present else {}
        slots = {"audio": self._parts.defaults.audio_slots, "video": self._parts.defaults.video_slots}
        policy = self._parts.policy(Direction.SENDONLY, sections=slots, only=only)
        return await self._enter(room, offer_sdp, subject, source, policy, NOTHING)

    async def close_all(self, reason: str) -> None:
        """Ends every session."""
        for leg in list(self._open.values()):
            await leg.close(reason)

    async def _enter(
        self,
        room: str,
        offer_sdp: str,
        subject: str,
        source: str,
        policy: MediaPolicy,
        may_publish: frozenset[Publishable],
    ) -> RoomLeg:
        publishes = policy.direction("audio") is Direction.RECVONLY

        def book(id: str) -> Booking:
            # A viewer's media count against its site's lines only: what a room may hold is what is sent into it.
            party = Party(
                address=source,
                packets=BROWSER_PACKETS,
                room=room if publishes else None,
                participant=id if publishes else None,
            )
            return self._parts.admission.book(id, party)

        leg = RoomLeg(
            parts=self._parts,
            room=room,
            subject=subject,
            policy=policy,
            may_publish=may_publish,
            on_closed=self._closed,
            book=book,
        )
        await leg.open(offer_sdp)
        self._open[leg.id] = leg
        return leg

    def _closed(self, leg: RoomLeg) -> None:
        self._open.pop(leg.id, None)
