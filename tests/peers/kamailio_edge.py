"""Kamailio as an edge proxy: it puts itself into the Path of registrations (RFC 3327) and passes calls on by it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.kamailio_process import kamailio_process
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

HOST = "127.0.0.3"

CONFIG = """tcp_children=1
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
    config = CONFIG.format(host=HOST, port=port, registrar=registrar)
    async with kamailio_process(directory / "edge", config, host=HOST, port=port) as process:
        yield Edge(HOST, port, process)


def free_port() -> int:
    """A port for it."""
    return LOOPBACK.free_port()
