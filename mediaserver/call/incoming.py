"""What is known of a call that comes in over SIP before it is routed, its numbers as the rules of its trunk read them."""

from __future__ import annotations

from datetime import UTC, datetime

from mediaserver.call.routing import Question
from mediaserver.call.trunks import Trunks
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite

_ANONYMOUS = "anonymous"


def question_of(incoming: IncomingInvite, trunks: Trunks) -> Question:
    """The question that the dial plan is asked."""
    called, party = incoming.request.uri, incoming.session.remote_party
    caller = incoming.authenticated_user or (party.uri.user_text if isinstance(party.uri, SipUri) else None)
    number = called.user_text if isinstance(called, SipUri) else None
    line = trunks.get(incoming.trunk)
    if line is not None:
        number, caller = line.numbers.read(number), line.numbers.read(caller)
    return Question(
        called=number,
        caller=None if (caller or "").lower() == _ANONYMOUS else caller,
        name=party.display_name,
        domain=called.host.lower() if isinstance(called, SipUri) else None,
        trunk=incoming.trunk,
        headers=tuple(incoming.request.headers),
        at=datetime.now(UTC),
    )
