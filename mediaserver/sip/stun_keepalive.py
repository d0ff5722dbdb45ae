"""The answer to a STUN keep-alive on a SIP socket (RFC 5626 §8, RFC 8489): where the request came from, and no more."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

_COOKIE: Final = 0x2112A442
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_XOR_MAPPED_ADDRESS: Final = 0x0020
_HEADER: Final = struct.Struct(">HHI12s")
MAX_REQUEST_BYTES: Final = 128
"""A keep-alive has no use for attributes, and what is longer than the answer cannot be used to amplify."""


def answer(data: bytes, ip: str, port: int) -> bytes | None:
    """The Binding response to `data` from (ip, port); None for anything that is no Binding request.

    Attributes are not looked at: none that a keep-alive could carry asks for anything.
    """
    if not _HEADER.size <= len(data) <= MAX_REQUEST_BYTES:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind != _BINDING_REQUEST or cookie != _COOKIE or length != len(data) - _HEADER.size or length % 4:
        return None
    address = ipaddress.ip_address(ip)
    mask = (struct.pack(">I", _COOKIE) + transaction)[: len(address.packed)]
    masked = bytes(one ^ two for one, two in zip(address.packed, mask, strict=True))
    family = 1 if address.version == 4 else 2
    value = struct.pack(">BBH", 0, family, port ^ (_COOKIE >> 16)) + masked
    attribute = struct.pack(">HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEADER.pack(_BINDING_SUCCESS, len(attribute), _COOKIE, transaction) + attribute
