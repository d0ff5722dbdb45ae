"""The limit program (`limit/`) as Python starts it: the same job as a server's, and nothing but the job."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def run_limit(program: Path, cipher: str, packets_per_s: int, job: LimitJob) -> dict[str, Any] | None:
    """Its figures at this rate of all publishers together, 0: saturated; None when this machine lacks the cipher."""
    numbers = (job.receivers, job.packet_bytes, packets_per_s, job.seconds, job.publishers, job.burst)
    command = [str(program), "fanout", cipher, *(str(number) for number in numbers)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode == 3:
        return None
    if result.returncode != 0:
        raise RuntimeError(f"limit fanout {cipher}: {result.stdout}{result.stderr}")
    figure: dict[str, Any] = json.loads(result.stdout)
    return figure
