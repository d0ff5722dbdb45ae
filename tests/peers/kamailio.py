"""Kamailio as the registrar and proxy that a phone's configuration is tried against without the daemon.

UDP, TCP and TLS on one address; digest authentication with one password for everybody. A request goes back on
the connection that registered, so a phone over TLS needs no certificate of its own. TLS 1.2 only: Kamailio 5.6
cannot do 1.3 here.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.certificates import Certificates
from tests.peers.kamailio_process import REGISTRAR_MODULES, kamailio_process
from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerProcess

PASSWORD = "s3cret"

CONFIG = (
    """tcp_children=2
enable_tls=yes
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
listen=tls:{host}:{tls_port}
"""
    + REGISTRAR_MODULES
    + """loadmodule "kex.so"
loadmodule "tmx.so"
loadmodule "tls.so"
loadmodule "nathelper.so"
modparam("nathelper|registrar", "received_avp", "$avp(received)")
modparam("tls", "tls_method", "TLSv1.2")
modparam("tls", "private_key", "{key}")
modparam("tls", "certificate", "{chain}")
modparam("tls", "verify_certificate", 0)
modparam("tls", "require_certificate", 0)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); handle_ruri_alias(); t_relay(); exit; }}
    if (is_method("INVITE")) {{ record_route(); set_contact_alias(); }}
    if (is_method("REGISTER")) {{
        if (!pv_auth_check("$fd", "{password}", "0", "1")) {{ auth_challenge("$fd", "1"); exit; }}
        fix_nated_register();
        save("location");
        exit;
    }}
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}
onreply_route {{ set_contact_alias(); }}
"""
)


@dataclass(frozen=True, slots=True)
class Kamailio:
    host: str
    port: int
    """UDP and TCP."""
    tls_port: int
    password: str
    process: PeerProcess


@contextlib.asynccontextmanager
async def kamailio(
    directory: Path, certificates: Certificates, *, password: str = PASSWORD, network: Network = LOOPBACK
) -> AsyncIterator[Kamailio]:
    """Start a proxy whose files lie in ``directory / "kamailio"``."""
    port, tls_port, host = network.free_port(), network.free_port(), network.address
    config = CONFIG.format(
        host=host, port=port, tls_port=tls_port, password=password, key=certificates.key, chain=certificates.chain
    )
    async with kamailio_process(directory / "kamailio", config, host=host, port=port, network=network) as process:
        yield Kamailio(host, port, tls_port, password, process)
