"""aiortc as publisher and viewer of one room by a relay alone, as a program of its own: it runs where its network is.

Its argument is JSON: ``whip`` and ``whep`` with their ``publish`` and ``view`` tokens, ``ca`` (a file, or null), and
``server``, the TURN server as aiortc's ``RTCIceServer`` takes it, or null for the first that the answer of WHIP names. What
it got is one line of JSON, `Relayed`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection

from tests.peers.aiortc_peer import exchange, selected_kinds, whep_viewer, whip_publisher
from tests.peers.daemon import ROOT
from tests.peers.namespace import Network
from tests.peers.process import PeerProcess

FRAMES = {"audio": 50, "video": 30}


@dataclass(frozen=True, slots=True)
class Relayed:
    """What was decoded, and the kinds of the program's own candidates that carried it."""

    kinds: Sequence[str]
    frames: Mapping[str, int]
    level: float
    """Of the sound; 1.0 is full scale."""
    server: str


async def relayed(
    directory: Path,
    network: Network,
    *,
    whip: str,
    whep: str,
    publish: str,
    view: str,
    ca: Path | None = None,
    server: Mapping[str, str] | None = None,
) -> Relayed:
    """Run it inside ``network``. Raises PeerError with its log where nothing comes."""
    wanted = {"whip": whip, "whep": whep, "publish": publish, "view": view, "ca": ca and str(ca), "server": server}
    process = PeerProcess(
        "aiortc-relayed",
        [sys.executable, "-m", "tests.peers.aiortc_relayed", json.dumps(wanted)],
        directory=directory,
        environment={"PYTHONPATH": str(ROOT)},
        prefix=network.exec_prefix,
    )
    async with process:
        return Relayed(**json.loads((await process.wait_for_log(r"(?m)^\{.*\}$", 90))[0]))


async def _servers(url: str, token: str, trust: ssl.SSLContext | bool) -> list[RTCIceServer]:
    """What the server names to whoever publishes."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        try:
            resource = await exchange(http, url, token, connection)
            async with http.delete(resource.url, headers={"Authorization": f"Bearer {token}"}) as response:
                response.raise_for_status()
        finally:
            await connection.close()
    return list(resource.servers)


async def _run(wanted: Mapping[str, Any]) -> Relayed:
    trust = ssl.create_default_context(cafile=wanted["ca"]) if wanted["ca"] else True
    given = wanted["server"]
    found = [RTCIceServer(**given)] if given else await _servers(wanted["whip"], wanted["publish"], trust)
    configuration = RTCConfiguration(iceServers=found[:1], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    async with (
        whip_publisher(
            wanted["whip"], wanted["publish"], video_codec="VP8", configuration=configuration, trust=trust
        ) as publisher,
        whep_viewer(
            wanted["whep"], wanted["view"], video_codec="VP8", configuration=configuration, trust=trust
        ) as viewer,
    ):
        await asyncio.gather(*(viewer.wait_frames(kind, count) for kind, count in FRAMES.items()))
        return Relayed(
            sorted(selected_kinds(publisher) | selected_kinds(viewer.connection)),
            {kind: received.frames for kind, received in viewer.received.items()},
            viewer.received["audio"].level,
            str(found[0].urls),
        )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_run(json.loads(sys.argv[1]))))), flush=True)  # noqa: T201 - its answer
