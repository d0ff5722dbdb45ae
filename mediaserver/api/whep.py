"""WHEP (draft-ietf-wish-whep): `/v1/rooms/{room}/whep` gives a room's media to one viewer."""

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


def whep_resource(
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
    """The viewer's resource; its bearer token needs the direction `view`."""

    async def view(room: str, offer: str, subject: str, source: str) -> RoomSession:
        return await rooms.view(room, offer, subject=subject, source=source)

    return RoomSessionsResource(
        kind="whep",
        direction="view",
        open_session=view,
        tokens=tokens,
        admission=admission,
        source_of=source_of,
        metrics=metrics,
        limits=limits,
        origins=origins,
        ice_servers=ice_servers,
    )
