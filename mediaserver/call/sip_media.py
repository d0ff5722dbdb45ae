"""The media of one SIP leg: its RTP ports, its side of offer and answer, and the tracks that come of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mediaserver.call.booking import USUAL_PICTURE_BPS
from mediaserver.call.leg import KINDS, Codecs, LegMedia
from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.down_track import DownTrack
from mediaserver.core.transport_limits import TransportLimits
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind, SetRtpRemote, SrtpKeys, SrtpSuite
from mediaserver.engine.engine import Engine, LocalRtp
from mediaserver.engine.events import AnyEvent
from mediaserver.errors import NegotiationError
from mediaserver.sdp.bandwidth import Packets, audio_need, from_tias, peer_limit
from mediaserver.sdp.codecs import PayloadTypes, is_media, matches, offerable, own_events
from mediaserver.sdp.description import Bandwidth, Codec, Crypto, Direction, SessionDescription
from mediaserver.sdp.offer_answer import (
    FEEDBACK,
    LocalMedia,
    NegotiatedMedia,
    first_of_kind,
    make_answer,
    make_cryptos,
    make_offer,
    negotiate,
)
from mediaserver.sdp.parser import parse
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds, picture_bounds
from mediaserver.sdp.serializer import serialize

_SUITES: Final[Mapping[str, SrtpSuite]] = {
    "AES_CM_128_HMAC_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
    "AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
}


@dataclass(frozen=True, slots=True)
class SipMediaSettings:
    """Where a SIP leg's ports are opened and how strict they are; durations in milliseconds."""

    bind_ip: str
    announced_ip: str
    latching_ms: int
    timeout_ms: int


@dataclass(slots=True)
class _Line:
    """One m-line that carries media: its port pair for the life of the leg, its keys and its tracks."""

    kind: Kind
    index: int
    rtp: LocalRtp
    crypto: tuple[Crypto, ...]
    agreed: NegotiatedMedia | None = None
    tracks: LegMedia = field(default_factory=LegMedia)


class SipMedia:
    """Opens, negotiates and closes. `on_event` gets the engine's events about the leg's transports and up tracks.

    A re-INVITE of the phone is answered here alone: direction, address and keys change, ports and tracks stay.
    """

    def __init__(
        self, *, engine: Engine, settings: SipMediaSettings, cname: str, on_event: Callable[[Kind, AnyEvent], None]
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._cname = cname
        self._on_event = on_event
        self._lines: dict[int, _Line] = {}
        self._limits = TransportLimits(engine)
        self._unsubscribe: list[Callable[[], None]] = []
        self._local: SessionDescription | None = None
        self._remote: SessionDescription | None = None
        self.bandwidth: Callable[[Kind], tuple[Bandwidth, ...]] = _no_lines
        """Gives the `b=` lines of what we write."""
        self._session_id = secrets.randbits(62)
        self._version = 0

    @property
    def media(self) -> dict[Kind, LegMedia]:
        """The tracks by kind."""
        return {line.kind: line.tracks for line in self._lines.values() if line.agreed}

    @property
    def transports(self) -> tuple[int, ...]:
        """Engine transports of all m-lines."""
        return tuple(line.rtp.id for line in self._lines.values())

    @property
    def agreed(self) -> dict[Kind, NegotiatedMedia]:
        """What the last offer and answer agreed on, by kind."""
        return {line.kind: line.agreed for line in self._lines.values() if line.agreed}

    def peer_limits(self, packets: Packets) -> dict[MediaKind, int]:
        """What the phone takes at most, by the `b=` lines of its last description and by its decoder's level."""
        if self._remote is None:
            return {}
        limits = peer_limits(self._remote, packets)
        decoder = self.picture_bounds.max_bps
        # The rate of a higher level is more than any picture here has; it would only make descriptions longer.
        if decoder is not None and decoder < USUAL_PICTURE_BPS:
            limit = from_tias("video", decoder, packets)
            limits["video"] = min(limit, limits.get("video", limit))
        return limits

    @property
    def picture_bounds(self) -> PictureBounds:
        """The most that the phone's decoder takes, by its last description."""
        line = next((line for line in self._lines.values() if line.kind == "video" and line.agreed), None)
        if line is None or line.agreed is None or self._remote is None:
            return UNBOUNDED
        theirs = line.agreed.send[0]
        ours = next((codec for codec in line.agreed.receive if matches(codec, theirs)), None)
        return picture_bounds(self._remote.media[line.index], theirs, ours)

    def aim(self, bounds: PictureBounds) -> None:
        """Tells the engine what the phone may be given. Its size is a limit, its rate a wish."""
        line = next((line for line in self._lines.values() if line.kind == "video"), None)
        if line is not None and line.tracks.down is not None:
            line.tracks.down.set_target(
                max_width=bounds.max_width,
                max_height=bounds.max_height,
                max_macroblocks=bounds.max_macroblocks,
                max_bitrate_bps=bounds.max_bps,
                strict=True,
            )

    def limit_picture(self, *, send_bps: int | None, receive_bps: int | None) -> None:
        """Bounds the picture both ways, in bits per second above UDP; None is no bound."""
        line = next((line for line in self._lines.values() if line.kind == "video"), None)
        if line is not None and line.agreed is not None:
            self._limits.set(line.rtp.id, send_bps=send_bps, receive_bps=receive_bps)

    async def offer(self, wanted: Codecs, *, srtp: bool) -> bytes:
        """Our first offer: one m-line for each kind in `wanted`, encrypted where `srtp`. Raises LimitExceeded."""
        media: list[LocalMedia] = []
        payload_types = PayloadTypes()
        for kind in KINDS:
            codecs = offerable(wanted.get(kind, ()), payload_types, feedback=FEEDBACK if kind == "video" else ())
            if not codecs:
                continue
            line = await self._open(kind, len(media), srtp=srtp)
            media.append(self._local_media(line, codecs, Direction.SENDRECV))
        self._version += 1
        self._local = make_offer(
            media, session_id=self._session_id, version=self._version, address=self._settings.announced_ip
        )
        return serialize(self._local).encode()

    def accept_answer(self, body: bytes) -> None:
        """Takes the answer to our offer. Raises SdpError and NegotiationError."""
        if self._local is None:
            raise NegotiationError("an answer came before any offer")
        remote = parse(body.decode("utf-8", "replace"))
        agreed = negotiate(self._local, remote, we_offered=True)
        self._remote = remote
        self._apply(agreed)

    async def answer(
        self, offer: SessionDescription, wanted: Codecs, *, srtp_required: bool, srtp_allowed: bool
    ) -> bytes:
        """Our answer to the first offer, with the codecs of `wanted` that it holds, in the order of `wanted`.

        Raises NegotiationError when nothing can be taken.
        """
        media: dict[int, LocalMedia] = {}
        for kind in KINDS:
            index = first_of_kind(offer, kind)
            if index is None or not wanted.get(kind):
                continue
            section = offer.media[index]
            srtp = srtp_allowed and (srtp_required or bool(section.cryptos))
            line = await self._open(kind, index, srtp=srtp)
            local = self._local_media(line, (*wanted[kind], *own_events(wanted[kind])), Direction.SENDRECV)
            media[index] = replace(local, crypto_required=srtp_required, rtcp_mux=section.rtcp_mux)
        return self._answer(offer, media)

    def answer_reoffer(self, offer: SessionDescription) -> bytes:
        """Our answer to a later offer of the phone: what was agreed before, as far as the phone still wants it."""
        media: dict[int, LocalMedia] = {}
        for index, section in enumerate(offer.media):
            line = self._lines.get(index)
            if line is None or line.kind != section.kind or line.agreed is None:
                continue
            codecs = (*line.agreed.send, *own_events(line.agreed.send))
            media[index] = replace(
                self._local_media(line, codecs, Direction.SENDRECV),
                crypto_required=line.agreed.local_crypto is not None,
                rtcp_mux=section.rtcp_mux,
            )
        return self._answer(offer, media)

    def repeat_offer(self) -> bytes:
        """The description that we last sent, for a re-INVITE that wants our offer (RFC 3264 §8: nothing changed)."""
        if self._local is None:
            raise NegotiationError("there is no session to offer again")
        return serialize(self._local).encode()

    def close(self) -> None:
        """Closes every port and forgets the listener. Calling it again does nothing."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        for line in self._lines.values():
            self._engine.close_transport(line.rtp.id)
        self._lines.clear()
        self.bandwidth = _no_lines
        self._on_event = _nobody  # the leg holds its media: two that hold each other wait for the collector

    def _answer(self, offer: SessionDescription, media: Mapping[int, LocalMedia]) -> bytes:
        self._version += 1
        local = make_answer(
            offer,
            media,
            session_id=self._session_id,
            version=self._version,
            address=self._settings.announced_ip,
        )
        agreed = negotiate(local, offer, we_offered=False)
        self._local, self._remote = local, offer
        self._apply(agreed)
        return serialize(local).encode()

    async def _open(self, kind: Kind, index: int, *, srtp: bool) -> _Line:
        rtp = await self._engine.open_rtp_transport(
            self._settings.bind_ip,
            latching_ms=self._settings.latching_ms,
            timeout_ms=self._settings.timeout_ms,
        )
        crypto = make_cryptos(secrets.token_bytes) if srtp else ()
        line = _Line(kind, index, rtp, crypto)
        self._lines[index] = line
        self._watch(rtp.id, kind)
        return line

    def _watch(self, object_id: int, kind: Kind) -> None:
        self._unsubscribe.append(self._engine.subscribe_events(object_id, lambda event: self._on_event(kind, event)))

    def _local_media(self, line: _Line, codecs: Sequence[Codec], direction: Direction) -> LocalMedia:
        return LocalMedia(
            kind=line.kind,
            address=self._settings.announced_ip,
            port=line.rtp.rtp_port,
            rtcp_port=line.rtp.rtcp_port,
            codecs=tuple(codecs),
            direction=direction,
            crypto=line.crypto,
            bandwidth=self.bandwidth(line.kind),
        )

    def _apply(self, agreed: Sequence[NegotiatedMedia]) -> None:
        by_index = {media.index: media for media in agreed}
        for index, line in self._lines.items():
            media = by_index.get(index)
            if media is None:
                self._silence(line)
                continue
            line.agreed = media
            self._engine.submit(
                SetRtpRemote(
                    id=line.rtp.id,
                    rtp=media.remote_rtp,
                    rtcp=media.remote_rtcp,
                    rtcp_mux=media.rtcp_mux,
                    srtp=_srtp_keys(media),
                )
            )
            self._set_tracks(line, media)

    def _set_tracks(self, line: _Line, media: NegotiatedMedia) -> None:
        receive = (*media.receive, *media.dtmf_receive)
        send = (*media.send, *((media.dtmf_send,) if media.dtmf_send else ()))
        if line.tracks.up is None:
            line.tracks.up = UpTrack(
                engine=self._engine, transport=line.rtp.id, kind=line.kind, mid=None, codecs=receive
            )
            self._watch(line.tracks.up.id, line.kind)
        else:
            line.tracks.up.update(receive, ())
        if line.tracks.down is None:
            line.tracks.down = DownTrack(
                engine=self._engine,
                transport=line.rtp.id,
                kind=line.kind,
                mid=None,
                ssrc=secrets.randbelow(0xFFFFFFFE) + 1,
                cname=self._cname,
                codecs=send,
            )
            self._watch(line.tracks.down.id, line.kind)
        line.tracks.down.update(send, active=media.direction.sends)

    def _silence(self, line: _Line) -> None:
        if line.tracks.down is not None:
            line.tracks.down.update(line.tracks.down.codecs, active=False)
        line.agreed = None


def peer_limits(description: SessionDescription, packets: Packets) -> dict[MediaKind, int]:
    """What a phone takes at most of each kind; of a bound for its whole session, pictures get what sound leaves."""
    limits: dict[MediaKind, int] = {}
    sound = 0
    for kind in KINDS:
        index = first_of_kind(description, kind)
        if index is None:
            continue
        limit = peer_limit(description, index, packets, others_bps=sound)
        if limit is not None:
            limits[kind] = limit
        if kind == "audio":
            codecs = [codec for codec in description.media[index].codecs if is_media(codec)]
            sound = audio_need(codecs[0], packets).usual if codecs else 0
    return limits


def _no_lines(kind: Kind) -> tuple[Bandwidth, ...]:
    """Bounds nothing."""
    return ()


def _nobody(kind: Kind, event: AnyEvent) -> None:
    """Hears what comes after `close`."""


def _srtp_keys(media: NegotiatedMedia) -> SrtpKeys | None:
    if media.local_crypto is None or media.remote_crypto is None:
        return None
    return SrtpKeys(
        local_suite=_SUITES[media.local_crypto.suite],
        local_key=media.local_crypto.key,
        remote_suite=_SUITES[media.remote_crypto.suite],
        remote_key=media.remote_crypto.key,
    )
