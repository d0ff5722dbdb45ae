"""Flows to registrars: one for each proxy where they are told apart, one alone where not; lost ones are formed anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from mediaserver.call.trunks import Trunks
from mediaserver.config.loader import load_text
from mediaserver.runtime.metrics import Metrics
from mediaserver.sip.flow import Flow, Target
from mediaserver.sip.kept_flows import Keeping, News
from mediaserver.sip.standalone import OutsideRequest, Standalone
from mediaserver.sip.uri import SipUri
from tests.call.test_trunks import until
from tests.sip.test_upstream import response

URN = "urn:uuid:00000000-0000-4000-8000-000000000001"
KNOWS: tuple[str, ...] = ("Require: outbound", "Flow-Timer: 40", "Expires: 600")

TEXT = """
trunks:
  t:
    target: sip:carrier.test
    credentials: {user: "4930", secret: {env: X}}
    registration: {expires: 10min, proxies: %s}
    keep_alive: {interval: 0s}
"""


class Edges:
    """Every host is an edge whose answers a test sets: (code, lines). It keeps what it was asked and which flows we keep."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.asked: list[tuple[str, OutsideRequest]] = []
        self.kept: dict[Flow, tuple[Keeping, Callable[[News], None]]] = {}
        self.named: dict[str, list[Target]] = {}
        """Names that lead to several hops; every other one leads to itself."""
        self._number = 0
        self._open: dict[Target, Flow] = {}

    async def request(self, request: OutsideRequest, *, targets: Sequence[Target] = ()) -> Standalone:
        await asyncio.sleep(0)
        hop = targets[0] if targets else (await self.locate(request.uri))[0]
        self.asked.append((hop.host, request))
        done = Standalone("c")
        code, lines = self.answers.get(hop.host, (200, KNOWS))
        if code == 408:
            done.failure = "timeout"
            return done
        done.response, done.destination, done.flow = response(code, *lines), hop, self._flow(hop)
        return done

    def _flow(self, hop: Target) -> Flow:
        if hop not in self._open:
            self._number += 1
            self._open[hop] = Flow("tcp", "192.0.2.1", 40000, hop.host, hop.port, self._number)
        return self._open[hop]

    def lose(self, host: str, news: News = "closed") -> None:
        """The connection to this edge is gone."""
        hop = next(hop for hop in self._open if hop.host == host)
        _, told = self.kept.pop(self._open.pop(hop))
        told(news)

    def prove(self) -> None:
        """Every flow's keep-alive is answered."""
        for _, told in list(self.kept.values()):
            told("alive")

    async def locate(self, uri: SipUri) -> list[Target]:
        return self.named.get(uri.host) or [Target("tcp", uri.host, uri.port or 5060)]

    def keep_flow(self, flow: Flow, keeping: Keeping, on_news: Callable[[News], None]) -> None:
        self.kept[flow] = keeping, on_news

    def release_flow(self, flow: Flow) -> None:
        self.kept.pop(flow, None)

    def learn_trunk(self, name: str, addresses: Iterable[str]) -> None:
        """Not asked here."""

    def hosts(self) -> list[str]:
        return [host for host, _ in self.asked]


class House:
    def __init__(self, proxies: str = "[]", **answers: tuple[int, tuple[str, ...]]) -> None:
        self.now = 1000.0
        self.edges = Edges()
        self.edges.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.trunks = Trunks(
            load_text(TEXT % proxies).config.trunks,
            realm="example.org",
            password_of=lambda name, trunk: "pw",
            metrics=Metrics(),
            now=lambda: self.now,
            instance=URN,
            spread=lambda: 1.0,
        )
        self.trunks.start(self.edges)

    def states(self) -> list[str]:
        return [flow.state for flow in self.trunks.status()[0].flows]


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., House]]:
    made: list[House] = []

    def house(*args: str, **answers: tuple[int, tuple[str, ...]]) -> House:
        made.append(House(*args, **answers))
        return made[-1]

    yield house
    for each in made:
        await each.trunks.stop()


TWO = "['sip:edge1.test', 'sip:edge2.test;lr']"
PLAIN = (200, ("Expires: 600",))


async def test_each_proxy_has_a_flow_of_its_own_under_one_instance(make: Callable[..., House]) -> None:
    house = make(TWO)
    await until(lambda: house.states() == ["registered", "registered"])
    asked = dict(house.edges.asked)
    assert [asked[host].contact_params for host in ("edge1.test", "edge2.test")] == [
        f';+sip.instance="<{URN}>";reg-id={number}' for number in (1, 2)
    ]
    assert [dict(asked[host].headers)["Route"] for host in ("edge1.test", "edge2.test")] == [
        "<sip:edge1.test;lr>",
        "<sip:edge2.test;lr>",
    ]
    assert len({request.call_id for request in asked.values()}) == 2
    assert {(kept.trunk, kept.outbound, kept.flow_timer_s) for kept, _ in house.edges.kept.values()} == {
        ("t", True, 40.0)
    }
    assert [str(request.uri) for request in asked.values()] == ["sip:carrier.test"] * 2


async def test_calls_go_over_the_flows_that_live(make: Callable[..., House]) -> None:
    house = make(TWO)
    await until(lambda: house.states() == ["registered", "registered"])
    line = house.trunks["t"]

    def hops() -> list[str]:
        way = line.way("+4930")
        assert way is not None
        return [hop.host for hop in way.hops]

    assert hops() == ["edge1.test", "edge2.test"]
    house.edges.answers["edge1.test"] = (408, ())
    house.edges.lose("edge1.test")
    assert hops() == ["edge2.test"]


async def test_calls_go_to_the_next_hop_of_a_proxys_name_where_the_one_that_we_are_registered_by_fails(
    make: Callable[..., House],
) -> None:
    house = make(TWO)
    hops = [Target("tcp", host, 5060, "edge1.test") for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")]
    house.edges.named["edge1.test"] = hops
    await until(lambda: house.states() == ["registered", "registered"])
    way = house.trunks["t"].way("4989")
    assert way is not None
    # Both flows first, as the registrar knows them; then what else the names lead to (RFC 3263 §4.3).
    assert [hop.host for hop in way.hops] == ["192.0.2.1", "edge2.test", "192.0.2.2", "192.0.2.3"]


async def test_where_a_proxys_name_leads_is_looked_up_with_each_refresh(make: Callable[..., House]) -> None:
    house = make("['sip:edge1.test']")
    await until(lambda: house.states() == ["registered"])
    moved = Target("tcp", "192.0.2.9", 5060, "edge1.test")
    house.edges.named["edge1.test"] = [moved]
    house.now += 301
    house.trunks._registrations["t"]._wake()
    await until(lambda: len(house.edges.asked) == 2)
    way = house.trunks["t"].way("4989")
    assert way is not None
    assert [hop.host for hop in way.hops] == ["edge1.test", "192.0.2.9"]


async def test_a_flow_to_a_target_comes_before_targets_without(make: Callable[..., House]) -> None:
    house = make()
    await until(lambda: house.states() == ["registered"])
    line = house.trunks["t"]
    other, flow = Target("tcp", "other.test", 5060), Target("tcp", "carrier.test", 5060)
    line.found(line.places[0], [other, flow])
    way = line.way("+4930")
    assert way is not None
    assert way.hops == [flow, other]
    house.edges.lose("carrier.test")
    way = line.way("+4930")
    assert way is not None
    assert way.hops == [other, flow]


async def test_a_proven_flow_that_is_lost_is_formed_anew_at_once_by_the_same_number(make: Callable[..., House]) -> None:
    house = make(TWO)
    await until(lambda: house.states() == ["registered", "registered"])
    house.edges.prove()
    house.edges.lose("edge2.test", "silent")
    assert house.states() == ["registered", "unregistered"]
    await until(lambda: house.states() == ["registered", "registered"])
    assert house.edges.hosts() == ["edge1.test", "edge2.test", "edge2.test"]
    again = house.edges.asked[-1][1]
    assert (again.contact_params[-8:], again.cseq) == ("reg-id=2", 3)


async def test_a_refresh_goes_over_its_flow_and_after_a_failure_by_dns(make: Callable[..., House]) -> None:
    house = make()
    await until(lambda: house.states() == ["registered"])
    (one,) = house.trunks["t"].upstream.flows  # type: ignore[union-attr]
    assert one.hop == Target("tcp", "carrier.test", 5060)
    house.edges.answers["carrier.test"] = (408, ())
    registration = house.trunks._registrations["t"]
    await registration._register(one)
    assert (one.hop, one.flow, house.edges.kept) == (None, None, {})
    assert house.states() == ["registered"]  # until its time is over


async def test_a_registrar_that_knows_no_flows_has_one_registration_and_the_other_proxy_when_the_first_fails(
    make: Callable[..., House],
) -> None:
    house = make(TWO, edge1_test=PLAIN, edge2_test=PLAIN)
    await until(lambda: house.states()[0] == "registered")
    for _ in range(20):
        await asyncio.sleep(0)
    assert house.edges.hosts() == ["edge1.test"]
    assert [kept.outbound for kept, _ in house.edges.kept.values()] == [False]
    house.edges.answers["edge1.test"] = (408, ())
    house.now += 40.0
    house.edges.lose("edge1.test")
    await until(lambda: house.states() == ["registered", "registered"])
    assert house.edges.hosts() == ["edge1.test", "edge1.test", "edge2.test"]


async def test_a_proxy_that_does_not_answer_does_not_hold_the_other_up(make: Callable[..., House]) -> None:
    house = make(TWO, edge1_test=(408, ()))
    await until(lambda: house.states() == ["unregistered", "registered"])
    status = house.trunks.status()[0]
    assert (status.registration, status.registration_code) == ("registered", 200)


async def test_every_flow_is_signed_off_and_let_go(make: Callable[..., House]) -> None:
    house = make(TWO)
    await until(lambda: house.states() == ["registered", "registered"])
    await house.trunks.stop()
    last = house.edges.asked[-2:]
    assert sorted((host, dict(request.headers)["Expires"]) for host, request in last) == [
        ("edge1.test", "0"),
        ("edge2.test", "0"),
    ]
    assert house.edges.kept == {}


async def test_outbound_can_be_left_out(make: Callable[..., House]) -> None:
    house = make("[], outbound: false")
    await until(lambda: house.states() == ["registered"])
    request = house.edges.asked[0][1]
    assert (request.contact_params, dict(request.headers)) == ("", {"Expires": "600"})
    assert [kept.outbound for kept, _ in house.edges.kept.values()] == [False]
