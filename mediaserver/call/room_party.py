"""What everybody in a room has, however it came in: a peer connection, an account with admission control, a place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mediaserver.call.admission import Admission
from mediaserver.call.booking import Booking, Party
from mediaserver.call.browser_bandwidth import admitted_policy
from mediaserver.call.events import EndCause, QualityChanged
from mediaserver.call.quality_watch import QualityWatch
from mediaserver.call.reception import Reception
from mediaserver.call.room_stay import KeepRecord, RoomStay
from mediaserver.call.webrtc_peer import WebRtcPeer
from mediaserver.config.bandwidth import MediaKind
from mediaserver.config.sections import RoomDefaults
from mediaserver.core.participant import Participant
from mediaserver.core.rooms import Rooms
from mediaserver.core.slot import Slot
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.errors import InsufficientBandwidth, RemoteProtocolError
from mediaserver.sdp.description import Codec, Direction, Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.section import MediaPolicy, Section

KINDS: Final[tuple[Kind, ...]] = ("audio", "video")

Reason = Literal["not_permitted", "one_of_a_kind", "bandwidth"]
"""Why nothing is taken of a section on which a browser would send."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the daemon parties are made of; codecs by name, best first."""

    rooms: Rooms
    engine: Engine
    fingerprint: Fingerprint
    admission: Admission
    defaults: RoomDefaults
    audio_codecs: tuple[str, ...]
    video_codecs: tuple[str, ...]
    data_channels: bool
    quality: QualityWatch | None = None
    """Looks at everybody, where quality is measured."""
    keep_record: KeepRecord | None = None
    """Takes the record of everybody who has left."""

    def policy(
        self,
        direction: Direction,
        *,
        sections: Mapping[str, int],
        data: bool = True,
        only: Mapping[Kind, tuple[Codec, ...]] | None = None,
    ) -> MediaPolicy:
        """What is taken of an offer: `sections` of each kind, in a direction seen from us."""
        return MediaPolicy(
            audio=self.audio_codecs,
            video=self.video_codecs,
            directions={"audio": direction, "video": direction},
            sections=sections,
            telephone_events=False,
            data=self.data_channels and data,
            only={str(kind): codecs for kind, codecs in (only or {}).items()},
        )


class RoomParty:
    """One peer connection in the room `room`, as `participant`.

    `on_closed` is called once, whoever ended it; `on_layers` gets, with the mid, which layers anybody wants;
    `on_quality` is told when the line does better or worse.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        room: str,
        participant: Participant,
        policy: MediaPolicy,
        booking: Booking,
        on_closed: Callable[[EndCause], None],
        on_layers: Callable[[str, engine_events.UpTrackLayersWanted], None] | None = None,
        on_quality: Callable[[QualityChanged], None] | None = None,
        on_edge_left: Callable[[], None] | None = None,
    ) -> None:
        self.room = room
        self.participant = participant
        self.refused: dict[str, Reason] = {}
        """By mid, what of the last offer is not taken: what would be sent and may not, and pictures without bandwidth."""
        self.closed = False
        self._rooms = parts.rooms
        self._policy = policy
        self._booking = booking
        self._on_closed = on_closed
        self._on_layers = on_layers
        self._on_edge_left = on_edge_left
        self._kinds: dict[str, MediaKind] = {}
        account = Party(address=booking.party.address, packets=booking.party.packets)
        self._reception = Reception(parts.admission.book(f"{booking.leg_id}-received", account), booking)
        if self._reception.matters:
            participant.afford = self._afford
            self._reception.listen(self._limit)
        self.peer = WebRtcPeer(
            engine=parts.engine,
            fingerprint=parts.fingerprint,
            policy=policy,
            cname=participant.id[:16],
            closed_gates={},
            on_event=self._on_engine_event,
            on_unreachable=lambda: self.close(EndCause("system", "never_connected")),
            as_agreed=True,
        )
        self._quality = parts.quality
        self._stay = RoomStay(
            engine=parts.engine,
            room=room,
            party=participant.id,
            name=participant.name,
            peer=self.peer,
            on_change=on_quality,
            keep=parts.keep_record,
            clock=time.monotonic,
        )

    async def take_offer(self, sdp: str, kinds: Mapping[str, MediaKind] | None = None) -> str:
        """Takes an offer and returns the answer; the participant is then in the room with what was agreed.

        `kinds` says by mid what a section shows; without a word a picture with `a=content:slides` (RFC 4796 §5) is a
        screen, and the second one that is sent.
        Raises SdpError, NegotiationError, LimitExceeded, InsufficientBandwidth, RemoteProtocolError.
        """
        self.peer.use(admitted_policy(self._booking, self._policy, sdp))
        said = {**_slides(sdp), **(kinds or {})}
        answer = await self.peer.accept_offer(sdp, directions=lambda sections: self._directions(sections, said))
        self._booking.settle(self._codecs())
        self._booking.on_change = lambda kind, bps: self._limit()
        if "screen" in self.participant.live and not self.book_screen(shown=True):
            self.participant.live.discard("screen")
            self.refused.update({mid: "bandwidth" for mid, kind in self._kinds.items() if kind == "screen"})
        if "video" in self._booking.decision.denied:
            pictures = (section for section in self.peer.sections if section.kind == "video" and section.rejected)
            self.refused.update({section.mid: "bandwidth" for section in pictures})
        self._take_tracks()
        self._limit()
        self._stay.answered()
        if self._quality is not None:
            self._quality.watch(self._stay)
        self._rooms.join(self.room, self.participant)
        return answer

    def book_screen(self, *, shown: bool) -> bool:
        """Charges the lines on the way for a screen while one is shown; False where they have no room for it."""
        try:
            return self._book_screen(shown=shown)
        finally:
            self._limit()

    def _book_screen(self, *, shown: bool) -> bool:
        if not shown or not self._booking.matters:
            self._booking.settle(self._codecs())
            return True
        screen = next(
            (section.receive for section in self.peer.sections if self._kinds.get(section.mid) == "screen"), ()
        )
        if not screen:
            return True  # there is no section for one yet: it is charged with the offer that brings it
        try:
            allowed = self._booking.narrow({**self._codecs(), "screen": screen})
        except InsufficientBandwidth:
            return False
        return "screen" in allowed

    def _limit(self) -> None:
        """The engine keeps to what the lines have room for: of all slots together, and of all that is published."""
        media = {kind: tuple(track.codecs) for kind, track in self.participant.up.items()}
        if "screen" not in self._booking.decision.verdicts:
            media.pop("screen", None)  # charged, and bounded, while it is shown
        own = self._booking.total(self._codecs()) if self._booking.shares_line("video") else None
        self.peer.limit(
            send_bps=None if own is None else own + self._reception.bps, receive_bps=self._booking.total(media)
        )

    def mid_of_kind(self, kind: MediaKind) -> str | None:
        """The section on which the browser sends a kind."""
        return next((mid for mid, is_kind in self._kinds.items() if is_kind == kind), None)

    def mid_of(self, track: int) -> str | None:
        """The section of an up track."""
        return next((mid for mid, tracks in self.peer.tracks.items() if tracks.up and tracks.up.id == track), None)

    def close(self, cause: EndCause) -> None:
        """Leaves the room and ends the connection. Calling it again does nothing."""
        if self.closed:
            return
        self.closed = True
        self._rooms.leave(self.room, self.participant.id)
        self.participant.afford = None
        self._stay.end(cause)
        self.peer.close()
        self._booking.close()
        self._reception.close()
        self._on_closed(cause)

    def abandon(self) -> None:
        """Undoes what an offer began that came to nothing; `on_closed` is not called."""
        self.closed = True
        self.peer.close()
        self._booking.release()
        self._reception.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _codecs(self) -> dict[MediaKind, tuple[Codec, ...]]:
        """What was agreed on for sound and cameras; screens are charged while they are shown."""
        found: dict[MediaKind, tuple[Codec, ...]] = {}
        for section in self.peer.sections:
            for kind in KINDS:
                if not section.rejected and section.kind == kind == self._kinds.get(section.mid, kind):
                    found.setdefault(kind, section.receive)
        return found

    def _afford(self, kind: MediaKind, tracks: int) -> int:
        room = self._reception.afford(kind, tracks, self._codecs().get(kind, ()))
        self._limit()
        return room

    def _directions(self, sections: tuple[Section, ...], said: Mapping[str, MediaKind]) -> dict[str, Direction]:
        self.refused, self._kinds = {}, {}
        wanted: dict[str, Direction] = {}
        for section in sections:
            if section.rejected or section.kind not in KINDS:
                continue
            takes = False
            if section.remote_direction.sends and self._policy.direction(section.kind).receives:
                reason = self._take_kind(section, said)
                takes = reason is None
                if reason is not None:
                    self.refused[section.mid] = reason
            wanted[section.mid] = Direction.of(sends=True, receives=takes)
        return wanted

    def _take_kind(self, section: Section, said: Mapping[str, MediaKind]) -> Reason | None:
        kind = said.get(section.mid)
        if kind is None:
            kind = "audio" if section.kind == "audio" else "screen" if "video" in self._kinds.values() else "video"
        if (kind == "audio") != (section.kind == "audio"):
            raise RemoteProtocolError(f"section {section.mid} is {section.kind} and cannot be {kind}", status=400)
        if kind in self._kinds.values():
            return "one_of_a_kind"
        if kind not in self.participant.permissions.publish:
            return "not_permitted"
        self._kinds[section.mid] = kind
        return None

    def _take_tracks(self) -> None:
        participant = self.participant
        tracks = self.peer.tracks
        participant.up = {
            kind: up for mid, kind in self._kinds.items() if mid in tracks and (up := tracks[mid].up) is not None
        }
        sending = {section.mid for section in self.peer.sections if not section.rejected and section.direction.sends}
        slots: dict[str, Slot] = {}
        for mid, track in tracks.items():
            if track.down is not None and mid in sending:
                known = participant.slots.get(mid)
                slots[mid] = known if known is not None and known.down is track.down else Slot(mid, track.down)
        participant.slots = slots
        participant.data = self.peer.data

    def _on_engine_event(self, kind: Kind | None, event: engine_events.AnyEvent) -> None:
        match event:
            case engine_events.SpeechChanged(loudness=loudness):
                self._rooms.hear(self.room, self.participant.id, loudness)
            case engine_events.UpTrackLayersWanted(id=track) if self._on_layers is not None:
                mid = self.mid_of(track)
                if mid is not None:
                    self._on_layers(mid, event)
            case engine_events.EdgeLeft() if self._on_edge_left is not None:
                self._on_edge_left()
            case engine_events.TransportClosed(reason=reason) if reason != "commanded":
                # Not from within the delivery of the event: leaving touches the tables that are being walked.
                asyncio.get_running_loop().call_soon(self.close, EndCause("system", reason))
            case _:
                pass


def _slides(sdp: str) -> dict[str, MediaKind]:
    """By mid, the pictures that an offer calls a screen."""
    sections = (media for media in parse(sdp).media if media.kind == "video" and media.attribute("content") == "slides")
    return {media.mid: "screen" for media in sections if media.mid is not None}
