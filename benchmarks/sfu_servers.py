"""Forwarding servers behind one face: publish, view, end. Ours, and Debian's Janus; each in a namespace of its own.

Peers stay on the host and reach every server over the same kind of veth pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from benchmarks.load_target import LoadTarget, load_target
from benchmarks.webrtc_client import Identity, Peer
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import Namespace
from tests.peers.process import PeerError, PeerProcess

CPU = 0
"""Where every server stays; the load is on the others."""

JANUS_PLUGIN = "janus.plugin.videoroom"


class Sfu(Protocol):
    """A running server."""

    name: str
    note: str
    """What a reader of its figures must know."""

    @property
    def pid(self) -> int:
        """Its process, whose CPU time counts."""

    async def publish(self, name: str, kinds: Sequence[str]) -> Peer:
        """A connected peer that sends."""

    async def view(self, name: str, kinds: Sequence[str]) -> Peer:
        """A connected peer that receives what ``name`` publishes."""


def pin(pid: int) -> None:
    """Keep all threads of a server on its CPU; threads made later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {CPU})


class OwnSfu:
    """This project's daemon: a room for each publisher."""

    name = "mediaserver"
    note = ""

    def __init__(self, server: Daemon, target: LoadTarget) -> None:
        self.pid = server.pid
        self._server = server
        self._target = target

    async def publish(self, name: str, kinds: Sequence[str]) -> Peer:
        self._target.use_token(name, await self._server.room_token(name, "publish", "view"))
        return (await self._target.join_room(name, "whip", kinds))[0]

    async def view(self, name: str, kinds: Sequence[str]) -> Peer:
        return (await self._target.join_room(name, "whep", kinds))[0]


@contextlib.asynccontextmanager
async def own_sfu(directory: Path, network: Namespace, suite: str) -> AsyncIterator[OwnSfu]:
    """The daemon with one shard."""
    url = f"{network.address}:{network.free_port()}"
    many = 100_000
    changes = {
        "listeners": {"http": {"bind": [url]}},
        "media": {"shards": 1},
        "limits": {
            "http_requests_per_source": "10000/s",
            "viewers_per_room": 1000,
            "contacts": many,
            "contacts_per_source": many,
            "sessions_per_source": many,
        },
        "log": {"level": "warning"},
    }
    async with daemon(directory, changes=changes, network=network) as server:
        pin(server.pid)
        async with load_target(f"http://{url}", token="", suite=suite) as target:
            yield OwnSfu(server, target)


class JanusSfu:
    """Janus with its VideoRoom plugin: one room, a feed for each publisher, a handle for each peer."""

    name = "janus"
    note = "Debian's libsrtp, linked with NSS, is slow: most of the difference in AES is its"

    def __init__(self, pid: int, url: str, http: aiohttp.ClientSession, identity: Identity, local_ip: str) -> None:
        self.pid = pid
        self._url = url
        self._http = http
        self._identity = identity
        self._local_ip = local_ip
        self._session = ""
        self._feeds: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def begin(self) -> None:
        """A session and the room. Raises PeerError."""
        self._session = f"{self._url}/{(await self._ask(self._url, janus='create'))['data']['id']}"
        handle = await self._attach()
        room = {"request": "create", "room": 1, "publishers": 100, "bitrate": 0, "audiocodec": "opus"}
        room |= {"videocodec": "vp8", "transport_wide_cc_ext": True, "notify_joining": False}
        await self._ask(handle, janus="message", body=room)

    async def follow(self) -> None:
        """Long polls for ever: answers to what was asked come by their transaction."""
        while True:
            async with self._http.get(self._session, params={"maxev": "20"}) as response:
                events = await response.json(content_type=None)
            for event in events if isinstance(events, list) else [events]:
                waiting = self._waiting.get(event.get("transaction", ""))
                if event.get("janus") == "event" and waiting is not None and not waiting.done():
                    waiting.set_result(event)

    async def publish(self, name: str, kinds: Sequence[str]) -> Peer:
        handle = await self._attach()
        peer = Peer(self._identity, sends=True, kinds=kinds, local_ip=self._local_ip)
        body = {"request": "joinandconfigure", "room": 1, "ptype": "publisher", "display": name, "bitrate": 0}
        event = await self._event(handle, body, {"type": "offer", "sdp": peer.offer()})
        self._feeds[name] = event["plugindata"]["data"]["id"]
        await asyncio.to_thread(peer.connect, event["jsep"]["sdp"])
        return peer

    async def view(self, name: str, kinds: Sequence[str]) -> Peer:
        handle = await self._attach()
        streams = [{"feed": self._feeds[name]}]
        event = await self._event(
            handle, {"request": "join", "room": 1, "ptype": "subscriber", "streams": streams}, None
        )
        peer = Peer(self._identity, sends=False, kinds=kinds, local_ip=self._local_ip)
        offer = event["jsep"]["sdp"]
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
        async with self._http.post(url, json=message) as response:
            reply: dict[str, Any] = await response.json(content_type=None)
        if reply["janus"] not in ("success", "ack"):
            raise PeerError(f"janus answered {reply} to {message['janus']}")
        return reply


@contextlib.asynccontextmanager
async def janus_sfu(directory: Path, network: Namespace, suite: str) -> AsyncIterator[JanusSfu]:
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
    connector = aiohttp.TCPConnector(limit=0)
    async with process, aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as client:
        await wait_answering(client, f"{url}/info", process)
        pin(process.pid)
        sfu = JanusSfu(process.pid, url, client, Identity(suite), network.host_address or "127.0.0.1")
        await sfu.begin()
        following = asyncio.create_task(sfu.follow(), name="janus-events")
        try:
            yield sfu
        finally:
            following.cancel()
            await asyncio.wait({following})


async def wait_answering(client: aiohttp.ClientSession, url: str, process: PeerProcess) -> None:
    """Wait until a GET is answered 200. Raises PeerError."""
    for _ in range(200):
        if process.returncode is not None:
            break
        with contextlib.suppress(aiohttp.ClientError):
            async with client.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.05)
    raise PeerError(f"{url} does not answer:\n{process.log_tail()}")


def missing() -> dict[str, str]:
    """Servers that cannot be compared with here, and why, in words for the report."""
    reasons = {}
    if shutil.which("janus") is None:
        reasons["janus"] = "no janus on the PATH (apt-get install janus)"
    if shutil.which("livekit-server") is None:
        reasons["livekit"] = "no livekit-server on the PATH"
    return reasons
