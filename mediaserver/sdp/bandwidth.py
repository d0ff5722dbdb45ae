"""What a stream needs in bits per second, and what `b=` lines mean (RFC 8866 §5.8, RFC 3890).

Rates here count whole IP packets: payload, RTP, UDP and IP. That is what a line carries, and what `b=AS` means for
RTP (RFC 3550 §6.2 counts "the headers down to IP"). RTCP comes on top, by at most 5 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mediaserver.sdp.description import Bandwidth, Codec, MediaDescription, SessionDescription

PTIME_MS: Final = 20
"""Sound per packet where nothing else is said (RFC 3551 §4.5 table 1: the default of every codec used here)."""

VIDEO_PAYLOAD_BYTES: Final = 1150
"""A usual video packet: full ones have about 1200 bytes, the last of each picture fewer."""

_IPV4: Final = 20  # RFC 791 §3.1, without options
_IPV6: Final = 40  # RFC 8200 §3
_UDP: Final = 8
_RTP: Final = 12  # RFC 3550 §5.1, without CSRCs

_FIXED_BPS: Final = {"pcmu": 64_000, "pcma": 64_000, "g722": 64_000}  # RFC 3551 §4.5.14, §4.5.2

# RFC 7587 §3.1.1: 16 to 20 kbit/s is wideband speech, 28 to 40 fullband speech, 64 to 128 fullband stereo music.
_OPUS_LOWEST: Final = 16_000
_OPUS_SPEECH: Final = 40_000
_OPUS_STEREO: Final = 128_000


@dataclass(frozen=True, slots=True)
class Packets:
    """What stands around a payload on the wire."""

    ipv6: bool = False
    auth_tag: int = 0
    """Bytes of the SRTP tag: 10 with AES_CM_128_HMAC_SHA1_80, 16 with AEAD (RFC 3711 §8.2, RFC 7714 §13)."""
    extensions: int = 0
    """Bytes of RTP header extensions."""
    frame: int = 0
    """Bytes before each packet on the link between Edge and Core."""

    @property
    def header_bytes(self) -> int:
        """Everything but the payload."""
        return (_IPV6 if self.ipv6 else _IPV4) + _UDP + self.frame + _RTP + self.auth_tag + self.extensions


PLAIN: Final = Packets()
"""RTP over UDP and IPv4, not encrypted."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bits per second of a stream: the least it is useful with, and what it usually takes."""

    lowest: int
    usual: int


def audio_need(codec: Codec, packets: Packets, *, ptime_ms: int = PTIME_MS) -> Need:
    """What a sound codec needs on the wire. A codec that is not known here counts as one of 64 kbit/s."""
    headers = packets.header_bytes * 8 * 1000 // ptime_ms
    if codec.key != "opus":
        rate = _FIXED_BPS.get(codec.key, 64_000)
        return Need(rate + headers, rate + headers)
    usual = _OPUS_STEREO if codec.fmtp.get("stereo") == "1" else _OPUS_SPEECH
    # RFC 7587 §6.1: maxaveragebitrate is what the receiver wants at most, from 6000 to 510000.
    named = codec.fmtp.get("maxaveragebitrate", "")
    if named.isdecimal() and len(named) <= 6 and 6000 <= int(named) <= 510_000:
        usual = min(usual, int(named))
    return Need(min(_OPUS_LOWEST, usual) + headers, usual + headers)


def to_tias(kind: str, total_bps: int, packets: Packets) -> int:
    """The payload's share of a rate on the wire, which is what `b=TIAS` says (RFC 3890 §6.4); 0 where none is left."""
    if kind == "audio":
        return max(0, total_bps - packets.header_bytes * 8 * 1000 // PTIME_MS)
    return total_bps * VIDEO_PAYLOAD_BYTES // (VIDEO_PAYLOAD_BYTES + packets.header_bytes)


def above_udp(kind: str, total_bps: int, packets: Packets) -> int:
    """What a rate on the wire leaves above IP and UDP: how the engine counts, and REMB and `SetLimits` with it."""
    below = (_IPV6 if packets.ipv6 else _IPV4) + _UDP + packets.frame
    if kind == "audio":
        return max(0, total_bps - below * 8 * 1000 // PTIME_MS)
    whole = VIDEO_PAYLOAD_BYTES + packets.header_bytes
    return total_bps * (whole - below) // whole


def from_tias(kind: str, payload_bps: int, packets: Packets) -> int:
    """The rate on the wire of a payload rate (RFC 3890 §6.4); 0 stays 0."""
    if payload_bps <= 0:
        return 0
    if kind == "audio":
        return payload_bps + packets.header_bytes * 8 * 1000 // PTIME_MS
    return -(-payload_bps * (VIDEO_PAYLOAD_BYTES + packets.header_bytes) // VIDEO_PAYLOAD_BYTES)


def bandwidth_lines(kind: str, total_bps: int, packets: Packets) -> tuple[Bandwidth, ...]:
    """`b=AS` in whole kbit/s and `b=TIAS` in bit/s for the most that we want to receive on a section."""
    return (
        Bandwidth("AS", max(1, total_bps // 1000)),
        Bandwidth("TIAS", max(1, to_tias(kind, total_bps, packets))),
    )


def section_limit(media: MediaDescription, packets: Packets) -> int | None:
    """Bits per second on the wire that the writer of a section takes at most; None where it says nothing.

    TIAS counts before AS, because only its meaning is exact (RFC 3890 §6.3).
    """
    return _limit(media.kind, media.bandwidth, packets)


def session_limit(description: SessionDescription) -> int | None:
    """The bound of the whole session: AS, else CT, at its top (RFC 8866 §5.8); None where it says nothing.

    TIAS is not read here: without packet rates the sum of its parts cannot be told (RFC 3890 §6.4).
    """
    said = {line.kind.upper(): line.value for line in description.bandwidth}
    kbit = said.get("AS", said.get("CT"))
    # 0 for a whole session is what some phones write on hold; sections say it better.
    return kbit * 1000 if kbit else None


def peer_limit(description: SessionDescription, index: int, packets: Packets, *, others_bps: int = 0) -> int | None:
    """What the writer takes at most on section `index`: by its own lines and by what the session leaves it.

    `others_bps` is what the other sections use of the session's bound. 0 is an answer: nothing may be sent.
    """
    section = section_limit(description.media[index], packets)
    whole = session_limit(description)
    left = None if whole is None else max(0, whole - others_bps)
    known = [limit for limit in (section, left) if limit is not None]
    return min(known, default=None)


def _limit(kind: str, lines: Iterable[Bandwidth], packets: Packets) -> int | None:
    said = {line.kind.upper(): line.value for line in lines}
    if "TIAS" in said:
        return from_tias(kind, said["TIAS"], packets)
    return said["AS"] * 1000 if "AS" in said else None
