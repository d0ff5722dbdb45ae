"""`/v1/trunks` on the administration's listener: who lives, who is registered, how many calls there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import BaseModel

from mediaserver.api.auth import AdminAuth
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.problem import Problem
from mediaserver.call.trunks import TrunkStatus


class TrunkList(BaseModel):
    """All of them, in the order of the file."""

    items: list[TrunkStatus]


class TrunksResource:
    """Reads the state of trunks (`trunks:read`); `status` gives all of them."""

    def __init__(self, *, status: Callable[[], Sequence[TrunkStatus]], admin: AdminAuth) -> None:
        self._status = status
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about trunks."""
        return [
            Operation(
                method="GET",
                path="/v1/trunks",
                handler=self.read_all,
                summary="Every trunk with its targets.",
                scope="trunks:read",
                answer=TrunkList,
            ),
            Operation(
                method="GET",
                path="/v1/trunks/{name}",
                handler=self.read_one,
                summary="One trunk.",
                scope="trunks:read",
                answer=TrunkStatus,
                problems={404: "There is no trunk of this name."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items}`, in the order of the file."""
        self._admin.require(request, "trunks:read")
        return json_answer(TrunkList, TrunkList.model_construct(items=list(self._status())))

    async def read_one(self, request: web.Request) -> web.Response:
        """One trunk."""
        self._admin.require(request, "trunks:read")
        name = request.match_info["name"]
        found = next((status for status in self._status() if status.name == name), None)
        if found is None:
            raise Problem(404, "not-found", "There is no trunk of this name.")
        return json_answer(TrunkStatus, found)
