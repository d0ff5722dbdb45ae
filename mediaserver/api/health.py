"""`/healthz` and `/readyz`: whether the daemon lives, and whether it takes new work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from mediaserver.api.context import Admission

Check = Callable[[], str | None]
"""None when all is well, else a short text that says what is not."""


class HealthResource:
    """Health for supervisors and load balancers; the detail is shown on the administration's listener only."""

    def __init__(self, *, admission: Admission, checks: Mapping[str, Check], detailed: bool) -> None:
        """`checks` must return at once: they look at what is known, and ask nobody."""
        self._admission = admission
        self._checks = checks
        self._detailed = detailed

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application."""
        return [web.get("/healthz", self.alive), web.get("/readyz", self.ready)]

    async def alive(self, _request: web.Request) -> web.Response:
        """200 as long as the event loop runs."""
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 when new calls are taken; 503 while starting, draining, or when a part does not work."""
        failed = {name: problem for name, check in self._checks.items() if (problem := check()) is not None}
        status = "draining" if self._admission.draining else "not ready" if failed else "ready"
        body: dict[str, object] = {"status": status}
        if self._detailed:
            body["checks"] = {name: failed.get(name, "ok") for name in self._checks}
        headers = {"Cache-Control": "no-store"}
        if status != "ready":
            headers["Retry-After"] = str(max(1, round(self._admission.retry_after_s)))
        return web.json_response(body, status=200 if status == "ready" else 503, headers=headers)
