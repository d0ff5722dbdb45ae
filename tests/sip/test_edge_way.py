"""SIP over TLS beyond an Edge: both ends speak TLS, and what is between them is a socket that shows nobody's address."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from mediaserver.sip.config import SipLimits, TrunkRule
from mediaserver.sip.events import Answered, Rejected
from mediaserver.sip.flow import Target
from mediaserver.sip.session import InviteSession
from mediaserver.sip.transport.edge_way import Ends
from mediaserver.sip.uri import SipUri
from tests.sip.conftest import Endpoint, MakeEndpoint, Reader, party
from tests.sip.test_sipp import SDP

EDGE = ("198.51.100.2", 5061)
TRUNK = ("203.0.113.9", 5061)


class Edges:
    """Carries what one end dials to the other as a visitor of the Edge."""

    def __init__(self, callee: Endpoint | None, source: tuple[str, int] = ("10.0.0.1", 40_000)) -> None:
        self.callee = callee
        self.source = source
        self.dialled: list[tuple[str, int]] = []

    def announced(self) -> tuple[str, int]:
        return EDGE

    def is_ours(self, host: str, port: int | None) -> bool:
        return (host, port or 5061) == EDGE

    async def dial(self, remote: tuple[str, int]) -> tuple[socket.socket, Ends]:
        self.dialled.append(remote)
        if self.callee is None:
            raise OSError("no Edge is there")
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        self.callee.agent.accept_stream(theirs, Ends(EDGE, self.source, "dmz"))
        return ours, Ends(EDGE, remote, "dmz")


LOOPBACK = TrunkRule("carrier", (ipaddress.ip_network("203.0.113.0/24"),))


async def dial(caller: Endpoint) -> InviteSession:
    target = Target("tls", *TRUNK, server_name="sip.example.org", at_edge=True)
    uri = SipUri("carrier.test", "bob", params=(("transport", "tls"),))
    return await caller.agent.invite(uri, route_to=target, from_=party("mallory"), body=SDP)


async def test_what_an_edge_brings_is_a_connection_of_its_real_source(make_endpoint: MakeEndpoint) -> None:
    callee = await make_endpoint(trunks=(LOOPBACK,))
    caller = await make_endpoint()
    edges = Edges(callee, source=TRUNK)
    caller.agent.use_edges(edges)
    session = await dial(caller)
    incoming = await asyncio.wait_for(callee.incoming.get(), 10)
    # Known as a trunk by the address that the Edge saw, and told to its peers by the Edge's.
    assert (incoming.source.ip, incoming.source.port, incoming.trunk) == (*TRUNK, "carrier")
    assert edges.dialled == [TRUNK]
    assert (incoming.request.via.host, incoming.request.via.port) == EDGE
    assert incoming.request.contacts[0].sip_uri.host == EDGE[0]
    incoming.session.reject(486)
    reader = Reader(session)
    event = await reader.next()
    assert isinstance(event, Rejected)
    assert event.code == 486


async def test_a_dialog_that_came_over_an_edge_goes_back_over_it(make_endpoint: MakeEndpoint) -> None:
    callee = await make_endpoint(trunks=(LOOPBACK,))
    caller = await make_endpoint()
    caller.agent.use_edges(Edges(callee, source=TRUNK))
    session = await dial(caller)
    incoming = await asyncio.wait_for(callee.incoming.get(), 10)
    incoming.session.answer(SDP)
    reader, other = Reader(session), Reader(incoming.session)
    assert isinstance(await reader.next(), Answered)
    incoming.session.hangup()
    assert (await reader.rest())[-1].__class__.__name__ == "Ended"
    assert (await other.rest())[-1].__class__.__name__ == "Ended"
    assert callee.counts.table["sip.connects.ok"] == 0


async def test_without_an_edge_what_lies_beyond_is_not_reached(make_endpoint: MakeEndpoint) -> None:
    caller = await make_endpoint()
    event = await Reader(await dial(caller)).next()
    assert isinstance(event, Rejected)
    assert caller.counts.table["sip.connects.no_edge"] == 1
    caller.agent.use_edges(Edges(None))
    assert isinstance(await Reader(await dial(caller)).next(), Rejected)
    assert caller.counts.table["sip.connects.failed"] == 1


async def test_whoever_says_nothing_over_an_edge_is_counted_by_its_source(make_endpoint: MakeEndpoint) -> None:
    callee = await make_endpoint(limits=SipLimits(connections_per_source=1))
    edges = Edges(callee)
    first, _ = await edges.dial(TRUNK)
    second, _ = await edges.dial(TRUNK)
    try:
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(second, 1), 5) == b""
        assert callee.counts.table["sip.dropped.connections_full"] == 1
    finally:
        first.close()
        second.close()
