"""coturn's clients: they load a TURN server and say what was lost. Their exit code is no verdict, so their text is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import PeerError, PeerProcess


@dataclass(frozen=True, slots=True)
class RelayedTraffic:
    """What `turnutils_uclient` counted."""

    sent: int
    received: int
    lost: int
    log: str


async def relayed_traffic(
    *arguments: str, directory: Path, name: str = "uclient", timeout_s: float = 60.0
) -> RelayedTraffic:
    """Runs `turnutils_uclient`. Raises `PeerError` where it does not get so far as to count."""
    client = PeerProcess(name, ["turnutils_uclient", *arguments], directory=directory)
    async with client:
        await client.wait(timeout_s)
    log = client.log()
    totals = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", log)
    lost = re.search(r"Total lost packets (\d+)", log)
    if not totals or lost is None:
        raise PeerError(f"turnutils_uclient counted nothing:\n{client.log_tail()}")
    sent, received = map(int, totals[-1])
    return RelayedTraffic(sent, received, int(lost[1]), log)


def echo_peer(host: str, port: int, *, directory: Path) -> PeerProcess:
    """`turnutils_peer`: sends back what it gets."""
    return PeerProcess(f"echo-{port}", ["turnutils_peer", "-L", host, "-p", str(port)], directory=directory)


async def mapped_address(host: str, port: int, *, directory: Path) -> str:
    """What `turnutils_stunclient` is told of its own address."""
    client = PeerProcess("stunclient", ["turnutils_stunclient", "-p", str(port), host], directory=directory)
    async with client:
        match = await client.wait_for_log(r"UDP reflexive addr: (\S+)", timeout_s=20.0)
        await client.wait(20.0)
    return match[1]
