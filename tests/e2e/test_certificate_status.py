"""Devices whose authority says over HTTP which certificates hold: by a list, and by answers to questions (CRL and OCSP)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from cryptography import x509

from tests.peers.daemon import Daemon, daemon
from tests.sip.certificate_authority import Authority, Issued

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NAMES = ("desk-17.bank.example", "desk-18.bank.example", "desk-19.bank.example")
OK = "SIP/2.0 200 OK"


@dataclass(slots=True)
class Publisher:
    """What an authority says over HTTP: nothing of its list before it is `published`."""

    authority: Authority = field(default_factory=lambda: Authority(now=datetime.now(UTC)))
    issued: list[Issued] = field(default_factory=list)
    revoked: list[Issued] = field(default_factory=list)
    published: asyncio.Event = field(default_factory=asyncio.Event)
    questions: int = 0
    away: bool = False
    """Whether the responder answers that it cannot."""
    url: str = ""

    def devices(self) -> list[Issued]:
        self.issued += [self.authority.issue(x509.DNSName(name)) for name in NAMES]
        return self.issued

    def settings(self, directory: Path) -> dict[str, Any]:
        """A daemon's, whose one user has all the devices."""
        trusted = directory / "devices.pem"
        trusted.write_bytes(self.authority.pem())
        status = {"crls": [f"{self.url}/devices.crl"], "ocsp": f"{self.url}/ocsp"}
        return {
            "listeners": {"sip": {"client_ca_file": str(trusted), "certificate_status": status}},
            "users": {"agent": {"certificate_names": list(NAMES)}},
        }

    async def list(self, _: web.Request) -> web.Response:
        await self.published.wait()
        data = self.authority.revocation_list(*self.revoked, at=datetime.now(UTC))
        return web.Response(body=data, content_type="application/pkix-crl")

    async def answer(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/ocsp-request"
        self.questions += 1
        if self.away:
            raise web.HTTPServiceUnavailable
        data = self.authority.answer(
            await request.read(), self.issued, revoked=self.revoked, signer=self.authority.responder()
        )
        return web.Response(body=data, content_type="application/ocsp-response")


@contextlib.asynccontextmanager
async def publisher() -> AsyncIterator[Publisher]:
    there = Publisher()
    application = web.Application()
    application.add_routes([web.get("/devices.crl", there.list), web.post("/ocsp", there.answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        there.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield there
    finally:
        await runner.cleanup()


class Device:
    """A phone that shows its certificate, as far as registering goes."""

    def __init__(self, server: Daemon, shown: Issued, directory: Path) -> None:
        self._server = server
        file = directory / f"{shown.certificate.serial_number}.pem"
        file.write_bytes(shown.both())
        self._context = ssl.create_default_context(cafile=str(server.certificates.ca))
        self._context.load_cert_chain(file)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._server.host, self._server.ports.sip_tls, ssl=self._context
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def registers(self) -> str:
        """The status line of the answer; nothing where the connection is closed instead."""
        host, port = self._writer.get_extra_info("sockname")[:2]
        lines = [
            f"REGISTER sip:{self._server.host} SIP/2.0",
            f"Via: SIP/2.0/TLS {host}:{port};branch=z9hG4bK{port};rport",
            f"From: <sip:agent@{self._server.host}>;tag=1",
            f"To: <sip:agent@{self._server.host}>",
            f"Call-ID: {port}@{host}",
            "CSeq: 1 REGISTER",
            f"Contact: <sip:agent@{host}:{port};transport=tls>",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        with contextlib.suppress(OSError):
            self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(30):
            with contextlib.suppress(OSError):
                return (await self._reader.readline()).decode().strip()
        return ""

    async def is_cut_off(self) -> None:
        """Wait until the connection is closed; what is left of an answer comes before."""
        async with asyncio.timeout(30):
            with contextlib.suppress(OSError):
                await self._reader.read()


async def test_a_device_comes_in_by_the_word_of_its_authority_alone_and_is_cut_off_by_it(tmp_path: Path) -> None:
    async with publisher() as there:
        first, second, third = there.devices()
        there.revoked.append(second)
        async with daemon(tmp_path, changes=there.settings(tmp_path)) as server:
            there.away = True
            async with Device(server, third, tmp_path) as unknown:
                assert await unknown.registers() == ""
            there.away = False
            async with Device(server, second, tmp_path) as refused:
                assert await refused.registers() == ""
            async with Device(server, first, tmp_path) as device:
                assert await device.registers() == OK
                assert there.questions == 3, "the responder was asked of each"
                there.revoked.append(first)
                there.published.set()
                await device.is_cut_off()
            async with Device(server, first, tmp_path) as again:
                assert await again.registers() == ""
            async with Device(server, third, tmp_path) as good:
                assert await good.registers() == OK
            assert there.questions == 3, "the list says enough"
            samples = await server.metrics()
            assert samples['mediaserver_sip_certificates_total{result="refused_unknown"}'] == 1
            assert samples['mediaserver_sip_certificate_questions_total{result="failed"}'] == 1
            assert samples['mediaserver_sip_certificates_total{result="revoked"}'] == 2
            assert samples['mediaserver_sip_certificate_questions_total{result="revoked"}'] == 1
            assert samples['mediaserver_sip_certificate_lists_total{result="ok"}'] == 1
