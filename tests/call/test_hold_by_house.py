"""A phone that the house puts on hold is told so by SDP, and when it is taken back, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.call.sip_leg import SipLeg
from mediaserver.sdp.description import SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from tests.call.fakes import FakeLeg, FakeSession
from tests.call.test_sip_leg import POLICY, settle, taken
from tests.call.test_sip_media import BROWSER, PICTURE, VOICE, described
from tests.call.test_sip_negotiation import said, talking

BOTH = serialize(described(VOICE, PICTURE)).encode()


def last(session: FakeSession, kind: str = "reoffer") -> SessionDescription:
    return parse(said(session, kind)[-1].decode())


def ways(description: SessionDescription) -> list[str]:
    return [section.direction for section in description.media if section.port]


async def agrees(session: FakeSession, *directions: str) -> None:
    """The phone answers our offer with these directions."""
    offered = last(session)
    sections = [
        replace(section, direction=direction) for section, direction in zip(offered.media, directions, strict=True)
    ]
    answer = replace(described(VOICE, PICTURE), media=tuple(sections))
    session.happen(sip.ReofferAnswered(serialize(answer).encode()))
    await settle()


@pytest.mark.parametrize(("hears", "ours", "theirs"), [(True, "sendonly", "recvonly"), (False, "inactive", "inactive")])
async def test_hold_and_resume_are_told_with_the_same_lines_ports_and_codecs(
    hears: bool, ours: str, theirs: str
) -> None:
    leg, session, _ = await talking(offer=BOTH)
    ports = leg.transports
    await leg.show_hold(on=True, hears=hears)
    held = last(session)
    assert ways(held) == [ours, ours]
    await agrees(session, theirs, theirs)
    assert [media.direction for media in leg._sip_media.agreed.values()] == [ours, ours]
    await leg.show_hold(on=True, hears=hears)
    assert len(said(session, "reoffer")) == 1  # nothing new
    await leg.show_hold(on=False, hears=False)
    resumed = last(session)
    assert ways(resumed) == ["sendrecv", "sendrecv"]
    assert int(resumed.origin.version) == int(held.origin.version) + 1
    assert [section.port for section in resumed.media] == [section.port for section in held.media]
    assert [section.codecs for section in resumed.media] == [section.codecs for section in held.media]
    await agrees(session, "sendrecv", "sendrecv")
    assert [media.direction for media in leg._sip_media.agreed.values()] == ["sendrecv", "sendrecv"]
    assert leg.transports == ports


async def test_a_phone_that_offers_while_it_is_held_stays_held() -> None:
    leg, session, _ = await talking()
    await leg.show_hold(on=True, hears=True)
    await agrees(session, "recvonly")
    session.happen(sip.Reoffered(serialize(described(VOICE, PICTURE, version=2)).encode()))
    await settle()
    assert ways(last(session, "answer_reoffer")) == ["sendonly", "sendonly"]
    session.happen(
        sip.Reoffered(serialize(described(VOICE.replace("\r\n", "\r\na=sendonly\r\n", 1), version=3)).encode())
    )
    await settle()
    assert ways(last(session, "answer_reoffer")) == ["inactive"]  # both hold


async def test_a_hold_waits_for_what_is_under_way_and_comes_again_after_a_lost_glare() -> None:
    leg, session, _ = await talking()
    session.may_reoffer = False
    await leg.show_hold(on=True, hears=False)
    assert said(session, "reoffer") == []
    session.may_reoffer = True
    session.happen(sip.Reoffered(serialize(described(VOICE, version=2)).encode()))
    await settle()
    assert ways(last(session)) == ["inactive"]
    session.happen(sip.ReofferRejected(491))
    await settle()
    assert len(said(session, "reoffer")) == 2
    session.happen(sip.ReofferRejected(488))
    await settle()
    assert len(said(session, "reoffer")) == 2  # what the phone will not have is not asked for again
    assert not leg.ended


async def test_a_hold_that_is_over_before_it_could_be_told_is_one_offer_of_what_holds_then() -> None:
    leg, session, _ = await talking()
    await leg.show_hold(on=True, hears=True)
    await leg.show_hold(on=False, hears=False)
    assert len(said(session, "reoffer")) == 1
    await agrees(session, "recvonly")
    assert ways(last(session)) == ["sendrecv"]


async def test_a_trunk_that_does_not_want_to_be_told_is_not() -> None:
    leg, session = await taken(serialize(described(VOICE)).encode(), replace(POLICY, tells_hold=False))
    other = FakeLeg("browser", codecs=BROWSER)
    await leg.meet(other)
    session.happen(sip.Confirmed(None))
    await settle()
    await leg.show_hold(on=True, hears=True)
    assert said(session, "reoffer") == []


async def held_call() -> tuple[Call, SipLeg, FakeSession]:
    leg, session = await taken(serialize(described(VOICE)).encode())
    call = Call(call_id="c", caller=leg, callee=FakeLeg("x", codecs=BROWSER), longest_s=60, on_ended=lambda *_: None)
    await call.join()
    session.happen(sip.Confirmed(None))
    await settle()
    call.hold(leg, on=True)
    await settle()
    assert ways(last(session)) == ["inactive"]
    await agrees(session, "inactive")
    return call, leg, session


async def test_a_call_tells_the_leg_that_is_held_and_no_other() -> None:
    call, leg, session = await held_call()
    assert call.passing.is_held(leg)
    call.hold(leg, on=False)
    await settle()
    assert ways(last(session)) == ["sendrecv"]
    await call.end(EndCause("system", "over"))


async def test_whoever_is_given_away_while_held_is_taken_back_first() -> None:
    call, leg, session = await held_call()
    (given,) = await call.surrender(call.callee, EndCause("system", "transferred"))
    await settle()
    assert given is leg
    assert ways(last(session)) == ["sendrecv"]
    await leg.end(EndCause("system", "over"))
