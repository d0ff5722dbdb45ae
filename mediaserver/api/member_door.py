"""How members of rooms come in: a `hello` with a token that names the room and what may be done there."""

from __future__ import annotations

from collections.abc import Callable

from mediaserver.api.auth import DaemonTokens, TokenRefused
from mediaserver.api.session_channel import SessionChannel
from mediaserver.api.session_refused import Refused, over
from mediaserver.call.signaling import RoomMembers
from mediaserver.core.permissions import NOTHING
from mediaserver.errors import LimitExceeded
from mediaserver.webrtc.messages import Hello, IceServer, Welcome


class MemberDoor:
    """Lets in whoever has a token with `view`; what else it says is what may be published."""

    def __init__(
        self,
        *,
        members: RoomMembers,
        tokens: DaemonTokens,
        ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
    ) -> None:
        self._members = members
        self._tokens = tokens
        self._ice_servers = ice_servers

    async def start(self, channel: SessionChannel, hello: Hello) -> Welcome:
        """Starts the channel's member. Raises Refused.

        Any page may do this, wherever it comes from: the token is no cookie that a browser would add by itself.
        """
        if hello.token is None:
            raise Refused("token", "A member needs the `token` of a room.")
        try:
            scope = self._tokens.verify_room(hello.token)
        except TokenRefused as error:
            raise Refused("token", str(error)) from error
        if "view" not in scope.directions:
            raise Refused("token", f"The token does not allow to view room {scope.room}.")
        try:
            member = await self._members.enter(
                room=scope.room,
                name=scope.name or scope.subject,
                may_publish=scope.publish if "publish" in scope.directions else NOTHING,
                moderate=scope.moderate,
                signaling=channel,
            )
        except LimitExceeded as error:
            raise over(error) from error
        channel.start(member)
        return channel.welcome(scope.room, self._ice_servers(), room=member.info)
