"""A house with an Edge that takes SIP, and a trunk in the internet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.house import phone
from tests.e2e.zone import House, house
from tests.peers.baresip import PCMU, Baresip, Phone, baresip
from tests.peers.certificates import Certificates, write_certificates
from tests.peers.daemon import ADMIN_TOKEN, Daemon
from tests.peers.firewall import Openings
from tests.peers.sandwich import VISITOR, Sandwich

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


async def registrations(core: Daemon) -> list[dict[str, Any]]:
    """Devices that are registered now."""
    status, text = await core.request("GET", f"{core.admin_url}/v1/registrations", token=ADMIN_TOKEN)
    assert status == 200, text
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items
