"""Redirections (3xx, RFC 3261 §8.1.3.4): whoever was called names others, and the dial plan says where those are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination, Question
from mediaserver.config.sections import Target
from mediaserver.sip.uri import SipUri

if TYPE_CHECKING:
    from mediaserver.call.call_request import CallRequest

MOST: Final = 5
"""Redirections of one call that are followed; phones that forward to each other end there."""
_log = structlog.get_logger(__name__)


class Redirects:
    """`ring` calls a destination; a redirection goes where whoever redirects could call, by the rules of that trunk."""

    def __init__(
        self,
        *,
        ring: Callable[[CallRequest], Awaitable[Leg]],
        decide: Callable[[Question], Awaitable[Destination | None]] | None,
    ) -> None:
        self._ring = ring
        self._decide = decide

    async def ring(self, request: CallRequest) -> Leg:
        """Whoever answers in the end. Raises DialFailed: 482 where somebody is named twice, 483 after too many."""
        seen: set[str] = set()
        for _ in range(MOST + 1):
            try:
                return await self._ring(request)
            except DialFailed as failure:
                if not failure.redirect:
                    raise
                request = await self._redirected(request, failure, seen)
        raise DialFailed(483, "redirected too often")

    async def _redirected(self, request: CallRequest, failure: DialFailed, seen: set[str]) -> CallRequest:
        target = request.destination.target
        for uri in failure.redirect:
            destination = await self._destination(uri, target)
            if destination is None:
                continue
            key = f"{destination.target.text} {destination.number}"
            if key in seen:
                raise DialFailed(482, "redirected in a circle")
            seen.add(key)
            _log.info("call_redirected", contact_id=request.contact_id, code=failure.code, rule=destination.rule)
            if request.note is not None:
                request.note("redirected", f"{failure.code} by {target.text}, next is {destination.rule}")
            return replace(request, destination=destination)
        raise DialFailed(480, "redirected to nobody who is known here")

    async def _destination(self, uri: SipUri, target: Target) -> Destination | None:
        number = uri.user_text
        if self._decide is None or number is None:
            return None
        found = await self._decide(Question(called=number, caller=target.user, trunk=target.trunk))
        if found is None and target.trunk is not None:
            # Numbers that the table does not know are the trunk's own.
            return Destination(Target(trunk=target.trunk), number, f"redirection by trunk {target.trunk}")
        if found is not None and found.target.refuse is not None:
            raise DialFailed(found.target.refuse, "refused by the routing table")
        return found
