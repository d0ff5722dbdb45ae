"""One party's connection to us, whatever it speaks: what a call may ask of it and what it tells the call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal
from uuid import uuid4

import structlog

from mediaserver.call.booking import Booking
from mediaserver.call.connected_identity import ConnectedIdentity
from mediaserver.call.events import EndCause, LegEnded, LegEvent, MediaChanged
from mediaserver.call.quality import LegQuality
from mediaserver.call.quality_meter import QualityMeter
from mediaserver.call.transcoding import TranscodeRule, stronger, understood
from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.data import DataChannels, Topics
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import JoinTopic, Kind, LeaveTopic, Play, StopPlaying
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, TransportClosed, TransportStats
from mediaserver.errors import LocalProtocolError, MediaServerError
from mediaserver.sdp.codecs import TELEPHONE_EVENT, matches
from mediaserver.sdp.description import Codec
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds

Codecs = Mapping[Kind, tuple[Codec, ...]]
"""Codecs by kind, in order of preference; a kind without codecs is absent."""

KINDS: tuple[Kind, ...] = ("audio", "video")

TEXT_STREAM: Final = 0
"""Under which a phone's text is in a topic (see `OpenText`)."""
_MOST_SENDER_BYTES: Final = 128

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LegMedia:
    """The tracks of one kind: `up` comes from the peer, `down` goes to it; None where the direction does not exist."""

    up: UpTrack | None = None
    down: DownTrack | None = None


class Leg(ABC):
    """Base of all legs. A leg owns its transports from its creation to `end`; joining and transfer never move them."""

    kind: ClassVar[Literal["browser", "sip", "room", "announcement"]]
    hosts: ClassVar[bool] = False
    """Has no tracks, and leads those of the other leg elsewhere: see `host`."""

    def __init__(self, *, leg_id: str, contact_id: str, name: str, engine: Engine) -> None:
        self.id = leg_id
        self.contact_id = contact_id
        self.name = name
        self.identity = ConnectedIdentity(name)
        """Who is at the other end, for those who may be told."""
        self.shown_name = name
        """What a page on the other side calls who is at the other end; a peer that is believed may change it."""
        self.media: dict[Kind, LegMedia] = {}
        self.places: tuple[DownTrack, ...] = ()
        """Where the peer hears further voices, each by itself, beside the one of its sound."""
        self.data: DataChannels | None = None
        """Data channels, where the peer can have them and has asked for them."""
        self.end_cause: EndCause | None = None
        self.last_stats: list[TransportStats] = []
        """Counters as the leg ended."""
        self.track_kinds: dict[int, Kind] = {}
        """The kind of every track that the leg ever had, by engine id."""
        self._engine = engine
        self._counted: dict[int, TransportStats] = {}
        self.started_at = datetime.now(UTC)
        self.answered_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.on_released: Callable[[], None] | None = None
        """Called once, when the leg is over; for whoever counts it against a limit."""
        self.booking: Booking | None = None
        """The leg's account with admission control, where one was opened."""
        self.meter = QualityMeter()
        """How the leg is doing, as far as somebody looks at it."""
        self.session_id = ""
        """Session-ID of the leg's signalling (RFC 7989), where it has any."""
        self._session_uuid = uuid4().hex
        self.hears_early = False
        """The peer hears somebody who has not answered yet: an announcement of ours has to be silent."""
        self.picture_withheld = ""
        """Why the peer got no picture at some time although there was one: `too_large`."""
        self._hears: tuple[int, ...] = ()
        self.transcode: TranscodeRule = "never"
        """Whether sound may be decoded and encoded for this leg."""
        self._other: Leg | None = None
        self._companion: Leg | None = None
        """Has the picture of the other side, where that comes by a leg of its own."""
        self._listener: Callable[[Leg, LegEvent], None] | None = None
        self.log = _log.bind(leg=leg_id, contact_id=contact_id, kind=self.kind)

    def listen(self, listener: Callable[[Leg, LegEvent], None] | None) -> None:
        """Sets who is told about events; called on the loop, synchronously, in order."""
        self._listener = listener

    def set_media(self, media: dict[Kind, LegMedia]) -> None:
        """Takes the tracks of a negotiation and tells the listener."""
        self.media = media
        for kind, tracks in media.items():
            for track in (tracks.up, tracks.down):
                if track is not None:
                    self.track_kinds[track.id] = kind
        self.track_kinds.update(dict.fromkeys((place.id for place in self.places), "audio"))
        self.emit(MediaChanged())

    def make_places(self, count: int) -> None:
        """Has the peer make places for so many further voices, if it can; they are there with a `MediaChanged`."""
        self.log.debug("no_places", wanted=count)

    def play(self, clip: int, *, loop: bool) -> None:
        """Plays a clip of the engine to the peer, in place of what it gets else; one that plays there already goes on."""
        downs = tuple(media.down.id for media in self.media.values() if media.down is not None)
        if downs and downs != self._hears:
            self._hears = downs
            self._engine.submit(Play(id=clip, ids=downs, clip=clip, loop=loop))

    def stop_playing(self) -> None:
        """Ends what `play` began."""
        if self._hears:
            self._engine.submit(StopPlaying(id=self._hears[0], ids=self._hears))
            self._hears = ()

    def emit(self, event: LegEvent) -> None:
        """Tells the listener."""
        if self._listener is not None:
            self._listener(self, event)

    @property
    def session_uuid(self) -> str:
        """The peer's end of the call (RFC 7989): 32 hexadecimal digits that stay the same through every call manager."""
        return self._session_uuid

    def represent(self, other: Leg) -> None:
        """From now on we speak to the peer for whoever is at the other end of `other`."""
        self.log.debug("leg_represents", other=other.id, session_uuid=other.session_uuid)

    def show_focus(self, address: str) -> None:
        """From now on the peer talks to a conference; `address` is the user part of its URI."""
        self.log.debug("focus_not_shown", address=address)

    async def show_party(self, other: Leg) -> None:
        """Shows the peer that somebody else is at the end of `other` by now."""
        self.log.debug("party_not_shown", other=other.id)

    def move_to(self, contact_id: str) -> None:
        """The leg goes on in another contact."""
        self.contact_id = contact_id
        self.log = self.log.bind(contact_id=contact_id)

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        return self.end_cause is not None

    @property
    @abstractmethod
    def codecs(self) -> Codecs:
        """What the peer can both send and receive, best first, under the peer's payload types."""

    @property
    def capable(self) -> Codecs:
        """What the peer could be asked for, more than `codecs` where a negotiation left something out."""
        return self.codecs

    @property
    @abstractmethod
    def transports(self) -> tuple[int, ...]:
        """Engine transports, for statistics."""

    @abstractmethod
    async def progress(self, code: int) -> None:
        """Tells the peer that the other side is being alerted."""

    async def hear_early(self, other: Leg) -> bool:
        """Makes the peer able to hear `other`, who sends without having answered; False where that cannot be."""
        return any(tracks.down is not None for tracks in self.media.values()) and other is not self

    @abstractmethod
    async def meet(self, other: Leg) -> None:
        """Comes to terms with the leg that is on the other side from now on.

        A caller that was not answered yet is answered with what `other` speaks; one that was answered with more is
        narrowed. Raises NegotiationError when nothing meets.
        """

    def understood(self, other: Leg) -> Codecs:
        """What this leg can speak to `other`: its codecs, or what is transcoded for it, and its companion's picture."""
        theirs = understood(self.codecs, other.codecs, stronger(self.transcode, other.transcode))
        return self._with_picture(theirs)

    def _with_picture(self, theirs: Codecs) -> Codecs:
        """The codecs of the other side with those of the picture that its companion has."""
        picture = self._companion.codecs.get("video") if self._companion is not None else None
        return theirs if picture is None else {**theirs, "video": picture}

    async def see(self, other: Leg, companion: Leg | None) -> None:
        """The picture of `other` comes by a leg of its own from now on (None: no more), and is to be had by the peer."""
        self._companion = companion

    def admit(self) -> None:
        """Reserves what the leg wants, before anybody is rung for it. Raises InsufficientBandwidth."""
        if self.booking is not None and not self.booking.decision.verdicts:
            codecs = self.codecs
            self.booking.narrow({kind: codecs[kind] for kind in KINDS if kind in codecs}, self.peer_limits)

    @property
    def peer_limits(self) -> Mapping[MediaKind, int]:
        """Bits per second that the peer takes at most, by its own word; kinds of which it says nothing are absent."""
        return {}

    @property
    def picture_bounds(self) -> PictureBounds:
        """The most that a picture for the peer may be, by its own word and by what its lines have room for."""
        return UNBOUNDED

    def limit_picture(self, bounds: PictureBounds) -> None:
        """Asks the peer to send no larger picture than this. A peer that cannot be asked sends what it sends."""
        self.log.debug("picture_not_limited", bounds=bounds)

    async def show_withheld(self, reason: str) -> None:
        """Shows the peer that the other side gets no picture of it, or that it does again."""
        self.log.debug("withheld_not_shown", reason=reason)

    async def show_hold(self, *, on: bool, hears: bool) -> None:
        """Shows the peer that the house has put it on hold, with something to hear or nothing, or takes it back."""
        self.log.debug("hold_not_shown", on=on, hears=hears)

    @property
    def takes_texts(self) -> bool:
        """Whether `send_text` reaches the peer; pages have data channels for that."""
        return False

    def send_text(self, text: str) -> None:
        """Sends the peer a text. What cannot be sent is counted, and lost."""
        self.log.debug("text_not_sent")

    def take_text(self, text: str) -> bool:
        """Takes what the other leg wrote, for legs that are `hosts`; False where nobody gets it."""
        return False

    @property
    def takes_events(self) -> bool:
        """Whether keys reach the peer as packets (RFC 4733)."""
        down = self.media["audio"].down if "audio" in self.media else None
        return down is not None and any(codec.key == TELEPHONE_EVENT for codec in down.codecs)

    @property
    def takes_keys(self) -> bool:
        """Whether keys reach the peer in any way."""
        return self.takes_events

    def press(self, digits: str, *, duration_ms: int) -> None:
        """Presses keys towards the peer, one after the other."""
        down = self.media["audio"].down if "audio" in self.media else None
        if down is not None:
            down.send_dtmf(digits, duration_ms=duration_ms)

    @property
    def text_line(self) -> int | None:
        """The engine transport of the peer's real-time text (RFC 4103); None where it has none."""
        return None

    @property
    def reads_text(self) -> bool:
        """Whether the peer may have real-time text: by a data channel, or by a line that it offered or agreed on."""
        return self.data is not None

    def join_text(self, topic: int) -> None:
        """Puts the peer's real-time text into a topic of the engine."""
        if self.text_line is not None and not self.ended:
            name = " ".join(self.name.split()).encode()[:_MOST_SENDER_BYTES].decode("utf-8", "ignore")
            self._engine.submit(JoinTopic(id=self.text_line, stream=TEXT_STREAM, topic=topic, sender=name))

    def leave_text(self) -> None:
        """Takes it out again."""
        if self.text_line is not None and not self.ended:
            self._engine.submit(LeaveTopic(id=self.text_line, stream=TEXT_STREAM))

    def new_topics(self) -> Topics:
        """Topics of the engine for this leg and the other one."""
        return Topics(self._engine)

    async def show_text(self, *, on: bool) -> None:
        """Shows the peer that the other side has real-time text, or has it no more."""
        self.log.debug("text_not_shown", on=on)

    async def show_quality(self, quality: LegQuality) -> None:
        """Shows the peer how its line is doing."""
        self.log.debug("quality_not_shown", level=quality.level)

    async def show_supervision(self, by: str, mode: Literal["", "listen", "whisper", "barge"]) -> None:
        """Shows the peer that somebody listens to its call, or speaks in it; an empty mode is nobody any more."""
        self.log.debug("supervision_not_shown", by=by, mode=mode)

    def cap(self, kind: MediaKind) -> int | None:
        """Most bits per second, headers included, that may flow to or from the peer; None is no bound, 0 is nothing."""
        bookings = [leg.booking for leg in (self, self._other) if leg is not None and leg.booking is not None]
        caps = [self.peer_limits.get(kind), *(booking.cap(kind) for booking in bookings)]
        return min((cap for cap in caps if cap is not None), default=None)

    def lacks_bandwidth(self, kind: MediaKind) -> bool:
        """Whether admission control has denied the leg media of `kind`."""
        return self.booking is not None and kind in self.booking.decision.denied

    def settle_with(self, other: Leg) -> None:
        """The two legs have met: what was reserved becomes what they exchange."""
        self._other = other
        spoken: dict[MediaKind, tuple[Codec, ...]] = {}
        for kind in KINDS:
            own, theirs = self.codecs.get(kind, ()), self.understood(other).get(kind, ())
            common = [codec for codec in own if any(matches(codec, each) for each in theirs)]
            if other.kind == "sip":  # a phone has chosen; a browser follows
                common.sort(key=lambda codec: next(i for i, each in enumerate(theirs) if matches(codec, each)))
            spoken[kind] = tuple(common)
        self.settle(spoken)

    def settle(self, spoken: Mapping[MediaKind, Sequence[Codec]]) -> None:
        """Charges what is spoken now, first choice first, and gives back the rest."""
        if self.booking is not None:
            other = self._other.booking if self._other is not None else None
            self.booking.stand_beside(other)
            self.booking.settle(spoken, self.peer_limits, other.wishes() if other is not None else None)

    async def joined(self, other: Leg) -> None:
        """The media of both legs are connected; a leg that shows this to its peer overrides it."""
        self.log.debug("leg_joined", other=other.id)

    def host(self, guest: Leg, *, says: frozenset[Kind], hears: frozenset[Kind]) -> None:
        """Takes the other leg's tracks, again whenever they change: of the kinds `says` others may get what it sends,

        of the kinds `hears` it may get what others send. For legs that are `hosts`."""
        raise LocalProtocolError(f"a {self.kind} leg takes in nobody")

    @abstractmethod
    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Ends a leg that was not answered, with `cause.code` where the protocol has one."""

    async def end(self, cause: EndCause) -> None:
        """Hangs up and releases everything. The first cause stays; calling it again does nothing."""
        if self.end_cause is not None:
            return
        self.end_cause = cause
        self.ended_at = datetime.now(UTC)
        self.log.info("leg_ended", by=cause.by, reason=cause.reason, code=cause.code)
        try:
            living = await self._engine.stats(self.transports) if self.transports else []
        except MediaServerError as error:
            self.log.warning("leg_stats_missing", error=str(error))
            living = []
        self.last_stats = list({**self._counted, **{stats.id: stats for stats in living}}.values())
        self.meter.look(self.last_stats, self.track_kinds, time.monotonic())
        try:
            await self._release(cause)
        finally:
            if self.booking is not None:
                self.booking.close()
            self._other = self._companion = None
            self.emit(LegEnded(cause))
            self._listener = None  # whoever listened holds the leg: two that hold each other wait for the collector
            if self.on_released is not None:
                self.on_released()

    def keep_counters(self, event: AnyEvent) -> None:
        """Remembers what a transport had counted that the engine closed, for the record."""
        if isinstance(event, TransportClosed) and event.last is not None:
            self._counted[event.id] = event.last

    @abstractmethod
    async def _release(self, cause: EndCause) -> None:
        """Tells the peer, closes transports, ends tasks."""
