"""The TURN server as the engine wants to be told of it, and as browsers are."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from typing import Final

from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress
from mediaserver.edge.credentials import CredentialMint
from mediaserver.engine.config import OpenRelay, TurnConfig
from mediaserver.webrtc.messages import IceServer

_PURPOSE: Final = "turn-credentials"


def turn_config(config: Config, *, secrets: SecretStore) -> TurnConfig | None:
    """What the engine is started with; None where TURN is off."""
    turn, limits = config.listeners.turn, config.limits
    if turn.port is None:
        return None
    addresses = [(str(bind), str(told)) for bind, told in bind_addresses(config, turn.networks)]
    relay, tcp = None, turn.tcp_port
    if turn.relay == "open":
        # One of each family: which of several a client would get nobody could say.
        families = {":" in bind: (bind, told) for bind, told in reversed(addresses)}
        relay = OpenRelay(
            addresses=tuple(families.values()),
            ports=(turn.ports.low, turn.ports.high),
            allowed=tuple(map(str, turn.allowed_peers)),
            denied=tuple(map(str, turn.denied_peers)),
        )
        keys = (secrets.text(turn.shared_secret).encode(),) if turn.shared_secret is not None else ()
    else:
        keys = (_session_secret(config, secrets),)
    return TurnConfig(
        binds=tuple(str(SocketAddress(bind, turn.port)) for bind, _ in addresses),
        tcp_binds=() if tcp is None else tuple(str(SocketAddress(bind, tcp)) for bind, _ in addresses),
        realm=turn.realm,
        secrets=keys,
        users=tuple((prepared(name), prepared(secrets.text(user.secret))) for name, user in turn.users.items()),
        allocations=limits.turn_allocations,
        allocations_per_user=limits.turn_allocations_per_session,
        answers_per_second=round(limits.turn_answers_per_source),
        open=relay,
    )


def ice_servers(config: Config, *, secrets: SecretStore) -> Callable[[], tuple[IceServer, ...]]:
    """Gives each session that asks the TURN server with credentials of its own. An open relay is for the users that the
    configuration names: pages, which anybody may open, get nothing of it."""
    turn = config.listeners.turn
    if turn.port is None or turn.relay == "open":
        return tuple
    told = dict.fromkeys(str(told) for _, told in bind_addresses(config, turn.networks))
    urls = [f"turn:{SocketAddress(address, turn.port)}?transport=udp" for address in told]
    if (tcp := turn.tcp_port) is not None:
        urls += [f"turn:{SocketAddress(address, tcp)}?transport=tcp" for address in told]
    shared = config.listeners.shared_tls
    if shared.turn_name is not None:
        ports = dict.fromkeys(bind.port for bind in shared.bind)
        urls += [f"turns:{shared.turn_name}:{port}?transport=tcp" for port in ports]
    mint = CredentialMint(secret=_session_secret(config, secrets), lifetime_s=turn.credential_lifetime, clock=time.time)

    def servers() -> tuple[IceServer, ...]:
        credentials = mint.mint()
        return (IceServer(urls=tuple(urls), username=credentials.username, credential=credentials.password),)

    return servers


def prepared(text: str) -> str:
    """A name or password as both ends compute with it: spaces are one kind of space, characters are composed (RFC 8265
    §4.2)."""
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)


def _session_secret(config: Config, secrets: SecretStore) -> bytes:
    return secrets.key(config.secrets.ufrag_key, purpose=_PURPOSE)
