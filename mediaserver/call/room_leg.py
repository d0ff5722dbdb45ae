"""A leg that publishes into a room or views it over one HTTP exchange (WHIP, WHEP), without a session of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping

import structlog

from mediaserver.call.admission import Admission
from mediaserver.call.booking import BROWSER_PACKETS, Booking, Party
from mediaserver.call.browser_bandwidth import admitted_policy
from mediaserver.call.events import EndCause
from mediaserver.call.signaling import StaleEtag
from mediaserver.call.webrtc_peer import WebRtcPeer
from mediaserver.core.participant import Participant
from mediaserver.core.rooms import Rooms
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Codec, Direction, Fingerprint
from mediaserver.webrtc.sdpfrag import parse_fragment
from mediaserver.webrtc.section import MediaPolicy

_log = structlog.get_logger(__name__)
_KINDS: tuple[Kind, ...] = ("audio", "video")


class RoomLeg:
    """Implements `call.signaling.RoomSession`. `on_closed` is called once, whoever ended it."""

    def __init__(
        self,
        *,
        room: str,
        subject: str,
        rooms: Rooms,
        engine: Engine,
        fingerprint: Fingerprint,
        policy: MediaPolicy,
        views: bool,
        on_closed: Callable[[RoomLeg, EndCause], None],
        book: Callable[[str], Booking],
    ) -> None:
        self.id = secrets.token_urlsafe(24)
        self.answer_sdp = ""
        self.etag = _new_etag()
        self._room = room
        self._views = views
        self._rooms = rooms
        self._on_closed = on_closed
        self.closed = False
        self._participant = Participant(self.id)
        self._policy = policy
        self._booking = book(self.id)
        self._peer = WebRtcPeer(
            engine=engine,
            fingerprint=fingerprint,
            policy=policy,
            cname=self.id[:16],
            closed_gates={},
            on_event=self._on_engine_event,
            on_unreachable=lambda: self._end(EndCause("system", "never_connected")),
        )
        self._log = _log.bind(room=room, room_session=self.id[:8], subject=subject)

    async def open(self, offer_sdp: str) -> None:
        """Takes the offer; `answer_sdp` is there afterwards.

        Raises SdpError, NegotiationError, LimitExceeded, InsufficientBandwidth.
        """
        try:
            self._peer.use(admitted_policy(self._booking, self._policy, offer_sdp))
            self.answer_sdp = await self._peer.accept_offer(offer_sdp)
        except BaseException:
            self._peer.close()
            self._booking.release()
            raise
        agreed = {kind: self._peer.section(kind) for kind in _KINDS}
        self._booking.settle({kind: section.receive for kind, section in agreed.items() if section is not None})
        for kind, tracks in self._peer.media.items():
            section = self._peer.section(kind)
            if section is None:
                continue
            if tracks.up is not None and section.direction.receives:
                self._participant.up[kind] = tracks.up
            if tracks.down is not None and section.direction.sends:
                self._participant.down[kind] = tracks.down
        self._participant.data = self._peer.data
        # Who may publish may talk to the room; a viewer reads along.
        self._participant.may_send_data = not self._views
        self._rooms.join(self._room, self._participant)
        self._log.info("room_joined", publishes=bool(self._participant.up))

    async def trickle(self, fragment: str, etag: str | None) -> str | None:
        """See `call.signaling.RoomSession`."""
        if etag is not None and etag != self.etag:
            raise StaleEtag("this ICE session was replaced by a restart")
        restarted = await self._peer.restart_ice(parse_fragment(fragment))
        if restarted is not None:
            self.etag = _new_etag()
        return restarted

    async def close(self, reason: str) -> None:
        """See `call.signaling.RoomSession`."""
        self._end(EndCause("caller", reason))

    def _end(self, cause: EndCause) -> None:
        if self.closed:
            return
        self.closed = True
        self._rooms.leave(self._room, self.id)
        self._peer.close()
        self._booking.close()
        self._log.info("room_left", by=cause.by, reason=cause.reason)
        self._on_closed(self, cause)

    def _on_engine_event(self, kind: Kind | None, event: engine_events.AnyEvent) -> None:
        if isinstance(event, engine_events.TransportClosed) and event.reason != "commanded":
            # Not from within the delivery of the event: leaving touches the tables that are being walked.
            asyncio.get_running_loop().call_soon(self._end, EndCause("system", event.reason))


def _new_etag() -> str:
    return secrets.token_urlsafe(12)


class RoomSessions:
    """Implements `call.signaling.Rooms`: publishers and viewers of rooms, made of configuration and engine."""

    def __init__(
        self,
        *,
        rooms: Rooms,
        engine: Engine,
        fingerprint: Fingerprint,
        audio_codecs: tuple[str, ...],
        video_codecs: tuple[str, ...],
        data_channels: bool,
        metrics: Metrics,
        admission: Admission,
    ) -> None:
        self._rooms = rooms
        self._engine = engine
        self._fingerprint = fingerprint
        self._codecs = (audio_codecs, video_codecs)
        self._data_channels = data_channels
        self._admission = admission
        self._open: dict[str, RoomLeg] = {}
        metrics.gauge("rooms_open", "Rooms with somebody in them").set_function(lambda: len(rooms))
        metrics.gauge("room_sessions_open", "WHIP and WHEP sessions that are open").set_function(
            lambda: len(self._open)
        )

    def __len__(self) -> int:
        return len(self._open)

    async def publish(self, room: str, offer_sdp: str, *, subject: str, source: str) -> RoomLeg:
        """See `call.signaling.Rooms`."""
        self._rooms.check(room, publishes=True)
        return await self._enter(room, offer_sdp, subject, source, Direction.RECVONLY, {})

    async def view(self, room: str, offer_sdp: str, *, subject: str, source: str) -> RoomLeg:
        """See `call.signaling.Rooms`. A viewer may come before the publisher; it then takes every codec allowed."""
        self._rooms.check(room, publishes=False)
        present = self._rooms.get(room)
        only = {kind: present.codecs(kind) for kind in _KINDS if present.codecs(kind)} if present else {}
        return await self._enter(room, offer_sdp, subject, source, Direction.SENDONLY, only)

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
        direction: Direction,
        only: Mapping[Kind, tuple[Codec, ...]],
    ) -> RoomLeg:
        audio, video = self._codecs
        policy = MediaPolicy(
            audio=audio,
            video=video,
            directions={"audio": direction, "video": direction},
            telephone_events=False,
            data=self._data_channels,
            only={str(kind): codecs for kind, codecs in only.items()},
        )
        publishes = direction is Direction.RECVONLY

        def book(id: str) -> Booking:
            # A viewer's media count against its site's lines only: what a room may hold is what is sent into it.
            party = Party(
                address=source,
                packets=BROWSER_PACKETS,
                room=room if publishes else None,
                participant=id if publishes else None,
            )
            return self._admission.book(id, party)

        leg = RoomLeg(
            room=room,
            subject=subject,
            rooms=self._rooms,
            engine=self._engine,
            fingerprint=self._fingerprint,
            policy=policy,
            views=direction is Direction.SENDONLY,
            on_closed=self._closed,
            book=book,
        )
        await leg.open(offer_sdp)
        self._open[leg.id] = leg
        return leg

    def _closed(self, leg: RoomLeg, cause: EndCause) -> None:
        self._open.pop(leg.id, None)
