"""Kamailio as a server that takes copies of SIP messages (HEP version 3) and says what was in them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.kamailio_process import kamailio_process
from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerProcess

CONFIG = """listen=udp:{host}:{port}
listen=tcp:{host}:{port}
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "db_text.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "text://{home}")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
request_route {{
    xlog("L_NOTICE", "captured $rm of $ci from $si:$sp\\n");
    drop;
}}
onreply_route {{
    xlog("L_NOTICE", "captured $rs of $ci from $si:$sp\\n");
    drop;
}}
"""


@dataclass(frozen=True, slots=True)
class CaptureServer:
    address: tuple[str, int]
    process: PeerProcess

    async def has(self, what: str, call_id: str, source: str) -> None:
        """Waits until it was sent a copy: method or code, and address and port of its sender, which is all it tells."""
        await self.process.wait_for_log(f"captured {what} of {call_id} from {source}\n")


@contextlib.asynccontextmanager
async def kamailio_capture(directory: Path, *, network: Network = LOOPBACK) -> AsyncIterator[CaptureServer]:
    """Start it with its files in ``directory / "capture"``."""
    port, host, home = network.free_port(), network.address, directory / "capture"
    config = CONFIG.format(host=host, port=port, home=home)
    async with kamailio_process(home, config, host=host, port=port, network=network) as process:
        yield CaptureServer((host, port), process)
