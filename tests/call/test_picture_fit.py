"""A phone whose decoder is small: what it is given, who is asked for less, and what is said when nothing fits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, LegEvent, PictureWithheld, RateChanged
from mediaserver.call.leg import Leg
from mediaserver.call.picture_fit import PictureFit
from mediaserver.call.sip_leg import SipLeg
from mediaserver.engine.commands import SetDownTrackTarget
from mediaserver.engine.events import DownTrackLayerChanged
from mediaserver.sdp.bandwidth import PLAIN, from_tias
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Attribute, Bandwidth, MediaDescription, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.picture import PictureBounds
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import leg_of, settle
from tests.call.test_sip_media import BROWSER, media
from tests.passing import passed

LEVEL_1_2 = {"profile-level-id": "42e00c", "packetization-mode": "1", "level-asymmetry-allowed": "1"}
FORWARDING = DownTrackLayerChanged(id=1, state="forwarding")
TOO_LARGE = DownTrackLayerChanged(id=1, state="too_large")


async def phone_answers(engine: FakeEngine, leg: SipLeg, **changes: Any) -> FakeSession:
    """The phone of `leg` answers with H.264 of level 1.2; `changes` are made to its video section."""
    session = FakeSession()
    offers: list[bytes] = []

    async def make(body: bytes) -> FakeSession:
        offers.append(body)
        return session

    dial = asyncio.ensure_future(leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
    await settle()
    wanted = {"audio": BROWSER["audio"], "video": (replace(KNOWN["H264"], fmtp=LEVEL_1_2),)}
    answer = await media(FakeEngine()).answer(parse(offers[0].decode()), wanted, srtp_required=False, srtp_allowed=True)
    session.happen(sip.Answered(described(answer, **changes)))
    await dial
    return session


def described(body: bytes, **changes: Any) -> bytes:
    """A description with other things in its video section."""

    def change(section: MediaDescription) -> MediaDescription:
        return replace(section, **changes) if section.kind == "video" else section

    description: SessionDescription = parse(body.decode())
    return serialize(replace(description, media=tuple(change(section) for section in description.media))).encode()


def target(engine: FakeEngine) -> SetDownTrackTarget:
    """The last one that the engine was told."""
    last: SetDownTrackTarget = engine.of(SetDownTrackTarget)[-1]
    return last


async def test_the_engine_is_told_the_limits_of_the_phones_decoder() -> None:
    engine = FakeEngine()
    await phone_answers(engine, leg_of(engine))
    told = target(engine)
    assert (told.max_width, told.max_macroblocks, told.max_bitrate_bps, told.strict) == (896, 396, 460_800, True)


async def test_imageattr_and_bandwidth_lines_narrow_it_further() -> None:
    engine = FakeEngine()
    leg = leg_of(engine)
    sizes = Attribute("imageattr", "* recv [x=[128:16:320],y=[96:16:240]]")
    await phone_answers(engine, leg, attributes=(sizes,), bandwidth=(Bandwidth("TIAS", 200_000),))
    told = target(engine)
    assert (told.max_width, told.max_height, told.max_macroblocks) == (320, 240, 396)
    assert leg.peer_limits["video"] == from_tias("video", 200_000, PLAIN)
    assert told.max_bitrate_bps == 200_000


async def test_the_rate_of_a_low_level_bounds_the_picture_and_that_of_a_high_one_nothing() -> None:
    low, high = leg_of(FakeEngine()), leg_of(FakeEngine())
    await phone_answers(FakeEngine(), low)
    assert low.peer_limits["video"] == from_tias("video", 460_800, PLAIN)
    await phone_answers(FakeEngine(), high, codecs=(replace(KNOWN["H264"], pt=98),), formats=("98",))
    assert "video" not in high.peer_limits


class Asked(FakeLeg):
    """A leg that remembers what it was asked for and what it was shown."""

    def __init__(self, name: str) -> None:
        super().__init__(name, codecs=BROWSER)
        self.bounds: list[PictureBounds] = []
        self.shown: list[str] = []

    def limit_picture(self, bounds: PictureBounds) -> None:
        self.bounds.append(bounds)

    async def show_withheld(self, reason: str) -> None:
        self.shown.append(reason)


async def test_the_publisher_is_asked_for_less_and_both_hear_when_that_does_not_help() -> None:
    engine = FakeEngine()
    leg, publisher = leg_of(engine), Asked("page")
    await phone_answers(engine, leg)
    publisher.media = dict(leg.media)
    withheld: list[tuple[Leg, str]] = []
    call = Call(
        call_id="call",
        caller=publisher,
        callee=leg,
        longest_s=60,
        on_ended=lambda *_: None,
        on_withheld=lambda *what: withheld.append(what),
    )
    await call.join()
    assert publisher.bounds[-1].max_macroblocks == 396
    assert publisher.bounds[-1].max_macroblocks_per_s == 6_000
    leg.emit(RateChanged("video", 300_000))
    assert len(publisher.bounds) == 2
    leg.emit(PictureWithheld("too_large"))
    leg.emit(PictureWithheld(""))
    await settle()
    assert withheld == [(leg, "too_large"), (leg, "")]
    assert publisher.shown == ["too_large", ""]
    await call.end(EndCause("system", "test"))


async def test_a_leg_tells_of_its_picture_and_remembers_it_for_the_record() -> None:
    engine = FakeEngine()
    leg = leg_of(engine)
    leg._picture_fit._fit_s = 0
    await phone_answers(engine, leg)
    seen: list[LegEvent] = []
    leg.listen(lambda _, event: seen.append(event))
    down = leg.media["video"].down
    assert down is not None
    engine.deliver(DownTrackLayerChanged(id=down.id, state="too_large"))
    await passed(0.01)
    engine.deliver(DownTrackLayerChanged(id=down.id, state="forwarding"))
    assert seen == [PictureWithheld("too_large"), PictureWithheld("")]
    assert leg.picture_withheld == "too_large"
    await leg.end(EndCause("system", "test"))


async def test_a_picture_that_shrinks_in_time_is_never_withheld() -> None:
    said: list[str] = []
    fit = PictureFit(said.append, fit_s=0.01)
    fit.on_layer(TOO_LARGE)
    fit.on_layer(TOO_LARGE)
    fit.on_layer(FORWARDING)
    await passed(0.03)
    assert said == []


@pytest.mark.parametrize("after", [FORWARDING, DownTrackLayerChanged(id=1, state="silent")])
async def test_a_withheld_picture_is_told_once_and_again_only_when_it_flows(after: DownTrackLayerChanged) -> None:
    said: list[str] = []
    fit = PictureFit(said.append, fit_s=0)
    fit.on_layer(TOO_LARGE)
    await passed(0.01)
    fit.on_layer(TOO_LARGE)
    await passed(0.01)
    fit.on_layer(after)
    assert said == (["too_large", ""] if after is FORWARDING else ["too_large"])
    fit.on_layer(TOO_LARGE)
    fit.close()
    await passed(0.01)
    assert len(said) <= 2
