"""Which web origins may do what (RFC 6454): for CORS answers and for WebSocket upgrades, which have no CORS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Origins:
    """A list of allowed origins.

    Each is `https://www.example.org` (scheme, host, port if not the default), `https://*.example.org` (any name below,
    any depth), `self` (pages served from here) or `*` (anybody).
    """

    patterns: tuple[str, ...] = ("self",)

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Origins:
        """From configured strings; a trailing slash and letter case do not matter."""
        return cls(tuple(pattern.strip().rstrip("/").lower() for pattern in patterns))

    @property
    def anybody(self) -> bool:
        """Whether no origin is refused."""
        return "*" in self.patterns

    def allow_request(self, request: web.BaseRequest) -> bool:
        """Whether this request's `Origin` may pass; a request without one only where anybody may."""
        if "self" in self.patterns and is_same_origin(request):
            return True
        return self.allow(request.headers.get("Origin"))

    def allow(self, origin: str | None) -> bool:
        """Whether `Origin: origin` is in the list; `null` and none only where anybody is."""
        if self.anybody:
            return True
        if not origin or origin == "null":
            return False
        origin = origin.lower().rstrip("/")
        return any(_matches(pattern, origin) for pattern in self.patterns if pattern != "self")


def _matches(pattern: str, origin: str) -> bool:
    scheme, found, rest = pattern.partition("://*.")
    if not found:
        return pattern == origin
    return origin.startswith(scheme + "://") and origin.endswith("." + rest) and len(origin) > len(pattern) - 1


def is_same_origin(request: web.BaseRequest) -> bool:
    """Whether the page that sends this request was itself served from here, by its `Origin` and our `Host`.

    The scheme is not compared: a TLS terminator in front would make it differ, and host with port is what names us.
    """
    origin = request.headers.get("Origin")
    host = request.headers.get("Host")
    if not origin or not host:
        return False
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https"):
        return False
    return _with_port(parts.netloc.lower(), parts.scheme) == _with_port(host.lower(), parts.scheme)


def _with_port(netloc: str, scheme: str) -> str:
    tail = netloc.rpartition("]")[2]
    return netloc if ":" in tail else f"{netloc}:{443 if scheme == 'https' else 80}"


_CORS = web.RequestKey("cors", dict[str, str])


def allow_cors(request: web.Request, origin: str, *, expose: str = "") -> None:
    """Let pages of `origin` read the response to this request, errors included. No credentials: no cookie is used."""
    headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    if expose:
        headers["Access-Control-Expose-Headers"] = expose
    request[_CORS] = headers


def granted_cors(request: web.Request) -> dict[str, str]:
    """The headers that `allow_cors` decided on; empty when no other origin may read the response."""
    headers: dict[str, str] = request.get(_CORS, {})
    return headers


def preflight(request: web.Request, *, methods: str, headers: str, **more: str) -> web.Response:
    """Answers a CORS preflight for which `allow_cors` was called; `more` are further headers, `_` for `-`."""
    answer = {name.replace("_", "-"): value for name, value in more.items()}
    if granted_cors(request):
        answer |= {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": headers,
            "Access-Control-Max-Age": "600",
        }
    return web.Response(status=204, headers=answer)
