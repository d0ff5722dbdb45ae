"""Early media: who is heard before anybody has answered, in which order, and what phones are sent for it."""

from __future__ import annotations

import asyncio

from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.early_media import EarlyMedia
from mediaserver.call.events import EndCause, Ringing
from mediaserver.call.leg import LegMedia
from mediaserver.call.sip_devices import _alerted
from mediaserver.call.sip_leg import SipLeg
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import SetRtpRemote
from mediaserver.engine.events import CommandFailed, MediaTimeout
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import leg_of, settle, taken
from tests.call.test_sip_media import BROWSER, media

PCMU = {"audio": (KNOWN["PCMU"],)}


def speaker(name: str, codec: str = "PCMU") -> FakeLeg:
    """A leg with sound both ways."""
    spoken = (KNOWN[codec],)
    leg = FakeLeg(name, codecs={"audio": spoken})
    engine = FakeEngine()
    up = UpTrack(engine=engine, transport=1, kind="audio", mid=None, codecs=spoken)  # type: ignore[arg-type]
    down = DownTrack(
        engine=engine,  # type: ignore[arg-type]
        transport=1,
        kind="audio",
        mid=None,
        ssrc=1,
        cname="x",
        codecs=spoken,
    )
    leg.media = {"audio": LegMedia(up, down)}
    return leg


def hears(leg: FakeLeg) -> UpTrack | None:
    down = leg.media["audio"].down
    assert down is not None
    return down.source


def sound(leg: FakeLeg) -> UpTrack | None:
    return leg.media["audio"].up


async def test_the_first_who_sends_is_heard_and_hears() -> None:
    caller, one, two = speaker("caller"), speaker("one"), speaker("two")
    early = EarlyMedia(caller)
    assert await early.begin(one)
    assert await early.begin(two)
    assert hears(caller) is sound(one)
    assert hears(one) is sound(caller)
    assert hears(two) is None
    assert caller.hears_early


async def test_sound_of_another_codec_is_transcoded_where_that_is_to_be_and_no_longer() -> None:
    caller, one = speaker("caller", "PCMA"), speaker("one")
    one.transcode = "when_needed"
    early = EarlyMedia(caller)
    assert await early.begin(one)
    downs = [leg.media["audio"].down for leg in (caller, one)]
    made = [down.transcoder.codecs for down in downs if down is not None and down.transcoder is not None]
    assert [(sent.name, wanted.name) for sent, wanted in made] == [("PCMU", "PCMA"), ("PCMA", "PCMU")]
    early.gone(one)
    assert [down.transcoder for down in downs if down is not None] == [None, None]


async def test_who_answers_is_told_that_the_transcoder_of_before_is_refused() -> None:
    caller, one = speaker("caller", "PCMA"), speaker("one")
    one.transcode = "when_needed"
    assert await EarlyMedia(caller).begin(one)
    down, up = caller.media["audio"].down, sound(one)
    assert down is not None
    assert down.transcoder is not None
    assert up is not None
    told: list[str] = []
    down.transcode(up, *down.transcoder.codecs, told.append)  # as the call does when it is answered
    refused = CommandFailed(request=None, id=down.transcoder.id, command="open_transcoder", reason="limit transcodes")
    down._engine.deliver(refused)  # type: ignore[attr-defined]
    assert (told, down.source) == (["limit transcodes"], up)


async def test_a_transcoder_that_is_not_to_be_had_leaves_silence_and_may_be_asked_for_again() -> None:
    caller, one = speaker("caller", "PCMA"), speaker("one")
    one.transcode = "when_needed"
    early = EarlyMedia(caller)
    assert await early.begin(one)
    down = caller.media["audio"].down
    assert down is not None
    assert down.transcoder is not None
    early._refused(down, "transcodes")
    assert (down.transcoder, down.source) == (None, None)


async def test_when_the_first_is_gone_the_next_is_heard() -> None:
    caller, one, two = speaker("caller"), speaker("one"), speaker("two")
    early = EarlyMedia(caller)
    await early.begin(one)
    await early.begin(two)
    early.gone(one)
    assert hears(caller) is sound(two)
    assert hears(one) is None
    early.gone(two)
    assert hears(caller) is None
    assert not caller.hears_early


async def test_who_answers_stays_heard_and_others_do_not() -> None:
    caller, one = speaker("caller"), speaker("one")
    early = EarlyMedia(caller)
    await early.begin(one)
    early.end(one)
    assert hears(caller) is sound(one)
    again = EarlyMedia(caller)
    await again.begin(one)
    again.end(None)
    assert hears(caller) is None


async def test_a_caller_who_cannot_hear_is_told_that_it_rings() -> None:
    caller, one = FakeLeg("deaf"), speaker("one")
    request = CallRequest("c", caller, None, None, early=EarlyMedia(caller))  # type: ignore[arg-type]
    await _alerted(request, one, Ringing(183, early=True))
    assert caller.progressed == [183]


async def test_whoever_hears_somebody_is_not_told_of_others_that_ring() -> None:
    caller, one = speaker("caller"), speaker("one")
    noted: list[tuple[str, str]] = []
    request = CallRequest(
        "c",
        caller,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        early=EarlyMedia(caller),
        note=lambda *what: noted.append(what),
    )
    await _alerted(request, one, Ringing(183, early=True))
    await _alerted(request, one, Ringing(183, early=True))
    await _alerted(request, speaker("two"), Ringing(180))
    assert caller.progressed == []
    assert noted == [("early_media", "one")]


# -- a phone that is called ----------------------------------------------------------------------------------------


class Dialled:
    """A phone that is being called; `heard` holds what its leg told."""

    def __init__(self) -> None:
        self.engine, self.session, self.told = FakeEngine(), FakeSession(), list[Ringing]()
        self.leg = leg_of(self.engine)
        self.leg.listen(lambda _, event: self.told.append(event) if isinstance(event, Ringing) else None)
        self.offers: list[bytes] = []

    async def begin(self) -> asyncio.Future[None]:
        async def make(body: bytes) -> FakeSession:
            self.offers.append(body)
            return self.session

        dial = asyncio.ensure_future(self.leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
        await settle()
        return dial

    async def answer(self) -> bytes:
        """An answer of the phone, from another port each time."""
        return await media(FakeEngine()).answer(
            parse(self.offers[0].decode()), BROWSER, srtp_required=False, srtp_allowed=True
        )

    def pointed(self) -> int:
        return len(self.engine.of(SetRtpRemote))


async def test_a_phone_that_sends_early_has_its_media_before_the_answer() -> None:
    phone = Dialled()
    await phone.begin()
    phone.session.happen(sip.Progress(183, "", await phone.answer(), branch="a"))
    await settle()
    assert phone.told == [Ringing(183, early=True)]
    assert set(phone.leg.media) == {"audio", "video"}


async def test_of_forked_early_answers_the_first_is_in_force_until_the_call_is_answered() -> None:
    phone = Dialled()
    dial = await phone.begin()
    one, two = await phone.answer(), (await phone.answer()).replace(b"m=audio 2", b"m=audio 3")
    phone.session.happen(sip.Progress(183, "", one, branch="a"))
    phone.session.happen(sip.Progress(183, "", two, branch="b"))
    await settle()
    assert phone.told == [Ringing(183, early=True), Ringing(183)]
    before = phone.pointed()
    phone.session.happen(sip.Answered(None, branch="b"))
    await dial
    assert phone.pointed() > before
    agreed = phone.leg._sip_media.agreed["audio"].remote_rtp
    assert agreed is not None
    assert f"m=audio {agreed[1]} ".encode() in two


async def test_an_early_answer_that_came_reliably_is_the_answer() -> None:
    phone = Dialled()
    dial = await phone.begin()
    early = await phone.answer()
    phone.session.happen(sip.Progress(183, "", early, reliable=True, branch="a"))
    phone.session.happen(sip.Answered(early.replace(b"m=audio 2", b"m=audio 3"), branch="a"))
    await dial
    agreed = phone.leg._sip_media.agreed["audio"].remote_rtp
    assert agreed is not None
    assert f"m=audio {agreed[1]} ".encode() in early


async def test_an_early_description_of_no_use_is_ringing() -> None:
    phone = Dialled()
    dial = await phone.begin()
    phone.session.happen(sip.Progress(183, "", b"nonsense", branch="a"))
    await settle()
    assert phone.told == [Ringing(183)]
    phone.session.happen(sip.Answered(await phone.answer(), branch="a"))
    await dial
    assert not phone.leg.ended


async def test_a_silent_phone_is_not_given_up_before_it_has_answered() -> None:
    phone = Dialled()
    dial = await phone.begin()
    phone.session.happen(sip.Progress(183, "", await phone.answer(), reliable=True, branch="a"))
    await settle()
    audio = phone.leg.transports[0]
    phone.engine.deliver(MediaTimeout(id=audio, silent_ms=30_000))
    await settle()
    assert not phone.leg.ended
    before = phone.pointed()
    phone.session.happen(sip.Answered(None, branch="a"))
    await dial
    assert phone.pointed() > before  # the engine waits anew
    phone.engine.deliver(MediaTimeout(id=audio, silent_ms=30_000))
    await settle()
    assert phone.leg.end_cause is not None


async def test_an_offer_of_the_phone_before_the_answer_is_answered_and_holds() -> None:
    phone = Dialled()
    dial = await phone.begin()
    early = await phone.answer()
    phone.session.happen(sip.Progress(183, "", early, reliable=True, branch="a"))
    await settle()
    phone.session.happen(sip.Reoffered(early.replace(b"m=audio 2", b"m=audio 3"), branch="a"))
    await settle()
    kind, body = phone.session.log[-1]
    assert kind == "answer_reoffer"
    assert not parse(body.decode()).media[0].rejected
    phone.session.happen(sip.Answered(None, branch="a"))
    await dial
    agreed = phone.leg._sip_media.agreed["audio"].remote_rtp
    assert agreed is not None
    assert f"m=audio {agreed[1]} ".encode() not in early


async def test_an_offer_of_a_branch_that_is_not_heard_is_told_to_come_again() -> None:
    phone = Dialled()
    dial = await phone.begin()
    early = await phone.answer()
    phone.session.happen(sip.Progress(183, "", early, reliable=True, branch="a"))
    phone.session.happen(sip.Reoffered(early, branch="b"))
    await settle()
    assert phone.session.log[-1] == ("reject_reoffer", 500)
    dial.cancel()


async def test_a_phone_that_sent_early_and_then_declines_releases_everything() -> None:
    phone = Dialled()
    dial = await phone.begin()
    phone.session.happen(sip.Progress(183, "", await phone.answer(), branch="a"))
    phone.session.happen(sip.Rejected(486, "Busy Here"))
    failure = (await asyncio.gather(dial, return_exceptions=True))[0]
    assert isinstance(failure, DialFailed)
    await settle()
    assert len(phone.engine.closed) == 2


# -- a phone that calls --------------------------------------------------------------------------------------------


async def calling() -> tuple[SipLeg, FakeSession]:
    return await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))


async def test_two_who_answer_a_phone_at_once_answer_it_once() -> None:
    leg, session = await calling()
    one, two = (FakeLeg(name, codecs={"audio": (KNOWN["opus"],)}) for name in ("agent", "announcement"))
    await asyncio.gather(leg.meet(one), leg.meet(two))
    assert [name for name, *_ in session.log].count("answer") == 1, session.log
    assert set(leg.media) == {"audio"}


async def test_a_phone_that_calls_is_answered_in_a_183_and_the_200_says_the_same() -> None:
    leg, session = await calling()
    other = FakeLeg("other", codecs=PCMU)
    assert await leg.hear_early(other)
    assert await leg.hear_early(other)
    await leg.meet(other)
    (ring, code, early), (answered, body) = session.log
    assert (ring, code, answered, body) == ("ring", 183, "answer", early)
    assert set(leg.media) == {"audio"}


async def test_who_is_rung_next_is_offered_all_that_the_phone_has() -> None:
    leg, _ = await calling()
    before = leg.codecs
    await leg.hear_early(FakeLeg("operator", codecs=PCMU))
    assert leg.codecs == before
    assert "video" in before


async def test_what_the_one_who_answers_has_besides_is_asked_for_when_the_call_stands() -> None:
    leg, session = await calling()
    session.may_reoffer = False
    await leg.hear_early(FakeLeg("operator", codecs=PCMU))
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    assert [entry[0] for entry in session.log] == ["ring", "answer"]
    session.may_reoffer = True
    session.happen(sip.Confirmed(None))
    await settle()
    kind, body = session.log[-1]
    assert kind == "reoffer"
    assert [section.kind for section in parse(body.decode()).media if not section.rejected] == ["audio", "video"]


async def offered_early() -> tuple[SipLeg, FakeSession, asyncio.Future[bool], bytes]:
    """A phone that called without an offer and is sent ours while it rings; and what it would answer."""
    leg, session = await taken(None)
    session.may_offer_early = True
    heard = asyncio.ensure_future(leg.hear_early(FakeLeg("operator", codecs=PCMU)))
    await settle()
    kind, code, offer = session.log[-1]
    assert (kind, code) == ("ring", 183)
    answer = await media(FakeEngine()).answer(parse(offer.decode()), BROWSER, srtp_required=False, srtp_allowed=True)
    return leg, session, heard, answer


async def test_a_phone_without_an_offer_is_sent_ours_and_hears_from_its_answer_on() -> None:
    leg, session, heard, answer = await offered_early()
    assert not heard.done()
    session.happen(sip.EarlyAnswered(answer))
    assert await heard
    assert set(leg.media) == {"audio"}
    session.may_reoffer = False
    await leg.meet(FakeLeg("agent", codecs=PCMU))
    assert session.log[-1][0] == "answer"
    session.happen(sip.Confirmed(None))
    await settle()
    assert not leg.ended


async def test_an_early_offer_may_be_answered_after_somebody_has_taken_the_call() -> None:
    leg, session, heard, answer = await offered_early()
    await leg.meet(FakeLeg("agent", codecs=PCMU))
    session.happen(sip.EarlyAnswered(answer))
    session.happen(sip.Confirmed(None))
    assert await heard
    assert set(leg.media) == {"audio"}
    assert not leg.ended


async def test_an_early_offer_that_was_not_answered_is_answered_in_the_ack() -> None:
    leg, session, heard, answer = await offered_early()
    await leg.meet(FakeLeg("agent", codecs=PCMU))
    session.happen(sip.Confirmed(answer))
    assert await heard
    assert set(leg.media) == {"audio"}


async def test_a_phone_that_gives_up_before_it_answered_an_early_offer_releases_everything() -> None:
    leg, session, heard, _ = await offered_early()
    session.happen(sip.Cancelled())
    await settle()
    assert heard.cancelled()
    assert leg.ended


async def test_a_phone_without_an_offer_hears_nothing_early_where_it_could_not_answer() -> None:
    leg, session = await taken(None)
    assert not await leg.hear_early(FakeLeg("other", codecs=PCMU))
    assert session.log == []


async def test_nothing_in_common_is_no_early_media_and_no_end() -> None:
    leg, session = await calling()
    assert not await leg.hear_early(FakeLeg("other", codecs={"audio": (KNOWN["PCMA"],)}))
    assert session.log == []
    assert not leg.ended
    await leg.end(EndCause("system", "over"))
