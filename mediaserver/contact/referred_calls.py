"""Calls that users ask for by REFER outside of every call (RFC 3515): click to dial, from any program that speaks SIP.

The phones and the page of whoever asks ring first; who answers there is connected as if he had called himself, by the
same routing table, with the same refusals.
"""

from __future__ import annotations

import structlog

from mediaserver.call.agents import Presentation
from mediaserver.call.calls import Calls
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.routing import Destination, Question
from mediaserver.call.stand_in import StandIn
from mediaserver.config.routes import Target
from mediaserver.contact.contact import Contact
from mediaserver.contact.contacts import Contacts
from mediaserver.contact.ending import OnOver
from mediaserver.contact.originated_call import OriginatedCall
from mediaserver.contact.refusals import Undeliverable
from mediaserver.engine.engine import Engine
from mediaserver.errors import LimitExceeded
from mediaserver.runtime.ids import new_id
from mediaserver.sip.user_agent import IncomingReferral

_log = structlog.get_logger(__name__)


class ReferredCalls:
    """Whoever asks is a user of the house, and asks for one call at a time."""

    def __init__(
        self, *, contacts: Contacts, calls: Calls, dial_plan: DialPlan, engine: Engine, server_name: str
    ) -> None:
        self._contacts = contacts
        self._calls = calls
        self._dial_plan = dial_plan
        self._engine = engine
        self._server_name = server_name

    async def take(self, asked: IncomingReferral) -> None:
        """Makes the call, or says why not before anything rings."""
        user = asked.authenticated_user
        try:
            destination = await self._destination(asked)
            contact = Contact(id=new_id(), source="", caller=self._contacts.shown_name(user), number=user)
            runner = self._contacts.run(
                contact,
                lambda over: self._call(contact, destination, asked, over),
                origin="sip",
                to=asked.called,
            )
        except Undeliverable as error:
            _log.info("referral_refused", user=user, called=asked.called, code=error.code, why=str(error))
            asked.tell(error.code)
            return
        except LimitExceeded as error:
            _log.info("referral_refused", user=user, called=asked.called, code=503, why=str(error))
            asked.tell(503)
            return
        asked.tell(100)
        contact.note("routed", destination.rule)
        runner.begin()

    async def _destination(self, asked: IncomingReferral) -> Destination:
        """Where he would come who called there himself. Raises Undeliverable."""
        found = await self._dial_plan.decide(Question(called=asked.called, caller=asked.authenticated_user))
        if found is None:
            raise Undeliverable("the routing table knows no such destination", code=404)
        if found.target.refuse is not None:
            raise Undeliverable("refused by the routing table", code=found.target.refuse)
        line = self._calls.trunks.get(found.target.trunk)
        denied = line.numbers.denied(found.number) if line is not None and found.number else None
        if denied is not None:
            self._calls.trunks.refused(f"trunks.{found.target.trunk}.numbers.{denied.reason}")
            raise Undeliverable(denied.detail, code=403)
        return found

    def _call(
        self, contact: Contact, destination: Destination, asked: IncomingReferral, over: OnOver
    ) -> OriginatedCall:
        user = asked.authenticated_user

        def ended(ended: Contact) -> None:
            over(ended)
            code = ended.cause.code if ended.cause is not None else None
            asked.tell(code if code is not None and code >= 300 else 487)  # he was told of an answer before

        return OriginatedCall(
            contact=contact,
            stand_in=StandIn(contact_id=contact.id, engine=self._engine, video=True),
            first=Destination(Target(user=user), user, f"user {user}"),
            second=destination,
            shown_first=Presentation(name=asked.called, verified=True, number=asked.called),
            shown_second=Presentation(name=contact.caller, verified=True, number=user),
            waiting=None,
            calls=self._calls,
            server_name=self._server_name,
            on_over=ended,
            on_progress=asked.tell,
        )
