"""Bounds of an Edge change by a reload; who is beyond a new one stays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.config.reload import diff, taken_over
from mediaserver.daemon.edge_limits import connection_limits, limit_commands
from mediaserver.daemon.finding import Unanswered, Way
from mediaserver.daemon.turn_probe import challenge, take_and_give_back
from mediaserver.edge.credentials import CredentialMint
from mediaserver.engine import certificate, commands
from mediaserver.engine.config import ConnectionLimits, EngineConfig
from mediaserver.engine.engine import Engine
from tests.engine.edge_pair import LOOPBACK, SECRET, Pair, edge_and_core
from tests.engine.phones import until

MINT = CredentialMint(secret=SECRET, lifetime_s=600.0, clock=time.time)


def edge(limits: str = "{}", more: str = "") -> Config:
    return load_text(
        "role: edge\n"
        "networks: {main: {addresses: [{bind: 192.0.2.5}]}}\n"
        "listeners: {webrtc: {port: 3478}, turn: {port: 3478}}\n"
        f"limits: {limits}\n"
        f"link: {{cores: {{inside: {{name: core.example.org, certificate_file: core.pem}}}}{more}}}\n"
    ).config


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with edge_and_core(certificate.generate(), workers=2) as made:
        yield made


LIVE = (
    "turn_allocations: 10, turn_allocations_per_session: 3, turn_answers_per_source: 20/s, edge_paths: 100, "
    "edge_paths_per_source: 5, stream_connections: 50, stream_connections_per_source: 4"
)


def test_every_bound_of_the_engine_is_taken_over_and_others_are_named_for_a_restart() -> None:
    before, after = edge(), edge(f"{{{LIVE}, http_body: 1 KiB}}", ", workers: 4")
    changes = diff(before, after)
    assert {change.path[-1] for change in changes if change.needs_restart} == {"http_body", "workers"}
    merged = taken_over(before, after)
    assert merged.limits.edge_paths == 100
    assert (merged.limits.http_body, merged.link.workers) == (before.limits.http_body, 1)
    assert connection_limits(merged.limits) == ConnectionLimits(connections=50, waiting_per_prefix=4)


def test_a_daemon_that_is_no_edge_takes_its_bounds_at_a_start() -> None:
    before = load_text("role: all\n").config
    after = load_text("role: all\nlimits: {turn_allocations: 10}\n").config
    assert [change.needs_restart for change in diff(before, after)] == [True]


async def test_each_thread_is_told_its_bounds_and_takes_them(pair: Pair) -> None:
    told = list(limit_commands(edge(f"{{{LIVE}}}"), pair.edge))
    assert told == [
        commands.SetPathLimits(id=pair.edge.edge_id(0), paths=100, unproven_per_prefix=5),
        commands.SetPathLimits(id=pair.edge.edge_id(1), paths=100, unproven_per_prefix=5),
        commands.SetTurnLimits(id=0, allocations=10, allocations_per_user=3, answers_per_second=20),
        commands.SetConnectionLimits(id=0, connections=50, waiting_per_prefix=4),
    ]
    for command in told:
        await pair.edge.request(command)


async def test_an_engine_without_tcp_is_told_no_bounds_of_connections() -> None:
    dtls = certificate.generate()
    config = EngineConfig(
        certificate_der=dtls.certificate_der, private_key_der=dtls.private_key_der, ufrag_key=bytes(32)
    )
    engine = Engine(config)
    await engine.start()
    try:
        assert not list(limit_commands(edge(), engine))
    finally:
        await engine.stop()


async def test_allocations_go_by_the_new_bound(pair: Pair) -> None:
    way = Way("udp", LOOPBACK, pair.port)
    assert (await take_and_give_back(way, MINT.mint())).code == 0
    none = commands.SetTurnLimits(id=0, allocations=0, allocations_per_user=3, answers_per_second=20)
    await pair.edge.request(none)
    assert (await take_and_give_back(way, MINT.mint())).code == 508
    await pair.edge.request(commands.SetTurnLimits(id=0, allocations=1, allocations_per_user=1, answers_per_second=20))
    assert (await take_and_give_back(way, MINT.mint())).code == 0


async def test_connections_go_by_the_new_bound(pair: Pair) -> None:
    way = Way("tcp", LOOPBACK, pair.port)
    await challenge(way)
    await until(lambda: pair.edge.counters().get("streams_open", 0) == 0, what="no connection", timeout_s=5)
    await pair.edge.request(commands.SetConnectionLimits(id=0, connections=0, waiting_per_prefix=4))
    with pytest.raises(Unanswered) as error:
        await challenge(way)
    assert error.value.how == "closed"
    await until(lambda: pair.edge.counters().get("drop.stream_full", 0) == 1, what="the drop", timeout_s=5)
    await pair.edge.request(commands.SetConnectionLimits(id=0, connections=10, waiting_per_prefix=4))
    assert (await challenge(way)).is_challenge


async def test_secrets_that_rotate_are_taken_two_at_a_time(pair: Pair) -> None:
    way = Way("udp", LOOPBACK, pair.port)
    mints = [CredentialMint(secret=bytes([number]) * 32, lifetime_s=600.0, clock=time.time).mint for number in range(3)]
    pair.edge.submit(commands.SetTurnSecrets(id=0, secrets=(bytes([1]) * 32, bytes([0]) * 32)))
    assert [(await take_and_give_back(way, mint())).code for mint in mints] == [0, 0, 401]
    pair.edge.submit(commands.SetTurnSecrets(id=0, secrets=(bytes([2]) * 32, bytes([1]) * 32)))
    assert [(await take_and_give_back(way, mint())).code for mint in mints] == [401, 0, 0]
