"""Session descriptions are read tolerantly, within bounds, and errors name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.errors import LocalProtocolError
from mediaserver.sdp import parser
from mediaserver.sdp.description import (
    Attribute,
    Codec,
    Direction,
    MediaDescription,
    SdpError,
    SessionDescription,
    Simulcast,
)
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize

DATA = Path(__file__).parents[1] / "data" / "sdp"
HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = HEAD + "m=audio 4000 RTP/AVP 0 8 101\r\n"


def audio(*attributes: str) -> MediaDescription:
    return parse(AUDIO + "".join(f"a={attribute}\r\n" for attribute in attributes)).media[0]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.sdp")), ids=lambda path: path.stem)
def test_what_was_recorded_is_the_same_after_writing_and_reading(path: Path) -> None:
    description = parse(path.read_bytes())
    assert parse(serialize(description)) == description


def test_static_payload_types_need_no_rtpmap() -> None:
    codecs = parse((DATA / "old_gateway.sdp").read_bytes()).media[0].codecs
    assert [(codec.pt, codec.name, codec.clock_rate) for codec in codecs] == [
        (18, "G729", 8000),
        (8, "PCMA", 8000),
        (0, "PCMU", 8000),
        (4, "G723", 8000),
    ]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_any_line_end_is_read_and_the_last_may_be_missing(end: str) -> None:
    text = AUDIO.replace("\r\n", end).removesuffix(end)
    assert parse(text) == parse(AUDIO)


def test_missing_name_and_timing_are_supplied() -> None:
    description = parse("v=0\no=- 1 1 IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n")
    assert serialize(description).startswith("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n")


def test_the_session_level_speaks_for_every_section() -> None:
    text = HEAD + "a=inactive\r\na=setup:active\r\na=ice-ufrag:abcd\r\nm=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP\r\n"
    first, second = parse(text).media
    assert (first.direction, first.setup, first.ice_ufrag, first.connection) == (
        Direction.INACTIVE,
        "active",
        "abcd",
        "192.0.2.1",
    )
    assert second.rejected


def test_a_sections_own_direction_counts_more_than_the_sessions() -> None:
    text = HEAD + "a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\na=recvonly\r\n"
    assert parse(text).media[0].direction is Direction.RECVONLY


def test_feedback_for_all_payload_types_reaches_each() -> None:
    section = audio("rtcp-fb:* nack  PLI", "rtcp-fb:8 ccm fir", "rtcp-fb:8 nack pli")
    assert [codec.feedback for codec in section.codecs[:2]] == [("nack pli",), ("ccm fir", "nack pli")]


def test_fmtp_before_its_rtpmap_and_without_equals_sign_is_kept() -> None:
    section = audio("fmtp:101 0-15,66", "rtpmap:101 telephone-event/8000")
    assert section.codec(101) == Codec(101, "telephone-event", 8000, 1, {"0-15,66": ""})


def test_fmtp_values_may_hold_equals_signs_and_names_any_case() -> None:
    section = audio("rtpmap:101 H264/90000", "fmtp:101 Profile-Level-ID=42E01F; sprop-parameter-sets=Z0IACg==,aM4=;")
    codec = section.codec(101)
    assert codec is not None
    assert codec.fmtp == {"profile-level-id": "42E01F", "sprop-parameter-sets": "Z0IACg==,aM4="}


def test_rtcp_attribute_with_and_without_address() -> None:
    assert audio("rtcp:4005").rtcp_port == 4005
    section = audio("rtcp:4007 IN IP4 192.0.2.9")
    assert (section.rtcp_port, section.rtcp_address) == (4007, "192.0.2.9")


def test_simulcast_and_rids_are_read() -> None:
    section = audio("rid:h send pt=96;max-width=1280", "rid:l send", "simulcast:send h,m;~l recv x")
    assert section.simulcast == Simulcast((("h", "m"), ("~l",)), (("x",),))
    assert [(rid.id, rid.restrictions) for rid in section.rids] == [("h", "pt=96;max-width=1280"), ("l", "")]


def test_a_crypto_line_keeps_key_lifetime_and_mki() -> None:
    key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    crypto = audio(f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4 UNENCRYPTED_SRTCP").cryptos[0]
    assert (len(crypto.key), crypto.lifetime, crypto.mki) == (30, "2^20", "1:4")
    assert crypto.session_parameters == ("UNENCRYPTED_SRTCP",)
    assert key not in repr(crypto)


@pytest.mark.parametrize(
    "attribute",
    [
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%%%",
        "crypto:x",
        "extmap:0 urn:x",
        "candidate:nonsense",
        "rid:bad",
        "simulcast: send rid=h;m",
        "ssrc:-1 cname:x",
        "rtcp:99999999",
        "ptime:0",
        "fmtp:999 a=b",
    ],
)
def test_a_malformed_attribute_that_only_informs_is_kept_as_text(attribute: str) -> None:
    name, _, value = attribute.partition(":")
    section = audio(attribute)
    assert section.attributes == (Attribute(name, value.strip()),)
    assert not section.cryptos


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m=audio 70000 RTP/AVP 0", "port"),
        ("m=audio x RTP/AVP 0", "port"),
        ("m=audio 4000 RTP/AVP 128", "payload type"),
        ("m=audio 4000 RTP/AVP", "format"),
        ("m=audio 4000", "media section"),
        ("c=IN IP5 1.2.3.4", "connection"),
        ("c=IN IP4 not_an address", "connection"),
        ("a=rtpmap:x PCMU/8000", "rtpmap"),
        ("a=rtpmap:0 PCMU", "rtpmap"),
        ("a=rtpmap:0 PCMU/0", "range"),
        ("a=fingerprint:sha-256 AB:CD", "length"),
        ("a=fingerprint:sha-256 zz", "fingerprint"),
        ("a=setup:maybe", "setup"),
        ("a=ice-ufrag:ab", "ufrag"),
        ("a=ice-pwd:short", "password"),
        ("a=mid:two words", "mid"),
        ("a=bad name:1", "token"),
        ("o=- 1 1 IN IP4 192.0.2.1", "origin"),
        ("nonsense", "letter"),
        ("a=x\0y", "NUL"),
        ("", "empty line"),
    ],
)
def test_an_error_names_its_line_and_says_what_would_be_right(line: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason) as caught:
        parse(AUDIO + line + "\r\na=sendrecv\r\n")
    assert caught.value.line == 7
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["", "\r\n", "hello", "v=1\r\n", "o=- 1 1 IN IP4 192.0.2.1\r\n"])
def test_a_text_that_does_not_begin_with_the_version_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        AUDIO + "a=x\r\n" * (parser.MAX_ATTRIBUTES + 1),
        HEAD + "m=audio 0 RTP/AVP 0\r\n" * (parser.MAX_MEDIA + 1),
        HEAD + "x=1\r\n" * (parser.MAX_LINES + 1),
        AUDIO + "a=" + "x" * parser.MAX_LINE_BYTES + "\r\n",
        AUDIO + "i=" + ("x" * 100 + "\r\ni=") * 700,
        HEAD + "m=application 1 TCP " + " ".join(str(n) for n in range(parser.MAX_FORMATS + 1)),
    ],
    ids=["attributes", "media", "lines", "line", "size", "formats"],
)
def test_everything_that_can_grow_is_bounded(text: str) -> None:
    with pytest.raises(SdpError, match=r"more than|longer than"):
        parse(text)


def test_a_value_that_would_break_out_of_its_line_is_not_written() -> None:
    media = MediaDescription("audio", 1, "RTP/AVP", ("0",), msid="a\r\na=inactive")
    with pytest.raises(LocalProtocolError):
        serialize(SessionDescription(media=(media,)))


def test_ipv6_addresses_are_written_as_such() -> None:
    assert "c=IN IP6 2001:db8::1\r\n" in serialize(SessionDescription(connection="2001:db8::1"))


def test_an_error_does_not_repeat_a_password() -> None:
    with pytest.raises(SdpError) as caught:
        parse(AUDIO + "a=ice-pwd:tooshort\r\n")
    assert "tooshort" not in str(caught.value)
