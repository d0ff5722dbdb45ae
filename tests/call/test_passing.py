"""What of one leg of a call reaches the other: mute and hold, and what is left of them when media or legs change."""

from __future__ import annotations

import pytest

from mediaserver.call.call import Call
from mediaserver.call.leg import LegMedia
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Play, StopPlaying
from tests.call.fakes import FakeEngine, FakeLeg


def with_media(name: str, engine: FakeEngine) -> FakeLeg:
    leg = FakeLeg(name)
    leg._engine = engine  # type: ignore[assignment]
    for kind in ("audio", "video"):
        common = {"engine": engine, "transport": 1, "kind": kind, "mid": None, "codecs": ()}
        leg.media[kind] = LegMedia(UpTrack(**common), DownTrack(**common, ssrc=1, cname="c"))  # type: ignore[arg-type,index]
    return leg


class House:
    """A call of two who hear and see each other."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.caller, self.agent = with_media("caller", self.engine), with_media("agent", self.engine)
        self.digits: list[tuple[str, str]] = []
        self.call = Call(
            call_id="c",
            caller=self.caller,
            callee=self.agent,
            longest_s=60,
            on_ended=lambda *_: None,
            on_digit=lambda leg, digit: self.digits.append((leg.name, digit)),
        )

    def gets(self, leg: FakeLeg) -> tuple[str, ...]:
        """Kinds that a leg gets from the other one."""
        other = self.call.other(leg)
        return tuple(
            kind
            for kind, media in leg.media.items()
            if media.down is not None and media.down.source is not None and media.down.source is other.media[kind].up
        )


@pytest.fixture
async def house() -> House:
    made = House()
    await made.call.join()
    return made


async def test_both_get_all_of_each_other(house: House) -> None:
    assert house.gets(house.caller) == house.gets(house.agent) == ("audio", "video")


async def test_what_is_muted_does_not_reach_the_other_and_comes_back(house: House) -> None:
    house.call.passing.mute(house.agent, ["audio"], on=True)
    house.call.connect()
    assert house.gets(house.caller) == ("video",)
    assert house.gets(house.agent) == ("audio", "video")
    house.call.passing.mute(house.agent, ["audio"], on=False)
    house.call.connect()
    assert house.gets(house.caller) == ("audio", "video")


async def test_on_hold_nothing_passes_and_the_held_one_hears_the_announcement(house: House) -> None:
    house.call.passing.hold(house.caller, on=True, clip=7)
    house.call.connect()
    house.call.connect()
    assert house.gets(house.caller) == house.gets(house.agent) == ()
    (played,) = house.engine.of(Play)
    downs = tuple(media.down.id for media in house.caller.media.values() if media.down is not None)
    assert (played.clip, played.ids, played.loop) == (7, downs, True)
    house.call.passing.hold(house.caller, on=False)
    house.call.connect()
    assert [stopped.ids for stopped in house.engine.of(StopPlaying)] == [downs]
    assert house.gets(house.caller) == house.gets(house.agent) == ("audio", "video")


async def test_a_leg_can_be_held_again_with_the_same_announcement(house: House) -> None:
    for _ in range(2):
        house.call.passing.hold(house.caller, on=True, clip=7)
        house.call.connect()
        house.call.passing.hold(house.caller, on=False)
        house.call.connect()
    assert len(house.engine.of(Play)) == len(house.engine.of(StopPlaying)) == 2


async def test_a_mute_outlasts_a_change_of_media(house: House) -> None:
    house.call.passing.mute(house.agent, ["video"], on=True)
    house.call.connect()
    house.agent.set_media(dict(house.agent.media))
    assert house.gets(house.caller) == ("audio",)


async def test_who_comes_in_for_a_held_leg_is_not_on_hold(house: House) -> None:
    house.call.passing.hold(house.agent, on=True)
    house.call.connect()
    expert = with_media("expert", house.engine)
    await house.call.replace(house.agent, expert)
    assert not house.call.passing.is_held(expert)
    assert house.gets(house.caller) == house.gets(expert) == ("audio", "video")
