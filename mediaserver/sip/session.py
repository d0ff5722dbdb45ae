"""The face of one INVITE session that the call layer holds: plain calls down, an async stream of events up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from mediaserver.sip.events import FINAL_EVENTS, Ended, SessionEvent
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.invite_session import InviteMachine, SessionState
from mediaserver.sip.session_id import SessionId
from mediaserver.sip.uri import SipUri


class InviteSession:
    """One dialog begun by an INVITE, ours or theirs.

    Every method returns at once: what it sends leaves in the same turn of the loop, what comes of it arrives in
    `events()`. A method called in a state that does not allow it raises LocalProtocolError, except `hangup`, which is
    always allowed and does nothing on a session that is over. Bodies are SDP as bytes and are never looked into.
    """

    def __init__(
        self, machine: InviteMachine, *, drive: Callable[[], None], now: Callable[[], float], queue_limit: int
    ) -> None:
        self._machine = machine
        self._drive = drive
        self._now = now
        self._queue: deque[SessionEvent] = deque()
        self._queue_limit = queue_limit
        self._reader: asyncio.Future[None] | None = None
        self._over = False

    @property
    def id(self) -> str:
        """Unique across machines and restarts."""
        return self._machine.id

    @property
    def call_id(self) -> str:
        """The SIP Call-ID, for logs and records."""
        return self._machine.call_id

    @property
    def direction(self) -> Literal["incoming", "outgoing"]:
        """Who sent the first INVITE: "incoming" is theirs."""
        return self._machine.direction

    @property
    def state(self) -> SessionState:
        """Where the session stands (see `SessionState`)."""
        return self._machine.state

    @property
    def takes_info(self) -> bool:
        """Whether the peer's Allow names INFO."""
        return self._machine.peer_takes_info

    @property
    def local_party(self) -> NameAddr:
        """Our From or To."""
        return self._machine.local_party

    @property
    def remote_party(self) -> NameAddr:
        """The peer's From or To."""
        return self._machine.remote_party

    @property
    def remote_target(self) -> SipUri | None:
        """The peer's Contact as last refreshed; None before there is one."""
        return self._machine.remote_target

    @property
    def session_id(self) -> SessionId:
        """The UUIDs of the two ends (RFC 7989); `local` is set by whoever knows for whom we speak."""
        return self._machine.session_id

    @property
    def focus(self) -> str | None:
        """User part of the conference URI that our Contact is from now on, with `isfocus`; None is no conference."""
        return self._machine.focus

    @focus.setter
    def focus(self, address: str | None) -> None:
        self._machine.focus = address

    @property
    def flow(self) -> Flow | None:
        """The flow on which the peer was last heard in this session."""
        return self._machine.flow

    @property
    def may_reoffer(self) -> bool:
        """Whether `reoffer` is possible now: the call stands and no offer is under way in either direction."""
        return self._machine.may_reoffer

    @property
    def may_offer_early(self) -> bool:
        """Whether `ring` may carry our offer to an INVITE without one; `EarlyAnswered` brings the answer."""
        return self._machine.may_offer_early

    @property
    def first_offer(self) -> bytes | None:
        """The body of their INVITE (incoming sessions); None for a late offer."""
        return self._machine.first_offer

    async def events(self) -> AsyncIterator[SessionEvent]:
        """Everything that happens, in order, until the session is over. One reader only."""
        while self._queue or not self._over:
            while not self._queue:
                self._reader = asyncio.get_running_loop().create_future()
                await self._reader
            event = self._queue.popleft()
            yield event
            if isinstance(event, FINAL_EVENTS):
                return

    def ring(self, code: int = 180, body: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send a provisional response (101 to 199) to their INVITE."""
        self._machine.ring(code, body, tuple(headers), now=self._now())
        self._drive()

    def answer(self, body: bytes | None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send 200 to their INVITE with our answer (or our offer, when theirs had none). Followed by `Confirmed`."""
        self._machine.answer(body, tuple(headers), now=self._now())
        self._drive()

    def reject(self, code: int, reason: str | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send a final response of 300 or more to their INVITE; the session is over."""
        self._machine.reject(code, reason, tuple(headers), now=self._now())
        self._drive()

    def acknowledge(self, body: bytes) -> None:
        """Send the ACK that carries our answer, after `Answered` or `ReofferAnswered` brought the peer's offer."""
        self._machine.acknowledge(body, now=self._now())
        self._drive()

    def reoffer(self, body: bytes | None) -> None:
        """Send a re-INVITE; None asks the peer for an offer. Glare (491) is waited out and retried inside."""
        self._machine.reoffer(body, now=self._now())
        self._drive()

    def answer_reoffer(self, body: bytes | None) -> None:
        """Send 200 to the peer's re-INVITE."""
        self._machine.answer_reoffer(body, now=self._now())
        self._drive()

    def reject_reoffer(self, code: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Refuse the peer's re-INVITE (488, for instance); the session goes on as before."""
        self._machine.reject_reoffer(code, tuple(headers), now=self._now())
        self._drive()

    def send_info(self, content_type: str, body: bytes) -> None:
        """Send an INFO in the established dialog. Its outcome is not reported (481 and 408 end the session)."""
        self._machine.send_info(content_type, body, now=self._now())
        self._drive()

    def identify(self, headers: Sequence[tuple[str, str]], party: NameAddr | None = None) -> bool:
        """Say from now on by these fields who is at our end (P-Asserted-Identity and the like), and by `party` in From

        where the peer knows that a From may change (RFC 4916). A standing call is told at once, by UPDATE. False where
        the peer knows none: `reoffer` would tell it.
        """
        told = self._machine.identify(tuple(headers), party, now=self._now())
        self._drive()
        return told

    def send_text(self, text: str) -> None:
        """Send a text (MESSAGE) to the peer of the established call; its outcome is not reported. Raises LimitExceeded."""
        self._machine.send_text(text, now=self._now())
        self._drive()

    def accept_referral(self) -> None:
        """Answer 202 to the peer's REFER; follow with `notify_referral` until a final status."""
        self._machine.accept_referral(now=self._now())
        self._drive()

    def reject_referral(self, code: int) -> None:
        """Refuse the peer's REFER; the call goes on."""
        self._machine.reject_referral(code, now=self._now())
        self._drive()

    def notify_referral(self, code: int) -> None:
        """Tell the peer how the call it asked for is doing, by a SIP status; from 200 on nothing follows."""
        self._machine.notify_referral(code, now=self._now())
        self._drive()

    def hangup(self, cause: str | None = None) -> None:
        """End the session in whatever state: CANCEL, a 480 to their INVITE, or BYE.

        `cause` is a Reason value (RFC 3326), for instance `Q.850;cause=16;text="Normal call clearing"`.
        """
        self._machine.hangup(cause, now=self._now())
        self._drive()

    def deliver(self, event: SessionEvent) -> None:
        """For the user agent: hand an event to the reader. A reader that stopped reading ends its session."""
        if self._over:
            return
        if isinstance(event, FINAL_EVENTS):
            self._over = True
            while len(self._queue) >= self._queue_limit:
                self._queue.popleft()
        elif len(self._queue) >= self._queue_limit:
            self._machine.hangup(None, now=self._now())
            self.deliver(Ended("error", reason="session events are not read"))
            return
        self._queue.append(event)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
