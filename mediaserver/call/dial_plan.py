"""The dial plan at work: the routing table, and the webhooks that it asks."""

from __future__ import annotations

from dataclasses import replace

import structlog

from mediaserver.call.routing import Destination, Question, Router
from mediaserver.call.webhook import Webhooks
from mediaserver.config.model import Config

_log = structlog.get_logger(__name__)


class DialPlan:
    """Decides where calls go; `adopt` takes another configuration while calls go on."""

    def __init__(self, config: Config, *, webhooks: Webhooks) -> None:
        self._router = Router(config)
        self._webhooks = webhooks
        self._config = config

    def adopt(self, config: Config) -> None:
        """Decide by this configuration from now on."""
        self._config = config
        self._router.adopt(config)
        self._webhooks.adopt(config)

    async def decide(self, question: Question) -> Destination | None:
        """The destination, or None: the call goes nowhere. Webhooks have been asked."""
        return await self._followed(self._router.route(question), question)

    async def decide_entry(self, name: str, question: Question) -> Destination | None:
        """The same for who came in by an entry."""
        question = replace(question, entry=name)
        return await self._followed(self._router.route_entry(name, question), question)

    async def _followed(self, found: Destination | None, question: Question) -> Destination | None:
        while found is not None and found.target.webhook is not None:
            found = await self._asked(found, found.target.webhook, question)
        if found is None:
            return None
        # Who finds no room at a target is not asked about once more: webhooks are no place to fail over to.
        return replace(found, others=tuple(other for other in found.others if other.target.webhook is None))

    async def _asked(self, found: Destination, name: str, question: Question) -> Destination | None:
        asked = await self._webhooks.ask(name, question)
        rule = f"{found.rule}, webhook {name}"
        if asked.answer is not None:
            target = asked.answer.to
            if target.trunk is not None and (question.trunk is not None or question.entry is not None):
                # The answer is the house's own, and may send a call out again; it is logged, as such calls cost money.
                _log.info(
                    "webhook_sends_out", webhook=name, trunk=target.trunk, came_by=question.trunk or question.entry
                )
            return Destination(target, asked.answer.called or found.number, rule, found.others)
        fallback = self._config.webhooks[name].fallback
        if fallback is not None:
            return Destination(fallback, found.number, f"{rule} fell back ({asked.failure})", found.others)
        following = found.others[0] if found.others else None
        return replace(following, others=found.others[1:]) if following is not None else None
