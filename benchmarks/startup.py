"""How long the daemon takes to serve, and what it weighs when nobody is there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figures import Report, median
from benchmarks.processes import memory_bytes
from tests.peers.daemon import start_daemon

BOUND_S = 3.0


async def measure(report: Report, starts: int = 5) -> None:
    """Add start-up times with and without a state folder, and memory after the start.

    The first start makes keys, certificate and secrets and packetises the announcement; later ones find them.
    """
    cold: list[float] = []
    warm: list[float] = []
    memory: list[float] = []
    for _ in range(starts):
        with tempfile.TemporaryDirectory(prefix="startup-") as name:
            state = str(Path(name) / "state")
            for index, samples in enumerate((cold, warm)):
                server = await start_daemon(Path(name) / str(index), changes={"state_dir": state})
                try:
                    samples.append(await server.wait_ready(30))
                    memory.append(memory_bytes(server.pid) / 2**20)
                finally:
                    await server.process.stop()
    report.add(
        median("startup_first", cold, "s", note="exec to /readyz 200, empty state folder"),
        median("startup", warm, "s", bound=BOUND_S, note="exec to /readyz 200"),
        median("memory_idle", memory, "MiB", note="PSS of the daemon after the start"),
    )
