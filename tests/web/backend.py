"""A far side for the pages: the web resources over fakes, with aiortc where the daemon has its packet engine."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError

from mediaserver.webrtc.messages import Answer, ClientMessage, Offer, Peer, State, VideoPermission
from tests.api.fakes import FakeParticipant, Stack
from tests.peers.aiortc_peer import ToneTrack


class MediaLeg:
    """Answers the offers of one browser, sends it a tone and a picture, and counts what it sends."""

    def __init__(self) -> None:
        self.connection: RTCPeerConnection | None = None
        self.frames = {"audio": 0, "video": 0}
        self.offers = 0
        self.channels: dict[str, Any] = {}
        self.said: list[tuple[str, str]] = []
        """What came on data channels: label and text."""
        self.collide = False
        """Once: let an offer of our own meet the browser's next one (glare); ours wins, as the daemon's does."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._own_offers = 1000

    async def handle(self, participant: FakeParticipant, message: ClientMessage) -> None:
        """What the daemon's leg does with a message."""
        if message.type == "offer":
            await self._offer(participant, message)

    async def _offer(self, participant: FakeParticipant, message: Any) -> None:
        self.offers += 1
        if self.connection is None:
            self.connection = RTCPeerConnection()
            self.connection.addTrack(ToneTrack())
            if "m=video" in message.sdp:
                self.connection.addTrack(VideoStreamTrack())
            self.connection.on("track", self._watch)
            self.connection.on("datachannel", self._listen)
        if self.collide:
            self.collide = False
            await self.offer(participant)
            return
        await self.connection.setRemoteDescription(RTCSessionDescription(message.sdp, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        await participant.signaling.send(Answer(id=message.id, sdp=self.connection.localDescription.sdp))

    async def offer(self, participant: FakeParticipant) -> None:
        """The server offers what is agreed already, as the daemon does to narrow the codecs.

        aiortc has no part in it: its own offers give new numbers to header extensions, which Chromium refuses.
        """
        assert self.connection is not None
        agreed = self.connection.localDescription.sdp
        self._own_offers += 1
        sdp = re.sub(r"a=setup:\w+", "a=setup:actpass", agreed)
        await participant.signaling.send(Offer(id=self._own_offers, sdp=sdp))

    def _listen(self, channel: Any) -> None:
        self.channels[channel.label] = channel
        channel.on("message", lambda text: self.said.append((channel.label, text)))

    def _watch(self, track: Any) -> None:
        async def count() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    await track.recv()
                    self.frames[track.kind] += 1

        self._tasks.add(asyncio.create_task(count(), name=f"count-{track.kind}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.connection is not None:
            await self.connection.close()


class Backend:
    """The public side with a media leg for every browser that offers."""

    def __init__(self, **options: Any) -> None:
        self.stack = Stack(request_burst_per_source=1000.0, **options)
        self.legs: dict[FakeParticipant, MediaLeg] = {}
        self.stack.contacts.on_message = self._message
        self._foreign: web.AppRunner | None = None

    async def start(self) -> None:
        await self.stack.start()

    async def stop(self) -> None:
        for leg in self.legs.values():
            await leg.stop()
        if self._foreign is not None:
            await self._foreign.cleanup()
        await self.stack.stop()

    async def _message(self, participant: FakeParticipant, message: ClientMessage) -> None:
        await self.leg(participant).handle(participant, message)

    def leg(self, participant: FakeParticipant) -> MediaLeg:
        """The media leg of a caller or agent."""
        return self.legs.setdefault(participant, MediaLeg())

    @property
    def caller(self) -> FakeParticipant:
        """The newest caller."""
        return self.stack.contacts.callers[-1]

    async def connect(self, participant: FakeParticipant, name: str = "Anna Agent", *, may_send: bool = True) -> None:
        """Tell a browser that it is connected."""
        permission = VideoPermission(may_send=may_send)
        await participant.signaling.send(State(state="connected", peer=Peer(name=name), video=permission))

    async def foreign_page(self, html: str) -> str:
        """Serve a page from another origin; returns its URL."""

        async def page(_request: web.Request) -> web.Response:
            return web.Response(text=html, content_type="text/html")

        app = web.Application()
        app.router.add_get("/{path:.*}", page)
        self._foreign = web.AppRunner(app)
        await self._foreign.setup()
        site = web.TCPSite(self._foreign, "127.0.0.1", 0)
        await site.start()
        port = self._foreign.addresses[0][1]
        return f"http://127.0.0.1:{port}/sick-pay?lang=de"


async def until(condition: Any, *, seconds: float = 30.0, what: str = "") -> None:
    """Wait for a condition (plain or async) that something outside of this process brings about."""
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.05)
