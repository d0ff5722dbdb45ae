"""Calls over SIP that the dial plan takes nowhere: refused, counted, and logged once for each source."""

from __future__ import annotations

from typing import Final

import structlog

from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.notices import Notices
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite

_log = structlog.get_logger(__name__)
_LONGEST_SHOWN: Final = 64


class Unrouted:
    """Who tries one number after another, to find a way out that costs money, is seen by an operator in one line."""

    def __init__(self, metrics: Metrics) -> None:
        self._notices = Notices()
        self._refused = metrics.counter("sip_calls_unrouted_total", "Calls over SIP refused by the dial plan", ["code"])

    def refuse(self, incoming: IncomingInvite, code: int, now: float) -> None:
        """Answers with `code`, which is 404 where no route is, or what the route says."""
        self._refused.labels(str(code)).inc()
        source = incoming.authenticated_user or incoming.source.ip
        untold = self._notices.take("unrouted", source, now)
        if untold is not None:
            uri = incoming.request.uri
            called = (uri.user_text or "") if isinstance(uri, SipUri) else ""
            _log.warning(
                "call_unrouted",
                source=incoming.source.ip,
                user=incoming.authenticated_user,
                trunk=incoming.trunk,
                called=called[:_LONGEST_SHOWN],
                code=code,
                untold=untold,
            )
        incoming.session.reject(code)
