"""One running Kamailio: its configuration is written, it is started, waited for, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerProcess

PREAMBLE = """#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
auto_aliases=no
"""
"""What every configuration here begins with."""

REGISTRAR_MODULES = "".join(
    f'loadmodule "{name}.so"\n'
    for name in ("tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "usrloc", "registrar", "auth")
)
"""What those have in common that keep registrations with a password."""


@contextlib.asynccontextmanager
async def kamailio_process(
    home: Path, config: str, *, host: str, port: int, network: Network = LOOPBACK
) -> AsyncIterator[PeerProcess]:
    """Run `config`, which follows the preamble, with its files in the new folder `home`, once it accepts TCP."""
    path = _written(home, config)
    arguments = ["-DD", "-E", "-f", str(path), "-P", str(home / "pid"), "-Y", str(home), "-m", "64", "-M", "8"]
    process = PeerProcess("kamailio", ["kamailio", *arguments], directory=home, prefix=network.exec_prefix)
    try:
        await process.start()
        await _accepts(network, host, port)
        yield process
    finally:
        await process.stop()


def _written(home: Path, config: str) -> Path:
    home.mkdir()
    path = home / "kamailio.cfg"
    path.write_text(PREAMBLE + config)
    return path


async def _accepts(network: Network, host: str, port: int) -> None:
    for _ in range(2000):
        with contextlib.suppress(OSError):
            _reader, writer = await network.connect(host, port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"kamailio does not accept on {host}:{port}")
