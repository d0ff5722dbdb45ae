"""Locating servers (RFC 3263) against a name server on loopback; the order of RFC 2782; what is kept, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from mediaserver.sip.dns_cache import FAILURE_S, DnsCache
from mediaserver.sip.dns_client import DnsClient
from mediaserver.sip.flow import Target, Transport
from mediaserver.sip.resolver import MAX_TARGETS, Resolver
from mediaserver.sip.service_records import Naptr, Srv, chosen_services, ordered_srv
from mediaserver.sip.uri import parse_sip_uri
from tests.peers.dns_server import DnsServer, dns_server
from tests.sip.conftest import Counts

TABLE: dict[tuple[str, str], list[str]] = {
    ("full.test", "NAPTR"): [
        '20 10 "s" "SIP+D2U" "" _sip._udp.full.test.',
        '10 20 "s" "SIP+D2T" "" _sip._tcp.full.test.',
        '10 10 "s" "SIPS+D2T" "" _sips._tcp.full.test.',
        '1 1 "u" "E2U+sip" "!^.*$!sip:x@y!" .',
    ],
    ("_sips._tcp.full.test", "SRV"): ["10 0 5061 one.test."],
    ("_sip._tcp.full.test", "SRV"): ["10 0 5070 one.test.", "20 0 5071 two.test."],
    ("_sip._udp.full.test", "SRV"): ["10 0 5080 two.test."],
    ("one.test", "A"): ["192.0.2.1"],
    ("one.test", "AAAA"): ["2001:db8::1"],
    ("two.test", "A"): ["192.0.2.2"],
    ("srv-only.test", "A"): ["192.0.2.9"],
    ("_sip._tcp.srv-only.test", "SRV"): ["10 0 5075 two.test."],
    ("_sip._udp.gone.test", "SRV"): ["0 0 0 ."],
    ("gone.test", "A"): ["192.0.2.8"],
    ("plain.test", "CNAME"): ["one.test."],
    ("plain.test", "A"): [],
    ("many.test", "A"): [f"192.0.2.{number}" for number in range(1, 30)],
}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class House:
    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.clock = Clock()
        self.counts = Counts()
        self.dns = DnsClient(servers=[server.address], timeout_s=0.3, counters=self.counts, now=self.clock)

    async def targets(self, uri: str, *transports: Transport) -> list[Target]:
        known: frozenset[Transport] = frozenset(transports or ("udp", "tcp", "tls"))
        return await Resolver(dns=self.dns, transports=known).resolve(parse_sip_uri(uri))

    def questions(self) -> set[tuple[str, str]]:
        return set(self.server.asked)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with dns_server(TABLE) as server:
        yield House(server)


async def test_naptr_chooses_transports_and_srv_the_hosts(house: House) -> None:
    assert await house.targets("sip:a@full.test") == [
        Target("tls", "192.0.2.1", 5061, "full.test"),
        Target("tls", "2001:db8::1", 5061, "full.test"),
        Target("tcp", "192.0.2.1", 5070, "full.test"),
        Target("tcp", "2001:db8::1", 5070, "full.test"),
        Target("tcp", "192.0.2.2", 5071, "full.test"),
        Target("udp", "192.0.2.2", 5080, "full.test"),
    ]


async def test_transports_that_we_have_not_are_left_out(house: House) -> None:
    assert {target.transport for target in await house.targets("sip:a@full.test", "udp")} == {"udp"}


async def test_sips_takes_tls_alone(house: House) -> None:
    assert {target.transport for target in await house.targets("sips:a@full.test")} == {"tls"}


async def test_a_transport_in_the_uri_asks_no_naptr(house: House) -> None:
    found = await house.targets("sip:a@full.test;transport=tcp")
    assert {(target.transport, target.port) for target in found} == {("tcp", 5070), ("tcp", 5071)}
    assert ("full.test", "NAPTR") not in house.questions()


async def test_a_port_in_the_uri_asks_for_addresses_alone(house: House) -> None:
    found = await house.targets("sip:a@one.test:5090")
    assert [(target.transport, target.host, target.port) for target in found] == [
        ("udp", "192.0.2.1", 5090),
        ("udp", "2001:db8::1", 5090),
    ]
    assert {kind for _, kind in house.questions()} == {"A", "AAAA"}


async def test_without_naptr_the_first_srv_that_exists_decides(house: House) -> None:
    found = await house.targets("sip:a@srv-only.test")
    assert found == [Target("tcp", "192.0.2.2", 5075, "srv-only.test")]


async def test_without_srv_the_name_itself_is_asked(house: House) -> None:
    assert [target.host for target in await house.targets("sip:a@two.test")] == ["192.0.2.2"]


async def test_an_srv_of_a_dot_says_no_and_the_address_is_left(house: House) -> None:
    assert await house.targets("sip:a@gone.test") == [Target("udp", "192.0.2.8", 5060, "gone.test")]


async def test_addresses_are_literal_and_ask_nothing(house: House) -> None:
    assert await house.targets("sip:a@[2001:db8::7]:5070") == [Target("udp", "2001:db8::7", 5070)]
    assert house.questions() == set()


async def test_unknown_names_lead_nowhere_and_are_bounded(house: House) -> None:
    assert await house.targets("sip:a@nowhere.test") == []
    assert await house.targets(f"sip:a@{'x' * 64}.test") == []
    assert len(await house.targets("sip:a@many.test:5060")) == MAX_TARGETS


async def test_answers_are_kept_for_their_ttl_and_negative_ones_for_the_soas(house: House) -> None:
    for moment, questions in ((0.0, 1), (299.0, 1), (301.0, 2)):
        house.clock.now = moment
        assert await house.dns.addresses("two.test") == ["192.0.2.2"]
        assert house.server.asked[("two.test", "A")] == questions
    house.clock.now = 1000.0
    for moment, questions in ((1000.0, 1), (1059.0, 1), (1061.0, 2)):
        house.clock.now = moment
        assert await house.dns.srv("nowhere.test") == []
        assert house.server.asked[("nowhere.test", "SRV")] == questions
    assert house.counts.table["sip.dns_queries.nothing"] >= 2


async def test_a_silent_server_leaves_what_was_known_and_is_not_pestered(house: House) -> None:
    await house.dns.addresses("one.test")
    house.server.silent = True
    house.clock.now = 400.0
    assert await house.dns.addresses("one.test") == ["192.0.2.1", "2001:db8::1"]
    asked = house.server.asked[("one.test", "A")]
    house.clock.now += FAILURE_S / 2
    assert await house.dns.addresses("one.test") == ["192.0.2.1", "2001:db8::1"]
    assert house.server.asked[("one.test", "A")] == asked
    assert house.counts.table["sip.dns_queries.failed"] == 2
    assert await house.dns.addresses("never-known.test") == []


async def test_many_who_ask_at_once_are_one_question(house: House) -> None:
    answers = await asyncio.gather(*(house.dns.addresses("two.test") for _ in range(20)))
    assert answers == [["192.0.2.2"]] * 20
    assert house.server.asked[("two.test", "A")] == 1


def test_the_cache_is_bounded_and_bounds_ttls() -> None:
    cache = DnsCache(capacity=3, longest_s=100.0)
    for number in range(5):
        cache.put((f"n{number}", "A"), ("192.0.2.1",), 1e9, 0.0)
    assert len(cache) == 3
    assert cache.fresh(("n0", "A"), 0.0) is None
    assert cache.fresh(("n4", "A"), 99.0) is not None
    assert cache.fresh(("n4", "A"), 100.0) is None


def test_weights_of_rfc_2782_are_kept_in_the_long_run() -> None:
    records = [Srv(10, 60, 1, "a"), Srv(10, 30, 2, "b"), Srv(10, 10, 3, "c"), Srv(10, 0, 4, "d"), Srv(5, 0, 5, "e")]
    chance = random.Random(1)
    firsts: Counter[str] = Counter()
    for _ in range(4000):
        order = ordered_srv(records, chance)
        assert order[0].host == "e"
        assert sorted(record.host for record in order) == ["a", "b", "c", "d", "e"]
        firsts[order[1].host] += 1
    assert 0.56 < firsts["a"] / 4000 < 0.64
    assert 0.26 < firsts["b"] / 4000 < 0.34
    assert 0 < firsts["d"] < 120


def test_naptr_records_of_other_kinds_are_left_out() -> None:
    records = [
        Naptr(1, 1, "a", "SIP+D2U", "x.test"),
        Naptr(2, 1, "S", "SIP+D2S", "x.test"),
        Naptr(3, 2, "S", "SIP+D2U", "_sip._udp.x.test"),
        Naptr(3, 1, "s", "SIP+D2T", "_sip._tcp.x.test"),
        Naptr(3, 1, "s", "SIP+D2T", "."),
    ]
    supported: frozenset[Transport] = frozenset({"udp", "tcp"})
    assert chosen_services(records, secure=False, supported=supported) == [
        ("tcp", "_sip._tcp.x.test"),
        ("udp", "_sip._udp.x.test"),
    ]
