"""What subscribers are told of a user: presence as PIDF (RFC 3856, RFC 3863), dialogs as dialog-info (RFC 4235);

and of a conference (RFC 4575).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

from mediaserver.sip.conference_info import ConferenceState, conference_info

Package = Literal["presence", "dialog", "conference"]

CONTENT_TYPES: Final[dict[Package, str]] = {
    "presence": "application/pidf+xml",
    "dialog": "application/dialog-info+xml",
    "conference": "application/conference-info+xml",
}
LEAST_GAP_S: Final[dict[Package, float]] = {"presence": 5.0, "dialog": 1.0, "conference": 5.0}
"""How often a subscriber is told at most (RFC 3856 §6.10, RFC 4235 §3.10, RFC 4575 §3.10)."""

_MOST_GONE: Final = 20
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

DialogState = Literal["trying", "early", "confirmed", "terminated"]


@dataclass(frozen=True, slots=True)
class UserDialog:
    """One call of a user's phone as others may see it; its names are for those who may take it over or join it."""

    id: str
    direction: Literal["initiator", "recipient"]
    """Whether the user called or was called."""
    state: DialogState
    remote: str
    """URI of the other party."""
    call_id: str = ""
    local_tag: str = ""
    """The user's."""
    remote_tag: str = ""


@dataclass(frozen=True, slots=True)
class UserState:
    """What there is to tell of a user."""

    registered: bool
    dialogs: tuple[UserDialog, ...] = ()


Told = UserState | ConferenceState


def document(
    package: Package, entity: str, state: Told, *, version: int, told: Told | None, full: bool, names: bool
) -> bytes:
    """The body of a NOTIFY about `entity`, a SIP URI: of users always the full state, of conferences that where it is

    asked for, else what has changed. `version` counts the documents of one subscription from 0; `told` is what the last
    one said. `names`: the subscriber may take the user's calls over (RFC 3891) or join them (RFC 3911), so it is told how
    they are named.
    """
    if isinstance(state, ConferenceState):
        before = told if isinstance(told, ConferenceState) and not full else None
        return conference_info(entity, state, before, version)
    if package == "presence":
        return _pidf(entity, state)
    return _dialog_info(entity, (*state.dialogs, *_gone(state, told)), version, names=names)


def _gone(state: UserState, told: Told | None) -> tuple[UserDialog, ...]:
    """Dialogs that the subscriber was told of and that are over."""
    known = {dialog.id for dialog in state.dialogs}
    before = told.dialogs if isinstance(told, UserState) else ()
    return tuple(replace(dialog, state="terminated") for dialog in before if dialog.id not in known)[:_MOST_GONE]


def _pidf(entity: str, state: UserState) -> bytes:
    busy = any(dialog.state == "confirmed" for dialog in state.dialogs)
    note = "<note>On the phone</note>" if busy else ""
    basic = "open" if state.registered else "closed"
    return (
        f'{_HEAD}<presence xmlns="urn:ietf:params:xml:ns:pidf" entity={quoteattr(entity)}>'
        f'<tuple id="phone"><status><basic>{basic}</basic></status>{note}</tuple></presence>\n'
    ).encode()


def _dialog_info(entity: str, told: tuple[UserDialog, ...], version: int, *, names: bool) -> bytes:
    dialogs = "".join(_dialog(dialog, names=names) for dialog in told)
    return (
        f'{_HEAD}<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}" state="full" '
        f"entity={quoteattr(entity)}>{dialogs}</dialog-info>\n"
    ).encode()


def _dialog(dialog: UserDialog, *, names: bool) -> str:
    tags = f" local-tag={quoteattr(dialog.local_tag)} remote-tag={quoteattr(dialog.remote_tag)}"
    named = f" call-id={quoteattr(dialog.call_id)}{tags}" if names and dialog.local_tag else ""
    return (
        f'<dialog id={quoteattr(dialog.id)}{named} direction="{dialog.direction}"><state>{dialog.state}</state>'
        f"<remote><identity>{escape(dialog.remote)}</identity></remote></dialog>"
    )
