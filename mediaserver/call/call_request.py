"""What somebody who wants to be connected brings along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mediaserver.call.agents import Presentation
from mediaserver.call.early_media import EarlyMedia
from mediaserver.call.leg import Leg
from mediaserver.call.quality import LegQuality
from mediaserver.call.routing import Destination

MOST_HOPS: Final = 70
"""Where a call begins (RFC 3261 §8.1.1.6)."""

Note = Callable[[str, str], None]
"""(what happened, detail)."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A caller that wants to be connected; `caller.progress` is told when a device rings."""

    contact_id: str
    caller: Leg
    destination: Destination
    presentation: Presentation
    headers: Sequence[tuple[str, str]] = ()
    """Header fields of the INVITE that is continued, for trunks that want some of them copied."""
    early: EarlyMedia | None = None
    """What the caller hears before anybody has answered; None hears nothing."""
    own_headers: Sequence[tuple[str, str]] = ()
    """Header fields of ours that everybody who is called gets, like Referred-By."""
    on_leg: Callable[[Leg], None] | None = None
    """Gets every leg that comes into the call later, by a transfer."""
    note: Note | None = None
    """Gets what admission control decides, for the contact's timeline."""
    call_id: str = ""
    """The call's id, where it is told to somebody before the call is up."""
    on_digit: Callable[[Leg, str], None] | None = None
    """Gets every key that is pressed on a leg."""
    focus: str | None = None
    """User part of the URI of the conference that calls (RFC 4579), where it is one."""

    @property
    def max_forwards(self) -> int:
        """How many hops there may be before whoever is called (RFC 7332 §4): one less than the caller's INVITE had."""
        for name, value in self.headers:
            if name.lower() == "max-forwards" and value.strip().isdecimal():
                return max(0, min(int(value), MOST_HOPS) - 1)
        return MOST_HOPS

    def noted_quality(self) -> Callable[[Leg, LegQuality], None] | None:
        """Notes how legs are doing, where somebody wants notes."""
        note = self.note
        if note is None:
            return None

        def noted(leg: Leg, quality: LegQuality) -> None:
            note("quality", f"{leg.name} {quality.level}")

        return noted
