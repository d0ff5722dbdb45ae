"""Media by TCP at an Edge (RFC 6544): a connection becomes a path of the Core's, and ends with its transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aioice.stun
import pytest
from aioice.stun import Class, Message, Method

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import LocalIce
from tests.engine.edge_pair import Pair, count, edge_and_core
from tests.engine.phones import LOOPBACK, until

UFRAG, PASSWORD = "ours", "a password of some length"


class Visitor:
    """A browser's connection to the Edge; every datagram behind its length (RFC 4571)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, pair: Pair) -> Visitor:
        return cls(*await asyncio.open_connection(LOOPBACK, pair.port))

    def send(self, datagram: bytes) -> None:
        self._writer.write(len(datagram).to_bytes(2, "big") + datagram)

    def check(self, local: LocalIce) -> None:
        """A check as the controlling side sends it, which nominates at once."""
        message = Message(Method.BINDING, Class.REQUEST)
        message.attributes["USERNAME"] = f"{local.ufrag}:{UFRAG}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(local.pwd.encode())
        self.send(bytes(message))

    def answer(self, request: Message) -> None:
        message = Message(Method.BINDING, Class.RESPONSE, request.transaction_id)
        message.attributes["XOR-MAPPED-ADDRESS"] = self._writer.get_extra_info("sockname")
        message.add_message_integrity(PASSWORD.encode())
        self.send(bytes(message))

    async def receive(self) -> bytes:
        """The next datagram; empty when the connection was closed."""
        try:
            length = int.from_bytes(await asyncio.wait_for(self._reader.readexactly(2), 10), "big")
            return await asyncio.wait_for(self._reader.readexactly(length), 10)
        except asyncio.IncompleteReadError:
            return b""

    def close(self) -> None:
        self._writer.close()


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
async def pair(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate) -> AsyncIterator[Pair]:
    async with edge_and_core(dtls_certificate, workers=request.param) as made:
        yield made


async def transport(pair: Pair) -> LocalIce:
    local = await pair.core.open_ice_transport()
    pair.core.submit(
        commands.SetIceRemote(
            id=local.id,
            ufrag=UFRAG,
            pwd=PASSWORD,
            fingerprints=(commands.Fingerprint(algorithm="sha-256", value=bytes(32)),),
            dtls_role="client",
        )
    )
    return local


async def proven(pair: Pair, local: LocalIce) -> Visitor:
    """A visitor whose address the Core has challenged, and who is given DTLS."""
    visitor = await Visitor.connect(pair)
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


async def connected(pair: Pair, local: LocalIce) -> Visitor:
    """Another connection of the same visitor, which is challenged, too."""
    visitor = await Visitor.connect(pair)
    visitor.check(local)
    challenged = False
    while not challenged:
        datagram = await visitor.receive()
        if datagram[:1] in (b"\0", b"\1"):
            message = aioice.stun.parse_message(datagram)
            if message.message_class == Class.REQUEST:
                visitor.answer(message)
                challenged = True
    return visitor


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
        visitor = await Visitor.connect(pair)
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
    visitor = await Visitor.connect(pair)
    visitor.check(local)
    assert await visitor.receive() == b""
    await until(lambda: count(pair.edge, "drop.edge_revoked_token") == 1, what="a refusal", timeout_s=5)
    visitor.close()
