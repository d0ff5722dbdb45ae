"""A browser whose media goes by TCP (RFC 6544), as far as ICE: checks, and answers to those of the other side."""

from __future__ import annotations

import asyncio

from aioice.stun import Class, Message, Method

from mediaserver.engine import commands
from mediaserver.engine.engine import Engine, LocalIce

UFRAG, PASSWORD = "ours", "a password of some length"


def set_remote(engine: Engine, local: LocalIce) -> None:
    """The engine is told of the visitor."""
    engine.submit(
        commands.SetIceRemote(
            id=local.id,
            ufrag=UFRAG,
            pwd=PASSWORD,
            fingerprints=(commands.Fingerprint(algorithm="sha-256", value=bytes(32)),),
            dtls_role="client",
        )
    )


class TcpVisitor:
    """A browser's connection to the Edge; every datagram behind its length (RFC 4571)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, host: str, port: int) -> TcpVisitor:
        return cls(*await asyncio.open_connection(host, port))

    def send(self, datagram: bytes) -> None:
        self._writer.write(len(datagram).to_bytes(2, "big") + datagram)

    def check(self, local: LocalIce) -> bytes:
        """A check as the controlling side sends it, which nominates at once; its transaction id."""
        message = Message(Method.BINDING, Class.REQUEST)
        message.attributes["USERNAME"] = f"{local.ufrag}:{UFRAG}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(local.pwd.encode())
        self.send(bytes(message))
        return bytes(message.transaction_id)

    def answer(self, request: Message) -> None:
        message = Message(Method.BINDING, Class.RESPONSE, request.transaction_id)
        message.attributes["XOR-MAPPED-ADDRESS"] = self._writer.get_extra_info("sockname")
        message.add_message_integrity(PASSWORD.encode())
        self.send(bytes(message))

    async def receive(self) -> bytes:
        """The next datagram; empty when the connection was closed."""
        try:
            length = int.from_bytes(await asyncio.wait_for(self._reader.readexactly(2), 10), "big")
            return await asyncio.wait_for(self._reader.readexactly(length), 10)
        except asyncio.IncompleteReadError:
            return b""

    def close(self) -> None:
        self._writer.close()
