"""Calls that lead into a room: who hears whom, what is mixed for the phones, and how they come and go."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import pytest

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause, MediaChanged
from mediaserver.call.leg import LegMedia
from mediaserver.call.room_party import Parts
from mediaserver.call.room_seat import ANONYMOUS, RoomSeats
from mediaserver.call.routing import Destination
from mediaserver.config.loader import load_text
from mediaserver.config.routes import Target
from mediaserver.config.sections import RoomDefaults
from mediaserver.core.down_track import DownTrack
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import Permissions
from mediaserver.core.rooms import Rooms
from mediaserver.core.slot import Slot
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import CloseMix, CloseTranscoder, Kind, OpenTranscoder, Play, SetMix, WatchSpeech
from mediaserver.engine.events import CommandFailed, SpeechChanged
from mediaserver.errors import InsufficientBandwidth, LocalProtocolError
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.codecs import KNOWN, h264_mode
from mediaserver.sdp.description import Codec, Fingerprint
from tests.call.fakes import FakeEngine, FakeLeg

OPUS, G722, PCMU, PCMA, VP8, H264 = (KNOWN[name] for name in ("opus", "G722", "PCMU", "PCMA", "VP8", "H264"))
HANGUP = EndCause("caller", "hangup")
ROOM = "stage"


class House:
    """One engine, one room, phones that call into it and browsers that are in it."""

    def __init__(self, config: str = "", *, members: int = 5, phones: int = 5) -> None:
        self.engine = FakeEngine()
        self.ended: list[EndCause] = []
        self.notes: list[tuple[str, str]] = []
        self.withheld: list[tuple[str, str]] = []
        self.now = 0.0
        self.rooms = Rooms(
            rooms=2,
            publishers=5,
            viewers=5,
            members=members,
            phones=phones,
            audio_places=2,
            clock=lambda: self.now,
        )
        metrics, engine = Metrics(), self.engine
        parts = Parts(
            rooms=self.rooms,
            engine=engine,  # type: ignore[arg-type]
            fingerprint=Fingerprint("sha-256", bytes(32)),
            admission=Admission(load_text(config).config, metrics=metrics),
            defaults=RoomDefaults(audio_slots=2, video_slots=2),
            audio_codecs=("opus", "PCMU"),
            video_codecs=("VP8", "H264"),
            data_channels=True,
        )
        self.seats = RoomSeats(parts, metrics=metrics)
        self._transports = 0

    def tracks(self, kind: Kind, codec: Codec) -> LegMedia:
        self._transports += 1
        common: dict[str, Any] = {"engine": self.engine, "transport": self._transports, "kind": kind, "mid": None}
        return LegMedia(
            UpTrack(**common, codecs=(codec,)), DownTrack(**common, codecs=(codec,), ssrc=self._transports, cname="c")
        )

    def leg(self, name: str, sound: Codec = PCMU, picture: Codec | None = None) -> FakeLeg:
        codecs: dict[Kind, tuple[Codec, ...]] = {"audio": (sound,)}
        if picture is not None:
            codecs["video"] = (picture,)
        leg = FakeLeg(name, codecs=codecs)
        for kind, (codec,) in codecs.items():
            leg.media[kind] = self.tracks(kind, codec)
        return leg

    def browser(self, name: str, picture: Codec = VP8) -> Participant:
        """A member with a slot for sound and one for a picture."""
        sound, camera = self.tracks("audio", OPUS), self.tracks("video", picture)
        slots = [self.tracks("audio", OPUS), self.tracks("video", VP8)]
        person = Participant(name, name, member=True)
        person.up = {"audio": present(sound.up), "video": present(camera.up)}
        person.slots = {str(mid): Slot(str(mid), present(each.down)) for mid, each in enumerate(slots)}
        self.rooms.join(ROOM, person)
        return person

    def request(self, leg: FakeLeg, room: str = ROOM, **shown: Any) -> CallRequest:
        presentation = Presentation(**{"name": leg.name, **shown})
        return CallRequest(
            "contact",
            leg,
            Destination(Target(room=room), "100", "route 1"),
            presentation,
            note=lambda what, detail: self.notes.append((what, detail)),
        )

    async def call(self, leg: FakeLeg, **shown: Any) -> Call:
        seat = await self.seats.enter(self.request(leg, **shown))
        call = Call(
            call_id=f"call-{leg.id}",
            caller=leg,
            callee=seat,
            longest_s=600,
            on_ended=lambda _, cause: self.ended.append(cause),
            on_withheld=lambda leg, reason: self.withheld.append((leg.name, reason)),
            engine=self.engine,  # type: ignore[arg-type]
        )
        await call.join()
        return call

    @property
    def mix(self) -> SetMix:
        found: SetMix = self.engine.of(SetMix)[-1]
        return found

    def hears(self, leg: FakeLeg) -> set[int]:
        """The up tracks that a phone hears in the mix."""
        listeners = [each for each in self.mix.listeners if each.id == down(leg).mixed]
        return {voice.source for each in listeners for voice in self.mix.voices} - {
            source for each in listeners for source in each.without
        }

    def listens(self, leg: FakeLeg) -> bool:
        """Whether a phone is among those whom the mix is made for."""
        return any(each.id == down(leg).mixed for each in self.mix.listeners)

    def people(self) -> dict[str, Participant]:
        room = self.rooms.get(ROOM)
        return {} if room is None else {one.name: one for one in room}


_T = TypeVar("_T")


def present(found: _T | None) -> _T:
    assert found is not None
    return found


def up(leg: FakeLeg, kind: Kind = "audio") -> UpTrack:
    return present(leg.media[kind].up)


def down(leg: FakeLeg, kind: Kind = "audio") -> DownTrack:
    return present(leg.media[kind].down)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def house() -> House:
    return House()


async def test_phones_hear_everybody_but_themselves_of_one_mix_and_browsers_hear_them_in_opus(house: House) -> None:
    browser = house.browser("anna")
    desk, hall = house.leg("desk", PCMU), house.leg("hall", G722)
    for leg in (desk, hall):
        await house.call(leg)
    said = browser.up["audio"].id
    assert house.hears(desk) == {said, up(hall).id}
    assert house.hears(hall) == {said, up(desk).id}
    assert [listener.codec for listener in house.mix.listeners] == ["PCMU", "G722"]
    assert len({command.id for command in house.engine.of(SetMix)}) == 1, "one mix for all"
    slot = browser.slots["0"]
    shown = present(slot.shows)
    assert shown.track is up(desk)
    (made,) = [each for each in house.engine.of(OpenTranscoder) if each.source == up(desk).id]
    assert (made.source_codec, made.codec, slot.down.mixed) == ("PCMU", "opus", made.id)


async def test_what_a_phone_says_is_transcoded_once_for_all_who_hear_it(house: House) -> None:
    first, second = house.browser("anna"), house.browser("ben")
    desk = house.leg("desk")
    await house.call(desk)
    house.rooms.hear(ROOM, house.people()["desk"].id, 4)
    assert first.slots["0"].down.mixed == second.slots["0"].down.mixed is not None
    assert len(house.engine.of(OpenTranscoder)) == 1


async def test_a_phone_with_opus_is_heard_as_it_comes(house: House) -> None:
    browser = house.browser("anna")
    await house.call(desk := house.leg("desk", OPUS))
    assert browser.slots["0"].down.source is up(desk)
    assert house.engine.of(OpenTranscoder) == []


async def test_what_is_decoded_says_that_a_phone_speaks(house: House) -> None:
    house.browser("anna")
    await house.call(desk := house.leg("desk"))
    house.engine.deliver(SpeechChanged(id=up(desk).id, loudness=4))
    assert present(house.rooms.get(ROOM)).speakers.active == house.people()["desk"].id


async def test_browsers_say_by_themselves_how_loudly_they_speak_and_of_phones_the_mix_does(house: House) -> None:
    browser = house.browser("anna")
    await house.call(desk := house.leg("desk"))
    judged = {voice.source: voice.judged for voice in house.mix.voices}
    assert judged == {up(desk).id: True, browser.up["audio"].id: False}
    assert [command.id for command in house.engine.of(WatchSpeech) if command.on] == [browser.up["audio"].id]


async def test_nothing_is_said_twice(house: House) -> None:
    house.browser("anna")
    await house.call(desk := house.leg("desk"))
    told = len(house.engine.sent)
    desk.emit(MediaChanged())
    await settled()
    assert len(house.engine.sent) == told


async def test_a_phone_that_holds_the_room_is_out_of_the_mix_until_it_is_back(house: House) -> None:
    browser = house.browser("anna")
    await house.call(desk := house.leg("desk", OPUS))
    await house.call(hall := house.leg("hall"))
    down(desk).update(down(desk).codecs, active=False)
    desk.emit(MediaChanged())
    assert not house.listens(desk)
    assert house.hears(hall) == {browser.up["audio"].id}, "nor does anybody hear its music"
    assert "mute" in up(desk).closed_gates
    down(desk).update(down(desk).codecs, active=True)
    desk.emit(MediaChanged())
    assert house.hears(desk) == {browser.up["audio"].id, up(hall).id}
    assert house.hears(hall) == {browser.up["audio"].id, up(desk).id}
    assert up(desk).closed_gates == frozenset()


async def test_one_that_only_sends_from_the_beginning_does_not_hold_anybody(house: House) -> None:
    browser = house.browser("anna")
    gate = house.leg("gate", OPUS)
    down(gate).update(down(gate).codecs, active=False)
    await house.call(gate)
    assert browser.slots["0"].down.source is up(gate)
    assert house.engine.of(SetMix) == []


async def test_the_house_holds_and_mutes_a_phone_in_a_room(house: House) -> None:
    said = house.browser("anna").up["audio"].id
    call = await house.call(desk := house.leg("desk"))
    await house.call(hall := house.leg("hall"))
    call.passing.mute(desk, ("audio",), on=True)
    call.connect()
    assert (house.hears(desk), house.hears(hall)) == ({said, up(hall).id}, {said})
    call.passing.mute(desk, ("audio",), on=False)
    call.passing.mute(call.callee, ("audio",), on=True)
    call.connect()
    assert (house.listens(desk), house.hears(hall)) == (False, {said, up(desk).id})
    call.passing.mute(call.callee, ("audio",), on=False)
    call.hold(desk, on=True, clip=9)
    assert (house.listens(desk), house.hears(hall)) == (False, {said})
    call.hold(desk, on=False)
    assert house.hears(desk) == {said, up(hall).id}
    # A leg plays by an engine of its own here.
    fake: Any = desk._engine
    assert [command.clip for command in fake.of(Play)] == [9]


async def test_a_phone_sees_the_first_picture_that_comes_in_its_codec_and_its_own_is_seen(house: House) -> None:
    anna, ben = house.browser("anna", VP8), house.browser("ben", H264)
    await house.call(desk := house.leg("desk", PCMU, H264))
    assert down(desk, "video").source is ben.up["video"]
    house.rooms.hear(ROOM, "anna", 4)
    assert down(desk, "video").source is ben.up["video"]
    assert house.people()["desk"].publishes == ("audio", "video")
    assert [one.track for one in [present(anna.slots["1"].shows)]] == [ben.up["video"]]
    house.rooms.leave(ROOM, "ben")
    assert down(desk, "video").source is None
    assert house.withheld == [("desk", "codec")]
    assert desk.picture_withheld == "codec"
    assert present(anna.slots["1"].shows).track is up(desk, "video")


async def test_when_the_last_phone_hangs_up_the_mix_and_what_was_made_of_it_end(house: House) -> None:
    browser = house.browser("anna")
    call = await house.call(desk := house.leg("desk"))
    await desk.end(HANGUP)
    await settled()
    assert (call.callee.end_cause, house.ended) == (HANGUP, [HANGUP])
    assert len(house.engine.of(CloseMix)) == len(house.engine.of(CloseTranscoder)) == 1
    assert browser.slots["0"].shows is None
    assert (list(house.people()), len(house.seats)) == (["anna"], 0)


async def test_the_room_goes_with_its_last_phone_and_the_call_with_the_api(house: House) -> None:
    call = await house.call(desk := house.leg("desk"))
    await call.end(EndCause("system", "api", 480))
    await settled()
    assert (present(desk.end_cause).reason, len(house.rooms)) == ("api", 0)


async def test_who_is_put_in_the_place_of_a_phone_is_in_the_room_and_the_other_is_heard_elsewhere(house: House) -> None:
    said = house.browser("anna").up["audio"].id
    call = await house.call(desk := house.leg("desk", OPUS))
    house.rooms.permit(ROOM, house.people()["desk"].id, Permissions(frozenset()))
    assert "permission" in up(desk).closed_gates
    await call.replace(desk, hall := house.leg("hall"))
    assert house.hears(hall) == {said}
    assert set(house.people()) == {"anna", "hall"}
    assert up(desk).closed_gates == frozenset()


async def test_a_phone_may_be_taken_out_of_the_room_to_somebody_else(house: House) -> None:
    house.browser("anna")
    call = await house.call(desk := house.leg("desk"))
    await call.replace(seat := call.callee, hall := house.leg("hall"))
    await seat.end(EndCause("system", "transferred", 200))
    await settled()
    assert (down(desk).source, down(hall).source) == (up(hall), up(desk))
    assert (list(house.people()), house.ended) == (["anna"], [])
    assert up(desk).closed_gates == frozenset()


async def test_what_may_be_published_holds_for_phones_too(house: House) -> None:
    browser = house.browser("anna")
    await house.call(desk := house.leg("desk", OPUS))
    await house.call(hall := house.leg("hall"))
    house.rooms.permit(ROOM, house.people()["desk"].id, Permissions(frozenset({"video"})))
    assert "permission" in up(desk).closed_gates
    assert house.hears(hall) == {browser.up["audio"].id}
    assert present(browser.slots["0"].shows).track is up(hall)


async def test_a_full_room_is_busy(house: House) -> None:
    for full in (House(members=1), House(phones=1)):
        await full.call(full.leg("desk"))
        with pytest.raises(DialFailed) as refused:
            await full.seats.enter(full.request(full.leg("hall")))
        assert (refused.value.code, refused.value.elsewhere, list(full.people())) == (486, True, ["desk"])


async def test_a_room_without_bandwidth_for_a_picture_takes_the_sound_and_without_any_nothing() -> None:
    lines = "media: {{bandwidth: {{room: {{audio: {audio}, video: {video}}}}}}}"
    house = House(lines.format(audio="200 kbit/s", video="0 kbit/s"))
    call = await house.call(house.leg("desk", PCMU, H264))
    assert set(call.callee.codecs) == {"audio"}
    house = House(lines.format(audio="10 kbit/s", video="0 kbit/s"))
    with pytest.raises(InsufficientBandwidth):
        await house.call(house.leg("desk", PCMU, H264))
    assert (len(house.rooms), len(house.seats)) == (0, 0)


async def test_names_are_what_the_caller_shows(house: House) -> None:
    await house.call(house.leg("one"), name="", number="1234")
    await house.call(house.leg("two"), name="Eve", withheld=True)
    await house.call(house.leg("three"), name="Anna")
    assert list(house.people()) == ["1234", ANONYMOUS, "Anna"]
    assert [note for note in house.notes if note[0] != "bandwidth"] == [("room_entered", ROOM)] * 3


async def test_nobody_is_added_to_a_call_into_a_room_and_no_room_into_a_room(house: House) -> None:
    call = await house.call(house.leg("desk"))
    with pytest.raises(LocalProtocolError):
        await call.add(house.leg("hall"))
    fake: Any = call.callee
    with pytest.raises(DialFailed) as refused:
        await house.seats.enter(house.request(fake))
    assert refused.value.code == 403


async def test_when_no_more_can_be_mixed_the_last_who_came_goes(house: House) -> None:
    house.browser("anna")
    await house.call(desk := house.leg("desk"))
    call = await house.call(hall := house.leg("hall"))
    house.engine.deliver(CommandFailed(request=None, id=house.mix.id, command="set_mix", reason="limit mixed_legs"))
    await settled()
    assert call.callee.end_cause == EndCause("system", "mix_refused", 503, "limit mixed_legs")
    assert (hall.ended, desk.ended) == (True, False)


async def test_a_place_that_nobody_takes_is_given_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.call.room_seat.KEPT_S", 0.0)
    seat = await house.seats.enter(house.request(house.leg("desk")))
    await settled()
    assert (seat.ended, len(house.rooms), len(house.seats)) == (True, 0, 0)


async def test_a_phone_with_both_packetization_modes_speaks_the_one_that_pages_send_first(house: House) -> None:
    leg = house.leg("desk", PCMU, H264)
    leg._codecs = {"audio": (PCMU,), "video": (KNOWN["H264/0"], H264, VP8)}
    call = await house.call(leg)
    assert [h264_mode(codec) for codec in call.callee.codecs["video"] if codec.key == "h264"] == ["1"]
    old = house.leg("old", PCMU)
    old._codecs = {"audio": (PCMU,), "video": (KNOWN["H264/0"],)}
    call = await house.call(old)
    assert "0" in [h264_mode(codec) for codec in call.callee.codecs["video"]]
