"""Server transactions of RFC 3261 §17.2 with RFC 6026, as two tables; sans-IO."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.config import Timers
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.transaction import Transaction


class ServerState(Enum):
    """States of figures 7 and 8 of RFC 3261 and figure 7 of RFC 6026."""

    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class ServerInput(Enum):
    """What can happen to a server transaction."""

    REQUEST = auto()
    """The request again."""
    ACK = auto()
    SEND_PROVISIONAL = auto()
    SEND_SUCCESS = auto()
    SEND_FAILURE = auto()
    RETRANSMIT = auto()
    """Timer G."""
    NO_ACK = auto()
    """Timer H."""
    EXPIRE = auto()
    """Timer I, J or L."""
    TRANSPORT_ERROR = auto()


_S, _I = ServerState, ServerInput

INVITE_TRANSITIONS: Final[dict[tuple[ServerState, ServerInput], ServerState]] = {
    (_S.PROCEEDING, _I.REQUEST): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SEND_PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SEND_SUCCESS): _S.ACCEPTED,
    (_S.PROCEEDING, _I.SEND_FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.TRANSPORT_ERROR): _S.PROCEEDING,
    (_S.COMPLETED, _I.REQUEST): _S.COMPLETED,
    (_S.COMPLETED, _I.RETRANSMIT): _S.COMPLETED,
    (_S.COMPLETED, _I.ACK): _S.CONFIRMED,
    (_S.COMPLETED, _I.NO_ACK): _S.TERMINATED,
    (_S.COMPLETED, _I.TRANSPORT_ERROR): _S.COMPLETED,
    (_S.CONFIRMED, _I.ACK): _S.CONFIRMED,
    (_S.CONFIRMED, _I.REQUEST): _S.CONFIRMED,
    (_S.CONFIRMED, _I.EXPIRE): _S.TERMINATED,
    # RFC 6026 §7.1: in Accepted the transaction absorbs the INVITE; the transaction user repeats its 2xx.
    (_S.ACCEPTED, _I.REQUEST): _S.ACCEPTED,
    (_S.ACCEPTED, _I.SEND_SUCCESS): _S.ACCEPTED,
    (_S.ACCEPTED, _I.ACK): _S.ACCEPTED,
    (_S.ACCEPTED, _I.TRANSPORT_ERROR): _S.ACCEPTED,
    (_S.ACCEPTED, _I.EXPIRE): _S.TERMINATED,
}

NON_INVITE_TRANSITIONS: Final[dict[tuple[ServerState, ServerInput], ServerState]] = {
    (_S.TRYING, _I.REQUEST): _S.TRYING,
    (_S.TRYING, _I.SEND_PROVISIONAL): _S.PROCEEDING,
    (_S.TRYING, _I.SEND_SUCCESS): _S.COMPLETED,
    (_S.TRYING, _I.SEND_FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.REQUEST): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SEND_PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _I.SEND_SUCCESS): _S.COMPLETED,
    (_S.PROCEEDING, _I.SEND_FAILURE): _S.COMPLETED,
    (_S.PROCEEDING, _I.TRANSPORT_ERROR): _S.TERMINATED,
    (_S.COMPLETED, _I.REQUEST): _S.COMPLETED,
    (_S.COMPLETED, _I.EXPIRE): _S.TERMINATED,
    (_S.COMPLETED, _I.TRANSPORT_ERROR): _S.TERMINATED,
}


class ServerTransaction(Transaction[ServerState, ServerInput]):
    """One request of a peer and our responses to it."""

    __slots__ = (
        "_last",
        "destination",
        "fallback",
        "final_code",
        "flow",
        "key",
        "merge_key",
        "owner",
        "to_tag",
    )

    def __init__(
        self,
        request: Request,
        *,
        key: tuple[str, ...],
        merge_key: tuple[str, ...] | None,
        flow: Flow,
        destination: Destination,
        fallback: Destination | None,
        to_tag: str,
        timers: Timers,
    ) -> None:
        invite = request.method == "INVITE"
        super().__init__(
            request,
            table=INVITE_TRANSITIONS if invite else NON_INVITE_TRANSITIONS,
            state=_S.PROCEEDING if invite else _S.TRYING,
            terminated=_S.TERMINATED,
            timers=timers,
        )
        self.key = key
        self.merge_key = merge_key
        self.flow = flow
        self.destination = destination
        """Where responses go (RFC 3261 §18.2.2, RFC 3581 §4)."""
        self.fallback = fallback
        self.to_tag = to_tag
        self.owner: object = None
        self.final_code: int | None = None
        self._last: bytes | None = None

    def handle_message(self, request: Request, now: float) -> None:
        """The same request again, or the ACK to a failure."""
        if request.method == "ACK":
            before = self.state
            if self._step(_I.ACK) and before is _S.COMPLETED:
                self._retransmit_at = None
                self._linger(0.0 if self.flow.reliable else self._timers.t4, now)  # timer I
        elif (
            self._step(_I.REQUEST)
            and self._last is not None
            and self.state not in (_S.CONFIRMED, _S.ACCEPTED)  # nothing is owed there
        ):
            self._out.append(self._last)

    def respond(self, response: Response, now: float) -> None:
        """Send a response. Raises LocalProtocolError after a final one (a 2xx to an INVITE may be repeated)."""
        code = response.code
        what = _I.SEND_PROVISIONAL if code < 200 else _I.SEND_SUCCESS if code < 300 else _I.SEND_FAILURE
        before = self.state
        if not self._step(what):
            raise LocalProtocolError(f"{code} cannot be sent in state {before.name}")
        self._last = response.encode()
        self._out.append(self._last)
        if code < 200:
            return
        self.final_code = code
        if not self._invite:
            self._linger(0.0 if self.flow.reliable else self._timers.t64, now)  # timer J
        elif code < 300:
            if before is not _S.ACCEPTED:
                self._linger(self._timers.t64, now)  # timer L
        else:
            self._linger(self._timers.t64, now)  # timer H
            if not self.flow.reliable:
                self._retransmit_at = now + self._interval  # timer G

    def handle_timeout(self, now: float) -> None:
        """Time has passed; does nothing when no timer is due."""
        if self._expire_at is not None and now >= self._expire_at:
            self._expire_at = self._retransmit_at = None
            self._step(_I.NO_ACK if self.state is _S.COMPLETED and self._invite else _I.EXPIRE)
        elif self._retransmit_at is not None and now >= self._retransmit_at and self._step(_I.RETRANSMIT):
            if self._last is not None:
                self._out.append(self._last)
            self._interval = min(self._interval * 2, self._timers.t2)
            self._retransmit_at = now + self._interval

    def handle_transport_error(self, now: float) -> None:
        """The last response could not be delivered; it is sent once more by the other way, where there is one."""
        if self.fallback is not None and self._last is not None:
            self.destination, self.fallback = self.fallback, None
            self._out.append(self._last)
        elif self._step(_I.TRANSPORT_ERROR) and self.state is _S.TERMINATED:
            self._expire_at = self._retransmit_at = None
