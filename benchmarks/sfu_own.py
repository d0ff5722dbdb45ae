"""This project's daemon behind the face of `sfu_face`: a room for each publisher."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.load_target import LoadTarget, load_target
from benchmarks.sfu_face import Wanted, pin
from benchmarks.webrtc_client import Peer
from tests.peers.daemon import Daemon, daemon
from tests.peers.namespace import Namespace


class OwnSfu:
    """The daemon as its clients see it: WHIP and WHEP."""

    name = "mediaserver"
    note = ""

    def __init__(self, server: Daemon, target: LoadTarget, wanted: Wanted) -> None:
        self.pid = server.pid
        self._server = server
        self._target = target
        self._wanted = wanted

    async def publish(self, name: str) -> Peer:
        self._target.use_token(name, await self._server.room_token(name, "publish", "view"))
        kinds, simulcast = self._wanted.kinds, self._wanted.simulcast
        return (await self._target.join_room(name, "whip", kinds, simulcast=simulcast))[0]

    async def view(self, name: str) -> Peer:
        return (await self._target.join_room(name, "whep", self._wanted.kinds))[0]


@contextlib.asynccontextmanager
async def own_sfu(directory: Path, network: Namespace, wanted: Wanted, *, shards: int = 1) -> AsyncIterator[OwnSfu]:
    """The daemon with its shards all on one CPU."""
    url = f"{network.address}:{network.free_port()}"
    many = 100_000
    changes = {
        "listeners": {"http": {"bind": [url]}, "webrtc": {"port_count": shards}},
        "media": {"shards": shards, "real_time": True},
        "limits": {
            "http_requests_per_source": "10000/s",
            "room_sessions_per_source": "10000/s",
            "viewers_per_room": 1000,
            "contacts": many,
            "contacts_per_source": many,
            "sessions_per_source": many,
        },
        "log": {"level": "warning"},
    }
    async with daemon(directory, changes=changes, network=network) as server:
        pin(server.pid)
        async with load_target(f"http://{url}", token="", suite=wanted.suite, feedback=wanted.feedback) as target:
            yield OwnSfu(server, target, wanted)


@contextlib.asynccontextmanager
async def own_sfu_of_two_shards(directory: Path, network: Namespace, wanted: Wanted) -> AsyncIterator[OwnSfu]:
    """The same with two."""
    async with own_sfu(directory, network, wanted, shards=2) as sfu:
        yield sfu
