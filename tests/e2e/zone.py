"""A house with Edges in the zone and Cores inside, each a daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.engine import certificate
from tests.e2e.house import ENTRY
from tests.peers.certificates import Certificates, write_certificates
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import Namespace
from tests.peers.process import PeerError
from tests.peers.sandwich import EdgePlace, Sandwich

NAME = "video.bank.example"
"""The page's name, which leads to the Edge."""
PAGE = f"https://{NAME}/call/demo"
TURN_NAME = "turn.bank.example"
"""What visitors are told who need TURN over TLS."""
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
    edges: Sequence[Daemon]
    cores: Sequence[Daemon]
    turn: Certificates
    """What visitors of the TURN server see over TLS."""

    @property
    def edge(self) -> Daemon:
        """The first one."""
        return self.edges[0]

    @property
    def core(self) -> Daemon:
        """The first one."""
        return self.cores[0]


def edge_name(number: int) -> str:
    """The name of an Edge of several, by which pages reach it alone."""
    return f"edge{number}.{NAME}"


def names(edges: int) -> dict[str, str]:
    """Addresses by name, for a zone with so many Edges; the page's own name leads to the first."""
    found = {edge_name(number): f"198.51.100.{4 * number + 2}" for number in range(edges)}
    return {NAME: "198.51.100.2", **found}


def kill(one: Daemon) -> None:
    """As by `kill -9`."""
    os.kill(one.pid, signal.SIGKILL)


@asynccontextmanager
async def house(
    rig: Sandwich,
    directory: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    cores: int = 1,
    turn: bool = False,
    sip: Mapping[str, Any] | None = None,
    edge_section: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[House]:
    """Start the Cores, then an Edge in every place of the zone; all are ready when the Edges have been found.

    `changes` are those of every Core's configuration, `sip` its listener for that, `environment` its own; `edge_section` is
    what Edges have for phones and trunks. With ``turn`` the Edges serve it on the ports that they have anyway.
    What a test kills is not expected to end well."""
    edge_files = [
        link_files(directory, f"edge{number}.bank.example" if number else "edge.bank.example")
        for number in range(len(rig.edges))
    ]
    core_files = [
        link_files(directory, f"core{number}.bank.example" if number else "core.bank.example")
        for number in range(cores)
    ]
    page = write_certificates(directory / "page", NAME, *(edge_name(number) for number in range(len(rig.edges))))
    relay = write_certificates(directory / "turn", TURN_NAME)
    async with AsyncExitStack() as stack:
        started_cores = []
        for number, own in enumerate(core_files):
            settings = {**_core(rig, own, edge_files, page, number), **(changes or {})}
            if sip is not None:
                settings["listeners"] = {**settings["listeners"], "sip": sip}
            folder = directory / (f"core{number}" if number else "core")
            started_cores.append(await stack.enter_async_context(_member(folder, settings, rig.inside, environment)))
        started_edges = []
        for number, (place, own) in enumerate(zip(rig.edges, edge_files, strict=True)):
            folder = directory / (f"edge{number}" if number else "edge")
            settings = _edge(place, own, core_files, number, relay=relay, turn=turn)
            if edge_section is not None:
                settings["edge"] = edge_section
            started_edges.append(await stack.enter_async_context(_member(folder, settings, place)))
        yield House(rig, started_edges, started_cores, relay)


@asynccontextmanager
async def _member(
    directory: Path, changes: Mapping[str, Any], network: Namespace, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Daemon]:
    running = daemon(directory, changes=changes, network=network, environment=environment)
    one = await running.__aenter__()
    try:
        yield one
    except BaseException as error:
        await running.__aexit__(type(error), error, error.__traceback__)
        raise
    try:
        await running.__aexit__(None, None, None)
    except PeerError:
        if one.process.returncode != -signal.SIGKILL:
            raise


def _core(rig: Sandwich, own: LinkFiles, edges: Sequence[LinkFiles], page: Certificates, number: int) -> dict[str, Any]:
    several = len(edges) > 1
    return {
        **ENTRY,
        "role": "core",
        "listeners": {"https": {"certificate": {"chain_file": str(page.chain), "key_file": str(page.key)}}},
        "entries": {"demo": {**ENTRY["entries"]["demo"], "title": f"Core {number}"}},
        **({"web": {"origin": f"https://{NAME}"}} if several else {}),
        "link": {
            "name": own.name,
            "certificate": own.section,
            "core_id": number,
            "edges": {
                f"dmz{at}" if at else "dmz": {
                    "address": f"{place.inner}:{LINK_PORT}",
                    "name": edge.name,
                    "certificate_file": str(edge.chain),
                    **({"origin": f"https://{edge_name(at)}"} if several else {}),
                }
                for at, (place, edge) in enumerate(zip(rig.edges, edges, strict=True))
            },
        },
    }


def _edge(
    place: EdgePlace, own: LinkFiles, cores: Sequence[LinkFiles], number: int, *, relay: Certificates, turn: bool
) -> dict[str, Any]:
    return {
        "role": "edge",
        "networks": {"main": {"addresses": [{"bind": place.address, "announced": place.public}]}},
        "listeners": {
            "webrtc": {"port": MEDIA_PORT},
            "turn": {"port": MEDIA_PORT if turn else None},
            "shared_tls": {
                "bind": [f"{place.address}:443"],
                "names": [NAME, edge_name(number)],
                "turn_name": TURN_NAME,
                "certificate": {"chain_file": str(relay.chain), "key_file": str(relay.key)},
            },
        },
        "link": {
            "name": own.name,
            "certificate": own.section,
            "listen": f"{place.inner}:{LINK_PORT}",
            "cores": {
                f"inside{at}" if at else "inside": {"id": at, "name": core.name, "certificate_file": str(core.chain)}
                for at, core in enumerate(cores)
            },
        },
    }
