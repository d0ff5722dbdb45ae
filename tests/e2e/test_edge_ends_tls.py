"""Two daemons of which the Edge ends the pages' TLS: what visitors get with and without a Core, and what SIGHUP changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_cli import mediaserver
from tests.e2e.house import ENTRY
from tests.e2e.zone import LinkFiles, link_files
from tests.peers.certificates import Certificates, write_certificates
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import LOOPBACK

NAME = "video.bank.example"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIED = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 10, 0, 0, 1]) + b"\x12\x67\x01\xbb"
"""A proxy says: 203.0.113.9, port 4711."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the Edge is, and both ends' certificates."""

    port: int
    link: int
    inside: LinkFiles
    outside: LinkFiles

    def edge(self, page: Certificates, *, proxies: list[str] | None = None) -> Mapping[str, Any]:
        return {
            "role": "edge",
            "listeners": {"shared_tls": {"bind": [f"127.0.0.1:{self.port}"], "names": [NAME]}},
            "edge": {
                "tls": "terminate",
                "certificate": {"chain_file": str(page.chain), "key_file": str(page.key)},
                "trusted_proxies": proxies or [],
            },
            "link": {
                "name": self.outside.name,
                "certificate": self.outside.section,
                "listen": f"127.0.0.1:{self.link}",
                "cores": {"inside": {"name": self.inside.name, "certificate_file": str(self.inside.chain)}},
            },
            "drain": {"retry_after": "7s"},
        }

    def core(self) -> Mapping[str, Any]:
        return {
            **ENTRY,
            "role": "core",
            "link": {
                "name": self.inside.name,
                "certificate": self.inside.section,
                "edges": {
                    "dmz": {
                        "address": f"127.0.0.1:{self.link}",
                        "name": self.outside.name,
                        "certificate_file": str(self.outside.chain),
                        "tls": "terminate",
                    }
                },
            },
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        LOOPBACK.free_port(),
        LOOPBACK.free_port(),
        link_files(tmp_path, "core.bank.example"),
        link_files(tmp_path, "edge.bank.example"),
    )


@contextlib.asynccontextmanager
async def both(
    place: Place, folder: Path, page: Certificates, proxies: list[str] | None = None
) -> AsyncIterator[tuple[Daemon, Daemon]]:
    async with (
        daemon(folder / "core", changes=place.core()) as core,
        daemon(folder / "edge", changes=place.edge(page, proxies=proxies)) as edge,
    ):
        yield core, edge


async def asked(place: Place, page: Certificates, path: str, *, before: bytes = b"") -> str:
    """A visitor's request: what comes back, head and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    try:
        writer.write(before)
        await writer.start_tls(ssl.create_default_context(cafile=str(page.ca)), server_hostname=NAME)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(40):
            return (await reader.read()).decode(errors="replace")
    finally:
        writer.close()


@pytest.mark.e2e
async def test_pages_come_from_the_core_and_without_it_a_visitor_hears_when_to_come_back(
    place: Place, tmp_path: Path
) -> None:
    page = write_certificates(tmp_path / "page", NAME)
    async with both(place, tmp_path, page) as (core, edge):
        answer = await asked(place, page, "/call/demo")
        assert answer.startswith("HTTP/1.1 200 ")
        assert "Strict-Transport-Security: " in answer, "who speaks TLS is told to go on with it"
        for running, said in ((edge, f"TLS of {NAME} ends at this Edge"), (core, "Edge dmz may end the TLS")):
            status = await asyncio.to_thread(mediaserver, "status", "--config", running.config_path)
            assert said in status.stdout, status.stdout + status.stderr
        assert await core.process.stop(grace_s=40) == 0
        answer = await asked(place, page, "/call/demo")
        assert answer.startswith("HTTP/1.1 503 ")
        assert "\r\nRetry-After: 7\r\n" in answer


@pytest.mark.e2e
async def test_sighup_takes_over_certificates_and_proxies_and_refuses_what_would_change_whom_cores_trust(
    place: Place, tmp_path: Path
) -> None:
    first, second = (write_certificates(tmp_path / name, NAME) for name in ("first", "second"))
    other = write_certificates(tmp_path / "other", "other.bank.example")
    async with both(place, tmp_path, first) as (core, edge):
        assert (await asked(place, first, "/healthz")).startswith("HTTP/1.1 200 ")
        await reloaded(edge, place.edge(second, proxies=["127.0.0.0/8"]), r'"event": "reloaded"')
        with pytest.raises(ssl.SSLError):
            await asked(place, first, "/healthz", before=PROXIED)
        assert (await asked(place, second, "/call/demo", before=PROXIED)).startswith("HTTP/1.1 200 ")
        await core.process.wait_for_log(r'"203\.0\.113\.9"')
        edge.expected_errors.append("reload_refused")
        await reloaded(edge, place.edge(other), r'"event": "reload_refused"')
        assert "change only at a restart" in edge.log()
        assert (await asked(place, second, "/call/demo", before=PROXIED)).startswith("HTTP/1.1 200 ")


async def reloaded(edge: Daemon, changes: Mapping[str, Any], said: str) -> None:
    config = yaml.safe_load(edge.config_path.read_text())
    edge.config_path.write_text(yaml.safe_dump({**config, "edge": changes["edge"]}))
    os.kill(edge.pid, signal.SIGHUP)
    await edge.process.wait_for_log(said)
