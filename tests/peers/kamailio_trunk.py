"""Kamailio as a carrier: takes a registration with digest, answers OPTIONS, sends the registered number's calls there.

Every other number is challenged (407) and goes on to ``behind``. It stands on another loopback address than everybody
else, so that it is told apart by its address.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.kamailio_process import REGISTRAR_MODULES, kamailio_process
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

HOST = "127.0.0.2"
USER, PASSWORD = "4930123", "carrier-s3cret"

CONFIG = (
    """tcp_children=1
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
"""
    + REGISTRAR_MODULES
    + """loadmodule "xlog.so"
modparam("registrar", "min_expires", 90)
modparam("registrar", "default_expires", 120)
modparam("registrar", "max_expires", 120)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "Alive"); exit; }}
    if (is_method("REGISTER")) {{
        if (!pv_auth_check("$fd", "{password}", "0", "1")) {{ auth_challenge("$fd", "1"); exit; }}
        save("location");
        exit;
    }}
    if (is_method("INVITE")) record_route();
    if (lookup("location")) {{ xlog("L_ERR", "to the customer: $ru\\n"); t_relay(); exit; }}
    if (!pv_auth_check("{host}", "{password}", "0", "0")) {{ auth_challenge("{host}", "1"); exit; }}
    xlog("L_ERR", "to the world: $rU from $fU ticket $hdr(X-Ticket) house $hdr(X-House)\\n");
    consume_credentials();
    $du = "sip:127.0.0.1:{behind}";
    t_relay();
}}
"""
)


@dataclass(frozen=True, slots=True)
class Carrier:
    host: str
    port: int
    process: PeerProcess


@contextlib.asynccontextmanager
async def carrier(directory: Path, *, behind: int) -> AsyncIterator[Carrier]:
    """Start it; its files lie in ``directory / "carrier"``."""
    port = LOOPBACK.free_port()
    config = CONFIG.format(host=HOST, port=port, password=PASSWORD, behind=behind)
    async with kamailio_process(directory / "carrier", config, host=HOST, port=port) as process:
        yield Carrier(HOST, port, process)
