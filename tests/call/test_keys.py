"""Keys of a call in both ways: as packets (RFC 4733) where both sides have them, as INFO where a phone has only that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mediaserver.call.call import Call
from mediaserver.call.events import Dtmf, LegEvent
from mediaserver.call.leg import LegMedia
from mediaserver.call.sip_leg import SipLeg
from mediaserver.core.down_track import DownTrack
from mediaserver.engine.commands import SendDtmf
from mediaserver.engine.events import DtmfReceived
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import leg_of, settle
from tests.call.test_sip_media import media

SOUND = {"audio": (KNOWN["PCMU"],)}
RELAY = "application/dtmf-relay"


async def phone(engine: FakeEngine, *, events: bool, info: bool = True) -> tuple[SipLeg, FakeSession]:
    """A leg whose phone has answered, with or without telephone-event."""
    leg, session = leg_of(engine), FakeSession()
    session.takes_info = info
    offers: list[bytes] = []

    async def make(body: bytes) -> FakeSession:
        offers.append(body)
        return session

    dial = asyncio.ensure_future(leg.dial(make, SOUND, srtp=False))  # type: ignore[arg-type]
    await settle()
    offer = parse(offers[0].decode())
    if not events:
        section = offer.media[0]
        codecs = tuple(codec for codec in section.codecs if codec.key != "telephone-event")
        offer = replace(offer, media=(replace(section, codecs=codecs),))
    answer = await media(FakeEngine()).answer(offer, SOUND, srtp_required=False, srtp_allowed=True)
    session.happen(sip.Answered(answer))
    await dial
    return leg, session


def infos(session: FakeSession) -> list[tuple[object, ...]]:
    return [entry[1:] for entry in session.log if entry[0] == "info"]


async def test_a_phone_without_events_is_sent_info_one_key_after_the_other() -> None:
    engine = FakeEngine()
    leg, session = await phone(engine, events=False)
    assert (leg.takes_events, leg.takes_keys) == (False, True)
    leg.press("1#", duration_ms=1)
    leg.press("2", duration_ms=1)
    for _ in range(200):
        if len(infos(session)) == 3:
            break
        await asyncio.sleep(0.05)
    bodies = [f"Signal={key}\r\nDuration=1\r\n".encode() for key in "1#2"]
    assert infos(session) == [(RELAY, body) for body in bodies]
    assert engine.of(SendDtmf) == []


async def test_events_are_taken_where_they_were_agreed_on() -> None:
    engine = FakeEngine()
    leg, session = await phone(engine, events=True)
    leg.press("12", duration_ms=100)
    await settle()
    assert [command.digits for command in engine.of(SendDtmf)] == ["12"]
    assert infos(session) == []


async def test_a_phone_that_allows_no_info_and_has_no_events_gets_no_keys() -> None:
    leg, session = await phone(FakeEngine(), events=False, info=False)
    assert not leg.takes_keys
    leg.press("1", duration_ms=100)
    await settle()
    assert infos(session) == []


async def test_keys_in_an_info_are_told_once_even_where_the_phone_says_them_twice() -> None:
    leg, session = await phone(FakeEngine(), events=True)
    told: list[LegEvent] = []
    leg.listen(lambda _, event: told.append(event))
    session.happen(sip.Info(RELAY, b"Signal=5\r\nDuration=200\r\n"))
    session.happen(sip.Info("application/dtmf", b"*"))
    session.happen(sip.Info("text/plain", b"7"))
    await settle()
    assert told == [Dtmf("5", 200, as_message=True), Dtmf("*", 160, as_message=True)]
    leg._on_engine_event("audio", DtmfReceived(id=1, digit="6", duration_ms=100))
    session.happen(sip.Info(RELAY, b"Signal=6\r\n"))
    await settle()
    assert told[2:] == [Dtmf("6", 100)]


class Listener(FakeLeg):
    """A leg that remembers which keys were pressed towards it."""

    def __init__(self, name: str, *, kind: str, events: bool) -> None:
        super().__init__(name)
        self.kind = kind  # type: ignore[misc,assignment]
        self.pressed: list[tuple[str, int]] = []
        codecs = (KNOWN["PCMU"], *((KNOWN["telephone-event"],) if events else ()))
        common = {"engine": FakeEngine(), "transport": 1, "kind": "audio", "mid": None, "codecs": codecs}
        self.media["audio"] = LegMedia(None, DownTrack(**common, ssrc=1, cname="c"))  # type: ignore[arg-type]

    def press(self, digits: str, *, duration_ms: int) -> None:
        self.pressed.append((digits, duration_ms))


def pressed(kind: str, key: Dtmf, *, other: str, events: bool) -> list[tuple[str, int]]:
    """What reaches the other leg beside packets, when a leg of this kind tells a key."""
    one, two = Listener("one", kind=kind, events=True), Listener("two", kind=other, events=events)
    call = Call(call_id="c", caller=one, callee=two, longest_s=10, on_ended=lambda call, cause: None)
    call._on_leg_event(one, key)
    return two.pressed


def test_a_key_goes_on_once_in_the_way_that_the_other_side_takes() -> None:
    packet, message = Dtmf("5", 100), Dtmf("5", 100, as_message=True)
    assert pressed("sip", packet, other="sip", events=True) == [], "forwarded as packets"
    assert pressed("sip", packet, other="sip", events=False) == [("5", 100)]
    assert pressed("sip", message, other="sip", events=True) == [("5", 100)]
    assert pressed("browser", packet, other="sip", events=True) == [("5", 100)]
    assert pressed("sip", message, other="browser", events=True) == [("5", 100)]
    assert pressed("sip", packet, other="browser", events=True) == []
