"""Where a peer's traffic lives: the host's loopback, or a network namespace made for one test.

Both have the same face, so that a peer is started and reached in either: ``exec_prefix`` goes before its command,
``open_socket`` makes a socket that lives inside, ``free_port`` asks there for a port nobody uses.
Making a namespace needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PORTS = (12000, 17999)
"""Ports handed to peers: below the kernel's ephemeral range, apart from RTP ports (daemon.py, baresip.py)."""

CLONE_NEWNET = 0x40000000

_given: deque[int] = deque(maxlen=2000)
"""Ports given lately, the oldest first: who was given one may not have bound it yet."""


class Network:
    """The host's own network; peers use 127.0.0.1, or another loopback address to be told apart by it."""

    def __init__(self, address: str = "127.0.0.1", exec_prefix: tuple[str, ...] = ()) -> None:
        self.address = address
        """The address peers use for media: in a namespace one that is not loopback."""
        self.exec_prefix = exec_prefix

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        return socket.socket(family, kind, protocol)

    def free_port(self, count: int = 1) -> int:
        """First of ``count`` consecutive ports that are free for UDP and TCP on every IPv4 address and given to nobody."""
        for _ in range(500):
            ports = range(first := random.randrange(PORTS[0], PORTS[1] - count), first + count)
            if not any(port in _given for port in ports) and all(self._is_free(port) for port in ports):
                _given.extend(ports)
                return first
        raise OSError(f"no {count} free ports in a row between {PORTS[0]} and {PORTS[1]}")

    def is_taken(self, host: str, port: int) -> bool:
        """Whether somebody has bound this UDP port of an IPv4 address, or of all.

        The kernel is asked for its table. Trying to bind would take the port for a moment, and who is just about to bind it,
        which is what one waits for here, would find it taken and give up.
        """
        wanted = {_as_in_proc(address, port) for address in (host, "0.0.0.0")}
        return any(line.split()[1] in wanted for line in self._udp_table().splitlines()[1:])

    async def connect(
        self, host: str, port: int, *, source: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection from inside this network, from the address ``source`` where it matters."""
        sock = self.open_socket()
        sock.setblocking(False)
        try:
            if source is not None:
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return await asyncio.open_connection(sock=sock, limit=1 << 24)
        except BaseException:
            sock.close()
            raise

    def _udp_table(self) -> str:
        return Path("/proc/thread-self/net/udp").read_text()

    def _is_free(self, port: int) -> bool:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with self.open_socket(kind=kind) as sock:
                try:
                    sock.bind(("0.0.0.0", port))
                except OSError:
                    return False
        return True


class Namespace(Network):
    """A network namespace with loopback, a veth address of its own and a default route that leads nowhere.

    With ``host_address`` set, the other end of the veth pair is on the host, which can be reached at that address.
    """

    def __init__(self, name: str, address: str, host_address: str | None) -> None:
        super().__init__(address, ("ip", "netns", "exec", name))
        self.name = name
        self.host_address = host_address

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket stays in the namespace it was made in, whoever uses it afterwards."""
        return self._inside(lambda: socket.socket(family, kind, protocol))

    async def close_udp(self, port: int) -> None:
        """A firewall: whatever goes to this UDP port is dropped, from now on."""
        rules = (
            f"table inet closed {{\nchain input {{\ntype filter hook input priority 0\nudp dport {port} drop\n}}\n}}\n"
        )
        await _run(*self.exec_prefix, "nft", rules)

    def _udp_table(self) -> str:
        return self._inside(super()._udp_table)

    def _inside(self, act: Callable[[], T]) -> T:
        with ThreadPoolExecutor(max_workers=1) as thread:  # only this thread enters the namespace, and then it ends
            thread.submit(self._enter).result()
            return thread.submit(act).result()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(Path("/run/netns") / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(handle, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(handle)


def _as_in_proc(host: str, port: int) -> str:
    """An address as /proc/net/udp has it (proc_net_udp(5)): its four bytes as a number of this machine, in hexadecimal."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"


LOOPBACK = Network()


async def ip(*arguments: str) -> None:
    """The command `ip`. Raises OSError with what it said where it refuses."""
    await _run("ip", *arguments)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise OSError(f"{' '.join(command)}: {output.decode(errors='replace').strip()}")


@contextlib.asynccontextmanager
async def namespace(*, host_link: bool = False) -> AsyncIterator[Namespace]:
    """Make a namespace, and destroy it with everything in it.

    ``host_link=False``: both ends of the veth pair are inside, nothing gets out.
    ``host_link=True``: one end stays on the host, so that a daemon on the host and a browser inside can talk.
    """
    number = random.randrange(1, 1 << 14)
    name = f"peer{os.getpid() % 100000}x{number}"
    subnet = f"10.77.{number >> 6}.{(number & 63) << 2}"
    host, inside = (f"{subnet.rsplit('.', 1)[0]}.{((number & 63) << 2) + offset}" for offset in (1, 2))
    near, far = f"pa{number}", f"pb{number}"
    await ip("netns", "add", name)
    try:
        await ip("-n", name, "link", "set", "lo", "up")
        await ip("-n", name, "link", "add", near, "type", "veth", "peer", "name", far)
        if host_link:
            await ip("-n", name, "link", "set", far, "netns", str(os.getpid()))
            await ip("addr", "add", f"{host}/30", "dev", far)
            await ip("link", "set", far, "up")
        else:
            await ip("-n", name, "link", "set", far, "up")
        await ip("-n", name, "addr", "add", f"{inside}/30", "dev", near)
        await ip("-n", name, "link", "set", near, "up")
        await ip("-n", name, "route", "add", "default", "dev", near)
        yield Namespace(name, inside, host if host_link else None)
    finally:
        await ip("netns", "del", name)
