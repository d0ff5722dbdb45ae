"""Phones in a room's chat: what a page writes comes to them as a text, what they write comes to everybody else."""

from __future__ import annotations

import json
from typing import Any

from mediaserver.call.events import TextReceived
from mediaserver.call.leg import LegMedia
from mediaserver.core.data import NAMED, DataChannels
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import Permissions, publishables
from mediaserver.engine.commands import JoinTopic, SendMessage
from mediaserver.engine.events import ChannelMessage, ChannelOpened
from tests.call.fakes import FakeLeg
from tests.call.test_room_seat import HANGUP, ROOM, House, settled

PAGE, STREAM = 900, 1


class Phone(FakeLeg):
    """Takes texts and keeps them."""

    def __init__(self, name: str, media: LegMedia) -> None:
        super().__init__(name, codecs={"audio": media.up.codecs if media.up is not None else ()})
        self.media["audio"] = media
        self.texts: list[str] = []

    @property
    def takes_texts(self) -> bool:
        return True

    def send_text(self, text: str) -> None:
        self.texts.append(text)


def phone(house: House, name: str) -> Phone:
    return Phone(name, house.leg("tracks").media["audio"])


def page(house: House, *publish: str) -> Participant:
    """A member on a page whose chat is open."""
    engine: Any = house.engine
    data = DataChannels(engine, PAGE)
    permissions = Permissions(publishables(publish))
    member = Participant("page", "Anna", permissions=permissions, data=data, member=True)
    house.rooms.join(ROOM, member)
    data.handle(
        ChannelOpened(
            id=PAGE,
            stream=STREAM,
            label="chat",
            protocol=NAMED,
            ordered=True,
            max_retransmits=None,
            max_lifetime_ms=None,
        )
    )
    return member


def writes(member: Participant, text: str) -> None:
    assert member.data is not None
    member.data.handle(ChannelMessage(id=PAGE, stream=STREAM, text=True, payload=text.encode()))


def reported(house: House) -> bool:
    """Whether the engine was asked last to tell us what the page writes."""
    last: JoinTopic = house.engine.of(JoinTopic)[-1]
    return last.report


def got(house: House) -> list[tuple[str, dict[str, str]]]:
    """What the page was sent: by whom, and what."""
    lines = [sent.payload.decode().partition("\n") for sent in house.engine.of(SendMessage) if sent.id == PAGE]
    return [(sender, json.loads(said)) for sender, _, said in lines]


async def test_pages_and_phones_write_to_each_other_and_to_nobody_twice() -> None:
    house = House()
    anna = page(house, "audio", "data")
    desk, hall = phone(house, "desk"), phone(house, "hall")
    assert not reported(house), "nobody is here who cannot have it by the engine"
    call = await house.call(desk)
    await house.call(hall)
    assert reported(house)
    writes(anna, json.dumps({"text": "Hello"}))
    writes(anna, json.dumps({"hand": True}))
    assert (desk.texts, hall.texts) == (["Anna: Hello"], ["Anna: Hello"])
    desk.emit(TextReceived("Good morning"))
    assert hall.texts[-1] == "desk: Good morning"
    assert desk.texts == ["Anna: Hello"]
    seat = house.people()["desk"]
    assert got(house) == [(seat.id, {"text": "Good morning"})]
    assert call.say(desk, "Later")
    await desk.end(HANGUP)
    await hall.end(HANGUP)
    await settled()
    assert not reported(house)


async def test_who_may_only_read_writes_to_nobody() -> None:
    house = House()
    anna = page(house, "audio")
    desk = phone(house, "desk")
    call = await house.call(desk)
    writes(anna, "Hello")
    assert desk.texts == []
    seat = house.people()["desk"]
    house.rooms.permit(ROOM, seat.id, Permissions(publishables(["audio"])))
    assert not call.say(desk, "Hello")
    assert got(house) == []


async def test_a_long_text_is_cut() -> None:
    house = House()
    anna = page(house, "data")
    desk = phone(house, "desk")
    await house.call(desk)
    writes(anna, "x" * 5000)
    desk.emit(TextReceived("y" * 5000))
    assert (desk.texts, got(house)[0][1]) == ([f"Anna: {'x' * 1000}"], {"text": "y" * 1000})
