"""The table of connections: where they lead, how many there may be, and which have to go."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from mediaserver.sip.config import SipLimits
from mediaserver.sip.flow import Flow, Target, Transport
from mediaserver.sip.transport.connections import Connections
from mediaserver.sip.transport.stream import Connection

LIMITS = SipLimits(connections=4, connections_per_source=2, message_timeout_s=1.0, connection_idle_s=10.0)
PEER = "192.0.2.9"
TRUNK = Target("tls", PEER, 5061, server_name="sip.example.org")


class FakeSocket(asyncio.Transport):
    """A transport of one peer; `names` stand in the certificate that it has proven."""

    def __init__(self, peer: str, port: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self._facts = {
            "sockname": ("192.0.2.1", 5061),
            "peername": (peer, port),
            "peercert": {"subjectAltName": tuple(("DNS", name) for name in names)},
        }
        self.is_cut = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._facts.get(name, default)

    def close(self) -> None:
        self.is_cut = True

    def abort(self) -> None:
        self.is_cut = True


class House:
    def __init__(self) -> None:
        self.now = 100.0
        self.closed: list[tuple[Flow, Target | None]] = []
        self.held: set[Flow] = set()
        self.counts: Counter[str] = Counter()
        self.table = Connections(
            limits=LIMITS,
            counters=self,
            on_closed=lambda flow, target: self.closed.append((flow, target)),
            is_held=lambda flow: flow in self.held,
        )

    def inc(self, name: str, **labels: str) -> None:
        self.counts[f"{name} {' '.join(labels.values())}"] += 1

    def new(
        self,
        *,
        peer: str = PEER,
        port: int = 40_000,
        target: Target | None = None,
        names: tuple[str, ...] = (),
        kind: Transport = "tls",
    ) -> Connection:
        """A connection that is up and stands in the table."""
        connection = Connection(
            transport=kind,
            number=self.table.new_number(),
            target=target,
            limits=LIMITS,
            on_open=lambda connection: self.table.add(connection) or True,  # type: ignore[func-returns-value]
            on_lost=self.table.forget,
            on_message=lambda _message, _flow: None,
            on_malformed=lambda _error, _request, _flow: None,
            on_keep_alive=lambda _data, _flow: None,
            now=lambda: self.now,
        )
        connection.secured = True
        connection.connection_made(FakeSocket(peer, port, names))
        return connection

    def overdue(self, connection: Connection, after_s: float) -> str | None:
        return self.table._overdue(connection, self.now + after_s)


def flow_of(connection: Connection) -> Flow:
    assert connection.flow is not None
    return connection.flow


def test_what_is_sent_to_a_target_goes_over_the_connection_that_was_opened_last() -> None:
    house = House()
    first, second = house.new(target=TRUNK), house.new(target=TRUNK)
    assert house.table.towards(TRUNK) is second
    assert house.table.stream_of(flow_of(first)) is first
    first.connection_lost(None)
    assert house.table.towards(TRUNK) is second
    second.connection_lost(None)
    assert house.table.towards(TRUNK) is None
    # Only with the last one nothing leads there any more.
    assert house.closed == [(flow_of(first), None), (flow_of(second), TRUNK)]
    assert len(house.table) == 0


def test_a_connection_is_gone_once() -> None:
    house = House()
    connection = house.new()
    house.table.forget(connection)
    house.table.forget(connection)
    assert house.closed == [(flow_of(connection), None)]


def test_one_source_and_all_together_are_bounded() -> None:
    house = House()
    mine = [house.new(port=port) for port in (1, 2)]
    assert house.table.is_full(PEER)
    assert not house.table.is_full("192.0.2.10")
    mine[0].connection_lost(None)
    assert not house.table.is_full(PEER)
    for last in range(20, 23):
        house.new(peer=f"192.0.2.{last}")
    assert house.table.is_full("192.0.2.99")
    assert house.counts["sip.dropped connections_full"] == 2


def test_after_a_new_certificate_tls_is_opened_anew_and_tcp_stays() -> None:
    house = House()
    plain = Target("tcp", PEER, 5060)
    encrypted, tcp = house.new(target=TRUNK), house.new(target=plain, kind="tcp")
    house.table.renew_tls()
    assert house.table.towards(TRUNK) is None
    assert house.table.towards(plain) is tcp
    assert house.table.of(flow_of(encrypted)) is encrypted


def test_a_peer_is_reached_by_the_connection_that_it_opened_under_the_name_that_it_proved() -> None:
    house = House()
    theirs = house.new(names=("sip.example.org",))
    house.table.alias(flow_of(theirs), 5061)
    assert house.table.towards(TRUNK) is theirs
    assert house.table.towards(Target("tls", PEER, 5061, server_name="other.example.org")) is None
    assert house.table.towards(Target("tls", PEER, 5062, server_name="sip.example.org")) is None
    assert house.table.towards(Target("tcp", PEER, 5061, server_name="sip.example.org")) is None
    theirs.close()
    assert house.table.towards(TRUNK) is None


def test_who_proved_no_name_has_no_alias() -> None:
    house = House()
    theirs = house.new()
    house.table.alias(flow_of(theirs), 5061)
    assert theirs.alias is None
    assert house.table.towards(TRUNK) is None


def test_an_alias_is_the_latest_and_goes_with_its_own_connection() -> None:
    house = House()
    first, second = house.new(names=("sip.example.org",)), house.new(names=("sip.example.org",))
    house.table.alias(flow_of(first), 5061)
    house.table.alias(flow_of(second), 5061)
    first.connection_lost(None)
    assert house.table.towards(TRUNK) is second
    house.table.alias(flow_of(second), 5071)
    assert house.table.towards(TRUNK) is None
    second.connection_lost(None)
    assert not house.table._aliases


@pytest.mark.parametrize(("after_s", "reason"), [(1.9, None), (2.1, "silent")])
def test_whoever_never_says_anything_has_to_go(after_s: float, reason: str | None) -> None:
    house = House()
    assert house.overdue(house.new(), after_s) == reason
    assert house.overdue(house.new(target=TRUNK), after_s) is None


@pytest.mark.parametrize(("after_s", "reason"), [(0.9, None), (1.1, "slow_message")])
def test_a_message_that_was_begun_has_to_end(after_s: float, reason: str | None) -> None:
    house = House()
    connection = house.new()
    connection.data_received(b"OPTIONS sip:ms SIP/2.0\r\n")
    assert house.overdue(connection, after_s) == reason


@pytest.mark.parametrize(("after_s", "reason"), [(9.9, None), (10.1, "idle")])
def test_what_nobody_uses_has_to_go_unless_something_lives_on_it(after_s: float, reason: str | None) -> None:
    house = House()
    connection = house.new(target=TRUNK)
    assert house.overdue(connection, after_s) == reason
    house.held.add(flow_of(connection))
    assert house.overdue(connection, after_s) is None
