"""The table of everything this package counts: an exporter can make every metric before the first event."""

from __future__ import annotations

from typing import Final

COUNTERS: Final[dict[str, tuple[str, ...]]] = {
    "sip.bans": (),
    "sip.challenges": ("verdict",),
    "sip.connections_closed": ("reason",),
    "sip.connects": ("result",),
    "sip.dropped": ("reason",),
    "sip.keepalives": ("transport",),
    "sip.malformed": ("kind",),
    "sip.registrations": (),
    "sip.requests_received": ("method",),
    "sip.requests_sent": ("method",),
    "sip.responses_sent": ("code_class",),
    "sip.tls_handshakes": ("result",),
    "sip.transport_failures": ("transport",),
    "sip.udp_errors": (),
}
"""Name of each counter and its labels; label values come from small fixed sets, never from the network."""
