"""One party's connection to us, whatever it speaks: what a call may ask of it and what it tells the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

import structlog

from mediaserver.call.events import EndCause, LegEnded, LegEvent, MediaChanged
from mediaserver.core.data import DataChannels
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, TransportClosed, TransportStats
from mediaserver.errors import MediaServerError
from mediaserver.sdp.description import Codec

Codecs = Mapping[Kind, tuple[Codec, ...]]
"""Codecs by kind, in order of preference; a kind without codecs is absent."""

KINDS: tuple[Kind, ...] = ("audio", "video")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LegMedia:
    """The tracks of one kind: `up` comes from the peer, `down` goes to it; None where the direction does not exist."""

    up: UpTrack | None = None
    down: DownTrack | None = None


class Leg(ABC):
    """Base of all legs. A leg owns its transports from its creation to `end`; joining and transfer never move them."""

    kind: ClassVar[Literal["browser", "sip", "room"]]

    def __init__(self, *, leg_id: str, contact_id: str, name: str, engine: Engine) -> None:
        self.id = leg_id
        self.contact_id = contact_id
        self.name = name
        self.media: dict[Kind, LegMedia] = {}
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
        self.emit(MediaChanged())

    def emit(self, event: LegEvent) -> None:
        """Tells the listener."""
        if self._listener is not None:
            self._listener(self, event)

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        return self.end_cause is not None

    @property
    @abstractmethod
    def codecs(self) -> Codecs:
        """What the peer can both send and receive, best first, under the peer's payload types."""

    @property
    @abstractmethod
    def transports(self) -> tuple[int, ...]:
        """Engine transports, for statistics."""

    @abstractmethod
    async def progress(self, code: int) -> None:
        """Tells the peer that the other side is being alerted."""

    @abstractmethod
    async def meet(self, other: Leg) -> None:
        """Comes to terms with the leg that is on the other side from now on.

        A caller that was not answered yet is answered with what `other` speaks; one that was answered with more is
        narrowed. Raises NegotiationError when nothing meets.
        """

    async def joined(self, other: Leg) -> None:
        """The media of both legs are connected; a leg that shows this to its peer overrides it."""
        self.log.debug("leg_joined", other=other.id)

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
        try:
            await self._release(cause)
        finally:
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
