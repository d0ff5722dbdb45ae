"""The media server itself as a process of its own: on free ports, with a configuration made for one test.

It must start, answer ``/readyz``, end with exit code 0 on SIGTERM, and have logged no error and no traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.peers.certificates import Certificates, write_certificates
from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerError, PeerProcess

ROOT = Path(__file__).resolve().parents[2]

SIP_MEDIA_PORTS = (18000, 21999)
"""Each daemon begins elsewhere in the lower half: one takes pairs in a row, and another beside it is not in their way."""

AGENT_PASSWORD = "correct-horse-battery"
ADMIN_TOKEN = "test-admin-token-that-is-long-enough"


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    https: int
    admin: int
    sip: int
    """UDP and TCP."""
    sip_tls: int
    media: int


class Daemon:
    """A running daemon and where to reach it."""

    def __init__(
        self, process: PeerProcess, network: Network, ports: Ports, config_path: Path, certificates: Certificates
    ) -> None:
        self.process = process
        self.network = network
        self.ports = ports
        self.config_path = config_path
        self.certificates = certificates
        self.host = network.address
        self.http_url = f"http://localhost:{ports.http}"
        """Browsers take localhost as secure."""
        self.https_url = f"https://{network.address}:{ports.https}"
        self.admin_url = f"http://127.0.0.1:{ports.admin}"
        self.expected_errors: list[str] = []
        """Patterns of ERROR log lines that the test provokes."""
        self.expected_end = 0
        """What it ends with, where a test ends it by itself."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def sip_uri(self, user: str, transport: str = "udp") -> str:
        return f"sip:{user}@{self.sip_server(transport)}"

    def sip_server(self, transport: str = "udp") -> str:
        """``host:port`` of the registrar for one transport."""
        return f"{self.host}:{self.ports.sip_tls if transport == 'tls' else self.ports.sip}"

    def log(self) -> str:
        return self.process.log()

    async def get(self, url: str) -> tuple[int, str]:
        return await self.request("GET", url)

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: str = "",
        token: str = "",
        content_type: str = "application/json",
        source: str | None = None,
    ) -> tuple[int, str]:
        """One plain HTTP request to one of the daemon's HTTP ports, from inside its network: status and body.

        ``source`` is another loopback address, for whom limits per source count apart.
        """
        match = re.fullmatch(r"http://[^/:]+:(\d+)(/.*)?", url)
        if match is None:
            raise ValueError(f"not an http URL with a port: {url}")
        reader, writer = await self.network.connect("127.0.0.1", int(match[1]), source=source)
        try:
            head = [f"{method} {match[2] or '/'} HTTP/1.1", f"Host: 127.0.0.1:{match[1]}", "Connection: close"]
            if token:
                head.append(f"Authorization: Bearer {token}")
            if body:
                head += [f"Content-Type: {content_type}", f"Content-Length: {len(body.encode())}"]
            writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
            async with asyncio.timeout(40):
                fields, _, content = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if b"transfer-encoding: chunked" in fields.lower():
            content = _unchunk(content)
        return int(fields.split()[1]), content.decode(errors="replace")

    async def room_token(self, room: str, *directions: str) -> str:
        """A bearer token for WHIP (``publish``) and WHEP (``view``), from the administration listener."""
        body = json.dumps({"room": room, "directions": list(directions), "subject": "test"})
        status, text = await self.request("POST", f"{self.admin_url}/v1/tokens", body=body, token=ADMIN_TOKEN)
        if status != 201:
            raise PeerError(f"/v1/tokens answered {status}: {text[:500]}")
        token: str = json.loads(text)["token"]
        return token

    def room_url(self, room: str, kind: str) -> str:
        """Where ``whip`` or ``whep`` offers for a room go."""
        return f"http://127.0.0.1:{self.ports.http}/v1/rooms/{room}/{kind}"

    async def metrics(self) -> dict[str, float]:
        """Every Prometheus sample by its name with labels, as it stands in the exposition."""
        status, text = await self.get(f"{self.admin_url}/metrics")
        if status != 200:
            raise PeerError(f"/metrics answered {status}: {text[:500]}")
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    async def wait_ready(self, timeout_s: float = 60.0) -> float:
        """Wait until ``/readyz`` answers 200; returns the seconds it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() - started < timeout_s:
            if self.process.returncode is not None:
                raise PeerError(f"the daemon ended with {self.process.returncode}:\n{self.process.log_tail()}")
            with contextlib.suppress(OSError, TimeoutError, IndexError):
                status, _body = await self.get(f"{self.admin_url}/readyz")
                if status == 200:
                    return loop.time() - started
            await asyncio.sleep(0.02)
        raise PeerError(f"the daemon was not ready in {timeout_s} s:\n{self.process.log_tail()}")

    def complaints(self) -> list[str]:
        """Log lines of level error or worse, and tracebacks, except those the test expects."""
        found = []
        for line in self.log().splitlines():
            bad = "Traceback (most recent call last)" in line or "panicked at" in line
            with contextlib.suppress(json.JSONDecodeError, AttributeError):
                bad = bad or json.loads(line).get("level") in ("error", "critical", "exception")
            if bad and not any(re.search(pattern, line) for pattern in self.expected_errors):
                found.append(line)
        return found


def _unchunk(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _media_ports() -> str:
    low, high = SIP_MEDIA_PORTS
    half = (high + 1 - low) // 2
    first = random.randrange(low, low + half, 2)
    return f"{first}-{first + half - 1}"


def _configuration(directory: Path, ports: Ports, host: str, certificates: Certificates) -> dict[str, Any]:
    secret, admin = directory / "agent.secret", directory / "admin.secret"
    for path, content in ((secret, AGENT_PASSWORD), (admin, ADMIN_TOKEN)):
        path.touch(mode=0o600)
        path.write_text(content)
    certificate = {"chain_file": str(certificates.chain), "key_file": str(certificates.key)}
    return {
        "state_dir": str(directory / "state"),
        "networks": {"main": {"addresses": [{"bind": host}]}},
        "listeners": {
            "http": {"bind": [f"127.0.0.1:{ports.http}"]},
            "https": {"bind": [f"{host}:{ports.https}"], "certificate": certificate},
            "admin": {"bind": [f"127.0.0.1:{ports.admin}"]},
            "sip": {"udp": ports.sip, "tcp": ports.sip, "tls": ports.sip_tls, "certificate": certificate},
            "webrtc": {"port": ports.media},
        },
        "users": {"agent": {"secret": {"file": str(secret)}}},
        "entries": {"demo": {"title": "Video call", "to": {"user": "agent"}, "announcement": "greeting"}},
        "announcements": {"greeting": {"loop": True}},
        "secrets": {"admin_token": {"file": str(admin)}},
        "media": {"sip_ports": _media_ports(), "shards": 1},
        "log": {"level": "info", "format": "json"},
        "drain": {"deadline": "5s"},
    }


async def start_daemon(
    directory: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    network: Network = LOOPBACK,
    python: str = sys.executable,
    command: Sequence[str] = ("-m", "mediaserver", "run", "--config"),
    environment: Mapping[str, str] | None = None,
) -> Daemon:
    """Start the process without waiting; ``changes`` are merged into the configuration."""
    home = directory / "daemon"
    home.mkdir(parents=True)
    first = network.free_port(6)
    ports = Ports(*(first + offset for offset in range(6)))
    certificates = write_certificates(home, network.address, "127.0.0.1", "localhost")
    config = _merge(_configuration(home, ports, network.address, certificates), changes or {})
    path = home / "mediaserver.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    process = PeerProcess(
        "mediaserver",
        [python, *command, str(path)],
        directory=home,
        environment={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environment or {})},
        prefix=network.exec_prefix,
    )
    await process.start()
    return Daemon(process, network, ports, path, certificates)


@contextlib.asynccontextmanager
async def daemon(
    directory: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    network: Network = LOOPBACK,
    stop_s: float = 40.0,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Daemon]:
    """A daemon that is ready; on the way out it must end cleanly and have nothing to complain about."""
    running = await start_daemon(directory, changes=changes, network=network, environment=environment)
    try:
        await running.wait_ready()
        yield running
    except BaseException:
        await running.process.stop(grace_s=3.0)
        raise
    code = await running.process.stop(grace_s=stop_s)
    if code != running.expected_end:
        raise PeerError(f"the daemon ended with {code} after SIGTERM:\n{running.process.log_tail()}")
    if complaints := running.complaints():
        raise PeerError("the daemon complained:\n" + "\n".join(complaints[:20]))
