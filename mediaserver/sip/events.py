"""What an INVITE session tells its owner: one frozen value per thing that happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mediaserver.sip.headers import NameAddr
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.uri import SipUri

EndedBy = Literal["local", "remote", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A provisional response above 100. `branch` is the remote tag: forked calls have several (RFC 3261 §13.2.2.4)."""

    code: int
    reason: str
    body: bytes | None
    reliable: bool = False
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """Our INVITE got a 2xx. `body` is the answer; or the offer, where we sent none: then call `acknowledge(answer)`.

    Without either the answer stood in a `Progress` of the same `branch`.
    """

    body: bytes | None
    branch: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The ACK to our 2xx arrived. `body` is the answer where our 2xx carried the offer (RFC 3261 §13.2.1)."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class EarlyAnswered:
    """The PRACK to our offer in a provisional response brought its answer (RFC 3262 §5): no other follows."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """Our INVITE got a final response of 300 or more, or none (408), or could not be sent (503). It is over."""

    code: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    warning: str | None = None
    """Value of the Warning header, if any."""


@dataclass(frozen=True, slots=True)
class Reoffered:
    """The peer sent a re-INVITE, or an UPDATE with an offer: call `answer_reoffer` or `reject_reoffer`.

    None: it wants an offer from us. Before the call stands it comes in an UPDATE or PRACK, of this `branch` of our call.
    """

    body: bytes | None
    branch: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """Our re-INVITE got a 2xx. Where we sent no body, `body` is the peer's offer: call `acknowledge(answer)`."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class ReofferRejected:
    """Our re-INVITE failed with `code`; the session goes on as before (RFC 3261 §14.1). 491 is retried inside first."""

    code: int


@dataclass(frozen=True, slots=True)
class ReofferNotSent:
    """Our re-INVITE found no way to the peer, whose connection has ended; `Returned` follows if its device comes back."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The peer's device, whose connection had ended, is reached by another one from now on."""


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """Half of the session timer's interval is over and the peer knows no UPDATE: send a re-INVITE that changes nothing."""


@dataclass(frozen=True, slots=True)
class Referred:
    """The peer asks to be replaced (REFER): call `accept_referral` or `reject_referral`."""

    target: SipUri
    """Whom to call, without header fields."""
    replaces: Replaces | None
    """The dialog of the peer's other call, where it is an attended transfer."""
    referred_by: NameAddr | None
    removes: bool = False
    """The target is to be let go from the conference that the peer is in (RFC 4579 §5.11)."""


@dataclass(frozen=True, slots=True)
class PartyTold:
    """The peer says, as it answers or later, who is at its end (RFC 3325); whether it is believed, the owner decides."""

    headers: tuple[tuple[str, str], ...]
    """The fields of `identity.IDENTITY_FIELDS` as they came."""


@dataclass(frozen=True, slots=True)
class Info:
    """An INFO in the dialog, already answered 200 (RFC 6086 legacy use: picture_fast_update, dtmf-relay)."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A MESSAGE in the dialog (RFC 3428), already answered 200."""

    text: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller took its INVITE back before we answered; 487 has been sent. The session is over."""

    cause: str | None = None
    """Value of the Reason header, if any (RFC 3326)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over after it was answered. `cause` is the Reason header's value, if any (RFC 3326)."""

    by: EndedBy
    code: int | None = None
    reason: str = ""
    cause: str | None = None


SessionEvent = (
    Progress
    | Answered
    | Confirmed
    | EarlyAnswered
    | Rejected
    | Reoffered
    | ReofferAnswered
    | ReofferRejected
    | ReofferNotSent
    | Returned
    | RefreshDue
    | Referred
    | PartyTold
    | Info
    | TextReceived
    | Cancelled
    | Ended
)

FINAL_EVENTS = (Rejected, Cancelled, Ended)
"""After one of these, `events()` ends."""
