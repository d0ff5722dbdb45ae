"""Kamailio as an edge proxy: it puts itself into the Path of registrations (RFC 3327) and passes calls on by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

HOST = "127.0.0.3"

CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=1
auto_aliases=no
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "path.so"
loadmodule "xlog.so"
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    if (is_method("REGISTER")) {{
        add_path();
        $du = "sip:127.0.0.1:{registrar}";
        t_relay();
        exit;
    }}
    xlog("L_ERR", "$rm by the path $hdr(Route) to $ru\\n");
    loose_route();
    record_route();
    t_relay();
}}
"""


@dataclass(frozen=True, slots=True)
class Edge:
    host: str
    port: int
    process: PeerProcess


@contextlib.asynccontextmanager
async def edge(directory: Path, *, port: int, registrar: int) -> AsyncIterator[Edge]:
    """Start it on ``port`` of 127.0.0.3; its files lie in ``directory / "edge"``."""
    home = directory / "edge"
    home.mkdir()
    config = home / "kamailio.cfg"
    config.write_text(CONFIG.format(host=HOST, port=port, registrar=registrar))
    arguments = ["-DD", "-E", "-f", str(config), "-P", str(home / "pid"), "-Y", str(home), "-m", "64", "-M", "8"]
    process = PeerProcess("kamailio", ["kamailio", *arguments], directory=home)
    try:
        await process.start()
        for _ in range(250):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                break
            await asyncio.sleep(0.02)
        else:
            raise TimeoutError(f"kamailio does not accept on {HOST}:{port}")
        yield Edge(HOST, port, process)
    finally:
        await process.stop()


def free_port() -> int:
    """A port for it."""
    return LOOPBACK.free_port()
