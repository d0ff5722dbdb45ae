"""A leg that is a browser page: a peer connection negotiated over its WebSocket session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import ClassVar, Final, Literal

from mediaserver.call.browser_bandwidth import admitted_policy, rate_lines
from mediaserver.call.events import Connected, Dtmf, EndCause, Party, RateChanged
from mediaserver.call.leg import KINDS, Codecs, Leg
from mediaserver.call.quality import LegQuality
from mediaserver.call.quality_message import quality_message
from mediaserver.call.signaling import Signaling
from mediaserver.call.webrtc_peer import WebRtcPeer
from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.up_track import Gate
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.errors import InsufficientBandwidth, RemoteProtocolError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sdp.codecs import Bridge, bridgeable, is_media, matches
from mediaserver.sdp.description import Codec, Fingerprint
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds
from mediaserver.webrtc import messages
from mediaserver.webrtc.section import GlareError, MediaPolicy

_STOP_DEADLINE_S: Final = 1.0
_ANSWER_TIMEOUT_S: Final = 10.0
_RATES_SETTLE_S: Final = 1.0
"""How long a change of rates waits for others before the browser is told."""
# A page that hangs up says so over the WebSocket and closes its connection in the same moment: the two race.
_CLOSED_WITHOUT_A_WORD_S: Final = 1.0


class WebRtcLeg(Leg):
    """One browser. What it says about its media goes through `handle`; `party` is its role, for the record."""

    kind: ClassVar[Literal["browser", "sip", "room"]] = "browser"

    def __init__(
        self,
        *,
        leg_id: str,
        contact_id: str,
        name: str,
        party: Party,
        engine: Engine,
        fingerprint: Fingerprint,
        policy: MediaPolicy,
        signaling: Signaling,
        closed_gates: Mapping[Kind, Sequence[Gate]],
        may_send_video: bool,
    ) -> None:
        super().__init__(leg_id=leg_id, contact_id=contact_id, name=name, engine=engine)
        self.party = party
        self.connected = False
        self.on_joined: Callable[[], None] | None = None
        """Called each time that somebody is on the other side."""
        self._may_send_video = may_send_video
        self._places_wanted = 0
        sections = {**policy.sections, "audio": policy.sections.get("audio", 0) + signaling.voices}
        self._policy = policy = replace(policy, sections=sections)
        self._signaling = signaling
        self._peer = WebRtcPeer(
            engine=engine,
            fingerprint=fingerprint,
            policy=policy,
            cname=leg_id[:16],
            closed_gates=closed_gates,
            on_event=self._on_engine_event,
            on_unreachable=self._on_unreachable,
        )
        self._tasks = TaskGroupOwner(f"browser-leg-{leg_id}")
        self._next_offer = 1
        self._awaited_answer: int | None = None
        self._rate_changed = False
        self._picture_bounds = UNBOUNDED
        self._answered = asyncio.Event()

    # -- what the page says --------------------------------------------------------------------------------------

    async def handle(self, message: messages.ClientMessage) -> None:
        """Takes offer, answer, candidate, mute and dtmf. Raises RemoteProtocolError, SdpError, NegotiationError."""
        match message:
            case messages.Offer(id=number, sdp=sdp):
                await self._on_offer(number, sdp)
            case messages.Answer(id=number, sdp=sdp):
                self._on_answer(number, sdp)
            case messages.Mute(audio=audio, video=video):
                self._set_gate("audio", "mute", is_open=not audio)
                self._set_gate("video", "mute", is_open=not video)
            case messages.Dtmf(digits=digits):
                for digit in digits.replace(",", ""):
                    self.emit(Dtmf(digit.upper(), 100))
            case messages.Candidate():
                pass  # RFC 8445 §2.7: a lite agent sends no checks, so it has no use for the browser's candidates
            case _:
                raise RemoteProtocolError(f"{message.type} does not belong to a call's media", status=400)

    async def _on_offer(self, number: int, sdp: str) -> None:
        if self._awaited_answer is not None:
            raise GlareError("our own offer is under way: roll yours back, answer ours, then offer again", status=491)
        if self.booking is not None and self.booking.matters:
            try:
                self._peer.use(admitted_policy(self.booking, self._policy, sdp))
            except InsufficientBandwidth as error:
                await self.end(EndCause("system", "insufficient_bandwidth", 488, str(error)))
                return
        if self.booking is not None:
            self.booking.on_change = self._on_rate
        answer = await self._peer.accept_offer(sdp)
        await self._signaling.send(messages.Answer(id=number, sdp=answer))
        self._take_media()

    def _on_answer(self, number: int, sdp: str) -> None:
        if number != self._awaited_answer:
            raise RemoteProtocolError(f"answer {number} belongs to no offer of ours that is open", status=400)
        self._awaited_answer = None
        try:
            self._peer.accept_answer(sdp)
        finally:
            self._answered.set()
        self._take_media()

    def _take_media(self) -> None:
        self.data = self._peer.data
        self.places = self._peer.places("audio")
        self._limit()
        self.set_media(self._peer.media)

    def _limit(self) -> None:
        """The engine keeps to what the lines have room for, and asks the browser to."""
        if self.booking is not None:
            most = self.booking.total(dict(self.codecs.items()))
            self._peer.limit(send_bps=most, receive_bps=most)

    # -- what the call asks --------------------------------------------------------------------------------------

    @property
    def codecs(self) -> Codecs:
        """Every media codec that browser and policy have in common, best first."""
        sections = {kind: self._peer.section(kind) for kind in KINDS}
        return {
            kind: tuple(codec for codec in section.capable if is_media(codec))
            for kind, section in sections.items()
            if section is not None and section.capable
        }

    @property
    def transports(self) -> tuple[int, ...]:
        """The WebRTC transport, once there is one."""
        return self._peer.transports

    async def progress(self, code: int) -> None:
        """Shows the page that the other side is being alerted."""
        await self._signaling.send(messages.State(state="ringing"))

    async def meet(self, other: Leg) -> None:
        """Puts the other leg's codecs first, by one offer to the browser where its present choice does not fit."""
        bridge = bridgeable(_by_name(self.codecs), _by_name(self.understood(other)))
        for kind, reason in bridge.refused.items():
            self.log.info("kind_not_bridged", media=kind, reason=reason)
        if self._takes_less(other) or self._unfit(bridge):
            self._tasks.spawn(self._narrow(bridge), name="narrow")

    async def joined(self, other: Leg) -> None:
        """Shows the page whom it talks to, and whether a camera would be seen."""
        if self.on_joined is not None:
            self.on_joined()
        seen = self._companion or other
        may_send = self._may_send_video and "video" in seen.media
        lacking = not may_send and (self.lacks_bandwidth("video") or other.lacks_bandwidth("video"))
        await self._show_connected(
            other.shown_name, messages.VideoPermission(may_send=may_send, reason="bandwidth" if lacking else "")
        )

    async def see(self, other: Leg, companion: Leg | None) -> None:
        """See `Leg`: a page that has no section for pictures yet adds one, when it hears of them."""
        await super().see(other, companion)
        if self.ended:
            return
        self.settle_with(other)
        await self.joined(other)

    def make_places(self, count: int) -> None:
        """By an offer with sections for them. A page on a line that is counted has one mix: that is one voice's rate."""
        wanted = min(count, self._signaling.voices)
        if self.ended or wanted <= self._places_wanted or (self.booking is not None and self.booking.matters):
            return
        more, self._places_wanted = wanted - self._places_wanted, wanted
        self._tasks.spawn(self._add_places(more), name="places")

    def limit_picture(self, bounds: PictureBounds) -> None:
        """Tells the page by a message; it scales its picture down."""
        if bounds != self._picture_bounds and self._may_send_video and not self.ended:
            self._picture_bounds = bounds
            self._tasks.spawn(self._signaling.send(messages.Picture(**asdict(bounds))), name="picture")

    async def show_withheld(self, reason: str) -> None:
        """See `Leg`."""
        if not self.ended and self._other is not None:
            video = messages.VideoPermission(may_send=not reason, reason="size" if reason else "")
            await self._show_connected(self._other.shown_name, video)

    async def show_party(self, other: Leg) -> None:
        """See `Leg`."""
        if not self.ended:
            await self._show_connected(other.shown_name, None)

    async def show_text(self, *, on: bool) -> None:
        """See `Leg`."""
        if not self.ended:
            await self._signaling.send(messages.Text(on=on))

    async def show_quality(self, quality: LegQuality) -> None:
        """See `Leg`."""
        if self.ended:
            return
        await self._signaling.send(quality_message(quality))

    async def show_supervision(self, by: str, mode: Literal["", "listen", "whisper", "barge"]) -> None:
        """See `Leg`."""
        if not self.ended:
            await self._signaling.send(messages.Supervised(by=by, mode=mode))

    async def _show_connected(self, name: str, video: messages.VideoPermission | None) -> None:
        await self._signaling.send(messages.State(state="connected", peer=messages.Peer(name=name), video=video))

    async def refuse(self, cause: EndCause, *, warning: str | None = None) -> None:
        """Ends the leg; the page shows the reason."""
        await self.end(cause)

    def open_gate(self, kind: Kind, gate: Gate) -> None:
        """Lets media of `kind` through one of its gates."""
        self._set_gate(kind, gate, is_open=True)

    def close_gate(self, kind: Kind, gate: Gate) -> None:
        """Drops and counts media of `kind` at one of its gates."""
        self._set_gate(kind, gate, is_open=False)

    async def _release(self, cause: EndCause) -> None:
        self._peer.close()
        await self._signaling.send(messages.Ended(by=cause.by, reason=cause.reason, code=cause.code))
        await self._tasks.stop(_STOP_DEADLINE_S)

    # -- inside --------------------------------------------------------------------------------------------------

    def _takes_less(self, other: Leg) -> bool:
        """Settles with the other leg; whether its picture is bound to less than the browser was told."""
        if self.booking is None:
            return False
        told = self._peer.policy.bandwidth
        self.settle_with(other)
        self._limit()
        now = rate_lines(self.booking)
        self._peer.use(replace(self._peer.policy, bandwidth=now))
        return (
            "video" in now
            and "video" in other.codecs
            and ("video" not in told or now["video"][0].value < told["video"][0].value)
        )

    def _unfit(self, bridge: Bridge) -> dict[str, tuple[Codec, ...]]:
        """The codecs to put first, for kinds of which the browser sends what the other leg does not take."""
        return {
            kind: tuple(pair.browser for pair in pairs)
            for kind, pairs in bridge.codecs.items()
            if not self._sends_one_of(kind, [pair.phone for pair in pairs])
        }

    async def _narrow(self, bridge: Bridge) -> None:
        await self._may_offer()
        await self._reoffer(self._unfit(bridge))

    async def _add_places(self, more: int) -> None:
        await self._may_offer()
        if not self.ended:
            await self._reoffer({}, places=more)

    async def _may_offer(self) -> None:
        """An offer that is under way is waited for."""
        while self._awaited_answer is not None:
            await self._answered.wait()

    def _sends_one_of(self, kind: str, wanted: Sequence[Codec]) -> bool:
        """Whether what the browser sends by our present description is something the other leg takes."""
        section = next((s for s in self._peer.sections if s.kind == kind and not s.rejected), None)
        first = next((codec for codec in section.receive if is_media(codec)), None) if section else None
        return first is not None and any(matches(first, codec) for codec in wanted)

    def _on_rate(self, kind: MediaKind, bps: int | None) -> None:
        """A line has more or less room than before: the browser is told by the `b=` lines of one more offer."""
        self._limit()
        self.emit(RateChanged(kind, bps))
        if not self._rate_changed:
            self._rate_changed = True
            self._tasks.spawn(self._tell_rates(), name="rates")

    async def _tell_rates(self) -> None:
        # Whatever changes meanwhile goes into the same offer.
        await asyncio.sleep(_RATES_SETTLE_S)
        await self._may_offer()
        self._rate_changed = False
        if self.booking is not None and self._peer.sections and not self.ended:
            self._peer.use(replace(self._peer.policy, bandwidth=rate_lines(self.booking)))
            await self._reoffer({})

    async def _reoffer(self, prefer: Mapping[str, tuple[Codec, ...]], *, places: int = 0) -> None:
        offer = self._peer.make_offer(prefer=prefer, add_sending=("audio",) * places)
        number, self._next_offer = self._next_offer, self._next_offer + 1
        self._awaited_answer = number
        self._answered.clear()
        await self._signaling.send(messages.Offer(id=number, sdp=offer))
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await self._answered.wait()
        except TimeoutError:
            self._awaited_answer = None
            self._answered.set()
            self._peer.roll_back()
            self._places_wanted -= places
            self.log.warning("offer_unanswered", offer=number, after_s=_ANSWER_TIMEOUT_S)

    def _set_gate(self, kind: Kind, gate: Gate, *, is_open: bool) -> None:
        tracks = self._peer.media.get(kind)
        if tracks is not None and tracks.up is not None:
            tracks.up.set_gate(gate, is_open=is_open)

    def _on_engine_event(self, kind: Kind | None, event: engine_events.AnyEvent) -> None:
        self.keep_counters(event)
        match event:
            case engine_events.TransportConnected():
                self.connected = True
                self.emit(Connected())
            case engine_events.DtmfReceived(digit=digit, duration_ms=duration_ms):
                self.emit(Dtmf(digit, duration_ms))
            case engine_events.EdgeLeft() if not self.ended:
                self._tasks.spawn(self._signaling.send(messages.RestartIce()), name="restart-ice")
            case engine_events.TransportClosed(reason=reason) if reason != "commanded" and not self.ended:
                self._tasks.spawn(self._on_closed(reason), name="transport-closed")
            case _:
                pass

    def _on_unreachable(self) -> None:
        if not self.ended:
            self._tasks.spawn(self.end(EndCause("system", "never_connected")), name="never-connected")

    async def _on_closed(self, reason: str) -> None:
        """A page that closed its connection without a hangup left; one whose checks stopped is lost (RFC 7675)."""
        if reason != "peer_closed":
            await self.end(EndCause("system", reason))
            return
        await asyncio.sleep(_CLOSED_WITHOUT_A_WORD_S)
        await self.end(EndCause(self.party, "left"))


def _by_name(codecs: Codecs) -> dict[str, Sequence[Codec]]:
    return {str(kind): listed for kind, listed in codecs.items()}
