"""The TLS of an Edge's visitors: what must be read before it can be served, and what they hear when no Core is there."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Final

from mediaserver.config.covered_names import refuse_covering, terminated_names
from mediaserver.config.model import Config
from mediaserver.daemon.settings import shared_tls
from mediaserver.engine.config import SharedTls

_MOST_READ: Final = 65_536
_TEXT: Final = b"The service is not there at the moment. Please try again soon.\n"


@dataclass(frozen=True, slots=True, repr=False)
class PreparedEdge:
    """What was read for a configuration; it is there before anything changes."""

    shared_tls: SharedTls | None
    terminated: frozenset[str]
    """Names of pages whose TLS ends here."""


def prepare_edge(config: Config) -> PreparedEdge:
    """Read certificates. Raises ConfigError for those that cannot be read, and for those that an Edge must not have."""
    refuse_covering(config)
    return PreparedEdge(shared_tls=shared_tls(config), terminated=frozenset(terminated_names(config)))


def refuse_in_clear(fd: int, *, retry_after_s: float) -> None:
    """Answer 503 on a connection whose TLS has ended before (RFC 9110 §15.6.4), and close it."""
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        f"Retry-After: {max(1, round(retry_after_s))}\r\n"
        "Connection: close\r\n"
        "Cache-Control: no-store\r\n"
        "Content-Type: text/plain\r\n"
        f"Content-Length: {len(_TEXT)}\r\n\r\n"
    )
    with socket.socket(fileno=fd) as connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        # Closed with bytes that nobody read, it would look like a reset to the other end.
        with contextlib.suppress(BlockingIOError):
            connection.recv(_MOST_READ)
        connection.send(head.encode() + _TEXT)
