"""The TURN server as the engine wants to be told of it, and as browsers are."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress
from mediaserver.edge.credentials import CredentialMint
from mediaserver.engine.config import OpenRelay, TurnConfig
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.messages import EdgeAddress
from mediaserver.link.rotating import Rotating
from mediaserver.webrtc.messages import IceServer

_PURPOSE: Final = "turn-credentials"
_EDGE_PURPOSE: Final = "turn-credentials-of-edges"


def turn_config(config: Config, *, secrets: SecretStore | None) -> TurnConfig | None:
    """What the engine is started with; None where TURN is off. An Edge has no secrets: its Cores give it theirs."""
    turn, limits = config.listeners.turn, config.limits
    if turn.port is None:
        return None
    addresses = [(str(bind), str(told)) for bind, told in bind_addresses(config, turn.networks)]
    relay, tcp = None, turn.tcp_port
    made = None if secrets is None else TurnSecrets(turn_secrets(config, secrets))
    if secrets is not None and turn.relay == "open":
        # One of each family: which of several a client would get nobody could say.
        families = {":" in bind: (bind, told) for bind, told in reversed(addresses)}
        relay = OpenRelay(
            addresses=tuple(families.values()),
            ports=(turn.ports.low, turn.ports.high),
            allowed=tuple(map(str, turn.allowed_peers)),
            denied=tuple(map(str, turn.denied_peers)),
        )
    return TurnConfig(
        binds=tuple(str(SocketAddress(bind, turn.port)) for bind, _ in addresses),
        tcp_binds=() if tcp is None else tuple(str(SocketAddress(bind, tcp)) for bind, _ in addresses),
        realm=turn.realm,
        secrets=() if made is None else made.relayed_by_us,
        users=() if made is None else tuple(made.users.items()),
        allocations=limits.turn_allocations,
        allocations_per_user=limits.turn_allocations_per_session,
        answers_per_second=round(limits.turn_answers_per_source),
        open=relay,
    )


def ice_servers(
    config: Config, *, secrets: TurnSecrets, edges: EdgeRegistry | None = None
) -> Callable[[], tuple[IceServer, ...]]:
    """Gives each session that asks the TURN servers with credentials of its own: that of this daemon, and those of its
    Edges. An open relay is for the users that the configuration names: pages, which anybody may open, get nothing of it."""
    lifetime_s = config.listeners.turn.credential_lifetime
    own_urls = _own_urls(config)

    def servers() -> tuple[IceServer, ...]:
        edge_urls = tuple(map(_edge_url, edges.addresses("turn"))) if edges is not None else ()
        both = ((secrets.own.current, own_urls), (secrets.of_edges.current, edge_urls))
        return tuple(
            _server(CredentialMint(secret=secret, lifetime_s=lifetime_s, clock=time.time), urls)
            for secret, urls in both
            if urls
        )

    return servers


@dataclass(frozen=True, slots=True, repr=False)
class FreshTurnSecrets:
    """What makes the passwords of TURN names, and those of named users, as it was read."""

    own: bytes
    """By which names of this daemon's own relay are checked; empty for an open one without `shared_secret`."""
    of_edges: bytes
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by name, of an open relay."""


class TurnSecrets:
    """The same while they change: what makes passwords with that before it, passwords themselves at once."""

    def __init__(self, fresh: FreshTurnSecrets) -> None:
        self.own = Rotating(fresh.own)
        self.of_edges = Rotating(fresh.of_edges)
        self.users = fresh.users

    @property
    def relayed_by_us(self) -> tuple[bytes, ...]:
        """What our own relay takes names by."""
        return tuple(filter(None, self.own.all))

    def adopt_users(self, fresh: Mapping[str, str]) -> tuple[str, ...]:
        """Take these in place of all that there were; the names of those who are new or gone or have another password."""
        before, self.users = self.users, fresh
        return tuple(name for name in sorted({*before, *fresh}) if before.get(name) != fresh.get(name))


def turn_secrets(config: Config, secrets: SecretStore) -> FreshTurnSecrets:
    """Read them. Raises ConfigError."""
    turn = config.listeners.turn
    if turn.relay == "open":
        own = b"" if turn.shared_secret is None else secrets.text(turn.shared_secret).encode()
    else:
        own = secrets.key(config.secrets.ufrag_key, purpose=_PURPOSE)
    return FreshTurnSecrets(own=own, of_edges=edge_turn_secret(config, secrets), users=relay_users(config, secrets))


def relay_users(config: Config, secrets: SecretStore) -> dict[str, str]:
    """Passwords of those whom the configuration names; nobody where the relay is closed. Raises ConfigError."""
    turn = config.listeners.turn
    if turn.relay != "open":
        return {}
    return {prepared(name): prepared(secrets.text(user.secret)) for name, user in turn.users.items()}


def edge_turn_secret(config: Config, secrets: SecretStore) -> bytes:
    """Makes the passwords by which visitors use the TURN servers of our Edges, which know it, and nothing else."""
    return secrets.key(config.secrets.ufrag_key, purpose=_EDGE_PURPOSE)


def relay_secrets(of_cores: Iterable[Sequence[bytes]]) -> tuple[bytes, ...]:
    """The secrets of all Cores as an Edge's relay takes them: those in use before those that were."""
    return tuple(secret for some in zip_longest(*of_cores) for secret in some if secret is not None)


def _server(mint: CredentialMint, urls: Sequence[str]) -> IceServer:
    credentials = mint.mint()
    return IceServer(urls=tuple(urls), username=credentials.username, credential=credentials.password)


def _edge_url(address: EdgeAddress) -> str:
    scheme = "turns" if address.protocol == "tls" else "turn"
    transport = "udp" if address.protocol == "udp" else "tcp"
    host = address.name if address.name is not None else address.ip
    return f"{scheme}:{SocketAddress(host, address.port)}?transport={transport}"


def _own_urls(config: Config) -> tuple[str, ...]:
    turn = config.listeners.turn
    if turn.port is None or turn.relay == "open":
        return ()
    told = dict.fromkeys(str(told) for _, told in bind_addresses(config, turn.networks))
    urls = [f"turn:{SocketAddress(address, turn.port)}?transport=udp" for address in told]
    if (tcp := turn.tcp_port) is not None:
        urls += [f"turn:{SocketAddress(address, tcp)}?transport=tcp" for address in told]
    shared = config.listeners.shared_tls
    if shared.turn_name is not None:
        ports = dict.fromkeys(bind.port for bind in shared.bind)
        urls += [f"turns:{shared.turn_name}:{port}?transport=tcp" for port in ports]
    return tuple(urls)


def prepared(text: str) -> str:
    """A name or password as both ends compute with it: spaces are one kind of space, characters are composed (RFC 8265
    §4.2)."""
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)
