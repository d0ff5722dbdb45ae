"""The media server itself as a process of its own: on free ports, with a configuration made for one test.

It must start, answer ``/readyz``, end with exit code 0 on SIGTERM, and have logged no error and no traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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

SIP_MEDIA_PORTS = "18000-21999"

AGENT_PASSWORD = "correct-horse-battery"


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
        """A plain HTTP GET on one of the daemon's HTTP ports, from inside its network."""
        match = re.fullmatch(r"http://[^/:]+:(\d+)(/.*)?", url)
        if match is None:
            raise ValueError(f"not an http URL with a port: {url}")
        reader, writer = await self.network.connect("127.0.0.1", int(match[1]))
        try:
            writer.write(
                f"GET {match[2] or '/'} HTTP/1.1\r\nHost: 127.0.0.1:{match[1]}\r\nConnection: close\r\n\r\n".encode()
            )
            async with asyncio.timeout(5):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = int(head.split()[1])
        if b"transfer-encoding: chunked" in head.lower():
            body = _unchunk(body)
        return status, body.decode(errors="replace")

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

    async def wait_ready(self, timeout_s: float = 20.0) -> float:
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


def _configuration(directory: Path, ports: Ports, host: str, certificates: Certificates) -> dict[str, Any]:
    secret = directory / "agent.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
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
        "media": {"sip_ports": SIP_MEDIA_PORTS, "shards": 1},
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
    directory: Path, *, changes: Mapping[str, Any] | None = None, network: Network = LOOPBACK, stop_s: float = 15.0
) -> AsyncIterator[Daemon]:
    """A daemon that is ready; on the way out it must end cleanly and have nothing to complain about."""
    running = await start_daemon(directory, changes=changes, network=network)
    try:
        await running.wait_ready()
        yield running
    except BaseException:
        await running.process.stop(grace_s=3.0)
        raise
    code = await running.process.stop(grace_s=stop_s)
    if code != 0:
        raise PeerError(f"the daemon ended with {code} after SIGTERM:\n{running.process.log_tail()}")
    if complaints := running.complaints():
        raise PeerError("the daemon complained:\n" + "\n".join(complaints[:20]))
