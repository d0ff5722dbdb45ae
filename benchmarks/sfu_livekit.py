"""livekit-server behind the face of `sfu_face`, for machines that have one on the PATH.

It was written after LiveKit's published protocol and has met no server yet: there is none in Debian.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from joserfc import jwt
from joserfc.jwk import OctKey

from benchmarks.sfu_face import ForeignSfu, Wanted, client
from benchmarks.webrtc_client import Peer
from tests.peers.namespace import Namespace
from tests.peers.process import PeerError, PeerProcess

KEY = "bench"

# Field numbers of livekit_rtc.proto.
OFFER, ANSWER, TRICKLE, ADD_TRACK, PING = 1, 2, 3, 4, 14
JOINED, ANSWERED, OFFERED, TRICKLED, PUBLISHED, LEFT = 1, 2, 3, 4, 6, 8
SUBSCRIBER = 1
TYPES = {"audio": 0, "video": 1}
SOURCES = {"video": 1, "audio": 2}
PING_S = 5.0


def field(number: int, value: bytes | str | int) -> bytes:
    """One protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message in order. Raises ValueError where it is cut short or of a kind not used here."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _read_varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if at + length > len(message):
            raise ValueError("a field runs over the end")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number runs over the end")


def _text(message: bytes, number: int) -> str:
    return next((bytes(value).decode() for found, value in fields(message) if found == number and value), "")


class _Participant:
    """One signalling socket; it stays open as long as the server shall keep the participant."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._candidates: dict[int, list[str]] = {0: [], SUBSCRIBER: []}

    async def send(self, number: int, message: bytes | int) -> None:
        await self._socket.send_bytes(field(number, message))

    async def expect(self, wanted: int) -> bytes:
        """The next message of this number; candidates are kept on the way. Raises PeerError."""
        async with asyncio.timeout(10):
            while True:
                frame = await self._socket.receive()
                if frame.type != aiohttp.WSMsgType.BINARY:
                    raise PeerError(f"livekit closed the socket before message {wanted}")
                for number, message in fields(frame.data):
                    if not isinstance(message, bytes):
                        continue
                    if number == TRICKLED:
                        self._keep(message)
                    if number == LEFT:
                        raise PeerError("livekit ended the session")
                    if number == wanted:
                        return message

    def _keep(self, message: bytes) -> None:
        target = next((value for number, value in fields(message) if number == 2 and isinstance(value, int)), 0)
        with contextlib.suppress(json.JSONDecodeError):
            self._candidates[target].append(json.loads(_text(message, 1)).get("candidate", ""))

    async def with_candidate(self, sdp: str, target: int) -> str:
        """The description with the candidates that came beside it."""
        while "a=candidate:" not in sdp and not any("host" in one for one in self._candidates[target]):
            await self.expect(TRICKLED)
        return sdp + "".join(f"a={one}\r\n" for one in self._candidates[target] if one)

    async def stay(self) -> None:
        """Read what comes and ping."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    while (await self._socket.receive()).type == aiohttp.WSMsgType.BINARY:
                        continue
                    return
            await self.send(PING, int(time.time() * 1000))


class LiveKitSfu(ForeignSfu):
    """livekit-server: a room for each publisher."""

    name = "livekit"
    note = ""

    def __init__(self, url: str, http: aiohttp.ClientSession, network: Namespace, wanted: Wanted) -> None:
        super().__init__(url, http, network, wanted)
        self._secret = secrets.token_hex(24)
        self.staying: set[asyncio.Task[None]] = set()

    @property
    def keys(self) -> dict[str, str]:
        """For the configuration."""
        return {KEY: self._secret}

    async def publish(self, name: str) -> Peer:
        participant = await self._join(name, subscribe=False)
        peer = self.peer(sends=True)
        for kind in self.wanted.kinds:
            await participant.send(ADD_TRACK, self._track(peer, kind))
            await participant.expect(PUBLISHED)
        await participant.send(OFFER, field(1, "offer") + field(2, peer.offer()))
        answer = _text(await participant.expect(ANSWERED), 2)
        return await self._connect(participant, peer, answer, 0)

    async def view(self, name: str) -> Peer:
        participant = await self._join(name, subscribe=True)
        peer = self.peer(sends=False)
        offer = _text(await participant.expect(OFFERED), 2)
        await participant.send(ANSWER, field(1, "answer") + field(2, peer.answer(offer)))
        return await self._connect(participant, peer, offer, SUBSCRIBER)

    def _track(self, peer: Peer, kind: str) -> bytes:
        """What is about to be published (AddTrackRequest)."""
        sources = [source for source in peer.media.sources if source.kind == kind]
        track = field(1, f"load{sources[0].ssrc}") + field(2, kind) + field(3, TYPES[kind])
        if kind == "video":
            track += field(4, 1280) + field(5, 720)
        track += field(8, SOURCES[kind])
        if len(sources) > 1:
            for quality in range(len(sources)):
                size = field(2, 320 << quality) + field(3, 180 << quality)
                track += field(9, field(1, quality) + size + field(4, 300_000 << 2 * quality))
        return track

    async def _connect(self, participant: _Participant, peer: Peer, sdp: str, target: int) -> Peer:
        whole = await participant.with_candidate(sdp, target)
        staying = asyncio.create_task(participant.stay(), name="livekit-participant")
        self.staying.add(staying)
        await asyncio.to_thread(peer.connect, whole)
        return peer

    async def _join(self, room: str, *, subscribe: bool) -> _Participant:
        now = int(time.time())
        claims: dict[str, Any] = {"iss": KEY, "sub": secrets.token_hex(6), "nbf": now - 10, "exp": now + 3600}
        claims["video"] = {"room": room, "roomJoin": True, "canPublish": True, "canSubscribe": True}
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(self._secret))
        parameters = {"access_token": token, "protocol": "9", "auto_subscribe": "1" if subscribe else "0"}
        participant = _Participant(await self.http.ws_connect(f"{self.url}/rtc", params=parameters))
        await participant.expect(JOINED)
        return participant


@contextlib.asynccontextmanager
async def livekit_sfu(directory: Path, network: Namespace, wanted: Wanted) -> AsyncIterator[LiveKitSfu]:
    """livekit-server as an ICE-lite server on one UDP port. Raises PeerError."""
    home = directory / "livekit"
    home.mkdir()
    port = network.free_port(2)
    url = f"http://{network.address}:{port}"
    async with client() as http:
        sfu = LiveKitSfu(url, http, network, wanted)
        config = {
            "port": port,
            "bind_addresses": [network.address],
            "keys": sfu.keys,
            "logging": {"level": "warn"},
            "rtc": {"udp_port": port + 1, "use_ice_lite": True, "node_ip": network.address, "use_external_ip": False},
        }
        path = home / "livekit.yaml"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        command = ["livekit-server", "--config", str(path)]
        async with PeerProcess("livekit", command, directory=home, prefix=network.exec_prefix) as process:
            await sfu.take(process, url)
            try:
                yield sfu
            finally:
                for staying in sfu.staying:
                    staying.cancel()
                if sfu.staying:
                    await asyncio.wait(sfu.staying)
