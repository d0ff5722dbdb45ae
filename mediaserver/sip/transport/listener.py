"""One listening socket as peers see it, and the choice among several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mediaserver.runtime.interfaces import address_towards
from mediaserver.sip.config import Bind
from mediaserver.sip.flow import Transport
from mediaserver.sip.guard import address_of


@dataclass(frozen=True, slots=True)
class Listener:
    """A bind that is open. `ip` and `port` are the socket's real ones."""

    bind: Bind
    transport: Transport
    ip: str
    port: int

    @property
    def announced_port(self) -> int:
        """The port that peers are told."""
        return self.bind.announced_port or self.port

    def announced_ip(self, remote_ip: str | None) -> str:
        """The address that peers are told; for a wildcard bind the one that leads to `remote_ip`."""
        if self.bind.announced_ip:
            return self.bind.announced_ip
        if not address_of(self.ip).is_unspecified:
            return self.ip
        return source_ip(remote_ip or ("::1" if ":" in self.ip else "127.0.0.1"))


@lru_cache(maxsize=1024)
def source_ip(remote_ip: str) -> str:
    """Our address on the route to `remote_ip`, remembered because every message asks; loopback without a route."""
    return address_towards(remote_ip) or ("::1" if ":" in remote_ip else "127.0.0.1")


def choose_listener(
    listeners: list[Listener], transport: Transport, *, local_ip: str | None, remote_ip: str | None
) -> Listener | None:
    """The listener of this transport from which `remote_ip` is best reached; None when no family fits."""
    best: tuple[int, Listener] | None = None
    remote = address_of(remote_ip) if remote_ip is not None else None
    for listener in listeners:
        ip = address_of(listener.ip)
        if remote is not None and ip.version != remote.version:
            continue
        score = 0
        if listener.transport == transport:
            score += 8
        if local_ip is not None and listener.ip == local_ip:
            score += 4
        if remote is not None and (ip.is_unspecified or ip.is_loopback == remote.is_loopback):
            score += 2
        if best is None or score > best[0]:
            best = score, listener
    return best[1] if best is not None else None
