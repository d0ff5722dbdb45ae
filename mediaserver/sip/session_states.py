"""The two state machines of an INVITE session as tables: the call itself, and the offer that re-INVITEs carry."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class SessionState(Enum):
    """Where a call stands."""

    CALLING = auto()
    """Our INVITE is out, nothing but 100 came back."""
    EARLY = auto()
    """Our INVITE got a provisional response."""
    CANCELLING = auto()
    """We gave our INVITE up and wait for its final response."""
    INCOMING = auto()
    """Their INVITE waits for a decision."""
    RINGING = auto()
    """Their INVITE got a provisional response of ours."""
    ANSWERED = auto()
    """A 2xx was sent or received, its ACK has not come or gone yet."""
    ENDING = auto()
    """We hung up before the ACK to our 2xx came: the BYE waits for it (RFC 3261 §15)."""
    CONFIRMED = auto()
    """Established."""
    ENDED = auto()
    """Over."""


class SessionInput(Enum):
    """What can happen to a call."""

    RECEIVE_PROVISIONAL = auto()
    RECEIVE_SUCCESS = auto()
    RECEIVE_FAILURE = auto()
    SEND_ACK = auto()
    SEND_PROVISIONAL = auto()
    SEND_SUCCESS = auto()
    SEND_FAILURE = auto()
    RECEIVE_ACK = auto()
    NO_ACK = auto()
    RECEIVE_CANCEL = auto()
    RECEIVE_BYE = auto()
    HANG_UP = auto()
    LOST = auto()
    """The dialog is gone: 481, 408 or a dead transport (§12.2.1.2)."""


_S, _I = SessionState, SessionInput

SESSION_TRANSITIONS: Final[dict[tuple[SessionState, SessionInput], SessionState]] = {
    # outgoing
    (_S.CALLING, _I.RECEIVE_PROVISIONAL): _S.EARLY,
    (_S.CALLING, _I.RECEIVE_SUCCESS): _S.ANSWERED,
    (_S.CALLING, _I.RECEIVE_FAILURE): _S.ENDED,
    (_S.CALLING, _I.HANG_UP): _S.CANCELLING,
    (_S.EARLY, _I.RECEIVE_PROVISIONAL): _S.EARLY,
    (_S.EARLY, _I.RECEIVE_SUCCESS): _S.ANSWERED,
    (_S.EARLY, _I.RECEIVE_FAILURE): _S.ENDED,
    (_S.EARLY, _I.HANG_UP): _S.CANCELLING,
    (_S.CANCELLING, _I.RECEIVE_PROVISIONAL): _S.CANCELLING,
    (_S.CANCELLING, _I.RECEIVE_SUCCESS): _S.ENDED,
    (_S.CANCELLING, _I.RECEIVE_FAILURE): _S.ENDED,
    (_S.CANCELLING, _I.HANG_UP): _S.CANCELLING,
    (_S.ANSWERED, _I.SEND_ACK): _S.CONFIRMED,
    # incoming
    (_S.INCOMING, _I.SEND_PROVISIONAL): _S.RINGING,
    (_S.INCOMING, _I.SEND_SUCCESS): _S.ANSWERED,
    (_S.INCOMING, _I.SEND_FAILURE): _S.ENDED,
    (_S.INCOMING, _I.RECEIVE_CANCEL): _S.ENDED,
    (_S.INCOMING, _I.RECEIVE_BYE): _S.ENDED,
    (_S.RINGING, _I.SEND_PROVISIONAL): _S.RINGING,
    (_S.RINGING, _I.SEND_SUCCESS): _S.ANSWERED,
    (_S.RINGING, _I.SEND_FAILURE): _S.ENDED,
    (_S.RINGING, _I.RECEIVE_CANCEL): _S.ENDED,
    (_S.RINGING, _I.RECEIVE_BYE): _S.ENDED,
    (_S.ANSWERED, _I.RECEIVE_ACK): _S.CONFIRMED,
    (_S.ANSWERED, _I.NO_ACK): _S.ENDED,
    (_S.ENDING, _I.RECEIVE_ACK): _S.ENDED,
    (_S.ENDING, _I.NO_ACK): _S.ENDED,
    (_S.ENDING, _I.RECEIVE_BYE): _S.ENDED,
    # both
    (_S.ANSWERED, _I.RECEIVE_BYE): _S.ENDED,
    (_S.ANSWERED, _I.HANG_UP): _S.ENDING,
    (_S.ANSWERED, _I.LOST): _S.ENDED,
    (_S.CONFIRMED, _I.NO_ACK): _S.ENDED,  # of a re-INVITE's 2xx (§14.2)
    (_S.CONFIRMED, _I.RECEIVE_BYE): _S.ENDED,
    (_S.CONFIRMED, _I.HANG_UP): _S.ENDED,
    (_S.CONFIRMED, _I.LOST): _S.ENDED,
}


class OfferState(Enum):
    """Who is in the middle of a re-INVITE."""

    IDLE = auto()
    SENT = auto()
    """Ours is out."""
    UNACKNOWLEDGED = auto()
    """Ours, sent without a body, was answered with an offer: the answer goes into the ACK."""
    GLARE = auto()
    """Ours met theirs (491) and waits to be sent again (§14.1)."""
    ASKED = auto()
    """Theirs waits for our answer."""
    REPLIED = auto()
    """Theirs was answered with 2xx, its ACK has not come."""


class OfferInput(Enum):
    """What can happen to re-INVITEs."""

    SEND = auto()
    RECEIVE_SUCCESS = auto()
    RECEIVE_LATE_OFFER = auto()
    RECEIVE_FAILURE = auto()
    RECEIVE_GLARE = auto()
    SEND_ACK = auto()
    RETRY = auto()
    RECEIVE = auto()
    ACCEPT = auto()
    REFUSE = auto()
    RECEIVE_ACK = auto()
    ACCEPT_UPDATE = auto()
    """The answer is in the 200 to an UPDATE, which no ACK follows."""


_O, _J = OfferState, OfferInput

OFFER_TRANSITIONS: Final[dict[tuple[OfferState, OfferInput], OfferState]] = {
    (_O.IDLE, _J.SEND): _O.SENT,
    (_O.SENT, _J.RECEIVE_SUCCESS): _O.IDLE,
    (_O.SENT, _J.RECEIVE_LATE_OFFER): _O.UNACKNOWLEDGED,
    (_O.UNACKNOWLEDGED, _J.SEND_ACK): _O.IDLE,
    (_O.SENT, _J.RECEIVE_FAILURE): _O.IDLE,
    (_O.SENT, _J.RECEIVE_GLARE): _O.GLARE,
    (_O.GLARE, _J.RETRY): _O.SENT,
    (_O.GLARE, _J.RECEIVE): _O.ASKED,
    (_O.IDLE, _J.RECEIVE): _O.ASKED,
    (_O.ASKED, _J.ACCEPT): _O.REPLIED,
    (_O.ASKED, _J.ACCEPT_UPDATE): _O.IDLE,
    (_O.ASKED, _J.REFUSE): _O.IDLE,
    (_O.REPLIED, _J.RECEIVE_ACK): _O.IDLE,
}
