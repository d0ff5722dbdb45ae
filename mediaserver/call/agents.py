"""Which users have a browser signed in, and how to make that browser ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

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


@dataclass(frozen=True, slots=True)
class PageCall:
    """The call of an agent's page, as colleagues may see it."""

    id: str
    calling: bool
    """The agent called, and was not called."""
    state: Literal["trying", "early", "confirmed"]
    remote: str | None
    """Number or user name of the other party; None is nobody who may be named."""


class AgentWatcher(Protocol):
    """Is told what agents on pages do, for whoever watches them."""

    def signed_in(self, user: str, *, here: bool) -> None:
        """A page of this user is there, or is no more."""

    def talks(self, user: str, call: PageCall | None) -> None:
        """The page's call has begun or changed; None: it is over."""


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

    def __init__(self, watcher: AgentWatcher | None = None) -> None:
        self._present: dict[str, BrowserPhone] = {}
        self._watcher = watcher

    def sign_in(self, phone: BrowserPhone) -> BrowserPhone | None:
        """Makes `phone` the browser of its user; returns the one whose place it takes."""
        replaced = self._present.get(phone.user)
        self._present[phone.user] = phone
        if self._watcher is not None:
            self._watcher.talks(phone.user, None)
            self._watcher.signed_in(phone.user, here=True)
        return replaced

    def sign_out(self, phone: BrowserPhone) -> None:
        """Forgets `phone`, unless another has taken its place."""
        if self._present.get(phone.user) is phone:
            del self._present[phone.user]
            if self._watcher is not None:
                self._watcher.talks(phone.user, None)
                self._watcher.signed_in(phone.user, here=False)

    def talks(self, phone: BrowserPhone, call: PageCall | None) -> None:
        """The call of `phone` as it is now; a page whose place another has taken is nobody's any more."""
        if self._watcher is not None and self._present.get(phone.user) is phone:
            self._watcher.talks(phone.user, call)

    def browser_of(self, user: str) -> BrowserPhone | None:
        """The browser of a user, if one is signed in."""
        return self._present.get(user)

    def __len__(self) -> int:
        return len(self._present)
