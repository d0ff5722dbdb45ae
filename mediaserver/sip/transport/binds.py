"""The sockets that listen: opened by the configuration, chosen for what is sent, and known to peers by what we announce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from mediaserver.runtime.dscp import mark
from mediaserver.sip.config import Bind
from mediaserver.sip.core import Announced
from mediaserver.sip.flow import Transport
from mediaserver.sip.transport.listener import Listener, choose_listener
from mediaserver.sip.transport.stream import Connection
from mediaserver.sip.transport.udp import UdpSocket


class Binds:
    """`new_udp` and `new_connection` make the protocols of what is opened and accepted; `dscp` marks what is sent."""

    def __init__(
        self,
        binds: Iterable[Bind],
        *,
        dscp: int,
        new_udp: Callable[[], UdpSocket],
        new_connection: Callable[[Transport], Connection],
    ) -> None:
        self._binds = tuple(binds)
        self._dscp = dscp
        self._new_udp = new_udp
        self._new_connection = new_connection
        self._listeners: list[Listener] = []
        self._choose = lru_cache(maxsize=1024)(self._choose_listener)
        self._udp: dict[tuple[str, int], UdpSocket] = {}
        self._servers: list[asyncio.Server] = []

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        """Transport, address and port of every open bind."""
        return [(item.transport, item.ip, item.port) for item in self._listeners]

    # -- opening ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open all. Raises OSError; what was opened until then is still to be closed."""
        for bind in self._binds:
            opening = self._open_udp(bind) if bind.transport == "udp" else self._open_stream(bind)
            ip, port = await opening
            self._listeners.append(Listener(bind, bind.transport, ip, port))
            self._choose.cache_clear()

    async def _open_udp(self, bind: Bind) -> tuple[str, int]:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            self._new_udp, local_addr=(bind.ip, bind.port)
        )
        mark(transport.get_extra_info("socket"), self._dscp)
        self._udp[(protocol.ip, protocol.port)] = protocol
        return protocol.ip, protocol.port

    async def _open_stream(self, bind: Bind) -> tuple[str, int]:
        server = await asyncio.get_running_loop().create_server(
            partial(self._new_connection, bind.transport), bind.ip, bind.port, backlog=256
        )
        self._servers.append(server)
        mark(server.sockets[0], self._dscp)
        name = server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    def close(self) -> None:
        """Take and send nothing more; datagrams that are queued are sent first."""
        for server in self._servers:
            server.close()
        for udp in self._udp.values():
            udp.close()
        self._servers.clear()
        self._udp.clear()

    # -- what peers are told ----------------------------------------------------------------------------------------

    def announced(self, transport: Transport, *, local_ip: str | None, remote_ip: str | None) -> Announced | None:
        """What Via and Contact say towards a peer; None when nothing leads there."""
        listener = self._choose(transport, local_ip, remote_ip)
        if listener is None:
            return None
        return Announced(listener.transport, listener.announced_ip(remote_ip), listener.announced_port)

    def announced_ip(self, local_ip: str) -> str:
        """What peers are told in place of an address of ours."""
        binds = (item.bind for item in self._listeners if item.ip == local_ip)
        return next((bind.announced_ip for bind in binds if bind.announced_ip), local_ip)

    def is_ours(self, host: str, port: int | None) -> bool:
        """Whether peers know us by this address, or could."""
        for item in self._listeners:
            if port is not None and port not in (item.port, item.announced_port):
                continue
            if host in (item.ip, item.bind.announced_ip) or host == item.announced_ip(host):
                return True
        return False

    # -- datagrams --------------------------------------------------------------------------------------------------

    def send(self, data: bytes, ip: str, port: int) -> bool:
        """Send a datagram from the socket that leads there; False when there is none, or it cannot."""
        listener = self._choose("udp", None, ip)
        if listener is None or listener.transport != "udp":
            return False
        return self.send_from((listener.ip, listener.port), data, ip, port)

    def send_from(self, local: tuple[str, int], data: bytes, ip: str, port: int) -> bool:
        """The same from the socket of this address."""
        udp = self._udp.get(local)
        return udp is not None and udp.send(data, ip, port)

    def _choose_listener(self, transport: Transport, local_ip: str | None, remote_ip: str | None) -> Listener | None:
        return choose_listener(self._listeners, transport, local_ip=local_ip, remote_ip=remote_ip)
