"""`POST /v1/tokens` on the administration's listener: bearer tokens for rooms, scoped to room, direction and media."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mediaserver.api.auth import AdminAuth, DaemonTokens
from mediaserver.api.body import read_json
from mediaserver.api.operation import Operation, routes
from mediaserver.core.permissions import PUBLISHABLE, Publishable

MAX_LIFETIME_S = 86_400


class RoomTokenWanted(BaseModel):
    """What a token is to allow."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    room: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    directions: Annotated[list[Literal["publish", "view"]], Field(min_length=1, max_length=2)]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    lifetime_s: Annotated[int, Field(ge=1, le=MAX_LIFETIME_S)] | None = None
    publish: Annotated[list[Publishable], Field(max_length=len(PUBLISHABLE))] | None = None
    """What may be published; null is `rooms.publish` of the configuration."""
    name: Annotated[str, StringConstraints(max_length=128)] = ""
    moderate: bool = False


class RoomToken(BaseModel):
    """A token, and what it says."""

    token: str
    expires_at: int
    """POSIX seconds."""
    room: str
    directions: list[str]
    subject: str
    publish: list[str] | None
    name: str
    moderate: bool


class TokensResource:
    """Mints tokens for whoever holds the admin token."""

    def __init__(self, *, tokens: DaemonTokens, admin: AdminAuth, lifetime_s: float = 3600.0) -> None:
        """`lifetime_s` of tokens whose request names none."""
        self._tokens = tokens
        self._admin = admin
        self._lifetime_s = lifetime_s

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    def operations(self) -> list[Operation]:
        """Making them."""
        return [
            Operation(
                method="POST",
                path="/v1/tokens",
                handler=self.create,
                summary="Make a bearer token for WHIP, WHEP and members of a room.",
                scope="admin",
                status=201,
                answer=RoomToken,
                body=RoomTokenWanted,
            )
        ]

    async def create(self, request: web.Request) -> web.Response:
        """201 with `{token, expires_at}` and what the token says: `{room, directions, subject, publish, name, moderate}`."""
        self._admin.require(request)
        wanted = await read_json(request, RoomTokenWanted)
        token = self._tokens.mint_room(
            room=wanted.room,
            directions=wanted.directions,
            subject=wanted.subject,
            lifetime_s=self._lifetime_s if wanted.lifetime_s is None else wanted.lifetime_s,
            publish=wanted.publish,
            name=wanted.name,
            moderate=wanted.moderate,
        )
        scope = self._tokens.verify_room(token)
        body = {
            "token": token,
            "expires_at": int(scope.expires_at),
            "room": scope.room,
            "directions": sorted(scope.directions),
            "subject": scope.subject,
            "publish": None if scope.publish is None else sorted(scope.publish),
            "name": scope.name,
            "moderate": scope.moderate,
        }
        return web.json_response(body, status=201, headers={"Cache-Control": "no-store"})
