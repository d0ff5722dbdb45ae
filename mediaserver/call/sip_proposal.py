"""A description of ours towards a phone that is not in force yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaserver.call.sip_lines import Line
from mediaserver.sdp.description import Crypto, SessionDescription
from mediaserver.sdp.offer_answer import NegotiatedMedia


@dataclass(slots=True)
class Proposal:
    """Until it is in force, everything stays as it was (RFC 6141 §3)."""

    lines: dict[int, Line]
    """By their place in the description."""
    keys: dict[int, tuple[Crypto, ...]] = field(default_factory=dict)
    opened: list[Line] = field(default_factory=list)
    local: SessionDescription | None = None
    agreed: tuple[NegotiatedMedia, ...] | None = None
    """None for an offer: its answer brings it."""
    remote: SessionDescription | None = None
