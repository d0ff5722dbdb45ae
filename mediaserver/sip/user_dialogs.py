"""Which calls the phones of registered users are in, as others may see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from mediaserver.sip.event_packages import DialogState, UserDialog
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.session_states import SessionState

_STATES: Final[dict[SessionState, DialogState]] = {
    SessionState.CALLING: "trying",
    SessionState.EARLY: "early",
    SessionState.INCOMING: "trying",
    SessionState.RINGING: "early",
    SessionState.ANSWERED: "confirmed",
    SessionState.CONFIRMED: "confirmed",
}
"""What is not here is over."""


class UserDialogs:
    """Kept by looking at every session after it changed; `changed(aor)` is called when others would see a difference."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._by_aor: dict[str, dict[str, UserDialog]] = {}

    def look(self, machine: InviteMachine) -> None:
        """Something happened in a session."""
        aor = machine.aor
        if aor is None:
            return
        state = _STATES.get(machine.state)
        dialogs = self._by_aor.setdefault(aor, {}) if state is not None else self._by_aor.get(aor, {})
        known = dialogs.get(machine.id)
        if state is None:
            if dialogs.pop(machine.id, None) is None:
                return
            if not dialogs:
                del self._by_aor[aor]
        elif known is not None and known.state == state:
            return
        else:
            # Seen from the user: who calls us is the initiator.
            direction: Literal["initiator", "recipient"] = (
                "initiator" if machine.direction == "incoming" else "recipient"
            )
            remote, tags = str(machine.local_party.uri), (machine.peer_tag, machine.local_tag)
            dialogs[machine.id] = UserDialog(machine.id, direction, state, remote, machine.call_id, *tags)
        self._changed(aor)

    def of(self, aor: str) -> tuple[UserDialog, ...]:
        """The calls of a user, the oldest first."""
        return tuple(self._by_aor.get(aor, {}).values())
