"""WHIP (RFC 9725): `/v1/rooms/{room}/whip` takes one publisher's media into a room."""

from __future__ import annotations

from collections.abc import Callable

from mediaserver.api.auth import DaemonTokens
from mediaserver.api.context import Admission
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.origins import Origins
from mediaserver.api.room_sessions import RoomLimits, RoomSessionsResource
from mediaserver.api.source import SourceResolver
from mediaserver.call.signaling import Rooms, RoomSession
from mediaserver.webrtc.messages import IceServer


def whip_resource(
    rooms: Rooms,
    *,
    tokens: DaemonTokens,
    admission: Admission,
    source_of: SourceResolver,
    metrics: ApiMetrics,
    limits: RoomLimits | None = None,
    origins: Origins | None = None,
    ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
) -> RoomSessionsResource:
    """The publisher's resource; its bearer token needs the direction `publish`."""

    async def publish(room: str, offer: str, subject: str, source: str) -> RoomSession:
        return await rooms.publish(room, offer, subject=subject, source=source)

    return RoomSessionsResource(
        kind="whip",
        direction="publish",
        open_session=publish,
        tokens=tokens,
        admission=admission,
        source_of=source_of,
        metrics=metrics,
        limits=limits,
        origins=origins,
        ice_servers=ice_servers,
    )
