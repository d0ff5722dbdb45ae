"""Offers and answers inside an established call over SIP: hold, new lines, late offers, and glare (RFC 6337).

The phone's holds and addresses are settled here and never reach the other leg (RFC 3264 §8.4). When a line or a codec
comes or goes, `changed` is told, and the call brings the two legs to terms again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from mediaserver.call.leg import Codecs
from mediaserver.call.session_media import SessionMedia
from mediaserver.call.sip_policy import SipPolicy
from mediaserver.errors import LocalProtocolError, MediaServerError, NegotiationError
from mediaserver.sdp.codecs import matches
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip_events
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_states import SessionState

_GLARE: Final = 491

Outcome = sip_events.ReofferAnswered | sip_events.ReofferRejected | sip_events.ReofferNotSent | sip_events.Returned
"""What becomes of a re-INVITE of ours."""

Admit = Callable[[Codecs, SessionDescription | None], Codecs]
"""What admission control leaves of codecs, given the phone's description where there is one."""


class _Owed(Enum):
    """What the offer that is under way waits for."""

    NOTHING = auto()
    ACK = auto()
    """The phone asked for our offer: its answer is in the ACK."""
    ANSWER = auto()
    """We sent a re-INVITE."""


class SipNegotiation:
    """One at a time: `on_*` are the session's events, `reoffer` is a wish of the call."""

    def __init__(
        self,
        *,
        media: SessionMedia,
        policy: SipPolicy,
        wanted: Callable[[], Codecs],
        admit: Admit,
        changed: Callable[[], None],
        log: Any,
    ) -> None:
        """`wanted` tells what the other side could do; `changed` is called after each agreement."""
        self._media = media
        self._policy = policy
        self._wanted = wanted
        self._admit = admit
        self._changed = changed
        self._log = log
        self._owed = _Owed.NOTHING
        self._has_refused = False
        self._lock = asyncio.Lock()
        self._turning = False
        """The house has put the phone on hold or takes it back, and the phone is to be told."""
        self._wish: Codecs | None = None
        """What we would like to offer, when nothing else is under way."""
        self._offered: Codecs = {}
        """What our own re-INVITE is about."""
        self._untold: Codecs | None = None
        """The same, while the phone has no connection."""
        self._refused: Codecs | None = None
        """What the phone would not have: it is not asked twice."""

    def close(self) -> None:
        """Forgets the leg: two that hold each other wait for the collector."""
        self._wish = None
        self._wanted, self._admit, self._changed = dict, _as_it_is, _nothing

    # -- the phone offers ------------------------------------------------------------------------------------------

    async def on_reoffered(self, session: InviteSession, body: bytes | None) -> None:
        """A re-INVITE: answered, offered to, or refused with 488, and then nothing has changed."""
        async with self._lock:
            try:
                reply = await (self._late_offer() if body is None else self._answer(body))
            except MediaServerError as error:
                if not self._has_refused:  # a phone that offers the same again and again is one line
                    self._has_refused = True
                    self._log.info("reoffer_refused", error=str(error))
                self._media.drop()
                reply = None
            try:
                if reply is None:
                    session.reject_reoffer(488)
                else:
                    session.answer_reoffer(reply)
            except LocalProtocolError as error:  # taken back by CANCEL, or the call ended
                self._log.info("reoffer_withdrawn", error=str(error))
                self._media.drop()
                reply = None
            if reply is not None and body is None:
                self._owed = _Owed.ACK
            elif reply is not None:
                self._media.commit()
                self._changed()
            await self._send_wish(session)

    async def on_confirmed(self, session: InviteSession, body: bytes | None) -> None:
        """The ACK to our 200. One without the answer it owes, or with one of no use, leaves the session as it was."""
        async with self._lock:
            if self._owed is _Owed.ACK:
                self._owed = _Owed.NOTHING
                self._take_answer(body)
            await self._send_wish(session)

    async def _answer(self, body: bytes) -> bytes:
        offer = parse(body.decode("utf-8", "replace"))
        return await self._media.answer(
            offer,
            self._admit(self._policy.towards(self._wanted()), offer),
            srtp_required=self._policy.srtp == "require",
            srtp_allowed=self._policy.srtp != "never",
        )

    async def _late_offer(self) -> bytes:
        # RFC 6337 §5.1: as if the call were new, because it is for whoever takes the offer (RFC 3725 §7).
        return await self._offer(self._policy.towards(self._wanted()))

    async def _offer(self, wanted: Codecs) -> bytes:
        secure = self._policy.srtp == "require" or self._media.secure
        return await self._media.offer(self._admit(wanted, None), srtp=secure)

    def _take_answer(self, body: bytes | None) -> bool:
        try:
            if body is None:
                raise NegotiationError("the offer was left without an answer")
            self._media.accept_answer(body)
        except MediaServerError as error:
            self._media.drop()
            self._log.warning("answer_of_no_use", error=str(error))
            return False
        self._changed()
        return True

    # -- we offer --------------------------------------------------------------------------------------------------

    async def reoffer(self, session: InviteSession, wanted: Codecs) -> None:
        """Offers `wanted` by a re-INVITE, now or when the phone's own is done; not what it has refused before."""
        if self._refused is not None and _alike(self._refused, wanted):
            return
        async with self._lock:
            self._wish = wanted
            await self._send_wish(session)

    async def turn(self, session: InviteSession, direction: Direction) -> None:
        """Tells the phone by a re-INVITE what goes which way from now on, now or when what is under way is done."""
        async with self._lock:
            self._media.direction, self._turning = direction, True
            await self._send_wish(session)

    async def refresh(self, session: InviteSession) -> None:
        """Sends what holds by a re-INVITE, so that the phone sees us alive; anything else under way does that too."""
        async with self._lock:
            if self._owed is not _Owed.NOTHING or not session.may_reoffer:
                return
            try:
                session.reoffer(self._media.repeat())
            except MediaServerError as error:
                self._media.drop()
                self._log.info("refresh_not_sent", error=str(error))
                return
            self._offered, self._owed = {}, _Owed.ANSWER

    async def on_outcome(self, session: InviteSession, event: Outcome) -> None:
        """What became of our re-INVITE."""
        match event:
            case sip_events.ReofferAnswered(body=body):
                await self._on_answered(session, body)
            case sip_events.ReofferRejected(code=code):
                await self._on_rejected(session, code)
            case sip_events.ReofferNotSent():
                await self._on_not_sent()
            case sip_events.Returned():
                await self._on_returned(session)

    async def _on_answered(self, session: InviteSession, body: bytes | None) -> None:
        """The phone took our re-INVITE."""
        async with self._lock:
            if self._owed is _Owed.ANSWER:
                self._owed = _Owed.NOTHING
                if not self._take_answer(body):
                    self._refused = self._offered
            await self._send_wish(session)

    async def _on_rejected(self, session: InviteSession, code: int) -> None:
        """It did not: the session goes on as before. After a glare that the phone won, ours waits for its end."""
        async with self._lock:
            if self._owed is _Owed.ANSWER:
                self._owed = _Owed.NOTHING
                self._media.drop()
                if not self._offered and code == _GLARE:
                    self._turning = True  # it was a hold, or a refresh, which does no harm again
                elif code == _GLARE:
                    self._wish = self._wish or self._offered
                elif self._offered:
                    self._refused = self._offered
            await self._send_wish(session)

    async def _on_not_sent(self) -> None:
        """The phone has lost its connection: it hears of it when it is back."""
        async with self._lock:
            if self._owed is _Owed.ANSWER:
                self._owed, self._untold = _Owed.NOTHING, self._offered
                self._media.drop()

    async def _on_returned(self, session: InviteSession) -> None:
        """The phone is back."""
        async with self._lock:
            untold, self._untold = self._untold, None
            if untold:
                self._wish = self._wish or untold
            elif untold is not None:
                self._turning = True
            await self._send_wish(session)

    async def _send_wish(self, session: InviteSession) -> None:
        wanted, turning = self._wish, self._turning
        nothing = wanted is None and not turning
        if nothing or self._owed is not _Owed.NOTHING or not session.may_reoffer:
            return
        self._wish, self._turning = None, False  # every offer of ours says which way
        try:
            body = self._media.turn() if wanted is None else await self._offer(wanted)
            session.reoffer(body)
        except MediaServerError as error:
            self._media.drop()
            if isinstance(error, LocalProtocolError) and session.state is not SessionState.ENDED:
                self._wish, self._turning = wanted, turning  # the phone's own re-INVITE came in the meantime
            else:
                self._log.info("reoffer_not_made", error=str(error))
            return
        self._offered, self._owed = wanted or {}, _Owed.ANSWER


def _as_it_is(codecs: Codecs, offer: SessionDescription | None) -> Codecs:
    """Admits what comes after `close`."""
    return codecs


def _nothing() -> None:
    """Hears what comes after `close`."""


def _alike(one: Codecs, other: Codecs) -> bool:
    return one.keys() == other.keys() and all(
        len(one[kind]) == len(other[kind]) and all(map(matches, one[kind], other[kind])) for kind in one
    )
