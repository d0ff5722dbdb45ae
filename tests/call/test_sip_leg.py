"""A SIP leg: dialling, being dialled, hold that stays on this side, keyframes by INFO, and who ended it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mediaserver.call.dial_failed import DialFailed, warning_value
from mediaserver.call.events import EndCause, LegEvent, MediaChanged, Ringing
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.sip_policy import SipPolicy, srtp_towards
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import RequestKeyframe
from mediaserver.engine.events import KeyframeNeeded, MediaTimeout, TransportClosed
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_media import BROWSER, SETTINGS, media

POLICY = SipPolicy(("opus", "PCMU"), ("H264",), "prefer")


def leg_of(engine: FakeEngine, policy: SipPolicy = POLICY) -> SipLeg:
    return SipLeg(
        leg_id="leg",
        contact_id="contact",
        name="phone",
        party="agent",
        engine=engine,  # type: ignore[arg-type]
        settings=SETTINGS,
        policy=policy,
    )


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def dialled(engine: FakeEngine) -> tuple[SipLeg, FakeSession]:
    """A leg whose phone has answered."""
    leg, session = leg_of(engine), FakeSession()
    offers: list[bytes] = []

    async def make(body: bytes) -> FakeSession:
        offers.append(body)
        return session

    dial = asyncio.ensure_future(leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
    await settle()
    answer = await media(FakeEngine()).answer(
        parse(offers[0].decode()), BROWSER, srtp_required=False, srtp_allowed=True
    )
    session.happen(sip.Answered(answer))
    await dial
    return leg, session


async def test_dial_returns_when_the_phone_answers_and_tracks_exist() -> None:
    leg, _ = await dialled(FakeEngine())
    assert set(leg.media) == {"audio", "video"}
    assert [codec.name for codec in leg.codecs["video"]] == ["H264", "H264"]
    assert leg.answered_at is not None


async def test_a_certificate_that_was_not_promised_ends_the_call_and_says_so() -> None:
    engine = FakeEngine()
    leg, _ = await dialled(engine)
    engine.deliver(TransportClosed(id=leg.transports[0], reason="fingerprint_mismatch"))
    await settle()
    assert leg.end_cause == EndCause("system", "fingerprint_mismatch")


async def test_dial_tells_of_ringing_and_fails_with_the_phones_code() -> None:
    leg, session = leg_of(FakeEngine()), FakeSession()
    seen: list[LegEvent] = []
    leg.listen(lambda _, event: seen.append(event))

    async def make(body: bytes) -> FakeSession:
        return session

    dial = asyncio.ensure_future(leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
    await settle()
    session.happen(sip.Progress(180, "Ringing", None))
    session.happen(sip.Rejected(486, "Busy Here"))
    with pytest.raises(DialFailed) as failure:
        await dial
    await settle()
    assert failure.value.code == 486
    assert Ringing(180) in seen
    assert leg.end_cause == EndCause("agent", "rejected", 486, "Busy Here")


async def test_an_answer_that_cannot_be_used_fails_the_dial_and_hangs_up() -> None:
    leg, session = leg_of(FakeEngine()), FakeSession()

    async def make(body: bytes) -> FakeSession:
        return session

    dial = asyncio.ensure_future(leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
    await settle()
    session.happen(sip.Answered(b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"))
    with pytest.raises(DialFailed) as failure:
        await dial
    await settle()
    assert failure.value.code == 488
    assert session.log[-1][0] == "hangup"


async def test_hold_and_resume_are_answered_here_and_change_only_our_sending() -> None:
    leg, session = await dialled(FakeEngine())
    events: list[LegEvent] = []
    leg.listen(lambda _, event: events.append(event))
    offer = phones_view(leg)
    held = replace(offer, media=tuple(replace(m, direction=Direction.INACTIVE) for m in offer.media))
    session.happen(sip.Reoffered(serialize(held).encode()))
    await settle()
    kind, body = session.log[-1]
    assert kind == "answer_reoffer"
    assert {m.direction for m in parse(body.decode()).media} == {Direction.INACTIVE}
    assert events == [MediaChanged()]
    assert leg.media["audio"].down is not None
    assert not leg.media["audio"].down.active


def phones_view(leg: SipLeg) -> SessionDescription:
    """The session as the phone would offer it again."""
    remote = leg._sip_media.remote
    assert remote is not None
    return remote


async def test_a_reoffer_that_cannot_be_taken_leaves_the_session_alone() -> None:
    leg, session = await dialled(FakeEngine())
    session.happen(sip.Reoffered(b"not a session description"))
    await settle()
    assert session.log[-1] == ("reject_reoffer", 488)
    assert not leg.ended


async def test_keyframes_are_asked_for_by_info_where_rtcp_cannot() -> None:
    engine = FakeEngine()
    leg, session = await dialled(engine)
    up = leg.media["video"].up
    assert up is not None
    engine.deliver(KeyframeNeeded(id=up.id))
    kind, content_type, body = session.log[-1]
    assert (kind, content_type) == ("info", "application/media_control+xml")
    assert b"picture_fast_update" in body


async def test_a_phone_that_asks_by_info_gets_a_keyframe_from_whoever_sends_to_it() -> None:
    engine = FakeEngine()
    leg, session = await dialled(engine)
    down = leg.media["video"].down
    assert down is not None
    source = UpTrack(engine=engine, transport=1, kind="video", mid=None, codecs=down.codecs)  # type: ignore[arg-type]
    down.subscribe(source)
    engine.sent.clear()
    session.happen(sip.Info("application/dtmf-relay", b"picture_fast_update"))
    session.happen(sip.Info("Application/Media_Control+XML; charset=utf-8", b"<x/>"))
    await settle()
    assert engine.sent == []
    session.happen(sip.Info("Application/Media_Control+XML; charset=utf-8", b"<picture_fast_update/>"))
    await settle()
    (asked,) = engine.sent
    assert isinstance(asked, RequestKeyframe)
    assert asked.id == source.id


async def test_a_voice_that_stops_ends_the_leg_but_a_camera_may_rest() -> None:
    engine = FakeEngine()
    leg, _ = await dialled(engine)
    audio, video = leg.transports
    engine.deliver(MediaTimeout(id=video, silent_ms=30_000))
    await settle()
    assert not leg.ended
    engine.deliver(MediaTimeout(id=audio, silent_ms=30_000))
    await settle()
    assert leg.end_cause is not None
    assert (leg.end_cause.by, leg.end_cause.reason) == ("system", "media_timeout")


async def test_hanging_up_names_the_phone_and_closes_its_ports() -> None:
    engine = FakeEngine()
    leg, session = await dialled(engine)
    ports = leg.transports
    session.happen(sip.Ended("remote"))
    await settle()
    assert leg.end_cause is not None
    assert (leg.end_cause.by, leg.end_cause.reason) == ("agent", "hangup")
    assert engine.closed == list(ports)


async def taken(offer: bytes | None, policy: SipPolicy = POLICY) -> tuple[SipLeg, FakeSession]:
    leg, session = leg_of(FakeEngine(), policy), FakeSession("incoming")
    leg.take(session, offer)  # type: ignore[arg-type]
    return leg, session


async def test_an_incoming_call_is_answered_with_what_the_other_leg_speaks() -> None:
    offer = await media(FakeEngine()).offer(BROWSER, srtp=False)
    leg, session = await taken(offer)
    await leg.meet(FakeLeg("other", codecs={"audio": (KNOWN["PCMU"],)}))
    kind, body = session.log[-1]
    answer = parse(body.decode())
    assert kind == "answer"
    assert [m.rejected for m in answer.media] == [False, True]
    assert [codec.name for codec in answer.media[0].codecs] == ["PCMU", "telephone-event"]


async def test_an_invite_without_offer_is_answered_with_ours_and_its_ack_completes_it() -> None:
    leg, session = await taken(None)
    assert "audio" in leg.codecs
    await leg.meet(FakeLeg("other", codecs=BROWSER))
    _, ours = session.log[-1]
    answer = await media(FakeEngine()).answer(parse(ours.decode()), BROWSER, srtp_required=False, srtp_allowed=True)
    session.happen(sip.Confirmed(answer))
    await settle()
    assert set(leg.media) == {"audio", "video"}


async def test_a_refused_call_carries_code_and_warning() -> None:
    leg, session = await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))
    await leg.refuse(EndCause("system", "no_common_media", 488), warning='305 x "nothing"')
    assert session.log[0] == ("reject", 488, {"Warning": '305 x "nothing"'})


async def test_cancelling_ends_the_leg_by_its_caller() -> None:
    leg, session = await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))
    session.happen(sip.Cancelled())
    await settle()
    assert leg.end_cause == EndCause("agent", "cancelled", 487)


@pytest.mark.parametrize(
    ("policy", "keys", "transport", "encrypted"),
    [
        ("require", "sdes", "udp", True),
        ("prefer", "sdes", "udp", False),
        ("prefer", "sdes", "tls", True),
        ("prefer", "dtls", "udp", True),
        ("never", "dtls", "tls", False),
    ],
)
def test_keys_of_sdes_are_offered_over_encrypted_signalling_only_unless_required(
    policy: str, keys: str, transport: str, encrypted: bool
) -> None:
    assert srtp_towards(policy, keys, transport) is encrypted  # type: ignore[arg-type]


def test_a_warning_stays_one_quoted_line() -> None:
    assert warning_value(305, "ms", 'no "x"\r\nEvil: 1') == '305 ms "no \\"x\\"  Evil: 1"'


async def test_a_leg_tells_its_listener_once_that_it_is_over() -> None:
    leg, _ = await dialled(FakeEngine())
    over: list[Leg] = []
    leg.listen(lambda ended, event: over.append(ended) if type(event).__name__ == "LegEnded" else None)
    await leg.end(EndCause("system", "shutdown"))
    await leg.end(EndCause("caller", "hangup"))
    assert over == [leg]
    assert leg.end_cause is not None
    assert leg.end_cause.reason == "shutdown"


async def test_an_incoming_call_is_answered_as_the_phone_speaks_where_the_other_leg_is_transcoded_for() -> None:
    offer = await media(FakeEngine()).offer({"audio": (KNOWN["PCMU"],)}, srtp=False)
    leg, session = await taken(offer)
    other = FakeLeg("other", codecs={"audio": (KNOWN["PCMA"],)})
    other.transcode = "when_needed"
    await leg.meet(other)
    kind, body = session.log[-1]
    assert kind == "answer"
    assert [codec.name for codec in parse(body.decode()).media[0].codecs] == ["PCMU", "telephone-event"]
