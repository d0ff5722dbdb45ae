"""What a leg tells the call that it sits in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mediaserver.call.quality import LegQuality
from mediaserver.config.bandwidth import MediaKind
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.uri import SipUri

Party = Literal["caller", "agent", "system"]
"""Who did something; `system` is the daemon itself (timeouts, limits, shutdown)."""


@dataclass(frozen=True, slots=True)
class EndCause:
    """Why a leg or a contact ended. `reason` is one stable word, `code` a SIP status where there was one."""

    by: Party
    reason: str
    code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ringing:
    """The peer is being alerted (SIP 180 or 183, or an agent's page shows the call)."""

    code: int = 180
    early: bool = False
    """It sends already (early media)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer took the call; its media are negotiated."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Media can flow: the transport is up."""


@dataclass(frozen=True, slots=True)
class MediaChanged:
    """Tracks were added, changed direction or changed codecs."""


@dataclass(frozen=True, slots=True)
class RateChanged:
    """A line on the way of the media has more or less room for the leg than before; `bps` counts headers."""

    kind: MediaKind
    bps: int | None


@dataclass(frozen=True, slots=True)
class PictureWithheld:
    """The peer gets no picture, because none that is there fits its decoder; an empty reason: it gets one again."""

    reason: str


@dataclass(frozen=True, slots=True)
class QualityChanged:
    """The leg is doing better or worse than before."""

    quality: LegQuality


@dataclass(frozen=True, slots=True)
class PartyChanged:
    """Somebody else is at the end of the leg, by the word of a peer that is believed; see `Leg.identity`."""


@dataclass(frozen=True, slots=True)
class Dtmf:
    """One key was pressed. `as_message`: it came beside the media, so nothing of it is forwarded as packets."""

    digit: str
    duration_ms: int
    as_message: bool = False


@dataclass(frozen=True, slots=True)
class TextReceived:
    """The peer wrote something."""

    text: str


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """The peer asks that somebody else takes its place (REFER): `target`, or whom its other call is with."""

    target: SipUri
    replaces: Replaces | None = None
    referred_by: NameAddr | None = None
    """Who asks, by its own word (RFC 3892)."""
    removes: bool = False
    """The target is to be let go from the conference that the peer is in."""


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The leg is over and its transports are closing."""

    cause: EndCause


LegEvent = (
    Ringing
    | Answered
    | Connected
    | MediaChanged
    | RateChanged
    | PictureWithheld
    | QualityChanged
    | PartyChanged
    | Dtmf
    | TextReceived
    | TransferAsked
    | LegEnded
)
