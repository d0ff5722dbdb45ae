"""A Core and an Edge over two real engines on loopback: who is admitted, what is said, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import trustme

from mediaserver.engine import certificate, commands, events
from mediaserver.engine.config import EngineConfig
from mediaserver.engine.engine import CommandRefused, Engine
from mediaserver.engine.metrics import engine_metrics
from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.edge_registry import EdgeLost, EdgeReady, EdgeRegistry
from tests.link.fakes import KEY, PUBLIC, FakeSink
from tests.link.shown import Shown, issue

LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0


@dataclass
class EngineWire:
    """The engine's side of `Wire`."""

    engine: Engine
    link: int

    def send(self, payload: bytes) -> None:
        self.engine.submit(commands.SendLinkMessage(id=self.link, payload=payload))

    def set_busy(self, busy: bool) -> None:
        self.engine.submit(commands.SetLinkBusy(id=self.link, busy=busy))


def feed(engine: Engine, link: int, end: CoreEnd | EdgeEnd) -> None:
    def deliver(event: events.AnyEvent) -> None:
        match event:
            case events.LinkUp():
                end.handle_up()
            case events.LinkDown():
                end.handle_down(event.reason)
            case events.LinkMessage():
                end.handle_message(event.payload)

    engine.subscribe_events(link, deliver)


@pytest.fixture
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    started = []
    for _ in range(2):
        dtls = certificate.generate()
        engine = Engine(
            EngineConfig(
                shards=1,
                webrtc_binds=(f"{LOOPBACK}:0",),
                sip_binds=(),
                certificate_der=dtls.certificate_der,
                private_key_der=dtls.private_key_der,
                ufrag_key=os.urandom(32),
            )
        )
        await engine.start()
        started.append(engine)
    yield started[0], started[1]
    for engine in started:
        await engine.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def listen(edge: Engine, shown: Shown, core: Shown) -> tuple[int, int, commands.Address]:
    listener, link = edge.new_link_id(), edge.new_link_id()
    pin = commands.LinkPin(link=link, name="core.bank.example", fingerprint=core.fingerprint)
    command = commands.ListenLink(id=listener, bind=(LOOPBACK, 0), credentials=shown.credentials, cores=(pin,))
    return listener, link, await edge.listen_link(command)


async def dial(core: Engine, address: commands.Address, own: Shown, edge: Shown) -> int:
    link = core.new_link_id()
    return await redial(core, link, address, own, edge)


async def redial(core: Engine, link: int, address: commands.Address, own: Shown, edge: Shown) -> int:
    await core.dial_link(
        commands.DialLink(
            id=link,
            address=address,
            server_name="edge.bank.example",
            fingerprint=edge.fingerprint,
            credentials=own.credentials,
        )
    )
    return link


async def test_core_and_edge_find_each_other_and_the_loss_of_the_edge_is_told(engines: tuple[Engine, Engine]) -> None:
    core, edge = engines
    authority = trustme.CA()
    core_shown, edge_shown = issue(authority, "core.bank.example"), issue(authority, "edge.bank.example")
    listener, edge_link, address = await listen(edge, edge_shown, core_shown)
    sink, media_keys = FakeSink(), []
    edge_end = EdgeEnd(
        core_name="core.bank.example",
        edge_name="edge.bank.example",
        software="test",
        instance="first",
        addresses=(PUBLIC,),
        media_ports=(7443,),
        wire=EngineWire(edge, edge_link),
        sink=sink,
        may_have_id=lambda _, core_id: core_id == 3,
        changed=lambda _: None,
    )
    feed(edge, edge_link, edge_end)
    registry = EdgeRegistry()
    heard: list[object] = []
    registry.listen(heard.append)
    core_link = core.new_link_id()
    core_end = CoreEnd(
        name="dmz-1",
        core_id=3,
        shards=2,
        software="test",
        wire=EngineWire(core, core_link),
        keys=(KEY,),
        revoked=lambda: (),
        media_ready=media_keys.append,
        changed=registry.handle_change,
    )
    registry.add(core_end)
    feed(core, core_link, core_end)
    await redial(core, core_link, address, core_shown, edge_shown)
    await until(lambda: len(sink.keys) == 1)
    assert heard == [EdgeReady("dmz-1")]
    assert registry.addresses("media") == (PUBLIC,)
    assert sink.keys[0].media == media_keys[0]
    core_end.set_busy(True)
    edge.submit(commands.CloseLink(id=listener))
    await until(lambda: len(heard) == 2)
    assert isinstance(heard[1], EdgeLost)
    assert not core_end.is_ready
    # With nobody there, the next reason is that of the attempts.
    await until(lambda: core_end.reason == "nothing listens there (connection refused)")
    samples = {
        (sample.name, sample.labels.get("shard")): sample.value
        for metric in engine_metrics(core.counters(), {})
        for sample in metric.samples
    }
    assert samples["mediaserver_engine_link_connections_total", "link"] == 1


async def test_a_client_of_tls_1_2_is_refused(engines: tuple[Engine, Engine]) -> None:
    _, edge = engines
    authority = trustme.CA()
    core_shown, edge_shown = issue(authority, "core.bank.example"), issue(authority, "edge.bank.example")
    _, _, address = await listen(edge, edge_shown, core_shown)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.open_connection(*address, ssl=context, server_hostname="edge.bank.example")
    await until(lambda: edge.counters()["link.drop.link_handshake_failed"] == 1)


async def test_a_client_without_a_certificate_is_refused(engines: tuple[Engine, Engine]) -> None:
    _, edge = engines
    authority = trustme.CA()
    core_shown, edge_shown = issue(authority, "core.bank.example"), issue(authority, "edge.bank.example")
    _, _, address = await listen(edge, edge_shown, core_shown)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.set_alpn_protocols(["mediaserver-link/1"])
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="edge.bank.example")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        await reader.read(1)
    writer.close()
    with pytest.raises(ssl.SSLError):
        await writer.wait_closed()
    assert edge.counters()["link.link_connections"] == 0


async def test_commands_that_cannot_be_are_refused_with_a_reason(engines: tuple[Engine, Engine]) -> None:
    core, _ = engines
    authority = trustme.CA()
    own = issue(authority, "core.bank.example")
    with pytest.raises(CommandRefused, match="server_name"):
        await core.dial_link(
            commands.DialLink(
                id=core.new_link_id(),
                address=(LOOPBACK, 1),
                server_name="not a name",
                fingerprint=own.fingerprint,
                credentials=own.credentials,
            )
        )
    broken = commands.LinkCredentials(
        certificate_chain_pem=own.credentials.certificate_chain_pem, private_key_pem=b"secret", issuers_pem=b""
    )
    with pytest.raises(CommandRefused) as refused:
        await core.listen_link(
            commands.ListenLink(id=core.new_link_id(), bind=(LOOPBACK, 0), credentials=broken, cores=())
        )
    assert "private_key_pem" in str(refused.value)
    assert "secret" not in str(refused.value)
    with pytest.raises(CommandRefused, match="there is no such link"):
        await core.request(commands.SendLinkMessage(id=12345, payload=b""))
    link = await dial(core, (LOOPBACK, 1), own, own)
    with pytest.raises(CommandRefused, match="the link is down"):
        await core.request(commands.SendLinkMessage(id=link, payload=b""))
    with pytest.raises(CommandRefused, match="in use"):
        await redial(core, link, (LOOPBACK, 1), own, own)


async def test_a_visitor_that_nobody_awaits_is_told_by_an_end(engines: tuple[Engine, Engine]) -> None:
    core, _ = engines
    ours, theirs = socket.socketpair()
    with ours:
        opened = events.StreamOpened(
            id=core.new_link_id(),
            stream=3,
            fd=theirs.detach(),
            source=("203.0.113.9", 1),
            local=("198.51.100.1", 443),
            server_name="",
        )
        core._deliver(opened)
        assert ours.recv(1) == b""


async def test_a_visitor_is_carried_to_the_core_with_its_address(engines: tuple[Engine, Engine]) -> None:
    core, edge = engines
    authority = trustme.CA()
    core_shown, edge_shown = issue(authority, "core.bank.example"), issue(authority, "edge.bank.example")
    _, edge_link, address = await listen(edge, edge_shown, core_shown)
    up = asyncio.Event()
    edge.subscribe_events(edge_link, lambda event: up.set() if isinstance(event, events.LinkUp) else None)
    core_link = core.new_link_id()
    opened: asyncio.Future[events.StreamOpened] = asyncio.get_running_loop().create_future()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.StreamOpened):
            opened.set_result(event)

    core.subscribe_events(core_link, take)
    await redial(core, core_link, address, core_shown, edge_shown)
    await asyncio.wait_for(up.wait(), PATIENCE_S)
    with socket.create_server((LOOPBACK, 0)) as door, socket.create_connection(door.getsockname()) as visitor:
        connection, _ = door.accept()
        edge.submit(
            commands.CarryStream(
                id=edge_link,
                fd=connection.detach(),
                source=("203.0.113.9", 4711),
                local=("198.51.100.1", 443),
                server_name="video.bank.example",
            )
        )
        event = await asyncio.wait_for(opened, PATIENCE_S)
        assert (event.source, event.server_name) == (("203.0.113.9", 4711), "video.bank.example")
        with socket.socket(fileno=event.fd) as inside:
            inside.setblocking(False)
            visitor.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(visitor, b"from outside")
            assert await asyncio.wait_for(loop.sock_recv(inside, 100), PATIENCE_S) == b"from outside"
            await loop.sock_sendall(inside, b"from inside")
            assert await asyncio.wait_for(loop.sock_recv(visitor, 100), PATIENCE_S) == b"from inside"
