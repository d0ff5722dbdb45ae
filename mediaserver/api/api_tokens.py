"""`/v1/api-tokens` on the administration's listener: tokens for software of the house, by scope."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mediaserver.api.auth import SCOPES, AdminAuth, DaemonTokens, Scope
from mediaserver.api.body import read_json
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.problem import Problem
from mediaserver.store.revocations import Revocations

MAX_LIFETIME_S = 366 * 86_400
_ID = re.compile(r"[A-Za-z0-9_-]{16}")
log = structlog.get_logger()


class ApiTokenWanted(BaseModel):
    """What a token is to allow."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)
    subject: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Who uses it; idempotency keys are told apart by it."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    lifetime_s: Annotated[int, Field(ge=60, le=MAX_LIFETIME_S)] = 90 * 86_400


class ApiToken(BaseModel):
    """A token, and what it says."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    token: str
    token_id: str
    """Takes it back: `DELETE /v1/api-tokens/{token_id}`."""
    subject: str
    scopes: list[str]
    expires_at: int
    """POSIX seconds."""


class ApiTokensResource:
    """Makes tokens and takes them back, for whoever holds the admin token."""

    def __init__(
        self,
        *,
        tokens: DaemonTokens,
        admin: AdminAuth,
        revocations: Revocations,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._admin = admin
        self._revocations = revocations
        self._wall_clock = wall_clock

    def operations(self) -> list[Operation]:
        """Both."""
        return [
            Operation(
                method="POST",
                path="/v1/api-tokens",
                handler=self.create,
                summary="Make a token for software of the house.",
                scope="admin",
                status=201,
                answer=ApiToken,
                body=ApiTokenWanted,
            ),
            Operation(
                method="DELETE",
                path="/v1/api-tokens/{token_id}",
                handler=self.delete,
                summary="Refuse a token from now on.",
                scope="admin",
                status=204,
                problems={
                    404: "This is no token's id.",
                    503: "It cannot be kept, and would be forgotten by a restart.",
                },
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def create(self, request: web.Request) -> web.Response:
        """201 with the token, which is shown this once."""
        self._admin.require(request)
        wanted = await read_json(request, ApiTokenWanted)
        token = self._tokens.mint_api(wanted.subject, wanted.scopes, lifetime_s=wanted.lifetime_s)
        scope = self._tokens.verify_api(token)
        log.info("api_token_made", subject=scope.subject, scopes=sorted(scope.scopes), token_id=scope.token_id)
        made = ApiToken(
            token=token,
            token_id=scope.token_id,
            subject=scope.subject,
            scopes=sorted(scope.scopes),
            expires_at=int(scope.expires_at),
        )
        return json_answer(ApiToken, made, status=201)

    async def delete(self, request: web.Request) -> web.Response:
        """204, whether there was such a token or not: nobody keeps a list of them."""
        self._admin.require(request)
        token_id = request.match_info["token_id"]
        if _ID.fullmatch(token_id) is None:
            raise Problem(404, "not-found", "This is no token's id.")
        until = self._wall_clock() + MAX_LIFETIME_S
        self._tokens.restore({token_id: until})
        await self._revocations.add(token_id, until)
        log.info("api_token_revoked", token_id=token_id)
        return web.Response(status=204)
