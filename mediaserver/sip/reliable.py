"""Provisional responses that are acknowledged (RFC 3262): ours are repeated until PRACK, theirs are put in order."""

from __future__ import annotations

from collections import deque
from typing import Final

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.message import Request, Response

_MOST_WAITING: Final = 8
_MOST: Final = 0xFFFFFFFF

Waiting = tuple[int, bytes | None, tuple[tuple[str, str], ...]]
"""Code, body and further fields of a response that waits for the PRACK of the one before."""


def wants_reliable(request: Request, *, body: bool) -> bool:
    """Whether a provisional response to this INVITE is to be acknowledged: where asked for, or where it has a body."""
    required = "100rel" in {token.lower() for token in request.tokens("Require")}
    return required or (body and "100rel" in {token.lower() for token in request.tokens("Supported")})


def sequence_of(response: Response) -> int | None:
    """RSeq of a response that wants a PRACK; None where it does not. Raises SipParseError for one without a number."""
    if "100rel" not in {token.lower() for token in response.tokens("Require")}:
        return None
    text = (response.headers.get("RSeq") or "").strip()
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:11]) <= _MOST:
        raise SipParseError("RSeq is not a number")
    return int(text)


def acknowledges(request: Request) -> tuple[int, int, str]:
    """RAck of a PRACK: RSeq, and number and method of the CSeq. Raises SipParseError."""
    parts = (request.headers.get("RAck") or "").split()
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts[:2]):
        raise SipParseError("RAck is <RSeq> <CSeq> <method>")
    return int(parts[0]), int(parts[1]), parts[2]


class ReliableSent:
    """Ours, one after the other (§3): the next goes out when the one before was acknowledged."""

    __slots__ = ("give_up_at", "interval", "next_at", "response", "rseq", "waiting")

    def __init__(self, first: int) -> None:
        self.rseq = first
        """Number of the last that went out."""
        self.response: Response | None = None
        """What is not acknowledged yet."""
        self.interval = 0.0
        self.next_at = 0.0
        self.give_up_at = 0.0
        self.waiting: deque[Waiting] = deque(maxlen=_MOST_WAITING)

    def sent(self, response: Response, *, t1: float, t64: float, now: float) -> None:
        """One went out for the first time."""
        self.response = response
        self.interval = t1
        self.next_at = now + t1
        self.give_up_at = now + t64

    def repeated(self, now: float) -> None:
        """It went out again; the wait doubles without limit (§3)."""
        self.interval *= 2
        self.next_at = now + self.interval

    def acknowledged(self, rack: tuple[int, int, str], cseq: int) -> bool:
        """Whether a RAck names what is outstanding; it is not any more then."""
        if self.response is None or rack != (self.rseq, cseq, "INVITE"):
            return False
        self.response = None
        return True

    def poll_timeout(self) -> float | None:
        """When there is something to do."""
        return None if self.response is None else min(self.next_at, self.give_up_at)


class ReliableReceived:
    """Theirs, in each early dialog by itself (§4): repeated ones and those ahead of their turn are dropped."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def take(self, tag: str, rseq: int) -> bool:
        """Whether this is the next one of the early dialog with this tag."""
        last = self._last.get(tag)
        if last is not None and rseq != last + 1:
            return False
        self._last[tag] = rseq
        return True
