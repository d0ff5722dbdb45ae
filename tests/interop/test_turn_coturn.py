"""coturn's clients against the relay in open mode: data by channel and by indication, over both families."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mediaserver.engine import certificate
from mediaserver.engine.config import EngineConfig, OpenRelay, TurnConfig
from mediaserver.engine.engine import Engine
from tests.peers.coturn import RelayedTraffic, echo_peer, mapped_address, relayed_traffic

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]

USER, PASSWORD = "relay-user", "relay-password"
SHARED_SECRET = "what-the-house-shares"
MESSAGES = 100
PACKET_INTERVAL = ("-z", "5")
"""Milliseconds between a client's messages."""


@dataclass(frozen=True, slots=True)
class Relay:
    engine: Engine
    host: str
    port: int
    echo: int
    directory: Path

    async def traffic(self, *arguments: str, clients: int = 2) -> RelayedTraffic:
        common = ["-p", str(self.port), "-m", str(clients), "-n", str(MESSAGES), *PACKET_INTERVAL]
        peer = ["-e", self.host, "-r", str(self.echo)]
        return await relayed_traffic(*common, *arguments, *peer, self.host, directory=self.directory)

    async def user_traffic(self, *arguments: str, clients: int = 2) -> RelayedTraffic:
        return await self.traffic("-u", USER, "-w", PASSWORD, *arguments, clients=clients)


def free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
async def relay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Relay]:
    """An open relay on loopback, and somebody who sends back what it gets."""
    host: str = request.param
    dtls = certificate.generate()
    port, echo = free_port(host), free_port(host)
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    engine = Engine(
        EngineConfig(
            certificate_der=dtls.certificate_der,
            private_key_der=dtls.private_key_der,
            ufrag_key=os.urandom(32),
            turn=TurnConfig(
                binds=(bind,),
                realm="mediaserver",
                secrets=(SHARED_SECRET.encode(),),
                users=((USER, PASSWORD),),
                allocations=200,
                allocations_per_user=100,
                answers_per_second=10_000,
                open=OpenRelay(addresses=((host, host),), ports=(33_000, 35_999), allowed=("127.0.0.0/8", "::1/128")),
            ),
        )
    )
    await engine.start()
    try:
        async with echo_peer(host, echo, directory=tmp_path):
            yield Relay(engine, host, port, echo, tmp_path)
    finally:
        await engine.stop()


def family(relay: Relay) -> tuple[str, ...]:
    return ("-x",) if ":" in relay.host else ()


@pytest.mark.smoke
async def test_channel_data_loses_nothing(relay: Relay) -> None:
    traffic = await relay.user_traffic("-c", "-l", "172", *family(relay))
    assert (traffic.sent, traffic.received, traffic.lost) == (2 * MESSAGES, 2 * MESSAGES, 0), traffic.log


@pytest.mark.e2e
@pytest.mark.parametrize("length", ["1200", "1", "3", "999"])
async def test_channel_data_of_any_length_loses_nothing(relay: Relay, length: str) -> None:
    traffic = await relay.user_traffic("-c", "-l", length, *family(relay))
    assert (traffic.sent, traffic.received, traffic.lost) == (2 * MESSAGES, 2 * MESSAGES, 0), traffic.log


@pytest.mark.e2e
@pytest.mark.parametrize("length", ["172", "1201"])
async def test_send_and_data_indications_lose_nothing(relay: Relay, length: str) -> None:
    traffic = await relay.user_traffic("-c", "-s", "-l", length, *family(relay))
    assert (traffic.sent, traffic.received, traffic.lost) == (2 * MESSAGES, 2 * MESSAGES, 0), traffic.log


@pytest.mark.e2e
# turnutils_uclient asks for IPv6 beside a token, which RFC 8656 §7.2 forbids.
@pytest.mark.parametrize("relay", ["127.0.0.1"], indirect=True)
async def test_an_even_port_and_the_one_kept_beside_it_carry_rtp_and_rtcp(relay: Relay) -> None:
    traffic = await relay.user_traffic("-l", "172")
    assert traffic.received == traffic.sent > 0, traffic.log
    assert traffic.lost == 0


@pytest.mark.e2e
async def test_clients_reach_each_other_through_the_relay(relay: Relay) -> None:
    traffic = await relay.user_traffic("-y", "-c", "-l", "172", *family(relay))
    assert traffic.received == traffic.sent > 0, traffic.log
    assert traffic.lost == 0


@pytest.mark.e2e
async def test_time_limited_credentials_are_those_that_coturns_clients_make(relay: Relay) -> None:
    traffic = await relay.traffic("-c", "-u", "visitor", "-W", SHARED_SECRET, "-l", "172", *family(relay))
    assert (traffic.received, traffic.lost) == (2 * MESSAGES, 0), traffic.log


@pytest.mark.e2e
async def test_twenty_clients_at_a_time_lose_nothing(relay: Relay) -> None:
    traffic = await relay.user_traffic("-c", "-l", "172", *family(relay), clients=20)
    assert (traffic.received, traffic.lost) == (20 * MESSAGES, 0), traffic.log


@pytest.mark.e2e
async def test_the_stun_client_is_told_its_address(relay: Relay) -> None:
    address = await mapped_address(relay.host, relay.port, directory=relay.directory)
    assert address.startswith((f"{relay.host}:", f"[{relay.host}]:"))
