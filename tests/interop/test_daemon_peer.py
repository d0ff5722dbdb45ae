"""The daemon as the other peers meet it: it starts, takes registrations and WebRTC sessions, and ends cleanly."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.peers.aiortc_peer import whep_viewer, whip_publisher
from tests.peers.baresip import Phone, baresip
from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.process import PeerError

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_phone_registers_and_a_wrong_password_does_not(tmp_path: Path, transport: str) -> None:
    async with daemon(tmp_path) as server:

        def phone(password: str) -> Phone:
            return Phone(
                "agent",
                domain=server.sip_server(transport),
                password=password,
                transport=transport,
                register=True,
                ca_file=server.certificates.ca,
            )

        async with baresip(phone(AGENT_PASSWORD), tmp_path / "right") as right:
            await right.wait_registered()
        async with baresip(phone("wrong"), tmp_path / "wrong") as wrong:
            with pytest.raises(PeerError):  # refused, or put off after many tries: baresip repeats at once
                await wrong.wait_registered(2)
        refused = 'mediaserver_sip_challenges_total{verdict="wrong"}'
        assert (await server.metrics())[refused] > 0


async def test_every_tls_handshake_of_a_crowd_succeeds(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server:
        context = ssl.create_default_context(cafile=str(server.certificates.ca))

        async def connect() -> str | None:
            _reader, writer = await asyncio.open_connection(server.host, server.ports.sip_tls, ssl=context)
            version: str | None = writer.get_extra_info("ssl_object").version()
            writer.close()
            await writer.wait_closed()
            return version

        for _ in range(4):
            async with asyncio.timeout(60):
                assert await asyncio.gather(*(connect() for _ in range(10))) == ["TLSv1.3"] * 10


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_aiortc_publishes_and_views_through_a_room(tmp_path: Path, codec: str) -> None:
    async with daemon(tmp_path) as server:
        token = await server.room_token("studio", "publish", "view")
        whip, whep = server.room_url("studio", "whip"), server.room_url("studio", "whep")
        async with whip_publisher(whip, token, hz=500, video_codec=codec), whep_viewer(whep, token) as viewer:
            picture = await viewer.wait_frames("video", 20)
            sound = await viewer.wait_frames("audio", 50)
            assert (picture.width, picture.height) == (640, 480)
            assert sound.level > 0.05
        assert not [name for name, count in (await server.metrics()).items() if "panics" in name and count]


async def test_a_token_of_another_room_opens_nothing(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server:
        token = await server.room_token("elsewhere", "view")
        with pytest.raises(aiohttp.ClientResponseError) as refusal:
            async with whep_viewer(server.room_url("studio", "whep"), token):
                pass
        assert refusal.value.status in (401, 403)
