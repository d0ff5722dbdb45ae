"""Debian's Janus with its VideoRoom behind the face of `sfu_face`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.sfu_face import ForeignSfu, Wanted, client
from benchmarks.webrtc_client import Peer
from tests.peers.namespace import Namespace
from tests.peers.process import PeerError, PeerProcess

JANUS_PLUGIN = "janus.plugin.videoroom"


class JanusSfu(ForeignSfu):
    """Janus with its VideoRoom plugin: one room, a feed for each publisher, a handle for each peer."""

    name = "janus"
    note = "Debian's libsrtp, linked with NSS, is slow: most of the difference in AES is its"

    def __init__(self, url: str, http: aiohttp.ClientSession, network: Namespace, wanted: Wanted) -> None:
        super().__init__(url, http, network, wanted)
        self._session = ""
        self._feeds: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def begin(self) -> None:
        """A session and the room. Raises PeerError."""
        self._session = f"{self.url}/{(await self._ask(self.url, janus='create'))['data']['id']}"
        handle = await self._attach()
        room = {"request": "create", "room": 1, "publishers": 100, "bitrate": 0, "audiocodec": "opus"}
        room |= {"videocodec": "vp8", "transport_wide_cc_ext": True, "notify_joining": False}
        await self._ask(handle, janus="message", body=room)

    async def follow(self) -> None:
        """Long polls for ever: answers to what was asked come by their transaction."""
        while True:
            async with self.http.get(self._session, params={"maxev": "20"}) as response:
                events = await response.json(content_type=None)
            for event in events if isinstance(events, list) else [events]:
                waiting = self._waiting.get(event.get("transaction", ""))
                if event.get("janus") == "event" and waiting is not None and not waiting.done():
                    waiting.set_result(event)

    async def publish(self, name: str) -> Peer:
        handle = await self._attach()
        peer = self.peer(sends=True)
        body = {"request": "joinandconfigure", "room": 1, "ptype": "publisher", "display": name, "bitrate": 0}
        offer = {"type": "offer", "sdp": peer.offer(), "rid_order": "lmh"}
        event = await self._event(handle, body, offer)
        self._feeds[name] = event["plugindata"]["data"]["id"]
        await asyncio.to_thread(peer.connect, event["jsep"]["sdp"])
        return peer

    async def view(self, name: str) -> Peer:
        handle = await self._attach()
        body = {"request": "join", "room": 1, "ptype": "subscriber", "streams": [{"feed": self._feeds[name]}]}
        offer = (await self._event(handle, body, None))["jsep"]["sdp"]
        peer = self.peer(sends=False)
        await self._event(handle, {"request": "start"}, {"type": "answer", "sdp": peer.answer(offer)})
        await asyncio.to_thread(peer.connect, offer)
        return peer

    async def _attach(self) -> str:
        reply = await self._ask(self._session, janus="attach", plugin=JANUS_PLUGIN)
        return f"{self._session}/{reply['data']['id']}"

    async def _event(self, handle: str, body: dict[str, Any], jsep: dict[str, Any] | None) -> dict[str, Any]:
        transaction = secrets.token_hex(6)
        waiting = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        try:
            extra = {} if jsep is None else {"jsep": jsep}
            await self._ask(handle, transaction=transaction, janus="message", body=body, **extra)
            async with asyncio.timeout(10):
                event = await waiting
        finally:
            del self._waiting[transaction]
        if "error" in event["plugindata"]["data"]:
            raise PeerError(f"janus: {event['plugindata']['data']}")
        return event

    async def _ask(self, url: str, **message: Any) -> dict[str, Any]:
        message.setdefault("transaction", secrets.token_hex(6))
        async with self.http.post(url, json=message) as response:
            reply: dict[str, Any] = await response.json(content_type=None)
        if reply["janus"] not in ("success", "ack"):
            raise PeerError(f"janus answered {reply} to {message['janus']}")
        return reply


@contextlib.asynccontextmanager
async def janus_sfu(directory: Path, network: Namespace, wanted: Wanted) -> AsyncIterator[JanusSfu]:
    """Janus as an ICE-lite server with nothing but VideoRoom and its HTTP interface. Raises PeerError."""
    home = directory / "janus"
    home.mkdir()
    port = network.free_port()
    (home / "janus.jcfg").write_text("general: { session_timeout = 0 }\nmedia: { ipv6 = false }\n")
    http = f'general: {{ json = "compact", http = true, port = {port}, ip = "{network.address}" }}\n'
    (home / "janus.transport.http.jcfg").write_text(http)
    (home / "janus.plugin.videoroom.jcfg").write_text("general: {}\n")
    command = ["janus", "-F", str(home), "-P", "/usr/lib/x86_64-linux-gnu/janus/plugins", "-I", "-d", "3", "-o"]
    command += ["-E", network.address, "-i", network.address, "-s", "0"]
    process = PeerProcess("janus", command, directory=home, prefix=network.exec_prefix)
    url = f"http://{network.address}:{port}/janus"
    async with process, client() as http_client:
        sfu = JanusSfu(url, http_client, network, wanted)
        await sfu.take(process, f"{url}/info")
        await sfu.begin()
        following = asyncio.create_task(sfu.follow(), name="janus-events")
        try:
            yield sfu
        finally:
            following.cancel()
            await asyncio.wait({following})
