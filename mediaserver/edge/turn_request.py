"""The few TURN messages by which a server is tried: Allocate, Refresh, and what it answers (RFC 8489, RFC 8656)."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mediaserver.edge.credentials import TurnCredentials

HEADER_BYTES: Final = 20
_COOKIE: Final = 0x2112A442
_HEADER: Final = struct.Struct(">HHI12s")
_ATTRIBUTE: Final = struct.Struct(">HH")

_ALLOCATE: Final = 0x0003
_REFRESH: Final = 0x0004
_RESPONSE: Final = 0x0100
"""This bit is one in both classes of responses, and `_ERROR` in errors alone (RFC 8489 §5)."""
_ERROR: Final = 0x0010

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_LIFETIME: Final = 0x000D
_REALM: Final = 0x0014
_NONCE: Final = 0x0015
_XOR_RELAYED_ADDRESS: Final = 0x0016
_REQUESTED_TRANSPORT: Final = 0x0019
_UDP: Final = b"\x11\0\0\0"
_INTEGRITY_BYTES: Final = 20


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """Credentials with what the server's challenge asks for beside them."""

    username: bytes
    realm: bytes
    nonce: bytes
    key: bytes
    """RFC 8489 §9.2.2: the MD5 of name, realm and password."""


def proof(credentials: TurnCredentials, challenge: TurnAnswer) -> Proof:
    """What answers a challenge."""
    username, password = credentials.username.encode(), credentials.password.encode()
    # RFC 8489 §9.2.2 has no other key for a server that offers no PASSWORD-ALGORITHM, and every server takes this one.
    key = hashlib.md5(b":".join((username, challenge.realm, password)), usedforsecurity=False).digest()
    return Proof(username, challenge.realm, challenge.nonce, key)


def allocate(transaction: bytes, proven: Proof | None = None) -> bytes:
    """An Allocate request for a relayed UDP address; `transaction` is 12 bytes."""
    return _request(_ALLOCATE, transaction, {_REQUESTED_TRANSPORT: _UDP}, proven)


def give_back(transaction: bytes, proven: Proof) -> bytes:
    """A Refresh request that ends the allocation (RFC 8656 §7)."""
    return _request(_REFRESH, transaction, {_LIFETIME: bytes(4)}, proven)


@dataclass(frozen=True, slots=True)
class TurnAnswer:
    """A response to one of them."""

    transaction: bytes
    code: int
    """0 for a success, else that of ERROR-CODE."""
    realm: bytes = b""
    nonce: bytes = b""
    relayed: str = ""
    """Address and port that were allocated."""

    @property
    def is_challenge(self) -> bool:
        """It asks for credentials, as a server that is none but TURN does (RFC 8489 §9.2.4)."""
        return self.code == 401 and bool(self.realm and self.nonce)


def answer_bytes(header: bytes) -> int:
    """How long the message is whose first `HEADER_BYTES` these are."""
    length: int = _HEADER.unpack(header)[1]
    return HEADER_BYTES + length


def read(data: bytes) -> TurnAnswer | None:
    """The response to a request of ours that `data` is; None for anything else."""
    if len(data) < HEADER_BYTES:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if cookie != _COOKIE or length != len(data) - HEADER_BYTES or kind & ~_ERROR & ~0x000F != _RESPONSE:
        return None
    found: dict[int, bytes] = {}
    at = HEADER_BYTES
    while at + _ATTRIBUTE.size <= len(data):
        name, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        found.setdefault(name, data[at : at + size])
        at += size + -size % 4  # RFC 8489 §14: attributes are padded to four bytes
    code = 0
    if kind & _ERROR:
        error = found.get(_ERROR_CODE, b"")
        if len(error) < 4:
            return None
        code = (error[2] & 7) * 100 + error[3]
    relayed = _address(found.get(_XOR_RELAYED_ADDRESS, b""), transaction)
    return TurnAnswer(transaction, code, found.get(_REALM, b""), found.get(_NONCE, b""), relayed)


def _request(kind: int, transaction: bytes, attributes: Mapping[int, bytes], proven: Proof | None) -> bytes:
    if proven is not None:
        attributes = {**attributes, _USERNAME: proven.username, _REALM: proven.realm, _NONCE: proven.nonce}
    body = b"".join(_written(name, value) for name, value in attributes.items())
    if proven is None:
        return _HEADER.pack(kind, len(body), _COOKIE, transaction) + body
    # RFC 8489 §14.5: the length that is hashed counts the attribute itself.
    length = len(body) + _ATTRIBUTE.size + _INTEGRITY_BYTES
    signed = _HEADER.pack(kind, length, _COOKIE, transaction) + body
    return signed + _written(_MESSAGE_INTEGRITY, hmac.digest(proven.key, signed, "sha1"))


def _written(name: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) % 4)


def _address(value: bytes, transaction: bytes) -> str:
    """XOR-RELAYED-ADDRESS as text (RFC 8489 §14.2); empty where it is none."""
    if (len(value), value[1:2]) not in ((8, b"\x01"), (20, b"\x02")):
        return ""
    mask = struct.pack(">I", _COOKIE) + transaction
    ip = ipaddress.ip_address(bytes(one ^ two for one, two in zip(value[4:], mask, strict=False)))
    port = struct.unpack_from(">H", value, 2)[0] ^ (_COOKIE >> 16)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
