"""Pages in a conference: each voice at a place of its own, which an offer of ours makes, and one mix where there is none."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.call.call import Call
from mediaserver.call.conference import Supervision
from mediaserver.call.events import EndCause, MediaChanged
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.engine.commands import AddDownTrack, AddUpTrack, CloseMix, SetMix, WatchSpeech
from mediaserver.sdp.description import Fingerprint, MediaDescription
from mediaserver.sdp.parser import parse
from mediaserver.webrtc import messages
from mediaserver.webrtc.section import MediaPolicy
from tests.call.conference_house import OPUS, PCMA, PCMU, VP8, House, Page, down, settled, up
from tests.call.fakes import FakeEngine, FakeLeg, FakeSignaling
from tests.webrtc.browser_texts import browser_answer, recorded

HANGUP = EndCause("agent", "hangup")


@pytest.fixture
def house() -> House:
    return House()


async def conference(house: House, *legs: FakeLeg) -> Call:
    call = await house.call(*legs[:2])
    for leg in legs[2:]:
        await call.add(leg)
    return call


def heard(page: Page) -> list[object]:
    return [place.source for place in (down(page), *page.places)]


async def test_a_page_hears_each_phone_as_it_comes_once_it_has_places(house: House) -> None:
    page, one, two = house.page("page", OPUS, PCMU, PCMA), house.leg("one", PCMU), house.leg("two", PCMA)
    await conference(house, page, one, two)
    assert page.wanted == 1
    assert down(page).mixed is not None, "until then it hears the mix"
    house.give_places(page, 1)
    assert heard(page) == [up(one), up(two)]
    assert down(page).mixed is None
    assert [listener.codec for listener in house.mix.listeners] == ["PCMU", "PCMA"], "phones hear the mix"


async def test_a_voice_keeps_its_place_when_another_one_leaves(house: House) -> None:
    page, others = house.page("page", OPUS), [house.leg(name, OPUS) for name in "abc"]
    await conference(house, page, *others)
    house.give_places(page, 2)
    assert heard(page) == [up(other) for other in others]
    await others[1].end(HANGUP)
    await settled()
    assert heard(page) == [up(others[0]), None, up(others[2])]


async def test_pages_alone_need_no_mix_and_say_themselves_who_speaks(house: House) -> None:
    pages = [house.page(name, OPUS, picture=VP8) for name in "abc"]
    call = await conference(house, *pages)
    for page in pages:
        house.give_places(page, 1)
    mixes = [command for command in house.engine.sent if isinstance(command, SetMix | CloseMix)]
    assert isinstance(mixes[-1], CloseMix)
    assert {command.id: command.on for command in house.engine.of(WatchSpeech)} == {up(page).id: True for page in pages}
    house.speaks(pages[2], 4)
    assert [down(page, "video").source for page in pages[:2]] == [up(pages[2], "video")] * 2
    await pages[2].end(HANGUP)
    await settled()
    assert [heard(page) for page in pages[:2]] == [[up(pages[1]), None], [up(pages[0]), None]]
    assert call.guests == []
    last = {command.id: command.on for command in house.engine.of(WatchSpeech)}
    assert [last[up(page).id] for page in pages[:2]] == [False, False]


async def test_more_voices_than_places_are_one_mix(house: House) -> None:
    page, others = house.page("page", OPUS), [house.leg(name, OPUS) for name in "abc"]
    call = await conference(house, page, *others[:2])
    house.give_places(page, 1)
    await call.add(others[2])
    assert page.wanted == 2
    assert (down(page).mixed is not None, heard(page)) == (True, [None, None])


async def test_who_is_held_hears_nothing_at_any_place_and_a_whisper_has_one(house: House) -> None:
    page, customer, boss = house.page("page", OPUS), house.leg("customer", OPUS), house.leg("boss", OPUS)
    call = await house.call(customer, page)
    await call.add(boss, Supervision("whisper", "page"))
    house.give_places(page, 1)
    assert heard(page) == [up(customer), up(boss)]
    call.hold(page, on=True)
    assert heard(page) == [None, None]
    call.hold(page, on=False)
    assert set(heard(page)) == {up(customer), up(boss)}


# -- the page's own leg ------------------------------------------------------------------------------------------------


def browser(voices: int) -> tuple[WebRtcLeg, FakeSignaling, FakeEngine]:
    engine, signaling = FakeEngine(), FakeSignaling()
    signaling.voices = voices
    leg = WebRtcLeg(
        leg_id="leg",
        contact_id="contact",
        name="Visitor",
        party="caller",
        engine=engine,  # type: ignore[arg-type]
        fingerprint=Fingerprint("sha-256", bytes(32)),
        policy=MediaPolicy(),
        signaling=signaling,
        closed_gates={},
        may_send_video=True,
    )
    return leg, signaling, engine


def sounds(sdp: str) -> list[MediaDescription]:
    return [section for section in parse(sdp).media if section.kind == "audio"]


async def test_places_come_by_an_offer_with_sections_on_which_we_only_send() -> None:
    leg, signaling, engine = browser(voices=2)
    await leg.handle(messages.Offer(id=1, sdp=recorded("chromium_sendrecv")))
    ups, downs = len(engine.of(AddUpTrack)), len(engine.of(AddDownTrack))
    leg.make_places(5)
    leg.make_places(1)
    await asyncio.sleep(0)
    (offer,) = signaling.of(messages.Offer)
    assert [section.direction.value for section in sounds(offer.sdp)] == ["sendrecv", "sendonly", "sendonly"]
    assert leg.places == ()
    changed: list[object] = []
    leg.listen(lambda _, event: changed.append(event))
    await leg.handle(messages.Answer(id=offer.id, sdp=browser_answer(offer.sdp)))
    assert len(leg.places) == 2
    assert any(isinstance(event, MediaChanged) for event in changed)
    assert (len(engine.of(AddUpTrack)), len(engine.of(AddDownTrack))) == (ups, downs + 2)
    assert {leg.track_kinds[place.id] for place in leg.places} == {"audio"}


async def test_a_page_that_says_nothing_of_voices_is_offered_no_places() -> None:
    leg, signaling, _ = browser(voices=0)
    await leg.handle(messages.Offer(id=1, sdp=recorded("chromium_sendrecv")))
    leg.make_places(3)
    await asyncio.sleep(0)
    assert signaling.of(messages.Offer) == []


async def test_a_page_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.call.webrtc_leg._ANSWER_TIMEOUT_S", 0.01)
    leg, signaling, _ = browser(voices=1)
    await leg.handle(messages.Offer(id=1, sdp=recorded("chromium_sendrecv")))
    leg.make_places(1)
    await asyncio.sleep(0.05)
    leg.make_places(1)
    await asyncio.sleep(0)
    assert [len(sounds(offer.sdp)) for offer in signaling.of(messages.Offer)] == [2, 2]
