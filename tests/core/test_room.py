"""Rooms: who receives whom when people come and go, and how many fit in."""

from __future__ import annotations

import pytest

from mediaserver.core.down_track import DownTrack
from mediaserver.core.participant import Participant
from mediaserver.core.rooms import Rooms
from mediaserver.core.slot import Slot
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import SetGate, Subscribe, Unsubscribe, UpdateDownTrack
from mediaserver.errors import LimitExceeded
from mediaserver.sdp.codecs import KNOWN
from tests.call.fakes import FakeEngine

VP8 = (KNOWN["VP8"],)


def publisher(engine: FakeEngine, name: str) -> Participant:
    return Participant(name, up={"video": UpTrack(engine=engine, transport=1, kind="video", mid="0", codecs=VP8)})  # type: ignore[arg-type]


def viewer(engine: FakeEngine, name: str) -> Participant:
    down = DownTrack(
        engine=engine,  # type: ignore[arg-type]
        transport=2,
        kind="video",
        mid="0",
        ssrc=7,
        cname="c",
        codecs=VP8,
    )
    return Participant(name, slots={"0": Slot("0", down)})


def rooms() -> Rooms:
    return Rooms(rooms=2, publishers=1, viewers=2)


def test_a_viewer_receives_the_publisher_whoever_came_first() -> None:
    for publisher_first in (True, False):
        engine, house = FakeEngine(), rooms()
        people = [publisher(engine, "p"), viewer(engine, "v")]
        for person in people if publisher_first else reversed(people):
            house.join("room", person)
        assert [command.up for command in engine.of(Subscribe)] == [people[0].up["video"].id]


def test_when_the_publisher_leaves_viewers_fall_silent_and_the_next_one_takes_its_place() -> None:
    engine, house = FakeEngine(), rooms()
    first, second, watcher = publisher(engine, "one"), publisher(engine, "two"), viewer(engine, "v")
    for person in (first, watcher, second):
        house.join("room", person)
    house.leave("room", "one")
    assert [command.up for command in engine.of(Subscribe)] == [first.up["video"].id, second.up["video"].id]
    house.leave("room", "two")
    assert len(engine.of(Unsubscribe)) == 1


def test_the_room_goes_with_the_last_who_leaves() -> None:
    house = rooms()
    house.join("room", viewer(FakeEngine(), "v"))
    house.leave("room", "v")
    house.leave("room", "v")
    assert (len(house), house.get("room")) == (0, None)


def test_limits_are_named() -> None:
    engine, house = FakeEngine(), rooms()
    house.join("one", publisher(engine, "p"))
    with pytest.raises(LimitExceeded) as full:
        house.check("one", "publisher")
    assert full.value.limit == "limits.publishers_per_room"
    for name in ("v1", "v2"):
        house.join("one", viewer(engine, name))
    with pytest.raises(LimitExceeded) as full:
        house.check("one", "viewer")
    assert full.value.limit == "limits.viewers_per_room"
    house.join("two", viewer(engine, "w"))
    with pytest.raises(LimitExceeded) as full:
        house.check("three", "publisher")
    assert full.value.limit == "limits.rooms"


def test_a_new_viewer_is_offered_what_the_publisher_sends() -> None:
    house = rooms()
    room = house.join("room", publisher(FakeEngine(), "p"))
    assert room.codecs("video") == VP8
    assert room.codecs("audio") == ()


def test_gates_and_directions_that_do_not_change_cost_nothing() -> None:
    engine = FakeEngine()
    up = publisher(engine, "p").up["video"]
    up.set_gate("mute", is_open=True)
    up.set_gate("mute", is_open=False)
    up.set_gate("mute", is_open=False)
    assert [(c.gate, c.open) for c in engine.of(SetGate)] == [("mute", False)]
    down = viewer(engine, "v").slots["0"].down
    down.update(VP8, active=True)
    down.update(VP8, active=False)
    assert [c.active for c in engine.of(UpdateDownTrack)] == [False]
