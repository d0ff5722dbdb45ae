"""What `mediaserver check-link` finds, and the words for what keeps a connection away."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal

from mediaserver.config.values import SocketAddress
from mediaserver.errors import MediaServerError

TIMEOUT_S: Final = 3.0

State = Literal["good", "bad", "unknown", "note"]
"""`note` is about what cannot be tried from here and need not be."""
How = Literal["refused", "silent", "unreachable", "closed", "other"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    said: str
    right: str = ""
    """What would be right, where it is not good."""


@dataclass(frozen=True, slots=True)
class Way:
    """A port as one comes to it."""

    protocol: Literal["udp", "tcp", "tls"]
    host: str
    """An address, or a name that leads to it."""
    port: int
    server_name: str | None = None
    """What is asked for over TLS."""

    def __str__(self) -> str:
        over = " (TLS)" if self.protocol == "tls" else ""
        return f"{'UDP' if self.protocol == 'udp' else 'TCP'} {SocketAddress(self.host, self.port)}{over}"


class Unanswered(MediaServerError):
    """Nobody answers as one should; `how` is by what it shows."""

    def __init__(self, how: How, said: str) -> None:
        super().__init__(said)
        self.how = how


async def connected(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection. Raises Unanswered."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await asyncio.open_connection(host, port)
    except ConnectionRefusedError as error:
        raise Unanswered("refused", words(error)) from None
    except TimeoutError as error:
        raise Unanswered("silent", words(error)) from None
    except OSError as error:
        raise Unanswered("unreachable", words(error)) from None


async def secured(writer: asyncio.StreamWriter, context: ssl.SSLContext, *, server_name: str | None) -> bytes:
    """Begin TLS on a connection; returns the certificate that is shown (DER). Raises Unanswered, ssl.SSLError."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await writer.start_tls(context, server_hostname=server_name)
    except ssl.SSLError:
        raise
    except TimeoutError:
        raise Unanswered("closed", "TCP passes, and TLS does not begin") from None
    except OSError as error:
        raise Unanswered(
            "closed", f"TCP passes, and then the connection is closed before TLS ({words(error)})"
        ) from None
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return shown or b""


def anybody() -> ssl.SSLContext:
    """Takes every certificate: whose it is, is another question than whether TLS passes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def bound(what: str, address: SocketAddress) -> Finding:
    """Whether somebody of this machine has bound the UDP port."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address.host, address.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Finding(what, "good", f"{address} (UDP) is bound")
            return Finding(
                what, "bad", f"{address} (UDP) cannot be had: {words(error)}", "an address of this machine in networks"
            )
    return Finding(what, "bad", f"nobody has bound {address} (UDP)", "the running daemon; see its log")


def words(error: BaseException) -> str:
    """In short, for people."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
