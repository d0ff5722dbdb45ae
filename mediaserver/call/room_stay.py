"""Somebody's time in a room: how the line did, and the record that is kept of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from mediaserver.call.events import EndCause, QualityChanged
from mediaserver.call.leg_record import leg_record
from mediaserver.call.quality_meter import QualityMeter
from mediaserver.call.webrtc_peer import WebRtcPeer
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, TransportClosed, TransportStats
from mediaserver.store.records import ContactRecord

KeepRecord = Callable[[ContactRecord], object]
_log = structlog.get_logger(__name__)


class RoomStay:
    """Implements `call.quality_watch.Watched` for a peer connection in a room, from its first answer to its end.

    `on_change` is told when the line does better or worse. The record goes to `keep` when the engine has closed the
    transport, with its last counters; who never got an answer leaves none.
    """

    kind: Final = "room"

    def __init__(
        self,
        *,
        engine: Engine,
        room: str,
        party: str,
        name: str,
        peer: WebRtcPeer,
        on_change: Callable[[QualityChanged], None] | None,
        keep: KeepRecord | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.picture_withheld = ""
        self.session_id = ""
        self.meter = QualityMeter()
        self.track_kinds: dict[int, Kind] = {}
        self.started_at = datetime.now(UTC)
        self.answered_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.end_cause: EndCause | None = None
        self.last_stats: list[TransportStats] = []
        self.log = _log.bind(room=room, participant=party, kind=self.kind)
        self._engine = engine
        self._room = room
        self._party = party
        self._peer = peer
        self._on_change = on_change
        self._keep = keep
        self._clock = clock
        self._unsubscribe: list[Callable[[], None]] = []

    @property
    def ended(self) -> bool:
        """See `Watched`."""
        return self.end_cause is not None

    @property
    def transports(self) -> tuple[int, ...]:
        """See `Watched`."""
        return self._peer.transports

    def emit(self, event: QualityChanged, /) -> None:
        """See `Watched`."""
        if self._on_change is not None:
            self._on_change(event)

    def answered(self) -> None:
        """The tracks of the peer connection are agreed on, for the first time or anew."""
        if self.answered_at is None:
            self.answered_at = datetime.now(UTC)
            self._unsubscribe = [self._engine.subscribe_events(id, self._take_last) for id in self.transports]
        for media in self._peer.tracks.values():
            self.track_kinds.update({track.id: track.kind for track in (media.up, media.down) if track is not None})

    def end(self, cause: EndCause) -> None:
        """It is over; the transport is closed next, or has been."""
        if not self.ended:
            self.end_cause, self.ended_at, self._on_change = cause, datetime.now(UTC), None
            self._finish()

    def _take_last(self, event: AnyEvent) -> None:
        if isinstance(event, TransportClosed) and event.last is not None:
            self.last_stats = [event.last]
            self._finish()

    def _finish(self) -> None:
        """Keeps the record, when it is known why it ended and what was counted."""
        if not self.ended or not self.last_stats:
            return
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        self.meter.look(self.last_stats, self.track_kinds, self._clock())
        if self._keep is not None:
            self._keep(self._record())
        self._keep = None

    def _record(self) -> ContactRecord:
        cause = self.end_cause or EndCause("system", "unknown")
        return ContactRecord(
            contact_id=f"room-{self._party}",
            started_at=self.started_at,
            answered_at=self.answered_at,
            ended_at=self.ended_at or datetime.now(UTC),
            ended_by=cause.by,
            end_reason=cause.reason,
            caller=self.name,
            legs=(leg_record(self),),
            attributes={"room": self._room},
        )
