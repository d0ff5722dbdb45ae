"""`/v1/entries/{name}`: what a page may know about an entry before anybody calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import web
from pydantic import BaseModel

from mediaserver.api.auth import AdminAuth
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.origins import allow_cors, preflight
from mediaserver.api.problem import Problem


class EntryConsent(BaseModel):
    """What a caller agrees to before the camera is shown."""

    version: str
    text: str


class EntryForPages(BaseModel):
    """An entry as a page sees it."""

    name: str
    title: str
    video: str
    consent: EntryConsent
    open: bool
    """Whether calls are taken now."""
    servers: list[str]
    """Other base URLs by which the server is reached, where this one fails."""


class EntriesResource:
    """Titles and media of the entries, for the pages that may use them."""

    def __init__(
        self, *, entries: Mapping[str, EntryAccess], admission: Admission, servers: Sequence[str] = ()
    ) -> None:
        self._entries = entries
        self._admission = admission
        self._servers = list(servers)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return [*routes(self.operations()), web.options("/v1/entries/{name}", self.describe)]

    def operations(self) -> list[Operation]:
        """What pages ask for."""
        return [
            Operation(
                method="GET",
                path="/v1/entries/{name}",
                handler=self.read,
                summary="What a page may know about an entry before anybody calls.",
                scope=None,
                answer=EntryForPages,
                problems={403: "Pages of this origin may not use the entry.", 404: "There is no such entry."},
            )
        ]

    async def read(self, request: web.Request) -> web.Response:
        """Title, media, consent text, and whether calls are taken now."""
        entry = self._entry(request)
        # Pages ask before anybody calls.
        self._admission.greet(request)
        shown = EntryForPages(
            name=entry.name,
            title=entry.title,
            video=entry.video,
            consent=EntryConsent(version=entry.consent.version, text=entry.consent.text),
            open=not self._admission.draining,
            servers=self._servers,
        )
        return json_answer(EntryForPages, shown, headers={"Cache-Control": "no-cache"})

    async def describe(self, request: web.Request) -> web.Response:
        """CORS preflight."""
        self._entry(request)
        return preflight(request, methods="GET", headers="accept")

    def _entry(self, request: web.Request) -> EntryAccess:
        entry = self._entries.get(request.match_info["name"])
        if entry is None:
            raise Problem(404, "unknown-entry", "There is no such entry; `entries` in the configuration names them.")
        origin = request.headers.get("Origin")
        if origin is None:
            return entry
        if not entry.origins.allow_request(request):
            raise Problem(
                403,
                "origin-refused",
                f"Pages of {origin[:256]} may not use this entry; "
                f"list the origin under `entries.{entry.name}.allowed_origins`.",
            )
        allow_cors(request, origin)
        return entry


class EntryShown(BaseModel):
    """An entry as the administration sees it."""

    name: str
    title: str
    origins: list[str]
    video: str


class EntryList(BaseModel):
    """All of them."""

    items: list[EntryShown]


class EntriesAdminResource:
    """`GET /v1/entries` on the administration's listener: all of them, with the origins allowed."""

    def __init__(self, *, entries: Mapping[str, EntryAccess], admin: AdminAuth) -> None:
        self._entries = entries
        self._admin = admin

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    def operations(self) -> list[Operation]:
        """Everything about entries."""
        return [
            Operation(
                method="GET",
                path="/v1/entries",
                handler=self.read,
                summary="The entries of the configuration.",
                scope="entries:read",
                answer=EntryList,
            )
        ]

    async def read(self, request: web.Request) -> web.Response:
        """Every entry by name."""
        self._admin.require(request, "entries:read")
        items = [
            EntryShown(name=entry.name, title=entry.title, origins=list(entry.origins.patterns), video=entry.video)
            for entry in self._entries.values()
        ]
        return json_answer(EntryList, EntryList(items=items))
