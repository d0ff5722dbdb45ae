"""The configuration in force: what a reload changes while calls go on, and what it leaves for the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from mediaserver.config.model import Config
from mediaserver.config.reload import Change, diff, taken_over
from mediaserver.errors import ConfigError
from mediaserver.runtime.metrics import Metrics

_log = structlog.get_logger(__name__)
_Prepared = TypeVar("_Prepared")


class LiveConfig(Generic[_Prepared]):
    """`prepare` reads what a configuration refers to and may refuse it; `apply` then gets both, and cannot fail."""

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics,
        prepare: Callable[[Config], _Prepared],
        apply: Callable[[Config, _Prepared], Awaitable[None]],
    ) -> None:
        self.in_force = config
        self._prepare = prepare
        self._apply = apply
        self._reloads = metrics.counter("config_reloads_total", "Reloads of the configuration", ["result"])

    async def reload(self, read: Callable[[], Config]) -> tuple[Change, ...]:
        """Takes over what can be taken over, and logs every key that differs; returns them.

        `read` reads the file, and `prepare` secrets and certificates, in a thread. What is wrong changes nothing: every
        mistake is logged. Secrets and certificates are read again even where no key has changed.
        """
        try:
            fresh = await asyncio.to_thread(read)
            merged = taken_over(self.in_force, fresh)
            prepared = await asyncio.to_thread(self._prepare, merged)
        except ConfigError as error:
            self._reloads.labels("refused").inc()
            _log.error("reload_refused", mistakes=str(error).splitlines(), hint="the configuration stays as it was")
            return ()
        changes = diff(self.in_force, fresh)
        left = {change.path for change in diff(merged, fresh)}
        for change in changes:
            effect = "at restart" if change.path in left else "now"
            _log.info("config_changed", change=str(change), takes_effect=effect)
        self.in_force = merged
        await self._apply(merged, prepared)
        self._reloads.labels("done").inc()
        at_restart = sum(change.path in left for change in changes)
        _log.info("reloaded", changed=len(changes) - at_restart, at_restart=at_restart)
        return changes
