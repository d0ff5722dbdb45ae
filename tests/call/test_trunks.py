"""Trunks: who of their targets has calls, how many there may be, what calls carry, OPTIONS, registration and reload."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from mediaserver.call.trunk import TrunkLine
from mediaserver.call.trunks import Trunks
from mediaserver.config.loader import load_text
from mediaserver.config.trunks import Trunk
from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.runtime.metrics import Metrics
from mediaserver.sip.flow import Target
from mediaserver.sip.standalone import OutsideRequest, Standalone
from mediaserver.sip.uri import SipUri
from tests.passing import passed
from tests.sip.test_upstream import response


def trunk(text: str) -> Trunk:
    return load_text(f"trunks: {{t: {text}}}\n").config.trunks["t"]


def line(text: str) -> TrunkLine:
    return TrunkLine("t", trunk(text), chance=random.Random(1))


def hosts(of: TrunkLine) -> list[str]:
    return [hop.host for _, hop in of.hops()]


class Peer:
    """A user agent whose targets answer as `codes` says; it keeps what it was asked."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.asked: list[tuple[str, str, tuple[tuple[str, str], ...], int]] = []
        self.names: dict[str, list[Target]] = {}
        self.learnt: dict[str, set[str]] = {}
        self.registers: list[tuple[int, tuple[str, ...]]] = []

    async def request(self, request: OutsideRequest, *, targets: Sequence[Target] = ()) -> Standalone:
        await asyncio.sleep(0)
        host = targets[0].host if targets else request.uri.host
        self.asked.append((request.method, host, request.headers, request.cseq))
        done = Standalone("c")
        if request.method == "REGISTER":
            code, lines = self.registers.pop(0) if self.registers else (200, ("Expires: 600",))
            done.response = response(code, *lines)
        elif host == "unreachable.test":
            raise LocalProtocolError("no transport leads there")
        else:
            code = self.codes.get(host, 200)
            if code == 408:
                done.failure = "timeout"
            else:
                done.response = response(code)
        return done

    async def locate(self, uri: SipUri) -> list[Target]:
        if uri.host in self.names:
            return self.names[uri.host]
        return [Target("udp", uri.host, uri.port or 5060)]

    def learn_trunk(self, name: str, addresses: Iterable[str]) -> None:
        self.learnt[name] = set(addresses)


class House:
    def __init__(self, text: str) -> None:
        self.now = 1000.0
        self.peer = Peer()
        self.metrics = Metrics()
        self.trunks = Trunks(
            load_text(text).config.trunks,
            realm="example.org",
            password_of=lambda name, trunk: "pw" if trunk.credentials is not None else None,
            metrics=self.metrics,
            now=lambda: self.now,
            spread=lambda: 1.0,
        )


TWO = """
trunks:
  t:
    peers: [192.0.2.0/24]
    targets:
      - {uri: "sip:192.0.2.1", order: 1, weight: 90}
      - {uri: "sip:192.0.2.2", order: 1, weight: 10}
      - {uri: "sip:192.0.2.3", order: 2}
    keep_alive: {failures: 2, successes: 1}
"""


def test_targets_go_by_order_and_share_by_weight() -> None:
    found = House(TWO).trunks["t"]
    found._chance = random.Random(5)
    firsts: Counter[str] = Counter()
    for _ in range(2000):
        order = hosts(found)
        assert sorted(order) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert order[2] == "192.0.2.3"
        firsts[order[0]] += 1
    assert 0.86 < firsts["192.0.2.1"] / 2000 < 0.94


async def test_options_decide_who_has_calls_and_who_lives_again() -> None:
    house = House(TWO)
    one = house.trunks["t"]
    house.peer.codes = {"192.0.2.1": 408, "192.0.2.2": 503}
    await house.trunks.look(one, house.peer)
    assert sorted(hosts(one)) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]  # one lost OPTIONS kills nobody
    await house.trunks.look(one, house.peer)
    assert hosts(one) == ["192.0.2.3"]
    assert [target.state for target in house.trunks.status()[0].targets] == ["down", "down", "up"]
    assert house.trunks.status()[0].state == "degraded"
    assert house.metrics.value("trunk_targets", trunk="t", state="down") == 2
    assert house.metrics.value("trunk_target_changes_total", trunk="t", state="down") == 2
    house.peer.codes = {"192.0.2.1": 405}
    await house.trunks.look(one, house.peer)
    assert sorted(hosts(one)) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


async def test_a_trunk_without_a_living_target_has_no_hop() -> None:
    house = House(TWO)
    await house.trunks.look(house.trunks["t"], house.peer)
    house.peer.codes = {f"192.0.2.{number}": 408 for number in (1, 2, 3)}
    for _ in range(2):
        await house.trunks.look(house.trunks["t"], house.peer)
    assert hosts(house.trunks["t"]) == []
    assert house.trunks.status()[0].state == "down"


async def test_a_trunk_that_never_answers_options_is_called_all_the_same() -> None:
    house = House(TWO)
    house.peer.codes = {f"192.0.2.{number}": 408 for number in (1, 2, 3)}
    for _ in range(3):
        await house.trunks.look(house.trunks["t"], house.peer)
    assert house.trunks.status()[0].state == "down"
    assert len(hosts(house.trunks["t"])) == 3


async def test_names_are_looked_up_and_every_address_of_theirs_is_asked() -> None:
    house = House("trunks: {t: {target: 'sip:carrier.test', transport: tcp}}\n")
    house.peer.names["carrier.test"] = [Target("tcp", f"192.0.2.{n}", 5060, "carrier.test") for n in (1, 2)]
    one = house.trunks["t"]
    assert hosts(one) == []
    await house.trunks.look(one, house.peer)
    assert hosts(one) == ["192.0.2.1", "192.0.2.2"]
    assert {host for _, host, _, _ in house.peer.asked} == {"192.0.2.1", "192.0.2.2"}
    house.peer.names["carrier.test"] = []  # DNS has gone: what was known stays
    await house.trunks.look(one, house.peer)
    assert hosts(one) == ["192.0.2.1", "192.0.2.2"]
    house.peer.names["carrier.test"] = [Target("tcp", "192.0.2.9", 5060, "carrier.test")]
    await house.trunks.look(one, house.peer)
    assert [str(hop.host) for hop in one.health] == ["192.0.2.9"]


def test_calls_of_both_directions_count_together() -> None:
    one = line("{target: 'sip:192.0.2.1', max_calls: 2}")
    one.admit("incoming", 0.0)
    one.admit("outgoing", 0.0)
    with pytest.raises(LimitExceeded) as refused:
        one.admit("incoming", 0.0)
    assert refused.value.limit == "trunks.t.max_calls"
    one.release("incoming")
    one.admit("outgoing", 0.0)
    assert one.calls == {"incoming": 0, "outgoing": 2}


def test_new_calls_per_second_are_bounded() -> None:
    one = line("{target: 'sip:192.0.2.1', calls_per_second: 2/s}")
    for now in (0.0, 0.1):
        one.admit("incoming", now)
    with pytest.raises(LimitExceeded) as refused:
        one.admit("outgoing", 0.2)
    assert refused.value.limit == "trunks.t.calls_per_second"
    one.admit("outgoing", 0.7)


def test_header_rules_set_and_copy_and_leave_sip_alone() -> None:
    one = line("{target: 'sip:192.0.2.1', headers: {fixed: {X-House: '7'}, copied: [x-ticket, X-House]}}")
    callers = [("X-Ticket", "abc"), ("X-House", "stranger"), ("Via", "x"), ("X-Other", "y")]
    assert one.headers(callers) == [("X-House", "7"), ("X-Ticket", "abc")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{peers: [192.0.2.1]}", "give either target"),
        ("{target: 'sip:a', targets: ['sip:b']}", "give either target"),
        ("{target: 'sip:a', registration: {}}", "registration needs credentials"),
        ("{target: 'sip:a', headers: {fixed: {Via: x}}}", "Via is written by the daemon itself"),
        ("{target: 'sip:a', headers: {copied: [Privacy]}}", "`identity` of the trunk rules"),
        ("{target: 'sip:a', identity: {incoming: yes}}", "stripped"),
        ("{target: 'sip:a', numbers: {called: national}}", "national numbers need a region"),
        ("{target: 'sip:a', calls_per_second: 3}", "expected a rate with its unit"),
    ],
)
def test_mistakes_say_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(Exception, match=says):
        trunk(text)


REGISTERING = """
trunks:
  t:
    target: sip:carrier.test
    credentials: {user: "4930", secret: {env: X}}
    registration: {expires: 10min}
    keep_alive: {interval: 0s}
"""


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await passed(0.001)


async def test_a_registering_trunk_registers_learns_its_addresses_and_signs_off() -> None:
    house = House(REGISTERING)
    house.peer.names["carrier.test"] = [Target("udp", "192.0.2.7", 5060, "carrier.test")]
    house.peer.registers = [(423, ("Min-Expires: 900",)), (200, ("Expires: 900",))]
    house.trunks.start(house.peer)
    await until(lambda: house.trunks.status()[0].registration == "registered")
    await until(lambda: house.peer.learnt)
    status = house.trunks.status()[0]
    assert (status.registered_for_s, status.state) == (900.0, "unknown")
    assert house.peer.learnt == {"t": {"192.0.2.7"}}
    assert house.metrics.value("trunk_registered", trunk="t") == 1
    await house.trunks.stop()
    expires = [dict(headers)["Expires"] for method, _, headers, _ in house.peer.asked if method == "REGISTER"]
    assert expires == ["600", "900", "0"]
    assert [cseq for method, _, _, cseq in house.peer.asked if method == "REGISTER"] == [1, 3, 5]


async def test_calls_go_by_the_route_that_the_registrar_gives_while_we_are_registered() -> None:
    house = House(REGISTERING)
    target, edge = Target("udp", "192.0.2.7", 5060, "carrier.test"), Target("udp", "192.0.2.8", 5060, "edge.test")
    house.peer.names |= {"carrier.test": [target], "edge.test": [edge]}
    house.peer.registers = [(200, ("Expires: 900", "Service-Route: <sip:edge.test;lr>, <sip:core.test;lr>")), (403, ())]
    house.trunks.start(house.peer)
    one = house.trunks["t"]
    await until(lambda: one.route_hops and one.hops())
    way = one.way("+4930123")
    assert way is not None
    assert way.hops == [edge]
    assert [str(uri) for uri in way.uris.values()] == ["sip:+4930123@carrier.test"]
    assert one.headers(()) == [("Route", "<sip:edge.test;lr>"), ("Route", "<sip:core.test;lr>")]
    assert one.upstream is not None
    one.upstream.flows[0].upstream.answered(None, 403, house.now)
    way = one.way("+4930123")
    assert way is not None
    assert way.hops == [target]
    assert one.headers(()) == []
    await house.trunks.stop()


async def test_reload_keeps_calls_and_what_is_known_and_ends_what_is_gone() -> None:
    house = House(TWO)
    house.trunks.start(house.peer)
    await until(lambda: house.trunks.status()[0].state == "up")
    one = house.trunks["t"]
    one.admit("incoming", 0.0)
    changed = load_text(TWO.replace("failures: 2", "failures: 5") + "  u: {target: 'sip:192.0.2.50'}\n").config
    await house.trunks.reload(changed.trunks)
    assert house.trunks["t"] is one
    assert (one.calls["incoming"], one.settings.keep_alive.failures) == (1, 5)
    assert {health.failures for health in one.health.values()} == {5}
    await until(lambda: [status.state for status in house.trunks.status()] == ["up", "up"])
    await house.trunks.reload({"u": changed.trunks["u"]})
    assert [status.name for status in house.trunks.status()] == ["u"]
    one.release("incoming")
    await house.trunks.stop()
    assert [task for task in asyncio.all_tasks() if "trunk-" in task.get_name()] == []


def test_a_number_becomes_the_user_at_every_hop_and_without_one_the_target_keeps_its_own() -> None:
    one = line(
        "{targets: ['sip:queue@192.0.2.1', 'sip:192.0.2.2;transport=tcp'], numbers: {region: DE, called: national}}"
    )
    way = one.way("+4930123456")
    assert way is not None
    assert {str(uri) for uri in way.uris.values()} == {
        "sip:030123456@192.0.2.1",
        "sip:030123456@192.0.2.2;transport=tcp",
    }
    own = one.way(None)
    assert own is not None
    assert {str(uri) for uri in own.uris.values()} == {"sip:queue@192.0.2.1", "sip:192.0.2.2;transport=tcp"}


@pytest.mark.parametrize(
    ("srtp", "encrypted", "hops"), [("prefer", True, 1), ("require", True, 2), ("never", False, 2)]
)
def test_keys_meant_for_tls_do_not_go_on_over_udp(srtp: str, encrypted: bool, hops: int) -> None:
    targets = "[{uri: 'sip:192.0.2.1;transport=tls', order: 1}, {uri: 'sip:192.0.2.2', order: 2}]"
    way = line(f"{{targets: {targets}, srtp: {srtp}}}").way("1")
    assert way is not None
    assert (way.encrypted, len(way.hops)) == (encrypted, hops)
    assert way.hops[0].transport == "tls"
