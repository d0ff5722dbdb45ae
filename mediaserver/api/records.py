"""`/v1/records` on the administration's listener: what is kept of finished contacts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mediaserver.api.auth import AdminAuth
from mediaserver.api.operation import Operation, read_query, routes
from mediaserver.api.problem import Problem
from mediaserver.store.records import ContactRecord, ContactRecords

MAX_PAGE = 500


class RecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records, the latest first; `next` goes into `before` for the following part and is null at the end."""

    items: tuple[ContactRecord, ...]
    next: str | None


class RecordQuery(BaseModel):
    """Which part of the list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    """Items at most."""
    before: Annotated[str, StringConstraints(max_length=128)] | None = None
    """`next` of the part before."""


class RecordsResource:
    """Reads records (`records:read`)."""

    def __init__(self, *, store: ContactRecords, admin: AdminAuth) -> None:
        self._store = store
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about records."""
        return [
            Operation(
                method="GET",
                path="/v1/records",
                handler=self.read_page,
                summary="What is kept of contacts that are over.",
                scope="records:read",
                answer=RecordPage,
                query=RecordQuery,
                problems={503: "The store cannot be read."},
            ),
            Operation(
                method="GET",
                path="/v1/records/{contact_id}",
                handler=self.read_one,
                summary="One record.",
                scope="records:read",
                answer=ContactRecord,
                problems={404: "The contact goes on, or was never here.", 503: "The store cannot be read."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_page(self, request: web.Request) -> web.Response:
        """`{items, next}`; `next` goes into `?before=` for the following page and is null at the end."""
        self._admin.require(request, "records:read")
        query = read_query(request, RecordQuery)
        items = await self._store.list(limit=query.limit, before=query.before)
        following = items[-1].contact_id if len(items) == query.limit else None
        return _json(RecordPage(items=tuple(items), next=following))

    async def read_one(self, request: web.Request) -> web.Response:
        """One contact's record."""
        self._admin.require(request, "records:read")
        record = await self._store.get(request.match_info["contact_id"])
        if record is None:
            raise Problem(404, "not-found", "There is no record of this contact: it goes on, or it was never here.")
        return _json(record)


def _json(body: object) -> web.Response:
    text = msgspec.json.encode(body).decode()
    return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})
