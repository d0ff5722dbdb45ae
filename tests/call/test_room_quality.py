"""How the lines of a room's members, publishers and viewers are doing: metrics, what pages are told, and the record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mediaserver.call.room_member import RoomMember
from mediaserver.engine.commands import AddDownTrack, AddUpTrack
from mediaserver.engine.events import TransportClosed, TransportStats
from mediaserver.webrtc import messages
from tests.call.fakes import FakeSignaling
from tests.call.test_quality import DOWN, SHOWN, UP, changed, transport
from tests.call.test_room_member import RECEIVING, SENDING, House, offer


class Counters:
    """What the engine has counted, round by round: half of one member's sound is lost on its way here."""

    def __init__(self, house: House) -> None:
        self._engine = house.engine
        self._rounds = 0
        self.lossy: int | None = None
        house.engine.stats = self.stats  # type: ignore[method-assign]

    def of(self, id: int) -> TransportStats:
        count = 500 * self._rounds
        tracks = [
            changed(UP, id=one.id, packets=count, lost=count if id == self.lossy else 0)
            for one in self._engine.of(AddUpTrack)
            if (one.transport, one.kind) == (id, "audio")
        ]
        sounds = [one for one in self._engine.of(AddDownTrack) if (one.transport, one.kind) == (id, "audio")]
        pictures = [one for one in self._engine.of(AddDownTrack) if (one.transport, one.kind) == (id, "video")]
        tracks += [changed(DOWN, id=one.id, packets=count) for one in sounds]
        tracks += [changed(SHOWN, id=one.id, packets=count, freezes=self._rounds) for one in pictures]
        return transport(*tracks, number=id)

    async def stats(self, ids: Iterable[int]) -> list[TransportStats]:
        return [self.of(id) for id in ids]

    async def look(self, house: House) -> None:
        self._rounds += 1
        house.now += 10
        await house.watch.look()


def transport_of(member: RoomMember) -> int:
    (number,) = member._party.peer.transports
    return number


async def test_everybody_in_a_room_is_looked_at_and_a_member_is_told() -> None:
    house = House()
    counters = Counters(house)
    anna, bert = await house.enter("anna"), await house.enter("bert")
    await house.sessions.publish("stage", offer(SENDING[:2]), subject="studio", source="192.0.2.1")
    viewer = await house.sessions.view("stage", offer(RECEIVING), subject="wall", source="192.0.2.1")
    await counters.look(house)
    assert house.metrics.value("legs_by_quality", leg="room", level="good") == 4
    assert house.metrics.value("leg_mos_count", leg="room", direction="received") == 3
    assert house.metrics.value("leg_freezes_total", leg="room", direction="sent") == 3 * 2, "of each picture"
    assert await house.told(bert, messages.Quality) == []
    counters.lossy = transport_of(bert)
    await counters.look(house)
    assert [quality.level for quality in await house.told(bert, messages.Quality)] == ["bad"]
    assert await house.told(anna, messages.Quality) == []
    await viewer.close("test")
    await house.watch.look()
    assert house.metrics.value("legs_by_quality", leg="room", level="good") == 2
    assert house.metrics.value("legs_by_quality", leg="room", level="bad") == 1
    await house.sessions.close_all("test")
    await house.members.close_all("test")


async def test_who_has_left_leaves_a_record_with_the_last_counters() -> None:
    house = House()
    counters = Counters(house)
    anna = await house.enter("anna")
    number = transport_of(anna)
    counters.lossy = number
    await counters.look(house)
    await anna.handle(messages.Hangup())
    assert house.records == [], "the engine has not said what it counted last"
    house.engine.deliver(TransportClosed(id=number, reason="commanded", last=counters.of(number)))
    house.engine.deliver(TransportClosed(id=number, reason="commanded", last=counters.of(number)))
    (record,) = house.records
    (leg,) = record.legs
    assert (record.caller, record.attributes, record.ended_by, record.end_reason) == (
        "anna",
        {"room": "stage"},
        "caller",
        "hangup",
    )
    assert (leg.kind, leg.party, leg.end_reason) == ("room", "anna", "hangup")
    assert {stream.kind: stream.packets for stream in leg.streams} == {"audio": 500, "video": 0}
    assert leg.quality is not None
    assert "bad" in leg.quality.seconds


async def test_a_connection_that_the_engine_lost_leaves_its_record_too() -> None:
    house = House()
    counters = Counters(house)
    leg = await house.sessions.publish("stage", offer(SENDING[:2]), subject="studio", source="192.0.2.1")
    (added, _) = house.engine.of(AddUpTrack)
    last = counters.of(added.transport)
    house.engine.deliver(TransportClosed(id=added.transport, reason="consent_expired", last=last))
    assert house.records == []
    await asyncio.sleep(0)
    assert leg.closed
    assert [(record.caller, record.end_reason) for record in house.records] == [("studio", "consent_expired")]


async def test_who_was_never_answered_leaves_no_record() -> None:
    house = House()
    member = await house.members.enter(
        room="stage", name="anna", may_publish=None, moderate=False, signaling=FakeSignaling()
    )
    await member.handle(messages.Hangup())
    assert house.records == []
