"""The media of a SIP leg whose peer is a browser (RFC 7118): ICE, DTLS and one transport for everything (RFC 8835)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mediaserver.call.leg import KINDS, Codecs, LegMedia
from mediaserver.call.webrtc_peer import WebRtcPeer
from mediaserver.config.bandwidth import MediaKind
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, TransportClosed
from mediaserver.errors import NegotiationError
from mediaserver.sdp.bandwidth import Packets
from mediaserver.sdp.codecs import TELEPHONE_EVENT, is_media, matches
from mediaserver.sdp.description import Bandwidth, Codec, Direction, Fingerprint, MediaDescription, SessionDescription
from mediaserver.sdp.offer_answer import NegotiatedMedia
from mediaserver.sdp.parser import parse
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds
from mediaserver.sip.flow import WEBSOCKET
from mediaserver.webrtc.section import MediaPolicy, Section

_SOUND_BPS: Final = 128_000
"""What sound takes beside a bounded picture, at the most."""


@dataclass(frozen=True, slots=True)
class SipWebRtcSettings:
    """What the browser is shown, and codec names in order of preference."""

    fingerprint: Fingerprint
    audio_codecs: tuple[str, ...]
    video_codecs: tuple[str, ...]


class SipWebRtc:
    """Implements `SessionMedia` over one peer connection. `on_event` gets the engine's events.

    A browser keeps every codec it was answered with; what the other side does not take stands behind, and is not
    counted as agreed.
    """

    def __init__(
        self, *, engine: Engine, settings: SipWebRtcSettings, cname: str, on_event: Callable[[Kind, AnyEvent], None]
    ) -> None:
        self._policy = MediaPolicy(audio=settings.audio_codecs, video=settings.video_codecs, simulcast=0)
        self._on_event = on_event
        self.bandwidth: Callable[[Kind], tuple[Bandwidth, ...]] = _no_lines
        self.takes_text = self.offers_text = False
        self.direction = Direction.SENDRECV
        """What the house wants of every section, seen from us."""
        self.on_moved: Callable[[], None] | None = None
        """Never told: a browser finds another way by itself, or by an ICE restart."""
        self._peer = WebRtcPeer(
            engine=engine,
            fingerprint=settings.fingerprint,
            policy=self._policy,
            cname=cname,
            closed_gates={},
            on_event=self._on_engine_event,
            on_unreachable=self._on_unreachable,
        )
        self._wanted: Codecs = {}
        self._proposed: Codecs = {}
        self._offered: SessionDescription | None = None
        self._remote: SessionDescription | None = None

    # -- what holds ------------------------------------------------------------------------------------------------

    @property
    def media(self) -> dict[Kind, LegMedia]:
        """The tracks by kind."""
        agreed = self.agreed
        return {kind: tracks for kind, tracks in self._peer.media.items() if kind in agreed}

    @property
    def transports(self) -> tuple[int, ...]:
        """The one transport, once there is one."""
        return self._peer.transports

    @property
    def agreed(self) -> dict[Kind, NegotiatedMedia]:
        """What the last offer and answer agreed on, as far as it was wanted, by kind."""
        if self._remote is None:
            return {}
        found = {kind: self._agreed(kind) for kind in KINDS}
        return {kind: media for kind, media in found.items() if media is not None}

    @property
    def remote(self) -> SessionDescription | None:
        """The browser's description that is in force."""
        return self._remote

    @property
    def secure(self) -> bool:
        """True: there is no other way (RFC 8827 §6.5)."""
        return True

    @property
    def picture_bounds(self) -> PictureBounds:
        """None: a browser's decoder takes what comes."""
        return UNBOUNDED

    def codecs_of(self, description: SessionDescription) -> Codecs:
        """The codecs of the sections that a call would use."""
        sections = {kind: _section_of(description, kind) for kind in KINDS}
        return {kind: section.codecs for kind, section in sections.items() if section is not None}

    def peer_limits(self, packets: Packets) -> dict[MediaKind, int]:
        """None: a browser says by its feedback what its line carries."""
        return {}

    @property
    def has_picture(self) -> bool:
        """True: the bounds of a picture are those of the transport, which sound shares."""
        return True

    def aim(self, bounds: PictureBounds) -> None:
        """Nothing: the rate is all that can be bound, and `limit_picture` does."""

    def limit_picture(self, *, send_bps: int | None, receive_bps: int | None) -> None:
        """Bounds picture and sound together; they share the transport."""
        send, receive = (None if bps is None else bps + _SOUND_BPS for bps in (send_bps, receive_bps))
        self._peer.limit(send_bps=send, receive_bps=receive)

    # -- offers ----------------------------------------------------------------------------------------------------

    async def offer(self, wanted: Codecs, *, srtp: bool) -> bytes:
        """Our offer, the first or a later one, with all that the policy has and `wanted` before the rest.

        A kind that is not wanted is left out at first, and idle later. Raises LimitExceeded, NegotiationError.
        """
        self.drop()
        await self._peer.open()
        lines = self._lines()
        new = [kind for kind in KINDS if wanted.get(kind) and self._peer.section(kind) is None]
        prefer: dict[str, tuple[Codec, ...]] = {
            kind: wanted[kind] for kind in KINDS if wanted.get(kind) and kind not in new
        }
        directions = {
            section.mid: self.direction if wanted.get(kind) else Direction.INACTIVE
            for kind in KINDS
            if (section := self._peer.section(kind)) is not None
        }
        self._proposed = wanted
        # What has no section yet cannot be put in order there: the policy names it in the order of `wanted`.
        ordered = {kind: self._names(kind, wanted.get(kind, ())) for kind in KINDS}
        self._peer.use(replace(lines, audio=ordered["audio"], video=ordered["video"]))
        try:
            text = self._peer.make_offer(prefer=prefer, directions=directions, add=new)
        finally:
            self._peer.use(lines)
        return text.encode()

    def repeat(self) -> bytes:
        """What holds, as an offer that changes nothing."""
        self.drop()
        self._proposed = self._wanted
        return self._peer.make_offer().encode()

    def turn(self) -> bytes:
        """What holds, as an offer with `direction` for every section in use."""
        self.drop()
        self._proposed = self._wanted
        sections = [section for kind in self._wanted if (section := self._peer.section(kind)) is not None]
        return self._peer.make_offer(directions={section.mid: self.direction for section in sections}).encode()

    def accept_answer(self, body: bytes, *, final: bool = True) -> None:
        """Takes the answer to our offer. Raises SdpError and NegotiationError."""
        remote = parse(body.decode("utf-8", "replace"))
        self._peer.accept_answer(remote, final=final)
        self._wanted, self._remote = self._proposed, remote

    def expect(self) -> None:
        """Nothing: consent (RFC 7675) says whether the browser is there."""

    # -- answers ---------------------------------------------------------------------------------------------------

    async def answer(
        self, offer: SessionDescription, wanted: Codecs, *, srtp_required: bool, srtp_allowed: bool
    ) -> bytes:
        """Our answer, `wanted` before the rest; a kind of which nothing is wanted is refused. Raises NegotiationError."""
        self.drop()
        taken = {kind: codecs for kind in KINDS if (codecs := self._common(offer, kind, wanted.get(kind, ())))}
        if not taken:
            raise NegotiationError("the browser has no codec that the other side takes", warning_code=305)
        policy = self._lines()
        self._peer.use(
            replace(
                policy,
                audio=policy.audio if "audio" in taken else (),
                video=policy.video if "video" in taken else (),
            )
        )
        try:
            text = await self._peer.propose_answer(
                offer, prefer={kind: self._best_first(kind, codecs) for kind, codecs in taken.items()}
            )
        finally:
            self._peer.use(policy)
        self._proposed, self._offered = taken, offer
        return text.encode()

    def commit(self) -> None:
        """The answer that was proposed last is on its way: it is in force."""
        if self._offered is None:
            raise NegotiationError("there is no answer to put into force")
        self._peer.commit()
        self._wanted, self._remote, self._offered = self._proposed, self._offered, None

    def drop(self) -> None:
        """Forgets what was proposed."""
        self._offered = None
        self._peer.roll_back()

    @property
    def text_line(self) -> None:
        """None: SIP clients in browsers have no `m=text`."""
        return

    def close(self) -> None:
        """Closes the transport and forgets the listener. Calling it again does nothing."""
        self._peer.close()
        self.bandwidth = _no_lines
        self.on_moved = None
        self._on_event = _nobody  # the leg holds its media: two that hold each other wait for the collector

    # -- inside ----------------------------------------------------------------------------------------------------

    def _lines(self) -> MediaPolicy:
        """The policy with the `b=` lines of now."""
        lines = {kind: self.bandwidth(kind) for kind in KINDS}
        return replace(self._policy, bandwidth={kind: found for kind, found in lines.items() if found})

    def _names(self, kind: Kind, wanted: Sequence[Codec]) -> tuple[str, ...]:
        keys = [codec.key for codec in wanted]
        return tuple(
            sorted(self._policy.codecs(kind), key=lambda n: keys.index(n.lower()) if n.lower() in keys else len(keys))
        )

    def _common(self, offer: SessionDescription, kind: Kind, wanted: Sequence[Codec]) -> tuple[Codec, ...]:
        offered = self.codecs_of(offer).get(kind, ())
        return tuple(codec for codec in wanted if any(matches(codec, each) for each in offered))

    def _best_first(self, kind: Kind, wanted: Sequence[Codec]) -> tuple[Codec, ...]:
        """`wanted`, what is spoken now before the rest."""
        agreed = self.agreed.get(kind)
        spoken = agreed.send[:1] if agreed is not None else ()
        return tuple(sorted(wanted, key=lambda codec: not any(matches(codec, each) for each in spoken)))

    def _agreed(self, kind: Kind) -> NegotiatedMedia | None:
        section, wanted = self._peer.section(kind), self._wanted.get(kind, ())
        if section is None:
            return None
        send, receive = (_those(codecs, wanted) for codecs in (section.send, section.receive))
        if not send or not receive:
            return None
        return _negotiated(section, send, receive)

    def _on_engine_event(self, kind: Kind | None, event: AnyEvent) -> None:
        self._on_event(kind or "audio", event)

    def _on_unreachable(self) -> None:
        for transport in self._peer.transports:
            self._on_event("audio", TransportClosed(id=transport, reason="failed"))


def is_webrtc(body: bytes | None, transport: str) -> bool:
    """Whether a call that comes in by this transport, with this offer or none, has the media of a browser."""
    if body is None:
        return transport in WEBSOCKET
    ice = b"a=ice-ufrag:" in body and b"a=fingerprint:" in body
    return ice and b"/TLS/RTP/SAVP" in body and (transport in WEBSOCKET or b"a=group:BUNDLE" in body)


def _section_of(description: SessionDescription, kind: Kind) -> MediaDescription | None:
    return next((media for _, media in description.of_kind(kind) if media.is_rtp and not media.rejected), None)


def _those(codecs: Sequence[Codec], wanted: Sequence[Codec]) -> tuple[Codec, ...]:
    return tuple(codec for codec in codecs if is_media(codec) and any(matches(codec, each) for each in wanted))


def _negotiated(section: Section, send: tuple[Codec, ...], receive: tuple[Codec, ...]) -> NegotiatedMedia:
    events = [codec for codec in section.send if codec.key == TELEPHONE_EVENT]
    return NegotiatedMedia(
        index=section.index,
        kind=section.kind,
        send=send,
        receive=receive,
        dtmf_send=events[0] if events else None,
        dtmf_receive=tuple(codec for codec in section.receive if codec.key == TELEPHONE_EVENT),
        direction=section.direction,
        remote_rtp=None,
        remote_rtcp=None,
        rtcp_mux=True,
        local_crypto=None,
        remote_crypto=None,
        dtls=None,
        ptime=None,
    )


def _no_lines(kind: Kind) -> tuple[Bandwidth, ...]:
    """Bounds nothing."""
    return ()


def _nobody(kind: Kind, event: AnyEvent) -> None:
    """Hears what comes after `close`."""
