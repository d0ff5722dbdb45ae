"""The screen of a phone: a UDP port that depacketises H.264 (aiortc), decodes it (FFmpeg) and notes the sizes shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import av
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.rtp import RtpPacket

from tests.peers.namespace import LOOPBACK, Network


@dataclass
class PictureReceiver(asyncio.DatagramProtocol):
    """Packets of one payload type, in the order in which they come; loopback loses none."""

    payload_type: int
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    """Frames decoded, by width and height in pixels."""
    packets: int = 0
    port: int = 0
    _decoder: av.CodecContext = field(default_factory=lambda: av.CodecContext.create("h264", "r"))
    _frame: bytearray = field(default_factory=bytearray)

    @property
    def frames(self) -> int:
        return sum(self.sizes.values())

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[1] & 0x7F != self.payload_type:
            return
        packet = RtpPacket.parse(data)
        if not packet.payload:
            return
        self.packets += 1
        self._frame += H264PayloadDescriptor.parse(packet.payload)[1]
        if packet.marker:
            with contextlib.suppress(av.error.InvalidDataError):
                for shown in self._decoder.decode(av.Packet(bytes(self._frame))):
                    size = (shown.width, shown.height)
                    self.sizes[size] = self.sizes.get(size, 0) + 1
            self._frame.clear()

    async def wait_frames(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many frames were shown; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.frames < count:
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def picture_receiver(payload_type: int, network: Network = LOOPBACK) -> AsyncIterator[PictureReceiver]:
    """A receiver on a free port, whose RTCP port nobody reads."""
    port = network.free_port(2)
    transport, receiver = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: PictureReceiver(payload_type), local_addr=(network.address, port)
    )
    receiver.port = port
    try:
        yield receiver
    finally:
        transport.close()
