"""Channels join the topic of their label, wherever they are opened and whenever the topics are known."""

from __future__ import annotations

import itertools
from typing import cast

from mediaserver.core.data import MOST_TOPICS, DataChannels
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import NOTHING, Permissions
from mediaserver.core.room import Room
from mediaserver.engine.commands import AcceptData, CloseChannel, Command, JoinTopic, LeaveTopic
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import ChannelClosed, ChannelOpened


class FakeEngine:
    def __init__(self) -> None:
        self.commands: list[Command] = []
        self._numbers = itertools.count(100)

    def new_id(self) -> int:
        return next(self._numbers)

    def submit(self, *batch: Command) -> None:
        self.commands.extend(batch)

    def take(self) -> list[Command]:
        taken, self.commands = self.commands, []
        return taken


def opened(transport: int, stream: int, label: str) -> ChannelOpened:
    return ChannelOpened(
        id=transport,
        stream=stream,
        label=label,
        protocol="",
        ordered=True,
        max_retransmits=None,
        max_lifetime_ms=None,
    )


def channels(engine: FakeEngine, transport: int) -> DataChannels:
    return DataChannels(cast("Engine", engine), transport)


def test_what_the_descriptions_agree_on_goes_to_the_engine() -> None:
    engine = FakeEngine()
    channels(engine, 1).accept(remote_port=5001, remote_message_bytes=0, local_port=5000)
    assert engine.take() == [AcceptData(id=1, remote_port=5001, remote_message_bytes=0, local_port=5000)]


def test_channels_before_and_after_meet_by_label_and_leave() -> None:
    engine = FakeEngine()
    one, two = channels(engine, 1), channels(engine, 2)
    one.handle(opened(1, 0, "chat"))
    assert engine.take() == []
    topics = one.new_topics()
    one.use(topics)
    two.use(topics, may_send=False)
    two.handle(opened(2, 4, "chat"))
    two.handle(opened(2, 6, "form"))
    assert engine.take() == [
        JoinTopic(id=1, stream=0, topic=100),
        JoinTopic(id=2, stream=4, topic=100, may_send=False),
        JoinTopic(id=2, stream=6, topic=101, may_send=False),
    ]
    two.handle(ChannelClosed(id=2, stream=6, reason="peer"))
    assert two.labels == ("chat",)
    two.use(None)
    assert engine.take() == [LeaveTopic(id=2, stream=4)]


def test_a_label_too_many_closes_its_channel() -> None:
    engine = FakeEngine()
    one = channels(engine, 1)
    one.use(one.new_topics())
    for stream in range(MOST_TOPICS + 1):
        one.handle(opened(1, stream, f"label {stream}"))
    assert engine.take()[MOST_TOPICS:] == [CloseChannel(id=1, stream=MOST_TOPICS)]
    one.handle(opened(1, 30, "label 0"))
    assert engine.take() == [JoinTopic(id=1, stream=30, topic=100)]


def test_a_room_brings_its_participants_together() -> None:
    engine = FakeEngine()
    room = Room("stage")
    speaker, viewer = channels(engine, 1), channels(engine, 2)
    for participant in (
        Participant("a", data=speaker),
        Participant("b"),
        Participant("c", data=viewer, permissions=Permissions(NOTHING)),
    ):
        room.join(participant, 0.0)
    speaker.handle(opened(1, 0, "chat"))
    viewer.handle(opened(2, 0, "chat"))
    assert engine.take() == [
        JoinTopic(id=1, stream=0, topic=100, sender="a"),
        JoinTopic(id=2, stream=0, topic=100, may_send=False, sender="c"),
    ]
