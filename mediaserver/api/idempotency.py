"""Creates that may be repeated: the same `Idempotency-Key` makes the same thing once.

After draft-ietf-httpapi-idempotency-key-header. Keys and answers are kept over a restart where there is a store: who
repeats a request then is told what was made, and makes no second one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from mediaserver.api.problem import Problem, too_many
from mediaserver.store.outcomes import Outcome, Outcomes
from mediaserver.store.records import StoreError

HEADER: Final = "Idempotency-Key"
KEPT_S: Final = 3600.0
"""How long a key is known."""
MAX_KEYS: Final = 10_000
_KEY: Final = re.compile(r'"?([!#-\[\]-~]{1,128})"?')
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Once(Generic[_T]):
    fingerprint: bytes
    until: float
    outcome: asyncio.Future[_T]


class Idempotency(Generic[_T]):
    """Remembers outcomes by who asks and by key; failures are not remembered, so they can be tried again."""

    def __init__(
        self,
        made: TypeAdapter[_T],
        *,
        clock: Callable[[], float],
        kept_s: float = KEPT_S,
        max_keys: int = MAX_KEYS,
        store: Outcomes | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`made` writes and reads what is made; `clock` gives monotonic seconds, `wall_clock` POSIX seconds."""
        self._made = made
        self._store = store
        self._wall_clock = wall_clock
        self._clock = clock
        self._kept_s = kept_s
        self._max_keys = max_keys
        self._known: OrderedDict[tuple[str, str], _Once[_T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def restore(self, outcomes: Iterable[Outcome]) -> None:
        """Knows again what an earlier process has made, given in the order in which it is to be forgotten."""
        ahead = self._clock() - self._wall_clock()
        for outcome in outcomes:
            future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
            try:
                future.set_result(self._made.validate_json(outcome.answer))
            except ValidationError:  # of another version: whoever asks again is told what is there now
                _log.warning("idempotent_answer_not_read", subject=outcome.subject)
                continue
            self._known[outcome.subject, outcome.key] = _Once(outcome.fingerprint, outcome.until + ahead, future)

    async def once(self, request: web.Request, subject: str, body: bytes, make: Callable[[], Awaitable[_T]]) -> _T:
        """What `make` gives, or gave when the same `subject` sent the same body under the same key.

        Raises 400 (no key of 1 to 128 visible characters), 409 (the first request still runs), 422 (the key was used for
        something else), 429 (too many keys are known), and whatever `make` raises.
        """
        header = request.headers.get(HEADER)
        if header is None:
            return await make()
        found = _KEY.fullmatch(header.strip())
        if found is None:
            raise Problem(400, "bad-idempotency-key", f"{HEADER} takes 1 to 128 visible characters.")
        self._forget()
        key, fingerprint = (subject, found[1]), hashlib.sha256(body).digest()
        known = self._known.get(key)
        if known is not None:
            return _repeated(known, fingerprint)
        if len(self._known) >= self._max_keys:
            raise too_many(f"Too many keys are known; each is for {self._kept_s:.0f} s.", retry_after_s=60)
        once = _Once[_T](fingerprint, self._clock() + self._kept_s, asyncio.get_running_loop().create_future())
        self._known[key] = once
        try:
            outcome = await make()
        except BaseException:
            self._known.pop(key, None)
            raise
        once.outcome.set_result(outcome)
        await self._keep(key, once, outcome)
        return outcome

    async def _keep(self, key: tuple[str, str], once: _Once[_T], made: _T) -> None:
        """Before the answer leaves: whoever has it may count on it."""
        if self._store is None:
            return
        until = once.until - self._clock() + self._wall_clock()
        answer = self._made.dump_json(made).decode()
        try:
            await self._store.add(Outcome(*key, once.fingerprint, until, answer))
        except StoreError as error:
            _log.warning("idempotent_answer_not_kept", subject=key[0], error=str(error))

    def _forget(self) -> None:
        now = self._clock()
        while self._known and next(iter(self._known.values())).until <= now:
            self._known.popitem(last=False)


def _repeated(known: _Once[_T], fingerprint: bytes) -> _T:
    if known.fingerprint != fingerprint:
        raise Problem(422, "idempotency-key-reused", "This key was used for another body.")
    if not known.outcome.done():
        raise Problem(409, "idempotency-key-in-use", "The first request with this key still runs.")
    return known.outcome.result()
