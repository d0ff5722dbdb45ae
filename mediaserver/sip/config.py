"""What the user agent is told once, at start: binds, domains, timers and every bound."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mediaserver.sip.flow import Transport

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Counters(Protocol):
    """Where events are counted; `counters.COUNTERS` lists names and labels."""

    def inc(self, name: str, **labels: str) -> None:
        """Add one to counter `name`."""


class NullCounters:
    """Counts nothing; for tests and tools."""

    def inc(self, name: str, **labels: str) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Bind:
    """One listening socket, and what peers are told about it where a 1:1 NAT stands before it."""

    transport: Transport
    ip: str
    port: int
    """0 lets the system choose; the Contact carries the chosen port."""
    announced_ip: str | None = None
    announced_port: int | None = None


@dataclass(frozen=True, slots=True)
class TrunkRule:
    """Requests from these networks belong to trunk `name` and are not asked for a password."""

    name: str
    networks: tuple[IpNetwork, ...]
    transports: frozenset[Transport] = frozenset({"udp", "tcp", "tls"})
    certificate_names: frozenset[str] = frozenset()
    """Names in a verified client certificate that prove the trunk from any address; lower case."""


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261 §17.1.1.2 base timers, in seconds."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def t64(self) -> float:
        """64*T1: timers B, F, H, J and the life of a 2xx without ACK."""
        return 64 * self.t1


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Bounds of one message; beyond them it is refused and counted."""

    message_bytes: int = 65_535
    header_bytes: int = 8_192
    """One header field, after unfolding."""
    headers: int = 256
    """Header fields (after splitting nothing: lines)."""
    body_bytes: int = 49_152


@dataclass(frozen=True, slots=True)
class SipLimits:
    """Everything that can grow, bounded."""

    transactions: int = 50_000
    """Over UDP each request stays for 32 s, so that 500 calls per second keep about 32,000."""
    sessions: int = 5_000
    connections: int = 2_000
    connections_per_source: int = 50
    connection_idle_s: float = 900.0
    """A connection without traffic is closed, unless a registration or a session lives on it."""
    message_timeout_s: float = 15.0
    """A message begun on a stream and a TLS handshake must be complete by then; twice this for the first message."""
    connect_timeout_s: float = 5.0
    """Resolving, connecting and shaking hands, outwards."""
    send_buffer_bytes: int = 1_048_576
    bindings_per_aor: int = 10
    aors: int = 10_000
    failover_s: float = 4.0
    """A next hop that says nothing for so long gives way to the next one, where there is one (RFC 3263 §4.3)."""
    ringing_s: float = 300.0
    """A call that is not answered by then is cancelled or refused, whichever way it goes."""
    early_dialogs: int = 16
    """Branches of one forked call that are told apart."""
    provisionals: int = 200
    """Provisional responses to one INVITE that are looked at."""
    session_queue: int = 64
    """Events waiting for a session's owner; beyond it the session ends with an error."""
    subscriptions: int = 10_000
    subscriptions_per_user: int = 100
    """Of one subscriber, to whatever users."""
    texts_per_s: float = 5.0
    """Texts (MESSAGE) of one call each way; four times as many may come at once."""
    unauthenticated_per_source_per_s: float = 20.0
    """Rate of requests answered for one source prefix that has not authenticated (burst is twice that)."""
    auth_failures: int = 10
    """Wrong passwords from one source within `auth_failure_window_s` before it is banned."""
    auth_failure_window_s: float = 60.0
    ban_s: float = 300.0
    tracked_sources: int = 20_000
    message: MessageLimits = field(default_factory=MessageLimits)


@dataclass(frozen=True, slots=True)
class SipConfig:
    """All settings of one user agent."""

    binds: tuple[Bind, ...]
    domains: frozenset[str]
    """Lower-case host names whose users register here; the announced addresses always count as ours too."""
    realm: str
    server_name: str = "mediaserver"
    """Value of Server and User-Agent."""
    trunks: tuple[TrunkRule, ...] = ()
    certificate_users: Mapping[str, str] = field(default_factory=dict)
    """Users by the names in the certificates of their devices, as `transport.stream.names_in` gives them."""
    timers: Timers = field(default_factory=Timers)
    limits: SipLimits = field(default_factory=SipLimits)
    min_expires_s: int = 60
    max_expires_s: int = 7_200
    default_expires_s: int = 3_600
    nonce_lifetime_s: float = 300.0
    nat_keep_alive_s: float = 25.0
    """How often phones behind a NAT that registered over UDP are sent something; 0 never."""
    digest_algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    """Algorithms of a challenge, best first (RFC 8760 §2.4)."""
    md5_only_agents: tuple[str, ...] = ("baresip v0.", "baresip v1.", "baresip v2.", "sipsak 0.")
    """User-Agents that begin so give up at a challenge they do not know, instead of taking the next: MD5 alone."""
    session_expires_s: int = 1_800
    """Interval of the session timer (RFC 4028); 0 uses none."""
    min_se_s: int = 90
    """The least interval that a peer may want; the least that RFC 4028 §4 allows."""
    retry_after_s: int = 30
    """Retry-After of a 503 while draining or overloaded."""
    dscp: int = 0
    """Mark of what is sent (RFC 2474), 0 to 63."""
    udp_max_bytes: int = 1_300
    """Larger requests go over TCP first (RFC 3261 §18.1.1)."""
