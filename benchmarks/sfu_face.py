"""What every forwarding server looks like to the comparison: publish, view, end.

Each runs in a network namespace of its own; peers stay on the host and reach all of them over the same kind of veth pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from benchmarks.webrtc_client import SUITE, Identity, Peer
from tests.peers.namespace import Namespace
from tests.peers.process import PeerError, PeerProcess

CPU = 0
"""Where every server stays; the load is on the others."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all peers of a run have in common."""

    kinds: Sequence[str] = ("video",)
    suite: str = SUITE
    simulcast: bool = False
    """Publishers send their picture in three layers."""
    feedback: bool = True
    """Everybody gives transport-wide feedback, asks again for what is lost and sends again what is asked for."""


class Sfu(Protocol):
    """A running server."""

    name: str
    note: str
    """What a reader of its figures must know."""
    pid: int
    """Its process, whose CPU time counts."""

    async def publish(self, name: str) -> Peer:
        """A connected peer that sends."""

    async def view(self, name: str) -> Peer:
        """A connected peer that receives what ``name`` publishes."""


class ForeignSfu:
    """What servers that are not ours share: an HTTP interface in the namespace, and peers made by hand."""

    def __init__(self, url: str, http: aiohttp.ClientSession, network: Namespace, wanted: Wanted) -> None:
        self.pid = 0
        self.url = url
        self.http = http
        self.wanted = wanted
        self._identity = Identity(wanted.suite)
        self._local_ip = network.host_address or "127.0.0.1"

    def peer(self, *, sends: bool) -> Peer:
        """Not connected yet."""
        return Peer(
            self._identity,
            sends=sends,
            kinds=self.wanted.kinds,
            simulcast=self.wanted.simulcast,
            feedback=self.wanted.feedback,
            repair=True,
            local_ip=self._local_ip,
        )

    async def take(self, process: PeerProcess, url: str) -> None:
        """Wait until the process answers there, and keep it on its CPU. Raises PeerError."""
        for _ in range(200):
            if process.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                async with self.http.get(url) as response:
                    if response.status == 200:
                        self.pid = process.pid
                        pin(self.pid)
                        return
            await asyncio.sleep(0.05)
        raise PeerError(f"{url} does not answer:\n{process.log_tail()}")


def client() -> aiohttp.ClientSession:
    """For the interface of one server."""
    timeout = aiohttp.ClientTimeout(total=60)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def pin(pid: int, cpus: Sequence[int] = (CPU,)) -> None:
    """Keep all threads of a server on its CPUs; threads made later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), set(cpus))


def missing() -> dict[str, str]:
    """Servers that cannot be compared with here, and why, in words for the report."""
    reasons = {}
    if shutil.which("janus") is None:
        reasons["janus"] = "no janus on the PATH (apt-get install janus)"
    if shutil.which("livekit-server") is None:
        reasons["livekit"] = "no livekit-server on the PATH"
    return reasons
