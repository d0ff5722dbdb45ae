"""WHIP and WHEP: a resource per ICE session in a room, made by POST, changed by PATCH, ended by DELETE."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from mediaserver.api.auth import DaemonTokens, Direction, RoomScope, TokenRefused, bearer_token, forbidden, unauthorized
from mediaserver.api.body import read_text
from mediaserver.api.context import Admission
from mediaserver.api.limits import RateLimit
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.operation import Operation, routes
from mediaserver.api.origins import Origins, allow_cors, preflight
from mediaserver.api.problem import Problem, problem_of, too_many
from mediaserver.api.source import SourceResolver
from mediaserver.call.signaling import Rooms, RoomSession
from mediaserver.errors import MediaServerError
from mediaserver.runtime.sources import source_prefix
from mediaserver.webrtc import sdpfrag
from mediaserver.webrtc.messages import IceServer

SDP = "application/sdp"
MAX_SDP_BYTES = 65_536

_ROOM = r"{room:[A-Za-z0-9._-]{1,64}}"
_SESSION = r"{session:[A-Za-z0-9._~-]{1,128}}"
_TAG = re.compile(r'(W/)?"([^"]*)"')
_EXPOSED = "Location, ETag, Link, Accept-Patch, Accept-Post"


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bounds of the WHIP and WHEP resources, each kind for itself."""

    sessions: int = 2000
    posts_per_second_per_source: float = 5.0
    post_burst_per_source: float = 50.0


@dataclass(frozen=True, slots=True)
class _Held:
    session: RoomSession
    room: str
    subject: str


class RoomSessionsResource:
    """The protocol of RFC 9725 and of its mirror image for viewers, whatever the media direction.

    `whip` (RFC 9725), `/v1/rooms/{room}/whip`, takes one publisher's media into a room; its token needs `publish`.
    `whep` (draft-ietf-wish-whep), `/v1/rooms/{room}/whep`, gives a room's media to one viewer; its token needs `view`.
    """

    def __init__(
        self,
        *,
        kind: Literal["whip", "whep"],
        rooms: Rooms,
        tokens: DaemonTokens,
        admission: Admission,
        source_of: SourceResolver,
        metrics: ApiMetrics,
        limits: RoomLimits | None = None,
        origins: Origins | None = None,
        ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
        prefix: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`origins` of pages that may use the API; the default is anybody, because a bearer token is needed anyway. All of
        it is beneath `prefix`."""
        self._prefix = prefix
        self._kind = kind
        self._direction: Direction = "publish" if kind == "whip" else "view"
        self._rooms = rooms
        self._tokens = tokens
        self._admission = admission
        self._source_of = source_of
        self._limits = limits or RoomLimits()
        self._origins = origins or Origins(("*",))
        self._ice_servers = ice_servers
        self._clock = clock
        self._sessions: dict[str, _Held] = {}
        self._rate = RateLimit(
            per_second=self._limits.posts_per_second_per_source, burst=self._limits.post_burst_per_source
        )
        self._refused = metrics.room_sessions_refused.labels(kind=kind)
        metrics.room_sessions.labels(kind=kind).set_function(lambda: self.count)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application. Every other method is answered 405 (RFC 9725 §4.2, §4.3)."""
        endpoint = f"/v1/rooms/{_ROOM}/{self._kind}"
        resource = f"{endpoint}/{_SESSION}"
        return [
            *routes(self.operations()),
            web.options(endpoint, self.describe_endpoint),
            web.options(resource, self.describe_session),
        ]

    def operations(self) -> list[Operation]:
        """Begin, change and end a session (RFC 9725 §4.2, §4.3)."""
        endpoint = f"/v1/rooms/{_ROOM}/{self._kind}"
        resource = f"{endpoint}/{_SESSION}"
        what = "Publish into a room (WHIP)" if self._kind == "whip" else "View a room (WHEP)"
        return [
            Operation(
                method="POST",
                path=endpoint,
                handler=self.create,
                summary=f"{what}: an SDP offer, answered with SDP.",
                scope=None,
                bearer="room",
                status=201,
                answer=str,
                media_type=SDP,
                answer_headers={
                    "Location": "The session's resource, for PATCH and DELETE.",
                    "ETag": "The ICE session (RFC 9725 §4.3.1).",
                    "Accept-Patch": "What PATCH takes.",
                    "Link": "ICE servers (RFC 9725 §4.6).",
                },
                body=str,
                body_types=(SDP,),
                problems={
                    404: "There is no such room.",
                    409: "Somebody publishes in this room already.",
                    422: "The offer has nothing that can be served.",
                    503: "The server drains, or the lines have no room.",
                },
            ),
            Operation(
                method="PATCH",
                path=resource,
                handler=self.change,
                summary="Trickled candidates (204), or an ICE restart (200 with the fragment that answers it).",
                scope=None,
                bearer="room",
                answer=str,
                media_type=sdpfrag.MEDIA_TYPE,
                also={204: "The candidates were taken."},
                body=str,
                body_types=(sdpfrag.MEDIA_TYPE,),
                headers={"If-Match": 'The ETag of the current ICE session, or "*" to restart ICE.'},
                problems={
                    404: "There is no such session.",
                    412: "Another ICE session is the current one.",
                    428: "`If-Match` is missing.",
                },
            ),
            Operation(
                method="DELETE",
                path=resource,
                handler=self.delete,
                summary="End the session.",
                scope=None,
                bearer="room",
                problems={404: "There is no such session."},
            ),
        ]

    @property
    def count(self) -> int:
        """Sessions that are open now."""
        return sum(not held.session.closed for held in self._sessions.values())

    async def stop(self) -> None:
        """End every session."""
        for held in list(self._sessions.values()):
            await held.session.close("the server stops")
        self._sessions.clear()

    async def describe_endpoint(self, request: web.Request) -> web.Response:
        """OPTIONS: CORS preflight, and what may be posted (RFC 9725 §4.2)."""
        self._check_origin(request)
        allowed = "POST, OPTIONS"
        return preflight(
            request, methods=allowed, headers="authorization, content-type, if-match", Accept_Post=SDP, Allow=allowed
        )

    async def describe_session(self, request: web.Request) -> web.Response:
        """OPTIONS: CORS preflight of a session's resource."""
        self._check_origin(request)
        allowed = "PATCH, DELETE, OPTIONS"
        return preflight(
            request,
            methods=allowed,
            headers="authorization, content-type, if-match",
            Accept_Patch=sdpfrag.MEDIA_TYPE,
            Allow=allowed,
        )

    async def create(self, request: web.Request) -> web.Response:
        """POST an offer: 201 with Location, ETag, ICE servers and the answer."""
        self._check_origin(request)
        try:
            scope = self._scope(request)
            self._admission.require_open(request)
            self._check_limits(request)
            offer = await read_text(request, content_type=SDP, max_bytes=MAX_SDP_BYTES)
            try:
                session = await self._open_session(scope, offer, self._source_of(request))
            except MediaServerError as error:
                raise problem_of(error) from error
        except Problem:
            self._refused.inc()
            raise
        self._sessions[session.id] = _Held(session, scope.room, scope.subject)
        response = web.Response(status=201, body=session.answer_sdp.encode(), content_type=SDP)
        response.headers["Location"] = f"{self._prefix}/v1/rooms/{scope.room}/{self._kind}/{session.id}"
        response.headers["ETag"] = f'"{session.etag}"'
        response.headers["Accept-Patch"] = sdpfrag.MEDIA_TYPE
        response.headers["Cache-Control"] = "no-store"
        for link in _links(self._ice_servers()):
            response.headers.add("Link", link)
        return response

    async def change(self, request: web.Request) -> web.Response:
        """PATCH: trickled candidates (204) or an ICE restart (200 with the fragment to answer it), RFC 9725 §4.3."""
        self._check_origin(request)
        session = self._find(request).session
        etag = self._condition(request, session)
        fragment = await read_text(request, content_type=sdpfrag.MEDIA_TYPE, max_bytes=sdpfrag.MAX_CHARS)
        try:
            answer = await session.trickle(fragment, etag)
        except MediaServerError as error:
            raise problem_of(error) from error
        headers = {"ETag": f'"{session.etag}"', "Cache-Control": "no-store"}
        if answer is None:
            return web.Response(status=204, headers=headers)
        return web.Response(status=200, body=answer.encode(), content_type=sdpfrag.MEDIA_TYPE, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE: end the session (RFC 9725 §4.2)."""
        self._check_origin(request)
        held = self._find(request)
        del self._sessions[held.session.id]
        await held.session.close("the client ended it")
        return web.Response(status=200)

    async def _open_session(self, scope: RoomScope, offer: str, source: str) -> RoomSession:
        if self._kind == "whep":
            return await self._rooms.view(scope.room, offer, subject=scope.subject, source=source)
        return await self._rooms.publish(
            scope.room, offer, subject=scope.subject, source=source, may_publish=scope.publish
        )

    def _condition(self, request: web.Request, session: RoomSession) -> str | None:
        """The entity tag that the client means; None for any (`*`: an ICE restart)."""
        given = request.headers.get("If-Match", "").strip()
        if not given:
            # RFC 9725 §4.3.1: without it, candidates of a former ICE session could not be told from current ones.
            raise Problem(
                428,
                "if-match-required",
                'Send `If-Match` with the ETag of the current ICE session, or "*" to restart ICE.',
                headers={"ETag": f'"{session.etag}"'},
            )
        if given in ("*", '"*"'):
            return None
        if any(not weak and tag == session.etag for weak, tag in _TAG.findall(given)):
            return session.etag
        raise Problem(
            412,
            "stale-etag",
            "The ICE session of this `If-Match` is not the current one.",
            headers={"ETag": f'"{session.etag}"'},
        )

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is None:
            return
        if not self._origins.allow_request(request):
            raise Problem(403, "origin-refused", "Pages of this origin may not use this API.")
        allow_cors(request, "*" if self._origins.anybody else origin, expose=_EXPOSED)

    def _check_limits(self, request: web.Request) -> None:
        wait_s = self._rate.take(source_prefix(self._source_of(request)), self._clock())
        if wait_s:
            raise too_many("Too many sessions were begun from your network; please wait.", retry_after_s=wait_s)
        if len(self._sessions) >= self._limits.sessions:
            self._sessions = {key: held for key, held in self._sessions.items() if not held.session.closed}
        if len(self._sessions) >= self._limits.sessions:
            raise too_many("The server is full at the moment.", code="limit-reached", retry_after_s=10)

    def _scope(self, request: web.Request) -> RoomScope:
        try:
            scope = self._tokens.verify_room(bearer_token(request))
        except TokenRefused as error:
            raise unauthorized(str(error), error="invalid_token") from error
        room = request.match_info["room"]
        if scope.room != room or self._direction not in scope.directions:
            raise forbidden(f"The token does not allow to {self._direction} in room {room}.")
        return scope

    def _find(self, request: web.Request) -> _Held:
        scope = self._scope(request)
        held = self._sessions.get(request.match_info["session"])
        # Another subject's session looks like none: its name is nobody else's business.
        if held is None or held.room != scope.room or held.subject != scope.subject:
            raise Problem(404, "not-found", "There is no such session.")
        if held.session.closed:
            del self._sessions[held.session.id]
            raise Problem(404, "not-found", "This session has ended.")
        return held


def _links(servers: tuple[IceServer, ...]) -> list[str]:
    """`Link` header values with `rel="ice-server"` (RFC 9725 §4.6)."""
    links = []
    for server in servers:
        for url in server.urls:
            link = f'<{url}>; rel="ice-server"'
            if server.username is not None and server.credential is not None:
                link += f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
            links.append(link)
    return links
