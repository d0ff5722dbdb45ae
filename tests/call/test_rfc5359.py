"""The service examples of RFC 5359 by section, as far as a back-to-back user agent has a part in them.

§2.17 (automatic redial) is in ``tests/sip/test_rfc5359_redial``: there it is the registrar's and notifier's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mediaserver.call.agents import Presentation
from mediaserver.call.booking import Party
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.redirects import Redirects
from mediaserver.call.ringing import Attempt, ring_group
from mediaserver.call.routing import Destination, Question, Router
from mediaserver.call.sip_leg import SipLeg
from mediaserver.config.loader import load_text
from mediaserver.config.routes import Group
from mediaserver.config.sections import Target
from mediaserver.sdp.description import Direction
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from mediaserver.sip.replaces import replaces_of
from mediaserver.sip.uri import parse_sip_uri
from tests.call import conference_house as conference
from tests.call import test_joining as joining
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import dialled, phones_view, settle, taken
from tests.call.test_sip_media import BROWSER, media
from tests.call.test_transfers import CAROL, NAMED, Booked, House, impatient, told, wait

__all__ = ["impatient"]

PICKUP = Group(members=("agent", "bill", "carol", "park"), pickup=True)
"""Colleagues who may take each other's calls; without that nobody may (`test_taking_over`)."""


async def directions(leg: SipLeg, session: FakeSession, wanted: Direction) -> set[Direction]:
    """Our answer to a re-INVITE of the phone with this direction everywhere."""
    offer = phones_view(leg)
    changed = replace(offer, media=tuple(replace(each, direction=wanted) for each in offer.media))
    session.happen(sip.Reoffered(serialize(changed).encode()))
    await settle()
    kind, body = session.log[-1]
    assert kind == "answer_reoffer"
    return {each.direction for each in parse(body.decode()).media}


async def test_2_1_call_hold() -> None:
    leg, session = await dialled(FakeEngine())
    assert await directions(leg, session, Direction.SENDONLY) == {Direction.RECVONLY}
    assert leg.media["audio"].down is not None
    assert not leg.media["audio"].down.active
    assert await directions(leg, session, Direction.SENDRECV) == {Direction.SENDRECV}
    assert leg.media["audio"].down.active


async def test_2_2_consultation_hold() -> None:
    """Bob holds Alice, talks to Carol in a second call, hangs up there and resumes: Alice's call knows nothing of it."""
    house = House()
    alice, phone, session, call = await house.talk("alice")
    assert await directions(phone, session, Direction.SENDONLY) == {Direction.RECVONLY}
    carol, second_phone, second, _ = await house.talk("carol")
    second.happen(sip.Ended("remote"))
    await wait()
    assert carol.ended
    assert second_phone.ended
    assert await directions(phone, session, Direction.SENDRECV) == {Direction.SENDRECV}
    assert not alice.ended
    assert call.callee is phone


async def test_2_3_music_on_hold() -> None:
    """The music comes from another place (RFC 7088): the held one is asked by a re-INVITE without SDP, and hears it."""
    leg, session = await dialled(FakeEngine())
    assert await directions(leg, session, Direction.SENDONLY) == {Direction.RECVONLY}
    session.happen(sip.Reoffered(None))
    await settle()
    kind, ours = session.log[-1]
    assert kind == "answer_reoffer"
    music = await media(FakeEngine()).answer(parse(ours.decode()), BROWSER, srtp_required=False, srtp_allowed=True)
    only = parse(music.decode())
    only = replace(only, media=tuple(replace(each, direction=Direction.SENDONLY) for each in only.media))
    session.happen(sip.Confirmed(serialize(only).encode()))
    await settle()
    agreed = leg._sip_media.agreed["audio"]
    assert agreed.direction is Direction.RECVONLY
    assert not leg.ended


async def test_2_4_transfer_unattended() -> None:
    house = House()
    visitor, phone, session, call = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert told(session) == [("accept_referral",), ("notify_referral", 180), ("notify_referral", 200)]
    assert (call.caller, call.callee.name) == (visitor, "carol")
    assert phone.ended


async def test_2_5_transfer_attended() -> None:
    house = House()
    visitor, _, session, call = await house.talk()
    carol, _, second, _ = await house.talk("carol")
    house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert {call.caller, call.callee} == {visitor, carol}
    assert told(session)[-1] == ("notify_referral", 200)


class Answering:
    """Phones by name: those in `failures` do not take the call."""

    def __init__(self, **failures: DialFailed) -> None:
        self.failures = failures
        self.rung: list[str] = []

    async def ring(self, name: str) -> Leg:
        self.rung.append(name)
        await asyncio.sleep(0)
        if name in self.failures:
            raise self.failures[name]
        return FakeLeg(name)


async def forwarded(failure: DialFailed) -> tuple[Leg, list[str]]:
    """Who answers a call to Bob, whose phone says where it is to go; and who was rung."""
    phones = Answering(bob=failure)

    async def ring(request: CallRequest) -> Leg:
        return await phones.ring(request.destination.target.user or "")

    async def decide(question: Question) -> Destination | None:
        return Destination(Target(user=question.called), question.called, "x")

    request = CallRequest(
        "c", FakeLeg("alice"), Destination(Target(user="bob"), "bob", "x"), Presentation(name="alice")
    )
    return await Redirects(ring=ring, decide=decide).ring(request), phones.rung


async def test_2_6_transfer_instant_messaging() -> None:
    """Bob has sent Carol the address of his call as a text, with a Replaces in it; she calls it, and Bob is out.

    How the text reached her is not our business: what it names is Bob's dialog with us.
    """
    house = House()
    alice, bob, session, call = await house.talk("alice")
    told = parse_sip_uri("sip:alice@example.org?Replaces=other-call%3Bto-tag%3Dours%3Bfrom-tag%3Dtheirs")
    named = replaces_of(told)
    assert named == NAMED
    house.sessions[NAMED] = session
    house.groups.append(PICKUP)
    carol, incoming = await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))
    await house.take_over(carol, named, user="carol")
    await wait()
    assert (call.caller, call.callee) == (alice, carol)
    assert [entry[0] for entry in incoming.log] == ["answer"]
    assert bob.ended


@pytest.mark.parametrize("code", [301, 302, 305])
async def test_2_7_call_forwarding_unconditional(code: int) -> None:
    leg, rung = await forwarded(DialFailed(code, "Moved", redirect=(CAROL,)))
    assert (leg.name, rung) == ("carol", ["bob", "carol"])


@pytest.mark.parametrize(("section", "code"), [("2.8 busy", 486), ("2.9 no answer", 408)])
async def test_2_8_and_2_9_call_forwarding_busy_and_no_answer(section: str, code: int) -> None:
    """The house does it by a serial group: Bob, and whoever is next."""
    phones = Answering(bob=DialFailed(code, section))
    group = Group(members=("bob", "carol"), ring="serial")
    leg = await ring_group(group, lambda name: [Attempt(name, lambda: phones.ring(name))], timeout_s=5)
    assert (leg.name, phones.rung) == ("carol", ["bob", "carol"])


async def test_2_10_three_way_conference_third_party_is_added() -> None:
    """The mix is ours and not at an end: whoever adds Carol names her, and all three hear each other."""
    mixed = conference.House()
    alice, bob, carol = (mixed.leg(name) for name in ("alice", "bob", "carol"))
    call = await mixed.call(alice, bob)
    await call.add(carol)
    everybody = [alice, bob, carol]
    assert [mixed.hears(leg, everybody) for leg in everybody] == [
        ["bob", "carol"],
        ["alice", "carol"],
        ["alice", "bob"],
    ]
    await call.end(EndCause("system", "over"))


async def test_2_11_three_way_conference_third_party_joins() -> None:
    """Carol's INVITE names Bob's dialog in a Join: all three hear each other, and nobody is put on hold for it."""
    mixed = joining.House(groups=[joining.TEAM])
    alice, bob, call = await mixed.talk(user="bob")
    told = list(mixed.sessions[joining.NAME].log)
    carol, incoming = await mixed.comes()
    await mixed.joining.join(carol, mixed.joining.look(joining.NAME, user="carol", trunk=None))
    everybody = [alice, bob, carol]
    assert [mixed.hears(leg, everybody) for leg in everybody] == [  # type: ignore[arg-type]
        ["bob", "carol"],
        ["alice", "carol"],
        ["alice", "bob"],
    ]
    assert [entry[0] for entry in incoming.log if entry[0] != "identify"] == ["answer"]
    assert mixed.sessions[joining.NAME].log == told
    await call.end(EndCause("system", "over"))


async def test_2_12_find_me() -> None:
    phones = Answering(desk=DialFailed(408, ""), mobile=DialFailed(480, ""), home=DialFailed(486, ""))
    group = Group(members=("desk", "mobile", "home", "box"), ring="serial")
    leg = await ring_group(group, lambda name: [Attempt(name, lambda: phones.ring(name))], timeout_s=5)
    assert (leg.name, phones.rung) == ("box", ["desk", "mobile", "home", "box"])


SCREENING = """
users: {bob: {secret: {env: A}}}
trunks: {world: {target: 'sip:192.0.2.1'}}
routes:
  - {match: {caller: '+49666*'}, to: {refuse: 603}}
  - {match: {called: '0900*'}, to: {refuse: 403}}
  - {match: {called: '0*'}, to: {trunk: world}}
"""


@pytest.mark.parametrize(
    ("section", "question", "refused"),
    [
        ("2.13 incoming", Question(called="bob", caller="+49666123"), 603),
        ("2.13 incoming", Question(called="bob", caller="+4930123"), None),
        ("2.14 outgoing", Question(called="0900123", caller="bob"), 403),
        ("2.14 outgoing", Question(called="030123", caller="bob"), None),
    ],
)
def test_2_13_and_2_14_call_screening(section: str, question: Question, refused: int | None) -> None:
    found = Router(load_text(SCREENING).config).route(question)
    assert found is not None, section
    assert found.target.refuse == refused


async def test_2_15_call_park() -> None:
    """Bob refers Alice to where calls are parked; Bill takes her from there with INVITE and Replaces."""
    house = House()
    park, parked = await dialled(FakeEngine())
    house.rings = park
    alice, bob, session, call = await house.talk("alice")
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert (call.caller, call.callee) == (alice, park)
    assert bob.ended
    house.sessions[NAMED] = parked
    park.booking = Booked(Party(address="192.0.2.9", user="park"))  # type: ignore[assignment]
    house.groups.append(PICKUP)
    bill, incoming = await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))
    await house.take_over(bill, NAMED, user="bill")
    await wait()
    assert (call.caller, call.callee) == (alice, bill)
    assert [entry[0] for entry in incoming.log] == ["answer"]
    assert park.ended


async def test_2_16_call_pickup() -> None:
    """Bill's INVITE with Replaces takes the call that Bob's phone has."""
    house = House()
    alice, bob, session, call = await house.talk("alice")
    house.sessions[NAMED] = session
    house.groups.append(PICKUP)
    bill, incoming = await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))
    await house.take_over(bill, NAMED, user="bill")
    await wait()
    assert (call.caller, call.callee) == (alice, bill)
    assert [entry[0] for entry in incoming.log] == ["answer"]
    assert bob.ended


async def test_2_18_click_to_dial() -> None:
    """The controller refers the agent's phone, which is in a call with it, to whom the agent clicked on."""
    house = House()
    controller, _, session, call = await house.talk("controller")
    session.happen(sip.Referred(parse_sip_uri("sip:carol@example.org;method=INVITE"), None, None))
    await wait()
    assert call.callee.name == "carol"
    await controller.end(EndCause("caller", "hangup"))
    await wait()
    assert call.callee.ended
