"""Client transactions of RFC 3261 §17.1 with RFC 6026, as two tables; sans-IO."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final

from mediaserver.sip.config import Timers
from mediaserver.sip.flow import Destination
from mediaserver.sip.headers import Headers
from mediaserver.sip.message import Request, Response
from mediaserver.sip.transaction import Transaction


class ClientState(Enum):
    """States of figures 5 and 6 of RFC 3261 and figure 5 of RFC 6026."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class ClientInput(Enum):
    """What can happen to a client transaction."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    RETRANSMIT = auto()
    """Timer A or E."""
    TIMEOUT = auto()
    """Timer B or F."""
    EXPIRE = auto()
    """Timer D, K or M."""
    TRANSPORT_ERROR = auto()


_S, _I = ClientState, ClientInput

INVITE_TRANSITIONS: Final[dict[tuple[ClientState, ClientInput], ClientState]] = {
    (_S.CALLING, _I.RETRANSMIT): _S.CALLING,
    (_S.CALLING, _I.TIMEOUT): _S.TERMINATED,
    (_S.CALLING, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.CALLING, _I.PROVISIONAL): _S.PROCEEDING,
    (_S.CALLING, _I.SUCCESS): _S.ACCEPTED,
    (_S.CALLING, _I.FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SUCCESS): _S.ACCEPTED,
    (_S.PROCEEDING, _I.FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.COMPLETED, _I.FAILURE): _S.COMPLETED,
    (_S.COMPLETED, _I.EXPIRE): _S.TERMINATED,
    (_S.COMPLETED, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.ACCEPTED, _I.SUCCESS): _S.ACCEPTED,
    (_S.ACCEPTED, _I.EXPIRE): _S.TERMINATED,
}

NON_INVITE_TRANSITIONS: Final[dict[tuple[ClientState, ClientInput], ClientState]] = {
    (_S.TRYING, _I.RETRANSMIT): _S.TRYING,
    (_S.TRYING, _I.TIMEOUT): _S.TERMINATED,
    (_S.TRYING, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.TRYING, _I.PROVISIONAL): _S.PROCEEDING,
    (_S.TRYING, _I.SUCCESS): _S.COMPLETED,
    (_S.TRYING, _I.FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.RETRANSMIT): _S.PROCEEDING,
    (_S.PROCEEDING, _I.TIMEOUT): _S.TERMINATED,
    (_S.PROCEEDING, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.PROCEEDING, _I.PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SUCCESS): _S.COMPLETED,
    (_S.PROCEEDING, _I.FAILURE): _S.COMPLETED,
    (_S.COMPLETED, _I.EXPIRE): _S.TERMINATED,
}

FailureReason = str
"""`timeout` or `transport`."""


class ClientTransaction(Transaction[ClientState, ClientInput]):
    """One request of ours and its responses. `owner` is the transaction user's own mark and never looked into."""

    __slots__ = ("_data", "_events", "ack", "branch", "destination", "owner")

    def __init__(
        self,
        request: Request,
        *,
        destination: Destination,
        timers: Timers,
        owner: object,
        now: float,
        patience_s: float | None = None,
    ) -> None:
        invite = request.method == "INVITE"
        super().__init__(
            request,
            table=INVITE_TRANSITIONS if invite else NON_INVITE_TRANSITIONS,
            state=_S.CALLING if invite else _S.TRYING,
            terminated=_S.TERMINATED,
            timers=timers,
        )
        self.destination = destination
        self.owner = owner
        self.branch = request.via.branch or ""
        self.ack: bytes | None = None
        self._data = request.encode()
        self._out.append(self._data)
        self._events: deque[Response | FailureReason] = deque()
        self._retransmit_at = None if destination.reliable else now + timers.t1
        # Timer B or F; sooner where there is another next hop to try (RFC 3263 §4.3 leaves the time to us).
        self._expire_at = now + (timers.t64 if patience_s is None else min(patience_s, timers.t64))

    @property
    def key(self) -> tuple[str, str]:
        """How responses find it: branch and CSeq method (RFC 3261 §17.1.3)."""
        return self.branch, self.request.method

    @property
    def unanswered(self) -> bool:
        """True while no response at all has come."""
        return self.state in (_S.CALLING, _S.TRYING)

    def handle_message(self, response: Response, now: float) -> None:
        """A response that matches this transaction arrived."""
        before = self.state
        what = _I.PROVISIONAL if response.code < 200 else _I.SUCCESS if response.code < 300 else _I.FAILURE
        if not self._step(what):
            return
        if what is _I.PROVISIONAL:
            if self._invite:
                # §17.1.1.2: timers A and B end with the first provisional; the transaction user bounds the ringing.
                self._retransmit_at = self._expire_at = None
            elif self._retransmit_at is not None:
                self._interval = self._timers.t2  # §17.1.2.2: timer E is T2 in Proceeding
            self._events.append(response)
        elif self._invite:
            self._final_of_invite(response, what, before, now)
        else:
            self._retransmit_at = None
            self._events.append(response)
            self._linger(0.0 if self.destination.reliable else self._timers.t4, now)  # timer K

    def _final_of_invite(self, response: Response, what: ClientInput, before: ClientState, now: float) -> None:
        self._retransmit_at = None
        if what is _I.SUCCESS:
            if before is not _S.ACCEPTED:
                self._linger(self._timers.t64, now)  # timer M, RFC 6026 §8.4
            self._events.append(response)  # each 2xx goes up: forks and retransmissions are acknowledged there
            return
        if before is _S.COMPLETED:
            if self.ack is not None:
                self._out.append(self.ack)
            return
        self.ack = make_ack(self.request, response).encode()
        self._out.append(self.ack)
        self._events.append(response)
        self._linger(0.0 if self.destination.reliable else max(32.0, self._timers.t64), now)  # timer D

    def handle_timeout(self, now: float) -> None:
        """Time has passed; does nothing when no timer is due."""
        if self._expire_at is not None and now >= self._expire_at:
            self._expire_at = self._retransmit_at = None
            waiting = self.state in (_S.CALLING, _S.TRYING, _S.PROCEEDING)
            self._step(_I.TIMEOUT if waiting else _I.EXPIRE)
            if waiting:
                self._events.append("timeout")
        elif self._retransmit_at is not None and now >= self._retransmit_at and self._step(_I.RETRANSMIT):
            self._out.append(self._data)
            # Timer A doubles without limit; timer E up to T2 (§17.1.1.2, §17.1.2.2).
            doubled = self._interval * 2
            self._interval = doubled if self._invite else min(doubled, self._timers.t2)
            self._retransmit_at = now + self._interval

    def handle_transport_error(self, now: float) -> None:
        """The transport could not deliver (RFC 3261 §17.1.4)."""
        if self._step(_I.TRANSPORT_ERROR):
            self._retransmit_at = self._expire_at = None
            if self.ack is None:
                self._events.append("transport")

    def poll_event(self) -> Response | FailureReason | None:
        """The next response for the transaction user, or why there will be none: `timeout` or `transport`."""
        return self._events.popleft() if self._events else None


def make_ack(request: Request, response: Response) -> Request:
    """The ACK to a final response above 299 (RFC 3261 §17.1.1.3): same branch, To of the response."""
    headers = Headers()
    headers.add("Via", str(request.via))
    for name, value in request.headers:
        if name in ("Route", "From", "Call-ID"):
            headers.add(name, value)
    headers.add("To", response.headers.get("To") or "")
    headers.add("CSeq", f"{request.cseq[0]} ACK")
    headers.add("Max-Forwards", request.headers.get("Max-Forwards") or "70")
    return Request("ACK", request.uri_text, headers)


def make_cancel(request: Request) -> Request:
    """The CANCEL of an INVITE of ours (RFC 3261 §9.1): same branch, Request-URI, To, From, Route and CSeq number."""
    headers = Headers()
    headers.add("Via", str(request.via))
    for name, value in request.headers:
        if name in ("Route", "From", "To", "Call-ID"):
            headers.add(name, value)
    headers.add("CSeq", f"{request.cseq[0]} CANCEL")
    headers.add("Max-Forwards", request.headers.get("Max-Forwards") or "70")
    return Request("CANCEL", request.uri_text, headers)
