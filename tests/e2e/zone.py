"""A house with an Edge in the zone and a Core inside, as two daemons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.engine import certificate
from tests.e2e.house import ENTRY
from tests.peers.certificates import write_certificates
from tests.peers.daemon import Daemon, daemon
from tests.peers.sandwich import Sandwich

NAME = "video.bank.example"
"""The page's name, which leads to the Edge."""
PAGE = f"https://{NAME}/call/demo"
LINK_PORT = 7443
MEDIA_PORT = 3478


@dataclass(frozen=True, slots=True)
class LinkFiles:
    """A certificate for the link and its key, PEM."""

    name: str
    chain: Path
    key: Path

    @property
    def section(self) -> dict[str, str]:
        """As the configuration names its own."""
        return {"chain_file": str(self.chain), "key_file": str(self.key)}


def link_files(directory: Path, name: str) -> LinkFiles:
    """Make a self-signed certificate for one end of the link."""
    made = certificate.generate(dns_name=name)
    files = LinkFiles(name, directory / f"{name}.pem", directory / f"{name}.key")
    files.key.touch(mode=0o600)
    key = serialization.load_der_private_key(made.private_key_der, password=None)
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    found = x509.load_der_x509_certificate(made.certificate_der)
    files.chain.write_bytes(found.public_bytes(serialization.Encoding.PEM))
    return files


@dataclass(frozen=True, slots=True)
class House:
    """Both daemons, and the zone between the firewalls."""

    rig: Sandwich
    edge: Daemon
    core: Daemon


@asynccontextmanager
async def house(
    rig: Sandwich,
    directory: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    sip: Mapping[str, Any] | None = None,
    edge_section: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[House]:
    """Start the Core, then the Edge; both are ready when the Core has found the Edge. `sip` is the Core's listener for
    it, `environment` the Core's own."""
    place = rig.edges[0]
    inside, outside = link_files(directory, "core.bank.example"), link_files(directory, "edge.bank.example")
    page = write_certificates(directory / "page", NAME)
    core = {
        **ENTRY,
        "role": "core",
        "listeners": {
            "https": {"certificate": {"chain_file": str(page.chain), "key_file": str(page.key)}},
            **({"sip": sip} if sip is not None else {}),
        },
        "link": {
            "name": inside.name,
            "certificate": inside.section,
            "edges": {
                "dmz": {
                    "address": f"{place.inner}:{LINK_PORT}",
                    "name": outside.name,
                    "certificate_file": str(outside.chain),
                }
            },
        },
        **(changes or {}),
    }
    edge = {
        "role": "edge",
        "networks": {"main": {"addresses": [{"bind": place.address, "announced": place.public}]}},
        "listeners": {
            "webrtc": {"port": MEDIA_PORT},
            "shared_tls": {"bind": [f"{place.address}:443"], "names": [NAME]},
        },
        **({"edge": edge_section} if edge_section is not None else {}),
        "link": {
            "name": outside.name,
            "certificate": outside.section,
            "listen": f"{place.inner}:{LINK_PORT}",
            "cores": {"inside": {"name": inside.name, "certificate_file": str(inside.chain)}},
        },
    }
    async with (
        daemon(directory / "core", changes=core, network=rig.inside, environment=environment) as core_daemon,
        daemon(directory / "edge", changes=edge, network=place) as edge_daemon,
    ):
        yield House(rig, edge_daemon, core_daemon)
