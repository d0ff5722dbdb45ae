"""Rates on the wire and `b=` lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sdp.bandwidth import (
    Need,
    Packets,
    audio_need,
    bandwidth_lines,
    from_tias,
    peer_limit,
    section_limit,
    to_tias,
)
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Bandwidth, Codec
from mediaserver.sdp.parser import parse

V4, V6, SRTP = Packets(), Packets(ipv6=True), Packets(auth_tag=10)


@pytest.mark.parametrize(
    ("codec", "packets", "lowest", "usual"),
    [
        # 160 bytes of sound and 40 of headers, 50 times a second: what every telephony text says of G.711.
        (KNOWN["PCMU"], V4, 80_000, 80_000),
        (KNOWN["PCMA"], V6, 88_000, 88_000),
        (KNOWN["G722"], SRTP, 84_000, 84_000),
        (KNOWN["opus"], V4, 32_000, 56_000),
        (Codec(96, "opus", 48000, 2, {"stereo": "1"}), V4, 32_000, 144_000),
        (Codec(96, "opus", 48000, 2, {"maxaveragebitrate": "20000"}), V4, 32_000, 36_000),
        (Codec(96, "opus", 48000, 2, {"maxaveragebitrate": "8000"}), V4, 24_000, 24_000),
        (Codec(96, "opus", 48000, 2, {"maxaveragebitrate": "-1"}), V4, 32_000, 56_000),
        (Codec(96, "speex", 16000), V4, 80_000, 80_000),
    ],
)
def test_a_sound_codec_needs_its_rate_and_its_headers(codec: Codec, packets: Packets, lowest: int, usual: int) -> None:
    assert audio_need(codec, packets) == Need(lowest, usual)


def test_longer_packets_have_fewer_headers() -> None:
    assert audio_need(KNOWN["PCMU"], V4, ptime_ms=30).usual == 64_000 + 10_666


def test_our_lines_say_the_rate_on_the_wire_and_the_rate_of_the_payload() -> None:
    assert bandwidth_lines("audio", 80_000, V4) == (Bandwidth("AS", 80), Bandwidth("TIAS", 64_000))
    assert bandwidth_lines("video", 1_190_000, V4) == (Bandwidth("AS", 1190), Bandwidth("TIAS", 1_150_000))
    assert bandwidth_lines("audio", 10, V4) == (Bandwidth("AS", 1), Bandwidth("TIAS", 1))


@given(st.sampled_from(["audio", "video"]), st.integers(1, 10**9), st.sampled_from([V4, V6, SRTP]))
def test_a_payload_rate_survives_the_way_to_the_wire_and_back(kind: str, payload: int, packets: Packets) -> None:
    total = from_tias(kind, payload, packets)
    assert total > payload
    assert to_tias(kind, total, packets) == payload


SDP = """v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
{session}t=0 0
m=audio 4000 RTP/AVP 0
m=video 4002 RTP/AVP 96
{video}a=rtpmap:96 H264/90000
"""


def limit_of(session: str = "", video: str = "", others: int = 0) -> int | None:
    text = SDP.format(session=session, video=video).replace("\n", "\r\n")
    return peer_limit(parse(text), 1, V4, others_bps=others)


@pytest.mark.parametrize(
    ("session", "video", "limit"),
    [
        ("", "", None),
        ("", "b=AS:512\n", 512_000),
        ("", "b=TIAS:460000\n", 476_000),
        ("", "b=AS:2000\nb=TIAS:460000\n", 476_000),
        ("", "b=AS:0\n", 0),
        ("b=AS:384\n", "", 304_000),
        ("b=CT:384\n", "b=AS:512\n", 304_000),
        ("b=CT:64\n", "", 0),
        ("b=AS:0\n", "b=AS:512\n", 512_000),
        ("b=RS:10\n", "b=X-OLD:5\n", None),
    ],
)
def test_what_a_phone_takes_is_the_least_of_what_section_and_session_say(
    session: str, video: str, limit: int | None
) -> None:
    assert limit_of(session, video, others=80_000) == limit


def test_a_section_without_a_line_has_no_bound_of_its_own() -> None:
    text = SDP.format(session="b=AS:100\n", video="").replace("\n", "\r\n")
    assert section_limit(parse(text).media[1], V4) is None
