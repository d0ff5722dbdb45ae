"""aiortc peers for the engine tests, with SDP written by hand: what is proven here is the engine, not our SDP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import MediaDescription, SessionDescription
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from mediaserver.engine import commands
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import Engine, LocalIce

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
WANTED = {"audio": "opus", "video": "VP8"}


@dataclass
class Section:
    """One m-line as both sides agreed on it."""

    kind: commands.Kind
    mid: str
    payload: commands.Payload
    ssrcs: tuple[int, ...]
    track: int = 0
    """Id of the engine's track."""


@dataclass
class Browser:
    """A peer connection and the engine's transport towards it."""

    connection: RTCPeerConnection
    local: LocalIce
    sections: list[Section]
    frames: dict[str, list[AudioFrame | VideoFrame]] = field(default_factory=lambda: {"audio": [], "video": []})
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def section(self, kind: str) -> Section:
        return next(section for section in self.sections if section.kind == kind)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.connection.close()


def new_connection(configuration: RTCConfiguration | None = None) -> RTCPeerConnection:
    return RTCPeerConnection(configuration or RTCConfiguration(iceServers=[]))


async def publish(
    engine: Engine,
    dtls: DtlsCertificate,
    tracks: list[MediaStreamTrack],
    *,
    closed_gates: tuple[str, ...] = (),
    configuration: RTCConfiguration | None = None,
) -> Browser:
    """A browser that sends `tracks` into the engine."""
    connection = new_connection(configuration)
    for track in tracks:
        connection.addTrack(track)
    browser = await _connect(engine, dtls, connection, "recvonly")
    for section in browser.sections:
        section.track = engine.new_track_id(browser.local.id)
        engine.submit(
            commands.AddUpTrack(
                id=section.track,
                transport=browser.local.id,
                kind=section.kind,
                mid=section.mid,
                payloads=(section.payload,),
                ssrcs=section.ssrcs,
                closed_gates=closed_gates if section.kind == "video" else (),
            )
        )
    return browser


async def watch(
    engine: Engine, dtls: DtlsCertificate, publisher: Browser, *, configuration: RTCConfiguration | None = None
) -> Browser:
    """A browser that receives what `publisher` sends."""
    connection = new_connection(configuration)
    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    browser = await _connect(engine, dtls, connection, "sendonly")
    for section in browser.sections:
        section.track = engine.new_track_id(browser.local.id)
        engine.submit(
            commands.AddDownTrack(
                id=section.track,
                transport=browser.local.id,
                kind=section.kind,
                mid=section.mid,
                ssrc=section.ssrcs[0],
                cname="engine",
                payloads=(section.payload,),
            ),
            commands.Subscribe(id=section.track, up=publisher.section(section.kind).track),
        )
    for transceiver in connection.getTransceivers():
        track = transceiver.receiver.track
        browser.tasks.append(asyncio.create_task(_collect(track, browser.frames[track.kind])))
    return browser


async def _collect(track: MediaStreamTrack, into: list[AudioFrame | VideoFrame]) -> None:
    while True:
        frame = await track.recv()
        assert isinstance(frame, AudioFrame | VideoFrame)
        into.append(frame)


async def _connect(engine: Engine, dtls: DtlsCertificate, connection: RTCPeerConnection, direction: str) -> Browser:
    await connection.setLocalDescription(await connection.createOffer())
    offer = SessionDescription.parse(connection.localDescription.sdp)
    local = await engine.open_ice_transport()
    sections = [_section(local, media, index) for index, media in enumerate(offer.media)]
    first = offer.media[0]
    [fingerprint] = [item for item in first.dtls.fingerprints if item.algorithm == "sha-256"]
    extensions = tuple(
        commands.Extension(id=item.id, uri=item.uri) for item in first.rtp.headerExtensions if item.uri == MID_URI
    )
    engine.submit(
        commands.SetIceRemote(
            id=local.id,
            ufrag=first.ice.usernameFragment,
            pwd=first.ice.password,
            fingerprints=(
                commands.Fingerprint(algorithm="sha-256", value=bytes.fromhex(fingerprint.value.replace(":", ""))),
            ),
        ),
        commands.SetExtensions(id=local.id, extensions=extensions),
    )
    answer = _answer(local, dtls, sections, extensions, direction)
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return Browser(connection, local, sections)


def _section(local: LocalIce, media: MediaDescription, index: int) -> Section:
    codec = next(codec for codec in media.rtp.codecs if codec.name == WANTED[media.kind])
    feedback = ("nack", "nack pli") if media.kind == "video" else ()
    payload = commands.Payload(
        pt=codec.payloadType,
        codec=codec.name,
        clock_rate=codec.clockRate,
        channels=codec.channels or 1,
        feedback=feedback,
    )
    ssrcs = tuple(item.ssrc for item in media.ssrc[:1]) or (0x5000_0000 + (local.id & 0xFFFF) * 16 + index,)
    kind: commands.Kind = "audio" if media.kind == "audio" else "video"
    return Section(kind, media.rtp.muxId, payload, ssrcs)


def _answer(
    local: LocalIce,
    dtls: DtlsCertificate,
    sections: list[Section],
    extensions: tuple[commands.Extension, ...],
    direction: str,
) -> str:
    ip, port = local.addresses[0]
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=group:BUNDLE " + " ".join(section.mid for section in sections),
        "a=msid-semantic:WMS *",
    ]
    for section in sections:
        payload = section.payload
        suffix = f"/{payload.channels}" if payload.channels > 1 else ""
        lines += [
            f"m={section.kind} {port} UDP/TLS/RTP/SAVPF {payload.pt}",
            f"c=IN IP4 {ip}",
            f"a=mid:{section.mid}",
            f"a={direction}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            f"a=ice-ufrag:{local.ufrag}",
            f"a=ice-pwd:{local.pwd}",
            f"a=fingerprint:{dtls.fingerprint}",
            "a=setup:passive",
            f"a=rtpmap:{payload.pt} {payload.codec}/{payload.clock_rate}{suffix}",
            *(f"a=rtcp-fb:{payload.pt} {value}" for value in payload.feedback),
            *(f"a=extmap:{item.id} {item.uri}" for item in extensions),
            f"a=candidate:1 1 udp 2130706431 {ip} {port} typ host",
            "a=end-of-candidates",
        ]
        if direction == "sendonly":
            lines += [f"a=msid:engine {section.kind}", f"a=ssrc:{section.ssrcs[0]} cname:engine"]
    return "\r\n".join(lines) + "\r\n"
