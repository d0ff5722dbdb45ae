"""Runs a service as a process: start it, tell the service manager, feed the watchdog, drain and stop on signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from mediaserver.runtime import heap
from mediaserver.runtime.sdnotify import Notifier
from mediaserver.runtime.tasks import TaskGroupOwner

_STOP_GRACE_S = 5.0
"""What a service may take beyond its drain deadline, and for stopping, before it is left behind."""

_log = structlog.get_logger(__name__)


class Service(Protocol):
    """What is run."""

    async def start(self) -> None:
        """Return when the service does its work. Raises `MediaServerError` or `OSError` where it cannot."""

    async def drain(self, deadline_s: float) -> None:
        """Take nothing new; return when nothing is left, or end the rest after `deadline_s` seconds."""

    async def stop(self) -> None:
        """End everything and release it, also after a start that failed halfway."""

    async def answers(self) -> bool:
        """Whether every part that can hang has answered now; False after some seconds. The watchdog is fed only then."""
        ...


async def run(
    service: Service,
    *,
    notifier: Notifier,
    drain_deadline_s: float,
    on_ready: Callable[[], None],
    on_reload: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run `service` until SIGTERM or SIGINT has drained it; a second signal ends the drain at once.

    SIGHUP calls `on_reload`, one at a time; what it raises is logged and changes nothing else.
    Raises what `service.start` raises, after `service.stop`.
    """
    signals = _Signals()
    tasks = TaskGroupOwner("process")
    with signals.installed():
        try:
            if await _started(service, signals):
                heap.settle()
                on_ready()
                notifier.ready("in service")
                _log.info("ready")
                if notifier.watchdog_interval_s is not None:
                    tasks.spawn(_feed(service, notifier, notifier.watchdog_interval_s), name="watchdog")
                if on_reload is not None:
                    tasks.spawn(_reload(on_reload, signals, notifier), name="reload")
                await signals.first.wait()
                await _drain(service, signals, notifier, drain_deadline_s)
        finally:
            notifier.stopping("stopping")
            try:
                await asyncio.wait_for(service.stop(), _STOP_GRACE_S)
            except TimeoutError:
                _log.exception("stop_took_too_long", deadline_s=_STOP_GRACE_S)
            await tasks.stop(1.0)
            notifier.close()
    _log.info("stopped")


class _Signals:
    """SIGTERM and SIGINT, counted; SIGHUP, remembered until it is looked at."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.reload = asyncio.Event()

    @contextmanager
    def installed(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        _log.info("signal", name=number.name, again=self.first.is_set())
        (self.second if self.first.is_set() else self.first).set()


async def _started(service: Service, signals: _Signals) -> bool:
    """Start; False where a signal came first."""
    start = asyncio.ensure_future(service.start())
    stop = asyncio.ensure_future(signals.first.wait())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            return True
        return False
    finally:
        for task in (start, stop):
            task.cancel()
        await asyncio.gather(start, stop, return_exceptions=True)


async def _drain(service: Service, signals: _Signals, notifier: Notifier, deadline_s: float) -> None:
    _log.info("draining", deadline_s=deadline_s)
    notifier.stopping(f"draining for at most {deadline_s:g} s")
    # TimeoutStopSec of the unit need not know our deadline (sd_notify(3)).
    notifier.extend_timeout(deadline_s + 3 * _STOP_GRACE_S)
    drain = asyncio.ensure_future(service.drain(deadline_s))
    force = asyncio.ensure_future(signals.second.wait())
    try:
        await asyncio.wait({drain, force}, timeout=deadline_s + _STOP_GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        if drain.done():
            # A failed drain must not keep the process from stopping.
            error = drain.exception()
            if error is not None:
                _log.error("drain_failed", exc_info=error)
        else:
            _log.warning("drain_cut_short", forced=signals.second.is_set())
    finally:
        for task in (drain, force):
            task.cancel()
        await asyncio.gather(drain, force, return_exceptions=True)


async def _reload(on_reload: Callable[[], Awaitable[None]], signals: _Signals, notifier: Notifier) -> None:
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        if signals.first.is_set():
            return
        notifier.reloading()
        reload = asyncio.ensure_future(on_reload())
        try:
            await asyncio.wait({reload})
            error = reload.exception()
            if error is not None:
                _log.error("reload_failed", exc_info=error)
        finally:
            reload.cancel()
            if not signals.first.is_set():
                notifier.ready("in service")


async def _feed(service: Service, notifier: Notifier, interval_s: float) -> None:
    while True:
        # That this runs says that the event loop turns; what has threads of its own is asked each time.
        if await service.answers():
            notifier.alive()
            await asyncio.sleep(interval_s)
        else:
            _log.error("watchdog_not_fed", hint="a part of the daemon hangs; the service manager will restart it")
            # The service manager allows two intervals: who was only slow gets another chance within them.
            await asyncio.sleep(interval_s / 5)
