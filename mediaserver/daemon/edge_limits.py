"""Bounds of an Edge's engine, as the configuration names them: at the start, and changed while visitors are served."""

from __future__ import annotations

from collections.abc import Iterator

from mediaserver.config.limits import Limits
from mediaserver.config.model import Config
from mediaserver.engine import commands
from mediaserver.engine.config import ConnectionLimits
from mediaserver.engine.engine import Engine


def connection_limits(limits: Limits) -> ConnectionLimits:
    """Of TCP connections."""
    return ConnectionLimits(
        connections=limits.stream_connections, waiting_per_prefix=limits.stream_connections_per_source
    )


def limit_commands(config: Config, engine: Engine) -> Iterator[commands.Command]:
    """What makes the bounds of `config` those of a running Edge. Whoever is beyond a new one stays."""
    limits, started = config.limits, engine.config
    if started.edge is not None:
        for worker in range(started.edge.workers):
            yield commands.SetPathLimits(
                id=engine.edge_id(worker),
                paths=limits.edge_paths,
                unproven_per_prefix=limits.edge_paths_per_source,
            )
    if started.turn is not None:
        yield commands.SetTurnLimits(
            id=0,
            allocations=limits.turn_allocations,
            allocations_per_user=limits.turn_allocations_per_session,
            answers_per_second=round(limits.turn_answers_per_source),
        )
    if engine.takes_streams:
        connections = connection_limits(limits)
        yield commands.SetConnectionLimits(
            id=0, connections=connections.connections, waiting_per_prefix=connections.waiting_per_prefix
        )
