"""What the resources of the public side share: who may come in by an entry, whether the daemon takes new work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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

    def drain(self) -> None:
        """Take no new sessions from now on; those that exist go on."""
        self.draining = True

    def require_open(self) -> None:
        """Raises 503 with Retry-After while draining."""
        if self.draining:
            raise Problem(
                503,
                "draining",
                "The server is being stopped or upgraded and takes no new sessions; please try again shortly.",
                headers={"Retry-After": str(max(1, round(self.retry_after_s)))},
            )
