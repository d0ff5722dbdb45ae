"""The other side of a call that leads into a room: it has no peer, and puts the caller into the room as a participant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final, Literal

from mediaserver.call.booking import Party
from mediaserver.call.call_request import CallRequest
from mediaserver.call.connected_identity import ConnectedIdentity
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause, PictureWithheld
from mediaserver.call.leg import KINDS, Codecs, Leg
from mediaserver.call.phone_chat import MOST_CHARACTERS, text_of
from mediaserver.call.room_party import Parts
from mediaserver.call.sip_policy import EVERYTHING
from mediaserver.core.down_track import DownTrack
from mediaserver.core.ears import Ears, Withheld
from mediaserver.core.participant import Participant, new_participant_id
from mediaserver.core.permissions import Permissions, publishables
from mediaserver.core.renditions import Renditions
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind
from mediaserver.engine.events import AnyEvent, SpeechChanged
from mediaserver.errors import LimitExceeded, MediaServerError
from mediaserver.runtime.ids import new_id
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sdp.codecs import h264_mode, matches
from mediaserver.sdp.description import Codec

KEPT_S: Final = 300.0
"""How long a place is kept for somebody whose call does not come up; nobody rings as long."""

ANONYMOUS: Final = "Anonymous"
"""What others in the room see of a caller who does not want to be known."""

_STOP_DEADLINE_S: Final = 1.0


class RoomSeat(Leg):
    """Whoever is on the other side of the call is in the room: heard there, seen, and hearing the room's mix.

    The tracks are those of the other leg; here it is only said where they lead. `on_closed` is called once.
    """

    kind: ClassVar[Literal["browser", "sip", "room", "announcement"]] = "room"
    hosts: ClassVar[bool] = True

    def __init__(
        self, *, parts: Parts, room: str, contact_id: str, guest_name: str, on_closed: Callable[[RoomSeat], None]
    ) -> None:
        super().__init__(leg_id=new_id(), contact_id=contact_id, name=room, engine=parts.engine)
        self._parts = parts
        self._room = room
        self._on_closed = on_closed
        self._codecs: Codecs = {
            "audio": EVERYTHING["audio"],
            "video": tuple(codec for codec in EVERYTHING["video"] if codec.name in parts.video_codecs),
        }
        self._guest: Leg | None = None
        self._has_heard = False
        self._state: object = None
        """What the room was told last."""
        self._unsubscribe: Callable[[], None] = _nothing
        self._tasks = TaskGroupOwner(f"room-seat-{self.id}")
        self._participant = self._newcomer(guest_name)
        parts.rooms.join(room, self._participant)
        self._kept = asyncio.get_running_loop().call_later(KEPT_S, self._leave, EndCause("system", "never_connected"))

    @property
    def participant(self) -> Participant:
        """As whom the other side is in the room."""
        return self._participant

    # -- what the call asks ------------------------------------------------------------------------------------------

    @property
    def codecs(self) -> Codecs:
        """Every sound that can be mixed, and the pictures that the room takes."""
        return self._codecs

    @property
    def transports(self) -> tuple[int, ...]:
        """None: what flows is counted on the other leg."""
        return ()

    def prepare(self, wanted: Codecs) -> None:
        """Reserves what somebody who speaks `wanted` sends into the room, and chooses. Raises InsufficientBandwidth."""
        common = {kind: _common(self._codecs.get(kind, ()), wanted.get(kind, ())) for kind in KINDS}
        if any(_fragments(codec) for codec in common["video"]):
            # What pages send first. A phone that has both modes puts either before the other.
            common["video"] = tuple(codec for codec in common["video"] if codec.key != "h264" or _fragments(codec))
            self._codecs = {**self._codecs, "video": common["video"]}
        if self.booking is None or not self.booking.matters:
            return
        allowed = self.booking.narrow({kind: codecs for kind, codecs in common.items() if codecs})
        self._codecs = {kind: allowed[kind] for kind in KINDS if kind in allowed}

    async def progress(self, code: int) -> None:
        """Nobody is there to be told."""

    async def meet(self, other: Leg) -> None:
        """Takes what the other side speaks."""

    def host(self, guest: Leg, *, says: frozenset[Kind], hears: frozenset[Kind]) -> None:
        """See `Leg`. A guest who puts us on hold (RFC 3264 §8.4) is out until it hears again: its music is not for all."""
        if self.ended or guest.ended:
            return
        if guest is not self._guest:
            self._welcome(guest)
        ups = {kind: media.up for kind, media in guest.media.items() if media.up is not None}
        sound, picture = (_active(guest, kind) if kind in hears else None for kind in KINDS)
        takes_sound = _active(guest, "audio") is not None
        on_hold = self._has_heard and not takes_sound
        self._has_heard = self._has_heard or takes_sound
        live = frozenset() if on_hold else frozenset(ups) & says
        downs = () if on_hold else tuple((down, tuple(down.codecs)) for down in (sound, picture) if down is not None)
        state = live, downs, {kind: (up, up.codecs) for kind, up in ups.items()}
        if state == self._state:
            return
        self._state = state
        self._take(ups, live, None if on_hold else sound, None if on_hold else picture)

    def take_text(self, text: str) -> bool:
        """See `Leg`: it goes into the room's chat."""
        return bool(text) and self._guest is not None and self._parts.rooms.say(self._room, self._participant.id, text)

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Ends it."""
        await self.end(cause)

    async def _release(self, cause: EndCause) -> None:
        self._kept.cancel()
        self._let_go()
        self._on_closed(self)
        self._on_closed = _nobody
        await self._tasks.stop(_STOP_DEADLINE_S)

    # -- the place in the room ---------------------------------------------------------------------------------------

    def _newcomer(self, name: str) -> Participant:
        ears = Ears(engine=self._engine, on_refused=self._on_refused, on_withheld=self._on_withheld)
        permissions = Permissions(publishables(self._parts.defaults.publish))
        return Participant(
            new_participant_id(), name, permissions=permissions, ears=ears, member=True, texts=self._on_said
        )

    def _welcome(self, guest: Leg) -> None:
        """Takes in somebody, or in place of who was here before somebody else: a call may be transferred."""
        self._kept.cancel()
        if self._guest is not None:
            self._let_go()
            self._participant = self._newcomer(guest.name)
        self._guest, self._has_heard, self._state = guest, False, None
        self._log_joined()

    def _log_joined(self) -> None:
        self.log.info("room_joined", room=self._room, participant=self._participant.id)

    def _take(
        self,
        ups: dict[Kind, UpTrack],
        live: frozenset[Kind],
        sound: DownTrack | None,
        picture: DownTrack | None,
    ) -> None:
        person = self._participant
        spoken = ups.get("audio")
        if spoken is not (person.renditions.source if person.renditions is not None else None):
            self._forget_sound()
            if spoken is not None:
                person.renditions = Renditions(engine=self._engine, source=spoken, on_refused=self._on_refused)
                self._unsubscribe = self._engine.subscribe_events(spoken.id, self._on_event)
        person.up = {kind: up for kind in KINDS if (up := ups.get(kind)) is not None}
        person.live = {kind for kind in KINDS if kind in live}
        if person.ears is not None:
            person.ears.take(sound, picture)
        self._parts.rooms.join(self._room, person)

    def _forget_sound(self) -> None:
        self._unsubscribe()
        self._unsubscribe = _nothing
        renditions, self._participant.renditions = self._participant.renditions, None
        if renditions is not None:
            renditions.close()

    def _let_go(self) -> None:
        """Out of the room. A guest that goes on in another call is heard there, whatever was permitted here."""
        self._parts.rooms.leave(self._room, self._participant.id)
        self._forget_sound()
        if self._guest is not None and not self._guest.ended:
            for up in self._participant.up.values():
                up.watch_speech(on=False)
                up.set_gate("mute", is_open=True)
                up.set_gate("permission", is_open=True)
        self._guest = None
        self.log.info("room_left", room=self._room, participant=self._participant.id)

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, SpeechChanged):
            self._parts.rooms.hear(self._room, self._participant.id, event.loudness)

    def _on_said(self, name: str, said: str) -> None:
        """Somebody else wrote in the room's chat."""
        guest, text = self._guest, text_of(said)
        if guest is not None and not guest.ended and guest.takes_texts and text:
            guest.send_text(f"{name}: {text[:MOST_CHARACTERS]}")

    def _on_refused(self, reason: str) -> None:
        """No room in the mix, or for what browsers are to hear of it."""
        self._leave(EndCause("system", "mix_refused", 503, reason))

    def _on_withheld(self, reason: Withheld) -> None:
        guest = self._guest
        if guest is not None and not guest.ended:
            guest.picture_withheld = guest.picture_withheld or reason
            guest.emit(PictureWithheld(reason))

    def _leave(self, cause: EndCause) -> None:
        if not self.ended:
            self._tasks.spawn(self.end(cause), name="leave")


class RoomSeats:
    """Lets calls into rooms; `parts` are those of whoever else comes into them."""

    def __init__(self, parts: Parts, *, metrics: Metrics) -> None:
        self._parts = parts
        self._taken: set[str] = set()
        metrics.gauge("room_phones", "Calls that lead into rooms").set_function(lambda: len(self._taken))

    def __len__(self) -> int:
        return len(self._taken)

    async def enter(self, request: CallRequest) -> RoomSeat:
        """A seat for the caller. Raises DialFailed when there is none, InsufficientBandwidth."""
        room = request.destination.target.room
        if room is None or request.caller.hosts:
            raise DialFailed(403, "A room is no guest of a room", warning_code=399)
        try:
            for sort in ("member", "phone"):
                self._parts.rooms.check(room, sort)
        except LimitExceeded as error:
            if error.limit == "limits.rooms":
                raise
            # RFC 3261 §21.4.24: it was reached, and takes no more calls; the next route may.
            raise DialFailed(486, f"The room is full: {error}", warning_code=399, elsewhere=True) from error
        shown = request.presentation
        name = ANONYMOUS if shown.withheld else shown.name or shown.number or ANONYMOUS
        seat = RoomSeat(
            parts=self._parts, room=room, contact_id=request.contact_id, guest_name=name, on_closed=self._closed
        )
        self._taken.add(seat.id)
        seat.identity = ConnectedIdentity(room, request.destination.number)
        party = Party(room=room, participant=seat.id)
        seat.booking = self._parts.admission.book(seat.id, party, contact_id=request.contact_id, note=request.note)
        try:
            seat.prepare(request.caller.codecs)
        except MediaServerError as error:
            await seat.end(EndCause("system", "insufficient_bandwidth", 488, str(error)))
            raise
        if request.note is not None:
            request.note("room_entered", room)
        return seat

    def _closed(self, seat: RoomSeat) -> None:
        self._taken.discard(seat.id)


def _active(leg: Leg, kind: Kind) -> DownTrack | None:
    """The track of a kind on which the peer takes something now."""
    down = leg.media[kind].down if kind in leg.media else None
    return down if down is not None and down.active else None


def _fragments(codec: Codec) -> bool:
    """Whether it is H.264 in packets of any size (RFC 6184 §6.3)."""
    return codec.key == "h264" and h264_mode(codec) == "1"


def _common(ours: tuple[Codec, ...], theirs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    return tuple(codec for codec in ours if any(matches(codec, other) for other in theirs))


def _nothing() -> None:
    """Nobody had subscribed."""


def _nobody(_: RoomSeat) -> None:
    """Hears what comes after the end."""
