"""What is known of a call that comes in over SIP before it is routed, its numbers as the rules of its trunk read them."""

from __future__ import annotations

from datetime import UTC, datetime

from mediaserver.call.caller_identity import CallerIdentity, identity_of
from mediaserver.call.routing import Question
from mediaserver.call.trunks import Trunks
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite


def question_of(incoming: IncomingInvite, trunks: Trunks, identity: CallerIdentity | None = None) -> Question:
    """The question that the dial plan is asked; `identity` where it was read already."""
    called = incoming.request.uri
    number = called.user_text if isinstance(called, SipUri) else None
    line = trunks.get(incoming.trunk)
    if line is not None:
        number = line.numbers.read(number)
    caller = identity or identity_of(incoming, line)
    return Question(
        called=number,
        caller=caller.number,
        name=caller.display_name,
        domain=called.host.lower() if isinstance(called, SipUri) else None,
        trunk=incoming.trunk,
        headers=tuple(incoming.request.headers),
        attributes=caller.attributes if caller.trusted else {},
        at=datetime.now(UTC),
    )
