"""Kamailio as a carrier: takes a registration with digest, answers OPTIONS, sends the registered number's calls there.

Every other number is challenged (407) and goes on to ``behind``. It stands on another loopback address than everybody
else, so that it is told apart by its address.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

HOST = "127.0.0.2"
USER, PASSWORD = "4930123", "carrier-s3cret"

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
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
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


@dataclass(frozen=True, slots=True)
class Carrier:
    host: str
    port: int
    process: PeerProcess


@contextlib.asynccontextmanager
async def carrier(directory: Path, *, behind: int) -> AsyncIterator[Carrier]:
    """Start it; its files lie in ``directory / "carrier"``."""
    home = directory / "carrier"
    home.mkdir()
    port = LOOPBACK.free_port()
    config = home / "kamailio.cfg"
    config.write_text(CONFIG.format(host=HOST, port=port, password=PASSWORD, behind=behind))
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
        yield Carrier(HOST, port, process)
    finally:
        await process.stop()
