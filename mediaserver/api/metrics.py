"""What the web side counts, and `/metrics`, where Prometheus reads everything."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


class ApiMetrics:
    """Counters of the web resources, created once in the registry they are read from."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "mediaserver_http_requests_total", "HTTP requests answered.", ["method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "mediaserver_http_request_duration_seconds",
            "Time to answer an HTTP request, WebSocket sessions excepted.",
            registry=registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
        )
        self.connections_refused = Counter(
            "mediaserver_http_connections_refused_total", "TCP connections over the limit.", registry=registry
        )
        self.sessions = Gauge("mediaserver_web_sessions", "WebSocket sessions there are.", ["role"], registry=registry)
        self.sessions_refused = Counter(
            "mediaserver_web_sessions_refused_total", "Sessions refused.", ["reason"], registry=registry
        )
        self.sessions_resumed = Counter(
            "mediaserver_web_sessions_resumed_total", "Sessions taken up again over a new socket.", registry=registry
        )
        self.session_messages = Counter(
            "mediaserver_web_session_messages_total", "Messages received from browsers.", registry=registry
        )
        self.session_errors = Counter(
            "mediaserver_web_session_errors_total", "Messages from browsers that were not understood.", registry=registry
        )
        self.sign_ins = Counter("mediaserver_agent_sign_ins_total", "Agent sign-ins.", ["result"], registry=registry)
        self.room_sessions = Gauge(
            "mediaserver_room_sessions", "WHIP and WHEP sessions there are.", ["kind"], registry=registry
        )
        self.room_sessions_refused = Counter(
            "mediaserver_room_sessions_refused_total", "WHIP and WHEP requests refused.", ["kind"], registry=registry
        )

    def session_refused(self, reason: str) -> None:
        """Count a refused session; `reason` is one of a fixed set of codes."""
        self.sessions_refused.labels(reason=reason).inc()


class MetricsResource:
    """`GET /metrics` on the administration's listener."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return [web.get("/metrics", self.read)]

    async def read(self, _request: web.Request) -> web.Response:
        """Everything in the registry, in Prometheus' text format."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
