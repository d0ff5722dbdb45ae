"""What a section of a SIP description says about DTLS-SRTP (RFC 5763, RFC 8842): who begins, which certificates, which

association. Browsers, with ICE and one transport for everything, are read in `mediaserver.webrtc`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.errors import NegotiationError
from mediaserver.sdp.description import Attribute, Fingerprint, MediaDescription

Role = Literal["server", "client"]
"""Ours in the handshake."""

PROFILES: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
"""Of RFC 5764 §8."""

_HASHES: Final = ("sha-256", "sha-384", "sha-512")
_WARN_ATTRIBUTE: Final = 306
_TLS_ID: Final = "tls-id"


@dataclass(frozen=True, slots=True)
class LocalDtls:
    """What we put into a section."""

    fingerprint: Fingerprint
    tls_id: str
    """Names the association on our side (RFC 8842 §4), 20 to 255 characters of a token."""
    role: Role | None = None
    """In the association that goes on; None where a new one begins."""


@dataclass(frozen=True, slots=True)
class NegotiatedDtls:
    """What an offer and its answer agreed on."""

    role: Role
    fingerprints: tuple[Fingerprint, ...]
    """Of which the peer's certificate must have one."""
    local_id: str
    remote_id: str | None
    """None from a peer that knows no `a=tls-id`."""

    def goes_on_as(self, now: NegotiatedDtls) -> bool:
        """Whether the association of before is still meant (RFC 8842 §3.1); addresses are not looked at."""
        return (
            self.role == now.role
            and set(self.fingerprints) == set(now.fingerprints)
            and self.remote_id == now.remote_id
            and (now.remote_id is None or self.local_id == now.local_id)
        )

    def is_offered_again(self, offered: MediaDescription) -> bool:
        """Whether an offer is about this association."""
        known = set(self.fingerprints)
        return offered.attribute(_TLS_ID) == self.remote_id and set(_usable(offered)) == known


def wants_dtls(section: MediaDescription) -> bool:
    """Whether the keys of an offered section come by DTLS.

    Some peers of old write the profile of SDES, and no key.
    """
    by_habit = "SAVP" in section.protocol and not section.cryptos and bool(section.fingerprints)
    return section.protocol in PROFILES or by_habit


def offered(section: MediaDescription, local: LocalDtls) -> MediaDescription:
    """Our offer of `section`; either side may begin (RFC 5763 §5)."""
    return replace(
        section,
        protocol=PROFILES[0],
        fingerprints=(local.fingerprint,),
        setup="actpass",
        attributes=(*section.attributes, Attribute(_TLS_ID, local.tls_id)),
    )


def answered(section: MediaDescription, offer: MediaDescription, local: LocalDtls) -> MediaDescription:
    """`section`, our answer to `offer`, with our part. Raises NegotiationError."""
    if not _usable(offer):
        raise NegotiationError(
            f"The {offer.kind} is offered over DTLS without a fingerprint that is known here.",
            warning_code=_WARN_ATTRIBUTE,
        )
    known = offer.attribute(_TLS_ID) is not None
    return replace(
        section,
        fingerprints=(local.fingerprint,),
        setup="passive" if _answering_role(offer, local) == "server" else "active",
        # RFC 8842 §5.3: only where the offer has one.
        attributes=(*section.attributes, Attribute(_TLS_ID, local.tls_id)) if known else section.attributes,
    )


def negotiated(ours: MediaDescription, theirs: MediaDescription, *, we_offered: bool) -> NegotiatedDtls | None:
    """What two sections agree on; None where we have put no certificate into ours. Raises NegotiationError."""
    if not ours.fingerprints:
        return None
    fingerprints = _usable(theirs)
    if not fingerprints:
        raise NegotiationError(
            f"The {ours.kind} was answered over DTLS without a fingerprint that is known here.",
            warning_code=_WARN_ATTRIBUTE,
        )
    role: Role = ("server" if ours.setup == "passive" else "client") if not we_offered else _offering_role(theirs)
    return NegotiatedDtls(role, fingerprints, ours.attribute(_TLS_ID) or "", theirs.attribute(_TLS_ID))


def _answering_role(offer: MediaDescription, local: LocalDtls) -> Role:
    """Server wherever the peer lets us, never changed under an association.

    RFC 5763 §5 recommends that the answerer begins, because that is sooner; but a phone behind NAT can only be reached
    when it has.
    """
    match offer.setup:
        case "passive":
            return "client"
        case "actpass":
            return local.role or "server"
        case "active" | None:  # RFC 4145 §4.1
            return "server"
        case setup:
            raise NegotiationError(f"The {offer.kind} is offered with setup:{setup}.", warning_code=_WARN_ATTRIBUTE)


def _offering_role(answer: MediaDescription) -> Role:
    match answer.setup:
        case "active" | None:
            return "server"
        case "passive":
            return "client"
        case setup:
            raise NegotiationError(f"An answer must not say setup:{setup}.", warning_code=_WARN_ATTRIBUTE)


def _usable(section: MediaDescription) -> tuple[Fingerprint, ...]:
    return tuple(entry for entry in section.fingerprints if entry.algorithm in _HASHES)
