"""The media of a SIP leg: what is offered and answered, with which keys, and what the engine is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.call.leg import Codecs
from mediaserver.call.sip_media import SipMedia, SipMediaSettings
from mediaserver.engine.commands import AddDownTrack, AddUpTrack, SetRtpRemote, UpdateDownTrack
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction
from mediaserver.sdp.parser import parse
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
    caller.accept_answer(answer)


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
    offer = parse(caller.repeat_offer().decode())
    for direction, expected in (("sendonly", "recvonly"), ("inactive", "inactive"), ("sendrecv", "sendrecv")):
        held = replace(offer, media=tuple(replace(m, direction=Direction(direction)) for m in offer.media))
        answer = parse(callee.answer_reoffer(held).decode())
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
