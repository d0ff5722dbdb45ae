"""What the web side counts, and `/metrics`, where Prometheus reads everything."""

from __future__ import annotations

from aiohttp import web

from mediaserver.runtime.metrics import CONTENT_TYPE, Metrics


class ApiMetrics:
    """Counters of the web resources, created once in the registry they are read from."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter("http_requests_total", "HTTP requests answered.", ("method", "status"))
        self.request_seconds = metrics.histogram(
            "http_request_duration_seconds",
            "Time to answer an HTTP request, WebSocket sessions excepted.",
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
        )
        self.connections_refused = metrics.counter("http_connections_refused_total", "TCP connections over the limit.")
        self.sessions = metrics.gauge("web_sessions", "WebSocket sessions there are.", ("role",))
        self.sessions_refused = metrics.counter("web_sessions_refused_total", "Sessions refused.", ("reason",))
        self.sessions_resumed = metrics.counter(
            "web_sessions_resumed_total", "Sessions taken up again over a new socket."
        )
        self.session_messages = metrics.counter("web_session_messages_total", "Messages received from browsers.")
        self.session_errors = metrics.counter(
            "web_session_errors_total", "Messages from browsers that were not understood."
        )
        self.sign_ins = metrics.counter("agent_sign_ins_total", "Agent sign-ins.", ("result",))
        self.line_tests = metrics.counter("line_tests_total", "Line tests begun, and refused.", ("result",))
        self.line_tests_open = metrics.gauge("line_tests_open", "Line tests there are.")
        self.room_sessions = metrics.gauge("room_sessions", "WHIP and WHEP sessions there are.", ("kind",))
        self.room_sessions_refused = metrics.counter(
            "room_sessions_refused_total", "WHIP and WHEP sessions refused.", ("kind",)
        )

    def session_refused(self, reason: str) -> None:
        """Count a refused session; `reason` is one of a fixed set of codes."""
        self.sessions_refused.labels(reason=reason).inc()


class MetricsResource:
    """`GET /metrics` on the administration's listener."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return [web.get("/metrics", self.read)]

    async def read(self, _request: web.Request) -> web.Response:
        """Everything in the registry, in Prometheus' text format."""
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
