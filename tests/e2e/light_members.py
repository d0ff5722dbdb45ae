"""Members of a room without codecs: a WebSocket, a transport of bare sockets, and sound that is nothing but its level."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from pylibsrtp import Policy, Session

from benchmarks.peer_media import AUDIO_PAYLOAD_TYPE
from benchmarks.webrtc_client import Identity, Peer

SUITE = "AES_CM_128_HMAC_SHA1_80"
LEVEL_ID = 1
SPOKEN = 30
"""Level of a voice in -dBov."""
_MOST_AT_ONCE = 64


def offer(peer: Peer, ssrc: int, audio_slots: int, video_slots: int) -> str:
    """A microphone, a camera, and sections to receive on."""
    sections = [("audio", "sendonly"), ("video", "sendonly")]
    sections += [("audio", "recvonly")] * audio_slots + [("video", "recvonly")] * video_slots
    host, port = peer.socket.getsockname()
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines.append(f"a=group:BUNDLE {' '.join(str(index) for index in range(len(sections)))}")
    for index, (kind, direction) in enumerate(sections):
        pt, codec = (AUDIO_PAYLOAD_TYPE, "opus/48000/2") if kind == "audio" else (96, "VP8/90000")
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {pt}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{index}",
            f"a={direction}",
            "a=rtcp-mux",
            f"a=ice-ufrag:{peer.ufrag}",
            f"a=ice-pwd:{peer.password}",
            f"a=fingerprint:sha-256 {peer.identity.fingerprint}",
            "a=setup:active",
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            f"a=extmap:{LEVEL_ID} urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            f"a=rtpmap:{pt} {codec}",
        ]
        if index == 0:
            lines.append(f"a=ssrc:{ssrc} cname:light")
    return "\r\n".join(lines) + "\r\n"


class LightMember:
    """One member; what the server says is kept, packets are counted by SSRC."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, identity: Identity) -> None:
        self.id = ""
        self.said: Counter[str] = Counter()
        """Messages of the server by type."""
        self.people: set[str] = set()
        self.slots: dict[str, str | None] = {}
        self.active: str | None = None
        self.heard: Counter[int] = Counter()
        """Packets of sound by SSRC."""
        self.spoken = 0
        """Packets of its own."""
        self._socket = socket
        self._peer = Peer(identity, sends=True, receives=True)
        self._ssrc = secrets.randbelow(0x7FFFFFFF) + 1
        self._welcomed: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None
        self._talking: asyncio.Task[None] | None = None

    async def join(self, token: str, threads: ThreadPoolExecutor) -> None:
        """In the room, connected."""
        self._reading = asyncio.create_task(self._read())
        await self._socket.send_json({"type": "hello", "version": 1, "role": "member", "token": token})
        room = (await asyncio.wait_for(self._welcomed, 60))["room"]
        self.id = room["participant"]
        await self._socket.send_json({"type": "publish", "audio": True, "video": True, "screen": False})
        text = offer(self._peer, self._ssrc, room["audio_slots"], room["video_slots"])
        await self._socket.send_json({"type": "offer", "id": 1, "sdp": text})
        answer = await asyncio.wait_for(self._answered, 60)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(threads, self._peer.connect, answer)
        self._peer.socket.setblocking(False)
        loop.add_reader(self._peer.socket, self._receive)

    def talk(self) -> None:
        """Say words of 400 ms, until told to stop."""
        self._talking = asyncio.create_task(self._talk())

    async def hush(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
            await asyncio.wait({self._talking})

    async def leave(self) -> None:
        """Hang up and go."""
        await self.hush()
        with contextlib.suppress(ConnectionError):
            await self._socket.send_json({"type": "hangup"})
        await self._socket.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        asyncio.get_running_loop().remove_reader(self._peer.socket)
        self._peer.close()

    async def _read(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame.data)
            self.said[message["type"]] += 1
            match message["type"]:
                case "welcome":
                    self._welcomed.set_result(message)
                case "answer":
                    self._answered.set_result(message["sdp"])
                case "participants":
                    self.people |= {person["id"] for person in message["present"]}
                    self.people -= set(message["left"])
                case "slots":
                    self.slots |= {slot["mid"]: slot["participant"] for slot in message["slots"]}
                case "speakers":
                    self.active = message["active"]

    def _receive(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                datagram, source = self._peer.socket.recvfrom(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if datagram[0] < 4 and source == self._peer._answer.address:  # type: ignore[union-attr]
                self._peer._handle_stun(datagram, self._peer._answer)  # type: ignore[arg-type]
            elif 128 <= datagram[0] <= 191 and datagram[1] & 0x7F == AUDIO_PAYLOAD_TYPE:
                self.heard[int.from_bytes(datagram[8:12], "big")] += 1

    async def _talk(self) -> None:
        plan = self._peer.plan_entry()
        policy = Policy(
            key=plan["local_key"],
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
        outbound = Session(policy=policy)
        host, _, port = plan["remote"].rpartition(":")
        number = 0
        while True:
            level = SPOKEN if number % 25 < 20 else 70
            header = struct.pack("!BBHII", 0x90, AUDIO_PAYLOAD_TYPE, number & 0xFFFF, number * 960, self._ssrc)
            extension = struct.pack("!HHBBxx", 0xBEDE, 1, LEVEL_ID << 4, 0x80 | level)
            with contextlib.suppress(BlockingIOError):
                self._peer.socket.sendto(outbound.protect(header + extension + bytes(20)), (host, int(port)))
            number += 1
            self.spoken = number
            await asyncio.sleep(0.02)
