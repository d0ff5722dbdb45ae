"""sippy's B2BUA from PyPI, for comparison: it passes calls on to one next hop and opens no media ports at all."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.figures import ROOT
from benchmarks.sip_calls import B2bua
from tests.peers import sipp
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerError, PeerProcess

OWN_PYTHON = ROOT / ".venv" / "sippy" / "bin" / "python"
"""Of the environment that `make bench-sip` makes for it."""


def python_with_sippy() -> str | None:
    """An interpreter that can import sippy; None where there is none."""
    if OWN_PYTHON.exists():
        return str(OWN_PYTHON)
    return sys.executable if importlib.util.find_spec("sippy") is not None else None


def version(python: str) -> str:
    """The version of sippy that an interpreter has."""
    code = "from importlib.metadata import version; print(version('sippy'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@asynccontextmanager
async def sippy_b2bua(directory: Path, python: str, callee: sipp.Sipp) -> AsyncIterator[B2bua]:
    """Its simple B2BUA between callers and `callee`, over UDP."""
    port = LOOPBACK.free_port()
    process = PeerProcess(
        "sippy",
        [
            *(python, "-m", "sippy.b2bua_simple", "-f", "-l", LOOPBACK.address, "-p", str(port)),
            *("-n", f"{callee.host}:{callee.port}", "-L", str(directory / "sippy.txt")),
        ],
        directory=directory,
        environment={"SIPLOG_BEND": "none", "SIPLOG_LVL": "CRIT"},
    )
    await process.start()
    try:
        for _ in range(500):
            if LOOPBACK.is_taken(LOOPBACK.address, port):
                break
            if process.returncode is not None:
                raise PeerError(f"sippy ended:\n{process.log_tail()}")
            await asyncio.sleep(0.02)
        yield B2bua("sippy", process.pid, (LOOPBACK.address, port))
    finally:
        await process.stop(grace_s=1.0)
