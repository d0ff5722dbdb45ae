"""Media by TCP at an Edge (RFC 6544): a connection becomes a path of the Core's, and ends with its transport."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import aioice.stun
import pytest
from aioice.stun import Class

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import LocalIce
from tests.engine.edge_pair import Pair, count, edge_and_core
from tests.engine.phones import LOOPBACK, until
from tests.engine.tcp_visitor import TcpVisitor, set_remote


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
async def pair(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate) -> AsyncIterator[Pair]:
    async with edge_and_core(dtls_certificate, workers=request.param) as made:
        yield made


async def transport(pair: Pair) -> LocalIce:
    local = await pair.core.open_ice_transport()
    set_remote(pair.core, local)
    return local


async def proven(pair: Pair, local: LocalIce) -> TcpVisitor:
    """A visitor whose address the Core has challenged, and who is given DTLS."""
    visitor = await TcpVisitor.connect(LOOPBACK, pair.port)
    visitor.check(local)
    is_answered = False
    while (datagram := await visitor.receive())[:1] in (b"\0", b"\1"):
        message = aioice.stun.parse_message(datagram)
        if message.message_class == Class.RESPONSE:
            is_answered = True
        else:
            visitor.answer(message)
    assert is_answered
    assert datagram[0] == 22, "the Core begins DTLS"
    return visitor


async def connected(pair: Pair, local: LocalIce) -> TcpVisitor:
    """Another connection of the same visitor, which is challenged, too; his answer to that has been read."""
    visitor = await TcpVisitor.connect(LOOPBACK, pair.port)
    visitor.check(local)
    check_behind_answer = None
    while datagram := await visitor.receive():
        if datagram[:1] not in (b"\0", b"\1"):
            continue
        message = aioice.stun.parse_message(datagram)
        if message.message_class == Class.REQUEST:
            visitor.answer(message)
            check_behind_answer = visitor.check(local)
        elif message.transaction_id == check_behind_answer:
            return visitor
    raise AssertionError("the connection was closed")


async def test_a_connection_carries_checks_challenges_and_dtls_until_its_transport_ends(pair: Pair) -> None:
    local = await transport(pair)
    assert local.tcp_addresses == ((LOOPBACK, pair.port),)
    visitor = await proven(pair, local)
    await until(lambda: count(pair.edge, "edge_paths") == 1, what="a path", timeout_s=5)
    await until(lambda: count(pair.edge, "streams_open") == 1, what="a connection", timeout_s=5)
    pair.core.submit(commands.CloseTransport(id=local.id, reason="commanded"))
    while await visitor.receive():
        pass
    visitor.close()
    await until(lambda: count(pair.edge, "streams_open") == 0, what="no connection", timeout_s=5)
    await until(lambda: count(pair.edge, "edge_paths") == 0, what="no path", timeout_s=5)
    assert count(pair.edge, "panics") == count(pair.core, "panics") == 0


async def test_the_core_learns_that_a_connection_is_gone(pair: Pair) -> None:
    visitor = await proven(pair, await transport(pair))
    await until(lambda: count(pair.core, "link_paths") == 1, what="a path", timeout_s=5)
    visitor.close()
    await until(lambda: count(pair.core, "link_paths") == 0, what="no path", timeout_s=5)


async def test_who_has_no_other_way_is_asked_for_one_when_his_connection_is_gone(pair: Pair) -> None:
    local = await transport(pair)
    told: list[events.AnyEvent] = []
    pair.core.subscribe_events(local.id, told.append)
    first, second = await proven(pair, local), await connected(pair, local)
    # The later one was nominated last.
    first.close()
    await until(lambda: count(pair.core, "link_paths") == 1, what="one path", timeout_s=5)
    assert events.EdgeLeft(id=local.id) not in told
    second.close()
    await until(lambda: events.EdgeLeft(id=local.id) in told, what="the news", timeout_s=5)


async def test_a_connection_with_a_token_of_nobody_is_closed_at_once(pair: Pair) -> None:
    local = await transport(pair)
    forged = ("B" if local.ufrag[-1] != "B" else "C").join([local.ufrag[:-1], ""])
    for ufrag, reason in (("nobody", "foreign_token"), (forged, "forged_token")):
        visitor = await TcpVisitor.connect(LOOPBACK, pair.port)
        visitor.check(LocalIce(id=0, ufrag=ufrag, pwd=local.pwd, addresses=()))
        begun = time.monotonic()
        assert await visitor.receive() == b""
        assert time.monotonic() - begun < 3, "sooner than who says nothing"
        name = f"drop.edge_{reason}"
        await until(lambda name=name: count(pair.edge, name) == 1, what=name, timeout_s=5)
        visitor.close()


async def test_tokens_of_ended_sessions_open_no_connection(pair: Pair) -> None:
    local = await transport(pair)
    for worker in range(pair.edge.config.edge.workers if pair.edge.config.edge else 0):
        pair.edge.submit(commands.RevokeSessions(id=pair.edge.edge_id(worker), core=0, sessions=(local.id,)))
    visitor = await TcpVisitor.connect(LOOPBACK, pair.port)
    visitor.check(local)
    assert await visitor.receive() == b""
    await until(lambda: count(pair.edge, "drop.edge_revoked_token") == 1, what="a refusal", timeout_s=5)
    visitor.close()
