"""Which Edges are there, and the news when one comes, goes, drains or moves."""

from __future__ import annotations

import pytest

from mediaserver.link.edge_registry import EdgeDraining, EdgeEvent, EdgeLost, EdgeMoved, EdgeReady, EdgeRegistry
from mediaserver.link.messages import Revocation
from tests.link.fakes import KEY, NEW_KEY, PUBLIC, WEB, Pair


class House:
    """Two Edges and what a listener heard."""

    def __init__(self) -> None:
        self.registry = EdgeRegistry()
        self.one, self.two = Pair("one"), Pair("two")
        self.heard: list[EdgeEvent] = []
        for pair in (self.one, self.two):
            pair.core._changed = self.registry.handle_change
            self.registry.add(pair.core)
        self.registry.listen(self.heard.append)

    def connect(self) -> None:
        self.one.connect()
        self.two.connect()
        self.heard.clear()


def test_edges_that_come_are_told_once() -> None:
    house = House()
    house.one.connect()
    house.two.connect()
    assert house.heard == [EdgeReady("one"), EdgeReady("two")]
    assert house.registry.open_edges() == ("one", "two")
    assert [edge.name for edge in house.registry.edges()] == ["one", "two"]


def test_a_lost_edge_is_told_with_those_to_go_to() -> None:
    house = House()
    house.connect()
    house.one.cut("no sign of life")
    assert house.heard == [EdgeLost("one", "no sign of life", ("two",))]
    house.two.cut("no sign of life")
    assert house.heard[1] == EdgeLost("two", "no sign of life", ())
    house.one.connect()
    assert house.heard[2] == EdgeReady("one")


def test_attempts_that_fail_are_no_news() -> None:
    house = House()
    house.connect()
    house.one.cut("first")
    house.heard.clear()
    house.one.core.handle_down("nothing listens there")
    assert house.heard == []
    assert house.one.core.reason == "nothing listens there"


def test_an_edge_that_drains_gets_no_new_sessions_and_is_told_with_its_deadline() -> None:
    house = House()
    house.connect()
    house.one.edge.drain(60.0)
    house.one.carry()
    assert house.heard == [EdgeDraining("one", 60.0, ("two",))]
    assert house.registry.addresses("media") == (PUBLIC,)
    assert house.registry.addresses("media", for_new=False) == (PUBLIC, PUBLIC)
    house.one.edge.drain(None)
    house.one.carry()
    assert house.registry.open_edges() == ("one", "two")


def test_addresses_are_those_of_edges_that_are_ready() -> None:
    house = House()
    assert house.registry.addresses("web") == ()
    house.one.connect()
    assert house.registry.addresses("web") == (WEB,)
    house.heard.clear()
    house.one.edge.set_addresses((PUBLIC,))
    house.one.carry()
    assert house.heard == [EdgeMoved("one")]
    assert house.registry.addresses("web") == ()


def test_keys_and_revocations_go_to_every_edge() -> None:
    house = House()
    house.connect()
    house.registry.set_keys((KEY, NEW_KEY), (b"t" * 32,))
    house.registry.revoke([Revocation(session=5, expires_minute=1)])
    for pair in (house.one, house.two):
        pair.carry()
        assert pair.sink.keys[-1].tokens == (KEY, NEW_KEY)
        assert pair.sink.keys[-1].turn == (b"t" * 32,)
        assert [each.session for each in pair.sink.revoked] == [5]


def test_one_listener_that_fails_keeps_no_other_from_its_news() -> None:
    house = House()

    def fail(_: EdgeEvent) -> None:
        raise RuntimeError("mistake")

    late: list[EdgeEvent] = []
    house.registry.listen(fail)
    stop = house.registry.listen(late.append)
    house.one.connect()
    assert late == [EdgeReady("one")]
    stop()
    house.two.connect()
    assert late == [EdgeReady("one")]


def test_an_edge_that_leaves_the_configuration_is_lost_and_forgotten() -> None:
    house = House()
    house.connect()
    house.registry.remove("one")
    assert house.heard == [EdgeLost("one", "no longer in the configuration", ("two",))]
    house.one.cut()
    assert len(house.heard) == 1
    house.registry.add(house.one.core)
    with pytest.raises(ValueError, match="already"):
        house.registry.add(house.one.core)


def test_an_edge_that_the_operator_leaves_gets_no_new_sessions_until_it_is_used_again() -> None:
    house = House()
    house.connect()
    house.registry.leave("one", 30.0)
    assert house.heard == [EdgeDraining("one", 30.0, ("two",))]
    assert house.registry.is_draining("one")
    assert house.registry.addresses("media") == (PUBLIC,)
    house.registry.leave("one", 5.0)
    assert house.heard[1:] == [EdgeDraining("one", 5.0, ("two",))]
    house.registry.leave("one", None)
    assert house.heard[2:] == [EdgeReady("one")]
    assert house.registry.open_edges() == ("one", "two")


def test_an_edge_that_is_left_while_it_is_away_is_left_when_it_comes() -> None:
    house = House()
    house.connect()
    house.one.cut("pulled")
    house.heard.clear()
    house.registry.leave("one", 30.0)
    assert house.heard == []
    house.one.connect()
    assert house.heard == [EdgeReady("one"), EdgeDraining("one", 30.0, ("two",))]
    assert house.registry.open_edges() == ("two",)


def test_an_unknown_edge_cannot_be_left() -> None:
    with pytest.raises(KeyError):
        House().registry.leave("three", 1.0)
