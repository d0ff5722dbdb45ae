"""A pair of ports at an Edge is opened for a check, hears who sends there, and is closed whatever becomes of the check."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from mediaserver.daemon.media_probes import MediaProbes
from mediaserver.engine import certificate, commands, events
from mediaserver.engine.engine import Engine
from mediaserver.engine.ids import shard_of
from mediaserver.errors import LimitExceeded
from tests.engine.edges import CORE_ID, Edge, Joint, core_behind, start_edge
from tests.engine.phones import LOOPBACK, until


@dataclass
class PortsHere:
    """`call.edge_ports.PortsBeyond` and `PortsAtEdge` of the one Edge there is; its name is dmz."""

    edge: Edge
    core: Engine
    joint: Joint
    announced_ip = LOOPBACK
    on_moved = None
    name = ""

    def by(self, edge: str, peer_ip: str) -> PortsHere:
        self.name = edge
        return self

    async def open(self, transport: int, *, latching_ms: int = 0) -> commands.EdgePorts:
        if self.name != "dmz":
            raise LimitExceeded("no Edge has ports for media", limit="edge.sip_media_ports")
        command = commands.OpenEdgePorts(id=self.edge.id, core=CORE_ID, transport=transport, ip=LOOPBACK)
        opened = await self.edge.engine.request(command)
        assert isinstance(opened, events.EdgePortsOpened)
        self.aim(transport, None, None, latching_ms=latching_ms)
        link = self.joint.links[shard_of(transport)]
        return commands.EdgePorts(link=link, ip=LOOPBACK, rtp_port=opened.rtp_port, rtcp_port=opened.rtcp_port)

    def aim(
        self, transport: int, rtp: commands.Address | None, rtcp: commands.Address | None, *, latching_ms: int
    ) -> None:
        command = commands.AimEdgePorts(
            id=self.edge.id, core=CORE_ID, transport=transport, rtp=rtp, rtcp=rtcp, latching_ms=latching_ms
        )
        self.edge.engine.submit(command)

    def revoke(self, transport: int) -> None:
        self.edge.engine.submit(commands.RevokeSessions(id=self.edge.id, core=CORE_ID, sessions=(transport,)))

    @property
    def pairs(self) -> int:
        return self.edge.engine.counters().get("edge_port_pairs", 0)


@pytest.fixture
async def ports() -> AsyncIterator[PortsHere]:
    edge = await start_edge()
    async with core_behind(edge, certificate.generate(), shards=1) as (core, joint):
        made = PortsHere(edge, core, joint)
        core.on_closed = made.revoke
        yield made
    await edge.engine.stop()


async def test_what_is_sent_to_the_pair_is_counted_with_who_sent_it(ports: PortsHere) -> None:
    probes = MediaProbes(engine=ports.core, ports=ports)
    opened = await probes.open("dmz")
    assert (opened.state, opened.ip) == ("open", LOOPBACK)
    assert (await probes.open("dmz")).reason == "another check has a pair open there"
    await ports.edge.engine.ping()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((LOOPBACK, 0))
        for number in range(3):
            phone.sendto(bytes((0x80, 0, 0, number)) + bytes(168), (LOOPBACK, opened.port))
        await until(lambda: ports.core.connected["none"] == 1, what="media", timeout_s=5)
        host, port = phone.getsockname()
    closed = await probes.close("dmz")
    assert closed is not None
    assert (closed.state, closed.heard_from) == ("closed", f"{host}:{port}")
    assert 1 <= closed.packets <= 3
    await until(lambda: ports.pairs == 0, what="no pair", timeout_s=5)
    assert await probes.close("dmz") is None


async def test_a_check_that_never_ends_it_costs_nothing(ports: PortsHere) -> None:
    probes = MediaProbes(engine=ports.core, ports=ports, life_s=0.05)
    assert (await probes.open("dmz")).state == "open"
    await until(lambda: ports.core.transports == 0, what="no transport", timeout_s=5)
    await until(lambda: ports.pairs == 0, what="no pair", timeout_s=5)
    assert await probes.close("dmz") is None
    assert (await probes.open("dmz")).state == "open"


async def test_an_edge_that_opens_none_says_why_and_may_be_asked_again(ports: PortsHere) -> None:
    probes = MediaProbes(engine=ports.core, ports=ports)
    for _ in range(2):
        refused = await probes.open("other")
        assert (refused.state, refused.reason) == ("refused", "no Edge has ports for media")
    assert ports.core.transports == 0
