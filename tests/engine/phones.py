"""The small peers of the engine tests."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import ClassVar, cast

from mediaserver.engine import commands

LOOPBACK = "127.0.0.1"


async def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Wait for something that the engine does on threads of its own."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"did not happen within {timeout_s} s: {what}")
        await asyncio.sleep(0.005)


class Phone(asyncio.DatagramProtocol):
    """One UDP socket that sends and collects RTP."""

    opened: ClassVar[list[Phone]] = []

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        self.sequence = 100
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str = LOOPBACK) -> Phone:
        _, phone = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(host, 0))
        cls.opened.append(phone)
        return phone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if 192 <= data[1] <= 223:
            return  # RTCP
        self.received.append(data)
        self.sources.append(addr)

    @property
    def address(self) -> tuple[str, int]:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(data, to)

    def rtp(self, payload: bytes, *, pt: int = 0, ssrc: int = 0x1234, marker: bool = False) -> bytes:
        """The next packet of this phone's stream, 20 ms of G.711 after the last."""
        self.sequence += 1
        second = pt | (0x80 if marker else 0)
        return struct.pack("!BBHII", 0x80, second, self.sequence & 0xFFFF, self.sequence * 160, ssrc) + payload

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


PCMU = commands.Payload(pt=0, codec="PCMU", clock_rate=8000)
TELEPHONE_EVENT = commands.Payload(pt=101, codec="telephone-event", clock_rate=8000, fmtp={"0-15": ""})


def payload_of(packet: bytes) -> bytes:
    """The payload of an RTP packet without padding."""
    offset = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        offset += 4 + 4 * struct.unpack_from("!H", packet, offset + 2)[0]
    return packet[offset:]
