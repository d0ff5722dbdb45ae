"""A leg that speaks SIP: one INVITE session, its media, and the translation of both into leg events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final, Literal

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import (
    Answered,
    Connected,
    Dtmf,
    EndCause,
    Party,
    PictureWithheld,
    Ringing,
    TextReceived,
    TransferAsked,
)
from mediaserver.call.leg import Codecs, Leg
from mediaserver.call.picture_fit import PictureFit
from mediaserver.call.sip_early import EarlyAnswers
from mediaserver.call.sip_leg_dialog import SipLegDialog
from mediaserver.call.sip_media import SipMediaSettings
from mediaserver.call.sip_negotiation import SipNegotiation
from mediaserver.call.sip_policy import EVERYTHING, SipPolicy, lacking, within
from mediaserver.call.sip_webrtc import SipWebRtcSettings
from mediaserver.config.bandwidth import MediaKind
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.errors import LocalProtocolError, MediaServerError, NegotiationError
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip_events
from mediaserver.sip.redirect import redirect_targets
from mediaserver.sip.session import InviteSession

SessionMaker = Callable[[bytes], Awaitable[InviteSession]]
"""Calls the phone with an offer and returns the session at once; made by whoever knows the target."""

_NORMAL_CLEARING: Final = 'Q.850;cause=16;text="Normal call clearing"'
_STOP_DEADLINE_S: Final = 1.0
_CLOSED_WITHOUT_A_WORD_S: Final = 1.0


class SipLeg(SipLegDialog):
    """One phone, or one call over a trunk. `party` is the role of whoever is at the other end, for the record."""

    kind: ClassVar[Literal["browser", "sip", "room"]] = "sip"

    def __init__(
        self,
        *,
        leg_id: str,
        contact_id: str,
        name: str,
        party: Party,
        engine: Engine,
        settings: SipMediaSettings | SipWebRtcSettings,
        policy: SipPolicy,
    ) -> None:
        super().__init__(
            leg_id=leg_id, contact_id=contact_id, name=name, engine=engine, settings=settings, policy=policy
        )
        self.party = party
        self.transcode = policy.transcode
        self._picture_fit = PictureFit(self._on_picture)
        self._negotiation = SipNegotiation(
            media=self._sip_media,
            policy=policy,
            wanted=lambda: self._sought if self._other is None else self._with_picture(self._other.capable),
            admit=self._admit_again,
            changed=self._on_agreed,
            log=self.log,
        )
        self._sip_media.on_moved = self._on_moved
        self._answering = asyncio.Lock()
        self._early_agreed: asyncio.Future[bool] | None = None
        """The answer to such an offer, once it is there."""
        self._early = EarlyAnswers(self._sip_media, self.log)
        self._sought: Codecs = EVERYTHING
        """What whoever is on the other side could do, before the two have met."""

    # -- what the call asks --------------------------------------------------------------------------------------

    def take(self, session: InviteSession, body: bytes | None) -> None:
        """Makes this the leg of an incoming session. Raises SdpError for a broken offer, NegotiationError for one that

        the SRTP policy forbids.
        """
        self._session = session
        self._note_session(session)
        if body is None:
            self._late_offer = True
        else:
            self._offer = parse(body.decode("utf-8", "replace"))
        self._tasks.spawn(self._read_events(session), name="events")

    async def dial(
        self,
        session_maker: SessionMaker,
        wanted: Codecs,
        *,
        srtp: bool,
        others: Mapping[MediaKind, int] | None = None,
    ) -> None:
        """Offers `wanted` as far as policy and bandwidth allow and returns once the phone has answered.

        `others` are the wishes of the leg on the other side, in bits per second. Cancelling it cancels the INVITE when
        the leg is ended. Raises DialFailed, NegotiationError, InsufficientBandwidth.
        """
        allowed = self._policy.towards(wanted)
        if not allowed:
            raise NegotiationError("no codec of the caller is allowed towards this phone", warning_code=305)
        self._sought = allowed = self._narrowed(allowed, {}, others)
        body = await self._sip_media.offer(allowed, srtp=srtp)
        self._outcome = asyncio.get_running_loop().create_future()
        session = await session_maker(body)
        self._session = session
        self._tasks.spawn(self._read_events(session), name="events")
        await self._outcome

    async def show_hold(self, *, on: bool, hears: bool) -> None:
        """See `Leg`: by a re-INVITE (RFC 3264 §8.4), where the trunk wants to know."""
        held = Direction.SENDONLY if hears else Direction.INACTIVE
        wanted = held if on else Direction.SENDRECV
        session = self._session
        if session is None or self.ended or not self._policy.tells_hold or wanted is self._sip_media.direction:
            return
        await self._negotiation.turn(session, wanted)

    async def progress(self, code: int) -> None:
        """Relays that the other side is being alerted."""
        if self._session is not None and self._session.direction == "incoming" and not self._answered:
            self._session.ring(180 if code == 183 else code)

    async def hear_early(self, other: Leg) -> bool:
        """See `Leg`: the phone's offer is answered in a 183 (RFC 3960 §3.1); one without an offer is sent ours in it,

        where it can answer by PRACK.
        """
        session = self._session
        if session is None or session.direction == "outgoing" or self._answered or self._early_answer is not None:
            return bool(self.media)
        if self._offer is None and not session.may_offer_early:
            return False
        self._sought = other.codecs
        try:
            body = await self._own_description(other)
            if self.ended or self._answered:
                return False
            session.ring(183, body)
        except MediaServerError as error:  # nothing in common, or the call was taken back meanwhile
            self.log.info("early_media_not_heard", error=str(error))
            self._sip_media.drop()
            return False
        self._early_answer = body
        if self._offer is None:
            self._early_agreed = asyncio.get_running_loop().create_future()
            return await self._early_agreed
        self._sip_media.commit()
        self.set_media(self._sip_media.media)
        return True

    async def _own_description(self, other: Leg) -> bytes:
        """Our answer to the phone's offer, or our offer where it made none, with what `other` speaks."""
        self.allow_text(other)
        if self._offer is not None:
            return await self._answer_to(self._offer, other)
        wanted = self._policy.towards(other.codecs)
        wanted = wanted if self._admitted is None else within(wanted, self._admitted)
        return await self._sip_media.offer(wanted, srtp=self._policy.srtp == "require")

    def _on_early_answered(self, body: bytes) -> None:
        agreed, self._late_offer = self._early_agreed, False
        try:
            self._sip_media.accept_answer(body)
            if self._answered:
                self._charge()
            self.set_media(self._sip_media.media)
        finally:
            if agreed is not None and not agreed.done():
                agreed.set_result(bool(self.media))

    async def _answer_to(self, offer: SessionDescription, other: Leg) -> bytes:
        # What is transcoded at the other's wish is answered as the phone has it.
        at_its_wish = other.transcode != "never"
        wanted = self._policy.limited(self.understood(other)) if at_its_wish else self._policy.towards(other.codecs)
        if self._admitted is not None:
            wanted = within(wanted, self._admitted)
        return await self._sip_media.answer(
            offer, wanted, srtp_required=self._policy.srtp == "require", srtp_allowed=self._policy.srtp != "never"
        )

    async def meet(self, other: Leg) -> None:
        """Answers an incoming INVITE with what `other` speaks.

        A phone that was answered is asked by a re-INVITE for what it left out and `other` has by now, and where it
        sends what `other` does not take.
        """
        session = self._session
        if session is None:
            return
        if session.direction == "incoming":
            # Whoever comes second, as the house's software beside an agent, finds the call answered.
            async with self._answering:
                if not self._answered:
                    await self._answer(other, session)
                    return
        await self._ask_for(other, session)

    async def see(self, other: Leg, companion: Leg | None) -> None:
        """See `Leg`: by a re-INVITE, where the phone has no line for it."""
        await super().see(other, companion)
        if self._session is not None and self._answered and not self.ended:
            await self._ask_for(other, self._session)

    async def _answer(self, other: Leg, session: InviteSession) -> None:
        if self._early_answer is not None:
            # RFC 6337 §2.2: the 200 says what the 183 said; what it lacks is asked for when the call stands.
            session.answer(self._early_answer)
            self._mark_answered()
            self._sip_media.expect()
            if not self._late_offer:
                await self._ask_for(other, session)
            return
        if self._admitted is not None:
            self.settle_with(other)  # so that our answer names the rate that the other side takes
        body = await self._own_description(other)
        if self.ended:
            return
        session.answer(body)
        self._mark_answered()
        if self._offer is not None:
            self._sip_media.commit()
        self.set_media(self._sip_media.media)

    async def _ask_for(self, other: Leg, session: InviteSession) -> None:
        spoken = {kind: media.send for kind, media in self._sip_media.agreed.items()}
        if wanted := lacking(spoken, self.capable, self.understood(other)):
            await self._negotiation.reoffer(session, wanted)

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Rejects an incoming INVITE with `cause.code` and, where given, a Warning value."""
        session = self._session
        if session is not None and session.direction == "incoming" and not self._answered and not self.ended:
            headers = [("Warning", warning)] if warning else []
            try:
                session.reject(cause.code or 480, headers=headers)
            except LocalProtocolError as error:
                self.log.debug("reject_too_late", error=str(error))
        await self.end(cause)

    async def _release(self, cause: EndCause) -> None:
        if self._session is not None:
            self._session.hangup(_NORMAL_CLEARING if self._answered else None)
        self._sip_media.close()
        self._negotiation.close()
        self._picture_fit.close()
        for waited in (self._outcome, self._early_agreed):
            if waited is not None and not waited.done():
                waited.cancel()
        await self._tasks.stop(_STOP_DEADLINE_S)

    # -- what the phone says -------------------------------------------------------------------------------------

    async def _read_events(self, session: InviteSession) -> None:
        async for event in session.events():
            self._note_session(session)
            try:
                await self._on_sip_event(session, event)
            except MediaServerError as error:
                self.log.warning("sip_event_failed", what=type(event).__name__, error=str(error))
                await self.end(EndCause("system", "media_not_negotiable", 488, str(error)))
        if not self.ended:
            await self.end(EndCause("system", "session_lost"))

    async def _on_sip_event(self, session: InviteSession, event: sip_events.SessionEvent) -> None:
        match event:
            case sip_events.Progress(code=code, body=body, branch=branch, reliable=reliable):
                heard = body is not None and self._on_early(body, branch, reliable=reliable)
                self.emit(Ringing(code, early=heard))
            case sip_events.Answered(body=body, branch=branch):
                self._on_answered(body, branch)
            case sip_events.Confirmed(body=body):
                self._on_confirmed(body)
                await self._negotiation.on_confirmed(session, body)
            case sip_events.EarlyAnswered(body=body):
                self._on_early_answered(body)
            case sip_events.Rejected(code=code, reason=reason, headers=headers, warning=warning):
                redirect = redirect_targets(headers) if 300 <= code < 400 else ()
                self._fail(DialFailed(code, reason, warning=warning, redirect=redirect))
                await self.end(EndCause(self.party, "rejected", code, reason))
            case sip_events.Reoffered(branch=branch) if not self._answered and branch not in ("", self._early.branch):
                # One line of ours, and another branch has it; the RFC 3311 §5.2 wait is long enough for an answer.
                session.reject_reoffer(500, (("Retry-After", "10"),))
            case sip_events.Reoffered(body=body):
                await self._negotiation.on_reoffered(session, body)
            case (
                sip_events.ReofferAnswered()
                | sip_events.ReofferRejected()
                | sip_events.ReofferNotSent()
                | sip_events.Returned()
            ):
                await self._negotiation.on_outcome(session, event)
            case sip_events.RefreshDue():
                await self._refresh(session)
            case sip_events.Referred(target=target, replaces=replaces, referred_by=referred_by, removes=removes):
                self.emit(TransferAsked(target, replaces, referred_by, removes))
            case sip_events.PartyTold(headers=headers):
                self._on_party(headers)
            case sip_events.Info(content_type=content_type, body=body):
                self._on_info(content_type, body)
            case sip_events.TextReceived(text=text):
                self.emit(TextReceived(text))
            case sip_events.Cancelled():
                await self.end(EndCause(self.party, "cancelled", 487))
            case sip_events.Ended(by=by, code=code, reason=reason):
                ended_by: Party = self.party if by in ("remote", "local") else "system"
                await self.end(EndCause(ended_by, "hangup" if by == "remote" else reason or by, code, reason))

    def _on_early(self, body: bytes, branch: str, *, reliable: bool) -> bool:
        heard = self._early.take(body, branch, reliable=reliable)
        if heard:
            self.set_media(self._sip_media.media)
        return heard

    def _on_answered(self, body: bytes | None, branch: str) -> None:
        outcome = self._outcome
        try:
            self._early.settle(body, branch)
        except MediaServerError as error:
            self._answered = True
            self._fail(DialFailed(488, str(error), warning_code=getattr(error, "warning_code", None)))
            raise
        self._mark_answered()
        self._charge()
        self.set_media(self._sip_media.media)
        if outcome is not None and not outcome.done():
            outcome.set_result(None)
        self.emit(Answered())

    def _on_confirmed(self, body: bytes | None) -> None:
        if self._late_offer:
            if body is None:
                raise NegotiationError("the ACK to our offer carried no answer (RFC 3261 §13.2.1)")
            self._late_offer = False
            self._sip_media.accept_answer(body)
            self._charge()
            self.set_media(self._sip_media.media)
            if self._early_agreed is not None and not self._early_agreed.done():
                self._early_agreed.set_result(True)

    def _on_picture(self, reason: str) -> None:
        self.picture_withheld = self.picture_withheld or reason
        self.emit(PictureWithheld(reason))

    async def _refresh(self, session: InviteSession) -> None:
        await self._negotiation.refresh(session)

    def _on_moved(self) -> None:
        """An Edge that was restarted has other ports for our media: the phone is told by a re-INVITE."""
        if self._session is not None and not self.ended:
            self.log.info("ports_moved")
            self._tasks.spawn(self._negotiation.turn(self._session, self._sip_media.direction), name="ports-moved")

    def _on_agreed(self) -> None:
        """An offer and its answer later in the call are in force."""
        if not self.ended:
            if self._answered:
                self._charge()
            self.set_media(self._sip_media.media)

    # -- what the engine says ------------------------------------------------------------------------------------

    def _on_engine_event(self, kind: Kind, event: engine_events.AnyEvent) -> None:
        self.keep_counters(event)
        match event:
            case engine_events.TransportConnected():
                self.emit(Connected())
            case engine_events.DtmfReceived(digit=digit, duration_ms=duration_ms):
                self._sends_events = True
                self.emit(Dtmf(digit, duration_ms))
            case engine_events.KeyframeNeeded():
                self._ask_for_picture()
            case engine_events.DownTrackLayerChanged():
                self._picture_fit.on_layer(event)
            case engine_events.MediaTimeout(silent_ms=silent_ms):
                self._on_silence(kind, silent_ms)
            case engine_events.TransportClosed(reason=reason) if reason != "commanded" and not self.ended:
                self._tasks.spawn(self._on_closed(reason), name="transport-closed")
            case _:
                pass

    async def _on_closed(self, reason: str) -> None:
        """A browser that hangs up sends BYE and closes its connection in the same moment: the two race."""
        if reason == "peer_closed":
            await asyncio.sleep(_CLOSED_WITHOUT_A_WORD_S)
        await self.end(EndCause("system", reason))

    def _on_silence(self, kind: Kind, silent_ms: int) -> None:
        agreed = self._sip_media.agreed.get(kind)
        # A phone that holds us need not play music, a camera may be off; a voice that stops is a lost phone.
        # Nobody has to send before the call is answered.
        talking = agreed is not None and agreed.direction is Direction.SENDRECV and self._answered
        if kind == "audio" and talking and not self.ended:
            self.log.info("media_timeout", silent_ms=silent_ms)
            self._tasks.spawn(self.end(EndCause("system", "media_timeout")), name="media-timeout")
