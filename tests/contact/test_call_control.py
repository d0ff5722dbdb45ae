"""What software of the house may do with calls, and what it is told when it may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import Dtmf, EndCause
from mediaserver.call.joining import MAX_MEMBERS
from mediaserver.call.signaling import AttributesRefused
from mediaserver.contact.call_control import Wish
from mediaserver.contact.refusals import NotFound, NotNow, Undeliverable
from mediaserver.engine.commands import CloseMix, Play, SendDtmf, SetMix
from tests.contact.call_house import GREETING, CallHouse, settled


@pytest.fixture
async def house() -> AsyncIterator[CallHouse]:
    made = CallHouse()
    yield made
    await made.close()


# -- making calls ------------------------------------------------------------------------------------------------------


async def test_the_first_party_is_rung_and_then_the_other(house: CallHouse) -> None:
    house.calls.gates["ben"] = asyncio.Event()
    made = await house.control.originate(Wish(from_="anna", to="5001", attributes={"ticket": "7"}))
    assert (made.state, made.origin, made.caller, made.called) == ("ringing", "api", "anna", "5001")
    await settled()
    first, second = house.calls.rung
    assert (first.presentation.number, second.presentation.number) == ("5001", "anna")
    assert second.caller is house.calls.legs["anna"]
    assert second.presentation.attributes == {"ticket": "7"}
    house.calls.gates["ben"].set()
    await settled()
    now = house.control.call(made.id)
    assert now.state == "up"
    assert [leg.state for leg in now.legs] == ["up", "up"]
    assert house.types[0] == "contact.started"
    assert [type_ for type_ in house.types if type_ in ("call.first_answered", "call.answered")] == [
        "call.first_answered",
        "call.answered",
    ]


async def test_the_first_party_hears_an_announcement_until_the_other_answers(house: CallHouse) -> None:
    house.calls.gates["ben"] = asyncio.Event()
    await house.control.originate(Wish(from_="anna", to="ben", waiting="greeting"))
    await settled()
    (played,) = house.engine.of(Play)
    assert (played.clip, played.loop) == (GREETING, True)
    house.calls.gates["ben"].set()
    await settled()
    down = house.calls.legs["anna"].media["audio"].down
    assert down is not None
    assert down.source is house.calls.legs["ben"].media["audio"].up


@pytest.mark.parametrize(
    ("failure", "by", "reason"),
    [(DialFailed(486, "Busy"), "agent", "busy"), (DialFailed(480, "No answer"), "system", "no_answer")],
)
async def test_a_first_party_that_does_not_answer_ends_the_call(
    house: CallHouse, failure: DialFailed, by: str, reason: str
) -> None:
    house.calls.fails["anna"] = failure
    made = await house.control.originate(Wish(from_="anna", to="ben"))
    await settled()
    ended = house.control.call(made.id)
    assert (ended.state, ended.ended_by, ended.end_reason, ended.code) == ("ended", by, reason, failure.code)
    assert len(house.calls.rung) == 1
    assert house.types[-1] == "contact.ended"
    assert [record.end_reason for record in house.writer.records] == [reason]


async def test_a_call_can_be_ended_while_the_first_party_is_rung(house: CallHouse) -> None:
    house.calls.gates["anna"] = asyncio.Event()
    made = await house.control.originate(Wish(from_="anna", to="ben"))
    await settled()
    await house.control.hang_up(made.id)
    await settled()
    assert house.control.call(made.id).end_reason == "api"
    assert len(house.contacts) == 0
    with pytest.raises(NotNow):
        await house.control.hang_up(made.id)


async def test_what_the_routing_table_does_not_take_is_not_begun(house: CallHouse) -> None:
    for wish, code in ((Wish("anna", "nobody"), 404), (Wish("nobody", "anna"), 404), (Wish("anna", "666"), 603)):
        with pytest.raises(Undeliverable) as refused:
            await house.control.originate(wish)
        assert refused.value.code == code
    assert len(house.contacts) == 0


async def test_a_contact_that_is_known_has_its_call_already(house: CallHouse) -> None:
    made = await house.control.originate(Wish("anna", "ben", contact_id="matter-1"))
    assert made.contact_id == "matter-1"
    with pytest.raises(NotNow):
        await house.control.originate(Wish("anna", "ben", contact_id="matter-1"))
    await settled()
    await house.control.hang_up(made.id)
    await settled()
    await house.records.add(*house.writer.records)
    with pytest.raises(NotNow):
        await house.control.originate(Wish("anna", "ben", contact_id="matter-1"))


async def test_more_attributes_than_a_contact_keeps_are_refused(house: CallHouse) -> None:
    with pytest.raises(AttributesRefused):
        await house.control.originate(Wish("anna", "ben", attributes={str(number): "" for number in range(4)}))


# -- in a call ---------------------------------------------------------------------------------------------------------


async def test_hold_parts_the_two_and_plays_the_announcement(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    house.control.hold(call, caller.id, on=True, announcement="greeting")
    view = house.control.call(call)
    assert [leg.held for leg in view.legs] == [True, False]
    assert [played.clip for played in house.engine.of(Play)] == [GREETING]
    house.control.hold(call, caller.id, on=False)
    assert [leg.held for leg in house.control.call(call).legs] == [False, False]
    assert [type_ for type_ in house.types if type_ in ("call.held", "call.resumed")] == ["call.held", "call.resumed"]


async def test_mute_is_shown_and_taken_back(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    house.control.mute(call, caller.id, ["audio"], on=True)
    assert house.control.call(call).legs[0].muted == ("audio",)
    down = house.calls.legs["anna"].media["audio"].down
    assert down is not None
    assert down.source is None
    house.control.mute(call, caller.id, ["audio"], on=False)
    assert down.source is caller.media["audio"].up


async def test_digits_go_to_the_leg_that_is_named(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    house.control.send_digits(call, caller.id, "12#", duration_ms=80)
    (sent,) = house.engine.of(SendDtmf)
    down = caller.media["audio"].down
    assert down is not None
    assert (sent.id, sent.digits, sent.duration_ms) == (down.id, "12#", 80)
    down.codecs = ()
    with pytest.raises(NotNow):
        house.control.send_digits(call, caller.id, "1", duration_ms=80)


async def test_keys_that_somebody_presses_are_events_and_in_no_record(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    caller.emit(Dtmf("5", 100))
    assert ("call.dtmf", {"leg": caller.id, "digit": "5"}) in house.told
    contact = house.control.contact("caller-contact")
    assert contact is not None
    assert not any("5" in detail for _, _, detail in contact.timeline)
    assert house.control.call(call).state == "up"


async def test_a_leg_is_transferred_while_the_other_stays(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    agent = house.calls.legs["anna"]
    house.calls.gates["expert"] = asyncio.Event()
    await house.control.transfer(call, agent.id, "expert")
    await settled()
    assert not agent.ended, "it stays until somebody has answered"
    house.calls.gates["expert"].set()
    await settled()
    assert agent.end_cause is not None
    assert agent.end_cause.reason == "transferred"
    expert = house.calls.legs["expert"]
    assert (house.calls.rung[-1].presentation.number, house.calls.rung[-1].contact_id) == ("caller", "caller-contact")
    down = caller.media["audio"].down
    assert down is not None
    assert down.source is expert.media["audio"].up
    assert [leg.name for leg in house.control.call(call).legs] == [caller.name, agent.name, expert.name]
    assert "call.transferred" in house.types


async def test_a_transfer_that_nobody_takes_leaves_the_call_as_it_was(house: CallHouse) -> None:
    call, _ = await house.phone_call()
    agent = house.calls.legs["anna"]
    house.calls.fails["expert"] = DialFailed(486, "Busy")
    await house.control.transfer(call, agent.id, "expert")
    await settled()
    assert "call.transfer_failed" in house.types
    assert (house.control.call(call).state, agent.ended) == ("up", False)


async def test_two_calls_become_one_and_those_between_are_hung_up(house: CallHouse) -> None:
    call, customer = await house.phone_call("customer", to="anna")
    agent = house.calls.legs["anna"]
    second, asked = await house.phone_call("consulted", to="expert")
    expert = house.calls.legs["expert"]
    expert.move_to("consulted-contact")
    await house.control.transfer_to_leg(call, agent.id, expert.id)
    await settled()
    assert (agent.ended, asked.ended, expert.ended, customer.ended) == (True, True, False, False)
    assert expert.contact_id == agent.contact_id != "consulted-contact"
    down = customer.media["audio"].down
    assert down is not None
    assert down.source is expert.media["audio"].up
    assert house.control.call(second).state == "ended"
    assert house.control.call(call).state == "up"
    with pytest.raises(NotNow):
        await house.control.transfer_to_leg(call, customer.id, expert.id)
    with pytest.raises(NotFound):
        await house.control.transfer_to_leg(call, customer.id, agent.id)


async def test_attributes_are_set_taken_away_and_bounded(house: CallHouse) -> None:
    call, _ = await house.phone_call()
    house.control.change_attributes(call, {"a": "1", "b": "2"})
    assert house.control.change_attributes(call, {"a": None, "c": "3"}) == {"b": "2", "c": "3"}
    assert house.told[-1] == ("contact.attributes", {"attributes": {"b": "2", "c": "3"}})
    with pytest.raises(AttributesRefused):
        house.control.change_attributes(call, {"long": "x" * 100})
    contact = house.control.contact("caller-contact")
    assert contact is not None
    assert contact.attributes == {"b": "2", "c": "3"}


async def test_hanging_up_ends_both_legs(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    await house.control.hang_up(call)
    await settled()
    view = house.control.call(call)
    assert (view.state, view.ended_by, view.end_reason) == ("ended", "system", "api")
    assert caller.ended
    assert house.calls.legs["anna"].ended


# -- more than two -----------------------------------------------------------------------------------------------------


async def test_a_third_party_is_rung_and_comes_into_the_call(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    await house.control.add(call, "expert")
    await settled()
    legs = house.control.call(call).legs
    assert [(leg.state, leg.supervises) for leg in legs] == [("up", None)] * 3
    assert house.told[-1] == ("call.added", {"detail": legs[2].name})
    (mix,) = house.engine.of(SetMix)
    assert (len(mix.voices), len(mix.listeners)) == (3, 3)
    assert all(len(listener.without) == 1 for listener in mix.listeners)
    await caller.end(EndCause("caller", "hangup"))
    await settled()
    assert house.control.call(call).state == "up", "the other two go on"
    assert len(house.engine.of(CloseMix)) == 1
    await house.calls.legs["expert"].end(EndCause("agent", "hangup"))
    await settled()
    ended = house.control.call(call)
    assert (ended.state, ended.end_reason) == ("ended", "hangup")


async def test_who_is_called_into_a_conference_is_called_by_its_focus_and_who_supervises_is_not(
    house: CallHouse,
) -> None:
    call_id, _ = await house.phone_call()
    (opened,) = house.contacts.open
    call = opened.runner.call
    assert call is not None
    call.focus = "conf-17"
    await house.control.add(call_id, "expert")
    await house.control.supervise(call_id, "ben", "listen")
    await settled()
    assert [request.focus for request in house.calls.rung] == [None, "conf-17", None]


async def test_a_third_party_that_does_not_come_leaves_the_call_as_it_was(house: CallHouse) -> None:
    call, _ = await house.phone_call()
    house.calls.fails["expert"] = DialFailed(486, "Busy")
    await house.control.add(call, "expert")
    await settled()
    assert "call.add_failed" in house.types
    assert len(house.control.call(call).legs) == 2
    assert house.engine.of(SetMix) == []
    with pytest.raises(Undeliverable):
        await house.control.add(call, "666")


async def test_a_call_takes_no_more_than_its_bound(house: CallHouse) -> None:
    call, _ = await house.phone_call()
    for _ in range(MAX_MEMBERS - 2):
        await house.control.add(call, "expert")
        await settled()
    with pytest.raises(NotNow):
        await house.control.add(call, "expert")
    with pytest.raises(NotNow):
        await house.control.supervise(call, "ben", "listen")


async def test_a_supervisor_listens_and_goes_over_to_whispering(house: CallHouse) -> None:
    call, caller = await house.phone_call()
    await house.control.supervise(call, "ben", "listen")
    await settled()
    agent, boss = house.calls.legs["anna"], house.calls.legs["ben"]
    assert [leg.supervises for leg in house.control.call(call).legs] == [None, None, "listen"]
    (mix,) = house.engine.of(SetMix)
    assert len(mix.listeners) == 1, "the two hear each other as before"
    await house.control.supervise(call, "ben", "whisper")
    await settled()
    assert len(house.calls.rung) == 2, "nobody is rung again"
    mix = house.engine.of(SetMix)[-1]
    assert len(mix.listeners) == 2
    sound = boss.media["audio"].up
    assert sound is not None
    assert [sound.id in listener.without for listener in mix.listeners] == [False, True]
    down = caller.media["audio"].down
    assert down is not None
    assert down.source is agent.media["audio"].up
    assert [data["detail"] for type_, data in house.told if type_ == "call.supervised"] == [
        f"{boss.name} listen",
        f"{boss.name} whisper",
    ]
    await agent.end(EndCause("agent", "hangup"))
    await settled()
    assert boss.ended, "a supervisor alone with the customer is no call"


# -- what is not there -------------------------------------------------------------------------------------------------


async def test_calls_and_legs_that_are_not_there_are_named(house: CallHouse) -> None:
    call, _ = await house.phone_call()
    with pytest.raises(NotFound):
        house.control.call("none")
    with pytest.raises(NotFound):
        house.control.hold("none", "x", on=True)
    with pytest.raises(NotFound):
        house.control.hold(call, "no leg", on=True)
    with pytest.raises(NotFound):
        house.control.hold(call, house.calls.legs["anna"].id, on=True, announcement="no announcement")


async def test_a_call_that_rings_cannot_be_held(house: CallHouse) -> None:
    house.calls.gates["anna"] = asyncio.Event()
    call, caller = await house.phone_call()
    assert house.control.call(call).state == "ringing"
    with pytest.raises(NotNow):
        house.control.hold(call, caller.id, on=True)
    with pytest.raises(NotNow):
        await house.control.answer(call)  # this leg is no phone's


async def test_a_phone_that_rings_is_answered_and_hears_the_announcement(house: CallHouse) -> None:
    house.calls.gates["anna"] = asyncio.Event()
    call, leg = await house.phone_call()
    leg.kind = "sip"  # type: ignore[misc]
    await house.control.answer(call, announcement="greeting")
    assert leg.met == [""], "nobody in particular"
    assert [(played.clip, played.loop) for played in house.engine.of(Play)] == [(GREETING, True)]
    house.calls.gates["anna"].set()
    await settled()
    down = leg.media["audio"].down
    assert down is not None
    assert down.source is house.calls.legs["anna"].media["audio"].up
    with pytest.raises(NotNow):
        await house.control.answer(call)


async def test_lists_are_in_the_order_in_which_calls_began(house: CallHouse) -> None:
    one, _ = await house.phone_call("one")
    two, _ = await house.phone_call("two", to="expert")
    assert [view.id for view in house.control.calls()] == [one, two]
    assert [view.id for view in house.control.contacts()] == ["one-contact", "two-contact"]
    await house.contacts.end_all(EndCause("system", "x"))
    await settled()
    assert list(house.control.calls()) == []
    assert house.control.call(one).state == "ended"
