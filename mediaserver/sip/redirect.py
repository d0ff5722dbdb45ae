"""Whom a 3xx names in place of the one who was called (RFC 3261 §8.1.3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import NameAddr, parse_name_addrs
from mediaserver.sip.uri import SipUri

MOST_TARGETS: Final = 10


def redirect_targets(headers: Sequence[tuple[str, str]]) -> tuple[SipUri, ...]:
    """The SIP URIs of the Contact fields, highest q first, at most ten; none where a field is broken."""
    try:
        contacts = parse_name_addrs([value for name, value in headers if name == "Contact"])
    except SipParseError:
        return ()
    ordered = sorted(contacts, key=_preference, reverse=True)
    uris = [contact.uri.without_headers() for contact in ordered if isinstance(contact.uri, SipUri)]
    return tuple(uris[:MOST_TARGETS])


def _preference(contact: NameAddr) -> float:
    try:
        return min(1.0, max(0.0, float(contact.param("q") or "1")))
    except ValueError:
        return 0.0
