"""Everything that passes a wire, kept in memory, to look for what must not be on it."""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from tests.peers.namespace import Namespace
from tests.peers.process import PeerError
from tests.peers.secret_forms import Needles

ETH_P_ALL, ETH_P_IP = 3, 0x0800
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 * 1024 * 1024
MOST_BYTES = 1024 * 1024 * 1024
TCP, UDP = 6, 17

Flow = tuple[bytes, bytes, int]


class WireCapture:
    """One wire. What it lost is an error: an empty search must mean that nothing was there."""

    def __init__(self, place: Namespace, interface: str) -> None:
        self.name = f"{place.name}/{interface}"
        self.frames: list[bytes] = []
        self._bytes = 0
        self._socket = place.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"capture {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take what has come until now and end, whatever still comes. Raises PeerError where packets were lost."""
        self._ended.set()
        self._thread.join()
        _, lost = struct.unpack("=II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._socket.close()
        if lost or self._bytes > MOST_BYTES:
            raise PeerError(f"the capture of {self.name} lost {lost} packets and kept {self._bytes} bytes")

    def find(self, needles: Needles) -> dict[str, int]:
        """How often each needle is in a datagram or in what one side of a TCP connection sent."""
        found = dict.fromkeys(needles.names, 0)
        for data in (*self.frames, *self.streams()):
            for name, count in needles.count_in(data).items():
                found[name] += count
        return found

    def streams(self) -> list[bytes]:
        """What each side of each TCP connection sent, in the order of its sequence numbers."""
        segments: defaultdict[Flow, dict[int, bytes]] = defaultdict(dict)
        first: dict[Flow, int] = {}
        for flow, payload, sequence in self.segments():
            if payload:
                # Counted from the first one seen, since the numbers wrap (RFC 9293 §3.4).
                start = first.setdefault(flow, sequence)
                segments[flow].setdefault((sequence - start + (1 << 31)) % (1 << 32), payload)
        return [_joined(parts) for parts in segments.values()]

    def segments(self) -> Iterator[tuple[Flow, bytes, int]]:
        """Of every TCP segment: addresses and ports, payload, sequence number."""
        for addresses, protocol, packet in self._packets():
            if protocol == TCP and len(packet) >= 20:
                sequence = struct.unpack_from("!I", packet, 4)[0]
                yield (addresses, packet[:4], protocol), packet[(packet[12] >> 4) * 4 :], sequence

    def datagrams(self) -> Iterator[tuple[int, int, bytes]]:
        """Of every UDP datagram: source port, destination port, payload."""
        for _, protocol, packet in self._packets():
            if protocol == UDP and len(packet) >= 8:
                source, destination = struct.unpack_from("!HH", packet)
                yield source, destination, packet[8:]

    def _packets(self) -> Iterator[tuple[bytes, int, bytes]]:
        for frame in self.frames:
            if len(frame) >= 34 and struct.unpack_from("!H", frame, 12)[0] == ETH_P_IP:
                packet = frame[14 : 14 + struct.unpack_from("!H", frame, 16)[0]]
                yield packet[12:20], packet[9], packet[(packet[0] & 15) * 4 :]

    def _read(self) -> None:
        while True:
            if self._ended.is_set():
                # A wire on which a call goes on is never silent: what waits already is taken, and nothing is waited for.
                self._socket.setblocking(False)
            try:
                frame = self._socket.recv(1 << 17)
            except TimeoutError:
                continue
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == 100:  # ENETDOWN: told once when the interface goes down; it may come back
                    continue
                return
            self._bytes += len(frame)
            if self._bytes <= MOST_BYTES:
                self.frames.append(frame)


@contextmanager
def captured(wires: Iterable[tuple[Namespace, str]]) -> Iterator[list[WireCapture]]:
    """Capture these wires while the block runs; each ends with what has come until then."""
    with ExitStack() as stack:
        captures = []
        for place, interface in wires:
            captures.append(capture := WireCapture(place, interface))
            stack.callback(capture.stop)
        yield captures


def _joined(parts: dict[int, bytes]) -> bytes:
    whole, end = bytearray(), 0
    for offset in sorted(parts):
        payload = parts[offset]
        if whole and offset > end:
            whole += b"\n"  # something is missing: what is before and behind must not seem to be next to each other
        elif whole:
            payload = payload[end - offset :]
        whole += payload
        end = max(end, offset + len(parts[offset]))
    return bytes(whole)
