"""Named users of an open relay change while it runs; what they have ends by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mediaserver.daemon.finding import Way
from mediaserver.daemon.turn_probe import take_and_give_back
from mediaserver.edge.credentials import TurnCredentials
from mediaserver.engine import commands
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import OpenRelay, TurnConfig
from mediaserver.engine.engine import Engine
from tests.engine.conftest import running
from tests.engine.phones import LOOPBACK, until
from tests.peers.namespace import LOOPBACK as HOST

ANN, BOB = TurnCredentials("ann", "correct horse"), TurnCredentials("bob", "battery staple")


@pytest.fixture
def port() -> int:
    return HOST.free_port()


@pytest.fixture
async def relay(dtls_certificate: DtlsCertificate, port: int) -> AsyncIterator[Engine]:
    first = HOST.free_port(count=8)
    turn = TurnConfig(
        binds=(f"{LOOPBACK}:{port}",),
        tcp_binds=(f"{LOOPBACK}:{port}",),
        realm="mediaserver",
        users=((ANN.username, ANN.password),),
        allocations=50,
        allocations_per_user=10,
        answers_per_second=1_000,
        open=OpenRelay(addresses=((LOOPBACK, LOOPBACK),), ports=(first, first + 7)),
    )
    async with running(dtls_certificate, shards=1, turn=turn) as started:
        yield started


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_who_is_named_is_taken_and_who_is_not_is_refused(relay: Engine, port: int, protocol: str) -> None:
    way = Way("udp" if protocol == "udp" else "tcp", LOOPBACK, port)

    async def codes(*users: TurnCredentials) -> list[int]:
        return [(await take_and_give_back(way, user)).code for user in users]

    other = TurnCredentials("ann", "another one")
    assert await codes(ANN, other, BOB) == [0, 401, 401]
    await relay.request(commands.SetTurnUsers(id=0, users=(("ann", "another one"), (BOB.username, BOB.password))))
    assert await codes(ANN, other, BOB) == [401, 0, 0]
    await relay.request(commands.SetTurnUsers(id=0, users=()))
    assert await codes(ANN, other, BOB) == [401, 401, 401]
    await until(lambda: relay.counters().get("drop.turn.unknown_user", 0) == 4, what="four strangers", timeout_s=5)
    assert relay.counters()["drop.turn.bad_integrity"] == 2
