"""Commands about visitors' media between Edge and Core, and about TURN."""

from __future__ import annotations

from mediaserver.engine.commands.command import Address, Command


class OpenMediaLink(Command, frozen=True, kw_only=True, tag="open_media_link"):
    """Begin a link of the shard of `id` to a worker of an Edge; `MediaLinkUp` follows when the Edge answers.

    Our end is a socket of the link's own, so a firewall need let nothing in."""

    edge: Address
    """The worker's socket for Cores."""
    bind_ip: str = "0.0.0.0"
    """Local address from which the link is opened, of the same family."""
    key: bytes
    """32 random bytes, which the worker was given by `SetMediaLink` for this core and shard."""
    path_bytes_per_second: int = 0
    """What one visitor may send through the Edge once its address is proven; 0 for no bound."""
    tls_link: int | None = None
    """The link by whose TLS connection frames go where UDP does not pass."""
    worker: int = 0
    """Number of the Edge's worker."""


class CloseMediaLink(Command, frozen=True, kw_only=True, tag="close_media_link"):
    """End a link; the Edge notices by its silence."""


class SetUfragKey(Command, frozen=True, kw_only=True, tag="set_ufrag_key"):
    """The shard of `id` signs ufrags by another key from now on; those that the last one signed count on."""

    key_id: int
    """Below 256, another one than the last key has."""
    key: bytes
    """32 bytes."""


class LeaveMediaLink(Command, frozen=True, kw_only=True, tag="leave_media_link"):
    """The Edge of a link is lost, or shall be left: media that went over it goes another proven way where there is one, and
    `EdgeLeft` follows for each such transport. Nothing is forgotten, for the Edge may come back."""


class SweepMediaLink(Command, frozen=True, kw_only=True, tag="sweep_media_link"):
    """Forget the paths over a link by which no media goes; `MediaLinkSwept` answers."""


class SetEdgeAddresses(Command, frozen=True, kw_only=True, tag="set_edge_addresses"):
    """Where visitors reach the shard of `id` over Edges: candidates of every `IceTransportOpened` from now on, behind
    those of the shard's own sockets. Replaces what was said before."""

    addresses: tuple[Address, ...]
    tcp_addresses: tuple[Address, ...] = ()
    """The same by TCP (RFC 6544)."""


class SetCoreKey(Command, frozen=True, kw_only=True, tag="set_core_key"):
    """On an Edge's worker: a key by which a Core signs ICE user fragments. A third one of a Core replaces its oldest."""

    core: int
    key_id: int
    key: bytes


class RemoveCoreKey(Command, frozen=True, kw_only=True, tag="remove_core_key"):
    """On an Edge's worker: what this key signed is refused from now on."""

    core: int
    key_id: int


class SetMediaLink(Command, frozen=True, kw_only=True, tag="set_media_link"):
    """On an Edge's worker: a shard of a Core may open a link with this key; `EdgeLinkUp` follows when it has."""

    core: int
    shard: int
    key: bytes


class RemoveMediaLink(Command, frozen=True, kw_only=True, tag="remove_media_link"):
    """On an Edge's worker: the link and its visitors' paths end."""

    core: int
    shard: int


class RevokeSessions(Command, frozen=True, kw_only=True, tag="revoke_sessions"):
    """On an Edge's worker: these transports of a Core have ended; their paths close, their user fragments are refused."""

    core: int
    sessions: tuple[int, ...]
    """Ids of transports."""


class SetTurnSecrets(Command, frozen=True, kw_only=True, tag="set_turn_secrets"):
    """Other secrets for time-limited TURN names; `id` names nothing."""

    secrets: tuple[bytes, ...]


class SetTurnUsers(Command, frozen=True, kw_only=True, tag="set_turn_users"):
    """Other named TURN users, in place of all that there were: name and password. Allocations of those who are gone stay
    until they end by themselves, and cannot be prolonged. `id` names nothing."""

    users: tuple[tuple[str, str], ...]


class SetTurnLimits(Command, frozen=True, kw_only=True, tag="set_turn_limits"):
    """Other bounds of TURN; allocations that there are stay, and count. `id` names nothing."""

    allocations: int
    allocations_per_user: int
    answers_per_second: int


class SetPathLimits(Command, frozen=True, kw_only=True, tag="set_path_limits"):
    """On an Edge's worker: other bounds of paths; those that there are stay, and count."""

    paths: int
    unproven_per_prefix: int


class DrainTurn(Command, frozen=True, kw_only=True, tag="drain_turn"):
    """New TURN clients are sent to one of these, or away where there is none; None ends that. `id` names nothing."""

    alternates: tuple[Address, ...] | None


class OpenEdgePorts(Command, frozen=True, kw_only=True, tag="open_edge_ports"):
    """On an Edge's thread: open a pair of ports for media of a Core's transport; answered by `EdgePortsOpened`. They end
    with the session (`RevokeSessions`), with the Core's life, and after an hour in which nobody sent."""

    core: int
    transport: int
    ip: str
    """Address to bind."""
    rtp_port: int | None = None
    """The pair whose first port is this one, which a peer knows from before; None takes any."""


class AimEdgePorts(Command, frozen=True, kw_only=True, tag="aim_edge_ports"):
    """On an Edge's thread: where the peer's media comes from by its description, and how long others may come in its
    place."""

    core: int
    transport: int
    rtp: Address | None = None
    rtcp: Address | None = None
    latching_ms: int = 0
