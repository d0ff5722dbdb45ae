"""The pages that ship with the daemon: of callers, agents and rooms, and the modules that `widget.js` loads anywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from aiohttp import web

from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.problem import Problem

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_policy(servers: Iterable[str] = ()) -> str:
    """Content-Security-Policy of the pages: everything from here, nothing inline; connections also to `servers`."""
    also = "".join(f" {server} ws{server.removeprefix('http')}" for server in servers)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
        f"connect-src 'self'{also}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    content_type: str
    etag: str


class PagesResource:
    """Serves the files of `mediaserver/web`, read once; a browser keeps them and asks whether they changed."""

    def __init__(
        self, *, entries: Iterable[EntryAccess], admission: Admission, servers: Sequence[str] = (), prefix: str = ""
    ) -> None:
        """The first entry is the one that `/` calls; `servers` are origins that lead here, too, all of them beneath
        `prefix`."""
        self._policy = page_policy(servers)
        self._admission = admission
        self._assets: dict[str, _Asset] = {}
        for file in files("mediaserver.web").iterdir():
            suffix = "." + file.name.rpartition(".")[2]
            if suffix in _TYPES:
                self._assets[file.name] = _asset(file.read_bytes(), _TYPES[suffix])
        for name in ("agent.html", "room.html"):
            self._assets[name] = _filled(self._assets[name].body.decode(), {"prefix": prefix})
        template = self._assets["call.html"].body.decode()
        self._call_pages = {entry.name: _call_page(template, entry, servers, prefix) for entry in entries}

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return [
            web.get("/", self.call),
            web.get("/call/{entry}", self.call),
            web.get("/agent", self.agent),
            web.get("/room", self.room),
            web.get("/widget.js", self.widget),
            web.get("/web/{name}", self.asset),
        ]

    async def call(self, request: web.Request) -> web.StreamResponse:
        """The caller page of an entry."""
        name = request.match_info.get("entry", next(iter(self._call_pages), ""))
        if name not in self._call_pages:
            raise Problem(404, "unknown-entry", "There is no such entry; `entries` in the configuration names them.")
        return self._page(request, self._call_pages[name])

    async def agent(self, request: web.Request) -> web.StreamResponse:
        """The agent page."""
        return self._page(request, self._assets["agent.html"])

    async def room(self, request: web.Request) -> web.StreamResponse:
        """The page of every room; which one it is, the token says, which the link has behind `#`."""
        return self._page(request, self._assets["room.html"])

    async def widget(self, request: web.Request) -> web.StreamResponse:
        """The script that any page may load by one tag."""
        return self._answer(request, self._assets["widget.js"])

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A module or style sheet. Any origin may read them: they are loaded by the widget, and hold no secret."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None or asset.content_type == "text/html":
            raise Problem(404, "not-found", f"There is nothing at {request.path}.")
        return self._answer(request, asset)

    def _page(self, request: web.Request, page: _Asset) -> web.StreamResponse:
        # A page that opens has no session yet; when it begins one, it is by another connection.
        self._admission.greet(request)
        response = self._answer(request, page)
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["Permissions-Policy"] = (
            "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), geolocation=()"
        )
        return response

    def _answer(self, request: web.Request, asset: _Asset) -> web.StreamResponse:
        tag = f'"{asset.etag}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "no-cache",
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)


def _asset(body: bytes, content_type: str) -> _Asset:
    return _Asset(body, content_type, hashlib.sha256(body).hexdigest()[:24])


def _call_page(template: str, entry: EntryAccess, servers: Sequence[str], prefix: str) -> _Asset:
    values = {
        "entry": entry.name,
        "prefix": prefix,
        "servers": " ".join(f"{server}{prefix}" for server in servers),
        "title": entry.title,
        "video": entry.video,
        "consent_version": entry.consent.version,
        "consent_text": entry.consent.text,
    }
    return _filled(template, values)


def _filled(template: str, values: Mapping[str, str]) -> _Asset:
    # In one pass, so that a value which looks like a placeholder stays what it is.
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: escape(values[found[1]]), template)
    return _asset(page.encode(), "text/html")
