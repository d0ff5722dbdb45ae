"""Kamailio as a carrier that knows flows (RFC 5626): calls to the registered number go over its connection, by TCP alone.

A UDP datagram `OPTIONS sip:close@…` makes it close the connection that registered last.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.kamailio_process import REGISTRAR_MODULES, kamailio_process
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerProcess

HOST = "127.0.0.2"
USER, PASSWORD = "4930123", "carrier-s3cret"
FLOW_TIMER_S = 5

CONFIG = (
    """tcp_children=1
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
tcp_crlf_ping=yes
"""
    + REGISTRAR_MODULES
    + """loadmodule "outbound.so"
loadmodule "nathelper.so"
loadmodule "tcpops.so"
loadmodule "xlog.so"
modparam("outbound", "flow_token_secret", "flow-token-s3cret")
modparam("nathelper|registrar", "received_avp", "$avp(received)")
modparam("registrar", "outbound_mode", 1)
modparam("registrar", "flow_timer", {flow_timer})
modparam("registrar", "default_expires", 120)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    if (is_method("OPTIONS")) {{
        if ($rU == "close") tcp_close_connection("$shv(connection)");
        sl_send_reply("200", "Alive");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_auth_check("$fd", "{password}", "0", "1")) {{ auth_challenge("$fd", "1"); exit; }}
        $shv(connection) = $conid;
        xlog("L_ERR", "registered over $proto with $hdr(Supported) at $ct\\n");
        fix_nated_register();
        save("location");
        exit;
    }}
    record_route();
    if (lookup("location")) {{ xlog("L_ERR", "over its flow: $ru by $du\\n"); t_relay(); exit; }}
    sl_send_reply("404", "Not Found");
}}
"""
)


@dataclass(frozen=True, slots=True)
class OutboundCarrier:
    host: str
    port: int
    process: PeerProcess

    def close_flow(self) -> None:
        """Make it close the connection that registered last."""
        lines = (
            f"OPTIONS sip:close@{self.host}:{self.port} SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKclose",
            "Max-Forwards: 10",
            "From: <sip:test@127.0.0.1>;tag=1",
            f"To: <sip:close@{self.host}>",
            "Call-ID: close",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
            "",
            "",
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.sendto("\r\n".join(lines).encode(), (self.host, self.port))


@contextlib.asynccontextmanager
async def outbound_carrier(directory: Path) -> AsyncIterator[OutboundCarrier]:
    """Start it; its files lie in ``directory / "outbound"``."""
    port = LOOPBACK.free_port()
    config = CONFIG.format(host=HOST, port=port, password=PASSWORD, flow_timer=FLOW_TIMER_S)
    async with kamailio_process(directory / "outbound", config, host=HOST, port=port) as process:
        yield OutboundCarrier(HOST, port, process)
