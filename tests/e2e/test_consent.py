"""Consent is the server's to keep: a page that sends its camera unasked reaches nobody."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from tests.e2e.house import ENTRY, contact_ended, phone
from tests.peers.aiortc_peer import ToneTrack
from tests.peers.baresip import baresip
from tests.peers.daemon import daemon


async def receive(socket: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, object]:
    """The next message of one of these types."""
    async with asyncio.timeout(40):
        while True:
            message: dict[str, object] = json.loads((await socket.receive()).data)
            if message["type"] in kinds:
                return message


# aiortc keeps the codec it began with, so both sides get the same one and nothing needs narrowing.
ONE_CODEC = {
    **ENTRY,
    "entries": {"demo": {"to": {"user": "agent"}, "audio_codecs": ["PCMU"], "video_codecs": ["VP8"]}},
}


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_no_picture_passes_before_consent_and_each_is_counted(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes=ONE_CODEC) as server,
        baresip(phone(server, "udp", "", video=("VP8",)), tmp_path) as agent,
        aiohttp.ClientSession() as http,
    ):
        await agent.wait_registered()
        page = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        page.addTrack(ToneTrack())
        page.addTrack(VideoStreamTrack())
        async with http.ws_connect(f"{server.http_url}/v1/session", headers={"Origin": server.http_url}) as socket:
            await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo"})
            await receive(socket, "welcome")
            await page.setLocalDescription(await page.createOffer())
            await socket.send_json({"type": "offer", "id": 1, "sdp": page.localDescription.sdp})
            answer = await receive(socket, "answer")
            await page.setRemoteDescription(RTCSessionDescription(str(answer["sdp"]), "answer"))
            await agent.wait_established()
            # Sound has come for four seconds, and the camera was on from the beginning.
            async with asyncio.timeout(40):
                while (await agent.audio_stats()).packets_received < 200:
                    await asyncio.sleep(0.1)
            assert (await agent.video_stats()).packets_received == 0
            await socket.send_json({"type": "consent", "camera": True, "text_version": "1"})
            async with asyncio.timeout(40):
                while (await agent.video_stats()).frames_shown <= 10:
                    await asyncio.sleep(0.1)
            await socket.send_json({"type": "hangup"})
            await contact_ended(server, by="caller", reason="hangup")
        metrics = await server.metrics()
        assert metrics['mediaserver_video_packets_gated_total{gate="consent"}'] > 30
        await page.close()
