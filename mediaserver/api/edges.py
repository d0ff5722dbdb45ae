"""`/v1/edges` on the administration's listener: which Edges are there, and which way media go to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mediaserver.api.auth import AdminAuth
from mediaserver.api.operation import Operation, json_answer, routes


class EdgeStatus(BaseModel):
    """One Edge as this Core knows it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    name: str
    """As in the configuration."""
    state: Literal["ready", "draining", "away"]
    reason: str
    """Why it cannot be used, in plain words; empty while it can."""
    media: Literal["none", "udp", "tls", "both"]
    """How media go between this Core and the Edge; `tls` is the way where UDP is blocked."""
    media_words: str
    """The same in plain words."""


class EdgeList(BaseModel):
    """All of them, in the order of the file."""

    items: list[EdgeStatus]


class EdgesResource:
    """Reads the state of Edges (`edges:read`); `status` gives all of them."""

    def __init__(self, *, status: Callable[[], Sequence[EdgeStatus]], admin: AdminAuth) -> None:
        self._status = status
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about Edges."""
        return [
            Operation(
                method="GET",
                path="/v1/edges",
                handler=self.read_all,
                summary="Every Edge, and which way media go to it.",
                scope="edges:read",
                answer=EdgeList,
            )
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items}`, in the order of the file; empty where this is no Core with Edges."""
        self._admin.require(request, "edges:read")
        return json_answer(EdgeList, EdgeList(items=list(self._status())))
