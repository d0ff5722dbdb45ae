"""`/v1/edges` on the administration's listener: which Edges are there, and leaving one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from mediaserver.api.auth import AdminAuth
from mediaserver.api.body import read_json
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.problem import Problem


class EdgeReached(BaseModel):
    """A port by which visitors, phones and trunks reach an Edge."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    protocol: Literal["udp", "tcp", "tls"]
    ip: str
    port: int
    purpose: Literal["media", "turn", "web", "sip", "sip_media"]
    """`sip_media` opens its ports one by one; the first of them stands here."""
    name: str | None = None
    """What its certificate is for, where that is asked."""


class EdgeShown(BaseModel):
    """An Edge as this Core sees it."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str
    state: Literal["away", "ready", "draining", "left"]
    """`draining` takes no new sessions, and those it has are brought to other Edges; `left` has none of them any more."""
    reason: str = ""
    """Why it is away."""
    media: Literal["none", "udp", "tls", "both"] = "none"
    """How media go between this Core and the Edge; `tls` is the way where UDP is blocked."""
    media_words: str = ""
    """The same in plain words."""
    sessions: int | None = None
    """While it drains: sessions whose media still goes over it."""
    remaining_s: float | None = None
    """While it drains: seconds until what is left there is closed."""
    addresses: list[EdgeReached] = []
    """What it said last of its own ports."""


class EdgeList(BaseModel):
    """All of them, in the order of the file."""

    items: list[EdgeShown]


class EdgeDrainWish(BaseModel):
    """How an Edge is to be left."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    deadline_s: Annotated[float, Field(ge=0, le=7 * 86_400)] = 60.0
    """Seconds after which what still goes over it is closed."""


class EdgeControl(Protocol):
    """What the daemon can do with its Edges."""

    def status(self) -> Sequence[EdgeShown]:
        """All of them."""
        ...

    async def leave(self, name: str, deadline_s: float | None) -> None:
        """Leave an Edge within the time, and return when the sessions over it are counted; None uses it again.

        Raises KeyError."""
        ...


class EdgesResource:
    """Reads the state of Edges (`edges:read`), and drains them (`edges:write`)."""

    def __init__(self, *, edges: EdgeControl | None, admin: AdminAuth) -> None:
        """Without `edges` there are none."""
        self._edges = edges
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about Edges."""
        unknown = {404: "There is no Edge of this name."}
        return [
            Operation(
                method="GET",
                path="/v1/edges",
                handler=self.read_all,
                summary="Every Edge that this Core dials.",
                scope="edges:read",
                answer=EdgeList,
            ),
            Operation(
                method="GET",
                path="/v1/edges/{name}",
                handler=self.read_one,
                summary="One Edge; the progress of its drain.",
                scope="edges:read",
                answer=EdgeShown,
                problems=unknown,
            ),
            Operation(
                method="POST",
                path="/v1/edges/{name}/drain",
                handler=self.drain,
                summary="Take no new sessions over an Edge, and bring those that it has to others.",
                scope="edges:write",
                body=EdgeDrainWish,
                status=202,
                answer=EdgeShown,
                problems=unknown,
            ),
            Operation(
                method="DELETE",
                path="/v1/edges/{name}/drain",
                handler=self.resume,
                summary="Use an Edge again.",
                scope="edges:write",
                answer=EdgeShown,
                problems=unknown,
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items}`, in the order of the file."""
        self._admin.require(request, "edges:read")
        return json_answer(EdgeList, EdgeList(items=list(self._edges.status()) if self._edges is not None else []))

    async def read_one(self, request: web.Request) -> web.Response:
        """One Edge."""
        self._admin.require(request, "edges:read")
        return json_answer(EdgeShown, self._find(request))

    async def drain(self, request: web.Request) -> web.Response:
        """Begin; the answer says how many sessions go over it, and does not wait for the end."""
        self._admin.require(request, "edges:write")
        edge = self._find(request)
        wish = await read_json(request, EdgeDrainWish)
        await self._leave(edge.name, wish.deadline_s)
        return json_answer(EdgeShown, self._find(request), status=202)

    async def resume(self, request: web.Request) -> web.Response:
        """Take it back."""
        self._admin.require(request, "edges:write")
        await self._leave(self._find(request).name, None)
        return json_answer(EdgeShown, self._find(request))

    async def _leave(self, name: str, deadline_s: float | None) -> None:
        if self._edges is not None:
            await self._edges.leave(name, deadline_s)

    def _find(self, request: web.Request) -> EdgeShown:
        return find_edge(self._edges, request)


def find_edge(edges: EdgeControl | None, request: web.Request) -> EdgeShown:
    """The Edge that a path names. Raises Problem (404)."""
    for edge in edges.status() if edges is not None else ():
        if edge.name == request.match_info["name"]:
            return edge
    raise Problem(404, "not-found", "There is no Edge of this name; `link.edges` in the configuration names them.")
