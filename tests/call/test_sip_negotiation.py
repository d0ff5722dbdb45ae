"""Offers inside a standing call: who may speak when, what is tried again, and what is never asked twice."""

from __future__ import annotations

from mediaserver.call.leg import Codecs
from mediaserver.call.sip_leg import SipLeg
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from mediaserver.sip.session_states import SessionState
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import POLICY, leg_of, settle, taken
from tests.call.test_sip_media import BROWSER, PICTURE, UNKNOWN, VOICE, described, media

SOUND: Codecs = {"audio": (KNOWN["PCMU"],)}


async def talking(other: Codecs = BROWSER, *, offer: bytes | None = None) -> tuple[SipLeg, FakeSession, FakeLeg]:
    """A phone that called by sound alone and was answered; the leg on the other side speaks `other`."""
    leg, session = await taken(offer or serialize(described(VOICE)).encode())
    browser = FakeLeg("browser", codecs=other)
    await leg.meet(browser)
    leg.settle_with(browser)
    session.happen(sip.Confirmed(None))
    await settle()
    session.log.clear()
    return leg, session, browser


def said(session: FakeSession, kind: str) -> list[bytes]:
    return [entry[1] for entry in session.log if entry[0] == kind]


async def test_a_picture_added_by_the_phone_is_answered_with_ours() -> None:
    leg, session, _ = await talking()
    session.happen(sip.Reoffered(serialize(described(VOICE, PICTURE, version=2)).encode()))
    await settle()
    answer = parse(said(session, "answer_reoffer")[0].decode())
    assert [bool(m.port) for m in answer.media] == [True, True]
    assert set(leg.media) == {"audio", "video"}


async def test_a_picture_is_declined_where_the_other_side_has_none() -> None:
    leg, session, _ = await talking(SOUND)
    session.happen(sip.Reoffered(serialize(described(VOICE, PICTURE, *UNKNOWN, version=2)).encode()))
    await settle()
    answer = parse(said(session, "answer_reoffer")[0].decode())
    assert [bool(m.port) for m in answer.media] == [True, False, False, False, False, False]
    assert set(leg.media) == {"audio"}


async def test_a_reinvite_without_a_body_is_offered_everything_and_its_ack_decides() -> None:
    leg, session, _ = await talking()
    session.happen(sip.Reoffered(None))
    await settle()
    offer = parse(said(session, "answer_reoffer")[0].decode())
    assert [(m.kind, m.direction) for m in offer.media] == [("audio", "sendrecv"), ("video", "sendrecv")]
    assert set(leg.media) == {"audio"}
    session.happen(sip.Confirmed(serialize(described(VOICE, PICTURE.replace("97", "96"))).encode()))
    await settle()
    assert set(leg.media) == {"audio", "video"}


async def test_an_ack_without_its_answer_changes_nothing() -> None:
    leg, session, _ = await talking()
    for body in (None, b"nonsense"):
        session.happen(sip.Reoffered(None))
        session.happen(sip.Confirmed(body))
        await settle()
    assert not leg.ended
    assert set(leg.media) == {"audio"}
    assert len(leg.transports) == 1


async def test_a_reinvite_taken_back_before_our_answer_changes_nothing() -> None:
    leg, session, _ = await talking()
    session.withdrawn = True
    session.happen(sip.Reoffered(serialize(described(VOICE, PICTURE, version=2)).encode()))
    await settle()
    assert not leg.ended
    assert set(leg.media) == {"audio"}
    assert len(leg.transports) == 1


BOTH = serialize(described(VOICE, PICTURE)).encode()


async def test_a_phone_whose_picture_was_declined_is_asked_for_it_when_the_other_side_has_one() -> None:
    leg, session, _ = await talking(SOUND, offer=BOTH)
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    offer = parse(said(session, "reoffer")[0].decode())
    assert [m.kind for m in offer.media if m.port] == ["audio", "video"]
    assert [codec.name for codec in offer.media[1].codecs] == ["H264"]
    session.happen(sip.ReofferAnswered(serialize(described(VOICE, PICTURE.replace("97", "96"))).encode()))
    await settle()
    assert set(leg.media) == {"audio", "video"}


async def test_what_the_phone_refused_is_not_asked_again() -> None:
    leg, session, _ = await talking(SOUND, offer=BOTH)
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    session.happen(sip.ReofferRejected(488))
    await settle()
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    assert len(said(session, "reoffer")) == 1
    assert set(leg.media) == {"audio"}
    assert len(leg.transports) == 1


async def test_our_offer_waits_for_the_phones_and_comes_again_after_a_lost_glare() -> None:
    leg, session, _ = await talking(SOUND, offer=BOTH)
    session.may_reoffer = False
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    assert not said(session, "reoffer")
    session.may_reoffer = True
    session.happen(sip.Confirmed(None))
    await settle()
    assert len(said(session, "reoffer")) == 1
    session.may_reoffer = False
    session.happen(sip.ReofferRejected(491))
    session.happen(sip.Reoffered(serialize(described(VOICE, PICTURE.replace("40002", "0"), version=2)).encode()))
    await settle()
    session.may_reoffer = True
    session.happen(sip.Confirmed(None))
    await settle()
    assert len(said(session, "reoffer")) == 2


async def test_a_phone_that_meets_the_other_side_is_left_alone() -> None:
    leg, session, _ = await talking(SOUND)
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    assert not said(session, "reoffer")


async def test_nothing_is_offered_after_the_end() -> None:
    leg, session = leg_of(FakeEngine(), POLICY), FakeSession("incoming")
    leg.take(session, BOTH)  # type: ignore[arg-type]
    await leg.meet(FakeLeg("browser", codecs=SOUND))
    session.may_reoffer = False
    await leg.meet(FakeLeg("browser", codecs=BROWSER))
    session.happen(sip.Ended("remote"))
    await settle()
    session.may_reoffer, session.state = True, SessionState.ENDED
    assert not said(session, "reoffer")


async def test_the_offer_is_encrypted_where_the_call_is() -> None:
    offer = await media(FakeEngine()).offer(SOUND, srtp=True)
    _, session, _ = await talking(offer=offer)
    session.happen(sip.Reoffered(None))
    await settle()
    ours = parse(said(session, "answer_reoffer")[0].decode())
    assert {m.protocol for m in ours.media} == {"RTP/SAVP"}
