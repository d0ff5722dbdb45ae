"""What there is to tell of users and conferences, for those who have subscribed to it; the notifier tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mediaserver.sip.conference_info import ConferenceState
from mediaserver.sip.event_packages import Package, UserState
from mediaserver.sip.user_dialogs import UserDialogs

if TYPE_CHECKING:
    from mediaserver.sip.core import Core

_NOTHING: Final = UserState(registered=False)


class Watched:
    """Users by their registrations, calls and pages; conferences as their focus shows them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.dialogs = UserDialogs(core.notifier.changed)
        self.may_name: Callable[[str, str], bool] = lambda user, owner: False
        """Whether a user may name the calls of another one, to take them over or to come into them."""
        self.conferences: dict[str, ConferenceState] = {}
        """Those that are up, by the address of record of their URI."""
        self._beside: dict[str, UserState] = {}
        """Users who are reached otherwise than by phone; as many as there are pages."""

    def user_state(self, aor: str, now: float) -> UserState:
        """What there is to tell of a user."""
        beside = self._beside.get(aor, _NOTHING)
        return UserState(
            beside.registered or bool(self._core.location.lookup(aor, now)), (*self.dialogs.of(aor), *beside.dialogs)
        )

    def told(self, package: Package, aor: str, now: float) -> UserState | ConferenceState:
        """What subscribers of a package are told of a user, or of a conference."""
        if package == "conference":
            return self.conferences.get(aor, ConferenceState())
        return self.user_state(aor, now)

    def show_conference(self, address: str, state: ConferenceState | None, now: float) -> None:
        """Who is in a conference, by the user part of its URI; None where it is over. Whoever watches it is told."""
        aor = f"{address}@{self._core.config.realm}"
        if state is None:
            self.conferences.pop(aor, None)
            self._core.notifier.keep_watchers(aor, (), "noresource", now)
            return
        self.conferences[aor] = state
        self._core.notifier.keep_watchers(aor, state.watchers, "rejected", now)
        self._core.notifier.changed(aor)

    def show_user(self, aor: str, state: UserState) -> None:
        """What there is to tell of a user beside phones and their calls; whoever watches the user is told."""
        key = self._core.aor(aor)
        if state == _NOTHING:
            self._beside.pop(key, None)
        else:
            self._beside[key] = state
        self._core.notifier.changed(key)
