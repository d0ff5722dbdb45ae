"""Marks of what the engine sends, as the receiver's kernel reads them from the IP header."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

import pytest

from mediaserver.engine import commands
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import DscpMarks
from mediaserver.engine.engine import Engine, EngineError, LocalRtp
from tests.engine.conftest import running
from tests.engine.phones import LOOPBACK, PCMU

H264 = commands.Payload(pt=97, codec="H264", clock_rate=90_000)
KEYFRAME = bytes.fromhex("6742c01f8c8d402802dd80")
MARKS = DscpMarks(audio=46, video=34, screen=26)


@dataclass
class Ear:
    """A phone's RTP port whose kernel tells the TOS byte of every packet."""

    sock: socket.socket

    @classmethod
    def open(cls) -> Ear:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((LOOPBACK, 0))
        sock.settimeout(30)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        return cls(sock)

    async def dscp(self, payload_type: int) -> int:
        """The mark of the next packet of a payload type."""
        return await asyncio.to_thread(self._dscp, payload_type)

    def _dscp(self, payload_type: int) -> int:
        while True:
            data, control, _, _ = self.sock.recvmsg(2048, 64)
            if data[1] & 0x7F == payload_type:
                return int(control[0][2][0]) >> 2


async def call(engine: Engine, kind: commands.Kind, payload: commands.Payload) -> tuple[Ear, Ear, LocalRtp, int]:
    """One who talks, one who listens, where to talk to, and the down track between."""
    talker, listener = Ear.open(), Ear.open()
    local, far = [await engine.open_rtp_transport(LOOPBACK) for _ in range(2)]
    up, down = engine.new_track_id(local.id), engine.new_track_id(far.id)
    for rtp, ear in ((local, talker), (far, listener)):
        await engine.request(commands.SetRtpRemote(id=rtp.id, rtp=ear.sock.getsockname()))
    await engine.request(commands.AddUpTrack(id=up, transport=local.id, kind=kind, payloads=(payload,)))
    await engine.request(
        commands.AddDownTrack(id=down, transport=far.id, kind=kind, ssrc=5, cname="test", payloads=(payload,))
    )
    await engine.request(commands.Subscribe(id=down, up=up))
    return talker, listener, local, down


def rtp(payload_type: int, number: int, payload: bytes) -> bytes:
    return struct.pack("!BBHII", 0x80, 0x80 | payload_type, number, number * 3000, 7) + payload


@pytest.mark.parametrize("dscp", [MARKS, DscpMarks(audio=34, video=34, screen=34), DscpMarks()])
async def test_sound_camera_and_screen_are_marked(dtls_certificate: DtlsCertificate, dscp: DscpMarks) -> None:
    async with running(dtls_certificate, shards=1, dscp=dscp) as engine:
        talker, listener, local, _ = await call(engine, "audio", PCMU)
        talker.sock.sendto(rtp(0, 1, bytes(160)), (local.ip, local.rtp_port))
        assert await listener.dscp(0) == dscp.audio
        camera, screen, local, down = await call(engine, "video", H264)
        camera.sock.sendto(rtp(97, 1, KEYFRAME), (local.ip, local.rtp_port))
        assert await screen.dscp(97) == dscp.video
        await engine.request(commands.SetDownTrackTarget(id=down, is_screen=True))
        camera.sock.sendto(rtp(97, 2, KEYFRAME), (local.ip, local.rtp_port))
        assert await screen.dscp(97) == dscp.screen
        for ear in (talker, listener, camera, screen):
            ear.sock.close()


async def test_a_mark_of_more_than_six_bits_is_refused(dtls_certificate: DtlsCertificate) -> None:
    with pytest.raises(EngineError, match="dscp"):
        async with running(dtls_certificate, shards=1, dscp=DscpMarks(audio=64)):
            pass
