"""The aiortc harness: its publisher and its viewer meet in a small WHIP and WHEP server made of aiortc itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from tests.peers.aiortc_peer import whep_viewer, whip_publisher

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


class Room:
    """Takes one publisher and hands its tracks to viewers."""

    def __init__(self) -> None:
        self.relay = MediaRelay()
        self.published: dict[str, MediaStreamTrack] = {}
        self.connections: list[RTCPeerConnection] = []
        self.deleted: list[str] = []
        self.complete = asyncio.Event()

    def _take(self, track: MediaStreamTrack) -> None:
        self.published[track.kind] = track
        if len(self.published) == 2:
            self.complete.set()

    async def post(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            raise web.HTTPUnauthorized
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(connection)
        if request.path == "/whip":
            connection.on("track", self._take)
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        if request.path == "/whep":
            for track in self.published.values():
                connection.addTrack(self.relay.subscribe(track))
        await connection.setLocalDescription(await connection.createAnswer())
        return web.Response(
            status=201,
            text=connection.localDescription.sdp,
            content_type="application/sdp",
            headers={"Location": f"/session/{len(self.connections)}", "ETag": '"1"'},
        )

    async def delete(self, request: web.Request) -> web.Response:
        self.deleted.append(request.path)
        return web.Response()


@contextlib.asynccontextmanager
async def serve(room: Room) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes(
        [web.post("/whip", room.post), web.post("/whep", room.post), web.delete("/session/{id}", room.delete)]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        for connection in room.connections:
            await connection.close()
        await runner.cleanup()


async def test_a_viewer_hears_and_sees_the_publisher() -> None:
    room = Room()
    async with serve(room) as url, whip_publisher(f"{url}/whip", "secret", hz=500):
        async with asyncio.timeout(40):
            await room.complete.wait()
        async with whep_viewer(f"{url}/whep", "secret", video_codec="VP8") as viewer:
            picture = await viewer.wait_frames("video", 20)
            sound = await viewer.wait_frames("audio", 50)
            assert (picture.width, picture.height) == (640, 480)
            assert sound.level > 0.05
            assert sound.longest_gap_s < 5.0
    assert len(room.deleted) == 2


async def test_a_refusal_is_told_with_its_status() -> None:
    async with serve(Room()) as url:
        with pytest.raises(aiohttp.ClientResponseError, match="401"):
            async with whep_viewer(f"{url}/whep", "wrong"):
                pass
