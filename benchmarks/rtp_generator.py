"""G.711 streams through relayed calls: one packet each 20 ms and direction, sent from a thread and counted on the way back.

All calls of a side share one socket, from which the relay's ports are told apart; so what is sent and what comes is
known by side, and the generator costs little beside a relay that has a socket for each call.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

PTIME_S: Final = 0.02
SLICES: Final = 10
"""A tick is sent in so many parts, or the relay's sockets would get bursts that no network has."""
PAYLOAD: Final = bytes([0xD5]) * 160
LATE_S: Final = PTIME_S
"""More behind its time than that, and the generator is the limit."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One side: its socket, and where the relay takes the packets of each call."""

    sock: socket.socket
    relays: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run came to."""

    ticks: int
    """Packets of each stream."""
    sent: int
    received: int
    seconds: float
    busy: float
    """Share of a core that the generator took."""
    late: bool
    """It could not keep its own time: what was lost says nothing about the relay."""

    @property
    def lost(self) -> float:
        """Share of the packets that did not come."""
        return 1 - self.received / self.sent if self.sent else 0.0


def media_socket(ip: str) -> socket.socket:
    """A socket that holds what comes in a tick of thousands of calls."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((ip, 0))
    return sock


def run(sides: list[Streams], seconds: float, sequence: int = 0) -> Sent:
    """Sends for so long and counts what arrives; `sequence` is the first number of every stream.

    Only `sides` with relays send; all of them count.
    """
    legs = [
        (index * 100_000 + number + 1, side.sock, relay)
        for index, side in enumerate(sides)
        for number, relay in enumerate(side.relays)
    ]
    slices = [legs[part::SLICES] for part in range(SLICES)]
    sent = received = 0
    late = False
    for side in sides:
        _drain(side.sock)
    began, cpu = time.monotonic(), time.thread_time()
    ticks = max(1, round(seconds / PTIME_S))
    for tick in range(ticks):
        number = sequence + tick
        head = struct.pack("!BBHI", 0x80, 8, number & 0xFFFF, number * 160 & 0xFFFF_FFFF)
        for part, members in enumerate(slices):
            due = began + (tick + part / SLICES) * PTIME_S
            now = time.monotonic()
            late = late or now - due > LATE_S
            if due > now:
                time.sleep(due - now)
            for ssrc, sock, relay in members:
                sock.sendto(head + ssrc.to_bytes(4, "big") + PAYLOAD, relay)
            sent += len(members)
            received += sum(_drain(side.sock) for side in sides)
    busy = (time.thread_time() - cpu) / (time.monotonic() - began)
    time.sleep(0.2)
    received += sum(_drain(side.sock) for side in sides)
    return Sent(ticks, sent, received, time.monotonic() - began, busy, late)


def _drain(sock: socket.socket) -> int:
    count = 0
    buffer = bytearray(16)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv_into(
                buffer, 0, socket.MSG_DONTWAIT
            )  # the rest of the packet is dropped, and only its head need be looked at
            count += not 72 <= buffer[1] & 0x7F <= 76  # RTCP's types 200 to 204 (RFC 5761 §4)
    return count
