"""Tries a TURN server over UDP, TCP or TLS as a visitor would, with credentials or without."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from mediaserver.daemon.finding import TIMEOUT_S, Unanswered, Way, anybody, connected, secured, words
from mediaserver.edge.credentials import TurnCredentials
from mediaserver.edge.turn_request import HEADER_BYTES, TurnAnswer, allocate, answer_bytes, give_back, proof, read

_REPEATED_AFTER_S: Final = (0.5, 1.0, 1.5)
"""RFC 8489 §6.2.1, ended early: who is there answers at once."""


class Ask(Protocol):
    """Sends a request and returns the answer to it."""

    async def __call__(self, request: bytes) -> bytes:
        """Raises Unanswered."""
        ...


async def challenge(way: Way) -> TurnAnswer:
    """What the server says to an Allocate request without credentials. Raises Unanswered."""
    async with _line(way) as ask:
        return await _exchange(ask, allocate)


async def take_and_give_back(way: Way, credentials: TurnCredentials) -> TurnAnswer:
    """What it says to these credentials; an address that it gives is given back at once. Raises Unanswered."""
    async with _line(way) as ask:
        asked = await _exchange(ask, allocate)
        if not asked.is_challenge:
            return asked
        proven = proof(credentials, asked)
        taken = await _exchange(ask, lambda transaction: allocate(transaction, proven))
        if taken.code:
            return taken
        ended = await _exchange(ask, lambda transaction: give_back(transaction, proven))
        return taken if not ended.code else ended


async def _exchange(ask: Ask, request: Callable[[bytes], bytes]) -> TurnAnswer:
    transaction = os.urandom(12)
    answer = read(await ask(request(transaction)))
    if answer is None or answer.transaction != transaction:
        raise Unanswered("other", "who answers there is no TURN server")
    return answer


@asynccontextmanager
async def _line(way: Way) -> AsyncIterator[Ask]:
    if way.protocol == "udp":
        async with _datagrams(way.host, way.port) as ask:
            yield ask
        return
    reader, writer = await connected(way.host, way.port)
    try:
        if way.protocol == "tls":
            await secured(writer, anybody(), server_name=way.server_name)

        async def ask_over_stream(request: bytes) -> bytes:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    writer.write(request)
                    header = await reader.readexactly(HEADER_BYTES)
                    return header + await reader.readexactly(answer_bytes(header) - HEADER_BYTES)
            except TimeoutError:
                raise Unanswered("silent", "the connection is there, and nobody answers on it") from None
            except (OSError, EOFError) as error:
                raise Unanswered("closed", "the connection is closed before an answer") from error

        yield ask_over_stream
    finally:
        writer.close()


@asynccontextmanager
async def _datagrams(ip: str, port: int) -> AsyncIterator[Ask]:
    received = _Received()
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: received, remote_addr=(ip, port))
    except OSError as error:
        raise Unanswered("unreachable", words(error)) from None

    async def ask(request: bytes) -> bytes:
        answer = received.expect()
        for wait_s in _REPEATED_AFTER_S:
            transport.sendto(request)
            done, _ = await asyncio.wait((answer,), timeout=wait_s)
            if done:
                return answer.result()
        raise Unanswered("silent", "no answer in time")

    try:
        yield ask
    finally:
        transport.close()


class _Received(asyncio.DatagramProtocol):
    """The next datagram, or what ICMP says of ours."""

    def __init__(self) -> None:
        self._next: asyncio.Future[bytes] | None = None

    def expect(self) -> asyncio.Future[bytes]:
        """It is waited for from now on."""
        self._next = asyncio.get_running_loop().create_future()
        return self._next

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if self._next is not None and not self._next.done():
            refused = isinstance(exc, ConnectionRefusedError)
            self._next.set_exception(Unanswered("refused" if refused else "unreachable", words(exc)))
