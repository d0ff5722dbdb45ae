"""Three legs in a call: who hears whom, whose picture is seen, and how it goes on when somebody leaves."""

from __future__ import annotations

from typing import Any

import pytest

from mediaserver.call.conference import Supervision
from mediaserver.call.events import Dtmf, EndCause, MediaChanged
from mediaserver.engine.commands import CloseMix, SetMix
from mediaserver.engine.events import CommandFailed
from mediaserver.errors import LocalProtocolError
from mediaserver.sdp.description import Codec
from tests.call.conference_house import H264, OPUS, PCMA, PCMU, VP8, House, down, settled, up

HANGUP = EndCause("agent", "hangup")


@pytest.fixture
def house() -> House:
    return House()


async def test_each_of_three_hears_the_others_and_not_itself_whatever_they_speak(house: House) -> None:
    legs = [house.leg("a", OPUS), house.leg("b", PCMU), house.leg("c", PCMA)]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    assert [house.hears(leg, legs) for leg in legs] == [["b", "c"], ["a", "c"], ["a", "b"]]
    assert [listener.codec for listener in house.mix.listeners] == ["opus", "PCMU", "PCMA"]
    told = len(house.engine.of(SetMix))
    legs[2].emit(MediaChanged())
    assert len(house.engine.of(SetMix)) == told, "without a change nothing is said"


async def test_keys_of_everybody_are_told_and_of_several_nobody_hears_them() -> None:
    house = House()
    legs = [house.leg("a"), house.leg("b"), house.leg("c")]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    for leg in legs:
        leg.emit(Dtmf("7", 100, as_message=True))
    assert house.digits == [("a", "7"), ("b", "7"), ("c", "7")]
    assert [leg.pressed for leg in legs] == [[], [], []]


async def test_keys_go_to_the_other_one_while_somebody_listens() -> None:
    house = House()
    legs = [house.leg("a"), house.leg("b"), house.leg("boss")]
    call = await house.call(*legs[:2])
    await call.add(legs[2], Supervision("listen", "b"))
    for leg in legs:
        leg.emit(Dtmf("7", 100, as_message=True))
    assert [leg.pressed for leg in legs] == [["7"], ["7"], []]


async def test_when_one_of_three_leaves_the_others_hear_each_other_as_two_do(house: House) -> None:
    for gone in range(3):
        legs = [house.leg("a"), house.leg("b"), house.leg("c")]
        call = await house.call(*legs[:2])
        await call.add(legs[2])
        closed = len(house.engine.of(CloseMix))
        await legs[gone].end(HANGUP)
        await settled()
        one, two = (leg for leg in legs if leg is not legs[gone])
        assert {call.caller, call.callee} == {one, two}
        assert (down(one).source, down(two).source) == (up(two), up(one))
        assert (down(one).mixed, down(two).mixed) == (None, None)
        assert len(house.engine.of(CloseMix)) == closed + 1
        assert house.ended == []
        await one.end(HANGUP)
        await settled()
        assert (two.end_cause, house.ended.pop()) == (HANGUP, HANGUP)


async def test_two_who_have_no_codec_in_common_go_on_by_the_mix(house: House) -> None:
    legs = [house.leg("a", PCMU), house.leg("b", PCMU), house.leg("c", OPUS)]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    await legs[0].end(HANGUP)
    await settled()
    assert [house.hears(leg, legs[1:]) for leg in legs[1:]] == [["c"], ["b"]]
    assert [listener.codec for listener in house.mix.listeners] == ["opus", "PCMU"]


async def test_who_is_muted_or_held_is_not_heard_and_who_is_held_hears_nothing(house: House) -> None:
    legs = [house.leg("a"), house.leg("b"), house.leg("c")]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    call.passing.mute(legs[0], ("audio",), on=True)
    call.connect()
    assert [house.hears(leg, legs) for leg in legs] == [["b", "c"], ["c"], ["b"]]
    call.passing.mute(legs[0], ("audio",), on=False)
    call.passing.hold(legs[1], on=True)
    call.connect()
    assert [house.hears(leg, legs) for leg in legs] == [["c"], [], ["a"]]


@pytest.mark.parametrize(
    ("mode", "customer", "agent"),
    [("listen", ["b"], ["a"]), ("whisper", ["b"], ["a", "s"]), ("barge", ["b", "s"], ["a", "s"])],
)
async def test_a_supervisor_hears_all_and_is_heard_as_the_mode_says(
    house: House, mode: Any, customer: list[str], agent: list[str]
) -> None:
    legs = [house.leg("a"), house.leg("b"), house.leg("s")]
    call = await house.call(*legs[:2])
    await call.add(legs[2], Supervision(mode, "b"))
    assert [house.hears(leg, legs) for leg in legs] == [customer, agent, ["a", "b"]]
    assert legs[1].supervised == [("s", mode)]
    assert legs[0].supervised == []
    await legs[2].end(HANGUP)
    await settled()
    assert house.ended == []
    assert [house.hears(leg, legs[:2]) for leg in legs[:2]] == [["b"], ["a"]]
    assert legs[1].supervised[-1] == ("s", "")


async def test_a_supervisor_does_not_keep_a_call_alive(house: House) -> None:
    legs = [house.leg("a"), house.leg("b"), house.leg("s")]
    call = await house.call(*legs[:2])
    await call.add(legs[2], Supervision("barge", "b"))
    await legs[0].end(HANGUP)
    await settled()
    assert legs[2].ended
    assert house.ended == [HANGUP]


async def test_everybody_sees_who_speaks_where_the_codecs_meet(house: House) -> None:
    legs = [house.leg("a", OPUS, VP8), house.leg("b", OPUS, VP8), house.leg("c", PCMU, H264), house.leg("d", OPUS, VP8)]
    call = await house.call(*legs[:2])
    for guest in legs[2:]:
        await call.add(guest)
    house.speaks(legs[3], 4)
    assert [down(leg, "video").source for leg in legs] == [
        up(legs[3], "video"),
        up(legs[3], "video"),
        None,  # nobody has a picture that it could show
        up(legs[0], "video"),
    ]


async def test_when_nothing_more_can_be_mixed_the_last_who_came_goes(house: House) -> None:
    legs = [house.leg("a"), house.leg("b"), house.leg("c")]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    house.engine.deliver(CommandFailed(request=None, id=house.mix.id, command="set_mix", reason="limit mixed_legs"))
    await settled()
    assert legs[2].end_cause == EndCause("system", "mix_refused", 503, "limit mixed_legs")
    assert [house.hears(leg, legs[:2]) for leg in legs[:2]] == [["b"], ["a"]]
    assert house.ended == []


async def test_a_leg_whose_sound_cannot_be_mixed_is_not_taken_in(house: House) -> None:
    strange = house.leg("c", Codec(18, "G729", 8000))
    call = await house.call(house.leg("a"), house.leg("b"))
    with pytest.raises(LocalProtocolError):
        await call.add(strange)
    assert call.guests == []


async def test_the_end_of_the_call_is_the_end_of_all(house: House) -> None:
    legs = [house.leg("a"), house.leg("b"), house.leg("c")]
    call = await house.call(*legs[:2])
    await call.add(legs[2])
    cause = EndCause("system", "api", 480)
    await call.end(cause)
    await settled()
    assert [leg.end_cause for leg in legs] == [cause] * 3
    assert house.ended == [cause]
