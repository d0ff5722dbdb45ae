"""HEP version 3, the encapsulation that Homer takes: one SIP message with where it came from and went to.

After "EEP/HEP: Extensible Encapsulation protocol", revision 14, of sipcapture.org. Chunks are vendor, type, length with
its own six bytes, and value; all numbers are big-endian.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from mediaserver.sip.flow import Transport

MAX_BYTES: Final = 65_507
"""Longest datagram; a SIP message that does not fit is cut, as its head is what is looked at."""

_FAMILY, _PROTOCOL, _SOURCE_4, _TARGET_4, _SOURCE_6, _TARGET_6 = 1, 2, 3, 4, 5, 6
_SOURCE_PORT, _TARGET_PORT, _SECONDS, _MICROSECONDS, _KIND, _AGENT, _KEY, _PAYLOAD = 7, 8, 9, 10, 11, 12, 14, 15
_INET, _INET6 = 2, 10
_UDP, _TCP = 17, 6
_SIP: Final = 1


def packet(
    payload: bytes,
    *,
    transport: Transport,
    source: tuple[str, int],
    target: tuple[str, int],
    at: float,
    agent: int,
    key: bytes = b"",
) -> bytes:
    """The datagram for one message. `source` and `target` are IP address and port; `at` is POSIX seconds."""
    from_ip, to_ip = ipaddress.ip_address(source[0]), ipaddress.ip_address(target[0])
    both_4 = from_ip.version == to_ip.version == 4
    seconds, micros = divmod(round(at * 1e6), 1_000_000)
    chunks = [
        _chunk(_FAMILY, bytes([_INET if both_4 else _INET6])),
        _chunk(_PROTOCOL, bytes([_UDP if transport == "udp" else _TCP])),
        _chunk(_SOURCE_4 if both_4 else _SOURCE_6, _packed(from_ip, both_4)),
        _chunk(_TARGET_4 if both_4 else _TARGET_6, _packed(to_ip, both_4)),
        _chunk(_SOURCE_PORT, struct.pack("!H", source[1])),
        _chunk(_TARGET_PORT, struct.pack("!H", target[1])),
        _chunk(_SECONDS, struct.pack("!I", seconds)),
        _chunk(_MICROSECONDS, struct.pack("!I", micros)),
        _chunk(_KIND, bytes([_SIP])),
        _chunk(_AGENT, struct.pack("!I", agent)),
    ]
    if key:
        chunks.append(_chunk(_KEY, key))
    head = b"".join(chunks)
    payload = payload[: MAX_BYTES - len(head) - 12]
    body = head + _chunk(_PAYLOAD, payload)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def _chunk(type_: int, value: bytes) -> bytes:
    return struct.pack("!HHH", 0, type_, 6 + len(value)) + value


def _packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, as_4: bool) -> bytes:
    if as_4 or isinstance(address, ipaddress.IPv6Address):
        return address.packed
    return ipaddress.IPv6Address(f"::ffff:{address}").packed
