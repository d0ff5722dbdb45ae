"""What a member of a room receives is charged to its site track by track, and a shared screen is marked as one."""

from __future__ import annotations

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.sites import Hop
from mediaserver.core.subscription import SCREEN_PRIORITY
from mediaserver.engine.commands import SetDownTrackTarget
from mediaserver.webrtc import room_messages
from mediaserver.webrtc.messages import Hangup
from tests.call.test_room_member import RECEIVING, SENDING, House, offer

MUNICH, ELSEWHERE = "10.1.0.5", "198.51.100.1"
ACCESS = Hop("site", "munich")
SHARING = room_messages.Publish(audio=True, video=True, screen=True)


def house(budget: str) -> House:
    return House(f"sites: {{munich: {{cidrs: [10.1.0.0/16], budget: {{{budget}}}}}}}")


def used(one: House) -> tuple[int, int, int]:
    sound, picture, screen = (one.admission.used(ACCESS, kind) for kind in ("audio", "video", "screen"))
    return sound, picture, screen


def seen(one: House, name: str) -> list[MediaKind]:
    """The kinds that fill somebody's slots."""
    room = one.rooms.get("stage")
    assert room is not None
    (participant,) = (each for each in room if each.name == name)
    return sorted(slot.shows.kind for slot in participant.slots.values() if slot.shows is not None)


async def test_every_sound_picture_and_screen_that_is_received_is_charged_and_given_back() -> None:
    one = house("audio: 1 Mbit/s, video: 20 Mbit/s, screen: 20 Mbit/s")
    anna = await one.enter("anna", source=MUNICH)
    sound, picture, _ = alone = used(one)
    assert min(sound, picture) > 0
    bert = await one.enter("bert", source=ELSEWHERE)
    assert used(one) == alone, "the line has as much room both ways"
    cleo = await one.enter("cleo", source=ELSEWHERE)
    assert used(one) == (2 * sound, 2 * picture, 0)
    await bert.handle(SHARING)
    assert used(one) == (2 * sound, picture, picture), "a screen and a camera in two slots"
    await bert.handle(Hangup())
    assert used(one) == alone
    await anna.handle(Hangup())
    assert used(one) == (0, 0, 0)
    await cleo.handle(Hangup())


async def test_what_a_line_has_no_room_for_is_not_shown_to_the_member_behind_it() -> None:
    one = house("audio: 100 kbit/s, video: 290 kbit/s, screen: 100 kbit/s")
    for name, source in (("anna", MUNICH), ("bert", ELSEWHERE), ("cleo", ELSEWHERE)):
        member = await one.enter(name, source=source)
    assert seen(one, "anna") == ["audio", "video"]
    assert seen(one, "bert") == ["audio", "audio", "video", "video"]
    await member.handle(SHARING)
    assert "screen" not in seen(one, "anna")
    assert "screen" in seen(one, "bert")
    for kind in ("audio", "video", "screen"):
        assert one.metrics.value("admission_decisions_total", site="munich", kind=kind, outcome="refused") == 1
    await one.members.close_all("test")
    assert used(one) == (0, 0, 0)


async def test_a_viewer_is_charged_for_each_of_its_slots() -> None:
    one = house("audio: 1 Mbit/s, video: 20 Mbit/s")
    bert, _ = [await one.enter(name, source=ELSEWHERE) for name in ("bert", "cleo")]
    viewer = await one.sessions.view("stage", offer(RECEIVING), subject="wall", source=MUNICH)
    sound, picture, _ = used(one)
    await bert.handle(Hangup())
    assert used(one) == (sound // 2, picture // 2, 0)
    await viewer.close("test")
    assert used(one) == (0, 0, 0)
    await one.members.close_all("test")


async def test_a_shared_screen_is_marked_and_goes_first() -> None:
    one = House()
    await one.enter("anna")
    bert = await one.enter("bert")
    one.engine.sent.clear()
    await bert.handle(SHARING)
    targets = {(target.is_screen, target.priority) for target in one.engine.of(SetDownTrackTarget)}
    assert (True, SCREEN_PRIORITY) in targets
    one.engine.sent.clear()
    await bert.handle(room_messages.Publish(audio=True, video=True, screen=False))
    assert not any(target.is_screen for target in one.engine.of(SetDownTrackTarget))
    await one.members.close_all("test")


async def test_a_publisher_without_a_session_says_screen_in_its_description() -> None:
    one = house("video: 1 Mbit/s, screen: 1 Mbit/s")
    await one.enter("anna")
    slides = offer(SENDING[:2]).replace("a=mid:1\r\n", "a=mid:1\r\na=content:slides\r\n")
    leg = await one.sessions.publish("stage", slides, subject="studio", source=MUNICH)
    assert "screen" in seen(one, "anna")
    assert used(one)[1:] == (0, 1_000_000)
    await leg.close("test")
    assert used(one) == (0, 0, 0)
    await one.members.close_all("test")
