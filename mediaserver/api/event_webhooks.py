"""Tells events to services of the house: signed, in order for each contact, and again until they are taken."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from prometheus_client import Counter

from mediaserver.api.webhook_address import AddressRefused, PublicResolver, is_literal, require_public
from mediaserver.call.webhook import signature
from mediaserver.config.events import EventWebhook
from mediaserver.errors import ConfigError
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.store.events import Delivery, SqliteEvents
from mediaserver.store.records import StoreError

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 900.0
_AT_HAND: Final = 1_000
"""Deliveries of one webhook in memory; the others wait in the store."""
_LOOK_S: Final = 5.0
_MAX_ANSWER: Final = 4_096
_log = structlog.get_logger(__name__)


def pause_s(attempts: int, chance: float) -> float:
    """How long to wait after so many failed attempts; `chance`, from 0 to 1, spreads it over its upper half."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 30), LONGEST_PAUSE_S)
    return longest * (0.5 + chance / 2)


def wants(types: Sequence[str], type_: str) -> bool:
    """Whether patterns of the configuration name a type."""
    return any(each in ("*", type_) or (each.endswith(".*") and type_.startswith(each[:-1])) for each in types)


def signatures(secrets: Sequence[str], identifier: str, body: bytes, *, at: float) -> dict[str, str]:
    """Header fields of Standard Webhooks with one signature by each secret, so that a receiver may know any of them."""
    made = [signature(secret, identifier, body, at=at) for secret in secrets]
    return {**made[0], "webhook-signature": " ".join(each["webhook-signature"] for each in made)}


def checked_secrets(name: str, secrets: Sequence[str]) -> tuple[str, ...]:
    """The keys of a webhook. Raises ConfigError for one that is no base64 behind `whsec_`."""
    try:
        signatures(secrets, "check", b"", at=0.0)
    except ValueError:
        raise ConfigError(f"events.webhooks.{name}: a key that begins with whsec_ must be base64") from None
    return tuple(secrets)


@dataclass(slots=True)
class _Lane:
    """What waits for one contact; only the first is under way."""

    waiting: deque[Delivery] = field(default_factory=deque)
    due_at: float = 0.0
    busy: bool = False


class EventWebhooks:
    """All webhooks of `events.webhooks`; `secrets_of` reads their keys. `chance` spreads repetitions."""

    def __init__(
        self,
        webhooks: Mapping[str, EventWebhook],
        *,
        store: SqliteEvents,
        secrets_of: Callable[[str, EventWebhook], Sequence[str]],
        metrics: Metrics,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises ConfigError for a key that is no base64 behind `whsec_`."""
        told = metrics.counter("event_webhooks_total", "Events told to webhooks, or not", ["webhook", "result"])
        waiting = metrics.gauge("event_webhooks_waiting", "Events that a webhook has not taken yet", ["webhook"])
        self._store = store
        self._targets: dict[str, _Target] = {}
        for name, settings in webhooks.items():
            secrets = checked_secrets(name, secrets_of(name, settings))
            target = _Target(name, settings, secrets, store, told, wall_clock, chance)
            waiting.labels(name).set_function(partial(getattr, target, "waiting"))
            self._targets[name] = target
        self._tasks = TaskGroupOwner("event-webhooks")

    def adopt(self, secrets: Mapping[str, Sequence[str]]) -> list[str]:
        """Signs with these from now on, by name of the webhook; which have changed. Those that are absent stay."""
        changed = []
        for name, target in self._targets.items():
            fresh = tuple(secrets.get(name, target.secrets))
            if fresh != target.secrets:
                target.secrets = fresh
                changed.append(name)
        return changed

    def owed(self, type_: str) -> list[str]:
        """Names of those that want events of a type and have room for more; the others' are counted as dead."""
        names = []
        for name, target in self._targets.items():
            if wants(target.settings.types, type_):
                if target.waiting >= target.settings.backlog:
                    target.count("dead")
                    continue
                target.waiting += 1
                names.append(name)
        return names

    async def start(self) -> None:
        """Begin with what was left by the last process. Raises StoreError."""
        for name in await self._store.forget_all_but(list(self._targets)):
            _log.warning("event_webhook_gone", webhook=name)
        for name, target in self._targets.items():
            self._tasks.spawn(target.run(), name=name)

    def wake(self) -> None:
        """Events were stored."""
        for target in self._targets.values():
            target.work.set()

    async def stop(self, deadline_s: float) -> None:
        """Give up what is under way; it is told by the next process."""
        await self._tasks.stop(deadline_s)
        for target in self._targets.values():
            await target.close()


class _Target:
    def __init__(
        self,
        name: str,
        settings: EventWebhook,
        secrets: Sequence[str],
        store: SqliteEvents,
        told: Counter,
        wall_clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self._told = told
        self.waiting = 0
        self.work = asyncio.Event()
        self.secrets = tuple(secrets)
        self._store = store
        self._wall_clock = wall_clock
        self._chance = chance
        self._lanes: dict[str, _Lane] = {}
        self._at_hand = 0
        self._read_to = 0
        self._running: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._failing = False

    def count(self, result: str) -> None:
        """Counts `told`, `failed` (it is tried again) or `dead`."""
        self._told.labels(self.name, result).inc()

    async def run(self) -> None:
        """Reads what is owed and tells it, until it is cancelled."""
        try:
            while True:
                self.work.clear()
                await self._read()
                next_at = self._begin()
                await self._wait(next_at)
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self) -> None:
        room = _AT_HAND - self._at_hand
        if room <= 0:
            return
        try:
            found, total = await self._store.owed(self.name, after=self._read_to, limit=room)
        except StoreError as error:
            _log.warning("event_webhook_not_read", webhook=self.name, error=str(error))
            return
        self.waiting = total
        for delivery in found:
            self._read_to = delivery.number
            self._at_hand += 1
            lane = self._lanes.setdefault(delivery.contact_id, _Lane())
            if delivery.attempts and not lane.waiting:
                lane.due_at = self._wall_clock() + pause_s(delivery.attempts, self._chance())
            lane.waiting.append(delivery)

    def _begin(self) -> float | None:
        """Starts what is due; when the next is."""
        now, next_at = self._wall_clock(), None
        for contact_id, lane in self._lanes.items():
            if lane.busy:
                continue
            if lane.due_at <= now and len(self._running) < self.settings.parallel:
                lane.busy = True
                task = asyncio.get_running_loop().create_task(self._tell(contact_id, lane), name=f"webhook-{self.name}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            elif lane.due_at > now:
                next_at = lane.due_at if next_at is None else min(next_at, lane.due_at)
        return next_at

    async def _wait(self, next_at: float | None) -> None:
        patience = _LOOK_S if next_at is None else min(_LOOK_S, max(0.01, next_at - self._wall_clock()))
        try:
            async with asyncio.timeout(patience):
                await self.work.wait()
        except TimeoutError:
            return

    async def _tell(self, contact_id: str, lane: _Lane) -> None:
        delivery = lane.waiting[0]
        began = self._wall_clock()
        try:
            refused = await self._post(delivery)
            await self._settle(lane, delivery, began, refused)
        except StoreError as error:
            # It is told once more: receivers know it again by its webhook-id.
            _log.warning("event_webhook_not_kept", webhook=self.name, error=str(error))
            lane.due_at = self._wall_clock() + FIRST_PAUSE_S
        finally:
            lane.busy = False
            if not lane.waiting:
                self._lanes.pop(contact_id, None)
            self.work.set()

    async def _settle(self, lane: _Lane, delivery: Delivery, began: float, refused: str) -> None:
        first = delivery.first_tried_at if delivery.first_tried_at is not None else began
        if refused and self._wall_clock() - first < self.settings.give_up_after:
            self.count("failed")
            again = delivery._replace(attempts=delivery.attempts + 1, first_tried_at=first)
            lane.waiting[0] = again
            lane.due_at = self._wall_clock() + pause_s(again.attempts, self._chance())
            if not self._failing:
                _log.warning("event_webhook_failed", webhook=self.name, why=refused)
            self._failing = True
            await self._store.tried(self.name, again.number, attempts=again.attempts, first_tried_at=first)
            return
        self.count("dead" if refused else "told")
        if refused:
            _log.error("event_webhook_gave_up", webhook=self.name, number=delivery.number, why=refused)
        elif self._failing:
            self._failing = False
            _log.info("event_webhook_works_again", webhook=self.name)
        await self._store.done(self.name, delivery.number)
        lane.waiting.popleft()
        lane.due_at = 0.0
        self._at_hand -= 1
        self.waiting = max(0, self.waiting - 1)

    async def _post(self, delivery: Delivery) -> str:
        """Why it was not taken; empty where it was."""
        settings, body = self.settings, delivery.text.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "mediaserver",
            **signatures(self.secrets, f"event-{delivery.number}", body, at=self._wall_clock()),
        }
        try:
            if not settings.allow_private and is_literal(host := urlsplit(settings.url).hostname or ""):
                require_public(host)
            async with (
                asyncio.timeout(settings.timeout),
                # No redirect: where the house's data go is what the configuration says.
                self._client().post(settings.url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                await response.content.read(_MAX_ANSWER)
                return "" if 200 <= response.status < 300 else f"status {response.status}"
        except TimeoutError:
            return "timeout"
        except AddressRefused as error:
            return str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"unreachable: {error}"

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self.settings.allow_private else PublicResolver()
            connector = aiohttp.TCPConnector(resolver=resolver, limit=self.settings.parallel, ttl_dns_cache=60)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self._session
