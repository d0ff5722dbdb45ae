"""Registrations: phones that refresh their binding with a digest (SHA-256, qop=auth), each as soon as it was answered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Report
from benchmarks.processes import cpu_ns
from benchmarks.sip_calls import announcements_loaded
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, choose_challenge
from mediaserver.sip.message import Response
from mediaserver.sip.parser import parse_datagram
from tests.peers.daemon import Daemon, daemon

PASSWORD = "benchmark-of-registrations"  # noqa: S105 - of phones that live for seconds
_LIMITS = MessageLimits()


@dataclass(frozen=True, slots=True)
class Shape:
    phones: int = 200
    """Each on an address of its own: requests without a password are bounded by source."""
    measure_s: float = 5.0
    settle_s: float = 1.0


class _Phone(asyncio.DatagramProtocol):
    """One phone on a loopback address of its own; it registers anew as soon as it was answered with 200."""

    def __init__(self, user: str, ip: str, registrar: tuple[str, int], realm: str) -> None:
        self.user, self.ip, self.registrar, self.realm = user, ip, registrar, realm
        self.registered = self.failed = 0
        self.running = True
        self._cseq = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def register(self, authorization: str = "") -> None:
        """Sends a REGISTER."""
        if self._transport is None:
            return
        self._cseq += 1
        port = self._transport.get_extra_info("sockname")[1]
        uri = f"sip:{self.user}@{self.realm}"
        lines = [
            f"REGISTER sip:{self.realm} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.ip}:{port};branch=z9hG4bK{self.user}{self._cseq};rport",
            *("Max-Forwards: 70", f"From: <{uri}>;tag={self.user}", f"To: <{uri}>", f"Call-ID: {self.user}"),
            *(f"CSeq: {self._cseq} REGISTER", f"Contact: <sip:{self.user}@{self.ip}:{port}>;expires=600"),
            *([f"Authorization: {authorization}"] if authorization else []),
            "Content-Length: 0",
        ]
        self._transport.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), self.registrar)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        response = parse_datagram(data, _LIMITS)
        if not isinstance(response, Response) or response.cseq[0] != self._cseq or not self.running:
            return
        challenge = choose_challenge(response.headers.all("WWW-Authenticate")) if response.code == 401 else None
        if challenge is not None:
            credentials = Credentials(self.user, PASSWORD)
            self.register(answer_challenge(challenge, credentials, method="REGISTER", uri=f"sip:{self.realm}"))
            return
        self.registered += response.code == 200
        self.failed += response.code != 200
        self.register()


async def measure(report: Report, directory: Path, shape: Shape | None = None) -> None:
    """Add `sip_registrations_per_s` and the CPU time of one."""
    shape = shape or Shape()
    secret = directory / "phones.secret"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    names = [f"phone{number}" for number in range(shape.phones)]
    changes = {
        "users": {name: {"secret": {"file": str(secret)}} for name in names},
        "log": {"level": "warning"},
    }
    async with daemon(directory, changes=changes) as server:
        await announcements_loaded(server)
        phones = [await _phone(server, name, f"127.0.2.{number}") for number, name in enumerate(names, 1)]
        for phone in phones:
            phone.register()
        await asyncio.sleep(shape.settle_s)
        done, cpu, began = _registered(phones), cpu_ns(server.pid), time.monotonic()
        await asyncio.sleep(shape.measure_s)
        count = _registered(phones) - done
        cpu, took = cpu_ns(server.pid) - cpu, time.monotonic() - began
        for phone in phones:
            phone.running = False
        failed = sum(phone.failed for phone in phones)
    note = f"{shape.phones} phones, each a challenge and an answer with SHA-256; they share the CPUs, {failed} refused"
    report.add(Figure("sip_registrations_per_s", count / took, "registrations/s", note=note))
    report.add(Figure("sip_cpu_ms_per_registration", cpu / max(1, count) / 1e6, "ms"))


async def _phone(server: Daemon, user: str, ip: str) -> _Phone:
    registrar = (server.host, server.ports.sip)
    loop = asyncio.get_running_loop()
    _, phone = await loop.create_datagram_endpoint(
        lambda: _Phone(user, ip, registrar, "mediaserver"), local_addr=(ip, 0)
    )
    return phone


def _registered(phones: list[_Phone]) -> int:
    return sum(phone.registered for phone in phones)
