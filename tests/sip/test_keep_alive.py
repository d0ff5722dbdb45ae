"""Keep-alives of our own flows: pings, STUN, what is lost and what is not, on virtual time; and over real sockets."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest

from mediaserver.sip.flow import Flow, Target
from mediaserver.sip.keep_alive import KeepAlive
from mediaserver.sip.kept_flows import FlowNews, Keeping, News
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import PING, PONG
from mediaserver.sip.standalone import OutsideRequest
from mediaserver.sip.stun_keepalive import answer, read_answer
from mediaserver.sip.uri import SipUri
from tests.sip.conftest import MakeEndpoint, party
from tests.sip.wire import Wire, request

EDGE = Target("tcp", "198.51.100.7", 5060)
STREAM = Flow("tcp", "192.0.2.1", 40000, "198.51.100.7", 5060, 3)
DATAGRAMS = Flow("udp", "192.0.2.1", 5060, "198.51.100.7", 5060)
KEEPING = Keeping("peer", EDGE, outbound=True, flow_timer_s=40.0)


def alive(*, reliable: bool, flow_timer_s: float | None = None, spread: float = 1.0, judged: bool = True) -> KeepAlive:
    return KeepAlive(reliable=reliable, flow_timer_s=flow_timer_s, spread=lambda: spread, now=0.0, judged=judged)


@pytest.mark.parametrize(
    ("reliable", "flow_timer_s", "spread", "at"),
    [
        (True, None, 1.0, 120.0),
        (True, None, 0.0, 96.0),
        (False, None, 1.0, 29.0),
        (True, 40.0, 1.0, 40.0),
        (False, 40.0, 0.0, 32.0),
        (True, 1.0, 1.0, 5.0),
    ],
)
def test_the_pause_is_what_the_registrar_allows_or_the_standard_says(
    reliable: bool, flow_timer_s: float | None, spread: float, at: float
) -> None:
    assert alive(reliable=reliable, flow_timer_s=flow_timer_s, spread=spread).poll_timeout() == at


def test_a_pong_in_time_is_the_end_of_it_and_none_within_ten_seconds_a_failure() -> None:
    one = alive(reliable=True)
    assert (one.handle_timeout(119.0), one.handle_timeout(120.0)) == (None, PING)
    one.handle_pong(129.0)
    assert (one.answered, one.poll_timeout()) == (True, 249.0)
    assert one.handle_timeout(249.0) == PING
    assert one.handle_timeout(258.9) is None
    assert one.failure is None
    assert one.handle_timeout(259.0) is None
    assert (one.failure, one.poll_timeout()) == ("silent", None)


def stun_answer(asked: bytes, ip: str = "203.0.113.5", port: int = 40000) -> bytes:
    reply = answer(asked, ip, port)
    assert reply is not None
    return reply


def test_stun_is_repeated_seven_times_and_then_silence_is_a_failure() -> None:
    one = alive(reliable=False)
    sent = []
    while (at := one.poll_timeout()) is not None:
        data = one.handle_timeout(at)
        if data is not None:
            sent.append((at - 29.0, data))
    assert [at for at, _ in sent] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert len({data for _, data in sent}) == 1
    assert one.failure == "silent"


def test_a_nat_that_moves_us_is_a_failure_and_the_same_address_is_not() -> None:
    one = alive(reliable=False)
    for now, port in ((29.0, 40000), (58.0, 40000)):
        asked = one.handle_timeout(now)
        assert asked is not None
        one.handle_stun(stun_answer(asked, port=port), now)
        assert (one.failure, one.poll_timeout()) == (None, now + 29.0)
    asked = one.handle_timeout(87.0)
    assert asked is not None
    one.handle_stun(stun_answer(asked, port=40001), 87.0)
    assert one.failure == "moved"


def test_answers_to_others_and_nonsense_change_nothing() -> None:
    one = alive(reliable=False)
    asked = one.handle_timeout(29.0)
    assert asked is not None
    reply = stun_answer(asked)
    for data in (
        b"",
        reply[:19],
        reply[:-1],
        asked,
        reply[:8] + b"x" * 12 + reply[20:],
        b"\x01\x01" + reply[2:4] + b"\x00" * 4 + reply[8:],
        reply + b"\x00" * 600,
    ):
        one.handle_stun(data, 29.1)
    assert (one.answered, one.failure) == (False, None)
    one.handle_stun(reply, 29.2)
    assert one.answered
    one.handle_stun(reply, 29.3)  # a copy
    assert one.poll_timeout() == 29.2 + 29.0


def test_an_error_of_the_server_is_a_failure() -> None:
    one = alive(reliable=False)
    asked = one.handle_timeout(29.0)
    assert asked is not None
    one.handle_stun(b"\x01\x11" + asked[2:], 29.1)
    assert one.failure == "refused"


def test_silence_that_is_not_judged_is_none() -> None:
    one = alive(reliable=True, judged=False)
    assert one.handle_timeout(120.0) == PING
    assert one.handle_timeout(130.0) is None
    assert (one.failure, one.poll_timeout()) == (None, 250.0)


@pytest.mark.parametrize("ip", ["203.0.113.5", "2001:db8::5"])
def test_the_mapped_address_is_read_past_attributes_of_other_kinds(ip: str) -> None:
    reply = stun_answer(struct.pack(">HHI12s", 1, 0, 0x2112A442, b"abcdefghijkl"), ip, 5062)
    other = struct.pack(">HH5s3x", 0x8022, 5, b"peer!")
    longer = reply[:2] + struct.pack(">H", len(reply) - 20 + len(other)) + reply[4:20] + other + reply[20:]
    found = read_answer(longer)
    assert found is not None
    assert (found.transaction, found.mapped) == (b"abcdefghijkl", (ip, 5062))


# -- in the core -----------------------------------------------------------------------------------------------------


def test_a_kept_flow_is_pinged_and_its_silence_told_once() -> None:
    wire = Wire()
    wire.core.kept.keep(STREAM, KEEPING, wire.now)
    sent = []
    for _ in range(60):
        wire.now += 1.0
        wire.core.handle_timeout(wire.now)
        while (transmit := wire.core.poll_transmit()) is not None:
            sent.append((transmit.data, transmit.destination))
    wire.sent()
    assert sent == [(PING, STREAM)]
    assert wire.flows == [FlowNews(STREAM, "silent")]
    assert STREAM not in wire.core.kept
    assert wire.counts.table["sip.flows_lost.silent"] == 1


def test_the_first_answer_is_told_and_keeping_again_keeps_the_time() -> None:
    wire = Wire()
    wire.core.kept.keep(STREAM, KEEPING, wire.now)
    wire.core.handle_timeout(wire.now + 40.0)
    wire.core.handle_keep_alive(PONG, STREAM, wire.now + 41.0)
    due = wire.core.kept.poll_timeout()
    wire.core.kept.keep(STREAM, KEEPING, wire.now + 45.0)
    wire.core.handle_keep_alive(PONG, STREAM, wire.now + 46.0)  # nobody asked
    wire.sent()
    assert (wire.flows, wire.core.kept.poll_timeout()) == ([FlowNews(STREAM, "alive")], due)


def test_a_connection_that_closes_is_told_at_once_and_a_released_one_is_not() -> None:
    wire = Wire()
    wire.core.kept.keep(STREAM, replace(KEEPING, outbound=False), wire.now)
    assert wire.core.holds(STREAM)
    wire.core.handle_flow_closed(STREAM, EDGE, wire.now)
    wire.core.kept.keep(STREAM, KEEPING, wire.now)
    wire.core.kept.release(STREAM)
    wire.core.handle_flow_closed(STREAM, EDGE, wire.now)
    wire.sent()
    assert wire.flows == [FlowNews(STREAM, "closed")]
    assert not wire.core.holds(STREAM)


def test_a_call_over_the_flow_is_its_trunks_and_the_same_address_beside_it_is_a_stranger() -> None:
    wire = Wire()
    stranger = replace(STREAM, id=4)
    wire.core.kept.keep(STREAM, KEEPING, wire.now)
    (trying,) = wire.receive(request("INVITE", branch="z9hG4bKa", call_id="a"), STREAM)
    assert isinstance(trying, Response)
    assert (trying.code, [new.trunk for new in wire.new]) == (100, ["peer"])
    refused = wire.receive(request("INVITE", branch="z9hG4bKb", call_id="b"), stranger)[-1]
    assert isinstance(refused, Response)
    assert refused.code == 401


@pytest.mark.parametrize(("outbound", "expected"), [(True, True), (False, False)])
def test_a_call_over_a_flow_that_the_registrar_knows_says_ob(outbound: bool, expected: bool) -> None:
    wire = Wire()
    wire.core.kept.keep(STREAM, replace(KEEPING, outbound=outbound), wire.now)
    wire.core.invite(
        SipUri("carrier.test", "1"),
        destinations=[EDGE],
        from_=party("alice"),
        to=party("bob"),
        body=None,
        headers=(),
        credentials=None,
        max_forwards=70,
        now=wire.now,
    )
    (invite,) = wire.sent()
    assert isinstance(invite, Request)
    assert (invite.contacts[0].sip_uri.param("ob") is not None) is expected


# -- over sockets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "tls", "udp"])
async def test_our_keep_alives_are_answered_by_a_real_peer(make_endpoint: MakeEndpoint, transport: str) -> None:
    us, them = await make_endpoint(), await make_endpoint()
    target = them.target(transport)  # type: ignore[arg-type]
    done = await us.agent.request(OutsideRequest("OPTIONS", them.uri("bob"), from_=party("alice")), targets=[target])
    assert done.code == 200
    assert done.destination == target
    assert done.flow is not None
    news: asyncio.Queue[News] = asyncio.Queue()
    us.agent.keep_flow(done.flow, Keeping("t", target, outbound=True), news.put_nowait)
    kept = us.agent._core.kept
    for _ in range(3):  # as if the time had come, three times: pongs must not be taken for halves of pings
        entry = kept._kept[done.flow][1]
        assert entry is not None
        entry._next_at = kept._next_at = asyncio.get_running_loop().time()
        entry.answered = False
        us.agent._driver.arm()
        async with asyncio.timeout(30):
            assert await news.get() == "alive"
    assert us.counts.table["sip.flows_lost.closed"] == 0
    await them.agent.stop(0.1)
    if transport != "udp":
        async with asyncio.timeout(30):
            assert await news.get() == "closed"


async def test_a_flow_that_was_closed_before_it_could_be_kept_is_told_as_well(make_endpoint: MakeEndpoint) -> None:
    us = await make_endpoint()
    news: asyncio.Queue[News] = asyncio.Queue()
    us.agent.keep_flow(replace(STREAM, id=99), KEEPING, news.put_nowait)
    async with asyncio.timeout(30):
        assert await news.get() == "closed"
