"""STUN keep-alives on a SIP socket (RFC 5626 §8, RFC 8489), asked and answered: where a request came from, no more."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

_COOKIE: Final = 0x2112A442
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111
_XOR_MAPPED_ADDRESS: Final = 0x0020
_HEADER: Final = struct.Struct(">HHI12s")
MAX_REQUEST_BYTES: Final = 128
"""A keep-alive has no use for attributes, and what is longer than the answer cannot be used to amplify."""
MAX_ANSWER_BYTES: Final = 548
"""RFC 8489 §6.1: what fits every path of IPv4 without fragments."""


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


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """A response to a keep-alive of ours."""

    transaction: bytes
    mapped: tuple[str, int] | None
    """Where the server saw us; None where it says an error, or no address."""


def request(transaction: bytes) -> bytes:
    """A Binding request without attributes; `transaction` is 12 bytes."""
    return _HEADER.pack(_BINDING_REQUEST, 0, _COOKIE, transaction)


def read_answer(data: bytes) -> BindingAnswer | None:
    """The Binding response that `data` is; None for anything else. At most `MAX_ANSWER_BYTES` are looked at."""
    if not _HEADER.size <= len(data) <= MAX_ANSWER_BYTES:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if cookie != _COOKIE or length != len(data) - _HEADER.size:
        return None
    if kind == _BINDING_ERROR:
        return BindingAnswer(transaction, None)
    return BindingAnswer(transaction, _mapped(data)) if kind == _BINDING_SUCCESS else None


def _mapped(data: bytes) -> tuple[str, int] | None:
    at = _HEADER.size
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">HH", data, at)
        value = data[at + 4 : at + 4 + length]
        if kind == _XOR_MAPPED_ADDRESS and (len(value), value[1:2]) in ((8, b"\x01"), (20, b"\x02")):
            mask = data[4 : 4 + len(value) - 4]
            packed = bytes(one ^ two for one, two in zip(value[4:], mask, strict=True))
            return str(ipaddress.ip_address(packed)), struct.unpack_from(">H", value, 2)[0] ^ (_COOKIE >> 16)
        at += 4 + length + (-length) % 4  # RFC 8489 §14: attributes are padded to four bytes
    return None
