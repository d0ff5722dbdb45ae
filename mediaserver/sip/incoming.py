"""What comes in outside of calls that stand, for whoever decides on it: it has passed every check of the stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.sip.flow import Flow, Source
from mediaserver.sip.message import Request
from mediaserver.sip.session import InviteSession
from mediaserver.sip.uri import SipUri


@dataclass(frozen=True, slots=True)
class IncomingInvite:
    """A new call from SIP, decided by `session.answer` or `reject`; `body` is the offer, None for a late one."""

    session: InviteSession
    request: Request
    source: Source
    flow: Flow
    authenticated_user: str | None
    """The user whose password was proven, or None."""
    trunk: str | None
    """Name of the trunk whose address the request came from, or None."""

    @property
    def body(self) -> bytes | None:
        """The SDP offer, or None."""
        return self.session.first_offer


@dataclass(frozen=True, slots=True)
class IncomingText:
    """A text (MESSAGE) outside of dialogs."""

    text: str
    authenticated_user: str | None
    """The user whose password was proven, or None."""
    trunk: str | None
    """Name of the trunk that it came by, or None."""


@dataclass(frozen=True, slots=True)
class IncomingRemoval:
    """A REFER to a conference, outside of its calls, that wants somebody out (RFC 4579 §5.11)."""

    conference: str
    """User part of the conference's URI."""
    target: SipUri
    authenticated_user: str
    """Who asks: a user of the house who is in it."""


@dataclass(frozen=True, slots=True)
class IncomingReferral:
    """A REFER outside of every call: a user wants to be called, and connected with somebody else."""

    called: str
    """A number or a user, as he would dial it."""
    authenticated_user: str
    tell: Callable[[int], None]
    """Takes the status of what was asked for: a failure refuses it, 100 takes it, more than that tells how it goes on;
    from 200 on it is over, and what follows is not told."""
