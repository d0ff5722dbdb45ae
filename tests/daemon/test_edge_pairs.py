"""Pairs of ports at an Edge that is restarted: the Core asks for the same ones, and for others where it must."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mediaserver.daemon import edge_ports
from mediaserver.daemon.edge_ports import CorePorts, EdgePortsSide
from mediaserver.engine import commands, events
from mediaserver.engine.engine import CommandRefused
from mediaserver.errors import LimitExceeded
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.messages import AimPorts, EdgeAddress, OpenPorts, PortsOpened, PortsRefused, parse
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from tests.link.fakes import FakeWire, Pair

IP = "198.51.100.2"
PEER = ("203.0.113.9", 4000)
MEDIA = EdgeAddress(protocol="udp", ip=IP, port=20_000, purpose="sip_media")


class House:
    """A Core with one Edge, whose answers the test gives."""

    def __init__(self) -> None:
        self.pair = Pair("dmz")
        self.pair.core._changed = lambda _: None
        self.metrics = Metrics()
        self.revoked: list[int] = []
        self.moved: list[tuple[int, int, int]] = []
        self.link = 7
        registry = EdgeRegistry()
        registry.add(self.pair.core)
        self.tasks = TaskGroupOwner("test")
        self.ports = CorePorts(
            registry,
            media_link=lambda _edge, _worker, _shard: self.link,
            revoke=self.revoked.append,
            tasks=self.tasks,
            metrics=self.metrics,
        )
        self.pair.core.on_ports = self.ports.handle_answer
        self.live("first")

    def live(self, instance: str) -> None:
        """The Edge begins a life."""
        self.pair.cut()
        edge = self.pair.new_edge(instance)
        edge._addresses = (MEDIA,)
        self.pair.core.handle_up()
        edge.handle_up()
        for payload in self.pair.core_wire.take():
            edge.handle_message(payload)
        for payload in self.pair.edge_wire.take():
            self.pair.core.handle_message(payload)
        self.pair.core_wire.take()

    def said(self) -> list[OpenPorts | AimPorts]:
        """What the Edge is asked for."""
        messages = [parse(payload) for payload in self.pair.core_wire.take()]
        return [message for message in messages if isinstance(message, OpenPorts | AimPorts)]

    async def asked(self) -> list[OpenPorts | AimPorts]:
        """The same, once there is something."""
        async with asyncio.timeout(5):
            while not (said := self.said()):
                await asyncio.sleep(0)
        return said

    def answer(self, transport: int, rtp: int, worker: int = 1) -> None:
        opened = PortsOpened(transport=transport, ip=IP, rtp=rtp, rtcp=rtp + 1, worker=worker)
        self.ports.handle_answer(self.pair.core, opened)

    def refuse(self, transport: int) -> None:
        self.ports.handle_answer(self.pair.core, PortsRefused(transport=transport, reason="taken"))

    async def open(self, transport: int, rtp: int) -> None:
        """A leg has a pair, and has said where its peer is."""
        at_edge = self.ports.by("dmz", PEER[0])
        at_edge.on_moved = lambda *ports: self.moved.append(ports)
        opening = asyncio.ensure_future(at_edge.open(transport))
        assert await self.asked() == [OpenPorts(transport=transport, ip=IP)]
        self.answer(transport, rtp)
        await opening
        at_edge.aim(transport, PEER, None, latching_ms=60_000)
        assert self.said() == [AimPorts(transport=transport, rtp=PEER, rtcp=None, latching_ms=60_000)]

    def restart(self, instance: str = "second") -> None:
        self.live(instance)
        self.ports.pairs.reopen(self.pair.core)

    async def settled(self, result: str) -> None:
        """Until something was counted so."""
        name = f'mediaserver_edge_ports_reopened_total{{result="{result}"}}'
        async with asyncio.timeout(5):
            while f"{name} 1.0" not in self.metrics.render().decode():
                await asyncio.sleep(0)


@pytest.fixture
async def house() -> House:
    made = House()
    await made.open(1, 20_010)
    return made


async def test_the_same_ports_are_asked_for_and_the_same_peer_is_let_in(house: House) -> None:
    house.restart()
    assert await house.asked() == [OpenPorts(transport=1, ip=IP, rtp=20_010, worker=1)]
    house.answer(1, 20_010)
    (aim,) = await house.asked()
    assert isinstance(aim, AimPorts)
    assert (aim.rtp, aim.rtcp) == (PEER, None)
    # The window goes on, and does not begin anew.
    assert 50_000 < aim.latching_ms <= 60_000
    await house.settled("same")
    assert (house.moved, house.revoked) == ([], [])


async def test_a_link_that_comes_back_to_the_same_life_asks_for_nothing(house: House) -> None:
    house.restart("first")
    await asyncio.sleep(0.01)
    assert house.said() == []


async def test_ports_that_somebody_else_has_are_replaced_and_the_leg_is_told(house: House) -> None:
    house.restart()
    await house.asked()
    house.refuse(1)
    assert await house.asked() == [OpenPorts(transport=1, ip=IP, worker=1)]
    house.answer(1, 20_050)
    assert len(await house.asked()) == 1
    await house.settled("moved")
    assert house.moved == [(1, 20_050, 20_051)]
    # In its next life the Edge is asked for those.
    house.restart("third")
    assert await house.asked() == [OpenPorts(transport=1, ip=IP, rtp=20_050, worker=1)]


async def test_where_there_are_none_the_pair_is_lost_for_this_life_of_the_edge(house: House) -> None:
    house.restart()
    for _ in range(2):
        await house.asked()
        house.refuse(1)
    await house.settled("lost")
    house.restart("second")
    await asyncio.sleep(0.01)
    assert (house.said(), house.moved) == ([], [])
    house.restart("third")
    assert len(await house.asked()) == 1


async def test_an_edge_that_goes_again_is_asked_in_its_next_life(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_ports, "_PATIENCE_S", 0.01)
    house.restart()
    await house.asked()
    house.live("third")
    await asyncio.sleep(0.05)
    house.ports.pairs.reopen(house.pair.core)
    assert await house.asked() == [OpenPorts(transport=1, ip=IP, rtp=20_010, worker=1)]


async def test_a_pair_whose_media_link_is_another_one_now_is_lost(house: House) -> None:
    house.link = 8
    house.restart()
    await house.asked()
    house.answer(1, 20_010)
    await house.settled("lost")


async def test_a_call_that_is_over_is_asked_for_no_more_and_ends_at_the_edge(house: House) -> None:
    await house.open(2, 20_020)
    house.ports.pairs.forget(2)
    house.restart()
    assert [message.transport for message in await house.asked()] == [1]
    house.ports.pairs.forget(1)
    house.answer(1, 20_010)
    async with asyncio.timeout(5):
        while not house.revoked:
            await asyncio.sleep(0)
    assert house.revoked == [1]


async def test_many_pairs_are_asked_for_in_parts(house: House) -> None:
    for transport in range(2, 101):
        await house.open(transport, 20_010 + 2 * transport)
    house.restart()
    asked = 0
    while asked < 100:
        part = [message for message in await house.asked() if isinstance(message, OpenPorts)]
        assert len(part) <= 64
        asked += len(part)
        for message in part:
            house.answer(message.transport, message.rtp or 0)


class FakeEngine:
    """Opens what it is asked for, but not port 20012."""

    def __init__(self) -> None:
        self.opened: list[commands.OpenEdgePorts] = []
        self.aimed: list[commands.AimEdgePorts] = []
        self.tell: list[Callable[[events.AnyEvent], None]] = []

    def edge_id(self, worker: int) -> int:
        return 100 + worker

    def subscribe_events(self, _id: int, callback: Callable[[events.AnyEvent], None]) -> Callable[[], None]:
        self.tell.append(callback)
        return lambda: None

    def submit(self, *batch: commands.Command) -> None:
        self.aimed += [command for command in batch if isinstance(command, commands.AimEdgePorts)]

    async def request(self, command: commands.Command) -> events.AnyEvent:
        if isinstance(command, commands.AimEdgePorts):
            self.submit(command)
            return events.CommandDone(request=1)
        assert isinstance(command, commands.OpenEdgePorts)
        if command.rtp_port == 20_012:
            raise CommandRefused("port 20012 is taken")
        self.opened.append(command)
        rtp = command.rtp_port or 20_000
        return events.EdgePortsOpened(id=command.id, rtp_port=rtp, rtcp_port=rtp + 1, request=1)


class Edge:
    """The Edge's side, and what it answers the Core."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.pair = Pair("dmz")
        self.pair.connect()
        self.wire: FakeWire = self.pair.edge_wire
        self.side = EdgePortsSide(allowed=True, workers=2, told={"10.0.0.2": IP})
        self.side.start(self.engine)  # type: ignore[arg-type]

    async def open(self, message: OpenPorts) -> PortsOpened | PortsRefused:
        self.side.handle_open(self.pair.edge, message)
        async with asyncio.timeout(5):
            while not self.wire.sent:
                await asyncio.sleep(0)
        (answer,) = (parse(payload) for payload in self.wire.take())
        assert isinstance(answer, PortsOpened | PortsRefused)
        return answer


async def test_a_pair_for_anybody_is_open_to_them_before_the_core_hears_of_it(house: House) -> None:
    opening = asyncio.ensure_future(house.ports.by("dmz", "").open(2, latching_ms=10_000))
    (asked,) = await house.asked()
    assert asked == OpenPorts(transport=2, ip=IP, latching_ms=10_000)
    house.answer(2, 20_020)
    await opening
    assert isinstance(asked, OpenPorts)
    edge = Edge()
    assert isinstance(await edge.open(asked), PortsOpened)
    (aimed,) = edge.engine.aimed
    assert (aimed.transport, aimed.rtp, aimed.rtcp, aimed.latching_ms) == (2, None, None, 10_000)


async def test_an_edge_opens_the_wanted_pair_at_the_wanted_thread_and_says_so_twice_if_it_must() -> None:
    edge = Edge()
    wanted = OpenPorts(transport=1, ip=IP, rtp=20_010, worker=1)
    expected = PortsOpened(transport=1, ip=IP, rtp=20_010, rtcp=20_011, worker=1)
    assert await edge.open(wanted) == expected
    assert [(command.id, command.ip, command.rtp_port) for command in edge.engine.opened] == [(101, "10.0.0.2", 20_010)]
    assert await edge.open(wanted) == expected
    assert len(edge.engine.opened) == 1
    again = await edge.open(OpenPorts(transport=1, ip=IP, rtp=20_014, worker=1))
    assert isinstance(again, PortsRefused)
    edge.side.handle_aim(3, AimPorts(transport=1, rtp=PEER, rtcp=None, latching_ms=0))
    assert [command.id for command in edge.engine.aimed] == [101]


async def test_an_edge_refuses_a_port_that_is_taken_and_a_thread_that_it_has_not() -> None:
    edge = Edge()
    for wanted in (
        OpenPorts(transport=1, ip=IP, rtp=20_012, worker=0),
        OpenPorts(transport=1, ip=IP, rtp=20_010, worker=2),
    ):
        assert isinstance(await edge.open(wanted), PortsRefused)
    # It may have another one all the same.
    assert isinstance(await edge.open(OpenPorts(transport=1, ip=IP, worker=0)), PortsOpened)


async def test_without_an_edge_there_are_no_ports() -> None:
    house = House()
    with pytest.raises(LimitExceeded):
        await house.ports.by("elsewhere", PEER[0]).open(5)
