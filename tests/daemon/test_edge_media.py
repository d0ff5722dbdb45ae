"""The media links to one Edge: one from each shard to each of its threads, which stay while its ports do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mediaserver.daemon.edge_media import EdgeMedia
from mediaserver.engine import commands, events

SECRET = b"s" * 32
PORTS = (7443, 7444)
SHARDS = 2


class FakeEngine:
    """Gives ids from 1 for media links, and lets what is subscribed to be told."""

    config = SimpleNamespace(shards=SHARDS)

    def __init__(self) -> None:
        self.sent: list[commands.Command] = []
        self.told: dict[int, Callable[[events.AnyEvent], None]] = {}
        self._ids = 0

    def new_link_id(self) -> int:
        return 100

    def new_id(self, _: int) -> int:
        self._ids += 1
        return self._ids

    def submit(self, *batch: commands.Command) -> None:
        self.sent += batch

    def subscribe_events(self, link: int, callback: Callable[[events.AnyEvent], None]) -> Callable[[], None]:
        self.told[link] = callback

        def unsubscribe() -> None:
            del self.told[link]

        return unsubscribe

    def taken(self, kind: type[commands.Command]) -> list[Any]:
        """What was sent since the last look, all of this kind."""
        sent, self.sent = self.sent, []
        assert {type(command) for command in sent} <= {kind}
        return sent


class House:
    def __init__(self, host: str = "198.51.100.1") -> None:
        self.engine = FakeEngine()
        self.downs = 0
        self.media = EdgeMedia(
            "dmz", host, engine=cast("Any", self.engine), path_bytes_per_second=1000, on_down=self.hear_down
        )

    def hear_down(self) -> None:
        self.downs += 1

    def up(self, *links: int) -> None:
        for link in links:
            self.engine.told[link](events.MediaLinkUp(id=link, way="udp"))

    def open(self, ports: tuple[int, ...] = PORTS) -> list[commands.OpenMediaLink]:
        self.media.open(ports, SECRET)
        return self.engine.taken(commands.OpenMediaLink)


def test_each_shard_has_a_link_to_each_thread_with_a_key_of_its_own() -> None:
    house = House()
    opened = house.open()
    assert [(link.id, link.edge[1], link.worker) for link in opened] == [
        (1, 7443, 0),
        (2, 7443, 0),
        (3, 7444, 1),
        (4, 7444, 1),
    ]
    assert len({link.key for link in opened}) == 4
    assert {(link.tls_link, link.bind_ip) for link in opened} == {(100, "0.0.0.0")}
    assert [house.media.link_to(worker, shard) for worker in (0, 1) for shard in (0, 1)] == [1, 2, 3, 4]


def test_an_edge_of_an_ipv6_address_is_reached_from_one() -> None:
    assert {link.bind_ip for link in House("2001:db8::1").open()} == {"::"}


def test_no_link_leads_to_an_edge_that_was_never_there_or_to_a_thread_that_it_has_not() -> None:
    house = House()
    assert house.media.link_to(0, 0) is None
    house.open()
    assert house.media.link_to(2, 0) is None


def test_links_stay_while_the_edge_has_the_same_ports() -> None:
    house = House()
    house.open()
    assert house.open() == []
    assert house.media.links == (1, 2, 3, 4)


def test_other_ports_are_other_links() -> None:
    house = House()
    house.open()
    house.up(1)
    house.media.open((9000,), SECRET)
    closed, opened = house.engine.sent[:4], house.engine.sent[4:]
    assert [(type(each), each.id) for each in closed] == [(commands.CloseMediaLink, link) for link in (1, 2, 3, 4)]
    assert [each.id for each in opened] == [5, 6]
    assert list(house.engine.told) == [5, 6]
    assert house.media.way.state == "none"


def test_closed_links_are_opened_again_at_the_same_ports() -> None:
    house = House()
    house.open()
    house.media.close()
    assert len(house.engine.taken(commands.CloseMediaLink)) == 4
    assert not house.media.links
    assert not house.engine.told
    assert len(house.open()) == 4


def test_a_link_that_is_silent_is_told_and_changes_the_way() -> None:
    house = House()
    house.open()
    house.up(1, 2)
    assert (house.media.way.state, house.downs) == ("udp", 0)
    for link in (1, 2):
        house.engine.told[link](events.MediaLinkDown(id=link))
    assert (house.media.way.state, house.downs) == ("none", 2)


@pytest.mark.parametrize("ports", [PORTS, ()])
def test_media_leave_by_every_link(ports: tuple[int, ...]) -> None:
    house = House()
    house.open(ports)
    house.media.leave()
    assert [each.id for each in house.engine.taken(commands.LeaveMediaLink)] == list(house.media.links)
