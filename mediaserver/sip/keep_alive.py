"""Keep-alives of one flow that we opened (RFC 5626 §4.4): when to send one, and when silence is a failure; sans-IO."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Literal

from mediaserver.sip.parser import PING
from mediaserver.sip.stun_keepalive import read_answer, request

Failure = Literal["silent", "moved", "refused"]
"""No answer came; a NAT shows us under another address than before; or the server answers with an error."""

# RFC 5626 §4.4: without a Flow-Timer at most 120 s on connections and 29 s over UDP, each time 80 to 100 % of it.
_LONGEST_STREAM_S: Final = 120.0
_LONGEST_UDP_S: Final = 29.0
_SHORTEST_S: Final = 5.0
"""What a registrar may ask for at the least."""
_PONG_S: Final = 10.0
"""RFC 5626 §4.4.1: a pong that has not come by then will not."""
_RTO_S: Final = 0.5
_TRIES: Final = 7
_LAST_WAIT_S: Final = 8.0
"""RFC 8489 §6.2.1: seven requests, each waiting twice as long, and 16 times RTO after the last."""


class KeepAlive:
    """`handle_timeout` gives what to send; `failure` says why the flow counts as lost. Time is an argument.

    `judged` False sends as often, but takes no silence for a failure: for servers that never answer.
    """

    def __init__(
        self, *, reliable: bool, flow_timer_s: float | None, spread: Callable[[], float], now: float, judged: bool
    ) -> None:
        self.answered = False
        """An answer came at least once."""
        self.failure: Failure | None = None
        self._reliable = reliable
        self._longest_s = max(flow_timer_s or (_LONGEST_STREAM_S if reliable else _LONGEST_UDP_S), _SHORTEST_S)
        self._spread = spread
        self._judged = judged
        self._next_at = 0.0
        self._transaction: bytes | None = None
        self._tries = 0
        self._waiting = False
        self._mapped: tuple[str, int] | None = None
        self._rest(now)

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called; None after a failure."""
        return self._next_at if self.failure is None else None

    def handle_timeout(self, now: float) -> bytes | None:
        """Time has passed: the next keep-alive, or None; look at `failure` afterwards."""
        if self.failure is not None or now < self._next_at:
            return None
        if self._reliable:
            return self._ping(now)
        return self._ask(now)

    def handle_pong(self, now: float) -> None:
        """The other end of a connection has answered."""
        if self._waiting:
            self._heard(now)

    def handle_stun(self, data: bytes, now: float) -> None:
        """A STUN message came on the flow; anything but the answer to our own is passed over."""
        answer = read_answer(data)
        if answer is None or answer.transaction != self._transaction or not self._waiting:
            return
        if answer.mapped is None:
            self._fail("refused", now)
        elif self._mapped not in (None, answer.mapped):
            # §4.4.2: a NAT has given us another address, and the registrar knows the old one.
            self._fail("moved", now)
        else:
            self._mapped = answer.mapped
            self._heard(now)

    def _ping(self, now: float) -> bytes | None:
        if self._waiting:
            self._fail("silent", now)
            return None
        self._waiting = True
        self._next_at = now + _PONG_S
        return PING

    def _ask(self, now: float) -> bytes | None:
        if not self._waiting:
            self._waiting, self._tries, self._transaction = True, 0, secrets.token_bytes(12)
        if self._tries == _TRIES or self._transaction is None:
            self._fail("silent", now)
            return None
        self._next_at = now + (_LAST_WAIT_S if self._tries == _TRIES - 1 else _RTO_S * 2.0**self._tries)
        self._tries += 1
        return request(self._transaction)

    def _heard(self, now: float) -> None:
        self.answered = True
        self._rest(now)

    def _rest(self, now: float) -> None:
        self._waiting = False
        self._next_at = now + self._longest_s * (0.8 + 0.2 * self._spread())

    def _fail(self, reason: Failure, now: float) -> None:
        if self._judged or self.answered:
            self.failure = reason
        else:
            self._rest(now)
