"""The limit program (`limit/`) as Python starts it: the same job as a server's, and nothing but the job."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.namespace import Namespace


@dataclass(frozen=True, slots=True)
class LimitJob:
    """Who sends what to how many."""

    receivers: int
    """Of each publisher."""
    packet_bytes: int
    """Tag included."""
    seconds: float
    publishers: int = 1
    burst: int = 8
    network: Namespace | None = None
    """Where the server's part runs; everybody else stays on the host. Without one all is on the loopback."""


def run_limit(program: Path, cipher: str, packets_per_s: int, job: LimitJob) -> dict[str, Any] | None:
    """Its figures at this rate of all publishers together, 0: saturated; None when this machine lacks the cipher."""
    numbers = (job.receivers, job.packet_bytes, packets_per_s, job.seconds, job.publishers, job.burst)
    command = [str(program), "fanout", cipher, *(str(number) for number in numbers)]
    if job.network is not None:
        command = [*job.network.exec_prefix, *command, job.network.address, job.network.host_address or ""]
        command.append(f"/proc/{os.getpid()}/ns/net")
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode == 3:
        return None
    if result.returncode != 0:
        raise RuntimeError(f"limit fanout {cipher}: {result.stdout}{result.stderr}")
    figure: dict[str, Any] = json.loads(result.stdout)
    return figure
