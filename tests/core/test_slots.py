"""Slots of a room: who is shown where, what goes first, and that nobody moves who may stay."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mediaserver.core.down_track import DownTrack
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import ALL, Permissions
from mediaserver.core.room import Room
from mediaserver.core.rooms import TELL_EVERY_S, Rooms
from mediaserver.core.seating import seat
from mediaserver.core.slot import Slot
from mediaserver.core.subscription import (
    ACTIVE_PRIORITY,
    PINNED_PRIORITY,
    REST_PRIORITY,
    SCREEN_PRIORITY,
    Subscription,
    Want,
)
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import SetGate, Subscribe, Unsubscribe, WatchSpeech
from mediaserver.errors import LimitExceeded
from mediaserver.sdp.codecs import KNOWN
from tests.call.fakes import FakeEngine


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.people: list[tuple[str, tuple[str, ...]]] = []
        self.left: list[str] = []
        self.moves: list[dict[str, str | None]] = []
        self.speakers: list[tuple[str | None, tuple[str, ...]]] = []
        self.permissions: list[Permissions] = []

    def saw(self, other: Participant) -> None:
        self.people.append((other.id, other.publishes))

    def missed(self, participant_id: str) -> None:
        self.left.append(participant_id)

    def seated(self, slots: Iterable[Slot]) -> None:
        self.moves.append({slot.mid: slot.shows.participant if slot.shows else None for slot in slots})

    def heard(self, active: str | None, speaking: tuple[str, ...]) -> None:
        self.speakers.append((active, speaking))

    def permitted(self, permissions: Permissions) -> None:
        self.permissions.append(permissions)


class Stage:
    """A room of members with sound and picture, and `slots` of each kind for everybody."""

    def __init__(self, *, audio: int = 2, video: int = 2) -> None:
        self.engine = FakeEngine()
        self.room = Room("stage", audio_places=audio)
        self._slots = {"audio": audio, "video": video}
        self.now = 0.0

    def member(self, name: str, *kinds: str) -> Participant:
        number = len(self.room) + 1
        one = Participant(name, name, observer=Seen(), member=True)
        for kind in kinds or ("audio", "video"):
            media = "audio" if kind == "audio" else "video"
            one.up[kind] = UpTrack(  # type: ignore[index]
                engine=self.engine,  # type: ignore[arg-type]
                transport=number,
                kind=media,  # type: ignore[arg-type]
                mid=kind,
                codecs=(KNOWN["opus" if kind == "audio" else "VP8"],),
            )
        for media, count in self._slots.items():
            for index in range(count):
                down = DownTrack(
                    engine=self.engine,  # type: ignore[arg-type]
                    transport=number,
                    kind=media,  # type: ignore[arg-type]
                    mid=f"{media}{index}",
                    ssrc=100 * number + index,
                    cname="c",
                    codecs=(KNOWN["opus" if media == "audio" else "VP8"],),
                )
                one.slots[f"{media}{index}"] = Slot(f"{media}{index}", down)
        self.room.join(one, self.now)
        return one

    def speak(self, one: Participant, loudness: int = 3, *, pause: float = 5.0) -> None:
        """After a pause in which everybody else fell silent."""
        self.now += pause
        for other in self.room:
            self.room.hear(other.id, 0, self.now)
        self.now += 0.1
        self.room.hear(one.id, loudness, self.now)
        while (due := self.room.speakers.poll_timeout()) is not None:
            self.now = max(self.now, due)
            self.room.handle_timeout(self.now)


def shown(one: Participant, kind: str) -> list[str | None]:
    return [slot.shows.participant if slot.shows else None for slot in one.slots.values() if slot.kind == kind]


def priorities(one: Participant) -> dict[str, int]:
    return {
        slot.shows.participant: slot.down.target.priority
        for slot in one.slots.values()
        if slot.shows is not None and slot.kind == "video"
    }


@pytest.mark.parametrize(
    ("present", "wanted", "after"),
    [
        ([None, None], "ab", ["a", "b"]),
        (["b", "a"], "ab", ["b", "a"]),
        (["a", "b"], "bc", ["c", "b"]),
        (["a", "b"], "c", ["c", None]),
        (["a", None], "aa", ["a", None]),
        ([], "abc", []),
    ],
)
def test_nobody_moves_who_may_stay(present: list[str | None], wanted: str, after: list[str | None]) -> None:
    assert seat(present, wanted) == after


def test_a_speaker_takes_the_place_of_who_has_been_silent_longest_and_the_others_stay() -> None:
    stage = Stage()
    viewer, *others = (stage.member(name) for name in "vabcd")
    assert shown(viewer, "video") == ["a", "b"], "who has been there longest, before anybody speaks"
    c, d = others[2:]
    stage.speak(c)
    assert shown(viewer, "video") == ["a", "c"]
    stage.speak(d)
    assert shown(viewer, "video") == ["d", "c"]
    stage.speak(c)
    assert shown(viewer, "video") == ["d", "c"]
    assert set(shown(viewer, "audio")) == {"d", "c"}
    assert c.id not in shown(c, "video") + shown(c, "audio")
    assert None not in shown(c, "audio"), "who is heard itself hears one more of the others"


def test_what_is_asked_for_by_name_comes_first_and_the_rest_is_filled_as_wished() -> None:
    stage = Stage(video=2)
    viewer, a, _b, c = (stage.member(name) for name in "vabc")
    stage.room.subscribe(viewer, Subscription((Want("c", "video", 320, 180),), fill=True))
    assert set(shown(viewer, "video")) == {"a", "c"}
    (slot,) = [slot for slot in viewer.slots.values() if slot.kind == "video" and slot.shows.participant == "c"]
    assert (slot.down.target.max_width, slot.down.target.max_height) == (320, 180)
    assert stage.room.subscribe(viewer, Subscription((Want("nobody", "video"),), fill=False)) == ("nobody",)
    assert shown(viewer, "video") == [None, None]
    assert None not in shown(viewer, "audio")
    wants = (Want("a", "video", paused=True), Want("b", "video"), Want("c", "video", priority=130))
    stage.room.subscribe(viewer, Subscription(wants, fill=True))
    assert set(shown(viewer, "video")) == {"b", "c"}, "what is paused waits for a place"
    stage.room.leave(c.id, stage.now)
    assert set(shown(viewer, "video")) == {"a", "b"}
    assert [
        s.down.target.paused for s in viewer.slots.values() if s.kind == "video" and s.shows.participant == "a"
    ] == [True]
    assert a.id in shown(viewer, "audio")


def test_a_screen_goes_before_the_active_speaker_before_who_is_asked_for_before_the_rest() -> None:
    stage = Stage(video=4)
    viewer = stage.member("v")
    stage.member("rest")
    stage.member("asked")
    speaker = stage.member("speaker")
    stage.member("shows", "screen")
    stage.room.subscribe(viewer, Subscription((Want("asked", "video"),)))
    stage.speak(speaker)
    assert priorities(viewer) == {
        "shows": SCREEN_PRIORITY,
        "speaker": ACTIVE_PRIORITY,
        "asked": PINNED_PRIORITY,
        "rest": REST_PRIORITY,
    }
    stage.room.subscribe(viewer, Subscription((Want("rest", "video", priority=7),)))
    assert priorities(viewer)["rest"] == 7


def test_who_shows_no_camera_takes_no_slot_and_is_cut_off() -> None:
    stage = Stage()
    viewer, a, b = (stage.member(name) for name in "vab")
    a.live = {"audio"}
    stage.room.changed(a, stage.now)
    assert shown(viewer, "video") == ["b", None] or shown(viewer, "video") == [None, "b"]
    assert [(c.gate, c.open) for c in stage.engine.of(SetGate)] == [("mute", False)]
    assert viewer.observer.people[-1] == ("a", ("audio",))  # type: ignore[union-attr]
    assert b.id in shown(a, "video")


def test_what_is_not_permitted_any_more_is_cut_off_at_once_and_told() -> None:
    stage = Stage()
    viewer, a = stage.member("v"), stage.member("a")
    stage.speak(a)
    stage.room.permit(a, Permissions(frozenset({"video"})), stage.now)
    assert ("permission", False) in [(c.gate, c.open) for c in stage.engine.of(SetGate)]
    assert shown(viewer, "audio") == [None, None]
    assert stage.room.speakers.active is None
    assert a.observer.permissions == [Permissions(frozenset({"video"}))]  # type: ignore[union-attr]
    stage.room.permit(a, Permissions(ALL), stage.now)
    assert "a" in shown(viewer, "audio")
    stage.room.permit(a, Permissions(ALL), stage.now)
    assert len(a.observer.permissions) == 2  # type: ignore[union-attr]


def test_a_subscription_that_stays_costs_nothing() -> None:
    stage = Stage(audio=1, video=1)
    for name in "vabcdefgh":
        stage.member(name)
    stage.engine.sent.clear()
    last = stage.member("late", "audio")
    assert len(stage.engine.of(Subscribe)) == 2, "its own slots only"
    stage.engine.sent.clear()
    stage.room.leave(last.id, stage.now)
    assert (stage.engine.of(Subscribe), stage.engine.of(Unsubscribe)) == ([], [])


def test_a_hundred_members_cost_as_many_subscriptions_as_they_have_slots() -> None:
    stage = Stage(audio=4, video=9)
    members = [stage.member(f"p{number}") for number in range(100)]
    assert all(None not in shown(one, kind) for one in members for kind in ("audio", "video"))
    assert len(stage.engine.of(WatchSpeech)) == 100
    stage.engine.sent.clear()
    stage.speak(members[77])
    changes = len(stage.engine.of(Subscribe))
    assert 99 <= changes <= 2 * 100, "one slot of sound and one of a picture at the most"


class House:
    """Rooms with a clock that the test moves."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, object]] = []
        bounds = {"rooms": 5, "publishers": 5, "viewers": 5, "members": 5, **limits}
        self.rooms = Rooms(**bounds, audio_places=2, call_later=self._later, clock=lambda: self.now)  # type: ignore[arg-type]

    def _later(self, seconds: float, callback: object) -> None:
        self.timers.append((self.now + seconds, callback))

    def run(self, until: float) -> None:
        while due := sorted((timer for timer in self.timers if timer[0] <= until), key=lambda timer: timer[0]):
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()  # type: ignore[operator]
        self.now = until


def test_everybody_is_told_who_speaks_a_few_times_a_second_at_most() -> None:
    house, stage = House(), Stage()
    a, b = stage.member("a"), stage.member("b")
    for one in (a, b):
        house.rooms.join("stage", one)
    for step in range(100):
        house.rooms.hear("stage", "a", 3 if step % 2 else 0)
        house.run(house.now + 0.01)
    house.run(house.now + 1)
    told = b.observer.speakers  # type: ignore[union-attr]
    assert 1 < len(told) <= 3 + 1 / TELL_EVERY_S
    assert told[-1] == ("a", ("a",))


def test_the_active_speaker_changes_by_the_clock_alone() -> None:
    house, stage = House(), Stage()
    for name in "ab":
        house.rooms.join("stage", stage.member(name))
    house.rooms.hear("stage", "a", 3)
    house.run(5.0)
    house.rooms.hear("stage", "a", 0)
    house.rooms.hear("stage", "b", 3)
    room = house.rooms.get("stage")
    assert room is not None
    assert room.speakers.active == "a"
    house.run(7.0)
    assert room.speakers.active == "b"


def test_members_have_a_limit_of_their_own() -> None:
    house, stage = House(members=1), Stage()
    house.rooms.join("stage", stage.member("a"))
    house.rooms.check("stage", "publisher")
    with pytest.raises(LimitExceeded) as full:
        house.rooms.check("stage", "member")
    assert full.value.limit == "limits.participants_per_room"


def test_timers_of_a_room_that_is_gone_do_nothing() -> None:
    house, stage = House(), Stage()
    house.rooms.join("stage", stage.member("a"))
    house.rooms.hear("stage", "a", 3)
    house.rooms.leave("stage", "a")
    house.rooms.hear("stage", "a", 3)
    house.run(10.0)
    assert len(house.rooms) == 0
