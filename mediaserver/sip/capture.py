"""Copies of SIP messages for a monitoring server: what came and what left, byte for byte; nothing waits for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from mediaserver.sip.config import Counters
from mediaserver.sip.flow import Flow
from mediaserver.sip.hep import packet


class Capture:
    """What the socket to the server does not take at once is dropped and counted."""

    def __init__(
        self,
        to: tuple[str, int],
        *,
        agent: int,
        key: str = "",
        counters: Counters,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`to` is address and port of the server, which need not be there, now or ever."""
        self._to = to
        self._agent = agent
        self._key = key.encode()
        self._counters = counters
        self._wall_clock = wall_clock
        self._socket = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def received(self, data: bytes, flow: Flow) -> None:
        """A message came, one that cannot be read included."""
        self._copy(data, flow, (flow.remote_ip, flow.remote_port), (flow.local_ip, flow.local_port))

    def sent(self, data: bytes, flow: Flow) -> None:
        """A message left."""
        self._copy(data, flow, (flow.local_ip, flow.local_port), (flow.remote_ip, flow.remote_port))

    def close(self) -> None:
        """Copies nothing more."""
        self._socket.close()

    def _copy(self, data: bytes, flow: Flow, source: tuple[str, int], target: tuple[str, int]) -> None:
        at, agent, key = self._wall_clock(), self._agent, self._key
        copy = packet(data, transport=flow.transport, source=source, target=target, at=at, agent=agent, key=key)
        try:
            self._socket.sendto(copy, self._to)
        except OSError:  # its buffer is full, no way leads there, or the capture is closed
            self._counters.inc("sip.captured", result="dropped")
        else:
            self._counters.inc("sip.captured", result="sent")
