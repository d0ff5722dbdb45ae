"""What holds for every request: security headers, CORS as decided, the rate of one source, one log line, one count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from mediaserver.api.limits import RateLimit
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.origins import granted_cors
from mediaserver.api.problem import Handler, too_many
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.sources import source_prefix

access_log = structlog.get_logger("mediaserver.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"})

_ROUTINE = ("/healthz", "/readyz", "/metrics", "/web/")

_SECURITY_HEADERS = {
    "Server": "mediaserver",
    # A page sets its own, wider policy; everything else is data that nobody should run or frame.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def observed(*, metrics: ApiMetrics, source_of: SourceResolver, listener: str, prefix: str = "") -> Middleware:
    """The outermost middleware. The log line has the path without its query, which may hold anything."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin = time.perf_counter()
        response = await handler(request)
        seconds = time.perf_counter() - begin
        if not response.prepared:
            for name, value in _SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            cors = granted_cors(request)
            if cors:
                response.headers.update(cors)
                response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            if request.secure:
                response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            metrics.request_seconds.observe(seconds)
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method=method, status=str(response.status)).inc()
        # Health checks and the pages' files come by the thousand; they are told on request only.
        routine = response.status < 400 and request.path.removeprefix(prefix).startswith(_ROUTINE)
        access_log.log(
            logging.DEBUG if routine else logging.INFO,
            "http_request",
            listener=listener,
            method=method,
            path=request.path[:256],
            status=response.status,
            source=source_of(request),
            duration_ms=round(seconds * 1000, 1),
        )
        return response

    return middleware


def limited(
    *, per_second: float, burst: float, source_of: SourceResolver, clock: Callable[[], float] = time.monotonic
) -> Middleware:
    """Refuses requests (429) of a source that makes too many."""
    rate = RateLimit(per_second=per_second, burst=burst)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        wait_s = rate.take(source_prefix(source_of(request)), clock())
        if wait_s:
            raise too_many("Too many requests come from your network; please slow down.", retry_after_s=wait_s)
        return await handler(request)

    return middleware
