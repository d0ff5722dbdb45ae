"""coturn's clients against the open relay over TCP, and over TLS on the port that pages share."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.engine import certificate
from mediaserver.engine.config import EngineConfig, OpenRelay, SharedTls, TurnConfig
from mediaserver.engine.engine import Engine
from tests.peers.coturn import RelayedTraffic, echo_peer, relayed_traffic
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]

HOST = "127.0.0.1"
MESSAGES = 100
DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class Relay:
    engine: Engine
    ports: dict[str, int]
    echo: int
    directory: Path

    async def traffic(self, transport: str, *arguments: str) -> RelayedTraffic:
        """Two clients that each send a hundred messages and wait for them to come back."""
        client = ["-p", str(self.ports[transport]), "-m", "2", "-n", str(MESSAGES), "-z", "5", "-c"]
        user = ["-u", "relay-user", "-w", "relay-password"]
        stream = {"tcp": ["-t"], "tls": ["-t", "-S"]}[transport]
        peer = ["-e", HOST, "-r", str(self.echo), HOST]
        return await relayed_traffic(*client, *user, *stream, *arguments, *peer, directory=self.directory)

    async def settled(self, name: str, value: int) -> None:
        """Counters are published a few times a second."""
        async with asyncio.timeout(5):
            while self.engine.counters().get(name) != value:
                await asyncio.sleep(0.05)


def complete(traffic: RelayedTraffic, transport: str) -> None:
    """Over TLS coturn's client counts as one what it reads at once: answers that share a record look lost to it."""
    least = 2 * MESSAGES - (MESSAGES // 10 if transport == "tls" else 0)
    assert traffic.sent == 2 * MESSAGES, traffic.log
    assert least <= traffic.received <= 2 * MESSAGES, traffic.log


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    dtls = certificate.generate()
    first = LOOPBACK.free_port(3)
    ports = {"tcp": first, "tls": first + 1}
    shown = trustme.CA().issue_cert("turn.example.org")
    chain = [x509.load_pem_x509_certificate(pem.bytes()) for pem in shown.cert_chain_pems]
    key = serialization.load_pem_private_key(shown.private_key_pem.bytes(), password=None)
    engine = Engine(
        EngineConfig(
            certificate_der=dtls.certificate_der,
            private_key_der=dtls.private_key_der,
            ufrag_key=os.urandom(32),
            turn=TurnConfig(
                binds=(f"{HOST}:{first}",),
                tcp_binds=(f"{HOST}:{ports['tcp']}",),
                realm="mediaserver",
                users=(("relay-user", "relay-password"),),
                allocations=200,
                allocations_per_user=100,
                answers_per_second=10_000,
                open=OpenRelay(addresses=((HOST, HOST),), ports=(36_000, 36_999), allowed=("127.0.0.0/8",)),
            ),
            shared_tls=SharedTls(
                binds=(f"{HOST}:{ports['tls']}",),
                names=("calls.example.org",),
                certificate_chain=tuple(each.public_bytes(DER) for each in chain),
                private_key_der=key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            ),
        )
    )
    await engine.start()
    try:
        await engine.ping()
        async with echo_peer(HOST, first + 2, directory=tmp_path):
            yield Relay(engine, ports, first + 2, tmp_path)
    finally:
        await engine.stop()


@pytest.mark.parametrize("length", ["172", "1200", "3"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_channel_data_of_any_length_comes_back(relay: Relay, transport: str, length: str) -> None:
    traffic = await relay.traffic(transport, "-l", length)
    complete(traffic, transport)
    await relay.settled("streams.streams_open", 0)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_send_and_data_indications_come_back(relay: Relay, transport: str) -> None:
    traffic = await relay.traffic(transport, "-s", "-l", "999")
    complete(traffic, transport)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_tls_versions_that_a_client_may_have_are_taken(relay: Relay, version: ssl.TLSVersion) -> None:
    # RFC 9325 section 3.1.1: TLS 1.2 has to be there beside 1.3, and nothing older.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    reader, writer = await asyncio.open_connection(HOST, relay.ports["tls"], ssl=context)
    transaction = os.urandom(12)
    writer.write(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + transaction)
    answer = await asyncio.wait_for(reader.readexactly(20), 10)
    assert (answer[:2], answer[8:]) == (b"\x01\x01", transaction)
    writer.close()


async def test_older_tls_is_refused(relay: Relay) -> None:
    client = PeerProcess(
        "s_client",
        ["openssl", "s_client", "-connect", f"{HOST}:{relay.ports['tls']}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        directory=relay.directory,
    )
    async with client:
        await client.wait_for_log("alert (protocol version|handshake failure)", timeout_s=20.0)
