"""SRTP keys that a process has in use, proven by opening with them what was caught on a wire (RFC 7714)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.peers.aes_schedules import find_keys
from tests.peers.memory_search import Region

_SALT_BYTES = 12
_NEAR_BYTES = 128
"""A salt lies beside the reference to the cipher that it belongs to, within so many bytes."""
_STATE_OFFSETS = range(0, 64, 8)
"""How far into the cipher's state its schedule may begin."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What encrypts one direction."""

    key: bytes
    salt: bytes


def is_srtp(datagram: bytes) -> bool:
    """RTP, and neither STUN, DTLS nor RTCP (RFC 7983, RFC 5761 §4)."""
    return len(datagram) > 40 and 128 <= datagram[0] <= 191 and not 64 <= datagram[1] & 0x7F <= 95


def find_session_keys(memory: Sequence[Region], directions: Mapping[str, Sequence[bytes]]) -> dict[str, SessionKey]:
    """Of each direction the key and salt in `memory` that open one of its packets; without those that are not there."""
    schedules = {region.start + found.offset: found.key for region in memory for found in find_keys(region.data)}
    found_keys: dict[str, SessionKey] = {}
    for key, salt in _beside(memory, schedules):
        candidate = SessionKey(key, salt)
        for name, packets in directions.items():
            if name not in found_keys and any(opens(candidate, packet) for packet in packets):
                found_keys[name] = candidate
        if len(found_keys) == len(directions):
            break
    return found_keys


def opens(key: SessionKey, packet: bytes) -> bool:
    """Whether the packet was protected with this key."""
    words = packet[0] & 15
    header = 12 + 4 * words
    if packet[0] & 0x10:
        header += 4 + 4 * struct.unpack_from("!H", packet, header + 2)[0]
    sequence, ssrc = packet[2:4], packet[8:12]
    for rollover in range(2):
        counted = bytes(2) + ssrc + struct.pack("!I", rollover) + sequence
        nonce = bytes(one ^ other for one, other in zip(key.salt, counted, strict=True))
        try:
            AESGCM(key.key).decrypt(nonce, packet[header:], packet[:header])
        except InvalidTag:
            continue
        return True
    return False


def _beside(memory: Sequence[Region], schedules: Mapping[int, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each key with what lies around a reference to the cipher that has its schedule."""
    owners = {address - offset: key for address, key in schedules.items() for offset in _STATE_OFFSETS}
    wanted = np.array(sorted(owners), dtype=np.uint64)
    for region in memory:
        words = np.frombuffer(region.data, dtype="<u8", count=len(region.data) // 8)
        for place in np.flatnonzero(np.isin(words, wanted)):
            key, at = owners[int(words[place])], 8 * int(place)
            first, last = max(0, at - _NEAR_BYTES), min(at + _NEAR_BYTES, len(region.data) - _SALT_BYTES)
            for begin in range(first, last):
                salt = region.data[begin : begin + _SALT_BYTES]
                if len(set(salt)) > _SALT_BYTES // 2:
                    yield key, salt
