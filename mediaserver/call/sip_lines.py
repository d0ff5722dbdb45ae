"""The m-lines of one SIP leg that are in force, and what follows from them: tracks, codecs, rates, bounds of pictures."""

from __future__ import annotations

from typing import Literal

from mediaserver.call.booking import USUAL_PICTURE_BPS
from mediaserver.call.leg import KINDS, Codecs, LegMedia
from mediaserver.call.sip_line import SipLine
from mediaserver.call.text_line import TextLine
from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.transport_limits import TransportLimits
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.sdp.bandwidth import Packets, audio_need, from_tias, peer_limit
from mediaserver.sdp.codecs import is_media, matches
from mediaserver.sdp.description import SessionDescription
from mediaserver.sdp.offer_answer import NegotiatedMedia, first_of_kind
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds, picture_bounds

Line = SipLine | TextLine
LineKind = Kind | Literal["text"]


class SipLines:
    """What the last offer and answer made; `SipMedia` negotiates it."""

    def __init__(self, engine: Engine) -> None:
        self._lines: dict[int, Line] = {}
        self._limits = TransportLimits(engine)
        self._local: SessionDescription | None = None
        self._remote: SessionDescription | None = None
        self._agreed: dict[Kind, NegotiatedMedia] = {}

    @property
    def media(self) -> dict[Kind, LegMedia]:
        """The tracks by kind."""
        return {line.kind: line.tracks for line in self._media_lines() if line.agreed}

    @property
    def text_line(self) -> int | None:
        """The transport of the phone's real-time text; None where there is none."""
        line = self._line_of("text")
        return line.rtp.id if line is not None and line.agreed is not None else None

    @property
    def transports(self) -> tuple[int, ...]:
        """Engine transports of all m-lines."""
        return tuple(line.rtp.id for line in self._lines.values())

    @property
    def agreed(self) -> dict[Kind, NegotiatedMedia]:
        """What the last offer and answer agreed on, by kind; not to be changed."""
        return self._agreed

    @property
    def remote(self) -> SessionDescription | None:
        """The phone's description that is in force."""
        return self._remote

    @property
    def secure(self) -> bool:
        """Whether what was agreed is encrypted, all of it."""
        agreed = self.agreed.values()
        return bool(agreed) and all(media.local_crypto or media.dtls for media in agreed)

    def codecs_of(self, description: SessionDescription) -> Codecs:
        """The codecs of the sections that a call would use."""
        return codecs_of(description)

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
        found = self._media_line("video")
        if found is None or found.agreed is None or self._remote is None:
            return UNBOUNDED
        theirs = found.agreed.send[0]
        ours = next((codec for codec in found.agreed.receive if matches(codec, theirs)), None)
        return picture_bounds(self._remote.media[found.agreed.index], theirs, ours)

    @property
    def has_picture(self) -> bool:
        """Whether a line for a picture is in force."""
        return self._line_of("video") is not None

    def aim(self, bounds: PictureBounds) -> None:
        """Tells the engine what the phone may be given. Its size is a limit, its rate a wish."""
        line = self._media_line("video")
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
        line = self._media_line("video")
        if line is not None and line.agreed is not None:
            self._limits.set(line.rtp.id, send_bps=send_bps, receive_bps=receive_bps)

    def _line_of(self, kind: LineKind) -> Line | None:
        for line in self._lines.values():
            if line.kind == kind:
                return line
        return None

    def _media_lines(self) -> list[SipLine]:
        return [line for line in self._lines.values() if isinstance(line, SipLine)]

    def _media_line(self, kind: Kind) -> SipLine | None:
        line = self._line_of(kind)
        return line if isinstance(line, SipLine) else None

    def _note_agreed(self) -> None:
        """The lines are others than before, or what they carry: everybody asks for what was agreed all the time."""
        self._agreed = {line.kind: line.agreed for line in self._media_lines() if line.agreed}


def codecs_of(description: SessionDescription) -> Codecs:
    """The codecs of the sections that a call would use."""
    indices = {kind: first_of_kind(description, kind) for kind in KINDS}
    return {kind: description.media[index].codecs for kind, index in indices.items() if index is not None}


def peer_limits(description: SessionDescription, packets: Packets) -> dict[MediaKind, int]:
    """What a phone takes at most of each kind; of a bound for its whole session, pictures get what sound leaves."""
    limits: dict[MediaKind, int] = {}
    if not description.bandwidth and not any(section.bandwidth for section in description.media):
        return limits  # most phones say nothing of it
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
