"""aiortc as WHIP publisher and WHEP viewer: a WebRTC stack in Python whose SRTP profiles can be narrowed.

Importing this module patches aioice so that 127.0.0.1 is among its candidates, which it leaves out by itself.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fractions
import itertools
import math
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aiohttp
import aioice.ice
import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpReceiver,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import AUDIO_PTIME, MediaStreamError
from aiortc.rtcdtlstransport import SRTP_PROFILES, SRTPProtectionProfile

SAMPLE_RATE = 48000

NO_SERVERS = RTCConfiguration(iceServers=[])
_ICE_SERVER = re.compile(r'<([^>]+)>; rel="ice-server"; username="([^"]*)"; credential="([^"]*)"')


def _with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """aioice's host addresses: loopback alone, because these peers talk to nobody else."""
    return (["127.0.0.1"] if use_ipv4 else []) + (["::1"] if use_ipv6 and not use_ipv4 else [])


aioice.ice.get_host_addresses = _with_loopback


class ToneTrack(MediaStreamTrack):
    """A sine in 20 ms frames, at the pace of the clock."""

    kind = "audio"

    def __init__(self, hz: int = 440) -> None:
        super().__init__()
        self._hz = hz
        self._position = 0
        self._started: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        samples = int(AUDIO_PTIME * SAMPLE_RATE)
        loop = asyncio.get_running_loop()
        if self._started is None:
            self._started = loop.time()
        await asyncio.sleep(max(0.0, self._started + self._position / SAMPLE_RATE - loop.time()))
        step = 2 * math.pi * self._hz / SAMPLE_RATE
        sound = array.array("h", (round(9000 * math.sin(step * (self._position + n))) for n in range(samples)))
        frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
        frame.planes[0].update(sound.tobytes())
        frame.pts = self._position
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._position += samples
        return frame


@dataclass(slots=True)
class Received:
    """What came in on one track."""

    kind: str
    frames: int = 0
    width: int = 0
    height: int = 0
    energy: float = 0.0
    samples: int = 0
    arrivals: list[float] = field(default_factory=list)
    """When each frame came, seconds of the event loop's clock."""

    @property
    def level(self) -> float:
        """Root mean square of all sound so far; 1.0 is full scale."""
        return math.sqrt(self.energy / self.samples) if self.samples else 0.0

    @property
    def longest_gap_s(self) -> float:
        return max((later - earlier for earlier, later in itertools.pairwise(self.arrivals)), default=0.0)


class Viewer:
    """A WHEP player. ``received`` has one entry per track, by kind."""

    def __init__(self, configuration: RTCConfiguration = NO_SERVERS) -> None:
        self.connection = RTCPeerConnection(configuration)
        self.received: dict[str, Received] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self) -> None:
        """Count what every track brings; call before the answer is applied."""

        @self.connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            received = self.received.setdefault(track.kind, Received(track.kind))
            self._tasks.append(asyncio.create_task(_consume(track, received), name=f"viewer-{track.kind}"))

    async def wait_frames(self, kind: str, count: int, timeout_s: float = 60.0) -> Received:
        """Wait until so many frames of one kind were decoded; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = self.received.get(kind)
                if found is not None and found.frames >= count:
                    return found
                await asyncio.sleep(0.02)

    def offer_profiles(self, profiles: Sequence[SRTPProtectionProfile]) -> None:
        """Offer these SRTP profiles alone in the DTLS handshake (RFC 5764 section 4.1.2), best first."""
        for transceiver in self.connection.getTransceivers():
            transceiver.receiver.transport._srtp_profiles = list(profiles)

    def srtp_profiles(self) -> set[str]:
        """What was negotiated, by OpenSSL's names."""
        handshakes = (transceiver.receiver.transport._ssl for transceiver in self.connection.getTransceivers())
        return {handshake.get_selected_srtp_profile().decode() for handshake in handshakes if handshake is not None}

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _consume(track: MediaStreamTrack, received: Received) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            received.frames += 1
            received.arrivals.append(loop.time())
            if isinstance(frame, av.VideoFrame):
                received.width, received.height = frame.width, frame.height
            elif isinstance(frame, av.AudioFrame):
                sound = array.array("h", bytes(frame.planes[0])[: frame.samples * 2 * len(frame.layout.channels)])
                received.energy += sum(value * value for value in sound) / 32768**2
                received.samples += len(sound)


@dataclass(frozen=True, slots=True)
class Resource:
    """A WHIP or WHEP session on the server."""

    url: str
    etag: str
    answer: str
    servers: Sequence[RTCIceServer]
    """Those that the answer named (RFC 9725 section 4.6)."""


async def exchange(http: aiohttp.ClientSession, url: str, token: str, connection: RTCPeerConnection) -> Resource:
    """Offer by POST and apply the answer (RFC 9725 section 4.2); raises ``aiohttp.ClientResponseError``."""
    await connection.setLocalDescription(await connection.createOffer())
    headers = {"Content-Type": "application/sdp", **({"Authorization": f"Bearer {token}"} if token else {})}
    async with http.post(url, data=connection.localDescription.sdp, headers=headers) as response:
        answer = await response.text()
        if response.status != 201:
            raise aiohttp.ClientResponseError(
                response.request_info, response.history, status=response.status, message=answer[:300]
            )
        resource = Resource(
            urljoin(str(response.url), response.headers["Location"]),
            response.headers.get("ETag", ""),
            answer,
            [
                RTCIceServer(*found)
                for link in response.headers.getall("Link", [])
                for found in _ICE_SERVER.findall(link)
            ],
        )
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return resource


def selected_kinds(connection: RTCPeerConnection) -> set[str]:
    """The kinds of our own candidates in the pairs that carry media: ``host``, ``srflx``, ``relay``."""
    transports = {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}
    return {pair.local_candidate.type for each in transports for pair in each._connection._nominated.values()}


async def _delete(http: aiohttp.ClientSession, resource: Resource | None, token: str) -> None:
    if resource is None:
        return
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.suppress(aiohttp.ClientError):
        async with http.delete(resource.url, headers=headers) as response:
            await response.read()


@contextlib.asynccontextmanager
async def whep_viewer(
    url: str,
    token: str = "",
    *,
    video_codec: str = "",
    profiles: Sequence[SRTPProtectionProfile] = SRTP_PROFILES,
    configuration: RTCConfiguration = NO_SERVERS,
    trust: ssl.SSLContext | bool = True,
) -> AsyncIterator[Viewer]:
    """Watch a room; ``video_codec`` (``VP8`` or ``H264``) and ``profiles`` narrow what is offered."""
    viewer = Viewer(configuration)
    resource = None
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        try:
            viewer.connection.addTransceiver("audio", direction="recvonly")
            video = viewer.connection.addTransceiver("video", direction="recvonly")
            if video_codec:
                video.setCodecPreferences(_codecs("video", video_codec))
            viewer.offer_profiles(profiles)
            viewer.watch()
            resource = await exchange(http, url, token, viewer.connection)
            yield viewer
        finally:
            await _delete(http, resource, token)
            await viewer.close()


@contextlib.asynccontextmanager
async def whip_publisher(
    url: str,
    token: str = "",
    *,
    hz: int = 440,
    video_codec: str = "",
    configuration: RTCConfiguration = NO_SERVERS,
    trust: ssl.SSLContext | bool = True,
) -> AsyncIterator[RTCPeerConnection]:
    """Publish a tone and a 640x480 picture into a room."""
    connection = RTCPeerConnection(configuration)
    resource = None
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        try:
            connection.addTransceiver(ToneTrack(hz), direction="sendonly")
            video = connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
            if video_codec:
                video.setCodecPreferences(_codecs("video", video_codec))
            resource = await exchange(http, url, token, connection)
            yield connection
        finally:
            await _delete(http, resource, token)
            await connection.close()


def _codecs(kind: str, name: str) -> list[RTCRtpCodecCapability]:
    capabilities = RTCRtpReceiver.getCapabilities(kind)
    codecs = capabilities.codecs if capabilities is not None else []
    return [codec for codec in codecs if codec.mimeType == f"{kind}/{name}"]
