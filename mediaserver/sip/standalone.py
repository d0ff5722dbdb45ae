"""A request of ours outside every dialog (OPTIONS, REGISTER) from its first next hop to its one outcome; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.sip.attempt import Attempt
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.message import Request, Response, new_call_id, new_tag
from mediaserver.sip.timers import TimerEntry
from mediaserver.sip.uri import SipUri

FAILED_CODES: Final = {"timeout": 408, "transport": 503}
"""What a request without an answer counts as (RFC 3261 §8.1.3.1)."""


@dataclass(frozen=True, slots=True)
class OutsideRequest:
    """What to send outside every dialog. A challenge takes one more CSeq number: leave room for it in one Call-ID."""

    method: str
    uri: SipUri
    from_: NameAddr
    """Without a tag: one is made."""
    to: NameAddr | None = None
    """The URI where it is None."""
    headers: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None
    """Answer a 401 or 407."""
    call_id: str | None = None
    cseq: int = 1
    patience_s: float | None = None
    """How long the last next hop may be silent, where that is less than timer F."""
    body: bytes = b""
    """Its Content-Type is one of `headers`."""
    contact_params: str = ""
    """What follows our Contact in a REGISTER, like `;reg-id=1`."""

    def message(self) -> Request:
        """The request without Via and Contact, which depend on the way it takes."""
        table = Headers()
        table.add("Max-Forwards", "70")
        table.add("From", str(self.from_.with_tag(new_tag())))
        table.add("To", str(self.to or NameAddr(self.uri)))
        table.add("Call-ID", self.call_id or new_call_id())
        table.add("CSeq", f"{self.cseq} {self.method}")
        for name, value in self.headers:
            table.add(name, value)
        return Request(self.method, self.uri.without_headers(), table, self.body)


class Standalone:
    """Takes the place of a session for the sender. The outcome is a final response, or why there was none."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.timer: TimerEntry | None = None
        self.response: Response | None = None
        self.failure: str | None = None
        """`timeout` or `transport`, where no final response came."""
        self.destination: Destination | None = None
        """The next hop that gave the final response."""
        self.flow: Flow | None = None
        """The way that it came by."""
        self._told = False

    @property
    def over(self) -> bool:
        """True once there is an outcome."""
        return self.response is not None or self.failure is not None

    @property
    def code(self) -> int:
        """Status of the outcome; 408 or 503 where nothing came, 0 before there is one."""
        if self.response is not None:
            return self.response.code
        return FAILED_CODES.get(self.failure, 503) if self.failure is not None else 0

    def handle_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        """A response; provisional ones say nothing here."""
        if response.code >= 200 and not self.over:
            self.response, self.destination, self.flow = response, attempt.destination, flow

    def handle_failure(self, attempt: Attempt, reason: str, now: float) -> None:
        """No next hop answered."""
        if not self.over:
            self.failure = reason

    def gave_up(self, attempt: Attempt) -> bool:
        """False: every next hop is tried."""
        return False

    def take_outcome(self) -> bool:
        """True once, when it is over."""
        if not self.over or self._told:
            return False
        self._told = True
        return True

    def poll_timeout(self) -> float | None:
        """None: the transaction keeps the time."""
        return None
