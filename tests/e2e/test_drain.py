"""SIGTERM in the middle of a call: nothing new is taken, and what goes on may end by itself."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.house import ENTRY, phone, press_video_call
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon

OPTIONS = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {local[0]}:{local[1]};branch=z9hG4bK-drain-{number};rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:probe@example.org>;tag=1\r\nTo: <sip:{host}>\r\n"
    "Call-ID: drain-{number}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
)


class Probe(asyncio.DatagramProtocol):
    """Sends one request and keeps what comes back."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.answers.put_nowait(data.decode())


async def ask(host: str, port: int, number: int, method: str = "OPTIONS") -> str:
    transport, probe = await asyncio.get_running_loop().create_datagram_endpoint(Probe, local_addr=("127.0.0.1", 0))
    try:
        local = transport.get_extra_info("sockname")
        text = OPTIONS.format(host=host, port=port, local=local, number=number, method=method)
        transport.sendto(text.replace("OPTIONS sip:", f"{method} sip:", 1).encode(), (host, port))
        async with asyncio.timeout(30):
            return await probe.answers.get()
    finally:
        transport.close()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_the_call_lives_on_and_new_ones_are_refused(tmp_path: Path) -> None:
    changes = {**ENTRY, "drain": {"deadline": "120s"}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        numbers = itertools.count(1)
        assert (await ask(server.host, server.ports.sip, next(numbers))).startswith("SIP/2.0 200")
        os.kill(server.pid, signal.SIGTERM)
        async with asyncio.timeout(30):
            while not (refused := await ask(server.host, server.ports.sip, next(numbers))).startswith("SIP/2.0 503"):
                await asyncio.sleep(0.05)
        assert "Retry-After:" in refused
        invite = await ask(server.host, server.ports.sip, next(numbers), method="INVITE")
        assert invite.startswith("SIP/2.0 503")
        status, _ = await server.get(f"{server.admin_url}/readyz")
        assert status == 503
        heard = (await agent.audio_stats()).packets_received
        async with asyncio.timeout(30):
            while (await agent.audio_stats()).packets_received < heard + 50:
                await asyncio.sleep(0.1)
        assert server.process.returncode is None
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()
        assert await server.process.wait(60) == 0


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_at_the_deadline_the_call_is_ended_and_the_daemon_leaves(tmp_path: Path) -> None:
    changes = {**ENTRY, "drain": {"deadline": "2s"}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        await press_video_call(server, browser)
        await agent.wait_established()
        os.kill(server.pid, signal.SIGTERM)
        await agent.wait_closed()
        assert await server.process.wait(60) == 0
