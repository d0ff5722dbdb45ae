"""Commands about the TLS between Edge and Core, and about the streams in it."""

from __future__ import annotations

from typing import Literal

import msgspec

from mediaserver.engine.commands.command import Address, Command
from mediaserver.engine.config import PageCertificate


class SetSharedTls(Command, frozen=True, kw_only=True, tag="set_shared_tls"):
    """Other names, certificates and proxies for the connections that come to the shared TLS port from now on; where it
    listens stays. `id` names nothing."""

    binds: tuple[str, ...]
    names: tuple[str, ...]
    certificate_chain: tuple[bytes, ...]
    private_key_der: bytes
    page_certificate: PageCertificate | None
    trusted_proxies: tuple[str, ...]
    ice: tuple[str, ...]


class SetConnectionLimits(Command, frozen=True, kw_only=True, tag="set_connection_limits"):
    """Other bounds of TCP connections; those that are open stay, and count. `id` names nothing."""

    connections: int
    waiting_per_prefix: int


class LinkCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who this end of a link is, and who vouches for the other; PEM."""

    certificate_chain_pem: bytes
    private_key_pem: bytes
    issuers_pem: bytes

    def __repr__(self) -> str:
        return "LinkCredentials(...)"


class LinkPin(msgspec.Struct, frozen=True, kw_only=True):
    """A Core that a listener admits. Several pins may name the same link, while its certificate changes."""

    link: int
    """Id of the link that this Core has when it comes, chosen by the sender."""
    name: str
    """DNS name in its certificate."""
    fingerprint: bytes
    """SHA-256 of its certificate (DER)."""


class DialLink(Command, frozen=True, kw_only=True, tag="dial_link"):
    """Keep a link to an Edge from now on (TLS 1.3, certificates both ways). `LinkUp` and `LinkDown` tell how it goes.

    Links belong to no shard; their ids may be of any."""

    address: Address
    server_name: str
    """DNS name in the Edge's certificate."""
    fingerprint: bytes
    """SHA-256 of the Edge's certificate (DER)."""
    credentials: LinkCredentials
    media: bool = False
    """Keep a second connection for media frames, where UDP is blocked."""


class ListenLink(Command, frozen=True, kw_only=True, tag="listen_link"):
    """Admit Cores from now on; answered by `LinkListening`. Of one Core the newest connection stays."""

    bind: Address
    credentials: LinkCredentials
    cores: tuple[LinkPin, ...]


Service = Literal["page", "sip", "dialled"]
"""What a connection is for."""


class CarryStream(Command, frozen=True, kw_only=True, tag="carry_stream"):
    """Carry a visitor's connection to the other end of the link; `StreamOpened` follows there. Where the link is down the
    connection is closed."""

    fd: int
    """A connected TCP socket; it belongs to the engine from now on."""
    source: Address
    local: Address
    server_name: str
    service: Service = "page"
    number: int = 0
    """The Core's own number of a connection that it had opened."""


class CloseLink(Command, frozen=True, kw_only=True, tag="close_link"):
    """Close what was dialled or listens under `id`, with its links; `LinkDown` follows for those that were up."""


class SetLinkBusy(Command, frozen=True, kw_only=True, tag="set_link_busy"):
    """Whether paths exist on the link: then its other end is asked for a sign of life every 500 ms instead of every 5 s,
    and it comes back within 500 ms."""

    busy: bool


class SendLinkMessage(Command, frozen=True, kw_only=True, tag="send_link_message"):
    """Send a control message, at most 256 KiB; at most 4 MiB wait. Refused while the link is down."""

    payload: bytes
