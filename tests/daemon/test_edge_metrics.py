"""What an Edge counts by itself."""

from __future__ import annotations

from mediaserver.config.loader import load_text
from mediaserver.daemon.edge import EdgeDaemon

EDGE = """
role: edge
listeners: {shared_tls: {bind: ["127.0.0.1:443"], names: [video.example.org]}}
link: {cores: {inside: {name: core.example.org, certificate_file: core.pem}}}
"""


def test_visitors_who_found_no_core_are_counted_under_one_prefix() -> None:
    names = {metric.name for metric in EdgeDaemon(load_text(EDGE).config)._metrics.registry.collect()}
    assert "mediaserver_edge_visitors_refused" in names
    assert not [name for name in names if name.count("mediaserver_") > 1]
