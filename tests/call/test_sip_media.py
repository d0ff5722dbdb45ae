"""The media of a SIP leg: what is offered and answered, with which keys, and what the engine is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mediaserver.call.leg import Codecs
from mediaserver.call.sip_media import SipMedia, SipMediaSettings
from mediaserver.engine.commands import AddDownTrack, AddUpTrack, SetRtpRemote, UpdateDownTrack
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from tests.call.fakes import FakeEngine

SETTINGS = SipMediaSettings(bind_ip="127.0.0.1", announced_ip="192.0.2.7", latching_ms=5000, timeout_ms=30_000)
BROWSER: Codecs = {
    "audio": (KNOWN["opus"], KNOWN["PCMU"]),
    "video": (
        replace(KNOWN["H264"], pt=109, fmtp={"packetization-mode": "1", "profile-level-id": "640c1f"}),
        KNOWN["H264"],
        KNOWN["H264/0"],
        KNOWN["VP8"],
    ),
}


def media(engine: FakeEngine) -> SipMedia:
    return SipMedia(engine=engine, settings=SETTINGS, cname="c", on_event=lambda kind, event: None)  # type: ignore[arg-type]


async def test_offer_holds_each_codec_once_and_only_baseline_h264() -> None:
    offer = parse((await media(FakeEngine()).offer(BROWSER, srtp=False)).decode())
    audio, video = offer.media
    assert [codec.name for codec in audio.codecs] == ["opus", "PCMU", "telephone-event", "telephone-event"]
    assert [codec.name for codec in video.codecs] == ["H264", "H264", "VP8"]
    assert {codec.fmtp["profile-level-id"] for codec in video.codecs if codec.name == "H264"} == {"42e01f"}
    pts = [codec.pt for codec in (*audio.codecs, *video.codecs)]
    assert len(set(pts)) == len(pts)
    assert (audio.protocol, audio.connection) == ("RTP/AVP", "192.0.2.7")


async def test_offer_with_srtp_has_a_key_of_its_own_for_each_line() -> None:
    offer = parse((await media(FakeEngine()).offer(BROWSER, srtp=True)).decode())
    keys = [crypto.key for section in offer.media for crypto in section.cryptos]
    assert {section.protocol for section in offer.media} == {"RTP/SAVP"}
    assert len(set(keys)) == len(keys) == 8


async def negotiated(caller: SipMedia, callee: SipMedia, *, srtp: bool) -> None:
    offer = await caller.offer(BROWSER, srtp=srtp)
    answer = await callee.answer(
        parse(offer.decode()), {"audio": (KNOWN["PCMU"],)}, srtp_required=srtp, srtp_allowed=True
    )
    callee.commit()
    caller.accept_answer(answer)


async def answered(callee: SipMedia, offer: SessionDescription, wanted: Codecs = BROWSER) -> SessionDescription:
    """What is answered to an offer, and in force."""
    answer = await callee.answer(offer, wanted, srtp_required=False, srtp_allowed=True)
    callee.commit()
    return parse(answer.decode())


def redirected(offer: SessionDescription, direction: str) -> SessionDescription:
    return replace(offer, media=tuple(replace(m, direction=Direction(direction)) for m in offer.media))


async def test_both_sides_agree_on_codec_address_and_mirrored_keys() -> None:
    first, second = FakeEngine(), FakeEngine()
    caller, callee = media(first), media(second)
    await negotiated(caller, callee, srtp=True)
    ours, theirs = first.of(SetRtpRemote)[0], second.of(SetRtpRemote)[0]
    assert ours.srtp is not None
    assert theirs.srtp is not None
    assert (ours.srtp.local_key, ours.srtp.remote_key) == (theirs.srtp.remote_key, theirs.srtp.local_key)
    assert ours.rtp == ("192.0.2.7", 20_002)
    assert [payload.codec for payload in first.of(AddUpTrack)[0].payloads] == ["PCMU", "telephone-event"]
    assert first.of(AddDownTrack)[0].payloads[0].pt == 0
    assert set(caller.media) == {"audio"}


async def test_hold_stops_sending_and_resume_starts_it_again_on_the_same_ports() -> None:
    engine = FakeEngine()
    callee = media(engine)
    caller = media(FakeEngine())
    await negotiated(caller, callee, srtp=False)
    assert callee.remote is not None
    offer = callee.remote
    for direction, expected in (("sendonly", "recvonly"), ("inactive", "inactive"), ("sendrecv", "sendrecv")):
        answer = await answered(callee, redirected(offer, direction), {"audio": (KNOWN["PCMU"],)})
        assert answer.media[0].direction == expected
        assert answer.media[0].port == 20_002
    assert [command.active for command in engine.of(UpdateDownTrack)] == [False, True]
    assert len(engine.of(AddUpTrack)) == 1


async def test_a_peer_that_must_encrypt_gets_no_plain_call() -> None:
    offer = await media(FakeEngine()).offer(BROWSER, srtp=False)
    with pytest.raises(NegotiationError) as failure:
        await media(FakeEngine()).answer(parse(offer.decode()), BROWSER, srtp_required=True, srtp_allowed=True)
    assert failure.value.warning_code == 306


async def test_closing_gives_back_every_port() -> None:
    engine = FakeEngine()
    opened = media(engine)
    await opened.offer(BROWSER, srtp=False)
    ports = opened.transports
    opened.close()
    opened.close()
    assert engine.closed == list(ports)


SOUND = {"audio": (KNOWN["PCMU"],)}
PICTURE = (
    "m=video 40002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=1;profile-level-id=42e01f\r\n"
)


def described(*sections: str, session: int = 7, version: int = 1) -> SessionDescription:
    """What a phone writes."""
    head = f"v=0\r\no=phone {session} {version} IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    return parse(head + "".join(sections))


VOICE = "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"


async def test_a_later_offer_that_adds_a_picture_gets_one() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE))
    answer = await answered(phone, described(VOICE, PICTURE, version=2))
    assert [(m.kind, m.port) for m in answer.media] == [("audio", 20_002), ("video", 20_004)]
    assert [codec.pt for codec in answer.media[1].codecs] == [97]
    assert set(phone.media) == {"audio", "video"}


async def test_a_picture_taken_away_and_brought_back_keeps_its_ports_and_tracks() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE, PICTURE))
    tracks = phone.media["video"]
    gone = await answered(phone, described(VOICE, PICTURE.replace("40002", "0"), version=2))
    assert gone.media[1].rejected
    assert set(phone.media) == {"audio"}
    again = await answered(phone, described(VOICE, PICTURE, version=3))
    assert again.media[1].port == 20_004
    assert phone.media["video"] is tracks
    assert not engine.closed


async def test_a_picture_that_moves_to_another_place_takes_its_ports_along() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE, PICTURE))
    old = PICTURE.replace("40002", "0")
    answer = await answered(phone, described(VOICE, old, PICTURE, version=2))
    assert [m.port for m in answer.media] == [20_002, 0, 20_004]
    assert not engine.closed


UNKNOWN = (
    "m=application 5070 UDP/BFCP *\r\na=floorctrl:c-s\r\n",
    "m=application 5072 RTP/AVP 107\r\na=rtpmap:107 H224/4800\r\n",
    "m=application 5074 UDP/UDT/IX *\r\na=ixmap:0 ping\r\n",
    PICTURE.replace("40002", "40004") + "a=content:slides\r\n",
)


async def test_unknown_lines_are_declined_in_their_order() -> None:
    answer = await answered(media(FakeEngine()), described(UNKNOWN[0], VOICE, UNKNOWN[1], PICTURE, *UNKNOWN[2:]))
    assert [(m.kind, bool(m.port)) for m in answer.media] == [
        ("application", False),
        ("audio", True),
        ("application", False),
        ("video", True),
        ("application", False),
        ("video", False),
    ]
    assert [m.protocol for m in answer.media if m.kind == "application"] == ["UDP/BFCP", "RTP/AVP", "UDP/UDT/IX"]


async def test_the_old_way_to_hold_is_an_address_of_zeros() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE))
    answer = await answered(phone, described(VOICE + "c=IN IP4 0.0.0.0\r\n", version=2))
    assert answer.media[0].direction == "recvonly"
    assert engine.of(SetRtpRemote)[-1].rtp is None
    assert not phone.media["audio"].down.active  # type: ignore[union-attr]


async def test_a_late_offer_after_an_answer_by_sound_has_sound_and_picture_both_ways() -> None:
    engine = FakeEngine()
    acd = media(engine)
    await acd.offer(BROWSER, srtp=False)
    refused = "m=video 0 RTP/AVP 97\r\n"
    acd.accept_answer(serialize(described(VOICE + "a=sendonly\r\n", refused)).encode())
    first_types = {codec.pt: codec.name for codec in acd._lines[0].known}
    offer = parse((await acd.offer(BROWSER, srtp=False)).decode())
    assert [(m.kind, m.port, m.direction) for m in offer.media] == [
        ("audio", 20_002, "sendrecv"),
        ("video", 20_004, "sendrecv"),
    ]
    assert "H264" in [codec.name for codec in offer.media[1].codecs]
    assert all(first_types.get(codec.pt, codec.name) == codec.name for codec in offer.media[0].codecs)
    assert int(offer.origin.version) == 2
    acd.accept_answer(serialize(described(VOICE, PICTURE.replace("97", str(offer.media[1].codecs[0].pt)))).encode())
    assert set(acd.media) == {"audio", "video"}
    assert engine.of(SetRtpRemote)[-1].rtp == ("192.0.2.9", 40002)


async def test_a_late_offer_keeps_the_place_of_what_was_declined() -> None:
    phone = media(FakeEngine())
    await answered(phone, described(VOICE, UNKNOWN[0]), SOUND)
    offer = parse((await phone.offer(BROWSER, srtp=False)).decode())
    assert [(m.kind, m.protocol, bool(m.port)) for m in offer.media] == [
        ("audio", "RTP/AVP", True),
        ("application", "UDP/BFCP", False),
        ("video", "RTP/AVP", True),
    ]


async def test_an_offer_that_came_to_nothing_leaves_the_session_as_it_was() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE), SOUND)
    before, sent = phone.agreed, len(engine.sent)
    await phone.offer(BROWSER, srtp=True)
    with pytest.raises(NegotiationError):
        phone.accept_answer(serialize(described(VOICE.replace("RTP/AVP 0", "RTP/AVP 96"))).encode())
    phone.drop()
    assert phone.agreed == before
    assert len(engine.sent) == sent
    assert engine.closed == [id for id in engine.closed if id not in phone.transports]
    assert len(engine.closed) == 1  # the ports for the picture
    again = await answered(phone, redirected(described(VOICE), "sendonly"), SOUND)
    assert again.media[0].port == 20_002


async def test_a_refused_answer_gives_back_what_was_opened_for_it() -> None:
    engine = FakeEngine()
    phone = media(engine)
    await answered(phone, described(VOICE), SOUND)
    other = VOICE.replace("40000", "0") + PICTURE.replace("H264", "H265")
    with pytest.raises(NegotiationError):
        await phone.answer(described(other), BROWSER, srtp_required=False, srtp_allowed=True)
    assert len(engine.closed) == 1
    assert set(phone.agreed) == {"audio"}


def keyed(key: str) -> str:
    """Sound with a key."""
    line = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
    return VOICE.replace("RTP/AVP", "RTP/SAVP") + line


async def test_a_stranger_in_the_call_gets_new_keys_and_who_was_there_keeps_them() -> None:
    phone = media(FakeEngine())
    first, second = "A" * 40, "B" * 40
    offers = (described(keyed(first)), described(keyed(first), version=2), described(keyed(second), session=8))
    keys = [(await answered(phone, offer)).media[0].cryptos[0].key for offer in offers]
    assert keys[0] == keys[1] != keys[2]
    ours = [crypto.key for crypto in parse((await phone.offer(SOUND, srtp=True)).decode()).media[0].cryptos]
    assert not set(ours) & set(keys)


async def test_a_phone_that_takes_requests_for_lower_rates_is_answered_so() -> None:
    offer = parse((Path(__file__).parents[1] / "data" / "sdp" / "cisco_video.sdp").read_text())
    body = await media(FakeEngine()).answer(offer, BROWSER, srtp_required=False, srtp_allowed=False)
    assert parse(body.decode()).media[1].codecs[0].feedback == ("nack pli", "ccm fir", "ccm tmmbr")
