"""Phones at ports of an Edge: their media goes by the link, and nobody else's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import CommandRefused, Engine, LocalRtp
from mediaserver.engine.ids import shard_of
from mediaserver.errors import LimitExceeded
from tests.engine.edges import CORE_ID, Edge, Joint, core_behind, start_edge
from tests.engine.phones import LOOPBACK, PCMU, Phone, payload_of, until

WINDOW_MS = 60_000
"""Longer than a test: who comes late is refused by a window that was closed by hand."""


@dataclass
class Leg:
    """A phone that the Edge's ports are for."""

    phone: Phone
    local: LocalRtp
    up: int
    down: int

    @property
    def target(self) -> tuple[str, int]:
        return LOOPBACK, self.local.rtp_port


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    started = await start_edge()
    yield started
    await started.engine.stop()


async def open_leg(
    core: Engine,
    joint: Joint,
    edge: Edge,
    *,
    shown: tuple[str, int] | None = None,
    latching_ms: int = 0,
    srtp: commands.SrtpKeys | None = None,
) -> Leg:
    """A leg whose phone's description shows `shown`, by itself where it is."""
    phone = await Phone.open()

    async def at_edge(transport: int) -> commands.EdgePorts:
        opened = await edge.engine.request(
            commands.OpenEdgePorts(id=edge.id, core=CORE_ID, transport=transport, ip=LOOPBACK)
        )
        assert isinstance(opened, events.EdgePortsOpened)
        link = joint.links[shard_of(transport)]
        return commands.EdgePorts(link=link, ip=LOOPBACK, rtp_port=opened.rtp_port, rtcp_port=opened.rtcp_port)

    local = await core.open_rtp_transport(LOOPBACK, latching_ms=latching_ms, at_edge=at_edge)
    await aim(edge, local.id, shown or phone.address, latching_ms=latching_ms)
    up, down = core.new_track_id(local.id), core.new_track_id(local.id)
    core.submit(
        commands.SetRtpRemote(id=local.id, rtp=shown or phone.address, srtp=srtp),
        commands.AddUpTrack(id=up, transport=local.id, kind="audio", payloads=(PCMU,)),
        commands.AddDownTrack(
            id=down, transport=local.id, kind="audio", ssrc=0x1000 + local.rtp_port, cname="test", payloads=(PCMU,)
        ),
    )
    return Leg(phone, local, up, down)


async def aim(edge: Edge, transport: int, rtp: tuple[str, int], *, latching_ms: int) -> None:
    await edge.engine.request(
        commands.AimEdgePorts(id=edge.id, core=CORE_ID, transport=transport, rtp=rtp, latching_ms=latching_ms)
    )


async def bridge(core: Engine, left: Leg, right: Leg) -> None:
    await asyncio.gather(
        core.request(commands.Subscribe(id=left.down, up=right.up)),
        core.request(commands.Subscribe(id=right.down, up=left.up)),
    )
    await core.ping()


async def talk(speaker: Leg, listener: Leg, packets: int = 20) -> None:
    """Every packet comes out at the other end, from the port that the listener knows."""
    before = len(listener.phone.received)
    for number in range(packets):
        speaker.phone.send(speaker.phone.rtp(bytes([number]) * 160), speaker.target)
        await asyncio.sleep(0.002)
    await until(lambda: len(listener.phone.received) - before == packets, what=f"{packets} packets", timeout_s=5)
    assert payload_of(listener.phone.received[-1]) == bytes([packets - 1]) * 160
    assert set(listener.phone.sources) == {listener.target}


@pytest.mark.parametrize("shards", [1, 2])
async def test_two_phones_hear_each_other_by_ports_of_an_edge(
    edge: Edge, dtls_certificate: DtlsCertificate, shards: int
) -> None:
    async with core_behind(edge, dtls_certificate, shards=shards) as (core, joint):
        left, right = await open_leg(core, joint, edge), await open_leg(core, joint, edge)
        await bridge(core, left, right)
        # The second one has sent nothing when the first packet is for it.
        await talk(left, right)
        await talk(right, left)
        await until(lambda: edge.engine.counters().get("edge_port_pairs") == 2, what="two pairs", timeout_s=5)
        for leg in (left, right):
            core.close_transport(leg.local.id)
            await edge.engine.request(commands.RevokeSessions(id=edge.id, core=CORE_ID, sessions=(leg.local.id,)))
        await until(lambda: edge.engine.counters().get("edge_port_pairs") == 0, what="no pairs", timeout_s=5)
        await until(lambda: core.counters().get("link_paths") == 0, what="no paths", timeout_s=5)
        assert edge.engine.counters()["panics"] == core.counters()["panics"] == 0


async def test_a_phone_behind_a_nat_is_heard_by_its_keys_and_strangers_are_not(
    edge: Edge, dtls_certificate: DtlsCertificate
) -> None:
    async with core_behind(edge, dtls_certificate, shards=1) as (core, joint):
        elsewhere = await Phone.open()
        hidden = await open_leg(core, joint, edge, shown=("192.0.2.99", 4000), latching_ms=WINDOW_MS)
        other = await open_leg(core, joint, edge)
        await bridge(core, hidden, other)
        await talk(hidden, other)
        await talk(other, hidden)
        # The window closes: who was believed stays, who comes now is a stranger.
        await aim(edge, hidden.local.id, ("192.0.2.99", 4000), latching_ms=0)
        before = len(other.phone.received)
        for _ in range(5):
            elsewhere.send(elsewhere.rtp(b"x" * 160), hidden.target)
        await until(
            lambda: edge.engine.counters().get("drop.edge_port_stranger") == 5, what="strangers counted", timeout_s=5
        )
        await talk(hidden, other)
        assert len(other.phone.received) == before + 20


async def test_after_a_restart_of_the_edge_two_phones_talk_by_the_same_ports(dtls_certificate: DtlsCertificate) -> None:
    edge = await start_edge()
    async with core_behind(edge, dtls_certificate, shards=1) as (core, joint):
        # One is behind a NAT: nobody names its address, and the window has closed.
        hidden = await open_leg(core, joint, edge, shown=("192.0.2.99", 4000), latching_ms=WINDOW_MS)
        other = await open_leg(core, joint, edge)
        await bridge(core, hidden, other)
        await talk(hidden, other)
        await talk(other, hidden)
        await edge.engine.stop()
        again = await start_edge(edge.public[1], edge.link[1])
        try:
            await joint.announce(again)
            for leg, named in ((hidden, ("192.0.2.99", 4000)), (other, other.phone.address)):
                wanted = commands.OpenEdgePorts(
                    id=again.id, core=CORE_ID, transport=leg.local.id, ip=LOOPBACK, rtp_port=leg.local.rtp_port
                )
                opened = await again.engine.request(wanted)
                assert isinstance(opened, events.EdgePortsOpened)
                assert (opened.rtp_port, opened.rtcp_port) == (leg.local.rtp_port, leg.local.rtcp_port)
                await aim(again, leg.local.id, named, latching_ms=0)
            # The hidden one is let in before anything is sent to it.
            await until(lambda: again.engine.counters().get("edge_paths", 0) >= 1, what="a path", timeout_s=5)
            await talk(hidden, other)
            await talk(other, hidden)
            with pytest.raises(CommandRefused, match="is taken"):
                await again.engine.request(
                    commands.OpenEdgePorts(
                        id=again.id, core=CORE_ID, transport=99, ip=LOOPBACK, rtp_port=other.local.rtp_port
                    )
                )
        finally:
            await again.engine.stop()


async def test_what_is_encrypted_goes_through_as_it_is(edge: Edge, dtls_certificate: DtlsCertificate) -> None:
    async with core_behind(edge, dtls_certificate, shards=1) as (core, joint):
        suite: commands.SrtpSuite = "AES_CM_128_HMAC_SHA1_80"
        keys = commands.SrtpKeys(
            local_suite=suite, local_key=os.urandom(30), remote_suite=suite, remote_key=os.urandom(30)
        )
        secret, plain = await open_leg(core, joint, edge, srtp=keys), await open_leg(core, joint, edge)
        await bridge(core, secret, plain)
        plain.phone.send(plain.phone.rtp(b"in the clear" * 10), plain.target)
        await until(lambda: len(secret.phone.received) == 1, what="a packet for the phone with keys", timeout_s=5)
        assert b"in the clear" not in secret.phone.received[0]
        # Without the keys nobody is heard there.
        secret.phone.send(secret.phone.rtp(b"y" * 160), secret.target)
        await until(lambda: core.counters().get("drop.srtp_authentication", 0) >= 1, what="a refusal", timeout_s=5)
        assert plain.phone.received == []


async def test_a_transport_has_one_pair_and_ports_come_to_an_end(edge: Edge, dtls_certificate: DtlsCertificate) -> None:
    transport = 5
    command = commands.OpenEdgePorts(id=edge.id, core=CORE_ID, transport=transport, ip=LOOPBACK)
    await edge.engine.request(command)
    with pytest.raises(LimitExceeded):
        await edge.engine.request(command)
    with pytest.raises(CommandRefused):
        await edge.engine.request(commands.OpenEdgePorts(id=edge.id, core=CORE_ID, transport=transport, ip="127.0.0.9"))
    with pytest.raises(CommandRefused):
        await aim(edge, 6, (LOOPBACK, 9), latching_ms=0)
