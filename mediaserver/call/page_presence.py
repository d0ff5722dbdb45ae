"""Agents on pages as the phones of colleagues see them: there or not, and in which call (RFC 3856, RFC 4235)."""

from __future__ import annotations

from typing import Protocol

from mediaserver.call.agents import PageCall
from mediaserver.call.caller_identity import NAMELESS
from mediaserver.sip.event_packages import UserDialog, UserState
from mediaserver.sip.uri import SipUri, escape_user


class Watched(Protocol):
    """What this needs of the user agent."""

    def show_user(self, aor: str, state: UserState) -> None:
        """What there is to tell of a user beside the phones."""


class PagePresence:
    """Implements `agents.AgentWatcher`. All users are known by `realm`, whatever their domains."""

    def __init__(self, agent: Watched, *, realm: str) -> None:
        self._agent = agent
        self._realm = realm
        self._here: dict[str, PageCall | None] = {}

    def signed_in(self, user: str, *, here: bool) -> None:
        """See `AgentWatcher`."""
        if here:
            self._here.setdefault(user, None)
        else:
            self._here.pop(user, None)
        self._show(user)

    def talks(self, user: str, call: PageCall | None) -> None:
        """See `AgentWatcher`; a page that is not there has no call."""
        if user in self._here and self._here[user] != call:
            self._here[user] = call
            self._show(user)

    def _show(self, user: str) -> None:
        call = self._here.get(user)
        dialogs: tuple[UserDialog, ...] = ()
        if call is not None:
            remote = SipUri(self._realm, escape_user(call.remote or NAMELESS))
            dialogs = (UserDialog(call.id, "initiator" if call.calling else "recipient", call.state, str(remote)),)
        self._agent.show_user(f"{user}@{self._realm}", UserState(user in self._here, dialogs))
