"""A service of the house that says where a call goes: one signed question, a time budget, and an answer that is checked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import structlog
from pydantic import ValidationError

from mediaserver.call.routing import Question
from mediaserver.config.base import Section
from mediaserver.config.model import Config
from mediaserver.config.routes import Target, Webhook
from mediaserver.runtime.ids import new_id
from mediaserver.runtime.metrics import Metrics

_log = structlog.get_logger(__name__)
_MAX_ANSWER_BYTES: Final = 16_384
_MAX_HEADERS: Final = 64
_KINDS: Final = {"user": "users", "group": "groups", "trunk": "trunks", "entry": "entries"}
_HIDDEN: Final = frozenset({"authorization", "proxy-authorization"})


class Answer(Section):
    """What a webhook says."""

    to: Target
    """Where the call goes."""

    called: str | None = None
    """The called number from here on; null leaves it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Outcome of one question: the answer, or why there is none."""

    answer: Answer | None
    failure: str = ""
    """`busy`, `timeout`, `unreachable`, `status`, `malformed`, `unknown_target`."""


class Webhooks:
    """Asks. `secret_of` reads the key of a webhook."""

    def __init__(self, config: Config, *, secret_of: Callable[[str, Webhook], str | None], metrics: Metrics) -> None:
        self._secret_of = secret_of
        self._session: aiohttp.ClientSession | None = None
        self._running: dict[str, int] = {}
        self._asked = metrics.counter(
            "routing_webhooks_total", "Webhooks asked where a call goes", ["webhook", "result"]
        )
        self._took = metrics.histogram(
            "routing_webhook_seconds", "How long webhooks take", buckets=(0.01, 0.03, 0.1, 0.3, 1, 2, 5)
        )
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Ask by this configuration from now on."""
        self._config = config
        self._secrets = {name: self._secret_of(name, webhook) for name, webhook in config.webhooks.items()}

    async def stop(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, name: str, question: Question) -> Asked:
        """Where webhook `name` wants the call; never raises."""
        webhook = self._config.webhooks[name]
        if self._running.get(name, 0) >= webhook.parallel:
            asked = Asked(None, "busy")
        else:
            self._running[name] = self._running.get(name, 0) + 1
            began = time.monotonic()
            try:
                async with asyncio.timeout(webhook.timeout):
                    asked = await self._ask(name, webhook, question)
            except TimeoutError:
                asked = Asked(None, "timeout")
            except (aiohttp.ClientError, OSError) as error:
                _log.debug("webhook_unreachable", webhook=name, error=str(error))
                asked = Asked(None, "unreachable")
            finally:
                self._running[name] -= 1
            self._took.observe(time.monotonic() - began)
        self._asked.labels(name, asked.failure or "answered").inc()
        if asked.answer is None:
            _log.warning("webhook_failed", webhook=name, why=asked.failure)
        return asked

    async def _ask(self, name: str, webhook: Webhook, question: Question) -> Asked:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        body = json.dumps(described(question, identifier := new_id())).encode()
        headers = {"Content-Type": "application/json", **signature(self._secrets.get(name), identifier, body)}
        # No redirect: where the house's data go is what the configuration says.
        async with self._session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                _log.info("webhook_status", webhook=name, status=response.status)
                return Asked(None, "status")
            text = await response.content.read(_MAX_ANSWER_BYTES + 1)
            while len(text) <= _MAX_ANSWER_BYTES and not response.content.at_eof():
                text += await response.content.read(_MAX_ANSWER_BYTES + 1 - len(text))
        return self._checked(name, text)

    def _checked(self, name: str, text: bytes) -> Asked:
        try:
            if len(text) > _MAX_ANSWER_BYTES:
                raise ValueError("the answer is too long")
            answer = Answer.model_validate(json.loads(text))
        except (ValueError, ValidationError, RecursionError) as error:
            _log.info("webhook_malformed", webhook=name, error=str(error)[:500])
            return Asked(None, "malformed")
        target = answer.to
        known: Mapping[str, Any]
        for kind, section in _KINDS.items():
            wanted, known = getattr(target, kind), getattr(self._config, section)
            if wanted is not None and wanted not in known:
                _log.info("webhook_names_nobody", webhook=name, target=target.text)
                return Asked(None, "unknown_target")
        if target.webhook is not None or (
            target.announcement is not None and target.announcement not in self._config.announcements
        ):
            return Asked(None, "unknown_target")
        return Asked(answer)


def described(question: Question, identifier: str) -> dict[str, Any]:
    """The question as JSON; header fields without passwords, the first 64 of them."""
    headers = [[name, value] for name, value in question.headers if name.lower() not in _HIDDEN]
    return {
        "id": identifier,
        "called": question.called,
        "caller": question.caller,
        "name": question.name,
        "domain": question.domain,
        "trunk": question.trunk,
        "entry": question.entry,
        "headers": headers[:_MAX_HEADERS],
        "attributes": dict(question.attributes),
        "at": (question.at or datetime.now(UTC)).isoformat(),
    }


def signature(secret: str | None, identifier: str, body: bytes, *, at: float | None = None) -> dict[str, str]:
    """Header fields of Standard Webhooks: id, timestamp, and HMAC-SHA256 over both and the body."""
    stamp = str(int(time.time() if at is None else at))
    headers = {"webhook-id": identifier, "webhook-timestamp": stamp}
    if secret is not None:
        key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
        digest = hmac.digest(key, f"{identifier}.{stamp}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
