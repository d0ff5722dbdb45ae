"""`/v1/registrations` on the administration's listener: which devices are registered, and signing them off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from mediaserver.api.auth import AdminAuth
from mediaserver.api.problem import Problem
from mediaserver.sip.flow import bracketed
from mediaserver.sip.location import Binding

MAX_PAGE = 1_000


class RegistrationsResource:
    """`bindings` gives every live one, `remove` signs all devices of an address of record off; `now` is their clock."""

    def __init__(
        self,
        *,
        bindings: Callable[[], Sequence[Binding]],
        remove: Callable[[str], bool],
        now: Callable[[], float],
        admin: AdminAuth,
    ) -> None:
        self._bindings = bindings
        self._remove = remove
        self._now = now
        self._admin = admin

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return [web.get("/v1/registrations", self.read_all), web.delete("/v1/registrations/{aor}", self.delete)]

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items, total}`; `?user=` is a user name or an address of record."""
        self._admin.require(request)
        wanted = request.query.get("user")
        found = [
            binding
            for binding in self._bindings()
            if wanted is None or wanted in (binding.aor, binding.aor.partition("@")[0])
        ]
        items = [_shown(binding, self._now()) for binding in found[:MAX_PAGE]]
        return web.json_response({"items": items, "total": len(found)}, headers={"Cache-Control": "no-store"})

    async def delete(self, request: web.Request) -> web.Response:
        """Forget every device of an address of record; they come back with their next registration."""
        self._admin.require(request)
        if not self._remove(request.match_info["aor"]):
            raise Problem(404, "not-found", "Nobody is registered under this address of record.")
        return web.Response(status=204)


def _shown(binding: Binding, now: float) -> dict[str, Any]:
    flow = binding.flow
    return {
        "aor": binding.aor,
        "contact": str(binding.contact),
        "source": f"{bracketed(flow.remote_ip)}:{flow.remote_port}",
        "transport": flow.transport,
        "expires_in_s": max(0, round(binding.expires_at - now)),
        "q": binding.q,
        "instance": binding.instance,
        "path": [str(route) for route in binding.path],
        "user_agent": binding.user_agent,
    }
