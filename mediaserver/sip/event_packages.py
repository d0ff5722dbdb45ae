"""What subscribers are told of a user: presence as PIDF (RFC 3856, RFC 3863), dialogs as dialog-info (RFC 4235)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

Package = Literal["presence", "dialog"]

CONTENT_TYPES: Final[dict[Package, str]] = {
    "presence": "application/pidf+xml",
    "dialog": "application/dialog-info+xml",
}
LEAST_GAP_S: Final[dict[Package, float]] = {"presence": 5.0, "dialog": 1.0}
"""How often a subscriber is told at most (RFC 3856 §6.10, RFC 4235 §3.10)."""

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

DialogState = Literal["trying", "early", "confirmed", "terminated"]


@dataclass(frozen=True, slots=True)
class UserDialog:
    """One call of a user's phone as others may see it: nothing by which it could be taken over."""

    id: str
    direction: Literal["initiator", "recipient"]
    """Whether the user called or was called."""
    state: DialogState
    remote: str
    """URI of the other party."""


@dataclass(frozen=True, slots=True)
class UserState:
    """What there is to tell of a user."""

    registered: bool
    dialogs: tuple[UserDialog, ...] = ()


def document(package: Package, entity: str, state: UserState, *, version: int, gone: tuple[UserDialog, ...]) -> bytes:
    """The body of a NOTIFY about `entity`, a SIP URI, always the full state.

    `version` counts the documents of one subscription from 0; `gone` are dialogs that the subscriber was told of and
    that are over.
    """
    if package == "presence":
        return _pidf(entity, state)
    return _dialog_info(entity, state, version, gone)


def _pidf(entity: str, state: UserState) -> bytes:
    busy = any(dialog.state == "confirmed" for dialog in state.dialogs)
    note = "<note>On the phone</note>" if busy else ""
    basic = "open" if state.registered else "closed"
    return (
        f'{_HEAD}<presence xmlns="urn:ietf:params:xml:ns:pidf" entity={quoteattr(entity)}>'
        f'<tuple id="phone"><status><basic>{basic}</basic></status>{note}</tuple></presence>\n'
    ).encode()


def _dialog_info(entity: str, state: UserState, version: int, gone: tuple[UserDialog, ...]) -> bytes:
    dialogs = "".join(_dialog(dialog) for dialog in (*state.dialogs, *gone))
    return (
        f'{_HEAD}<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}" state="full" '
        f"entity={quoteattr(entity)}>{dialogs}</dialog-info>\n"
    ).encode()


def _dialog(dialog: UserDialog) -> str:
    return (
        f'<dialog id={quoteattr(dialog.id)} direction="{dialog.direction}"><state>{dialog.state}</state>'
        f"<remote><identity>{escape(dialog.remote)}</identity></remote></dialog>"
    )
