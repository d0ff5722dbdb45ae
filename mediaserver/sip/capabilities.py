"""What this server understands: methods, extensions and content, and what it says of them when it is asked for others."""

from __future__ import annotations

from typing import Final

from mediaserver.sip.message import Request
from mediaserver.sip.notifier import ALLOW_EVENTS
from mediaserver.sip.session_base import Extra
from mediaserver.sip.text_message import TEXT

METHODS: Final = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "INFO",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "REFER",
    "MESSAGE",
    "SUBSCRIBE",
)
ALLOW: Final = ", ".join(METHODS)
SUPPORTED: Final = frozenset(("100rel", "from-change", "join", "norefersub", "replaces", "timer"))
"""Extensions that a peer may require."""
SUPPORTED_LINE: Final = ", ".join(sorted(SUPPORTED))
_REGISTERING: Final = frozenset({"path", "outbound"})
"""What a REGISTER may require besides (RFC 3327, RFC 5626)."""
ACCEPT: Final = (("Accept", "application/sdp"),)


def refusal_of(request: Request) -> tuple[int, Extra] | None:
    """Status and header fields for a request that asks for what is not known; None for any other."""
    if request.method not in METHODS:
        return 405, (("Allow", ALLOW),)
    known = SUPPORTED | _REGISTERING if request.method == "REGISTER" else SUPPORTED
    unsupported = [name for name in request.tokens("Require") if name.lower() not in known]
    if unsupported and request.method != "CANCEL":
        return 420, (("Unsupported", ", ".join(unsupported)),)  # §8.2.2.3
    if request.method != "INVITE" and ("Join" in request.headers or "Replaces" in request.headers):
        return 400, ()  # RFC 3911 §4, RFC 3891 §3
    return None


def capabilities() -> Extra:
    """What an OPTIONS is told (RFC 3261 §11.2)."""
    return (("Allow", ALLOW), ("Supported", SUPPORTED_LINE), ("Allow-Events", ALLOW_EVENTS), *ACCEPT)


def accepted(method: str) -> Extra:
    """What a 415 says that would do (RFC 3261 §21.4.13)."""
    return (("Accept", TEXT),) if method == "MESSAGE" else ACCEPT


def label_of(method: str) -> str:
    """A method as a metric label: what strangers invent is one label."""
    return method if method in METHODS else "other"
