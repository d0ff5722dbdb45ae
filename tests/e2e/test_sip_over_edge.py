"""Trunks and phones in the internet and a phone inside, with an Edge in the zone between: signalling by TLS, media by
SRTP with keys of either kind, or plain where the configuration lets the Edge hear them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from mediaserver.sip.certificates.verdict import fingerprint
from tests.e2e.house import metric_becomes, phone, phone_sees_and_hears
from tests.e2e.zone import House, house
from tests.peers.baresip import PCMU, Baresip, Phone, baresip
from tests.peers.certificates import Certificates, write_certificates
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, ROOT, Daemon
from tests.peers.firewall import Openings
from tests.peers.namespace import Namespace, ip
from tests.peers.sandwich import VISITOR, Sandwich, sandwich
from tests.peers.wire_capture import captured
from tests.sip.certificate_authority import Authority, Issued

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]

PUBLIC = "198.51.100.2"
SIP_TLS = 5061
TRUNK_PORT = 15_060
PORTS = "20000-20099"
OPEN = Openings(udp=(3478, PORTS), tcp=(443, SIP_TLS))
EDGE = {"sip_tls": SIP_TLS, "sip_media_ports": PORTS, "dial_trunks": True}
OLD_CARRIER = "203.0.113.11"
"""A trunk that has no SRTP."""
DESK = "desk-17.bank.example"
PAIRS = 'mediaserver_engine_edge_port_pairs{shard="edge0"}'
ASSOCIATIONS = 'mediaserver_engine_transports_connected_total{srtp_profile="AEAD_AES_256_GCM"}'


@dataclass(frozen=True, slots=True)
class Scene:
    """The house, a phone inside that is registered, and whoever is in the internet, by address."""

    rig: Sandwich
    made: House
    agent: Baresip
    ours: Certificates
    """What the house shows to phones and trunks."""
    theirs: Certificates
    """What trunks show."""
    old_carrier: Namespace
    device: Issued

    def phone(self, **more: Any) -> Phone:
        """A phone or a trunk in the internet that signals over TLS."""
        return Phone(**{"transport": "tls", "audio": (PCMU,), "video": ("H264",), "ca_file": self.ours.ca, **more})

    def trunk(self, encryption: str) -> Phone:
        """The program that is a trunk; its keys of SRTP, if any, are in its signalling."""
        return self.phone(user="carrier", encryption=encryption, certificate=self.theirs.both, tone_hz=620)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("zone")
    ours = write_certificates(directory / "sip", PUBLIC, "sip.bank.example")
    theirs = write_certificates(directory / "trunk", VISITOR, OLD_CARRIER)
    authority = Authority(now=datetime.now(UTC))
    secret, trusted = directory / "remote.secret", directory / "clients.pem"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    trusted.write_bytes(authority.pem() + theirs.ca.read_bytes())
    # baresip takes TLS at the port behind the one that it is told.
    trunk = {"edge": True, "keep_alive": {"interval": "0s"}}
    changes = {
        "users": {
            "agent": {"certificate_names": [DESK]},
            "remote": {"secret": {"file": str(secret)}, "srtp": "require", "srtp_keys": "dtls"},
        },
        "trunks": {
            "carrier": {**trunk, "peers": [f"{VISITOR}/32"], "target": f"sip:{VISITOR}:{TRUNK_PORT + 1}"},
            "old": {
                **trunk,
                "peers": [f"{OLD_CARRIER}/32"],
                "target": f"sip:{OLD_CARRIER}:{TRUNK_PORT + 1}",
                "srtp": "never",
                "allow_plain": True,
            },
        },
        "routes": [
            {"match": {"trunk": "carrier"}, "to": {"user": "agent"}},
            {"match": {"trunk": "old"}, "to": {"user": "agent"}},
            {"match": {"called": "agent"}, "to": {"user": "agent"}},
            {"to": {"trunk": "carrier"}},
        ],
    }
    sip = {
        "certificate": {"chain_file": str(ours.chain), "key_file": str(ours.key)},
        "client_ca_file": str(trusted),
    }
    async with (
        sandwich(admitted=OPEN, edges_may_call_out=True) as rig,
        house(
            rig,
            directory,
            changes=changes,
            sip=sip,
            edge_section=EDGE,
            environment={"SSL_CERT_FILE": str(theirs.ca)},
        ) as made,
        baresip(phone(made.core, "udp", ""), directory, network=rig.inside) as agent,
    ):
        await ip("-n", rig.internet.name, "addr", "add", f"{OLD_CARRIER}/24", "dev", "wan")
        await agent.wait_registered()
        old = Namespace(rig.internet.name, OLD_CARRIER, None)
        yield Scene(rig, made, agent, ours, theirs, old, authority.issue(x509.DNSName(DESK)))


async def ends(scene: Scene, other: Baresip) -> None:
    """The agent hangs up, and the Edge takes the ports back."""
    await scene.agent.hangup()
    await other.wait_closed()
    await metric_becomes(scene.made.edge, PAIRS, 0)


async def both_see_and_hear(scene: Scene, other: Baresip) -> None:
    await scene.agent.wait_established()
    await asyncio.gather(*(phone_sees_and_hears(each, seconds=3) for each in (scene.agent, other)))
    # Sound and picture have a pair of ports each.
    assert (await scene.made.edge.metrics())[PAIRS] == 2


@asynccontextmanager
async def connecting_from(place: Namespace) -> AsyncIterator[None]:
    """baresip leaves the address of its connections to the kernel: it is this one of several."""
    route = ("-n", place.name, "route", "replace", "default", "via", "203.0.113.1", "src")
    await ip(*route, place.address)
    try:
        yield
    finally:
        await ip(*route, VISITOR)


async def test_a_trunk_in_the_internet_calls_a_phone_inside(scene: Scene, tmp_path: Path) -> None:
    async with baresip(scene.trunk("srtp-mand"), tmp_path, network=scene.rig.internet) as carrier:
        await carrier.dial(f"sip:agent@{PUBLIC}:{SIP_TLS};transport=tls")
        await both_see_and_hear(scene, carrier)
        assert (await carrier.audio_stats()).secure
        await ends(scene, carrier)


async def test_a_phone_inside_calls_a_trunk_in_the_internet(scene: Scene, tmp_path: Path) -> None:
    there = scene.rig.internet
    async with baresip(scene.trunk("srtp-mand"), tmp_path, network=there, sip_port=TRUNK_PORT) as carrier:
        await scene.agent.dial(f"sip:carrier@{scene.made.core.sip_server('udp')}")
        await carrier.wait_established()
        await both_see_and_hear(scene, carrier)
        assert (await scene.made.edge.metrics())['mediaserver_edge_dialled_total{result="opened"}'] == 1
        await ends(scene, carrier)


async def test_a_trunk_that_has_no_srtp_is_let_in_and_shown_as_one_that_the_edge_can_hear(
    scene: Scene, tmp_path: Path
) -> None:
    with captured([(scene.rig.edges[0], "outer")]) as (wire,):
        async with (
            connecting_from(scene.old_carrier),
            baresip(scene.trunk(""), tmp_path, network=scene.old_carrier) as carrier,
        ):
            await carrier.dial(f"sip:agent@{PUBLIC}:{SIP_TLS};transport=tls")
            await both_see_and_hear(scene, carrier)
            assert not (await carrier.audio_stats()).secure
            await ends(scene, carrier)
    # 20 ms of PCMU behind a header of RTP: nothing is added that would authenticate it. On the wire of a busy machine are
    # several in one, of which a network card would make packets (GSO).
    sizes = [len(payload) for _, _, payload in wire.datagrams() if len(payload) > 12 and payload[1] & 0x7F == 0]
    assert sizes
    assert {size % 172 for size in sizes} == {0}
    assert "An Edge can hear the media of: old (allow_plain)" in await status(scene)


async def test_a_phone_in_the_internet_agrees_on_its_keys_by_dtls_through_the_edge(
    scene: Scene, tmp_path: Path
) -> None:
    desk = scene.phone(
        user="remote",
        domain=f"{PUBLIC}:{SIP_TLS}",
        password=AGENT_PASSWORD,
        register=True,
        encryption="dtls_srtp",
        tone_hz=620,
    )
    before = (await scene.made.core.metrics()).get(ASSOCIATIONS, 0)
    async with baresip(desk, tmp_path, network=scene.rig.internet) as remote:
        await remote.wait_registered()
        await remote.dial(f"sip:agent@{PUBLIC}:{SIP_TLS};transport=tls")
        await both_see_and_hear(scene, remote)
        assert (await remote.audio_stats()).secure
        # Sound and picture have an association each, and both end in the Core.
        await metric_becomes(scene.made.core, ASSOCIATIONS, before + 2)
        await ends(scene, remote)


async def test_a_device_registers_by_its_certificate_until_it_is_revoked(scene: Scene, tmp_path: Path) -> None:
    shown = tmp_path / "device.pem"
    shown.write_bytes(scene.device.both())
    desk = scene.phone(
        user="agent", domain=f"{PUBLIC}:{SIP_TLS}", register=True, encryption="srtp-mand", certificate=shown
    )
    core = scene.made.core
    async with baresip(desk, tmp_path, network=scene.rig.internet) as phone_outside:
        await phone_outside.wait_registered()
        # The phone of another test is away as soon as the end of its connection has come here.
        async with asyncio.timeout(30):
            while len(over_tls := [each for each in await registrations(core) if each["transport"] == "tls"]) != 1:
                await asyncio.sleep(0.1)
        (found,) = over_tls
        assert found["source"].rpartition(":")[0] == VISITOR
        assert found["certificate"] == fingerprint(scene.device.der)
        status, text = await core.request(
            "POST",
            f"{core.admin_url}/v1/revoked-certificates",
            body=json.dumps({"fingerprint": found["certificate"]}),
            token=ADMIN_TOKEN,
        )
        assert status == 201, text
        await metric_becomes(core, 'mediaserver_sip_connections_closed_total{reason="certificate"}', 1)
        async with asyncio.timeout(30):
            while any(each["transport"] == "tls" for each in await registrations(core)):
                await asyncio.sleep(0.1)


async def status(scene: Scene) -> str:
    """What `mediaserver status` prints where the Core is."""
    process = await asyncio.create_subprocess_exec(
        *scene.rig.inside.exec_prefix,
        sys.executable,
        *("-m", "mediaserver", "status", "--config", str(scene.made.core.config_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()


async def registrations(core: Daemon) -> list[dict[str, Any]]:
    """Devices that are registered now."""
    status, text = await core.request("GET", f"{core.admin_url}/v1/registrations", token=ADMIN_TOKEN)
    assert status == 200, text
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items
