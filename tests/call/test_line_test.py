"""What the engine is told in a line test: what comes on one channel goes to the other of the same page alone."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.call.line_test import LineTest, LineTests
from mediaserver.engine.commands import CloseChannel, JoinTopic
from mediaserver.engine.engine import LocalIce
from mediaserver.engine.events import ChannelOpened
from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.sdp.description import Fingerprint
from tests.call.fakes import FakeEngine
from tests.webrtc.test_data_sections import DATA, offer

OFFER = offer(DATA % "0", mids="0")
MODE = {"ordered": False, "max_retransmits": 0, "max_lifetime_ms": None}
FINGERPRINT = Fingerprint("sha-256", bytes(32))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def house(engine: FakeEngine, most: int = 2) -> LineTests:
    return LineTests(engine=engine, fingerprint=FINGERPRINT, most=most)  # type: ignore[arg-type]


async def transport_of(test: LineTest, engine: FakeEngine) -> int:
    await test.connect(OFFER)
    return engine.sent[-1].id


async def test_what_is_sent_up_comes_down_and_nothing_else_is_opened(engine: FakeEngine) -> None:
    tests = house(engine)
    topics = set()
    for test in (tests.begin(), tests.begin()):
        transport = await transport_of(test, engine)
        for stream, label in ((0, "up"), (2, "down"), (4, "chat")):
            engine.deliver(ChannelOpened(id=transport, stream=stream, label=label, protocol="", **MODE))
        up, down = engine.of(JoinTopic)[-2:]
        assert (up.id, up.stream, up.may_send, up.may_receive) == (transport, 0, True, False)
        assert (down.id, down.stream, down.may_send, down.may_receive) == (transport, 2, False, True)
        assert up.topic == down.topic
        assert engine.of(CloseChannel)[-1].stream == 4
        topics.add(up.topic)
    assert len(topics) == 2, "no page hears another one"
    tests.close_all()
    assert len(tests) == 0


async def test_there_are_no_more_than_the_limit_and_an_end_makes_room(engine: FakeEngine) -> None:
    tests, ended = house(engine, most=1), []
    first = tests.begin(lambda: ended.append(True))
    with pytest.raises(LimitExceeded):
        tests.begin()
    assert tests.find(first.id) is first
    first.close()
    first.close()
    assert ended == [True]
    assert tests.find(first.id) is None
    tests.begin().close()


async def test_a_transport_that_opens_after_the_end_is_closed(engine: FakeEngine) -> None:
    test = house(engine).begin()
    opening: asyncio.Future[LocalIce] = asyncio.get_running_loop().create_future()
    engine.open_ice_transport = lambda: opening  # type: ignore[assignment,method-assign]
    connecting = asyncio.create_task(test.connect(OFFER))
    await asyncio.sleep(0)
    test.close()
    opening.set_result(LocalIce(77, "u" * 8, "p" * 24, (("127.0.0.1", 9),)))
    with pytest.raises(LocalProtocolError):
        await connecting
    assert engine.closed == [77]
