"""SIPp, which nobody here wrote, calls our user agent and is called by it; loopback counts as a trunk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mediaserver.sip.config import Timers
from mediaserver.sip.events import Answered, Confirmed, Ended, Progress
from mediaserver.sip.flow import Target, Transport
from mediaserver.sip.uri import SipUri
from tests.peers import sipp
from tests.sip.conftest import LOOPBACK_TRUNK, Endpoint, MakeEndpoint, Reader, party

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
PATIENT = Timers(t1=2.0)
"""Nothing is lost on loopback. On a busy machine the 50 ms of the other tests pass between an answer and its reader, and an
INVITE that comes again when SIPp waits for the ACK fails its call."""
pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


async def serve(endpoint: Endpoint, ended: list[Ended]) -> None:
    """Ring and answer every call until it is hung up."""

    async def one(reader: Reader) -> None:
        assert await reader.next() == Confirmed(None)
        ended.append((await reader.rest())[-1])  # type: ignore[arg-type]

    async with asyncio.TaskGroup() as group:
        while True:
            incoming = await endpoint.incoming.get()
            incoming.session.ring()
            incoming.session.answer(SDP)
            group.create_task(one(Reader(incoming.session)))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("scenario", ["builtin:uac", "uac"])
async def test_sipp_calls_us(make_endpoint: MakeEndpoint, tmp_path: Path, transport: Transport, scenario: str) -> None:
    endpoint = await make_endpoint(trunks=(LOOPBACK_TRUNK,), timers=PATIENT)
    target = endpoint.target(transport)
    ended: list[Ended] = []
    serving = asyncio.create_task(serve(endpoint, ended))
    async with sipp.caller(
        tmp_path, (target.host, target.port), scenario=scenario, transport=transport, calls=30, rate=30, hold_ms=100
    ) as caller:
        result = await caller.finish()
    serving.cancel()
    assert (result.exit_code, result.successful, result.failed, result.errors) == (0, 30, 0, "")
    assert [event.by for event in ended] == ["remote"] * 30


async def test_sipp_cancels_its_call(make_endpoint: MakeEndpoint, tmp_path: Path) -> None:
    endpoint = await make_endpoint(trunks=(LOOPBACK_TRUNK,), timers=PATIENT)
    target = endpoint.target("udp")

    async def ring() -> None:
        while True:
            (await endpoint.incoming.get()).session.ring()

    ringing = asyncio.create_task(ring())
    async with sipp.caller(tmp_path, (target.host, target.port), scenario="uac_cancel", calls=3, hold_ms=100) as caller:
        result = await caller.finish()
    ringing.cancel()
    assert (result.successful, result.failed, result.errors) == (3, 0, "")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("scenario", ["builtin:uas", "uas"])
async def test_we_call_sipp(make_endpoint: MakeEndpoint, tmp_path: Path, transport: Transport, scenario: str) -> None:
    endpoint = await make_endpoint(timers=PATIENT)
    async with sipp.callee(tmp_path, scenario=scenario, transport=transport) as uas:
        route = Target(transport, uas.host, uas.port)

        async def one() -> None:
            target = SipUri(uas.host, "service", uas.port, params=(("transport", transport),))
            session = await endpoint.agent.invite(target, route_to=route, from_=party("alice"), body=SDP)
            reader = Reader(session)
            while not isinstance(event := await reader.next(), Answered):
                assert not isinstance(event, Ended)
            assert event.body is not None
            await asyncio.sleep(0.1)
            session.hangup()
            assert (await reader.rest())[-1] == Ended("local")

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(one())
                await asyncio.sleep(0.02)
        async with asyncio.timeout(40):
            while endpoint.agent._core.busy:
                await asyncio.sleep(0.02)
        result = await uas.stop()
    # The built-in callee holds each call for 4 s after the BYE, so that none counts as done yet.
    assert (result.created, result.failed, result.errors) == (20, 0, "")
    assert result.successful >= (0 if scenario.startswith("builtin") else 19)


async def test_sipp_rings_reliably_and_is_refreshed_by_update(make_endpoint: MakeEndpoint, tmp_path: Path) -> None:
    endpoint = await make_endpoint(min_se_s=1, timers=PATIENT)
    async with sipp.callee(tmp_path, scenario="uas_prack_timer", keys={"interval": "2"}) as uas:
        session = await endpoint.agent.invite(
            SipUri(uas.host, "service", uas.port),
            from_=party("alice"),
            body=SDP,
            route_to=Target("udp", uas.host, uas.port),
        )
        reader = Reader(session)
        ringing = await reader.next()
        assert isinstance(ringing, Progress)
        assert (ringing.code, ringing.reliable) == (180, True)
        assert isinstance(await reader.next(), Answered)
        await asyncio.sleep(2.5)
        session.hangup()
        await reader.rest()
        await asyncio.sleep(0.2)
        result = await uas.stop()
    assert (result.created, result.failed, result.errors) == (1, 0, "")


async def test_sipp_wants_prack_refreshes_once_and_is_given_up(make_endpoint: MakeEndpoint, tmp_path: Path) -> None:
    endpoint = await make_endpoint(trunks=(LOOPBACK_TRUNK,), min_se_s=2, timers=PATIENT)
    target = endpoint.target("udp")
    async with sipp.caller(
        tmp_path, (target.host, target.port), scenario="uac_prack_timer", calls=1, keys={"interval": "3"}
    ) as caller:
        async with asyncio.timeout(40):
            incoming = await endpoint.incoming.get()
        incoming.session.ring()
        await asyncio.sleep(0.3)
        incoming.session.answer(SDP)
        reader = Reader(incoming.session)
        assert isinstance(await reader.next(), Confirmed)
        assert (await reader.rest())[-1] == Ended("timeout", code=408, reason="session expired")
        result = await caller.finish()
    assert (result.successful, result.failed, result.errors) == (1, 0, "")
