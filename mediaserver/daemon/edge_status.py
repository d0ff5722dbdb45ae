"""What `mediaserver status` says about the two ends of the link beside what the daemon's API tells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mediaserver.config.covered_names import terminated_names
from mediaserver.config.model import Config
from mediaserver.daemon.admin_question import ask_admin


def trusted_edges(config: Config) -> Iterator[str]:
    """A sentence for each machine in the zone that has to be trusted like a Core. Raises ConfigError for a certificate that
    cannot be read."""
    if config.role == "edge" and (names := terminated_names(config)):
        yield (
            f"TLS of {', '.join(names)} ends at this Edge (edge.tls: terminate): it, and every proxy before it, can read "
            f"and change what visitors and Core say to each other."
        )
    if config.role == "core":
        for name, edge in config.link.edges.items():
            if edge.tls == "terminate":
                yield (
                    f"Edge {name} may end the TLS of visitors (link.edges.{name}.tls: terminate): it, and every proxy "
                    f"before it, can read and change what they and this Core say to each other."
                )


def edge_state(config: Config) -> Mapping[str, Any]:
    """`{status, checks}` of the Edge that runs with this configuration. Raises Silent."""
    found: dict[str, Any] = ask_admin(config, "/readyz", json.loads)
    return found
