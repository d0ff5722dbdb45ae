"""`/v1/edges/{name}/media-probe` on the administration's listener: a pair of media ports at an Edge, to check firewalls."""

from __future__ import annotations

from typing import Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mediaserver.api.auth import AdminAuth
from mediaserver.api.edges import EdgeControl, find_edge
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.problem import Problem


class MediaProbeShown(BaseModel):
    """A pair of ports as phones and trunks get one for a call, here for nobody's call."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    state: Literal["open", "refused", "closed"]
    reason: str = ""
    """Why the Edge opened none."""
    ip: str = ""
    """As peers see it."""
    port: int = 0
    """That of RTP; RTCP has the next one."""
    packets: int = 0
    """What came to this Core through it."""
    heard_from: str | None = None
    """Who sent first, as the Edge saw it."""


class ProbesMedia(Protocol):
    """What the daemon does for a check."""

    async def open(self, edge: str) -> MediaProbeShown:
        """Has this Edge open a pair, which ends with `close`, or by itself after some seconds."""
        ...

    async def close(self, edge: str) -> MediaProbeShown | None:
        """Ends it; what it has heard. None where there is none."""
        ...


class MediaProbesResource:
    """Opens and ends them (`edges:write`)."""

    def __init__(self, *, probes: ProbesMedia | None, edges: EdgeControl | None, admin: AdminAuth) -> None:
        """Without `probes` and `edges` there are no Edges."""
        self._probes = probes
        self._edges = edges
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about them."""
        return [
            Operation(
                method="POST",
                path="/v1/edges/{name}/media-probe",
                handler=self.open,
                summary="Open a pair of media ports at an Edge for some seconds, to which anybody may send.",
                scope="edges:write",
                answer=MediaProbeShown,
                problems={404: "There is no Edge of this name."},
            ),
            Operation(
                method="DELETE",
                path="/v1/edges/{name}/media-probe",
                handler=self.close,
                summary="Close it; the answer says what came through.",
                scope="edges:write",
                answer=MediaProbeShown,
                problems={404: "Nothing is open there."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def open(self, request: web.Request) -> web.Response:
        """One for each Edge at a time."""
        self._admin.require(request, "edges:write")
        name = find_edge(self._edges, request).name
        if self._probes is None:
            raise Problem(404, "not-found", "This daemon has no Edges.")
        return json_answer(MediaProbeShown, await self._probes.open(name))

    async def close(self, request: web.Request) -> web.Response:
        """What it has heard until now."""
        self._admin.require(request, "edges:write")
        found = await self._probes.close(request.match_info["name"]) if self._probes is not None else None
        if found is None:
            raise Problem(404, "not-found", "No pair is open there for a check.")
        return json_answer(MediaProbeShown, found)
