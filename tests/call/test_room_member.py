"""A member of a room over a double of the engine: its sections, what it is told, and what it may not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from mediaserver.call.admission import Admission
from mediaserver.call.quality_watch import QualityWatch
from mediaserver.call.room_leg import RoomSessions
from mediaserver.call.room_member import CHANGES_AT_ONCE, RoomMember, RoomMembers
from mediaserver.call.room_party import Parts
from mediaserver.config.loader import load_text
from mediaserver.config.sections import RoomDefaults
from mediaserver.core.permissions import Publishable
from mediaserver.core.rooms import Rooms
from mediaserver.engine import events
from mediaserver.engine.commands import AddDownTrack, AddUpTrack, SetDownTrackTarget, SetGate, Subscribe, WatchSpeech
from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.store.records import ContactRecord
from mediaserver.webrtc import messages, room_messages
from tests.call.fakes import FakeEngine, FakeSignaling
from tests.passing import passed

SENDING = (("audio", "sendonly"), ("video", "sendonly"), ("video", "sendonly"))
RECEIVING = (("audio", "recvonly"), ("audio", "recvonly"), ("video", "recvonly"), ("video", "recvonly"))
KINDS = {"0": "audio", "1": "video", "2": "screen"}


def offer(sections: tuple[tuple[str, str], ...] = SENDING + RECEIVING) -> str:
    """A browser's offer with these kinds and directions; mids count from 0, the camera has three layers."""
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(str(index) for index in range(len(sections)))}",
    ]
    for index, (kind, direction) in enumerate(sections):
        pt, codec = (111, "opus/48000/2") if kind == "audio" else (96, "VP8/90000")
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {pt}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{index}",
            f"a={direction}",
            "a=rtcp-mux",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:0123456789012345678901",
            "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
            "a=setup:actpass",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            f"a=rtpmap:{pt} {codec}",
        ]
        if (kind, direction) == SENDING[1] and index == 1:
            lines += ["a=rid:l send", "a=rid:m send", "a=rid:h send", "a=simulcast:send l;m;h"]
    return "\r\n".join(lines) + "\r\n"


class House:
    """Rooms with members and with WHIP and WHEP."""

    def __init__(self, config: str = "", **limits: int) -> None:
        self.engine = FakeEngine()
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        self.rooms = Rooms(
            rooms=5, publishers=5, viewers=5, **{"members": 5, **limits}, audio_places=2, call_later=loop.call_later
        )
        self.now = 0.0
        self.watch = QualityWatch(engine=self.engine, metrics=self.metrics, interval_s=10, clock=lambda: self.now)  # type: ignore[arg-type]
        self.records: list[ContactRecord] = []
        self.admission = Admission(load_text(config).config, metrics=self.metrics)
        parts = Parts(
            rooms=self.rooms,
            engine=self.engine,  # type: ignore[arg-type]
            fingerprint=Fingerprint("sha-256", bytes(32)),
            admission=self.admission,
            defaults=RoomDefaults(audio_slots=2, video_slots=2),
            audio_codecs=("opus",),
            video_codecs=("VP8",),
            data_channels=True,
            quality=self.watch,
            keep_record=self.records.append,
        )
        self.members = RoomMembers(parts, metrics=self.metrics)
        self.sessions = RoomSessions(parts, metrics=self.metrics)
        self.signaling: dict[RoomMember, FakeSignaling] = {}

    async def enter(
        self,
        name: str,
        *,
        sections: tuple[tuple[str, str], ...] = SENDING + RECEIVING,
        kinds: Mapping[str, str] = KINDS,
        may_publish: frozenset[Publishable] | None = None,
        moderate: bool = False,
        source: str = FakeSignaling.source,
    ) -> RoomMember:
        signaling = FakeSignaling()
        signaling.source = source
        member = await self.members.enter(
            room="stage", name=name, may_publish=may_publish, moderate=moderate, signaling=signaling
        )
        self.signaling[member] = signaling
        await member.handle(room_messages.Publish(audio=True, video=True, screen=False))
        await member.handle(messages.Offer(id=1, sdp=offer(sections), kinds=dict(kinds)))  # type: ignore[arg-type]
        return member

    async def told(self, member: RoomMember, kind: type) -> list:  # type: ignore[type-arg]
        """The messages of one type, when those that are gathered have gone out."""
        await passed(0.08)
        return self.signaling[member].of(kind)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    one = House()
    yield one
    await one.members.close_all("test")
    await asyncio.sleep(0)


async def test_a_member_gets_its_slots_and_sections_by_one_answer(house: House) -> None:
    anna = await house.enter("anna")
    (answer,) = house.signaling[anna].of(messages.Answer)
    directions = [str(media.direction) for media in parse(answer.sdp).media]
    assert directions == ["recvonly"] * 3 + ["sendonly"] * 4
    # A section to receive on has no track for what nobody may send there.
    assert [command.mid for command in house.engine.of(AddUpTrack)] == ["0", "1", "2"]
    assert house.engine.of(AddUpTrack)[1].rids == ("l", "m", "h")
    assert [command.mid for command in house.engine.of(AddDownTrack)] == ["3", "4", "5", "6"]
    assert [command.on for command in house.engine.of(WatchSpeech)] == [True]


async def test_who_comes_and_goes_is_told_once_with_slots_and_without_descriptions(house: House) -> None:
    anna = await house.enter("anna")
    bert = await house.enter("bert")
    people = await house.told(anna, room_messages.Participants)
    assert [(person.name, person.publishes) for person in people[-1].present] == [("bert", ("audio", "video"))]
    slots = {
        slot.mid: (slot.participant, slot.kind) for slot in (await house.told(anna, room_messages.Slots))[-1].slots
    }
    other = bert.info.participant
    assert {value for value in slots.values() if value[0]} == {(other, "audio"), (other, "video")}
    await bert.handle(messages.Hangup())
    assert (await house.told(anna, room_messages.Participants))[-1].left == (other,)
    assert all(slot.participant is None for slot in (await house.told(anna, room_messages.Slots))[-1].slots)
    assert len(house.signaling[anna].of(messages.Answer)) == 1
    assert house.signaling[anna].of(messages.Offer) == []
    assert [ended.reason for ended in await house.told(bert, messages.Ended)] == ["hangup"]


async def test_what_a_token_does_not_allow_is_answered_inactive_with_the_reason(house: House) -> None:
    anna = await house.enter("anna", may_publish=frozenset({"audio"}))
    (answer,) = house.signaling[anna].of(messages.Answer)
    assert [str(media.direction) for media in parse(answer.sdp).media][:3] == ["recvonly", "inactive", "inactive"]
    assert [command.mid for command in house.engine.of(AddUpTrack)] == ["0"]
    (permitted,) = await house.told(anna, room_messages.Permitted)
    assert (permitted.publish, permitted.refused) == (("audio",), {"1": "not_permitted", "2": "not_permitted"})


async def test_two_sections_cannot_be_the_same_and_none_can_be_another_medium(house: House) -> None:
    anna = await house.enter("anna", kinds={"0": "audio", "1": "video", "2": "video"})
    (permitted,) = await house.told(anna, room_messages.Permitted)
    assert permitted.refused == {"2": "one_of_a_kind"}
    with pytest.raises(RemoteProtocolError):
        await house.enter("bert", kinds={"0": "video"})


async def test_without_a_word_the_second_picture_is_a_screen(house: House) -> None:
    anna = await house.enter("anna", kinds={})
    await anna.handle(room_messages.Publish(audio=False, video=True, screen=True))
    room = house.rooms.get("stage")
    assert room is not None
    assert [one.publishes for one in room] == [("video", "screen")]


async def test_a_moderator_takes_and_gives_and_nobody_else_does(house: House) -> None:
    boss = await house.enter("boss", moderate=True)
    anna = await house.enter("anna")
    other = anna.info.participant
    await boss.handle(room_messages.Permit(participant=other, publish=("audio",)))
    cut = [command for command in house.engine.of(SetGate) if command.gate == "permission"]
    assert [command.open for command in cut] == [False, False], "camera and screen"
    (permitted,) = await house.told(anna, room_messages.Permitted)
    assert (permitted.publish, permitted.refused) == (("audio",), {})
    with pytest.raises(RemoteProtocolError) as refused:
        await anna.handle(room_messages.Permit(participant=boss.info.participant, publish=()))
    assert refused.value.status == 403
    with pytest.raises(RemoteProtocolError) as unknown:
        await boss.handle(room_messages.Permit(participant="nobody", publish=()))
    assert unknown.value.status == 404


async def test_a_wish_reaches_the_slot_and_is_answered(house: House) -> None:
    anna, bert = await house.enter("anna"), await house.enter("bert")
    want = room_messages.Want(participant=bert.info.participant, kind="video", width=320, height=180, priority=9)
    other = room_messages.Want(participant="nobody", kind="screen")
    await anna.handle(room_messages.Subscribe(id=4, wants=(want, other), fill=False))
    (subscribed,) = house.signaling[anna].of(room_messages.Subscribed)
    assert (subscribed.id, subscribed.unknown) == (4, ("nobody",))
    target = house.engine.of(SetDownTrackTarget)[-1]
    assert (target.max_width, target.max_height, target.priority) == (320, 180, 9)


async def test_changes_that_come_too_fast_are_refused_by_name(house: House) -> None:
    anna = await house.enter("anna")
    for _ in range(int(CHANGES_AT_ONCE) - 1):
        await anna.handle(room_messages.Subscribe(id=1))
    with pytest.raises(LimitExceeded) as refused:
        await anna.handle(room_messages.Subscribe(id=1))
    assert refused.value.limit == "room_changes"


async def test_the_engine_says_who_speaks_and_which_layers_nobody_wants(house: House) -> None:
    anna, bert = await house.enter("anna"), await house.enter("bert")
    sound, camera = house.engine.of(AddUpTrack)[3].id, house.engine.of(AddUpTrack)[4].id
    house.engine.deliver(events.SpeechChanged(id=sound, loudness=3))
    house.engine.deliver(events.UpTrackLayersWanted(id=camera, rids=("l",), max_spatial=0))
    (layers,) = await house.told(bert, room_messages.Layers)
    assert (layers.mid, layers.rids) == ("1", ("l",))
    await passed(0.3)
    assert (await house.told(anna, room_messages.Speakers))[-1].active == bert.info.participant


async def test_a_member_whose_edge_is_lost_is_asked_for_an_ice_restart(house: House) -> None:
    anna = await house.enter("anna")
    transport = house.engine.of(AddUpTrack)[0].transport
    house.engine.deliver(events.EdgeLeft(id=transport))
    assert len(await house.told(anna, messages.RestartIce)) == 1


async def test_a_connection_that_is_lost_ends_the_membership(house: House) -> None:
    anna = await house.enter("anna")
    transport = house.engine.of(AddUpTrack)[0].transport
    house.engine.deliver(events.TransportClosed(id=transport, reason="consent_expired"))
    assert [ended.reason for ended in await house.told(anna, messages.Ended)] == ["consent_expired"]
    assert (len(house.members), len(house.rooms)) == (0, 0)
    await anna.gone("browser_lost")


async def test_the_last_free_place_is_taken_once() -> None:
    house = House(members=1)
    await house.enter("a")
    with pytest.raises(LimitExceeded) as refused:
        await house.enter("b")
    assert refused.value.limit == "limits.participants_per_room"
    await house.members.close_all("test")


async def test_a_screen_is_charged_while_it_is_shown_and_told_where_there_is_no_room() -> None:
    house = House("media: {bandwidth: {room: {screen: 200 kbit/s}}}\n")
    anna, bert = await house.enter("anna"), await house.enter("bert")
    shown = room_messages.Publish(audio=True, video=True, screen=True)
    hidden = room_messages.Publish(audio=True, video=True, screen=False)
    await anna.handle(shown)
    await bert.handle(shown)
    (permitted,) = await house.told(bert, room_messages.Permitted)
    assert permitted.refused == {"2": "bandwidth"}
    room = house.rooms.get("stage")
    assert room is not None
    assert [one.publishes for one in room] == [("audio", "video", "screen"), ("audio", "video")]
    await anna.handle(hidden)
    await bert.handle(shown)
    assert [one.publishes for one in room] == [("audio", "video"), ("audio", "video", "screen")]
    await house.members.close_all("test")


async def test_whip_and_whep_share_the_room_with_members(house: House) -> None:
    anna = await house.enter("anna")
    leg = await house.sessions.publish("stage", offer(SENDING[:2]), subject="studio", source="192.0.2.1")
    people = (await house.told(anna, room_messages.Participants))[-1].present
    assert [(person.name, person.member, person.publishes) for person in people] == [
        ("studio", False, ("audio", "video"))
    ]
    assert leg.id not in str(house.signaling[anna].sent), "the name of its resource is nobody's business"
    house.engine.sent.clear()
    viewer = await house.sessions.view("stage", offer(RECEIVING), subject="wall", source="192.0.2.1")
    assert len(house.engine.of(Subscribe)) == 4, "two voices and two cameras in its slots"
    for one in (leg, viewer):
        await one.close("test")


async def test_a_whip_token_for_sound_takes_no_picture(house: House) -> None:
    leg = await house.sessions.publish(
        "stage", offer(SENDING[:2]), subject="radio", source="192.0.2.1", may_publish=frozenset({"audio"})
    )
    assert [str(media.direction) for media in parse(leg.answer_sdp).media] == ["recvonly", "inactive"]
    assert [command.kind for command in house.engine.of(AddUpTrack)] == ["audio"]
    await leg.close("test")
