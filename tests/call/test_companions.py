"""A browser comes into a call beside the phone of the same person: its picture is seen, and it leaves with that phone."""

from __future__ import annotations

from typing import Any

import pytest

from mediaserver.call.events import Dtmf, EndCause, MediaChanged
from mediaserver.engine.commands import SetMix
from mediaserver.errors import LocalProtocolError
from tests.call.fakes import FakeLeg
from tests.call.test_conference import H264, HANGUP, VP8, House, down, settled, up


def browser(house: House, name: str) -> FakeLeg:
    """A leg with a picture and no sound."""
    leg = house.leg(name, picture=VP8)
    del leg.media["audio"]
    return leg


async def beside_a_phone(house: House) -> tuple[Any, FakeLeg, FakeLeg, FakeLeg]:
    phone, agent, page = house.leg("phone"), house.leg("agent", picture=VP8), browser(house, "page")
    call = await house.call(phone, agent)
    await call.accompany(phone, page)
    return call, phone, agent, page


async def test_the_picture_comes_by_the_browser_and_the_voice_goes_on_as_it_came() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    assert (down(agent).source, down(phone).source) == (up(phone), up(agent))
    assert not house.engine.of(SetMix), "two voices need no mix"
    assert (down(agent, "video").source, down(page, "video").source) == (up(page, "video"), up(agent, "video"))
    assert (call.parties, call.companions.of) == ((phone, agent), {"page": "phone"})
    assert agent.seen == [("phone", "page")]


async def test_an_agent_without_a_picture_is_asked_for_one_and_the_browser_told_when_it_is_there() -> None:
    house = House()
    phone, agent, page = house.leg("phone"), house.leg("agent"), browser(house, "page")
    call = await house.call(phone, agent)
    await call.accompany(phone, page)
    assert (agent.seen, page.joined_with) == ([("phone", "page")], ["agent"])
    agent.media["video"] = house.leg("more", picture=VP8).media["video"]
    for _ in range(2):
        agent.emit(MediaChanged())
        await settled()
    assert page.joined_with == ["agent", "agent"]
    assert down(agent, "video").source is up(page, "video")


async def test_the_browser_leaves_and_the_call_goes_on() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    await page.end(HANGUP)
    await settled()
    assert (call.members, house.ended) == ((phone, agent), [])
    assert down(agent).source is up(phone)
    assert down(agent, "video").source is None
    assert agent.seen[-1] == ("phone", None)


@pytest.mark.parametrize("gone", ["phone", "agent"])
async def test_with_one_of_the_two_the_browser_goes_too(gone: str) -> None:
    house = House()
    _, phone, agent, page = await beside_a_phone(house)
    await (phone if gone == "phone" else agent).end(HANGUP)
    await settled()
    assert (page.end_cause, house.ended) == (HANGUP, [HANGUP])
    assert phone.ended
    assert agent.ended


async def test_of_three_who_talk_the_browser_leaves_with_its_own_phone_alone() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    expert = house.leg("expert", picture=VP8)
    await call.add(expert)
    assert down(page, "video").source in (up(agent, "video"), up(expert, "video"))
    house.speaks(phone, 40)
    assert down(expert, "video").source is up(page, "video"), "who speaks by phone is seen by the browser"
    await phone.end(HANGUP)
    await settled()
    assert page.end_cause == EndCause("system", "left_alone")
    assert (set(call.members), house.ended) == ({agent, expert}, [])


async def test_whoever_takes_the_agents_place_gets_the_picture() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    expert = house.leg("expert", picture=VP8)
    await call.replace(agent, expert)
    assert expert.seen == [("phone", "page")]
    expert.emit(MediaChanged())
    assert down(expert, "video").source is up(page, "video")
    await call.replace(phone, house.leg("other"))
    await settled()
    assert (page.end_cause, expert.ended) == (EndCause("system", "left_alone"), False)


async def test_a_hold_of_the_phone_is_one_of_its_browser() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    call.hold(phone, on=True)
    assert [down(leg, "video").source for leg in (agent, page)] == [None, None]
    call.hold(phone, on=False)
    assert down(agent, "video").source is up(page, "video")


async def test_keys_of_the_phone_still_reach_the_agent_and_the_browser_presses_none() -> None:
    house = House()
    _, phone, agent, page = await beside_a_phone(house)
    phone.emit(Dtmf("5", 100, as_message=True))
    page.emit(Dtmf("6", 100, as_message=True))
    assert (agent.pressed, phone.pressed) == (["5"], [])


async def test_one_browser_is_enough_and_nobody_accompanies_a_stranger() -> None:
    house = House()
    call, phone, agent, page = await beside_a_phone(house)
    for of in (phone, page, house.leg("stranger")):
        with pytest.raises(LocalProtocolError):
            await call.accompany(of, browser(house, "second"))
    third = browser(house, "third")
    await call.accompany(agent, third)
    assert down(page, "video").source is up(third, "video"), "what somebody brings goes before what his phone has"


async def test_a_phone_with_a_picture_of_its_own_does_not_see_its_owner() -> None:
    house = House()
    phone, agent, page = house.leg("phone", picture=VP8), house.leg("agent", picture=H264), browser(house, "page")
    call = await house.call(phone, agent)
    await call.accompany(phone, page)
    assert (down(phone, "video").source, down(page, "video").source) == (None, None)
