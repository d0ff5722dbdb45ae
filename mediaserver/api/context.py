"""What the resources of the public side share: who may come in by an entry, whether the daemon takes new work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from mediaserver.api.origins import Origins
from mediaserver.api.problem import Problem
from mediaserver.config.sections import ConsentText


@dataclass(frozen=True, slots=True)
class EntryAccess:
    """An entry as the web side sees it: who may come in by it, and what the page shows."""

    name: str
    title: str
    origins: Origins = field(default_factory=Origins)
    """Origins of pages that may use it."""
    video: Literal["two-way", "agent-only", "none"] = "two-way"
    identity_required: bool = False
    """Whether callers must bring a token of the house's site."""
    consent: ConsentText = field(default_factory=ConsentText)
    """What a caller agrees to before the camera is shown."""


class Admission:
    """Whether new sessions are taken: the switch that draining turns."""

    def __init__(self, *, retry_after_s: float = 30.0) -> None:
        self.draining = False
        self.retry_after_s = retry_after_s
        self.send_away: Callable[[web.BaseRequest], None] | None = None
        """Told, while draining, of requests that somebody new makes, who can be taken elsewhere the next time."""

    def drain(self) -> None:
        """Take no new sessions from now on; those that exist go on."""
        self.draining = True

    def greet(self, request: web.BaseRequest) -> None:
        """Somebody has come who has nothing here yet."""
        if self.draining and self.send_away is not None:
            self.send_away(request)

    def require_open(self, request: web.BaseRequest) -> None:
        """Raises 503 with Retry-After while draining."""
        self.greet(request)
        if self.draining:
            raise Problem(
                503,
                "draining",
                "The server is being stopped or upgraded and takes no new sessions; please try again shortly.",
                # Who tries again is to come by another connection, which an Edge can bring to another Core.
                headers={"Retry-After": str(max(1, round(self.retry_after_s))), "Connection": "close"},
            )
