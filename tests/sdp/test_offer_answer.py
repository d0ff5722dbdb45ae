"""Offers and answers towards phones: directions, payload types, keys, refusals."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Codec, Crypto, Direction, SessionDescription
from mediaserver.sdp.offer_answer import (
    KEY_LENGTHS,
    LocalMedia,
    answer_h264,
    first_of_kind,
    keep_payload_types,
    make_answer,
    make_cryptos,
    make_offer,
    negotiate,
)
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize

DATA = Path(__file__).parents[1] / "data" / "sdp"
AUDIO = (KNOWN["opus"], KNOWN["PCMA"], KNOWN["PCMU"], KNOWN["telephone-event"], KNOWN["telephone-event/48000"])
VIDEO = (KNOWN["H264"], KNOWN["H264/0"], KNOWN["VP8"])


def recorded(name: str) -> SessionDescription:
    return parse((DATA / f"{name}.sdp").read_bytes())


def audio(*codecs: Codec, **changes: object) -> LocalMedia:
    return replace(LocalMedia("audio", "192.0.2.1", 30000, codecs=codecs or AUDIO), **changes)  # type: ignore[arg-type]


def video(*codecs: Codec, **changes: object) -> LocalMedia:
    return replace(LocalMedia("video", "192.0.2.1", 30002, codecs=codecs or VIDEO), **changes)  # type: ignore[arg-type]


def answer(offer: SessionDescription, *media: LocalMedia) -> SessionDescription:
    mapping = {index: local for local in media if (index := first_of_kind(offer, local.kind)) is not None}
    return make_answer(offer, mapping, session_id=7, version=1, address="192.0.2.1")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("baresip_plain", ["audio", "video"]),
        ("baresip_srtp_optional", ["audio", "video"]),
        ("cisco_video", ["audio", "video"]),
        ("linphone_avpf", ["audio", "video"]),
        ("sipp_uac", ["audio"]),
        ("old_gateway", ["audio"]),
    ],
)
def test_every_recorded_phone_gets_an_answer(name: str, kinds: list[str]) -> None:
    offer = recorded(name)
    ours = parse(serialize(answer(offer, audio(), video())))
    agreed = negotiate(ours, offer, we_offered=False)
    assert [found.kind for found in agreed] == kinds
    assert [media.kind for media in ours.media] == [media.kind for media in offer.media]
    assert all(found.remote_rtp and not found.local_crypto for found in agreed)
    assert {media.protocol for media in ours.media} == {media.protocol for media in offer.media}


def test_the_payload_types_are_the_offerers_and_the_order_is_ours() -> None:
    ours = answer(recorded("baresip_plain"), audio(), video())
    assert ours.media[0].formats == ("96", "8", "0", "101")
    assert ours.media[1].formats == ("97", "96", "100")


def test_a_cisco_offer_is_answered_without_its_slides_and_bfcp() -> None:
    ours = answer(recorded("cisco_video"), audio(), video())
    assert [media.port for media in ours.media] == [30000, 30002, 0, 0]
    assert ours.media[3].protocol == "UDP/BFCP"
    h264 = ours.media[1].codecs[0]
    assert (h264.pt, h264.fmtp["profile-level-id"], h264.fmtp["packetization-mode"]) == (126, "42801f", "1")
    assert h264.feedback == ("nack pli", "ccm fir")


def test_slides_offered_as_a_second_video_are_refused() -> None:
    text = "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=video 9 RTP/AVP 96\na=content:slides\n"
    text += "a=rtpmap:96 H264/90000\nm=video 11 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    assert first_of_kind(parse(text), "video") == 1


def test_sound_offered_encrypted_and_plain_is_taken_as_we_like() -> None:
    text = "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/SAVP 0\n"
    text += (
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\nm=audio 4002 RTP/AVP 0\n"
    )
    offer = parse(text)
    assert [first_of_kind(offer, "audio", secure=secure) for secure in (None, True, False)] == [0, 0, 1]


def test_a_further_offer_keeps_the_payload_types_of_the_dialog() -> None:
    earlier = negotiate(answer(recorded("baresip_plain"), audio()), recorded("baresip_plain"), we_offered=False)[0]
    again = keep_payload_types((*AUDIO, Codec(96, "VP8", 90000)), (*earlier.receive, *earlier.dtmf_receive))
    assert [(codec.name, codec.pt) for codec in again] == [
        ("opus", 96),
        ("PCMA", 8),
        ("PCMU", 0),
        ("telephone-event", 101),
        ("telephone-event", 110),
        ("VP8", 97),
    ]


WANTED_OFFERED_ANSWER = {
    ("sendrecv", "sendrecv"): "sendrecv",
    ("sendrecv", "sendonly"): "recvonly",
    ("sendrecv", "recvonly"): "sendonly",
    ("sendrecv", "inactive"): "inactive",
    ("sendonly", "sendrecv"): "sendonly",
    ("sendonly", "sendonly"): "inactive",
    ("sendonly", "recvonly"): "sendonly",
    ("sendonly", "inactive"): "inactive",
    ("recvonly", "sendrecv"): "recvonly",
    ("recvonly", "sendonly"): "recvonly",
    ("recvonly", "recvonly"): "inactive",
    ("recvonly", "inactive"): "inactive",
    ("inactive", "sendrecv"): "inactive",
    ("inactive", "sendonly"): "inactive",
    ("inactive", "recvonly"): "inactive",
    ("inactive", "inactive"): "inactive",
}


@pytest.mark.parametrize(("wanted", "offered"), list(product(Direction, Direction)))
def test_the_direction_of_an_answer(wanted: Direction, offered: Direction) -> None:
    offer = make_offer([audio(direction=offered)], session_id=1, version=1, address="192.0.2.9")
    ours = answer(offer, audio(direction=wanted))
    expected = WANTED_OFFERED_ANSWER[wanted.value, offered.value]
    assert ours.media[0].direction.value == expected
    assert negotiate(ours, offer, we_offered=False)[0].direction.value == expected


def test_the_old_way_to_hold_stops_our_sending_and_resumes() -> None:
    held = parse("v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 0.0.0.0\nm=audio 9 RTP/AVP 0\n")
    ours = answer(held, audio())
    assert ours.media[0].direction is Direction.RECVONLY
    agreed = negotiate(ours, held, we_offered=False)[0]
    assert (agreed.remote_rtp, agreed.remote_rtcp, agreed.direction) == (None, None, Direction.RECVONLY)
    resumed = parse("v=0\no=- 1 2 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 9 RTP/AVP 0\n")
    assert negotiate(answer(resumed, audio()), resumed, we_offered=False)[0].direction is Direction.SENDRECV


def test_rtcp_goes_next_door_elsewhere_or_to_the_same_port() -> None:
    def rtcp(*lines: str, mux: bool = False) -> tuple[str, int] | None:
        text = "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0\n"
        offer = parse(text + "".join(f"a={line}\n" for line in lines))
        return negotiate(answer(offer, audio(rtcp_mux=mux)), offer, we_offered=False)[0].remote_rtcp

    assert rtcp() == ("192.0.2.9", 4001)
    assert rtcp("rtcp:5000 IN IP4 192.0.2.10") == ("192.0.2.10", 5000)
    assert rtcp("rtcp-mux", mux=True) == ("192.0.2.9", 4000)
    assert rtcp("rtcp-mux") == ("192.0.2.9", 4001)


def test_a_host_name_for_media_is_not_resolved_but_latched() -> None:
    offer = parse("v=0\no=- 1 1 IN IP4 phone.test\nc=IN IP4 phone.test\nm=audio 4000 RTP/AVP 0\n")
    assert negotiate(answer(offer, audio()), offer, we_offered=False)[0].remote_rtp is None


# Events --------------------------------------------------------------------------------------------------------------


def test_events_follow_the_clock_of_the_chosen_codec() -> None:
    offer = recorded("linphone_avpf")
    ours = answer(offer, audio())
    agreed = negotiate(ours, offer, we_offered=False)[0]
    assert agreed.send[0].name == "opus"
    assert agreed.dtmf_send is not None
    assert (agreed.dtmf_send.pt, agreed.dtmf_send.clock_rate) == (101, 48000)
    only_g711 = negotiate(answer(offer, audio(KNOWN["PCMU"], KNOWN["telephone-event"])), offer, we_offered=False)[0]
    assert only_g711.dtmf_send is not None
    assert only_g711.dtmf_send.pt == 100


def test_no_events_are_answered_unless_we_have_them() -> None:
    assert answer(recorded("baresip_plain"), audio(KNOWN["PCMU"])).media[0].formats == ("0",)


# Keys ----------------------------------------------------------------------------------------------------------------


def keys(fill: int) -> tuple[Crypto, ...]:
    return make_cryptos(lambda length: bytes([fill]) * length)


def test_an_sdes_offer_is_answered_with_its_tag_and_a_key_of_ours() -> None:
    offer = recorded("baresip_sdes")
    ours = parse(serialize(answer(offer, audio(crypto=keys(1)), video(crypto=keys(2)))))
    assert [media.protocol for media in ours.media] == ["RTP/SAVP", "RTP/SAVP"]
    crypto = ours.media[0].cryptos
    assert [(found.tag, found.suite, found.key) for found in crypto] == [(1, "AES_CM_128_HMAC_SHA1_80", b"\1" * 30)]
    agreed = negotiate(ours, offer, we_offered=False)
    assert agreed[1].remote_crypto == offer.media[1].cryptos[0]


def test_our_order_of_suites_decides() -> None:
    offer = make_offer([audio(crypto=tuple(reversed(keys(1))))], session_id=1, version=1, address="192.0.2.9")
    assert [found.suite for found in offer.media[0].cryptos] == list(KEY_LENGTHS)[::-1]
    chosen = answer(offer, audio(crypto=keys(2))).media[0].cryptos[0]
    assert (chosen.suite, chosen.tag) == ("AEAD_AES_128_GCM", 1)


@pytest.mark.parametrize(
    "line",
    [
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
        "crypto:1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP",
        "sendrecv",
    ],
    ids=["short key", "unknown suite", "mki", "session parameter", "none"],
)
def test_a_key_that_cannot_be_used_refuses_the_section(line: str) -> None:
    text = "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/SAVP 0\n"
    with pytest.raises(NegotiationError, match="no SRTP suite") as caught:
        answer(parse(f"{text}a={line}\n"), audio(crypto=keys(1)))
    assert caught.value.warning_code == 306


def test_srtp_offered_as_possible_is_taken_over_the_plain_profile() -> None:
    offer = recorded("baresip_srtp_optional")
    ours = answer(offer, audio(crypto=keys(1), crypto_required=False), video(crypto=keys(1)))
    assert [(media.protocol, len(media.cryptos)) for media in ours.media] == [("RTP/AVP", 1), ("RTP/AVP", 1)]


def test_plain_rtp_is_refused_where_the_peer_must_encrypt() -> None:
    with pytest.raises(NegotiationError, match="must encrypt"):
        answer(recorded("sipp_uac"), audio(crypto=keys(1)))
    assert not answer(recorded("sipp_uac"), audio(crypto=keys(1), crypto_required=False)).media[0].cryptos


def test_an_answer_over_srtp_without_or_with_a_foreign_key_is_refused() -> None:
    offer = make_offer([audio(crypto=keys(1))], session_id=1, version=1, address="192.0.2.1")
    good = answer(offer, audio(crypto=keys(2)))
    assert negotiate(offer, good, we_offered=True)[0].remote_crypto == good.media[0].cryptos[0]
    without = replace(good, media=(replace(good.media[0], cryptos=()),))
    foreign = replace(good.media[0].cryptos[0], tag=99)
    for broken in (without, replace(good, media=(replace(good.media[0], cryptos=(foreign,)),))):
        with pytest.raises(NegotiationError) as caught:
            negotiate(offer, broken, we_offered=True)
        assert caught.value.warning_code == 306


# Refusals ------------------------------------------------------------------------------------------------------------


def test_an_offer_of_dtls_is_refused_where_there_is_no_certificate_for_it() -> None:
    offer = recorded("chromium_sendrecv")
    with pytest.raises(NegotiationError, match="UDP/TLS/RTP/SAVPF") as caught:
        make_answer(offer, {0: audio()}, session_id=1, version=1, address="192.0.2.1")
    assert caught.value.warning_code == 306


def test_no_common_codec_is_a_305_that_names_both_sides() -> None:
    with pytest.raises(NegotiationError, match=r"offered are PCMU/8000; available are opus/48000/2") as caught:
        answer(recorded("sipp_uac"), audio(KNOWN["opus"]))
    assert caught.value.warning_code == 305


def test_no_known_media_type_is_a_304() -> None:
    offer = parse("v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=image 4000 udptl t38\n")
    with pytest.raises(NegotiationError, match="image") as caught:
        answer(offer, audio())
    assert caught.value.warning_code == 304


def test_one_section_that_cannot_be_taken_leaves_the_others() -> None:
    offer = recorded("baresip_plain")
    ours = answer(offer, audio(), video(KNOWN["VP9"]))
    assert [media.port for media in ours.media] == [30000, 0]
    assert [found.index for found in negotiate(ours, offer, we_offered=False)] == [0]


def test_an_offer_without_media_or_with_all_of_it_stopped_is_answered_alike() -> None:
    empty = make_offer([], session_id=1, version=1, address="192.0.2.9")
    assert make_answer(empty, {}, session_id=2, version=1, address="192.0.2.1").media == ()
    stopped = make_offer([audio(port=0)], session_id=1, version=1, address="192.0.2.9")
    ours = answer(stopped, audio())
    assert ours.media[0].port == 0
    assert negotiate(ours, stopped, we_offered=False) == ()


def test_an_answer_must_have_the_sections_of_the_offer() -> None:
    offer = make_offer([audio(), video()], session_id=1, version=1, address="192.0.2.1")
    with pytest.raises(NegotiationError, match="1 media sections"):
        negotiate(offer, replace(offer, media=offer.media[:1]), we_offered=True)


def test_an_answer_that_refuses_everything_is_a_304() -> None:
    offer = make_offer([audio()], session_id=1, version=1, address="192.0.2.1")
    refused = replace(offer, media=(replace(offer.media[0], port=0),))
    with pytest.raises(NegotiationError) as caught:
        negotiate(offer, refused, we_offered=True)
    assert caught.value.warning_code == 304


def test_the_answerers_order_is_what_we_send() -> None:
    offer = make_offer([audio()], session_id=1, version=1, address="192.0.2.1")
    theirs = parse(
        "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0 96\n"
        "a=rtpmap:96 opus/48000/2\na=ptime:30\n"
    )
    agreed = negotiate(offer, theirs, we_offered=True)[0]
    assert [(codec.pt, codec.name) for codec in agreed.send] == [(0, "PCMU"), (96, "opus")]
    assert [codec.pt for codec in agreed.receive] == [0, 111]
    assert agreed.ptime == 30
    assert agreed.dtmf_send is None


def test_an_offer_to_a_phone_asks_only_for_feedback_that_phones_know() -> None:
    offer = make_offer([video()], session_id=1, version=1, address="192.0.2.1")
    assert {codec.feedback for codec in offer.media[0].codecs} == {("nack pli", "ccm fir", "goog-remb")}


# H264 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "own", "expected"),
    [
        ({}, {"profile-level-id": "42e01f", "packetization-mode": "0"}, {}),
        (
            {"profile-level-id": "428016", "packetization-mode": "1", "level-asymmetry-allowed": "1"},
            {"profile-level-id": "42e01f", "packetization-mode": "1", "level-asymmetry-allowed": "1"},
            {"profile-level-id": "42801f", "level-asymmetry-allowed": "1", "packetization-mode": "1"},
        ),
        (
            {"profile-level-id": "42E034", "packetization-mode": "1"},
            {"profile-level-id": "42e01f", "level-asymmetry-allowed": "1", "sprop-parameter-sets": "Z0I="},
            {"profile-level-id": "42e01f", "packetization-mode": "1"},
        ),
    ],
)
def test_h264_parameters_of_an_answer(offered: dict[str, str], own: dict[str, str], expected: dict[str, str]) -> None:
    assert answer_h264(offered, own) == expected
