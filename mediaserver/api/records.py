"""`/v1/records` on the administration's listener: what is kept of finished contacts."""

from __future__ import annotations

import msgspec
from aiohttp import web

from mediaserver.api.auth import AdminAuth
from mediaserver.api.problem import Problem
from mediaserver.store.records import ContactRecords

MAX_PAGE = 500


class RecordsResource:
    """Reads records for whoever holds the admin token."""

    def __init__(self, *, store: ContactRecords, admin: AdminAuth) -> None:
        self._store = store
        self._admin = admin

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return [web.get("/v1/records", self.read_page), web.get("/v1/records/{contact_id}", self.read_one)]

    async def read_page(self, request: web.Request) -> web.Response:
        """`{items, next}`; `next` goes into `?before=` for the following page and is null at the end."""
        self._admin.require(request)
        limit = _limit(request.query.get("limit", "50"))
        items = await self._store.list(limit=limit, before=request.query.get("before"))
        following = items[-1].contact_id if len(items) == limit else None
        return _json({"items": items, "next": following})

    async def read_one(self, request: web.Request) -> web.Response:
        """One contact's record."""
        self._admin.require(request)
        record = await self._store.get(request.match_info["contact_id"])
        if record is None:
            raise Problem(404, "not-found", "There is no record of this contact: it goes on, or it was never here.")
        return _json(record)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE:
        raise Problem(400, "bad-limit", f"`limit` is a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def _json(body: object) -> web.Response:
    text = msgspec.json.encode(body).decode()
    return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})
