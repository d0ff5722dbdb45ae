"""One party of a room: the tracks it publishes and the tracks on which it sees and hears others."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaserver.core.data import DataChannels
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind


@dataclass(slots=True)
class Participant:
    """`up` and `down` by kind; a publisher has no `down`, a viewer no `up`."""

    id: str
    up: dict[Kind, UpTrack] = field(default_factory=dict)
    down: dict[Kind, DownTrack] = field(default_factory=dict)
    data: DataChannels | None = None
    may_send_data: bool = True
    """False for one who only listens to the room's topics."""
