"""Legs in a call on one engine that writes down what it is told, for tests of conferences."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, MediaChanged
from mediaserver.call.leg import LegMedia
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Kind, SetMix
from mediaserver.engine.events import SpeechChanged
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Codec
from tests.call.fakes import FakeEngine, FakeLeg

OPUS, PCMU, PCMA, VP8, H264 = (KNOWN[name] for name in ("opus", "PCMU", "PCMA", "VP8", "H264"))


class Page(FakeLeg):
    """A leg that makes places for voices when the test says so."""

    kind = "browser"
    wanted = 0

    def make_places(self, count: int) -> None:
        self.wanted = max(self.wanted, count)


L = TypeVar("L", bound=FakeLeg)


class House:
    """One engine and the legs on it."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.ended: list[EndCause] = []
        self.digits: list[tuple[str, str]] = []
        self._transports = 0

    def leg(self, name: str, sound: Codec = PCMU, picture: Codec | None = None) -> FakeLeg:
        return self._equip(FakeLeg(name, codecs={"audio": (sound,)}), picture)

    def page(self, name: str, *sounds: Codec, picture: Codec | None = None) -> Page:
        return self._equip(Page(name, codecs={"audio": sounds}), picture)

    def give_places(self, page: Page, count: int) -> None:
        """What the page was asked for is there."""
        page.places = tuple(self._down("audio", page.codecs["audio"]) for _ in range(count))
        page.emit(MediaChanged())

    def _equip(self, leg: L, picture: Codec | None) -> L:
        self._transports += 1
        pictures = (picture,) if picture is not None else ()
        wanted: dict[Kind, tuple[Codec, ...]] = {"audio": leg.codecs["audio"], "video": pictures}
        for kind, codecs in wanted.items():
            if codecs:
                leg.media[kind] = LegMedia(UpTrack(**self._track(kind), codecs=codecs), self._down(kind, codecs))
        return leg

    def _down(self, kind: Kind, codecs: tuple[Codec, ...]) -> DownTrack:
        return DownTrack(**self._track(kind), codecs=codecs, ssrc=self._transports, cname="c")

    def _track(self, kind: Kind) -> dict[str, Any]:
        return {"engine": self.engine, "transport": self._transports, "kind": kind, "mid": None}

    async def call(self, caller: FakeLeg, callee: FakeLeg) -> Call:
        engine: Any = self.engine
        call = Call(
            call_id="call",
            caller=caller,
            callee=callee,
            longest_s=60,
            on_ended=lambda _, cause: self.ended.append(cause),
            engine=engine,
            on_digit=lambda leg, digit: self.digits.append((leg.id, digit)),
            shows_supervision=True,
        )
        await call.join()
        return call

    @property
    def mix(self) -> SetMix:
        found: SetMix = self.engine.of(SetMix)[-1]
        return found

    def speaks(self, leg: FakeLeg, loudness: int) -> None:
        self.engine.deliver(SpeechChanged(id=up(leg).id, loudness=loudness))

    def hears(self, leg: FakeLeg, others: list[FakeLeg]) -> list[str]:
        """The others whom a leg hears, in a mix or as they come."""
        track = down(leg)
        if track.mixed is None:
            return [other.id for other in others if track.source is up(other)]
        (listener,) = [each for each in self.mix.listeners if each.id == track.mixed]
        voices = {voice.source for voice in self.mix.voices} - set(listener.without)
        return [other.id for other in others if up(other).id in voices]


def up(leg: FakeLeg, kind: Kind = "audio") -> UpTrack:
    track = leg.media[kind].up
    assert track is not None
    return track


def down(leg: FakeLeg, kind: Kind = "audio") -> DownTrack:
    track = leg.media[kind].down
    assert track is not None
    return track


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
