"""Conferences that phones make: who comes in by which REFER, who may not, and how they end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.call.agents import Presentation
from mediaserver.call.booking import Party
from mediaserver.call.call import MAX_MEMBERS, Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.conference_members import conference_state
from mediaserver.call.connected_identity import ConnectedIdentity
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.focus import Focus
from mediaserver.call.routing import Destination
from mediaserver.call.sip_leg import SipLeg
from mediaserver.config.sections import Target
from mediaserver.errors import LimitExceeded
from mediaserver.sip import events as sip
from mediaserver.sip.conference_info import trunk_watcher
from mediaserver.sip.uri import SipUri, parse_sip_uri
from mediaserver.sip.user_agent import IncomingRemoval
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import dialled
from tests.call.test_sip_media import BROWSER
from tests.call.test_transfers import CAROL, NAMED, Booked, House, impatient, told, wait

assert impatient


async def alone(house: House, *, user: str = "agent") -> tuple[SipLeg, FakeSession, Call]:
    """A user's phone has called the number that makes conferences."""
    phone, session = await dialled(FakeEngine())
    phone.booking = Booked(Party(address="192.0.2.9", user=user))  # type: ignore[assignment]
    phone.contact_id = "conference-contact"
    where = Destination(Target(conference="new"), "conference", "x")
    request = CallRequest(
        "conference-contact",
        phone,
        where,
        Presentation(name=user),
        note=lambda what, detail: house.notes.append((what, detail)),
    )
    focus = await house.conferences.open(request)
    call = Call(
        call_id="conference",
        caller=phone,
        callee=focus,
        longest_s=60,
        on_ended=lambda call, cause: (house.ended.append(cause), house.conferences.over(call)),  # type: ignore[func-returns-value]
        on_transfer=lambda call, leg, event: house.transfers.asked(request, call, leg, event),
        engine=house.engine,
    )
    house.conferences.began(call)
    await call.join()
    house.calls.append(call)
    return phone, session, call


def names(call: Call) -> set[str]:
    return {leg.name for leg in call.members if not isinstance(leg, Focus)}


def uri(call: Call) -> SipUri:
    return parse_sip_uri(f"sip:{call.focus}@example.org")


async def test_a_phone_that_makes_a_conference_is_told_its_uri() -> None:
    house = House()
    phone, session, call = await alone(house)
    assert session.focus == call.focus
    assert call.focus.startswith("conf-")
    assert house.conferences.of(call.focus) is call
    await phone.end(EndCause("caller", "hangup"))
    await wait()
    assert (len(house.conferences), house.conferences.of(call.focus)) == (0, None)
    assert house.ended == [EndCause("caller", "hangup")]


async def test_a_refer_to_the_focus_invites_and_whoever_asked_stays() -> None:
    house = House()
    phone, session, call = await alone(house)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert told(session) == [("accept_referral",), ("notify_referral", 180), ("notify_referral", 200)]
    assert names(call) == {phone.name, "carol"}
    (asked,) = house.rung
    assert (asked.focus, asked.own_headers) == (call.focus, (("Referred-By", "<sip:agent@example.org>"),))
    assert ("added", f"carol by {phone.name}") in house.notes
    await phone.end(EndCause("caller", "hangup"))
    await wait()
    assert (names(call), house.ended) == ({"carol"}, [])
    assert isinstance(house.rings, FakeLeg)
    await house.rings.end(EndCause("agent", "hangup"))
    await wait()
    assert house.ended == [EndCause("agent", "hangup")]


@pytest.mark.parametrize(("number", "code"), [("0900", 403), ("nobody", 404)])
async def test_nobody_is_invited_whom_the_phone_could_not_call(number: str, code: int) -> None:
    house = House()
    _, session, _ = await alone(house)
    session.happen(sip.Referred(parse_sip_uri(f"sip:{number}@example.org"), None, None))
    await wait()
    assert (told(session), house.rung) == ([("reject_referral", code)], [])
    assert house.routes.questions[0].caller == "agent"


async def test_an_invitation_that_is_declined_is_told_and_the_conference_goes_on() -> None:
    house = House(rings=DialFailed(603, "Decline"))
    phone, session, call = await alone(house)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert told(session)[-1] == ("notify_referral", 603)
    assert (names(call), phone.ended) == ({phone.name}, False)


async def test_the_first_call_that_is_brought_keeps_its_contact_and_becomes_the_conference() -> None:
    house = House()
    visitor, first, _, talk = await house.talk()
    phone, session, call = await alone(house)
    address = call.focus
    house.sessions[NAMED] = first._session  # type: ignore[assignment]
    session.happen(sip.Referred(uri(call), NAMED, None))
    await wait()
    assert told(session)[-1] == ("notify_referral", 200)
    assert (house.conferences.of(address), talk.focus) == (talk, address)
    assert set(talk.members) == {visitor, phone}
    assert (phone.contact_id, first.end_cause) == ("contact", EndCause("system", "transferred"))
    assert house.ended == [EndCause("system", "transferred")], "the call with nobody but the phone"
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert names(talk) == {"visitor", phone.name, "carol"}
    await phone.end(EndCause("agent", "hangup"))
    await wait()
    assert (visitor.ended, names(talk)) == (False, {"visitor", "carol"})


async def test_a_second_call_comes_to_those_who_are_there() -> None:
    house = House()
    _, session, call = await alone(house)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    visitor, first, _, _ = await house.talk()
    house.sessions[NAMED] = first._session  # type: ignore[assignment]
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert {"visitor", "carol"} < names(call)
    assert (first.ended, visitor.ended, visitor.contact_id) == (True, False, "conference-contact")
    assert ("contact_joined", "contact") in house.notes


@pytest.mark.parametrize(("user", "known", "code"), [("somebody", True, 403), ("agent", False, 481)])
async def test_no_call_is_brought_that_is_not_the_phones_own(user: str, known: bool, code: int) -> None:
    house = House()
    visitor, first, _, _ = await house.talk(user=user)
    _, session, call = await alone(house)
    if known:
        house.sessions[NAMED] = first._session  # type: ignore[assignment]
    session.happen(sip.Referred(uri(call), NAMED, None))
    await wait()
    assert told(session) == [("reject_referral", code)]
    assert (visitor.ended, first.ended) == (False, False)


async def test_a_refer_to_the_uri_takes_whom_the_phone_talks_to_there_and_lets_the_phone_go() -> None:
    house = House()
    visitor, first, asking, talk = await house.talk()
    phone, _, call = await alone(house)
    asking.happen(sip.Referred(uri(call), None, None))
    await wait()
    assert told(asking) == [("accept_referral",), ("notify_referral", 200)]
    assert (set(talk.members), first.ended) == ({visitor, phone}, True)
    expert, second, asking, _ = await house.talk("expert")
    asking.happen(sip.Referred(uri(talk), None, None))
    await wait()
    assert set(talk.members) == {visitor, phone, expert}
    assert (second.ended, expert.contact_id) == (True, "contact")


async def test_an_attended_transfer_into_a_conference_leaves_it_to_the_others() -> None:
    house = House()
    phone, session, call = await alone(house)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    visitor, first, asking, _ = await house.talk()
    house.sessions[NAMED] = phone._session  # type: ignore[assignment]
    asking.happen(sip.Referred(uri(call), NAMED, None))
    await wait()
    assert (names(call), first.ended, phone.ended) == ({"carol", "visitor"}, True, True)
    assert not visitor.ended


async def test_whoever_calls_the_uri_comes_in_until_it_is_full() -> None:
    house = House()
    _, _, call = await alone(house)
    for number in range(MAX_MEMBERS - 2):
        await house.conferences.enter(call, FakeLeg(f"guest {number}", codecs=BROWSER))
    with pytest.raises(LimitExceeded):
        await house.conferences.enter(call, FakeLeg("one too many", codecs=BROWSER))
    assert len(call.members) == MAX_MEMBERS


async def test_an_attended_transfer_of_three_brings_all_of_them() -> None:
    house = House()
    visitor, phone, session, call = await house.talk()
    colleague, second_phone, second, talk = await house.talk("colleague")
    chief: Any = FakeLeg("chief", codecs=BROWSER)
    await talk.add(chief)
    house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert told(session)[-1] == ("notify_referral", 200)
    assert set(call.members) == {visitor, colleague, chief}
    assert (phone.ended, second_phone.ended, chief.contact_id) == (True, True, "contact")
    await asyncio.sleep(0)
    await chief.end(EndCause("agent", "hangup"))
    await wait()
    assert (visitor.ended, colleague.ended) == (False, False)


async def test_who_comes_and_goes_is_shown_and_with_the_last_one_nothing() -> None:
    house = House()
    phone, session, call = await alone(house)
    assert isinstance(house.rings, FakeLeg)
    house.rings.identity = ConnectedIdentity("Carol", "+4989", withheld=True)
    address, state = house.shown[-1]
    assert (address, state) == (call.focus, conference_state(call, "example.org"))
    assert state is not None
    assert [each.entity for each in state.users] == ["sip:agent@example.org"]
    assert state.watchers == {"agent"}
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    _, state = house.shown[-1]
    assert state is not None
    assert [(each.entity, each.name) for each in state.users] == [
        ("sip:agent@example.org", phone.name),
        (f"sip:{house.rings.id}@anonymous.invalid", "anonymous"),
    ]
    await phone.end(EndCause("caller", "hangup"))
    await wait()
    _, state = house.shown[-1]
    assert state is not None
    assert [each.name for each in state.users] == ["anonymous"]
    assert state.watchers == frozenset()
    await house.rings.end(EndCause("agent", "hangup"))
    await wait()
    assert house.shown[-1] == (address, None)


async def test_two_phones_of_a_user_are_one_who_is_there_twice_and_a_held_one_is_shown_so() -> None:
    house = House()
    phone, _, call = await alone(house)
    second, _ = await dialled(FakeEngine())
    second.id = "second"
    second.booking = phone.booking
    await call.add(second)
    call.hold(second, on=True)
    _, state = house.shown[-1]
    assert state is not None
    (user,) = state.users
    assert [(each.entity, each.status) for each in user.endpoints] == [
        ("sip:leg@example.org", "connected"),
        ("sip:second@example.org", "on-hold"),
    ]
    await call.end(EndCause("system", "over"))


async def with_carol(house: House) -> tuple[SipLeg, FakeSession, Call, FakeLeg]:
    phone, session, call = await alone(house)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert isinstance(house.rings, FakeLeg)
    house.rings.identity = ConnectedIdentity("Carol", "carol")
    session.log.clear()
    return phone, session, call, house.rings


async def test_a_refer_with_bye_lets_somebody_go_and_the_others_go_on() -> None:
    house = House()
    phone, session, call, carol = await with_carol(house)
    second, _ = await dialled(FakeEngine())
    await call.add(second)
    session.happen(sip.Referred(CAROL, None, None, removes=True))
    await wait()
    assert told(session) == [("accept_referral",), ("notify_referral", 200)]
    assert carol.end_cause == EndCause("system", "removed")
    assert not phone.ended
    assert not second.ended
    assert ("removed", f"carol by {phone.name}") in house.notes
    await call.end(EndCause("system", "over"))


@pytest.mark.parametrize(
    ("party", "target", "code"),
    [
        (Party(address="192.0.2.9", user="agent"), "sip:dave@example.org", 404),
        (Party(address="192.0.2.9", trunk="pbx"), "sip:carol@example.org", 403),
    ],
)
async def test_nobody_is_let_go_who_is_not_there_or_at_a_trunks_word(party: Party, target: str, code: int) -> None:
    house = House()
    phone, session, call, carol = await with_carol(house)
    phone.booking = Booked(party)  # type: ignore[assignment]
    session.happen(sip.Referred(parse_sip_uri(target), None, None, removes=True))
    await wait()
    assert told(session) == [("reject_referral", code)]
    assert not carol.ended
    await call.end(EndCause("system", "over"))


async def test_a_removal_asked_for_outside_of_the_call_names_who_goes_as_the_conference_shows_him() -> None:
    house = House()
    phone, _, call, carol = await with_carol(house)
    nobody = IncomingRemoval(call.focus, parse_sip_uri("sip:dave@example.org"), "agent")
    assert house.conferences.removal(nobody) == 404
    assert house.conferences.removal(replace(nobody, conference="conf-none", target=CAROL)) == 404
    assert house.conferences.removal(replace(nobody, target=parse_sip_uri(f"sip:{carol.id}@example.org"))) == 200
    await wait()
    assert carol.end_cause == EndCause("system", "removed")
    assert not phone.ended  # who made it is alone in it again
    await call.end(EndCause("system", "over"))


async def test_a_trunk_may_watch_a_conference_as_long_as_it_has_a_leg_there() -> None:
    house = House()
    _, _, call, carol = await with_carol(house)
    carol.booking = Booked(Party(address="192.0.2.9", trunk="pbx"))  # type: ignore[assignment]
    assert conference_state(call, "example.org").watchers == {"agent", trunk_watcher("pbx")}
    await carol.end(EndCause("agent", "hangup"))
    await wait()
    assert house.shown[-1][1] is not None
    assert house.shown[-1][1].watchers == {"agent"}
    await call.end(EndCause("system", "over"))
