"""Two user agents over real sockets on loopback: calls, re-INVITEs, glare, registration and its flow."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from mediaserver.sip.config import Bind, TrunkRule
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Info,
    Progress,
    Rejected,
    ReofferAnswered,
    Reoffered,
    ReofferRejected,
)
from mediaserver.sip.flow import Target, Transport
from mediaserver.sip.user_agent import IncomingInvite
from tests.sip.conftest import LOOPBACK_TRUNK, PASSWORDS, Endpoint, MakeEndpoint, Reader, party

TRUNKS = (LOOPBACK_TRUNK,)
OFFER, ANSWER = b"v=0\r\ns=offer\r\n", b"v=0\r\ns=answer\r\n"
TRANSPORTS: list[Transport] = ["udp", "tcp", "tls"]


async def call(
    caller: Endpoint, callee: Endpoint, transport: Transport, body: bytes | None = OFFER
) -> tuple[Reader, Reader]:
    """A call that was answered and confirmed."""
    out = Reader(
        await caller.agent.invite(
            callee.uri("bob", transport), from_=party("alice"), body=body, route_to=callee.target(transport)
        )
    )
    async with asyncio.timeout(30):
        incoming = await callee.incoming.get()
    into = Reader(incoming.session)
    assert incoming.body == body
    assert incoming.trunk == "loopback"
    incoming.session.ring(180)
    ringing = await out.next()
    assert isinstance(ringing, Progress)
    assert ringing.code == 180
    incoming.session.answer(ANSWER)
    assert await out.next() == Answered(ANSWER)
    if body is None:
        out.session.acknowledge(b"late answer")
        assert await into.next() == Confirmed(b"late answer")
    else:
        assert await into.next() == Confirmed(None)
    return out, into


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_call_with_reinvites_both_ways_and_bye(make_endpoint: MakeEndpoint, transport: Transport) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out, into = await call(caller, callee, transport)
    for one, other in ((out, into), (into, out)):
        one.session.reoffer(b"hold")
        assert await other.next() == Reoffered(b"hold")
        other.session.answer_reoffer(b"held")
        assert await one.next() == ReofferAnswered(b"held")
        assert await other.next() == Confirmed(None)
    into.session.send_info("application/media_control+xml", b"<x/>")
    assert await out.next() == Info("application/media_control+xml", b"<x/>")
    out.session.hangup('Q.850;cause=16;text="Normal"')
    assert await into.rest() == [Ended("remote", reason="BYE", cause='Q.850;cause=16;text="Normal"')]
    assert await out.rest() == [Ended("local", cause='Q.850;cause=16;text="Normal"')]


async def test_late_offer_and_late_reoffer(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out, into = await call(caller, callee, "udp", body=None)
    out.session.reoffer(None)
    assert await into.next() == Reoffered(None)
    into.session.answer_reoffer(b"offer in 200")
    assert await out.next() == ReofferAnswered(b"offer in 200")
    out.session.acknowledge(b"answer in ACK")
    assert await into.next() == Confirmed(b"answer in ACK")
    into.session.hangup()
    assert isinstance((await out.rest())[-1], Ended)


async def test_glare_is_refused_and_one_side_wins_later(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out, into = await call(caller, callee, "udp")
    out.session.reoffer(b"from caller")
    into.session.reoffer(b"from callee")
    # The callee waits 0 to 2 s, the caller 2.1 to 4 s: the callee's comes first and makes the caller's stale.
    first = await out.next()
    assert first == ReofferRejected(491)
    assert await out.next() == Reoffered(b"from callee")
    out.session.answer_reoffer(b"fine")
    assert await into.next() == ReofferAnswered(b"fine")


async def test_cancel_before_the_answer(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out = Reader(
        await caller.agent.invite(callee.uri("bob"), from_=party("alice"), body=OFFER, route_to=callee.target("udp"))
    )
    incoming = await callee.incoming.get()
    incoming.session.ring()
    assert isinstance(await out.next(), Progress)
    out.session.hangup('SIP;cause=200;text="Call completed elsewhere"')
    assert await Reader(incoming.session).rest() == [Cancelled('SIP;cause=200;text="Call completed elsewhere"')]
    assert await out.rest() == [Ended("local", 487, "cancelled", 'SIP;cause=200;text="Call completed elsewhere"')]
    async with asyncio.timeout(30):
        while caller.agent._core.busy:
            await asyncio.sleep(0.01)


async def test_rejection_carries_code_and_warning(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out = Reader(
        await caller.agent.invite(callee.uri("bob"), from_=party("alice"), body=OFFER, route_to=callee.target("tcp"))
    )
    incoming = await callee.incoming.get()
    incoming.session.reject(488, headers=[("Warning", '305 example.org "no codec"')])
    (event,) = await out.rest()
    assert isinstance(event, Rejected)
    assert (event.code, event.warning) == (488, '305 example.org "no codec"')
    assert await Reader(incoming.session).rest() == [Ended("local", 488, "Not Acceptable Here")]


async def test_stranger_is_challenged_and_a_user_gets_in(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(), await make_endpoint()
    stranger = Reader(
        await caller.agent.invite(callee.uri("bob"), from_=party("alice"), body=OFFER, route_to=callee.target("udp"))
    )
    (event,) = await stranger.rest()
    assert isinstance(event, Rejected)
    assert event.code == 401
    user = Reader(
        await caller.agent.invite(
            callee.uri("bob"),
            from_=party("alice"),
            body=OFFER,
            route_to=callee.target("udp"),
            credentials=Credentials("alice", PASSWORDS["alice"]),
        )
    )
    async with asyncio.timeout(30):
        incoming = await callee.incoming.get()
    assert (incoming.authenticated_user, incoming.trunk) == ("alice", None)
    incoming.session.answer(ANSWER)
    assert await user.next() == Answered(ANSWER)


async def test_large_invite_goes_by_tcp_and_falls_back_to_udp(make_endpoint: MakeEndpoint) -> None:
    big = b"v=0\r\n" + b"a=x\r\n" * 400
    caller = await make_endpoint(trunks=TRUNKS)
    udp_only = await make_endpoint(trunks=TRUNKS, binds=(Bind("udp", "127.0.0.1", 0),))
    await caller.agent.invite(udp_only.uri("bob"), from_=party("alice"), body=big, route_to=udp_only.target("udp"))
    async with asyncio.timeout(30):
        incoming = await udp_only.incoming.get()
    assert (incoming.body, incoming.source.transport) == (big, "udp")
    port = udp_only.target("udp").port
    both = await make_endpoint(trunks=TRUNKS, binds=(Bind("udp", "127.0.0.2", port), Bind("tcp", "127.0.0.2", port)))
    await caller.agent.invite(both.uri("bob"), from_=party("alice"), body=big, route_to=both.target("udp"))
    async with asyncio.timeout(30):
        incoming = await both.incoming.get()
    assert (incoming.body, incoming.source.transport) == (big, "tcp")


async def test_drain_refuses_new_calls_and_options_but_keeps_the_old(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out, into = await call(caller, callee, "udp")
    callee.agent.drain()
    refused = Reader(
        await caller.agent.invite(callee.uri("bob"), from_=party("alice"), body=OFFER, route_to=callee.target("udp"))
    )
    (event,) = await refused.rest()
    assert isinstance(event, Rejected)
    assert event.code == 503
    assert ("Retry-After", "30") in event.headers
    out.session.reoffer(b"still there?")
    assert await into.next() == Reoffered(b"still there?")


async def test_peer_without_any_answer_is_a_timeout(make_endpoint: MakeEndpoint) -> None:
    caller = await make_endpoint()
    out = Reader(
        await caller.agent.invite(
            caller.uri("bob"),
            from_=party("alice"),
            body=OFFER,
            route_to=Target("udp", "127.0.0.9", 9),
        )
    )
    (event,) = await out.rest()
    assert event == Rejected(408, "Request Timeout")


async def test_refused_connection_is_503_at_once(make_endpoint: MakeEndpoint) -> None:
    caller = await make_endpoint()
    out = Reader(
        await caller.agent.invite(
            caller.uri("bob"),
            from_=party("alice"),
            body=OFFER,
            route_to=Target("tcp", "127.0.0.9", 9),
        )
    )
    (event,) = await out.rest()
    assert event == Rejected(503, "Service Unavailable")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_call_over_ipv6(make_endpoint: MakeEndpoint, transport: Transport) -> None:
    trunk = TrunkRule("loopback", (ipaddress.ip_network("::1/128"),))
    binds = tuple(Bind(kind, "::1", 0) for kind in TRANSPORTS)
    caller, callee = (
        await make_endpoint(trunks=(trunk,), binds=binds),
        await make_endpoint(trunks=(trunk,), binds=binds),
    )
    out, into = await call(caller, callee, transport)
    into.session.hangup()
    assert isinstance((await out.rest())[-1], Ended)
    assert out.session.remote_target is not None
    assert out.session.remote_target.host == "::1"


async def test_stop_hangs_up_and_closes(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)
    out, _ = await call(caller, callee, "tcp")
    await callee.agent.stop(1.0)
    (ended,) = await out.rest()
    assert isinstance(ended, Ended)
    assert (ended.by, ended.cause) == ("remote", 'SIP;cause=503;text="Shutting down"')
    assert callee.agent.sessions == ()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", callee.target("tcp").port)


async def test_handler_that_fails_answers_500(make_endpoint: MakeEndpoint) -> None:
    caller, callee = await make_endpoint(trunks=TRUNKS), await make_endpoint(trunks=TRUNKS)

    async def broken(incoming: IncomingInvite) -> None:
        raise ValueError("a mistake")

    callee.agent.on_invite = broken
    out = Reader(
        await caller.agent.invite(callee.uri("bob"), from_=party("alice"), body=OFFER, route_to=callee.target("udp"))
    )
    (event,) = await out.rest()
    assert isinstance(event, Rejected)
    assert event.code == 500
    assert callee.agent.sessions == ()
