"""Everything this package counts, and its way into Prometheus: each metric is there before the first event."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

from mediaserver.runtime.metrics import Metrics

COUNTERS: Final[dict[str, tuple[str, ...]]] = {
    "sip.bans": (),
    "sip.captured": ("result",),
    "sip.certificate_lists": ("result",),
    "sip.certificate_questions": ("result",),
    "sip.certificates": ("result",),
    "sip.challenges": ("verdict",),
    "sip.connections_closed": ("reason",),
    "sip.connects": ("result",),
    "sip.dialogs_moved": (),
    "sip.dns_queries": ("result",),
    "sip.dropped": ("reason",),
    "sip.failovers": (),
    "sip.flows_formed": (),
    "sip.flows_lost": ("reason",),
    "sip.keepalives": ("transport",),
    "sip.malformed": ("kind",),
    "sip.registrations": (),
    "sip.requests_received": ("method",),
    "sip.requests_sent": ("method",),
    "sip.responses_sent": ("code_class",),
    "sip.subscriptions": ("package",),
    "sip.targets_died": ("reason",),
    "sip.tls_handshakes": ("result",),
    "sip.transport_failures": ("transport",),
    "sip.udp_errors": (),
}
"""Name of each counter and its labels; label values come from small fixed sets, never from the network."""


class PrometheusCounters:
    """Implements `config.Counters`: `sip.bans` becomes `mediaserver_sip_bans_total`."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters: dict[str, Counter] = {
            name: metrics.counter(f"{name.replace('.', '_')}_total", _documentation(name), labels)
            for name, labels in COUNTERS.items()
        }
        self._children: dict[tuple[str, ...], Counter] = {}

    def inc(self, name: str, **labels: str) -> None:
        """Add one to counter `name`. Raises KeyError for a name that the table does not have."""
        key = (name, *labels.values())
        child = self._children.get(key)
        if child is None:
            counter = self._counters[name]
            child = self._children[key] = counter.labels(**labels) if labels else counter
        child.inc()


def _documentation(name: str) -> str:
    words = name.partition(".")[2].replace("_", " ")
    labels = COUNTERS[name]
    return f"SIP: {words}" + (f", by {' and '.join(labels)}" if labels else "")
