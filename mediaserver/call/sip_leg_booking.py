"""What a SIP leg may speak and send: its phone's offer and limits, its policy, and what admission control leaves of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime

from mediaserver.call.events import RateChanged
from mediaserver.call.leg import KINDS, Codecs, Leg, LegMedia
from mediaserver.call.session_media import SessionMedia
from mediaserver.call.sip_lines import peer_limits
from mediaserver.call.sip_media import SipMedia, SipMediaSettings
from mediaserver.call.sip_policy import EVERYTHING, SipPolicy
from mediaserver.call.sip_webrtc import SipWebRtc, SipWebRtcSettings
from mediaserver.config.bandwidth import MediaKind
from mediaserver.engine import events as engine_events
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.sdp.bandwidth import PLAIN, above_udp, bandwidth_lines, to_tias
from mediaserver.sdp.description import Bandwidth, SessionDescription
from mediaserver.sdp.offer_answer import first_of_kind
from mediaserver.sdp.picture import PictureBounds


class BookedSipLeg(Leg):
    """The part of a SIP leg that knows codecs and rates; `SipLeg` speaks to the phone."""

    def __init__(
        self,
        *,
        leg_id: str,
        contact_id: str,
        name: str,
        engine: Engine,
        settings: SipMediaSettings | SipWebRtcSettings,
        policy: SipPolicy,
    ) -> None:
        super().__init__(leg_id=leg_id, contact_id=contact_id, name=name, engine=engine)
        self._policy = policy
        self._sip_media: SessionMedia = (
            SipMedia(engine=engine, settings=settings, cname=leg_id[:16], on_event=self._on_engine_event)
            if isinstance(settings, SipMediaSettings)
            else SipWebRtc(engine=engine, settings=settings, cname=leg_id[:16], on_event=self._on_engine_event)
        )
        self._sip_media.bandwidth = self._bandwidth_lines
        self._admitted: Codecs | None = None
        self._offer: SessionDescription | None = None
        self._late_offer = False
        self._answered = False
        self._early_answer: bytes | None = None
        """What we have answered an incoming call with, or offered to one without an offer, before anybody took it."""

    @abstractmethod
    def _on_engine_event(self, kind: Kind, event: engine_events.AnyEvent) -> None:
        """Something happened to a transport or track of the leg."""

    def _mark_answered(self) -> None:
        self._answered = True
        self.answered_at = datetime.now(UTC)

    @property
    def codecs(self) -> Codecs:
        """Agreed codecs once negotiated; before that, what the phone's offer holds and the policy allows.

        What was agreed for somebody who is only heard early says nothing of what others may be offered.
        """
        agreed = self._sip_media.agreed
        if agreed and (self._answered or self._early_answer is None):
            return {kind: media.send for kind, media in agreed.items()}
        return self._offered if self._admitted is None else self._admitted

    @property
    def _offered(self) -> Codecs:
        if self._offer is None:
            return self._policy.limited(EVERYTHING) if self._late_offer else {}
        return self._policy.limited(self._sip_media.codecs_of(self._offer))

    @property
    def capable(self) -> Codecs:
        """What the phone's last description has, as far as the policy allows it."""
        remote = self._sip_media.remote
        return self.codecs if remote is None else self._policy.limited(self._sip_media.codecs_of(remote))

    @property
    def text_line(self) -> int | None:
        """See `Leg`."""
        return self._sip_media.text_line

    @property
    def reads_text(self) -> bool:
        """See `Leg`."""
        offer = self._offer
        return self.text_line is not None or (offer is not None and first_of_kind(offer, "text") is not None)

    def allow_text(self, other: Leg) -> None:
        """`other` is on the other side from now on: what it can read the phone may type. To a phone we pass on what

        another one offers; that a page could read is said to those only whose policy wants it.
        """
        self._sip_media.takes_text = other.reads_text
        self._sip_media.offers_text = other.reads_text and (other.kind == "sip" or self._policy.offers_text)

    @property
    def transports(self) -> tuple[int, ...]:
        """RTP transports of audio and video."""
        return self._sip_media.transports

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
        self.allow_text(other)
        self._bound_picture()

    def set_media(self, media: dict[Kind, LegMedia]) -> None:
        """See `Leg`; also bounds the picture towards the phone."""
        if self.booking is not None:
            self.booking.on_change = self._on_rate
        self._bound_picture()
        super().set_media(media)

    def _bound_picture(self) -> None:
        if not self._sip_media.has_picture:
            return
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

    def _charge(self) -> None:
        """What was agreed has changed, and so may its need."""
        self.settle({kind: media.send for kind, media in self._sip_media.agreed.items()})

    def _on_rate(self, kind: MediaKind, bps: int | None) -> None:
        """A line has more or less room than before; whoever sends the picture hears of it through the call."""
        self._bound_picture()
        self.emit(RateChanged(kind, bps))

    def _admit_again(self, codecs: Codecs, offer: SessionDescription | None) -> Codecs:
        """What of later `codecs` has room; nothing is asked of admission control while no kind is new."""
        booking = self.booking
        if booking is None:
            return codecs
        offered = {kind for kind in codecs if offer is None or kind in self._sip_media.codecs_of(offer)}
        if not offered - booking.decision.verdicts.keys() and not offered & booking.decision.denied.keys():
            return codecs
        limits = peer_limits(offer, booking.packets) if offer is not None else self.peer_limits
        return self._narrowed({kind: codecs[kind] for kind in codecs if kind in offered}, limits)
