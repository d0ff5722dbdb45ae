"""A trunk in the internet and a phone inside, with an Edge in the zone between: signalling by TLS, media by SRTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from mediaserver.sip.certificates.verdict import fingerprint
from tests.e2e.house import metric_becomes, phone, phone_sees_and_hears
from tests.e2e.zone import House, house
from tests.peers.baresip import PCMU, Baresip, Phone, baresip
from tests.peers.certificates import Certificates, write_certificates
from tests.peers.daemon import ADMIN_TOKEN, Daemon
from tests.peers.firewall import Openings
from tests.peers.sandwich import VISITOR, Sandwich, sandwich
from tests.sip.certificate_authority import Authority

PUBLIC = "198.51.100.2"
SIP_TLS = 5061
TRUNK_PORT = 15_060
PORTS = "20000-20099"
OPEN = Openings(udp=(3478, PORTS), tcp=(443, SIP_TLS))
EDGE = {"sip_tls": SIP_TLS, "sip_media_ports": PORTS, "dial_trunks": True}


@asynccontextmanager
async def between(rig: Sandwich, directory: Path) -> AsyncIterator[tuple[House, Baresip, Certificates]]:
    """The house, a phone inside that is registered, and what the trunk trusts and shows."""
    ours = write_certificates(directory / "sip", PUBLIC, "sip.bank.example")
    theirs = write_certificates(directory / "trunk", VISITOR)
    changes = {
        "trunks": {
            "carrier": {
                "peers": [f"{VISITOR}/32"],
                # baresip takes TLS at the port behind the one that it is told.
                "target": f"sip:{VISITOR}:{TRUNK_PORT + 1}",
                "edge": True,
                "keep_alive": {"interval": "0s"},
            }
        },
        "routes": [{"match": {"trunk": "carrier"}, "to": {"user": "agent"}}, {"to": {"trunk": "carrier"}}],
    }
    async with (
        house(
            rig,
            directory,
            changes=changes,
            sip={"certificate": {"chain_file": str(ours.chain), "key_file": str(ours.key)}},
            edge_section=EDGE,
            environment={"SSL_CERT_FILE": str(theirs.ca)},
        ) as made,
        baresip(phone(made.core, "udp", ""), directory, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        yield made, agent, Certificates(ours.ca, theirs.key, theirs.chain, theirs.both)


def trunk(files: Certificates) -> Phone:
    """The program that is the trunk; its keys of SRTP are in its signalling."""
    return Phone(
        user="carrier",
        transport="tls",
        audio=(PCMU,),
        video=("H264",),
        encryption="srtp-mand",
        certificate=files.both,
        ca_file=files.ca,
        tone_hz=620,
    )


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_trunk_in_the_internet_calls_a_phone_inside(tmp_path: Path) -> None:
    async with (
        sandwich(admitted=OPEN) as rig,
        between(rig, tmp_path) as (made, agent, files),
        baresip(trunk(files), tmp_path, network=rig.internet) as carrier,
    ):
        await carrier.dial(f"sip:agent@{PUBLIC}:{SIP_TLS};transport=tls")
        await carrier.wait_established()
        await agent.wait_established()
        await phone_sees_and_hears(agent, seconds=4)
        await phone_sees_and_hears(carrier, seconds=4)
        assert (await carrier.audio_stats()).secure
        edge = await made.edge.metrics()
        # Sound and picture have a pair of ports each.
        assert edge['mediaserver_engine_edge_port_pairs{shard="edge0"}'] == 2
        await agent.hangup()
        await carrier.wait_closed()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_inside_calls_a_trunk_in_the_internet(tmp_path: Path) -> None:
    async with (
        sandwich(admitted=OPEN, edges_may_call_out=True) as rig,
        between(rig, tmp_path) as (made, agent, files),
        baresip(trunk(files), tmp_path, network=rig.internet, sip_port=TRUNK_PORT) as carrier,
    ):
        await agent.dial(f"sip:carrier@{made.core.sip_server('udp')}")
        await carrier.wait_established()
        await agent.wait_established()
        await phone_sees_and_hears(carrier, seconds=4)
        await phone_sees_and_hears(agent, seconds=4)
        assert (await made.edge.metrics())['mediaserver_edge_dialled_total{result="opened"}'] == 1
        await carrier.hangup()
        await agent.wait_closed()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_device_registers_by_its_certificate_until_it_is_revoked(tmp_path: Path) -> None:
    authority = Authority(now=datetime.now(UTC))
    device = authority.issue(x509.DNSName("desk-17.bank.example"))
    shown, trusted = tmp_path / "device.pem", tmp_path / "devices.pem"
    shown.write_bytes(device.both())
    trusted.write_bytes(authority.pem())
    ours = write_certificates(tmp_path / "sip", PUBLIC)
    sip = {
        "certificate": {"chain_file": str(ours.chain), "key_file": str(ours.key)},
        "client_ca_file": str(trusted),
    }
    desk = Phone(
        user="agent",
        domain=f"{PUBLIC}:{SIP_TLS}",
        transport="tls",
        register=True,
        encryption="srtp-mand",
        certificate=shown,
        ca_file=ours.ca,
    )
    changes = {"users": {"agent": {"certificate_names": ["desk-17.bank.example"]}}}
    async with (
        sandwich(admitted=OPEN) as rig,
        house(rig, tmp_path, changes=changes, sip=sip, edge_section=EDGE) as made,
        baresip(desk, tmp_path, network=rig.internet) as phone_outside,
    ):
        await phone_outside.wait_registered()
        (found,) = await registrations(made.core)
        assert (found["source"].rpartition(":")[0], found["transport"]) == (VISITOR, "tls")
        assert found["certificate"] == fingerprint(device.der)
        status, text = await made.core.request(
            "POST",
            f"{made.core.admin_url}/v1/revoked-certificates",
            body=json.dumps({"fingerprint": found["certificate"]}),
            token=ADMIN_TOKEN,
        )
        assert status == 201, text
        await metric_becomes(made.core, 'mediaserver_sip_connections_closed_total{reason="certificate"}', 1)
        async with asyncio.timeout(30):
            while await registrations(made.core):
                await asyncio.sleep(0.1)


async def registrations(core: Daemon) -> list[dict[str, Any]]:
    """Devices that are registered now."""
    status, text = await core.request("GET", f"{core.admin_url}/v1/registrations", token=ADMIN_TOKEN)
    assert status == 200, text
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items
