"""Real-time text of a call: what is offered and answered, what the engine is told, and who is joined with whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.call.leg import Leg
from mediaserver.call.sip_media import SipMedia
from mediaserver.call.text_bridge import TextBridge
from mediaserver.core.data import DataChannels
from mediaserver.engine.commands import JoinTopic, LeaveTopic, OpenText, TextFormat
from mediaserver.engine.events import ChannelOpened
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from tests.call.fakes import FakeEngine, FakeLeg
from tests.call.test_sip_media import BROWSER, answered, media

SOUND = {"audio": (KNOWN["PCMU"],)}
PHONE = """v=0
o=- 1 1 IN IP4 192.0.2.9
s=-
c=IN IP4 192.0.2.9
t=0 0
m=audio 4000 RTP/AVP 0
m=text 4002 RTP/AVP 99 97
a=rtpmap:97 t140/1000
a=fmtp:97 cps=10
a=rtpmap:99 red/1000
a=fmtp:99 97/97/97
"""


def reader(engine: FakeEngine, *, offers: bool = False) -> SipMedia:
    own = media(engine)
    own.takes_text, own.offers_text = True, offers
    return own


async def test_text_that_a_phone_offers_is_taken_with_its_redundancy_and_rate() -> None:
    engine = FakeEngine()
    callee = reader(engine)
    answer = await answered(callee, parse(PHONE), SOUND)
    text = answer.media[1]
    assert [(codec.pt, codec.name) for codec in text.codecs] == [(99, "red"), (97, "t140")]
    assert text.codecs[0].fmtp == {"97/97/97": ""}
    assert text.port not in (0, answer.media[0].port)
    (command,) = engine.of(OpenText)
    both = TextFormat(t140=97, red=99)
    assert (command.receive, command.send, command.characters_per_second) == (both, both, 10)
    assert command.id == callee.text_line
    assert set(callee.media) == set(callee.agreed) == {"audio"}
    assert command.id in callee.transports


async def test_text_that_nobody_would_read_is_declined_in_its_place() -> None:
    callee = media(FakeEngine())
    answer = await answered(callee, parse(PHONE), SOUND)
    assert [section.port == 0 for section in answer.media] == [False, True]
    assert callee.text_line is None
    assert len(callee.transports) == 1


@pytest.mark.parametrize("lines", ["a=rtpmap:97 t140/8000", "a=rtpmap:97 xyz/1000"])
async def test_text_in_a_strange_format_is_declined(lines: str) -> None:
    callee = reader(FakeEngine())
    answer = await answered(callee, parse(PHONE.split("a=rtpmap:97")[0] + lines + "\n"), SOUND)
    assert answer.media[1].port == 0
    assert callee.text_line is None


async def test_text_is_offered_last_and_agreed_between_two_of_us() -> None:
    first, second = FakeEngine(), FakeEngine()
    caller, callee = reader(first, offers=True), reader(second)
    offer = await caller.offer(BROWSER, srtp=True)
    kinds = [section.kind for section in parse(offer.decode()).media]
    assert kinds == ["audio", "video", "text"]
    caller.accept_answer(await callee.answer(parse(offer.decode()), BROWSER, srtp_required=True, srtp_allowed=True))
    callee.commit()
    (ours,), (theirs,) = first.of(OpenText), second.of(OpenText)
    assert ours.send == theirs.receive == theirs.send == ours.receive
    assert ours.receive.red is not None
    # A later offer repeats the payload types of the first one.
    again = parse((await caller.offer(BROWSER, srtp=True)).decode()).media[2]
    before = parse(offer.decode()).media[2]
    assert again.codecs == before.codecs


async def test_a_phone_that_takes_no_redundancy_gets_none() -> None:
    engine = FakeEngine()
    caller = reader(engine, offers=True)
    offer = parse((await caller.offer(SOUND, srtp=False)).decode())
    text = replace(offer.media[1], codecs=offer.media[1].codecs[1:], port=4002)
    answer = replace(offer, media=(replace(offer.media[0], port=4000), text))
    caller.accept_answer(serialize(answer).encode())
    (command,) = engine.of(OpenText)
    assert command.send is not None
    assert (command.send.red, command.send.t140) == (None, text.codecs[0].pt)


async def test_hold_stops_the_text_and_a_line_that_goes_ends_it() -> None:
    engine = FakeEngine()
    callee = reader(engine)
    offer = parse(PHONE)

    def changed(direction: Direction, port: int) -> SessionDescription:
        return replace(offer, media=(offer.media[0], replace(offer.media[1], direction=direction, port=port)))

    await answered(callee, offer, SOUND)
    await answered(callee, changed(Direction.SENDONLY, 4002), SOUND)
    await answered(callee, offer, SOUND)
    assert [command.send is None for command in engine.of(OpenText)] == [False, True, False]
    assert len({command.ssrc for command in engine.of(OpenText)}) == 1
    await answered(callee, changed(Direction.SENDRECV, 0), SOUND)
    assert callee.text_line is None


# -- who is joined with whom -----------------------------------------------------------------------------------------


class Typist(FakeLeg):
    """A phone with text on the transport `line`."""

    def __init__(self, name: str, engine: FakeEngine, line: int | None) -> None:
        super().__init__(name)
        self._engine = engine  # type: ignore[assignment]
        self.line = line

    @property
    def text_line(self) -> int | None:
        return self.line


class House:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.phone, self.desk = Typist("Phone\n1", self.engine, 11), Typist("Desk", self.engine, 12)
        self.page = FakeLeg("page")
        self.page.data = DataChannels(self.engine, 7)  # type: ignore[arg-type]
        self.page.data.use(self.page.data.new_topics())
        self.bridge = TextBridge()

    def connect(self, one: Leg, two: Leg, *, apart: bool = False) -> dict[str, bool]:
        return {leg.name: on for leg, on in self.bridge.connect(one, two, apart=apart)}

    @property
    def joined(self) -> list[tuple[int, int]]:
        return [(command.id, command.topic) for command in self.engine.of(JoinTopic)]


def test_a_phone_meets_the_pages_channel_of_the_protocol() -> None:
    house = House()
    assert house.page.data is not None
    house.page.data.handle(
        ChannelOpened(
            id=7, stream=3, label="any", protocol="t140", ordered=True, max_retransmits=None, max_lifetime_ms=None
        )
    )
    assert house.connect(house.page, house.phone) == {"page": True}
    (channel, line) = house.engine.of(JoinTopic)
    assert (channel.id, channel.stream, line.id, line.stream) == (7, 3, 11, 0)
    assert (channel.topic, line.sender) == (line.topic, "Phone 1")
    assert house.connect(house.page, house.phone) == {}
    assert len(house.joined) == 2


def test_hold_parts_them_and_joins_them_again() -> None:
    house = House()
    house.connect(house.phone, house.page)
    assert house.connect(house.phone, house.page, apart=True) == {"page": False}
    assert [(command.id, command.stream) for command in house.engine.of(LeaveTopic)] == [(11, 0)]
    assert house.connect(house.phone, house.page) == {"page": True}
    assert house.joined[0] == house.joined[1]


def test_two_phones_type_to_each_other_and_one_alone_to_nobody() -> None:
    house = House()
    house.connect(house.phone, house.desk)
    assert {line for line, _ in house.joined} == {11, 12}
    assert len({topic for _, topic in house.joined}) == 1
    assert house.connect(house.phone, Typist("mute", house.engine, None)) == {"Phone\n1": False}
    assert [command.id for command in house.engine.of(LeaveTopic)] == [11, 12]


def test_who_comes_in_place_of_a_phone_meets_the_page() -> None:
    house = House()
    house.connect(house.page, house.phone)
    assert house.connect(house.page, house.desk) == {}
    assert house.joined == [(11, house.joined[0][1]), (12, house.joined[0][1])]
    assert house.connect(house.page, FakeLeg("other page")) == {"page": False}
