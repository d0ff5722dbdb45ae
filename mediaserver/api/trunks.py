"""`/v1/trunks` on the administration's listener: who lives, who is registered, how many calls there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from aiohttp import web

from mediaserver.api.auth import AdminAuth
from mediaserver.api.problem import Problem
from mediaserver.call.trunks import TrunkStatus


class TrunksResource:
    """Reads the state of trunks for whoever holds the admin token; `status` gives all of them."""

    def __init__(self, *, status: Callable[[], Sequence[TrunkStatus]], admin: AdminAuth) -> None:
        self._status = status
        self._admin = admin

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return [web.get("/v1/trunks", self.read_all), web.get("/v1/trunks/{name}", self.read_one)]

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items}`, in the order of the file."""
        self._admin.require(request)
        return _json({"items": [asdict(status) for status in self._status()]})

    async def read_one(self, request: web.Request) -> web.Response:
        """One trunk."""
        self._admin.require(request)
        name = request.match_info["name"]
        found = next((status for status in self._status() if status.name == name), None)
        if found is None:
            raise Problem(404, "not-found", "There is no trunk of this name.")
        return _json(asdict(found))


def _json(body: object) -> web.Response:
    return web.json_response(body, headers={"Cache-Control": "no-store"})
