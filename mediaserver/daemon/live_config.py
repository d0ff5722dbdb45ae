"""The configuration in force: what a reload changes while calls go on, and what it leaves for the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from mediaserver.config.model import Config
from mediaserver.config.reload import Change, diff, taken_over
from mediaserver.errors import ConfigError
from mediaserver.runtime.metrics import Metrics

_log = structlog.get_logger(__name__)


class LiveConfig:
    """`apply` gets the configuration in force whenever a reload has changed it."""

    def __init__(self, config: Config, *, metrics: Metrics, apply: Callable[[Config], None]) -> None:
        self.in_force = config
        self._apply = apply
        self._reloads = metrics.counter("config_reloads_total", "Reloads of the configuration", ["result"])

    async def reload(self, read: Callable[[], Config]) -> tuple[Change, ...]:
        """Takes over what can be taken over, and logs every key that differs; returns them.

        `read` reads the file, in a thread. A file that is wrong changes nothing: every mistake is logged.
        """
        try:
            fresh = await asyncio.to_thread(read)
        except ConfigError as error:
            self._reloads.labels("refused").inc()
            _log.error("reload_refused", mistakes=str(error).splitlines(), hint="the configuration stays as it was")
            return ()
        changes = diff(self.in_force, fresh)
        for change in changes:
            _log.info(
                "config_changed", change=str(change), takes_effect="at restart" if change.needs_restart else "now"
            )
        live = [change for change in changes if not change.needs_restart]
        if live:
            self.in_force = taken_over(self.in_force, fresh)
            self._apply(self.in_force)
        self._reloads.labels("done").inc()
        _log.info("reloaded", changed=len(live), at_restart=len(changes) - len(live))
        return changes
