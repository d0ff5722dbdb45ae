"""The control messages between Core and Edge, version 1: msgpack maps tagged by `type`, strict and bounded.

A Core begins with `CoreHello`, and nothing counts before it; the Edge answers with `EdgeHello`. Both are known to each
other by their certificates before the first message; a message is all the same read as that of somebody hostile.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from mediaserver.errors import LocalProtocolError, RemoteProtocolError

VERSIONS: Final = (1,)
"""Versions of these messages that are spoken here, the best one first."""
MAX_MESSAGE_BYTES: Final = 256 * 1024
"""What the link carries at most."""
REVOCATIONS_PER_MESSAGE: Final = 1000
"""Sessions in one `Revoke`."""

MAX_REASON: Final = 200
"""Characters of a text for people."""

CoreId = Annotated[int, Meta(ge=0, lt=1 << 16)]
KeyId = Annotated[int, Meta(ge=0, lt=1 << 8)]
SessionId = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
ExpiryMinute = Annotated[int, Meta(ge=0, lt=1 << 24)]
Secret = Annotated[bytes, Meta(min_length=32, max_length=32)]
Name = Annotated[str, Meta(min_length=1, max_length=253)]
Ip = Annotated[str, Meta(min_length=2, max_length=45)]
Port = Annotated[int, Meta(ge=1, lt=1 << 16)]
Worker = Annotated[int, Meta(ge=0, lt=64)]
Number = Annotated[int, Meta(ge=1, lt=1 << 53)]
Text = Annotated[str, Meta(max_length=MAX_REASON)]
DrainSeconds = Annotated[float, Meta(ge=0, le=7 * 86_400)] | None


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages."""


class CoreHello(Message, frozen=True, kw_only=True, tag="core_hello"):
    """A Core says who it is, whenever the link came up."""

    versions: Annotated[tuple[int, ...], Meta(min_length=1, max_length=16)]
    """Versions that it speaks, the best one first."""
    core_id: CoreId
    shards: Annotated[int, Meta(ge=1, le=64)]
    """Threads of it, each of which opens the media part of the link."""
    software: Text


class EdgeAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where visitors reach an Edge."""

    protocol: Literal["udp", "tcp", "tls"]
    ip: Ip
    port: Port
    purpose: Literal["media", "turn", "web", "sip", "sip_media"]
    """`sip_media` opens its ports one by one; the first of them stands here."""
    name: Name | None = None
    """What its certificate is for, where that is asked."""


Addresses = Annotated[tuple[EdgeAddress, ...], Meta(max_length=64)]


class EdgeHello(Message, frozen=True, kw_only=True, tag="edge_hello"):
    """An Edge answers a Core."""

    version: int
    """The version that both speak from now on; 0 where there is none, and then nothing else follows."""
    name: Name
    software: Text
    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    """Another one whenever the Edge was started anew."""
    addresses: Addresses = ()
    media_ports: Annotated[tuple[Port, ...], Meta(max_length=64)] = ()
    """UDP ports, one for each thread of the Edge, for the media part of the link; on the address that was dialled."""
    terminated: Annotated[tuple[Name, ...], Meta(max_length=256)] = ()
    """Names of pages whose TLS ends at the Edge: connections for them come in the clear."""
    drain_deadline_s: DrainSeconds = None
    """As in `Drain`, for what was said before the link came up."""


class TokenKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that proves local ufrags of the Core."""

    id: KeyId
    secret: Secret

    def __repr__(self) -> str:
        return f"TokenKey(id={self.id})"


class SetKeys(Message, frozen=True, kw_only=True, tag="set_keys"):
    """The keys that are good from now on, instead of all before; two while they rotate."""

    tokens: Annotated[tuple[TokenKey, ...], Meta(min_length=1, max_length=2)]
    turn: Annotated[tuple[Secret, ...], Meta(max_length=2)] = ()
    """Make the passwords of the TURN names that the Core gives to visitors; the Edge serves whoever has one."""
    media: Secret
    """From it follow the keys that prove control frames of the link's media part (`media_key`); the same for as
    long as the Core lives."""

    def __repr__(self) -> str:
        return f"SetKeys(tokens={self.tokens})"


class Revocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session whose tokens are worth nothing any more."""

    session: SessionId
    """The engine's id of the transport."""
    expires_minute: ExpiryMinute
    """Last minute of its tokens, counted from 2020: after it the revocation can be forgotten."""


class Revoke(Message, frozen=True, kw_only=True, tag="revoke"):
    """Sessions that have ended."""

    sessions: Annotated[tuple[Revocation, ...], Meta(min_length=1, max_length=REVOCATIONS_PER_MESSAGE)]


class EdgeAddresses(Message, frozen=True, kw_only=True, tag="edge_addresses"):
    """The Edge is reached elsewhere from now on."""

    addresses: Addresses


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """From either end: it takes no new sessions and ends after the deadline; or it goes on after all."""

    deadline_s: DrainSeconds
    """None: it goes on."""


class BringElsewhere(Message, frozen=True, kw_only=True, tag="bring_elsewhere"):
    """From the Core: somebody came from this address for whom it has nothing, and who will come again."""

    source: Ip
    core_id: CoreId | None
    """Whose session they resume; None: they are new, and this Core takes nobody new."""


class Dial(Message, frozen=True, kw_only=True, tag="dial"):
    """From the Core: open a TCP connection to a trunk. It comes as a visitor's, with this number."""

    number: Number
    ip: Ip
    port: Port


class DialFailed(Message, frozen=True, kw_only=True, tag="dial_failed"):
    """From the Edge: it could not."""

    number: Number
    reason: Text


class OpenPorts(Message, frozen=True, kw_only=True, tag="open_ports", omit_defaults=True):
    """From the Core: open a pair of ports for media of a transport, on the address that peers are told so. The pair ends
    with the transport (`Revoke`)."""

    transport: SessionId
    ip: Ip
    rtp: Port | None = None
    """The pair whose first port is this: the Edge had it open in its earlier life, and a peer knows it."""
    worker: Worker | None = None
    """The thread that is to have it; None leaves that to the Edge."""
    latching_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    """How long anybody may come in before `AimPorts` names somebody."""


class PortsOpened(Message, frozen=True, kw_only=True, tag="ports_opened"):
    """From the Edge: they are open, at this of its threads."""

    transport: SessionId
    ip: Ip
    rtp: Port
    rtcp: Port
    worker: Worker


class PortsRefused(Message, frozen=True, kw_only=True, tag="ports_refused"):
    """From the Edge: there are none."""

    transport: SessionId
    reason: Text


class AimPorts(Message, frozen=True, kw_only=True, tag="aim_ports"):
    """From the Core: where the peer's media comes from by its description, and how long others may come in its place."""

    transport: SessionId
    rtp: tuple[Ip, Port] | None
    rtcp: tuple[Ip, Port] | None
    latching_ms: Annotated[int, Meta(ge=0, le=600_000)]


AnyMessage = (
    CoreHello
    | EdgeHello
    | SetKeys
    | Revoke
    | EdgeAddresses
    | Drain
    | BringElsewhere
    | Dial
    | DialFailed
    | OpenPorts
    | PortsOpened
    | PortsRefused
    | AimPorts
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def dump(message: AnyMessage) -> bytes:
    """As it goes over the link. Raises LocalProtocolError when it is too long."""
    payload = _encoder.encode(message)
    if len(payload) > MAX_MESSAGE_BYTES:
        raise LocalProtocolError(f"a {type(message).__name__} of {len(payload)} bytes does not fit into the link")
    return payload


def parse(payload: bytes) -> AnyMessage:
    """Read a message of the other end. Raises RemoteProtocolError with what is wrong, without its contents."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise RemoteProtocolError(f"a message of the link cannot be read: {error}") from error


def media_key(secret: bytes, *, worker: int, shard: int) -> bytes:
    """The key of the media part between a worker of the Edge and a shard of the Core (HMAC-SHA256, 32 bytes)."""
    return hmac.digest(secret, f"media {worker} {shard}".encode(), "sha256")


def common_version(theirs: tuple[int, ...]) -> int:
    """The best version that both speak; 0 for none."""
    return next((version for version in VERSIONS if version in theirs), 0)
