"""SIGTERM in the middle of a call: nothing new is taken, and what goes on may end by itself."""

from __future__ import annotations

import asyncio
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
        async with asyncio.timeout(5):
            return await probe.answers.get()
    finally:
        transport.close()


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_the_call_lives_on_and_new_ones_are_refused(tmp_path: Path) -> None:
    changes = {**ENTRY, "drain": {"deadline": "30s"}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", ""), tmp_path) as agent,
    ):
        await agent.wait_registered()
        tab = await press_video_call(server, browser)
        await agent.wait_established()
        assert (await ask(server.host, server.ports.sip, 1)).startswith("SIP/2.0 200")
        os.kill(server.pid, signal.SIGTERM)
        await asyncio.sleep(0.5)
        refused = await ask(server.host, server.ports.sip, 2)
        assert refused.startswith("SIP/2.0 503")
        assert "Retry-After:" in refused
        invite = await ask(server.host, server.ports.sip, 3, method="INVITE")
        assert invite.startswith("SIP/2.0 503")
        status, _ = await server.get(f"{server.admin_url}/readyz")
        assert status == 503
        await asyncio.sleep(3)
        stats = await agent.audio_stats()
        assert stats.packets_received > 0
        assert server.process.returncode is None
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()
        assert await server.process.wait(15) == 0


@pytest.mark.e2e
@pytest.mark.timeout(120)
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
        await agent.wait_closed(10)
        assert await server.process.wait(15) == 0
