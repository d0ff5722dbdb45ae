"""Which users have a browser signed in, and how to make that browser ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mediaserver.call.leg import Codecs, Leg
from mediaserver.webrtc.messages import Page


@dataclass(frozen=True, slots=True)
class Presentation:
    """What is shown of a caller; `attributes` are trusted, the `unverified` ones and `page` are its own words."""

    name: str
    verified: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    unverified: Mapping[str, str] = field(default_factory=dict)
    page: Page | None = None
    number: str | None = None
    """The caller's telephone number or user name, as routes see it; None is anonymous."""
    withheld: bool = False
    """The caller does not want others to be told who it is; trunks that are trusted are told all the same."""


class BrowserPhone(Protocol):
    """A signed-in browser that can take one call at a time."""

    user: str

    async def ring(self, *, call_id: str, contact_id: str, presentation: Presentation, wanted: Codecs) -> Leg:
        """Shows the call and returns the leg once the agent has answered and its media are negotiated.

        Raises DialFailed (486 busy, 603 declined, 480 gone). Cancelling it withdraws the call.
        """

    async def dismiss(self) -> None:
        """Another browser of the same user has taken its place."""


class Agents:
    """The signed-in browsers by user; one for each user."""

    def __init__(self) -> None:
        self._present: dict[str, BrowserPhone] = {}

    def sign_in(self, phone: BrowserPhone) -> BrowserPhone | None:
        """Makes `phone` the browser of its user; returns the one whose place it takes."""
        replaced = self._present.get(phone.user)
        self._present[phone.user] = phone
        return replaced

    def sign_out(self, phone: BrowserPhone) -> None:
        """Forgets `phone`, unless another has taken its place."""
        if self._present.get(phone.user) is phone:
            del self._present[phone.user]

    def browser_of(self, user: str) -> BrowserPhone | None:
        """The browser of a user, if one is signed in."""
        return self._present.get(user)

    def __len__(self) -> int:
        return len(self._present)
