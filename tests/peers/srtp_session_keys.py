"""SRTP keys that a process has in use, proven by opening with them what was caught on a wire (RFC 7714)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class _Protected:
    """A packet in its parts (RFC 7714 §8.1)."""

    header: bytes
    encrypted: bytes
    counters: tuple[int, ...]
    """What the salt makes the nonce of, with the rollover counters of a call that has just begun."""

    @classmethod
    def of(cls, packet: bytes) -> _Protected:
        header = 12 + 4 * (packet[0] & 15)
        if packet[0] & 0x10:
            header += 4 + 4 * struct.unpack_from("!H", packet, header + 2)[0]
        sequence, ssrc = packet[2:4], packet[8:12]
        rollovers = (struct.pack("!I", rollover) for rollover in range(2))
        counters = tuple(int.from_bytes(bytes(2) + ssrc + rollover + sequence) for rollover in rollovers)
        return cls(packet[:header], packet[header:], counters)

    def opens_with(self, cipher: AESGCM, salt: int) -> bool:
        for counter in self.counters:
            try:
                cipher.decrypt((salt ^ counter).to_bytes(_SALT_BYTES), self.encrypted, self.header)
            except InvalidTag:
                continue
            return True
        return False


def find_session_keys(memory: Sequence[Region], packets: Mapping[str, Sequence[bytes]]) -> dict[str, SessionKey]:
    """Of each direction the key and salt in `memory` that open one of its packets; without those that are not there."""
    schedules = {region.start + found.offset: found.key for region in memory for found in find_keys(region.data)}
    wanted = {name: [_Protected.of(packet) for packet in some] for name, some in packets.items()}
    found: dict[str, SessionKey] = {}
    for key, nearby in _beside(memory, schedules):
        cipher = AESGCM(key)
        for begin in range(len(nearby) - _SALT_BYTES + 1):
            salt = nearby[begin : begin + _SALT_BYTES]
            if len(set(salt)) <= _SALT_BYTES // 2:
                continue
            number = int.from_bytes(salt)
            for name in [
                name for name, some in wanted.items() if any(each.opens_with(cipher, number) for each in some)
            ]:
                found[name] = SessionKey(key, salt)
                del wanted[name]
        if not wanted:
            break
    return found


def opens(key: SessionKey, packet: bytes) -> bool:
    """Whether the packet was protected with this key."""
    return _Protected.of(packet).opens_with(AESGCM(key.key), int.from_bytes(key.salt))


def _beside(memory: Sequence[Region], schedules: Mapping[int, bytes]) -> set[tuple[bytes, bytes]]:
    """Each key with what lies around a reference to the cipher that has its schedule."""
    owners = {address - offset: key for address, key in schedules.items() for offset in _STATE_OFFSETS}
    found: set[tuple[bytes, bytes]] = set()
    if not owners:
        return found
    wanted = np.array(sorted(owners), dtype=np.uint64)
    for region in memory:
        words = np.frombuffer(region.data, dtype="<u8", count=len(region.data) // 8)
        # Few words are addresses between the first and the last: the rest need no search.
        places = np.flatnonzero((words >= wanted[0]) & (words <= wanted[-1]))
        for place in places[np.isin(words[places], wanted)]:
            at = 8 * int(place)
            nearby = region.data[max(0, at - _NEAR_BYTES) : at + _NEAR_BYTES + _SALT_BYTES]
            found.add((owners[int(words[place])], nearby))
    return found
