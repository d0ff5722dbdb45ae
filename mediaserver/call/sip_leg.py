"""A leg that speaks SIP: one INVITE session, its media, and the translation of both into leg events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

from mediaserver.call.dial_failed import DialFailed, warning_value
from mediaserver.call.events import (
    Answered,
    Connected,
    Dtmf,
    EndCause,
    Party,
    PictureWithheld,
    RateChanged,
    Ringing,
    TransferAsked,
)
from mediaserver.call.leg import KINDS, Codecs, Leg, LegMedia
from mediaserver.call.picture_fit import PictureFit
from mediaserver.call.sip_early import EarlyAnswers
from mediaserver.call.sip_media import SipMedia, SipMediaSettings, codecs_of, peer_limits
from mediaserver.call.sip_negotiation import SipNegotiation
from mediaserver.call.sip_policy import EVERYTHING, SipPolicy, lacking, within
from mediaserver.config.bandwidth import MediaKind
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.errors import LocalProtocolError, MediaServerError, NegotiationError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sdp.bandwidth import PLAIN, above_udp, bandwidth_lines, to_tias
from mediaserver.sdp.description import Bandwidth, Direction, SessionDescription
from mediaserver.sdp.offer_answer import first_of_kind
from mediaserver.sdp.parser import parse
from mediaserver.sdp.picture import PictureBounds
from mediaserver.sip import events as sip_events
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.redirect import redirect_targets
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_id import NIL

__all__ = ["DialFailed", "SessionMaker", "SipLeg", "warning_value"]

SessionMaker = Callable[[bytes], Awaitable[InviteSession]]
"""Calls the phone with an offer and returns the session at once; made by whoever knows the target."""

_MEDIA_CONTROL: Final = "application/media_control+xml"
# RFC 5168 §7: the request for a picture that decoders without RTCP feedback understand.
_PICTURE_FAST_UPDATE: Final = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b"<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>"
)
_NORMAL_CLEARING: Final = 'Q.850;cause=16;text="Normal call clearing"'
_STOP_DEADLINE_S: Final = 1.0


class SipLeg(Leg):
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
        settings: SipMediaSettings,
        policy: SipPolicy,
    ) -> None:
        super().__init__(leg_id=leg_id, contact_id=contact_id, name=name, engine=engine)
        self.party = party
        self._policy = policy
        self._sip_media = SipMedia(engine=engine, settings=settings, cname=leg_id[:16], on_event=self._on_engine_event)
        self._sip_media.bandwidth = self._bandwidth_lines
        self._picture_fit = PictureFit(self._on_picture)
        self._admitted: Codecs | None = None
        self._negotiation = SipNegotiation(
            media=self._sip_media,
            policy=policy,
            wanted=lambda: self._sought if self._other is None else self._other.capable,
            admit=self._admit_again,
            changed=self._on_agreed,
            log=self.log,
        )
        self._session: InviteSession | None = None
        self._offer: SessionDescription | None = None
        self._answered = False
        self._transferring = False
        self._late_offer = False
        self._early_answer: bytes | None = None
        """What we have answered an incoming call with before anybody took it."""
        self._early = EarlyAnswers(self._sip_media, self.log)
        self._sought: Codecs = EVERYTHING
        """What whoever is on the other side could do, before the two have met."""
        self._tasks = TaskGroupOwner(f"sip-leg-{leg_id}")
        self._outcome: asyncio.Future[None] | None = None

    # -- what the call asks --------------------------------------------------------------------------------------

    @property
    def codecs(self) -> Codecs:
        """Agreed codecs once negotiated; before that, what the phone's offer holds and the policy allows."""
        agreed = self._sip_media.agreed
        if agreed:
            return {kind: media.send for kind, media in agreed.items()}
        return self._offered if self._admitted is None else self._admitted

    @property
    def _offered(self) -> Codecs:
        if self._offer is None:
            return self._policy.limited(EVERYTHING) if self._late_offer else {}
        return self._policy.limited(codecs_of(self._offer))

    @property
    def capable(self) -> Codecs:
        """What the phone's last description has, as far as the policy allows it."""
        remote = self._sip_media.remote
        return self.codecs if remote is None else self._policy.limited(codecs_of(remote))

    @property
    def session_uuid(self) -> str:
        """See `Leg`; by the phone's own word where it gives one."""
        theirs = self._session.session_id.remote if self._session is not None else NIL
        return super().session_uuid if theirs == NIL else theirs

    def represent(self, other: Leg) -> None:
        """See `Leg`."""
        if self._session is not None:
            self._session.session_id.local = other.session_uuid
            self._note_session(self._session)

    def _note_session(self, session: InviteSession) -> None:
        """Keeps the Session-ID for the record, and for every line of the log from now on."""
        if session.session_id.known and self.session_id != (text := str(session.session_id)):
            self.session_id = text
            self.log = self.log.bind(session_id=text)

    @property
    def transports(self) -> tuple[int, ...]:
        """RTP transports of audio and video."""
        return self._sip_media.transports

    @property
    def late_offer(self) -> bool:
        """True while the phone's INVITE came without an offer and was not answered yet."""
        return self._late_offer

    @property
    def peer_limits(self) -> Mapping[MediaKind, int]:
        """By the `b=` lines of the phone's last description."""
        packets = self.booking.packets if self.booking is not None else PLAIN
        if not self._sip_media.agreed and self._offer is not None:
            return peer_limits(self._offer, packets)
        return self._sip_media.peer_limits(packets)

    @property
    def picture_bounds(self) -> PictureBounds:
        """By the phone's decoder, and by the rate that the lines of both legs have for a picture."""
        cap = self.cap("video")
        packets = self.booking.packets if self.booking is not None else PLAIN
        rate = None if cap is None else to_tias("video", cap, packets)
        return self._sip_media.picture_bounds.within(PictureBounds(max_bps=rate))

    def settle_with(self, other: Leg) -> None:
        """See `Leg`; also bounds the picture towards the phone."""
        super().settle_with(other)
        self._bound_picture()

    def set_media(self, media: dict[Kind, LegMedia]) -> None:
        """See `Leg`; also bounds the picture towards the phone."""
        if self.booking is not None:
            self.booking.on_change = self._on_rate
        self._bound_picture()
        super().set_media(media)

    def _bound_picture(self) -> None:
        self._sip_media.aim(self.picture_bounds)
        if self.booking is not None:
            caps = self.booking.cap("video"), self.peer_limits.get("video")
            send = min((cap for cap in caps if cap is not None), default=None)
            packets = self.booking.packets
            send_bps, receive_bps = (
                None if cap is None else above_udp("video", cap, packets) for cap in (send, caps[0])
            )
            self._sip_media.limit_picture(send_bps=send_bps, receive_bps=receive_bps)

    def admit(self) -> None:
        """Reserves what the phone offers, as far as the policy allows it. Raises InsufficientBandwidth."""
        if self.booking is not None:
            self._admitted = self._narrowed(self._offered, self.peer_limits)

    def _narrowed(
        self, codecs: Codecs, limits: Mapping[MediaKind, int], others: Mapping[MediaKind, int] | None = None
    ) -> Codecs:
        if self.booking is None or not codecs:
            return codecs
        allowed = self.booking.narrow({kind: codecs[kind] for kind in codecs}, limits, others)
        return {kind: allowed[kind] for kind in KINDS if kind in allowed}

    def _bandwidth_lines(self, kind: Kind) -> tuple[Bandwidth, ...]:
        cap = self.booking.cap(kind) if self.booking is not None else None
        return bandwidth_lines(kind, cap, self.booking.packets) if self.booking is not None and cap else ()

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
        allowed = self._policy.limited(wanted)
        if not allowed:
            raise NegotiationError("no codec of the caller is allowed towards this phone", warning_code=305)
        self._sought = allowed = self._narrowed(allowed, {}, others)
        body = await self._sip_media.offer(allowed, srtp=srtp)
        self._outcome = asyncio.get_running_loop().create_future()
        session = await session_maker(body)
        self._session = session
        self._tasks.spawn(self._read_events(session), name="events")
        await self._outcome

    def holds(self, session: InviteSession) -> bool:
        """Whether this is the leg of a session."""
        return self._session is session

    @property
    def peer_identity(self) -> NameAddr | None:
        """The phone's own From or To, without its tag; None before there is a call."""
        party = self._session.remote_party if self._session is not None else None
        return NameAddr(party.uri, party.display_name) if party is not None else None

    def answer_transfer(self, code: int) -> None:
        """Answers the transfer that the phone asked for: 202 takes it, and what comes then is how it is doing."""
        session = self._session
        if session is None or self.ended:
            return
        try:
            if code == 202:
                self._transferring = True
                session.accept_referral()
            elif self._transferring:
                self._transferring = code < 200
                session.notify_referral(code)
            else:
                session.reject_referral(code)
        except LocalProtocolError as error:
            self.log.debug("transfer_answered_too_late", error=str(error))

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs `work` as a task that ends with the leg."""
        self._tasks.spawn(work, name=name)

    async def progress(self, code: int) -> None:
        """Relays that the other side is being alerted."""
        if self._session is not None and self._session.direction == "incoming" and not self._answered:
            self._session.ring(180 if code == 183 else code)

    async def hear_early(self, other: Leg) -> bool:
        """See `Leg`: the phone's offer is answered in a 183 (RFC 3960 §3.1). One without an offer hears nothing yet."""
        session = self._session
        if session is None or session.direction == "outgoing" or self._answered or self._early_answer is not None:
            return bool(self.media)
        if self._offer is None:
            return False
        self._sought = other.codecs
        try:
            body = await self._answer_to(self._offer, other)
            if self.ended or self._answered:
                return False
            session.ring(183, body)
        except MediaServerError as error:  # nothing in common, or the call was taken back meanwhile
            self.log.info("early_media_not_heard", error=str(error))
            self._sip_media.drop()
            return False
        self._early_answer = body
        self._sip_media.commit()
        self.set_media(self._sip_media.media)
        return True

    async def _answer_to(self, offer: SessionDescription, other: Leg) -> bytes:
        wanted = self._policy.limited(other.codecs)
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
        if session.direction == "outgoing" or self._answered:
            await self._ask_for(other, session)
            return
        if self._early_answer is not None:
            # RFC 6337 §2.2: the 200 says what the 183 said; what it lacks is asked for when the call stands.
            session.answer(self._early_answer)
            self._mark_answered()
            self._sip_media.expect()
            await self._ask_for(other, session)
            return
        if self._admitted is not None:
            self.settle_with(other)  # so that our answer names the rate that the other side takes
        if self._offer is None:
            wanted = self._policy.limited(other.codecs)
            wanted = wanted if self._admitted is None else within(wanted, self._admitted)
            body = await self._sip_media.offer(wanted, srtp=self._policy.srtp == "require")
        else:
            body = await self._answer_to(self._offer, other)
        if self.ended:
            return
        session.answer(body)
        self._mark_answered()
        if self._offer is not None:
            self._sip_media.commit()
        self.set_media(self._sip_media.media)

    async def _ask_for(self, other: Leg, session: InviteSession) -> None:
        spoken = {kind: media.send for kind, media in self._sip_media.agreed.items()}
        if wanted := lacking(spoken, self.capable, other.codecs):
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
        if self._outcome is not None and not self._outcome.done():
            self._outcome.cancel()
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
            case sip_events.Rejected(code=code, reason=reason, headers=headers, warning=warning):
                redirect = redirect_targets(headers) if 300 <= code < 400 else ()
                self._fail(DialFailed(code, reason, warning=warning, redirect=redirect))
                await self.end(EndCause(self.party, "rejected", code, reason))
            case sip_events.Reoffered(branch=branch) if not self._answered and branch not in ("", self._early.branch):
                # One line of ours, and another branch has it; the RFC 3311 §5.2 wait is long enough for an answer.
                session.reject_reoffer(500, (("Retry-After", "10"),))
            case sip_events.Reoffered(body=body):
                await self._negotiation.on_reoffered(session, body)
            case sip_events.ReofferAnswered(body=body):
                await self._negotiation.on_reoffer_answered(session, body)
            case sip_events.ReofferRejected(code=code):
                await self._negotiation.on_reoffer_rejected(session, code)
            case sip_events.RefreshDue():
                await self._negotiation.refresh(session)
            case sip_events.Referred(target=target, replaces=replaces, referred_by=referred_by):
                self.emit(TransferAsked(target, replaces, referred_by))
            case sip_events.Info(content_type=content_type, body=body):
                self._on_info(content_type, body)
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

    def _charge(self) -> None:
        """What was agreed has changed, and so may its need."""
        self.settle({kind: media.send for kind, media in self._sip_media.agreed.items()})

    def _on_rate(self, kind: MediaKind, bps: int | None) -> None:
        """A line has more or less room than before; whoever sends the picture hears of it through the call."""
        self._bound_picture()
        self.emit(RateChanged(kind, bps))

    def _on_picture(self, reason: str) -> None:
        self.picture_withheld = self.picture_withheld or reason
        self.emit(PictureWithheld(reason))

    def _on_agreed(self) -> None:
        """An offer and its answer later in the call are in force."""
        if not self.ended:
            if self._answered:
                self._charge()
            self.set_media(self._sip_media.media)

    def _admit_again(self, codecs: Codecs, offer: SessionDescription | None) -> Codecs:
        """What of later `codecs` has room; nothing is asked of admission control while no kind is new."""
        booking = self.booking
        if booking is None:
            return codecs
        offered = {kind for kind in codecs if offer is None or first_of_kind(offer, kind) is not None}
        if not offered - booking.decision.verdicts.keys() and not offered & booking.decision.denied.keys():
            return codecs
        limits = peer_limits(offer, booking.packets) if offer is not None else self.peer_limits
        return self._narrowed({kind: codecs[kind] for kind in codecs if kind in offered}, limits)

    def _on_info(self, content_type: str, body: bytes) -> None:
        if content_type.partition(";")[0].strip().lower() == _MEDIA_CONTROL and b"picture_fast_update" in body:
            down = self.media["video"].down if "video" in self.media else None
            if down is not None and down.source is not None:
                down.source.request_keyframe()

    def _mark_answered(self) -> None:
        self._answered = True
        self.answered_at = datetime.now(UTC)

    def _fail(self, error: Exception) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(error)

    # -- what the engine says ------------------------------------------------------------------------------------

    def _on_engine_event(self, kind: Kind, event: engine_events.AnyEvent) -> None:
        self.keep_counters(event)
        match event:
            case engine_events.TransportConnected():
                self.emit(Connected())
            case engine_events.DtmfReceived(digit=digit, duration_ms=duration_ms):
                self.emit(Dtmf(digit, duration_ms))
            case engine_events.KeyframeNeeded():
                if self._session is not None and self._answered and not self.ended:
                    self._session.send_info(_MEDIA_CONTROL, _PICTURE_FAST_UPDATE)
            case engine_events.DownTrackLayerChanged():
                self._picture_fit.on_layer(event)
            case engine_events.MediaTimeout(silent_ms=silent_ms):
                self._on_silence(kind, silent_ms)
            case engine_events.TransportClosed(reason=reason) if reason != "commanded" and not self.ended:
                self._tasks.spawn(self.end(EndCause("system", reason)), name="transport-closed")
            case _:
                pass

    def _on_silence(self, kind: Kind, silent_ms: int) -> None:
        agreed = self._sip_media.agreed.get(kind)
        # A phone that holds us need not play music, a camera may be off; a voice that stops is a lost phone.
        # Nobody has to send before the call is answered.
        talking = agreed is not None and agreed.direction is Direction.SENDRECV and self._answered
        if kind == "audio" and talking and not self.ended:
            self.log.info("media_timeout", silent_ms=silent_ms)
            self._tasks.spawn(self.end(EndCause("system", "media_timeout")), name="media-timeout")
